"""What an exhibit of the paper is made of: tables, figures, and numbers that say where they come from."""

from __future__ import annotations

import math
import shlex
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from functools import wraps
from typing import Any, NamedTuple

from study.estimates import Estimate
from study.figures import Figure, drawn
from study.panel import Panel, Question, Scale, panel_entries
from study.paper import Event, Plan, Result, Results, Row, Task
from study.report import COLUMNS, MINUS, REFUSED, Cell, Column, Table, address_part

# Makes everything, and so any number that no shorter command shows.
RUN = "study run"
# Fields of a question that `study estimate` takes one by one.
SEVERAL = ("covariates", "instrument")


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
        What to type to see it alone, or the run of the plan where nothing shorter shows it.
    """

    exhibit: str
    quantity: str
    data: str
    checksum: str
    command: str = RUN
    question: str = ""
    design: str = ""
    options: str = ""
    seed: str = ""


def question_text(question: Question) -> str:
    """Return a question as text: each field that differs from its default."""
    given = {n: "+".join(value) if isinstance(value, tuple) else value for n, value in question.given.items()}
    return ", ".join(f"{name}={value}" for name, value in given.items())


def source_of(exhibit: str, quantity: str, task: Task, panel: Panel, command: str) -> Source:
    """Return the source of a number that answers a task of the plan, or is made from its answer."""
    options = task.row.design.options | task.options
    return Source(
        exhibit=exhibit,
        quantity=quantity,
        data=panel.name,
        checksum=panel.checksum,
        command=command,
        question=question_text(task.question),
        design=f"{task.row.label} ({task.row.name})",
        options=", ".join(f"{name}={value}" for name, value in options.items() if name != "seed"),
        seed=str(task.seed),
    )


def estimate_command(task: Task, panel: Panel, *, path: bool = False) -> str:
    """Return the command that shows a task's answer alone, or its effects by event time.

    A panel that does not ship has no name by which a command could find it: there it is the run of the plan.
    """
    if panel.name not in panel_entries():
        return RUN
    words = ["study", "estimate", "--panel", panel.name, "--design", task.row.name]
    for name, value in task.question.given.items():
        if name not in SEVERAL:
            words += [f"--{name.replace('_', '-')}", str(value)]
    several = {"--covariate": task.question.covariates, "--instrument": task.question.instruments}
    words += [word for option, names in several.items() for name in names for word in (option, name)]
    words += [word for name, value in task.options.items() for word in ("--option", f"{name}={value}")]
    return shlex.join([*words, *["--terms", "event_time"][: 2 * path]])


def panel_title(panel: Panel) -> str:
    """Return what a panel is called in a table: a shipped one in capitals, one's own by its file."""
    return panel.name.upper() if panel.name in panel_entries() else panel.name.removesuffix(".csv")


class Traced(NamedTuple):
    """A number that a text may cite: its address, as it is printed, and its source."""

    address: str
    value: str
    source: Source


def address(*parts: str | float) -> str:
    """Return an address from its parts, such as ``main/papers/log1p/headline``."""
    return "/".join(address_part(f"{part:g}" if isinstance(part, float) else str(part)) for part in parts)


def addressed(
    at: str,
    values: Mapping[str, Any],
    source: Source,
    scale: str = "level",
    columns: Mapping[str, Column] | None = None,
) -> Iterator[Traced]:
    """Yield the values of a row as numbers that a text may cite, each at the row's address and its column's name.

    Parameters
    ----------
    at : str
        Address of the row.
    values : mapping of str to object
        By column.
    source : Source
        Of the row; its quantity says what the row is about.
    scale : str
        Of the effects among the values.
    columns : mapping of str to Column, optional
        Those that :data:`study.report.COLUMNS` lacks.
    """
    known, of = COLUMNS | dict(columns or {}), Scale(scale)
    for name, value in values.items():
        column = known[name]
        words = ", ".join(filter(None, (column.words, source.quantity, column.unit(of))))
        yield Traced(f"{at}/{address(name)}", column.text(value, of), replace(source, quantity=words))


@dataclass(frozen=True)
class Exhibited:
    """What an exhibit gives to the paper and the report; sentences say what was found, the first one the verdict."""

    tables: tuple[Table, ...] = ()
    figures: tuple[Drawn, ...] = ()
    numbers: tuple[Traced, ...] = ()
    sentences: tuple[str, ...] = ()


