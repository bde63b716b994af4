"""Learners by name: conditional means and probabilities of rows given covariates and period."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, Protocol, get_args

from study.core import FloatArray, QuestionError, refuse_unknown
from study.learners.lasso import lasso, lasso_logit
from study.learners.linear import linear, logit, of_estimator
from study.learners.problem import Kind, Problem
from study.learners.trees import boosted_trees, boosted_trees_probability, forest, forest_probability

LearnerName = Literal["lasso", "forest", "lightgbm", "ensemble", "linear"]


class Estimator(Protocol):
    """A regressor, or for a propensity a classifier with ``predict_proba``, in scikit-learn's ways."""

    def fit(self, X: Any, y: Any) -> Any:
        """Learn from rows."""

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """Return the settings."""


Learner = LearnerName | Estimator

ENSEMBLE = ("lasso", "forest", "lightgbm")

LEARNERS: dict[Kind, dict[str, Callable[[Problem], FloatArray]]] = {
    "mean": {"lasso": lasso, "forest": forest, "lightgbm": boosted_trees, "linear": linear},
    "probability": {
        "lasso": lasso_logit,
        "forest": forest_probability,
        "lightgbm": boosted_trees_probability,
        "linear": logit,
    },
}


def learned(problem: Problem, learner: Learner, kind: Kind) -> FloatArray:
    """Return the predictions of the rows that are asked for, by a learner of a name or a scikit-learn estimator."""
    if isinstance(learner, str):
        return LEARNERS[kind][learner](problem)
    return of_estimator(problem, learner, kind)


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
