"""What the command `study facts` prints."""

from __future__ import annotations

from collections.abc import Iterable
from typing import get_args

from study.core import unknown
from study.paper.facts.fact import NOT_RECOMPUTED, Fact
from study.paper.facts.models import WHO, definition
from study.paper.facts.recomputed import DEFAULT_THRESHOLD, DEFAULT_VINTAGE, load, recomputed
from study.paper.facts.tables import all_tables
from study.report import Format

TEXT = "text"
FORMATS = (TEXT, *get_args(Format))


def printed(vintage: str = DEFAULT_VINTAGE, threshold: str = DEFAULT_THRESHOLD, kind: str = TEXT) -> str:
    """Return the facts as text, or all their tables in another format.

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
    if kind not in FORMATS:
        raise unknown("format", kind, FORMATS, WHO)
    chosen, data = definition(threshold), load()
    if kind == TEXT:
        return page(recomputed(data, vintage, chosen)) + "\n"
    return b"\n".join(table.formatted(kind) for table in all_tables(data, vintage, chosen)).decode()


def page(facts: Iterable[Fact]) -> str:
    """Return all facts and what cannot be recomputed, as lines of text."""
    lines = []
    for fact in facts:
        lines += [fact.sentence, f"  {fact.definition} Table: {fact.vintage}."]
        lines += [f"  {fact.note}"] if fact.note else []
        lines += [f"  Published in: {fact.source}."] if fact.source else []
    lines += ["", "What cannot be recomputed from public data:"]
    for missing in NOT_RECOMPUTED:
        lines += [
            f"{missing.claim} (published: {missing.published}).",
            f"  {missing.reason} Source: {missing.source}.",
        ]
    return "\n".join(lines)
