"""The regression with three-way fixed effects that triple differences are often estimated by."""

from __future__ import annotations

import numpy as np

from study.core import Terms, refuse_unidentified, regress
from study.designs import COMMON, Assumes, Estimand, Sample, Supports, design
from study.designs.triple_difference import by_eligibility, with_both_groups
from study.designs.twfe import of_treatment
from study.estimates import Estimate, cohort_means


@design(
    title="Three-way fixed effects, static",
    reference="ortizvillavicencio2025",
    estimand=Estimand.COEFFICIENT,
    assumes=(Assumes.PARALLEL_DIFFERENCES, Assumes.LIMITED_ANTICIPATION, Assumes.HOMOGENEOUS_EFFECTS),
    supports=COMMON | {Supports.WEIGHTS, Supports.GROUP},
)
def three_way(sample: Sample) -> Estimate:
    """Regress the outcome on treatment of the eligible, with unit, cohort-by-period and eligibility-by-period effects.

    Equation (3.1): with S_i the cohort of unit i and Q_i whether it is eligible, y_it = alpha_i + gamma_{S,t} +
    lambda_{Q,t} + beta Q_i D_it + x_it'delta + e_it. Without gaps and covariates beta is the two-way regression of each
    cohort's difference between eligible and other units, with weights n_1 n_0 / (n_1 + n_0). It weights effects that
    differ as that does, some of them negatively, so that it is reported as a coefficient and not as an average effect;
    :func:`triple_difference` has the averages.

    Parameters
    ----------
    sample : Sample
        With a group. Gaps are allowed; covariates enter by period.

    Returns
    -------
    Estimate
        The coefficient of treatment, then those of the covariates. Standard errors are clustered and counted as fixest
        counts them ("CR1_fixest"). "Proportional" divides by the mean outcome of the treated cells of eligible units
        less the coefficient.

    Raises
    ------
    QuestionError
        If a cohort has no unit of one of the groups, or a regressor is collinear with the fixed effects.

    References
    ----------
    Ortiz-Villavicencio, M., and Sant'Anna, P. H. C. (2025). Better understanding triple differences estimators. arXiv
    2505.09942v3.
    """
    sample = with_both_groups(sample, "three_way")
    coded, names = by_eligibility(sample), ("treatment", *sample.covariates)
    labels, rows = coded.groups
    cohort, eligible = np.divmod(labels.astype(np.int64), 2)
    treated = (sample.treated_cells[cohort] & (eligible == 1)[:, None])[:, :, None]
    # A period effect for each cohort and for the eligible.
    by_cohort = np.column_stack([cohort[:, None] == np.unique(cohort), eligible]).astype(float)
    nuisance = np.einsum("gc,ts->gtcs", by_cohort, np.eye(len(sample.periods)))
    terms = Terms(treated.astype(float), nuisance.reshape(*treated.shape[:2], -1))
    fit = regress(sample.y, rows, terms, sample.weights, varying=sample.x_varying)
    refuse_unidentified(names, fit.identified)
    mean = cohort_means(coded, sample.outcome_with_covariates).pooled(treated)
    return of_treatment(sample, names, fit, mean)
