"""Exact two-way fixed effects on wide arrays: unit effects eliminated, one T x T system for the periods."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from study.errors import QuestionError
from study.panel import FloatArray

COLLINEAR = 1e-9


def residualize(blocks: FloatArray, observed: NDArray[np.bool_], weights: FloatArray) -> FloatArray:
    """Take unit and period effects out of k variables.

    With unit means eliminated, the period effects d solve the T x T normal equations
    (sum_i w_i M_i) d = sum_i w_i (x_i - mean x_i), where M_i = diag(o_i) - o_i o_i' / sum(o_i) and o_i marks
    the observed periods of unit i. Exact on balanced and unbalanced panels.

    Parameters
    ----------
    blocks : ndarray, shape (k, n, T)
        Anything in cells that are not observed.
    observed : ndarray of bool, shape (n, T)
    weights : ndarray, shape (n,)

    Returns
    -------
    ndarray, shape (k, n, T)
        Residuals, zero in cells that are not observed.
    """
    seen = observed.astype(float)
    counts = np.maximum(seen.sum(axis=1), 1.0)
    centred = np.where(observed, blocks, 0.0)
    centred = np.where(observed, centred - (centred.sum(axis=2) / counts)[:, :, None], 0.0)
    system = np.diag(weights @ seen) - (seen * (weights / counts)[:, None]).T @ seen
    totals = np.einsum("i,kit->tk", weights, centred)
    effects = np.linalg.lstsq(system, totals, rcond=None)[0].T
    effects_by_unit = (effects @ seen.T) / counts
    shift = effects[:, None, :] - effects_by_unit[:, :, None]
    residual: FloatArray = np.where(observed, centred - shift, 0.0)
    return residual


class Regression(NamedTuple):
    """A regression with two-way fixed effects: coefficients, influence by unit, parameters counted."""

    coefficient: FloatArray
    influence: FloatArray
    counted: int


def two_way_regression(
    y: FloatArray, regressors: FloatArray, names: list[str], weights: FloatArray
) -> Regression:
    """Regress y on k regressors, unit effects and period effects.

    Parameters
    ----------
    y : ndarray, shape (n, T)
        NaN where not observed.
    regressors : ndarray, shape (k, n, T)
    names : list of str, length k
        What the regressors are called in an error.
    weights : ndarray, shape (n,)

    Returns
    -------
    Regression
        Coefficients (k,), influence (n, k) = n w_i sum_t x_it e_it (sum w x x')^-1 with x, e the residuals,
        and the number of parameters that fixest counts when unit effects are nested in the clusters: k plus
        the observed periods.

    Raises
    ------
    QuestionError
        If a regressor is collinear with the fixed effects or the regressors before it.
    """
    observed = ~np.isnan(y) & ~np.isnan(regressors).any(axis=0)
    residuals = residualize(np.concatenate([y[None], regressors]), observed, weights)
    outcome, x = residuals[0], residuals[1:]
    weighted = x * weights[None, :, None]
    gram = np.einsum("kit,lit->kl", weighted, x)
    raw = np.where(observed, regressors, 0.0)
    sizes = np.einsum("kit,i,kit->k", raw, weights, raw)
    _refuse_collinear(gram, sizes, names)
    coefficient = np.linalg.solve(gram, np.einsum("kit,it->k", weighted, outcome))
    error = outcome - np.einsum("k,kit->it", coefficient, x)
    score = np.einsum("kit,it->ik", weighted, error)
    influence = len(y) * np.linalg.solve(gram, score.T).T
    return Regression(coefficient, influence, len(names) + int(observed.any(axis=0).sum()))


def _refuse_collinear(gram: FloatArray, sizes: FloatArray, names: list[str]) -> None:
    """Name the first regressor that the fixed effects and the regressors before it explain."""
    left = gram.copy()
    for k, name in enumerate(names):
        if left[k, k] <= COLLINEAR * max(sizes[k], np.finfo(float).tiny):
            raise QuestionError(
                f"Regression: {name} is explained by the unit effects, the period effects and the regressors "
                "before it; leave it out."
            )
        left = left - np.outer(left[:, k], left[k]) / left[k, k]
