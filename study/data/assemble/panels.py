"""The panels of universities: outcomes, first treated periods, covariates and fixed labels in one long table."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import pandas as pd

from study.core import DataError
from study.data.assemble.venues import PanelSpec, edition
from study.panel import region

TIERS = ((1, "1 paper"), (9, "2-9 papers"), (49, "10-49 papers"))
TOP_TIER = "50+ papers"
DOSES = ("listed", "systems", "rmax_share")
SPENDING = ("total", "federal", "state_local", "institutional", "business", "nonprofit", "other")
UNIT = ["university", "country"]


def tier(papers: int) -> str:
    """Return the label of a university's baseline size."""
    return next((label for highest, label in TIERS if papers <= highest), TOP_TIER)


def first_periods(events: pd.DataFrame, spec: PanelSpec, names: Iterable[str]) -> pd.DataFrame:
    """Return the first treated period of each event, one row a university and one column an event.

    A left-censored date may stand for an older event: a university that has one is treated from the panel's
    first year on, so that every design drops it and none takes the date for an event.
    """
    dates = events[events["event"].isin(list(names))]
    years = pd.Series([spec.first_period(date) for date in dates["date"]], index=dates.index, dtype="Int64")
    censored = dates["left_censored"].astype(bool)
    years = years.mask(censored & (years > spec.years[0]), spec.years[0])
    table = dates.assign(period=years).pivot(index=UNIT, columns="event", values="period")
    return table.reindex(columns=list(names)).reset_index().rename_axis(columns=None)


def lists_by_year(lists: pd.DataFrame, months: Iterable[str], spec: PanelSpec) -> pd.DataFrame:
    """Return the systems on the newest list that a year's papers can respond to, one row a university and year.

    Parameters
    ----------
    lists : DataFrame
        One row a university and list (``assemble.top500.lists``).
    months : iterable of str
        All lists there are.
    spec : PanelSpec

    Returns
    -------
    DataFrame
        university, country, year, and :data:`DOSES`; universities with a system on that list only.
    """
    newest: dict[int, str] = {}
    of_list = sorted((spec.first_period(month), month) for month in months)
    for year in spec.years:
        known = [month for first, month in of_list if first <= year]
        if known:
            newest[year] = known[-1]
    frames = [
        lists[lists["list"] == month].assign(year=year, listed=1)[[*UNIT, "year", *DOSES]]
        for year, month in newest.items()
    ]
    return pd.concat(frames, ignore_index=True) if frames else pd.DataFrame(columns=[*UNIT, "year", *DOSES])


def attach(
    outcomes: pd.DataFrame,
    units: pd.DataFrame,
    spec: PanelSpec,
    *,
    events: pd.DataFrame,
    names: Iterable[str],
    lists: pd.DataFrame,
    months: Iterable[str],
    spending: pd.DataFrame,
) -> pd.DataFrame:
    """Join everything that is known of a panel's universities and years to its outcomes.

    Parameters
    ----------
    outcomes : DataFrame
        One row a university, (group) and year.
    units : DataFrame
        university, country, baseline_papers, baseline_venue_papers, first_paper_year.
    spec : PanelSpec
    events : DataFrame
        All event tables, one below the other: university, country, event, date, left_censored.
    names : iterable of str
        The events that become columns, in that order.
    lists, months
        As in :func:`lists_by_year`.
    spending : DataFrame
        university, country, year and :data:`SPENDING` in thousand dollars.

    Returns
    -------
    DataFrame
        One row a university, (group) and year, in the order of names.

    Raises
    ------
    DataError
        If two universities have one name.
    """
    names, months = list(names), sorted(months)
    twice = units.loc[units["university"].duplicated(), "university"]
    if len(twice):
        raise DataError(
            f"panel {spec.name}: {twice.iloc[0]} is the name of universities of two countries; "
            "give each a name of its own in institutions.csv."
        )
    fixed = units.assign(
        region=[region(country) for country in units["country"]],
        log_baseline_papers=np.log(units["baseline_papers"]),
        tier=[tier(count) for count in units["baseline_papers"]],
    ).merge(first_periods(events, spec, names), on=UNIT, how="left")
    table = outcomes.merge(fixed, on=UNIT, how="left", validate="many_to_one")
    table = table.merge(lists_by_year(lists, months, spec), on=[*UNIT, "year"], how="left")
    before_lists = table["year"] < spec.first_period(months[0])
    for dose in DOSES:
        table[dose] = table[dose].astype(float).fillna(0).mask(before_lists)
    renamed = spending.rename(columns={source: f"herd_{source}" for source in SPENDING})
    table = table.merge(renamed, on=[*UNIT, "year"], how="left")
    if spec.years[1] - spec.years[0] == 2:
        table = _by_edition(table, names)
    return table[_columns(table, outcomes, names)].sort_values(
        [column for column in ("university", "group", "year") if column in table], ignore_index=True
    )


def _by_edition(table: pd.DataFrame, events: list[str]) -> pd.DataFrame:
    """Number the years and the events of a venue that is held every second year."""
    numbered = {event: table[event].map(edition, na_action="ignore").astype("Int64") for event in events}
    return table.assign(edition=table["year"].map(edition), **numbered)


def _columns(table: pd.DataFrame, outcomes: pd.DataFrame, events: list[str]) -> list[str]:
    about_years = [name for name in ("venue_papers", "coverage", "author_order_coverage") if name in outcomes]
    labels = [name for name in ("group", "year", "edition") if name in table]
    counted = [name for name in outcomes if name not in {*UNIT, *labels, *about_years}]
    return [
        "university", "country", "region", *labels, *counted, *events, *DOSES,
        "baseline_papers", "log_baseline_papers",
        *(name for name in ("baseline_venue_papers",) if name in table),
        "first_paper_year", "tier", *(name for name in table if name.endswith("_role")),
        *(f"herd_{source}" for source in SPENDING), *about_years,
    ]  # fmt: skip
