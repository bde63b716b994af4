"""Fields whose compute grows against others: every line of the plan with exact randomization inference."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any

import numpy as np
import pandas as pd

from study.core import FloatArray
from study.data.audits import read_titles, topics_audit
from study.figures import COLOUR, GREY, SECOND, Axes, Figure, canvas, draw_legend
from study.panel import Panel, checksum, load_panel
from study.panel.shipped import shipped
from study.paper.exhibits.exhibit import Part, Piece, Setting, Source, address, addressed, draw, exhibit
from study.paper.fields.answers import Answer, Answers, answers, of_outcome, outcomes_of
from study.paper.fields.finding import SMALL, WIDE, assignments_figure, fields_sentences
from study.paper.fields.plan import FieldsPlan
from study.paper.fields.tables import COLUMNS_HERE, results_tables, units_table
from study.report import Column

EXHIBIT = "fields"
FEW = 20
LINE: Any = {"linewidth": 1.2, "markersize": 3.5}
TREATED = LINE | {"label": "Treated fields", "color": SECOND, "marker": "o", "linestyle": "-"}
OTHER = LINE | {"label": "Other fields", "color": COLOUR, "marker": "s", "linestyle": "--"}
SYNTHETIC = LINE | {"color": "black", "marker": "^", "linestyle": ":"}
SYNTHETIC["label"] = "Synthetic comparison, at the base of the treated"
OF_ALL = {
    "lines": Column("comparisons of fields", "count"),
    "tests": Column("comparisons times outcomes", "count"),
    "rejecting": Column("comparisons that reject no change of the first outcome", "count"),
    "rejecting_all": Column("comparisons and outcomes that reject no change", "count"),
}
RECALL = {
    "title": Column("share of titles that name a compute-heavy topic which the words find"),
    "deep": Column("share of papers that train or run deep networks whose titles the words find"),
}


@exhibit("Fields whose compute grows", Part.FIELDS)
def fields(setting: Setting) -> Iterator[Piece]:
    """Yield the tables, figures, numbers and sentences of the plan's table ``[fields]``; nothing where it has none."""
    plan = setting.plan.fields
    if plan is None:
        return
    panels = {name: load_panel(name) for name in dict.fromkeys(line.panel for line in plan.lines)}
    results = answers(panels, plan)
    by_line, title = of_outcome(plan, results), plan.outcomes[plan.outcome]
    estimate = by_line[plan.main].estimate
    summary = {
        "lines": len(plan.lines),
        "tests": len(results),
        "rejecting": sum(result.rejects(plan) for result in by_line.values()),
        "rejecting_all": sum(result.rejects(plan) for result in results.values()),
    }
    yield from results_tables(plan, results)
    yield units_table(plan, results, panels)
    yield draw(
        "fields_shares",
        f"{title} by field and year (hollow: fewer than {FEW} papers), and synthetic comparisons at the treated "
        "fields' base.",
        shares_figure(plan, results, panels),
        f"The share of {title.lower()} by year for treated and other fields; after the base that of the treated fields "
        f"is {abs(estimate):.0f} points {'lower' if estimate < 0 else 'higher'} than the others' change implies, with "
        "few papers before it.",
    )
    yield draw(
        "fields_randomization",
        "Estimates under all assignments of the treated fields, with exact p-values and numbers of assignments.",
        assignments_figure(plan, results),
        f"For each of {len(plan.lines)} comparisons a row of ticks, one for each assignment of the treated fields, and "
        f"a diamond at the actual estimate, which is extreme at 5% in {summary['rejecting']} of them.",
    )
    source_of = partial(_source, plan, panels)
    for (label, outcome), result in results.items():
        words = f"{plan.outcomes[outcome].lower()}, {result.line.title.lower()}, {result.unit}"
        infinite = [name for name, value in result.values.items() if np.isinf(value)]
        values = result.values | dict.fromkeys(infinite, "(unbounded)")
        columns = COLUMNS_HERE | {name: COLUMNS_HERE[name]._replace(kind="text") for name in infinite}
        at, source = address(EXHIBIT, label, outcome.removeprefix("share_")), source_of(result, words)
        yield from addressed(at, values, source, columns=columns)
    for label, result in by_line.items():
        source = source_of(result, result.line.title)
        yield from addressed(address(EXHIBIT, label), result.counts, source, columns=COLUMNS_HERE)
    source = source_of(by_line[plan.main], "")
    yield from addressed(address(EXHIBIT, "summary"), summary, source, columns=OF_ALL)
    yield from _recall()
    yield from fields_sentences(plan, results)


