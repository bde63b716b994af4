"""Whether a file is fit to be a panel: its columns' roles, every violation, and the verdict in plain sentences."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from study.core import DataError, IntArray, counted, short, unknown
from study.panel.catalogue import Catalogue, read_catalogue
from study.panel.packaged import panel_entries
from study.panel.panel import Ambiguous, Panel
from study.panel.profile import Profile
from study.panel.rows import Rows
from study.panel.rules import WORDS, ZERO_OR_ONE, Names, Roles, Rule, groups_as_units, panel_rules, wide_hint
from study.panel.tables import read_table

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
    broken, panel = reading.violations, reading.panel
    lines = [f"{path.name}: {reading.known_from}"]
    lines += [f"  {column}: {reading.roles.role(column)}" for column in reading.roles.columns]
    if not broken.empty:
        lines += ["", describe(broken), ""]
    if (broken["rule"] == ZERO_OR_ONE).any():
        lines.append("A column of first treated periods is named by --first-treated.")
    if (broken["rule"] == PRESENT).any():
        lines.append(
            f"The columns of the file are {', '.join(reading.headings)}.{wide_hint(reading.headings)}"
        )
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
        known = [heading for heading in headings if catalogue.knows(entry["file"], heading)]
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
    """Return violations as plain sentences, one a rule, each with the rows that break it.

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
        for line, unit, time, value in placed[["line", "unit", "time", "value"]].itertuples(index=False):
            names = ", ".join(short(str(part)) for part in (unit, time) if not pd.isna(part) and str(part))
            blocks.append(f'  line {line}{f" ({names})" if names else ""}: "{short(str(value))}"')
    return "\n".join(blocks) or "No rule is broken."


def _of_table(column: str, rule: str) -> pd.DataFrame:
    return pd.DataFrame([{"column": column, "rule": rule}], columns=COLUMNS)
