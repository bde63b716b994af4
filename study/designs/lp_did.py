"""Local-projections difference-in-differences of Dube, Girardi, Jordà and Taylor (2025)."""

from __future__ import annotations

from functools import partial
from typing import Literal, NamedTuple

import numpy as np

from study.core import BoolArray, FloatArray, Influence, IntArray, LinearForm, Rows, Terms, grouped, regress
from study.designs import COMMON, Assumes, Estimand, Sample, Supports, design
from study.designs.did_cells import event_times, refuse_no_effect
from study.estimates import (
    CohortMeans,
    Contrast,
    Estimate,
    cohort_means,
    event_time_effects,
    only_in_cells,
    only_row,
)

Weighting = Literal["variance", "equal"]


@design(
    title="Local projections (Dube, Girardi, Jordà and Taylor)",
    reference="dube2025",
    estimand=Estimand.EVENT_TIME_ATT,
    assumes=(Assumes.PARALLEL_TRENDS, Assumes.LIMITED_ANTICIPATION),
    supports=COMMON - {Supports.COVARIATES} | {Supports.SUMS, Supports.WEIGHTS, Supports.NEVER_TREATED},
)
def lp_did(
    sample: Sample, *, weighting: Weighting = "variance", before: int | None = None, after: int | None = None
) -> Estimate:
    """Regress changes since the base on the start of treatment, one event time after the other.

    For event time h and anticipation d, y_{i,t+h} - y_{i,t-1-d} is regressed on whether unit i is first treated
    in t, with period effects, among units first treated in t and clean comparison units: those not treated,
    less the anticipation, by the later of t and t+h. The coefficient is an average over cohorts of their
    differences in differences.

    Parameters
    ----------
    sample : Sample
        Absorbing treatment. A change enters where both of its periods are seen.
    weighting : {"variance", "equal"}
        Cohorts weighted by the variance of treatment in their period, as least squares does, or by their
        numbers of units, as the paper's reweighted regression does, which makes the average an ATT.
    before, after : int, optional
        How many event times before treatment less the anticipation, the reference among them, and the last
        event time after it; all that the panel has where they are not given.

    Returns
    -------
    Estimate
        One term for each event time, ascending, the reference among them; "CR0" standard errors, since every
        coefficient is of another regression. "Proportional" divides by the treated units' mean at the event
        time less the coefficient.

    Raises
    ------
    QuestionError
        If the window is impossible or no effect can be estimated.

    References
    ----------
    Dube, A., Girardi, D., Jordà, Ò., and Taylor, A. M. (2025). A local projections approach to
    difference-in-differences. Journal of Applied Econometrics 40(7).
    """
    means = cohort_means(sample, levels_apart=True)
    fits, notes = [], []
    for h in event_times(sample, sample.cohorts, before, after):
        fit = _projection(sample, means, h, weighting)
        if fit is None:
            notes.append(f"event {h} left out: no unit first treated then has a clean comparison unit")
        else:
            fits.append(fit)
    dropped = grouped((float(g), str(fit.event_time)) for fit in fits for g in fit.dropped)
    notes += [
        f"cohort {sample.period_name(g)} at event {', '.join(events)} left out: it or clean comparison "
        "units are not seen then"
        for g, events in sorted(dropped.items())
    ]
    times = np.array([fit.event_time for fit in fits], dtype=float)
    reference = times == sample.question.reference
    refuse_no_effect("lp_did", not reference.all(), notes)
    mean, mean_influence, only, weights = _of_treated(sample, means, fits)
    # Terms are coefficients, or with equal weighting averages of them, of one regression.
    used = [fit for fit, is_base in zip(fits, reference, strict=True) if not is_base]
    cells = np.zeros((len(fits[0].regressor), len(sample.periods)), dtype=bool)
    for fit in used:
        for at in (fit.now, fit.base):
            cells[:, at] |= fit.regressor != 0
    place = np.eye(len(fits))[~reference]
    if weighting == "equal":
        shares = [fit.sizes / fit.sizes.sum() for fit in used]
        place = np.repeat(place, [len(share) for share in shares], axis=0) * np.concatenate(shares)[:, None]
    regression = partial(_regression, sample, [(fit.event_time, fit.start) for fit in used], weighting)
    return event_time_effects(
        sample,
        times,
        np.array([fit.coefficient for fit in fits]),
        _influence(sample, means, fits),
        mean,
        mean_influence,
        reference=reference,
        cohort_weights=weights,
        contrast=Contrast(
            treated=np.column_stack([np.isin(sample.groups[0], fit.start) for fit in fits]).astype(float),
            only=only,
        ),
        n_obs=int((cells * means.seen if means.same_periods else sample.counted(cells)).sum()),
        form=LinearForm(regression, place),
        notes=tuple(notes),
    )


