"""Contours of an estimate over the strength of a confounder, with observed covariates as benchmarks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from study.core import FloatArray
from study.figures.canvas import BAND, COLOUR, GREY, SECOND, THIRD, on_axes

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

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
    strengths = _grid(bounds[x].max(), 0.99, robustness_value), _grid(bounds[y].max(), 1.0, robustness_value)
    across, up = np.meshgrid(*strengths)
    with on_axes(ax, height=3.6) as (figure, axis):
        _draw_contours(axis, across, up, surface(across, up), goal, names)
        axis.plot(
            0,
            0,
            "D",
            color=GREY,
            markersize=5,
            clip_on=False,
            zorder=5,
            label=f"no confounder: {estimate:.3g}",
        )
        _draw_benchmarks(axis, bounds[[x, y]].to_numpy(), benchmarks)
        axis.set_xlabel(labels[0])
        axis.set_ylabel(labels[1])
        axis.set_title(labels[2], loc="left")
        if ax is None:
            shown = axis.get_legend_handles_labels()
            figure.legend(*shown, loc="outside lower center", ncols=1, frameon=False, fontsize=7)
    return figure


def _grid(furthest: float, most: float, robustness_value: float) -> FloatArray:
    """Return strengths that reach beyond the benchmarks, NaN where there are none, and the robustness value."""
    return np.linspace(0, min(np.fmax(1.3 * robustness_value, 1.25 * furthest), most), GRID)


def _draw_contours(
    axis: Axes,
    across: FloatArray,
    up: FloatArray,
    heights: tuple[FloatArray, FloatArray],
    goal: float,
    names: tuple[str, str],
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


def _draw_benchmarks(axis: Axes, places: FloatArray, benchmarks: Sequence[tuple[str, str]]) -> None:
    for k, name in enumerate(dict.fromkeys(name for name, _ in benchmarks)):
        which = [i for i, (other, _) in enumerate(benchmarks) if other == name]
        multiples = [f"{benchmarks[i][1]}×" for i in which]
        axis.plot(
            *places[which].T,
            MARKERS[k % len(MARKERS)],
            color=COLOUR,
            markerfacecolor="white" if k % 2 else COLOUR,
            markersize=4.5,
            clip_on=False,
            zorder=4,
            label=f"{', '.join(multiples)} {name}",
        )
        for multiple, place in zip(multiples, places[which], strict=True):
            axis.annotate(multiple, place, xytext=(4, 4), textcoords="offset points", fontsize=7)
