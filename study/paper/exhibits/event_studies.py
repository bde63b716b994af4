"""Effects by event time under several designs, with each design's test of the effects before the event."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

import pandas as pd

from study.designs import find_design
from study.estimates import NONE, Effect, PreTest, pre_test
from study.figures import paths as figures
from study.panel import Scale
from study.paper.exhibits.exhibit import (
    RUN,
    Drawn,
    Exhibited,
    Part,
    Setting,
    Traced,
    address,
    addressed,
    cluster_of,
    draw,
    estimate_command,
    exhibit,
    source_of,
)
from study.paper.exhibits.verdicts import plan_task
from study.paper.plan import Plan, Row, Task
from study.paper.results import Result, answer
from study.report import (
    LETTERS,
    REFUSED,
    Block,
    Cell,
    Column,
    Line,
    Number,
    Span,
    Table,
    error,
    p_cell,
    refused_notes,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure

EXHIBIT = "event_studies"
LINE = 22

# Besides the plan's designs that have effects by event time, those that the literature sets beside them. Their windows
# are the designs' defaults: three periods before the event in a stack, which keeps the cohorts of the middle years.
# Local projections with equal weights are callaway_santanna without covariates, and etwfe against the never-treated is
# sun_abraham: they would be drawn twice.
OTHERS = (
    Row("imputation", "Imputation", {}, {}),
    Row("sun_abraham", "Sun-Abraham", {}, {}),
    Row("stacked", "Stacked", {}, {}),
)
ONE_PERIOD = "the last period before the event, for effects before and after it"
# What effects are compared with, by design; a test holds it to what the designs say of themselves.
BASES = {
    "callaway_santanna": ONE_PERIOD,
    "sun_abraham": ONE_PERIOD,
    "stacked": ONE_PERIOD,
    "lp_did": ONE_PERIOD,
    "event_study": ONE_PERIOD,
    "dml_stacked": ONE_PERIOD,
    "dml_did": ONE_PERIOD,
    "imputation": "all periods before the event for effects after it, the last of them for those before it",
    "etwfe": "all periods before the event for effects after it; none before it unless compared with the never-treated",
}
UNKNOWN_BASE = "as the design says"
COLUMNS = {
    "window_p_wald": Column("p-value of the Wald test of the effects before the event that are drawn", "p"),
    "window_p_largest": Column(
        "p-value of the largest absolute t of the effects before the event that are drawn", "p"
    ),
    "event_time": Column("event time", "number", 0),
    "tested": Column("designs and scales with a joint test of effects before the event", "count"),
    "rejecting_wald": Column("of them, those whose Wald test rejects", "count"),
    "rejecting_largest": Column("of them, those whose largest absolute t rejects", "count"),
}
# By scale and the label of a row.
Answers = Mapping[tuple[str, str], Result]


class Lead(NamedTuple):
    """The largest effect before the event, with the joint tests of all of them and of those that are drawn."""

    largest: Effect
    every: PreTest
    window: PreTest


@exhibit("Event studies of several designs", Part.EFFECTS)
def event_studies(setting: Setting) -> Exhibited:
    """Return the figure of paths by design and scale, and the table of their effects before the event."""
    answers = {
        (scale, row.label): _answer(setting, scale, row)
        for scale in setting.plan.scales
        for row in shown_rows(setting.plan)
    }
    drawn = {key: result for key, result in answers.items() if result.path}
    if not drawn:
        return Exhibited()
    leads = {key: _lead(setting, result) for key, result in drawn.items()}
    return Exhibited(
        tables=(_table(setting, answers, leads),),
        figures=(_drawn(setting, drawn),),
        numbers=tuple(_numbers(setting, drawn, leads)),
        sentences=(*_sentences(setting, leads), *_refusals(answers)),
    )


def shown_rows(plan: Plan) -> list[Row]:
    """Return the plan's designs that have effects by event time, and the others that it does not list."""
    ours = [row for row in plan.rows if find_design(row.name).estimand.has_path]
    return ours + [row for row in OTHERS if row.name not in {of.name for of in ours}]


def _answer(setting: Setting, scale: str, row: Row) -> Result:
    """Return the plan's answer where it has one, or find it."""
    task = plan_task(setting.plan, scale, row)
    known = setting.results.get(task.key) if row in setting.plan.rows else None
    return answer(replace(task, permutations=0), setting.panel) if known is None else known


