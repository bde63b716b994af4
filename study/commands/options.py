"""Options that commands share, as what they ask of which panel, and the help of those that are a command's own."""

from __future__ import annotations

import csv
import inspect
import os
import re
import tomllib
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, is_dataclass
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from study.core import QuestionError, StudyError, as_typed, write_all
from study.panel.shipped import shipped

if TYPE_CHECKING:
    from study.core.settings import Settings
    from study.figures import Figure
    from study.panel import LargePanel, Panel, Question
    from study.paper import plan as plans

DEFAULT_PLAN = Path("paper") / "study.toml"
# What functions call what an option of another name gives them.
ARGUMENTS = {
    "outcomes": "outcome",
    "covariates": "covariate",
    "designs": "design",
    "budget": "grants",
    "prior_name": "prior",
}
ENDINGS = {
    ".txt": "text",
    ".tex": "latex",
    ".html": "html",
    ".htm": "html",
    ".md": "md",
    ".csv": "csv",
    ".json": "json",
}


def plan_of(path: Path = DEFAULT_PLAN) -> Path:
    """Return a plan, or the one that ships where this folder has no paper/study.toml and none is named."""
    return path if path != DEFAULT_PLAN or path.is_file() else shipped(*DEFAULT_PLAN.parts)


def folder_of_paper(plan: Path) -> Path:
    """Return where the files of a plan are written: beside it, or ./paper for the plan that ships."""
    resolved = plan.resolve()
    return DEFAULT_PLAN.parent if resolved == shipped(*DEFAULT_PLAN.parts).resolve() else resolved.parent


def _processes(jobs: int) -> int:
    """Refuse a number of processes that nothing could be done in."""
    if jobs == 0:
        raise QuestionError("--jobs is 0; give a number of processes, or -1 for all cores.")
    return jobs


def _names(param: typer.CallbackParam, given: list[str] | None) -> list[str] | None:
    """Return the names of an option that is repeated or has commas; quotes keep the comma of a name."""
    if not given:
        return None
    names = [name.strip() for row in csv.reader(given, skipinitialspace=True) for name in row or [""]]
    option = param.opts[0]
    for name in names:
        if not name:
            raise QuestionError(
                f"{option} is empty or has an empty name; give names with commas between them."
            )
        if names.count(name) > 1:
            raise QuestionError(f'{option}: "{name}" is named twice; name it once.')
    return names


def _text_or_json(format: str) -> str:
    """Refuse another format than these two."""
    from study.core import refuse_unknown

    refuse_unknown("format", format, ("text", "json"), "--format")
    return format


def _design_names(incomplete: str) -> list[str]:
    """Return the designs whose names begin so, for the shell to complete."""
    from study.designs import all_designs

    return [name for name in all_designs() if name.startswith(incomplete)]


def _several(text: str, *flags: str, **more: Any) -> Any:
    """Return an option that takes several names."""
    return typer.Option(
        *flags, **more, callback=_names, help=f"{text}; several with commas, or repeat the option."
    )


def _drawable(plot: Path | None) -> Path | None:
    """Refuse a figure's file whose ending no figure is written with."""
    from study.figures.drawing import DATED

    if plot is not None and plot.suffix.lower().removeprefix(".") not in DATED:
        raise QuestionError(f"--plot {plot}: a figure is a .pdf, .png or .svg file; name one.")
    return plot


