"""Event-study figures: effects by event time with pointwise intervals and the simultaneous band."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from study.core import QuestionError
from study.estimates import Estimate
from study.figures.dots import draw_intervals
from study.figures.drawing import BAND, COLOUR, FULL, GREY, SECOND, WIDTH, Axes, Figure, canvas, legend_above

COLUMNS = 4
SAME = ["term", "event_time", "estimate", "std_error"]
Paths = Mapping[str, pd.DataFrame]


def event_study(paths: Paths, *, ylabel: str, percent: bool = False) -> Figure:
    """Draw one axis for each path of effects, side by side on one scale.

    Parameters
    ----------
    paths : mapping of str to DataFrame
        By title: event_time, estimate, conf_low, conf_high, band_low, band_high; a reference row has NaN
        limits.
    ylabel : str
        What the effect is, with its unit.
    percent : bool
        Effects are shares and are drawn in percent.

    Returns
    -------
    matplotlib Figure
    """
    with canvas(max(WIDTH, 1.0 + 1.9 * len(paths))) as figure:
        axes = figure.subplots(1, len(paths), sharey=True, squeeze=False)[0]
        for axis, (title, path) in zip(axes, paths.items(), strict=True):
            draw_path(axis, path, percent=percent)
            axis.set_title(title)
        axes[0].set_ylabel(ylabel)
        figure.supxlabel("Years since first treated", fontsize=9)
        legend_above(figure, axes[0], 3, None)
    return figure


class Grid(NamedTuple):
    """Paths by title that share one vertical axis, the heading over them, what the effect is, and its unit."""

    heading: str
    paths: Paths
    ylabel: str
    percent: bool


def event_study_grids(
    grids: Sequence[Grid], *, window: tuple[int, int], apart: Collection[str] = ()
) -> Figure:
    """Draw several grids of paths below one another, each on a vertical scale of its own.

    Parameters
    ----------
    grids : sequence of Grid
        Paths as in :func:`event_study`.
    window : tuple of int
        First and last event time of all axes.
    apart : collection of str
        Titles of paths whose effects before the event have another base than those after it; they are drawn hollow,
        without a line between both.

    Returns
    -------
    matplotlib Figure
        As wide as the paper's text.
    """
    rows = [-(-len(grid.paths) // COLUMNS) for grid in grids]
    heights = [0.6 + 1.25 * n for n in rows]
    with canvas(FULL, 0.45 + sum(heights)) as figure:
        parts = figure.subfigures(len(grids), 1, height_ratios=heights, squeeze=False)[:, 0]
        for part, grid, n in zip(parts, grids, rows, strict=True):
            axes = part.subplots(n, COLUMNS, sharex=True, sharey=True, squeeze=False).ravel()
            for axis, (title, path) in zip(axes, grid.paths.items(), strict=False):
                draw_path(axis, path, percent=grid.percent, apart=title in apart)
                axis.set_title(title, fontsize=8)
                axis.set_xlim(window[0] - 0.7, window[1] + 0.7)
                axis.set_xticks([e for e in range(window[0], window[1] + 1) if e % 2 == 0])
            for axis in axes[len(grid.paths) :]:
                axis.set_axis_off()
            for axis in axes[max(0, len(grid.paths) - COLUMNS) : len(grid.paths)]:
                axis.tick_params(labelbottom=True)
            part.suptitle(grid.heading, fontsize=9, x=0.01, ha="left", fontweight="bold")
            part.supylabel(grid.ylabel, fontsize=9)
        parts[-1].supxlabel("Years since first treated", fontsize=9)
        handles = {
            label: handle
            for part in parts
            for axis in part.axes
            for handle, label in zip(*axis.get_legend_handles_labels(), strict=True)
        }
        figure.legend([*handles.values()], [*handles], loc="outside lower center", ncols=2, frameon=False)
    return figure


def draw_path(axis: Axes, path: pd.DataFrame, *, percent: bool = False, apart: bool = False) -> None:
    """Draw one path of effects, whose effects before the event are hollow where they stand ``apart``."""
    from matplotlib.ticker import MaxNLocator

    factor = 100 if percent else 1
    times = path["event_time"].to_numpy()
    columns = ["estimate", "conf_low", "conf_high", "band_low", "band_high"]
    estimate, *ends, low, high = factor * path[columns].to_numpy().T
    axis.use_sticky_edges = False
    axis.axhline(0, color=GREY, linewidth=0.8)
    axis.axvline(-0.5, color=GREY, linewidth=0.8, linestyle=":")
    axis.bar(times, high - low, bottom=low, width=0.62, color=BAND, label="simultaneous band")
    reference = np.isnan(low)
    other = apart & (times < 0) & ~reference
    looks = {"estimate, pointwise interval": (~reference & ~other, "o", COLOUR, COLOUR)}
    if other.any():
        looks["the same, on another base than those after"] = (other, "D", SECOND, "white")
    for label, (which, marker, colour, face) in looks.items():
        values = estimate[which], times[which], np.array(ends)[:, which]
        look: Any = {"fmt": marker, "color": colour, "markerfacecolor": face, "linewidth": 1.1}
        draw_intervals(axis, *values, upright=True, label=label, **look)
    axis.plot(times[reference], estimate[reference], "o", mfc="white", mec=COLOUR, ms=4, label="reference")
    axis.xaxis.set_major_locator(MaxNLocator(integer=True))


def plot_estimate(estimate: Estimate, level: float = 0.95, seed: int = 0) -> Figure:
    """Draw one estimate's effects by event time.

    Raises
    ------
    QuestionError
        If the estimate has no event times.
    """
    if estimate.estimand.has_path and not np.isfinite(estimate.event_time).any():
        raise QuestionError(
            f"plot: {', '.join(estimate.terms[:3])} has no event time to draw; plot the estimate that was averaged."
        )
    by_event_time = np.isfinite(estimate.event_time).all() and np.isnan(estimate.cohort).all()
    fit = estimate if by_event_time else estimate.aggregate("event")
    path = fit.tidy(level).merge(fit.band(level, seed=seed), on=SAME, how="left")
    scale = estimate.sample.question.effect_scale
    return event_study({estimate.design: path}, ylabel=scale.axis(), percent=scale.percent)


def shown(path: pd.DataFrame, window: tuple[int, int]) -> pd.DataFrame:
    """Return the rows of a path that lie in the window of the figures."""
    return path[path["event_time"].between(*window)] if len(path) else path
