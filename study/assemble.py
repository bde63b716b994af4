"""From the published originals to everything in ``data/`` that is derived from them."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import pandas as pd

from study.errors import DataError
from study.institutions import Entity, Gazetteer, Hit, Matcher, load
from study.institutions.credit import Paper, Sites, decisions, match_papers, match_sites
from study.institutions.gazetteer import UNIVERSITY
from study.outputs import write_all
from study.shipped import shipped
from study.sources import paperlists, top500, universities
from study.sources.provenance import sources_toml

YEARS = range(2013, 2025)
BASELINE_END = 2013

# The venues and years that define the population. They are fixed here, so that it does not change
# when the publisher adds a file.
BASELINE_FILES: dict[str, tuple[int, ...]] = {
    "acml": (2010, 2011, 2012, 2013),
    "aistats": (1995, 1997, 1999, 2001, 2003, 2005, 2007, 2009, 2010, 2011, 2012, 2013),
    "colt": (2011, 2012, 2013),
    "cvpr": (2013,),
    "iccv": (2013,),
    "icml": (2013,),
    "icra": tuple(range(2000, 2014)),
    "iros": tuple(range(2000, 2014)),
    "nips": tuple(range(1987, 2014)),
    "rss": tuple(range(2005, 2014)),
}
TIERS = ((1, "1 paper"), (9, "2-9 papers"), (49, "10-49 papers"))
TOP_TIER = "50+ papers"
CVPR_DEADLINE_MONTH = 11
SEGMENTS_OF_FIRMS = ("Industry", "Vendor")
MINIMUM_UNMATCHED = 3

Progress = Callable[[str], None]


def assemble(raw: Path, out: Path, *, progress: Progress | None = None) -> list[Path]:
    """Build all derived files of ``data/`` from the originals; all of them are written, or none.

    Parameters
    ----------
    raw : Path
        Folder with ``top500/``, ``paperlists/`` and ``universities/`` as downloaded.
    out : Path
        The data folder. Its files ``institutions.csv`` and ``organisations.csv`` are read (those that
        ship, where it has none); files that are not derived are left alone.
    progress : callable, optional
        Called with a short text before each step.

    Returns
    -------
    list of Path
        The files written.

    Raises
    ------
    DataError
        If an original is missing, truncated or malformed; nothing is written then.
    """
    say = progress if progress is not None else _silent
    for folder in ("top500", "paperlists", "universities"):
        if not (raw / folder).is_dir():
            raise DataError(f"assemble: folder {folder} is missing in {raw}; put the originals there.")
    systems = top500.read(raw / "top500", say)
    systems = systems[~systems["segment"].isin(SEGMENTS_OF_FIRMS)]
    papers = paperlists.published(paperlists.read(raw / "paperlists", paper_files(), say))
    world = universities.read(raw / "universities")
    say("gazetteer")
    gazetteer = load(_table(out, "institutions.csv"), _table(out, "organisations.csv"), world)
    matcher = Matcher(gazetteer)
    say("affiliations")
    signed, segments = match_papers(papers, matcher)
    say("sites")
    sites = match_sites(systems, matcher, decisions(_table(out, "site_decisions.csv"), gazetteer))
    events = first_events(systems, sites, gazetteer)
    baseline = Counter(
        university for paper in signed if paper.year <= BASELINE_END for university in paper.universities
    )
    say("tables")
    files = {
        "panels/cvpr.csv": panel(signed, baseline, events),
        "panels/cvpr_years.csv": years_table(signed),
        "events/top500.csv": events,
        "crosswalks/sites.csv": sites_table(sites),
        "crosswalks/affiliations.csv": affiliations_table(segments),
    }
    texts = {name: _csv(table).encode() for name, table in files.items()}
    texts["sources.toml"] = sources_toml(raw, paper_files()).encode()
    return write_all(out, texts)


def paper_files() -> list[tuple[str, int]]:
    """Return the (venue, year) pairs that are read: those of the population and those of the outcomes."""
    pairs = {(venue, year) for venue, years in BASELINE_FILES.items() for year in years}
    return sorted(pairs | {("cvpr", year) for year in YEARS})


def treats_from(month: str) -> int:
    """Return the first CVPR year whose papers can respond to a system of a list ("YYYY-MM").

    The deadline for CVPR of year t is in November of t-1, and a list must be older than that month.

    >>> treats_from("2012-06"), treats_from("2012-11")
    (2013, 2014)
    """
    year, number = int(month[:4]), int(month[5:])
    return year + 1 if number < CVPR_DEADLINE_MONTH else year + 2


def tier(papers: int) -> str:
    """Return the label of a university's baseline size."""
    return next((label for highest, label in TIERS if papers <= highest), TOP_TIER)


