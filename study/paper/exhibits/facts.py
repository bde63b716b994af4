"""The seed paper's descriptive facts, recomputed: tables, figure and numbers."""

from __future__ import annotations

import math
from collections.abc import Iterator

from study.data.audit import Share
from study.panel import checksum
from study.paper.exhibits.exhibit import Exhibited, Setting, Source, Traced, draw
from study.paper.facts import fields as papers
from study.paper.facts import models as listed
from study.paper.facts import tables
from study.paper.facts.fact import Fact
from study.paper.facts.figure import shares_figure
from study.paper.facts.models import (
    SECTORS,
    Definition,
    definition,
    large_scale,
    of_vintage,
    releases,
    shares,
    vintages,
)
from study.paper.facts.recomputed import (
    DEFAULT_THRESHOLD,
    DEFAULT_VINTAGE,
    EARLY,
    LATE,
    PERIODS,
    RELEASED,
    YEAR,
    Data,
    load,
    month,
    recomputed,
)
from study.paper.facts.text import digits_of, sentence
from study.report import MINUS, macro_name

NONE = "(none)"
COMMAND = "study facts"


def facts(setting: Setting) -> Exhibited:
    """Return the recomputed facts; they are the same for every plan, since the tables that they read are."""
    data, chosen = load(), definition(DEFAULT_THRESHOLD)
    found = recomputed(data, DEFAULT_VINTAGE, chosen)
    figure = shares_figure(data.models, DEFAULT_VINTAGE, chosen)
    return Exhibited(
        tables=tables.all_tables(data, DEFAULT_VINTAGE, chosen),
        figures=(draw("facts_shares", _caption(chosen), figure, _alternative(found)),),
        numbers=tuple(numbers(data)),
        sentences=(_verdict(found), *(sentence(fact) for fact in found)),
    )


def numbers(data: Data) -> Iterator[Traced]:
    """Yield every number of the facts that a text would cite; shares are in percent with one decimal."""
    for vintage in vintages(data.models):
        prefix = () if vintage == DEFAULT_VINTAGE else ("current",)
        for fact in recomputed(data, vintage):
            if vintage == DEFAULT_VINTAGE or _is_of_models(fact):
                yield from _of_fact(fact, prefix, vintage)
    yield from _of_definitions(data)
    yield from _of_topics(data)
    yield from _of_releases(data)


def _is_of_models(fact: Fact) -> bool:
    """Whether a fact moves with the vintage."""
    return fact.unit != "difference" and not fact.name.startswith("open_")


def _of_fact(fact: Fact, prefix: tuple[str, ...], vintage: str) -> Iterator[Traced]:
    file = listed.FILE if fact.unit != "difference" else papers.FILE
    unit = {"share": "percent", "difference": "percentage points", "months": "months"}[fact.unit]
    parts = (
        ("Published", _number(fact, fact.published), f"published value, {unit}"),
        ("Value", _number(fact, fact.value), f"recomputed, {unit}"),
        ("Low", _number(fact, fact.low), f"lower end of the 95% interval, {unit}"),
        ("High", _number(fact, fact.high), f"upper end of the 95% interval, {unit}"),
        ("Count", str(fact.count), "count"),
        ("Denominator", str(fact.denominator), "denominator"),
    )
    for part, value, what in parts:
        if part != "Published" or (not math.isnan(fact.published) and not prefix):
            name = macro_name("fact", *prefix, fact.name) + part
            source = fact.source if part == "Published" else f"{fact.definition} Table: {fact.vintage}."
            yield Traced(
                name, value, _source(f"{fact.claim}: {what}. {source}", file, vintage, DEFAULT_THRESHOLD)
            )


def _of_definitions(data: Data) -> Iterator[Traced]:
    """Yield the three shares of models under every definition of large-scale and in every vintage."""
    for vintage in vintages(data.models):
        models = of_vintage(data.models, vintage)
        for text in tables.THRESHOLDS:
            chosen = definition(text)
            used = large_scale(models, chosen)
            for what, sector, years in (
                ("academic_only_early", "academia", EARLY),
                ("academic_only_late", "academia", LATE),
                ("industry_only", "industry", YEAR),
            ):
                name = macro_name("fact", "moved", month(vintage).replace(" ", "_"), text, what)
                claim = f"{SECTORS[sector]}, {years}, {chosen.label}, table of {month(vintage)}"
                yield from _of_share(name, claim, shares(used, years)[sector], listed.FILE, vintage, text)


