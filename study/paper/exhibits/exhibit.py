"""What an exhibit of the paper is made of: tables, figures, and numbers that say where they come from."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from enum import StrEnum
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from study.designs import find_design
from study.figures import drawn
from study.panel import Panel, Question, Scale, panel_entries
from study.paper.plan import Plan, Task
from study.paper.results import Result, Results
from study.report import COLUMNS, CONVENTIONS, Column, Table, address_part, refused_notes

if TYPE_CHECKING:
    from matplotlib.figure import Figure


# Makes everything, and so any number that no shorter command shows.
RUN = "study run"
# Fields of a question that `study estimate` takes by their names.
TAKEN = (
    "outcome", "event", "scale", "population", "comparison", "base", "missing", "cluster", "anticipation", "lag",
    "horizon", "min_cohort_size", "instrument",
)  # fmt: skip


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
    command: str
    question: str = ""
    design: str = ""
    options: str = ""
    seed: str = ""


def asked(question: Question) -> str:
    """Return a question as text: each field that differs from its default."""
    told = []
    for field_ in fields(question):
        value = getattr(question, field_.name)
        if value != field_.default:
            told.append(f"{field_.name}={'+'.join(value) if isinstance(value, tuple) else value}")
    return ", ".join(told)


def source_of(exhibit: str, quantity: str, task: Task, panel: Panel, command: str) -> Source:
    """Return the source of a number that answers a task of the plan, or is made from its answer."""
    options = find_design(task.row.name).options | task.options
    return Source(
        exhibit=exhibit,
        quantity=quantity,
        data=panel.name,
        checksum=panel.checksum,
        command=command,
        question=asked(task.question),
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
    question = task.question
    words = ["study", "estimate", "--panel", panel.name, "--design", task.row.name]
    for field_ in fields(Question):
        value = getattr(question, field_.name)
        if field_.name in TAKEN and value != field_.default:
            words += [f"--{field_.name.replace('_', '-')}", str(value)]
    words += [word for covariate in question.covariates for word in ("--covariate", covariate)]
    words += [word for name, value in task.options.items() for word in ("--option", f"{name}={value}")]
    return shlex.join([*words, *["--by-event-time"] * path])


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
    """

    plan: Plan
    panel: Panel
    results: Results
    placebos: Mapping[str, Panel] = field(default_factory=dict)
    venues: Mapping[str, Panel] = field(default_factory=dict)


class Part(StrEnum):
    """The sections of the report page."""

    QUESTION = "Institutions: what is asked of whom"
    FACTS = "The facts that the study starts from"
    EFFECTS = "Institutions: effects"
    OBJECTIONS = "Institutions: what speaks against it"
    FIELDS = "Fields"


class Exhibit(NamedTuple):
    """An exhibit: its name, its title on the report page, the section it belongs to, and what makes it."""

    name: str
    title: str
    section: Part
    make: Callable[[Setting], Exhibited]


REGISTERED: dict[str, Exhibit] = {}
Make = TypeVar("Make", bound=Callable[[Setting], Exhibited])


def exhibit(title: str, section: Part) -> Callable[[Make], Make]:
    """Register a function, which has the name of its file, as an exhibit."""

    def register(make: Make) -> Make:
        REGISTERED[make.__name__] = Exhibit(make.__name__, title, section, make)
        return make

    return register


def conventions(results: Iterable[Result]) -> str:
    """Say the conventions of the standard errors that results have."""
    return "; ".join(CONVENTIONS[c] for c in dict.fromkeys(r.convention for r in results if r.convention))


def clustered(plan: Plan, results: Sequence[Result]) -> str:
    """Say what parentheses mean, and what errors are clustered by."""
    return f"Standard errors in parentheses, clustered by {cluster_of(plan)} ({conventions(results)})."


def cluster_of(plan: Plan) -> str:
    """Say what the standard errors of a plan's questions are clustered by."""
    return str(plan.question.get("cluster") or plan.text.unit)


def window_of(result: Result) -> str:
    """Say over which event times a question's average goes."""
    horizon = result.task.question.horizon
    return "all event times from 0" if horizon is None else f"event times 0 to {horizon}"


def refusals(results: Iterable[Result]) -> list[str]:
    """Say what a dash stands for, with the reason of each refusal once."""
    return refused_notes(sorted(note for r in results if r.headline is None for note in r.notes))
