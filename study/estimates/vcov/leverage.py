"""Leverage: how much leaving out a cluster moves a term, from the cluster's share in the weight of its side.

An estimate contrasts treated with comparison units. A cluster with the share h of the weight of its side draws that
side's mean towards itself, so that its influence is too small by the factor 1 - h; leaving it out moves the estimate
by its influence over n (1 - h). With m clusters of equal weight on a side that is m / (m - 1) times the influence. For
means of groups this is the jackknife exactly, the CR3 of a regression on their indicators (Hansen 2024); for other
designs it is the jackknife with the leverage that a mean of the side would have.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from study.core import BoolArray, FloatArray, Influence, IntArray, blocks
from study.estimates.contrast import NOTHING, LeftOut, Sides, present

if TYPE_CHECKING:
    from study.estimates.estimate import Estimate


class Leverage(NamedTuple):
    """What the influence is multiplied by, and what it rests on.

    Attributes
    ----------
    factor : ndarray, shape (G, K) or (n, K)
        By group, or by unit.
    clusters : ndarray of int, shape (2, K)
        Clusters with influence on the treated and on the comparison side; one with units on both is on both.
    estimable : ndarray of bool, shape (K,)
        Whether the term has a sampling variance: two clusters or more on each side.
    by_group : bool
        Whether the factor is by group.
    """

    factor: FloatArray
    clusters: IntArray
    estimable: BoolArray
    by_group: bool = False

    def applied(self, influence: Influence, sides: Sides) -> Influence:
        """Return the influence as leaving clusters out weighs it."""
        if self.by_group:
            return influence.weighted(sides.group, self.factor)
        return Influence.of(influence.dense() * self.factor)


def leverage(influence: Influence, sides: Sides) -> Leverage:
    """Return 1 / (1 - h) for each unit's cluster, h being its share of the weight of its side of each term."""
    if sides.by_unit:
        return leverage_by_group(units_by_group(influence, sides), sides)
    return in_blocks(_by_cluster, influence, sides)


def weighed(fit: Estimate, own: Leverage) -> LeftOut:
    """Return the influence of an estimate times a leverage."""
    untreated = fit.untreated_influence if fit.sample.question.scale == "proportional" else None
    untreated_errors = None if untreated is None else own.applied(untreated, fit.sides)
    return LeftOut(own.applied(fit.level_influence, fit.sides), untreated_errors, own.clusters, own.estimable)


def on_sides(influence: Influence, sides: Sides) -> BoolArray:
    """Return whether units of the treated and of the comparison side have influence on each term, shape (2, K)."""
    some = units_by_group(influence, sides._replace(stratum=None)) > 0  # strata are within groups
    return np.stack([np.any(some & half, axis=0) for half in (sides.treated > 0, sides.treated == 0)])


def in_blocks(of: Callable[[FloatArray, Sides], Leverage], influence: Influence, sides: Sides) -> Leverage:
    """Return the leverage of all terms from that of some at a time."""
    parts = [of(influence.columns(k).dense(), sides.select(k)) for k in blocks(influence.shape[1])]
    factor, clusters, estimable = (
        np.concatenate([getattr(part, name) for part in parts], axis=-1) for name in Leverage._fields[:3]
    )
    return Leverage(factor, clusters, estimable)


def units_by_group(influence: Influence, sides: Sides) -> FloatArray:
    """Return how many units of each group have influence on each term, shape (G, K)."""
    if sides.summed is not None or not (sides.alike and influence.within(sides.group)):
        return _counted(influence, sides, lambda part: sides.units(sides.present(part)))
    squares = np.zeros(sides.treated.shape)
    if influence.is_small:
        squares += sides.by_group(influence.dense() ** 2)
    else:
        for rows, total in influence.squares_by_array():
            if rows is not None and len(rows):
                squares[sides.group[rows[0]]] += np.maximum(total, 0.0)
    units = np.bincount(sides.group, minlength=len(squares))[:, None]
    counts = units * present(np.sqrt(squares / np.maximum(units, 1)))
    if sides.stratum is None or sides.stratum is sides.group or np.all(sides.stratum < 0):
        return counts
    first = np.unique(sides.stratum, return_index=True)[1]
    first = first[sides.stratum[first] >= 0]
    found = np.abs(influence.at(first)) > NOTHING * np.sqrt(squares.sum(axis=0))  # of the largest at least
    if np.all(found | (counts[sides.group[first]] == 0)):
        return counts
    together = (sides.stratum >= 0)[:, None]
    without = _counted(influence, sides, lambda part: together * (1 - sides.present(part)))
    return np.where(counts > 0, counts - without, 0.0)


def _counted(influence: Influence, sides: Sides, which: Callable[[FloatArray], FloatArray]) -> FloatArray:
    """Add up by group what is said of the units' influence on some terms at a time, shape (G, K)."""
    parts = (which(influence.columns(k).dense()) for k in blocks(influence.shape[1]))
    return np.concatenate([sides.by_group(part) for part in parts], axis=1)


def leverage_by_group(counts: FloatArray, sides: Sides) -> Leverage:
    """Return the leverage where ``counts`` units of each group have influence on each term, shape (G, K)."""
    weight = np.where(sides.treated > 0, sides.treated, 1.0)
    clusters, estimable = sides.counted(
        *([np.sum(counts * some, axis=0) for some in parts] for parts in (sides.halves, sides.means))
    )
    total = np.sum([mean * np.sum(counts * weight * mean, axis=0) for mean in sides.means], axis=0)
    return Leverage(_factor(weight * (counts > 0), total), clusters, estimable, by_group=True)


def _by_cluster(influence: FloatArray, sides: Sides) -> Leverage:
    treated = sides.treated[sides.group]
    weight = np.where(treated > 0, treated, 1.0) * sides.weights[:, None] * sides.present(influence)
    factor, counts = np.ones(weight.shape), []
    for mean in sides.means:
        rows = np.flatnonzero(np.any(mean, axis=1)[sides.group])
        inside = mean[sides.group[rows]]
        own = sides.by_cluster(weight[rows] * inside, rows)
        counts.append(np.sum((own > 0) * sides.copies, axis=0))
        of_mean = _factor(own / sides.copies, own.sum(axis=0))[sides.cluster[rows]]
        factor[rows] = np.where(inside, of_mean, factor[rows])
    halves = counts[:2]
    if sides.eligible is not None:
        used = [(weight > 0) & half[sides.group] for half in sides.halves]
        halves = [np.sum(sides.by_cluster(each) > 0, axis=0) for each in used]
    clusters, estimable = sides.counted(halves, counts)
    return Leverage(factor, clusters, estimable)


def _factor(own: FloatArray, total: FloatArray) -> FloatArray:
    """Return total / (total - own), 1 where nothing else is in the mean."""
    rest = total - own
    return np.divide(total, rest, out=np.ones_like(rest), where=rest > 0)
