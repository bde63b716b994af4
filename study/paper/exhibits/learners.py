"""Double machine learning by learner."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

import pandas as pd

from study.core import QuestionError, one_thread
from study.diagnostics import Finding
from study.diagnostics.nuisances import learned_once, nuisances
from study.paper import RUN, Findings, Part, Piece, Setting, exhibit
from study.report import COLUMNS, REFUSED, Column, Line, Table, cells, lettered

COMPARED = ("linear", "lasso", "lightgbm", "forest")
# Draws of the folds, fewer than the plan's tables average, so that four learners take a minute or two.
REPETITIONS = 2
WORDS = {"linear": "Linear", "lasso": "Lasso", "forest": "Random forest", "lightgbm": "Boosting"}
CELLS = ("estimate", "std_error", "noise", "r2_outcome", "r2_adoption", "log_loss", "log_loss_of_share")
OF_LEARNERS = {
    "noise": Column("standard deviation over draws in standard errors", digits=2),
    "r2_outcome": Column("out-of-fold R2 of the outcome's change"),
    "r2_adoption": Column("out-of-fold R2 of adoption"),
    "log_loss": Column("log loss of the propensity", digits=4),
    "log_loss_of_share": Column("log loss of the share of adopters", digits=4),
    "estimate_range": Column("largest less smallest estimate over learners, in standard errors", digits=2),
}


@exhibit("Double machine learning, by learner", Part.EFFECTS)
def learners(setting: Setting) -> Iterator[Piece]:
    """Yield the table of learners for each design of the plan that says what it learns."""
    labels = shown_labels(setting)
    with one_thread(), learned_once():  # what is learned of adoption serves all scales
        every = [learned(setting, scale, label) for scale in setting.plan.scales for label in labels]
    if not any(findings.by_name for findings in every):
        return
    yield _table(every)
    folds = f"{REPETITIONS} draws of the folds"
    how: dict[str, Any] = {"columns": OF_LEARNERS, "command": RUN}
    for findings in every:
        label, design = findings.label, findings.task.row.design
        yield from (findings.says(f"not made, {design.name}: {refusal}") for refusal in findings.refused)
        for finding in findings.by_name.values():
            for name, row in by_learner(finding).iterrows():
                quantity = f"with {words_of(str(name))} in place of the plan's learner, {folds}"
                values, parts = row.dropna().to_dict(), (label, str(name))
                yield from findings.numbers(values, *parts, quantity=quantity, **how)
            values = {"estimate_range": finding["estimate_range"]}
            yield from findings.numbers(values, label, quantity=folds, **how)
            sentences = [f"{design.title}: {sentence}" for sentence in _range(findings, finding)]
            sentences += (f"not made, {words_of(name)}: {why}" for name, why in finding["refused"])
            # How well each learner predicts stands in the table.
            sentences.append(f"{finding.verdict.split(':')[0].rstrip('.')}.")
            yield from map(findings.says, sentences)


def shown_labels(setting: Setting) -> list[str]:
    """Return the plan's rows that differ in more than their learners, of designs that say what they learn."""
    labels: dict[tuple[str, ...], str] = {}
    for row in setting.plan.rows:
        design = row.design
        if design.nuisances is not None:
            options = {name: value for name, value in row.options.items() if name not in design.learners}
            labels.setdefault((row.name, repr(row.question), repr(options)), row.label)
    return list(labels.values())


def learned(setting: Setting, scale: str, label: str) -> Findings:
    """Return what learners make of a row's question, its own first, or why there is nothing."""
    task = setting.task_of(scale, label)
    design = task.row.design
    options: Any = {name: design.options[name] for name in design.learners} | task.options
    options |= {"repetitions": REPETITIONS, "learners": COMPARED, "level": task.level}
    try:
        finding = nuisances(task.question.sample(setting.panel), design.name, **options)
    except QuestionError as refusal:
        return Findings(setting, scale, label, {}, (str(refusal),))
    return Findings(setting, scale, label, {"learners": finding}, ())


def by_learner(finding: Finding) -> pd.DataFrame:
    """Return a row a learner: its estimate, the noise in it, and how well it predicts adoption and the outcome."""
    frame = finding.frame.set_index("learner")
    adoption, *others = frame["nuisance"].unique()
    table = frame[frame["nuisance"] == adoption].rename(columns={"r2": "r2_adoption"})
    if others:
        table["r2_outcome"] = frame["r2"][frame["nuisance"] == others[0]]
    table["noise"] = table.index.map(finding["draw_errors"]) / table["std_error"]
    return table.reindex(columns=list(CELLS))


def _table(every: Sequence[Findings]) -> Table:
    plan, first = every[0].setting.plan, every[0].task
    panels: list[tuple[str, list[Line]]] = []
    for row in every:
        lines = [Line("", [REFUSED, *[""] * 6])] if row.refused else []
        for finding in row.by_name.values():
            for name, values in by_learner(finding).iterrows():
                own = cells(COLUMNS | OF_LEARNERS, values.to_dict(), row.task.question.effect_scale)
                refused = math.isnan(values["estimate"])
                lines.append(Line(words_of(str(name)), [REFUSED, "", "", *own[3:]] if refused else own))
        panels.append((f"{plan.scales[row.scale]}: {row.task.row.design.title}", lines))
    return Table(
        name="learners",
        caption=f"{first.event.short}: double machine learning, by learner",
        headings=["Estimate", "(SE)", "Noise", "Outcome", "Adoption", "Propensity", "Share"],
        spans=[("", 3), ("Out-of-fold R2", 2), ("Log loss", 2)],
        blocks=lettered(panels),
        notes=[
            f"{REPETITIONS} draws of the folds here, by {first.question.cluster or plan.text.unit}, so that the row of "
            "the plan's learner, named first, differs from other tables. Standard errors in parentheses. Noise: the "
            "standard deviation over draws of folds and seeds, in standard errors, which do not count it. Out-of-fold "
            "R2 is against what is known without covariates. Log loss is that of the propensity, beside that of the "
            "share of adopters; designs that learn adoption as a mean have none.",
        ],
    )


def words_of(name: str) -> str:
    """Return what a learner, or one of the outcome and one of the propensity, is called in a table."""
    outcome, *propensity = (WORDS.get(learner, learner) for learner in name.split(" and "))
    return f"{outcome}; propensity {propensity[0].lower()}" if propensity else outcome


def _range(findings: Findings, finding: Finding) -> Iterator[str]:
    """Say how far the estimate moves between learners, and how many intervals exclude zero."""
    units, rows = findings.task.question.effect_scale, finding["rows"]
    low, high = (units.number(pick(row.estimate for row in rows)) for pick in (min, max))
    yield (
        f"the estimate runs from {low} to {high} ({units.printed}) by learner, {finding['estimate_range']:.2f} "
        "standard errors apart."
    )
    excluding = sum(row.excludes_zero for row in rows)
    s = "s" * (excluding == 1)
    yield f"{excluding} of {len(rows)} intervals by learner exclude{s} zero."
