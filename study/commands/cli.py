"""The command `study`: parse, call, print."""

from __future__ import annotations

import signal
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from shlex import quote
from typing import Annotated, Any, get_args

import typer

from study import core, figures, inference, paper, report
from study import panel as panels
from study.commands import options, paper_commands, simulate_command
from study.core import QuestionError, Steps, StudyError, __version__, as_typed, progress_bar

INTERRUPTED = 130
# What an option or argument that cannot be read raises; typer exports a subclass of it only.
USAGE_ERROR: Any = typer.BadParameter.__base__
# Messages for options that only other commands have.
ELSEWHERE = {
    "--engine": "--engine is an option of study estimate, study compare and study table; others need the rows",
    "--treatment": "--treatment names a column in commands that take a plan; that the column of --event is 0/1 is "
    "--binary",
    "--first-treated": "--first-treated is an option of commands that take a plan; others name that column by --event",
}

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="Difference-in-differences and double machine learning for panel data, and the replication of the paper.",
)
data_app = typer.Typer(no_args_is_help=True, help="Build the shipped data from their published sources.")


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"study {__version__}")
        raise typer.Exit


@app.callback()
def study(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_version, is_eager=True, metavar="", help="Print the version."),
    ] = False,
) -> None:
    """Options before the command."""


def designs(
    name: options.NameOfDesign = None,
    *,
    plan: options.Plan = options.DEFAULT_PLAN,
    columns: options.OfColumns,
    panel: Annotated[
        str | None,
        typer.Option(
            "--for", help="Name of a shipped panel, or your own file: show the designs that fit it."
        ),
    ] = None,
    format: options.TextOrJson = "text",
) -> None:
    """List the designs, or show one with its assumptions, options, references and an example.

    With --for, show which designs fit a panel, with their performance in simulations. Example: study designs --for
    cvpr.
    """
    from study.designs import all_designs, find_design

    if panel is not None:
        from study.commands.design_pages import designs_for

        if name is not None:
            raise QuestionError("study designs: give the name of a design or --for a panel, not both.")
        fitting = designs_for(panel, columns, plan)
        typer.echo(fitting.text() if format == "text" else report.as_json(fitting.record()))
        return
    if columns != options.OfColumns():
        raise QuestionError("study designs: options about columns go with --for, and a file.")
    chosen = list(all_designs().values()) if name is None else [find_design(name)]
    if format == "json":
        _list(chosen, "name", "title", "reference", "estimand", "assumes", "supports", "options")
        return
    if name is not None:
        from study.commands.design_pages import design_page

        typer.echo(design_page(chosen[0]))
        return
    for design in chosen:
        defaults = ", ".join(f"{name}={value!r}" for name, value in design.options.items()) or "none"
        typer.echo(f"{design.name}: {design.title} [{design.reference}]")
        typer.echo(f"  estimand: {design.estimand}")
        typer.echo(f"  assumes:  {'; '.join(design.assumes)}")
        typer.echo(f"  supports: {'; '.join(design.supports)}")
        typer.echo(f"  options:  {defaults}")


def diagnostics(*, format: options.TextOrJson = "text") -> None:
    """List the diagnostics that study diagnose runs, with their requirements."""
    from study.diagnostics import all_diagnostics

    if format == "json":
        _list(all_diagnostics().values(), "name", "title", "question", "needs", "designs")
        return
    for diagnostic in all_diagnostics().values():
        designs = [f"the design {' or '.join(diagnostic.designs)}"] if diagnostic.designs else []
        typer.echo(f"{diagnostic.name}: {diagnostic.title}")
        typer.echo(f"  asks:  {diagnostic.question}")
        typer.echo(f"  needs: {'; '.join([*diagnostic.needs, *designs]) or 'nothing more'}")


