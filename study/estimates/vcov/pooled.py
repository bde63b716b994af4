"""One variance for the clusters of both sides: Student's t test of two groups."""

from __future__ import annotations

from functools import cached_property

import numpy as np

from study.core import BoolArray, FloatArray, Influence
from study.estimates.contrast import LeftOut, Sides
from study.estimates.vcov.base import ClusterSum
from study.estimates.vcov.leverage import Leverage, in_blocks, weighed


def pooled(influence: Influence, sides: Sides) -> Leverage:
    """Return what makes sums of squares of influence those of a pooled variance: Student's t of two groups.

    With h_c the share of cluster c in the weight of its side, its influence over n is h_c times what its mean is away
    from that of the side. If these means vary by the same sigma^2 on both sides, with which the variance of the
    contrast is sigma^2 sum h_c^2, their squares add up to m - 2 + m sum h_c^2 times sigma^2 on a side of m clusters,
    m - 1 where these weigh alike, and estimate it with one treated cluster too; for means of normal outcomes the t test
    is exact then (Lee and Wooldridge 2025). They do if all treated clusters have one date. With several, a comparison
    cluster's mean is of changes that are averaged over dates, which vary less.
    """
    return in_blocks(_pooled, influence, sides)


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


class Pooled(ClusterSum):
    """One variance of the clusters' means on both sides, with the t distribution of C - 2 degrees of freedom.

    Source: Student's two-sample t test of averages (Lee, S. J. and J. M. Wooldridge 2025; Donald, S. G. and K. Lang
    2007, Review of Economics and Statistics 89(2)). It allows one treated cluster, and is exact for normal outcomes
    that vary as much on both sides if there is one date of treatment. See :func:`pooled` for the formula.
    """

    @cached_property
    def _on_two_sides(self) -> LeftOut:
        return weighed(self.fit, pooled(self.fit.level_influence, self.fit.sides))

    @property
    def level_errors(self) -> Influence:
        """Influence on effects in levels, shape (n, K)."""
        return self._on_two_sides.level

    @property
    def untreated_errors(self) -> Influence | None:
        """Influence on untreated means in levels, shape (n, K)."""
        return self._on_two_sides.untreated

    @property
    def estimable(self) -> BoolArray:
        """Which terms have a sampling variance, shape (K,): those with three clusters on both sides together."""
        return ~self.fit.reference & self._on_two_sides.estimable

    @property
    def degrees_of_freedom(self) -> FloatArray:
        """C - 2, shape (K,)."""
        return np.where(self.estimable, self._on_two_sides.clusters.sum(axis=0) - 2.0, np.nan)

    def joint_degrees(self, errors: Influence, used: BoolArray) -> float:
        """Return the least degrees of freedom of some terms."""
        return float(self.degrees_of_freedom[used].min())
