"""All specifications of the main question at once."""

from __future__ import annotations

from collections.abc import Iterator

from study.core import p_text
from study.diagnostics import Finding
from study.diagnostics.specification_curve import CHOICES
from study.paper.exhibits.exhibit import Part, Piece, Setting, draw, exhibit
from study.paper.exhibits.verdicts import command_of, finding_of, scale_title, task_of
from study.report import Block, Column, Line, Table

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
HEADINGS = ("All", "Distinct", "Smallest", "Median", "Largest", "Positive", "Excl. 0")
SHARES = ("positive", "excluding_zero")
IN_PERCENT = {name: Column(f"{OF_SCALE[name].words}, percent", "number", 0) for name in SHARES}
OF_ALL = {
    "largest_t": Column("largest absolute t of all specifications and scales", "number", 2),
    "p_largest_t": Column("p-value of that t if no specification had an effect", "p"),
    "refused": Column("specifications that their design refuses", "count"),
}


@exhibit("Specification curve", Part.OBJECTIONS)
def specifications(setting: Setting) -> Iterator[Piece]:
    """Yield the specification curve with a table of what all specifications say together, or why there is none."""
    curve = finding_of(setting, setting.scale, "specification_curve")
    if isinstance(curve, str):
        yield f"Not made: {curve}"
        return
    yield draw(
        EXHIBIT,
        f"Specification curve of the effect of the {setting.event.title}: estimates in order of size with pointwise "
        "95% intervals and the band of all specifications together (above), and the choices of each (below). Intervals "
        "that leave the axis are cut.",
        curve.plot(),
        "Estimates of all specifications in order of size, a column for each scale, above marks that show which "
        "design, population, comparison group and covariates each one has.",
    )
    for scale, row in curve["by_scale"].iterrows():
        values = {name: 100 * row[name] if name in SHARES else row[name] for name in OF_SCALE}
        task = task_of(setting, scale)
        command = command_of(setting, task)
        yield from setting.numbers((EXHIBIT, scale), values, OF_SCALE | IN_PERCENT, task, command=command)
    largest, refused = curve["largest"], int((curve.frame["refusal"] != "").sum())
    values = {"largest_t": largest.statistic, "p_largest_t": largest.p_value, "refused": refused}
    task = task_of(setting, setting.scale)
    command = command_of(setting, task)
    yield from setting.numbers((EXHIBIT, "all_scales"), values, OF_ALL, task, command=command)
    yield _table(setting, curve, refused)
    yield from curve.sentences


def _table(setting: Setting, curve: Finding, refused: int) -> Table:
    largest, p_largest = curve["largest"], p_text(curve["largest"].p_value)
    rows = curve["by_scale"].iterrows()
    lines = [Line(scale_title(s), [OF_SCALE[name].cell(row[name]) for name in OF_SCALE]) for s, row in rows]
    varied = [
        f"{choice.heading.lower()} ({len(curve['choices'][name])})"
        for name, choice in CHOICES.items()
        if choice.heading and len(curve["choices"][name]) > 1
    ]
    return Table(
        name=EXHIBIT,
        caption=f"All specifications of the effect of the {setting.event.title}",
        headings=[*HEADINGS, "p, median", "p, share"],
        blocks=[Block("", lines)],
        notes=[
            f"{setting.about}. Every combination of {', '.join(varied) or 'one choice each'} on each scale."
            f"{f' {refused} more are refused by their design.' if refused else ''} Distinct: not algebraically equal "
            "to another one; only these count in the median and in the tests. Positive, Excl. 0: shares of all, the "
            "latter with a pointwise 95% interval without zero.",
            "p: of the median and of the number of significant estimates, by draws of their joint influence if no "
            f"specification had an effect ({setting.plan.band_draws} draws; Simonsohn, Simmons and Nelson 2020). Over "
            f"all scales the largest absolute t is {largest.statistic:.2f} "
            f"(p {p_largest if p_largest.startswith('below') else f'= {p_largest}'}). Estimands and "
            "assumptions differ between specifications: that many agree does not make their common assumption true.",
        ],
    )
