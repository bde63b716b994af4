"""Influence that weighs each cluster as leaving it out does, and the degrees of freedom of its variance.

An estimate contrasts treated with comparison units. A cluster with the share h of the weight of its side draws that
side's mean towards itself, so that its influence is too small by the factor 1 - h; leaving it out moves the estimate
by its influence over n (1 - h). With m clusters of equal weight on a side that is m / (m - 1) times the influence. For
means of groups this is the jackknife exactly, the CR3 of a regression on their indicators (Hansen 2024); for other
designs it is the jackknife with the leverage that a mean of the side would have.

The variance is then a sum of few squares, with the degrees of freedom of Satterthwaite (1946) and Welch (1947) over
the two sides, as in Bell and McCaffrey (2002) and Imbens and Kolesár (2016): a side whose variance rests on m clusters
has m - 1.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from study.core import BoolArray, FloatArray, Influence, IntArray, blocks, one_thread, sums_by
from study.panel import Summed

NOTHING = 1e-6
ROUNDING = 1e-12
RANK_TOLERANCE = 1e-10
MOST = 0.5  # of the variance of some combination of terms
ALL = slice(None)


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
        return leverage_by_group(_present(influence, sides), sides)
    return _in_blocks(_by_cluster, influence, sides)


def on_sides(influence: Influence, sides: Sides) -> BoolArray:
    """Return whether units of the treated and of the comparison side have influence on each term, shape (2, K)."""
    some = _present(influence, sides._replace(stratum=None)) > 0  # strata are within groups
    return np.stack([np.any(some & half, axis=0) for half in (sides.treated > 0, sides.treated == 0)])


def _in_blocks(of: Callable[[FloatArray, Sides], Leverage], influence: Influence, sides: Sides) -> Leverage:
    """Return the leverage of all terms from that of some at a time."""
    parts = [of(influence.columns(k).dense(), sides.select(k)) for k in blocks(influence.shape[1])]
    factor, clusters, estimable = (
        np.concatenate([getattr(part, name) for part in parts], axis=-1) for name in Leverage._fields[:3]
    )
    return Leverage(factor, clusters, estimable)


def _present(influence: Influence, sides: Sides) -> FloatArray:
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


def pooled(influence: Influence, sides: Sides) -> Leverage:
    """Return what makes sums of squares of influence those of a pooled variance: Student's t of two groups.

    With h_c the share of cluster c in the weight of its side, its influence over n is h_c times what its mean is away
    from that of the side. If these means vary by the same sigma^2 on both sides, with which the variance of the
    contrast is sigma^2 sum h_c^2, their squares add up to m - 2 + m sum h_c^2 times sigma^2 on a side of m clusters,
    m - 1 where these weigh alike, and estimate it with one treated cluster too; for means of normal outcomes the t test
    is exact then (Lee and Wooldridge 2025). They do if all treated clusters have one date. With several, a comparison
    cluster's mean is of changes that are averaged over dates, which vary less.
    """
    return _in_blocks(_pooled, influence, sides)


def _pooled(influence: FloatArray, sides: Sides) -> Leverage:
    counted = sides.treated[sides.group]
    treated = counted > 0
    weight = np.where(treated, counted, 1.0) * sides.weights[:, None] * sides.present(influence)
    own = np.stack([sides.by_cluster(weight * side) for side in (treated, ~treated)])
    share = own / np.where(own > 0, own.sum(axis=1, keepdims=True) * sides.copies, 1.0)
    # A side whose influence is nowhere is one cluster, which is its own mean.
    clusters = np.maximum(np.rint(np.sum((share > 0) * sides.copies, axis=1)), 1).astype(np.int64)
    squares = np.where(share.any(axis=1), np.sum(share**2 * sides.copies, axis=1), 1.0)
    spread = np.sqrt(squares.sum(axis=0) / np.maximum(np.sum(clusters * (1 + squares) - 2, axis=0), 1))
    by_unit = np.where(treated, *(h[sides.cluster] for h in share))
    factor = np.divide(spread, by_unit, out=np.zeros_like(by_unit), where=by_unit > 0)
    return Leverage(factor, clusters, clusters.sum(axis=0) > 2)


class OneCluster(NamedTuple):
    """Terms with a side of one cluster, under the pooled variance of both sides.

    Attributes
    ----------
    factor : ndarray, shape (n, K)
        What the influence of units is multiplied by: 0 on a side of one cluster, which ``own`` takes the place of.
    own : ndarray, shape (n, K)
        Influence of the one cluster: n times the pooled standard deviation, in one of its rows.
    estimable : ndarray of bool, shape (K,)
        Whether the other side has two clusters or more, with a variance.
    """

    factor: FloatArray
    own: FloatArray
    estimable: BoolArray


def one_cluster_sides(influence: FloatArray, sides: Sides, only: IntArray, clusters: IntArray) -> OneCluster:
    """Return the variance of terms of which a side is one cluster, or all of its clusters have the same change.

    Such a side leaves no residual, so that its clusters are taken to vary as those of the other side do. With h_c the
    share of cluster c in the weight of its side and d_c the deviation of its mean from that of the side, the influence
    of c over n is h_c d_c, and a side of m clusters whose means have the variance sigma^2 has

        E sum d_c^2 = sigma^2 (m - 2 + m sum h_c^2),

    (m - 1) sigma^2 where clusters weigh the same. The variance of the contrast is sigma^2 sum h_c^2 over both sides,
    which is sigma^2 (1 + 1/m) for one treated cluster: Student's t test with m - 1 degrees of freedom, exact for normal
    outcomes and one date of treatment (Lee and Wooldridge 2025; Donald and Lang 2007).

    Parameters
    ----------
    influence : ndarray, shape (n, K)
    sides : Sides
    only : ndarray of int, shape (K,)
        A row of the one cluster that a side of the term rests on; -1 where the design names none. A regression may give
        other units of that side influence on the term too, which says nothing about the variance of the one.
    clusters : ndarray of int, shape (2, K)
        Clusters on the treated and on the comparison side; 0 where several have the same change.
    """
    n, k = influence.shape
    treated, columns = sides.treated[sides.group], np.arange(k)
    full = np.where(treated > 0, treated, 1.0) * sides.weights[:, None]
    weight = full * sides.present(influence)
    never = (sides.treated.max(axis=1) == 0)[sides.group]
    factor, own, copies = np.ones((n, k)), np.zeros((n, k)), sides.copies
    squares, freedom, alone = np.zeros(k), np.zeros(k), []
    for half in sides.halves:
        inside = half[sides.group]
        by_cluster = sides.by_cluster(weight * inside)
        number = np.sum((by_cluster > 0) * copies, axis=0)
        one = (number < 2) | ((only >= 0) & inside[only, columns])
        share = by_cluster / np.where(by_cluster > 0, by_cluster.sum(axis=0) * copies, 1.0)
        of_share = np.sum(share**2 * copies, axis=0)
        deviation = np.divide(
            sides.by_cluster(influence * inside), share, out=np.zeros_like(share), where=share > 0
        )
        left = np.where(one, 0.0, number - 2 + number * of_share)
        squares += np.where(one, 0.0, np.sum(deviation**2 / copies, axis=0))
        freedom += left
        scale = np.sqrt(np.divide(of_share, left, out=np.zeros(k), where=left > 0))
        by_unit = share[sides.cluster]
        scaled = np.divide(scale, by_unit, out=np.ones_like(by_unit), where=(by_unit > 0) & (left > 0))
        factor = np.where(inside, np.where(one, 0.0, scaled), factor)
        alone.append((one, inside))
    spread = np.sqrt(np.divide(squares, freedom, out=np.zeros(k), where=freedom > 0))
    for h, (one, inside) in enumerate(alone):
        on_treated = h < len(alone) // 2
        for j in np.flatnonzero(one):
            if only[j] >= 0 and inside[only[j], j]:
                own[only[j], j] += spread[j]
            elif inside[:, j].any():
                same = np.flatnonzero(inside[:, j] & (on_treated | never))
                several = clusters[0 if on_treated else 1, j] == 0
                root = _root_of_shares(full[same, j], sides.cluster[same]) if several else 1.0
                own[np.flatnonzero(inside[:, j])[0], j] += spread[j] * root
    return OneCluster(factor, own, spread > 0)


def _root_of_shares(weight: FloatArray, cluster: IntArray) -> float:
    """Return the root of the sum of squared shares of clusters in the weight of their units, 1 where there is none."""
    total = weight.sum()
    if not total > 0:
        return 1.0
    shares = np.bincount(cluster, weight) / total
    return float(np.sqrt(np.sum(shares**2)))


def _factor(own: FloatArray, total: FloatArray) -> FloatArray:
    """Return total / (total - own), 1 where nothing else is in the mean."""
    rest = total - own
    return np.divide(total, rest, out=np.ones_like(rest), where=rest > 0)


def degrees_of_freedom(influence: Influence, sides: Sides, pooled: FloatArray | None = None) -> FloatArray:
    """Return the degrees of freedom of the variance of each term, shape (K,).

    With V_s the part of side s in the variance, sum V_s, and m_s the effective number of its clusters, which
    :func:`effective_number` estimates, they are (sum V_s)^2 / sum [V_s^2 / (m_s - 1)].

    Parameters
    ----------
    influence : Influence, shape (n, K)
        As leaving clusters out weighs it.
    sides : Sides
    pooled : ndarray, shape (2, K), optional
        What sides of one cluster add to the variance times n^2, by the side that it is estimated from, treated or
        comparison, whose degrees of freedom it has.
    """
    degrees = [np.empty(0)]
    for part in blocks(influence.shape[1]):
        variances, effective = map(
            np.stack, zip(*_by_side(influence.columns(part), sides.select(part)), strict=True)
        )
        if pooled is not None:
            variances = variances + pooled[:, part]
        with np.errstate(invalid="ignore", divide="ignore"):
            over = np.sum(variances**2 / _degrees(effective), axis=0)
            degrees.append(variances.sum(axis=0) ** 2 / over)
    return np.concatenate(degrees)


def _by_side(influence: Influence, sides: Sides) -> Iterator[tuple[FloatArray, FloatArray]]:
    """Yield the sum of squares and the effective number of clusters of each side, shapes (K,)."""
    if sides.replicas is None and not sides.by_unit:
        sums, treated, used = sums_by_cluster(influence, sides)
        for side in (treated, ~treated):
            own = np.where(side, sums, 0.0)
            yield np.einsum("ck,ck->k", own, own), effective_number(own, number=np.sum(side & used, axis=0))
        return
    dense = influence.dense()
    counts = sides.by_group(sides.units(sides.present(dense)))
    if sides.replicas is not None:
        squares = sides.by_group(dense**2 / sides.copies)
        fourths = np.zeros(squares.shape)
        group = np.empty(int(sides.replicas.stratum.max()) + 1, dtype=np.int64)
        group[sides.replicas.stratum] = sides.group
        np.add.at(fourths, group, sides.replicas.fourths((dense / sides.copies)[:, :, None]))
    else:
        dense *= dense
        squares = sides.by_group(dense)
        dense *= dense
        fourths = sides.by_group(dense)
    for side in (sides.treated > 0, sides.treated == 0):
        second, fourth, number = (
            np.sum(np.where(side, each, 0.0), axis=0) for each in (squares, fourths, counts)
        )
        yield second, effective_of_moments(second, fourth, number)


def sums_by_cluster(influence: Influence, sides: Sides) -> tuple[FloatArray, BoolArray, BoolArray]:
    """Return sums by cluster, and which have a treated unit with influence, and any, all of shape (C, K)."""
    dense = influence.dense()
    used = sides.present(dense) > 0
    on_treated = used & (sides.treated[sides.group] > 0)
    sums = sides.by_cluster(dense) / np.sqrt(sides.copies)
    return sums, sides.by_cluster(on_treated) > 0, sides.by_cluster(used) > 0


def _degrees(effective: FloatArray) -> FloatArray:
    return np.maximum(np.nan_to_num(effective, nan=1.0) - 1, 1.0)


def covariance_degrees(
    sums: FloatArray, treated: BoolArray, replicas: Summed | None, used: BoolArray, together: IntArray
) -> float:
    """Return the degrees of freedom of the covariance of several terms: it varies as a Wishart matrix with as many.

    The covariance sums S_s over both sides. With the terms turned so that S is the identity of rank r, the degrees are
    (r + r^2) / sum_s {[tr(S_s^2) + (tr S_s)^2] / (m_s - 1)} (Nel and van der Merwe 1986). The number of clusters m_s is
    estimated from the fourth powers of the lengths of the clusters' sums, of which a normal vector in r dimensions has
    (r + 2) / (r + 1) times what the traces have; with one term this is :func:`degrees_of_freedom`. A side of r clusters
    or fewer has a singular S_s, and where most of the variance is of that side, the test would take what it leaves out
    for precise; the degrees are then its own, with which there is no test.

    Parameters
    ----------
    sums : ndarray, shape (C, K)
        Of influence by cluster, as leaving clusters out weighs it; each term varies.
    treated : ndarray of bool, shape (C,)
        Which clusters are on the treated side.
    replicas : Summed, optional
        What clusters stand for, where their numbers stand for several; sums are over the root of how many.
    used : ndarray of bool, shape (C,)
        Which clusters have influence.
    together : ndarray of int, shape (C,)
        The same number for clusters that are treated in the same terms. Combinations of terms may rest on these alone,
        so that the degrees are at most those with such sets in place of sides, in which m_s is the number of clusters.
    """
    scaled = sums / np.sqrt(np.einsum("ck,ck->k", sums, sums))
    values, vectors = np.linalg.eigh(scaled.T @ scaled)
    varies = values > RANK_TOLERANCE * len(values)
    standard = scaled @ (vectors[:, varies] / np.sqrt(values[varies]))
    rank, over, least = int(varies.sum()), 0.0, np.inf
    copies = np.ones(len(sums)) if replicas is None else replicas.frequency
    each = standard / np.sqrt(copies)[:, None]
    lengths = np.einsum("ck,ck->c", each, each)

    def part_of(side: BoolArray) -> tuple[FloatArray, float]:
        part = standard[side].T @ standard[side]
        return part, float(np.sum(part**2) + np.trace(part) ** 2)

    for side in (treated, ~treated):
        if replicas is None:
            fourth = float(np.sum(lengths[side] ** 2))
        else:
            fourth = float(np.sum(replicas.fourths((each * side[:, None])[:, None, :])))
        if fourth > 0:
            number = np.sum(copies[side] * used[side])
            part, spread = part_of(side)
            effective = np.clip(spread * (rank + 2) / (rank + 1) / fourth - 2, 1.0, number)
            over += spread / float(_degrees(effective))
            if np.linalg.norm(part, 2) > MOST:
                least = min(least, float(number) - 1)
    if 1 < rank > least:
        return least
    if rank > 1:
        sets = [together == number for number in np.unique(together)]
        over = max(over, sum(part_of(own)[1] / float(_degrees(copies[own] @ used[own])) for own in sets))
    return (rank + rank**2) / over


def treated_together(treated: BoolArray) -> IntArray:
    """Number rows, of shape (N, K), so that those treated in the same terms have the same."""
    return np.unique(treated, axis=0, return_inverse=True)[1].reshape(-1)


def effective_number(
    sums: FloatArray, replicas: Summed | None = None, number: ArrayLike | None = None
) -> FloatArray:
    """Return 3 (sum s^2)^2 / sum s^4 - 2 of each column, shape (K,), between 1 and the number of clusters.

    With gamma_c = E s_c^2, what cluster c adds to the variance, the number that Carter, Schnepel and
    Steigerwald (2017) define is G* = (sum gamma)^2 / sum gamma^2. It is also Satterthwaite's (1946) degrees of
    freedom of the variance estimate sum s_c^2, 2 E(V)^2 / Var(V), for normal and independent sums, since then
    Var(s^2) = 2 gamma^2. They fill in gamma from the regressors; here it is estimated from the sums s_c
    themselves, so that it holds for every design. Squares in place of gammas would be wrong by a factor of about 3,
    because E s^4 = 3 gamma^2; unbiased for the two parts are sum s^4 / 3 for sum gamma^2, and
    (sum s^2)^2 - 2 sum s^4 / 3 for (sum gamma)^2. Their ratio is the formula: near G for clusters alike, near m
    where m clusters carry the variance, 1 where one does. Sums with tails heavier than the normal have a smaller
    number, as their variance estimate is less precise.

    Parameters
    ----------
    sums : ndarray, shape (G, K)
        Influence added up by cluster. A column without variance has NaN.
    replicas : Summed, optional
        As in :func:`covariance_degrees`.
    number : array-like, optional
        Of clusters, shape (K,); those with influence where it is not given.
    """
    if replicas is not None:
        each = sums / np.sqrt(replicas.frequency)[:, None]
        number = np.sum(present(largest(each, replicas.stratum)) * replicas.frequency[:, None], axis=0)
        fourth = replicas.fourths(each[:, :, None]).sum(axis=0)
        return effective_of_moments(np.einsum("ck,ck->k", sums, sums), fourth, number)
    most = np.abs(sums).max(axis=0)
    with np.errstate(invalid="ignore"):
        squares = (sums / most) ** 2
    number = np.sum(squares > NOTHING**2, axis=0) if number is None else number
    return effective_of_moments(squares.sum(axis=0), np.sum(squares**2, axis=0), number)


def effective_of_moments(second: FloatArray, fourth: FloatArray, number: ArrayLike) -> FloatArray:
    """Return the effective number from sums of second and fourth powers, and how many clusters they are of."""
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.clip(3 * second**2 / fourth - 2, 1.0, number)
