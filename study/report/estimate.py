"""One estimate as a table and as text for a terminal."""

from __future__ import annotations

import math
from contextlib import suppress

import numpy as np

from study.core import SMALLEST_P, QuestionError, Text, lines, p_is
from study.designs import all_designs
from study.estimates import NUMBERS, Effect, Estimand, Estimate, smallest_effect
from study.panel import Question, Sample
from study.report.columns import COLUMNS, CONVENTIONS, POWER_OF
from study.report.design_table import left_out
from study.report.table import Block, Line, Table

SHOWN = ("estimate", "std_error", "conf_low", "conf_high")


def as_table(fit: Estimate, level: float = 0.95) -> Table:
    """Return one estimate's terms as a table: estimate, standard error, pointwise interval at a level.

    Parameters
    ----------
    fit : Estimate
        Its K terms are the lines.
    """
    lines = [
        Line(row["term"], [COLUMNS[name].cell(row[name]) for name in SHOWN])
        for row in fit.tidy(level).to_dict("records")
    ]
    question = fit.sample.question
    return Table(
        name="estimate",
        caption=f"Effect of {question.event} on {question.outcome}",
        headings=["Estimate", "Std. error", f"{100 * level:g}% low", f"{100 * level:g}% high"],
        blocks=[Block(design_title(fit), lines)],
        notes=[f"{sentence}." for sentence in described(fit)],
    )


def estimate_facts(fit: Estimate, level: float = 0.95) -> tuple[str, dict[str, str]]:
    """Return what an estimate is of, as a title, and its headline and what it rests on, by what they are."""
    sample, question = fit.sample, fit.sample.question
    estimand = f"{fit.estimand}, scale {question.scale}, {question.comparison.replace('_', '-')} comparison"
    facts = {"estimand": estimand + _balanced(question)}
    with suppress(QuestionError):  # whoever asks for an average that there is not is told why
        facts[fit.headline.terms[0].replace("_", " ")] = _in_words(fit.headline, level)
    units = f"{sample.n_units} units of {sample.panel.name}, {sample.n_treated} treated{_in_cohorts(sample)}"
    facts["sample"] = f"{units}; {fit.n_obs} observations"
    facts["errors"] = f"{fit.errors_by}; {fit.n_clusters} clusters, by {question.cluster or 'unit'}"
    facts["terms"] = f"{len(fit.terms)}, {fit.terms[0]} to {fit.terms[-1]}" if len(fit.terms) > 1 else ""
    title = f"{design_title(fit)}: effect of {question.event} on {question.outcome}"
    return title, {name: fact for name, fact in facts.items() if fact}


def _balanced(question: Question) -> str:
    """Say of which cohorts averages are, where that is not all of them."""
    balance = question.balance
    return "" if balance is None else f", averaged over cohorts seen up to event time {balance}"


def _in_cohorts(sample: Sample) -> str:
    """Say in how many cohorts units are treated, where they are."""
    return f" in {len(sample.cohorts)} cohorts" if sample.first_treated is not None else ""


def design_title(fit: Estimate) -> str:
    """Return the title of an estimate's design, or its name where it is in no catalogue."""
    known = all_designs().get(fit.design)
    return known.title if known else fit.design


def _in_words(average: Estimate, level: float) -> str:
    """Write an estimate of one term with its interval and p-value."""
    effect, scale = Effect.of("", average, level), average.sample.question.effect_scale
    if not effect.exists:
        return "no estimate"
    slope = average.estimand is Estimand.GROUP_TIME_ACRT
    per_dose = f" per unit of {average.sample.question.dose}" if slope else ""
    size = f"{scale.text(effect.estimate)} {scale.unit}{per_dose}"
    if math.isnan(effect.std_error):
        return f"{size}, no standard error"
    interval = f"{level:.0%} CI {scale.text(effect.conf_low)} to {scale.text(effect.conf_high)}"
    return f"{size} ({interval}), {p_is(effect.p_value)}"


def estimate_summary(fit: Estimate, level: float = 0.95) -> Text:
    """Return what an estimate is, its headline, its path by event time or else its terms, and its notes."""
    import pandas as pd

    title, facts = estimate_facts(fit, level)
    shown = [by_event_time(fit), *([] if fit.at is None else [fit.aggregate(fit.at_name)])]
    path = pd.concat([part.tidy(level)[["term", *NUMBERS]] for part in shown])
    p_values = {"p_value": lambda p: f"<{SMALLEST_P:g}" if p < SMALLEST_P else f"{p:.4f}"}
    table = path.to_string(
        index=False, float_format=lambda value: f"{round(value, 4) + 0.0:.4f}", formatters=p_values, na_rep=""
    )
    return Text("\n".join([lines(title, facts), table, *(f"{note}." for note in described(fit)[2:])]))


def by_event_time(fit: Estimate) -> Estimate:
    """Return group-time effects averaged over cohorts by event time, and other estimates as they are."""
    in_cells = fit.estimand.in_cells and np.isfinite(fit.cohort + fit.period).any()
    return fit.by_event_time if in_cells else fit


def described(fit: Estimate) -> list[str]:
    """Say what an estimate is, on whom, with what uncertainty, and what it could have found.

    Returns
    -------
    list of str
        Sentences without their full stops.
    """
    sample, dropped, power = fit.sample, left_out(fit.sample), []
    with suppress(QuestionError):  # averages by cohort or period have no average of their own
        average = fit if len(fit.terms) == 1 else fit.headline
        power = [
            f"Minimum detectable effect of {average.terms[0]} at 80% power and 5% size: {smallest_effect(average)} in "
            f"units of {sample.question.outcome} and in percent of {POWER_OF[sample.question.scale]}"
        ]
    return [
        f"Estimand: {fit.estimand}, scale {sample.question.scale}{_balanced(sample.question)}",
        f"{sample.n_units} units, {sample.n_treated} of them treated{_in_cohorts(sample)}; "
        f"{fit.n_obs} observations; {fit.n_clusters} clusters; {CONVENTIONS[fit.errors_by]}",
        *power,
        *([f"Left out: {'; '.join(dropped)}"] if dropped else []),
        *(note.rstrip(".") for note in fit.notes),
    ]
