"""A random forest: the trees of scikit-learn's, without what its forest checks and makes again for each of them."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.tree._criterion import MSE, Gini
from sklearn.tree._splitter import BestSplitter
from sklearn.tree._tree import DepthFirstTreeBuilder, Tree

from study.core import FloatArray
from study.learners.problem import Kind

# All covariates at each split, since there are few.
FOREST: dict[str, Any] = {
    "n_estimators": 100,
    "min_samples_leaf": 10,
    "max_features": 1.0,
    "n_jobs": 1,
}
LARGEST = np.iinfo(np.int32).max


def forest_predictions(
    kind: Kind, features: FloatArray, target: FloatArray, asked: FloatArray, seed: int
) -> FloatArray:
    """Return what a forest that learns from rows predicts of others, as scikit-learn's own does to the last digit.

    scikit-learn checks and encodes the target, and checks the weights, of each tree, which takes longer than to grow
    it from a few hundred rows.

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
    x, rows = features.astype(np.float32), asked.astype(np.float32)
    (n, p), y, leaf = x.shape, target.astype(np.float64)[:, None], FOREST["min_samples_leaf"]
    values = np.array([1 if kind == "mean" else 2], dtype=np.intp)
    generator, total = np.random.RandomState(seed), np.zeros(len(rows))
    for own_seed in generator.randint(LARGEST, size=FOREST["n_estimators"]):
        generator.seed(own_seed)
        # Half of the rows for each tree, so that trees differ.
        taken = np.bincount(generator.randint(0, n, max(1, n // 2)), minlength=n).astype(np.float64)
        generator.seed(own_seed)
        criterion = MSE(1, n) if kind == "mean" else Gini(1, values)
        splitter, tree = BestSplitter(criterion, p, leaf, 0.0, generator, None), Tree(p, values, 1)
        DepthFirstTreeBuilder(splitter, 2 * leaf, leaf, 0.0, LARGEST, 0.0).build(tree, x, y, taken)
        total += tree.predict(rows)[:, -1]
    return total / FOREST["n_estimators"]
