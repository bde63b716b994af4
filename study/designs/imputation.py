"""Imputation of untreated outcomes by Borusyak, Jaravel and Spiess (2024), Section 4."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Literal, NamedTuple

import numpy as np

from study.core import (
    ESTIMABLE,
    BoolArray,
    FloatArray,
    Influence,
    IntArray,
    QuestionError,
    Regression,
    Terms,
    counted,
    period_effects,
    refuse_unidentified,
    regress,
    side_by_side,
)
from study.designs import COMMON, Assumes, Estimand, PredictionErrors, Supports, design
from study.designs.did_cells import Cells, known_cells, refuse_no_effect
from study.designs.twfe import placed
from study.estimates import (
    CohortMeans,
    Contrast,
    Estimate,
    cohort_means,
    event_time_effects,
    group_time_effects,
    only_in_cells,
)
from study.panel import Sample, first_observed, since_onset

NO_CARRY_OVER = (
    "treatment is not absorbing: effects are taken to end with it (no carry-over), so that periods after it count as "
    "untreated; study.diagnostics.carry_over tests this"
)


def predictor(sample: Sample, **options: Any) -> PredictionErrors:
    """Return the function that fits unit and period effects, and covariates by period, to given cells."""
    return prediction_errors


def prediction_errors(sample: Sample, seen: BoolArray) -> FloatArray:
    """Return outcomes less alpha_i + beta_t + x_it'gamma as the seen cells give them, shape (n, T)."""
    outcome = np.where(seen, sample.outcome_with_covariates, np.nan)
    rows = [np.arange(sample.n_rows)]  # no effect is by group
    return _known_errors(sample, untreated_regression(sample, outcome, rows=rows), ~np.isnan(outcome))


def _known_errors(sample: Sample, first: Regression, fitted: BoolArray) -> FloatArray:
    """Return outcomes less predictions, NaN where the cells that are fitted do not identify a prediction."""
    error = _beyond_prediction(sample, first, fitted)
    for null in first.null.T:
        index = np.broadcast_to(_index(sample, null), error.shape)
        error[np.abs(_less_own_mean(index, fitted)) > ESTIMABLE] = np.nan
    return error


@design(
    title="Imputation (Borusyak, Jaravel and Spiess)",
    reference="borusyak2024",
    estimand=Estimand.GROUP_TIME_ATT,
    assumes=(Assumes.PARALLEL_TRENDS, Assumes.LIMITED_ANTICIPATION),
    supports=COMMON | {Supports.SUMS, Supports.WEIGHTS, Supports.NEVER_TREATED, Supports.SWITCHING},
    predictor=predictor,
)
def imputation(
    sample: Sample, *, leads: int | None = None, variance: Literal["sampling", "conservative"] = "sampling"
) -> Estimate:
    """Fit unit and period effects to untreated cells, and average what treated cells have beyond them.

    y_it(0) = alpha_i + beta_t + x_it'gamma is estimated on cells before treatment less the anticipation, and
    tau_it = y_it less its prediction (Theorem 2). ATT(g,t) is the mean of tau_it over the cohort's units.

    Parameters
    ----------
    sample : Sample
        Covariates enter by period. Gaps are allowed; a unit that is never seen untreated has no prediction and is
        left out of the averages. The first step uses the cohorts' own periods before treatment under either
        comparison. Treatment may end and begin again, if effects end with it: all periods without it are untreated.
    leads : int, optional
        Number of event times before treatment less the anticipation whose effects are estimated, in a separate
        regression on untreated cells (Section 4.4); earlier cells are their reference. With None all event
        times before treatment, and the last of them is the reference, as in the other designs. They are not
        on the same base as the effects after treatment, and those that cannot be separated from the fixed effects
        are left out. Where treatment is not absorbing there are none.
    variance : {"sampling", "conservative"}
        Whether averages over cohorts carry the variation of effects between cohorts, as the two-stage errors of
        Gardner (2022) do, or leave it out, which is their conservative error with the average of each cohort
        and period in equation (8), for a sample of which cohorts and their sizes are given.

    Returns
    -------
    Estimate
        One term for each cohort and treated period, then one for each lead, ascending, labelled by event time
        only; "CR0" standard errors. Averages weight by the unit-periods that are seen. "Proportional" divides
        by the mean prediction. Where treatment is not absorbing, one term for each number of periods since the onset
        of a unit's spell, over the treated unit-periods that have it.

    Raises
    ------
    QuestionError
        If a covariate is explained by the fixed effects, no effect can be estimated, or leads or the conservative error
        are asked for of a treatment that is not absorbing.

    References
    ----------
    Borusyak, K., Jaravel, X., and Spiess, J. (2024). Revisiting event-study designs: robust and efficient
    estimation. Review of Economic Studies 91(6).
    Gardner, J. (2022). Two-stage differences in differences.
    """
    if sample.first_treated is None:
        return _of_spells(sample, leads, variance)
    untreated = np.where(sample.treatment == 1, np.nan, sample.outcome_with_covariates)
    blocks = [_effects(sample, untreated, variance == "conservative")]
    if leads != 0:
        blocks.append(_leads(sample, untreated, leads))
    event_time, cohort, period, reference, linear, mean, only = (
        np.concatenate(arrays) for arrays in zip(*(block.arrays for block in blocks), strict=True)
    )
    influence, untreated_influence, weights = (
        side_by_side(parts) for parts in zip(*(block.influences for block in blocks), strict=True)
    )
    fit = group_time_effects(
        sample,
        cohort,
        period,
        linear,
        influence,
        reference=reference,
        untreated_mean=mean - linear,
        untreated_influence=untreated_influence,
        cohort_weights=weights,
        shares="estimated" if variance == "sampling" else "fixed",
        n_obs=int(sample.counted(sample.observed).sum()),
        notes=tuple(note for block in blocks for note in block.notes),
        against="all_before",
        contrast=Contrast(
            only=only,
            treated_then=sample.groups[0][:, None] <= period + sample.question.anticipation,
        ),
    )
    # A lead is of the cohorts that are in the panel at its event time.
    of_lead = np.isnan(cohort) & np.isin(sample.groups[0][:, None] + event_time, sample.periods)
    labels = zip(fit.terms, event_time, np.isnan(cohort), strict=True)
    terms = tuple(f"event {e:g}" if is_lead else term for term, e, is_lead in labels)
    assert fit.contrast.treated is not None
    contrast = replace(fit.contrast, treated=fit.contrast.treated + of_lead)
    return replace(fit, event_time=event_time, terms=terms, contrast=contrast)


