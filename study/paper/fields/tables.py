"""The tables of fields: every line's estimate with its exact inference, and which fields are compared."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from study.core import BoolArray
from study.panel import Panel
from study.paper.fields.answers import Answer, Answers, of_outcome, outcomes_of
from study.paper.fields.plan import FieldsPlan
from study.report import Cell, Column, Line, Number, Table, lettered

NO_EFFECT, NO_END = "none", "any"
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
    "first_year": Column("first year", "count"),
    "last_year": Column("last year", "count"),
}
SHOWN = ("estimate", "p_value", "conf_low", "conf_high", "mde", "assignments", "n_treated", "n_comparison")


def results_table(plan: FieldsPlan, results: Answers) -> Table:
    """Return the table of all lines and outcomes."""
    lines: dict[str, list[Line]] = {title: [] for title in plan.outcomes.values()}
    for (_, outcome), result in results.items():
        values = result.values | result.counts
        cells = [_cell(name, values[name]) for name in SHOWN]
        lines[plan.outcomes[outcome]].append(Line(result.line.title, cells))
    main = next(line for line in plan.lines if line.label == plan.main)
    years = sorted({year for line in plan.lines for year in line.years})
    absent = ", ".join(str(year) for year in range(years[0], years[-1]) if year not in years) if years else ""
    block = f", {years[0]}-{years[-1]}{f' without {absent}' if absent else ''}" if years else ""
    return Table(
        name="fields",
        caption="Kinds of teams in fields treated by the GPU result of 2012, against other fields",
        headings=["Points", "p", "low", "high", "MDE", "Assignments", "treated", "other"],
        spans=[("", 2), (f"{100 * plan.level:g}% set", 2), ("", 2), ("Fields", 2)],
        blocks=lettered(lines),
        notes=[
            "Change of the share of the field's papers after the base, less that of the comparison, in percentage "
            "points; for the dose, points for each order of magnitude a year. Base years end in "
            f"{main.last_before or 'the year before the event'} unless the line says otherwise. Within "
            "venues: regression weighted by papers, with effects of each field and of each venue and year. "
            f"Synthetic comparisons: blocks of fields without gaps{block}.",
            "p: share of all assignments of the treated fields with an estimate at least as large in absolute "
            "value. Topics are swapped within venues; areas are assigned at all venues together; in blocks any fields "
            "are assigned; doses are permuted among areas. The sharp null is that no paper's kind of team changed; the "
            "assumption, that each assignment was as likely. Set: all constant effects that the test does not reject; "
            f"{NO_END} where it has no end. MDE: the smallest effect found at 5% in 80% of the assignments, of either "
            "sign.",
            f"The verdict is the first line of Panel A. There are {len(results)} tests here, and "
            "p-values are not adjusted for them.",
        ],
    )  # fmt: skip


def _cell(name: str, value: float) -> Cell:
    if not np.isfinite(value):
        return NO_END if np.isinf(value) else NO_EFFECT
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
            lines.append(_line(by_area, panels, f"{kind}{treated}, {n} venue{'s' if n > 1 else ''}", rows))
        blocks["Task areas, all venues together"] = lines
    in_blocks = " ".join(
        f"{line.title}: {'; '.join(map(str, by_line[line.label].cells.fields)).replace(',', '')}."
        for line in {line.panel: line for line in reversed(plan.lines) if line.in_block}.values()
    )
    return Table(
        name="fields_units",
        caption="Which fields are compared",
        headings=["Years", "before", "after", "before", "after", "Coverage", "Weight"],
        spans=[("", 1), ("Papers", 2), (f"{outcome}, %", 2), ("", 2)],
        blocks=lettered(blocks),
        notes=[
            "Years that are known with papers of the field, and whose venue has affiliations for "
            f"{100 * plan.coverage:g}% of its papers or more; papers with an affiliation and their share by "
            f"{outcome.lower()}, all years before or after the end of the base added up. Coverage: "
            "lowest and highest share of the venue's papers with an affiliation. Weight: how much of a constant effect "
            "the field carries into the estimate, in percent.",
            f"Fields of the blocks without gaps. {in_blocks}" if in_blocks else "",
        ],
    )  # fmt: skip


def _line(result: Answer, panels: Mapping[str, Panel], label: str, rows: BoolArray) -> Line:
    """Return the line of some of the fields that are compared."""
    cells, panel, weight = result.cells, panels[result.line.panel], float(result.weight[rows].sum())
    papers, after, used = cells.papers[rows], cells.after[rows], cells.used[rows]
    written = papers * outcomes_of(panel, cells, result.outcome)[rows]
    place = np.searchsorted(panel.units, cells.fields[rows]), np.searchsorted(panel.periods, cells.years)
    coverage = panel.covariates["coverage"][np.ix_(*place)][used]
    years = cells.years[used.any(axis=0)]
    sums = [(float(papers[when].sum()), float(written[when].sum())) for when in (~after, after)]
    totals, shares = [Number(n, 0) for n, _ in sums], [Number(share / n, 1) for n, share in sums]
    seen, covered = f"{years[0]}-{years[-1]} ({len(years)})", f"{coverage.min():.2f}-{coverage.max():.2f}"
    carried = Number(100 * weight if abs(weight) > 1e-9 else float("nan"), 0)
    return Line(label, [seen, *totals, *shares, covered, carried])
