"""Two-way fixed effects with one coefficient for each event time."""

from __future__ import annotations

import numpy as np

from study.core import BoolArray, FloatArray, IntArray
from study.designs import COMMON, Assumes, Estimand, Sample, Supports, design
from study.designs.did_assignments import coefficients_by_assignment
from study.designs.did_cells import refuse_no_effect
from study.designs.twfe import fields_of, placed, two_way
from study.estimates import (
    CohortMeans,
    Contrast,
    Estimate,
    cohort_means,
    event_time_effects,
    only_in_cells,
)


def _assigned(
    sample: Sample, orders: IntArray, *, bin_at: int | None = None
) -> tuple[FloatArray, FloatArray, BoolArray] | None:
    """Return the average of effects and its error for assignments of event dates; see :class:`Design`."""
    if sample.question.average != "event_average":
        return None
    times, cells = event_time_cells(sample, cohort_means(sample, sample.outcome_with_covariates), bin_at)
    used = times != sample.question.reference
    averaged = (times[used] >= 0) & (times[used] <= sample.question.last)
    return coefficients_by_assignment(sample, orders, cells[:, :, used], averaged)


@design(
    title="Two-way fixed effects, dynamic",
    reference="sunabraham2021",
    estimand=Estimand.EVENT_TIME_ATT,
    assumes=(Assumes.PARALLEL_TRENDS, Assumes.LIMITED_ANTICIPATION, Assumes.HOMOGENEOUS_COHORTS),
    supports=COMMON | {Supports.SUMS, Supports.WEIGHTS},
    assigned=_assigned,
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
        If the indicators are collinear with the fixed effects, as they are where everyone is treated in the end and
        nothing is binned.
    """
    base = sample.question.reference
    means = cohort_means(sample, sample.outcome_with_covariates)
    times, cells = event_time_cells(sample, means, bin_at)
    used = times != base
    nobody = f"treated units are seen at event time {base} only, the reference"
    refuse_no_effect("event_study", used.any(), [nobody])
    names = [f"event {e:g}" for e in times[used]] + list(sample.covariates)
    fit = two_way(sample, cells[:, :, used].astype(float), sample.x_varying, names)
    place, only = placed(fit, used), only_in_cells(sample, cells)
    return event_time_effects(
        sample,
        times,
        fit.coefficient @ place,
        fit.influence @ place,
        *means.pooled(cells),
        reference=~used,
        cohort_weights=means.cohort_weights(cells),
        contrast=Contrast(only=np.maximum(only, only[~used]), treated=cells.any(axis=1).astype(float)),
        **fields_of(sample, fit, place),
    )


def event_time_cells(
    sample: Sample, means: CohortMeans, bin_at: int | None = None
) -> tuple[FloatArray, BoolArray]:
    """Return the event times at which some group is seen, and the reference, (K,), and their cells, (G, T, K)."""
    base = sample.question.reference
    event_time = sample.periods - means.dates[:, None]
    if bin_at is not None:
        event_time = np.clip(event_time, base + 1 - bin_at, bin_at)
    times = np.unique(np.append(event_time[(means.weight > 0) & ~np.isnan(event_time)], base))
    return times, event_time[:, :, None] == times
