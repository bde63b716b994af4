"""Interaction-weighted event study of Sun and Abraham (2021), equations (25) to (29)."""

from __future__ import annotations

from typing import Literal

import numpy as np

from study.core import Terms, period_effects, refuse_unidentified, regress
from study.designs import COMMON, Assumes, Estimand, Sample, Supports, design
from study.designs.did_cells import Effects, cells_of, effects_in_cells, of_estimated_cohorts
from study.designs.twfe import fields_of, placed
from study.estimates import Contrast, Estimate, cohort_means, only_in_cells


@design(
    title="Interaction-weighted event study (Sun and Abraham)",
    reference="sunabraham2021",
    estimand=Estimand.GROUP_TIME_ATT,
    assumes=(Assumes.PARALLEL_TRENDS, Assumes.LIMITED_ANTICIPATION),
    supports=COMMON | {Supports.SUMS, Supports.WEIGHTS, Supports.NEVER_TREATED},
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
        If a covariate is explained by the fixed effects, or no effect can be estimated.

    References
    ----------
    Sun, L., and Abraham, S. (2021). Estimating dynamic treatment effects in event studies with heterogeneous
    treatment effects. Journal of Econometrics 225(2).
    """
    cells = cells_of(sample, sample.cohorts)
    means = cohort_means(sample, sample.outcome_with_covariates)
    size, at_base = (means.sizes(cells.cohort, position) for position in (cells.now, cells.base))
    treated = (size > 0) & ~cells.reference
    n_treated = int(treated.sum())

    indicators = means.cells(cells.cohort[treated], cells.now[treated]).astype(float)
    terms = Terms(indicators, period_effects(*indicators.shape[:2]))
    fit = regress(sample.y, means.rows, terms, sample.weights, varying=sample.x_varying)
    refuse_unidentified(sample.covariates, fit.identified[n_treated:])
    identified = cells.reference.copy()
    identified[treated] = fit.identified[:n_treated]
    missing = ["no treated unit is observed", "no comparison unit or no base period is observed"]
    reasons = np.select([size == 0, ~identified], missing, "").astype(object)

    place, of_cells = placed(fit, treated), means.cells(cells.cohort, cells.now)
    linear, influence = fit.coefficient @ place, fit.influence @ place
    only, of_base = (
        only_in_cells(sample, each) for each in (of_cells, means.cells(cells.cohort, cells.base))
    )
    estimate = effects_in_cells(
        "sun_abraham",
        sample,
        cells,
        Effects(linear, influence, *means.pooled(of_cells), np.minimum(size, at_base), reasons),
        [],
        cohort_weights=means.cohort_weights(of_cells),
        shares="estimated" if variance == "sampling" else "fixed",
        contrast=Contrast(only=np.where(of_base < 0, only, of_base)),  # averages share the base
        **fields_of(sample, fit, place),
    )
    return of_estimated_cohorts(estimate)
