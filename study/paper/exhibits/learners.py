"""Double machine learning by learner."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from study.core import QuestionError, one_thread
from study.designs import find_design
from study.diagnostics import Finding
from study.diagnostics.nuisances import learned_once, nuisances
from study.learners import Learner
from study.paper.exhibits.exhibit import (
    RUN,
    Exhibited,
    Part,
    Setting,
    Traced,
    address,
    addressed,
    exhibit,
    source_of,
)
from study.paper.exhibits.verdicts import on_scale, row_of, task_of
from study.paper.plan import Row
from study.report import COLUMNS, LETTERS, REFUSED, Block, Cell, Column, Line, Span, Table

if TYPE_CHECKING:
    import pandas as pd

EXHIBIT = "learners"
COMPARED: tuple[Learner, ...] = ("linear", "lasso", "lightgbm", "forest")
# Draws of the folds, fewer than the plan's tables average, so that four learners take a minute or two.
REPETITIONS = 2
WORDS = {"linear": "Linear", "lasso": "Lasso", "forest": "Random forest", "lightgbm": "Boosting"}
HEADINGS = {
    "estimate": "Estimate",
    "std_error": "(SE)",
    "noise": "Noise",
    "r2_outcome": "Outcome",
    "r2_adoption": "Adoption",
    "log_loss": "Log loss",
    "log_loss_of_share": "Of share",
}
OF_LEARNERS = {
    "noise": Column("standard deviation over draws in standard errors", digits=2),
    "r2_outcome": Column("out-of-fold R2 of the outcome's change"),
    "r2_adoption": Column("out-of-fold R2 of adoption"),
    "log_loss": Column("log loss of the propensity", digits=4),
    "log_loss_of_share": Column("log loss of the share of adopters", digits=4),
    "estimate_range": Column("largest less smallest estimate over learners, in standard errors", digits=2),
}
# Findings, or the reasons why there are none, by scale and label of a row.
Findings = Mapping[tuple[str, str], Finding | str]


@exhibit("Double machine learning, by learner", Part.EFFECTS)
def learners(setting: Setting) -> Exhibited:
    """Return the table of learners for each design of the plan that says what it learns."""
    rows = shown_rows(setting)
    with one_thread(), learned_once():  # what is learned of adoption serves all scales
        every = {
            (scale, row.label): learned(setting, scale, row) for scale in setting.plan.scales for row in rows
        }
    if all(isinstance(finding, str) for finding in every.values()):
        return Exhibited()
    return Exhibited(
        tables=(_table(setting, every),),
        numbers=tuple(_numbers(setting, every)),
        sentences=tuple(_sentences(setting, every)),
    )


def shown_rows(setting: Setting) -> list[Row]:
    """Return the plan's rows that differ in more than their learners, of designs that say what they learn."""
    rows: dict[tuple[str, ...], Row] = {}
    for row in setting.plan.rows:
        design = find_design(row.name)
        if design.nuisances is not None:
            options = {name: value for name, value in row.options.items() if name not in design.learners}
            rows.setdefault((row.name, repr(row.question), repr(options)), row)
    return list(rows.values())


def learned(setting: Setting, scale: str, row: Row) -> Finding | str:
    """Return what learners make of a row's question, its own first, or why there is nothing."""
    task, design = task_of(setting, scale, row.label), find_design(row.name)
    own = {name: design.options[name] for name in design.learners} | task.options
    options: dict[str, Any] = own | {"repetitions": REPETITIONS}
    try:
        sample = task.question.sample(setting.panel)
        return nuisances(sample, row.name, learners=COMPARED, level=task.level, **options)
    except QuestionError as refusal:
        return str(refusal)


def by_learner(finding: Finding) -> pd.DataFrame:
    """Return a row a learner: its estimate, the noise in it, and how well it predicts adoption and the outcome."""
    frame = finding.frame.set_index("learner")
    adoption, *others = frame["nuisance"].unique()
    table = frame[frame["nuisance"] == adoption].rename(columns={"r2": "r2_adoption"})
    if others:
        table["r2_outcome"] = frame["r2"][frame["nuisance"] == others[0]]
    table["noise"] = table.index.map(finding["draw_errors"]) / table["std_error"]
    return table.reindex(columns=list(HEADINGS))


