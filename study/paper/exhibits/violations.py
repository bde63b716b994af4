"""How large a violation of parallel trends would overturn an effect, or go unseen before it."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from itertools import product
from textwrap import wrap
from typing import Any

import numpy as np

from study.core import capital, grouped
from study.diagnostics import Finding
from study.figures import COLOUR, FULL, GREY, SECOND, Axes, Figure, canvas
from study.panel import Scale
from study.paper import Findings, Part, Piece, Setting, Traced, draw, exhibit, panels
from study.report import LETTERS, REFUSED, Cell, Column, Line, Table

RESTRICTIONS = {"honest_relative_magnitudes": "Relative magnitudes", "honest_smoothness": "Smoothness"}
XLABELS = {
    "honest_relative_magnitudes": "M, times the largest change before the event",
    "honest_smoothness": "M, change of slope a period, as a share of the upper bound on changes before the event",
}
NONE = "none"
DESIGNS = 3  # columns of the figure
SEEN = 2  # intervals that its axes show in full
OF_RESTRICTIONS = {
    "honest_relative_magnitudes": {
        "breakdown": Column("breakdown value, times the largest change before the event", digits=2),
        "sign_change": Column("value at which the sign changes, times the largest change before", digits=2),
    },
    "honest_smoothness": {
        "breakdown": Column("breakdown value, change of slope a {}", "effect"),
        "sign_change": Column("value at which the sign changes, change of slope a {}", "effect"),
    },
}
OF_TRENDS = {
    "slope": Column("linear trend a {} that the pre-trend test detects", "effect"),
    "bias": Column("bias of the average by the linear trend that the pre-trend test detects", "effect"),
    "bias_if_passed": Column("bias of the average in samples that pass the pre-trend test", "effect"),
    "significant": Column("effects before the event that are significant on their own", "count"),
}


@exhibit("Violations of parallel trends", Part.OBJECTIONS)
def violations(setting: Setting) -> Iterator[Piece]:
    """Yield the table of breakdown values and detectable trends, and the figure of intervals by violation."""
    every = setting.findings_of((*RESTRICTIONS, "pretrends"), shown_labels(setting))
    if not every:
        return
    yield _table(every)
    bounded = [row for row in every if row.by_name.keys() & RESTRICTIONS]
    if bounded:
        task = bounded[0].task
        yield draw(
            "honest",
            f"{task.event.short}: {100 * task.level:g}% intervals of the average effect if parallel trends fail by M; "
            "blue ones exclude zero, diamonds are breakdown values.",
            figure(bounded),
            "Vertical intervals that widen with M, a column for each of the first designs and a row for each "
            "restriction and scale; those without zero are in another colour.",
        )
    for row in every:
        yield from _numbers(row)
    yield from _sentences(every, setting.main_row.label)
    yield from dict.fromkeys(f"Not made, {row.label}: {why}" for row in every for why in row.refused)


def shown_labels(setting: Setting) -> list[str]:
    """Return the plan's rows that have effects by event time and fit no learners, the headline first."""
    rows = {row.label: row.design for row in (setting.plan.headline, *setting.plan.rows)}
    return [label for label, design in rows.items() if design.estimand.has_path and not design.draws]


def _table(shown: Sequence[Findings]) -> Table:
    task, period = shown[0].task, shown[0].setting.panel.period_unit
    notes = [
        f"Break.: the largest M whose {100 * task.level:g}% interval excludes zero; {NONE}: not at M = 0. "
        "Sign: the least M whose bounds include zero (Rambachan and Roth 2023). M bounds changes after the event by "
        f"the largest before, or changes of slope a {period}."
    ]
    if any("pretrends" in row.by_name for row in shown):
        notes.append(
            f"Trend: the slope a {period} that tests of single leads find (Roth 2022). Bias: added to the "
            "average; passed: in samples that pass."
        )
    findings = ((row.label, finding) for row in shown for finding in row.by_name.values())
    cut = grouped((clause, label) for label, finding in findings for clause in finding["left_out"])
    notes += [f"{', '.join(dict.fromkeys(labels))}: {clause}." for clause, labels in cut.items()]
    return Table(
        name="violations",
        caption="Violations of parallel trends: how large they may be, and which of them a pre-trend test would find",
        headings=[*("Break.", "Sign") * 2, "Trend", "Bias", "Passed", "Trend", "Bias"],
        spans=[("Rel. magnitudes", 2), ("Smoothness", 2), ("50% power", 3), ("80% power", 2)],
        blocks=panels(shown, lambda row: [Line(row.label, _cells(row.by_name, Scale(row.scale)))]),
        notes=notes,
    )


