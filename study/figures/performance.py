"""How designs perform on simulated panels: the errors of their estimates beside the power of their tests."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import numpy as np
import pandas as pd

from study.figures.drawing import FULL, GREY, SERIES, Axes, Figure, label_ends, panels, series_look, shortened
from study.panel import Scale

SIZE, LETTERS = 7, 42  # of a label: points, and letters at most
# Monte-Carlo errors on either side of a point.
ERRORS = 2
# An RMSE of more than so many medians is written at the end of the axis.
FAR = 4.0
HEIGHT = 3.3
# Of designs that have no look of their own.
REST: Any = {"color": "0.6", "linewidth": 0.7}


def performance_figure(
    frame: pd.DataFrame,
    ax: Axes | None = None,
    *,
    table: pd.DataFrame,
    scale: Scale,
    level: float = 0.95,
    named: Collection[str] = (),
) -> Figure:
    """Draw each design's RMSE and bias, and beside them power curves where there are several effects.

    Parameters
    ----------
    frame : DataFrame
        A row a process and design: process, design, effect, truth, rejects and rejects_mc.
    ax : Axes, optional
        RMSE and bias are drawn on it instead, and power is not.
    table : DataFrame
        A row a design, by label: rmse, rmse_mc, bias, coverage; and trusted, which are filled, others hollow.
    scale : Scale
        Of the effects.
    level : float
        Nominal coverage.
    named : collection of str
        Designs in colour and with a number at their curve, five at most; the first five of the table where none is
        named.
    """
    in_colour = [label for label in table.index if label in (named or table.index)]
    looks = dict(zip(in_colour, SERIES, strict=False))
    with panels(ax, 1, 1 + has_curves(frame), FULL, HEIGHT) as (figure, (left, *beside)):
        _draw_errors(left, table, scale, looks)
        for right in beside:
            _draw_power(right, frame, table, scale, level, looks)
            label_ends(figure, right, edge=1.0, place=1.07, step=1.3 * SIZE, linewidth=0.6)
    return figure


def has_curves(frame: pd.DataFrame) -> bool:
    """Return whether processes differ by their effect alone, so that power can be drawn over it."""
    return frame["effect"].nunique() > 1 and not frame.duplicated(["design", "effect"]).any()


def _draw_errors(axis: Axes, table: pd.DataFrame, scale: Scale, looks: dict[str, Any]) -> None:
    """Draw a row a design: a marker at its RMSE, a tick at its bias without sign, its lowest coverage in figures."""
    rmse, errors, bias = (scale.factor * table[name].to_numpy() for name in ("rmse", "rmse_mc", "bias"))
    near = rmse <= FAR * np.nanmedian(rmse)
    end = np.fmax(1.15 * rmse, rmse + ERRORS * errors)[near].max(initial=0)
    for k, (label, row) in enumerate(table.iterrows()):
        look = looks.get(label)
        colour = look.colour if look else REST["color"]
        at = min(rmse[k], end)
        if rmse[k] > end:
            far = f"{rmse[k]:.0f}" if scale.percent else f"{rmse[k]:.3g}"
            axis.annotate(far, (end, k), (-6, 0), textcoords="offset points", fontsize=SIZE,
                          ha="right", va="center")  # fmt: skip
        else:
            axis.errorbar(at, k, xerr=ERRORS * errors[k], color=colour, linewidth=1)
            axis.plot([bias[k], at], [k, k], color=colour, linewidth=0.6)
            axis.plot(bias[k], k, "|", color=colour, markersize=7, markeredgewidth=1.5)
        axis.plot(at, k, ">" if rmse[k] > end else look.marker if look else "o", color=colour, markersize=4.5,
                  markerfacecolor=colour if row["trusted"] else "white", clip_on=False)  # fmt: skip
        axis.annotate("–" if np.isnan(row["coverage"]) else f"{100 * row['coverage']:.0f}", (1.12, k),
                      xycoords=("axes fraction", "data"), fontsize=SIZE, ha="right", va="center")  # fmt: skip
    axis.annotate("Lowest coverage, %", (1.14, -0.8), xycoords=("axes fraction", "data"), fontsize=SIZE,
                  ha="right", va="bottom", annotation_clip=False)  # fmt: skip
    names = [
        shortened(str(label), LETTERS) + f"  {k}" * (label in looks) for k, label in enumerate(table.index, 1)
    ]
    axis.set_yticks(range(len(table)), names, fontsize=SIZE)
    axis.set_ylim(len(table) - 0.5, -0.7)
    axis.set_xlim(0, end)
    axis.tick_params("x", labelsize=SIZE)
    axis.set_xlabel(f"RMSE (marker) and |bias| (tick),\n{scale.column}", fontsize=SIZE + 1)


def _draw_power(
    axis: Axes, frame: pd.DataFrame, table: pd.DataFrame, scale: Scale, level: float, looks: dict[str, Any]
) -> None:
    size = 100 * (1 - level)
    # Named where curves do not run: they begin low and end high.
    for share, name, place, side in ((size, "size", 1.0, "right"), (80, "power", 0.01, "left")):
        axis.axhline(share, color=GREY, linewidth=0.8, linestyle=":")
        axis.text(place, share + 1, f"{share:.3g}% {name}", transform=axis.get_yaxis_transform(), ha=side,
                  fontsize=SIZE, color=GREY)  # fmt: skip
    for k, (design, trusted) in reversed([*enumerate(table["trusted"].items(), 1)]):
        rows = frame[frame["design"] == design].sort_values("truth")
        look: Any = REST | {"linestyle": "-" if trusted else "--"}
        if design in looks:
            look = series_look(looks[design], markersize=3.5, yerr=ERRORS * 100 * rows["rejects_mc"])
        curve = axis.errorbar(scale.factor * rows["truth"], 100 * rows["rejects"], elinewidth=0.7, **look)
        if design in looks:
            curve.lines[0].set_label(str(k))
    low, high = (scale.factor * frame["truth"].agg(end) for end in ("min", "max"))
    axis.set_xlim(low - 0.05 * (high - low), high + 0.01 * (high - low))
    axis.set_ylim(0, 102)
    axis.tick_params(labelsize=SIZE)
    axis.set_ylabel(f"Panels in which the {size:.3g}% test rejects, %", fontsize=SIZE + 1)
    axis.set_xlabel(f"True effect,\n{scale.column}", fontsize=SIZE + 1)
