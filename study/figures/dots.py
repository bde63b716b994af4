"""Estimates with intervals by label, as dots on lines."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from study.estimates import Effect
from study.figures.drawing import BAND, COLOUR, GREY, SECOND, WIDTH, Axes, Figure, legend_above, on_axes

LONGEST = 34
MANY = 30
ROW_HEIGHT = 0.22  # inches, of figures with several axes


def dot_figure(
    frame: pd.DataFrame, ax: Axes | None = None, *, xlabel: str, level: float = 0.95, **drawing: Any
) -> Figure:
    """Draw one line a row, the first on top, in a figure as high as its rows need.

    Parameters
    ----------
    frame : DataFrame
        label, estimate, conf_low, conf_high.
    ax : Axes, optional
        Drawn on instead of a figure of its own.
    xlabel : str
        What the effect is, with its unit.
    level : float
        Coverage of the intervals, named below the axis.
    **drawing
        behind, marked, names, percent and null, as in :func:`draw_dots`.
    """
    step = 0.21 if len(frame) <= MANY else 0.15
    with on_axes(ax, WIDTH, 0.95 + step * max(len(frame), 2)) as (figure, axis):
        draw_dots(axis, frame, **drawing)
        axis.set_xlabel(f"{xlabel}\n({100 * level:g}% intervals)")
        if ax is None:
            legend_above(figure, axis)
    return figure


def draw_dots(
    axis: Axes,
    frame: pd.DataFrame,
    *,
    behind: Effect | None = None,
    marked: Sequence[bool] | None = None,
    names: tuple[str, str] = ("", ""),
    percent: bool = False,
    null: float = 0.0,
) -> None:
    """Draw the rows on an axis.

    Parameters
    ----------
    axis : Axes
    frame : DataFrame
        label, estimate, conf_low, conf_high.
    behind : Effect, optional
        An estimate to compare with, drawn behind the others with its interval.
    marked : sequence of bool, optional
        Rows in the second colour.
    names : tuple of str
        Legend of the rows in the first and in the second colour; none where it is empty.
    percent : bool
        Effects are shares and are drawn in percent.
    null : float
        Where the line stands that intervals are read against.
    """
    factor = 100 if percent else 1
    second = np.zeros(len(frame), dtype=bool) if marked is None else np.asarray(marked, dtype=bool)
    axis.axvline(factor * null, color=GREY, linewidth=0.8)
    if behind is not None:
        low, high, estimate = (factor * x for x in (behind.conf_low, behind.conf_high, behind.estimate))
        axis.axvspan(low, high, color=BAND, alpha=0.45, linewidth=0)
        axis.axvline(estimate, color=COLOUR, linewidth=0.8, linestyle="--", label=behind.label)
    rows = factor * frame[["estimate", "conf_low", "conf_high"]].to_numpy().T
    for which, colour, marker, name in ((~second, COLOUR, "o", names[0]), (second, SECOND, "s", names[1])):
        if which.any():
            look: Any = {"label": name or None, "color": colour, "fmt": marker}
            draw_intervals(axis, rows[0, which], np.flatnonzero(which), rows[1:, which], **look)
    label_rows(axis, [shortened(label) for label in frame["label"]], size=7.5 if len(frame) <= MANY else 6)


def draw_intervals(
    axis: Axes, estimate: ArrayLike, places: ArrayLike, ends: ArrayLike, *, upright: bool = False, **look: Any
) -> None:
    """Draw dots with their intervals, one a row, or one a column where they stand upright; ends are of shape (2, K).

    The look of them is that of matplotlib's ``errorbar`` where it is not the usual one.
    """
    errors = np.abs(np.asarray(ends) - np.asarray(estimate))
    usual: Any = {"fmt": "o", "color": COLOUR, "markersize": 3.5 if upright else 3.2, "linewidth": 1.0}
    if upright:
        axis.errorbar(places, estimate, yerr=errors, **usual | look)
    else:
        axis.errorbar(estimate, places, xerr=errors, **usual | look)


def label_rows(axis: Axes, labels: Sequence[str], size: float = 7.5) -> None:
    """Write the labels of rows, the first on top."""
    axis.set_yticks(range(len(labels)), labels)
    axis.tick_params(axis="y", length=0, labelsize=size)
    axis.set_ylim(len(labels) - 0.4, -0.6)


def shortened(label: str, most: int = LONGEST) -> str:
    """Cut a label that would leave no room for its line."""
    return label if len(label) <= most else label[: most - 1].rstrip() + "…"