class _Projection(NamedTuple):
    """The regression of one event time: J starting periods, of which ``now`` and ``base`` are the two periods.

    ``start`` are the starting periods, ``dropped`` those of cohorts that cannot be compared. A row's influence is the
    sum over starts of its weight times ``regressor`` (m, J) times ``error`` (m, J), over the sum of the ``sizes``
    (J,) by which the starting periods' differences in differences are averaged.
    """

    event_time: int
    coefficient: float
    start: IntArray
    now: IntArray
    base: IntArray
    regressor: FloatArray
    error: FloatArray
    sizes: FloatArray
    dropped: IntArray


def _projection(sample: Sample, means: CohortMeans, h: int, weighting: Weighting) -> _Projection | None:
    """Regress the changes of one event time on the start of treatment; None where nobody can be compared.

    Rows are units, or groups with ``same_periods``: regressors do not differ within them, so that their means give
    the coefficients.
    """
    y, weights, first = sample.y, sample.weights, sample.first_treated
    if means.same_periods:
        y, weights = np.where(means.seen > 0, means.mean, np.nan), means.weight.max(axis=1)
        first = means.dates
    assert first is not None
    start_at = np.arange(len(sample.periods))
    base = start_at + sample.question.reference
    inside = (base >= 0) & (start_at + h >= 0) & (start_at + h < len(sample.periods))
    base, now, start = base[inside], start_at[inside] + h, sample.periods[inside]
    treated, clean = _enters(sample, first[:, None], start, h)
    change = y[:, now] - y[:, base]
    seen = ~np.isnan(change)
    of_treated, of_clean = weights[:, None] * (treated & seen), weights[:, None] * (clean & seen)
    known = (of_treated.sum(axis=0) > 0) & (of_clean.sum(axis=0) > 0)
    if not known.any():
        return None
    dropped = start[treated.any(axis=0) & ~known]
    of_treated, of_clean = of_treated[:, known], of_clean[:, known]
    change = np.where(seen, change, 0.0)[:, known]
    n_treated, n_clean = of_treated.sum(axis=0), of_clean.sum(axis=0)
    ours = (of_treated * change).sum(axis=0) / n_treated
    theirs = (of_clean * change).sum(axis=0) / n_clean
    gap, is_treated, is_clean = ours - theirs, of_treated > 0, of_clean > 0
    share = n_treated / (n_treated + n_clean)
    size = n_treated * (1 - share) if weighting == "variance" else n_treated
    coefficient = float(size @ gap / size.sum())
    if weighting == "variance":
        regressor = is_treated - share * (is_treated | is_clean)
        error = change - theirs - share * (gap - coefficient) - coefficient * is_treated
    else:
        regressor = is_treated - (n_treated / n_clean) * is_clean
        error = change - theirs - is_treated * coefficient
    error = np.where(is_treated | is_clean, error, 0.0)
    return _Projection(h, coefficient, start[known], now[known], base[known], regressor, error, size, dropped)


def _enters(sample: Sample, first: FloatArray, start: IntArray, h: int) -> tuple[BoolArray, BoolArray]:
    """Return who starts in a period, and who is clean then, shapes (m, J)."""
    treated, clean = first == start, np.isnan(first)
    if sample.question.comparison == "not_yet_treated":
        clean = clean | (first - sample.question.anticipation > np.maximum(start, start + h))
    return treated, np.broadcast_to(clean, treated.shape)


