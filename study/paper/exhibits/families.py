"""The headline design asked about each family of compute-access events, one line a family."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import NamedTuple

from study.core import QuestionError
from study.designs import find_design
from study.estimates import Effect, Estimate
from study.figures import dot_figure
from study.inference import Agreement, agreement_of
from study.panel import Scale
from study.paper.exhibits.exhibit import Drawn, Exhibited, Setting, Traced, draw, source_of
from study.paper.exhibits.headline_numbers import (
    result_numbers,
    sample_numbers,
    shown_by,
)
from study.paper.notes import clustered, refusals, window_of
from study.paper.plan import Event, Task
from study.paper.results import Result
from study.report import (
    LETTERS,
    REFUSED,
    Block,
    Cell,
    Line,
    Number,
    Span,
    Table,
    error,
    macro_name,
    p_cell,
    p_text,
)

MOVES = (-1, 0, 1)
FEW = 5
NO_EFFECT = Number(math.nan)


def families(setting: Setting) -> Exhibited:
    """Return the table of families on each scale, that of their dates moved, a figure, and all numbers."""
    plan = setting.plan
    if not plan.families:
        return Exhibited()
    scale = next(iter(plan.scales))
    gaps = {s: {o: dict(_gaps(setting, s, o)) for o in plan.outcomes} for s in plan.scales}
    return Exhibited(
        tables=(*(families_table(setting, s, gaps[s]) for s in plan.scales), dates_table(setting, scale)),
        figures=(_figure(setting, scale),),
        numbers=tuple(_numbers(setting, gaps)),
        sentences=(
            _verdict(setting),
            *(f"{event.short}: {event.threat}" for event in plan.families if event.threat),
        ),
    )


def _answers(setting: Setting, event: Event, scale: str) -> list[Result]:
    return [
        setting.results[setting.plan.task(event, o, scale, setting.plan.headline).key]
        for o in setting.plan.outcomes
    ]


def families_table(setting: Setting, scale: str, gaps: dict[str, dict[str, Agreement]]) -> Table:
    """Return one scale's table: families as lines with their contrasts, outcomes as columns."""
    plan = setting.plan
    blocks = []
    for letter, (group, members) in zip(LETTERS, groupby(plan.families, lambda e: e.group), strict=False):
        lines: list[Line] = []
        for event in members:
            lines += _lines(event, _answers(setting, event, scale))
            if event.contrast:
                lines += _gap_lines(setting, event, [gaps[o].get(event.label) for o in plan.outcomes])
        blocks.append(Block(f"Panel {letter}. {group}", lines))
    every = [r for event in plan.families for r in _answers(setting, event, scale)]
    return Table(
        name="families" if scale == next(iter(plan.scales)) else f"families-{scale}",
        caption=f"Families of compute-access events, {plan.headline.label}: {plan.scales[scale].lower()}",
        headings=["Treated", "All", *plan.outcomes.values(), "Randomization p", "MDE"],
        spans=[
            Span(plan.text.units.capitalize(), 2),
            Span(f"Effect on {plan.text.outcome}", len(plan.outcomes)),
            Span(next(iter(plan.outcomes.values())), 2),
        ],
        blocks=blocks,
        widths=[4.4],
        notes=[
            f"Estimand: the average over {window_of(every[0])} with equal weights, among those that could have had the "
            "event (populations fixed before it).",
            clustered(plan, every),
            f"The randomization p-value deals event dates anew within strata of {plan.strata}; MDE is the minimum "
            "detectable effect at 80% power and 5% size. A contrast is an event without compute; a difference from "
            "it has its standard error from the joint influence of both estimates.",
            f"{len(plan.families)} families are as many chances: no line is a finding of its own.",
            *_smallest(setting, scale),
            *_few(setting),
            *refusals(every),
        ],
    )


class Smallest(NamedTuple):
    """The smallest randomization p-value over families, and what is left of it once all of them count."""

    event: Event
    p_value: float
    adjusted: float
    families: int


def smallest_p(setting: Setting, scale: str) -> Smallest | None:
    """Return the smallest randomization p-value of the first outcome, alone and by Holm over all families."""
    from statsmodels.stats.multitest import multipletests

    tested = [
        (event, result.randomization.p_value)
        for event in setting.plan.families
        for result in _answers(setting, event, scale)[:1]
        if result.randomization is not None
    ]
    if not tested:
        return None
    p_values = [p_value for _, p_value in tested]
    adjusted = multipletests(p_values, method="holm")[1]
    least = p_values.index(min(p_values))
    return Smallest(tested[least][0], p_values[least], float(adjusted[least]), len(tested))


def _smallest(setting: Setting, scale: str) -> list[str]:
    found = smallest_p(setting, scale)
    if found is None:
        return []
    return [
        f"The smallest randomization p-value, {p_text(found.p_value)} for {found.event.short}, is "
        f"{p_text(found.adjusted)} by Holm over {found.families} families."
    ]


