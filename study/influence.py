"""Influence functions by unit, kept as what they are: linear maps of blocks of unit-by-period arrays."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from study.panel import FloatArray

COLUMNS_AT_ONCE = 32


class Block(NamedTuple):
    """The part ``values @ coefficient`` of an influence function, which some units have.

    ``rows`` are the units, shape (m,), each at most once, None for all of them; ``values`` has shape (m, p),
    ``coefficient`` (p, K), None for the identity.
    """

    rows: NDArray[np.int64] | None
    values: FloatArray
    coefficient: FloatArray | None

    def times(self, weights: FloatArray) -> Block:
        """Return the block of linear combinations of its terms; weights has shape (K, M)."""
        if self.coefficient is None:
            return self._replace(coefficient=weights)
        return self._replace(coefficient=self.coefficient @ weights)

    def dense(self) -> FloatArray:
        """Return the values of its units, shape (m, K)."""
        return self.values if self.coefficient is None else self.values @ self.coefficient

    def sums(self, cluster: NDArray[np.int64]) -> tuple[NDArray[np.int64], FloatArray]:
        """Return the clusters that the block's units belong to, and the sums of its values over each."""
        of_unit = cluster if self.rows is None else cluster[self.rows]
        order = np.argsort(of_unit, kind="stable")
        present, start = np.unique(of_unit[order], return_index=True)
        sums = np.add.reduceat(self.values[order], start, axis=0) if len(order) else self.values[:0]
        return present, sums if self.coefficient is None else sums @ self.coefficient


