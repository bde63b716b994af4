"""Local polynomial regression at zero, the lower end of a regressor: bandwidth, bias correction, residuals.

The bandwidth is the one at which the asymptotic mean squared error of the local linear intercept is least, with plug-in
pilots as in Calonico, Cattaneo and Farrell (2019), Section 2.3. Estimating the bias of that intercept with the same
bandwidth and taking it off gives the intercept of the local quadratic regression (Calonico, Cattaneo and Farrell 2018).
Regressors are positive and in ascending order.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, NamedTuple

import numpy as np
from scipy.linalg import solve_triangular

from study.core.arrays import FloatArray, IntArray
from study.core.two_by_two import Unidentified

KernelName = Literal["epanechnikov", "triangular", "uniform", "gaussian"]

MATCHES = 3
# The fewest rows that a bandwidth may hold, and how often the variance of a derivative is added to its square.
FEWEST = 21
REGULARISED = 3.0
COLLINEAR = 1e-10


class Kernel(NamedTuple):
    """Weights by distance in bandwidths, and the constant of its rule-of-thumb bandwidth for a density."""

    weight: Callable[[FloatArray], Any]
    constant: float


KERNELS: dict[KernelName, Kernel] = {
    "epanechnikov": Kernel(lambda u: 0.75 * np.maximum(1 - u**2, 0.0), 2.34),
    "triangular": Kernel(lambda u: np.maximum(1 - u, 0.0), 2.576),
    "uniform": Kernel(lambda u: 0.5 * (u <= 1), 1.843),
    "gaussian": Kernel(lambda u: np.exp(-(u**2) / 2) / np.sqrt(2 * np.pi), 1.06),
}


class Local(NamedTuple):
    """A regression on powers of x over the bandwidth, in the rows that have a weight.

    Attributes
    ----------
    rows : ndarray of int, shape (m,)
    weight : ndarray, shape (m,)
    powers, of_outcome : ndarray, shapes (m, p + 1), (p + 1, m)
        Regressors, and the matrix that makes coefficients of outcomes.
    """

    rows: IntArray
    weight: FloatArray
    powers: FloatArray
    of_outcome: FloatArray


def local_polynomial(x: FloatArray, order: int, bandwidth: float, kernel: KernelName) -> Local:
    """Regress on powers of x, weighted by a kernel at zero.

    Raises
    ------
    Unidentified
        If x has too few distinct values within the bandwidth.
    """
    weight = KERNELS[kernel].weight(x / bandwidth)
    rows = np.flatnonzero(weight)
    weight, powers = weight[rows], (x[rows, None] / bandwidth) ** np.arange(order + 1)
    root = np.sqrt(weight)[:, None]
    q, r = np.linalg.qr(root * powers)
    diagonal = np.abs(np.diag(r))
    if len(diagonal) <= order or diagonal.min() < COLLINEAR * diagonal.max():
        raise Unidentified(f"too few distinct values near zero for a polynomial of order {order}")
    return Local(rows, weight, powers, solve_triangular(r, (q * root).T))


def mse_bandwidth(x: FloatArray, y: FloatArray, kernel: KernelName) -> float:
    """Return the bandwidth of least mean squared error of the local linear intercept, from plug-in pilots.

    Each stage estimates the variance at a rule-of-thumb bandwidth, and the bias there with the derivative that the
    bandwidth of the stage before estimates best.

    Raises
    ------
    Unidentified
        If x has too few values, or too few distinct ones near zero.
    """
    if len(x) < FEWEST:
        raise Unidentified(f"{len(x)} units, and it takes {FEWEST} to choose a bandwidth")
    low, high = np.quantile(x, [0.25, 0.75])
    spread = min(float(x.std(ddof=1)), float(high - low) / 1.349)

    def bounded(bandwidth: float) -> float:
        return float(np.fmax(np.fmin(bandwidth, x[-1]), x[FEWEST - 1]))

    pilot = bounded(KERNELS[kernel].constant * spread * len(x) ** -0.2)

    def best(order: int, derivative: int, of_bias: float, regularised: float) -> float:
        near, wide = (local_polynomial(x, p, h, kernel) for p, h in ((order, pilot), (order + 1, of_bias)))
        spread_near, spread_wide = (
            fit.of_outcome[row] * nearest_residuals(x[fit.rows], y[fit.rows])
            for fit, row in ((near, derivative), (wide, -1))
        )
        bias = near.of_outcome[derivative] @ (x[near.rows] / of_bias) ** (order + 1)
        coefficient = wide.of_outcome[-1] @ y[wide.rows]
        squared = bias**2 * (coefficient**2 + regularised * np.sum(spread_wide**2))
        with np.errstate(divide="ignore", invalid="ignore"):
            ratio = (2 * derivative + 1) * np.sum(spread_near**2) / (2 * (order + 1 - derivative) * squared)
        return bounded(pilot * ratio ** (1 / (2 * order + 3)))

    third = best(3, 3, float(x[-1] - x[0]), 0.0)
    second = best(2, 2, third, REGULARISED)
    return best(1, 0, second, REGULARISED)


def nearest_residuals(x: FloatArray, y: FloatArray) -> FloatArray:
    """Return outcomes less the mean of the three nearest others, and all as near, scaled to the errors' variance.

    Abadie and Imbens (2006): with J others the factor is sqrt(J / (J + 1)).
    """
    n = len(x)
    place = np.arange(n)[:, None] + np.arange(-MATCHES, MATCHES + 1)
    inside = (place >= 0) & (place < n)
    value = x[np.clip(place, 0, n - 1)]
    distance = np.where(inside, np.abs(value - x[:, None]), np.inf)
    near = inside & (distance <= np.sort(distance, axis=1)[:, [MATCHES]])
    first = np.searchsorted(x, np.where(near, value, np.inf).min(axis=1), side="left")
    after = np.searchsorted(x, np.where(near, value, -np.inf).max(axis=1), side="right")
    deviation = y - y.mean()
    total = np.concatenate([[0.0], np.cumsum(deviation)])
    others = after - first - 1
    mean = (total[after] - total[first] - deviation) / others
    return np.asarray(np.sqrt(others / (others + 1)) * (deviation - mean))
