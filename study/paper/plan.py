"""What a paper estimates: the contents of ``study.toml``, checked before any work, or made from a panel."""

from __future__ import annotations

import json
import re
import textwrap
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from itertools import chain, count, product
from pathlib import Path
from typing import Annotated, Any

from pydantic import ConfigDict, Field

from study.core import DataError, QuestionError, from_toml, read_toml, refuse_unknown, unknown
from study.data.sources import Rule, csv_rows
from study.designs import Design, all_designs, find_design
from study.estimates import GIVEN, Estimate, read_vcov
from study.panel import Panel, Question, Reading, Sample, describe, panel_entries, population
from study.paper import plan_keys as keys
from study.paper.fields import FieldsPlan
from study.report import address_part, render
from study.simulate.process import checked_dials, effect_title
from study.simulate.replications import CHANGES

# Exhibits that are made of one entry of the plan: what it is called here, and in the file.
NEEDED = {
    "fields": ("fields", "the table [fields]"),
    "families": ("families", "the table [[families]]"),
    "venues": ("venues", "the table [venues]"),
    "further": ("further", "the table [[further]]"),
    "contrasts": ("contrasts", "the table [contrasts]"),
    "composition": ("eras", "diagnose.eras"),
    "known": ("known", "the table [[known]]"),
    "tournament": ("tournament", "the table [tournament]"),
    "treatments": ("treatments", "the list treatments"),
}
# Exhibits that are made within strata.
STRATIFIED = ("families", "inference", "raw_means")
# Columns of the file that `diagnose.hidden` names.
HIDDEN: dict[str, Rule] = dict.fromkeys(
    ("some_without", "above_without"), (re.compile(r"(0(\.\d+)?|1(\.0+)?)?"), "a share from 0 to 1")
)
# Names that have a word of their own, and those with an underscore, but for files and parts of addresses.
NAMED = re.compile(r"(?<![\w/.])(?:log1p|twfe|etwfe|[A-Za-z][A-Za-z0-9]*(?:_[a-z0-9]+)+)(?![\w/]|\.\w)")
VALUED = re.compile(r'\b([a-z]\w+)="?([\w.+-]+)"?(?![\w/]|:\S)')
# Designs of the plan for a panel of one's own, in this order; the first that answers is the headline.
CANDIDATES = ("callaway_santanna", "sun_abraham", "imputation", "etwfe", "event_study", "lp_did", "twfe")
LONGEST_HORIZON = 4


@dataclass(frozen=True)
class Text:
    """Words of captions and notes: what a unit and its outcome are called, and what to say of the sample.

    Attributes
    ----------
    unit, units, outcome, outcomes_with_units : str
    sample_notes : tuple of str
    counted : str
        What all outcomes count, in a word for axes and headings: papers.
    placebos : str
        What placebo outcomes are, in a sentence.
    """

    unit: keys.Name
    units: keys.Name
    outcome: keys.Name
    outcomes_with_units: keys.Name
    sample_notes: keys.Texts
    counted: keys.Name = "outcome"
    placebos: keys.Name = "outcomes that it should not move, each in its own panel"


@dataclass(frozen=True)
class Row:
    """A design as a row of the tables: its options, and what it changes in the question."""

    name: keys.Name
    label: keys.Name
    options: dict[str, Any] = field(default_factory=dict)
    question: keys.SomeOfQuestion = field(default_factory=dict)

    @property
    def design(self) -> Design:
        """The design of that name."""
        return find_design(self.name)


