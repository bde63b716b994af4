"""Mean outcomes by year, by cohort of adoption and by size, as they are before any design."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from study.core import FloatArray
from study.panel import Sample
from study.paper.exhibits.exhibit import (
    RUN,
    Exhibited,
    Part,
    Setting,
    Source,
    Traced,
    address,
    addressed,
    asked,
    draw,
    exhibit,
)
from study.report import Column

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

EXHIBIT = "raw_means"
FEWEST = 5
MOST_WINDOWS = 4
MOST_LABELS = 4
SHOWN = 2
COLUMNS = {
    "first": Column("mean in the first period", "number", 2),
    "last": Column("mean in the last period", "number", 2),
    "growth": Column("mean in the last period over that in the first", "number", 2),
}


class Group(NamedTuple):
    """Units whose mean is one line: what they are called, which they are, and from which period they are treated.

    ``since`` is NaN for units that are not treated, or not at one time.
    """

    label: str
    member: NDArray[np.bool_]
    since: float = np.nan

    @property
    def size(self) -> int:
        """Number of units."""
        return int(self.member.sum())


@exhibit("Raw means by cohort", Part.QUESTION)
def raw_means(setting: Setting) -> Exhibited:
    """Return the figure of mean outcomes by year, by adoption window and by size, with the growth of each mean."""
    samples = _samples(setting)
    first = next(iter(samples.values()))
    if first.first_treated is None:
        return Exhibited(
            sentences=(
                "The event is not absorbing, so that there are no cohorts whose means could be shown.",
            )
        )
    plan = setting.plan
    cohorts, sizes = by_adoption(first), by_label(first, plan.strata)
    scale = "logarithmic axes" if _positive(samples) else "linear axes"
    caption = (
        f"Mean {plan.text.outcomes_with_units} by year, without any adjustment, {scale}; left by years of adoption "
        f"({plan.events[0].title}), markers filled from the first of them on; "
        + (
            f"right by {plan.strata}, of those that adopt inside the window and of those that never do. "
            if sizes
            else ""
        )
        + f"Numbers of {plan.text.units} in parentheses; adoption years are pooled so that each line has at least "
        f"{FEWEST}, and smaller groups are not drawn. Years without any outcome have no point on a logarithmic axis."
    )
    drawing = draw(
        EXHIBIT,
        caption,
        figure(setting, samples, cohorts, sizes),
        f"Lines of mean {plan.text.outcomes_with_units} by year: for {'; '.join(g.label for g in (*cohorts, *sizes))}.",
    )
    growth = [(title, g, means(s, g)) for title, s in samples.items() for g in _totals(s)]
    return Exhibited(
        figures=(drawing,),
        numbers=tuple(_numbers(setting, samples)),
        sentences=tuple(_sentences(setting, growth)),
    )


def _samples(setting: Setting) -> dict[str, Sample]:
    """Return the headline question's sample of each outcome in levels, by the outcome's title."""
    plan = setting.plan
    scale = next(iter(plan.scales))
    return {
        title: plan.task(plan.events[0], outcome, scale, plan.headline)
        .question.replace(scale="level")
        .sample(setting.panel)
        for outcome, title in list(plan.outcomes.items())[:SHOWN]
    }


def adoption_windows(years: FloatArray, sizes: NDArray[np.int64], last: float) -> list[tuple[float, float]]:
    """Return the adoption years pooled into windows of one width, the smallest that will do.

    Parameters
    ----------
    years : ndarray, shape (K,)
        Years in which some units adopt, ascending.
    sizes : ndarray of int, shape (K,)
        How many adopt in each.
    last : float
        The last year of the panel, where the last window ends.

    Returns
    -------
    list of tuple of float
        First and last year of each window that has units; each has FEWEST or more, and there are MOST_WINDOWS or fewer.
        Where no width does, one window with all; empty where that has fewer.
    """
    if not len(years) or sizes.sum() < FEWEST:
        return []
    span = int(last - years[0]) + 1
    for width in range(1, span + 1):
        place = (years - years[0]) // width
        totals = [sizes[place == k].sum() for k in np.unique(place)]
        if min(totals) >= FEWEST and len(totals) <= MOST_WINDOWS:
            starts = years[0] + np.unique(place) * width
            return [(float(a), float(min(a + width - 1, last))) for a in starts]
    return [(float(years[0]), float(last))]


def by_adoption(sample: Sample) -> list[Group]:
    """Return the groups by window of adoption, those that adopt after the panel, and those that never do."""
    first = sample.first_treated
    assert first is not None
    sizes = np.array([(first == g).sum() for g in sample.cohorts])
    groups = [
        Group(f"{a:.0f}-{b:.0f}" if b > a else f"{a:.0f}", (first >= a) & (first <= b), a)
        for a, b in adoption_windows(sample.cohorts, sizes, float(sample.periods[-1]))
    ]
    groups += [Group("later", first > sample.periods[-1]), Group("never", np.isnan(first))]
    return [group for group in groups if group.size >= FEWEST]


def by_label(sample: Sample, attribute: str) -> list[Group]:
    """Return, for each label of an attribute, those that adopt inside the window and those that never do.

    Labels are in the order of their mean outcome over all years, largest first; empty where there are more than
    MOST_LABELS of them.
    """
    first, labels = sample.first_treated, sample.attributes[attribute].astype(str)
    assert first is not None
    names = np.unique(labels)
    if len(names) > MOST_LABELS:
        return []
    order = sorted(names, key=lambda name: -float(np.nanmean(sample.y[labels == name])))
    groups = [
        Group(f"{name}, {which}", (labels == name) & chosen)
        for name in order
        for which, chosen in (("adopt", first <= sample.periods[-1]), ("never", np.isnan(first)))
    ]
    return [group for group in groups if group.size >= FEWEST]


def means(sample: Sample, group: Group) -> FloatArray:
    """Return a group's mean outcome by period, shape (T,); NaN where nobody is seen."""
    block = sample.y[group.member]
    seen = ~np.isnan(block)
    count = seen.sum(axis=0)
    return np.where(count > 0, np.where(seen, block, 0.0).sum(axis=0) / np.maximum(count, 1), np.nan)


