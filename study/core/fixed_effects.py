"""Exact regressions on wide arrays: unit effects are eliminated, and what cohorts share is solved in small systems.

A regressor that is the same for all units of a cohort in a period has T values a cohort, so that all sums over
units are sums of T x T blocks by cohort. With M_i = diag(v_i) - v_i v_i' / sum(v_i), where v_i marks the observed
periods of unit i (or holds its Poisson means), unit effects turn X'X into sum_g X_g' (sum_{i in g} w_i M_i) X_g.
Exact with gaps; no iterative demeaning and no dummies for units.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import compress
from typing import Literal, NamedTuple

import numpy as np

from study.core.arrays import BoolArray, FloatArray, IntArray
from study.core.errors import QuestionError
from study.core.influence import Influence, Values
from study.core.normal_equations import COLLINEAR, Group, GroupSums, NormalEquations, scaled_directions
from study.core.words import first_of

Family = Literal["gaussian", "poisson"]

STEPS = 100
CONVERGED = 1e-9


class Terms(NamedTuple):
    """Regressors that are constant within group and period, up to features of the unit.

    ``effects`` has shape (G, p, K) and ``nuisance`` (G, p, N), with p = f T: the coefficient of feature a in
    period t of group g is in row a T + t.
    """

    effects: FloatArray
    nuisance: FloatArray

    @classmethod
    def of_periods(cls, n_groups: int, n_periods: int) -> Terms:
        """Return period effects, beside which no effect is asked for."""
        return cls(np.empty((n_groups, n_periods, 0)), period_effects(n_groups, n_periods))


def period_effects(n_groups: int, n_periods: int) -> FloatArray:
    """Return one indicator for each period, the same in all groups, shape (G, T, T)."""
    return np.broadcast_to(np.eye(n_periods), (n_groups, n_periods, n_periods))


def by_feature(regressors: FloatArray, f: int) -> FloatArray:
    """Multiply regressors, shape (G, T, M), by each of f features of units: shape (G, f T, f M), as in Terms."""
    n_groups, n_periods, m = regressors.shape
    spread = np.zeros((n_groups, f, n_periods, m, f))
    for a in range(f):
        spread[:, a, :, :, a] = regressors
    return spread.reshape(n_groups, f * n_periods, m * f)


@dataclass(frozen=True, eq=False)
class Regression:
    """A fitted regression; effects are the K of :class:`Terms`, then the q varying regressors.

    Attributes
    ----------
    coefficient : ndarray, shape (K + q,)
    influence : Influence, shape (n, K + q)
    identified : ndarray of bool, shape (K + q,)
        False where fixed effects and other regressors explain a regressor.
    null : ndarray, shape (K + q, r)
        Directions in which the coefficients can move without changing the fit, the largest entry of each one;
        a combination of coefficients has an estimate if it does not change along any of them.
    residual : list of ndarray, shapes (m_g, T)
        Outcome less fitted mean, by group, zero where not observed.
    df_k : int
        Parameters: regressors and nuisance; unit effects, nested in the clusters, are not.
    n_fixed_effects : int
        Unit effects.
    n_periods : ndarray of int, shape (n,)
        In how many periods each unit has a row.
    r_squared : float
        Share of the outcome's variance that is explained, by fixed effects too; NaN for "poisson".
    """

    coefficient: FloatArray
    influence: Influence
    identified: BoolArray
    null: FloatArray
    residual: list[FloatArray]
    df_k: int
    n_fixed_effects: int
    n_periods: IntArray
    equations: NormalEquations | None = None
    r_squared: float = math.nan

    @property
    def n_obs(self) -> int:
        """Number of rows by unit and period."""
        return int(self.n_periods.sum())

    @property
    def seen(self) -> BoolArray:
        """Which units have a row, shape (n,)."""
        return self.n_periods > 0


def refuse_unidentified(names: Sequence[str], identified: BoolArray, remedy: str = "") -> None:
    """Refuse regressors that the fixed effects and the others explain, by name, with a remedy or to leave them out."""
    which = list(compress(names, ~identified))
    if which:
        several = "leave one out, or all that do not change over time, which unit effects explain"
        are, usual = ("is", "leave it out") if len(which) == 1 else ("are", several)
        raise QuestionError(
            f"Regression: {first_of(which)} {are} explained by the fixed effects and the other regressors; "
            f"{remedy or usual}."
        )


def regress(
    y: FloatArray,
    rows: Sequence[IntArray],
    terms: Terms,
    weights: FloatArray,
    *,
    features: FloatArray | None = None,
    varying: FloatArray | None = None,
    unit_effects: bool = True,
    group_effects: bool = False,
    family: Family = "gaussian",
) -> Regression:
    """Regress an outcome on regressors by group and period, with or without unit effects.

    Parameters
    ----------
    y : ndarray, shape (n, T)
        NaN where not observed.
    rows : sequence of ndarray of int, shapes (m_g,)
        Units of each group; a unit in none is left out.
    terms : Terms
    weights : ndarray, shape (n,)
    features : ndarray, shape (n, f), optional
        What multiplies the coefficients of a unit, the constant first; only the constant if not given.
    varying : ndarray, shape (n, T, q), optional
        Regressors by unit and period.
    unit_effects : bool
    group_effects : bool
        Whether the terms have a constant for each group, times the features.
    family : {"gaussian", "poisson"}
        Least squares, or Poisson quasi-likelihood with a logarithmic link.

    Returns
    -------
    Regression
        Influence n w_i sum_t x_it e_it H^-1, with x the regressors less what the fixed effects explain, e the
        residuals and H the (expected) information.

    Raises
    ------
    QuestionError
        If the Poisson likelihood has no maximum.
    """
    n, n_periods = y.shape
    features = np.ones((n, 1)) if features is None else features
    varying = np.empty((n, n_periods, 0)) if varying is None else varying
    groups = [Group.of(y, weights, features, varying, members) for members in rows]
    # A constant of the group takes in its units' levels where all of them are seen in the same periods.
    alike = [group_effects and len(group.seen) == 1 for group in groups]
    if family == "gaussian":
        groups = [g.less_levels() if unit_effects or a else g for g, a in zip(groups, alike, strict=True)]
    if unit_effects:
        groups = [group.regressors_less_levels() for group in groups]
    model = _Model(groups, terms, unit_effects, family)
    coefficient, sums, system = model.solved()
    coefficient = coefficient[: len(system.inverse)]
    residual = [part.residual for part in sums]
    n_periods_seen = np.zeros(n, dtype=np.int64)
    for members, group in zip(rows, groups, strict=True):
        n_periods_seen[members] = group.marks.sum(axis=1)
    n_effects = int(np.count_nonzero(n_periods_seen)) if unit_effects else 0
    df_k = system.rank + int(unit_effects)
    equations, r_squared = None, math.nan
    if family == "gaussian":
        errors = [
            error + _level_left(y[members], group) if a and not unit_effects else error
            for members, group, error, a in zip(rows, groups, residual, alike, strict=True)
        ]
        r_squared = _r_squared(y[np.concatenate(rows)], groups, errors)
        left = [group._replace(y=error) for group, error in zip(groups, residual, strict=True)]
        equations = NormalEquations(n_periods_seen, rows, left, *terms, unit_effects, coefficient, df_k)
    values = tuple(group.scores(error) for group, error in zip(groups, residual, strict=True))
    maps = n * (model.maps(system) @ system.inverse)
    influence = Influence.by_group(n, Values(tuple(rows), values), maps)
    known = coefficient, influence, system.identified, system.null, residual
    return Regression(*known, df_k, n_effects, n_periods_seen, equations, r_squared)


def _level_left(y: FloatArray, group: Group) -> FloatArray:
    """Return what a group's features leave of the levels that were taken from its outcomes, shape (m, 1)."""
    start, root = group.seen[0].argmax(), np.sqrt(group.weights)
    level = np.nan_to_num(y[:, start] - group.y[:, start])
    slope = np.linalg.lstsq(root[:, None] * group.features, root * level, rcond=None)[0]
    return np.asarray(level - group.features @ slope)[:, None]


