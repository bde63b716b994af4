"""The command study simulate: designs on simulated panels, for a question of the plan or the user's own panel."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NamedTuple

import typer

from study import core, paper, report
from study import panel as panels
from study.commands import options
from study.core import QuestionError, as_typed, capital, paragraph, section

if TYPE_CHECKING:
    import pandas as pd

    from study.diagnostics import Finding
    from study.simulate.replications import Entrant

WHO = "study simulate"
# Options that go with the plan's own tournament.
RECORDING = ("plan", "record", "jobs", "backend", "address", "cache")
Columns = tuple[tuple[str, str, bool], ...]
# Columns of the tables of what designs do: heading, name in the frame, and whether it is an effect.
MEASURES: Columns = (
    ("Bias", "bias", True),
    ("RMSE", "rmse", True),
    ("Intervals cover, %", "coverage", False),
    ("As published, %", "published_coverage", False),
    ("Test rejects, %", "rejects", False),
    ("MDE", "mde", True),
)
AFTER_TEST: Columns = (
    ("Pre-test rejects, %", "pretest_rejects", False),
    ("Wald's, %", "wald_rejects", False),
    ("Bias after", "bias_after", True),
    ("Cover after, %", "coverage_after", False),
)


def simulate(
    context: typer.Context,
    question: str = "",
    *,
    plan: options.EitherPlan = None,
    outcome: str | None = None,
    event: Annotated[str | None, options.EVENT] = None,
    source: options.OfPanel,
    designs: options.Designs = None,
    scale: options.Scale = "level",
    of_question: options.OfQuestion,
    dial: list[str] | None = None,
    violations: bool = False,
    reps: int = 1000,
    slow_reps: int | None = None,
    seed: int | None = None,
    record: bool = False,
    workers: options.OfWorkers,
    cache: options.Cache = None,
    output: Path | None = None,
    format: options.TextOrJson = "text",
) -> None:
    """Compare the bias, RMSE, coverage and power of designs on simulated panels that resemble yours.

    For a question of the plan: study simulate main/papers. For your own panel: study simulate --panel my.csv --unit lab
    --time year --outcome papers --event first_cluster.

    The default designs are those of the plan; for your own panel, every design with a closed form.

    Parameters
    ----------
    question : str
        Question of the plan, as EVENT, EVENT/OUTCOME or EVENT/OUTCOME/SCALE. Default: the first question.
    outcome : str, optional
        Outcome column.
    dial : list of str, optional
        Parameter of the simulation instead of its calibrated value, as NAME=VALUE, for example trends=0.5. Separate
        several with commas.
    violations : bool
        Simulation of a violation of each assumption, instead of several sizes of the effect.
    reps : int
        Number of simulated panels per process.
    slow_reps : int, optional
        Number of simulated panels per process for slow designs (learners, random draws, searches). Default: a tenth of
        --reps.
    seed : int, optional
        Seed of the random draws.
    record : bool
        Run the simulations of the plan instead, and write their record to its folder.
    output : Path, optional
        Folder for figures and tables, in addition to printing.
    """
    dials = options.pairs("--dial", dial, "NAME=VALUE, for example trends=0.5", float)
    if output is not None:
        core.refuse_unwritable(output)
    path: Path | None = None
    if record:
        others, why = {*context.params} - {*RECORDING}, "is not for --record, which runs what the plan says"
        options.refuse_given(context, others, WHO, why)
        path = options.plan_of(plan or options.DEFAULT_PLAN)
        with workers.doing("Simulating", cache=cache or core.folder_of(path)):
            text = record_of(path)
        typer.echo(text)
        return
    if outcome is not None and event is not None and not question and plan is None:
        own_question = of_question.read(outcome, event, scale, source)
        spec = Specification(source.read([outcome], own_question), own_question, designs, seed or 0)
    else:
        options.refuse_of_panel(context, WHO)
        path = options.plan_of(plan or options.DEFAULT_PLAN)
        spec = spec_of_plan(path, question, designs, seed)
    from study.simulate.performance import VIOLATIONS, tournament

    with workers.doing("Simulating", cache=cache or core.folder_of(path)):
        finding = tournament(
            spec.panel,
            spec.question,
            spec.designs,
            dials=dials,
            processes=VIOLATIONS if violations else None,
            neighbours=spec.neighbours,
            repetitions=reps,
            slow_repetitions=slow_reps,
            level=spec.level,
            seed=spec.seed,
        )
    give(spec, replace(finding, evidence=(*finding.evidence, *spec.remarks)), output, format)


class Specification(NamedTuple):
    """What a tournament is about: panel, question, who takes part, and what the plan says besides."""

    panel: panels.Panel
    question: panels.Question
    designs: Sequence[str | Entrant] | None
    seed: int
    level: float = 0.95
    neighbours: str | None = None
    remarks: tuple[str, ...] = ()


def spec_of_plan(path: Path, question: str, designs: Sequence[str] | None, seed: int | None) -> Specification:
    """Return what a question of a plan asks, with the plan's rows, or those of some designs, as entrants.

    Rows that ask of another average or of other units than the headline, or that cannot answer, do not take part, and
    remarks say why.

    Raises
    ------
    QuestionError
        If no row, or none of a design that is named, takes part.
    """
    from study.simulate.replications import CHANGES

    plan = paper.read_plan(path)
    task = plan.ask(question or plan.events[0].label)
    every = plan.entrants or plan.rows
    rows = [
        row
        for name in designs or dict.fromkeys(row.name for row in every)
        for row in [row for row in every if row.name == name] or plan.rows_of(name)
    ]
    panel = paper.run.load(plan)
    entrants: list[Entrant] = []
    refused: list[tuple[str, str]] = []
    for row in rows:
        own = plan.task(task.event, task.outcome, task.scale, row).question
        entrant = paper.tournament.entrant_of(row, own, task.question)
        other = next((name for name in entrant.changes if name not in CHANGES), None)
        why = row.design.refusal(own.sample(panel))
        if other is not None:
            why = f"it asks another question than the headline, by its {other}"
        if why is None:
            entrants.append(entrant)
        else:
            refused.append((row.name, f"{row.label} does not take part: {why.rstrip('.')}."))
    for name, remark in refused:
        if (designs is not None or not entrants) and all(entrant.design != name for entrant in entrants):
            raise QuestionError(f"{WHO}: {remark}")
    return Specification(
        panel,
        task.question,
        entrants,
        plan.seed if seed is None else seed,
        task.level,
        plan.neighbours or None,
        tuple(remark for _, remark in refused),
    )


def give(spec: Specification, finding: Finding, output: Path | None, format: str) -> None:
    """Print what was found, and write figures and tables where a folder is named."""
    tables = tables_of(finding, spec)
    heading = (
        f"Question: the effect of {spec.question.event} on {spec.question.outcome} ({spec.question.scale}); panel "
        f"{spec.panel.name}, checksum {spec.panel.checksum}, seed {spec.seed}."
    )
    parts = [paragraph(heading), section("Recommendation", [finding.verdict])]
    page = "\n\n".join([*parts, section("Evidence", finding.evidence), *map(str, tables)])
    typer.echo(page if format == "text" else as_record(spec, finding))
    if output is not None:
        texts = {f"{finding.name}.txt": f"{page}\n".encode(), "tables.tex": report.document(tables, "latex")}
        written = core.write_all(output, texts | finding.files() | finding["calibration"].files())
        typer.echo(f"\n{len(written)} files written to {as_typed(output)}.", err=format == "json")


def as_record(spec: Specification, finding: Finding) -> str:
    """Return what was found as JSON."""
    return report.as_json(
        {
            "question": asdict(spec.question),
            "panel": {"name": spec.panel.name, "checksum": spec.panel.checksum},
            "seed": spec.seed,
            "level": spec.level,
            "verdict": finding.verdict,
            "evidence": finding.evidence,
            "recommendation": {
                k: None if v != v else v for k, v in finding["recommendation"]._asdict().items()
            },
            "processes": finding["processes"],
            "performance": report.rows_of(finding.frame),
            "standing": report.rows_of(finding["standing"].reset_index()),
            "refused": report.rows_of(finding["refused"]),
            "calibration": report.rows_of(finding["calibration"].frame),
        }
    )


def tables_of(finding: Finding, spec: Specification) -> list[report.Table]:
    """Return how designs perform, a panel a process, and what they do after a pre-test where some have one."""
    name, caption, frame = finding.name, "What designs find on simulated panels", finding.frame
    note = (
        "As published: with standard errors of the design's reference. MDE: minimum detectable effect (80% power), by "
        "the spread of estimates. A test rejects where the interval excludes zero."
    )
    tables = [_table(spec, name, caption, MEASURES, frame, note)]
    tested = frame[frame["pretest_rejects"].notna()]
    if len(tested):
        name, caption = f"{name}-after", f"{caption} that pass the pre-test"
        note = "Pre-test: the joint test of the leads at 5%, by the largest t; after: on the panels that pass it."
        tables.append(_table(spec, name, caption, AFTER_TEST, tested, note))
    return tables


def _table(
    spec: Specification, name: str, caption: str, columns: Columns, frame: pd.DataFrame, note: str
) -> report.Table:
    count, units = "passing" if columns is AFTER_TEST else "repetitions", spec.question.effect_scale

    def line(row: pd.Series) -> report.Line:
        measures = (_cell(row, *column[1:], units) for column in columns)
        return report.Line(row["design"], [report.Number(row[count], 0), *measures])

    lines = core.grouped((capital(row["process"]), line(row)) for _, row in frame.iterrows())
    headings = ["Panels", *(heading for heading, _, _ in columns)]
    blocks = [report.Block(*block) for block in lines.items()]
    level = f"Effects: {units.column}; intervals are at {100 * spec.level:g}%."
    notes = ["In parentheses: Monte-Carlo standard errors.", level, note]
    return report.Table(name, caption, headings, blocks, notes)


def _cell(row: pd.Series, measure: str, is_effect: bool, units: panels.Scale) -> str:
    """Return a measure with its Monte-Carlo error: percent with a decimal, others with three digits."""
    value, error = row[measure], row[f"{measure}_mc"]
    if math.isnan(value):
        return ""
    if is_effect and not units.percent:
        return f"{value:.3g} ({error:.2g})"
    return f"{core.fixed(100 * value, 1)} ({100 * error:.1f})"


def record_of(path: Path) -> str:
    """Run the plan's own tournament, write its record, and return what was found."""

    plan = paper.read_plan(path)
    file = Path(paper.tournament.tournament_of(plan).record)
    recorded = paper.tournament.simulated(plan, paper.run.load(plan))
    written = core.write_all(file.parent, paper.tournament.files(recorded, file))
    recommendation = section("Recommendation", recorded.sentences)
    return f"{recommendation}\n\nWritten: {', '.join(map(as_typed, written))}"
