"""Averages of group-time effects, whose estimated cohort shares add their own influence.

Callaway and Sant'Anna (2021), Section 3.1 and Theorem 4: with p_g the share of cohort g and S the cells
of an average, theta = sum_S p_g ATT(g,t) / sum_S p_g, and estimating the shares adds
1{G_i = g} (ATT(g,t) - theta) / sum_S p_g to the influence of unit i.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Literal

import numpy as np

from study.core import BoolArray, FloatArray, Influence, QuestionError, refuse_unknown
from study.estimates.cohorts import weights_in_cohorts
from study.estimates.estimate import LABELS, Estimand, Estimate, LeftOut
from study.estimates.jackknife import leverage
from study.panel import AVERAGES, Sample


def aggregate(
    estimate: Estimate, to: str, *, horizon: int | None = None, balance: int | None = None
) -> Estimate:
    """Average an estimate's effects; see :meth:`Estimate.aggregate`."""
    curve = () if estimate.at is None else (estimate.at_name,)
    refuse_unknown("average", to, ("event", "cohort", "calendar", *AVERAGES, *curve), "aggregate")
    if estimate.at is not None and to in curve:
        return estimate.select(np.isfinite(estimate.at))
    estimate = estimate.of_no_dose
    kind = to.removesuffix("_average")
    label = {"event": "event_time", "cohort": "cohort", "calendar": "period"}.get(to)
    if to in estimate.terms:  # an average that the design itself made
        return estimate.select(np.array(estimate.terms) == to)
    labelled = [name for name in LABELS if not np.isnan(getattr(estimate, name)).all()]
    if balance is None and labelled == [label]:
        return _labelled(estimate, labelled[0])
    if not estimate.estimand.has_path:
        raise QuestionError(
            f"{estimate.design}: its term is {estimate.estimand.with_article}, which is not an average over cohorts or "
            "event times; use a design with event times, such as event_study or callaway_santanna."
        )
    by_event_time = estimate.estimand is Estimand.EVENT_TIME_ATT
    by_share = kind == "treated" and estimate.cohort_weights is not None
    if by_event_time and kind != "event" and not by_share:
        raise QuestionError(
            f'{estimate.design}: its terms are by event time, so "{to}" cannot be formed; use "event_average".'
        )
    if balance is not None and np.isnan(estimate.cohort).all():
        raise QuestionError(f"{estimate.design}: its terms are by event time, so cohorts cannot be balanced.")
    if kind == "event":
        path = estimate.by_event_time if balance is None else event_effects(estimate, balance)
        if to == "event":
            return path
        last = estimate.sample.question.horizon if horizon is None else horizon
        within = path.event_time <= (np.inf if last is None else last)
        return _single(path, to, _observed(path) & (path.event_time >= 0) & within, by_share=False)
    post = _observed(estimate) & (estimate.event_time >= 0)
    if kind == "treated":
        return _single(estimate, to, post, by_share=True)
    groups = _by_label(estimate, "cohort" if kind == "cohort" else "period", post, to)
    return groups if to == kind else _single(groups, to, _observed(groups), by_share=kind == "cohort")


def event_effects(estimate: Estimate, balance: int | None = None) -> Estimate:
    """Average an estimate's effects over cohorts, for each event time; one by event time is what it is."""
    if estimate.estimand is Estimand.EVENT_TIME_ATT:
        return _labelled(estimate, "event_time")
    estimate = estimate.of_no_dose
    used = np.isfinite(estimate.effect_level)
    if balance is not None and not np.isnan(estimate.cohort).all():  # what is averaged already stays as it is
        used &= balanced(estimate, balance)
    return _by_label(estimate, "event_time", used, "event")


def _labelled(estimate: Estimate, label: str) -> Estimate:
    """Return the terms that have a label, without averages that a design made itself."""
    unlabelled = np.isnan(getattr(estimate, label))
    return estimate.select(~unlabelled) if unlabelled.any() else estimate


