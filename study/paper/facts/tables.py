"""The recomputed facts as text and as tables."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import get_args

import pandas as pd

from study.core import refuse_unknown
from study.data.audit import Share
from study.paper.facts import models as epoch
from study.paper.facts import recomputed as facts
from study.paper.facts.fields import by_period
from study.paper.facts.models import EARLY, GROWTH, LATE, YEAR, Definition, Years, definition, large_scale
from study.paper.facts.recomputed import Data, beside, counts_text, month
from study.report import Block, Cell, Format, Line, Number, Table, error, lettered

TEXT = "text"
THRESHOLDS = ("seed", "known", "all", "top50", "top25", "top10", "1e19", "1e21", "1e23")
OTHER_WINDOWS = (Years(2010, 2013), Years(2020, 2023), YEAR, Years(2010, 2023))
BEFORE_RELEASED = Years(2010, 2019)
READ = (
    "The seed paper's full text was not at hand: published values are those of a public summary, and windows of years "
    "are our reading."
)
SOURCE_OF_MODELS = "Models: Epoch AI (CC BY 4.0), data/facts/models.csv."
SECTOR_RULE = "Models of which neither an academic organisation nor a company is known are in no denominator."


def printed(vintage: str, threshold: str, kind: str = TEXT) -> str:
    """Return what the command `study facts` prints: the facts and what cannot be recomputed, or all tables.

    Parameters
    ----------
    vintage : str
        Of the table of models, as "2023-12".
    threshold : str
        Which models are large-scale, as :func:`study.paper.facts.models.definition` reads it.
    kind : str
        "text", "latex", "html" or "md".

    Raises
    ------
    QuestionError
        If one of them is unknown.
    """
    refuse_unknown("format", kind, (TEXT, *get_args(Format)), epoch.WHO)
    chosen, data = definition(threshold), facts.load()
    if kind != TEXT:
        return b"\n".join(table.formatted(kind) for table in all_tables(data, vintage, chosen)).decode()
    lines = []
    for fact in facts.recomputed(data, vintage, chosen):
        lines += [fact.sentence, f"  {fact.definition} Table: {fact.vintage}."]
        lines += [f"  {fact.note}"] * bool(fact.note)
        lines += [f"  Published in: {fact.source}."] * bool(fact.source)
    lines += ["", "What cannot be recomputed from public data:"]
    for claim, published, reason, source in facts.NOT_RECOMPUTED:
        lines += [f"{claim} (published: {published}).", f"  {reason} Source: {source}."]
    return "\n".join(lines) + "\n"


def all_tables(data: Data, vintage: str, chosen: Definition) -> tuple[Table, ...]:
    """Return every table of the facts, in the order in which a reader wants them."""
    return (
        facts_table(data, vintage, chosen),
        missing_table(),
        vintage_table(data),
        shares_table(data, chosen),
        topics_table(data),
        weights_table(data),
    )


def facts_table(data: Data, vintage: str, chosen: Definition) -> Table:
    """Return the facts beside the published values."""
    used = large_scale(epoch.of_vintage(data.models, vintage), chosen)
    lost = ", ".join(f"{epoch.left_out(used, years)} of {years}" for years in (EARLY, LATE, YEAR))
    titles = ("Published by the seed paper and recomputed", "Recomputed; no published value is known to us")
    lines: dict[str, list[Line]] = {title: [] for title in titles}
    for fact in facts.recomputed(data, vintage, chosen):
        numbers = map(facts.UNITS[fact.unit].cell, (fact.published, fact.value, *fact.interval))
        cells = [*numbers, "/".join(map(str, fact.counts)), fact.beside]
        lines[titles[fact.name not in facts.PUBLISHED]].append(Line(fact.claim, cells))
    return Table(
        name="facts",
        caption="Facts of the seed paper, published and recomputed",
        headings=["Published", "Recomputed", "Low", "High", "Of", beside(chosen).label],
        spans=[("", 2), ("95% interval", 2), ("", 2)],
        blocks=[Block(*block) for block in lines.items()],
        notes=[
            f"Shares in percent, differences in points, doubling time in months. {READ} Models: table of "
            f"{month(vintage)}, {chosen.in_sentence}; last column: the other reading; maker not known and left out: "
            f"{lost}. Topics: compute-heavy papers less others. Growth: last years less first. Counts of differences "
            "are their first share's.",
        ],
        prose=(0,),
    )


def missing_table() -> Table:
    """Return what the seed paper found that public data do not allow to be recomputed, and why."""
    lines = [Line(claim, [published, reason]) for claim, published, reason, _ in facts.NOT_RECOMPUTED]
    return Table(
        name="facts_missing",
        caption="Findings of the seed paper that public data do not allow to be recomputed",
        headings=["Published", "Why not"],
        blocks=[Block("", lines)],
        notes=[READ],
        prose=(0, 2),
    )


def vintage_table(data: Data) -> Table:
    """Return how the published figures move with the definition of large-scale models and with the vintage."""
    rows = [(definition(text).label, definition(text), (EARLY, LATE, YEAR, GROWTH)) for text in THRESHOLDS]
    rows.append(("Seed paper's, other years", definition("seed"), OTHER_WINDOWS))
    lines: dict[str, list[Line]] = {}
    for vintage in epoch.vintages(data.models):
        models = epoch.of_vintage(data.models, vintage)
        lines[f"Table of {month(vintage)}"] = [line for row in rows for line in _moved(models, *row)]
    *shares, doubling = facts.PUBLISHED.values()
    published = [cell for share in shares for cell in (_percent(share), "")]
    over = [f"Academia, {EARLY}", f"Academia, {LATE}", f"Industry, {YEAR}"]
    return Table(
        name="facts_vintage",
        caption="How the facts move with the definition of large-scale models and the vintage",
        headings=["%", "Of", "%", "Of", "%", "Of", "Months"],
        spans=[*((title, 2) for title in over), ("Doubling", 1)],
        blocks=[Block("", [Line("Published", [*published, Number(doubling, 2)])]), *lettered(lines)],
        notes=[
            "Models by academia only, and by industry only, of known training compute. Below shares their 95% Wilson "
            "intervals, below doubling times standard errors (HC1). Doubling times are of all sectors, "
            f"{GROWTH}; none is given where a fixed threshold leaves out the models below it. Top percentages and FLOP "
            "apply to models that meet the seed paper's criteria. Other years: "
            f"{', '.join(str(years) for years in OTHER_WINDOWS[:3])}; doubling time {OTHER_WINDOWS[3]}.",
            SOURCE_OF_MODELS,
        ],
    )


def _moved(models: pd.DataFrame, label: str, chosen: Definition, windows: Sequence[Years]) -> Iterator[Line]:
    early, late, year, growth = windows
    used = large_scale(models, chosen)
    shares = [epoch.shares(used, years)["academia"] for years in (early, late)]
    shares.append(epoch.shares(used, year)["industry"])
    doubling = epoch.NO_DOUBLING if chosen.selects_on_compute else epoch.doubling_time(used, growth)
    months = facts.NOT_KNOWN if math.isnan(doubling.months) else Number(doubling.months, 2)
    yield Line(label, [*(cell for share in shares for cell in _share_cells(share)), months])
    ends = (cell for share in shares for cell in (_ends(share), ""))
    yield Line("", [*ends, error(doubling.std_error, 2)])


def topics_table(data: Data) -> Table:
    """Return the academic-only share in compute-heavy and other papers by venue, of its periods and of each year."""
    years = range(facts.PERIODS[0].first, facts.PERIODS[-1].last + 1)
    periods = [*facts.PERIODS, *(Years(year, year) for year in years)]
    joint, blocks = by_period(data.fields, periods, "collaborative"), []
    for venue, topics in by_period(data.fields, periods).items():
        lines = {}
        for own, team in zip(topics, joint[venue], strict=True):
            ends = (Number(100 * end, 1) for end in own.difference.interval)
            heavy, other, both = map(_share_cells, (own.heavy, own.other, team.both))
            # A period of which one year is known is that year.
            lines[own.seen] = [*heavy, *other, _percent(own.difference.value), *ends, *both]
        blocks.append(
            Block(f"{topics[0].venue}, by period and by year", [Line(*each) for each in lines.items()])
        )
    over = {"Compute-heavy": 2, "Other topics": 2, "Difference, 95% interval": 3, "With industry, all": 2}
    return Table(
        name="facts_fields",
        caption="Academic-only teams in compute-heavy and other papers, by period and by year",
        headings=["%", "Of", "%", "Of", "Points", "Low", "High", "%", "Of"],
        spans=list(over.items()),
        blocks=blocks,
        notes=[
            "Papers with an affiliation. Academic only: no company; with industry: both. Compute-heavy: by the words "
            "of the title (data/topics.toml). Years that are not known are left out. How affiliations are known "
            "changes in 2020 at CVPR, and for NeurIPS 2021 and ICML 2023-2024: compare topics of one period rather "
            "than periods. Newcombe's intervals take papers as independent draws. Data: data/panels/fields.csv.",
        ],
    )


def weights_table(data: Data) -> Table:
    """Return how often each sector releases weights, by vintage and years."""
    *earlier, newest = epoch.vintages(data.models)
    windows = [(newest, BEFORE_RELEASED), (newest, epoch.RELEASED)]
    windows += [(vintage, Years(2010, int(vintage[:4]))) for vintage in earlier]
    blocks = []
    for vintage, years in windows:
        lines = []
        for sector, each in epoch.releases(epoch.of_vintage(data.models, vintage), years).items():
            known = _counts(each.models, each.open.total, each.open.successes)
            closed = _counts(each.unrestricted, each.hosted, each.unreleased)
            cells = [*known, _percent(each.open.value), _ends(each.open, 1), *closed]
            lines.append(Line(epoch.SECTORS[sector], cells))
        blocks.append(Block(f"Models of {years}, table of {month(vintage)}", lines))
    return Table(
        name="facts_weights",
        caption="Release of model weights, by sector",
        headings=["Models", "Known", "Open", "%", "95% interval", "Any use", "Hosted", "None"],
        spans=[("", 2), ("Open weights", 4), ("Not open", 2)],
        blocks=blocks,
        notes=[
            "Notable models, of known training compute or not. Known: the table says how the model can be had; percent "
            "are of these. Open: weights to download, for any use or under restrictions. Hosted: used over the network "
            "alone. The earlier table says of few models how they can be had, mostly of open ones, so that its "
            f"percentages are no rates of release. {SOURCE_OF_MODELS}",
        ],
    )


def shares_table(data: Data, chosen: Definition) -> Table:
    """Return the counts of each sector by year and by compute class, in every vintage."""
    used = {v: large_scale(epoch.of_vintage(data.models, v), chosen) for v in epoch.vintages(data.models)}

    def cells(year: int, vintage: str) -> list[Cell]:
        known = year <= int(vintage[:4])
        return _sectors(epoch.shares(used[vintage], Years(year, year))) if known else [facts.NOT_KNOWN] * 5

    years = epoch.spanned(data.models, EARLY.first)
    lines = [Line(str(year), [cell for vintage in used for cell in cells(year, vintage)]) for year in years]
    blocks = [Block("By year", lines)]
    for window in (EARLY, LATE):
        thirds = [epoch.by_class(models, window) for models in used.values()]
        lines = [Line(name, [c for each in thirds for c in _sectors(each[name])]) for name in epoch.CLASSES]
        blocks.append(Block(f"By training compute among the models of the same year, {window}", lines))
    return Table(
        name="facts_shares",
        caption="Who made large-scale models, by year and by compute class",
        headings=["Acad.", "Both", "Ind.", "All", "Acad., %"] * len(used),
        spans=[(f"Table of {month(vintage)}", 5) for vintage in used],
        blocks=blocks,
        notes=[
            f"Numbers of models of known training compute, {chosen.in_sentence}: academia only, both, industry "
            f"only, and all of these. {SECTOR_RULE} The last year of a table is not complete. Thirds are of "
            f"the models of one calendar year. {SOURCE_OF_MODELS}",
        ],
    )


def _sectors(by_sector: dict[str, Share]) -> list[Cell]:
    academia = by_sector["academia"]
    counts = _counts(*(share.successes for share in by_sector.values()), academia.total)
    return [*counts, _percent(academia.value)]


def _share_cells(share: Share) -> list[Cell]:
    return [_percent(share.value), counts_text(share)]


def _percent(value: float) -> Cell:
    return facts.NOT_KNOWN if math.isnan(value) else Number(100 * value, 1)


def _counts(*values: int) -> list[Number]:
    return [Number(value, 0) for value in values]


def _ends(share: Share, digits: int = 0) -> str:
    low, high = share.interval
    return f"[{100 * low:.{digits}f}, {100 * high:.{digits}f}]" if share.total else ""
