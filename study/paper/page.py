"""The report page: all tables, figures, findings and sources of a study in one file that loads nothing."""

from __future__ import annotations

import platform
import re
import struct
from base64 import b64encode
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from hashlib import sha256
from importlib.metadata import version
from itertools import pairwise
from typing import Any

from study.core import NUMERICS, __version__
from study.designs import all_designs
from study.panel import Panel
from study.paper import Drawn, Exhibit, Exhibited, Plan, Traced
from study.paper.numbers import LABELS
from study.report import MINUS, Block, Cell, Line, render

ORIGIN = {name: label for name, label in LABELS.items() if name not in ("quantity", "exhibit")}
# CSS pixels for each of the 200 dots of an inch: text of 9 points in print is about as large as the page's notes.
PIXELS_PER_DOT = 0.58
# The exhibit whose first figure stands at the head of the page.
LEADING = "designs"
# How the paper takes in an exhibit: by a file of its own, or by a command with the figure's name; and the tables that
# are written in it by hand.
TAKEN_IN = {
    "Table": r"\\input\{tables/([\w:-]+)\}|\\label\{tab:([\w:-]+)\}",
    "Figure": r"\\includegraphics(?:\[[^]]*\])?\{figures/([\w:-]+)|\\exhibit\{[\d.]+\}\{([\w:-]+)\}",
}
# Names that have a word of their own, and those with an underscore, but for files and parts of addresses.
NAMED = re.compile(r"(?<![\w/.])(?:log1p|twfe|etwfe|[A-Za-z][A-Za-z0-9]*(?:_[a-z0-9]+)+)(?![\w/]|\.\w)")
VALUED = re.compile(r'\b([a-z]\w+)="?([\w.+-]+)"?(?![\w/]|:\S)')
# A figure that is wider keeps this width on a narrow screen, and scrolls: its text could not be read otherwise.
NARROWEST = 480


def provenance_of(summary: Iterable[str], plan: Plan, text: str, panels: Iterable[Panel]) -> dict[str, Any]:
    """Return what a page is made from: nothing of the machine or the day, so that the same study gives the same page.

    Parameters
    ----------
    summary : iterable of str
        Sentences of the paragraph below the title.
    plan : Plan
    text : str
        The plan's file as it is written.
    panels : iterable of Panel
        The plan's panel first; a panel that comes twice is listed once.

    Returns
    -------
    dict
        title, summary, plan (its text), headline (its design), panels (names with checksums), seed, package (its
        version), versions (Python and the packages that numbers can depend on, each with its version).
    """
    return {
        "title": plan.title or f"Effects on {plan.text.outcome}",
        "summary": tuple(summary),
        "plan": text,
        "headline": f"{plan.headline.label} ({plan.headline.name})",
        "panels": tuple(dict.fromkeys((panel.name, panel.checksum) for panel in panels)),
        "seed": plan.seed,
        "package": __version__,
        "versions": (("Python", platform.python_version()), *((name, version(name)) for name in NUMERICS)),
    }


def page(
    exhibits: Sequence[tuple[Exhibit, Exhibited]],
    provenance: Mapping[str, Any],
    paper: str = "",
    words: Mapping[str, str] | None = None,
) -> bytes:
    """Return the report page as one HTML file that loads nothing, in which all figures, downloads and styles are.

    Its one script marks in the contents where a reader is, and unfolds sections; without it all else works.

    Parameters
    ----------
    exhibits : sequence of (Exhibit, Exhibited)
        Exhibits of one section stand together; sections are in the order of their first exhibits.
    provenance : mapping
        As :func:`provenance_of` returns it.
    paper : str
        The paper in LaTeX, its appendix after it, whose numbers of tables and figures the page has.
    words : mapping of str to str, optional
        What names of columns and designs are called, as :func:`words_of` returns it.

    Returns
    -------
    bytes
        UTF-8; the same for the same arguments.

    Raises
    ------
    ValueError
        If two exhibits, tables or figures have one name, so that links to them would be ambiguous.
    """
    tables = [table.name for _, shown in exhibits for table in shown.tables]
    figures = [figure.name for _, shown in exhibits for figure in shown.figures]
    names = {"exhibits": [exhibit.name for exhibit, _ in exhibits], "tables": tables, "figures": figures}
    for kind, listed in names.items():
        for name, count in Counter(listed).items():
            if count > 1:
                raise ValueError(f"Report page: two {kind} are named {name}; each needs a name of its own.")
    said = partial(worded, words=words or {})
    sections: dict[str, list[tuple[Exhibit, Exhibited]]] = {}
    for exhibit, shown in exhibits:
        sections.setdefault(exhibit.section, []).append((exhibit, _reworded(shown, said)))
    leading = (shown.figures for exhibit, shown in exhibits if exhibit.name == LEADING and shown.figures)
    numbers = numbered("Table", tables, paper), numbered("Figure", figures, paper)
    script = render("page.js").decode()
    return render(
        "page.html",
        sections=sections,
        provenance=dict(provenance) | {"summary": [said(each) for each in provenance["summary"]]},
        first=next(leading, [None])[0],
        script=script,
        script_hash=b64encode(sha256(script.encode()).digest()).decode(),
        tables=numbers[0],
        figures=numbers[1],
        own=any(" R" in number for named in numbers for number in named.values()),
        originals={table.name: table for _, shown in exhibits for table in shown.tables},
        anchor=anchor,
        picture=picture,
        origins=origins,
        minus=minus,
        said=said,
        data=data,
    )


