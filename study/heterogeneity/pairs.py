"""Terms of one estimate against one another: all pairwise differences, tested together."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING

import numpy as np

from study.core import FloatArray, quantile, same_tail, t_quantile
from study.estimates import POWER, Estimate, exceeded
from study.inference import terms_of

if TYPE_CHECKING:
    import pandas as pd

# A difference of terms that are the same number has a standard error of rounding alone.
EQUAL = 1e-9


@dataclass(frozen=True, eq=False)
class Pairs:
    """All differences of two terms, with a simultaneous test that all of them are zero.

    Attributes
    ----------
    pairs : tuple of (str, str), length P
    difference, std_error : ndarray, shape (P,)
        The first of a pair less the second, and its standard error under the estimate's convention; NaN where the
        two are the same.
    degrees_of_freedom : ndarray, shape (P,)
        Of the pair's t statistic.
    p_adjusted : ndarray, shape (P,)
        Share of draws whose largest absolute t over all pairs is at least as extreme as the pair's.
    critical : ndarray, shape (P,)
        Critical values of all pairs together, at ``level``: t statistics with the same tail.
    p_value : float
        Of the test that all differences are zero, by the largest absolute t; NaN without a difference.
    level : float
    """

    pairs: tuple[tuple[str, str], ...]
    difference: FloatArray
    std_error: FloatArray
    degrees_of_freedom: FloatArray
    p_adjusted: FloatArray
    critical: FloatArray
    p_value: float
    level: float

    @property
    def detectable(self) -> FloatArray:
        """Minimum detectable differences of all pairs together, with 80% power, shape (P,)."""
        return (self.critical + t_quantile(POWER, self.degrees_of_freedom)) * self.std_error

    @property
    def largest(self) -> int:
        """Number of the pair with the largest absolute t."""
        return int(np.nanargmax(np.abs(self.difference / self.std_error)))

    @property
    def differ(self) -> bool:
        """Whether terms differ significantly at the level."""
        return self.p_value <= 1 - self.level + 1e-12

    def tidy(self) -> pd.DataFrame:
        """Return one row a pair, with the simultaneous interval of its difference."""
        import pandas as pd

        half = self.critical * self.std_error
        return pd.DataFrame(
            {
                "first": [first for first, _ in self.pairs],
                "second": [second for _, second in self.pairs],
                "difference": self.difference,
                "std_error": self.std_error,
                "p_adjusted": self.p_adjusted,
                "band_low": self.difference - half,
                "band_high": self.difference + half,
                "detectable_difference": self.detectable,
            }
        )


def all_pairs(fit: Estimate, *, level: float, draws: int, seed: int) -> Pairs:
    """Compare the terms of an estimate, two by two.

    The largest |t|, each put on the normal scale by its degrees of freedom, is held against normal draws with the
    covariance of the differences.
    """
    names = tuple(combinations(fit.terms, 2))
    first, second = (np.array(side, dtype=int) for side in np.triu_indices(len(fit.terms), 1))
    one = np.eye(len(fit.terms))
    differences = terms_of(fit).combined([f"{a} - {b}" for a, b in names], one[:, first] - one[:, second])
    varies = differences.std_error > EQUAL * fit.std_error.max()
    none = np.full((4, len(names)), np.nan)
    error, degrees, p_adjusted, critical = none
    if varies.any():
        tested = differences.select(varies)
        statistics, largest = tested.largest_t(draws, seed)
        error[varies], degrees[varies] = tested.std_error, tested.degrees_of_freedom
        p_adjusted[varies] = exceeded(largest, statistics)
        normal = max(float(np.quantile(largest, level)), quantile((1 + level) / 2))
        critical[varies] = same_tail(normal, tested.degrees_of_freedom)
    p_value = float(np.nanmin(p_adjusted)) if varies.any() else np.nan
    effect = np.where(varies, differences.effect, 0.0)
    return Pairs(names, effect, error, degrees, p_adjusted, critical, p_value, level)
