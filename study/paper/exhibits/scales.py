"""Proportional effects beside effects on log(1 + y), whose size depends on the unit in which y is counted."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from study.core import QuestionError
from study.designs import find_design
from study.estimates import Estimate
from study.panel import Panel, Scale
from study.paper.exhibits.exhibit import RUN, Exhibited, Setting, Traced, estimate_command, source_of
from study.paper.notes import window_of
from study.paper.plan import Row, Task
from study.report import REFUSED, Block, Line, Number, Table, error, macro_name

EXHIBIT = "scales"
# A count y in units of u is y / u. The smaller the unit, the more an effect on whether there is any y at all weighs in
# log(1 + y / u) (Chen and Roth 2024).
UNITS = {"Tenth": 0.1, "One": 1.0, "Ten": 10.0, "Hundred": 100.0}
POISSON = Row("poisson_twfe", "Poisson, two-way effects", {"terms": "event_time"}, {"covariates": []})


@dataclass(frozen=True)
class Answered:
    """One estimate of the table, or why there is none.

    ``estimate`` and ``std_error`` are NaN where the design refuses, and ``why`` says why.
    """

    task: Task
    estimate: float
    std_error: float
    why: str = ""


@dataclass(frozen=True)
class Answers:
    """What an outcome's column has: log1p by unit, proportional by unit, Poisson, and the effect on having any."""

    log: dict[str, Answered]
    proportional: dict[str, Answered]
    poisson: Answered
    any: Answered
    zeros: float

    @property
    def moves(self) -> float:
        """How far the proportional effect moves with the unit, at most; zero up to rounding."""
        found = [a.estimate for a in self.proportional.values()]
        return max(found) - min(found)


def scales(setting: Setting) -> Exhibited:
    """Return the table of effects by unit of the outcome, for each outcome of the plan."""
    found = {outcome: answers(setting, outcome) for outcome in setting.plan.outcomes}
    return Exhibited(
        tables=(table(setting, found),),
        numbers=tuple(_numbers(setting, found)),
        sentences=_sentences(setting, found),
    )


def answers(setting: Setting, outcome: str) -> Answers:
    """Ask the headline about an outcome counted in several units, and Poisson about it as it is."""
    plan, panel = setting.plan, setting.panel
    counted = {name: in_units(panel, outcome, unit) for name, unit in UNITS.items()}
    event, row = plan.events[0], plan.headline
    log = plan.task(event, outcome, "log1p", row)
    proportional = plan.task(event, outcome, "proportional", row)
    has_any = replace(log, question=log.question.replace(scale="level"))
    any_panel = replace(panel, outcomes={**panel.outcomes, outcome: _any(panel.outcomes[outcome])})
    return Answers(
        log={name: _answer(log, of) for name, of in counted.items()},
        proportional={name: _answer(proportional, of) for name, of in counted.items()},
        poisson=_answer(plan.task(event, outcome, "proportional", POISSON), panel),
        any=_answer(has_any, any_panel),
        zeros=_zeros(log, panel),
    )


def in_units(panel: Panel, outcome: str, unit: float) -> Panel:
    """Return the panel with an outcome counted in units of so many."""
    return replace(panel, outcomes={**panel.outcomes, outcome: panel.outcomes[outcome] / unit})


def _any(y: np.ndarray) -> np.ndarray:
    return np.where(np.isnan(y), np.nan, (y > 0).astype(float))


def _answer(task: Task, panel: Panel) -> Answered:
    design = find_design(task.row.name)
    try:
        fit: Estimate = design(task.question.sample(panel), **task.options).headline
    except QuestionError as refusal:
        return Answered(task, math.nan, math.nan, str(refusal))
    return Answered(task, float(fit.effect[0]), float(fit.std_error[0]))


def _zeros(task: Task, panel: Panel) -> float:
    """Return the share of zeros among the treated units' cells before treatment."""
    sample = task.question.replace(scale="level").sample(panel)
    ever = (sample.treatment == 1).any(axis=1)[:, None]
    before = sample.observed & ever & (sample.treatment == 0)
    return float((sample.y[before] == 0).mean()) if before.any() else math.nan


