"""Equivalence tests: whether an effect beyond a bound is excluded, and which bound is small."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike
from scipy import special

from study.core import BoolArray, FloatArray, QuestionError, p_is
from study.designs.imputation import untreated_regression
from study.estimates import SIZE, Effect
from study.panel import Sample, Scale

SMALL = (
    0.36  # standard deviations of what two-way effects leave, as Liu, Wang and Xu (2024) take after others
)


def equivalence_p(estimate: ArrayLike, std_error: ArrayLike, bound: float, degrees: ArrayLike) -> FloatArray:
    """Return p-values of the hypothesis that an effect is at or beyond a bound, on either side, shape (K,).

    The larger of two one-sided t tests (Schuirmann 1987; Hartman and Hidalgo 2018).
    """
    nearest = (bound - np.abs(np.asarray(estimate))) / np.asarray(std_error)
    return np.asarray(special.stdtr(np.minimum(degrees, 1e300), -nearest))


def small_bound(sample: Sample, seen: BoolArray) -> float:
    """Return 0.36 standard deviations of the residuals of unit and period effects, and covariates, in cells (n, T)."""
    fit = untreated_regression(sample, np.where(seen, sample.outcome_with_covariates, np.nan))
    left = fit.n_obs - (fit.df_k - 1) - fit.n_fixed_effects
    if left < 1:
        raise QuestionError("equivalence test: unit and period effects leave no residuals; give a bound.")
    return SMALL * float(np.sqrt(sum(np.sum(part**2) for part in fit.residual) / left))


def excluded(p_value: float, what: str, bound: float, scale: Scale) -> str:
    """Say whether an effect at or beyond a bound is excluded at 5%, with the p-value of the equivalence test."""
    excludes = "is excluded" if p_value < SIZE else "is not excluded"
    return f"{what} of {scale.text(bound)} or more either way {excludes} (equivalence test, {p_is(p_value)})"


def at_each(rows: Sequence[Effect], bound: float, scale: Scale, what: str) -> tuple[FloatArray, str]:
    """Return the p-values of the equivalence tests of effects, shape (K,), and say what all of them exclude."""
    estimate, error, degrees = np.array([(row.estimate, row.std_error, row.degrees) for row in rows]).T
    p_values = equivalence_p(estimate, error, bound, degrees)
    largest = float(np.nanmax(p_values))  # some may have no standard error
    every = "every" if largest < SIZE else "some"
    return p_values, f"At {every} {what} {excluded(largest, 'an effect', bound, scale)}."


def refuse_bound(who: str, bound: float | None) -> None:
    """Refuse a bound that is not above zero."""
    if bound is not None and not 0 < bound < np.inf:
        raise QuestionError(f"{who}: bound is {bound:g}; it must be a finite number above 0.")
