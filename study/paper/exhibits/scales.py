"""Proportional effects beside effects on log(1 + y), whose size depends on the unit in which y is counted."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

import numpy as np

from study.estimates import Effect
from study.panel import Panel, Scale
from study.paper.exhibits.exhibit import (
    RUN,
    Exhibited,
    Setting,
    Traced,
    address,
    addressed,
    estimate_command,
    source_of,
)
from study.paper.notes import cluster_of, window_of
from study.paper.plan import Row, Task
from study.paper.results import headline_effect
from study.report import Block, Column, Line, Number, Table, effects_between, refused_notes

EXHIBIT = "scales"
# A count y in units of u is y / u. The smaller the unit, the more an effect on whether there is any y at all weighs in
# log(1 + y / u) (Chen and Roth 2024).
UNITS = {"tenth": 0.1, "one": 1.0, "ten": 10.0, "hundred": 100.0}
POISSON = Row("poisson_twfe", "Poisson, two-way effects", {"terms": "event_time"}, {"covariates": []})
ZEROS = {"zeros": Column("share of zeros in percent", "number", 0)}


@dataclass(frozen=True)
class Answers:
    """What an outcome's column has: log1p by unit, proportional by unit, Poisson, and the effect on having any."""

    log: dict[str, Effect]
    proportional: dict[str, Effect]
    poisson: Effect
    any: Effect
    zeros: float

    @property
    def moves(self) -> float:
        """How far the proportional effect moves with the unit, at most; zero up to rounding."""
        estimates = [effect.estimate for effect in self.proportional.values()]
        return max(estimates) - min(estimates)


def scales(setting: Setting) -> Exhibited:
    """Return the table of effects by unit of the outcome, for each outcome of the plan."""
    by_outcome = {outcome: answers(setting, outcome) for outcome in setting.plan.outcomes}
    return Exhibited(
        tables=(table(setting, by_outcome),),
        numbers=tuple(_numbers(setting, by_outcome)),
        sentences=_sentences(setting, by_outcome),
    )


def tasks(setting: Setting, outcome: str) -> dict[str, Task]:
    """Return the tasks about an outcome: on both scales, by Poisson, and whether there is any."""
    plan, event = setting.plan, setting.plan.events[0]
    log = plan.task(event, outcome, "log1p", plan.headline)
    return {
        "log": log,
        "proportional": plan.task(event, outcome, "proportional", plan.headline),
        "poisson": plan.task(event, outcome, "proportional", POISSON),
        "any": replace(log, question=log.question.replace(scale="level")),
    }


def answers(setting: Setting, outcome: str) -> Answers:
    """Ask the headline about an outcome counted in several units, and Poisson about it as it is."""
    panel, task = setting.panel, tasks(setting, outcome)
    counted = {name: in_units(panel, outcome, unit) for name, unit in UNITS.items()}
    any_panel = replace(panel, outcomes={**panel.outcomes, outcome: _any(panel.outcomes[outcome])})
    return Answers(
        log={name: headline_effect(task["log"], of) for name, of in counted.items()},
        proportional={name: headline_effect(task["proportional"], of) for name, of in counted.items()},
        poisson=headline_effect(task["poisson"], panel),
        any=headline_effect(task["any"], any_panel),
        zeros=_zeros(task["log"], panel),
    )


def in_units(panel: Panel, outcome: str, unit: float) -> Panel:
    """Return the panel with an outcome counted in units of so many."""
    return replace(panel, outcomes={**panel.outcomes, outcome: panel.outcomes[outcome] / unit})


def _any(y: np.ndarray) -> np.ndarray:
    return np.where(np.isnan(y), np.nan, (y > 0).astype(float))


def _zeros(task: Task, panel: Panel) -> float:
    """Return the share of zeros among the treated units' cells before treatment."""
    sample = task.question.replace(scale="level").sample(panel)
    ever = (sample.treatment == 1).any(axis=1)[:, None]
    before = sample.observed & ever & (sample.treatment == 0)
    return float((sample.y[before] == 0).mean()) if before.any() else math.nan


def table(setting: Setting, by_outcome: Mapping[str, Answers]) -> Table:
    """Return effects on log(1 + y) by unit, and in proportion, with outcomes as columns."""
    plan, columns = setting.plan, list(by_outcome.values())
    unit = plan.text.outcomes_with_units
    logs = [
        line
        for name in UNITS
        for line in effects_between(f"Counted in {name}s", [a.log[name] for a in columns])
    ]
    shares = [
        *effects_between(f"{plan.headline.label}, in any unit", [a.proportional["one"] for a in columns]),
        *effects_between(POISSON.label, [a.poisson for a in columns]),
    ]
    why = [
        *effects_between("Effect on having any", [a.any for a in columns]),
        Line("Zeros among the treated before, share", [Number(a.zeros, 2) for a in columns]),
    ]
    refused = sorted(e.note for a in columns for e in (*a.log.values(), a.poisson, a.any))
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


def _numbers(setting: Setting, by_outcome: Mapping[str, Answers]) -> Iterator[Traced]:
    for outcome, of in by_outcome.items():
        by_name = tasks(setting, outcome)
        alone = {name: estimate_command(task, setting.panel) for name, task in by_name.items()}
        rows = [
            (
                f"log_{name}",
                "log",
                effect,
                f"y in units of {UNITS[name]:g}",
                RUN if name != "one" else alone["log"],
            )
            for name, effect in of.log.items()
        ]
        rows += [
            ("proportional", "proportional", of.proportional["one"], "", alone["proportional"]),
            ("poisson", "poisson", of.poisson, "Poisson", alone["poisson"]),
            ("any", "any", of.any, "share with any", RUN),
        ]
        for name, of_task, effect, quantity, command in rows:
            source = source_of(EXHIBIT, quantity, by_name[of_task], setting.panel, command)
            values = {"estimate": effect.estimate, "std_error": effect.std_error}
            scale = by_name[of_task].question.scale
            yield from addressed(address(EXHIBIT, outcome, name), values, source, scale)
        source = source_of(EXHIBIT, "among the treated before", by_name["any"], setting.panel, RUN)
        yield from addressed(address(EXHIBIT, outcome), {"zeros": 100 * of.zeros}, source, columns=ZEROS)


def _sentences(setting: Setting, by_outcome: Mapping[str, Answers]) -> tuple[str, ...]:
    sentences, percent = [], Scale("proportional")
    for outcome, of in by_outcome.items():
        fine, coarse = of.log["tenth"].estimate, of.log["hundred"].estimate
        poisson = (
            f" and a Poisson regression gives {percent.number(of.poisson.estimate)} percent."
            if of.poisson.exists
            else "; Poisson refuses."
        )
        sentences.append(
            f"{setting.plan.outcomes[outcome]}: the effect on log(1 + y) goes from {coarse:.3f} with y in hundreds to "
            f"{fine:.3f} with y in tenths, while the proportional effect stays at "
            f"{percent.number(of.proportional['one'].estimate)} percent{poisson}"
        )
    return tuple(sentences)
