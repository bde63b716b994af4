"""Propensity scores kept away from the values at which a score divides by zero."""

from __future__ import annotations

import numpy as np

from study.core import FloatArray, QuestionError

# doubleml clips to bounds above zero, and warns of what is beyond these.
LEAST = 1e-12


def check_trim(who: str, trim: float) -> None:
    """Refuse a bound that is not above 0 and below a half."""
    if isinstance(trim, bool) or not isinstance(trim, (int, float, np.number)) or not 0 < trim < 0.5:
        raise QuestionError(f"{who}: trim is {trim!r}; it must be a number above 0 and below 0.5.")


def clipped(propensity: FloatArray, limits: tuple[float, float]) -> FloatArray:
    """Return propensity scores, shape (N, R), moved to the nearest of the limits where they are beyond."""
    moved: FloatArray = np.clip(propensity, max(limits[0], LEAST), min(limits[1], 1 - LEAST))
    return moved


def clipping_note(propensity: FloatArray, limits: tuple[float, float], of: str) -> str:
    """Say how many predictions, shape (N, R), lie beyond the limits; a lower limit of zero stands for none."""
    rows, draws = propensity.shape
    counts = [
        f"{n} {side} {limit:g}"
        for n, side, limit in (
            (int((propensity < limits[0]).sum()), "below", limits[0]),
            (int((propensity > limits[1]).sum()), "above", limits[1]),
        )
        if limit > 0
    ]
    times = f" in each of {draws} draws" if draws > 1 else ""
    lowest = (
        "" if limits[0] > 0 else " Low ones are left as they are, since their units weigh next to nothing."
    )
    return (
        f"Of the {propensity.size} predictions of {of} ({rows} units{times}) {' and '.join(counts)} are set to that "
        f"bound.{lowest}"
    )
