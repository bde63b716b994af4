"""Gaps between cohorts and those they are compared with, from means by cohort and period alone."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from study.core import FloatArray, Influence, Values
from study.estimates import Cells, CohortMeans


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
    """The change of a group less the change of those it is compared with, shape (K,); NaN without one of them.

    Zero where both periods are the same.
    """

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
    reference = layout.now == layout.base
    estimate[reference] = of_deviation[:, :, reference] = of_weight[:, :, reference] = 0.0
    return Gaps(estimate, means.influence(of_deviation, of_weight))


def regression_gaps(means: CohortMeans, layout: Layout, x: FloatArray) -> tuple[Gaps, Cells]:
    """Return the change of a group less what a regression of the compared units' changes on x predicts for it.

    With c the compared units and d the treated, b = (sum w c x x')^-1 sum w c x dy, and the effect is the mean of
    dy - x'b over d. An influence is linear in the products of x with outcomes and with x, so that sums of these by
    group give all comparisons at once. For units that are seen in the same periods within their groups.

    Parameters
    ----------
    means : CohortMeans
    layout : Layout
    x : ndarray, shape (n, p)
        Covariates, the constant first.

    Returns
    -------
    Gaps
    identified : ndarray of bool, shape (K,)
        False where the compared units' covariates are collinear.
    """
    n_periods, p = means.mean.shape[1], x.shape[1]
    products, with_y, values = [], [], []
    for members, mean, array in zip(means.rows, means.mean, means.values.arrays, strict=True):
        own, deviation, weight = x[members], array[:, :n_periods], array[:, n_periods:]
        pairs = (weight[:, :, None] * own[:, :, None] * own[:, None, :]).reshape(len(own), p * p)
        products.append(pairs.sum(axis=0).reshape(p, p))
        with_y.append(own.T @ deviation + np.outer(products[-1][:, 0], mean))
        spread = (own[:, :, None] * deviation[:, None, :]).reshape(len(own), p * n_periods)
        values.append(np.hstack([spread, pairs]))
    square, cross = np.stack(products), np.stack(with_y)
    compared = layout.compared.astype(float)
    each = np.arange(len(layout.group))
    gram = np.einsum("gk,gab->kab", compared, square)
    identified = np.linalg.cond(gram, 1) < 1 / np.finfo(float).eps
    gram[~identified] = np.eye(p)
    changes = cross[:, :, layout.now] - cross[:, :, layout.base]
    slope = np.linalg.solve(gram, np.einsum("gk,gpk->kp", compared, changes)[:, :, None])[:, :, 0]
    at = square[layout.group, 0] / square[layout.group, 0, :1]
    pull = np.linalg.solve(gram, at[:, :, None])[:, :, 0]
    change = means.mean[:, layout.now] - means.mean[:, layout.base]
    estimate = change[layout.group, each] - np.einsum("kp,kp->k", at, slope)

    scale = means.n_units / square[layout.group, 0, 0]
    load = -means.n_units * compared[:, None, :] * pull.T
    load[layout.group, 0, each] += scale
    of_y = np.zeros((len(means.dates), p, n_periods, len(each)))
    of_y[:, :, layout.now, each] += load
    of_y[:, :, layout.base, each] -= load
    of_x = -load[:, :, None, :] * slope.T
    of_x[:, :, 0] += load * change[:, None, :]
    of_x[layout.group, 0, 0, each] -= scale * estimate
    maps = np.concatenate([part.reshape(len(of_x), -1, len(each)) for part in (of_y, of_x)], axis=1)
    return Gaps(
        estimate, Influence.by_group(means.n_units, Values(means.rows, tuple(values)), maps)
    ), identified
