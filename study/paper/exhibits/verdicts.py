"""What each diagnostic says of the main question."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from study.diagnostics import Section
from study.estimates import SIZE
from study.panel import Scale
from study.paper import Part, Piece, Setting, Verdict, conclusion, exhibit, worded, words_of
from study.report import REFUSED, Block, Column, Line, Table, effect_values

ANSWERS = {True: "yes", False: "no", None: REFUSED}
OF_VERDICTS = {
    "against": Column("diagnostics that speak against the assumptions", "count"),
    "not_against": Column("tests that do not speak against the assumptions", "count"),
    "diagnostics": Column("diagnostics that were made", "count"),
    "tested": Column("diagnostics that test an assumption", "count"),
}


@exhibit("The verdict of each diagnostic", Part.OBJECTIONS)
def verdicts(setting: Setting) -> Iterator[Piece]:
    """Yield a table for each scale, a line a diagnostic, with the verdict on the main row in sentences."""
    plan, main = setting.plan, setting.main_row.label
    by_scale = {scale: setting.verdict_of(scale) for scale in plan.scales}
    answered_on = [scale for scale, verdict in by_scale.items() if isinstance(verdict, Verdict)]
    if not answered_on:
        return
    if main != plan.headline.label:
        yield f"Diagnostics are about {main}, since {plan.headline.label} would fit its learners anew for each."
    for scale, verdict in by_scale.items():
        if isinstance(verdict, str):
            yield f"{Scale(scale).title}: {verdict}"
            continue
        yield _table(setting, "verdicts" if scale == answered_on[0] else f"verdicts-{scale}", verdict)
        yield from (f"{Scale(scale).title}: {sentence}" for sentence in conclusion(verdict))
        numbers = partial(setting.numbers, task=verdict.task, command=setting.command_of(verdict.task))
        against = [check.finding.against for check in verdict.checks if check.finding is not None]
        yes, no = against.count(True), against.count(False)
        counts = dict(zip(OF_VERDICTS, (yes, no, len(against), yes + no), strict=True))
        yield from numbers(scale, counts, OF_VERDICTS)
        spillovers = verdict.finding("spillovers")
        if spillovers is not None and spillovers["neighbours"]:
            row = spillovers["neighbours"][0]
            about = f"change of untreated units {row.label}"
            yield from numbers((scale, "spillovers"), effect_values(row), quantity=about)


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
    words, which = words_of(plan, setting.panel), "headline" if task.row == plan.headline else task.row.label
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
            f"{setting.about}; {task.row.label}; {sample.n_units} {plan.text.units}, clustered by "
            f"{task.question.cluster or plan.text.unit}.",
            f"Against: whether a test of the design's assumptions rejects at {SIZE:.0%}. {REFUSED} : no test of them; "
            "it says how strong a violation would have to be, or what an estimate rests on. Assumptions and all that "
            "was found are printed by study diagnose.",
        ],
        prose=(1,),
    )
