"""Cells of group-time effects: which cohort, period and base period each has, and who is compared with whom."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from study.core import FloatArray
from study.core.two_by_two import Rows
from study.panel import Sample


class Cells(NamedTuple):
    """Cohort, period, and numbers of the period and of its base, of each term; shape (K,)."""

    cohort: FloatArray
    period: FloatArray
    now: NDArray[np.int64]
    base: NDArray[np.int64]

    @property
    def reference(self) -> Rows:
        """Cells of the base period itself."""
        return self.now == self.base

    def select(self, which: NDArray[np.int64]) -> Cells:
        """Return some of the terms."""
        return Cells(self.cohort[which], self.period[which], self.now[which], self.base[which])


def cells_of(sample: Sample, cohorts: FloatArray) -> Cells:
    """Lay out the terms of some cohorts, each in all periods.

    Periods from g-d on have the base g-d-1, as in Callaway and Sant'Anna (2021); did differs for d > 1 with a
    varying base, where it starts that at g.
    """
    start = (cohorts - sample.question.anticipation - sample.periods[0]).astype(np.int64)[:, None]
    now, base = np.broadcast_arrays(np.arange(len(sample.periods)), start - 1)
    if sample.question.base == "varying":
        base = np.where(now >= start, base, now - 1)
        now, base = now[:, 1:], base[:, 1:]
    cohort = np.repeat(cohorts, now.shape[1])
    return Cells(cohort, sample.periods[now.ravel()].astype(float), now.ravel(), base.ravel())


def compared_with(sample: Sample, cells: Cells, first: FloatArray) -> Rows:
    """Return which of some first treated periods belong to comparison units of each term, shape (m, K)."""
    if sample.question.comparison == "never_treated":
        return np.broadcast_to(np.isnan(first)[:, None], (len(first), len(cells.cohort)))
    until = sample.periods[np.maximum(cells.now, cells.base)] + sample.question.anticipation
    return ~(first[:, None] <= until) & (first[:, None] != cells.cohort)


def unseen(treated: Rows, compared: Rows, reference: Rows) -> dict[int, str]:
    """Return the terms in which one of the groups is not observed, with the reason; shapes (K,)."""
    reasons = {int(k): "no comparison unit is observed" for k in np.flatnonzero(~compared & ~reference)}
    return reasons | {int(k): "no treated unit is observed" for k in np.flatnonzero(~treated)}


class Comparison(NamedTuple):
    """Who is compared with whom, and when, in the K terms of one cohort.

    ``now`` and ``base`` are period numbers, shape (K,). ``members`` are the m units of the cohort; which of
    them are seen has shape (K, m), which units they are compared with (K, n). The two periods of a cell
    differ in that with missing="cells" only.
    """

    now: NDArray[np.int64]
    base: NDArray[np.int64]
    members: NDArray[np.int64]
    treated_now: Rows
    treated_base: Rows
    compared_now: Rows
    compared_base: Rows

    @property
    def unseen(self) -> dict[int, str]:
        """The terms in which one of the groups is not observed, with the reason."""
        return unseen(
            np.any(self.treated_now, axis=1) & np.any(self.treated_base, axis=1),
            np.any(self.compared_now, axis=1) & np.any(self.compared_base, axis=1),
            self.now == self.base,
        )

    def alike(self, cells: NDArray[np.int64]) -> list[NDArray[np.int64]]:
        """Put cells of the same units together, in each of which both periods have the same units."""
        groups: dict[tuple[bytes, bytes], list[int]] = {}
        for k in cells:
            key = self.treated_now[k].tobytes(), self.compared_now[k].tobytes()
            groups.setdefault(key, []).append(int(k))
        return [np.array(group) for group in groups.values()]

    def used(self, cells: NDArray[np.int64], n_periods: int) -> Rows:
        """Return the unit-periods that some of the cells rest on, shape (T, n)."""
        used = np.zeros((n_periods, self.compared_now.shape[1]), dtype=bool)
        used[self.now[cells]] = self.compared_now[cells]
        used[np.ix_(self.now[cells], self.members)] = self.treated_now[cells]
        for base in np.unique(self.base[cells]):
            here = cells[self.base[cells] == base]
            used[base] |= self.compared_base[here].any(axis=0)
            used[base, self.members] |= self.treated_base[here].any(axis=0)
        return used


def comparison(sample: Sample, observed: Rows, cells: Cells) -> Comparison:
    """Find the units of one cohort's terms; observed has shape (T, n)."""
    assert sample.first_treated is not None
    seen_now, seen_base = observed[cells.now], observed[cells.base]
    if sample.question.missing != "cells":
        seen_now = seen_base = seen_now & seen_base
    untreated = compared_with(sample, cells, sample.first_treated).T
    members = np.flatnonzero(sample.first_treated == cells.cohort[0])
    return Comparison(
        cells.now,
        cells.base,
        members,
        seen_now[:, members],
        seen_base[:, members],
        untreated & seen_now,
        untreated & seen_base,
    )
