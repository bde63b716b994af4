"""Access to compute, given or lost, as dated events: of programmes, contests, the CC* registry, the Entity List."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import pandas as pd
from pydantic import ConfigDict, Field

from study.core import DataError, QuestionError, from_toml, must_be, read_toml
from study.data import grants
from study.data.institutions import DATED, UNIT, Entity, Matcher, Overrides, by_university, first_events
from study.data.sources import RESTORE, Rule, csv_table, entity_list, one_of

# The heading of the table.
_HEADING = (
    "programme,institution,credited,country,kind,role,announced,operational,status,confidence,compiled_confidence,"
    "checked,check_note,check_url,source_url,source_title,origin"
)
COLUMNS = tuple(_HEADING.split(","))
_DATE: Rule = (re.compile(r"((19[89]|20[0-3])\d(-(0[1-9]|1[0-2]))?)?"), "YYYY-MM, YYYY or nothing")
RULES = {
    "role": one_of(("winner", "later_winner", "loser")),
    "status": one_of(("treatment", "comparison", "robustness")),
    "confidence": one_of(("high", "medium", "low")),
    "checked": one_of(("yes", "not found", "contradicted")),
    "operational": _DATE,
    "announced": _DATE,
}
EVENT_COLUMNS = [*DATED, "family", "role", "status", "date_precision", "date_basis", "programme"]
EVENT_COLUMNS += ["source_url"]
CONTEST_WIN = "first_contest_win"
ACCESS_LOST = "access_lost"
ANY_LISTING = f"{ACCESS_LOST}_any"
# Facilities of several universities: only the site says which of them it is.
_SEVERAL = re.compile(r"\b(system|network)\b", re.IGNORECASE)

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
    key = ("programme", "institution", "role")
    table = csv_table(path, COLUMNS, unique=key, rules=RULES, remedy=RESTORE)
    for line, row in table.to_dict("index").items():
        where = f"{path.name}, line {line}"
        if row["status"] != "robustness" and not row["credited"]:
            raise DataError(f"{where}: status {row['status']} needs a credited university; name one.")
        if row["status"] == "treatment" and (row["confidence"], row["checked"]) != ("high", "yes"):
            raise DataError(
                f"{where}: a treatment must be of high confidence and seen again (checked = yes); "
                "change the status to robustness."
            )
    return table


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
    rows = _credited(table, groups, matcher)
    lost, treated = rows["role"] == "loser", rows["own"] & (rows["status"] == "treatment")
    basis = rows["date_basis"].mask(lost, "announced")
    date = rows["operational"].where(basis == "operational", rows["announced"])
    monthly = date.str.len() == 7
    for line, column in zip(rows.loc[treated & ~monthly, "line"], basis[treated & ~monthly], strict=True):
        raise DataError(
            f"programmes.csv, line {line}: a treatment needs a month in the column {column}; "
            "add it, or change the status to robustness."
        )
    rows = rows.assign(
        date=date,
        left_censored=0,
        detail=rows["programme"] + ": " + rows["institution"],
        role=rows["role"].mask(rows["related"], "related"),
        status=rows["status"].where(rows["own"], "robustness"),
        date_precision=np.where(monthly, "month", "year"),
        date_basis=basis,
        last_month=date.where(monthly, date + "-12"),
    )
    kinds = (("", treated & ~lost), ("_any", ~lost), ("_loser", lost))
    dated = pd.concat([rows[kind & (date != "")].assign(suffix=suffix) for suffix, kind in kinds])
    dated["event"] += dated["suffix"]
    first = dated.sort_values("last_month", kind="stable").drop_duplicates(["family", "event", *UNIT])
    return first[EVENT_COLUMNS].sort_values(["event", *UNIT], ignore_index=True)


def roles(table: pd.DataFrame, groups: Mapping[str, Family], matcher: Matcher) -> pd.DataFrame:
    """Return what each university is in each family: winner, later_winner, loser or unclear.

    Returns
    -------
    DataFrame
        university, country, family, role; a university that is in none of a family's rows has none.
    """
    by_unit = _credited(table, groups, matcher).groupby(["family", *UNIT])
    return by_unit.apply(_role).rename("role").reset_index()[[*UNIT, "family", "role"]]


def event_names(groups: Mapping[str, Family], occurring: Collection[str]) -> list[str]:
    """Return the names of the families' events that occur, family by family: treatments, all rows, lost contests."""
    names = [f"{group.event}{suffix}" for group in groups.values() for suffix in ("", "_any", "_loser")]
    return [name for name in names if name in occurring]


