"""Joint tests that effects before treatment are zero."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from study.estimates.estimate import Estimate
from study.estimates.multipliers import exceeded, largest_draws


class PreTest(NamedTuple):
    """Two joint tests that effects before treatment are zero.

    Attributes
    ----------
    p_value, rank : float and int
        Of the Wald test; NaN and 0 where there is nothing to test.
    p_largest : float
        Of the largest absolute t, by normal draws of the terms.
    """

    p_value: float
    rank: int
    p_largest: float


NONE = PreTest(np.nan, 0, np.nan)


def pre_test(path: Estimate, *, since: float = -np.inf, draws: int = 9999, seed: int = 0) -> PreTest:
    """Test the effects before treatment of an estimate by event time.

    Both tests are on the scale of ``sample.y``, where a proportional effect is zero if the effect in levels is, and
    have the degrees of freedom that the clusters leave. ``benchmarks/interval_coverage.py`` measures how
    often they reject where there are no effects.

    Parameters
    ----------
    path : Estimate
        With one term an event time.
    since : float
        First event time that is tested.
    draws, seed : int
        Of the normal draws.
    """
    leads = path.pre & (path.event_time >= since) & np.isfinite(path.level_scores)
    if not leads.any():
        return NONE
    wald = path.test(leads)
    sums = path.level_errors.select(leads).cluster_sums(path.sample.cluster)
    largest = largest_draws(sums, draws, seed)
    p_largest = exceeded(largest, path.level_scores[leads].max())
    return PreTest(wald.p_value, wald.rank, float(p_largest))
