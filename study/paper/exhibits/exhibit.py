"""What an exhibit of the paper is made of: tables, figures, findings, and numbers that say where they come from."""

from __future__ import annotations

import math
import pkgutil
import re
import shlex
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from functools import lru_cache, wraps
from importlib import import_module
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from study.core import QuestionError, capital, grouped, one_thread, refuse_unknown
from study.estimates import Effect, Estimate
from study.figures import Figure, drawn
from study.panel import Panel, Question, Scale, panel_entries
from study.paper import Event, Plan, Result, Results, Row, Task
from study.report import (
    COLUMNS,
    REFUSED,
    Block,
    Cell,
    Column,
    Line,
    Number,
    Table,
    address_part,
    effect_values,
    effects_beside,
    last_event_time,
    lettered,
)

if TYPE_CHECKING:
    # Whoever reads what exhibits gave, such as `study trace`, need not load the diagnostics.
    from study.diagnostics import Finding
    from study.paper.diagnose import Check, Verdict

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
        The exhibit that makes it; inside of one it is empty, and filled in when its pieces are gathered.
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
    def outcome_in_words(self) -> str:
        """The title of the first outcome as it stands in a sentence; GDP keeps its capitals."""
        title = self.plan.outcomes[self.outcome]
        return title[0].lower() + title[1:] if title[1:2].islower() else title

    @property
    def about(self) -> str:
        """What the first outcome is, as a note says it."""
        words = dict.fromkeys([self.plan.text.outcome, self.outcome_in_words])
        return f"Outcome: {', '.join(words)}"

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
        return task.fit(task.question.sample(self.panel))

    def answers(self, event: Event, scale: str, label: str | None = None) -> list[Result]:
        """Return what a row of the plan, the headline where none is named, answers about an event: one an outcome."""
        row = self.plan.headline.label if label is None else label
        return [self.results[event.label, scale, outcome, row] for outcome in self.plan.outcomes]

    def errors(self, results: Iterable[Result]) -> str:
        """Say what parentheses mean, what errors are clustered by, and the covariance estimators."""
        results = list(results)
        named = dict.fromkeys(r.vcov.replace("_", " ") for r in results if r.vcov)
        degrees = [r.headline.degrees for r in results if r.headline is not None]
        ends = [f"{end:.1f}" for end in (min(degrees, default=np.inf), max(degrees, default=np.inf))]
        of_t = (
            f"; {' to '.join(dict.fromkeys(ends))} degrees of freedom" if np.isfinite(degrees).all() else ""
        )
        estimators = f" ({', '.join(named)}{of_t})" if named else ""
        return f"Standard errors in parentheses, clustered by {self.clusters}{estimators}."

    def averaged(self, event: Event) -> str:
        """Say over which event times the average of an event's effects goes."""
        last = last_event_time(self.task(event=event).question.sample(self.panel))
        upto = f"event times 0 to {last}" if last else "event time 0 alone"
        return "all event times from 0" if last is None else upto

    def averaged_of(self, events: Sequence[Event]) -> str:
        """Say it of several events: of the first, and of those that differ from it."""
        first, *others = ((event, self.averaged(event)) for event in events)
        own = "; ".join(f"{event.short}: {of}" for event, of in others if of != first[1])
        return f"{first[1]} ({own})" if own else first[1]

    def source(self, task: Task | None = None, **named: str) -> Source:
        """Return the source of a number about the panel, which answers a task or is made from its answer, if any."""
        about = {"exhibit": "", "quantity": "", "data": self.panel.name, "checksum": self.panel.checksum}
        if task is not None:
            options = task.row.design.options | task.options
            about |= {
                "question": question_text(task.question),
                "design": f"{task.row.label} ({task.row.name})",
                "options": ", ".join(f"{name}={value}" for name, value in options.items() if name != "seed"),
                "seed": str(task.seed),
            }
        return Source(**about | named)

    def numbers(
        self,
        at: str | Sequence[str | float],
        values: Mapping[str, Any],
        columns: Mapping[str, Column] | None = None,
        task: Task | None = None,
        **source: str,
    ) -> Iterator[Traced]:
        """Yield the values of a row as numbers about the panel; see :func:`addressed`.

        Parameters
        ----------
        at : str, or sequence of str or float
            The row's address below that of the exhibit, or its parts; all of it where the source names an exhibit.
        values, columns : mapping
            By column; {} in a column's words stands for the panel's unit of periods.
        task : Task, optional
            What is answered, if the row is an answer or made from one.
        **source : str
            Fields of the source: what the row is about, and what shows it if not the run of the plan.
        """
        where = address(at) if isinstance(at, str) else address(*at)
        scale, step = task.question.scale if task else "level", self.panel.period_unit
        own = {name: c._replace(words=c.words.replace("{}", step)) for name, c in (columns or {}).items()}
        return addressed(where, values, self.source(task, **source), scale, own)

    @property
    def ships(self) -> bool:
        """Whether the panel ships with the package: of one's own nothing is known but what its plan says."""
        return self.panel.name in panel_entries()

    @property
    def panel_title(self) -> str:
        """Return what the panel is called in a table: a shipped one in capitals, one's own by its file."""
        return self.panel.name.upper() if self.ships else self.panel.name.removesuffix(".csv")

    @property
    def main_row(self) -> Row:
        """Return the row that diagnostics are about: the headline, or the first that fits no learners where it does.

        Diagnostics answer the question anew more than a hundred times, which takes learners an hour.
        """
        rows = (row for row in (self.plan.headline, *self.plan.rows) if not row.design.draws)
        return next(rows, self.plan.headline)

    def task_of(self, scale: str, label: str | None = None) -> Task:
        """Return the main question on a scale, under a row of the plan by its label, else the main one."""
        rows = {row.label: row for row in (self.plan.headline, *self.plan.rows)}
        return self.task(scale, row=rows[label] if label else self.main_row)

    def command_of(self, task: Task) -> str:
        """Return the command that shows the diagnostics of a task."""
        if self.plan.under(task.row.name).headline != task.row:
            return RUN
        return shlex.join(["study", "diagnose", task.address, "--design", task.row.name])

    def finding_of(self, scale: str, name: str, label: str | None = None) -> Finding | str:
        """Return what a diagnostic finds about the main question, or why it finds nothing.

        Exhibits and the verdicts share what is found, so that nothing is made twice in one process.

        Parameters
        ----------
        scale : str
        name : str
            Of the diagnostic.
        label : str, optional
            A row of the plan; the main one where none is given.
        """
        check = _check(self, scale, label or self.main_row.label, name)
        return check if isinstance(check, str) else check.finding or check.refusal

    def findings_of(self, names: Collection[str], labels: Sequence[str] | None = None) -> list[Findings]:
        """Return what diagnostics find on each scale under each row of the plan, the main one where none are given.

        Nothing where none of them finds anything.
        """
        rows, main = [], [self.main_row.label]
        for scale, label in product(self.plan.scales, main if labels is None else labels):
            answers = {name: self.finding_of(scale, name, label) for name in names}
            findings = {name: answer for name, answer in answers.items() if not isinstance(answer, str)}
            refused = tuple(answer for answer in answers.values() if isinstance(answer, str))
            rows.append(Findings(self, scale, label, findings, refused))
        return rows if any(row.by_name for row in rows) else []

    def verdict_of(self, scale: str) -> Verdict | str:
        """Return the main row's answer on a scale with all its diagnostics, or the refusal."""
        label = self.main_row.label
        known = _answered(self, scale, label)
        if isinstance(known, str):
            return known
        checks = (_check(self, scale, label, name) for name in known.diagnostics)
        return replace(known, checks=tuple(check for check in checks if not isinstance(check, str)))

    def headline_numbers(
        self, panel: Panel, at: Sequence[str], task: Task, effect: Effect, quantity: str
    ) -> Iterator[Piece]:
        """Yield the numbers of an answer about a panel that need not be the plan's, each with what shows it alone."""
        about = replace(self, panel=panel)
        for column, value in effect_values(effect).items() if effect.exists else ():
            command = RUN if column == "mde" else estimate_command(task, panel)
            yield from about.numbers(at, {column: value}, task=task, quantity=quantity, command=command)

    def outcome_heads(self, *last: str, over: str = "") -> dict[str, Any]:
        """Return the headings of effects on all outcomes beside units, and the last ones with what stands over them.

        Labels are prose, since such a table has no room for them on one line.
        """
        headings = ["Treated", "All", *["Effect", "(SE)"] * len(self.plan.outcomes), *last]
        spans = [(capital(self.plan.text.units), 2), *((title, 2) for title in self.plan.outcomes.values())]
        if last:
            spans.append((over, len(last)))
        return {"headings": headings, "spans": spans, "prose": (0,)}


