"""The command that makes a table of designs by outcomes, for a plan's questions or for one's own panel."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from study.commands import options
from study.core import QuestionError, learning

if TYPE_CHECKING:
    from study.panel import Panel, Question
    from study.report import Table

WHO = "study table"
FORMATS = ("latex", "html", "md")
OF_ENDING = {".html": "html", ".htm": "html", ".md": "md"}
SCALES = {
    "level": "Effect in units of the outcome",
    "log1p": "Effect on log(1 + outcome)",
    "proportional": "Effect as a share of the counterfactual mean",
}
EITHER = ("question", "plan", "designs", "draws", "seed", "format", "output", "jobs", "cache")


def table(
    context: typer.Context,
    question: list[str] | None = None,
    *,
    plan: Path | None = None,
    designs: options.Designs = None,
    outcome: options.Outcomes = None,
    event: Annotated[str | None, options.EVENT] = None,
    source: options.OfPanel,
    scale: options.Scales = None,
    of_question: options.OfQuestion,
    draws: int | None = None,
    seed: int | None = None,
    format: str | None = None,
    output: Path | None = None,
    jobs: options.Jobs = -1,
    cache: options.Cache = None,
) -> None:
    """Make a table of designs by outcomes, for questions of the plan or for your own panel.

    For questions of the plan: study table main/papers main/papers_academic_only/log1p. For a panel: study table
    --panel my.csv --unit lab --time year --outcome papers --event first_cluster --designs twfe,imputation.

    If no design is named, those of the plan; for a panel, all that draw nothing at random.

    Parameters
    ----------
    question : list of str, optional
        Questions of the plan: EVENT, EVENT/OUTCOME or EVENT/OUTCOME/SCALE, with the event's label; what is left out is
        the plan's first. Outcomes are columns, scales panels, each outcome on each scale; an event is a table.
    plan : Path, optional
        The plan of the questions; paper/study.toml if not given, or the paper's as it ships.
    draws : int, optional
        Draws of the test that the designs agree.
    seed : int, optional
        Seed of these draws, and of designs that draw.
    format : str, optional
        latex, html or md; if not given, what the ending of --output says.
    output : Path, optional
        File to write, instead of printing.
    """
    from study.core import as_typed, fits_of, refuse_unknown, settings, write_all
    from study.designs import find_design

    ending = output.suffix.lower() if output else ""
    format = OF_ENDING.get(ending, "latex") if format is None else format
    refuse_unknown("format", format, FORMATS, WHO)
    names = designs and [find_design(name).name for name in designs]
    of_draws = {name: value for name, value in {"draws": draws, "seed": seed}.items() if value is not None}
    if question:
        for name in context.params:
            came = context.get_parameter_source(name)
            if name not in EITHER and came is not None and came.name == "COMMANDLINE":
                option = f"--{name.replace('_', '-')}"
                raise QuestionError(
                    f"{WHO}: {option} goes with --outcome and --event, not with a question of the plan."
                )
        path = options.plan_of(plan or options.DEFAULT_PLAN)
        with _learning(names, jobs), settings(cache=fits_of(path, cache)):
            tables = of_plan(path, question, names, **of_draws)
    else:
        if plan is not None or not outcome or event is None:
            raise QuestionError(
                f"{WHO}: say what to show: questions of the plan (EVENT/OUTCOME/SCALE), or --outcome and --event of "
                "a panel."
            )
        questions = [of_question.read(WHO, outcome[0], event, each, source) for each in scale or ["level"]]
        panel = source.read(outcome, questions[0])
        with _learning(names or (), jobs), settings(cache=fits_of(None, cache)):
            tables = of_panel(panel, questions, outcome, names, **of_draws)
    text = b"\n".join(table.formatted(format) for table in tables)
    if output is None:
        typer.echo(text.decode(), nl=False)
    else:
        (written,) = write_all(output.parent, {output.name: text})
        typer.echo(f"Written: {as_typed(written)}")


def _learning(names: Sequence[str] | None, jobs: int) -> AbstractContextManager[None]:
    """Return what shows how far learners are, or nothing where no design has any."""
    from study.designs import find_design

    learns = names is None or any(find_design(name).draws for name in names)
    return learning(jobs) if learns else nullcontext()


def of_panel(
    panel: Panel,
    questions: Sequence[Question],
    outcomes: Sequence[str],
    designs: Sequence[str] | None = None,
    draws: int = 9999,
    seed: int = 0,
) -> list[Table]:
    """Return the tables of designs by outcomes for a panel: the estimates, and what each design could have found.

    Parameters
    ----------
    panel : Panel
    questions : sequence of Question
        The same question on one or more scales, each a panel of the table.
    outcomes : sequence of str
        The columns.
    designs : sequence of str, optional
        The rows; by default every design that draws nothing at random.
    draws, seed : int
        Of the multiplier bootstrap; the seed is also that of designs that draw.

    Raises
    ------
    QuestionError
        If an outcome, event or design is unknown, or a question cannot be asked of the panel.
    """
    from study.designs import find_design
    from study.inference import compare, variants_of
    from study.report import Words, design_tables

    for question in questions:
        for outcome in outcomes:
            question.replace(outcome=outcome).sample(panel)
    rows = [
        (name, find_design(name).seeded({}, seed), find_design(name).title)
        for name, _, _ in variants_of(designs, WHO)
    ]
    compared = [compare(panel, question, rows, outcomes, draws=draws, seed=seed) for question in questions]
    words = Words(
        name="designs",
        caption=f"Effect of {questions[0].event} on {', '.join(outcomes)}, by design",
        outcomes={outcome: outcome for outcome in outcomes},
        scales=SCALES,
    )
    return list(design_tables(words, compared))


def of_plan(
    path: Path,
    questions: Sequence[str],
    designs: Sequence[str] | None = None,
    draws: int | None = None,
    seed: int | None = None,
) -> list[Table]:
    """Return the tables of designs by outcomes for questions of a plan, two an event as in :func:`of_panel`.

    Parameters
    ----------
    path : Path
        Of the plan.
    questions : sequence of str
        EVENT, EVENT/OUTCOME or EVENT/OUTCOME/SCALE, as in :meth:`study.paper.plan.Plan.ask`.
    designs : sequence of str, optional
        Names; a design of the plan has the plan's rows, any other one row with its own defaults. By default all
        rows of the plan.
    draws, seed : int, optional
        In the place of the plan's.

    Raises
    ------
    DataError, QuestionError
        If the plan cannot be read or does not have a question.
    """
    from study.core import check
    from study.paper import Task, comparison, read_plan, run
    from study.report import Words, design_tables

    check(WHO, {"draws": int | None, "seed": int | None}, {"draws": draws, "seed": seed})
    given: dict[str, Any] = {"band_draws": draws, "seed": seed}
    plan = replace(read_plan(path), **{name: value for name, value in given.items() if value is not None})
    asked: dict[str, list[Task]] = {}
    for task in map(plan.ask, questions):
        asked.setdefault(task.event.label, []).append(task)
    rows = plan.rows if designs is None else [row for name in designs for row in plan.rows_of(name)]
    panel = run.load(plan)
    tables: list[Table] = []
    for label, tasks in asked.items():
        event = tasks[0].event
        outcomes = [name for name in plan.outcomes if any(name == task.outcome for task in tasks)]
        scales = [name for name in plan.scales if any(name == task.scale for task in tasks)]
        words = Words(
            name=f"{label}-designs",
            caption=f"Effect of the {event.title} on {plan.text.outcome}, by design",
            outcomes=plan.outcomes,
            scales=plan.scales,
            unit=plan.text.unit,
            units=plan.text.units,
        )
        compared = [comparison(plan, panel, event, scale, outcomes, rows) for scale in scales]
        tables += design_tables(words, compared)
    return tables
