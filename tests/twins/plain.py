"""What twins are made of: estimates as functions of the units' weights, and their derivatives to the last digit.

A twin's estimate is an analytic function of the weights of units, so that the influence of unit i on it, n times the
derivative by log w_i, is the imaginary part at a weight with a tiny imaginary part: no step to choose, nothing lost.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import qr
from scipy.optimize import linprog

from study.panel.question import Sample

Array = NDArray[np.float64]
Key = tuple[float, float, float]  # cohort, period, event time; NaN where a term has none

TINY = 1e-40
COLLINEAR = 1e-9
DISTINCT = 1e-4
NO_MEAN = 1e-11
NAN = float("nan")


class Refused(Exception):
    """There is no answer, so that the design has to refuse."""


class Unsettled(Exception):
    """The answer depends on rounding or on a convention that is not a fact: nothing is compared."""


class Values(NamedTuple):
    """Effects, untreated means and sizes by which averages weight, shape (K,), at some weights of units."""

    effect_level: Array
    untreated: Array
    size: Array


class Answer(NamedTuple):
    """What a design has to answer.

    ``terms`` are those with an estimate, ``references`` those that are zero; ``open`` are terms that the design may
    have or not. ``at`` gives effects of the terms at weights of units, which may be complex. Where they are given,
    ``n_obs``, and of regressions ``rank``, the unit effects ``nested`` in the clusters and the clusters that have a
    row are compared too.
    """

    terms: list[Key]
    references: list[Key]
    at: Callable[[Array], Values]
    open: Sequence[Key] = ()
    n_obs: int | None = None
    rank: int | None = None
    nested: int = 0
    clusters: int | None = None
    shares_fixed: bool = False
    averages: bool = True


def effects(sample: Sample, values: Values) -> Array:
    """Return effects on the question's scale."""
    if sample.question.scale != "proportional":
        return values.effect_level
    zero = NO_MEAN * np.nanmax(np.abs(sample.y))
    untreated = np.where(values.untreated.real > zero, values.untreated, np.nan)
    with np.errstate(invalid="ignore"):
        return values.effect_level / untreated


def derivative(sample: Sample, at: Callable[[Array], Array]) -> Array:
    """Return n times the derivative by the logarithm of each unit's weight, shape (n, K)."""
    n = sample.n_units
    rows = []
    for i in range(n):
        weights = sample.weights.astype(complex)
        weights[i] += weights[i] * TINY * 1j
        rows.append(n * at(weights).imag / TINY)
    return np.array(rows)


class Regression:
    """A weighted regression with every column written out; ``y`` (m,), ``x`` (m, p), ``unit`` (m,)."""

    def __init__(self, y: Array, x: Array, unit: NDArray[np.int64], weights: Array) -> None:
        size = np.sqrt((x**2).sum(axis=0))
        self.y, self.unit, self.scale = y, unit, np.where(size > 0, size, 1.0)
        self.x = x / self.scale
        if not len(y):
            self.space, self.kept = np.zeros((0, x.shape[1])), np.zeros(0, dtype=int)
            return
        _, values, right = np.linalg.svd(self.x)
        values = values / max(values[0], 1e-300)
        if np.any((values > COLLINEAR) & (values < DISTINCT)):
            raise Unsettled("columns are nearly collinear")
        self.space = right[: int((values > DISTINCT).sum())]
        self.kept = np.sort(qr(self.x, mode="r", pivoting=True)[1][: len(self.space)])

    @property
    def rank(self) -> int:
        return len(self.space)

    def knows(self, loading: Array) -> NDArray[np.bool_]:
        """Say which combinations of coefficients, shape (p, K), the rows identify."""
        scaled = loading / self.scale[:, None]
        size = np.sqrt((scaled**2).sum(axis=0))
        left = scaled - self.space.T @ (self.space @ scaled)
        share = np.sqrt((left**2).sum(axis=0)) / np.where(size > 0, size, 1.0)
        if np.any((share > 1e-8) & (share < 1e-5)):
            raise Unsettled("a coefficient is nearly not identified")
        return share < 1e-8

    def coefficients(self, weights: Array) -> Array:
        """Return coefficients, of which identified combinations have a meaning, shape (p,)."""
        x, w = self.x[:, self.kept], weights[self.unit]
        found = np.zeros(len(self.scale), dtype=weights.dtype)
        if len(self.kept):
            # One step of refinement, since normal equations square the condition number.
            gram = (x * w[:, None]).T @ x
            b = np.linalg.solve(gram, x.T @ (w * self.y))
            found[self.kept] = b + np.linalg.solve(gram, x.T @ (w * (self.y - x @ b)))
        return found / self.scale


