"""Exact regressions on wide arrays: unit effects are eliminated, and what cohorts share is solved in small systems.

A regressor that is the same for all units of a cohort in a period has T values a cohort, so that all sums over
units are sums of T x T blocks by cohort. With M_i = diag(v_i) - v_i v_i' / sum(v_i), where v_i marks the observed
periods of unit i (or holds its Poisson means), unit effects turn X'X into sum_g X_g' (sum_{i in g} w_i M_i) X_g.
Exact with gaps; no iterative demeaning and no dummies for units.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from study.core.arrays import FloatArray
from study.core.errors import QuestionError
from study.core.group_sums import (
    Group,
    GroupSums,
    group_data,
    least_squares,
    less_fitted,
    less_levels,
    marks,
    poisson_sums,
    scores,
)
from study.core.influence import Influence, Values
from study.core.normal_equations import NormalEquations

Family = Literal["gaussian", "poisson"]

COLLINEAR = 1e-9
ESTIMABLE = 1e-6
STEPS = 100
CONVERGED = 1e-9


class Terms(NamedTuple):
    """Regressors that are constant within group and period, up to features of the unit.

    ``effects`` has shape (G, p, K) and ``nuisance`` (G, p, N), with p = f T: the coefficient of feature a in
    period t of group g is in row a T + t.
    """

    effects: FloatArray
    nuisance: FloatArray


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
    n_obs : int
    seen : ndarray of bool, shape (n,)
        Which units have a row.
    """

    coefficient: FloatArray
    influence: Influence
    identified: NDArray[np.bool_]
    null: FloatArray
    residual: list[FloatArray]
    df_k: int
    n_fixed_effects: int
    n_obs: int
    seen: NDArray[np.bool_]
    equations: NormalEquations | None = None

    def n_clusters(self, cluster: NDArray[np.int64]) -> int:
        """Return how many clusters have a row, where units have these numbers, shape (n,)."""
        return int(np.count_nonzero(np.bincount(cluster[self.seen])))


def refuse_unidentified(names: Sequence[str], identified: NDArray[np.bool_]) -> None:
    """Refuse regressors that the fixed effects and the other regressors explain, by name."""
    which = [name for name, known in zip(names, identified, strict=True) if not known]
    if which:
        raise QuestionError(
            f"Regression: {', '.join(which)} {'is' if len(which) == 1 else 'are'} explained by the fixed "
            f"effects and the other regressors; leave {'it' if len(which) == 1 else 'one'} out."
        )