def estimate(
    *,
    outcome: options.Outcome,
    event: Annotated[str, options.EVENT],
    source: options.OfPanel,
    design: options.Designs = None,
    scale: options.Scale = "level",
    of_question: options.OfQuestion,
    option: list[str] | None = None,
    vcov: options.Vcov = "jackknife",
    level: float = 0.95,
    terms: str = "average",
    engine: options.OfEngine,
    workers: options.OfWorkers,
    to: options.OfOutput,
    figure: options.OfPlot,
) -> None:
    """Estimate an effect on your own panel or a shipped one.

    There is one estimate for each outcome and design. The default design is callaway_santanna.

    Parameters
    ----------
    option : list of str, optional
        Option of the design as NAME=VALUE, for example learner=forest. Repeat it for several.
    level : float
        Level of confidence intervals.
    terms : str
        Effects to show: average, or by event_time, cohort or period.
    """
    from study.designs import estimate as run_design
    from study.designs import find_design

    form = to.chosen("study estimate")
    core.refuse_unknown("terms", terms, get_args(report.Terms), "study estimate")
    figure.check()
    core.check("Question", {"level": float}, {"level": level})
    designs = [find_design(name) for name in design or ["callaway_santanna"]]
    given = options.read_options(option)
    for chosen in designs:
        chosen.check_options(given)
    question = of_question.read(outcome[0], event, scale, source)
    names = [chosen.name for chosen in designs]
    with engine.opened("study estimate", source, question, outcome, names, figure.label) as panel:
        words = figure.words(panel, "study estimate")
        with workers.learning(names):
            fits = [
                run_design(panel, each, name, vcov=vcov, **given)
                for each in (question.replace(outcome=name) for name in outcome)
                for name in names
            ]
        averaged = terms == "average"
        shown = [fit.headline if averaged else fit.aggregate(report.TERMS[terms][0]) for fit in fits]
        keys = [
            f"{fit.design}, {fit.sample.question.outcome}" if len(outcome) > 1 else fit.design for fit in fits
        ]
        effects = dict(zip(keys, fits if averaged else shown, strict=True))
        drawn = figure.drawn(figures.effects_plot, effects, labels=words, level=level, window=figure.window)
        text = report.estimates_in(form, shown, level)
    to.give(text)
    figure.write(drawn)


def compare(
    *,
    outcome: options.Outcome,
    event: Annotated[str, options.EVENT],
    source: options.OfPanel,
    design: options.Designs = None,
    scale: options.Scale = "level",
    of_question: options.OfQuestion,
    vcov: options.Vcov = "jackknife",
    force: bool = False,
    draws: int = 9999,
    seed: int = 0,
    level: float = 0.95,
    engine: options.OfEngine,
    workers: options.OfWorkers,
    to: options.OfOutput,
    figure: options.OfPlot,
) -> None:
    """Estimate an effect by several designs and test whether their estimates are equal.

    The default is every design without random draws.

    Parameters
    ----------
    force : bool
        Compare estimates even if their estimands, scales or windows differ.
    draws : int
        Number of bootstrap draws for the test that the designs agree.
    seed : int
        Seed of the random draws.
    level : float
        Level of confidence intervals.
    """
    from study.designs import find_design

    form = to.chosen("study compare")
    figure.check()
    core.check("Question", {"level": float}, {"level": level})
    named = engine.designs(design)
    designs: Any = named and [(name, find_design(name).seeded({}, seed), name) for name in named]
    question = of_question.read(outcome[0], event, scale, source)
    engine.refuse_several("study compare", outcome)
    with engine.opened("study compare", source, question, outcome, named, figure.label) as panel:
        words = figure.words(panel, "study compare")
        with workers.learning(named or ()):
            compared = inference.compare(
                panel, question, designs, outcome, vcov=vcov, force=force, draws=draws, seed=seed
            )
        comparison = options.refusals_as_options(compared)
        if figure.window is None:
            drawn = figure.drawn(comparison.plot, labels=words, level=level)
        else:
            paths = {
                f"{words.get(label, label)}, {words.get(name, name)}" if len(outcome) > 1 else label: fit
                for (name, label), fit in comparison.fits.items()
            }
            drawn = figure.drawn(figures.event_plot, paths, labels=words, level=level, window=figure.window)
        text = report.comparison_in(form, comparison, level)
    to.give(text)
    figure.write(drawn)


