"""The machines of universities: what the TOP500 lists say, which train and whose they are, and who holds GPUs later.

From them follow dated events, GPU capacity as a dose, and a check of what the events say of a third party's table.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd
from scipy import stats

from study.core import DataError, FloatArray
from study.data.assemble.programmes import Family
from study.data.audit import Share
from study.data.grants import held as awards_held
from study.data.institutions import UNIT, Matcher, Sites, by_university, first_events, universities
from study.data.sources import AMOUNT, RESTORE, csv_table, gpus_per_student, one_of, top500

TOP_SHARE = 0.8
EVENTS = ("first_gpu_system", "first_own_gpu_system", "first_other_accelerator", "first_gpu_access")
# What a machine's source, device and owner may be, with their titles.
SOURCES = {
    "top500": "TOP500 systems",
    "nsf": "NSF awards",
    "osg": "Campus resources",
    "programme": "Programmes",
}
DEVICES = {"gpu": "GPUs that train", "other": "Other accelerator", "none": "No accelerator"}
OWNERS = {"own": "Own", "shared": "Shared", "national": "National", "field": "One field"}
USABLE = ("own", "shared")
COLUMNS = (
    "machine", "source", "university", "country", "device", "owner", "partners", "evidence", "device_1", "owner_1",
    "device_2", "owner_2", "listed_as",
)  # fmt: skip
PRICES = ("year", "device", "tflops", "dollars", "share_of_amount", "source")
# How many years a granted cluster is taken to serve.
YEARS = 5

_RULES = {"source": one_of(SOURCES), "device": one_of(DEVICES), "owner": one_of(OWNERS)}
# The two readings of each, of which there may be none.
_RULES |= dict.fromkeys(("device_1", "device_2"), one_of((*DEVICES, "")))
_RULES |= dict.fromkeys(("owner_1", "owner_2"), one_of((*OWNERS, "")))
# A partner, with the date from which on it is one where that is later than the machine.
JOINED = re.compile(r" \((\d{4}(?:-\d\d)?)\)$")

# The definitions of treatment that are checked, where the assembled events have them.
OF_GRANTS = ("first_cluster_grant", "first_gpu_grant", "first_cri_cluster", "first_cri_gpu")
CHECKED = ("first_top500", "first_accelerator", *EVENTS, *OF_GRANTS, "first_ccstar")
LEVEL = 0.95


def credited(systems: pd.DataFrame, sites: Sites) -> pd.DataFrame:
    """Return one row a system and university credited with it, in the order of lists and ranks.

    Returns
    -------
    DataFrame
        The columns of ``systems``, with university and country of the university, rmax_share (of the
        sum of the list) and top_fifth (Rmax at the list's 80th percentile or above).
    """
    by_list = systems.groupby("list")["rmax_tflops"]
    table = systems.assign(
        rmax_share=systems["rmax_tflops"] / by_list.transform("sum"),
        top_fifth=systems["rmax_tflops"] >= by_list.transform("quantile", TOP_SHARE),
    )
    places = zip(table["site"], table["country"], strict=True)
    return by_university(table, [universities(sites[place]) for place in places])


def first_systems(table: pd.DataFrame) -> pd.DataFrame:
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


def read(path: Path) -> pd.DataFrame:
    """Read the table of machines behind events, what they are and whose.

    Returns
    -------
    DataFrame
        :data:`COLUMNS`, all text, one row a machine; the index is the line of the file.

    Raises
    ------
    DataError
        If the file is damaged, a machine is there twice, a label is not allowed, partners are named of a machine that
        is not shared (or none of one that is), or ``listed_as`` is no machine of the table.
    """
    table = csv_table(path, COLUMNS, unique=("machine",), rules=_RULES, remedy=RESTORE)
    machines = set(table["machine"])
    for line, row in table.to_dict("index").items():
        where = f"{path.name}, line {line}"
        if (row["owner"] == "shared") != bool(row["partners"]):
            fault = f'owner is "{row["owner"]}", partners "{row["partners"]}"'
            raise DataError(f"{where}: {fault}; a shared machine names its partners, and no other one does.")
        if (other := row["listed_as"]) and other not in machines:
            raise DataError(f'{where}: listed_as "{other}" is no machine of the table; correct it.')
    return table


def read_prices(path: Path) -> pd.DataFrame:
    """Read what GPUs cost, by year: :data:`PRICES` as numbers and text, in the order of years."""
    numbers = list(PRICES[:1] + PRICES[2:5])
    rules = dict.fromkeys(numbers, AMOUNT)
    table = csv_table(path, PRICES, unique=("year",), rules=rules, remedy=RESTORE)
    return table.astype(dict.fromkeys(numbers, float)).sort_values("year", ignore_index=True)


def listed(systems: pd.DataFrame) -> pd.DataFrame:
    """Return each system on each list: machine, date (of the list), detail, rpeak_tflops.

    A machine is what one site lists under one description, and is called by the first list and the rank there.
    """
    first = systems.groupby(["site", "country", "system"], sort=False)[["list", "rank"]].transform("first")
    machine = "top500:" + first["list"] + ":" + first["rank"].astype(str)
    named = systems.rename(columns={"list": "date", "system": "detail"})
    return named.assign(machine=machine)[["machine", "date", "detail", "rpeak_tflops"]]


def dated(
    on_lists: pd.DataFrame,
    awards: pd.DataFrame,
    resources: pd.DataFrame,
    access: pd.DataFrame,
    families: Mapping[str, Family],
) -> pd.DataFrame:
    """Return when each machine of the sources began, under the name that it has in the table of machines.

    Parameters
    ----------
    on_lists : DataFrame
        Of :func:`listed`.
    awards, resources, access : DataFrame
        Of ``grants.awards_table``, ``sources.osg.read`` and ``programmes.checked``.
    families : mapping of str to Family
        Which say whether programmes are dated by service or, where they say so, by announcement.

    Returns
    -------
    DataFrame
        machine, date ("YYYY-MM" or "YYYY"), left_censored, detail, amount (dollars of an award, else 0). The date is
        censored on the first list with accelerators or before, in the first fiscal year of awards, and where a
        registration has no date, which may then be the earliest of all.
    """
    systems = on_lists.drop_duplicates("machine")
    before = systems["date"] <= top500.FIRST_ACCELERATOR_LIST
    won = awards_held(awards)
    first_year = won["award_id"].str[:2] <= awards["award_id"].str[:2].min()
    tagged = resources[resources["ccstar_resources"] > 0]
    day, undated = tagged["first_registered"], tagged["first_registered"] == ""
    registered = day.mask(undated, day[~undated].min()).str[:7]
    got = access[access["role"] != "loser"]
    of_announced = (group.programmes for group in families.values() if group.date == "announced")
    announced, named = set().union(*of_announced), got["programme"] + ": " + got["institution"]
    began = got["operational"].mask(got["programme"].isin(announced), got["announced"])
    parts = (
        ("", systems["machine"], systems["date"], before, systems["detail"], 0.0),
        ("nsf:", won["award_id"], won["effective"].str[:7], first_year, won["title"], won["amount"]),
        ("osg:", tagged["group"], registered, undated, tagged["group"], 0.0),
        ("programme:", named, began, False, named, 0.0),
    )
    columns = ["machine", "date", "left_censored", "detail", "amount"]
    rows = [dict(zip(columns, (of + machine, *rest), strict=True)) for of, machine, *rest in parts]
    table = pd.concat(map(pd.DataFrame, rows), ignore_index=True)
    return table[table["date"].fillna("") != ""].astype({"left_censored": int})


def held(table: pd.DataFrame, began: pd.DataFrame, matcher: Matcher) -> pd.DataFrame:
    """Return each machine once for each university that holds it: the one named, and the partners of a shared one.

    Parameters
    ----------
    table : DataFrame
        Of :func:`read`. Machines that ``began`` does not have are left out: the originals are other ones.
    began : DataFrame
        Of :func:`dated`.
    matcher : Matcher
        Which knows universities by their names; others stand as they are.

    Returns
    -------
    DataFrame
        The columns of both with university, country, date (of a partner the later one that the table gives it),
        members (how many hold the machine), and last_month (that of a date of which only the year is known).
    """
    merged = table[table["device"] != "none"].merge(began, on="machine")
    records = []
    for row in merged.to_dict("records"):
        names = [name.strip() for name in f"{row['university']};{row['partners']}".split(";") if name.strip()]
        for text in names:
            name, joined = [*JOINED.split(text), ""][:2]
            unit = matcher.university(name, row["country"])
            date = max(row["date"], joined, key=_last_month)
            month = _last_month(date)
            own = {"university": unit.name, "country": unit.country, "date": date, "last_month": month}
            records.append(row | own | {"members": len(names)})
    return pd.DataFrame(records, columns=[*merged.columns, "members", "last_month"])


def events(holders: pd.DataFrame) -> pd.DataFrame:
    """Return each university's first GPU system, own GPU system, other accelerator, and GPUs from any source.

    Parameters
    ----------
    holders : DataFrame
        Of :func:`held`.

    Returns
    -------
    DataFrame
        university, country, event (one of :data:`EVENTS`), date, left_censored, detail, machine, owner; sorted by
        university and event.
    """
    ordered = holders.sort_values(["last_month", "machine"], kind="stable")
    gpu, system = _usable(ordered), ordered["source"] == "top500"
    wanted = (gpu & system, gpu & system & (ordered["owner"] == "own"), ordered["device"] == "other", gpu)
    rows = {event: ordered[kind] for event, kind in zip(EVENTS, wanted, strict=True)}
    return first_events(rows, "machine", "owner")


def capacity(
    holders: pd.DataFrame, on_lists: pd.DataFrame, prices: pd.DataFrame, months: Iterable[str]
) -> pd.DataFrame:
    """Return the peak of each university's own and shared GPU machines in the month of each list.

    A listed system counts while it is listed, with its whole Rpeak; an award for as many teraflop/s as it bought at
    the newest price of its year, over :data:`YEARS` years, unless the machine is a listed one. Each machine is counted
    once, in equal shares for the universities that hold it.

    Parameters
    ----------
    holders : DataFrame
        Of :func:`held`.
    on_lists : DataFrame
        Of :func:`listed`.
    prices : DataFrame
        Of :func:`read_prices`.
    months : iterable of str
        All lists there are ("YYYY-MM").

    Returns
    -------
    DataFrame
        university, country, list, listed_gpu_tflops, granted_gpu_tflops, gpu_tflops (their sum); without zeros.
    """
    usable = holders[_usable(holders)]
    systems = on_lists.rename(columns={"date": "list"})[["machine", "list", "rpeak_tflops"]]
    systems = usable.merge(systems, on="machine").assign(kind="listed_gpu_tflops")
    systems["tflops"] = systems["rpeak_tflops"] / systems["members"]
    unlisted = (usable["source"] == "nsf") & (usable["listed_as"] == "")
    grants = usable[unlisted].assign(kind="granted_gpu_tflops")
    grants["year"] = grants["date"].str[:4].astype(float).clip(lower=prices["year"].min())
    grants = pd.merge_asof(grants.sort_values("year"), prices.drop(columns=["device", "source"]), on="year")
    spent = grants["amount"] * grants["share_of_amount"] / grants["members"]
    grants["tflops"] = spent * grants["tflops"] / grants["dollars"]
    grants = grants.merge(pd.DataFrame({"list": list(months)}), how="cross")
    ended = (grants["date"].str[:4].astype(int) + YEARS).astype(str) + grants["date"].str[4:]
    both = pd.concat([systems, grants[grants["list"] < ended]])
    both = both[both["last_month"] <= both["list"]]
    table = both.pivot_table("tflops", [*UNIT, "list"], "kind", aggfunc="sum", fill_value=0.0)
    table = table.reindex(columns=["listed_gpu_tflops", "granted_gpu_tflops"], fill_value=0.0)
    return table.assign(gpu_tflops=table.sum(axis=1)).reset_index().rename_axis(columns=None)


def _last_month(date: str) -> str:
    """Return the month of a date, December where only the year is known."""
    return date if len(date) == 7 else f"{date}-12"


def _usable(holders: pd.DataFrame) -> pd.Series[bool]:
    """Tell which machines have GPUs that are the university's own or shared by right."""
    return (holders["device"] == "gpu") & holders["owner"].isin(USABLE)


def totals(stock: pd.DataFrame, matcher: Matcher, units: pd.DataFrame, events: pd.DataFrame) -> pd.DataFrame:
    """Compare the GPUs of the universities with each event with those of the others.

    Parameters
    ----------
    stock : DataFrame
        Of ``sources.gpus_per_student.read``.
    units : DataFrame
        university, country of a panel's universities; those of the United States that the stock names are compared.
    events : DataFrame
        university, country, event, date ("YYYY-MM" or "YYYY"), left_censored.

    Returns
    -------
    DataFrame
        One row an event of ``CHECKED`` that occurs: event; with and without the event by the month of the stock, each
        the number of universities (n), the share that holds some and the median in whole H100, both with 95%
        intervals (Wilson 1927; order statistics); the share of those without it that hold more than the median of those
        with it (above_without); and the probability that one with it holds more than one without
        (auc), with the interval of DeLong, DeLong and Clarke-Pearson (1988). A university whose event is only known to
        be before a later month than the stock's is in neither group.
    """
    named = [matcher.universities(name, "US") for name in stock["university"]]
    held = by_university(stock, named).groupby(UNIT, as_index=False)["h100_equivalent"].max()
    held = held.merge(units[UNIT].drop_duplicates(), on=UNIT).query("country == 'US'")
    rows = []
    for event in (name for name in CHECKED if name in set(events["event"])):
        of_event = events[events["event"] == event]
        later = of_event["date"].str[:7] > gpus_per_student.MONTH
        unknown = of_event.loc[later & of_event["left_censored"].astype(bool), "university"]
        known = held[~held["university"].isin(unknown)]
        amounts = known["h100_equivalent"].to_numpy(float)
        having = known["university"].isin(of_event.loc[~later, "university"]).to_numpy()
        row: dict[str, float | str] = {"event": event}
        for name, group in (("with", amounts[having]), ("without", amounts[~having])):
            row |= {f"n_{name}": len(group), **_summary(name, group)}
        above = amounts[~having] > np.median(amounts[having]) if having.any() else np.array([])
        row["above_without"] = float(above.mean()) if len(above) else float("nan")
        area = auc(amounts[having], amounts[~having])
        rows.append(row | dict(zip(("auc", "auc_low", "auc_high"), area, strict=True)))
    return pd.DataFrame(rows)


def auc(larger: FloatArray, smaller: FloatArray) -> tuple[float, float, float]:
    """Return P(x > y) + P(x = y) / 2 of x from the first and y from the second sample, with its 95% interval.

    The variance is that of the placement values (DeLong, DeLong and Clarke-Pearson 1988, equation 5). NaN where one
    sample has fewer than two values.
    """
    if min(len(larger), len(smaller)) < 2:
        return float("nan"), float("nan"), float("nan")
    wins = (larger[:, None] > smaller) + 0.5 * (larger[:, None] == smaller)
    area, parts = float(wins.mean()), (wins.mean(axis=1), wins.mean(axis=0))
    error = float(np.sqrt(sum(part.var(ddof=1) / len(part) for part in parts)))
    margin = float(stats.norm.ppf(0.5 + LEVEL / 2)) * error
    return area, max(0.0, area - margin), min(1.0, area + margin)


def median(values: FloatArray) -> tuple[float, float, float]:
    """Return the median with the order statistics that cover it with at least 95%; NaN where no two do."""
    if not len(values):
        return float("nan"), float("nan"), float("nan")
    low, high = stats.quantile_test(values).confidence_interval(LEVEL)
    return float(np.median(values)), float(low), float(high)


def _summary(name: str, values: FloatArray) -> dict[str, float]:
    some, ends = Share.of(pd.Series(values > 0)), ("", "_low", "_high")
    return {
        f"{what}_{name}{end}": float(value)
        for what, three in (("some", (some.value, *some.interval)), ("median", np.round(median(values))))
        for end, value in zip(ends, three, strict=True)
    }
