"""Places of adoption in a simulated panel: each the date, path or dose of a treated unit, to be taken anew."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from study.core import BoolArray, FloatArray, IntArray, sums_by
from study.panel import Sample


class Places(NamedTuple):
    """The k places of a sample's treated units in order of their dates.

    Arrays of k + 1 rows end with what a unit without a place has, so that -1 is the number of that.

    Attributes
    ----------
    period : ndarray of int, shape (k,)
        When treatment begins, counted from 0; T or later after the window.
    assigned : ndarray of int, shape (n,)
        Who takes a place: the number of each unit, or of its cluster where treatment is assigned by cluster.
    recorded : ndarray, shape (k + 1,), or None
        First treated period, NaN = never.
    path : ndarray, shape (k + 1, T), or None
    dose : ndarray, shape (k + 1,), or None
    since : ndarray, shape (k + 1, T)
        Periods since treatment first began, -inf without treatment.
    amount : ndarray, shape (k + 1, T)
        Treatment in each period: 0 or 1, or the dose.
    averaged : ndarray of bool, shape (k + 1, T)
        From when treatment begins, unless it is in the first period: the cells that an average effect is of.
    """

    period: IntArray
    assigned: IntArray
    recorded: FloatArray | None
    path: FloatArray | None
    dose: FloatArray | None
    since: FloatArray
    amount: FloatArray
    averaged: BoolArray

    @property
    def inside(self) -> IntArray:
        """Numbers of the places whose treatment begins in the window."""
        return np.flatnonzero(self.period < self.since.shape[1])

    def relative(self, elasticity: float) -> FloatArray:
        """Return amounts to the power of an elasticity, with mean one where there is treatment, shape (k + 1, T)."""
        treated = self.amount != 0
        power = np.where(
            treated, np.sign(self.amount) * np.abs(np.where(treated, self.amount, 1.0)) ** elasticity, 0
        )
        return np.asarray(power / np.abs(power[treated]).mean())


def places_of(sample: Sample) -> Places:
    """Return the places of a sample."""
    periods = len(sample.periods)
    treatment = np.nan_to_num(sample.treatment)
    if sample.first_treated is not None:
        period = sample.first_treated - sample.periods[0]
    else:
        period = np.where(sample.ever_treated, (treatment != 0).argmax(axis=1), np.nan)
    assigned = _assigned(sample)
    takers = np.unique(assigned, return_index=True)[1]
    takers = takers[~np.isnan(period[takers])]
    units = takers[np.argsort(period[takers], kind="stable")]
    since = np.full((len(units) + 1, periods), -np.inf)
    since[:-1] = np.arange(periods) - period[units][:, None]
    amount = (since >= 0).astype(float)
    recorded = path = dose = None
    if sample.first_treated is not None:
        recorded = np.append(sample.first_treated[units], np.nan)
    if sample.dose is not None:
        dose = np.append(sample.dose[units], 0.0)
        amount *= dose[:, None]
    if sample.path is not None:
        path = np.vstack([sample.path[units], np.zeros(periods)])
        amount = np.nan_to_num(path)
    period, averaged = period[units].astype(np.int64), (since >= 0) & (since[:, :1] < 0)
    return Places(period, assigned, recorded, path, dose, since, amount, averaged)


def _assigned(sample: Sample) -> IntArray:
    """Return the number of each unit, or of its cluster where the units of each are treated alike, shape (n,)."""
    own = sample.treatment if sample.first_treated is None else sample.first_treated[:, None]
    of_cluster = np.empty((int(sample.cluster.max()) + 1, own.shape[1]))
    of_cluster[sample.cluster] = own
    if len(of_cluster) < len(own) and np.array_equal(of_cluster[sample.cluster], own, equal_nan=True):
        return sample.cluster
    return np.arange(len(own))


def taken(places: Places, log_hazard: FloatArray, rng: np.random.Generator) -> IntArray:
    """Return the number of the place that each unit takes, shape (n,), -1 for none.

    In each period as many of those not yet treated as have it in the sample, drawn without replacement with
    probabilities in proportion to their hazards: those of the shortest exponential waiting times.

    Parameters
    ----------
    places : Places
    log_hazard : ndarray, shape (n, P)
        In each of the P distinct periods of the places; the mean over its units is that of a cluster.
    rng : Generator
    """
    _, first, number = np.unique(places.period, return_index=True, return_counts=True)
    of, n = places.assigned, len(log_hazard)
    takers = int(of.max()) + 1
    if takers < n:
        log_hazard = sums_by(log_hazard, of) / np.bincount(of)[:, None]
    wait = rng.standard_exponential((len(first), takers)) * np.exp(-log_hazard.T)
    place = np.full(takers, -1)
    for row, start, size in zip(wait, first, number, strict=True):
        row[place >= 0] = np.inf
        place[np.argpartition(row, size - 1)[:size]] = start + rng.permutation(size)
    return place[of]