@dataclass(frozen=True, kw_only=True)
class Further(Row):
    """A question of another kind than those of the tables: the event, the design that answers it, and what it asks.

    Attributes
    ----------
    event : str
        Of its panel.
    asks : str
        What is asked and what has to hold, in a sentence.
    panel : str or dict, optional
        Where it is another one than the plan's.
    """

    event: keys.Name
    asks: keys.Name
    panel: keys.AnyPanel | None = None


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
        Of a family: the label of the one without compute that it is set against.
    question : dict
        What it changes in the question, for example the population among which it was won.
    """

    name: keys.Name
    title: keys.Name
    short: keys.Name
    label: keys.Label
    group: str = ""
    threat: str = ""
    contrast: str = ""
    question: keys.SomeOfQuestion = field(default_factory=dict)

    @property
    def called(self) -> str:
        """What a sentence calls it: its title with an article, or the column where it has no other title."""
        has_article = self.title == self.name or self.title.lower().startswith("the ")
        return self.title if has_article else f"the {self.title}"


@dataclass(frozen=True)
class Known:
    """What was known when a specification was written, before its estimates were run.

    Attributes
    ----------
    specification : str
        What it is called.
    written : date
    known : str
        What of its data and of estimates had been seen by then.
    differs : str
        Why it differs from the one that was specified first; empty for that one.
    """

    specification: keys.Name
    written: keys.Day
    known: keys.Name
    differs: str = ""


@dataclass(frozen=True, kw_only=True)
class Tournament:
    """What the design tournament simulates: the table ``[tournament]``.

    Attributes
    ----------
    question : str
        As commands name it, EVENT/OUTCOME or EVENT/OUTCOME/SCALE.
    record : str
        A CSV file beside the plan with its results, which `study simulate --record` writes.
    repetitions, slow_repetitions : int
        Panels that are drawn of each process, and of them those that designs are asked which take long.
    effects : tuple of float
        Of the calibrated process, as shares of the counterfactual mean; none (0) is one of them.
    effect : float
        Of the other processes; one of them.
    designs : tuple of Row
        That enter beside the rows of the tables.
    learned : dict
        Options that designs which fit learners take in place of their rows', to be quick.
    violations : dict of str to dict of str to float
        The other processes: by title, the dials that differ from the calibrated ones.
    """

    question: keys.Name
    record: keys.Beside
    repetitions: keys.Count
    slow_repetitions: keys.Count
    effects: Annotated[tuple[keys.Number, ...], Field(min_length=2)]
    effect: keys.Number
    designs: tuple[Row, ...] = ()
    learned: dict[str, Any] = field(default_factory=dict)
    violations: dict[keys.Name, dict[str, keys.Number]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Refuse effects without zero or that of the violations, and a violation with the title of an effect."""
        if not {0.0, self.effect} <= {*self.effects} or self.effect == 0:
            raise ValueError("tournament.effects must have 0 and tournament.effect, which is not 0, in it.")
        if not self.violations.keys().isdisjoint(map(effect_title, self.effects)):
            raise ValueError("tournament.violations has the title of an effect of the calibrated process.")


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
    strata: str | None
    vcov: str = "jackknife"

    def fit(self, sample: Sample) -> Estimate:
        """Estimate the effect on the sample of the question."""
        return self.row.design(sample, **self.options).with_vcov(self.vcov)

    @property
    def key(self) -> tuple[str, str, str, str]:
        """Event label, scale, outcome and row label: where in the tables the cell stands."""
        return self.event.label, self.scale, self.outcome, self.row.label

    @property
    def address(self) -> str:
        """Event label, outcome and scale, as commands read which question of the plan is meant."""
        return f"{self.event.label}/{self.outcome}/{self.scale}"

    @property
    def options(self) -> dict[str, Any]:
        """Options of the design, with the plan's seed where the design draws and the row gives none."""
        return self.row.design.seeded(self.row.options, self.seed)


@dataclass(frozen=True, kw_only=True)
class Inference:
    """How certain estimates are: the table ``[inference]``.

    Attributes
    ----------
    level : float
        Of intervals and bands.
    band_draws, permutations : int
    strata : str, optional
        Attribute within which event dates are permuted; among all units where none is named.
    vcov : str
        The covariance estimator of all estimates, as :func:`study.estimate` takes it.
    """

    level: keys.Share
    band_draws: keys.Count
    permutations: keys.NonNegative
    strata: keys.Name | None = None
    vcov: str = "jackknife"

    def __post_init__(self) -> None:
        """Refuse another word for the covariance estimator."""
        if read_vcov("inference.vcov", self.vcov, GIVEN)[1] is not None:
            raise ValueError("inference.vcov is a name; clusters are named by question.cluster.")


@dataclass(frozen=True, kw_only=True)
class Figure:
    """What figures show: the table ``[figure]``.

    Attributes
    ----------
    window : tuple of int
        First and last event time.
    """

    window: keys.Window


