"""The headline design asked about each family of compute-access events, one line a family."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cache
from itertools import product
from operator import itemgetter
from typing import Any

from study.core import p_text
from study.designs import find_design
from study.estimates import Effect, Estimate, effects_frame
from study.figures import dot_figure
from study.inference import agreement_of
from study.panel import Scale
from study.paper import Event, Result, headline_effect
from study.paper.exhibits.exhibit import Part, Piece, Setting, draw, exhibit, refusals
from study.report import COLUMNS, REFUSED, Block, Column, Line, Table, effects_between, lettered

EXHIBIT = "families"
FEW = 5
OF_FAMILIES = {
    "family": Column("family with the smallest randomization p-value", "text"),
    "answered": Column("families that the headline design answers for, first outcome", "count"),
    "excluding_zero": Column("families whose interval excludes zero, first outcome and scale", "count"),
    "moved": Column(
        "estimates of families whose dates are moved by a period, first outcome and scale", "count"
    ),
    "moved_excluding_zero": Column("of them, those whose interval excludes zero", "count"),
}

# The difference of each family from its contrast, by the family's label, scale and outcome.
Differences = Mapping[tuple[str, str, str], Effect]
# The first outcome's effects with an event's dates a period earlier, as dated, and a period later, by its label.
Moved = Mapping[str, Sequence[Effect]]


@exhibit("Families of compute-access events", Part.EFFECTS)
def families(setting: Setting) -> Iterator[Piece]:
    """Yield the table of families on each scale, that of their dates moved, a figure, and all numbers."""
    plan, scale = setting.plan, Scale(setting.scale, setting.outcome)
    if not plan.families:
        return
    differences = dict(_differences(setting))
    moved = {event.label: _moved(setting, event) for event in (setting.event, *plan.families)}
    answers = [(event, setting.answers(event, scale.name)[0]) for event in plan.every_event]
    rows = [replace(r.headline, label=f"{e.short} ({r.n_treated})") for e, r in answers if r.headline]
    how: Any = {"xlabel": f"Effect, {scale.column}", "percent": scale.percent, "level": plan.level}
    for name in plan.scales:
        yield _table(setting, name, differences)
    yield _dates_table(setting, moved)
    yield draw(
        EXHIBIT,
        f"Families of compute-access events, {plan.headline.label}, {plan.outcomes[setting.outcome].lower()}; treated "
        f"{plan.text.units} in parentheses.",
        dot_figure(effects_frame(rows), **how),
        "One estimate with its interval a family of events, around a line at zero.",
    )
    yield from _numbers(setting, differences, moved)
    yield _verdict(setting)
    yield from (f"{event.short}: {event.threat}" for event in plan.families if event.threat)


def _table(setting: Setting, scale: str, differences: Differences) -> Table:
    """Return one scale's table: families as lines with their contrasts, outcomes as columns."""
    plan = setting.plan
    lines: dict[str, list[Line]] = {}
    for event in plan.families:
        lines.setdefault(event.group, []).extend(_lines(setting, event, scale, differences))
    return Table(
        name=EXHIBIT if scale == setting.scale else f"{EXHIBIT}-{scale}",
        caption=f"Families of compute-access events, {plan.headline.label}: {plan.scales[scale].lower()}",
        headings=["Treated", "All", *plan.outcomes.values(), "Randomization p", "MDE"],
        spans=[
            (plan.text.units.capitalize(), 2),
            (f"Effect on {plan.text.outcome}", len(plan.outcomes)),
            (plan.outcomes[setting.outcome], 2),
        ],
        blocks=lettered(lines),
        notes=list(_notes(setting, scale)),
    )


def _lines(setting: Setting, event: Event, scale: str, differences: Differences) -> list[Line]:
    """Return the lines of a family, and those of its difference from its contrast where there is one."""
    plan, answers = setting.plan, setting.answers(event, scale)
    first = answers[0]
    p_value = first.randomization.p_value if first.randomization else math.nan
    counts = [COLUMNS["n_units"].cell(n) for n in (first.n_treated, first.n_units)]
    tests = [COLUMNS["p_value"].cell(p_value), COLUMNS["mde"].cell(first.power.effect)]
    lines = effects_between(event.short, [result.headline for result in answers], counts, tests)
    less = [differences.get((event.label, scale, outcome)) for outcome in plan.outcomes]
    if any(less):
        contrast = next(e.short for e in plan.families if e.label == event.contrast)
        lines += effects_between(f"less {contrast.split(' (')[0].lower()}", less, ["", ""], ["", ""])
    return lines


def _notes(setting: Setting, scale: str) -> Iterator[str]:
    plan = setting.plan
    every = [result for event in plan.families for result in setting.answers(event, scale)]
    yield (
        f"Estimand: the average over {setting.averaged(plan.families[0])} with equal weights, among those that could "
        "have had the event (populations fixed before it)."
    )
    own = [event for event in plan.families if "horizon" in event.question]
    yield from (f"{event.short}: the average is over {setting.averaged(event)}." for event in own)
    yield setting.errors(every)
    yield (
        f"The randomization p-value permutes event dates within strata of {plan.strata}; MDE is the minimum "
        "detectable effect at 80% power and 5% size. A contrast is an event without compute; a difference from "
        "it has its standard error from the joint influence of both estimates."
    )
    yield f"{len(plan.families)} families are as many chances: no line is a finding of its own."
    smallest = _smallest(setting, scale)
    if smallest:
        yield (
            f"The smallest randomization p-value, {p_text(smallest['p_value'])} for {smallest['family']}, is "
            f"{p_text(smallest['p_holm'])} by Holm over {smallest['tested']} families."
        )
    few = [event.short for event, result in _first(setting) if result.n_treated < FEW]
    if few:
        yield (
            f"{'; '.join(few)}: fewer than {FEW} treated {plan.text.units}, whose own variation a standard error "
            "cannot show; read the randomization p-value."
        )
    yield from refusals(every)


