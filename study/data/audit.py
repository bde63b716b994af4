"""What a read sample says of a rule: precision, recall and agreement, with Wilson intervals."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Self

import pandas as pd
from statsmodels.stats.proportion import proportion_confint


@dataclass(frozen=True)
class Share:
    """A share of a sample with its 95% Wilson interval."""

    successes: int
    total: int

    @classmethod
    def of(cls, marks: pd.Series[bool]) -> Self:
        """Return the share of a sample that is marked."""
        return cls(int(marks.sum()), len(marks))

    @property
    def value(self) -> float:
        """The share; NaN of an empty sample."""
        return self.successes / self.total if self.total else float("nan")

    @property
    def interval(self) -> tuple[float, float]:
        """Wilson's interval (Wilson 1927) at 95%."""
        return _wilson(self.successes, self.total)

    def __str__(self) -> str:
        """Return the share, its interval and the counts, ready to print."""
        low, high = self.interval
        return f"{self.value:.3f} (95% {low:.3f} to {high:.3f}; {self.successes} of {self.total})"


@dataclass(frozen=True)
class Estimate:
    """A share that is no plain count of a sample, with its 95% interval."""

    value: float
    low: float
    high: float

    @property
    def interval(self) -> tuple[float, float]:
        """The 95% interval."""
        return self.low, self.high

    def __str__(self) -> str:
        """Return the share and its interval, ready to print."""
        return f"{self.value:.3f} (95% {self.low:.3f} to {self.high:.3f})"


def weighted(marks: pd.Series[bool], weights: pd.Series) -> Estimate:
    """Return the weighted share with Wilson's interval at the effective size (sum w)^2 / sum w^2 (Kish 1965)."""
    if not len(marks):
        return Estimate(float("nan"), 0.0, 1.0)
    total = float(weights.sum())
    value = float(weights[marks].sum()) / total
    effective = total**2 / float((weights**2).sum())
    return Estimate(value, *_wilson(value * effective, effective))


def bounded(of: Callable[[float, float], float], up: Share | Estimate, down: Share | Estimate) -> Estimate:
    """Return what rises with one share and falls with another; its interval takes the worse ends of both together."""
    (low, high), (fewest, most) = up.interval, down.interval
    return Estimate(of(up.value, down.value), of(low, most), of(high, fewest))


def _wilson(successes: float, total: float) -> tuple[float, float]:
    if not total:
        return 0.0, 1.0
    low, high = proportion_confint(successes, total, method="wilson")
    return float(low), float(high)
