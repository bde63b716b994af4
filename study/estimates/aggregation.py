"""Averages of group-time effects, whose estimated cohort shares add their own influence.

Callaway and Sant'Anna (2021), Section 3.1 and Theorem 4: with p_g the share of cohort g and S the cells
of an average, theta = sum_S p_g ATT(g,t) / sum_S p_g, and estimating the shares adds
1{G_i = g} (ATT(g,t) - theta) / sum_S p_g to the influence of unit i.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from study.core import FloatArray, Influence, QuestionError, unknown
from study.estimates.cohorts import weights_in_cohorts
from study.estimates.estimate import Estimand, Estimate, LeftOut
from study.estimates.jackknife import leverage
from study.panel import AVERAGES, Sample

Cells = NDArray[np.bool_]


class _Average(NamedTuple):
    """One averaged term: its label, its cells, and whether cohort shares or equal weights average them."""

    term: str
    cells: Cells
    by_share: bool
    cohort: float = np.nan
    period: float = np.nan
    event_time: float = np.nan


def aggregate(
    estimate: Estimate, to: str, *, horizon: int | None = None, balance: int | None = None
) -> Estimate:
    """Average an estimate's effects; see :meth:`Estimate.aggregate`."""
    if to not in ("event", "cohort", "calendar", *AVERAGES):
        raise unknown("average", to, ("event", "cohort", "calendar", *AVERAGES), "aggregate")
    kind = to.removesuffix("_average")
    if not estimate.estimand.has_path:
        raise QuestionError(
            f"{estimate.design}: its term is {estimate.estimand.with_article}, which is not an average over cohorts or "
            "event times; use a design with event times, such as event_study or callaway_santanna."
        )
    by_event_time = estimate.estimand is Estimand.EVENT_TIME_ATT
    if by_event_time and kind != "event":
        raise QuestionError(
            f'{estimate.design}: its terms are by event time, so "{to}" cannot be formed; use "event_average".'
        )
    if by_event_time and balance is not None:
        raise QuestionError(f"{estimate.design}: its terms are by event time, so cohorts cannot be balanced.")

    if kind == "event":
        groups = estimate.by_event_time if balance is None else event_effects(estimate, balance)
        if to == "event":
            return groups
        last = estimate.sample.question.horizon if horizon is None else horizon
        chosen = (groups.event_time >= 0) & _observed(groups)
        if last is not None:
            chosen &= groups.event_time <= last
        return _single(groups, to, chosen, by_share=False)
    if kind == "treated":
        return _single(estimate, to, _post(estimate), by_share=True)
    if kind == "cohort":
        groups = _apply(estimate, _cohorts(estimate), to)
        return groups if to == "cohort" else _single(groups, to, _observed(groups), by_share=True)
    groups = _apply(estimate, _calendar(estimate), to)
    return groups if to == "calendar" else _single(groups, to, _observed(groups), by_share=False)


def event_effects(estimate: Estimate, balance: int | None = None) -> Estimate:
    """Average an estimate's effects over cohorts, for each event time; one by event time is what it is."""
    if estimate.estimand is Estimand.EVENT_TIME_ATT:
        return estimate
    return _apply(estimate, _event_times(estimate, balance), "event")


def _observed(estimate: Estimate) -> Cells:
    return ~estimate.reference & np.isfinite(estimate.effect_level)


def _post(estimate: Estimate) -> Cells:
    return _observed(estimate) & (estimate.period >= estimate.cohort)


def _event_times(estimate: Estimate, balance: int | None) -> list[_Average]:
    cells = np.isfinite(estimate.effect_level)
    times = np.unique(estimate.event_time[cells])
    if balance is not None:
        periods = estimate.sample.periods
        cells &= periods[-1] - estimate.cohort >= balance
        times = times[(times <= balance) & (times >= balance - (periods[-1] - periods[0]))]
    chosen = [(e, cells & (estimate.event_time == e)) for e in times]
    return [_Average(f"event {e:g}", which, True, event_time=e) for e, which in chosen if which.any()]


