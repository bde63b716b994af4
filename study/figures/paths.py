"""Event-study figures: effects by event time with pointwise intervals and simultaneous bands."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any, Literal, NamedTuple

import numpy as np
import pandas as pd

from study.core import FloatArray, QuestionError, capital, check, checked, listed
from study.estimates import Estimate
from study.figures.dots import draw_intervals
from study.figures.drawing import (
    BAND,
    COLOUR,
    FULL,
    GREY,
    LIGHT,
    SECOND,
    SERIES,
    WIDTH,
    Axes,
    Figure,
    Series,
    canvas,
    labelled,
    legend_above,
    on_axes,
)
from study.panel import Scale

COLUMNS = 4
# In inches: the widest figure; of a legend, what a letter takes on average, and what its mark does.
WIDEST, LETTER, LEGEND_MARK = 9.0, 0.056, 0.45
NAMES = (
    "estimate, pointwise interval",
    "the same, on another base than those after",
    "simultaneous band",
    "",
)
OTHER_BASE, REFERENCE, NO_ERROR = "before the event: another base", "reference", "no standard error"
Style = Literal["pointrange", "ribbon"]
Paths = Mapping[str, pd.DataFrame]


def event_study(paths: Paths, *, ylabel: str, unit: str, percent: bool = False) -> Figure:
    """Draw one axis for each path of effects, side by side on one scale.

    Parameters
    ----------
    paths : mapping of str to DataFrame
        By title: event_time, estimate, conf_low, conf_high, band_low, band_high; a reference row has NaN
        limits.
    ylabel : str
        What the effect is, with its unit.
    unit : str
        What a period is called.
    percent : bool
        Effects are shares and are drawn in percent.

    Returns
    -------
    matplotlib Figure
    """
    with canvas(max(WIDTH, 1.0 + 1.9 * len(paths))) as figure:
        axes = figure.subplots(1, len(paths), sharey=True, squeeze=False)[0]
        for axis, (title, path) in zip(axes, paths.items(), strict=True):
            draw_path(axis, path, percent=percent)
            axis.set_title(title)
        axes[0].set_ylabel(ylabel)
        figure.supxlabel(since(unit), fontsize=9)
        legend_above(figure, axes[0], 3, None)
    return figure


class Grid(NamedTuple):
    """Paths by title that share one vertical axis, the heading over them, what the effect is, and its unit."""

    heading: str
    paths: Paths
    ylabel: str
    percent: bool


def event_study_grids(
    grids: Sequence[Grid], *, window: tuple[int, int], unit: str, apart: Collection[str] = ()
) -> Figure:
    """Draw several grids of paths below one another, each on a vertical scale of its own.

    Parameters
    ----------
    grids : sequence of Grid
        Paths as in :func:`event_study`.
    window : tuple of int
        First and last event time of all axes.
    unit : str
        What a period is called.
    apart : collection of str
        Titles of paths whose effects before the event have another base than those after it; they are drawn hollow,
        without a line between both.

    Returns
    -------
    matplotlib Figure
        As wide as the paper's text.
    """
    rows = [-(-len(grid.paths) // COLUMNS) for grid in grids]
    heights = [0.6 + 1.25 * n for n in rows]
    with canvas(FULL, 0.45 + sum(heights)) as figure:
        parts = figure.subfigures(len(grids), 1, height_ratios=heights, squeeze=False)[:, 0]
        for part, grid, n in zip(parts, grids, rows, strict=True):
            axes = part.subplots(n, COLUMNS, sharex=True, sharey=True, squeeze=False).ravel()
            for axis, (title, path) in zip(axes, grid.paths.items(), strict=False):
                draw_path(axis, path, percent=grid.percent, apart=title in apart)
                axis.set_title(title, fontsize=8)
                axis.set_xlim(window[0] - 0.7, window[1] + 0.7)
                axis.set_xticks([e for e in range(window[0], window[1] + 1) if e % 2 == 0])
            for axis in axes[len(grid.paths) :]:
                axis.set_axis_off()
            for axis in axes[max(0, len(grid.paths) - COLUMNS) : len(grid.paths)]:
                axis.tick_params(labelbottom=True)
            part.suptitle(grid.heading, fontsize=9, x=0.01, ha="left", fontweight="bold")
            part.supylabel(grid.ylabel, fontsize=9)
        parts[-1].supxlabel(since(unit), fontsize=9)
        handles = labelled(*(axis for part in parts for axis in part.axes))
        figure.legend([*handles.values()], [*handles], loc="outside lower center", ncols=2, frameon=False)
    return figure


def draw_path(
    axis: Axes,
    path: pd.DataFrame,
    *,
    percent: bool = False,
    apart: bool = False,
    style: Style = "pointrange",
    series: Series | None = None,
    shift: float = 0.0,
    width: float = 0.62,
    names: tuple[str, str, str, str] = NAMES,
) -> None:
    """Draw one path of effects, whose effects before the event are hollow where they stand ``apart``.

    Parameters
    ----------
    axis : Axes
    path : DataFrame
        As in :func:`event_study`.
    percent, apart : bool
    style : {"pointrange", "ribbon"}
    series : Series, optional
        How this one of several paths is drawn.
    shift, width : float
        How far from its event times it stands, and how wide its band is, in periods.
    names : tuple of str
        Legend of the estimates with their intervals, of those that stand apart, of the band, and of those without a
        standard error, which are drawn like the reference where it is empty.
    """
    from matplotlib.ticker import MaxNLocator

    factor = 100 if percent else 1
    times = path["event_time"].to_numpy()
    columns = ["estimate", "conf_low", "conf_high", "band_low", "band_high"]
    estimate, *ends, low, high = factor * path[columns].to_numpy().T
    colour, mark, dashes = series or Series(COLOUR, "o", "-")
    axis.use_sticky_edges = False
    axis.axhline(0, color=GREY, linewidth=0.8)
    axis.axvline(-0.5, color=GREY, linewidth=0.8, linestyle=":")
    reference = np.isnan(low)
    before = apart & (times < 0) & ~reference
    lacking = reference & bool(names[3]) & np.isfinite(estimate) & (estimate != 0)
    reference &= ~lacking
    at = times + shift
    if style == "ribbon":
        limits = np.where(reference, estimate, [*ends, low, high])
        for part in (times < 0, times >= 0) if apart else (times < np.inf,):
            _draw_ribbon(axis, at[part], estimate[part], limits[:, part], colour, dashes, names[2])
    else:
        band = BAND if series is None else LIGHT
        axis.bar(at, high - low, bottom=low, width=width, color=band, label=names[2])
    looks = {names[0]: (~reference & ~before & ~lacking, mark, colour, colour)}
    if before.any():
        other = ("D", SECOND) if series is None else (mark, colour)
        looks[names[1]] = (before, *other, "white")
    for label, (which, marker, shade, face) in looks.items():
        look: Any = {"color": shade, "markerfacecolor": face, "label": label, "linewidth": 1.1}
        if style == "ribbon":
            axis.plot(at[which], estimate[which], marker, markersize=3.5, **look)
        else:
            values = estimate[which], at[which], np.array(ends)[:, which]
            draw_intervals(axis, *values, upright=True, fmt=marker, **look)
    axis.plot(at[reference], estimate[reference], mark, mfc="white", mec=colour, ms=4, label=REFERENCE)
    if lacking.any():
        axis.plot(at[lacking], estimate[lacking], "x", color=colour, markersize=5, label=names[3])
    axis.xaxis.set_major_locator(MaxNLocator(integer=True))


def _draw_ribbon(
    axis: Axes,
    times: FloatArray,
    estimate: FloatArray,
    limits: FloatArray,
    colour: str,
    dashes: Any,
    name: str,
) -> None:
    """Draw a line on the shades of its pointwise limits and of its band's, shape (4, K), by ascending times."""
    low, high, band_low, band_high = limits
    shade: Any = {"color": colour, "linewidth": 0}
    axis.fill_between(times, band_low, band_high, alpha=0.18, label=name, **shade)
    axis.fill_between(times, low, high, alpha=0.25, **shade)
    axis.plot(times, estimate, color=colour, linestyle=dashes, linewidth=1.1)


