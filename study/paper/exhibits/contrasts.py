"""Effects side by side that differ in what would confound them: placebos, contests, other fields, lost access."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from study.core import capital, listed
from study.diagnostics import Finding
from study.estimates import Effect
from study.panel import Scale
from study.paper import Part, Piece, Setting, excluding_zero, exhibit, headline_effect, worded, words_of
from study.report import COLUMNS, REFUSED, Block, Cell, Column, Line, Table, cells, lettered

BY_T = "\N{DAGGER}"
FULL = ("estimate", "std_error", "conf_low", "conf_high", "p_value", "mde")
SHORT = ("estimate", "std_error", "p_value")
OF_CONTRASTS = {"treated": Column("clusters with treated units", "count")}


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
            shown, is_permuted = by_scale[first]
            line: list[Cell] = [OF_CONTRASTS["treated"].cell(shown.n_treated)]
            for scale, (effect, _) in by_scale.items():
                effects.setdefault(Scale(scale).title, {})[effect.label] = effect
                line += _cells(effect, columns[scale], Scale(scale))
            if shown.note:
                why = re.split(r"[,;]", shown.note.partition(": ")[2])[0]
                refused.append(f"{REFUSED} : {worded(why, words_of(plan, setting.panel))}.")
            marked = f"{shown.label}{BY_T}" if shown.exists and not is_permuted else shown.label
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


def answer_of(setting: Setting, scale: str, label: str) -> tuple[Effect, bool]:
    """Return the headline's answer about an event, on a placebo outcome, or that of a further question.

    With it comes whether its p-value is from permuted dates.
    """
    plan = setting.plan
    for event in plan.every_event:
        if event.label == label:
            result = setting.answers(event, scale)[0]
            test, effect = result.randomization, result.headline or Effect("", note=" ".join(result.notes))
            p_value = test.p_value if test else effect.p_value
            effect = replace(effect, label=event.short, n_treated=result.n_treated, p_value=p_value)
            return effect, test is not None
    if label in setting.placebos:
        named = capital(f"{label} {plan.text.counted}")
        finding = setting.finding_of(scale, "placebo_outcomes")
        if not isinstance(finding, Finding):
            return Effect(named, note=finding), False
        (effect,) = (row for row in finding["rows"] if row.label == label)
        return replace(effect, label=named), False
    (entry,) = (entry for entry in plan.further if entry.label == label)
    task, panel = plan.further_tasks(entry, scale)[0], setting.further.get(label, setting.panel)
    sample = task.question.sample(panel)
    # Units may be fields of a university, which is then the cluster.
    treated = len(np.unique(sample.cluster[sample.ever_treated]))
    return replace(headline_effect(task, panel, label), n_treated=treated), False


def _cells(effect: Effect, names: tuple[str, ...], scale: Scale) -> list[Cell]:
    """Return an effect's cells in the unit of its scale."""
    if not effect.exists:
        return [REFUSED, *[""] * (len(names) - 1)]
    return cells(COLUMNS, {name: getattr(effect, name) for name in names}, scale)
