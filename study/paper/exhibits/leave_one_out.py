"""The main estimate without each cohort or treated unit."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

from study.diagnostics.leave_one_out import LeaveOneOut
from study.estimates import Effect
from study.figures import draw_dots
from study.panel import Scale
from study.paper.exhibits.exhibit import Drawn, Exhibited, Setting, Traced, draw
from study.paper.exhibits.verdicts import found, on_scale, scale_title, task_of, traced
from study.report import LETTERS, Block, Line, Number, Table

if TYPE_CHECKING:
    from matplotlib.figure import Figure

EXHIBIT = "leave_one_out"
KINDS = {"cohort": "leave_one_cohort_out", "unit": "leave_one_unit_out"}
NAMED = 5


class Left(NamedTuple):
    """What one scale's estimate is without each cohort, and without each treated unit; None where not made."""

    scale: str
    cohort: LeaveOneOut | None
    unit: LeaveOneOut | None
    refused: tuple[str, ...]

    @property
    def made(self) -> dict[str, LeaveOneOut]:
        """The findings by kind."""
        both = {"cohort": self.cohort, "unit": self.unit}
        return {kind: finding for kind, finding in both.items() if finding is not None}


def leave_one_out(setting: Setting) -> Exhibited:
    """Return the figure and table of the estimate without each cohort and without each treated unit."""
    every = [left(setting, scale) for scale in setting.plan.scales]
    shown = [one for one in every if one.made]
    if not shown:
        return Exhibited()
    return Exhibited(
        tables=(_table(setting, shown),),
        figures=(_drawn(setting, shown),),
        numbers=tuple(traced_ for one in shown for traced_ in _numbers(setting, one)),
        sentences=tuple(
            on_scale(one.scale, sentence)
            for one in every
            for sentence in (
                *(f.sentences[0] for f in one.made.values()),
                *(f"Not made: {why}" for why in one.refused),
            )
        ),
    )


def left(setting: Setting, scale: str) -> Left:
    """Return the main estimate without each cohort and without each treated unit, on a scale."""
    asked = {kind: found(setting, scale, name, LeaveOneOut) for kind, name in KINDS.items()}
    made = {kind: one for kind, one in asked.items() if isinstance(one, LeaveOneOut)}
    refused = tuple(one for one in asked.values() if isinstance(one, str))
    return Left(scale, made.get("cohort"), made.get("unit"), refused)


def _table(setting: Setting, shown: Sequence[Left]) -> Table:
    plan, task = setting.plan, task_of(setting, shown[0].scale)
    blocks = [
        Block(
            f"Panel {letter}. {plan.scales[one.scale]}", [_line(plan.text.unit, f) for f in one.made.values()]
        )
        for letter, one in zip(LETTERS, shown, strict=False)
    ]
    return Table(
        name=EXHIBIT.replace("_", "-"),
        caption=f"The effect of the {task.event.title} without each cohort and without each treated {plan.text.unit}",
        headings=["Refits", "Estimate", "Smallest", "Without", "Largest", "Without", "Sign", "Zero"],
        blocks=blocks,
        notes=[
            f"Outcome: {plan.text.outcome}, {plan.outcomes[task.outcome].lower()}; {task.row.label}, fitted anew "
            f"without each cohort, and without each treated {plan.text.unit}. Estimate: with all of them. Smallest, "
            "Largest: of the refits, and what is left out. Sign: refits with the other sign. Zero: refits whose "
            f"interval at {task.level:.0%} has zero in it where that of all has not, or the other way round. Intervals "
            "of refits are looked at all together, and are no tests.",
        ],
        widths=[0, 0, 0, 0, 2.9, 0, 2.9],
    )


def _line(unit: str, finding: LeaveOneOut) -> Line:
    rows = finding.refits.rows
    low, high = (pick(rows, key=lambda row: row.estimate) for pick in (min, max))
    kind = "cohort" if finding.kind == "cohort" else unit
    return Line(
        f"One {kind}",
        [
            Number(len(rows), 0),
            Number(finding.whole.estimate),
            Number(low.estimate),
            short(low.label),
            Number(high.estimate),
            short(high.label),
            Number(other_sign(finding), 0),
            Number(other_significance(finding), 0),
        ],
    )


def short(label: str) -> str:
    """Return a cohort's or unit's name without how many units it has."""
    return label.removeprefix("cohort ").split(" (")[0]


