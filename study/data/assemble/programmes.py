"""From the re-checked table of compute-access programmes to dated events and roles of universities by family."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import pandas as pd

from study.core import DataError
from study.data.institutions import Entity, Matcher, universities
from study.data.sources.reading import RESTORE, csv_rows

COLUMNS = (
    "programme",
    "institution",
    "credited",
    "country",
    "kind",
    "role",
    "announced",
    "operational",
    "status",
    "confidence",
    "compiled_confidence",
    "checked",
    "check_note",
    "check_url",
    "source_url",
    "source_title",
    "origin",
)
ROLES = ("winner", "later_winner", "loser")
NO_ROLE = "none"
STATUSES = ("treatment", "comparison", "robustness")
CHECKED = ("yes", "not found", "contradicted")
CONFIDENCE = ("high", "medium", "low")
DATES = ("operational", "announced")
_DATE = re.compile(r"(19[89]|20[0-3])\d(-(0[1-9]|1[0-2]))?")
_ALLOWED = {"role": ROLES, "status": STATUSES, "confidence": CONFIDENCE, "checked": CHECKED}
EVENT_COLUMNS = (
    "university",
    "country",
    "event",
    "date",
    "left_censored",
    "detail",
    "family",
    "role",
    "status",
    "date_precision",
    "date_basis",
    "programme",
    "source_url",
)


@dataclass(frozen=True)
class Family:
    """Programmes that are one treatment, and whom to compare; see the head of data/programmes.toml.

    Attributes
    ----------
    name : str
        Also the beginning of the attribute ``<name>_role``.
    title, what, event : str
        What it is ("compute" or "funding"), and its event.
    programmes, related, later : tuple of str
        Names in the column ``programme``.
    date : str
        The column that dates the event.
    population, population_narrow : str
        Whom to compare, as Question.population takes it.
    list_complete : bool
    date_rule, access_of_others, threats : str
    """

    name: str
    title: str
    what: str
    event: str
    programmes: tuple[str, ...]
    related: tuple[str, ...]
    later: tuple[str, ...]
    date: str
    date_rule: str
    population: str
    population_narrow: str
    list_complete: bool
    access_of_others: str
    threats: str


def checked(path: Path) -> pd.DataFrame:
    """Read the re-checked table that ships.

    Returns
    -------
    DataFrame
        One row a recipient or loser of a programme: COLUMNS, all text; the index is the line of the file.

    Raises
    ------
    DataError
        If the file is damaged, a value is not allowed, a row is there twice, or a treatment row is not of
        high confidence and seen again.
    """
    rows = csv_rows(path, COLUMNS, unique=("programme", "institution", "role"), remedy=RESTORE)
    for line, row in rows:
        where = f"{path.name}, line {line}"
        for column, allowed in _ALLOWED.items():
            if row[column] not in allowed:
                raise DataError(f'{where}: {column} "{row[column]}" is none of {", ".join(allowed)}.')
        for column in DATES:
            if row[column] and _DATE.fullmatch(row[column]) is None:
                raise DataError(f'{where}: {column} is "{row[column]}"; write YYYY-MM, YYYY or nothing.')
        if row["status"] != "robustness" and not row["credited"]:
            raise DataError(f"{where}: status {row['status']} needs a credited university; name one.")
        if row["status"] == "treatment" and (row["confidence"], row["checked"]) != ("high", "yes"):
            raise DataError(
                f"{where}: a treatment must be of high confidence and seen again (checked = yes); "
                "change the status to robustness."
            )
    return pd.DataFrame([row for _, row in rows], index=[line for line, _ in rows], columns=list(COLUMNS))


def families(path: Path) -> dict[str, Family]:
    """Read the families.

    Raises
    ------
    DataError
        If the file is no TOML, or a family lacks a key, has one too many, or a value that is not allowed.
    """
    try:
        tables = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise DataError(
            f"{path.name}: not readable as TOML ({error}); restore it from the repository."
        ) from None
    return {name: _family(name, table, f"{path.name}, [{name}]") for name, table in tables.items()}


def events(table: pd.DataFrame, groups: Mapping[str, Family], matcher: Matcher) -> pd.DataFrame:
    """Return the dated events of universities.

    Parameters
    ----------
    table : DataFrame
        Of ``checked``.
    groups : mapping of str to Family
        Of ``families``.
    matcher : Matcher
        Which finds the universities that the column ``credited`` names.

    Returns
    -------
    DataFrame
        EVENT_COLUMNS, one row a university and event: <event> is the first date among treatment rows,
        <event>_any among all rows of the family that have a date, <event>_loser among lost contests. A year
        alone counts as its last month.

    Raises
    ------
    DataError
        If a treatment row has no month, or a credited name is not exactly one university.
    """
    records: list[dict[str, Any]] = []
    for group in groups.values():
        first: dict[tuple[Entity, str], dict[str, Any]] = {}
        for line, row in _rows(table, group):
            date = row[group.date] if row["role"] != "loser" else row["announced"]
            if row["status"] == "treatment" and row["programme"] in group.programmes and len(date) != 7:
                raise DataError(
                    f"programmes.csv, line {line}: a treatment needs a month in the column {group.date}; "
                    "add it, or change the status to robustness."
                )
            if not date:
                continue
            for university in _universities(row, line, matcher):
                for event in _events_of(row, group):
                    record = _record(university, event, date, row, group)
                    known = first.setdefault((university, event), record)
                    if _last_month(date) < _last_month(known["date"]):
                        first[university, event] = record
        records.extend(first.values())
    found = pd.DataFrame(records, columns=list(EVENT_COLUMNS))
    return found.sort_values(["event", "university", "country"], ignore_index=True)


def roles(table: pd.DataFrame, groups: Mapping[str, Family], matcher: Matcher) -> pd.DataFrame:
    """Return what each university is in each family: winner, later_winner, loser or unclear.

    Returns
    -------
    DataFrame
        university, country, family, role; a university that is in none of a family's rows has none.
    """
    records: list[dict[str, str]] = []
    for group in groups.values():
        rows: dict[Entity, list[Mapping[str, str]]] = {}
        for line, row in _rows(table, group):
            for university in _universities(row, line, matcher):
                rows.setdefault(university, []).append(row)
        records.extend(
            {
                "university": university.name,
                "country": university.country,
                "family": group.name,
                "role": _role(found, group),
            }
            for university, found in rows.items()
        )
    columns = ["university", "country", "family", "role"]
    return pd.DataFrame(records, columns=columns).sort_values(
        ["family", "university", "country"], ignore_index=True
    )


def event_names(groups: Mapping[str, Family], found: Iterable[str]) -> list[str]:
    """Return the names of the families' events that occur, family by family: treatments, all rows, lost contests."""
    names = [f"{group.event}{suffix}" for group in groups.values() for suffix in ("", "_any", "_loser")]
    occurring = set(found)
    return [name for name in names if name in occurring]


