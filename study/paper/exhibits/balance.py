"""Whether treated and comparison units were alike before treatment, without and with the headline's adjustment."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pandas as pd

from study.core import FloatArray, QuestionError, capital, counted, decimals
from study.diagnostics import Finding
from study.diagnostics.balance import LARGE, MOST_LABELS, POOLED, cohort_groups, compared_variables, estimated
from study.diagnostics.balance import balance as balance_of
from study.panel import Sample
from study.paper import Part, Piece, Setting, exhibit
from study.report import Block, Cell, Column, Line, Number, Table

# Beside the question's own covariates: what is known of a unit before treatment, where the panel has it.
FIXED = ("baseline_venue_papers", "first_paper_year")
OF_BALANCE = {
    "mean_treated": Column("mean of the treated", digits=2),
    "mean_comparison": Column("mean of the comparison units", digits=2),
    "difference": Column("standardised difference before adjustment", digits=2),
    "variance_ratio": Column("variance of the treated over that of the comparison units", digits=2),
    "adjusted_difference": Column("standardised difference after regression", digits=2),
    "weighted_difference": Column("standardised difference under odds weights", digits=2),
}
# Columns of the panels that ship, in words; others are read as they are named.
WORDS = {
    "log_baseline_papers": "log of baseline papers, all venues",
    "baseline_papers": "baseline papers, all venues",
    "baseline_venue_papers": "baseline papers, this venue",
    "first_paper_year": "year of the first paper",
    "tier": "baseline papers, all venues",
}
HEADINGS = ("Treated", "Comparison", "Difference", "Variance ratio", "Regression", "Odds weights")
OF_SUMMARY = {
    "differences": Column("standardised differences that are compared", "count"),
    "large": Column(f"of them, those above {LARGE} before adjustment", "count"),
    "largest": Column("largest standardised difference before adjustment", digits=2),
    "large_adjusted": Column(f"those above {LARGE} after regression", "count"),
    "largest_adjusted": Column("largest standardised difference after regression", digits=2),
}


@exhibit("Treated and comparison units before treatment", Part.QUESTION)
def balance(setting: Setting) -> Iterator[Piece]:
    """Yield the table of covariates and earlier outcomes of treated and comparison units."""
    task = setting.task()
    sample = task.question.sample(setting.panel)
    names = compared(setting, sample)
    try:
        finding = balance_of(sample, covariates=names)
    except QuestionError as refusal:
        yield str(refusal)
        return
    pooled = finding.frame[finding.frame["cohort"] == POOLED]
    adjusted = pd.Series(adjusted_differences(sample, finding, names), dtype=float)
    pooled = pooled.assign(adjusted_difference=pooled["covariate"].map(adjusted))
    yield table(setting, sample, finding, pooled)
    for row in pooled.to_dict("records"):
        values, at = {column: row[column] for column in OF_BALANCE}, row["covariate"]
        name = capital(in_a_sentence(setting, at))
        yield from setting.numbers(at, values, _columns(row), task, quantity=name, seed="")
    yield from setting.numbers("summary", summary(pooled), OF_SUMMARY, task, seed="")
    both = pooled.dropna(subset=["difference", "adjusted_difference"])
    if len(both):
        values = summary(both)
        worst = both.loc[both["adjusted_difference"].abs().idxmax()]
        yield (
            f"Of {len(both)} standardised differences {values['large']} are large, above {LARGE}, before adjustment. "
            f"After regression on the question's covariates {values['large_adjusted']} are; the largest is "
            f"{worst['adjusted_difference']:.2f}, in {in_a_sentence(setting, worst['covariate'])}."
        )
    yield from finding.sentences


def compared(setting: Setting, sample: Sample) -> tuple[str, ...]:
    """Return what is compared: the question's covariates, and what the panel has that does not change over time."""
    panel = setting.panel
    names = [*sample.question.covariates, *(name for name in FIXED if name in panel.covariates)]
    for name in (setting.plan.strata, "region"):
        if name in sample.attributes and len(np.unique(sample.attributes[name].astype(str))) <= MOST_LABELS:
            names.append(name)
    return tuple(dict.fromkeys(names))