def _of_topics(data: Data) -> Iterator[Traced]:
    for venue, periods in papers.by_period(data.fields, PERIODS).items():
        for topics in periods:
            name = macro_name("fact", venue, str(topics.period.first))
            claim = f"academic-only teams at {topics.venue}, {topics.seen}"
            yield from _of_share(f"{name}Heavy", f"{claim}, compute-heavy papers", topics.heavy, papers.FILE)
            yield from _of_share(f"{name}Other", f"{claim}, other papers", topics.other, papers.FILE)
            low, high = topics.difference.interval
            for part, value in (("", topics.difference.value), ("Low", low), ("High", high)):
                end = ", end of the 95% interval" if part else ""
                what = f"{claim}: compute-heavy less other papers, percentage points{end}"
                yield Traced(f"{name}Difference{part}", _percent(value), _source(what, papers.FILE))


def _of_releases(data: Data) -> Iterator[Traced]:
    newest = vintages(data.models)[-1]
    models = of_vintage(data.models, newest)
    for years, label in ((tables.BEFORE_RELEASED, "before"), (RELEASED, "late")):
        for sector, each in releases(models, years).items():
            name = macro_name("fact", "weights", label, sector)
            claim = f"{SECTORS[sector]}: open weights among notable models of {years} of which it is known"
            yield from _of_share(name, claim, each.open, listed.FILE)


def _of_share(
    name: str, claim: str, share: Share, file: tuple[str, ...], vintage: str = "", threshold: str = ""
) -> Iterator[Traced]:
    low, high = share.interval if share.total else (math.nan, math.nan)
    parts = (
        ("Value", _percent(share.value), "percent"),
        ("Low", _percent(low), "lower end of the 95% Wilson interval, percent"),
        ("High", _percent(high), "upper end of the 95% Wilson interval, percent"),
        ("Count", str(share.successes), "count"),
        ("Denominator", str(share.total), "denominator"),
    )
    for part, value, what in parts:
        yield Traced(f"{name}{part}", value, _source(f"{claim}: {what}", file, vintage, threshold))


def _source(quantity: str, file: tuple[str, ...], vintage: str = "", threshold: str = "") -> Source:
    asked = f" --vintage {vintage}" if vintage and file == listed.FILE else ""
    asked += f" --threshold {threshold}" if threshold and file == listed.FILE else ""
    return Source("facts", quantity, "/".join(file), checksum(*file), f"{COMMAND}{asked}")


def _number(fact: Fact, value: float) -> str:
    return _printed(fact.scale * value, digits_of(fact))


def _percent(value: float) -> str:
    return _printed(100 * value, 1)


def _printed(value: float, digits: int) -> str:
    if not math.isfinite(value):
        return NONE
    return f"{round(value, digits) + 0.0:.{digits}f}".replace("-", MINUS)


def _caption(chosen: Definition) -> str:
    return (
        f"Who makes large-scale models, table of {month(DEFAULT_VINTAGE)}: models of known training compute, "
        f"{chosen.label[0].lower()}{chosen.label[1:]}. Left: by year, with the number of models above; the last year "
        "is not complete. Right: thirds by training compute among the models of the same year, with the numbers of "
        "models by academia only, academia with industry and industry only."
    )


def _alternative(found: tuple[Fact, ...]) -> str:
    by_name = {fact.name: fact for fact in found}
    early, late = by_name["academic_only_early"], by_name["academic_only_late"]
    return (
        "Lines by year and stacked bars by training compute: the share of models by academia alone falls from "
        f"{_number(early, early.value)}% in {EARLY} to {_number(late, late.value)}% in {LATE}, while that by industry "
        "alone becomes the largest, and most so in the third of most compute."
    )


def _verdict(found: tuple[Fact, ...]) -> str:
    """Say which published values lie in the intervals of the recomputed ones."""
    published = [fact for fact in found if not math.isnan(fact.published)]
    inside = [fact for fact in published if fact.low <= fact.published <= fact.high]
    outside = [fact.claim for fact in published if fact not in inside]
    missed = f" Outside of it: {'; '.join(outside)}." if outside else ""
    return (
        f"Of {len(published)} published values that public data allow to be recomputed, {len(inside)} lie in the 95% "
        f"interval of the recomputed value.{missed} These are descriptions: none of them says why shares moved."
    )
