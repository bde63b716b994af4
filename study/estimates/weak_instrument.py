"""How much an instrument moves treatment, with confidence sets of its effect that hold if it is little."""

from __future__ import annotations

import math

import numpy as np
from scipy.linalg import eigvals
from scipy.special import chdtri

from study.core import BoolArray, FloatArray, IntArray, listed, quantile, sums_by
from study.estimates.contrast import Contrast
from study.estimates.vcov.sandwich import covariance

Interval = tuple[float, float]

WEAK = 10.0
UNRELIABLE = (
    "It is weak ({} is below 10): the standard error and interval of the estimate are not to be relied on."
)
ROUNDING, REAL = 1e-13, 1e-8


def lottery_sides(z: FloatArray, seen: BoolArray, n_terms: int) -> Contrast | None:
    """Return the contrast of an estimate of some terms by a lottery, whose sides are winners and losers.

    A lottery is an instrument of two values that is fixed within units, or moves for some of them, all at once. Of
    another one None is returned: the sides are then the treated and the others.

    Parameters
    ----------
    z : ndarray, shape (n, T)
    seen : ndarray of bool, shape (n, T)
    n_terms : int
    """
    values = np.unique(z[seen])
    if len(values) != 2:
        return None
    high, low = seen & (z == values[1]), seen & (z == values[0])
    some, moves = high.any(axis=1), high.any(axis=1) & low.any(axis=1)
    won = moves if moves.any() else some
    apart = (high[won].any(axis=0) & low[won].any(axis=0)).any()
    if apart or won[seen.any(axis=1)].all():
        return None
    return Contrast(group=won.astype(np.int64), treated=np.repeat([[0.0], [1.0]], n_terms, axis=1))


def anderson_rubin(
    psi_b: FloatArray, psi_a: FloatArray, cluster: IntArray, level: float = 0.95, degrees: float = math.inf
) -> tuple[Interval, ...]:
    """Return the values of theta at which the means of L linear scores are not rejected to be zero.

    With sums b_c and a_c of psi_b and psi_a over clusters, s_c = b_c + theta a_c and m = sum_c s_c, these are the theta
    for which m'(sum_c s_c s_c')^-1 m <= q, q the quantile of the chi-squared distribution of L degrees of freedom.

    The statistic is at most the number of clusters with scores, so that with few of them the set covers too often, and
    with three, whose statistic is below the quantile, it excludes nothing. The scores of the model "iivm" of ``dml_iv``
    weigh winners of a lottery by 1 / m(X), so that its sets would cover too seldom with few of them; they take the
    ``degrees`` of freedom that winners and losers leave.

    Parameters
    ----------
    psi_b, psi_a : ndarray, shape (N,) or (N, L)
        The scores are psi_b + theta psi_a, one for each instrument.
    cluster : ndarray of int, shape (N,)
    level : float
    degrees : float
        Where they are finite, of the t distribution whose squared quantile q is for one score.

    Returns
    -------
    tuple of intervals
        In order; the first and the last may be unbounded. With several instruments there may be none.

    References
    ----------
    Anderson, T. W. and H. Rubin (1949). Estimation of the parameters of a single equation in a complete system of
    stochastic equations. Annals of Mathematical Statistics 20(1).
    """
    of_b, of_a = (sums_by(psi.reshape(len(psi), -1), cluster) for psi in (psi_b, psi_a))
    critical = float(chdtri(of_b.shape[1], 1 - level))
    if not math.isinf(degrees):
        critical = quantile((1 + level) / 2, degrees) ** 2
    return not_rejected(of_b.sum(axis=0), of_a.sum(axis=0), of_b, of_a, critical)


