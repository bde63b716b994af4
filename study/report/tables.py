"""The tables of the paper: designs by outcomes, and who is in the sample."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from study.designs import find_design
from study.estimates import Estimate
from study.inference import few_clusters_warning
from study.panel import Panel
from study.plan import Event, Plan
from study.power import smallest_effect
from study.question import FlowStep
from study.report.latex import decimal, in_brackets, render
from study.results import Result

CONVENTIONS: dict[str, str] = {
    "CR0": "influence-function standard errors without a small-sample factor, normal critical values",
    "CR1": "standard errors with the factor G/(G-1)",
    "CR1_fixest": "regression standard errors with fixest's small-sample factor and t(G-1)",
    "CR1_areg": "regression standard errors with the small-sample factor that counts unit effects and t(G-1)",
}

POWER_OF: dict[str, str] = {
    "level": "the mean without treatment",
    "proportional": "the mean without treatment",
    "log1p": "one plus the mean before treatment",
}

Results = dict[tuple[str, str, str, str], Result]


class Line(NamedTuple):
    """One line of a table: its label and its cells, already formatted."""

    label: str
    cells: list[str]


class Block(NamedTuple):
    """A titled panel of a table."""

    title: str
    lines: list[Line]


def main_table(plan: Plan, event: Event, results: Results) -> bytes:
    """Return the table of one event: rows designs, columns outcomes, panels scales."""
    blocks = [
        Block(f"Panel {letter}. {title}", _scale_lines(plan, event, scale, results))
        for letter, (scale, title) in zip("ABCDEFGH", plan.scales.items(), strict=False)
    ]
    return render(
        "table.tex",
        caption=f"Effect of the {event.title} on {plan.text.outcome}, by design",
        label=f"tab:{event.label}",
        column_spec=numeric_columns([block.lines for block in blocks], len(plan.outcomes)),
        headings=list(plan.outcomes.values()),
        panels=blocks,
        notes=_main_notes(plan, event, results),
    )


def _row(plan: Plan, event: Event, scale: str, label: str, results: Results) -> list[Result]:
    return [results[event.label, scale, outcome, label] for outcome in plan.outcomes]


def _scale_lines(plan: Plan, event: Event, scale: str, results: Results) -> list[Line]:
    lines = []
    for row in plan.rows:
        answers = _row(plan, event, scale, row.label, results)
        terms = [r.headline for r in answers]
        lines.append(Line(row.label, [decimal(t.estimate) if t else "{--}" for t in terms]))
        lines.append(Line("", [in_brackets(t.std_error) if t else "" for t in terms]))
    headline = _row(plan, event, scale, plan.headline.label, results)
    if any(r.randomization for r in headline):
        p_values = [r.randomization.p_value if r.randomization else math.nan for r in headline]
        lines.append(Line("Randomization p-value", [decimal(p) for p in p_values]))
    lines.append(Line("Minimum detectable effect", [decimal(r.power.effect) for r in headline]))
    return lines


def numeric_columns(groups: Sequence[Sequence[Line]], count: int) -> str:
    """Return one siunitx column for each outcome, wide enough for its largest number."""
    cells = [cell for lines in groups for line in lines for cell in line.cells]
    digits = max((len(c.split(".")[0].lstrip("-{()}")) for c in cells if "." in c), default=1)
    brackets = "table-space-text-pre={(},table-space-text-post={)},table-align-text-pre=false"
    return f"*{{{count}}}{{S[table-format=-{digits}.3,{brackets}]}}"


def _main_notes(plan: Plan, event: Event, results: Results) -> list[str]:
    scale = next(iter(plan.scales))
    first = _row(plan, event, scale, plan.headline.label, results)[0]
    horizon = first.task.question.horizon
    times = "all event times from 0" if horizon is None else f"event times 0 to {horizon}"
    every = [results[task.key] for task in plan.tasks() if task.event == event]
    coefficients = dict.fromkeys(r.task.row.label for r in every if r.estimand == "coefficient")
    notes = [
        f"{first.n_units} {plan.text.units}, of which {first.n_treated} first treated in {first.n_cohorts} adoption "
        f"years, {first.n_obs} {plan.text.unit}-years.",
        f"Standard errors in parentheses, clustered by {first.task.question.cluster or plan.text.unit} "
        f"({first.n_clusters} clusters; {_conventions(every)}).",
        f"Estimand: the average over {times}, with equal weights"
        + (
            f"; for {'; '.join(coefficients)}: a coefficient, not an average effect." if coefficients else "."
        ),
        f"The minimum detectable effect of the panels' last rows is that of {plan.headline.label}: what a two-sided 5% "
        "test finds with 80% power.",
        *_power_notes(plan, event, results),
        *_draw_notes(plan, event, results),
    ]
    if len(plan.scales) > 1:
        trends = [
            f"Panel {letter} of {'log(1 + outcome)' if scale == 'log1p' else 'the outcome itself'}"
            for letter, scale in zip("ABCDEFGH", plan.scales, strict=False)
        ]
        notes.append(f"Parallel trends are assumed: {', '.join(trends)}.")
    means = [r.untreated_mean for r in _row(plan, event, scale, plan.headline.label, results)]
    if not any(math.isnan(m) for m in means):
        told = ", ".join(
            f"{title.lower()} {decimal(m, 2)}" for title, m in zip(plan.outcomes.values(), means, strict=True)
        )
        notes.append(
            f"{plan.text.outcomes_with_units} that the treated would have had without treatment: {told}."
        )
    warned = [r.few_clusters for r in every if r.task.row == plan.headline and r.few_clusters]
    if warned:
        notes.append(warned[0].replace(f"{plan.headline.name}:", f"{plan.headline.label}:", 1))
    if first.randomization:
        notes.append(
            f"The randomization p-value deals event dates anew within strata of {plan.strata} "
            f"({first.randomization.permutations} times) and compares t statistics."
        )
    refused = sorted({note for r in every if r.headline is None for note in r.notes})
    if refused:
        notes.append("-- : refused. " + " ".join(refused))
    return notes


def _power_notes(plan: Plan, event: Event, results: Results) -> list[str]:
    """Say what each design could have found for each outcome."""
    letters = dict(zip("ABCDEFGH", plan.scales, strict=False))
    by_design = []
    for row in plan.rows:
        told = []
        for letter, scale in letters.items():
            answers = _row(plan, event, scale, row.label, results)
            if any(r.headline for r in answers):
                told.append(f"{letter} {', '.join(str(r.power) for r in answers)}")
        if told:
            by_design.append(f"{row.label} {'; '.join(told)}")
    percent = " and ".join(f"of {POWER_OF[scale]} (Panel {letter})" for letter, scale in letters.items())
    return [
        f"Minimum detectable effects by panel and column, in {plan.text.outcomes_with_units} and in percent {percent}: "
        f"{'; '.join(by_design)}."
    ]


def _draw_notes(plan: Plan, event: Event, results: Results) -> list[str]:
    """Say how much of the averages over draws of the folds is left to chance, at most, by design."""
    by_design = []
    for row in plan.rows:
        answers = [
            r for scale in plan.scales for r in _row(plan, event, scale, row.label, results) if r.headline
        ]
        shares = [r.draw_error / r.headline.std_error for r in answers if r.headline]
        if shares and not any(math.isnan(share) for share in shares):
            by_design.append(f"{row.label} {decimal(max(shares), 2)}")
    if not by_design:
        return []
    return [
        "What the draws of the folds leave to chance, which no standard error counts, is at most, in standard errors: "
        f"{'; '.join(by_design)}."
    ]


def _conventions(results: Sequence[Result]) -> str:
    used = dict.fromkeys(r.convention for r in results if r.convention)
    return "; ".join(CONVENTIONS[convention] for convention in used)


def sample_table(plan: Plan, panel: Panel, results: Results) -> bytes:
    """Return who is in the sample and why, and by year who is first treated and how much is covered."""
    scale, outcome = next(iter(plan.scales)), next(iter(plan.outcomes))
    flows = [results[event.label, scale, outcome, plan.headline.label].flow for event in plan.events]
    coverage = panel.covariates.get("coverage")
    papers = panel.covariates.get("venue_papers")
    extra = [block for block in (papers, coverage) if block is not None]
    blank = [""] * len(extra)
    by_rule = [
        Line(f"{plan.text.units.capitalize()} in the panel", [str(panel.n_units)] * len(flows) + blank),
        *(
            Line(f"Dropped: {reason}", _counts(flows, reason) + blank)
            for reason in _reasons(flows, kept=False)
        ),
        Line("In the sample", [str(sum(s.units for s in flow if s.kept)) for flow in flows] + blank),
        Line(
            f"of which first treated in {panel.periods[0]}-{panel.periods[-1]}",
            [str(sum(s.units for s in flow if s.kept and _year(s.reason))) for flow in flows] + blank,
        ),
        *(
            Line(f"of which {reason}", _counts(flows, reason) + blank)
            for reason in _reasons(flows, kept=True)
            if _year(reason) is None
        ),
    ]
    by_year = [
        Line(str(year), _counts(flows, f"first treated in {year}", zero="0") + _by_year(papers, coverage, t))
        for t, year in enumerate(panel.periods)
    ]
    headings = [event.short for event in plan.events]
    columns = ["S[table-format=4.0]"] * len(flows)
    if papers is not None:
        headings.append("Papers")
        columns.append("S[table-format=5.0]")
    if coverage is not None:
        headings.append("Coverage, %")
        columns.append("S[table-format=3.1]")
    return render(
        "table.tex",
        caption=f"The sample: {plan.text.units} by treatment, and coverage by year",
        label="tab:sample",
        column_spec="".join(columns),
        headings=headings,
        panels=[
            Block(f"Panel A. {plan.text.units.capitalize()}, by rule", by_rule),
            Block(f"Panel B. {plan.text.units.capitalize()} first treated, by year", by_year),
        ],
        notes=list(plan.text.sample_notes),
    )


def _reasons(flows: Sequence[Sequence[FlowStep]], *, kept: bool) -> list[str]:
    return list(dict.fromkeys(step.reason for flow in flows for step in flow if step.kept == kept))


def _counts(flows: Sequence[Sequence[FlowStep]], reason: str, zero: str = "0") -> list[str]:
    found = [sum(step.units for step in flow if step.reason == reason) for flow in flows]
    return [str(units) if units else zero for units in found]


def _year(reason: str) -> str | None:
    year = reason.removeprefix("first treated in ")
    return year if year != reason else None


def _by_year(papers: np.ndarray | None, coverage: np.ndarray | None, t: int) -> list[str]:
    cells = []
    if papers is not None:
        cells.append(decimal(float(np.nanmax(papers[:, t])), 0))
    if coverage is not None:
        cells.append(decimal(100 * float(np.nanmax(coverage[:, t])), 1))
    return cells


def estimate_table(fit: Estimate) -> bytes:
    """Return one estimate's terms as a LaTeX table that stands alone."""
    rows = fit.tidy()
    lines = [
        Line(
            row.term,
            [
                decimal(row.estimate),
                in_brackets(row.std_error),
                decimal(row.conf_low),
                decimal(row.conf_high),
            ],
        )
        for row in rows.itertuples()
    ]
    question = fit.sample.question
    return render(
        "table.tex",
        caption=f"Effect of {question.event} on {question.outcome}",
        label="tab:estimate",
        column_spec=numeric_columns([lines], 4),
        headings=["Estimate", "Std. error", "95% low", "95% high"],
        panels=[Block(find_design(fit.design).title, lines)],
        notes=[f"{sentence}." for sentence in _described(fit)],
    )


