"""Two-way fixed effects with one coefficient for each event time."""

from __future__ import annotations

import numpy as np

from study.designs import Assumes, Estimand, Handles, design
from study.designs.twfe import treated_means
from study.errors import QuestionError
from study.estimates import Estimate
from study.fixed_effects import two_way_regression
from study.question import Sample


@design(
    name="event_study",
    title="Two-way fixed effects, dynamic",
    reference="sunabraham2021",
    estimand=Estimand.EVENT_TIME_ATT,
    assumes=(Assumes.PARALLEL_TRENDS, Assumes.LIMITED_ANTICIPATION, Assumes.HOMOGENEOUS_COHORTS),
    handles=(
        Handles.COVARIATES,
        Handles.MISSING_CELLS,
        Handles.ANTICIPATION,
        Handles.CLUSTERS,
        Handles.WEIGHTS,
        Handles.PROPORTIONAL,
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
    event_time = sample.periods - sample.first_treated[:, None]
    if bin_at is not None:
        event_time = np.clip(event_time, base + 1 - bin_at, bin_at)
    seen = event_time[sample.observed & ~np.isnan(event_time)]
    times = np.unique(np.append(seen, base))
    used = times != base
    cells = event_time[None] == times[used][:, None, None]
    regressors = np.concatenate([cells.astype(float), np.moveaxis(sample.x_varying, 2, 0)])
    names = [f"event {e:g}" for e in times[used]] + list(sample.question.covariates)
    fit = two_way_regression(sample.y, regressors, names, sample.weights)
    k = int(used.sum())
    linear, untreated = np.zeros(len(times)), np.full(len(times), np.nan)
    influence, untreated_influence = (np.zeros((sample.n_units, len(times))) for _ in range(2))
    linear[used], influence[:, used] = fit.coefficient[:k], fit.influence[:, :k]
    untreated[:], untreated_influence[:] = treated_means(sample, event_time[None] == times[:, None, None])
    untreated, untreated_influence = untreated - linear, untreated_influence - influence
    unlabelled = np.full(len(times), np.nan)
    return Estimate(
        sample=sample,
        estimand=Estimand.EVENT_TIME_ATT,
        terms=tuple(f"event {e:g}" for e in times),
        linear=linear,
        linear_influence=influence,
        untreated_mean=untreated,
        untreated_influence=untreated_influence,
        cohort=unlabelled,
        period=unlabelled,
        event_time=times,
        reference=~used,
        n_obs=int(sample.observed.sum()),
        counted=fit.counted,
        convention="CR1_fixest",
    )
