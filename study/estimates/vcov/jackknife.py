"""The default: influence that leaves each cluster out in turn, with the degrees of freedom of both sides."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property

import numpy as np

from study.core import BoolArray, FloatArray, Influence, sums_by
from study.estimates.contrast import LeftOut
from study.estimates.vcov.base import ClusterSum
from study.estimates.vcov.degrees import (
    covariance_degrees,
    degrees_of_freedom,
    sums_by_cluster,
    treated_together,
)
from study.estimates.vcov.leverage import leverage, on_sides, weighed
from study.estimates.vcov.one_cluster import one_cluster_sides

OnScale = Callable[[Influence, Influence | None], Influence]


class Jackknife(ClusterSum):
    """Influence corrected for the leverage of each cluster, and Satterthwaite's degrees of freedom.

    With h the share of cluster c in the weight of its side, its influence is divided by 1 - h, which is what leaving it
    out of that side's mean does (Hansen 2024; CR3). A side of one cluster takes the pooled variance of both sides (Lee
    and Wooldridge 2025). The t distribution has the degrees of freedom of the effective numbers of clusters on both
    sides (Bell and McCaffrey 2002; Carter, Schnepel and Steigerwald 2017), which are estimated from the clusters' sums.
    """

    by_clusters = True

    @cached_property
    def left_out(self) -> LeftOut:
        """Influence that leaves each cluster out, with the pooled variance of sides of one cluster."""
        left = self.without_pooled
        return self._with_one_cluster_sides(left) if self.fit.sides.both else left

    @cached_property
    def without_pooled(self) -> LeftOut:
        """Influence that leaves each cluster out, where both sides have several."""
        fit, left = self.fit, self.fit.contrast.left_out
        if left is None:
            return weighed(fit, leverage(fit.level_influence, fit.sides))
        if fit.sides.both:
            some = on_sides(fit.level_influence, fit.sides)
            some |= left.clusters == 1  # of these the design itself says why
            left = left._replace(clusters=left.clusters * some, estimable=left.estimable & some.all(axis=0))
        return left

    def _with_one_cluster_sides(self, left: LeftOut) -> LeftOut:
        """Give terms with one cluster on a side the pooled variance of both sides, where the other side has several."""
        fit, contrast = self.fit, self.fit.contrast
        only = contrast.single(len(fit.terms))
        few = (only >= 0) | (~left.estimable & (left.clusters.min(axis=0) < 2))
        few &= ~fit.reference & np.isfinite(fit.effect_level) & (left.clusters.max(axis=0) >= 2)
        estimable = left.estimable & (only < 0)
        if not few.any():
            return left._replace(estimable=estimable)
        k, place = np.flatnonzero(few), np.eye(len(few))
        influence = fit.level_influence.columns(k).dense()
        # A design that counts clusters itself says that one carries the term where it names none.
        clusters = left.clusters if contrast.left_out is None else np.maximum(left.clusters, 1)
        found = one_cluster_sides(influence, fit.sides.select(k), only[k], clusters[:, k])
        estimable[k] = found.estimable
        sign = self._signs_of_clusters(left.level.select(estimable & ~few), found.own)

        def replaced(others: Influence | None, few_terms: FloatArray) -> Influence:
            own = Influence.of(few_terms) @ place[few]
            return own if others is None or few.all() else others.select(~few) @ place[~few] + own

        level = replaced(left.level, influence * found.factor)
        untreated = left.untreated
        if untreated is not None and fit.untreated_influence is not None:
            untreated = replaced(untreated, fit.untreated_influence.columns(k).dense() * found.factor)
        pooled = replaced(left.pooled, found.own * sign)
        return left._replace(level=level, untreated=untreated, pooled=pooled, estimable=estimable)

    def _signs_of_clusters(self, others: Influence, own: FloatArray) -> FloatArray:
        """Return the sign of each row's influence on the other terms, shape (n, 1); 1 where it has none.

        Errors of a cluster are correlated over terms, so that one which is alone in a term has an error there of the
        sign that it has elsewhere.
        """
        sign, rows = np.ones((len(own), 1)), np.flatnonzero(own.any(axis=1))
        if len(rows) and others.shape[1]:
            cluster = self.fit.sample.cluster
            of_cluster = sums_by(others.dense().sum(axis=1, keepdims=True), cluster, int(cluster.max()) + 1)
            sign[rows] = np.where(of_cluster[cluster[rows]] < 0, -1.0, 1.0)
        return sign

    @cached_property
    def level_errors(self) -> Influence:
        """Influence on effects in levels, shape (n, K)."""
        left = self.left_out
        return left.level if left.pooled is None else left.level + left.pooled

    @cached_property
    def untreated_errors(self) -> Influence | None:
        """Influence on untreated means in levels, shape (n, K)."""
        left = self.left_out
        if left.untreated is None or left.pooled is None:
            return left.untreated
        return left.untreated - left.pooled

    @property
    def estimable(self) -> BoolArray:
        """Which terms have a sampling variance, shape (K,)."""
        return ~self.fit.reference & self.left_out.estimable

    @cached_property
    def on_one_cluster(self) -> BoolArray:
        """Which terms have a pooled variance, since a side of them is one cluster, shape (K,)."""
        pooled, n = self.left_out.pooled, self.fit.sample.n_rows
        if pooled is None:
            return np.zeros(len(self.fit.terms), dtype=bool)
        return (pooled.squares(np.arange(n)) > 0) & self.estimable

    @cached_property
    def degrees_of_freedom(self) -> FloatArray:
        """Degrees of freedom that the clusters on both sides leave, shape (K,); NaN for terms without a variance."""
        return np.where(self.estimable & ~self.fits_exactly, self.degrees(self.fit.on_scale), np.nan)

    @property
    def level_degrees(self) -> FloatArray:
        """Degrees of freedom of the t statistics of effects in levels, shape (K,)."""
        if self.fit.sample.question.scale != "proportional":
            return self.degrees_of_freedom
        return self.degrees(lambda level, _: level)

    def degrees(self, on_scale: OnScale) -> FloatArray:
        """Return the degrees of freedom of effects in levels or on the question's scale, shape (K,)."""
        left, sides, sample = self.left_out, self.fit.sides, self.fit.sample
        errors = on_scale(left.level, left.untreated)
        if left.pooled is None:
            return degrees_of_freedom(errors, sides)
        with_pooled = on_scale(self.level_errors, self.untreated_errors).squares(
            sample.cluster, sample.copies
        )
        added = np.maximum(with_pooled - errors.squares(sample.cluster, sample.copies), 0.0)
        squares, treated = left.pooled.dense() ** 2, sides.treated[sides.group] > 0
        from_treated = np.sum(squares * ~treated, axis=0) > np.sum(squares * treated, axis=0)
        return degrees_of_freedom(errors, sides, np.stack([added * from_treated, added * ~from_treated]))

    def joint_degrees(self, errors: Influence, used: BoolArray) -> float:
        """Return the degrees of freedom of the covariance of some terms, whose influence is given."""
        sides = self.fit.sides.select(np.flatnonzero(used))
        sums, *which_clusters = sums_by_cluster(errors, sides)
        treated, present = (np.asarray(each.any(axis=1)) for each in which_clusters)
        of_group = treated_together(sides.treated > 0)
        together = np.zeros(len(sums), dtype=np.int64)
        np.maximum.at(together, sides.cluster, of_group[sides.group])
        return covariance_degrees(sums, treated, self.fit.sample.replicas, present, together)