def figure(
    setting: Setting, samples: dict[str, Sample], cohorts: Sequence[Group], sizes: Sequence[Group]
) -> Figure:
    """Draw outcomes below one another, adoption windows left, and right the attribute where it has few labels."""
    from study.figures import FULL
    from study.figures.canvas import canvas

    plan, sides = setting.plan, [side for side in (cohorts, sizes) if side]
    looks = [cohort_looks(cohorts), label_looks(sizes)][: len(sides)]
    titles = ["By years of adoption", f"By {plan.strata}: adopters, never treated"]
    height = 0.5 + 2.05 * len(samples) + _legend_height(sides)
    with canvas(FULL, height) as drawing:
        axes = drawing.subplots(len(samples), len(sides), sharex=True, sharey="row", squeeze=False)
        for row, (title, sample) in zip(axes, samples.items(), strict=True):
            for axis, groups, look in zip(row, sides, looks, strict=True):
                for group, style in zip(groups, look, strict=True):
                    _draw_line(axis, sample, group, style)
                if _positive(samples):
                    _logarithmic(axis)
            row[0].set_ylabel(f"{title},\nmean {plan.text.outcomes_with_units}", fontsize=8)
        for k, axis in enumerate(axes[0]):
            axis.set_title(titles[k])
        below = _legend_height(sides) / height
        drawing.set_layout_engine("constrained", rect=(0, below, 1, 1 - below))
        for axis in axes[-1]:
            axis.legend(
                loc="upper left",
                bbox_to_anchor=(-0.15, -0.13),
                ncols=2,
                frameon=False,
                fontsize=7,
                handlelength=2.1,
                handletextpad=0.4,
                columnspacing=0.6,
            ).set_in_layout(False)
    return drawing


