"""Panels: units x periods as wide arrays, with the first period of every kind of event."""

from __future__ import annotations

import hashlib
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from study.errors import DataError, unknown
from study.shipped import shipped

if TYPE_CHECKING:
    import pandas as pd

FloatArray = NDArray[np.float64]

FARTHEST_EVENT = 200


@dataclass(frozen=True, eq=False)
class Panel:
    """Outcomes, covariates and events of n units over T consecutive periods.

    Attributes
    ----------
    name : str
        What the panel is called in messages and outputs.
    units : ndarray of str, shape (n,)
        Sorted unit labels.
    periods : ndarray of int, shape (T,)
        Consecutive periods.
    outcomes, covariates : dict of ndarray of float, shape (n, T)
        NaN marks a cell that is not observed.
    first_treated : dict of ndarray of float, shape (n,)
        By event: the first treated period, NaN = never. It may lie outside the window.
    treatment : dict of ndarray of float, shape (n, T)
        By event: a 0/1 path, for events that were given as one. An event that never switches
        off is in ``first_treated`` as well.
    attributes : dict of ndarray, shape (n,)
        Fixed labels of units: country, tier, cluster.
    provenance : dict
        Where the data come from (sources, versions, checksums), as recorded with the panel.
    """

    name: str
    units: NDArray[Any]
    periods: NDArray[np.int64]
    outcomes: Mapping[str, FloatArray]
    covariates: Mapping[str, FloatArray]
    first_treated: Mapping[str, FloatArray]
    treatment: Mapping[str, FloatArray]
    attributes: Mapping[str, NDArray[Any]]
    provenance: Mapping[str, Any] = field(default_factory=dict)

    @property
    def n_units(self) -> int:
        """Number of units."""
        return len(self.units)

    @property
    def events(self) -> tuple[str, ...]:
        """Names of the events of which the panel knows the dates or the path."""
        return tuple(dict.fromkeys([*self.first_treated, *self.treatment]))

    @property
    def checksum(self) -> str:
        """First 16 hexadecimal digits of the SHA-256 of everything that an estimate can depend on."""
        digest = hashlib.sha256()
        digest.update("\0".join(map(str, self.units)).encode())
        digest.update(self.periods.astype("<i8").tobytes())
        for block in (self.outcomes, self.covariates, self.first_treated, self.treatment):
            for key in sorted(block):
                digest.update(key.encode() + b"\0")
                digest.update(
                    (np.where(np.isnan(block[key]), np.nan, block[key]) + 0.0).astype("<f8").tobytes()
                )
        for key in sorted(self.attributes):
            digest.update("\0".join([key, *map(str, self.attributes[key])]).encode())
        return digest.hexdigest()[:16]

    @classmethod
    def from_long(
        cls,
        data: pd.DataFrame | str | Path,
        *,
        unit: str,
        time: str,
        first_treated: str | Sequence[str] = (),
        treatment: str | Sequence[str] = (),
        outcomes: str | Sequence[str],
        covariates: str | Sequence[str] = (),
        attributes: str | Sequence[str] = (),
        name: str | None = None,
        provenance: Mapping[str, Any] | None = None,
    ) -> Panel:
        """Build a panel from one row a unit and period.

        Parameters
        ----------
        data : DataFrame or path
            A long table, or the path of a CSV file of one (UTF-8, comma-separated, with a header).
        unit, time : str
            Columns that identify a row. Periods are whole numbers.
        first_treated : str or sequence of str
            Columns with the first treated period of the row's unit; empty, or 0 before the first
            period, is never treated.
        treatment : str or sequence of str
            Columns that are 1 in treated cells and 0 elsewhere.
        outcomes, covariates : str or sequence of str
            Number columns; empty is not observed.
        attributes : str or sequence of str
            Label columns that do not change within a unit (country, tier, cluster).
        name : str, optional
            Name of the panel; by default the file's name, or "panel".

        Returns
        -------
        Panel

        Raises
        ------
        DataError
            If a column is missing or not numeric, a unit-period stands twice, periods have a gap,
            an event period is impossible, or a label changes within a unit; the message names the
            first row concerned.
        """
        in_memory = not isinstance(data, str | Path)
        table, label = (data, name or "panel") if in_memory else _read(Path(data), name)
        events, paths = _names(first_treated), _names(treatment)
        outcome_names, covariate_names, attribute_names = map(_names, (outcomes, covariates, attributes))
        rows = _Rows(label, table, first_line=1 if in_memory else 2)
        rows.require([unit, time, *events, *paths, *outcome_names, *covariate_names, *attribute_names])
        if not outcome_names:
            raise DataError(f"{label}: no outcome is named; say which columns are outcomes.")
        if not events and not paths:
            raise DataError(f"{label}: no event is named; give first_treated= or treatment=.")

        when = rows.whole_numbers(time)
        units, unit_index = np.unique(rows.labels(unit), return_inverse=True)
        periods = np.unique(when)
        rows.check_once(units[unit_index], when, unit, time)
        gap = np.flatnonzero(np.diff(periods) != 1)
        if gap.size:
            raise DataError(
                f"{label}: periods jump from {periods[gap[0]]} to {periods[gap[0] + 1]}; "
                "number them consecutively or add the missing ones."
            )
        time_index = when - periods[0]

        def wide(column: str) -> FloatArray:
            block = np.full((len(units), len(periods)), np.nan)
            block[unit_index, time_index] = rows.numbers(column)
            return block

        treatment_paths = {column: rows.zero_one(column, wide(column), units, periods) for column in paths}
        dates = {column: rows.event_periods(column, unit_index, units, periods) for column in events}
        dates |= {
            column: first_ones(path, periods)
            for column, path in treatment_paths.items()
            if column not in dates and never_switches_off(path)
        }
        return cls(
            name=label,
            units=units,
            periods=periods,
            outcomes={column: wide(column) for column in outcome_names},
            covariates={column: wide(column) for column in covariate_names},
            first_treated=dates,
            treatment=treatment_paths,
            attributes={column: rows.fixed(column, unit_index, units) for column in attribute_names},
            provenance=dict(provenance or {}),
        )


