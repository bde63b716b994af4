"""The commands about data: from published originals to panels, and whether a file is fit to be one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import typer

from study.commands.options import Covariates, Outcomes, list_written
from study.core import arrived, as_typed, progress_bar, steps


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

    with progress_bar() as progress:
        written = make(raw, output, progress=steps(progress, None))
    list_written(written)


def audit() -> None:
    """Print what the audits of matching, cluster grants and topics found, from the verdicts that ship."""
    from study.paper.audits import results

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
    from study.paper.facts.tables import printed

    typer.echo(printed(vintage, threshold, format), nl=False)


def validate(
    file: Path,
    *,
    unit: str = "",
    time: str = "",
    outcome: Outcomes = None,
    first_treated: list[str] | None = None,
    treatment: list[str] | None = None,
    covariate: Covariates = None,
    attribute: list[str] | None = None,
) -> None:
    """Say whether a file is fit to be a panel, and print every row that breaks a rule; exit with 1 if it is not.

    Columns that are not named are taken from their own names as far as these are certain.

    Parameters
    ----------
    file : Path
        A long CSV file, one row a unit and period.
    unit : str
        Unit column.
    time : str
        Period column.
    first_treated : list of str, optional
        Column of first treated periods; several with commas, or repeat the option.
    treatment : list of str, optional
        Column of 0/1 treatment; several with commas, or repeat the option.
    attribute : list of str, optional
        Label column; several with commas, or repeat the option.
    """
    from study.panel import verdict

    columns: dict[str, Any] = {"unit": unit, "time": time, "outcomes": outcome}
    columns |= {"first_treated": first_treated, "treatment": treatment}
    columns |= {"covariates": covariate, "attributes": attribute}
    text, fit = verdict(file, {role: names for role, names in columns.items() if names})
    typer.echo(text)
    if not fit:
        raise typer.Exit(1)


def fetch(sources: list[str] | None = None, *, raw: Path | None = None) -> None:
    """Download the published originals; what is there is kept, and an interrupted download goes on.

    Parameters
    ----------
    sources : list of str, optional
        Names of sources; those that assemble reads where none are named.
    raw : Path, optional
        Folder of originals; a folder of the user's cache if not given.
    """
    from study.core import cache_folder
    from study.data import sources as published
    from study.data.sources.fetching import Fetcher
    from study.data.sources.provenance import SOURCES

    folder = raw or cache_folder() / "raw"
    with progress_bar() as progress:
        fetcher = Fetcher(progress=arrived(progress))
        results = published.fetch(sources or list(SOURCES), folder, fetcher, steps(progress, None))
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
    from study.core import cache_folder, write_all
    from study.data.sources import openalex

    options = {"topics": topic} if topic else {}
    with progress_bar() as progress:
        folder = (raw or cache_folder() / "raw") / "openalex"
        counts = openalex.read(folder, steps(progress, None), memory_limit=memory, **options)
    list_written(write_all(output.parent, {output.name: counts.to_csv(index=False).encode()}))


COMMANDS = (assemble, audit, facts, validate, fetch, outcomes)
