"""The tables of fields: every line's estimate with its exact inference, and which fields are compared."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace

import numpy as np

from study.core import BoolArray, counted, listed
from study.panel import Panel
from study.paper.fields.answers import Answer, Answers, of_outcome, outcomes_of
from study.paper.fields.plan import FieldsPlan
from study.report import REFUSED, Block, Cell, Column, Line, Number, Table, lettered

NO_END = "unbounded"
COLUMNS_HERE = {
    "estimate": Column("estimate", digits=1),
    "size": Column("absolute value of the estimate", digits=1),
    "p_value": Column("exact randomization p-value", "p"),
    "conf_low": Column("lower end of the confidence set", digits=1),
    "conf_high": Column("upper end of the confidence set", digits=1),
    "mde": Column("minimum detectable effect", digits=1),
    "assignments": Column("assignments of the treated fields", "count"),
    "smallest_p": Column("smallest p-value that is possible", "p"),
    "n_venues": Column("venues", "count"),
    "n_treated": Column("treated fields, or those with a dose", "count"),
    "n_comparison": Column("other fields", "count"),
    "papers": Column("papers", "count"),
    "papers_before": Column("papers of treated fields in base years", "count"),
    "papers_before_event": Column("papers of treated fields to the year of the event", "count"),
    "n_late": Column("treated fields whose papers are known only after the year of the event", "count"),
    "event_year": Column("last year that no venue could yet write in after the event", "count"),
    "base_end": Column("last base year", "count"),
    "first_year": Column("first year", "count"),
    "last_year": Column("last year", "count"),
}
SHOWN = ("estimate", "p_value", "conf_low", "conf_high", "mde", "assignments", "n_treated", "n_comparison")


def results_tables(plan: FieldsPlan, results: Answers) -> Iterator[Table]:
    """Yield the table of all lines for the first outcome, and that for the others where there are any."""
    lines: dict[str, list[Line]] = {title: [] for title in plan.outcomes.values()}
    for (_, outcome), result in results.items():
        values = result.values | result.counts
        if np.isinf(result.interval.low) and np.isinf(result.interval.high):
            values["conf_high"] = np.nan  # one word says it of both
        cells = [_cell(name, values[name]) for name in SHOWN]
        lines[plan.outcomes[outcome]].append(Line(result.line.title, cells))
    first, own = plan.outcomes[plan.outcome], lines.pop(plan.outcomes[plan.outcome])
    main = next(line for line in plan.lines if line.label == plan.main)
    years = sorted({year for line in plan.lines for year in line.years})
    absent = ", ".join(str(year) for year in range(years[0], years[-1]) if year not in years) if years else ""
    block = f" ({years[0]}-{years[-1]}{f' without {absent}' if absent else ''})" if years else ""
    table = Table(
        name="fields",
        caption=f"{first} in fields treated by the GPU result of 2012, against other fields",
        headings=["Points", "p", "low", "high", "MDE", "Assignments", "treated", "other"],
        spans=[("", 2), (f"{100 * plan.level:g}% set", 2), ("", 2), ("Fields", 2)],
        blocks=[Block("", own)],
        notes=[
            "Points: change of the share after the base years, which end in "
            f"{main.last_before or 'the year before the event'} unless the line says otherwise, less that of the "
            "comparison, in percentage points (dose: for an order of magnitude a year). p: exact, over all "
            "assignments, each taken as equally likely. Set: effects that are not rejected. MDE: found at 5% in 80% of "
            f"assignments; {REFUSED} : of no size. The first line gives the verdict; p-values are not adjusted for "
            f"{len(results)} tests."
        ],
    )  # fmt: skip
    yield table
    if lines:
        yield replace(
            table,
            name="fields-kinds",
            caption="Other kinds of teams in fields treated by the GPU result of 2012, against other fields",
            blocks=lettered(lines),
            notes=[
                f"As for {first.lower()}. Within venues: regression weighted by papers, with effects of each field "
                f"and of each venue and year. Synthetic comparisons: blocks of fields without gaps{block}. Topics are "
                "swapped within venues; areas are assigned at all venues together; in blocks any fields are; doses are "
                "permuted among areas."
            ],
        )


def _cell(name: str, value: float) -> Cell:
    if not np.isfinite(value):
        return NO_END if np.isinf(value) else REFUSED * (name == "mde")
    # All fields have a dose where there are doses, so that there are no others.
    return COLUMNS_HERE[name].cell(value) if value or name != "n_comparison" else ""


def units_table(plan: FieldsPlan, results: Answers, panels: Mapping[str, Panel]) -> Table:
    """Return the table of the fields of the main line, and of the line in which an area is one draw."""
    by_line, outcome = of_outcome(plan, results), plan.outcomes[plan.outcome]
    main = by_line[plan.main]
    topics = [_line(main, panels, str(name), main.cells.fields == name) for name in main.cells.fields]
    blocks = {"Topics of venues, main line": topics}
    by_area = next((result for result in by_line.values() if result.line.permuted == "areas"), None)
    if by_area is not None:
        lines = []
        for kind in np.unique(by_area.cells.kinds):
            rows = by_area.cells.kinds == kind
            treated = " (treated)" if by_area.cells.treated[rows].any() else ""
            n = len(np.unique(by_area.cells.venues[rows]))
            lines.append(_line(by_area, panels, f"{kind}{treated}, {counted(n, 'venue')}", rows))
        blocks["Task areas, all venues together"] = lines
    in_blocks = {
        "topics" if line.panel == "fields" else line.panel: line.label for line in plan.lines if line.in_block
    }
    base = f"to {main.line.last_before}" if main.line.last_before else "base"
    return Table(
        name="fields_units",
        caption=f"Which fields are compared, and their share of {outcome.lower()}",
        headings=["Years", f"to {main.cells.event_year}", base, "after", base, "after", "Coverage", "Weight, %"],
        spans=[("", 1), ("Papers", 3), ("Share, %", 2), ("", 2)],
        blocks=lettered(blocks),
        notes=[
            f"Years with papers of the field where {100 * plan.coverage:g}% of the venue's or more have an affiliation."
            " Coverage: lowest and highest such share. Weight: the field's part of the estimate of a constant effect. "
            "Blank: none known.",
            *(f"Blocks of {name}: {_by_venue(by_line[label])}." for name, label in in_blocks.items()),
        ],
    )  # fmt: skip


def _by_venue(result: Answer) -> str:
    """Say which fields are compared at which venues."""
    venues: dict[str, list[str]] = {}
    for name in result.cells.fields:
        venue, _, kind = str(name).partition(", ")
        venues.setdefault(kind, []).append(venue)
    return "; ".join(f"{kind} at {listed(own)}" for kind, own in venues.items())


def _line(result: Answer, panels: Mapping[str, Panel], label: str, rows: BoolArray) -> Line:
    """Return the line of some of the fields that are compared."""
    cells, panel, weight = result.cells, panels[result.line.panel], float(result.weight[rows].sum())
    papers, after, used = cells.papers[rows], cells.after[rows], cells.used[rows]
    written = papers * outcomes_of(panel, cells, result.outcome)[rows]
    place = np.searchsorted(panel.units, cells.fields[rows]), np.searchsorted(panel.periods, cells.years)
    coverage = panel.covariates["coverage"][np.ix_(*place)][used]
    years = cells.years[used.any(axis=0)]
    sums = [(float(papers[when].sum()), float(written[when].sum())) for when in (~after, after)]
    early = papers[:, cells.years <= cells.event_year].sum()
    totals = [Number(n, 0) for n in (early or np.nan, sums[0][0], sums[1][0])]
    shares = [Number(share / n, 1) for n, share in sums]
    seen, covered = f"{years[0]}-{years[-1]} ({len(years)})", f"{coverage.min():.2f}-{coverage.max():.2f}"
    carried = Number(100 * weight if abs(weight) > 1e-9 else float("nan"), 0)
    return Line(label, [seen, *totals, *shares, covered, carried])
