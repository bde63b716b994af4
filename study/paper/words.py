"""Words in the place of names of columns, options, events and designs."""

from __future__ import annotations

import re
from collections.abc import Mapping

from study.designs import all_designs
from study.paper.plan import Plan

# Names that have a word of their own, and those with an underscore, but for files and parts of addresses.
NAMED = re.compile(r"(?<![\w/.])(?:log1p|twfe|etwfe|[A-Za-z][A-Za-z0-9]*(?:_[a-z0-9]+)+)(?![\w/]|\.\w)")
VALUED = re.compile(r'\b([a-z]\w+)="?([\w.+-]+)"?(?![\w/]|:\S)')


def words_of(plan: Plan) -> dict[str, str]:
    """Return what names of a plan's events, scales and of all designs are called in a sentence."""
    events = {event.name: event.title for event in plan.every_event}
    designs = {name: design.title for name, design in all_designs().items()}
    return designs | events | {"log1p": "log(1 + outcome)"}


def worded(text: str, words: Mapping[str, str]) -> str:
    """Return a text with words in the place of names of columns, options and designs.

    Examples
    --------
    >>> worded("given log_baseline_papers, where country=US", {})
    'given log baseline papers, where country US'
    """
    return NAMED.sub(lambda name: words.get(name[0], name[0].replace("_", " ")), VALUED.sub(r"\1 \2", text))
