"""Averages by cohort: means of units, and group-time effects weighted by estimated cohort shares.

Callaway and Sant'Anna (2021), Section 3.1 and Theorem 4: with p_g the share of cohort g and S the cells
of an average, theta = sum_S p_g ATT(g,t) / sum_S p_g, and estimating the shares adds
1{G_i = g} (ATT(g,t) - theta) / sum_S p_g to the influence of unit i.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal
from weakref import WeakKeyDictionary

import numpy as np

from study.core import (
    BoolArray,
    FloatArray,
    Influence,
    IntArray,
    QuestionError,
    Values,
    grouped,
    refuse_unknown,
)
from study.estimates.contrast import Contrast, LeftOut
from study.estimates.estimand import Estimand
from study.estimates.estimate import Estimate
from study.estimates.presentation import LABELS
from study.estimates.vcov.jackknife import Jackknife
from study.estimates.vcov.leverage import leverage
from study.panel import AVERAGES, Sample

Cells = BoolArray


@dataclass(frozen=True, eq=False)
class CohortMeans:
    """Weighted means of the outcome by group and period; groups are those of ``Sample.groups``.

    Attributes
    ----------
    n_rows : int
    dates : ndarray, shape (G,)
        First treated period of each group, NaN for the never-treated.
    rows : tuple of ndarray of int, shapes (m_g,)
    mean, weight : ndarray, shape (G, T)
        Mean (zero where nobody is seen) and sum of the weights of the units that are seen.
    seen : ndarray of int, shape (G, T)
        How many units are seen.
    values : Values, of p = T + 1 or 2 T columns
        By unit: the weighted deviations from the mean of the group by period, zero where not seen, then the
        unit's weight, zero if it is never seen, or where units of a group differ in when they are seen, its weight
        in each period.
    same_periods : bool
        Whether in each period all units of a group that are ever seen are seen, or none of them.
    level : CohortMeans, optional
        Where they are taken from what is above: the units' first observed outcomes, as the means of one period.
    """

    n_rows: int
    dates: FloatArray
    rows: tuple[IntArray, ...]
    mean: FloatArray
    weight: FloatArray
    seen: IntArray
    values: Values
    same_periods: bool
    level: CohortMeans | None = None

    def influence(self, of_deviation: FloatArray, of_weight: FloatArray) -> Influence:
        """Return the influence with given coefficients of deviations and of weights, shapes (G, T, K).

        Levels that are apart have no part in it.
        """
        if self.same_periods:
            of_weight = np.einsum("gtk,gt->gk", of_weight, self.seen > 0)[:, None]
        maps = np.concatenate([of_deviation, of_weight], axis=1)
        return Influence.by_group(self.n_rows, self.values, maps)

    def pooled(self, cells: Cells | IntArray) -> tuple[FloatArray, Influence]:
        """Return the mean over each set of cells, with its influence; cells has shape (G, T, K).

        A set may count a cell several times. NaN where nobody is seen.
        """
        weight = self.weight[:, :, None] * cells
        total = weight.sum(axis=(0, 1))
        with np.errstate(invalid="ignore", divide="ignore"):
            mean = np.einsum("gt,gtk->k", self.mean, weight) / total
            per_unit = self.n_rows * cells / total
            influence = self.influence(per_unit, per_unit * (self.mean[:, :, None] - mean))
        if self.level is None:
            return mean, influence
        times = (cells * (self.seen > 0)[:, :, None]).sum(axis=1, keepdims=True)
        level, of_level = self.level.pooled(times)
        return mean + level, influence + of_level

    def cohort_weights(self, cells: Cells) -> Influence:
        """Return each unit's weight in each set of cells, shape (n, K)."""
        return self.influence(np.zeros(cells.shape), cells.astype(float))

    def sizes(self, cohort: FloatArray, position: IntArray) -> IntArray:
        """Return how many units are seen in the cells of cohorts and numbers of periods, shape (K,)."""
        return self.seen[np.searchsorted(self.dates, cohort), position]

    def cells(self, cohort: FloatArray, position: IntArray) -> Cells:
        """Return the single cells of cohorts and numbers of periods, shape (G, T, K)."""
        cells = np.zeros((*self.mean.shape, len(cohort)), dtype=bool)
        cells[np.searchsorted(self.dates, cohort), position, np.arange(len(cohort))] = True
        return cells


