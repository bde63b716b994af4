"""Effects side by side that differ in what would confound them: placebos, contests, other fields, lost access."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from study.core import capital, listed
from study.diagnostics import Finding
from study.estimates import Effect
from study.panel import Scale
from study.paper import Part, Piece, Setting, excluding_zero, exhibit, headline_effect, worded, words_of
from study.report import COLUMNS, REFUSED, Block, Cell, Column, Line, Table, cells, effect_values, lettered

BY_T = "\N{DAGGER}"
FULL = ("estimate", "std_error", "conf_low", "conf_high", "p_value", "mde")
SHORT = ("estimate", "std_error", "p_value")
OF_CONTRASTS = {"treated": Column("clusters with treated units", "count")}


class Answer(NamedTuple):
    """What a line shows on a scale: how many are treated, the effect, and its p-value by permuted dates if any."""

    label: str
    n_treated: int
    effect: Effect
    p_permuted: float = math.nan


@exhibit("Placebos, contests, other fields and lost access", Part.EFFECTS)
def contrasts(setting: Setting) -> Iterator[Piece]:
    """Yield the table of the answers that the plan sets side by side, the first scale in full."""
    plan, first = setting.plan, setting.scale
    columns = dict(zip(plan.scales, (FULL, SHORT), strict=False))
    lines: dict[str, list[Line]] = {}
    effects: dict[str, dict[str, Effect]] = {}
    refused: list[str] = []
    for title, labels in plan.contrasts.items():
        for label in labels:
            by_scale = {scale: answer_of(setting, scale, label) for scale in columns}
            shown = by_scale[first]
            line: list[Cell] = [OF_CONTRASTS["treated"].cell(shown.n_treated)]
            for scale, answer in by_scale.items():
                effects.setdefault(Scale(scale).title, {})[answer.label] = answer.effect
                line += _cells(answer, columns[scale], Scale(scale))
            if shown.effect.note:
                why = re.split(r"[,;]", shown.effect.note.partition(": ")[2])[0]
                refused.append(f"{REFUSED} : {worded(why, words_of(plan))}.")
            marked = shown.label + BY_T * (shown.effect.exists and math.isnan(shown.p_permuted))
            own = "" if label == setting.event.label else title  # what all others are set beside
            lines.setdefault(own, []).append(Line(marked, line))
            treated = {"treated": shown.n_treated}
            yield from setting.numbers(label, treated, OF_CONTRASTS, quantity=shown.label)
    named = {label for labels in plan.contrasts.values() for label in labels}
    average = setting.averaged(setting.event)
    dated = [e for e in plan.every_event if e.label in named and setting.averaged(e) != average]
    panels = {**setting.placebos, **setting.further}
    elsewhere = [f"{label} ({panel.window()})" for label, panel in panels.items() if label in named]
    main = [Block("", lines.pop(""))] if "" in lines else []
    heads = {"estimate": "Effect", "std_error": "(SE)", "conf_low": "Low", "conf_high": "High", "mde": "MDE"}
    yield Table(
        name="contrasts",
        caption=f"Effects {listed([title[0].lower() + title[1:] for title in plan.contrasts])}",
        headings=["N", *(heads.get(name, "p") for names in columns.values() for name in names)],
        spans=[("", 1), *((plan.scales[scale], len(names)) for scale, names in columns.items())],
        blocks=[*main, *lettered(lines)],
        notes=[
            f"{plan.headline.label}, where it can answer; average over {average}.",
            *(f"{e.short}: {setting.averaged(e)}." for e in dated),
            *([f"On panels with {plan.text.units} of their own: {listed(elsewhere)}."] if elsewhere else []),
            f"N: treated {plan.text.units}. SE: clustered by {setting.clusters}. Low, High: {100 * plan.level:g}% "
            f"interval. MDE: minimum detectable effect. p: from permuted event dates ({BY_T}: from t).",
            *dict.fromkeys(refused),
        ],
    )
    yield from excluding_zero(effects, "line")


def answer_of(setting: Setting, scale: str, label: str) -> Answer:
    """Return the headline's answer about an event, on a placebo outcome, or that of a further question."""
    plan = setting.plan
    for event in plan.every_event:
        if event.label == label:
            result = setting.answers(event, scale)[0]
            test, effect = result.randomization, result.headline or Effect("", note=" ".join(result.notes))
            return Answer(event.short, result.n_treated, effect, test.p_value if test else math.nan)
    if label in setting.placebos:
        named = capital(f"{label} {plan.text.counted}")
        finding = setting.finding_of(scale, "placebo_outcomes")
        if not isinstance(finding, Finding):
            return Answer(named, 0, Effect("", note=finding))
        (effect,) = (row for row in finding["rows"] if row.label == label)
        return Answer(named, effect.n_treated, effect)
    (entry,) = (entry for entry in plan.further if entry.label == label)
    task, panel = plan.further_tasks(entry, scale)[0], setting.further.get(label, setting.panel)
    sample = task.question.sample(panel)
    # Units may be fields of a university, which is then the cluster.
    treated = len(np.unique(sample.cluster[sample.ever_treated]))
    return Answer(label, treated, headline_effect(task, panel, label))


def _cells(answer: Answer, names: tuple[str, ...], scale: Scale) -> Iterator[Cell]:
    """Yield an effect's cells in the unit of its scale; its p-value is by permuted dates where there is one."""
    if not answer.effect.exists:
        yield from [REFUSED, *[""] * (len(names) - 1)]
        return
    tested = {} if math.isnan(answer.p_permuted) else {"p_value": answer.p_permuted}
    values = effect_values(answer.effect) | tested
    yield from cells(COLUMNS, {name: values[name] for name in names}, scale)
