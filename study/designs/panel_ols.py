"""Two-way fixed effects by linearmodels' PanelOLS, with its covariances by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from study.core import BoolArray, FloatArray, QuestionError, linear_form
from study.designs import COMMON, Assumes, Estimand, Supports, design
from study.designs.twfe import counted, on_columns
from study.estimates import Estimate, coefficients
from study.panel import Sample


@design(
    title="Two-way fixed effects by linearmodels",
    reference="sheppard2026",
    estimand=Estimand.COEFFICIENT,
    assumes=(Assumes.PARALLEL_TRENDS, Assumes.LIMITED_ANTICIPATION, Assumes.HOMOGENEOUS_EFFECTS),
    supports=COMMON - {Supports.PROPORTIONAL} | {Supports.WEIGHTS, Supports.SWITCHING, Supports.LEVELS},
)
def panel_ols(sample: Sample) -> Estimate:
    """Regress the outcome on treatment of any level, covariates by period, unit effects and period effects.

    y_it = alpha_i + lambda_t + beta D_it + x_it'gamma + e_it, the regression of ``twfe``, estimated by PanelOLS of
    linearmodels with entity and time effects. D is 0 or 1, or the amount of treatment where the event is a dose.
    Influence by unit is n sum_t w_i x_it e_it H^-1, with x less its fixed effects, as ``twfe`` has it.

    Parameters
    ----------
    sample : Sample
        Gaps are allowed; covariates enter by period.

    Returns
    -------
    Estimate
        The coefficient of treatment, then those of the covariates, under the conventions of every design and under
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
    if fit.n_obs <= len(names) + int(seen.any(axis=0).sum()) - 1 + fit.n_fixed_effects:
        raise QuestionError(
            f"panel_ols: {fit.n_obs} observations leave no degree of freedom beside {len(names)} regressors and the "
            "fixed effects; use twfe, whose errors by cluster need none."
        )
    fits = linearmodels_fits(sample, regressors, seen)
    return coefficients(
        sample,
        names,
        fits["robust"].params.to_numpy(),
        fit.influence,
        form=linear_form(fit.equations, np.eye(len(names))),
        given={name: each.cov.to_numpy() for name, each in fits.items()},
        given_degrees=float(fits["robust"].df_resid),
        **counted(sample, fit),
    )


def linearmodels_fits(sample: Sample, regressors: FloatArray, seen: BoolArray) -> dict[str, Any]:
    """Return the results of PanelOLS on regressors, shape (n, T, K), in seen cells, by the name of the covariance."""
    import pandas as pd
    from linearmodels.panel import PanelOLS

    unit, period = np.nonzero(seen)
    index = pd.MultiIndex.from_arrays([unit, period])
    weights, cluster = (pd.DataFrame(values[unit], index) for values in (sample.weights, sample.cluster))
    y, x = pd.DataFrame(sample.y[seen], index), pd.DataFrame(regressors[seen], index)
    model = PanelOLS(y, x, weights=weights, entity_effects=True, time_effects=True)
    twoway = {"cov_type": "clustered", "clusters": cluster, "cluster_time": True}
    return fits_by_name(model.fit, cluster, twoway=twoway, driscoll_kraay={"cov_type": "kernel"})


def fits_by_name(fit: Callable[..., Any], cluster: Any, **others: Mapping[str, Any]) -> dict[str, Any]:
    """Return what linearmodels' fit returns by the name of the covariance: those of all its models, and others."""
    how = {name: {"cov_type": name} for name in ("unadjusted", "robust", "clustered")}
    how["clustered"]["clusters"] = cluster
    return {name: fit(**covariance) for name, covariance in (how | others).items()}
