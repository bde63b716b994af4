"""What the command `study facts` prints."""

from __future__ import annotations

from typing import get_args

from study.core import refuse_unknown
from study.paper.facts.fact import NOT_RECOMPUTED
from study.paper.facts.models import WHO, definition
from study.paper.facts.recomputed import DEFAULT_THRESHOLD, DEFAULT_VINTAGE, load, recomputed
from study.paper.facts.tables import all_tables
from study.report import Format

TEXT = "text"


def printed(vintage: str = DEFAULT_VINTAGE, threshold: str = DEFAULT_THRESHOLD, kind: str = TEXT) -> str:
    """Return the facts and what cannot be recomputed as text, or all their tables in another format.

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
    refuse_unknown("format", kind, (TEXT, *get_args(Format)), WHO)
    chosen, data = definition(threshold), load()
    if kind != TEXT:
        return b"\n".join(table.formatted(kind) for table in all_tables(data, vintage, chosen)).decode()
    lines = []
    for fact in recomputed(data, vintage, chosen):
        lines += [fact.sentence, f"  {fact.definition} Table: {fact.vintage}."]
        lines += [f"  {fact.note}"] * bool(fact.note)
        lines += [f"  Published in: {fact.source}."] * bool(fact.source)
    lines += ["", "What cannot be recomputed from public data:"]
    for claim, published, reason, source in NOT_RECOMPUTED:
        lines += [f"{claim} (published: {published}).", f"  {reason} Source: {source}."]
    return "\n".join(lines) + "\n"