def role_attributes(table: pd.DataFrame, groups: Mapping[str, Family]) -> pd.DataFrame:
    """Return the role in each family as ``<family>_role``, one row a university (university, country)."""
    wide = table.pivot(index=UNIT, columns="family", values="role").reindex(columns=list(groups))
    return wide.add_suffix("_role").rename_axis(columns=None).reset_index()


def _credited(table: pd.DataFrame, groups: Mapping[str, Family], matcher: Matcher) -> pd.DataFrame:
    """Return the rows of each family, once for each university that they credit, whose country they get."""
    families = []
    for group in groups.values():
        names = (*group.programmes, *group.related, *group.later)
        for name in (name for name in names if name not in set(table["programme"])):
            raise DataError(f'programmes.toml, [{group.name}]: programme "{name}" has no row; correct it.')
        rows = table[table["programme"].isin(names)]
        own, related = rows["programme"].isin(group.programmes), rows["programme"].isin(group.related)
        of_family = {"family": group.name, "event": group.event, "date_basis": group.date}
        families.append(rows.assign(own=own, related=related, **of_family))
    rows = pd.concat(families).rename_axis("line").reset_index()
    named = zip(rows["line"], rows["credited"], rows["country"], strict=True)
    return by_university(rows, [_universities(*row, matcher) for row in named])


def _universities(line: int, names: str, country: str, matcher: Matcher) -> list[Entity]:
    where = f"programmes.csv, line {line}: credited"
    return [matcher.only_university(text, country, where) for text in filter(None, names.split("|"))]


def _role(rows: pd.DataFrame) -> str:
    """Return what a university is in a family, from the family's rows that credit it."""
    own, every = rows[rows["own"]], set(rows["role"])
    treated = set(own.loc[own["status"] == "treatment", "role"])
    if treated:
        return "winner" if "winner" in treated else "later_winner"
    if not every.isdisjoint({"winner", "later_winner"}):
        return "unclear" if "winner" in every else "later_winner"
    return "loser" if (own["status"] == "comparison").any() else "unclear"


def contest_wins(every: pd.DataFrame, roles: pd.DataFrame, groups: Mapping[str, Family]) -> pd.DataFrame:
    """Return the first win of each university in any of the contests.

    A grant counts a year after its start, when the machine serves; a programme at its own date.

    Parameters
    ----------
    every : DataFrame
        Events: university, country, event, date ("YYYY-MM"), left_censored.
    roles : DataFrame
        Of :func:`roles`; a family with a loser is a contest.
    groups : mapping of str to Family

    Returns
    -------
    DataFrame
        university, country, event, date, left_censored (1 where one of its wins is), detail (the win).
    """
    lost = set(roles.loc[roles["role"] == "loser", "family"])
    won = every[every["event"].isin([*grants.CLUSTERS, *(groups[name].event for name in lost)])]
    later = won["event"].isin(grants.CLUSTERS).astype(int)
    year = (won["date"].str[:4].astype(int) + later).astype(str)
    table = won.assign(detail=won["event"], date=year + won["date"].str[4:])
    table["left_censored"] = table.groupby(UNIT)["left_censored"].transform("max")
    return first_events({CONTEST_WIN: table.sort_values("date", kind="stable")})