def _smallest(setting: Setting, scale: str) -> dict[str, Any]:
    """Return the family with the smallest randomization p-value of the first outcome; empty where none is tested."""
    tests = [(result.randomization, event, result.task) for event, result in _first(setting, scale)]
    tested = [(test.p_value, event.short, task) for test, event, task in tests if test]
    if not tested:
        return {}
    p_value, family, task = min(tested, key=itemgetter(0))
    p_holm = min(1.0, len(tested) * p_value)
    return {"family": family, "p_value": p_value, "p_holm": p_holm, "tested": len(tested), "task": task}


def _differences(setting: Setting) -> Iterator[tuple[tuple[str, str, str], Effect]]:
    """Yield the difference of each family from its contrast, where both have an answer."""
    plan = setting.plan

    @cache
    def fit(label: str, scale: str, outcome: str) -> Estimate | None:
        result = setting.results[label, scale, outcome, plan.headline.label]
        sample = result.task.question.sample(setting.panel)
        design = find_design(plan.headline.name)
        return design(sample, **result.task.options).headline if result.headline else None

    compared = [event for event in plan.families if event.contrast]
    for scale, outcome, event in product(plan.scales, plan.outcomes, compared):
        pair = {label: fit(label, scale, outcome) for label in (event.label, event.contrast)}
        fits = {label: estimate for label, estimate in pair.items() if estimate is not None}
        agreement = agreement_of(fits, draws=plan.band_draws, seed=plan.seed)
        if agreement.pairs:
            estimate, error = float(agreement.difference[0]), float(agreement.std_error[0])
            p_value = agreement.sup_t.p_value if agreement.sup_t else math.nan
            label = f"difference from {event.contrast}"
            yield (event.label, scale, outcome), Effect(label, estimate, error, p_value=p_value)


def _moved(setting: Setting, event: Event) -> list[Effect]:
    """Return the first outcome's effects with an event's dates a period earlier, as dated, and a period later."""
    result = setting.answers(event, setting.scale)[0]
    question = result.task.question
    questions = (question.replace(lag=question.lag + move) for move in (-1, 1))
    earlier, later = (headline_effect(replace(result.task, question=q), setting.panel) for q in questions)
    return [earlier, result.headline or Effect(event.label), later]


def _dates_table(setting: Setting, moved: Moved) -> Table:
    """Return the first outcome's estimates with every event a period earlier, as dated, and a period later."""
    plan = setting.plan
    events = (setting.event, *plan.families)
    lines = [line for event in events for line in effects_between(event.short, moved[event.label])]
    return Table(
        name=f"{EXHIBIT}-dates",
        caption=f"Events a year earlier and later: {plan.headline.label}, {plan.outcomes[setting.outcome].lower()}",
        headings=["One earlier", "As dated", "One later"],
        blocks=[Block(plan.scales[setting.scale], lines)],
        notes=[
            "Dates are known by month at best, and a machine serves some time after it is announced: all events of a "
            "line are moved by one period. Standard errors in parentheses.",
            f"{REFUSED} : the design refuses the question, or nobody is treated inside the window.",
        ],
    )


def _numbers(setting: Setting, differences: Differences, moved: Moved) -> Iterator[Piece]:
    """Yield what is no answer of the plan: differences from the contrasts, the smallest p-values, and counts."""
    plan, row = setting.plan, setting.plan.headline.label
    for (label, scale, outcome), effect in differences.items():
        values = {"estimate": effect.estimate, "std_error": effect.std_error, "p_value": effect.p_value}
        task = setting.results[label, scale, outcome, row].task
        at = (label, outcome, scale, "difference")
        yield from setting.numbers(at, values, task=task, exhibit=EXHIBIT, quantity=effect.label)
    for scale in plan.scales:
        smallest = _smallest(setting, scale)
        if smallest:
            values = {name: smallest[name] for name in ("family", "p_value", "p_holm")}
            about = f"smallest randomization p-value of {smallest['tested']} families"
            where = (EXHIBIT, scale, "smallest")
            yield from setting.numbers(where, values, OF_FAMILIES, smallest["task"], quantity=about)
    first = _first(setting)
    others = [effect for event in plan.families for effect in moved[event.label][::2] if effect.exists]
    counts = {
        "answered": sum(result.headline is not None for _, result in first),
        "excluding_zero": sum(result.headline.excludes_zero for _, result in first if result.headline),
        "moved": len(others),
        "moved_excluding_zero": sum(effect.excludes_zero for effect in others),
    }
    yield from setting.numbers((EXHIBIT, "summary"), counts, OF_FAMILIES, first[0][1].task)


def _first(setting: Setting, scale: str | None = None) -> list[tuple[Event, Result]]:
    """Return each family with its answer for the first outcome, on the first scale where none is named."""
    return [(event, setting.answers(event, scale or setting.scale)[0]) for event in setting.plan.families]


def _verdict(setting: Setting) -> str:
    answered = [(event, result) for event, result in _first(setting) if result.headline]
    excluding = []
    for event, result in answered:
        if result.headline and result.headline.excludes_zero:
            test = result.randomization
            p_value = f", randomization p-value {p_text(test.p_value)}" if test else ""
            excluding.append(f"{event.short}, {result.n_treated} treated{p_value}")
    named = f" ({'; '.join(excluding)})" if excluding else ""
    return (
        f"Of the {len(answered)} families that the headline design answers for, the number with zero outside of "
        f"the interval is {len(excluding)}{named}."
    )
