"""The main estimate without each cohort or treated unit."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from study.diagnostics import Finding
from study.figures import draw_dots
from study.figures.dots import shortened
from study.panel import Scale
from study.paper.exhibits.exhibit import Drawn, Exhibited, Part, Setting, Traced, address, draw, exhibit
from study.paper.exhibits.verdicts import diagnosed, found, on_scale, scale_title, task_of
from study.report import LETTERS, Block, Column, Line, Span, Table

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

    Shown = Mapping[str, Mapping[str, Finding]]  # by scale and kind

EXHIBIT = "leave_one_out"
KINDS = ("cohort", "unit")
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
def leave_one_out(setting: Setting) -> Exhibited:
    """Return the figure and table of the estimate without each cohort and without each treated unit."""
    asked = {
        scale: {kind: found(setting, scale, f"leave_one_{kind}_out") for kind in KINDS}
        for scale in setting.plan.scales
    }
    made = {
        scale: {kind: finding for kind, finding in by_kind.items() if isinstance(finding, Finding)}
        for scale, by_kind in asked.items()
    }
    shown = {scale: by_kind for scale, by_kind in made.items() if by_kind}
    if not shown:
        return Exhibited()
    return Exhibited(
        tables=(_table(setting, shown),),
        figures=(_drawn(setting, shown),),
        numbers=tuple(_numbers(setting, shown)),
        sentences=tuple(
            on_scale(scale, finding.verdict if isinstance(finding, Finding) else f"Not made: {finding}")
            for scale, by_kind in asked.items()
            for finding in by_kind.values()
        ),
    )


def refit_values(finding: Finding) -> dict[str, Any]:
    """Return what the refits say together, by column of :data:`OF_REFITS`."""
    rows, refitted = finding["rows"], finding.frame.dropna(subset="change")
    low, high = (pick(rows, key=lambda row: row.estimate) for pick in (min, max))
    return {
        "refits": len(rows),
        "full_sample": finding["full_sample"].estimate,
        "smallest": low.estimate,
        "smallest_without": short(low.label),
        "largest": high.estimate,
        "largest_without": short(high.label),
        "sign_changes": int(refitted["sign_changes"].sum()),
        "significance_changes": int(refitted["significance_changes"].sum()),
    }


def short(label: str) -> str:
    """Return a cohort's or unit's name without how many units it has."""
    return label.removeprefix("cohort ").split(" (")[0]


def _table(setting: Setting, shown: Shown) -> Table:
    plan, task = setting.plan, task_of(setting, next(iter(shown)))
    names = {"cohort": "One cohort", "unit": f"One {plan.text.unit}"}
    blocks = [
        Block(
            f"Panel {letter}. {plan.scales[scale]}",
            [_line(names[kind], finding) for kind, finding in by_kind.items()],
        )
        for letter, (scale, by_kind) in zip(LETTERS, shown.items(), strict=False)
    ]
    return Table(
        name=EXHIBIT.replace("_", "-"),
        caption=f"The effect of the {task.event.title} without each cohort and without each treated {plan.text.unit}",
        headings=["Refits", "Estimate", "Smallest", "Without", "Largest", "Without", "Sign", "Significance"],
        blocks=blocks,
        notes=[
            f"Outcome: {plan.text.outcome}, {plan.outcomes[task.outcome].lower()}; {task.row.label}, fitted anew "
            f"without each cohort, and without each treated {plan.text.unit}. Estimate: with all of them. Smallest, "
            "Largest: of the refits, and what is left out. Changes of sign: refits with the other sign. Changes "
            f"of significance: refits whose interval at {task.level:.0%} has zero in it where that of all has not, or "
            "the other way round. Intervals of refits are looked at all together, and are no tests.",
        ],
        spans=[Span("", 6), Span("Changes of", 2)],
        prose=(4, 6),
    )


def _line(label: str, finding: Finding) -> Line:
    return Line(label, [OF_REFITS[name].cell(value) for name, value in refit_values(finding).items()])


def _drawn(setting: Setting, shown: Shown) -> Drawn:
    task, units = task_of(setting, next(iter(shown))), setting.plan.text.units
    return draw(
        EXHIBIT,
        f"The effect of the {task.event.title} without each cohort (upper part; in brackets its size) and without each "
        f"of the {NAMED} treated {units} that move it most (lower part), {task.row.label}, "
        f"{task.level:.0%} intervals. Dashed line and shade: the estimate with all of them and its interval. Squares: "
        "refits whose interval has zero in it where that of all has not, or the other way round.",
        figure(setting, shown),
        f"Dots with intervals, a row for each cohort and for each of the {NAMED} most influential {units}, side by "
        "side for each scale, over a shade that is the interval with all of them.",
    )


def figure(setting: Setting, shown: Shown) -> Figure:
    """Draw a row for each cohort left out above one for each unit that moves the estimate most, by scale."""
    from study.figures import FULL, GREY
    from study.figures.canvas import canvas

    frames = {scale: drawn_rows(by_kind) for scale, by_kind in shown.items()}
    most = max(len(rows) for rows in frames.values())
    with canvas(FULL, 1.3 + 0.19 * most * (1 if len(shown) < 3 else 0.8)) as drawing:
        axes = drawing.subplots(1, len(shown), squeeze=False)[0]
        for axis, letter, (scale, rows) in zip(axes, LETTERS, frames.items(), strict=False):
            full = next(iter(shown[scale].values()))["full_sample"]
            marked = rows["significance_changes"].tolist()
            draw_dots(axis, rows, behind=full, marked=marked, percent=Scale(scale).percent)
            if len(shown[scale]) == len(KINDS):
                cohorts = int((rows["kind"] == "cohort").sum())
                axis.axhline(cohorts - 0.5, color=GREY, linewidth=0.6, linestyle=":")
            axis.set_xlabel(task_of(setting, scale).question.effect_scale.axis())
            axis.set_title(f"{letter}. {scale_title(scale)}", loc="left")
    return drawing


def drawn_rows(by_kind: Mapping[str, Finding]) -> pd.DataFrame:
    """Return the refits that are drawn: all cohorts in their order, then the units that move the estimate most."""
    import pandas as pd

    parts = []
    for kind, finding in by_kind.items():
        rows = finding.frame.rename(columns={f"without_{kind}": "label"}).dropna(subset="change")
        if kind == "cohort":
            rows = rows.set_index("label").loc[[row.label for row in finding["rows"]]].reset_index()
            labels = [label.removeprefix("cohort ").replace(" units)", ")") for label in rows["label"]]
        else:
            rows = rows.head(NAMED)
            labels = [shortened(label, LONGEST) for label in rows["label"]]
        parts.append(rows.assign(label=labels, kind=kind))
    return pd.concat(parts, ignore_index=True)


def _numbers(setting: Setting, shown: Shown) -> Iterator[Traced]:
    for scale, by_kind in shown.items():
        for kind, finding in by_kind.items():
            at, quantity = address(EXHIBIT, scale, kind), f"estimates without one {kind}"
            yield from diagnosed(
                setting, scale, at, refit_values(finding), columns=OF_REFITS, quantity=quantity
            )
