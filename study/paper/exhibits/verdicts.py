"""What each diagnostic says of the main question."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from functools import lru_cache
from typing import NamedTuple, TypeVar

import numpy as np

from study.core import QuestionError, one_thread
from study.designs import find_design
from study.diagnostics.finding import Finding
from study.diagnostics.honest.finding import HonestDid
from study.diagnostics.placebo_dates import PlaceboDates
from study.diagnostics.placebo_outcomes import PlaceboOutcomes
from study.diagnostics.pretrends import Pretrends
from study.diagnostics.seeds import Seeds
from study.diagnostics.specification_curve import SpecificationCurve
from study.diagnostics.spillovers import Spillovers
from study.diagnostics.uncertainty import Uncertainty
from study.estimates import Estimate, pre_test
from study.inference import Randomization
from study.panel import Scale
from study.paper import diagnose
from study.paper.diagnose import Check, Job, Verdict
from study.paper.exhibits.exhibit import RUN, Exhibited, Setting, Traced, source_of
from study.paper.plan import Plan, Row, Task
from study.paper.verdict import SIZE, assumptions, conclusion
from study.report import BELOW, Block, Line, Table, macro_name, p_text

EXHIBIT = "verdicts"
YES, NO, NO_TEST = "yes", "no", "no test"
Found = TypeVar("Found")

TITLES = {
    "pretrends": "Pre-trend test",
    "balance": "Balance before treatment",
    "nuisances": "Predictions of the learners",
    "goodman_bacon": "Comparisons in the coefficient",
    "negative_weights": "Negative weights",
    "contamination_weights": "Weights on other event times",
    "placebo_dates": "Placebo dates",
    "placebo_outcomes": "Placebo outcomes",
    "spillovers": "Spillovers",
    "honest_relative_magnitudes": "Trends bounded by those before",
    "honest_smoothness": "Trends bounded in their change of slope",
    "sensitivity": "A confounder that is missing",
    "oster": "Selection on unobservables",
    "misclassification": "Hidden or late treatment",
    "leave_one_cohort_out": "Leaving out one cohort",
    "leave_one_unit_out": "Leaving out one unit",
    "specification_curve": "All specifications",
    "uncertainty": "Other inference",
    "seeds": "Other seeds",
}


class Looked(NamedTuple):
    """An answer with the diagnostics that its design allows, by name; none of them is made yet."""

    task: Task
    fit: Estimate
    jobs: dict[str, Job]


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


def found(
    setting: Setting, scale: str, name: str, kind: type[Found], label: str | None = None
) -> Found | str:
    """Return what a diagnostic finds about the main question, or why it finds nothing.

    Exhibits and the verdicts share what is found, so that nothing is made twice in one process.

    Parameters
    ----------
    setting : Setting
    scale : str
    name : str
        Of the diagnostic, as in :func:`study.paper.diagnose.jobs_of`.
    kind : type
        Of its finding.
    label : str, optional
        A row of the plan; the main one where none is given.
    """
    check = _check(setting, scale, row_of(setting, label).label, name)
    return check.refusal if not isinstance(check.finding, kind) else check.finding


@lru_cache(maxsize=16)
def _looked(setting: Setting, scale: str, label: str) -> Looked | str:
    """Return the answer and its diagnostics, or the refusal; settings are distinguished by identity."""
    task = task_of(setting, scale, label)
    try:
        with one_thread():
            sample = task.question.sample(setting.panel)
            fit = find_design(task.row.name)(sample, **task.options)
    except QuestionError as refusal:
        return str(refusal)
    # Where the plan's answer has the randomization test, it is not made again.
    plan = replace(setting.plan, permutations=0) if _tested(setting, task) else setting.plan
    jobs = diagnose.jobs_of(plan, task, sample, fit, setting.placebos)
    return Looked(task, fit, {job.name: job for job in jobs})


@lru_cache(maxsize=256)
def _check(setting: Setting, scale: str, label: str, name: str) -> Check:
    looked = _looked(setting, scale, label)
    if isinstance(looked, str) or name not in looked.jobs:
        why = looked if isinstance(looked, str) else f"{looked.fit.design}: {name} is about other designs."
        return Check(Job(name, "", 1, _nothing), None, why)
    first = next(iter(setting.plan.scales))
    if name == "specification_curve" and scale != first:  # one curve has all scales
        return _check(setting, first, label, name)
    with one_thread():
        made = diagnose.checked(looked.jobs[name])
    test = _tested(setting, looked.task)
    if test is not None and isinstance(made.finding, Uncertainty):
        return made._replace(finding=made.finding.with_test(test))
    return made


def _tested(setting: Setting, task: Task) -> Randomization | None:
    """Return the randomization test of the plan's answer to a task, where it has one."""
    known = setting.results.get(task.key)
    return None if known is None else known.randomization


