"""How large a violation of parallel trends would overturn an effect, or go unseen before it."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Mapping
from typing import TYPE_CHECKING

import numpy as np

from study.designs import find_design
from study.diagnostics import Finding
from study.figures import FULL, GREY, SERIES
from study.figures.canvas import canvas
from study.panel import Scale
from study.paper.exhibits.exhibit import Drawn, Exhibited, Part, Setting, Traced, address, draw, exhibit
from study.paper.exhibits.verdicts import diagnosed, found, main_row, on_scale, scale_title, task_of
from study.paper.plan import Row
from study.report import LETTERS, REFUSED, Block, Cell, Column, Line, Number, Span, Table

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Findings by the diagnostic's name, and those by scale and label of the plan's row.
Findings = Mapping[str, Finding]
ByRow = Mapping[tuple[str, str], Findings]

EXHIBIT = "violations"
FIGURE = "honest"
RESTRICTIONS = {"honest_relative_magnitudes": "Relative magnitudes", "honest_smoothness": "Smoothness"}
NONE = "none"
LOW, HIGH = 0.5, 0.8
APART = 0.028
OF_RESTRICTIONS = {
    "honest_relative_magnitudes": {
        "breakdown": Column("breakdown value, times the largest change before the event", digits=2),
        "sign_change": Column("value at which the sign changes, times the largest change before", digits=2),
    },
    "honest_smoothness": {
        "breakdown": Column("breakdown value, change of slope a year", "effect"),
        "sign_change": Column("value at which the sign changes, change of slope a year", "effect"),
    },
}
OF_TRENDS = {
    "slope": Column("linear trend a year that the pre-trend test detects", "effect"),
    "bias": Column("bias of the average by the linear trend that the pre-trend test detects", "effect"),
    "bias_if_passed": Column("bias of the average in samples that pass the pre-trend test", "effect"),
    "significant": Column("effects before the event that are significant on their own", "count"),
}


@exhibit("Violations of parallel trends", Part.OBJECTIONS)
def violations(setting: Setting) -> Exhibited:
    """Return the table of breakdown values and detectable trends, and the figure of intervals by violation."""
    shown: dict[tuple[str, str], Findings] = {}
    not_made: dict[str, None] = {}
    dashes: dict[str, None] = {}
    for scale in setting.plan.scales:
        for label in (row.label for row in shown_rows(setting)):
            answers = {name: found(setting, scale, name, label) for name in (*RESTRICTIONS, "pretrends")}
            refusals = [answer for answer in answers.values() if isinstance(answer, str)]
            findings = {name: answer for name, answer in answers.items() if isinstance(answer, Finding)}
            not_made |= dict.fromkeys(f"Not made, {label}: {why}" for why in refusals)
            if findings:
                shown[scale, label] = findings
                dashes |= dict.fromkeys(refusals)
    if not shown:
        return Exhibited()
    bounded = any(findings.keys() & RESTRICTIONS for findings in shown.values())
    return Exhibited(
        tables=(_table(setting, shown, dashes),),
        figures=(_drawn(setting, shown),) if bounded else (),
        numbers=tuple(number for row in shown for number in _numbers(setting, *row, shown[row])),
        sentences=(*_sentences(setting, shown), *not_made),
    )


def shown_rows(setting: Setting) -> list[Row]:
    """Return the plan's rows that have effects by event time and fit no learners, the headline first."""
    plan = setting.plan
    every = (plan.headline, *(row for row in plan.rows if row != plan.headline))
    designs = {row.label: find_design(row.name) for row in every}
    return [row for row in every if designs[row.label].estimand.has_path and not designs[row.label].draws]


