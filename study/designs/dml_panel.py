"""Double machine learning for panels: a partially linear model of first differences with period effects."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from study.cohorts import mean_over
from study.designs import Assumes, Estimand, Handles, design
from study.errors import QuestionError
from study.estimates import Estimate
from study.inference import covariance
from study.influence import Influence
from study.learners import LEARNERS, IntArray, Learner, period_means
from study.panel import FloatArray
from study.question import Sample
from study.terms import coefficients

if TYPE_CHECKING:
    from doubleml import DoubleMLPLR


class Changes(NamedTuple):
    """First differences, one row a unit and a period that is seen together with the one before.

    Arrays of shape (N,): the unit's and the period's number (0 is the sample's second period), the
    change of outcome and of treatment; covariates of shape (N, p).
    """

    unit: IntArray
    period: IntArray
    outcome: FloatArray
    treatment: FloatArray
    covariates: FloatArray


@design(
    name="dml_panel",
    title="Double machine learning, first differences",
    reference="clarkepolselli2025",
    estimand=Estimand.COEFFICIENT,
    assumes=(
        Assumes.CONDITIONAL_PARALLEL_TRENDS,
        Assumes.LIMITED_ANTICIPATION,
        Assumes.OVERLAP,
        Assumes.HOMOGENEOUS_EFFECTS,
        Assumes.NUISANCE_RATES,
    ),
    handles=(
        Handles.COVARIATES,
        Handles.MISSING_CELLS,
        Handles.ANTICIPATION,
        Handles.CLUSTERS,
        Handles.SWITCHING,
        Handles.PROPORTIONAL,
    ),
)
def dml_panel(
    sample: Sample,
    *,
    learner: Literal["lasso", "lightgbm"] = "lasso",
    folds: int = 5,
    repetitions: int = 10,
    seed: int = 0,
) -> Estimate:
    """Regress changes of the outcome on changes of treatment, both less what covariates and period predict.

    dY_it = theta dD_it + g(X_it, t) + dU_it and dD_it = m(X_it, t) + V_it, where X holds the covariates in
    the first period they are seen, in t-1 and in t (Clarke and Polselli 2025, the exact first-difference
    approach, with the period added). l(X, t) = E[dY|X, t] and m(X, t) = E[dD|X, t] are predicted for each
    unit by learners that have not seen its fold, and theta solves the mean of doubleml's partialling-out
    score, (dY - l - theta (dD - m))(dD - m) (Chernozhukov et al. 2018, equation (4.4)). Period effects are
    taken out of every variable exactly, by the period's mean in the training folds, before a learner sees
    it; without covariates nothing else is taken out.

    Under absorbing treatment dD is 1 in the period of adoption and 0 in every other, so theta rests on the
    change from the period before adoption to that of adoption, and on nothing later. It is the effect if
    effects are constant. If they grow after adoption, the later changes of treated units stand among the
    comparisons, and theta is an immediate effect less some of that growth. It is therefore reported as a
    coefficient and not as an average effect. Covariates of period t must not respond to treatment.

    Parameters
    ----------
    sample : Sample
        Gaps are allowed: a row is a unit and a period that is seen together with the one before.
    learner : {"lasso", "lightgbm"}
        Lasso on the covariates, their squares and products, and each covariate in each period, with the
        penalty chosen by cross-validation over clusters; or boosted trees on covariates and period.
    folds : int
        Folds by unit, or by cluster where the question names clusters. Clusters in which treatment changes
        are dealt out first, so that they are spread over the folds evenly.
    repetitions : int
        Times the folds are drawn; estimate and influence are the averages (doubleml reports the median).
        What is left of the variance of the draws is not in the standard error; a note of the estimate says
        how large it is for one draw.
    seed : int
        Of the folds. They are dealt to units in the order of their labels: other labels, other folds.

    Returns
    -------
    Estimate
        One term. The influence of a unit is n times the sum of its scores over the sum of (dD - m)^2, zero
        for units without a row; standard errors "CR0". Within one repetition they are doubleml's clustered
        ones where the folds hold equally many clusters; where they do not, doubleml weights the folds
        equally, and this design the rows. "Proportional" divides by the mean outcome of the treated
        cells at the changes of treatment, less theta.

    Raises
    ------
    QuestionError
        If an option is impossible, a covariate is missing in a row, a fold would have fewer than two
        clusters, or treatment does not vary within periods in the training folds.

    References
    ----------
    Chernozhukov, V. et al. (2018). Double/debiased machine learning for treatment and structural
    parameters. Econometrics Journal 21(1).
    Clarke, P. S. and A. Polselli (2025). Double machine learning for static panel models with fixed
    effects. Econometrics Journal.
    """
    rows, model = cross_fitted(sample, learner, folds, repetitions, seed)
    theta, psi, psi_a = model.all_coef[0], model.psi[:, :, 0], model.psi_deriv[:, :, 0]
    scores = np.zeros((sample.n_units, repetitions))
    np.add.at(scores, rows.unit, psi)
    influence = sample.n_units * (scores / -psi_a.sum(axis=0)).mean(axis=1, keepdims=True)
    coefficient = theta.mean(keepdims=True)

    mean, mean_influence = mean_over(sample, treated_at_change(sample, rows))
    return coefficients(
        sample,
        ("treatment",),
        coefficient,
        Influence.of(influence),
        n_obs=len(rows.unit),
        untreated_mean=mean - coefficient,
        untreated_influence=mean_influence - Influence.of(influence),
        notes=notes(sample, rows, theta, influence),
    )


def cross_fitted(
    sample: Sample, learner: Literal["lasso", "lightgbm"], folds: int, repetitions: int, seed: int
) -> tuple[Changes, DoubleMLPLR]:
    """Return the rows and doubleml's fitted model of them; arguments and errors are those of the design."""
    from threadpoolctl import threadpool_limits

    check_options(folds, repetitions, seed)
    rows = changes(sample)
    check_covariates(sample, rows)
    cluster = sample.cluster[rows.unit]
    order = np.column_stack(
        [deal(cluster, rows.treatment, rng) for rng in np.random.default_rng(seed).spawn(repetitions)]
    )
    check_folds(sample, rows, cluster, order, folds)

    with threadpool_limits(1):  # two threads that share cores with other work were four times slower
        l_hat, m_hat = (
            np.column_stack(
                [cross_fit(target, rows, position, folds, LEARNERS[learner]) for position in order.T]
            )
            for target in (rows.outcome, rows.treatment)
        )
    return rows, partialling_out(rows, l_hat, m_hat, order % folds)


def changes(sample: Sample) -> Changes:
    """Return the first differences of a sample, by unit and then period."""
    outcome, treatment = np.diff(sample.y, axis=1), np.diff(sample.treatment, axis=1)
    unit, period = np.nonzero(~np.isnan(outcome) & ~np.isnan(treatment))
    blocks = (sample.x_baseline[unit], sample.x_varying[unit, period], sample.x_varying[unit, period + 1])
    return Changes(
        unit, period, outcome[unit, period], treatment[unit, period], distinct_columns(np.hstack(blocks))
    )


def distinct_columns(x: FloatArray) -> FloatArray:
    """Leave out columns that repeat an earlier one: covariates that are fixed in time come three times."""
    return x[:, np.sort(np.unique(x, axis=1, return_index=True)[1])] if x.size else x


def deal(cluster: IntArray, treatment: FloatArray, rng: np.random.Generator) -> IntArray:
    """Return each row's place in a random order of the clusters, those where treatment changes first.

    Places modulo the number of folds are the folds: equal in size, and in switchers, up to one.
    """
    present, index = np.unique(cluster, return_inverse=True)
    switches = np.zeros(len(present), dtype=bool)
    np.logical_or.at(switches, index, treatment != 0)
    shuffled = rng.permutation(len(present))
    place = np.empty(len(present), dtype=np.int64)
    place[shuffled[np.argsort(~switches[shuffled], kind="stable")]] = np.arange(len(present))
    return place[index]


def cross_fit(target: FloatArray, rows: Changes, order: IntArray, folds: int, predict: Learner) -> FloatArray:
    """Predict the target in each fold from the others: the period's mean, and what the learner adds.

    Parameters
    ----------
    target : ndarray, shape (N,)
    rows : Changes
    order : ndarray of int, shape (N,)
        Place of the row's cluster; modulo ``folds`` it is the fold.
    folds : int
    predict : callable
        Takes covariates, period, the target less its period means, order, and which rows train; returns
        its predictions of the others.

    Returns
    -------
    ndarray, shape (N,)
    """
    fitted = np.empty_like(target)
    for fold in range(folds):
        train = order % folds != fold
        means = period_means(target[:, None], rows.period, train)[:, 0]
        fitted[~train] = means[~train]
        if rows.covariates.shape[1]:
            fitted[~train] += predict(rows.covariates, rows.period, target - means, order, train)
    return fitted


def partialling_out(rows: Changes, l_hat: FloatArray, m_hat: FloatArray, fold: IntArray) -> DoubleMLPLR:
    """Return doubleml's model, with its coefficients and scores by repetition, from given predictions.

    The predictions are made here, since doubleml tells its learners neither which rows are of one cluster
    nor which column is the period.

    Parameters
    ----------
    rows : Changes
    l_hat, m_hat : ndarray, shape (N, R)
        Cross-fitted predictions of the changes of outcome and of treatment.
    fold : ndarray of int, shape (N, R)

    Returns
    -------
    DoubleMLPLR
    """
    from doubleml import DoubleMLData, DoubleMLPLR
    from doubleml.utils import DMLDummyRegressor

    x = np.column_stack([rows.covariates, rows.period])
    data = DoubleMLData.from_arrays(x, rows.outcome, rows.treatment)
    model = DoubleMLPLR(data, DMLDummyRegressor(), DMLDummyRegressor(), draw_sample_splitting=False)
    model.set_sample_splitting(
        [[(np.flatnonzero(f != k), np.flatnonzero(f == k)) for k in np.unique(f)] for f in fold.T]
    )
    return model.fit(external_predictions={"d": {"ml_l": l_hat, "ml_m": m_hat}})


def treated_at_change(sample: Sample, rows: Changes) -> NDArray[np.bool_]:
    """Return the treated cell of each change of treatment: the later where it starts, else the earlier."""
    cells = np.zeros(sample.y.shape, dtype=bool)
    changed = rows.treatment != 0
    cells[rows.unit[changed], (rows.period + (rows.treatment > 0))[changed]] = True
    return cells


def check_options(folds: int, repetitions: int, seed: int) -> None:
    """Refuse an option that is not a whole number, or too small."""
    for name, value, least in (("folds", folds, 2), ("repetitions", repetitions, 1), ("seed", seed, 0)):
        if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < least:
            raise QuestionError(
                f"dml_panel: {name} is {value!r}; it must be a whole number, at least {least}."
            )


def check_covariates(sample: Sample, rows: Changes) -> None:
    """Refuse a covariate that is missing in a row, naming the first."""
    if not np.isnan(rows.covariates).any():
        return
    used = np.zeros(sample.y.shape, dtype=bool)
    used[rows.unit, rows.period] = used[rows.unit, rows.period + 1] = True
    missing = used[:, :, None] & np.isnan(sample.x_varying)
    i, t, k = np.argwhere(missing)[0]
    raise QuestionError(
        f"dml_panel: covariate {sample.question.covariates[k]} is missing for ({sample.unit_ids[i]}, "
        f"{sample.periods[t]}) and in {missing[:, :, k].sum() - 1} cells more; fill it in or leave it out."
    )


def check_folds(sample: Sample, rows: Changes, cluster: IntArray, order: IntArray, folds: int) -> None:
    """Refuse folds from which the nuisance functions or the coefficient could not be learned."""
    kind = "units" if sample.question.cluster is None else f"clusters ({sample.question.cluster})"
    n_clusters = len(np.unique(cluster))
    if n_clusters < 2 * folds:
        raise QuestionError(
            f"dml_panel: {folds} folds of at least two {kind} need {2 * folds}, but {n_clusters} are seen in "
            "two periods running; use fewer folds or another design."
        )
    n_switching = len(np.unique(cluster[rows.treatment != 0]))
    for fold in (order % folds).T:
        for k in range(folds):
            train = fold != k
            unseen = np.setdiff1d(rows.period, rows.period[train])
            if unseen.size:
                raise QuestionError(
                    f"dml_panel: the change to {sample.periods[unseen[0] + 1]} is seen in {kind} of one fold "
                    "only, so its period effect cannot be learned from the others; use a shorter window."
                )
            within = rows.treatment - period_means(rows.treatment[:, None], rows.period, train)[:, 0]
            if not np.any(np.abs(within[train]) > 1e-10):
                raise QuestionError(
                    f"dml_panel: outside one of the {folds} folds treatment changes alike for all "
                    f"{kind} of a period; it happens in {n_switching} {kind} of {n_clusters}, too few or too "
                    "many for cross-fitting."
                )


def notes(sample: Sample, rows: Changes, theta: FloatArray, influence: FloatArray) -> tuple[str, ...]:
    """Say who adds no row, and how much the coefficient moves with the folds."""
    said = []
    unused = sample.n_units - len(np.unique(rows.unit))
    if unused:
        said.append(f"{unused} units are not seen in two periods running and add no row.")
    if len(theta) > 1:
        error = float(np.sqrt(covariance(influence, sample.cluster)[0, 0]))
        said.append(
            f"Over {len(theta)} draws of the folds the coefficient of one has a standard deviation of "
            f"{theta.std(ddof=1) / error:.2f} standard errors."
        )
    return tuple(said)
