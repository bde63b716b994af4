"""A regression's normal equations by group of units and by cluster, from which inference leaves clusters out."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np

from study.core.arrays import BoolArray, FloatArray, IntArray
from study.core.influence import Influence, Units, Values

COLLINEAR = 1e-9
SINGULAR = 1e-12
# Changes this small beside the level are what rounding makes of none.
ROUNDING = 1e-14
ESTIMABLE = 1e-6


class Group(NamedTuple):
    """The data of one group: y (m, T), zero where not observed, and seen, (m, T), or (1, T) if all are seen alike."""

    y: FloatArray
    seen: FloatArray
    weights: FloatArray
    features: FloatArray
    varying: FloatArray

    @classmethod
    def of(
        cls, y: FloatArray, weights: FloatArray, features: FloatArray, varying: FloatArray, members: IntArray
    ) -> Group:
        """Return the data of some units; a cell with a missing covariate is not observed."""
        here, z = y[members], varying[members]
        missing = np.isnan(here)
        if z.shape[2]:
            missing |= np.isnan(z).any(axis=2)
            z = np.where(missing[:, :, None], 0.0, z)
        if missing.any():
            here[missing] = 0.0
        if len(missing) and np.all(missing == missing[0]):
            missing = missing[:1]
        return cls(here, (~missing).astype(float), weights[members], features[members], z)

    def less_levels(self) -> Group:
        """Take each unit's first observed outcome from its outcomes, in place.

        Where what is constant in time explains nothing, levels change nothing but the digits that are left for the
        rest.
        """
        first = self.y[self._first][:, None]
        y = self.y
        y -= first if np.all(self.seen == 1) else first * self.seen
        return self

    def regressors_less_levels(self) -> Group:
        """Take each unit's first observed regressors from its regressors, as :func:`less_levels`."""
        if not self.varying.shape[2]:
            return self
        level = self.varying[self._first][:, None, :]
        change = (self.varying - level) * self.seen[:, :, None]
        change[np.abs(change) <= ROUNDING * np.abs(level)] = 0.0
        return self._replace(varying=change)

    @property
    def _first(self) -> tuple[IntArray, IntArray]:
        """The cell of each unit that is observed first."""
        return np.arange(len(self.y)), self.seen.argmax(axis=1)

    def some_units(self, which: IntArray) -> Group:
        """Return the group of some of its units."""
        seen = self.seen if len(self.seen) == 1 else self.seen[which]
        return Group(self.y[which], seen, self.weights[which], self.features[which], self.varying[which])

    @property
    def marks(self) -> FloatArray:
        """1 in observed cells and 0 elsewhere, shape (m, T)."""
        return np.broadcast_to(self.seen, self.y.shape)

    def linear_index(self, by_cell: FloatArray, slope: FloatArray) -> FloatArray:
        """Return the index by unit and period, (1 or m, T), from values by feature and period and slopes, (q,)."""
        index = by_cell.reshape(-1, self.y.shape[1])
        if len(index) > 1:
            index = self.features @ index
        return index + self.varying @ slope if len(slope) else index

    def less_fitted(self, residual: FloatArray, index: FloatArray, unit_effects: bool) -> FloatArray:
        """Take the index, less its mean by unit where there are unit effects, from residuals in place."""
        index = index * self.seen
        if unit_effects:
            index = index - (index.sum(axis=1) / self._counts)[:, None] * self.seen
        residual -= index
        return residual

    @property
    def _counts(self) -> FloatArray:
        """In how many periods each unit is seen, at least one, shape (m,), or (1,) if all are seen alike."""
        return np.maximum(self.seen.sum(axis=1), 1.0)

    def least_squares(self, unit_effects: bool) -> GroupSums:
        """Return a group's part of the normal equations; its residual is the outcome less its mean by unit."""
        residual = self.y
        if unit_effects:
            residual = (residual - (residual.sum(axis=1) / self._counts)[:, None]) * self.seen
        if len(self.seen) > 1 or self.varying.shape[2]:
            return self._sums(self.marks, residual, unit_effects, 0.0)
        weighted, seen = self.features * self.weights[:, None], self.seen[0]
        gram = weighted.T @ self.features
        demean = np.diag(seen) - np.outer(seen, seen) * (float(unit_effects) / self._counts)
        curvature = (gram[:, None, :, None] * demean[:, None, :]).reshape(len(gram) * len(seen), -1)
        raw, score = np.outer(np.diag(gram), seen).ravel(), (weighted.T @ residual).ravel()
        cross, square, none = np.empty((len(raw), 0)), np.empty((0, 0)), np.empty(0)
        return GroupSums(residual, curvature, raw, cross, square, none, score, none, 0.0)

    def poisson_sums(self, index: FloatArray, unit_effects: bool) -> GroupSums:
        """Return a group's part of the Poisson score and information at an index."""
        index = index - index.max(axis=1, keepdims=True) if unit_effects else index
        means = np.exp(np.clip(index, -500, 500)) * (self.seen if unit_effects else self.marks)
        if unit_effects:
            total, own = means.sum(axis=1), self.y.sum(axis=1)
            means = means * np.divide(own, total, out=np.zeros_like(own), where=total > 0)[:, None]
            fit = (self.y * index).sum(axis=1) - own * np.log(np.where(total > 0, total, 1.0))
        else:
            fit = (self.y * index - means).sum(axis=1)
        return self._sums(means, self.y - means, unit_effects, float(self.weights @ fit))

    def _sums(self, v: FloatArray, residual: FloatArray, unit_effects: bool, likelihood: float) -> GroupSums:
        """Add up a group's blocks with v the observed cells or the Poisson means, shape (m, T)."""
        weights, features, z = self.weights, self.features, self.varying
        f, n_periods, q = features.shape[1], v.shape[1], z.shape[2]
        total = v.sum(axis=1)
        total[total == 0] = 1.0
        if f == 1 and not q:  # the constant alone
            raw, less = weights @ v, (v * (weights / total)[:, None]).T @ v if unit_effects else 0.0
            empty = np.empty((n_periods, 0)), np.empty((0, 0)), np.empty(0)
            score = weights @ residual
            return GroupSums(residual, np.diag(raw) - less, raw, *empty, score, empty[2], likelihood)
        spread = (features[:, :, None] * v[:, None, :]).reshape(len(v), f * n_periods) if f > 1 else v
        pairs = (features[:, :, None] * (features * weights[:, None])[:, None, :]).reshape(len(v), f * f)
        diagonal = (pairs.T @ v).reshape(f, f, n_periods)
        curvature = np.einsum("abt,ts->atbs", diagonal, np.eye(n_periods)).reshape(
            f * n_periods, f * n_periods
        )
        if unit_effects:
            curvature = curvature - (spread * (weights / total)[:, None]).T @ spread
        centred = z
        if q and unit_effects:
            centred = z - (np.einsum("it,itq->iq", v, z) / total[:, None])[:, None, :]
        weighted = centred * (weights[:, None] * v)[:, :, None]
        return GroupSums(
            residual,
            curvature,
            raw=np.einsum("aat->at", diagonal).ravel(),
            cross=np.einsum("ia,itq->atq", features, weighted).reshape(f * n_periods, q),
            square=np.einsum("itq,itr->qr", weighted, centred),
            raw_square=np.einsum("i,it,itq->q", weights, v, z**2),
            score=((features * weights[:, None]).T @ residual).ravel(),
            score_varying=np.einsum("i,it,itq->q", weights, residual, z),
            likelihood=likelihood,
        )

    def scores(self, error: FloatArray) -> FloatArray:
        """Return a unit's weighted residuals by feature and period, and their products with varying regressors."""
        f, q = self.features.shape[1], self.varying.shape[2]
        weighted = error if np.all(self.weights == 1) else error * self.weights[:, None]
        spread = weighted
        if f > 1:
            spread = (self.features[:, :, None] * weighted[:, None, :]).reshape(len(error), -1)
        if not q:
            return spread
        return np.hstack([spread, np.einsum("it,itq->iq", weighted, self.varying)])


