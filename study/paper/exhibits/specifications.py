"""All specifications of the main question at once."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from study.core import FloatArray
from study.diagnostics.specification_curve import SpecificationCurve
from study.panel import Scale
from study.paper.exhibits.exhibit import Drawn, Exhibited, Setting, Traced, draw
from study.paper.exhibits.verdicts import found, scale_title, task_of, traced
from study.report import Block, Line, Number, Table, p_cell, p_text

EXHIBIT = "specifications"
VARIED = {
    "design": "design",
    "population": "population",
    "comparison": "comparison group",
    "covariates": "covariates",
}


def specifications(setting: Setting) -> Exhibited:
    """Return the specification curve with a table of what all specifications say together, or why there is none."""
    curve = found(setting, next(iter(setting.plan.scales)), "specification_curve", SpecificationCurve)
    if isinstance(curve, str):
        return Exhibited(sentences=(f"Not made: {curve}",))
    return Exhibited(
        tables=(_table(setting, curve),),
        figures=(_drawn(setting, curve),),
        numbers=tuple(_numbers(setting, curve)),
        sentences=curve.sentences,
    )


def effects_of(curve: SpecificationCurve, scale: str) -> FloatArray:
    """Return the estimates on a scale, ascending, equal ones included."""
    return np.array([curve.answers[k].fit.effect[0] for k in curve.of_scale(scale)])


def excluding(curve: SpecificationCurve, scale: str) -> int:
    """Return how many pointwise intervals on a scale exclude zero, equal ones included."""
    table = curve.tidy().iloc[curve.of_scale(scale)]
    return int(((table["conf_low"] > 0) | (table["conf_high"] < 0)).sum())


def _table(setting: Setting, curve: SpecificationCurve) -> Table:
    lines = []
    for scale, median in curve.medians.items():
        effects, share = effects_of(curve, scale), curve.shares[scale]
        lines.append(
            Line(
                scale_title(scale),
                [
                    Number(len(effects), 0),
                    Number(share.distinct, 0),
                    Number(float(effects.min())),
                    Number(median.value),
                    Number(float(effects.max())),
                    Number(float(np.mean(effects > 0)), 2),
                    Number(excluding(curve, scale) / len(effects), 2),
                    p_cell(median.p_value),
                    p_cell(share.p_value),
                ],
            )
        )
    varied = [
        f"{words} ({len(curve.choices[name])})"
        for name, words in VARIED.items()
        if len(curve.choices[name]) > 1
    ]
    task = task_of(setting, next(iter(curve.medians)))
    refused = f" {len(curve.refused)} more are refused by their design." if curve.refused else ""
    return Table(
        name=EXHIBIT,
        caption=f"All specifications of the effect of the {task.event.title}",
        headings=[
            "All",
            "Distinct",
            "Smallest",
            "Median",
            "Largest",
            "Positive",
            "Excl. 0",
            "p, median",
            "p, share",
        ],
        blocks=[Block("", lines)],
        notes=[
            f"Outcome: {setting.plan.text.outcome}, {setting.plan.outcomes[task.outcome].lower()}. Every combination "
            f"of {', '.join(varied) or 'one choice each'} on each scale.{refused} Distinct: not algebraically equal "
            "to another one; only these count in the median and in the tests. Positive, Excl. 0: shares of all, the "
            "latter with a pointwise 95% interval without zero.",
            "p: of the median and of the number of significant estimates, by draws of their joint influence if no "
            f"specification had an effect ({curve.draws} draws; Simonsohn, Simmons and Nelson 2020). Over all scales "
            f"the largest absolute t is {curve.largest.statistic:.2f} (p {_is(curve.largest.p_value)}). Estimands and "
            "assumptions differ between specifications: that many agree does not make their common assumption true.",
        ],
    )


def _is(p_value: float) -> str:
    shown = p_text(p_value)
    return shown if shown.startswith("below") else f"= {shown}"


def _drawn(setting: Setting, curve: SpecificationCurve) -> Drawn:
    event = setting.plan.events[0]
    return draw(
        EXHIBIT,
        f"Specification curve of the effect of the {event.title}: estimates in order of size with pointwise 95% "
        "intervals and the band of all specifications together (above), and the choices of each (below). Intervals "
        "that leave the axis are cut.",
        curve.plot(),
        "Estimates of all specifications in order of size, a column for each scale, above marks that show which "
        "design, population, comparison group and covariates each one has.",
    )


def _numbers(setting: Setting, curve: SpecificationCurve) -> Iterator[Traced]:
    for scale, median in curve.medians.items():
        task, unit = task_of(setting, scale), Scale(scale).printed
        effects, share = effects_of(curve, scale), curve.shares[scale]
        zero_out = excluding(curve, scale) / len(effects)
        told = [
            ("Count", str(len(effects)), "specifications with an estimate"),
            ("Distinct", str(share.distinct), "specifications that are not equal to another one"),
            (
                "Smallest",
                Scale(scale).number(float(effects.min())),
                f"smallest estimate of all specifications, {unit}",
            ),
            ("Median", Scale(scale).number(median.value), f"median estimate of all specifications, {unit}"),
            (
                "Largest",
                Scale(scale).number(float(effects.max())),
                f"largest estimate of all specifications, {unit}",
            ),
            ("Positive", f"{100 * np.mean(effects > 0):.0f}", "share of positive estimates, percent"),
            (
                "Excluding",
                f"{100 * zero_out:.0f}",
                "share of intervals without zero, percent",
            ),
            ("MedianP", p_text(median.p_value), "p-value of the median if no specification had an effect"),
            ("ShareP", p_text(share.p_value), "p-value of the number of significant specifications"),
        ]
        yield from traced(setting, EXHIBIT, task, ("specifications", scale), told)
    told = [
        ("LargestT", f"{curve.largest.statistic:.2f}", "largest absolute t of all specifications and scales"),
        ("LargestP", p_text(curve.largest.p_value), "p-value of that t if no specification had an effect"),
        ("Refused", str(len(curve.refused)), "specifications that their design refuses"),
    ]
    yield from traced(setting, EXHIBIT, task, ("specifications",), told)
