"""The main estimate without each cohort or treated unit."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from study.diagnostics import Finding
from study.paper import Findings, Part, Piece, Setting, exhibit, panels
from study.report import Column, Line, Table, cells

KINDS = {"leave_one_cohort_out": "cohort", "leave_one_unit_out": "unit"}
OF_REFITS = {
    "refits": Column("number of refits", "count"),
    "full_sample": Column("full-sample estimate beside those", "effect"),
    "smallest": Column("smallest estimate", "effect"),
    "smallest_without": Column("what is left out of the smallest estimate", "text"),
    "largest": Column("largest estimate", "effect"),
    "largest_without": Column("what is left out of the largest estimate", "text"),
    "sign_changes": Column("refits with the other sign", "count"),
    "significance_changes": Column("refits whose interval changes whether zero is in it", "count"),
}


@exhibit("Leaving out one cohort or unit", Part.OBJECTIONS)
def leave_one_out(setting: Setting) -> Iterator[Piece]:
    """Yield the table of the estimate without each cohort and without each treated unit."""
    every = setting.findings_of(KINDS)
    if not every:
        return
    plan, task = setting.plan, every[0].task
    labels = dict(zip(KINDS, ("One cohort", f"One {plan.text.unit}"), strict=True))

    def lines(findings: Findings) -> Iterator[Line]:
        for name, finding in findings.by_name.items():
            scale = findings.task.question.effect_scale
            yield Line(labels[name], cells(OF_REFITS, refit_values(finding), scale))

    yield Table(
        name="leave-one-out",
        caption=f"{task.event.short}: the effect without each cohort and without each treated {plan.text.unit}",
        headings=["Refits", "Estimate", "Smallest", "Without", "Largest", "Without", "Sign", "Significance"],
        blocks=panels(every, lines),
        notes=[
            f"{setting.about}; {task.row.label}, fitted anew without each cohort, and without each treated "
            f"{plan.text.unit}. Estimate: with all of them. Smallest, "
            "Largest: of the refits, and what is left out. Changes of sign: refits with the other sign. Changes "
            f"of significance: refits whose interval at {100 * task.level:g}% has zero in it where that of all has "
            "not, or the other way round. Intervals of refits are looked at all together, and are no tests."
        ],
        spans=[("", 6), ("Changes of", 2)],
        prose=(4, 6),
    )
    for findings in every:
        for name, finding in findings.by_name.items():
            values, quantity = refit_values(finding), f"estimates without one {KINDS[name]}"
            yield from findings.numbers(values, KINDS[name], columns=OF_REFITS, quantity=quantity)
        yield from findings.verdicts()
        yield from findings.refusals()


def refit_values(finding: Finding) -> dict[str, Any]:
    """Return what the refits say together, by column of :data:`OF_REFITS`."""
    rows, refitted = finding["rows"], finding.frame.dropna(subset="change")
    low, high = (pick(rows, key=lambda row: row.estimate) for pick in (min, max))
    changes = (int(refitted[name].sum()) for name in ("sign_changes", "significance_changes"))
    ends = (low.estimate, short(low.label), high.estimate, short(high.label))
    values = (len(rows), finding["full_sample"].estimate, *ends, *changes)
    return dict(zip(OF_REFITS, values, strict=True))


def short(label: str) -> str:
    """Return a cohort's or unit's name without how many units it has."""
    return label.removeprefix("cohort ").split(" (")[0]
