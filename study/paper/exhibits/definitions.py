"""Definitions of the event side by side: every design's estimates under each, in one table."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product

from study.paper.exhibits.exhibit import Part, Piece, Setting, exhibit, refusals
from study.report import COLUMNS, Line, Table, effects_between, lettered, p_cell


@exhibit("Definitions of the event side by side", Part.EFFECTS)
def definitions(setting: Setting) -> Iterator[Piece]:
    """Yield one table of designs by outcomes and events, from the answers of the plan; its numbers are theirs."""
    plan = setting.plan
    events = [e for e in plan.events if e.label in plan.definitions or not plan.definitions]
    columns = list(product(plan.outcomes, events))
    blocks: dict[str, list[Line]] = {}
    every = []
    for scale, title in plan.scales.items():
        lines = blocks[title] = []
        for row in plan.rows:
            answers = [setting.results[event.label, scale, outcome, row.label] for outcome, event in columns]
            lines += effects_between(row.label, [answer.headline for answer in answers])
            every += answers
        first = [
            setting.results[event.label, scale, outcome, plan.headline.label] for outcome, event in columns
        ]
        tests = [answer.randomization for answer in first]
        if any(tests):
            label = f"Randomization p, {plan.headline.label}"
            lines.append(Line(label, [p_cell(test.p_value) if test else "" for test in tests]))
    counted = {"n_treated": f"{plan.text.units} treated", "n_units": f"All {plan.text.units}"}
    blocks["Sample of the headline"] = [
        Line(label.capitalize(), [COLUMNS[name].cell(getattr(answer, name)) for answer in first])
        for name, label in counted.items()
    ]
    yield Table(
        name="definitions",
        caption=f"Effects on {plan.text.outcome} by design, under each definition of the event",
        headings=[event.short for _, event in columns],
        spans=[(title, len(events)) for title in plan.outcomes.values()],
        blocks=lettered(blocks),
        notes=[
            f"{'; '.join(f'{event.short}: {event.title}' for event in events)}. Average over "
            f"{setting.averaged(setting.event)}, where a design has event times. {setting.errors(every)}",
            *refusals(every),
        ],
    )