@dataclass(frozen=True, kw_only=True)
class Diagnose:
    """What `study diagnose` goes through: the table ``[diagnose]``.

    Attributes
    ----------
    neighbours : str
        Attribute within which it looks for spillovers; empty for none.
    populations : tuple of str
        Of its specification curve.
    placebos : dict of str to str or dict
        By label, panels like ``panel`` on whose outcomes the events should have no effect.
    eras : tuple of (int, int)
        First and last adoption period of each era by which effects are shown; none for no such windows.
    hidden : str
        A CSV file beside the plan, a row an event: event, and the shares of the units without it that a check finds
        treated (some_without) and treated as much as the median of those with it (above_without). Bounds for hidden
        treatment are at these shares too; none where it is empty.
    """

    neighbours: str = ""
    populations: keys.SomeTexts = ("all",)
    placebos: dict[str, keys.AnyPanel] = field(default_factory=dict)
    eras: tuple[keys.Era, ...] = ()
    hidden: keys.Beside = ""


@dataclass(frozen=True, kw_only=True)
class Shared:
    """What a plan and its file have alike.

    Attributes
    ----------
    panel : str or dict
        A shipped panel's name, or the arguments of ``Panel.from_long`` with the CSV file as ``file``.
    text : Text
    outcomes, scales : dict of str to str
        Names with their titles.
    events : tuple of Event
        Each answered by every row, in a table of its own.
    families : tuple of Event
        Each answered by the headline alone, as a line of one table.
    venues : dict of str to str or dict
        By label, panels like ``panel`` on whose outcomes the first event is asked about by the headline too.
    further : tuple of Further
        Questions of other kinds, each a line of one table.
    contrasts : dict of str to tuple of str
        What one table sets side by side: by the title of a panel, labels of events, families, placebos and further
        questions.
    treatments : tuple of str
        Labels of the events that one table compares as definitions of treatment, with the machines behind them.
    question : dict
        Fields that all questions share.
    seed : int
    exhibits : tuple of str
        Names of the exhibits to make, in order; see ``study.paper.exhibits``.
    title : str
        Of the report page.
    fields : FieldsPlan, optional
        What is asked of fields, in the table ``[fields]``.
    definitions : tuple of str
        Labels of the events that one table sets side by side, by design; all events where there are none.
    known : tuple of Known
        The specifications, in the order in which they were written.
    texts : tuple of str
        Files beside the plan that cite results, LaTeX or Markdown; where none are named, ``main.tex`` and
        ``appendix.tex``.
    tournament : Tournament, optional
        What is simulated, in the table ``[tournament]``.
    """

    panel: keys.AnyPanel
    text: Text
    outcomes: keys.Titles
    scales: keys.Titles
    events: Annotated[tuple[Event, ...], Field(min_length=1)]
    question: keys.SomeOfQuestion
    seed: keys.NonNegative
    families: tuple[Event, ...] = ()
    venues: dict[str, keys.AnyPanel] = field(default_factory=dict)
    further: tuple[Further, ...] = ()
    contrasts: dict[keys.Name, keys.SomeTexts] = field(default_factory=dict)
    treatments: keys.Texts = ()
    exhibits: keys.Texts = ("sample", "designs")
    title: str = ""
    fields: FieldsPlan | None = None
    definitions: keys.Texts = ()
    known: tuple[Known, ...] = ()
    texts: keys.Texts = ()
    tournament: Tournament | None = None


@dataclass(frozen=True, kw_only=True)
class PlanFile(Shared):
    """The contents of ``study.toml``, table by table; the headline is the name of a design."""

    __pydantic_config__ = ConfigDict(extra="forbid")

    headline: keys.Name
    designs: Annotated[tuple[Row, ...], Field(min_length=1)]
    inference: Inference
    figure: Figure
    diagnose: Diagnose = field(default_factory=Diagnose)

    def __post_init__(self) -> None:
        """Refuse labels that are not of one design or event alone."""
        events = [event.label for event in (*self.events, *self.families)]
        for what, labels in {"designs": [row.label for row in self.designs], "events": events}.items():
            if len(set(labels)) < len(labels):
                raise ValueError(f"two {what} have the same label; each needs its own.")


