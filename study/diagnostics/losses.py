"""How well a nuisance function is predicted, beside what is known of it without covariates."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from study.core import FloatArray, IntArray

# A probability is this far from 0 and 1 at least in a log loss, which is infinite where it is certain and wrong.
CERTAIN = float(np.finfo(np.float64).eps)
ROUNDED = 12  # decimals: what is equal up to rounding is a tie


class Loss(NamedTuple):
    """A mean loss, that of what is known without covariates, and the share of the latter that is saved.

    All three are means over the draws of the folds. ``saved`` of a squared error is the R2 against what is known
    without covariates; of a log loss it is McFadden's. Its standard error is clustered, for given predictions.
    """

    value: float
    without: float
    saved: float
    error: float


def loss_of(losses: FloatArray, without: FloatArray, cluster: IntArray) -> Loss:
    """Return mean losses of rows, and the share saved with the error clustered.

    Parameters
    ----------
    losses, without : ndarray, shape (N, R)
        Of the predictions, and of what is known without covariates.
    cluster : ndarray of int, shape (N,)
    """
    value, known = losses.mean(axis=0), without.mean(axis=0)
    divisor = np.where(known > 0, known, 1.0)
    saved = np.where(known > 0, 1 - value / divisor, 0.0)
    influence = (((1 - saved) * without - losses) / divisor).mean(axis=1)
    error = float(np.linalg.norm(np.bincount(cluster, weights=influence))) / len(losses)
    return Loss(float(value.mean()), float(known.mean()), float(saved.mean()), error)


def squared_errors(target: FloatArray, predicted: FloatArray) -> FloatArray:
    """Return the squared error of each prediction, shape (N, R); the target has shape (N,)."""
    errors: FloatArray = (target[:, None] - predicted) ** 2
    return errors


def log_losses(target: FloatArray, predicted: FloatArray) -> FloatArray:
    """Return minus the log of the probability that was predicted for what happened, shape (N, R)."""
    happened = np.where(target[:, None] == 1, predicted, 1 - predicted)
    losses: FloatArray = -np.log(np.clip(happened, CERTAIN, 1.0))
    return losses


def in_order(target: FloatArray, predicted: FloatArray) -> float:
    """Return the share of pairs of a 1 and a 0 that are predicted in order, ties a half, averaged over draws.

    NaN where the target takes other values.
    """
    from scipy.stats import rankdata

    ones = int(np.sum(target == 1))
    zeros = int(np.sum(target == 0))
    if not ones or ones + zeros < len(target) or not zeros:
        return np.nan
    ranks = rankdata(np.round(predicted, ROUNDED), axis=0)[target == 1]
    return float(np.mean((ranks.sum(axis=0) - ones * (ones + 1) / 2) / (ones * zeros)))