def estimate_text(fit: Estimate) -> str:
    """Return one estimate's terms as text for a terminal."""
    shown = fit.tidy().to_string(index=False, float_format=lambda v: f"{v:.4f}")
    return "\n".join(
        [find_design(fit.design).title, shown, *(f"{sentence}." for sentence in _described(fit))]
    )


def _could_have_found(fit: Estimate) -> str:
    """Say the minimum detectable effect of an estimate's only term, or of its headline."""
    average = fit if len(fit.terms) == 1 else fit.headline
    question, power = fit.sample.question, smallest_effect(average)
    return (
        f"Minimum detectable effect of {average.terms[0]} at 80% power and 5% size: {power} in units of "
        f"{question.outcome} and in percent of {POWER_OF[question.scale]}"
    )


def _described(fit: Estimate) -> list[str]:
    """Say what an estimate is, on whom, with what uncertainty, and what it could have found."""
    sample = fit.sample
    treated = int((sample.treatment == 1).any(axis=1).sum())
    sentences = [
        f"Estimand: {fit.estimand}, scale {sample.question.scale}",
        f"{sample.n_units} units, {treated} of them treated in {len(sample.cohorts)} cohorts; "
        f"{fit.n_obs} observations; {fit.n_clusters} clusters; {CONVENTIONS[fit.convention]}",
    ]
    sentences.append(_could_have_found(fit))
    warning = few_clusters_warning(fit)
    if warning is not None:
        sentences.append(warning.rstrip("."))
    dropped = [f"{step.units} {step.reason}" for step in sample.flow if not step.kept]
    if dropped:
        sentences.append(f"Left out: {'; '.join(dropped)}")
    return sentences + [note.rstrip(".") for note in fit.notes]
