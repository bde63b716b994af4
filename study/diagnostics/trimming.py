"""Bounds on a headline when some never-treated units do not belong there, by trimming the most telling ones.

If a share pi of the comparison units is in truth treated, the mean change of the others lies between the means
that are left when the share pi with the largest, or the smallest, changes is trimmed (Horowitz and Manski 1995,
Proposition 4). Trimming quantiles are estimated, which adds to the variance (Lee 2009, Proposition 3). Which units
are the most telling is read from the influence function, as Broderick, Giordano and Meager (2020) do, and the
headline is refitted without them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import special

from study.core import FloatArray, QuestionError, quantile
from study.diagnostics.refits import Progress, headline
from study.estimates import Estimate
from study.estimates.covariance import covariance
from study.panel import Sample

SCANNED = (0.01, 0.02, 0.05, *(k / 10 for k in range(1, 10)), 0.95, 1.0)


class End(NamedTuple):
    """One end of the bounds: the headline without the trimmed units, and its standard error."""

    estimate: float
    std_error: float
    degrees_of_freedom: float


class Bound(NamedTuple):
    """Ends of the effect at one share of hidden treatment, and an interval that covers the effect between them.

    ``units_trimmed`` counts the units that are left out for an end; it is 0 where the effect is corrected instead.
    """

    share: float
    units_trimmed: int
    low: float
    high: float
    conf_low: float
    conf_high: float


class Breakdown(NamedTuple):
    """The least share of hidden treatment at which a conclusion is lost, with the number of units.

    ``share`` is None where no share loses it; ``refused`` says why the design has no estimate from that share on,
    where that is what ends the search.
    """

    share: float | None
    units: int
    refused: str = ""


@dataclass(frozen=True, eq=False)
class Trimming:
    """Headlines without the never-treated units that raise, or lower, the headline most.

    Attributes
    ----------
    sample : Sample
    design : str
    options : mapping
    suspects : ndarray of int
        Numbers of the never-treated units, those whose absence raises the headline most first.
    progress : callable, optional
        Called after each refit.
    """

    sample: Sample
    design: str
    options: Mapping[str, Any]
    suspects: NDArray[np.int64]
    progress: Progress = None
    _known: dict[tuple[bool, int], End | str] = field(default_factory=dict)

    @classmethod
    def of(cls, sample: Sample, fit: Estimate, options: Mapping[str, Any], progress: Progress) -> Trimming:
        """Order the never-treated units by their influence on the headline, per unit of weight."""
        assert sample.first_treated is not None
        never = np.flatnonzero(np.isnan(sample.first_treated))
        influence = fit.influence_map.dense()[never, 0] / sample.weights[never]
        return cls(sample, fit.design, options, never[np.argsort(influence, kind="stable")], progress)

    def trimmed(self, share: float, lower: bool) -> int:
        """Return how many units are trimmed so that their weight is at least a share of all suspects'."""
        weight = self.sample.weights[self.suspects[::-1] if lower else self.suspects]
        reached = np.cumsum(weight) >= share * weight.sum() * (1 - 1e-12)
        return 0 if share == 0 else int(np.argmax(reached)) + 1

    def share(self, trimmed: int, lower: bool) -> float:
        """Return the share of all suspects' weight that a number of trimmed units has."""
        weight = self.sample.weights[self.suspects[::-1] if lower else self.suspects]
        return float(weight[:trimmed].sum() / weight.sum())

    def end(self, trimmed: int, lower: bool) -> End | str:
        """Return the lower or upper end with a number of trimmed units, or why it has none."""
        if (lower, trimmed) not in self._known:
            self._known[lower, trimmed] = self._refit(trimmed, lower)
            if self.progress is not None:
                self.progress()
        return self._known[lower, trimmed]

    def _refit(self, trimmed: int, lower: bool) -> End | str:
        ordered = self.suspects[::-1] if lower else self.suspects
        keep = np.ones(self.sample.n_units, dtype=bool)
        keep[ordered[:trimmed]] = False
        try:
            sample = self.sample.only(keep, "trimmed") if trimmed else self.sample
            fit = headline(sample, self.design, self.options)
        except QuestionError as error:
            return str(error)
        influence = np.zeros(self.sample.n_units)
        influence[keep] = fit.errors.dense()[:, 0] * (self.sample.n_units / len(sample.unit_ids))
        if trimmed:
            share, edge = self.share(trimmed, lower), ordered[min(trimmed, len(ordered) - 1)]
            influence += threshold_influence(influence, self.sample.weights, ordered, trimmed, edge, share)
        variance = covariance(influence[:, None], self.sample.cluster)
        return End(float(fit.effect[0]), math.sqrt(variance[0, 0]), float(fit.degrees_of_freedom[0]))


