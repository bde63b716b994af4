"""The numbers of the text that the answers of a plan give: samples, estimates, paths, and what the plan says."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Any

from study.estimates import POWER, SIZE, Effect
from study.panel import Panel
from study.paper import Event, Plan, Result, Results, Task
from study.paper.exhibits.exhibit import RUN, Source, Traced, address, addressed, estimate_command, source_of
from study.report import Column, effect_values

# What `study estimate` prints of an answer, by column.
ESTIMATED = (
    "estimate", "std_error", "conf_low", "conf_high", "p_value", "n_units", "n_treated", "n_cohorts", "n_clusters",
    "already_treated",
)  # fmt: skip
OF_ANSWERS = {
    "smallest": Column("smallest estimate of all designs", "effect"),
    "largest": Column("largest estimate of all designs", "effect"),
    **{
        f"{how}_covariates_{end}": Column(
            f"{end} average over event times of designs {how} covariates", "effect"
        )
        for how in ("with", "without")
        for end in ("smallest", "largest")
    },
    "excluding_zero": Column("designs whose interval excludes zero", "count"),
    "answered": Column("designs that answer", "count"),
    "never_treated": Column("units never treated", "count"),
    "already_treated": Column("units already treated at the window's start, dropped", "count"),
    "smallest_cohort": Column("units in the smallest cohort", "count"),
    "largest_cohort": Column("units in the largest cohort", "count"),
}


# The values of one row of the answers by column: its address, them, what the row is about, the task it answers.
Values = tuple[str, Mapping[str, Any], str, Task]


def answer_numbers(
    plan: Plan, panel: Panel, results: Results, cited: Collection[str] | None = None
) -> Iterator[Traced]:
    """Yield the numbers that a plan and its answers give, those that a text cites or all.

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
    of_plan = _of_plan(plan, panel)
    yield from (number for number in of_plan if cited is None or number.address in cited)
    for at, values, quantity, task in _rows(plan, results):
        for column, value in values.items():
            if cited is None or f"{at}/{column}" in cited:
                exhibit = "designs" if task.event in plan.events else "families"
                source = source_of(exhibit, quantity, task, panel, _command(at, column, task, panel))
                yield from addressed(at, {column: value}, source, task.scale, OF_ANSWERS)


def _of_plan(plan: Plan, panel: Panel) -> Iterator[Traced]:
    values: dict[str, tuple[str, Any]] = {
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
    for name, (words, value) in values.items():
        yield from addressed("plan", {name: value}, source, columns={name: Column(words, "text")})


def _rows(plan: Plan, results: Results) -> Iterator[Values]:
    first_scale, first_outcome = next(iter(plan.scales)), next(iter(plan.outcomes))
    for event in plan.every_event:
        labels = [row.label for row in (plan.rows if event in plan.events else (plan.headline,))]
        yield _sample(event, results[event.label, first_scale, first_outcome, plan.headline.label])
        for scale in plan.scales:
            for outcome in plan.outcomes:
                at = address(event.label, outcome, scale)
                answers = {label: results[event.label, scale, outcome, label] for label in labels}
                headline = answers[plan.headline.label]
                yield from _answer(f"{at}/headline", headline, plan.window)
                for label, result in answers.items():
                    yield from _answer(f"{at}/{address(label)}", result, plan.window)
                effects = [result.headline for result in answers.values() if result.headline is not None]
                estimates = [effect.estimate for effect in effects]
                spread = {
                    "smallest": min(estimates, default=math.nan),
                    "largest": max(estimates, default=math.nan),
                    "excluding_zero": sum(effect.excludes_zero for effect in effects),
                    "answered": len(effects),
                }
                yield f"{at}/designs", spread | _by_covariates(answers.values()), "", headline.task


def _by_covariates(answers: Iterable[Result]) -> dict[str, float]:
    """Return the ends of the averages over event times of designs with covariates and of those without."""
    estimates: dict[str, list[float]] = {}
    for result in answers:
        if result.headline and result.task.row.design.estimand.has_path:
            how = "with" if result.task.question.covariates else "without"
            estimates.setdefault(how, []).append(result.headline.estimate)
    return {
        f"{how}_covariates_{name}": end(own)
        for how, own in estimates.items()
        for name, end in (("smallest", min), ("largest", max))
    }


def _sample(event: Event, result: Result) -> Values:
    flow = result.flow
    cohorts = [step.units for step in flow if step.kept and step.reason.startswith("first treated in ")]
    values = _counts(result) | {
        "never_treated": sum(step.units for step in flow if step.reason == "never treated"),
        "already_treated": sum(step.units for step in flow if step.reason.startswith("already treated")),
        "smallest_cohort": min(cohorts, default=0),
        "largest_cohort": max(cohorts, default=0),
    }
    return address(event.label, "sample"), values, "", result.task


def _answer(at: str, result: Result, window: tuple[int, int]) -> Iterator[Values]:
    """Yield the values of an answer: its headline, and its effects by event time; NaN where the design gives none."""
    test = result.randomization
    values = effect_values(result.headline or Effect("")) | {"mde": result.power.effect} | _counts(result)
    values |= {
        "n_obs": result.n_obs,
        "randomization_p": math.nan if test is None else test.p_value,
        "leads_p_wald": result.pre_test.p_value,
        "leads_rank": result.pre_test.rank,
        "leads_p_largest": result.pre_test.p_largest,
    }
    yield at, values, "", result.task
    by_time = {effect.event_time: effect for effect in result.path}
    times = {address("event_time", f"{time:g}"): time for time in by_time}
    for name, time in (times | dict(zip(("window_first", "window_last"), window, strict=True))).items():
        effect = by_time.get(time, Effect(""))
        values = effect_values(effect) | {"band_low": effect.band_low, "band_high": effect.band_high}
        # That of the sample: who is in an effect by event time is counted by the exhibit "composition".
        del values["n_treated"]
        yield f"{at}/{name}", values, f"at event time {time:g}", result.task


def _counts(result: Result) -> dict[str, float]:
    return {name: getattr(result, name) for name in ("n_units", "n_treated", "n_cohorts", "n_clusters")}


def _command(at: str, column: str, task: Task, panel: Panel) -> str:
    """Return the command that prints a number of an answer."""
    if any(part in at.split("/") for part in ("event_time", "window_first", "window_last")):
        return RUN if column.startswith("band") else estimate_command(task, panel, path=True)
    if column in ESTIMATED:
        return estimate_command(task, panel)
    if column == "mde":
        return f"study table {task.event.label}/{task.outcome}/{task.scale} --designs {task.row.name} --mde"
    return RUN
