"""Contours of an estimate over the strength of a confounder, with observed covariates as benchmarks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from study.core import FloatArray

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


GRID = 200
MARKERS = "os^Dvp*X"


class Point(NamedTuple):
    """A benchmark: its series, how many times over, and where it lies."""

    series: str
    multiple: str
    x: float
    y: float


def grid(points: Sequence[Point], robustness: float) -> tuple[FloatArray, FloatArray]:
    """Return a square grid that holds the benchmarks and the point of the robustness value."""
    widest = [1.3 * robustness, *(1.25 * p.x for p in points)]
    highest = [1.3 * robustness, *(1.25 * p.y for p in points)]
    x, y = np.meshgrid(
        np.linspace(0, min(max(widest), 0.99), GRID), np.linspace(0, min(max(highest), 1.0), GRID)
    )
    return x, y


def draw_contours(
    axes: Axes,
    x: FloatArray,
    y: FloatArray,
    estimate: FloatArray,
    limit: FloatArray,
    goal: float,
    level: float,
    names: tuple[str, str],
) -> None:
    """Draw an estimate over the strength of a confounder, with the line where it is no longer significant."""
    from matplotlib.ticker import MaxNLocator

    from study.figures.canvas import BAND, SECOND, THIRD

    ticks = np.asarray(MaxNLocator(9).tick_values(estimate.min(), estimate.max()))
    levels = ticks[np.abs(ticks - goal) > 1e-9 * np.ptp(ticks)]
    lines = axes.contour(x, y, estimate, levels=levels, colors=BAND, linewidths=0.9, linestyles="solid")
    axes.clabel(lines, fontsize=7, colors="0.35", fmt="%.3g")
    for values, colour, style, said in (
        (estimate, SECOND, "solid", f"{names[0]} is {goal:.3g}"),
        (limit, THIRD, "dashed", f"{names[1]} {100 * level:g} % limit is {goal:.3g}"),
    ):
        if values.min() < goal < values.max():
            axes.contour(x, y, values, levels=[goal], colors=colour, linewidths=1.8, linestyles=style)
            axes.plot([], [], color=colour, linewidth=1.8, linestyle=style, label=said)


def draw_points(axes: Axes, points: Sequence[Point], estimate: float) -> None:
    """Draw benchmarks, and the point of the robustness value."""
    from study.figures.canvas import COLOUR, GREY

    axes.plot(
        0, 0, "D", color=GREY, markersize=5, clip_on=False, zorder=5, label=f"no confounder: {estimate:.3g}"
    )
    for k, name in enumerate(dict.fromkeys(p.series for p in points)):
        here = [p for p in points if p.series == name]
        axes.plot(
            [p.x for p in here],
            [p.y for p in here],
            MARKERS[k % len(MARKERS)],
            color=COLOUR,
            markerfacecolor="white" if k % 2 else COLOUR,
            markersize=4.5,
            clip_on=False,
            zorder=4,
            label=f"{', '.join(p.multiple for p in here)} {name}",
        )
        for p in here:
            axes.annotate(p.multiple, (p.x, p.y), xytext=(4, 4), textcoords="offset points", fontsize=7)


def benchmark_legend(figure: Figure, axes: Axes) -> None:
    """Draw the legend of benchmarks below the axes."""
    figure.legend(
        *axes.get_legend_handles_labels(), loc="outside lower center", ncols=1, frameon=False, fontsize=7
    )
