"""One panel that a process draws, with the effect that a design should find in it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from study.core import BoolArray, FloatArray, IntArray, QuestionError
from study.panel import Question, Sample


@dataclass(frozen=True, eq=False)
class Draw:
    """One simulated panel of n units and T periods.

    Attributes
    ----------
    y : ndarray, shape (n, T)
        The outcome in its own units, NaN where not observed.
    untreated : ndarray, shape (n, T)
        What it would have been had nobody been treated.
    first_treated : ndarray, shape (n,), or None
        Recorded first treated period, NaN = never.
    path : ndarray, shape (n, T), or None
        Recorded path of a treatment that is not absorbing.
    dose : ndarray, shape (n,), or None
    treated : ndarray of bool, shape (n, T)
        Cells that the effect is an average of: those of units whose event is recorded and true, from it on. Units
        that are treated from the first period on have no period before and are in no average.
    unit_ids : ndarray, shape (n,)
    """

    y: FloatArray
    untreated: FloatArray
    first_treated: FloatArray | None
    path: FloatArray | None
    dose: FloatArray | None
    treated: BoolArray
    unit_ids: NDArray[Any]

    def rows(self, sample: Sample) -> IntArray:
        """Return where the units of a sample are, shape (m,).

        Raises
        ------
        QuestionError
            If one of them was not drawn, or its periods are others.
        """
        if np.array_equal(sample.unit_ids, self.unit_ids) and len(sample.periods) == self.y.shape[1]:
            return np.arange(len(self.unit_ids))
        order = np.argsort(self.unit_ids)
        at = np.minimum(np.searchsorted(self.unit_ids, sample.unit_ids, sorter=order), len(order) - 1)
        rows = order[at]
        others = self.unit_ids[rows] != sample.unit_ids
        if others.any() or len(sample.periods) != self.y.shape[1]:
            what = f"{others.sum()} units" if others.any() else "periods"
            raise QuestionError(
                f"simulate: the sample has {what} that its process does not draw; ask about fewer."
            )
        return rows


def truth(draw: Draw, sample: Sample) -> tuple[float, float]:
    """Return the average effect of one draw by the question's average, and the untreated mean of the same cells.

    Averages over draws of both are the process's; an effect in proportion is their ratio. The effect on a cohort in a
    period is the mean over its units that are seen in it, and unless the question takes cells as repeated
    cross-sections, in the cohort's base period; cohorts are averaged by their weight, seen or not, as
    :meth:`study.Estimate.aggregate` does. Of a path, "event_average" is of periods since treatment first began; where
    every unit is treated it is per unit of treatment, and so is every other average. Both are NaN where no cell is
    seen.

    Parameters
    ----------
    draw : Draw
    sample : Sample
        What :meth:`Process.sample_of` makes of the draw: units, weights and question.
    """
    question, rows = sample.question, draw.rows(sample)
    cells = draw.treated[rows]
    some = cells.any(axis=1)
    units, cells, weights = rows[some], cells[some], sample.weights[some]
    y, untreated = draw.y[units], draw.untreated[units]
    start = cells.argmax(axis=1)
    used = cells & ~np.isnan(y)
    if question.missing != "cells":
        base = np.maximum(start + question.reference, 0)
        used &= ~np.isnan(y[np.arange(len(y)), base])[:, None]
    if question.scale == "log1p":
        y, untreated = np.log1p(y), np.log1p(untreated)
    dates, cohort = np.unique(start, return_inverse=True)
    member = (cohort == np.arange(len(dates))[:, None]) * weights
    weight = member @ used
    effect, mean = (member @ np.where(used, values, 0.0) for values in (y - untreated, untreated))
    since = np.arange(y.shape[1]) - dates[:, None]
    if draw.path is not None:
        amount = member @ np.where(used, np.nan_to_num(draw.path[units]), 0.0)
        per_unit = question.average != "event_average" or bool(sample.ever_treated.all())
        average = partial(_of_path, question, since, weight)
        return average(effect, amount if per_unit else weight), average(mean, weight)
    share = _shares(question, since, member.sum(axis=1)[:, None] * (weight > 0))
    if not share.any():
        return float("nan"), float("nan")
    share /= np.where(weight > 0, weight, 1.0) * share.sum()
    return float(np.sum(share * effect)), float(np.sum(share * mean))


def _shares(question: Question, since: IntArray, size: FloatArray) -> FloatArray:
    """Return the part of each cell in the question's average, shape (G, T), where ``size`` is its cohort's or zero."""
    if question.balance is not None:
        times = (since >= 0) & (since <= question.balance) & (size > 0)
        size = size * (times.sum(axis=1, keepdims=True) == question.balance + 1) * (since <= question.balance)
    if question.average == "treated_average":
        return size
    if question.average == "cohort_average":
        return size / np.maximum((size > 0).sum(axis=1, keepdims=True), 1)
    label = np.indices(size.shape)[1]
    if question.average == "event_average":
        size = size * (since <= question.last)
        label = np.maximum(since, 0)
    total = np.bincount(label.ravel(), size.ravel())[label]
    return np.divide(size, total, out=np.zeros_like(size), where=total > 0)


def _of_path(
    question: Question, since: IntArray, weight: FloatArray, values: FloatArray, divisor: FloatArray
) -> float:
    """Return the average of a path from sums over the units that are seen, shape (G, T), up to the horizon."""
    seen = (weight > 0) & (since <= question.last)
    if not seen.any():
        return float("nan")
    label = since[seen] * (question.average == "event_average")
    value, by, number = (np.bincount(label, each[seen]) for each in (values, divisor, weight))
    return float(np.mean(value[number > 0] / by[number > 0]))
