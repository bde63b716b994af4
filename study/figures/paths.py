"""Figures of effects: by event time, cohort or calendar period with their bands, and others as dots on lines."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from textwrap import fill
from typing import Any, Literal, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from study.core import FloatArray, QuestionError, capital, check, checked, listed
from study.estimates import Effect, Estimand, Estimate, VcovWord
from study.figures.drawing import (
    ABOVE,
    BAND,
    COLOUR,
    FULL,
    GREY,
    HEIGHT,
    LIGHT,
    SECOND,
    SERIES,
    SIDE,
    TITLE,
    WIDTH,
    Axes,
    Figure,
    Series,
    canvas,
    draw_legend,
    in_lines,
    labelled,
    name_periods,
    on_axes,
    panels,
    shortened,
)
from study.panel import Scale

MANY = 30
ROW_HEIGHT = 0.22  # inches, of figures with several axes
COLUMNS = 5
# Of a figure with an axis an outcome: most axes in a row, and how many times as large as the smallest outcome's effects
# those of another may be on one scale.
MOST, UNLIKE = 4, 10.0
# In inches: the widest figure; of a legend, what a letter takes on average, and what its mark does.
WIDEST, LETTER, LEGEND_MARK = 9.0, 0.056, 0.45
COUNTED = 3.1  # inches of height, of a figure with numbers of units below its axes
# The letter that looks like a marker.
MARKS = {"o": "●", "s": "■", "^": "▲", "D": "◆", "v": "▼"}
NAMES = "estimate, pointwise interval", "the same, on another base than those after", "simultaneous band", ""
OTHER_BASE, REFERENCE, NO_ERROR = "before the event: another base", "reference", "no standard error"
CUT = "band goes on beyond the axis"
# Bands so many times as wide as the median one would leave no room for the others.
WIDE = 3.0
# By the label of terms that are averages: what they are averaged to.
BY_CALENDAR = {"cohort": "cohort", "period": "calendar"}
Style = Literal["pointrange", "ribbon"]
Paths = Mapping[str, pd.DataFrame]


def dot_figure(
    frame: pd.DataFrame, ax: Axes | None = None, *, xlabel: str, level: float = 0.95, **drawing: Any
) -> Figure:
    """Draw one line a row, the first on top, in a figure as high as its rows need.

    Parameters
    ----------
    frame : DataFrame
        label, estimate, conf_low, conf_high.
    ax : Axes, optional
        Drawn on instead of a figure of its own.
    xlabel : str
        What the effect is, with its unit.
    level : float
        Coverage of the intervals, named below the axis.
    **drawing
        behind, marked, names, percent, null and title, as in :func:`draw_dots`.
    """
    step = 0.21 if len(frame) <= MANY else 0.15
    least = 2 + 2 * xlabel.count("\n")  # below which a label of several lines leaves no room for the rows
    with on_axes(ax, WIDTH, 0.95 + step * max(len(frame), least), legend=2) as (figure, axis):
        draw_dots(axis, frame, **drawing)
        axis.set_xlabel(f"{xlabel}\n({100 * level:g}% intervals)")
    return figure


def draw_dots(
    axis: Axes,
    frame: pd.DataFrame,
    *,
    behind: Effect | None = None,
    marked: Sequence[bool] | None = None,
    names: tuple[str, str] = ("", ""),
    percent: bool = False,
    null: float = 0.0,
    title: str = "",
) -> None:
    """Draw the rows on an axis.

    Parameters
    ----------
    axis : Axes
    frame : DataFrame
        label, estimate, conf_low, conf_high.
    behind : Effect, optional
        An estimate to compare with, drawn behind the others with its interval.
    marked : sequence of bool, optional
        Rows in the second colour.
    names : tuple of str
        Legend of the rows in the first and in the second colour; none where it is empty.
    percent : bool
        Effects are shares and are drawn in percent.
    null : float
        Where the line stands that intervals are read against.
    title : str
        Above the rows, none where it is empty.
    """
    factor = 100 if percent else 1
    second = np.zeros(len(frame), dtype=bool) if marked is None else np.asarray(marked, dtype=bool)
    axis.axvline(factor * null, color=GREY, linewidth=0.8)
    if behind is not None:
        low, high, estimate = (factor * x for x in (behind.conf_low, behind.conf_high, behind.estimate))
        axis.axvspan(low, high, color=BAND, alpha=0.45, linewidth=0)
        axis.axvline(estimate, color=COLOUR, linewidth=0.8, linestyle="--", label=behind.label)
    rows = factor * frame[["estimate", "conf_low", "conf_high"]].to_numpy().T
    for which, colour, marker, name in ((~second, COLOUR, "o", names[0]), (second, SECOND, "s", names[1])):
        if which.any():
            look: Any = {"label": name or None, "color": colour, "fmt": marker}
            draw_intervals(axis, rows[0, which], np.flatnonzero(which), rows[1:, which], **look)
    label_rows(axis, [shortened(label) for label in frame["label"]], size=7.5 if len(frame) <= MANY else 6)
    if title:
        axis.set_title(title, fontsize=8)


def draw_intervals(
    axis: Axes, estimate: ArrayLike, places: ArrayLike, ends: ArrayLike, *, upright: bool = False, **look: Any
) -> None:
    """Draw dots with their intervals, one a row, or one a column where they stand upright; ends are of shape (2, K).

    The look of them is that of matplotlib's ``errorbar`` where it is not the usual one.
    """
    errors = np.abs(np.asarray(ends) - np.asarray(estimate))
    usual: Any = {"fmt": "o", "color": COLOUR, "markersize": 3.5 if upright else 3.2, "linewidth": 1.0}
    if upright:
        axis.errorbar(places, estimate, yerr=errors, **usual | look)
    else:
        axis.errorbar(estimate, places, xerr=errors, **usual | look)


def label_rows(axis: Axes, labels: Sequence[str], size: float = 7.5) -> None:
    """Write the labels of rows, the first on top."""
    axis.set_yticks(range(len(labels)), labels)
    axis.tick_params(axis="y", length=0, labelsize=size)
    axis.set_ylim(len(labels) - 0.4, -0.6)


def event_study(paths: Paths, *, scale: Scale, unit: str) -> Figure:
    """Draw one axis for each path of effects, side by side; on one scale unless some would be flat lines on it.

    Parameters
    ----------
    paths : mapping of str to DataFrame
        By title: event_time, estimate, conf_low, conf_high, band_low, band_high; a reference row has NaN
        limits.
    scale : Scale
        Of the effects.
    unit : str
        What a period is called.

    Returns
    -------
    matplotlib Figure
    """
    rows = -(-len(paths) // MOST)
    columns = -(-len(paths) // rows)
    sizes = [path[["estimate", "conf_low", "conf_high"]].abs().max(axis=None) for path in paths.values()]
    alike = max(sizes) <= UNLIKE * min(sizes)
    inches = max(WIDTH, 1.0 + 1.9 * columns), HEIGHT * rows
    with panels(None, rows, columns, *inches, sharey=alike) as (figure, axes):
        drawn = [*zip(axes, paths.values(), strict=False)]
        for (axis, path), title in zip(drawn, paths, strict=True):
            draw_path(axis, path, percent=scale.percent)
            axis.set_title(fill(title, TITLE // min(columns, 2)))
        for together in [drawn] if alike else [[one] for one in drawn]:
            cut_bands(together, percent=scale.percent)
        for axis in axes[len(paths) :]:
            axis.set_axis_off()
        for axis in axes[::columns]:
            axis.set_ylabel(scale.short_axis())
        figure.supxlabel(since(unit), fontsize=9)
        draw_legend(figure, *axes, loc=ABOVE, ncols=_columns(figure, *axes))
    return figure


class Grid(NamedTuple):
    """Paths by title that share one vertical axis, the heading over them, and the scale of the effects."""

    heading: str
    paths: Paths
    scale: Scale


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
    heights = [0.65 + 1.25 * n for n in rows]
    with canvas(FULL, 0.45 + sum(heights)) as figure:
        parts = figure.subfigures(len(grids), 1, height_ratios=heights, squeeze=False)[:, 0]
        for part, grid, n in zip(parts, grids, rows, strict=True):
            axes = part.subplots(n, COLUMNS, sharex=True, sharey=True, squeeze=False).ravel()
            for axis, (title, path) in zip(axes, grid.paths.items(), strict=False):
                draw_path(axis, path, percent=grid.scale.percent, apart=title in apart)
                axis.set_title(title, fontsize=7)
                axis.tick_params(labelsize=7)
                axis.set_xlim(window[0] - 0.7, window[1] + 0.7)
                axis.set_xticks([e for e in range(window[0], window[1] + 1) if e % 2 == 0])
            cut_bands(zip(axes, grid.paths.values(), strict=False), percent=grid.scale.percent)
            for axis in axes[len(grid.paths) :]:
                axis.set_axis_off()
            for axis in axes[max(0, len(grid.paths) - COLUMNS) : len(grid.paths)]:
                axis.tick_params(labelbottom=True)
            part.suptitle(grid.heading, fontsize=9, x=0.01, ha="left", fontweight="bold")
            part.supylabel(grid.scale.short_axis(), fontsize=7.5)
        parts[-1].supxlabel(since(unit), fontsize=9)
        every = [axis for part in parts for axis in part.axes]
        draw_legend(figure, *every, loc="outside lower center", ncols=2)
    return figure


def event_study_with_counts(
    grids: Sequence[Grid],
    treated: Mapping[str, Mapping[float, int]],
    *,
    window: tuple[int, int],
    within: tuple[int, int],
    unit: str,
    counted: str,
) -> Figure:
    """Draw the paths of each grid in one panel, the panels side by side, over how many units each effect is of.

    Parameters
    ----------
    grids : sequence of Grid
        Each of the same paths by label; the vertical axes say what they are, and not the headings.
    treated : mapping of str to mapping
        By label, units at event times.
    window : tuple of int
        First and last event time of all axes.
    within : tuple of int
        First and last event time whose intervals the vertical axes are for; what goes on beyond them is marked.
    unit, counted : str
        What a period is called, and the units that are counted.

    Returns
    -------
    matplotlib Figure
        As wide as the paper's text; the labels below the first panel are the legend.
    """
    times, xlabel = range(window[0], window[1] + 1), f"{since(unit)}\n(numbers: {counted})"
    with panels(None, 1, len(grids), FULL, COUNTED) as (figure, axes):
        for axis, grid in zip(axes, grids, strict=True):
            places = []
            for k, ((label, path), series) in enumerate(zip(grid.paths.items(), SERIES, strict=False)):
                shift = 0.36 * (k - (len(grid.paths) - 1) / 2)
                draw_path(axis, path, percent=grid.scale.percent, series=series, shift=shift, width=0.3)
                places.append(path["event_time"].to_numpy() + shift)
                how: Any = {"color": series.colour, "fontsize": 7.5, "va": "top", "clip_on": False}
                at: Any = {"xycoords": ("data", "axes fraction"), "textcoords": "offset points"}
                for time in times:
                    number = f"{treated[label].get(time, 0)}"
                    axis.annotate(number, (time, 0), (0, -17 - 11 * k), ha="center", **at, **how)
                if axis is axes[0]:
                    where: Any = {"xycoords": "axes fraction", "textcoords": "offset points"}
                    name = f"{MARKS[series.marker]} {label}"
                    axis.annotate(name, (0, 0), (-4, -17 - 11 * k), ha="right", **where, **how)
            drawn = [(axis, path) for path in grid.paths.values()]
            cut_bands(drawn, percent=grid.scale.percent, places=places, within=within)
            axis.set_ylabel(grid.scale.short_axis())
            axis.set_xlim(window[0] - 0.6, window[1] + 0.6)
            axis.set_xticks(times)
            axis.set_xlabel(xlabel, labelpad=4 + 11 * len(treated), fontsize=8.5)
        order = (NAMES[0], NAMES[2], REFERENCE, CUT)
        draw_legend(figure, *axes, order=order, loc=ABOVE, ncols=4, fontsize=7.5)
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
    along: str = "event_time",
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
    along : {"event_time", "cohort", "period", "at"}
        The column that is the horizontal axis.
    """
    from matplotlib.ticker import MaxNLocator

    factor = 100 if percent else 1
    times = path[along].to_numpy()
    columns = ["estimate", "conf_low", "conf_high", "band_low", "band_high"]
    estimate, *ends, low, high = factor * path[columns].to_numpy().T
    colour, mark, dashes = series or Series(COLOUR, "o", "-")
    axis.use_sticky_edges = False
    axis.axhline(0, color=GREY, linewidth=0.8)
    if along == "event_time":
        axis.axvline(-0.5, color=GREY, linewidth=0.8, linestyle=":")
    reference = np.isnan(low)
    before = apart & (times < 0) & ~reference
    lacking = reference & bool(names[3]) & np.isfinite(estimate) & (estimate != 0)
    reference &= ~lacking
    at = times + shift
    if style == "ribbon":
        limits = np.where(reference, estimate, [*ends, low, high])
        shade: Any = {"color": colour, "linewidth": 0}
        for part in (times < 0, times >= 0) if apart else (times < np.inf,):
            axis.fill_between(at[part], *limits[2:, part], alpha=0.18, label=names[2], **shade)
            axis.fill_between(at[part], *limits[:2, part], alpha=0.25, **shade)
            axis.plot(at[part], estimate[part], color=colour, linestyle=dashes, linewidth=1.1)
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
    if reference.any():
        axis.plot(at[reference], estimate[reference], mark, mfc="white", mec=colour, ms=4, label=REFERENCE)
    if lacking.any():
        axis.plot(at[lacking], estimate[lacking], "x", color=colour, markersize=5, label=names[3])
    axis.xaxis.set_major_locator(MaxNLocator(integer=along != "at", min_n_ticks=1))


