"""The command `study`: parse, call, print."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer

from study.commands import data_commands, options, paper_commands, table_command
from study.core import StudyError, as_typed, learning, progress_bar, steps

INTERRUPTED = 130
# What an option or argument that cannot be read raises; typer exports a subclass of it only.
USAGE_ERROR: Any = typer.BadParameter.__base__

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="Does compute access cause changes in academic representation in machine-learning research?",
)


def designs() -> None:
    """List the designs: what each estimates, assumes and supports."""
    from study.designs import all_designs

    for design in all_designs().values():
        defaults = ", ".join(f"{name}={value!r}" for name, value in design.options.items()) or "none"
        typer.echo(f"{design.name}: {design.title} [{design.reference}]")
        typer.echo(f"  estimand: {design.estimand}")
        typer.echo(f"  assumes:  {'; '.join(design.assumes)}")
        typer.echo(f"  supports: {'; '.join(design.supports)}")
        typer.echo(f"  options:  {defaults}")


def diagnostics() -> None:
    """List the diagnostics of `study diagnose`: what each asks, and what it needs."""
    from study.diagnostics import all_diagnostics

    for diagnostic in all_diagnostics().values():
        designs = [f"the design {' or '.join(diagnostic.designs)}"] if diagnostic.designs else []
        typer.echo(f"{diagnostic.name}: {diagnostic.title}")
        typer.echo(f"  asks:  {diagnostic.question}")
        typer.echo(f"  needs: {'; '.join([*diagnostic.needs, *designs]) or 'nothing more'}")


def estimate(
    *,
    outcome: str,
    event: Annotated[str, options.EVENT],
    source: options.OfPanel,
    design: str = "callaway_santanna",
    scale: options.Scale = "level",
    of_question: options.OfQuestion,
    option: list[str] | None = None,
    convention: str = "jackknife",
    by_event_time: bool = False,
    jobs: options.Jobs = -1,
    latex: options.Latex = False,
) -> None:
    """Estimate one effect on a shipped panel or on your own long CSV file.

    Parameters
    ----------
    outcome : str
        Outcome column.
    design : str
        Name of a design; see `study designs`.
    option : list of str, optional
        Option of the design as NAME=VALUE, for example learner=forest; may be repeated.
    convention : str
        Of standard errors: jackknife, CR0, CR1, CR1_fixest or CR1_areg.
    by_event_time : bool
        Show the path of effects.
    """
    from study.core import settings
    from study.designs import estimate as run_design
    from study.designs import find_design
    from study.report import estimate_table, estimate_text

    chosen, given = find_design(design), options.read_options(option or [])
    chosen.check_options(given)
    question = of_question.read("study estimate", outcome, event, scale, source)
    panel = source.read([outcome], question)
    with learning(jobs) if chosen.draws else settings():
        # Which conventions there are is checked there.
        fit = run_design(panel, question, design, convention=convention, **given)  # type: ignore[arg-type]
    shown = fit.aggregate("event") if by_event_time else fit.headline
    typer.echo(estimate_table(shown).decode() if latex else estimate_text(shown))


def compare(
    *,
    outcome: list[str],
    event: Annotated[str, options.EVENT],
    source: options.OfPanel,
    design: list[str] | None = None,
    scale: options.Scale = "level",
    of_question: options.OfQuestion,
    force: bool = False,
    draws: int = 9999,
    seed: int = 0,
    latex: options.Latex = False,
) -> None:
    """Set designs beside one another on the same question, and test whether they agree.

    Parameters
    ----------
    outcome : list of str
        Outcome column; may be repeated.
    design : list of str, optional
        Name of a design; may be repeated. All that draw nothing where none is named.
    force : bool
        Compare also estimates of unlike estimand, scale or window.
    draws : int
        Draws of the multiplier bootstrap.
    seed : int
        Seed of these draws.
    """
    from study.designs import find_design
    from study.inference import compare as run_designs
    from study.report import comparison_tables, comparison_text

    for name in design or ():
        find_design(name)
    question = of_question.read("study compare", outcome[0], event, scale, source)
    panel = source.read(outcome, question)
    comparison = run_designs(panel, question, design, outcome, force=force, draws=draws, seed=seed)
    typer.echo(comparison_tables(comparison).decode() if latex else comparison_text(comparison))


def diagnose(
    question: str = "",
    *,
    design: options.Design = None,
    plan: options.Plan = options.DEFAULT_PLAN,
    panel: options.OwnPanel = None,
    columns: options.OfColumns,
    output: Path | None = None,
    jobs: options.Jobs = -1,
    cache: options.Cache = None,
) -> None:
    """Say what a design assumes, what the data say against it, and what would overturn the sign; draw the figures.

    Parameters
    ----------
    question : str
        EVENT, EVENT/OUTCOME or EVENT/OUTCOME/SCALE, with the event's label in the plan; the plan's first if not given.
    output : Path, optional
        Folder of figures and tables, instead of build/diagnose.
    """
    from study.core import fits_of, settings
    from study.paper import details, run, verdict_text
    from study.paper import diagnose as diagnosing

    chosen = columns.plan(panel, plan)
    question = question or chosen.events[0].label
    task = chosen.ask(question, design)
    loaded, placebos = run.load(chosen), run.other_panels(chosen.placebos)
    with progress_bar() as progress, settings(jobs=jobs, cache=fits_of(None if panel else plan, cache)):
        verdict = diagnosing.diagnose(chosen, task, loaded, placebos, steps(progress, None, "Diagnosing"))
    page = verdict_text(verdict)
    texts = {"verdict.txt": f"{page}\n".encode(), "details.txt": f"{details(verdict)}\n".encode()}
    folder = output or Path("build", "diagnose", *question.split("/"), verdict.design.name)
    _write(folder, texts | verdict.files(), page, "figures, tables, and all that was found")


def heterogeneity(
    question: str = "",
    *,
    plan: options.Plan = options.DEFAULT_PLAN,
    panel: options.OwnPanel = None,
    columns: options.OfColumns,
    by: list[str] | None = None,
    prior: str | None = None,
    grants: int | None = None,
    learner: str = "forest",
    repetitions: int = 10,
    jobs: options.Jobs = -1,
    cache: options.Cache = None,
    output: Path | None = None,
) -> None:
    """Say for which groups and units the effect is larger, and to whom grants should go; draw the figures.

    Units are described by the question's covariates, or by their outcome in the first period if it has none.

    Parameters
    ----------
    question : str
        EVENT, EVENT/OUTCOME or EVENT/OUTCOME/SCALE, with the event's label in the plan; on the scale level where none
        is named, for papers are what grants are counted in.
    by : list of str, optional
        Attribute, covariate (in thirds) or rule such as country=US that makes groups; may be repeated. The plan's
        strata, the region, the country with most treated units and the question's last covariate where none is named.
    prior : str, optional
        Covariate that says how large a unit was; the question's last if none is named.
    grants : int, optional
        Grants to allocate; as many as units were treated if none is given.
    learner : str
        Learner of changes and propensities.
    repetitions : int
        Times the folds are drawn.
    output : Path, optional
        Folder of figures and tables, instead of build/heterogeneity.
    """
    from study.core import fits_of, settings
    from study.heterogeneity import report as report_on
    from study.heterogeneity.page import usual_groupings
    from study.paper import run

    chosen = columns.plan(panel, plan)
    question = question or chosen.events[0].label
    task = chosen.with_level().ask(question)
    loaded, asked = run.load(chosen), task.question
    if not asked.covariates:
        # Something has to say how units differ before treatment: at least what they had in the first period.
        before = loaded.outcomes[task.outcome][:, :1].repeat(len(loaded.periods), axis=1)
        size = f"{task.outcome} in {loaded.period_name(loaded.periods[0])}"
        loaded = replace(loaded, covariates={**loaded.covariates, size: before})
        asked = asked.replace(covariates=(size,))
    sample = asked.sample(loaded)
    with progress_bar() as progress, settings(jobs=jobs, cache=fits_of(None if panel else plan, cache)):
        report = report_on(
            sample,
            by=tuple(by or usual_groupings(sample, task.strata)),
            prior_name=prior,
            budget=grants,
            learner=learner,  # type: ignore[arg-type]  # names are checked there
            repetitions=repetitions,
            level=task.level,
            draws=task.band_draws,
            seed=task.seed,
            event=task.event.title,
            progress=steps(progress, None, "Learning"),
        )
    folder = output or Path("build", "heterogeneity", *question.split("/"))
    _write(folder, report.files(), report.text(), "figures and tables")


def _write(folder: Path, files: dict[str, bytes], page: str, what: str) -> None:
    from study.core import write_all

    written = write_all(folder, files)
    typer.echo(page)
    typer.echo(f"\n{len(written)} files written to {as_typed(folder)}: {what}.")


of_panels = (designs, diagnostics, estimate, compare, diagnose, heterogeneity, table_command.table)
for command in (*paper_commands.COMMANDS, *of_panels, *data_commands.COMMANDS):
    app.command()(options.spread(command))


def main() -> None:
    """Run the command; a user's error is one line on the error stream and exit code 2."""
    code, message = 2, ""
    try:
        code = app(standalone_mode=False)
    except StudyError as error:
        message = str(error)
    except USAGE_ERROR as error:
        # Without arguments the help was printed, and the message is empty.
        message = " ".join(error.format_message().split())
        if message:
            message += f"{'' if message.endswith(('.', '?')) else '.'} See {error.ctx.command_path} --help."
    except (KeyboardInterrupt, typer.Abort):
        code = INTERRUPTED
    if code == INTERRUPTED:
        message = "interrupted; nothing was half-written, and what was finished is kept for the next run."
    if message:
        typer.echo(f"study: {message}", err=True)
    raise SystemExit(code)