def numbered(kind: str, names: Sequence[str], paper: str) -> dict[str, str]:
    """Return what tables or figures are called by name: by their number in the paper, or on this page alone.

    Parameters
    ----------
    kind : {"Table", "Figure"}
    names : sequence of str
        In the order of the page.
    paper : str
        The paper in LaTeX, its appendix after it; those that they do not take in are numbered R1, R2, ..., or
        1, 2, ... if there is none.
    """
    parts = re.sub(r"(?<!\\)%.*", "", paper).split(r"\begin{document}")
    numbers: dict[str, str] = {}
    for preamble, body in pairwise(parts):
        (prefix,) = re.findall(rf"\\the{kind.lower()}\}}\{{(\w*)\\arabic", preamble)[-1:] or [""]
        taken_in = dict.fromkeys(name for match in re.findall(TAKEN_IN[kind], body) for name in match if name)
        numbers = {name: f"{kind} {prefix}{k}" for k, name in enumerate(taken_in, start=1)} | numbers
    others = (name for name in names if name not in numbers)
    own = {name: f"{kind} {'R' if numbers else ''}{k}" for k, name in enumerate(others, start=1)}
    return {name: (numbers | own)[name] for name in names}


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


def _reworded(shown: Exhibited, said: Callable[[str], str]) -> Exhibited:
    def cell(each: Cell) -> Cell:
        return said(each) if isinstance(each, str) else each

    def block(each: Block) -> Block:
        return Block(
            said(each.title), [Line(said(line.label), [*map(cell, line.cells)]) for line in each.lines]
        )

    tables = [
        replace(
            table,
            caption=said(table.caption),
            headings=[*map(said, table.headings)],
            blocks=[*map(block, table.blocks)],
            notes=[*map(said, table.notes)],
        )
        for table in shown.tables
    ]
    figures = [
        figure._replace(caption=said(figure.caption), alternative=said(figure.alternative))
        for figure in shown.figures
    ]
    return replace(
        shown, tables=tuple(tables), figures=tuple(figures), sentences=tuple(map(said, shown.sentences))
    )


def data(kind: str, content: bytes) -> str:
    """Return a file of a media type as an address that has all of it."""
    return f"data:{kind};base64,{b64encode(content).decode()}"


def anchor(section: str) -> str:
    """Return a section's title as what a link to it ends in."""
    return "section-" + re.sub(r"[^a-z0-9]+", "-", section.lower()).strip("-")


def minus(sentence: str) -> str:
    """Return a sentence with the sign of minus for each hyphen that stands for it."""
    return re.sub(r"(?<![\w.-])-(?=\d)", MINUS, sentence)


def picture(figure: Drawn) -> dict[str, Any]:
    """Return what the page needs of a figure: its data URI, its size in CSS pixels, whether it may have to scroll."""
    width, height = struct.unpack(">II", figure.png[16:24])  # as every PNG begins
    shown = round(width * PIXELS_PER_DOT)
    return {
        "source": data("image/png", figure.png),
        "width": shown,
        "height": round(height * PIXELS_PER_DOT),
        "wide": shown > NARROWEST,
    }


def origins(numbers: Iterable[Traced]) -> dict[tuple[tuple[str, str], ...], list[Traced]]:
    """Return numbers by where they come from: labels with texts of question, design, options, data, seed, command."""
    alike: dict[tuple[tuple[str, str], ...], list[Traced]] = {}
    for traced in numbers:
        parts = ((label, getattr(traced.source, name)) for name, label in ORIGIN.items())
        alike.setdefault(tuple((label, text) for label, text in parts if text), []).append(traced)
    return alike