def _few(setting: Setting) -> list[str]:
    """Say where a standard error rests on too few treated units to be read."""
    few = [event.short for event, result in _first(setting) if result.n_treated < FEW]
    if not few:
        return []
    return [
        f"{'; '.join(few)}: fewer than {FEW} treated {setting.plan.text.units}, whose own variation a standard error "
        "cannot show; read the randomization p-value."
    ]


def _lines(event: Event, answers: Sequence[Result]) -> list[Line]:
    first, terms = answers[0], [r.headline for r in answers]
    counts: list[Cell] = [Number(first.n_treated, 0), Number(first.n_units, 0)]
    p_value: Cell = p_cell(first.randomization.p_value) if first.randomization else NO_EFFECT
    estimates: list[Cell] = [Number(t.estimate) if t else REFUSED for t in terms]
    errors: list[Cell] = [error(t.std_error) if t else "" for t in terms]
    return [
        Line(event.short, [*counts, *estimates, p_value, Number(first.power.effect)]),
        Line("", ["", "", *errors, "", ""]),
    ]


def _gap_lines(setting: Setting, event: Event, gaps: Sequence[Agreement | None]) -> list[Line]:
    if not any(gaps):
        return []
    contrast = next(e for e in setting.plan.families if e.label == event.contrast)
    differences: list[Cell] = [Number(float(g.difference[0])) if g else REFUSED for g in gaps]
    errors: list[Cell] = [error(float(g.std_error[0])) if g else "" for g in gaps]
    return [
        Line(f"less {contrast.short.split(' (')[0].lower()}", ["", "", *differences, "", ""]),
        Line("", ["", "", *errors, "", ""]),
    ]


def _gaps(setting: Setting, scale: str, outcome: str) -> Iterator[tuple[str, Agreement]]:
    """Yield the difference of each family from its contrast, where both have an answer."""
    fits = {
        event.label: _fit(setting, setting.plan.task(event, outcome, scale, setting.plan.headline))
        for event in _set_against(setting)
    }
    for event in setting.plan.families:
        own, other = fits.get(event.label), fits.get(event.contrast)
        if event.contrast and own is not None and other is not None:
            pair = {event.label: own, event.contrast: other}
            found = agreement_of(pair, draws=setting.plan.band_draws, seed=setting.plan.seed)
            if found.pairs:
                yield event.label, found


def _set_against(setting: Setting) -> list[Event]:
    contrasts = {event.contrast for event in setting.plan.families}
    return [event for event in setting.plan.families if event.contrast or event.label in contrasts]


def _fit(setting: Setting, task: Task, moved: int = 0) -> Estimate | None:
    question = task.question.replace(lag=task.question.lag + moved)
    try:
        return find_design(task.row.name)(question.sample(setting.panel), **task.options).headline
    except QuestionError:
        return None


def dates_table(setting: Setting, scale: str) -> Table:
    """Return the first outcome's estimates with every event a period earlier, as dated, and a period later."""
    plan, outcome = setting.plan, next(iter(setting.plan.outcomes))
    lines = []
    for event in (plan.events[0], *plan.families):
        task = plan.task(event, outcome, scale, plan.headline)
        fits = [_answered(_fit(setting, task, moved)) for moved in MOVES]
        lines.append(Line(event.short, [Number(float(f.effect[0])) if f else REFUSED for f in fits]))
        lines.append(Line("", [error(float(f.std_error[0])) if f else "" for f in fits]))
    return Table(
        name="families-dates",
        caption=f"Events a year earlier and later: {plan.headline.label}, {plan.outcomes[outcome].lower()}",
        headings=["One earlier", "As dated", "One later"],
        blocks=[Block(plan.scales[scale], lines)],
        notes=[
            "Dates are known by month at best, and a machine serves some time after it is announced: all events of a "
            "line are moved by one period. Standard errors in parentheses.",
            f"{REFUSED} : the design refuses the question, or nobody is treated inside the window.",
        ],
    )


def _answered(fit: Estimate | None) -> Estimate | None:
    """Return an average that has a sampling variance, or none."""
    return fit if fit is not None and fit.varies[0] else None


def _moved(setting: Setting, scale: str) -> list[Effect]:
    """Return the first outcome's estimates of families whose dates are moved by a period."""
    plan, outcome = setting.plan, next(iter(setting.plan.outcomes))
    tasks = [plan.task(event, outcome, scale, plan.headline) for event in plan.families]
    fits = [_answered(_fit(setting, task, moved)) for task in tasks for moved in MOVES if moved]
    return [Effect.of("", fit, plan.level) for fit in fits if fit]


