"""How large a violation of parallel trends would overturn an effect, or go unseen before it."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from study.core import FloatArray
from study.designs import find_design
from study.diagnostics.honest.finding import HonestDid
from study.diagnostics.pretrends import Pretrends
from study.panel import Scale
from study.paper.exhibits.exhibit import Drawn, Exhibited, Setting, Traced, draw
from study.paper.exhibits.verdicts import found, main_row, on_scale, scale_title, task_of, traced
from study.paper.plan import Row
from study.report import LETTERS, REFUSED, Block, Cell, Line, Number, Span, Table

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

EXHIBIT = "violations"
FIGURE = "honest"
RESTRICTIONS = {"relative_magnitudes": "Relative magnitudes", "smoothness": "Smoothness"}
NONE = "none"
LOW, HIGH = 0.5, 0.8
APART = 0.028


@dataclass(frozen=True, eq=False)
class Violated:
    """What one design says on one scale, by restriction; a finding that there is none of is None.

    Attributes
    ----------
    scale, label : str
        The label is that of the plan's row.
    honest : dict of str to HonestDid
    pretrends : Pretrends or None
    refused : tuple of str
    """

    scale: str
    label: str
    honest: dict[str, HonestDid]
    pretrends: Pretrends | None
    refused: tuple[str, ...]


def violations(setting: Setting) -> Exhibited:
    """Return the table of breakdown values and detectable trends, and the figure of intervals by violation."""
    rows = shown_rows(setting)
    made = [violated(setting, scale, row.label) for scale in setting.plan.scales for row in rows]
    shown = [one for one in made if one.honest or one.pretrends]
    if not shown:
        return Exhibited()
    return Exhibited(
        tables=(_table(setting, shown),),
        figures=(_drawn(setting, shown),) if any(one.honest for one in shown) else (),
        numbers=tuple(traced_ for one in shown for traced_ in _numbers(setting, one)),
        sentences=tuple(_sentences(setting, made)),
    )


def shown_rows(setting: Setting) -> list[Row]:
    """Return the plan's rows that have effects by event time and fit no learners, the headline first."""
    plan = setting.plan
    every = (plan.headline, *(row for row in plan.rows if row != plan.headline))
    designs = {row.label: find_design(row.name) for row in every}
    return [row for row in every if designs[row.label].estimand.has_path and not designs[row.label].draws]


def violated(setting: Setting, scale: str, label: str) -> Violated:
    """Return what a row of the plan says of violations on a scale."""
    asked = {name: found(setting, scale, f"honest_{name}", HonestDid, label) for name in RESTRICTIONS}
    trends = found(setting, scale, "pretrends", Pretrends, label)
    return Violated(
        scale,
        label,
        {name: one for name, one in asked.items() if isinstance(one, HonestDid)},
        trends if isinstance(trends, Pretrends) else None,
        tuple(dict.fromkeys(one for one in (*asked.values(), trends) if isinstance(one, str))),
    )


def _table(setting: Setting, shown: Sequence[Violated]) -> Table:
    plan, task = setting.plan, task_of(setting, shown[0].scale)
    scales = list(dict.fromkeys(one.scale for one in shown))
    blocks = [
        Block(
            f"Panel {letter}. {plan.scales[scale]}",
            [Line(one.label, _cells(one)) for one in shown if one.scale == scale],
        )
        for letter, scale in zip(LETTERS, scales, strict=False)
    ]
    first = next((one.pretrends for one in shown if one.pretrends), None)
    notes = [
        f"Outcome: {plan.text.outcome}, {plan.outcomes[task.outcome].lower()}; event: {task.event.title}. Breakdown "
        f"(Rambachan and Roth 2023): the largest M for which the {task.level:.0%} interval of the average effect "
        f"excludes zero; {NONE}: it includes zero even if M is 0. Sign: the least M at which zero is between the "
        "bounds, sampling error set aside.",
        "Relative magnitudes: after the event the gap to the comparison group changes, without an effect, by at most "
        "M times as much a year as its largest change before. Smoothness: its slope changes by at most M a year, in "
        "units of the effect; at M = 0 it goes on in a line, and Sign is about the line of its last change before.",
        *_turned(shown),
    ]
    if first is not None:
        notes.append(
            f"Trend: the slope a year of a linear violation that the test of effects before the event, each at "
            f"{1 - task.level:.0%}, finds with 50% or 80% power (Roth 2022). Bias: what that trend adds to the average "
            "effect. If passed: the same over samples that pass the test; empty where hardly any would. On the "
            "proportional scale trends are shares of the counterfactual mean in the years of the average."
        )
    return Table(
        name=EXHIBIT,
        caption="Violations of parallel trends: how large they may be, and which of them a pre-trend test would find",
        headings=[
            "Break.",
            "Sign",
            "Break.",
            "Sign",
            "Trend",
            "Bias",
            "If passed",
            "Trend",
            "Bias",
        ],
        spans=[
            Span("Rel. magnitudes", 2),
            Span("Smoothness", 2),
            Span("Found with 50% power", 3),
            Span("With 80%", 2),
        ],
        blocks=blocks,
        notes=[*notes, *_refusals(shown)],
        widths=[3.9],
    )


