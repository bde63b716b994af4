"""Rows of a partially linear panel model: first differences, or levels whose unit effects are taken out."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Literal, NamedTuple

import numpy as np

from study.core import FloatArray, IntArray, QuestionError
from study.learners.cross_fitting import Centre, by_period
from study.learners.problem import Rows
from study.panel import Sample

Approach = Literal["first_differences", "within", "correlated_random_effects"]


class PanelRows(NamedTuple):
    """One row a unit and period that is used.

    Arrays of shape (N,): the unit's and the period's number, the outcome and the treatment, or their changes;
    covariates of shape (N, p); ``moves`` marks rows with a change of treatment, or of units that have one;
    ``used`` marks the sample's cells that the rows come from, shape (n, T).
    """

    unit: IntArray
    period: IntArray
    outcome: FloatArray
    treatment: FloatArray
    covariates: FloatArray
    moves: Rows
    used: Rows


class Transformed(NamedTuple):
    """Rows, what is taken out of a variable exactly before a learner sees it, and what identifies the coefficient.

    ``outcome_centre`` is taken out of both variables. ``within`` is what must leave something of the treatment in the
    training rows. ``adjusted`` completes the predictions of treatment, shape (N, R).
    """

    rows: PanelRows
    outcome_centre: Centre
    within: Centre
    adjusted: Callable[[FloatArray], FloatArray]


def transformed(sample: Sample, approach: Approach) -> Transformed:
    """Return the rows of an approach of Clarke and Polselli (2025), with period effects."""
    if approach == "first_differences":
        return Transformed(changes(sample), by_period, by_period, lambda m_hat: m_hat)
    rows = levels(sample)
    both = partial(unit_and_period_effects, unit=rows.unit)
    if approach == "within":
        rows = rows._replace(outcome=rows.outcome - rows.outcome[np.searchsorted(rows.unit, rows.unit)])
        return Transformed(rows, both, both, lambda m_hat: m_hat)
    # d_bar_i - m_bar_i is added to m, so that what is left of treatment has mean zero in each unit.
    mundlak = partial(_with_unit_means, rows)
    return Transformed(rows, partial(period_effects, unit=rows.unit), both, mundlak)


def changes(sample: Sample) -> PanelRows:
    """Return the first differences of a sample, by unit and then period, numbered 0 for the second period."""
    outcome, treatment = np.diff(sample.y, axis=1), np.diff(sample.treatment, axis=1)
    unit, period = np.nonzero(~np.isnan(outcome) & ~np.isnan(treatment))
    blocks = (sample.x_baseline[unit], sample.x_varying[unit, period], sample.x_varying[unit, period + 1])
    used = np.zeros(sample.y.shape, dtype=bool)
    used[unit, period] = used[unit, period + 1] = True
    x = distinct_columns(np.hstack(blocks))
    changed = treatment[unit, period]
    return PanelRows(unit, period, outcome[unit, period], changed, x, changed != 0, used)


def levels(sample: Sample) -> PanelRows:
    """Return the observed cells of units that are seen twice or more, by unit and then period.

    Covariates are the cell's own and the unit's mean over its cells.
    """
    seen = sample.observed & ~np.isnan(sample.treatment)
    used = seen & (seen.sum(axis=1) > 1)[:, None]
    unit, period = np.nonzero(used)
    varying = np.where(used[:, :, None], sample.x_varying, 0.0)
    mean = varying.sum(axis=1) / np.maximum(used.sum(axis=1), 1)[:, None]
    first = varying[np.arange(len(varying)), used.argmax(axis=1)]
    fixed = np.all((varying == first[:, None]) | ~used[:, :, None], axis=1)
    mean = np.where(fixed, first, mean)
    x = distinct_columns(np.hstack([varying[unit, period], mean[unit]]))
    treatment = sample.treatment[used]
    moves = np.abs(treatment - unit_means(treatment, unit)) > 1e-10
    return PanelRows(unit, period, sample.y[used], treatment, x, moves, used)


def distinct_columns(x: FloatArray) -> FloatArray:
    """Leave out columns that repeat an earlier one: covariates that are fixed in time come three times."""
    return x[:, np.sort(np.unique(x, axis=1, return_index=True)[1])] if x.size else x


def period_effects(target: FloatArray, period: IntArray, train: Rows, unit: IntArray) -> FloatArray:
    """Return for each row the effect of its period, with unit effects beside it, over the training rows.

    With M_i = diag(v_i) - v_i v_i' / sum(v_i), where v_i marks the periods of unit i, the effects solve
    (sum_i M_i) lambda = sum_i M_i y_i; the first is zero on average with the others.
    """
    n_units, n_periods = int(unit.max()) + 1, int(period.max()) + 1
    v, y = np.zeros((2, n_units, n_periods))
    v[unit[train], period[train]] = 1.0
    y[unit[train], period[train]] = target[train]
    share = v / np.maximum(v.sum(axis=1), 1)[:, None]
    gram = np.diag(v.sum(axis=0)) - share.T @ v
    right = y.sum(axis=0) - share.T @ y.sum(axis=1)
    effects: FloatArray = np.linalg.lstsq(gram, right, rcond=None)[0]
    return effects[period]


def unit_and_period_effects(target: FloatArray, period: IntArray, train: Rows, unit: IntArray) -> FloatArray:
    """Return period effects over the training rows, and the unit's own mean of what they leave."""
    effects = period_effects(target, period, train, unit)
    return effects + unit_means(target - effects, unit)


def unit_means(values: FloatArray, unit: IntArray) -> FloatArray:
    """Return for each row the mean of its unit's rows; values have shape (N,) or (N, R)."""
    totals = np.zeros((int(unit.max(initial=-1)) + 1, *values.shape[1:]))
    np.add.at(totals, unit, values)
    count = np.bincount(unit, minlength=len(totals))
    means: FloatArray = (totals.T / np.maximum(count, 1)).T[unit]
    return means


def _with_unit_means(rows: PanelRows, m_hat: FloatArray) -> FloatArray:
    return m_hat + unit_means(rows.treatment[:, None] - m_hat, rows.unit)


def check_covariates(sample: Sample, rows: PanelRows, who: str) -> None:
    """Refuse a covariate that is missing in a row, naming the first."""
    missing = rows.used[:, :, None] & np.isnan(sample.x_varying)
    if not missing.any():
        return
    i, t, k = np.argwhere(missing)[0]
    raise QuestionError(
        f"{who}: covariate {sample.question.covariates[k]} is missing for ({sample.unit_ids[i]}, "
        f"{sample.periods[t]}) and in {missing[:, :, k].sum() - 1} cells more; fill it in or leave it out."
    )
