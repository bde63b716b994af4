"""The multiplier bootstrap: draws of t statistics, bands and p-values from them."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from study.core import FloatArray, QuestionError, one_thread, quantile, refuse_unknown

# Far above what rounding leaves of equal statistics in double precision, far below what draws differ by.
TIE = 1e-9
Weights = Literal["gaussian", "rademacher", "mammen", "webb"]
Errors = Literal["sample", "drawn"]
NUMBERS_AT_ONCE = 2**18  # small blocks stay in the cache
LEAST_SPREAD = 1e-6
NO_VALUE = 1e-10
# Values and cumulative probabilities; of mean 0 and variance 1, Mammen's also with third moment 1.
_DISTRIBUTIONS: dict[str, tuple[FloatArray, FloatArray]] = {
    "rademacher": (np.array([-1.0, 1.0]), np.array([0.5, 1.0])),
    "mammen": (
        np.array([(1 - math.sqrt(5)) / 2, (1 + math.sqrt(5)) / 2]),
        np.array([(5 + math.sqrt(5)) / 10, 1.0]),
    ),
    "webb": (
        np.array([-math.sqrt(1.5), -1.0, -math.sqrt(0.5), math.sqrt(0.5), 1.0, math.sqrt(1.5)]),
        np.arange(1, 7) / 6,
    ),
}


def least_as_large(observed: Any, scale: Any = None) -> Any:
    """Return the smallest drawn size that counts as at least as large as the observed one.

    Draws that are equal to the observed statistic count, and which are equal must not depend on the order in which
    a processor adds: equal are two that differ by less than :data:`TIE` times the larger of the observed size and
    ``scale``, where one is given. All are in double precision.

    Parameters
    ----------
    observed : float or ndarray
        Absolute statistics.
    scale : float or ndarray, optional
        What draws are in the order of, where the observed size may be zero but for rounding.
    """
    return observed * (1 - TIE) if scale is None else observed - TIE * np.maximum(observed, scale)


def distribution(weights: Weights) -> tuple[FloatArray, FloatArray]:
    """Return the values that a weight takes and their probabilities.

    "rademacher" is a sign; "mammen" the two points of Mammen (1993) with third moment 1; "webb" the six points
    of Webb (2023), for few clusters, of which there are only 2^G patterns of signs.
    """
    refuse_unknown("weights", weights, _DISTRIBUTIONS, "Multiplier bootstrap")
    values, cumulative = _DISTRIBUTIONS[weights]
    return values.copy(), np.diff(cumulative, prepend=0.0)


def sup_t(largest: FloatArray, level: float) -> float:
    """Return the critical value of a simultaneous band: the quantile of the largest |t| of draws.

    With many clusters all weights and errors agree. With few, weights other than "gaussian" make the largest draws
    too small, since their sums are bounded, and the sample's standard errors have few degrees of freedom, which
    :meth:`study.Estimate.band` corrects for. With ``errors="drawn"`` the band covers at its level with the weights
    "rademacher" or "webb", and with "mammen" still too seldom.

    Parameters
    ----------
    largest : ndarray, shape (draws,)
        Of :func:`largest_draws`.
    level : float
        Simultaneous coverage, for example 0.95.

    Returns
    -------
    float
        The ``level`` quantile over the draws, at least the pointwise normal quantile (Callaway and Sant'Anna 2021,
        Algorithm 1).
    """
    return max(float(np.quantile(largest, level)), quantile((1 + level) / 2))


def largest_draws(
    sums: FloatArray, draws: int, seed: int, weights: Weights = "gaussian", errors: Errors = "sample"
) -> FloatArray:
    """Return max_k |t_k| of each draw of weights by cluster, shape (draws,)."""
    parts = statistic_draws(sums, draws, seed, weights, errors)
    return np.concatenate([np.abs(part).max(axis=1) for part in parts])


def exceeded(largest: FloatArray, statistic: FloatArray | float) -> FloatArray:
    """Return the p-values of statistics against drawn ones, (1 + draws at least as large) / (1 + draws).

    Ties count, see :func:`study.estimates.multiplier.least_as_large`; a statistic that is NaN has no p-value.
    """
    observed = np.asarray(statistic, dtype=float)
    as_large = len(largest) - np.searchsorted(np.sort(largest), least_as_large(observed), side="left")
    return np.where(np.isnan(observed), np.nan, (1 + as_large) / (1 + len(largest)))


def p_of_draws(drawn: FloatArray, observed: float, *, exact: bool = False) -> float:
    """Return (1 + draws at least as far from zero as the observed statistic) / (1 + draws).

    Of ``exact`` draws, all there are with the observed one among them, it is their share. Ties count, and so do draws
    that are not defined, NaN.
    """
    size = np.abs(drawn)
    known = size[~np.isnan(size)]
    typical = float(np.median(known)) if len(known) else 0.0
    extreme = int(np.sum(~(size < least_as_large(abs(observed), typical))))
    return extreme / len(drawn) if exact else (1 + extreme) / (1 + len(drawn))


def statistic_draws(
    sums: FloatArray, draws: int, seed: int, weights: Weights = "gaussian", errors: Errors = "sample"
) -> Iterator[FloatArray]:
    """Yield t statistics under the null that every effect is zero, a draw a row, in blocks of shape (m, K).

    A draw of term k is sum_c w_c s_ck over a standard error, with s the sums by cluster and w the weights; all
    terms have the same weights, so that draws are correlated as the terms' errors are. With normal weights,
    "gaussian", they are normal with the covariance of the terms, and are drawn as that. The draws do not depend on
    the size of the blocks.

    The standard error is that of the sample, sqrt(sum_c s_ck^2), as in Callaway and Sant'Anna (2021); or with
    ``errors="drawn"`` the draw's own, sqrt(G / (G-1) sum_c (w_c s_ck - mean_c w_c s_ck)^2), the percentile-t
    bootstrap, for statistics that have CR0 times G/(G-1).

    Raises
    ------
    QuestionError
        If there is no such distribution of weights, or one cluster.
    """
    if len(sums) < 2 and errors == "drawn":
        raise QuestionError("Multiplier bootstrap: there is one cluster, so no draw has a standard error.")
    if weights != "gaussian":
        distribution(weights)
    elif errors == "drawn":
        raise QuestionError(
            'Multiplier bootstrap: errors="drawn" needs weights by cluster; take weights="rademacher" or "webb".'
        )
    scaled = sums / np.sqrt(np.einsum("ck,ck->k", sums, sums))
    if weights == "gaussian":
        with one_thread():
            normal = np.random.default_rng(seed).standard_normal((draws, scaled.shape[1]))
            yield normal @ _symmetric_root(scaled.T @ scaled)
        return
    with_signs, values = weights == "rademacher", _DISTRIBUTIONS[weights][0]
    total, squared, n_clusters = scaled.sum(axis=0), scaled**2, len(scaled)
    for codes in weight_codes(weights, n_clusters, draws, seed, max(1, NUMBERS_AT_ONCE // n_clusters)):
        with one_thread():  # with more it would show how many they are
            drawn = 2 * (codes.astype(float) @ scaled) - total if with_signs else values[codes] @ scaled
            squares = np.ones_like(drawn) if with_signs else (values**2)[codes] @ squared
        if errors == "drawn":
            spread = (squares - drawn**2 / n_clusters) * (n_clusters / (n_clusters - 1))
            drawn = drawn / np.sqrt(np.maximum(spread, LEAST_SPREAD))
        yield drawn


def weight_codes(
    weights: Weights, n_clusters: int, draws: int, seed: int, at_once: int
) -> Iterator[NDArray[np.integer]]:
    """Yield which of its values each cluster's weight has, a draw a row; they do not depend on the draws at once."""
    rng = np.random.default_rng(seed)
    in_bytes = 4 * -(-n_clusters // 32)  # whole words of signs, a bit a sign
    for start in range(0, draws, at_once):
        size = min(at_once, draws - start)
        if weights == "rademacher":
            signs = np.frombuffer(rng.bytes(size * in_bytes), dtype=np.uint8).reshape(size, in_bytes)
            yield np.unpackbits(signs, axis=1, count=n_clusters)
        else:
            uniform = rng.random((size, n_clusters))
            yield np.searchsorted(_DISTRIBUTIONS[weights][1], uniform, side="right")


def _symmetric_root(square: FloatArray) -> FloatArray:
    """Return the symmetric root of a covariance, which does not depend on the choice of its eigenvectors."""
    values, vectors = np.linalg.eigh(square)
    values = np.where(values > NO_VALUE * values[-1], values, 0.0)  # rounding error has no root
    return np.asarray((vectors * np.sqrt(values)) @ vectors.T)