def _cells(findings: dict[str, Finding], scale: Scale) -> list[Cell]:
    line: list[Cell] = []
    for name, columns in OF_RESTRICTIONS.items():
        if name not in findings:
            line += [REFUSED, ""]
            continue
        pairs = ((column, findings[name][detail]) for detail, column in columns.items())
        line += [NONE if value is None else column.cell(value, scale, 0.0) for column, value in pairs]
    if "pretrends" not in findings:
        return [*line, REFUSED, "", "", "", ""]
    trends = findings["pretrends"]
    low, high = trends["slopes"][0.5], trends["slopes"][0.8]
    values = (low, bias(trends, low), bias_if_passed(trends), high, bias(trends, high))
    return [*line, *(OF_TRENDS["bias"].cell(value, scale, *values) for value in values)]


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


def _is_turned(row: Findings) -> bool:
    """Say whether the interval lies on the other side of zero than the estimate once trends go on in a line."""
    finding = row.by_name.get("honest_smoothness")
    if finding is None:
        return False
    estimate, line = finding["estimate"], finding.frame.iloc[1]
    return bool(line["M"] == 0 and (line["conf_high"] < 0 < estimate or line["conf_low"] > 0 > estimate))


def figure(bounded: Sequence[Findings]) -> Figure:
    """Draw intervals by M: a column for each of the first designs, a row for each restriction and scale."""
    rows = {(row.scale, row.label): row.by_name for row in bounded}
    scales, labels = (list(dict.fromkeys(names)) for names in zip(*rows, strict=True))
    labels, panes = labels[:DESIGNS], list(product(RESTRICTIONS, scales))
    with canvas(FULL, 0.6 + 1.15 * len(panes)) as drawing:
        axes = drawing.subplots(len(panes), len(labels), sharey="row", squeeze=False)
        for letter, of_row, (name, scale) in zip(LETTERS, axes, panes, strict=False):
            unit, title = Scale(scale), f"{letter}. {RESTRICTIONS[name]}, {Scale(scale).title.lower()}"
            findings = [rows.get((scale, label), {}).get(name) for label in labels]
            if any(findings):
                of_row[0].set_ylim(_limits([*filter(None, findings)], unit.factor))
            for axis, finding in zip(of_row, findings, strict=True):
                axis.axhline(0, color=GREY, linewidth=0.8)
                if finding is not None:
                    _draw_intervals(axis, finding, unit.factor)
            of_row[0].set_ylabel("Percent" if unit.percent else capital(unit.column), fontsize=7.5)
            of_row[0].set_title(title, loc="left", fontsize=8)
        for axis, label in zip(axes[0], labels, strict=True):
            how: Any = {"xycoords": "axes fraction", "ha": "center", "fontsize": 7.5, "weight": "bold"}
            axis.annotate("\n".join(wrap(label, 24)), (0.5, 1.45), **how)
        for name, below in zip(RESTRICTIONS, axes[len(scales) - 1 :: len(scales)], strict=True):
            below[len(labels) // 2].set_xlabel(XLABELS[name], fontsize=7.5)
    return drawing


def _limits(findings: Sequence[Finding], factor: int) -> tuple[float, float]:
    """Return the ends of an axis on which intervals under parallel trends and half of the bounds are seen in full."""
    ends = [factor * finding.frame[["conf_low", "conf_high"]].to_numpy()[:SEEN] for finding in findings]
    low, high = min(0.0, min(map(np.min, ends))), max(0.0, max(map(np.max, ends)))
    return low - 0.08 * (high - low), high + 0.08 * (high - low)


def _draw_intervals(axis: Axes, finding: Finding, factor: int) -> None:
    """Draw a design's intervals by M, with arrows where they leave the axis, and its breakdown value."""
    smooth = finding["restriction"] == "smoothness"
    frame, most, value = finding.frame, finding.frame["M"].max(), finding["breakdown"]
    at = ((frame["M"] / most).fillna(-0.25) if smooth else frame["M"].fillna(0.0)).to_numpy()
    low, high = factor * frame[["conf_low", "conf_high"]].to_numpy().T
    colours = np.where((low > 0) | (high < 0), COLOUR, GREY)
    axis.vlines(at, low, high, colors=colours.tolist(), linewidth=2.0)
    bottom, top = axis.get_ylim()
    room = 0.03 * (top - bottom)
    for cut, edge, marker in ((high > top, top - room, "^"), (low < bottom, bottom + room, "v")):
        axis.plot(at[cut], np.full(cut.sum(), edge), marker, color=GREY, markersize=4)
    if value is not None and 0 < value <= most:
        place = value / most if smooth else value
        axis.plot(place, 0, "D", color=SECOND, markersize=3.5)
        if not smooth:  # between the intervals that it lies between
            right = min(int(np.searchsorted(at, place, "right")), len(at) - 1)
            how: Any = {"textcoords": "offset points", "fontsize": 7, "color": SECOND, "ha": "center"}
            axis.annotate(f"{value:.2f}", (at[right - 1 : right + 1].mean(), 0), (0, 5), **how)
    if smooth:
        axis.set_xticks([-0.25, 0, 0.5, 1], ["parallel", "0", "1/2", "1"])
    axis.tick_params(labelsize=7)


def _numbers(row: Findings) -> Iterator[Traced]:
    for name in filter(row.by_name.get, RESTRICTIONS):
        finding, parts = row.by_name[name], (row.label, row.by_name[name]["restriction"])
        value = math.nan if finding["breakdown"] is None else finding["breakdown"]
        values = {"breakdown": value, "sign_change": finding["sign_change"]}
        yield from row.numbers(values, *parts, columns=OF_RESTRICTIONS[name])
        for m, *ends in finding.frame[["M", "conf_low", "conf_high"]][1:].itertuples(index=False):
            # Other bounds on changes of slope are read off the data, and so are no address.
            if name == "honest_relative_magnitudes" or m == 0:
                quantity = f"average effect at M = {m:g}, {RESTRICTIONS[name].lower()}"
                values = dict(zip(("conf_low", "conf_high"), ends, strict=True))
                yield from row.numbers(values, *parts, m, quantity=quantity)
    if "pretrends" in row.by_name:
        trends, parts = row.by_name["pretrends"], (row.label, "pretrends")
        for power, slope in trends["slopes"].items():
            of_trend = {"slope": slope, "bias": bias(trends, slope)}
            part, quantity = f"power_{100 * power:g}", f"with {power:.0%} power"
            yield from row.numbers(of_trend, *parts, part, columns=OF_TRENDS, quantity=quantity)
        values = {"bias_if_passed": bias_if_passed(trends), "significant": trends["rejected"].sum()}
        yield from row.numbers(values, *parts, columns=OF_TRENDS)


def _sentences(shown: Sequence[Findings], headline: str) -> Iterator[str]:
    breakdowns: dict[str, list[str]] = {}
    for row in shown:
        for name, finding in row.by_name.items():
            if row.label == headline:
                yield row.says(finding.verdict)
            elif name == "honest_relative_magnitudes":
                value = NONE if finding["breakdown"] is None else f"{finding['breakdown']:.2f}"
                breakdowns.setdefault(row.label, []).append(f"{row.scale} {value}")
    for label, values in breakdowns.items():
        yield f"Breakdown values under relative magnitudes of {label}: {', '.join(values)}."
    if turned := [f"{row.label} ({row.scale})" for row in shown if _is_turned(row)]:
        yield (
            "If the trend before the event goes on in a line, the interval excludes zero on the other side than the "
            f"estimate: {'; '.join(turned)}."
        )
