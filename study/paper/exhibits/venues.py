"""The first event on the papers of other venues, by the headline design."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product

from study.core import capital
from study.estimates import Effect
from study.paper import Part, Piece, Setting, excluding_zero, exhibit, headline_effect, outcome_line
from study.report import A_DASH, Line, Table, lettered


@exhibit("Other venues", Part.EFFECTS)
def venues(setting: Setting) -> Iterator[Piece]:
    """Yield the table of venues with its numbers."""
    plan = setting.plan
    lines: dict[str, list[Line]] = {scale: [] for scale in plan.scales}
    firsts: dict[str, dict[str, Effect]] = {title: {} for title in plan.scales.values()}
    refused: dict[str, None] = {}
    panels = {setting.panel_title: setting.panel, **setting.venues}
    for (scale, of_scale), (label, panel) in product(lines.items(), panels.items()):
        tasks = [setting.task(scale, outcome) for outcome in plan.outcomes]
        # The plan's answers for its own panel, and the average alone for the others.
        known = (setting.results[task.key].headline if panel is setting.panel else None for task in tasks)
        effects = [own or headline_effect(task, panel) for task, own in zip(tasks, known, strict=True)]
        of_scale.append(outcome_line(f"{label}, {len(panel.periods)} periods", effects, scale))
        firsts[plan.scales[scale]][label] = effects[0]
        refused |= dict.fromkeys(f"{label}: {effect.note}" for effect in effects if effect.note)
        for task, effect in zip(tasks, effects, strict=True):
            at = (label, task.outcome, scale, "headline")
            yield from setting.headline_numbers(panel, at, task, effect, f"{plan.text.counted} at {label}")
    yield Table(
        name="venues",
        caption=f"{capital(setting.event.called)} and {plan.text.counted} at other venues, {plan.headline.label}",
        **setting.outcome_heads("MDE"),
        blocks=lettered({plan.scales[scale]: of_scale for scale, of_scale in lines.items()}),
        notes=[
            f"Each venue's panel has its own {plan.text.units}, baseline year and window. Standard errors in "
            f"parentheses, clustered by {setting.clusters}. MDE: the minimum detectable effect on the first outcome.",
            *[A_DASH] * bool(refused),
        ],
    )
    yield from excluding_zero(firsts, "venue")
    yield f"Venues share {plan.text.units}, so that they are no independent replications."
    yield from refused
