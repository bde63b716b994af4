"""What the comparison of fields says, in sentences."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from study.paper.fields.answers import Answer
from study.paper.fields.plan import FieldsPlan
from study.paper.fields.tables import interval_text
from study.report import p_text

Answers = Mapping[tuple[str, str], Answer]


def sentences(plan: FieldsPlan, found: Answers) -> tuple[str, ...]:
    """Return the verdict, every other line, the other outcomes of the main line, and what is assumed."""
    outcome = next(iter(plan.outcomes))
    main = found[plan.main, outcome]
    others = [found[line.label, outcome] for line in plan.lines if line.label != plan.main]
    return (
        verdict(plan, main, others),
        *(f"{made.line.title}: {_told(made)}." for made in others),
        *(
            f"{plan.outcomes[o]}, {main.line.title.lower()}: {_told(found[plan.main, o])}."
            for o in plan.outcomes
            if o != outcome
        ),
        f"These are {len(found)} chances, and p-values are not adjusted for them; the verdict rests on one line that "
        "was chosen before results.",
        "The sharp null is tested under the assumption that each way of naming the concerned fields was as likely as "
        "the actual one. The event is one for all venues, so that anything else that came to deep learning after 2012 "
        "is in the estimate; titles name fashionable methods, so that who writes on such a topic changes with its "
        "fashion; the concerned topics had few papers before; coverage of affiliations changes.",
        *_about_base_years(plan, found, outcome),
        *_about_doses(plan, found, outcome),
    )


def verdict(plan: FieldsPlan, main: Answer, others: list[Answer]) -> str:
    """Say what the main line finds, and whether the others agree."""
    title = plan.outcomes[main.outcome].lower()
    when = f"After {main.line.last_before}" if main.line.last_before else "After the event"
    rejecting = [made for made in others if made.rejects(plan)]
    agree = [made for made in rejecting if made.estimate * main.estimate > 0]
    if not main.rejects(plan):
        return (
            f"No change is significant: {when.lower()} the share of {title} in compute-heavy topics moved "
            f"by {_told(main)} against other topics of the same venues; {_count(rejecting)} of the {len(others)} other "
            "comparisons reject no change."
        )
    return (
        f"{when} compute-heavy topics {'lost' if main.estimate < 0 else 'gained'} {abs(main.estimate):.1f} percentage "
        f"points of {title} against other topics of the same venues (confidence set {interval_text(main.interval)}; "
        f"randomization p-value {p_text(main.p_value)}), but that compute did it is not shown: "
        f"{_count(agree)} of the {len(others)} other comparisons reject no change in the same direction"
        f"{_blind(others)}{_one_draw(others)}."
    )


def _blind(others: list[Answer]) -> str:
    """Say how many lines could not have found any effect."""
    blind = sum(np.isnan(made.detectable) for made in others)
    return f" ({blind} of them could have found none of any size)" if blind else ""


def _one_draw(others: list[Answer]) -> str:
    """Say what the line finds in which an area is one draw for all venues, as the event is one for all."""
    made = next((made for made in others if made.line.permuted == "areas"), None)
    if made is None:
        return ""
    return (
        f", and where an area is one draw for all venues, as the event is, the estimate is {made.estimate:.1f} "
        f"(p-value {p_text(made.p_value)}, minimum detectable effect {_effect(made)})"
    )


def _count(made: list[Answer]) -> str:
    return str(len(made)) if made else "none"


def _effect(made: Answer) -> str:
    return "none" if np.isnan(made.detectable) else f"{made.detectable:.1f}"


def _told(made: Answer) -> str:
    """Say an estimate with its set, p-value and detectable effect."""
    unit = " for an order of magnitude a year" if made.line.permuted == "doses" else ""
    least = (
        "no effect would be found in four of five ways"
        if np.isnan(made.detectable)
        else f"minimum detectable effect {_effect(made)}"
    )
    return (
        f"{made.estimate:.1f} percentage points{unit} (confidence set {interval_text(made.interval)}; randomization "
        f"p-value {p_text(made.p_value)}, {len(made.estimates)} ways; {least})"
    )


def _about_base_years(plan: FieldsPlan, found: Answers, outcome: str) -> tuple[str, ...]:
    """Say on which base years synthetic difference-in-differences rests."""
    told = []
    for line in plan.lines:
        if line.method != "synthetic_did":
            continue
        made = found[line.label, outcome]
        concerned = made.cells.concerned > 0
        weight = -made.contrast[concerned].sum(axis=0)
        base = ~made.cells.after[0] & (weight > 0.005)
        years = ", ".join(
            f"{y} ({100 * w:.0f}%)" for y, w in zip(made.cells.years[base], weight[base], strict=True)
        )
        papers = made.cells.papers[concerned][:, base].sum()
        told.append(
            f"{line.title}: time weights lie on {years}, with {papers:,.0f} papers of concerned fields."
        )
    return tuple(told)


def _about_doses(plan: FieldsPlan, found: Answers, outcome: str) -> tuple[str, ...]:
    line = next((line for line in plan.lines if line.permuted == "doses"), None)
    if line is None:
        return ()
    cells = found[line.label, outcome].cells
    doses = {str(kind): cells.concerned[cells.kinds == kind][0] for kind in np.unique(cells.kinds)}
    told = ", ".join(
        f"{kind} {value:.2f}" for kind, value in sorted(doses.items(), key=lambda item: -item[1])
    )
    return (
        f"Doses, in orders of magnitude a year, are {told}: with so few the line on the dose rests on the areas at "
        "its ends.",
    )


def shares_in_words(plan: FieldsPlan, found: Answers) -> str:
    """Say what the figure of shares shows."""
    estimate = found[plan.main, next(iter(plan.outcomes))].estimate
    return (
        f"The share of {next(iter(plan.outcomes.values())).lower()} by year for concerned and other fields; after the "
        f"base that of the concerned fields is {abs(estimate):.0f} points {'lower' if estimate < 0 else 'higher'} than "
        "the others' change implies, with few papers before it."
    )


def randomization_in_words(plan: FieldsPlan, found: Answers) -> str:
    """Say what the figure of all assignments shows."""
    outcome = next(iter(plan.outcomes))
    extreme = sum(found[line.label, outcome].rejects(plan) for line in plan.lines)
    return (
        f"For each of {len(plan.lines)} comparisons a row of ticks, one for each way of naming the concerned fields, "
        f"and a diamond at the actual estimate, which is extreme at 5% in {extreme} of them."
    )
