"""Proportional effects beside effects on log(1 + y), whose size depends on the unit in which y is counted."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from study.estimates import Effect
from study.panel import Panel, Scale
from study.paper.exhibits.exhibit import (
    RUN,
    Exhibited,
    Part,
    Setting,
    Traced,
    address,
    addressed,
    cluster_of,
    estimate_command,
    exhibit,
    source_of,
    window_of,
)
from study.paper.plan import Row, Task
from study.paper.results import headline_effect
from study.report import Block, Column, Line, Number, Table, effects_between, refused_notes

EXHIBIT = "scales"
# A count y in units of u is y / u. The smaller the unit, the more an effect on whether there is any y at all weighs in
# log(1 + y / u) (Chen and Roth 2024).
UNITS = {"tenth": 0.1, "one": 1.0, "ten": 10.0, "hundred": 100.0}
POISSON = Row("poisson_twfe", "Poisson, two-way effects", {"terms": "event_time"}, {"covariates": []})
ZEROS = {"zeros": Column("share of zeros in percent", "number", 0)}
# By outcome and row.
Effects = Mapping[str, Mapping[str, Effect]]


class Asked(NamedTuple):
    """A task with the panel that it is asked of, what it is about, and the command that shows its answer."""

    task: Task
    panel: Panel
    quantity: str
    command: str


@exhibit("Proportional effects beside log(1 + y)", Part.EFFECTS)
def scales(setting: Setting) -> Exhibited:
    """Return the table of effects by unit of the outcome, for each outcome of the plan."""
    asked = {outcome: questions(setting, outcome) for outcome in setting.plan.outcomes}
    effects = {
        outcome: {name: headline_effect(row.task, row.panel) for name, row in rows.items()}
        for outcome, rows in asked.items()
    }
    zeros = {outcome: _zeros(rows["any"].task, setting.panel) for outcome, rows in asked.items()}
    return Exhibited(
        tables=(table(setting, effects, zeros),),
        numbers=tuple(_numbers(setting, asked, effects, zeros)),
        sentences=tuple(_sentences(setting, effects)),
    )


def questions(setting: Setting, outcome: str) -> dict[str, Asked]:
    """Return what is asked about an outcome: in several units, in proportion, by Poisson, and whether there is any."""
    plan, panel, event = setting.plan, setting.panel, setting.plan.events[0]
    log = plan.task(event, outcome, "log1p", plan.headline)
    proportional = plan.task(event, outcome, "proportional", plan.headline)
    poisson = plan.task(event, outcome, "proportional", POISSON)
    has_any = replace(log, question=log.question.replace(scale="level"))
    any_panel = replace(panel, outcomes={**panel.outcomes, outcome: _any(panel.outcomes[outcome])})
    logs = {
        f"log_{name}": Asked(log, in_units(panel, outcome, unit), f"y in units of {unit:g}", RUN)
        for name, unit in UNITS.items()
    }
    return {
        **logs,
        "log_one": logs["log_one"]._replace(command=estimate_command(log, panel)),
        "proportional": Asked(proportional, panel, "", estimate_command(proportional, panel)),
        "poisson": Asked(poisson, panel, "Poisson", estimate_command(poisson, panel)),
        "any": Asked(has_any, any_panel, "share with any", RUN),
    }


def in_units(panel: Panel, outcome: str, unit: float) -> Panel:
    """Return the panel with an outcome counted in units of so many."""
    return replace(panel, outcomes={**panel.outcomes, outcome: panel.outcomes[outcome] / unit})


def _any(y: np.ndarray) -> np.ndarray:
    return np.where(np.isnan(y), np.nan, (y > 0).astype(float))


def _zeros(task: Task, panel: Panel) -> float:
    """Return the share of zeros among the treated units' cells before treatment."""
    sample = task.question.sample(panel)
    ever = (sample.treatment == 1).any(axis=1)[:, None]
    before = sample.observed & ever & (sample.treatment == 0)
    return float((sample.y[before] == 0).mean()) if before.any() else math.nan