def cut_bands(
    paths: Iterable[tuple[Axes, pd.DataFrame]],
    *,
    percent: bool = False,
    places: Sequence[FloatArray] | None = None,
    within: tuple[int, int] | None = None,
) -> None:
    """End the axes where bands much wider than the others go on, and mark these there.

    Parameters
    ----------
    paths : iterable of (Axes, DataFrame)
        Paths as :func:`draw_path` has drawn them, on axes of one vertical scale.
    percent : bool
    places : sequence of ndarray, optional
        Where the effects of each path stand, if not at their event times.
    within : tuple of int, optional
        First and last event time whose intervals the axes are for, whatever the widths of bands.
    """
    drawn = list(paths)
    every = (100 if percent else 1) * pd.concat([path for _, path in drawn])
    columns = ["band_low", "band_high"]
    limits = every[columns].fillna(every[["conf_low", "conf_high"]].set_axis(columns, axis=1))
    low, high = limits.to_numpy().T
    wide = high - low > WIDE * pd.Series(high - low).median()
    if within is None and not wide.any():
        return
    ends = [low[~wide], high[~wide]]
    if within is not None:
        of_average = pd.concat([path["event_time"] for _, path in drawn]).between(*within).to_numpy()
        ends = [*every.loc[of_average, ["conf_low", "conf_high"]].to_numpy().T]
    inside = np.concatenate([*ends, every["estimate"], [0.0]])
    first, last = np.nanmin(inside), np.nanmax(inside)
    first, last = first - 0.08 * (last - first), last + 0.08 * (last - first)
    start = 0
    for k, (axis, path) in enumerate(drawn):
        axis.set_ylim(first, last)
        at = path["event_time"].to_numpy() if places is None else places[k]
        own = slice(start, start + len(path))
        start += len(path)
        for beyond, edge, mark in ((low[own] < first, first, "v"), (high[own] > last, last, "^")):
            if beyond.any():
                look: Any = {"color": GREY, "markersize": 4, "clip_on": False, "label": CUT}
                axis.plot(at[beyond], np.full(beyond.sum(), edge), mark, **look)


