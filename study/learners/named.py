"""Learners by name: conditional means and probabilities of rows given covariates and period."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from functools import partial
from typing import Any, Literal, NamedTuple, Protocol, get_args

import numpy as np
from scipy.linalg.blas import dtrsm
from scipy.special import expit

from study.core import BoolArray, FloatArray, IntArray, QuestionError, refuse_unknown, sums_by

Kind = Literal["mean", "probability"]
Rows = BoolArray
ALL = slice(None)

SINGLE_PRECISION = 6  # decimals of a standardised target


class Problem(NamedTuple):
    """Rows of which some are learned from and some are predicted.

    Attributes
    ----------
    x : ndarray, shape (N, p)
    period : ndarray of int, shape (N,)
        Period of a row, or the stack it belongs to; all zero where there is one.
    target : ndarray, shape (N,)
        What is to be predicted: a number less what is known of it exactly, or 0 and 1.
    order : ndarray of int, shape (N,)
        Place of the row's cluster in the random order of clusters, for tuning by cluster.
    train, test : ndarray of bool, shape (N,)
        Rows that are learned from, and rows whose predictions are wanted.
    seed : int
        Of learners that draw.
    """

    x: FloatArray
    period: IntArray
    target: FloatArray
    order: IntArray
    train: Rows
    test: Rows
    seed: int

    @property
    def features(self) -> FloatArray:
        """The covariates, and the period where there is more than one, shape (N, p) or (N, p + 1)."""
        if np.all(self.period == self.period[0]):
            return self.x
        return np.column_stack([self.x, self.period])

    @property
    def inside(self) -> FloatArray:
        """The covariates, moved to the nearest value of the training rows where they are beyond all of these.

        Powers of a skewed covariate predict anything of a row that is larger than all that were learned from; trees
        predict of it what they have seen of the largest.
        """
        columns = np.ascontiguousarray(self.x.T)  # the other way numpy goes through them a row at a time
        seen = columns[:, self.train]
        return np.clip(columns, seen.min(axis=1, keepdims=True), seen.max(axis=1, keepdims=True)).T

    def target_of_trees(self, kind: Kind) -> tuple[FloatArray, float]:
        """Return the target of the training rows as trees learn it, and its size; see :func:`rounded`."""
        target = self.target[self.train]
        return rounded(target) if kind == "mean" else (target, 1.0)


def group_means(values: FloatArray, group: IntArray, among: Rows | slice = ALL) -> FloatArray:
    """Return for each row the mean of its group over some rows, shaped like the values; zero where none is of it."""
    total = sums_by(values[among], group[among], int(group.max(initial=-1)) + 1)
    count = np.bincount(group[among], minlength=len(total))
    return np.take(total.T / np.maximum(count, 1), group, axis=-1).T


def spread(x: FloatArray) -> FloatArray:
    """Return each column's standard deviation, one where it is constant up to rounding."""
    largest = np.abs(x).max(axis=0, initial=0.0)
    unit = 2.0 ** (np.frexp(largest)[1] - 1)  # dividing by it is exact, and squares of large numbers overflow
    deviation = (x / unit).std(axis=0) * unit
    return np.where(deviation > 1e-10 * largest, deviation, 1.0)


def rounded(target: FloatArray) -> tuple[FloatArray, float]:
    """Return a target over its spread, rounded to single precision, and its spread.

    Trees break ties by the last bit of their target. Rounded, rescaling, constants and the order of additions do not
    move the predictions.
    """
    size = float(spread(target))
    return np.round(target / size, SINGLE_PRECISION), size


def standardised(x: FloatArray) -> FloatArray:
    """Return columns with mean 0 and standard deviation 1, or 0 where they are constant."""
    return (x - x.mean(axis=0)) / spread(x)


def tuning_splits(order: IntArray, train: Rows) -> list[tuple[IntArray, IntArray]]:
    """Split the training rows into whole clusters: pairs of rows that are learned from and rows that judge."""
    own = order[train]
    present = np.bincount(own) > 0
    place = (np.cumsum(present) - 1)[own]
    masks = [place % TUNING_FOLDS == part for part in range(min(TUNING_FOLDS, int(present.sum())))]
    return [(np.flatnonzero(~mask), np.flatnonzero(mask)) for mask in masks]