def _cohorts(estimate: Estimate) -> list[_Average]:
    post = _post(estimate)
    return [
        _Average(f"cohort {g:g}", post & (estimate.cohort == g), True, cohort=g)
        for g in np.unique(estimate.cohort[post])
    ]


def _calendar(estimate: Estimate) -> list[_Average]:
    post = _post(estimate)
    return [
        _Average(f"period {t:g}", post & (estimate.period == t), True, period=t)
        for t in np.unique(estimate.period[post])
    ]


def _single(estimate: Estimate, term: str, cells: Cells, *, by_share: bool) -> Estimate:
    return _apply(estimate, [_Average(term, cells, by_share)] if cells.any() else [], term)


def _apply(estimate: Estimate, averages: Sequence[_Average], to: str) -> Estimate:
    """Average effects and untreated means with the same weights; ``to`` is what was asked for."""
    if not averages:
        raise QuestionError(
            f'{estimate.design}: no period that it averages is observed, so "{to}" cannot be formed.'
        )
    cells = np.stack([a.cells for a in averages], axis=1)
    by_share = np.array([a.by_share for a in averages]) & (cells.sum(axis=0) > 1)
    parts = np.where(cells, np.where(by_share, _shares(estimate)[:, None], 1.0), 0.0)
    weight = parts / parts.sum(axis=0)
    total = np.where(by_share, parts.sum(axis=0), np.inf)

    shares = estimate.cohort_weights if estimate.shares == "estimated" else None

    def averaged(values: FloatArray, influence: Influence) -> tuple[FloatArray, Influence, Influence | None]:
        mean = weight.T @ np.where(weight.any(axis=1), values, 0.0)
        across = influence @ weight
        if shares is None:
            return mean, across, None
        of_shares = shares @ np.where(weight > 0, (values[:, None] - mean) / total, 0.0)
        return mean, across + of_shares, of_shares

    effect_level, influence, of_shares = averaged(estimate.effect_level, estimate.level_influence)
    mean, mean_influence, mean_of_shares = estimate.untreated_mean, estimate.untreated_influence, None
    if mean is not None and mean_influence is not None:
        mean, mean_influence, mean_of_shares = averaged(mean, mean_influence)
    cohort = np.array([a.cohort for a in averages])
    by_own_influence = of_shares is not None and bool(by_share.any())
    made = replace(
        estimate,
        terms=tuple(a.term for a in averages),
        effect_level=effect_level,
        level_influence=influence,
        untreated_mean=mean,
        untreated_influence=mean_influence,
        cohort_weights=None if np.isnan(cohort).any() else weights_in_cohorts(estimate.sample, cohort),
        cohort=cohort,
        period=np.array([a.period for a in averages]),
        event_time=np.array([a.event_time for a in averages]),
        reference=np.array([bool(estimate.reference[a.cells].all()) for a in averages]),
        of_draw=None if estimate.of_draw is None else weight.T @ estimate.of_draw,
        form=None if estimate.form is None else estimate.form @ weight,
        treated=_treated(estimate, cells, cohort),
        # Averages by estimated shares are means over units: leaving out a unit moves the average as it moves a mean
        # over all treated units, and not as it moves its cohort's.
        left_out=None if by_own_influence else estimate.leave_out.averaged(weight),
    )
    if not by_own_influence or estimate.left_out is None:
        return made
    left_out = _with_shares(estimate.left_out.averaged(weight), made, of_shares, mean_of_shares)
    return replace(made, left_out=left_out)


def _with_shares(
    left: LeftOut, made: Estimate, of_shares: Influence | None, mean_of_shares: Influence | None
) -> LeftOut:
    """Add what leaving clusters out does to estimated shares, where the design itself says what it does to effects."""
    found, sides = leverage(made.level_influence, made.sides), made.sides
    effect_level, untreated = left.level, left.untreated
    if of_shares is not None:
        effect_level = effect_level + found.applied(of_shares, sides)
    if untreated is not None and mean_of_shares is not None:
        untreated = untreated + found.applied(mean_of_shares, sides)
    return LeftOut(effect_level, untreated, found.clusters, left.estimable)