def cohort_means(sample: Sample, y: FloatArray | None = None, *, levels_apart: bool = False) -> CohortMeans:
    """Return the means of an outcome, the sample's own if none is given, by group and period.

    With ``levels_apart`` each unit's first observed outcome is taken out first, so that changes keep their digits
    where levels dwarf them, if the units of each group are seen in the same periods. Cells of repeated
    cross-sections that lack a group in some periods are compared in levels, which then do not cancel.
    """
    if y is not None and y is not sample.y:
        return _cohort_means(sample, y, levels_apart)
    known = _of_own_outcome.setdefault(sample, {})
    if levels_apart not in known:
        known[levels_apart] = _cohort_means(sample, sample.y, levels_apart)
    return known[levels_apart]


# By sample, as long as there is one: several designs ask for them.
_of_own_outcome: WeakKeyDictionary[Sample, dict[bool, CohortMeans]] = WeakKeyDictionary()


def _cohort_means(sample: Sample, outcome: FloatArray, levels_apart: bool) -> CohortMeans:
    blocks = [outcome[members] for members in sample.groups[1]]
    unseen = [np.isnan(block) for block in blocks]
    gaps = [_gaps_of_all(u) for u in unseen]
    same = all(gap is not None for gap in gaps)
    in_levels = sample.question.missing == "cells" and any(u.any() for u in unseen)
    level = None
    if levels_apart and same and not in_levels:
        start = [0 if gap is None else int(gap.argmin()) for gap in gaps]
        first = [block[:, at : at + 1].copy() for block, at in zip(blocks, start, strict=True)]
        for block, own in zip(blocks, first, strict=True):
            block -= own
        level = _means(sample, first, [np.isnan(own) for own in first], same)
    return replace(_means(sample, blocks, unseen, same), level=level)


def _gaps_of_all(unseen: Cells) -> Cells | None:
    """Return when the units of a group that are ever seen are not, shape (T,), or None where they differ in it."""
    rows = unseen[~unseen.all(axis=1)] if unseen.any() else unseen[:1]
    if not len(rows):
        return unseen[0]
    return rows[0] if np.all(rows == rows[0]) else None


def _means(sample: Sample, blocks: list[FloatArray], unseen: list[Cells], same: bool) -> CohortMeans:
    """Return the means of outcomes by group, shapes (m_g, T), in which it sets what is not seen to zero."""
    dates, rows = sample.groups
    n_periods = blocks[0].shape[1]
    mean, weight = np.zeros((2, len(dates), n_periods))
    count = np.zeros(mean.shape, dtype=np.int64)
    values = []
    for g, (block, u) in enumerate(zip(blocks, unseen, strict=True)):
        w = sample.weights[rows[g]]
        marks = w[:, None]
        if u.any():
            block[u] = 0.0
            marks = marks * ~u.all(axis=1, keepdims=True) if same else marks * ~u
            weight[g] = marks.sum(axis=0) * ~u.all(axis=0)
        else:
            weight[g] = w.sum()
            marks = marks if same else np.broadcast_to(marks, block.shape)
        count[g] = sample.counted(~u, rows[g])
        mean[g] = np.divide(w @ block, weight[g], out=np.zeros(n_periods), where=weight[g] > 0)
        value = np.empty((len(w), n_periods + marks.shape[1]))
        np.subtract(block, mean[g], out=value[:, :n_periods])
        if u.any() or not np.all(w == 1):
            value[:, :n_periods] *= marks
        value[:, n_periods:] = marks
        values.append(value)
    return CohortMeans(sample.n_rows, dates, rows, mean, weight, count, Values(rows, tuple(values)), same)