# Penalties that the lasso chooses between, from the least one that leaves nothing down to a thousandth of it,
# by the prediction error in this many sets of clusters.
PENALTIES = np.geomspace(1, 1e-3, 30)
TUNING_FOLDS = 5
COLLINEAR = 1e-6
# scikit-learn's lasso draws nothing, yet takes a number from numpy's global generator unless it has one of its own.
DRAWS = np.random.RandomState(0)
# Below a hundredth a logit of a rare treatment is nearly separated.
LOGIT_PENALTIES = np.geomspace(1, 1e-2, 10)
STEPS = 100
CONVERGED = 1e-9
LEAST_WEIGHT = 1e-5
# Small trees, since adoption is rare: a unit has one adoption in all its periods, and its rows share their
# baseline covariates, so a leaf of fewer rows than these would be about two or three units. There is
# no subsampling, so that nothing in a fit is random.
TREES: dict[str, Any] = {
    "n_estimators": 100,
    "learning_rate": 0.1,
    "num_leaves": 8,
    "min_child_samples": 30,
    "reg_lambda": 1.0,
}
# What can be predicted; probabilities may be in single precision.
RANGE: dict[Kind, tuple[float, float]] = {
    "mean": (-np.finfo(np.float64).max, np.finfo(np.float64).max),
    "probability": (-1e-6, 1 + 1e-6),
}
ONE_THREAD: dict[str, Any] = {"n_jobs": 1, "deterministic": True, "force_row_wise": True, "verbose": -1}
LearnerName = Literal["lasso", "forest", "lightgbm", "ensemble", "linear"]
ENSEMBLE = ("lasso", "forest", "lightgbm")


def lasso(problem: Problem) -> FloatArray:
    """Predict a mean, with unpenalised period effects: the dictionary, too, is less its period means."""
    train, target = problem.train, problem.target
    terms = dictionary(problem.inside, problem.period)
    terms = orthogonal(terms - group_means(terms, problem.period, train), train)
    splits = tuning_splits(problem.order, train)
    if len(splits) < 2:  # of one cluster no penalty can be judged
        return np.zeros(int(problem.test.sum()))
    rows, y, both = np.flatnonzero(train), target[train], np.vstack([terms.T, target]).T
    judges = [own.T @ own for own in (_rows(both, rows[judge]) for _, judge in splits)]
    every = np.sum(judges, axis=0)
    largest = np.abs(every[:-1, -1]).max(initial=0.0) / len(y)
    if not largest > 0:
        return np.zeros(int(problem.test.sum()))
    penalties, error = largest * PENALTIES, np.zeros(len(PENALTIES))
    for (learn, judge), own in zip(splits, judges, strict=True):
        less_fitted = np.vstack([-slopes(every - own, y[learn], penalties), np.ones(len(penalties))])
        error += (less_fitted * (own @ less_fitted)).sum(axis=0) / len(judge)
    chosen = slopes(every, y, penalties[[error.argmin()]])
    return np.asarray((_rows(terms, np.flatnonzero(problem.test)) @ chosen)[:, 0])


def _rows(terms: FloatArray, which: IntArray) -> FloatArray:
    """Return rows of a matrix whose columns lie one after another, as those of the result do."""
    return np.take(terms.T, which, axis=1).T


def slopes(
    products: FloatArray, y: FloatArray, penalties: FloatArray, *, tol: float = 1e-4, max_iter: int = 10_000
) -> FloatArray:
    """Return the slopes of a lasso without a constant, shape (p, L), for penalties in descending order.

    From the sums of products of [x, y], (p + 1, p + 1), by scikit-learn's path, without its checks of input and
    options, which take as long as the path itself.
    """
    from sklearn import config_context
    from sklearn.linear_model import lasso_path

    gram, with_y = products[:-1, :-1].copy(), products[:-1, -1].copy()
    x = np.broadcast_to(0.0, (len(y), len(gram)))  # of which the path uses the shape, given its products
    with config_context(skip_parameter_validation=True):
        path: FloatArray = lasso_path(
            x, y, alphas=penalties, precompute=gram, Xy=with_y, tol=tol, max_iter=max_iter, check_input=False,
            random_state=DRAWS,
        )[1]  # fmt: skip
    return path


def lasso_logit(problem: Problem) -> FloatArray:
    """Predict a probability by a logit with an unpenalised constant and penalised terms of the dictionary."""
    train, target = problem.train, problem.target
    terms = dictionary(problem.inside, problem.period)
    terms = orthogonal(terms - terms[train].mean(axis=0), train)
    x, y, share = terms[train], target[train], target[train].mean()
    largest = np.abs(x.T @ (y - share)).max(initial=0.0)
    splits = tuning_splits(problem.order, train)
    if not largest > 0 or any(len(np.unique(y[part])) < 2 for split in splits for part in split):
        return np.full(int(problem.test.sum()), share)
    penalties = largest * LOGIT_PENALTIES
    loss = np.zeros(len(penalties))
    for learn, judge in splits:
        index = indices(x[judge], logit_path(x[learn], y[learn], penalties))
        loss += np.mean(np.logaddexp(0, index) - y[judge] * index, axis=1)
    chosen = logit_path(x, y, penalties[: int(loss.argmin()) + 1])[-1:]
    return np.asarray(expit(indices(terms[problem.test], chosen)[0]), dtype=np.float64)


