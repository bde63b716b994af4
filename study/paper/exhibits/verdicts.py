"""What each diagnostic says of the main question."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Any

from study.core import QuestionError, one_thread
from study.designs import find_design
from study.diagnostics import Finding, Section
from study.estimates import SIZE
from study.paper.diagnose import Answered, Check, Verdict, answered
from study.paper.exhibits.exhibit import (
    RUN,
    Exhibited,
    Part,
    Setting,
    Traced,
    address,
    addressed,
    exhibit,
    source_of,
)
from study.paper.plan import Plan, Row, Task
from study.paper.verdict import assumptions, conclusion
from study.report import Block, Column, Line, Table, effect_values

EXHIBIT = "verdicts"
ANSWERS = {True: "yes", False: "no", None: "no test"}
OF_VERDICTS = {
    "against": Column("diagnostics that speak against the assumptions", "count"),
    "not_against": Column("tests that do not speak against the assumptions", "count"),
    "diagnostics": Column("diagnostics that were made", "count"),
}


def main_row(plan: Plan) -> Row:
    """Return the row that diagnostics are about: the headline, or the first that fits no learners where it does.

    Diagnostics answer the question anew more than a hundred times, which takes learners an hour.
    """
    rows = (row for row in (plan.headline, *plan.rows) if not find_design(row.name).draws)
    return next(rows, plan.headline)


def row_of(setting: Setting, label: str | None = None) -> Row:
    """Return a row of the plan by its label, the main one where none is given."""
    rows = {row.label: row for row in (setting.plan.headline, *setting.plan.rows)}
    return main_row(setting.plan) if label is None else rows[label]


def task_of(setting: Setting, scale: str, label: str | None = None) -> Task:
    """Return the main question on a scale: the first event and the first outcome, under a row of the plan."""
    return plan_task(setting.plan, scale, row_of(setting, label))


def plan_task(plan: Plan, scale: str, row: Row | None = None) -> Task:
    """Return the main question of a plan on a scale, under a row; the main one where none is given."""
    return plan.task(plan.events[0], next(iter(plan.outcomes)), scale, main_row(plan) if row is None else row)


def found(setting: Setting, scale: str, name: str, label: str | None = None) -> Finding | str:
    """Return what a diagnostic finds about the main question, or why it finds nothing.

    Exhibits and the verdicts share what is found, so that nothing is made twice in one process.

    Parameters
    ----------
    setting : Setting
    scale : str
    name : str
        Of the diagnostic.
    label : str, optional
        A row of the plan; the main one where none is given.
    """
    check = _check(setting, scale, row_of(setting, label).label, name)
    return check if isinstance(check, str) else check.finding or check.refusal


@lru_cache(maxsize=16)
def _answered(setting: Setting, scale: str, label: str) -> Answered | str:
    """Return the answer and its diagnostics, or the refusal; settings are distinguished by identity."""
    task = task_of(setting, scale, label)
    # Where the plan's answer has the randomization test, it is not made again.
    result = setting.results.get(task.key)
    test = None if result is None else result.randomization
    try:
        with one_thread():
            return answered(setting.plan, task, setting.panel, setting.placebos, test)
    except QuestionError as refusal:
        return str(refusal)


@lru_cache(maxsize=256)
def _check(setting: Setting, scale: str, label: str, name: str) -> Check | str:
    first = next(iter(setting.plan.scales))
    if name == "specification_curve" and scale != first:  # one curve has all scales
        return _check(setting, first, label, name)
    known = _answered(setting, scale, label)
    if isinstance(known, str):
        return known
    if name not in known.diagnostics:
        return f"{known.fit.design}: {name} is about other designs."
    with one_thread():
        return known.check(name)


def verdict_of(setting: Setting, scale: str) -> Verdict | str:
    """Return the main row's answer on a scale with all its diagnostics, or the refusal."""
    label = main_row(setting.plan).label
    known = _answered(setting, scale, label)
    if isinstance(known, str):
        return known
    checks = [_check(setting, scale, label, name) for name in known.diagnostics]
    design = find_design(known.task.row.name)
    made = tuple(check for check in checks if isinstance(check, Check))
    return Verdict(setting.plan, known.task, design, known.fit, made)


def command_of(setting: Setting, task: Task) -> str:
    """Return the command that shows the diagnostics of a task."""
    if setting.plan.under(task.row.name).headline != task.row:
        return RUN
    return f"study diagnose {task.event.label}/{task.outcome}/{task.scale} --design {task.row.name}"


