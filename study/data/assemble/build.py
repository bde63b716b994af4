"""The whole way from the originals to the derived files: read, match, derive, write."""

from __future__ import annotations

import gzip
import io
from collections.abc import Callable, Mapping, Sequence
from functools import partial, reduce
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pandas as pd

from study.core import DataError, grouped, settle, tell, write_all
from study.data import grants, sources, topics
from study.data.assemble import csmetrics, machines, models, panels, programmes
from study.data.institutions import UNIT, Matcher, load, match, read_overrides
from study.panel import Roles, panel_entries, read_catalogue, shipped
from study.report import render

EVENTS = (
    "first_top500",
    "first_accelerator",
    "first_top_fifth",
    *grants.EVENTS,
    "first_ccstar",
    programmes.CONTEST_WIN,
    programmes.ACCESS_LOST,
    *machines.EVENTS,
)

Tables = dict[str, pd.DataFrame]
# Panels whose files would be larger than 4 MiB.
PACKED = ("venues", "cs_2007")
# Where a table is that is decided or compiled by hand.
ByHand = Callable[[str], Path]


def assemble(raw: Path, out: Path) -> list[Path]:
    """Build all derived files of ``data/`` from the originals; all of them are written, or none.

    Parameters
    ----------
    raw : Path
        Folder with one folder a source, as downloaded.
    out : Path
        The data folder. Its tables that are written by hand are read (those that ship, where it has none);
        files that are not derived are left alone.

    Returns
    -------
    list of Path
        The files written.

    Raises
    ------
    DataError
        If an original is missing, truncated or malformed; nothing is written then.
    """
    settle(out)
    for folder in sources.RECORDED:
        if not (raw / folder).is_dir():
            raise DataError(f"assemble: folder {folder} is missing in {raw}; put the originals there.")

    def by_hand(name: str) -> Path:
        return out / name if (out / name).is_file() else shipped("data", name)

    originals = _read(raw)
    tell("gazetteer")
    matcher = Matcher(load(by_hand("institutions.csv"), by_hand("organisations.csv"), originals.universities))
    events = _events(originals, by_hand, matcher)
    tables = events | _panels(originals, by_hand, matcher, events)
    tell("writing")
    files = {name: _file(name, table) for name, table in tables.items()}
    headings = {name: list(table.columns) for name, table in tables.items()}
    files["codebook.md"] = codebook(by_hand("panels.toml"), by_hand("columns.toml"), headings).encode()
    files["sources.toml"] = sources.sources_toml(raw).encode()
    return write_all(out, files)


def _read(raw: Path) -> SimpleNamespace:
    """Return what each source says by its name, before any work is done; those that take longest come last."""
    tell("originals")
    awards = partial(sources.nsf.read, keep=grants.of_programmes)
    # Of all others a folder is enough. The models of Epoch's table come before those of December 2023.
    readers: dict[str, Callable[[Path], Any]] = {
        "nsf": awards,
        "nsf_cri": awards,
        "epoch": lambda folder: (sources.epoch.read(folder), sources.epoch.read(folder, "december_2023")),
        "paperlists": lambda folder: sources.paperlists.read(folder, sources.paperlists.known_files()),
    }
    read = {name: readers.get(name) or getattr(sources, name).read for name in reversed(sources.RECORDED)}
    return SimpleNamespace(**{name: reader(raw / name) for name, reader in read.items()})


def _events(originals: SimpleNamespace, by_hand: ByHand, matcher: Matcher) -> Tables:
    """Return what is known of each university's machines, awards and programmes, by path below ``data/``."""
    tell("sites, awards, programmes")
    country = matcher.gazetteer.country
    named = zip(originals.top500["country"], originals.top500["list"], strict=True)
    systems = originals.top500.assign(country=[country(name, f"TOP500 {month}") for name, month in named])
    overrides = match.decisions(by_hand("site_decisions.csv"), matcher.gazetteer)
    sites = match.match_sites(systems, matcher, overrides)
    hosted = machines.credited(systems, sites)
    # Yearly files of all awards hold those of CRI as well.
    records = pd.concat([originals.nsf, originals.nsf_cri]).drop_duplicates("award_id")
    classified = grants.classify(records)
    awardees = read_overrides(by_hand("awardees.csv"), matcher, "awardee", "state")
    awards = grants.awards_table(classified, matcher, awardees)
    facilities = read_overrides(by_hand("osg_facilities.csv"), matcher, "facility")
    access = programmes.checked(by_hand("programmes.csv"))
    families = programmes.families(by_hand("programmes.toml"))
    on_lists = machines.listed(systems)
    began = machines.dated(on_lists, awards, originals.osg, access, families)
    holders = machines.held(machines.read(by_hand("machines.csv")), began, matcher)
    prices = machines.read_prices(by_hand("gpu_prices.csv"))
    of_awards, of_programmes = grants.events(awards), programmes.events(access, families, matcher)
    roles = programmes.roles(access, families, matcher)
    return {
        "events/top500.csv": machines.first_systems(hosted),
        "events/nsf.csv": of_awards,
        "events/ccstar.csv": programmes.registered(originals.osg, matcher, facilities),
        "events/programmes.csv": of_programmes,
        "events/programme_roles.csv": roles,
        "events/contests.csv": programmes.contest_wins(
            pd.concat([of_awards, of_programmes]), roles, families
        ),
        "events/entity_list.csv": programmes.access_lost(originals.entity_list, matcher),
        "events/top500_lists.csv": machines.lists(hosted),
        "events/nsf_awards.csv": awards,
        "events/machines.csv": machines.events(holders),
        "events/capacity.csv": machines.capacity(holders, on_lists, prices, sorted(systems["list"].unique())),
        "crosswalks/sites.csv": match.sites_crosswalk(sites),
    }


