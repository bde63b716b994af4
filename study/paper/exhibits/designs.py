"""Designs by outcomes for each event: estimates, a test that they agree, and what each could have found."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import pandas as pd

from study.designs import find_design
from study.figures import paths as figures
from study.inference import Agreement, agreement_of
from study.panel import Scale
from study.paper.exhibits.exhibit import Drawn, Exhibited, Setting, Traced, draw, source_of
from study.paper.exhibits.headline_numbers import headline_numbers
from study.paper.notes import clustered, refusals, window_of
from study.paper.plan import Event, Plan
from study.paper.results import Result, Results
from study.report import (
    LETTERS,
    POWER_OF,
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

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Agreements = dict[tuple[str, str, str], Agreement]


def designs(setting: Setting) -> Exhibited:
    """Return the tables and event-study figures of all events, with the numbers of the headline."""
    found = {
        (event.label, scale, outcome): agreement(setting, event, scale, outcome)
        for event in setting.plan.events
        for scale in setting.plan.scales
        for outcome in setting.plan.outcomes
    }
    tables = [
        table
        for event in setting.plan.events
        for table in (main_table(setting, event, found), power_table(setting, event))
    ]
    return Exhibited(
        tables=tuple(tables),
        figures=tuple(
            _figure(setting, event, scale) for event in setting.plan.events for scale in setting.plan.scales
        ),
        numbers=(*headline_numbers(setting), *_agreement_numbers(setting, found)),
        sentences=tuple(_sentence(setting, event, found) for event in setting.plan.events),
    )


def agreement(setting: Setting, event: Event, scale: str, outcome: str) -> Agreement:
    """Test that all designs of a table whose averages are of one kind have the same average.

    Draws are the plan's; unlike averages (coefficients, the change in one year) are left out.
    """
    plan, fits = setting.plan, {}
    for row in plan.rows:
        task = plan.task(event, outcome, scale, row)
        if setting.results[task.key].headline is not None and find_design(row.name).estimand.has_path:
            sample = task.question.sample(setting.panel)
            fits[row.label] = find_design(row.name)(sample, **task.options).headline
    return agreement_of(fits, draws=plan.band_draws, seed=plan.seed)


def of_event(plan: Plan, event: Event, results: Results) -> list[Result]:
    """Return the answers about one event, in the order of the tables."""
    return [results[task.key] for task in plan.tasks() if task.event == event]


def main_table(setting: Setting, event: Event, found: Agreements) -> Table:
    """Return the table of one event: rows designs, columns outcomes, panels scales."""
    plan = setting.plan
    blocks = [
        Block(f"Panel {letter}. {title}", _lines(setting, event, scale, found))
        for letter, (scale, title) in zip(LETTERS, plan.scales.items(), strict=False)
    ]
    return Table(
        name=event.label,
        caption=f"Effect of the {event.title} on {plan.text.outcome}, by design",
        headings=list(plan.outcomes.values()),
        blocks=blocks,
        notes=_notes(setting, event, found),
    )


def _row(setting: Setting, event: Event, scale: str, label: str) -> list[Result]:
    return [setting.results[event.label, scale, outcome, label] for outcome in setting.plan.outcomes]


def _lines(setting: Setting, event: Event, scale: str, found: Agreements) -> list[Line]:
    plan, lines = setting.plan, []
    for row in plan.rows:
        lines += estimate_lines(row.label, _row(setting, event, scale, row.label))
    headline = _row(setting, event, scale, plan.headline.label)
    if any(r.randomization for r in headline):
        p_values = [r.randomization.p_value if r.randomization else math.nan for r in headline]
        lines.append(Line("Randomization p-value", [p_cell(p) for p in p_values]))
    tested = [found[event.label, scale, outcome].sup_t for outcome in plan.outcomes]
    if any(tested):
        lines.append(Line("Averages agree, p-value", [p_cell(t.p_value) if t else "" for t in tested]))
    lines.append(Line("Minimum detectable effect", [Number(r.power.effect) for r in headline]))
    return lines


def estimate_lines(label: str, answers: list[Result]) -> list[Line]:
    """Return the line of a design's estimates and that of their standard errors."""
    terms = [r.headline for r in answers]
    estimates: list[Cell] = [Number(t.estimate) if t else REFUSED for t in terms]
    return [Line(label, estimates), Line("", [error(t.std_error) if t else "" for t in terms])]