def diagnose(
    question: str = "",
    *,
    plan: options.Plan = options.DEFAULT_PLAN,
    panel: options.OwnPanel = None,
    columns: options.OfColumns,
    design: options.Design = None,
    vcov: options.PlanVcov = None,
    output: Path | None = None,
    workers: options.OfWorkers,
    cache: options.Cache = None,
) -> None:
    """Report the assumptions of a design, the evidence against them and the robustness of the sign.

    The figures and tables are written to files.

    Parameters
    ----------
    question : str
        Question of the plan, as EVENT, EVENT/OUTCOME or EVENT/OUTCOME/SCALE. Default: the first question.
    output : Path, optional
        Folder for figures and tables. Default: build/diagnose of the plan.
    """

    chosen = columns.plan(panel, plan).under(None, vcov)
    question = question or chosen.events[0].label
    task, build = chosen.ask(question, design), options.build_of(None if panel else plan)
    core.refuse_unwritable(output or build)
    loaded, placebos = paper.run.load(chosen), paper.run.other_panels(chosen.placebos)
    with progress_bar() as progress, workers.settings(cache=core.fits_of(None if panel else plan, cache)):
        verdict = paper.diagnose.diagnose(chosen, task, loaded, placebos, Steps(progress, None, "Diagnosing"))
    page = paper.verdict_text(verdict)
    texts = {"verdict.txt": f"{page}\n".encode(), "details.txt": f"{paper.details(verdict)}\n".encode()}
    folder = Path(build, "diagnose", *question.split("/"), verdict.task.row.name)
    _write(output, folder, texts | verdict.files(), page, "figures, tables, and all that was found")


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
    workers: options.OfWorkers,
    cache: options.Cache = None,
    output: Path | None = None,
) -> None:
    """Estimate how the effect differs across groups and units, and which units should receive grants.

    Units are described by the question's covariates, or by their first outcome if there are none. The figures and
    tables are written to files.

    Parameters
    ----------
    question : str
        Question of the plan, as EVENT, EVENT/OUTCOME or EVENT/OUTCOME/SCALE. Default: the first question, on the scale
        level.
    by : list of str, optional
        Groups: an attribute, a covariate (in thirds) or a rule such as country=US. Separate several with commas.
        Default: the plan's strata, the region, the country with most treated units and the last covariate.
    prior : str, optional
        Covariate that measures the size of a unit before treatment. Default: the question's last numeric covariate.
    grants : int, optional
        Number of grants to allocate. Default: the number of treated units.
    learner : str
        Learner of the outcome regression and the propensity score.
    repetitions : int
        Number of random splits into folds.
    output : Path, optional
        Folder for figures and tables. Default: build/heterogeneity of the plan.
    """
    from study.heterogeneity.page import report as report_on
    from study.heterogeneity.page import usual_groupings

    chosen = columns.plan(panel, plan)
    question = question or chosen.events[0].label
    task, build = chosen.with_level().ask(question), options.build_of(None if panel else plan)
    core.refuse_unwritable(output or build)
    loaded, task_question = paper.run.load(chosen), task.question
    if not task_question.covariates:
        # Something has to say how units differ before treatment: at least what they had in the first period.
        before = loaded.outcomes[task.outcome][:, :1].repeat(len(loaded.periods), axis=1)
        size = f"{task.outcome} in {loaded.period_name(loaded.periods[0])}"
        loaded = replace(loaded, covariates={**loaded.covariates, size: before})
        task_question = task_question.replace(covariates=(size,))
    sample = task_question.sample(loaded)
    with workers.doing("Learning", cache=core.fits_of(None if panel else plan, cache)):
        page = report_on(
            sample,
            by=tuple(by or usual_groupings(sample, task.strata)),
            prior_name=prior,
            budget=grants,
            learner=learner,  # type: ignore[arg-type]  # names are checked there
            repetitions=repetitions,
            level=task.level,
            draws=task.band_draws,
            seed=task.seed,
            event=task.event.called,
        )
    folder = Path(build, "heterogeneity", *question.split("/"))
    _write(output, folder, page.files(), page.text(), "figures and tables")


def assemble(*, raw: Path, output: Path = Path("data")) -> None:
    """Build the panels, events and crosswalks from the downloaded sources.

    Parameters
    ----------
    raw : Path
        Folder with the downloaded sources.
    output : Path
        Folder for the panels.
    """
    from study.data.assemble.build import assemble as make

    core.refuse_unwritable(output)
    with progress_bar() as progress, core.settings(progress=Steps(progress, None)):
        written = make(raw, output)
    options.list_written(written)


def audit() -> None:
    """Print the accuracy of affiliation matching, cluster grants, topics and machines, from hand-checked samples."""
    from study.data.audits import results

    typer.echo(results())


def validate(file: Path, *, columns: options.OfColumns) -> None:
    """Check whether a file can be used as a panel, and list the rows with errors.

    Roles of columns that are not named follow from the column names. Exit code 1: the file has errors.

    Parameters
    ----------
    file : Path
        File in long format, one row per unit and period: CSV, Parquet, Feather, Stata or Excel.
    """
    text, fit = panels.verdict(file, columns.roles, **columns.how)
    typer.echo(options.as_options(text, ["period", "never"]))
    if not fit:
        raise typer.Exit(1)


def init(file: Path, *, columns: options.OfColumns, output: Path | None = None) -> None:
    """Write a commented plan for your own panel, to use with study run, diagnose and heterogeneity.

    Parameters
    ----------
    file : Path
        File in long format, one row per unit and period: CSV, Parquet, Feather, Stata or Excel.
    output : Path, optional
        File to write, which must not exist. Default: study.toml in the folder of the panel.
    """
    path = output or file.parent / "study.toml"
    if path.exists():
        raise core.OutputError(f"{path}: it is there already; name another file with --output.")
    text = columns.plan_text(file, path.parent)
    options.list_written(core.write_all(path.parent, {path.name: text.encode()}))
    typer.echo(f"Next: study run --plan {quote(as_typed(path))}")


