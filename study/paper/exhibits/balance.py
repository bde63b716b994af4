"""Whether treated and comparison units were alike before treatment, without and with the headline's adjustment."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np

from study import diagnostics
from study.core import FloatArray, QuestionError
from study.diagnostics.balance import (
    LARGE,
    MOST_LABELS,
    Balance,
    Row,
    cohort_groups,
    fixed_variables,
    outcome_variables,
)
from study.panel import Sample
from study.paper.exhibits.exhibit import RUN, Exhibited, Setting, Traced, draw, source_of
from study.paper.plan import Task
from study.report import MINUS, Block, Line, Number, Table, macro_name

EXHIBIT = "balance"
# Beside the question's own covariates: what is known of a unit before treatment, where the panel has it.
FIXED = ("baseline_venue_papers", "first_paper_year")
ATTRIBUTES = ("region",)


def balance(setting: Setting) -> Exhibited:
    """Return the table of covariates and earlier outcomes of treated and comparison units, and its figure."""
    task = _task(setting)
    sample = task.question.sample(setting.panel)
    names = compared(setting, sample)
    try:
        found = diagnostics.balance(sample, covariates=names)
    except QuestionError as refusal:
        return Exhibited(sentences=(str(refusal),))
    adjusted = adjusted_differences(sample, found, names)
    plan = setting.plan
    drawing = draw(
        EXHIBIT,
        f"Treated and comparison {plan.text.units} before treatment, headline question: absolute standardised "
        "differences by cohort and over all cohorts"
        + (
            "; below, the propensity scores of the cohorts for which they can be estimated."
            if found.estimated
            else "."
        ),
        found.plot(),
        "Absolute standardised differences by covariate as dots on lines, with limits at 0.1 and 0.25.",
    )
    return Exhibited(
        tables=(table(setting, task, found, adjusted),),
        figures=(drawing,),
        numbers=tuple(_numbers(setting, task, found, adjusted)),
        sentences=(*_adjusted_sentence(found, adjusted), *found.sentences),
    )


def _task(setting: Setting) -> Task:
    plan = setting.plan
    return plan.task(plan.events[0], next(iter(plan.outcomes)), next(iter(plan.scales)), plan.headline)


def compared(setting: Setting, sample: Sample) -> tuple[str, ...]:
    """Return what is compared: the question's covariates, and what the panel has that does not change over time."""
    panel = setting.panel
    names = [*sample.question.covariates, *(name for name in FIXED if name in panel.covariates)]
    for name in (setting.plan.strata, *ATTRIBUTES):
        if name in sample.attributes and len(np.unique(sample.attributes[name].astype(str))) <= MOST_LABELS:
            names.append(name)
    return tuple(dict.fromkeys(names))


def adjusted_differences(sample: Sample, found: Balance, names: Sequence[str]) -> dict[str, float]:
    """Return the standardised differences that are left after regression on the question's covariates.

    In each cohort a covariate is regressed on the question's among the comparison units, and the treated units' mean is
    set against what that predicts for them: what outcome regression does with changes of the outcome (Callaway and
    Sant'Anna 2021, equation 2.3). The question's own covariates are balanced by it exactly. Differences are pooled over
    cohorts with the treated units' weights, and divided by the same standard deviation as those before adjustment.

    Returns
    -------
    dict of str to float
        By covariate, in standard deviations; empty if the question has no covariates.
    """
    if not sample.question.covariates:
        return {}
    labels, fixed = fixed_variables(sample, names)
    x = np.column_stack([np.ones(sample.n_units), sample.x_baseline])
    gaps: dict[str, list[tuple[float, float]]] = {}
    for group in cohort_groups(sample)[0]:
        named, before = outcome_variables(sample, group.base)
        for name, values in zip((*labels, *named), (*fixed, *before), strict=True):
            ours, theirs = (
                rows[~np.isnan(values[rows]) & ~np.isnan(x[rows]).any(axis=1)]
                for rows in (group.treated, group.compared)
            )
            if len(ours) and len(theirs):
                residual = values[ours] - x[ours] @ _slopes(x[theirs], values[theirs], sample.weights[theirs])
                weight = sample.weights[ours]
                gaps.setdefault(name, []).append((float(weight @ residual), float(weight.sum())))
    spread = {row.covariate: row.found.spread for row in found.pooled}
    return {
        name: sum(gap for gap, _ in of) / sum(weight for _, weight in of) / spread[name]
        for name, of in gaps.items()
        if spread.get(name, 0.0) > 0
    }


def _slopes(x: FloatArray, y: FloatArray, weight: FloatArray) -> FloatArray:
    root = np.sqrt(weight)
    return np.asarray(np.linalg.lstsq(x * root[:, None], y * root, rcond=None)[0], dtype=np.float64)


