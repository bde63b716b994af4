"""Options that several commands share, with their help texts and their panels in the help."""

from __future__ import annotations

import csv
import inspect
import os
import re
import tomllib
from collections import ChainMap
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from copy import copy
from dataclasses import dataclass, fields, is_dataclass, replace
from functools import wraps
from pathlib import Path
from shlex import quote
from tempfile import TemporaryDirectory
from typing import Annotated, Any, get_args, get_origin

import typer

from study import core, figures, inference, paper, report
from study import panel as panels
from study.core import OutputError, QuestionError, Steps, StudyError, as_typed, progress_bar, write_all
from study.panel import shipped

DEFAULT_PLAN = Path("paper") / "study.toml"
# What functions call what an option of another name gives them.
ARGUMENTS = {
    "outcomes": "outcome",
    "covariates": "covariate",
    "attributes": "attribute",
    "designs": "design",
    "budget": "grants",
    "prior_name": "prior",
    "repetitions": "reps",
    "slow_repetitions": "slow_reps",
}
ENDINGS = {".txt": "text", ".tex": "latex", ".htm": "html"}
ENDINGS |= {f".{kind}": kind for kind in ("html", "md", "csv", "json")}
ENGINES = ("duckdb",)
# Options of a panel that need more of it than an engine adds up.
OF_ROWS = ("levels", "dose", "instrument", "group", "group_column")


def plan_of(path: Path = DEFAULT_PLAN) -> Path:
    """Return a plan, or the one that ships where this folder has no paper/study.toml and none is named."""
    return path if path != DEFAULT_PLAN or path.is_file() else shipped(*DEFAULT_PLAN.parts)


def folder_of_paper(plan: Path) -> Path:
    """Return where the files of a plan are written: beside it, or ./paper for the plan that ships."""
    resolved = plan.resolve()
    return DEFAULT_PLAN.parent if resolved == shipped(*DEFAULT_PLAN.parts).resolve() else resolved.parent


def build_of(plan: Path | None) -> Path:
    """Return where all else than a plan's paper is written: build beside the folder paper, or beside a plan elsewhere.

    Without a plan it is here, as it is for the one that ships.
    """
    home = Path() if plan is None else folder_of_paper(plan)
    return (home.parent if home.name == "paper" else home) / "build"


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


def in_quotes(name: str) -> str:
    """Return a name as options that take several read it: in quotes where it has a comma."""
    return f'"{name}"' if "," in name else name


def _text_or_json(format: str) -> str:
    """Refuse another format than these two."""
    core.refuse_unknown("format", format, ("text", "json"), "--format")
    return format


def _design_names(incomplete: str) -> list[str]:
    """Return the designs whose names begin so, for the shell to complete."""
    from study.designs import all_designs

    return [name for name in all_designs() if name.startswith(incomplete)]


def _several(text: str, *flags: str, **more: Any) -> Any:
    """Return an option that takes several names."""
    return typer.Option(*flags, **more, callback=_names, help=f"{text} Separate several with commas.")


EVENT = typer.Option(help="Event column: first treated period, or 0/1 treatment with --binary.")
_SCALE = "Scale of the effect: level, log1p or proportional."
Scale = Annotated[str, typer.Option(help=_SCALE)]
_COMMA = """Quote a name that contains a comma: '"a,b"'."""
_OUTCOME = _several(f"Outcome column. {_COMMA}", "--outcome", "--outcomes")
Outcome = Annotated[list[str], _OUTCOME]
Outcomes = Annotated[list[str] | None, _OUTCOME]
Covariates = Annotated[
    list[str] | None,
    _several(f"Covariate column, numeric or categorical. {_COMMA}", "--covariate", "--covariates"),
]
Designs = Annotated[
    list[str] | None,
    _several("Name of a design; see study designs.", "--design", "--designs", autocompletion=_design_names),
]
NameOfDesign = Annotated[str | None, typer.Argument(help="Name of a design.", autocompletion=_design_names)]
TextOrJson = Annotated[str, typer.Option("--format", callback=_text_or_json, help="Format: text or json.")]
Scales = Annotated[list[str] | None, _several(_SCALE, "--scale", "--scales")]
_PLAN = (
    "Plan of the analysis (TOML). Results are written to its folder. Default without such a file: the shipped plan of "
    "the paper, with results in ./paper."
)
Plan = Annotated[Path, typer.Option(callback=plan_of, help=_PLAN)]
EitherPlan = Annotated[Path | None, typer.Option(help=_PLAN)]
Design = Annotated[str | None, typer.Option(help="Design to use instead of the plan's headline design.")]
_VCOV = (
    "Covariance estimator of the standard errors: jackknife, bell_mccaffrey, pooled, CR0, CR1, CR1_fixest or CR1_areg; "
    "for iv and panel_ols also those of linearmodels, such as twoway."
)
Vcov = Annotated[str, typer.Option(help=_VCOV)]
PlanVcov = Annotated[str | None, typer.Option(help=_VCOV)]
Cache = Annotated[
    Path | None,
    typer.Option(
        help="Cache folder; an interrupted run resumes from it. Default: build/cache of the plan, or the user's cache "
        "without a plan."
    ),
]


