"""Two-way fixed effects with the covariances of linearmodels' PanelOLS by name."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from study.core import BoolArray, FloatArray, IntArray, QuestionError, Terms, regress
from study.designs import COMMON, Assumes, Estimand, Sample, Supports, design
from study.designs.twfe import fields_of, on_columns
from study.estimates import Estimate, coefficients


@design(
    title="Two-way fixed effects with linearmodels' covariances",
    reference="sheppard2026",
    estimand=Estimand.COEFFICIENT,
    assumes=(Assumes.PARALLEL_TRENDS, Assumes.LIMITED_ANTICIPATION, Assumes.HOMOGENEOUS_EFFECTS),
    supports=COMMON - {Supports.PROPORTIONAL} | {Supports.WEIGHTS, Supports.SWITCHING, Supports.LEVELS},
)
def panel_ols(sample: Sample) -> Estimate:
    """Regress the outcome on treatment of any level, covariates by period, unit effects and period effects.

    y_it = alpha_i + lambda_t + beta D_it + x_it'gamma + e_it, the regression of ``twfe``, with the covariances that
    PanelOLS of linearmodels has with entity and time effects. D is 0 or 1, or the amount of treatment where the event
    is a dose. Influence by unit is n sum_t w_i x_it e_it H^-1, with x less its fixed effects, as ``twfe`` has it.

    Parameters
    ----------
    sample : Sample
        Gaps are allowed; covariates enter by period.

    Returns
    -------
    Estimate
        The coefficient of treatment, then those of the covariates, with the ``vcov`` of every design and
        those of linearmodels: "unadjusted", "robust", "clustered" (by the question's cluster), "twoway" (by that and
        by period) and "driscoll_kraay" (Bartlett weights of its default bandwidth), each with its factor N / (N - k),
        in which k counts all fixed effects, and t(N - k). These are matrices: bands, averages and comparisons with
        other estimates, which need influence by unit, refuse them.

    Raises
    ------
    QuestionError
        If a regressor is collinear with the fixed effects, or no degree of freedom is left.

    References
    ----------
    Driscoll, J. C. and A. C. Kraay (1998). Consistent covariance matrix estimation with spatially dependent panel
    data. Review of Economics and Statistics 80(4).
    Sheppard, K. (2026). linearmodels 7.1.
    """
    names = ("treatment", *sample.covariates)
    regressors = np.concatenate([sample.treatment[:, :, None], sample.x_varying], axis=2)
    fit = on_columns(sample, regressors, names)
    seen = sample.observed & ~np.isnan(regressors).any(axis=2)
    n_effects = int(seen.any(axis=0).sum()) - 1 + fit.n_fixed_effects
    if fit.n_obs <= len(names) + n_effects:
        raise QuestionError(
            f"panel_ols: {fit.n_obs} observations leave no degree of freedom beside {len(names)} regressors and the "
            "fixed effects; use twfe, whose errors by cluster need none."
        )
    return coefficients(
        sample,
        names,
        fit.coefficient,
        fit.influence,
        given=linearmodels_covariances(sample, regressors, seen, fit.coefficient, n_effects),
        given_degrees=float(fit.n_obs - len(names) - n_effects),
        **fields_of(sample, fit, np.eye(len(names))),
    )


def linearmodels_covariances(
    sample: Sample, regressors: FloatArray, seen: BoolArray, coefficient: FloatArray, n_effects: int
) -> dict[str, FloatArray]:
    """Return linearmodels' covariances of coefficients of regressors, shape (n, T, K), in seen cells, by name."""
    from linearmodels.panel import covariance as kinds

    unit, period = np.nonzero(seen)
    cluster = sample.cluster[unit]
    y, *x = (
        less_effects(sample, block, seen)[:, None] for block in (sample.y, *np.moveaxis(regressors, 2, 0))
    )
    rows = y, np.hstack(x), coefficient[:, None], unit, period

    def of(kind: Any, **options: IntArray) -> FloatArray:
        return np.asarray(kind(*rows, debiased=True, extra_df=n_effects, **options).cov)

    made = {"unadjusted": of(kinds.HomoskedasticCovariance), "robust": of(kinds.HeteroskedasticCovariance)}
    if np.ptp(cluster):  # one cluster has no variance
        made |= clustered(of, kinds, cluster, period)
    return made | {"driscoll_kraay": of(kinds.DriscollKraay)}


def clustered(
    of: Callable[..., FloatArray], kinds: Any, cluster: IntArray, period: IntArray
) -> dict[str, FloatArray]:
    """Return linearmodels' covariances by cluster, and by cluster and by period, from its module of their kinds."""
    by, pair = kinds.ClusteredCovariance, cluster * (int(period.max()) + 1) + period
    # By single observations it is the robust one, which linearmodels would add up one by one.
    alone = len(np.unique(pair)) == len(pair)
    both = of(kinds.HeteroskedasticCovariance) if alone else of(by, clusters=pair)
    by_cluster = of(by, clusters=cluster)
    return {"clustered": by_cluster, "twoway": by_cluster + of(by, clusters=period) - both}


def less_effects(sample: Sample, block: FloatArray, seen: BoolArray) -> FloatArray:
    """Return a block, shape (n, T), less its unit and period effects, in N seen cells times the root of weights."""
    n, n_periods = block.shape
    terms = Terms.of_periods(1, n_periods)
    fit = regress(np.where(seen, block, np.nan), [np.arange(n)], terms, sample.weights)
    return fit.residual[0][seen] * np.sqrt(sample.weights[np.nonzero(seen)[0]])