def _nothing() -> Finding:
    raise AssertionError("a diagnostic that is not made has no finding")


def verdict_of(setting: Setting, scale: str) -> Verdict | str:
    """Return the main row's answer on a scale with all its diagnostics, or the refusal."""
    label = main_row(setting.plan).label
    looked = _looked(setting, scale, label)
    if isinstance(looked, str):
        return looked
    checks = tuple(_check(setting, scale, label, name) for name in looked.jobs)
    return Verdict(setting.plan, looked.task, find_design(looked.task.row.name), looked.fit, checks)


def command_of(setting: Setting, task: Task) -> str:
    """Return the command that shows the diagnostics of a task."""
    if setting.plan.under(task.row.name).headline != task.row:
        return RUN
    return f"study diagnose {task.event.label}/{task.outcome}/{task.scale} --design {task.row.name}"


def traced(
    setting: Setting,
    exhibit: str,
    task: Task,
    names: tuple[str, ...],
    told: Iterable[tuple[str, str, str]],
    command: str | None = None,
) -> Iterator[Traced]:
    """Yield numbers about a task.

    Parameters
    ----------
    setting : Setting
    exhibit : str
    task : Task
    names : tuple of str
        How the names of all of them begin.
    told : iterable of (str, str, str)
        The rest of each name, the number as it is printed, and what it is.
    command : str, optional
        That which shows the diagnostics of the task where none is given.
    """
    shown = command_of(setting, task) if command is None else command
    for part, value, quantity in told:
        source = source_of(exhibit, quantity, task, setting.panel, shown)
        yield Traced(macro_name(*names, part), value, source)


def on_scale(scale: str, sentence: str) -> str:
    """Return a sentence that says which scale it is about."""
    return f"{scale_title(scale)}: {sentence}"


def scale_title(scale: str) -> str:
    """Return what a scale is called over a panel of a figure."""
    return {"proportional": "Proportional", "log1p": "Log(1 + outcome)"}.get(scale, "In the outcome's units")


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
        numbers += _numbers(setting, verdict, lines)
    return Exhibited(
        tables=tuple(tables), numbers=tuple(numbers), sentences=tuple(sentences) if tables else ()
    )


def lines_of(verdict: Verdict) -> dict[str, list[Line]]:
    """Return the lines of a verdict's table by section: what was looked at, what it says, whether it is against."""
    by_section: dict[str, list[Line]] = {section: [] for section in diagnose.SECTIONS}
    joint = _joint_test(verdict)
    if joint is not None:
        by_section[diagnose.AGAINST].append(joint)
    for check in verdict.checks:
        says = (
            f"Not made: {check.refusal}"
            if check.finding is None
            else _said(check.finding, verdict.task.scale)
        )
        against = NO_TEST if check.finding is None else against_by(check.finding)
        by_section[check.job.section].append(
            Line(TITLES.get(check.job.name, check.job.name), [says, against])
        )
    return {section: lines for section, lines in by_section.items() if lines}


def _said(finding: Finding, scale: str) -> str:
    """Return a finding's verdict; a curve of several scales has one for each."""
    if not isinstance(finding, SpecificationCurve):
        return finding.sentences[0]
    of_scale = (sentence for sentence in finding.sentences if sentence.startswith(f"On the scale {scale},"))
    return next(of_scale, finding.sentences[0])


