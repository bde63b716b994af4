"""Gaps between cohorts and those they are compared with, from means by cohort and period alone."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from study.cohorts import Cells, CohortMeans
from study.influence import Influence
from study.panel import FloatArray


class Layout(NamedTuple):
    """K comparisons of one group with others between two periods.

    ``group`` is the number of the treated group, ``now`` and ``base`` are numbers of periods, shape (K,);
    ``compared`` says with which groups it is compared, shape (G, K).
    """

    group: NDArray[np.int64]
    now: NDArray[np.int64]
    base: NDArray[np.int64]
    compared: Cells


class Gaps(NamedTuple):
    """The change of a group less the change of those it is compared with, shape (K,); NaN without one of them."""

    estimate: FloatArray
    influence: Influence


def cohort_gaps(means: CohortMeans, layout: Layout) -> Gaps:
    """Return differences in differences of means by group and period.

    Exact where the units that are seen do not differ between the two periods, and for repeated cross-sections;
    weights of the compared groups are the sums of their units' weights in each period.
    """
    n_groups, n_periods = means.mean.shape
    n_terms, each = len(layout.group), np.arange(len(layout.group))
    estimate = np.zeros(n_terms)
    of_deviation, of_weight = np.zeros((2, n_groups, n_periods, n_terms))
    with np.errstate(invalid="ignore", divide="ignore"):
        for sign, at in ((1.0, layout.now), (-1.0, layout.base)):
            mean, weight = means.mean[:, at], means.weight[:, at]
            compared = weight * layout.compared
            share = layout.compared / compared.sum(axis=0)
            theirs = np.einsum("gk,gk->k", compared, mean) / compared.sum(axis=0)
            ours = mean[layout.group, each]
            estimate += sign * np.where(weight[layout.group, each] > 0, ours - theirs, np.nan)
            of_deviation[layout.group, at, each] += sign * means.n_units / weight[layout.group, each]
            of_deviation[:, at, each] -= sign * means.n_units * share
            of_weight[:, at, each] -= sign * means.n_units * share * (mean - theirs)
    return Gaps(estimate, means.influence(of_deviation, of_weight))
