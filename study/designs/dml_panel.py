"""Double machine learning for panels: a partially linear model with unit and period effects."""

from __future__ import annotations

from functools import partial
from typing import Any, Literal, NamedTuple

import numpy as np

from study.core import BoolArray, FloatArray, Influence, IntArray, QuestionError, counted
from study.designs import COMMON, Assumes, Estimand, Sample, Supports, design
from study.estimates import Estimate, coefficients, mean_over
from study.learners import (
    Learner,
    Learning,
    Nuisance,
    Nuisances,
    Part,
    averaged_model,
    group_means,
    least_squares,
    of_predictions,
    refuse_explained,
)

Approach = Literal["first_differences", "within", "correlated_random_effects"]


def nuisances(sample: Sample, learning: Learning, *, approach: Approach = "first_differences") -> Nuisances:
    """Return the nuisance functions of the model; arguments and errors are those of the design.

    In "correlated_random_effects" the design adds unit means to the predictions of treatment afterwards.
    """
    learning.check("dml_panel")
    rows = panel_rows(sample, approach)
    missing = rows.used[:, :, None] & np.isnan(sample.x_varying)
    if missing.any():
        i, t, k = np.argwhere(missing)[0]
        raise QuestionError(
            f"dml_panel: covariate {sample.covariates[k]} is missing for ({sample.unit_ids[i]}, "
            f"{sample.period_name(sample.periods[t])}) and in {missing[:, :, k].sum() - 1} cells more; "
            "fill it in or leave it out."
        )
    # What is taken out of both variables before a learner sees them, and what has to leave something of treatment.
    centre = within = group_means
    if approach != "first_differences":
        within = partial(unit_and_period_effects, unit=rows.unit)
        centre = within if approach == "within" else partial(mean_and_period_effects, unit=rows.unit)
    folds = learning.draw("dml_panel", sample, rows.unit, np.where(rows.moves, 0, 1), "seen in two periods")
    cluster, kind = sample.cluster[rows.unit], sample.question.clusters_in_words
    linked_to = first_linked(rows.unit, rows.period)
    later, change = (1, "the change to ") if approach == "first_differences" else (0, "")
    for train in folds.training():
        unseen = np.setdiff1d(rows.period, rows.period[train])
        if unseen.size:
            period = sample.period_name(sample.periods[unseen[0] + later])
            raise QuestionError(
                f"dml_panel: {change}{period} is seen in {kind} of one fold only, so its period effect cannot be "
                "learned from the others; use a shorter window."
            )
        alone = np.flatnonzero(first_linked(rows.unit[train], rows.period[train]) != linked_to)
        if approach != "first_differences" and alone.size:
            one, other = (sample.period_name(sample.periods[t]) for t in (linked_to[alone[0]], alone[0]))
            raise QuestionError(
                f"dml_panel: {kind} of one fold alone link {one} with {other}, so the difference of their period "
                "effects cannot be learned from the others; use a shorter window."
            )
        left = rows.treatment - within(rows.treatment, rows.period, train)
        if not np.any(np.abs(left[train]) > 1e-10):
            raise QuestionError(
                f"dml_panel: outside one of the {folds.number} folds treatment changes alike for all {kind} of a "
                f"period; it happens in {len(np.unique(cluster[rows.moves]))} {kind} of {len(np.unique(cluster))}, too "
                "few or too many for cross-fitting."
            )
    outcome, treatment, without = sample.question.outcome_in_words, "treatment", "its period's mean"
    if approach == "first_differences":
        outcome = f"the change of {outcome}"
        treatment = "adoption" if sample.first_treated is not None else "the change of treatment"
    else:
        without = "unit and period effects" if approach == "within" else "its period's effect"
    seen = np.ones(len(rows.unit), dtype=bool)
    columns = rows.treatment, *rows.covariates.T
    own = np.column_stack([column - within(column, rows.period, seen) for column in columns])
    refuse_explained("dml_panel", treatment, own[:, 0], least_squares(own[:, 0], own[:, 1:]))
    of_outcome = Nuisance(rows.outcome, learning.learner, centre=centre, words=outcome)
    functions = {
        "outcome": of_outcome,
        "treatment": of_outcome._replace(target=rows.treatment, words=treatment),
    }
    part = Part(rows.unit, rows.covariates, rows.period, functions, folds, learning.seed)
    return Nuisances((part,), layout=rows, without=without)