def _joint_test(verdict: Verdict) -> Line | None:
    """Return the line of the test that all effects before the event are zero, None where there are none."""
    task = verdict.task
    if not verdict.fit.estimand.has_path:
        return None
    test = pre_test(verdict.fit.by_event_time, draws=task.band_draws, seed=task.seed)
    if not test.rank:
        return None
    against = test.p_largest < SIZE
    says = (
        "The joint test that all effects before the event are zero, by the largest t, "
        f"{'rejects' if against else 'does not reject'} at {SIZE:.0%} (p {_is(test.p_largest)}); a Wald test has p "
        f"{_is(test.p_value)}, rank {test.rank}."
    )
    return Line("Joint test of effects before the event", [says, YES if against else NO])


def _is(p_value: float) -> str:
    return p_text(p_value) if p_value < float(BELOW[1:]) else f"= {p_text(p_value)}"


def _breaks(finding: HonestDid) -> str:
    """Answer where the sign is established and lost below the largest change that was seen before the event."""
    if finding.restriction != "relative_magnitudes" or finding.breakdown is None:
        return NO_TEST
    return YES if finding.breakdown < 1 else NO


def _randomized(finding: Uncertainty) -> str:
    """Answer where an interval excludes zero and the randomization test does not reject."""
    if finding.randomization is None:
        return NO_TEST
    return YES if finding.rows[0].excludes_zero and finding.randomization.p_value >= SIZE else NO


def _reaches(finding: Spillovers) -> str:
    rows = (*finding.differences, *finding.neighbours.rows)
    if not rows:
        return NO_TEST
    return YES if any(row.excludes_zero for row in rows) else NO


# What a finding says against the assumptions; all others are no tests of them. A test holds these rules to those of the
# page of `study diagnose`.
AGAINST: dict[type, Callable[..., str]] = {
    Pretrends: lambda finding: YES if bool(np.any(finding.rejected)) else NO,
    PlaceboDates: lambda finding: YES if finding.p_joint < SIZE else NO,
    PlaceboOutcomes: lambda finding: YES if finding.moved else NO,
    Spillovers: _reaches,
    HonestDid: _breaks,
    Uncertainty: _randomized,
    Seeds: lambda finding: YES if finding.refits.rows[0].excludes_zero and not finding.agrees else NO,
}


def against_by(finding: Finding) -> str:
    """Say whether a finding speaks against the assumptions: "yes", "no", or "no test"."""
    rule = AGAINST.get(type(finding))
    return NO_TEST if rule is None else rule(finding)


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
        widths=[2.9, 11.0, 1.2],
    )


def _numbers(setting: Setting, verdict: Verdict, lines: dict[str, list[Line]]) -> Iterator[Traced]:
    every = [line for told in lines.values() for line in told]
    counts = {answer: sum(line.cells[1] == answer for line in every) for answer in (YES, NO, NO_TEST)}
    told = (
        ("Against", str(counts[YES]), "diagnostics that speak against the assumptions"),
        ("NotAgainst", str(counts[NO]), "tests that do not speak against the assumptions"),
        (
            "Made",
            str(sum(check.finding is not None for check in verdict.checks)),
            "diagnostics that were made",
        ),
    )
    yield from traced(setting, EXHIBIT, verdict.task, ("verdict", verdict.task.scale), told)
    reached = verdict.found("spillovers", Spillovers)
    if reached is not None and reached.neighbours.rows:
        row, scale = reached.neighbours.rows[0], verdict.task.scale
        change = (
            (
                "Estimate",
                Scale(scale).number(row.estimate),
                f"change of untreated units {row.label}, {Scale(scale).printed}",
            ),
            ("Low", Scale(scale).number(row.conf_low), f"lower end of its interval, {Scale(scale).printed}"),
            (
                "High",
                Scale(scale).number(row.conf_high),
                f"upper end of its interval, {Scale(scale).printed}",
            ),
        )
        yield from traced(setting, EXHIBIT, verdict.task, ("spillover", scale), change)
