"""The command `study`: parse, call, print."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from study import options
from study.errors import StudyError

if TYPE_CHECKING:
    from rich.progress import Progress

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="Does compute access cause changes in academic representation in machine-learning research?",
)

PlanOption = Annotated[
    Path, typer.Option("--plan", help="What to estimate; its folder takes the files that are written.")
]
DesignOption = Annotated[str | None, typer.Option("--design", help="Another design in the headline's place.")]
JobsOption = Annotated[
    int, typer.Option("--jobs", help="Processes; -1 is all cores. Results do not depend on it.")
]

CacheOption = Annotated[
    Path,
    typer.Option(
        "--cache", help="Folder of finished estimates and fits; an interrupted run goes on from it."
    ),
]

DEFAULT_PLAN = Path("paper") / "study.toml"
DEFAULT_CACHE = Path("build") / "cache"


@app.command()
def run(
    plan: PlanOption = DEFAULT_PLAN,
    design: DesignOption = None,
    jobs: JobsOption = -1,
    output: Annotated[
        Path | None, typer.Option("--output", help="Folder to write into, instead of the plan's own.")
    ] = None,
    cache: CacheOption = DEFAULT_CACHE,
) -> None:
    """Produce every table, figure and number of the paper, and the record of all estimates."""
    from study import run as running
    from study.outputs import write_all
    from study.plan import read_plan

    chosen = read_plan(plan)
    if design is not None:
        chosen = chosen.under(design)
    panel = running.load(chosen)
    with _progress() as progress:
        steps = _steps(progress, len(list(chosen.tasks())))
        results = running.run(chosen, panel, jobs=jobs, progress=steps, cache=cache)
    written = write_all(output or running.paper_folder(plan), running.files(chosen, panel, results))
    typer.echo(f"Headline design: {chosen.headline.label}. Panel {panel.name}, checksum {panel.checksum}.")
    typer.echo("Files written:")
    for path in written:
        typer.echo(f"  {_shown(path)}")


@app.command()
def check(plan: PlanOption = DEFAULT_PLAN, design: DesignOption = None, jobs: JobsOption = -1) -> None:
    """Compare a fresh run with the recorded estimates, cell by cell; exit with 1 where they differ."""
    from study import run as running
    from study.plan import read_plan
    from study.report import record

    chosen = read_plan(plan)
    if design is not None:
        chosen = chosen.under(design)
    recorded = record.read_record(running.paper_folder(plan) / "estimates.csv")
    panel = running.load(chosen)
    with _progress() as progress:
        results = running.run(chosen, panel, jobs=jobs, progress=_steps(progress, len(list(chosen.tasks()))))
    found = record.differences(recorded, record.record(results))
    for difference in found:
        typer.echo(str(difference))
    if found:
        typer.echo(f"{len(found)} cells differ from the record of {len(recorded)} estimates.")
        raise typer.Exit(1)
    typer.echo(f"All {len(recorded)} recorded estimates agree with the fresh run.")


@app.command()
def paper(plan: PlanOption = DEFAULT_PLAN) -> None:
    """Compile the paper's PDF from its text and the generated tables, figures and numbers."""
    from study.report.compile import compile_paper

    typer.echo(f"Written: {_shown(compile_paper(plan.resolve().parent))}")


@app.command()
def designs() -> None:
    """List the designs: what each estimates, assumes and handles."""
    from study.designs import all_designs

    for design in all_designs().values():
        listed = ", ".join(f"{name}={value!r}" for name, value in design.options.items()) or "none"
        typer.echo(f"{design.name}: {design.title} [{design.reference}]")
        typer.echo(f"  estimand: {design.estimand}")
        typer.echo(f"  assumes:  {'; '.join(design.assumes)}")
        typer.echo(f"  handles:  {'; '.join(design.handles)}")
        typer.echo(f"  options:  {listed}")


