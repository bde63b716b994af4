"""Questions of other kinds: reversible treatments, doses, triple differences, and other counterfactuals."""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import product

from study.estimates import Effect
from study.paper import Part, Piece, Setting, answer, excluding_zero, exhibit, outcome_line, reason
from study.report import A_DASH, Line, Number, Table, lettered

FEW = 4


@exhibit("Further questions", Part.EFFECTS)
def further(setting: Setting) -> Iterator[Piece]:
    """Yield the table of further questions with its numbers; nothing where the plan has none."""
    plan = setting.plan
    lines: dict[str, list[Line]] = {scale: [] for scale in plan.scales}
    firsts: dict[str, dict[str, Effect]] = {title: {} for title in plan.scales.values()}
    refused: dict[str, None] = {}
    estimators: dict[str, dict[str, None]] = {}  # by name, the labels of the answers that have it
    for scale, entry in product(plan.scales, plan.further):
        panel = setting.further.get(entry.label, setting.panel)
        answers = [answer(task, panel) for task in plan.further_tasks(entry, scale)]
        effects = [result.headline or Effect("", note=" ".join(result.notes)) for result in answers]
        (_, cells), first = outcome_line(entry.label, effects, scale), effects[0]
        degrees = Number(first.degrees, 1) if math.isfinite(first.degrees) else "normal"
        lines[scale].append(Line(entry.label, [*cells, degrees if first.exists else ""]))
        for result, effect in zip(answers, effects, strict=True):
            at = (entry.label, result.task.outcome, scale)
            yield from setting.headline_numbers(panel, at, result.task, effect, entry.label)
            if result.headline:
                vcov = str(result.options.get("inference", result.vcov)).replace("_", " ")
                estimators.setdefault(vcov, {})[entry.label] = None
        firsts[plan.scales[scale]][entry.label] = first
        refused |= dict.fromkeys(f"{entry.label}: {reason(effect.note)}" for effect in effects if effect.note)
    usual = max(estimators, key=lambda name: len(estimators[name]), default="")
    others = (f"{', '.join(own)}: {name}" for name, own in estimators.items() if name != usual)
    errors = "; ".join([usual, *others])
    leaving = [entry.label for entry in plan.further if entry.options.get("switchers") == "out"]
    yield Table(
        name="further",
        caption=f"Further questions about {plan.text.outcome}",
        **setting.outcome_heads("MDE", "df", over=plan.outcomes[setting.outcome]),
        blocks=lettered({plan.scales[scale]: of_scale for scale, of_scale in lines.items()}),
        notes=[
            f"Treated: {plan.text.units} that are treated in some period, or their fields. Standard errors in "
            f"parentheses ({errors}). MDE: minimum detectable effect; df: degrees of freedom of its t, and where they "
            f"are below {FEW} the MDE says little.",
            *(f"{label}: positive if {plan.text.counted} fall." for label in leaving),
            *[A_DASH] * bool(refused),
        ],
    )
    yield from excluding_zero(firsts, "further question")
    yield from (f"{entry.label}: {entry.asks}" for entry in plan.further)
    yield from refused
