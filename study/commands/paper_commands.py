"""The commands about the paper: make it, check it, compile it, and say where a number comes from."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import typer

from study import core, report
from study import paper as papers
from study.commands import options
from study.core import as_typed, progress_bar, refuse_unwritable, settle, steps, write_all

DEFAULT_REPORT = Path("build") / "report.html"
TEXT = ("main.tex", "appendix.tex", "preamble.tex", "references.bib")

# Commands that take the plan.
OF_PLAN = tuple(f"study {name}" for name in ("run", "check", "table", "diagnose", "heterogeneity"))


def run(
    *,
    plan: options.Plan = options.DEFAULT_PLAN,
    panel: options.OwnPanel = None,
    columns: options.OfColumns,
    design: options.Design = None,
    workers: options.OfWorkers,
    output: Path | None = None,
    cache: options.Cache = None,
) -> None:
    """Produce every table, figure and number of the paper, the record of all estimates, and build/report.html.

    In the plan's own folder its Markdown texts get the values of the numbers that they cite.

    Parameters
    ----------
    output : Path, optional
        Folder to write everything into, with the paper's texts, instead of the plan's own and build; for --panel,
        instead of build/run/ and the panel's name. Another plan that is there is not written over.
    """

    chosen = columns.plan(panel, plan).under(design)
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
    page = (output / DEFAULT_REPORT.name if output else DEFAULT_REPORT).absolute()
    for place in (target, page.parent):
        refuse_unwritable(place)
    settle(target)
    papers.run.cited(chosen, beside)
    loaded = papers.run.load(chosen)
    if "tournament" in chosen.exhibits:
        # A record that is not the plan's is refused before any estimate, and not after all.
        papers.tournament.read_record(chosen, loaded)
    # Where the paper is written elsewhere, its text goes with it, unless one is there.
    texts = {name: beside / name for name in TEXT if not (target / name).exists()}
    files |= {name: path.read_bytes() for name, path in texts.items() if path.is_file()}
    with workers.settings(), progress_bar() as progress:
        step = steps(progress, len(list(chosen.tasks())) + len(chosen.exhibits))
        results = papers.run.run(chosen, loaded, jobs=workers.jobs, progress=step, cache=folder)
        outputs = papers.run.exhibit(chosen, loaded, results, jobs=workers.jobs, progress=step, cache=folder)
    text = files[plan.name].decode() if panel is not None else plan.read_text(encoding="utf-8")
    files |= outputs.files(beside) | {str(page): outputs.page(text, beside)}
    if target.resolve() == beside:
        files |= {str(path): content for path, content in outputs.texts(beside).items()}
    written = write_all(target, files)
    typer.echo(f"Headline design: {chosen.headline.label}. Panel {loaded.name}, checksum {loaded.checksum}.")
    options.list_written(written)
    for lacking in outputs.unresolved(beside):
        typer.echo(f"study: {lacking}", err=True)


def check(
    plan: options.Plan = options.DEFAULT_PLAN, design: options.Design = None, *, workers: options.OfWorkers
) -> None:
    """Compare a fresh run with the recorded estimates, cell by cell; exit with 1 where they differ.

    Allowed are two draws where a p-value counts draws, a twentieth of a standard error for learners, and elsewhere one
    in a million of the larger of an estimate and its standard error.
    """

    chosen = papers.read_plan(plan).under(design)
    recorded = papers.record.read_record(plan.resolve().parent / "estimates.csv")
    panel = papers.run.load(chosen)
    with workers.settings(), progress_bar() as progress:
        step = steps(progress, len(list(chosen.tasks())))
        results = papers.run.run(chosen, panel, jobs=workers.jobs, progress=step)
    differences = papers.record.differences(recorded, papers.record.record(results))
    for difference in differences:
        typer.echo(difference)
    if differences:
        typer.echo(f"{len(differences)} cells differ from the record of {len(recorded)} estimates.")
        raise typer.Exit(1)
    typer.echo(f"All {len(recorded)} recorded estimates agree with the fresh run.")


def paper(plan: options.Plan = options.DEFAULT_PLAN) -> None:
    """Compile the PDFs of the paper, main.tex, and of its appendix, appendix.tex, from what `study run` wrote."""
    papers.check_exists(plan)
    options.list_written(report.compile_paper(options.folder_of_paper(plan)))


def trace(address: str | None = None, *, plan: options.Plan = options.DEFAULT_PLAN) -> None:
    """Say where a number of the paper comes from: question, design, options, panel checksum, seed, command.

    Parameters
    ----------
    address : str, optional
        As the text cites it: main/papers/proportional/headline/estimate. Without one, every sentence of the texts in
        LaTeX that cites numbers is printed with their values, their addresses and the exhibits that make them.
    """

    papers.check_exists(plan)
    # Those of a run here, or those that are recorded with the plan.
    folders = [options.folder_of_paper(plan), plan.resolve().parent]
    folder = next((each for each in folders if (each / papers.numbers.FILE).is_file()), folders[0])
    known = papers.numbers.read_sources(folder)
    if address is None:
        _list_sentences(plan, known)
        return
    traced = papers.numbers.find(known, address)
    command = with_plan(traced.source.command, plan)
    typer.echo(papers.numbers.traced_text(traced._replace(source=replace(traced.source, command=command))))


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


COMMANDS = (run, check, paper, trace)
