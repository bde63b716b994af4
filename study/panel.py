"""Panels: units x periods as wide arrays, with the first period of every kind of event."""

from __future__ import annotations

import hashlib
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from study.errors import unknown
from study.schema.reading import read_table
from study.schema.roles import Names, Roles
from study.schema.rows import Rows
from study.schema.rules import event_dates, refuse_first
from study.shipped import panel_entries, shipped

if TYPE_CHECKING:
    import pandas as pd

FloatArray = NDArray[np.float64]


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
    populations : dict of str to str
        Rules of populations by name (see ``study.population``); they are no data and not in the checksum.
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
    populations: Mapping[str, str] = field(default_factory=dict)

    @property
    def n_units(self) -> int:
        """Number of units."""
        return len(self.units)

    @property
    def events(self) -> tuple[str, ...]:
        """Names of the events of which the panel knows the dates or the path."""
        return tuple(dict.fromkeys([*self.first_treated, *self.treatment]))

    @cached_property
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
        first_treated: Names = (),
        treatment: Names = (),
        outcomes: Names,
        covariates: Names = (),
        attributes: Names = (),
        name: str | None = None,
        provenance: Mapping[str, Any] | None = None,
        populations: Mapping[str, str] | None = None,
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
        provenance : dict, optional
            Where the data come from.
        populations : dict of str to str, optional
            Rules of populations by name, for :attr:`study.Question.population`.

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
        roles = Roles.of(
            unit,
            time,
            first_treated=first_treated,
            treatment=treatment,
            outcomes=outcomes,
            covariates=covariates,
            attributes=attributes,
        )
        if isinstance(data, str | Path):
            label = name or Path(data).name
            rows = Rows(*read_table(Path(data)), unit, time)
        else:
            label, rows = name or "panel", Rows(data, None, unit, time)
        refuse_first(rows, roles, label)
        return cls._of_rows(rows, roles, label, dict(provenance or {}), dict(populations or {}))

    @classmethod
    def _of_rows(
        cls,
        rows: Rows,
        roles: Roles,
        name: str,
        provenance: Mapping[str, Any],
        populations: Mapping[str, str],
    ) -> Panel:
        """Build a panel from rows that break no rule."""
        units, codes, each = rows.distinct(roles.unit)
        periods, shape = rows.periods(), (len(units), len(rows.periods()))
        listed = each > 1
        order = np.argsort(codes) if listed else np.empty(0, dtype=np.int64)
        columns = np.argsort(rows.when_first()) if listed else order
        first = order * each if listed else rows.first_of(roles.unit)

        def wide(column: str) -> FloatArray:
            if listed:
                values, _, on_end = rows.compact(column)
                if on_end > 1:
                    return np.broadcast_to(values[order][:, None], shape)
                block = values.reshape(shape)[order]
                return block if np.all(np.diff(columns) == 1) else block[:, columns]
            block = np.full(len(units) * len(periods), np.nan)
            block[rows.cells(roles.unit)] = rows.numbers(column)[0]
            return block.reshape(shape)

        def label(column: str) -> NDArray[Any]:
            names, of_row = rows.labels(column)
            return names[of_row[first]]

        paths = {column: wide(column) for column in roles.treatment}
        dates = {column: event_dates(rows, column)[first] for column in roles.first_treated}
        dates |= {
            column: first_ones(path, periods)
            for column, path in paths.items()
            if column not in dates and never_switches_off(path)
        }
        return cls(
            name=name,
            units=units,
            periods=periods,
            outcomes={column: wide(column) for column in roles.outcomes},
            covariates={column: wide(column) for column in roles.covariates},
            first_treated=dates,
            treatment=paths,
            attributes={column: label(column) for column in roles.attributes},
            provenance=provenance,
            populations=populations,
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
    catalogue = panel_entries()
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
