"""Cells of group-time effects: cohort, period and base of each, who is compared with whom, and their differences."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from study.core import FloatArray, Influence, Values
from study.core.two_by_two import Rows
from study.estimates import Cells as Which
from study.estimates import CohortMeans
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


class Layout(NamedTuple):
    """K comparisons of one group with others between two periods.

    ``group`` is the number of the treated group, ``now`` and ``base`` are numbers of periods, shape (K,);
    ``compared`` says with which groups it is compared, shape (G, K).
    """

    group: NDArray[np.int64]
    now: NDArray[np.int64]
    base: NDArray[np.int64]
    compared: Which


class Difference(NamedTuple):
    """The change of a group less the change of those it is compared with, shape (K,); NaN without one of them.

    Zero where both periods are the same.
    """

    estimate: FloatArray
    influence: Influence


def differences_of_means(means: CohortMeans, layout: Layout) -> Difference:
    """Return differences in differences of means by group and period.

    Exact where the units that are seen do not differ between the two periods, and for repeated cross-sections;
    weights of the compared groups are the sums of their units' weights in each period.
    """
    n_groups, n_periods = means.mean.shape
    n_terms, each = len(layout.group), np.arange(len(layout.group))
    estimate = np.zeros(n_terms)
    of_deviation, of_weight = np.zeros((2, n_groups, n_periods, n_terms))
    with np.errstate(invalid="ignore", divide="ignore"):
        for sign, at in ((1.0, layout.now), (-1.0, layout.base)):
            mean, weight = means.mean[:, at], means.weight[:, at]
            compared = weight * layout.compared
            share = layout.compared / compared.sum(axis=0)
            theirs = np.einsum("gk,gk->k", compared, mean) / compared.sum(axis=0)
            ours = mean[layout.group, each]
            estimate += sign * np.where(weight[layout.group, each] > 0, ours - theirs, np.nan)
            of_deviation[layout.group, at, each] += sign * means.n_units / weight[layout.group, each]
            of_deviation[:, at, each] -= sign * means.n_units * share
            of_weight[:, at, each] -= sign * means.n_units * share * (mean - theirs)
    reference = layout.now == layout.base
    estimate[reference] = of_deviation[:, :, reference] = of_weight[:, :, reference] = 0.0
    return Difference(estimate, means.influence(of_deviation, of_weight))


def regression_adjusted(means: CohortMeans, layout: Layout, x: FloatArray) -> tuple[Difference, Which]:
    """Return the change of a group less what a regression of the compared units' changes on x predicts for it.

    With c the compared units and d the treated, b = (sum w c x x')^-1 sum w c x dy, and the effect is the mean of
    dy - x'b over d. An influence is linear in the products of x with outcomes and with x, so that sums of these by
    group give all comparisons at once. For units that are seen in the same periods within their groups.

    Parameters
    ----------
    means : CohortMeans
    layout : Layout
    x : ndarray, shape (n, p)
        Covariates, the constant first.

    Returns
    -------
    Difference
    identified : ndarray of bool, shape (K,)
        False where the compared units' covariates are collinear.
    """
    n_periods, p = means.mean.shape[1], x.shape[1]
    products, with_y, values = [], [], []
    for members, mean, array in zip(means.rows, means.mean, means.values.arrays, strict=True):
        own, deviation, weight = x[members], array[:, :n_periods], array[:, n_periods:]
        pairs = (weight[:, :, None] * own[:, :, None] * own[:, None, :]).reshape(len(own), p * p)
        products.append(pairs.sum(axis=0).reshape(p, p))
        with_y.append(own.T @ deviation + np.outer(products[-1][:, 0], mean))
        spread = (own[:, :, None] * deviation[:, None, :]).reshape(len(own), p * n_periods)
        values.append(np.hstack([spread, pairs]))
    square, cross = np.stack(products), np.stack(with_y)
    compared = layout.compared.astype(float)
    each = np.arange(len(layout.group))
    gram = np.einsum("gk,gab->kab", compared, square)
    identified = np.linalg.cond(gram, 1) < 1 / np.finfo(float).eps
    gram[~identified] = np.eye(p)
    changes = cross[:, :, layout.now] - cross[:, :, layout.base]
    slope = np.linalg.solve(gram, np.einsum("gk,gpk->kp", compared, changes)[:, :, None])[:, :, 0]
    at = square[layout.group, 0] / square[layout.group, 0, :1]
    pull = np.linalg.solve(gram, at[:, :, None])[:, :, 0]
    change = means.mean[:, layout.now] - means.mean[:, layout.base]
    estimate = change[layout.group, each] - np.einsum("kp,kp->k", at, slope)

    scale = means.n_units / square[layout.group, 0, 0]
    load = -means.n_units * compared[:, None, :] * pull.T
    load[layout.group, 0, each] += scale
    of_y = np.zeros((len(means.dates), p, n_periods, len(each)))
    of_y[:, :, layout.now, each] += load
    of_y[:, :, layout.base, each] -= load
    of_x = -load[:, :, None, :] * slope.T
    of_x[:, :, 0] += load * change[:, None, :]
    of_x[layout.group, 0, 0, each] -= scale * estimate
    maps = np.concatenate([part.reshape(len(of_x), -1, len(each)) for part in (of_y, of_x)], axis=1)
    return Difference(
        estimate, Influence.by_group(means.n_units, Values(means.rows, tuple(values)), maps)
    ), identified
