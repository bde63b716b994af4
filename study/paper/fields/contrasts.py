"""Estimates as contrasts: each is a weighted sum of the outcomes by field and year."""

from __future__ import annotations

import numpy as np

from study.core import FloatArray, synthetic_control_weights, synthetic_did_weights
from study.paper.fields.cells import Cells
from study.paper.fields.plan import Method


def regression_contrasts(cells: Cells, permuted: FloatArray) -> FloatArray:
    """Return the contrasts whose sums are the coefficients of the field's number after the base, shape (m, n, T).

    By weighted least squares with effects of each field and of each venue and year; a cell weighs its papers
    (Frisch, Waugh and Lovell). NaN where a number does not vary beside these effects.

    Parameters
    ----------
    cells : Cells
    permuted : ndarray, shape (m, n)
    """
    used = cells.used
    field, year = np.nonzero(used)
    venue = np.unique(cells.venues, return_inverse=True)[1][field]
    venue_year = np.unique(venue * len(cells.years) + year, return_inverse=True)[1]
    root = np.sqrt(cells.papers[used])[:, None]
    effects = np.hstack([np.eye(field.max() + 1)[field], np.eye(venue_year.max() + 1)[venue_year]]) * root
    u, size, _ = np.linalg.svd(effects, full_matrices=False)
    basis = u[:, size > 1e-9 * size.max()]
    regressor = cells.treatment(permuted)[:, used].T * root
    left = regressor - basis @ (basis.T @ regressor)
    squares = (left**2).sum(axis=0)
    identified = squares > 1e-9 * np.maximum((regressor**2).sum(axis=0), 1.0)
    contrasts = np.zeros((len(permuted), *used.shape))
    contrasts[:, used] = np.where(identified, left * root / np.where(identified, squares, 1.0), np.nan).T
    return contrasts


def synthetic_contrasts(cells: Cells, y: FloatArray, permuted: FloatArray, method: Method) -> FloatArray:
    """Return the contrasts of synthetic comparisons of a block without gaps, shape (m, n, T).

    The weights of each assignment are those for outcomes y, shape (n, T); permuted has shape (m, n) and is 0 or 1.
    """
    before, after = y[:, ~cells.after[0]], y[:, cells.after[0]]
    contrasts = np.zeros((len(permuted), *y.shape))
    for contrast, named in zip(contrasts, permuted > 0, strict=True):
        mean, n_treated = before[named].mean(axis=0), int(named.sum())
        if method == "synthetic_did":
            cells_treated = n_treated * after.shape[1]
            weights = synthetic_did_weights(before[~named], after[~named], mean, cells_treated)
        else:
            weights = synthetic_control_weights(before[~named], mean)
        unit = np.where(named, 1 / n_treated, 0.0)
        unit[~named] = -weights.unit
        time = np.full(y.shape[1], 1 / after.shape[1])
        time[~cells.after[0]] = -weights.time
        contrast[:] = np.outer(unit, time)
    return contrasts
