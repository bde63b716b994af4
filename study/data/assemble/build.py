"""The whole way from the originals to the derived files: read, match, derive, write."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from study.core import DataError, write_all
from study.data import topics
from study.data.assemble import ccstar, fields, models, panels
from study.data.assemble import papers as counting
from study.data.assemble import programmes as access
from study.data.assemble import top500 as machines
from study.data.assemble.panels import MODELS, PANELS, PanelSpec
from study.data.codebook import codebook
from study.data.grants import classify, concerned, winners
from study.data.institutions import Hit, Matcher, Overrides, load, read_overrides
from study.data.institutions.credit import Signed, Sites, decisions, match_papers, match_sites
from study.data.sources import epoch, nsf, osg, paperlists, top500, universities
from study.data.sources import herd as spending
from study.data.sources.provenance import SOURCES, sources_toml
from study.data.sources.reading import Progress, silent
from study.panel.shipped import shipped

EVENTS = (
    "first_top500",
    "first_accelerator",
    "first_top_fifth",
    "first_cluster_grant",
    "first_gpu_grant",
    "first_other_instrument",
    "first_ccstar",
)
SIGNIFICANT_DIGITS = "%.6g"

# Joins what is known of a panel's universities and years to its outcomes: outcomes, units, panel.
Attach = Callable[[pd.DataFrame, pd.DataFrame, PanelSpec], pd.DataFrame]


@dataclass(frozen=True, eq=False)
class Originals:
    """The tidy tables of all sources, before anything is matched."""

    papers: pd.DataFrame
    systems: pd.DataFrame
    universities: pd.DataFrame
    awards: pd.DataFrame
    campus: pd.DataFrame
    spending: pd.DataFrame
    models: pd.DataFrame
    earlier_models: pd.DataFrame


@dataclass(frozen=True, eq=False)
class _ByHand:
    """What is decided or compiled by hand and ships."""

    sites: Sites
    awardees: winners.Crosswalk
    facilities: Overrides
    survey: Overrides
    organisations: Overrides
    programmes: pd.DataFrame
    families: dict[str, access.Family]


def assemble(raw: Path, out: Path, *, progress: Progress = silent) -> list[Path]:
    """Build all derived files of ``data/`` from the originals; all of them are written, or none.

    Parameters
    ----------
    raw : Path
        Folder with one folder a source, as downloaded.
    out : Path
        The data folder. Its tables that are written by hand are read (those that ship, where it has none);
        files that are not derived are left alone.
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
    for folder in SOURCES:
        if not (raw / folder).is_dir():
            raise DataError(f"assemble: folder {folder} is missing in {raw}; put the originals there.")
    originals = read(raw, progress)
    progress("gazetteer")
    gazetteer = load(
        _table(out, "institutions.csv"), _table(out, "organisations.csv"), originals.universities
    )
    matcher = Matcher(gazetteer)
    by_hand = _ByHand(
        sites=decisions(_table(out, "site_decisions.csv"), gazetteer),
        awardees=winners.crosswalk(_table(out, "awardees.csv"), matcher),
        facilities=read_overrides(_table(out, "osg_facilities.csv"), "facility"),
        survey=read_overrides(_table(out, "herd_institutions.csv"), "inst_id"),
        organisations=read_overrides(_table(out, "epoch_organisations.csv"), "organisation"),
        programmes=access.checked(_table(out, "programmes.csv")),
        families=access.families(_table(out, "programmes.toml")),
    )
    tables = derive(originals, by_hand, matcher, progress)
    progress("writing")
    texts = {name: _csv(table).encode() for name, table in tables.items()}
    headings = {name: list(table.columns) for name, table in tables.items()}
    texts["codebook.md"] = codebook(
        _table(out, "panels.toml"), _table(out, "columns.toml"), headings
    ).encode()
    texts["sources.toml"] = sources_toml(raw, paperlists.known_files()).encode()
    return write_all(out, texts)


def read(raw: Path, progress: Progress) -> Originals:
    """Read all originals."""
    systems = top500.read(raw / "top500", progress)
    papers = paperlists.published(paperlists.read(raw / "paperlists", paperlists.known_files(), progress))
    progress("awards, spending, models")
    return Originals(
        papers=papers,
        systems=systems,
        universities=universities.read(raw / "universities"),
        awards=nsf.read(raw / "nsf", keep=concerned),
        campus=osg.read(raw / "osg"),
        spending=spending.read(raw / "herd"),
        models=epoch.read(raw / "epoch"),
        earlier_models=epoch.read(raw / "epoch", "december_2023"),
    )


