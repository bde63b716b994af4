"""Effects by event time under several designs, with each design's test of the effects before the event."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Iterator, Mapping
from dataclasses import replace
from itertools import product

import pandas as pd

from study import figures
from study.estimates import NONE, Effect, pre_test
from study.panel import Scale
from study.paper import Part, Piece, Plan, Result, Row, Setting, answer, draw, estimate_command, exhibit
from study.paper.exhibits.composition import counts
from study.paper.exhibits.exhibit import refusals
from study.report import A_DASH, COLUMNS, LETTERS, REFUSED, Cell, Column, Line, Table, cells, lettered

LINE = 22

# Besides the plan's designs that have effects by event time, those that the literature sets beside them. Their windows
# are the designs' defaults: three periods before the event in a stack, which keeps the cohorts of the middle years.
# Local projections with equal weights are callaway_santanna without covariates, and etwfe against the never-treated is
# sun_abraham: they would be drawn twice.
OTHERS = (Row("imputation", "Imputation"), Row("sun_abraham", "Sun-Abraham"), Row("stacked", "Stacked"))
ONE_PERIOD = "the last period before the event, for effects before and after it"
# What effects are compared with, by what the estimate says of it, and by design where there is more to say.
BASES = {
    "base": ONE_PERIOD,
    "all_before": "all periods before the event for effects after it, and other ones for those before it",
    "imputation": "all periods before the event for effects after it, the last of them for those before it",
    "etwfe": "all periods before the event for effects after it; none before it unless compared with the never-treated",
}
TWO_BASES = (
    "effects before and after the event have different bases, so that sizes cannot be compared (Roth 2024)."
)
OF_LEADS = COLUMNS | {
    "window_p_wald": Column("p-value of the Wald test of the effects before the event that are drawn", "p"),
    "window_p_largest": Column(
        "p-value of the largest absolute t of the effects before the event that are drawn", "p"
    ),
    "event_time": Column("event time", "number", 0),
    "average": Column("average after the event", "effect"),
    "average_std_error": Column("standard error of the average after the event", "error"),
    "differing": Column("single event times before the event whose effect differs from zero, of all", "text"),
    "tested": Column("designs and scales with a joint test of effects before the event", "count"),
    "rejecting_wald": Column("of them, those whose Wald test rejects", "count"),
    "rejecting_largest": Column("of them, those whose largest absolute t rejects", "count"),
}
TESTS = ("leads_p_wald", "leads_rank", "leads_p_largest", "differing", "window_p_wald", "window_p_largest")
HEADINGS = ("Largest t", "Wald", "5%", "Largest t", "Wald", "Size", "At", "Average", "(SE)")
LARGEST = ("estimate", "event_time", "band_low", "band_high")
RANKS = ("leads_rank", "window_rank")
# By scale and the label of a row.
Answers = Mapping[tuple[str, str], Result]


@exhibit("Event studies of several designs", Part.EFFECTS)
def event_studies(setting: Setting) -> Iterator[Piece]:
    """Yield the figures of paths by design and scale, the headline's of fixed composition, and the table of leads."""
    plan = setting.plan
    rows = product(plan.scales, shown_rows(plan))
    answers = {(scale, row.label): _answer(setting, scale, row) for scale, row in rows}
    drawn = {key: result for key, result in answers.items() if result.path}
    refused = refusals(result for key, result in answers.items() if key not in drawn)
    if not drawn:
        return
    leads = pd.DataFrame.from_dict({key: leads_of(setting, r) for key, r in drawn.items()}, orient="index")
    bases = {label: _base(result) for (_, label), result in drawn.items()}
    labels = {base: [label for label, own in bases.items() if own == base] for base in bases.values()}
    against = "; ".join(f"{base} ({', '.join(own)})" for base, own in labels.items())
    yield _table(setting, answers, leads, refused)
    yield draw(
        "event_studies",
        f"Effects of {setting.event.called} by event time under several designs. {setting.about}. Effects are "
        f"against: {against}. Lines are pointwise intervals at {100 * plan.level:g}%, bars simultaneous bands over all "
        "event times of a design. Effects outside the window of the figure are in the bands.",
        figure(setting, drawn),
        f"Small multiples of effects by event time from {plan.window[0]} to {plan.window[1]} "
        f"{setting.panel.period_unit}s since the event, one for each design, in a block for each scale with and "
        "without covariates, with simultaneous bands.",
    )
    yield from _fixed_composition(setting)
    yield from _numbers(setting, drawn, leads)
    yield from _sentences(setting, leads)
    yield from refused


