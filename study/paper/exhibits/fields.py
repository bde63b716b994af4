"""Fields whose compute grows against others: every line of the plan with exact randomization inference."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import pandas as pd

from study.core import BoolArray, FloatArray, counted, grouped, listed, p_is, p_text
from study.data.audits import read_titles, topics_audit
from study.figures import COLOUR, GREY, SECOND, Axes, Figure, canvas, draw_legend, legend_above, on_axes
from study.panel import Panel, checksum, load_panel, shipped
from study.paper import Part, Piece, Setting, draw, exhibit
from study.paper.fields import Answer, Answers, FieldsPlan, Interval, answers, of_outcome, outcomes_of
from study.report import REFUSED, Block, Cell, Column, Line, Number, Table, lettered

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
    "title": Column("percent of titles that name a compute-heavy topic which the words find", "percent"),
    "deep": Column(
        "percent of papers that train or run deep networks whose titles the words find", "percent"
    ),
}
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
# Inches and points of figures.
WIDE, SMALL = 6.3, 8


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
    about = partial(_about, plan, panels)
    for (label, outcome), result in results.items():
        words = f"{plan.outcomes[outcome].lower()}, {result.line.title.lower()}, {result.unit}"
        at = (label, outcome.removeprefix("share_"))
        yield from setting.numbers(at, result.values, COLUMNS_HERE, quantity=words, **about(result))
    for label, result in by_line.items():
        words = result.line.title
        yield from setting.numbers(label, result.counts, COLUMNS_HERE, quantity=words, **about(result))
    yield from setting.numbers("summary", summary, OF_ALL, **about(by_line[plan.main]))
    yield from _recall(setting)
    yield from fields_sentences(plan, results)


def _recall(setting: Setting) -> Iterator[Piece]:
    """Yield how many compute-heavy papers the words of titles find, by the readings that ship."""
    file = ("data", "audits", "topics_sample.csv")
    path = shipped(*file)
    sample, counts = read_titles(path), pd.read_csv(path.with_name("topics_strata.csv"))
    questions = {"title": "verdict", "deep": "deep"}
    values = {name: topics_audit(sample, counts, q).recall.value for name, q in questions.items()}
    about: Any = {"data": "/".join(file), "checksum": checksum(*file), "command": "study data audit"}
    return setting.numbers("recall", values, RECALL, **about)


def _about(plan: FieldsPlan, panels: Mapping[str, Panel], result: Answer) -> dict[str, Any]:
    """Return the fields of the source of a line's numbers."""
    panel, line = panels[result.line.panel], result.line
    base = f"base to {line.last_before}" if line.last_before else "base to the event at each venue"
    years = f", years {'+'.join(map(str, line.years))}" if line.years else ""
    least = plan.papers if line.papers is None else line.papers
    return {
        "data": panel.name,
        "checksum": panel.checksum,
        "question": f"outcome={result.outcome}, event=gpu_shock, {base}{years}",
        "design": f"{line.method}, permuted {line.permuted}",
        "options": f"papers={least}, coverage={plan.coverage:g}, level={plan.level:g}",
    }


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
    topics = [_units_line(main, panels, str(name), main.cells.fields == name) for name in main.cells.fields]
    blocks = {"Topics of venues, main line": topics}
    by_area = next((result for result in by_line.values() if result.line.permuted == "areas"), None)
    if by_area is not None:
        lines = []
        for kind in np.unique(by_area.cells.kinds):
            rows = by_area.cells.kinds == kind
            treated = " (treated)" if by_area.cells.treated[rows].any() else ""
            n = len(np.unique(by_area.cells.venues[rows]))
            lines.append(_units_line(by_area, panels, f"{kind}{treated}, {counted(n, 'venue')}", rows))
        blocks["Task areas, all venues together"] = lines
    in_blocks = {
        "topics" if line.panel == "fields" else line.panel: line.label for line in plan.lines if line.in_block
    }
    base = f"to {main.line.last_before}" if main.line.last_before else "base"
    return Table(
        name="fields_units",
        caption=f"Which fields are compared, and their share of {outcome.lower()}",
        headings=["Years", f"to {main.cells.event_year}", base, "after", base, "after", "Coverage, %", "Weight, %"],
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
    names = (str(name).partition(", ") for name in result.cells.fields)
    venues = grouped((kind, venue) for venue, _, kind in names)
    return "; ".join(f"{kind} at {listed(own)}" for kind, own in venues.items())


def _units_line(result: Answer, panels: Mapping[str, Panel], label: str, rows: BoolArray) -> Line:
    """Return the line of some of the fields that are compared."""
    cells, panel, weight = result.cells, panels[result.line.panel], float(result.weight[rows].sum())
    papers, after, used = cells.papers[rows], cells.after[rows], cells.used[rows]
    written = papers * outcomes_of(panel, cells, result.outcome)[rows]
    place = panel.rows_of(cells.fields[rows]), np.searchsorted(panel.periods, cells.years)
    coverage = panel.covariates["coverage"][np.ix_(*place)][used]
    years = cells.years[used.any(axis=0)]
    sums = [(float(papers[when].sum()), float(written[when].sum())) for when in (~after, after)]
    early = papers[:, cells.years <= cells.event_year].sum()
    totals = [Number(n, 0) for n in (early or np.nan, sums[0][0], sums[1][0])]
    shares = [Number(share / n, 1) for n, share in sums]
    seen = f"{years[0]}-{years[-1]} ({len(years)})"
    covered = f"{100 * coverage.min():.0f}-{100 * coverage.max():.0f}"
    carried = Number(100 * weight if abs(weight) > 1e-9 else float("nan"), 0)
    return Line(label, [seen, *totals, *shares, covered, carried])


def fields_sentences(plan: FieldsPlan, results: Answers) -> Iterator[str]:
    """Yield what all lines find together: the verdict, and then what it rests on.

    Parameters
    ----------
    plan : FieldsPlan
    results : mapping
        The answers by label and outcome, as :func:`study.paper.fields.answers` returns them.
    """
    by_line = of_outcome(plan, results)
    main = by_line.pop(plan.main)
    others, titles, counts = by_line.values(), plan.outcomes, main.counts
    title, rejects = titles[main.outcome].lower(), main.rejects(plan)
    yield (
        f"{'A change' if rejects else 'No change'} is significant: after the base years the share of {title} in "
        f"compute-heavy topics moved by {_estimate(main)} against other topics of the same venues"
        f"{', which does not show that compute did it' * rejects}."
    )
    yield f"Its {_tests(main)}."
    agree = sum(result.rejects(plan) and result.estimate * main.estimate > 0 for result in others)
    blind = sum(np.isnan(result.detectable) for result in others)
    yield (
        f"{agree or 'None'} of the {len(others)} other comparisons reject no change in the same direction; "
        f"{blind or 'none'} of them could have found no effect of any size."
    )
    for result in others:
        # An area is one draw for all venues, as the event is one for all.
        tests = f"; the {_tests(result)}" * (result.line.permuted == "areas")
        yield f"{result.line.title}: {_estimate(result)}{tests}."
    for outcome, other in titles.items():
        if outcome != plan.outcome:
            yield f"{other}, {main.line.title.lower()}: {_estimate(results[plan.main, outcome])}."
    yield (
        f"These are {len(results)} tests, and p-values are not adjusted for them; the verdict rests on one line that "
        "was chosen before results."
    )
    yield (
        "The sharp null is tested under the assumption that each assignment of the treated fields was as likely as the "
        "actual one."
    )
    yield (
        "The event is one for all venues, so that anything else that came to deep learning after "
        f"{counts['event_year']} is in the estimate."
    )
    yield (
        "Titles name fashionable methods, so that who writes on such a topic changes with its fashion; coverage of "
        "affiliations changes too."
    )
    yield (
        f"Up to the year of the event the treated fields have {counts['papers_before_event']} papers; "
        f"{counts['n_late'] or 'none'} of the {counts['n_treated']} are known only after it."
    )
    yield from filter(None, map(_rests_on, (main, *others)))


def _estimate(result: Answer) -> str:
    """Say an estimate with its set."""
    return f"{result.estimate:.1f} {result.unit} (confidence set {interval_text(result.interval)})"


def _tests(result: Answer) -> str:
    """Say a p-value and a minimum detectable effect."""
    least = "infinite" if np.isnan(result.detectable) else f"{result.detectable:.1f} points"
    return f"randomization p-value is {p_text(result.p_value)}, and the minimum detectable effect is {least}"


def _rests_on(result: Answer) -> str:
    """Say on which years a synthetic comparison, or on which areas a line on doses rests; nothing of other lines."""
    cells, title = result.cells, result.line.title
    if result.line.method == "synthetic_did":
        weight = np.where(cells.after[0], 0.0, -result.contrast[cells.treated].sum(axis=0))
        papers = cells.papers[cells.treated][:, weight > 0.005].sum()
        return (
            f"{title}: the largest time weight lies on {cells.years[weight.argmax()]} ({100 * weight.max():.0f}%), and "
            f"base years with a weight have {papers:.0f} papers of treated fields."
        )
    if result.line.permuted != "doses":
        return ""
    ends = [f"{cells.assigned[k]:.2f} ({cells.kinds[k]})" for k in np.argsort(cells.assigned)[[0, -1]]]
    return (
        f"{title}: doses go from {' to '.join(ends)} orders of magnitude a year, and the line rests on "
        f"{len(np.unique(cells.kinds))} areas."
    )


def interval_text(interval: Interval) -> str:
    """Return a confidence set in words with one decimal."""
    below, above = np.isinf(interval.low), np.isinf(interval.high)
    if below and above:
        return "all values" if interval.connected else "unbounded on both sides"
    low, high = (f"{end:.1f}" for end in (interval.low, interval.high))
    text = f"below {high}" if below else f"above {low}" if above else f"{low} to {high}"
    return text if interval.connected else f"{text}, disconnected"


def assignments_figure(plan: FieldsPlan, results: Answers) -> Figure:
    """Draw the first outcome's estimates under every assignment, a row a line, the actual one marked."""
    rows = list(of_outcome(plan, results).values())
    places, ticks = range(len(rows)), [row.estimates for row in rows]
    every = "All assignments of the treated fields"
    diamond: Any = {"color": SECOND, "markeredgecolor": "black", "markeredgewidth": 0.6, "markersize": 6}
    with on_axes(None, WIDE, 0.9 + 0.3 * len(rows)) as (figure, axis):
        at = np.repeat(places, [len(of_line) for of_line in ticks])
        axis.plot(np.concatenate(ticks), at, "|", color=GREY, markersize=9, alpha=0.35, label=every)
        axis.plot([row.estimate for row in rows], places, "D", label="The actual one", **diamond)
        for place, row in zip(places, rows, strict=True):
            p = f"{p_is(row.p_value)} ({len(row.estimates)})"
            axis.annotate(p, (1.01, place), xycoords=("axes fraction", "data"), va="center", fontsize=SMALL)
        axis.axvline(0, color=GREY, linewidth=0.8, linestyle=":")
        axis.set_yticks(places, [row.line.title for row in rows], fontsize=SMALL)
        axis.set_ylim(len(rows) - 0.5, -0.5)
        points = "percentage points\n(dose: points for each order of magnitude a year)"
        axis.set_xlabel(f"{plan.outcomes[plan.outcome]}: estimate, {points}")
        legend_above(figure, axis, size=SMALL)
    return figure