def load_panel(name: str) -> Panel:
    """Load a panel that ships with the package.

    Parameters
    ----------
    name : str
        Name of the panel, for example "cvpr"; ``data/panels.toml`` lists them.

    Raises
    ------
    QuestionError
        If there is no such panel.
    """
    catalogue = tomllib.loads(shipped("data", "panels.toml").read_text(encoding="utf-8"))
    if name not in catalogue:
        raise unknown("panel", name, catalogue, "load_panel")
    entry = dict(catalogue[name])
    sources = tomllib.loads(shipped("data", "sources.toml").read_text(encoding="utf-8"))
    return Panel.from_long(shipped("data", entry.pop("file")), name=name, provenance=sources, **entry)


def never_switches_off(path: FloatArray) -> bool:
    """Say whether no observed 0 follows an observed 1 within a unit."""
    treated = np.maximum.accumulate(np.nan_to_num(path), axis=1)
    return not bool(np.any((treated == 1) & (path == 0)))


def first_ones(path: FloatArray, periods: NDArray[np.int64]) -> FloatArray:
    """Return the first period with a 1 by unit, NaN where there is none."""
    ones = path == 1
    return np.where(ones.any(axis=1), periods[ones.argmax(axis=1)].astype(float), np.nan)


def _names(columns: str | Sequence[str]) -> list[str]:
    return [columns] if isinstance(columns, str) else list(columns)


def _read(path: Path, name: str | None) -> tuple[pd.DataFrame, str]:
    import pandas as pd

    label = name or path.name
    if not path.is_file():
        raise DataError(f"{path}: there is no such file.")
    try:
        return pd.read_csv(path, dtype=str, keep_default_na=False), label
    except (UnicodeDecodeError, pd.errors.ParserError, pd.errors.EmptyDataError) as error:
        raise DataError(
            f"{path}: not a readable CSV table ({str(error).strip()}); save it as UTF-8 CSV."
        ) from error


