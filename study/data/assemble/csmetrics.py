"""Outcomes with a past, from csmetrics: which venues are covered, who signed their papers, the panels from 2007 on."""

from __future__ import annotations

import pandas as pd

from study.core import DataError
from study.data.assemble.panels import COUNTS, PanelSpec, baseline
from study.data.institutions import UNIT, Entity, Matcher, by_university
from study.data.sources.csmetrics import YEARS

# Fields that need accelerators, and fields of the same departments that need few, by their main conferences. Which of
# them enter is decided by :func:`covered` alone.
COMPUTE_HEAVY = {
    "vision": ("cvpr", "iccv", "eccv"),
    "learning": ("nips", "icml", "uai", "colt"),
    "language": ("acl", "emnlp", "naacl"),
    "robotics": ("icra", "iros", "rss"),
}
FEW_ACCELERATORS = {
    "theory": ("stoc", "focs", "soda"),
    "databases": ("sigmod", "pvldb", "icde", "pods"),
    "interaction": ("chi", "uist"),
    "networks": ("sigcomm", "infocom", "nsdi", "mobicom", "imc"),
}
FIELDS = COMPUTE_HEAVY | FEW_ACCELERATORS
# All other venues of the source: systems, security, software, graphics, journals ...
OTHER = "other"
# The rule by which a venue enters, fixed before any effect was estimated: in each of its editions at least this share
# of papers has an affiliation, and its editions are every year or every second year of the window.
COVERED = 2 / 3
FIELD_OF = {venue: field for field, venues in FIELDS.items() for venue in venues}
# Counts of the source under their names in the panels.
RENAMED = {"first_author": "papers_first_author", "last_author": "papers_last_author"}
RENAMED |= {"papers_with_company": "papers_with_industry"}


def covered(venues: pd.DataFrame) -> list[str]:
    """Return the venues that enter, by the rule above, in the order of names.

    Parameters
    ----------
    venues : DataFrame
        venue, year, papers, papers_with_affiliation, of ``sources.csmetrics.read``.
    """
    calendars = (YEARS, YEARS[::2], YEARS[1::2])
    entering = []
    for venue, editions in venues.groupby("venue"):
        shares = editions["papers_with_affiliation"] / editions["papers"]
        if tuple(sorted(editions["year"])) in calendars and (shares >= COVERED).all():
            entering.append(str(venue))
    return entering


def specs(entering: list[str]) -> list[PanelSpec]:
    """Return the panels from 2007 on, of the venues that enter.

    Raises
    ------
    DataError
        If no venue of a field enters.
    """
    groups = {field: tuple(v for v in venues if v in entering) for field, venues in FIELDS.items()}
    for field in (field for field, venues in groups.items() if not venues):
        raise DataError(f"csmetrics: no venue of {field} is covered; is {COVERED:.0%} too much to ask of it?")
    groups[OTHER] = tuple(venue for venue in entering if venue not in FIELD_OF)
    # A venue that is held every second year is not missing in the others.
    known = dict.fromkeys(entering, YEARS)
    every = {group: venues for group, venues in groups.items() if venues}
    panels = {"vision_2007": ["vision"], "ml_2007": ["learning"], "cs_2007": every}
    return [
        PanelSpec(name, {group: groups[group] for group in own}, YEARS, YEARS[0], known)
        for name, own in panels.items()
    ]


def credited(institutions: pd.DataFrame, matcher: Matcher) -> list[list[Entity]]:
    """Return the universities of each row's institution, by its name and country.

    Parameters
    ----------
    institutions : DataFrame
        Of ``sources.csmetrics.read``.
    matcher : Matcher
    """
    places = list(zip(institutions["name"].tolist(), institutions["country"].tolist(), strict=True))
    code = matcher.gazetteer.country_code
    named = {(name, country): matcher.universities(name, code(country)) for name, country in set(places)}
    return [named[place] for place in places]


