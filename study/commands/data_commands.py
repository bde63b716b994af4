"""The commands about data: from published originals to panels, and whether a file is fit to be one."""

from __future__ import annotations

from pathlib import Path

import typer

from study import core, panel
from study.commands.options import OfColumns, as_options, list_written
from study.core import OutputError, arrived, as_typed, progress_bar, refuse_unwritable, steps, write_all


def assemble(*, raw: Path, output: Path = Path("data")) -> None:
    """Make the panels, events and crosswalks from the published originals.

    Parameters
    ----------
    raw : Path
        Folder with the originals; see data/README.md.
    output : Path
        Folder to write the panels into.
    """
    from study.data.assemble.build import assemble as make

    refuse_unwritable(output)
    with progress_bar() as progress, core.settings(progress=steps(progress, None)):
        written = make(raw, output)
    list_written(written)


def audit() -> None:
    """Print what the audits of matching, cluster grants, topics and machines found, from the verdicts that ship."""
    from study.data.audits import results

    typer.echo(results())


def facts(*, vintage: str = "2023-12", threshold: str = "seed", format: str = "text") -> None:
    """Print the seed paper's facts, recomputed beside the published values, and what cannot be recomputed.

    Parameters
    ----------
    vintage : str
        Month of Epoch's table of models: 2023-12 or 2025-11.
    threshold : str
        Which models of known compute are large-scale: seed (the seed paper's criteria), known (any criterion), all,
        topN (the N percent of most compute of each year), 1eN (at least 1eN FLOP).
    format : str
        text, latex, html or md.
    """
    from study.paper.exhibits.facts import printed

    typer.echo(printed(vintage, threshold, format), nl=False)


def validate(file: Path, *, columns: OfColumns) -> None:
    """Say whether a file is fit to be a panel, and what it holds or every row that breaks a rule; exit with 1 if not.

    Columns that are not named are taken from their own names as far as these are certain.

    Parameters
    ----------
    file : Path
        A file of a long table, one row a unit and period: CSV, Parquet, Feather, Stata or Excel.
    """
    text, fit = panel.verdict(file, columns.roles, **columns.how)
    typer.echo(as_options(text, ["period"]))
    if not fit:
        raise typer.Exit(1)


def init(file: Path, *, columns: OfColumns, output: Path | None = None) -> None:
    """Write a commented plan for your own panel, for study run, study diagnose and study heterogeneity to take.

    Parameters
    ----------
    file : Path
        A file of a long table, one row a unit and period, as study validate reads it.
    output : Path, optional
        File to write; study.toml beside the panel if not given. One that is there is not overwritten.
    """
    path = output or file.parent / "study.toml"
    if path.exists():
        raise OutputError(f"{path}: it is there already; name another file with --output.")
    text = columns.plan_text(file, path.parent)
    list_written(write_all(path.parent, {path.name: text.encode()}))
    typer.echo(f"Next: study run --plan {as_typed(path)}")


def fetch(sources: list[str] | None = None, *, raw: Path | None = None) -> None:
    """Download the published originals; what is there is kept, and an interrupted download goes on.

    Parameters
    ----------
    sources : list of str, optional
        Names of sources; those that assemble reads where none are named.
    raw : Path, optional
        Folder of originals; a folder of the user's cache if not given.
    """
    from study.data import sources as published

    folder = raw or core.cache_folder() / "raw"
    with progress_bar() as progress:
        fetcher = published.Fetcher(progress=arrived(progress))
        with core.settings(progress=steps(progress, None)):
            results = published.fetch(sources or published.READ, folder, fetcher)
    for result in results:
        typer.echo(f"{result.source}: {result.error or f'{len(result.files)} files'}")
    typed = as_typed(folder)
    typer.echo(f"Originals are in {typed}; make the panels with: study assemble --raw {typed}")
    if any(result.error for result in results):
        raise typer.Exit(2)


def outcomes(
    *,
    raw: Path | None = None,
    output: Path = Path("openalex.csv"),
    topic: list[str] | None = None,
    memory: str = "2GB",
) -> None:
    """Count papers by university, year and topic in the OpenAlex works that were fetched, as a long CSV file.

    Its columns are outcomes by ror and year, for a panel of one's own; data/README.md says what counts as what.

    Parameters
    ----------
    raw : Path, optional
        Folder of originals, with the works that study fetch openalex has put there; that of the user's cache if not
        given.
    output : Path
        File to write.
    topic : list of str, optional
        Topic (T10320), subfield (subfields/1702), field (fields/17) or venue (S4306400194) that gets rows of its own;
        several with commas, or repeat the option. Computer vision and machine learning if not given.
    memory : str
        What may be held in memory before it spills to disk.
    """
    from study.data.sources import openalex

    refuse_unwritable(output.parent, output.name)
    options = {"topics": topic} if topic else {}
    with progress_bar() as progress, core.settings(progress=steps(progress, None)):
        folder = (raw or core.cache_folder() / "raw") / "openalex"
        counts = openalex.read(folder, memory_limit=memory, **options)
    list_written(write_all(output.parent, {output.name: counts.to_csv(index=False).encode()}))


COMMANDS = (assemble, audit, facts, validate, init, fetch, outcomes)