@dataclass(frozen=True)
class OfFile:
    """How a file of a panel is read.

    Attributes
    ----------
    unit : str
        Unit column of the file.
    time : str
        Period column of the file.
    group_column : str, optional
        Group column, for a file with one row per unit, group and period.
    period : str, optional
        Time unit of dates: year, quarter, month, week or day; rank for any other ordered values. Not needed for
        consecutive integers.
    never : str, optional
        Value of never-treated units in event columns, in addition to empty, 0 and Inf.
    ambiguous : str
        Units whose 0/1 treatment is missing when it may have started: drop, or use the earliest or latest possible
        period.
    """

    unit: str = ""
    time: str = ""
    group_column: str | None = None
    period: str | None = None
    never: str | None = None
    ambiguous: str = "drop"


@dataclass(frozen=True)
class OfColumns(OfFile):
    """Roles of the columns of the user's file; roles that are not named follow from the column names.

    Attributes
    ----------
    first_treated : list of str, optional
        Column with the first treated period. Separate several with commas.
    treatment : list of str, optional
        Column with 0/1 treatment. Separate several with commas.
    doses : list of str, optional
        Column with the amount of treatment by period. Separate several with commas.
    attribute : list of str, optional
        Column with a time-constant label, such as the country. Separate several with commas.
    """

    outcome: Outcomes = None
    first_treated: list[str] | None = None
    treatment: list[str] | None = None
    doses: list[str] | None = None
    covariate: Covariates = None
    attribute: list[str] | None = None

    @property
    def roles(self) -> dict[str, Any]:
        """The named columns, by role."""
        named = ARGUMENTS | {"group": "group_column"}
        roles = {role.name: getattr(self, named.get(role.name, role.name)) for role in fields(panels.Roles)}
        return {role: columns for role, columns in roles.items() if columns}

    @property
    def how(self) -> dict[str, Any]:
        """Options for reading periods that differ from their defaults."""
        how = {name: getattr(self, name) for name in ("period", "never", "ambiguous")}
        return {name: value for name, value in how.items() if value != getattr(type(self), name)}

    def plan(self, panel: Path | None, plan: Path) -> paper.Plan:
        """Return the plan, or one for a panel of one's own where a file of it is named."""
        if panel is None:
            if self != OfColumns():
                raise QuestionError("options about columns go with --panel; a plan names its own.")
            return paper.read_plan(plan)
        if plan != plan_of():
            raise QuestionError(
                f"--plan {plan} goes without a file of your own, which has a plan made for it."
            )
        return paper.plan_from(tomllib.loads(self.plan_text(panel)), panel.name, panel.parent)

    def plan_text(self, panel: Path, beside: Path | None = None) -> str:
        """Return the plan of a file, which names it as seen from a folder, or by its absolute path."""
        absolute = panel.resolve()
        named = absolute if beside is None else Path(os.path.relpath(absolute, beside.resolve()))
        reading = panels.read_as_panel(panel, self.roles, **self.how)
        return paper.plan_text(reading, named.as_posix(), self.how)


