"""The main event's effect beside effects where or when there should be none."""

from __future__ import annotations

import math
from collections.abc import Iterator

from study.core import capital
from study.paper import Findings, Part, Piece, Setting, exhibit, panels
from study.report import COLUMNS, Column, Line, Table, cells, effect_values

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


@exhibit("Placebo fields and dates", Part.OBJECTIONS)
def placebos(setting: Setting) -> Iterator[Piece]:
    """Yield the table of placebo outcomes and placebo dates, on each scale."""
    every = setting.findings_of([*["placebo_outcomes"] * bool(setting.placebos), "placebo_dates"])
    if not every:
        return
    plan, task = setting.plan, every[0].task
    names = {name for findings in every for name in findings.by_name}
    notes = [
        f"{task.row.label}; standard errors in parentheses, clustered by "
        f"{task.question.cluster or plan.text.unit}; treated of all {plan.text.units}. MDE: minimum detectable effect."
    ]
    if "placebo_outcomes" in names:
        notes.append(
            f"Placebo outcomes: {plan.text.placebos}; p by Holm's method. The difference has its error from the joint "
            "influence of both effects."
        )
    if "placebo_dates" in names:
        notes.append(
            "Placebo dates: events k periods earlier, with outcomes before the true event only, over event times 0 to "
            "k-1; all of them are tested by the largest t."
        )
    yield Table(
        name="placebos",
        caption=f"{task.event.short}: effects where or when there should be none",
        headings=["Effect", "(SE)", "p", "Difference", "(SE)", "p", "MDE", "Treated", "All"],
        spans=[("Effect on it", 3), ("Outcome less placebo", 3), ("", 3)],
        blocks=panels(every, _lines),
        notes=notes,
    )
    for findings in every:
        for label, values in rows_of(findings).items():
            yield from findings.numbers(values, label, columns=OF_PLACEBOS, quantity=label)
        if outcomes := findings.by_name.get("placebo_outcomes"):
            counts = {"rejecting": len(outcomes["moved"]), "placebo_outcomes": len(outcomes["rows"])}
            yield from findings.numbers(counts, "summary", columns=OF_PLACEBOS)
        yield from findings.verdicts()
        evidence = (sentence for finding in findings.by_name.values() for sentence in finding.evidence)
        yield from (findings.says(sentence) for sentence in evidence if " less that on " in sentence)
        yield from findings.refusals()


def rows_of(findings: Findings) -> dict[str, dict[str, float]]:
    """Return what there is on one scale by row: the outcome, placebo outcomes, placebo dates and their joint test."""
    if not findings.by_name:
        return {}
    outcomes, dates = (findings.by_name.get(name) for name in ("placebo_outcomes", "placebo_dates"))
    full_sample = next(iter(findings.by_name.values()))["full_sample"]
    rows = {f"{findings.setting.panel_title} (the outcome)": effect_values(full_sample)}
    if outcomes is not None:
        adjusted = outcomes.frame[["p_holm", *(name for name in CELLS if name.startswith("difference"))]]
        for effect, more in zip(outcomes["rows"], adjusted[1:].to_dict("records"), strict=True):
            rows[capital(effect.label)] = effect_values(effect) | more
    if dates is not None:
        rows |= {f"{EARLIER}{effect.label}": effect_values(effect) for effect in dates["rows"]}
        rows[ALL_DATES] = {"p_joint": dates["p_joint"]}
    return rows


def _lines(findings: Findings) -> Iterator[Line]:
    columns, scale = COLUMNS | OF_PLACEBOS, findings.task.question.effect_scale
    for label, values in rows_of(findings).items():
        shown = values | {"p_value": next(values[name] for name in P_VALUES if name in values)}
        yield Line(label, cells(columns, {name: shown.get(name, math.nan) for name in CELLS}, scale))
