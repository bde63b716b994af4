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
    yield from _verdict(plan, main, others)
    yield from _evidence(plan, results, main, others)


def interval_text(interval: Interval) -> str:
    """Return a confidence set in words with one decimal."""
    below, above = np.isinf(interval.low), np.isinf(interval.high)
    if below and above:
        return "all values" if interval.whole else "unbounded on both sides"
    low, high = (f"{end:.1f}" for end in (interval.low, interval.high))
    text = f"below {high}" if below else f"above {low}" if above else f"{low} to {high}"
    return text if interval.whole else f"{text}, with gaps"


def _verdict(plan: FieldsPlan, main: Answer, others: Sequence[Answer]) -> Iterator[str]:
    """Say what the main line finds, and whether the others agree."""
    title = plan.outcomes[main.outcome].lower()
    against = "against other topics of the same venues"
    rejecting = [result for result in others if result.rejects(plan)]
    if not main.rejects(plan):
        yield (
            f"No change is significant: the share of {title} in compute-heavy topics moved by {_estimate(main)} "
            f"{against}."
        )
        yield f"Its {_least(main)}."
        yield f"{len(rejecting) or 'None'} of the {len(others)} other comparisons reject no change."
        return
    when = f"After {main.line.last_before}" if main.line.last_before else "After the event"
    yield (
        f"{when} compute-heavy topics {'lost' if main.estimate < 0 else 'gained'} {abs(main.estimate):.1f} percentage "
        f"points of {title} {against} (randomization p-value {p_text(main.p_value)}), which does not show that compute "
        "did it."
    )
    agree = sum(result.estimate * main.estimate > 0 for result in rejecting)
    blind = sum(np.isnan(result.detectable) for result in others)
    unable = f"; {blind} of them could have found no effect of any size" if blind else ""
    yield f"{agree or 'None'} of the {len(others)} other comparisons reject no change in the same direction{unable}."
    # An area is one draw for all venues in this line, as the event is one for all.
    for area in others:
        if area.line.permuted == "areas":
            yield (
                f"Where an area is one draw for all venues, as the event is, the estimate is {area.estimate:.1f} "
                f"points (p-value {p_text(area.p_value)}); the {_least(area)}."
            )


def _least(result: Answer) -> str:
    """Say a minimum detectable effect."""
    least = "infinite" if np.isnan(result.detectable) else f"{result.detectable:.1f} points"
    return f"minimum detectable effect is {least}"


def _estimate(result: Answer) -> str:
    """Say an estimate with its set."""
    unit = " for an order of magnitude a year" if result.line.permuted == "doses" else ""
    return f"{result.estimate:.1f} percentage points{unit} (confidence set {interval_text(result.interval)})"


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
        "actual one."
    )
    counts = main.counts
    yield (
        "The event is one for all venues, so that anything else that came to deep learning after "
        f"{counts['event_year']} is in the estimate."
    )
    yield (
        "Titles name fashionable methods, so that who writes on such a topic changes with its fashion; coverage of "
        "affiliations changes too."
    )
    yield (
        f"Up to the year of the event the treated fields have {counts['papers_before_event']:,} papers; "
        f"{counts['n_late'] or 'none'} of the {counts['n_treated']} are known only after it."
    )
    for result in (main, *others):
        if result.line.method == "synthetic_did":
            cells = result.cells
            weight = np.where(cells.after[0], 0.0, -result.contrast[cells.treated].sum(axis=0))
            papers = cells.papers[cells.treated][:, weight > 0.005].sum()
            yield (
                f"{result.line.title}: the largest time weight lies on {cells.years[weight.argmax()]} "
                f"({100 * weight.max():.0f}%), and base years with a weight have {papers:,.0f} papers of treated "
                "fields."
            )
    for result in (main, *others):
        if result.line.permuted == "doses":
            kinds, doses = result.cells.kinds, result.cells.assigned
            low, high = doses.argmin(), doses.argmax()
            yield (
                f"Doses go from {doses[low]:.2f} ({kinds[low]}) to {doses[high]:.2f} ({kinds[high]}) orders of "
                f"magnitude a year; with {len(np.unique(kinds))} areas the line on the dose rests on these."
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
