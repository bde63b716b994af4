"""Options that commands share, as what they ask of which panel."""

from __future__ import annotations

import os
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from study.core import QuestionError

if TYPE_CHECKING:
    from study.panel import Panel, Question

Event = Annotated[
    str, typer.Option("--event", help="Event: a column of first treated periods, or of 0/1 treatment.")
]
EventOfPanel = Annotated[
    str | None, typer.Option("--event", help="Event: a column of first treated periods, or of 0/1 treatment.")
]
PanelName = Annotated[str, typer.Option("--panel", help="A shipped panel's name, or a long CSV file.")]
Unit = Annotated[str, typer.Option("--unit", help="Unit column of a CSV file.")]
Time = Annotated[str, typer.Option("--time", help="Period column of a CSV file.")]
Treatment = Annotated[bool, typer.Option("--treatment", help="The event column is 0/1 by period.")]
Ambiguous = Annotated[
    str,
    typer.Option(
        "--ambiguous",
        help="With --treatment, units whose treatment is not observed when it may have started: drop, or date them "
        "by the earliest or latest possible period.",
    ),
]
Covariate = Annotated[
    list[str] | None, typer.Option("--covariate", help="Covariate column; may be repeated.")
]
Cluster = Annotated[
    str | None, typer.Option("--cluster", help="Column to cluster by; the unit where none is given.")
]
Instrument = Annotated[
    str | None, typer.Option("--instrument", help="Covariate column that moves units into treatment.")
]
Scale = Annotated[str, typer.Option("--scale", help="level, log1p or proportional.")]
Scales = Annotated[
    list[str] | None, typer.Option("--scale", help="level, log1p or proportional; may be repeated.")
]
Population = Annotated[
    str,
    typer.Option(
        "--population",
        help="all, a population of the panel, or a rule such as country=US and tier!=1 paper.",
    ),
]
Comparison = Annotated[str, typer.Option("--comparison", help="not_yet_treated or never_treated.")]
Base = Annotated[str, typer.Option("--base", help="universal or varying.")]
Convention = Annotated[
    str, typer.Option("--convention", help="Of standard errors: jackknife, CR0, CR1, CR1_fixest or CR1_areg.")
]
Missing = Annotated[str, typer.Option("--missing", help="pairs, balanced or cells.")]
Anticipation = Annotated[int, typer.Option("--anticipation", help="Periods of anticipation.")]
Lag = Annotated[int, typer.Option("--lag", help="Periods by which the event is moved later.")]
Horizon = Annotated[int | None, typer.Option("--horizon", help="Last event time in the average.")]
Smallest = Annotated[
    int | None, typer.Option("--min-cohort-size", help="Smaller cohorts are dropped and counted.")
]
DesignOptions = Annotated[
    list[str] | None,
    typer.Option(
        "--option", help="Option of the design as NAME=VALUE, for example learner=forest; may be repeated."
    ),
]
Latex = Annotated[bool, typer.Option("--latex", help="Print LaTeX.")]


def read_question(command: str, **values: Any) -> Question:
    """Return the question that the options of a command ask."""
    from study.panel import Question

    return Question.from_dict(values, command)


def read_options(given: Sequence[str]) -> dict[str, Any]:
    """Return options that are given as NAME=VALUE, with numbers and true or false as what they are."""
    read = {}
    for pair in given:
        name, equals, value = pair.partition("=")
        if not equals or not name:
            raise QuestionError(f'--option: "{pair}" is no option; write NAME=VALUE, for example folds=5.')
        try:
            read[name] = tomllib.loads(f"value = {value}")["value"]
        except tomllib.TOMLDecodeError:
            read[name] = value
    return read


def read_panel(
    name: str,
    unit: str,
    time: str,
    outcomes: list[str],
    treatment: bool,
    question: Question,
    ambiguous: str = "drop",
) -> Panel:
    """Return a shipped panel, or the columns of a CSV file that the question needs."""
    from study.panel import Panel, load_panel, panel_entries

    if name in panel_entries() or not _is_path(name):
        return load_panel(name)
    in_rule = _columns(question.population, {*outcomes, question.event})
    return Panel.from_long(
        name,
        unit=unit,
        time=time,
        treatment=question.event if treatment else (),
        first_treated=() if treatment else question.event,
        outcomes=outcomes,
        covariates=_once(*question.covariates, question.instrument, *in_rule["covariates"]),
        attributes=_once(question.cluster, *in_rule["attributes"]),
        ambiguous=ambiguous,  # type: ignore[arg-type]  # checked there
    )


def _is_path(name: str) -> bool:
    """Say whether a panel's name is that of a file, there or not, and not a slip of a shipped panel's."""
    return os.path.isfile(name) or bool(Path(name).suffix) or Path(name).name != name


def _columns(rule: str, others: set[str]) -> dict[str, list[str]]:
    """Return the columns that a rule of a population names, without those of the question itself."""
    from study.panel import terms_in

    found: dict[str, list[str]] = {"attributes": [], "covariates": []}
    for term in terms_in(rule):
        if term.name not in others:
            found["attributes" if term.sign in ("=", "!=") else "covariates"].append(term.name)
    return found


def _once(*names: str | None) -> list[str]:
    return list(dict.fromkeys(name for name in names if name is not None))
