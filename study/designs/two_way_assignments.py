"""Coefficients of two-way fixed effects for many assignments of event dates at once.

An assignment moves units between cohorts and leaves the regressors of each cohort as they are. Where all units are seen
in the same periods, the regressors without their means by unit and period, and what solves for the coefficients, are
those of every assignment.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from study.core import BoolArray, FloatArray, IntArray, solvable
from study.designs.did_assignments import LEAST, alike_and_alone, leverage_of_draws
from study.estimates import NO_MEAN
from study.panel import Sample

# Numbers by assignment, unit and period that are held at a time.
AT_ONCE = 2**23


def coefficients_by_assignment(
    sample: Sample, orders: IntArray, cells: BoolArray, averaged: BoolArray
) -> tuple[FloatArray, FloatArray, BoolArray] | None:
    """Return an average of coefficients and its jackknife error for assignments of event dates.

    Parameters
    ----------
    sample, orders
        As for :func:`study.designs.did_assignments.averages_by_assignment`.
    cells : ndarray of bool, shape (G, T, K)
        The regressors: each is one in some cells.
    averaged : ndarray of bool, shape (K,)
        Which of their coefficients are averaged.

    Returns
    -------
    effect, std_error : ndarray, shape (B,)
        NaN where no mean is positive that the effect could be a share of.
    known : ndarray of bool, shape (B,)
        False, and the error NaN, where it is close to rounding error or there is none, so that the design itself has to
        say.

    None instead of these for covariates, weights, clusters of several units, and units that are seen in different
    periods.
    """
    if sample.covariates or not alike_and_alone(sample):
        return None
    n, seen = sample.n_units, sample.observed[0]
    dates, rows = sample.groups
    sizes = np.array([len(members) for members in rows])
    x = cells[:, seen].astype(float)
    means = n * x / np.einsum("g,gtk->k", sizes, x)
    x -= x.mean(axis=1, keepdims=True)
    x -= np.einsum("g,gtk->tk", sizes / n, x)
    gram = np.einsum("g,gtk,gtl->kl", sizes, x, x)
    if not solvable(gram):
        return None
    share = averaged / averaged.sum()
    treated = np.isin(dates, sample.cohorts)[:, None, None].astype(float)
    shared = _Shared(sizes, treated, x, n * (x @ np.linalg.inv(gram)), means, share)
    blocks = np.array_split(orders, -(-orders.size * int(seen.sum()) // AT_ONCE))
    effect, std_error, known = zip(*(_answers(sample, block, shared) for block in blocks), strict=True)
    return np.concatenate(effect), np.concatenate(std_error), np.concatenate(known)


class _Shared(NamedTuple):
    """What assignments share, over G groups of units with the same date, the T periods seen and K coefficients.

    ``sizes`` counts units, (G,), and ``treated`` is one for those that are treated, (G, 1, 1). The regressors without
    means by unit and period, ``x``, and the maps from a unit's outcomes to its influence on coefficients, ``maps``, and
    on the means of their cells, ``means``, have shape (G, T, K). ``share`` is what coefficients weigh in the average.
    """

    sizes: IntArray
    treated: FloatArray
    x: FloatArray
    maps: FloatArray
    means: FloatArray
    share: FloatArray


def _answers(sample: Sample, orders: IntArray, shared: _Shared) -> tuple[FloatArray, FloatArray, BoolArray]:
    """Return effects, errors and whether they are known, shape (B,)."""
    y, n = sample.y[:, sample.observed[0]], sample.n_units
    by_date = np.argsort(sample.group_number[orders], axis=1, kind="stable")
    members = np.split(by_date, np.cumsum(shared.sizes)[:-1], axis=1)
    left = y - y.mean(axis=1, keepdims=True)
    residual = [(left - left.mean(axis=0))[units] for units in members]
    coefficient = _means(residual, shared.maps, n)
    for own, x in zip(residual, shared.x, strict=True):
        own -= (coefficient @ x.T)[:, None]
    squares = [((own @ of) ** 2).sum(axis=1) for own, of in zip(residual, shared.maps, strict=True)]
    factor, estimable = leverage_of_draws(sample, shared.sizes, shared.treated, np.stack(squares))
    known = estimable[:, shared.share > 0].all(axis=1)

    counted, largest = factor * shared.share, np.abs(y).max()
    weight = np.einsum("gtk,gbk->gbt", shared.maps, counted)
    influence = [(own @ of[..., None])[..., 0] for own, of in zip(residual, weight, strict=True)]
    effect, untreated = coefficient @ shared.share, np.ones(len(orders))
    if sample.question.scale == "proportional":
        level = y.mean(axis=0)
        above = [(y - level)[units] for units in members]
        # The means of treated cells, above those of all units and by themselves.
        beyond = _means(above, shared.means, n)
        mean = beyond + np.einsum("t,gtk,g->k", level, shared.means, shared.sizes) / n
        untreated = mean @ shared.share - effect
        untreated = np.where(untreated > NO_MEAN * largest, untreated, np.nan)
        effect = effect / untreated
        of_mean = np.einsum("gtk,gbk->gbt", shared.means, counted)
        shift = of_mean @ level - np.einsum("gtk,gbk,bk->gb", shared.means, counted, mean)
        for own, high, of, less in zip(influence, above, of_mean, shift, strict=True):
            own *= (1 + effect)[:, None]
            own -= effect[:, None] * ((high @ of[..., None])[..., 0] + less[:, None])
    error = np.sqrt(np.sum([(own**2).sum(axis=1) for own in influence], axis=0)) / n
    known &= ~(error <= LEAST * largest)
    return effect, np.where(known, error, np.nan) / untreated, known


def _means(values: list[FloatArray], maps: FloatArray, n: int) -> FloatArray:
    """Return the means over n units of what maps, (G, T, K), make of their values by group, (B, m_g, T): (B, K)."""
    return np.asarray(
        np.sum([own.sum(axis=1) @ of for own, of in zip(values, maps, strict=True)], axis=0) / n
    )