@dataclass(frozen=True, eq=False)
class Findings:
    """What some diagnostics find about the main question on a scale, under a row of the plan.

    Attributes
    ----------
    setting : Setting
    scale, label : str
        The label is that of the row.
    by_name : dict of str to Finding
        By the diagnostic's name.
    refused : tuple of str
        Why there are no others.
    """

    setting: Setting
    scale: str
    label: str
    by_name: dict[str, Finding]
    refused: tuple[str, ...]

    @property
    def task(self) -> Task:
        """The main question on the scale, under the row."""
        return self.setting.task_of(self.scale, self.label)

    def says(self, sentence: str) -> str:
        """Return a sentence that says which scale it is about."""
        return f"{Scale(self.scale).title}: {sentence}"

    def verdicts(self) -> Iterator[str]:
        """Yield the verdict of each finding."""
        yield from (self.says(finding.verdict) for finding in self.by_name.values())

    def refusals(self) -> Iterator[str]:
        """Yield why other findings were not made."""
        yield from (self.says(f"Not made: {why}") for why in self.refused)

    def numbers(self, values: Mapping[str, Any], *parts: str | float, **how: Any) -> Iterator[Traced]:
        """Yield values by column as numbers at the scale and further parts; see :class:`Setting`."""
        how = {"command": self.setting.command_of(self.task)} | how
        return self.setting.numbers((self.scale, *parts), values, task=self.task, **how)


