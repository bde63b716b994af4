"""The jackknife and the wild cluster bootstrap written out: every regression is run, with a column for each dummy."""

from __future__ import annotations

from typing import NamedTuple

import dense
import numpy as np
from numpy.typing import NDArray

from study.panel.question import Sample

FloatArray = NDArray[np.float64]


class Plain(NamedTuple):
    """Observations weighted by the roots of their weights: outcome (m,), columns (m, k), cluster, combination (k,)."""

    y: FloatArray
    x: FloatArray
    cluster: NDArray[np.int64]
    combination: FloatArray

    def without(self, c: int) -> Plain:
        """Leave a cluster out."""
        kept = self.cluster != c
        return self._replace(y=self.y[kept], x=self.x[kept], cluster=self.cluster[kept])


def plain(
    sample: Sample, at: dense.Rows, y: FloatArray, terms: FloatArray, others: FloatArray, weights: FloatArray
) -> Plain:
    """Return a regression on terms and others, whose combination is of the terms with given weights."""
    root = np.sqrt(sample.weights[at.unit])
    x = np.hstack([terms, others]) * root[:, None]
    combination = np.concatenate([weights, np.zeros(others.shape[1])])
    return Plain(y * root, x, sample.cluster[at.unit], combination)


def solved(p: Plain, y: FloatArray, null: float | None = None) -> FloatArray:
    """Return coefficients, restricted so that the combination is the null if one is given."""
    inverse = np.linalg.pinv(p.x.T @ p.x, rcond=1e-11, hermitian=True)
    b = inverse @ (p.x.T @ y)
    if null is None:
        return b
    a = p.combination
    return b - inverse @ a * (a @ b - null) / (a @ inverse @ a)


def without_each(p: Plain, y: FloatArray) -> FloatArray:
    """Return the combination without each cluster."""
    clusters = np.unique(p.cluster)
    left = [(p.without(c), p.cluster != c) for c in clusters]
    return np.array([part.combination @ solved(part, y[kept]) for part, kept in left])


def square(p: Plain, y: FloatArray, jackknifed: bool) -> float:
    """Return the variance of the combination, CR0 or CR3 without its (G-1)/G."""
    b = solved(p, y)
    if jackknifed:
        return float(np.sum((without_each(p, y) - p.combination @ b) ** 2))
    inverse = np.linalg.pinv(p.x.T @ p.x, rcond=1e-11, hermitian=True)
    errors = (p.x @ inverse @ p.combination) * (y - p.x @ b)
    return float(np.sum(np.bincount(p.cluster, errors) ** 2))


def bootstrap_t(p: Plain, null: float, impose_null: bool, kind: str, weights: FloatArray) -> float:
    """Return one draw of the t statistic, up to the small-sample factor; weights has shape (G,)."""
    a = p.combination
    imposed = null if impose_null else None
    b = solved(p, p.y, imposed)
    errors = p.y - p.x @ b
    if kind in ("S", "B"):
        for c in np.unique(p.cluster):
            own = p.cluster == c
            errors[own] = p.y[own] - p.x[own] @ solved(p.without(c), p.y[~own], imposed)
    drawn = p.x @ b + weights[p.cluster] * errors
    return float((a @ solved(p, drawn) - a @ b) / np.sqrt(square(p, drawn, kind in ("V", "B"))))
