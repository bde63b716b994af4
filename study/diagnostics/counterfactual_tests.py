"""Tests of predicted untreated outcomes that are hidden from the fit: placebo periods, leads, and carry-over.

Liu, Wang and Xu (2024), with the jackknife over clusters.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from scipy import special

from study.core import BoolArray, FloatArray, IntArray, QuestionError, counted, one_thread, p_is, tell
from study.designs import PredictionErrors, find_design
from study.designs.imputation import untreated_regression
from study.diagnostics import Finding, Needs, Section, diagnostic, dots, equivalence_p, excluded, with_error
from study.estimates import SIZE, Effect, Joint, Wald, effects_frame
from study.panel import Sample, since_end, since_onset

ENDING = ("imputation", "matrix_completion")  # treatment may end in these
DESIGNS = (*ENDING, "generalized_synthetic_control")
LEAST = 0.3  # of the treated cells of the fullest event time, for one before treatment to be tested
ROUNDING = 1e-14  # of the largest outcome, below which errors do not vary
NCP = 0.5  # of the F test of equivalence, for each treated unit: the bound that fect (Liu, Wang and Xu 2024) takes
SMALL = 0.36  # standard deviations of what two-way effects leave, as they take after others
about_predictions = partial(
    diagnostic, section=Section.AGAINST, needs=(Needs.LEVELS,), designs=DESIGNS, reference="liu2024"
)


class Fit(NamedTuple):
    """One fit: the cells hidden from it, shape (n, T), and the sets of cells that are averaged, (n, T, K)."""

    hidden: BoolArray
    cells: BoolArray


@dataclass(frozen=True, eq=False)
class HiddenErrors:
    """Mean prediction errors of sets of cells, and without each of G clusters.

    Attributes
    ----------
    sample : Sample
    effect : ndarray, shape (K,)
    without : ndarray, shape (G, K)
        NaN where a set has no cell without a cluster.
    n_cells : ndarray of int, shape (K,)
    treated : ndarray of bool, shape (G,)
        Which clusters have a treated unit.
    bound : float
        Below which an effect is small.
    """

    sample: Sample
    effect: FloatArray
    without: FloatArray
    n_cells: IntArray
    treated: BoolArray
    bound: float

    @cached_property
    def varies(self) -> BoolArray:
        """Which errors vary between clusters, shape (K,)."""
        return self.without.std(axis=0) > ROUNDING * float(np.nanmax(np.abs(self.sample.y)))

    @cached_property
    def joint(self) -> Joint:
        """Those that vary: their covariance is (G-1)/G times the sum of products of deviations without each cluster."""
        g, varies = len(self.without), self.varies
        influence = np.sqrt((g - 1) * g) * (self.without.mean(axis=0) - self.without)[:, varies]
        names, effect = tuple(map(str, np.flatnonzero(varies))), self.effect[varies]
        treated = np.repeat(self.treated[:, None], len(names), axis=1)
        return Joint(names, effect, influence, influence, np.arange(g), treated, by_clusters=True)

    @cached_property
    def std_error(self) -> FloatArray:
        """Jackknife standard errors, shape (K,); NaN where there are none."""
        return self._of_varying(self.joint.std_error)

    @cached_property
    def degrees(self) -> FloatArray:
        """Degrees of freedom of the t statistics, which the clusters on both sides leave, shape (K,)."""
        return self._of_varying(self.joint.degrees_of_freedom)

    def _of_varying(self, values: FloatArray) -> FloatArray:
        every = np.full(len(self.effect), np.nan)
        every[self.varies] = values
        return every

    @property
    def p_equivalence(self) -> FloatArray:
        """P-values of errors as large as the bound, shape (K,)."""
        return equivalence_p(self.effect, self.std_error, self.bound, self.degrees)

    def effects(self, labels: Sequence[str], level: float) -> list[Effect]:
        """Return the errors as effects."""
        like = partial(Effect, n_units=self.sample.n_units, n_treated=self.sample.n_treated)
        numbers = self.effect.tolist(), self.std_error.tolist(), self.degrees.tolist()
        return [
            with_error(like(label), estimate, error, degrees, level)
            for label, estimate, error, degrees in zip(labels, *numbers, strict=True)
        ]

    def frame(self, rows: Sequence[Effect]) -> pd.DataFrame:
        """Return the errors as a table."""
        return effects_frame(rows).assign(p_equivalence=self.p_equivalence, n_cells=self.n_cells)


def equivalence_f(zero: Wald) -> float:
    """Return the p-value of the equivalence version of an F test; NaN where it has no degrees of freedom.

    It is of the F statistic against a noncentral F distribution, with half the degrees of freedom plus one for its
    noncentrality; a small p-value says that the errors are jointly smaller than that.
    """
    if np.isnan(zero.p_value):
        return np.nan
    left = zero.degrees - zero.rank + 1
    statistic = zero.statistic * left / (zero.degrees * zero.rank)
    return float(special.ncfdtr(zero.rank, left, NCP * (zero.degrees + 1), statistic))


def hidden_errors(
    who: str,
    sample: Sample,
    design: str,
    options: Mapping[str, Any],
    fits: Sequence[Fit],
    bound: float | None,
) -> HiddenErrors:
    """Return the mean prediction errors of the sets of cells of all fits, in their order.

    Units without a cell that some fit uses are left out, and are no clusters of the jackknife.

    Raises
    ------
    QuestionError
        If the question is asked in proportion, the design does not predict untreated outcomes, no hidden cell can be
        predicted, there is one treated cluster, or without some cluster there is no answer.
    """
    if sample.question.scale == "proportional":
        raise QuestionError(f'{who}: predictions are in levels, and so is the bound; ask with scale="level".')
    chosen = find_design(design)
    predict = chosen.predicts(who, sample, dict(options))
    fitted = (sample.treatment == 0) & ~np.isnan(sample.outcome_with_covariates)
    used = np.any([(fitted & ~fit.hidden).any(axis=1) for fit in fits], axis=0)
    if not used.all():
        sample, fitted = (
            sample.only(used, f"{who} leaves them no cell to fit; hide fewer periods"),
            fitted[used],
        )
        fits = [Fit(fit.hidden[used], fit.cells[used]) for fit in fits]
    if bound is None:
        bound = small_bound(sample, np.any([fitted & ~fit.hidden for fit in fits], axis=0))
    clusters = np.unique(sample.cluster)
    treated = np.isin(clusters, sample.cluster[sample.ever_treated])
    if treated.sum() < 2:
        raise QuestionError(
            f"{who}: one cluster is treated, so errors have no variance between clusters; use study.conformal."
        )
    with one_thread():
        effect, n_cells = _means(sample, predict, fitted, fits)
        if np.isnan(effect).all():
            raise QuestionError(f"{who}: no hidden cell can be predicted by {design}; hide fewer periods.")
        without = np.empty((len(clusters), len(effect)))
        for c in clusters:
            keep = sample.cluster != c
            label = sample.cluster_labels[np.flatnonzero(~keep)[0]]
            try:
                rest = sample.only(keep, "a cluster is left out")
                parts = [Fit(fit.hidden[keep], fit.cells[keep]) for fit in fits]
                without[c] = _means(rest, predict, fitted[keep], parts)[0]
            except QuestionError as error:
                raise QuestionError(f"{who}: no answer without cluster {label}: {error}") from error
            tell(f"without cluster {label}")
    return HiddenErrors(sample, effect, without, n_cells, treated, bound)


def small_bound(sample: Sample, seen: BoolArray) -> float:
    """Return 0.36 standard deviations of the residuals of unit and period effects, and covariates, in cells (n, T)."""
    fit = untreated_regression(sample, np.where(seen, sample.outcome_with_covariates, np.nan))
    left = fit.n_obs - (fit.df_k - 1) - fit.n_fixed_effects
    if left < 1:
        raise QuestionError("equivalence test: unit and period effects leave no residuals; give a bound.")
    return SMALL * float(np.sqrt(sum(np.sum(part**2) for part in fit.residual) / left))


def _means(
    sample: Sample, predict: PredictionErrors, fitted: BoolArray, fits: Sequence[Fit]
) -> tuple[FloatArray, IntArray]:
    """Return the weighted mean errors of all sets of cells, and of how many cells they are, shapes (K,)."""
    means, counts = [], []
    for fit in fits:
        error = predict(sample, fitted & ~fit.hidden)
        known = fit.cells & ~np.isnan(error)[:, :, None]
        cells = known.reshape(error.size, -1).astype(float)
        weight = np.repeat(sample.weights, error.shape[1])
        with np.errstate(invalid="ignore"):
            means.append((weight * np.nan_to_num(error).ravel()) @ cells / (weight @ cells))
        counts.append(known.sum(axis=(0, 1)))
    return np.concatenate(means), np.concatenate(counts)


@about_predictions(
    "Placebo periods",
    "Is there an effect in the last periods before treatment, when they are hidden from the fit?",
)
def placebo_periods(
    sample: Sample,
    design: str,
    *,
    periods: int = 3,
    bound: float | None = None,
    level: float = 0.95,
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
    since, anticipation = since_onset(sample.treatment), sample.question.anticipation
    hidden = (since < 0) & (since >= -periods)
    labels = {e: f"event {e - anticipation:g}" for e in np.unique(since[hidden])}
    what = f"the last {_hidden('placebo_periods', periods)} before treatment"
    return _averaged("placebo_periods", sample, design, options, since, labels, what, bound, level)


@about_predictions(
    "Fit before treatment", "Do predictions miss the outcomes of treated units before treatment?"
)
def fit_before_treatment(
    sample: Sample,
    design: str,
    *,
    before: int | None = None,
    in_sample: bool = False,
    bound: float | None = None,
    level: float = 0.95,
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
    bound, level, **options
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
    errors = hidden_errors(who, sample, design, options, fits, bound)
    if not errors.varies.any():
        raise QuestionError(f"{who}: no event time before treatment has an error that varies.")
    zero = errors.joint.test()
    p_f, p_largest = equivalence_f(zero), float(np.max(errors.p_equivalence[errors.varies]))
    scale, against = sample.question.effect_scale, None if np.isnan(zero.p_value) else zero.p_value < SIZE
    how = "in the fit itself" if in_sample else "each hidden from the fit in turn"
    verdict = f"{'rejects' if against else 'does not reject'} at {SIZE:.0%} ({p_is(zero.p_value)})"
    if against is None:
        verdict = "cannot be made, for the clusters leave it too few degrees of freedom"
    sentences = [
        f"The joint test that predictions miss none of {counted(len(errors.joint.names), 'event time')} before "
        f"treatment ({how}) {verdict}; {excluded(p_largest, 'a mean error', errors.bound, scale)}.",
        f"The equivalence version of the F test has {p_is(p_f)}.",
        *["Errors in the fit itself are made small by it; those of hidden periods are not."] * in_sample,
    ]
    frame = errors.frame(errors.effects([f"event {e - anticipation:g}" for e in times], level))
    tests = {"wald": zero, "p_f_equivalence": p_f, "p_equivalence": p_largest}
    return Finding.of(
        sentences,
        frame,
        dots(scale, level, frame["label"]),
        against=against,
        objection=f"predictions before treatment (F test, {p_is(zero.p_value)})",
        details={"errors": errors, "bound": errors.bound} | tests,
    )


@about_predictions(
    "Carry-over", "Does the effect outlast treatment?", needs=(Needs.LEVELS, Needs.ENDS), designs=ENDING
)
def carry_over(
    sample: Sample,
    design: str,
    *,
    periods: int = 2,
    bound: float | None = None,
    level: float = 0.95,
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
    bound, level, **options
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
    what = f"the first {_hidden(who, periods)} after treatment"
    since = since_end(sample.treatment)
    hidden = since <= periods
    if not (hidden & sample.observed).any():
        raise QuestionError(
            f"{who}: {sample.question.event} ends for no unit that is observed afterwards, so nothing can carry over."
        )
    labels = {k: f"{counted(k, 'period', 'g')} after" for k in np.unique(since[hidden])}
    return _averaged(who, sample, design, options, since, labels, what, bound, level)


def _hidden(who: str, periods: int) -> str:
    """Say how many periods are hidden, or refuse to hide none."""
    if periods < 1:
        raise QuestionError(f"{who}: {periods} periods are asked for; it must be a whole number from 1 on.")
    return f"{periods} periods" if periods > 1 else "period"


def _averaged(
    who: str,
    sample: Sample,
    design: str,
    options: Mapping[str, Any],
    since: FloatArray,
    labels: Mapping[float, str],
    what: str,
    bound: float | None,
    level: float,
) -> Finding:
    """Hide the cells at the times that have labels, and test the average of their errors, which is the last."""
    hidden = np.isin(since, [*labels])
    sets = np.dstack([*(since == time for time in labels), hidden])
    errors = hidden_errors(who, sample, design, options, [Fit(hidden, sets)], bound)
    rows = errors.effects([*labels.values(), "average"], level)
    average, p_equivalence = rows[-1], float(errors.p_equivalence[-1])
    if np.isnan(average.std_error):
        raise QuestionError(f"{who}: the average effect in {what} has no variance between clusters.")
    scale = sample.question.effect_scale
    sentences = [
        f"The average effect in {what}, hidden from the fit, is {scale.text(average.estimate)} ({100 * level:g}% "
        f"interval {average.interval(scale)}, {p_is(average.p_value)}); "
        f"{excluded(p_equivalence, 'an effect', errors.bound, scale)}.",
        *(
            f"{row.label.capitalize()}: {scale.text(row.estimate)} "
            f"({'no standard error' if np.isnan(row.std_error) else p_is(row.p_value)})."
            for row in rows[:-1]
            if row.exists
        ),
    ]
    frame, tests = errors.frame(rows), {"p_value": average.p_value, "p_equivalence": p_equivalence}
    return Finding.of(
        sentences,
        frame,
        dots(scale, level, frame["label"]),
        against=average.p_value < SIZE,
        objection=f"an effect in {what} ({p_is(average.p_value)})",
        details={"errors": errors, "bound": errors.bound} | tests,
    )