@design(
    title="Double machine learning, partially linear panel model",
    reference="clarkepolselli2025",
    estimand=Estimand.COEFFICIENT,
    assumes=(
        Assumes.CONDITIONAL_PARALLEL_TRENDS,
        Assumes.LIMITED_ANTICIPATION,
        Assumes.OVERLAP,
        Assumes.HOMOGENEOUS_EFFECTS,
        Assumes.NUISANCE_RATES,
    ),
    supports=COMMON | {Supports.SWITCHING},
    nuisances=nuisances,
)
def dml_panel(
    sample: Sample,
    *,
    approach: Approach = "first_differences",
    learner: Learner = "lasso",
    folds: int = 5,
    repetitions: int = 10,
    seed: int = 0,
) -> Estimate:
    """Regress outcome on treatment, both less unit effects and what covariates and period predict.

    Y_it = theta D_it + g(X_it, t) + a_i + U_it and D_it = m(X_it, t) + c_i + V_it, in one of the approaches of
    Clarke and Polselli (2025) with the period added:

    - "first_differences" (their exact approach): changes dY and dD, given X in t-1 and in t;
    - "within": Y and D less unit effects, given X and its unit mean;
    - "correlated_random_effects" (their general case): Y given X and its unit mean, D given these and its own unit
      mean, in that the mean by unit of what m leaves of D is added to m. It has no normal distribution of treatment
      given covariates to assume, which a treatment of 0 and 1 does not have.

    Levels of the outcome by unit that X does not predict are noise to the learner of E[Y|X] in the last of these, here
    as in doubleml: constants by unit with 100 times the standard deviation of the errors can move the estimate by
    standard errors, and those of the other approaches not at all. A note says how much of what is left of Y lies
    between units.

    Covariates that are fixed in time are in X in each. l(X, t) = E[Y|X, t] and m(X, t) are predicted for each
    unit by learners that have not seen its fold, and theta solves the mean of doubleml's partialling-out
    score, (Y - l - theta (D - m))(D - m) (Chernozhukov et al. 2018, equation (4.4)). Period effects are
    taken out of every variable exactly, by those of the training folds, before a learner sees it; without
    covariates nothing but unit and period effects is taken out. doubleml's own panel model has no period
    effects: left out, they pass for the effect of treatments that spread over time.

    Under absorbing treatment dD is 1 in the period of adoption and 0 in every other, so in first differences theta
    rests on the change from the period before adoption to that of adoption, and on nothing later. Within, it
    compares all periods, with the weights of a two-way regression. It is the effect if effects are constant. If
    they grow after adoption, later changes of treated units stand among the comparisons. It is therefore reported
    as a coefficient and not as an average effect. Covariates of period t must not respond to treatment.

    Parameters
    ----------
    sample : Sample
        Gaps are allowed: a row is a unit and a period that is seen together with the one before, or for levels
        a cell of a unit that is seen twice or more.
    approach : {"first_differences", "within", "correlated_random_effects"}
    learner : {"lasso", "forest", "lightgbm", "ensemble", "linear"} or scikit-learn regressor
        Lasso on the covariates, their squares and products, and each covariate in each period, with the
        penalty chosen by cross-validation over clusters; random forest or boosted trees on covariates and
        period; the ensemble of these three with the weights that predict best (see
        :func:`study.learners.nuisances.cross_fit`); least squares in each period; or any other regressor.
    folds : int
        Folds by unit, or by cluster where the question names clusters. Clusters in which treatment changes
        are assigned first, so that they are spread over the folds evenly.
    repetitions : int
        Times the folds are drawn; estimate and influence are the averages. What is left of the variance of the
        draws is not in the standard error; a note of the estimate says how large it is for one draw, and what
        doubleml's median of the draws is.
    seed : int
        Of the folds and of learners that draw. Folds are assigned to units in the order of their labels: other
        labels, other folds.

    Returns
    -------
    Estimate
        One term. The influence of a unit is n times the sum of its scores over the sum of (D - m)^2, zero
        for units without a row; standard errors "CR0". Within one repetition they are doubleml's clustered
        ones where the folds hold equally many clusters; where they do not, doubleml weights the folds
        equally, and this design the rows. "Proportional" divides by the mean outcome of the treated
        cells in rows (in first differences those at the changes of treatment), less theta.

    Raises
    ------
    QuestionError
        If an option is impossible, a covariate is missing in a row, a fold would have fewer than two
        clusters, or the training folds have no variation of treatment within periods, or no units that link a period
        with the others, or covariates explain all of treatment.

    References
    ----------
    Chernozhukov, V. et al. (2018). Double/debiased machine learning for treatment and structural
    parameters. Econometrics Journal 21(1).
    Clarke, P. S. and A. Polselli (2025). Double machine learning for static panel models with fixed
    effects. Econometrics Journal.
    """
    rows, model = cross_fitted(sample, Learning(learner, folds, repetitions, seed), approach)
    average = averaged_model(model, rows.unit, sample.n_units)
    coefficient, influence = average.coefficient, Influence.of(average.influence)
    in_changes = approach == "first_differences"
    treated = treated_at_change(sample, rows) if in_changes else rows.used & (sample.treatment == 1)
    mean, mean_influence = mean_over(sample, treated)
    unused = sample.n_units - len(np.unique(rows.unit))
    notes = [f"{counted(unused, 'unit')} left out: not seen in two periods"] if unused else []
    if approach == "correlated_random_effects" and rows.covariates.size:
        left = rows.outcome[:, None] - model.predictions["ml_l"][:, :, 0]
        between = group_means(left, rows.unit).var() / (left.var() or 1.0)
        notes.append(
            f"{between:.0%} of the variance of {sample.question.outcome_in_words} that the learner leaves lies between "
            "units, which is noise to it; the other approaches take it out beforehand."
        )
    return coefficients(
        sample,
        ("treatment",),
        coefficient,
        influence,
        n_obs=len(rows.unit),
        of_draw=average.of_draw[None],
        untreated_mean=mean - coefficient,
        untreated_influence=mean_influence - influence,
        notes=(*notes, *average.notes(sample)),
    )


