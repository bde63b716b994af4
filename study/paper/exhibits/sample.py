"""Who is in the sample, by rule and by year, with the coverage of affiliations."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pandas as pd

from study.paper import Event, Part, Piece, Setting, exhibit
from study.report import Cell, Column, Line, Number, Table, lettered

TREATED_IN, TREATED = "first treated in ", "treated in some period"
COLUMNS = {
    "first": Column("in the first year", "number", 0),
    "last": Column("in the last year", "number", 0),
    "lowest": Column("lowest of all years", "number", 0),
    "highest": Column("highest of all years", "number", 0),
}
LARGEST = 10
OF_OUTCOME = {
    "never_treated": Column("never treated", "count"),
    "without_papers": Column("of them, those whose outcome is zero in every {}", "count"),
    "ten_largest": Column(f"share of the treated ones' total that the {LARGEST} largest have", "percent"),
}
# Covariates of panels that ship: what they are, their heading, factor and digits.
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
        if setting.ships and name in panel.covariates:
            by_year = factor * pd.DataFrame(panel.covariates[name], columns=panel.periods).max()
            covered[heading] = [Number(value, digits) for value in by_year]
            seen = by_year.dropna()
            years = (seen.index[0], seen.index[-1], seen.idxmin(), seen[::-1].idxmax())
            for which, year in zip(COLUMNS, years, strict=True):
                at, about = name.removeprefix("venue_"), f"{quantity}, {year}"
                yield from setting.numbers(at, {which: seen[year]}, COLUMNS, quantity=about)
    yield _table(setting, covered)
    values, text = of_outcome(setting, setting.event), setting.plan.text
    quantity = f"{text.units}, {setting.outcome_in_words}"
    yield from setting.numbers("outcome", values, OF_OUTCOME, quantity=quantity)


def of_outcome(setting: Setting, event: Event) -> dict[str, float]:
    """Return how many of an event's never-treated never have the first outcome, and how concentrated the treated are.

    The share is NaN where nobody is treated inside the window, the treated have none of the outcome, or one of them has
    a negative total.
    """
    sample = setting.task(event=event).question.replace(scale="level").sample(setting.panel)
    if sample.first_treated is None:
        return {}
    total, never = np.nansum(sample.y, axis=1), np.isnan(sample.first_treated)
    treated = np.sort(total[sample.first_treated <= sample.periods[-1]])
    is_share = treated.sum() > 0 and treated[0] >= 0
    share = treated[-LARGEST:].sum() / treated.sum() if is_share else np.nan
    without = ~np.nan_to_num(sample.y[never]).any(axis=1)
    return {"never_treated": never.sum(), "without_papers": without.sum(), "ten_largest": share}


def _table(setting: Setting, covered: dict[str, list[Cell]]) -> Table:
    """Return who is in the sample and why, and by year who is first treated and how much is covered."""
    plan, panel = setting.plan, setting.panel
    units, blank = plan.text.units.capitalize(), [""] * len(covered)
    flows = [setting.answers(event, setting.scale)[0].flow for event in plan.events]
    kept = dict.fromkeys(step.reason for flow in flows for step in flow if step.kept)
    dropped = dict.fromkeys(step.reason for flow in flows for step in flow if not step.kept)
    treated = [reason for reason in kept if reason.startswith(TREATED_IN)]
    # Of an event that goes back to 0 nobody has a date, which is not that nobody is treated.
    dated = [any(step.reason in treated for step in flow) for flow in flows]

    def of(*reasons: str, has_dates: bool | None = None) -> list[Cell]:
        """Return the units of each event, or of those with dates or without, that have one of some reasons."""
        counts = (sum(step.units for step in flow if step.reason in reasons) for flow in flows)
        shown = zip(counts, dated, strict=True)
        return [Number(count, 0) if has_dates in (None, has) else "" for count, has in shown]

    step, counted = panel.period_unit, plan.text.counted
    by_rule: dict[str, list[Cell]] = {
        f"{units} in the panel": [Number(panel.n_units, 0)] * len(flows),
        **{f"Dropped: {reason}": of(reason) for reason in dropped},
        "In the sample": of(*kept),
    }
    if treated:
        first = f"of which first treated in {panel.window(panel.periods[1:])}"
        by_rule[first] = of(*treated, has_dates=True)
    for reason in kept:
        if reason not in treated:
            by_rule[f"of which {reason}"] = of(reason, has_dates=False if reason == TREATED else None)
    panels = {f"{units}, by rule": by_rule}
    outcomes = [of_outcome(setting, event) for event in plan.events]
    if all(outcomes):
        cells = {name: [column.cell(o[name]) for o in outcomes] for name, column in OF_OUTCOME.items()}
        by_rule[f"of these, without {counted} in any {step}"] = cells["without_papers"]
        largest = {f"That the {LARGEST} largest of them have": cells["ten_largest"]}
        panels[f"Share of all {counted} of the treated, %"] = largest
    lines = {
        title: [Line(label, [*cells, *blank]) for label, cells in own.items()]
        for title, own in panels.items()
    }
    by_step = "coverage" if covered else "first treatment"
    also = "; the venue's papers and the share with an affiliation" if covered else ""
    by_period = [
        Line(name, [*of(f"{TREATED_IN}{name}", has_dates=True), *(cells[t] for cells in covered.values())])
        for t, name in enumerate(map(panel.period_name, panel.periods))
    ]
    if treated or covered:
        lines[f"{units} first treated{also}, by {step}"] = by_period
    return Table(
        name="sample",
        caption=f"The sample: {plan.text.units} by treatment, and {by_step} by {step}",
        headings=[*(event.short for event in plan.events), *covered],
        blocks=lettered(lines),
        notes=list(plan.text.sample_notes),
    )
