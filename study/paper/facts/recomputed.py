"""Every descriptive finding of the seed paper that public data allow, recomputed."""

from __future__ import annotations

import math
from calendar import month_name
from dataclasses import dataclass
from typing import TYPE_CHECKING

from study.data.audit import Share
from study.paper.facts import models as epoch
from study.paper.facts.fact import Difference, Fact, values_of
from study.paper.facts.fields import by_period, load_fields
from study.paper.facts.models import SECTORS, Definition, Years, definition, large_scale, of_vintage, within

if TYPE_CHECKING:
    import pandas as pd

# Our reading of "early 2010s", "early 2020s" and "since the early 2010s".
EARLY, LATE, YEAR, GROWTH = Years(2010, 2014), Years(2020, 2022), Years(2022, 2022), Years(2010, 2022)
RELEASED = Years(2020, 2025)
PERIODS = (Years(2010, 2014), Years(2015, 2019), Years(2020, 2024))
DEFAULT_VINTAGE, DEFAULT_THRESHOLD = "2023-12", "seed"
PAPERS = "paperlists, versions in data/sources.toml"
AFFILIATIONS = {
    "cvpr": "From 2020 affiliations are entered by authors, which shows more companies.",
    "nips": "Affiliations of 2021 are from authors' profiles and may be later ones.",
    "icml": "Affiliations of 2023-2024 are from authors' profiles and may be later ones.",
}
CRITERIA = {
    "seed_criteria": "highly cited, an improvement of the state of the art or of historical significance",
    "notable": "notable for any reason",
    "": "notable or not",
}


# Facts about large-scale models: their names, the sector that makes them, and of which years.
OF_MODELS = (
    ("academic_only_early", "academia", EARLY),
    ("academic_only_late", "academia", LATE),
    ("industry_only", "industry", YEAR),
    ("collaboration_early", "collaboration", EARLY),
    ("collaboration_late", "collaboration", LATE),
)


@dataclass(frozen=True, eq=False)
class Data:
    """The two tables that facts are computed from: models, and teams by venue and topic."""

    models: pd.DataFrame
    fields: pd.DataFrame


def load() -> Data:
    """Read both tables that ship."""
    return Data(epoch.load_models(), load_fields())


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
    chosen = chosen or definition(DEFAULT_THRESHOLD)
    return (
        *of_models(of_vintage(data.models, vintage), chosen, month(vintage)),
        *_of_releases(data.models),
        *_of_fields(data.fields),
    )


def beside(chosen: Definition) -> Definition:
    """Return the reading of the criteria that stands beside the chosen one."""
    return definition("seed" if chosen.name == "known" else "known")


def of_models(models: pd.DataFrame, chosen: Definition, vintage: str) -> list[Fact]:
    """Return the facts about large-scale models, of the models of one vintage."""
    used, other = large_scale(models, chosen), large_scale(models, beside(chosen))
    facts = []
    for name, sector, years in OF_MODELS:
        share, share_beside = (epoch.shares(each, years)[sector] for each in (used, other))
        facts.append(
            Fact(
                name,
                f"{SECTORS[sector]}, share of large-scale models, {years}",
                values_of(share),
                f"{_counted(chosen)}; of those by an academic organisation or a company.",
                vintage,
                f"{beside(chosen).label}: {share_beside.successes} of {share_beside.total}. Left out: "
                f"{epoch.left_out(used, years)} models of which neither is known.",
                counts_text(share_beside),
            )
        )
    return [*facts, _doubling(models, used, chosen, vintage)]


def _counted(chosen: Definition) -> str:
    """Say which models are counted, as the beginning of a sentence."""
    extra = f", {chosen.in_sentence}" if chosen.top < 100 or chosen.selects_on_compute else ""
    return f"Models of known training compute, {CRITERIA[chosen.column]}{extra}"


def _doubling(models: pd.DataFrame, used: pd.DataFrame, chosen: Definition, vintage: str) -> Fact:
    if chosen.selects_on_compute:
        doubling = epoch.NO_DOUBLING._replace(models=len(within(used, GROWTH)))
        note = "Not given: models below the threshold are left out, which bends the slope."
    else:
        doubling = epoch.doubling_time(used, GROWTH)
        note = f"Standard error {doubling.std_error:.2f} months (HC1)."
        if math.isnan(doubling.months):
            note = "Not given: fewer than ten models, or no growth."
    values = {
        "months": doubling.months,
        "conf_low": doubling.low,
        "conf_high": doubling.high,
        "count": doubling.models,
        "denominator": len(within(models[models[chosen.column]] if chosen.column else models, GROWTH)),
    }
    words = f"{_counted(chosen)}, of all sectors; least-squares slope of log2 compute on the date."
    return Fact("doubling_time", f"Doubling time of training compute, {GROWTH}", values, words, vintage, note)


def _of_releases(models: pd.DataFrame) -> list[Fact]:
    newest = epoch.vintages(models)[-1]
    return [
        Fact(
            f"open_{sector}",
            f"{SECTORS[sector]}, models released with open weights, {RELEASED}",
            values_of(each.open),
            "Weights to download, freely or under restrictions; of notable models of which it is known.",
            month(newest),
            f"It is known of {each.open.total} of {each.models} models.",
        )
        for sector, each in epoch.releases(of_vintage(models, newest), RELEASED).items()
    ]


def _of_fields(fields: pd.DataFrame) -> list[Fact]:
    topics = [
        Fact(
            f"topics_{venue}",
            f"{last.venue}, academic-only teams by topic, {last.seen}",
            values_of(last.difference),
            "Papers with an affiliation; academic-only share on compute-heavy less that on other topics.",
            PAPERS,
            f"{_text(last.heavy)} of compute-heavy papers against {_text(last.other)} of the others.",
        )
        for venue, (*_, last) in by_period(fields, PERIODS).items()
    ]
    growth = [
        Fact(
            f"collaboration_{venue}",
            f"{last.venue}, growth of collaboration with industry, {first.seen} to {last.seen}",
            values_of(Difference(last.both, first.both)),
            "Papers with an affiliation; share of teams of academia with a company, last less first period.",
            PAPERS,
            f"From {_text(first.both)} to {_text(last.both)}. {AFFILIATIONS[venue]}",
        )
        for venue, periods in by_period(fields, PERIODS, "collaborative").items()
        for first, last in [(periods[0], periods[-1])]
    ]
    return topics + growth


def _text(share: Share) -> str:
    return f"{100 * share.value:.1f}% ({share.successes} of {share.total})"


def counts_text(share: Share) -> str:
    """Return the counts of a share as a table has them."""
    return f"{share.successes}/{share.total}"
