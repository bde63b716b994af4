"""Who makes large-scale machine-learning models, and how fast their training compute grows."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from study.core import DataError, QuestionError, refuse_unknown
from study.data.audit import Share
from study.panel.shipped import shipped

WHO = "study facts"
LEVEL = 0.95
FILE = ("data", "facts", "models.csv")
SECTORS = {
    "academia": "Academia only",
    "collaboration": "Academia with industry",
    "industry": "Industry only",
}
CLASSES = ("Lower third", "Middle third", "Upper third")
WEIGHTS = ("unrestricted", "restricted", "hosted", "unreleased", "")
DAYS_OF_MONTH = 365.25 / 12
FEWEST = 10


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


def load_models(path: Path | None = None) -> pd.DataFrame:
    """Read the table of models; the one that ships where no path is given.

    Returns
    -------
    DataFrame
        The columns of ``data/facts/models.csv``, and year (Int64).

    Raises
    ------
    DataError
        If there is no such file.
    """
    path = path or shipped(*FILE)
    if not path.is_file():
        raise DataError(f"{path}: the table of models is missing; make it with `study assemble`.")
    table = pd.read_csv(path, keep_default_na=False, dtype=str)
    numbers = table["log10_training_compute"].replace("", "nan").astype(float)
    return table.assign(
        log10_training_compute=numbers,
        notable=table["notable"].eq("1"),
        seed_criteria=table["seed_criteria"].eq("1"),
        year=pd.to_numeric(table["date"].str[:4], errors="coerce").astype("Int64"),
    )


def vintages(models: pd.DataFrame) -> tuple[str, ...]:
    """Return the vintages of a table of models, the oldest first."""
    return tuple(sorted(models["vintage"].unique()))


def of_vintage(models: pd.DataFrame, vintage: str) -> pd.DataFrame:
    """Return the models of one vintage.

    Raises
    ------
    QuestionError
        If there is no such vintage.
    """
    refuse_unknown("vintage", vintage, vintages(models), WHO)
    return models[models["vintage"] == vintage].reset_index(drop=True)


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
    by_year = {
        Years(year, year): shares(models, Years(year, year))[sector] for year in range(first, last + 1)
    }
    known = [year for year, share in by_year.items() if share.total]
    if not known:
        return Years(first, last), Share(0, 0)
    year = max(known, key=lambda year: (by_year[year].value, year))
    return year, by_year[year]
