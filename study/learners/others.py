"""Any scikit-learn estimator as a learner."""

from __future__ import annotations

from typing import Any

import numpy as np

from study.core import FloatArray
from study.learners.problem import Kind, Problem


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
    model.fit(features[problem.train], problem.target[problem.train])
    if kind == "mean":
        return np.asarray(model.predict(features[problem.asked]), dtype=np.float64)
    return np.asarray(model.predict_proba(features[problem.asked]), dtype=np.float64)[:, 1]
