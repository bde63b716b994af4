"""A random forest: scikit-learn's, without what its trees look up or make again and again."""

from __future__ import annotations

from copy import copy
from typing import Any, ClassVar

import numpy as np
from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

# Half of the rows for each tree, so that trees differ; all covariates at each split, since there are few.
FOREST: dict[str, Any] = {
    "n_estimators": 100,
    "min_samples_leaf": 10,
    "max_features": 1.0,
    "n_jobs": 1,
}


class _Tree:
    """A tree that knows the names of its settings, and whose forest has one generator of random numbers.

    A forest asks each tree for its settings five times, which scikit-learn reads off the signature each time, and twice
    for a generator, which takes as long to make as a small tree, but no time to seed.
    """

    names: ClassVar[tuple[str, ...]]
    generator: np.random.RandomState

    @property
    def random_state(self) -> np.random.RandomState:
        self.generator.seed(vars(self)["random_state"])
        return self.generator

    @random_state.setter
    def random_state(self, seed: int | None) -> None:
        vars(self)["random_state"] = seed

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        return {name: vars(self)[name] for name in self.names}

    def __sklearn_clone__(self) -> _Tree:
        return copy(self)


class _Regression(_Tree, DecisionTreeRegressor):  # type: ignore[misc]  # scikit-learn has no types
    names = tuple(DecisionTreeRegressor().get_params())


class _Classification(_Tree, DecisionTreeClassifier):  # type: ignore[misc]  # scikit-learn has no types
    names = tuple(DecisionTreeClassifier().get_params())


def random_forest(kind: str, rows: int, seed: int) -> RandomForestRegressor | RandomForestClassifier:
    """Return a forest for a number of rows, not fitted; its predictions are those of scikit-learn's own trees."""
    forest, tree = {
        "mean": (RandomForestRegressor, _Regression),
        "probability": (RandomForestClassifier, _Classification),
    }[kind]
    # As a share scikit-learn warns of few rows, and its versions round it differently.
    model = forest(**FOREST, max_samples=max(1, rows // 2), random_state=seed)
    model.estimator = tree()
    model.estimator.generator = np.random.RandomState(seed)
    return model