def _legend_height(sides: Sequence[Sequence[Group]]) -> float:
    """Return the inches that the longest legend needs, two columns a side."""
    return 0.15 + 0.16 * max(-(-len(side) // 2) for side in sides)


def cohort_looks(groups: Sequence[Group]) -> list[dict[str, Any]]:
    """Return how adoption windows are drawn: from dark to light, those that never adopt last."""
    from study.figures import SERIES

    treated = iter(SERIES)
    looks = {"later": ("0.55", "x", "-"), "never": ("0.75", "+", "-")}
    return [_look(*(looks[g.label] if g.label in looks else next(treated))) for g in groups]


def label_looks(groups: Sequence[Group]) -> list[dict[str, Any]]:
    """Return how labels are drawn: one shade and marker each, dashed with hollow markers where they never adopt."""
    from study.figures import SERIES

    names = list(dict.fromkeys(g.label.rpartition(", ")[0] for g in groups))
    looks = []
    for group in groups:
        name, _, which = group.label.rpartition(", ")
        series = SERIES[names.index(name)]
        hollow = {"markerfacecolor": "white"} if which == "never" else {}
        looks.append(_look(series.colour, series.marker, (0, (2.5, 1.2)) if hollow else "-") | hollow)
    return looks


def _look(colour: str, marker: str, dashes: Any) -> dict[str, Any]:
    return {"color": colour, "marker": marker, "linestyle": dashes, "markersize": 3.6, "linewidth": 1.2}


def _draw_line(axis: Axes, sample: Sample, group: Group, look: dict[str, Any]) -> None:
    """Draw a group's mean by period; until it adopts, its markers are hollow."""
    values = means(sample, group)
    label = f"{group.label} ({group.size:,})"
    axis.plot(sample.periods, values, label=label, **look)
    if not np.isnan(group.since):
        before = sample.periods < group.since
        hollow = look | {"linestyle": "none", "markerfacecolor": "white"}
        axis.plot(sample.periods[before], values[before], **hollow)


def _positive(samples: dict[str, Sample]) -> bool:
    return all(bool(np.nanmin(s.y) >= 0) for s in samples.values())


def _logarithmic(axis: Axes) -> None:
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    axis.set_yscale("log", nonpositive="mask")
    axis.yaxis.set_major_locator(LogLocator(subs=(1.0,)))
    axis.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.yaxis.set_minor_formatter(NullFormatter())


def _totals(sample: Sample) -> list[Group]:
    """Return all that adopt inside the window, and all that never do."""
    first = sample.first_treated
    assert first is not None
    return [Group("Treated", first <= sample.periods[-1]), Group("Never", np.isnan(first))]


def _numbers(setting: Setting, samples: dict[str, Sample]) -> Iterator[Traced]:
    plan, panel = setting.plan, setting.panel
    for outcome, sample in zip(plan.outcomes, samples.values(), strict=False):
        for group in _totals(sample):
            by_period = means(sample, group)
            who = "first treated inside the window" if group.label == "Treated" else "never treated"
            source = Source(
                EXHIBIT,
                f"of {plan.text.units} {who}, {outcome}",
                panel.name,
                panel.checksum,
                RUN,
                question=asked(sample.question),
            )
            values = {"first": by_period[0], "last": by_period[-1], "growth": _ratio(by_period)}
            yield from addressed(address(EXHIBIT, outcome, group.label), values, source, columns=COLUMNS)


def _ratio(values: FloatArray) -> float:
    return float(values[-1] / values[0]) if values[0] > 0 else np.nan


def _sentences(setting: Setting, growth: Sequence[tuple[str, Group, FloatArray]]) -> Iterator[str]:
    units = setting.plan.text.units
    for title, group, values in growth:
        who = f"{group.size:,} {units} " + (
            "first treated inside the window" if group.label == "Treated" else "never treated"
        )
        ratio = _ratio(values)
        times = "" if np.isnan(ratio) else f", {ratio:.1f} times as many"
        yield (
            f"{title}: the mean of {who} went from {values[0]:.2f} in the first period to {values[-1]:.2f} in the "
            f"last{times}."
        )
    yield "Groups that adopt differ from others before they do, so that their later distance is no effect."
