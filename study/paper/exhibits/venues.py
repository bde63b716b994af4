"""The first event on the papers of other venues, by the headline design."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from study.estimates import Effect
from study.panel import Panel
from study.paper.exhibits.exhibit import (
    RUN,
    Exhibited,
    Part,
    Setting,
    Traced,
    address,
    addressed,
    cluster_of,
    estimate_command,
    exhibit,
    panel_title,
    source_of,
)
from study.paper.plan import Task
from study.paper.results import headline_effect
from study.report import (
    LETTERS,
    Block,
    Cell,
    Line,
    Number,
    Table,
    effect_values,
    effects_between,
    refused_notes,
)

EXHIBIT = "venues"


@exhibit("Other venues", Part.EFFECTS)
def venues(setting: Setting) -> Exhibited:
    """Return the table of venues with its numbers; nothing where the plan names no other venue."""
    plan = setting.plan
    if not setting.venues:
        return Exhibited()
    panels = {panel_title(setting.panel): setting.panel, **setting.venues}
    effects = {
        (scale, label, outcome): _effect(setting, scale, outcome, panel, label)
        for scale in plan.scales
        for label, panel in panels.items()
        for outcome in plan.outcomes
    }
    blocks = [
        Block(
            f"Panel {letter}. {title}",
            [
                line
                for label, panel in panels.items()
                for line in _lines(label, panel, [effects[scale, label, o] for o in plan.outcomes])
            ],
        )
        for letter, (scale, title) in zip(LETTERS, plan.scales.items(), strict=False)
    ]
    event = plan.events[0]
    table = Table(
        name=EXHIBIT,
        caption=f"The {event.title} and papers at other venues, {plan.headline.label}",
        headings=["Treated", "All", *plan.outcomes.values(), "MDE"],
        blocks=blocks,
        notes=[
            f"Treated and all {plan.text.units} of each venue's panel; each panel has its own population, baseline "
            f"year and window. Standard errors in parentheses, clustered by {cluster_of(plan)}. MDE: the minimum "
            f"detectable effect on the first outcome at 80% power and {1 - plan.level:.0%} size.",
            *refused_notes(f"{e.label}: {e.note}" for e in effects.values() if e.note),
        ],
    )
    return Exhibited(
        tables=(table,),
        numbers=tuple(_numbers(setting, panels, effects)),
        sentences=(_verdict(setting, effects),),
    )


def _task(setting: Setting, scale: str, outcome: str) -> Task:
    return setting.plan.task(setting.plan.events[0], outcome, scale, setting.plan.headline)


def _effect(setting: Setting, scale: str, outcome: str, panel: Panel, label: str) -> Effect:
    """Return the plan's answer for its own panel, and the average alone for the others."""
    task = _task(setting, scale, outcome)
    known = setting.results[task.key].headline if panel is setting.panel else None
    return headline_effect(task, panel, label) if known is None else replace(known, label=label)


def _lines(label: str, panel: Panel, effects: Sequence[Effect]) -> list[Line]:
    """Return the lines of a venue: the size of its sample, the effects, and what the first could have found."""
    answered = next((effect for effect in effects if effect.exists), None)
    counts: list[Cell] = (
        [Number(answered.n_treated, 0), Number(answered.n_units, 0)] if answered else ["", ""]
    )
    could_find: Cell = Number(effects[0].mde) if effects[0].exists else ""
    return effects_between(f"{label}, {len(panel.periods)} periods", effects, counts, [could_find])


def _numbers(
    setting: Setting, panels: Mapping[str, Panel], effects: Mapping[tuple[str, str, str], Effect]
) -> Iterator[Traced]:
    for (scale, label, outcome), effect in effects.items():
        task, panel = _task(setting, scale, outcome), panels[label]
        at = address(EXHIBIT, label, outcome, scale, "headline")
        for column, value in effect_values(effect).items() if effect.exists else ():
            command = RUN if column == "mde" else estimate_command(task, panel)
            source = source_of(EXHIBIT, f"papers at {label}", task, panel, command)
            yield from addressed(at, {column: value}, source, scale)


def _verdict(setting: Setting, effects: Mapping[tuple[str, str, str], Effect]) -> str:
    """Say how many of the first outcome's intervals exclude zero, and which."""
    first = next(iter(setting.plan.outcomes))
    answered = {
        f"{label} ({scale})": effect
        for (scale, label, outcome), effect in effects.items()
        if outcome == first and effect.exists
    }
    excluding = [label for label, effect in answered.items() if effect.excludes_zero]
    named = f": {'; '.join(excluding)}" if excluding else ""
    return (
        f"Of {len(answered)} intervals by venue and scale {len(excluding)} exclude zero{named}. Venues share "
        "universities, so that they are no independent replications."
    )
