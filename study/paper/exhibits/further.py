"""Questions of other kinds: reversible treatments, doses, triple differences, and other counterfactuals."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import product

from study.estimates import Effect
from study.paper.exhibits.exhibit import Part, Piece, Setting, exhibit
from study.paper.exhibits.venues import excluding_zero, headline_numbers, outcome_heads, outcome_line
from study.paper.results import headline_effect
from study.report import A_DASH, Line, Table, lettered

EXHIBIT = "further"


@exhibit("Further questions", Part.EFFECTS)
def further(setting: Setting) -> Iterator[Piece]:
    """Yield the table of further questions with its numbers; nothing where the plan has none."""
    plan = setting.plan
    lines: dict[str, list[Line]] = {scale: [] for scale in plan.scales}
    firsts: dict[str, dict[str, Effect]] = {title: {} for title in plan.scales.values()}
    refused: dict[str, None] = {}
    for scale, entry in product(plan.scales, plan.further):
        panel = setting.further.get(entry.label, setting.panel)
        tasks = plan.further_tasks(entry, scale)
        effects = [headline_effect(task, panel, entry.label) for task in tasks]
        lines[scale].append(outcome_line(entry.label, effects))
        firsts[plan.scales[scale]][entry.label] = effects[0]
        # The designs that can answer are for who types, and not for who reads.
        reasons = (re.sub(r"; [a-z_, ]+ can\.", ".", effect.note) for effect in effects)
        refused |= dict.fromkeys(f"{entry.label}: {reason}" for reason in reasons if reason)
        for task, effect in zip(tasks, effects, strict=True):
            at = (EXHIBIT, entry.label, task.outcome, scale)
            yield from headline_numbers(setting, panel, at, task, effect, entry.label)
    yield Table(
        name=EXHIBIT,
        caption=f"Further questions about {plan.text.outcome}",
        **outcome_heads(setting),
        blocks=lettered({plan.scales[scale]: of_scale for scale, of_scale in lines.items()}),
        notes=[
            f"Treated: {plan.text.units} that are treated in some period, or their fields. Standard errors in "
            "parentheses. MDE: the minimum detectable effect on the first outcome. Each question was written down "
            "before its estimate.",
            *[A_DASH] * bool(refused),
        ],
        prose=(0,),
    )
    yield from excluding_zero(firsts, "further question")
    yield from (f"{entry.label}: {entry.asks}" for entry in plan.further)
    yield from refused
