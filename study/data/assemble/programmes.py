"""From the re-checked table of compute-access programmes to dated events and roles of universities by family."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import pandas as pd
from pydantic import ConfigDict, Field

from study.core import DataError, QuestionError, from_toml, must_be, read_toml
from study.data.institutions import Entity, Matcher, universities
from study.data.sources import RESTORE, Rule, csv_rows, one_of

# The heading of the table.
_HEADING = (
    "programme,institution,credited,country,kind,role,announced,operational,status,confidence,compiled_confidence,"
    "checked,check_note,check_url,source_url,source_title,origin"
)
COLUMNS = tuple(_HEADING.split(","))
NO_ROLE = "none"
_DATE: Rule = (re.compile(r"((19[89]|20[0-3])\d(-(0[1-9]|1[0-2]))?)?"), "YYYY-MM, YYYY or nothing")
RULES = {
    "role": one_of(("winner", "later_winner", "loser")),
    "status": one_of(("treatment", "comparison", "robustness")),
    "confidence": one_of(("high", "medium", "low")),
    "checked": one_of(("yes", "not found", "contradicted")),
    "operational": _DATE,
    "announced": _DATE,
}
_EVENT_HEADING = (
    "university,country,event,date,left_censored,detail,family,role,status,date_precision,date_basis,programme,"
    "source_url"
)
EVENT_COLUMNS = _EVENT_HEADING.split(",")

_Texts = Annotated[tuple[str, ...], must_be("a list of texts")]


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

    __pydantic_config__ = ConfigDict(extra="forbid")

    name: str
    title: str
    what: Literal["compute", "funding"]
    event: str
    programmes: _Texts
    related: _Texts
    later: _Texts
    date: Literal["operational", "announced"]
    date_rule: str
    population: str
    population_narrow: str
    list_complete: Annotated[bool, Field(strict=True), must_be("true or false")]
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
    rows = csv_rows(path, COLUMNS, unique=("programme", "institution", "role"), rules=RULES, remedy=RESTORE)
    for line, row in rows:
        where = f"{path.name}, line {line}"
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
        return {
            name: from_toml(Family, {"name": name, **table}, f"{path.name}, [{name}]")
            for name, table in read_toml(path).items()
        }
    except QuestionError as error:
        raise DataError(str(error)) from None


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
    records = []
    for family in groups.values():
        for line, row in _rows(table, family):
            own, lost = row["programme"] in family.programmes, row["role"] == "loser"
            treated = own and row["status"] == "treatment"
            basis = "announced" if lost else family.date
            date = row[basis]
            if treated and len(date) != 7:
                raise DataError(
                    f"programmes.csv, line {line}: a treatment needs a month in the column {family.date}; "
                    "add it, or change the status to robustness."
                )
            suffixes = ("_loser",) if lost else ("", "_any") if treated else ("_any",)
            records += [
                {
                    "university": university.name,
                    "country": university.country,
                    "event": f"{family.event}{suffix}",
                    "date": date,
                    "left_censored": 0,
                    "detail": f"{row['programme']}: {row['institution']}",
                    "family": family.name,
                    "role": "related" if row["programme"] in family.related else row["role"],
                    "status": row["status"] if own else "robustness",
                    "date_precision": "month" if len(date) == 7 else "year",
                    "date_basis": basis,
                    "programme": row["programme"],
                    "source_url": row["source_url"],
                    "last_month": date if len(date) == 7 else f"{date}-12",
                }
                for university in (_universities(row, line, matcher) if date else ())
                for suffix in suffixes
            ]
    dated = pd.DataFrame(records, columns=[*EVENT_COLUMNS, "last_month"]).sort_values(
        "last_month", kind="stable"
    )
    first = dated.drop_duplicates(["family", "event", "university", "country"])[EVENT_COLUMNS]
    return first.sort_values(["event", "university", "country"], ignore_index=True)


def roles(table: pd.DataFrame, groups: Mapping[str, Family], matcher: Matcher) -> pd.DataFrame:
    """Return what each university is in each family: winner, later_winner, loser or unclear.

    Returns
    -------
    DataFrame
        university, country, family, role; a university that is in none of a family's rows has none.
    """
    records = []
    for family in groups.values():
        rows: dict[Entity, list[Mapping[str, str]]] = {}
        for line, row in _rows(table, family):
            for university in _universities(row, line, matcher):
                rows.setdefault(university, []).append(row)
        records += [
            (each.name, each.country, family.name, _role(of_it, family)) for each, of_it in rows.items()
        ]
    found = pd.DataFrame(records, columns=["university", "country", "family", "role"])
    return found.sort_values(["family", "university", "country"], ignore_index=True)


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


def _rows(table: pd.DataFrame, group: Family) -> Iterable[tuple[int, Mapping[str, str]]]:
    names = (*group.programmes, *group.related, *group.later)
    for name in names:
        if name not in set(table["programme"]):
            raise DataError(f'programmes.toml, [{group.name}]: programme "{name}" has no row; correct it.')
    chosen = table[table["programme"].isin(names)]
    return zip(chosen.index, chosen.to_dict("records"), strict=True)


def _universities(row: Mapping[str, str], line: int, matcher: Matcher) -> list[Entity]:
    credited: list[Entity] = []
    for text in filter(None, row["credited"].split("|")):
        named = universities(matcher.match(text, row["country"]))
        if len(named) != 1:
            raise DataError(
                f'programmes.csv, line {line}: credited "{text}" is {len(named)} universities; name just one.'
            )
        credited += named
    return credited


def _role(rows: Sequence[Mapping[str, str]], family: Family) -> str:
    own = [row for row in rows if row["programme"] in family.programmes]
    every = {row["role"] for row in rows}
    treated = {row["role"] for row in own if row["status"] == "treatment"}
    if treated:
        return "winner" if "winner" in treated else "later_winner"
    if not every.isdisjoint({"winner", "later_winner"}):
        return "unclear" if "winner" in every else "later_winner"
    return "loser" if any(row["status"] == "comparison" for row in own) else "unclear"
