"""The headline design asked about each family of events, one line a family."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import product
from operator import itemgetter
from typing import Any

import numpy as np
import pandas as pd

from study.core import grouped, p_text
from study.estimates import Effect, effects_frame
from study.figures import GREY, WIDE, Figure, dot_figure
from study.panel import Scale
from study.paper import Event, Result, agreement, headline_effect
from study.paper.exhibits.exhibit import Part, Piece, Setting, draw, exhibit, refusals
from study.report import A_DASH, COLUMNS, REFUSED, Block, Cell, Column, Line, Table, effects_beside, lettered

FEW = 5
OF_FAMILIES = {
    "family": Column("family with the smallest randomization p-value", "text"),
    "answered": Column("families that the headline design answers for, first outcome", "count"),
    "excluding_zero": Column("families whose interval excludes zero, first outcome and scale", "count"),
    "excluding_zero_few": Column(f"of them, those with fewer than {FEW} treated", "count"),
    "moved": Column(
        "estimates of families whose dates are moved by a period, first outcome and scale", "count"
    ),
    "moved_excluding_zero": Column("of them, those whose interval excludes zero", "count"),
}

# The difference of each family from its contrast, by the family's label, scale and outcome.
Differences = Mapping[tuple[str, str, str], Effect]
# The first outcome's effects with an event's dates a period earlier, as dated, and a period later, by its label.
Moved = Mapping[str, Sequence[Effect]]


@exhibit("Families of events", Part.EFFECTS)
def families(setting: Setting) -> Iterator[Piece]:
    """Yield the table of families on each scale, that of their dates moved, a figure, and all numbers."""
    plan, scale = setting.plan, Scale(setting.scale, setting.outcome)
    differences = dict(_differences(setting))
    moved = {event.label: _moved(setting, event) for event in (setting.event, *plan.families)}
    answers = [(event, setting.answers(event, scale.name)[0]) for event in plan.every_event]
    rows = [replace(r.headline, label=f"{e.short} ({r.n_treated})") for e, r in answers if r.headline]
    every = f"Families of {'compute-access ' if setting.ships else ''}events, {plan.headline.label}"
    for name in plan.scales:
        yield _table(setting, name, differences, f"{every}: {plan.scales[name].lower()}")
    yield _tests_table(setting)
    yield _dates_table(setting, moved)
    yield draw(
        "families",
        f"{every}, {setting.outcome_in_words}; treated "
        f"{plan.text.units} in parentheses. Intervals with an arrow go on beyond the axis.",
        figure(effects_frame(rows), scale, plan.level),
        "One estimate with its interval a family of events, around a line at zero.",
    )
    yield from _numbers(setting, differences, moved)
    yield from (f"{event.short}: {event.threat}" for event in plan.families if event.threat)
    yield from refusals(r for event in plan.families for s in plan.scales for r in setting.answers(event, s))


def figure(frame: pd.DataFrame, scale: Scale, level: float) -> Figure:
    """Draw the effects as dots on lines, and end the axis where intervals much wider than the others go on."""
    drawn = dot_figure(frame, xlabel=f"Effect, {scale.column}", percent=scale.percent, level=level)
    axis, factor = drawn.axes[0], 100 if scale.percent else 1
    axis.tick_params(axis="y", pad=7)  # room for the arrows
    estimate, low, high = factor * frame[["estimate", "conf_low", "conf_high"]].to_numpy().T
    wide = high - low > WIDE * np.nanmedian(high - low)
    inside = np.concatenate([low[~wide], high[~wide], estimate, [0.0]])
    margin = 0.05 * (np.nanmax(inside) - np.nanmin(inside))
    first, last = np.nanmin(inside) - margin, np.nanmax(inside) + margin
    axis.set_xlim(first, last)
    for beyond, edge, mark in ((low < first, first, "<"), (high > last, last, ">")):
        rows = np.flatnonzero(beyond)
        axis.plot(np.full(len(rows), edge), rows, mark, color=GREY, markersize=4, clip_on=False)
    return drawn


def _table(setting: Setting, scale: str, differences: Differences, caption: str) -> Table:
    """Return one scale's table: families as lines with their contrasts, outcomes as columns."""
    families = setting.plan.families
    lines = ((e.group, line) for e in families for line in _lines(setting, e, scale, differences))
    return Table(
        name="families" if scale == setting.scale else f"families-{scale}",
        caption=caption,
        **setting.outcome_heads(),
        blocks=lettered(grouped(lines)),
        notes=list(_notes(setting, scale)),
    )


