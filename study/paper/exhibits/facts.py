"""The seed paper's descriptive facts that public data allow, recomputed: text, tables, figure, numbers."""

from __future__ import annotations

import math
import re
from calendar import month_name
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from study.core import DataError, QuestionError, refuse_unknown
from study.data.audit import Estimate, Share
from study.figures import FULL, SERIES, Axes, Figure, canvas, label_ends, series_look
from study.panel import checksum, shipped
from study.paper import Part, Piece, Setting, Source, address, addressed, cell_of, draw, exhibit
from study.report import REFUSED, Block, Cell, Column, Line, Number, Table, error, lettered

WHO = "facts"
COMMAND = "study run --only facts"
LEVEL = 0.95
MODELS_FILE = ("data", "facts", "models.csv")
SECTORS = {
    "academia": "Academia only",
    "collaboration": "Academia with industry",
    "industry": "Industry only",
}
CLASSES = ("Lower third", "Middle third", "Upper third")
WEIGHTS = ("unrestricted", "restricted", "hosted", "unreleased", "")
DAYS_OF_MONTH = 365.25 / 12
FEWEST = 10
FIELDS_FILE = ("data", "panels", "fields.csv")
VENUES = {"cvpr": "CVPR", "nips": "NeurIPS", "icml": "ICML"}


class Years(NamedTuple):
    """A window of calendar years, both ends in it."""

    first: int
    last: int

    def __str__(self) -> str:
        """Return the years as they are printed."""
        return str(self.first) if self.first == self.last else f"{self.first}-{self.last}"


# Our reading of "early 2010s", "early 2020s" and "since the early 2010s".
EARLY, LATE, YEAR, GROWTH = Years(2010, 2014), Years(2020, 2022), Years(2022, 2022), Years(2010, 2022)
RELEASED = Years(2020, 2025)


@dataclass(frozen=True)
class Definition:
    """Which models are called large-scale; training compute is known of all of them.

    Attributes
    ----------
    name : str
        As it is typed.
    label : str
        As it is printed, of models of known training compute.
    column : str
        Flag that they have; empty for all models of the table.
    top : int
        Percent of each year's models that are kept, those of most compute; all with 100.
    least : float
        Decimal logarithm of the least training compute, in FLOP.
    """

    name: str
    label: str
    column: str = "seed_criteria"
    top: int = 100
    least: float = -math.inf

    @property
    def selects_on_compute(self) -> bool:
        """Whether models below a fixed compute are left out, so that its growth cannot be seen."""
        return self.least > -math.inf

    @property
    def in_sentence(self) -> str:
        """The label inside a sentence."""
        return self.label[0].lower() + self.label[1:]


# What models have that a definition counts, by its column.
CRITERIA = {
    "seed_criteria": "highly cited, an improvement of the state of the art or of historical significance",
    "notable": "notable for any reason",
    "": "notable or not",
}
NAMED = {
    "seed": Definition("seed", "Seed paper's criteria"),
    "known": Definition("known", "Any criterion of notability", column="notable"),
    "all": Definition("all", "Every model of the table", column=""),
}
FORMS = (*NAMED, "topN (the N percent of most compute of each year, 1 to 99)", "1eN (at least 1eN FLOP)")


def definition(text: str) -> Definition:
    """Return a definition of large-scale models by its name.

    Parameters
    ----------
    text : str
        "seed" (of known compute, and highly cited, an improvement of the state of the art or of historical
        significance: what the seed paper's supplementary material says of its models), "known" (of known compute and
        notable for any reason), "all" (of known compute), "top10" (as "seed", the 10 percent of most compute of each
        calendar year), "1e21" (as "seed", 1e21 FLOP or more).

    Raises
    ------
    QuestionError
        If it is none of these.
    """
    if text in NAMED:
        return NAMED[text]
    match = re.fullmatch(r"(top|1e)(\d{1,2})", text)
    number = int(match[2]) if match else 0
    if match and match[1] == "1e":
        return Definition(text, f"At least 1e{number} FLOP", least=float(number))
    if number:
        return Definition(text, f"Top {number}% of each year", top=number)
    raise QuestionError(f'{WHO}: there is no threshold "{text}". Known: {", ".join(FORMS)}.')


def load_models(path: Path | None = None) -> dict[str, pd.DataFrame]:
    """Read the table of models by vintage, the oldest first; the one that ships where no path is given.

    Returns
    -------
    dict of str to DataFrame
        By vintage: the columns of ``data/facts/models.csv``, and year (Int64).

    Raises
    ------
    DataError
        If there is no such file.
    """
    path = path or shipped(*MODELS_FILE)
    if not path.is_file():
        raise DataError(f"{path}: the table of models is missing; make it with `study data assemble`.")
    table = pd.read_csv(path, keep_default_na=False, dtype=str)
    numbers = table["log10_training_compute"].replace("", "nan").astype(float)
    table = table.assign(
        log10_training_compute=numbers,
        notable=table["notable"].eq("1"),
        seed_criteria=table["seed_criteria"].eq("1"),
        year=pd.to_numeric(table["date"].str[:4], errors="coerce").astype("Int64"),
    )
    return {str(vintage): rows.reset_index(drop=True) for vintage, rows in table.groupby("vintage")}


