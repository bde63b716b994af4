"""Contours of an estimate over the strength of a confounder, with observed covariates as benchmarks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pandas as pd

from study.core import FloatArray
from study.figures.drawing import BAND, COLOUR, GREY, SECOND, THIRD, Axes, Figure, on_axes

Surface = Callable[[FloatArray, FloatArray], tuple[FloatArray, FloatArray]]

GRID = 200
MARKERS = "os^Dvp*X"


def contour_figure(
    frame: pd.DataFrame,
    ax: Axes | None = None,
    *,
    x: str,
    y: str,
    benchmarks: Sequence[tuple[str, str]],
    surface: Surface,
    robustness_value: float,
    estimate: float,
    goal: float,
    names: tuple[str, str],
    labels: tuple[str, str, str],
) -> Figure:
    """Draw an estimate over a confounder's strength, where it reaches a goal, and what benchmarks would make of it.

    Parameters
    ----------
    frame : DataFrame
        A row a confounder; those whose ``kind`` is "bound" are as strong as a benchmark.
    ax : Axes, optional
        Drawn on, without a legend, instead of a figure of its own.
    x, y : str
        Columns of the confounder's strength with treatment and with the outcome.
    benchmarks : sequence of (str, str)
        Of each such row: the benchmark, and how many times as strong.
    surface : callable
        From strengths, shape (m, m), to the estimate and to the limit of its interval that is nearer to the goal.
    robustness_value : float
        The strength with both at which the estimate reaches the goal.
    estimate, goal : float
        Without a confounder; and the value that a confounder is to bring it to.
    names : tuple of str
        Of the estimate and of its limit, for the legend.
    labels : tuple of str
        Of the horizontal and the vertical axis, and the title.
    """
    bounds = frame[frame["kind"] == "bound"]
    # Strengths reach beyond the benchmarks, where there are any, and the robustness value.
    furthest = np.fmax(1.3 * robustness_value, 1.25 * bounds[[x, y]].max().to_numpy())
    across, up = np.meshgrid(*np.linspace(0, np.minimum(furthest, [0.99, 1.0]), GRID).T)
    with on_axes(ax, height=3.6) as (figure, axis):
        _draw_contours(axis, across, up, surface(across, up), goal, names)
        label = f"no confounder: {estimate:.3g}"
        axis.plot(0, 0, "D", clip_on=False, color=GREY, markersize=5, zorder=5, label=label)
        dots: Any = {"clip_on": False, "color": COLOUR, "markersize": 4.5, "zorder": 4}
        rows = bounds.assign(
            name=[name for name, _ in benchmarks], times=[f"{times}×" for _, times in benchmarks]
        )
        for k, (name, benchmark) in enumerate(rows.groupby("name", sort=False)):
            marker, face = MARKERS[k % len(MARKERS)], "white" if k % 2 else COLOUR
            label = f"{', '.join(benchmark['times'])} {name}"
            axis.plot(benchmark[x], benchmark[y], marker, markerfacecolor=face, label=label, **dots)
            for times, *place in benchmark[["times", x, y]].itertuples(index=False):
                axis.annotate(times, place, xytext=(4, 4), textcoords="offset points", fontsize=7)
        axis.set(xlabel=labels[0], ylabel=labels[1])
        axis.set_title(labels[2], loc="left")
        if ax is None:
            shown = axis.get_legend_handles_labels()
            figure.legend(*shown, loc="outside lower center", ncols=1, frameon=False, fontsize=7)
    return figure


def _draw_contours(
    axis: Axes,
    across: FloatArray,
    up: FloatArray,
    heights: Sequence[FloatArray],
    goal: float,
    names: Sequence[str],
) -> None:
    from matplotlib.ticker import MaxNLocator

    estimate = heights[0]
    ticks = np.asarray(MaxNLocator(9).tick_values(estimate.min(), estimate.max()))
    levels = ticks[np.abs(ticks - goal) > 1e-9 * np.ptp(ticks)]
    lines = axis.contour(across, up, estimate, levels=levels, colors=BAND, linewidths=0.9, linestyles="solid")
    axis.clabel(lines, fontsize=7, colors="0.35", fmt="%.3g")
    for values, name, colour, style in zip(heights, names, (SECOND, THIRD), ("solid", "dashed"), strict=True):
        if values.min() < goal < values.max():
            axis.contour(across, up, values, levels=[goal], colors=colour, linewidths=1.8, linestyles=style)
            axis.plot([], [], color=colour, linewidth=1.8, linestyle=style, label=f"{name} is {goal:.3g}")
