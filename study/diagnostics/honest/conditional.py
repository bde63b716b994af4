"""Conditional and hybrid tests: the hull of the effects, and the least change of slope, that they do not reject."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy.special import log_ndtr

from study.core import BoolArray, FloatArray, quantile
from study.diagnostics.honest.restrictions import Restriction, differences

ANGLES = 1440


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
    for _ in range(50):
        tail = np.exp(-np.square(c)[:, None] * inverse / 2)
        slope = c * np.mean(tail * np.where(tail > 0, inverse, 0), axis=1) / tail.mean(axis=1)
        step = np.log(tail.mean(axis=1) / size) / slope
        c = c + step
        if np.all(np.abs(step) <= 1e-12 * c):
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


N_VERTICES = 4


class Moments(NamedTuple):
    """The vertices of Q problems: one for each value of M and each set of the union.

    Attributes
    ----------
    value : ndarray, shape (Q, 4)
        Values of the vertices at theta = 0; they are normal.
    slope : ndarray, shape (Q, 4)
        Their derivatives by theta: negative, positive, zero, zero.
    forms : ndarray, shape (Q, 4, 2)
        Their coefficients on D and V.
    spread : ndarray, shape (Q, 2, 2)
        Covariance of D and V.
    """

    value: FloatArray
    slope: FloatArray
    forms: FloatArray
    spread: FloatArray

    @property
    def covariance(self) -> FloatArray:
        """Covariance of the vertices' values, shape (Q, 4, 4)."""
        return self.forms @ self.spread @ self.forms.transpose(0, 2, 1)

    def at(self, theta: FloatArray) -> FloatArray:
        """Return the values at G values of theta for each problem, shape (Q, G) to (Q, G, 4)."""
        return self.value[:, None, :] + self.slope[:, None, :] * theta[:, :, None]


def moments(
    betahat: FloatArray, sigma: FloatArray, weights: FloatArray, restriction: Restriction, m: FloatArray
) -> Moments:
    """Return the vertices for all values of M and all sets of the restriction, M by M.

    Parameters
    ----------
    betahat, sigma : ndarray, shapes (K,), (K, K)
    weights : ndarray, shape (n_post,)
        The effect is ``weights @ tau``.
    restriction : Restriction
    m : ndarray, shape (m,)
        Not negative.
    """
    u, change, size = restriction.exposure(weights), restriction.change, restriction.within
    up, down = np.maximum(u, 0), np.maximum(-u, 0)
    m, variance = m[:, None, None], np.einsum("pk,kj,pj->p", size, sigma, size)
    # The standard deviations of change_j - M within_p and of -change_j - M within_p, shapes (m, P, n_post).
    common = np.einsum("jk,kl,jl->j", change, sigma, change) + m**2 * variance[:, None]
    above, below = (np.sqrt(common + sign * 2 * m * (size @ sigma @ change.T)) for sign in (-1, 1))
    first, second = above @ up + below @ down, above @ down + below @ up
    pairs = 2 * m / (above + below)
    bound = m[..., 0] * np.abs(u).sum()

    forms = np.zeros((len(m), len(restriction.within), N_VERTICES, 2))
    forms[..., 0, 0], forms[..., 1, 0] = 1 / first, -1 / second
    forms[..., 0, 1], forms[..., 1, 1] = -bound / first, -bound / second
    forms[..., 2, 1], forms[..., 3, 1] = -pairs.max(axis=2), -pairs.min(axis=2)

    centre = u @ change
    means = np.stack(np.broadcast_arrays(centre @ betahat, size @ betahat + restriction.constant), axis=-1)
    spread = np.empty((len(size), 2, 2))
    spread[:, 0, 0] = centre @ sigma @ centre
    spread[:, 0, 1] = spread[:, 1, 0] = size @ sigma @ centre
    spread[:, 1, 1] = variance

    value, flat = np.einsum("mpvf,pf->mpv", forms, means), forms.reshape(-1, N_VERTICES, 2)
    return Moments(value.reshape(-1, N_VERTICES), -flat[..., 0], flat, np.tile(spread, (len(m), 1, 1)))


