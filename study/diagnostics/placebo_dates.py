"""Placebo dates: events moved earlier, with outcomes before the true events only."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from study.core import FloatArray, QuestionError, checked
from study.designs import Supports, all_designs, find_design
from study.diagnostics.finding import Finding
from study.diagnostics.refits import Progress, Refits, answers, check, event_dates, headline, redated, treated
from study.diagnostics.registry import Section, diagnostic
from study.estimates import Effect, Estimate, effects_frame, exceeded
from study.figures import dot_figure
from study.inference import joint
from study.panel import Sample, Scale

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MOST_SHIFTS = 5


@diagnostic(
    "placebo_dates",
    title="Placebo adoption dates",
    question="Is there an effect before there should be one?",
    section=Section.AGAINST,
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
) -> Finding:
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
    Finding
        The frame has a row for the true dates (shift 0) and one a shift: shift, estimate, std_error, p_value, conf_low,
        conf_high, n_units, n_treated, lost (the cohorts without a period before their moved date). Details:
        ``full_sample`` and ``rows``, the effects at the true and at the placebo dates; ``p_joint``, that all placebo
        effects are zero, by the largest |t| against its multiplier-bootstrap distribution.

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
    full = Effect.of("at the true dates", headline(sample, design, options), level)
    changed = {_label(shift): partial(placebo_sample, sample, shift) for shift in chosen}
    answered = list(answers(changed, design, options, progress))
    refits = Refits.of(answered, level)
    refits.refuse_none("placebo_dates")
    p_joint = _joint_p([answer for _, answer in answered if isinstance(answer, Estimate)], draws, seed)
    lost = {shift: names for shift in chosen if (names := _lost(sample, first, shift))}
    shifts = [shift for shift, (_, a) in zip(chosen, answered, strict=True) if isinstance(a, Estimate)]
    verdict, *evidence = _sentences(sample.question.effect_scale, level, full, refits, lost, p_joint)
    return Finding(
        name="placebo_dates",
        title="Placebo adoption dates",
        verdict=verdict,
        evidence=tuple(evidence),
        frame=_frame((full, *refits.rows), [0, *shifts], lost),
        chart=partial(_chart, scale=sample.question.effect_scale, level=level),
        against=p_joint < 1 - level,
        objection=f"the joint test of the placebo dates (p = {p_joint:.2g})",
        details={"full_sample": full, "rows": refits.rows, "p_joint": p_joint},
    )


def _sentences(
    scale: Scale, level: float, full: Effect, refits: Refits, lost: Mapping[int, str], p_joint: float
) -> Iterator[str]:
    largest = max(refits.rows, key=lambda row: abs(row.estimate))
    yield (
        f"The largest placebo effect is {scale.text(largest.estimate)} ({largest.label}); the joint test that all of "
        f"them are zero has p-value {p_joint:.2g}, so the treated and the comparison units "
        f"{'did not move in parallel' if p_joint < 1 - level else 'are not seen to move apart'} before the event."
    )
    yield (
        "Events are moved k periods earlier and only outcomes before the true event are used, which leaves event times "
        f"0 to k-1; the effect at the true dates is {scale.text(full.estimate)} {scale.unit}, interval "
        f"{full.interval(scale)}."
    )
    for row in refits.rows:
        yield (
            f"With events {row.label} the effect is {scale.text(row.estimate)} ({100 * level:g}% interval "
            f"{row.interval(scale)}, {row.n_treated} treated units)."
        )
    if lost:
        names = "; ".join(f"{_label(shift)}, {cohorts}" for shift, cohorts in lost.items())
        yield f"Left out, without a period before the moved date: {names}."
    yield from refits.refusals


def _frame(rows: Sequence[Effect], shifts: Sequence[int], lost: Mapping[int, str]) -> pd.DataFrame:
    table = effects_frame(rows).drop(columns="label")
    table.insert(0, "shift", shifts)
    table["lost"] = [lost.get(shift, "") for shift in shifts]
    return table


def _chart(frame: pd.DataFrame, ax: Axes | None, scale: Scale, level: float) -> Figure:
    labels = ["at the true dates" if shift == 0 else _label(shift) for shift in frame["shift"]]
    return dot_figure(
        frame.assign(label=labels),
        ax,
        xlabel=scale.axis(),
        marked=list(frame["shift"] > 0),
        names=("true dates", "placebo dates"),
        percent=scale.percent,
        level=level,
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
