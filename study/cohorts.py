"""Means by cohort and period, with their influence by unit."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from study.errors import QuestionError
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

    def sizes(self, cohort: FloatArray, position: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return how many units are seen in the cells of cohorts and numbers of periods, shape (K,)."""
        n_periods = self.mean.shape[1]
        seen = np.stack(
            [np.broadcast_to((block[:, n_periods:] > 0).sum(axis=0), n_periods) for block in self.values]
        )
        return seen[np.searchsorted(self.dates, cohort), position]

    def untreated(self, sample: Sample) -> Cells:
        """Return which groups are not treated in the window and may be compared with, shape (G,)."""
        later = self.dates - sample.question.anticipation > sample.periods[-1]
        never = np.isnan(self.dates)
        return never if sample.question.comparison == "never_treated" else never | later

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


def refuse_single_units(sample: Sample, design: str) -> None:
    """Refuse a cohort of one unit unless the question says what to do with it."""
    if sample.question.min_cohort_size is not None:
        return
    for cohort in sample.cohorts:
        if np.sum(sample.first_treated == cohort) == 1:
            raise QuestionError(
                f"{design}: cohort {cohort:g} has one unit; its variance cannot be estimated. Set "
                "min_cohort_size=1 to keep it with randomization inference, min_cohort_size=2 to leave it "
                "out, or pool adoption years with cohort_width."
            )


def cohorts_with_base(sample: Sample) -> tuple[FloatArray, list[str]]:
    """Return the cohorts in the window that have a period before treatment, and a note on each other one."""
    has_base = sample.cohorts - 1 - sample.question.anticipation >= sample.periods[0]
    notes = [
        f"cohort {g:g} left out: its base period lies before {sample.periods[0]}"
        for g in sample.cohorts[~has_base]
    ]
    return sample.cohorts[has_base], notes


def left_out(cohort: FloatArray, period: FloatArray, reasons: Mapping[int, str]) -> list[str]:
    """Return one note for each cohort and reason, with the periods concerned; reasons are by number of cell."""
    kinds = dict.fromkeys((cohort[k], why) for k, why in sorted(reasons.items()))
    return [
        f"cohort {g:g} in "
        f"{', '.join(f'{period[k]:g}' for k, w in sorted(reasons.items()) if w == why and cohort[k] == g)} "
        f"left out: {why}"
        for g, why in kinds
    ]


def rests_on_one(cohort: FloatArray, period: FloatArray, single: Cells) -> list[str]:
    """Return a note on the cells, one for each cohort, that rest on one treated unit."""
    return [
        f"cohort {g:g} in {', '.join(f'{t:g}' for t in period[single & (cohort == g)])} rests on one treated "
        "unit: the standard errors of these cells cover the comparison units only, while averages over cohorts "
        "carry variation between treated units through the estimated shares"
        for g in np.unique(cohort[single])
    ]