def _panels(originals: SimpleNamespace, by_hand: ByHand, matcher: Matcher, events: Tables) -> Tables:
    """Return the panels, and what else is known of papers, spending and models, by path below ``data/``."""
    tell("spending, models")
    spending, in_field = originals.herd, originals.herd_fields
    known = read_overrides(by_hand("herd_institutions.csv"), matcher, "inst_id")
    survey = panels.match_survey(spending, matcher, known)
    known = read_overrides(by_hand("herd_field_institutions.csv"), matcher, "name")
    survey_of_field = panels.match_survey(in_field, matcher, known)
    by_year = panels.spending_by_university(spending, survey).merge(
        panels.spending_by_university(in_field, survey_of_field, ["total"]).rename(columns={"total": panels.CS}),
        on=[*UNIT, "fiscal_year"], how="outer",
    ).rename(columns={"fiscal_year": "year"})  # fmt: skip
    notable, earlier = originals.epoch
    known = read_overrides(by_hand("epoch_organisations.csv"), matcher, "organisation")
    organisations = models.organisations(notable, matcher, known)
    every_event = pd.concat([table for table in events.values() if "event" in table], ignore_index=True)
    families = programmes.families(by_hand("programmes.toml"))
    owned = events["events/capacity.csv"][[*UNIT, "list", "gpu_tflops"]]
    in_programmes = events["events/programme_roles.csv"]
    roles = [
        programmes.role_attributes(in_programmes, families),
        grants.roles(every_event),
        programmes.participants(events["events/nsf_awards.csv"], in_programmes),
        programmes.access_lost_roles(every_event),
    ]
    attach = partial(
        panels.attach,
        events=every_event,
        names=[*EVENTS, *programmes.event_names(families, set(every_event["event"]))],
        lists=events["events/top500_lists.csv"].assign(listed=1).merge(owned, how="outer"),
        months=originals.top500["list"].unique(),
        spending=by_year,
        roles=reduce(partial(pd.merge, on=UNIT, how="outer"), roles),
    )
    published = sources.paperlists.published(originals.paperlists)
    tell("topics of papers")
    classified, signed = _classified(published, matcher)
    tell("affiliations of papers")
    years = panels.venue_years(classified)
    signatures = panels.signatures(classified, signed.signatures)
    tell("panels")
    tables = {}

    def add(
        spec: panels.PanelSpec, signatures: pd.DataFrame, years: pd.DataFrame, units: pd.DataFrame
    ) -> None:
        table = attach(panels.counts(signatures, years, units, spec), units, spec)
        if len(spec.groups) == 1:
            table = table.drop(columns="group")
        tables[_panel_file(spec.name)] = table

    for spec in (*panels.PANELS, panels.ENTRANTS):
        add(spec, signatures, years, panels.baseline(signatures, spec))
    copied = sources.paperlists.published(originals.affiliations)
    more, signed_more = _classified(copied, matcher)
    both = pd.concat([signatures, panels.signatures(more, signed_more.signatures)], ignore_index=True)
    by_source = {"paperlists": years, "affiliations": panels.venue_years(more)}
    years_of_both = pd.concat([table.assign(source=name) for name, table in by_source.items()])
    for spec in panels.FILLED:
        add(spec, both, years_of_both, panels.baseline(both, spec))
        of_venue = years_of_both[years_of_both["venue"].isin(spec.venues)].set_index("year")
        filled = tables[_panel_file(spec.name)]
        filled["source"] = filled["year"].map(of_venue["source"])
    tell("csmetrics")
    institutions, venues = originals.csmetrics
    entering, years_there = csmetrics.covered(venues), csmetrics.venue_years(venues)
    there = csmetrics.signatures(institutions, matcher)
    for spec in csmetrics.specs(entering):
        add(spec, there, years_there, csmetrics.units(there[there["venue"].isin(entering)], spec))
    units = panels.baseline(signatures, panels.MODELS).drop(columns="baseline_venue_papers")
    outcomes = models.panel(models.models_by_university(notable, organisations), units, panels.MODELS.years)
    tables["panels/models.csv"] = attach(outcomes, units, panels.MODELS)
    stock = originals.gpus_per_student
    tables["gpu_stock.csv"] = machines.totals(stock, matcher, tables["panels/cvpr.csv"], every_event)
    teams, growth = models.teams(classified), models.compute_growth(notable)
    return {
        **tables,
        "panels/fields.csv": models.fields_panel(teams, years, growth, "topic"),
        "panels/areas.csv": models.fields_panel(teams, years, growth, "area"),
        "compute_growth.csv": growth,
        "facts/models.csv": models.fact_models((earlier, notable)),
        "venue_years.csv": years,
        "csmetrics_coverage.csv": csmetrics.coverage(venues, entering),
        "outcome_comparison.csv": csmetrics.comparison(there, signatures, years_there, years),
        "crosswalks/affiliations.csv": match.affiliations_crosswalk(signed.pieces),
        "crosswalks/herd.csv": survey,
        "crosswalks/herd_fields.csv": survey_of_field.drop(columns="inst_id"),
        "crosswalks/epoch.csv": organisations,
    }