def large_scale(models: pd.DataFrame, chosen: Definition) -> pd.DataFrame:
    """Return the large-scale models of one vintage, of known compute and year."""
    known = models[models["log10_training_compute"].notna() & models["year"].notna()]
    large = known[known[chosen.column]] if chosen.column else known
    compute = large["log10_training_compute"]
    if chosen.top < 100:
        least = compute.groupby(large["year"]).transform(lambda each: each.quantile(1 - chosen.top / 100))
        large, compute = large[compute >= least], compute[compute >= least]
    return large[compute >= chosen.least]


def within(models: pd.DataFrame, years: Years) -> pd.DataFrame:
    """Return the models published in a window of years."""
    return models[models["year"].between(*years).fillna(False).astype(bool)]


def shares(models: pd.DataFrame, years: Years) -> dict[str, Share]:
    """Return which share of the models of some years each sector made.

    Parameters
    ----------
    models : DataFrame
        Of :func:`large_scale`, or any other selection of one vintage.
    years : Years

    Returns
    -------
    dict of Share
        By the keys of :data:`SECTORS`. Models of which neither an academic organisation nor a company is known are in
        no count and in no denominator, so that the three counts add up to the denominator.
    """
    counts = within(models, years)["sector"].value_counts().reindex(list(SECTORS), fill_value=0)
    return {sector: Share(int(count), int(counts.sum())) for sector, count in counts.items()}


def left_out(models: pd.DataFrame, years: Years) -> int:
    """Return how many models of some years are in no denominator of :func:`shares`."""
    return int((~within(models, years)["sector"].isin(SECTORS)).sum())


def by_class(models: pd.DataFrame, years: Years) -> dict[str, dict[str, Share]]:
    """Return the shares of the sectors in each third of the models by training compute.

    Parameters
    ----------
    models : DataFrame
        Of :func:`large_scale`.
    years : Years

    Returns
    -------
    dict of dict of Share
        By the thirds of :data:`CLASSES`, then by sector. Models are ranked among those of their calendar year, so
        that a third is one of what was large at its time; thirds of years of few models are of unlike size.
    """
    used = within(models[models["sector"].isin(SECTORS)], years)
    ranks = used.groupby("year")["log10_training_compute"].rank(method="average")
    sizes = used.groupby("year")["log10_training_compute"].transform("size")
    thirds = np.minimum(np.floor(3 * (ranks - 0.5) / sizes), 2)
    return {name: shares(used[thirds == place], years) for place, name in enumerate(CLASSES)}


class Doubling(NamedTuple):
    """How many months training compute takes to double, and the number of models in the regression.

    ``std_error`` is by the delta method; ``low`` and ``high`` are the reciprocals of the ends of the slope's 95%
    interval, infinite where that of the slope is not above 0.
    """

    months: float
    std_error: float
    low: float
    high: float
    models: int


NO_DOUBLING = Doubling(math.nan, math.nan, math.nan, math.nan, 0)


def doubling_time(models: pd.DataFrame, years: Years) -> Doubling:
    """Return the doubling time of training compute: the least-squares slope of log2 compute on the date.

    Parameters
    ----------
    models : DataFrame
        Of :func:`large_scale`; all sectors count, also those that are not known. Of a date without a day the first day
        counts.
    years : Years

    Returns
    -------
    Doubling
        Standard errors of the slope are HC1, its interval has t(n-2). NaN where there are fewer than ten models, or the
        slope is not positive.
    """
    from statsmodels.api import OLS, add_constant

    used = within(models, years)
    if len(used) < FEWEST:
        return NO_DOUBLING
    dates = pd.to_datetime(used["date"], format="ISO8601")
    months = (dates - pd.Timestamp(years.first, 1, 1)).dt.days.to_numpy() / DAYS_OF_MONTH
    doublings = used["log10_training_compute"].to_numpy() / math.log10(2)
    fit = OLS(doublings, add_constant(months)).fit(cov_type="HC1", use_t=True)
    slope, error = float(fit.params[1]), float(fit.bse[1])
    low, high = (float(end) for end in np.asarray(fit.conf_int(1 - LEVEL))[1])
    if slope <= 0:
        return NO_DOUBLING
    return Doubling(1 / slope, error / slope**2, 1 / high, 1 / low if low > 0 else math.inf, len(used))


class Release(NamedTuple):
    """How the weights of a sector's models can be had.

    ``open`` are those to download among the models of which it is known; ``unrestricted`` those of them for any use;
    ``hosted`` are used over the network alone; ``models`` are all, also those of which it is not known.
    """

    open: Share
    unrestricted: int
    hosted: int
    unreleased: int
    models: int