def balanced(estimate: Estimate, balance: int) -> BoolArray:
    """Return which terms, shape (K,), an average of fixed composition is of; see :attr:`Question.balance`.

    Raises
    ------
    QuestionError
        If no cohort has an effect at every event time from 0 to ``balance``.
    """
    times, cohort = estimate.event_time, estimate.cohort
    first, last = estimate.sample.periods[[0, -1]]
    after = np.isfinite(estimate.effect_level) & (times >= 0) & (times <= balance)
    dates, seen = np.unique(cohort[after], return_counts=True)
    fixed = np.isin(cohort, dates[seen == balance + 1])
    if not fixed.any():
        raise QuestionError(
            f"{estimate.design}: no cohort has an effect at every event time from 0 to {balance}; lower balance."
        )
    return np.asarray(fixed & (times <= balance) & (times >= balance - (last - first)))


def _observed(estimate: Estimate) -> BoolArray:
    return ~estimate.reference & np.isfinite(estimate.effect_level)


def _by_label(
    estimate: Estimate, label: Literal["cohort", "period", "event_time"], used: BoolArray, to: str
) -> Estimate:
    """Average the used terms that share a label, by cohort shares."""
    labels: FloatArray = getattr(estimate, label)
    distinct = np.unique(labels[used])
    name = "{:g}".format if label == "event_time" else estimate.sample.period_name
    terms = tuple(f"{label.removesuffix('_time')} {name(value)}" for value in distinct)
    cells = used[:, None] & (labels[:, None] == distinct)
    return _averages(estimate, cells, terms, to, by_share=True, **{label: distinct})


def _single(estimate: Estimate, term: str, cells: BoolArray, *, by_share: bool) -> Estimate:
    return _averages(estimate, cells[:, None], (term,), term, by_share=by_share)


def _averages(
    estimate: Estimate,
    cells: BoolArray,
    terms: tuple[str, ...],
    to: str,
    *,
    by_share: bool,
    **labels: FloatArray,
) -> Estimate:
    """Average effects and untreated means with the same weights.

    ``cells``, shape (K, M), are the terms that each of M averages is of; ``to`` is what was asked for.
    """
    if not cells.any():
        raise QuestionError(
            f'{estimate.design}: no period that it averages is observed, so "{to}" cannot be formed.'
        )
    several = by_share & (cells.sum(axis=0) > 1)
    # Terms that stand for no share of the treated weigh the same.
    sizes = np.ones(len(cells)) if estimate.cohort_weights is None else estimate.cohort_weights.means()
    parts = np.where(cells, np.where(several, sizes[:, None], 1.0), 0.0)
    weight = parts / parts.sum(axis=0)
    total = np.where(several, parts.sum(axis=0), np.inf)
    shares = estimate.cohort_weights if estimate.shares == "estimated" else None

    def averaged(values: FloatArray, influence: Influence) -> tuple[FloatArray, Influence, Influence | None]:
        mean = weight.T @ np.where(weight.any(axis=1), values, 0.0)
        if shares is None:
            return mean, influence @ weight, None
        of_shares = shares @ np.where(weight > 0, (values[:, None] - mean) / total, 0.0)
        return mean, influence @ weight + of_shares, of_shares

    effect_level, influence, of_shares = averaged(estimate.effect_level, estimate.level_influence)
    mean, mean_influence, mean_of_shares = estimate.untreated_mean, estimate.untreated_influence, None
    if mean is not None and mean_influence is not None:
        mean, mean_influence, mean_of_shares = averaged(mean, mean_influence)
    own: dict[str, Any] = dict.fromkeys(LABELS, np.full(len(terms), np.nan)) | labels
    cohort, treated = own["cohort"], estimate.treated
    if treated is not None:  # a unit counts once in the average of its own cohort
        treated = np.where(np.isnan(cohort), treated @ cells, np.minimum(treated @ cells, 1.0))
    average = replace(
        estimate,
        terms=terms,
        effect_level=effect_level,
        level_influence=influence,
        untreated_mean=mean,
        untreated_influence=mean_influence,
        cohort_weights=None if np.isnan(cohort).any() else weights_in_cohorts(estimate.sample, cohort),
        reference=np.array([estimate.reference[used].all() for used in cells.T]),
        of_draw=None if estimate.of_draw is None else weight.T @ estimate.of_draw,
        replicates=None if estimate.replicates is None else weight.T @ estimate.replicates,
        form=None if estimate.form is None else estimate.form @ weight,
        treated=treated,
        left_out=None,
        **own,
    )
    # Averages by estimated shares are means over units: leaving out a unit moves the average as it moves a mean
    # over all treated units, and not as it moves its cohort's.
    if of_shares is None or not several.any():
        return replace(average, left_out=estimate.leave_out.averaged(weight))
    if estimate.left_out is None:
        return average
    # The design itself says what leaving clusters out does to effects; what it does to shares is added.
    left, sides = estimate.left_out.averaged(weight), average.sides
    by_shares = leverage(influence, sides)
    untreated = left.untreated
    if untreated is not None and mean_of_shares is not None:
        untreated = untreated + by_shares.applied(mean_of_shares, sides)
    level = left.level + by_shares.applied(of_shares, sides)
    return replace(average, left_out=LeftOut(level, untreated, by_shares.clusters, left.estimable))


