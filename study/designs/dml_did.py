"""Group-time average treatment effects with learned nuisance functions: doubleml's difference-in-differences."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

import numpy as np

from study.core import BoolArray, FloatArray, Influence, IntArray, QuestionError, counted
from study.designs import COMMON, OF_LEARNERS, Estimand, Sample, Supports, design
from study.designs.did_cells import (
    Effects,
    cells_of,
    comparisons,
    effects_in_cells,
    known_cells,
    whole_cohorts,
)
from study.estimates import Estimate
from study.learners import (
    ALIKE,
    Learner,
    Learning,
    Nuisance,
    Nuisances,
    Part,
    averaged,
    share_alike,
    spread_of_draws,
)

Variance = Literal["sampling", "conditional"]
SEPARATED = (
    "no overlap, comparison units weighted to be like the treated ones add up to less than "
    f"{ALIKE:.0%} of their number"
)


def nuisances(sample: Sample, learning: Learning, *, variance: Variance = "sampling") -> Nuisances:
    """Return, for each set of cells of the same units, who is of the cohort and the change at each event time.

    Cells in which nothing can be learned outside each fold are left out. Arguments and errors are those of the
    design. The layout is the cells; those of each part, which are of one cohort whose treated units are the same, and
    whose comparison units are; the unit-periods that each part rests on, shape (T, n); and all that is known of the
    cells but the estimates themselves, which are zero here.
    """
    learning.check("dml_did")
    everyone = np.arange(sample.n_units)
    folds = learning.draw("dml_did", sample, everyone, sample.group_number, "in the sample")
    cohorts, left_out = large_cohorts(sample, learning.folds)
    clusters, outcome = sample.question.clusters_in_words, sample.question.outcome_in_words
    if not len(cohorts):
        raise QuestionError(
            f"dml_did: no effect can be estimated: {left_out[0]}; use fewer folds, pool adoption years with "
            "cohort_width, or use dml_stacked."
        )

    cells, n = cells_of(sample, cohorts), sample.n_units
    y, n_periods = np.nan_to_num(sample.y).T, len(sample.periods)
    mean, mean_influence = np.zeros(len(cells.cohort)), np.zeros((n, len(cells.cohort)))
    size, reasons = np.zeros(len(mean), dtype=np.int64), np.full(len(mean), "", dtype=object)
    few = f"too few {clusters} are seen to learn from outside each of the {learning.folds} folds"
    words = f"the change of {outcome} among comparison units"
    parts, of_part, used = list[Part](), list[IntArray](), list[BoolArray]()

    def part(rows: IntArray, treated: BoolArray) -> Part:
        """Return what is learned in the last cells; learners that draw take their seed from names and numbers."""
        y, own = sample.y[rows], cells.select(of_part[-1])
        adoption = Nuisance(treated.astype(float), learning.propensity, "probability", words="adoption")
        functions = {"treatment": adoption}
        changes = (y[:, own.now] - y[:, own.base]).T
        for event, change in zip(own.period - own.cohort, changes, strict=True):
            of_event = Nuisance(change, learning.learner, among=~treated, words=words)
            functions[f"event time {event:g}"] = of_event
        seed = np.random.SeedSequence(learning.seed, spawn_key=(len(parts),)).generate_state(1)
        period = np.zeros(len(rows), dtype=np.int64)
        return Part(rows, sample.x_baseline[rows], period, functions, folds.of(rows), int(seed[0]))

    for c in comparisons(sample, cells):
        mean[c.own], of_mean = c.treated_mean(sample, y)
        mean_influence[np.ix_(c.members, c.own)] = of_mean.T
        why = c.unseen
        for alike in c.alike(np.flatnonzero((why == "") & (c.now != c.base)), sample):
            treated = np.zeros(n, dtype=bool)
            treated[c.members] = c.treated_now[alike[0]]
            rows = np.flatnonzero(treated | c.compared_now[alike[0]])
            cluster, sides = sample.cluster[rows], (treated[rows], ~treated[rows])
            # Each fold has a row, and leaves two clusters with treated rows and two with others.
            if any(
                train.all() or any(len(np.unique(cluster[train & side])) < 2 for side in sides)
                for train in folds.of(rows).training()
            ):
                why[alike] = few
                continue
            used.append(c.used(alike, n_periods))
            of_part.append(c.own[alike])
            parts.append(part(rows, treated[rows]))
        reasons[c.own], size[c.own] = why, c.treated_now.sum(axis=1)
    known_cells("dml_did", sample, cells, reasons, [])  # refused before anything is learned
    none, of_means = Influence.none(n, len(mean)), Influence.of(mean_influence)
    effects = Effects(np.zeros(len(mean)), none, mean, of_means, size, reasons)
    limits = (0.0, 1 - learning.trim)
    return Nuisances(tuple(parts), layout=(cells, of_part, used, effects), without="the mean", limits=limits)


def large_cohorts(sample: Sample, folds: int) -> tuple[FloatArray, list[str]]:
    """Return the cohorts that have as many clusters as there are folds, and a note on the others."""
    sizes = {g: sample.n_clusters(sample.first_treated == g) for g in sample.cohorts}
    small = [f"{sample.period_name(g)} ({number})" for g, number in sizes.items() if number < folds]
    large = np.array([g for g, number in sizes.items() if number >= folds])
    which = "cohort" if len(small) == 1 else "cohorts"
    note = (
        f"{which} {', '.join(small)} left out: {folds} folds need as many {sample.question.clusters_in_words}"
    )
    return large, [note] if small else []


@design(
    title="Double machine learning, group-time difference-in-differences",
    reference="chang2020",
    estimand=Estimand.GROUP_TIME_ATT,
    assumes=OF_LEARNERS,
    supports=COMMON | {Supports.NEVER_TREATED, Supports.VARYING_BASE},
    nuisances=nuisances,
)
def dml_did(
    sample: Sample,
    *,
    learner: Learner = "lasso",
    propensity: Learner = "lasso",
    folds: int = 5,
    repetitions: int = 5,
    trim: float = 0.01,
    variance: Variance = "sampling",
    seed: int = 0,
) -> Estimate:
    """Compare each cohort's change since its base period with that of comparison units, both given covariates.

    Periods, bases and comparison units are those of ``callaway_santanna``, equations (2.4) and (2.7) of Callaway
    and Sant'Anna (2021). In the cell of cohort g and period t, among the units that are seen in t and in the base,
    with dY the change between the two, D who is of the cohort, g(X) = E[dY | D = 0, X] and p(X) = P(D = 1 | X),

        ATT(g,t) = mean of (D / mean D - w / mean w) (dY - g(X)),    w = (1 - D) p(X) / (1 - p(X)),

    which is doubleml's "observational" score with in-sample normalization (Chang 2020; Sant'Anna and Zhao 2020,
    equation (3.1)). g and p are predicted for each unit by learners that have not seen its fold. Folds are drawn
    once for the sample, so that a unit is in the same fold in all cells. Without covariates g is the mean change
    of comparison units and p the share of the cohort, of the other folds.

    An effect on the treated weights comparison units by p / (1 - p), so only p near 1 makes weights large:
    propensities are bounded by 1 - ``trim`` from above, and ``notes`` count those that are. doubleml bounds them
    by 0.01 from below as well. Where one unit in three hundred is treated, that makes nearly all of them 0.01, and
    weights nearly equal. With the true p the weights p / (1 - p) add up to the number of treated units; cells in which
    they add up to less than a tenth of it are left out, since covariates nearly tell there who is of the cohort; so are
    cells where a covariate is larger for all of one side, or least squares finds the cohort, whatever the learner sees.

    Parameters
    ----------
    sample : Sample
        Absorbing treatment. Covariates enter by their first observed value; gaps are allowed.
    learner, propensity : {"lasso", "forest", "lightgbm", "ensemble", "linear"} or scikit-learn estimator
        Of g and of p, in each cell by itself: lasso, or logit with its penalty, on the covariates, their squares
        and products; random forest; boosted trees; the ensemble of these three with the weights that predict
        best; least squares and logit on the covariates; or any regressor and any classifier.
    folds : int
        Folds by unit, or by cluster where the question names clusters, with each cohort spread over them evenly.
    repetitions : int
        Times the folds are drawn; estimates and influence are the averages, where doubleml has medians.
    trim : float
        Above 0 and below 0.5.
    variance : {"sampling", "conditional"}
        Whether averages carry the estimation of cohort shares, or take the shares as given, as doubleml does.
    seed : int
        Of the folds and of learners that draw. Folds are assigned to units in the order of their labels.

    Returns
    -------
    Estimate
        One term for each cohort and period, in that order, with a reference term at the base of each cohort if it
        is universal. The influence of a unit is n times its score over the number of units in the cell, zero for
        those that are not in it; "CR0" standard errors. "Proportional" divides by the treated units' mean in
        the period less ATT(g,t). ``notes`` name each cohort and period that has no estimate, and why.

    Raises
    ------
    QuestionError
        If an option is impossible, each cohort has fewer units (or clusters) than folds, or no effect can be
        estimated.

    Notes
    -----
    doubleml's DoubleMLDIDMulti answers some questions differently. With anticipation d it compares with all units
    not treated by t + d, here with those not treated by the later of t and the base, plus d, which differs before
    treatment if the base is universal; in the last d periods it compares with all that are treated after the
    window. With a varying base and d > 0 its base is min(t, g) - d - 1, here t - 1 for t < g - d and g - d - 1
    from then on. With gaps it averages cohorts by their rows, here by their units. It does not cluster.

    References
    ----------
    Callaway, B., and Sant'Anna, P. H. C. (2021). Difference-in-differences with multiple time periods.
    Journal of Econometrics 225(2).
    Chang, N.-C. (2020). Double/debiased machine learning for difference-in-differences models. Econometrics
    Journal 23(2).
    Sant'Anna, P. H. C., and Zhao, J. (2020). Doubly robust difference-in-differences estimators. Journal of
    Econometrics 219(1).
    """
    functions = nuisances(sample, Learning(learner, folds, repetitions, seed, propensity, trim))
    (cells, of_part, rests_on, effects), predicted = functions.layout, functions.predicted()
    linear, reasons, n = effects.estimate.copy(), effects.reasons.copy(), sample.n_units
    influence, of_draw = np.zeros((n, len(linear))), np.zeros((len(linear), repetitions))
    scores, learned, used = [], list[int](), np.zeros(sample.y.T.shape, dtype=bool)
    for numbers, own, part, predictions in zip(of_part, rests_on, functions.parts, predicted, strict=True):
        treated, m_hat = part.functions["treatment"].target, functions.clipped(predictions["treatment"])
        if not share_alike(treated, m_hat, part.x, both=False) > ALIKE:
            reasons[numbers] = SEPARATED
            continue
        scores.append(predictions["treatment"][treated == 0])
        learned.extend(numbers)
        used |= own
        changes = [name for name in part.functions if name != "treatment"]
        for k, name in zip(numbers, changes, strict=True):
            scores_of_cell = doubly_robust(part.functions[name].target, treated, predictions[name], m_hat)
            average = averaged(*scores_of_cell, part.unit, n)
            linear[k], of_draw[k] = average.coefficient[0], average.of_draw
            influence[:, k] = average.influence[:, 0]
    effects = effects._replace(
        estimate=linear, influence=Influence.of(influence), reasons=reasons, n_obs=int(used.sum())
    )
    fit = effects_in_cells(
        "dml_did",
        sample,
        cells,
        effects,
        large_cohorts(sample, folds)[1],
        shares="estimated" if variance == "sampling" else "fixed",
        contrast=whole_cohorts(sample, cells),
        of_draw=of_draw,
    )
    rows = f"in {counted(len(scores), 'comparison')} of a cohort"
    notes = [functions.clipping_note(np.concatenate(scores), "propensities of comparison units", rows)]
    if repetitions > 1:
        spread = spread_of_draws(sample, of_draw[learned], Influence.of(influence[:, learned]))
        notes.append(
            f"Over {repetitions} draws of the folds an effect of one has a standard deviation of "
            f"{np.median(spread):.2f} CR0 standard errors in the median cell, of {spread.max():.2f} in the one that "
            "moves most."
        )
    return replace(fit, remarks=(*fit.remarks, *notes))


def doubly_robust(
    change: FloatArray, treated: FloatArray, g_hat: FloatArray, m_hat: FloatArray
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Return a cell's effect by repetition, (R,), its scores, and their derivatives by the effect, (m, R).

    The score is psi_a theta + psi_b with psi_a = -D / mean(D) and psi_b the change less g times the weight D / mean(D)
    less that of comparison units, their odds over the mean of these.

    Parameters
    ----------
    change, treated : ndarray, shape (m,)
    g_hat, m_hat : ndarray, shape (m, R)
        Cross-fitted predictions of the change without treatment, and propensities between 0 and 1.
    """
    # A repetition is a row here, so that its means do not depend on how many there are.
    g_hat, m_hat = np.ascontiguousarray(g_hat.T), np.ascontiguousarray(m_hat.T)
    centre = change.mean()
    odds = (1 - treated) * (m_hat / (1 - m_hat))
    psi_a = np.broadcast_to(-treated / treated.mean(), odds.shape)
    psi_b = (-psi_a - odds / odds.mean(axis=1, keepdims=True)) * (change - centre - (g_hat - centre))
    theta = -psi_b.mean(axis=1) / psi_a.mean(axis=1)
    psi = psi_a * theta[:, None] + psi_b
    return theta, np.ascontiguousarray(psi.T), np.ascontiguousarray(psi_a.T)
