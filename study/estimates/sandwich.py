"""Cluster-robust covariance under named small-sample conventions, and the Wald test."""

from __future__ import annotations

import math
from typing import Literal, NamedTuple, get_args

import numpy as np

from study.core import (
    FloatArray,
    Influence,
    IntArray,
    QuestionError,
    chi_squared_tail,
    f_tail,
    refuse_unknown,
)

Clustered = Literal["CR0", "CR1", "CR1_fixest", "CR1_areg"]
# Covariances that a design hands over as matrices, since some are no sums over clusters of units.
Given = Literal["unadjusted", "robust", "clustered", "twoway", "driscoll_kraay"]
Convention = Literal["jackknife", "pooled", Clustered, Given]

NAMED: tuple[Clustered, ...] = get_args(Clustered)
GIVEN: tuple[Given, ...] = get_args(Given)
RANK_TOLERANCE = 1e-10


class Wald(NamedTuple):
    """A joint test that all its terms are zero.

    Attributes
    ----------
    statistic : float
        The effects' quadratic form in the inverse of their covariance.
    rank : int
        Of the covariance.
    p_value : float
        From the chi-squared distribution; with finite ``degrees`` of freedom nu of the covariance from F with rank and
        nu - rank + 1, of which the statistic times (nu - rank + 1) / (nu rank) is a draw.
    degrees : float
    """

    statistic: float
    rank: int
    p_value: float
    degrees: float = math.inf


def covariance(
    influence: Influence | FloatArray, cluster: IntArray, convention: Convention = "CR0", **sizes: int
) -> FloatArray:
    """Return the cluster-robust covariance of the estimates.

    Parameters
    ----------
    influence : Influence or ndarray, shape (n, K)
        By unit, scaled so that an estimate's error is its mean.
    cluster : ndarray of int, shape (n,)
    convention : {"CR0", "CR1", "CR1_fixest", "CR1_areg"}
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
    return meat * small_sample_factor(int(cluster.max()) + 1, convention, **sizes)


def small_sample_factor(
    n_clusters: int, convention: Convention, n_obs: int = 0, df_k: int = 0, n_fixed_effects: int = 0
) -> float:
    """Return the factor by which a convention multiplies CR0; NaN where it leaves no degree of freedom, N - k <= 0."""
    refuse_unknown("convention", convention, NAMED, "Covariance")
    if n_clusters < 2:
        raise QuestionError("Covariance: there is one cluster, so no sampling variance can be estimated.")
    if convention == "CR0":
        return 1.0
    factor = n_clusters / (n_clusters - 1)
    if convention == "CR1":
        return factor
    others = max(n_fixed_effects - 1, 0) if convention == "CR1_areg" else 0
    left = n_obs - df_k - others
    return factor * (n_obs - 1) / left if left > 0 else math.nan


def wald(effect: FloatArray, cov: FloatArray, degrees: float = math.inf) -> Wald:
    """Test that all effects are zero, on the rank that their covariance has.

    With degrees of freedom of the covariance that are fewer than its rank there is no test, and the p-value is NaN.
    """
    if not len(effect):
        raise QuestionError("Wald test: there is no term to test.")
    scale = np.sqrt(np.diag(cov))
    if not np.all(scale > 0):
        raise QuestionError("Wald test: a term has no sampling variance; leave it out.")
    correlation = cov / np.outer(scale, scale)
    values, vectors = np.linalg.eigh(correlation)
    used = values > RANK_TOLERANCE * len(effect)
    projected = vectors[:, used].T @ (effect / scale)
    statistic = float(np.sum(projected**2 / values[used]))
    rank = int(used.sum())
    if math.isinf(degrees):
        return Wald(statistic, rank, chi_squared_tail(statistic, rank))
    left = degrees - rank + 1
    p_value = f_tail(statistic * left / (degrees * rank), rank, left) if left > RANK_TOLERANCE else math.nan
    return Wald(statistic, rank, p_value, degrees)
