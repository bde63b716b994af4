"""The headline design asked about each family of compute-access events, one line a family."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import groupby

from study.core import QuestionError
from study.designs import find_design
from study.estimates import Effect, Estimate, effects_frame
from study.figures import dot_figure
from study.inference import agreement_of
from study.panel import Scale
from study.paper.exhibits.exhibit import (
    RUN,
    Drawn,
    Exhibited,
    Part,
    Setting,
    Traced,
    address,
    addressed,
    clustered,
    draw,
    exhibit,
    refusals,
    source_of,
    window_of,
)
from study.paper.plan import Event, Task
from study.paper.results import Result, headline_effect
from study.report import (
    LETTERS,
    REFUSED,
    Block,
    Cell,
    Column,
    Line,
    Number,
    Span,
    Table,
    effects_between,
    p_cell,
    p_text,
)

EXHIBIT = "families"
FEW = 5
COLUMNS = {
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


@exhibit("Families of compute-access events", Part.EFFECTS)
def families(setting: Setting) -> Exhibited:
    """Return the table of families on each scale, that of their dates moved, a figure, and all numbers."""
    plan = setting.plan
    if not plan.families:
        return Exhibited()
    scale = next(iter(plan.scales))
    differences = {
        (label, s, o): effect
        for s in plan.scales
        for o in plan.outcomes
        for label, effect in _differences(setting, s, o)
    }
    moved = _moved(setting, scale)
    return Exhibited(
        tables=(
            *(families_table(setting, s, differences) for s in plan.scales),
            dates_table(setting, scale, moved),
        ),
        figures=(_figure(setting, scale),),
        numbers=tuple(_numbers(setting, differences, moved)),
        sentences=(
            _verdict(setting),
            *(f"{event.short}: {event.threat}" for event in plan.families if event.threat),
        ),
    )


def _answers(setting: Setting, event: Event, scale: str) -> list[Result]:
    """Return the headline's answers about an event, one an outcome."""
    plan = setting.plan
    return [setting.results[event.label, scale, outcome, plan.headline.label] for outcome in plan.outcomes]


def families_table(setting: Setting, scale: str, differences: Differences) -> Table:
    """Return one scale's table: families as lines with their contrasts, outcomes as columns."""
    plan = setting.plan
    blocks = []
    for letter, (group, members) in zip(LETTERS, groupby(plan.families, lambda e: e.group), strict=False):
        lines: list[Line] = []
        for event in members:
            lines += _lines(event, _answers(setting, event, scale))
            of_contrast = [differences.get((event.label, scale, outcome)) for outcome in plan.outcomes]
            lines += _contrast_lines(setting, event, of_contrast)
        blocks.append(Block(f"Panel {letter}. {group}", lines))
    every = [r for event in plan.families for r in _answers(setting, event, scale)]
    return Table(
        name=EXHIBIT if scale == next(iter(plan.scales)) else f"{EXHIBIT}-{scale}",
        caption=f"Families of compute-access events, {plan.headline.label}: {plan.scales[scale].lower()}",
        headings=["Treated", "All", *plan.outcomes.values(), "Randomization p", "MDE"],
        spans=[
            Span(plan.text.units.capitalize(), 2),
            Span(f"Effect on {plan.text.outcome}", len(plan.outcomes)),
            Span(next(iter(plan.outcomes.values())), 2),
        ],
        blocks=blocks,
        notes=[
            f"Estimand: the average over {window_of(every[0])} with equal weights, among those that could have had the "
            "event (populations fixed before it).",
            clustered(plan, every),
            f"The randomization p-value permutes event dates within strata of {plan.strata}; MDE is the minimum "
            "detectable effect at 80% power and 5% size. A contrast is an event without compute; a difference from "
            "it has its standard error from the joint influence of both estimates.",
            f"{len(plan.families)} families are as many chances: no line is a finding of its own.",
            *_smallest_notes(setting, scale),
            *_few_notes(setting),
            *refusals(every),
        ],
    )


def _lines(event: Event, answers: Sequence[Result]) -> list[Line]:
    first = answers[0]
    p_value: Cell = p_cell(first.randomization.p_value) if first.randomization else Number(math.nan)
    return effects_between(
        event.short,
        [result.headline for result in answers],
        [Number(first.n_treated, 0), Number(first.n_units, 0)],
        [p_value, Number(first.power.effect)],
    )