@app.command()
def estimate(
    outcome: Annotated[str, typer.Option(help="Outcome column.")],
    event: options.Event,
    panel: options.PanelName = "cvpr",
    unit: options.Unit = "unit",
    time: options.Time = "time",
    treatment: options.Treatment = False,
    covariate: options.Covariate = None,
    cluster: options.Cluster = None,
    instrument: options.Instrument = None,
    design: Annotated[str, typer.Option(help="Name of a design; see `study designs`.")] = "callaway_santanna",
    scale: options.Scale = "level",
    population: options.Population = "all",
    comparison: options.Comparison = "not_yet_treated",
    base: options.Base = "universal",
    missing: options.Missing = "pairs",
    anticipation: options.Anticipation = 0,
    lag: options.Lag = 0,
    horizon: options.Horizon = None,
    min_cohort_size: options.Smallest = None,
    option: options.DesignOptions = None,
    by_event_time: Annotated[bool, typer.Option("--by-event-time", help="Show the path of effects.")] = False,
    jobs: JobsOption = -1,
    latex: options.Latex = False,
) -> None:
    """Estimate one effect on a shipped panel or on your own long CSV file."""
    from study.designs import estimate as run_design
    from study.designs import find_design
    from study.report.tables import estimate_table, estimate_text
    from study.work import working

    chosen, asked = find_design(design), options.read_options(option or [])
    chosen.check_options(asked)
    question = options.read_question(
        "study estimate",
        outcome=outcome,
        event=event,
        covariates=tuple(covariate or ()),
        cluster=cluster,
        instrument=instrument,
        scale=scale,
        population=population,
        comparison=comparison,
        base=base,
        missing=missing,
        anticipation=anticipation,
        lag=lag,
        horizon=horizon,
        min_cohort_size=min_cohort_size,
    )
    source = options.read_panel(panel, unit, time, [outcome], treatment, question)
    with _learning(jobs) if chosen.draws else working():
        fit = run_design(source, question, design, **asked)
    shown = fit.aggregate("event") if by_event_time else fit.headline
    typer.echo(estimate_table(shown).decode() if latex else estimate_text(shown))


@app.command()
def compare(
    outcome: Annotated[list[str], typer.Option(help="Outcome column; may be repeated.")],
    event: options.Event,
    panel: options.PanelName = "cvpr",
    unit: options.Unit = "unit",
    time: options.Time = "time",
    treatment: options.Treatment = False,
    covariate: options.Covariate = None,
    cluster: options.Cluster = None,
    instrument: options.Instrument = None,
    design: Annotated[
        list[str] | None,
        typer.Option(help="Name of a design; may be repeated. All that draw nothing where none is named."),
    ] = None,
    scale: options.Scale = "level",
    population: options.Population = "all",
    comparison: options.Comparison = "not_yet_treated",
    base: options.Base = "universal",
    missing: options.Missing = "pairs",
    anticipation: options.Anticipation = 0,
    lag: options.Lag = 0,
    horizon: options.Horizon = None,
    min_cohort_size: options.Smallest = None,
    force: Annotated[
        bool, typer.Option("--force", help="Compare also estimates of unlike estimand, scale or window.")
    ] = False,
    draws: Annotated[int, typer.Option(help="Draws of the multiplier bootstrap.")] = 9999,
    seed: Annotated[int, typer.Option(help="Seed of these draws.")] = 0,
    latex: options.Latex = False,
) -> None:
    """Set designs beside one another on the same question, and test whether they agree."""
    from study.comparison import compare as run_designs
    from study.designs import find_design
    from study.report.comparison import comparison_tables, comparison_text

    for name in design or ():
        find_design(name)
    question = options.read_question(
        "study compare",
        outcome=outcome[0],
        event=event,
        covariates=tuple(covariate or ()),
        cluster=cluster,
        instrument=instrument,
        scale=scale,
        population=population,
        comparison=comparison,
        base=base,
        missing=missing,
        anticipation=anticipation,
        lag=lag,
        horizon=horizon,
        min_cohort_size=min_cohort_size,
    )
    chosen = options.read_panel(panel, unit, time, outcome, treatment, question)
    found = run_designs(chosen, question, design, outcome, force=force, draws=draws, seed=seed)
    typer.echo(comparison_tables(found).decode() if latex else comparison_text(found))


