"""The seed paper's descriptive facts, recomputed: text, tables, figure, numbers."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, get_args

import numpy as np
import pandas as pd

from study.core import refuse_unknown
from study.data.audit import Share
from study.figures import FULL, SERIES, Axes, Figure, canvas, label_ends, series_look
from study.panel import checksum
from study.paper import facts as seed_paper
from study.paper.exhibits.exhibit import Part, Piece, Setting, Source, address, addressed, draw, exhibit
from study.paper.facts import EARLY, GROWTH, LATE, SECTORS, YEAR, Data, Definition, Fact, Years, month
from study.report import REFUSED, Block, Cell, Format, Line, Number, Table, error, lettered

COMMAND = "study facts"
GAP = 3.8
HATCHES = ("", "////", "....")
STYLES = dict(zip(SECTORS, zip(SERIES, HATCHES, strict=False), strict=True))
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


@exhibit("Facts of the seed paper, recomputed", Part.FACTS)
def facts(setting: Setting) -> Iterator[Piece]:
    """Yield the recomputed facts; they are the same for every plan, since the tables that they read are."""
    data, chosen = seed_paper.load(), seed_paper.definition(seed_paper.DEFAULT_THRESHOLD)
    vintage = seed_paper.DEFAULT_VINTAGE
    every_fact = seed_paper.recomputed(data, vintage, chosen)
    used = seed_paper.large_scale(data.models[vintage], chosen)
    percents = {fact.name: f"{100 * fact.value:.1f}%" for fact in every_fact}
    yield draw(
        "facts_shares",
        f"Who makes large-scale models, by year and by training compute, table of {month(vintage)}, "
        f"{chosen.in_sentence}.",
        shares_figure(used, next(fact for fact in every_fact if fact.name == "industry_only_peak")),
        "Lines by year and stacked bars by training compute: the share of models by academia alone falls from "
        f"{percents['academic_only_early']} in {EARLY} to {percents['academic_only_late']} in {LATE}, while that by "
        "industry alone becomes the largest, and most so in the third of most compute.",
    )
    yield from all_tables(data, vintage, chosen)
    yield from numbers(data)
    yield _verdict(every_fact)
    yield from (fact.sentence for fact in every_fact)


def numbers(data: Data) -> Iterator[Piece]:
    """Yield every number of the facts that a text would cite; shares are in percent with one decimal."""
    for fact in seed_paper.recomputed(data):
        yield from _of_fact(fact, seed_paper.DEFAULT_VINTAGE, seed_paper.DEFAULT_THRESHOLD, fact.name)
    for vintage, models in data.models.items():
        for threshold in THRESHOLDS:
            for fact in seed_paper.of_models(models, seed_paper.definition(threshold), month(vintage)):
                yield from _of_fact(fact, vintage, threshold, vintage, threshold, fact.name)
    for venue, periods in seed_paper.by_period(data.fields, seed_paper.PERIODS).items():
        for topics in periods:
            claim, at = f"academic-only teams at {topics.venue}, {topics.seen}", (venue, topics.period)
            kinds: dict[str, tuple[Any, ...]] = {
                f"{claim}, compute-heavy papers": (topics.heavy, *at, "heavy"),
                f"{claim}, other papers": (topics.other, *at, "other"),
                f"{claim}, compute-heavy less other papers": (topics.difference, *at),
            }
            for words, (share, *parts) in kinds.items():
                source = _source(seed_paper.FIELDS_FILE, words)
                yield from _of_values(seed_paper.values_of(share), source, *parts)
    *_, newest = data.models.values()
    for years in (BEFORE_RELEASED, seed_paper.RELEASED):
        for sector, each in seed_paper.releases(newest, years).items():
            claim = f"{SECTORS[sector]}, open weights among notable models of {years} of which it is known"
            source = _source(seed_paper.MODELS_FILE, claim)
            yield from _of_values(seed_paper.values_of(each.open), source, "weights", years, sector)


def _of_fact(fact: Fact, vintage: str, threshold: str, *parts: str) -> Iterator[Piece]:
    file = seed_paper.FIELDS_FILE if fact.unit == "difference" else seed_paper.MODELS_FILE
    words = f"{fact.claim}; {fact.definition.rstrip('.')}; table: {fact.vintage}"
    yield from _of_values(fact.values, _source(file, words, vintage, threshold), *parts)
    if fact.source:
        source = _source(file, f"{fact.claim}; {fact.source}", vintage, threshold)
        yield from _of_values({"published": fact.published}, source, *parts, unit=fact.unit)


def _of_values(values: Mapping[str, float], source: Source, *parts: Any, unit: str = "") -> Iterator[Piece]:
    columns = seed_paper.columns_of(unit or next(iter(values)))
    return addressed(address(*parts), values, source, columns=columns)


def _source(file: tuple[str, ...], quantity: str, vintage: str = "", threshold: str = "") -> Source:
    options = (
        f" --vintage {vintage} --threshold {threshold}" if vintage and file == seed_paper.MODELS_FILE else ""
    )
    return Source("", quantity, "/".join(file), checksum(*file), f"{COMMAND}{options}")


def _verdict(every_fact: tuple[Fact, ...]) -> str:
    """Say which published values lie in the intervals of the recomputed ones."""
    published = [fact for fact in every_fact if fact.source]
    outside = [fact.claim for fact in published if not fact.interval[0] <= fact.published <= fact.interval[1]]
    missed = f" Outside of it: {'; '.join(outside)}." if outside else ""
    return (
        f"Of {len(published)} published values that public data allow to be recomputed, "
        f"{len(published) - len(outside)} lie in the 95% interval of the recomputed value.{missed} These are "
        "descriptions: none of them says why shares moved."
    )


def shares_figure(used: pd.DataFrame, peak: Fact) -> Figure:
    """Return the figure of the large-scale models of one vintage; the year of industry's largest share is named."""
    with canvas(FULL, 2.6) as figure:
        left, right = figure.subplots(1, 2, width_ratios=(1.7, 1))
        _by_year(left, used)
        named = f"peak {peak.values['year']}: {peak.counts[0]} of {peak.counts[1]}"
        left.text(peak.values["year"], 100 * peak.value + 4, named, ha="center", va="bottom", fontsize=7)
        _by_class(right, used)
        label_ends(figure, left)
    return figure


