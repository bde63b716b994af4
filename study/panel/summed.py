"""Rows that stand for many units each, with the same numbers, sums and sums of products.

Where an estimator is linear in outcomes with coefficients that are the same for all units of a stratum (the same event
date, pattern of missing cells, weight and covariates), it depends on these units through their number n, their mean m
and the products C of their deviations from it, and so does the covariance of its errors. With C = L L' of rank r and V
of shape (r + 1, r), whose columns are orthonormal and add up to zero, the r + 1 rows m + sqrt((r + 1) / n) V L', each
counted n / (r + 1) times, have all three.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Any, NamedTuple

import numpy as np

from study.core import BoolArray, FloatArray, IntArray
from study.panel.rows import rows_by

# Of the products of standardised features: what adding up leaves of a direction in which nothing varies.
NOTHING = 1e-13
ROUNDING = 1e-12  # of the largest feature


class Products(NamedTuple):
    """Products of the constant and p covariates with each other and with changes since the first observed outcome.

    Rows stand for units in these too, where covariates take too many values to tell units apart by. ``pairs`` has shape
    (m, 1 + p, 1 + p), ``cross`` (m, 1 + p, T); covariates are centred and scaled.
    """

    pairs: FloatArray
    cross: FloatArray


@dataclass(frozen=True, eq=False)
class Summed:
    """What the rows of a panel or sample stand for, where they are not units.

    Attributes
    ----------
    frequency : ndarray, shape (m,)
        How many units each row stands for.
    stratum : ndarray of int, shape (m,)
        Number of its stratum, 0..S-1.
    fourths : callable
        From the values at rows, shape (m, F, r), of functions that are affine in the units' features within each
        stratum, to the sum over each stratum's units of (sum_r value^2)^2, shape (S, F).
    checksum : str
        Of what an estimate can depend on, to so few digits that it does not depend on the order of adding.
    dropped : tuple of (str, int)
        Why units are in no row, and how many.
    products : Products, optional
        Where the covariates differ within strata.
    of : tuple, optional
        What of the question they were made for; see :attr:`study.Question.of_rows`.
    refuse : callable, optional
        Refuses outcomes without a logarithm, from the strata and the periods (boolean, shape (T,)) of a sample.
    """

    frequency: FloatArray
    stratum: IntArray
    fourths: Callable[[FloatArray], FloatArray]
    checksum: str
    dropped: tuple[tuple[str, int], ...] = ()
    products: Products | None = None
    of: tuple[Any, ...] | None = None
    refuse: Callable[[IntArray, BoolArray], None] | None = None

    def select(self, rows: IntArray) -> Summed:
        """Return what some of the rows stand for, which have to be all of their strata."""
        n_rows, kept = len(self.frequency), np.unique(self.stratum[rows])

        def fourths(values: FloatArray) -> FloatArray:
            every = np.zeros((n_rows, *values.shape[1:]))
            every[rows] = values
            return self.fourths(every)[kept]

        return replace(
            self,
            frequency=self.frequency[rows],
            stratum=np.searchsorted(kept, self.stratum[rows]),
            fourths=fourths,
            products=None if self.products is None else Products(*(each[rows] for each in self.products)),
        )


class Rows(NamedTuple):
    """Rows that stand for strata: their features, shape (m, p), how many units each is, and its stratum, shape (m,)."""

    points: FloatArray
    frequency: FloatArray
    stratum: IntArray

    def affine(self, values: FloatArray) -> FloatArray:
        """Return constants and slopes, shape (S, 1 + p, ...), of functions of the features with values at the rows."""
        shape = values.shape[1:]
        maps = np.zeros((int(self.stratum.max()) + 1, 1 + self.points.shape[1], int(np.prod(shape))))
        for s, rows in enumerate(rows_by(self.stratum)):
            own, points = values[rows].reshape(len(rows), -1), self.points[rows]
            if not own.any():
                continue
            centre, middle = points.mean(axis=0), own.mean(axis=0)
            scale = np.abs(points - centre).max(axis=0, initial=0.0)
            scale[scale <= ROUNDING * np.abs(points).max(initial=0.0)] = np.inf
            slopes = np.linalg.lstsq((points - centre) / scale, own - middle, rcond=None)[0] / scale[:, None]
            maps[s, 0], maps[s, 1:] = middle - centre @ slopes, slopes
        return maps.reshape(len(maps), maps.shape[1], *shape)


def rows_of(sizes: FloatArray, means: FloatArray, products: FloatArray | None) -> Rows:
    """Return rows with the numbers, sums and products of S strata, of p features of their units.

    ``sizes`` has shape (S,), ``means`` (S, p); ``products``, shape (S, p, p), are the sums of products of deviations
    from these, and None where clusters of units are what varies, of which the mean is enough.
    """
    points, frequency = [np.empty((0, means.shape[1]))], [np.empty(0)]
    for s, (count, mean) in enumerate(zip(sizes, means, strict=True)):
        half = np.empty((len(mean), 0)) if products is None else _half(products[s], count)
        size = half.shape[1] + 1
        points.append(mean + np.sqrt(size / count) * (_directions(size - 1) @ half.T))
        frequency.append(np.full(size, count / size))
    stratum = np.repeat(np.arange(len(sizes)), [len(own) for own in frequency[1:]])
    return Rows(np.concatenate(points), np.concatenate(frequency), stratum)


def checksum(parts: Sequence[FloatArray | str]) -> str:
    """Return the first 16 hexadecimal digits of the SHA-256 of texts, and of numbers to six digits."""
    digest = hashlib.sha256()
    for part in parts:
        text = part if isinstance(part, str) else " ".join(f"{value:.5e}" for value in np.ravel(part) + 0.0)
        digest.update(f"{text}\0".encode())
    return digest.hexdigest()[:16]


def _half(products: FloatArray, count: float) -> FloatArray:
    """Return L with L L' = C, shape (p, r)."""
    scale = np.sqrt(np.maximum(np.diag(products), 0.0))
    safe = np.where(scale > 0, scale, 1.0)
    values, vectors = np.linalg.eigh(products / np.outer(safe, safe))
    most = int(min(len(values), round(count) - 1))
    used = (values > NOTHING * len(values)) & (np.arange(len(values)) >= len(values) - most)
    return scale[:, None] * vectors[:, used] * np.sqrt(values[used])


@cache
def _directions(rank: int) -> FloatArray:
    """Return r + 1 rows of r orthonormal columns that add up to zero, of which no entry is zero."""
    generic = np.random.default_rng(0).standard_normal((rank + 1, rank))
    return np.linalg.qr(np.column_stack([np.ones(rank + 1), generic]))[0][:, 1:]
