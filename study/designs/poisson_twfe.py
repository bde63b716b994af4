"""Poisson regression with unit and period effects, with one coefficient of treatment or one an event time."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Literal

import numpy as np

from study.core import QuestionError
from study.designs import COMMON, Assumes, Estimand, Supports, design
from study.designs.event_study import event_time_cells
from study.designs.poisson import refuse_not_counts, without_empty_cells, without_empty_units
from study.designs.twfe import counted, placed, two_way
from study.estimates import Estimate, coefficients, cohort_means, event_time_effects, events_on_one
from study.panel import Sample

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
    regressed = times != -1 - sample.question.anticipation
    if not regressed.any():
        raise QuestionError(f"poisson_twfe: no effect can be estimated: {'; '.join(notes)}.")
    regressors = cells[:, :, regressed].astype(float)
    columns = (*names[regressed], *used.question.covariates)
    fit = two_way(used, regressors, used.x_varying, columns, "poisson")
    place = placed(fit, regressed)
    coefficient, influence = fit.coefficient @ place, fit.influence @ place

    means = cohort_means(used)
    mean, mean_influence = means.pooled(cells)
    untreated = mean * np.exp(-coefficient)
    of_untreated = mean_influence.scaled(np.exp(-coefficient)) - influence.scaled(untreated)
    linear, of_linear = mean - untreated, mean_influence - of_untreated
    fields: dict[str, Any] = counted(sample, fit) | {"sizes": np.nansum(sample.y, axis=1)}
    if terms == "treatment":
        fields |= {"untreated_mean": untreated, "untreated_influence": of_untreated}
        return coefficients(sample, (terms,), linear, of_linear, notes=tuple(notes), **fields)
    size = np.einsum("gt,gtk->k", means.seen, cells)
    notes += events_on_one(times[regressed], size[regressed])
    fields |= {"reference": ~regressed, "notes": tuple(notes)}
    return event_time_effects(sample, times, linear, of_linear, mean, mean_influence, **fields)