@dataclass(frozen=True, kw_only=True)
class Plan(Shared, Inference, Figure, Diagnose):
    """All that the paper estimates: what the tables of its file say, and its designs.

    Attributes
    ----------
    headline : Row
        The design of the text, the event-study figure and the randomization test.
    rows : tuple of Row
        The designs of the tables.
    entrants : tuple of Row
        The designs of the tournament, the file's own headline first, whichever is the headline now.
    source : str
        The name of the file, for errors.
    """

    headline: Row
    rows: tuple[Row, ...]
    entrants: tuple[Row, ...] = ()
    source: str = "study.toml"

    @property
    def every_event(self) -> tuple[Event, ...]:
        """The events and the families."""
        return *self.events, *self.families

    def tasks(self) -> Iterator[Task]:
        """Yield every cell of the tables of events; the headline's cells carry the randomization test."""
        for event, scale, outcome in product(self.every_event, self.scales, self.outcomes):
            for row in self.rows if event in self.events else (self.headline,):
                yield self.task(event, outcome, scale, row)

    def task(self, event: Event, outcome: str, scale: str, row: Row) -> Task:
        """Return one cell."""
        named = {"outcome": outcome, "event": event.name, "scale": scale}
        values = self.question | row.question | named | event.question
        question = Question.from_dict(values, f"{self.source}, {row.label}")
        tested = row == self.headline and not row.design.draws and not question.instruments
        shared = {name: getattr(self, name) for name in ("seed", "level", "band_draws", "strata", "vcov")}
        permutations = self.permutations if tested else 0
        return Task(event, outcome, scale, row, question, permutations=permutations, **shared)

    def further_tasks(self, entry: Further, scale: str) -> list[Task]:
        """Return the cells of a further question on a scale, one an outcome; none has a randomization test."""
        event = Event(entry.event, entry.asks, entry.label, address_part(entry.label))
        return [self.task(event, outcome, scale, entry) for outcome in self.outcomes]

    def under(self, design: str | None, vcov: str | None = None) -> Plan:
        """Return the plan with another headline design, which becomes the first row, or covariance estimator."""
        if vcov is not None:
            return replace(self.under(design), vcov=vcov)
        if design is None:
            return self
        headline = self.rows_of(design)[0]
        others = [row for row in self.rows if row != headline]
        return replace(self, headline=headline, rows=(headline, *others))

    def rows_of(self, design: str) -> tuple[Row, ...]:
        """Return the rows of a design, or one with its own defaults where the plan has none."""
        own = tuple(row for row in self.rows if row.name == design)
        return own or (Row(design, find_design(design).title),)

    def hidden_shares(self, event: Event) -> tuple[float, ...]:
        """Return the shares of the units without an event that the plan's check finds treated, ascending.

        Shares of zero and one are left out: there the bounds are the estimate, or nothing.

        Raises
        ------
        DataError
            If the file is missing or damaged, or has no row for the plan's first event.
        """
        if not self.hidden:
            return ()
        file, first = Path(self.hidden), self.events[0].name
        lines = csv_rows(file, ("event", *HIDDEN), unique=("event",), rules=HIDDEN)
        rows = {row["event"]: row for _, row in lines}
        if first not in rows:
            where = f"{self.source}, diagnose.hidden: {file.name}"
            raise DataError(f'{where} has no row for "{first}"; add it, or take the key out.')
        shares = {float(rows.get(event.name, {}).get(name) or 0) for name in HIDDEN}
        return tuple(sorted(share for share in shares if 0 < share < 1))

    def processes(self) -> dict[str, dict[str, float]]:
        """Return the processes of the tournament: by title, the dials that differ from the calibrated ones.

        Hidden treatment has the shares that the plan's check of treatments finds; see :meth:`hidden_shares`.
        """
        if self.tournament is None:
            return {}
        tournament, at = self.tournament, {"effect": self.tournament.effect}
        named = {effect_title(value): {"effect": value} for value in tournament.effects}
        shares = self.hidden_shares(self.ask(tournament.question).event)
        hidden = {f"hidden treatment of {100 * share:.2g}%": at | {"hidden": share} for share in shares}
        return named | {title: at | dials for title, dials in tournament.violations.items()} | hidden

    def calibrated_processes(self) -> tuple[str, ...]:
        """Return the titles of the processes that are as calibrated, one an effect."""
        return tuple(map(effect_title, self.tournament.effects)) if self.tournament else ()

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
        events = {event.label: event for event in self.every_event}
        if named not in events or len(rest) > 2:
            raise unknown("question", question, events, self.source)
        outcome, scale = [*rest, *[""] * (2 - len(rest))]
        outcome, scale = outcome or next(iter(self.outcomes)), scale or next(iter(self.scales))
        refuse_unknown("outcome", outcome, self.outcomes, self.source)
        refuse_unknown("scale", scale, self.scales, self.source)
        return self.task(events[named], outcome, scale, self.under(design).headline)

    @property
    def figure_row(self) -> Row:
        """The headline, or the first row with effects by event time where the headline has none and another has."""
        rows = (self.headline, *self.rows)
        return next((row for row in rows if row.design.estimand.has_path), self.headline)

    def check(self, panel: Panel) -> None:
        """Refuse a plan that names what the panel or the catalogue does not have, before any work."""
        every = [event.label for event in self.every_event]
        questions = [*every, *self.placebos, *(entry.label for entry in self.further)]

        def refuse(kind: str, asked: str | Iterable[str], known: Collection[str], key: str) -> None:
            refuse_unknown(kind, asked, known, f"{self.source}{key}")

        refuse("outcome", self.outcomes, panel.outcomes, f" about {panel.name}")
        refuse("event", [event.name for event in self.every_event], panel.events, f" about {panel.name}")
        if self.strata is not None:
            refuse("attribute", self.strata, panel.attributes, ", inference.strata")
        elif lacking := [name for name in STRATIFIED if name in self.exhibits]:
            raise QuestionError(
                f'{self.source}: the exhibit "{lacking[0]}" is made within strata of units; name an attribute as '
                "inference.strata, or take the exhibit out."
            )
        self.hidden_shares(self.events[0])
        if self.neighbours:
            refuse("attribute", self.neighbours, panel.attributes, ", diagnose.neighbours")
        refuse("event", self.definitions, [event.label for event in self.events], ", definitions")
        refuse("event", self.treatments, every, ", treatments")
        for shown in self.contrasts.values():
            refuse("event, placebo or further question", shown, questions, ", contrasts")
        families = [event.label for event in self.families]
        for event in self.families:
            if event.contrast:
                refuse("family", event.contrast, families, f", contrast of {event.label}")
        if contrasted := [event.label for event in self.events if event.contrast]:
            raise QuestionError(
                f'{self.source}: contrast of "{contrasted[0]}" is read of [[families]] alone; name the pair in '
                "[contrasts], or take the key out."
            )
        for rule in self.populations:
            population(rule, panel)
        for exhibit, (name, where) in NEEDED.items():
            if exhibit in self.exhibits and not getattr(self, name):
                raise QuestionError(
                    f'{self.source}: the exhibit "{exhibit}" is made of {where}, which is not there; add it, or '
                    "take the exhibit out."
                )
        others = [entry.panel for entry in self.further if entry.panel is not None]
        for entry in (*self.placebos.values(), *self.venues.values(), *others):
            if isinstance(entry, str):
                refuse("panel", entry, panel_entries(), ", placebos, venues and further")
            elif not Path(entry["file"]).is_file():
                raise DataError(
                    f"{self.source}, placebos, venues and further: {entry['file']}: there is no such file."
                )
        if self.tournament is not None:
            self.ask(self.tournament.question)
            for title, dials in self.processes().items():
                checked_dials(dials, f'{self.source}, tournament, "{title}"')
        self._check_addresses()
        for row in (*self.rows, *self.further, *self.entrants):
            row.design.check_options(row.options)
        tasks = [*self.tasks()]
        if {"further", "contrasts"} & {*self.exhibits}:
            own = [entry for entry in self.further if entry.panel is None]
            tasks += chain(*(self.further_tasks(*each) for each in product(own, self.scales)))
        for question in dict.fromkeys(task.question for task in tasks):
            question.sample(panel)

    def _check_addresses(self) -> None:
        """Refuse labels and names from which results would get no address, or the same one."""
        names: dict[str, Iterable[str]] = {
            "event label": [event.label for event in self.every_event],
            "outcome": self.outcomes,
            "scale": self.scales,
            "placebo": self.placebos,
            "venue": self.venues,
            "further question": [entry.label for entry in self.further],
            "design label": ["headline", *(row.label for row in self.rows)],
            "entrant": [row.label for row in self.entrants],
            "process": [*self.processes()],
        }
        for kind, entries in names.items():
            check_addresses(kind, entries, self.source)
        for label in names["event label"]:
            if address_part(label) in self.exhibits:
                raise QuestionError(
                    f'{self.source}: the event label "{label}" is the name of an exhibit, whose table and results '
                    "would have the same names; rename it."
                )


