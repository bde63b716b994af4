"""Matrix completion of Athey, Bayati, Doudchenko, Imbens and Khosravi (2021); interactive fixed effects with gaps."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from study.core import BoolArray, FloatArray, Influence, IntArray, QuestionError, counted, sums_by
from study.designs import COMMON, Assumes, Estimand, PredictionErrors, Supports, design
from study.designs.did_cells import Cells, Effects, effects_in_cells, refuse_no_effect
from study.designs.imputation import NO_CARRY_OVER
from study.estimates import (
    Contrast,
    Estimate,
    LeftOut,
    clusters_left_out,
    event_time_effects,
)
from study.panel import Sample, since_onset

# Where iterations end: by what share of itself a step still moves FF', and how many there may be.
_CONVERGED = 1e-12
_MOST = 2_000
_ROUNDING = 1e-14
# From this share on steps are extrapolated, with so many of the steps before; earlier they could leave the basin.
_CLOSE, _MEMORY = 1e-2, 8
# The least eigenvalue of the equations of period effects, of the largest.
_CONNECTED = 1e-9
# The share of a covariate's squares that other effects have to leave, and of all effects' without a unit.
_EXPLAINED, _LEFT = 1e-12, 1e-11
# The least square by which a constant, factors and other effects given them differ.
_APART = 1e-6
# Numbers that refits without each unit hold at once.
_AT_ONCE = 2_000_000


@dataclass(frozen=True)
class Rank:
    """How the factors are held in: by a penalty on the singular values, or by their number.

    Attributes
    ----------
    penalty : float, optional
        lambda: singular values of the n x T matrix are lowered by n T lambda.
    factors : int
        Their number, where there is no penalty.
    """

    penalty: float | None = None
    factors: int = 0

    def shrunk(self, gram: FloatArray, n_units: FloatArray) -> FloatArray:
        """Return F, shape (B, T, r), from the products over units of outcomes less both effects, (B, T, T)."""
        least = self.threshold(n_units, gram.shape[-1])[:, None]
        return self._leading(gram, lambda values: np.sqrt(np.maximum(values, 0.0)) - least)

    def nearest(self, q: FloatArray) -> FloatArray:
        """Return F with FF' nearest to q among those that it can be."""
        return self._leading(q, np.asarray)

    def _leading(self, square: FloatArray, sizes_of: Callable[[FloatArray], FloatArray]) -> FloatArray:
        """Return the first eigenvectors, or all times the roots of sizes from eigenvalues that are above rounding."""
        values, vectors = (each[..., ::-1] for each in np.linalg.eigh(square))
        if self.penalty is None:
            return np.asarray(vectors[..., : self.factors])
        sizes = sizes_of(values)
        kept = np.where(sizes > _ROUNDING * sizes[:, :1], sizes, 0.0)
        rank = int((kept > 0).any(axis=0).sum())
        return np.asarray(vectors[..., :rank] * np.sqrt(kept)[:, None, :rank])

    def threshold(self, n_units: FloatArray, n_periods: int) -> FloatArray:
        """Return by how much singular values are lowered, shape (B,)."""
        return (self.penalty or 0.0) * n_units * n_periods


class Sums(NamedTuple):
    """Sums over the units that are seen in the same periods, for B samples of P patterns.

    Attributes
    ----------
    units : ndarray, shape (B, P)
        How many there are.
    total : ndarray, shape (B, P, 1 + q, T)
        Of the outcome and of the covariates.
    products : ndarray, shape (B, 1 + q, 1 + q, P, T, T)
        Over the periods in which they are seen.
    """

    units: FloatArray
    total: FloatArray
    products: FloatArray


class Maps(NamedTuple):
    """What a unit of each pattern has by least squares given F, from what its outcomes have beyond period effects, u.

    Attributes
    ----------
    own : ndarray, shape (B, P, 1 + r, T)
        alpha_i and lambda_i are ``own @ u``.
    common : ndarray, shape (B, 1, T, 1 + r)
        [1, F].
    fitted : ndarray, shape (B, P, T, T)
        alpha_i + lambda_i'f_t are ``fitted @ u``.
    left : ndarray, shape (B, P, T, T)
        W: the sum of squares, with its penalty, that they leave is u'Wu.
    """

    own: FloatArray
    common: FloatArray
    fitted: FloatArray
    left: FloatArray


def _maps(seen: BoolArray, factors: FloatArray, ridge: FloatArray) -> Maps:
    n_periods, r = factors.shape[1:]
    common = np.concatenate([np.ones((len(factors), n_periods, 1)), factors], axis=2)[:, None]
    used = common * seen[:, :, None]
    inner = np.swapaxes(used, 2, 3) @ used
    inner[:, :, np.arange(1, r + 1), np.arange(1, r + 1)] += ridge[:, None, None]
    own = _solved(inner, np.swapaxes(used, 2, 3))
    fitted = np.asarray(common @ own)
    return Maps(own, common, fitted, np.eye(n_periods) * seen[:, :, None] - fitted * seen[:, :, None])