def releases(models: pd.DataFrame, years: Years) -> dict[str, Release]:
    """Return how the weights of notable models of some years can be had, by sector; compute need not be known."""
    used = within(models[models["notable"]], years)
    counts = pd.crosstab(used["sector"], used["weights"])
    counts = counts.reindex(index=list(SECTORS), columns=list(WEIGHTS), fill_value=0)
    by_sector = {}
    for sector, row in zip(SECTORS, counts.to_numpy().tolist(), strict=True):
        unrestricted, restricted, hosted, unreleased, silent = row
        share = Share(unrestricted + restricted, sum(row) - silent)
        by_sector[sector] = Release(share, unrestricted, hosted, unreleased, sum(row))
    return by_sector


def spanned(models: pd.DataFrame, first: int) -> Sequence[int]:
    """Return the calendar years of a vintage, from one on."""
    return range(first, int(models["year"].max()) + 1)


def peak(models: pd.DataFrame, sector: str, first: int, last: int) -> tuple[Years, Share]:
    """Return the year of a span in which a sector's share of the models is largest, and the share.

    Of years with the same share it is the last. Where no year has a model it is the whole span, with a share of none.
    """
    every = (Years(year, year) for year in range(first, last + 1))
    known = [(year, share) for year in every if (share := shares(models, year)[sector]).total]
    return max(known, key=lambda pair: (pair[1].value, pair[0]), default=(Years(first, last), Share(0, 0)))


def difference(first: Share, second: Share) -> Estimate:
    """Return the first share less the second one, with Newcombe's interval at 95%; NaN if one of them is of nothing.

    The interval (Newcombe 1998, method 10) joins the two Wilson intervals, and takes the counts as independent draws.
    """
    from statsmodels.stats.proportion import confint_proportions_2indep

    if not first.total or not second.total:
        return Estimate(math.nan, math.nan, math.nan)
    counts = (first.successes, first.total, second.successes, second.total)
    low, high = confint_proportions_2indep(*counts, method="newcomb", compare="diff", alpha=1 - LEVEL)
    return Estimate(first.value - second.value, float(low), float(high))


@dataclass(frozen=True)
class Topics:
    """The share of one kind of team in a venue's compute-heavy and other papers of a period.

    Attributes
    ----------
    venue : str
        As it is printed.
    period : Years
    known : tuple of int
        Years of the period that are known; others are in no count.
    heavy, other : Share
        Of the papers with an affiliation on each of the topics.
    """

    venue: str
    period: Years
    known: tuple[int, ...]
    heavy: Share
    other: Share

    @property
    def difference(self) -> Estimate:
        """The share in compute-heavy papers less that in the others."""
        return difference(self.heavy, self.other)

    @property
    def seen(self) -> str:
        """The known years as they are printed."""
        starts = [year for year in self.known if year - 1 not in self.known]
        ends = [year for year in self.known if year + 1 not in self.known]
        return ", ".join(str(Years(*pair)) for pair in zip(starts, ends, strict=True))

    @property
    def both(self) -> Share:
        """The share in all papers."""
        return Share(self.heavy.successes + self.other.successes, self.heavy.total + self.other.total)


def topics(fields: pd.DataFrame, venue: str, years: Years, team: str = "academic_only") -> Topics:
    """Return the share of a kind of team in a venue's papers of a period, by topic.

    Parameters
    ----------
    fields : DataFrame
        venue, topic, year, papers (with an affiliation) and a column of counts for each kind of team.
    venue : str
        A key of :data:`VENUES`.
    years : Years
    team : str
        Column of the team: academic_only (a university, institute or national centre and no company),
        collaborative (both), industry_only.

    Returns
    -------
    Topics
        Papers of all known years are pooled.
    """
    used = fields[(fields["venue"] == venue) & fields["year"].between(*years) & fields["papers"].notna()]
    counts = used.groupby("topic")[[team, "papers"]].sum().reindex(["compute_heavy", "other"], fill_value=0)
    heavy, other = (Share(int(count), int(total)) for count, total in counts.to_numpy())
    return Topics(VENUES[venue], years, tuple(sorted(used["year"].unique().tolist())), heavy, other)


def by_period(
    fields: pd.DataFrame, periods: Sequence[Years], team: str = "academic_only"
) -> dict[str, list[Topics]]:
    """Return :func:`topics` of every venue and period of which a year is known, by venue."""
    every = {venue: [topics(fields, venue, years, team) for years in periods] for venue in VENUES}
    return {venue: [each for each in by_window if each.known] for venue, by_window in every.items()}


UNITS = {
    "share": Column("share", "percent"),
    "difference": Column("difference in percentage points", "percent"),
    "months": Column("months", "number", 2),
}
_percent = partial(cell_of, UNITS["share"])
# What stands behind values in a sentence.
BEHIND = {"share": "%", "difference": " points", "months": " months"}

SEED_PAPER = "Besiroglu et al. (2024, arXiv 2401.02452)"
# The full text was not at hand. The values were found in a public summary of the paper (study.space), and the rules
# about the models in its supplementary material (arXiv, HTML of version 1). Windows of years are our reading of "early
# 2010s" and "early 2020s".
SUMMARY = f"{SEED_PAPER}, key findings as a public summary of the paper gives them"
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
        SUMMARY,
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


