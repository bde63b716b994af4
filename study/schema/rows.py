"""A long table read column by column: labels, numbers, and where each row stands."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import pandas as pd

NO_NUMBER = ("", "na", "nan", "<na>", "none", "nat")
# Beyond it float64 does not tell neighbouring whole numbers apart.
LARGEST_WHOLE = 2.0**53


@dataclass(frozen=True, eq=False)
class Rows:
    """A long table, its columns parsed once each.

    Attributes
    ----------
    table : DataFrame
    lines : ndarray of int, optional
        Line of the file on which each row stands; rows of a table in memory count from one.
    unit, time : str
        Columns that identify a row.
    """

    table: pd.DataFrame
    lines: NDArray[np.int64] | None = None
    unit: str = ""
    time: str = ""
    _parsed: dict[tuple[str, str], Any] = field(default_factory=dict, repr=False)

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self.table)

    def place(self, row: int) -> str:
        """Name a row as its user counts, for example "line 5"."""
        return f"row {row + 1}" if self.lines is None else f"line {self.lines[row]}"

    def cell(self, column: str, row: int) -> str:
        """Return what a cell holds, as text without spaces around it."""
        return str(self.texts(column, np.array([row]))[0])

    def texts(self, column: str, rows: NDArray[np.int64]) -> NDArray[Any]:
        """Return what the cells of some rows hold, as in :meth:`cell`."""
        return self.table[column].iloc[rows].astype("string").str.strip().fillna("").to_numpy(dtype=object)

    def labels(self, column: str) -> tuple[NDArray[Any], NDArray[np.int64]]:
        """Return the distinct labels of a column, sorted, and the number of each row's label.

        Labels are text without spaces around them; an empty cell has the label "".
        """
        return self._once("labels", column, self._read_labels)

    def numbers(self, column: str) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
        """Return a column as float64 with NaN in empty cells, and which cells hold something else."""
        return self._once("numbers", column, self._read_numbers)

    def when(self) -> NDArray[np.float64]:
        """Return the periods of the rows, NaN where there is no whole number."""
        return self._once("when", self.time, self._read_periods)

    def periods(self) -> NDArray[np.int64]:
        """Return the distinct periods, ascending."""
        return self._once("periods", self.time, lambda _: _distinct(self.when()))

    def cells(self, unit: str) -> NDArray[np.int64]:
        """Return a number that two rows share only if they are of one unit and period; -1 where either is unknown."""
        names, codes = self.labels(unit)
        known = ~np.isnan(self.when()) & (names != "")[codes]
        position = np.searchsorted(self.periods(), np.nan_to_num(self.when()))
        return np.where(known, codes * len(self.periods()) + position, -1)

    def first_rows(self, column: str) -> NDArray[np.int64]:
        """Return for each row the first row with the same label."""
        return self._once("first", column, lambda name: _first_rows(self.labels(name)[1]))

    def _once(self, what: str, column: str, read: Callable[[str], Any]) -> Any:
        if (what, column) not in self._parsed:
            self._parsed[what, column] = read(column)
        return self._parsed[what, column]

    def _read_labels(self, column: str) -> tuple[NDArray[Any], NDArray[np.int64]]:
        import pandas as pd

        codes, values = pd.factorize(self.table[column])
        texts = pd.Series(values).astype("string").str.strip().fillna("").to_numpy(dtype=object)
        if (codes == -1).any():
            codes, texts = np.where(codes == -1, len(texts), codes), np.append(texts, "")
        names, position = np.unique(texts.astype(str), return_inverse=True)
        return names, position[codes]

    def _read_numbers(self, column: str) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
        import pandas as pd

        raw = self.table[column]
        if raw.dtype.kind in "mM":
            raw = raw.astype("string")
        values = pd.to_numeric(raw, errors="coerce").to_numpy(dtype=float, na_value=np.nan, copy=True)
        bad = np.isinf(values)
        unread = np.flatnonzero(np.isnan(values))
        codes, there = pd.factorize(raw.iloc[unread])
        strange = np.array([str(value).strip().lower() not in NO_NUMBER for value in there], dtype=bool)
        bad[unread[codes >= 0]] = strange[codes[codes >= 0]]
        values[bad] = np.nan
        return values, bad

    def _read_periods(self, column: str) -> NDArray[np.float64]:
        values = self.numbers(column)[0]
        whole = (values == np.round(values)) & (np.abs(values) < LARGEST_WHOLE)
        return np.where(whole, values, np.nan)


def _distinct(when: NDArray[np.float64]) -> NDArray[np.int64]:
    import pandas as pd

    return np.sort(pd.unique(when[~np.isnan(when)])).astype(np.int64)


def _first_rows(codes: NDArray[np.int64]) -> NDArray[np.int64]:
    first = np.empty(int(codes.max(initial=-1)) + 1, dtype=np.int64)
    # Of repeated indices numpy keeps the last assignment, which in reversed order is the first row.
    first[codes[::-1]] = np.arange(len(codes))[::-1]
    return first[codes]