@dataclass(frozen=True)
class OfWorkers:
    """Execution settings: number of worker processes, and the cluster.

    Attributes
    ----------
    jobs : int
        Number of worker processes; -1 uses all cores. Results do not depend on it.
    backend : str
        Backend of the workers: loky (this machine) or dask (the cluster at --address).
    address : str, optional
        Address of the dask scheduler, for example tcp://10.0.0.1:8786.
    """

    jobs: int = -1
    backend: str = "loky"
    address: str | None = None

    def __post_init__(self) -> None:
        """Raise if the number of worker processes is invalid."""
        core.check("settings", {"jobs": int}, {"jobs": self.jobs})

    def settings(self, **more: Any) -> AbstractContextManager[Any]:
        """Return the settings of these workers, and others."""
        return core.settings(**vars(self), **more)

    @contextmanager
    def doing(self, what: str, **more: Any) -> Iterator[None]:
        """Show how far these workers are with something, under these and other settings."""
        with progress_bar() as progress, self.settings(progress=Steps(progress, None, what), **more):
            yield

    def learning(self, designs: Sequence[str] | None, **more: Any) -> AbstractContextManager[Any]:
        """Return the settings of these workers, and others; they show how far learners are, if a design has any."""
        from study.designs import find_design

        learns = designs is None or any(find_design(name).draws for name in designs)
        return self.doing("Learning", **more) if learns else self.settings(**more)


OwnPanel = Annotated[
    Path | None,
    typer.Option(
        help="File of your own panel, instead of a plan. The analysis is that of the plan that study init writes."
    ),
]


# Options about how a file is read, which a panel that ships has no use for.
OF_FILE = tuple(field.name for field in fields(OfFile))


@dataclass(frozen=True)
class OfPanel(OfFile):
    """The panel and its columns.

    Attributes
    ----------
    panel : str
        Name of a shipped panel, or a file in long format: CSV, Parquet, Feather, Stata or Excel.
    binary : bool
        The event column is a 0/1 treatment by period.
    levels : bool
        The event column is an amount of treatment by period.
    cluster : str, optional
        Cluster column. Default: the unit.
    instrument : list of str, optional
        Instrument for treatment, a covariate column. Separate several with commas.
    dose : str, optional
        Column with the amount of treatment, measured in the first treated period.
    group : str, optional
        Units eligible for treatment, as a rule such as field=ml; the others are the third difference.
    """

    unit: str = "unit"
    time: str = "time"
    panel: str = "cvpr"
    binary: bool = False
    levels: bool = False
    covariate: Covariates = None
    cluster: str | None = None
    instrument: list[str] | None = None
    dose: str | None = None
    group: str | None = None

    def read(self, outcomes: Sequence[str], question: panels.Question) -> panels.Panel:
        """Return a shipped panel, or the columns of a file that the question needs."""
        path = Path(self.panel)
        # A slip of a shipped panel's name is not that of a file.
        is_file = os.path.isfile(path) or bool(path.suffix) or path.name != self.panel
        is_file = is_file or (bool(path.name) and panels.several_files(path))
        if self.panel not in panels.panel_entries() and is_file:
            columns: dict[str, Any] = {name.removesuffix("_column"): getattr(self, name) for name in OF_FILE}
            event: dict[str, bool] = {"path": self.binary, "levels": self.levels}
            return panels.panel_for(question, self.panel, outcomes, **event, **columns)
        panel = panels.load_panel(self.panel)
        for name in ("binary", "levels", *OF_FILE):
            if getattr(self, name) != getattr(type(self), name):
                raise QuestionError(
                    f"{flag(name)} is about a file; {self.panel} ships, so leave it out or name --panel."
                )
        return panel


@dataclass(frozen=True)
class OfQuestion:
    """The question, without outcome, event and scale.

    Attributes
    ----------
    population : str
        Units in the sample: all, a population of the panel, or a rule such as country=US and tier!=1 paper.
    comparison : str
        Comparison group: not_yet_treated or never_treated.
    base : str
        Base period of pre-treatment effects: universal or varying.
    missing : str
        Missing outcomes: pairs uses differences with both periods observed, balanced only units without gaps, cells
        every observed cell.
    anticipation : int
        Number of periods of anticipation.
    lag : int
        Number of periods by which the event is moved later.
    horizon : int, optional
        Last event time in the average. Default: the last one observed.
    balance : int, optional
        Last event time of a balanced event study: only cohorts with effects at every event time from 0 to this one.
    min_cohort_size : int
        Minimum number of units in a cohort; smaller cohorts are dropped.
    cohort_width : int
        Number of adoption periods pooled into one cohort.
    weights : str, optional
        Covariate column with the weights of units, from the first observed period.
    average : str
        Average effect to report: event_average, treated_average, cohort_average or calendar_average.
    """

    population: str = "all"
    comparison: str = "not_yet_treated"
    base: str = "universal"
    missing: str = "pairs"
    anticipation: int = 0
    lag: int = 0
    horizon: int | None = None
    balance: int | None = None
    min_cohort_size: int = 1
    cohort_width: int = 1
    weights: str | None = None
    average: str = "treated_average"

    def read(self, outcome: str, event: str, scale: str, source: OfPanel) -> panels.Question:
        """Return the question that the options specify."""
        named = {"outcome": outcome, "event": event, "scale": scale, "cluster": source.cluster}
        moved = {"covariates": tuple(source.covariate or ()), "dose": source.dose, "group": source.group}
        moved["instrument"] = tuple(source.instrument) if source.instrument else None
        return panels.Question(**named | moved | vars(self))


