"""Designs by outcomes for each event: estimates, a test that they agree, and what each could have found."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import pandas as pd

from study.core import capital, p_is
from study.designs import find_design
from study.figures import Figure
from study.figures import paths as figures
from study.inference import Agreement
from study.panel import Scale
from study.paper import Event, Plan, Results, comparison
from study.paper.exhibits.exhibit import Part, Piece, Setting, draw, exhibit, refusals
from study.report import LETTERS, Answers, Column, Line, Number, Words, effects_table, p_cell, power_table

# By scale and outcome.
Agreements = Mapping[str, Mapping[str, Agreement]]
OF_AGREEMENT = {
    "agree_p": Column("sup-t p-value", "p"),
    "agree_designs": Column("number of designs in the test", "count"),
}


@exhibit("Every design, and whether they agree", Part.EFFECTS)
def designs(setting: Setting) -> Iterator[Piece]:
    """Yield the tables and event-study figures of all events, with the test that designs agree.

    Tests that designs agree are at addresses like those of :mod:`study.paper.answer_numbers`; unlike averages
    (coefficients, the change in one year) are left out of them.
    """
    plan, panel, outcomes = setting.plan, setting.panel, list(setting.plan.outcomes)
    alike = [row for row in plan.rows if find_design(row.name).estimand.has_path]
    for event in plan.events:
        agreements = {s: comparison(plan, panel, event, s, outcomes, alike).agreement for s in plan.scales}
        answers = [_answers(setting, event, scale, agreements[scale]) for scale in plan.scales]
        caption = f"Effect of the {event.title} on {plan.text.outcome}, by design"
        words = Words(
            name=event.label,
            caption=caption,
            outcomes=plan.outcomes,
            scales=plan.scales,
            outcome_units=plan.text.outcomes_with_units,
            heading=capital(plan.text.counted),
        )
        of_power = f"What each design could have found: minimum detectable effects of the {event.title}"
        yield effects_table(words, answers, list(_notes(setting, event, agreements)))
        yield power_table(replace(words, caption=of_power), answers, digits=2)
        for scale, title in plan.scales.items():
            yield draw(
                f"{event.label}_{scale}",
                f"Effects of the {event.title} by event time, {plan.figure_row.label}. {title}.",
                path_figure(plan, event, scale, setting.results, panel.period_unit),
                f"Event study of {', '.join(plan.outcomes.values())}: estimates with pointwise intervals and the "
                f"simultaneous band at {plan.level:.0%}, from {plan.window[0]} to {plan.window[1]} "
                f"{panel.period_unit}s since the event.",
            )
            for outcome, agreement in agreements[scale].items():
                p_value = agreement.sup_t.p_value if agreement.sup_t else math.nan
                values = {"agree_p": p_value, "agree_designs": len(agreement.labels)}
                at, task = (event.label, outcome, scale), plan.task(event, outcome, scale, plan.headline)
                quantity = f"that the averages of {'; '.join(agreement.labels)} agree"
                how = {"exhibit": "designs", "quantity": quantity, "command": f"study table {'/'.join(at)}"}
                yield from setting.numbers((*at, "designs"), values, OF_AGREEMENT, task, **how)
        yield _sentence(setting, event, agreements[setting.scale][setting.outcome])


def _answers(setting: Setting, event: Event, scale: str, agreements: Mapping[str, Agreement]) -> Answers:
    """Return a panel: rows designs, columns outcomes, and below the tests and what the headline could have found."""
    rows = {row.label: setting.answers(event, scale, row.label) for row in setting.plan.rows}
    headline = setting.answers(event, scale)
    tests: dict[str, list[Any]] = {
        "Randomization p-value": [result.randomization for result in headline],
        "Averages agree, p-value": [agreements[outcome].sup_t for outcome in setting.plan.outcomes],
    }
    below = [
        Line(label, [p_cell(test.p_value) if test else "" for test in row])
        for label, row in tests.items()
        if any(row)
    ]
    return Answers(
        scale=scale,
        effects={label: [result.headline for result in row] for label, row in rows.items()},
        powers={label: [result.power for result in row] for label, row in rows.items()},
        tests=[*below, Line("Minimum detectable effect", [Number(r.power.effect) for r in headline])],
    )


def _notes(setting: Setting, event: Event, agreements: Agreements) -> Iterator[str]:
    plan, text = setting.plan, setting.plan.text
    every = [setting.results[task.key] for task in plan.tasks() if task.event == event]
    headline = setting.answers(event, setting.scale)
    first = next((r for r in headline if r.headline), headline[0])
    coefficients = dict.fromkeys(r.task.row.label for r in every if r.estimand == "coefficient")
    others = f"; for {'; '.join(coefficients)}: a coefficient, not an average effect" if coefficients else ""
    yield f"Estimand: the average over {setting.averaged(event)}, with equal weights{others}."
    cells = f"{first.n_obs} {text.unit}-years, " if first.headline else ""
    yield (
        f"{first.n_units} {text.units}, of which {first.n_treated} first treated in {first.n_cohorts} adoption "
        f"years, {cells}{first.n_clusters} clusters."
    )
    yield setting.errors(every)
    if first.headline:
        yield (
            f"The minimum detectable effect is that of {plan.headline.label}: what a two-sided 5% test finds with 80% "
            "power."
        )
    if len(plan.scales) > 1:
        of = ("log(1 + outcome)" if scale == "log1p" else "the outcome itself" for scale in plan.scales)
        trends = (f"Panel {letter} of {y}" for letter, y in zip(LETTERS, of, strict=False))
        yield f"Parallel trends are assumed: {', '.join(trends)}."
    if first.randomization:
        within = f"within strata of {plan.strata}" if plan.strata else "among all units"
        yield (
            f"The randomization p-value permutes event dates {within} "
            f"({first.randomization.permutations} times) and compares t statistics of {plan.headline.label}."
        )
    tested = next((a for of_scale in agreements.values() for a in of_scale.values() if a.sup_t), None)
    if tested is not None:
        yield (
            f"Averages agree: sup-t test over pairwise differences of {'; '.join(tested.labels)}, from the joint "
            f"influence of the designs ({plan.band_draws} draws)."
        )
    means = [result.untreated_mean for result in headline]
    if not any(map(math.isnan, means)):
        by_outcome = zip(plan.outcomes.values(), means, strict=True)
        listed = ", ".join(f"{title.lower()} {mean:.2f}" for title, mean in by_outcome)
        yield f"{text.outcomes_with_units} that the treated would have had without treatment: {listed}."
    warnings = [r.few_clusters for r in every if r.task.row == plan.headline and r.few_clusters]
    yield from (w.replace(f"{plan.headline.name}:", f"{plan.headline.label}:", 1) for w in warnings[:1])
    yield from _draw_notes(setting, event)
    yield from refusals(every)


def _draw_notes(setting: Setting, event: Event) -> Iterator[str]:
    """Say how much of the averages over draws of the folds is left to chance, at most, by design."""
    by_design = []
    for row in setting.plan.rows:
        answers = [r for scale in setting.plan.scales for r in setting.answers(event, scale, row.label)]
        shares = [r.draw_error / r.headline.std_error for r in answers if r.headline]
        if shares and not any(map(math.isnan, shares)):
            by_design.append(f"{row.label} {max(shares):.2f}")
    if by_design:
        yield (
            "What the draws of the folds leave to chance, which no standard error counts, is at most, in standard "
            f"errors: {'; '.join(by_design)}."
        )


def path_figure(plan: Plan, event: Event, scale: str, results: Results, period: str) -> Figure:
    """Draw the headline design's event study of each outcome, or that of the first design that has one."""
    row = plan.figure_row
    paths = {
        title: figures.shown(pd.DataFrame(results[event.label, scale, outcome, row.label].path), plan.window)
        for outcome, title in plan.outcomes.items()
    }
    unit = Scale(scale, plan.text.counted)
    return figures.event_study(paths, ylabel=unit.short_axis(), unit=period, percent=unit.percent)


