"""Least squares and the logit: the learners that leave double machine learning nothing to learn."""

from __future__ import annotations

import numpy as np

from study.core import FloatArray
from study.learners.problem import Problem, spread


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
    return np.asarray(
        model.fit(x[problem.train], problem.target[problem.train]).predict_proba(x[problem.asked])[:, 1]
    )
