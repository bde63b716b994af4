"""A fact beside the value that the seed paper published."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from study.data.audit import Share

Unit = Literal["share", "difference", "months"]
LEVEL = 0.95


@dataclass(frozen=True)
class Difference:
    """The first share less the second one, with Newcombe's interval.

    The interval (Newcombe 1998, method 10) joins the two Wilson intervals, and takes the counts as independent draws.
    """

    first: Share
    second: Share

    @property
    def value(self) -> float:
        """The difference; NaN if one of the shares is of nothing."""
        return self.first.value - self.second.value

    @property
    def interval(self) -> tuple[float, float]:
        """Newcombe's interval at 95%; NaN if one of the shares is of nothing."""
        from statsmodels.stats.proportion import confint_proportions_2indep

        first, second = self.first, self.second
        if not first.total or not second.total:
            return math.nan, math.nan
        low, high = confint_proportions_2indep(
            first.successes,
            first.total,
            second.successes,
            second.total,
            method="newcomb",
            compare="diff",
            alpha=1 - LEVEL,
        )
        return float(low), float(high)


@dataclass(frozen=True)
class Fact:
    """A descriptive finding of the seed paper, recomputed.

    Attributes
    ----------
    name : str
        Words with underscores, for the names of numbers.
    claim : str
        What is counted, of which years.
    published : float
        The seed paper's value, in the unit of ``value``; NaN where none is known to us.
    value : float
        A share (0 to 1), a difference of shares, or months.
    count, denominator : int
        Models or papers counted, and of how many. Of a difference, those of its first share; the note has the second.
        Of a doubling time, models of known compute and all of the years.
    low, high : float
        The 95% interval: Wilson's of a share, Newcombe's of a difference, that of the slope for months.
    definition : str
        What is counted, in words.
    vintage : str
        Of the table, or the table.
    note : str
        What differs from the seed paper, or what to know beside the number.
    unit : {"share", "difference", "months"}
    source : str
        Where the published value comes from; empty where there is none.
    beside : str
        Count and denominator under the other reading of the criteria, as "16/24"; empty where there is none.
    """

    name: str
    claim: str
    published: float
    value: float
    count: int
    denominator: int
    low: float
    high: float
    definition: str
    vintage: str
    note: str = ""
    unit: Unit = "share"
    source: str = ""
    beside: str = ""

    @property
    def scale(self) -> float:
        """What the printed number is multiplied by: shares are printed in percent, months as they are."""
        return 1.0 if self.unit == "months" else 100.0

    @property
    def words(self) -> str:
        """The unit as it is printed."""
        return {"share": "%", "difference": " points", "months": " months"}[self.unit]