class GroupSums(NamedTuple):
    """What one group contributes at given coefficients; p = f T.

    Residuals (m, T), curvature (p, p) and its raw diagonal (p,), cross (p, q) and square (q, q) with the varying
    regressors and their raw sizes (q,), scores (p,) and (q,), and the log-likelihood.
    """

    residual: FloatArray
    curvature: FloatArray
    raw: FloatArray
    cross: FloatArray
    square: FloatArray
    raw_square: FloatArray
    score: FloatArray
    score_varying: FloatArray
    likelihood: float


@dataclass(frozen=True, eq=False)
class NormalEquations:
    """What a least-squares regression is made of; nothing is computed before it is asked for.

    The P columns are the effects, the nuisance and the varying regressors, all less their means by unit where there
    are unit effects. Units are nested in clusters, so that a cluster adds A_c = X_c' W X_c to the information and
    s_c = X_c' W e_c to the score.

    Attributes
    ----------
    n_periods : ndarray of int, shape (n_rows,)
        In how many periods each row of the regression is seen: of a unit, or where it enters several times, of each.
    rows : sequence of ndarray of int, shapes (m_g,)
        Rows of each group.
    groups : sequence of Group
        With residuals in place of outcomes.
    effects, nuisance : ndarray, shapes (G, p, K), (G, p, N)
        As in :class:`study.core.fixed_effects.Terms`.
    unit_effects : bool
    coefficient : ndarray, shape (K + q,)
    df_k : int
        As in :class:`study.core.fixed_effects.Regression`.
    """

    n_periods: IntArray
    rows: Sequence[Units]
    groups: Sequence[Group]
    effects: FloatArray
    nuisance: FloatArray
    unit_effects: bool
    coefficient: FloatArray
    df_k: int

    @cached_property
    def columns(self) -> FloatArray:
        """Effects and nuisance, shape (G, p, K + N)."""
        return np.concatenate([self.effects, self.nuisance], axis=2)

    @property
    def n_columns(self) -> int:
        """P."""
        return self.columns.shape[2] + self.groups[0].varying.shape[2]

    def by_unit(self) -> Rows:
        """Return the equations and the unit of each row, where rows are units."""
        return self, np.arange(len(self.n_periods))

    def spread(self, combination: FloatArray) -> FloatArray:
        """Return a combination of the coefficients, shape (K + q,), as one of all columns, shape (P,)."""
        k = self.effects.shape[2]
        nuisance = np.zeros(self.n_columns - len(combination))
        return np.concatenate([combination[:k], nuisance, combination[k:]])

    def information(self, g: int, sums: GroupSums) -> FloatArray:
        """Return what some units of group g add to X'WX, shape (P, P)."""
        columns = self.columns[g]
        mixed = columns.T @ sums.cross
        return np.block([[columns.T @ sums.curvature @ columns, mixed], [mixed.T, sums.square]])

    @cached_property
    def root(self) -> FloatArray:
        """A matrix R with R'AR = I on the directions that the regression identifies, shape (P, r)."""
        total, sizes = np.zeros((self.n_columns,) * 2), np.zeros(self.n_columns)
        own = self.columns.shape[2]
        for g, group in enumerate(self.groups):
            sums = group.least_squares(self.unit_effects)
            total += self.information(g, sums)
            sizes[:own] += np.einsum("pk,p,pk->k", self.columns[g], sums.raw, self.columns[g])
            sizes[own:] += sums.raw_square
        scale, values, vectors = scaled_directions(total, sizes)
        used = values > COLLINEAR
        return vectors[:, used] / (scale[:, None] * np.sqrt(values[used]))

    @cached_property
    def maps(self) -> FloatArray:
        """From products of a unit with its residuals to its score in the identified directions, shape (G, p + q, r)."""
        own, q = self.columns.shape[2], self.groups[0].varying.shape[2]
        varying = np.broadcast_to(self.root[own:], (len(self.groups), q, self.root.shape[1]))
        return np.concatenate([self.columns @ self.root[:own], varying], axis=1)

    def scores(self, cluster: IntArray) -> FloatArray:
        """Return R's_c, shape (G, r); cluster numbers rows."""
        return self._summed([group.scores(group.y) for group in self.groups], cluster)

    def pulls(self, direction: FloatArray, cluster: IntArray) -> FloatArray:
        """Return R'A_c R d for a direction d of shape (r,), shape (G, r)."""
        at = self.root @ direction
        own, n_periods = self.columns.shape[2], self.groups[0].y.shape[1]
        fitted = []
        for group, columns in zip(self.groups, self.columns, strict=True):
            index = group.linear_index(columns @ at[:own], at[own:])
            zeros = np.zeros((len(group.weights), n_periods))
            fitted.append(group.scores(-group.less_fitted(zeros, index, self.unit_effects)))
        return self._summed(fitted, cluster)

    def _summed(self, values: list[FloatArray], cluster: IntArray) -> FloatArray:
        """Map what rows have and add it up by cluster."""
        by_row = Influence.by_group(len(self.n_periods), Values(tuple(self.rows), tuple(values)), self.maps)
        return by_row.cluster_sums(cluster)

    def blocks(self, cluster: IntArray) -> Iterator[tuple[IntArray, FloatArray]]:
        """Yield clusters that have the same regressors, and their R'A_c R, shape (r, r)."""
        place: dict[int, list[tuple[int, Group]]] = {}
        for g, (rows, group) in enumerate(zip(self.rows, self.groups, strict=True)):
            order = np.argsort(cluster[rows], kind="stable")
            present, start = np.unique(cluster[rows][order], return_index=True)
            for c, part in zip(present.tolist(), np.split(order, start[1:]), strict=True):
                place.setdefault(c, []).append((g, group.some_units(part)))
        alike: dict[bytes, list[int]] = {}
        for c, parts in place.items():
            alike.setdefault(b"|".join(_signature(g, group) for g, group in parts), []).append(c)
        for clusters in alike.values():
            total = np.zeros((self.n_columns,) * 2)
            for g, group in place[clusters[0]]:
                total += self.information(g, group.least_squares(self.unit_effects))
            yield np.array(clusters), self.root.T @ total @ self.root