@app.command()
def diagnose(
    question: Annotated[
        str,
        typer.Argument(
            help="EVENT, EVENT/OUTCOME or EVENT/OUTCOME/SCALE, with the event's label in the plan."
        ),
    ],
    design: DesignOption = None,
    plan: PlanOption = DEFAULT_PLAN,
    output: Annotated[
        Path | None, typer.Option("--output", help="Folder of figures and tables, instead of build/diagnose.")
    ] = None,
    jobs: JobsOption = -1,
    cache: CacheOption = DEFAULT_CACHE,
) -> None:
    """Say what a design assumes, what the data say against it, and what would overturn the sign; draw the figures."""
    from study import run as running
    from study.diagnose import diagnose as make
    from study.outputs import write_all
    from study.plan import read_plan
    from study.report.verdict import details, verdict_text
    from study.work import working

    chosen = read_plan(plan)
    task = chosen.ask(question, design)
    panel, placebos = running.load(chosen), running.placebo_panels(chosen)
    with _progress() as progress, working(jobs=jobs, cache=cache / "fits"):
        found = make(chosen, task, panel, placebos, _steps(progress, None, "Diagnosing"))
    page = verdict_text(found)
    texts = {"verdict.txt": f"{page}\n".encode(), "details.txt": f"{details(found)}\n".encode()}
    folder = output or Path("build", "diagnose", *question.split("/"), found.design.name)
    written = write_all(folder, texts | found.files())
    typer.echo(page)
    typer.echo(
        f"\n{len(written)} files written to {_shown(folder)}: figures, tables, and all that was found."
    )


@app.command()
def gains(
    question: Annotated[
        str,
        typer.Argument(
            help="EVENT, EVENT/OUTCOME or EVENT/OUTCOME/SCALE, with the event's label in the plan; on the scale level "
            "where none is named, for papers are what grants are counted in."
        ),
    ],
    plan: PlanOption = DEFAULT_PLAN,
    by: Annotated[
        list[str] | None,
        typer.Option(
            help="Attribute, covariate (in thirds) or rule such as country=US that makes groups; may be repeated. The "
            "plan's strata, the region, the country with most treated units and the question's last covariate where "
            "none is named."
        ),
    ] = None,
    prior: Annotated[
        str | None,
        typer.Option(help="Covariate that says how large a unit was; the question's last if none is named."),
    ] = None,
    grants: Annotated[
        int | None, typer.Option(help="Grants to allocate; as many as units were treated if none is given.")
    ] = None,
    learner: Annotated[str, typer.Option(help="Learner of changes and propensities.")] = "forest",
    repetitions: Annotated[int, typer.Option(help="Times the folds are drawn.")] = 10,
    jobs: JobsOption = -1,
    cache: CacheOption = DEFAULT_CACHE,
    output: Annotated[
        Path | None, typer.Option("--output", help="Folder of figures and tables, instead of build/gains.")
    ] = None,
) -> None:
    """Say which groups and units gain, and to whom a fixed number of grants should go; draw the figures."""
    from study import gains as of_gains
    from study import run as running
    from study.gains.page import ask, usual_groupings
    from study.outputs import write_all
    from study.plan import read_plan
    from study.work import working

    chosen = read_plan(plan)
    task = ask(chosen, question)
    sample = task.question.sample(running.load(chosen))
    with _progress() as progress, working(jobs=jobs, cache=cache / "fits"):
        found = of_gains.report(
            sample,
            by=tuple(by or usual_groupings(task, sample)),
            prior_name=prior,
            budget=grants,
            learner=learner,  # type: ignore[arg-type]
            repetitions=repetitions,
            level=task.level,
            draws=task.band_draws,
            seed=task.seed,
            event=task.event.title,
            progress=_steps(progress, None, "Learning"),
        )
    folder = output or Path("build", "gains", *question.split("/"))
    written = write_all(folder, found.files())
    typer.echo(found.text())
    typer.echo(f"\n{len(written)} files written to {_shown(folder)}: figures and tables.")


@app.command()
def assemble(
    raw: Annotated[Path, typer.Option("--raw", help="Folder with the originals; see data/README.md.")],
    output: Annotated[Path, typer.Option("--output", help="Folder to write the panels into.")] = Path("data"),
) -> None:
    """Make the panels, events and crosswalks from the published originals."""
    from study.assemble.build import assemble as make

    with _progress() as progress:
        written = make(raw, output, progress=_steps(progress, None))
    typer.echo("Files written:")
    for path in written:
        typer.echo(f"  {_shown(path)}")


@app.command()
def audit() -> None:
    """Print what the audits of matching, cluster grants and topics found, from the verdicts that ship."""
    from study.report.audits import results

    typer.echo(results())


