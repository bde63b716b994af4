"""Double machine learning by learner."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from study.core import QuestionError, one_thread
from study.designs import find_design
from study.diagnostics.losses import Score
from study.diagnostics.nuisances import NuisanceQuality, learned_once, nuisances
from study.learners import Learner
from study.panel import Scale
from study.paper.exhibits.exhibit import RUN, Exhibited, Setting, Traced
from study.paper.exhibits.verdicts import on_scale, task_of, traced
from study.paper.plan import Row
from study.report import LETTERS, REFUSED, Block, Cell, Line, Number, Span, Table, error

EXHIBIT = "learners"
COMPARED: tuple[Learner, ...] = ("linear", "lasso", "lightgbm", "forest")
# Draws of the folds, fewer than the plan's tables average, so that four learners take a minute or two.
REPETITIONS = 2
WORDS = {"linear": "Linear", "lasso": "Lasso", "forest": "Random forest", "lightgbm": "Boosting"}


@dataclass(frozen=True, eq=False)
class Learned:
    """What learners make of one row's question on one scale, or why there is nothing."""

    scale: str
    row: Row
    quality: NuisanceQuality | None
    refusal: str = ""


def learners(setting: Setting) -> Exhibited:
    """Return the table of learners for each design of the plan that says what it learns."""
    rows = shown_rows(setting)
    with one_thread(), learned_once():  # what is learned of adoption serves all scales
        every = [learned(setting, scale, row) for scale in setting.plan.scales for row in rows]
    made = [one for one in every if one.quality is not None]
    if not made:
        return Exhibited()
    return Exhibited(
        tables=(_table(setting, every),),
        numbers=tuple(traced_ for one in made for traced_ in _numbers(setting, one)),
        sentences=tuple(_sentences(every)),
    )


def shown_rows(setting: Setting) -> list[Row]:
    """Return the plan's rows that differ in more than their learners, of designs that say what they learn."""
    found: dict[tuple[str, ...], Row] = {}
    for row in setting.plan.rows:
        design = find_design(row.name)
        if design.nuisances is not None:
            options = {name: value for name, value in row.options.items() if name not in design.learners}
            found.setdefault((row.name, repr(row.question), repr(options)), row)
    return list(found.values())


def learned(setting: Setting, scale: str, row: Row) -> Learned:
    """Return what learners make of a row's question: its own first, then those that are compared."""
    task, design = task_of(setting, scale, row.label), find_design(row.name)
    own = {name: design.options[name] for name in design.learners} | task.options
    options: dict[str, Any] = own | {"repetitions": REPETITIONS}
    try:
        sample = task.question.sample(setting.panel)
        made = nuisances(sample, row.name, learners=COMPARED, level=task.level, **options)
    except QuestionError as refusal:
        return Learned(scale, row, None, str(refusal))
    return Learned(scale, row, made)


def _table(setting: Setting, every: list[Learned]) -> Table:
    plan = setting.plan
    blocks = []
    for letter, one in zip(LETTERS, every, strict=False):
        title = f"Panel {letter}. {plan.scales[one.scale]}: {find_design(one.row.name).title}"
        if one.quality is None:
            blocks.append(Block(title, [Line("", [REFUSED, *[""] * 6])]))
        else:
            blocks.append(Block(title, [_line(one.quality, name) for name in one.quality.learners]))
    first = task_of(setting, every[0].scale, every[0].row.label)
    refused = dict.fromkeys(
        why
        for one in every
        for why in ([one.refusal] if one.quality is None else [reason for _, reason in one.quality.refused])
    )
    return Table(
        name=EXHIBIT,
        caption=f"Double machine learning of the effect of the {plan.events[0].title}, by learner",
        headings=["Estimate", "(SE)", "Noise", "Outcome", "Adoption", "Log loss", "Of share"],
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
        widths=[4.6],
    )


