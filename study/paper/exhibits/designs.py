"""Designs by outcomes for each event: estimates, a test that they agree, and what each could have found."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

import pandas as pd

from study.designs import find_design
from study.figures import paths as figures
from study.inference import Agreement
from study.panel import Scale
from study.paper.exhibits.exhibit import (
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
from study.paper.plan import Event, Plan
from study.paper.results import Result, Results, comparison
from study.report import (
    LETTERS,
    Answers,
    Column,
    Line,
    Number,
    Table,
    Words,
    effects_table,
    p_cell,
    p_text,
    power_table,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Agreements = Mapping[tuple[str, str, str], Agreement]
OF_AGREEMENT = {
    "agree_p": Column("sup-t p-value", "p"),
    "agree_designs": Column("number of designs in the test", "count"),
}


@exhibit("Every design, and whether they agree", Part.EFFECTS)
def designs(setting: Setting) -> Exhibited:
    """Return the tables and event-study figures of all events, with the test that designs agree."""
    plan = setting.plan
    agreements = {
        (event.label, scale, outcome): agreement
        for event in plan.events
        for scale in plan.scales
        for outcome, agreement in _agreements(setting, event, scale).items()
    }
    tables = [
        table
        for event in plan.events
        for table in (main_table(setting, event, agreements), event_power_table(setting, event))
    ]
    return Exhibited(
        tables=tuple(tables),
        figures=tuple(_figure(setting, event, scale) for event in plan.events for scale in plan.scales),
        numbers=tuple(_numbers(setting, agreements)),
        sentences=tuple(_sentence(setting, event, agreements) for event in plan.events),
    )


def _agreements(setting: Setting, event: Event, scale: str) -> Mapping[str, Agreement]:
    """Test for each outcome that all designs of a table whose averages are of one kind have the same average.

    Draws are the plan's; unlike averages (coefficients, the change in one year) are left out.
    """
    plan = setting.plan
    rows = [row for row in plan.rows if find_design(row.name).estimand.has_path]
    return comparison(plan, setting.panel, event, scale, list(plan.outcomes), rows).agreement


def main_table(setting: Setting, event: Event, agreements: Agreements) -> Table:
    """Return the table of one event: rows designs, columns outcomes, panels scales."""
    caption = f"Effect of the {event.title} on {setting.plan.text.outcome}, by design"
    answers = [
        _answers(setting, event, scale, _tests(setting, event, scale, agreements))
        for scale in setting.plan.scales
    ]
    return effects_table(_words(setting, event, caption), answers, _notes(setting, event, agreements))


def event_power_table(setting: Setting, event: Event) -> Table:
    """Return what every design could have found: in the outcome's units, and in percent."""
    caption = f"What each design could have found: minimum detectable effects of the {event.title}"
    answers = [_answers(setting, event, scale) for scale in setting.plan.scales]
    return power_table(_words(setting, event, caption), answers, digits=2)


def _words(setting: Setting, event: Event, caption: str) -> Words:
    plan = setting.plan
    return Words(
        name=event.label,
        caption=caption,
        outcomes=plan.outcomes,
        scales=plan.scales,
        outcome_units=plan.text.outcomes_with_units,
        heading="Papers",
    )


def _row(setting: Setting, event: Event, scale: str, label: str) -> list[Result]:
    return [setting.results[event.label, scale, outcome, label] for outcome in setting.plan.outcomes]


def _answers(setting: Setting, event: Event, scale: str, tests: Sequence[Line] = ()) -> Answers:
    rows = {row.label: _row(setting, event, scale, row.label) for row in setting.plan.rows}
    return Answers(
        scale=scale,
        effects={label: [result.headline for result in row] for label, row in rows.items()},
        powers={label: [result.power for result in row] for label, row in rows.items()},
        tests=tests,
    )


def _tests(setting: Setting, event: Event, scale: str, agreements: Agreements) -> list[Line]:
    """Return the lines below the estimates: the headline's test, whether designs agree, what could be found."""
    headline, lines = _row(setting, event, scale, setting.plan.headline.label), []
    if any(r.randomization for r in headline):
        p_values = [p_cell(r.randomization.p_value) if r.randomization else "" for r in headline]
        lines.append(Line("Randomization p-value", p_values))
    tested = [agreements[event.label, scale, outcome].sup_t for outcome in setting.plan.outcomes]
    if any(tested):
        lines.append(Line("Averages agree, p-value", [p_cell(t.p_value) if t else "" for t in tested]))
    return [*lines, Line("Minimum detectable effect", [Number(r.power.effect) for r in headline])]


