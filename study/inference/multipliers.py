"""The multiplier bootstrap: draws of signs by cluster, and the critical value of a simultaneous band."""

from __future__ import annotations

import numpy as np

from study.distributions import quantile
from study.panel import FloatArray
from study.threads import one_thread

BITS_AT_ONCE = 2**22


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
