"""What a group of units contributes to a regression: its residuals, and their sums over units."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from study.core.arrays import FloatArray, IntArray


class Group(NamedTuple):
    """The data of one group: y (m, T), zero where not observed, and seen, (m, T), or (1, T) if all are seen alike."""

    y: FloatArray
    seen: FloatArray
    weights: FloatArray
    features: FloatArray
    varying: FloatArray


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


def group_data(
    y: FloatArray,
    weights: FloatArray,
    features: FloatArray,
    varying: FloatArray,
    members: IntArray,
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
    return Group(here, (~missing).astype(float), weights[members], features[members], z)


def less_levels(group: Group) -> Group:
    """Take each unit's first observed outcome from its outcomes, in place.

    Where what is constant in time explains nothing, levels change nothing but the digits that are left for the rest.
    """
    first = group.y[np.arange(len(group.y)), group.seen.argmax(axis=1)][:, None]
    y = group.y
    y -= first if np.all(group.seen == 1) else first * group.seen
    return group


def some_units(group: Group, which: IntArray) -> Group:
    """Return the group of some of its units."""
    seen = group.seen if len(group.seen) == 1 else group.seen[which]
    return Group(group.y[which], seen, group.weights[which], group.features[which], group.varying[which])


def marks(group: Group) -> FloatArray:
    """Return 1 in observed cells and 0 elsewhere, shape (m, T)."""
    return np.broadcast_to(group.seen, group.y.shape)


def linear_index(group: Group, by_cell: FloatArray, slope: FloatArray) -> FloatArray:
    """Return the index by unit and period, shape (1 or m, T), from values by feature and period and slopes, (q,)."""
    index = by_cell.reshape(-1, group.y.shape[1])
    if len(index) > 1:
        index = group.features @ index
    return index + group.varying @ slope if len(slope) else index


def less_fitted(group: Group, residual: FloatArray, index: FloatArray, unit_effects: bool) -> FloatArray:
    """Take the index, less its mean by unit where there are unit effects, from residuals in place."""
    index = index * group.seen
    if unit_effects:
        index = index - (index.sum(axis=1) / _counts(group))[:, None] * group.seen
    residual -= index
    return residual


def _counts(group: Group) -> FloatArray:
    """Return how many periods each unit is seen, at least one, shape (m,), or (1,) if all are seen alike."""
    return np.maximum(group.seen.sum(axis=1), 1.0)


def least_squares(group: Group, unit_effects: bool) -> GroupSums:
    """Return a group's part of the normal equations; its residual is the outcome less its mean by unit."""
    residual = group.y
    if unit_effects:
        residual = (residual - (residual.sum(axis=1) / _counts(group))[:, None]) * group.seen
    if len(group.seen) > 1 or group.varying.shape[2]:
        return _sums(group, marks(group), residual, unit_effects, 0.0)
    weighted, seen = group.features * group.weights[:, None], group.seen[0]
    gram = weighted.T @ group.features
    demean = np.diag(seen) - np.outer(seen, seen) * (float(unit_effects) / _counts(group))
    return GroupSums(
        residual,
        (gram[:, None, :, None] * demean[:, None, :]).reshape(len(gram) * len(seen), -1),
        np.outer(np.diag(gram), seen).ravel(),
        np.empty((len(gram) * len(seen), 0)),
        np.empty((0, 0)),
        np.empty(0),
        (weighted.T @ residual).ravel(),
        np.empty(0),
        0.0,
    )


def poisson_sums(group: Group, index: FloatArray, unit_effects: bool) -> GroupSums:
    """Return a group's part of the Poisson score and information at an index."""
    index = index - index.max(axis=1, keepdims=True) if unit_effects else index
    means = np.exp(np.clip(index, -500, 500)) * marks(group)
    if unit_effects:
        total, own = means.sum(axis=1), group.y.sum(axis=1)
        means = means * np.divide(own, total, out=np.zeros_like(own), where=total > 0)[:, None]
        fit = (group.y * index).sum(axis=1) - own * np.log(np.where(total > 0, total, 1.0))
    else:
        fit = (group.y * index - means).sum(axis=1)
    return _sums(group, means, group.y - means, unit_effects, float(group.weights @ fit))


def _sums(
    group: Group, v: FloatArray, residual: FloatArray, unit_effects: bool, likelihood: float
) -> GroupSums:
    """Add up a group's blocks with v the observed cells or the Poisson means, shape (m, T)."""
    weights, features, z = group.weights, group.features, group.varying
    f, n_periods, q = features.shape[1], v.shape[1], z.shape[2]
    total = v.sum(axis=1)
    total[total == 0] = 1.0
    spread = (features[:, :, None] * v[:, None, :]).reshape(len(v), f * n_periods) if f > 1 else v
    pairs = (features[:, :, None] * (features * weights[:, None])[:, None, :]).reshape(len(v), f * f)
    diagonal = (pairs.T @ v).reshape(f, f, n_periods)
    curvature = np.einsum("abt,ts->atbs", diagonal, np.eye(n_periods)).reshape(f * n_periods, f * n_periods)
    if unit_effects:
        curvature = curvature - (spread * (weights / total)[:, None]).T @ spread
    raw_square = np.einsum("i,it,itq->q", weights, v, z**2)
    centred = z
    if q and unit_effects:
        centred = z - (np.einsum("it,itq->iq", v, z) / total[:, None])[:, None, :]
    weighted = centred * (weights[:, None] * v)[:, :, None]
    return GroupSums(
        residual,
        curvature,
        np.einsum("aat->at", diagonal).ravel(),
        np.einsum("ia,itq->atq", features, weighted).reshape(f * n_periods, q),
        np.einsum("itq,itr->qr", weighted, centred),
        raw_square,
        ((features * weights[:, None]).T @ residual).ravel(),
        np.einsum("i,it,itq->q", weights, residual, z),
        likelihood,
    )


def scores(group: Group, error: FloatArray) -> FloatArray:
    """Return a unit's weighted residuals by feature and period, and their products with varying regressors."""
    f, q = group.features.shape[1], group.varying.shape[2]
    weighted = error if np.all(group.weights == 1) else error * group.weights[:, None]
    spread = weighted
    if f > 1:
        spread = (group.features[:, :, None] * weighted[:, None, :]).reshape(len(error), -1)
    if not q:
        return spread
    return np.hstack([spread, np.einsum("it,itq->iq", weighted, group.varying)])