def _recall() -> Iterator[Piece]:
    """Yield how many compute-heavy papers the words of titles find, by the readings that ship."""
    file = ("data", "audits", "topics_sample.csv")
    path = shipped(*file)
    sample, counts = read_titles(path), pd.read_csv(path.with_name("topics_strata.csv"))
    questions = {"title": "verdict", "deep": "deep"}
    values = {name: topics_audit(sample, counts, q).recall.value for name, q in questions.items()}
    source = Source(EXHIBIT, "", "/".join(file), checksum(*file), "study audit")
    return addressed(address(EXHIBIT, "recall"), values, source, columns=RECALL)


def _source(plan: FieldsPlan, panels: Mapping[str, Panel], result: Answer, quantity: str) -> Source:
    panel, line = panels[result.line.panel], result.line
    base = f"base to {line.last_before}" if line.last_before else "base to the event at each venue"
    years = f", years {'+'.join(map(str, line.years))}" if line.years else ""
    least = plan.papers if line.papers is None else line.papers
    how = {
        "question": f"outcome={result.outcome}, event=gpu_shock, {base}{years}",
        "design": f"{line.method}, permuted {line.permuted}",
        "options": f"papers={least}, coverage={plan.coverage:g}, level={plan.level:g}",
    }
    return Source(EXHIBIT, quantity, panel.name, panel.checksum, **how)


def shares_figure(plan: FieldsPlan, results: Answers, panels: Mapping[str, Panel]) -> Figure:
    """Draw the first outcome by year: the main line's fields as they are, and each block's synthetic comparison."""
    from matplotlib.ticker import MaxNLocator

    by_line = of_outcome(plan, results)
    blocks = [result for result in by_line.values() if result.line.method == "synthetic_did"]
    with canvas(WIDE, 2.9) as figure:
        widths = [1.35, *[1.0] * len(blocks)]
        axes = figure.subplots(1, len(widths), sharey=True, width_ratios=widths, squeeze=False)[0]
        for axis, result in zip(axes, [by_line[plan.main], *blocks], strict=True):
            line, cells = result.line, result.cells
            y = outcomes_of(panels[line.panel], cells, plan.outcome)
            (_draw_raw if axis is axes[0] else _draw_block)(axis, result, y)
            last = line.last_before or cells.years[~cells.after[0]].max()
            axis.axvline(last + 0.5, color=GREY, linewidth=0.8, linestyle=":")
            place: Any = {"xycoords": ("data", "axes fraction"), "textcoords": "offset points"}
            axis.annotate(f"base to {last}", (last + 0.5, 0.03), (-3, 0), ha="right", fontsize=SMALL, **place)
            axis.xaxis.set_major_locator(MaxNLocator(4, integer=True))
            axis.set_xlabel("Year")
        lowest = min(axis.dataLim.y0 for axis in axes)
        axes[0].set_ylim(max(10 * (lowest // 10) - 10, 0), 102)
        axes[0].set_ylabel(f"{plan.outcomes[plan.outcome]}, % of papers")
        draw_legend(figure, axes[-1], loc="outside lower center", ncols=3, fontsize=SMALL)
    return figure


def _draw_raw(axis: Axes, result: Answer, y: FloatArray) -> None:
    """Draw shares of all papers by year; hollow and apart from the line where a year has fewer than 20 papers."""
    cells = result.cells
    for rows, look in ((cells.treated, TREATED), (~cells.treated, OTHER)):
        papers = cells.papers[rows].sum(axis=0)
        seen = papers > 0
        share = (cells.papers[rows] * y[rows]).sum(axis=0)[seen] / papers[seen]
        few, years = papers[seen] < FEW, cells.years[seen]
        axis.plot(years, np.where(few, np.nan, share), **look)
        axis.plot(years[few], share[few], **look | {"label": "", "linestyle": "", "markerfacecolor": "white"})
    axis.set_title("Topics, all venues", fontsize=SMALL)


def _draw_block(axis: Axes, result: Answer, y: FloatArray) -> None:
    """Draw the mean of the treated fields, of the others, and the weighted others, moved to the same base."""
    cells, treated = result.cells, result.cells.treated
    unit = np.where(treated, 0.0, -result.contrast[:, -1] / result.contrast[treated][0, -1] / treated.sum())
    time = np.maximum(-result.contrast[treated][0], 0.0)
    actual, synthetic = y[treated].mean(axis=0), unit @ y
    moved = synthetic + ((actual - synthetic) @ time) / time.sum()
    for values, look in ((actual, TREATED), (y[~treated].mean(axis=0), OTHER), (moved, SYNTHETIC)):
        axis.plot(cells.years, values, **look)
    kind = "Topics" if result.line.panel == "fields" else "Areas"
    axis.set_title(f"{kind}, block of {len(np.unique(cells.venues))} venues", fontsize=SMALL)