# What an exhibit yields: its tables, figures, numbers and sentences, in any order.
Piece = Table | Drawn | Traced | str


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
    venues : mapping of str to Panel
        Other panels on whose outcomes the first event is asked about too.
    further : mapping of str to Panel
        Panels of further questions that are not about the plan's own, by their labels.
    """

    plan: Plan
    panel: Panel
    results: Results
    placebos: Mapping[str, Panel] = field(default_factory=dict)
    venues: Mapping[str, Panel] = field(default_factory=dict)
    further: Mapping[str, Panel] = field(default_factory=dict)

    @property
    def panels(self) -> tuple[Panel, ...]:
        """All panels, the plan's own first."""
        return self.panel, *self.placebos.values(), *self.venues.values(), *self.further.values()

    @property
    def event(self) -> Event:
        """The plan's first event, which most exhibits are about."""
        return self.plan.events[0]

    @property
    def scale(self) -> str:
        """The plan's first scale."""
        return next(iter(self.plan.scales))

    @property
    def outcome(self) -> str:
        """The plan's first outcome."""
        return next(iter(self.plan.outcomes))

    @property
    def about(self) -> str:
        """What the first outcome is, as a note says it."""
        return f"Outcome: {self.plan.text.outcome}, {self.plan.outcomes[self.outcome].lower()}"

    @property
    def clusters(self) -> str:
        """What the standard errors of the plan's questions are clustered by."""
        return str(self.plan.question.get("cluster") or self.plan.text.unit)

    def task(
        self, scale: str = "", outcome: str = "", event: Event | None = None, row: Row | None = None
    ) -> Task:
        """Return a cell of the tables: of the first scale, outcome and event, and the headline, where none is named."""
        plan = self.plan
        what = event or self.event, outcome or self.outcome, scale or self.scale
        return plan.task(*what, row or plan.headline)

    def fit(self, task: Task) -> Estimate:
        """Return what a task's design estimates on the panel."""
        return task.row.design(task.question.sample(self.panel), **task.options)

    def answers(self, event: Event, scale: str, label: str | None = None) -> list[Result]:
        """Return what a row of the plan, the headline where none is named, answers about an event: one an outcome."""
        row = self.plan.headline.label if label is None else label
        return [self.results[event.label, scale, outcome, row] for outcome in self.plan.outcomes]

    def errors(self, results: Iterable[Result]) -> str:
        """Say what parentheses mean, what errors are clustered by, and the names of their conventions."""
        named = dict.fromkeys(r.convention.replace("_", " ") for r in results if r.convention)
        return f"Standard errors in parentheses, clustered by {self.clusters} ({', '.join(named)})."

    def averaged(self, event: Event) -> str:
        """Say over which event times the average of an event's effects goes."""
        horizon = self.task(event=event).question.horizon
        upto = f"event times 0 to {horizon}" if horizon else "event time 0 alone"
        return "all event times from 0" if horizon is None else upto

    def numbers(
        self,
        at: Sequence[str | float],
        values: Mapping[str, Any],
        columns: Mapping[str, Column] | None = None,
        task: Task | None = None,
        **source: str,
    ) -> Iterator[Traced]:
        """Yield the values of a row as numbers about the panel; see :func:`addressed`.

        Parameters
        ----------
        at : sequence of str or float
            Parts of the row's address; the first is the exhibit where the source names none.
        values, columns : mapping
            By column.
        task : Task, optional
            What is answered, if the row is an answer or made from one.
        **source : str
            Fields of the source: what the row is about, and what shows it if not the run of the plan.
        """
        panel = self.panel
        base = source_of("", "", task, panel, RUN) if task else Source("", "", panel.name, panel.checksum)
        origin = replace(base, **{"exhibit": str(at[0])} | source)
        return addressed(address(*at), values, origin, task.question.scale if task else "level", columns)


Makes = Callable[[Setting], Exhibited]


class Part(StrEnum):
    """The sections of the report page."""

    QUESTION = "What is asked of whom"
    FACTS = "The facts that the study starts from"
    EFFECTS = "Effects"
    OBJECTIONS = "What speaks against it"
    FIELDS = "Fields"


class Exhibit(NamedTuple):
    """An exhibit: its name, its title on the report page, the section it belongs to, and what makes it.

    Its tables and figures may show numbers of other exhibits too, which are then named.
    """

    name: str
    title: str
    section: Part
    make: Makes
    shows: tuple[str, ...] = ()


REGISTERED: dict[str, Exhibit] = {}


def exhibit(
    title: str, section: Part, *, shows: tuple[str, ...] = ()
) -> Callable[[Callable[[Setting], Iterator[Piece]]], Makes]:
    """Register a function, which has the name of its file, as an exhibit; its pieces are gathered by kind."""

    def register(make: Callable[[Setting], Iterator[Piece]]) -> Makes:
        @wraps(make)
        def gathered(setting: Setting) -> Exhibited:
            pieces: list[Any] = list(make(setting))
            kinds: tuple[Any, ...] = (Table, Drawn, Traced, str)
            return Exhibited(*(tuple(piece for piece in pieces if isinstance(piece, kind)) for kind in kinds))

        REGISTERED[make.__name__] = Exhibit(make.__name__, title, section, gathered, shows)
        return gathered

    return register


def refusals(results: Iterable[Result]) -> list[str]:
    """Return the reason of each refusal once."""
    return sorted({note for r in results if r.headline is None for note in r.notes})


def cell_of(column: Column, value: float, scale: Scale | None = None) -> Cell:
    """Return a value as a cell, a dash where there is none."""
    return REFUSED if math.isnan(value) else column.cell(value, scale)


def signed(time: int) -> str:
    """Return an event time as text, with the minus of print."""
    return f"{time}".replace("-", MINUS)
