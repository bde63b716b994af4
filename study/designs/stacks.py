"""Stacks of all cohorts, a cohort and those that it is compared with in each, pooled by event time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from study.core import FloatArray, IntArray
from study.estimates import left_out
from study.learners.problem import Rows
from study.panel import Sample


class StackRows(NamedTuple):
    """One row a unit and stack, arrays of shape (N,), by unit and then stack.

    Attributes
    ----------
    unit, stack : ndarray of int
        Rows of the sample, and numbers of cohorts.
    treated : ndarray of bool
        Whether the unit is of the stack's cohort; if not, the cohort is compared with it.
    number : int
        Number of stacks G, with those that have no row.
    """

    unit: IntArray
    stack: IntArray
    treated: Rows
    number: int

    @property
    def present(self) -> Rows:
        """Which stacks have a row, shape (G,)."""
        return np.bincount(self.stack, minlength=self.number) > 0

    def sums(self, values: FloatArray) -> FloatArray:
        """Add up the rows of each stack, shape (G, R), for values of shape (N, R)."""
        return np.column_stack([np.bincount(self.stack, column, self.number) for column in values.T])

    def normalised(self, weight: FloatArray) -> FloatArray:
        """Divide weights by their sum in the stack, shape (N, R), unless that is zero."""
        total = self.sums(weight)
        return weight / np.where(total > 0, total, 1.0)[self.stack]


class EventRows(NamedTuple):
    """The rows of one event time, with the numbers of the period and of the base of each, shape (N,)."""

    event: int
    is_reference: bool
    rows: StackRows
    now: IntArray
    base: IntArray

    @property
    def name(self) -> str:
        """What its changes are called among the functions that are learned."""
        return f"change at event {self.event}"

    def change(self, sample: Sample) -> FloatArray:
        """Return the change of the outcome since the base, shape (N,)."""
        return sample.y[self.rows.unit, self.now] - sample.y[self.rows.unit, self.base]


class Stacks(NamedTuple):
    """Stacks of a sample's cohorts.

    Attributes
    ----------
    cohorts : ndarray, shape (G,)
        First treated period of each stack's cohort.
    own : ndarray of int, shape (n,)
        The number of each unit's cohort, -1 for units of none of these.
    at_base : StackRows
        Each cohort that is in an event time, and those not yet treated (or never) just before it, among units that
        are seen in its base period.
    events : tuple of EventRows
        Ascending; rows of comparisons are among ``at_base``.
    notes : tuple of str
        Which cells are left out, and why.
    """

    cohorts: FloatArray
    own: IntArray
    at_base: StackRows
    events: tuple[EventRows, ...]
    notes: tuple[str, ...]

    @property
    def compared(self) -> list[EventRows]:
        """Event times other than the reference."""
        return [at for at in self.events if not at.is_reference]


def stacks(sample: Sample, cohorts: FloatArray, times: Sequence[int], least: int) -> Stacks:
    """Lay out the stacks of cohorts that have a base period.

    Parameters
    ----------
    sample : Sample
    cohorts : ndarray, shape (G,)
    times : sequence of int
        Event times, the reference among them.
    least : int
        Clusters of comparison units without which a cell is left out.
    """
    assert sample.first_treated is not None
    place = np.searchsorted(cohorts, sample.first_treated)
    inside = np.append(cohorts, np.nan)[place] == sample.first_treated
    base = (cohorts - 1 - sample.question.anticipation - sample.periods[0]).astype(np.int64)
    events: list[EventRows] = []
    missing: dict[tuple[int, int], str] = {}
    for event in times:
        at, empty = _event_rows(sample, cohorts, base, event, least)
        missing |= {(int(stack), event): why for stack, why in empty.items()}
        if len(at.now):
            events.append(at)
    compared_at_all = np.any([at.rows.present & (not at.is_reference) for at in events], axis=0)
    treated, compared = sides(sample, cohorts, sample.periods[base])
    stack, event_of = np.array(list(missing), dtype=np.int64).reshape(-1, 2).T
    return Stacks(
        cohorts,
        np.where(inside, place, -1),
        _rows(treated, compared, sample.observed[:, base] & compared_at_all),
        tuple(events),
        tuple(left_out(cohorts[stack], cohorts[stack] + event_of, dict(enumerate(missing.values())))),
    )


def event_times(sample: Sample, cohorts: FloatArray, before: int | None, after: int | None) -> range:
    """Return the event times that lie in the window for some cohort.

    ``before`` counts those before treatment less the anticipation, the reference among them; ``after`` is the last.
    """
    earliest, latest = int(sample.periods[0] - cohorts[-1]), int(sample.periods[-1] - cohorts[0])
    first = earliest if before is None else max(earliest, -sample.question.anticipation - before)
    return range(first, (latest if after is None else min(latest, after)) + 1)


def sides(sample: Sample, cohorts: FloatArray, until: IntArray) -> tuple[Rows, Rows]:
    """Return who is treated in each stack, and who is compared, not treated, less the anticipation, until a period.

    Shapes: cohorts and until (G,), the two results (n, G).
    """
    assert sample.first_treated is not None
    first = sample.first_treated[:, None]
    treated = first == cohorts
    if sample.question.comparison == "never_treated":
        return treated, np.broadcast_to(np.isnan(first), treated.shape)
    return treated, ~(first - sample.question.anticipation <= until) & ~treated


def _rows(treated: Rows, compared: Rows, used: Rows) -> StackRows:
    unit, stack = np.nonzero((treated | compared) & used)
    return StackRows(unit, stack, treated[unit, stack], treated.shape[1])


def _event_rows(
    sample: Sample, cohorts: FloatArray, base: IntArray, event: int, least: int
) -> tuple[EventRows, dict[int, str]]:
    """Return the rows of an event time, and why some stacks have none; at the base nobody is compared."""
    now = base + 1 + sample.question.anticipation + event
    inside = (now >= 0) & (now < len(sample.periods))
    now = np.where(inside, now, base)
    seen = sample.observed[:, now] & sample.observed[:, base] & inside
    treated, compared = sides(sample, cohorts, sample.periods[np.maximum(now, base)])
    is_reference = event == -1 - sample.question.anticipation
    if is_reference:
        compared, least = np.zeros_like(compared), 0
    n_treated = np.sum(treated & seen, axis=0)
    n_clusters = np.array([len(np.unique(sample.cluster[who])) for who in (compared & seen).T])
    known = (n_treated > 0) & (n_clusters >= least)
    reasons = {int(g): _why(n_treated[g], n_clusters[g], sample) for g in np.flatnonzero(inside & ~known)}
    rows = _rows(treated, compared, seen & known)
    return EventRows(event, is_reference, rows, now[rows.stack], base[rows.stack]), reasons


def _why(n_treated: int, n_clusters: int, sample: Sample) -> str:
    """Say which side of a stack is missing."""
    if not n_treated:
        return "no treated unit is observed"
    if not n_clusters:
        return "no comparison unit is observed"
    kind = "unit" if sample.question.cluster is None else f"cluster ({sample.question.cluster})"
    return f"it is compared with one {kind} only, which cannot be in more than one fold"


class Pooled(NamedTuple):
    """An average over stacks by the sizes of their cohorts.

    Attributes
    ----------
    estimate : float
        Averaged over draws of the folds.
    influence : ndarray, shape (n,)
    of_draw : ndarray, shape (R,)
    """

    estimate: float
    influence: FloatArray
    of_draw: FloatArray


class ByStack(NamedTuple):
    """A statistic of each stack, shape (G, R), and what each row adds to its error, shape (N, R)."""

    estimate: FloatArray
    of_row: FloatArray

    def __sub__(self, other: ByStack) -> ByStack:
        """Return the difference of two statistics of the same rows."""
        return ByStack(self.estimate - other.estimate, self.of_row - other.of_row)


def stack_means(rows: StackRows, weight: FloatArray, value: FloatArray) -> ByStack:
    """Return the weighted mean of each stack's rows, with weights that add up to one within it.

    Shapes: weight and value (N, R), or (N, 1) for what does not change with the draw.
    """
    share = rows.normalised(weight)
    mean = rows.sums(share * value)
    return ByStack(mean, share * (value - mean[rows.stack]))


def pooled(layout: Stacks, rows: StackRows, of: ByStack) -> Pooled:
    """Average a statistic over the stacks that have rows, by the sizes of their cohorts.

    The influence carries the estimation of these shares: with p_g the share of cohort g among all units,
    1{G_i = g} (theta_g - theta) / sum_g p_g is the part of unit i, seen or not.
    """
    n = len(layout.own)
    share = cohort_shares(layout, rows)
    of_draw = share @ of.estimate
    estimate = float(of_draw.mean())
    influence = n * of_units(rows, share[rows.stack, None] * of.of_row, n).mean(axis=1)
    member = np.flatnonzero(np.append(rows.present, False)[layout.own])
    of_stack = of.estimate.mean(axis=1)[layout.own[member]]
    influence[member] += n / len(member) * (of_stack - estimate)
    return Pooled(estimate, influence, of_draw)


def of_units(rows: StackRows, values: FloatArray, n_units: int) -> FloatArray:
    """Add up the rows of each unit, shape (n, R), for values of shape (N, R)."""
    return np.column_stack([np.bincount(rows.unit, column, n_units) for column in values.T])


def cohort_shares(layout: Stacks, rows: StackRows) -> FloatArray:
    """Return the share of each stack's cohort in all those that have rows, shape (G,)."""
    size = np.bincount(layout.own[layout.own >= 0], minlength=rows.number) * rows.present
    share: FloatArray = size / size.sum()
    return share
