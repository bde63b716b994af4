"""Synthetic difference-in-differences of Arkhangelsky, Athey, Hirshberg, Imbens and Wager (2021), Algorithm 1."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np

from study.core import (
    UNIQUE,
    BoolArray,
    FloatArray,
    QuestionError,
    Solver,
    Weights,
    synthetic_control_weights,
    synthetic_did_weights,
)
from study.designs import COMMON, Assumes, Estimand, PredictionErrors, Supports, design
from study.designs.synthetic_blocks import Block, Fitted, blocks, estimate_blocks, means_without_each
from study.estimates import Estimate
from study.panel import Sample


def predictor(sample: Sample, method: str, solver: Solver, **options: Any) -> PredictionErrors:
    """Return the function that finds a cohort's synthetic control on the periods in which its cells are given."""
    if method != "synthetic_control":
        raise QuestionError(
            "synthetic_did: its weights of periods are for one set of periods after treatment, so that it predicts no "
            'others; use method="synthetic_control".'
        )

    def prediction_errors(sample: Sample, seen: BoolArray) -> FloatArray:
        assert sample.first_treated is not None
        error, free = np.full(sample.y.shape, np.nan), ~sample.ever_treated
        for g in sample.cohorts:
            own = sample.first_treated == g
            cells, mean = seen[own].all(axis=0), sample.y[own].mean(axis=0)
            weights = synthetic_control_weights(sample.y[free][:, cells], mean[cells], solver)
            error[own] = sample.y[own] - weights.unit @ sample.y[free]
        return error

    return prediction_errors


@design(
    title="Synthetic difference-in-differences (Arkhangelsky et al.)",
    reference="arkhangelsky2021",
    estimand=Estimand.GROUP_TIME_ATT,
    assumes=(Assumes.WEIGHTED_TRENDS, Assumes.LIMITED_ANTICIPATION),
    supports=COMMON - {Supports.COVARIATES, Supports.MISSING_CELLS} | {Supports.NEVER_TREATED},
    predictor=predictor,
)
def synthetic_did(
    sample: Sample,
    *,
    method: Literal["synthetic_did", "synthetic_control"] = "synthetic_did",
    solver: Solver = "exact",
) -> Estimate:
    """Compare each cohort with the weighted comparison units that moved as it did before treatment.

    With omega the units' and lambda the periods' weights, the effect in period t is
    mean_treated(z_t) - sum_j omega_j z_jt, with z_it = y_it - sum_s lambda_s y_is. Its mean over the periods from
    treatment on is tau of equation (1). Parallel trends are needed of the weighted comparison only.

    Parameters
    ----------
    sample : Sample
        Absorbing treatment, no gaps. Comparison units are not treated in the window, under either comparison;
        cohorts that are treated later are not among them.
    method : {"synthetic_did", "synthetic_control"}
        Both weights with an intercept in each, or unit weights that match levels and no weights of periods
        (Abadie, Diamond and Hainmueller 2010).
    solver : {"exact", "frank_wolfe"}
        The minimum, or what the authors' software returns, which stops short of it.

    Returns
    -------
    Estimate
        One term for each cohort and period from treatment on; "CR1" standard errors, which are the jackknife's with
        weights held (Algorithm 3). ``aggregate("treated_average")`` weights cohorts by treated unit-periods, as in the
        paper's appendix on staggered adoption. Differences before treatment are what the weights make small, and are
        no terms. With a cohort of one unit and ``min_cohort_size=1`` there are no standard errors.

    Raises
    ------
    QuestionError
        If a cohort has one unit and the question does not say what to do with it, fewer than two comparison
        units are there, or no cohort has two periods before treatment.

    References
    ----------
    Arkhangelsky, D., Athey, S., Hirshberg, D. A., Imbens, G. W., and Wager, S. (2021). Synthetic
    difference-in-differences. American Economic Review 111(12).
    Abadie, A., Diamond, A., and Hainmueller, J. (2010). Synthetic control methods for comparative case studies.
    Journal of the American Statistical Association 105(490).
    """
    parts, notes = blocks(sample, "synthetic_did", least=2)

    def fit(block: Block) -> Fitted:
        used = block if method == "synthetic_control" else block.changes
        return _weighted(used, block_weights(used, method, solver))

    return estimate_blocks(sample, parts, fit, "synthetic_did", notes)


def block_weights(block: Block, method: str, solver: Solver = "exact") -> Weights:
    """Return the weights of a block's comparison units and of its periods before treatment."""
    treated = block.treated[:, : block.n_before].mean(axis=0)
    if method == "synthetic_control":
        return synthetic_control_weights(block.before, treated, solver)
    return synthetic_did_weights(block.before, block.after, treated, block.n_cells, solver)


def _weighted(block: Block, weights: Weights) -> Fitted:
    """Return the effects under given weights, and without each unit with the other weights scaled up."""
    compared, treated = _against(block.comparison, weights.time), _against(block.treated, weights.time)
    synthetic, mean = weights.unit @ compared, treated.mean(axis=0)
    omega = weights.unit[:, None]
    left = 1 - omega
    with np.errstate(divide="ignore", invalid="ignore"):
        # Less than the ridge is worth is no weight that could be scaled up.
        others = np.where(left > UNIQUE, (synthetic - omega * compared) / left, np.nan)
    return Fitted(mean - synthetic, np.vstack([mean - others, means_without_each(treated) - synthetic]))


def _against(y: FloatArray, time: FloatArray) -> FloatArray:
    """Return outcomes from treatment on less the weighted ones before it, shape (m, T1)."""
    before, after = y[:, : len(time)], y[:, len(time) :]
    return after - (before @ time)[:, None]