def _table(setting: Setting, shown: ByRow, refused: Collection[str]) -> Table:
    plan, scales = setting.plan, list(dict.fromkeys(scale for scale, _ in shown))
    task = task_of(setting, scales[0])
    blocks = [
        Block(
            f"Panel {letter}. {plan.scales[scale]}",
            [Line(label, _cells(findings)) for (of, label), findings in shown.items() if of == scale],
        )
        for letter, scale in zip(LETTERS, scales, strict=False)
    ]
    notes = [
        f"Outcome: {plan.text.outcome}, {plan.outcomes[task.outcome].lower()}; event: {task.event.title}. Breakdown "
        f"(Rambachan and Roth 2023): the largest M for which the {task.level:.0%} interval of the average effect "
        f"excludes zero; {NONE}: it includes zero even if M is 0. Sign changes: the least M at which zero is between "
        "the bounds, sampling error set aside.",
        "Relative magnitudes: after the event the difference to the comparison group changes, without an effect, by at "
        "most M times as much a year as its largest change before. Smoothness: its slope changes by at most M a year, "
        "in units of the effect; at M = 0 it goes on in a line, and the sign is that of the effect beside the line of "
        "its last change before.",
        *_turned(shown),
    ]
    if any("pretrends" in findings for findings in shown.values()):
        notes.append(
            f"Trend: the slope a year of a linear violation that the test of effects before the event, each at "
            f"{1 - task.level:.0%}, finds with 50% or 80% power (Roth 2022). Bias: what that trend adds to the "
            "average effect. If passed: the same over samples that pass the test; empty where hardly any would. On the "
            "proportional scale trends are shares of the counterfactual mean in the years of the average."
        )
    if refused:
        notes.append(f"{REFUSED} : refused. {' '.join(refused)}")
    return Table(
        name=EXHIBIT,
        caption="Violations of parallel trends: how large they may be, and which of them a pre-trend test would find",
        headings=[*("Break.", "Sign changes") * 2, "Trend", "Bias", "If passed", "Trend", "Bias"],
        spans=[
            Span("Rel. magnitudes", 2),
            Span("Smoothness", 2),
            Span("Found with 50% power", 3),
            Span("With 80%", 2),
        ],
        blocks=blocks,
        notes=notes,
    )


def _cells(findings: Findings) -> list[Cell]:
    cells: list[Cell] = []
    for name in RESTRICTIONS:
        if name in findings:
            value = findings[name]["breakdown"]
            cells += [NONE if value is None else Number(value), Number(findings[name]["sign_change"])]
        else:
            cells += [REFUSED, ""]
    if "pretrends" not in findings:
        return [*cells, REFUSED, "", "", "", ""]
    trends = findings["pretrends"]
    low, high = trends["slopes"][LOW], trends["slopes"][HIGH]
    values = (low, bias(trends, low), bias_if_passed(trends), high, bias(trends, high))
    return [*cells, *map(Number, values)]


def bias(trends: Finding, slope: float) -> float:
    """Return what a linear trend adds to the average effect over the event times from treatment on."""
    times = trends.frame["event_time"]
    return slope * float(np.mean(times[times >= 0] - trends["reference"]))


def bias_if_passed(trends: Finding) -> float:
    """Return the mean average effect, in size, over samples that pass the test under the trend found with 50% power.

    Roth (2022), Proposition 1; NaN where fewer than one sample in a million passes.
    """
    if "after_passing" not in trends.frame:
        return math.nan
    mean = float(trends.frame.loc[trends.frame["event_time"] >= 0, "after_passing"].mean())
    return mean if (trends["slope"] or 0.0) >= 0 else -mean


def _turned(shown: ByRow) -> list[str]:
    """Say which intervals lie on the other side of zero than the estimate once trends go on in a line."""
    turned = []
    for (scale, label), findings in shown.items():
        if "honest_smoothness" not in findings:
            continue
        finding = findings["honest_smoothness"]
        estimate, line = finding["estimate"], finding.frame.iloc[1]
        if line["M"] == 0 and (line["conf_high"] < 0 < estimate or line["conf_low"] > 0 > estimate):
            turned.append(f"{label} ({scale})")
    if not turned:
        return []
    return [
        "If the trend before the event goes on in a line, the interval excludes zero on the other side than the "
        f"estimate: {'; '.join(turned)}."
    ]


def _drawn(setting: Setting, shown: ByRow) -> Drawn:
    task = task_of(setting, next(iter(shown))[0])
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


