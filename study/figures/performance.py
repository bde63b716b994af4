"""How designs perform on simulated panels, as charts with a label beside each design."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from study.core import FloatArray
from study.figures.dots import shortened
from study.figures.drawing import (
    COLOUR,
    FULL,
    GREY,
    SECOND,
    SERIES,
    Axes,
    Figure,
    canvas,
    legend_above,
    on_axes,
)
from study.panel import Scale

SIZE, LETTERS = 6.5, 46  # of a label: points, and letters at most
# Monte-Carlo errors on either side of a point.
ERRORS = 2
# Above this ratio of the largest RMSE to the smallest their axis is logarithmic.
WIDE = 5.0
# From this ratio on, powers of ten alone are named on it.
DECADES = 100.0
HEIGHT = 3.9
# Of the curves after those that have a look of their own.
REST: Any = {"color": "0.7", "linewidth": 0.7, "marker": "o", "markersize": 1.5}
# Where a number may stand beside its point, in points of print, and from which distance on nothing is in its way.
SIDES = 8.5 * np.array([(np.cos(a), np.sin(a)) for a in np.pi * (0.25 + np.arange(8) / 4)])
FREE = 9.0


def performance_figure(
    frame: pd.DataFrame, ax: Axes | None = None, *, table: pd.DataFrame, scale: Scale, level: float = 0.95
) -> Figure:
    """Draw coverage against RMSE, and below it power curves where there are several effects.

    Parameters
    ----------
    frame : DataFrame
        A row a process and design: process, design, effect, truth, rejects and rejects_mc.
    ax : Axes, optional
        Coverage is drawn on it instead, and power is not.
    table : DataFrame
        As :func:`coverage_figure` takes it.
    scale : Scale
    level : float
        Nominal coverage.
    """
    if ax is not None or not has_curves(frame):
        return coverage_figure(table, ax, scale=scale, level=level)
    with canvas(FULL, 2 * HEIGHT) as figure:
        above, below = figure.subplots(2, 1)
        _draw_coverage(above, table, scale, level)
        _draw_power(below, frame, table, scale, level)
        legend_above(figure, above, 3)
        _label_ends(figure, below)
        _number_points(figure, above, table, scale)
    return figure


def coverage_figure(
    table: pd.DataFrame, ax: Axes | None = None, *, scale: Scale, level: float = 0.95
) -> Figure:
    """Draw the coverage of each design's intervals against its RMSE.

    Parameters
    ----------
    table : DataFrame
        A row a design, by label: rmse, rmse_mc, coverage, coverage_mc, and trusted, which are drawn as such.
    ax : Axes, optional
        Drawn on instead of a figure of its own.
    scale : Scale
        Of the RMSE.
    level : float
        Nominal coverage.
    """
    with on_axes(ax, FULL, HEIGHT) as (figure, axis):
        _draw_coverage(axis, table, scale, level)
        if ax is None:
            legend_above(figure, axis, 3)
        _number_points(figure, axis, table, scale)
    return figure


def power_figure(
    frame: pd.DataFrame, ax: Axes | None = None, *, table: pd.DataFrame, scale: Scale, level: float = 0.95
) -> Figure:
    """Draw how often each design's test rejects, by the effect.

    Parameters
    ----------
    frame : DataFrame
        A row a process and design: design, truth, rejects, rejects_mc.
    ax : Axes, optional
        Drawn on instead of a figure of its own.
    table : DataFrame
        A row a design, by label: trusted, those that are not are dashed. The first five have looks of their own.
    scale : Scale
        Of the effects.
    level : float
        Of the intervals that the tests go by.
    """
    with on_axes(ax, FULL, HEIGHT) as (figure, axis):
        _draw_power(axis, frame, table, scale, level)
        _label_ends(figure, axis)
    return figure


def has_curves(frame: pd.DataFrame) -> bool:
    """Return whether processes differ by their effect alone, so that power can be drawn over it."""
    return frame["effect"].nunique() > 1 and not frame.duplicated(["design", "effect"]).any()


def _draw_coverage(axis: Axes, table: pd.DataFrame, scale: Scale, level: float) -> None:
    axis.axhline(100 * level, color=GREY, linewidth=0.8, linestyle="--", label=f"{100 * level:g}%")
    trusted = table["trusted"].to_numpy(dtype=bool)
    looks = ((trusted, COLOUR, "o", "to be trusted"), (~trusted, SECOND, "s", "not to be trusted"))
    for which, colour, marker, label in looks:
        rows = table[which]
        if len(rows):
            errors = ERRORS * scale.factor * rows["rmse_mc"], ERRORS * 100 * rows["coverage_mc"]
            axis.errorbar(
                scale.factor * rows["rmse"],
                100 * rows["coverage"],
                xerr=errors[0],
                yerr=errors[1],
                fmt=marker,
                color=colour,
                markerfacecolor=colour if colour == COLOUR else "white",
                markersize=4,
                linewidth=0.8,
                label=f"{label} ({len(rows)})",
            )
    ratio = table["rmse"].max() / table["rmse"].min()
    if ratio > WIDE:
        from matplotlib.ticker import LogLocator, NullFormatter, StrMethodFormatter

        axis.set_xscale("log")
        axis.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5) if ratio < DECADES else (1,)))
        axis.xaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
        axis.xaxis.set_minor_formatter(NullFormatter())
    axis.set_ylim(0, 102)
    axis.margins(x=0.12)
    axis.set_ylabel(f"Coverage of {100 * level:g}% intervals, %\n(lowest of the processes)")
    axis.set_xlabel(
        f"RMSE, {scale.column} (average of the processes);\nbars are {ERRORS} Monte-Carlo errors on either side"
    )


def _draw_power(axis: Axes, frame: pd.DataFrame, table: pd.DataFrame, scale: Scale, level: float) -> None:
    size = 100 * (1 - level)
    # Named where curves do not run: they begin low and end high.
    for share, name, place, side in ((size, "size", 1.0, "right"), (80, "power", 0.01, "left")):
        axis.axhline(share, color=GREY, linewidth=0.8, linestyle=":")
        axis.text(place, share + 1, f"{share:.3g}% {name}", transform=axis.get_yaxis_transform(), ha=side,
                  fontsize=SIZE, color=GREY)  # fmt: skip
    for k, (design, trusted) in reversed([*enumerate(table["trusted"].items())]):
        rows = frame[frame["design"] == design].sort_values("truth")
        look = REST | {"linestyle": "-" if trusted else "--"}
        if k < len(SERIES):
            series = SERIES[k]
            look = {"color": series.colour, "marker": series.marker, "linestyle": series.dashes}
            look |= {"markersize": 3.5, "linewidth": 1.2}
        axis.errorbar(
            scale.factor * rows["truth"], 100 * rows["rejects"], ERRORS * 100 * rows["rejects_mc"],
            label=design, elinewidth=0.7, **look,
        )  # fmt: skip
    low, high = (scale.factor * frame["truth"].agg(end) for end in ("min", "max"))
    axis.set_xlim(low - 0.05 * (high - low), high + 0.01 * (high - low))
    axis.set_ylim(0, 102)
    axis.set_ylabel(f"Panels in which the {size:.3g}% test rejects, %")
    axis.set_xlabel(scale.axis())


def _label_ends(figure: Figure, axis: Axes) -> None:
    """Write the label of each curve at its right end, apart from one another, with a line that leads to it."""
    curves: Any = axis.containers
    ends, names, colours = [], [], []
    for curve in curves:
        seen = curve.lines[0].get_xydata()
        seen = seen[~np.isnan(seen[:, 1])]
        if len(seen):
            ends.append(seen[-1, 1])
            names.append(shortened(curve.get_label(), LETTERS))
            colours.append(curve.lines[0].get_color())
    order = np.argsort(ends, kind="stable")
    figure.draw_without_rendering()
    height = axis.get_window_extent().height * 72 / figure.dpi
    low, high = axis.get_ylim()
    at = height * (np.array(ends)[order] - low) / (high - low)
    for k, place in zip(order, apart(at, 1.3 * SIZE, height), strict=True):
        end = (ends[k] - low) / (high - low)
        axis.annotate(
            names[k], (1, end), (1.07, place / height), "axes fraction", "axes fraction",
            fontsize=SIZE, va="center", annotation_clip=False,
            arrowprops={"arrowstyle": "-", "color": colours[k], "linewidth": 0.6, "relpos": (0, 0.5), "shrinkA": 0,
                        "shrinkB": 3},
        )  # fmt: skip


def apart(places: FloatArray, step: float, height: float) -> FloatArray:
    """Return ascending places, at least a step apart and between 0 and a height, as near to given ones as can be.

    By the least squares of an isotonic regression, which are largest over first and smallest over last of means.
    """
    n = len(places)
    shift = step * np.arange(n)
    total = np.append(0.0, np.cumsum(places - shift))
    first, last = np.triu_indices(n)
    means = np.full((n, n), np.inf)
    means[first, last] = (total[last + 1] - total[first]) / (last + 1 - first)
    fitted = [means[: i + 1, i:].min(axis=1).max() for i in range(n)]
    return np.clip(fitted, 0, max(height - step * (n - 1), 0)) + shift


def _number_points(figure: Figure, axis: Axes, table: pd.DataFrame, scale: Scale) -> None:
    """Write a number at each design's point, and on the right the names that numbers stand for."""
    shown = table.dropna(subset=["rmse", "coverage"])
    values = np.column_stack([scale.factor * shown["rmse"], 100 * shown["coverage"]])
    names = [shortened(str(name), LETTERS) for name in shown.index]
    height = axis.get_window_extent().height * 72 / figure.dpi
    for k, name in enumerate(names):
        axis.annotate(
            f"{k + 1:>2}  {name}", (1.04, 1 - (k + 0.5) * 1.5 * SIZE / height), xycoords="axes fraction", fontsize=SIZE,
            va="center", annotation_clip=False,
        )  # fmt: skip
    figure.draw_without_rendering()
    points = axis.transData.transform(values) * 72 / figure.dpi
    for k, (value, offset) in enumerate(zip(values, beside(points), strict=True)):
        axis.annotate(
            f"{k + 1}", value, offset, textcoords="offset points", fontsize=SIZE, va="center", ha="center"
        )


def beside(points: FloatArray) -> FloatArray:
    """Return where numbers stand, from their points, shape (K, 2): of some sides the farthest from all else.

    Parameters
    ----------
    points : ndarray, shape (K, 2)
        In points of print.
    """
    taken = [*points]
    offsets = np.empty(points.shape)
    for k, point in enumerate(points):
        others = np.delete(np.array(taken), k, axis=0)
        apart = np.linalg.norm((point + SIDES)[:, None] - others, axis=2).min(axis=1, initial=FREE)
        offsets[k] = SIDES[np.argmax(apart)]
        taken.append(point + offsets[k])
    return offsets
