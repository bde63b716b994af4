"""What the comparison of fields finds: the verdict, what it rests on, and the figure of all assignments."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from study.core import p_is, p_text
from study.figures import GREY, SECOND, Figure, legend_above, on_axes
from study.paper.fields.answers import Answer, Answers, of_outcome
from study.paper.fields.exact import Interval
from study.paper.fields.plan import FieldsPlan

# Inches and points of figures.
WIDE, SMALL = 6.3, 8


def fields_sentences(plan: FieldsPlan, results: Answers) -> Iterator[str]:
    """Yield what all lines find together: the verdict, and then what it rests on.

    Parameters
    ----------
    plan : FieldsPlan
    results : mapping
        The answers by label and outcome, as :func:`study.paper.fields.answers.answers` returns them.
    """
    by_line = of_outcome(plan, results)
    main, others = by_line[plan.main], [result for label, result in by_line.items() if label != plan.main]
    yield _verdict(plan, main, others)
    yield from _evidence(plan, results, main, others)


def interval_text(interval: Interval) -> str:
    """Return a confidence set in words with one decimal."""
    below, above = np.isinf(interval.low), np.isinf(interval.high)
    if below and above:
        return "all values" if interval.whole else "unbounded on both sides"
    low, high = (f"{end:.1f}" for end in (interval.low, interval.high))
    text = f"below {high}" if below else f"above {low}" if above else f"{low} to {high}"
    return text if interval.whole else f"{text}, with gaps"


def _verdict(plan: FieldsPlan, main: Answer, others: Sequence[Answer]) -> str:
    """Say what the main line finds, and whether the others agree."""
    title = plan.outcomes[main.outcome].lower()
    when = f"After {main.line.last_before}" if main.line.last_before else "After the event"
    rejecting = [result for result in others if result.rejects(plan)]
    agree = [result for result in rejecting if result.estimate * main.estimate > 0]
    if not main.rejects(plan):
        return (
            f"No change is significant: {when.lower()} the share of {title} in compute-heavy topics moved "
            f"by {_estimate(main)} against other topics of the same venues; {len(rejecting) or 'none'} of the "
            f"{len(others)} other comparisons reject no change."
        )
    blind = sum(np.isnan(result.detectable) for result in others)
    unable = f" ({blind} of them could have found none of any size)" if blind else ""
    by_area = ""
    # An area is one draw for all venues in this line, as the event is one for all.
    area = next((result for result in others if result.line.permuted == "areas"), None)
    if area is not None:
        least = "none" if np.isnan(area.detectable) else f"{area.detectable:.1f}"
        by_area = (
            f", and where an area is one draw for all venues, as the event is, the estimate is {area.estimate:.1f} "
            f"(p-value {p_text(area.p_value)}, minimum detectable effect {least})"
        )
    return (
        f"{when} compute-heavy topics {'lost' if main.estimate < 0 else 'gained'} {abs(main.estimate):.1f} percentage "
        f"points of {title} against other topics of the same venues (confidence set {interval_text(main.interval)}; "
        f"randomization p-value {p_text(main.p_value)}), but that compute did it is not shown: "
        f"{len(agree) or 'none'} of the {len(others)} other comparisons reject no change in the same direction"
        f"{unable}{by_area}."
    )


def _estimate(result: Answer) -> str:
    """Say an estimate with its set, p-value and minimum detectable effect."""
    unit = " for an order of magnitude a year" if result.line.permuted == "doses" else ""
    least = f"minimum detectable effect {result.detectable:.1f}"
    if np.isnan(result.detectable):
        least = "no effect would be found with a power of 80%"
    return (
        f"{result.estimate:.1f} percentage points{unit} (confidence set {interval_text(result.interval)}; "
        f"randomization p-value {p_text(result.p_value)}, {len(result.estimates)} assignments; {least})"
    )


def _evidence(plan: FieldsPlan, results: Answers, main: Answer, others: Sequence[Answer]) -> Iterator[str]:
    """Yield every other line, the other outcomes of the main line, and what is assumed."""
    for result in others:
        yield f"{result.line.title}: {_estimate(result)}."
    for outcome, title in plan.outcomes.items():
        if outcome != plan.outcome:
            yield f"{title}, {main.line.title.lower()}: {_estimate(results[plan.main, outcome])}."
    yield (
        f"These are {len(results)} tests, and p-values are not adjusted for them; the verdict rests on one line that "
        "was chosen before results."
    )
    yield (
        "The sharp null is tested under the assumption that each assignment of the treated fields was as likely as the "
        "actual one. The event is one for all venues, so that anything else that came to deep learning after 2012 is "
        "in the estimate; titles name fashionable methods, so that who writes on such a topic changes with its "
        "fashion; the treated topics had few papers before; coverage of affiliations changes."
    )
    for result in (main, *others):
        if result.line.method == "synthetic_did":
            cells = result.cells
            weight = -result.contrast[cells.treated].sum(axis=0)
            base = ~cells.after[0] & (weight > 0.005)
            shares = zip(cells.years[base], weight[base], strict=True)
            years = ", ".join(f"{year} ({100 * share:.0f}%)" for year, share in shares)
            papers = cells.papers[cells.treated][:, base].sum()
            yield f"{result.line.title}: time weights lie on {years}, with {papers:,.0f} papers of treated fields."
    for result in (main, *others):
        if result.line.permuted == "doses":
            doses = dict(zip(result.cells.kinds, result.cells.assigned, strict=True))
            largest_first = sorted(doses.items(), key=lambda item: -item[1])
            yield (
                "Doses, in orders of magnitude a year, are "
                f"{', '.join(f'{kind} {dose:.2f}' for kind, dose in largest_first)}: with so few the line on the dose "
                "rests on the areas at its ends."
            )


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