def first_events(systems: pd.DataFrame, sites: Sites, gazetteer: Gazetteer) -> pd.DataFrame:
    """Return each university's first system and first accelerated system on a list (at a tie the better rank)."""
    first: dict[tuple[str, Entity], tuple[str, str, str]] = {}
    columns = ("list", "site", "country", "system", "accelerator")
    for month, site, country, system, accelerator in zip(*(systems[name] for name in columns), strict=True):
        for hit in sites[site, gazetteer.country(country, f"TOP500 {month}")]:
            if hit.entity is None or hit.entity.kind != UNIVERSITY:
                continue
            first.setdefault(("first_top500", hit.entity), (month, system, site))
            if accelerator:
                first.setdefault(("first_accelerator", hit.entity), (month, system, site))
    start = {"first_top500": top500.FIRST_LIST, "first_accelerator": top500.FIRST_ACCELERATOR_LIST}
    records = [
        {
            "university": university.name,
            "country": university.country,
            "event": event,
            "list": month,
            "system": system,
            "site": site,
            "treats_from": treats_from(month),
            "left_censored": int(month <= start[event]),
        }
        for (event, university), (month, system, site) in first.items()
    ]
    return pd.DataFrame(records).sort_values(["university", "country", "event"], ignore_index=True)


def panel(signed: Sequence[Paper], baseline: Mapping[Entity, int], events: pd.DataFrame) -> pd.DataFrame:
    """Return one row a university and year: the population of the baseline, zeros included."""
    counts: dict[tuple[Entity, int], list[int]] = {}
    for paper in signed:
        if paper.venue == "cvpr":
            for university in paper.universities:
                counts.setdefault((university, paper.year), [0, 0])[int(paper.company)] += 1
    of_year = {row["year"]: row for row in years_table(signed).to_dict("records")}
    starts = {
        (row["event"], row["university"], row["country"]): row["treats_from"]
        for row in events.to_dict("records")
    }
    records = []
    for university in sorted(baseline, key=lambda entity: (entity.name, entity.country)):
        for year in YEARS:
            academic, industry = counts.get((university, year), (0, 0))
            records.append(
                {
                    "university": university.name,
                    "country": university.country,
                    "year": year,
                    "papers": academic + industry,
                    "papers_academic_only": academic,
                    "papers_with_industry": industry,
                    **{
                        event: starts.get((event, university.name, university.country), "")
                        for event in ("first_top500", "first_accelerator")
                    },
                    "baseline_papers": baseline[university],
                    "log_baseline_papers": f"{math.log(baseline[university]):.6f}",
                    "tier": tier(baseline[university]),
                    "venue_papers": of_year[year]["papers"],
                    "coverage": of_year[year]["coverage"],
                }
            )
    return pd.DataFrame(records)


def years_table(signed: Sequence[Paper]) -> pd.DataFrame:
    """Return one row a CVPR year: papers, coverage of affiliations, and what was matched among those."""
    records = []
    for year in YEARS:
        papers = [paper for paper in signed if paper.venue == "cvpr" and paper.year == year]
        known = [paper for paper in papers if paper.affiliated]
        if not known:
            raise DataError(f"CVPR {year}: no paper has an affiliation; download cvpr{year}.json again.")
        records.append(
            {
                "year": year,
                "papers": len(papers),
                "with_affiliation": len(known),
                "coverage": f"{len(known) / len(papers):.4f}",
                "share_university": f"{sum(bool(paper.universities) for paper in known) / len(known):.4f}",
                "share_company": f"{sum(paper.company for paper in known) / len(known):.4f}",
                "share_matched": f"{sum(bool(p.universities) or p.company for p in known) / len(known):.4f}",
            }
        )
    return pd.DataFrame(records)


def sites_table(sites: Sites) -> pd.DataFrame:
    """Return the crosswalk of sites: one row a site and institution, or one without where none was found."""
    records: list[dict[str, str]] = []
    for (site, country), hits in sorted(sites.items()):
        for hit in hits or (Hit(site, None, "unmatched"),):
            records.append({"site": site, "country": country, **_hit_columns(hit)})
    return pd.DataFrame(records)


def affiliations_table(segments: Mapping[Hit, int]) -> pd.DataFrame:
    """Return the crosswalk of affiliations: everything matched, and what stayed unmatched in several papers."""
    records = [
        {"segment": hit.piece, **_hit_columns(hit), "papers": count}
        for hit, count in segments.items()
        if hit.entity is not None or (hit.method in ("ambiguous", "unmatched") and count >= MINIMUM_UNMATCHED)
    ]
    return pd.DataFrame(records).sort_values(
        ["segment", "institution", "country_of_institution"], ignore_index=True
    )


def _silent(_: str) -> None:
    """Say nothing."""


def _table(out: Path, name: str) -> Path:
    return out / name if (out / name).is_file() else shipped("data", name)


def _hit_columns(hit: Hit) -> dict[str, str]:
    entity = hit.entity
    return {
        "institution": entity.name if entity else "",
        "country_of_institution": entity.country if entity else "",
        "kind": entity.kind if entity else "",
        "method": hit.method,
        "score": f"{hit.score:.1f}",
    }


def _csv(table: pd.DataFrame) -> str:
    return table.to_csv(index=False, lineterminator="\n")
