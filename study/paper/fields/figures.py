"""The figure of shares by field and year, raw and beside their synthetic comparison."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from study.core import FloatArray, IntArray
from study.figures import COLOUR, GREY, SECOND
from study.figures.canvas import canvas
from study.panel import Panel
from study.paper.fields.answers import Answer, Answers, of_outcome, outcomes_of
from study.paper.fields.plan import FieldsPlan

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

WIDE = 6.3
FEW = 20
SMALL = 8
TREATED: Any = {"label": "Treated fields", "color": SECOND, "marker": "o", "linestyle": "-"}
OTHER: Any = {"label": "Other fields", "color": COLOUR, "marker": "s", "linestyle": "--"}
SYNTHETIC: Any = {
    "label": "Synthetic comparison, at the base of the treated", "color": "black", "marker": "^", "linestyle": ":",
}  # fmt: skip


def shares_figure(plan: FieldsPlan, found: Answers, panels: Mapping[str, Panel]) -> Figure:
    """Draw the first outcome by year: the main line's fields as they are, and each block's synthetic comparison."""
    from matplotlib.ticker import MaxNLocator

    by_line = of_outcome(plan, found)
    blocks = [made for made in by_line.values() if made.line.method == "synthetic_did"]

    def shares(made: Answer) -> FloatArray:
        return outcomes_of(panels[made.line.panel], made.cells, plan.outcome)

    with canvas(WIDE, 2.9) as figure:
        widths = [1.35, *[1.0] * len(blocks)]
        first, *rest = figure.subplots(1, len(widths), sharey=True, width_ratios=widths, squeeze=False)[0]
        _draw_raw(first, by_line[plan.main], shares(by_line[plan.main]))
        first.set_ylabel(f"{plan.outcomes[plan.outcome]}, % of papers")
        for axis, made in zip(rest, blocks, strict=True):
            _draw_block(axis, made, shares(made))
        for axis in (first, *rest):
            axis.set_ylim(0, 104)
            axis.xaxis.set_major_locator(MaxNLocator(4, integer=True))
            axis.set_xlabel("Year")
        handles, labels = (rest or [first])[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=3, frameon=False, fontsize=SMALL)
    return figure


def _draw(axis: Axes, years: IntArray, values: FloatArray, look: dict[str, Any], **more: Any) -> None:
    axis.plot(years, values, linewidth=1.2, markersize=3.5, **look, **more)


def _draw_raw(axis: Axes, made: Answer, y: FloatArray) -> None:
    """Draw shares of all papers by year; hollow where a year has fewer than 20 papers."""
    cells = made.cells
    for rows, look in ((cells.treated, TREATED), (~cells.treated, OTHER)):
        papers = cells.papers[rows].sum(axis=0)
        seen = papers > 0
        share = (cells.papers[rows] * y[rows]).sum(axis=0)[seen] / papers[seen]
        few = papers[seen] < FEW
        _draw(axis, cells.years[seen], share, look)
        hollow = look | {"label": "", "linestyle": ""}
        _draw(axis, cells.years[seen][few], share[few], hollow, markerfacecolor="white")
    axis.axvline(_end(made), color=GREY, linewidth=0.8, linestyle=":")
    axis.set_title("Topics, all venues", fontsize=SMALL)


def _draw_block(axis: Axes, made: Answer, y: FloatArray) -> None:
    """Draw the mean of the treated fields, of the others, and the weighted others, moved to the same base."""
    cells, treated = made.cells, made.cells.treated
    unit = np.where(treated, 0.0, -made.contrast[:, -1] / made.contrast[treated][0, -1] / treated.sum())
    time = np.maximum(-made.contrast[treated][0], 0.0)
    actual, synthetic = y[treated].mean(axis=0), unit @ y
    moved = synthetic + ((actual - synthetic) @ time) / time.sum()
    for values, look in ((actual, TREATED), (y[~treated].mean(axis=0), OTHER), (moved, SYNTHETIC)):
        _draw(axis, cells.years, values, look)
    axis.axvline(_end(made), color=GREY, linewidth=0.8, linestyle=":")
    kind = "Topics" if made.line.panel == "fields" else "Areas"
    axis.set_title(f"{kind}, block of {len(np.unique(cells.venues))} venues", fontsize=SMALL)


def _end(made: Answer) -> float:
    return 0.5 + (made.line.last_before or made.cells.years[~made.cells.after[0]].max())