def _regression(sample: Sample, used: list[tuple[int, IntArray]], weighting: Weighting) -> Rows:
    """Regress the changes of all event times, one below the other, each on its own period effects.

    The start of treatment has one coefficient for each event time, or with equal weighting one for each of its
    starting periods, whose differences in differences are averaged.
    """
    assert sample.first_treated is not None
    dates, members = sample.groups
    n, n_periods, n_groups = sample.n_rows, len(sample.periods), len(dates)
    changes = np.full((len(used), n, n_periods), np.nan)
    for k, (h, start) in enumerate(used):
        at = start - sample.periods[0]
        enters = np.any(_enters(sample, sample.first_treated[:, None], start, h), axis=0)
        change = sample.y[:, at + h] - sample.y[:, at + sample.question.reference]
        changes[k][:, at] = np.where(enters, change, np.nan)
    rows = [units + k * n for k in range(len(used)) for units in members]
    of_event = np.repeat(np.eye(len(used)), n_groups, axis=0)[:, None, :]
    starts = (dates[:, None] == sample.periods).astype(float)
    treated = np.tile(starts, (len(used), 1))[:, :, None] * of_event
    by_period = np.eye(n_periods)[:, None, :]
    if weighting == "equal":
        inside = np.concatenate([np.isin(sample.periods, start) for _, start in used])
        treated = (treated[:, :, :, None] * by_period).reshape(len(rows), n_periods, -1)[:, :, inside]
    nuisance = (of_event[:, :, :, None] * by_period).reshape(len(rows), n_periods, -1)
    outcome, weights = changes.reshape(-1, n_periods), np.tile(sample.weights, len(used))
    fit = regress(outcome, rows, Terms(treated, nuisance), weights, unit_effects=False)
    assert fit.equations is not None
    return fit.equations, np.tile(np.arange(n), len(used))


def _influence(sample: Sample, means: CohortMeans, fits: list[_Projection]) -> Influence:
    """Return the influence by unit: where rows are groups, of its group's change and of what it deviates from it."""
    if not means.same_periods:
        each = [np.einsum("ij,ij->i", fit.regressor, fit.error) / fit.sizes.sum() for fit in fits]
        return Influence.of(sample.n_rows * sample.weights[:, None] * np.column_stack(each))
    of_deviation, of_weight = np.zeros((2, *means.mean.shape, len(fits)))
    for k, fit in enumerate(fits):
        scaled = means.n_rows / fit.sizes.sum() * fit.regressor
        of_deviation[:, fit.now, k] += scaled
        of_deviation[:, fit.base, k] -= scaled
        of_weight[:, fit.now, k] += scaled * fit.error
    return means.influence(of_deviation, of_weight)


def _of_treated(
    sample: Sample, means: CohortMeans, fits: list[_Projection]
) -> tuple[FloatArray, Influence, IntArray, Influence]:
    """Return the mean outcomes of the treated units that coefficients rest on, with the influence on these.

    Then rows as in :attr:`Contrast.only`, shape (K,), and the weights of the treated units.
    """
    if means.same_periods:
        cells = np.zeros((*means.mean.shape, len(fits)), dtype=bool)
        for k, fit in enumerate(fits):
            cells[:, fit.now, k] = means.dates[:, None] == fit.start
        return *means.pooled(cells), only_in_cells(sample, cells), means.cohort_weights(cells)
    assert sample.first_treated is not None
    start, sets = np.searchsorted(sample.periods, sample.first_treated), []
    mean, (influence, weights) = np.zeros(len(fits)), np.zeros((2, sample.n_rows, len(fits)))
    for k, fit in enumerate(fits):
        units = np.flatnonzero(np.isin(sample.first_treated, fit.start))
        for event_time in (sample.question.reference, fit.event_time):
            units = units[sample.observed[units, start[units] + event_time]]
        y, share = sample.y[units, start[units] + fit.event_time], sample.weights[units]
        weights[units, k] = share
        share = share / share.sum()
        mean[k] = share @ y
        influence[units, k] = sample.n_rows * share * (y - mean[k])
        sets.append(units)
    only = np.array([only_row(sample, units) for units in sets])
    return mean, Influence.of(influence), only, Influence.of(weights)
