"""Whether a cohort's propensity score has comparison units wherever it has treated ones."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from study.core import FloatArray, Unidentified, comparison_odds


@dataclass(frozen=True, eq=False)
class Overlap:
    """The estimated propensity score of one cohort and of the units that it is compared with.

    Attributes
    ----------
    treated, compared : ndarray, shapes (n_1,), (n_0,)
        Scores; zero for a comparison unit that the covariates tell from all treated ones.
    weight : ndarray, shape (n_0,)
        Share of each comparison unit in the comparison after weighting by the odds; they add up to one.
    """

    treated: FloatArray
    compared: FloatArray
    weight: FloatArray

    @property
    def effective(self) -> float:
        """Number of equally weighted comparison units that would be as precise (Kish 1965)."""
        return float(1 / np.sum(self.weight**2))

    @property
    def largest_share(self) -> float:
        """Weight of the comparison unit that has most of it."""
        return float(self.weight.max())

    @property
    def outside(self) -> NDArray[np.bool_]:
        """Which treated units have a score that no comparison unit reaches at that end, shape (n_1,)."""
        alike = self.compared[self.compared > 0]
        return np.asarray((self.treated > alike.max()) | (self.treated < alike.min()))

    @property
    def unlike(self) -> int:
        """Number of comparison units that the covariates tell from all treated ones."""
        return int(np.sum(self.compared == 0))

    @property
    def relative_log_odds(self) -> tuple[FloatArray, FloatArray]:
        """Log odds less those of a unit drawn at random, of treated units and of comparison units like them."""
        alike = self.compared[self.compared > 0]
        usual = np.log(len(self.treated) / len(alike))
        ours, theirs = (np.log(p) - np.log1p(-p) - usual for p in (self.treated, alike))
        return ours, theirs


def overlap(
    x: FloatArray, weights: FloatArray, treated: NDArray[np.int64], compared: NDArray[np.int64]
) -> Overlap | str:
    """Return a cohort's overlap, or in words why its propensity score cannot be estimated.

    The score and the odds are those of callaway_santanna: a maximum-likelihood logit on the constant and the
    covariates over the cohort and its comparison units, whose odds are zero from a score of 0.995 on, or its limit.

    Parameters
    ----------
    x : ndarray, shape (n, p)
        The constant first.
    weights : ndarray, shape (n,)
    treated, compared : ndarray of int
        Row numbers.
    """
    rows = np.concatenate([treated, compared])
    is_treated = np.arange(len(rows)) < len(treated)
    if len(rows) <= x.shape[1]:
        return f"{len(rows)} units are too few for a regression on {x.shape[1] - 1} covariates and a constant"
    try:
        found = comparison_odds(is_treated, x[rows], weights[rows])
    except Unidentified as why:
        return str(why)
    weight = weights[compared] * found.odds[~is_treated]
    return Overlap(found.score[is_treated], found.score[~is_treated], weight / weight.sum())