PARALLEL = 1e-10
OFFSETS = np.geomspace(1e-5, 1e2, 60)
HALVINGS = 50


class FirstStage(NamedTuple):
    """What a hybrid test rejects at once, and conditions the rest of the test on.

    Attributes
    ----------
    cap : ndarray, shape (Q,)
        Values of the statistic above it are rejected.
    centre, half : ndarray, shape (Q,)
        Effects outside ``centre +- half`` are rejected.
    shared : ndarray, shape (Q, 4)
        Covariance of ``centre`` with the vertices.
    """

    cap: FloatArray
    centre: FloatArray
    half: FloatArray
    shared: FloatArray

    @classmethod
    def capped(cls, moments: Moments, cap: FloatArray | float = np.inf) -> FirstStage:
        """Return the one that rejects values of the statistic above the cap, none without one."""
        zero = np.zeros(len(moments.value))
        return cls(zero + cap, zero, zero + np.inf, np.zeros_like(moments.value))


def accepted(moments: Moments, first: FirstStage, size: float, theta: FloatArray) -> BoolArray:
    """Say which effects the test does not reject, shape (Q, G) for theta of shape (Q, G).

    The statistic is rejected if it is positive and exceeds the 1 - size quantile of a normal that is truncated
    to the values at which the same vertex is the maximum and the first stage does not reject, given what is
    independent of it.

    References
    ----------
    Andrews, Roth and Pakes (2023), the conditional and the hybrid test; Rambachan and Roth (2023), the hybrid
    with a fixed-length interval.
    """
    values = moments.at(theta)
    best = values.argmax(axis=2)
    eta = np.take_along_axis(values, best[..., None], axis=2)[..., 0]
    shared = np.take_along_axis(moments.covariance, best[..., None], axis=1)
    variance = np.take_along_axis(shared, best[..., None], axis=2)[..., 0]
    moves = variance > 1e-20
    variance = np.where(moves, variance, 1.0)

    low, high = _range_of_vertex(eta, values, shared / variance[..., None])
    high = np.minimum(high, first.cap[:, None])
    # The first stage's interval covers as long as its error, which moves with the statistic, is small enough.
    slope = np.take_along_axis(first.shared, best, axis=1) / variance
    steep, half, error = np.abs(slope) > PARALLEL, first.half[:, None], first.centre[:, None] - theta
    ends = np.stack([-half - error, half - error]) / np.where(steep, slope, 1.0)
    low = np.maximum(low, eta + np.where(steep, ends.min(axis=0), -np.inf))
    high = np.minimum(high, eta + np.where(steep, ends.max(axis=0), np.inf))
    deviation = np.sqrt(variance)
    p_value = np.where(moves, tail(eta / deviation, low / deviation, high / deviation), 0.0)
    passes = (eta <= first.cap[:, None]) & (np.abs(error) <= half)
    return passes & ((eta <= 0) | (p_value >= size))


def _range_of_vertex(
    eta: FloatArray, values: FloatArray, slopes: FloatArray
) -> tuple[FloatArray, FloatArray]:
    """Return between which values of the statistic its vertex stays the maximum."""
    gap, turn = eta[..., None] - values, 1 - slopes
    ratio = gap / np.where(np.abs(turn) > PARALLEL, turn, 1.0)
    low = eta - np.where(turn > PARALLEL, ratio, np.inf).min(axis=2)
    high = eta + np.where(turn < -PARALLEL, -ratio, np.inf).min(axis=2)
    return low, high


def tail(z: FloatArray, low: FloatArray, high: FloatArray) -> FloatArray:
    """Return P(Z > z | low <= Z <= high) for a standard normal, exact far out in the tails."""
    inner = np.clip(z, low, high)
    top, at, bottom = log_ndtr(-high), log_ndtr(-inner), log_ndtr(-low)
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        inside = np.log1p(-np.exp(top - at)) - np.log1p(-np.exp(top - bottom))
        ratio = np.exp(at - bottom + inside)
    return np.where(z <= low, 1.0, np.where(z >= high, 0.0, ratio))


