"""Influence functions by unit, kept as what they are: linear maps of blocks of unit-by-period arrays."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import combinations
from typing import NamedTuple

import numpy as np

from study.core.arrays import BoolArray, FloatArray, IntArray, one_thread, sums_by

COLUMNS_AT_ONCE = 32
ROWS_AT_ONCE = 2048  # whose numbers stay in the cache
# Numbers that are few enough to be kept.
KEPT = 2**14

Units = IntArray


@dataclass(frozen=True, eq=False)
class Values:
    """Numbers by unit, for G groups of units.

    Attributes
    ----------
    rows : tuple of ndarray of int, shapes (m_g,)
        The units of each group, each at most once; None stands for all units.
    arrays : tuple of ndarray, shapes (m_g, p)
    """

    rows: tuple[Units | None, ...]
    arrays: tuple[FloatArray, ...]
    _crossed: dict[tuple[int, int, int], tuple[Values, FloatArray]] = field(default_factory=dict, init=False)

    def crossed(self, g: int, other: Values, h: int) -> FloatArray:
        """Products of the columns of group g with those of other values for the same units, shape (p, q), made once."""
        key = g, id(other), h
        if key not in self._crossed:
            with one_thread():
                self._crossed[key] = other, self.arrays[g].T @ other.arrays[h]
        return self._crossed[key][1]

    @cached_property
    def products(self) -> FloatArray:
        """Products of the columns over the units of each group, shape (G, p, p)."""
        with one_thread():
            return np.stack([array.T @ array for array in self.arrays])

    @cached_property
    def totals(self) -> FloatArray:
        """Sums of the columns over the units of each group, shape (G, p)."""
        return np.stack([array.sum(axis=0) for array in self.arrays])


class Part(NamedTuple):
    """What the units of group g have: ``values.arrays[g] @ coefficient[g]``.

    ``coefficient`` has shape (G, p, K); None is the identity for each group.
    """

    values: Values
    coefficient: FloatArray | None

    def groups(self) -> Iterator[tuple[int, Units | slice, FloatArray]]:
        """Yield the number, the units and the values of each group that has influence."""
        for g, (rows, array) in enumerate(zip(self.values.rows, self.values.arrays, strict=True)):
            if self.coefficient is None or self.coefficient[g].any():
                yield g, slice(None) if rows is None else rows, array

    def of(self, g: int, values: FloatArray, columns: BoolArray | None = None) -> FloatArray:
        """Apply the map of group g, or some of its columns, to an array with p columns."""
        if columns is None:
            return values if self.coefficient is None else values @ self.coefficient[g]
        return values[:, columns] if self.coefficient is None else values @ self.coefficient[g][:, columns]

    def has(self, g: int, n_terms: int) -> BoolArray:
        """Return on which terms the units of group g have influence, shape (K,)."""
        if self.coefficient is None:
            return np.ones(n_terms, dtype=bool)
        return np.asarray(self.coefficient[g].any(axis=0))


@dataclass(frozen=True, eq=False)
class Influence:
    """The influence of n units on K estimates, whose error is its mean over units.

    A regression's influence is a matrix for each cohort times the residuals by period, so that a covariance
    needs the T x T products of residuals and not n x K numbers.

    Attributes
    ----------
    shape : tuple of int
        n and K.
    parts : tuple of Part
        They add up.
    """

    shape: tuple[int, int]
    parts: tuple[Part, ...]

    def __repr__(self) -> str:
        """Return its size; ``dense()`` has its numbers."""
        return f"<Influence of {self.shape[0]} units on {self.shape[1]} estimates>"

    @classmethod
    def of(cls, dense: FloatArray, rows: Units | None = None, n_units: int | None = None) -> Influence:
        """Return the influence that is given as an array, of all units or of some rows among n, shape (m, K)."""
        n = len(dense) if n_units is None else n_units
        return cls((n, dense.shape[1]), (Part(Values((rows,), (dense,)), None),))

    @classmethod
    def none(cls, n_units: int, n_terms: int) -> Influence:
        """Return the influence of terms on which no unit has any."""
        return cls((n_units, n_terms), ())

    @classmethod
    def by_group(cls, n_units: int, values: Values, coefficient: FloatArray) -> Influence:
        """Return the influence of groups of units, each with its own map of values, (G, p, K)."""
        return cls((n_units, coefficient.shape[2]), (Part(values, coefficient),))

    def dense(self) -> FloatArray:
        """Return the influence as an array of shape (n, K)."""
        return self._few.copy() if self.is_small else self._dense()

    @property
    def is_small(self) -> bool:
        """Whether numbers are sooner added up one by one than by group."""
        return self.shape[0] * self.shape[1] <= KEPT

    @cached_property
    def _few(self) -> FloatArray:
        """The influence as an array that is kept, where it has few numbers."""
        return self._dense()

    def _dense(self) -> FloatArray:
        out = np.zeros(self.shape)
        with one_thread():
            for part in self.parts:
                for g, rows, array in part.groups():
                    out[rows] += part.of(g, array)
        return out

    def at(self, units: Units) -> FloatArray:
        """Return the influence of some units, each named once, shape (m, K)."""
        place, out = np.full(self.shape[0], -1), np.zeros((len(units), self.shape[1]))
        place[units] = np.arange(len(units))
        for part in self.parts:
            for g, rows, array in part.groups():
                there = place[rows]
                out[there[there >= 0]] += part.of(g, array[there >= 0])
        return out

    def __matmul__(self, weights: FloatArray) -> Influence:
        """Return the influence on linear combinations of the estimates; weights has shape (K, M)."""
        parts = (
            Part(values, np.repeat(weights[None], len(values.rows), axis=0) if c is None else c @ weights)
            for values, c in self.parts
        )
        return Influence((self.shape[0], weights.shape[1]), tuple(parts))

    def _by_term(self, n_terms: int, change: Callable[[FloatArray], FloatArray]) -> Influence:
        """Change what has a term a column: values that are influence themselves, and the coefficients of others."""
        parts = (
            Part(Values(values.rows, tuple(map(change, values.arrays))), None)
            if c is None
            else Part(values, change(c))
            for values, c in self.parts
        )
        return Influence((self.shape[0], n_terms), tuple(parts))

    def select(self, which: BoolArray) -> Influence:
        """Return the influence on some of the estimates; which has shape (K,)."""
        return self if which.all() else self.columns(np.flatnonzero(which))

    def columns(self, columns: IntArray) -> Influence:
        """Return the influence on the estimates of some numbers, without the parts that have none."""
        if np.array_equal(columns, np.arange(self.shape[1])):
            return self
        chosen = self._by_term(len(columns), lambda terms: terms[..., columns])
        return Influence(
            chosen.shape, tuple(p for p in chosen.parts if p.coefficient is None or p.coefficient.any())
        )

    @property
    def alike(self) -> bool:
        """Whether the influence on all estimates is the same, by its maps."""
        return all(c is not None and bool(np.all(c == c[..., :1])) for _, c in self.parts)

    def scaled(self, factor: FloatArray) -> Influence:
        """Return the influence on each estimate times a number; factor has shape (K,)."""
        return self._by_term(self.shape[1], lambda terms: terms * factor)

    def __add__(self, other: Influence) -> Influence:
        """Return the influence on the sums of two sets of estimates; maps of the same values are added."""
        parts = list(self.parts)
        place = {id(values): k for k, (values, c) in enumerate(parts) if c is not None}
        for values, c in other.parts:
            k = place.get(id(values))
            own = None if k is None else parts[k].coefficient
            if k is None or own is None or c is None:
                parts.append(Part(values, c))
            else:
                parts[k] = Part(values, own + c)
        return Influence(self.shape, tuple(parts))

    def __sub__(self, other: Influence) -> Influence:
        """Return the influence on the differences of two sets of estimates."""
        return self + other.scaled(np.full(other.shape[1], -1.0))

    def means(self) -> FloatArray:
        """Return the means over units, shape (K,)."""
        total = np.zeros(self.shape[1])
        for values, c in self.parts:
            total += values.totals.sum(axis=0) if c is None else np.einsum("gp,gpk->k", values.totals, c)
        return total / self.shape[0]

    def cluster_sums(self, cluster: IntArray, copies: FloatArray | None = None) -> FloatArray:
        """Add up the units of each cluster, shape (G, K).

        One that stands for several clusters, ``copies``, shape (G,), has their sum over the root of how many they are,
        so that products over clusters are those of all clusters.
        """
        if copies is not None:
            return self.cluster_sums(cluster) / np.sqrt(copies)[:, None]
        n_clusters = int(cluster.max()) + 1
        if np.array_equal(cluster, np.arange(self.shape[0])):  # each unit is the cluster of its own number
            return self.dense()
        out = np.zeros((n_clusters, self.shape[1]))
        for part in self.parts:
            for g, rows, array in part.groups():
                present, number = np.unique(cluster[rows], return_inverse=True)
                out[present] += part.of(g, sums_by(array, number))
        return out

    def sums_of_clusters(self, cluster: IntArray) -> tuple[IntArray, FloatArray]:
        """Return the m clusters with units that have influence, ascending, and their sums, shape (m, K)."""
        has = np.zeros(self.shape[0], dtype=bool)
        for part in self.parts:
            for _, rows, _ in part.groups():
                has[rows] = True
        units = np.flatnonzero(has)
        present = np.flatnonzero(np.bincount(cluster[units]))
        return present, sums_by(self.at(units), np.searchsorted(present, cluster[units]))

    def products(self, cluster: IntArray, copies: FloatArray | None = None) -> FloatArray:
        """Return the sum over clusters of s s', with s of :meth:`cluster_sums`, shape (K, K)."""
        if self.is_small or copies is not None or not self._by_unit(cluster):
            sums = self.cluster_sums(cluster, copies)
            return sums.T @ sums
        total = np.zeros((self.shape[1], self.shape[1]))
        for values, c in self.parts:
            half = values.products if c is None else values.products @ c
            total += half.sum(axis=0) if c is None else np.einsum("gpk,gpm->km", c, half, optimize=True)
        with one_thread():
            for entries in self._shared.values():
                for (left, g), (right, h) in combinations(entries, 2):
                    half = right.of(h, left.values.crossed(g, right.values, h))
                    both = half if left.coefficient is None else left.coefficient[g].T @ half
                    total += both + both.T
        return total

    def squares(self, cluster: IntArray, copies: FloatArray | None = None) -> FloatArray:
        """Return the diagonal of :meth:`products`, shape (K,), with little memory and never below zero."""
        if self.is_small or copies is not None or not self._by_unit(cluster):
            sums = [self.columns(part).cluster_sums(cluster, copies) for part in blocks(self.shape[1])]
            return np.concatenate([np.einsum("ck,ck->k", s, s) for s in sums])
        squares = sum((squares for _, squares in self.squares_by_array()), np.zeros(self.shape[1]))
        return np.maximum(squares, 0.0)

    def squares_by_array(self) -> Iterator[tuple[Units | None, FloatArray]]:
        """Yield each array of units with their sum of squares, shape (K,); arrays must have no unit in common."""
        with one_thread():
            for entries in self._shared.values():
                rows = entries[0][0].values.rows[entries[0][1]]
                if 2 * self.shape[1] < sum(part.values.arrays[g].shape[1] for part, g in entries):
                    own = sum(part.of(g, part.values.arrays[g]) for part, g in entries)
                    yield rows, np.einsum("ik,ik->k", own, own)
                    continue
                total = np.zeros(self.shape[1])
                for a, (part, g) in enumerate(entries):
                    array, c = part.values.arrays[g], part.coefficient
                    if c is None:
                        total += np.einsum("ik,ik->k", array, array)
                    else:
                        total += np.einsum("pk,pk->k", c[g], part.values.products[g] @ c[g])
                    for other, h in entries[a + 1 :]:
                        half = other.of(h, part.values.crossed(g, other.values, h))
                        total += 2 * (np.diag(half) if c is None else np.einsum("pk,pk->k", c[g], half))
                yield rows, total

    def powers_by_group(self, group: IntArray) -> tuple[FloatArray, FloatArray]:
        """Return the sums of squares and of fourth powers over the units of each group, shapes (G, K).

        Each array has to be of one group, and no unit in two arrays.
        """
        squares, fourths = np.zeros((2, int(group.max()) + 1, self.shape[1]))
        with one_thread():
            for entries in self._shared.values():
                (first, h), *_ = entries
                rows = first.values.rows[h]
                if rows is None or not len(rows):
                    continue
                some = np.any([part.has(g, self.shape[1]) for part, g in entries], axis=0)
                for start in range(0, len(rows), ROWS_AT_ONCE):
                    chunk = slice(start, start + ROWS_AT_ONCE)
                    own = np.zeros((len(rows[chunk]), int(some.sum())))
                    for part, g in entries:
                        own += part.of(g, part.values.arrays[g][chunk], some)
                    own *= own
                    squares[group[rows[0]], some] += own.sum(axis=0)
                    fourths[group[rows[0]], some] += np.einsum("ik,ik->k", own, own)
        return squares, fourths

    def by_groups(self, members: Sequence[IntArray]) -> Influence:
        """Return the same influence with one array for each group of units.

        It is returned as it is where it has few numbers, or where an array has some units of a group only.

        Parameters
        ----------
        members : sequence of ndarray of int
            The units of each group, ascending.
        """
        if self.is_small:
            return self
        group = np.empty(self.shape[0], dtype=np.int64)
        for k, units in enumerate(members):
            group[units] = k
        found: list[list[tuple[FloatArray, FloatArray]]] = [[] for _ in members]
        for part in self.parts:
            for g, rows, array in part.groups():
                units = np.arange(self.shape[0])[rows]
                order = np.lexsort([units, group[units]])
                numbers, start, count = np.unique(group[units[order]], return_index=True, return_counts=True)
                if any(number != len(members[k]) for k, number in zip(numbers, count, strict=True)):
                    return self
                own = np.eye(self.shape[1]) if part.coefficient is None else part.coefficient[g]
                for k, at, number in zip(numbers, start, count, strict=True):
                    found[k].append((array[order[at : at + number]], own))
        parts = [
            Part(
                Values((units,), (np.hstack([array for array, _ in own]),)),
                np.vstack([c for _, c in own])[None],
            )
            for units, own in zip(members, found, strict=True)
            if own
        ]
        return Influence(self.shape, tuple(parts))

    def within(self, group: IntArray) -> bool:
        """Say whether each array of units is of one group, and no unit is in two arrays; group has shape (n,)."""
        return self._disjoint and all(
            rows is not None and (len(rows) == 0 or bool(np.all(group[rows] == group[rows[0]])))
            for rows in self._arrays
        )

    def weighted(self, group: IntArray, factor: FloatArray) -> Influence:
        """Return the influence of each unit times a number of its group and the term; factor has shape (G, K)."""
        if self.is_small or not self.within(group):
            dense = self.dense()
            dense *= factor[group]
            return Influence.of(dense)
        parts = []
        for values, c in self.parts:
            groups = [0 if rows is None or not len(rows) else group[rows[0]] for rows in values.rows]
            own = factor[groups]
            if c is None:
                arrays = tuple(array * f for array, f in zip(values.arrays, own, strict=True))
                parts.append(Part(Values(values.rows, arrays), None))
            else:
                parts.append(Part(values, c * own[:, None, :]))
        return Influence(self.shape, tuple(parts))

    @cached_property
    def _shared(self) -> dict[int, list[tuple[Part, int]]]:
        """The parts and groups that each array of units has."""
        entries: dict[int, list[tuple[Part, int]]] = {}
        for part in self.parts:
            for g, rows in enumerate(part.values.rows):
                entries.setdefault(id(rows), []).append((part, g))
        return entries

    def _by_unit(self, cluster: IntArray) -> bool:
        """Say whether clusters are units, and arrays of units are either the same or have none in common."""
        return int(cluster.max()) + 1 == self.shape[0] and self._disjoint

    @cached_property
    def _disjoint(self) -> bool:
        if len(self._arrays) <= 1:
            return True
        if any(rows is None for rows in self._arrays):
            return False
        units = np.concatenate([rows for rows in self._arrays if rows is not None])
        return not np.any(np.bincount(units, minlength=self.shape[0]) > 1)

    @property
    def _arrays(self) -> list[Units | None]:
        """Each array of units, once."""
        return [part.values.rows[g] for (part, g), *_ in self._shared.values()]


def blocks(n_columns: int) -> list[IntArray]:
    """Split columns into as many at a time as memory is to hold of all units."""
    return np.split(np.arange(n_columns), range(COLUMNS_AT_ONCE, n_columns, COLUMNS_AT_ONCE))


def side_by_side(parts: Sequence[Influence]) -> Influence:
    """Return the influence on the terms of all parts, one after the other."""
    total, start = sum(part.shape[1] for part in parts), 0
    joint = Influence.none(parts[0].shape[0], total)
    for part in parts:
        joint += part @ np.eye(part.shape[1], total, start)
        start += part.shape[1]
    return joint
