"""Local polynomial regression at zero in plain loops, from the formulas of the literature."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

WEIGHTS: dict[str, tuple[Callable[[float], float], float]] = {
    "epanechnikov": (lambda u: 0.75 * (1 - u * u) if u < 1 else 0.0, 2.34),
    "triangular": (lambda u: 1 - u if u < 1 else 0.0, 2.576),
    "uniform": (lambda u: 0.5 if u <= 1 else 0.0, 1.843),
    "gaussian": (lambda u: math.exp(-u * u / 2) / math.sqrt(2 * math.pi), 1.06),
}


def regression(
    x: list[float], y: list[float], order: int, h: float, kernel: str, weights: list[float] | None = None
) -> tuple[np.ndarray, np.ndarray, list[float]]:
    """Return coefficients, the inverse of the sum of w r r', and the weights of the rows; y can be of arrays."""
    gram, cross, used = np.zeros((order + 1, order + 1)), 0.0, []
    for i in range(len(x)):
        w = WEIGHTS[kernel][0](x[i] / h) / h * (1.0 if weights is None else weights[i])
        used.append(w)
        r = np.array([x[i] ** p for p in range(order + 1)])
        gram += w * np.outer(r, r)
        cross = cross + np.multiply.outer(w * r, y[i])
    inverse = np.linalg.inv(gram)
    return inverse @ cross, inverse, used


def nearest(x: list[float], y: list[float], used: list[float]) -> list[float]:
    """Return the residuals from the three nearest rows that are used, and all rows as near as these."""
    residuals = []
    for i in range(len(x)):
        if used[i] == 0:
            residuals.append(0.0)
            continue
        others = sorted((abs(x[j] - x[i]), y[j]) for j in range(len(x)) if j != i and used[j] > 0)
        near = [value for distance, value in others if distance <= others[2][0] * (1 + 1e-9)]
        residuals.append(math.sqrt(len(near) / (len(near) + 1)) * (y[i] - sum(near) / len(near)))
    return residuals


def variance(x: list[float], y: list[float], order: int, which: int, h: float, kernel: str) -> float:
    """Return the variance of a coefficient with residuals from nearest neighbours."""
    _, inverse, used = regression(x, y, order, h, kernel)
    residuals, middle = nearest(x, y, used), np.zeros((order + 1, order + 1))
    for i in range(len(x)):
        r = np.array([x[i] ** p for p in range(order + 1)])
        middle += (used[i] * residuals[i]) ** 2 * np.outer(r, r)
    return float((inverse @ middle @ inverse)[which, which])


def leading_bias(x: list[float], order: int, which: int, h: float, kernel: str) -> float:
    """Return the bias of a coefficient for a coefficient of one of the power that is left out."""
    return float(regression(x, [v ** (order + 1) for v in x], order, h, kernel)[0][which])


def bandwidth(x: list[float], y: list[float], kernel: str) -> float:
    """Return [(2v+1) V / (2(p+1-v) N (B^2 + R))]^(1/(2p+3)) of the local linear intercept, from three stages."""
    n = len(x)
    quartiles = np.quantile(x, [0.25, 0.75])
    pilot = WEIGHTS[kernel][1] * min(np.std(x, ddof=1), (quartiles[1] - quartiles[0]) / 1.349) * n**-0.2
    least, most = sorted(x)[20], max(x)

    def stage(p: int, v: int, of_bias: float, regularised: bool) -> float:
        big_v = n * h ** (2 * v + 1) * variance(x, y, p, v, h, kernel)
        constant = leading_bias(x, p, v, h, kernel) * h ** (v - p - 1)
        b = constant * regression(x, y, p + 1, of_bias, kernel)[0][p + 1]
        extra = 3 * constant**2 * variance(x, y, p + 1, p + 1, of_bias, kernel) if regularised else 0.0
        best = ((2 * v + 1) * big_v / (2 * (p + 1 - v) * n * (b**2 + extra))) ** (1 / (2 * p + 3))
        return float(max(min(best, most), least))

    h = max(min(pilot, most), least)
    third = stage(3, 3, max(x) - min(x), False)
    second = stage(2, 2, third, True)
    return stage(1, 0, second, True)


def slope(
    d: list[float], dy: list[float], h: float, kernel: str, weights: list[float] | None = None
) -> tuple[float, float]:
    """Return the weighted average slope without and with bias correction."""
    weights = [1.0] * len(d) if weights is None else weights
    total = sum(weights)
    mean_d = sum(w * v for w, v in zip(weights, d, strict=True)) / total
    mean_y = sum(w * v for w, v in zip(weights, dy, strict=True)) / total
    intercept = regression(d, dy, 1, h, kernel, weights)[0][0]
    curvature = regression(d, dy, 2, h, kernel, weights)[0][2]
    bias = regression(d, [v * v for v in d], 1, h, kernel, weights)[0][0] * curvature
    return (mean_y - intercept) / mean_d, (mean_y - intercept + bias) / mean_d


def yatchew(d: list[float], dy: list[float], order: int) -> tuple[float, float, float]:
    """Return both variances and the statistic that is robust to heteroskedasticity."""
    pairs = sorted(zip(d, dy, strict=True))
    basis = np.array([[a**p for p in range(order + 1)] for a, _ in pairs])
    y = [b for _, b in pairs]
    fitted = basis @ np.linalg.lstsq(basis, np.array(y), rcond=None)[0]
    e, n = [a - b for a, b in zip(y, fitted, strict=True)], len(y)
    of_fit = sum(v * v for v in e) / (n - 1)
    of_differences = sum((y[i] - y[i - 1]) ** 2 for i in range(1, n)) / (2 * (n - 1))
    spread = sum((e[i] * e[i - 1]) ** 2 for i in range(1, n)) / (n - 1)
    return of_fit, of_differences, math.sqrt(n) * (of_fit - of_differences) / math.sqrt(spread)