def hulls(moments: Moments, first: FirstStage, size: float) -> tuple[FloatArray, FloatArray]:
    """Return the smallest and largest effect that is not rejected, shapes (Q,); NaN for a set that is empty.

    The test changes where another vertex becomes the maximum, so effects are tried ever more finely towards
    those, and the ends are found by bisection from the outermost effect that is not rejected.
    """
    theta = _tried(moments, first)
    kept = accepted(moments, first, size, theta)
    last = theta.shape[1] - 1
    ends = np.stack([kept.argmax(axis=1), last - kept[:, ::-1].argmax(axis=1)], axis=1)
    inner = np.take_along_axis(theta, ends, axis=1)
    outer = np.take_along_axis(theta, np.clip(np.add(ends, [-1, 1]), 0, last), axis=1)
    for _ in range(HALVINGS):
        middle = (inner + outer) / 2
        inside = accepted(moments, first, size, middle)
        inner, outer = np.where(inside, middle, inner), np.where(inside, outer, middle)
    inner[~kept.any(axis=1)] = np.nan
    return inner[:, 0], inner[:, 1]


def _tried(moments: Moments, first: FirstStage) -> FloatArray:
    """Return the effects that are tried for each problem, ascending, shape (Q, G)."""
    flat = moments.value[:, 2:].max(axis=1)
    (fall, rise), (down, up) = moments.slope[:, :2].T, moments.value[:, :2].T
    middle = (down - up) / (rise - fall)
    level = np.maximum(flat, up + rise * middle)
    left = np.minimum((level - down) / fall, -down / fall)
    right = np.maximum((level - up) / rise, -up / rise)
    unit = 1 / np.minimum(-fall, rise)
    parts = [
        left[:, None] - unit[:, None] * OFFSETS[::-1],
        left[:, None] + (right - left)[:, None] * np.linspace(0, 1, 40),
        right[:, None] + unit[:, None] * OFFSETS,
    ]
    if np.isfinite(first.half).all():
        within = np.outer([-1, 1], 1 - np.geomspace(1e-9, 1, 40)).ravel()
        parts.append(first.centre[:, None] + first.half[:, None] * within)
    return np.sort(np.hstack(parts), axis=1)


def slope_bounds(betahat: FloatArray, sigma: FloatArray, level: float) -> tuple[float, float]:
    """Return a lower and an upper one-sided bound on the largest change of slope before treatment.

    The lower one is the smallest M that the conditional test, without nuisance parameters, does not reject; the upper
    one is the largest upper end of intervals for each change, where HonestDiD's default grid of M ends.

    Parameters
    ----------
    betahat, sigma : ndarray, shapes (n_pre,), (n_pre, n_pre)
        At least two event times before the reference, which is included.
    level : float

    References
    ----------
    Andrews, Roth and Pakes (2023); Rambachan and Roth (2023).
    """
    changes = differences(len(betahat), 0, 2)
    deviation = np.sqrt(np.einsum("rk,kl,rl->r", changes, sigma, changes))
    sizes, scale = np.abs(changes @ betahat), np.tile(1 / deviation, 2)
    forms = np.vstack([changes, -changes]) * scale[:, None]
    vertices = Moments((forms @ betahat)[None], -scale[None], forms[None], sigma[None])

    def keeps(m: FloatArray) -> BoolArray:
        return accepted(vertices, FirstStage.capped(vertices), 1 - level, m[None])[0]

    tried = np.linspace(0, sizes.max(), 400)
    first = int(keeps(tried).argmax())
    outside, inside = tried[max(first - 1, 0)], tried[first]
    for _ in range(HALVINGS):
        middle = (outside + inside) / 2
        outside, inside = (outside, middle) if keeps(np.array([middle]))[0] else (middle, inside)
    return float(inside), float(np.max(sizes + quantile(level) * deviation))
