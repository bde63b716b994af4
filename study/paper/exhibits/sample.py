"""Who is in the sample, by rule and by year, with the coverage of affiliations."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import pandas as pd

from study.panel import FlowStep
from study.paper.exhibits.exhibit import Part, Piece, Setting, exhibit
from study.paper.plan import Event
from study.report import Cell, Column, Line, Number, Table, lettered

EXHIBIT = "sample"
TREATED_IN = "first treated in "
COLUMNS = {
    "first": Column("in the first year", "number", 0),
    "last": Column("in the last year", "number", 0),
    "lowest": Column("lowest of all years", "number", 0),
    "highest": Column("highest of all years", "number", 0),
}
LARGEST = 10
OF_OUTCOME = {
    "never_treated": Column("never treated", "count"),
    "without_papers": Column("of them, those whose outcome is zero in every year", "count"),
    "ten_largest": Column(f"share of the treated ones' total that the {LARGEST} largest have", "percent"),
}
# Covariates of the panel: what they are, their heading, factor and digits.
COVERED = {
    "venue_papers": ("papers of the venue", "Papers of the venue", 1, 0),
    "coverage": ("share of papers whose record has an affiliation, percent", "Coverage, %", 100, 1),
}


@exhibit("Who is in the sample", Part.QUESTION)
def sample(setting: Setting) -> Iterator[Piece]:
    """Yield the table of the flow of units, and of who is first treated and what is covered, by year."""
    panel = setting.panel
    covered: dict[str, list[Cell]] = {}
    for name, (quantity, heading, factor, digits) in COVERED.items():
        if name in panel.covariates:
            by_year = factor * pd.DataFrame(panel.covariates[name], columns=panel.periods).max()
            covered[heading] = [Number(value, digits) for value in by_year]
            seen = by_year.dropna()
            years = (seen.index[0], seen.index[-1], seen.idxmin(), seen[::-1].idxmax())
            for which, year in zip(COLUMNS, years, strict=True):
                at, about = (EXHIBIT, name.removeprefix("venue_")), f"{quantity}, {year}"
                yield from setting.numbers(at, {which: seen[year]}, COLUMNS, quantity=about)
    yield _table(setting, covered)
    quantity = f"{setting.plan.text.units}, {setting.plan.outcomes[setting.outcome].lower()}"
    yield from setting.numbers(
        (EXHIBIT, "outcome"), of_outcome(setting, setting.event), OF_OUTCOME, quantity=quantity
    )


def of_outcome(setting: Setting, event: Event) -> dict[str, float]:
    """Return how many of an event's never-treated never have the first outcome, and how concentrated the treated are.

    The share is NaN where nobody is treated inside the window, or the treated have none of the outcome.
    """
    question = setting.plan.task(event, setting.outcome, setting.scale, setting.plan.headline).question
    sample = question.replace(scale="level").sample(setting.panel)
    if sample.first_treated is None:
        return {}
    total, never = np.nansum(sample.y, axis=1), np.isnan(sample.first_treated)
    treated = np.sort(total[sample.first_treated <= sample.periods[-1]])
    share = treated[-LARGEST:].sum() / treated.sum() if treated.sum() > 0 else np.nan
    return {"never_treated": never.sum(), "without_papers": (total[never] == 0).sum(), "ten_largest": share}


def _table(setting: Setting, covered: dict[str, list[Cell]]) -> Table:
    """Return who is in the sample and why, and by year who is first treated and how much is covered."""
    plan, panel = setting.plan, setting.panel
    units, blank = plan.text.units.capitalize(), [""] * len(covered)
    flows = [setting.answers(event, setting.scale)[0].flow for event in plan.events]
    sampled = [[step for step in flow if step.kept] for flow in flows]
    dropped = [[step for step in flow if not step.kept] for flow in flows]
    treated = [[step for step in flow if step.reason.startswith(TREATED_IN)] for flow in sampled]
    others = [reason for reason in _reasons(sampled) if not reason.startswith(TREATED_IN)]
    step = panel.period_unit
    by_rule: dict[str, list[Cell]] = {
        f"{units} in the panel": [Number(panel.n_units, 0)] * len(flows),
        **{f"Dropped: {reason}": _counts(flows, reason) for reason in _reasons(dropped)},
        "In the sample": _counts(sampled),
        f"of which first treated in {panel.window(panel.periods[1:])}": _counts(treated),
        **{f"of which {reason}": _counts(flows, reason) for reason in others},
    }
    outcomes, counted, shares = [of_outcome(setting, event) for event in plan.events], plan.text.counted, {}
    if all(outcomes):
        without, largest = (
            [OF_OUTCOME[name].cell(values[name]) for values in outcomes]
            for name in ("without_papers", "ten_largest")
        )
        by_rule[f"of these, without {counted} in any {step}"] = without
        shares[f"That the {LARGEST} largest of them have"] = largest
    by_year = [
        Line(name, [*_counts(flows, f"{TREATED_IN}{name}"), *(cells[t] for cells in covered.values())])
        for t, name in enumerate(map(panel.period_name, panel.periods))
    ]
    also = "; the venue's papers and the share with an affiliation" if covered else ""
    panels = {f"{units}, by rule": by_rule}
    panels |= {f"Share of all {counted} of the treated, %": shares} if shares else {}
    lines = {
        title: [Line(label, [*cells, *blank]) for label, cells in own.items()]
        for title, own in panels.items()
    }
    lines[f"{units} first treated{also}, by {step}"] = by_year
    return Table(
        name=EXHIBIT,
        caption=f"The sample: {plan.text.units} by treatment, and coverage by {step}",
        headings=[*(event.short for event in plan.events), *covered],
        blocks=lettered(lines),
        notes=list(plan.text.sample_notes),
    )


def _reasons(flows: Sequence[Sequence[FlowStep]]) -> list[str]:
    return list(dict.fromkeys(step.reason for flow in flows for step in flow))


def _counts(flows: Sequence[Sequence[FlowStep]], reason: str = "") -> list[Cell]:
    """Return the units of each flow, of one reason where it is given."""
    return [Number(sum(step.units for step in flow if reason in ("", step.reason)), 0) for flow in flows]