def values_of(share: Share, less: Share | None = None) -> dict[str, float]:
    """Return a share, or what it is less another one, with its 95% interval and the share's counts, by column.

    The ends of the interval are NaN if it is of nothing.
    """
    unit = "share" if less is None else "difference"
    measure = share if less is None else difference(share, less)
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
        """The seed paper's value, in the unit of ``value``, by :data:`SUMMARY`; NaN where none is known to us."""
        return PUBLISHED.get(self.name, math.nan)

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
        unit, (count, denominator) = BEHIND[self.unit], self.counts
        value = "cannot be given" if math.isnan(self.value) else f"{self._text(self.value)}{unit}"
        ends = "" if math.isnan(self.interval[0]) else f" (95% {low} to {high})"
        published = f"{self._text(self.published)}{unit}" if self.name in PUBLISHED else "none is known to us"
        return f"{self.claim}: {value}{ends}. Counted: {count} of {denominator}. Published: {published}."

    def _text(self, value: float) -> str:
        return "unbounded" if math.isinf(value) else str(UNITS[self.unit].cell(value))


@dataclass(frozen=True, eq=False)
class Data:
    """What facts are computed from: models by vintage, the oldest first, and teams by venue and topic."""

    models: dict[str, pd.DataFrame]
    fields: pd.DataFrame


def load() -> Data:
    """Read both tables that ship."""
    return Data(load_models(), pd.read_csv(shipped(*FIELDS_FILE)))


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
    refuse_unknown("vintage", vintage, data.models, WHO)
    facts = of_models(data.models[vintage], chosen or definition(DEFAULT_THRESHOLD), month(vintage))
    return *facts, *_of_releases(data.models), *_of_fields(data.fields)


def beside(chosen: Definition) -> Definition:
    """Return the reading of the criteria that stands beside the chosen one."""
    return definition("seed" if chosen.name == "known" else "known")


def of_models(models: pd.DataFrame, chosen: Definition, vintage: str) -> list[Fact]:
    """Return the facts about large-scale models, of the models of one vintage."""
    used, other = large_scale(models, chosen), large_scale(models, beside(chosen))
    facts, words = [], f"{_counted(chosen)}; of those by an academic organisation or a company."
    for name, sector, years in OF_MODELS:
        share, share_beside = (shares(each, years)[sector] for each in (used, other))
        claim = f"{SECTORS[sector]}, share of large-scale models, {years}"
        note = (
            f"{beside(chosen).label}: {share_beside.successes} of {share_beside.total}. Left out: "
            f"{left_out(used, years)} models of which neither is known."
        )
        facts.append(Fact(name, claim, values_of(share), words, vintage, note, counts_text(share_beside)))
    return [*facts, _peak(models, used, other, words, vintage), _doubling(models, used, chosen, vintage)]


def _peak(models: pd.DataFrame, used: pd.DataFrame, other: pd.DataFrame, words: str, vintage: str) -> Fact:
    """Return the largest share of a full year that industry alone has; the last year of a vintage is not full."""
    year, share = peak(used, "industry", EARLY.first, int(models["year"].max()) - 1)
    beside = counts_text(shares(other, year)["industry"])
    values = values_of(share) | {"year": year.last}
    claim = f"{SECTORS['industry']}, largest share of a full year ({year})"
    return Fact("industry_only_peak", claim, values, words, vintage, "The last year is not full.", beside)


def _counted(chosen: Definition) -> str:
    """Say which models are counted, as the beginning of a sentence."""
    extra = f", {chosen.in_sentence}" if chosen.top < 100 or chosen.selects_on_compute else ""
    return f"Models of known training compute, {CRITERIA[chosen.column]}{extra}"


def _doubling(models: pd.DataFrame, used: pd.DataFrame, chosen: Definition, vintage: str) -> Fact:
    if chosen.selects_on_compute:
        doubling = NO_DOUBLING._replace(models=len(within(used, GROWTH)))
        note = "Not given: models below the threshold are left out, which bends the slope."
    else:
        doubling = doubling_time(used, GROWTH)
        note = f"Standard error {doubling.std_error:.2f} months (HC1)."
        if math.isnan(doubling.months):
            note = "Not given: fewer than ten models, or no growth."
    months, _, low, high, count = doubling
    total = len(within(models[models[chosen.column]] if chosen.column else models, GROWTH))
    values = {"months": months, "conf_low": low, "conf_high": high, "count": count, "denominator": total}
    words = f"{_counted(chosen)}, of all sectors; least-squares slope of log2 compute on the date."
    return Fact("doubling_time", f"Doubling time of training compute, {GROWTH}", values, words, vintage, note)


def _of_releases(models: dict[str, pd.DataFrame]) -> Iterator[Fact]:
    *_, (newest, rows) = models.items()
    words = "Weights to download, freely or under restrictions; of notable models of which it is known."
    for sector, each in releases(rows, RELEASED).items():
        claim = f"{SECTORS[sector]}, models released with open weights, {RELEASED}"
        note = f"It is known of {each.open.total} of {each.models} models."
        yield Fact(f"open_{sector}", claim, values_of(each.open), words, month(newest), note)