def not_rejected(
    b: FloatArray, a: FloatArray, of_b: FloatArray, of_a: FloatArray, critical: float
) -> tuple[Interval, ...]:
    """Return the theta with m'V^-1 m <= q for m = b + theta a and V = (of_b + theta of_a)'(of_b + theta of_a).

    That is where M(theta) = q V - m m' is positive semidefinite. Since m m' has rank one, M changes there only if its
    determinant is zero: at real eigenvalues of the quadratic matrix polynomial M, of which there are 2 L at most.

    Parameters
    ----------
    b, a : ndarray, shape (L,)
    of_b, of_a : ndarray, shape (C, L)
        Influence on b and a by cluster.
    critical : float
        q.
    """
    unit = np.linalg.norm([*of_b, b]) / (np.linalg.norm([*of_a, a]) or 1.0) or 1.0
    size = np.sqrt(np.sum(of_b**2, axis=0) + np.sum((unit * of_a) ** 2, axis=0))
    (b, of_b), (a, of_a) = (b / size, of_b / size), (unit * a / size, unit * of_a / size)
    constant, both, square = (
        critical * left.T @ right - np.outer(m, n)
        for left, right, m, n in ((of_b, of_b, b, b), (of_b, of_a, b, a), (of_a, of_a, a, a))
    )
    half = both + both.T
    eye, zero = np.eye(len(b)), np.zeros((len(b), len(b)))
    companion = np.block([[zero, eye], [-constant, -half]]), np.block([[eye, zero], [zero, square]])
    alpha, beta = eigvals(*companion, homogeneous_eigvals=True)
    finite = np.abs(beta) > ROUNDING * np.abs(alpha)
    roots = alpha[finite] / beta[finite]
    ends = np.sort(roots.real[np.abs(roots.imag) <= REAL * (1 + np.abs(roots))])
    between = (ends[1:] + ends[:-1]) / 2
    inner = [ends[0] - 1 - abs(ends[0]), *between, ends[-1] + 1 + abs(ends[-1])] if len(ends) else [0.0]
    intervals: list[Interval] = []
    for low, high, theta in zip([-math.inf, *ends], [*ends, math.inf], inner, strict=True):
        # Where M touches zero, what lies between the two ends that rounding makes of one root belongs to the set.
        rounding = ROUNDING * critical * (1 + abs(theta)) ** 2
        if np.linalg.eigvalsh(constant + theta * half + theta**2 * square)[0] < -rounding:
            continue
        if intervals and intervals[-1][1] == unit * low:
            intervals[-1] = intervals[-1][0], unit * high
        else:
            intervals.append((unit * low, unit * high))
    return tuple(intervals)


def in_words(intervals: tuple[Interval, ...]) -> str:
    """Say what the 95% set is."""
    start = "The 95% Anderson-Rubin set, which holds however weak the instrument is, is"
    if not intervals:
        return (
            f"{start} empty: no one effect agrees with all instruments, so they move units whose effects differ, or "
            "one of them changes the outcome by another way."
        )
    (low, high), (last, end) = intervals[0], intervals[-1]
    if len(intervals) == 2 and math.isinf(low) and math.isinf(end):
        return (
            f"{start} everything but the values from {high:.4g} to {last:.4g}: it is bounded on neither side."
        )
    if math.isinf(low) and math.isinf(high):
        return f"{start} the whole line: the data exclude no effect."
    return f"{start} {listed([_interval(*each) for each in intervals])}."


def _interval(low: float, high: float) -> str:
    if math.isinf(low) or math.isinf(high):
        return f"everything below {high:.4g}" if math.isinf(low) else f"everything above {low:.4g}"
    return f"from {low:.4g} to {high:.4g}"


def effective_f(effect: FloatArray, cov: FloatArray, gram: FloatArray) -> float:
    """Return the effective F of instruments, p'Qp / tr(V Q).

    Parameters
    ----------
    effect : ndarray, shape (L,)
        What the instruments do to treatment, p.
    cov : ndarray, shape (L, L)
        Its covariance, V.
    gram : ndarray, shape (L, L)
        Sums of products of the instruments, less fixed effects and covariates, Q.

    References
    ----------
    Montiel Olea, J. L. and C. Pflueger (2013). A robust test for weak instruments. Journal of Business and Economic
    Statistics 31(3), equation (8).
    """
    spread = float(np.trace(cov @ gram))
    size = float(effect @ gram @ effect)
    return size / spread if spread > ROUNDING * size else math.inf


def strength(f: float, names: str) -> str:
    """Say what the effective F of instruments is, and whether it is too little for the usual interval."""
    if math.isinf(f):
        return f"First stage: {names} and the covariates say exactly who is treated and when."
    weak = f" {UNRELIABLE.format('the effective F')}" if f < WEAK else ""
    return f"First stage: the effective F of {names} is {f:.3g} (Montiel Olea and Pflueger 2013).{weak}"


def first_stage(moved: FloatArray, size: FloatArray, cluster: IntArray, cause: str) -> str:
    """Say how much the instrument moves treatment, and whether that is too little for the usual interval.

    Parameters
    ----------
    moved, size : ndarray, shape (N, R)
        The effect of the instrument on treatment is the sum of ``moved`` over that of ``size``, in each draw of the
        folds.
    cluster : ndarray of int, shape (N,)
    cause : str
        What moves it, in words.
    """
    effect = moved.sum(axis=0) / size.sum(axis=0)
    influence = len(moved) * ((moved - effect * size) / size.sum(axis=0)).mean(axis=1, keepdims=True)
    error = math.sqrt(covariance(influence, np.unique(cluster, return_inverse=True)[1])[0, 0])
    mean = float(effect.mean())
    moves = f"First stage: {cause} moves the probability of treatment by {mean:.3g}"
    if not error > 1e-10 * abs(mean):
        return f"{moves}, for every unit."
    weak = f" {UNRELIABLE.format('t squared')}" if (mean / error) ** 2 < WEAK else ""
    return f"{moves} (t = {mean / error:.1f}).{weak}"
