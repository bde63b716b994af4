"""Wald tests that several effects are zero."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from study.core import FloatArray, QuestionError, chi_squared_tail, f_tail, scaled_directions

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


def wald(effect: FloatArray, cov: FloatArray, degrees: float = math.inf) -> Wald:
    """Test that all effects are zero, on the rank that their covariance has.

    With degrees of freedom of the covariance that are fewer than its rank there is no test, and the p-value is NaN.
    """
    if not len(effect):
        raise QuestionError("Wald test: there is no term to test.")
    if not np.all(np.diag(cov) > 0):
        raise QuestionError("Wald test: a term has no sampling variance; leave it out.")
    scale, values, vectors = scaled_directions(cov, np.diag(cov))
    used = values > RANK_TOLERANCE * len(effect)
    projected = vectors[:, used].T @ (effect / scale)
    statistic = float(np.sum(projected**2 / values[used]))
    rank = int(used.sum())
    if math.isinf(degrees):
        return Wald(statistic, rank, chi_squared_tail(statistic, rank))
    left = degrees - rank + 1
    p_value = f_tail(statistic * left / (degrees * rank), rank, left) if left > RANK_TOLERANCE else math.nan
    return Wald(statistic, rank, p_value, degrees)
