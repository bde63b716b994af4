"""What a paper estimates: the contents of ``study.toml``, checked before any work."""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from study.core import DataError, QuestionError, unknown
from study.designs import find_design
from study.panel import Panel, Question, panel_entries
from study.panel.population import population
from study.paper.fields.plan import FieldsPlan, read_fields
from study.paper.plan_keys import INFERENCE, check_content
from study.report import macro_name

# Exhibits that are made of a table of the plan alone, and that table.
NEEDED = {"fields": "[fields]", "families": "[[families]]", "venues": "[venues]"}
# Exhibits whose numbers have names with the labels of designs in them.
NAMED_BY_DESIGN = ("event_studies", "violations")


@dataclass(frozen=True)
class Text:
    """Words of captions and notes: what a unit and its outcome are called, and what to say of the sample."""

    unit: str
    units: str
    outcome: str
    outcomes_with_units: str
    sample_notes: tuple[str, ...]


@dataclass(frozen=True)
class Row:
    """A design as a row of the tables: its options, and what it changes in the question."""

    name: str
    label: str
    options: dict[str, Any]
    question: dict[str, Any]


@dataclass(frozen=True)
class Event:
    """An event: its column in the panel, its long and short name, its label in file names.

    Attributes
    ----------
    name, title, short, label : str
    group : str
        The family of events it belongs to, where it is one line among others.
    threat : str
        Why it may not be as good as random, in a sentence.
    contrast : str
        Label of the event without compute that it is set against.
    question : dict
        What it changes in the question, for example the population among which it was won.
    """

    name: str
    title: str
    short: str
    label: str
    group: str = ""
    threat: str = ""
    contrast: str = ""
    question: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Task:
    """One cell of a table: a question, the design that answers it, and the seed and draws it uses."""

    event: Event
    outcome: str
    scale: str
    row: Row
    question: Question
    seed: int
    level: float
    band_draws: int
    permutations: int
    strata: str

    @property
    def key(self) -> tuple[str, str, str, str]:
        """Event label, scale, outcome and row label: where in the tables the cell stands."""
        return self.event.label, self.scale, self.outcome, self.row.label

    @property
    def options(self) -> dict[str, Any]:
        """Options of the design, with the plan's seed where the design draws and the row gives none."""
        return find_design(self.row.name).seeded(self.row.options, self.seed)


