"""Designs by outcomes for each event: estimates, a test that they agree, and what each could have found."""

from __future__ import annotations

import math
import shlex
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import chain, product, repeat
from operator import itemgetter
from typing import Any

import pandas as pd

from study import figures
from study.core import capital, decimals, grouped, p_is
from study.inference import Agreement
from study.panel import Scale
from study.paper import Event, Part, Piece, Plan, Result, Setting, agreement, draw, exhibit, refusals
from study.report import (
    A_DASH,
    COLUMNS,
    LETTERS,
    POWER_OF,
    Block,
    Cell,
    Column,
    Line,
    Number,
    Table,
    effects_between,
    in_letters,
    in_parts,
    lettered,
    p_cell,
)

# By event and scale, and by outcome.
Agreements = Mapping[tuple[str, str], Mapping[str, Agreement]]
OF_AGREEMENT = {
    "agree_p": Column("sup-t p-value", "p"),
    "agree_designs": Column("number of designs in the test", "count"),
}
MOST = 9  # columns of numbers of a table; more are on tables of their own
LABEL = 24  # letters of a design's label before it goes on, set in, beside the standard errors
SET_IN = 2 * "\N{NO-BREAK SPACE}"
# Marks of the rows that the test of agreement leaves out, and what these are.
COEFFICIENT, OWN_AVERAGE = "†", "‡"
LEFT_OUT = {COEFFICIENT: "one coefficient", OWN_AVERAGE: "an average of its own"}


@exhibit("Every design, and whether they agree", Part.EFFECTS)
def designs(setting: Setting) -> Iterator[Piece]:
    """Yield tables and event-study figures of all events, the plan's definitions side by side, and tests of agreement.

    Tests that designs agree are at addresses like those of :mod:`study.paper.numbers`; unlike averages
    (coefficients, the change in one year) are left out of them.
    """
    plan = setting.plan
    labels = [row.label for row in plan.rows if row.design.estimand.has_path]
    for events in side_by_side(plan):
        agreements: dict[tuple[str, str], dict[str, Agreement]] = {}
        for event, scale, outcome in product(events, plan.scales, plan.outcomes):
            answers = {label: setting.results[event.label, scale, outcome, label] for label in labels}
            test = agreement(answers, setting.panel, plan.band_draws, plan.seed)
            agreements.setdefault((event.label, scale), {})[outcome] = test
        most = MOST // max(2, len(events)) or 1
        for some, which, number in in_parts(len(plan.outcomes), most, "outcomes"):
            outcomes = dict([*plan.outcomes.items()][some])
            results = {key: result for key, result in setting.results.items() if key[2] in outcomes}
            part = replace(setting, plan=replace(plan, outcomes=outcomes), results=results)
            power = [_power_table(part, events)] if len(events) > 1 else []
            for table in (_table(part, events, agreements), *power):
                yield replace(table, name=table.name + number, caption=table.caption + which)
        for event in events:
            yield from _pieces(setting, event, agreements)


def side_by_side(plan: Plan) -> list[list[Event]]:
    """Return the events of each table, in order: the plan's definitions together, each other event alone."""
    together = [event for event in plan.events if event.label in plan.definitions]
    tables = [together, *([event] for event in plan.events if event not in together)]
    return sorted(filter(None, tables), key=lambda events: plan.events.index(events[0]))


def heads(plan: Plan, events: Sequence[Event]) -> dict[str, Any]:
    """Return the headings of outcomes by events and what stands over them; events without a first word they share."""
    if len(events) == 1:
        return {"headings": list(plan.outcomes.values())}
    words = [event.short.split() for event in events]
    shared = all(own[0] == words[0][0] and len(own) > 1 for own in words)
    short = [capital(" ".join(own[shared:])) for own in words]
    spans = [(title, len(events)) for title in plan.outcomes.values()]
    return {"headings": short * len(plan.outcomes), "spans": spans}


def under(events: Sequence[Event]) -> str:
    """Return what a caption says of the events of its table."""
    return f": {events[0].title}" if len(events) == 1 else " by definition of the event"


def _pieces(setting: Setting, event: Event, agreements: Agreements) -> Iterator[Piece]:
    """Yield an event's figures, the numbers of its tests that designs agree, and its sentences."""
    plan, panel = setting.plan, setting.panel
    for scale, title in plan.scales.items():
        answers = setting.answers(event, scale, plan.figure_row.label)
        if titles := [plan.outcomes[result.task.outcome] for result in answers if result.path]:
            yield draw(
                f"{in_letters(event.label)}_{scale}",
                f"Effects of {event.called} by event time, {plan.figure_row.label}. {title}. Lines are pointwise "
                f"intervals at {100 * plan.level:g}%, bars simultaneous bands.",
                path_figure(plan, answers, panel.period_unit),
                f"Event study of {', '.join(titles)}: estimates with pointwise intervals and the "
                f"simultaneous band at {100 * plan.level:g}%, from {plan.window[0]} to {plan.window[1]} "
                f"{panel.period_unit}s since the event.",
            )
        for outcome, test in agreements[event.label, scale].items():
            p_value = test.sup_t.p_value if test.sup_t else math.nan
            values = {"agree_p": p_value, "agree_designs": len(test.labels)}
            at, task = (event.label, outcome, scale), setting.task(scale, outcome, event)
            quantity = f"that the averages of {'; '.join(test.labels) or 'designs'} agree"
            command = shlex.join(["study", "table", task.address])
            how = {"exhibit": "designs", "quantity": quantity, "command": command}
            yield from setting.numbers((*at, "designs"), values, OF_AGREEMENT, task, **how)
    yield _sentence(setting, event, agreements[event.label, setting.scale][setting.outcome])
    yield from _drawn_folds(setting, event)
    yield from refusals(_every(setting, [event]))