def _classified(published: pd.DataFrame, matcher: Matcher) -> tuple[pd.DataFrame, match.Signed]:
    """Return topic and signatures of papers."""
    table = published[["venue", "year", "row", "repeats"]].join(topics.topics(published["title"]))
    signed = match.match_papers(published, matcher)
    return pd.concat([table.reset_index(drop=True), signed.papers], axis=1), signed


def _panel_file(name: str) -> str:
    return f"panels/{name}.csv{'.gz' if name in PACKED else ''}"


def _file(name: str, table: pd.DataFrame) -> bytes:
    """Return a table as CSV, compressed if its file is so named, and always as the same bytes.

    Whole numbers are written without a decimal point, others with six significant digits.
    """
    integers = [name for name in table.select_dtypes("float") if (table[name].dropna() % 1 == 0).all()]
    table = table.astype(dict.fromkeys(integers, "Int64"))
    text = table.to_csv(index=False, lineterminator="\n", float_format="%.6g").encode()
    if not name.endswith(".gz"):
        return text
    # gzip.compress writes into the heading on which system it ran.
    content = io.BytesIO()
    with gzip.GzipFile("", "wb", fileobj=content, mtime=0) as stream:
        stream.write(text)
    return content.getvalue()


def codebook(
    panels_toml: Path, columns_toml: Path, headings: Mapping[str, Sequence[str]] | None = None
) -> str:
    """Return the codebook as Markdown.

    Parameters
    ----------
    panels_toml, columns_toml : Path
        How the panels are read, and what the columns mean.
    headings : mapping, optional
        Columns by path of a table below the data folder, for tables that are not written yet; those of the
        other tables are read from the folder of ``panels_toml``.

    Returns
    -------
    str
        First every column that means the same in all panels, then the panels with the roles of their
        columns, then the other tables with theirs.

    Raises
    ------
    DataError
        If a table of the catalogue is missing, or a column has no entry.
    """
    panels, catalogue = panel_entries(panels_toml), read_catalogue(columns_toml)
    files = dict.fromkeys(entry["file"] for entry in panels.values())
    others = [table for table in catalogue.tables if table not in files]
    known, folder = headings or {}, panels_toml.parent
    heads = {table: known.get(table) or heading(folder / table) for table in (*files, *others)}
    entries = {t: {c: catalogue.entry(t, c) for c in columns} for t, columns in heads.items()}
    rows = {table: catalogue.rows(table) for table in heads}
    keys = {(file, column): catalogue.key(file, column) for file in files for column in heads[file]}
    of_panel = {place for place, key in keys.items() if key in catalogue.tables[place[0]].columns}
    return render(
        "codebook.md",
        rows=rows,
        panels=panels,
        shared={key: entries[f][c] for (f, c), key in keys.items() if (f, c) not in of_panel},
        own={file: {c: e for c, e in entries[file].items() if (file, c) in of_panel} for file in files},
        by_role={name: _by_role(Roles.of_entry(e), heads[e["file"]]) for name, e in panels.items()},
        others={table: entries[table] for table in others},
    ).decode()


def _by_role(roles: Roles, columns: Sequence[str]) -> dict[str, list[str]]:
    """Return the columns of a panel by what they are for."""
    return grouped((roles.role(column) or "not read", column) for column in columns)


def heading(path: Path) -> list[str]:
    """Return the columns of a CSV file, plain or ``.gz``.

    Raises
    ------
    DataError
        If there is no such file.
    """
    if not path.is_file():
        raise DataError(f"{path}: there is no such file, but the catalogue of columns has it.")
    return list(pd.read_csv(path, nrows=0))