class _Block(NamedTuple):
    """Effects of treated cells, or of event times before treatment.

    ``arrays`` are event times, cohorts, periods, which are a reference, effects, and mean outcomes of the cells, shape
    (K,), and rows as in :attr:`Contrast.only`; ``influences`` those on effects and on counterfactual means, and the
    weights in the cohorts.
    """

    arrays: tuple[FloatArray, FloatArray, FloatArray, BoolArray, FloatArray, FloatArray, IntArray]
    influences: tuple[Influence, Influence, Influence]
    notes: list[str]


def untreated_regression(
    sample: Sample,
    untreated: FloatArray,
    extra: FloatArray | None = None,
    rows: Sequence[IntArray] | None = None,
) -> Regression:
    """Regress untreated outcomes on effects by group, (G, T, L), period effects, covariates and unit effects."""
    n_periods, rows = len(sample.periods), sample.groups[1] if rows is None else rows
    extra = np.empty((len(rows), n_periods, 0)) if extra is None else extra
    effects = np.concatenate([extra, period_effects(len(extra), n_periods)], axis=2)
    terms = Terms(effects, np.empty((len(extra), n_periods, 0)))
    fit = regress(untreated, rows, terms, sample.weights, varying=sample.x_varying)
    refuse_unidentified(sample.covariates, fit.identified[effects.shape[2] :])
    return fit


def _beyond_prediction(sample: Sample, first: Regression, fitted: BoolArray) -> FloatArray:
    """Return outcomes less y_it(0) as effects and covariates give it, shape (n, T), NaN where it is unknown.

    Alpha is the unit's mean of what is left in the cells that are fitted.
    """
    # Less the first outcome, which keeps its digits.
    left = sample.y - first_observed(sample.y)[:, None] - _index(sample, first.coefficient)
    return _less_own_mean(left, fitted)


def _index(sample: Sample, coefficient: FloatArray) -> FloatArray:
    """Return beta_t + x_it'gamma, shape (n, T) or (T,)."""
    n_periods = len(sample.periods)
    index = coefficient[:n_periods]
    return index + sample.x_varying @ coefficient[n_periods:] if sample.question.covariates else index


