"""Two-way fixed effects with one treatment coefficient."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from study.core import (
    BoolArray,
    Family,
    FloatArray,
    Influence,
    IntArray,
    LinearForm,
    Regression,
    Terms,
    period_effects,
    refuse_unidentified,
    regress,
)
from study.designs import COMMON, Assumes, Estimand, Sample, Supports, design
from study.designs.did_assignments import coefficients_by_assignment
from study.estimates import Estimate, coefficients, cohort_means, mean_over

FEWER_EVENT_TIMES = "put distant event times together (bin_at of event_study), or use callaway_santanna"


def _assigned(sample: Sample, orders: IntArray) -> tuple[FloatArray, FloatArray, BoolArray] | None:
    """Return the coefficient of treatment and its error for assignments of event dates; see :class:`Design`."""
    if sample.first_treated is None:
        return None
    return coefficients_by_assignment(sample, orders, sample.treated_cells[:, :, None], np.array([True]))


@design(
    title="Two-way fixed effects, static",
    reference="goodmanbacon2021",
    estimand=Estimand.COEFFICIENT,
    assumes=(Assumes.PARALLEL_TRENDS, Assumes.LIMITED_ANTICIPATION, Assumes.HOMOGENEOUS_EFFECTS),
    supports=COMMON | {Supports.SUMS, Supports.WEIGHTS, Supports.SWITCHING},
    assigned=_assigned,
)
def twfe(sample: Sample) -> Estimate:
    """Regress the outcome on treatment, covariates by period, unit effects and period effects.

    y_it = alpha_i + lambda_t + beta D_it + x_it'gamma + e_it. With staggered adoption and effects that
    differ, beta weights some of them negatively (Goodman-Bacon 2021, Theorem 1), so it is reported as a
    coefficient and not as an average effect.

    Parameters
    ----------
    sample : Sample
        Gaps are allowed; covariates enter by period.

    Returns
    -------
    Estimate
        The coefficient of treatment, then those of the covariates. Standard errors are clustered and
        counted as fixest counts them ("CR1_fixest"). "Proportional" divides by the mean outcome of the
        treated cells less the coefficient.

    Raises
    ------
    QuestionError
        If a regressor is collinear with the fixed effects.

    References
    ----------
    Goodman-Bacon, A. (2021). Difference-in-differences with variation in treatment timing. Journal of
    Econometrics 225(2), equation (1).
    """
    names = ("treatment", *sample.covariates)
    outcome = sample.outcome_with_covariates
    if sample.first_treated is None:  # by unit, where groups do not say who is treated
        effects = np.empty((1, len(sample.periods), 0))
        varying = np.concatenate([sample.treatment[:, :, None], sample.x_varying], axis=2)
        mean = mean_over(replace(sample, y=outcome), sample.treatment == 1)
    else:
        treated = sample.treated_cells[:, :, None]
        effects, varying = treated.astype(float), sample.x_varying
        mean = cohort_means(sample, outcome).pooled(treated)
    return of_treatment(sample, names, two_way(sample, effects, varying, names), mean)


def of_treatment(
    sample: Sample, names: tuple[str, ...], fit: Regression, treated_mean: tuple[FloatArray, Influence]
) -> Estimate:
    """Return the coefficients of a regression, the first of them that of treatment.

    The counterfactual mean is the treated cells' mean, given with its influence, less that coefficient.
    """
    first, (mean, of_mean) = np.arange(len(names)) == 0, treated_mean
    return coefficients(
        sample,
        names,
        fit.coefficient,
        fit.influence,
        untreated_mean=np.where(first, mean - fit.coefficient, np.nan),
        untreated_influence=(of_mean - fit.influence.select(first)) @ first[None].astype(float),
        **fields_of(sample, fit, np.eye(len(names))),
    )


def two_way(
    sample: Sample,
    effects: FloatArray,
    varying: FloatArray,
    names: Sequence[str],
    family: Family = "gaussian",
) -> Regression:
    """Regress the outcome on effects by group, varying regressors, unit effects and period effects.

    Parameters
    ----------
    sample : Sample
    effects : ndarray, shape (G, T, K)
    varying : ndarray, shape (n, T, q)
    names : sequence of str, length K + q
        What the regressors are called in an error.
    family : {"gaussian", "poisson"}

    Raises
    ------
    QuestionError
        If a regressor is explained by the fixed effects and the other regressors.
    """
    terms = Terms(effects, period_effects(*effects.shape[:2]))
    fit = regress(sample.y, sample.groups[1], terms, sample.weights, varying=varying, family=family)
    identified = fit.identified[: effects.shape[2]]  # of event times, where there are several
    remedy = FEWER_EVENT_TIMES if len(identified) > 1 and not identified.all() else ""
    refuse_unidentified(names, fit.identified, remedy)
    return fit


def on_columns(sample: Sample, columns: FloatArray, names: Sequence[str]) -> Regression:
    """Regress the outcome on columns by unit and period, shape (n, T, q), unit effects and period effects."""
    return two_way(sample, np.empty((len(sample.groups[1]), len(sample.periods), 0)), columns, names)


def placed(fit: Regression, used: BoolArray) -> FloatArray:
    """Return the map from coefficients to K terms: those used, (K,), have the first of them, the others are zero."""
    place = np.eye(len(used))[used]
    return np.pad(place, ((0, len(fit.coefficient) - len(place)), (0, 0)))


def fields_of(sample: Sample, fit: Regression, place: FloatArray | None) -> dict[str, Any]:
    """Return the fields of an estimate that a regression has: what it counts, as fixest does, explains, and its form.

    ``place`` is the map from coefficients to terms, None where these are no linear combinations of coefficients.
    """
    return {
        "n_obs": int(sample.counted(fit.n_periods)),
        "df_k": fit.df_k,
        "n_fixed_effects": int(sample.counted(fit.seen)) if fit.n_fixed_effects else 0,
        "r_squared": fit.r_squared,
        "clusters": sample.n_clusters(fit.seen),
        "published": "CR1_fixest",
        "form": None if fit.equations is None or place is None else LinearForm(fit.equations.by_unit, place),
    }