def check_addresses(kind: str, names: Iterable[str], where: str) -> None:
    """Refuse names from which results would get no address, or two the same one."""
    first: dict[str, str] = {}
    for name in names:
        part = address_part(name)
        if not any(letter.isalnum() for letter in part):
            raise QuestionError(
                f'{where}: the {kind} "{name}" has no letter and no digit for the addresses of results; rename it.'
            )
        if part in first:
            raise QuestionError(
                f'{where}: results of the {kind}s "{first[part]}" and "{name}" would have the same address, {part}; '
                "rename one."
            )
        first[part] = name


def check_exists(path: Path) -> None:
    """Refuse the path of a plan where there is none.

    Raises
    ------
    DataError
        If there is no such file.
    """
    if not path.is_file():
        raise DataError(f"{path}: there is no such plan; name one that there is with --plan.")


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
    return plan_from(read_toml(path), str(path), path.parent)


def plan_from(content: Mapping[str, Any], where: str, folder: Path) -> Plan:
    """Return the plan that a file's content is, which names files from a folder; errors are those of a file."""
    values = dict(vars(from_toml(PlanFile, content, where, folder)))
    for table in ("inference", "figure", "diagnose"):
        values |= vars(values.pop(table))
    name, rows = values.pop("headline"), values.pop("designs")
    for design in (name, *(row.name for row in (*rows, *values["further"]))):
        find_design(design, f"{where}, designs")
    headline = next((row for row in rows if row.name == name), None)
    if headline is None:
        raise QuestionError(f'{where}: the headline "{name}" is not among the designs; list it there.')
    plan = Plan(headline=headline, rows=rows, source=Path(where).name, **values)
    return replace(plan, entrants=_entrants(plan, plan.tournament)) if plan.tournament else plan


