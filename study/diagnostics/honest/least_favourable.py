"""The least favourable critical value: the quantile of the statistic when all moments have mean zero."""

from __future__ import annotations

import numpy as np

from study.core import FloatArray, quantile
from study.diagnostics.honest.moments import Moments

ANGLES = 1440
ITERATIONS = 50
TOLERANCE = 1e-12


def least_favourable(moments: Moments, size: float) -> FloatArray:
    """Return c with P(statistic > c) = size for each problem, shape (Q,), by integration and not by draws.

    The statistic is the largest of the vertices' values, which are linear in two normal variables. In polar
    coordinates it is the radius times a function psi of the angle alone, and the radius is Rayleigh, so that
    P(statistic > c) is the mean over angles with psi > 0 of exp(-c^2 / (2 psi^2)).

    References
    ----------
    Andrews, Roth and Pakes (2023), who simulate it.
    """
    psi = _reach(moments)
    with np.errstate(divide="ignore"):
        inverse = np.where(psi > 0, 1 / np.maximum(psi, np.finfo(float).tiny) ** 2, np.inf)
    deviation = np.sqrt(np.einsum("qkk->qk", moments.covariance).max(axis=1))
    c = quantile(1 - size) * deviation
    for _ in range(ITERATIONS):
        tail = np.exp(-np.square(c)[:, None] * inverse / 2)
        slope = c * np.mean(tail * np.where(tail > 0, inverse, 0), axis=1) / tail.mean(axis=1)
        step = np.log(tail.mean(axis=1) / size) / slope
        c = c + step
        if np.all(np.abs(step) <= TOLERANCE * c):
            break
    return c


def _reach(moments: Moments) -> FloatArray:
    """Return psi at equally spaced angles, shape (Q, ANGLES)."""
    angle = 2 * np.pi * np.arange(ANGLES) / ANGLES
    d, v = np.sqrt(moments.spread[:, 0, 0]), np.sqrt(moments.spread[:, 1, 1])
    rho = np.where(v > 0, moments.spread[:, 0, 1] / np.where(v > 0, d * v, 1), 0.0)
    of_d = np.outer(d, np.cos(angle))
    of_v = np.outer(v * rho, np.cos(angle)) + np.outer(v * np.sqrt(1 - rho**2), np.sin(angle))
    lines = (form[:, :1] * of_d + form[:, 1:] * of_v for form in moments.forms.transpose(1, 0, 2))
    return np.maximum.reduce(list(lines))