def _every(setting: Setting, events: Sequence[Event]) -> list[Result]:
    return [result for result in setting.results.values() if result.task.event in events]


def _table(setting: Setting, events: Sequence[Event], agreements: Agreements) -> Table:
    """Return rows designs, columns outcomes by events, a panel a scale: effects and tests.

    One event has what each design could have found beside the effects.
    """
    plan, columns = setting.plan, list(product(setting.plan.outcomes, events))
    labels, alone = _marked(setting, events, agreements), len(events) == 1

    def answers(scale: str, label: str) -> list[Result]:
        return [setting.results[event.label, scale, outcome, label] for outcome, event in columns]

    def spread(label: str, cells: Sequence[Cell], beside: Iterable[Cell] = repeat("")) -> Line:
        return Line(label, [*chain(*zip(cells, beside, strict=False))] if alone else cells)

    blocks: dict[str, list[Line]] = {}
    for name, title in plan.scales.items():
        lines, scale = [], Scale(name)
        for row in plan.rows:
            own = answers(name, row.label)
            effects = [result.headline for result in own]
            first, below = effects_between(labels[row.label], effects, letters=LABEL, scale=scale)
            mdes = [COLUMNS["mde"].cell(result.power.effect, scale, 0.0) for result in own]
            lines.append(spread(first.label, first.cells, mdes))
            lines.append(spread(SET_IN * bool(below.label) + below.label, below.cells))
        tests: dict[str, list[Any]] = {
            "Randomization p-value": [r.randomization for r in answers(name, plan.headline.label)],
            "Averages agree, p-value": [agreements[e.label, name][o].sup_t for o, e in columns],
        }
        for label, tested in tests.items():
            if any(tested):
                lines.append(spread(label, [p_cell(test.p_value) if test else "" for test in tested]))
        blocks[title] = lines
    counts = [f"{r.n_treated} of {r.n_units}" for r in answers(setting.scale, plan.headline.label)]
    over = [(title, 2) for title in plan.outcomes.values()]
    beside = {"headings": ["Effect", "MDE"] * len(columns), "spans": over}
    return Table(
        name=in_letters(events[0].label),
        caption=f"Effects on {plan.text.outcome}{under(events)}",
        blocks=[*lettered(blocks), Block("", [spread(f"Treated {plan.text.units}", counts)])],
        notes=list(_notes(setting, events, agreements)),
        **(beside if alone else heads(plan, events)),
    )


def _marked(setting: Setting, events: Sequence[Event], agreements: Agreements) -> dict[str, str]:
    """Return the labels of the rows with a mark where no test that averages agree has them, by their labels."""
    tested = {
        label
        for event, scale in product(events, setting.plan.scales)
        for agreement in agreements[event.label, scale].values()
        for label in agreement.labels
    }
    answered = {result.task.row.label for result in _every(setting, events) if result.headline}
    own = answered - tested if tested else set[str]()
    rows = {row.label: row.design.estimand.has_path for row in setting.plan.rows}
    marks = {label: OWN_AVERAGE * (label in own) if path else COEFFICIENT for label, path in rows.items()}
    return {label: f"{label}{mark}" for label, mark in marks.items()}


def _power_table(setting: Setting, events: Sequence[Event]) -> Table:
    """Return what each design could have found, in the outcome's units and in percent, a panel an event and scale."""
    plan, panels, every = setting.plan, [], _every(setting, events)

    def shown(value: float, digits: int) -> Number:
        return Number(value, decimals(digits, value))

    for event, (scale, title) in product(events, plan.scales.items()):
        lines = []
        for row in plan.rows:
            powers = [result.power for result in setting.answers(event, scale, row.label)]
            cells = [cell for p in powers for cell in (shown(p.units, 2), shown(p.percent, 1))]
            lines.append(Line(row.label, cells))
        means = [result.untreated_mean for result in setting.answers(event, scale)]
        if scale == setting.scale and not any(map(math.isnan, means)):
            of_means: list[Cell] = [cell for mean in means for cell in (shown(mean, 2), "")]
            lines.append(Line(f"Counterfactual mean, {plan.text.counted}", of_means))
        panels.append((f"{event.short}: {title[0].lower()}{title[1:]}", lines))
    letters = {scale: LETTERS[k : len(panels) : len(plan.scales)] for k, scale in enumerate(plan.scales)}
    shares = (f"of {POWER_OF[scale]} (Panels {' and '.join(own)})" for scale, own in letters.items())
    return Table(
        name=in_letters(f"{events[0].label}-power"),
        caption="What each design could have found: minimum detectable effects by definition of the event",
        headings=[capital(plan.text.counted), "%"] * len(plan.outcomes),
        spans=[(title, 2) for title in plan.outcomes.values()],
        blocks=lettered(panels),
        notes=[
            "The smallest effect that a two-sided 5% test finds with 80% power, by design, in "
            f"{plan.text.outcomes_with_units} and in percent {' and '.join(shares)}.",
            *["An empty cell: a mean that is not positive or not implied, or a refusal."]
            * any(math.isnan(value) for r in every for value in (r.power.units, r.power.percent)),
        ],
    )


