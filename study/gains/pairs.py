"""Terms of one estimate against one another: all pairwise differences, tested together."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING, Any

import numpy as np

from study import inference
from study.distributions import quantile
from study.estimand import Estimand
from study.estimates import Estimate
from study.panel import FloatArray
from study.power import POWER
from study.question import Sample
from study.terms import coefficients

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
        The first of a pair less the second, and its clustered standard error; NaN where the
        two are the same.
    p_adjusted : ndarray, shape (P,)
        Share of draws whose largest absolute t over all pairs is at least as extreme as the pair's.
    critical : float
        Critical value of all pairs together, at ``level``.
    p_value : float
        Of the test that all differences are zero, by the largest absolute t; NaN without a difference.
    level : float
    """

    pairs: tuple[tuple[str, str], ...]
    difference: FloatArray
    std_error: FloatArray
    p_adjusted: FloatArray
    critical: float
    p_value: float
    level: float

    @property
    def detectable(self) -> FloatArray:
        """Differences that would be told from zero, beside all others, four times in five, shape (P,)."""
        return (self.critical + quantile(POWER)) * self.std_error

    @property
    def largest(self) -> int:
        """Number of the pair with the largest absolute t."""
        return int(np.nanargmax(np.abs(self.difference / self.std_error)))

    @property
    def apart(self) -> bool:
        """Whether the terms are told apart at the level."""
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

    The sign of each cluster's influence is drawn at random and each draw divided by its own standard error (see
    :func:`study.inference.sup_t`), for the variance rests on few treated units.
    """
    names = tuple(combinations(fit.terms, 2))
    first, second = (np.array(side, dtype=int) for side in np.triu_indices(len(fit.terms), 1))
    difference = fit.effect[first] - fit.effect[second]
    influence = fit.influence[:, first] - fit.influence[:, second]
    cluster = fit.sample.cluster
    error = np.sqrt(np.diag(inference.covariance(influence, cluster, "CR1")))
    varies = error > EQUAL * fit.std_error.max()
    error = np.where(varies, error, np.nan)
    p_adjusted, critical, p_value = np.full(len(names), np.nan), np.nan, np.nan
    if varies.any():
        sums = np.zeros((int(cluster.max()) + 1, int(varies.sum())))
        np.add.at(sums, cluster, influence[:, varies])
        largest = inference.largest_draws(sums, draws, seed, "rademacher", "drawn")
        p_adjusted[varies] = inference.exceeded(largest, np.abs(difference / error)[varies])
        critical = max(float(np.quantile(largest, level)), quantile((1 + level) / 2))
        p_value = float(np.nanmin(p_adjusted))
    return Pairs(names, np.where(varies, difference, 0.0), error, p_adjusted, critical, p_value, level)


def on_long_change(
    sample: Sample, terms: tuple[str, ...], effects: FloatArray, influence: FloatArray, **fields: Any
) -> Estimate:
    """Return an estimate of effects on the long change, shape (K,), with influence by unit, shape (n, K)."""
    from dataclasses import replace

    made = coefficients(
        sample, terms, effects, influence, n_obs=2 * sample.n_units, published="CR1", **fields
    )
    return replace(made, estimand=Estimand.LONG_CHANGE)
