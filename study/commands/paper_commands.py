"""Commands of the paper (run, check, paper, trace), and tables of designs by outcomes."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, cast

import typer

from study import core, inference, report
from study import panel as panels
from study import paper as papers
from study.commands import options
from study.core import QuestionError, Steps, as_typed, listed, progress_bar

TEXT = ("main.tex", "appendix.tex", "preamble.tex", "references.bib")

WHO = "study table"

# Commands that take the plan.
OF_PLAN = tuple(f"study {name}" for name in ("run", "check", "table", "diagnose", "heterogeneity"))


def run(
    *,
    plan: options.Plan = options.DEFAULT_PLAN,
    panel: options.OwnPanel = None,
    columns: options.OfColumns,
    design: options.Design = None,
    vcov: options.PlanVcov = None,
    only: list[str] | None = None,
    workers: options.OfWorkers,
    output: Path | None = None,
    cache: options.Cache = None,
) -> None:
    """Estimate everything in a plan and write the tables, figures, numbers and report.

    The report is build/report.html. Markdown texts in the plan's folder are updated with the numbers they cite. Exit
    code 1: a text cites a number that does not exist.

    Parameters
    ----------
    only : list of str, optional
        Exhibits to print, such as facts, instead of writing all of them. Separate several with commas. With --output,
        their tables and figures are also written.
    output : Path, optional
        Folder for all files, including the texts. Default: the plan's folder and build, or build/run and the name of
        the panel with --panel.
    """

    chosen = columns.plan(panel, plan).under(design, vcov)
    if only:
        _print_exhibits(chosen, only, workers, output, cache or core.folder_of(None if panel else plan))
        return
    files: dict[str, bytes] = {}
    if panel is not None:
        output = output or Path("build", "run", panel.name.split(".")[0])
        # A plan is kept beside what was made from it.
        plan = output / "study.toml"
        files[plan.name] = columns.plan_text(panel, output).encode()
        if plan.is_file() and plan.read_bytes() != files[plan.name]:
            raise core.OutputError(
                f"{as_typed(plan)}: it is there already and is not the plan of this panel and its options; run it with "
                "--plan, or name another folder with --output."
            )
    beside = plan.resolve().parent
    folder, target = cache or core.folder_of(plan), output or options.folder_of_paper(plan)
    page = ((output or options.build_of(plan)) / "report.html").absolute()
    for place in (target, page.parent):
        core.refuse_unwritable(place)
    core.settle(target)
    papers.run.cited(chosen, beside)
    loaded = papers.run.load(chosen)
    if "tournament" in chosen.exhibits:
        # A record that is not the plan's is refused before any estimate, and not after all.
        papers.tournament.read_record(chosen, loaded)
    # Where the paper is written elsewhere, its text goes with it, unless one is there.
    texts = {name: beside / name for name in TEXT if not (target / name).exists()}
    files |= {name: path.read_bytes() for name, path in texts.items() if path.is_file()}
    with workers.settings(), progress_bar() as progress:
        step = Steps(progress, len(list(chosen.tasks())) + len(chosen.exhibits))
        results = papers.run.run(chosen, loaded, jobs=workers.jobs, progress=step, cache=folder)
        outputs = papers.run.exhibit(chosen, loaded, results, jobs=workers.jobs, progress=step, cache=folder)
    text = files[plan.name].decode() if panel is not None else plan.read_text(encoding="utf-8")
    files |= outputs.files(beside) | {str(page): outputs.page(text, beside)}
    if target.resolve() == beside:
        files |= {str(path): content for path, content in outputs.texts(beside).items()}
    written = core.write_all(target, files)
    typer.echo(f"Headline design: {chosen.headline.label}. Panel {loaded.name}, checksum {loaded.checksum}.")
    options.list_written(written)
    unresolved = outputs.unresolved(beside)
    for lacking in unresolved:
        typer.echo(f"study: {lacking}", err=True)
    if unresolved:
        raise typer.Exit(1)


def _print_exhibits(
    plan: papers.Plan, names: list[str], workers: options.OfWorkers, output: Path | None, cache: Path
) -> None:
    """Print the findings and tables of some exhibits; write their tables and figures to a folder, if there is one."""
    core.refuse_unknown("exhibit", names, plan.exhibits, "--only")
    if output is not None:
        core.refuse_unwritable(output)
    chosen = replace(plan, exhibits=tuple(names))
    loaded, results = papers.run.load(chosen), {}
    with workers.settings(), progress_bar() as progress:
        step = Steps(progress, None)
        if any(
            papers.find_exhibit(name).section != papers.Part.FACTS for name in names
        ):  # facts need no estimates
            results = papers.run.run(chosen, loaded, jobs=workers.jobs, progress=step, cache=cache)
        outputs = papers.run.exhibit(chosen, loaded, results, jobs=workers.jobs, progress=step, cache=cache)
    for exhibit, shown in outputs.every_exhibit:
        typer.echo("\n\n".join([core.section(exhibit.title, shown.sentences), *map(str, shown.tables), ""]))
    if output is not None:
        options.list_written(core.write_all(output, outputs.exhibit_files))


def check(
    *, plan: options.Plan = options.DEFAULT_PLAN, design: options.Design = None, workers: options.OfWorkers
) -> None:
    """Estimate everything in a plan again and compare with the recorded estimates.

    Tolerances: two draws for p-values from random draws, 0.05 standard errors for machine learners, otherwise one
    millionth of the estimate or its standard error, whichever is larger. Exit code 1: an estimate differs.
    """
    chosen = papers.read_plan(plan).under(design)
    recorded = papers.record.read_record(plan.resolve().parent / "estimates.csv")
    panel = papers.run.load(chosen)
    with workers.settings(), progress_bar() as progress:
        step = Steps(progress, len(list(chosen.tasks())))
        results = papers.run.run(chosen, panel, jobs=workers.jobs, progress=step)
    differences = papers.record.differences(recorded, papers.record.record(results))
    for difference in differences:
        typer.echo(difference)
    if differences:
        typer.echo(f"{len(differences)} cells differ from the record of {len(recorded)} estimates.")
        raise typer.Exit(1)
    typer.echo(f"All {len(recorded)} recorded estimates agree with the fresh run.")


def paper(*, plan: options.Plan = options.DEFAULT_PLAN) -> None:
    """Compile main.tex and appendix.tex into PDFs, after study run."""
    papers.check_exists(plan)
    options.list_written(report.compile_paper(options.folder_of_paper(plan)))


def trace(address: str | None = None, *, plan: options.Plan = options.DEFAULT_PLAN) -> None:
    """Show where a number in the paper comes from: question, design, options, data checksum, seed and command.

    Exit code 1: a data file has changed since the numbers were computed.

    Parameters
    ----------
    address : str, optional
        Address of a number in the text, such as main/papers/proportional/headline/estimate. Default: every sentence of
        the LaTeX texts that cites numbers, with their values, addresses and exhibits.
    """
    papers.check_exists(plan)
    # Those of a run here, or those that are recorded with the plan.
    folders = [options.folder_of_paper(plan), plan.resolve().parent]
    folder = next((each for each in folders if (each / papers.numbers.FILE).is_file()), folders[0])
    known = papers.numbers.read_sources(folder)
    if address is None:
        _list_sentences(plan, known)
    else:
        traced = papers.numbers.find(known, address)
        command = with_plan(traced.source.command, plan)
        typer.echo(
            papers.numbers.traced_text(traced._replace(source=replace(traced.source, command=command)))
        )
        known = {address: traced}
    changed = papers.run.changed(papers.read_plan(plan), [each.source for each in known.values()])
    if changed:
        anew = with_plan(papers.RUN, plan)
        typer.echo(
            f"study: {listed(changed)} changed since the numbers were made; make them anew: {anew}", err=True
        )
        raise typer.Exit(1)


def _list_sentences(plan: Path, known: Mapping[str, papers.Traced]) -> None:

    chosen, folder = papers.read_plan(plan), plan.resolve().parent
    papers.run.cited(chosen, folder)  # which refuses a text that is missing
    for text in (path for path in papers.run.texts_of(chosen, folder) if path.suffix == ".tex"):
        for sentence in papers.numbers.sentences(text.read_text(encoding="utf-8"), known):
            if sentence.cited:
                typer.echo(f"{text.name}, line {sentence.line}: {papers.numbers.filled(sentence, known)}")


def with_plan(command: str, plan: Path) -> str:
    """Return a command with the plan that it is about, where it takes one and would not read this one anyway."""
    if not command.startswith(OF_PLAN) or plan.resolve() == options.plan_of().resolve():
        return command
    return f"{command} --plan {shlex.quote(as_typed(plan))}"


def table(
    context: typer.Context,
    question: list[str] | None = None,
    *,
    plan: options.EitherPlan = None,
    outcome: options.Outcomes = None,
    event: Annotated[str | None, options.EVENT] = None,
    source: options.OfPanel,
    designs: options.Designs = None,
    scale: options.Scales = None,
    of_question: options.OfQuestion,
    vcov: options.PlanVcov = None,
    draws: int | None = None,
    seed: int | None = None,
    columns: str = "outcomes",
    terms: str = "average",
    stars: bool = False,
    star_levels: list[str] | None = None,
    digits: int = 3,
    label: list[str] | None = None,
    notes: str = "full",
    mde: bool = False,
    format: str | None = None,
    standalone: bool = False,
    output: Path | None = None,
    engine: options.OfEngine,
    workers: options.OfWorkers,
    cache: options.Cache = None,
) -> None:
    """Make a table of estimates by design and outcome, for questions of the plan or your own panel.

    For questions of the plan: study table main/papers main/papers_academic_only/log1p. For your own panel: study table
    --panel my.csv --unit lab --time year --outcome papers --event first_cluster --designs twfe,imputation.

    The default designs are those of the plan; for your own panel, every design without random draws.

    Parameters
    ----------
    question : list of str, optional
        Questions of the plan, as EVENT, EVENT/OUTCOME or EVENT/OUTCOME/SCALE. Missing parts are the first of the plan.
        There is one table per event, with outcomes as columns and scales as panels.
    draws : int, optional
        Number of bootstrap draws for the test that the designs agree.
    seed : int, optional
        Seed of the random draws.
    columns : str
        Columns of the table: outcomes or designs. The other are the rows.
    terms : str
        Effects to show: average, or by event_time, cohort or period.
    stars : bool
        Stars for p-values below 0.1, 0.05 and 0.01.
    star_levels : list of str, optional
        Levels of the stars, for example 0.05,0.01,0.001.
    digits : int
        Number of decimals of effects and standard errors.
    label : list of str, optional
        Label of an outcome, event, design, cluster, covariate or scale, or of unit and units, as NAME=WORDS, for
        example papers="Papers a year". Repeat the option for several.
    notes : str
        Notes below the table: short, full or none.
    mde : bool
        Minimum detectable effect below each effect, on its scale and in percent.
    format : str, optional
        Format to print: latex, html, md, csv or txt. A file has the format of its suffix.
    standalone : bool
        LaTeX document that compiles on its own, instead of a table to include.
    output : Path, optional
        File to write instead of printing: .tex, .html, .md, .docx, .csv or .txt. The label of effects.tex is
        tab:effects, or tab:effects-1, tab:effects-2 and so on for several tables.
    """
    from study.designs import find_design

    kind = _format(format, output)
    if output is not None:
        core.refuse_unwritable(output.parent, output.name)
    levels = options.numbers("--star-levels", star_levels) if star_levels else report.STARS if stars else ()
    style = report.Style(columns, levels, digits, notes, mde, terms)  # type: ignore[arg-type]  # checked there
    labels = options.labels(label)
    names = designs and [find_design(name).name for name in designs]
    given: dict[str, Any] = {"vcov": vcov, "draws": draws, "seed": seed}
    how = {name: value for name, value in given.items() if value is not None}
    if question:
        options.refuse_of_panel(context, WHO)
        path = options.plan_of(plan or options.DEFAULT_PLAN)
        with workers.learning(names, cache=core.fits_of(path, cache)):
            tables = of_plan(path, question, names, labels, style, **how)
    else:
        if plan is not None or not outcome or event is None:
            raise QuestionError(
                f"{WHO}: say what to show: questions of the plan (EVENT/OUTCOME/SCALE), or --outcome and --event of "
                "a panel."
            )
        questions = [of_question.read(outcome[0], event, each, source) for each in scale or ["level"]]
        engine.refuse_several(WHO, outcome)
        names = engine.designs(names)
        with (
            engine.opened(WHO, source, questions[0], outcome, names, label) as panel,
            workers.learning(names or (), cache=core.fits_of(None, cache)),
        ):
            tables = of_panel(panel, questions, outcome, names, labels, style, **how)
    if output is None:
        typer.echo(report.document(tables, kind, standalone=standalone).decode(), nl=False)
    else:
        # Tables of several files can stand in one document, which has a label once.
        numbers = [f"-{k}" for k in range(1, len(tables) + 1)] if len(tables) > 1 else [""]
        stem = report.in_letters(output.stem)
        tables = [replace(made, name=f"{stem}{k}") for made, k in zip(tables, numbers, strict=True)]
        options.write_file(output, report.document(tables, kind, standalone=standalone))


def _format(format: str | None, output: Path | None) -> report.Format:
    """Return the format of what is printed, or of a file by its suffix; refuse what is none."""
    if format is not None:
        core.refuse_unknown("format", format, report.PRINTED_FORMATS, WHO)
    if output is None:
        return cast("report.Format", format or "latex")
    kind = report.format_of(output, f"{WHO}: --output")
    if format not in (None, kind):
        raise QuestionError(f"{WHO}: --format is {format}, but {output.name} is {kind}; leave --format out.")
    return kind


def of_panel(
    panel: panels.Panel | panels.LargePanel,
    questions: Sequence[panels.Question],
    outcomes: Sequence[str],
    designs: Sequence[str] | None,
    labels: Mapping[str, str],
    style: report.Style,
    *,
    vcov: str = "jackknife",
    draws: int = 9999,
    seed: int = 0,
) -> list[report.Table]:
    """Return the tables of designs by outcomes for a panel.

    Parameters
    ----------
    panel : Panel or LargePanel
    questions : sequence of Question
        The same question on one or more scales, each a panel of the table.
    outcomes : sequence of str
        The columns.
    designs : sequence of str, optional
        The rows; of None every design that draws nothing at random.
    labels : mapping of str to str
        As :func:`study.table` takes them.
    style : Style
    vcov : str
        The covariance estimator.
    draws, seed : int
        Of the multiplier bootstrap; the seed is also that of designs that draw.

    Raises
    ------
    QuestionError
        If an outcome, event or design is unknown, or a question cannot be asked of the panel.
    """
    from study.designs import find_design

    if isinstance(panel, panels.Panel):
        report.check_labels(labels, panel, (), WHO)
    for question in questions:
        for outcome in outcomes:
            question.replace(outcome=outcome).sample(panel)
    rows = [
        (name, find_design(name).seeded({}, seed), labels.get(name, find_design(name).title))
        for name, _, _ in inference.variants_of(designs, WHO)
    ]
    answers = (
        inference.compare(panel, each, rows, outcomes, vcov=vcov, draws=draws, seed=seed)
        for each in questions
    )
    compared = [*map(options.refusals_as_options, answers)]
    event, titles = questions[0].event, [labels.get(outcome, outcome) for outcome in outcomes]
    caption = f"Effect of {labels.get(event, event)} on {listed(titles)}, by design"
    words = report.Words("designs", caption, dict(zip(outcomes, outcomes, strict=True)), report.SCALES)
    return list(report.design_tables(words.under(labels), compared, style))


def of_plan(
    path: Path,
    questions: Sequence[str],
    designs: Sequence[str] | None,
    labels: Mapping[str, str],
    style: report.Style,
    *,
    vcov: str | None = None,
    draws: int | None = None,
    seed: int | None = None,
) -> list[report.Table]:
    """Return the tables of designs by outcomes for questions of a plan, by event as in :func:`of_panel`.

    Parameters
    ----------
    path : Path
        Of the plan.
    questions : sequence of str
        EVENT, EVENT/OUTCOME or EVENT/OUTCOME/SCALE, as in :meth:`study.paper.plan.Plan.ask`.
    designs : sequence of str, optional
        Names; a design of the plan has the plan's rows, any other one row with its own defaults. Of None all rows
        of the plan.
    labels : mapping of str to str
        In the place of the plan's titles and words, as :func:`study.table` takes them.
    style : Style
    vcov, draws, seed : str and int, optional
        In the place of the plan's.

    Raises
    ------
    DataError, QuestionError
        If the plan cannot be read or does not have a question.
    """

    core.check(WHO, {"draws": int | None, "seed": int | None}, {"draws": draws, "seed": seed})
    given: dict[str, Any] = {"vcov": vcov, "band_draws": draws, "seed": seed}
    changes = {name: value for name, value in given.items() if value is not None}
    plan = replace(papers.read_plan(path), **changes)
    by_event = core.grouped((task.event.label, task) for task in map(plan.ask, questions))
    rows = plan.rows if designs is None else [row for name in designs for row in plan.rows_of(name)]
    panel = papers.run.load(plan)
    report.check_labels(labels, panel, [name for row in rows for name in (row.name, row.label)], WHO)
    rows = [replace(row, label=labels.get(row.label, labels.get(row.name, row.label))) for row in rows]
    tables: list[report.Table] = []
    for label, tasks in by_event.items():
        event = tasks[0].event
        outcomes = [name for name in plan.outcomes if any(name == task.outcome for task in tasks)]
        scales = [name for name in plan.scales if any(name == task.scale for task in tasks)]
        words = report.Words(
            name=f"{label}-designs",
            caption=f"Effect of {labels.get(event.name, event.called)} on {plan.text.outcome}, by design",
            outcomes=plan.outcomes,
            scales=plan.scales,
            unit=plan.text.unit,
            units=plan.text.units,
        ).under(labels)
        compared = [papers.comparison(plan, panel, event, scale, outcomes, rows) for scale in scales]
        tables += report.design_tables(words, compared, style)
    return tables


COMMANDS = (run, check, paper, trace)