def derive(
    originals: Originals, by_hand: _ByHand, matcher: Matcher, progress: Progress
) -> dict[str, pd.DataFrame]:
    """Return every derived table by its path below ``data/``."""
    progress("topics of papers")
    found = topics.topics(originals.papers["title"])
    papers = originals.papers[["venue", "year", "row", "repeats"]].assign(
        compute_heavy=found["compute_heavy"].to_numpy(), area=found["area"].to_numpy()
    )
    progress("affiliations of papers")
    signed = match_papers(originals.papers, matcher)
    progress("sites, awards, programmes")
    sites = match_sites(originals.systems, matcher, by_hand.sites)
    hosted = machines.credited(originals.systems, sites, matcher.gazetteer)
    awards = winners.awards_table(classify(originals.awards), matcher, by_hand.awardees)
    events = {
        "events/top500.csv": machines.events(hosted),
        "events/nsf.csv": winners.events(awards),
        "events/ccstar.csv": ccstar.events(originals.campus, matcher, by_hand.facilities),
        "events/programmes.csv": access.events(by_hand.programmes, by_hand.families, matcher),
    }
    every_event = pd.concat(events.values(), ignore_index=True)
    roles = access.roles(by_hand.programmes, by_hand.families, matcher)
    lists = machines.lists(hosted)
    survey = panels.match_survey(originals.spending, matcher, by_hand.survey)
    by_year = panels.spending_by_university(originals.spending, survey).rename(
        columns={"fiscal_year": "year"}
    )
    organisations = models.organisations(originals.models, matcher, by_hand.organisations)

    def attach(outcomes: pd.DataFrame, units: pd.DataFrame, spec: PanelSpec) -> pd.DataFrame:
        of_programmes = access.role_attributes(roles, by_hand.families, units)
        units = units.merge(of_programmes, on=panels.UNIT)
        units = units.merge(winners.roles(every_event), on=panels.UNIT, how="left")
        return panels.attach(
            outcomes,
            units.fillna({"nsf_role": access.NO_ROLE}),
            spec,
            events=every_event,
            names=[*EVENTS, *access.event_names(by_hand.families, every_event["event"])],
            lists=lists,
            months=originals.systems["list"].unique(),
            spending=by_year,
        )

    progress("panels")
    years = counting.venue_years(papers, signed)
    signatures = counting.signatures(papers, signed)
    of_universities = models.models_by_university(originals.models, organisations)
    return {
        **_paper_panels(signatures, years, attach),
        "panels/models.csv": _models_panel(signatures, of_universities, attach),
        **_field_panels(papers, signed, years, models.compute_growth(originals.models)),
        "facts/models.csv": models.fact_models((originals.earlier_models, originals.models)),
        "venue_years.csv": years,
        **events,
        "events/programme_roles.csv": roles,
        "events/top500_lists.csv": lists,
        "events/nsf_awards.csv": awards,
        "crosswalks/sites.csv": sites_crosswalk(sites),
        "crosswalks/affiliations.csv": affiliations_crosswalk(signed.pieces),
        "crosswalks/herd.csv": survey,
        "crosswalks/epoch.csv": organisations,
    }


def _paper_panels(signatures: pd.DataFrame, years: pd.DataFrame, attach: Attach) -> dict[str, pd.DataFrame]:
    tables = {}
    for spec in PANELS:
        units = counting.baseline(signatures, spec)
        outcomes = counting.counts(signatures, years, units, spec)
        table = attach(outcomes, units, spec)
        if len(spec.groups) == 1:
            table = table.drop(columns="group")
        else:
            table.insert(0, "unit", table["university"] + ": " + table["group"])
        tables[f"panels/{spec.name}.csv"] = table
    return tables


def _models_panel(signatures: pd.DataFrame, found: pd.DataFrame, attach: Attach) -> pd.DataFrame:
    units = counting.baseline(signatures, MODELS).drop(columns="baseline_venue_papers")
    return attach(models.panel(found, units, MODELS.years), units, MODELS)


def _field_panels(
    papers: pd.DataFrame, signed: Signed, years: pd.DataFrame, growth: pd.DataFrame
) -> dict[str, pd.DataFrame]:
    written = fields.teams(papers, signed)
    return {
        "panels/fields.csv": fields.panel(written, years, growth, "topic"),
        "panels/areas.csv": fields.panel(written, years, growth, "area"),
        "compute_growth.csv": growth,
    }


def _table(out: Path, name: str) -> Path:
    return out / name if (out / name).is_file() else shipped("data", name)


def _csv(table: pd.DataFrame) -> str:
    """Return a table as CSV; whole numbers without a decimal point, others with six significant digits."""
    whole = [name for name in table.select_dtypes("float") if (table[name].dropna() % 1 == 0).all()]
    return table.astype(dict.fromkeys(whole, "Int64")).to_csv(
        index=False, lineterminator="\n", float_format=SIGNIFICANT_DIGITS
    )


# Pieces that stayed unmatched are listed from this many papers on: below it most name a person's own unit or street.
MINIMUM_UNMATCHED = 3


def sites_crosswalk(matched: Sites) -> pd.DataFrame:
    """Return one row a site of a supercomputer and institution, or one without where none was found."""
    records = [
        {"site": site, "country": country, **_columns(hit)}
        for (site, country), hits in sorted(matched.items())
        for hit in hits or (Hit(site, None, "unmatched"),)
    ]
    return pd.DataFrame(records)


def affiliations_crosswalk(pieces: Mapping[Hit, int]) -> pd.DataFrame:
    """Return every piece of an affiliation that was matched, and what stayed unmatched in several papers."""
    records = [
        {"segment": hit.piece, **_columns(hit), "papers": count}
        for hit, count in pieces.items()
        if hit.entity is not None or (hit.method in ("ambiguous", "unmatched") and count >= MINIMUM_UNMATCHED)
    ]
    return pd.DataFrame(records).sort_values(
        ["segment", "institution", "country_of_institution"], ignore_index=True
    )


def _columns(hit: Hit) -> dict[str, str]:
    entity = hit.entity
    return {
        "institution": entity.name if entity else "",
        "country_of_institution": entity.country if entity else "",
        "kind": entity.kind if entity else "",
        "method": hit.method,
        "score": f"{hit.score:.1f}",
    }