@checked
def event_plot(
    fits: Estimate | Sequence[Estimate] | Mapping[str, Estimate],
    ax: Axes | None = None,
    *,
    title: str | None = None,
    labels: Mapping[str, str] | None = None,
    level: float = 0.95,
    style: Style = "pointrange",
    window: tuple[int, int] | None = None,
    seed: int = 0,
) -> Figure:
    """Draw the effects of one or several estimates by event time in one panel, side by side at each event time.

    Each estimate has its pointwise intervals and its own simultaneous band, which covers its whole path with
    probability ``level``. Effects that are zero by normalisation are hollow, those without a standard error crosses.
    Effects before the event that have another base than those after it (imputation) are hollow with an interval.

    Parameters
    ----------
    fits : Estimate, sequence of Estimate, or mapping of str to Estimate
        On one scale, five at most; a mapping says what each is called, otherwise it is called by its design.
    ax : matplotlib Axes, optional
        Drawn on instead of a figure of its own.
    title : str, optional
        Heading; the design of a single estimate if not given.
    labels : mapping of str to str, optional
        What designs, outcome, event and unit of the period are called on the figure, by their names.
    level : float
        Coverage of intervals and bands.
    style : {"pointrange", "ribbon"}
        Points with bars, or lines on shades.
    window : tuple of int, optional
        First and last event time that are drawn; the band covers the whole path nevertheless. If not given, those up to
        the question's horizon H and as many before the event, from -H-1 on; all where it has none.
    seed : int
        Of the draws of the bands.

    Returns
    -------
    matplotlib Figure

    Raises
    ------
    QuestionError
        If an estimate has no event times, two have one name, or they are on different scales.

    Examples
    --------
    >>> study.event_plot([fit, other], labels={"papers": "papers a year"}).savefig("paths.pdf")  # doctest: +SKIP
    """
    named, words = _named(fits, labels or {}), labels or {}
    paths = {name: _path(fit, level, seed, window) for name, fit in named.items()}
    questions = [fit.sample.question for fit in named.values()]
    scales = list(dict.fromkeys(question.scale for question in questions))
    if len(scales) > 1:
        raise QuestionError(
            f"event_plot: the estimates are on the scales {listed(scales)}, and an axis has one; plot them apart."
        )
    unit, *units = dict.fromkeys(fit.sample.panel.period_unit for fit in named.values())
    event, *events = dict.fromkeys(question.event for question in questions)
    if units:
        raise QuestionError(
            f"event_plot: the estimates count event time in {unit}s and in {units[0]}s; plot them apart."
        )
    outcomes = listed(dict.fromkeys(words.get(question.outcome, question.outcome) for question in questions))
    scale, share = Scale(scales[0], outcomes), f"{100 * level:g}%"
    alone, width = len(paths) == 1, 0.62 if len(paths) == 1 else 0.8 / len(paths)
    band = f"{share} simultaneous band"
    estimates = [f"estimate, {share} pointwise interval"] if alone else [*paths]
    marks = max(map(len, paths.values())) * len(paths)
    with on_axes(ax, min(WIDEST, max(WIDTH if alone else FULL, 1 + 0.09 * marks))) as (figure, axis):
        for k, (name, path) in enumerate(paths.items()):
            draw_path(
                axis,
                path,
                percent=scale.percent,
                apart=named[name].against == "all_before",
                style=style,
                series=None if alone else SERIES[k],
                shift=0.0 if style == "ribbon" else width * (k - (len(paths) - 1) / 2),
                width=width if alone else 0.86 * width,
                names=(estimates[k], OTHER_BASE, band, NO_ERROR),
            )
        axis.set_title(next(iter(paths)) if title is None and alone else title or "")
        axis.set_ylabel(scale.axis())
        axis.set_xlabel(
            since(words.get(unit, unit), "first treated" if events else words.get(event, "first treated"))
        )
        handles = labelled(axis)
        shown_labels = [
            label for label in (*estimates, OTHER_BASE, band, REFERENCE, NO_ERROR) if label in handles
        ]
        legend = [handles[label] for label in shown_labels], shown_labels
        if ax is None:
            longest = LEGEND_MARK + LETTER * max(map(len, shown_labels))
            columns = max(1, int(figure.get_figwidth() // longest))
            figure.legend(*legend, loc="outside upper center", ncols=columns, frameon=False, fontsize=7.5)
        elif not alone:
            axis.legend(*legend, frameon=False, fontsize=7)
    return figure


def _named(
    fits: Estimate | Sequence[Estimate] | Mapping[str, Estimate], labels: Mapping[str, str]
) -> dict[str, Estimate]:
    """Return estimates by what they are called on a figure."""
    if isinstance(fits, Mapping):
        pairs = [*fits.items()]
    else:
        listing = [fits] if isinstance(fits, Estimate) else fits
        check("event_plot", {"fits": Sequence[Estimate]}, {"fits": listing})
        pairs = [(fit.design, fit) for fit in listing]
    if not 1 <= len(pairs) <= len(SERIES):
        raise QuestionError(
            f"event_plot: {len(pairs)} estimates are given; a panel shows one to {len(SERIES)}."
        )
    named = {labels.get(name, name): fit for name, fit in pairs}
    if len(named) < len(pairs):
        raise QuestionError(
            f"event_plot: of {len(pairs)} estimates some have one name ({', '.join(named)}); give a mapping of names "
            "to estimates."
        )
    return named


def _path(fit: Estimate, level: float, seed: int, window: tuple[int, int] | None) -> pd.DataFrame:
    """Return an estimate's effects by event time, with their intervals and the simultaneous band."""
    if fit.estimand.has_path and not np.isfinite(fit.event_time).any():
        raise QuestionError(
            f"plot: {', '.join(fit.terms[:3])} has no event time to draw; plot the estimate that was averaged."
        )
    by_event_time = np.isfinite(fit.event_time).all() and np.isnan(fit.cohort).all()
    path = fit if by_event_time else fit.aggregate("event")
    band = path.band(level, seed=seed)[["event_time", "band_low", "band_high"]]
    rows = path.tidy(level)[["estimate", "conf_low", "conf_high"]].join(band)
    horizon = fit.sample.question.horizon
    if window is None and horizon is not None:
        window = (-horizon - 1, horizon)
    rows = rows.sort_values("event_time", ignore_index=True)
    inside = rows if window is None else shown(rows, window)
    if inside.empty:
        raise QuestionError(f"event_plot: {fit.design} has no event time in the window {window}.")
    return inside


def since(unit: str, event: str = "first treated") -> str:
    """Say what event times are counted in, and since when."""
    return f"{capital(unit)}s since {event}"


def shown(path: pd.DataFrame, window: tuple[int, int]) -> pd.DataFrame:
    """Return the rows of a path that lie in the window of the figures."""
    return path[path["event_time"].between(*window)] if len(path) else path
