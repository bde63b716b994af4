"""The facts as sentences for the terminal."""

from __future__ import annotations

import math
from collections.abc import Iterable

from study.paper.facts.fact import Fact
from study.paper.facts.published import NOT_RECOMPUTED

PUBLISHED_NONE = "none is known to us"
NOT_KNOWN = "–"


def number(fact: Fact, value: float) -> str:
    """Return one of a fact's numbers as it is printed, without its unit; a dash for one that is not known."""
    if math.isinf(value):
        return "unbounded"
    if math.isnan(value):
        return NOT_KNOWN
    digits = digits_of(fact)
    return f"{round(fact.scale * value, digits) + 0.0:.{digits}f}"


def digits_of(fact: Fact) -> int:
    """Return the decimals of a fact's numbers: one of percent, two of months."""
    return 2 if fact.unit == "months" else 1


def sentence(fact: Fact) -> str:
    """Return a fact with its interval, count and denominator, and the published value beside it."""
    published = (
        PUBLISHED_NONE if math.isnan(fact.published) else f"{number(fact, fact.published)}{fact.words}"
    )
    value = "cannot be given" if math.isnan(fact.value) else f"{number(fact, fact.value)}{fact.words}"
    ends = "" if math.isnan(fact.low) else f"95% {number(fact, fact.low)} to {number(fact, fact.high)}; "
    return f"{fact.claim}: {value} ({ends}{fact.count} of {fact.denominator}). Published: {published}."


def page(facts: Iterable[Fact]) -> str:
    """Return all facts and what cannot be recomputed, as lines of text."""
    lines = []
    for fact in facts:
        lines += [sentence(fact), f"  {fact.definition} Table: {fact.vintage}."]
        lines += [f"  {fact.note}"] if fact.note else []
        lines += [f"  Published in: {fact.source}."] if fact.source else []
    lines += ["", "What cannot be recomputed from public data:"]
    for missing in NOT_RECOMPUTED:
        lines += [
            f"{missing.claim} (published: {missing.published}).",
            f"  {missing.reason} Source: {missing.source}.",
        ]
    return "\n".join(lines)