def _r_squared(y: FloatArray, groups: Sequence[Group], residual: Sequence[FloatArray]) -> float:
    """Return one less the residuals' share of the weighted squares of the outcome around its mean.

    ``y`` has the units of each group in turn.
    """
    weight = np.concatenate([group.marks * group.weights[:, None] for group in groups])
    outcome = np.where(weight > 0, y, 0.0)
    total = np.sum(weight * (outcome - np.sum(weight * outcome) / weight.sum()) ** 2)
    left = np.sum(weight * np.concatenate(residual) ** 2)
    return float(1 - left / total) if total > 0 else math.nan


class _System(NamedTuple):
    """Normal equations with the nuisance eliminated; effects are K + q, nuisance N, and coefficients both in turn.

    ``inverse`` is the generalised inverse of the effects' information, ``nuisance_inverse`` of the nuisance's;
    ``explained`` (N, K + q) is what the nuisance explains of the effects' regressors.
    """

    inverse: FloatArray
    nuisance_inverse: FloatArray
    explained: FloatArray
    score: FloatArray
    nuisance_score: FloatArray
    identified: BoolArray
    null: FloatArray
    rank: int

    def step(self) -> FloatArray:
        """Return the Newton step of the coefficients."""
        effects = self.inverse @ (self.score - self.explained.T @ self.nuisance_score)
        return np.append(effects, self.nuisance_inverse @ self.nuisance_score - self.explained @ effects)


