"""Means by cohort and period, with their influence by unit."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from study.influence import Influence
from study.panel import FloatArray
from study.question import Sample

Cells = NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class CohortMeans:
    """Weighted means of the outcome by group and period; groups are those of ``Sample.groups``.

    Attributes
    ----------
    n_units : int
    dates : ndarray, shape (G,)
        First treated period of each group, NaN for the never-treated.
    rows : tuple of ndarray of int, shapes (m_g,)
    mean, weight : ndarray, shape (G, T)
        Mean (zero where nobody is seen) and sum of the weights of the units that are seen.
    values : tuple of ndarray, shapes (m_g, T + 1) or (m_g, 2 T)
        By unit: the weighted deviations from the mean of the group by period, zero where not seen, then the
        unit's weight, or with gaps its weight in each period.
    """

    n_units: int
    dates: FloatArray
    rows: tuple[NDArray[np.int64], ...]
    mean: FloatArray
    weight: FloatArray
    values: tuple[FloatArray, ...]

    def influence(self, of_deviation: FloatArray, of_weight: FloatArray) -> Influence:
        """Return the influence with given coefficients of deviations and of weights, shapes (G, T, K)."""
        n_periods = self.mean.shape[1]
        if self.values[0].shape[1] == n_periods + 1:
            of_weight = of_weight.sum(axis=1, keepdims=True)
        maps = np.concatenate([of_deviation, of_weight], axis=1)
        return Influence.by_group(self.n_units, self.rows, self.values, maps)

    def pooled(self, cells: Cells) -> tuple[FloatArray, Influence]:
        """Return the mean over each set of cells, with its influence; cells has shape (G, T, K).

        NaN where nobody is seen.
        """
        weight = self.weight[:, :, None] * cells
        total = weight.sum(axis=(0, 1))
        with np.errstate(invalid="ignore", divide="ignore"):
            mean = np.einsum("gt,gtk->k", self.mean, weight) / total
            per_unit = self.n_units * cells / total
            return mean, self.influence(per_unit, per_unit * (self.mean[:, :, None] - mean))

    def membership(self, cells: Cells) -> Influence:
        """Return each unit's weight in each set of cells, shape (n, K)."""
        return self.influence(np.zeros(cells.shape), cells.astype(float))

    def cells(self, cohort: FloatArray, position: NDArray[np.int64]) -> Cells:
        """Return the single cells of cohorts and numbers of periods, shape (G, T, K)."""
        found = np.zeros((*self.mean.shape, len(cohort)), dtype=bool)
        found[np.searchsorted(self.dates, cohort), position, np.arange(len(cohort))] = True
        return found


def cohort_means(sample: Sample) -> CohortMeans:
    """Return the means of a sample's outcome by group and period."""
    dates, rows = sample.groups
    n_periods = len(sample.periods)
    mean, weight = np.zeros((2, len(dates), n_periods))
    gaps = bool(np.isnan(sample.y).any())
    values = []
    for g, members in enumerate(rows):
        y, w = sample.y[members], sample.weights[members]
        block = np.empty((len(members), n_periods + (n_periods if gaps else 1)))
        if gaps:
            seen = ~np.isnan(y)
            y[~seen] = 0.0
            block[:, n_periods:] = seen * w[:, None]
            weight[g] = block[:, n_periods:].sum(axis=0)
        else:
            block[:, n_periods] = w
            weight[g] = w.sum()
        mean[g] = np.divide(w @ y, weight[g], out=np.zeros(n_periods), where=weight[g] > 0)
        np.subtract(y, mean[g], out=block[:, :n_periods])
        if gaps:
            block[:, :n_periods] *= block[:, n_periods:]
        elif not np.all(w == 1):
            block[:, :n_periods] *= w[:, None]
        values.append(block)
    return CohortMeans(sample.n_units, dates, rows, mean, weight, tuple(values))


def treated_cells(sample: Sample) -> Cells:
    """Return which groups are treated, less the anticipation, in which periods, shape (G, T)."""
    return sample.periods >= sample.groups[0][:, None] - sample.question.anticipation


def mean_over(sample: Sample, cells: Cells) -> tuple[FloatArray, Influence]:
    """Return the weighted mean outcome over a set of cells of shape (n, T), as one term with its influence."""
    weight = sample.weights[:, None] * (cells & sample.observed)
    y, total = np.nan_to_num(sample.y), weight.sum()
    mean = np.array([np.sum(weight * y) / total])
    return mean, Influence.of(sample.n_units * (weight * (y - mean)).sum(axis=1, keepdims=True) / total)


def cohort_membership(sample: Sample, cohort: FloatArray) -> Influence:
    """Return each unit's weight in the cohort of each term, shape (n, K): its weight in the sample, or zero."""
    assert sample.first_treated is not None
    distinct, of_term = np.unique(cohort, return_inverse=True)
    rows = [np.flatnonzero(sample.first_treated == g) for g in distinct]
    values = [sample.weights[members][:, None] for members in rows]
    coefficients = (np.arange(len(distinct))[:, None] == of_term)[:, None, :].astype(float)
    return Influence.by_group(sample.n_units, rows, values, coefficients)
