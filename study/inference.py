"""Inference from influence functions: covariance, simultaneous bands, Wald tests, randomization."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from study.distributions import chi_squared_tail, quantile
from study.errors import QuestionError
from study.influence import Influence
from study.panel import FloatArray
from study.threads import one_thread

Convention = Literal["CR0", "CR1", "CR1_fixest", "CR1_areg"]

RANK_TOLERANCE = 1e-10
BITS_AT_ONCE = 2**22


class Wald(NamedTuple):
    """A joint test that all its terms are zero: chi-squared statistic, its rank, its p-value."""

    statistic: float
    rank: int
    p_value: float


def covariance(
    influence: Influence | FloatArray,
    cluster: NDArray[np.int64],
    convention: Convention = "CR0",
    *,
    n_obs: int = 0,
    counted: int = 0,
    absorbed: int = 0,
    clusters: int = 0,
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
    n_obs, counted, absorbed : int
        N, k without unit effects, and the number of unit effects.
    clusters : int
        G where some clusters have no unit that is used; 0 stands for all that there are.

    Returns
    -------
    ndarray, shape (K, K)
    """
    influence = influence if isinstance(influence, Influence) else Influence.of(influence)
    meat: FloatArray = influence.products(cluster) / influence.shape[0] ** 2
    return meat * small_sample_factor(
        clusters or int(cluster.max()) + 1, convention, n_obs, counted, absorbed
    )


def small_sample_factor(
    n_clusters: int, convention: Convention, n_obs: int = 0, counted: int = 0, absorbed: int = 0
) -> float:
    """Return the factor by which a convention multiplies CR0."""
    if convention == "CR0":
        return 1.0
    if n_clusters < 2:
        raise QuestionError("Covariance: there is one cluster, so its sampling variance cannot be estimated.")
    factor = n_clusters / (n_clusters - 1)
    if convention == "CR1":
        return factor
    others = max(absorbed - 1, 0) if convention == "CR1_areg" else 0
    return factor * (n_obs - 1) / (n_obs - counted - others)


def wald(effect: FloatArray, cov: FloatArray) -> Wald:
    """Test that all effects are zero, on the rank that their covariance has."""
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
    return Wald(statistic, rank, chi_squared_tail(statistic, rank))


def sup_t(sums: FloatArray, *, level: float, draws: int, seed: int) -> float:
    """Return the critical value of a simultaneous band by the Rademacher multiplier bootstrap.

    Parameters
    ----------
    sums : ndarray, shape (G, K)
        Influence added up by cluster, of terms that all have sampling variance.
    level : float
        Simultaneous coverage, for example 0.95.
    draws, seed : int

    Returns
    -------
    float
        The ``level`` quantile of max_k |t_k| over the draws, at least the pointwise normal quantile
        (Callaway and Sant'Anna 2021, Algorithm 1).
    """
    largest = largest_draws(sums, draws, seed)
    return max(float(np.quantile(largest, level)), quantile((1 + level) / 2))


def largest_draws(sums: FloatArray, draws: int, seed: int) -> FloatArray:
    """Return max_k |t_k| of each draw of Rademacher signs by cluster, shape (draws,); in single precision."""
    scaled = (sums / np.sqrt(np.einsum("ck,ck->k", sums, sums))).astype(np.float32)
    total = scaled.sum(axis=0)
    rng, largest = np.random.default_rng(seed), np.empty(draws)
    in_bytes = 4 * -(-len(scaled) // 32)  # whole words, so that the signs do not depend on the draws at once
    at_once = max(1, min(draws, BITS_AT_ONCE // len(scaled)))
    bits = np.empty((at_once, len(scaled)), dtype=np.float32)
    for start in range(0, draws, at_once):
        part = largest[start : start + at_once]
        drawn = np.frombuffer(rng.bytes(len(part) * in_bytes), dtype=np.uint8).reshape(len(part), in_bytes)
        bits[: len(part)] = np.unpackbits(drawn, axis=1, count=len(scaled))
        with one_thread():  # in single precision the number of threads would show
            part[:] = np.abs(2 * (bits[: len(part)] @ scaled) - total).max(axis=1)
    return largest


class Randomization(NamedTuple):
    """A randomization test: the statistic, its p-value, and how many permutations it rests on."""

    statistic: float
    p_value: float
    permutations: int


def randomization_test(
    statistic: Callable[[NDArray[np.int64]], float],
    strata: NDArray[Any],
    *,
    permutations: int,
    seed: int,
    progress: Callable[[], None] | None = None,
) -> Randomization:
    """Compare a statistic with its distribution when event dates are dealt anew within strata.

    Valid, in finite samples, for the sharp null of no effect on any unit if dates are exchangeable
    within strata (Fisher 1935; for staggered adoption, Roth and Sant'Anna 2023).

    Parameters
    ----------
    statistic : callable
        Takes the order in which the units' event dates are dealt, shape (n,); larger in absolute value
        is more extreme.
    strata : ndarray, shape (n,)
        Dates are exchanged only between units of one stratum.
    permutations, seed : int
    progress : callable, optional
        Called after each permutation.

    Returns
    -------
    Randomization
        With p = (1 + draws at least as extreme) / (1 + draws).
    """
    rng = np.random.default_rng(seed)
    identity = np.arange(len(strata))
    groups = [np.flatnonzero(strata == label) for label in np.unique(strata)]
    observed = statistic(identity)
    threshold = abs(observed) * (1 - 1e-12)
    extreme = 0
    for _ in range(permutations):
        order = identity.copy()
        for members in groups:
            order[members] = rng.permutation(members)
        extreme += abs(statistic(order)) >= threshold
        if progress is not None:
            progress()
    return Randomization(observed, (1 + extreme) / (1 + permutations), permutations)


@dataclass(frozen=True, eq=False)
class Joint:
    """Terms of several estimates with their joint sampling distribution.

    Attributes
    ----------
    names : tuple of str
    effect : ndarray, shape (K,)
    influence : ndarray, shape (n, K)
        On the union of the estimates' units; a unit outside an estimate's sample has a zero there.
    cluster : ndarray of int, shape (n,)
    """

    names: tuple[str, ...]
    effect: FloatArray
    influence: FloatArray
    cluster: NDArray[np.int64]

    def covariance(self) -> FloatArray:
        """Return the joint covariance: CR0 times G/(G-1)."""
        return covariance(self.influence, self.cluster, "CR1")

    def differences(self) -> Joint:
        """Return every effect less the first one."""
        return Joint(
            tuple(f"{name} - {self.names[0]}" for name in self.names[1:]),
            self.effect[1:] - self.effect[0],
            self.influence[:, 1:] - self.influence[:, :1],
            self.cluster,
        )

    def test(self) -> Wald:
        """Test that all effects are zero."""
        return wald(self.effect, self.covariance())


def stack(
    names: Sequence[str],
    effects: Sequence[FloatArray],
    influences: Sequence[FloatArray],
    unit_ids: Sequence[NDArray[Any]],
    clusters: Sequence[NDArray[Any]],
) -> Joint:
    """Stack estimates on the union of their units; each influence is multiplied by n_union / n_sample."""
    union, first = np.unique(np.concatenate(unit_ids), return_index=True)
    labels = np.concatenate(clusters)[first]
    blocks = []
    for influence, units in zip(influences, unit_ids, strict=True):
        block = np.zeros((len(union), influence.shape[1]))
        block[np.searchsorted(union, units)] = influence * (len(union) / len(units))
        blocks.append(block)
    return Joint(
        tuple(names), np.concatenate(effects), np.hstack(blocks), np.unique(labels, return_inverse=True)[1]
    )
