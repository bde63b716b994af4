"""The report page: all tables, figures, findings and sources of a study in one file that loads nothing."""

from __future__ import annotations

import platform
import re
import struct
from base64 import b64encode
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from importlib.metadata import version
from typing import Any

from study.core import NUMERICS, __version__
from study.panel import Panel
from study.paper import Drawn, Exhibit, Exhibited, Plan, Traced
from study.paper.numbers import LABELS
from study.report import MINUS, render

ORIGIN = {name: label for name, label in LABELS.items() if name not in ("quantity", "exhibit")}
# CSS pixels for each of the 200 dots of an inch: text of 9 points in print is about as large as the page's notes.
PIXELS_PER_DOT = 0.58
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


def page(exhibits: Sequence[tuple[Exhibit, Exhibited]], provenance: Mapping[str, Any]) -> bytes:
    """Return the report page as one HTML file without scripts, in which all figures and styles are.

    Parameters
    ----------
    exhibits : sequence of (Exhibit, Exhibited)
        Exhibits of one section stand together; sections are in the order of their first exhibits.
    provenance : mapping
        As :func:`provenance_of` returns it.

    Returns
    -------
    bytes
        UTF-8; the same for the same arguments.

    Raises
    ------
    ValueError
        If two exhibits, tables or figures have one name, so that links to them would be ambiguous.
    """
    for kind, names in {
        "exhibits": [exhibit.name for exhibit, _ in exhibits],
        "tables": [table.name for _, shown in exhibits for table in shown.tables],
        "figures": [figure.name for _, shown in exhibits for figure in shown.figures],
    }.items():
        for name, count in Counter(names).items():
            if count > 1:
                raise ValueError(f"Report page: two {kind} are named {name}; each needs a name of its own.")
    sections: dict[str, list[tuple[Exhibit, Exhibited]]] = {}
    for exhibit, shown in exhibits:
        sections.setdefault(exhibit.section, []).append((exhibit, shown))
    functions: Any = {"anchor": anchor, "picture": picture, "origins": origins, "minus": minus}
    return render("page.html", sections=sections, provenance=provenance, **functions)


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
        "source": f"data:image/png;base64,{b64encode(figure.png).decode()}",
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