def _of_fields(fields: pd.DataFrame) -> Iterator[Fact]:
    words = "Papers with an affiliation; academic-only share on compute-heavy less that on other topics."
    for venue, (*_, last) in by_period(fields, PERIODS).items():
        claim = f"{last.venue}, academic-only teams by topic, {last.seen}"
        note = f"{_text(last.heavy)} of compute-heavy papers against {_text(last.other)} of the others."
        yield Fact(f"topics_{venue}", claim, values_of(last.heavy, last.other), words, PAPERS, note)
    words = "Papers with an affiliation; share of teams of academia with a company, last less first period."
    for venue, periods in by_period(fields, PERIODS, "collaborative").items():
        first, last = periods[0], periods[-1]
        claim = f"{last.venue}, growth of collaboration with industry, {first.seen} to {last.seen}"
        values = values_of(last.both, first.both)
        note = f"From {_text(first.both)} to {_text(last.both)}. {AFFILIATIONS[venue]}"
        yield Fact(f"collaboration_{venue}", claim, values, words, PAPERS, note)


def _text(share: Share) -> str:
    return f"{100 * share.value:.1f}% ({share.successes} of {share.total})"


def counts_text(share: Share) -> str:
    """Return the counts of a share as a table has them."""
    return f"{share.successes}/{share.total}"


GAP = 3.8
HATCHES = ("", "////", "....")
STYLES = dict(zip(SECTORS, zip(SERIES, HATCHES, strict=False), strict=True))
THRESHOLDS = ("seed", "known", "all", "top50", "top25", "top10", "1e19", "1e21", "1e23")
OTHER_WINDOWS = (Years(2010, 2013), Years(2020, 2023), YEAR, Years(2010, 2023))
BEFORE_RELEASED = Years(2010, 2019)
READ = (
    "The seed paper's full text was not at hand: published values are those of a public summary, and windows of years "
    "are our reading."
)
SOURCE_OF_MODELS = "Models: Epoch AI (CC BY 4.0), data/facts/models.csv."
SECTOR_RULE = "Models of which neither an academic organisation nor a company is known are in no denominator."


@exhibit("Facts of the seed paper, recomputed", Part.FACTS)
def facts(setting: Setting) -> Iterator[Piece]:
    """Yield the recomputed facts; they are the same for every plan, since the tables that they read are."""
    data, vintage, chosen = load(), DEFAULT_VINTAGE, definition(DEFAULT_THRESHOLD)
    every_fact = recomputed(data, vintage, chosen)
    used = large_scale(data.models[vintage], chosen)
    percents = {fact.name: f"{100 * fact.value:.1f}%" for fact in every_fact}
    yield draw(
        "facts_shares",
        f"Who makes large-scale models, by year and by training compute, table of {month(vintage)}, "
        f"{chosen.in_sentence}.",
        shares_figure(used, next(fact for fact in every_fact if fact.name == "industry_only_peak")),
        "Lines by year and stacked bars by training compute: the share of models by academia alone falls from "
        f"{percents['academic_only_early']} in {EARLY} to {percents['academic_only_late']} in {LATE}, while that by "
        "industry alone becomes the largest, and most so in the third of most compute.",
    )
    yield from all_tables(data, vintage, chosen)
    yield from numbers(data)
    yield _verdict(every_fact)
    yield from (fact.sentence for fact in every_fact)


def numbers(data: Data) -> Iterator[Piece]:
    """Yield every number of the facts that a text would cite; shares are in percent with one decimal."""
    for fact in recomputed(data):
        yield from _of_fact(fact, fact.name)
    for vintage, models in data.models.items():
        for threshold in THRESHOLDS:
            for fact in of_models(models, definition(threshold), month(vintage)):
                yield from _of_fact(fact, vintage, threshold, fact.name)
    papers = partial(_source, FIELDS_FILE)
    for venue, periods in by_period(data.fields, PERIODS).items():
        for each in periods:
            who, at = f"academic-only teams at {each.venue}, {each.seen}", (venue, each.period)
            yield from _of_values(values_of(each.heavy), papers(f"{who}, compute-heavy papers"), *at, "heavy")
            yield from _of_values(values_of(each.other), papers(f"{who}, other papers"), *at, "other")
            less = papers(f"{who}, compute-heavy less other papers")
            yield from _of_values(values_of(each.heavy, each.other), less, *at)
    *_, newest = data.models.values()
    for years in (BEFORE_RELEASED, RELEASED):
        for sector, release in releases(newest, years).items():
            claim = f"{SECTORS[sector]}, open weights among notable models of {years} of which it is known"
            values, source = values_of(release.open), _source(MODELS_FILE, claim)
            yield from _of_values(values, source, "weights", years, sector)


def _of_fact(fact: Fact, *parts: str) -> Iterator[Piece]:
    file = FIELDS_FILE if fact.unit == "difference" else MODELS_FILE
    words = f"{fact.claim}; {fact.definition.rstrip('.')}; table: {fact.vintage}"
    yield from _of_values(fact.values, _source(file, words), *parts)
    if fact.name in PUBLISHED:
        source = _source(file, f"{fact.claim}; {SUMMARY}")
        yield from _of_values({"published": fact.published}, source, *parts, unit=fact.unit)


