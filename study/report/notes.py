"""What the notes of all tables say of standard errors, samples and power."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from study.paper.plan import Plan
from study.report.table import Cell, Number
from study.paper.results import Result

CONVENTIONS: dict[str, str] = {
    "jackknife": "standard errors that leave out each cluster in turn, t distribution with the degrees of freedom of "
    "the clusters on both sides of the comparison",
    "CR0": "influence-function standard errors without a small-sample factor, normal critical values",
    "CR1": "standard errors with the factor G/(G-1)",
    "CR1_fixest": "regression standard errors with fixest's small-sample factor and t(G-1)",
    "CR1_areg": "regression standard errors with the small-sample factor that counts unit effects and t(G-1)",
}

POWER_OF: dict[str, str] = {
    "level": "the mean without treatment",
    "proportional": "the mean without treatment",
    "log1p": "one plus the mean before treatment",
}
LETTERS = "ABCDEFGHIJ"
REFUSED = "–"
BELOW = "<0.001"


def p_cell(value: float) -> Cell:
    """Return a p-value as a cell: three decimals, or that it is below them."""
    return BELOW if value < 0.001 else Number(value)


def p_text(value: float) -> str:
    """Return a p-value for a sentence."""
    if math.isnan(value):
        return "(none)"
    return "below 0.001" if value < 0.001 else f"{value:.3f}"


def conventions(results: Iterable[Result]) -> str:
    """Say the conventions of the standard errors that results have."""
    return "; ".join(CONVENTIONS[c] for c in dict.fromkeys(r.convention for r in results if r.convention))


def clustered(plan: Plan, results: Sequence[Result]) -> str:
    """Say what parentheses mean, and what errors are clustered by."""
    first = results[0]
    return (
        f"Standard errors in parentheses, clustered by {first.task.question.cluster or plan.text.unit} "
        f"({conventions(results)})."
    )


def window_of(result: Result) -> str:
    """Say over which event times a question's average goes."""
    horizon = result.task.question.horizon
    return "all event times from 0" if horizon is None else f"event times 0 to {horizon}"


def refusals(results: Iterable[Result]) -> list[str]:
    """Say what a dash stands for, with the reason of each refusal once."""
    told = sorted({note for r in results if r.headline is None for note in r.notes})
    return [f"{REFUSED} : refused. {' '.join(told)}"] if told else []