class PoissonRegression(Regression):
    """The same by Poisson quasi-likelihood."""

    def __init__(self, y: Array, x: Array, unit: NDArray[np.int64], weights: Array) -> None:
        super().__init__(y, x, unit, weights)
        if len(y) and separated(self.x[:, self.kept], y):
            raise Refused("the likelihood has no maximum")
        self.start = self._newton(np.zeros(len(self.kept)), weights, 200)

    def _newton(self, b: Array, weights: Array, steps: int) -> Array:
        x, w = self.x[:, self.kept], weights[self.unit]

        def likelihood(b: Array) -> float:
            with np.errstate(over="ignore"):
                return float((w * (self.y * (x @ b) - np.exp(x @ b))).sum().real)

        if steps > 2 and len(b):  # start at the mean
            b = np.linalg.lstsq(x, np.full(len(x), np.log(max(self.y.mean(), 1e-3))), rcond=None)[0]
        best, settled = likelihood(b), 0
        for _ in range(steps):
            mean = np.exp(x @ b)
            step = np.linalg.solve((x * (w * mean)[:, None]).T @ x, x.T @ (w * (self.y - mean)))
            while steps > 3 and not likelihood(b + step) >= best - 1e-9 * abs(best):
                step = step / 2
            b = b + step
            best = likelihood(b)
            settled += np.abs(step).max(initial=0.0) < 1e-9
            if steps > 3 and settled >= 2:
                return b
        if steps > 3:
            raise Unsettled("the likelihood's maximum is far away")
        return b

    def coefficients(self, weights: Array) -> Array:
        found = np.zeros(len(self.scale), dtype=weights.dtype)
        if len(self.kept):
            found[self.kept] = self._newton(self.start.astype(weights.dtype), weights, 2)
        return found / self.scale


def separated(x: Array, y: Array) -> bool:
    """Say whether some direction lowers means without end and costs nothing: Xb = 0 where y > 0, Xb <= 0 elsewhere.

    Correia, Guimaraes and Zylkin (2021).
    """
    zero = y == 0
    if not zero.any():
        return False
    made = linprog(
        x[zero].sum(axis=0),
        A_ub=x[zero],
        b_ub=np.zeros(zero.sum()),
        A_eq=x[~zero] if (~zero).any() else None,
        b_eq=np.zeros((~zero).sum()) if (~zero).any() else None,
        bounds=(-1, 1),
        method="highs",
    )
    return bool(made.fun < -1e-7)


def unlike_treated(d: NDArray[np.bool_], x: Array) -> NDArray[np.bool_]:
    """Say which comparison rows some direction puts below all treated rows, which it does not tell apart, one by one.

    Along it a logit's likelihood grows for ever, and their scores go to zero.
    """
    told = np.zeros(len(d), dtype=bool)
    if np.linalg.matrix_rank(x[d]) == x.shape[1]:  # no direction has all treated rows at zero
        return told
    for i in np.flatnonzero(~d):
        made = linprog(
            x[i],
            A_ub=x[~d],
            b_ub=np.zeros((~d).sum()),
            A_eq=x[d],
            b_eq=np.zeros(d.sum()),
            bounds=(-1, 1),
            method="highs",
        )
        told[i] = made.fun < -1e-7
    return told


def independent(x: Array) -> NDArray[np.int64]:
    """Return the numbers of columns, the first of them, that span all of them."""
    kept: list[int] = []
    for k in range(x.shape[1]):
        values = np.linalg.svd(x[:, [*kept, k]], compute_uv=False)
        least = values[-1] / values[0] if len(values) == len(kept) + 1 else 0.0
        if COLLINEAR < least < DISTINCT:
            raise Unsettled("covariates are nearly collinear")
        if least >= DISTINCT:
            kept.append(k)
    return np.array(kept)


class Logit:
    """A weighted logit; refuses where the covariates separate, wholly or in part."""

    def __init__(self, d: NDArray[np.bool_], x: Array, unit: NDArray[np.int64], weights: Array) -> None:
        self.d, self.unit = d.astype(float), unit
        values = np.linalg.svd(x, compute_uv=False)
        if len(values) < x.shape[1] or values[-1] < DISTINCT * values[0]:
            raise Unsettled("covariates are nearly collinear")
        self.x = x
        sign = np.where(d, 1.0, -1.0)[:, None] * x
        made = linprog(-sign.sum(axis=0), A_ub=-sign, b_ub=np.zeros(len(x)), bounds=(-1, 1), method="highs")
        if made.fun < -1e-7:
            raise Refused("the covariates separate treated from comparison units")
        self.start = self._newton(np.zeros(x.shape[1]), weights, 200)

    def _newton(self, b: Array, weights: Array, steps: int) -> Array:
        w = weights[self.unit]

        def likelihood(b: Array) -> float:
            index = (self.x @ b).real
            return float(w.real @ (self.d * index - np.logaddexp(0.0, index)))

        best, settled = likelihood(b), 0
        for _ in range(steps):
            p = 1 / (1 + np.exp(-self.x @ b))
            gram = (self.x * (w * p * (1 - p))[:, None]).T @ self.x
            step = np.linalg.solve(gram, self.x.T @ (w * (self.d - p)))
            while steps > 3 and likelihood(b + step) < best - 1e-9 * abs(best):
                step = step / 2
            b = b + step
            best = likelihood(b)
            settled += np.abs(step).max() < 1e-9
            if steps > 3 and settled >= 2:
                return b
        if steps > 3:
            raise Unsettled("the logit's maximum is far away")
        return b

    def probability(self, weights: Array, x: Array) -> Array:
        b = self._newton(self.start.astype(weights.dtype), weights, 2)
        return 1 / (1 + np.exp(-x @ b))


def weighted_mean(values: Array, weights: Array) -> Array:
    return np.nan if not len(values) else (values * weights).sum() / weights.sum()


def collinear(x: Array) -> bool:
    """Say whether some column is explained by the others and a constant."""
    full = np.column_stack([np.ones(len(x)), x])
    spread = full / np.sqrt((full**2).sum(axis=0)).clip(1e-300)
    values = np.linalg.svd(spread, compute_uv=False)
    least = values[-1] / values[0] if len(full) >= full.shape[1] else 0.0
    if COLLINEAR < least < DISTINCT:
        raise Unsettled("covariates are nearly collinear")
    return bool(least <= COLLINEAR)
