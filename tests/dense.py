"""Regressions written out plainly, with a column for every dummy, against which designs are held."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import statsmodels.api as sm
from numpy.typing import NDArray

from study.panel.question import Sample

FloatArray = NDArray[np.float64]


class Rows(NamedTuple):
    """The observations of a regression: number of the unit and of the period of each, shape (m,)."""

    unit: NDArray[np.int64]
    period: NDArray[np.int64]


class Dense(NamedTuple):
    """Coefficients (k,), their CR0 covariance (k, k), the rank of all columns, observations, fitted means."""

    effect: FloatArray
    covariance: FloatArray
    rank: int
    n_obs: int
    fitted: FloatArray


def rows(sample: Sample, used: NDArray[np.bool_]) -> Rows:
    """Return the cells of units or of units and periods that are seen with all their varying covariates."""
    seen = sample.observed & ~np.isnan(sample.x_varying).any(axis=2)
    return Rows(*np.nonzero(seen & (used if used.ndim == 2 else used[:, None])))


def compared(sample: Sample) -> NDArray[np.bool_]:
    """Return who is treated in the window or may be compared with those who are, over all periods, shape (n,)."""
    first = sample.first_treated
    late = first - sample.question.anticipation > sample.periods[-1]
    return ~late | (sample.question.comparison == "not_yet_treated")


def cells_of_cohorts(sample: Sample, from_event_time: float = -np.inf) -> list[tuple[float, int]]:
    """Return cohorts and periods from an event time on, but not the base period, in that order."""
    base = -1 - sample.question.anticipation
    return [
        (g, int(t))
        for g in sample.cohorts
        for t in sample.periods
        if t - g >= from_event_time and t - g != base
    ]


def in_cells(sample: Sample, at: Rows, cells: list[tuple[float, int]]) -> FloatArray:
    """Return one indicator for each cohort and period, shape (m, K)."""
    first, time = sample.first_treated[at.unit], sample.periods[at.period]
    return np.column_stack([(first == g) & (time == t) for g, t in cells]).astype(float)


def dummies(*labels: NDArray[Any]) -> FloatArray:
    """Return an indicator for each distinct value, or tuple of values, shape (m, number of values)."""
    _, code = np.unique(np.column_stack(labels), axis=0, return_inverse=True)
    return (code.reshape(-1, 1) == np.arange(code.max() + 1)).astype(float)


def two_way(at: Rows) -> FloatArray:
    """Return a dummy for every unit and period but the first."""
    return np.hstack([dummies(at.unit), dummies(at.period)[:, 1:]])


def least_squares(
    y: FloatArray, regressors: FloatArray, others: FloatArray, weights: FloatArray, cluster: NDArray[np.int64]
) -> Dense:
    """Regress on the regressors and other columns by statsmodels; coefficients are those of the regressors."""
    x, k = np.hstack([regressors, others]), regressors.shape[1]
    model = sm.WLS(y, x, weights)
    fit = model.fit(cov_type="cluster", cov_kwds={"groups": cluster, "use_correction": False})
    return Dense(fit.params[:k], fit.cov_params()[:k, :k], model.rank, len(y), fit.fittedvalues)


def poisson(
    y: FloatArray, regressors: FloatArray, others: FloatArray, weights: FloatArray, cluster: NDArray[np.int64]
) -> Dense:
    """Regress by Poisson likelihood on linearly independent columns; coefficients are those of the regressors."""
    x, k = np.hstack([regressors, others]), regressors.shape[1]
    model = sm.GLM(y, x, sm.families.Poisson(), freq_weights=weights)
    mean = model.fit(tol=1e-11, tol_criterion="params", maxiter=200)
    bread = np.linalg.inv((x * (weights * mean.fittedvalues)[:, None]).T @ x)
    scores = np.zeros((cluster.max() + 1, x.shape[1]))
    np.add.at(scores, cluster, x * (weights * (y - mean.fittedvalues))[:, None])
    covariance = bread @ scores.T @ scores @ bread
    return Dense(mean.params[:k], covariance[:k, :k], x.shape[1], len(y), mean.fittedvalues)


def fixest_factor(fit: Dense, n_clusters: int, nested: int) -> float:
    """Return G/(G-1) (N-1)/(N-k), where k counts all columns but those of ``nested`` unit effects less one."""
    df_k = fit.rank - max(nested - 1, 0)
    return n_clusters / (n_clusters - 1) * (fit.n_obs - 1) / (fit.n_obs - df_k)
