"""The seed paper's descriptive facts, recomputed: tables, figure and numbers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import pandas as pd

from study.figures import FULL, SERIES, Axes, Figure, canvas, label_ends, series_look
from study.panel import checksum
from study.paper.exhibits.exhibit import Part, Piece, Setting, Source, address, addressed, draw, exhibit
from study.paper.facts import fields, recomputed, tables
from study.paper.facts import models as epoch
from study.paper.facts.models import EARLY, LATE, SECTORS, Years, definition, of_vintage, vintages
from study.paper.facts.recomputed import DEFAULT_THRESHOLD, DEFAULT_VINTAGE, Data, Fact, month, values_of

EXHIBIT, COMMAND = "facts", "study facts"
GAP = 3.8
HATCHES = ("", "////", "....")
STYLES = dict(zip(SECTORS, zip(SERIES, HATCHES, strict=False), strict=True))


@exhibit("Facts of the seed paper, recomputed", Part.FACTS)
def facts(setting: Setting) -> Iterator[Piece]:
    """Yield the recomputed facts; they are the same for every plan, since the tables that they read are."""
    data, chosen = recomputed.load(), definition(DEFAULT_THRESHOLD)
    every_fact = recomputed.recomputed(data, DEFAULT_VINTAGE, chosen)
    used = epoch.large_scale(of_vintage(data.models, DEFAULT_VINTAGE), chosen)
    percents = {fact.name: f"{100 * fact.value:.1f}%" for fact in every_fact}
    yield draw(
        "facts_shares",
        f"Who makes large-scale models, by year and by training compute, table of {month(DEFAULT_VINTAGE)}, "
        f"{chosen.in_sentence}.",
        shares_figure(used, next(fact for fact in every_fact if fact.name == "industry_only_peak")),
        "Lines by year and stacked bars by training compute: the share of models by academia alone falls from "
        f"{percents['academic_only_early']} in {EARLY} to {percents['academic_only_late']} in {LATE}, while that by "
        "industry alone becomes the largest, and most so in the third of most compute.",
    )
    yield from tables.all_tables(data, DEFAULT_VINTAGE, chosen)
    yield from numbers(data)
    yield _verdict(every_fact)
    yield from (fact.sentence for fact in every_fact)


def numbers(data: Data) -> Iterator[Piece]:
    """Yield every number of the facts that a text would cite; shares are in percent with one decimal."""
    for fact in recomputed.recomputed(data):
        yield from _of_fact(fact, DEFAULT_VINTAGE, DEFAULT_THRESHOLD, fact.name)
    for vintage in vintages(data.models):
        models = of_vintage(data.models, vintage)
        for threshold in tables.THRESHOLDS:
            for fact in recomputed.of_models(models, definition(threshold), month(vintage)):
                yield from _of_fact(fact, vintage, threshold, vintage, threshold, fact.name)
    for venue, periods in fields.by_period(data.fields, recomputed.PERIODS).items():
        for topics in periods:
            claim, at = f"academic-only teams at {topics.venue}, {topics.seen}", (venue, topics.period)
            kinds: dict[str, tuple[Any, ...]] = {
                f"{claim}, compute-heavy papers": (topics.heavy, *at, "heavy"),
                f"{claim}, other papers": (topics.other, *at, "other"),
                f"{claim}, compute-heavy less other papers": (topics.difference, *at),
            }
            for words, (share, *parts) in kinds.items():
                yield from _of_values(values_of(share), _source(fields.FILE, words), *parts)
    newest = of_vintage(data.models, vintages(data.models)[-1])
    for years in (tables.BEFORE_RELEASED, epoch.RELEASED):
        for sector, each in epoch.releases(newest, years).items():
            claim = f"{SECTORS[sector]}, open weights among notable models of {years} of which it is known"
            source = _source(epoch.FILE, claim)
            yield from _of_values(values_of(each.open), source, "weights", years, sector)


def _of_fact(fact: Fact, vintage: str, threshold: str, *parts: str) -> Iterator[Piece]:
    file = fields.FILE if fact.unit == "difference" else epoch.FILE
    words = f"{fact.claim}; {fact.definition.rstrip('.')}; table: {fact.vintage}"
    yield from _of_values(fact.values, _source(file, words, vintage, threshold), *parts)
    if fact.source:
        source = _source(file, f"{fact.claim}; {fact.source}", vintage, threshold)
        yield from _of_values({"published": fact.published}, source, *parts, unit=fact.unit)


def _of_values(values: Mapping[str, float], source: Source, *parts: Any, unit: str = "") -> Iterator[Piece]:
    columns = recomputed.columns_of(unit or next(iter(values)))
    return addressed(address(EXHIBIT, *parts), values, source, columns=columns)


def _source(file: tuple[str, ...], quantity: str, vintage: str = "", threshold: str = "") -> Source:
    options = f" --vintage {vintage} --threshold {threshold}" if vintage and file == epoch.FILE else ""
    return Source(EXHIBIT, quantity, "/".join(file), checksum(*file), f"{COMMAND}{options}")


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
    by_year = {year: epoch.shares(used, Years(year, year)) for year in epoch.spanned(used, EARLY.first)}
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
        for place, row in enumerate(epoch.by_class(used, window).items()):
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
    axis.set(xlim=(0, 100), ylim=(GAP + len(epoch.CLASSES) - 0.4, -1.2), xlabel="Share of models, %")
    axis.tick_params(axis="y", length=0)
    axis.set_title("By training compute in its year", pad=14, fontsize=8, loc="left")
