"""Lasso on a dictionary of covariates, for means and for probabilities."""

from __future__ import annotations

import numpy as np

from study.learners.problem import IntArray, Problem, Rows, period_means, spread, tuning_splits
from study.panel import FloatArray

# Penalties that the lasso chooses between, from the least one that leaves nothing down to a thousandth of it,
# by the prediction error in this many sets of clusters.
PENALTIES = np.geomspace(1, 1e-3, 30)
TUNING_FOLDS = 5
COLLINEAR = 1e-6
# Below a hundredth a logit of a rare treatment is nearly separated, and coordinate steps no longer converge.
LOGIT_PENALTIES = np.geomspace(1, 1e-2, 10)


def lasso(problem: Problem) -> FloatArray:
    """Predict a mean, with unpenalised period effects: the dictionary, too, is less its period means."""
    from sklearn.linear_model import LassoCV

    train, target = problem.train, problem.target
    terms = dictionary(problem.x, problem.period)
    terms = orthogonal(terms - period_means(terms, problem.period, train), train)
    largest = np.abs(terms[train].T @ target[train]).max() / train.sum()
    if not largest > 0:
        return np.zeros(int(problem.asked.sum()))
    # scikit-learn draws from numpy's global generator, though it needs no draw, unless it is given a seed.
    model = LassoCV(
        alphas=largest * PENALTIES,
        cv=tuning_splits(problem.order, train, TUNING_FOLDS),
        fit_intercept=False,
        precompute=True,
        max_iter=10_000,
        random_state=0,
    )
    return np.asarray(model.fit(terms[train], target[train]).predict(terms[problem.asked]))


def lasso_logit(problem: Problem) -> FloatArray:
    """Predict a probability by a logit with an unpenalised constant and penalised terms of the dictionary."""
    from sklearn.linear_model import LogisticRegressionCV

    train, target = problem.train, problem.target
    terms = dictionary(problem.x, problem.period)
    terms = orthogonal(terms - terms[train].mean(axis=0), train)
    share = target[train].mean()
    largest = np.abs(terms[train].T @ (target[train] - share)).max()
    splits = tuning_splits(problem.order, train, TUNING_FOLDS)
    if not largest > 0 or any(len(np.unique(target[train][part])) < 2 for split in splits for part in split):
        return np.full(int(problem.asked.sum()), share)
    model = LogisticRegressionCV(
        Cs=np.sort(1 / (largest * LOGIT_PENALTIES)),
        l1_ratios=[1.0],
        cv=splits,
        solver="saga",
        scoring="neg_log_loss",
        tol=1e-4,
        max_iter=10_000,
        random_state=0,
        use_legacy_attributes=False,
    )
    return np.asarray(model.fit(terms[train], target[train]).predict_proba(terms[problem.asked])[:, 1])


def dictionary(x: FloatArray, period: IntArray) -> FloatArray:
    """Return the standardised covariates, their squares and products, and what is each one's own in a period.

    The first period has no term of its own: all periods' together repeat the covariates themselves.
    """
    z = (x - x.mean(axis=0)) / spread(x)
    left, right = np.triu_indices(z.shape[1])
    indicators = period[:, None] == np.unique(period)[1:]
    by_period = (z[:, :, None] * indicators[:, None, :]).reshape(len(z), -1)
    return np.hstack([z, z[:, left] * z[:, right], by_period])


def orthogonal(terms: FloatArray, train: Rows) -> FloatArray:
    """Return each term less what those before it explain, with variance one over the training rows.

    Powers of a skewed covariate are so collinear that coordinate descent does not converge on them.
    """
    triangle = np.linalg.qr(terms[train])[1]
    size = np.zeros(terms.shape[1])
    size[: len(triangle)] = np.abs(np.diag(triangle))
    own = size > COLLINEAR * np.sqrt((terms[train] ** 2).sum(axis=0))
    reduced = np.linalg.qr(terms[train][:, own])[1]
    unit: FloatArray = np.linalg.solve(reduced.T, terms[:, own].T).T
    return unit * np.sqrt(train.sum())