def _entrants(plan: Plan, tournament: Tournament) -> tuple[Row, ...]:
    """Return the rows that take part in a tournament, the headline first.

    Rows that estimate another average are no answers to the same question.
    """
    others = [row for row in (*plan.rows, *tournament.designs) if row != plan.headline]
    able = [plan.headline, *(row for row in others if row.question.keys() <= {*CHANGES})]
    return tuple(
        replace(row, options=row.options | tournament.learned) if row.design.draws else row for row in able
    )


def words_of(plan: Plan, panel: Panel) -> dict[str, str]:
    """Return what names of a plan's events, outcomes, scales and of all designs are called in a sentence.

    What looks like a name in the plan's own words, or in a label of a panel of one's own, stays as it is.
    """
    events = {event.name: event.title for event in plan.every_event}
    designs = {name: design.title for name, design in all_designs().items()}
    said: list[Any] = [vars(plan.text).values(), plan.outcomes.values(), plan.scales.values()]
    said += [row.label for row in (*plan.rows, *plan.further)]
    said += [(each.title, each.short, each.group, each.threat) for each in plan.every_event]
    if panel.name not in panel_entries():
        said += [set(of.tolist()) for of in (panel.units, *panel.attributes.values())]
    kept = {name: name for name in NAMED.findall(" ".join(map(str, said)))}
    return designs | {"log1p": "log(1 + outcome)"} | kept | plan.outcomes | events


def worded(text: str, words: Mapping[str, str]) -> str:
    """Return a text with words in the place of names of columns, options and designs.

    Examples
    --------
    >>> worded("given log_baseline_papers, where country=US", {})
    'given log baseline papers, where country US'
    """
    return NAMED.sub(lambda name: words.get(name[0], name[0].replace("_", " ")), VALUED.sub(r"\1 \2", text))


