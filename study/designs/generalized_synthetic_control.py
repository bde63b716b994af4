"""Generalized synthetic control of Xu (2017): factors from untreated units, loadings from periods before treatment.

Factors are those of Bai (2009), by least squares on untreated units.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

import numpy as np

from study.core import BoolArray, FloatArray, IntArray, QuestionError, counted
from study.designs import COMMON, Assumes, Estimand, PredictionErrors, Sample, Supports, design
from study.designs.synthetic_blocks import (
    Block,
    Fitted,
    blocks,
    estimate_blocks,
    means_without_each,
    placebo_by_default,
    refuse_clusters,
)
from study.estimates import Estimate

NAME = "generalized_synthetic_control"
MOST_FACTORS = 5
_CONVERGED = 1e-12
_MOST = 20_000
COLLINEAR = 1e-9


def predictor(sample: Sample, factors: int | None = None, **options: Any) -> PredictionErrors:
    """Return the function that takes factors from units that are never treated, loadings from the cells given."""
    _refuse_gaps(sample)
    number = factors
    if number is None:
        number, _ = _cross_validated(sample, [block.changes for block in blocks(sample, NAME, 2)[0]])

    def prediction_errors(sample: Sample, seen: BoolArray) -> FloatArray:
        y, x, free = sample.y - sample.y[:, :1], sample.x_varying, ~sample.ever_treated
        _refuse_few(int(free.sum()), number)
        fitted, error = interactive_effects(y[free], x[free], number), np.empty(y.shape)
        for cells in np.unique(seen, axis=0):
            own = np.all(seen == cells, axis=1)
            error[own] = y[own] - predicted(fitted, y[own], x[own], cells)
        return error

    return prediction_errors


def _refuse_gaps(sample: Sample) -> None:
    for name, values in zip(sample.covariates, sample.x_by_period, strict=True):
        if np.isnan(values).any():
            raise QuestionError(
                f"{NAME}: covariate {name} has gaps; leave it out, or use imputation, which allows them."
            )


def _refuse_few(n_free: int, factors: int | None) -> None:
    if n_free < (factors or 0) + 2:
        raise QuestionError(
            f"{NAME}: {n_free} units are never treated in the window, too few for {factors} factors; ask for fewer."
        )


@design(
    title="Generalized synthetic control (Xu)",
    reference="xu2017",
    estimand=Estimand.GROUP_TIME_ATT,
    assumes=(Assumes.FACTORS, Assumes.LIMITED_ANTICIPATION),
    supports=COMMON - {Supports.MISSING_CELLS} | {Supports.NEVER_TREATED},
    predictor=predictor,
)
def generalized_synthetic_control(
    sample: Sample,
    *,
    factors: int | None = None,
    inference: Literal["jackknife", "parametric_bootstrap"] | None = None,
    replications: int = 500,
    seed: int | None = None,
) -> Estimate:
    """Compare treated units with what unit, period and interactive effects predict for them.

    y_it(0) = alpha_i + xi_t + x_it'beta + lambda_i'f_t. Period effects, slopes and factors come from comparison units
    alone (step 1), alpha and lambda of treated units from their periods before treatment (step 2), and the effect is
    the outcome less the prediction, averaged over the cohort (step 3).

    Parameters
    ----------
    sample : Sample
        Absorbing treatment, no gaps. Covariates enter by period. Comparison units are not treated in the window,
        under either comparison.
    factors : int, optional
        Their number r; without it the number of at most five that predicts left-out periods before treatment best
        (Algorithm 1). At least r + 1 periods before treatment are needed.
    inference : {"jackknife", "parametric_bootstrap"}, optional
        Standard errors that leave each unit out, or the standard deviation of effects in samples drawn from the fitted
        model (Algorithm 2): residuals of comparison units, and for treated units errors of predicting comparison units
        that are left out. One treated unit allows it. These are of each number alone: bands, joint tests and
        differences from other designs are then not available. By default the jackknife where every cohort has two
        units or more, and the bootstrap elsewhere.
    replications : int
        Samples, and comparison units left out for prediction errors.
    seed : int, optional
        Of the draws; 0 where none is given.

    Returns
    -------
    Estimate
        One term for each cohort and period from treatment on; "CR1" standard errors, which are the jackknife's over
        units with the number of factors held; the default errors leave a cluster of several units out as a mean of its
        side would lose it. In-sample residuals before treatment are what the loadings make small, and are no terms;
        matrix_completion has leads, for which periods are held out.

    Raises
    ------
    QuestionError
        If there are too few comparison units or periods before treatment, a covariate has gaps or is explained by the
        effects, or the bootstrap is to draw from clusters.

    References
    ----------
    Xu, Y. (2017). Generalized synthetic control method: causal inference with interactive fixed effects models.
    Political Analysis 25(1).
    Bai, J. (2009). Panel data models with interactive fixed effects. Econometrica 77(4).
    """
    _refuse_gaps(sample)
    least, why = (2, "") if factors is None else (factors + 1, f", since factors={factors}")
    cohorts, notes = blocks(sample, NAME, least, why)
    if inference is None:
        inference = "parametric_bootstrap" if placebo_by_default(sample, cohorts) else "jackknife"
    refuse_clusters(sample, NAME, inference)
    changes = [block.changes for block in cohorts]
    y, x = _comparison(sample, changes)
    n_free, number = len(y), factors
    _refuse_few(n_free, factors)
    if number is None:
        number, chosen = _cross_validated(sample, changes)
        notes = [*notes, chosen]
    full = interactive_effects(y, x, number)
    without = [
        interactive_effects(np.delete(y, j, axis=0), np.delete(x, j, axis=0), number, full.slope)
        for j in range(n_free)
        if n_free > number + 2
    ]

    replicates = None
    if inference == "parametric_bootstrap":
        replicates = _bootstrapped(sample, changes, full, replications, seed or 0)
        notes = [
            *notes,
            f"standard errors by parametric bootstrap, from {replications} samples: they hold if treated units are "
            "predicted as well as comparison units are",
        ]

    def fit(cohort: Block) -> Fitted:
        block = cohort.changes
        treated, after = _treated_covariates(sample, block), slice(block.n_before, None)

        def effects(factors: Interactive) -> FloatArray:
            """Return the treated units' outcomes less what is predicted for them, shape (N, T1)."""
            untreated = predicted(factors, block.treated, treated, block.n_before)
            return (block.treated - untreated)[:, after]

        own = effects(full)
        others = np.full((n_free, own.shape[1]), np.nan)
        for j, factors_without in enumerate(without):
            others[j] = effects(factors_without).mean(axis=0)
        each = np.vstack([others, means_without_each(own)])
        return Fitted(own.mean(axis=0), each, each)

    return estimate_blocks(sample, cohorts, fit, NAME, notes, replicates=replicates, replication=inference)


