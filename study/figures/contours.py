"""A value over two dimensions: contours over the strength of a confounder, with benchmarks, or shades of a grid."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from study.core import FloatArray
from study.figures.drawing import (
    BAND,
    COLOUR,
    GREY,
    SECOND,
    THIRD,
    Axes,
    Figure,
    draw_legend,
    in_lines,
    on_axes,
    shortened,
)

Surfaces = Callable[[FloatArray, FloatArray], Mapping[str, FloatArray]]

GRID = 200
MARKERS = "os^D"
NEAR = (0.07, 0.06)  # shares of the axes that labels of dots take
MOST, LETTERS = len(MARKERS), 60  # benchmarks that are drawn, and letters of their names at most


def contour_figure(
    frame: pd.DataFrame,
    ax: Axes | None = None,
    *,
    x: str,
    y: str,
    benchmarks: pd.DataFrame,
    surfaces: Surfaces,
    robustness_value: float,
    estimate: float,
    goal: float,
    labels: tuple[str, str, str],
) -> Figure:
    """Draw an estimate over a confounder's strength, where it reaches a goal, and what benchmarks would make of it.

    Parameters
    ----------
    frame : DataFrame
        A row a confounder.
    ax : Axes, optional
        Drawn on, without a legend, instead of a figure of its own.
    x, y : str
        Columns of the confounder's strength with treatment and with the outcome.
    benchmarks : DataFrame
        Of the rows of confounders as strong as a benchmark: benchmark, and multiple, how many times as strong. Those
        of the four strongest benchmarks are drawn.
    surfaces : callable
        From strengths, shape (m, m), to the estimate and then the limit of its interval that is nearer to the goal,
        each by its name in the legend.
    robustness_value : float
        The strength with both at which the estimate reaches the goal.
    estimate, goal : float
        Without a confounder; and the value that a confounder is to bring it to.
    labels : tuple of str
        Of the horizontal and the vertical axis, and the title.
    """
    rows = frame.join(benchmarks, how="inner")
    strength = rows.groupby("benchmark")[[x, y]].max().prod(axis=1)
    strongest = strength.sort_values(ascending=False, kind="stable")
    rows, weaker = rows[rows["benchmark"].isin(strongest.index[:MOST])], len(strongest) - MOST
    # Strengths reach beyond the benchmarks, where there are any, and the robustness value.
    furthest = np.fmax(1.3 * robustness_value, 1.25 * rows[[x, y]].max().to_numpy())
    strengths = np.meshgrid(*np.linspace(0, np.minimum(furthest, [0.99, 1.0]), GRID).T)
    with on_axes(ax, height=3.6) as (figure, axis):
        _draw_contours(axis, strengths, surfaces(*strengths), goal)
        label = f"no confounder: {estimate:.3g}"
        axis.plot(0, 0, "D", clip_on=False, color=GREY, markersize=5, zorder=5, label=label)
        dots: Any = {"clip_on": False, "color": COLOUR, "markersize": 4.5, "zorder": 4}
        for k, (name, bounds) in enumerate(rows.groupby("benchmark", sort=False)):
            marker, face = MARKERS[k], "white" if k % 2 else COLOUR
            label = f"{', '.join(bounds['multiple'] + '×')} {shortened(str(name), LETTERS)}"
            axis.plot(bounds[x], bounds[y], marker, markerfacecolor=face, label=label, **dots)
        _name_multiples(axis, rows[["multiple", x, y]], np.array([each.max() for each in strengths]))
        if weaker > 0:
            axis.plot([], [], " ", label=f"not drawn: {weaker} weaker benchmarks")
        axis.set(xlabel=labels[0], ylabel=labels[1])
        axis.set_title(in_lines(figure, labels[2]), loc="left")
        if ax is None:
            draw_legend(figure, axis, loc="outside lower center", fontsize=7)
    return figure


def _name_multiples(axis: Axes, rows: pd.DataFrame, furthest: FloatArray) -> None:
    """Write how many times as strong confounders are, from the strongest on, where no other is written too near."""
    named: list[FloatArray] = []
    for times, *place in rows[::-1].itertuples(index=False):
        at = np.asarray(place) / furthest
        if not any((np.abs(at - other) < NEAR).all() for other in named):
            axis.annotate(f"{times}×", place, xytext=(4, 4), textcoords="offset points", fontsize=7)
            named.append(at)


def _draw_contours(
    axis: Axes, strengths: Sequence[FloatArray], surfaces: Mapping[str, FloatArray], goal: float
) -> None:
    from matplotlib.ticker import MaxNLocator

    estimate = next(iter(surfaces.values()))
    ticks = np.asarray(MaxNLocator(9).tick_values(estimate.min(), estimate.max()))
    levels = ticks[np.abs(ticks - goal) > 1e-9 * np.ptp(ticks)]
    lines = axis.contour(*strengths, estimate, levels=levels, colors=BAND, linewidths=0.9, linestyles="solid")
    axis.clabel(lines, fontsize=7, colors="0.35", fmt="%.3g")
    looks = ((SECOND, "solid"), (THIRD, "dashed"))
    for (name, values), (colour, style) in zip(surfaces.items(), looks, strict=True):
        if values.min() < goal < values.max():
            axis.contour(*strengths, values, levels=[goal], colors=colour, linewidths=1.8, linestyles=style)
            axis.plot([], [], color=colour, linewidth=1.8, linestyle=style, label=f"{name} is {goal:.3g}")


def draw_heatmap(axis: Axes, grid: pd.DataFrame, label: str, ticks: int, signed: bool = False) -> None:
    """Draw a grid, its first row on top, with the scale of its shades beside it.

    Parameters
    ----------
    axis : Axes
    grid : DataFrame
        Columns and rows one apart; NaN cells are grey.
    label : str
        What the values are.
    ticks : int
        How many at most, at whole numbers.
    signed : bool
        Shades run in two directions from zero, and in one otherwise.
    """
    from matplotlib.ticker import MaxNLocator

    most = float(grid.abs().fillna(0.0).max(axis=None)) or 1.0
    (first, last), (top, bottom) = grid.columns[[0, -1]], grid.index[[0, -1]]
    extent = (first - 0.5, last + 0.5, bottom + 0.5, top - 0.5)
    # Grey that cannot be taken for a shade of zero, which is white of signed values.
    least, shades, background = (-most, "PuOr_r", "0.93") if signed else (0, "Blues", "0.8")
    image = axis.imshow(grid, cmap=shades, vmin=least, vmax=most, aspect="auto", extent=extent)
    axis.set_facecolor(background)
    for side in (axis.xaxis, axis.yaxis):
        side.set_major_locator(MaxNLocator(nbins=ticks, integer=True, min_n_ticks=1))
    axis.figure.colorbar(image, ax=axis, label=label)
