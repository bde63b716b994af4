"""Who is in the average: of fixed composition, by era of adoption, and without each era."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from itertools import product
from typing import Any, NamedTuple

from study.core import QuestionError, capital, one_thread
from study.diagnostics import Finding, Refits
from study.diagnostics.leave_one_out import eras, treated_units
from study.estimates import Effect, Estimand, Estimate
from study.paper import Event, Part, Piece, Setting, Task, Traced, exhibit
from study.paper.exhibits.designs import heads, side_by_side, under
from study.report import A_DASH, Line, Number, Table, effect_values, effects_between, lettered, p_cell

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
    """Yield tables of averages and of who is in them, one of the first event by row of the plan, and all numbers."""
    plan = setting.plan
    by_key: dict[tuple[str, ...], Composed] = {}
    refused: dict[str, None] = {}
    for events in side_by_side(plan):
        shown = []
        for event in events:
            try:
                for scale, outcome in product(plan.scales, plan.outcomes):
                    task = setting.task(scale, outcome, event)
                    answer = by_key[task.key] = composed(setting, task)
                    refused |= dict.fromkeys(f"{label}: {why}" for label, why in answer.refused)
            except QuestionError as refusal:
                refused[f"{capital(event.title)}: {refusal}"] = None
                continue
            shown.append(event)
        if shown:
            yield _table(setting, shown, by_key)
    firsts = {e.label: a for e in plan.events if (a := by_key.get(setting.task(event=e).key))}
    if firsts:
        yield _treated_table(setting, firsts)
    for answer in [*by_key.values()]:
        yield from _numbers(setting, answer)
    for at, first in firsts.items():
        for label, path in first.paths.items():
            for time, number in counts(path, plan.window).items():
                values, where = {"n_treated": number}, (at, label, "event_time", time)
                yield from setting.numbers(where, values, task=first.task, quantity=label)
        yield f"{capital(first.task.event.title)}: {first.by_era.verdict}"
    yield from _by_row(setting, by_key, refused)
    yield from refused


@one_thread()
def composed(setting: Setting, task: Task) -> Composed:
    """Return averages of some cohorts by the design of a task, from one estimate.

    Raises
    ------
    QuestionError
        If the design refuses, or has no effects by cohort.
    """
    fit = setting.fit(task)
    by_era = eras(fit, setting.plan.eras, level=task.level, draws=task.band_draws, seed=task.seed)
    parts = {FULL: fit}
    if task.question.horizon is not None:
        parts[FIXED] = fit.balanced(task.question.horizon)
    headlines = {label: partial(getattr, part, "headline") for label, part in parts.items()}
    averages = Refits.of(headlines, task.level)
    parts |= by_era["parts"]
    effects = {
        effect.label: replace(effect, n_treated=int(treated_units(parts[effect.label].headline)[0]))
        for effect in (*averages.rows, *by_era["rows"])
    }
    paths = {label: parts[label].by_event_time for label in effects}
    return Composed(task, effects, paths, by_era, averages.refused + by_era["refused"])


def counts(path: Estimate, window: tuple[int, int]) -> dict[float, int]:
    """Return how many treated units the effects at the event times of a window are of."""
    shown = (path.event_time >= window[0]) & (path.event_time <= window[1])
    return dict(zip(path.event_time[shown].tolist(), treated_units(path)[shown].tolist(), strict=True))


def _numbers(setting: Setting, answer: Composed, *row: str) -> Iterator[Traced]:
    task = answer.task
    at, equal = (task.event.label, task.outcome, task.scale, *row), answer.by_era["p_equal"]
    yield from setting.numbers(at, {"p_joint": equal}, task=task, quantity="that eras are equal")
    for label, effect in answer.averages.items():
        yield from setting.numbers((*at, label), effect_values(effect), task=task, quantity=label)


def _title(setting: Setting, label: str) -> str:
    horizon = setting.task().question.horizon
    return {FULL: "All cohorts", FIXED: f"Seen up to event time {horizon}"}.get(label, capital(label))


def _panels(setting: Setting, by_scale: Mapping[str, Sequence[Composed]]) -> dict[str, Any]:
    """Return the blocks of a table, a panel a scale, a line an average and a column an answer, and its notes.

    Of averages that are the same in all columns one is kept.
    """
    every = [answer for answers in by_scale.values() for answer in answers]
    first: dict[tuple[str, ...], str] = {}
    same: dict[str, str] = {}
    for label in dict.fromkeys(label for answer in every for label in answer.averages):
        effects = [answer.averages.get(label) for answer in every]
        values = (f"{effect.estimate:.9g} ({effect.std_error:.9g})" if effect else "" for effect in effects)
        kept = first.setdefault(tuple(values), label)
        if kept != label:
            same[label] = kept
    blocks, dash = dict[str, list[Line]](), False
    for scale, answers in by_scale.items():
        lines = blocks[setting.plan.scales[scale]] = []
        for label in first.values():
            effects = [answer.averages.get(label) for answer in answers]
            if any(effects):
                dash |= not all(effect and effect.exists for effect in effects)
                unit = answers[0].task.question.effect_scale
                lines += effects_between(_title(setting, label), effects, scale=unit)
        lines.append(Line("Eras equal, p-value", [p_cell(answer.by_era["p_equal"]) for answer in answers]))

    notes = [
        f"Average over {setting.averaged(setting.event)}; standard errors in parentheses, clustered by "
        f"{setting.clusters}.",
        "All averages of a column are of one estimate by cohort, with one comparison group: adopters of an era that is "
        "left out stand in it until their own event. Eras equal: by the largest t of their differences.",
        *(f"{_title(setting, label)}: as {_title(setting, kept).lower()}." for label, kept in same.items()),
        *[A_DASH] * dash,
    ]
    return {"blocks": lettered(blocks), "notes": notes}


def _table(setting: Setting, events: Sequence[Event], by_key: Mapping[tuple[str, ...], Composed]) -> Table:
    """Return the headline's averages about some events, columns outcomes by events, a panel a scale."""
    plan = setting.plan
    columns = [*product(plan.outcomes, events)]
    by_scale = {s: [by_key[setting.task(s, o, e).key] for o, e in columns] for s in plan.scales}
    return Table(
        name="composition" if setting.event in events else f"composition-{events[0].label}",
        caption=f"Who is in the average effect, {plan.headline.label}{under(events)}",
        **heads(plan, events),
        **_panels(setting, by_scale),
    )


