"""Two-way effects and interactive ones of untreated units, by least squares on a panel without gaps.

Bai (2009); Xu (2017), equations (3) to (5).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from study.core.arrays import BoolArray, FloatArray
from study.core.errors import QuestionError

_CONVERGED = 1e-12
_MOST = 20_000
COLLINEAR = 1e-9


class Interactive(NamedTuple):
    """Fitted on J units over T periods.

    Attributes
    ----------
    period : ndarray, shape (T,)
        Period effects, with the grand mean.
    factors : ndarray, shape (T, r)
        Orthonormal.
    slope : ndarray, shape (q,)
        Of the covariates.
    """

    period: FloatArray
    factors: FloatArray
    slope: FloatArray


def interactive_effects(
    y: FloatArray, x: FloatArray, n_factors: int, start: FloatArray | None = None
) -> Interactive:
    """Fit y_it = alpha_i + xi_t + x_it'beta + lambda_i'f_t.

    Without covariates the factors are principal components of the outcomes less both effects; with them, slope and
    factors are found in turn until the slope does not move (Bai 2009, Section 4).

    Parameters
    ----------
    y : ndarray, shape (J, T)
    x : ndarray, shape (J, T, q)
    n_factors : int
        r.
    start : ndarray, shape (q,), optional
        Slope to begin with.

    Raises
    ------
    QuestionError
        If covariates are explained by the effects or by one another, or the slope does not settle.
    """
    within_y, q = without_both(y), x.shape[2]
    within_x = np.stack([without_both(x[:, :, k]) for k in range(q)], axis=2) if q else np.empty(x.shape)
    flat = within_x.reshape(y.size, q)
    squares = flat.T @ flat
    size = np.sqrt((x.reshape(y.size, q) ** 2).sum(axis=0))
    if q and np.linalg.matrix_rank(flat / np.where(size > 0, size, 1.0), tol=1e-9) < q:
        raise QuestionError(
            "generalized_synthetic_control: among the comparison units a covariate is explained by unit and period "
            "effects or by the others; leave it out."
        )
    slope = np.zeros(0) if not q else _slope(flat, squares, within_y) if start is None else start
    for _ in range(_MOST):
        left = within_y - within_x @ slope
        factors = np.linalg.eigh(left.T @ left)[1][:, ::-1][:, :n_factors]
        if not q:
            break
        moved = _slope(flat, squares, within_y - left @ factors @ factors.T)
        step, slope = np.linalg.norm(within_x @ (moved - slope)), moved
        if step <= _CONVERGED * np.linalg.norm(within_y):
            break
    else:
        raise QuestionError(
            f"generalized_synthetic_control: slopes and {n_factors} factors do not settle in {_MOST:,} steps; ask for "
            "fewer factors."
        )
    return Interactive((y - x @ slope).mean(axis=0), factors, slope)


def _slope(flat: FloatArray, squares: FloatArray, y: FloatArray) -> FloatArray:
    return np.asarray(np.linalg.solve(squares, flat.T @ y.reshape(-1)), dtype=np.float64)


def without_both(values: FloatArray) -> FloatArray:
    """Return values less the means of units and of periods, shape (J, T)."""
    by_unit = values.mean(axis=1, keepdims=True)
    return np.asarray(values - values.mean(axis=0) - by_unit + float(values.mean()))


def predicted(fitted: Interactive, y: FloatArray, x: FloatArray, before: int | BoolArray) -> FloatArray:
    """Return units' untreated outcomes, with alpha and lambda from periods before treatment, shape (N, T).

    Xu (2017), equation (5) with a unit effect; y has shape (N, T), x has shape (N, T, q). The periods are the first
    ones, so many, or those that are true, shape (T,).

    Raises
    ------
    QuestionError
        If these periods do not tell a unit's effect and loadings from one another.
    """
    seen = np.arange(y.shape[1]) < before if isinstance(before, int) else before
    common = fitted.period + x @ fitted.slope
    loaded = np.column_stack([np.ones(len(fitted.factors)), fitted.factors])
    sizes = np.linalg.svd(loaded[seen], compute_uv=False)
    if len(sizes) < loaded.shape[1] or sizes[-1] < COLLINEAR * sizes[0]:
        raise QuestionError(
            f"generalized_synthetic_control: a constant and the factors (factors={fitted.factors.shape[1]}) are "
            f"collinear in the {seen.sum()} periods before treatment, so that loadings are not identified; ask "
            "for fewer."
        )
    own = np.linalg.lstsq(loaded[seen], (y - common)[:, seen].T, rcond=None)[0]
    return np.asarray(common + (loaded @ own).T)


def prediction_error(fitted: Interactive, y: FloatArray, x: FloatArray, n_before: int) -> float:
    """Return the mean squared error of predicting each period before treatment from the others, for all units.

    Xu (2017), Algorithm 1.
    """
    left = (y - fitted.period - x @ fitted.slope)[:, :n_before]
    loaded = np.column_stack([np.ones(n_before), fitted.factors[:n_before]])
    errors = []
    for s in range(n_before):
        others = np.arange(n_before) != s
        own = np.linalg.lstsq(loaded[others], left[:, others].T, rcond=None)[0]
        errors.append(left[:, s] - loaded[s] @ own)
    return float(np.mean(np.square(errors)))
