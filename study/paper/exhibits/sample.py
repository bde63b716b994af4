"""Who is in the sample, by rule and by year, with the coverage of affiliations."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from study.panel import FlowStep
from study.paper.exhibits.exhibit import RUN, Exhibited, Setting, Source, Traced
from study.report import Block, Cell, Line, Number, Table

TREATED_IN = "first treated in "


def sample(setting: Setting) -> Exhibited:
    """Return the table of the flow of units, and of who is first treated and what is covered, by year."""
    return Exhibited(tables=(sample_table(setting),), numbers=tuple(_numbers(setting)))


def _numbers(setting: Setting) -> Iterator[Traced]:
    panel = setting.panel
    for name, column, factor, digits, what in (
        ("SamplePapers", "venue_papers", 1, 0, "papers of the venue"),
        ("SampleCoverage", "coverage", 100, 0, "share of papers whose record has an affiliation, percent"),
    ):
        if column in panel.covariates:
            by_year = [factor * _largest(panel.covariates[column], t) for t in range(len(panel.periods))]
            seen = [
                (value, year) for value, year in zip(by_year, panel.periods, strict=True) if value == value
            ]
            for part, (value, year) in (
                ("First", seen[0]),
                ("Last", seen[-1]),
                ("Lowest", min(seen)),
                ("Highest", max(seen)),
            ):
                source = Source("sample", f"{what}, {year}", panel.name, panel.checksum, RUN)
                yield Traced(f"{name}{part}", f"{value:.{digits}f}", source)


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
    by_rule = [
        Line(f"{units} in the panel", [*_all(len(flows), panel.n_units), *blank]),
        *(Line(f"Dropped: {why}", [*_counts(flows, why), *blank]) for why in _reasons(flows, kept=False)),
        Line("In the sample", [*(_number(sum(s.units for s in flow if s.kept)) for flow in flows), *blank]),
        Line(
            f"of which first treated in {panel.periods[1]}-{panel.periods[-1]}",
            [
                *(_number(sum(s.units for s in flow if s.kept and _in_window(s.reason))) for flow in flows),
                *blank,
            ],
        ),
        *(
            Line(f"of which {why}", [*_counts(flows, why), *blank])
            for why in _reasons(flows, kept=True)
            if not _in_window(why)
        ),
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
    told = "; the venue's papers and the share with an affiliation" if known else ""
    return Table(
        name="sample",
        caption=f"The sample: {plan.text.units} by treatment, and coverage by year",
        headings=[*(event.short for event in plan.events), *known],
        blocks=[
            Block(f"Panel A. {units}, by rule", by_rule),
            Block(f"Panel B. {units} first treated{told}, by year", years),
        ],
        notes=list(plan.text.sample_notes),
    )


def _all(count: int, value: int) -> list[Cell]:
    return [_number(value)] * count


def _number(value: int) -> Cell:
    return Number(value, 0)


def _reasons(flows: Sequence[Sequence[FlowStep]], *, kept: bool) -> list[str]:
    return list(dict.fromkeys(step.reason for flow in flows for step in flow if step.kept == kept))


def _counts(flows: Sequence[Sequence[FlowStep]], reason: str) -> list[Cell]:
    return [_number(sum(step.units for step in flow if step.reason == reason)) for flow in flows]


def _in_window(reason: str) -> bool:
    return reason.startswith(TREATED_IN)


def _largest(block: np.ndarray | None, t: int) -> float:
    column = np.array([np.nan]) if block is None else block[:, t]
    return float(np.nan if np.isnan(column).all() else np.nanmax(column))