def figure(setting: Setting, shown: ByRow) -> Figure:
    """Draw intervals by M: a row for each scale, a column for each restriction, designs side by side."""
    drawn = [row for row, findings in shown.items() if findings.keys() & RESTRICTIONS]
    scales = list(dict.fromkeys(scale for scale, _ in drawn))
    labels = list(dict.fromkeys(label for _, label in drawn))[: len(SERIES)]
    with canvas(FULL, 0.8 + 2.15 * len(scales)) as drawing:
        axes = drawing.subplots(len(scales), 2, sharex="col", squeeze=False)
        panels = zip(axes.ravel(), LETTERS, strict=False)
        for scale in scales:
            for name, title in RESTRICTIONS.items():
                axis, letter = next(panels)
                axis.axhline(0, color=GREY, linewidth=0.8)
                for place, label in enumerate(labels):
                    finding = shown.get((scale, label), {}).get(name)
                    if finding is not None:
                        _draw_intervals(axis, finding, place, len(labels), label, Scale(scale).factor)
                axis.set_title(f"{letter}. {title}, {scale_title(scale).lower()}", loc="left")
        for axis, scale in zip(axes[:, 0], scales, strict=True):
            axis.set_ylabel(Scale(scale, "papers").short_axis())
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


def _draw_intervals(axis: Axes, finding: Finding, place: int, count: int, label: str, factor: int) -> None:
    look, smooth = SERIES[place], finding["restriction"] == "smoothness"
    frame, most = finding.frame, finding.frame["M"].max()
    at = (frame["M"] / most if smooth else frame["M"]).fillna(-0.25 if smooth else 0.0).to_numpy()
    ends = factor * frame[["conf_low", "conf_high"]].to_numpy()
    axis.errorbar(
        at + (place - (count - 1) / 2) * APART * (1.5 if smooth else 2.3),
        ends.mean(axis=1),
        yerr=np.diff(ends)[:, 0] / 2,
        fmt=look.marker,
        markersize=3,
        linewidth=1.2,
        color=look.colour,
        label=label,
    )
    value = finding["breakdown"]
    if value is not None and value <= most:
        line = value / most if smooth else value
        axis.axvline(line, color=look.colour, linestyle=look.dashes, linewidth=0.9)
    if smooth:
        axis.set_xticks([-0.25, 0, 0.25, 0.5, 0.75, 1], ["parallel", "0", "1/4", "1/2", "3/4", "1"])


def _numbers(setting: Setting, scale: str, label: str, findings: Findings) -> Iterator[Traced]:
    for name in (name for name in RESTRICTIONS if name in findings):
        finding = findings[name]
        at = address(EXHIBIT, scale, label, finding["restriction"])
        value = math.nan if finding["breakdown"] is None else finding["breakdown"]
        values = {"breakdown": value, "sign_change": finding["sign_change"]}
        yield from diagnosed(setting, scale, at, values, OF_RESTRICTIONS[name], label)
        for row in finding.frame[1:].itertuples():
            # Other bounds on changes of slope are read off the data, and so are no address.
            if finding["restriction"] == "relative_magnitudes" or row.M == 0:
                ends = {"conf_low": row.conf_low, "conf_high": row.conf_high}
                of = f"average effect at M = {row.M:g}, {RESTRICTIONS[name].lower()}"
                yield from diagnosed(setting, scale, f"{at}/{row.M:g}", ends, None, label, of)
    if "pretrends" in findings:
        trends, at = findings["pretrends"], address(EXHIBIT, scale, label, "pretrends")
        for power, slope in trends["slopes"].items():
            values, of = {"slope": slope, "bias": bias(trends, slope)}, f"with {power:.0%} power"
            yield from diagnosed(setting, scale, f"{at}/power_{100 * power:g}", values, OF_TRENDS, label, of)
        values = {"bias_if_passed": bias_if_passed(trends), "significant": trends["rejected"].sum()}
        yield from diagnosed(setting, scale, at, values, OF_TRENDS, label)


def _sentences(setting: Setting, shown: ByRow) -> Iterator[str]:
    headline = main_row(setting.plan).label
    others: dict[str, list[str]] = {}
    for (scale, label), findings in shown.items():
        for name, finding in findings.items():
            if label == headline:
                sentences = finding.sentences[: 2 if name == "pretrends" else 1]
                yield from (on_scale(scale, sentence) for sentence in sentences)
            elif name == "honest_relative_magnitudes":
                value = finding["breakdown"]
                value_on_scale = f"{scale} {NONE if value is None else f'{value:.2f}'}"
                others.setdefault(label, []).append(value_on_scale)
    for label, values in others.items():
        yield f"Breakdown values under relative magnitudes of {label}: {', '.join(values)}."
    yield from _turned(shown)
