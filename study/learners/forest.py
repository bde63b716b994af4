"""A random forest: the trees of scikit-learn's, without what its forest checks and makes again for each of them."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor

Floats = NDArray[np.float64]


TREES = 100
# All covariates at each split, since there are few.
FOREST: dict[str, Any] = {"min_samples_leaf": 10, "max_features": 1.0, "n_jobs": 1}
LARGEST = np.iinfo(np.int32).max


def forest_predictions(kind: str, features: Floats, target: Floats, asked: Floats, seed: int) -> Floats:
    """Return what scikit-learn's forest that learns from rows predicts of others.

    It checks and encodes the target, and checks the weights, of each tree, which takes longer than to grow it from a
    few hundred rows. Where its trees can be grown without, to the same last digit, they are.

    Parameters
    ----------
    kind : {"mean", "probability"}
    features : ndarray, shape (n, p)
    target : ndarray, shape (n,)
        0 and 1 of a probability.
    asked : ndarray, shape (m, p)
    seed : int

    Returns
    -------
    ndarray, shape (m,)
    """
    grown = by_tree if grow_alike(kind) else by_library
    return grown(kind, features, target, asked, seed)


def by_library(
    kind: str, features: Floats, target: Floats, asked: Floats, seed: int, trees: int = TREES
) -> Floats:
    """Return the predictions of scikit-learn's forest; arguments as in :func:`forest_predictions`."""
    forest = {"mean": RandomForestRegressor, "probability": RandomForestClassifier}[kind]
    # Half of the rows for each tree, so that trees differ; as a share scikit-learn warns of few rows.
    half = max(1, len(target) // 2)
    model = forest(trees, **FOREST, max_samples=half, random_state=seed).fit(features, target)
    return np.asarray(model.predict(asked) if kind == "mean" else model.predict_proba(asked)[:, 1])


@cache
def grow_alike(kind: str) -> bool:
    """Say whether trees grown by what this version of scikit-learn has inside are those of its forest."""
    x = np.random.default_rng(0).normal(size=(60, 2))
    y = x[:, 0] * x[:, 1] if kind == "mean" else (x[:, 0] > x[:, 1] ** 2).astype(float)
    try:
        inside = by_tree(kind, x, y, x, 0, trees=3)
    except (ImportError, TypeError, AttributeError, ValueError):
        return False
    return np.array_equal(inside, by_library(kind, x, y, x, 0, trees=3))


def by_tree(
    kind: str, features: Floats, target: Floats, asked: Floats, seed: int, trees: int = TREES
) -> Floats:
    """Return the same predictions by scikit-learn's trees alone; arguments as in :func:`forest_predictions`."""
    from sklearn.tree._criterion import MSE, Gini
    from sklearn.tree._splitter import BestSplitter
    from sklearn.tree._tree import DepthFirstTreeBuilder, Tree

    x, rows = features.astype(np.float32), asked.astype(np.float32)
    (n, p), y, leaf = x.shape, target.astype(np.float64)[:, None], FOREST["min_samples_leaf"]
    values = np.array([1 if kind == "mean" else 2], dtype=np.intp)
    generator, total = np.random.RandomState(seed), np.zeros(len(rows))
    for own_seed in generator.randint(LARGEST, size=trees):
        generator.seed(own_seed)
        taken = np.bincount(generator.randint(0, n, max(1, n // 2)), minlength=n).astype(np.float64)
        generator.seed(own_seed)
        criterion = MSE(1, n) if kind == "mean" else Gini(1, values)
        splitter, tree = BestSplitter(criterion, p, leaf, 0.0, generator, None), Tree(p, values, 1)
        DepthFirstTreeBuilder(splitter, 2 * leaf, leaf, 0.0, LARGEST, 0.0).build(tree, x, y, taken)
        total += tree.predict(rows)[:, -1]
    return total / trees