def table(setting: Setting, task: Task, found: Balance, adjusted: dict[str, float]) -> Table:
    """Return the table of all cohorts pooled: means, standardised differences, variance ratios."""
    plan, sample = setting.plan, task.question.sample(setting.panel)
    weighted = any(row.weighted is not None for row in found.pooled)
    headings = ["Treated", "Comparison", "Difference", "Variance ratio"]
    headings += ["Regression"] * bool(adjusted) + ["Odds weights"] * weighted
    lines = [Line(_in_words(row.covariate), _cells(row, adjusted, weighted)) for row in found.pooled]
    treated = sum(n for n, _ in found.sizes.values())
    notes = [
        f"{treated} {plan.text.units} treated in {len(found.sizes)} cohorts, each beside the {plan.text.units} that "
        f"are {found.comparison} when it is first treated, which have together the cohort's weight. Question: "
        f"{plan.events[0].title}; outcome: {plan.text.outcome}.",
        "Difference: of the means, in standard deviations (the root of the mean variance of both groups). Variance "
        f"ratio: of treated to comparison. Beyond {LARGE} a regression's adjustment depends on its functional form "
        "(Imbens and Rubin 2015).",
        "Outcomes before: up to the cohort's base period; growth is a period's, from the first to the base period.",
    ]
    if adjusted:
        notes.append(
            f"Regression: the difference that is left when comparison {plan.text.units} predict the treated by "
            f"regression on {' and '.join(map(_in_words, sample.question.covariates))} in each cohort, as the "
            "headline does with changes of the outcome; it is zero for these covariates by construction."
        )
    if weighted:
        estimated = sum(found.sizes[cohort][0] for cohort in found.estimated)
        notes.append(
            "Odds weights: the difference with comparison units weighted by the odds of the propensity score of these "
            f"covariates, for the {len(found.estimated)} cohorts ({estimated} treated) for which it can be estimated."
        )
    return Table(
        name=EXHIBIT,
        caption=f"Treated and comparison {plan.text.units} before treatment",
        headings=headings,
        blocks=[Block("", lines)],
        notes=notes,
    )


def _cells(row: Row, adjusted: dict[str, float], weighted: bool) -> list[Number]:
    made = row.found
    digits = 0 if abs(made.mean_treated) >= 1000 else 2
    cells = [
        Number(made.mean_treated, digits),
        Number(made.mean_compared, digits),
        Number(made.difference, 2),
        Number(made.variance_ratio, 2),
    ]
    if adjusted:
        cells.append(Number(adjusted.get(row.covariate, math.nan), 2))
    if weighted:
        cells.append(Number(math.nan if row.weighted is None else row.weighted, 2))
    return cells


def _in_words(name: str) -> str:
    """Return a covariate's name as words."""
    words = name.replace("_", " ")
    return words[:1].upper() + words[1:]


def _adjusted_sentence(found: Balance, adjusted: dict[str, float]) -> list[str]:
    before = {row.covariate: row.found.difference for row in found.pooled if row.covariate in adjusted}
    before = {name: value for name, value in before.items() if not math.isnan(value)}
    if not before:
        return []
    worst = max(before, key=lambda name: abs(adjusted[name]))
    large = sum(abs(value) > LARGE for value in before.values())
    left = sum(abs(adjusted[name]) > LARGE for name in before)
    return [
        f"Before adjustment {large} of {len(before)} standardised differences are above {LARGE}, and after "
        f"regression on the question's covariates {left}; the largest that is left is {adjusted[worst]:.2f}, in "
        f"{_in_words(worst).lower()}."
    ]


def _numbers(setting: Setting, task: Task, found: Balance, adjusted: dict[str, float]) -> Iterator[Traced]:
    known = {
        row.covariate: row.found.difference for row in found.pooled if not math.isnan(row.found.difference)
    }
    growth = [row for row in found.pooled if row.covariate.startswith("growth of")]
    told: list[tuple[str, str, str]] = [
        ("Differences", str(len(known)), "standardised differences that are compared"),
        (
            "Large",
            str(sum(abs(v) > LARGE for v in known.values())),
            f"of them, those above {LARGE} before adjustment",
        ),
    ]
    if known:
        most = max(known, key=lambda name: abs(known[name]))
        told.append(
            ("Most", _two(known[most]), f"largest standardised difference before adjustment, in {most}")
        )
    if adjusted:
        left = max(adjusted, key=lambda name: abs(adjusted[name]))
        told += [
            (
                "LargeLeft",
                str(sum(abs(v) > LARGE for v in adjusted.values())),
                f"those above {LARGE} after regression",
            ),
            (
                "MostLeft",
                _two(adjusted[left]),
                f"largest standardised difference after regression, in {left}",
            ),
        ]
    for row in growth[:1]:
        told += [
            (
                "GrowthTreated",
                _two(row.found.mean_treated),
                "growth of the treated units' outcome a period before treatment",
            ),
            (
                "GrowthComparison",
                _two(row.found.mean_compared),
                "growth of the comparison units' outcome a period",
            ),
            (
                "Growth",
                _two(row.found.difference),
                "standardised difference in that growth before adjustment",
            ),
        ]
        if row.covariate in adjusted:
            told.append(
                (
                    "GrowthLeft",
                    _two(adjusted[row.covariate]),
                    "standardised difference in that growth after regression",
                )
            )
    for part, value, quantity in told:
        source = replace(source_of(EXHIBIT, quantity, task, setting.panel, RUN), seed="")
        yield Traced(macro_name(EXHIBIT, part), value, source)


def _two(value: float) -> str:
    return "(none)" if math.isnan(value) else f"{round(value, 2) + 0.0:.2f}".replace("-", MINUS)
