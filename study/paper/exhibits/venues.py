"""The first event on the papers of other venues, by the headline design."""

from __future__ import annotations

from collections.abc import Sequence

from study.core import QuestionError
from study.designs import find_design
from study.estimates import Effect, smallest_effect
from study.panel import Panel, Scale
from study.paper.exhibits.exhibit import (
    RUN,
    Exhibited,
    Setting,
    Traced,
    estimate_command,
    panel_title,
    source_of,
)
from study.paper.plan import Task
from study.report import LETTERS, REFUSED, Block, Line, Number, Table, error, macro_name, p_text


def venues(setting: Setting) -> Exhibited:
    """Return the table of venues with its numbers; nothing where the plan names no other venue."""
    plan = setting.plan
    if not setting.venues:
        return Exhibited()
    event, numbers, blocks, refused = plan.events[0], [], [], []
    rows: list[tuple[str, str, Effect]] = []
    panels = {panel_title(setting.panel): setting.panel, **setting.venues}
    for letter, (scale, title) in zip(LETTERS, plan.scales.items(), strict=False):
        lines = []
        for label, panel in panels.items():
            found = {o: _row(plan.task(event, o, scale, plan.headline), panel) for o in plan.outcomes}
            answered = {o: row for o, row in found.items() if not isinstance(row, str)}
            refused += [f"{label}: {row}" for row in found.values() if isinstance(row, str)]
            size = next(iter(answered.values()), None)
            counts = [Number(size[0].n_treated, 0), Number(size[0].n_units, 0)] if size else ["", ""]
            mde = answered.get(next(iter(plan.outcomes)))
            if mde:
                rows.append((label, scale, mde[0]))
            lines.append(
                Line(
                    f"{label}, {len(panel.periods)} periods",
                    [
                        *counts,
                        *(
                            Number(answered[o][0].estimate) if o in answered else REFUSED
                            for o in plan.outcomes
                        ),
                        Number(mde[1]) if mde else "",
                    ],
                )
            )
            lines.append(
                Line(
                    "",
                    [
                        "",
                        "",
                        *(error(answered[o][0].std_error) if o in answered else "" for o in plan.outcomes),
                        "",
                    ],
                )
            )
            for outcome, (row, effect) in answered.items():
                task = plan.task(event, outcome, scale, plan.headline)
                numbers += _numbers(label, task, panel, row, effect)
        blocks.append(Block(f"Panel {letter}. {title}", lines))
    table = Table(
        name="venues",
        caption=f"The {event.title} and papers at other venues, {plan.headline.label}",
        headings=["Treated", "All", *plan.outcomes.values(), "MDE"],
        blocks=blocks,
        notes=[
            f"Treated and all {plan.text.units} of each venue's panel; each panel has its own population, baseline "
            "year and window. Standard errors in parentheses, clustered by "
            f"{plan.question.get('cluster') or plan.text.unit}. MDE: the minimum detectable effect on the first "
            "outcome at 80% power and 5% size.",
            *([f"{REFUSED} : refused. {' '.join(dict.fromkeys(refused))}"] if refused else []),
        ],
    )
    return Exhibited(tables=(table,), numbers=tuple(numbers), sentences=(_verdict(rows),))


def _row(task: Task, panel: Panel) -> tuple[Effect, float] | str:
    try:
        fit = find_design(task.row.name)(task.question.sample(panel), **task.options).headline
    except QuestionError as refusal:
        return str(refusal)
    return Effect.of(panel.name, fit, task.level), smallest_effect(fit).effect


def _numbers(label: str, task: Task, panel: Panel, row: Effect, effect: float) -> list[Traced]:
    alone = estimate_command(task, panel)
    name = macro_name("venue", label.lower(), task.scale, task.outcome)
    parts = (
        ("Estimate", row.estimate, "estimate"),
        ("Low", row.conf_low, "lower end of the interval"),
        ("High", row.conf_high, "upper end of the interval"),
        ("Mde", effect, "minimum detectable effect"),
    )
    traced = [
        Traced(
            f"{name}{part}",
            Scale(task.scale).number(value),
            source_of(
                "venues", f"{what}, {Scale(task.scale).printed}", task, panel, RUN if part == "Mde" else alone
            ),
        )
        for part, value, what in parts
    ]
    return [
        *traced,
        Traced(f"{name}P", p_text(row.p_value), source_of("venues", "p-value", task, panel, alone)),
        Traced(
            f"{name}Treated",
            str(row.n_treated),
            source_of("venues", "units first treated", task, panel, alone),
        ),
    ]


def _verdict(rows: Sequence[tuple[str, str, Effect]]) -> str:
    """Say how many of the first outcome's intervals exclude zero, and which."""
    excluding = [f"{label} ({scale})" for label, scale, row in rows if row.excludes_zero]
    named = f": {'; '.join(excluding)}" if excluding else ""
    return (
        f"Of {len(rows)} intervals by venue and scale {len(excluding)} exclude zero{named}. Venues share universities, "
        "so that they are no independent replications."
    )
