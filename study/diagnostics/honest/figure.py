"""The figure of a sensitivity analysis: the original interval and those under ever larger violations."""

from __future__ import annotations

from textwrap import fill
from typing import TYPE_CHECKING

import numpy as np

from study.core.arrays import FloatArray

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from study.diagnostics.honest.finding import HonestDid

AXIS = {
    "relative_magnitudes": "M: change after treatment, as a multiple of the largest before",
    "smoothness": "M: change of slope a period, in units of the effect",
    "smoothness_relative": "M: change of slope after treatment, as a multiple of the largest before",
}

LINE = 40


def draw(made: HonestDid) -> Figure:
    """Draw a sensitivity analysis."""
    from study.figures.canvas import COLOUR, GREY, SECOND, canvas

    order = np.argsort(made.M)
    strengths, low, high = made.M[order], made.low[order], made.high[order]
    gap = _gap(strengths)
    left = strengths[0] - gap
    with canvas() as figure:
        axis = figure.subplots()
        axis.axhline(0, color=GREY, linewidth=0.8)
        axis.vlines(left, *made.original, color=SECOND, linewidth=3, label="under parallel trends")
        axis.plot(left, made.estimate, "o", color=SECOND, markersize=5)
        axis.vlines(strengths, low, high, color=COLOUR, linewidth=3, label=f"{made.method}, by M")
        right = strengths[-1] + gap / 2
        if made.breakdown is not None and made.breakdown <= strengths[-1] + gap:
            right = max(right, made.breakdown + gap / 4)
            label = f"breakdown value {made.breakdown:.3g}"
            axis.axvline(made.breakdown, color=GREY, linestyle="--", linewidth=1.0, label=label)
        axis.set_xticks([left, *strengths], ["original", *(f"{m:.3g}" for m in strengths)])
        axis.set_xlim(left - gap / 2, right)
        figure.supxlabel(AXIS[made.restriction], fontsize=8)
        words = f"Effect on {made.outcome}, {100 * made.level:g}% interval"
        axis.set_ylabel(fill(words, LINE), fontsize=8)
        axis.set_title(made.target[0].upper() + made.target[1:])
        figure.legend(loc="outside upper center", ncols=3, frameon=False, fontsize=7.5)
    return figure


def _gap(strengths: FloatArray) -> float:
    """Return the distance at which the original interval is drawn beside the first one."""
    steps = np.diff(np.unique(strengths))
    return float(np.median(steps)) if len(steps) else 0.5