def shown_rows(plan: Plan) -> list[Row]:
    """Return the plan's designs that have effects by event time, and the others that it does not list."""
    ours = [row for row in plan.rows if row.design.estimand.has_path]
    return ours + [row for row in OTHERS if row.name not in {own.name for own in ours}]


def _answer(setting: Setting, scale: str, row: Row) -> Result:
    """Return the plan's answer where it has one, or find it."""
    task = setting.task(scale, row=row)
    known = setting.results.get(task.key) if row in setting.plan.rows else None
    return answer(replace(task, permutations=0), setting.panel) if known is None else known


def leads_of(setting: Setting, result: Result) -> dict[str, float]:
    """Return, as the table's columns, the tests of effects before the event, the largest drawn, and the average.

    Without a test of those that are drawn, if these are not all, for a design that draws folds.
    """
    first, task, every = setting.plan.window[0], result.task, result.pre_test
    before = [t for t in result.path if t.event_time < 0 and not math.isnan(t.std_error)]
    near = [t for t in before if t.event_time >= first]
    largest = max(near, key=lambda t: abs(t.estimate), default=Effect(""))
    window = every if len(near) == len(before) else NONE
    if len(near) < len(before) and not task.row.design.draws:
        path = setting.fit(task).aggregate("event")
        window = pre_test(path, since=first, draws=task.band_draws, seed=task.seed)
    average = result.headline or Effect("")
    return {
        "leads_p_largest": every.p_largest,
        "leads_p_wald": every.p_value,
        "differing": f"{sum(t.excludes_zero for t in before)} of {len(before)}",
        "window_p_largest": window.p_largest,
        "window_p_wald": window.p_value,
        **{name: getattr(largest, name) for name in LARGEST},
        "average": average.estimate,
        "average_std_error": average.std_error,
        "leads_rank": every.rank,
        "window_rank": window.rank,
    }


def _apart(answers: Answers) -> list[str]:
    """Return the labels of paths whose effects before and after the event are against different bases."""
    bases = {label: _base(result) for (_, label), result in answers.items() if result.path}
    return [label for label, base in bases.items() if base != ONE_PERIOD]


def _base(result: Result) -> str:
    """Return what a path's effects are against."""
    return BASES.get(result.task.row.name, BASES[result.against])


def figure(setting: Setting, answers: Answers) -> figures.Figure:
    """Draw the paths of all designs, a block of small multiples for each scale, designs with covariates apart."""
    plan, grids = setting.plan, list[figures.Grid]()
    given = {key: bool(result.task.question.covariates) for key, result in answers.items()}
    for (scale, title), with_covariates in product(plan.scales.items(), (True, False)):
        paths = {
            textwrap.fill(label, LINE): figures.shown(pd.DataFrame(result.path), plan.window)
            for (own, label), result in answers.items()
            if own == scale and given[own, label] == with_covariates
        }
        if paths:
            how = f", {'with' if with_covariates else 'without'} covariates" * (len({*given.values()}) > 1)
            heading = f"{LETTERS[len(grids)]}. {title}{how}"
            grids.append(figures.Grid(heading, paths, Scale(scale, plan.text.counted)))
    apart = {textwrap.fill(label, LINE) for label in _apart(answers)}
    period = setting.panel.period_unit
    return figures.event_study_grids(grids, window=plan.window, unit=period, apart=apart)


def _fixed_composition(setting: Setting) -> Iterator[Piece]:
    """Yield the headline's paths of all cohorts and of the plan's row of fixed composition, where it has one."""
    plan = setting.plan
    of_design = (row for row in plan.rows if row.name == plan.headline.name and "balance" in row.question)
    fixed = next(of_design, None)
    if fixed is None:
        return
    rows, grids, treated = {"All cohorts": plan.headline, "Fixed composition": fixed}, [], {}
    for scale, title in plan.scales.items():
        answers = {label: setting.answers(setting.event, scale, row.label)[0] for label, row in rows.items()}
        if not all(result.path for result in answers.values()):
            return
        paths = {label: figures.shown(pd.DataFrame(r.path), plan.window) for label, r in answers.items()}
        grids.append(figures.Grid(title, paths, Scale(scale, plan.text.counted)))
    for label, result in answers.items():
        treated[label] = counts(setting.fit(result.task).by_event_time, plan.window)
    yield draw(
        "fixed_composition",
        f"Effects of {setting.event.called} by event time: all cohorts, and those seen at each event time from 0 to "
        f"{fixed.question['balance']}. {setting.about}. Numbers: treated {plan.text.units}. Lines are pointwise "
        f"intervals at {100 * plan.level:g}%, grey bars simultaneous bands; the axes are for the intervals of event "
        "times 0 to the last of these, and arrows mark what goes on. Open markers: the reference.",
        figures.event_study_with_counts(
            grids,
            treated,
            window=plan.window,
            within=(0, fixed.question["balance"]),
            unit=setting.panel.period_unit,
            counted=f"treated {plan.text.units}",
        ),
        f"Two paths by event time in one panel for each scale, above the numbers of treated {plan.text.units}.",
    )