def mean_over(sample: Sample, cells: Cells) -> tuple[FloatArray, Influence]:
    """Return the weighted mean outcome over a set of cells of shape (n, T), as one term with its influence."""
    weight = sample.weights[:, None] * (cells & sample.observed)
    y, total = np.nan_to_num(sample.y), weight.sum()
    mean = np.array([np.sum(weight * y) / total])
    return mean, Influence.of(sample.n_rows * (weight * (y - mean)).sum(axis=1, keepdims=True) / total)


def weights_in_cohorts(sample: Sample, cohort: FloatArray) -> Influence:
    """Return each unit's weight in the cohort of each term, shape (n, K): its weight in the sample, or zero.

    Of a third difference it is the units that treatment is for that are averaged over.
    """
    (dates, members), (distinct, of_term) = sample.groups, np.unique(cohort, return_inverse=True)
    rows = [members[g] for g in np.searchsorted(dates, distinct)]
    if sample.group is not None:
        rows = [own[sample.group[own] > 0] for own in rows]
    values = Values(tuple(rows), tuple(sample.weights[own][:, None] for own in rows))
    coefficients = (np.arange(len(distinct))[:, None] == of_term)[:, None, :].astype(float)
    return Influence.by_group(sample.n_rows, values, coefficients)


def left_out(
    sample: Sample,
    cohort: FloatArray,
    period: FloatArray,
    reasons: Mapping[int, str],
    what: str = " left out",
) -> list[str]:
    """Return one note for each cohort and reason, with its periods; reasons are by number of cell."""
    named = (((cohort[k], why), sample.period_name(period[k])) for k, why in sorted(reasons.items()))
    return [
        f"cohort {sample.period_name(g)} in {', '.join(times)}{what}: {why}"
        for (g, why), times in grouped(named).items()
    ]


def aggregate(
    estimate: Estimate, to: str, *, horizon: int | None = None, balance: int | None = None
) -> Estimate:
    """Average an estimate's effects; see :meth:`Estimate.aggregate`."""
    curve = () if estimate.at is None else (estimate.at_name,)
    refuse_unknown("average", to, ("event", "cohort", "calendar", *AVERAGES, *curve), "aggregate")
    if estimate.at is not None and to in curve:
        return estimate.select(np.isfinite(estimate.at))
    estimate = estimate.of_no_dose
    kind, made = to.removesuffix("_average"), to in estimate.terms
    takes = {"horizon": (horizon, to == "event_average"), "balance": (balance, kind == "event")}
    odd = [name for name, (given, able) in takes.items() if given is not None and (made or not able)]
    if odd:
        raise QuestionError(f'aggregate: "{to}" of this estimate takes no {odd[0]}; leave it out.')
    label = {"event": "event_time", "cohort": "cohort", "calendar": "period"}.get(to)
    if made:  # by the design itself, or before
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
    fixed = seen_throughout(cohort, times, np.isfinite(estimate.effect_level), balance)
    if not fixed.any():
        raise QuestionError(
            f"{estimate.design}: no cohort has an effect at every event time from 0 to {balance}; lower balance."
        )
    return np.asarray(fixed & (times <= balance))


