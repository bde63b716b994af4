"""The moments of a panel by which a calibrated process is judged, the same of the real panel as of a simulated one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from study.core import BoolArray, FloatArray, IntArray, counted
from study.panel import Sample
from study.simulate.process import recent_growth
from study.simulate.untreated_cells import Cells

# Of those treated, how many hold the share of the outcome that is a moment.
LARGEST = 10


class Moment(NamedTuple):
    """A value, NaN where the panel has none, and whether the calibration aims at it."""

    value: float
    targeted: bool


@dataclass(frozen=True, eq=False)
class Adoption:
    """When units are first treated, less the anticipation.

    Attributes
    ----------
    start : ndarray of int, shape (n,)
        Period counted from 0; the number of periods or more for those treated later, -1 for never.
    untreated : ndarray of bool, shape (n, T)
        Cells before it.
    """

    start: IntArray
    untreated: BoolArray

    @classmethod
    def of(cls, sample: Sample) -> Adoption:
        """Return who is treated when in a sample."""
        periods, shape = sample.periods, sample.y.shape
        if sample.first_treated is not None:
            since = sample.first_treated - periods[0] - sample.question.anticipation
            start = np.where(np.isnan(since), -1, np.nan_to_num(since))
            ends = np.where(start < 0, shape[1], start)
        else:
            assert sample.path is not None
            on = np.nan_to_num(sample.path, nan=1.0) != 0
            known = np.nan_to_num(sample.path) != 0
            # A cell is not known to be untreated from the first gap of the path on.
            ends = np.where(on.any(axis=1), on.argmax(axis=1), shape[1])
            start = np.where(known.any(axis=1), known.argmax(axis=1), -1)
        return cls(start.astype(np.int64), np.arange(shape[1]) < ends[:, None])

    @property
    def in_window(self) -> IntArray:
        """Units that are treated in a period of the panel, after its first."""
        return np.flatnonzero((self.start > 0) & (self.start < self.untreated.shape[1]))


def moments(
    cells: Cells, adoption: Adoption, names: Sequence[str], spread: float, logs: bool
) -> dict[str, Moment]:
    """Return the moments of a panel by name.

    Parameters
    ----------
    cells : Cells
    adoption : Adoption
    names : sequence of str, length T
        What the periods are called.
    spread : float
        In which growth of a continuous outcome is measured.
    logs : bool
        Whether adopters are to be as large in logs, as the question is, or in levels.
    """
    found = {f"mean, {name}": Moment(mean, True) for name, mean in zip(names, cells.means, strict=True)}
    found["standard deviation"] = Moment(cells.spread, False)
    found |= _products(cells)
    if cells.family == "count":
        found["share of zeros"] = Moment(cells.zeros, True)
    found |= _within(cells) | _changes(cells) | _adopters(cells, adoption, spread, logs)
    for start, name in enumerate(names):
        if (number := int((adoption.start == start).sum())) > 0:
            found[f"treated from {name} on"] = Moment(float(number), False)
    return found


def _products(cells: Cells) -> dict[str, Moment]:
    """Return what the dials are fitted to: averages over pairs of periods of products over the product of means.

    Of a continuous outcome they are covariances, over the squared standard deviation.
    """
    name = "products over means" if cells.family == "count" else "covariance over variance"
    ratio = cells.ratios
    far, periods = cells.distance >= cells.distance.max() * 2 / 3, len(ratio)
    late = np.add.outer(np.arange(periods), np.arange(periods)) >= periods
    near = cells.distance <= 1
    parts = {
        "same period": cells.distance == 0,
        "adjacent": cells.distance == 1,
        "distant": far,
        "first half": near & ~late,
        "second half": near & late,
    }
    return {f"{name}, {part}": Moment(_mean(ratio[which]), True) for part, which in parts.items()}


def _mean(values: FloatArray) -> float:
    seen = values[np.isfinite(values)]
    return float(seen.mean()) if len(seen) else np.nan


def _within(cells: Cells) -> dict[str, Moment]:
    """Return how values depart from what a unit's total and the common path make of them, and for how long."""
    y = cells.values
    if cells.family == "count":
        path = np.nan_to_num(cells.means)
        total = cells.seen @ path
        level = y.sum(axis=1) / np.where(total > 0, total, 1.0)
        expected = cells.seen * path * level[:, None]
        residual = y - expected
        scaled = np.divide(residual, np.sqrt(expected), out=np.zeros_like(y), where=expected > 0)
        whole = (cells.weights @ expected).sum()
        dispersion = (cells.weights @ residual**2).sum() / whole if whole > 0 else np.nan
        found = {"variance within units over mean": Moment(float(dispersion), False)}
    else:
        level = cells.away.sum(axis=1) / np.maximum(cells.seen.sum(axis=1), 1)
        scaled = cells.seen * (cells.away - level[:, None])
        variance = (cells.weights @ scaled**2).sum() / cells.shares.sum()
        found = {"standard deviation within units": Moment(float(np.sqrt(variance)), False)}
    for lag in dict.fromkeys((1, 2, y.shape[1] // 2)):
        one, other = scaled[:, lag:], scaled[:, :-lag]
        both = cells.seen[:, lag:] * cells.seen[:, :-lag]
        size = np.sqrt((cells.weights @ (both * one**2)).sum() * (cells.weights @ (both * other**2)).sum())
        value = (cells.weights @ (one * other)).sum() / size if size > 0 else np.nan
        found[f"autocorrelation within, lag {lag}"] = Moment(float(value), False)
    return found


def _changes(cells: Cells) -> dict[str, Moment]:
    """Return variances of changes over one period, over half of them and over all; of counts on the log scale."""
    count = cells.family == "count"
    y, periods, found = np.log1p(cells.values) if count else cells.values, cells.y.shape[1], {}
    for lag in dict.fromkeys((1, periods // 2, periods - 1)):
        both = cells.shares[:, lag:] * cells.seen[:, :-lag]
        change, weight = y[:, lag:] - y[:, :-lag], both.sum(axis=0)
        mean = (both * change).sum(axis=0) / np.maximum(weight, 1e-300)
        variance = (both * (change - mean) ** 2).sum() / weight.sum() if weight.sum() > 0 else np.nan
        what = "log change" if count else "change"
        found[f"variance of {what}, {counted(lag, 'period')}"] = Moment(float(variance), False)
    return found


def _adopters(cells: Cells, adoption: Adoption, spread: float, logs: bool) -> dict[str, Moment]:
    """Return how large adopters are and how they grow before treatment, against all who are untreated then."""
    units = adoption.in_window
    before = adoption.start[units] - 1
    seen = cells.untreated[units, before]
    units, before = units[seen], before[seen]
    w, found = cells.weights[units], {}
    own, of_all = cells.values[units, before], cells.means[before]
    if cells.family == "count":
        ratio = float(w @ own / (w @ of_all)) if (w @ of_all) > 0 else np.nan
        found["adopters' mean over that of all"] = Moment(ratio, not logs)
        on_log = replace(cells, y=np.log1p(cells.y))
        away = on_log.values[units, before] - on_log.means[before]
        name = "adopters' log(1 + y) less that of all"
        found[name] = Moment(_average(away, w), logs)
        if own.sum() > 0 and len(own) > LARGEST:
            share = float(np.sort(own)[-LARGEST:].sum() / own.sum())
            found[f"share of the {LARGEST} largest adopters"] = Moment(share, False)
    else:
        name = "adopters' mean less that of all, in sd"
        found[name] = Moment(_average(own - of_all, w) / spread, True)
    found["adopters' growth less that of all"] = Moment(_adopters_growth(cells, adoption, spread), True)
    return found


def _average(values: FloatArray, weights: FloatArray) -> float:
    return float(np.average(values, weights=weights)) if len(values) else np.nan


def _adopters_growth(cells: Cells, adoption: Adoption, spread: float) -> float:
    """Return the recent growth of adopters before treatment less that of all who are untreated then, NaN for none."""
    y = np.where(cells.untreated, cells.y, np.nan)
    total = weight = 0.0
    for start in np.unique(adoption.start[adoption.in_window]):
        if start < 2:
            continue
        growth = recent_growth(y, int(start), cells.family, spread)
        known = ~np.isnan(growth)
        adopts = known & (adoption.start == start)
        if adopts.any():
            mean = np.average(growth[known], weights=cells.weights[known])
            total += float(cells.weights[adopts] @ (growth[adopts] - mean))
            weight += float(cells.weights[adopts].sum())
    return total / weight if weight else np.nan
