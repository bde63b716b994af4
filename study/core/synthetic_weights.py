"""Weights of units and of periods for synthetic comparisons: least squares on the simplex, solved exactly.

Arkhangelsky, Athey, Hirshberg, Imbens and Wager (2021), equations (4) to (6).
"""

from __future__ import annotations

from typing import Literal, NamedTuple

import numpy as np

from study.core.arrays import FloatArray, IntArray

# The ridge of time weights, and of a synthetic control's, in units of sigma: it only makes the solution unique.
UNIQUE = 1e-6
# Weights below it are what the ridge adds to zero.
_LEAST = 1e-9
# The norm of the largest column beside the row of ones, with which rounding hides least of the ridge.
_SCALE = 10.0
# Of the moments: less than it is no slope.
_ROUNDING = 1e-12
# How often it is guessed which of many weights are positive, and terms that still leave the digits of a weight.
_GUESSES, _LARGEST = 50, 1e4
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
    changes = np.diff(before, axis=1)
    return float(changes.std(ddof=1)) if changes.size > 1 else 0.0


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


def time_weights_without_each(before: FloatArray, after: FloatArray) -> FloatArray:
    """Return how the exact weights of :func:`time_weights` move without each comparison unit, shape (J, T0).

    With a_j unit j's outcomes before treatment less its mean outcome after it, both less their means over units, and M
    the sum of a_j a_j' and the ridge, weights of the periods that keep some are M^-1 1, scaled to add up to one, and
    without unit j those of M - J/(J - 1) a_j a_j'. Where other periods have weight then, they are solved anew.
    """
    weights, n, zeta = time_weights(before, after), len(before), UNIQUE * noise_level(before)
    apart = before - after.mean(axis=1, keepdims=True)
    apart = apart - apart.mean(axis=0)
    if not apart.any():
        return np.zeros(apart.shape)
    moments, more = apart.T @ apart + n * zeta**2 * np.eye(len(weights)), n / (n - 1)
    inverse, some = np.zeros(moments.shape), np.ix_(weights > 0, weights > 0)
    inverse[some] = np.linalg.pinv(moments[some], hermitian=True)
    level, solved = inverse.sum(axis=0), apart @ inverse
    left = 1 - more * np.sum(solved * apart, axis=1)  # zero where units besides j do not tell the weights
    with np.errstate(divide="ignore", invalid="ignore"):
        without = level + solved * (more * (apart @ level) / left)[:, None]
        without /= without.sum(axis=1, keepdims=True)
    slope = without @ moments - more * apart * np.sum(without * apart, axis=1, keepdims=True)
    above = slope - np.sum(without * slope, axis=1, keepdims=True)
    least = np.all((without >= 0) & (above >= -_ROUNDING * np.trace(moments)), axis=1) & (left > UNIQUE)
    directions, length, axes = np.linalg.svd(apart, full_matrices=False)
    kept = length > _ROUNDING * length[0]
    directions, root = directions[:, kept], (length[:, None] * axes)[kept]
    for j in np.flatnonzero(~least):  # root'root is the sum of a_j a_j', of fewer rows
        own = directions[j]
        rest = root - more / (1 + np.sqrt(max(1 - more * (own @ own), 0.0))) * np.outer(own, own @ root)
        without[j] = simplex_weights(rest, np.zeros(len(rest)), zeta)
    return without - weights


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

    They minimise ``mean((columns @ w - target)**2) + zeta**2 * sum(w**2)``, which for weights that add up to one is
    ``|M w|^2`` with M the columns less the target and the root of the ridge. For u = s w the least ``|M u|^2 +
    (sum(u) - 1)^2`` over s is ``|M w|^2 / (1 + |M w|^2)``, so that w is u over its sum, with u of non-negative least
    squares (Lawson and Hanson 1974, chapter 23). Equal columns are one, whose weight they share.

    Parameters
    ----------
    columns : ndarray, shape (m, J)
    target : ndarray, shape (m,)
    zeta : float

    Returns
    -------
    ndarray, shape (J,)
    """
    apart = columns - target[:, None]
    # Columns are told by one number each, which sorts faster than they do.
    digest = (np.sin(np.arange(1, len(apart) + 1))[:, None] * apart).sum(axis=0)
    _, first, column, times = np.unique(digest, return_index=True, return_inverse=True, return_counts=True)
    apart = apart[:, first]
    (m, n), ridge = apart.shape, len(apart) * zeta**2
    scale = _SCALE / (np.sqrt((apart**2).sum(axis=0).max() + ridge) or 1.0)
    apart, ridge = scale * apart, scale**2 * ridge
    total = _of_many(apart, times, ridge)
    if total is None:
        from scipy.optimize import nnls

        rows = np.vstack([apart, np.diag(np.sqrt(ridge / times)), np.ones(n)])
        total = nnls(rows, np.append(np.zeros(m + n), 1.0), maxiter=100 * n)[0]
    weights = (total / times)[column]
    weights = np.where(weights < _LEAST * weights.sum(), 0.0, weights)
    return np.asarray(weights / weights.sum())


def _of_many(apart: FloatArray, times: IntArray, ridge: float) -> FloatArray | None:
    """Return the same where more columns than rows have positive weight, or None where that does not find them.

    With e the sum of weights times columns less the target, a positive weight is level - columns'e / ridge, times the
    number of equal columns; the next guess of these columns are those where that is positive.
    """
    m, support = len(apart), np.ones(len(times), dtype=bool)
    for _ in range(_GUESSES):
        chosen, alike = apart[:, support], times[support]
        if len(alike) <= m:
            break
        sums = chosen @ alike[:, None]
        left = np.block([[ridge * np.eye(m) + (alike * chosen) @ chosen.T, -sums], [-sums.T, alike.sum()]])
        solution = np.linalg.lstsq(left, np.eye(m + 1)[m])[0]
        taken = solution[:m] @ apart
        weights = solution[m] - taken
        if np.array_equal(weights > 0, support):
            return times * np.maximum(weights, 0.0) if np.abs(taken).max() < _LARGEST else None
        support = weights > 0
    return None


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