def cross_fitted(
    sample: Sample, learning: Learning, approach: Approach = "first_differences"
) -> tuple[PanelRows, Any]:
    """Return the rows and doubleml's fitted model of them; arguments and errors are those of the design."""
    from doubleml import DoubleMLData, DoubleMLPLR

    functions = nuisances(sample, learning, approach=approach)
    (predicted,), rows = functions.predicted(), functions.layout
    x = np.column_stack([rows.covariates, rows.period])
    data = DoubleMLData.from_arrays(x, rows.outcome, rows.treatment)
    m_hat = predicted["treatment"]
    # So that what is left of treatment has mean zero in each unit.
    if approach == "correlated_random_effects":
        m_hat = m_hat + group_means(rows.treatment[:, None] - m_hat, rows.unit)
    refuse_explained("dml_panel", functions.words["treatment"], rows.treatment, m_hat)
    return rows, of_predictions(DoubleMLPLR, data, {"l": predicted["outcome"], "m": m_hat})


def treated_at_change(sample: Sample, rows: PanelRows) -> BoolArray:
    """Return the treated cell of each change of treatment: the later where it starts, else the earlier."""
    cells = np.zeros(sample.y.shape, dtype=bool)
    changed = rows.treatment != 0
    cells[rows.unit[changed], (rows.period + (rows.treatment > 0))[changed]] = True
    return cells


class PanelRows(NamedTuple):
    """One row a unit and period that is used.

    Arrays of shape (N,): the unit's and the period's number, the outcome and the treatment, or their changes;
    covariates of shape (N, p); ``moves`` marks rows with a change of treatment, or of units that have one;
    ``used`` marks the sample's cells that the rows come from, shape (n, T).
    """

    unit: IntArray
    period: IntArray
    outcome: FloatArray
    treatment: FloatArray
    covariates: FloatArray
    moves: BoolArray
    used: BoolArray


def panel_rows(sample: Sample, approach: Approach) -> PanelRows:
    """Return the rows of an approach of Clarke and Polselli (2025); "within" takes out each unit's first outcome."""
    if approach == "first_differences":
        return changes(sample)
    rows = levels(sample)
    if approach == "within":
        return rows._replace(outcome=rows.outcome - rows.outcome[np.searchsorted(rows.unit, rows.unit)])
    return rows