def _notes(setting: Setting, event: Event, found: Agreements) -> list[str]:
    plan, every = setting.plan, of_event(setting.plan, event, setting.results)
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
            f"The randomization p-value deals event dates anew within strata of {plan.strata} "
            f"({first.randomization.permutations} times) and compares t statistics of {plan.headline.label}."
        )
    tested = next((a for a in found.values() if a.sup_t and a.labels), None)
    if tested is not None:
        notes.append(
            f"Averages agree: sup-t test over pairwise differences of {'; '.join(tested.labels)}, from the joint "
            f"influence of the designs ({plan.band_draws} draws)."
        )
    means = [r.untreated_mean for r in headline]
    if not any(math.isnan(m) for m in means):
        told = ", ".join(f"{t.lower()} {m:.2f}" for t, m in zip(plan.outcomes.values(), means, strict=True))
        notes.append(
            f"{plan.text.outcomes_with_units} that the treated would have had without treatment: {told}."
        )
    notes += list(
        dict.fromkeys(
            r.few_clusters.replace(f"{plan.headline.name}:", f"{plan.headline.label}:", 1)
            for r in every
            if r.task.row == plan.headline and r.few_clusters
        )
    )[:1]
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
    if not by_design:
        return []
    return [
        "What the draws of the folds leave to chance, which no standard error counts, is at most, in standard errors: "
        f"{'; '.join(by_design)}."
    ]


def power_table(setting: Setting, event: Event) -> Table:
    """Return what every design could have found: in the outcome's units, and in percent."""
    plan = setting.plan
    blocks = []
    for letter, (scale, title) in zip(LETTERS, plan.scales.items(), strict=False):
        lines = []
        for row in plan.rows:
            powers = [r.power for r in _row(setting, event, scale, row.label)]
            cells = [Number(x, digits) for p in powers for x, digits in ((p.units, 2), (p.percent, 1))]
            lines.append(Line(row.label, cells))
        blocks.append(Block(f"Panel {letter}. {title}", lines))
    percent = " and ".join(
        f"of {POWER_OF[scale]} (Panel {letter})" for letter, scale in zip(LETTERS, plan.scales, strict=False)
    )
    return Table(
        name=f"{event.label}-power",
        caption=f"What each design could have found: minimum detectable effects of the {event.title}",
        headings=["Papers", "%"] * len(plan.outcomes),
        spans=[Span(title, 2) for title in plan.outcomes.values()],
        blocks=blocks,
        notes=[
            "The smallest effect that a two-sided 5% test finds with 80% power, by design, in "
            f"{plan.text.outcomes_with_units} and in percent {percent}.",
            "An empty cell is a mean that is not positive or not implied, or a design that refuses the question.",
        ],
    )


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


def _agreement_numbers(setting: Setting, found: Agreements) -> list[Traced]:
    traced = []
    for (label, scale, outcome), agreed in found.items():
        event = next(e for e in setting.plan.events if e.label == label)
        task = setting.plan.task(event, outcome, scale, setting.plan.headline)
        name, command = macro_name(label, scale, outcome), f"study table {label}/{outcome}/{scale}"
        said = f"that the averages of {'; '.join(agreed.labels)} agree"
        p_value = agreed.sup_t.p_value if agreed.sup_t else math.nan
        for part, value, what in (
            ("AgreeP", p_text(p_value), f"sup-t p-value {said}"),
            ("AgreeDesigns", str(len(agreed.labels)), f"number of designs in the test {said}"),
        ):
            source = source_of("designs", what, task, setting.panel, command)
            traced.append(Traced(f"{name}{part}", value, source))
    return traced


def _sentence(setting: Setting, event: Event, found: Agreements) -> str:
    plan, scale, outcome = setting.plan, next(iter(setting.plan.scales)), next(iter(setting.plan.outcomes))
    answers = [setting.results[event.label, scale, outcome, row.label] for row in plan.rows]
    terms = [r.headline for r in answers if r.headline]
    if not terms:
        return f"{event.short}: every design refuses the question."
    headline = setting.results[event.label, scale, outcome, plan.headline.label]
    unit, sup_t = Scale(scale).printed, found[event.label, scale, outcome].sup_t
    told = f"{event.short}, {plan.outcomes[outcome].lower()}: {plan.headline.label} refuses the question. "
    if headline.headline is not None:
        term = headline.headline
        low, high, estimate = (Scale(scale).number(v) for v in (term.conf_low, term.conf_high, term.estimate))
        told = (
            f"{event.short}, {plan.outcomes[outcome].lower()}: {plan.headline.label} puts the effect at {estimate} "
            f"({plan.level:.0%} interval {low} to {high}; minimum detectable effect "
            f"{Scale(scale).number(headline.power.effect)}), {unit}. "
        )
    smallest, largest = (Scale(scale).number(f(t.estimate for t in terms)) for f in (min, max))
    without_zero = sum(not t.conf_low <= 0 <= t.conf_high for t in terms)
    told += f"Over {len(terms)} designs estimates run from {smallest} to {largest}; "
    told += f"zero is outside of {without_zero} of their {len(terms)} intervals."
    if sup_t is not None:
        told += f" The test that averages of one kind agree has a p-value of {p_text(sup_t.p_value)}."
    return told
