"""Tests of predicted untreated outcomes: placebo periods, periods before treatment, and carry-over after it ends.

Liu, Wang and Xu (2024).
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np

from study.core import QuestionError, p_is
from study.diagnostics import Finding, Needs, Progress, Section, diagnostic, dots
from study.diagnostics.equivalence import excluded, refuse_bound
from study.diagnostics.hidden import Fit, HiddenErrors, hidden_errors
from study.estimates import SIZE, Effect, effects_frame
from study.panel import Sample, since_end, since_onset

DESIGNS = ("imputation", "generalized_synthetic_control", "matrix_completion")
LEAST = 0.3  # of the treated cells of the fullest event time, for one before treatment to be tested
about_predictions = partial(diagnostic, section=Section.AGAINST, designs=DESIGNS, reference="liu2024")


@about_predictions(
    "Placebo periods",
    "Is there an effect in the last periods before treatment, when they are hidden from the fit?",
    needs=(Needs.LEVELS,),
)
def placebo_periods(
    sample: Sample,
    design: str,
    *,
    periods: int = 3,
    bound: float | None = None,
    level: float = 0.95,
    progress: Progress = None,
    **options: Any,
) -> Finding:
    """Hide the last periods before treatment from the fit, and test their predicted effects.

    Parameters
    ----------
    sample : Sample
        Treatment may end and begin again; then the periods before each spell.
    design : str
        A design that predicts untreated outcomes of single units.
    periods : int
        How many are hidden before the onset less the anticipation.
    bound : float, optional
        Effect that counts as small, in units of the outcome; by default 0.36 standard deviations of the residuals of
        unit and period effects.
    level : float
        Coverage of the intervals; the tests are at 5%.
    progress : callable, optional
        Called after each cluster that is left out.
    **options
        Options of the design.

    Returns
    -------
    Finding
        The frame has a row a hidden event time, and one for the average over all hidden unit-periods: label,
        estimate, std_error (jackknife over clusters), p_value, conf_low, conf_high, n_units, n_treated, p_equivalence
        (of an effect at or beyond the bound), n_cells. Details: ``errors``; of the average ``p_value`` and
        ``p_equivalence``; ``bound``.

    Raises
    ------
    QuestionError
        If periods or bound are not above zero, the question is asked in proportion, the design does not predict or
        has too few periods left, or one cluster is treated.

    References
    ----------
    Liu, L., Wang, Y., and Xu, Y. (2024). A practical guide to counterfactual estimators for causal inference with
    time-series cross-sectional data. American Journal of Political Science 68(1).
    """
    who = "placebo_periods"
    _refuse(who, periods, bound)
    since, anticipation = since_onset(sample.treatment), sample.question.anticipation
    hidden = (since < 0) & (since >= -periods)
    labels = {e: f"event {e - anticipation:g}" for e in np.unique(since[hidden])}
    sets = np.dstack([since == e for e in labels] + [hidden])
    errors = hidden_errors(who, sample, design, options, [Fit(hidden, sets)], bound, progress)
    what = f"the last {f'{periods} periods' if periods > 1 else 'period'} before treatment"
    return _averaged(who, errors, [*labels.values()], what, sample, level)


@about_predictions(
    "Fit before treatment",
    "Do predictions miss the outcomes of treated units before treatment?",
    needs=(Needs.LEVELS,),
)
def fit_before_treatment(
    sample: Sample,
    design: str,
    *,
    before: int | None = None,
    in_sample: bool = False,
    bound: float | None = None,
    level: float = 0.95,
    progress: Progress = None,
    **options: Any,
) -> Finding:
    """Test that mean prediction errors are zero at all event times before treatment, and that they are small.

    Each event time is hidden from the fit in turn and predicted from the others. In-sample errors are means of
    residuals, which the fit itself makes small.

    Parameters
    ----------
    sample : Sample
    design : str
        A design that predicts untreated outcomes of single units.
    before : int, optional
        Number of event times before treatment less the anticipation, fewer than clusters are treated; by default
        those with at least 30% of the unit-periods of the fullest one, at most half as many as clusters are treated.
    in_sample : bool
        Whether errors are those of one fit that hides nothing.
    bound, level, progress, **options
        As in :func:`placebo_periods`.

    Returns
    -------
    Finding
        The frame has a row an event time, as in :func:`placebo_periods`. Details: ``errors``; ``wald``, the joint test
        that all are zero (F, with the degrees of freedom that the clusters leave); ``p_f_equivalence``, of the same
        statistic under errors that are jointly not small; ``p_equivalence``, the largest of the event times, that some
        error is at or beyond the bound; ``bound``.

    Raises
    ------
    QuestionError
        As :func:`placebo_periods` does, and if there is no event time before treatment that varies, or there are as
        many as treated clusters, which then leave no joint test.
    """
    who = "fit_before_treatment"
    _refuse(who, 1 if before is None else before, bound)
    since, anticipation = since_onset(sample.treatment), sample.question.anticipation
    seen = (sample.treatment == 0) & sample.observed
    times, counts = np.unique(since[seen & (since < 0)], return_counts=True)
    clusters = len(np.unique(sample.cluster[sample.ever_treated]))
    if before is not None and before >= clusters:
        raise QuestionError(
            f"{who}: before is {before}, and {clusters} clusters are treated, which leave no joint test of so many; "
            f"it can be at most {clusters - 1}."
        )
    times = times[counts >= LEAST * counts.max(initial=0)] if before is None else times
    times = times[-(clusters // 2 or 1) if before is None else -before :]
    sets = [(since == e)[:, :, None] for e in times]
    if not sets:
        raise QuestionError(
            f"{who}: no unit is observed before its treatment; the panel has to start earlier."
        )
    fits = [Fit(np.zeros(since.shape, dtype=bool), np.dstack(sets))]
    if not in_sample:
        fits = [Fit(cells[:, :, 0], cells) for cells in sets]
    errors = hidden_errors(who, sample, design, options, fits, bound, progress)
    varies = ~np.isnan(errors.std_error)
    if not varies.any():
        raise QuestionError(f"{who}: no event time before treatment has an error that varies.")
    zero, p_f = errors.select(varies).test()
    p_largest = float(np.max(errors.p_equivalence[varies]))
    scale = sample.question.effect_scale
    against, how = (
        zero.p_value < SIZE,
        "in the fit itself" if in_sample else "each hidden from the fit in turn",
    )
    sentences = [
        f"The joint test that predictions miss none of {zero.rank} event times before treatment ({how}) "
        f"{'rejects' if against else 'does not reject'} at {SIZE:.0%} ({p_is(zero.p_value)}); "
        f"{excluded(p_largest, 'a mean error', errors.bound, scale)}.",
        f"The equivalence version of the F test has {p_is(p_f)}.",
    ]
    if in_sample:
        sentences.append("Errors in the fit itself are made small by it; those of hidden periods are not.")
    labels = [f"event {e - anticipation:g}" for e in times]
    return _finding(
        sentences,
        errors,
        errors.effects(labels, level),
        sample,
        level,
        against=against,
        objection=f"predictions before treatment (F test, {p_is(zero.p_value)})",
        details={"wald": zero, "p_f_equivalence": p_f, "p_equivalence": p_largest},
    )


@about_predictions("Carry-over", "Does the effect outlast treatment?", needs=(Needs.LEVELS, Needs.ENDS))
def carry_over(
    sample: Sample,
    design: str,
    *,
    periods: int = 2,
    bound: float | None = None,
    level: float = 0.95,
    progress: Progress = None,
    **options: Any,
) -> Finding:
    """Hide the first periods after treatment ends from the fit, and test their predicted effects.

    Parameters
    ----------
    sample : Sample
        Of a treatment that ends.
    design : str
        A design that predicts untreated outcomes of single units.
    periods : int
        How many are hidden after the end of each spell.
    bound, level, progress, **options
        As in :func:`placebo_periods`.

    Returns
    -------
    Finding
        The frame and the details are those of :func:`placebo_periods`, by periods since treatment ended.

    Raises
    ------
    QuestionError
        As :func:`placebo_periods` does, and if treatment ends for no unit.
    """
    who = "carry_over"
    _refuse(who, periods, bound)
    since = since_end(sample.treatment)
    hidden = since <= periods
    if not (hidden & sample.observed).any():
        raise QuestionError(
            f"{who}: {sample.question.event} ends for no unit that is observed afterwards, so nothing can carry over."
        )
    labels = {k: f"{k:g} period{'s' if k > 1 else ''} after" for k in np.unique(since[hidden])}
    sets = np.dstack([since == k for k in labels] + [hidden])
    errors = hidden_errors(who, sample, design, options, [Fit(hidden, sets)], bound, progress)
    what = f"the first {f'{periods} periods' if periods > 1 else 'period'} after treatment"
    return _averaged(who, errors, [*labels.values()], what, sample, level)


def _refuse(who: str, periods: int, bound: float | None) -> None:
    refuse_bound(who, bound)
    if periods < 1:
        raise QuestionError(f"{who}: {periods} periods are asked for; it must be a whole number from 1 on.")


def _averaged(
    who: str, errors: HiddenErrors, labels: Sequence[str], what: str, sample: Sample, level: float
) -> Finding:
    """Return the finding of which the last error is the average that is tested."""
    rows = errors.effects([*labels, "average"], level)
    average, p_equivalence = rows[-1], float(errors.p_equivalence[-1])
    if np.isnan(average.std_error):
        raise QuestionError(f"{who}: the average effect in {what} has no variance between clusters.")
    scale = sample.question.effect_scale
    sentences = [
        f"The average effect in {what}, hidden from the fit, is {scale.text(average.estimate)} ({100 * level:g}% "
        f"interval {average.interval(scale)}, {p_is(average.p_value)}); "
        f"{excluded(p_equivalence, 'an effect', errors.bound, scale)}.",
        *(
            f"{row.label.capitalize()}: {scale.text(row.estimate)} ({p_is(row.p_value)})."
            for row in rows[:-1]
            if row.exists
        ),
    ]
    return _finding(
        sentences,
        errors,
        rows,
        sample,
        level,
        against=average.p_value < SIZE,
        objection=f"an effect in {what} ({p_is(average.p_value)})",
        details={"p_value": average.p_value, "p_equivalence": p_equivalence},
    )


def _finding(
    sentences: Sequence[str],
    errors: HiddenErrors,
    rows: Sequence[Effect],
    sample: Sample,
    level: float,
    *,
    details: dict[str, Any],
    **more: Any,
) -> Finding:
    frame = effects_frame(rows).assign(p_equivalence=errors.p_equivalence, n_cells=errors.n_cells)
    scale = sample.question.effect_scale
    return Finding.of(
        sentences,
        frame,
        dots(scale, level, frame["label"]),
        details={"errors": errors, "bound": errors.bound} | details,
        **more,
    )