def _lines(setting: Setting, event: Event, scale: str, differences: Differences) -> Iterator[Line]:
    """Yield the line of a family, and that of its difference from its contrast where there is one."""
    plan, answers, unit = setting.plan, setting.answers(event, scale), Scale(scale)
    counts = [COLUMNS["n_units"].cell(n) for n in (answers[0].n_treated, answers[0].n_units)]
    yield effects_beside(event.short, [result.headline for result in answers], counts, scale=unit)
    less = [differences.get((event.label, scale, outcome)) for outcome in plan.outcomes]
    if any(less):
        contrast = next(e.short for e in plan.families if e.label == event.contrast)
        yield effects_beside(f"less {contrast.split(' (')[0]}", less, ["", ""], scale=unit)


def _tests_table(setting: Setting) -> Table:
    """Return the first outcome's tests and minimum detectable effects of each family, beside each other by scale."""
    plan, lines = setting.plan, dict[str, list[Line]]()
    for event in plan.families:
        cells: list[Cell] = []
        results = [setting.answers(event, name)[0] for name in plan.scales]
        for result in results:
            p_value = result.randomization.p_value if result.randomization else math.nan
            leads = (result.pre_test.p_value, result.pre_test.p_largest)
            cells += [COLUMNS["p_value"].cell(p) for p in (p_value, *leads)]
            cells.append(COLUMNS["mde"].cell(result.power.effect, result.task.question.effect_scale, 0.0))
        if any(result.headline for result in results):
            lines.setdefault(event.group, []).append(Line(event.short, cells))
    smallest = {title: _smallest(setting, name) for name, title in plan.scales.items()}
    return Table(
        name="families-tests",
        caption=f"Tests of the families of events, {plan.headline.label}, for {setting.outcome_in_words}",
        headings=["p", "Wald", "Largest t", "MDE"] * len(plan.scales),
        spans=[(title, 4) for title in plan.scales.values()],
        blocks=lettered(lines),
        notes=[
            f"p: randomization within strata of {plan.strata}." if plan.strata else "p: randomization.",
            "Wald, Largest t: p-values of the tests that all effects before the event are zero. MDE: minimum "
            "detectable effect. No Wald test: too few treated for so many effects.",
            *(
                f"{title}: the smallest p, {p_text(test['p_value'])} ({test['family']}), is "
                f"{p_text(test['p_holm'])} by Holm over {test['tested']} families."
                for title, test in smallest.items()
                if test
            ),
        ],
        prose=(0,),
    )


def _notes(setting: Setting, scale: str) -> Iterator[str]:
    plan = setting.plan
    every = [result for event in plan.families for result in setting.answers(event, scale)]
    among = ", among those that could have had the event" if setting.ships else ""
    yield (f"Average over {setting.averaged_of(plan.families)}{among}. {setting.errors(every)}")
    if any(event.contrast for event in plan.families):
        yield "Less: the difference from the contrast, by joint influence."
    if any(result.n_treated < FEW for result in _first(setting, setting.scale)):
        yield f"With fewer than {FEW} treated read the randomization p-value and not the standard error."
    if any(result.headline is None for result in every):
        yield A_DASH


def _smallest(setting: Setting, scale: str) -> dict[str, Any]:
    """Return the family with the smallest randomization p-value of the first outcome; empty where none is tested."""
    first = _first(setting, scale)
    tested = [(result.randomization.p_value, result.task) for result in first if result.randomization]
    if not tested:
        return {}
    p_value, task = min(tested, key=itemgetter(0))
    values = {"family": task.event.short, "p_value": p_value, "p_holm": min(1.0, len(tested) * p_value)}
    return values | {"tested": len(tested), "task": task}