def _table(setting: Setting, every: Findings) -> Table:
    plan = setting.plan
    blocks = []
    for letter, ((scale, label), finding) in zip(LETTERS, every.items(), strict=False):
        title = f"Panel {letter}. {plan.scales[scale]}: {find_design(row_of(setting, label).name).title}"
        if isinstance(finding, str):
            blocks.append(Block(title, [Line("", [REFUSED, *[""] * 6])]))
        else:
            table = by_learner(finding).iterrows()
            blocks.append(Block(title, [Line(words_of(str(name)), _cells(row)) for name, row in table]))
    first = task_of(setting, *next(iter(every)))
    refused = dict.fromkeys(
        why
        for finding in every.values()
        for why in ([finding] if isinstance(finding, str) else [reason for _, reason in finding["refused"]])
    )
    return Table(
        name=EXHIBIT,
        caption=f"Double machine learning of the effect of the {plan.events[0].title}, by learner",
        headings=list(HEADINGS.values()),
        spans=[Span("", 3), Span("Out-of-fold R2", 2), Span("Adoption", 2)],
        blocks=blocks,
        notes=[
            f"Outcome: {plan.text.outcome}, {next(iter(plan.outcomes.values())).lower()}, given "
            f"{', '.join(first.question.covariates) or 'nothing'}. Each design learns with {REPETITIONS} draws of the "
            f"folds, by {first.question.cluster or plan.text.unit}; standard errors in parentheses. Noise: the "
            "standard deviation that other draws of the folds and other seeds of the learners would give the "
            "estimate, in its standard errors, which do not count it.",
            "Out-of-fold R2 is against what is known without covariates, and negative where a learner does worse than "
            "that. The propensity is judged by its log loss, beside that of the share of adopters; designs that learn "
            "adoption as a mean have none. The learner named first is the plan's first.",
            *([f"{REFUSED} : refused. {' '.join(refused)}"] if refused else []),
        ],
    )


def _cells(row: pd.Series) -> list[Cell]:
    columns = COLUMNS | OF_LEARNERS
    cells = [columns[name].cell(row[name]) for name in HEADINGS]
    return [REFUSED, "", "", *cells[3:]] if row.isna()["estimate"] else cells


def words_of(name: str) -> str:
    """Return what a learner is called in a table."""
    outcome, both, propensity = name.partition(" and ")
    if both:
        return f"{WORDS.get(outcome, outcome)}; propensity {WORDS.get(propensity, propensity).lower()}"
    return WORDS.get(name, name)


def _numbers(setting: Setting, every: Findings) -> Iterator[Traced]:
    for (scale, label), finding in every.items():
        if isinstance(finding, str):
            continue
        task = task_of(setting, scale, label)
        for name, row in by_learner(finding).iterrows():
            quantity = (
                f"with {words_of(str(name))} in place of the plan's learner, {REPETITIONS} draws of the folds"
            )
            source = source_of(EXHIBIT, quantity, task, setting.panel, RUN)
            at = address(EXHIBIT, scale, label, str(name))
            yield from addressed(at, row.dropna().to_dict(), source, scale, OF_LEARNERS)
        source = source_of(EXHIBIT, f"{REPETITIONS} draws of the folds", task, setting.panel, RUN)
        values = {"estimate_range": finding["estimate_range"]}
        yield from addressed(address(EXHIBIT, scale, label), values, source, scale, OF_LEARNERS)


def _sentences(setting: Setting, every: Findings) -> Iterator[str]:
    for (scale, label), finding in every.items():
        design = find_design(row_of(setting, label).name)
        if isinstance(finding, str):
            yield on_scale(scale, f"not made, {design.name}: {finding}")
            continue
        units, rows = task_of(setting, scale, label).question.effect_scale, finding["rows"]
        low, high = (units.number(pick(row.estimate for row in rows)) for pick in (min, max))
        yield on_scale(
            scale,
            f"{design.title}: over {len(rows)} learners the estimate runs from {low} to {high} ({units.printed}), "
            f"{finding['estimate_range']:.2f} standard errors apart; {sum(row.excludes_zero for row in rows)} of the "
            "intervals exclude zero.",
        )
        yield on_scale(scale, finding.verdict)