def table(setting: Setting, effects: Effects, zeros: Mapping[str, float]) -> Table:
    """Return effects on log(1 + y) by unit, and in proportion, with outcomes as columns."""
    plan, unit = setting.plan, setting.plan.text.outcomes_with_units

    def lines(label: str, name: str) -> list[Line]:
        return effects_between(label, [of[name] for of in effects.values()])

    logs = [line for name in UNITS for line in lines(f"Counted in {name}s", f"log_{name}")]
    shares = [
        *lines(f"{plan.headline.label}, in any unit", "proportional"),
        *lines(POISSON.label, "poisson"),
    ]
    why = [
        *lines("Effect on having any", "any"),
        Line("Zeros among the treated before, share", [Number(share, 2) for share in zeros.values()]),
    ]
    refused = sorted(effect.note for of in effects.values() for effect in of.values())
    first = next(iter(setting.results.values()))
    notes = [
        f"Event: {plan.events[0].title}. Outcome: {unit}. Average over {window_of(first)}. Standard errors in "
        f"parentheses, clustered by {cluster_of(plan)}.",
        f"Panel A: {plan.headline.label} on log(1 + y/u) for y counted in units of u = 0.1, 1, 10 and 100. Effects "
        "differ, since a step from zero to one weighs the more in the logarithm the smaller the unit is; they are no "
        "percentages.",
        "Panel B: the effect over the mean that the treated would have had without treatment, which has no unit; the "
        "two designs assume parallel trends in levels and in proportion, and Poisson compares without covariates, "
        "event time by event time, with equal weights.",
        f"Panel C: {plan.headline.label} on whether there is any y; as units get finer, each tenfold step comes to "
        "move Panel A by 2.30 (log 10) times this effect (Chen and Roth 2024).",
    ]
    return Table(
        name=EXHIBIT,
        caption=f"Proportional effects beside log(1 + y), by unit of y: {plan.events[0].title}",
        headings=list(plan.outcomes.values()),
        blocks=[
            Block("Panel A. Effect on log(1 + y), y counted in different units", logs),
            Block("Panel B. Effect as a share of the counterfactual mean", shares),
            Block("Panel C. Why the unit matters", why),
        ],
        notes=[*notes, *refused_notes(refused)],
    )


def _numbers(
    setting: Setting, asked: Mapping[str, Mapping[str, Asked]], effects: Effects, zeros: Mapping[str, float]
) -> Iterator[Traced]:
    for outcome, rows in asked.items():
        for name, (task, _, quantity, command) in rows.items():
            effect = effects[outcome][name]
            values = {"estimate": effect.estimate, "std_error": effect.std_error}
            source = source_of(EXHIBIT, quantity, task, setting.panel, command)
            yield from addressed(address(EXHIBIT, outcome, name), values, source, task.question.scale)
        source = source_of(EXHIBIT, "among the treated before", rows["any"].task, setting.panel, RUN)
        yield from addressed(
            address(EXHIBIT, outcome), {"zeros": 100 * zeros[outcome]}, source, columns=ZEROS
        )


def _sentences(setting: Setting, effects: Effects) -> Iterator[str]:
    percent = Scale("proportional")
    for outcome, of in effects.items():
        poisson = (
            f" and a Poisson regression gives {percent.number(of['poisson'].estimate)} percent."
            if of["poisson"].exists
            else "; Poisson refuses."
        )
        coarse, fine = of["log_hundred"].estimate, of["log_tenth"].estimate
        yield (
            f"{setting.plan.outcomes[outcome]}: the effect on log(1 + y) goes from {coarse:.3f} with y in hundreds to "
            f"{fine:.3f} with y in tenths, while the proportional effect stays at "
            f"{percent.number(of['proportional'].estimate)} percent{poisson}"
        )