def diagnosed(
    setting: Setting,
    scale: str,
    at: str,
    values: Mapping[str, Any],
    columns: Mapping[str, Column] | None = None,
    label: str | None = None,
    quantity: str = "",
) -> Iterator[Traced]:
    """Yield numbers about the main question on a scale that its diagnostics show.

    Parameters
    ----------
    setting : Setting
    scale : str
    at : str
        Address of the row that the values are of; its first part is the exhibit.
    values : mapping of str to object
        By column.
    columns : mapping of str to Column, optional
        Those that :data:`study.report.COLUMNS` lacks.
    label : str, optional
        A row of the plan; the main one where none is given.
    quantity : str
        What the row is about.
    """
    task = task_of(setting, scale, label)
    source = source_of(at.split("/")[0], quantity, task, setting.panel, command_of(setting, task))
    return addressed(at, values, source, scale, columns)


def on_scale(scale: str, sentence: str) -> str:
    """Return a sentence that says which scale it is about."""
    return f"{scale_title(scale)}: {sentence}"


def scale_title(scale: str) -> str:
    """Return what a scale is called over a panel of a figure."""
    return {"proportional": "Proportional", "log1p": "Log(1 + outcome)"}.get(scale, "In the outcome's units")


@exhibit("The verdict of each diagnostic", Part.OBJECTIONS)
def verdicts(setting: Setting) -> Exhibited:
    """Return a table for each scale, a line a diagnostic, with the verdict on the main row in sentences."""
    tables: list[Table] = []
    numbers: list[Traced] = []
    sentences: list[str] = []
    main, headline = main_row(setting.plan), setting.plan.headline
    if main != headline:
        sentences.append(
            f"Diagnostics are about {main.label}, since {headline.label} would fit its learners anew for each."
        )
    for scale in setting.plan.scales:
        verdict = verdict_of(setting, scale)
        if isinstance(verdict, str):
            sentences.append(on_scale(scale, verdict))
            continue
        lines = lines_of(verdict)
        tables.append(_table(setting, verdict, lines, bool(tables)))
        sentences += [on_scale(scale, sentence) for sentence in conclusion(verdict)]
        numbers += _numbers(setting, verdict)
    return Exhibited(
        tables=tuple(tables), numbers=tuple(numbers), sentences=tuple(sentences) if tables else ()
    )


def lines_of(verdict: Verdict) -> dict[str, list[Line]]:
    """Return the lines of a verdict's table by section: what was looked at, what it says, whether it is against."""
    by_section: dict[str, list[Line]] = {section.value: [] for section in Section}
    for diagnostic, finding, refusal in verdict.checks:
        says = f"Not made: {refusal}" if finding is None else _verdict_on(finding, verdict.task.scale)
        against = ANSWERS[None if finding is None else finding.against]
        by_section[diagnostic.section.value].append(Line(diagnostic.title, [says, against]))
    return {section: lines for section, lines in by_section.items() if lines}


def _verdict_on(finding: Finding, scale: str) -> str:
    """Return a finding's verdict on a scale; a curve of several has one for each."""
    by_scale: Mapping[str, str] = finding.details.get("verdict_by_scale", {})
    return by_scale.get(scale, finding.verdict)


def _table(setting: Setting, verdict: Verdict, lines: dict[str, list[Line]], further: bool) -> Table:
    task, sample, plan = verdict.task, verdict.fit.sample, setting.plan
    return Table(
        name=f"{EXHIBIT}-{task.scale}" if further else EXHIBIT,
        caption=f"What speaks against the effect of the {task.event.title}: {plan.scales[task.scale].lower()}",
        headings=["What it says", "Against"],
        blocks=[Block(section, told) for section, told in lines.items()],
        notes=[
            f"Design: {task.row.label}; outcome: {plan.text.outcome}, {plan.outcomes[task.outcome].lower()}; "
            f"{task.question.effect_scale.axis().lower().removeprefix('effect on ').replace(chr(10), ' ')}; "
            f"{sample.n_units} {plan.text.units}, clustered by {task.question.cluster or plan.text.unit}. Assumed is: "
            f"{' '.join(assumptions(verdict))}",
            f"The last column says whether what was found speaks against these assumptions, at {SIZE:.0%} for "
            "tests. No test: it says how strong a violation would have to be, or what an estimate rests on, and not "
            f"whether there is a violation. Everything that was found is printed by {command_of(setting, task)}.",
        ],
        prose=(1,),
    )


def _numbers(setting: Setting, verdict: Verdict) -> Iterator[Traced]:
    scale = verdict.task.scale
    against = [check.finding.against for check in verdict.checks if check.finding is not None]
    values = {
        "against": against.count(True),
        "not_against": against.count(False),
        "diagnostics": len(against),
    }
    yield from diagnosed(setting, scale, address(EXHIBIT, scale), values, OF_VERDICTS)
    spillovers = verdict.finding("spillovers")
    if spillovers is not None and spillovers["neighbours"]:
        row = spillovers["neighbours"][0]
        at = address(EXHIBIT, scale, "spillovers")
        quantity = f"change of untreated units {row.label}"
        yield from diagnosed(setting, scale, at, effect_values(row), quantity=quantity)
