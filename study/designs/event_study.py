"""Two-way fixed effects with one coefficient for each event time."""

from __future__ import annotations

import numpy as np

from study.core import QuestionError, linear_form
from study.designs import Assumes, Estimand, Supports, design
from study.designs.twfe import two_way
from study.estimates import Estimate, cohort_means, event_time_effects, events_on_one, outcome_with_covariates
from study.panel import Sample


@design(
    name="event_study",
    title="Two-way fixed effects, dynamic",
    reference="sunabraham2021",
    estimand=Estimand.EVENT_TIME_ATT,
    assumes=(Assumes.PARALLEL_TRENDS, Assumes.LIMITED_ANTICIPATION, Assumes.HOMOGENEOUS_COHORTS),
    supports=(
        Supports.COVARIATES,
        Supports.MISSING_CELLS,
        Supports.ANTICIPATION,
        Supports.CLUSTERS,
        Supports.WEIGHTS,
        Supports.PROPORTIONAL,
    ),
)
def event_study(sample: Sample, *, bin_at: int | None = None) -> Estimate:
    """Regress the outcome on event-time indicators, covariates by period, unit and period effects.

    Sun and Abraham (2021), equation (2). The reference is the event time before treatment less the
    anticipation. If paths of effects differ between cohorts, a coefficient also carries effects of
    other event times (their Proposition 3).

    Parameters
    ----------
    sample : Sample
        With never-treated or later-treated units, whose indicators are all zero where never treated.
    bin_at : int, optional
        Put event times at or beyond this distance into one indicator on either side.

    Returns
    -------
    Estimate
        One term for each event time, ascending, the reference among them; "CR1_fixest" standard errors.

    Raises
    ------
    QuestionError
        If the indicators are collinear with the fixed effects, as they are where everyone is treated in
        the end and nothing is binned.
    """
    assert sample.first_treated is not None
    base = -1 - sample.question.anticipation
    if bin_at is not None and bin_at < 1:
        raise QuestionError(f"event_study: bin_at is {bin_at}; it must be at least 1.")
    event_time = sample.periods - sample.groups[0][:, None]
    if bin_at is not None:
        event_time = np.clip(event_time, base + 1 - bin_at, bin_at)
    means = cohort_means(sample, outcome_with_covariates(sample))
    times = np.unique(np.append(event_time[(means.weight > 0) & ~np.isnan(event_time)], base))
    used = times != base
    if not used.any():
        raise QuestionError(
            f"event_study: no effect can be estimated: treated units are seen at event time {base} only, the reference."
        )
    cells = event_time[:, :, None] == times
    names = [f"event {e:g}" for e in times[used]] + list(sample.question.covariates)
    fit = two_way(sample, cells[:, :, used].astype(float), sample.x_varying, names)
    terms = np.zeros((len(names), len(times)))
    terms[np.arange(used.sum()), np.flatnonzero(used)] = 1.0
    linear, influence = fit.coefficient @ terms, fit.influence @ terms
    return event_time_effects(
        sample,
        times,
        linear,
        influence,
        *means.pooled(cells),
        reference=~used,
        n_obs=fit.n_obs,
        df_k=fit.df_k,
        n_fixed_effects=fit.n_fixed_effects,
        clusters=fit.n_clusters(sample.cluster),
        published="CR1_fixest",
        form=linear_form(fit.equations, terms),
        notes=tuple(events_on_one(times[used], np.einsum("gt,gtk->k", means.seen, cells[:, :, used]))),
    )