def _bootstrapped(
    sample: Sample, cohorts: Sequence[Block], full: Interactive, replications: int, seed: int
) -> FloatArray:
    """Return effects in samples without any, drawn from the model as it is fitted, shape (K, R); Algorithm 2."""
    (y, x), rng, number = _comparison(sample, cohorts), np.random.default_rng(seed), full.factors.shape[1]
    n_free, n_periods = y.shape

    def refitted(y: FloatArray, x: FloatArray) -> Interactive:
        return interactive_effects(y, x, number, full.slope)

    # Step 1: errors of predicting comparison units from others, as if they were treated with each cohort.
    errors = np.empty((len(cohorts), replications, n_periods))
    for m in range(replications):
        left, rest = _left_and_resampled(rng, n_free, number + 2)
        fitted = refitted(y[rest], x[rest])
        for g, block in enumerate(cohorts):
            errors[g, m] = (y[left] - predicted(fitted, y[left], x[left], block.n_before))[0]
    # Step 2: the model.
    model = predicted(full, y, x, n_periods)
    covariates = [_treated_covariates(sample, block) for block in cohorts]
    untreated = [
        predicted(full, block.treated, own, block.n_before)
        for block, own in zip(cohorts, covariates, strict=True)
    ]
    # Step 3: samples of it.
    replicates = []
    for _ in range(replications):
        fitted = refitted(model + (y - model)[rng.integers(n_free, size=n_free)], x)
        effects = []
        for g, block in enumerate(cohorts):
            drawn = untreated[g] + errors[g, rng.integers(replications, size=len(block.treated))]
            effect = drawn - predicted(fitted, drawn, covariates[g], block.n_before)
            effects.append(effect[:, block.n_before :].mean(axis=0))
        replicates.append(np.concatenate(effects))
    return np.column_stack(replicates)


