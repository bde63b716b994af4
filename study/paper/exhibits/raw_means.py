"""Mean outcomes by year, by cohort of adoption and by size, as they are before any design."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from study.core import FloatArray, capital
from study.figures import (
    FULL,
    SERIES,
    Axes,
    Figure,
    Group,
    adoption_groups,
    canvas,
    draw_means,
    name_periods,
    series_look,
)
from study.panel import Sample
from study.paper.exhibits.exhibit import Part, Piece, Setting, draw, exhibit, question_text
from study.report import Column

EXHIBIT = "raw_means"
FEWEST = 5
MOST_LABELS = 4
COLUMNS = {
    "first": Column("mean in the first period", "number", 2),
    "last": Column("mean in the last period", "number", 2),
    "growth": Column("mean in the last period over that in the first", "number", 2),
}


@exhibit("Raw means by cohort", Part.QUESTION)
def raw_means(setting: Setting) -> Iterator[Piece]:
    """Yield the figure of mean outcomes by year, by adoption window and by size, with the growth of each mean."""
    samples, plan, text = _samples(setting), setting.plan, setting.plan.text
    first = next(iter(samples.values()))
    if first.first_treated is None:
        yield "The event is not absorbing, so that there are no cohorts whose means could be shown."
        return
    cohorts, sizes = by_adoption(first), by_label(first, str(plan.strata))
    unit = setting.panel.period_unit
    right = f"right by {plan.strata}, of those that adopt inside the window and of those that never do. "
    yield draw(
        EXHIBIT,
        f"Mean {text.outcomes_with_units} by {unit}, without any adjustment, "
        f"{'logarithmic' if _positive(samples) else 'linear'} axes; left by {unit}s of adoption "
        f"({setting.event.title}), markers filled from the first of them on; {right if sizes else ''}Numbers of "
        f"{text.units} in parentheses; "
        f"adoption {unit}s are pooled so that each line has at least {FEWEST}, and smaller groups are not drawn. "
        f"{capital(unit)}s without any outcome have no point on a logarithmic axis.",
        figure(setting, samples, cohorts, sizes),
        f"Lines of mean {text.outcomes_with_units} by {unit}: for {'; '.join(g.label for g in (*cohorts, *sizes))}.",
    )
    for (outcome, title), sample in zip(plan.outcomes.items(), samples.values(), strict=False):
        dates = _dates(sample)
        treated, question = dates <= sample.periods[-1], question_text(sample.question)
        groups = {"first treated inside the window": Group("Treated", treated)}
        groups["never treated"] = Group("Never", np.isnan(dates))
        for who, group in groups.items():
            start, *_, end = group.means(sample.y).tolist()
            growth = end / start if start > 0 else np.nan
            values, at = {"first": start, "last": end, "growth": growth}, (EXHIBIT, outcome, group.label)
            about = f"of {text.units} {who}, {outcome}"
            yield from setting.numbers(at, values, COLUMNS, quantity=about, question=question)
            times = "" if np.isnan(growth) else f", {growth:.1f} times as many"
            yield (
                f"{title}: the mean of {group.size:,} {text.units} {who} went from {start:.2f} in the first period "
                f"to {end:.2f} in the last{times}."
            )
    yield "Groups that adopt differ from others before they do, so that their later distance is no effect."


def _samples(setting: Setting) -> dict[str, Sample]:
    """Return the headline question's sample of each outcome in levels, by the outcome's title."""
    plan = setting.plan
    samples = {}
    for outcome, title in list(plan.outcomes.items())[:2]:
        question = plan.task(setting.event, outcome, setting.scale, plan.headline).question
        samples[title] = question.replace(scale="level").sample(setting.panel)
    return samples


def _dates(sample: Sample) -> FloatArray:
    """Return the first treated periods of a treatment that is absorbing."""
    assert sample.first_treated is not None
    return sample.first_treated


def by_adoption(sample: Sample) -> list[Group]:
    """Return the groups by window of adoption, those that adopt after the panel, and those that never do."""
    return adoption_groups(sample.panel, _dates(sample), sample.periods, FEWEST)


def by_label(sample: Sample, attribute: str) -> list[Group]:
    """Return, for each label of an attribute, those that adopt inside the window and those that never do.

    Labels are in the order of their mean outcome over all years, largest first; empty where there are more than
    MOST_LABELS of them.
    """
    first, labels = _dates(sample), sample.attributes[attribute].astype(str)
    names = np.unique(labels)
    if len(names) > MOST_LABELS:
        return []
    order = sorted(names, key=lambda name: -float(np.nanmean(sample.y[labels == name])))
    adopts, hollow = first <= sample.periods[-1], {"linestyle": (0, (2.5, 1.2)), "markerfacecolor": "white"}
    groups = []
    for name, series in zip(order, SERIES, strict=False):
        own, never = labels == name, np.isnan(first)
        groups.append(Group(f"{name}, adopt", own & adopts, series_look(series, linestyle="-")))
        groups.append(Group(f"{name}, never", own & never, series_look(series, **hollow)))
    return [group for group in groups if group.size >= FEWEST]


def figure(
    setting: Setting, samples: dict[str, Sample], cohorts: Sequence[Group], sizes: Sequence[Group]
) -> Figure:
    """Draw outcomes below one another, adoption windows left, and right the attribute where it has few labels."""
    plan, logarithmic = setting.plan, _positive(samples)
    adoption = f"By {setting.panel.period_unit}s of adoption"
    sides = {adoption: cohorts, f"By {plan.strata}: adopters, never treated": sizes}
    sides = {title: groups for title, groups in sides.items() if groups}
    # The inches that the longest legend needs, two columns a side.
    legend = 0.15 + 0.16 * max(-(-len(groups) // 2) for groups in sides.values())
    height = 0.5 + 2.05 * len(samples) + legend
    with canvas(FULL, height) as drawing:
        axes = drawing.subplots(len(samples), len(sides), sharex=True, sharey="row", squeeze=False)
        for row, (title, sample) in zip(axes, samples.items(), strict=True):
            for axis, groups in zip(row, sides.values(), strict=True):
                for group in groups:
                    draw_means(axis, sample.periods, sample.y, group)
                name_periods(axis, sample.panel)
                if logarithmic:
                    _logarithmic(axis)
            row[0].set_ylabel(f"{title},\nmean {plan.text.outcomes_with_units}", fontsize=8)
        drawing.set_layout_engine("constrained", rect=(0, legend / height, 1, 1 - legend / height))
        spacing = {"handlelength": 2.1, "handletextpad": 0.4, "columnspacing": 0.6, "fontsize": 7, "ncols": 2}
        for top, bottom, title in zip(axes[0], axes[-1], sides, strict=True):
            top.set_title(title)
            below = bottom.legend(loc="upper left", bbox_to_anchor=(-0.15, -0.13), frameon=False, **spacing)
            below.set_in_layout(False)
    return drawing


def _positive(samples: dict[str, Sample]) -> bool:
    return all(bool(np.nanmin(s.y) >= 0) for s in samples.values())


def _logarithmic(axis: Axes) -> None:
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    axis.set_yscale("log", nonpositive="mask")
    axis.yaxis.set_major_locator(LogLocator(subs=(1.0,)))
    axis.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.yaxis.set_minor_formatter(NullFormatter())
