"""Least squares and the logit: the learners that leave double machine learning nothing to learn."""

from __future__ import annotations

from typing import Any

import numpy as np

from study.core import FloatArray
from study.learners.problem import Kind, Problem, probability, spread


def linear(problem: Problem) -> FloatArray:
    """Predict a mean by least squares on the covariates, in each period by itself."""
    x = np.column_stack([np.ones(len(problem.x)), (problem.x - problem.x.mean(axis=0)) / spread(problem.x)])
    fitted = np.zeros(len(x))
    for period in np.unique(problem.period[problem.asked]):
        here = problem.period == period
        train = here & problem.train
        fitted[here] = x[here] @ np.linalg.lstsq(x[train], problem.target[train], rcond=None)[0]
    return fitted[problem.asked]


def logit(problem: Problem) -> FloatArray:
    """Predict a probability by maximum-likelihood logit on the covariates, the same in all periods."""
    from sklearn.linear_model import LogisticRegression

    x = (problem.x - problem.x.mean(axis=0)) / spread(problem.x)
    model = LogisticRegression(C=np.inf, tol=1e-10, max_iter=1_000, solver="newton-cholesky")
    return probability(problem, x, model)


def of_estimator(problem: Problem, estimator: Any, kind: Kind) -> FloatArray:
    """Predict by a copy of an estimator on covariates and period, with a seed wherever it has none."""
    from sklearn.base import clone

    model = clone(estimator)
    unseeded = {
        name: problem.seed
        for name, value in model.get_params().items()
        if name.rsplit("__", 1)[-1] == "random_state" and value is None
    }
    model.set_params(**unseeded)
    features = problem.features
    if kind == "probability":
        return probability(problem, features, model)
    model.fit(features[problem.train], problem.target[problem.train])
    return np.asarray(model.predict(features[problem.asked]), dtype=np.float64)