def _left_and_resampled(rng: np.random.Generator, n: int, least: int) -> tuple[IntArray, IntArray]:
    """Return one of n units, shape (1,), and n draws from the others with at least so many different ones."""
    left = rng.integers(n, size=1)
    while True:
        rest = np.delete(np.arange(n), left)[rng.integers(n - 1, size=n)]
        if len(np.unique(rest)) >= min(least, n - 1):
            return left, rest


def _comparison(sample: Sample, cohorts: Sequence[Block]) -> tuple[FloatArray, FloatArray]:
    """Return outcomes and covariates of the J comparison units, shapes (J, T), (J, T, q)."""
    y = cohorts[0].comparison
    return y, sample.x_varying[cohorts[0].rows[: len(y)]]


def _treated_covariates(sample: Sample, block: Block) -> FloatArray:
    """Return the covariates of the treated units, shape (N, T, q)."""
    return sample.x_varying[block.rows[len(block.comparison) :]]


def _cross_validated(sample: Sample, cohorts: Sequence[Block]) -> tuple[int, str]:
    """Return the number of factors with the smallest prediction error, and a note on it."""
    y, x = _comparison(sample, cohorts)
    most = min(MOST_FACTORS, min(block.n_before for block in cohorts) - 2, len(y) - 3)
    cells = [len(block.treated) * block.n_before for block in cohorts]
    errors = []
    for r in range(max(most, 0) + 1):
        fitted = interactive_effects(y, x, r)
        of_cohorts = [
            prediction_error(fitted, block.treated, _treated_covariates(sample, block), block.n_before)
            for block in cohorts
        ]
        errors.append(float(np.average(of_cohorts, weights=cells)))
    chosen = int(np.argmin(errors))
    listed = ", ".join(f"{error:.4g} with {r}" for r, error in enumerate(errors))
    by = f"{counted(chosen, 'factor')} by cross-validation"
    return chosen, f"{by}; mean squared prediction errors are {listed}"


class Interactive(NamedTuple):
    """Fitted on J units over T periods.

    Attributes
    ----------
    period : ndarray, shape (T,)
        Period effects, with the grand mean.
    factors : ndarray, shape (T, r)
        Orthonormal.
    slope : ndarray, shape (q,)
        Of the covariates.
    """

    period: FloatArray
    factors: FloatArray
    slope: FloatArray