@dataclass(frozen=True)
class Plan:
    """All that the paper estimates.

    Attributes
    ----------
    panel : str or dict
        A shipped panel's name, or the arguments of ``Panel.from_long`` with the CSV file as ``file``.
    text : Text
    headline : Row
        The design of the text, the event-study figure and the randomization test.
    rows : tuple of Row
        The designs of the tables.
    outcomes, scales : dict of str to str
        Names with their titles.
    events : tuple of Event
        Each answered by every row, in a table of its own.
    families : tuple of Event
        Each answered by the headline alone, as a line of one table.
    venues : dict of str to str or dict
        By label, panels like ``panel`` on whose outcomes the first event is asked about by the headline too.
    question : dict
        Fields that all questions share.
    exhibits : tuple of str
        Names of the exhibits to make, in order; see :data:`study.paper.exhibits.EXHIBITS`.
    title : str
        Of the report page.
    fields : FieldsPlan, optional
        What is asked of fields, in the table ``[fields]``.
    window : tuple of int
        First and last event time that the figures show.
    neighbours : str
        Attribute within which `study diagnose` looks for spillovers; empty for none.
    placebos : dict of str to str or dict
        By label, panels like ``panel`` on whose outcomes the events should have no effect.
    populations : tuple of str
        Of the specification curve of `study diagnose`.
    """

    panel: str | dict[str, Any]
    text: Text
    headline: Row
    rows: tuple[Row, ...]
    outcomes: dict[str, str]
    scales: dict[str, str]
    events: tuple[Event, ...]
    question: dict[str, Any]
    seed: int
    level: float
    band_draws: int
    permutations: int
    strata: str
    window: tuple[int, int]
    neighbours: str = ""
    placebos: dict[str, str | dict[str, Any]] = field(default_factory=dict)
    families: tuple[Event, ...] = ()
    venues: dict[str, str | dict[str, Any]] = field(default_factory=dict)
    exhibits: tuple[str, ...] = ("sample", "designs")
    title: str = ""
    fields: FieldsPlan | None = None
    populations: tuple[str, ...] = ("all",)

    def tasks(self) -> Iterator[Task]:
        """Yield every cell of the tables of events; the headline's cells carry the randomization test."""
        for event in (*self.events, *self.families):
            for scale in self.scales:
                for outcome in self.outcomes:
                    for row in self.rows if event in self.events else (self.headline,):
                        yield self.task(event, outcome, scale, row)

    def task(self, event: Event, outcome: str, scale: str, row: Row) -> Task:
        """Return one cell."""
        asked = {"outcome": outcome, "event": event.name, "scale": scale}
        values = self.question | asked | event.question | row.question
        return Task(
            event=event,
            outcome=outcome,
            scale=scale,
            row=row,
            question=Question.from_dict(values, f"study.toml, {row.label}"),
            seed=self.seed,
            level=self.level,
            band_draws=self.band_draws,
            permutations=self.permutations if row == self.headline and not find_design(row.name).draws else 0,
            strata=self.strata,
        )

    def under(self, design: str) -> Plan:
        """Return the plan with another headline design, which becomes the first row."""
        find_design(design)
        found = [row for row in self.rows if row.name == design]
        headline = found[0] if found else Row(design, find_design(design).title, {}, {})
        return replace(
            self, headline=headline, rows=(headline, *(row for row in self.rows if row != headline))
        )

    def with_level(self) -> Plan:
        """Return the plan with the scale "level" first, the one of what is not in the paper."""
        return replace(self, scales={"level": "Effect in the outcome's own units"} | self.scales)

    def ask(self, question: str, design: str | None = None) -> Task:
        """Return the cell that is named EVENT, EVENT/OUTCOME or EVENT/OUTCOME/SCALE, under the headline or a design.

        Raises
        ------
        QuestionError
            If there is no such event, outcome, scale or design.
        """
        named, *rest = question.split("/")
        events = {event.label: event for event in (*self.events, *self.families)}
        if named not in events or len(rest) > 2:
            raise unknown("question", question, events, "study.toml")
        outcome, scale = [*rest, *[""] * (2 - len(rest))]
        outcome, scale = outcome or next(iter(self.outcomes)), scale or next(iter(self.scales))
        if outcome not in self.outcomes:
            raise unknown("outcome", outcome, self.outcomes, "study.toml")
        if scale not in self.scales:
            raise unknown("scale", scale, self.scales, "study.toml")
        headline = self.headline if design is None else self.under(design).headline
        return self.task(events[named], outcome, scale, headline)

    @property
    def figure_row(self) -> Row:
        """The headline, or the first row with effects by event time where the headline has none."""
        for row in (self.headline, *self.rows):
            if find_design(row.name).estimand.has_path:
                return row
        raise QuestionError("study.toml: no design has effects by event time, so there is no figure to draw.")

    def check(self, panel: Panel) -> None:
        """Refuse a plan that names what the panel or the catalogue does not have, before any work."""
        for outcome in self.outcomes:
            if outcome not in panel.outcomes:
                raise unknown("outcome", outcome, panel.outcomes, f"study.toml about {panel.name}")
        for event in (*self.events, *self.families):
            if event.name not in panel.events:
                raise unknown("event", event.name, panel.events, f"study.toml about {panel.name}")
        if self.strata not in panel.attributes:
            raise unknown("attribute", self.strata, panel.attributes, "study.toml, inference.strata")
        if self.neighbours and self.neighbours not in panel.attributes:
            raise unknown("attribute", self.neighbours, panel.attributes, "study.toml, diagnose.neighbours")
        labels = [event.label for event in self.families]
        for event in self.families:
            if event.contrast and event.contrast not in labels:
                raise unknown("family", event.contrast, labels, f"study.toml, contrast of {event.label}")
        for rule in self.populations:
            population(rule, panel)
        self._check_exhibits()
        self._check_panels()
        self._check_numbers()
        for row in self.rows:
            find_design(row.name).check_options(row.options)
        for task in self.tasks():
            task.question.sample(panel)

    def _check_exhibits(self) -> None:
        """Refuse exhibits without the table that they are made of."""
        for exhibit, table in NEEDED.items():
            if exhibit in self.exhibits and not getattr(self, exhibit):
                raise QuestionError(
                    f'study.toml: the exhibit "{exhibit}" is made of the table {table}, which is not there; add it, or '
                    "take the exhibit out."
                )

    def _check_panels(self) -> None:
        """Refuse placebos and venues whose panel is not there."""
        for entry in (*self.placebos.values(), *self.venues.values()):
            if isinstance(entry, str) and entry not in panel_entries():
                raise unknown("panel", entry, panel_entries(), "study.toml, placebos and venues")
            if not isinstance(entry, str) and not Path(entry["file"]).is_file():
                raise DataError(f"study.toml, placebos and venues: {entry['file']}: there is no such file.")

    def _check_numbers(self) -> None:
        """Refuse labels and names from which numbers of the text would not get names of their own."""
        _check_names("event label", [event.label for event in (*self.events, *self.families)])
        _check_names("outcome", self.outcomes)
        _check_names("scale", self.scales)
        _check_names("placebo", self.placebos)
        _check_names("venue", self.venues, str.lower)
        if any(exhibit in self.exhibits for exhibit in NAMED_BY_DESIGN):
            _check_names("design label", [row.label for row in self.rows])