def _notes(setting: Setting, event: Event, agreements: Agreements) -> list[str]:
    plan = setting.plan
    every = [setting.results[task.key] for task in plan.tasks() if task.event == event]
    scale = next(iter(plan.scales))
    headline = _row(setting, event, scale, plan.headline.label)
    first = next((r for r in headline if r.headline), headline[0])
    answered = first.headline is not None
    coefficients = dict.fromkeys(r.task.row.label for r in every if r.estimand == "coefficient")
    notes = [
        f"Estimand: the average over {window_of(first)}, with equal weights"
        + (
            f"; for {'; '.join(coefficients)}: a coefficient, not an average effect." if coefficients else "."
        ),
        f"{first.n_units} {plan.text.units}, of which {first.n_treated} first treated in {first.n_cohorts} adoption "
        f"years, {f'{first.n_obs} {plan.text.unit}-years, ' if answered else ''}{first.n_clusters} clusters.",
        clustered(plan, every),
    ]
    if answered:
        notes.append(
            f"The minimum detectable effect is that of {plan.headline.label}: what a two-sided 5% test finds with 80% "
            "power."
        )
    if len(plan.scales) > 1:
        trends = [
            f"Panel {letter} of {'log(1 + outcome)' if scale == 'log1p' else 'the outcome itself'}"
            for letter, scale in zip(LETTERS, plan.scales, strict=False)
        ]
        notes.append(f"Parallel trends are assumed: {', '.join(trends)}.")
    if first.randomization:
        notes.append(
            f"The randomization p-value permutes event dates within strata of {plan.strata} "
            f"({first.randomization.permutations} times) and compares t statistics of {plan.headline.label}."
        )
    tested = next((a for key, a in agreements.items() if key[0] == event.label and a.sup_t), None)
    if tested is not None:
        notes.append(
            f"Averages agree: sup-t test over pairwise differences of {'; '.join(tested.labels)}, from the joint "
            f"influence of the designs ({plan.band_draws} draws)."
        )
    means = dict(zip(plan.outcomes.values(), (r.untreated_mean for r in headline), strict=True))
    if not any(math.isnan(mean) for mean in means.values()):
        by_outcome = ", ".join(f"{title.lower()} {mean:.2f}" for title, mean in means.items())
        notes.append(
            f"{plan.text.outcomes_with_units} that the treated would have had without treatment: {by_outcome}."
        )
    warnings = [r.few_clusters for r in every if r.task.row == plan.headline and r.few_clusters]
    notes += [w.replace(f"{plan.headline.name}:", f"{plan.headline.label}:", 1) for w in warnings[:1]]
    return [*notes, *_draw_notes(setting, event), *refusals(every)]


def _draw_notes(setting: Setting, event: Event) -> list[str]:
    """Say how much of the averages over draws of the folds is left to chance, at most, by design."""
    by_design = []
    for row in setting.plan.rows:
        answers = [
            r for scale in setting.plan.scales for r in _row(setting, event, scale, row.label) if r.headline
        ]
        shares = [r.draw_error / r.headline.std_error for r in answers if r.headline]
        if shares and not any(math.isnan(share) for share in shares):
            by_design.append(f"{row.label} {max(shares):.2f}")
    chance = "What the draws of the folds leave to chance, which no standard error counts, is at most, in standard "
    return [f"{chance}errors: {'; '.join(by_design)}."] if by_design else []


def path_figure(plan: Plan, event: Event, scale: str, results: Results) -> Figure:
    """Draw the headline design's event study of each outcome, or that of the first design that has one."""
    row = plan.figure_row
    paths = {
        title: figures.shown(pd.DataFrame(results[event.label, scale, outcome, row.label].path), plan.window)
        for outcome, title in plan.outcomes.items()
    }
    return figures.event_study(
        paths, ylabel=Scale(scale, "papers").short_axis(), percent=Scale(scale).percent
    )


def _figure(setting: Setting, event: Event, scale: str) -> Drawn:
    plan = setting.plan
    title = plan.scales[scale]
    return draw(
        f"{event.label}_{scale}",
        f"Effects of the {event.title} by event time, {plan.figure_row.label}. {title}.",
        path_figure(plan, event, scale, setting.results),
        f"Event study of {', '.join(plan.outcomes.values())}: estimates with pointwise intervals and the simultaneous "
        f"band at {plan.level:.0%}, from {plan.window[0]} to {plan.window[1]} years since the event.",
    )


def _numbers(setting: Setting, agreements: Agreements) -> Iterator[Traced]:
    """Yield the tests that designs agree, at addresses like those of :mod:`study.paper.answer_numbers`."""
    for (label, scale, outcome), agreement in agreements.items():
        task = setting.results[label, scale, outcome, setting.plan.headline.label].task
        averages = f"that the averages of {'; '.join(agreement.labels)} agree"
        source = source_of("designs", averages, task, setting.panel, f"study table {label}/{outcome}/{scale}")
        values = {
            "agree_p": agreement.sup_t.p_value if agreement.sup_t else math.nan,
            "agree_designs": len(agreement.labels),
        }
        yield from addressed(address(label, outcome, scale, "designs"), values, source, scale, OF_AGREEMENT)


def _sentence(setting: Setting, event: Event, agreements: Agreements) -> str:
    plan, name, outcome = setting.plan, next(iter(setting.plan.scales)), next(iter(setting.plan.outcomes))
    effects = [setting.results[event.label, name, outcome, row.label].headline for row in plan.rows]
    answered = [effect for effect in effects if effect]
    if not answered:
        return f"{event.short}: every design refuses the question."
    result, scale = setting.results[event.label, name, outcome, plan.headline.label], Scale(name)
    sentence = f"{event.short}, {plan.outcomes[outcome].lower()}: {plan.headline.label} "
    if result.headline is None:
        sentence += "refuses the question. "
    else:
        low, high = scale.number(result.headline.conf_low), scale.number(result.headline.conf_high)
        sentence += (
            f"puts the effect at {scale.number(result.headline.estimate)} ({plan.level:.0%} interval {low} to {high}; "
            f"minimum detectable effect {scale.number(result.power.effect)}), {scale.printed}. "
        )
    smallest, largest = (scale.number(f(effect.estimate for effect in answered)) for f in (min, max))
    excluding = sum(effect.excludes_zero for effect in answered)
    sentence += f"Over {len(answered)} designs estimates run from {smallest} to {largest}; "
    sentence += f"zero is outside of {excluding} of their {len(answered)} intervals."
    test = agreements[event.label, name, outcome].sup_t
    if test is not None:
        sentence += f" The test that averages of one kind agree has a p-value of {p_text(test.p_value)}."
    return sentence
