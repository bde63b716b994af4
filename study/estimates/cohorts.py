"""Means by cohort and period, with their influence by unit."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from weakref import WeakKeyDictionary

import numpy as np

from study.core import BoolArray, FloatArray, Influence, IntArray, QuestionError, Values
from study.panel import Sample

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

    def untreated(self, sample: Sample) -> Cells:
        """Return which groups are not treated in the window, shape (G,)."""
        return ~(self.dates - sample.question.anticipation <= sample.periods[-1])

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
    assert sample.first_treated is not None
    distinct, of_term = np.unique(cohort, return_inverse=True)
    dates = (
        sample.first_treated if sample.group is None else np.where(sample.group, sample.first_treated, np.nan)
    )
    rows = [np.flatnonzero(dates == g) for g in distinct]
    values = Values(tuple(rows), tuple(sample.weights[members][:, None] for members in rows))
    coefficients = (np.arange(len(distinct))[:, None] == of_term)[:, None, :].astype(float)
    return Influence.by_group(sample.n_rows, values, coefficients)


def refuse_single_units(sample: Sample, design: str) -> None:
    """Refuse a cohort of one unit unless the question says what to do with it."""
    if sample.question.min_cohort_size is not None:
        return
    for cohort in sample.cohorts:
        if sample.counted(sample.first_treated == cohort) == 1:
            raise QuestionError(
                f"{design}: cohort {sample.period_name(cohort)} has one unit; its variance cannot be estimated. Set "
                "min_cohort_size=1 to keep it with randomization inference, min_cohort_size=2 to leave it "
                "out, or pool adoption years with cohort_width."
            )


def cohorts_with_base(sample: Sample) -> tuple[FloatArray, list[str]]:
    """Return the cohorts in the window that have a period before treatment, and a note on each other one."""
    has_base = sample.cohorts + sample.question.reference >= sample.periods[0]
    why = f"left out: its base period lies before {sample.period_name(sample.periods[0])}"
    return sample.cohorts[has_base], [
        f"cohort {sample.period_name(g)} {why}" for g in sample.cohorts[~has_base]
    ]


def left_out(
    sample: Sample,
    cohort: FloatArray,
    period: FloatArray,
    reasons: Mapping[int, str],
    what: str = " left out",
) -> list[str]:
    """Return one note for each cohort and reason, with its periods; reasons are by number of cell."""
    periods: dict[tuple[float, str], list[str]] = {}
    for cell, why in sorted(reasons.items()):
        periods.setdefault((cohort[cell], why), []).append(sample.period_name(period[cell]))
    return [
        f"cohort {sample.period_name(g)} in {', '.join(times)}{what}: {why}"
        for (g, why), times in periods.items()
    ]


def single_events(times: FloatArray, size: IntArray) -> list[str]:
    """Return a note on the event times, if any, at which one treated unit is seen; sizes have shape (K,)."""
    return [
        f"event {e:g} rests on one treated unit, so it has no standard error by leaving units out; that of other "
        "conventions covers the comparison units only"
        for e in times[size == 1]
    ]


def single_cells(sample: Sample, cohort: FloatArray, period: FloatArray, single: Cells) -> list[str]:
    """Return a note on the cells, one for each cohort, that rest on one treated unit."""
    return [
        f"cohort {sample.period_name(g)} in "
        f"{', '.join(map(sample.period_name, period[single & (cohort == g)]))} rests on one treated "
        "unit: these cells have no standard error by leaving units out, and that of other conventions covers the "
        "comparison units only; averages over cohorts carry variation between treated units through estimated shares"
        for g in np.unique(cohort[single])
    ]
