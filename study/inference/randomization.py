"""Randomization tests, which deal event dates anew."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray


class Randomization(NamedTuple):
    """A randomization test: the statistic, its p-value, and how many permutations it rests on."""

    statistic: float
    p_value: float
    permutations: int


def randomization_test(
    statistic: Callable[[NDArray[np.int64]], float],
    strata: NDArray[Any],
    *,
    permutations: int,
    seed: int,
    progress: Callable[[], None] | None = None,
) -> Randomization:
    """Compare a statistic with its distribution when event dates are dealt anew within strata.

    Valid, in finite samples, for the sharp null of no effect on any unit if dates are exchangeable
    within strata (Fisher 1935; for staggered adoption, Roth and Sant'Anna 2023).

    Parameters
    ----------
    statistic : callable
        Takes the order in which the units' event dates are dealt, shape (n,); larger in absolute value
        is more extreme.
    strata : ndarray, shape (n,)
        Dates are exchanged only between units of one stratum.
    permutations, seed : int
    progress : callable, optional
        Called after each permutation.

    Returns
    -------
    Randomization
        With p = (1 + draws at least as extreme) / (1 + draws).
    """
    rng = np.random.default_rng(seed)
    identity = np.arange(len(strata))
    groups = [np.flatnonzero(strata == label) for label in np.unique(strata)]
    observed = statistic(identity)
    threshold = abs(observed) * (1 - 1e-12)
    extreme = 0
    for _ in range(permutations):
        order = identity.copy()
        for members in groups:
            order[members] = rng.permutation(members)
        extreme += abs(statistic(order)) >= threshold
        if progress is not None:
            progress()
    return Randomization(observed, (1 + extreme) / (1 + permutations), permutations)