def changes(sample: Sample) -> PanelRows:
    """Return the first differences of a sample, by unit and then period, numbered 0 for the second period."""
    outcome, treatment = np.diff(sample.y, axis=1), np.diff(sample.treatment, axis=1)
    unit, period = np.nonzero(~np.isnan(outcome) & ~np.isnan(treatment))
    used = np.zeros(sample.y.shape, dtype=bool)
    used[unit, period] = used[unit, period + 1] = True
    x = distinct_columns(np.hstack([sample.x_varying[unit, period], sample.x_varying[unit, period + 1]]))
    changed = treatment[unit, period]
    return PanelRows(unit, period, outcome[unit, period], changed, x, changed != 0, used)


def levels(sample: Sample) -> PanelRows:
    """Return the observed cells of units that are seen twice or more, by unit and then period.

    Covariates are the cell's own and the unit's mean over its cells.
    """
    seen = sample.observed & ~np.isnan(sample.treatment)
    used = seen & (seen.sum(axis=1) > 1)[:, None]
    unit, period = np.nonzero(used)
    varying = np.where(used[:, :, None], sample.x_varying, 0.0)
    mean = varying.sum(axis=1) / np.maximum(used.sum(axis=1), 1)[:, None]
    first = varying[np.arange(len(varying)), used.argmax(axis=1)]
    fixed = np.all((varying == first[:, None]) | ~used[:, :, None], axis=1)
    mean = np.where(fixed, first, mean)
    x = distinct_columns(np.hstack([varying[unit, period], mean[unit]]))
    treatment = sample.treatment[used]
    moves = np.abs(treatment - group_means(treatment, unit)) > 1e-10
    return PanelRows(unit, period, sample.y[used], treatment, x, moves, used)


def distinct_columns(x: FloatArray) -> FloatArray:
    """Leave out columns that repeat an earlier one: covariates that are fixed in time come twice."""
    repeats = [np.all(x[:, :k] == x[:, [k]], axis=0).any() for k in range(x.shape[1])]
    return x[:, np.logical_not(repeats)]


def period_effects(target: FloatArray, period: IntArray, train: BoolArray, unit: IntArray) -> FloatArray:
    """Return for each row the effect of its period, with unit effects beside it, over the training rows.

    With M_i = diag(v_i) - v_i v_i' / sum(v_i), where v_i marks the periods of unit i, the effects solve
    (sum_i M_i) lambda = sum_i M_i y_i; the first is zero on average with the others.
    """
    n_units, n_periods = int(unit.max()) + 1, int(period.max()) + 1
    v, y = np.zeros((2, n_units, n_periods))
    v[unit[train], period[train]] = 1.0
    y[unit[train], period[train]] = target[train]
    share = v / np.maximum(v.sum(axis=1), 1)[:, None]
    gram = np.diag(v.sum(axis=0)) - share.T @ v
    right = y.sum(axis=0) - share.T @ y.sum(axis=1)
    return np.linalg.lstsq(gram, right, rcond=None)[0][period]


def mean_and_period_effects(
    target: FloatArray, period: IntArray, train: BoolArray, unit: IntArray
) -> FloatArray:
    """Return period effects over the training rows, and the mean of what they leave in these."""
    effects = period_effects(target, period, train, unit)
    return effects + (target - effects)[train].mean()


def first_linked(unit: IntArray, period: IntArray) -> IntArray:
    """Return for each period the first that units seen in both link it with, directly or through others."""
    from scipy.sparse.csgraph import connected_components

    seen = np.zeros((int(unit.max()) + 1, int(period.max()) + 1))
    seen[unit, period] = 1.0
    group = connected_components(seen.T @ seen)[1]
    return np.asarray([np.argmax(group == own) for own in group])


def unit_and_period_effects(
    target: FloatArray, period: IntArray, train: BoolArray, unit: IntArray
) -> FloatArray:
    """Return period effects over the training rows, and the unit's own mean of what they leave."""
    effects = period_effects(target, period, train, unit)
    return effects + group_means(target - effects, unit)
