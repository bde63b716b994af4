"""All specifications of the main question at once."""

from __future__ import annotations

from collections.abc import Iterator

import pandas as pd

from study.diagnostics import Finding
from study.diagnostics.specification_curve import CHOICES
from study.paper.exhibits.exhibit import Drawn, Exhibited, Part, Setting, Traced, address, draw, exhibit
from study.paper.exhibits.verdicts import diagnosed, found, scale_title, task_of
from study.report import Block, Column, Line, Table, p_text

EXHIBIT = "specifications"
# Of a scale, in the order of the table.
OF_SCALE = {
    "count": Column("specifications with an estimate", "count"),
    "distinct": Column("specifications that are not equal to another one", "count"),
    "smallest": Column("smallest estimate of all specifications", "effect"),
    "median": Column("median estimate of all specifications", "effect"),
    "largest": Column("largest estimate of all specifications", "effect"),
    "positive": Column("share of positive estimates", "number", 2),
    "excluding_zero": Column("share of intervals without zero", "number", 2),
    "p_median": Column("p-value of the median if no specification had an effect", "p"),
    "p_share": Column("p-value of the number of significant specifications", "p"),
}
SHARES = ("positive", "excluding_zero")
IN_PERCENT = {name: Column(f"{OF_SCALE[name].words}, percent", "number", 0) for name in SHARES}
OF_ALL = {
    "largest_t": Column("largest absolute t of all specifications and scales", "number", 2),
    "p_largest_t": Column("p-value of that t if no specification had an effect", "p"),
    "refused": Column("specifications that their design refuses", "count"),
}


@exhibit("Specification curve", Part.OBJECTIONS)
def specifications(setting: Setting) -> Exhibited:
    """Return the specification curve with a table of what all specifications say together, or why there is none."""
    curve = found(setting, next(iter(setting.plan.scales)), "specification_curve")
    if isinstance(curve, str):
        return Exhibited(sentences=(f"Not made: {curve}",))
    return Exhibited(
        tables=(_table(setting, curve),),
        figures=(_drawn(setting, curve),),
        numbers=tuple(_numbers(setting, curve)),
        sentences=curve.sentences,
    )


def _refused(curve: Finding) -> int:
    return int((curve.frame["refusal"] != "").sum())


def _table(setting: Setting, curve: Finding) -> Table:
    by_scale: pd.DataFrame = curve["by_scale"]
    lines = [
        Line(scale_title(scale), [column.cell(row[name]) for name, column in OF_SCALE.items()])
        for scale, row in by_scale.iterrows()
    ]
    varied = [
        f"{choice.heading.lower()} ({len(curve['choices'][name])})"
        for name, choice in CHOICES.items()
        if choice.heading and len(curve["choices"][name]) > 1
    ]
    task, largest = task_of(setting, by_scale.index[0]), curve["largest"]
    refused = f" {_refused(curve)} more are refused by their design." if _refused(curve) else ""
    return Table(
        name=EXHIBIT,
        caption=f"All specifications of the effect of the {task.event.title}",
        headings=[
            "All",
            "Distinct",
            "Smallest",
            "Median",
            "Largest",
            "Positive",
            "Excl. 0",
            "p, median",
            "p, share",
        ],
        blocks=[Block("", lines)],
        notes=[
            f"Outcome: {setting.plan.text.outcome}, {setting.plan.outcomes[task.outcome].lower()}. Every combination "
            f"of {', '.join(varied) or 'one choice each'} on each scale.{refused} Distinct: not algebraically equal "
            "to another one; only these count in the median and in the tests. Positive, Excl. 0: shares of all, the "
            "latter with a pointwise 95% interval without zero.",
            "p: of the median and of the number of significant estimates, by draws of their joint influence if no "
            f"specification had an effect ({setting.plan.band_draws} draws; Simonsohn, Simmons and Nelson 2020). Over "
            f"all scales the largest absolute t is {largest.statistic:.2f} (p {_is(largest.p_value)}). Estimands and "
            "assumptions differ between specifications: that many agree does not make their common assumption true.",
        ],
    )


def _is(p_value: float) -> str:
    shown = p_text(p_value)
    return shown if shown.startswith("below") else f"= {shown}"


def _drawn(setting: Setting, curve: Finding) -> Drawn:
    event = setting.plan.events[0]
    return draw(
        EXHIBIT,
        f"Specification curve of the effect of the {event.title}: estimates in order of size with pointwise 95% "
        "intervals and the band of all specifications together (above), and the choices of each (below). Intervals "
        "that leave the axis are cut.",
        curve.plot(),
        "Estimates of all specifications in order of size, a column for each scale, above marks that show which "
        "design, population, comparison group and covariates each one has.",
    )


def _numbers(setting: Setting, curve: Finding) -> Iterator[Traced]:
    for scale, row in curve["by_scale"].iterrows():
        values = {name: 100 * row[name] if name in SHARES else row[name] for name in OF_SCALE}
        yield from diagnosed(setting, scale, address(EXHIBIT, scale), values, OF_SCALE | IN_PERCENT)
    values = {
        "largest_t": curve["largest"].statistic,
        "p_largest_t": curve["largest"].p_value,
        "refused": _refused(curve),
    }
    scale = next(iter(setting.plan.scales))
    yield from diagnosed(setting, scale, address(EXHIBIT, "all_scales"), values, OF_ALL)