def table(setting: Setting, found: dict[str, Answers]) -> Table:
    """Return effects on log(1 + y) by unit, and in proportion, with outcomes as columns."""
    plan = setting.plan
    unit = plan.text.outcomes_with_units
    counted = {"Tenth": "tenths", "One": "ones", "Ten": "tens", "Hundred": "hundreds"}
    logs = [
        line
        for name, words in counted.items()
        for line in _two_lines(f"Counted in {words}", [a.log[name] for a in found.values()])
    ]
    shares = [
        *_two_lines(f"{plan.headline.label}, in any unit", [a.proportional["One"] for a in found.values()]),
        *_two_lines(POISSON.label, [a.poisson for a in found.values()]),
    ]
    why = [
        *_two_lines("Effect on having any", [a.any for a in found.values()]),
        Line("Zeros among the treated before, share", [Number(a.zeros, 2) for a in found.values()]),
    ]
    refused = sorted(
        {a.why for of in found.values() for a in (*of.log.values(), of.poisson, of.any) if a.why}
    )
    first = next(iter(setting.results.values()))
    notes = [
        f"Event: {plan.events[0].title}. Outcome: {unit}. Average over {window_of(first)}. Standard errors in "
        f"parentheses, clustered by {plan.question.get('cluster') or plan.text.unit}.",
        f"Panel A: {plan.headline.label} on log(1 + y/u) for y counted in units of u = 0.1, 1, 10 and 100. Effects "
        "differ, since a step from zero to one weighs the more in the logarithm the smaller the unit is; they are no "
        "percentages.",
        "Panel B: the effect over the mean that the treated would have had without treatment, which has no unit; the "
        "two designs assume parallel trends in levels and in proportion, and Poisson compares without covariates, "
        "event time by event time, with equal weights.",
        f"Panel C: {plan.headline.label} on whether there is any y; as units get finer, each tenfold step comes to "
        "move Panel A by 2.30 (log 10) times this effect (Chen and Roth 2024).",
    ]
    if refused:
        notes.append(f"{REFUSED} : refused. {' '.join(refused)}")
    return Table(
        name=EXHIBIT,
        caption=f"Proportional effects beside log(1 + y), by unit of y: {plan.events[0].title}",
        headings=list(plan.outcomes.values()),
        blocks=[
            Block("Panel A. Effect on log(1 + y), y counted in different units", logs),
            Block("Panel B. Effect as a share of the counterfactual mean", shares),
            Block("Panel C. Why the unit matters", why),
        ],
        notes=notes,
    )


def _two_lines(label: str, answered: list[Answered]) -> list[Line]:
    return [
        Line(label, [REFUSED if math.isnan(a.estimate) else Number(a.estimate) for a in answered]),
        Line("", ["" if math.isnan(a.estimate) else error(a.std_error) for a in answered]),
    ]


def _numbers(setting: Setting, found: dict[str, Answers]) -> Iterator[Traced]:
    for outcome, of in found.items():
        each = [
            *(
                (f"Log{name}", a, "log1p", f"effect on log(1 + y), y in units of {UNITS[name]:g}")
                for name, a in of.log.items()
            ),
            (
                "Proportional",
                of.proportional["One"],
                "proportional",
                "effect in percent of the counterfactual mean",
            ),
            (
                "Poisson",
                of.poisson,
                "proportional",
                "Poisson effect in percent of the counterfactual mean",
            ),
            ("Any", of.any, "level", "effect on the share with any"),
        ]
        for part, answered, scale, quantity in each:
            command = (
                estimate_command(answered.task, setting.panel)
                if part in ("LogOne", "Proportional", "Poisson")
                else RUN
            )
            for ending, value, what in (
                ("", answered.estimate, quantity),
                ("Error", answered.std_error, f"standard error of the {quantity}"),
            ):
                source = source_of(EXHIBIT, what, answered.task, setting.panel, command)
                yield Traced(
                    macro_name(EXHIBIT, outcome, f"{part}{ending}"), Scale(scale).number(value), source
                )
        source = source_of(
            EXHIBIT, "share of zeros among the treated before", of.any.task, setting.panel, RUN
        )
        zeros = "(none)" if math.isnan(of.zeros) else f"{100 * of.zeros:.0f}"
        yield Traced(
            macro_name(EXHIBIT, outcome, "zeros"),
            zeros,
            replace(source, quantity=f"{source.quantity}, percent"),
        )


def _sentences(setting: Setting, found: dict[str, Answers]) -> tuple[str, ...]:
    told = []
    for outcome, of in found.items():
        fine, coarse = of.log["Tenth"].estimate, of.log["Hundred"].estimate
        share, poisson = of.proportional["One"].estimate, of.poisson.estimate
        told.append(
            f"{setting.plan.outcomes[outcome]}: the effect on log(1 + y) goes from {coarse:.3f} with y in hundreds to "
            f"{fine:.3f} with y in tenths, while the proportional effect stays at "
            f"{Scale('proportional').number(share)} percent"
            + (
                "; Poisson refuses."
                if math.isnan(poisson)
                else f" and a Poisson regression gives {Scale('proportional').number(poisson)} percent."
            )
        )
    return tuple(told)
