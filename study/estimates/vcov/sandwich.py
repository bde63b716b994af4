"""The cluster-robust sandwich with its small-sample factors."""

from __future__ import annotations

import math
from functools import cached_property

import numpy as np

from study.core import FloatArray, Influence, IntArray, QuestionError, refuse_unknown
from study.estimates.vcov.base import ClusterSum
from study.estimates.vcov.names import NAMED, VcovName


def covariance(
    influence: Influence | FloatArray, cluster: IntArray, vcov: VcovName = "CR0", **sizes: int
) -> FloatArray:
    """Return the cluster-robust covariance of the estimates.

    Parameters
    ----------
    influence : Influence or ndarray, shape (n, K)
        By unit, scaled so that an estimate's error is its mean.
    cluster : ndarray of int, shape (n,)
    vcov : {"CR0", "CR1", "CR1_fixest", "CR1_areg"}
        Sum over clusters of s s' / n^2; that times G/(G-1); and that times (N-1)/(N-k) again. "CR1_fixest"
        counts k as fixest does and Stata's xtreg and reghdfe do: unit effects, nested in clusters, are not
        counted. "CR1_areg" counts them, as Stata's areg and fixest's K.fixef = "full" do.
    **sizes
        ``n_obs``, ``df_k`` and ``n_fixed_effects``: N, k without unit effects, and the number of unit effects.

    Returns
    -------
    ndarray, shape (K, K)
    """
    influence = influence if isinstance(influence, Influence) else Influence.of(influence)
    meat: FloatArray = influence.products(cluster) / influence.shape[0] ** 2
    return meat * small_sample_factor(int(cluster.max()) + 1, vcov, **sizes)


def small_sample_factor(
    n_clusters: int, vcov: VcovName, n_obs: int = 0, df_k: int = 0, n_fixed_effects: int = 0
) -> float:
    """Return what a covariance estimator multiplies CR0 by; NaN where it leaves no degree of freedom, N - k <= 0."""
    refuse_unknown("vcov", vcov, NAMED, "Covariance")
    if n_clusters < 2:
        raise QuestionError("Covariance: there is one cluster, so no sampling variance can be estimated.")
    if vcov == "CR0":
        return 1.0
    factor = n_clusters / (n_clusters - 1)
    if vcov == "CR1":
        return factor
    others = max(n_fixed_effects - 1, 0) if vcov == "CR1_areg" else 0
    left = n_obs - df_k - others
    return factor * (n_obs - 1) / left if left > 0 else math.nan


class CR0(ClusterSum):
    """The influence-function variance without a small-sample factor, with normal critical values.

    Source: Liang, K.-Y. and S. L. Zeger (1986), Biometrika 73(1). It is too small with few clusters on a side.
    """

    name: VcovName = "CR0"

    @cached_property
    def _root_of_factor(self) -> FloatArray:
        fit = self.fit
        sizes = (fit.n_obs, fit.df_k, fit.n_fixed_effects)
        factor = small_sample_factor(fit.n_clusters, self.name, *sizes)
        return np.full(len(fit.terms), math.sqrt(factor))

    @cached_property
    def level_errors(self) -> Influence:
        """Influence on effects in levels, times the root of the small-sample factor, shape (n, K)."""
        return self.fit.level_influence.scaled(self._root_of_factor)

    @cached_property
    def untreated_errors(self) -> Influence | None:
        """Influence on untreated means, times the root of the small-sample factor, shape (n, K)."""
        linear = self.fit.untreated_influence
        return None if linear is None else linear.scaled(self._root_of_factor)

    @property
    def degrees_of_freedom(self) -> FloatArray:
        """Infinite, shape (K,): critical values are normal."""
        return np.full(len(self.fit.terms), math.inf)


class CR1(CR0):
    """CR0 times G / (G - 1) for G clusters, with normal critical values.

    Source: as statsmodels and the R package sandwich have it without the factor for parameters.
    """

    name: VcovName = "CR1"


class CR1Fixest(CR0):
    """CR0 times G / (G - 1) times (N - 1) / (N - k), with the t distribution of G - 1 degrees of freedom.

    Source: Bergé, L. (2018), the R package fixest; Stata's xtreg and reghdfe. k leaves out effects that are nested in
    clusters, such as those of units.
    """

    name: VcovName = "CR1_fixest"

    @property
    def degrees_of_freedom(self) -> FloatArray:
        """G - 1, shape (K,)."""
        return np.full(len(self.fit.terms), self.fit.n_clusters - 1.0)


class CR1Areg(CR1Fixest):
    """As "CR1_fixest", with unit effects counted in k.

    Source: Stata's areg; fixest's ``ssc(K.fixef = "full")``.
    """

    name: VcovName = "CR1_areg"
