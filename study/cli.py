"""The command `study`: parse, call, print."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

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

DEFAULT_PLAN = Path("paper") / "study.toml"


@app.command()
def run(
    plan: PlanOption = DEFAULT_PLAN,
    design: DesignOption = None,
    jobs: JobsOption = -1,
    output: Annotated[
        Path | None, typer.Option("--output", help="Folder to write into, instead of the plan's own.")
    ] = None,
    cache: Annotated[
        Path,
        typer.Option("--cache", help="Folder of finished estimates; an interrupted run goes on from it."),
    ] = Path("build") / "cache",
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
        options = ", ".join(f"{name}={value!r}" for name, value in design.options.items()) or "none"
        typer.echo(f"{design.name}: {design.title} [{design.reference}]")
        typer.echo(f"  estimand: {design.estimand}")
        typer.echo(f"  assumes:  {'; '.join(design.assumes)}")
        typer.echo(f"  handles:  {'; '.join(design.handles)}")
        typer.echo(f"  options:  {options}")


@app.command()
def estimate(
    outcome: Annotated[str, typer.Option(help="Outcome column.")],
    event: Annotated[
        str, typer.Option(help="Event: a column of first treated periods, or of 0/1 treatment.")
    ],
    panel: Annotated[str, typer.Option(help="A shipped panel's name, or a long CSV file.")] = "cvpr",
    unit: Annotated[str, typer.Option(help="Unit column of a CSV file.")] = "unit",
    time: Annotated[str, typer.Option(help="Period column of a CSV file.")] = "time",
    treatment: Annotated[
        bool, typer.Option("--treatment", help="The event column is 0/1 by period.")
    ] = False,
    covariate: Annotated[list[str] | None, typer.Option(help="Covariate column; may be repeated.")] = None,
    cluster: Annotated[
        str | None, typer.Option(help="Column to cluster by; the unit where none is given.")
    ] = None,
    design: Annotated[str, typer.Option(help="Name of a design; see `study designs`.")] = "callaway_santanna",
    scale: Annotated[str, typer.Option(help="level, log1p or proportional.")] = "level",
    comparison: Annotated[str, typer.Option(help="not_yet_treated or never_treated.")] = "not_yet_treated",
    base: Annotated[str, typer.Option(help="universal or varying.")] = "universal",
    missing: Annotated[str, typer.Option(help="pairs, balanced or cells.")] = "pairs",
    anticipation: Annotated[int, typer.Option(help="Periods of anticipation.")] = 0,
    lag: Annotated[int, typer.Option(help="Periods by which the event is moved later.")] = 0,
    horizon: Annotated[int | None, typer.Option(help="Last event time in the average.")] = None,
    min_cohort_size: Annotated[
        int | None, typer.Option(help="Smaller cohorts are dropped and counted.")
    ] = None,
    by_event_time: Annotated[bool, typer.Option("--by-event-time", help="Show the path of effects.")] = False,
    latex: Annotated[bool, typer.Option("--latex", help="Print a LaTeX table.")] = False,
) -> None:
    """Estimate one effect on a shipped panel or on your own long CSV file."""
    from study.designs import estimate as run_design
    from study.designs import find_design
    from study.panel import Panel, load_panel
    from study.question import Question
    from study.report.tables import estimate_table, estimate_text

    find_design(design)
    covariates = tuple(covariate or ())
    question = Question.from_dict(
        {
            "outcome": outcome,
            "event": event,
            "scale": scale,
            "comparison": comparison,
            "base": base,
            "missing": missing,
            "anticipation": anticipation,
            "lag": lag,
            "horizon": horizon,
            "covariates": covariates,
            "cluster": cluster,
            "min_cohort_size": min_cohort_size,
        },
        "study estimate",
    )
    if panel.endswith(".csv"):
        chosen = Panel.from_long(
            panel,
            unit=unit,
            time=time,
            treatment=event if treatment else (),
            first_treated=() if treatment else event,
            outcomes=outcome,
            covariates=covariates,
            attributes=() if cluster is None else cluster,
        )
    else:
        chosen = load_panel(panel)
    fit = run_design(chosen, question, design)
    shown = fit.aggregate("event") if by_event_time else fit.headline
    typer.echo(estimate_table(shown).decode() if latex else estimate_text(shown))


@app.command()
def assemble(
    raw: Annotated[Path, typer.Option("--raw", help="Folder with the originals; see data/README.md.")],
    output: Annotated[Path, typer.Option("--output", help="Folder to write the panels into.")] = Path("data"),
) -> None:
    """Make the panels, events and crosswalks from the published originals."""
    from study.assemble import assemble as make

    with _progress() as progress:
        written = make(raw, output, progress=_steps(progress, None))
    typer.echo("Files written:")
    for path in written:
        typer.echo(f"  {_shown(path)}")


@contextmanager
def _progress() -> Iterator[Progress]:
    """Show progress on the error stream, so that the output can be piped."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=False) as progress:
        yield progress


def _steps(progress: Progress, total: int | None) -> Any:
    """Return a function that moves a progress bar by one step with a description."""
    bar = progress.add_task("Estimating" if total else "Reading", total=total)

    def step(description: str) -> None:
        progress.update(bar, advance=1, description=description)

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
            "study: interrupted; nothing was written, and finished estimates are kept for the next run.",
            err=True,
        )
        raise SystemExit(130) from None