def _differences(setting: Setting) -> Iterator[tuple[tuple[str, str, str], Effect]]:
    """Yield the difference of each family from its contrast, where both have an answer."""
    plan = setting.plan
    compared = [event for event in plan.families if event.contrast]
    for scale, outcome, event in product(plan.scales, plan.outcomes, compared):
        pair = (event.label, event.contrast)
        answers = {label: setting.results[label, scale, outcome, plan.headline.label] for label in pair}
        test = agreement(answers, setting.panel, plan.band_draws, plan.seed)
        if test.pairs:
            estimate, error = float(test.difference[0]), float(test.std_error[0])
            p_value = test.sup_t.p_value if test.sup_t else math.nan
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
    plan, scale, events = setting.plan, Scale(setting.scale), (setting.event, *setting.plan.families)
    lines = [effects_beside(event.short, moved[event.label], scale=scale) for event in events]
    moves = f"Events a {setting.panel.period_unit} earlier and later"
    why = "Dates are known by month at best, and a machine serves some time after it is announced: all events"
    return Table(
        name="families-dates",
        caption=f"{moves}: {plan.headline.label}, {setting.outcome_in_words}",
        headings=["Effect", "(SE)"] * 3,
        spans=[("One earlier", 2), ("As dated", 2), ("One later", 2)],
        blocks=[Block(plan.scales[setting.scale], lines)],
        notes=[
            f"{why if setting.ships else 'All events'} of a line are moved by one period. Standard errors in "
            "parentheses.",
            f"{REFUSED} : the design refuses the question, or nobody is treated inside the window.",
        ],
    )


def _numbers(setting: Setting, differences: Differences, moved: Moved) -> Iterator[Piece]:
    """Yield what is no answer of the plan: differences from contrasts, smallest p-values, counts and the verdict."""
    plan, row = setting.plan, setting.plan.headline.label
    for (label, scale, outcome), effect in differences.items():
        values = {"estimate": effect.estimate, "std_error": effect.std_error, "p_value": effect.p_value}
        task = setting.results[label, scale, outcome, row].task
        at = (label, outcome, scale, "difference")
        yield from setting.numbers(at, values, task=task, exhibit="families", quantity=effect.label)
    for scale in plan.scales:
        if smallest := _smallest(setting, scale):
            about = f"smallest randomization p-value of {smallest.pop('tested')} families"
            task, where = smallest.pop("task"), (scale, "smallest")
            yield from setting.numbers(where, smallest, OF_FAMILIES, task, quantity=about)
    first = _first(setting, setting.scale)
    answered = sum(result.headline is not None for result in first)
    excluding = [result for result in first if result.headline and result.headline.excludes_zero]
    few = [result for result in excluding if result.n_treated < FEW]
    others = [effect for event in plan.families for effect in moved[event.label][::2] if effect.exists]
    counts = {
        "answered": answered,
        "excluding_zero": len(excluding),
        "excluding_zero_few": len(few),
        "moved": len(others),
        "moved_excluding_zero": sum(effect.excludes_zero for effect in others),
    }
    yield from setting.numbers("summary", counts, OF_FAMILIES, first[0].task)
    named = f" ({_names(excluding)})" if excluding else ""
    unread = f" Not to be read, with fewer than {FEW} treated: {_names(few)}." if few else ""
    yield (
        f"Of the {answered} families that the headline design answers for, {len(excluding)} have an interval "
        f"without zero{named}.{unread}"
    )


def _first(setting: Setting, scale: str) -> list[Result]:
    """Return the answer about each family for the first outcome on a scale."""
    return [setting.answers(event, scale)[0] for event in setting.plan.families]


def _names(results: Sequence[Result]) -> str:
    return "; ".join(result.task.event.short for result in results)