EVENT = typer.Option(help="Event: a column of first treated periods, or of 0/1 treatment.")
Scale = Annotated[str, typer.Option(help="level, log1p or proportional.")]
Outcome = Annotated[list[str], _several("Outcome column", "--outcome", "--outcomes")]
Outcomes = Annotated[list[str] | None, _several("Outcome column", "--outcome", "--outcomes")]
Covariates = Annotated[
    list[str] | None, _several("Covariate column, of numbers or labels", "--covariate", "--covariates")
]
Designs = Annotated[
    list[str] | None,
    _several("Design, see study designs", "--design", "--designs", autocompletion=_design_names),
]
NameOfDesign = Annotated[str | None, typer.Argument(help="One design.", autocompletion=_design_names)]
TextOrJson = Annotated[str, typer.Option("--format", callback=_text_or_json, help="text or json.")]
Scales = Annotated[list[str] | None, _several("level, log1p or proportional", "--scale", "--scales")]
Level = Annotated[float, typer.Option(help="Of confidence intervals.")]
Plot = Annotated[
    Path | None, typer.Option(callback=_drawable, help="File of the figure: .pdf, .png or .svg.")
]
_PLAN = (
    "What to estimate; its folder takes the files that are written. If there is none here, the paper's as it ships, "
    "whose files go to ./paper."
)
Plan = Annotated[Path, typer.Option(callback=plan_of, help=_PLAN)]
EitherPlan = Annotated[Path | None, typer.Option(help=_PLAN)]
Design = Annotated[str | None, typer.Option(help="Another design in the headline's place.")]
TermsShown = Annotated[
    str,
    typer.Option(
        help="What is shown of an estimate: average (the question's), or a line an event_time, cohort or period."
    ),
]
Labels = Annotated[
    list[str] | None,
    typer.Option(
        "--label",
        help="What an outcome, event, design, cluster, covariate or scale is called, as NAME=WORDS, for example "
        'papers="Papers a year"; also unit and units. May be repeated.',
    ),
]
Draws = Annotated[int, typer.Option(help="Draws of the test that the designs agree.")]
Seed = Annotated[int, typer.Option(help="Seed of whatever is drawn at random.")]
Jobs = Annotated[
    int, typer.Option(callback=_processes, help="Processes; -1 is all cores. Results do not depend on it.")
]
Backend = Annotated[
    str,
    typer.Option(help="loky, processes of this machine, or dask, the workers of the cluster at --address."),
]
Address = Annotated[
    str | None, typer.Option(help="Of the scheduler of a dask cluster, for example tcp://10.0.0.1:8786.")
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
Ambiguous = Annotated[
    str,
    typer.Option(
        help="Of 0/1 treatment, units whose treatment is not observed when it may have started: drop, or date them by "
        "the earliest or latest possible period."
    ),
]


@dataclass(frozen=True)
class OfColumns:
    """What the columns of a file of one's own are for; those that are not named are taken from their own names.

    Attributes
    ----------
    unit : str
        Unit column of a file.
    time : str
        Period column of a file.
    first_treated : list of str, optional
        Column of first treated periods; several with commas, or repeat the option.
    treatment : list of str, optional
        Column of 0/1 treatment; several with commas, or repeat the option.
    doses : list of str, optional
        Column with the amount of treatment by period; several with commas, or repeat the option.
    group_column : str, optional
        Column of groups within units, where a row is of a unit, group and period.
    attribute : list of str, optional
        Label column; several with commas, or repeat the option.
    """

    unit: str = ""
    time: str = ""
    outcome: Outcomes = None
    first_treated: list[str] | None = None
    treatment: list[str] | None = None
    doses: list[str] | None = None
    group_column: str | None = None
    covariate: Covariates = None
    attribute: list[str] | None = None
    period: PeriodUnit = None
    never: Never = None
    ambiguous: Ambiguous = "drop"

    @property
    def roles(self) -> dict[str, Any]:
        """The columns that are named, by role."""
        roles = {"unit": self.unit, "time": self.time, "outcomes": self.outcome}
        roles |= {"first_treated": self.first_treated, "treatment": self.treatment}
        roles |= {"covariates": self.covariate, "attributes": self.attribute, "doses": self.doses}
        roles |= {"group": self.group_column}
        return {role: columns for role, columns in roles.items() if columns}

    @property
    def how(self) -> dict[str, Any]:
        """How its periods are read."""
        how = {name: getattr(self, name) for name in ("period", "never", "ambiguous")}
        return {name: value for name, value in how.items() if value != getattr(type(self), name)}

    def plan(self, panel: Path | None, plan: Path) -> plans.Plan:
        """Return the plan, or one for a panel of one's own where a file of it is named."""
        from study.paper import plan_from, read_plan

        if panel is None:
            if self != OfColumns():
                raise QuestionError("options about columns go with --panel; a plan names its own.")
            return read_plan(plan)
        return plan_from(tomllib.loads(self.plan_text(panel)), panel.name, panel.parent)

    def plan_text(self, panel: Path, beside: Path | None = None) -> str:
        """Return the plan of a file, which names it as seen from a folder, or by its whole path."""
        from study.panel.files import read_as_panel
        from study.paper import plan_text

        whole = panel.resolve()
        named = whole if beside is None else Path(os.path.relpath(whole, beside.resolve()))
        return plan_text(read_as_panel(panel, self.roles, **self.how), named.as_posix(), self.how)


@dataclass(frozen=True)
class OfWork:
    """Where work is done: in processes of this machine, or by a cluster."""

    jobs: Jobs = -1
    backend: Backend = "loky"
    address: Address = None

    def settings(self, **more: Any) -> AbstractContextManager[Settings]:
        """Return the settings of the work, and others."""
        from study.core import settings

        return settings(**vars(self), **more)


OwnPanel = Annotated[
    Path | None,
    typer.Option(
        help="Instead of a plan, a file of your own panel, asked as the plan of study init would ask it."
    ),
]


# Why an option is refused beside a question of the plan.
OF_PANEL_ALONE = "goes with --outcome and --event, not with a question of the plan"
# Options about how a file is read, which a panel that ships has no use for.
OF_FILE = ("unit", "time", "ambiguous", "period", "never", "group_column")


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
    levels : bool
        The event column is an amount of treatment by period.
    group_column : str, optional
        Column of groups within units, where a row is of a unit, group and period.
    cluster : str, optional
        Column to cluster by; the unit where none is given.
    instrument : list of str, optional
        Covariate column that moves units into treatment; several with commas, or repeat the option.
    dose : str, optional
        Column with the amount of treatment, which is taken in the first treated period.
    group : str, optional
        A rule, such as field=ml, for the units that treatment is for; the others are the third difference.
    """

    panel: str = "cvpr"
    unit: str = "unit"
    time: str = "time"
    treatment: bool = False
    levels: bool = False
    group_column: str | None = None
    covariate: Covariates = None
    period: PeriodUnit = None
    never: Never = None
    ambiguous: Ambiguous = "drop"
    cluster: str | None = None
    instrument: list[str] | None = None
    dose: str | None = None
    group: str | None = None

    def read(self, outcomes: Sequence[str], question: Question) -> Panel:
        """Return a shipped panel, or the columns of a file that the question needs."""
        from study.panel import load_panel, panel_entries, panel_for
        from study.panel.tables import several_files

        path = Path(self.panel)
        # A slip of a shipped panel's name is not that of a file.
        is_file = os.path.isfile(path) or bool(path.suffix) or path.name != self.panel
        is_file = is_file or (bool(path.name) and several_files(path))
        if self.panel not in panel_entries() and is_file:
            columns: dict[str, Any] = {name.removesuffix("_column"): getattr(self, name) for name in OF_FILE}
            event: dict[str, bool] = {"path": self.treatment, "levels": self.levels}
            return panel_for(question, self.panel, outcomes, **event, **columns)
        panel = load_panel(self.panel)
        for name in ("treatment", "levels", *OF_FILE):
            if getattr(self, name) != getattr(type(self), name):
                raise QuestionError(
                    f"{flag(name)} is about a file; {self.panel} ships, so leave it out or name --panel."
                )
        return panel


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
    balance : int, optional
        Effects by event time of the cohorts that are seen up to this one only.
    min_cohort_size : int, optional
        Smaller cohorts are dropped and counted.
    cohort_width : int
        Adoption periods pooled into one cohort.
    weights : str, optional
        Covariate column whose first observed value weights the units.
    average : str
        The headline: event_average, treated_average, cohort_average or calendar_average.
    """

    population: str = "all"
    comparison: str = "not_yet_treated"
    base: str = "universal"
    missing: str = "pairs"
    anticipation: int = 0
    lag: int = 0
    horizon: int | None = None
    balance: int | None = None
    min_cohort_size: int | None = None
    cohort_width: int = 1
    weights: str | None = None
    average: str = "event_average"

    def read(self, command: str, outcome: str, event: str, scale: str, source: OfPanel) -> Question:
        """Return the question that the options of a command ask."""
        from study.panel import Question

        named = {"outcome": outcome, "event": event, "scale": scale, "cluster": source.cluster}
        moved = {"covariates": tuple(source.covariate or ()), "dose": source.dose, "group": source.group}
        moved["instrument"] = tuple(source.instrument) if source.instrument else None
        return Question.from_dict(named | moved | vars(self), command)


@dataclass(frozen=True)
class OfPlot:
    """The figure of an answer.

    Attributes
    ----------
    title : str, optional
        Heading of the figure.
    window : tuple of int, optional
        First and last event time on the figure, for example -4 6; without it study compare draws averages.
    """

    plot: Plot = None
    title: str | None = None
    label: Labels = None
    window: tuple[int, int] | None = None

    def words(self, panel: Panel | LargePanel, who: str) -> dict[str, str]:
        """Return the labels; refuse one of what is not in the panel."""
        from study.panel import Panel
        from study.report import check_labels

        given = labels(self.label)
        if isinstance(panel, Panel):  # an engine has refused before it read
            check_labels(given, panel, (panel.period_unit,), who)
        return given

    def drawn(self, drawing: Callable[..., Figure], *what: Any, **how: Any) -> Figure | None:
        """Return the figure of an answer, where one is asked for."""
        return drawing(*what, title=self.title, **how) if self.plot else None

    def write(self, figure: Figure | None) -> None:
        """Write a figure to the file as its ending says, and print where it is."""
        from study.figures import drawn

        if figure and self.plot:
            content = drawn(figure, self.plot.suffix.lower().removeprefix("."))
            (written,) = write_all(self.plot.parent, {self.plot.name: content})
            typer.echo(f"Written: {as_typed(written)}")

    def check(self) -> None:
        """Refuse what is said of a figure where none is asked for."""
        for name, value in vars(self).items():
            if value is not None and self.plot is None:
                raise QuestionError(f"--{name} is about a figure; add --plot FILE.")


@dataclass(frozen=True)
class OfOutput:
    """Where an answer goes, and how it is written.

    Attributes
    ----------
    output : Path, optional
        File to write, instead of printing; its ending (.txt, .tex, .html, .md, .csv, .json) says the format.
    format : str, optional
        text, latex, html, md, csv or json; text if neither this nor --output says it.
    latex : bool
        As --format latex.
    """

    output: Path | None = None
    format: str | None = None
    latex: bool = False

    def chosen(self, who: str) -> str:
        """Return the format; refuse one that there is not."""
        from study.core import refuse_unknown

        ending = self.output.suffix.lower() if self.output else ".txt"
        format = "latex" if self.latex and self.format is None else self.format
        if format is None:
            refuse_unknown("format for the ending", ending, ENDINGS, who)
            return ENDINGS[ending]
        refuse_unknown("format", format, ENDINGS.values(), who)
        return format

    def give(self, text: str) -> None:
        """Print an answer, or write it to the file."""
        if self.output is None:
            typer.echo(text.rstrip("\n"))
            return
        (written,) = write_all(self.output.parent, {self.output.name: f"{text.rstrip()}\n".encode()})
        typer.echo(f"Written: {as_typed(written)}")


def as_options(message: str, names: Collection[str]) -> str:
    """Return a message with the arguments that it names as options of a command, which has these names.

    ``Question: min_cohort_size is 0`` is about ``--min-cohort-size``; ``scale="level"`` is ``--scale level``.
    """
    by_argument = {name: flag(name) for name in names}
    by_argument |= {argument: by_argument[name] for argument, name in ARGUMENTS.items() if name in names}
    known = "|".join(by_argument)
    if "event" in names:
        message = re.sub(r'give it as treatment="[^"]*"', "add --treatment", message)
        message = re.sub(r'give it as first_treated="[^"]*"', "leave out --treatment", message)
    message = re.sub(rf"^[\w. ]+: ({known}) is(?= ['\d-])", lambda m: f"{by_argument[m[1]]} is", message)
    message = re.sub(
        rf"^(?:Question|LargePanel.from_parquet): (there is no ({known}) )",
        lambda m: f"{by_argument[m[2]]}: {m[1]}",
        message,
    )
    if "memory_limit" in names:
        message = re.sub(r"\bmemory_limit\b", by_argument["memory_limit"], message)
    message = re.sub(rf"Question\(({known})=\.\.\.\)", lambda m: by_argument[m[1]], message)
    message = re.sub(r"\bwith (\w+_\w+)", lambda m: f"with {by_argument.get(m[1], m[1])}", message)
    value = rf'\b({known})=(?:"([^"]*)"|(-?\d+)|(?=[\s.,;]|$))'
    return re.sub(value, lambda m: " ".join(filter(None, [by_argument[m[1]], m[2], m[3]])), message)


# Options that stand first and last in every command, in this order.
FIRST = ("plan", "panel", "unit", "time", "outcome", "event")
LAST = (
    "engine", "memory_limit", "temp", "limit", "jobs", "backend", "address", "cache", "output", "format", "latex",
    "standalone", "plot", "title", "label", "window",
)  # fmt: skip


def flag(name: str) -> str:
    """Return how an option is typed."""
    return f"--{name.replace('_', '-')}"


def _place(parameter: inspect.Parameter) -> int:
    """Return where a parameter stands among a command's: arguments, then options first, in between and last."""
    if parameter.kind is not inspect.Parameter.KEYWORD_ONLY:
        return -1
    if parameter.name in FIRST:
        return FIRST.index(parameter.name)
    return len(FIRST) + (1 + LAST.index(parameter.name) if parameter.name in LAST else 0)


def spread(command: Callable[..., None]) -> Callable[..., None]:
    """Make a function a command, whose options' help is what its docstring says of them.

    Each field of its dataclasses of options is an option of it. Parameters by keyword alone are options, others are
    arguments; one that commands share brings its help with its type.
    """
    own = inspect.signature(command, eval_str=True)
    beginning, help_of = described(command)
    groups: dict[str, Any] = {
        name: p.annotation for name, p in own.parameters.items() if is_dataclass(p.annotation)
    }
    inside = {name: inspect.signature(group, eval_str=True).parameters for name, group in groups.items()}
    parameters: list[inspect.Parameter] = []
    for name, parameter in own.parameters.items():
        if name in groups:
            texts = described(groups[name])[1]
            fields = [field.replace(kind=inspect.Parameter.KEYWORD_ONLY) for field in inside[name].values()]
            parameters += [_with_help(field, texts) for field in fields]
        else:
            parameters.append(_with_help(parameter, help_of))

    parameters.sort(key=_place)

    @wraps(command)
    def called(**given: Any) -> None:
        for name, group in groups.items():
            given[name] = group(**{option: given.pop(option) for option in inside[name]})
        try:
            command(**given)
        except StudyError as error:
            raise type(error)(as_options(str(error), [parameter.name for parameter in parameters])) from error

    called.__doc__ = beginning
    called.__signature__ = own.replace(parameters=parameters)  # type: ignore[attr-defined]  # which typer reads
    return called


def described(documented: Any) -> tuple[str, dict[str, str]]:
    """Return what a docstring says before its list of parameters or attributes, and of each of these."""
    beginning, *entries = re.split(
        r"\n\n(?:Parameters|Attributes)\n-+\n", inspect.getdoc(documented) or "", maxsplit=1
    )
    texts = re.findall(r"^([\w, ]+) : .*\n((?: +.*\n?)+)", "".join(entries), re.MULTILINE)
    return beginning, {name: " ".join(text.split()) for names, text in texts for name in names.split(", ")}


def _with_help(parameter: inspect.Parameter, texts: Mapping[str, str]) -> inspect.Parameter:
    """Return a parameter as typer reads it, with its text as its help where there is one."""
    name, kind = parameter.name, parameter.annotation
    if name not in texts:
        return parameter
    make: Any = typer.Option if parameter.kind is inspect.Parameter.KEYWORD_ONLY else typer.Argument
    flags = [flag(name)] if kind is bool else []
    # An option of a design may have a list for its value.
    several = {"callback": _names} if kind == list[str] | None and name != "option" else {}
    return parameter.replace(annotation=Annotated[kind, make(*flags, **several, help=texts[name])])


def refuse_beside(context: typer.Context, allowed: Collection[str], who: str, why: str) -> None:
    """Refuse an option that the user has given and that is not among some."""
    for name in context.params:
        came = context.get_parameter_source(name)
        if name not in allowed and came is not None and came.name == "COMMANDLINE":
            raise QuestionError(f"{who}: {flag(name)} {why}.")


def labels(given: Sequence[str] | None) -> dict[str, str]:
    """Return labels that are given as NAME=WORDS."""
    pairs = [text.partition("=") for text in given or ()]
    for name, equals, words in pairs:
        if not (name and equals and words):
            raise QuestionError(
                f'--label {name}{equals}: write NAME=WORDS, for example papers="Papers a year".'
            )
    return {name: words for name, _, words in pairs}


def numbers(option: str, given: Sequence[str]) -> tuple[float, ...]:
    """Return numbers that are given as texts."""
    try:
        return tuple(map(float, given))
    except ValueError as error:
        raise QuestionError(f"{option}: {error}; give numbers with commas between them.") from error


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
            options[name] = {"True": True, "False": False}.get(value, value)
    return options
