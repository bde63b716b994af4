"""The report page: all tables, figures, findings and sources of a study in one file that loads nothing."""

from __future__ import annotations

import platform
import re
import struct
from base64 import b64encode
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any, NamedTuple

from study.core import __version__
from study.panel import Panel
from study.paper.exhibits.exhibit import Drawn, Exhibit, Exhibited, Source, Traced
from study.paper.numbers import LABELS
from study.paper.plan import Plan
from study.report import MINUS, render

# What the numbers can depend on; which others are installed changes none of them.
PACKAGES = (
    "numpy",
    "scipy",
    "pandas",
    "scikit-learn",
    "lightgbm",
    "doubleml",
    "econml",
    "statsmodels",
    "linearmodels",
    "matplotlib",
)
ORIGIN = {
    name: LABELS[name] for name in ("question", "design", "options", "data", "checksum", "seed", "command")
}
# CSS pixels for each of the 200 dots of an inch: text of 9 points in print is about as large as the page's notes.
PIXELS_PER_DOT = 0.58
# A figure that is wider keeps this width on a narrow screen, and scrolls: its text could not be read otherwise.
NARROWEST = 480


@dataclass(frozen=True)
class Provenance:
    """What a page was made from: nothing of the machine or the day, so that the same study gives the same page.

    Attributes
    ----------
    title : str
    summary : tuple of str
        Sentences of the paragraph below the title.
    plan : str
        The whole text of ``study.toml``.
    headline : str
        The headline design.
    panels : tuple of (str, str)
        Names with checksums.
    seed : int
    package : str
        Version of this package.
    versions : tuple of (str, str)
        Python and the packages that numbers can depend on, with their versions.
    """

    title: str
    summary: tuple[str, ...]
    plan: str
    headline: str
    panels: tuple[tuple[str, str], ...]
    seed: int
    package: str
    versions: tuple[tuple[str, str], ...]


def provenance_of(
    title: str, summary: Iterable[str], plan: Plan, text: str, panels: Iterable[Panel]
) -> Provenance:
    """Return the provenance of a study that is run here.

    Parameters
    ----------
    title : str
    summary : iterable of str
        Sentences.
    plan : Plan
    text : str
        The plan's file as it is written.
    panels : iterable of Panel
        The plan's panel first; a panel that comes twice is listed once.
    """
    return Provenance(
        title=title,
        summary=tuple(summary),
        plan=text,
        headline=f"{plan.headline.label} ({plan.headline.name})",
        panels=tuple(dict.fromkeys((panel.name, panel.checksum) for panel in panels)),
        seed=plan.seed,
        package=__version__,
        versions=(("Python", platform.python_version()), *((name, version(name)) for name in PACKAGES)),
    )


class Origin(NamedTuple):
    """Where several numbers come from, as labels with texts, and these numbers."""

    parts: list[tuple[str, str]]
    numbers: list[Traced]


def page(exhibits: Sequence[tuple[Exhibit, Exhibited]], provenance: Provenance) -> bytes:
    """Return the report page as one HTML file without scripts, in which all figures and styles are.

    Parameters
    ----------
    exhibits : sequence of (Exhibit, Exhibited)
        Exhibits of one section stand together; sections are in the order of their first exhibits.
    provenance : Provenance

    Returns
    -------
    bytes
        UTF-8; the same for the same arguments.

    Raises
    ------
    ValueError
        If two exhibits, tables or figures have one name, so that links to them would be ambiguous.
    """
    _refuse_twins("exhibits", (made.name for made, _ in exhibits))
    _refuse_twins("tables", (table.name for _, shown in exhibits for table in shown.tables))
    _refuse_twins("figures", (figure.name for _, shown in exhibits for figure in shown.figures))
    sections: dict[str, list[tuple[Exhibit, Exhibited]]] = {}
    for made, shown in exhibits:
        sections.setdefault(made.section, []).append((made, shown))
    return render(
        "page.html",
        sections=sections,
        provenance=provenance,
        anchor=anchor,
        picture=picture,
        origins=origins,
        minus=minus,
    )


def _refuse_twins(what: str, names: Iterable[str]) -> None:
    seen: set[str] = set()
    for name in names:
        if name in seen:
            raise ValueError(f"Report page: two {what} are named {name}; each needs a name of its own.")
        seen.add(name)


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


def origins(numbers: Iterable[Traced]) -> list[Origin]:
    """Return numbers together with those of the same question, design, options, data, seed and command."""
    found: dict[tuple[tuple[str, str], ...], list[Traced]] = {}
    for traced in numbers:
        found.setdefault(_parts(traced.source), []).append(traced)
    return [Origin(list(parts), alike) for parts, alike in found.items()]


def _parts(source: Source) -> tuple[tuple[str, str], ...]:
    told = ((label, getattr(source, name)) for name, label in ORIGIN.items())
    return tuple((label, text) for label, text in told if text)
