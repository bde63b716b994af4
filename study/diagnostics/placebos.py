"""Effects where or when there should be none: placebo outcomes, and events moved to earlier dates."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import pandas as pd

from study.core import FloatArray, QuestionError, counted, p_is, p_text, refuse_unknown, two_sided_p
from study.designs import Supports, all_designs, find_design
from study.diagnostics import (
    Finding,
    Needs,
    Section,
    at_each,
    diagnostic,
    dots,
    event_dates,
    headline,
    redated,
    refit,
)
from study.estimates import SIZE, Effect, effects_frame, exceeded
from study.inference import holm, joint
from study.panel import Panel, Question, Sample, Scale

Outcomes = Sequence[str] | Mapping[str, str | tuple[Panel, str]]

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
    first = event_dates(sample, "placebo_dates")
    chosen, scale = find_design(design), sample.question.effect_scale
    if Supports.MISSING_CELLS not in chosen.supports:
        able = [d.name for d in all_designs().values() if Supports.MISSING_CELLS in d.supports]
        raise QuestionError(
            f"placebo_dates: {design} takes no gaps, and outcomes after treatment are dropped; {', '.join(able)} do. "
            "placebo_periods hides periods from designs that predict untreated outcomes."
        )
    shift_of = {f"{counted(k, 'period')} earlier": k for k in _shifts(sample, first, shifts)}
    options = chosen.seeded(options, seed)
    full = Effect.of("at the true dates", headline(sample, design, options), level)
    moved = {label: partial(placebo_sample, sample, shift) for label, shift in shift_of.items()}
    refits = refit(moved, design, options, level, keep=True)
    refits.refuse_none("placebo_dates")
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
            f"{row.interval(scale)}, {counted(row.n_treated, 'treated unit')})."
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
    first, d = event_dates(sample, "placebo_dates"), sample.question.anticipation
    moved = np.where(np.isin(first, sample.cohorts), first - d - shift, first)
    y = np.where(sample.treatment == 1, np.nan, sample.y)
    return redated(sample, moved, y=y, question=sample.question.replace(anticipation=0))


def _shifts(sample: Sample, first: FloatArray, shifts: Sequence[int] | None) -> list[int]:
    since = first[sample.ever_treated] - sample.question.anticipation
    most = int(since.max() - sample.periods[0] - 1) if len(since) else 0
    if most < 1:
        raise QuestionError(
            "placebo_dates: no cohort has two periods before treatment, so no event can be moved; the panel has to "
            "start earlier."
        )
    if shifts is None:
        horizon = sample.question.horizon
        return list(range(1, min(most, MOST_SHIFTS if horizon is None else horizon + 1) + 1))
    if not len(shifts) or len(set(shifts)) < len(shifts) or min(shifts) < 1:
        raise QuestionError(
            f"placebo_dates: shifts is {list(shifts)}; name at least one whole number from 1 on, each once."
        )
    return [int(shift) for shift in shifts]


def _lost(sample: Sample, first: FloatArray, shift: int) -> str:
    """Name the cohorts, with their units, that have no period before their moved date."""
    cohorts = sample.cohorts[sample.cohorts - sample.question.anticipation - shift <= sample.periods[0]]
    names, units = ", ".join(sample.period_name(g) for g in cohorts), np.isin(first, cohorts).sum()
    return f"cohort{'s' if len(cohorts) > 1 else ''} {names} ({counted(int(units), 'unit')})" if units else ""


@diagnostic(
    "Placebo outcomes",
    "Does the treatment move outcomes that it should not move?",
    Section.AGAINST,
    needs=(Needs.PLACEBO_PANELS,),
)
def placebo_outcomes(
    panel: Panel, question: Question, outcomes: Outcomes, design: str, *, level: float = 0.95, **options: Any
) -> Finding:
    """Ask the same question about outcomes that the treatment should not move.

    Parameters
    ----------
    panel : Panel
    question : Question
    outcomes : sequence of str, or mapping
        Outcomes of the panel; or by label an outcome of the panel, or a pair of another panel and its outcome
        (``{"robotics papers": (study.load_panel("robotics"), "papers")}``).
    design : str
    level : float
        Coverage of the intervals; the familywise error is 5%.
    **options
        Options of the design.

    Returns
    -------
    Finding
        The frame has a row for the question's outcome and one a placebo, named in role: outcome, role, estimate,
        std_error, p_value, conf_low, conf_high, n_units, n_treated, largest_not_excluded; and of the placebos p_holm,
        adjusted within them (Holm 1979), and difference, difference_std_error and difference_p, of the effect on the
        outcome less that on the placebo, by their joint influence. Details: ``full_sample`` and ``rows``, the effects
        on the outcome and on the placebos; ``moved``, the placebos whose adjusted p-value rejects no effect.

    Raises
    ------
    QuestionError
        If there is no outcome, one is unknown or is the question's own, or the design refuses the question or
        all placebo outcomes. One that the design refuses is listed.

    References
    ----------
    Holm, S. (1979). A simple sequentially rejective multiple test procedure. Scandinavian Journal of
    Statistics 6(2).
    """
    placebos = _placebos(panel, question, outcomes)
    fit = headline(question.sample(panel), design, options)
    full = Effect.of(question.outcome, fit, level)
    samples = {k: partial(question.replace(outcome=y).sample, where) for k, (where, y) in placebos.items()}
    refits = refit(samples, design, options, level, keep=True)
    refits.refuse_none("placebo_outcomes")
    frame = effects_frame((full, *refits.rows)).rename(columns={"label": "outcome"})
    frame.insert(1, "role", ["outcome", *["placebo"] * len(refits.rows)])
    frame["largest_not_excluded"] = [row.largest_not_excluded for row in (full, *refits.rows)]
    differences = [joint(placebo, fit).differences() for placebo in refits.fits.values()]
    each = ((d.effect[0], d.std_error[0], d.degrees_of_freedom[0]) for d in differences)
    difference, error, degrees = np.array(list(each)).T
    if not (error > 0).all():
        raise QuestionError("placebo_outcomes: a placebo outcome moves exactly as the outcome; leave it out.")
    p_holm = holm(np.array([row.p_value for row in refits.rows]))
    columns = ["p_holm", "difference", "difference_std_error", "difference_p"]
    values = np.column_stack([p_holm, difference, error, two_sided_p(difference / error, degrees)])
    frame[columns] = np.vstack([np.full(len(columns), np.nan), values])
    moved, scale = list(frame["outcome"][frame["p_holm"] < SIZE]), question.effect_scale
    look = {"marked": list(frame["role"] == "placebo"), "names": ("outcome", "placebo outcome")}
    return Finding.of(
        [*_sentences(scale, level, frame, moved), *refits.refusals],
        frame,
        dots(scale, level, frame["outcome"], xlabel=scale.axis("the outcome"), **look),
        against=bool(moved),
        objection=f"effects on outcomes that should have none ({', '.join(moved)})",
        details={"full_sample": full, "rows": refits.rows, "moved": moved},
    )


def _placebos(panel: Panel, question: Question, outcomes: Outcomes) -> dict[str, tuple[Panel, str]]:
    """Return panel and outcome by label, all of which exist."""
    if not outcomes:
        raise QuestionError(
            f"placebo_outcomes: outcomes is {outcomes!r}; give a list of names, or a mapping from label to (panel, "
            "outcome)."
        )
    given = outcomes if isinstance(outcomes, Mapping) else {name: name for name in outcomes}
    placebos = {k: (panel, v) if isinstance(v, str) else (v[0], v[1]) for k, v in given.items()}
    for label, (where, outcome) in placebos.items():
        refuse_unknown("outcome", outcome, where.outcomes, f"placebo_outcomes about {where.name}")
        if where is panel and outcome == question.outcome:
            raise QuestionError(f"placebo_outcomes: {label} is the question's own outcome; name another.")
    return placebos


def _sentences(scale: Scale, level: float, frame: pd.DataFrame, moved: Sequence[str]) -> Iterator[str]:
    full, *placebos = frame.itertuples()
    percent = f"{100 * level:g}%"
    yield from (
        f"At a familywise error of {SIZE:.0%}, {len(moved)} of {len(placebos)} placebo outcomes "
        f"({', '.join(row.outcome for row in placebos)}) move with the treatment"
        f"{': ' + ', '.join(moved) if moved else ''}.",
        f"The effect on {full.outcome} is {scale.text(full.estimate)} {scale.unit}, {percent} interval "
        f"{scale.interval(full.conf_low, full.conf_high)}.",
    )
    for row in placebos:
        yield (
            f"The effect on {row.outcome}, which the treatment should not move, is {scale.text(row.estimate)} "
            f"({percent} interval {scale.interval(row.conf_low, row.conf_high)}, Holm p-value {p_text(row.p_holm)}); "
            f"an effect beyond {scale.text(row.largest_not_excluded)} in absolute value is excluded."
        )
    for row in placebos:
        yield (
            f"The effect on {full.outcome} less that on {row.outcome} is {scale.text(row.difference)} (standard error "
            f"{scale.text(row.difference_std_error)}, p-value {p_text(row.difference_p)})."
        )
