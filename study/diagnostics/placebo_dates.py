"""Placebo dates: events moved earlier, with outcomes before the true events only."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from study.core import FloatArray, QuestionError, checked
from study.designs import Supports, all_designs, find_design
from study.diagnostics.refits import (
    Compared,
    Progress,
    Refits,
    Row,
    answers,
    check,
    event_dates,
    frame,
    headline,
    redated,
    treated,
)
from study.estimates import Estimate, exceeded
from study.figures import dot_figure
from study.inference import joint
from study.panel import Sample

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

MOST_SHIFTS = 5


@dataclass(frozen=True, eq=False)
class PlaceboDates(Compared):
    """Events moved to earlier dates, with outcomes before the true events only.

    Attributes
    ----------
    shifts : tuple of int, length K
        Periods by which events are moved, of the shifts that have an estimate.
    refits : Refits
        One row a shift.
    lost : mapping of int to str
        By shift, the cohorts that have no period before their moved date.
    p_joint : float
        That all placebo effects are zero: the largest |t| against its multiplier-bootstrap distribution.
    """

    shifts: tuple[int, ...]
    refits: Refits
    lost: Mapping[int, str]
    p_joint: float

    @property
    def title(self) -> str:
        """Heading."""
        return "Placebo dates"

    @property
    def sentences(self) -> tuple[str, ...]:
        """What the placebo dates say."""
        scale, rows = self.scale, self.refits.rows
        found = [
            f"With events {row.label} the effect is {scale.text(row.estimate)} ({100 * self.level:g}% interval "
            f"{row.interval(scale)}, {row.treated} treated units)."
            for row in rows
        ]
        largest = max(rows, key=lambda row: abs(row.estimate))
        rejected = self.p_joint < 1 - self.level
        verdict = (
            f"The largest placebo effect is {scale.text(largest.estimate)} ({largest.label}); the joint test "
            f"that all of them are zero has p-value {self.p_joint:.2g}, so the treated and the comparison units "
            + (
                "did not move in parallel before the event."
                if rejected
                else "are not seen to move apart before the event."
            )
        )
        left_out = "; ".join(f"{_label(shift)}, {cohorts}" for shift, cohorts in self.lost.items())
        missing = [f"Left out, without a period before the moved date: {left_out}."] if left_out else []
        return (
            verdict,
            "Events are moved k periods earlier and only outcomes before the true event are used, which leaves event "
            f"times 0 to k-1; the effect at the true dates is {scale.text(self.whole.estimate)} {scale.unit}, "
            f"interval {self.whole.interval(scale)}.",
            *found,
            *missing,
            *self.refits.told,
        )

    def tidy(self) -> pd.DataFrame:
        """Return a row for the true dates (shift 0) and one for each shift."""
        table = frame((self.whole, *self.refits.rows)).drop(columns="label")
        table.insert(0, "shift", [0, *self.shifts])
        table["lost"] = ["", *(self.lost.get(shift, "") for shift in self.shifts)]
        return table

    def plot(self) -> Figure:
        """Draw the placebo effects beside the effect at the true dates."""
        rows = (self.whole, *self.refits.rows)
        return dot_figure(
            rows,
            xlabel=self.scale.axis(),
            marked=[row is not self.whole for row in rows],
            names=("true dates", "placebo dates"),
            percent=self.scale.percent,
            level=self.level,
        )


@checked
def placebo_dates(
    sample: Sample,
    design: str,
    *,
    shifts: Sequence[int] | None = None,
    level: float = 0.95,
    draws: int = 9999,
    seed: int = 0,
    progress: Progress = None,
    **options: Any,
) -> PlaceboDates:
    """Move every event earlier and look only at outcomes before the true event.

    A unit treated in period g with anticipation d counts as treated from g-d-k on, and its outcomes from g-d on
    are dropped, so that no outcome that treatment could have moved enters: event times 0 to k-1 are left. Units
    that are not treated inside the window keep their outcomes and dates.

    Parameters
    ----------
    sample : Sample
    design : str
        A design that takes gaps in the outcome.
    shifts : sequence of int, optional
        Periods k by which events are moved; by default 1, 2, ... up to the number of event times that the
        headline averages (five where the question gives no horizon), as far as there are periods.
    level : float
        Coverage of the intervals.
    draws, seed : int
        Of the multiplier bootstrap of the joint test, and of a design that draws.
    progress : callable, optional
        Called after each refit.
    **options
        Options of the design.

    Returns
    -------
    PlaceboDates

    Raises
    ------
    QuestionError
        If the event is not absorbing, the design takes no gaps, a shift is not a positive whole number, no event
        can be moved, or the design refuses every shift. A shift that it refuses is listed.
    """
    check("placebo_dates", design, options, level)
    first = event_dates(sample, "placebo_dates")
    _refuse_without_gaps(design)
    if draws < 1:
        raise QuestionError(f"placebo_dates: draws is {draws}; it must be at least 1.")
    chosen = _shifts(sample, first, shifts)
    options = find_design(design).seeded(options, seed)
    whole = headline(sample, design, options)
    made = {_label(shift): partial(placebo_sample, sample, shift) for shift in chosen}
    found = list(answers(made, design, options, progress))
    refits = Refits.of(found, level)
    refits.refuse_none("placebo_dates")
    fits = [answer for _, answer in found if isinstance(answer, Estimate)]
    lost = {shift: names for shift in chosen if (names := _lost(sample, first, shift))}
    return PlaceboDates(
        sample.question,
        design,
        level,
        Row.of("at the true dates", whole, level),
        tuple(shift for shift, (_, a) in zip(chosen, found, strict=True) if isinstance(a, Estimate)),
        refits,
        lost,
        _joint_p(fits, draws, seed),
    )


def placebo_sample(sample: Sample, shift: int) -> Sample:
    """Return the sample with events moved earlier and without outcomes that treatment could have moved."""
    first, d = event_dates(sample, "placebo_dates"), sample.question.anticipation
    moved = np.where(treated(sample), first - d - shift, first)
    y = np.where(sample.treatment == 1, np.nan, sample.y)
    return redated(sample, moved, y=y, question=sample.question.replace(anticipation=0))


def _refuse_without_gaps(design: str) -> None:
    if Supports.MISSING_CELLS not in find_design(design).supports:
        able = [d.name for d in all_designs().values() if Supports.MISSING_CELLS in d.supports]
        raise QuestionError(
            f"placebo_dates: {design} takes no gaps, and outcomes after treatment are dropped; {', '.join(able)} do."
        )


def _shifts(sample: Sample, first: FloatArray, shifts: Sequence[int] | None) -> list[int]:
    since = first[treated(sample)] - sample.question.anticipation
    most = int(since.max() - sample.periods[0] - 1) if len(since) else 0
    if most < 1:
        raise QuestionError(
            "placebo_dates: no cohort has two periods before treatment, so no event can be moved; the panel has to "
            "start earlier."
        )
    if shifts is None:
        horizon = sample.question.horizon
        return list(range(1, min(most, MOST_SHIFTS if horizon is None else horizon + 1) + 1))
    for shift in shifts:
        if isinstance(shift, bool) or not isinstance(shift, (int, np.integer)) or shift < 1:
            raise QuestionError(f"placebo_dates: a shift is {shift!r}; it must be a whole number from 1 on.")
    if not len(shifts) or len(set(shifts)) < len(shifts):
        raise QuestionError("placebo_dates: shifts must name at least one number of periods, each once.")
    return [int(shift) for shift in shifts]


def _label(shift: int) -> str:
    return f"{shift} period{'s' if shift > 1 else ''} earlier"


def _lost(sample: Sample, first: FloatArray, shift: int) -> str:
    """Name the cohorts, with their units, that have no period before their moved date."""
    cohorts = sample.cohorts[sample.cohorts - sample.question.anticipation - shift <= sample.periods[0]]
    units = int(np.isin(first, cohorts).sum())
    names = ", ".join(f"{g:g}" for g in cohorts)
    many = "cohorts" if len(cohorts) > 1 else "cohort"
    return f"{many} {names} ({units} units)" if len(cohorts) else ""


def _joint_p(fits: Sequence[Estimate], draws: int, seed: int) -> float:
    """Return the p-value of the largest |t| of estimates that share units, by normal draws of them."""
    statistics, largest = joint(*fits).largest_t(draws, seed)
    return float(exceeded(largest, statistics.max()))
