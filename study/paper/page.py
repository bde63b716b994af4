"""The report page: all tables, figures, findings and sources of a study in one file that loads nothing."""

from __future__ import annotations

import inspect
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
from itertools import count, pairwise
from typing import Any

from study.core import NUMERICS, __version__, grouped
from study.panel import Panel
from study.paper import Drawn, Exhibit, Exhibited, Plan, Source, Traced, worded
from study.paper.numbers import LABELS
from study.report import Table, render, with_signs

ORIGIN = {name: label for name, label in LABELS.items() if name not in ("quantity", "exhibit")}
# CSS pixels for each of the 200 dots of an inch: text of 9 points in print is about as large as the page's notes.
PIXELS_PER_DOT = 0.58
# How the paper takes in a table or figure: by a file, by a command with the figure's name, or written by hand.
TAKEN_IN = re.compile(
    r"\\(?:input\{tables/|label\{tab:)(?P<Table>[\w:-]+)\}"
    r"|\\(?:includegraphics(?:\[[^]]*\])?\{figures/|exhibit\{[\d.]+\}\{)(?P<Figure>[\w:-]+)"
)
# A figure that is wider keeps this width on a narrow screen, and scrolls: its text could not be read otherwise.
NARROWEST = 480


def provenance_of(plan: Plan, text: str, panels: Iterable[Panel]) -> dict[str, Any]:
    """Return what a page is made from: nothing of the machine or the day, so that the same study gives the same page.

    Parameters
    ----------
    plan : Plan
    text : str
        The plan's file as it is written.
    panels : iterable of Panel
        The plan's panel first; a panel that comes twice is listed once.

    Returns
    -------
    dict
        title, plan (its text), headline (its design), panels (names with checksums), seed, package (its
        version), versions (Python and the packages that numbers can depend on, each with its version).
    """
    return {
        "title": plan.title or f"Effects on {plan.text.outcome}",
        "plan": text,
        "headline": plan.headline.label,
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

    First sentences of the paper's exhibits are at its head, its tables and figures follow in its order, and all else is
    folded by section. Its one script marks in the contents where a reader is, and unfolds sections.

    Parameters
    ----------
    exhibits : sequence of (Exhibit, Exhibited)
        Exhibits of one section stand together; sections are in the order of their first exhibits.
    provenance : mapping
        As :func:`provenance_of` returns it.
    paper : str
        The paper in LaTeX, its appendix after it, whose numbers of tables and figures the page has; without one nothing
        is folded.
    words : mapping of str to str, optional
        What names of columns and designs are called, as :func:`study.paper.plan.words_of` returns it.

    Returns
    -------
    bytes
        UTF-8; the same for the same arguments.

    Raises
    ------
    ValueError
        If two exhibits, tables or figures have one name, so that links to them would be ambiguous.
    """
    called = places(exhibits, paper)
    in_words = partial(worded, words=words or {})
    reworded = [(exhibit, _reworded(shown, in_words)) for exhibit, shown in exhibits]
    sections = grouped((exhibit.section, (exhibit, shown)) for exhibit, shown in reworded)
    exhibit_of = {place: pair for pair in reworded for place in _items(pair[1])}
    leading = {
        at: exhibit_of[at]
        for at, name in taken_in(paper).items()
        if at in called and re.fullmatch(r"\w+ \d+", name)
    }
    head = {exhibit.name: (exhibit, shown) for exhibit, shown in leading.values() or reworded}
    script = render("page.js").decode()
    return render(
        "page.html",
        sections=sections,
        provenance=provenance,
        head=head.values(),
        leading=leading,
        script=script,
        script_hash=b64encode(sha256(script.encode()).digest()).decode(),
        called=called,
        own=any(" R" in name for name in called.values()),
        originals={table.name: table for _, shown in exhibits for table in shown.tables},
        anchor=anchor,
        items=_items,
        picture=picture,
        origins=origins,
        with_signs=with_signs,
        in_words=in_words,
        data=data,
    )


def _items(shown: Exhibited) -> dict[str, Table | Drawn]:
    """Return an exhibit's tables and figures by their places on the page."""
    tables = {f"tab-{table.name}": table for table in shown.tables}
    return tables | {f"fig-{figure.name}": figure for figure in shown.figures}


def places(exhibits: Sequence[tuple[Exhibit, Exhibited]], paper: str) -> dict[str, str]:
    """Return what tables and figures are called, by their places on the page, those of the paper first in its order."""
    sections = list(dict.fromkeys(exhibit.section for exhibit, _ in exhibits))
    exhibits = sorted(exhibits, key=lambda pair: sections.index(pair[0].section))
    tables = [table.name for _, shown in exhibits for table in shown.tables]
    figures = [figure.name for _, shown in exhibits for figure in shown.figures]
    names = {"exhibits": [exhibit.name for exhibit, _ in exhibits], "tables": tables, "figures": figures}
    for kind, listed in names.items():
        for name, times in Counter(listed).items():
            if times > 1:
                raise ValueError(f"Report page: two {kind} are named {name}; each needs a name of its own.")
    called = {f"tab-{name}": number for name, number in numbered("Table", tables, paper).items()}
    called |= {f"fig-{name}": number for name, number in numbered("Figure", figures, paper).items()}
    return {at: called[at] for at in (*taken_in(paper), *called) if at in called}


def taken_in(paper: str) -> dict[str, str]:
    """Return the numbers of the tables and figures that a paper takes in, by their places on the page, in its order."""
    numbers: dict[str, str] = {}
    for preamble, body in pairwise(re.sub(r"(?<!\\)%.*", "", paper).split(r"\begin{document}")):
        prefixes = dict(re.findall(r"\\the(table|figure)\}\{(\w*)\\arabic", preamble))
        pairs = ((str(each.lastgroup), each[each.lastgroup or 0]) for each in TAKEN_IN.finditer(body))
        counted: Counter[str] = Counter()
        for kind, name in dict.fromkeys(pairs):
            counted[kind] += 1
            number = f"{kind} {prefixes.get(kind.lower(), '')}{counted[kind]}"
            numbers.setdefault(f"{kind[:3].lower()}-{name}", number)
    return numbers


def exhibits_list(exhibits: Sequence[tuple[Exhibit, Exhibited]], paper: str) -> str:
    """Return all tables and figures as a Markdown table: number, first sentence of the caption, program, file."""
    lines = ["| exhibit | program | output |", "|---|---|---|"]
    items = {at: (exhibit, item) for exhibit, shown in exhibits for at, item in _items(shown).items()}
    for at, number in places(exhibits, paper).items():
        exhibit, item = items[at]
        program = f"{inspect.unwrap(exhibit.make).__module__.replace('.', '/')}.py"
        output = f"tables/{item.name}.tex" if isinstance(item, Table) else f"figures/{item.name}.pdf"
        caption = item.caption.partition(". ")[0].rstrip(".").replace("|", r"\|")
        lines.append(f"| {number}. {caption} | `{program}` | `paper/{output}` |")
    return "\n".join([*lines, ""])


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
    numbers = taken_in(paper)
    own = (f"{kind} {'R' if numbers else ''}{k}" for k in count(1))
    return {name: numbers.get(f"{kind[:3].lower()}-{name}") or next(own) for name in names}


def _reworded(shown: Exhibited, in_words: Callable[[str], str]) -> Exhibited:
    tables = tuple(table.worded(in_words) for table in shown.tables)
    figures = tuple(
        figure._replace(caption=in_words(figure.caption), alternative=in_words(figure.alternative))
        for figure in shown.figures
    )
    return replace(shown, tables=tables, figures=figures, sentences=tuple(map(in_words, shown.sentences)))


def data(kind: str, content: bytes) -> str:
    """Return a file of a media type as an address that has all of it."""
    return f"data:{kind};base64,{b64encode(content).decode()}"


def anchor(section: str) -> str:
    """Return a section's title as what a link to it ends in."""
    return "section-" + re.sub(r"[^a-z0-9]+", "-", section.lower()).strip("-")


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

    def origin(source: Source) -> tuple[tuple[str, str], ...]:
        parts = ((label, getattr(source, name)) for name, label in ORIGIN.items())
        return tuple((label, text) for label, text in parts if text)

    return grouped((origin(traced.source), traced) for traced in numbers)