def seen_throughout(cohort: FloatArray, times: FloatArray, known: BoolArray, balance: int) -> BoolArray:
    """Return which cells are of cohorts that have a known one at every event time from 0 to a balance, shape (K,)."""
    dates, seen = np.unique(cohort[known & (times >= 0) & (times <= balance)], return_counts=True)
    return np.isin(cohort, dates[seen == balance + 1])


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
    cohort, contrast = own["cohort"], _contrast_of_averages(estimate, cells, own["cohort"])
    average = replace(
        estimate,
        terms=terms,
        effect_level=effect_level,
        level_influence=influence,
        untreated_mean=mean,
        untreated_influence=mean_influence,
        cohort_weights=_weights_of_averages(estimate, cells, cohort),
        reference=np.array([estimate.reference[used].all() for used in cells.T]),
        of_draw=None if estimate.of_draw is None else weight.T @ estimate.of_draw,
        replicates=None if estimate.replicates is None else weight.T @ estimate.replicates,
        form=None if estimate.form is None else estimate.form @ weight,
        contrast=contrast,
        **own,
    )
    whole_cohorts = estimate.contrast.whole_cohorts
    if shares is None or of_shares is None or not several.any():
        return _leaving_out(average, estimate.leave_out.averaged(weight))
    if estimate.contrast.left_out is None and not whole_cohorts:
        # Averages by estimated shares are means over units: leaving out a unit moves the average as it moves a mean
        # over all treated units, and not as it moves its cohort's.
        return average
    if not whole_cohorts and all(shares.columns(np.flatnonzero(w)).alike for w in weight.T):
        return _leaving_out(average, estimate.leave_out.averaged(weight))  # each is of one cohort
    if np.isnan(estimate.cohort[weight.any(axis=1)]).any():
        left = estimate.leave_out.averaged(weight)
        untreated = left.untreated
        if untreated is not None and mean_of_shares is not None:
            untreated = untreated + mean_of_shares
        return _leaving_out(average, left._replace(level=left.level + of_shares, untreated=untreated))
    left = _left_out_with_shares(estimate, average, weight, total, of_shares, mean_of_shares)
    return _leaving_out(average, left)


def _weights_of_averages(estimate: Estimate, cells: BoolArray, cohort: FloatArray) -> Influence | None:
    """Return the weights of units in averages of cells, shape (K, M): those of the cells, added up."""
    if not np.isnan(cohort).any():
        return weights_in_cohorts(estimate.sample, cohort)
    weights = estimate.cohort_weights
    return None if weights is None else weights @ cells.astype(float)


def _leaving_out(fit: Estimate, left: LeftOut) -> Estimate:
    """Return an estimate with influence that leaves clusters out as it is given."""
    return replace(fit, contrast=replace(fit.contrast, left_out=left))


def _contrast_of_averages(estimate: Estimate, cells: BoolArray, cohort: FloatArray) -> Contrast:
    """Return the contrast of M averages of cells, shape (K, M); cohorts are NaN for averages over several."""
    contrast = estimate.contrast
    treated, then, only = contrast.treated, contrast.treated_then, contrast.only
    if treated is not None:  # a unit counts once in the average of its own cohort
        treated = np.where(np.isnan(cohort), treated @ cells, np.minimum(treated @ cells, 1.0))
    if then is not None:
        then = np.column_stack([then[:, used].all(axis=1) for used in cells.T])
    if only is not None:
        rows = (only[used] for used in cells.T)
        only = np.array([only_row(estimate.sample, each) if np.all(each >= 0) else -1 for each in rows])
    return replace(contrast, treated=treated, treated_then=then, only=only, left_out=None)


def only_row(sample: Sample, rows: IntArray) -> int:
    """Return the first of the rows if they are of one cluster, -1 otherwise."""
    cluster = sample.cluster[rows]
    if not len(rows) or np.any(cluster != cluster[0]):
        return -1
    copies = 1 if sample.replicas is None else sample.replicas.frequency[cluster[0]]
    return int(rows[0]) if copies == 1 else -1


