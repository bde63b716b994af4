"""Every descriptive finding of the seed paper that public data allow, recomputed beside what it published."""

from __future__ import annotations

import math
from calendar import month_name
from dataclasses import dataclass

import pandas as pd

from study.data.audit import Share
from study.panel.shipped import shipped
from study.paper.facts import models as epoch
from study.paper.facts.fields import FILE, Difference, by_period
from study.paper.facts.models import EARLY, GROWTH, LATE, RELEASED, SECTORS, YEAR, Definition, Years
from study.report import Column, Number

UNITS = {
    "share": Column("share", "percent"),
    "difference": Column("difference in percentage points", "percent"),
    "months": Column("months", "number", 2),
}
# What a sentence multiplies values by, their decimals, and what stands behind them.
PRINTED = {"share": (100, 1, "%"), "difference": (100, 1, " points"), "months": (1, 2, " months")}
NOT_KNOWN = "–"

SEED_PAPER = "Besiroglu et al. (2024, arXiv 2401.02452)"
# The full text was not at hand. The values were found in a public summary of the paper (study.space), and the rules
# about the models in its supplementary material (arXiv, HTML of version 1). Windows of years are our reading of "early
# 2010s" and "early 2020s".
_SUMMARY = f"{SEED_PAPER}, key findings as a public summary of the paper gives them"
_SUPPLEMENT = f"{SEED_PAPER}, supplementary material"


# As shares and in months.
PUBLISHED = {
    "academic_only_early": 0.65,
    "academic_only_late": 0.1,
    "industry_only": 0.81,
    "doubling_time": 6.0,
}
# Published, and not to be recomputed from public data: what was found, its value, why not, where it was read.
NOT_RECOMPUTED = (
    (
        "Compute of NeurIPS 2021 papers, academic against industry",
        "hand annotation",
        "The authors drew 519 papers at random and found the compute of 109 of them by reading. The supplement says "
        "that the readings can be downloaded, but their address was not at hand; a reading of ours would be another "
        "measurement.",
        _SUPPLEMENT,
    ),
    (
        "Power of the hardware that groups with and without industry report",
        "5 times",
        "It rests, as we understand it, on what papers say of their hardware; the lists of proceedings that are public "
        "have titles and affiliations alone.",
        _SUMMARY,
    ),
    (
        "Engineering topics in language research, academic against industry",
        "not known to us",
        "Its method is not known to us in full, and the venues of language research are public for single years only.",
        _SUPPLEMENT,
    ),
    (
        "Use of open pre-trained models of companies in academic papers",
        "not known to us",
        "What a paper builds on is in its text and not in its title. Rates at which weights are released are given "
        "instead.",
        f"{SEED_PAPER}, abstract",
    ),
)

PERIODS = (Years(2010, 2014), Years(2015, 2019), Years(2020, 2024))
DEFAULT_VINTAGE, DEFAULT_THRESHOLD = "2023-12", "seed"
PAPERS = "paperlists, versions in data/sources.toml"
AFFILIATIONS = {
    "cvpr": "From 2020 affiliations are entered by authors, which shows more companies.",
    "nips": "Affiliations of 2021 are from authors' profiles and may be later ones.",
    "icml": "Affiliations of 2023-2024 are from authors' profiles and may be later ones.",
}
# Facts about large-scale models: their names, the sector that makes them, and of which years.
OF_MODELS = (
    ("academic_only_early", "academia", EARLY),
    ("academic_only_late", "academia", LATE),
    ("industry_only", "industry", YEAR),
    ("collaboration_early", "collaboration", EARLY),
    ("collaboration_late", "collaboration", LATE),
)


def columns_of(unit: str) -> dict[str, Column]:
    """Return how the numbers of a fact are written, by column."""
    column = UNITS[unit]
    return {
        unit: column,
        "published": column._replace(words="published value"),
        "conf_low": column._replace(words=f"lower end of the 95% interval of the {column.words}"),
        "conf_high": column._replace(words=f"upper end of the 95% interval of the {column.words}"),
        "denominator": Column("denominator", "count"),
        "year": Column("year", digits=0),
    }


def values_of(measure: Share | Difference) -> dict[str, float]:
    """Return a share or a difference with its 95% interval, and the counts of a share or of the first one, by column.

    The ends of the interval are NaN if it is of nothing.
    """
    unit, share = ("share", measure) if isinstance(measure, Share) else ("difference", measure.first)
    ends = measure.interval if math.isfinite(measure.value) else (math.nan, math.nan)
    counts = {"count": share.successes, "denominator": share.total}
    return {unit: measure.value} | dict(zip(("conf_low", "conf_high"), ends, strict=True)) | counts


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
    def unit(self) -> str:
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
        (*_, unit), (count, denominator) = PRINTED[self.unit], self.counts
        value = "cannot be given" if math.isnan(self.value) else f"{self._text(self.value)}{unit}"
        ends = "" if math.isnan(self.interval[0]) else f" (95% {low} to {high})"
        published = f"{self._text(self.published)}{unit}" if self.source else "none is known to us"
        return f"{self.claim}: {value}{ends}. Counted: {count} of {denominator}. Published: {published}."

    def _text(self, value: float) -> str:
        factor, digits, _ = PRINTED[self.unit]
        return "unbounded" if math.isinf(value) else Number(factor * value, digits).text


@dataclass(frozen=True, eq=False)
class Data:
    """The two tables that facts are computed from: models, and teams by venue and topic."""

    models: pd.DataFrame
    fields: pd.DataFrame


def load() -> Data:
    """Read both tables that ship."""
    return Data(epoch.load_models(), pd.read_csv(shipped(*FILE)))


def month(vintage: str) -> str:
    """Return a vintage as it is printed.

    >>> month("2023-12")
    'December 2023'
    """
    return f"{month_name[int(vintage[5:])]} {vintage[:4]}"