def _figure(setting: Setting, scale: str) -> Drawn:
    plan, outcome = setting.plan, next(iter(setting.plan.outcomes))
    rows = []
    for event in (*plan.events, *plan.families):
        fit = _fit(setting, plan.task(event, outcome, scale, plan.headline))
        if fit is not None:
            rows.append(
                Effect.of(
                    f"{event.short} ({setting.results[plan.task(event, outcome, scale, plan.headline).key].n_treated})",
                    fit,
                    plan.level,
                )
            )
    percent = Scale(scale).percent
    figure = dot_figure(
        rows,
        xlabel=f"Effect, {Scale(scale, outcome).column}",
        percent=percent,
        level=plan.level,
    )
    return draw(
        "families",
        f"Families of compute-access events, {plan.headline.label}, {plan.outcomes[outcome].lower()}; treated "
        f"{plan.text.units} in parentheses.",
        figure,
        "One estimate with its interval a family of events, around a line at zero.",
    )


def _numbers(setting: Setting, gaps: dict[str, dict[str, dict[str, Agreement]]]) -> Iterator[Traced]:
    plan = setting.plan
    for event in plan.families:
        first = plan.task(event, next(iter(plan.outcomes)), next(iter(plan.scales)), plan.headline)
        yield from _traced(
            setting, first, macro_name(event.label), sample_numbers(setting.results[first.key])
        )
        for scale in plan.scales:
            for outcome in plan.outcomes:
                task = plan.task(event, outcome, scale, plan.headline)
                told = result_numbers(setting.results[task.key])
                gap = gaps[scale][outcome].get(event.label)
                if gap is not None and gap.sup_t is not None:
                    difference, spread = float(gap.difference[0]), float(gap.std_error[0])
                    told |= {
                        "Gap": (
                            Scale(scale).number(difference),
                            f"difference from {event.contrast}, {Scale(scale).printed}",
                        ),
                        "GapError": (
                            Scale(scale).number(spread),
                            f"standard error of the difference, {Scale(scale).printed}",
                        ),
                        "GapP": (p_text(gap.sup_t.p_value), "p-value of the difference"),
                    }
                yield from _traced(setting, task, macro_name(event.label, scale, outcome), told)
    first = plan.task(plan.families[0], next(iter(plan.outcomes)), next(iter(plan.scales)), plan.headline)
    for scale in plan.scales:
        found = smallest_p(setting, scale)
        if found is not None:
            task = plan.task(found.event, next(iter(plan.outcomes)), scale, plan.headline)
            told = {
                "Smallest": (found.event.short, "family with the smallest randomization p-value"),
                "SmallestP": (p_text(found.p_value), "smallest randomization p-value over families"),
                "SmallestHolm": (p_text(found.adjusted), f"the same by Holm over {found.families} families"),
            }
            yield from _traced(setting, task, macro_name("families", scale), told)
    moved = _moved(setting, next(iter(plan.scales)))
    told = {
        "Answered": (
            str(sum(result.headline is not None for _, result in _first(setting))),
            "families that the headline design answers for, first outcome",
        ),
        "Excluding": (
            str(len(_excluding(setting))),
            "families whose interval excludes zero, first outcome and scale",
        ),
        "Moved": (
            str(len(moved)),
            "estimates of families whose dates are moved by a period, first outcome and scale",
        ),
        "MovedExcluding": (
            str(sum(row.excludes_zero for row in moved)),
            "of them, those whose interval excludes zero",
        ),
    }
    yield from _traced(setting, first, "Families", told)


def _traced(setting: Setting, task: Task, prefix: str, told: dict[str, tuple[str, str]]) -> Iterator[Traced]:
    for part, (value, quantity) in told.items():
        command = shown_by(part, task, setting.panel)
        yield Traced(f"{prefix}{part}", value, source_of("families", quantity, task, setting.panel, command))


def _first(setting: Setting) -> list[tuple[Event, Result]]:
    """Return each family with its answer for the first outcome and scale."""
    scale = next(iter(setting.plan.scales))
    return [(event, _answers(setting, event, scale)[0]) for event in setting.plan.families]


def _excluding(setting: Setting) -> list[tuple[Event, Result]]:
    """Return the families whose interval for the first outcome and scale excludes zero."""
    return [
        (event, result)
        for event, result in _first(setting)
        if result.headline and not result.headline.conf_low <= 0 <= result.headline.conf_high
    ]


def _verdict(setting: Setting) -> str:
    answered = [result for _, result in _first(setting) if result.headline]
    told = [
        f"{event.short}, {result.n_treated} treated"
        + (f", randomization p-value {p_text(result.randomization.p_value)}" if result.randomization else "")
        for event, result in _excluding(setting)
    ]
    named = f" ({'; '.join(told)})" if told else ""
    return (
        f"Of the {len(answered)} families that the headline design answers for, the number with zero outside of "
        f"the interval is {len(told)}{named}."
    )