def _notes(setting: Setting, events: Sequence[Event], agreements: Agreements) -> Iterator[str]:
    plan, every = setting.plan, _every(setting, events)
    first = setting.answers(events[0], setting.scale)[0]
    labels = "".join(_marked(setting, events, agreements).values())
    marked = "".join(f"; {mark}: {what}" for mark, what in LEFT_OUT.items() if mark in labels)
    yield f"Average over {setting.averaged_of(events)}{marked}."
    yield from _adjusted(plan, every)
    yield setting.errors(every)
    if first.randomization:
        yield f"Randomization p-value: {plan.headline.label}."
    if any(agreement.sup_t for of_event in agreements.values() for agreement in of_event.values()):
        yield f"Averages agree: sup-t test of {'unmarked' if marked else 'all'} rows."
    if len(events) == 1:
        yield "MDE: minimum detectable effect."
    warnings = [r.few_clusters for r in every if r.task.row == plan.headline and r.few_clusters]
    yield from (w.replace(f"{plan.headline.name}:", f"{plan.headline.label}:", 1) for w in warnings[:1])
    if any(result.headline is None for result in every):
        yield A_DASH


def _adjusted(plan: Plan, every: Sequence[Result]) -> Iterator[str]:
    """Say which covariates and weights the plan's questions share, where they do, and which rows have others."""
    for field in ("covariates", "weights"):
        shared = _names(plan.question.get(field))
        rows = grouped((_names(getattr(r.task.question, field)), r.task.row.label) for r in every)
        others = (f"{own} in {', '.join(dict.fromkeys(rows[own]))}" for own in rows if own != shared)
        if shared != "none":
            yield f"{capital(field)}: {'; '.join([shared, *others])}."


def _names(columns: str | Sequence[str] | None) -> str:
    return columns if isinstance(columns, str) else ", ".join(columns or ()) or "none"


def _drawn_folds(setting: Setting, event: Event) -> Iterator[str]:
    """Say how much of the averages over draws of the folds is left to chance, at most, with the design."""
    answers = ((r.task.row.label, r.draw_error, r.headline) for r in _every(setting, [event]))
    shares = grouped((label, error / effect.std_error) for label, error, effect in answers if effect)
    most = [(max(own), label) for label, own in shares.items() if not any(map(math.isnan, own))]
    if most:
        share, label = max(most, key=itemgetter(0))
        yield (
            f"{event.short}: what the draws of the folds leave to chance, which no standard error counts, is at most "
            f"{share:.2f} standard errors ({label})."
        )


def path_figure(plan: Plan, answers: Sequence[Result], period: str) -> figures.Figure:
    """Draw the event study of each outcome that the answers of a row, one an outcome, have one of."""
    drawn = {plan.outcomes[r.task.outcome]: pd.DataFrame(r.path) for r in answers if r.path}
    paths = {title: figures.shown(path, plan.window) for title, path in drawn.items()}
    return figures.event_study(paths, scale=Scale(answers[0].task.scale, plan.text.counted), unit=period)


def _sentence(setting: Setting, event: Event, agreement: Agreement) -> str:
    plan, scale, test = setting.plan, Scale(setting.scale), agreement.sup_t
    answers = [setting.answers(event, scale.name, row.label)[0] for row in plan.rows]
    effects = [result.headline for result in answers if result.headline]
    if not effects:
        return f"{event.short}: every design refuses the question."
    headline = setting.answers(event, scale.name)[0]
    effect, number = headline.headline, scale.number
    answer = "refuses the question."
    if effect is not None:
        interval = f"{100 * plan.level:g}% interval {number(effect.conf_low)} to {number(effect.conf_high)}"
        answer = (
            f"puts the effect at {number(effect.estimate)} ({interval}), {scale.printed}. Its minimum detectable "
            f"effect is {number(headline.power.effect)}."
        )
    smallest, largest = (number(end(effect.estimate for effect in effects)) for end in (min, max))
    excluding = sum(effect.excludes_zero for effect in effects)
    agree = f" The test that averages of one kind agree has {p_is(test.p_value)}." if test else ""
    others = (
        f" Over {len(effects)} designs estimates run from {smallest} to {largest}. Zero is outside of {excluding} of "
        f"their intervals.{agree}"
    )
    said = f"{event.short}, {setting.outcome_in_words}: {plan.headline.label} {answer}"
    return said if effects == [effect] else said + others