def only_in_cells(sample: Sample, cells: Cells, observed: BoolArray | None = None) -> IntArray:
    """Return :attr:`Contrast.only` of terms that rest on the units seen in sets of cells, shape (G, T, K).

    Seen are those that are observed, shape (n, T): with an outcome, if it is not given.
    """
    observed, n = sample.observed if observed is None else observed, sample.n_rows
    first, low, high = (np.full(cells.shape[:2], number) for number in (0, n, -1))
    for g, rows in enumerate(sample.groups[1]):
        seen, cluster = observed[rows], sample.cluster[rows][:, None]
        first[g], low[g] = rows[seen.argmax(axis=0)], np.where(seen, cluster, n).min(axis=0)
        high[g] = np.where(seen, cluster, -1).max(axis=0)
    lowest = np.where(cells, low[:, :, None], n).min(axis=(0, 1))
    highest = np.where(cells, high[:, :, None], -1)
    only = first.ravel()[(highest >= 0).reshape(first.size, -1).argmax(axis=0)]
    copies = 1 if sample.replicas is None else sample.replicas.frequency[sample.cluster[only]]
    return np.where((lowest == highest.max(axis=(0, 1))) & (copies == 1), only, -1)


def _left_out_with_shares(
    estimate: Estimate,
    average: Estimate,
    weight: FloatArray,
    total: FloatArray,
    of_shares: Influence,
    mean_of_shares: Influence | None,
) -> LeftOut:
    """Leave clusters out of averages by estimated shares of cohorts whose terms rest on those units that are seen.

    With a_ck what cluster c adds to the size S_k of term k, T the sum of sizes, and d_ck what leaving c out takes from
    the term, it takes sum_k [(S_k - a_ck) d_ck + a_ck (tau_k - theta)] / (T - a_c) from the average theta. A term of
    which c has the only treated units is left out with it, so that a_ck is S_k.

    Parameters
    ----------
    estimate, average : Estimate
    weight : ndarray, shape (K, M)
    total : ndarray, shape (M,)
        The sum of the mean sizes of the terms, infinite for averages of one.
    of_shares, mean_of_shares : Influence, shape (n, M)
        What estimating shares adds to the influence on effects and on untreated means.
    """
    of_weight: BoolArray = np.any(weight, axis=1)
    estimate, weight = estimate.select(of_weight), weight[of_weight]
    shares, sample, left = estimate.cohort_weights, estimate.sample, Jackknife(estimate).without_pooled
    assert shares is not None
    only = estimate.contrast.single(len(weight))
    cluster, sizes, used = sample.cluster, sample.n_rows * shares.means(), weight * np.isfinite(total)
    parts = [(left.level, estimate.effect_level, average.effect_level, of_shares)]
    mean, means = estimate.untreated_mean, average.untreated_mean
    if left.untreated is not None and mean is not None and means is not None and mean_of_shares is not None:
        parts.append((left.untreated, mean, means, mean_of_shares))
    of_sides = leverage(average.level_influence, average.sides)
    estimable = of_sides.estimable & (average.contrast.single(weight.shape[1]) < 0)
    own_left = estimate.contrast.left_out
    if own_left is not None:  # terms of several units, of which the design says that they have none
        none = ~own_left.estimable & (only < 0) & (True if own_left.own is None else own_left.own)
        estimable &= ~np.any(weight[none] > 0, axis=0)
    dates, members = sample.groups
    share = (dates[:, None] == estimate.cohort) / np.array([[len(rows)] for rows in members])
    by_unit = average.sides.by_unit and sample.replicas is None and bool(np.all(only < 0))
    if by_unit and np.allclose(sizes * share.max(axis=0), sample.weights[0]):
        # All units of a cohort weigh the same in it, so that they have one map.
        taken, group = (share * sizes) @ (used > 0) / (sample.n_rows * total), sample.group_number
        factor = 1 / np.where(estimable & (taken < 1), 1 - taken, 1.0)
        level, *untreated = (
            (part @ weight + by_shares - part.weighted(group, share) @ used).weighted(group, factor)
            for part, _, _, by_shares in parts
        )
        return LeftOut(level, untreated[0] if untreated else None, of_sides.clusters, estimable)
    errors = [(part @ weight + by_shares).dense() for part, _, _, by_shares in parts]
    taken = np.zeros((int(cluster.max()) + 1, weight.shape[1]))
    copies = np.broadcast_to(average.sides.copies, (len(taken), 1))
    for g in np.unique(estimate.cohort[used.any(axis=1)]):
        k = np.flatnonzero((estimate.cohort == g) & used.any(axis=1))
        m = np.flatnonzero(used[k].any(axis=0))
        to, (some, own) = used[np.ix_(k, m)], shares.columns(k).sums_of_clusters(cluster)
        own /= copies[some]
        alone = np.flatnonzero(only[k] >= 0)
        row = only[k[alone]]
        place = np.searchsorted(some, cluster[row])
        rest = sizes[k[alone]] - own[place, alone]
        own[place, alone] += rest
        taken[some[:, None], m] += own @ (to > 0) / (sample.n_rows * total[m])
        rows = np.flatnonzero(np.isin(cluster, some))
        share = (own / sizes[k])[np.searchsorted(some, cluster[rows])]
        for error, (part, effect, mean, _) in zip(errors, parts, strict=True):
            error[rows[:, None], m] -= (part.columns(k).at(rows) * share) @ to
            of_rest = np.where(to[alone] > 0, (effect[k[alone]][:, None] - mean[m]) / total[m], 0.0)
            np.add.at(error, (row[:, None], m), rest[:, None] * of_rest)
    rest_of_all = np.where(estimable & (taken < 1), 1 - taken, 1.0)[cluster]
    level, *untreated = (Influence.of(error / rest_of_all) for error in errors)
    return LeftOut(level, untreated[0] if untreated else None, of_sides.clusters, estimable)


