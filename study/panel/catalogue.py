"""The catalogue of columns: what each means in each table that ships, and the rules that its values keep."""

from __future__ import annotations

import csv
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from functools import cache
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
from pydantic import AfterValidator, ConfigDict

from study.core import BoolArray, DataError, QuestionError, from_toml, not_known, read_toml, refuse_unknown
from study.panel.packaged import shipped
from study.panel.rows import Rows
from study.panel.rules import Rule, not_empty, number, same

COUNTRIES_FILE = "countries.csv"


@dataclass(frozen=True)
class Country:
    """A country or territory: ISO 3166 alpha-2 code, English name, M49 region and sub-region."""

    iso2: str
    name: str
    region: str
    subregion: str


@cache
def countries() -> dict[str, Country]:
    """Return all countries of the shipped table by their codes.

    The table has all officially assigned codes and XK (Kosovo). M49 has neither Taiwan nor Kosovo: they
    stand with their neighbours, in Eastern Asia and in Southern Europe.
    """
    with shipped("data", COUNTRIES_FILE).open(encoding="utf-8", newline="") as stream:
        return {row["iso2"]: Country(**row) for row in csv.DictReader(stream)}


def region(iso2: str) -> str:
    """Return the M49 region of a country ("Africa", "Americas", "Asia", "Europe", "Oceania", "Antarctica").

    Raises
    ------
    DataError
        If the code is not in the table.
    """
    country = countries().get(iso2)
    if country is None:
        raise DataError(
            f'countries: "{iso2}" is no ISO 3166 alpha-2 code of {COUNTRIES_FILE}; correct it, or add it there.'
        )
    return country.region


FILE = "columns.toml"

_MONTH = re.compile(r"\d{4}(-(0[1-9]|1[0-2]))?")
_DAY = re.compile(r"\d{4}(-(0[1-9]|1[0-2])(-(0[1-9]|[12]\d|3[01]))?)?")
_ADDRESS = re.compile(r"https?://\S+")


@dataclass(frozen=True)
class Type:
    """A kind of values: the rest of a sentence that begins "must be", and which labels or numbers it allows."""

    text: str
    label: Callable[[str], bool] | None = None
    number: Callable[[np.ndarray], BoolArray] | None = None

    def rule(self, column: str) -> Rule:
        """Return the rule that a column has values of this kind, or empty cells."""

        def broken(rows: Rows) -> BoolArray:
            if self.number is not None:
                values = rows.numbers(column)[0]
                return ~np.isnan(values) & ~self.number(values)
            names, codes = rows.labels(column)
            label = self.label or bool
            return np.array([name != "" and not label(str(name)) for name in names], dtype=bool)[codes]

        return Rule(column, f"must be {self.text}", broken)


def _integer(values: np.ndarray) -> BoolArray:
    return values == np.round(values)


TYPES = {
    "label": Type("a text"),
    "text": Type("a text"),
    "country": Type("an ISO 3166 alpha-2 code", label=lambda text: text in countries()),
    "month": Type(
        "YYYY-MM, or YYYY where the month is not known", label=lambda text: bool(_MONTH.fullmatch(text))
    ),
    "day": Type("YYYY-MM-DD, or as much of it as is known", label=lambda text: bool(_DAY.fullmatch(text))),
    "address": Type("a web address", label=lambda text: bool(_ADDRESS.fullmatch(text))),
    "number": Type("a number", number=np.isfinite),
    "year": Type("a whole number", number=_integer),
    "count": Type("a whole number, 0 or more", number=lambda values: _integer(values) & (values >= 0)),
    "amount": Type("a number, 0 or more", number=lambda values: values >= 0),
    "share": Type("a number from 0 to 1", number=lambda values: (values >= 0) & (values <= 1)),
    "flag": Type("0 or 1", number=lambda values: (values == 0) | (values == 1)),
}


def _known_type(name: str) -> str:
    if name not in TYPES:
        raise not_known("type", name, TYPES)
    return name