def participants(awards: pd.DataFrame, roles: pd.DataFrame) -> pd.DataFrame:
    """Return the contests in which each university won a prize of any kind, or lost.

    Parameters
    ----------
    awards : DataFrame
        Of ``grants.awards_table``.
    roles : DataFrame
        Of :func:`roles`. The unclear took part in nothing.

    Returns
    -------
    DataFrame
        university, country, contests: "CRI+MRI", or the family of the programmes.
    """
    lost = set(roles.loc[roles["role"] == "loser", "family"])
    clear = roles[roles["family"].isin(lost) & roles["role"].isin(["winner", "later_winner", "loser"])]
    of_families = clear.rename(columns={"family": "contests"})[[*UNIT, "contests"]]
    return pd.concat([grants.programmes_won(awards), of_families], ignore_index=True)


def registered(resources: pd.DataFrame, matcher: Matcher, known: Overrides) -> pd.DataFrame:
    """Return each university's first campus CC* resource that is registered in the Open Science Grid.

    Registration follows the award by months, often by more than a year: the award dates when the money came,
    the registration when a cluster bought with it was there and shared. When it began to serve its own
    campus in between is not known. Not every CC* cluster is registered.

    Parameters
    ----------
    resources : DataFrame
        Of ``sources.osg.read``. Groups without a tagged resource are left out.
    matcher : Matcher
        Matches the facility; the site where the facility is a system or network of several universities.
    known : mapping
        Facility -> university or None, before the rule.

    Returns
    -------
    DataFrame
        One row a university, by name: university, country, event ("first_ccstar"), date ("YYYY-MM"),
        left_censored, detail (the group). left_censored is 1 where the date of one of its groups is not
        known, so that the true date may be an earlier one; ``date`` is then that of the first dated group, or
        of the newest registration of the whole table where none is dated.
    """
    tagged = resources[resources["ccstar_resources"] > 0]
    places = zip(tagged["facility"], tagged["site"], strict=True)
    rows = by_university(tagged, [_of_group(*place, matcher, known) for place in places])
    rows["undated"] = rows["first_registered"] == ""
    rows["left_censored"] = rows.groupby(UNIT)["undated"].transform("any").astype(int)
    day = rows["first_registered"].mask(rows["undated"], tagged["first_registered"].max())
    rows = rows.assign(date=day.str[:7], detail=rows["group"])
    return first_events({"first_ccstar": rows.sort_values(["undated", "first_registered"], kind="stable")})


def _of_group(facility: str, site: str, matcher: Matcher, known: Overrides) -> list[Entity]:
    """Return the universities of a group; only those of the United States, whose programme it is."""
    if facility in known:
        return list(filter(None, [known[facility]]))
    named = matcher.universities(site if _SEVERAL.search(facility) else facility, "US")
    return [entity for entity in named if entity.country == "US"]


def access_lost(table: pd.DataFrame, matcher: Matcher) -> pd.DataFrame:
    """Return the listings as events.

    Parameters
    ----------
    table : DataFrame
        Of ``sources.entity_list.read``.
    matcher : Matcher

    Returns
    -------
    DataFrame
        university, country, event (access_lost: of high confidence; access_lost_any: all), date ("YYYY-MM"),
        left_censored, detail (how it is dated).

    Raises
    ------
    DataError
        If a name is not exactly one university.
    """
    named = table["university"].items()
    matched = [
        [matcher.only_university(name, "CN", f"{entity_list.FILE}, line {line}:")] for line, name in named
    ]
    listed = by_university(table, matched)
    listed = listed.assign(date=listed["date"].str[:7], left_censored=0, detail=listed["how_dated"])
    sure = listed[listed["confidence"] == "high"]
    every = pd.concat([sure.assign(event=ACCESS_LOST), listed.assign(event=ANY_LISTING)])
    return every[DATED].sort_values(["event", *UNIT], ignore_index=True)


def access_lost_roles(events: pd.DataFrame) -> pd.DataFrame:
    """Return when each university was listed, at any confidence: listed_before, listed_2020 or listed_later."""
    listed = events[events["event"] == ANY_LISTING]
    side = (listed["date"].str[:4].astype(int) - 2020).clip(-1, 1)
    names = {-1: "listed_before", 0: "listed_2020", 1: "listed_later"}
    return listed[UNIT].assign(entity_list_role=side.map(names))
