"""Options that commands share, as what they ask of which panel, and the help of those that are a command's own."""

from __future__ import annotations

import inspect
import os
import re
import tomllib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, is_dataclass
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from study.core import QuestionError, as_typed

if TYPE_CHECKING:
    from study.panel import Panel, Question
    from study.paper import plan as plans

DEFAULT_PLAN = Path("paper") / "study.toml"


def _processes(jobs: int) -> int:
    """Refuse a number of processes that nothing could be done in."""
    if jobs == 0:
        raise QuestionError("--jobs is 0; give a number of processes, or -1 for all cores.")
    return jobs


EVENT = typer.Option(help="Event: a column of first treated periods, or of 0/1 treatment.")
Scale = Annotated[str, typer.Option(help="level, log1p or proportional.")]
Outcomes = Annotated[list[str] | None, typer.Option(help="Outcome column; may be repeated.")]
Covariates = Annotated[list[str] | None, typer.Option(help="Covariate column; may be repeated.")]
Latex = Annotated[bool, typer.Option("--latex", help="Print LaTeX.")]
Plan = Annotated[Path, typer.Option(help="What to estimate; its folder takes the files that are written.")]
Design = Annotated[str | None, typer.Option(help="Another design in the headline's place.")]
Jobs = Annotated[
    int, typer.Option(callback=_processes, help="Processes; -1 is all cores. Results do not depend on it.")
]
Cache = Annotated[
    Path | None,
    typer.Option(
        help="Folder of finished estimates and fits, from which an interrupted run goes on. If not given, build/cache "
        "where the plan is; without a plan, the user's cache."
    ),
]


PeriodUnit = Annotated[
    str | None,
    typer.Option(
        help="What periods are counted in where they are no consecutive whole numbers: year, quarter, month, week "
        "or day of dates, or rank of whatever has an order."
    ),
]
Never = Annotated[
    str | None,
    typer.Option(help="What stands for never treated among event dates, besides an empty cell, 0 and Inf."),
]


@dataclass(frozen=True)
class OfColumns:
    """What the columns of a file of one's own are for; those that are not named are taken from their own names.

    Attributes
    ----------
    unit : str
        Unit column.
    time : str
        Period column.
    first_treated : list of str, optional
        Column of first treated periods; may be repeated.
    treatment : list of str, optional
        Column of 0/1 treatment; may be repeated.
    attribute : list of str, optional
        Label column; may be repeated.
    """

    unit: str = ""
    time: str = ""
    outcome: Outcomes = None
    first_treated: list[str] | None = None
    treatment: list[str] | None = None
    covariate: Covariates = None
    attribute: list[str] | None = None
    period: PeriodUnit = None
    never: Never = None

    @property
    def roles(self) -> dict[str, Any]:
        """The columns that are named, by role."""
        roles = {"unit": self.unit, "time": self.time, "outcomes": self.outcome}
        roles |= {"first_treated": self.first_treated, "treatment": self.treatment}
        roles |= {"covariates": self.covariate, "attributes": self.attribute}
        return {role: columns for role, columns in roles.items() if columns}

    @property
    def how(self) -> dict[str, Any]:
        """How its periods are read."""
        return {name: value for name in ("period", "never") if (value := getattr(self, name)) is not None}

    def plan(self, panel: Path | None, plan: Path) -> plans.Plan:
        """Return the plan, or one for a panel of one's own where a file of it is named."""
        from study.paper import plan_of, read_plan

        if panel is None:
            if self != OfColumns():
                raise QuestionError("options about columns go with --panel; a plan names its own.")
            return read_plan(plan)
        return plan_of(tomllib.loads(self.plan_text(panel)), panel.name, panel.parent)

    def plan_text(self, panel: Path, beside: Path | None = None) -> str:
        """Return the plan of a file, which names it as seen from a folder, or by its whole path."""
        from study.panel.files import read_as_panel
        from study.paper import plan_text

        whole = panel.resolve()
        named = whole if beside is None else Path(os.path.relpath(whole, beside.resolve()))
        return plan_text(read_as_panel(panel, self.roles, **self.how), named.as_posix(), self.how)


OwnPanel = Annotated[
    Path | None,
    typer.Option(
        help="Instead of a plan, a file of your own panel, asked as the plan of study init would ask it."
    ),
]


@dataclass(frozen=True)
class OfPanel:
    """Which panel a command reads, and which of its columns.

    Attributes
    ----------
    panel : str
        A shipped panel's name, or a file of a long table: CSV, Parquet, Feather, Stata or Excel.
    unit : str
        Unit column of a file.
    time : str
        Period column of a file.
    treatment : bool
        The event column is 0/1 by period.
    ambiguous : str
        With --treatment, units whose treatment is not observed when it may have started: drop, or date them by the
        earliest or latest possible period.
    cluster : str, optional
        Column to cluster by; the unit where none is given.
    instrument : str, optional
        Covariate column that moves units into treatment.
    """

    panel: str = "cvpr"
    unit: str = "unit"
    time: str = "time"
    treatment: bool = False
    ambiguous: str = "drop"
    covariate: Covariates = None
    cluster: str | None = None
    instrument: str | None = None
    period: PeriodUnit = None
    never: Never = None

    def read(self, outcomes: Sequence[str], question: Question) -> Panel:
        """Return a shipped panel, or the columns of a file that the question needs."""
        from study.panel import Panel, load_panel, panel_entries, terms_in

        path = Path(self.panel)
        # A slip of a shipped panel's name is not that of a file.
        is_file = os.path.isfile(path) or bool(path.suffix) or path.name != self.panel
        if self.panel in panel_entries() or not is_file:
            return load_panel(self.panel)
        has_role = {*outcomes, question.event}
        in_rule = [term for term in terms_in(question.population) if term.name not in has_role]
        labels = [term.name for term in in_rule if term.sign in ("=", "!=")]
        numbers = [term.name for term in in_rule if term.sign not in ("=", "!=")]
        return Panel.from_long(
            self.panel,
            unit=self.unit,
            time=self.time,
            treatment=question.event if self.treatment else (),
            first_treated=() if self.treatment else question.event,
            outcomes=outcomes,
            covariates=_once(*question.covariates, question.instrument, *numbers),
            attributes=_once(question.cluster, *labels),
            ambiguous=self.ambiguous,  # type: ignore[arg-type]  # checked there
            period=self.period,  # type: ignore[arg-type]  # checked there
            never=self.never,
        )