def other_sign(finding: LeaveOneOut) -> int:
    """Return how many refits have the other sign."""
    return sum(row.estimate * finding.whole.estimate <= 0 for row in finding.refits.rows)


def other_significance(finding: LeaveOneOut) -> int:
    """Return how many refits exclude zero where the whole does not, or the other way round."""
    return sum(row.excludes_zero != finding.whole.excludes_zero for row in finding.refits.rows)


def _drawn(setting: Setting, shown: Sequence[Left]) -> Drawn:
    task, units = task_of(setting, shown[0].scale), setting.plan.text.units
    return draw(
        EXHIBIT,
        f"The effect of the {task.event.title} without each cohort (upper part; in brackets its size) and without each "
        f"of the {NAMED} treated {setting.plan.text.units} that move it most (lower part), {task.row.label}, "
        f"{task.level:.0%} intervals. Dashed line and shade: the estimate with all of them and its interval. Squares: "
        "refits whose interval has zero in it where that of all has not, or the other way round.",
        figure(setting, shown),
        f"Dots with intervals, a row for each cohort and for each of the {NAMED} most influential {units}, side by "
        "side for each scale, over a shade that is the interval with all of them.",
    )


def figure(setting: Setting, shown: Sequence[Left]) -> Figure:
    """Draw a row for each cohort left out above one for each unit that moves the estimate most, by scale."""
    from study.figures import FULL, GREY
    from study.figures.canvas import canvas

    most = max(len(rows_of(one)) for one in shown)
    with canvas(FULL, 1.3 + 0.19 * most * (1 if len(shown) < 3 else 0.8)) as drawing:
        axes = drawing.subplots(1, len(shown), squeeze=False)[0]
        for axis, letter, one in zip(axes, LETTERS, shown, strict=False):
            rows = rows_of(one)
            whole = next(iter(one.made.values())).whole
            marked = [row.excludes_zero != whole.excludes_zero for row in rows]
            draw_dots(axis, rows, whole=whole, marked=marked, percent=Scale(one.scale).percent)
            if one.cohort is not None and one.unit is not None:
                axis.axhline(len(one.cohort.refits.rows) - 0.5, color=GREY, linewidth=0.6, linestyle=":")
            axis.set_xlabel(task_of(setting, one.scale).question.effect_scale.axis())
            axis.set_title(f"{letter}. {scale_title(one.scale)}", loc="left")
    return drawing


def rows_of(one: Left) -> list[Effect]:
    """Return the rows that are drawn: all cohorts, then the units that move the estimate most."""
    cohorts = [] if one.cohort is None else [_unprefixed(row) for row in one.cohort.refits.rows]
    units = (
        []
        if one.unit is None
        else [replace(row, label=_fitting(row.label)) for row in one.unit.ranked[:NAMED]]
    )
    return [*cohorts, *units]


def _unprefixed(row: Effect) -> Effect:
    """Return a cohort's row with its year and, in brackets, its number of units."""
    return replace(row, label=row.label.removeprefix("cohort ").replace(" units)", ")"))


def _fitting(label: str, most: int = 22) -> str:
    return label if len(label) <= most else f"{label[: most - 1].rstrip()}…"


def _numbers(setting: Setting, one: Left) -> Iterator[Traced]:
    task, scale, unit = task_of(setting, one.scale), one.scale, Scale(one.scale).printed
    for kind, finding in one.made.items():
        rows = finding.refits.rows
        low, high = (pick(rows, key=lambda row: row.estimate) for pick in (min, max))
        told = [
            ("Refits", str(len(rows)), f"estimates without one {kind}"),
            ("Smallest", Scale(scale).number(low.estimate), f"smallest estimate without one {kind}, {unit}"),
            ("SmallestWithout", short(low.label), f"{kind} without which the estimate is smallest"),
            ("Largest", Scale(scale).number(high.estimate), f"largest estimate without one {kind}, {unit}"),
            ("LargestWithout", short(high.label), f"{kind} without which the estimate is largest"),
            ("Sign", str(other_sign(finding)), f"estimates without one {kind} that have the other sign"),
            (
                "Zero",
                str(other_significance(finding)),
                f"intervals without one {kind} that change whether zero is in",
            ),
        ]
        yield from traced(setting, EXHIBIT, task, ("leave", scale, kind), told)
