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
    time_weights_without_each,
)
from study.designs import COMMON, Assumes, Estimand, PredictionErrors, Sample, Supports, design
from study.designs.synthetic_blocks import (
    Block,
    Fitted,
    blocks,
    estimate_blocks,
    means_without_each,
    placebo_by_default,
    placebo_effects,
    refuse_clusters,
)
from study.estimates import Estimate


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
    leads: int | None = 0,
    inference: Literal["jackknife", "placebo"] | None = None,
    replications: int = 200,
    seed: int | None = None,
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
    leads : int, optional
        Number of periods before treatment (less the anticipation) that are terms too, for the plot of an event study;
        None for all. They are differences from the synthetic unit less their lambda-weighted mean before treatment
        (Clarke, Pailanir, Athey and Imbens 2023, Section 4; Ciccia 2024), which the weights make small: a test of them
        is no test of the design.
    inference : {"jackknife", "placebo"}, optional
        Standard errors that leave each unit out, or the standard deviation of effects on comparison units taken as
        treated (Algorithm 4), which one treated unit allows. These are of each number alone: bands, joint tests and
        differences from other designs are then not available. By default the jackknife where every cohort has two
        units or more, and placebo elsewhere, as the authors recommend.
    replications : int
        Placebo choices of comparison units.
    seed : int, optional
        Of the choices; 0 where none is given.

    Returns
    -------
    Estimate
        One term for each cohort and period from treatment on, and for the leads. "CR1" standard errors leave units out
        with all weights held (Algorithm 3). The default errors find the weights of periods anew, which few comparison
        units leave uncertain, and leave a cluster of several units out as a mean of its side would lose it.
        ``aggregate("treated_average")`` weights cohorts by treated unit-periods, as in the paper's appendix on
        staggered adoption.

    Raises
    ------
    QuestionError
        If fewer than two comparison units are there, no cohort has two periods before treatment, or placebo units are
        to be drawn from clusters.

    References
    ----------
    Arkhangelsky, D., Athey, S., Hirshberg, D. A., Imbens, G. W., and Wager, S. (2021). Synthetic
    difference-in-differences. American Economic Review 111(12).
    Abadie, A., Diamond, A., and Hainmueller, J. (2010). Synthetic control methods for comparative case studies.
    Journal of the American Statistical Association 105(490).
    Clarke, D., Pailanir, D., Athey, S., and Imbens, G. (2023). Synthetic difference-in-differences estimation.
    Ciccia, D. (2024). A short note on event-study synthetic difference-in-differences estimators.
    """
    parts, notes = blocks(sample, "synthetic_did", least=2)
    if inference is None:
        inference = "placebo" if placebo_by_default(sample, parts) else "jackknife"
    refuse_clusters(sample, "synthetic_did", inference)
    replicates = None

    def fit(block: Block) -> Fitted:
        own = block if method == "synthetic_control" else block.changes
        moves = np.zeros(block.before.shape)
        if method == "synthetic_did" and inference == "jackknife":
            moves = time_weights_without_each(own.before, own.after)
        return _without_each(own, block_weights(own, method, solver), leads, moves)

    if inference == "placebo":
        replicates, note = placebo_effects(parts, fit, "synthetic_did", replications, seed or 0)
        notes = [*notes, note]

    how: dict[str, Any] = {"leads": leads, "replicates": replicates, "replication": inference}
    return estimate_blocks(sample, parts, fit, "synthetic_did", notes, **how)


def block_weights(block: Block, method: str, solver: Solver = "exact") -> Weights:
    """Return the weights of a block's comparison units and of its periods before treatment."""
    treated = block.treated[:, : block.n_before].mean(axis=0)
    if method == "synthetic_control":
        return synthetic_control_weights(block.before, treated, solver)
    return synthetic_did_weights(block.before, block.after, treated, block.n_cells, solver)


def _without_each(block: Block, weights: Weights, leads: int | None, moves: FloatArray) -> Fitted:
    """Return the effects, and those without each unit with the other weights scaled up.

    Without a comparison unit weights of periods move by ``moves``, shape (J, T0), and effects by these times what the
    treated units were above the others before treatment.
    """
    mean, omega = block.treated.mean(axis=0), weights.unit[:, None]
    synthetic = weights.unit @ block.comparison
    # Less than the ridge is worth is no weight that could be scaled up.
    left = np.where(1 - omega > UNIQUE, 1 - omega, np.nan)
    others = (synthetic - omega * block.comparison) / left
    apart = np.vstack([mean - synthetic, mean - others, means_without_each(block.treated) - synthetic])
    before = apart[:, : block.n_before]
    effects = apart[:, block.start(leads) :] - (before @ weights.time)[:, None]
    moved = np.sum(moves * before[1 : len(omega) + 1], axis=1)
    anew = effects[1:] - np.pad(moved, (0, len(block.treated)))[:, None]
    return Fitted(effects[0], effects[1:], anew)