def _by_year(axis: Axes, used: pd.DataFrame) -> None:
    """Draw the shares by year with the number of models above them."""
    by_year = {
        year: seed_paper.shares(used, Years(year, year)) for year in seed_paper.spanned(used, EARLY.first)
    }
    years = list(by_year)
    for sector, (look, _) in STYLES.items():
        # The share of a year without models is NaN, which breaks the line.
        values = [100 * shares[sector].value for shares in by_year.values()]
        how = {"markersize": 3.5, "linewidth": 1.2, "label": SECTORS[sector].replace(" with", "\nwith")}
        axis.plot(years, values, **series_look(look, **how))
    for year, shares in by_year.items():
        axis.text(year, 106, str(shares["academia"].total), ha="center", va="bottom", fontsize=7)
    axis.text(years[0] - 0.9, 106, "n", ha="right", va="bottom", fontsize=7, style="italic")
    axis.set(ylim=(-4, 104), ylabel="Share of models, %", xlabel="Year of publication")
    axis.set_xticks(years[::2])
    axis.set_title("By year", pad=14, fontsize=8, loc="left")


def _by_class(axis: Axes, used: pd.DataFrame) -> None:
    """Draw the shares by thirds of training compute, with the makers' names above and their counts beside them."""
    rows = {}
    for block, window in enumerate((EARLY, LATE)):
        axis.text(0, GAP * block - 0.5, str(window), fontsize=8, va="bottom", weight="bold")
        for place, row in enumerate(seed_paper.by_class(used, window).items()):
            rows[GAP * block + place] = row
    starts = np.zeros(len(rows))
    for sector, (look, hatch) in STYLES.items():
        shares = [by_sector[sector] for _, by_sector in rows.values()]
        widths = np.array([100 * share.value if share.total else 0.0 for share in shares])
        how: dict[str, Any] = {"color": look.colour, "hatch": hatch, "edgecolor": "white"}
        how["label"] = SECTORS[sector].replace("Academia with", "With")
        axis.barh(list(rows), widths, left=starts, height=0.76, linewidth=0.6, **how)
        starts = starts + widths
    for y, (_, by_sector) in rows.items():
        counts = " / ".join(str(share.successes) for share in by_sector.values())
        axis.text(103, y, counts, va="center", fontsize=7)
    axis.text(139, -0.62, "n, in this order", ha="right", va="bottom", fontsize=7, style="italic")
    legend = axis.legend(
        ncols=len(STYLES), loc="lower right", bbox_to_anchor=(1.38, 0.97), frameon=False, fontsize=7,
        handlelength=1.2, handletextpad=0.4, columnspacing=0.8,
    )  # fmt: skip
    legend.set_in_layout(False)
    axis.set_yticks(list(rows), [name for name, _ in rows.values()])
    axis.set(xlim=(0, 100), ylim=(GAP + len(seed_paper.CLASSES) - 0.4, -1.2), xlabel="Share of models, %")
    axis.tick_params(axis="y", length=0)
    axis.set_title("By training compute in its year", pad=14, fontsize=8, loc="left")


