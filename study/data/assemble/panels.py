"""The panels of universities: outcomes, first treated periods, covariates and fixed labels in one long table."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from study.core import DataError
from study.data.institutions import NOBODY, TERRITORIES, UNIT, Hit, Matcher, Overrides
from study.data.sources import affiliations, herd, paperlists
from study.panel import region

TIERS = ((1, "1 paper"), (9, "2-9 papers"), (49, "10-49 papers"), (np.inf, "50+ papers"))
DOSES = ["listed", "systems", "rmax_share", "gpu_tflops"]
SPENDING = ("total", *herd.SOURCES)
CS = "cs"
# Below this share of papers whose affiliations can be told to their authors, a year has no counts by position.
ORDER_NEEDED = 0.9
# By team, by topic, by the author's position.
COUNTS = ["papers", "papers_academic_only", "papers_with_industry"]
COUNTS += ["papers_compute_heavy", "papers_other_topics", "papers_first_author", "papers_last_author"]


def tier(papers: int) -> str:
    """Return the label of a university's baseline size."""
    return next(label for highest, label in TIERS if papers <= highest)


def first_periods(events: pd.DataFrame, spec: PanelSpec, names: list[str]) -> pd.DataFrame:
    """Return the first treated period of each event, one row a university and one column an event.

    A left-censored date may stand for an older event: a university that has one is dated before the panel, so
    that every design drops it, with whatever lag, and none takes the date for an event.
    """
    dates = events[events["event"].isin(names)]
    period = {date: spec.first_period(date) for date in dates["date"].unique()}
    years = dates["date"].map(period).astype("Int64")
    censored = dates["left_censored"].astype(bool)
    before = 2 * spec.years[0] - spec.years[1]
    years = years.mask(censored & (years > before), before)
    table = dates.assign(period=years).pivot(index=UNIT, columns="event", values="period")
    return table.reindex(columns=names).reset_index().rename_axis(columns=None)


def lists_by_year(lists: pd.DataFrame, months: Iterable[str], spec: PanelSpec) -> pd.DataFrame:
    """Return what is known at the newest list that a year's papers can respond to, one row a university and year.

    Parameters
    ----------
    lists : DataFrame
        One row a university and list with :data:`DOSES` (``assemble.machines.lists``, ``capacity``).
    months : iterable of str
        All lists there are.
    spec : PanelSpec

    Returns
    -------
    DataFrame
        university, country, year, and the doses; universities with a row of that list only.
    """
    known = pd.DataFrame({"list": sorted(months)})
    known["year"] = known["list"].map(spec.first_period)
    newest = pd.merge_asof(pd.DataFrame({"year": spec.years}), known, on="year")
    return newest.merge(lists, on="list")[[*UNIT, "year", *DOSES]]