@dataclass(frozen=True)
class OfQuestion:
    """What a command asks of a panel, beside outcome, event and scale.

    Attributes
    ----------
    population : str
        all, a population of the panel, or a rule such as country=US and tier!=1 paper.
    comparison : str
        not_yet_treated or never_treated.
    base : str
        universal or varying.
    missing : str
        pairs, balanced or cells.
    anticipation : int
        Periods of anticipation.
    lag : int
        Periods by which the event is moved later.
    horizon : int, optional
        Last event time in the average.
    min_cohort_size : int, optional
        Smaller cohorts are dropped and counted.
    """

    population: str = "all"
    comparison: str = "not_yet_treated"
    base: str = "universal"
    missing: str = "pairs"
    anticipation: int = 0
    lag: int = 0
    horizon: int | None = None
    min_cohort_size: int | None = None

    def read(self, command: str, outcome: str, event: str, scale: str, source: OfPanel) -> Question:
        """Return the question that the options of a command ask."""
        from study.panel import Question

        named = {"outcome": outcome, "event": event, "scale": scale, "cluster": source.cluster}
        moved = {"covariates": tuple(source.covariate or ()), "instrument": source.instrument}
        return Question.from_dict(named | moved | vars(self), command)


def spread(command: Callable[..., None]) -> Callable[..., None]:
    """Make a function a command, whose options' help is what its docstring says of them.

    Each field of its dataclasses of options is an option of it. Parameters by keyword alone are options, others are
    arguments; one that commands share brings its help with its type.
    """
    own = inspect.signature(command, eval_str=True)
    beginning, help_of = _described(command)
    groups: dict[str, Any] = {
        name: p.annotation for name, p in own.parameters.items() if is_dataclass(p.annotation)
    }
    inside = {name: inspect.signature(group, eval_str=True).parameters for name, group in groups.items()}
    parameters: list[inspect.Parameter] = []
    for name, parameter in own.parameters.items():
        if name in groups:
            texts = _described(groups[name])[1]
            fields = [field.replace(kind=inspect.Parameter.KEYWORD_ONLY) for field in inside[name].values()]
            parameters += [_with_help(field, texts) for field in fields]
        else:
            parameters.append(_with_help(parameter, help_of))

    @wraps(command)
    def called(**given: Any) -> None:
        for name, group in groups.items():
            given[name] = group(**{option: given.pop(option) for option in inside[name]})
        command(**given)

    called.__doc__ = beginning
    called.__signature__ = own.replace(parameters=parameters)  # type: ignore[attr-defined]  # which typer reads
    return called


def _described(documented: Any) -> tuple[str, dict[str, str]]:
    """Return what a docstring says before its list of parameters or attributes, and of each of these."""
    beginning, *entries = re.split(
        r"\n\n(?:Parameters|Attributes)\n-+\n", inspect.getdoc(documented) or "", maxsplit=1
    )
    texts = re.findall(r"^(\w+) : .*\n((?: +.*\n?)+)", "".join(entries), re.MULTILINE)
    return beginning, {name: " ".join(text.split()) for name, text in texts}


def _with_help(parameter: inspect.Parameter, texts: Mapping[str, str]) -> inspect.Parameter:
    """Return a parameter as typer reads it, with its text as its help where there is one."""
    name, kind = parameter.name, parameter.annotation
    if name not in texts:
        return parameter
    make: Any = typer.Option if parameter.kind is inspect.Parameter.KEYWORD_ONLY else typer.Argument
    flags = [f"--{name.replace('_', '-')}"] if kind is bool else []
    return parameter.replace(annotation=Annotated[kind, make(*flags, help=texts[name])])


def list_written(paths: Sequence[Path]) -> None:
    """Print the paths of files that a command has written."""
    typer.echo("Files written:")
    for path in paths:
        typer.echo(f"  {as_typed(path)}")


def read_options(given: Sequence[str]) -> dict[str, Any]:
    """Return options that are given as NAME=VALUE, with numbers and true or false as what they are."""
    options: dict[str, Any] = {}
    for pair in given:
        name, equals, value = pair.partition("=")
        if not equals or not name:
            raise QuestionError(f'--option: "{pair}" is no option; write NAME=VALUE, for example folds=5.')
        try:
            options[name] = tomllib.loads(f"value = {value}")["value"]
        except tomllib.TOMLDecodeError:
            options[name] = value
    return options


def _once(*names: str | None) -> list[str]:
    return list(dict.fromkeys(name for name in names if name is not None))
