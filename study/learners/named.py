"""Learners by name: conditional means and probabilities of rows given covariates and period."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from functools import partial
from typing import Any, Literal, Protocol, get_args

import numpy as np

from study.core import FloatArray, QuestionError, refuse_unknown
from study.learners.lasso import lasso, lasso_logit
from study.learners.problem import Kind, Problem, Rows, spread, standardised

LearnerName = Literal["lasso", "forest", "lightgbm", "ensemble", "linear"]
ENSEMBLE = ("lasso", "forest", "lightgbm")
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
    unseeded = [
        name
        for name, value in model.get_params().items()
        if name.rsplit("__", 1)[-1] == "random_state" and value is None
    ]
    model.set_params(**dict.fromkeys(unseeded, problem.seed))
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

    target, size = _target_of_trees(problem, kind)
    options = TREES | ONE_THREAD | {"objective": "regression" if kind == "mean" else "binary"}
    rows, rounds = lightgbm.Dataset(problem.features[problem.train], target), options.pop("n_estimators")
    # A model that is kept as it was learned is not written out and read again.
    model = lightgbm.train(options, rows, num_boost_round=rounds, keep_training_booster=True)
    return np.asarray(model.predict(problem.features[problem.test]), dtype=np.float64) * size


def forest(problem: Problem, kind: Kind) -> FloatArray:
    """Predict by a random forest on covariates and period."""
    from study.learners.forest import random_forest

    target, size = _target_of_trees(problem, kind)
    model = random_forest(kind, len(target), problem.seed)
    # Its trees see single precision, and take values within 1e-7 for one.
    features = problem.features
    blurred = spread(features) < np.maximum(1e-4 * np.abs(features).max(axis=0), 1e-3)
    features = np.where(blurred, standardised(features), features)
    return _predicted(problem, features, target, model, kind) * size


def _target_of_trees(problem: Problem, kind: Kind) -> tuple[FloatArray, float]:
    """Return the target of the training rows as trees learn it, and its size."""
    return problem.rounded if kind == "mean" else (problem.target[problem.train], 1.0)


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
