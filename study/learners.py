"""Learners of nuisance functions of panels: what covariates and the period add to the mean of a period."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from study.panel import FloatArray

IntArray = NDArray[np.int64]
Learner = Callable[[FloatArray, IntArray, FloatArray, IntArray, NDArray[np.bool_]], FloatArray]

# Penalties that the lasso chooses between, from the least one that leaves nothing down to a thousandth of it,
# by the prediction error in this many sets of clusters.
PENALTIES = np.geomspace(1, 1e-3, 30)
TUNING_FOLDS = 5
COLLINEAR = 1e-6

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
SINGLE_PRECISION = 6  # decimals of a standardised target
ONE_THREAD: dict[str, Any] = {"n_jobs": 1, "deterministic": True, "force_row_wise": True, "verbose": -1}


def period_means(blocks: FloatArray, period: IntArray, train: NDArray[np.bool_]) -> FloatArray:
    """Return for each row the means of its period over the training rows, shape (N, k)."""
    totals = np.zeros((int(period.max()) + 1, blocks.shape[1]))
    np.add.at(totals, period[train], blocks[train])
    counts = np.bincount(period[train], minlength=len(totals))
    means: FloatArray = (totals / np.maximum(counts, 1)[:, None])[period]
    return means


def lasso(
    x: FloatArray, period: IntArray, target: FloatArray, order: IntArray, train: NDArray[np.bool_]
) -> FloatArray:
    """Predict by lasso with unpenalised period effects: the dictionary, too, is less its period means."""
    from sklearn.linear_model import LassoCV

    terms = dictionary(x, period)
    terms = terms - period_means(terms, period, train)
    terms = orthogonal(terms, train)
    largest = np.abs(terms[train].T @ target[train]).max() / train.sum()
    if not largest > 0:
        return np.zeros(int((~train).sum()))
    place = np.unique(order[train], return_inverse=True)[1]
    parts = [place % TUNING_FOLDS == part for part in range(min(TUNING_FOLDS, int(place.max()) + 1))]
    splits = [(np.flatnonzero(~part), np.flatnonzero(part)) for part in parts]
    # scikit-learn draws from numpy's global generator, though it needs no draw, unless it is given a seed.
    model = LassoCV(
        alphas=largest * PENALTIES,
        cv=splits,
        fit_intercept=False,
        precompute=True,
        max_iter=10_000,
        random_state=0,
    )
    return np.asarray(model.fit(terms[train], target[train]).predict(terms[~train]))


def dictionary(x: FloatArray, period: IntArray) -> FloatArray:
    """Return the standardised covariates, their squares and products, and what is each one's own in a period.

    The first period has no term of its own: all periods' together repeat the covariates themselves.
    """
    z = (x - x.mean(axis=0)) / spread(x)
    left, right = np.triu_indices(z.shape[1])
    indicators = period[:, None] == np.unique(period)[1:]
    by_period = (z[:, :, None] * indicators[:, None, :]).reshape(len(z), -1)
    return np.hstack([z, z[:, left] * z[:, right], by_period])


def orthogonal(terms: FloatArray, train: NDArray[np.bool_]) -> FloatArray:
    """Return each term less what those before it explain, with variance one over the training rows.

    Powers of a skewed covariate are so collinear that coordinate descent does not converge on them.
    """
    triangle = np.linalg.qr(terms[train])[1]
    size = np.abs(np.diag(triangle))
    own = size > COLLINEAR * np.sqrt((terms[train] ** 2).sum(axis=0))
    reduced = np.linalg.qr(terms[train][:, own])[1]
    unit: FloatArray = np.linalg.solve(reduced.T, terms[:, own].T).T
    return unit * np.sqrt(train.sum())


def spread(x: FloatArray) -> FloatArray:
    """Return each column's standard deviation, one where it is constant up to rounding."""
    deviation = x.std(axis=0)
    return np.where(deviation > 1e-10 * np.abs(x).max(axis=0, initial=0.0), deviation, 1.0)


def boosted_trees(
    x: FloatArray, period: IntArray, target: FloatArray, order: IntArray, train: NDArray[np.bool_]
) -> FloatArray:
    """Predict by boosted trees on covariates and period.

    Trees break ties by the last bit of their target. It is standardised and rounded to single precision
    here, so that rescaling, constants and the order of additions do not move the predictions.
    """
    from lightgbm import LGBMRegressor

    features = np.column_stack([x, period])
    size = spread(target[train])
    rounded = np.round(target[train] / size, SINGLE_PRECISION)
    model = LGBMRegressor(**TREES, **ONE_THREAD).fit(features[train], rounded)
    return np.asarray(model.predict(features[~train])) * size


LEARNERS: dict[str, Learner] = {"lasso": lasso, "lightgbm": boosted_trees}
