"""The main event's effect beside effects where or when there should be none."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from study.diagnostics import Finding
from study.figures import FULL, draw_dots
from study.figures.canvas import canvas
from study.panel import Scale
from study.paper.exhibits.exhibit import (
    Drawn,
    Exhibited,
    Part,
    Setting,
    Traced,
    address,
    draw,
    exhibit,
    panel_title,
)
from study.paper.exhibits.verdicts import diagnosed, found, on_scale, scale_title, task_of
from study.report import COLUMNS, LETTERS, Block, Column, Line, Span, Table, effect_values

if TYPE_CHECKING:
    from matplotlib.figure import Figure

EXHIBIT = "placebos"
DIFFERENCE = " less that on "
EARLIER = "Events "
ALL_DATES = "All placebo dates"
OF_PLACEBOS = {
    "difference": Column("effect on the outcome less that on the placebo", "effect"),
    "difference_std_error": Column(
        "standard error of the difference from the effect on the outcome", "error"
    ),
    "difference_p": Column("p-value of the difference from the effect on the outcome", "p"),
    "rejecting": Column("placebo outcomes whose p-value by Holm's method rejects no effect", "count"),
    "placebo_outcomes": Column("placebo outcomes", "count"),
}
P_VALUES = ("p_joint", "p_holm", "p_value")
CELLS = (
    "estimate", "std_error", "p_value", "difference", "difference_std_error", "difference_p", "mde", "n_treated",
    "n_units",
)  # fmt: skip

Findings = Mapping[str, Finding]
Rows = dict[str, dict[str, float]]


@exhibit("Placebo fields and dates", Part.OBJECTIONS)
def placebos(setting: Setting) -> Exhibited:
    """Return the table and figure of placebo outcomes and placebo dates, on each scale."""
    names = [*["placebo_outcomes"] * bool(setting.placebos), "placebo_dates"]
    by_scale: dict[str, Findings] = {}
    sentences: list[str] = []
    for scale in setting.plan.scales:
        answers = {name: found(setting, scale, name) for name in names}
        findings = {name: answer for name, answer in answers.items() if isinstance(answer, Finding)}
        refusals = [answer for answer in answers.values() if isinstance(answer, str)]
        sentences += [on_scale(scale, sentence) for sentence in _sentences(findings, refusals)]
        if findings:
            by_scale[scale] = findings
    if not by_scale:
        return Exhibited()
    rows = {scale: rows_of(setting, findings) for scale, findings in by_scale.items()}
    return Exhibited(
        tables=(_table(setting, rows, {name for findings in by_scale.values() for name in findings}),),
        figures=(_drawn(setting, rows),),
        numbers=tuple(
            number for scale in rows for number in _numbers(setting, scale, rows[scale], by_scale[scale])
        ),
        sentences=tuple(sentences),
    )


def _sentences(findings: Findings, refusals: list[str]) -> Iterator[str]:
    yield from (finding.verdict for finding in findings.values())
    yield from (s for finding in findings.values() for s in finding.evidence if DIFFERENCE in s)
    yield from (f"Not made: {refusal}" for refusal in refusals)


def rows_of(setting: Setting, findings: Findings) -> Rows:
    """Return what there is on one scale by row: the outcome, placebo outcomes, placebo dates and their joint test."""
    full_sample = next(iter(findings.values()))["full_sample"]
    rows = {own_name(setting): effect_values(full_sample)}
    outcomes, dates = (findings.get(name) for name in ("placebo_outcomes", "placebo_dates"))
    if outcomes is not None:
        adjusted = outcomes.frame[["p_holm", *(name for name in CELLS if name.startswith("difference"))]]
        for effect, more in zip(outcomes["rows"], adjusted[1:].to_dict("records"), strict=True):
            rows[effect.label[:1].upper() + effect.label[1:]] = effect_values(effect) | more
    if dates is not None:
        rows |= {f"{EARLIER}{effect.label}": effect_values(effect) for effect in dates["rows"]}
        rows[ALL_DATES] = {"p_joint": dates["p_joint"]}
    return rows


def own_name(setting: Setting) -> str:
    """Return what the question's own outcome is called beside placebos."""
    return f"{panel_title(setting.panel)} (the outcome)"


