"""What the notes of all tables say of standard errors, samples and power."""

from __future__ import annotations

import math
from collections.abc import Iterable

from study.report.table import Cell, Number

CONVENTIONS: dict[str, str] = {
    "jackknife": "standard errors that leave out each cluster in turn, t distribution with the degrees of freedom of "
    "the clusters on both sides of the comparison",
    "CR0": "influence-function standard errors without a small-sample factor, normal critical values",
    "CR1": "standard errors with the factor G/(G-1)",
    "CR1_fixest": "regression standard errors with fixest's small-sample factor and t(G-1)",
    "CR1_areg": "regression standard errors with the small-sample factor that counts unit effects and t(G-1)",
}

POWER_OF: dict[str, str] = {
    "level": "the counterfactual mean",
    "proportional": "the counterfactual mean",
    "log1p": "one plus the mean before treatment",
}
LETTERS = "ABCDEFGHIJ"
REFUSED = "–"
BELOW = "<0.001"


def refused_notes(reasons: Iterable[str]) -> list[str]:
    """Say what a dash stands for, with each reason once; nothing where there is none."""
    once = " ".join(reason for reason in dict.fromkeys(reasons) if reason)
    return [f"{REFUSED} : refused. {once}"] if once else []


def p_cell(value: float) -> Cell:
    """Return a p-value as a cell: three decimals, or that it is below them."""
    return BELOW if value < 0.001 else Number(value)


def p_text(value: float) -> str:
    """Return a p-value for a sentence."""
    if math.isnan(value):
        return "(none)"
    return "below 0.001" if value < 0.001 else f"{value:.3f}"
