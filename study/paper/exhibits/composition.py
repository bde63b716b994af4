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
from study.diagnostics import Finding
from study.diagnostics.eras import eras, treated_units
from study.diagnostics.refits import Refits
from study.estimates import Effect, Estimate
from study.paper.exhibits.exhibit import Part, Piece, Setting, exhibit
from study.paper.plan import Event, Task
from study.report import (
    COLUMNS,
    Line,
    Table,
    effect_values,
    effects_between,
    lettered,
    p_cell,
    refused_notes,
)

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
    """Yield a table for each event, a panel a scale, with the treated units at each event time, and all numbers."""
    plan = setting.plan
    for event in plan.events:
        try:
            with one_thread():
                answers = {key: composed(setting, event, *key) for key in product(plan.scales, plan.outcomes)}
        except QuestionError as refusal:
            yield f"{capital(event.title)}: {refusal}"
            continue
        yield _table(setting, event, answers)
        for (scale, outcome), (task, averages, paths, by_era, _) in answers.items():
            at, equal = (EXHIBIT, event.label, outcome, scale), {"p_joint": by_era["p_equal"]}
            yield from setting.numbers(at, equal, task=task, quantity="that eras are equal")
            for label, effect in averages.items():
                yield from setting.numbers((*at, label), effect_values(effect), task=task, quantity=label)
            for label, path in paths.items() if (scale, outcome) == (setting.scale, setting.outcome) else ():
                for time, number in counts(path).items():
                    values, where = {"n_treated": number}, (EXHIBIT, event.label, label, "event_time", time)
                    yield from setting.numbers(where, values, task=task, quantity=label)
        yield f"{capital(event.title)}: {answers[setting.scale, setting.outcome].by_era.verdict}"


def composed(setting: Setting, event: Event, scale: str, outcome: str) -> Composed:
    """Return the headline design's averages of some cohorts, from one estimate.

    Raises
    ------
    QuestionError
        If the design refuses, or has no effects by cohort.
    """
    plan = setting.plan
    task = plan.task(event, outcome, scale, plan.headline)
    fit = find_design(task.row.name)(task.question.sample(setting.panel), **task.options)
    by_era = eras(fit, plan.eras, level=task.level, draws=plan.band_draws, seed=plan.seed)
    parts = {FULL: fit}
    if task.question.horizon is not None:
        parts[FIXED] = fit.balanced(task.question.horizon)
    averages = Refits.of(
        {label: partial(getattr, part, "headline") for label, part in parts.items()}, task.level
    )
    parts |= by_era["parts"]
    rows = (
        replace(row, n_treated=int(treated_units(parts[row.label].headline)[0]))
        for row in (*averages.rows, *by_era["rows"])
    )
    effects = {row.label: row for row in rows}
    paths = {label: parts[label].by_event_time for label in effects}
    return Composed(task, effects, paths, by_era, averages.refused + by_era["refused"])


def counts(path: Estimate) -> dict[float, int]:
    """Return how many treated units effects by event time are of, from 0 to the question's horizon."""
    last = path.sample.question.horizon
    shown = (path.event_time >= 0) & (path.event_time <= (np.inf if last is None else last))
    return dict(zip(path.event_time[shown].tolist(), treated_units(path)[shown].tolist(), strict=True))


def _table(setting: Setting, event: Event, answers: Mapping[tuple[str, str], Composed]) -> Table:
    plan, first = setting.plan, answers[setting.scale, setting.outcome]
    times, blank = list(counts(first.paths[FULL])), ""
    named = {FULL: "All cohorts", FIXED: f"Those seen up to event time {first.task.question.horizon}"}
    blocks: dict[str, list[Line]] = {}
    for scale, title in plan.scales.items():
        row = [answers[scale, outcome] for outcome in plan.outcomes]
        of_first = {label: counts(path) for label, path in row[0].paths.items()}
        lines = blocks[title] = []
        for label in dict.fromkeys(label for answer in row for label in answer.averages):
            numbers = [COLUMNS["n_treated"].cell(of_first.get(label, {}).get(time, 0)) for time in times]
            effects = [answer.averages.get(label) for answer in row]
            lines += effects_between(named.get(label, capital(label)), effects, after=numbers)
        lines.append(
            Line("p, all eras equal", [p_cell(a.by_era["p_equal"]) for a in row] + [blank] * len(times))
        )
    refused = [f"{label}: {why}" for a in answers.values() for label, why in a.refused]
    return Table(
        name=EXHIBIT if event == setting.event else f"{EXHIBIT}-{event.label}",
        caption=f"Who is in the average effect of the {event.title}, {plan.headline.label}",
        headings=[*plan.outcomes.values(), *(f"{time:g}" for time in times)],
        spans=[(f"Effect on {plan.text.outcome}", len(plan.outcomes)), ("Treated at event time", len(times))],
        blocks=lettered(blocks),
        notes=[
            f"Average over {setting.averaged(event)}; standard errors in parentheses, clustered by {setting.clusters}. "
            f"On the right: {plan.text.units} in the cohorts that the effect at each event time is of, first outcome.",
            "All lines of an outcome are averages of one estimate by cohort, and the comparison group is the same in "
            "all of them: adopters of an era that is left out stand in it until their own event. The p-value is of the "
            "largest t of the differences between eras.",
            *refused_notes(refused),
        ],
    )
