"""Who is treated when, and mean outcomes by cohort of adoption, as they are before any design."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import groupby
from textwrap import fill
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from study.core import BoolArray, FloatArray, IntArray, QuestionError, capital, checked, refuse_unknown
from study.figures.drawing import (
    COLOUR,
    FULL,
    GREY,
    LONGEST,
    LOOK,
    SERIES,
    Axes,
    Figure,
    in_lines,
    name_periods,
    panels,
    series_look,
)
from study.panel import Panel

MOST_WINDOWS = 4
MOST_ROWS = 60
LATER, NEVER = ({"color": colour, "marker": marker} for colour, marker in (("0.55", "x"), ("0.75", "+")))
ALREADY = {"color": "0.35", "marker": "*", "linestyle": ":"}
# Of cells, by what is known of them.
UNSEEN, UNTREATED, TREATED = -1, 0, 1
CELLS = {UNTREATED: ("#DCEAF5", "not treated"), TREATED: (COLOUR, "treated")}


class Group(NamedTuple):
    """Units whose mean is one line: what they are called, which they are, how it is drawn, when they are treated.

    ``since`` is NaN for units that are not treated, or not at one time.
    """

    label: str
    member: BoolArray
    look: dict[str, Any] = LOOK
    since: float = np.nan

    @property
    def size(self) -> int:
        """Number of units."""
        return int(self.member.sum())

    def means(self, outcome: FloatArray) -> FloatArray:
        """Return the mean of an outcome, shape (n, T), by period, shape (T,); NaN where nobody is seen."""
        return pd.DataFrame(outcome[self.member]).mean().to_numpy()


def adoption_windows(
    years: FloatArray, sizes: IntArray, last: float, fewest: int = 5
) -> list[tuple[float, float]]:
    """Return the adoption years pooled into windows of one width, the smallest that will do.

    Parameters
    ----------
    years : ndarray, shape (K,)
        Years in which some units adopt, ascending.
    sizes : ndarray of int, shape (K,)
        How many adopt in each.
    last : float
        The last year of the panel, where the last window ends.
    fewest : int
        Units of a window, at the least.

    Returns
    -------
    list of tuple of float
        First and last year of each window that has units; each has ``fewest`` or more, and there are MOST_WINDOWS or
        fewer. Where no width does, one window with all; empty where that has fewer.
    """
    if not len(years) or sizes.sum() < fewest:
        return []
    for width in range(1, int(last - years[0]) + 2):  # the widest is one window with all
        totals = pd.Series(sizes).groupby(years - (years - years[0]) % width).sum()
        if totals.min() >= fewest and len(totals) <= MOST_WINDOWS:
            break
    return [(float(a), float(min(a + width - 1, last))) for a in totals.index]


def adoption_groups(panel: Panel, dates: FloatArray, periods: IntArray, fewest: int) -> list[Group]:
    """Return the groups by window of adoption, those treated already, those that adopt later, and those never treated.

    Parameters
    ----------
    panel : Panel
        Which names the periods.
    dates : ndarray, shape (n,)
        First treated periods, NaN = never.
    periods : ndarray of int, shape (T,)
    fewest : int
        Units of a group, at the least.
    """
    first, last = periods[0], periods[-1]
    years, sizes = np.unique(dates[(dates > first) & (dates <= last)], return_counts=True)
    windows = adoption_windows(years, sizes, float(last), fewest)
    # From dark to light, those that never adopt last.
    groups = [
        Group(panel.window(np.array([a, b])), (dates >= a) & (dates <= b), series_look(series), a)
        for (a, b), series in zip(windows, SERIES, strict=False)
    ]
    groups += [
        Group("already treated", dates <= first, LOOK | ALREADY),
        Group("later", dates > last, LOOK | LATER),
        Group("never", np.isnan(dates), LOOK | NEVER),
    ]
    return [group for group in groups if group.size >= fewest]


def draw_means(axis: Axes, periods: IntArray, outcome: FloatArray, group: Group) -> None:
    """Draw a group's mean of an outcome, shape (n, T), by period; until it adopts, its markers are hollow."""
    values, before = group.means(outcome), periods < group.since
    axis.plot(periods, values, label=f"{group.label} ({group.size})", **group.look)
    if before.any():
        hollow = group.look | {"linestyle": "none", "markerfacecolor": "white"}
        axis.plot(periods[before], values[before], **hollow)


