"""Quantiles and tails of the normal, t and chi-squared distributions, without the cost of scipy.stats."""

from __future__ import annotations

import math

import numpy as np
from scipy import special

from study.panel import FloatArray


def quantile(probability: float, degrees: float = math.inf) -> float:
    """Return the quantile of the t distribution, the normal for infinitely many degrees of freedom."""
    if math.isinf(degrees):
        return float(special.ndtri(probability))
    return float(special.stdtrit(degrees, probability))


def two_sided_p(statistic: FloatArray, degrees: float = math.inf) -> FloatArray:
    """Return the p-value of two-sided t or normal tests."""
    tail = -np.abs(statistic)
    if math.isinf(degrees):
        return np.asarray(2 * special.ndtr(tail))
    return np.asarray(2 * special.stdtr(degrees, tail))


def chi_squared_tail(statistic: float, degrees: int) -> float:
    """Return the probability that a chi-squared variable exceeds the statistic."""
    return float(special.chdtrc(degrees, statistic))
