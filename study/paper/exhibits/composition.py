"""Who is in the average: of fixed composition, by era of adoption, and without each era."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import partial
from itertools import product
from typing import NamedTuple

import numpy as np

from study.core import QuestionError, capital, one_thread
from study.designs import find_design
from study.diagnostics import Finding, Refits
from study.diagnostics.eras import eras, treated_units
from study.estimates import Effect, Estimand, Estimate
from study.paper.exhibits.exhibit import Part, Piece, Setting, Traced, exhibit
from study.paper.plan import Event, Task
from study.report import COLUMNS, Line, Table, effect_values, effects_between, lettered, p_cell, refused_notes

EXHIBIT = "composition"
FULL, FIXED = "full", "balanced"


class Composed(NamedTuple):
    """What one answer is by who is in it: averages and paths by label, what eras are, and what has no average."""

    task: Task
    averages: dict[str, Effect]
    paths: dict[str, Estimate]
    by_era: Finding
    refused: tuple[tuple[str, str], ...]


@exhibit("Who is in the average", Part.EFFECTS)
def composition(setting: Setting) -> Iterator[Piece]:
    """Yield a table for each event, a panel a scale, one of the first event by row of the plan, and all numbers."""
    plan = setting.plan
    by_key: dict[tuple[str, ...], Composed] = {}
    for event in plan.events:
        answers: dict[tuple[str, str], Composed] = {}
        try:
            for scale, outcome in product(plan.scales, plan.outcomes):
                task = plan.task(event, outcome, scale, plan.headline)
                answers[scale, outcome] = by_key[task.key] = composed(setting, task)
        except QuestionError as refusal:
            yield f"{capital(event.title)}: {refusal}"
            continue
        yield _table(setting, event, answers)
        for answer in answers.values():
            yield from _numbers(setting, answer)
        first = answers[setting.scale, setting.outcome]
        for label, path in first.paths.items():
            for time, number in counts(path).items():
                values, where = {"n_treated": number}, (EXHIBIT, event.label, label, "event_time", time)
                yield from setting.numbers(where, values, task=first.task, quantity=label)
        yield f"{capital(event.title)}: {first.by_era.verdict}"
    yield from _by_row(setting, by_key)


@one_thread()
def composed(setting: Setting, task: Task) -> Composed:
    """Return averages of some cohorts by the design of a task, from one estimate.

    Raises
    ------
    QuestionError
        If the design refuses, or has no effects by cohort.
    """
    fit = find_design(task.row.name)(task.question.sample(setting.panel), **task.options)
    by_era = eras(fit, setting.plan.eras, level=task.level, draws=task.band_draws, seed=task.seed)
    parts = {FULL: fit}
    if task.question.horizon is not None:
        parts[FIXED] = fit.balanced(task.question.horizon)
    averages = Refits.of(
        {label: partial(getattr, part, "headline") for label, part in parts.items()}, task.level
    )
    parts |= by_era["parts"]
    effects = {
        effect.label: replace(effect, n_treated=int(treated_units(parts[effect.label].headline)[0]))
        for effect in (*averages.rows, *by_era["rows"])
    }
    paths = {label: parts[label].by_event_time for label in effects}
    return Composed(task, effects, paths, by_era, averages.refused + by_era["refused"])


def counts(path: Estimate) -> dict[float, int]:
    """Return how many treated units effects by event time are of, from 0 to the question's horizon."""
    last = path.sample.question.horizon
    shown = (path.event_time >= 0) & (path.event_time <= (np.inf if last is None else last))
    return dict(zip(path.event_time[shown].tolist(), treated_units(path)[shown].tolist(), strict=True))


def _numbers(setting: Setting, answer: Composed, *row: str) -> Iterator[Traced]:
    task = answer.task
    at, equal = (EXHIBIT, task.event.label, task.outcome, task.scale, *row), answer.by_era["p_equal"]
    yield from setting.numbers(at, {"p_joint": equal}, task=task, quantity="that eras are equal")
    for label, effect in answer.averages.items():
        yield from setting.numbers((*at, label), effect_values(effect), task=task, quantity=label)


def _title(setting: Setting, event: Event, label: str) -> str:
    horizon = setting.plan.task(event, setting.outcome, setting.scale, setting.plan.headline).question.horizon
    titles = {FULL: "All cohorts", FIXED: f"Those seen up to event time {horizon}"}
    return titles.get(label, capital(label))


