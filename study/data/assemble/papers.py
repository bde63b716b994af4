"""Papers of each university and year at the venues of a panel, and what is known of each venue's years."""

from __future__ import annotations

import numpy as np
import pandas as pd

from study.data.assemble.panels import PARTIAL, PanelSpec
from study.data.institutions import UNIT

# Below this share of papers whose affiliations can be told to their authors, a year has no counts by position.
ORDER_NEEDED = 0.9

# By team, by topic, by the author's position.
COUNTS = ["papers", "papers_academic_only", "papers_with_industry"]
COUNTS += ["papers_compute_heavy", "papers_other_topics", "papers_first_author", "papers_last_author"]


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
