"""Whether predicted treatment sets rows that are treated apart from those that are not."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from study.core import FloatArray, IntArray
from study.learners.problem import Rows

QUANTILES = (0.0, 0.05, 0.25, 0.5, 0.75, 0.95, 1.0)


class Propensities(NamedTuple):
    """Predicted treatment of the rows that are judged, by draw of the folds.

    Attributes
    ----------
    unit : ndarray of int, shape (N,)
    treated : ndarray of bool, shape (N,)
        For an instrument of more values than 0 and 1: above its median.
    groups : tuple of str
        Which rows are treated, and which are not, in words.
    shares : bool
        Whether predictions are shares, which figures show in percent.
    predicted : ndarray, shape (N, R)
        Propensities before they are clipped, or predicted changes of treatment.
    limits : tuple of float, optional
        What propensities are clipped to; None for a mean.
    """

    unit: IntArray
    treated: Rows
    groups: tuple[str, str]
    shares: bool
    predicted: FloatArray
    limits: tuple[float, float] | None

    @classmethod
    def grouped(
        cls,
        name: str,
        unit: IntArray,
        target: FloatArray,
        predicted: FloatArray,
        limits: tuple[float, float] | None,
    ) -> Propensities:
        """Tell treated rows from others by the target, which ``name`` says in words."""
        if np.isin(target, (-1, 0, 1)).all():
            return cls(unit, target > 0, (f"with {name}", f"without {name}"), True, predicted, limits)
        groups = f"with {name} above its median", f"with {name} up to its median"
        return cls(unit, target > np.median(target), groups, False, predicted, limits)

    def of(self, treated: bool) -> FloatArray:
        """Return the predictions of one group, shape (n_1, R) or (n_0, R)."""
        return self.predicted[self.treated == treated]

    def quantiles(self, treated: bool) -> FloatArray:
        """Return the quantiles of one group, averaged over draws, shape (7,)."""
        found: FloatArray = np.quantile(self.of(treated), QUANTILES, axis=0).mean(axis=1)
        return found

    @property
    def above(self) -> float:
        """Share of treated rows whose prediction no comparison row reaches, averaged over draws."""
        return float(np.mean(self.of(True) > self.of(False).max(axis=0)))

    def clipped(self, treated: bool) -> float:
        """Return how many rows of a group are clipped, averaged over draws."""
        assert self.limits is not None
        low, high = self.limits
        group = self.of(treated)
        return float(((group < low) | (group > high)).sum(axis=0).mean())

    @property
    def effective(self) -> float:
        """Number of equally weighted comparison units that would be as precise (Kish 1965), averaged over draws.

        Units weigh the odds p / (1 - p) of their rows after clipping, as they do for an effect on the treated.
        """
        assert self.limits is not None
        kept = np.minimum(np.clip(self.of(False), *self.limits), 1 - np.finfo(np.float64).eps)
        odds = kept / (1 - kept)
        weight = np.zeros((int(self.unit.max()) + 1, odds.shape[1]))
        np.add.at(weight, self.unit[~self.treated], odds)
        total, squares = weight.sum(axis=0), (weight**2).sum(axis=0)
        return float(np.mean(np.where(squares > 0, total**2 / np.where(squares > 0, squares, 1.0), 0.0)))
