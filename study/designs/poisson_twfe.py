"""Poisson regression with unit and period effects, with one coefficient of treatment or one an event time."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from study.core import FloatArray, QuestionError
from study.designs import Assumes, Estimand, Supports, design
from study.designs.poisson import refuse_empty, refuse_negative, without_empty_cells, without_empty_units
from study.designs.twfe import two_way
from study.estimates import (
    Cells,
    CohortMeans,
    Estimate,
    coefficients,
    cohort_means,
    event_time_effects,
    events_on_one,
    outcome_with_covariates,
    treated_cells,
)
from study.panel import Sample

Terms = Literal["treatment", "event_time"]


@design(
    name="poisson_twfe",
    title="Poisson with two-way fixed effects",
    reference="wooldridge1999",
    estimand=Estimand.COEFFICIENT,
    assumes=(Assumes.INDEX_PARALLEL_TRENDS, Assumes.LIMITED_ANTICIPATION, Assumes.HOMOGENEOUS_EFFECTS),
    supports=(
        Supports.COVARIATES,
        Supports.MISSING_CELLS,
        Supports.ANTICIPATION,
        Supports.CLUSTERS,
        Supports.WEIGHTS,
        Supports.PROPORTIONAL,
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
    refuse_negative(sample, "poisson_twfe")
    refuse_empty(sample, "poisson_twfe")
    used, notes = without_empty_units(replace(sample, y=outcome_with_covariates(sample)))
    layout = _layout(used, cohort_means(used), terms)
    used, empty = without_empty_cells(used, layout.cells)
    dropped = [term for term, e in zip(layout.terms, empty, strict=True) if e]
    if dropped:
        notes.append(
            f"{', '.join(dropped)} left out: {sample.question.outcome} is zero for all of the treated"
        )
    layout = layout.select(~empty)
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
    linear, of_linear = mean - untreated, mean_influence - of_untreated
    fields: dict[str, Any] = {
        "n_obs": fit.n_obs,
        "df_k": fit.df_k,
        "n_fixed_effects": fit.n_fixed_effects,
        "clusters": fit.n_clusters(sample.cluster),
        "published": "CR1_fixest",
        "sizes": np.nansum(sample.y, axis=1),
    }
    if terms == "treatment":
        return coefficients(
            sample,
            layout.terms,
            linear,
            of_linear,
            untreated_mean=untreated,
            untreated_influence=of_untreated,
            notes=tuple(notes),
            **fields,
        )
    size = np.einsum("gt,gtk->k", means.seen, layout.cells)
    notes += events_on_one(layout.event_time[regressed], size[regressed])
    return event_time_effects(
        sample,
        layout.event_time,
        linear,
        of_linear,
        mean,
        mean_influence,
        reference=layout.reference,
        notes=tuple(notes),
        **fields,
    )


class _Layout(NamedTuple):
    """The terms, shape (K,), and the cells of each, shape (G, T, K)."""

    terms: tuple[str, ...]
    event_time: FloatArray
    reference: NDArray[np.bool_]
    cells: Cells

    def select(self, kept: NDArray[np.bool_]) -> _Layout:
        """Return some of the terms."""
        terms = tuple(term for term, k in zip(self.terms, kept, strict=True) if k)
        return _Layout(terms, self.event_time[kept], self.reference[kept], self.cells[:, :, kept])


def _layout(sample: Sample, means: CohortMeans, terms: Terms) -> _Layout:
    if terms == "treatment":
        cells = treated_cells(sample)[:, :, None]
        return _Layout(("treatment",), np.full(1, np.nan), np.zeros(1, dtype=bool), cells)
    base = -1 - sample.question.anticipation
    event_time = sample.periods - means.dates[:, None]
    seen = (means.weight > 0) & ~np.isnan(event_time)
    times = np.unique(np.append(event_time[seen], base))
    names = tuple(f"event {e:g}" for e in times)
    return _Layout(names, times, times == base, event_time[:, :, None] == times)
