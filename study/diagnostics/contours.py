"""Contours of an estimate over the strength of a confounder, with observed covariates as benchmarks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from study.core.arrays import FloatArray
from study.core.distributions import quantile
from study.diagnostics import omitted

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from study.diagnostics.ml_sensitivity import MLSensitivity
    from study.diagnostics.sensitivity import Sensitivity

GRID = 200
MARKERS = "os^Dvp*X"


class Point(NamedTuple):
    """A benchmark: its series, how many times over, and where it lies."""

    series: str
    multiple: str
    x: float
    y: float


def confounding_contours(made: Sensitivity) -> Figure:
    """Draw the estimate under a confounder over its partial R2 with treatment and outcome."""
    from study.figures.canvas import canvas

    c = made.coefficient
    points = [
        Point(s.benchmark, f"{s.multiple}×", s.r2_treatment, s.r2_outcome)
        for s in made.scenarios
        if s.kind == "bound"
    ]
    x, y = _grid(points, made.robustness_value)
    estimate = omitted.adjusted_estimate(c.estimate, c.std_error, c.dof, x, y)
    goal = (1 - made.q) * c.estimate
    error = made.ratio * omitted.adjusted_std_error(c.std_error, c.dof, x, y)
    t_star = quantile((1 + made.level) / 2, c.clusters - 1)
    limit = estimate - np.sign(c.estimate) * t_star * error
    with canvas(height=3.6) as figure:
        axes = figure.add_subplot()
        _contours(axes, x, y, estimate, limit, goal, made.level, ("estimate", "clustered"))
        _points(axes, points, c.estimate)
        axes.set_xlabel("Partial R² of the confounder with treatment")
        axes.set_ylabel("Partial R² with the outcome")
        axes.set_title(f"Coefficient ({made.unit}) with the confounder", loc="left")
        _legend(figure, axes)
    return figure


def ml_contours(made: MLSensitivity) -> Figure:
    """Draw the bound nearer to zero over cf_d and cf_y."""
    from study.diagnostics.ml_sensitivity import bounds
    from study.figures.canvas import canvas

    e = made.elements
    points = [
        Point(c.benchmark, f"{c.multiple}×", c.cf_d, c.cf_y) for c in made.confounders if c.kind == "bound"
    ]
    x, y = _grid(points, made.robustness_value)
    side = 0 if e.estimate >= 0 else 1
    flat = [bounds(e, b, a, made.rho, made.level) for a, b in zip(x.ravel(), y.ravel(), strict=True)]
    estimate = np.array([b[side] for b in flat]).reshape(x.shape)
    limit = np.array([b[4 + side] for b in flat]).reshape(x.shape)
    with canvas(height=3.6) as figure:
        axes = figure.add_subplot()
        _contours(axes, x, y, estimate, limit, (1 - made.q) * e.estimate, made.level, ("bound", "one-sided"))
        _points(axes, points, e.estimate)
        axes.set_xlabel("Partial R² of the confounder with treatment (cf_d)")
        axes.set_ylabel("Partial R² with the outcome (cf_y)")
        axes.set_title(
            f"{'Lower' if side == 0 else 'Upper'} bound of the coefficient ({made.unit})", loc="left"
        )
        _legend(figure, axes)
    return figure


def _grid(points: Sequence[Point], robustness: float) -> tuple[FloatArray, FloatArray]:
    """Return a square grid that holds the benchmarks and the point of the robustness value."""
    widest = [1.3 * robustness, *(1.25 * p.x for p in points)]
    highest = [1.3 * robustness, *(1.25 * p.y for p in points)]
    x, y = np.meshgrid(
        np.linspace(0, min(max(widest), 0.99), GRID), np.linspace(0, min(max(highest), 1.0), GRID)
    )
    return x, y


def _contours(
    axes: Axes,
    x: FloatArray,
    y: FloatArray,
    estimate: FloatArray,
    limit: FloatArray,
    goal: float,
    level: float,
    names: tuple[str, str],
) -> None:
    from matplotlib.ticker import MaxNLocator

    from study.figures.canvas import BAND, SECOND, THIRD

    ticks = np.asarray(MaxNLocator(9).tick_values(estimate.min(), estimate.max()))
    levels = ticks[np.abs(ticks - goal) > 1e-9 * np.ptp(ticks)]
    lines = axes.contour(x, y, estimate, levels=levels, colors=BAND, linewidths=0.9, linestyles="solid")
    axes.clabel(lines, fontsize=7, colors="0.35", fmt="%.3g")
    for values, colour, style, said in (
        (estimate, SECOND, "solid", f"{names[0]} is {goal:.3g}"),
        (limit, THIRD, "dashed", f"{names[1]} {100 * level:g} % limit is {goal:.3g}"),
    ):
        if values.min() < goal < values.max():
            axes.contour(x, y, values, levels=[goal], colors=colour, linewidths=1.8, linestyles=style)
            axes.plot([], [], color=colour, linewidth=1.8, linestyle=style, label=said)


def _points(axes: Axes, points: Sequence[Point], estimate: float) -> None:
    from study.figures.canvas import COLOUR, GREY

    axes.plot(
        0, 0, "D", color=GREY, markersize=5, clip_on=False, zorder=5, label=f"no confounder: {estimate:.3g}"
    )
    for k, name in enumerate(dict.fromkeys(p.series for p in points)):
        here = [p for p in points if p.series == name]
        axes.plot(
            [p.x for p in here],
            [p.y for p in here],
            MARKERS[k % len(MARKERS)],
            color=COLOUR,
            markerfacecolor="white" if k % 2 else COLOUR,
            markersize=4.5,
            clip_on=False,
            zorder=4,
            label=f"{', '.join(p.multiple for p in here)} {name}",
        )
        for p in here:
            axes.annotate(p.multiple, (p.x, p.y), xytext=(4, 4), textcoords="offset points", fontsize=7)


def _legend(figure: Figure, axes: Axes) -> None:
    figure.legend(
        *axes.get_legend_handles_labels(), loc="outside lower center", ncols=1, frameon=False, fontsize=7
    )