def _sentence(setting: Setting, event: Event, agreement: Agreement) -> str:
    plan, scale, test = setting.plan, Scale(setting.scale), agreement.sup_t
    answers = [setting.answers(event, scale.name, row.label)[0] for row in plan.rows]
    effects = [result.headline for result in answers if result.headline]
    if not effects:
        return f"{event.short}: every design refuses the question."
    headline = setting.answers(event, scale.name)[0]
    effect, number = headline.headline, scale.number
    answer = "refuses the question"
    if effect is not None:
        answer = (
            f"puts the effect at {number(effect.estimate)} ({plan.level:.0%} interval {number(effect.conf_low)} to "
            f"{number(effect.conf_high)}; minimum detectable effect {number(headline.power.effect)}), {scale.printed}"
        )
    smallest, largest = (number(end(effect.estimate for effect in effects)) for end in (min, max))
    excluding = sum(effect.excludes_zero for effect in effects)
    agree = f" The test that averages of one kind agree has {p_is(test.p_value)}." if test else ""
    return (
        f"{event.short}, {plan.outcomes[setting.outcome].lower()}: {plan.headline.label} {answer}. Over "
        f"{len(effects)} designs estimates run from {smallest} to {largest}; zero is outside of {excluding} of their "
        f"{len(effects)} intervals.{agree}"
    )