def _of_values(values: Mapping[str, float], source: Source, *parts: Any, unit: str = "") -> Iterator[Piece]:
    """Yield the values of a fact, whose unit is the first of them where it is not given."""
    unit = unit or next(iter(values))
    columns = {
        unit: (column := UNITS[unit]),
        "published": column._replace(words="published value"),
        "conf_low": column._replace(words=f"lower end of the 95% interval of the {column.words}"),
        "conf_high": column._replace(words=f"upper end of the 95% interval of the {column.words}"),
        "denominator": Column("denominator", "count"),
        "year": Column("year", digits=0),
    }
    return addressed(address(*parts), values, source, columns=columns)


def _source(file: tuple[str, ...], quantity: str) -> Source:
    return Source("", quantity, "/".join(file), checksum(*file), COMMAND)


def _verdict(every_fact: tuple[Fact, ...]) -> str:
    """Say which published values lie in the intervals of the recomputed ones."""
    published = [fact for fact in every_fact if fact.name in PUBLISHED]
    outside = [fact.claim for fact in published if not fact.interval[0] <= fact.published <= fact.interval[1]]
    missed = f" Outside of it: {'; '.join(outside)}." if outside else ""
    return (
        f"Of {len(published)} published values that public data allow to be recomputed, "
        f"{len(published) - len(outside)} lie in the 95% interval of the recomputed value.{missed} These are "
        "descriptions: none of them says why shares moved."
    )


def shares_figure(used: pd.DataFrame, peak: Fact) -> Figure:
    """Return the figure of the large-scale models of one vintage; the year of industry's largest share is named."""
    with canvas(FULL, 2.6) as figure:
        left, right = figure.subplots(1, 2, width_ratios=(1.7, 1))
        _by_year(left, used)
        named = f"peak {peak.values['year']}: {peak.counts[0]} of {peak.counts[1]}"
        left.text(peak.values["year"], 100 * peak.value + 4, named, ha="center", va="bottom", fontsize=7)
        _by_class(right, used)
        label_ends(figure, left)
    return figure


def _by_year(axis: Axes, used: pd.DataFrame) -> None:
    """Draw the shares by year with the number of models above them."""
    by_year = {year: shares(used, Years(year, year)) for year in spanned(used, EARLY.first)}
    years = list(by_year)
    for sector, (look, _) in STYLES.items():
        # The share of a year without models is NaN, which breaks the line.
        values = [100 * of_year[sector].value for of_year in by_year.values()]
        how = {"markersize": 3.5, "linewidth": 1.2, "label": SECTORS[sector].replace(" with", "\nwith")}
        axis.plot(years, values, **series_look(look, **how))
    for year, of_year in by_year.items():
        axis.text(year, 106, str(of_year["academia"].total), ha="center", va="bottom", fontsize=7)
    axis.text(years[0] - 0.9, 106, "n", ha="right", va="bottom", fontsize=7, style="italic")
    axis.set(ylim=(-4, 104), ylabel="Share of models, %", xlabel="Year of publication")
    axis.set_xticks(years[::2])
    axis.set_title("By year", pad=14, fontsize=8, loc="left")


def _by_class(axis: Axes, used: pd.DataFrame) -> None:
    """Draw the shares by thirds of training compute, with the makers' names above and their counts beside them."""
    rows = {}
    for block, window in enumerate((EARLY, LATE)):
        axis.text(0, GAP * block - 0.5, str(window), fontsize=8, va="bottom", weight="bold")
        for place, row in enumerate(by_class(used, window).items()):
            rows[GAP * block + place] = row
    starts = np.zeros(len(rows))
    for sector, (look, hatch) in STYLES.items():
        shares = [by_sector[sector] for _, by_sector in rows.values()]
        widths = np.array([100 * share.value if share.total else 0.0 for share in shares])
        how: dict[str, Any] = {"color": look.colour, "hatch": hatch, "edgecolor": "white"}
        how["label"] = SECTORS[sector].replace("Academia with", "With")
        axis.barh(list(rows), widths, left=starts, height=0.76, linewidth=0.6, **how)
        starts = starts + widths
    for y, (_, by_sector) in rows.items():
        counts = " / ".join(str(share.successes) for share in by_sector.values())
        axis.text(103, y, counts, va="center", fontsize=7)
    axis.text(139, -0.62, "n, in this order", ha="right", va="bottom", fontsize=7, style="italic")
    legend = axis.legend(
        ncols=len(STYLES), loc="lower right", bbox_to_anchor=(1.38, 0.97), frameon=False, fontsize=7,
        handlelength=1.2, handletextpad=0.4, columnspacing=0.8,
    )  # fmt: skip
    legend.set_in_layout(False)
    axis.set_yticks(list(rows), [name for name, _ in rows.values()])
    axis.set(xlim=(0, 100), ylim=(GAP + len(CLASSES) - 0.4, -1.2), xlabel="Share of models, %")
    axis.tick_params(axis="y", length=0)
    axis.set_title("By training compute in its year", pad=14, fontsize=8, loc="left")


