"""Values by row and column as shades."""

from __future__ import annotations

import numpy as np
import pandas as pd

from study.figures.drawing import Axes


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

    most = float(np.nanmax(np.abs(grid)))
    (first, last), (top, bottom) = grid.columns[[0, -1]], grid.index[[0, -1]]
    extent = (first - 0.5, last + 0.5, bottom + 0.5, top - 0.5)
    # Grey that cannot be taken for a shade of zero, which is white of signed values.
    least, shades, background = (-most, "PuOr_r", "0.93") if signed else (0, "Blues", "0.8")
    image = axis.imshow(grid, cmap=shades, vmin=least, vmax=most, aspect="auto", extent=extent)
    axis.set_facecolor(background)
    for side in (axis.xaxis, axis.yaxis):
        side.set_major_locator(MaxNLocator(nbins=ticks, integer=True))
    axis.figure.colorbar(image, ax=axis, label=label)
