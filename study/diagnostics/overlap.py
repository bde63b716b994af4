"""Whether treated units have comparison units of like propensity."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from study.core import BoolArray, FloatArray, IntArray, Unidentified, comparison_odds, effective_size, sums_by

QUANTILES = {"minimum": 0, "q05": 0.05, "q25": 0.25, "median": 0.5, "q75": 0.75, "q95": 0.95, "maximum": 1}


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
        """Effective number of comparison units."""
        return float(effective_size(self.weight))

    @property
    def largest_share(self) -> float:
        """Weight of the comparison unit that has most of it."""
        return float(self.weight.max())

    @property
    def outside(self) -> BoolArray:
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


def overlap(x: FloatArray, weights: FloatArray, treated: IntArray, compared: IntArray) -> Overlap | str:
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
        logit = comparison_odds(is_treated, x[rows], weights[rows])
    except Unidentified as why:
        return str(why)
    weight = weights[compared] * logit.odds[~is_treated]
    return Overlap(logit.score[is_treated], logit.score[~is_treated], weight / weight.sum())


class Propensities(NamedTuple):
    """Cross-fitted predictions of treatment of the rows that are judged, by draw of the folds.

    Attributes
    ----------
    name : str
        What is predicted, in words.
    unit : ndarray of int, shape (N,)
    target : ndarray, shape (N,)
    predicted : ndarray, shape (N, R)
        Propensities before they are clipped, or predicted changes of treatment.
    limits : tuple of float, optional
        What propensities are clipped to; None for a mean.
    learner : str
        Who predicts.
    instrument : bool
        Whether an instrument takes the place of treatment.
    """

    name: str
    unit: IntArray
    target: FloatArray
    predicted: FloatArray
    limits: tuple[float, float] | None
    learner: str = ""
    instrument: bool = False

    @property
    def binary(self) -> bool:
        """Whether the target is treatment, its change or an instrument of 0 and 1, so that predictions are shares."""
        shares = (0, 1) if self.instrument else (-1, 0, 1)
        return bool(np.isin(self.target, shares).all() and self.target.max() == 1)

    @property
    def cut(self) -> float:
        """What treated rows are above: 0, or an instrument's median, or the value before the largest if that is it."""
        return 0.0 if self.binary else float(min(np.median(self.target), np.unique(self.target)[-2]))

    @property
    def treated(self) -> BoolArray:
        """Which rows are treated, or have an instrument above the cut, shape (N,)."""
        return np.asarray(self.target > self.cut)

    def group(self, treated: bool) -> str:
        """Return in words which rows are treated, or are not."""
        if self.binary:
            return f"{'with' if treated else 'without'} {self.name}"
        cut = "its median" if self.cut == np.median(self.target) else f"{self.cut:g}"
        return f"with {self.name} {'above' if treated else 'up to'} {cut}"

    def of(self, treated: bool) -> FloatArray:
        """Return the predictions of one group, shape (n_1, R) or (n_0, R)."""
        return self.predicted[self.treated == treated]

    def summary(self, treated: bool) -> dict[str, Any]:
        """Return what is shown of one group, by name: its size, and averages over draws of quantiles and overlap."""
        members, group, others = self.treated == treated, self.of(treated), self.of(not treated)
        quantiles = np.quantile(group, [*QUANTILES.values()], axis=0).mean(axis=1).tolist()
        clipped = effective = np.nan
        if self.limits is not None:
            low, high = self.limits
            clipped = ((group < low) | (group > high)).sum(axis=0).mean()
            effective = np.nan if treated else self._effective(*self.limits)
        return {
            "learner": self.learner,
            "treated": treated,
            "rows": int(members.sum()),
            "units": len(np.unique(self.unit[members])),
            **dict(zip(QUANTILES, quantiles, strict=True)),
            "above_comparison": float(np.mean(group > others.max(axis=0))) if treated else np.nan,
            "clipped": clipped,
            "effective_units": effective,
        }

    def _effective(self, low: float, high: float) -> float:
        """Return the effective number of comparison units, averaged over draws.

        Units weigh the odds p / (1 - p) of their rows after clipping, as they do for an effect on the treated.
        """
        inside = np.clip(self.of(False), low, min(high, 1 - np.finfo(np.float64).eps))
        odds = inside / (1 - inside)
        weight = sums_by(odds, self.unit[~self.treated], int(self.unit.max()) + 1)
        return float(np.mean(effective_size(weight)))