def all_tables(data: Data, vintage: str, chosen: Definition) -> tuple[Table, ...]:
    """Return every table of the facts, in the order in which a reader wants them."""
    return (
        facts_table(data, vintage, chosen),
        missing_table(),
        vintage_table(data),
        shares_table(data, chosen),
        topics_table(data),
        weights_table(data),
    )


def facts_table(data: Data, vintage: str, chosen: Definition) -> Table:
    """Return the facts beside the published values."""
    titles = ("Published by the seed paper and recomputed", "Recomputed; no published value is known to us")
    lines: dict[str, list[Line]] = {title: [] for title in titles}
    for fact in recomputed(data, vintage, chosen):
        numbers = map(UNITS[fact.unit].cell, (fact.published, fact.value, *fact.interval))
        cells = [*numbers, "/".join(map(str, fact.counts)), fact.beside]
        lines[titles[fact.name not in PUBLISHED]].append(Line(fact.claim, cells))
    used = large_scale(data.models[vintage], chosen)
    lost = ", ".join(f"{left_out(used, years)} of {years}" for years in (EARLY, LATE, YEAR))
    return Table(
        name="facts",
        caption="Facts of the seed paper, published and recomputed",
        headings=["Published", "Recomputed", "Low", "High", "Of", beside(chosen).label],
        spans=[("", 2), ("95% interval", 2), ("", 2)],
        blocks=[Block(*block) for block in lines.items()],
        notes=[
            f"Shares in percent, differences in points, doubling time in months. {READ} Models: table of "
            f"{month(vintage)}, {chosen.in_sentence}; last column: the other reading; maker not known and left out: "
            f"{lost}. Topics: compute-heavy papers less others. Growth: last years less first. Counts of differences "
            "are their first share's.",
        ],
        prose=(0,),
    )


def missing_table() -> Table:
    """Return what the seed paper found that public data do not allow to be recomputed, and why."""
    lines = [Line(claim, [published, reason]) for claim, published, reason, _ in NOT_RECOMPUTED]
    return Table(
        name="facts_missing",
        caption="Findings of the seed paper that public data do not allow to be recomputed",
        headings=["Published", "Why not"],
        blocks=[Block("", lines)],
        notes=[READ],
        prose=(0, 2),
    )


def vintage_table(data: Data) -> Table:
    """Return how the published figures move with the definition of large-scale models and with the vintage."""
    of_threshold = map(definition, THRESHOLDS)
    rows = [(chosen.label, chosen, (EARLY, LATE, YEAR, GROWTH)) for chosen in of_threshold]
    rows.append(("Seed paper's, other years", definition("seed"), OTHER_WINDOWS))
    lines: dict[str, list[Line]] = {}
    for vintage, models in data.models.items():
        lines[f"Table of {month(vintage)}"] = [line for row in rows for line in _moved(models, *row)]
    *shares, doubling = PUBLISHED.values()
    published = [cell for share in shares for cell in (_percent(share), "")]
    over = [f"Academia, {EARLY}", f"Academia, {LATE}", f"Industry, {YEAR}"]
    return Table(
        name="facts_vintage",
        caption="How the facts move with the definition of large-scale models and the vintage",
        headings=["%", "Of", "%", "Of", "%", "Of", "Months"],
        spans=[*((title, 2) for title in over), ("Doubling", 1)],
        blocks=[Block("", [Line("Published", [*published, Number(doubling, 2)])]), *lettered(lines)],
        notes=[
            "Models by academia only, and by industry only, of known training compute. Below shares their 95% Wilson "
            "intervals, below doubling times standard errors (HC1). Doubling times are of all sectors, "
            f"{GROWTH}; none is given where a fixed threshold leaves out the models below it. Top percentages and FLOP "
            "apply to models that meet the seed paper's criteria. Other years: "
            f"{', '.join(str(years) for years in OTHER_WINDOWS[:3])}; doubling time {OTHER_WINDOWS[3]}.",
            SOURCE_OF_MODELS,
        ],
    )


def _moved(models: pd.DataFrame, label: str, chosen: Definition, windows: Sequence[Years]) -> Iterator[Line]:
    early, late, year, growth = windows
    used = large_scale(models, chosen)
    three = [shares(used, early)["academia"], shares(used, late)["academia"], shares(used, year)["industry"]]
    doubling = NO_DOUBLING if chosen.selects_on_compute else doubling_time(used, growth)
    months = cell_of(UNITS["months"], doubling.months)
    yield Line(label, [*(cell for share in three for cell in _share_cells(share)), months])
    ends = (cell for share in three for cell in (_ends(share), ""))
    yield Line("", [*ends, error(doubling.std_error, 2)])