@dataclass(frozen=True)
class _Rows:
    """A long table that reports its faults by row."""

    label: str
    table: pd.DataFrame
    first_line: int

    def line(self, row: int) -> str:
        """Name a row as its user counts: the file's line, or the table's row."""
        return f"{'line' if self.first_line == 2 else 'row'} {row + self.first_line}"

    def require(self, columns: list[str]) -> None:
        """Refuse a table that is empty or lacks a column."""
        for column in columns:
            if column not in self.table.columns:
                raise DataError(str(unknown("column", column, map(str, self.table.columns), self.label)))
        if self.table.empty:
            raise DataError(f"{self.label}: the table has no rows.")

    def labels(self, column: str) -> NDArray[Any]:
        """Return a column as text, none of it empty."""
        text = self.table[column].astype("string").str.strip().fillna("")
        empty = np.flatnonzero((text == "").to_numpy())
        if empty.size:
            raise DataError(
                f"{self.label}: column {column} is empty on {self.line(empty[0])}; every row needs one."
            )
        return text.to_numpy(dtype=object).astype(str)

    def numbers(self, column: str) -> FloatArray:
        """Return a column as float64, empty cells as NaN."""
        import pandas as pd

        raw = self.table[column]
        values = pd.to_numeric(raw, errors="coerce").to_numpy(dtype=float, na_value=np.nan, copy=True)
        text = raw.astype("string").str.strip().fillna("")
        bad = np.isnan(values) & ~text.str.lower().isin(["", "na", "nan", "<na>", "none"]).to_numpy()
        bad |= np.isinf(values)
        if bad.any():
            row = int(np.flatnonzero(bad)[0])
            raise DataError(
                f'{self.label}: column {column} holds "{text.iloc[row]}" on {self.line(row)}; '
                "it must be a number or empty."
            )
        return values

    def whole_numbers(self, column: str) -> NDArray[np.int64]:
        """Return a column of periods as integers."""
        values = self.numbers(column)
        bad = np.flatnonzero(np.isnan(values) | (values != np.round(values)))
        if bad.size:
            raise DataError(
                f'{self.label}: column {column} holds "{self.table[column].iloc[bad[0]]}" on '
                f"{self.line(bad[0])}; a period is a whole number."
            )
        return values.astype(np.int64)

    def check_once(self, units: NDArray[Any], when: NDArray[np.int64], unit: str, time: str) -> None:
        """Refuse a table in which a unit-period stands twice."""
        import pandas as pd

        keys = pd.DataFrame({unit: units, time: when})
        twice = keys.duplicated(keep="first").to_numpy()
        if twice.any():
            second = int(np.flatnonzero(twice)[0])
            same = (keys[unit] == keys[unit].iloc[second]) & (keys[time] == keys[time].iloc[second])
            first = int(np.flatnonzero(same.to_numpy())[0])
            raise DataError(
                f"{self.label}: {twice.sum()} unit-periods appear twice, first "
                f"({keys[unit].iloc[second]}, {keys[time].iloc[second]}) on {self.line(first)} and "
                f"{self.line(second)}; keep one row each."
            )

    def zero_one(
        self, column: str, path: FloatArray, units: NDArray[Any], periods: NDArray[np.int64]
    ) -> FloatArray:
        """Return a treatment path, all of it 0, 1 or not observed."""
        bad = np.argwhere(~np.isnan(path) & (path != 0) & (path != 1))
        if bad.size:
            i, t = bad[0]
            raise DataError(
                f"{self.label}: column {column} is {path[i, t]:g} for ({units[i]}, {periods[t]}); "
                "a treatment is 0 or 1."
            )
        return path

    def event_periods(
        self, column: str, unit_index: NDArray[np.int64], units: NDArray[Any], periods: NDArray[np.int64]
    ) -> FloatArray:
        """Return one first treated period a unit, NaN where it is never treated."""
        values = self.numbers(column)
        values[(values == 0) & (periods[0] > 0)] = np.nan
        far = (values < periods[0] - FARTHEST_EVENT) | (values > periods[-1] + FARTHEST_EVENT)
        bad = np.flatnonzero(~np.isnan(values) & ((values != np.round(values)) | far))
        if bad.size:
            raise DataError(
                f"{self.label}: column {column} is {values[bad[0]]:g} for {units[unit_index[bad[0]]]} on "
                f"{self.line(bad[0])}, an impossible event period for a panel of {periods[0]}-{periods[-1]}; "
                "correct it, or leave it empty if the unit is never treated."
            )
        self._check_fixed(column, np.nan_to_num(values, nan=np.inf), unit_index, units)
        dates = np.full(len(units), np.nan)
        dates[unit_index] = values
        return dates

    def fixed(self, column: str, unit_index: NDArray[np.int64], units: NDArray[Any]) -> NDArray[Any]:
        """Return one label a unit."""
        text = self.table[column].astype("string").str.strip().fillna("").to_numpy(dtype=object).astype(str)
        self._check_fixed(column, text, unit_index, units)
        labels = np.empty(len(units), dtype=text.dtype)
        labels[unit_index] = text
        return labels

    def _check_fixed(
        self, column: str, values: NDArray[Any], unit_index: NDArray[np.int64], units: NDArray[Any]
    ) -> None:
        first_row = np.unique(unit_index, return_index=True)[1]
        changed = np.flatnonzero(values != values[first_row][unit_index])
        if changed.size:
            row = int(changed[0])
            earlier = int(first_row[unit_index[row]])
            raise DataError(
                f"{self.label}: column {column} changes within {units[unit_index[row]]} between "
                f"{self.line(earlier)} and {self.line(row)}; it must be one value a unit."
            )
