"""Mean outcomes by year, by cohort of adoption and by size, as they are before any design."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from study import figures
from study.core import BoolArray, FloatArray, decimals
from study.figures import Figure, Group
from study.panel import Sample
from study.paper import Part, Piece, Setting, draw, exhibit, question_text
from study.paper.exhibits.balance import in_a_sentence
from study.report import Column

FEWEST = 5
MOST_LABELS = 4
TICK_LETTERS = 32  # of all names of periods below the axes, beside which lines are named
POOLED = {"color": figures.BAND, "linewidth": 4.0, "solid_capstyle": "butt"}
COLUMNS = {
    "first": Column("mean in the first period", "number", 2),
    "last": Column("mean in the last period", "number", 2),
    "growth": Column("mean in the last period over that in the first", "number", 2),
    "ratio": Column("mean of the treated over that of the never treated in the first period", "number", 2),
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
    for outcome, sample in samples.items():
        yield from _growth(setting, sample, outcome)
    unit, absent = setting.panel.period_unit, not_drawn(first, str(plan.strata), sizes)
    yield draw(
        "raw_means",
        f"Mean {text.outcomes_with_units} of {text.units} by {unit}s of adoption"
        f"{f' and by {in_a_sentence(setting, str(plan.strata))}' if sizes else ''}, without any adjustment."
        f"{f' Not drawn, for few {text.units} or a mean of zero: {absent}.' if absent else ''}",
        figure(setting, first, cohorts, sizes),
        f"Lines of mean {text.outcomes_with_units} by {unit}: for {'; '.join(g.label for g in (*cohorts, *sizes))}.",
    )
    yield "Groups that adopt differ from others before they do, so that their later distance is no effect."


def _growth(setting: Setting, sample: Sample, outcome: str) -> Iterator[Piece]:
    """Yield the first and last means of those treated inside the window and of those never treated."""
    units, question = setting.plan.text.units, question_text(sample.question)
    groups = {
        "first treated inside the window": Group("treated", adopters(sample)),
        "never treated": Group("never", np.isnan(_dates(sample))),
    }
    for who, group in groups.items():
        if not group.size:
            continue
        start, *_, end = group.means(sample.y).tolist()
        growth = end / start if start > 0 and end >= 0 else np.nan
        values, at = {"first": start, "last": end, "growth": growth}, (outcome, group.label)
        about = f"of {units} {who}, {outcome}"
        yield from setting.numbers(at, values, COLUMNS, quantity=about, question=question)
        times = "" if np.isnan(growth) else f", and grew {growth:.1f}-fold"
        title, n = setting.plan.outcomes[outcome], group.size
        yield f"{title}: the mean of {n} {units} {who} was {start:.{decimals(2, start)}f} in the first period{times}."
    treated, never = (group.means(sample.y)[0] for group in groups.values())
    ratio = {"ratio": treated / never if never > 0 else np.nan}
    yield from setting.numbers(outcome, ratio, COLUMNS, quantity=outcome, question=question)


def _samples(setting: Setting) -> dict[str, Sample]:
    """Return the headline question's sample of each of the first two outcomes in levels, by outcome."""
    questions = {outcome: setting.task(outcome=outcome).question for outcome in [*setting.plan.outcomes][:2]}
    return {name: q.replace(scale="level").sample(setting.panel) for name, q in questions.items()}


def _dates(sample: Sample) -> FloatArray:
    """Return the first treated periods of a treatment that is absorbing."""
    assert sample.first_treated is not None
    return sample.first_treated


def adopters(sample: Sample) -> BoolArray:
    """Return who is first treated inside the window."""
    return _dates(sample) <= sample.periods[-1]


def by_adoption(sample: Sample) -> list[Group]:
    """Return the groups by window of adoption, those that adopt after the panel, and those that never do."""
    return figures.adoption_groups(sample.panel, _dates(sample), sample.periods, FEWEST)


