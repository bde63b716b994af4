"""Robust intervals for an effect by restriction and method, and how strong a violation they withstand."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from study.core import FloatArray
from study.diagnostics.honest.conditional import FirstStage, Moments, hulls, least_favourable, moments
from study.diagnostics.honest.flci import FixedLength, Frontier
from study.diagnostics.honest.restrictions import Restriction

Ends = tuple[FloatArray, FloatArray]


@dataclass(frozen=True, eq=False)
class Problem:
    """An effect ``weights @ tau``, what is known of it, and how trends may differ.

    Attributes
    ----------
    betahat, sigma : ndarray, shapes (K,), (K, K)
        Estimates by event time without the reference, ascending, and their covariance.
    weights : ndarray, shape (n_post,)
    restriction : Restriction
    level : float
        Coverage of the intervals.
    """

    betahat: FloatArray
    sigma: FloatArray
    weights: FloatArray
    restriction: Restriction
    level: float = 0.95

    @property
    def estimate(self) -> float:
        """The effect under parallel trends."""
        return float(self.weights @ self.betahat[self.restriction.n_pre :])

    @property
    def std_error(self) -> float:
        """Its standard error."""
        n_pre = self.restriction.n_pre
        return float(np.sqrt(self.weights @ self.sigma[n_pre:, n_pre:] @ self.weights))

    @cached_property
    def exposure(self) -> FloatArray:
        """Weights of the effect on the changes that are bounded, shape (n_post,)."""
        return self.restriction.exposure(self.weights)

    @cached_property
    def centre(self) -> float:
        """The estimate around which the bounds are, for every M."""
        return float(self.exposure @ self.restriction.change @ self.betahat)

    @cached_property
    def largest_bias(self) -> float:
        """The largest bias for M = 1 at the estimates."""
        size = self.restriction.constant + (self.restriction.within @ self.betahat).max()
        return float(np.abs(self.exposure).sum() * size)

    @cached_property
    def overturning(self) -> float:
        """The least M for which the bounds at the estimates, without sampling error, contain zero."""
        return abs(self.centre) / self.largest_bias

    @cached_property
    def frontier(self) -> Frontier:
        """The affine estimators for fixed-length intervals."""
        return Frontier(self.restriction, self.sigma, self.exposure)

    def shortest(self, m: FloatArray, level: float) -> list[FixedLength]:
        """Return the shortest fixed-length interval for each M."""
        return [self.frontier.shortest(self.betahat, float(each), level) for each in m]

    def moments(self, m: FloatArray) -> Moments:
        """Return the vertices of the tests for each M and set of the restriction."""
        return moments(self.betahat, self.sigma, self.weights, self.restriction, m)


def conditional(problem: Problem, m: FloatArray) -> Ends:
    """Return the hull of the conditional test's confidence set for each M, shapes (m,)."""
    vertices = problem.moments(m)
    return _united(vertices, FirstStage.capped(vertices), 1 - problem.level, len(m))


def least_favourable_hybrid(problem: Problem, m: FloatArray) -> Ends:
    """Return the hull of the hybrid set whose first stage has the least favourable critical value."""
    vertices, (size, first_size) = problem.moments(m), _sizes(problem.level)
    first = FirstStage.capped(vertices, least_favourable(vertices, first_size))
    return _united(vertices, first, size, len(m))


def fixed_length_hybrid(problem: Problem, m: FloatArray) -> Ends:
    """Return the hull of the hybrid set whose first stage is a fixed-length interval; one set, smoothness."""
    vertices, (size, first_size) = problem.moments(m), _sizes(problem.level)
    intervals = problem.shortest(m, 1 - first_size)
    with_centre = problem.exposure @ problem.restriction.change @ problem.sigma
    shared = vertices.forms[:, :, 0] * np.array([[with_centre @ each.weights] for each in intervals])
    centre, half = _centre_and_half(intervals)
    return _united(vertices, FirstStage(np.full(len(m), np.inf), centre, half, shared), size, len(m))


def fixed_length(problem: Problem, m: FloatArray) -> Ends:
    """Return the shortest fixed-length interval for each M, shapes (m,)."""
    centre, half = _centre_and_half(problem.shortest(m, problem.level))
    return centre - half, centre + half


def _centre_and_half(intervals: list[FixedLength]) -> FloatArray:
    return np.array([(each.centre, each.half) for each in intervals]).T


METHODS: dict[str, Callable[[Problem, FloatArray], Ends]] = {
    "FLCI": fixed_length,
    "conditional": conditional,
    "C-LF": least_favourable_hybrid,
    "C-F": fixed_length_hybrid,
}


def _sizes(level: float) -> tuple[float, float]:
    """Return the size of the second stage given that the first does not reject, and that of the first."""
    size, first = 1 - level, 0.1 * (1 - level)
    return (size - first) / (1 - first), first


def _united(vertices: Moments, first: FirstStage, size: float, n: int) -> Ends:
    """Return the hull over the sets of the union, of which some may be empty for an M, but not all.

    With the largest change before treatment, and its sign, the bounds hold at the estimates for some effect, and
    the statistic is then not positive. A fixed-length first stage that leaves such effects out conditions on
    them near its end, where the test does not reject.
    """
    low, high = (ends.reshape(n, -1) for ends in hulls(vertices, first, size))
    return np.nanmin(low, axis=1), np.nanmax(high, axis=1)


def breakdown(problem: Problem, method: str) -> float | None:
    """Return the largest M for which zero is outside the interval; None where there is none.

    From ``overturning`` on (and, for fixed-length intervals, from the largest change of slope before treatment
    on) zero is inside. Below it, the last of a grid of M at which zero is outside is refined by root finding.
    """
    from scipy.optimize import brentq

    def distance(m: FloatArray) -> FloatArray:
        """Return how far zero is outside each interval, negative inside."""
        low, high = METHODS[method](problem, m)
        return np.maximum(low, -high)

    most = problem.overturning
    if method in ("FLCI", "C-F"):
        most = max(most, np.abs(problem.restriction.before @ problem.betahat).max(initial=0.0))
    strengths = most * np.append(np.linspace(0, 1, 48), 1.01)
    outside = np.flatnonzero(distance(strengths) > 0)
    if not len(outside):
        return None
    last, next_inside = strengths[outside[-1]], strengths[outside[-1] + 1]
    return float(brentq(lambda m: float(distance(np.array([m]))[0]), last, next_inside, xtol=1e-12 * most))