@checked
def adoption_plot(
    panel: Panel,
    event: str,
    outcome: str | None = None,
    *,
    title: str | None = None,
    labels: Mapping[str, str] | None = None,
) -> Figure:
    """Draw who is treated when, a row a treatment history, and below it the mean outcome by cohort of adoption.

    Parameters
    ----------
    panel : Panel
    event : str
        An event of the panel; a reversible one has a row for each path of treatment.
    outcome : str, optional
        Its first outcome if none is given.
    title : str, optional
    labels : mapping of str to str, optional
        What event, outcome and unit of the period are called on the figure, by their names.

    Returns
    -------
    matplotlib Figure
        With two axes. Cells in which no unit of a row has an outcome, or of which the treatment is not known, are
        crosses. Adoption periods are pooled so that there are four lines of adopters at most; their markers are filled
        from the first of them on. Units whose date is ambiguous have a row, and no part in the means.

    Raises
    ------
    QuestionError
        If the panel has no such event or outcome, or the event has more than 60 treatment histories.
    """
    words, outcome = labels or {}, outcome or next(iter(panel.outcomes))
    refuse_unknown("event", event, panel.events, f"plot of {panel.name}")
    refuse_unknown("outcome", outcome, panel.outcomes, f"plot of {panel.name}")
    values, periods = panel.outcomes[outcome], panel.periods
    rows = histories(panel, event)
    if len(rows) > MOST_ROWS:
        raise QuestionError(
            f"plot of {panel.name}: {event} has {len(rows)} treatment histories, and a figure has room for "
            f"{MOST_ROWS}; plot fewer units."
        )
    cells = np.array([path for _, path in rows])
    for row, (group, _) in zip(cells, rows, strict=True):
        row[np.isnan(values[group.member]).all(axis=0)] = UNSEEN
    tall = 0.35 + 0.19 * len(rows)
    ratios = [tall, 2.4]
    with panels(None, 2, 1, FULL, 3.3 + tall, sharex=True, height_ratios=ratios) as (figure, (above, below)):
        _draw_cells(above, periods, cells, [f"{group.label} ({group.size})" for group, _ in rows])
        for group in mean_groups(panel, event):
            draw_means(below, periods, values, group)
        heading = title or f"{words.get(event, event)}: treatment history (number of units)"
        above.set_title(in_lines(figure, heading))
        below.set_ylabel(fill(f"Mean {words.get(outcome, outcome)}", LONGEST))
        below.set_xlabel(capital(words.get(panel.period_unit, panel.period_unit)))
        name_periods(below, panel.periods, panel.period_name)
        how: Any = {"frameon": False, "fontsize": 7, "loc": "upper left", "bbox_to_anchor": (1, 1)}
        for axis in (above, below):
            axis.legend(**how)
    return figure


def histories(panel: Panel, event: str) -> list[tuple[Group, FloatArray]]:
    """Return units by treatment history with its path, shape (T,): 1 treated, 0 not, -1 not known."""
    periods = panel.periods
    if event not in panel.first_treated:
        paths, of_unit = np.unique(
            np.where(np.isnan(panel.path(event)), UNSEEN, panel.path(event) != 0), axis=0, return_inverse=True
        )
        rows = [(Group(_spells(panel, path), of_unit.ravel() == k), path) for k, path in enumerate(paths)]
        return rows[::-1]
    dates, unknown = _dates(panel, event)
    first, last = periods[[0, -1]]
    bounded = np.where(np.isnan(dates), np.inf, np.clip(dates, first, last + 1))
    labels = {first: f"{panel.period_name(first)} or before", last + 1: "later", np.inf: "never"}
    rows = []
    for date in np.unique(bounded[~unknown]):
        label = labels[date] if date in labels else panel.period_name(date)
        rows.append((Group(label, ~unknown & (bounded == date)), (periods >= date).astype(float)))
    ambiguous = Group("date ambiguous", unknown), np.full(len(periods), float(UNSEEN))
    return [*rows, ambiguous] if unknown.any() else rows


def mean_groups(panel: Panel, event: str) -> list[Group]:
    """Return the groups whose means are lines: by adoption, or of a reversible treatment, by ever treated."""
    if event in panel.first_treated:
        dates, unknown = _dates(panel, event)
        return [
            known
            for group in adoption_groups(panel, dates, panel.periods, 1)
            if (known := group._replace(member=group.member & ~unknown)).size
        ]
    ever = (np.nan_to_num(panel.path(event)) != 0).any(axis=1)
    return [Group("ever treated", ever, series_look(SERIES[1])), Group("never", ~ever, LOOK | NEVER)]


def _dates(panel: Panel, event: str) -> tuple[FloatArray, BoolArray]:
    """Return first treated periods, and which units have a date that is ambiguous."""
    unknown = panel.ambiguous.get(event, {}) if panel.ambiguous_rule == "drop" else {}
    return panel.first_treated[event], np.isin(panel.units, [*unknown])


def _spells(panel: Panel, path: FloatArray) -> str:
    """Return in which periods a unit is treated, as runs of them."""
    runs = [[*run] for treated, run in groupby(range(len(path)), lambda t: path[t] == TREATED) if treated]
    return ", ".join(panel.window(panel.periods[run]) for run in runs) or "never"


def _draw_cells(axis: Axes, periods: IntArray, cells: FloatArray, labels: list[str]) -> None:
    """Draw what is known of each row in each period, the first row on top."""
    from matplotlib.colors import ListedColormap
    from matplotlib.patches import Rectangle

    colours = ListedColormap(["white", *(colour for colour, _ in CELLS.values())])
    sides = np.append(periods, periods[-1] + 1) - 0.5, np.arange(len(labels) + 1) - 0.5
    axis.pcolormesh(*sides, cells, cmap=colours, vmin=-1.5, vmax=1.5, edgecolor="white", linewidth=0.8)
    for colour, name in CELLS.values():
        axis.add_patch(Rectangle((periods[0], 0), 0, 0, color=colour, label=name))
    rows, columns = np.nonzero(cells == UNSEEN)
    if len(rows):
        axis.plot(periods[columns], rows, "x", color=GREY, markersize=4, label="not observed")
    axis.set_yticks(range(len(labels)), labels, fontsize=7)
    axis.set_ylim(len(labels) - 0.5, -0.5)
    axis.tick_params(length=0)
    axis.spines[:].set_visible(False)