def _treated(estimate: Estimate, cells: Cells, cohort: FloatArray) -> FloatArray | None:
    """Return how often a unit counts among an average's treated, once in the average of its own cohort."""
    if estimate.treated is None:
        return None
    times = estimate.treated @ cells
    return np.where(np.isnan(cohort), times, np.minimum(times, 1.0))


def _shares(estimate: Estimate) -> FloatArray:
    """Return the share of the treated that each term stands for; equal ones where it stands for none."""
    if estimate.cohort_weights is None:
        return np.ones(len(estimate.terms))
    return estimate.cohort_weights.means()


def coefficients(
    sample: Sample,
    terms: tuple[str, ...],
    effect_level: FloatArray,
    influence: Influence | FloatArray,
    *,
    n_obs: int,
    notes: tuple[str, ...] = (),
    **fields: Any,
) -> Estimate:
    """Return an estimate whose terms are coefficients, of no one cohort, period or event time.

    Parameters
    ----------
    sample, terms, n_obs, **fields
        As in :class:`Estimate`; ``notes`` are its remarks.
    effect_level : ndarray, shape (K,)
    influence : Influence or ndarray, shape (n, K)
    """
    unlabelled = np.full(len(terms), np.nan)
    return Estimate(
        sample=sample,
        estimand=Estimand.COEFFICIENT,
        terms=terms,
        effect_level=effect_level,
        level_influence=influence if isinstance(influence, Influence) else Influence.of(influence),
        cohort=unlabelled,
        period=unlabelled,
        event_time=unlabelled,
        reference=np.zeros(len(terms), dtype=bool),
        n_obs=n_obs,
        remarks=notes,
        **fields,
    )


def long_change_effect(
    sample: Sample, term: str, effect_level: FloatArray, influence: FloatArray, *, n_obs: int, **fields: Any
) -> Estimate:
    """Return an estimate whose one term is an effect on the change over the window; arguments as above."""
    made = coefficients(sample, (term,), effect_level, influence, n_obs=n_obs, **fields)
    return replace(made, estimand=Estimand.LONG_CHANGE)


def group_time_effects(
    sample: Sample,
    cohort: FloatArray,
    period: FloatArray,
    effect_level: FloatArray,
    influence: Influence,
    *,
    notes: tuple[str, ...] = (),
    **fields: Any,
) -> Estimate:
    """Return an estimate whose terms are ATT(g,t); arguments as in :class:`Estimate`."""
    return Estimate(
        sample=sample,
        estimand=Estimand.GROUP_TIME_ATT,
        terms=tuple(f"ATT({g:g},{t:g})" for g, t in zip(cohort, period, strict=True)),
        effect_level=effect_level,
        level_influence=influence,
        cohort=cohort,
        period=period,
        event_time=period - cohort,
        treated=_treated_groups(sample, cohort),
        remarks=notes,
        **fields,
    )


def _treated_groups(sample: Sample, cohort: FloatArray) -> FloatArray:
    """Return 1 for the group that each term is of, for all cohorts of the window where it is of none; shape (G, K)."""
    dates = sample.groups[0][:, None]
    every = np.isin(dates, sample.cohorts) & np.isnan(cohort)
    return np.asarray(every | (dates == cohort), dtype=float)


def event_time_effects(
    sample: Sample,
    times: FloatArray,
    effect_level: FloatArray,
    influence: Influence,
    mean: FloatArray,
    mean_influence: Influence,
    *,
    notes: tuple[str, ...] = (),
    **fields: Any,
) -> Estimate:
    """Return an estimate whose terms are effects by event time, from the treated units' mean outcomes at each.

    Parameters
    ----------
    sample, effect_level, **fields
        As in :class:`Estimate`.
    times, mean : ndarray, shape (K,)
    influence, mean_influence : Influence, shape (n, K)
    """
    unlabelled = np.full(len(times), np.nan)
    return Estimate(
        sample=sample,
        estimand=Estimand.EVENT_TIME_ATT,
        terms=tuple(f"event {e:g}" for e in times),
        effect_level=effect_level,
        level_influence=influence,
        untreated_mean=mean - effect_level,
        untreated_influence=mean_influence - influence,
        cohort=unlabelled,
        period=unlabelled,
        event_time=times,
        remarks=notes,
        **fields,
    )
