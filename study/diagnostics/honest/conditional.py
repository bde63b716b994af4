"""Conditional and hybrid tests of an effect, and the hull of the effects that they do not reject."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import log_ndtr

from study.core import FloatArray
from study.diagnostics.honest.moments import Moments

PARALLEL = 1e-10
NO_VARIANCE = 1e-10
OFFSETS = np.geomspace(1e-5, 1e2, 60)
INSIDE = np.linspace(0, 1, 40)
TOWARDS_ENDS = 1 - np.geomspace(1e-9, 1, 40)
HALVINGS = 50


@dataclass(frozen=True, eq=False)
class FirstStage:
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
    def none(cls, moments: Moments) -> FirstStage:
        """Return the one that rejects nothing."""
        return cls.capped(moments, np.full(len(moments.value), np.inf))

    @classmethod
    def capped(cls, moments: Moments, cap: FloatArray) -> FirstStage:
        """Return the one that rejects large values of the statistic."""
        return cls(cap, np.zeros(len(cap)), np.full(len(cap), np.inf), np.zeros_like(moments.value))


def accepted(moments: Moments, first: FirstStage, size: float, theta: FloatArray) -> NDArray[np.bool_]:
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
    moves = variance > NO_VARIANCE**2
    variance = np.where(moves, variance, 1.0)

    low, high = _range_of_vertex(eta, values, shared / variance[..., None])
    high = np.minimum(high, first.cap[:, None])
    slope = np.take_along_axis(first.shared, best, axis=1) / variance
    error = first.centre[:, None] - theta
    low, high = _range_of_interval(low, high, eta, error, first.half[:, None], slope)
    deviation = np.sqrt(variance)
    p_value = np.where(moves, tail(eta / deviation, low / deviation, high / deviation), 0.0)
    passes = (eta <= first.cap[:, None]) & (np.abs(error) <= first.half[:, None])
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


def _range_of_interval(
    low: FloatArray, high: FloatArray, eta: FloatArray, error: FloatArray, half: FloatArray, slope: FloatArray
) -> tuple[FloatArray, FloatArray]:
    """Narrow the range to values at which the first stage's interval, whose error moves with them, covers."""
    steep = np.abs(slope) > PARALLEL
    per = np.where(steep, slope, 1.0)
    ends = np.stack([(-half - error) / per, (half - error) / per])
    below, above = np.where(steep, ends.min(axis=0), -np.inf), np.where(steep, ends.max(axis=0), np.inf)
    return np.maximum(low, eta + below), np.minimum(high, eta + above)


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
    empty = ~kept.any(axis=1)
    last = theta.shape[1] - 1
    at_low, at_high = kept.argmax(axis=1), last - kept[:, ::-1].argmax(axis=1)
    rows = np.arange(len(theta))
    inner = np.stack([theta[rows, at_low], theta[rows, at_high]], axis=1)
    outer = np.stack(
        [theta[rows, np.maximum(at_low - 1, 0)], theta[rows, np.minimum(at_high + 1, last)]], axis=1
    )
    for _ in range(HALVINGS):
        middle = (inner + outer) / 2
        inside = accepted(moments, first, size, middle)
        inner, outer = np.where(inside, middle, inner), np.where(inside, outer, middle)
    inner[empty] = np.nan
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
        left[:, None] + (right - left)[:, None] * INSIDE,
        right[:, None] + unit[:, None] * OFFSETS,
    ]
    if np.isfinite(first.half).all():
        within = np.append(-TOWARDS_ENDS, TOWARDS_ENDS)
        parts.append(first.centre[:, None] + first.half[:, None] * within)
    return np.sort(np.hstack(parts), axis=1)
