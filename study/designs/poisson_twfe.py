"""Poisson regression with unit and period effects, with one, dynamic or cohort-specific effects."""

from __future__ import annotations

from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from study.cohorts import Cells, CohortMeans, cohort_means, refuse_single_units, treated_cells
from study.designs import Assumes, Estimand, Handles, design
from study.designs.twfe import two_way
from study.errors import QuestionError
from study.estimates import Estimate
from study.panel import FloatArray
from study.poisson import refuse_negative, without_empty_cells, without_empty_units
from study.question import Sample

Terms = Literal["treatment", "event_time", "cohort_time"]

ESTIMANDS = {
    "treatment": Estimand.COEFFICIENT,
    "event_time": Estimand.EVENT_TIME_ATT,
    "cohort_time": Estimand.GROUP_TIME_ATT,
}


@design(
    name="poisson_twfe",
    title="Poisson with two-way fixed effects",
    reference="wooldridge1999",
    estimand=Estimand.COEFFICIENT,
    assumes=(Assumes.INDEX_PARALLEL_TRENDS, Assumes.LIMITED_ANTICIPATION, Assumes.HOMOGENEOUS_EFFECTS),
    handles=(
        Handles.COVARIATES,
        Handles.MISSING_CELLS,
        Handles.ANTICIPATION,
        Handles.CLUSTERS,
        Handles.WEIGHTS,
        Handles.PROPORTIONAL,
    ),
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
    terms : {"treatment", "event_time", "cohort_time"}
        One coefficient; one for each event time; or one for each cohort and event time, whose averages do
        not weight any effect negatively.

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
    refuse_negative(sample, "poisson_twfe")
    if terms == "cohort_time":
        refuse_single_units(sample, "poisson_twfe")
    used, notes = without_empty_units(sample)
    layout = _layout(used, cohort_means(used), terms)
    used, kept = without_empty_cells(used, layout.cells)
    dropped = [term for term, k in zip(layout.terms, kept, strict=True) if not k]
    if dropped:
        notes.append(
            f"{', '.join(dropped)} left out: {sample.question.outcome} is zero for all of the treated"
        )
    layout = layout.select(kept)
    regressed = ~layout.reference
    if not regressed.any():
        raise QuestionError(f"poisson_twfe: no effect can be estimated: {'; '.join(notes)}.")
    names = [term for term, r in zip(layout.terms, regressed, strict=True) if r]
    fit = two_way(
        used,
        layout.cells[:, :, regressed].astype(float),
        used.x_varying,
        (*names, *used.question.covariates),
        "poisson",
    )
    place = np.zeros((len(fit.coefficient), len(regressed)))
    place[np.arange(len(names)), np.flatnonzero(regressed)] = 1.0
    coefficient, influence = fit.coefficient @ place, fit.influence @ place

    means = cohort_means(used)
    mean, mean_influence = means.pooled(layout.cells)
    untreated = mean * np.exp(-coefficient)
    of_untreated = mean_influence.scaled(np.exp(-coefficient)) - influence.scaled(untreated)
    return Estimate(
        sample=sample,
        estimand=ESTIMANDS[terms],
        terms=layout.terms,
        linear=mean - untreated,
        linear_influence=mean_influence - of_untreated,
        untreated_mean=untreated,
        untreated_influence=of_untreated,
        cohort=layout.cohort,
        period=layout.period,
        event_time=layout.event_time,
        reference=layout.reference,
        membership=means.membership(layout.cells) if terms == "cohort_time" else None,
        n_obs=fit.n_obs,
        counted=fit.counted,
        absorbed=fit.absorbed,
        convention="CR1_fixest",
        notes=tuple(notes),
    )


class _Layout(NamedTuple):
    """The terms, shape (K,), and the cells of each, shape (G, T, K)."""

    terms: tuple[str, ...]
    cohort: FloatArray
    period: FloatArray
    event_time: FloatArray
    reference: NDArray[np.bool_]
    cells: Cells

    def select(self, kept: NDArray[np.bool_]) -> _Layout:
        """Return some of the terms."""
        terms = tuple(term for term, k in zip(self.terms, kept, strict=True) if k)
        return _Layout(
            terms,
            self.cohort[kept],
            self.period[kept],
            self.event_time[kept],
            self.reference[kept],
            self.cells[:, :, kept],
        )


def _layout(sample: Sample, means: CohortMeans, terms: Terms) -> _Layout:
    base = -1 - sample.question.anticipation
    if terms == "treatment":
        none = np.full(1, np.nan)
        return _Layout(
            ("treatment",), none, none, none, np.zeros(1, dtype=bool), treated_cells(sample)[:, :, None]
        )
    event_time = sample.periods - means.dates[:, None]
    seen = (means.weight > 0) & ~np.isnan(event_time)
    if terms == "event_time":
        times = np.unique(np.append(event_time[seen], base))
        none = np.full(len(times), np.nan)
        names = tuple(f"event {e:g}" for e in times)
        return _Layout(names, none, none, times, times == base, event_time[:, :, None] == times)
    group, position = np.nonzero(seen & np.isin(means.dates, sample.cohorts)[:, None])
    cohort, period = means.dates[group], sample.periods[position].astype(float)
    names = tuple(f"ATT({g:g},{t:g})" for g, t in zip(cohort, period, strict=True))
    since = period - cohort
    return _Layout(names, cohort, period, since, since == base, means.cells(cohort, position))
