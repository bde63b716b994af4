"""Robust intervals for an effect by restriction and method, and how strong a violation they withstand."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from study.core import FloatArray
from study.diagnostics.honest.conditional import FirstStage, hulls, least_favourable, moments
from study.diagnostics.honest.flci import FixedLength, Frontier, frontier
from study.diagnostics.honest.restrictions import Restriction

FIRST_STAGE = 0.1
STRENGTHS = 48

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
        return frontier(self.sigma, self.weights, self.restriction)

    def shortest(self, m: FloatArray, level: float) -> list[FixedLength]:
        """Return the shortest fixed-length interval for each M."""
        return [self.frontier.shortest(self.betahat, float(one), level) for one in m]


def conditional(problem: Problem, m: FloatArray) -> Ends:
    """Return the hull of the conditional test's confidence set for each M, shapes (m,)."""
    made = moments(problem.betahat, problem.sigma, problem.weights, problem.restriction, m)
    ends = hulls(made, FirstStage.none(made), 1 - problem.level)
    return _united(*ends, len(m))


def least_favourable_hybrid(problem: Problem, m: FloatArray) -> Ends:
    """Return the hull of the hybrid set whose first stage has the least favourable critical value."""
    made = moments(problem.betahat, problem.sigma, problem.weights, problem.restriction, m)
    size, first_size = _sizes(problem.level)
    first = FirstStage.capped(made, least_favourable(made, first_size))
    return _united(*hulls(made, first, size), len(m))


def fixed_length_hybrid(problem: Problem, m: FloatArray) -> Ends:
    """Return the hull of the hybrid set whose first stage is a fixed-length interval; one set, smoothness."""
    made = moments(problem.betahat, problem.sigma, problem.weights, problem.restriction, m)
    size, first_size = _sizes(problem.level)
    intervals = problem.shortest(m, 1 - first_size)
    with_centre = problem.exposure @ problem.restriction.change @ problem.sigma
    shared = made.forms[:, :, 0] * np.array([with_centre @ one.weights for one in intervals])[:, None]
    first = FirstStage(
        np.full(len(m), np.inf),
        np.array([one.centre for one in intervals]),
        np.array([one.half for one in intervals]),
        shared,
    )
    return _united(*hulls(made, first, size), len(m))


def fixed_length(problem: Problem, m: FloatArray) -> Ends:
    """Return the shortest fixed-length interval for each M, shapes (m,)."""
    intervals = problem.shortest(m, problem.level)
    centre, half = np.array([one.centre for one in intervals]), np.array([one.half for one in intervals])
    return centre - half, centre + half


METHODS: dict[str, Callable[[Problem, FloatArray], Ends]] = {
    "FLCI": fixed_length,
    "conditional": conditional,
    "C-LF": least_favourable_hybrid,
    "C-F": fixed_length_hybrid,
}


def _sizes(level: float) -> tuple[float, float]:
    """Return the size of the second stage given that the first does not reject, and that of the first."""
    size, first = 1 - level, FIRST_STAGE * (1 - level)
    return (size - first) / (1 - first), first


def _united(low: FloatArray, high: FloatArray, n: int) -> Ends:
    """Return the hull over the sets of the union, of which some may be empty for an M, but not all.

    With the largest change before treatment, and its sign, the bounds hold at the estimates for some effect, and
    the statistic is then not positive. A fixed-length first stage that leaves such effects out conditions on
    them near its end, where the test does not reject.
    """
    return np.nanmin(low.reshape(n, -1), axis=1), np.nanmax(high.reshape(n, -1), axis=1)


def breakdown(problem: Problem, method: str) -> float | None:
    """Return the largest M for which zero is outside the interval; None where there is none.

    From ``overturning`` on (and, for fixed-length intervals, from the largest change of slope before treatment
    on) zero is inside. Below it, the last of a grid of M at which zero is outside is refined by root finding.
    """
    from scipy.optimize import brentq

    most = problem.overturning
    if method in ("FLCI", "C-F"):
        most = max(most, np.abs(problem.restriction.before @ problem.betahat).max(initial=0.0))
    strengths = most * np.append(np.linspace(0, 1, STRENGTHS), 1.01)
    outside = np.flatnonzero(_distance(*METHODS[method](problem, strengths)) > 0)
    if not len(outside):
        return None
    k = outside[-1]

    def distance(m: float) -> float:
        return float(_distance(*METHODS[method](problem, np.array([m])))[0])

    return float(brentq(distance, strengths[k], strengths[k + 1], xtol=1e-12 * most))


def _distance(low: FloatArray, high: FloatArray) -> FloatArray:
    """Return how far zero is outside each interval, negative inside."""
    return np.maximum(low, -high)