def panels(rows: Iterable[Findings], lines: Callable[[Findings], Iterable[Line]]) -> list[Block]:
    """Return a panel of a table for each scale, with the lines of its rows that have findings."""
    found = [(row.setting.plan.scales[row.scale], lines(row)) for row in rows if row.by_name]
    return lettered(grouped((title, line) for title, own in found for line in own))


def excluding_zero(effects: Mapping[str, Mapping[str, Effect]], by: str) -> Iterator[str]:
    """Say, by the title of a scale, how many of the effects by label have an interval without zero, and which."""
    for title, of_scale in effects.items():
        answered = {label: effect for label, effect in of_scale.items() if effect.exists}
        labels = [label for label, effect in answered.items() if effect.excludes_zero]
        named = f" ({'; '.join(labels)})" if labels else ""
        s = "s" * (len(labels) == 1)
        yield f"{title}: {len(labels)} of {len(answered)} intervals by {by} exclude{s} zero{named}."


def outcome_line(label: str, effects: Sequence[Effect], scale_name: str) -> Line:
    """Return the line of a panel: the size of its sample, the effects, and what the first could have found."""
    scale = Scale(scale_name)
    answered = next((effect for effect in effects if effect.exists), None)
    counts = [Number(n, 0) for n in (answered.n_treated, answered.n_units)] if answered else ["", ""]
    mde = COLUMNS["mde"].cell(effects[0].mde, scale, 0.0) if effects[0].exists else ""
    return effects_beside(label, effects, counts, [mde], scale=scale)