def _solved(left: FloatArray, right: FloatArray) -> FloatArray:
    """Solve symmetric equations; where some are singular, those on the way to a fit that is refused, by least norm."""
    try:
        return np.asarray(np.linalg.solve(left, right))
    except np.linalg.LinAlgError:
        return np.asarray(np.linalg.pinv(left, hermitian=True) @ right)


def _normal_equations(
    sums: Sums, maps: Maps, null: FloatArray, n_units: FloatArray
) -> tuple[FloatArray, FloatArray]:
    """Return both sides of the equations of period effects and slopes given F, (B, T + q, T + q) and (B, T + q).

    ``null``, (B, T, k), is what of period effects the units' own effects absorb.
    """
    b, n_periods, q = len(null), null.shape[1], sums.total.shape[2] - 1
    total = (sums.total @ np.swapaxes(maps.left, 2, 3)).sum(axis=1)
    products = (sums.products.reshape(b, (1 + q) ** 2, -1) @ maps.left.reshape(b, -1, 1)).reshape(
        b, 1 + q, 1 + q
    )
    left = np.empty((b, n_periods + q, n_periods + q))
    left[:, :n_periods, :n_periods] = np.einsum("bp,bpst->bst", sums.units, maps.left)
    left[:, :n_periods, :n_periods] += n_units[:, None, None] * (null @ np.swapaxes(null, 1, 2))
    left[:, :n_periods, n_periods:] = np.swapaxes(total[:, 1:], 1, 2)
    left[:, n_periods:, :n_periods] = total[:, 1:]
    left[:, n_periods:, n_periods:] = products[:, 1:, 1:]
    return left, np.concatenate([total[:, 0], products[:, 1:, 0]], axis=1)


class _Problem(NamedTuple):
    """B samples whose units are seen in P patterns of periods, shape (P, T)."""

    seen: BoolArray
    sums: Sums
    rank: Rank

    @property
    def n_units(self) -> FloatArray:
        return np.asarray(self.sums.units.sum(axis=1))

    def some(self, which: BoolArray) -> _Problem:
        """Return some of the samples."""
        return self._replace(sums=Sums(*(each[which] for each in self.sums)))

    def given(self, factors: FloatArray) -> tuple[FloatArray, FloatArray, Maps]:
        """Return period effects, (B, T), and slopes, (B, q), that are best given F, and the units' own regressions."""
        left, right, maps = self.equations(factors)
        solved, n_periods = _solved(left, right[..., None])[..., 0], self.seen.shape[1]
        return np.asarray(solved[:, :n_periods]), np.asarray(solved[:, n_periods:]), maps

    def equations(self, factors: FloatArray) -> tuple[FloatArray, FloatArray, Maps]:
        """Return both sides of the normal equations given F, and the units' own regressions."""
        n, n_periods = self.n_units, self.seen.shape[1]
        maps = _maps(self.seen, factors, self.rank.threshold(n, n_periods))
        null = np.ones((len(factors), n_periods, 1)) / np.sqrt(n_periods)
        if self.rank.penalty is None:
            null = np.concatenate([null, factors], axis=2)
        return *_normal_equations(self.sums, maps, null, n), maps

    def identified(self, full: _Problem, factors: FloatArray) -> FloatArray:
        """Return what period effects and slopes given F are identified by, of 1, in parts of a full sample, (B,)."""
        size = np.sqrt(np.einsum("bkk->bk", full.equations(factors[:1, :, :0])[0]))
        left = self.equations(factors)[0]
        return np.asarray(np.linalg.eigvalsh(left / (size[:, :, None] * size[:, None]))[:, 0])

    def predicts(self, full: _Problem, factors: FloatArray, patterns: IntArray) -> BoolArray:
        """Return for which samples a number of factors predicts what units of some patterns are not seen in, (B,).

        Loadings are not identified where a constant and the factors are collinear in the periods that are seen.
        """
        if not self.rank.factors:
            return np.ones(len(factors), dtype=bool)
        common = np.insert(factors, 0, 1.0, axis=2)[:, None]
        sizes = np.linalg.svd(common * self.seen[patterns][:, :, None], compute_uv=False)
        loaded = np.all(sizes[..., -1] ** 2 > _APART * sizes[..., 0] ** 2, axis=1)
        return np.asarray(loaded & (self.identified(full, factors) > _APART))

    def stepped(self, factors: FloatArray) -> FloatArray:
        """Return F after a step: fill in what is not seen, and take the factors of what is then there.

        With alpha_i and lambda_i at their best given F this is a step of majorisation and minimisation: the sum of
        squares, with its penalty, falls.
        """
        period, slope, maps = self.given(factors)
        c = np.concatenate([np.ones((len(slope), 1)), -slope], axis=1)
        units, total, products = self.sums
        first = np.einsum("bv,bpvt->bpt", c, total)
        pairs = (c[:, :, None] * c[:, None]).reshape(len(c), 1, -1)
        second = (pairs @ products.reshape(len(c), pairs.shape[2], -1)).reshape(len(c), *products.shape[3:])
        mean = period[:, None] * self.seen
        cross = first[..., None] * mean[:, :, None]
        second = second - cross - np.swapaxes(cross, 2, 3)
        second += units[..., None, None] * mean[..., None] * mean[:, :, None]
        first = first - units[..., None] * mean
        # u is kept where it is seen, and filled in elsewhere: C u with [1, F] C, whose products need no T x T x T.
        unseen, half = ~self.seen, maps.own @ second
        across = (maps.common @ half) * unseen[:, :, None]
        inside = maps.common @ (half @ np.swapaxes(maps.own, 2, 3)) @ np.swapaxes(maps.common, 2, 3)
        gram = (second + across + np.swapaxes(across, 2, 3)).sum(axis=1)
        gram += np.sum(inside * (unseen[:, :, None] & unseen[:, None]), axis=1)
        means = first + (maps.fitted @ first[..., None])[..., 0] * unseen
        means = means.sum(axis=1) / self.n_units[:, None]
        gram -= self.n_units[:, None, None] * means[..., None] * means[:, None]
        gram -= gram.mean(axis=1, keepdims=True)
        gram -= gram.mean(axis=2, keepdims=True)
        return self.rank.shrunk((gram + np.swapaxes(gram, 1, 2)) / 2, self.n_units)