def _lead(setting: Setting, result: Result) -> Lead:
    """Return the largest of a path's effects before the event that are drawn, and the tests of them."""
    first = setting.plan.window[0]
    before = [t for t in result.path if t.event_time < 0 and not math.isnan(t.std_error)]
    near = [t for t in before if t.event_time >= first]
    largest = max(near, key=lambda t: abs(t.estimate), default=Effect(""))
    window = result.pre_test if len(near) == len(before) else _window_test(setting, result.task)
    return Lead(largest, result.pre_test, window)


def _window_test(setting: Setting, task: Task) -> PreTest:
    """Test the effects before the event that are drawn; without an answer for a design that draws folds."""
    design = find_design(task.row.name)
    if design.draws:
        return NONE
    path = design(task.question.sample(setting.panel), **task.options).aggregate("event")
    return pre_test(path, since=setting.plan.window[0], draws=task.band_draws, seed=task.seed)


def _is_apart(result: Result) -> bool:
    """Say whether effects before and after the event are against different bases."""
    return BASES.get(result.task.row.name, ONE_PERIOD) != ONE_PERIOD


def _refusals(answers: Answers) -> list[str]:
    return sorted({note for result in answers.values() if not result.path for note in result.notes})


def _drawn(setting: Setting, answers: Answers) -> Drawn:
    plan = setting.plan
    bases: dict[str, dict[str, None]] = {}
    for (_, label), result in answers.items():
        bases.setdefault(BASES.get(result.task.row.name, UNKNOWN_BASE), {})[label] = None
    against = "; ".join(f"{base} ({', '.join(labels)})" for base, labels in bases.items())
    outcome = next(iter(plan.outcomes.values()))
    return draw(
        EXHIBIT,
        f"Effects of the {plan.events[0].title} by event time under several designs. Outcome: {plan.text.outcome}, "
        f"{outcome.lower()}. Effects are against: {against}. Bars are simultaneous bands at {plan.level:.0%} over all "
        "event times of a design, lines are pointwise intervals. Effects outside the window of the figure are in the "
        "bands.",
        figure(setting, answers),
        f"Small multiples of effects by event time from {plan.window[0]} to {plan.window[1]} years since the event, "
        "one for each design, in a block for each scale, with simultaneous bands.",
    )


def figure(setting: Setting, answers: Answers) -> Figure:
    """Draw the paths of all designs, a block of small multiples for each scale."""
    plan = setting.plan
    grids, apart = [], set()
    for letter, (scale, title) in zip(LETTERS, plan.scales.items(), strict=False):
        paths = {}
        for (of, label), result in answers.items():
            if of == scale:
                name = textwrap.fill(label, LINE)
                paths[name] = figures.shown(pd.DataFrame(result.path), plan.window)
                if _is_apart(result):
                    apart.add(name)
        if paths:
            grids.append(
                figures.Grid(
                    f"{letter}. {title}", paths, Scale(scale, "papers").short_axis(), Scale(scale).percent
                )
            )
    return figures.event_study_grids(grids, window=plan.window, apart=apart)


def _table(setting: Setting, answers: Answers, leads: Mapping[tuple[str, str], Lead]) -> Table:
    plan = setting.plan
    blocks = [
        Block(
            f"Panel {letter}. {title}",
            [
                Line(label, _cells(result, leads.get((of, label))))
                for (of, label), result in answers.items()
                if of == scale
            ],
        )
        for letter, (scale, title) in zip(LETTERS, plan.scales.items(), strict=False)
    ]
    other = dict.fromkeys(label for (_, label), r in answers.items() if r.path and _is_apart(r))
    notes = [
        f"Outcome: {plan.text.outcome}, {next(iter(plan.outcomes.values())).lower()}; event: {plan.events[0].title}. "
        f"Tests are of the hypothesis that all effects before the event are zero, over all event times and over those "
        f"from {plan.window[0]} on. Largest t: by the largest absolute t, against normal draws; Wald: by a Wald "
        "test. Both have the degrees of freedom that the clusters on both sides of the comparison leave.",
        f"The largest effect before the event is that of the largest size from {plan.window[0]} on, with its "
        f"simultaneous band at {plan.level:.0%}; the average is over event times 0 to the horizon.",
        "Proportional effects are shares of the counterfactual mean at the same event time, and are tested in "
        "levels.",
        f"Tests, bands and the average's standard error are clustered by {cluster_of(plan)}.",
    ]
    if other:
        notes.append(
            f"{', '.join(other)}: effects before and after the event are against different bases, so that their sizes "
            "cannot be compared with each other (Roth 2024)."
        )
    notes += refused_notes(_refusals(answers))
    return Table(
        name=EXHIBIT.replace("_", "-"),
        caption=f"Effects before the {plan.events[0].title}, by design",
        headings=[*["Largest t", "Wald"] * 2, "Size", "At", "Low", "High", "Average", "(s.e.)"],
        spans=[
            Span("p, all before", 2),
            Span("p, window", 2),
            Span("Largest before the event", 4),
            Span("After it", 2),
        ],
        blocks=blocks,
        notes=notes,
    )