@dataclass(frozen=True)
class OfPlot:
    """The figure of the estimates.

    Attributes
    ----------
    plot : Path, optional
        File of the figure: .pdf, .png or .svg.
    title : str, optional
        Title of the figure.
    label : list of str, optional
        Label of an outcome, event, design, cluster, covariate or scale, or of unit and units, as NAME=WORDS, for
        example papers="Papers a year". Repeat the option for several.
    window : tuple of int, optional
        First and last event time in the figure, for example -4 6. Default of study compare: averages only.
    """

    plot: Path | None = None
    title: str | None = None
    label: list[str] | None = None
    window: tuple[int, int] | None = None

    def words(self, panel: panels.Panel | panels.LargePanel, who: str) -> dict[str, str]:
        """Return the labels; refuse one of what is not in the panel."""
        given = labels(self.label)
        if isinstance(panel, panels.Panel):  # an engine has refused before it read
            report.check_labels(given, panel, (panel.period_unit,), who)
        return given

    def drawn(self, drawing: Callable[..., figures.Figure], *what: Any, **how: Any) -> figures.Figure | None:
        """Return the figure of an answer, where one is asked for."""
        return drawing(*what, title=self.title, **how) if self.plot else None

    def write(self, figure: figures.Figure | None) -> None:
        """Write a figure to the file as its ending says, and print where it is."""
        if figure and self.plot:
            write_file(self.plot, figures.drawn(figure, self.plot.suffix.lower().removeprefix(".")))

    def check(self) -> None:
        """Refuse a file that no figure is written to, and what is said of a figure where none is asked for."""
        if self.plot is not None:
            if self.plot.suffix.lower().removeprefix(".") not in figures.DATED:
                raise QuestionError(f"--plot {self.plot}: a figure is a .pdf, .png or .svg file; name one.")
            core.refuse_unwritable(self.plot.parent, self.plot.name)
            return
        for name, value in vars(self).items():
            if value is not None:
                raise QuestionError(f"--{name} is about a figure; add --plot FILE.")


@dataclass(frozen=True)
class OfOutput:
    """File and format of the estimates.

    Attributes
    ----------
    output : Path, optional
        File to write instead of printing: .txt, .tex, .html, .md, .csv or .json.
    format : str, optional
        Format: text, latex, html, md, csv or json. Default: the format of --output, or text. Proportional effects are
        in percent, and in csv and json as shares.
    latex : bool
        Short form of --format latex.
    """

    output: Path | None = None
    format: str | None = None
    latex: bool = False

    def chosen(self, who: str) -> str:
        """Return the format; refuse one that there is not, and a file that cannot be written."""
        if self.output is not None:
            core.refuse_unwritable(self.output.parent, self.output.name)
        ending = self.output.suffix.lower() if self.output else ".txt"
        format = "latex" if self.latex and self.format is None else self.format
        if format is None:
            core.refuse_unknown("format for the ending", ending, ENDINGS, who)
            return ENDINGS[ending]
        core.refuse_unknown("format", format, dict.fromkeys(ENDINGS.values()), who)
        return format

    def give(self, text: str) -> None:
        """Print an answer, or write it to the file."""
        if self.output is None:
            typer.echo(text.rstrip("\n"))
        else:
            write_file(self.output, f"{text.rstrip()}\n".encode())


def write_file(path: Path, content: bytes) -> None:
    """Write one file, and print where it is."""
    (written,) = write_all(path.parent, {path.name: content})
    typer.echo(f"Written: {as_typed(written)}")