@checked
def event_plot(
    fits: Estimate | Sequence[Estimate] | Mapping[str, Estimate],
    ax: Axes | None = None,
    *,
    title: str | None = None,
    labels: Mapping[str, str] | None = None,
    level: float = 0.95,
    vcov: VcovWord | None = None,
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
    vcov : str, optional
        Covariance estimator of the estimates, instead of each one's own.
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
    named = _named(fits, labels or {})
    if vcov is not None:
        named = {name: fit.with_vcov(vcov) for name, fit in named.items()}
    return _draw(named, "event_time", ax, title, labels or {}, level, style, window, seed)


@checked
def effects_plot(
    fits: Estimate | Sequence[Estimate] | Mapping[str, Estimate],
    ax: Axes | None = None,
    *,
    title: str | None = None,
    labels: Mapping[str, str] | None = None,
    level: float = 0.95,
    style: Style = "pointrange",
    window: tuple[int, int] | None = None,
) -> Figure:
    """Draw estimates as what they are: by dose or quantile, event time, cohort or calendar period, or as dots on lines.

    Effects by event time are drawn by :func:`event_plot`, whose parameters but the seed these are; averages by cohort
    or by calendar period stand at the panel's own periods, and effects by dose or quantile, where estimates have them,
    on a line with its band, whatever the style. Where one of the estimates has neither, the headline of each is a
    dot with its pointwise interval, or each term of a single one.

    Returns
    -------
    matplotlib Figure

    Raises
    ------
    QuestionError
        If two estimates have one name, are on different scales, or a window is given where there is no event time.
    """
    named, words = _named(fits, labels or {}), labels or {}
    for along in ("at", "event_time", *BY_CALENDAR):
        if all(_runs_along(fit, along) for fit in named.values()):
            as_drawn: Style = "ribbon" if along == "at" else style
            return _draw(named, along, ax, title, words, level, as_drawn, window)
    if window is not None:
        raise QuestionError("plot: a window is of event times, which not all of these estimates have.")
    scale = _scale(named, words)
    drawn = named if len(named) == 1 else {name: fit.headline for name, fit in named.items()}
    rows = pd.concat([fit.tidy(level).assign(name=name) for name, fit in drawn.items()], ignore_index=True)
    terms = [words.get(term, term.replace("_", " ")) for term in rows["term"]]
    rows["label"] = terms if len(named) == 1 else rows["name"]
    figure = dot_figure(rows, ax, xlabel=scale.axis(), level=level, percent=scale.percent)
    axis = figure.axes[0] if ax is None else ax
    heading = next(iter(named)) if title is None and len(named) == 1 else title or ""
    axis.set_title(in_lines(figure, heading), fontsize=9)
    return figure


def _runs_along(fit: Estimate, along: str) -> bool:
    """Say whether an estimate can be drawn by dose or event time, or is one by cohort or calendar period alone."""
    if along == "at":
        return fit.at is not None and pd.Series(fit.at).dropna().is_unique
    if along == "event_time":
        return bool(np.isfinite(fit.of_no_dose.event_time).any())
    known = {name for name in ("event_time", *BY_CALENDAR) if not np.isnan(getattr(fit, name)).all()}
    return known == {along} and not np.isnan(getattr(fit, along)).any()


def _scale(named: Mapping[str, Estimate], words: Mapping[str, str]) -> Scale:
    """Return the scale that estimates share, with what their outcomes are called."""
    questions = [fit.sample.question for fit in named.values()]
    scales = list(dict.fromkeys(question.scale for question in questions))
    if len(scales) > 1:
        raise QuestionError(
            f"event_plot: the estimates are on the scales {listed(scales)}, and an axis has one; plot them apart."
        )
    outcomes = dict.fromkeys(words.get(question.outcome, question.outcome) for question in questions)
    return Scale(scales[0], listed(outcomes))


def _draw(
    named: Mapping[str, Estimate],
    along: str,
    ax: Axes | None,
    title: str | None,
    words: Mapping[str, str],
    level: float,
    style: Style,
    window: tuple[int, int] | None,
    seed: int = 0,
) -> Figure:
    """Draw estimates side by side along event time, cohorts or calendar periods, as :func:`event_plot` says."""
    paths = {name: _path(fit, along, level, seed, window) for name, fit in named.items()}
    scale, share = _scale(named, words), f"{100 * level:g}%"
    samples = [fit.sample for fit in named.values()]
    unit, *units = dict.fromkeys(sample.panel.period_unit for sample in samples)
    event, *events = dict.fromkeys(sample.question.event for sample in samples)
    if units:
        raise QuestionError(
            f"event_plot: the estimates count event time in {unit}s and in {units[0]}s; plot them apart."
        )
    unit, event = words.get(unit, unit), "first treated" if events else words.get(event, "first treated")
    alone, width = len(paths) == 1, 0.62 if len(paths) == 1 else 0.8 / len(paths)
    band = f"{share} simultaneous band{'' if alone else ' (lines: pointwise)'}"
    estimates = [f"estimate, {share} pointwise interval"] if alone else [*paths]
    marks = max(map(len, paths.values())) * len(paths)
    with on_axes(ax, min(WIDEST, max(WIDTH if alone else FULL, 1 + 0.09 * marks))) as (figure, axis):
        places = []
        for k, (name, path) in enumerate(paths.items()):
            shift = 0.0 if style == "ribbon" else width * (k - (len(paths) - 1) / 2)
            places.append(path[along].to_numpy() + shift)
            draw_path(
                axis,
                path,
                percent=scale.percent,
                apart=along == "event_time" and named[name].against == "all_before",
                style=style,
                series=None if alone else SERIES[k],
                shift=shift,
                width=width if alone else 0.86 * width,
                names=(estimates[k], OTHER_BASE, band, NO_ERROR),
                along=along,
            )
        cut_bands([(axis, path) for path in paths.values()], percent=scale.percent, places=places)
        axis.set_title(in_lines(figure, next(iter(paths)) if title is None and alone else title or ""))
        axis.set_ylabel(scale.axis(longest=SIDE))
        if along == "at":
            _name_doses(axis, named, words)
        elif along == "event_time":
            axis.set_xlabel(in_lines(figure, since(unit, event)))
        else:
            of = "" if event == "first treated" else "of "
            periods = f"{capital(unit)} {of}{event}" if along == "cohort" else capital(unit)
            axis.set_xlabel(in_lines(figure, periods))
            name_periods(axis, samples[0].panel.periods, samples[0].panel.period_name)
            every = np.concatenate([path[along] for path in paths.values()])
            if np.ptp(every) == 0:  # matplotlib would show centuries around one year
                axis.set_xlim(every[0] - 0.7, every[0] + 0.7)
        order = (*estimates, OTHER_BASE, band, REFERENCE, NO_ERROR, CUT)
        if ax is None:
            columns = _columns(figure, axis)
            rows = -(-len(labelled(axis)) // columns)
            figure.set_figheight(HEIGHT + ROW_HEIGHT * max(0, rows - 4))
            draw_legend(figure, axis, order=order, loc=ABOVE, ncols=columns, fontsize=7.5)
        elif not alone:
            draw_legend(axis, axis, order=order, fontsize=7)
    return figure


def _columns(figure: Figure, *axes: Axes) -> int:
    """Return how many columns of a legend a figure has room for."""
    longest = LEGEND_MARK + LETTER * max(map(len, labelled(*axes)))
    return max(1, int(figure.get_figwidth() // longest))


def _name_doses(axis: Axes, named: Mapping[str, Estimate], words: Mapping[str, str]) -> None:
    """Write what doses or quantiles are, and that slopes are by unit of the dose."""
    fits = [*named.values()]
    doses = [fit.sample.question.dose or fit.at_name for fit in fits]
    labels = dict.fromkeys(
        words.get(dose, dose) if fit.at_name == "dose" else fit.at_name
        for fit, dose in zip(fits, doses, strict=True)
    )
    axis.set_xlabel(capital(listed(labels)))
    if all(fit.estimand is Estimand.GROUP_TIME_ACRT for fit in fits):
        axis.set_ylabel(f"{axis.get_ylabel()}, per unit of {listed(labels)}")


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


def _path(fit: Estimate, along: str, level: float, seed: int, window: tuple[int, int] | None) -> pd.DataFrame:
    """Return an estimate's effects by event time, cohort or period, with their intervals and simultaneous band."""
    if fit.estimand.has_path and not _runs_along(fit, along):
        raise QuestionError(
            f"plot: {', '.join(fit.terms[:3])} has no event time to draw; plot the estimate that was averaged."
        )
    path = fit.aggregate({**BY_CALENDAR, "at": fit.at_name}.get(along, "event"))
    rows = path.tidy(level)[["estimate", "conf_low", "conf_high"]]
    rows[along] = getattr(path, along)
    if path.joint and path.varies.any():
        rows = rows.join(path.band(level, seed=seed)[["band_low", "band_high"]])
    else:
        rows[["band_low", "band_high"]] = np.nan
    if along == "event_time":
        rows = rows[path.in_window] if window is None else shown(rows, window)
        if rows.empty:
            raise QuestionError(f"event_plot: {fit.design} has no event time in the window {window}.")
    return rows.sort_values(along, ignore_index=True)


def since(unit: str, event: str = "first treated") -> str:
    """Say what event times are counted in, and since when."""
    return f"{capital(unit)}s since {event}"


def shown(path: pd.DataFrame, window: tuple[int, int]) -> pd.DataFrame:
    """Return the rows of a path that lie in the window of the figures."""
    return path[path["event_time"].between(*window)] if len(path) else path
