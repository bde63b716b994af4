"""What a learner is given, and sums that learners share."""

from __future__ import annotations

from typing import Literal, NamedTuple

import numpy as np

from study.core import BoolArray, FloatArray, IntArray, sums_by

Kind = Literal["mean", "probability"]
Rows = BoolArray
ALL = slice(None)

SINGLE_PRECISION = 6  # decimals of a standardised target


class Problem(NamedTuple):
    """Rows of which some are learned from and some are predicted.

    Attributes
    ----------
    x : ndarray, shape (N, p)
    period : ndarray of int, shape (N,)
        Period of a row, or the stack it belongs to; all zero where there is one.
    target : ndarray, shape (N,)
        What is to be predicted: a number less what is known of it exactly, or 0 and 1.
    order : ndarray of int, shape (N,)
        Place of the row's cluster in the random order of clusters, for tuning by cluster.
    train, test : ndarray of bool, shape (N,)
        Rows that are learned from, and rows whose predictions are wanted.
    seed : int
        Of learners that draw.
    """

    x: FloatArray
    period: IntArray
    target: FloatArray
    order: IntArray
    train: Rows
    test: Rows
    seed: int

    @property
    def features(self) -> FloatArray:
        """The covariates, and the period where there is more than one, shape (N, p) or (N, p + 1)."""
        if np.all(self.period == self.period[0]):
            return self.x
        return np.column_stack([self.x, self.period])

    @property
    def inside(self) -> FloatArray:
        """The covariates, moved to the nearest value of the training rows where they are beyond all of these.

        Powers of a skewed covariate predict anything of a row that is larger than all that were learned from; trees
        predict of it what they have seen of the largest.
        """
        columns = np.ascontiguousarray(self.x.T)  # the other way numpy goes through them a row at a time
        seen = columns[:, self.train]
        return np.clip(columns, seen.min(axis=1, keepdims=True), seen.max(axis=1, keepdims=True)).T

    def target_of_trees(self, kind: Kind) -> tuple[FloatArray, float]:
        """Return the target of the training rows as trees learn it, and its size; see :func:`rounded`."""
        target = self.target[self.train]
        return rounded(target) if kind == "mean" else (target, 1.0)


def group_means(values: FloatArray, group: IntArray, among: Rows | slice = ALL) -> FloatArray:
    """Return for each row the mean of its group over some rows, shaped like the values; zero where none is of it."""
    total = sums_by(values[among], group[among], int(group.max(initial=-1)) + 1)
    count = np.bincount(group[among], minlength=len(total))
    return np.take(total.T / np.maximum(count, 1), group, axis=-1).T


def spread(x: FloatArray) -> FloatArray:
    """Return each column's standard deviation, one where it is constant up to rounding."""
    largest = np.abs(x).max(axis=0, initial=0.0)
    unit = 2.0 ** (np.frexp(largest)[1] - 1)  # dividing by it is exact, and squares of large numbers overflow
    deviation = (x / unit).std(axis=0) * unit
    return np.where(deviation > 1e-10 * largest, deviation, 1.0)


def rounded(target: FloatArray) -> tuple[FloatArray, float]:
    """Return a target over its spread, rounded to single precision, and its spread.

    Trees break ties by the last bit of their target. Rounded, rescaling, constants and the order of additions do not
    move the predictions.
    """
    size = float(spread(target))
    return np.round(target / size, SINGLE_PRECISION), size


def standardised(x: FloatArray) -> FloatArray:
    """Return columns with mean 0 and standard deviation 1, or 0 where they are constant."""
    return (x - x.mean(axis=0)) / spread(x)


def tuning_splits(order: IntArray, train: Rows, parts: int) -> list[tuple[IntArray, IntArray]]:
    """Split the training rows into whole clusters: pairs of rows that are learned from and rows that judge."""
    own = order[train]
    present = np.bincount(own) > 0
    place = (np.cumsum(present) - 1)[own]
    masks = [place % parts == part for part in range(min(parts, int(present.sum())))]
    return [(np.flatnonzero(~mask), np.flatnonzero(mask)) for mask in masks]
