"""Fixed-length confidence intervals under smoothness: the affine estimator with the shortest one, exactly.

An estimator that is unbiased under linear trends is l'betahat plus second differences of betahat: with u the
exposure to the changes of slope that reach after treatment and kappa free weights on those before,

    estimate = (u'change + kappa'before) betahat,   largest bias = M (sum|u| + sum|kappa|).

For a given largest bias, the estimator of least variance solves a lasso in kappa, whose solutions are piecewise
linear in the penalty. On that path the half-length h cv(bias / h) is least where its derivative is zero, which is
one equation in the penalty.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
from scipy.special import ndtr

from study.core import FloatArray, QuestionError, quantile
from study.diagnostics.honest.restrictions import Restriction


class FixedLength(NamedTuple):
    """An affine estimator and its interval.

    Attributes
    ----------
    weights : ndarray, shape (K,)
        The estimator's weights on betahat.
    centre, half : float
        The interval is centre +- half.
    """

    weights: FloatArray
    centre: float
    half: float


@dataclass(frozen=True, eq=False)
class Frontier:
    """The estimators that have the least variance for their largest bias.

    Attributes
    ----------
    restriction : Restriction
        Smoothness.
    sigma : ndarray, shape (K, K)
    exposure : ndarray, shape (n_post,)
    """

    restriction: Restriction
    sigma: FloatArray
    exposure: FloatArray

    @cached_property
    def path(self) -> tuple[FloatArray, FloatArray]:
        """Penalties, ascending, and kappa at each, shapes (B,) and (B, R)."""
        before, centre = self.restriction.before, self.exposure @ self.restriction.change
        return lasso_path(before @ self.sigma @ before.T, before @ self.sigma @ centre)

    def kappa(self, penalty: float) -> FloatArray:
        """Return the weights on changes of slope before treatment, shape (R,)."""
        knots, values = self.path
        return np.array([np.interp(penalty, knots, column) for column in values.T])

    def weights(self, kappa: FloatArray) -> FloatArray:
        """Return the weights on betahat, shape (K,)."""
        return self.exposure @ self.restriction.change + kappa @ self.restriction.before

    def bias_and_deviation(self, kappa: FloatArray) -> tuple[float, float]:
        """Return the largest bias for M = 1 and the standard deviation."""
        weights, exposed = self.weights(kappa), np.append(self.exposure, kappa)
        return float(np.abs(exposed).sum()), float(np.sqrt(weights @ self.sigma @ weights))

    def shortest(self, betahat: FloatArray, m: float, level: float) -> FixedLength:
        """Return the shortest fixed-length interval.

        References
        ----------
        Rambachan and Roth (2023), optimal fixed-length intervals; Armstrong and Kolesar (2018).
        """
        from scipy.optimize import brentq

        highest = float(self.path[0][-1])

        def excess(penalty: float) -> float:
            bias, deviation = self.bias_and_deviation(self.kappa(penalty))
            ratio = m * bias / deviation
            critical = folded_normal_quantile(level, ratio)
            slope = float(np.tanh(critical * ratio))  # the derivative of the critical value by the ratio
            return penalty * (critical - ratio * slope) - m * deviation * slope

        penalty = 0.0
        if m > 0:
            penalty = highest if excess(highest) <= 0 else brentq(excess, 0.0, highest, xtol=1e-15 * highest)
        kappa = self.kappa(penalty)
        weights, (bias, deviation) = self.weights(kappa), self.bias_and_deviation(kappa)
        half = deviation * folded_normal_quantile(level, m * bias / deviation)
        return FixedLength(weights, float(weights @ betahat), half)


def folded_normal_quantile(level: float, mean: float) -> float:
    """Return c with P(|N(mean, 1)| <= c) = level, for a mean of at least zero and a level of at least a half."""
    from scipy.optimize import brentq

    most = mean + quantile((1 + level) / 2) + 1
    return float(brentq(lambda c: ndtr(c - mean) - ndtr(-c - mean) - level, mean, most, xtol=1e-15))


def lasso_path(h: FloatArray, g: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return all kinks of argmin x'hx/2 + g'x + penalty * sum|x| from penalty 0 on.

    Parameters
    ----------
    h, g : ndarray, shapes (R, R), (R,)
        h is positive definite.

    Returns
    -------
    penalties, solutions : ndarray, shapes (B,), (B, R)
        Ascending; the last penalty is the least at which the solution is zero.

    References
    ----------
    Osborne, Presnell and Turlach (2000).
    """
    penalty = float(np.abs(g).max(initial=0.0))
    knots, solutions = [penalty], [np.zeros(len(g))]
    sign = np.zeros(len(g))
    for _ in range(50 * len(g)):
        used = sign != 0
        base, move = np.zeros(len(g)), np.zeros(len(g))
        if used.any():
            active = h[np.ix_(used, used)]
            base[used], move[used] = -np.linalg.solve(active, np.stack([g[used], sign[used]], axis=1)).T
        penalty, which, new = _next_kink(base, move, g + h @ base, h @ move, sign, penalty)
        knots.append(penalty)
        solutions.append(base + penalty * move)
        if which is None:
            return np.array(knots[::-1]), np.array(solutions[::-1])
        sign[which] = new
    if len(g):
        raise QuestionError(
            "honest_did: the covariance before treatment is nearly singular; take fewer event times with before=."
        )
    return np.zeros(1), np.zeros((1, 0))


def _next_kink(
    base: FloatArray, move: FloatArray, pull: FloatArray, turn: FloatArray, sign: FloatArray, penalty: float
) -> tuple[float, int | None, float]:
    """Return the next smaller penalty at which a coordinate leaves or reaches zero, which, and its new sign.

    A coordinate in use is base + penalty * move and reaches zero if it shrinks with the penalty. One at zero
    leaves it where its slope pull + penalty * turn is as large as the penalty and shrinks more slowly.
    """
    best: tuple[float, int | None, float] = (0.0, None, 0.0)
    for j in range(len(base)):
        if sign[j] != 0:
            kinks = [(-base[j] / move[j], 0.0)] if sign[j] * move[j] > 0 else []
        else:
            kinks = [(side * pull[j] / (1 - side * turn[j]), -side) for side in (1, -1) if side * turn[j] < 1]
        for at, new in kinks:
            if best[0] < at <= penalty * (1 + 1e-10):
                best = (min(at, penalty), j, new)
    return best
