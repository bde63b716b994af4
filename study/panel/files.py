"""Whether a file is fit to be a panel: its columns' roles, every violation, and the verdict in plain sentences.

The columns of the files that ship, with their rules, are in ``data/columns.toml``.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from fnmatch import fnmatchcase
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import pandas as pd
from pydantic import AfterValidator, ConfigDict

from study.core import (
    BoolArray,
    DataError,
    IntArray,
    QuestionError,
    counted,
    from_toml,
    not_known,
    read_toml,
    refuse_unknown,
    short,
    unknown,
)
from study.panel.packaged import panel_entries, shipped
from study.panel.panel import Ambiguous, Panel
from study.panel.profile import Profile
from study.panel.rows import Rows
from study.panel.rules import (
    WORDS,
    ZERO_OR_ONE,
    Names,
    Roles,
    Rule,
    groups_as_units,
    not_empty,
    number,
    panel_rules,
    same,
    wide_hint,
)
from study.panel.tables import read_table

COUNTRIES_FILE = "countries.csv"


@cache
def countries() -> dict[str, dict[str, str]]:
    """Return all countries of the shipped table by their codes: iso2, name, M49 region and subregion of each.

    The table has all officially assigned codes and XK (Kosovo). M49 has neither Taiwan nor Kosovo: they
    stand with their neighbours, in Eastern Asia and in Southern Europe.
    """
    with shipped("data", COUNTRIES_FILE).open(encoding="utf-8", newline="") as stream:
        return {row["iso2"]: row for row in csv.DictReader(stream)}


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
    return country["region"]


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
        key = self.key(table, column)
        if key is None:
            raise DataError(f"{FILE}: column {column} of {table} has no entry; say what it means.")
        return self._entries(table)[key]

    def key(self, table: str, column: str) -> str | None:
        """Return the name or pattern under which a column of a table is found; None where it has no entry."""
        entries = self._entries(table)
        patterns = (name for name in entries if "*" in name and fnmatchcase(column, name))
        return column if column in entries else next(patterns, None)

    def rows(self, table: str) -> str:
        """Return what the rows of a table are."""
        if table not in self.tables:
            raise DataError(f"{FILE}: {table} has no entry; say what its rows are.")
        return self.tables[table].rows

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


# Names that say what a column is for; any others are for the user to tell.
CERTAIN = {
    "unit": ("unit", "unit_id", "university", "institution", "field"),
    "time": ("time", "year", "period"),
    "first_treated": ("first_treated", "first_treat"),
    "treatment": ("treatment", "treated", "treat"),
    "outcomes": ("outcome", "y"),
}


@dataclass(frozen=True)
class Reading:
    """A file read as a panel: what its columns are for, how that is known, and what is wrong with it.

    Attributes
    ----------
    roles : Roles
    known_from : str
        A sentence on where the roles come from.
    headings : tuple of str
        The columns of the file.
    violations : DataFrame
        Of :func:`study.panel.files.violations`.
    panel : Panel or None
        None if a rule is broken that is more than advice.
    ships : bool
        Whether it is a panel of the package.
    """

    roles: Roles
    known_from: str
    headings: tuple[str, ...]
    violations: pd.DataFrame
    panel: Panel | None
    ships: bool = False


def verdict(path: Path, roles: Mapping[str, Names] | None = None, **how: Any) -> tuple[str, bool]:
    """Return the text that tells a user whether a file is fit to be a panel, with its profile, and whether it is.

    Parameters and errors are those of :func:`read_as_panel`; a panel that ships has no profile in it.
    """
    reading = read_as_panel(path, roles, **how)
    broken, panel, headings = reading.violations, reading.panel, reading.headings
    lines = [f"{path.name}: {reading.known_from}"]
    lines += [f"  {column}: {reading.roles.role(column)}" for column in reading.roles.columns]
    if not broken.empty:
        lines += ["", describe(broken), ""]
    if (broken["rule"] == ZERO_OR_ONE).any():
        lines.append("A column of first treated periods is named by --first-treated.")
    if (broken["rule"] == PRESENT).any():
        lines.append(f"The columns of the file are {', '.join(headings)}.{wide_hint(headings)}")
    if panel is None:
        rules = len(broken.drop_duplicates(["column", "rule"]))
        lines.append(
            f"The file is not fit to use: {counted(len(broken), 'violation')} of {counted(rules, 'rule')}. "
            "Mend the rows above and validate it again."
        )
    else:
        advice = "" if broken.empty else ", if what is said above is as you mean it"
        lines.append(
            f"The file is fit to use{advice}: {counted(panel.n_units, 'unit')}, periods "
            f"{panel.period_name(panel.periods[0])} to {panel.period_name(panel.periods[-1])}."
        )
        if not reading.ships:
            lines += ["", str(Profile(panel, reading.roles.covariates))]
    return "\n".join(lines), panel is not None


def read_as_panel(
    path: Path, roles: Mapping[str, Names] | None = None, *, ambiguous: Ambiguous = "drop", **how: Any
) -> Reading:
    """Read a file as a panel and list every row that breaks a rule.

    Parameters
    ----------
    path : Path
        A file of a long table, of any kind that :meth:`study.Panel.from_long` reads.
    roles : mapping, optional
        Columns by role, as in :meth:`study.Panel.from_long`: unit, time, first_treated, treatment, outcomes,
        covariates, attributes. Those that are not given are taken from the names of the columns as far as
        they are certain; a shipped panel's file is read as that panel.
    ambiguous, **how
        Of :meth:`study.Panel.from_long`: ambiguous, period, never.

    Returns
    -------
    Reading

    Raises
    ------
    DataError
        If the file is no table, or it is not certain which columns are the unit, the period, an event
        and an outcome.
    """
    table, lines = read_table(path)
    headings = [str(heading) for heading in table.columns]
    shipped_name = None if roles else _shipped_name(path, headings)
    more: list[Rule] = []
    if shipped_name is not None:
        entry, catalogue = panel_entries()[shipped_name], read_catalogue()
        chosen = Roles.of_entry(entry)
        known = [heading for heading in headings if catalogue.key(entry["file"], heading) is not None]
        more = column_rules(catalogue, entry["file"], known, groups_as_units(table, chosen, path.name)[1])
        known_from = f"read as the shipped panel {shipped_name}, with the rules of its columns."
    else:
        chosen, guessed = _completed(roles or {}, headings, path.name)
        known_from = f"the names of the columns tell {', '.join(guessed)}." if guessed else "read as told."
    rows, checked = groups_as_units(table, chosen, path.name)
    broken = violations(rows, checked, more, lines, **how)
    advice = {(rule.column, rule.text) for rule in (*panel_rules(checked), *more) if not rule.required}
    fit = advice.issuperset(zip(broken["column"], broken["rule"], strict=True))
    read: dict[str, Any] = {"name": path.name, "ambiguous": ambiguous, **how}
    panel = Panel.from_long(table, **asdict(chosen), **read) if fit else None
    return Reading(chosen, known_from, tuple(headings), broken, panel, shipped_name is not None)


def column_rules(
    catalogue: Catalogue, table: str, headings: Iterable[str], roles: Roles | None = None
) -> list[Rule]:
    """Return the rules of the columns of a table that ships."""
    identity = {} if roles is None else {"unit": roles.unit, "period": roles.time}
    return [rule for column in headings for rule in catalogue.entry(table, column).rules(column, identity)]


def _shipped_name(path: Path, headings: Sequence[str]) -> str | None:
    """Return the shipped panel that a file is by its name and its columns."""
    for name, entry in panel_entries().items():
        if path.name == Path(entry["file"]).name and not Roles.of_entry(entry).missing(headings):
            return name
    return None


def _completed(roles: Mapping[str, Names], headings: Sequence[str], label: str) -> tuple[Roles, list[str]]:
    """Return the roles that are given, and those that the names of columns give, with what was guessed."""
    given = {role: columns for role, columns in roles.items() if columns}
    for role in given:
        if role not in WORDS:
            raise DataError(str(unknown("role", role, WORDS, label)))
    events = {"first_treated", "treatment"}
    guessed = {}
    for role, names in CERTAIN.items():
        alike = [heading for heading in headings if heading.strip().lower() in names]
        if len(alike) == 1 and role not in given and not (role in events and events & given.keys()):
            guessed[role] = alike[0]
    known = {**given, **guessed}
    without_event = not events & known.keys()
    wanted = [role for role in ("unit", "time", "outcomes") if role not in known]
    wanted += ["first_treated"] if without_event else []
    if wanted:
        options = ", ".join(f"--{role.removesuffix('s').replace('_', '-')}" for role in wanted)
        either = " (or --treatment for a 0/1 path)" if without_event else ""
        raise DataError(
            f"{label}: which columns are for what is not certain; say it with {options}{either}. The "
            f"columns are {', '.join(headings)}.{wide_hint(headings)}"
        )
    return Roles.of(**known), [f"{role} = {column}" for role, column in guessed.items()]  # type: ignore[arg-type]  # roles known by name only here


COLUMNS = ["column", "rule", "unit", "time", "line", "value"]
PRESENT = "must be a column of the table"
# Most rows that stand together of which each is listed.
LONGEST_RUN = 9


def violations(
    table: pd.DataFrame, roles: Roles, more: Iterable[Rule] = (), lines: IntArray | None = None, **how: Any
) -> pd.DataFrame:
    """Return every row that breaks a rule of a panel.

    Parameters
    ----------
    table : DataFrame
        One row a unit and period.
    roles : Roles
    more : iterable of Rule
        Rules beside those that any panel keeps.
    lines : ndarray of int, shape (rows,), optional
        Line of the file on which each row stands; rows are counted from one without it.
    **how
        Of :meth:`study.Panel.from_long`: period, never.

    Returns
    -------
    DataFrame
        column, rule (the rest of a sentence that begins with the column), unit, time, line, value (of the
        cell); a rule about the table as a whole has no unit, time, line and value. Rules come in the
        order in which a panel is checked, rows in that of the table.
    """
    rows, rules = Rows(table, lines, roles.unit, roles.time, **how), dict[tuple[str, str], Rule]()
    roles = roles.with_labels([column for column in roles.covariates if rows.in_words(column)])
    for rule in (*panel_rules(roles), *more):
        rules.setdefault((rule.column, rule.text), rule)
    columns = dict.fromkeys([*roles.columns, *(column for column, _ in rules)])
    return broken_rows(rows, columns, rules.values())


def broken_rows(rows: Rows, columns: Iterable[str], rules: Iterable[Rule]) -> pd.DataFrame:
    """Return every row of any table that breaks a rule, as :func:`violations` does."""
    parts = list(_broken(rows, columns, rules)) or [pd.DataFrame(columns=COLUMNS)]
    return pd.concat(parts, ignore_index=True).astype({"line": "Int64"})


def _broken(rows: Rows, columns: Iterable[str], rules: Iterable[Rule]) -> Iterator[pd.DataFrame]:
    headings = [str(heading) for heading in rows.table.columns]
    doubled = [heading for heading in dict.fromkeys(headings) if headings.count(heading) > 1]
    if doubled:
        yield from (_of_table(column, "must be one column only") for column in doubled)
        return
    yield from (_of_table(column, PRESENT) for column in columns if column not in headings)
    if not len(rows):
        yield _of_table("the table", "must have rows")
        return
    for rule in rules:
        # A column that is not there has its own violation.
        if {rule.column, *rule.needs} <= {*headings} and (broken := rule.broken(rows)).any():
            which = np.flatnonzero(broken)
            cells: dict[str, Any] = {"column": rule.column, "rule": rule.text}
            for name, column in (("unit", rows.unit), ("time", rows.time), ("value", rule.column)):
                cells[name] = rows.texts(column, which) if column in headings else None
            cells["line"] = which + 1 if rows.lines is None else rows.lines[which]
            yield pd.DataFrame(cells, columns=COLUMNS)


def describe(problems: pd.DataFrame) -> str:
    """Return violations as plain sentences, one a rule, each with the rows that break it, ends alone of many in a row.

    Parameters
    ----------
    problems : DataFrame
        Of :func:`violations`.
    """
    blocks = []
    for (column, rule), broken in problems.groupby(["column", "rule"], sort=False):
        placed = broken[broken["line"].notna()]
        if placed.empty:
            blocks.append(f"{column} {rule}.")
            continue
        breaks = f"{counted(len(placed), 'line')} {'breaks' if len(placed) == 1 else 'break'}"
        blocks.append(f"{column} {rule}; {breaks} this rule:")
        for _, run in placed.groupby(placed["line"].astype(int).diff().ne(1).cumsum()):
            rows = []
            for line, unit, time, value in run[["line", "unit", "time", "value"]].itertuples(index=False):
                names = ", ".join(
                    short(str(part)) for part in (unit, time) if not pd.isna(part) and str(part)
                )
                rows.append(f'  line {line}{f" ({names})" if names else ""}: "{short(str(value))}"')
            blocks += rows if len(rows) <= LONGEST_RUN else [rows[0], "  and each line to", rows[-1]]
    return "\n".join(blocks) or "No rule is broken."


def _of_table(column: str, rule: str) -> pd.DataFrame:
    return pd.DataFrame([{"column": column, "rule": rule}], columns=COLUMNS)
