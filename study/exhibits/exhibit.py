"""What an exhibit of the paper is made of: tables, figures, and numbers that say where they come from."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from study.panel import Panel
from study.plan import Plan
from study.report.canvas import drawn
from study.report.table import Table
from study.results import Results

if TYPE_CHECKING:
    from matplotlib.figure import Figure

class Drawn(NamedTuple):
    """A figure as its files: its name and caption, its PDF and its PNG, and what it shows in words."""

    name: str
    caption: str
    pdf: bytes
    png: bytes
    alternative: str


def draw(name: str, caption: str, figure: Figure, alternative: str) -> Drawn:
    """Return a figure as its files; the alternative says in a sentence what a reader sees in it."""
    return Drawn(name, caption, drawn(figure, "pdf"), drawn(figure, "png"), alternative)


@dataclass(frozen=True)
class Source:
    """Where a number comes from.

    Attributes
    ----------
    exhibit : str
        The exhibit that makes it.
    quantity : str
        What it is, in words with its unit.
    question, design, options : str
        What is asked and how it is answered; empty where nothing is estimated.
    data : str
        The panel or table it is computed from.
    checksum : str
        Of that panel or table.
    seed : str
        Empty where nothing is drawn.
    command : str
        What to type to see it alone.
    """

    exhibit: str
    quantity: str
    data: str
    checksum: str
    command: str
    question: str = ""
    design: str = ""
    options: str = ""
    seed: str = ""


class Traced(NamedTuple):
    """A number of the text: its macro's name (letters only), as it is printed, and its source."""

    name: str
    value: str
    source: Source


@dataclass(frozen=True)
class Exhibited:
    """What an exhibit gives to the paper and the report; sentences say what was found, the first one the verdict."""

    tables: tuple[Table, ...] = ()
    figures: tuple[Drawn, ...] = ()
    numbers: tuple[Traced, ...] = ()
    sentences: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class Setting:
    """What exhibits are made from: the plan, its panel, the answers of its tasks, and other panels by label.

    Attributes
    ----------
    plan : Plan
    panel : Panel
    results : dict
        Results by event label, scale, outcome and row label.
    placebos : mapping of str to Panel
        Panels on whose outcomes the events should have no effect.
    """

    plan: Plan
    panel: Panel
    results: Results
    placebos: Mapping[str, Panel] = field(default_factory=dict)


class Exhibit(NamedTuple):
    """An exhibit: its name, its title on the report page, the section it belongs to, and what makes it."""

    name: str
    title: str
    section: str
    make: Callable[[Setting], Exhibited]