def logit_path(x: FloatArray, y: FloatArray, penalties: FloatArray) -> FloatArray:
    """Return the constants and slopes of penalised logits, shape (L, 1 + p), for penalties in descending order.

    Newton's method: the constant is not penalised, and each step is a weighted lasso.
    """
    share = y.mean()
    coefficients = np.append(np.log(share / (1 - share)), np.zeros(x.shape[1]))
    path = []
    for penalty in penalties:
        for _ in range(STEPS):
            before, index = coefficients, indices(x, coefficients[None])[0]
            likely = expit(index)
            weight = np.maximum(likely * (1 - likely), LEAST_WEIGHT)
            towards = index + (y - likely) / weight
            centre, mean = weight @ x / weight.sum(), weight @ towards / weight.sum()
            root = np.sqrt(weight)
            terms, target = root[:, None] * (x - centre), root * (towards - mean)
            both, alone = np.column_stack([terms, target]), np.array([penalty / len(x)])
            slope = slopes(both.T @ both, target, alone, tol=1e-10, max_iter=100_000)[:, 0]
            coefficients = np.append(mean - centre @ slope, slope)
            if np.abs(coefficients - before).max() < CONVERGED:
                break
        path.append(coefficients)
    return np.array(path)


def indices(x: FloatArray, coefficients: FloatArray) -> FloatArray:
    """Return constant + x'slope for each row of coefficients, shape (L, N)."""
    return np.asarray(coefficients[:, :1] + coefficients[:, 1:] @ x.T)


def dictionary(x: FloatArray, period: IntArray) -> FloatArray:
    """Return the standardised covariates, their squares and products, and what is each one's own in a period.

    The first period has no term of its own: all periods' together repeat the covariates themselves.
    """
    z = np.ascontiguousarray(standardised(x).T)
    left, right = np.triu_indices(len(z))
    by_period = z[:, None] * (period == np.unique(period)[1:, None])
    return np.vstack([z, z[left] * z[right], by_period.reshape(-1, len(x))]).T


def orthogonal(terms: FloatArray, train: Rows) -> FloatArray:
    """Return each term less what those before it explain, with variance one over the training rows.

    Powers of a skewed covariate are so collinear that coordinate descent does not converge on them.
    """
    x = _rows(terms, np.flatnonzero(train))
    triangle = np.asarray(np.linalg.qr(x, mode="r"))
    size = np.zeros(terms.shape[1])
    size[: len(triangle)] = np.abs(np.diag(triangle))
    own = size > COLLINEAR * np.sqrt(np.einsum("ij,ij->j", x, x))
    if not own.all():
        triangle, terms = np.asarray(np.linalg.qr(x[:, own], mode="r")), terms[:, own]
    return np.asarray(dtrsm(np.sqrt(len(x)), triangle, terms, side=1))


class Estimator(Protocol):
    """A regressor, or for a propensity a classifier with ``predict_proba``, with scikit-learn's interface."""

    def fit(self, X: Any, y: Any) -> Any:
        """Learn from rows."""

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """Return the settings."""


Learner = LearnerName | Estimator


def learned(problem: Problem, learner: Learner, kind: Kind) -> FloatArray:
    """Return the predictions of the rows that are asked for, by a learner of a name or a scikit-learn estimator.

    An estimator is copied, with a seed wherever it has none, and learns from covariates and period.

    Raises
    ------
    QuestionError
        If an estimator fails, or what it predicts is no finite number a row, or no probability.
    """
    if isinstance(learner, str):
        return LEARNERS[kind][learner](problem)
    from sklearn.base import clone

    model = clone(learner)
    unset = [f"__{name}" for name, value in model.get_params().items() if value is None]
    seeds = {name[2:]: problem.seed for name in unset if name.endswith("__random_state")}
    model.set_params(**seeds)
    name, rows, (low, high) = type(learner).__name__, int(problem.test.sum()), RANGE[kind]
    try:
        values = _predicted(problem, problem.features, problem.target[problem.train], model, kind)
    except Exception as error:  # whatever it is, the learner is another's
        raise QuestionError(
            f"the learner {name} fails to learn a {kind} from {problem.train.sum()} rows and to predict {rows} "
            f"({type(error).__name__}: {error}); mend it or use another."
        ) from error
    if values.shape != (rows,) or not np.all((low <= values) & (values <= high)):
        raise QuestionError(
            f"the learner {name} predicts a {kind} of {rows} rows by an array of shape {values.shape} from "
            f"{values.min():g} to {values.max():g}; it has to give one finite number a row"
            f"{', between 0 and 1' if kind == 'probability' else ''}."
        )
    return values


