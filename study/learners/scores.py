"""From doubleml's fitted models to estimates with influence by unit, averaged over draws of the folds."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from study.core import FloatArray, IntArray
from study.estimates.covariance import covariance
from study.learners.cross_fitting import Folds
from study.panel import Sample

if TYPE_CHECKING:
    from doubleml.double_ml import DoubleML


class Averaged(NamedTuple):
    """A coefficient, shape (1,), with its influence by unit, shape (n, 1), and by draw of the folds, shape (R,)."""

    coefficient: FloatArray
    influence: FloatArray
    of_draw: FloatArray
    median: float

    def notes(self, sample: Sample) -> tuple[str, ...]:
        """Say how much the estimate moves with the folds, and what doubleml's median of the draws is."""
        if len(self.of_draw) == 1:
            return ()
        error = float(np.sqrt(covariance(self.influence, sample.cluster)[0, 0]))
        return (
            f"Over {len(self.of_draw)} draws of the folds the coefficient of one has a standard deviation of "
            f"{self.of_draw.std(ddof=1) / error:.2f} standard errors; doubleml's median of them is {self.median:.4g}.",
        )


def averaged(model: DoubleML, unit: IntArray, n_units: int) -> Averaged:
    """Return a fitted model's estimate and influence, averaged over its draws of the folds.

    The influence of a unit is n times the sum of its scores over minus the sum of the scores' derivatives.

    Parameters
    ----------
    model : DoubleML
        Of one treatment, with a linear score psi = psi_a theta + psi_b.
    unit : ndarray of int, shape (N,)
        The unit of each row of the model's data.
    n_units : int
    """
    theta, psi, psi_a = model.all_coef[0], model.psi[:, :, 0], model.psi_deriv[:, :, 0]
    scores = np.zeros((n_units, len(theta)))
    np.add.at(scores, unit, psi)
    influence = n_units * (scores / -psi_a.sum(axis=0)).mean(axis=1, keepdims=True)
    return Averaged(theta.mean(keepdims=True), influence, theta, float(model.coef[0]))


def splits(folds: Folds) -> list[list[tuple[IntArray, IntArray]]]:
    """Return folds as doubleml takes them: for each draw and fold the rows that train and those that are left out."""
    return [
        [(np.flatnonzero(fold != k), np.flatnonzero(fold == k)) for k in range(folds.number)]
        for fold in folds.fold.T
    ]
