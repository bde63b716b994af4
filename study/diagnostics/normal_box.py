"""Probabilities and means of a multivariate normal variable inside a box."""

from __future__ import annotations

import numpy as np
from scipy import special

from study.core import FloatArray

# By number of directions of the product Gauss rule: its nodes in each, and the least conditional standard deviation
# (of variables with variance one) at which they leave an error below 1e-6. Elsewhere, so many points of a lattice.
GAUSS = ((1, 0.0), (80, 0.07), (60, 0.1), (40, 0.2), (20, 0.3))
LATTICE = 50_000
FAR = 8.5


def box_probability(
    low: FloatArray, high: FloatArray, mean: FloatArray, covariance: FloatArray, seed: int = 0
) -> float:
    """Return P(low <= X <= high) for X normal.

    Each variable is conditioned on those before it, and the last is integrated in closed form (Genz 1992). The
    others are integrated by a product Gauss rule for K up to 5, unless a variable is almost explained by those
    before it: the error is below 1e-6, and mostly 1e-12. Else they are integrated after
    Genz's transformation to the unit cube, by a lattice, with an error of about 1e-5.

    Parameters
    ----------
    low, high, mean : ndarray, shape (K,)
    covariance : ndarray, shape (K, K)
        Positive definite.
    seed : int
        Moves the lattice; the Gauss rule draws nothing.

    References
    ----------
    Genz, A. (1992). Numerical computation of multivariate normal probabilities. Journal of Computational and
    Graphical Statistics 1(2).
    """
    if not len(low):
        return 1.0
    spread = np.sqrt(np.diag(covariance))
    low, high = (low - mean) / spread, (high - mean) / spread
    order = np.argsort(_between(low, high), kind="stable")  # the least likely first: the rest varies less
    lower = np.linalg.cholesky((covariance / np.outer(spread, spread))[np.ix_(order, order)])
    if len(low) <= len(GAUSS) and lower.diagonal().min() >= GAUSS[len(low) - 1][1]:
        return _by_gauss(low[order], high[order], lower)
    return _by_lattice(low[order], high[order], lower, seed)


def _by_gauss(low: FloatArray, high: FloatArray, lower: FloatArray) -> float:
    """Integrate a standardised box direction by direction; lower is the Cholesky factor of the correlation."""
    nodes, weights = np.polynomial.legendre.leggauss(GAUSS[len(low) - 1][0])
    drawn, product = np.empty((0, 1)), np.ones(1)
    for _ in range(len(low) - 1):
        start, end = (np.clip(edge, -FAR, FAR) for edge in _limits(low, high, lower, drawn))
        values = start + np.outer((nodes + 1) / 2, end - start)
        density = np.exp(-(values**2) / 2) / np.sqrt(2 * np.pi)
        product = (np.outer(weights / 2, product * (end - start)) * density).ravel()
        drawn = np.vstack([np.tile(drawn, len(nodes)), values.ravel()])
    return float(product @ _between(*_limits(low, high, lower, drawn)))


def _by_lattice(low: FloatArray, high: FloatArray, lower: FloatArray, seed: int) -> float:
    """Average a standardised box's conditional probabilities over the points of a lattice."""
    dimensions, drawn, product = len(low) - 1, np.empty((0, LATTICE)), np.ones(LATTICE)
    # Richtmyer's lattice in the unit cube, moved at random and folded; the n-th prime is at most n^2 + 1.
    primes = [k for k in range(2, dimensions**2 + 2) if all(k % d for d in range(2, k))][:dimensions]
    steps = np.sqrt(np.array(primes, dtype=float))[:, None] * np.arange(1, LATTICE + 1)
    shift = np.random.default_rng(seed).random(dimensions)
    for points in np.abs(2 * ((steps + shift[:, None]) % 1) - 1):
        start, end = _limits(low, high, lower, drawn)
        width = _between(start, end)
        product *= width
        values = special.ndtri(special.ndtr(start) + points * width)
        drawn = np.vstack([drawn, np.clip(values, np.maximum(start, -FAR), np.minimum(end, FAR))])
    return float(np.mean(product * _between(*_limits(low, high, lower, drawn))))


def _limits(
    low: FloatArray, high: FloatArray, lower: FloatArray, drawn: FloatArray
) -> tuple[FloatArray, FloatArray]:
    """Return the limits of the next variable given those drawn, shape (k, m), in its conditional units."""
    k = len(drawn)
    shift, scale = lower[k, :k] @ drawn, lower[k, k]
    return (low[k] - shift) / scale, (high[k] - shift) / scale


def _between(start: FloatArray, end: FloatArray) -> FloatArray:
    """Return standard normal probabilities of intervals, with all digits in the upper tail too."""
    upper = start > 0
    return np.asarray(special.ndtr(np.where(upper, -start, end)) - special.ndtr(np.where(upper, -end, start)))


def box_pull(low: FloatArray, high: FloatArray, mean: FloatArray, covariance: FloatArray) -> FloatArray:
    """Return v with E[X | low <= X <= high] = mean + covariance @ v, shape (K,).

    v_k = (f_k(low_k) - f_k(high_k)) / P, where f_k is the density of X_k times the probability that the others
    are in the box given X_k, and P the box's probability (Tallis 1961; Kan and Robotti 2017). As other variables
    depend on X linearly, E[Y | X in the box] = E[Y] + Cov(Y, X) @ v for Y jointly normal with X.

    Raises
    ------
    ValueError
        If the box has a probability below 1e-100.

    References
    ----------
    Tallis, G. M. (1961). The moment generating function of the truncated multi-normal distribution. Journal of
    the Royal Statistical Society B 23(1).
    """
    total = box_probability(low, high, mean, covariance)
    if total < 1e-100:
        raise ValueError("box_pull: the box has no probability, so no mean inside it can be computed")
    pull = np.empty(len(low))
    for k in range(len(low)):
        others = np.arange(len(low)) != k
        variance, slope = covariance[k, k], covariance[others, k] / covariance[k, k]
        given = covariance[np.ix_(others, others)] - np.outer(slope, covariance[k, others])
        parts = []
        for off in (low[k] - mean[k], high[k] - mean[k]):
            density = np.exp(-(off**2) / (2 * variance)) / np.sqrt(2 * np.pi * variance)
            parts.append(
                density * box_probability(low[others], high[others], mean[others] + slope * off, given)
            )
        pull[k] = (parts[0] - parts[1]) / total
    return pull