@app.command()
def validate(
    file: Annotated[Path, typer.Argument(help="A long CSV file, one row a unit and period.")],
    unit: Annotated[str, typer.Option(help="Unit column.")] = "",
    time: Annotated[str, typer.Option(help="Period column.")] = "",
    outcome: Annotated[list[str] | None, typer.Option(help="Outcome column; may be repeated.")] = None,
    first_treated: Annotated[
        list[str] | None, typer.Option(help="Column of first treated periods; may be repeated.")
    ] = None,
    treatment: Annotated[
        list[str] | None, typer.Option(help="Column of 0/1 treatment; may be repeated.")
    ] = None,
    covariate: Annotated[list[str] | None, typer.Option(help="Covariate column; may be repeated.")] = None,
    attribute: Annotated[list[str] | None, typer.Option(help="Label column; may be repeated.")] = None,
) -> None:
    """Say whether a file is fit to be a panel, and print every row that breaks a rule; exit with 1 if it is not.

    Columns that are not named are taken from their own names as far as these are certain.
    """
    from study.schema.files import verdict

    named = {
        "unit": unit,
        "time": time,
        "outcomes": outcome or (),
        "first_treated": first_treated or (),
        "treatment": treatment or (),
        "covariates": covariate or (),
        "attributes": attribute or (),
    }
    text, fit = verdict(file, {role: columns for role, columns in named.items() if columns})
    typer.echo(text)
    if not fit:
        raise typer.Exit(1)


@app.command()
def fetch(
    sources: Annotated[
        list[str] | None,
        typer.Argument(help="Names of sources; those that assemble reads where none are named."),
    ] = None,
    raw: Annotated[
        Path | None,
        typer.Option("--raw", help="Folder of originals; a folder of the user's cache if not given."),
    ] = None,
) -> None:
    """Download the published originals; what is there is kept, and an interrupted download goes on."""
    from study import sources as published
    from study.sources.fetching import Fetcher, cache_folder
    from study.sources.provenance import SOURCES

    folder = raw or cache_folder() / "raw"
    with _progress() as progress:
        fetcher = Fetcher(progress=_bytes(progress))
        results = published.fetch(sources or list(SOURCES), folder, fetcher, _steps(progress, None))
    for result in results:
        typer.echo(f"{result.source}: {result.error or f'{len(result.files)} files'}")
    typer.echo(
        f"Originals are in {_shown(folder)}; make the panels with: study assemble --raw {_shown(folder)}"
    )
    if any(result.error for result in results):
        raise typer.Exit(2)


@contextmanager
def _progress() -> Iterator[Progress]:
    """Show progress on the error stream, so that the output can be piped."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=False) as progress:
        yield progress


@contextmanager
def _learning(jobs: int) -> Iterator[None]:
    """Fit learners in some processes and show how far they are."""
    from study.work import working

    with _progress() as progress, working(jobs=jobs, progress=_steps(progress, None, "Learning")):
        yield


def _steps(progress: Progress, total: int | None, first: str = "Reading") -> Any:
    """Return a function that moves a progress bar by one step with a description."""
    bar = progress.add_task("Estimating" if total else first, total=total)

    def step(description: str) -> None:
        progress.update(bar, advance=1, description=description)

    return step


def _bytes(progress: Progress) -> Any:
    """Return a function that shows how much of a file has arrived."""
    bar = progress.add_task("Downloading", total=None)

    def step(url: str, done: int, total: int | None) -> None:
        progress.update(bar, completed=done, total=total, description=url.rsplit("/", 1)[-1])

    return step


def _shown(path: Path) -> str:
    """Return a path as the user would type it from here."""
    try:
        return str(path.resolve().relative_to(Path.cwd()))
    except ValueError:
        return str(path)


def main() -> None:
    """Run the command; a user's error is one line on the error stream and exit code 2."""
    try:
        app(standalone_mode=True)
    except StudyError as error:
        typer.echo(f"study: {error}", err=True)
        raise SystemExit(2) from None
    except KeyboardInterrupt:
        typer.echo(
            "study: interrupted; nothing was half-written, and what was finished is kept for the next run.",
            err=True,
        )
        raise SystemExit(130) from None
