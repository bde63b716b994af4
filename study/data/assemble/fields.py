"""Fields of research by year: which teams write a venue's papers on a topic, and how fast the field's compute grows."""

from __future__ import annotations

from typing import Literal

import numpy as np
import pandas as pd

from study.data.assemble.panels import DEADLINES, first_year
from study.data.institutions import by_spelling

YEARS = tuple(range(2000, 2025))
VENUES = ("acml", "aistats", "colt", "cvpr", "iccv", "icml", "icra", "iros", "nips", "rss")
TEAMS = ["academic_only", "collaborative", "industry_only", "other_teams"]
# The field of Epoch's models whose training compute a field of papers is compared with; all models elsewhere.
COMPUTE_OF_VENUE = by_spelling(vision="cvpr iccv", robotics="icra iros rss")
COMPUTE_OF_AREA = {area: area for area in ("language", "robotics", "speech", "vision")}
COMPUTE_OF_AREA["reinforcement learning"] = "games"
# AlexNet, trained on two consumer GPUs, won the ImageNet challenge (Krizhevsky, Sutskever and Hinton 2012). The
# fields that it concerns are the compute-heavy ones, or by area those of perception.
GPU_SHOCK = "2012-10"
SHOCKED = frozenset({"compute_heavy", "vision", "speech"})


def teams(papers: pd.DataFrame) -> pd.DataFrame:
    """Return which kind of team wrote each paper with an affiliation (columns of ``institutions.Signed.papers``).

    Academia is universities, research institutes and national centres.

    Returns
    -------
    DataFrame
        venue, year, compute_heavy, area, and one 0/1 column for each of :data:`TEAMS`; they add up to 1.
    """
    known = papers[papers["affiliated"]]
    academia, company = known["university"] | known["institute"], known["company"]
    table = known[["venue", "year", "compute_heavy", "area"]].assign(
        academic_only=academia & ~company,
        collaborative=academia & company,
        industry_only=~academia & company,
        other_teams=~academia & ~company,
    )
    return table.astype(dict.fromkeys(TEAMS, int))


def panel(
    table: pd.DataFrame, years: pd.DataFrame, growth: pd.DataFrame, by: Literal["topic", "area"]
) -> pd.DataFrame:
    """Return one row a field and year.

    Parameters
    ----------
    table : DataFrame
        Of :func:`teams`.
    years : DataFrame
        Of ``assemble.panels.venue_years``.
    growth : DataFrame
        field, year, growth (orders of magnitude a year), of ``assemble.models.compute_growth``.
    by : {"topic", "area"}
        A field is a venue's compute-heavy or other papers, told by the words of the title; or a venue's papers
        of one task area, which do not depend on whether the title names a method.

    Returns
    -------
    DataFrame
        field, venue, topic or area, year, papers (with an affiliation), the counts of :data:`TEAMS` and
        their shares (empty in years without papers), gpu_shock (first year whose papers could respond, for
        the fields that it concerns), compute_growth, coverage. Editions known in part only are left out.
    """
    papers = table[table["venue"].isin(VENUES) & table["year"].isin(YEARS)]
    papers = papers.assign(topic=np.where(papers["compute_heavy"], "compute_heavy", "other"))
    keys = ["venue", by]
    summed = papers.groupby([*keys, "year"], as_index=False)[TEAMS].sum()
    fields = papers[keys].drop_duplicates().sort_values(keys)
    result = fields.merge(pd.DataFrame({"year": YEARS}), how="cross")
    result = result.merge(summed, on=[*keys, "year"], how="left")
    result = result.merge(years[["venue", "year", "partial", "coverage"]], on=["venue", "year"], how="left")
    # A held edition without a paper of the field is a zero; an edition that is not known in full is empty.
    held = (result["partial"] == 0) & result["coverage"].notna()
    result[TEAMS] = result[TEAMS].fillna(0).where(held)
    total = result[TEAMS].sum(axis=1, skipna=False)
    for team in TEAMS:
        result[f"share_{team}"] = (result[team] / total).where(total > 0)
    shock = {venue: first_year(GPU_SHOCK, *DEADLINES[venue]) for venue in VENUES}
    compute = result[by].map(COMPUTE_OF_AREA) if by == "area" else result["venue"].map(COMPUTE_OF_VENUE)
    names = result["venue"].str.upper().replace("NIPS", "NeurIPS")
    result = result.assign(
        field=names + ", " + result[by].str.replace("_", "-"),
        papers=total,
        gpu_shock=result["venue"].map(shock).where(result[by].isin(SHOCKED)).astype("Int64"),
        compute_field=compute.fillna("all"),
    )
    known = growth.rename(columns={"field": "compute_field", "growth": "compute_growth"})
    result = result.merge(known, on=["compute_field", "year"], how="left")
    counts = ["papers", *TEAMS, *(f"share_{team}" for team in TEAMS)]
    columns = ["field", *keys, "year", *counts, "gpu_shock", "compute_field", "compute_growth", "coverage"]
    return result[columns].sort_values(["field", "year"], ignore_index=True)