def _treated_table(setting: Setting, firsts: Mapping[str, Composed]) -> Table:
    """Return how many treated units the effects of each average are of, by event time."""
    plan, (first, last) = setting.plan, setting.plan.window
    blocks = {}
    for answer in firsts.values():
        of_path = {label: counts(path, plan.window) for label, path in answer.paths.items()}
        blocks[capital(answer.task.event.title)] = [
            Line(_title(setting, label), [Number(own.get(time, 0), 0) for time in range(first, last + 1)])
            for label, own in of_path.items()
        ]
    return Table(
        name="composition-treated",
        caption=f"Treated {plan.text.units} that the effect at each event time is of, {plan.headline.label}",
        headings=[f"{time}" for time in range(first, last + 1)],
        spans=[(f"{capital(setting.panel.period_unit)}s since the event", last - first + 1)],
        blocks=lettered(blocks),
        notes=[
            f"{plan.outcomes[setting.outcome]}. An average is over {setting.averaged(setting.event)}; other event "
            "times are in the figures of paths alone."
        ],
    )


def _by_row(
    setting: Setting, by_key: Mapping[tuple[str, ...], Composed], refused: dict[str, None]
) -> Iterator[Table | Traced]:
    """Yield the table of the plan's rows about the first event and outcome, and their numbers."""
    plan = setting.plan
    estimands = {row.label: row.design.estimand for row in plan.rows}
    absent = {label: str(each) for label, each in estimands.items() if each is not Estimand.GROUP_TIME_ATT}
    absent |= {row.label: "of fixed composition itself" for row in plan.rows if "balance" in row.question}
    others: dict[str, list[Composed]] = {}
    for row in (row for row in plan.rows if row.label not in absent):
        tasks = [setting.task(scale, row=row) for scale in plan.scales]
        try:
            answers = [by_key.get(task.key) or composed(setting, task) for task in tasks]
        except QuestionError as refusal:
            refused[f"{row.label}: {refusal}"] = None
            continue
        if row != plan.headline:  # which is a column of the event's own table
            others[row.label] = answers
        for answer in answers:
            refused |= dict.fromkeys(f"{row.label}, {part}: {why}" for part, why in answer.refused)
            yield from _numbers(setting, answer, row.label)
    if others:
        by_scale = dict(zip(plan.scales, zip(*others.values(), strict=True), strict=True))
        yield Table(
            name="composition-designs",
            caption=f"Who is in the average effect, by design: {setting.event.title}, "
            f"{setting.outcome_in_words}",
            headings=list(others),
            **_panels(setting, by_scale),
        )
    for label, why in absent.items():
        refused[f"{label}: no effects of all cohorts one by one ({why})."] = None
