"""Effects of Callaway and Sant'Anna (2021) and of two-way fixed effects for many assignments of event dates at once.

An assignment moves units between cohorts. Which cells there are, who is compared with whom and what cohorts weigh does
not change, so that assignments differ in sums by cohort alone. Nor do the regressors of each cohort change: where all
units are seen in the same periods, the regressors without their means by unit and period, and what solves for the
coefficients, are those of every assignment.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from study.core import BoolArray, FloatArray, IntArray, solvable
from study.designs.did_cells import Cells, baseline_matrix, cells_of, compared_with
from study.estimates import NO_MEAN, NOTHING, Sides, leverage_by_group, present, seen_throughout
from study.panel import Sample

DESIGN = "callaway_santanna"
# Of the largest outcome: nearer to zero the design itself says whether an error is rounding alone.
LEAST = 1e-9
# Numbers by assignment, unit and period that are held at a time.
AT_ONCE = 2**23


class Averaged(NamedTuple):
    """The K cells that are averaged, over G groups of units with the same date and E event times.

    ``own`` is the treated group of each cell, shape (K,), ``sizes`` counts the units of each group, (G,), ``compared``
    says which groups are compared in each cell, (G, K), ``at`` which event time it is of, (K, E), or one for all where
    cells are averaged at once, and ``change`` takes its base from its period, (K, T).
    """

    cells: Cells
    own: IntArray
    sizes: IntArray
    compared: BoolArray
    at: BoolArray
    change: FloatArray

    @property
    def is_own(self) -> BoolArray:
        """Which group is the treated one of each cell, shape (G, K)."""
        return np.asarray(self.own == np.arange(len(self.sizes))[:, None])

    def share(self, identified: BoolArray) -> FloatArray:
        """Return what each cell weighs at its event time, (B, K): its share of the treated in cells with an effect."""
        size = self.sizes[self.own] * identified
        total = size @ self.at @ self.at.T
        return np.divide(size, total, out=np.zeros(total.shape), where=total > 0)


def averages_by_assignment(
    sample: Sample, orders: IntArray, *, method: str = "dr", **options: Any
) -> tuple[FloatArray, FloatArray, BoolArray] | None:
    """Return ``event_average`` or ``treated_average`` and its jackknife error for assignments of event dates.

    Parameters
    ----------
    sample : Sample
    orders : ndarray of int, shape (B, n)
        In assignment b, unit i has the event date of unit ``orders[b, i]``.
    method : {"dr", "ipw", "reg"}
    **options
        Others of the design, which change nothing here.

    Returns
    -------
    effect, std_error : ndarray, shape (B,)
        NaN where nothing is identified, or no mean is positive that the effect could be a share of.
    known : ndarray of bool, shape (B,)
        False, and the error NaN, where something is close to rounding error or has no error, so that the design itself
        has to say.

    None instead of these for questions of another kind: another average, propensities, weights, clusters of several
    units, units that are seen in different periods.
    """
    averaged = _averaged(sample, method)
    if averaged is None:
        return None
    # A unit's influence is linear in the products of its covariates with its outcomes, less that of the first period,
    # and with one another, and in its outcome of the first period.
    n, seen = sample.n_units, sample.observed
    x = baseline_matrix(sample, DESIGN) if sample.question.covariates else np.ones((n, 1))
    y = np.where(seen, sample.y, 0.0)
    first, (p, n_periods) = y[:, [seen[0].argmax()]], (x.shape[1], y.shape[1])
    products = x[:, :, None] * np.where(seen, y - first, 0.0)[:, None, :], x[:, :, None] * x[:, None, :]
    values = np.hstack([*(each.reshape(n, -1) for each in products), first])

    # Units of the largest group, mostly the never treated, stay in their places: what is added up is all units times
    # whether they are in it.
    largest_group = int(averaged.sizes.argmax())
    others = np.delete(np.arange(len(averaged.sizes)), largest_group)
    moved = sample.group_number[orders]
    inside = (moved == largest_group).astype(float)
    unit = np.nonzero(moved != largest_group)[1].reshape(len(orders), -1)
    by_date = np.argsort(np.take_along_axis(moved, unit, axis=1), axis=1, kind="stable")
    rest = values[np.take_along_axis(unit, by_date, axis=1)]
    by_group = np.split(rest, np.cumsum(averaged.sizes[others])[:-1], axis=1)
    sums = np.stack([each.sum(axis=1) for each in by_group], axis=1)
    sums = np.insert(sums, largest_group, inside @ values, axis=1)
    with_y, square = sums[..., : p * n_periods], sums[..., p * n_periods : -1]
    shape = sums.shape[:2]
    square, with_y = square.reshape(*shape, p, p), with_y.reshape(*shape, p, n_periods)
    identified, effects, of_effect, of_mean = _maps(averaged, square, with_y, n)
    used = identified @ averaged.at
    # An average of fixed composition has other cells where some are not identified.
    known = np.full(len(orders), True) if sample.question.balance is None else identified.all(axis=1)
    known &= ~_left_out(sample, x, of_effect[:, :, : p * n_periods])
    squares = np.empty((len(averaged.sizes), *effects.shape))
    for g, own in zip(others, by_group, strict=True):
        squares[g] = ((own @ of_effect[:, g]) ** 2).sum(axis=1)
    squares[largest_group] = np.einsum("bi,bie->be", inside, (values @ of_effect[:, largest_group]) ** 2)
    treated = averaged.is_own[:, None] * identified.astype(float) @ averaged.at
    factor, estimable = leverage_of_draws(sample, averaged.sizes, treated, squares)
    known &= np.all(estimable | ~used, axis=1)

    largest, n_used = np.abs(y).max(), np.where(used.any(axis=1), used.sum(axis=1), np.nan)
    estimate, untreated = effects.sum(axis=1) / n_used, np.ones(len(orders))
    weight = np.einsum("bgqe,gbe->bgq", of_effect, factor)
    if sample.question.scale == "proportional":
        own_means = with_y[:, averaged.own, 0, averaged.cells.now] + sums[:, averaged.own, -1]
        means = averaged.share(identified) / averaged.sizes[averaged.own] * own_means @ averaged.at
        untreated = means.sum(axis=1) / n_used - estimate
        untreated = np.where(untreated > NO_MEAN * largest, untreated, np.nan)
        estimate = estimate / untreated
        # Products of a covariate matrix's constant with itself are one.
        of_mean[:, :, p * n_periods] -= of_mean[:, :, -1] * means[:, None]
        weight -= estimate[:, None, None] * np.einsum("bgqe,gbe->bgq", of_mean - of_effect, factor)
    total = np.einsum("bi,bi->b", inside, (weight[:, largest_group] @ values.T) ** 2)
    for g, own in zip(others, by_group, strict=True):
        total += ((own @ weight[:, g, :, None]) ** 2).sum(axis=(1, 2))
    error = np.sqrt(total) / (n * n_used)
    known &= ~(error <= LEAST * largest)
    return estimate, np.where(known, error, np.nan) / untreated, known


def _averaged(sample: Sample, method: str) -> Averaged | None:
    """Return the cells of the average, or None where the question is of another kind."""
    question, seen = sample.question, sample.observed
    apart = question.missing == "cells" or bool(question.covariates and method != "reg")
    if apart or question.average not in ("event_average", "treated_average") or not alike_and_alone(sample):
        return None
    dates, rows = sample.groups
    cells = cells_of(sample, sample.cohorts)
    compared, event_time = compared_with(sample, cells, dates), cells.period - cells.cohort
    used = (event_time >= 0) & (event_time <= question.last) & seen[0, cells.now] & seen[0, cells.base]
    used &= compared.any(axis=0)
    if question.balance is not None:
        used &= seen_throughout(cells.cohort, event_time, used, question.balance)
        used &= event_time <= question.balance
    if not used.any():
        return None
    cells, periods = cells.select(used), np.arange(len(sample.periods))
    at = event_time[used, None] == np.unique(event_time[used])
    if question.average == "treated_average":  # all cells are averaged at once
        at = np.ones((len(at), 1), dtype=bool)
    change = (periods == cells.now[:, None]).astype(float) - (periods == cells.base[:, None])
    sizes = np.array([len(members) for members in rows])
    return Averaged(cells, np.searchsorted(dates, cells.cohort), sizes, compared[:, used], at, change)


def _maps(
    averaged: Averaged, square: FloatArray, with_y: FloatArray, n: int
) -> tuple[BoolArray, FloatArray, FloatArray, FloatArray]:
    """Return which cells are identified, effects by event time, and the maps from a unit's values to influence.

    Shapes (B, K), (B, E), and (B, G, q, E) for effects and for the treated units' mean outcomes. In each of B
    assignments the sums over the units of each group are x x', (B, G, p, p), and x y', (B, G, p, T).
    """
    cells, own, sizes, compared, at, change = averaged
    is_own, p = averaged.is_own, square.shape[-1]
    # Cells of different cohorts have the same comparison.
    alike, of_cell = np.unique(compared, axis=1, return_inverse=True)
    grams = np.einsum("gk,bgij->bkij", alike, square)
    clear = solvable(grams)
    grams[~clear] = np.eye(p)
    gram, identified = (each[:, of_cell.reshape(-1)] for each in (grams, clear))
    share = averaged.share(identified)
    of_change = np.einsum("gk,bgit,kt->bki", compared, with_y, change, optimize=True)
    slope = np.linalg.solve(gram, of_change[..., None])[..., 0]
    x_own = square[:, own, 0] / sizes[own, None]
    pull = np.linalg.solve(gram, x_own[..., None])[..., 0]
    cell_effects = np.einsum("bkt,kt->bk", with_y[:, own, 0], change) / sizes[own]
    cell_effects -= np.einsum("bki,bki->bk", x_own, slope)
    effects = (share * cell_effects) @ at

    per_unit = n * (is_own * (share / sizes[own])[:, None]) @ at
    load = -n * share[:, None, :, None] * compared[..., None] * pull[:, None]
    load[..., 0] += n * (share / sizes[own])[:, None] * is_own
    of_effect = np.zeros((*square.shape[:2], p * change.shape[1] + p * p + 1, at.shape[1]))
    of_mean = np.zeros(of_effect.shape)
    for e, here in enumerate(at.T):
        by_x = np.swapaxes(load[:, :, here], 2, 3)
        of_y, of_x = by_x @ change[here], -by_x @ slope[:, None, here]
        of_x[..., 0, 0] -= per_unit[..., e] * effects[:, [e]]
        flat = [each.reshape(*square.shape[:2], -1) for each in (of_y, of_x)]
        of_effect[..., :-1, e] = np.concatenate(flat, axis=2)
        of_mean[:, own[here], cells.now[here], e] = n * (share / sizes[own])[:, here]
        of_mean[:, own[here], -1, e] = per_unit[:, own[here], e]
    return identified, effects, of_effect, of_mean


def _left_out(sample: Sample, x: FloatArray, of_y: FloatArray) -> BoolArray:
    """Say of each assignment whether units of the same covariates have no influence whatever their outcomes, (B,).

    The design does not count them in their group. ``x`` has shape (n, p), and ``of_y``, (B, G, p T, E), takes the
    products of a unit's covariates with its outcomes to its influence.
    """
    if not sample.question.covariates:
        return np.zeros(len(of_y), dtype=bool)
    _, first, count = np.unique(sample.x_baseline, axis=0, return_index=True, return_counts=True)
    shared = x[first[count > 1]]
    maps = of_y.reshape(*of_y.shape[:2], x.shape[1], -1, of_y.shape[-1])
    squares = np.einsum("bgpte,bgqte->bgepq", maps, maps, optimize=True)
    size = np.einsum("sp,bgepq,sq->bges", shared, squares, shared, optimize=True)
    most = np.trace(squares, axis1=3, axis2=4)[..., None] * np.square(x).sum(axis=1).max()
    nothing = NOTHING**2 * most
    return np.any((size <= nothing) & (most > NOTHING**2 * most.max(axis=1, keepdims=True)), axis=(1, 2, 3))


def alike_and_alone(sample: Sample) -> bool:
    """Say whether units are seen in the same periods and each is a cluster, all of the same weight."""
    alone = int(sample.cluster.max()) + 1 == sample.n_units
    alike = alone and bool(np.all(sample.weights == sample.weights[0]))
    return alike and bool(np.all(sample.observed == sample.observed[0]))


def leverage_of_draws(
    sample: Sample, sizes: IntArray, treated: FloatArray, squares: FloatArray
) -> tuple[FloatArray, BoolArray]:
    """Return what the influence of each group counts in an effect, (G, B, E), and which have an error, (B, E).

    ``squares`` are sums over each group's units of their influence, squared, (G, B, E), and ``treated`` says how often
    a group counts among the treated, in whatever of these shapes.
    """
    flat = np.sqrt(squares / sizes[:, None, None]).reshape(len(sizes), -1)
    counts = np.broadcast_to(treated, squares.shape).reshape(flat.shape)
    sides = Sides(sample.group_number, counts, sample.weights, sample.cluster, alike=True, both=True)
    leverage = leverage_by_group(sizes[:, None] * present(flat), sides)
    estimable = leverage.estimable.reshape(squares.shape[1:])
    return leverage.factor.reshape(squares.shape), estimable


def coefficients_by_assignment(
    sample: Sample, orders: IntArray, cells: BoolArray, averaged: BoolArray
) -> tuple[FloatArray, FloatArray, BoolArray] | None:
    """Return an average of coefficients and its jackknife error for assignments of event dates.

    Parameters
    ----------
    sample, orders
        As for :func:`study.designs.did_assignments.averages_by_assignment`.
    cells : ndarray of bool, shape (G, T, K)
        The regressors: each is one in some cells.
    averaged : ndarray of bool, shape (K,)
        Which of their coefficients are averaged.

    Returns
    -------
    effect, std_error : ndarray, shape (B,)
        NaN where no mean is positive that the effect could be a share of.
    known : ndarray of bool, shape (B,)
        False, and the error NaN, where it is close to rounding error or there is none, so that the design itself has to
        say.

    None instead of these for covariates, weights, clusters of several units, and units that are seen in different
    periods.
    """
    if sample.covariates or not alike_and_alone(sample):
        return None
    n, seen = sample.n_units, sample.observed[0]
    sizes = np.array([len(members) for members in sample.groups[1]])
    x = cells[:, seen].astype(float)
    means = n * x / np.einsum("g,gtk->k", sizes, x)
    x -= x.mean(axis=1, keepdims=True)
    x -= np.einsum("g,gtk->tk", sizes / n, x)
    gram = np.einsum("g,gtk,gtl->kl", sizes, x, x)
    if not solvable(gram):
        return None
    share = averaged / averaged.sum()
    treated = cells.any(axis=1, keepdims=True).astype(float)
    shared = _Shared(sizes, treated, x, n * (x @ np.linalg.inv(gram)), means, share)
    blocks = np.array_split(orders, -(-orders.size * int(seen.sum()) // AT_ONCE))
    effect, std_error, known = zip(*(_answers(sample, block, shared) for block in blocks), strict=True)
    return np.concatenate(effect), np.concatenate(std_error), np.concatenate(known)


class _Shared(NamedTuple):
    """What assignments share, over G groups of units with the same date, the T periods seen and K coefficients.

    ``sizes`` counts units, (G,), and ``treated`` is one for those that are treated in a coefficient's cells, (G, 1, K).
    The regressors without means by unit and period, ``x``, and the maps from a unit's outcomes to its influence on
    coefficients, ``maps``, and on the means of their cells, ``means``, have shape (G, T, K). ``share`` is what
    coefficients weigh in the average.
    """

    sizes: IntArray
    treated: FloatArray
    x: FloatArray
    maps: FloatArray
    means: FloatArray
    share: FloatArray


def _answers(sample: Sample, orders: IntArray, shared: _Shared) -> tuple[FloatArray, FloatArray, BoolArray]:
    """Return effects, errors and whether they are known, shape (B,)."""
    y, n = sample.y[:, sample.observed[0]], sample.n_units
    by_date = np.argsort(sample.group_number[orders], axis=1, kind="stable")
    members = np.split(by_date, np.cumsum(shared.sizes)[:-1], axis=1)
    left = y - y.mean(axis=1, keepdims=True)
    residual = [(left - left.mean(axis=0))[units] for units in members]
    coefficient = _means(residual, shared.maps, n)
    for own, x in zip(residual, shared.x, strict=True):
        own -= (coefficient @ x.T)[:, None]
    squares = [((own @ of) ** 2).sum(axis=1) for own, of in zip(residual, shared.maps, strict=True)]
    factor, estimable = leverage_of_draws(sample, shared.sizes, shared.treated, np.stack(squares))
    known = estimable[:, shared.share > 0].all(axis=1)

    counted, largest = factor * shared.share, np.abs(y).max()
    weight = np.einsum("gtk,gbk->gbt", shared.maps, counted)
    influence = [(own @ of[..., None])[..., 0] for own, of in zip(residual, weight, strict=True)]
    effect, untreated = coefficient @ shared.share, np.ones(len(orders))
    if sample.question.scale == "proportional":
        level = y.mean(axis=0)
        above = [(y - level)[units] for units in members]
        # The means of treated cells, above those of all units and by themselves.
        beyond = _means(above, shared.means, n)
        mean = beyond + np.einsum("t,gtk,g->k", level, shared.means, shared.sizes) / n
        untreated = mean @ shared.share - effect
        untreated = np.where(untreated > NO_MEAN * largest, untreated, np.nan)
        effect = effect / untreated
        of_mean = np.einsum("gtk,gbk->gbt", shared.means, counted)
        shift = of_mean @ level - np.einsum("gtk,gbk,bk->gb", shared.means, counted, mean)
        for own, high, of, less in zip(influence, above, of_mean, shift, strict=True):
            own *= (1 + effect)[:, None]
            own -= effect[:, None] * ((high @ of[..., None])[..., 0] + less[:, None])
    error = np.sqrt(np.sum([(own**2).sum(axis=1) for own in influence], axis=0)) / n
    known &= ~(error <= LEAST * largest)
    return effect, np.where(known, error, np.nan) / untreated, known


def _means(values: list[FloatArray], maps: FloatArray, n: int) -> FloatArray:
    """Return the means over n units of what maps, (G, T, K), make of their values by group, (B, m_g, T): (B, K)."""
    total = np.sum([own.sum(axis=1) @ of for own, of in zip(values, maps, strict=True)], axis=0)
    return np.asarray(total / n)