def signatures(institutions: pd.DataFrame, matcher: Matcher) -> pd.DataFrame:
    """Return papers by venue, year and university.

    Counts of several institutions that are one university are added, so that a paper of two of them counts twice.

    Returns
    -------
    DataFrame
        venue, year, university, country, and those of ``panels.COUNTS`` that do not need titles.
    """
    table = institutions.rename(columns=RENAMED)
    table["papers_academic_only"] = table["papers"] - table["papers_with_industry"]
    columns = [name for name in COUNTS if name in table]
    signed = by_university(table, credited(institutions, matcher))
    return signed.groupby(["venue", "year", *UNIT], as_index=False)[columns].sum()


def venue_years(venues: pd.DataFrame) -> pd.DataFrame:
    """Return what ``panels.counts`` needs to know of each venue and year."""
    known = venues.rename(columns={"papers_with_affiliation": "with_affiliation"})
    return known[["venue", "year", "papers", "with_affiliation"]].assign(author_order_coverage=1.0)


def units(signatures: pd.DataFrame, spec: PanelSpec) -> pd.DataFrame:
    """Return the units of a panel: universities with a paper in one of the fields up to the end of its baseline.

    For triple differences one of those papers is in a field that needs few accelerators, since a university without
    them has nothing to compare with.
    """
    fields = signatures[signatures["venue"].isin(FIELD_OF)]
    table = baseline(fields, spec)
    if len(spec.groups) > 1:
        few = fields[fields["venue"].map(FIELD_OF).isin(FEW_ACCELERATORS)]
        table = table.merge(baseline(few, spec)[UNIT], on=UNIT)
    return table.drop(columns="first_paper_year")


def coverage(venues: pd.DataFrame, entering: list[str]) -> pd.DataFrame:
    """Return coverage by field and year, over the venues of each field that enter, and one by one.

    Returns
    -------
    DataFrame
        field, venue (empty for all of the field together), year, papers, with_affiliation, coverage, enters (0 or 1).
    """
    table, counts = venue_years(venues), ["papers", "with_affiliation"]
    table["field"] = table["venue"].map(FIELD_OF).fillna(OTHER)
    table["enters"] = table["venue"].isin(entering).astype(int)
    together = table[table["enters"] == 1].groupby(["field", "year"], as_index=False)[counts].sum()
    result = pd.concat([together.assign(venue="", enters=1), table[table["field"] != OTHER]])
    result["coverage"] = result["with_affiliation"] / result["papers"]
    columns = ["field", "venue", "year", *counts, "coverage", "enters"]
    return result[columns].sort_values(columns[:3], ignore_index=True)


def comparison(
    here: pd.DataFrame, there: pd.DataFrame, years_here: pd.DataFrame, years_there: pd.DataFrame
) -> pd.DataFrame:
    """Return how csmetrics and paperlists agree where both have a venue and year.

    Parameters
    ----------
    here, there : DataFrame
        Papers by venue, year and university of csmetrics and of paperlists.
    years_here, years_there : DataFrame
        venue, year, papers, with_affiliation of both.

    Returns
    -------
    DataFrame
        venue, year; for each source (csmetrics_, paperlists_) papers, coverage and credited (papers times
        universities); universities (with a paper in either), correlation over them, zero_in_one (share of them without
        a paper in one).
    """
    keys = ["venue", "year"]
    sources = {"csmetrics": (here, years_here), "paperlists": (there, years_there)}
    of_years, of_units = [], []
    for source, (signed, years) in sources.items():
        share = years["with_affiliation"] / years["papers"]
        columns = {f"{source}_papers": years["papers"], f"{source}_coverage": share}
        of_years.append(years[keys].assign(**columns).set_index(keys))
        of_units.append(signed.groupby([*keys, *UNIT])["papers"].sum().rename(source))
    both = of_years[0].join(of_years[1], how="inner")
    both = both[both["paperlists_coverage"] > 0]
    units = pd.concat(of_units, axis=1).fillna(0)
    units = units[units.index.droplevel(UNIT).isin(both.index)]
    rows = []
    for place, counts in units.groupby(keys):
        a, b = counts["csmetrics"], counts["paperlists"]
        zero = ((a == 0) | (b == 0)).mean()
        rows.append((*place, a.sum(), b.sum(), len(counts), a.corr(b), zero))
    named = ["csmetrics_credited", "paperlists_credited", "universities", "correlation", "zero_in_one"]
    return both.reset_index().merge(pd.DataFrame(rows, columns=[*keys, *named]), on=keys)