def _table(setting: Setting, rows: Mapping[str, Rows], names: set[str]) -> Table:
    plan = setting.plan
    task = task_of(setting, next(iter(rows)))
    blocks = [
        Block(f"Panel {letter}. {plan.scales[scale]}", list(_lines(of_scale)))
        for letter, (scale, of_scale) in zip(LETTERS, rows.items(), strict=False)
    ]
    notes = [
        f"Effects of the {task.event.title}, {task.row.label}, averaged over event times 0 to the horizon; standard "
        f"errors in parentheses, clustered by {task.question.cluster or plan.text.unit}. MDE: the minimum detectable "
        f"effect, which a test at {1 - task.level:.0%} finds with 80% power. Treated of all {plan.text.units}.",
    ]
    if "placebo_outcomes" in names:
        notes.append(
            "Placebo outcomes: the same event, question and design on papers of fields that need few accelerators, in "
            "the panel of that field; p by Holm's method over them. Difference: the effect on the outcome less that "
            "on the placebo, with its error by the joint influence of both. It is the effect of the machine only if "
            "growth without the machine would have been the same in both fields."
        )
    if "placebo_dates" in names:
        notes.append(
            "Placebo dates: events moved earlier by k periods, with outcomes before the true event only, which leaves "
            "event times 0 to k-1, so that they are not compared with the average effect. The joint test is of all of "
            f"them by the largest t ({plan.band_draws} draws); their other p-values are not adjusted."
        )
    return Table(
        name=EXHIBIT,
        caption=f"Placebos: effects of the {task.event.title} where or when there should be none",
        headings=["Effect", "(SE)", "p", "Difference", "(SE)", "p", "MDE", "Treated", "All"],
        spans=[Span("Effect on it", 3), Span("Outcome less placebo", 3), Span("", 3)],
        blocks=blocks,
        notes=notes,
    )


def _lines(rows: Rows) -> Iterator[Line]:
    columns = COLUMNS | OF_PLACEBOS
    for label, values in rows.items():
        shown = values | {"p_value": next(values[name] for name in P_VALUES if name in values)}
        yield Line(label, [columns[name].cell(shown.get(name, math.nan)) for name in CELLS])


def _drawn(setting: Setting, rows: Mapping[str, Rows]) -> Drawn:
    task = task_of(setting, next(iter(rows)))
    return draw(
        EXHIBIT,
        f"Effects of the {task.event.title} on the outcome (circle), on placebo outcomes and at placebo dates "
        f"(squares), {task.row.label}, with pointwise {task.level:.0%} intervals. Placebo dates move events earlier by "
        "the number of periods, and use only outcomes before the true event.",
        figure(setting, rows),
        "Dots with intervals, one row for the outcome and one for each placebo outcome and placebo date, side by side "
        "for each scale.",
    )


def figure(setting: Setting, rows: Mapping[str, Rows]) -> Figure:
    """Draw a row for the outcome and one a placebo, an axis for each scale."""
    import pandas as pd

    names = list(dict.fromkeys(name for of_scale in rows.values() for name in of_scale if name != ALL_DATES))
    labels = [name.removeprefix(EARLIER) for name in names]
    with canvas(FULL, 1.1 + 0.22 * len(names)) as drawing:
        axes = drawing.subplots(1, len(rows), sharey=True, squeeze=False)[0]
        for axis, letter, (scale, of_scale) in zip(axes, LETTERS, rows.items(), strict=False):
            frame = pd.DataFrame.from_dict(of_scale, orient="index").reindex(names).assign(label=labels)
            marked = [name != own_name(setting) for name in names]
            draw_dots(axis, frame, marked=marked, percent=Scale(scale).percent)
            axis.set_yticks(range(len(labels)), labels, fontsize=8)
            axis.set_xlabel(task_of(setting, scale).question.effect_scale.axis("papers"))
            axis.set_title(f"{letter}. {scale_title(scale)}", loc="left")
    return drawing


def _numbers(setting: Setting, scale: str, rows: Rows, findings: Findings) -> Iterator[Traced]:
    for label, values in rows.items():
        at = address(EXHIBIT, scale, label)
        yield from diagnosed(setting, scale, at, values, OF_PLACEBOS, quantity=label)
    if "placebo_outcomes" in findings:
        outcomes = findings["placebo_outcomes"]
        counts = {"rejecting": len(outcomes["moved"]), "placebo_outcomes": len(outcomes["rows"])}
        yield from diagnosed(setting, scale, address(EXHIBIT, scale, "summary"), counts, OF_PLACEBOS)