def threshold_influence(
    influence: FloatArray,
    weights: FloatArray,
    ordered: NDArray[np.int64],
    trimmed: int,
    edge: int,
    share: float,
) -> FloatArray:
    """Return what the estimation of the trimming quantile adds to the influence by unit, shape (n,).

    With c the change of a unit, q the quantile at which a share pi is trimmed and mu the mean that is left, the
    influence on mu is (c - q)/(1 - pi) + q - mu for units that are kept and q - mu for those trimmed, of which
    the refit knows (c - mu)/(1 - pi) for the kept.

    Parameters
    ----------
    influence : ndarray, shape (n,)
        Of the refit, on the scale of all n units.
    weights : ndarray, shape (n,)
    ordered : ndarray of int
        The suspects, the ``trimmed`` first of which are left out.
    trimmed : int
    edge : int
        The unit at the quantile: the first that is kept.
    share : float
        Of the suspects' weight that is trimmed.
    """
    at_edge = influence[edge] / weights[edge]
    added = np.zeros(len(influence))
    added[ordered[:trimmed]] = (1 - share) * at_edge
    added[ordered[trimmed:]] = -share * at_edge
    return added * weights


def imbens_manski(width: float, error: float, level: float, degrees: float) -> float:
    """Return the critical value c of Imbens and Manski (2004), equation (7).

    It solves F(c + width / error) - F(-c) = level, so that [low - c s_low, high + c s_high] covers the effect,
    which lies anywhere between the ends, with the given probability.
    """
    low, high = quantile(level, degrees), quantile((1 + level) / 2, degrees)
    for _ in range(60):
        middle = (low + high) / 2
        inside = _below(middle + width / error, degrees) - _below(-middle, degrees)
        low, high = (middle, high) if inside < level else (low, middle)
    return high


def _below(value: float, degrees: float) -> float:
    return float(special.ndtr(value) if math.isinf(degrees) else special.stdtr(degrees, value))


def first_true(holds: Callable[[int], bool], points: Sequence[int]) -> int | None:
    """Return the least number at which a condition holds: by steps over ascending points, then by bisection."""
    low = 0
    for point in points:
        if holds(point):
            high = point
            while high - low > 1:
                middle = (low + high) // 2
                low, high = (low, middle) if holds(middle) else (middle, high)
            return high
        low = point
    return None


def worst_cases(
    trimming: Trimming, grid: Sequence[float], level: float
) -> tuple[tuple[Bound, ...], list[tuple[str, str]]]:
    """Return the bounds at the shares of a grid; a larger share, which allows every smaller one, never narrows."""
    bounds, refused = [], []
    lowest = highest = trimming.end(0, True)
    for share in grid:
        down, up = trimming.trimmed(share, True), trimming.trimmed(share, False)
        low, high = trimming.end(down, True), trimming.end(up, False)
        if isinstance(low, str) or isinstance(high, str):
            refused.append(
                (f"the worst case with {100 * share:g}% hidden", str(low if isinstance(low, str) else high))
            )
            continue
        assert isinstance(lowest, End)
        assert isinstance(highest, End)
        lowest, highest = min(lowest, low), max(highest, high)
        ends = confidence(lowest, highest, level)
        bounds.append(Bound(share, max(down, up), lowest.estimate, highest.estimate, *ends))
    return tuple(bounds), refused


def confidence(low: End, high: End, level: float) -> tuple[float, float]:
    """Return the interval that covers an effect between two estimated ends."""
    error = max(low.std_error, high.std_error)
    c = imbens_manski(high.estimate - low.estimate, error, level, low.degrees_of_freedom)
    return low.estimate - c * low.std_error, high.estimate + c * high.std_error


def side(end: End | str, lower: bool) -> str | bool:
    """Say whether an end is still on the estimate's side of zero, or why there is none."""
    return end if isinstance(end, str) else (end.estimate > 0) == lower and end.estimate != 0


def clear(trimming: Trimming, trimmed: int, lower: bool, level: float) -> str | bool:
    """Say whether the interval of the worst case still excludes zero on the estimate's side."""
    low, high = trimming.end(trimmed, True), trimming.end(trimmed, False)
    if isinstance(low, str) or isinstance(high, str):
        return low if isinstance(low, str) else str(high)
    ends = confidence(low, high, level)
    return ends[0] > 0 if lower else ends[1] < 0


def breakdown(trimming: Trimming, lower: bool, keeps: Callable[[int], str | bool]) -> Breakdown:
    """Find the least number of hidden treatments at which a conclusion is lost."""
    most = len(trimming.suspects) - 1
    points = sorted({min(trimming.trimmed(share, lower), most) for share in SCANNED} - {0})
    least = first_true(lambda m: keeps(m) is not True, points)
    if least is None:
        return Breakdown(None, 0)
    found = keeps(least)
    return Breakdown(trimming.share(least, lower), least, found if isinstance(found, str) else "")