def interactive_effects(
    y: FloatArray, x: FloatArray, n_factors: int, start: FloatArray | None = None
) -> Interactive:
    """Fit y_it = alpha_i + xi_t + x_it'beta + lambda_i'f_t.

    Without covariates the factors are principal components of the outcomes less both effects; with them, slope and
    factors are found in turn until the slope does not move (Bai 2009, Section 4).

    Parameters
    ----------
    y : ndarray, shape (J, T)
    x : ndarray, shape (J, T, q)
    n_factors : int
        r.
    start : ndarray, shape (q,), optional
        Slope to begin with.

    Raises
    ------
    QuestionError
        If covariates are explained by the effects or by one another, or the slope does not settle.
    """
    within_y, q = without_both(y), x.shape[2]
    within_x = np.stack([without_both(x[:, :, k]) for k in range(q)], axis=2) if q else np.empty(x.shape)
    flat = within_x.reshape(y.size, q)
    squares = flat.T @ flat
    size = np.sqrt((x.reshape(y.size, q) ** 2).sum(axis=0))
    if q and np.linalg.matrix_rank(flat / np.where(size > 0, size, 1.0), tol=1e-9) < q:
        raise QuestionError(
            f"{NAME}: among the comparison units a covariate is explained by unit and period "
            "effects or by the others; leave it out."
        )
    slope = np.zeros(0) if not q else _slope(flat, squares, within_y) if start is None else start
    for _ in range(_MOST):
        left = within_y - within_x @ slope
        factors = np.linalg.eigh(left.T @ left)[1][:, ::-1][:, :n_factors]
        if not q:
            break
        moved = _slope(flat, squares, within_y - left @ factors @ factors.T)
        step, slope = np.linalg.norm(within_x @ (moved - slope)), moved
        if step <= _CONVERGED * np.linalg.norm(within_y):
            break
    else:
        raise QuestionError(
            f"{NAME}: slopes and {n_factors} factors do not settle in {_MOST:,} steps; ask for fewer factors."
        )
    return Interactive((y - x @ slope).mean(axis=0), factors, slope)


def _slope(flat: FloatArray, squares: FloatArray, y: FloatArray) -> FloatArray:
    return np.asarray(np.linalg.solve(squares, flat.T @ y.reshape(-1)), dtype=np.float64)


def without_both(values: FloatArray) -> FloatArray:
    """Return values less the means of units and of periods, shape (J, T)."""
    by_unit = values.mean(axis=1, keepdims=True)
    return np.asarray(values - values.mean(axis=0) - by_unit + float(values.mean()))


def predicted(fitted: Interactive, y: FloatArray, x: FloatArray, before: int | BoolArray) -> FloatArray:
    """Return units' untreated outcomes, with alpha and lambda from periods before treatment, shape (N, T).

    Xu (2017), equation (5) with a unit effect; y has shape (N, T), x has shape (N, T, q). The periods are the first
    ones, so many, or those that are true, shape (T,).

    Raises
    ------
    QuestionError
        If these periods do not tell a unit's effect and loadings from one another.
    """
    seen = np.arange(y.shape[1]) < before if isinstance(before, int) else before
    common = fitted.period + x @ fitted.slope
    loaded = np.column_stack([np.ones(len(fitted.factors)), fitted.factors])
    sizes = np.linalg.svd(loaded[seen], compute_uv=False)
    if len(sizes) < loaded.shape[1] or sizes[-1] < COLLINEAR * sizes[0]:
        raise QuestionError(
            f"{NAME}: a constant and the factors (factors={fitted.factors.shape[1]}) are "
            f"collinear in the {seen.sum()} periods before treatment, so that loadings are not identified; ask "
            "for fewer."
        )
    own = np.linalg.lstsq(loaded[seen], (y - common)[:, seen].T, rcond=None)[0]
    return np.asarray(common + (loaded @ own).T)


def prediction_error(fitted: Interactive, y: FloatArray, x: FloatArray, n_before: int) -> float:
    """Return the mean squared error of predicting each period before treatment from the others, for all units.

    Xu (2017), Algorithm 1.
    """
    left = (y - fitted.period - x @ fitted.slope)[:, :n_before]
    loaded = np.column_stack([np.ones(n_before), fitted.factors[:n_before]])
    errors = []
    for s in range(n_before):
        others = np.arange(n_before) != s
        own = np.linalg.lstsq(loaded[others], left[:, others].T, rcond=None)[0]
        errors.append(left[:, s] - loaded[s] @ own)
    return float(np.mean(np.square(errors)))
