"""Degrees of freedom of variances that are sums of few squares.

They are those of Satterthwaite (1946) and Welch (1947) over the treated and the comparison side, as in Bell and
McCaffrey (2002) and Imbens and Kolesár (2016): a side whose variance rests on m clusters has m - 1.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import ArrayLike

from study.core import BoolArray, FloatArray, Influence, IntArray, blocks
from study.estimates.contrast import NOTHING, Sides, largest, present
from study.estimates.vcov.leverage import units_by_group
from study.panel import Summed

RANK_TOLERANCE = 1e-10
MOST = 0.5  # of the variance of some combination of terms


def degrees_of_freedom(influence: Influence, sides: Sides, pooled: FloatArray | None = None) -> FloatArray:
    """Return the degrees of freedom of the variance of each term, shape (K,).

    With V_s the part of side s in the variance, sum V_s, and m_s the effective number of its clusters, which
    :func:`effective_number` estimates, they are (sum V_s)^2 / sum [V_s^2 / (m_s - 1)].

    Parameters
    ----------
    influence : Influence, shape (n, K)
        As leaving clusters out weighs it.
    sides : Sides
    pooled : ndarray, shape (2, K), optional
        What sides of one cluster add to the variance times n^2, by the side that it is estimated from, treated or
        comparison, whose degrees of freedom it has.
    """
    degrees = [np.empty(0)]
    for part in blocks(influence.shape[1]):
        variances, effective = map(
            np.stack, zip(*_by_side(influence.columns(part), sides.select(part)), strict=True)
        )
        if pooled is not None:
            variances = variances + pooled[:, part]
        with np.errstate(invalid="ignore", divide="ignore"):
            over = np.sum(variances**2 / _degrees(effective), axis=0)
            degrees.append(variances.sum(axis=0) ** 2 / over)
    return np.concatenate(degrees)


def _by_side(influence: Influence, sides: Sides) -> Iterator[tuple[FloatArray, FloatArray]]:
    """Yield the sum of squares and the effective number of clusters of each side, shapes (K,)."""
    if sides.replicas is None and not sides.by_unit:
        sums, treated, used = sums_by_cluster(influence, sides)
        for side in (treated, ~treated):
            own = np.where(side, sums, 0.0)
            yield np.einsum("ck,ck->k", own, own), effective_number(own, number=np.sum(side & used, axis=0))
        return
    if sides.replicas is None and sides.alike and not influence.is_small and influence.within(sides.group):
        squares, fourths = influence.powers_by_group(sides.group)
        yield from _of_sides(sides, squares, fourths, units_by_group(influence, sides))
        return
    dense = influence.dense()
    counts = sides.by_group(sides.units(sides.present(dense)))
    if sides.replicas is not None:
        squares = sides.by_group(dense**2 / sides.copies)
        fourths = np.zeros(squares.shape)
        group = np.empty(int(sides.replicas.stratum.max()) + 1, dtype=np.int64)
        group[sides.replicas.stratum] = sides.group
        np.add.at(fourths, group, sides.replicas.fourths((dense / sides.copies)[:, :, None]))
    else:
        dense *= dense
        squares = sides.by_group(dense)
        dense *= dense
        fourths = sides.by_group(dense)
    yield from _of_sides(sides, squares, fourths, counts)


def _of_sides(
    sides: Sides, squares: FloatArray, fourths: FloatArray, counts: FloatArray
) -> Iterator[tuple[FloatArray, FloatArray]]:
    """Yield what :func:`_by_side` does from sums by group, shapes (G, K)."""
    for side in (sides.treated > 0, sides.treated == 0):
        second, fourth, number = (
            np.sum(np.where(side, each, 0.0), axis=0) for each in (squares, fourths, counts)
        )
        yield second, effective_of_moments(second, fourth, number)


def sums_by_cluster(influence: Influence, sides: Sides) -> tuple[FloatArray, BoolArray, BoolArray]:
    """Return sums by cluster, and which have a treated unit with influence, and any, all of shape (C, K)."""
    dense = influence.dense()
    used = sides.present(dense) > 0
    on_treated = used & (sides.treated[sides.group] > 0)
    sums = sides.by_cluster(dense) / np.sqrt(sides.copies)
    return sums, sides.by_cluster(on_treated) > 0, sides.by_cluster(used) > 0


def _degrees(effective: FloatArray) -> FloatArray:
    return np.maximum(np.nan_to_num(effective, nan=1.0) - 1, 1.0)


def covariance_degrees(
    sums: FloatArray, treated: BoolArray, replicas: Summed | None, used: BoolArray, together: IntArray
) -> float:
    """Return the degrees of freedom of the covariance of several terms: it varies as a Wishart matrix with as many.

    The covariance sums S_s over both sides. With the terms turned so that S is the identity of rank r, the degrees are
    (r + r^2) / sum_s {[tr(S_s^2) + (tr S_s)^2] / (m_s - 1)} (Nel and van der Merwe 1986). The number of clusters m_s is
    estimated from the fourth powers of the lengths of the clusters' sums, of which a normal vector in r dimensions has
    (r + 2) / (r + 1) times what the traces have; with one term this is :func:`degrees_of_freedom`. A side of r clusters
    or fewer has a singular S_s, and where most of the variance is of that side, the test would take what it leaves out
    for precise; the degrees are then its own, with which there is no test.

    Parameters
    ----------
    sums : ndarray, shape (C, K)
        Of influence by cluster, as leaving clusters out weighs it; each term varies.
    treated : ndarray of bool, shape (C,)
        Which clusters are on the treated side.
    replicas : Summed, optional
        What clusters stand for, where their numbers stand for several; sums are over the root of how many.
    used : ndarray of bool, shape (C,)
        Which clusters have influence.
    together : ndarray of int, shape (C,)
        The same number for clusters that are treated in the same terms. Combinations of terms may rest on these alone,
        so that the degrees are at most those with such sets in place of sides, in which m_s is the number of clusters.
    """
    scaled = sums / np.sqrt(np.einsum("ck,ck->k", sums, sums))
    values, vectors = np.linalg.eigh(scaled.T @ scaled)
    varies = values > RANK_TOLERANCE * len(values)
    standard = scaled @ (vectors[:, varies] / np.sqrt(values[varies]))
    rank, over, least = int(varies.sum()), 0.0, np.inf
    copies = np.ones(len(sums)) if replicas is None else replicas.frequency
    each = standard / np.sqrt(copies)[:, None]
    lengths = np.einsum("ck,ck->c", each, each)

    def part_of(side: BoolArray) -> tuple[FloatArray, float]:
        part = standard[side].T @ standard[side]
        return part, float(np.sum(part**2) + np.trace(part) ** 2)

    for side in (treated, ~treated):
        if replicas is None:
            fourth = float(np.sum(lengths[side] ** 2))
        else:
            fourth = float(np.sum(replicas.fourths((each * side[:, None])[:, None, :])))
        if fourth > 0:
            number = np.sum(copies[side] * used[side])
            part, spread = part_of(side)
            effective = np.clip(spread * (rank + 2) / (rank + 1) / fourth - 2, 1.0, number)
            over += spread / float(_degrees(effective))
            if np.linalg.norm(part, 2) > MOST:
                least = min(least, float(number) - 1)
    if 1 < rank > least:
        return least
    if rank > 1:
        sets = [together == number for number in np.unique(together)]
        over = max(over, sum(part_of(own)[1] / float(_degrees(copies[own] @ used[own])) for own in sets))
    return (rank + rank**2) / over


def treated_together(treated: BoolArray) -> IntArray:
    """Number rows, of shape (N, K), so that those treated in the same terms have the same."""
    return np.unique(treated, axis=0, return_inverse=True)[1].reshape(-1)


def effective_number(
    sums: FloatArray, replicas: Summed | None = None, number: ArrayLike | None = None
) -> FloatArray:
    """Return 3 (sum s^2)^2 / sum s^4 - 2 of each column, shape (K,), between 1 and the number of clusters.

    With gamma_c = E s_c^2, what cluster c adds to the variance, the number that Carter, Schnepel and
    Steigerwald (2017) define is G* = (sum gamma)^2 / sum gamma^2. It is also Satterthwaite's (1946) degrees of
    freedom of the variance estimate sum s_c^2, 2 E(V)^2 / Var(V), for normal and independent sums, since then
    Var(s^2) = 2 gamma^2. They fill in gamma from the regressors; here it is estimated from the sums s_c
    themselves, so that it holds for every design. Squares in place of gammas would be wrong by a factor of about 3,
    because E s^4 = 3 gamma^2; unbiased for the two parts are sum s^4 / 3 for sum gamma^2, and
    (sum s^2)^2 - 2 sum s^4 / 3 for (sum gamma)^2. Their ratio is the formula: near G for clusters alike, near m
    where m clusters carry the variance, 1 where one does. Sums with tails heavier than the normal have a smaller
    number, as their variance estimate is less precise.

    Parameters
    ----------
    sums : ndarray, shape (G, K)
        Influence added up by cluster. A column without variance has NaN.
    replicas : Summed, optional
        As in :func:`covariance_degrees`.
    number : array-like, optional
        Of clusters, shape (K,); those with influence where it is not given.
    """
    if replicas is not None:
        each = sums / np.sqrt(replicas.frequency)[:, None]
        number = np.sum(present(largest(each, replicas.stratum)) * replicas.frequency[:, None], axis=0)
        fourth = replicas.fourths(each[:, :, None]).sum(axis=0)
        return effective_of_moments(np.einsum("ck,ck->k", sums, sums), fourth, number)
    most = np.abs(sums).max(axis=0)
    with np.errstate(invalid="ignore"):
        squares = (sums / most) ** 2
    number = np.sum(squares > NOTHING**2, axis=0) if number is None else number
    return effective_of_moments(squares.sum(axis=0), np.sum(squares**2, axis=0), number)


def effective_of_moments(second: FloatArray, fourth: FloatArray, number: ArrayLike) -> FloatArray:
    """Return the effective number from sums of second and fourth powers, and how many clusters they are of."""
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.clip(3 * second**2 / fourth - 2, 1.0, number)