def clusters_left_out(fit: Estimate) -> Estimate:
    """Return an estimate whose design leaves units out as one that leaves their clusters out.

    A mean of m units loses the deviation of one over m - 1 with it, and with m_c of them their sum over m - m_c; that
    is taken to hold for each side of the contrast.
    """
    sides, left = fit.sides, fit.contrast.left_out
    if left is None or left.untreated is None or sides.by_unit:
        return fit
    units = sides._replace(cluster=np.arange(len(sides.cluster)))
    alone, together = (leverage(fit.level_influence, each).factor for each in (units, sides))
    level, untreated = (part.dense() * together / alone[sides.group] for part in (left.level, left.untreated))
    return _leaving_out(fit, left._replace(level=Influence.of(level), untreated=Influence.of(untreated)))


def left_out_by_period(fit: Estimate, now: Influence, base: Influence, of_mean: Influence) -> Estimate:
    """Return an estimate that leaves clusters out of the means of each period, of which they are different shares.

    Parameters
    ----------
    fit : Estimate
    now, base : Influence, shape (n, K)
        What outcomes in a period and in its base have; they add up to the influence on effects.
    of_mean : Influence, shape (n, K)
        On the treated units' mean.
    """
    own = [leverage(part, fit.sides) for part in (now, base, of_mean)]
    late, early, mean = (
        each.applied(part, fit.sides) for each, part in zip(own, (now, base, of_mean), strict=True)
    )
    clusters, estimable = np.minimum(own[0].clusters, own[1].clusters), own[0].estimable & own[1].estimable
    level = late + early
    return _leaving_out(fit, LeftOut(level, mean - level, clusters, estimable))


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
    contrast: Contrast = Contrast(),
    **fields: Any,
) -> Estimate:
    """Return an estimate whose terms are ATT(g,t); arguments as in :class:`Estimate`, ``notes`` are its remarks.

    Where ``cohort_weights`` are not given, units weigh in their cohorts what they do in the sample.
    """
    name = sample.period_name
    terms = tuple(f"ATT({name(g)},{name(t)})" for g, t in zip(cohort, period, strict=True))
    dates = sample.groups[0][:, None]
    fields |= {"cohort": cohort, "period": period, "event_time": period - cohort}
    only = contrast.only
    if only is None:
        own = (dates[:, :, None] == cohort) & (sample.periods[:, None] == period)
        only = only_in_cells(sample, own)
    # The treated are the group that a term is of.
    fields["contrast"] = replace(contrast, treated=(dates == cohort).astype(float), only=only)
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
