"""The numbers of the text that the answers of a plan give: samples, estimates, paths, and what the plan says."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Mapping
from typing import Any, NamedTuple

from study.estimates import POWER, SIZE, Effect
from study.panel import Panel
from study.paper.exhibits.exhibit import RUN, Source, Traced, address, addressed, estimate_command, source_of
from study.paper.plan import Event, Plan, Task
from study.paper.results import Result, Results
from study.report import Column, effect_values

# What `study estimate` prints of an answer, by column.
ESTIMATED = (
    "estimate", "std_error", "conf_low", "conf_high", "p_value", "n_units", "n_treated", "n_cohorts", "n_clusters",
    "already_treated",
)  # fmt: skip
OF_ANSWERS = {
    "smallest": Column("smallest estimate of all designs", "effect"),
    "largest": Column("largest estimate of all designs", "effect"),
    "excluding_zero": Column("designs whose interval excludes zero", "count"),
    "answered": Column("designs that answer", "count"),
    "never_treated": Column("units never treated", "count"),
    "already_treated": Column("units already treated at the window's start, dropped", "count"),
    "smallest_cohort": Column("units in the smallest cohort", "count"),
    "largest_cohort": Column("units in the largest cohort", "count"),
}


class Values(NamedTuple):
    """The values of one row of the answers by column: its address, what it is about, and the task it answers."""

    at: str
    values: Mapping[str, Any]
    quantity: str
    task: Task


def answer_numbers(
    plan: Plan, panel: Panel, results: Results, cited: Collection[str] | None = None
) -> Iterator[Traced]:
    """Yield the numbers that the answers of a plan give, those that a text cites or all.

    Parameters
    ----------
    plan : Plan
    panel : Panel
    results : dict
        As :func:`study.paper.run.run` returns them.
    cited : collection of str, optional
        Addresses. An answer's is ``EVENT/OUTCOME/SCALE/ROW`` and the column, where the row is the design's label or
        ``headline``; an effect of its path is at ``event_time/-3``, ``window_first`` or ``window_last`` below it;
        ``EVENT/OUTCOME/SCALE/designs`` has the spread over designs, ``EVENT/sample`` the sample, ``plan`` the plan.

    Yields
    ------
    Traced
        Proportional effects are in percent with one decimal, others have three decimals.
    """
    yield from _of_plan(plan, panel, cited)
    for at, values, quantity, task in _rows(plan, results):
        for column, value in values.items():
            if cited is None or f"{at}/{column}" in cited:
                exhibit = "designs" if task.event in plan.events else "families"
                source = source_of(exhibit, quantity, task, panel, shown_by(at, column, task, panel))
                yield from addressed(at, {column: value}, source, task.scale, OF_ANSWERS)


def _of_plan(plan: Plan, panel: Panel, cited: Collection[str] | None) -> Iterator[Traced]:
    values = {
        "headline": ("the headline design", plan.headline.label),
        "figure_row": ("the design of the event-study figures", plan.figure_row.label),
        "window_first": ("years before the event that figures show", abs(plan.window[0])),
        "window_last": ("years after the event that figures show", plan.window[1]),
        "n_units": (f"{plan.text.units} in the panel", panel.n_units),
        "first_period": ("first period of the panel", panel.periods[0]),
        "last_period": ("last period of the panel", panel.periods[-1]),
        "permutations": ("permutations of the randomization test", plan.permutations),
        "power": ("power at which minimum detectable effects are given, percent", f"{100 * POWER:g}"),
        "size": ("size of tests, percent", f"{100 * SIZE:g}"),
        "band_draws": ("draws of bands and tests", plan.band_draws),
        "level": ("level of intervals, percent", f"{100 * plan.level:g}"),
        "horizon": ("last event time in the average", plan.question.get("horizon", "")),
        "designs": ("designs in the main tables", len(plan.rows)),
        "families": ("families of events beside the main ones", len(plan.families)),
        "seed": ("seed", plan.seed),
        "checksum": ("checksum of the panel", panel.checksum),
    }
    source = Source("plan", "", panel.name, panel.checksum, RUN, seed=str(plan.seed))
    columns = {name: Column(words, "text") for name, (words, _) in values.items()}
    wanted = {name: value for name, (_, value) in values.items() if cited is None or f"plan/{name}" in cited}
    yield from addressed("plan", wanted, source, columns=columns)


def _rows(plan: Plan, results: Results) -> Iterator[Values]:
    for event in (*plan.events, *plan.families):
        labels = [row.label for row in (plan.rows if event in plan.events else (plan.headline,))]
        yield _of_sample(plan, results, event)
        for scale in plan.scales:
            for outcome in plan.outcomes:
                at = address(event.label, outcome, scale)
                answers = {label: results[event.label, scale, outcome, label] for label in labels}
                headline = answers[plan.headline.label]
                yield from answer_rows(f"{at}/headline", headline, plan.window)
                for label, result in answers.items():
                    yield from answer_rows(f"{at}/{address(label)}", result, plan.window)
                effects = [result.headline for result in answers.values()]
                yield Values(f"{at}/designs", _spread(effects), "", headline.task)


def answer_rows(at: str, result: Result, window: tuple[int, int]) -> Iterator[Values]:
    """Yield the values of an answer: its headline, and its effects by event time."""
    yield Values(at, answer_values(result), "", result.task)
    by_time = {effect.event_time: effect for effect in result.path}
    times = {address("event_time", f"{time:g}"): time for time in by_time}
    for name, time in (times | dict(zip(("window_first", "window_last"), window, strict=True))).items():
        effect = by_time.get(time, Effect(""))
        values = effect_values(effect) | {"band_low": effect.band_low, "band_high": effect.band_high}
        yield Values(f"{at}/{name}", values, f"at event time {time:g}", result.task)


def answer_values(result: Result) -> dict[str, float]:
    """Return what a text may say of an answer, by column; NaN where the design gives none."""
    test = result.randomization
    return effect_values(result.headline or Effect("")) | {
        "mde": result.power.effect,
        "n_units": result.n_units,
        "n_treated": result.n_treated,
        "n_cohorts": result.n_cohorts,
        "n_clusters": result.n_clusters,
        "n_obs": result.n_obs,
        "randomization_p": math.nan if test is None else test.p_value,
        "leads_p_wald": result.pre_test.p_value,
        "leads_rank": result.pre_test.rank,
        "leads_p_largest": result.pre_test.p_largest,
    }


def _of_sample(plan: Plan, results: Results, event: Event) -> Values:
    scale, outcome = next(iter(plan.scales)), next(iter(plan.outcomes))
    result = results[event.label, scale, outcome, plan.headline.label]
    never = [step.units for step in result.flow if step.reason == "never treated"]
    already = [step.units for step in result.flow if step.reason.startswith("already treated")]
    cohorts = [s.units for s in result.flow if s.kept and s.reason.startswith("first treated in ")]
    values = {
        "n_units": result.n_units,
        "n_treated": result.n_treated,
        "n_cohorts": result.n_cohorts,
        "n_clusters": result.n_clusters,
        "never_treated": sum(never),
        "already_treated": sum(already),
        "smallest_cohort": min(cohorts, default=0),
        "largest_cohort": max(cohorts, default=0),
    }
    return Values(address(event.label, "sample"), values, "", result.task)


def _spread(effects: Collection[Effect | None]) -> dict[str, float]:
    """Return the smallest and largest estimate over the designs, and how many exclude zero."""
    answered = [effect for effect in effects if effect is not None]
    estimates = [effect.estimate for effect in answered]
    return {
        "smallest": min(estimates, default=math.nan),
        "largest": max(estimates, default=math.nan),
        "excluding_zero": sum(effect.excludes_zero for effect in answered),
        "answered": len(answered),
    }


def shown_by(at: str, column: str, task: Task, panel: Panel) -> str:
    """Return the command that prints a number of an answer."""
    if any(part in at.split("/") for part in ("event_time", "window_first", "window_last")):
        return RUN if column.startswith("band") else estimate_command(task, panel, path=True)
    if column in ESTIMATED:
        return estimate_command(task, panel)
    if column == "mde":
        return f"study table {task.event.label}/{task.outcome}/{task.scale} --designs {task.row.name}"
    return RUN
