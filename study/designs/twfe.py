"""Two-way fixed effects with one treatment coefficient."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from study.core import (
    Family,
    FloatArray,
    Influence,
    Regression,
    Terms,
    linear_form,
    period_effects,
    refuse_unidentified,
    regress,
)
from study.designs import Assumes, Estimand, Supports, design
from study.estimates import (
    Estimate,
    coefficients,
    cohort_means,
    mean_over,
    outcome_with_covariates,
    treated_cells,
)
from study.panel import Sample


@design(
    name="twfe",
    title="Two-way fixed effects, static",
    reference="goodmanbacon2021",
    estimand=Estimand.COEFFICIENT,
    assumes=(Assumes.PARALLEL_TRENDS, Assumes.LIMITED_ANTICIPATION, Assumes.HOMOGENEOUS_EFFECTS),
    supports=(
        Supports.COVARIATES,
        Supports.MISSING_CELLS,
        Supports.ANTICIPATION,
        Supports.CLUSTERS,
        Supports.WEIGHTS,
        Supports.SWITCHING,
        Supports.PROPORTIONAL,
    ),
)
def twfe(sample: Sample) -> Estimate:
    """Regress the outcome on treatment, covariates by period, unit effects and period effects.

    y_it = alpha_i + lambda_t + beta D_it + x_it'gamma + e_it. With staggered adoption and effects that
    differ, beta weights some of them negatively (Goodman-Bacon 2021, Theorem 1), so it is reported as a
    coefficient and not as an average effect.

    Parameters
    ----------
    sample : Sample
        Difference are allowed; covariates enter by period.

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
    names = ("treatment", *sample.question.covariates)
    fit = two_way(sample, *_treatment(sample), names)
    mean, mean_influence = _treated_mean(sample)
    untreated = np.full(len(names), np.nan)
    untreated[0] = mean[0] - fit.coefficient[0]
    first = np.zeros((1, len(names)))
    first[0, 0] = 1.0
    return coefficients(
        sample,
        names,
        fit.coefficient,
        fit.influence,
        n_obs=fit.n_obs,
        untreated_mean=untreated,
        untreated_influence=(mean_influence - fit.influence.select(np.arange(len(names)) == 0)) @ first,
        df_k=fit.df_k,
        n_fixed_effects=fit.n_fixed_effects,
        clusters=fit.n_clusters(sample.cluster),
        published="CR1_fixest",
        form=linear_form(fit.equations, np.eye(len(names))),
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
    fit = regress(
        sample.y,
        sample.groups[1],
        Terms(effects, period_effects(*effects.shape[:2])),
        sample.weights,
        varying=varying,
        family=family,
    )
    refuse_unidentified(names, fit.identified)
    return fit


def _treatment(sample: Sample) -> tuple[FloatArray, FloatArray]:
    """Return treatment as a regressor by group, or by unit where it is not absorbing, and the varying regressors."""
    if sample.first_treated is None:
        varying = np.concatenate([sample.treatment[:, :, None], sample.x_varying], axis=2)
        return np.empty((1, len(sample.periods), 0)), varying
    return treated_cells(sample).astype(float)[:, :, None], sample.x_varying


def _treated_mean(sample: Sample) -> tuple[FloatArray, Influence]:
    """Return the mean outcome of treated cells, with its influence."""
    if sample.first_treated is None:
        return mean_over(replace(sample, y=outcome_with_covariates(sample)), sample.treatment == 1)
    return cohort_means(sample, outcome_with_covariates(sample)).pooled(treated_cells(sample)[:, :, None])