def by_label(sample: Sample, attribute: str) -> list[Group]:
    """Return, for each label of an attribute, those that adopt inside the window and those that never do.

    Labels are in the order of their mean outcome over all years, largest first, without those of which either group
    has fewer than FEWEST or, where all else can be on a logarithmic axis, a mean that cannot; empty where there are
    more than MOST_LABELS of them.
    """
    first, labels = _dates(sample), sample.attributes[attribute].astype(str)
    names = np.unique(labels)
    if len(names) > MOST_LABELS:
        return []
    order = sorted(names, key=lambda name: -float(np.nanmean(sample.y[labels == name])))
    adopts, hollow = adopters(sample), {"linestyle": (0, (2.5, 1.2)), "markerfacecolor": "white"}
    groups, logarithmic = [], _positive(sample, by_adoption(sample))
    for name, series in zip(order, figures.SERIES, strict=False):
        own, never = labels == name, np.isnan(first)
        pair = [
            Group(f"{name}, adopt", own & adopts, figures.series_look(series, linestyle="-")),
            Group(f"{name}, never", own & never, figures.series_look(series, **hollow)),
        ]
        if min(group.size for group in pair) >= FEWEST and (not logarithmic or _positive(sample, pair)):
            groups += pair
    return groups


def not_drawn(sample: Sample, attribute: str, drawn: Sequence[Group]) -> str:
    """Return the labels of an attribute that :func:`by_label` leaves out, where it shows others."""
    shown = {group.label.rpartition(",")[0] for group in drawn}
    names = np.unique(sample.attributes[attribute].astype(str)).tolist()
    return "; ".join(name for name in names if name not in shown) if drawn else ""


def figure(setting: Setting, sample: Sample, cohorts: Sequence[Group], sizes: Sequence[Group]) -> Figure:
    """Draw the outcome's means by adoption windows, and beside it by the attribute where it has few labels.

    All that adopt inside the window are one more line, below those of their windows.
    """
    from matplotlib.ticker import MaxNLocator, NullFormatter

    pooled, strata = Group("all adopters", adopters(sample), POOLED), str(setting.plan.strata)
    windows = [*[pooled] * (pooled.size >= FEWEST), *cohorts]
    sides = {f"By {setting.panel.period_unit}s of adoption (filled: adopted)": windows}
    if sizes:
        absent = not_drawn(sample, strata, sizes)
        missing = f";\nnot drawn: {absent}" if absent else ""
        sides[f"By {in_a_sentence(setting, strata)} (dashed: never treated{missing})"] = [*sizes]
    with figures.canvas(figures.FULL, 2.6) as drawing:
        axes = drawing.subplots(1, len(sides), sharey=True, squeeze=False)[0]
        for axis, (title, groups) in zip(axes, sides.items(), strict=True):
            for group in groups:
                figures.draw_means(axis, sample.periods, sample.y, group)
            figures.name_periods(
                axis, sample.panel.periods, sample.panel.period_name, TICK_LETTERS // len(sides)
            )
            axis.set_title(title, fontsize=8, loc="left")
            if _positive(sample, [*cohorts, *sizes]):
                axis.set_yscale("log", nonpositive="mask")
                axis.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
                axis.yaxis.set_minor_formatter(NullFormatter())
        low, high = axes[0].get_ylim()
        if 0 < high < 10 * low:  # decades alone would leave one number on the axis, or none
            axes[0].yaxis.set_major_locator(MaxNLocator(4))
        axes[0].set_ylabel(f"Mean {setting.plan.text.outcomes_with_units}")
        figures.label_ends(drawing, *axes)
    return drawing


def _positive(sample: Sample, groups: Sequence[Group]) -> bool:
    """Whether all means of all groups can be on a logarithmic axis, so that no line breaks off."""
    return all(bool(np.nanmin(group.means(sample.y)) > 0) for group in groups)
