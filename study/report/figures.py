"""Event-study figures: effects by event time with pointwise intervals and the simultaneous band."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from study.estimates import Estimate
from study.plan import Event, Plan
from study.report.canvas import BAND, COLOUR, GREY, WIDTH, canvas
from study.report.tables import Results

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def event_study(paths: Mapping[str, pd.DataFrame], *, ylabel: str, percent: bool = False) -> Figure:
    """Draw one axis for each path of effects, side by side on one scale.

    Parameters
    ----------
    paths : mapping of str to DataFrame
        By title: event_time, estimate, conf_low, conf_high, band_low, band_high; a reference row has NaN
        limits.
    ylabel : str
        What the effect is, with its unit.
    percent : bool
        Effects are shares and are drawn in percent.

    Returns
    -------
    matplotlib Figure
    """
    with canvas(max(WIDTH, 1.0 + 1.9 * len(paths))) as figure:
        from matplotlib.ticker import MaxNLocator

        axes = figure.subplots(1, len(paths), sharey=True, squeeze=False)[0]
        for axis, (title, path) in zip(axes, paths.items(), strict=True):
            factor = 100 if percent else 1
            times = path["event_time"].to_numpy()
            low, high = (factor * path[c].to_numpy() for c in ("band_low", "band_high"))
            estimate = factor * path["estimate"].to_numpy()
            inner = factor * np.abs(
                path[["conf_low", "conf_high"]].to_numpy().T - path["estimate"].to_numpy()
            )
            axis.use_sticky_edges = False
            axis.axhline(0, color=GREY, linewidth=0.8)
            axis.axvline(-0.5, color=GREY, linewidth=0.8, linestyle=":")
            axis.bar(times, high - low, bottom=low, width=0.62, color=BAND, label="simultaneous band")
            reference = np.isnan(low)
            axis.errorbar(
                times[~reference],
                estimate[~reference],
                yerr=inner[:, ~reference],
                fmt="o",
                markersize=3.5,
                color=COLOUR,
                linewidth=1.1,
                label="estimate, pointwise interval",
            )
            axis.plot(
                times[reference],
                estimate[reference],
                "o",
                markersize=4,
                markerfacecolor="white",
                markeredgecolor=COLOUR,
                linestyle="none",
                label="reference",
            )
            axis.set_title(title)
            axis.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes[0].set_ylabel(ylabel)
        figure.supxlabel("Years since first treated", fontsize=9)
        handles, labels = axes[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside upper center", ncols=3, frameon=False, fontsize=8)
    return figure


def plot_estimate(estimate: Estimate, level: float = 0.95, seed: int = 0) -> Figure:
    """Draw one estimate's effects by event time.

    Raises
    ------
    QuestionError
        If the estimate has no event times.
    """
    by_event_time = np.isfinite(estimate.event_time).all() and np.isnan(estimate.cohort).all()
    fit = estimate if by_event_time else estimate.aggregate("event")
    path = fit.tidy(level).merge(fit.band(level, seed=seed), on=["term", "estimate", "std_error"], how="left")
    percent = estimate.sample.question.scale == "proportional"
    unit = {"level": "", "log1p": ",\nlog points", "proportional": ",\n% of the mean without treatment"}
    ylabel = f"Effect on {estimate.sample.question.outcome}{unit[estimate.sample.question.scale]}"
    return event_study({estimate.design: path}, ylabel=ylabel, percent=percent)


def of_results(plan: Plan, event: Event, scale: str, results: Results) -> Figure:
    """Draw the headline design's event study of each outcome, or that of the first design that has one."""
    row = plan.figure_row
    paths = {
        title: _shown(pd.DataFrame(results[event.label, scale, outcome, row.label].path), plan.window)
        for outcome, title in plan.outcomes.items()
    }
    unit = (
        "Effect, % of the mean\nwithout treatment" if scale == "proportional" else "Effect on log(1 + papers)"
    )
    return event_study(paths, ylabel=unit, percent=scale == "proportional")


def _shown(path: pd.DataFrame, window: tuple[int, int]) -> pd.DataFrame:
    return path[path["event_time"].between(*window)] if len(path) else path