def _square(factors: FloatArray) -> FloatArray:
    return np.asarray(factors @ np.swapaxes(factors, 1, 2))


def _settled(problem: _Problem, start: FloatArray) -> FloatArray:
    """Return FF' at the fixed point of steps, extrapolated when they are small (Anderson 1965; Walker and Ni 2011).

    Parameters
    ----------
    problem : _Problem
    start : ndarray, shape (B, T, r)
        F to begin with.
    """
    n, n_periods = len(start), start.shape[1]
    done = np.zeros((n, n_periods, n_periods))
    rows = np.arange(n)
    q = _square(start).reshape(n, -1)
    points, moves = [q], [_square(problem.stepped(start)).reshape(n, -1) - q]
    for _ in range(_MOST):
        move = moves[-1]
        size = np.linalg.norm(points[-1] + move, axis=1) + problem.rank.threshold(problem.n_units, n_periods)
        moved = np.linalg.norm(move, axis=1)
        over = moved <= _CONVERGED * size
        if over.any():
            done[rows[over]] = (points[-1] + move)[over].reshape(-1, n_periods, n_periods)
            rows, problem = rows[~over], problem.some(~over)
            points, moves = [p[~over] for p in points], [m[~over] for m in moves]
            if not len(rows):
                break
            size, moved = size[~over], moved[~over]
        q = points[-1] + moves[-1]
        if len(moves) > 1:
            close = (moved <= _CLOSE * size) & (moved <= 2 * np.linalg.norm(moves[-2], axis=1))
            q = np.where(close[:, None], _extrapolated(points, moves), q)
        factors = problem.rank.nearest(q.reshape(-1, n_periods, n_periods))
        q = _square(factors)
        points.append(q.reshape(len(q), -1))
        moves.append((_square(problem.stepped(factors)) - q).reshape(len(q), -1))
        points, moves = points[-_MEMORY:], moves[-_MEMORY:]
    else:
        raise QuestionError(
            f"matrix_completion: the factors do not settle in {_MOST:,} steps, as where units have too few untreated "
            "periods to identify their loadings; ask for fewer, for a larger penalty, or use imputation."
        )
    return done


def _extrapolated(points: list[FloatArray], moves: list[FloatArray]) -> FloatArray:
    """Return the combination of the points before whose move is the least, moved on, shape (B, T^2)."""
    steps = np.stack([b - a for a, b in pairwise(points)], axis=2)
    turns = np.stack([b - a for a, b in pairwise(moves)], axis=2)
    inner = np.swapaxes(turns, 1, 2) @ turns
    length = np.sqrt(np.einsum("bkk->bk", inner))
    scale = np.where(length > 0, length, 1.0)
    inner = inner / (scale[:, :, None] * scale[:, None]) + _ROUNDING * np.eye(inner.shape[1])
    right = np.einsum("btk,bt->bk", turns, moves[-1]) / scale
    weight = np.linalg.solve(inner, right[..., None])[..., 0] / scale
    return np.asarray(points[-1] + moves[-1] - np.einsum("btk,bk->bt", steps + turns, weight))


