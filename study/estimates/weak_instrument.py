"""How much an instrument moves treatment, with confidence sets of its effect that hold if it is little."""

from __future__ import annotations

import math

import numpy as np

from study.core import FloatArray, IntArray, quantile
from study.estimates.sandwich import covariance

Interval = tuple[float, float]

WEAK = math.sqrt(10)


def anderson_rubin(
    psi_b: FloatArray, psi_a: FloatArray, cluster: IntArray, level: float = 0.95
) -> tuple[Interval, ...]:
    """Return the values of theta at which a linear score's mean is not rejected to be zero.

    With sums b_c and a_c of psi_b and psi_a over clusters, these are the theta for which
    (sum_c b_c + theta a_c)^2 <= q sum_c (b_c + theta a_c)^2, q the quantile of the chi-squared distribution of one
    degree of freedom: a quadratic inequality.

    Parameters
    ----------
    psi_b, psi_a : ndarray, shape (N,)
        The score is psi_b + theta psi_a.
    cluster : ndarray of int, shape (N,)
    level : float

    Returns
    -------
    tuple of intervals
        One interval, which can be the whole line or half of it, or the two that lie around a gap.

    References
    ----------
    Anderson, T. W. and H. Rubin (1949). Estimation of the parameters of a single equation in a complete system of
    stochastic equations. Annals of Mathematical Statistics 20(1).
    """
    b, a = (np.bincount(cluster, weights=psi) for psi in (psi_b, psi_a))
    q = quantile((1 + level) / 2) ** 2
    square, half, constant = (
        float(left.sum() * right.sum() - q * (left @ right)) for left, right in ((a, a), (a, b), (b, b))
    )
    inside = half**2 - square * constant
    if square <= 0 and (inside <= 0 or square == half == 0):
        return ((-math.inf, math.inf),)
    if square == 0:
        end = -constant / (2 * half)
        return ((-math.inf, end),) if half > 0 else ((end, math.inf),)
    middle, reach = -half / square, math.sqrt(max(inside, 0.0)) / abs(square)
    if square > 0:
        return ((middle - reach, middle + reach),)
    return (-math.inf, middle - reach), (middle + reach, math.inf)


def in_words(intervals: tuple[Interval, ...]) -> str:
    """Say what the 95% set is."""
    (low, high), *more = intervals
    start = "The 95% Anderson-Rubin set, which holds however weak the instrument is, is"
    if more:
        return f"{start} everything but the values from {high:.4g} to {more[0][0]:.4g}: it is bounded on neither side."
    if math.isinf(low) and math.isinf(high):
        return f"{start} the whole line: the data exclude no effect."
    if math.isinf(low) or math.isinf(high):
        side, end = ("below", high) if math.isinf(low) else ("above", low)
        return f"{start} everything {side} {end:.4g}."
    return f"{start} from {low:.4g} to {high:.4g}."


def first_stage(moved: FloatArray, size: FloatArray, cluster: IntArray, cause: str) -> str:
    """Say how much the instrument moves treatment, and whether that is too little for the usual interval.

    Parameters
    ----------
    moved, size : ndarray, shape (N, R)
        The effect of the instrument on treatment is the sum of ``moved`` over that of ``size``, in each draw of the
        folds.
    cluster : ndarray of int, shape (N,)
    cause : str
        What moves it, in words.
    """
    effect = moved.sum(axis=0) / size.sum(axis=0)
    influence = len(moved) * ((moved - effect * size) / size.sum(axis=0)).mean(axis=1, keepdims=True)
    error = math.sqrt(covariance(influence, np.unique(cluster, return_inverse=True)[1])[0, 0])
    mean = float(effect.mean())
    moves = f"First stage: {cause} moves the probability of treatment by {mean:.3g}"
    if not error > 1e-10 * abs(mean):
        return f"{moves}, for every unit."
    weak = (
        " It is weak (t squared is below 10): the standard error and interval of the estimate are not to be relied on."
        if abs(mean / error) < WEAK
        else ""
    )
    return f"{moves} (t = {mean / error:.1f}).{weak}"
