"""Options that commands share, as what they ask of which panel."""

from __future__ import annotations

import inspect
import os
import tomllib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, is_dataclass
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from study.core import QuestionError

if TYPE_CHECKING:
    from study.panel import Panel, Question

EVENT = typer.Option(help="Event: a column of first treated periods, or of 0/1 treatment.")
Latex = Annotated[bool, typer.Option("--latex", help="Print LaTeX.")]


@dataclass(frozen=True)
class OfPanel:
    """Which panel a command reads, and which of its columns."""

    panel: Annotated[str, typer.Option(help="A shipped panel's name, or a long CSV file.")] = "cvpr"
    unit: Annotated[str, typer.Option(help="Unit column of a CSV file.")] = "unit"
    time: Annotated[str, typer.Option(help="Period column of a CSV file.")] = "time"
    treatment: Annotated[bool, typer.Option("--treatment", help="The event column is 0/1 by period.")] = False
    ambiguous: Annotated[
        str,
        typer.Option(
            help="With --treatment, units whose treatment is not observed when it may have started: drop, or date them "
            "by the earliest or latest possible period.",
        ),
    ] = "drop"
    covariate: Annotated[list[str] | None, typer.Option(help="Covariate column; may be repeated.")] = None
    cluster: Annotated[
        str | None, typer.Option(help="Column to cluster by; the unit where none is given.")
    ] = None
    instrument: Annotated[
        str | None, typer.Option(help="Covariate column that moves units into treatment.")
    ] = None

    def read(self, outcomes: Sequence[str], question: Question) -> Panel:
        """Return a shipped panel, or the columns of a CSV file that the question needs."""
        from study.panel import Panel, load_panel, panel_entries

        if self.panel in panel_entries() or not _is_path(self.panel):
            return load_panel(self.panel)
        in_rule = _columns(question.population, {*outcomes, question.event})
        return Panel.from_long(
            self.panel,
            unit=self.unit,
            time=self.time,
            treatment=question.event if self.treatment else (),
            first_treated=() if self.treatment else question.event,
            outcomes=outcomes,
            covariates=_once(*question.covariates, question.instrument, *in_rule["covariates"]),
            attributes=_once(question.cluster, *in_rule["attributes"]),
            ambiguous=self.ambiguous,  # type: ignore[arg-type]  # checked there
        )


@dataclass(frozen=True)
class OfQuestion:
    """What a command asks of a panel, beside outcome, event and scale."""

    population: Annotated[
        str,
        typer.Option(help="all, a population of the panel, or a rule such as country=US and tier!=1 paper."),
    ] = "all"
    comparison: Annotated[str, typer.Option(help="not_yet_treated or never_treated.")] = "not_yet_treated"
    base: Annotated[str, typer.Option(help="universal or varying.")] = "universal"
    missing: Annotated[str, typer.Option(help="pairs, balanced or cells.")] = "pairs"
    anticipation: Annotated[int, typer.Option(help="Periods of anticipation.")] = 0
    lag: Annotated[int, typer.Option(help="Periods by which the event is moved later.")] = 0
    horizon: Annotated[int | None, typer.Option(help="Last event time in the average.")] = None
    min_cohort_size: Annotated[int | None, typer.Option(help="Smaller cohorts are dropped and counted.")] = (
        None
    )

    def read(self, command: str, outcome: str, event: str, scale: str, source: OfPanel) -> Question:
        """Return the question that the options of a command ask."""
        from study.panel import Question

        columns = {
            "covariates": tuple(source.covariate or ()),
            "cluster": source.cluster,
            "instrument": source.instrument,
        }
        named = {"outcome": outcome, "event": event, "scale": scale}
        return Question.from_dict(named | columns | vars(self), command)


def spread(command: Callable[..., None]) -> Callable[..., None]:
    """Make each field of a command's dataclasses of options an option of the command."""
    own = inspect.signature(command, eval_str=True)
    parameters: list[inspect.Parameter] = []
    inside: dict[str, inspect.Signature] = {}
    for name, parameter in own.parameters.items():
        kind: Any = parameter.annotation
        if isinstance(kind, type) and is_dataclass(kind):
            inside[name] = inspect.signature(kind, eval_str=True)
            parameters += inside[name].parameters.values()
        else:
            parameters.append(parameter)

    @wraps(command)
    def called(**given: Any) -> None:
        for name, group in inside.items():
            values = {option: given.pop(option) for option in group.parameters}
            given[name] = own.parameters[name].annotation(**values)
        command(**given)

    by_name = [each.replace(kind=inspect.Parameter.KEYWORD_ONLY) for each in parameters]
    called.__signature__ = own.replace(parameters=by_name)  # type: ignore[attr-defined]  # which typer reads
    return called


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