def attach(
    outcomes: pd.DataFrame,
    units: pd.DataFrame,
    spec: PanelSpec,
    *,
    events: pd.DataFrame,
    names: list[str],
    lists: pd.DataFrame,
    months: Iterable[str],
    spending: pd.DataFrame,
    roles: pd.DataFrame,
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
    names : list of str
        The events that become columns, in that order.
    lists, months
        As in :func:`lists_by_year`.
    spending : DataFrame
        university, country, year, :data:`SPENDING` and :data:`CS` (in computer sciences) in thousand dollars.
    roles : DataFrame
        university, country and columns whose names end in ``_role``; "none" where a university has no role.

    Returns
    -------
    DataFrame
        One row a university, (group) and year, in the order of names.

    Raises
    ------
    DataError
        If two universities have one name.
    """
    for twice in units.loc[units["university"].duplicated(), "university"]:
        fault = f"{twice} is the name of universities of two countries"
        raise DataError(f"panel {spec.name}: {fault}; tell them apart in institutions.csv.")
    fixed = units.assign(
        region=units["country"].map(region),
        log_baseline_papers=np.log(units["baseline_papers"]),
        tier=units["baseline_papers"].map(tier),
    ).merge(first_periods(events, spec, names), on=UNIT, how="left")
    role_names = list(roles.columns.drop(UNIT))
    fixed = fixed.merge(roles, on=UNIT, how="left").fillna(dict.fromkeys(role_names, "none"))
    table = outcomes.merge(fixed, on=UNIT, how="left", validate="many_to_one")
    table = table.merge(lists_by_year(lists, months, spec), on=[*UNIT, "year"], how="left")
    before_lists = table["year"] < spec.first_period(min(months))
    table[DOSES] = table[DOSES].astype(float).fillna(0).mask(before_lists)
    table["log_gpu_tflops"] = np.log1p(table["gpu_tflops"])
    amounts = {name: f"herd_{name}" for name in (*SPENDING, CS)}
    table = table.merge(spending.rename(columns=amounts), on=[*UNIT, "year"], how="left")
    before = spending[spending["year"] < spec.years[0]].groupby(UNIT)[CS].mean()
    table = table.merge(before.rename("herd_cs_before"), on=UNIT, how="left")
    if spec.years[1] - spec.years[0] == 2:
        # A venue that is held every second year: its years and events are numbers of its editions.
        table[names], table["edition"] = edition(table[names]), edition(table["year"])
    first = ["university", "country", "region", "group", "year", "edition"]
    last = ["venue_papers", "coverage", "author_order_coverage"]
    columns = [
        *first, *(name for name in outcomes if name not in {*first, *last}), *names, *DOSES, "log_gpu_tflops",
        "baseline_papers", "log_baseline_papers", "baseline_venue_papers", "first_paper_year", "tier",
        *role_names, *amounts.values(), "herd_cs_before", *last,
    ]  # fmt: skip
    table = table[[name for name in columns if name in table]]
    keys = [name for name in ("university", "group", "year") if name in table]
    return table.sort_values(keys, ignore_index=True)


def match_survey(table: pd.DataFrame, matcher: Matcher, known: Overrides) -> pd.DataFrame:
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
        inst_id -> university or None, before the rule.

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
        name, state = rows["name"].iloc[0], rows["state"].iloc[0]
        country = state if state in TERRITORIES else "US"
        hits = (hit for each in rows["name"].unique() for hit in matcher.match(each, country))
        # A name inside a longer one is mostly that of a branch or a medical school with a number of its own.
        full = (hit for hit in hits if hit.method in ("exact", "campus"))
        at_home = (hit for hit in full if (hit.university or NOBODY).country == country)
        hit = next(at_home, Hit(name, None, "unmatched"))
        if inst_id in known:
            hit = Hit(name, known[inst_id], "decision")
        entity = hit.entity or NOBODY
        spent = (len(rows), rows["total"].sum())
        records.append((inst_id, name, state, entity.name, entity.country, hit.method, *spent))
    columns = ["inst_id", "name", "state", "university", "country", "method", "years", "total"]
    crosswalk = pd.DataFrame(records, columns=columns)
    used = spending_by_university(table, crosswalk, ["total"])["inst_id"]
    branch = (crosswalk["university"] != "") & ~crosswalk["inst_id"].isin(used)
    crosswalk.loc[branch, ["university", "country", "method"]] = ["", "", "branch"]
    return crosswalk


def spending_by_university(
    table: pd.DataFrame, crosswalk: pd.DataFrame, amounts: Sequence[str] = SPENDING
) -> pd.DataFrame:
    """Return R&D spending by university and fiscal year: that of the institution which spends most.

    Parameters
    ----------
    table : DataFrame
        Of ``sources.herd.read``.
    crosswalk : DataFrame
        Of :func:`match_survey`.
    amounts : sequence of str
        Its columns of amounts.

    Returns
    -------
    DataFrame
        One row a university and fiscal year, sorted: university, country, fiscal_year, inst_id (a change of it
        is a break: the agency merged or split institutions), and the amounts.
    """
    keys = [*UNIT, "fiscal_year"]
    universities = crosswalk.loc[crosswalk["university"] != "", ["inst_id", *UNIT]]
    claims = table.merge(universities, on="inst_id")
    largest_first = claims.sort_values(["total", "inst_id"], ascending=[False, True])
    largest = largest_first.drop_duplicates(keys).sort_values(keys, ignore_index=True)
    return largest[[*keys, "inst_id", *amounts]]


# Month of the deadline, and how many years before the venue's own year it lies. Where a venue moved its deadline the
# earliest one stands, so that no paper counts as treated that was written before the event.
DEADLINES: dict[str, tuple[int, int]] = {
    "aistats": (10, 1),
    "acml": (5, 0),
    "colt": (2, 0),
    "cvpr": (11, 1),
    "eccv": (3, 0),
    "iccv": (3, 0),
    "iclr": (9, 1),
    "icml": (1, 0),
    "icra": (9, 1),
    "iros": (2, 0),
    "models": (1, 0),
    "nips": (5, 0),
    "rss": (1, 0),
    "uai": (2, 0),
}
# Other venues: before the earliest deadline of their conferences (SODA, INFOCOM and ICDE have theirs in the summer of
# the year before), so that none of their papers counts as treated that was written before the event.
EARLIEST = (6, 1)

# Editions of which the publisher has a small part only.
PARTIAL = [("icra", 2016), *((venue, year) for venue in ("icra", "iros") for year in range(2000, 2005))]
KNOWN = {v: [year for year in years if (v, year) not in PARTIAL] for v, years in paperlists.FILES.items()}


@dataclass(frozen=True)
class PanelSpec:
    """A panel of universities: whose papers are counted when, and who is in it.

    Attributes
    ----------
    name : str
    groups : dict of str to tuple of str
        Venues by group; one group, except where the panel compares groups.
    years : tuple of int
        Evenly spaced.
    baseline_end : int
        Universities with a paper at any covered venue up to this year are the panel's units.
    known : mapping of str to collection of int
        Years whose papers the source has in full, by venue.
    first_after : int
        Their first paper is later than this year; 0 where it may be of any.
    """

    name: str
    groups: dict[str, tuple[str, ...]]
    years: tuple[int, ...]
    baseline_end: int
    known: Mapping[str, Collection[int]] = field(default_factory=lambda: KNOWN)
    first_after: int = 0

    @property
    def venues(self) -> tuple[str, ...]:
        """All venues of all groups."""
        return tuple(venue for venues in self.groups.values() for venue in venues)

    def observed(self, year: int, group: str) -> bool:
        """Tell whether all venues of the group have their papers of a year, in full."""
        return all(year in self.known[venue] for venue in self.groups[group])

    def first_period(self, date: str) -> int:
        """Return the first year of the panel's grid whose papers can respond to an event.

        Parameters
        ----------
        date : str
            "YYYY-MM", or "YYYY", which counts as its last month.

        Returns
        -------
        int
            The year may lie before or after the panel's years. The deadlines of all its venues in that
            year lie in a later month than the event.
        """
        year = max(first_year(date, *DEADLINES.get(venue, EARLIEST)) for venue in self.venues)
        step = self.years[1] - self.years[0]
        return year + (self.years[0] - year) % step


def first_year(date: str, month: int, years_before: int) -> int:
    """Return the first year of a venue whose deadline lies in a later month than the event.

    >>> first_year("2012-06", 11, 1), first_year("2012-11", 11, 1), first_year("2012", 2, 0)
    (2013, 2014, 2013)
    """
    year, event_month = int(date[:4]), int(date[5:] or 12)
    return year + years_before + (event_month >= month)


_OF_FIELDS = {
    "vision": ("cvpr",),
    "learning": ("aistats", "acml"),
    "robotics": ("icra", "iros"),
    "theory": ("colt",),
}
PANELS = (
    PanelSpec("cvpr", {"vision": ("cvpr",)}, tuple(range(2013, 2025)), 2013),
    PanelSpec("iccv", {"vision": ("iccv",)}, tuple(range(2013, 2024, 2)), 2013),
    PanelSpec("icml", {"learning": ("icml",)}, tuple(range(2013, 2025)), 2013),
    PanelSpec("neurips", {"learning": ("nips",)}, tuple(range(1987, 2019)), 1992),
    PanelSpec("robotics", {"robotics": ("icra", "iros")}, tuple(range(2005, 2024)), 2005),
    PanelSpec("colt", {"theory": ("colt",)}, tuple(range(2011, 2025)), 2011),
    PanelSpec("venues", _OF_FIELDS, tuple(range(2013, 2024)), 2013),
)
# Venues with years that paperlists lacks and others copied; nobody here has ICLR 2020.
GAPS = {venue: [year for of, year in affiliations.FILES if of == venue] for venue in ("nips", "iclr")}
_BY_BOTH = {venue: [*KNOWN[venue], *years] for venue, years in GAPS.items()}
FILLED = (
    PanelSpec("neurips_2013", {"learning": ("nips",)}, tuple(range(2013, 2022)), 2013, _BY_BOTH),
    PanelSpec("iclr_2018", {"learning": ("iclr",)}, tuple(range(2018, 2023)), 2018, _BY_BOTH),
)
# Universities that first published after the baseline of the others.
ENTRANTS = PanelSpec("entrants", {"vision": ("cvpr",)}, tuple(range(2016, 2025)), 2016, first_after=2013)
MODELS = PanelSpec("models", {"models": ("models",)}, tuple(range(2010, 2026)), 2010)


def edition(year: int) -> int:
    """Return the number of ICCV's edition of an odd year.

    >>> edition(1999), edition(2013)
    (7, 14)
    """
    # It was held in 1999 for the seventh time and every second year since.
    return 7 + (year - 1999) // 2


def signatures(papers: pd.DataFrame, signed: pd.DataFrame) -> pd.DataFrame:
    """Return one row a paper and university, with what the counts need.

    Parameters
    ----------
    papers : DataFrame
        One row a paper: venue, year, compute_heavy, company.
    signed : DataFrame
        One row a paper and university, as of ``institutions.Signed.signatures``.

    Returns
    -------
    DataFrame
        venue, year, university, country, and the columns of :data:`COUNTS` as 0/1.
    """
    of_paper = papers[["venue", "year", "compute_heavy", "company"]]
    table = of_paper.iloc[signed["paper"]].reset_index(drop=True).join(signed)
    table = table.assign(
        papers=1,
        papers_academic_only=~table["company"],
        papers_with_industry=table["company"],
        papers_compute_heavy=table["compute_heavy"],
        papers_other_topics=~table["compute_heavy"],
        papers_first_author=table["first"],
        papers_last_author=table["last"],
    ).astype(dict.fromkeys(COUNTS, int))
    return table[["venue", "year", *UNIT, *COUNTS]]


def venue_years(papers: pd.DataFrame) -> pd.DataFrame:
    """Return one row a venue and year, of papers with the columns of ``institutions.Signed.papers``.

    Returns
    -------
    DataFrame
        venue, year, papers, repeats (records of a paper that stands more than once, not counted), partial (1 where the
        publisher has a part of the edition only), with_affiliation, coverage (its share of papers); then shares among
        papers with an affiliation: author_order_coverage (affiliations can be told to authors), share_university,
        share_company, share_matched (either, or an institute), share_compute_heavy; compute_heavy (papers with an
        affiliation).
    """
    matched = papers["university"] | papers["company"] | papers["institute"]
    keys = ["venue", "year"]
    everything = papers.groupby(keys).agg(papers=("row", "size"), repeats=("repeats", "sum"))
    known = papers.assign(matched=matched)[papers["affiliated"]].groupby(keys)
    means = known[["ordered", "university", "company", "matched", "compute_heavy"]].mean()
    shares = means.add_prefix("share_").rename(columns={"share_ordered": "author_order_coverage"})
    result = everything.join([known.size().rename("with_affiliation"), shares, known["compute_heavy"].sum()])
    result.insert(2, "partial", result.index.isin(PARTIAL).astype(int))
    result.insert(4, "coverage", result["with_affiliation"] / result["papers"])
    return result.reset_index()


def baseline(signatures: pd.DataFrame, spec: PanelSpec) -> pd.DataFrame:
    """Return the units of a panel: universities with a paper at any covered venue up to the end of the baseline.

    None of them has an earlier one than ``spec.first_after`` allows.

    Returns
    -------
    DataFrame
        university, country, baseline_papers, baseline_venue_papers (at the panel's own venues),
        first_paper_year; in the order of names.
    """
    before = signatures[signatures["year"] <= spec.baseline_end]
    before = before.assign(here=before["papers"].where(before["venue"].isin(spec.venues), 0))
    # Groups come in the order of their names.
    units = before.groupby(UNIT, as_index=False).agg(
        baseline_papers=("papers", "sum"),
        baseline_venue_papers=("here", "sum"),
        first_paper_year=("year", "min"),
    )
    return units[units["first_paper_year"] > spec.first_after].reset_index(drop=True)


def counts(
    signatures: pd.DataFrame, years: pd.DataFrame, units: pd.DataFrame, spec: PanelSpec
) -> pd.DataFrame:
    """Return the outcomes of the panel: one row a unit, group and year, zeros included.

    A year in which one of the group's venues was not held, or is known in part only, is empty, and counts by
    author's position are empty where too few affiliations can be told to their authors.
    """
    years_of_groups = pd.MultiIndex.from_product([spec.groups, spec.years], names=["group", "year"])
    grid = units[UNIT].merge(years_of_groups.to_frame(index=False), how="cross")
    group_of = {venue: group for group, venues in spec.groups.items() for venue in venues}
    keys = [*UNIT, "group", "year"]
    signed = signatures.assign(group=signatures["venue"].map(group_of))
    # A source without titles has no counts by topic.
    known = [name for name in COUNTS if name in signed]
    summed = signed.groupby(keys, as_index=False)[known].sum()
    table = grid.merge(summed, on=keys, how="left").fillna(dict.fromkeys(known, 0))
    # What is known of each observed group and year: papers, and coverage over its venues together.
    held = years.assign(
        group=years["venue"].map(group_of),
        venue_papers=years["papers"],
        ordered=years["author_order_coverage"] * years["with_affiliation"],
    ).dropna(subset="group")
    held = held[[spec.observed(year, group) for year, group in zip(held["year"], held["group"], strict=True)]]
    sums = ["venue_papers", "with_affiliation", "ordered", "compute_heavy"]
    sums = [name for name in sums if name in held]
    held = held.groupby(["group", "year"], as_index=False)[sums].sum()
    held["coverage"] = held["with_affiliation"] / held["venue_papers"]
    held["author_order_coverage"] = held.pop("ordered") / held["with_affiliation"]
    table = table.merge(held, on=["group", "year"], how="left")
    table["share_of_venue"] = table["papers"] / table["with_affiliation"]
    if "compute_heavy" in table:
        table["share_compute_heavy_of_venue"] = table["papers_compute_heavy"] / table.pop("compute_heavy")
    absent = table["venue_papers"].isna()
    table.loc[absent, known] = np.nan
    unordered = ~(table["author_order_coverage"] >= ORDER_NEEDED)
    table.loc[unordered, ["papers_first_author", "papers_last_author"]] = np.nan
    return table.drop(columns="with_affiliation")
