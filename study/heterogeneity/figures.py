"""The figures of gains: groups with bands, units against prior output, the value of rules, calibration."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from study.core.arrays import FloatArray
from study.diagnostics.refits import axis_label
from study.figures.canvas import BAND, COLOUR, GREY, SECOND, WIDTH, canvas

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from study.heterogeneity.allocation import Policy
    from study.heterogeneity.calibrated import Calibration
    from study.heterogeneity.causal_forest import ForestEffects
    from study.heterogeneity.group_effects import GroupEffects

STEP = 0.22
TREATED: dict[str, Any] = {"color": SECOND, "mec": "black", "mew": 0.4, "ms": 3.6, "label": "treated unit"}


def group_figure(found: Sequence[GroupEffects]) -> Figure:
    """Draw effects by group, a panel for each grouping, with simultaneous bands and pointwise intervals."""
    rows = [len(one.fit.terms) for one in found]
    question = found[0].fit.sample.question
    factor = 100 if question.scale == "proportional" else 1
    with canvas(WIDTH, 1.1 + sum(0.38 + STEP * n for n in rows)) as figure:
        axes = figure.subplots(
            len(found), 1, sharex=True, squeeze=False, gridspec_kw={"height_ratios": [n + 0.6 for n in rows]}
        )[:, 0]
        for axis, one in zip(axes, found, strict=True):
            inner = one.fit.tidy(one.level)
            estimate = factor * one.fit.effect
            places = np.arange(len(estimate))
            axis.use_sticky_edges = False
            axis.axvline(0, color=GREY, linewidth=0.8)
            low, high = (factor * one.band[side].to_numpy() for side in ("band_low", "band_high"))
            axis.barh(places, high - low, left=low, height=0.5, color=BAND, label="simultaneous band")
            ends = factor * inner[["conf_low", "conf_high"]].to_numpy().T
            _dots(axis, estimate, places, ends, "effect, pointwise interval")
            labels = [
                f"{term.removeprefix(one.groups.by).strip() or plain(term)} ({treated} of {units:,})"
                for term, (units, treated) in zip(one.fit.terms, one.sizes, strict=True)
            ]
            _rows(axis, labels)
            axis.set_title(f"By {plain(one.groups.by)}", loc="left")
        axes[-1].set_xlabel(
            f"{axis_label(question)}\n({100 * found[0].level:g}%; in brackets treated of all)"
        )
        _legend(figure, axes[0])
    return figure


def plain(by: str) -> str:
    """Return what groups units, such as "country=US", in words for a title."""
    return by.replace("=", " ").replace("_", " ")


def forest_figure(found: ForestEffects) -> Figure:
    """Draw the effect on each unit against its prior output, by both learners, with pointwise intervals."""
    learners = {
        "Causal forest": (found.effect, found.low, found.high),
        "Linear doubly robust learner": (found.linear, found.linear_low, found.linear_high),
    }
    with canvas(WIDTH + 1.8, 3.0) as figure:
        axes = figure.subplots(1, 2)
        for axis, (title, (effect, low, high)) in zip(axes, learners.items(), strict=True):
            axis.axhline(0, color=GREY, linewidth=0.8)
            axis.vlines(found.prior, low, high, color=BAND, linewidth=0.6, alpha=0.5)
            axis.plot([], [], color=BAND, linewidth=3, label=f"{found.level:.0%} interval, pointwise")
            for which, marker, look in (
                (found.treated == 0, "o", {"color": COLOUR, "ms": 2, "label": "untreated unit"}),
                (found.treated == 1, "s", TREATED),
            ):
                axis.plot(found.prior[which], effect[which], marker, linestyle="none", **look)
            if np.nanmin(found.prior) > 0:
                axis.set_xscale("log")
            axis.set_title(title)
        figure.supxlabel(f"{found.prior_name} of the unit, before treatment", fontsize=9)
        figure.supylabel(axis_label(found.sample.question), fontsize=9)
        _legend(figure, axes[0], 3)
    return figure


def policy_figure(found: Policy) -> Figure:
    """Draw what a grant adds under each rule, and its difference from a random allocation."""
    table = found.tidy()
    places = np.arange(len(table))
    with canvas(WIDTH + 1.4, 1.15 + STEP * len(table)) as figure:
        left, right = figure.subplots(1, 2, sharey=True)
        for axis in (left, right):
            axis.axvline(0, color=GREY, linewidth=0.8)
        _dots(left, table["value"].to_numpy(), places, table[["conf_low", "conf_high"]].to_numpy().T)
        outcome = found.fit.sample.question.outcome
        left.set_xlabel(f"{outcome} added by a grant\n({100 * found.level:g}% pointwise intervals)")
        apart = table["less_random"].to_numpy()
        half = table["half_width_less_random"].to_numpy()
        known = ~np.isnan(half)
        _dots(right, apart[known], places[known], np.array([apart - half, apart + half])[:, known])
        right.set_xlabel(
            f"{outcome}, less those of a random grant\n({100 * found.level:g}%, all pairs together)"
        )
        _rows(left, list(table["rule"]))
        right.tick_params(axis="y", length=0)
    return figure


def calibration_figure(found: Calibration) -> Figure:
    """Draw mean scores by quarter against mean predictions, with the line on which they are the same."""
    table = found.quarters.tidy(found.level)
    with canvas() as figure:
        axis = figure.subplots()
        ends = np.array([found.predicted.min(), found.predicted.max()])
        axis.plot(ends, ends, color=GREY, linewidth=0.8, linestyle="--", label="prediction is right")
        axis.axhline(0, color=GREY, linewidth=0.8)
        axis.errorbar(
            found.predicted,
            table["estimate"],
            yerr=np.array([table["estimate"] - table["conf_low"], table["conf_high"] - table["estimate"]]),
            fmt="o",
            color=COLOUR,
            markersize=3.5,
            linewidth=1.0,
            label=f"mean score, {found.level:.0%} interval",
        )
        axis.set_xlabel("Mean predicted effect in a quarter of the units")
        axis.set_ylabel(axis_label(found.slope.sample.question))
        _legend(figure, axis)
    return figure


def _dots(axis: Any, estimate: FloatArray, places: Any, ends: FloatArray, label: str | None = None) -> None:
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


def _rows(axis: Any, labels: Sequence[str]) -> None:
    axis.set_yticks(range(len(labels)), labels)
    axis.tick_params(axis="y", length=0, labelsize=7.5)
    axis.set_ylim(len(labels) - 0.4, -0.6)


def _legend(figure: Figure, axis: Any, columns: int = 2) -> None:
    handles, labels = axis.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=columns, frameon=False, fontsize=7.5)