def adjusted_differences(sample: Sample, finding: Finding, names: Sequence[str]) -> dict[str, float]:
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
    x = np.column_stack([np.ones(sample.n_units), sample.x_baseline])
    sums: dict[str, FloatArray] = defaultdict(lambda: np.zeros(2))
    for group, name, values in compared_variables(sample, cohort_groups(sample)[0], names):
        known = ~np.isnan(values) & ~np.isnan(x).any(axis=1)
        ours, theirs = (rows[known[rows]] for rows in (group.treated, group.compared))
        if len(ours) and len(theirs):
            root, weights = np.sqrt(sample.weights[theirs]), sample.weights[ours]
            slopes = np.linalg.lstsq(x[theirs] * root[:, None], values[theirs] * root, rcond=None)[0]
            sums[name] += weights @ (values[ours] - x[ours] @ slopes), weights.sum()
    pooled = finding.frame[finding.frame["cohort"] == POOLED].set_index("covariate")
    known = pooled["std_deviation"][lambda spread: spread > 0].items()
    return {name: float(sums[name][0] / sums[name][1] / spread) for name, spread in known if name in sums}


def table(setting: Setting, sample: Sample, finding: Finding, pooled: pd.DataFrame) -> Table:
    """Return the table of all cohorts pooled: means, standardised differences, variance ratios."""
    plan, sizes, of = setting.plan, finding["sizes"], summary(pooled)
    headings = dict(zip(OF_BALANCE, HEADINGS, strict=True))
    shown = [name for name in headings if pooled[name].notna().any()]
    notes = [
        f"{sum(n for n, _ in sizes.values())} {plan.text.units} treated in {counted(len(sizes), 'cohort')}, each "
        f"beside the {plan.text.units} {finding['comparison']} when it is first treated, with the cohort's weight. "
        "Difference: in standard deviations. Variance ratio: of treated to comparison.",
        f"Above {LARGE}: {of['large']} of {of['differences']} differences.",
    ]
    if "adjusted_difference" in shown:
        notes.append(
            "Regression: difference left after regression on "
            f"{' and '.join(in_a_sentence(setting, name) for name in sample.question.covariates)}, zero for these by "
            f"construction; above {LARGE}: {of['large_adjusted']}."
        )
    if "weighted_difference" in shown:
        cohorts = estimated(finding["overlaps"])
        notes.append(
            f"Odds weights: by the odds of the propensity score, {counted(len(cohorts), 'cohort')} "
            f"({sum(sizes[cohort][0] for cohort in cohorts)} treated)."
        )
    lines: dict[str, list[Line]] = {}
    for row in pooled.to_dict("records"):
        name, cells = row["covariate"], [_cell(row, column) for column in shown]
        attribute = next((each for each in sample.attributes if name.startswith(f"{each} ")), "")
        label = name.removeprefix(f"{attribute} ") if attribute else capital(in_a_sentence(setting, name))
        lines.setdefault(capital(in_a_sentence(setting, attribute)), []).append(Line(label, cells))
    return Table(
        name="balance",
        caption=f"Treated and comparison {plan.text.units} before treatment",
        headings=[headings[name] for name in shown],
        blocks=[Block(title, sorted(own, key=_size) if title else own) for title, own in lines.items()],
        notes=notes,
    )


def _columns(row: dict[str, Any]) -> dict[str, Column]:
    """Return how a covariate's values are written: means of a thousand and more, such as years, without decimals."""
    means = ("mean_treated", "mean_comparison")
    digits = 0 if abs(row["mean_treated"]) >= 1000 else decimals(2, *(row[name] for name in means))
    return OF_BALANCE | {name: OF_BALANCE[name]._replace(digits=digits) for name in means}


def _cell(row: dict[str, Any], column: str) -> Cell:
    """Return a value of a covariate; a year stands apart from the decimals of others."""
    cell = _columns(row)[column].cell(row[column])
    return cell.text if isinstance(cell, Number) and not cell.digits else cell


def _size(line: Line) -> int:
    """Return the number that a label begins with, such as the smallest of a band, by which labels are in order."""
    first = re.match(r"\d+", line.label)
    return int(first[0]) if first else 0


def in_a_sentence(setting: Setting, name: str) -> str:
    """Return a covariate's name as words of a sentence; names and labels of one's own keep their capitals."""
    return WORDS[name] if setting.ships and name in WORDS else name.replace("_", " ")


def summary(pooled: pd.DataFrame) -> dict[str, float]:
    """Return how many standardised differences are compared and large, and the largest, with its sign."""
    values: dict[str, float] = {"differences": int(pooled["difference"].notna().sum())}
    for name, ending in (("difference", ""), ("adjusted_difference", "_adjusted")):
        known = pooled[name].dropna()
        if len(known):
            values[f"large{ending}"] = int((known.abs() > LARGE).sum())
            values[f"largest{ending}"] = float(known[known.abs().idxmax()])
    return values