def linear(problem: Problem) -> FloatArray:
    """Predict a mean by least squares on the covariates, in each period by itself."""
    fitted = np.zeros(len(problem.x))
    for period in np.unique(problem.period[problem.test]):
        here = problem.period == period
        train = here & problem.train
        x = np.column_stack([np.ones(len(fitted)), _varying(problem.x, train)])
        fitted[here] = x[here] @ np.linalg.lstsq(x[train], problem.target[train], rcond=None)[0]
    return fitted[problem.test]


def logit(problem: Problem) -> FloatArray:
    """Predict a probability by maximum-likelihood logit on the covariates, the same in all periods."""
    from sklearn.linear_model import LogisticRegression

    model = LogisticRegression(C=np.inf, tol=1e-10, max_iter=1_000, solver="newton-cholesky")
    with warnings.catch_warnings():  # of constant or collinear covariates, with which it goes on by lbfgs
        warnings.filterwarnings("ignore", "The inner solver of NewtonCholesky")
        x = _varying(problem.x, problem.train)
        return _predicted(problem, x, problem.target[problem.train], model, "probability")


def _varying(x: FloatArray, train: Rows) -> FloatArray:
    """Return standardised covariates, zero where training rows do not vary, of which they tell no slope."""
    z = standardised(x)
    return np.where(np.any(np.abs(z[train] - z[train][:1]) > 1e-10, axis=0), z, 0.0)


def boosted_trees(problem: Problem, kind: Kind) -> FloatArray:
    """Predict by boosted trees on covariates and period."""
    import lightgbm

    target, size = problem.target_of_trees(kind)
    options = TREES | ONE_THREAD | {"objective": "regression" if kind == "mean" else "binary"}
    # Its bins are cut at zero, so that they would move with the unit of a logarithm.
    seen = problem.features[problem.train]
    features = (problem.features - seen.min(axis=0)) / spread(seen)
    rows, rounds = lightgbm.Dataset(features[problem.train], target), options.pop("n_estimators")
    # A model that is kept as it was learned is not written out and read again.
    model = lightgbm.train(options, rows, num_boost_round=rounds, keep_training_booster=True)
    return np.asarray(model.predict(features[problem.test]), dtype=np.float64) * size


def forest(problem: Problem, kind: Kind) -> FloatArray:
    """Predict by a random forest on covariates and period."""
    from study.learners.forest import forest_predictions

    target, size = problem.target_of_trees(kind)
    # Its trees see single precision, which ends at 1e38, and take values within 1e-7 for one.
    features = problem.features
    largest = np.abs(features).max(axis=0)
    blurred = (spread(features) < np.maximum(1e-4 * largest, 1e-3)) | (largest > 1e37)
    features = np.where(blurred, standardised(features), features)
    seen, asked = features[problem.train], features[problem.test]
    return forest_predictions(kind, seen, target, asked, problem.seed) * size


def _predicted(
    problem: Problem, features: FloatArray, target: FloatArray, model: Any, kind: Kind
) -> FloatArray:
    """Return a model's predictions of the rows that are asked for; the target is that of the training rows."""
    model.fit(features[problem.train], target)
    test = features[problem.test]
    values = model.predict(test) if kind == "mean" else model.predict_proba(test)[:, 1]
    return np.asarray(values, dtype=np.float64)


LEARNERS: dict[Kind, dict[str, Callable[[Problem], FloatArray]]] = {
    kind: {
        "lasso": lasso if kind == "mean" else lasso_logit,
        "forest": partial(forest, kind=kind),
        "lightgbm": partial(boosted_trees, kind=kind),
        "linear": linear if kind == "mean" else logit,
    }
    for kind in get_args(Kind)
}


def refuse_unfit(who: str, option: str, learner: Learner, kind: Kind) -> None:
    """Refuse a learner that there is not, or that cannot predict what it is for, before anything is fitted."""
    names = get_args(LearnerName)
    if isinstance(learner, str):
        refuse_unknown(option, learner, names, who)
        return
    needed, purpose, estimator = {
        "mean": ("predict", "the mean of an outcome", "regressor"),
        "probability": ("predict_proba", "the propensity", "classifier"),
    }[kind]
    for method in ("fit", "get_params", needed):
        if not hasattr(learner, method):
            raise QuestionError(
                f"{who}: {option} is {learner!r}, which has no {method}, so it cannot learn {purpose}; give one of "
                f"{', '.join(names)} or a scikit-learn {estimator}."
            )