def regress(
    y: FloatArray,
    rows: Sequence[NDArray[np.int64]],
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
    groups = [group_data(y, weights, features, varying, members) for members in rows]
    if family == "gaussian":
        # A constant of the group takes in its units' levels where all of them are seen in the same periods.
        alike = [group_effects and len(group.seen) == 1 for group in groups]
        groups = [less_levels(g) if unit_effects or a else g for g, a in zip(groups, alike, strict=True)]
    n_obs = int(sum(marks(group).sum() for group in groups))
    coefficient, nuisance = _start(groups, terms, varying.shape[2], unit_effects, family)
    states = _states(groups, terms, coefficient, nuisance, unit_effects, family)
    system = _system(states, terms)
    if family == "gaussian":
        coefficient, nuisance = system.step()
        residual = [
            less_fitted(group, state.residual, index, unit_effects)
            for group, state, index in zip(
                groups, states, _indices(groups, terms, coefficient, nuisance), strict=True
            )
        ]
    else:
        coefficient, states, system = _maximum(
            groups, terms, coefficient, nuisance, unit_effects, states, system
        )
        residual = [state.residual for state in states]
    df_k = system.rank + int(unit_effects)
    seen = np.zeros(n, dtype=bool)
    for members, group in zip(rows, groups, strict=True):
        seen[members] = marks(group).any(axis=1)
    n_fixed_effects = int(seen.sum()) if unit_effects else 0
    equations = None
    if family == "gaussian":
        left = [group._replace(y=error) for group, error in zip(groups, residual, strict=True)]
        equations = NormalEquations(
            n, rows, left, *terms, unit_effects, coefficient, df_k, n_fixed_effects, n_obs
        )
    return Regression(
        coefficient=coefficient,
        influence=_influence(n, rows, groups, terms, residual, system),
        identified=system.identified,
        null=system.null,
        residual=residual,
        df_k=df_k,
        n_fixed_effects=n_fixed_effects,
        n_obs=n_obs,
        seen=seen,
        equations=equations,
    )


def _start(
    groups: list[Group], terms: Terms, q: int, unit_effects: bool, family: Family
) -> tuple[FloatArray, FloatArray]:
    """Return coefficients to start from: the logarithm of the mean where no unit effects give it, else zero."""
    k = terms.effects.shape[2]
    start = np.zeros(k + terms.nuisance.shape[2])
    if family == "poisson" and not unit_effects:
        total = sum(float(group.weights @ group.y.sum(axis=1)) for group in groups)
        cells = sum(float(group.weights @ marks(group).sum(axis=1)) for group in groups)
        constant = np.zeros(terms.effects.shape[:2])
        constant[:, : groups[0].y.shape[1]] = np.log(total / cells)
        columns = np.concatenate([terms.effects, terms.nuisance], axis=2).reshape(constant.size, -1)
        start = np.linalg.lstsq(columns, constant.ravel(), rcond=None)[0]
    return np.concatenate([start[:k], np.zeros(q)]), start[k:]


def _indices(
    groups: list[Group], terms: Terms, coefficient: FloatArray, nuisance: FloatArray
) -> list[FloatArray]:
    """Return the linear index of each group, shape (1 or m, T)."""
    k, n_periods = terms.effects.shape[2], groups[0].y.shape[1]
    by_group = terms.effects @ coefficient[:k] + terms.nuisance @ nuisance
    indices = []
    for group, values in zip(groups, by_group, strict=True):
        index = values.reshape(-1, n_periods)
        if len(index) > 1:
            index = group.features @ index
        if group.varying.shape[2]:
            index = index + group.varying @ coefficient[k:]
        indices.append(index)
    return indices


def _states(
    groups: list[Group],
    terms: Terms,
    coefficient: FloatArray,
    nuisance: FloatArray,
    unit_effects: bool,
    family: Family,
) -> list[GroupSums]:
    if family == "gaussian":
        return [least_squares(group, unit_effects) for group in groups]
    indices = _indices(groups, terms, coefficient, nuisance)
    return [poisson_sums(group, index, unit_effects) for group, index in zip(groups, indices, strict=True)]


class _System(NamedTuple):
    """Normal equations with the nuisance eliminated; effects are K + q, nuisance N.

    ``inverse`` is the generalised inverse of the effects' information, ``nuisance_inverse`` of the nuisance's;
    ``explained`` (N, K + q) is what the nuisance explains of the effects' regressors.
    """

    inverse: FloatArray
    nuisance_inverse: FloatArray
    explained: FloatArray
    score: FloatArray
    nuisance_score: FloatArray
    identified: NDArray[np.bool_]
    null: FloatArray
    rank: int

    def step(self) -> tuple[FloatArray, FloatArray]:
        """Return the Newton step of effects and nuisance."""
        effects = self.inverse @ (self.score - self.explained.T @ self.nuisance_score)
        return effects, self.nuisance_inverse @ self.nuisance_score - self.explained @ effects


def _system(states: list[GroupSums], terms: Terms) -> _System:
    x, a = terms.effects, terms.nuisance
    curvature = np.stack([s.curvature for s in states])
    raw, cross = np.stack([s.raw for s in states]), np.stack([s.cross for s in states])
    square = np.sum([s.square for s in states], axis=0)
    score = np.stack([s.score for s in states])
    by_effect, by_nuisance = curvature @ x, curvature @ a
    mixed = _added(x, cross)
    information = np.block([[_added(x, by_effect), mixed], [mixed.T, square]])
    between = np.hstack([_added(a, by_effect), _added(a, cross)])
    sizes = np.concatenate([_sizes(x, raw), np.sum([s.raw_square for s in states], axis=0)])
    nuisance_inverse, _, null = _inverse(_added(a, by_nuisance), _sizes(a, raw))
    explained = nuisance_inverse @ between
    rank = len(nuisance_inverse) - null.shape[1]
    inverse, identified, null = _inverse(information - between.T @ explained, sizes)
    return _System(
        inverse,
        nuisance_inverse,
        explained,
        np.concatenate(
            [_added(x, score[:, :, None])[:, 0], np.sum([s.score_varying for s in states], axis=0)]
        ),
        _added(a, score[:, :, None])[:, 0],
        identified,
        null,
        rank + len(inverse) - null.shape[1],
    )


def _added(left: FloatArray, right: FloatArray) -> FloatArray:
    """Return the sum over groups of left' right; shapes (G, p, a), (G, p, b)."""
    return np.tensordot(left, right, axes=([0, 1], [0, 1]))


def _sizes(x: FloatArray, raw: FloatArray) -> FloatArray:
    return np.einsum("gpk,gp,gpk->k", x, raw, x)


def _inverse(gram: FloatArray, sizes: FloatArray) -> tuple[FloatArray, NDArray[np.bool_], FloatArray]:
    """Return the generalised inverse, which coefficients are identified, and the null directions.

    A direction counts as null where it keeps less than 1e-9 of the regressors' own sizes.
    """
    scale = np.sqrt(np.where(sizes > 0, sizes, 1.0))
    values, vectors = np.linalg.eigh(gram / np.outer(scale, scale))
    used = values > COLLINEAR
    kept, null = vectors[:, used] / scale[:, None], vectors[:, ~used]
    identified = np.einsum("kr,kr->k", null, null) < COLLINEAR**0.5
    null = null / scale[:, None]
    null = null / np.abs(null).max(axis=0, initial=np.finfo(float).tiny)
    return (kept / values[used]) @ kept.T, identified, null


def _maximum(
    groups: list[Group],
    terms: Terms,
    coefficient: FloatArray,
    nuisance: FloatArray,
    unit_effects: bool,
    states: list[GroupSums],
    system: _System,
) -> tuple[FloatArray, list[GroupSums], _System]:
    """Maximise the Poisson likelihood by Newton's method with halved steps."""
    best, rank = sum(s.likelihood for s in states), system.rank
    for _ in range(STEPS):
        effects, others = system.step()
        share = 1.0
        while True:
            tried, tried_nuisance = coefficient + share * effects, nuisance + share * others
            states = _states(groups, terms, tried, tried_nuisance, unit_effects, "poisson")
            likelihood = sum(s.likelihood for s in states)
            if likelihood >= best - 1e-12 * abs(best) or share < CONVERGED:
                break
            share /= 2
        coefficient, nuisance, best = tried, tried_nuisance, likelihood
        system = _system(states, terms)
        moved = max(np.abs(effects).max(initial=0.0), np.abs(others).max(initial=0.0))
        if moved <= CONVERGED * max(
            1.0, np.abs(coefficient).max(initial=0.0), np.abs(nuisance).max(initial=0.0)
        ):
            if system.rank == rank:
                return coefficient, states, system
            break  # means that fall to zero take their regressors with them
    raise QuestionError(
        "Poisson regression: the likelihood has no maximum, since some regressor separates cells without any "
        "outcome; drop the units or periods concerned, or use a linear design."
    )


def _influence(
    n: int,
    rows: Sequence[NDArray[np.int64]],
    groups: list[Group],
    terms: Terms,
    residual: list[FloatArray],
    system: _System,
) -> Influence:
    """Return n w_i sum_t x_it e_it H^-1 as a map of residuals by group, shape (n, K + q)."""
    q = groups[0].varying.shape[2]
    k = terms.effects.shape[2]
    values = [scores(group, error) for group, error in zip(groups, residual, strict=True)]
    maps = np.zeros((len(groups), values[0].shape[1], k + q))
    maps[:, : maps.shape[1] - q, :k] = terms.effects
    maps[:, : maps.shape[1] - q] -= terms.nuisance @ system.explained
    maps[:, maps.shape[1] - q :, k:] = np.eye(q)
    return Influence.by_group(n, Values(tuple(rows), tuple(values)), n * (maps @ system.inverse))