def _table(setting: Setting, answers: Answers, leads: pd.DataFrame, refused: list[str]) -> Table:
    plan, apart, shown = setting.plan, _apart(answers), leads.drop(columns=[*LARGEST[2:], *RANKS])
    lines: dict[str, list[Line]] = {title: [] for title in plan.scales.values()}
    for scale, label in answers:
        line: list[Cell] = [REFUSED, *[""] * (len(HEADINGS) - 1)]
        if (scale, label) in shown.index:
            line = cells(OF_LEADS, shown.loc[scale, label].to_dict(), Scale(scale))
        lines[plan.scales[scale]].append(Line(label, line))
    terms = (term for result in answers.values() for term in result.path)
    untested = any(t.event_time < 0 and t.estimate and math.isnan(t.std_error) for t in terms)
    return Table(
        name="event-studies",
        caption=f"Effects before {setting.event.called}, by design: {setting.outcome_in_words}",
        headings=HEADINGS,
        spans=[("All before", 3), ("Window", 2), ("Largest", 2), ("After it", 2)],
        blocks=lettered(lines),
        notes=[
            "Largest t, Wald: p-values that all effects before the event are zero, over all event times and over those "
            f"from {plan.window[0]} on (window); proportional effects are tested in levels. "
            f"{100 * (1 - plan.level):g}%: event times that differ from zero on the scale shown. Largest: of the "
            f"window. Standard errors in parentheses, clustered by {setting.clusters}.",
            *(["Effects without a standard error are in none of the tests."] if untested else []),
            *([f"{', '.join(apart)}: {TWO_BASES}"] if apart else []),
            *[A_DASH] * bool(refused),
        ],
        prose=(0,),
    )


def _numbers(setting: Setting, answers: Answers, leads: pd.DataFrame) -> Iterator[Piece]:
    for at, result in answers.items():
        task, row, about = result.task, leads.loc[at], "largest effect before the event in the window"
        yield from setting.numbers(at, row[[*TESTS]], OF_LEADS, task)
        path, where = estimate_command(task, setting.panel, path=True), (*at, "largest")
        yield from setting.numbers(where, row[[*LARGEST[:2]]], OF_LEADS, task, quantity=about, command=path)
        yield from setting.numbers(where, row[[*LARGEST[2:]]], OF_LEADS, task, quantity=about)
    # How many of the joint tests of all effects before the event reject.
    size, tested = 1 - setting.plan.level, leads[leads["leads_rank"] > 0]
    counts = {
        "tested": len(tested),
        "rejecting_wald": (tested["leads_p_wald"] < size).sum(),
        "rejecting_largest": (tested["leads_p_largest"] < size).sum(),
    }
    yield from setting.numbers(
        "summary",
        counts,
        OF_LEADS,
        quantity=f"tests at {100 * size:g}%",
        question=f"event={setting.event.name}, outcome={setting.outcome}, scales {' and '.join(setting.plan.scales)}",
        design="; ".join(tested.index.unique(1)),
        seed=str(setting.plan.seed),
    )


def _sentences(setting: Setting, leads: pd.DataFrame) -> Iterator[str]:
    size, every = 1 - setting.plan.level, leads[leads["leads_rank"] > 0].rename_axis(["scale", "label"])
    for scale, of_scale in every.groupby(level="scale", sort=False):
        title, tested = setting.plan.scales[scale], of_scale.droplevel("scale")
        rejecting, inside = (tested.index[tested[p] < size] for p in ("leads_p_largest", "window_p_largest"))
        named, named_inside = (f" ({', '.join(own)})" if len(own) else "" for own in (rejecting, inside))
        by_wald, tests = (tested["leads_p_wald"] < size).sum(), (tested["window_rank"] > 0).sum()
        yield (
            f"{title}: the largest t rejects at {100 * size:g}% that all effects before the event are zero in "
            f"{len(rejecting)} of {len(tested)} designs{named}. Wald's test rejects in {by_wald}. Of the effects from "
            f"{setting.plan.window[0]} on the largest t rejects in {len(inside)} of {tests}{named_inside}."
        )
    if len(every):
        yield "A test that does not reject does not show that trends were parallel: its power is in the verdicts."
