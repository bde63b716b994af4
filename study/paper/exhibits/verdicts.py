"""What each diagnostic says of the main question."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from itertools import product
from typing import Any

from study.core import QuestionError, one_thread
from study.diagnostics import Finding, Section
from study.estimates import SIZE
from study.paper.diagnose import Check, Verdict, answered, conclusion
from study.paper.exhibits.exhibit import RUN, Part, Piece, Setting, Traced, exhibit
from study.paper.plan import Plan, Row, Task
from study.paper.words import worded, words_of
from study.report import REFUSED, Block, Column, Line, Table, effect_values, lettered

EXHIBIT = "verdicts"
ANSWERS = {True: "yes", False: "no", None: REFUSED}
OF_VERDICTS = {
    "against": Column("diagnostics that speak against the assumptions", "count"),
    "not_against": Column("tests that do not speak against the assumptions", "count"),
    "diagnostics": Column("diagnostics that were made", "count"),
    "tested": Column("diagnostics that test an assumption", "count"),
}


@dataclass(frozen=True, eq=False)
class Findings:
    """What some diagnostics find about the main question on a scale, under a row of the plan.

    Attributes
    ----------
    setting : Setting
    scale, label : str
        The label is that of the row.
    by_name : dict of str to Finding
        By the diagnostic's name.
    refused : tuple of str
        Why there are no others.
    """

    setting: Setting
    scale: str
    label: str
    by_name: dict[str, Finding]
    refused: tuple[str, ...]

    @property
    def task(self) -> Task:
        """The main question on the scale, under the row."""
        return task_of(self.setting, self.scale, self.label)

    def says(self, sentence: str) -> str:
        """Return a sentence that says which scale it is about."""
        return f"{scale_title(self.scale)}: {sentence}"

    def verdicts(self) -> Iterator[str]:
        """Yield the verdict of each finding."""
        yield from (self.says(finding.verdict) for finding in self.by_name.values())

    def refusals(self) -> Iterator[str]:
        """Yield why other findings were not made."""
        yield from (self.says(f"Not made: {why}") for why in self.refused)

    def numbers(
        self, exhibit: str, values: Mapping[str, Any], *parts: str | float, **how: Any
    ) -> Iterator[Traced]:
        """Yield values by column as numbers at the exhibit, the scale and further parts; see :class:`Setting`."""
        how = {"command": command_of(self.setting, self.task)} | how
        return self.setting.numbers((exhibit, self.scale, *parts), values, task=self.task, **how)


def findings_of(
    setting: Setting, names: Collection[str], labels: Sequence[str] | None = None
) -> list[Findings]:
    """Return what diagnostics find on each scale under each row of the plan, the main one where none are given.

    Nothing where none of them finds anything.
    """
    rows, main = [], [main_row(setting.plan).label]
    for scale, label in product(setting.plan.scales, main if labels is None else labels):
        answers = {name: finding_of(setting, scale, name, label) for name in names}
        findings = {name: answer for name, answer in answers.items() if isinstance(answer, Finding)}
        refused = tuple(answer for answer in answers.values() if isinstance(answer, str))
        rows.append(Findings(setting, scale, label, findings, refused))
    return rows if any(row.by_name for row in rows) else []


def panels(rows: Iterable[Findings], lines: Callable[[Findings], Iterable[Line]]) -> list[Block]:
    """Return a panel of a table for each scale, with the lines of its rows that have findings."""
    by_scale: dict[str, list[Line]] = {}
    for row in rows:
        if row.by_name:
            by_scale.setdefault(row.setting.plan.scales[row.scale], []).extend(lines(row))
    return lettered(by_scale)


def main_row(plan: Plan) -> Row:
    """Return the row that diagnostics are about: the headline, or the first that fits no learners where it does.

    Diagnostics answer the question anew more than a hundred times, which takes learners an hour.
    """
    rows = (row for row in (plan.headline, *plan.rows) if not row.design.draws)
    return next(rows, plan.headline)


def task_of(setting: Setting, scale: str, label: str | None = None) -> Task:
    """Return the main question on a scale, under a row of the plan by its label; the main one where none is given."""
    plan = setting.plan
    rows = {row.label: row for row in (plan.headline, *plan.rows)}
    return setting.task(scale, row=rows[label] if label else main_row(plan))


def finding_of(setting: Setting, scale: str, name: str, label: str | None = None) -> Finding | str:
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
    check = _check(setting, scale, label or main_row(setting.plan).label, name)
    return check if isinstance(check, str) else check.finding or check.refusal


@lru_cache(maxsize=16)
def _answered(setting: Setting, scale: str, label: str) -> Verdict | str:
    """Return the answer, none of its diagnostics made, or the refusal; settings are distinguished by identity."""
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
    checks = (_check(setting, scale, label, name) for name in known.diagnostics)
    return replace(known, checks=tuple(check for check in checks if isinstance(check, Check)))


def command_of(setting: Setting, task: Task) -> str:
    """Return the command that shows the diagnostics of a task."""
    if setting.plan.under(task.row.name).headline != task.row:
        return RUN
    return f"study diagnose {task.event.label}/{task.outcome}/{task.scale} --design {task.row.name}"


def scale_title(scale: str) -> str:
    """Return what a scale is called over a panel of a figure."""
    return {"proportional": "Proportional", "log1p": "Log(1 + outcome)"}.get(scale, "In the outcome's units")


@exhibit("The verdict of each diagnostic", Part.OBJECTIONS)
def verdicts(setting: Setting) -> Iterator[Piece]:
    """Yield a table for each scale, a line a diagnostic, with the verdict on the main row in sentences."""
    plan, main = setting.plan, main_row(setting.plan).label
    by_scale = {scale: verdict_of(setting, scale) for scale in plan.scales}
    answered_on = [scale for scale, verdict in by_scale.items() if isinstance(verdict, Verdict)]
    if not answered_on:
        return
    if main != plan.headline.label:
        yield f"Diagnostics are about {main}, since {plan.headline.label} would fit its learners anew for each."
    for scale, verdict in by_scale.items():
        if isinstance(verdict, str):
            yield f"{scale_title(scale)}: {verdict}"
            continue
        yield _table(setting, EXHIBIT if scale == answered_on[0] else f"{EXHIBIT}-{scale}", verdict)
        yield from (f"{scale_title(scale)}: {sentence}" for sentence in conclusion(verdict))
        numbers = partial(setting.numbers, task=verdict.task, command=command_of(setting, verdict.task))
        against = [check.finding.against for check in verdict.checks if check.finding is not None]
        yes, no = against.count(True), against.count(False)
        counts = dict(zip(OF_VERDICTS, (yes, no, len(against), yes + no), strict=True))
        yield from numbers((EXHIBIT, scale), counts, OF_VERDICTS)
        spillovers = verdict.finding("spillovers")
        if spillovers is not None and spillovers["neighbours"]:
            row = spillovers["neighbours"][0]
            about = f"change of untreated units {row.label}"
            yield from numbers((EXHIBIT, scale, "spillovers"), effect_values(row), quantity=about)


def lines_of(verdict: Verdict) -> dict[str, list[Line]]:
    """Return the lines of a verdict's table by section: what was looked at, what it says, whether it is against."""
    by_section: dict[str, list[Line]] = {section.value: [] for section in Section}
    for diagnostic, finding, refusal in verdict.checks:
        # A curve of several scales has a verdict for each.
        of_scales = finding.details.get("verdict_by_scale", {}) if finding else {}
        says = of_scales.get(verdict.task.scale, finding.verdict) if finding else f"Not made: {refusal}"
        against = ANSWERS[finding.against if finding else None]
        by_section[diagnostic.section.value].append(Line(diagnostic.title, [says, against]))
    return {section: lines for section, lines in by_section.items() if lines}


def _table(setting: Setting, name: str, verdict: Verdict) -> Table:
    task, sample, plan = verdict.task, verdict.fit.sample, setting.plan
    words, which = words_of(plan), "headline" if task.row == plan.headline else task.row.label
    blocks = [
        Block(section, [Line(label, [worded(str(says), words), against]) for label, (says, against) in lines])
        for section, lines in lines_of(verdict).items()
    ]
    return Table(
        name=name,
        caption=f"Diagnostics of the {which} estimate, {task.question.effect_scale.column}",
        headings=["What it says", "Against"],
        blocks=blocks,
        notes=[
            f"{task.row.label}; {setting.about}; {sample.n_units} {plan.text.units}, clustered by "
            f"{task.question.cluster or plan.text.unit}.",
            f"Against: whether a test of the design's assumptions rejects at {SIZE:.0%}. {REFUSED} : no test of them; "
            "it says how strong a violation would have to be, or what an estimate rests on. Assumptions and all that "
            "was found are printed by study diagnose.",
        ],
        prose=(1,),
    )
