"""Sums over the units of a table by stratum: numbers, means, products of deviations, and fourth powers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import ibis
import numpy as np
import pandas as pd

from study.core import FloatArray, QuestionError, WorkerError, sums_by
from study.panel.engines import Engine
from study.panel.summed import Rows, Strata

# Sums in one query.
MOST_SUMS = 400
# Of the largest part that a feature has in a value.
ROUNDING = 1e-12


@dataclass(frozen=True)
class Stratified:
    """Units in an engine with the columns that make strata of them, none of which is empty, and features f0, f1, ...

    Attributes
    ----------
    engine : Engine
    table : ibis.Table
    keys : mapping of str to str
        Columns whose values make a stratum, and what each is in words.
    n_features : int
    """

    engine: Engine
    table: ibis.Table
    keys: Mapping[str, str]
    n_features: int

    @cached_property
    def number(self) -> int:
        """How many strata there are."""
        return self._distinct(list(self.keys))

    def refuse_many(self, limit: int) -> None:
        """Refuse more strata than a limit, and say what makes them."""
        if self.number <= limit:
            return
        kinds: dict[str, list[str]] = {}
        for key, what in self.keys.items():
            kinds.setdefault(what, []).append(key)
        counts = {what: self._distinct(keys) for what, keys in kinds.items()}
        what = ", ".join(f"{count:,} {what}" for what, count in counts.items() if count > 1)
        raise QuestionError(
            f"{self.engine.label}: the units are in {self.number:,} strata, more than limit={limit:,}: {what}; use "
            'coarser weights, covariates or clusters, missing="balanced", or a larger limit (more memory).'
        )

    def _distinct(self, keys: list[str]) -> int:
        return int(self.engine.number(self.table.select(*keys).distinct().count()))

    def sizes_and_means(self) -> tuple[pd.DataFrame, FloatArray, FloatArray]:
        """Return the keys of the strata in their order, how many units each has, and the means of their features."""
        table = self.table
        sums = {f"f{j}": table[f"f{j}"].sum() for j in range(self.n_features)}
        found = self.engine.frame(table.group_by(list(self.keys)).aggregate(n=table.count(), **sums))
        found = found.sort_values(list(self.keys), ignore_index=True)
        size = found["n"].to_numpy(dtype=float)
        mean = found[list(sums)].to_numpy(dtype=float) / size[:, None]
        return found[list(self.keys)], size, mean

    def strata(self, of: pd.DataFrame, size: FloatArray, mean: FloatArray, products: bool) -> Strata:
        """Return the strata; sums of deviations from the means correct these for what adding large numbers has lost."""
        n, p = mean.shape
        if not products:
            return Strata(size, mean, None)
        joined = self._with(of, {f"mean{j}": mean[:, j] for j in range(p)})
        deviations = {f"d{j}": joined[f"f{j}"] - joined[f"mean{j}"] for j in range(p)}
        table = joined.select("s", **deviations)
        pairs = [(j, k) for j in range(p) for k in range(j, p)]
        sums: dict[str, Any] = {"n": table.count()} | {f"sum{j}": table[f"d{j}"].sum() for j in range(p)}
        sums |= {f"of{j}_{k}": (table[f"d{j}"] * table[f"d{k}"]).sum() for j, k in pairs}
        found = self._by_stratum(table, sums, n, "adding up products")
        if not np.array_equal(found["n"], size):
            raise WorkerError(
                f"{self.engine.label}: the engine finds other units in a stratum than it counted; was the table "
                "changed meanwhile? Open the panel again."
            )
        lost = np.column_stack([found[f"sum{j}"] for j in range(p)]) / size[:, None]
        block = np.empty((n, p, p))
        for j, k in pairs:
            block[:, j, k] = block[:, k, j] = found[f"of{j}_{k}"]
        block -= size[:, None, None] * lost[:, :, None] * lost[:, None]
        return Strata(size, mean + lost, block)

    def fourths(self, of: pd.DataFrame, rows: Rows) -> Callable[[FloatArray], FloatArray]:
        """Return what adds up (sum_r value^2)^2 over the units of each stratum, from values at the rows."""

        def summed(values: FloatArray) -> FloatArray:
            maps = _without_rounding(rows.affine(values), rows)
            total = np.zeros((len(maps), maps.shape[2]))
            live = maps.reshape(len(maps), -1).any(axis=1)
            terms = np.count_nonzero(maps.any(axis=0), axis=(0, 2))
            queries = np.cumsum(terms) // MOST_SUMS
            for query in np.unique(queries[terms > 0]):
                functions = np.flatnonzero((queries == query) & (terms > 0))
                total[:, functions] = self._fourths(of, maps[:, :, functions], live)
            return total

        return summed

    def _fourths(self, of: pd.DataFrame, maps: FloatArray, live: Any) -> FloatArray:
        n, width, n_functions, several = maps.shape
        used = [(j, f, r) for f, r, j in np.ndindex(n_functions, several, width) if maps[:, j, f, r].any()]
        joined = self._with(of, {f"c{j}_{f}_{r}": maps[:, j, f, r] for j, f, r in used}, live)
        squares: dict[int, Any] = {}
        for f, r in dict.fromkeys((f, r) for _, f, r in used):
            terms = [
                joined[f"c{j}_{f}_{r}"] * (joined[f"f{j - 1}"] if j else 1.0)
                for j, g, q in used
                if (g, q) == (f, r)
            ]
            value = sum(terms[1:], terms[0])
            squares[f] = squares[f] + value * value if f in squares else value * value
        table = joined.select("s", **{f"q{f}": square for f, square in squares.items()})
        sums = {f"sum{f}": (table[f"q{f}"] * table[f"q{f}"]).sum() for f in squares}
        found = self._by_stratum(table, sums, n, "adding up fourth powers")
        return np.column_stack([found.get(f"sum{f}", np.zeros(n)) for f in range(n_functions)])

    def _with(
        self, of: pd.DataFrame, columns: Mapping[str, FloatArray], live: Any = slice(None)
    ) -> ibis.Table:
        """Return the units of some strata with columns by stratum, whose number is s."""
        by_stratum = pd.concat([of, pd.DataFrame({"s": np.arange(len(of)), **columns})], axis=1)[live]
        return self.table.inner_join(ibis.memtable(by_stratum), list(self.keys))

    def _by_stratum(
        self, table: ibis.Table, sums: Mapping[str, Any], n: int, step: str
    ) -> dict[str, FloatArray]:
        """Return sums by stratum, zero where it has no units there."""
        found: dict[str, FloatArray] = {}
        every = list(sums)
        batches = [every[start : start + MOST_SUMS] for start in range(0, len(every), MOST_SUMS)]
        for number, names in enumerate(batches):
            self.engine.tell(step + (f", part {number + 1} of {len(batches)}" if len(batches) > 1 else ""))
            frame = self.engine.frame(table.group_by("s").aggregate(**{name: sums[name] for name in names}))
            for name in names:
                found[name] = np.zeros(n)
                found[name][frame["s"].to_numpy(dtype=np.int64)] = frame[name].to_numpy(dtype=float)
        return found


def _without_rounding(maps: FloatArray, rows: Rows) -> FloatArray:
    """Return maps without the slopes that solving has left of zero, so that queries are about few features."""
    n, p = len(maps), rows.points.shape[1]
    size = np.bincount(rows.stratum, minlength=n)
    centre = sums_by(rows.points / size[rows.stratum, None], rows.stratum, n)
    spread = np.zeros((n, p))
    np.maximum.at(spread, rows.stratum, np.abs(rows.points - centre[rows.stratum]))
    moved = np.abs(maps[:, 1:]) * spread[:, :, None, None]
    left = np.where(moved < ROUNDING * moved.max(axis=1, keepdims=True, initial=0.0), maps[:, 1:], 0.0)
    constant = maps[:, :1] + np.einsum("sp,spfr->sfr", centre, left)[:, None]
    return np.concatenate([constant, maps[:, 1:] - left], axis=1)