def _contrast_lines(setting: Setting, event: Event, differences: Sequence[Effect | None]) -> list[Line]:
    if not any(differences):
        return []
    contrast = next(e for e in setting.plan.families if e.label == event.contrast)
    label = f"less {contrast.short.split(' (')[0].lower()}"
    return effects_between(label, differences, ["", ""], ["", ""])


def _smallest_notes(setting: Setting, scale: str) -> list[str]:
    smallest = smallest_p(setting, scale)
    if smallest is None:
        return []
    event, p_value, p_holm, tested = smallest
    return [
        f"The smallest randomization p-value, {p_text(p_value)} for {event.short}, is "
        f"{p_text(p_holm)} by Holm over {tested} families."
    ]


def smallest_p(setting: Setting, scale: str) -> tuple[Event, float, float, int] | None:
    """Return the family with the smallest randomization p-value of the first outcome.

    Returns
    -------
    tuple or None
        The family, its p-value, the p-value by Holm's method, and the number of families that are tested.
    """
    from statsmodels.stats.multitest import multipletests

    tests = [(event, _answers(setting, event, scale)[0].randomization) for event in setting.plan.families]
    tested = [(event, test.p_value) for event, test in tests if test is not None]
    if not tested:
        return None
    p_values = [p_value for _, p_value in tested]
    least = p_values.index(min(p_values))
    p_holm = multipletests(p_values, method="holm")[1][least]
    return tested[least][0], p_values[least], float(p_holm), len(tested)


def _few_notes(setting: Setting) -> list[str]:
    """Say where a standard error rests on too few treated units to be read."""
    few = [event.short for event, result in _first(setting) if result.n_treated < FEW]
    if not few:
        return []
    return [
        f"{'; '.join(few)}: fewer than {FEW} treated {setting.plan.text.units}, whose own variation a standard error "
        "cannot show; read the randomization p-value."
    ]


def _differences(setting: Setting, scale: str, outcome: str) -> Iterator[tuple[str, Effect]]:
    """Yield the difference of each family from its contrast, where both have an answer."""
    plan = setting.plan
    contrasts = {event.contrast for event in plan.families}
    compared = [event for event in plan.families if event.contrast or event.label in contrasts]
    tasks = {event.label: plan.task(event, outcome, scale, plan.headline) for event in compared}
    fits = {label: _fit(setting, task) for label, task in tasks.items()}
    for event in plan.families:
        own, other = fits.get(event.label), fits.get(event.contrast)
        if event.contrast and own is not None and other is not None:
            pair = {event.label: own, event.contrast: other}
            agreement = agreement_of(pair, draws=plan.band_draws, seed=plan.seed)
            if agreement.pairs:
                yield (
                    event.label,
                    Effect(
                        label=f"difference from {event.contrast}",
                        estimate=float(agreement.difference[0]),
                        std_error=float(agreement.std_error[0]),
                        p_value=agreement.sup_t.p_value if agreement.sup_t else math.nan,
                    ),
                )


def _fit(setting: Setting, task: Task) -> Estimate | None:
    try:
        return find_design(task.row.name)(task.question.sample(setting.panel), **task.options).headline
    except QuestionError:
        return None


def _moved(setting: Setting, scale: str) -> dict[str, list[Effect]]:
    """Return the first outcome's effects with an event's dates a period earlier, as dated, and a period later."""
    moved = {}
    for event in (setting.plan.events[0], *setting.plan.families):
        result = _answers(setting, event, scale)[0]
        question = result.task.question
        earlier, later = (
            headline_effect(
                replace(result.task, question=question.replace(lag=question.lag + move)), setting.panel
            )
            for move in (-1, 1)
        )
        moved[event.label] = [earlier, result.headline or Effect(event.label), later]
    return moved