def _cells(one: Violated) -> list[Cell]:
    cells: list[Cell] = []
    for name in RESTRICTIONS:
        made = one.honest.get(name)
        if made is None:
            cells += [REFUSED, ""]
        else:
            cells += [NONE if made.breakdown is None else Number(made.breakdown), Number(made.overturning)]
    trends = one.pretrends
    if trends is None:
        cells += [REFUSED, "", "", "", ""]
    else:
        low, high = trends.slopes[LOW], trends.slopes[HIGH]
        cells += [Number(low), Number(bias(trends, low)), Number(bias_if_passed(trends))]
        cells += [Number(high), Number(bias(trends, high))]
    return cells


def bias(trends: Pretrends, slope: float) -> float:
    """Return what a linear trend adds to the average effect over the event times from treatment on."""
    times = trends.path.event_time[trends.path.n_pre :]
    return slope * float(np.mean(times[times >= 0] - trends.path.reference))


def bias_if_passed(trends: Pretrends) -> float:
    """Return the mean average effect, in size, over samples that pass the test under the trend found with 50% power.

    Roth (2022), Proposition 1; NaN where fewer than one sample in a million passes.
    """
    if trends.after_passing is None:
        return math.nan
    times = trends.path.event_time[trends.path.n_pre :]
    mean = float(trends.after_passing[trends.path.n_pre :][times >= 0].mean())
    return mean if (trends.slope or 0.0) >= 0 else -mean


def _turned(shown: Sequence[Violated]) -> list[str]:
    """Say which intervals lie on the other side of zero than the estimate once trends go on in a line."""
    told = []
    for one in shown:
        made = one.honest.get("smoothness")
        if made is None or made.M[0] > 0:
            continue
        if (made.high[0] < 0 < made.estimate) or (made.low[0] > 0 > made.estimate):
            told.append(f"{one.label} ({one.scale})")
    if not told:
        return []
    return [
        "If the trend before the event goes on in a line, the interval excludes zero on the other side than the "
        f"estimate: {'; '.join(told)}."
    ]


def _refusals(shown: Sequence[Violated]) -> list[str]:
    told = dict.fromkeys(why for one in shown for why in one.refused)
    return [f"{REFUSED} : refused. {' '.join(told)}"] if told else []


def _drawn(setting: Setting, shown: Sequence[Violated]) -> Drawn:
    task = task_of(setting, shown[0].scale)
    return draw(
        FIGURE,
        f"Intervals ({task.level:.0%}) for the average effect of the {task.event.title} if parallel trends fail by a "
        "bounded amount (Rambachan and Roth 2023), by design. Left: after the event trends differ by at most M times "
        "their largest change before it; M = 0 is parallel trends. Right: the slope of the difference changes by at "
        "most M a year, in shares of the upper bound that the effects before the event give; at 0 the trend before "
        "the event goes on in a line. Vertical lines: breakdown values, where there are any.",
        figure(setting, shown),
        "Vertical intervals that widen with M, in columns for two restrictions and rows for scales, with several "
        "designs side by side.",
    )


def figure(setting: Setting, shown: Sequence[Violated]) -> Figure:
    """Draw intervals by M: a row for each scale, a column for each restriction, designs side by side."""
    from study.figures import FULL, GREY, SERIES
    from study.figures.canvas import canvas

    scales = list(dict.fromkeys(one.scale for one in shown if one.honest))
    labels = list(dict.fromkeys(one.label for one in shown if one.honest))[: len(SERIES)]
    with canvas(FULL, 0.8 + 2.15 * len(scales)) as drawing:
        axes = drawing.subplots(len(scales), 2, sharex="col", squeeze=False)
        for row, scale in enumerate(scales):
            factor = Scale(scale).factor
            for column, (name, title) in enumerate(RESTRICTIONS.items()):
                axis = axes[row, column]
                axis.axhline(0, color=GREY, linewidth=0.8)
                for one in shown:
                    made = one.honest.get(name)
                    if one.scale == scale and one.label in labels and made is not None:
                        _draw_intervals(axis, made, labels.index(one.label), len(labels), one.label, factor)
                letter = LETTERS[2 * row + column]
                axis.set_title(f"{letter}. {title}, {scale_title(scale).lower()}", loc="left")
            axes[row, 0].set_ylabel(Scale(scale, "papers").short_axis())
        axes[-1, 0].set_xlabel("M, times the largest change before")
        axes[-1, 1].set_xlabel("M, as a share of its upper bound")
        handles = {
            label: handle
            for axis in axes.ravel()
            for handle, label in zip(*axis.get_legend_handles_labels(), strict=True)
        }
        drawing.legend(
            list(handles.values()), list(handles), loc="outside upper center", ncols=3, frameon=False
        )
    return drawing


