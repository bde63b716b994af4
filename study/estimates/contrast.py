"""The contrast of each term: which units are treated in it, and which units they are compared with."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from study.core import BoolArray, FloatArray, Influence, IntArray, one_thread, sums_by
from study.panel import Summed

if TYPE_CHECKING:
    from study.estimates.estimate import Estimate

NOTHING = 1e-6
ROUNDING = 1e-12
ALL = slice(None)


class LeftOut(NamedTuple):
    """Influence that leaves each cluster out in turn, of effects and of untreated means in levels.

    Attributes
    ----------
    level : Influence, shape (n, K)
    untreated : Influence, shape (n, K), optional
    clusters : ndarray of int, shape (2, K)
        Number of clusters on the treated and on the comparison side of each term. A side on which no unit has
        influence, as where all of its outcomes move alike, has none.
    estimable : ndarray of bool, shape (K,)
        Whether a term has a sampling variance.
    own : ndarray of bool, shape (K,), optional
        Terms whose influence the design supplies; that of the others follows from their influence. All by default.
    pooled : Influence, shape (n, K), optional
        Influence of sides of one cluster under the pooled variance, which ``level`` has not; see
        :func:`study.estimates.vcov.one_cluster.one_cluster_sides`. The counterfactual mean has its negative.
    """

    level: Influence
    untreated: Influence | None
    clusters: IntArray
    estimable: BoolArray
    own: BoolArray | None = None
    pooled: Influence | None = None

    def select(self, which: BoolArray) -> LeftOut:
        """Return some of the terms, shape (K,)."""
        untreated, pooled = (None if of is None else of.select(which) for of in (self.untreated, self.pooled))
        own = None if self.own is None else self.own[which]
        level, clusters = self.level.select(which), self.clusters[:, which]
        return LeftOut(level, untreated, clusters, self.estimable[which], own, pooled)

    def averaged(self, weight: FloatArray) -> LeftOut:
        """Return averages of the terms with given weights, shape (K, M)."""
        untreated, pooled = (None if of is None else of @ weight for of in (self.untreated, self.pooled))
        used = weight != 0
        clusters = np.max(np.where(used, self.clusters[:, :, None], 0), axis=1, initial=0)
        estimable = ~np.any(used & ~self.estimable[:, None], axis=0)
        return LeftOut(self.level @ weight, untreated, clusters, estimable, pooled=pooled)


@dataclass(frozen=True, eq=False)
class Contrast:
    """Which units are on which side of each of K terms, as far as it does not follow from the sample.

    Attributes
    ----------
    treated : ndarray, shape (G, K), optional
        How often a unit of each of the sample's groups counts among the treated of a term. By default once if its
        group is treated in the window.
    treated_then : ndarray of bool, shape (G, K), optional
        Groups that are treated in all periods of a term of another cohort. Their untreated periods may move the term,
        but they are not part of its comparison.
    sizes : ndarray, shape (n,), optional
        Weight of units on their side besides their sampling weight: their total outcome in a Poisson regression with
        unit effects.
    group : ndarray of int, shape (n,), optional
        Number of each unit's group, to which the rows of ``treated`` refer, where it is not that of the sample's dates.
    only : ndarray of int, shape (K,), optional
        A row of the cluster that contains all treated units of a term; -1 where there are several clusters.
    whole_cohorts : bool
        Whether averages weight whole cohorts, though terms rest on those of their units that are seen.
    left_out : LeftOut, optional
        Influence that leaves clusters out, where it does not follow from the influence of the terms: averages of
        terms, and designs that leave units out themselves.
    """

    treated: FloatArray | None = None
    treated_then: BoolArray | None = None
    sizes: FloatArray | None = None
    group: IntArray | None = None
    only: IntArray | None = None
    whole_cohorts: bool = False
    left_out: LeftOut | None = None

    def single(self, k: int) -> IntArray:
        """Return ``only`` of each of k terms, -1 for all where it is not given."""
        return np.full(k, -1) if self.only is None else self.only

    def select(self, which: BoolArray) -> Contrast:
        """Return the contrasts of some terms, shape (K,)."""
        chosen: dict[str, Any] = {
            name: values[..., which]
            for name in ("treated", "treated_then", "only")
            if (values := getattr(self, name)) is not None
        }
        left = self.left_out
        if left is not None:
            by_design = left.own is None or bool(left.own[which].any())
            chosen["left_out"] = left.select(which) if by_design else None
        return replace(self, **chosen)


def sides_of(fit: Estimate) -> Sides:
    """Return the sides of each term of an estimate."""
    sample, contrast, k = fit.sample, fit.contrast, len(fit.terms)
    weights = sample.weights if contrast.sizes is None else sample.weights * contrast.sizes
    if contrast.group is not None and contrast.treated is not None:
        return Sides(contrast.group, contrast.treated, weights, sample.cluster, alike=False, both=True)
    if sample.first_treated is None:
        group, treated = sample.ever_treated.astype(np.int64), np.repeat([[0.0], [1.0]], k, axis=1)
        return Sides(group, treated, weights, sample.cluster, alike=False, both=False)
    dates, rows = sample.groups
    group = sample.group_number
    in_window = np.isin(dates, sample.cohorts)[:, None].astype(float)
    treated = np.repeat(in_window, k, axis=1) if contrast.treated is None else contrast.treated
    seen = sample.observed
    alike = bool(seen.all()) or all(bool(np.all(seen[members] == seen[members[0]])) for members in rows)
    both, eligible = fit.estimand.has_comparison, None
    if sample.group is not None:  # each cohort is two groups
        group, treated = 2 * group + sample.group, np.repeat(treated, 2, axis=0)
        eligible = np.arange(len(treated)) % 2 == 1
    apart, stratum = eligible is not None and fit.estimand.has_path, None
    covariates = None if contrast.sizes is not None else sample.fixed_covariates
    if covariates is not None:
        stratum = group if alike and not covariates.shape[1] else sample.stratum
    elif sample.summed is not None:
        stratum = sample.summed.stratum
    of_rows = (stratum, sample.summed, sample.replicas, contrast.treated_then)
    return Sides(group, treated, weights, sample.cluster, alike, both, eligible, apart, *of_rows)


class Sides(NamedTuple):
    """Which side of each term's contrast the units are on.

    Attributes
    ----------
    group : ndarray of int, shape (n,)
        Number of the unit's group, 0..G-1, in which all have the same role.
    treated : ndarray, shape (G, K)
        How often a unit of each group counts among the treated of a term; 0 on the comparison side.
    weights : ndarray, shape (n,)
        What units weigh on their side.
    cluster : ndarray of int, shape (n,)
        Cluster numbers, 0..C-1.
    alike : bool
        Whether the units of a group are seen in the same periods.
    both : bool
        Whether there have to be clusters on both sides; not where units switch in and out of treatment.
    eligible : ndarray of bool, shape (G,), optional
        Of a third difference, which groups are of the units that treatment is for. Both sides then consist of means of
        these and of the others, and need clusters of both.
    apart : bool
        Whether cohorts are weighted and not pooled, so that on the comparison side each group is a mean of its own.
    stratum : ndarray of int, shape (n,), optional
        Number of the set of units that a term treats alike, so that their influence differs by their outcomes alone; -1
        of units without others whose outcomes differ.
    summed : Summed, optional
        What rows stand for, where they are not units.
    replicas : Summed, optional
        That, where clusters are units, so that the number of a cluster stands for several.
    treated_then : ndarray of bool, shape (G, K), optional
        Which groups are treated themselves in the period of a term of another cohort. Their untreated periods may move
        it, but they are no part of what it is compared with then.
    """

    group: IntArray
    treated: FloatArray
    weights: FloatArray
    cluster: IntArray
    alike: bool
    both: bool
    eligible: BoolArray | None = None
    apart: bool = False
    stratum: IntArray | None = None
    summed: Summed | None = None
    replicas: Summed | None = None
    treated_then: BoolArray | None = None

    @property
    def halves(self) -> list[BoolArray]:
        """Which groups are treated, and which are not, shape (G, K) each; of a third difference, eligible or not."""
        sides = [self.treated > 0, self.treated == 0]
        if self.treated_then is not None:
            sides[1] &= ~self.treated_then
        if self.eligible is None:
            return sides
        return [side & kind[:, None] for side in sides for kind in (self.eligible, ~self.eligible)]

    @property
    def means(self) -> list[BoolArray]:
        """Which groups make up each mean that terms contrast, shape (G, K) each.

        The halves, or where cohorts are apart each group on the comparison side. On the treated side averages pool
        cohorts of eligible units, whose shares are estimated, and of the others where clusters may have units of both.
        """
        if self.treated_then is not None:
            return [*self.halves, self.treated_then & (self.treated == 0)]
        if self.eligible is None or not self.apart:
            return self.halves
        pooled = (self.treated > 0) & (self.eligible | (not self.by_unit))[:, None]
        kinds = [pooled & kind[:, None] for kind in (self.eligible, ~self.eligible)]
        return kinds + [~pooled & own[:, None] for own in np.eye(len(pooled), dtype=bool)]

    def counted(self, halves: list[FloatArray], means: list[FloatArray]) -> tuple[IntArray, BoolArray]:
        """Return the number of clusters on each side, shape (2, K), and which terms have enough of them.

        That is two or more, on each side where there have to be some. Of a third difference the fewer of eligible and
        other clusters count, and where cohorts are apart no mean may be of one cluster.
        """
        sides = np.stack(halves).reshape(2, len(halves) // 2, self.treated.shape[1])
        clusters = np.rint(sides.min(axis=1)).astype(np.int64)
        enough = (clusters.min(axis=0) if self.both else clusters.sum(axis=0)) >= 2
        alone = np.any([np.rint(number) == 1 for number in means], axis=0)
        return clusters, np.asarray(enough & ~(alone & self.apart))

    def select(self, columns: IntArray) -> Sides:
        """Return the sides of some of the terms."""
        then = None if self.treated_then is None else self.treated_then[:, columns]
        return self._replace(treated=self.treated[:, columns], treated_then=then)

    @property
    def by_unit(self) -> bool:
        """Whether each unit is a cluster, of the same weight as all others, so that leverage differs by group alone."""
        if self.replicas is not None:
            each = self.weights / self.replicas.frequency
            return bool(np.ptp(each) <= ROUNDING * each.max())
        alone = int(self.cluster.max()) + 1 == len(self.cluster)
        return alone and bool(np.all(self.weights == self.weights[0]))

    def present(self, influence: FloatArray) -> FloatArray:
        """Return 1 where units, or others of their stratum, have influence that is no rounding error, 0 elsewhere.

        A unit whose outcome happens to be its group's mean is part of that mean.
        """
        if self.summed is not None:
            influence = influence / self.summed.frequency[:, None]
        return present(influence if self.stratum is None else largest(influence, self.stratum))

    def units(self, which: FloatArray) -> FloatArray:
        """Return how many units the rows are that are marked by 1, shape (n, K)."""
        return which if self.summed is None else which * self.summed.frequency[:, None]

    @property
    def copies(self) -> FloatArray:
        """How many clusters the number of a cluster stands for, shape (C, 1) or (1, 1)."""
        return np.ones((1, 1)) if self.replicas is None else self.replicas.frequency[:, None]

    def by_cluster(self, values: NDArray[Any], rows: IntArray | slice = ALL) -> FloatArray:
        """Add up values by unit, of all or of some rows, shape (m, K), over the units of each cluster, shape (C, K)."""
        return sums_by(values, self.cluster[rows], int(self.cluster.max()) + 1)

    def by_group(self, values: FloatArray) -> FloatArray:
        """Add up values by unit, shape (n, K), over the units of each group, shape (G, K)."""
        if np.array_equal(self.group, np.arange(len(self.treated))):  # each unit is a group of its own
            return np.asarray(values)
        members = self.group == np.arange(len(self.treated))[:, None]
        with one_thread():
            return members.astype(float) @ values


def present(influence: FloatArray) -> FloatArray:
    """Return 1 where there is influence that is not rounding error, and 0 elsewhere."""
    most = np.maximum(influence.max(axis=0), -influence.min(axis=0))
    return ((influence > NOTHING * most) | (influence < -NOTHING * most)).astype(float)


def largest(values: FloatArray, stratum: IntArray) -> FloatArray:
    """Return the largest absolute value of their stratum, at each row, of values of shape (n, K); their own at -1."""
    most, rows = np.abs(values), np.flatnonzero(stratum >= 0)
    order = rows[np.argsort(stratum[rows], kind="stable")]
    start = np.flatnonzero(np.diff(stratum[order], prepend=-1))
    most[order] = np.repeat(
        np.maximum.reduceat(most[order], start), np.diff(start, append=len(order)), axis=0
    )
    return most