def as_options(message: str, names: Collection[str]) -> str:
    """Return a message with the arguments that it names as options of a command, which has these names.

    ``Question: min_cohort_size is 0`` is about ``--min-cohort-size``; ``scale="level"`` is ``--scale level``.
    """
    by_argument = {name: flag(name) for name in names}
    by_argument |= {argument: by_argument[name] for argument, name in ARGUMENTS.items() if name in names}
    known = "|".join(by_argument)
    if "event" in names:
        message = re.sub(r'give it as treatment="[^"]*"', "add --binary", message)
        message = re.sub(r'give it as first_treated="[^"]*"', "leave out --binary", message)
    message = re.sub(rf"^[\w. ]+: ({known}) is(?= ['\d-])", lambda m: f"{by_argument[m[1]]} is", message)
    message = re.sub(
        rf"^(?:Question|LargePanel.from_parquet): (there is no ({known}) )",
        lambda m: f"{by_argument[m[2]]}: {m[1]}",
        message,
    )
    meant = re.search(r'there is no [^"]*"([^"]*)"\. Did you mean "([^"]*)"\?', message)
    if meant and meant[1] in [part.strip() for part in meant[2].split(",")]:
        message += f" A name with a comma needs quotes of its own: {quote(in_quotes(meant[2]))}."
    if "memory_limit" in names:
        message = re.sub(r"\bmemory_limit\b", by_argument["memory_limit"], message)
    message = re.sub(rf"Question\(({known})=\.\.\.\)", lambda m: by_argument[m[1]], message)
    message = re.sub(r"\bwith (\w+_\w+)", lambda m: f"with {by_argument.get(m[1], m[1])}", message)
    value = rf'\b({known})=(?:"([^"]*)"|(-?\d+)|(?=[\s.,;]|$))'
    return re.sub(
        value, lambda m: " ".join(filter(None, [by_argument[m[1]], m[2] and quote(m[2]), m[3]])), message
    )


def refusals_as_options(comparison: inference.Comparison) -> inference.Comparison:
    """Return a comparison whose refusals say what is asked as options of a command say it."""
    asked = ["outcome", "event", "scale", *(f.name for of in (OfPanel, OfQuestion) for f in fields(of))]
    refusals = {key: as_options(why, asked) for key, why in comparison.refusals.items()}
    return replace(comparison, refusals=refusals)


# Panels of the help with their options, in the order of every command's help.
HELP_PANELS = {
    "Data": (
        "plan", "panel", "unit", "time", "group_column", "first_treated", "treatment", "doses", "attribute", "binary",
        "levels", "period", "never", "ambiguous", "raw", "topic",
    ),
    "Question": (
        "outcome", "event", "scale", "covariate", "instrument", "dose", "group", "population", "comparison", "base",
        "missing", "anticipation", "lag", "horizon", "balance", "min_cohort_size", "cohort_width", "weights", "average",
        "by", "prior", "grants", "dial", "violations",
    ),
    "Inference": (
        "design", "designs", "option", "learner", "repetitions", "vcov", "cluster", "level", "draws",
        "reps", "slow_reps", "seed", "force",
    ),
    "Output": (
        "only", "record", "terms", "columns", "stars", "star_levels", "digits", "mde", "notes", "output", "format",
        "latex", "standalone", "plot", "title", "label", "window",
    ),
    "Execution": (
        "jobs", "backend", "address", "cache", "engine", "memory_limit", "memory", "temp", "limit",
    ),
}  # fmt: skip
PANEL_OF = {name: panel for panel, names in HELP_PANELS.items() for name in names}
PLACES = list(PANEL_OF)
# Values of options as the help shows them.
METAVARS: dict[Any, str] = {
    bool: "",
    int: "NUMBER",
    float: "NUMBER",
    str: "TEXT",
    Path: "PATH",
    list[str]: "TEXT",
    tuple[int, int]: "FIRST LAST",
}


def flag(name: str) -> str:
    """Return how an option is typed."""
    return f"--{name.replace('_', '-')}"


def _place(parameter: inspect.Parameter) -> int:
    """Return the place of a parameter in the help: arguments first, then options by panel."""
    return PLACES.index(parameter.name) if parameter.kind is inspect.Parameter.KEYWORD_ONLY else -1


