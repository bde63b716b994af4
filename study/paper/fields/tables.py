"""The tables of fields: every line's estimate with its exact inference, and which fields are compared."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from study.core import FloatArray
from study.panel import Panel
from study.paper.fields.answers import Answer
from study.paper.fields.cells import Cells
from study.paper.fields.exact import Interval
from study.paper.fields.plan import FieldsPlan
from study.report import LETTERS, Block, Cell, Line, Number, Span, Table, p_cell

Answers = Mapping[tuple[str, str], Answer]

NO_EFFECT, NO_END = "none", "any"


def interval_text(found: Interval) -> str:
    """Return a confidence set in words with one decimal."""
    if np.isinf(found.low) and np.isinf(found.high):
        return "all values" if found.whole else "unbounded on both sides"
    low, high = (f"{end:.1f}" for end in (found.low, found.high))
    text = (
        f"below {high}"
        if np.isinf(found.low)
        else f"above {low}"
        if np.isinf(found.high)
        else f"{low} to {high}"
    )
    return text if found.whole else f"{text}, with gaps"


def end_cell(value: float) -> Cell:
    """Return an end of a confidence set, or that there is none."""
    return NO_END if np.isinf(value) else Number(value, 1)


def detectable_cell(value: float) -> Cell:
    """Return a minimum detectable effect, or that there is none."""
    return NO_EFFECT if np.isnan(value) else Number(value, 1)


def results_table(plan: FieldsPlan, found: Answers) -> Table:
    """Return the table of all lines and outcomes."""
    blocks = []
    for letter, (outcome, title) in zip(LETTERS, plan.outcomes.items(), strict=False):
        lines = []
        for line in plan.lines:
            made = found[line.label, outcome]
            concerned = made.cells.concerned > 0
            counts = (
                (Number(len(concerned), 0), "") if line.permuted == "doses"
                else (Number(concerned.sum(), 0), Number((~concerned).sum(), 0))
            )  # fmt: skip
            lines.append(
                Line(
                    line.title,
                    [
                        Number(made.estimate, 1),
                        p_cell(made.p_value),
                        end_cell(made.interval.low),
                        end_cell(made.interval.high),
                        detectable_cell(made.detectable),
                        Number(len(made.estimates), 0),
                        *counts,
                    ],
                )
            )
        blocks.append(Block(f"Panel {letter}. {title}", lines))
    return Table(
        name="fields",
        caption="Kinds of teams in fields that the GPU result of 2012 concerns, against other fields",
        headings=["Points", "p", "low", "high", "MDE", "Ways", "concerned", "other"],
        spans=[Span("", 2), Span(f"{100 * plan.level:g}% set", 2), Span("", 2), Span("Fields", 2)],
        blocks=blocks,
        notes=[
            "Change of the share of the field's papers after the base, less that of the comparison, in percentage "
            "points; for the dose, points for each order of magnitude a year. Base years end in "
            f"{plan.main_line.last_before or 'the year before the event'} unless the line says otherwise. Within "
            "venues: regression weighted by papers, with effects of each field and of each venue and year. "
            f"Synthetic comparisons: blocks of fields without gaps{_block_years(plan)}.",
            "p: share of all ways of naming the concerned fields with an estimate at least as large in absolute "
            "value. Topics are swapped within venues; areas are named for all venues together; in blocks any fields "
            "are named; doses are permuted among areas. The sharp null is that no paper's kind of team changed; the "
            "assumption, that each way was as likely. Set: all constant effects that the test does not reject; "
            f"{NO_END} where it has no end. MDE: the smallest effect found at 5% in 80% of the ways, of either sign.",
            f"The verdict is the first line of Panel A. There are {len(plan.lines) * len(plan.outcomes)} chances "
            "here, and p-values are not adjusted for them.",
        ],
        widths=[5.4],
    )  # fmt: skip


def _block_years(plan: FieldsPlan) -> str:
    years = sorted({year for line in plan.lines for year in line.years})
    absent = [str(year) for year in range(years[0], years[-1]) if year not in years] if years else []
    return f", {years[0]}-{years[-1]}{' without ' if absent else ''}{', '.join(absent)}" if years else ""


def units_table(plan: FieldsPlan, found: Answers, panels: Mapping[str, Panel]) -> Table:
    """Return the table of the fields of the main line, and of the line in which an area is one draw."""
    outcome = next(iter(plan.outcomes))
    main = found[plan.main, outcome]
    blocks = [
        Block("Panel A. Topics of venues, main line", _by_field(main, panels[main.line.panel], outcome))
    ]
    by_area = next((line for line in plan.lines if line.permuted == "areas"), None)
    if by_area is not None:
        made = found[by_area.label, outcome]
        lines = _by_kind(made, panels[by_area.panel], outcome)
        blocks.append(Block("Panel B. Task areas, all venues together", lines))
    in_blocks = " ".join(
        f"{line.title}: {'; '.join(map(str, found[line.label, outcome].cells.fields)).replace(',', '')}."
        for line in {line.panel: line for line in reversed(plan.lines) if line.in_block}.values()
    )
    title = plan.outcomes[outcome].lower()
    return Table(
        name="fields_units",
        caption="Which fields are compared",
        headings=["Years", "before", "after", "before", "after", "Coverage", "Weight"],
        spans=[Span("", 1), Span("Papers", 2), Span(f"{plan.outcomes[outcome]}, %", 2), Span("", 2)],
        blocks=blocks,
        notes=[
            "Years that are known with papers of the field, and whose venue has affiliations for "
            f"{100 * plan.coverage:g}% of its papers or more; papers with an affiliation and their share by {title}, "
            "all years before or after the end of the base added up. Coverage: lowest and highest share of the "
            "venue's papers with an affiliation. Weight: how much of a constant effect the field carries into the "
            "estimate, in percent.",
            f"Fields of the blocks without gaps. {in_blocks}" if in_blocks else "",
        ],
        widths=[4.6],
    )  # fmt: skip


def _by_field(made: Answer, panel: Panel, outcome: str) -> list[Line]:
    weight = made.weight
    return [
        Line(
            str(name),
            _cells(made.cells, panel, outcome, np.arange(len(made.cells.fields)) == k, float(weight[k])),
        )
        for k, name in enumerate(made.cells.fields)
    ]


def _by_kind(made: Answer, panel: Panel, outcome: str) -> list[Line]:
    lines = []
    for kind in np.unique(made.cells.kinds):
        rows = made.cells.kinds == kind
        concerned = " (concerned)" if made.cells.concerned[rows].any() else ""
        n = len(np.unique(made.cells.venues[rows]))
        label = f"{kind}{concerned}, {n} venue{'s' if n > 1 else ''}"
        lines.append(Line(label, _cells(made.cells, panel, outcome, rows, float(made.weight[rows].sum()))))
    return lines


def _cells(cells: Cells, panel: Panel, outcome: str, rows: NDArray[np.bool_], weight: float) -> list[Cell]:
    papers, after, used = cells.papers[rows], cells.after[rows], cells.used[rows]
    place = np.ix_(
        np.searchsorted(panel.units, cells.fields[rows]), np.searchsorted(panel.periods, cells.years)
    )
    written = np.where(used, papers * panel.outcomes[outcome][place], 0.0)
    coverage = panel.covariates["coverage"][place][used]
    years = cells.years[used.any(axis=0)]
    return [
        f"{years[0]}-{years[-1]} ({len(years)})",
        Number(float((papers * ~after).sum()), 0),
        Number(float((papers * after).sum()), 0),
        Number(_percent(written * ~after, papers * ~after), 1),
        Number(_percent(written * after, papers * after), 1),
        f"{coverage.min():.2f}-{coverage.max():.2f}",
        Number(100 * weight if abs(weight) > 1e-9 else float("nan"), 0),
    ]


def _percent(written: FloatArray, papers: FloatArray) -> float:
    return float(100 * written.sum() / papers.sum())