def dates_table(setting: Setting, scale: str, moved: Mapping[str, Sequence[Effect]]) -> Table:
    """Return the first outcome's estimates with every event a period earlier, as dated, and a period later."""
    plan, outcome = setting.plan, next(iter(setting.plan.outcomes))
    lines = [
        line
        for event in (plan.events[0], *plan.families)
        for line in effects_between(event.short, moved[event.label])
    ]
    return Table(
        name=f"{EXHIBIT}-dates",
        caption=f"Events a year earlier and later: {plan.headline.label}, {plan.outcomes[outcome].lower()}",
        headings=["One earlier", "As dated", "One later"],
        blocks=[Block(plan.scales[scale], lines)],
        notes=[
            "Dates are known by month at best, and a machine serves some time after it is announced: all events of a "
            "line are moved by one period. Standard errors in parentheses.",
            f"{REFUSED} : the design refuses the question, or nobody is treated inside the window.",
        ],
    )


def _figure(setting: Setting, scale: str) -> Drawn:
    plan, outcome = setting.plan, next(iter(setting.plan.outcomes))
    rows = []
    for event in (*plan.events, *plan.families):
        result = _answers(setting, event, scale)[0]
        if result.headline is not None:
            rows.append(replace(result.headline, label=f"{event.short} ({result.n_treated})"))
    figure = dot_figure(
        effects_frame(rows),
        xlabel=f"Effect, {Scale(scale, outcome).column}",
        percent=Scale(scale).percent,
        level=plan.level,
    )
    return draw(
        EXHIBIT,
        f"Families of compute-access events, {plan.headline.label}, {plan.outcomes[outcome].lower()}; treated "
        f"{plan.text.units} in parentheses.",
        figure,
        "One estimate with its interval a family of events, around a line at zero.",
    )


def _numbers(
    setting: Setting, differences: Differences, moved: Mapping[str, Sequence[Effect]]
) -> Iterator[Traced]:
    """Yield what is no answer of the plan: differences from the contrasts, the smallest p-values, and counts."""
    plan = setting.plan
    for (label, scale, outcome), effect in differences.items():
        task = setting.results[label, scale, outcome, plan.headline.label].task
        values = {name: getattr(effect, name) for name in ("estimate", "std_error", "p_value")}
        yield from _addressed(
            setting, address(label, outcome, scale, "difference"), values, task, effect.label
        )
    for scale in plan.scales:
        smallest = smallest_p(setting, scale)
        if smallest is not None:
            event, p_value, p_holm, tested = smallest
            values = {"family": event.short, "p_value": p_value, "p_holm": p_holm}
            task = _answers(setting, event, scale)[0].task
            quantity = f"smallest randomization p-value of {tested} families"
            yield from _addressed(setting, address(EXHIBIT, scale, "smallest"), values, task, quantity)
    first = _first(setting)
    others = [
        effect
        for event in plan.families
        for effect in (moved[event.label][0], moved[event.label][-1])
        if effect.exists
    ]
    counts = {
        "answered": sum(result.headline is not None for _, result in first),
        "excluding_zero": len(_excluding(setting)),
        "moved": len(others),
        "moved_excluding_zero": sum(effect.excludes_zero for effect in others),
    }
    yield from _addressed(setting, address(EXHIBIT, "summary"), counts, first[0][1].task, "")


def _addressed(
    setting: Setting, at: str, values: Mapping[str, object], task: Task, quantity: str
) -> Iterator[Traced]:
    return addressed(at, values, source_of(EXHIBIT, quantity, task, setting.panel, RUN), task.scale, COLUMNS)


def _first(setting: Setting) -> list[tuple[Event, Result]]:
    """Return each family with its answer for the first outcome and scale."""
    scale = next(iter(setting.plan.scales))
    return [(event, _answers(setting, event, scale)[0]) for event in setting.plan.families]


def _excluding(setting: Setting) -> list[tuple[Event, Result]]:
    """Return the families whose interval for the first outcome and scale excludes zero."""
    return [(e, result) for e, result in _first(setting) if result.headline and result.headline.excludes_zero]


def _verdict(setting: Setting) -> str:
    answered = [result for _, result in _first(setting) if result.headline]
    excluding = [
        f"{event.short}, {result.n_treated} treated"
        + (f", randomization p-value {p_text(result.randomization.p_value)}" if result.randomization else "")
        for event, result in _excluding(setting)
    ]
    named = f" ({'; '.join(excluding)})" if excluding else ""
    return (
        f"Of the {len(answered)} families that the headline design answers for, the number with zero outside of "
        f"the interval is {len(excluding)}{named}."
    )
