"""The figures of fields: raw shares beside their synthetic comparison, and estimates under every assignment."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from study.core import FloatArray
from study.figures import COLOUR, GREY, SECOND
from study.figures.canvas import canvas
from study.panel import Panel
from study.paper.fields.answers import Answer, outcomes_of
from study.paper.fields.plan import FieldsPlan

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Answers = Mapping[tuple[str, str], Answer]
WIDE = 6.3
FEW = 20
SMALL = 8


def shares_figure(plan: FieldsPlan, found: Answers, panels: Mapping[str, Panel]) -> Figure:
    """Draw the first outcome by year: the main line's fields as they are, and each block's synthetic comparison."""
    from matplotlib.ticker import MaxNLocator

    outcome = next(iter(plan.outcomes))
    main = found[plan.main, outcome]
    blocks = [found[line.label, outcome] for line in plan.lines if line.method == "synthetic_did"]
    with canvas(WIDE, 2.9) as figure:
        axes = figure.subplots(1, 1 + len(blocks), sharey=True, width_ratios=[1.35, *[1.0] * len(blocks)])
        first = np.atleast_1d(axes)[0]
        _draw_raw(first, main, outcomes_of(panels[main.line.panel], main.cells, outcome))
        first.set_ylabel(f"{plan.outcomes[outcome]}, % of papers")
        for axis, made in zip(np.atleast_1d(axes)[1:], blocks, strict=True):
            _draw_block(axis, made, outcomes_of(panels[made.line.panel], made.cells, outcome))
        for axis in np.atleast_1d(axes):
            axis.set_ylim(0, 104)
            axis.xaxis.set_major_locator(MaxNLocator(4, integer=True))
            axis.set_xlabel("Year")
        handles, labels = first.get_legend_handles_labels()
        if blocks:
            more = np.atleast_1d(axes)[1].get_legend_handles_labels()
            handles, labels = [*handles, more[0][-1]], [*labels, more[1][-1]]
        figure.legend(handles, labels, loc="outside lower center", ncols=3, frameon=False, fontsize=SMALL)
    return figure


def _draw_raw(axis: Axes, made: Answer, y: FloatArray) -> None:
    """Draw shares of all papers by year; hollow where a year has fewer than 20 papers."""
    cells = made.cells
    for concerned, label, colour, marker, line in (
        (True, "Concerned fields", SECOND, "o", "-"),
        (False, "Other fields", COLOUR, "s", "--"),
    ):
        rows = (cells.concerned > 0) == concerned
        papers = cells.papers[rows].sum(axis=0)
        seen = papers > 0
        share = (cells.papers[rows] * y[rows]).sum(axis=0)[seen] / papers[seen]
        years = cells.years[seen]
        axis.plot(years, share, line, color=colour, linewidth=1.2, marker=marker, markersize=3.5, label=label)
        few = papers[seen] < FEW
        axis.plot(
            years[few],
            share[few],
            marker,
            color=colour,
            markersize=3.5,
            markerfacecolor="white",
            linestyle="",
        )
    axis.axvline(_end(made), color=GREY, linewidth=0.8, linestyle=":")
    axis.set_title("Topics, all venues", fontsize=SMALL)


def _draw_block(axis: Axes, made: Answer, y: FloatArray) -> None:
    """Draw the mean of the concerned fields, of the others, and the weighted others, moved to the same base."""
    cells = made.cells
    concerned = cells.concerned > 0
    unit = np.where(concerned, 0.0, -made.contrast[:, -1] / made.contrast[concerned][0, -1] / concerned.sum())
    time = np.maximum(-made.contrast[concerned][0], 0.0)
    actual, synthetic = y[concerned].mean(axis=0), unit @ y
    moved = synthetic + ((actual - synthetic) @ time) / time.sum()
    for values, label, colour, marker, line in (
        (actual, "Concerned fields", SECOND, "o", "-"),
        (y[~concerned].mean(axis=0), "Other fields", COLOUR, "s", "--"),
        (moved, "Synthetic comparison, at the base of the concerned", "black", "^", ":"),
    ):
        axis.plot(
            cells.years, values, line, color=colour, linewidth=1.2, marker=marker, markersize=3.5, label=label
        )
    axis.axvline(_end(made), color=GREY, linewidth=0.8, linestyle=":")
    kind = "Topics" if made.line.panel == "fields" else "Areas"
    axis.set_title(f"{kind}, block of {len(np.unique(cells.venues))} venues", fontsize=SMALL)


def _end(made: Answer) -> float:
    return 0.5 + (made.line.last_before or made.cells.years[~made.cells.after[0]].max())


def randomization_figure(plan: FieldsPlan, found: Answers) -> Figure:
    """Draw the first outcome's estimates under every assignment, a row a line, the actual one marked."""
    outcome = next(iter(plan.outcomes))
    rows = [found[line.label, outcome] for line in plan.lines]
    with canvas(WIDE, 0.9 + 0.3 * len(rows)) as figure:
        axis = figure.subplots()
        for place, made in enumerate(rows):
            axis.plot(
                made.estimates, np.full(len(made.estimates), place), "|", color=GREY, markersize=9, alpha=0.35,
                label="Every way of naming the concerned fields" if not place else None,
            )  # fmt: skip
            axis.plot(
                made.estimate, place, "D", color=SECOND, markeredgecolor="black", markeredgewidth=0.6, markersize=6,
                label="The actual one" if not place else None,
            )  # fmt: skip
            axis.annotate(
                f"p = {made.p_value:.3f} ({len(made.estimates)})", (1.01, place), xycoords=("axes fraction", "data"),
                va="center", fontsize=SMALL,
            )  # fmt: skip
        axis.axvline(0, color=GREY, linewidth=0.8, linestyle=":")
        axis.set_yticks(range(len(rows)), [made.line.title for made in rows], fontsize=SMALL)
        axis.set_ylim(len(rows) - 0.5, -0.5)
        axis.set_xlabel(
            f"{plan.outcomes[outcome]}: estimate, percentage points\n(dose: points for each order of magnitude a year)"
        )
        figure.legend(
            *axis.get_legend_handles_labels(),
            loc="outside upper center",
            ncols=2,
            frameon=False,
            fontsize=SMALL,
        )
    return figure
