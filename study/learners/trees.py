"""Boosted trees and random forests, for means and for probabilities."""

from __future__ import annotations

from typing import Any

import numpy as np

from study.core import FloatArray
from study.learners.problem import Problem, probability

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
ONE_THREAD: dict[str, Any] = {"n_jobs": 1, "deterministic": True, "force_row_wise": True, "verbose": -1}
# Half of the rows for each tree, so that trees differ; all covariates at each split, since there are few.
FOREST: dict[str, Any] = {
    "n_estimators": 100,
    "min_samples_leaf": 10,
    "max_features": 1.0,
    "max_samples": 0.5,
    "n_jobs": 1,
}


def boosted_trees(problem: Problem) -> FloatArray:
    """Predict a mean by boosted trees on covariates and period."""
    from lightgbm import LGBMRegressor

    return _mean(problem, LGBMRegressor(**TREES, **ONE_THREAD))


def boosted_trees_probability(problem: Problem) -> FloatArray:
    """Predict a probability by boosted trees on covariates and period."""
    from lightgbm import LGBMClassifier

    return probability(problem, problem.features, LGBMClassifier(**TREES, **ONE_THREAD))


def forest(problem: Problem) -> FloatArray:
    """Predict a mean by a random forest on covariates and period."""
    from sklearn.ensemble import RandomForestRegressor

    return _mean(problem, RandomForestRegressor(**FOREST, random_state=problem.seed))


def forest_probability(problem: Problem) -> FloatArray:
    """Predict a probability by a random forest on covariates and period."""
    from sklearn.ensemble import RandomForestClassifier

    return probability(problem, problem.features, RandomForestClassifier(**FOREST, random_state=problem.seed))


def _mean(problem: Problem, model: Any) -> FloatArray:
    features, (target, size) = problem.features, problem.rounded
    return np.asarray(model.fit(features[problem.train], target).predict(features[problem.asked])) * size
