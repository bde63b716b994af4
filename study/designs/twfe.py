"""Two-way fixed effects with one treatment coefficient."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from study.designs import Assumes, Estimand, Handles, design
from study.estimates import Estimate, coefficients
from study.fixed_effects import two_way_regression
from study.panel import FloatArray
from study.question import Sample


@design(
    name="twfe",
    title="Two-way fixed effects, static",
    reference="goodmanbacon2021",
    estimand=Estimand.COEFFICIENT,
    assumes=(Assumes.PARALLEL_TRENDS, Assumes.LIMITED_ANTICIPATION, Assumes.HOMOGENEOUS_EFFECTS),
    handles=(
        Handles.COVARIATES,
        Handles.MISSING_CELLS,
        Handles.ANTICIPATION,
        Handles.CLUSTERS,
        Handles.WEIGHTS,
        Handles.SWITCHING,
        Handles.PROPORTIONAL,
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
    names = ["treatment", *sample.question.covariates]
    regressors = np.concatenate([sample.treatment[None], np.moveaxis(sample.x_varying, 2, 0)])
    fit = two_way_regression(sample.y, regressors, names, sample.weights)
    treated = sample.treatment[None] == 1
    mean, mean_influence = treated_means(sample, treated)
    untreated = np.full(len(names), np.nan)
    untreated[0] = mean[0] - fit.coefficient[0]
    untreated_influence = np.zeros_like(fit.influence)
    untreated_influence[:, :1] = mean_influence - fit.influence[:, :1]
    return coefficients(
        sample,
        tuple(names),
        fit.coefficient,
        fit.influence,
        n_obs=int(sample.observed.sum()),
        untreated_mean=untreated,
        untreated_influence=untreated_influence,
        counted=fit.counted,
        convention="CR1_fixest",
    )


def treated_means(sample: Sample, cells: NDArray[np.bool_]) -> tuple[FloatArray, FloatArray]:
    """Return the weighted mean outcome over each set of cells, with its influence by unit.

    Parameters
    ----------
    sample : Sample
    cells : ndarray of bool, shape (k, n, T)

    Returns
    -------
    mean, influence : ndarray, shapes (k,), (n, k)
    """
    weight = sample.weights[:, None] * (cells & sample.observed)
    outcome = np.nan_to_num(sample.y)
    total = weight.sum(axis=(1, 2))
    mean = np.einsum("kit,it->k", weight, outcome) / total
    deviation = np.einsum("kit,kit->ik", weight, outcome[None] - mean[:, None, None])
    return mean, sample.n_units * deviation / total
