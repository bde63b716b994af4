"""Whether a file is fit to be a panel: its columns' roles, every violation, and the verdict in plain sentences."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from study.core import DataError, unknown
from study.panel.catalogue import Catalogue, read_catalogue
from study.panel.panel import Panel, interval_text
from study.panel.reading import read_table
from study.panel.rules import Names, Roles, Rule, panel_rules, wide_hint
from study.panel.shipped import panel_entries
from study.panel.violations import PRESENT, describe, violations

if TYPE_CHECKING:
    from collections.abc import Sequence

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
        Of :func:`study.panel.violations.violations`.
    panel : Panel or None
        None if a rule is broken that is more than advice.
    """

    roles: Roles
    known_from: str
    headings: tuple[str, ...]
    violations: pd.DataFrame
    panel: Panel | None


def verdict(path: Path, roles: Mapping[str, Names] | None = None) -> tuple[str, bool]:
    """Return the text that tells a user whether a file is fit to be a panel, and whether it is.

    Parameters and errors are those of :func:`read_as_panel`.
    """
    reading = read_as_panel(path, roles)
    found, panel = reading.violations, reading.panel
    lines = [f"{path.name}: {reading.known_from}", *_roles_told(reading.roles)]
    if not found.empty:
        lines += ["", describe(found), ""]
    if (found["rule"] == PRESENT).any():
        lines.append(
            f"The columns of the file are {', '.join(reading.headings)}.{wide_hint(reading.headings)}"
        )
    if panel is None:
        rules = len(found.drop_duplicates(["column", "rule"]))
        lines.append(
            f"The file is not fit to use: {_counted(len(found), 'violation')} of {_counted(rules, 'rule')}. "
            "Mend the rows above and validate it again."
        )
    else:
        lines += _ambiguous_told(panel)
        advice = "" if found.empty else ", if what is said above is as you mean it"
        lines.append(
            f"The file is fit to use{advice}: {_counted(panel.n_units, 'unit')}, periods "
            f"{panel.periods[0]} to {panel.periods[-1]}."
        )
    return "\n".join(lines), panel is not None


def read_as_panel(path: Path, roles: Mapping[str, Names] | None = None) -> Reading:
    """Read a file as a panel and list every row that breaks a rule.

    Parameters
    ----------
    path : Path
        A long CSV file.
    roles : mapping, optional
        Columns by role, as in :meth:`study.Panel.from_long`: unit, time, first_treated, treatment, outcomes,
        covariates, attributes. Those that are not given are taken from the names of the columns as far as
        they are certain; a shipped panel's file is read as that panel.

    Returns
    -------
    Reading

    Raises
    ------
    DataError
        If the file is no CSV table, or it is not certain which columns are the unit, the period, an event
        and an outcome.
    """
    table, lines = read_table(path)
    headings = [str(heading) for heading in table.columns]
    name = None if roles else _shipped_name(path, headings)
    if name is not None:
        entry, catalogue = panel_entries()[name], read_catalogue()
        chosen = Roles.of_entry(entry)
        known = [heading for heading in headings if catalogue.knows(entry["file"], heading)]
        more = column_rules(catalogue, entry["file"], known, chosen)
        known_from = f"read as the shipped panel {name}, with the rules of its columns."
    else:
        chosen, guessed = _completed(roles or {}, headings, path.name)
        more = []
        known_from = f"the names of the columns tell {', '.join(guessed)}." if guessed else "read as told."
    return _reading(table, lines, path.name, chosen, more, known_from)


def column_rules(
    catalogue: Catalogue, table: str, headings: Iterable[str], roles: Roles | None = None
) -> list[Rule]:
    """Return the rules of the columns of a table that ships."""
    identity = {} if roles is None else {"unit": roles.unit, "period": roles.time}
    return [rule for column in headings for rule in catalogue.entry(table, column).rules(column, identity)]


def _reading(
    table: pd.DataFrame,
    lines: NDArray[np.int64],
    name: str,
    roles: Roles,
    more: Sequence[Rule],
    known_from: str,
) -> Reading:
    found = violations(table, roles, more, lines)
    advice = {(rule.column, rule.text) for rule in (*panel_rules(roles), *more) if not rule.required}
    fit = all(key in advice for key in zip(found["column"], found["rule"], strict=True))
    panel = Panel.from_long(table, **asdict(roles), name=name) if fit else None
    return Reading(roles, known_from, tuple(map(str, table.columns)), found, panel)


def _shipped_name(path: Path, headings: Sequence[str]) -> str | None:
    """Return the shipped panel that a file is by its name and its columns."""
    for name, entry in panel_entries().items():
        if path.name == Path(entry["file"]).name and not Roles.of_entry(entry).missing(headings):
            return name
    return None


def _completed(roles: Mapping[str, Names], headings: Sequence[str], label: str) -> tuple[Roles, list[str]]:
    """Return the roles that are given, and those that the names of columns give, with what was guessed."""
    given = {role: columns for role, columns in roles.items() if columns}
    every = [each.name for each in fields(Roles)]
    for role in given:
        if role not in every:
            raise DataError(str(unknown("role", role, every, label)))
    guessed = {}
    for role, names in CERTAIN.items():
        found = [heading for heading in headings if heading.strip().lower() in names]
        if role not in given and len(found) == 1:
            guessed[role] = found[0]
    if "first_treated" in given or "treatment" in given:
        guessed.pop("first_treated", None)
        guessed.pop("treatment", None)
    known = {**given, **guessed}
    wanted = [role for role in ("unit", "time", "outcomes") if role not in known]
    event = [] if "first_treated" in known or "treatment" in known else ["first_treated"]
    if wanted or event:
        asked = [f"--{role.removesuffix('s').replace('_', '-')}" for role in (*wanted, *event)]
        either = " (or --treatment for a 0/1 path)" if event else ""
        raise DataError(
            f"{label}: which columns are for what is not certain; say it with {', '.join(asked)}{either}. The "
            f"columns are {', '.join(headings)}.{wide_hint(headings)}"
        )
    return Roles.of(**known), [f"{role} = {column}" for role, column in guessed.items()]  # type: ignore[arg-type]  # roles known by name only here


def _ambiguous_told(panel: Panel) -> list[str]:
    """Return which units have no certain adoption date, and between which periods it lies."""
    lines: list[str] = []
    for event, intervals in panel.ambiguous.items():
        lines += [
            "",
            f"{event}: the adoption date of {_counted(len(intervals), 'unit')} is ambiguous, since the treatment is "
            "not observed when it may have started; they are dropped, or dated by --ambiguous earliest or latest:",
            *(f"  {unit}: {interval_text(*interval)}" for unit, interval in intervals.items()),
            "",
        ]
    return lines


def _roles_told(roles: Roles) -> list[str]:
    return [f"  {column}: {roles.role(column)}" for column in roles.columns]


def _counted(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"
