"""A random forest, whose trees are copied without looking up what a tree can be given."""

from __future__ import annotations

from copy import copy
from typing import Any, ClassVar

from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

from study.learners.problem import Kind

# Half of the rows for each tree, so that trees differ; all covariates at each split, since there are few.
FOREST: dict[str, Any] = {
    "n_estimators": 100,
    "min_samples_leaf": 10,
    "max_features": 1.0,
    "max_samples": 0.5,
    "n_jobs": 1,
}


class _Tree:
    """A tree that knows the names of its settings.

    A forest asks each of its trees for them five times, and scikit-learn reads them off the signature each time: a
    sixth of the time of a forest of 300 rows.
    """

    names: ClassVar[tuple[str, ...]]

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        return {name: getattr(self, name) for name in self.names}

    def __sklearn_clone__(self) -> _Tree:
        return copy(self)


class _Regression(_Tree, DecisionTreeRegressor):  # type: ignore[misc]
    names = tuple(DecisionTreeRegressor().get_params())


class _Classification(_Tree, DecisionTreeClassifier):  # type: ignore[misc]
    names = tuple(DecisionTreeClassifier().get_params())


def random_forest(kind: Kind, seed: int) -> RandomForestRegressor | RandomForestClassifier:
    """Return a forest that is not fitted; its predictions are those of scikit-learn's own trees."""
    forest, tree = {
        "mean": (RandomForestRegressor, _Regression),
        "probability": (RandomForestClassifier, _Classification),
    }[kind]
    model = forest(**FOREST, random_state=seed)
    model.estimator = tree()
    return model
