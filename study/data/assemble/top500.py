"""What the TOP500 lists say of each university: first systems, and the systems on each list."""

from __future__ import annotations

from itertools import pairwise

import pandas as pd

from study.data.institutions import UNIT, Sites, by_university, first_events, universities
from study.data.sources import top500

SEGMENTS_OF_FIRMS = ("Industry", "Vendor")
TOP_SHARE = 0.8


def credited(systems: pd.DataFrame, sites: Sites) -> pd.DataFrame:
    """Return one row a system and university credited with it, in the order of lists and ranks.

    Returns
    -------
    DataFrame
        The columns of ``systems``, with university and country of the university, rmax_share (of the
        sum of the list) and top_fifth (Rmax at the list's 80th percentile or above). Systems of firms are left out.
    """
    by_list = systems.groupby("list")["rmax_tflops"]
    table = systems.assign(
        rmax_share=systems["rmax_tflops"] / by_list.transform("sum"),
        top_fifth=systems["rmax_tflops"] >= by_list.transform("quantile", TOP_SHARE),
    )
    table = table[~table["segment"].isin(SEGMENTS_OF_FIRMS)]
    places = zip(table["site"], table["country"], strict=True)
    return by_university(table, [universities(sites[place]) for place in places])


def events(table: pd.DataFrame) -> pd.DataFrame:
    """Return the first list of each kind of event of each university, from the table of :func:`credited`.

    Events are ``first_top500`` (any system), ``first_accelerator``, ``first_top_fifth`` (a system at the list's 80th
    percentile of Rmax or above) and ``left_top500`` (the first list from which on the university has no system).
    A date on the first list that could show the event, or before, is left-censored.
    """
    table = table.rename(columns={"list": "date", "system": "detail"})
    table["left_censored"] = (table["date"] <= top500.FIRST_LIST).astype(int)
    accelerated = table[table["accelerator"] != ""]
    censored = (accelerated["date"] <= top500.FIRST_ACCELERATOR_LIST).astype(int)
    # The list after each, on which the university has no system any more.
    following = dict(pairwise(sorted(table["date"].unique())))
    last = table.drop_duplicates(UNIT, keep="last")
    left = last.assign(date=last["date"].map(following), left_censored=0).dropna(subset="date")
    rows = {
        "first_top500": table,
        "first_accelerator": accelerated.assign(left_censored=censored),
        "first_top_fifth": table[table["top_fifth"]],
        "left_top500": left,
    }
    return first_events(rows, "site")


def lists(table: pd.DataFrame) -> pd.DataFrame:
    """Return one row a university and list it stands on: number of systems, sum of Rmax, its share of the list."""
    accelerated = table["accelerator"] != ""
    grouped = table.assign(accelerated=accelerated).groupby([*UNIT, "list"], as_index=False)
    return grouped.agg(
        systems=("rank", "size"),
        accelerated=("accelerated", "sum"),
        best_rank=("rank", "min"),
        rmax_tflops=("rmax_tflops", "sum"),
        rmax_share=("rmax_share", "sum"),
    )