def _draw_intervals(axis: Axes, made: HonestDid, place: int, count: int, label: str, factor: int) -> None:
    from study.figures import SERIES

    look, smooth = SERIES[place], made.restriction == "smoothness"
    at: FloatArray = np.append(-0.25 if smooth else 0.0, made.M / made.M.max() if smooth else made.M)
    width = 1.5 if smooth else 2.3
    at = at + (place - (count - 1) / 2) * APART * width
    low, high = np.append(made.original[0], made.low), np.append(made.original[1], made.high)
    middle = (low + high) / 2
    axis.errorbar(
        at,
        factor * middle,
        yerr=factor * (high - low) / 2,
        fmt=look.marker,
        markersize=3,
        linewidth=1.2,
        color=look.colour,
        label=label,
    )
    if made.breakdown is not None and made.breakdown <= made.M.max():
        line = made.breakdown / made.M.max() if smooth else made.breakdown
        axis.axvline(line, color=look.colour, linestyle=look.dashes, linewidth=0.9)
    if smooth:
        axis.set_xticks([-0.25, 0, 0.25, 0.5, 0.75, 1], ["parallel", "0", "1/4", "1/2", "3/4", "1"])


def _numbers(setting: Setting, one: Violated) -> Iterator[Traced]:
    task, scale, unit = task_of(setting, one.scale, one.label), one.scale, Scale(one.scale).printed
    names = (scale, one.label)
    for name, made in one.honest.items():
        relative = name == "relative_magnitudes"

        def text(value: float | None, relative: bool = relative) -> str:
            if value is None:
                return NONE
            return f"{value:.2f}" if relative else Scale(scale).number(value)

        what = "times the largest change before the event" if relative else f"change of slope a year, {unit}"
        short = "Relative" if relative else "Smooth"
        yield from traced(
            setting,
            EXHIBIT,
            task,
            ("honest", *names),
            [
                (f"{short}Breakdown", text(made.breakdown), f"breakdown value, {what}"),
                (f"{short}Sign", text(made.overturning), f"value at which the sign is lost, {what}"),
            ],
        )
        shown, at = (1.0, "RelativeOne") if relative else (0.0, "SmoothLine")
        if np.isclose(made.M, shown).any():
            k = int(np.flatnonzero(np.isclose(made.M, shown))[0])
            ends = (("Low", made.low[k], "lower"), ("High", made.high[k], "upper"))
            told = [
                (
                    f"{at}{end}",
                    Scale(scale).number(float(value)),
                    f"{side} end of the interval at M = {shown:g}, {unit}",
                )
                for end, value, side in ends
            ]
            yield from traced(setting, EXHIBIT, task, ("honest", *names), told)
    trends = one.pretrends
    if trends is not None:
        for power, part in ((LOW, "Half"), (HIGH, "EightTenths")):
            slope, with_power = trends.slopes[power], f"that the pre-trend test finds with {power:.0%} power"
            told = [
                (f"{part}Slope", Scale(scale).number(slope), f"linear trend a year {with_power}, {unit}"),
                (
                    f"{part}Bias",
                    Scale(scale).number(bias(trends, slope)),
                    f"bias of the average by the trend {with_power}",
                ),
            ]
            yield from traced(setting, EXHIBIT, task, ("pretrend", *names), told)
        rejected = str(int(trends.rejected.sum()))
        told = [
            (
                "IfPassed",
                Scale(scale).number(bias_if_passed(trends)),
                "bias of the average in samples that pass the test",
            ),
            ("Rejected", rejected, "effects before the event that are significant alone"),
        ]
        yield from traced(setting, EXHIBIT, task, ("pretrend", *names), told)


def _sentences(setting: Setting, made: Sequence[Violated]) -> Iterator[str]:
    headline = main_row(setting.plan).label
    for one in made:
        if one.label != headline:
            continue
        for finding in one.honest.values():
            yield on_scale(one.scale, finding.sentences[0])
        if one.pretrends is not None:
            yield from (on_scale(one.scale, told) for told in one.pretrends.sentences[:2])
    for label in dict.fromkeys(one.label for one in made if one.label != headline):
        values = [
            f"{one.scale} {NONE if (b := one.honest['relative_magnitudes'].breakdown) is None else f'{b:.2f}'}"
            for one in made
            if one.label == label and "relative_magnitudes" in one.honest
        ]
        if values:
            yield f"Breakdown values under relative magnitudes of {label}: {', '.join(values)}."
    yield from _turned(made)
    yield from dict.fromkeys(f"Not made, {one.label}: {why}" for one in made for why in one.refused)
