"""Proportional effects beside effects on log(1 + y), whose size depends on the unit in which y is counted."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import replace

import numpy as np

from study.estimates import Effect
from study.panel import Panel, Scale
from study.paper import RUN, Part, Piece, Row, Setting, Task, estimate_command, exhibit, headline_effect
from study.report import A_DASH, Column, Line, Number, Table, effects_between, lettered

# A count y in units of u is y / u. The smaller the unit, the more an effect on whether there is any y at all weighs in
# log(1 + y / u) (Chen and Roth 2024).
UNITS = {"tenth": 0.1, "one": 1.0, "ten": 10.0, "hundred": 100.0}
POISSON = Row("poisson_twfe", "Poisson, two-way effects", {"terms": "event_time"}, {"covariates": []})
ZEROS = {"zeros": Column("share of zeros in percent", "number", 0)}
# By outcome and row.
Effects = Mapping[str, Mapping[str, Effect]]


@exhibit("Proportional effects beside log(1 + y)", Part.EFFECTS)
def scales(setting: Setting) -> Iterator[Piece]:
    """Yield the table of effects by unit of the outcome, for each outcome of the plan, and its numbers."""
    effects: dict[str, dict[str, Effect]] = {outcome: {} for outcome in setting.plan.outcomes}
    zeros: dict[str, float] = {}
    for outcome, of_outcome in effects.items():
        rows = questions(setting, outcome)
        has_any, *_ = rows["any"]
        zeros[outcome] = _zeros(has_any, setting.panel)
        for name, (task, panel, quantity) in rows.items():
            effect = of_outcome[name] = headline_effect(task, panel)
            command = estimate_command(task, panel) if panel is setting.panel else RUN
            values = {name: getattr(effect, name) for name in ("estimate", "std_error", "p_value")}
            at = (outcome, name)
            yield from setting.numbers(at, values, task=task, quantity=quantity, command=command)
        share, about = {"zeros": 100 * zeros[outcome]}, "among the treated before"
        yield from setting.numbers(outcome, share, ZEROS, has_any, quantity=about)
    yield _table(setting, effects, zeros)
    yield from _sentences(setting, effects)
    yield from sorted({effect.note for of in effects.values() for effect in of.values() if effect.note})


def questions(setting: Setting, outcome: str) -> dict[str, tuple[Task, Panel, str]]:
    """Return what is asked about an outcome: in several units, in proportion, by Poisson, and whether there is any.

    By name the task, the panel that it is asked of, and what it is about.
    """
    panel, log = setting.panel, setting.task("log1p", outcome)
    has_any = replace(log, question=log.question.replace(scale="level"))
    y = panel.outcomes[outcome]
    any_y = replace(panel, outcomes={**panel.outcomes, outcome: np.where(np.isnan(y), np.nan, y > 0)})
    logs = {
        f"log_{name}": (log, in_units(panel, outcome, unit), f"y in units of {unit:g}")
        for name, unit in UNITS.items()
    }
    return logs | {
        "proportional": (setting.task("proportional", outcome), panel, ""),
        "poisson": (setting.task("proportional", outcome, row=POISSON), panel, "Poisson"),
        "any": (has_any, any_y, "share with any"),
    }


def in_units(panel: Panel, outcome: str, unit: float) -> Panel:
    """Return the panel with an outcome counted in units of so many; the panel itself where these are one."""
    if unit == 1:
        return panel
    return replace(panel, outcomes={**panel.outcomes, outcome: panel.outcomes[outcome] / unit})


def _zeros(task: Task, panel: Panel) -> float:
    """Return the share of zeros among the treated units' cells before treatment."""
    sample = task.question.sample(panel)
    before = sample.observed & sample.ever_treated[:, None] & (sample.treatment == 0)
    return float((sample.y[before] == 0).mean()) if before.any() else math.nan


def _table(setting: Setting, effects: Effects, zeros: Mapping[str, float]) -> Table:
    """Return effects on log(1 + y) by unit, and in proportion, with outcomes as columns."""
    plan = setting.plan

    def lines(labels: Mapping[str, str], scale: Scale | None = None) -> list[Line]:
        every = {
            label: [of_outcome[name] for of_outcome in effects.values()] for name, label in labels.items()
        }
        return [line for label, own in every.items() for line in effects_between(label, own, scale=scale)]

    by_unit = {f"log_{name}": f"Counted in {name}s (u = {unit:g})" for name, unit in UNITS.items()}
    in_percent = {"proportional": plan.headline.label, "poisson": POISSON.label}
    of_any, percent = lines({"any": "Effect on the share with any"}), Scale("proportional")
    shares = Line("Zeros among the treated before, %", [Number(100 * share, 0) for share in zeros.values()])
    blocks = {
        "Effect on log(1 + y/u)": lines(by_unit),
        f"Effect, {percent.column}, in any unit of y": lines(in_percent, percent),
        "Why the unit matters": [*of_any, shares],
    }
    dash = not all(effect.exists for of_outcome in effects.values() for effect in of_outcome.values())
    return Table(
        name="scales",
        caption=f"Proportional effects beside log(1 + y), by unit of y: {setting.event.title}",
        headings=list(plan.outcomes.values()),
        blocks=lettered(blocks),
        notes=[
            f"y: {plan.text.outcomes_with_units}. Average over {setting.averaged(setting.event)}; standard errors in "
            f"parentheses, clustered by {setting.clusters}.",
            f"{plan.headline.label}; Poisson has no covariates and assumes parallel trends in proportion.",
            "Panel A is no percentage: as units get finer, each tenfold step comes to move it by log 10 times the "
            "effect on having any (Chen and Roth 2024).",
            *[A_DASH] * dash,
        ],
    )


def _sentences(setting: Setting, effects: Effects) -> Iterator[str]:
    percent, log = Scale("proportional"), Scale("log1p")
    for outcome, of_outcome in effects.items():
        if not all(of_outcome[name].exists for name in ("log_hundred", "log_tenth", "proportional")):
            continue  # the refusals say why
        estimate = percent.number(of_outcome["poisson"].estimate)
        gives = f"A Poisson regression gives {estimate} percent."
        poisson = gives if of_outcome["poisson"].exists else "Poisson refuses."
        coarse, fine = (log.number(of_outcome[name].estimate) for name in ("log_hundred", "log_tenth"))
        yield (
            f"{setting.plan.outcomes[outcome]}: the effect on log(1 + y) goes from {coarse} with y in hundreds to "
            f"{fine} with y in tenths. The proportional effect stays at "
            f"{percent.number(of_outcome['proportional'].estimate)} percent. {poisson}"
        )
