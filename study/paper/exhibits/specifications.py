"""All specifications of the main question at once."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from study.core import capital, listed, p_is
from study.diagnostics import Finding
from study.diagnostics.specification_curve import CHOICES
from study.panel import Scale
from study.paper import Part, Piece, Setting, draw, exhibit
from study.report import Block, Column, Line, Table, cells

# Of a scale, in the order of the table.
OF_SCALE = {
    "count": Column("specifications with an estimate", "count"),
    "distinct": Column("specifications that are not equal to another one", "count"),
    "smallest": Column("smallest estimate of all specifications", "effect"),
    "median": Column("median estimate of all specifications", "effect"),
    "largest": Column("largest estimate of all specifications", "effect"),
    "positive": Column("share of positive estimates", "percent"),
    "excluding_zero": Column("share of intervals without zero", "percent"),
    "p_median": Column("p-value of the median if no specification had an effect", "p"),
    "p_share": Column("p-value of the number of significant specifications", "p"),
}
HEADINGS = ("All", "Distinct", "Smallest", "Median", "Largest", "Positive", "Excl. 0")
SHARES = ("positive", "excluding_zero")
# Of a scale, in texts alone.
BESIDE = {name: Column(f"{OF_SCALE[name].words}, percent", "number", 0) for name in SHARES} | {
    "n_positive": Column("specifications with a positive estimate", "count"),
    "left_out": Column("rows of the plan that fit learners and so are not among the specifications", "count"),
    "left_out_positive": Column("of these rows, those with a positive estimate", "count"),
}
OF_ALL = {
    "largest_t": Column("largest absolute t of all specifications and scales", "number", 2),
    "p_largest_t": Column("p-value of that t if no specification had an effect", "p"),
    "refused": Column("specifications that their design refuses", "count"),
}


@exhibit("Specification curve", Part.OBJECTIONS)
def specifications(setting: Setting) -> Iterator[Piece]:
    """Yield the specification curve with a table of what all specifications say together, or why there is none."""
    curve = setting.finding_of(setting.scale, "specification_curve")
    if isinstance(curve, str):
        yield f"Not made: {curve}"
        return
    yield draw(
        "specifications",
        f"{setting.event.short}: every specification of {listed(curve['choices']['design'], 'or')}, by size of the "
        "estimate.",
        curve.plot(),
        "Estimates of all specifications in order of size, a column for each scale, above marks that show which "
        "design, population, comparison group and covariates each one has.",
    )
    largest, refused = curve["largest"], int((curve.frame["refusal"] != "").sum())
    every = {"largest_t": largest.statistic, "p_largest_t": largest.p_value, "refused": refused}
    rows = {"all_scales": (setting.scale, every)}
    for scale, row in curve["by_scale"].iterrows():
        values = {name: 100 * row[name] if name in SHARES else row[name] for name in OF_SCALE}
        values |= {"n_positive": row["positive"] * row["count"]} | _left_out(setting, scale)
        rows[scale] = scale, values
    for part, (scale, values) in rows.items():
        task = setting.task_of(scale)
        how: Any = {"columns": OF_SCALE | BESIDE | OF_ALL, "command": setting.command_of(task)}
        yield from setting.numbers(part, values, task=task, **how)
    yield _table(setting, curve, refused)
    # Three of each scale and three of all; the rest is what `study diagnose` prints.
    yield from curve.sentences[: 3 * len(curve["by_scale"]) + 3]
    left_out = _left_out(setting, setting.scale)
    if left_out["left_out"]:
        yield (
            f"Of {left_out['left_out']} rows that fit learners, and so are not among them, "
            f"{left_out['left_out_positive']} have a positive estimate on the first scale."
        )


def _table(setting: Setting, curve: Finding, refused: int) -> Table:
    largest, lines = curve["largest"], []
    for scale, row in curve["by_scale"].iterrows():
        shown = {name: row[name] for name in OF_SCALE}
        lines.append(Line(capital(Scale(scale).column), cells(OF_SCALE, shown, Scale(scale))))
    headed = {name: choice.singular for name, choice in CHOICES.items() if choice.heading}
    varied = [word for name, word in headed.items() if len(curve["choices"][name]) > 1]
    return Table(
        name="specifications",
        caption=f"{setting.event.short}: all specifications of designs that fit no learners together",
        headings=[*HEADINGS, "Median", "Share"],
        spans=[("", 2), ("Estimates", 3), ("Share of all, %", 2), ("p", 2)],
        blocks=[Block("", lines)],
        notes=[
            f"Every combination of {listed(varied) if varied else 'one choice each'}, for "
            f"{'; '.join(curve['choices']['design'])}{f'; {refused} more refused' if refused else ''}. "
            "Distinct: not algebraically equal to another one. Excl. 0: intervals "
            "without zero. p: of the median and of the number of significant estimates if no specification had an "
            f"effect (Simonsohn, Simmons and Nelson 2020); over all scales the largest absolute t is "
            f"{largest.statistic:.2f} ({p_is(largest.p_value)}).",
        ],
    )


def _left_out(setting: Setting, scale: str) -> dict[str, int]:
    """Count the plan's rows that the curve leaves out, since they fit learners, and those of them that are positive."""
    rows = [row.label for row in setting.plan.rows if row.design.draws]
    results = (setting.results.get((setting.event.label, scale, setting.outcome, label)) for label in rows)
    effects = [result.headline for result in results if result and result.headline]
    return {"left_out": len(effects), "left_out_positive": sum(effect.estimate > 0 for effect in effects)}
