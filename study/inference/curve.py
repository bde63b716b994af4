"""Tests over many specifications of one effect, by multiplier draws of their joint influence."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from study.core import FloatArray
from study.estimates import Weights, exceeded, statistic_draws


class Largest(NamedTuple):
    """The largest absolute t of all specifications, its critical value and p-value if none has an effect."""

    statistic: float
    critical_value: float
    p_value: float


class Share(NamedTuple):
    """How many specifications are significant alone, and the share and p-value of it if none has an effect."""

    significant: int
    distinct: int
    expected: float
    p_value: float


class Median(NamedTuple):
    """The median effect, and the probability of one as far from zero if no specification has an effect."""

    value: float
    p_value: float


def null_statistics(sums: FloatArray, *, draws: int, seed: int, weights: Weights) -> FloatArray:
    """Return t statistics of all specifications under the null of no effect, shape (draws, K).

    ``sums`` are the influence added up by cluster, shape (G, K). Influence has mean zero whatever the effects
    are, so that these are draws of the estimates' errors, with the correlation that the specifications have. Each
    is over its own standard error, as the estimates are over theirs.
    """
    return np.concatenate(list(statistic_draws(sums, draws, seed, weights, "drawn")))


def largest_test(statistics: FloatArray, null: FloatArray, level: float) -> Largest:
    """Test that no specification has an effect, by the largest absolute t; null has shape (draws, K)."""
    largest = np.abs(null).max(axis=1)
    observed = float(np.abs(statistics).max())
    return Largest(observed, float(np.quantile(largest, level)), float(exceeded(largest, observed)))


def share_test(statistics: FloatArray, critical: FloatArray, null: FloatArray) -> Share:
    """Test that no specification has an effect, by how many are significant, each at its own critical value."""
    significant = int(np.sum(np.abs(statistics) > critical))
    drawn = np.sum(np.abs(null) > critical, axis=1)
    expected = float(drawn.mean() / len(statistics))
    return Share(significant, len(statistics), expected, float(exceeded(drawn, significant)))


def median_test(effect: FloatArray, error: FloatArray, null: FloatArray) -> Median:
    """Test that no specification has an effect, by the median of the effects, which are in one unit."""
    drawn = np.median(null * error, axis=1)
    value = float(np.median(effect))
    return Median(value, float(exceeded(np.abs(drawn), abs(value))))


def first_equal(
    effect: FloatArray, sums: FloatArray, unit: NDArray[np.int64], tolerance: float
) -> NDArray[np.int64]:
    """Return for each specification the first one of the same unit that it equals, itself if none, shape (K,).

    Equal are two whose effects, and whose sums of influence by cluster, differ by less than a tolerance times
    the size of the sums; ``effect`` is in units of the sums, so that its error is their total.
    """
    first, size = np.arange(len(effect)), np.sqrt(np.einsum("ck,ck->k", sums, sums))
    for k in range(len(effect)):
        near = (np.abs(effect[:k] - effect[k]) <= tolerance * size[k]) & (unit[:k] == unit[k])
        for j in np.flatnonzero(near & (first[:k] == np.arange(k))):
            if np.linalg.norm(sums[:, j] - sums[:, k]) <= tolerance * size[k]:
                first[k] = j
                break
    return first