def coefficients(
    sample: Sample,
    terms: tuple[str, ...],
    effect_level: FloatArray,
    influence: Influence | FloatArray,
    *,
    n_obs: int,
    estimand: Estimand = Estimand.COEFFICIENT,
    **fields: Any,
) -> Estimate:
    """Return an estimate whose terms are coefficients, of no one cohort, period or event time unless it is given.

    Parameters
    ----------
    sample, terms, n_obs, estimand, **fields
        As in :class:`Estimate`; ``notes`` are its remarks.
    effect_level : ndarray, shape (K,)
    influence : Influence or ndarray, shape (n, K)
    """
    linear = influence if isinstance(influence, Influence) else Influence.of(influence)
    return Estimate(sample, estimand, terms, effect_level, linear, n_obs=n_obs, **_filled(fields, terms))


def group_time_effects(
    sample: Sample,
    cohort: FloatArray,
    period: FloatArray,
    effect_level: FloatArray,
    influence: Influence,
    **fields: Any,
) -> Estimate:
    """Return an estimate whose terms are ATT(g,t); arguments as in :class:`Estimate`, ``notes`` are its remarks.

    Where ``cohort_weights`` are not given, units weigh in their cohorts what they do in the sample.
    """
    name = sample.period_name
    terms = tuple(f"ATT({name(g)},{name(t)})" for g, t in zip(cohort, period, strict=True))
    # A term counts the group that it is of as treated; one that is of none, all cohorts of the window.
    dates = sample.groups[0][:, None]
    treated = (np.isin(dates, sample.cohorts) & np.isnan(cohort)) | (dates == cohort)
    fields |= {"cohort": cohort, "period": period, "event_time": period - cohort}
    fields["treated"] = treated.astype(float)
    if "cohort_weights" not in fields:
        fields["cohort_weights"] = weights_in_cohorts(sample, cohort)
    return Estimate(sample, Estimand.GROUP_TIME_ATT, terms, effect_level, influence, **_filled(fields, terms))


def event_time_effects(
    sample: Sample,
    times: FloatArray,
    effect_level: FloatArray,
    influence: Influence,
    mean: FloatArray,
    mean_influence: Influence,
    **fields: Any,
) -> Estimate:
    """Return an estimate whose terms are effects by event time, from the treated units' mean outcomes at each.

    Parameters
    ----------
    sample, effect_level, **fields
        As in :class:`Estimate`; ``notes`` are its remarks.
    times, mean : ndarray, shape (K,)
    influence, mean_influence : Influence, shape (n, K)
    """
    untreated = {"untreated_mean": mean - effect_level, "untreated_influence": mean_influence - influence}
    terms = tuple(f"event {e:g}" for e in times)
    fields |= {"event_time": times} | untreated
    return Estimate(sample, Estimand.EVENT_TIME_ATT, terms, effect_level, influence, **_filled(fields, terms))


def _filled(fields: dict[str, Any], terms: tuple[str, ...]) -> dict[str, Any]:
    """Return fields of an estimate; its terms are of no one cohort, period and event time where none are given.

    Nor is one of them the reference.
    """
    remarks, none = fields.pop("notes", ()), np.zeros(len(terms), dtype=bool)
    known = dict.fromkeys(LABELS, np.full(len(terms), np.nan)) | {"reference": none} | fields
    return known | {"remarks": remarks}
