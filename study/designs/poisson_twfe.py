"""Poisson regression with unit and period effects, with one coefficient of treatment or one an event time."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Literal

import numpy as np

from study.core import BoolArray, QuestionError, counted
from study.designs import COMMON, Assumes, Estimand, Sample, Supports, design
from study.designs.did_cells import refuse_no_effect
from study.designs.event_study import event_time_cells
from study.designs.twfe import fields_of, placed, two_way
from study.estimates import (
    Contrast,
    Estimate,
    coefficients,
    cohort_means,
    event_time_effects,
    only_in_cells,
)

Terms = Literal["treatment", "event_time"]


@design(
    title="Poisson with two-way fixed effects",
    reference="wooldridge1999",
    estimand=Estimand.COEFFICIENT,
    assumes=(Assumes.INDEX_PARALLEL_TRENDS, Assumes.LIMITED_ANTICIPATION, Assumes.HOMOGENEOUS_EFFECTS),
    supports=COMMON | {Supports.WEIGHTS},
)
def poisson_twfe(sample: Sample, *, terms: Terms = "treatment") -> Estimate:
    """Regress the outcome by Poisson quasi-likelihood on treatment, unit effects and period effects.

    E[y_it] = exp(alpha_i + lambda_t + d_it'beta + x_it'gamma), which needs no distribution but the mean
    (Wooldridge 1999): the trend of the untreated mean is the same for all units in proportion.

    Parameters
    ----------
    sample : Sample
        Absorbing treatment and an outcome of 0 or more. Covariates enter by period; gaps are allowed. Units
        without any outcome say nothing about proportions and are left out, as are sets of treated cells
        without any outcome, whose coefficient would be minus infinity.
    terms : {"treatment", "event_time"}
        One coefficient, or one for each event time. ``etwfe`` with family="poisson" and effects="unit" has one
        for each cohort and event time, whose averages do not weight any effect negatively.

    Returns
    -------
    Estimate
        "Proportional" is exp(beta) - 1, in which the treated units' mean cancels; the effect in levels is the
        treated cells' mean outcome less that divided by exp(beta), over units with some outcome. The reference
        is the event time before treatment less the anticipation; "CR1_fixest" standard errors.

    Raises
    ------
    QuestionError
        If the outcome is negative somewhere or on the log1p scale, a regressor is explained by the fixed
        effects, or the likelihood has no maximum.

    References
    ----------
    Wooldridge, J. M. (1999). Distribution-free estimation of some nonlinear panel data models. Journal of
    Econometrics 90(1).
    """
    refuse_not_counts(sample, "poisson_twfe")
    used, notes = without_empty_units(replace(sample, y=sample.outcome_with_covariates))
    if terms == "treatment":
        times, cells = np.array([np.nan]), used.treated_cells[:, :, None]
        names = np.array(["treatment"])
    else:
        times, cells = event_time_cells(used, cohort_means(used))
        names = np.array([f"event {e:g}" for e in times])
    used, empty = without_empty_cells(used, cells)
    if empty.any():
        zero = f"{sample.question.outcome} is zero for all of the treated"
        notes.append(f"{', '.join(names[empty])} left out: {zero}")
    times, names, cells = times[~empty], names[~empty], cells[:, :, ~empty]
    regressed = times != sample.question.reference
    refuse_no_effect("poisson_twfe", regressed.any(), notes)
    regressors = cells[:, :, regressed].astype(float)
    columns = (*names[regressed], *used.covariates)
    fit = two_way(used, regressors, used.x_varying, columns, "poisson")
    place = placed(fit, regressed)
    coefficient, influence = fit.coefficient @ place, fit.influence @ place

    means = cohort_means(used)
    mean, mean_influence = means.pooled(cells)
    untreated = mean * np.exp(-coefficient)
    of_untreated = mean_influence.scaled(np.exp(-coefficient)) - influence.scaled(untreated)
    linear, of_linear = mean - untreated, mean_influence - of_untreated
    contrast = Contrast(sizes=np.nansum(sample.y, axis=1))
    fields: dict[str, Any] = fields_of(sample, fit, None) | {"contrast": contrast}
    if terms == "treatment":
        fields |= {"untreated_mean": untreated, "untreated_influence": of_untreated}
        return coefficients(sample, (terms,), linear, of_linear, notes=tuple(notes), **fields)
    only = only_in_cells(used, cells)
    only = np.maximum(only, only[~regressed].max(initial=-1))
    contrast = replace(contrast, treated=cells.any(axis=1).astype(float), only=only)
    fields |= {"reference": ~regressed, "notes": tuple(notes), "contrast": contrast}
    fields["cohort_weights"] = means.cohort_weights(cells)
    return event_time_effects(sample, times, linear, of_linear, mean, mean_influence, **fields)


def refuse_not_counts(sample: Sample, design: str) -> None:
    """Refuse an outcome below zero, on the logarithmic scale already, or zero everywhere."""
    if sample.question.scale == "log1p":
        raise QuestionError(
            f'{design}: a Poisson regression takes the outcome in levels; use scale="proportional" or "level".'
        )
    bad = np.argwhere(sample.y < 0)
    if bad.size:
        i, t = bad[0]
        raise QuestionError(
            f"{design}: a Poisson regression needs outcomes of 0 or more, but {sample.question.outcome} is "
            f"{sample.y[i, t]:g} for ({sample.unit_ids[i]}, {sample.period_name(sample.periods[t])}); "
            "use a linear design."
        )
    if not np.nansum(sample.y):
        raise QuestionError(
            f"{design}: {sample.question.outcome} is zero for everybody, so its mean has no logarithm."
        )


def without_empty_units(sample: Sample) -> tuple[Sample, list[str]]:
    """Take out units without any outcome, on which a regression with unit effects cannot learn, and count them."""
    empty = (np.nansum(sample.y, axis=1) == 0) & sample.observed.any(axis=1)
    if not empty.any():
        return sample, []
    note = f"{counted(int(empty.sum()), 'unit')} left out: {sample.question.outcome} is zero in all periods"
    return replace(sample, y=np.where(empty[:, None], np.nan, sample.y)), [note]


def without_empty_cells(sample: Sample, cells: BoolArray) -> tuple[Sample, BoolArray]:
    """Take out sets of cells, and periods, in which units are seen but nobody has any outcome.

    Parameters
    ----------
    sample : Sample
    cells : ndarray of bool, shape (G, T, K)

    Returns
    -------
    Sample
        With those cells not observed.
    empty : ndarray of bool, shape (K,)
        Which sets were taken out.
    """
    members = sample.groups[1]
    seen = np.stack([sample.observed[rows].any(axis=0) for rows in members])
    some = np.stack([np.any(sample.y[rows] > 0, axis=0) for rows in members])
    empty = ~np.any(cells & some[:, :, None], axis=(0, 1)) & np.any(cells & seen[:, :, None], axis=(0, 1))
    out = np.any(cells & empty, axis=2) | ~some.any(axis=0)
    if not out.any():
        return sample, empty
    y = sample.y.copy()
    for unobserved, rows in zip(out, members, strict=True):
        y[np.ix_(rows, np.flatnonzero(unobserved))] = np.nan
    return replace(sample, y=y), empty