def _less_own_mean(values: FloatArray, cells: BoolArray) -> FloatArray:
    """Return values less the unit's mean over some cells, shape (n, T); NaN for units without any."""
    seen = cells & ~np.isnan(values)
    count, total = seen.sum(axis=1, keepdims=True), np.where(seen, values, 0.0).sum(axis=1, keepdims=True)
    return values - np.divide(total, count, out=np.full(total.shape, np.nan), where=count > 0)


def _effects(sample: Sample, untreated: FloatArray, conservative: bool) -> _Block:
    """Average tau by cohort and period, with the influence of its own variation and of the first step."""
    first = untreated_regression(sample, untreated)
    tau = np.where(sample.treatment == 1, _beyond_prediction(sample, first, sample.treatment == 0), np.nan)
    lost = (sample.treatment == 1) & sample.observed & np.isnan(tau)
    notes = list[str]()
    if lost.any():
        lost_cells = counted(int(sample.counted(lost).sum()), "treated unit-period")
        units = counted(int(sample.counted(lost.any(axis=1))), "unit")
        notes.append(
            f"{lost_cells} of {units} left out: the unit or its covariates are not observed before treatment"
        )
    means = cohort_means(sample, tau)
    outcomes = cohort_means(sample, np.where(lost, np.nan, sample.y) if lost.any() else sample.y)
    group, now = np.nonzero(sample.treated_cells & np.isin(means.dates, sample.cohorts)[:, None])
    cells = Cells(means.dates[group], sample.periods[now].astype(float), now, np.full(len(now), -1))
    size = means.sizes(cells.cohort, now)
    loading = _loadings(sample, tau, means)[group, now]
    unknown = np.abs(first.null.T @ loading.T).max(axis=0, initial=0.0) > ESTIMABLE
    missing = ["no treated unit is observed both then and before treatment", "no untreated unit is observed"]
    reasons = np.select([size == 0, unknown], missing, "").astype(object)
    known = known_cells("imputation", sample, cells, reasons, notes)
    cells, of_cells = cells.select(known), means.cells(cells.cohort, now)[:, :, known]
    linear, influence = means.pooled(of_cells)
    influence = influence - first.influence @ loading[known].T
    weights, only = means.cohort_weights(of_cells), only_in_cells(sample, of_cells, ~np.isnan(tau))
    if conservative:
        influence += weights.scaled(_recentring(means, group[known], cells.now))
    mean, mean_influence = outcomes.pooled(of_cells)
    return _Block(
        (cells.period - cells.cohort, cells.cohort, cells.period, cells.reference, linear, mean, only),
        (influence, mean_influence - influence, weights),
        notes,
    )


def _recentring(means: CohortMeans, group: IntArray, position: IntArray) -> FloatArray:
    """Return what centres tau on its mean by squared weights, equation (8), shape (K,); zero without weights."""
    n_periods = means.mean.shape[1]
    shift = np.zeros(means.mean.shape)
    for g, array in enumerate(means.values.arrays):
        weight = array[:, n_periods:]
        squares = np.maximum((weight**2).sum(axis=0), np.finfo(float).tiny)
        shift[g] = -(weight * array[:, :n_periods]).sum(axis=0) / squares
    with np.errstate(divide="ignore", invalid="ignore"):
        return means.n_rows * (shift / means.weight)[group, position]


def _loadings(sample: Sample, tau: FloatArray, means: CohortMeans) -> FloatArray:
    """Return how the mean prediction of each cohort and period depends on beta and gamma, shape (G, T, T + q).

    A prediction is beta_t + x_it'gamma plus the unit's mean of y - beta - x'gamma over untreated cells.
    """
    n_groups, n_periods = means.mean.shape
    z = sample.x_varying
    loading = np.zeros((n_groups, n_periods, n_periods + z.shape[2]))
    for g, members in enumerate(means.rows):
        weight = np.where(np.isnan(tau[members]), 0.0, sample.weights[members][:, None])
        total = weight.sum(axis=0)
        if not total.any():
            continue
        before = sample.observed[members] & (sample.treatment[members] == 0)
        if z.shape[2]:
            before &= ~np.isnan(z[members]).any(axis=2)
        share = before / np.maximum(before.sum(axis=1, keepdims=True), 1)
        scale = 1 / np.where(total > 0, total, 1.0)
        loading[g, :, :n_periods] = np.diag(total * scale) - scale[:, None] * (weight.T @ share)
        if z.shape[2]:
            x = np.nan_to_num(z[members])
            own = np.einsum("it,itq->tq", weight, x)
            mean = weight.T @ np.einsum("it,itq->iq", share, x)
            loading[g, :, n_periods:] = scale[:, None] * (own - mean)
    return loading