def _table(setting: Setting, event: Event, answers: Mapping[tuple[str, str], Composed]) -> Table:
    plan, first = setting.plan, answers[setting.scale, setting.outcome]
    times, blank = list(counts(first.paths[FULL])), ""
    blocks: dict[str, list[Line]] = {}
    for scale, title in plan.scales.items():
        row = [answers[scale, outcome] for outcome in plan.outcomes]
        of_first = {label: counts(path) for label, path in row[0].paths.items()}
        lines = blocks[title] = []
        for label in dict.fromkeys(label for answer in row for label in answer.averages):
            numbers = [COLUMNS["n_treated"].cell(of_first.get(label, {}).get(time, 0)) for time in times]
            effects = [answer.averages.get(label) for answer in row]
            lines += effects_between(_title(setting, event, label), effects, after=numbers)
        lines.append(
            Line("p, all eras equal", [p_cell(a.by_era["p_equal"]) for a in row] + [blank] * len(times))
        )
    refused = [f"{label}: {why}" for a in answers.values() for label, why in a.refused]
    right = f"On the right: {plan.text.units} in the cohorts that the effect at each event time is of, first outcome."
    return Table(
        name=EXHIBIT if event == setting.event else f"{EXHIBIT}-{event.label}",
        caption=f"Who is in the average effect of the {event.title}, {plan.headline.label}",
        headings=[*plan.outcomes.values(), *(f"{time:g}" for time in times)],
        spans=[(f"Effect on {plan.text.outcome}", len(plan.outcomes)), ("Treated at event time", len(times))],
        blocks=lettered(blocks),
        notes=_notes(setting, event, "lines of an outcome", refused, right),
    )


def _by_row(setting: Setting, by_key: dict[tuple[str, ...], Composed]) -> Iterator[Table | Traced]:
    """Yield the table of the plan's rows about the first event and outcome, and their numbers."""
    plan, event, refused = setting.plan, setting.event, []
    estimands = {row.label: find_design(row.name).estimand for row in plan.rows}
    absent = {label: str(each) for label, each in estimands.items() if each is not Estimand.GROUP_TIME_ATT}
    absent |= {row.label: "of fixed composition itself" for row in plan.rows if "balance" in row.question}
    rows = [row for row in plan.rows if row.label not in absent]
    tasks = [plan.task(event, setting.outcome, *each) for each in product(plan.scales, rows)]
    for task in tasks:
        try:
            answer = by_key[task.key] = by_key.get(task.key) or composed(setting, task)
            refused += [f"{task.row.label}, {label}: {why}" for label, why in answer.refused]
        except QuestionError as refusal:
            refused.append(f"{task.row.label}: {refusal}")
    answers = [by_key[task.key] for task in tasks if task.key in by_key]
    columns = list(dict.fromkeys(label for answer in answers for label in answer.averages))
    blocks: dict[str, list[Line]] = {title: [] for title in plan.scales.values()}
    for answer in answers:
        label, effects = answer.task.row.label, [answer.averages.get(column) for column in columns]
        equal = p_cell(answer.by_era["p_equal"])
        blocks[plan.scales[answer.task.scale]] += effects_between(label, effects, after=[equal])
        yield from _numbers(setting, answer, label)
    without = "; ".join(f"{label} ({why})" for label, why in absent.items())
    left_out = [f"No line, as effects are not of all cohorts one by one: {without}."] if absent else []
    if answers:
        yield Table(
            name=f"{EXHIBIT}-designs",
            caption=f"Who is in the average effect of the {event.title}, by design: {plan.outcomes[setting.outcome]}",
            headings=[*(_title(setting, event, column) for column in columns), "p, all eras equal"],
            blocks=lettered(blocks),
            notes=_notes(setting, event, "columns of a line", refused, *left_out),
        )


def _notes(setting: Setting, event: Event, of: str, refused: list[str], *others: str) -> list[str]:
    return [
        f"Average over {setting.averaged(event)}; standard errors in parentheses, clustered by {setting.clusters}.",
        *others,
        f"All {of} are averages of one estimate by cohort, and the comparison group is the same in all of them: "
        "adopters of an era that is left out stand in it until their own event. The p-value is of the largest t of the "
        "differences between eras.",
        *refused_notes(refused),
    ]