def printed(vintage: str, threshold: str, kind: str = TEXT) -> str:
    """Return what the command `study facts` prints: the facts and what cannot be recomputed, or all tables.

    Parameters
    ----------
    vintage : str
        Of the table of models, as "2023-12".
    threshold : str
        Which models are large-scale, as :func:`study.paper.facts.definition` reads it.
    kind : str
        "text", "latex", "html" or "md".

    Raises
    ------
    QuestionError
        If one of them is unknown.
    """
    refuse_unknown("format", kind, (TEXT, *get_args(Format)), seed_paper.WHO)
    chosen, data = seed_paper.definition(threshold), seed_paper.load()
    refuse_unknown("vintage", vintage, data.models, seed_paper.WHO)
    if kind != TEXT:
        return b"\n".join(table.formatted(kind) for table in all_tables(data, vintage, chosen)).decode()
    lines = []
    for fact in seed_paper.recomputed(data, vintage, chosen):
        lines += [fact.sentence, f"  {fact.definition} Table: {fact.vintage}."]
        lines += [f"  {fact.note}"] * bool(fact.note)
        lines += [f"  Published in: {fact.source}."] * bool(fact.source)
    lines += ["", "What cannot be recomputed from public data:"]
    for claim, published, reason, source in seed_paper.NOT_RECOMPUTED:
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
    used = seed_paper.large_scale(data.models[vintage], chosen)
    lost = ", ".join(f"{seed_paper.left_out(used, years)} of {years}" for years in (EARLY, LATE, YEAR))
    titles = ("Published by the seed paper and recomputed", "Recomputed; no published value is known to us")
    lines: dict[str, list[Line]] = {title: [] for title in titles}
    for fact in seed_paper.recomputed(data, vintage, chosen):
        numbers = map(seed_paper.UNITS[fact.unit].cell, (fact.published, fact.value, *fact.interval))
        cells = [*numbers, "/".join(map(str, fact.counts)), fact.beside]
        lines[titles[fact.name not in seed_paper.PUBLISHED]].append(Line(fact.claim, cells))
    return Table(
        name="facts",
        caption="Facts of the seed paper, published and recomputed",
        headings=["Published", "Recomputed", "Low", "High", "Of", seed_paper.beside(chosen).label],
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
    lines = [Line(claim, [published, reason]) for claim, published, reason, _ in seed_paper.NOT_RECOMPUTED]
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
    of_threshold = map(seed_paper.definition, THRESHOLDS)
    rows = [(chosen.label, chosen, (EARLY, LATE, YEAR, GROWTH)) for chosen in of_threshold]
    rows.append(("Seed paper's, other years", seed_paper.definition("seed"), OTHER_WINDOWS))
    lines: dict[str, list[Line]] = {}
    for vintage, models in data.models.items():
        lines[f"Table of {month(vintage)}"] = [line for row in rows for line in _moved(models, *row)]
    *shares, doubling = seed_paper.PUBLISHED.values()
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
    used = seed_paper.large_scale(models, chosen)
    shares = [seed_paper.shares(used, years)["academia"] for years in (early, late)]
    shares.append(seed_paper.shares(used, year)["industry"])
    doubling = seed_paper.NO_DOUBLING if chosen.selects_on_compute else seed_paper.doubling_time(used, growth)
    months = REFUSED if math.isnan(doubling.months) else Number(doubling.months, 2)
    yield Line(label, [*(cell for share in shares for cell in _share_cells(share)), months])
    ends = (cell for share in shares for cell in (_ends(share), ""))
    yield Line("", [*ends, error(doubling.std_error, 2)])


def topics_table(data: Data) -> Table:
    """Return the academic-only share in compute-heavy and other papers by venue, of its periods and of each year."""
    years = range(seed_paper.PERIODS[0].first, seed_paper.PERIODS[-1].last + 1)
    periods = [*seed_paper.PERIODS, *(Years(year, year) for year in years)]
    joint, blocks = seed_paper.by_period(data.fields, periods, "collaborative"), []
    for venue, topics in seed_paper.by_period(data.fields, periods).items():
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
    *earlier, newest = data.models
    windows = [(newest, BEFORE_RELEASED), (newest, seed_paper.RELEASED)]
    windows += [(vintage, Years(2010, int(vintage[:4]))) for vintage in earlier]
    blocks = []
    for vintage, years in windows:
        lines = []
        for sector, each in seed_paper.releases(data.models[vintage], years).items():
            known = _counts(each.models, each.open.total, each.open.successes)
            closed = _counts(each.unrestricted, each.hosted, each.unreleased)
            cells = [*known, _percent(each.open.value), _ends(each.open, 1), *closed]
            lines.append(Line(SECTORS[sector], cells))
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
    used = {vintage: seed_paper.large_scale(models, chosen) for vintage, models in data.models.items()}

    def cells(year: int, vintage: str) -> list[Cell]:
        if year > int(vintage[:4]):
            return [REFUSED] * 5
        return _sectors(seed_paper.shares(used[vintage], Years(year, year)))

    *_, newest = data.models.values()
    years = seed_paper.spanned(newest, EARLY.first)
    lines = [Line(str(year), [cell for vintage in used for cell in cells(year, vintage)]) for year in years]
    blocks = [Block("By year", lines)]
    for window in (EARLY, LATE):
        thirds = [seed_paper.by_class(models, window) for models in used.values()]
        lines = [
            Line(name, [c for each in thirds for c in _sectors(each[name])]) for name in seed_paper.CLASSES
        ]
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
    return [_percent(share.value), seed_paper.counts_text(share)]


def _percent(value: float) -> Cell:
    return REFUSED if math.isnan(value) else Number(100 * value, 1)


def _counts(*values: int) -> list[Number]:
    return [Number(value, 0) for value in values]


def _ends(share: Share, digits: int = 0) -> str:
    low, high = share.interval
    return f"[{100 * low:.{digits}f}, {100 * high:.{digits}f}]" if share.total else ""
