"""Local-projections difference-in-differences of Dube, Girardi, Jordà and Taylor (2025)."""

from __future__ import annotations

from functools import partial
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from study.core import FloatArray, Influence, LinearForm, QuestionError, Terms, regress, side_by_side
from study.core.normal_equations import Rows
from study.designs import COMMON, Assumes, Estimand, Supports, design
from study.estimates import CohortMeans, Estimate, cohort_means, event_time_effects, events_on_one, mean_over
from study.panel import Sample

Weighting = Literal["variance", "equal"]


@design(
    name="lp_did",
    title="Local projections (Dube, Girardi, Jordà and Taylor)",
    reference="dube2025",
    estimand=Estimand.EVENT_TIME_ATT,
    assumes=(Assumes.PARALLEL_TRENDS, Assumes.LIMITED_ANTICIPATION),
    supports=COMMON - {Supports.COVARIATES} | {Supports.WEIGHTS, Supports.NEVER_TREATED},
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
    difference-in-differences. Journal of Applied Econometrics 40(5).
    """
    last = -1 - sample.question.anticipation
    means = cohort_means(sample, levels_apart=True)
    rows = _groups(means) if means.whole else _Rows(sample.y, sample.weights, _first(sample))
    fits, notes = [], []
    dropped: dict[int, list[str]] = {}
    for h in _event_times(sample, before, after):
        fit = _projection(sample, rows, h, weighting)
        if fit is None:
            notes.append(f"event {h} left out: no unit first treated then has a clean comparison unit")
        else:
            fits.append(fit)
            for g in fit.dropped:
                dropped.setdefault(int(g), []).append(str(h))
    notes += [
        f"cohort {g} at event {', '.join(events)} left out: it or clean comparison units are not seen then"
        for g, events in sorted(dropped.items())
    ]
    if all(fit.event_time == last for fit in fits):
        raise QuestionError(f"lp_did: no effect can be estimated: {'; '.join(notes)}.")
    times = np.array([fit.event_time for fit in fits], dtype=float)
    reference = times == last
    linear = np.array([fit.coefficient for fit in fits])
    influence = _of_groups(means, fits) if means.whole else _of_units(sample, fits)
    mean, mean_influence, size = _of_treated(sample, means, fits)
    return event_time_effects(
        sample,
        times,
        linear,
        influence,
        mean,
        mean_influence,
        reference=reference,
        n_obs=int(sample.observed.sum()),
        published="CR0",
        form=_form(sample, fits, ~reference, weighting),
        notes=(*notes, *events_on_one(times[~reference], size[~reference])),
    )


class _Rows(NamedTuple):
    """Outcomes (m, T), weights (m,) and first treated periods (m,) of units, or of groups and their means."""

    y: FloatArray
    weights: FloatArray
    first_treated: FloatArray


class _Projection(NamedTuple):
    """The regression of one event time: J starting periods, of which ``now`` and ``base`` are the two periods.

    ``start`` are the starting periods, ``dropped`` those of cohorts that cannot be compared. A row's influence is
    the sum over starts of its weight times ``regressor`` (m, J) times ``error`` (m, J), over ``size``, the sum of
    the ``sizes`` (J,) by which the starting periods' differences in differences are averaged.
    """

    event_time: int
    coefficient: float
    start: NDArray[np.int64]
    now: NDArray[np.int64]
    base: NDArray[np.int64]
    regressor: FloatArray
    error: FloatArray
    weights: FloatArray
    sizes: FloatArray
    dropped: NDArray[np.int64]

    @property
    def size(self) -> float:
        """Sum of what weights the starting periods."""
        return float(self.sizes.sum())


def _first(sample: Sample) -> FloatArray:
    assert sample.first_treated is not None
    return sample.first_treated


def _groups(means: CohortMeans) -> _Rows:
    """Return groups as rows: regressors do not differ within them, so that their means give the coefficients."""
    mean = np.where(means.seen > 0, means.mean, np.nan)
    return _Rows(mean, means.weight.max(axis=1), means.dates)


def _event_times(sample: Sample, before: int | None, after: int | None) -> range:
    last = -1 - sample.question.anticipation
    earliest = int(sample.periods[0] - sample.cohorts[-1])
    latest = int(sample.periods[-1] - sample.cohorts[0])
    first = earliest if before is None else max(earliest, last - before + 1)
    return range(first, (latest if after is None else min(latest, after)) + 1)


def _projection(sample: Sample, rows: _Rows, h: int, weighting: Weighting) -> _Projection | None:
    """Regress the changes of one event time on the start of treatment; None where nobody can be compared."""
    question, n_periods = sample.question, len(sample.periods)
    position = np.arange(n_periods)
    base = position - 1 - question.anticipation
    position = position[(base >= 0) & (position + h >= 0) & (position + h < n_periods)]
    start, now, base = sample.periods[position], position + h, position - 1 - question.anticipation
    first = rows.first_treated[:, None]
    treated, clean = _enters(sample, first, start, h)
    change = rows.y[:, now] - rows.y[:, base]
    seen = ~np.isnan(change)
    change = np.where(seen, change, 0.0)
    of_treated = rows.weights[:, None] * (treated & seen)
    of_clean = rows.weights[:, None] * (clean & seen)
    n_treated, n_clean = of_treated.sum(axis=0), of_clean.sum(axis=0)
    kept = (n_treated > 0) & (n_clean > 0)
    if not kept.any():
        return None
    dropped = start[treated.any(axis=0) & ~kept]
    change, of_treated, of_clean = change[:, kept], of_treated[:, kept], of_clean[:, kept]
    n_treated, n_clean = n_treated[kept], n_clean[kept]
    ours = (of_treated * change).sum(axis=0) / n_treated
    theirs = (of_clean * change).sum(axis=0) / n_clean
    gap, is_treated, is_clean = ours - theirs, of_treated > 0, of_clean > 0
    if weighting == "variance":
        share = n_treated / (n_treated + n_clean)
        size = n_treated * (1 - share)
        coefficient = float(size @ gap / size.sum())
        regressor = is_treated - share * (is_treated | is_clean)
        error = change - theirs - share * (gap - coefficient) - coefficient * is_treated
    else:
        size = n_treated
        coefficient = float(size @ gap / size.sum())
        regressor = is_treated - (n_treated / n_clean) * is_clean
        error = change - theirs - is_treated * coefficient
    return _Projection(
        h,
        coefficient,
        start[kept],
        now[kept],
        base[kept],
        regressor,
        np.where(is_treated | is_clean, error, 0.0),
        rows.weights,
        size,
        dropped,
    )


def _enters(
    sample: Sample, first: FloatArray, start: NDArray[np.int64], h: int
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Return who starts in a period, and who is clean then, shapes (m, J)."""
    treated, clean = first == start, np.isnan(first)
    if sample.question.comparison == "not_yet_treated":
        clean = clean | (first - sample.question.anticipation > np.maximum(start, start + h))
    return treated, np.broadcast_to(clean, treated.shape)


def _form(
    sample: Sample,
    fits: list[_Projection],
    varies: NDArray[np.bool_],
    weighting: Weighting,
) -> LinearForm:
    """Return the terms as coefficients, or with equal weighting as averages of them, of one regression."""
    used = [(fit.event_time, fit.start) for fit, v in zip(fits, varies, strict=True) if v]
    place = np.eye(len(fits))[varies]
    if weighting == "equal":
        shares = [fit.sizes / fit.size for fit, v in zip(fits, varies, strict=True) if v]
        place = np.repeat(place, [len(s) for s in shares], axis=0) * np.concatenate(shares)[:, None]
    return LinearForm(partial(_regression, sample, used, weighting), place)


def _regression(sample: Sample, used: list[tuple[int, NDArray[np.int64]]], weighting: Weighting) -> Rows:
    """Regress the changes of all event times, one below the other, each on its own period effects.

    The start of treatment has one coefficient for each event time, or with equal weighting one for each of its
    starting periods, whose differences in differences are averaged.
    """
    dates, members = sample.groups
    n, n_periods, n_groups = sample.n_units, len(sample.periods), len(dates)
    first, d = _first(sample), sample.question.anticipation
    changes = np.full((len(used), n, n_periods), np.nan)
    for k, (h, start) in enumerate(used):
        position = start - sample.periods[0]
        enters = np.any(_enters(sample, first[:, None], start, h), axis=0)
        changes[k][:, position] = np.where(
            enters, sample.y[:, position + h] - sample.y[:, position - 1 - d], np.nan
        )
    rows = [units + k * n for k in range(len(used)) for units in members]
    of_event = np.repeat(np.eye(len(used)), n_groups, axis=0)[:, None, :]
    starts = (dates[:, None] == sample.periods).astype(float)
    treated = np.tile(starts, (len(used), 1))[:, :, None] * of_event
    by_period = np.eye(n_periods)[:, None, :]
    if weighting == "equal":
        inside = np.concatenate([np.isin(sample.periods, start) for _, start in used])
        treated = (treated[:, :, :, None] * by_period).reshape(len(rows), n_periods, -1)[:, :, inside]
    nuisance = (of_event[:, :, :, None] * by_period).reshape(len(rows), n_periods, -1)
    fit = regress(
        changes.reshape(-1, n_periods),
        rows,
        Terms(treated, nuisance),
        np.tile(sample.weights, len(used)),
        unit_effects=False,
    )
    assert fit.equations is not None
    return Rows(fit.equations, np.tile(np.arange(n), len(used)))


def _of_units(sample: Sample, fits: list[_Projection]) -> Influence:
    columns = [
        sample.n_units / fit.size * fit.weights * np.einsum("ij,ij->i", fit.regressor, fit.error)
        for fit in fits
    ]
    return Influence.of(np.column_stack(columns))


def _of_groups(means: CohortMeans, fits: list[_Projection]) -> Influence:
    """Return the influence by unit: a unit's change is its group's and what the unit deviates from it."""
    of_deviation, of_weight = np.zeros((2, *means.mean.shape, len(fits)))
    for k, fit in enumerate(fits):
        scaled = means.n_units / fit.size * fit.regressor
        of_deviation[:, fit.now, k] += scaled
        of_deviation[:, fit.base, k] -= scaled
        of_weight[:, fit.now, k] += scaled * fit.error
    return means.influence(of_deviation, of_weight)


def _of_treated(
    sample: Sample, means: CohortMeans, fits: list[_Projection]
) -> tuple[FloatArray, Influence, NDArray[np.int64]]:
    """Return the mean outcomes of the treated units that coefficients rest on, and their numbers, shape (K,)."""
    if means.whole:
        cells = np.stack([_treated(means.dates, fit, means.mean.shape) for fit in fits], axis=2)
        return *means.pooled(cells), np.einsum("gt,gtk->k", means.seen, cells)
    found, size = [], []
    for fit in fits:
        cells = _treated(_first(sample), fit, sample.y.shape)
        cells[:, fit.now] &= sample.observed[:, fit.base]
        found.append(mean_over(sample, cells))
        size.append(int(np.sum(cells & sample.observed)))
    mean = np.concatenate([value for value, _ in found])
    return mean, side_by_side([influence for _, influence in found]), np.array(size)


def _treated(first: FloatArray, fit: _Projection, shape: tuple[int, ...]) -> NDArray[np.bool_]:
    """Return the cells in which the treated of a coefficient are, of units or groups, shape (m, T)."""
    cells = np.zeros(shape, dtype=bool)
    cells[:, fit.now] = first[:, None] == fit.start
    return cells
