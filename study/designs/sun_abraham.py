"""Interaction-weighted event study of Sun and Abraham (2021), equations (25) to (29)."""

from __future__ import annotations

from typing import Literal

import numpy as np

from study.core import QuestionError, Terms, linear_form, period_effects, refuse_unidentified, regress
from study.designs import Assumes, Estimand, Supports, design
from study.estimates import (
    Estimate,
    cohort_means,
    cohorts_with_base,
    group_time_effects,
    left_out,
    outcome_with_covariates,
    refuse_single_units,
    rests_on_one,
)
from study.panel import Sample


@design(
    name="sun_abraham",
    title="Interaction-weighted event study (Sun and Abraham)",
    reference="sunabraham2021",
    estimand=Estimand.GROUP_TIME_ATT,
    assumes=(Assumes.PARALLEL_TRENDS, Assumes.LIMITED_ANTICIPATION),
    supports=(
        Supports.COVARIATES,
        Supports.MISSING_CELLS,
        Supports.ANTICIPATION,
        Supports.CLUSTERS,
        Supports.WEIGHTS,
        Supports.NEVER_TREATED,
        Supports.PROPORTIONAL,
    ),
)
def sun_abraham(sample: Sample, *, variance: Literal["sampling", "conditional"] = "sampling") -> Estimate:
    """Regress the outcome on cohort-by-event-time indicators, unit and period effects.

    Equation (26), with the event time before treatment less the anticipation as each cohort's reference.
    Since every cohort of the window has indicators for all its other periods, the comparison units are those
    that are not treated in the window: the never-treated and, with comparison="not_yet_treated", units
    treated after it. Averages over cohorts weight by the unit-periods that are seen, equation (28).

    Parameters
    ----------
    sample : Sample
        Absorbing treatment. Covariates enter by period; gaps are allowed.
    variance : {"sampling", "conditional"}
        Whether averages carry the estimation of cohort shares, equation (29) and Proposition 6, or take the
        shares as given, as fixest's sunab does.

    Returns
    -------
    Estimate
        One term for each cohort and period, in that order, with a reference term at each cohort's base;
        "CR1_fixest" standard errors. "Proportional" divides by the treated units' mean in the period less
        ATT(g,t). ``notes`` name each cohort and period without an estimate.

    Raises
    ------
    QuestionError
        If a cohort has one unit and the question does not say what to do with it, a covariate is explained
        by the fixed effects, or no effect can be estimated.

    References
    ----------
    Sun, L., and Abraham, S. (2021). Estimating dynamic treatment effects in event studies with heterogeneous
    treatment effects. Journal of Econometrics 225(2).
    """
    refuse_single_units(sample, "sun_abraham")
    cohorts, notes = cohorts_with_base(sample)
    means = cohort_means(sample, outcome_with_covariates(sample))
    n_periods = len(sample.periods)
    cohort, position = np.repeat(cohorts, n_periods), np.tile(np.arange(n_periods), len(cohorts))
    period = sample.periods[position].astype(float)
    reference = period == cohort - 1 - sample.question.anticipation
    size = means.sizes(cohort, position)
    treated = (size > 0) & ~reference

    groups = np.isin(means.dates, cohorts) | means.untreated(sample)
    cells = means.cells(cohort[treated], position[treated])
    fit = regress(
        sample.y,
        [rows for rows, used in zip(means.rows, groups, strict=True) if used],
        Terms(cells[groups].astype(float), period_effects(int(groups.sum()), n_periods)),
        sample.weights,
        varying=sample.x_varying,
    )
    k = int(treated.sum())
    refuse_unidentified(sample.question.covariates, fit.identified[k:])
    known = reference.copy()
    known[treated] = fit.identified[:k]
    reasons = {int(c): "no treated unit is observed" for c in np.flatnonzero(size == 0)}
    reasons |= {
        int(c): "no comparison unit or no base period is observed"
        for c in np.flatnonzero(~known & (size > 0))
    }
    notes += left_out(cohort, period, reasons)
    known &= np.isin(cohort, cohort[known & ~reference])
    if not known.any():
        raise QuestionError(f"sun_abraham: no effect can be estimated: {'; '.join(notes)}.")
    notes += rests_on_one(cohort, period, known & ~reference & (size == 1))

    place = np.zeros((k + len(sample.question.covariates), len(cohort)))
    place[np.arange(k), np.flatnonzero(treated)] = 1.0
    linear, influence = fit.coefficient @ place[:, known], fit.influence @ place[:, known]
    cells = means.cells(cohort[known], position[known])
    mean, mean_influence = means.pooled(cells)
    return group_time_effects(
        sample,
        cohort[known],
        period[known],
        linear,
        influence,
        reference=reference[known],
        untreated_mean=mean - linear,
        untreated_influence=mean_influence - influence,
        cohort_weights=means.cohort_weights(cells),
        shares="estimated" if variance == "sampling" else "fixed",
        n_obs=fit.n_obs,
        df_k=fit.df_k,
        n_fixed_effects=fit.n_fixed_effects,
        clusters=fit.n_clusters(sample.cluster),
        published="CR1_fixest",
        form=linear_form(fit.equations, place[:, known]),
        notes=tuple(notes),
    )