def _cells(result: Result, lead: Lead | None) -> list[Cell]:
    if lead is None:
        return [REFUSED, *[""] * 9]
    largest, average = lead.largest, result.headline or Effect("")
    tests: list[Cell] = []
    for test in (lead.every, lead.window):
        tests += [p_cell(test.p_largest), p_cell(test.p_value)] if test.rank else ["", ""]
    return [
        *tests,
        Number(largest.estimate),
        Number(largest.event_time, 0),
        Number(largest.band_low),
        Number(largest.band_high),
        Number(average.estimate),
        error(average.std_error),
    ]


def _numbers(setting: Setting, answers: Answers, leads: Mapping[tuple[str, str], Lead]) -> Iterator[Traced]:
    for (scale, label), result in answers.items():
        lead, at = leads[scale, label], address(EXHIBIT, scale, label)
        tests = {
            "leads_p_wald": lead.every.p_value,
            "leads_rank": lead.every.rank,
            "leads_p_largest": lead.every.p_largest,
            "window_p_wald": lead.window.p_value,
            "window_p_largest": lead.window.p_largest,
        }
        alone = {"estimate": lead.largest.estimate, "event_time": lead.largest.event_time}
        band = {"band_low": lead.largest.band_low, "band_high": lead.largest.band_high}
        path = estimate_command(result.task, setting.panel, path=True)
        largest = "largest effect before the event in the window"
        for address_, values, quantity, command in (
            (at, tests, "", RUN),
            (f"{at}/largest", alone, largest, path),
            (f"{at}/largest", band, largest, RUN),
        ):
            source = source_of(EXHIBIT, quantity, result.task, setting.panel, command)
            yield from addressed(address_, values, source, scale, COLUMNS)
    yield from _summary(setting, next(iter(answers.values())).task, leads)


def _summary(setting: Setting, task: Task, leads: Mapping[tuple[str, str], Lead]) -> Iterator[Traced]:
    """Yield how many of the joint tests of all effects before the event reject."""
    tested = {label: lead.every for label, lead in leads.items() if lead.every.rank}
    size = 1 - setting.plan.level
    counts = {
        "tested": len(tested),
        "rejecting_wald": sum(test.p_value < size for test in tested.values()),
        "rejecting_largest": sum(test.p_largest < size for test in tested.values()),
    }
    source = replace(
        source_of(EXHIBIT, f"tests at {size:.0%}", task, setting.panel, RUN),
        question=f"event={task.event.name}, outcome={task.outcome}, scales {' and '.join(setting.plan.scales)}",
        design="; ".join(dict.fromkeys(label for _, label in tested)),
        options="",
    )
    yield from addressed(address(EXHIBIT, "summary"), counts, source, columns=COLUMNS)


def _sentences(setting: Setting, leads: Mapping[tuple[str, str], Lead]) -> Iterator[str]:
    size = 1 - setting.plan.level
    for scale in setting.plan.scales:
        tested = {label: lead for (of, label), lead in leads.items() if of == scale and lead.every.rank}
        rejecting = [label for label, lead in tested.items() if lead.every.p_largest < size]
        by_wald = sum(lead.every.p_value < size for lead in tested.values())
        inside = [label for label, lead in tested.items() if lead.window.p_largest < size]
        tests = sum(lead.window.rank > 0 for lead in tested.values())
        yield (
            f"On the scale {scale} the joint test of all effects before the event by the largest t rejects at "
            f"{size:.0%} in {len(rejecting)} of {len(tested)} designs{_named(rejecting)}, by Wald's test in {by_wald}, "
            f"and that of the effects from {setting.plan.window[0]} on by the largest t in {len(inside)} of "
            f"{tests}{_named(inside)}."
        )
    yield "A test that does not reject does not show that trends were parallel: its power is in the verdicts."


def _named(labels: list[str]) -> str:
    return f" ({', '.join(labels)})" if labels else ""