@dataclass(frozen=True, eq=False)
class Influence:
    """The influence of n units on K estimates, whose error is its mean over units.

    A regression's influence is a matrix for each cohort times the residuals by period, so that a covariance
    needs the T x T products of residuals and not n x K numbers.

    Attributes
    ----------
    shape : tuple of int
        n and K.
    blocks : tuple of Block
        Parts that add up.
    """

    shape: tuple[int, int]
    blocks: tuple[Block, ...]

    @classmethod
    def of(cls, dense: FloatArray) -> Influence:
        """Return the influence that is given as an array of shape (n, K)."""
        return cls((dense.shape[0], dense.shape[1]), (Block(None, dense, None),))

    @classmethod
    def none(cls, n_units: int, n_terms: int) -> Influence:
        """Return the influence of terms on which no unit has any."""
        return cls((n_units, n_terms), ())

    @classmethod
    def by_group(
        cls,
        n_units: int,
        rows: Sequence[NDArray[np.int64]],
        values: Sequence[FloatArray],
        coefficients: FloatArray,
    ) -> Influence:
        """Return the influence of groups of units, each with its own map of values by unit.

        Shapes: rows (m_g,), values (m_g, p), coefficients (G, p, K).
        """
        blocks = tuple(Block(*part) for part in zip(rows, values, coefficients, strict=True))
        return cls((n_units, coefficients.shape[2]), blocks)

    def dense(self) -> FloatArray:
        """Return the influence as an array of shape (n, K)."""
        if len(self.blocks) == 1 and self.blocks[0].rows is None:
            return self.blocks[0].dense()
        out = np.zeros(self.shape)
        for block in self.blocks:
            if block.rows is None:
                out += block.dense()
            else:
                out[block.rows] += block.dense()
        return out

    def __matmul__(self, weights: FloatArray) -> Influence:
        """Return the influence on linear combinations of the estimates; weights has shape (K, M)."""
        shape = (self.shape[0], weights.shape[1])
        return Influence(shape, tuple(block.times(weights) for block in self.blocks))

    def select(self, which: NDArray[np.bool_]) -> Influence:
        """Return the influence on some of the estimates; which has shape (K,)."""
        return self._columns(np.flatnonzero(which))

    def _columns(self, columns: NDArray[np.int64]) -> Influence:
        blocks = (
            block._replace(values=block.values[:, columns])
            if block.coefficient is None
            else block._replace(coefficient=block.coefficient[:, columns])
            for block in self.blocks
        )
        return Influence((self.shape[0], len(columns)), tuple(blocks))

    def scaled(self, factor: FloatArray) -> Influence:
        """Return the influence on each estimate times a number; factor has shape (K,)."""
        blocks = (
            block._replace(values=block.values * factor)
            if block.coefficient is None
            else block._replace(coefficient=block.coefficient * factor)
            for block in self.blocks
        )
        return Influence(self.shape, tuple(blocks))

    def __add__(self, other: Influence) -> Influence:
        """Return the influence on the sums of two sets of estimates; blocks of the same values are joined."""
        blocks = list(self.blocks)
        place = {(id(b.rows), id(b.values)): k for k, b in enumerate(blocks) if b.coefficient is not None}
        for block in other.blocks:
            k = place.get((id(block.rows), id(block.values)))
            own = None if k is None else blocks[k].coefficient
            if k is None or own is None or block.coefficient is None:
                blocks.append(block)
            else:
                blocks[k] = block._replace(coefficient=own + block.coefficient)
        return Influence(self.shape, tuple(blocks))

    def __sub__(self, other: Influence) -> Influence:
        """Return the influence on the differences of two sets of estimates."""
        return self + other.scaled(np.full(other.shape[1], -1.0))

    def means(self) -> FloatArray:
        """Return the means over units, shape (K,)."""
        total = np.zeros(self.shape[1])
        for block in self.blocks:
            sums = block.values.sum(axis=0)
            total += sums if block.coefficient is None else sums @ block.coefficient
        return total / self.shape[0]

    def cluster_sums(self, cluster: NDArray[np.int64]) -> FloatArray:
        """Add up the units of each cluster, shape (G, K)."""
        n_clusters = int(cluster.max()) + 1
        if n_clusters == self.shape[0]:
            return self.dense()
        out = np.zeros((n_clusters, self.shape[1]))
        for block in self.blocks:
            present, sums = block.sums(cluster)
            out[present] += sums
        return out

    def products(self, cluster: NDArray[np.int64]) -> FloatArray:
        """Return the sum over clusters of s s', with s a cluster's sum, shape (K, K)."""
        if self._by_unit(cluster):
            total = np.zeros((self.shape[1], self.shape[1]))
            for left, right, gram in self._grams:
                half = gram if right.coefficient is None else gram @ right.coefficient
                total += half if left.coefficient is None else left.coefficient.T @ half
            return total
        sums = self.cluster_sums(cluster)
        return sums.T @ sums

    def squares(self, cluster: NDArray[np.int64]) -> FloatArray:
        """Return the diagonal of :meth:`products`, shape (K,), with little memory."""
        if len(self.blocks) == 1 and self.blocks[0].coefficient is None and self._by_unit(cluster):
            return np.einsum("ik,ik->k", self.blocks[0].values, self.blocks[0].values)
        if self._by_unit(cluster):
            total = np.zeros(self.shape[1])
            for left, right, gram in self._grams:
                half = gram if right.coefficient is None else gram @ right.coefficient
                total += (
                    np.diag(half)
                    if left.coefficient is None
                    else np.einsum("pk,pk->k", left.coefficient, half)
                )
            return total
        parts = np.split(np.arange(self.shape[1]), range(COLUMNS_AT_ONCE, self.shape[1], COLUMNS_AT_ONCE))
        sums = [self._columns(part).cluster_sums(cluster) for part in parts]
        return np.concatenate([np.einsum("ck,ck->k", s, s) for s in sums])

    @property
    def _grams(self) -> Iterator[tuple[Block, Block, FloatArray]]:
        """Yield the pairs of blocks of the same units with the products of their values."""
        for blocks in self._by_rows.values():
            for left in blocks:
                for right in blocks:
                    yield left, right, left.values.T @ right.values

    @cached_property
    def _by_rows(self) -> dict[int, list[Block]]:
        groups: dict[int, list[Block]] = {}
        for block in self.blocks:
            groups.setdefault(id(block.rows), []).append(block)
        return groups

    def _by_unit(self, cluster: NDArray[np.int64]) -> bool:
        return self._disjoint and int(cluster.max()) + 1 == self.shape[0]

    @cached_property
    def _disjoint(self) -> bool:
        """Whether blocks have either the same units or none in common."""
        if len(self._by_rows) <= 1:
            return True
        rows = [blocks[0].rows for blocks in self._by_rows.values()]
        if any(units is None for units in rows):
            return False
        units = np.concatenate([own for own in rows if own is not None])
        return not np.any(np.bincount(units, minlength=self.shape[0]) > 1)
