"""Who is in the sample, by rule and by year, with the coverage of affiliations."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import numpy as np

from study.panel import FlowStep
from study.paper.exhibits.exhibit import (
    RUN,
    Exhibited,
    Part,
    Setting,
    Source,
    Traced,
    address,
    addressed,
    exhibit,
)
from study.report import Block, Cell, Column, Line, Number, Table

EXHIBIT = "sample"
TREATED_IN = "first treated in "
COLUMNS = {
    "first": Column("in the first year", "number", 0),
    "last": Column("in the last year", "number", 0),
    "lowest": Column("lowest of all years", "number", 0),
    "highest": Column("highest of all years", "number", 0),
}


@exhibit("Who is in the sample", Part.QUESTION)
def sample(setting: Setting) -> Exhibited:
    """Return the table of the flow of units, and of who is first treated and what is covered, by year."""
    return Exhibited(tables=(sample_table(setting),), numbers=tuple(_numbers(setting)))


def _numbers(setting: Setting) -> Iterator[Traced]:
    panel = setting.panel
    for name, column, factor, quantity in (
        ("papers", "venue_papers", 1, "papers of the venue"),
        ("coverage", "coverage", 100, "share of papers whose record has an affiliation, percent"),
    ):
        if column not in panel.covariates:
            continue
        by_year = [
            (factor * _largest(panel.covariates[column], t), year) for t, year in enumerate(panel.periods)
        ]
        seen = [(value, year) for value, year in by_year if not math.isnan(value)]
        shown = {"first": seen[0], "last": seen[-1], "lowest": min(seen), "highest": max(seen)}
        for which, (value, year) in shown.items():
            source = Source(EXHIBIT, f"{quantity}, {year}", panel.name, panel.checksum, RUN)
            yield from addressed(address(EXHIBIT, name), {which: value}, source, columns=COLUMNS)


def sample_table(setting: Setting) -> Table:
    """Return who is in the sample and why, and by year who is first treated and how much is covered."""
    plan, panel = setting.plan, setting.panel
    scale, outcome = next(iter(plan.scales)), next(iter(plan.outcomes))
    flows = [setting.results[event.label, scale, outcome, plan.headline.label].flow for event in plan.events]
    by_year = {
        "Papers of the venue": (panel.covariates.get("venue_papers"), 1, 0),
        "Coverage, %": (panel.covariates.get("coverage"), 100, 1),
    }
    known = {title: given for title, given in by_year.items() if given[0] is not None}
    blank: list[Cell] = [""] * len(known)
    units = plan.text.units.capitalize()
    sampled = [[step for step in flow if step.kept] for flow in flows]
    treated = [[step for step in flow if _in_window(step.reason)] for flow in sampled]
    others = [why for why in _reasons(flows, kept=True) if not _in_window(why)]
    by_rule = [
        Line(f"{units} in the panel", [*[Number(panel.n_units, 0)] * len(flows), *blank]),
        *(Line(f"Dropped: {why}", [*_counts(flows, why), *blank]) for why in _reasons(flows, kept=False)),
        Line("In the sample", [*_counts(sampled), *blank]),
        Line(
            f"of which first treated in {panel.periods[1]}-{panel.periods[-1]}", [*_counts(treated), *blank]
        ),
        *(Line(f"of which {why}", [*_counts(flows, why), *blank]) for why in others),
    ]
    years = [
        Line(
            str(year),
            [
                *_counts(flows, f"{TREATED_IN}{year}"),
                *(Number(factor * _largest(block, t), digits) for block, factor, digits in known.values()),
            ],
        )
        for t, year in enumerate(panel.periods)
    ]
    covered = "; the venue's papers and the share with an affiliation" if known else ""
    return Table(
        name="sample",
        caption=f"The sample: {plan.text.units} by treatment, and coverage by year",
        headings=[*(event.short for event in plan.events), *known],
        blocks=[
            Block(f"Panel A. {units}, by rule", by_rule),
            Block(f"Panel B. {units} first treated{covered}, by year", years),
        ],
        notes=list(plan.text.sample_notes),
    )


def _reasons(flows: Sequence[Sequence[FlowStep]], *, kept: bool) -> list[str]:
    return list(dict.fromkeys(step.reason for flow in flows for step in flow if step.kept == kept))


def _counts(flows: Sequence[Sequence[FlowStep]], reason: str = "") -> list[Cell]:
    """Return the units of each flow, of one reason where it is given."""
    return [Number(sum(step.units for step in flow if reason in ("", step.reason)), 0) for flow in flows]


def _in_window(reason: str) -> bool:
    return reason.startswith(TREATED_IN)


def _largest(block: np.ndarray | None, t: int) -> float:
    column = np.array([np.nan]) if block is None else block[:, t]
    return float(np.nan if np.isnan(column).all() else np.nanmax(column))
