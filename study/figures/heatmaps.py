"""Values by row and column as shades."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from study.core import FloatArray
from study.figures.canvas import Axes, Figure


def draw_heatmap(
    figure: Figure,
    axis: Axes,
    grid: FloatArray,
    ends: Sequence[float],
    *,
    label: str,
    ticks: int,
    signed: bool = False,
    background: str = "0.93",
) -> None:
    """Draw a grid, its first row on top, with the scale of its shades beside it.

    Parameters
    ----------
    figure : Figure
    axis : Axes
    grid : ndarray
        NaN cells have the background's shade.
    ends : sequence of float
        First and last column, first and last row.
    label : str
        What the values are.
    ticks : int
        How many at most, at whole numbers.
    signed : bool
        Shades run in two directions from zero, and in one otherwise.
    background : str
    """
    from matplotlib.ticker import MaxNLocator

    most = float(np.nanmax(np.abs(grid)))
    first, last, top, bottom = ends
    extent = (first - 0.5, last + 0.5, bottom + 0.5, top - 0.5)
    least, shades = (-most, "PuOr_r") if signed else (0, "Blues")
    image = axis.imshow(grid, cmap=shades, vmin=least, vmax=most, aspect="auto", extent=extent)
    axis.set_facecolor(background)
    for side in (axis.xaxis, axis.yaxis):
        side.set_major_locator(MaxNLocator(nbins=ticks, integer=True))
    figure.colorbar(image, ax=axis, label=label)