@dataclass(frozen=True)
class Entry:
    """What is known of a column.

    Attributes
    ----------
    meaning : str
    type : str
        One of :data:`TYPES`.
    unit : str
        Unit of measurement.
    source : str
        Where the values come from.
    empty : str
        What an empty cell means; a column without it has none.
    values : tuple of str
        The labels there are; any where none are given.
    sums : tuple of tuple of str
        Columns that add up to it, in one way or several.
    at_most : str
        Column that it never exceeds.
    same_by : {"unit", "period"}, optional
        Given if it is the same in all rows of one.
    """

    meaning: str
    type: Annotated[str, AfterValidator(_known_type)]
    source: str
    unit: str = ""
    empty: str = ""
    values: tuple[str, ...] = ()
    sums: tuple[tuple[str, ...], ...] = ()
    at_most: str = ""
    same_by: Literal["unit", "period"] | None = None

    @property
    def rule_texts(self) -> list[str]:
        """What the values keep, in words."""
        rules = self._own_rules("", {"unit": "", "period": ""})
        return [rule.text.removeprefix("must be ") for rule in rules]

    def rules(self, column: str, identity: Mapping[str, str]) -> list[Rule]:
        """Return the rules of a column in a table; ``identity`` names its "unit" and "period" columns, if any."""
        rules = [] if self.empty else [not_empty(column)]
        rules += [number(column)] if TYPES[self.type].number else []
        return rules + self._own_rules(column, identity)

    def _own_rules(self, column: str, identity: Mapping[str, str]) -> list[Rule]:
        kind = TYPES[self.type]
        rules = [kind.rule(column)] if kind.label or kind.number else []
        if self.values:
            rules.append(Type(f"one of {', '.join(self.values)}", self.values.__contains__).rule(column))
        rules += [_is_sum(column, parts) for parts in self.sums]
        rules += [_at_most(column, self.at_most)] if self.at_most else []
        if self.same_by and self.same_by in identity:
            rules.append(same(column, identity[self.same_by], self.same_by))
        return rules


@dataclass(frozen=True)
class Table:
    """A table that ships: what its rows are, and the columns that mean something of their own in it.

    Columns of the table that it is ``like`` are its own too.
    """

    rows: str
    columns: dict[str, Entry] = field(default_factory=dict)
    like: str = ""


@dataclass(frozen=True)
class Catalogue:
    """All columns of all tables; an entry's name may be a pattern, as in "first_*_any".

    Attributes
    ----------
    columns : dict of Entry
        Columns that mean the same wherever they stand.
    tables : dict of Table
        By path below the data folder.
    """

    __pydantic_config__ = ConfigDict(extra="forbid")

    columns: dict[str, Entry] = field(default_factory=dict)
    tables: dict[str, Table] = field(default_factory=dict)

    def entry(self, table: str, column: str) -> Entry:
        """Return the entry of a column of a table.

        Raises
        ------
        DataError
            If there is none.
        """
        return self._entries(table)[self.key(table, column)]

    def key(self, table: str, column: str) -> str:
        """Return the name or pattern under which a column of a table is found."""
        key = self._key_or_none(table, column)
        if key is None:
            raise DataError(f"{FILE}: column {column} of {table} has no entry; say what it means.")
        return key

    def knows(self, table: str, column: str) -> bool:
        """Tell whether a column of a table has an entry."""
        return self._key_or_none(table, column) is not None

    def rows(self, table: str) -> str:
        """Return what the rows of a table are."""
        if table not in self.tables:
            raise DataError(f"{FILE}: {table} has no entry; say what its rows are.")
        return self.tables[table].rows

    def _key_or_none(self, table: str, column: str) -> str | None:
        entries = self._entries(table)
        patterns = (name for name in entries if "*" in name and fnmatchcase(column, name))
        return column if column in entries else next(patterns, None)

    def _entries(self, table: str) -> dict[str, Entry]:
        own = self.tables[table].columns if table in self.tables else {}
        return {**own, **{name: entry for name, entry in self.columns.items() if name not in own}}


def read_catalogue(path: Path | None = None) -> Catalogue:
    """Read a catalogue of columns; the one that ships where no path is given.

    Raises
    ------
    DataError
        If the file is not TOML, or an entry lacks a key, has one that there is not, or an unknown type.
    """
    path = path or shipped("data", FILE)
    tables: dict[str, Table] = {}
    try:
        read = from_toml(Catalogue, read_toml(path), path.name)
        for name, table in read.tables.items():
            of_model: dict[str, Entry] = {}
            if table.like:
                refuse_unknown("table", table.like, tables, f"{path.name}, [tables.{name}]")
                of_model = tables[table.like].columns
            tables[name] = replace(table, columns=of_model | table.columns)
    except QuestionError as refused:
        raise DataError(str(refused)) from None
    return replace(read, tables=tables)


def _is_sum(column: str, parts: tuple[str, ...]) -> Rule:
    def broken(rows: Rows) -> BoolArray:
        total = sum(rows.numbers(part)[0] for part in parts)
        # An empty cell on either side is no contradiction; nor is the last printed digit.
        return np.abs(rows.numbers(column)[0] - total) > 1e-5 * np.maximum(1.0, np.abs(total))

    return Rule(column, f"must be the sum of {' and '.join(parts)}", broken, needs=parts)


def _at_most(column: str, bound: str) -> Rule:
    text = f"must be no more than {bound}"
    return Rule(column, text, lambda rows: rows.numbers(column)[0] > rows.numbers(bound)[0], needs=(bound,))
