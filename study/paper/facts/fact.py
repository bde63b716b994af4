"""A fact beside the value that the seed paper published."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from study.data.audit import Share
from study.paper.facts.published import PUBLISHED
from study.report import Column, Number

Unit = Literal["share", "difference", "months"]
LEVEL = 0.95
UNITS: dict[Unit, Column] = {
    "share": Column("share", "percent"),
    "difference": Column("difference in percentage points", "percent"),
    "months": Column("months", "number", 2),
}
PRINTED: dict[Unit, str] = {"share": "%", "difference": " points", "months": " months"}
NOT_KNOWN = "–"


def columns_of(unit: Unit) -> dict[str, Column]:
    """Return how the numbers of a fact are written, by column."""
    column = UNITS[unit]
    return {
        unit: column,
        "published": column._replace(words="published value"),
        "conf_low": column._replace(words=f"lower end of the 95% interval of the {column.words}"),
        "conf_high": column._replace(words=f"upper end of the 95% interval of the {column.words}"),
        "denominator": Column("denominator", "count"),
    }


def interval_of(share: Share | Difference) -> tuple[float, float]:
    """Return the 95% interval of a share or a difference; NaN if it is of nothing."""
    return share.interval if math.isfinite(share.value) else (math.nan, math.nan)


def values_of(share: Share | Difference) -> dict[str, float]:
    """Return a share or a difference with its interval, and the counts of a share or of the first one, by column."""
    unit, counted = ("share", share) if isinstance(share, Share) else ("difference", share.first)
    low, high = interval_of(share)
    return {
        unit: share.value,
        "conf_low": low,
        "conf_high": high,
        "count": counted.successes,
        "denominator": counted.total,
    }


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
        Words with underscores, for addresses.
    claim : str
        What is counted, of which years.
    values : dict of str to float
        By column: a share (0 to 1), a difference of shares or months, by the name of its unit; conf_low, conf_high, the
        95% interval (Wilson's of a share, Newcombe's of a difference, that of the slope for months); count and
        denominator, models or papers counted, and of how many. Counts of a difference are those of its first share, and
        the note has the second; of a doubling time, models of known compute and all of the years.
    definition : str
        What is counted, in words.
    vintage : str
        Of the table, or the table.
    note : str
        What differs from the seed paper, or what to know beside the number.
    beside : str
        Count and denominator under the other reading of the criteria, as "16/24"; empty where there is none.
    """

    name: str
    claim: str
    values: dict[str, float]
    definition: str
    vintage: str
    note: str = ""
    beside: str = ""

    @property
    def unit(self) -> Unit:
        """What the value is."""
        return next(unit for unit in UNITS if unit in self.values)

    @property
    def value(self) -> float:
        """The recomputed value."""
        return self.values[self.unit]

    @property
    def published(self) -> float:
        """The seed paper's value, in the unit of ``value``; NaN where none is known to us."""
        return PUBLISHED[self.name].value if self.name in PUBLISHED else math.nan

    @property
    def source(self) -> str:
        """Where the published value comes from; empty where there is none."""
        return PUBLISHED[self.name].source if self.name in PUBLISHED else ""

    @property
    def counts(self) -> tuple[int, int]:
        """Count and denominator."""
        return int(self.values["count"]), int(self.values["denominator"])

    @property
    def interval(self) -> tuple[float, float]:
        """The 95% interval."""
        return self.values["conf_low"], self.values["conf_high"]

    @property
    def sentence(self) -> str:
        """The fact with its interval, count and denominator, and the published value beside it."""
        low, high = (self._text(end) for end in self.interval)
        unit, (count, denominator) = PRINTED[self.unit], self.counts
        value = "cannot be given" if math.isnan(self.value) else f"{self._text(self.value)}{unit}"
        ends = "" if math.isnan(self.interval[0]) else f"95% {low} to {high}; "
        published = f"{self._text(self.published)}{unit}" if self.source else "none is known to us"
        return f"{self.claim}: {value} ({ends}{count} of {denominator}). Published: {published}."

    @property
    def factor(self) -> float:
        """What a printed number is multiplied by: shares are printed in percent, months as they are."""
        return 1.0 if self.unit == "months" else 100.0

    def _text(self, value: float) -> str:
        digits = 2 if self.unit == "months" else 1
        return "unbounded" if math.isinf(value) else Number(self.factor * value, digits).text