def scaled_directions(gram: FloatArray, sizes: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Return regressors' own sizes, and eigenvalues and vectors of their products in units of these.

    A direction of which less than :data:`COLLINEAR` is left counts as null.
    """
    scale = np.sqrt(np.where(sizes > 0, sizes, 1.0))
    values, vectors = np.linalg.eigh(gram / np.outer(scale, scale))
    return scale, values, vectors


def solvable(gram: FloatArray) -> BoolArray:
    """Return which cross-products of regressors, shape (..., p, p), can be solved with, whatever units these are in.

    The products of collinear regressors have a reciprocal condition number of rounding, not of zero: between 1e-17 and
    1e-14, the larger the more rows are added up. Regressors count as collinear below :data:`SINGULAR`.
    """
    squares = np.diagonal(gram, axis1=-2, axis2=-1)
    size = np.sqrt(np.where(squares > 0, squares, 1.0))
    return np.asarray(np.linalg.cond(gram / size[..., None] / size[..., None, :], 1) < 1 / SINGULAR)


def _signature(g: int, group: Group) -> bytes:
    """Return what the regressors of some units depend on, as bytes."""
    parts = (np.array([g, len(group.weights)]), group.seen, group.weights, group.features, group.varying)
    return b"".join(part.tobytes() for part in parts)


# Normal equations with the unit of the sample that each of their rows is, shape (n_rows,).
Rows = tuple[NormalEquations, IntArray]


@dataclass(frozen=True, eq=False)
class LinearForm:
    """Terms that are linear combinations a'b of the coefficients of one regression.

    Attributes
    ----------
    regression : callable
        Makes the equations when they are asked for.
    combination : ndarray, shape (K + q, M)
        Averages of terms take the shares that weight them as given.
    """

    regression: Callable[[], Rows]
    combination: FloatArray

    def __matmul__(self, weights: FloatArray) -> LinearForm:
        """Return the linear combinations of the terms; weights has shape (M, L)."""
        return LinearForm(self.regression, self.combination @ weights)

    def select(self, which: BoolArray) -> LinearForm:
        """Return some of the terms."""
        return LinearForm(self.regression, self.combination[:, which])


class Target(NamedTuple):
    """A combination a'b of a regression's coefficients, in the directions where A is the identity.

    ``direction`` is R'a, shape (r,); ``score`` R's_c and ``pull`` R'A_c R R'a have shape (G, r); ``value`` is a'b.
    """

    equations: NormalEquations
    cluster: IntArray
    value: float
    direction: FloatArray
    score: FloatArray
    pull: FloatArray

    @property
    def influence(self) -> FloatArray:
        """a'A^-1 s_c, shape (G,), which adds up to nothing."""
        return self.score @ self.direction

    @property
    def partial_leverage(self) -> FloatArray:
        """Each cluster's share of the variation that the combination rests on, shape (G,)."""
        return self.pull @ self.direction / (self.direction @ self.direction)


def target(equations: NormalEquations, combination: FloatArray, cluster: IntArray) -> Target:
    """Return a combination of coefficients, shape (K + q,), with what each cluster adds to it.

    ``cluster`` has shape (n_rows,) and numbers G clusters that all have an observation.
    """
    direction = equations.root.T @ equations.spread(combination)
    value, pulls = float(equations.coefficient @ combination), equations.pulls(direction, cluster)
    return Target(equations, cluster, value, direction, equations.scores(cluster), pulls)


class Jackknife(NamedTuple):
    """What follows from (I - A_c)^-1 in those directions, for each of G clusters.

    ``away`` is (I - A_c)^-1 d with d the direction of the combination, ``score`` (I - A_c)^-1 s_c, both (G, r);
    ``away_pull`` is A_c ``away``; ``leverage`` (G,) is the trace of A_c, without unit effects; ``lost`` (G,) says
    for which clusters the combination has no estimate without them.
    """

    away: FloatArray
    score: FloatArray
    away_pull: FloatArray
    leverage: FloatArray
    lost: BoolArray


def jackknife(of: Target) -> Jackknife:
    """Solve the regression without each cluster, once for all clusters that have the same regressors."""
    shape = of.score.shape
    away, score, pull = np.zeros(shape), np.zeros(shape), np.zeros(shape)
    leverage, lost = np.zeros(len(of.score)), np.zeros(len(of.score), dtype=bool)
    for clusters, block in of.equations.blocks(of.cluster):
        inverse, null = _inverse(np.eye(len(block)) - block)
        lost[clusters] = np.linalg.norm(null.T @ of.direction) > ESTIMABLE * np.linalg.norm(of.direction)
        away[clusters] = inverse @ of.direction
        pull[clusters] = block @ away[clusters[0]]
        score[clusters] = of.score[clusters] @ inverse
        leverage[clusters] = np.trace(block)
    return Jackknife(away, score, pull, leverage, lost)


def _inverse(remaining: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return the generalised inverse of I - A_c, and the directions that only the cluster identifies."""
    try:
        lower = np.linalg.cholesky(remaining)
    except np.linalg.LinAlgError:
        lower = None
    if lower is not None and np.diag(lower).min(initial=1.0) > COLLINEAR**0.25:
        half = np.linalg.inv(lower)
        return half.T @ half, np.empty((len(remaining), 0))
    values, vectors = np.linalg.eigh(remaining)
    used = values > COLLINEAR
    return (vectors[:, used] / values[used]) @ vectors[:, used].T, vectors[:, ~used]