def _leads(sample: Sample, untreated: FloatArray, leads: int | None) -> _Block:
    """Estimate effects of event times before treatment on untreated cells."""
    means = cohort_means(sample, untreated)
    event_time = sample.periods - means.dates[:, None]
    last = sample.question.reference
    seen = event_time[(means.weight > 0) & (event_time <= last)]
    times = np.unique(seen if leads is None else seen[seen > last - leads])
    cells = event_time[:, :, None] == times
    reference = (times == last) if leads is None else np.zeros(len(times), dtype=bool)

    fit = untreated_regression(sample, untreated, cells[:, :, ~reference].astype(float))
    known = reference.copy()
    known[~reference] = fit.identified[: np.sum(~reference)]
    place = placed(fit, ~reference)[:, known]
    mean, mean_influence = means.pooled(cells[:, :, known])
    absent, influence = np.full(len(mean), np.nan), fit.influence @ place
    weights = Influence.none(sample.n_rows, len(mean))
    only = only_in_cells(sample, cells[:, :, known], ~np.isnan(untreated))
    only = np.maximum(only, only[reference[known]].max(initial=-1))
    return _Block(
        (times[known], absent, absent, reference[known], fit.coefficient @ place, mean, only),
        (influence, mean_influence - influence, weights),
        [f"event {e:g} left out: the fixed effects and the other leads explain it" for e in times[~known]],
    )


def _of_spells(sample: Sample, leads: int | None, variance: str) -> Estimate:
    """Average tau by periods since the onset of a unit's spell of treatment."""
    if leads or variance == "conservative":
        option = f"leads={leads}" if leads else 'variance="conservative"'
        raise QuestionError(
            f"imputation: {option} needs cohorts, and {sample.question.event} is not absorbing; leave it out. "
            "study.diagnostics.placebo_periods looks at periods before treatment."
        )
    outcome = np.where(sample.treatment == 0, sample.outcome_with_covariates, np.nan)
    first, fitted = untreated_regression(sample, outcome), ~np.isnan(outcome)
    since = since_onset(sample.treatment)
    tau = np.where(sample.treatment == 1, _known_errors(sample, first, fitted), np.nan)
    used = ~np.isnan(tau) & (since >= 0)
    lost = int(((sample.treatment == 1) & sample.observed & ~used).sum())
    nobody = (
        "no treated unit is observed untreated before its spell, in periods in which an untreated unit is"
    )
    refuse_no_effect("imputation", used.any(), [nobody])
    times = np.unique(since[used])
    # Share of each cell in the average of each event time, and how it depends on beta and gamma.
    cells = used[:, :, None] & (since[:, :, None] == times)
    share, counts = sample.weights[:, None, None] * cells, cells.sum(axis=1).astype(float)
    sizes, n = share.sum(axis=1), sample.n_rows
    share = share / share.sum(axis=(0, 1))
    own = share.sum(axis=1)
    before = fitted / np.maximum(fitted.sum(axis=1, keepdims=True), 1)
    loading = share.sum(axis=0).T - own.T @ before
    if sample.question.covariates:
        x = np.where(np.isnan(sample.x_varying), 0.0, sample.x_varying)
        of_x = np.einsum("itk,itq->kq", share, x) - np.einsum("ik,it,itq->kq", own, before, x)
        loading = np.hstack([loading, of_x])

    def mean(values: FloatArray) -> tuple[FloatArray, Influence]:
        total = np.einsum("itk,it->ik", share, np.where(used, values, 0.0))
        return total.sum(axis=0), Influence.of(n * (total - own * total.sum(axis=0)))

    effect, influence = mean(tau)
    notes = [NO_CARRY_OVER]
    if lost:
        notes.append(
            f"{lost} treated unit-periods left out: the onset of the spell, or the unit or the period untreated, is "
            "not observed"
        )
    return event_time_effects(
        sample,
        times,
        effect,
        influence - first.influence @ loading.T,
        *mean(sample.y),
        cohort_weights=Influence.of(sizes),
        contrast=Contrast(group=np.arange(n), treated=counts),
        n_obs=int(sample.counted(sample.observed).sum()),
        notes=tuple(notes),
        against="all_before",
    )
