"""Weights of units and of periods for synthetic comparisons: least squares on the simplex, solved exactly.

Arkhangelsky, Athey, Hirshberg, Imbens and Wager (2021), equations (4) to (6).
"""

from __future__ import annotations

from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from study.core.arrays import FloatArray

# The ridge of time weights, and of a synthetic control's, in units of sigma: it only makes the solution unique.
UNIQUE = 1e-6
# Weights below it are what the ridge adds to zero.
_LEAST = 1e-9
# How much a weight would have to gain to leave zero: relative to the gradient's rounding, and to the ridge.
_PRECISION = (16 * float(np.finfo(float).eps), 1e-9)
# From this ridge on, relative to the squared norm of the columns, most weights are positive.
_DENSE = 1e-4

# From this share of the target's square on, the difference itself has the digits.
_APART = 0.01

# How the authors' software stops, in units of sigma; see frank_wolfe.
_SMALLEST_DECREASE = 1e-5
_STEPS = (100, 10_000)

Solver = Literal["exact", "frank_wolfe"]


class Weights(NamedTuple):
    """Weights of comparison units, shape (J,), and of periods before treatment, shape (T0,)."""

    unit: FloatArray
    time: FloatArray


def noise_level(before: FloatArray) -> float:
    """Return sigma, the standard deviation of first differences of untreated outcomes, shape (J, T0); equation (5)."""
    return float(np.diff(before, axis=1).std(ddof=1)) if before.size > 2 else 0.0


def synthetic_did_weights(
    before: FloatArray, after: FloatArray, treated: FloatArray, n_cells: int, solver: Solver = "exact"
) -> Weights:
    """Return the weights of synthetic difference-in-differences, equations (4) and (6).

    Parameters
    ----------
    before, after : ndarray, shapes (J, T0), (J, T1)
        Outcomes of comparison units.
    treated : ndarray, shape (T0,)
        Mean outcome of the treated units before treatment.
    n_cells : int
        Treated units times periods after treatment, which set the ridge: zeta = n_cells^(1/4) sigma.
    solver : {"exact", "frank_wolfe"}
    """
    return Weights(unit_weights(before, treated, n_cells, solver), time_weights(before, after, solver))


def unit_weights(
    before: FloatArray, treated: FloatArray, n_cells: int, solver: Solver = "exact"
) -> FloatArray:
    """Return the weights of units of :func:`synthetic_did_weights`, equation (4), shape (J,)."""
    sigma, levels = noise_level(before), before.mean(axis=1, keepdims=True)
    return _solved((before - levels).T, treated - treated.mean(), n_cells**0.25 * sigma, sigma, solver)


def time_weights(before: FloatArray, after: FloatArray, solver: Solver = "exact") -> FloatArray:
    """Return the weights of periods of :func:`synthetic_did_weights`, equation (6), shape (T0,)."""
    sigma, late = noise_level(before), after.mean(axis=1)
    return _solved(before - before.mean(axis=0), late - late.mean(), UNIQUE * sigma, sigma, solver)


def synthetic_control_weights(before: FloatArray, treated: FloatArray, solver: Solver = "exact") -> Weights:
    """Return the weights of a synthetic control that matches levels before treatment, without time weights.

    Abadie, Diamond and Hainmueller (2010) with the outcomes before treatment as predictors, all of one weight;
    arguments as above.
    """
    sigma = noise_level(before)
    unit = _solved(before.T, treated, UNIQUE * sigma, sigma, solver)
    return Weights(unit, np.zeros(before.shape[1]))


def _solved(columns: FloatArray, target: FloatArray, zeta: float, sigma: float, solver: Solver) -> FloatArray:
    if solver == "exact":
        return simplex_weights(columns, target, zeta)
    return frank_wolfe(columns, target, zeta, _SMALLEST_DECREASE * sigma)


def simplex_weights(columns: FloatArray, target: FloatArray, zeta: float) -> FloatArray:
    """Return the weights of columns, none below zero and adding up to one, that come closest to a target.

    They minimise ``mean((columns @ w - target)**2) + zeta**2 * sum(w**2)``, by an active-set method that ends at
    the solution's support (Nocedal and Wright 2006, Algorithm 16.3).

    Parameters
    ----------
    columns : ndarray, shape (m, J)
    target : ndarray, shape (m,)
    zeta : float

    Returns
    -------
    ndarray, shape (J,)
    """
    ridge = len(target) * zeta**2
    size = float((columns**2).sum(axis=0).max(initial=0.0))
    weights = _start(columns, target, ridge, dense=ridge > _DENSE * size)
    support, entered, barred = weights > 0, -1, np.zeros(len(weights), dtype=bool)
    for _ in range(20 * len(weights) + 100):
        best = _on_support(columns[:, support], target, ridge)
        if best.min() > 0:
            weights[:] = 0.0
            weights[support] = best
            if support[entered]:
                barred[:] = False  # it stayed in, so that others may now do so too
            error = _error(columns, target, ridge, weights, support)
            gradient = columns.T @ error + ridge * weights
            gain = gradient[support].mean() - np.where(support | barred, np.inf, gradient)
            entered = int(gain.argmax())
            rounding, least = _PRECISION
            if gain[entered] <= rounding * np.sqrt(size * float(error @ error)) + least * ridge:
                break
            support[entered] = True
        else:
            now = weights[support]
            falling = best <= 0
            left_at_once = falling[np.flatnonzero(support) == entered].any()
            barred[entered] |= bool(left_at_once) and weights[entered] == 0
            step = np.min(now[falling] / np.maximum(now[falling] - best[falling], np.finfo(float).tiny))
            moved = now + step * (best - now)
            moved[falling & (moved <= moved[falling].min() + np.finfo(float).eps)] = 0.0
            weights[support] = np.maximum(moved, 0.0)
            support = weights > 0
    weights[weights < _LEAST] = 0.0
    return weights / weights.sum()


