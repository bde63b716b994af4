"""Estimates with intervals by label, as dots on lines."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import ArrayLike

from study.core import FloatArray
from study.figures.canvas import BAND, COLOUR, GREY, SECOND, WIDTH, canvas, legend_above

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


class Row(Protocol):
    """An estimate with its interval, and what it is of."""

    @property
    def label(self) -> str:
        """Its name on the axis."""

    @property
    def estimate(self) -> float:
        """Where its dot is."""

    @property
    def conf_low(self) -> float:
        """Where its line begins."""

    @property
    def conf_high(self) -> float:
        """Where its line ends."""


LONGEST = 34
MANY = 30
ROW_HEIGHT = 0.22  # inches, of figures with several axes


def dot_figure(
    rows: Sequence[Row],
    *,
    xlabel: str,
    whole: Row | None = None,
    marked: Sequence[bool] | None = None,
    names: tuple[str, str] = ("", ""),
    percent: bool = False,
    level: float = 0.95,
) -> Figure:
    """Draw one line a row, the first on top, in a figure as high as its rows need.

    Parameters
    ----------
    rows : sequence of Row
    xlabel : str
        What the effect is, with its unit.
    whole : Row, optional
        An estimate to compare with, drawn behind the others with its interval.
    marked : sequence of bool, optional
        Rows in the second colour.
    names : tuple of str
        Legend of the rows in the first and in the second colour; none where it is empty.
    percent : bool
        Effects are shares and are drawn in percent.
    level : float
        Coverage of the intervals, named below the axis.
    """
    step = 0.21 if len(rows) <= MANY else 0.15
    with canvas(WIDTH, 0.95 + step * max(len(rows), 2)) as figure:
        axis = figure.subplots()
        draw_dots(axis, rows, whole=whole, marked=marked, names=names, percent=percent)
        axis.set_xlabel(f"{xlabel}\n({100 * level:g}% intervals)")
        legend_above(figure, axis)
    return figure


def draw_dots(
    axis: Axes,
    rows: Sequence[Row],
    *,
    whole: Row | None = None,
    marked: Sequence[bool] | None = None,
    names: tuple[str, str] = ("", ""),
    percent: bool = False,
) -> None:
    """Draw the rows on an axis; see :func:`dot_figure`."""
    factor = 100 if percent else 1
    second = np.zeros(len(rows), dtype=bool) if marked is None else np.asarray(marked, dtype=bool)
    axis.axvline(0, color=GREY, linewidth=0.8)
    if whole is not None:
        axis.axvspan(factor * whole.conf_low, factor * whole.conf_high, color=BAND, alpha=0.45, linewidth=0)
        axis.axvline(factor * whole.estimate, color=COLOUR, linewidth=0.8, linestyle="--", label=whole.label)
    for which, colour, marker, name in ((~second, COLOUR, "o", names[0]), (second, SECOND, "s", names[1])):
        places = [int(k) for k in np.flatnonzero(which)]
        if places:
            estimate = factor * np.array([rows[k].estimate for k in places])
            ends = factor * np.array([[rows[k].conf_low, rows[k].conf_high] for k in places]).T
            draw_intervals(axis, estimate, places, ends, name or None, colour=colour, marker=marker)
    label_rows(axis, [shortened(row.label) for row in rows], size=7.5 if len(rows) <= MANY else 6)


def draw_intervals(
    axis: Axes,
    estimate: FloatArray,
    places: ArrayLike,
    ends: FloatArray,
    label: str | None = None,
    *,
    colour: str = COLOUR,
    marker: str = "o",
) -> None:
    """Draw dots with their intervals, one a row; the ends have shape (2, K)."""
    axis.errorbar(
        estimate,
        places,
        xerr=np.abs(ends - estimate),
        fmt=marker,
        markersize=3.2,
        linewidth=1.0,
        color=colour,
        label=label,
    )


def label_rows(axis: Axes, labels: Sequence[str], size: float = 7.5) -> None:
    """Write the labels of rows, the first on top."""
    axis.set_yticks(range(len(labels)), labels)
    axis.tick_params(axis="y", length=0, labelsize=size)
    axis.set_ylim(len(labels) - 0.4, -0.6)


def shortened(label: str) -> str:
    """Cut a label that would leave no room for its line."""
    return label if len(label) <= LONGEST else label[: LONGEST - 1].rstrip() + "…"
