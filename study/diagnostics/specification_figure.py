"""The figure of a specification curve: estimates in order of size, and what each specification is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from study.core.arrays import FloatArray

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from study.diagnostics.specification_curve import SpecificationCurve

HEADINGS = {
    "design": "Design",
    "population": "Population",
    "comparison": "Comparison group",
    "covariates": "Covariates",
}
SMALL = 7.5
LONGEST = 38
MANY = 25


def curve_figure(curve: SpecificationCurve) -> Figure:
    """Draw a column for each scale: estimates with intervals and band above, the choices made below."""
    from study.figures.canvas import FULL, GREY, canvas

    lines = _lines(curve)
    with canvas(FULL, min(9.0, max(4.2, 2.7 + 0.14 * len(lines)))) as figure:
        scales, cut = list(curve.medians), False
        ratios = [2.4, 0.14 * len(lines)]
        axes = figure.subplots(2, len(scales), squeeze=False, sharex="col", height_ratios=ratios)
        table = curve.tidy()
        for column, scale in enumerate(scales):
            rows = table.iloc[curve.of_scale(scale)]
            cut |= _estimates(axes[0, column], rows, scale, curve)
            _choices(axes[1, column], rows, lines)
            if column:
                axes[1, column].tick_params(labelleft=False)
        axes[1, 0].set_yticks(range(len(lines)), [_short(label) for _, label, _ in lines], fontsize=SMALL)
        for tick, (_, _, is_heading) in zip(axes[1, 0].get_yticklabels(), lines, strict=True):
            tick.set_fontweight("bold" if is_heading else "normal")
        handles, labels = axes[0, 0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside upper center", ncols=4, frameon=False, fontsize=SMALL)
        refused = f"; {len(curve.refused)} refused are not shown" if curve.refused else ""
        too_long = "; intervals that leave the axis are cut" if cut else ""
        told = f"Specifications, by size of the estimate{refused}{too_long}"
        figure.supxlabel(told, fontsize=8, color=GREY)
    return figure


def _lines(curve: SpecificationCurve) -> list[tuple[str, str, bool]]:
    """Return field and label of the lower part's lines and whether they are headings; one choice has none."""
    varied = [name for name in HEADINGS if len(curve.choices[name]) > 1] or ["design"]
    lines = []
    for name in varied:
        lines.append((name, HEADINGS[name], True))
        lines += [(name, label, False) for label in curve.choices[name]]
    return lines


def _estimates(axis: Axes, rows: pd.DataFrame, scale: str, curve: SpecificationCurve) -> bool:
    """Draw the estimates of a scale; say whether the axis cuts an interval or band."""
    from study.figures.canvas import BAND, COLOUR, GREY, SECOND

    factor = 100 if scale == "proportional" else 1
    place = np.arange(1, len(rows) + 1)
    estimate, low, high, band_low, band_high = (
        factor * rows[c].to_numpy(dtype=float)
        for c in ("estimate", "conf_low", "conf_high", "band_low", "band_high")
    )
    axis.bar(
        place,
        band_high - band_low,
        bottom=band_low,
        width=1.0,
        color=BAND,
        alpha=0.45,
        label="simultaneous band",
    )
    axis.axhline(0, color=GREY, linewidth=0.8)
    significant = (low > 0) | (high < 0)
    shown: list[tuple[Any, str, str]] = [
        (significant, COLOUR, "significant alone, 95% interval"),
        (~significant, GREY, "not significant"),
    ]
    size = float(np.clip(150 / len(rows), 1.2, 3.5))
    for which, colour, label in shown:
        axis.errorbar(
            place[which],
            estimate[which],
            yerr=[estimate[which] - low[which], high[which] - estimate[which]],
            fmt="o" if colour == COLOUR else "s",
            markersize=size,
            markerfacecolor=colour if colour == COLOUR else "white",
            color=colour,
            linewidth=0.7,
            label=label,
        )
    axis.axhline(
        factor * curve.medians[scale].value, color=SECOND, linewidth=0.9, linestyle="--", label="median"
    )
    ends = np.concatenate([band_low, band_high])
    limits = _limits(estimate, ends)
    axis.set_ylim(*limits)
    outcome = curve.question.outcome.replace("_", " ")
    unit = {
        "level": outcome,
        "log1p": f"log(1 + {outcome})",
        "proportional": "% of the mean\nwithout treatment",
    }
    axis.set_title(f"Effect, {unit[scale]}", fontsize=8)
    axis.tick_params(labelsize=SMALL)
    axis.set_xlim(0, len(rows) + 1)
    return bool(ends.min() < limits[0] or ends.max() > limits[1])


def _limits(estimate: FloatArray, ends: FloatArray) -> tuple[float, float]:
    """Return limits that show all estimates and zero, and all but the most extreme ends of the band."""
    low, high = np.quantile(ends, [0.02, 0.98])
    low, high = min(low, estimate.min(), 0.0), max(high, estimate.max(), 0.0)
    room = 0.04 * (high - low)
    return float(low - room), float(high + room)


def _choices(axis: Axes, rows: pd.DataFrame, lines: list[tuple[str, str, bool]]) -> None:
    from study.figures.canvas import GREY

    place = np.arange(1, len(rows) + 1)
    marker, size = ("o", 4.0) if len(rows) <= MANY else ("|", float(np.clip(200 / len(rows), 3.0, 5.5)))
    for height, (name, label, is_heading) in enumerate(lines):
        if not is_heading:
            chosen = place[(rows[name] == label).to_numpy()]
            axis.axhline(height, color="0.92", linewidth=0.6, zorder=0)
            axis.plot(chosen, np.full(len(chosen), height), marker, markersize=size, color=GREY)
    axis.set_ylim(len(lines) - 0.4, -0.6)
    axis.tick_params(labelsize=SMALL)
    axis.spines["left"].set_visible(False)
    axis.tick_params(axis="y", length=0)


def _short(label: str) -> str:
    label = label.replace("_", " ")
    return label if len(label) <= LONGEST else f"{label[: LONGEST - 1]}…"