def _error(
    columns: FloatArray, target: FloatArray, ridge: float, weights: FloatArray, support: NDArray[np.bool_]
) -> FloatArray:
    """Return columns @ weights - target, to the digits in which the ridge shows where columns fit the target exactly.

    On the support columns' error + ridge weights is the same for all, which tells more than the difference.
    """
    error = columns @ weights - target
    if error @ error > _APART * (target @ target):
        return np.asarray(error)
    left = np.column_stack([columns[:, support].T, -np.ones(int(support.sum()))])
    level = float(np.mean(columns[:, support].T @ error + ridge * weights[support]))
    missing = -ridge * weights[support] - left @ np.append(error, level)
    return np.asarray(error + np.linalg.lstsq(left, missing, rcond=1e-10)[0][:-1])


def _start(columns: FloatArray, target: FloatArray, ridge: float, *, dense: bool) -> FloatArray:
    """Return a feasible point: the best single column, or with a large ridge the columns that stay positive."""
    n = columns.shape[1]
    if dense:
        support = np.ones(n, dtype=bool)
        while support.any():
            weights = np.zeros(n)
            weights[support] = _on_support(columns[:, support], target, ridge)
            if weights.min() >= 0:
                return weights
            support = weights > 0
    weights = np.zeros(n)
    weights[((columns - target[:, None]) ** 2).sum(axis=0).argmin()] = 1.0
    return weights


def _on_support(columns: FloatArray, target: FloatArray, ridge: float) -> FloatArray:
    """Return the minimum over weights that add up to one, of either sign."""
    m, n = columns.shape
    if n == 1:
        return np.ones(1)
    if n > m and ridge > _DENSE * float((columns**2).sum()) / n:
        inner = np.linalg.inv(ridge * np.eye(m) + columns @ columns.T)

        def solve(right: FloatArray) -> FloatArray:
            return np.asarray((right - columns.T @ (inner @ (columns @ right))) / ridge)

        of_ones = solve(np.ones(n))
        free = solve(columns.T @ target)
        return free + (1 - free.sum()) / of_ones.sum() * of_ones
    # The last weight is one less the others, and the ridge is rows of its own: no squares of condition numbers.
    root = np.sqrt(ridge)
    left = np.vstack([columns[:, :-1] - columns[:, -1:], root * np.eye(n - 1), np.full((1, n - 1), -root)])
    right = np.concatenate([target - columns[:, -1], np.zeros(n - 1), [-root]])
    others = np.linalg.lstsq(left, right, rcond=None)[0]
    return np.append(others, 1 - others.sum())


def frank_wolfe(
    columns: FloatArray, target: FloatArray, zeta: float, least: float, start: FloatArray | None = None
) -> FloatArray:
    """Return what the authors' software (synthdid 0.0.9) returns for the problem of :func:`simplex_weights`.

    Frank and Wolfe's steps from equal weights, or from a start, at most a hundred; weights of at most a quarter of the
    largest are set to zero; then steps until the objective falls by less than ``least**2``. It stops short of the
    minimum, and is here to repeat published numbers.
    """
    equal = np.full(columns.shape[1], 1 / columns.shape[1])
    rough = _steps(columns, target, zeta, equal if start is None else start, least, _STEPS[0])
    sparse = np.where(rough > rough.max() / 4, rough, 0.0)
    return _steps(columns, target, zeta, sparse / sparse.sum(), least, _STEPS[1])


def _steps(
    columns: FloatArray, target: FloatArray, zeta: float, weights: FloatArray, least: float, most: int
) -> FloatArray:
    ridge = len(target) * zeta**2
    error, before = columns @ weights - target, np.inf
    for step in range(most):
        gradient = error @ columns + ridge * weights
        to = -weights
        nearest = int(gradient.argmin())
        to[nearest] += 1.0
        moves = columns[:, nearest] - target - error
        steepness = moves @ moves + ridge * (to @ to)
        if steepness > 0:
            share = -float(gradient @ to) / float(steepness)
            weights = weights + min(max(share, 0.0), 1.0) * to
        error = columns @ weights - target
        now = float(zeta**2 * (weights @ weights) + error @ error / len(target))
        if step > 0 and before - now <= least**2:
            break
        before = now
    return weights
