"""How designs perform on simulated panels, as charts with a label beside each design."""

from __future__ import annotations

import textwrap
from itertools import product
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

SIZE, LETTERS, LINE = 6.5, 46, 28  # of a label: points, letters at most, and those of a line beside a point
# Monte-Carlo errors on either side of a point.
ERRORS = 2
# Above this ratio of the largest RMSE to the smallest their axis is logarithmic.
WIDE = 5.0
HEIGHT = 3.9
# Of the curves after those that have a look of their own.
REST: Any = {"color": "0.7", "linewidth": 0.7, "marker": "o", "markersize": 1.5}
# Where a label may stand: the side and the distance from its point, in points; a line leads to it from SHORT on.
ANGLES = np.linspace(0, 2 * np.pi, 24, endpoint=False)
DISTANCES = (5, 9, 14, 20, 28, 38, 50, 64, 80, 100, 125, 150, 175, 200)
SHORT = 11
SWEEPS = 6


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
        _label_points(figure, above, table, scale, level)
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
        _label_points(figure, axis, table, scale, level)
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
    if table["rmse"].max() > WIDE * table["rmse"].min():
        from matplotlib.ticker import LogLocator, NullFormatter, StrMethodFormatter

        axis.set_xscale("log")
        axis.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
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


def _label_points(figure: Figure, axis: Axes, table: pd.DataFrame, scale: Scale, level: float) -> None:
    """Write the label of each design beside its point, where it is free of other labels and points."""
    shown = table.dropna(subset=["rmse", "coverage"])
    if shown.empty:
        return
    figure.draw_without_rendering()
    per_point = figure.dpi / 72
    values = np.column_stack([scale.factor * shown["rmse"], 100 * shown["coverage"]])
    errors = ERRORS * np.column_stack([scale.factor * shown["rmse_mc"], 100 * shown["coverage_mc"]])
    points, low, high = (
        axis.transData.transform(each) / per_point
        for each in (values, values - np.nan_to_num(errors), values + np.nan_to_num(errors))
    )
    names = [textwrap.fill(shortened(str(name), LETTERS), LINE) for name in shown.index]
    sizes = []
    for name in names:
        text = axis.text(0, 0, name, fontsize=SIZE)
        extent = text.get_window_extent()
        sizes.append((extent.width / per_point, extent.height / per_point))
        text.remove()
    box = axis.get_window_extent().get_points() / per_point
    nominal = axis.transData.transform((values[0, 0], 100 * level))[1] / per_point
    bars = np.concatenate([
        np.column_stack([low[:, 0], points[:, 1], high[:, 0], points[:, 1]]),
        np.column_stack([points[:, 0], low[:, 1], points[:, 0], high[:, 1]]),
        [[box[0, 0], nominal, box[1, 0], nominal]],
    ])  # fmt: skip
    offsets = placed(points, np.array(sizes), box, bars)
    line = {"arrowstyle": "-", "color": "0.6", "linewidth": 0.5, "shrinkA": 0, "shrinkB": 3}
    for name, value, offset, size in zip(names, values, offsets, sizes, strict=True):
        far = np.any(np.abs(offset) > np.array(size) / 2 + SHORT)
        label = axis.annotate(
            name, value, offset, textcoords="offset points", fontsize=SIZE, va="center", ha="center",
            arrowprops=line if far else None,
        )  # fmt: skip
        label.set_in_layout(False)  # it stands where there is room, and makes none


def placed(points: FloatArray, sizes: FloatArray, frame: FloatArray, bars: FloatArray) -> FloatArray:
    """Return where labels stand, from their points to their centres, so that they are free of one another.

    Each in turn takes the place that costs least with the others where they are: far from its point, beyond the axes,
    on labels, points and bars, or with a line to it that crosses others.

    Parameters
    ----------
    points, sizes : ndarray, shape (K, 2)
        Of the points, and width and height of the labels, in points of print.
    frame : ndarray, shape (2, 2)
        Lower left and upper right corner of the axes.
    bars : ndarray, shape (B, 4)
        Ends of error bars and other lines.

    Returns
    -------
    ndarray, shape (K, 2)
    """
    marks = np.concatenate([points - 3, points + 3], axis=1)
    boxes, offsets = np.full((len(points), 4), np.nan), np.full(points.shape, np.nan)
    sides = np.array([(np.cos(a), np.sin(a), d) for d, a in product(DISTANCES, ANGLES)])
    for k in [*range(len(points))] * SWEEPS:
        half = sizes[k] / 2
        tried = sides[:, :2] * (sides[:, 2:] + half)
        own = np.concatenate([points[k] + tried - half - 1, points[k] + tried + half + 1], axis=1)
        outside = (own[:, :2] < frame[0]).any(axis=1) | (own[:, 2:] > frame[1]).any(axis=1)
        others, ends = np.delete(boxes, k, axis=0), np.delete(points + offsets, k, axis=0)
        cost = sides[:, 2] + 1e4 * outside + 1e3 * _overlaps(own, others)
        cost += 300 * _overlaps(own, marks) + 100 * _overlaps(own, bars)
        lines = np.concatenate([np.broadcast_to(points[k], tried.shape), points[k] + tried], axis=1)
        others_lines = np.concatenate([np.delete(points, k, axis=0), ends], axis=1)
        for box in others:
            cost += 150 * _enters(lines, box)
        for box in np.delete(marks, k, axis=0):
            cost += 60 * _enters(lines, box)
        cost += 60 * _crosses(lines, others_lines)
        cost += 75 * (_crosses(own, others_lines) + _crosses(own[:, [0, 3, 2, 1]], others_lines))
        best = int(np.argmin(cost))
        offsets[k], boxes[k] = tried[best], own[best]
    return offsets


def _overlaps(boxes: FloatArray, others: FloatArray) -> FloatArray:
    """Return how many of some boxes each of the first overlaps, shape (m,); NaN boxes overlap none."""
    across = (boxes[:, None, 0] < others[None, :, 2]) & (others[None, :, 0] < boxes[:, None, 2])
    along = (boxes[:, None, 1] < others[None, :, 3]) & (others[None, :, 1] < boxes[:, None, 3])
    return np.asarray((across & along).sum(axis=1), dtype=float)


def _enters(lines: FloatArray, box: FloatArray) -> FloatArray:
    """Return whether each of some lines crosses a diagonal of a box, shape (m,)."""
    return np.asarray(_crosses(lines, np.array([box, box[[0, 3, 2, 1]]])) > 0, dtype=float)


def _crosses(lines: FloatArray, others: FloatArray) -> FloatArray:
    """Return how many of some lines, by their ends, each of the first crosses, shape (m,); NaN lines cross none."""
    one, two = lines[:, None], others[None]

    def turns(a: FloatArray, b: FloatArray, c: FloatArray) -> FloatArray:
        (ax, ay), (bx, by), (cx, cy) = (np.moveaxis(each, -1, 0) for each in (a, b, c))
        return np.sign((bx - ax) * (cy - ay) - (by - ay) * (cx - ax))

    start, end, first, last = one[..., :2], one[..., 2:], two[..., :2], two[..., 2:]
    across = turns(start, end, first) * turns(start, end, last) < 0
    along = turns(first, last, start) * turns(first, last, end) < 0
    return np.asarray((across & along).sum(axis=1), dtype=float)
