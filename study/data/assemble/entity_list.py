"""Access lost: Chinese universities put on the US Entity List, as dated events and roles."""

from __future__ import annotations

import pandas as pd

from study.data.institutions import DATED, UNIT, Matcher, by_university
from study.data.sources.entity_list import FILE

EVENT = "access_lost"
ANY = f"{EVENT}_any"


def events(table: pd.DataFrame, matcher: Matcher) -> pd.DataFrame:
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
    matched = [[matcher.only_university(name, "CN", f"{FILE}, line {line}:")] for line, name in named]
    listed = by_university(table, matched)
    listed = listed.assign(date=listed["date"].str[:7], left_censored=0, detail=listed["how_dated"])
    sure = listed[listed["confidence"] == "high"]
    every = pd.concat([sure.assign(event=EVENT), listed.assign(event=ANY)])
    return every[DATED].sort_values(["event", *UNIT], ignore_index=True)


def roles(events: pd.DataFrame) -> pd.DataFrame:
    """Return when each university was listed, at any confidence: listed_before, listed_2020 or listed_later."""
    listed = events[events["event"] == ANY]
    side = (listed["date"].str[:4].astype(int) - 2020).clip(-1, 1)
    names = {-1: "listed_before", 0: "listed_2020", 1: "listed_later"}
    return listed[UNIT].assign(entity_list_role=side.map(names))