def fetch(sources: list[str] | None = None, *, raw: Path | None = None) -> None:
    """Download the published sources.

    Existing files are kept, and interrupted downloads resume.

    Parameters
    ----------
    sources : list of str, optional
        Names of sources. Default: those that study data assemble reads.
    raw : Path, optional
        Folder for the downloaded sources. Default: a folder in the user's cache.
    """
    from study.data import sources as published

    folder = raw or core.cache_folder() / "raw"
    with progress_bar() as progress:
        fetcher = published.Fetcher(progress=core.arrived(progress))
        with core.settings(progress=Steps(progress, None)):
            results = published.fetch(sources or published.READ, folder, fetcher)
    for result in results:
        typer.echo(f"{result.source}: {result.error or f'{len(result.files)} files'}")
    typed = quote(as_typed(folder))
    typer.echo(f"Originals are in {typed}; make the panels with: study data assemble --raw {typed}")
    if any(result.error for result in results):
        raise typer.Exit(2)


def outcomes(
    *,
    raw: Path | None = None,
    output: Path = Path("openalex.csv"),
    topic: list[str] | None = None,
    memory: str = "2GB",
) -> None:
    """Count papers by university, year and topic in OpenAlex, as a CSV file in long format.

    The works come from study data fetch openalex. The columns are outcomes by ROR identifier and year, for your own
    panel.

    Parameters
    ----------
    raw : Path, optional
        Folder with the downloaded sources. Default: a folder in the user's cache.
    output : Path
        File to write.
    topic : list of str, optional
        Topic (T10320), subfield (subfields/1702), field (fields/17) or venue (S4306400194) to count. Separate several
        with commas. Default: computer vision and machine learning.
    memory : str
        Memory limit; beyond it, temporary files are used.
    """
    from study.data.sources import openalex

    core.refuse_unwritable(output.parent, output.name)
    chosen = {"topics": topic} if topic else {}
    with progress_bar() as progress, core.settings(progress=Steps(progress, None)):
        folder = (raw or core.cache_folder() / "raw") / "openalex"
        counts = openalex.read(folder, memory_limit=memory, **chosen)
    options.list_written(core.write_all(output.parent, {output.name: counts.to_csv(index=False).encode()}))


def _list(entries: Iterable[Any], *keys: str) -> None:
    """Print what a catalogue has of each of its entries, as JSON."""
    typer.echo(report.as_json([{key: getattr(entry, key) for key in keys} for entry in entries]))


def _write(output: Path | None, usual: Path, files: dict[str, bytes], page: str, what: str) -> None:
    """Write files to a folder that is named, or to the usual one, where files of an earlier question do not stay."""
    folder = output or usual
    written = core.write_all(folder, files)
    if output is None:
        endings = {path.suffix for path in written}
        for path in {path for path in folder.glob("*.*") if path.suffix in endings} - {*written}:
            if path.is_file():  # an outcome's folder may have such a name
                path.unlink()
    typer.echo(page)
    typer.echo(f"\n{len(written)} files written to {as_typed(folder)}: {what}.")


COMMANDS = {
    "Estimates": (
        *(estimate, compare, paper_commands.table, diagnose, heterogeneity),
        simulate_command.simulate,
    ),
    "Designs": (designs, diagnostics),
    "Your own panel": (validate, init),
    "Paper": paper_commands.COMMANDS,
}
for panel_of_help, commands in COMMANDS.items():
    for command in commands:
        app.command(rich_help_panel=panel_of_help)(options.spread(command))
for of_data in (fetch, assemble, audit, outcomes):
    data_app.command()(options.spread(of_data))
app.add_typer(data_app, name="data", rich_help_panel="Paper")


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
        command = "the command's"
        if error.ctx is not None:  # none is known where an option lacks its value
            command = error.ctx.command_path
            message = ELSEWHERE.get(getattr(error, "option_name", ""), message)
        if message:
            message += f"{'' if message.endswith(('.', '?')) else '.'} See {command} --help."
    except (KeyboardInterrupt, typer.Abort):
        code = INTERRUPTED
    if code == INTERRUPTED:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # of one who presses it twice
        message = "interrupted; nothing was half-written, and what was finished is kept for the next run."
    if message:
        typer.echo(f"study: {message}", err=True)
    raise SystemExit(code)
