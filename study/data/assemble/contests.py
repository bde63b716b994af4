"""All contests with losers or other prizes as one event, and which of them each university took part in."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd

from study.data import grants
from study.data.assemble.programmes import Family
from study.data.institutions import UNIT, first_events

EVENT = "first_contest_win"


def events(every: pd.DataFrame, roles: pd.DataFrame, families: Mapping[str, Family]) -> pd.DataFrame:
    """Return the first win of each university in any of the contests.

    A grant counts a year after its start, when the machine serves; a programme at its own date.

    Parameters
    ----------
    every : DataFrame
        Events: university, country, event, date ("YYYY-MM"), left_censored.
    roles : DataFrame
        Of ``programmes.roles``; a family with a loser is a contest.
    families : mapping of str to Family

    Returns
    -------
    DataFrame
        university, country, event, date, left_censored (1 where one of its wins is), detail (the win).
    """
    lost = set(roles.loc[roles["role"] == "loser", "family"])
    won = every[every["event"].isin([*grants.CLUSTERS, *(families[name].event for name in lost)])]
    later = won["event"].isin(grants.CLUSTERS).astype(int)
    year = (won["date"].str[:4].astype(int) + later).astype(str)
    table = won.assign(detail=won["event"], date=year + won["date"].str[4:])
    table["left_censored"] = table.groupby(UNIT)["left_censored"].transform("max")
    return first_events({EVENT: table.sort_values("date", kind="stable")})


def participants(awards: pd.DataFrame, roles: pd.DataFrame) -> pd.DataFrame:
    """Return the contests in which each university won a prize of any kind, or lost.

    Parameters
    ----------
    awards : DataFrame
        Of ``grants.awards_table``.
    roles : DataFrame
        Of ``programmes.roles``. The unclear took part in nothing.

    Returns
    -------
    DataFrame
        university, country, contests: "CRI+MRI", or the family of the programmes.
    """
    lost = set(roles.loc[roles["role"] == "loser", "family"])
    clear = roles[roles["family"].isin(lost) & roles["role"].isin(["winner", "later_winner", "loser"])]
    of_families = clear.rename(columns={"family": "contests"})[[*UNIT, "contests"]]
    return pd.concat([grants.programmes_won(awards), of_families], ignore_index=True)