class _Model(NamedTuple):
    """A regression that is to be solved: the data of its groups, and what they are regressed on."""

    groups: list[Group]
    terms: Terms
    unit_effects: bool
    family: Family

    def solved(self) -> tuple[FloatArray, list[GroupSums], _System]:
        """Return the coefficients, with what groups contribute and the normal equations at them."""
        start = self.start()
        sums = self.sums(start)
        system = self.system(sums)
        if self.family == "poisson":
            return self.maximum(start, sums, system)
        coefficient = system.step()
        for group, part, index in zip(self.groups, sums, self.indices(coefficient), strict=True):
            group.less_fitted(part.residual, index, self.unit_effects)
        return coefficient, sums, system

    @property
    def n_effects(self) -> tuple[int, int]:
        """K and q."""
        return self.terms.effects.shape[2], self.groups[0].varying.shape[2]

    def start(self) -> FloatArray:
        """Return coefficients to start from, shape (K + q + N,).

        Where no unit effects give it, they are those of the logarithm of the mean, else zero.
        """
        k, q, nuisance = *self.n_effects, self.terms.nuisance
        if self.family == "gaussian" or self.unit_effects:
            return np.zeros(k + q + nuisance.shape[2])
        total = sum(float(group.weights @ group.y.sum(axis=1)) for group in self.groups)
        cells = sum(float(group.weights @ group.marks.sum(axis=1)) for group in self.groups)
        constant = np.zeros(nuisance.shape[:2])
        constant[:, : self.groups[0].y.shape[1]] = np.log(total / cells)
        columns = np.concatenate(self.terms, axis=2).reshape(constant.size, -1)
        start = np.linalg.lstsq(columns, constant.ravel(), rcond=None)[0]
        return np.concatenate([start[:k], np.zeros(q), start[k:]])

    def indices(self, coefficient: FloatArray) -> list[FloatArray]:
        """Return the linear index of each group, shape (1 or m, T)."""
        effects, slope, nuisance = np.split(coefficient, np.cumsum(self.n_effects))
        by_group = self.terms.effects @ effects + self.terms.nuisance @ nuisance
        pairs = zip(self.groups, by_group, strict=True)
        return [group.linear_index(cells, slope) for group, cells in pairs]

    def sums(self, coefficient: FloatArray) -> list[GroupSums]:
        """Return what each group contributes at given coefficients."""
        if self.family == "gaussian":
            return [group.least_squares(self.unit_effects) for group in self.groups]
        pairs = zip(self.groups, self.indices(coefficient), strict=True)
        return [group.poisson_sums(index, self.unit_effects) for group, index in pairs]

    def system(self, sums: list[GroupSums]) -> _System:
        """Return the normal equations of what the groups contribute."""
        x, a = self.terms
        curvature = np.stack([part.curvature for part in sums])
        raw, cross = np.stack([part.raw for part in sums]), np.stack([part.cross for part in sums])
        square = np.sum([part.square for part in sums], axis=0)
        score = np.stack([part.score for part in sums])[:, :, None]
        by_effect, by_nuisance = curvature @ x, curvature @ a
        mixed = _added(x, cross)
        information = np.block([[_added(x, by_effect), mixed], [mixed.T, square]])
        between = np.hstack([_added(a, by_effect), _added(a, cross)])
        sizes = np.concatenate([_sizes(x, raw), np.sum([part.raw_square for part in sums], axis=0)])
        nuisance_inverse, _, null = _inverse(_added(a, by_nuisance), _sizes(a, raw))
        explained = nuisance_inverse @ between
        rank = len(nuisance_inverse) - null.shape[1]
        inverse, identified, null = _inverse(information - between.T @ explained, sizes)
        rank += len(inverse) - null.shape[1]
        varying = np.sum([part.score_varying for part in sums], axis=0)
        own, nuisance = np.concatenate([_added(x, score)[:, 0], varying]), _added(a, score)[:, 0]
        return _System(inverse, nuisance_inverse, explained, own, nuisance, identified, null, rank)

    def maximum(
        self, coefficient: FloatArray, sums: list[GroupSums], system: _System
    ) -> tuple[FloatArray, list[GroupSums], _System]:
        """Maximise the Poisson likelihood by Newton's method with halved steps."""
        best, rank = sum(part.likelihood for part in sums), system.rank
        for _ in range(STEPS):
            step, share = system.step(), 1.0
            while True:
                moved = coefficient + share * step
                sums = self.sums(moved)
                likelihood = sum(part.likelihood for part in sums)
                if likelihood >= best - 1e-12 * abs(best) or share < CONVERGED:
                    break
                share /= 2
            coefficient, best, system = moved, likelihood, self.system(sums)
            if np.abs(step).max(initial=0.0) <= CONVERGED * np.abs(coefficient).max(initial=1.0):
                if system.rank == rank:
                    return coefficient, sums, system
                break  # means that fall to zero take their regressors with them
        raise QuestionError(
            "Poisson regression: the likelihood has no maximum, since some regressor separates cells without any "
            "outcome; drop the units or periods concerned, or use a linear design."
        )

    def maps(self, system: _System) -> FloatArray:
        """Return the regressors less what the nuisance explains, from a unit's scores, shape (G, p + q, K + q)."""
        n_groups, p, _ = self.terms.effects.shape
        k, q = self.n_effects
        maps = np.zeros((n_groups, p + q, k + q))
        maps[:, :p, :k] = self.terms.effects
        maps[:, :p] -= self.terms.nuisance @ system.explained
        maps[:, p:, k:] = np.eye(q)
        return maps


def _added(left: FloatArray, right: FloatArray) -> FloatArray:
    """Return the sum over groups of left' right; shapes (G, p, a), (G, p, b)."""
    return np.tensordot(left, right, axes=([0, 1], [0, 1]))


def _sizes(x: FloatArray, raw: FloatArray) -> FloatArray:
    return np.einsum("gpk,gp,gpk->k", x, raw, x)


def _inverse(gram: FloatArray, sizes: FloatArray) -> tuple[FloatArray, BoolArray, FloatArray]:
    """Return the generalised inverse, which coefficients are identified, and the null directions."""
    if not len(gram):
        return gram, np.empty(0, dtype=bool), gram
    scale, values, vectors = scaled_directions(gram, sizes)
    used = values > COLLINEAR
    used_vectors, null = vectors[:, used] / scale[:, None], vectors[:, ~used]
    identified = np.einsum("kr,kr->k", null, null) < COLLINEAR**0.5
    null = null / scale[:, None]
    null = null / np.abs(null).max(axis=0, initial=np.finfo(float).tiny)
    return (used_vectors / values[used]) @ used_vectors.T, identified, null