@lru_cache(maxsize=16)
def _answered(setting: Setting, scale: str, label: str) -> Verdict | str:
    """Return the answer, none of its diagnostics made, or the refusal; settings are distinguished by identity."""
    from study.paper.diagnose import answered

    task = setting.task_of(scale, label)
    # Where the plan's answer has the randomization test, it is not made again.
    result = setting.results.get(task.key)
    test = None if result is None else result.randomization
    try:
        with one_thread():
            return answered(setting.plan, task, setting.panel, setting.placebos, test)
    except QuestionError as refusal:
        return str(refusal)


@lru_cache(maxsize=256)
def _check(setting: Setting, scale: str, label: str, name: str) -> Check | str:
    if name == "specification_curve" and scale != setting.scale:  # one curve has all scales
        return _check(setting, setting.scale, label, name)
    known = _answered(setting, scale, label)
    if isinstance(known, str):
        return known
    if name not in known.diagnostics:
        return f"{known.fit.design}: {name} is about other designs."
    with one_thread():
        return known.check(name)


Makes = Callable[[Setting], Exhibited]


class Part(StrEnum):
    """The sections of the report page."""

    QUESTION = "What is asked of whom"
    FACTS = "The facts that the study starts from"
    EFFECTS = "Effects"
    OBJECTIONS = "What speaks against it"
    FIELDS = "Fields"


class Exhibit(NamedTuple):
    """An exhibit: its name, its title on the report page, the section it belongs to, and what makes it."""

    name: str
    title: str
    section: Part
    make: Makes


REGISTERED: dict[str, Exhibit] = {}


def exhibit(title: str, section: Part) -> Callable[[Callable[[Setting], Iterator[Piece]]], Makes]:
    """Register a function, which has the name of its file, as an exhibit; its pieces are gathered by kind.

    Addresses of its numbers begin with its name, but for those whose source names an exhibit.
    """

    def register(make: Callable[[Setting], Iterator[Piece]]) -> Makes:
        name = make.__name__

        def located(piece: Piece) -> Any:
            if not isinstance(piece, Traced) or piece.source.exhibit:
                return piece
            return Traced(f"{name}/{piece.address}", piece.value, replace(piece.source, exhibit=name))

        @wraps(make)
        def gathered(setting: Setting) -> Exhibited:
            pieces = [*map(located, make(setting))]
            kinds: tuple[Any, ...] = (Table, Drawn, Traced, str)
            return Exhibited(*(tuple(piece for piece in pieces if isinstance(piece, kind)) for kind in kinds))

        REGISTERED[name] = Exhibit(name, title, section, gathered)
        return gathered

    return register


def find_exhibit(name: str, source: str = "study.toml") -> Exhibit:
    """Return an exhibit by name, which is that of its file and of its function, for the plan of a file of some name.

    Raises
    ------
    QuestionError
        If there is none of that name.
    """
    files = pkgutil.iter_modules([str(Path(__file__).parent)])
    names = [module.name for module in files if module.name != "exhibit"]
    refuse_unknown("exhibit", name, names, f"{source}, exhibits")
    import_module(f"study.paper.exhibits.{name}")
    return REGISTERED[name]


def refusals(results: Iterable[Result]) -> list[str]:
    """Return the reason of each refusal once."""
    return sorted({reason(note) for r in results if r.headline is None for note in r.notes})


def reason(why: str) -> str:
    """Return a refusal without the designs that can answer, which are for who types and not for who reads."""
    return re.sub(r"; [a-z_, ]+ can\.", ".", why)


def cell_of(column: Column, value: float, scale: Scale | None = None) -> Cell:
    """Return a value as a cell, a dash where there is none."""
    return REFUSED if math.isnan(value) else column.cell(value, scale)
