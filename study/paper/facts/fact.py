"""Facts beside the values that the seed paper published, and its findings that public data do not allow."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, NamedTuple

from study.data.audit import Share
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

SEED_PAPER = "Besiroglu et al. (2024, arXiv 2401.02452)"
# The full text was not at hand. The values were found in a public summary of the paper (study.space), and the rules
# about the models in its supplementary material (arXiv, HTML of version 1). Windows of years are our reading of "early
# 2010s" and "early 2020s".
_SUMMARY = f"{SEED_PAPER}, key findings as a public summary of the paper gives them"
_SUPPLEMENT = f"{SEED_PAPER}, supplementary material"


class NotRecomputed(NamedTuple):
    """A published finding that cannot be recomputed from public data: what was found, why not, where it was read."""

    claim: str
    published: str
    reason: str
    source: str


# As shares and in months.
PUBLISHED = {
    "academic_only_early": 0.65,
    "academic_only_late": 0.10,
    "industry_only": 0.81,
    "doubling_time": 6.0,
}
NOT_RECOMPUTED = (
    NotRecomputed(
        "Compute of NeurIPS 2021 papers, academic against industry",
        "hand annotation",
        "The authors drew 519 papers at random and found the compute of 109 of them by reading. The supplement says "
        "that the readings can be downloaded, but their address was not at hand; a reading of ours would be another "
        "measurement.",
        _SUPPLEMENT,
    ),
    NotRecomputed(
        "Power of the hardware that groups with and without industry report",
        "5 times",
        "It rests, as we understand it, on what papers say of their hardware; the lists of proceedings that are public "
        "have titles and affiliations alone.",
        _SUMMARY,
    ),
    NotRecomputed(
        "Engineering topics in language research, academic against industry",
        "not known to us",
        "Its method is not known to us in full, and the venues of language research are public for single years only.",
        _SUPPLEMENT,
    ),
    NotRecomputed(
        "Use of open pre-trained models of companies in academic papers",
        "not known to us",
        "What a paper builds on is in its text and not in its title. Rates at which weights are released are given "
        "instead.",
        f"{SEED_PAPER}, abstract",
    ),
)


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
        counts = (first.successes, first.total, second.successes, second.total)
        low, high = confint_proportions_2indep(*counts, method="newcomb", compare="diff", alpha=1 - LEVEL)
        return float(low), float(high)


def values_of(measure: Share | Difference) -> dict[str, float]:
    """Return a share or a difference with its 95% interval, and the counts of a share or of the first one, by column.

    The ends of the interval are NaN if it is of nothing.
    """
    unit, counted = ("share", measure) if isinstance(measure, Share) else ("difference", measure.first)
    low, high = measure.interval if math.isfinite(measure.value) else (math.nan, math.nan)
    return {
        unit: measure.value,
        "conf_low": low,
        "conf_high": high,
        "count": counted.successes,
        "denominator": counted.total,
    }


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
        return PUBLISHED.get(self.name, math.nan)

    @property
    def source(self) -> str:
        """Where the published value comes from; empty where there is none."""
        return _SUMMARY if self.name in PUBLISHED else ""

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
