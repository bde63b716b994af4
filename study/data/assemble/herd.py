"""Which HERD institution is which university of ours, and each university's R&D spending by fiscal year."""

from __future__ import annotations

import pandas as pd

from study.data.institutions import Entity, Matcher, decided
from study.data.sources.herd import SOURCES

# Territories whose universities the list of universities has under codes of their own.
TERRITORIES = ("AS", "GU", "PR", "VI")
# A name inside a longer one is mostly that of a branch or a medical school with a number of its own.
_WHOLE = ("exact", "campus")


def match(table: pd.DataFrame, matcher: Matcher, known: decided.Decided) -> pd.DataFrame:
    """Return the crosswalk from HERD institutions to universities.

    The newest name under which the rule of matching finds a university as a whole (not inside a longer name)
    decides. Branches and medical schools with numbers of their own are not added to a university: where
    several institutions claim one in a fiscal year, the one that spends most is it.

    Parameters
    ----------
    table : DataFrame
        Of ``sources.herd.read``.
    matcher : Matcher
    known : mapping
        inst_id -> (university, country), before the rule.

    Returns
    -------
    DataFrame
        One row an institution, by number: inst_id, name (the newest), state, university, country (empty where
        there is none), method (decision, exact, campus, unmatched; branch where a larger institution is the
        university in every year), years, total (thousand dollars, all years).
    """
    newest_first = table.sort_values("fiscal_year", ascending=False)
    records = []
    for inst_id, rows in newest_first.groupby("inst_id"):
        names, state = list(dict.fromkeys(rows["name"])), rows["state"].iloc[0]
        if inst_id in known:
            entity, method = decided.university(matcher, *known[inst_id]), "decision"
        else:
            entity, method = _found(names, state, matcher)
        records.append(
            {
                "inst_id": inst_id,
                "name": names[0],
                "state": state,
                "university": entity.name if entity else "",
                "country": entity.country if entity else "",
                "method": method,
                "years": len(rows),
                "total": rows["total"].sum(),
            }
        )
    crosswalk = pd.DataFrame(records)
    used = _largest(table, crosswalk)["inst_id"]
    branch = (crosswalk["university"] != "") & ~crosswalk["inst_id"].isin(used)
    crosswalk.loc[branch, ["university", "country", "method"]] = ["", "", "branch"]
    return crosswalk


def spending(table: pd.DataFrame, crosswalk: pd.DataFrame) -> pd.DataFrame:
    """Return R&D spending by university and fiscal year.

    Parameters
    ----------
    table : DataFrame
        Of ``sources.herd.read``.
    crosswalk : DataFrame
        Of :func:`match`.

    Returns
    -------
    DataFrame
        One row a university and fiscal year, sorted: university, country, fiscal_year, inst_id (a change of it
        is a break: the agency merged or split institutions), total, federal, state_local, institutional,
        business, nonprofit, other (thousand current dollars).
    """
    chosen = _largest(table, crosswalk)
    columns = ["university", "country", "fiscal_year", "inst_id", "total", *SOURCES]
    return chosen.sort_values(["university", "country", "fiscal_year"], ignore_index=True)[columns]


def _found(names: list[str], state: str, matcher: Matcher) -> tuple[Entity | None, str]:
    country = state if state in TERRITORIES else "US"
    for name in names:
        for hit in matcher.match(name, country):
            entity = hit.university
            if hit.method in _WHOLE and entity and entity.country == country:
                return entity, hit.method
    return None, "unmatched"


def _largest(table: pd.DataFrame, crosswalk: pd.DataFrame) -> pd.DataFrame:
    """Return the row of each university and fiscal year: that of the institution which spends most."""
    found = crosswalk.loc[crosswalk["university"] != "", ["inst_id", "university", "country"]]
    claims = table.merge(found, on="inst_id").sort_values(["total", "inst_id"], ascending=[False, True])
    return claims.drop_duplicates(["university", "country", "fiscal_year"])
