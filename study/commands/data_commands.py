"""The commands about data: from published originals to panels, and whether a file is fit to be one."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from study.commands.options import Covariates, Outcomes, list_written
from study.core import arrived, as_typed, progress_bar, steps


def assemble(
    raw: Annotated[Path, typer.Option(help="Folder with the originals; see data/README.md.")],
    output: Annotated[Path, typer.Option(help="Folder to write the panels into.")] = Path("data"),
) -> None:
    """Make the panels, events and crosswalks from the published originals."""
    from study.data.assemble.build import assemble as make

    with progress_bar() as progress:
        written = make(raw, output, progress=steps(progress, None))
    list_written(written)


def audit() -> None:
    """Print what the audits of matching, cluster grants and topics found, from the verdicts that ship."""
    from study.paper.audits import results

    typer.echo(results())


def facts(
    vintage: Annotated[
        str, typer.Option(help="Month of Epoch's table of models: 2023-12 or 2025-11.")
    ] = "2023-12",
    threshold: Annotated[
        str,
        typer.Option(
            help="Which models of known compute are large-scale: seed (the seed paper's criteria), known (any "
            "criterion), all, topN (the N percent of most compute of each year), 1eN (at least 1eN FLOP)."
        ),
    ] = "seed",
    kind: Annotated[str, typer.Option("--format", help="text, latex, html or md.")] = "text",
) -> None:
    """Print the seed paper's facts, recomputed beside the published values, and what cannot be recomputed."""
    from study.paper.facts.tables import printed

    typer.echo(printed(vintage, threshold, kind), nl=False)


def validate(
    file: Annotated[Path, typer.Argument(help="A long CSV file, one row a unit and period.")],
    unit: Annotated[str, typer.Option(help="Unit column.")] = "",
    time: Annotated[str, typer.Option(help="Period column.")] = "",
    outcome: Outcomes = None,
    first_treated: Annotated[
        list[str] | None, typer.Option(help="Column of first treated periods; may be repeated.")
    ] = None,
    treatment: Annotated[
        list[str] | None, typer.Option(help="Column of 0/1 treatment; may be repeated.")
    ] = None,
    covariate: Covariates = None,
    attribute: Annotated[list[str] | None, typer.Option(help="Label column; may be repeated.")] = None,
) -> None:
    """Say whether a file is fit to be a panel, and print every row that breaks a rule; exit with 1 if it is not.

    Columns that are not named are taken from their own names as far as these are certain.
    """
    from study.panel import verdict

    columns = {
        "unit": unit,
        "time": time,
        "outcomes": outcome,
        "first_treated": first_treated,
        "treatment": treatment,
        "covariates": covariate,
        "attributes": attribute,
    }
    text, fit = verdict(file, {role: names for role, names in columns.items() if names})
    typer.echo(text)
    if not fit:
        raise typer.Exit(1)


def fetch(
    sources: Annotated[
        list[str] | None,
        typer.Argument(help="Names of sources; those that assemble reads where none are named."),
    ] = None,
    raw: Annotated[
        Path | None, typer.Option(help="Folder of originals; a folder of the user's cache if not given.")
    ] = None,
) -> None:
    """Download the published originals; what is there is kept, and an interrupted download goes on."""
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
    typer.echo(
        f"Originals are in {as_typed(folder)}; make the panels with: study assemble --raw {as_typed(folder)}"
    )
    if any(result.error for result in results):
        raise typer.Exit(2)


COMMANDS = (assemble, audit, facts, validate, fetch)
