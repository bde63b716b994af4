"""Quantiles and tails of the normal, t, F and chi-squared distributions, without the cost of scipy.stats."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike
from scipy import special

from study.core.arrays import FloatArray


def quantile(probability: float, degrees: float = math.inf) -> float:
    """Return the quantile of the t distribution, the normal for infinitely many degrees of freedom."""
    return float(t_quantile(probability, degrees))


def t_quantile(probability: ArrayLike, degrees: ArrayLike) -> FloatArray:
    """Return quantiles of t distributions, the normal's for infinitely many degrees of freedom."""
    finite = np.isfinite(degrees)
    normal = special.ndtri(probability)
    return np.asarray(np.where(finite, special.stdtrit(np.where(finite, degrees, 1.0), probability), normal))


def two_sided_p(statistic: ArrayLike, degrees: ArrayLike = math.inf) -> FloatArray:
    """Return the p-values of two-sided t tests, of normal ones for infinitely many degrees of freedom."""
    tail, finite = -np.abs(statistic), np.isfinite(degrees)
    t = special.stdtr(np.where(finite, degrees, 1.0), tail)
    return np.asarray(2 * np.where(finite, t, special.ndtr(tail)))


def same_tail(normal: ArrayLike, degrees: ArrayLike) -> FloatArray:
    """Return the t statistics with the p-values of positive normal ones; the inverse of :func:`normal_score`."""
    return -t_quantile(special.ndtr(-np.asarray(normal)), degrees)


def normal_score(statistic: ArrayLike, degrees: ArrayLike) -> FloatArray:
    """Return the absolute normal statistics with the p-values of t statistics."""
    return np.asarray(-special.ndtri(two_sided_p(statistic, degrees) / 2))


def f_tail(statistic: float, first: float, second: float) -> float:
    """Return the probability that an F variable exceeds the statistic."""
    return float(special.fdtrc(first, second, statistic))


def chi_squared_tail(statistic: float, degrees: int) -> float:
    """Return the probability that a chi-squared variable exceeds the statistic."""
    return float(special.chdtrc(degrees, statistic))
