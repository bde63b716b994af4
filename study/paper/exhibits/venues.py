"""The first event on the papers of other venues, by the headline design."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import product

from study.estimates import Effect
from study.panel import Panel
from study.paper import Task, headline_effect
from study.paper.exhibits.exhibit import RUN, Part, Piece, Setting, estimate_command, exhibit, panel_title
from study.report import Line, Number, Table, effect_values, effects_between, lettered, refused_notes

EXHIBIT = "venues"


@exhibit("Other venues", Part.EFFECTS)
def venues(setting: Setting) -> Iterator[Piece]:
    """Yield the table of venues with its numbers; nothing where the plan names no other venue."""
    plan, event = setting.plan, setting.event
    if not setting.venues:
        return
    lines: dict[str, list[Line]] = {scale: [] for scale in plan.scales}
    firsts, refused = {}, []
    panels = {panel_title(setting.panel): setting.panel, **setting.venues}
    for (scale, of_scale), (label, panel) in product(lines.items(), panels.items()):
        tasks = [plan.task(event, outcome, scale, plan.headline) for outcome in plan.outcomes]
        # The plan's answers for its own panel, and the average alone for the others.
        known = [setting.results[task.key].headline if panel is setting.panel else None for task in tasks]
        effects = [
            replace(effect, label=label) if effect else headline_effect(task, panel, label)
            for task, effect in zip(tasks, known, strict=True)
        ]
        of_scale += outcome_lines(f"{label}, {len(panel.periods)} periods", effects)
        firsts[f"{label} ({scale})"] = effects[0]
        refused += [f"{effect.label}: {effect.note}" for effect in effects if effect.note]
        for task, effect in zip(tasks, effects, strict=True):
            at = (EXHIBIT, label, task.outcome, scale, "headline")
            yield from headline_numbers(setting, panel, at, task, effect, f"{plan.text.counted} at {label}")
    yield Table(
        name=EXHIBIT,
        caption=f"The {event.title} and {plan.text.counted} at other venues, {plan.headline.label}",
        headings=["Treated", "All", *plan.outcomes.values(), "MDE"],
        blocks=lettered({plan.scales[scale]: of_scale for scale, of_scale in lines.items()}),
        notes=[
            f"Treated and all {plan.text.units} of each venue's panel; each panel has its own population, baseline "
            f"year and window. Standard errors in parentheses, clustered by {setting.clusters}. MDE: the minimum "
            f"detectable effect on the first outcome at 80% power and {1 - plan.level:.0%} size.",
            *refused_notes(refused),
        ],
    )
    apart = f"Venues share {plan.text.units}, so that they are no independent replications."
    yield f"{excluding_zero(firsts, 'venue')} {apart}"


def excluding_zero(effects: Mapping[str, Effect], by: str) -> str:
    """Say how many of the effects on each scale have an interval without zero, and which."""
    answered = {name: effect for name, effect in effects.items() if effect.exists}
    names = [name for name, effect in answered.items() if effect.excludes_zero]
    named = f": {'; '.join(names)}" if names else ""
    return f"Of {len(answered)} intervals by {by} and scale {len(names)} exclude zero{named}."


def headline_numbers(
    setting: Setting, panel: Panel, at: Sequence[str], task: Task, effect: Effect, quantity: str
) -> Iterator[Piece]:
    """Yield the numbers of an answer about a panel that need not be the plan's, each with what shows it alone."""
    about = replace(setting, panel=panel)
    for column, value in effect_values(effect).items() if effect.exists else ():
        command = RUN if column == "mde" else estimate_command(task, panel)
        yield from about.numbers(at, {column: value}, task=task, quantity=quantity, command=command)


def outcome_lines(label: str, effects: Sequence[Effect]) -> list[Line]:
    """Return the lines of a panel: the size of its sample, the effects, and what the first could have found."""
    answered = next((effect for effect in effects if effect.exists), None)
    counts = [Number(n, 0) for n in (answered.n_treated, answered.n_units)] if answered else ["", ""]
    return effects_between(label, effects, counts, [Number(effects[0].mde) if effects[0].exists else ""])