def _line(quality: NuisanceQuality, name: str) -> Line:
    fit = next((row for row in quality.fits if row.label == name), None)
    effect: list[Cell] = [REFUSED, "", ""]
    if fit is not None:
        noise = quality.draw_errors[name] / fit.std_error
        effect = [Number(fit.estimate), error(fit.std_error), Number(noise, 2)]
    adoption, outcome = of_learner(quality, name)
    log = adoption.log
    losses: list[Cell] = ["", ""] if log is None else [Number(log.value, 4), Number(log.without, 4)]
    shown = [Number(score.squared.saved) if score else Number(math.nan) for score in (outcome, adoption)]
    return Line(words_of(name), [*effect, *shown, *losses])


def of_learner(quality: NuisanceQuality, name: str) -> tuple[Score, Score | None]:
    """Return how well a learner predicts adoption, and the outcome's change; None where none is learned."""
    scores = {score.nuisance: score for score in quality.scores if score.learner == name}
    outcomes = [score for nuisance, score in scores.items() if nuisance != quality.names[0]]
    return scores[quality.names[0]], outcomes[0] if outcomes else None


def words_of(name: str) -> str:
    """Return what a learner is called in a table."""
    outcome, both, propensity = name.partition(" and ")
    if both:
        return f"{WORDS.get(outcome, outcome)}; propensity {WORDS.get(propensity, propensity).lower()}"
    return WORDS.get(name, name)


def _numbers(setting: Setting, one: Learned) -> Iterator[Traced]:
    quality, scale, unit = one.quality, one.scale, Scale(one.scale).printed
    assert quality is not None
    task = task_of(setting, scale, one.row.label)
    draws = f"{REPETITIONS} draws of the folds"
    for name in quality.learners:
        fit = next((row for row in quality.fits if row.label == name), None)
        adoption, outcome = of_learner(quality, name)
        values = (fit.estimate, fit.std_error) if fit else (math.nan, math.nan)
        noise = quality.draw_errors[name] / fit.std_error if fit else math.nan
        with_it = f"with {words_of(name)} in place of the plan's learner, {draws}"
        told = [
            ("Estimate", Scale(scale).number(values[0]), f"estimate, {with_it}, {unit}"),
            ("Error", Scale(scale).number(values[1]), f"standard error, {with_it}, {unit}"),
            ("Noise", _decimals(noise, 2), f"standard deviation over draws in standard errors, {with_it}"),
            (
                "OutcomeR",
                _decimals(outcome.squared.saved if outcome else math.nan),
                f"out-of-fold R2 of the outcome's change, {with_it}",
            ),
            ("AdoptionR", _decimals(adoption.squared.saved), f"out-of-fold R2 of adoption, {with_it}"),
        ]
        names = ("learner", scale, one.row.name, name)
        yield from traced(setting, EXHIBIT, task, names, told, command=RUN)
    moves = [
        ("Moves", f"{quality.moves:.2f}", "largest less smallest estimate over learners, in standard errors")
    ]
    yield from traced(setting, EXHIBIT, task, ("learner", scale, one.row.name), moves, command=RUN)


def _decimals(value: float, digits: int = 3) -> str:
    if math.isnan(value):
        return "(none)"
    return f"{round(value, digits) + 0.0:.{digits}f}".replace("-", "\N{MINUS SIGN}")


def _sentences(every: list[Learned]) -> Iterator[str]:
    for one in every:
        if one.quality is None:
            yield on_scale(one.scale, f"not made, {one.row.name}: {one.refusal}")
            continue
        excluding = [row for row in one.quality.fits if row.excludes_zero]
        estimates = [row.estimate for row in one.quality.fits]
        low, high = (Scale(one.scale).number(pick(estimates)) for pick in (min, max))
        yield on_scale(
            one.scale,
            f"{find_design(one.row.name).title}: over {len(estimates)} learners the estimate runs from {low} to {high} "
            f"({Scale(one.scale).printed}), {one.quality.moves:.2f} standard errors apart; {len(excluding)} of the "
            "intervals exclude zero.",
        )
        yield on_scale(one.scale, one.quality.sentences[0])
