"""Lasso on a dictionary of covariates, for means and for probabilities."""

from __future__ import annotations

import numpy as np
from scipy.linalg.blas import dtrsm
from scipy.special import expit

from study.core import FloatArray, IntArray
from study.learners.problem import Problem, Rows, group_means, standardised, tuning_splits

# Penalties that the lasso chooses between, from the least one that leaves nothing down to a thousandth of it,
# by the prediction error in this many sets of clusters.
PENALTIES = np.geomspace(1, 1e-3, 30)
TUNING_FOLDS = 5
COLLINEAR = 1e-6
# scikit-learn's lasso draws nothing, yet takes a number from numpy's global generator unless it has one of its own.
DRAWS = np.random.RandomState(0)
# Below a hundredth a logit of a rare treatment is nearly separated.
LOGIT_PENALTIES = np.geomspace(1, 1e-2, 10)
STEPS = 100
CONVERGED = 1e-9
LEAST_WEIGHT = 1e-5


def lasso(problem: Problem) -> FloatArray:
    """Predict a mean, with unpenalised period effects: the dictionary, too, is less its period means."""
    train, target = problem.train, problem.target
    terms = dictionary(problem.inside, problem.period)
    terms = orthogonal(terms - group_means(terms, problem.period, train), train)
    splits = tuning_splits(problem.order, train, TUNING_FOLDS)
    if len(splits) < 2:  # of one cluster no penalty can be judged
        return np.zeros(int(problem.test.sum()))
    rows, y, both = np.flatnonzero(train), target[train], np.vstack([terms.T, target]).T
    judges = [own.T @ own for own in (_rows(both, rows[judge]) for _, judge in splits)]
    every = np.sum(judges, axis=0)
    largest = np.abs(every[:-1, -1]).max(initial=0.0) / len(y)
    if not largest > 0:
        return np.zeros(int(problem.test.sum()))
    penalties, error = largest * PENALTIES, np.zeros(len(PENALTIES))
    for (learn, judge), own in zip(splits, judges, strict=True):
        less_fitted = np.vstack([-slopes(every - own, y[learn], penalties), np.ones(len(penalties))])
        error += (less_fitted * (own @ less_fitted)).sum(axis=0) / len(judge)
    chosen = slopes(every, y, penalties[[error.argmin()]])
    return np.asarray((_rows(terms, np.flatnonzero(problem.test)) @ chosen)[:, 0])


def _rows(terms: FloatArray, which: IntArray) -> FloatArray:
    """Return rows of a matrix whose columns lie one after another, as those of the result do."""
    return np.take(terms.T, which, axis=1).T


def slopes(
    products: FloatArray, y: FloatArray, penalties: FloatArray, *, tol: float = 1e-4, max_iter: int = 10_000
) -> FloatArray:
    """Return the slopes of a lasso without a constant, shape (p, L), for penalties in descending order.

    From the sums of products of [x, y], (p + 1, p + 1), by scikit-learn's path, without its checks of input and
    options, which take as long as the path itself.
    """
    from sklearn import config_context
    from sklearn.linear_model import lasso_path

    gram, with_y = products[:-1, :-1].copy(), products[:-1, -1].copy()
    x = np.broadcast_to(0.0, (len(y), len(gram)))  # of which the path uses the shape, given its products
    with config_context(skip_parameter_validation=True):
        path: FloatArray = lasso_path(
            x, y, alphas=penalties, precompute=gram, Xy=with_y, tol=tol, max_iter=max_iter, check_input=False,
            random_state=DRAWS,
        )[1]  # fmt: skip
    return path


def lasso_logit(problem: Problem) -> FloatArray:
    """Predict a probability by a logit with an unpenalised constant and penalised terms of the dictionary."""
    train, target = problem.train, problem.target
    terms = dictionary(problem.inside, problem.period)
    terms = orthogonal(terms - terms[train].mean(axis=0), train)
    x, y, share = terms[train], target[train], target[train].mean()
    largest = np.abs(x.T @ (y - share)).max(initial=0.0)
    splits = tuning_splits(problem.order, train, TUNING_FOLDS)
    if not largest > 0 or any(len(np.unique(y[part])) < 2 for split in splits for part in split):
        return np.full(int(problem.test.sum()), share)
    penalties = largest * LOGIT_PENALTIES
    loss = np.zeros(len(penalties))
    for learn, judge in splits:
        index = indices(x[judge], logit_path(x[learn], y[learn], penalties))
        loss += np.mean(np.logaddexp(0, index) - y[judge] * index, axis=1)
    chosen = logit_path(x, y, penalties[: int(loss.argmin()) + 1])[-1:]
    return np.asarray(expit(indices(terms[problem.test], chosen)[0]), dtype=np.float64)


def logit_path(x: FloatArray, y: FloatArray, penalties: FloatArray) -> FloatArray:
    """Return the constants and slopes of penalised logits, shape (L, 1 + p), for penalties in descending order.

    Newton's method: the constant is not penalised, and each step is a weighted lasso.
    """
    share = y.mean()
    coefficients = np.append(np.log(share / (1 - share)), np.zeros(x.shape[1]))
    path = []
    for penalty in penalties:
        for _ in range(STEPS):
            before, index = coefficients, indices(x, coefficients[None])[0]
            likely = expit(index)
            weight = np.maximum(likely * (1 - likely), LEAST_WEIGHT)
            towards = index + (y - likely) / weight
            centre, mean = weight @ x / weight.sum(), weight @ towards / weight.sum()
            root = np.sqrt(weight)
            terms, target = root[:, None] * (x - centre), root * (towards - mean)
            both, alone = np.column_stack([terms, target]), np.array([penalty / len(x)])
            slope = slopes(both.T @ both, target, alone, tol=1e-10, max_iter=100_000)[:, 0]
            coefficients = np.append(mean - centre @ slope, slope)
            if np.abs(coefficients - before).max() < CONVERGED:
                break
        path.append(coefficients)
    return np.array(path)


def indices(x: FloatArray, coefficients: FloatArray) -> FloatArray:
    """Return constant + x'slope for each row of coefficients, shape (L, N)."""
    return np.asarray(coefficients[:, :1] + coefficients[:, 1:] @ x.T)


def dictionary(x: FloatArray, period: IntArray) -> FloatArray:
    """Return the standardised covariates, their squares and products, and what is each one's own in a period.

    The first period has no term of its own: all periods' together repeat the covariates themselves.
    """
    z = np.ascontiguousarray(standardised(x).T)
    left, right = np.triu_indices(len(z))
    by_period = z[:, None] * (period == np.unique(period)[1:, None])
    return np.vstack([z, z[left] * z[right], by_period.reshape(-1, len(x))]).T


def orthogonal(terms: FloatArray, train: Rows) -> FloatArray:
    """Return each term less what those before it explain, with variance one over the training rows.

    Powers of a skewed covariate are so collinear that coordinate descent does not converge on them.
    """
    x = _rows(terms, np.flatnonzero(train))
    triangle = np.asarray(np.linalg.qr(x, mode="r"))
    size = np.zeros(terms.shape[1])
    size[: len(triangle)] = np.abs(np.diag(triangle))
    own = size > COLLINEAR * np.sqrt(np.einsum("ij,ij->j", x, x))
    if not own.all():
        triangle, terms = np.asarray(np.linalg.qr(x[:, own], mode="r")), terms[:, own]
    return np.asarray(dtrsm(np.sqrt(len(x)), triangle, terms, side=1))