@dataclass(frozen=True, eq=False)
class Completed:
    """What outcomes have beyond the untreated ones that unit, period and interactive effects give.

    Attributes
    ----------
    beyond : ndarray, shape (n, T)
        y_it - y_it(0); NaN where an outcome or covariate is, and for units with too few cells that inform.
    q : ndarray, shape (T, T)
        FF', from which another fit can start.
    slope : ndarray, shape (q,)
        Of the covariates.
    values : ndarray, shape (n, 1 + q, T)
        Outcomes less two-way effects, and covariates, zero where they are not known.
    pattern : ndarray of int, shape (n,)
        Which pattern of periods the unit informs in, -1 for too few.
    """

    beyond: FloatArray
    q: FloatArray
    slope: FloatArray
    values: FloatArray
    pattern: IntArray
    _problem: _Problem

    @property
    def largest_penalty(self) -> float:
        """The least penalty with which there are no factors."""
        n, n_periods = float(self._problem.n_units[0]), len(self.q)
        free = self._problem._replace(rank=Rank(penalty=0.0))
        return float(
            (free.stepped(np.zeros((1, n_periods, 0))) ** 2).sum(axis=1).max(initial=0.0) / (n * n_periods)
        )

    def effects(self, labels: IntArray, n_labels: int) -> FloatArray:
        """Return the mean of ``beyond`` over the cells of each label, shape (K,).

        Labels, shape (n, T), are 0..K-1, and -1 for cells of none.
        """
        used = (labels >= 0) & ~np.isnan(self.beyond)
        total = np.bincount(labels[used], self.beyond[used], minlength=n_labels)
        with np.errstate(invalid="ignore"):
            return np.asarray(total / np.bincount(labels[used], minlength=n_labels))

    def without_each(self, labels: IntArray, n_labels: int) -> FloatArray:
        """Return the :meth:`effects` of a fit without each unit, shape (n, K).

        NaN where no cell is left, or period effects, slopes or loadings are not identified without the unit.
        """
        labels = np.where((labels < 0) | np.isnan(self.beyond), -1, labels)
        out = np.repeat(self.effects(labels, n_labels)[None], len(labels), axis=0)
        rows = np.flatnonzero(self.pattern >= 0)
        alike, of_unit = np.unique(np.column_stack([self.pattern, labels])[rows], axis=0, return_inverse=True)
        of_unit, pattern = of_unit.reshape(-1), alike[:, 0]
        total, count = sums_by(self.values[rows], of_unit), np.bincount(of_unit).astype(float)
        cells = np.eye(n_labels + 1)[alike[:, 1:]][..., :n_labels]
        labelled = np.unique(pattern[cells.any(axis=(1, 2))])
        seen = self._problem.seen[pattern]
        for block in np.array_split(np.arange(len(rows)), self._n_blocks(len(rows))):
            problem = self._without(rows[block])
            known = problem.identified(self._problem, np.zeros((len(block), len(self.q), 0))) > _LEFT
            out[rows[block[~known]]], block, problem = np.nan, block[known], problem.some(known)
            if not len(block):
                continue
            b, rank = np.arange(len(block)), problem.rank
            factors = rank.nearest(_settled(problem, rank.nearest(np.repeat(self.q[None], len(b), axis=0))))
            period, slope, maps = problem.given(factors)
            known = problem.predicts(self._problem, factors, labelled)
            left, size = (np.repeat(each[None], len(b), axis=0) for each in (total, count))
            left[b, of_unit[block]] -= self.values[rows[block]]
            size[b, of_unit[block]] -= 1
            beyond = left[:, :, 0] - np.einsum("bk,bekt->bet", slope, left[:, :, 1:])
            beyond -= size[..., None] * period[:, None]
            beyond -= np.einsum("best,bet->bes", maps.fitted[:, pattern], beyond * seen, optimize=True)
            with np.errstate(invalid="ignore"):
                mean = np.einsum("bet,etk->bk", beyond, cells, optimize=True)
                out[rows[block]] = mean / np.einsum("be,etk->bk", size, cells, optimize=True)
            out[rows[block[~known]]] = np.nan
        return out

    def _n_blocks(self, n_units: int) -> int:
        patterns, n_periods = self._problem.seen.shape
        each = max(self._problem.sums.products.size, 4 * patterns * n_periods**2)
        return max(1, min(n_units, n_units * each // _AT_ONCE))

    def _without(self, rows: IntArray) -> _Problem:
        """Return the problem without each of some units."""
        b, pattern, values = np.arange(len(rows)), self.pattern[rows], self.values[rows]
        units, total, products = (np.repeat(each, len(b), axis=0) for each in self._problem.sums)
        own = values * self._problem.seen[pattern][:, None]
        units[b, pattern] -= 1
        total[b, pattern] -= own
        products[b, :, :, pattern] -= own[:, :, None, :, None] * own[:, None, :, None]
        return self._problem._replace(sums=Sums(units, total, products))


def complete(
    y: FloatArray, x: FloatArray, informs: BoolArray, rank: Rank, start: FloatArray | None = None
) -> Completed:
    """Fit y_it(0) = alpha_i + xi_t + x_it'beta + lambda_i'f_t to the cells that inform, and take it from all.

    Minimised is half the sum of squares over these cells plus n T lambda times the nuclear norm of the factor part, or
    the sum of squares given the number of factors. Given F, alpha_i and lambda_i are a regression of the unit's own, so
    that sums over units that inform in the same periods are all that is needed.

    Parameters
    ----------
    y : ndarray, shape (n, T)
        Outcomes, NaN where there is none.
    x : ndarray, shape (n, T, q)
    informs : ndarray of bool, shape (n, T)
        Cells of untreated outcomes, less those that are held out. Units need one, or one more than there are factors.
    rank : Rank
    start : ndarray, shape (T, T), optional
        FF' to begin with, in place of no factors.

    Raises
    ------
    QuestionError
        If period effects, slopes or loadings cannot be distinguished, or the factors do not settle.
    """
    known = ~np.isnan(y) & ~np.isnan(x).any(axis=2)
    informs = informs & known
    enough = informs.sum(axis=1) > (rank.factors if rank.penalty is None else 0)
    informs[~enough] = False
    seen, pattern = np.unique(informs[enough], axis=0, return_inverse=True)
    of_unit = np.full(len(y), -1)
    of_unit[enough] = pattern.reshape(-1)
    values = np.where(known[:, None], np.concatenate([y[:, None], np.moveaxis(x, 2, 1)], axis=1), 0.0)
    raw = _norms(values, informs)
    values -= _unit_means(values, informs)
    size = _norms(values, informs)
    size[size <= _ROUNDING * raw] = np.inf  # of a covariate that unit effects explain nothing is left
    total_slope = np.zeros(x.shape[2])
    for _ in range(2):  # so that sums keep the digits of what two-way effects leave
        period, slope = _two_way(_Problem(seen, _sums(values, of_unit, seen), Rank()), size)
        total_slope += slope
        values[:, 0] -= period + np.einsum("k,ikt->it", slope, values[:, 1:])
        values -= _unit_means(values, informs)
    values = np.where(known[:, None], values, 0.0)
    problem = _Problem(seen, _sums(values, of_unit, seen), rank)
    none = np.zeros((1, y.shape[1], 0))
    q = _settled(problem, problem.stepped(none) if start is None else rank.nearest(start[None]))
    factors = rank.nearest(q)
    predicted = np.unique(of_unit[enough & np.any(known & ~informs, axis=1)])
    if not problem.predicts(problem, factors, predicted)[0]:
        raise QuestionError(
            f"matrix_completion: a constant and the factors (factors={rank.factors}) are collinear in the untreated "
            "periods of a unit, so that its loadings are not identified; ask for fewer, or for a penalty instead."
        )
    period, slope, maps = problem.given(factors)
    beyond = values[:, 0] - period - np.einsum("k,ikt->it", slope[0], values[:, 1:])
    for p, own in enumerate(maps.fitted[0]):
        which = of_unit == p
        beyond[which] -= (beyond[which] * seen[p]) @ own.T
    beyond = np.where(known & enough[:, None], beyond, np.nan)
    return Completed(beyond, q[0], total_slope + slope[0], values, of_unit, problem)


def _norms(values: FloatArray, informs: BoolArray) -> FloatArray:
    """Return the norms of the covariates over the cells that inform, shape (q,)."""
    return np.asarray(np.sqrt(np.sum(values[:, 1:] ** 2, axis=(0, 2), where=informs[:, None])))


def _unit_means(values: FloatArray, informs: BoolArray) -> FloatArray:
    """Return the means over the periods in which each unit informs, shape (n, 1 + q, 1)."""
    count = np.maximum(informs.sum(axis=1), 1)[:, None, None]
    return np.asarray(np.where(informs[:, None], values, 0.0).sum(axis=2, keepdims=True) / count)


def _sums(values: FloatArray, pattern: IntArray, seen: BoolArray) -> Sums:
    """Return sums over the units of each pattern, as one sample."""
    (v, t), n_patterns = values.shape[1:], len(seen)
    total, products = np.zeros((n_patterns, v, t)), np.zeros((v, v, n_patterns, t, t))
    for p, periods in enumerate(seen):
        own = np.where(periods, values[pattern == p], 0.0)
        flat = own.reshape(len(own), -1)
        total[p], products[:, :, p] = own.sum(axis=0), (flat.T @ flat).reshape(v, t, v, t).swapaxes(1, 2)
    count = np.bincount(pattern[pattern >= 0], minlength=len(seen)).astype(float)
    return Sums(count[None], total[None], products[None])


def _two_way(problem: _Problem, size: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return period effects and slopes without factors; ``size``, (q,), are the norms of the covariates.

    Raises
    ------
    QuestionError
        If they are not identified.
    """
    (left,), (right,), _ = problem.equations(np.zeros((1, problem.seen.shape[1], 0)))
    n_periods = problem.seen.shape[1]
    of_periods, both = left[:n_periods, :n_periods], left[:n_periods, n_periods:]
    values = np.linalg.eigvalsh(of_periods)
    if values[0] <= _CONNECTED * values[-1]:
        raise QuestionError(
            "matrix_completion: cells that are untreated and observed do not connect all periods, so their effects are "
            "not identified; use a shorter window, or imputation, which leaves out what it cannot predict."
        )
    beyond = left[n_periods:, n_periods:] - both.T @ np.linalg.solve(of_periods, both)
    scale = np.where(size > 0, size, 1.0)
    if len(scale) and np.linalg.eigvalsh(beyond / np.outer(scale, scale))[0] <= _EXPLAINED:
        raise QuestionError(
            "matrix_completion: a covariate is explained by unit and period effects or by the others; leave it out."
        )
    solved = np.linalg.solve(left, right)
    return solved[:n_periods], solved[n_periods:]


NAME = "matrix_completion"
FOLDS = 5
# Penalties that are tried, as shares of the least one with which there are no factors; the search ends when so many in
# a row predict worse.
GRID = 10.0 ** (-3 / 8 * np.arange(9))
PATIENCE = 3
# Mean squared errors that differ by less of themselves are the same to rounding.
TIED = 1e-9


def predictor(
    sample: Sample, penalty: float | None = None, factors: int | None = None, **options: Any
) -> PredictionErrors:
    """Return the function that fits unit, period and interactive effects to given cells."""
    rank, _ = _rank(sample, penalty, factors)
    first: list[FloatArray] = []  # FF' of the first fit, near which those without a unit or a cell end

    def prediction_errors(sample: Sample, seen: BoolArray) -> FloatArray:
        fit = complete(sample.y, sample.x_varying, seen, rank, start=first[0] if first else None)
        if not first:
            first.append(fit.q)
        return fit.beyond

    return prediction_errors


@design(
    title="Matrix completion (Athey et al.)",
    reference="athey2021",
    estimand=Estimand.GROUP_TIME_ATT,
    assumes=(Assumes.FACTORS, Assumes.LIMITED_ANTICIPATION),
    supports=COMMON | {Supports.NEVER_TREATED, Supports.SWITCHING},
    predictor=predictor,
)
def matrix_completion(
    sample: Sample, *, penalty: float | None = None, factors: int | None = None, leads: int = 0
) -> Estimate:
    """Compare treated cells with what unit, period and interactive effects of all untreated cells predict for them.

    y_it(0) = alpha_i + xi_t + x_it'beta + L_it is fitted to the untreated cells of all units, the treated units' own
    before treatment among them, with the nuclear norm of L penalised (their equation 4.3 with unit and period effects
    that are not), or L of a given rank. The effect is the outcome less the prediction. Without factors this is
    imputation.

    Parameters
    ----------
    sample : Sample
        Gaps are allowed, and treatment may end: all periods without it are then untreated, without carry-over.
        Covariates enter by period. Untreated cells of the cohorts inform the fit under either comparison.
    penalty : float, optional
        lambda, by which n T lambda is taken from singular values of the n x T matrix. Without it the value of a grid,
        from the least with which there are no factors down to a thousandth of it, that predicts untreated cells of the
        treated units best when a fifth of them is held out at a time: those 1, 6, 11, ... periods before treatment,
        then those 2, 7, 12, ... before.
    factors : int, optional
        The rank of L, in place of a penalty (interactive fixed effects: Bai 2009; Gobillon and Magnac 2016; Liu, Wang
        and Xu 2024). Units with as many untreated cells or fewer are left out.
    leads : int
        Number of periods before treatment (less the anticipation) whose effects are estimated, each by a fit from which
        the treated units' cells in it are held out. In-sample residuals are what the fit makes small, and are no terms.

    Returns
    -------
    Estimate
        One term for each cohort and period from treatment on, then the leads; for a treatment that ends, one for each
        number of periods since it began. "CR1" standard errors, which are the jackknife's over units with the penalty
        or the number of factors held; the default errors leave a cluster of several units out as a mean of its side
        would lose it.

    Raises
    ------
    QuestionError
        If both a penalty and a number of factors are given, effects are not identified, or the fit does not settle.

    References
    ----------
    Athey, S., Bayati, M., Doudchenko, N., Imbens, G., and Khosravi, K. (2021). Matrix completion methods for causal
    panel data models. Journal of the American Statistical Association 116(536).
    Bai, J. (2009). Panel data models with interactive fixed effects. Econometrica 77(4).
    Gobillon, L., and Magnac, T. (2016). Regional policy evaluation: interactive fixed effects and synthetic controls.
    Review of Economics and Statistics 98(3).
    Liu, L., Wang, Y., and Xu, Y. (2024). A practical guide to counterfactual estimators for causal inference with
    time-series cross-sectional data. American Journal of Political Science 68(1).
    """
    absorbing = sample.first_treated is not None
    _refuse(sample, penalty, factors, leads)
    untreated, since = sample.treatment == 0, since_onset(sample.treatment)
    rank, notes = _rank(sample, penalty, factors)
    full = complete(sample.y, sample.x_varying, untreated, rank)
    code = np.where(sample.treatment == 1, _cells(sample, since), -1)
    notes += _lost(sample, full, code, (factors or 0) + 1)
    parts = [_effects(sample, full, code)]
    refuse_no_effect(NAME, len(parts[0][0]), notes)
    for lead in range(1, leads + 1):
        held = since == -lead
        if held.any():
            fit = complete(sample.y, sample.x_varying, untreated & ~held, rank, start=full.q)
            parts.append(_effects(sample, fit, np.where(held, _cells(sample, since), -1)))
    codes, effect, mean, size, clusters, influence, of_mean, weights, undefined = (
        np.concatenate(each, axis=-1) for each in zip(*parts, strict=True)
    )
    level, of_outcome = Influence.of(influence), Influence.of(of_mean)
    factor = np.full(len(effect), sample.n_units / (sample.n_units - 1))
    estimable = (clusters.min(axis=0) >= 2) & (size > 1) & ~undefined.any(axis=0)
    left = LeftOut(level.scaled(factor), (of_outcome - level).scaled(factor), clusters, estimable)
    if undefined.any():
        unit = sample.unit_ids[undefined.any(axis=1)][0]
        notes.append(f"no standard error where effects are not identified without some unit, such as {unit}")
    fields: dict[str, Any] = {
        "n_obs": int((~np.isnan(full.beyond)).sum()),
        "published": "CR1",
        "cohort_weights": Influence.of(weights),
        "contrast": Contrast(left_out=left),
        "against": "all_before",
    }
    if not absorbing:
        times = codes.astype(float)
        fields |= {"contrast": Contrast(treated=weights, left_out=left), "notes": (NO_CARRY_OVER, *notes)}
        return clusters_left_out(event_time_effects(sample, times, effect, level, mean, of_outcome, **fields))
    group, now = np.divmod(codes, len(sample.periods))
    cells = Cells(sample.cohorts[group], sample.periods[now].astype(float), now, np.full(len(now), -1))
    found = Effects(effect, level, mean, of_outcome, size, np.full(len(now), "", dtype=object))
    return clusters_left_out(effects_in_cells(NAME, sample, cells, found, notes, **fields))


def _refuse(sample: Sample, penalty: float | None, factors: int | None, leads: int) -> None:
    """Refuse options that do not go together, or that the panel is too short for."""
    if penalty is not None and factors is not None:
        raise QuestionError(
            f"{NAME}: penalty is {penalty:g} and factors is {factors}; give one, as each holds the factors in."
        )
    if penalty is not None and penalty <= 0:
        raise QuestionError(
            f"{NAME}: penalty is {penalty:g}; it must be above 0, or factors be given in its place."
        )
    most = len(sample.periods) - 2
    if factors is not None and factors > most:
        raise QuestionError(
            f"{NAME}: factors is {factors}, but {len(sample.periods)} periods allow for {max(most, 0)} at most; ask "
            "for fewer."
        )
    known = sample.treatment == 0
    known &= ~np.isnan(sample.outcome_with_covariates)
    untreated = known.sum(axis=1)[sample.ever_treated]
    if not np.any(untreated):
        raise QuestionError(
            f"{NAME}: no treated unit is observed in an untreated period, so no effect is identified; use a window "
            "that begins earlier."
        )
    if factors is not None and not np.any(untreated > factors):
        raise QuestionError(
            f"{NAME}: factors is {factors}, but no treated unit is observed in {factors + 1} untreated periods or "
            "more; ask for fewer, or use callaway_santanna."
        )
    if leads and sample.first_treated is None:
        raise QuestionError(
            f"{NAME}: leads is {leads}, but {sample.question.event} is not absorbing; set it to 0."
        )


def _cells(sample: Sample, since: FloatArray) -> IntArray:
    """Return what cell each unit and period is of, shape (n, T), -1 for none.

    The number of the cohort times T plus that of the period; of a treatment that ends, the periods since it began.
    """
    if sample.first_treated is None:
        return np.where(since >= 0, since, -1).astype(np.int64)
    own, n_periods = np.isin(sample.first_treated, sample.cohorts), len(sample.periods)
    cohort = np.searchsorted(sample.cohorts, np.where(own, sample.first_treated, sample.cohorts[0]))
    return np.where(own[:, None], cohort[:, None] * n_periods + np.arange(n_periods), -1)


def _lost(sample: Sample, fit: Completed, code: IntArray, least: int) -> list[str]:
    """Return a note on treated cells that have an outcome and no prediction."""
    lost = (code >= 0) & sample.observed & np.isnan(fit.beyond)
    if not lost.any():
        return []
    cells, units = counted(lost.sum(), "treated unit-period"), counted(lost.any(axis=1).sum(), "unit")
    return [
        f"{cells} of {units} left out: the unit is not observed in {counted(least, 'untreated period')}, or its "
        "covariates are not"
    ]


def _effects(sample: Sample, fit: Completed, code: IntArray) -> tuple[NDArray[Any], ...]:
    """Average over the cells of each code that a unit has a prediction in.

    Returns
    -------
    codes, effect, mean : ndarray, shape (K,)
        What the cells have beyond the prediction, and of the outcome.
    size, clusters : ndarray, shape (K,), (2, K)
        Numbers of units, and of clusters on both sides.
    influence, of_mean : ndarray, shape (n, K)
        (n - 1) times the mean of the effects without one unit less the effect without unit i; zero where no cell is
        left.
    weights : ndarray, shape (n, K)
        How many cells a unit has.
    undefined : ndarray, shape (n, K)
        Where there are cells and no effect without unit i; the effect has no influence.
    """
    used = (code >= 0) & ~np.isnan(fit.beyond)
    codes, labels = np.unique(code[used], return_inverse=True)
    label, n_codes = np.full(code.shape, -1), len(codes)
    label[used] = labels.reshape(-1)
    place = np.nonzero(used)[0] * n_codes + label[used]
    summed = sums_by(np.column_stack([sample.y[used], np.ones(len(place))]), place, len(code) * n_codes)
    outcomes, cells = summed.T.reshape(2, len(code), n_codes)
    left = cells.sum(axis=0) - cells
    with np.errstate(invalid="ignore", divide="ignore"):
        mean_without = (outcomes.sum(axis=0) - outcomes) / left
    has, without = cells > 0, fit.without_each(label, n_codes)
    undefined = np.isnan(without) & (left > 0)
    without[:, undefined.any(axis=0)] = np.nan
    fitted = fit.pattern >= 0
    clusters = [
        [len(np.unique(sample.cluster[side])) for side in (own, fitted & ~own)]
        for own in np.asarray(has.T, dtype=bool)
    ]
    return (
        codes,
        fit.effects(label, n_codes),
        outcomes.sum(axis=0) / cells.sum(axis=0),
        has.sum(axis=0),
        np.array(clusters, dtype=np.int64).reshape(n_codes, 2).T,
        _pseudo_values(without),
        _pseudo_values(mean_without),
        cells,
        undefined,
    )


def _pseudo_values(without: FloatArray) -> FloatArray:
    """Return the influence of each unit from the effects without it, shape (n, K)."""
    known = ~np.isnan(without)
    mean = np.where(known, without, 0.0).sum(axis=0) / np.maximum(known.sum(axis=0), 1)
    return np.where(known, (len(without) - 1) * (mean - without), 0.0)


def _rank(sample: Sample, penalty: float | None, factors: int | None) -> tuple[Rank, list[str]]:
    """Return how the factors are held in, with the penalty that predicts held-out cells best where neither is given."""
    if factors is not None:
        return Rank(factors=factors), []
    if penalty is not None:
        return Rank(penalty), []
    y, x, untreated, since = sample.y, sample.x_varying, sample.treatment == 0, since_onset(sample.treatment)
    largest = complete(y, x, untreated, Rank()).largest_penalty
    folds = [(since < 0) & (since % FOLDS == fold) for fold in range(FOLDS)]
    folds = [held for held in folds if held.any()]
    starts: list[FloatArray | None] = [None] * len(folds)
    errors: list[float] = []
    for share in GRID:
        squares: list[FloatArray] = []
        try:
            for k, held in enumerate(folds):
                fit = complete(y, x, untreated & ~held, Rank(share * largest), start=starts[k])
                starts[k] = fit.q
                beyond = fit.beyond[held]
                squares.append(beyond[~np.isnan(beyond)] ** 2)
        except QuestionError:  # with hardly a penalty a fit need not settle
            if not errors:
                raise
            break
        left = np.concatenate([np.empty(0), *squares])
        if not len(left):
            raise QuestionError(
                f"{NAME}: no treated unit has untreated cells of which one could be held out to choose a penalty; give "
                "penalty=, or factors=0, which is imputation."
            )
        errors.append(float(left.mean()))
        chosen = int(np.argmax(np.array(errors) <= (1 + TIED) * min(errors)))
        if len(errors) - 1 - chosen >= PATIENCE:
            break
    listed = ", ".join(f"{error:.4g} with {share:.2g}" for share, error in zip(GRID, errors, strict=False))
    best = float(GRID[chosen] * largest)
    note = (
        f"penalty {best:.4g} by cross-validation, {GRID[chosen]:.2g} of the least one with which there are no factors; "
        f"mean squared prediction errors are {listed}"
    )
    return Rank(best), [note]
