"""Placebo dates: events moved earlier, with outcomes before the true events only."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np

from study.core import FloatArray, QuestionError, counted, p_is
from study.designs import Supports, all_designs, find_design
from study.diagnostics import Finding, Section, diagnostic, dots, event_dates, headline, refit
from study.diagnostics.refits import at_each, redated
from study.estimates import SIZE, Effect, effects_frame, exceeded
from study.inference import joint
from study.panel import Sample

WHO = "placebo_dates"
MOST_SHIFTS = 5


@diagnostic("Placebo adoption dates", "Is there an effect before there should be one?", Section.AGAINST)
def placebo_dates(
    sample: Sample,
    design: str,
    *,
    shifts: Sequence[int] | None = None,
    bound: float | None = None,
    level: float = 0.95,
    draws: int = 9999,
    seed: int = 0,
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
    bound : float, optional
        Effect that counts as small, on the question's scale, for an equivalence test of each placebo effect.
    level : float
        Coverage of the intervals; the joint test is at 5%.
    draws, seed : int
        Of the multiplier bootstrap of the joint test, and of a design that draws.
    **options
        Options of the design.

    Returns
    -------
    Finding
        The frame has a row for the true dates (shift 0) and one a shift: shift, estimate, std_error, p_value, conf_low,
        conf_high, n_units, n_treated, lost (the cohorts without a period before their moved date) and, with a bound,
        p_equivalence (of an effect at or beyond it). Details:
        ``full_sample`` and ``rows``, the effects at the true and at the placebo dates; ``p_joint``, that all placebo
        effects are zero, by the largest ``|t|`` against its multiplier-bootstrap distribution.

    Raises
    ------
    QuestionError
        If the event is not absorbing, the design takes no gaps, a shift is not a positive whole number, no event
        can be moved, or the design refuses every shift. A shift that it refuses is listed.
    """
    first, chosen, scale = event_dates(sample, WHO), find_design(design), sample.question.effect_scale
    if Supports.MISSING_CELLS not in chosen.supports:
        able = [d.name for d in all_designs().values() if Supports.MISSING_CELLS in d.supports]
        raise QuestionError(
            f"{WHO}: {design} takes no gaps, and outcomes after treatment are dropped; {', '.join(able)} do. "
            "placebo_periods hides periods from designs that predict untreated outcomes."
        )
    shift_of = {f"{counted(k, 'period')} earlier": k for k in _shifts(sample, first, shifts)}
    options = chosen.seeded(options, seed)
    full = Effect.of("at the true dates", headline(sample, design, options), level)
    moved = {label: partial(placebo_sample, sample, shift) for label, shift in shift_of.items()}
    refits = refit(moved, design, options, level, keep=True)
    refits.refuse_none(WHO)
    statistics, largest_t = joint(*refits.fits.values()).largest_t(draws, seed)
    p_joint = float(exceeded(largest_t, statistics.max()))
    against = p_joint < SIZE
    largest = max(refits.rows, key=lambda row: abs(row.estimate))
    lost = {label: _lost(sample, first, shift) for label, shift in shift_of.items()}
    frame = effects_frame((full, *refits.rows)).rename(columns={"label": "shift"})
    labels = frame["shift"]
    frame["shift"] = labels.map({full.label: 0} | shift_of)
    frame["lost"] = labels.map({full.label: ""} | lost)
    small = []
    if bound is not None:
        p_values, sentence = at_each(refits.rows, bound, scale, "placebo date")
        frame["p_equivalence"], small = [np.nan, *p_values], [sentence]
    left_out = "; ".join(f"{label}, {names}" for label, names in lost.items() if names)
    sentences = [
        f"The largest placebo effect is {scale.text(largest.estimate)} ({largest.label}); the joint test that all of "
        f"them are zero {'rejects' if against else 'does not reject'} ({p_is(p_joint)}).",
        "Events are moved k periods earlier and only outcomes before the true event are used, which leaves event "
        f"times 0 to k-1; the effect at the true dates is {scale.text(full.estimate)} {scale.unit}, interval "
        f"{full.interval(scale)}. The joint test is at {SIZE:.0%}.",
        *small,
        *(
            f"With events {row.label} the effect is {scale.text(row.estimate)} ({100 * level:g}% interval "
            f"{row.interval(scale)}, {row.n_treated} treated units)."
            for row in refits.rows
        ),
    ]
    if left_out:
        sentences.append(f"Left out, without a period before the moved date: {left_out}.")
    names = ("true dates", "placebo dates")
    return Finding.of(
        [*sentences, *refits.refusals],
        frame,
        dots(scale, level, labels, marked=list(frame["shift"] > 0), names=names),
        against=against,
        objection=f"the joint test of the placebo dates ({p_is(p_joint)})",
        details={"full_sample": full, "rows": refits.rows, "p_joint": p_joint},
    )


def placebo_sample(sample: Sample, shift: int) -> Sample:
    """Return the sample with events moved earlier and without outcomes that treatment could have moved."""
    first, d = event_dates(sample, WHO), sample.question.anticipation
    moved = np.where(np.isin(first, sample.cohorts), first - d - shift, first)
    y = np.where(sample.treatment == 1, np.nan, sample.y)
    return redated(sample, moved, y=y, question=sample.question.replace(anticipation=0))


def _shifts(sample: Sample, first: FloatArray, shifts: Sequence[int] | None) -> list[int]:
    since = first[sample.ever_treated] - sample.question.anticipation
    most = int(since.max() - sample.periods[0] - 1) if len(since) else 0
    if most < 1:
        raise QuestionError(
            f"{WHO}: no cohort has two periods before treatment, so no event can be moved; the panel has to start "
            "earlier."
        )
    if shifts is None:
        horizon = sample.question.horizon
        return list(range(1, min(most, MOST_SHIFTS if horizon is None else horizon + 1) + 1))
    if not len(shifts) or len(set(shifts)) < len(shifts) or min(shifts) < 1:
        raise QuestionError(
            f"{WHO}: shifts is {list(shifts)}; name at least one whole number from 1 on, each once."
        )
    return [int(shift) for shift in shifts]


def _lost(sample: Sample, first: FloatArray, shift: int) -> str:
    """Name the cohorts, with their units, that have no period before their moved date."""
    cohorts = sample.cohorts[sample.cohorts - sample.question.anticipation - shift <= sample.periods[0]]
    names, units = ", ".join(sample.period_name(g) for g in cohorts), np.isin(first, cohorts).sum()
    return f"cohort{'s' if len(cohorts) > 1 else ''} {names} ({counted(int(units), 'unit')})" if units else ""
