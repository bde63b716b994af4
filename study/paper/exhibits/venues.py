"""The first event on the papers of other venues, by the headline design."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import chain, product
from typing import Any

from study.core import capital
from study.estimates import Effect
from study.panel import Panel, Scale
from study.paper import Task, headline_effect
from study.paper.exhibits.exhibit import RUN, Part, Piece, Setting, estimate_command, exhibit, panel_title
from study.report import A_DASH, COLUMNS, Line, Number, Table, effect_values, effects_beside, lettered

EXHIBIT = "venues"


@exhibit("Other venues", Part.EFFECTS)
def venues(setting: Setting) -> Iterator[Piece]:
    """Yield the table of venues with its numbers; nothing where the plan names no other venue."""
    plan = setting.plan
    if not setting.venues:
        return
    lines: dict[str, list[Line]] = {scale: [] for scale in plan.scales}
    firsts: dict[str, dict[str, Effect]] = {title: {} for title in plan.scales.values()}
    refused: dict[str, None] = {}
    panels = {panel_title(setting.panel): setting.panel, **setting.venues}
    for (scale, of_scale), (label, panel) in product(lines.items(), panels.items()):
        tasks = [setting.task(scale, outcome) for outcome in plan.outcomes]
        # The plan's answers for its own panel, and the average alone for the others.
        known = (setting.results[task.key].headline if panel is setting.panel else None for task in tasks)
        effects = [own or headline_effect(task, panel) for task, own in zip(tasks, known, strict=True)]
        of_scale.append(outcome_line(f"{label}, {len(panel.periods)} periods", effects, Scale(scale)))
        firsts[plan.scales[scale]][label] = effects[0]
        refused |= dict.fromkeys(f"{label}: {effect.note}" for effect in effects if effect.note)
        for task, effect in zip(tasks, effects, strict=True):
            at = (EXHIBIT, label, task.outcome, scale, "headline")
            yield from headline_numbers(setting, panel, at, task, effect, f"{plan.text.counted} at {label}")
    yield Table(
        name=EXHIBIT,
        caption=f"The {setting.event.title} and {plan.text.counted} at other venues, {plan.headline.label}",
        **outcome_heads(setting),
        blocks=lettered({plan.scales[scale]: of_scale for scale, of_scale in lines.items()}),
        notes=[
            f"Each venue's panel has its own {plan.text.units}, baseline year and window. Standard errors in "
            f"parentheses, clustered by {setting.clusters}. MDE: the minimum detectable effect on the first outcome.",
            *[A_DASH] * bool(refused),
        ],
        prose=(0,),
    )
    yield from excluding_zero(firsts, "venue")
    yield f"Venues share {plan.text.units}, so that they are no independent replications."
    yield from refused


def excluding_zero(effects: Mapping[str, Mapping[str, Effect]], by: str) -> Iterator[str]:
    """Say, by the title of a scale, how many of the effects by label have an interval without zero, and which."""
    for title, of_scale in effects.items():
        answered = {label: effect for label, effect in of_scale.items() if effect.exists}
        labels = [label for label, effect in answered.items() if effect.excludes_zero]
        named = f" ({'; '.join(labels)})" if labels else ""
        yield f"{title}: {len(labels)} of {len(answered)} intervals by {by} exclude zero{named}."


def headline_numbers(
    setting: Setting, panel: Panel, at: Sequence[str], task: Task, effect: Effect, quantity: str
) -> Iterator[Piece]:
    """Yield the numbers of an answer about a panel that need not be the plan's, each with what shows it alone."""
    about = replace(setting, panel=panel)
    for column, value in effect_values(effect).items() if effect.exists else ():
        command = RUN if column == "mde" else estimate_command(task, panel)
        yield from about.numbers(at, {column: value}, task=task, quantity=quantity, command=command)


def outcome_heads(setting: Setting) -> dict[str, Any]:
    """Return the headings over the cells of :func:`outcome_line`, and what stands over them."""
    plan, effects = setting.plan, [("Effect", "(SE)")] * len(setting.plan.outcomes)
    return {
        "headings": ["Treated", "All", *chain(*effects), "MDE"],
        "spans": [(capital(plan.text.units), 2), *((title, 2) for title in plan.outcomes.values()), ("", 1)],
    }


def outcome_line(label: str, effects: Sequence[Effect], scale: Scale) -> Line:
    """Return the line of a panel: the size of its sample, the effects, and what the first could have found."""
    answered = next((effect for effect in effects if effect.exists), None)
    counts = [Number(n, 0) for n in (answered.n_treated, answered.n_units)] if answered else ["", ""]
    mde = COLUMNS["mde"].cell(effects[0].mde, scale) if effects[0].exists else ""
    return effects_beside(label, effects, counts, [mde], scale=scale)
