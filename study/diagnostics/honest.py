"""Robust inference under restrictions on violations of parallel trends, on arrays (Rambachan and Roth 2023).

Under smoothness a fixed-length interval rests on the affine estimator with the shortest one, exactly. An estimator that
is unbiased under linear trends is l'betahat plus second differences of betahat: with u the exposure to the changes of
slope that reach after treatment and kappa free weights on those before,

    estimate = (u'change + kappa'before) betahat,   largest bias = M (sum|u| + sum|kappa|).

For a given largest bias, the estimator of least variance solves a lasso in kappa, whose solutions are piecewise
linear in the penalty. On that path the half-length h cv(bias / h) is least where its derivative is zero, which is
one equation in the penalty.

Conditional and hybrid tests give the hull of the effects, and the least change of slope, that they do not reject.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property, partial
from typing import NamedTuple

import numpy as np
from scipy.special import log_ndtr, ndtr

from study.core import BoolArray, FloatArray, QuestionError, quantile

ANGLES = 1440
Ends = tuple[FloatArray, FloatArray]


class Restriction(NamedTuple):
    """A union of P sets of differential trends delta, which has K event times without the reference.

    Set p bounds all changes after treatment: ``|change @ delta| <= M * (constant + within[p] @ delta)``.

    Attributes
    ----------
    change : ndarray, shape (n_post, K)
        Changes of delta that reach after treatment. Their part after treatment is square and invertible.
    within : ndarray, shape (P, K)
        The change before treatment that bounds them; zero where the bound is M itself.
    constant : float
        1 where the bound is M itself, else 0.
    before : ndarray, shape (R, K)
        The changes of delta before treatment.
    n_pre : int
    """

    change: FloatArray
    within: FloatArray
    constant: float
    before: FloatArray
    n_pre: int

    def exposure(self, weights: FloatArray) -> FloatArray:
        """Return u with ``u @ change @ delta`` = weights @ delta after treatment + terms before, (n_post,).

        The bias of the weighted effect is then at most the bound on the changes times the sum of ``|u|``.
        """
        return np.asarray(np.linalg.solve(self.change[:, self.n_pre :].T, weights))


def relative(n_pre: int, n_post: int, order: int) -> Restriction:
    """Return Delta^RM or Delta^SDRM: no change exceeds M times the largest one before treatment.

    Changes are first differences, from one period to the next, or second ones, of the slope. Those before treatment
    include that into the reference.

    References
    ----------
    Rambachan and Roth (2023), Delta^RM (order 1) and Delta^SDRM (order 2).
    """
    changes = differences(n_pre, n_post, order)
    before = changes[:-n_post]
    return Restriction(changes[-n_post:], np.vstack([before, -before]), 0.0, before, n_pre)


def smoothness(n_pre: int, n_post: int) -> Restriction:
    """Return Delta^SD: no change of slope that reaches after treatment exceeds M.

    References
    ----------
    Rambachan and Roth (2023), equation (8). Bounds on changes before treatment alone do not bear on the effect:
    tests leave them out, as HonestDiD does, and fixed-length intervals use them.
    """
    changes = differences(n_pre, n_post, 2)
    return Restriction(changes[-n_post:], np.zeros((1, n_pre + n_post)), 1.0, changes[:-n_post], n_pre)


RESTRICTIONS: Mapping[str, Callable[[int, int], Restriction]] = {
    "relative_magnitudes": partial(relative, order=1),
    "smoothness": smoothness,
    "smoothness_relative": partial(relative, order=2),
}


def differences(n_pre: int, n_post: int, order: int) -> FloatArray:
    """Return the matrix of first or second differences over periods, without the column of the reference."""
    return np.delete(np.diff(np.eye(n_pre + 1 + n_post), n=order, axis=0), n_pre, axis=1)


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
    for _ in range(50 * len(g) + 1):
        used = sign != 0
        base, move = np.zeros(len(g)), np.zeros(len(g))
        active = h[np.ix_(used, used)]
        base[used], move[used] = -np.linalg.solve(active, np.stack([g[used], sign[used]], axis=1)).T
        penalty, which, new = _next_kink(base, move, g + h @ base, h @ move, sign, penalty)
        knots.append(penalty)
        solutions.append(base + penalty * move)
        if which is None:
            return np.array(knots[::-1]), np.array(solutions[::-1])
        sign[which] = new
    raise QuestionError(
        "honest_did: the covariance before treatment is nearly singular; take fewer event times with before=."
    )


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


def least_favourable(moments: Moments, size: float) -> FloatArray:
    """Return c with P(statistic > c) = size for each problem, shape (Q,), by integration and not by draws.

    The statistic is the largest of the vertices' values, which are linear in two normal variables. In polar
    coordinates it is the radius times a function psi of the angle alone, and the radius is Rayleigh, so that
    P(statistic > c) is the mean over angles with psi > 0 of exp(-c^2 / (2 psi^2)).

    References
    ----------
    Andrews, Roth and Pakes (2023), who simulate it.
    """
    psi = _psi(moments)
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


def _psi(moments: Moments) -> FloatArray:
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
NEAR = np.geomspace(1e-7, 0.02, 25)
BETWEEN = np.concatenate([NEAR, np.linspace(0, 1, 40), 1 - NEAR])
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
    half, error = first.half[:, None], first.centre[:, None] - theta
    steep = np.abs(slope) > PARALLEL * half
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
        left[:, None] + (right - left)[:, None] * BETWEEN,
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
    def path(self) -> tuple[FloatArray, FloatArray]:
        """Penalties on the bias, ascending, and kappa at each, shapes (B,) and (B, R); for smoothness."""
        before, centre = self.restriction.before, self.exposure @ self.restriction.change
        return lasso_path(before @ self.sigma @ before.T, before @ self.sigma @ centre)

    def kappa(self, penalty: float) -> FloatArray:
        """Return the weights on changes of slope before treatment, shape (R,)."""
        knots, values = self.path
        return np.array([np.interp(penalty, knots, column) for column in values.T])

    def affine(self, kappa: FloatArray) -> FloatArray:
        """Return the weights on betahat of an estimator of least variance for its largest bias, shape (K,)."""
        return self.exposure @ self.restriction.change + kappa @ self.restriction.before

    def bias_and_deviation(self, kappa: FloatArray) -> tuple[float, float]:
        """Return the largest bias for M = 1 and the standard deviation."""
        weights, exposed = self.affine(kappa), np.append(self.exposure, kappa)
        return float(np.abs(exposed).sum()), float(np.sqrt(weights @ self.sigma @ weights))

    def _shortest(self, m: float, level: float) -> FixedLength:
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
        weights, (bias, deviation) = self.affine(kappa), self.bias_and_deviation(kappa)
        half = deviation * folded_normal_quantile(level, m * bias / deviation)
        return FixedLength(weights, float(weights @ self.betahat), half)

    def shortest(self, m: FloatArray, level: float) -> list[FixedLength]:
        """Return the shortest fixed-length interval for each M."""
        return [self._shortest(float(each), level) for each in m]

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
