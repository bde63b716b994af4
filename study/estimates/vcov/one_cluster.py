"""The variance of terms with one cluster on a side, pooled over both sides."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from study.core import BoolArray, FloatArray, IntArray
from study.estimates.contrast import Sides


class OneCluster(NamedTuple):
    """Terms with a side of one cluster, under the pooled variance of both sides.

    Attributes
    ----------
    factor : ndarray, shape (n, K)
        What the influence of units is multiplied by: 0 on a side of one cluster, which ``own`` takes the place of.
    own : ndarray, shape (n, K)
        Influence of the one cluster: n times the pooled standard deviation, in one of its rows.
    estimable : ndarray of bool, shape (K,)
        Whether the other side has two clusters or more, with a variance.
    """

    factor: FloatArray
    own: FloatArray
    estimable: BoolArray


def one_cluster_sides(influence: FloatArray, sides: Sides, only: IntArray, clusters: IntArray) -> OneCluster:
    """Return the variance of terms of which a side is one cluster, or all of its clusters have the same change.

    Such a side leaves no residual, so that its clusters are taken to vary as those of the other side do. With h_c the
    share of cluster c in the weight of its side and d_c the deviation of its mean from that of the side, the influence
    of c over n is h_c d_c, and a side of m clusters whose means have the variance sigma^2 has

        E sum d_c^2 = sigma^2 (m - 2 + m sum h_c^2),

    (m - 1) sigma^2 where clusters weigh the same. The variance of the contrast is sigma^2 sum h_c^2 over both sides,
    which is sigma^2 (1 + 1/m) for one treated cluster: Student's t test with m - 1 degrees of freedom, exact for normal
    outcomes and one date of treatment (Lee and Wooldridge 2025; Donald and Lang 2007).

    Parameters
    ----------
    influence : ndarray, shape (n, K)
    sides : Sides
    only : ndarray of int, shape (K,)
        A row of the one cluster that a side of the term rests on; -1 where the design names none. A regression may give
        other units of that side influence on the term too, which says nothing about the variance of the one.
    clusters : ndarray of int, shape (2, K)
        Clusters on the treated and on the comparison side; 0 where several have the same change.
    """
    n, k = influence.shape
    treated, columns = sides.treated[sides.group], np.arange(k)
    full = np.where(treated > 0, treated, 1.0) * sides.weights[:, None]
    weight = full * sides.present(influence)
    never = (sides.treated.max(axis=1) == 0)[sides.group]
    factor, own, copies = np.ones((n, k)), np.zeros((n, k)), sides.copies
    squares, freedom, alone = np.zeros(k), np.zeros(k), []
    for half in sides.halves:
        inside = half[sides.group]
        by_cluster = sides.by_cluster(weight * inside)
        number = np.sum((by_cluster > 0) * copies, axis=0)
        one = (number < 2) | ((only >= 0) & inside[only, columns])
        share = by_cluster / np.where(by_cluster > 0, by_cluster.sum(axis=0) * copies, 1.0)
        of_share = np.sum(share**2 * copies, axis=0)
        deviation = np.divide(
            sides.by_cluster(influence * inside), share, out=np.zeros_like(share), where=share > 0
        )
        left = np.where(one, 0.0, number - 2 + number * of_share)
        squares += np.where(one, 0.0, np.sum(deviation**2 / copies, axis=0))
        freedom += left
        scale = np.sqrt(np.divide(of_share, left, out=np.zeros(k), where=left > 0))
        by_unit = share[sides.cluster]
        scaled = np.divide(scale, by_unit, out=np.ones_like(by_unit), where=(by_unit > 0) & (left > 0))
        factor = np.where(inside, np.where(one, 0.0, scaled), factor)
        alone.append((one, inside))
    spread = np.sqrt(np.divide(squares, freedom, out=np.zeros(k), where=freedom > 0))
    for h, (one, inside) in enumerate(alone):
        on_treated = h < len(alone) // 2
        for j in np.flatnonzero(one):
            if only[j] >= 0 and inside[only[j], j]:
                own[only[j], j] += spread[j]
            elif inside[:, j].any():
                same = np.flatnonzero(inside[:, j] & (on_treated | never))
                several = clusters[0 if on_treated else 1, j] == 0
                root = _root_of_shares(full[same, j], sides.cluster[same], copies) if several else 1.0
                own[np.flatnonzero(inside[:, j])[0], j] += spread[j] * root
    return OneCluster(factor, own, spread > 0)


def _root_of_shares(weight: FloatArray, cluster: IntArray, copies: FloatArray) -> float:
    """Return the root of the sum of squared shares of clusters in the weight of their units, 1 where there is none."""
    total = weight.sum()
    if not total > 0:
        return 1.0
    shares = np.bincount(cluster, weight, minlength=len(copies))[:, None] / total
    return float(np.sqrt(np.sum(shares**2 / copies)))