def _check_names(kind: str, names: Iterable[str], spelt: Callable[[str], str] = str) -> None:
    """Refuse names from which numbers of the text could get no name, or the same one."""
    taken: dict[str, str] = {}
    for name in names:
        macro = macro_name(spelt(name))
        if not macro:
            raise QuestionError(
                f'study.toml: the {kind} "{name}" has no letter and no digit to name numbers of the text by; rename it.'
            )
        if macro in taken:
            raise QuestionError(
                f'study.toml: the {kind}s "{taken[macro]}" and "{name}" would give numbers of the text the same name, '
                f"\\{macro}; rename one."
            )
        taken[macro] = name


def check_exists(path: Path) -> None:
    """Refuse the path of a plan where there is none.

    Raises
    ------
    DataError
        If there is no such file.
    """
    if not path.is_file():
        raise DataError(f"{path}: there is no such plan; run from the checkout, or name one with --plan.")


def read_plan(path: Path) -> Plan:
    """Read a plan.

    Raises
    ------
    DataError
        If the file is missing or not TOML.
    QuestionError
        If a key is missing or unknown, a value is not what it must be, or a design or field is unknown.
    """
    check_exists(path)
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: not valid TOML: {error}.") from error
    check_content(content, str(path))
    rows = tuple(
        Row(row["name"], row["label"], row.get("options", {}), row.get("question", {}))
        for row in content["designs"]
    )
    diagnose = content.get("diagnose", {})
    plan = Plan(
        panel=_panel(content["panel"], path),
        text=Text(**content["text"] | {"sample_notes": tuple(content["text"]["sample_notes"])}),
        headline=_headline(rows, content["headline"], path),
        rows=rows,
        outcomes=content["outcomes"],
        scales=content["scales"],
        events=tuple(Event(**event) for event in content["events"]),
        families=tuple(Event(**event) for event in content.get("families", ())),
        venues={label: _panel(entry, path) for label, entry in content.get("venues", {}).items()},
        exhibits=tuple(content.get("exhibits", ("sample", "designs"))),
        title=content.get("title", ""),
        fields=_fields(content, path),
        question=content["question"],
        seed=content["seed"],
        window=(content["figure"]["window"][0], content["figure"]["window"][1]),
        neighbours=diagnose.get("neighbours", ""),
        populations=tuple(diagnose.get("populations", ("all",))),
        placebos={label: _panel(entry, path) for label, entry in diagnose.get("placebos", {}).items()},
        **{key: content["inference"][key] for key in INFERENCE},
    )
    for labels, what in (
        ([row.label for row in rows], "designs"),
        ([event.label for event in (*plan.events, *plan.families)], "events"),
    ):
        if len(set(labels)) < len(labels):
            raise QuestionError(f"{path}: two {what} have the same label; each needs its own.")
    for row in rows:
        find_design(row.name)
    return plan


def _fields(content: Mapping[str, Any], path: Path) -> FieldsPlan | None:
    try:
        return read_fields(content["fields"], str(path)) if "fields" in content else None
    except (TypeError, ValueError) as error:
        raise QuestionError(
            f"{path}, [fields]: {error}; see paper/study.toml for the keys of each table."
        ) from error


def _headline(rows: tuple[Row, ...], name: str, path: Path) -> Row:
    for row in rows:
        if row.name == name:
            return row
    find_design(name)
    raise QuestionError(f'{path}: the headline "{name}" is not among the designs; list it there.')


def _panel(entry: str | dict[str, Any], path: Path) -> str | dict[str, Any]:
    """Return a panel's entry with its file's path taken from the plan's folder."""
    if isinstance(entry, str):
        return entry
    return entry | {"file": str(path.parent / entry["file"])}
