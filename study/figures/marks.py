"""Marks that figures of effects by group, unit and rule share."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from study.core import FloatArray
from study.figures.canvas import COLOUR, SECOND

if TYPE_CHECKING:
    from matplotlib.figure import Figure


STEP = 0.22
TREATED: dict[str, Any] = {"color": SECOND, "mec": "black", "mew": 0.4, "ms": 3.6, "label": "treated unit"}


def draw_intervals(
    axis: Any, estimate: FloatArray, places: Any, ends: FloatArray, label: str | None = None
) -> None:
    """Draw dots with their intervals, one a row."""
    axis.errorbar(
        estimate,
        places,
        xerr=np.abs(ends - estimate),
        fmt="o",
        color=COLOUR,
        markersize=3.2,
        linewidth=1.0,
        label=label,
    )


def label_rows(axis: Any, labels: Sequence[str]) -> None:
    """Write the labels of rows, the first on top."""
    axis.set_yticks(range(len(labels)), labels)
    axis.tick_params(axis="y", length=0, labelsize=7.5)
    axis.set_ylim(len(labels) - 0.4, -0.6)


def legend_above(figure: Figure, axis: Any, columns: int = 2) -> None:
    """Draw the legend of an axis above the figure."""
    supports, labels = axis.get_legend_handles_labels()
    figure.legend(supports, labels, loc="outside upper center", ncols=columns, frameon=False, fontsize=7.5)
