"""Learners for econml that have nothing to learn: they hand over predictions that were made here.

econml learns nuisance functions itself, but its learners are told neither which rows are of one cluster nor what was
cross-fitted before. Predictions stand in its controls W, of which these learners take the columns.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin

from study.core import FloatArray
from study.heterogeneity.scored import Predicted


def controls(predicted: Predicted) -> FloatArray:
    """Return predictions of N rows as the controls that the learners below read, shape (N, 3)."""
    return np.column_stack(predicted)


class GivenOutcome(RegressorMixin, BaseEstimator):  # type: ignore[misc]  # scikit-learn has no types
    """E[Y | X, D], from the columns X, W, D of econml's doubly robust learners."""

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> GivenOutcome:
        """Learn nothing."""
        self.fitted_ = True
        return self

    def predict(self, X: FloatArray) -> FloatArray:
        """Return the prediction of each row's treatment."""
        return np.where(X[:, -1] == 1, X[:, -3], X[:, -4])


class GivenMean(RegressorMixin, BaseEstimator):  # type: ignore[misc]  # scikit-learn has no types
    """E[Y | X], from the columns X, W of econml's partially linear learners."""

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> GivenMean:
        """Learn nothing."""
        self.fitted_ = True
        return self

    def predict(self, X: FloatArray) -> FloatArray:
        """Return the mean of both treatments by the propensity."""
        untreated, treated, propensity = X[:, -3:].T
        return np.asarray(untreated + propensity * (treated - untreated))


class GivenPropensity(ClassifierMixin, BaseEstimator):  # type: ignore[misc]  # scikit-learn has no types
    """P(D = 1 | X), from the columns X, W."""

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> GivenPropensity:
        """Learn nothing but the two classes."""
        self.classes_ = np.array([0, 1])
        return self

    def predict_proba(self, X: FloatArray) -> FloatArray:
        """Return both probabilities."""
        return np.column_stack([1 - X[:, -1], X[:, -1]])

    def predict(self, X: FloatArray) -> Any:
        """Return the likelier class."""
        return (X[:, -1] > 0.5).astype(int)