def recomputed(
    data: Data, vintage: str = DEFAULT_VINTAGE, chosen: Definition | None = None
) -> tuple[Fact, ...]:
    """Return all facts.

    Parameters
    ----------
    data : Data
    vintage : str
        Of the table of models; release rates are those of the newest one, in which they are known.
    chosen : Definition, optional
        Of large-scale models; :data:`DEFAULT_THRESHOLD` if not given.

    Raises
    ------
    QuestionError
        If there is no such vintage.
    """
    chosen = chosen or epoch.definition(DEFAULT_THRESHOLD)
    facts = of_models(epoch.of_vintage(data.models, vintage), chosen, month(vintage))
    return *facts, *_of_releases(data.models), *_of_fields(data.fields)


def beside(chosen: Definition) -> Definition:
    """Return the reading of the criteria that stands beside the chosen one."""
    return epoch.definition("seed" if chosen.name == "known" else "known")


def of_models(models: pd.DataFrame, chosen: Definition, vintage: str) -> list[Fact]:
    """Return the facts about large-scale models, of the models of one vintage."""
    used, other = epoch.large_scale(models, chosen), epoch.large_scale(models, beside(chosen))
    facts, words = [], f"{_counted(chosen)}; of those by an academic organisation or a company."
    for name, sector, years in OF_MODELS:
        share, share_beside = (epoch.shares(each, years)[sector] for each in (used, other))
        claim = f"{SECTORS[sector]}, share of large-scale models, {years}"
        note = (
            f"{beside(chosen).label}: {share_beside.successes} of {share_beside.total}. Left out: "
            f"{epoch.left_out(used, years)} models of which neither is known."
        )
        facts.append(Fact(name, claim, values_of(share), words, vintage, note, counts_text(share_beside)))
    return [*facts, _peak(models, used, other, words, vintage), _doubling(models, used, chosen, vintage)]


def _peak(models: pd.DataFrame, used: pd.DataFrame, other: pd.DataFrame, words: str, vintage: str) -> Fact:
    """Return the largest share of a full year that industry alone has; the last year of a vintage is not full."""
    year, share = epoch.peak(used, "industry", EARLY.first, int(models["year"].max()) - 1)
    beside = counts_text(epoch.shares(other, year)["industry"])
    values = values_of(share) | {"year": year.last}
    claim = f"{SECTORS['industry']}, largest share of a full year ({year})"
    return Fact("industry_only_peak", claim, values, words, vintage, "The last year is not full.", beside)


def _counted(chosen: Definition) -> str:
    """Say which models are counted, as the beginning of a sentence."""
    extra = f", {chosen.in_sentence}" if chosen.top < 100 or chosen.selects_on_compute else ""
    return f"Models of known training compute, {epoch.CRITERIA[chosen.column]}{extra}"


def _doubling(models: pd.DataFrame, used: pd.DataFrame, chosen: Definition, vintage: str) -> Fact:
    if chosen.selects_on_compute:
        doubling = epoch.NO_DOUBLING._replace(models=len(epoch.within(used, GROWTH)))
        note = "Not given: models below the threshold are left out, which bends the slope."
    else:
        doubling = epoch.doubling_time(used, GROWTH)
        note = f"Standard error {doubling.std_error:.2f} months (HC1)."
        if math.isnan(doubling.months):
            note = "Not given: fewer than ten models, or no growth."
    months, _, low, high, count = doubling
    total = len(epoch.within(models[models[chosen.column]] if chosen.column else models, GROWTH))
    values = {"months": months, "conf_low": low, "conf_high": high, "count": count, "denominator": total}
    words = f"{_counted(chosen)}, of all sectors; least-squares slope of log2 compute on the date."
    return Fact("doubling_time", f"Doubling time of training compute, {GROWTH}", values, words, vintage, note)


def _of_releases(models: pd.DataFrame) -> list[Fact]:
    newest, facts = epoch.vintages(models)[-1], []
    words = "Weights to download, freely or under restrictions; of notable models of which it is known."
    for sector, each in epoch.releases(epoch.of_vintage(models, newest), RELEASED).items():
        claim = f"{SECTORS[sector]}, models released with open weights, {RELEASED}"
        note = f"It is known of {each.open.total} of {each.models} models."
        facts.append(Fact(f"open_{sector}", claim, values_of(each.open), words, month(newest), note))
    return facts


def _of_fields(fields: pd.DataFrame) -> list[Fact]:
    facts = []
    words = "Papers with an affiliation; academic-only share on compute-heavy less that on other topics."
    for venue, (*_, last) in by_period(fields, PERIODS).items():
        claim = f"{last.venue}, academic-only teams by topic, {last.seen}"
        note = f"{_text(last.heavy)} of compute-heavy papers against {_text(last.other)} of the others."
        facts.append(Fact(f"topics_{venue}", claim, values_of(last.difference), words, PAPERS, note))
    words = "Papers with an affiliation; share of teams of academia with a company, last less first period."
    for venue, periods in by_period(fields, PERIODS, "collaborative").items():
        first, last = periods[0], periods[-1]
        claim = f"{last.venue}, growth of collaboration with industry, {first.seen} to {last.seen}"
        values = values_of(Difference(last.both, first.both))
        note = f"From {_text(first.both)} to {_text(last.both)}. {AFFILIATIONS[venue]}"
        facts.append(Fact(f"collaboration_{venue}", claim, values, words, PAPERS, note))
    return facts


def _text(share: Share) -> str:
    return f"{100 * share.value:.1f}% ({share.successes} of {share.total})"


def counts_text(share: Share) -> str:
    """Return the counts of a share as a table has them."""
    return f"{share.successes}/{share.total}"
