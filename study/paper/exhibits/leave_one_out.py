"""The main estimate without each cohort or treated unit."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import pandas as pd

from study.diagnostics import Finding
from study.figures import GREY, Axes
from study.figures.dots import draw_dots, shortened
from study.paper.exhibits.exhibit import Drawn, Part, Piece, Setting, draw, exhibit
from study.paper.exhibits.verdicts import Findings, axes_by_scale, findings_of, panels
from study.report import Column, Line, Table

EXHIBIT = "leave_one_out"
KINDS = {"leave_one_cohort_out": "cohort", "leave_one_unit_out": "unit"}
NAMED = 5
LONGEST = 22
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
    """Yield the figure and table of the estimate without each cohort and without each treated unit."""
    every = findings_of(setting, KINDS)
    shown = [findings for findings in every if findings.by_name]
    if not shown:
        return
    yield _table(shown)
    yield _drawn(shown)
    for findings in every:
        for name, finding in findings.by_name.items():
            values, quantity = refit_values(finding), f"estimates without one {KINDS[name]}"
            yield from findings.numbers(EXHIBIT, values, KINDS[name], columns=OF_REFITS, quantity=quantity)
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


def _table(shown: Sequence[Findings]) -> Table:
    plan, task = shown[0].setting.plan, shown[0].task
    labels = dict(zip(KINDS, ("One cohort", f"One {plan.text.unit}"), strict=True))

    def lines(findings: Findings) -> Iterator[Line]:
        for name, finding in findings.by_name.items():
            values, scale = refit_values(finding).items(), findings.task.question.effect_scale
            yield Line(labels[name], [OF_REFITS[column].cell(value, scale) for column, value in values])

    return Table(
        name=EXHIBIT.replace("_", "-"),
        caption=f"{task.event.short}: the effect without each cohort and without each treated {plan.text.unit}",
        headings=["Refits", "Estimate", "Smallest", "Without", "Largest", "Without", "Sign", "Significance"],
        blocks=panels(shown, lines),
        notes=[
            f"{shown[0].setting.about}; {task.row.label}, fitted anew without each cohort, and without each treated "
            f"{plan.text.unit}. Estimate: with all of them. Smallest, "
            "Largest: of the refits, and what is left out. Changes of sign: refits with the other sign. Changes "
            f"of significance: refits whose interval at {task.level:.0%} has zero in it where that of all has not, or "
            "the other way round. Intervals of refits are looked at all together, and are no tests."
        ],
        spans=[("", 6), ("Changes of", 2)],
        prose=(4, 6),
    )


def _drawn(shown: Sequence[Findings]) -> Drawn:
    task, units = shown[0].task, shown[0].setting.plan.text.units
    rows = {findings.scale: drawn_rows(findings.by_name) for findings in shown}

    def draw_rows(axis: Axes, findings: Findings) -> None:
        frame, percent = rows[findings.scale], findings.task.question.effect_scale.percent
        full = next(iter(findings.by_name.values()))["full_sample"]
        draw_dots(axis, frame, behind=full, marked=frame["significance_changes"].tolist(), percent=percent)
        if len(findings.by_name) == len(KINDS):
            cohorts = int((frame["kind"] == "cohort").sum())
            axis.axhline(cohorts - 0.5, color=GREY, linewidth=0.6, linestyle=":")

    most = max(map(len, rows.values()))
    return draw(
        EXHIBIT,
        f"{task.event.short}: effects without each cohort and each of the {NAMED} most influential {units}; dashed: "
        "with all; squares: zero enters or leaves the interval.",
        axes_by_scale(shown, 1.3 + 0.19 * most * (1 if len(shown) < 3 else 0.8), draw_rows),
        f"Dots with intervals, a row for each cohort and for each of the {NAMED} most influential {units}, side by "
        "side for each scale, over a shade that is the interval with all of them.",
    )


def drawn_rows(findings: dict[str, Finding]) -> pd.DataFrame:
    """Return the refits that are drawn: all cohorts in their order, then the units that move the estimate most."""
    parts = []
    for name, finding in findings.items():
        kind = KINDS[name]
        rows = finding.frame.rename(columns={f"without_{kind}": "label"}).dropna(subset="change")
        if kind == "cohort":
            rows = rows.set_index("label").loc[[row.label for row in finding["rows"]]].reset_index()
            labels = [label.removeprefix("cohort ").replace(" units)", ")") for label in rows["label"]]
        else:
            rows = rows.head(NAMED)
            labels = [shortened(label, LONGEST) for label in rows["label"]]
        parts.append(rows.assign(label=labels, kind=kind))
    return pd.concat(parts, ignore_index=True)