def spread(command: Callable[..., None]) -> Callable[..., None]:
    """Make a function a command, with the texts of its docstring as help and its options in panels.

    Every field of a dataclass of options becomes an option. Keyword-only parameters are options, others are arguments.
    The type of a shared option carries its help.
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
            texts = ChainMap(*(described(each)[1] for each in groups[name].__mro__))
            options = [each.replace(kind=inspect.Parameter.KEYWORD_ONLY) for each in inside[name].values()]
            parameters += [_with_help(each, texts) for each in options]
        else:
            parameters.append(_with_help(parameter, help_of))

    parameters.sort(key=_place)

    @wraps(command)
    def called(**given: Any) -> None:
        try:
            for name, group in groups.items():
                given[name] = group(**{option: given.pop(option) for option in inside[name]})
            command(**given)
        except StudyError as error:
            raise type(error)(as_options(str(error), [parameter.name for parameter in parameters])) from error

    called.__doc__ = "\n\n".join(" ".join(each.split()) for each in beginning.split("\n\n"))
    called.__signature__ = own.replace(parameters=parameters)  # type: ignore[attr-defined]  # which typer reads
    return called


def described(documented: Any) -> tuple[str, dict[str, str]]:
    """Return the beginning of a docstring, and the texts of its parameters or attributes by name."""
    text = inspect.getdoc(documented) or ""
    beginning, *entries = re.split(r"\n\n(?:Parameters|Attributes)\n-+\n", text, maxsplit=1)
    texts = re.findall(r"^([\w, ]+) : .*\n((?: +.*\n?)+)", "".join(entries), re.MULTILINE)
    return beginning, {name: " ".join(text.split()) for names, text in texts for name in names.split(", ")}


def _with_help(parameter: inspect.Parameter, texts: Mapping[str, str]) -> inspect.Parameter:
    """Return a parameter with its help and its panel, as typer reads them."""
    name, kind = parameter.name, parameter.annotation
    is_option = parameter.kind is inspect.Parameter.KEYWORD_ONLY
    if get_origin(kind) is Annotated:
        kind, shared = get_args(kind)
        info = copy(shared)
    elif name in texts:
        make: Any = typer.Option if is_option else typer.Argument
        flags = [flag(name)] if kind is bool else []
        # An option of a design may have a list for its value, and words may have commas.
        with_commas = kind == list[str] | None and name not in ("option", "label")
        several = {"callback": _names} if with_commas else {}
        info = make(*flags, **several, help=texts[name])
    else:
        return parameter
    if is_option:
        info.rich_help_panel = PANEL_OF[name]
        info.metavar = next((text for of, text in METAVARS.items() if kind in (of, of | None)), None)
    return parameter.replace(annotation=Annotated[kind, info])


def refuse_given(context: typer.Context, refused: Collection[str], who: str, why: str) -> None:
    """Refuse an option of some that the user has given."""
    for name in context.params:
        came = context.get_parameter_source(name)
        if name in refused and came is not None and came.name == "COMMANDLINE":
            raise QuestionError(f"{who}: {flag(name)} {why}.")


def pairs(
    option: str, given: Sequence[str] | None, how: str, read: Callable[[str], Any] = str
) -> dict[str, Any]:
    """Return what is given to an option as NAME=VALUE, with values as a function reads them."""
    found: dict[str, Any] = {}
    for text in given or ():
        name, _, value = text.partition("=")
        if name in found:
            raise QuestionError(f"{option} {name} is set twice; set it once.")
        with suppress(ValueError):
            found[name] = read(value)
        if not (name and value) or name not in found:
            raise QuestionError(f"{option} {text}: write {how}.")
    return found


def labels(given: Sequence[str] | None) -> dict[str, str]:
    """Return labels that are given as NAME=WORDS."""
    return pairs("--label", given, 'NAME=WORDS, for example papers="Papers a year"')


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


def read_options(given: Sequence[str] | None) -> dict[str, Any]:
    """Return options that are given as NAME=VALUE, with numbers and true or false as what they are."""

    def read(value: str) -> Any:
        try:
            return tomllib.loads(f"value = {value}")["value"]
        except tomllib.TOMLDecodeError:
            return {"True": True, "False": False}.get(value, value)

    return pairs("--option", given, "NAME=VALUE, for example folds=5", read)


@dataclass(frozen=True)
class OfEngine:
    """Engine for panels that are larger than memory.

    Attributes
    ----------
    engine : str, optional
        Engine for a panel larger than memory: duckdb. --panel is then a Parquet file, a folder of them or a pattern
        such as "data/*.parquet". For Spark use study.LargePanel in Python.
    memory_limit : str
        Memory limit of the engine; beyond it, the engine uses temporary files.
    temp : Path, optional
        Folder for temporary files, up to twice the size of the Parquet files. Default: that of the system.
    limit : int
        Maximum number of strata. A stratum has one event date, pattern of missing cells, weight, cluster and set of
        covariate values.
    """

    engine: str | None = None
    memory_limit: str = "4GB"
    temp: Path | None = None
    limit: int = 10_000

    def designs(self, named: list[str] | None) -> list[str] | None:
        """Return designs by name; where none is named, those that an engine can answer by, if there is an engine."""
        return named if named or self.engine is None else _able()

    def refuse_several(self, who: str, outcomes: Sequence[str]) -> None:
        """Refuse several outcomes, whose joint distribution is in the rows alone."""
        if self.engine is not None and len(outcomes) > 1:
            raise QuestionError(
                f"{who}: an engine adds outcomes up one at a time, so that p-values cannot be adjusted for "
                f"{len(outcomes)}; name one outcome, or take study estimate."
            )

    @contextmanager
    def opened(
        self,
        who: str,
        source: OfPanel,
        question: panels.Question,
        outcomes: Sequence[str],
        designs: Sequence[str] | None,
        label: Sequence[str] | None,
    ) -> Iterator[panels.Panel | panels.LargePanel]:
        """Give the panel, which an engine lets go of in the end.

        What no engine answers is refused before it reads: ``designs`` by name, and a ``label`` of what is no column.
        """
        if self.engine is None:
            for name, value in vars(self).items():
                if value != getattr(type(self), name):
                    raise QuestionError(f"{flag(name)} is about an engine; add --engine {ENGINES[0]}.")
            yield source.read(outcomes, question)
            return
        from study.designs import Supports, find_design

        core.refuse_unknown("engine", self.engine, ENGINES, "--engine")
        why = "which needs the rows of single units; leave out --engine, for a sample of them perhaps"
        for name in OF_ROWS:
            if getattr(source, name):
                raise QuestionError(f"{who}: {flag(name)} is given, {why}.")
        for name in designs or ():
            if Supports.SUMS not in find_design(name).supports:
                able = ", ".join(_able())
                raise QuestionError(f"{who}: --engine does not go with {name}, {why}. It goes with {able}.")
        columns: Any = panels.columns_for(question, outcomes, path=source.binary)
        del columns["doses"]
        known = {name for names in columns.values() for name in names}
        report.check_labels(labels(label), None, {*known, source.period or "period", "year"}, who)
        taken = ("unit", "time", "period", "never", "ambiguous")
        reading: Any = {name: getattr(source, name) for name in taken}
        with (
            _scratch_folder(self.temp) as folder,
            progress_bar() as progress,
            panels.LargePanel.from_parquet(
                source.panel,
                **columns,
                **reading,
                memory_limit=self.memory_limit,
                limit=self.limit,
                temp=folder,
                progress=Steps(progress, None),
            ) as panel,
        ):
            yield panel


def refuse_of_panel(context: typer.Context, who: str) -> None:
    """Refuse an option that asks something of a panel, beside a question of the plan."""
    of_panel = [field.name for group in (OfPanel, OfQuestion, OfEngine) for field in fields(group)]
    why = "goes with --outcome and --event, not with a question of the plan"
    refuse_given(context, ("outcome", "event", "scale", *of_panel), who, why)


def _able() -> list[str]:
    """Return the designs that answer from what an engine adds up."""
    from study.designs import Supports, all_designs

    return [name for name, design in all_designs().items() if Supports.SUMS in design.supports]


@contextmanager
def _scratch_folder(temp: Path | None) -> Iterator[str]:
    """Make a folder and name it on the error stream, and remove it in the end with all that is in it."""
    try:
        if temp is not None:
            temp.mkdir(parents=True, exist_ok=True)
        scratch = TemporaryDirectory(dir=temp, prefix="study-", ignore_cleanup_errors=True)
    except OSError as error:
        raise OutputError(
            f"--temp {temp}: cannot write here ({error.strerror}); name another folder."
        ) from error
    with scratch as folder:
        typer.echo(f"Scratch folder, removed in the end: {folder}", err=True)
        yield folder