def role_attributes(table: pd.DataFrame, groups: Mapping[str, Family], units: pd.DataFrame) -> pd.DataFrame:
    """Return each unit's (university, country) role in each family as ``<family>_role``, "none" where it has none."""
    wide = table.pivot(index=["university", "country"], columns="family", values="role")
    wide = wide.reindex(pd.MultiIndex.from_frame(units[["university", "country"]]), columns=list(groups))
    return wide.fillna(NO_ROLE).add_suffix("_role").rename_axis(columns=None).reset_index()


def _family(name: str, table: dict[str, Any], where: str) -> Family:
    keys = {field.name: field.type for field in fields(Family) if field.name != "name"}
    for key in keys:
        if key not in table:
            raise DataError(f"{where}: {key} is missing; add it.")
    for key, value in table.items():
        if key not in keys:
            raise DataError(f"{where}: {key} is no key of a family; they are {', '.join(keys)}.")
        kind = {"str": str, "bool": bool}.get(str(keys[key]), list)
        if not isinstance(value, kind):
            raise DataError(f"{where}: {key} is {value!r}; it must be a {kind.__name__}.")
    for key, allowed in (("what", ("compute", "funding")), ("date", DATES)):
        if table[key] not in allowed:
            raise DataError(f'{where}: {key} "{table[key]}" is none of {", ".join(allowed)}.')
    values: dict[str, Any] = {
        key: tuple(value) if isinstance(value, list) else value for key, value in table.items()
    }
    return Family(name=name, **values)


def _rows(table: pd.DataFrame, group: Family) -> Iterable[tuple[int, Mapping[str, str]]]:
    names = (*group.programmes, *group.related, *group.later)
    for name in names:
        if name not in set(table["programme"]):
            raise DataError(
                f'programmes.toml, [{group.name}]: programme "{name}" has no row; correct the name.'
            )
    chosen = table[table["programme"].isin(names)]
    return zip(chosen.index, chosen.to_dict("records"), strict=True)


def _universities(row: Mapping[str, str], line: int, matcher: Matcher) -> list[Entity]:
    found = []
    for text in filter(None, row["credited"].split("|")):
        named = universities(matcher.match(text, row["country"]))
        if len(named) != 1:
            raise DataError(
                f'programmes.csv, line {line}: credited "{text}" is {len(named)} universities of the '
                "gazetteer; write the name of exactly one."
            )
        found += named
    return found


def _events_of(row: Mapping[str, str], group: Family) -> list[str]:
    if row["role"] == "loser":
        return [f"{group.event}_loser"]
    treated = row["status"] == "treatment" and row["programme"] in group.programmes
    return [group.event, f"{group.event}_any"] if treated else [f"{group.event}_any"]


def _record(
    university: Entity, event: str, date: str, row: Mapping[str, str], group: Family
) -> dict[str, Any]:
    return {
        "university": university.name,
        "country": university.country,
        "event": event,
        "date": date,
        "left_censored": 0,
        "detail": f"{row['programme']}: {row['institution']}",
        "family": group.name,
        "role": "related" if row["programme"] in group.related else row["role"],
        "status": row["status"] if row["programme"] in group.programmes else "robustness",
        "date_precision": "month" if len(date) == 7 else "year",
        "date_basis": "announced" if row["role"] == "loser" else group.date,
        "programme": row["programme"],
        "source_url": row["source_url"],
    }


def _last_month(date: str) -> str:
    return date if len(date) == 7 else f"{date}-12"


def _role(rows: Iterable[Mapping[str, str]], group: Family) -> str:
    own = [row for row in rows if row["programme"] in group.programmes]
    other = [row for row in rows if row["programme"] not in group.programmes]
    treated = {row["role"] for row in own if row["status"] == "treatment"}
    if treated:
        return "winner" if "winner" in treated else "later_winner"
    if any(row["role"] == "winner" for row in [*own, *other]):
        return "unclear"
    if any(row["role"] == "later_winner" for row in [*own, *other]):
        return "later_winner"
    return "loser" if any(row["status"] == "comparison" for row in own) else "unclear"