def topics_table(data: Data) -> Table:
    """Return the academic-only share in compute-heavy and other papers by venue, of its periods and of each year."""
    years = range(PERIODS[0].first, PERIODS[-1].last + 1)
    periods = [*PERIODS, *(Years(year, year) for year in years)]
    joint, blocks = by_period(data.fields, periods, "collaborative"), []
    for venue, topics in by_period(data.fields, periods).items():
        lines = {}
        for own, team in zip(topics, joint[venue], strict=True):
            ends = (Number(100 * end, 1) for end in own.difference.interval)
            heavy, other, both = map(_share_cells, (own.heavy, own.other, team.both))
            # A period of which one year is known is that year.
            lines[own.seen] = [*heavy, *other, _percent(own.difference.value), *ends, *both]
        title = f"{topics[0].venue}, by period and by year"
        blocks.append(Block(title, [Line(*each) for each in lines.items()]))
    over = {"Compute-heavy": 2, "Other topics": 2, "Difference, 95% interval": 3, "With industry, all": 2}
    return Table(
        name="facts_fields",
        caption="Academic-only teams in compute-heavy and other papers, by period and by year",
        headings=["%", "Of", "%", "Of", "Points", "Low", "High", "%", "Of"],
        spans=list(over.items()),
        blocks=blocks,
        notes=[
            "Papers with an affiliation. Academic only: no company; with industry: both. Compute-heavy: by the words "
            "of the title (data/topics.toml). Years that are not known are left out. How affiliations are known "
            "changes in 2020 at CVPR, and for NeurIPS 2021 and ICML 2023-2024: compare topics of one period rather "
            "than periods. Newcombe's intervals take papers as independent draws. Data: data/panels/fields.csv.",
        ],
    )


def weights_table(data: Data) -> Table:
    """Return how often each sector releases weights, by vintage and years."""
    *earlier, newest = data.models
    windows = [(newest, BEFORE_RELEASED), (newest, RELEASED)]
    windows += [(vintage, Years(2010, int(vintage[:4]))) for vintage in earlier]
    blocks = []
    for vintage, years in windows:
        lines = []
        for sector, each in releases(data.models[vintage], years).items():
            known = _counts(each.models, each.open.total, each.open.successes)
            closed = _counts(each.unrestricted, each.hosted, each.unreleased)
            cells = [*known, _percent(each.open.value), _ends(each.open, 1), *closed]
            lines.append(Line(SECTORS[sector], cells))
        blocks.append(Block(f"Models of {years}, table of {month(vintage)}", lines))
    return Table(
        name="facts_weights",
        caption="Release of model weights, by sector",
        headings=["Models", "Known", "Open", "%", "95% interval", "Any use", "Hosted", "None"],
        spans=[("", 2), ("Open weights", 4), ("Not open", 2)],
        blocks=blocks,
        notes=[
            "Notable models, of known training compute or not. Known: the table says how the model can be had; percent "
            "are of these. Open: weights to download, for any use or under restrictions. Hosted: used over the network "
            "alone. The earlier table says of few models how they can be had, mostly of open ones, so that its "
            f"percentages are no rates of release. {SOURCE_OF_MODELS}",
        ],
    )


def shares_table(data: Data, chosen: Definition) -> Table:
    """Return the counts of each sector by year and by compute class, in every vintage."""
    used = {vintage: large_scale(models, chosen) for vintage, models in data.models.items()}

    def cells(year: int, vintage: str) -> list[Cell]:
        is_known = year <= int(vintage[:4])
        return _sectors(shares(used[vintage], Years(year, year))) if is_known else [REFUSED] * 5

    *_, newest = data.models.values()
    years = spanned(newest, EARLY.first)
    lines = [Line(str(year), [cell for vintage in used for cell in cells(year, vintage)]) for year in years]
    blocks = [Block("By year", lines)]
    for window in (EARLY, LATE):
        thirds = [by_class(models, window) for models in used.values()]
        lines = [Line(name, [c for each in thirds for c in _sectors(each[name])]) for name in CLASSES]
        blocks.append(Block(f"By training compute among the models of the same year, {window}", lines))
    return Table(
        name="facts_shares",
        caption="Who made large-scale models, by year and by compute class",
        headings=["Acad.", "Both", "Ind.", "All", "Acad., %"] * len(used),
        spans=[(f"Table of {month(vintage)}", 5) for vintage in used],
        blocks=blocks,
        notes=[
            f"Numbers of models of known training compute, {chosen.in_sentence}: academia only, both, industry "
            f"only, and all of these. {SECTOR_RULE} The last year of a table is not complete. Thirds are of "
            f"the models of one calendar year. {SOURCE_OF_MODELS}",
        ],
    )


def _sectors(by_sector: dict[str, Share]) -> list[Cell]:
    academia = by_sector["academia"]
    counts = _counts(*(share.successes for share in by_sector.values()), academia.total)
    return [*counts, _percent(academia.value)]


def _share_cells(share: Share) -> list[Cell]:
    return [_percent(share.value), counts_text(share)]


def _counts(*values: int) -> list[Number]:
    return [Number(value, 0) for value in values]


def _ends(share: Share, digits: int = 0) -> str:
    low, high = share.interval
    return f"[{100 * low:.{digits}f}, {100 * high:.{digits}f}]" if share.total else ""