def plan_text(reading: Reading, file: str, extra: Mapping[str, Any]) -> str:
    """Return a commented plan for a file that was read as a panel.

    Parameters
    ----------
    reading : Reading
    file : str
        The file's path as the plan names it.
    extra : mapping
        Further arguments of :meth:`study.Panel.from_long`: period, never, ambiguous.

    Raises
    ------
    DataError
        If the file is not fit to be a panel; it names the first rule that is broken.
    QuestionError
        If no design can answer for any of the events, or outcomes have names that a plan cannot tell apart.
    """
    if reading.panel is None:
        (_, broken), *_ = reading.violations.groupby(["column", "rule"], sort=False)
        rule, line, rows = describe(broken).partition("\n  line ")
        first = " ".join("".join([rule, line, *rows.splitlines()[:1]]).split())
        raise DataError(
            f"{Path(file).name}: {first.removesuffix('.')}. `study validate` lists all that has to be mended."
        )
    panel, horizon = reading.panel, max(min(LONGEST_HORIZON, len(reading.panel.periods) - 2), 0)
    shared: dict[str, Any] = {"min_cohort_size": 1, "missing": "pairs"}
    if reading.roles.covariates:  # a column that is named as one is controlled for, as by study estimate
        shared["covariates"] = list(reading.roles.covariates)
    refusals = {event: _refusals(panel, event, shared) for event in panel.events}
    answers = {event: [name for name, why in of.items() if not why] for event, of in refusals.items()}
    check_addresses("outcome", panel.outcomes, panel.name)
    events = [event for event, able in answers.items() if able]
    if not events:
        raise QuestionError(f"{panel.name}: no design can answer; {refusals[panel.events[0]][CANDIDATES[0]]}")
    designs = [name for name in CANDIDATES if all(name in answers[event] for event in events)]
    if not designs:
        events, designs = events[:1], answers[events[0]]
    if all(event in panel.first_treated for event in events):
        shared |= {"average": "event_average", "horizon": horizon}
    roles = {role: columns for role, columns in asdict(reading.roles).items() if columns}
    others = [_toml(name) for name in reading.headings if name not in reading.roles.columns]
    labels: list[str] = []
    taken = {*Plan.exhibits}
    for event in events:
        label = re.sub(r"[^\w-]+", "-", event).strip("-_") or "event"
        free = chain([label], (f"{label}-{number}" for number in count(2)))
        labels.append(next(each for each in free if address_part(each) not in taken))
        taken.add(address_part(labels[-1]))
    return render(
        "plan.toml",
        panel=panel,
        title=f"Effects of {events[0]} in {panel.name}",
        entry={"file": file} | roles | dict(extra),
        others=textwrap.fill(", ".join(others), 102, initial_indent="# ", subsequent_indent="# "),
        question=shared,
        outcomes=reading.roles.outcomes,
        left_out=", ".join(_toml(event) for event in panel.events if event not in events),
        events=[*zip(labels, events, strict=True)],
        designs=[find_design(name) for name in designs],
        refused={
            name: re.sub(r"[\x00-\x20\x7f]+", " ", why.removeprefix(f"{name}: ").partition("; ")[0])
            for event in events
            for name, why in refusals[event].items()
            if why
        },
        window=[-max(horizon, 1), horizon],
        toml=_toml,
        key=lambda name: name if re.fullmatch(r"[A-Za-z0-9_-]+", name) else _toml(name),
    ).decode()


def _refusals(panel: Panel, event: str, shared: Mapping[str, Any]) -> dict[str, str]:
    """Return why each candidate cannot answer for an event and every outcome, nothing for those that can."""
    refusals = dict.fromkeys(CANDIDATES, "")
    for name in CANDIDATES:
        try:
            for outcome in panel.outcomes:
                find_design(name)(Question(outcome, event, **shared).sample(panel))
        except QuestionError as error:
            refusals[name] = str(error)
    return refusals


def _toml(value: Any) -> str:
    """Return a text, a list of texts or a number as TOML has it."""
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
