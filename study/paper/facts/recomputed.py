"""Every descriptive finding of the seed paper that public data allow, recomputed."""

from __future__ import annotations

import math
from calendar import month_name
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from study.data.audit import Share
from study.paper.facts.fact import Difference, Fact, Unit
from study.paper.facts.fields import by_period, load_fields
from study.paper.facts.models import (
    SECTORS,
    Definition,
    Doubling,
    Years,
    definition,
    doubling_time,
    large_scale,
    left_out,
    load_models,
    of_vintage,
    releases,
    shares,
    vintages,
    within,
)
from study.paper.facts.published import PUBLISHED

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pandas as pd

# Our reading of "early 2010s", "early 2020s" and "since the early 2010s".
EARLY, LATE, YEAR, GROWTH = Years(2010, 2014), Years(2020, 2022), Years(2022, 2022), Years(2010, 2022)
RELEASED = Years(2020, 2025)
PERIODS = (Years(2010, 2014), Years(2015, 2019), Years(2020, 2024))
DEFAULT_VINTAGE, DEFAULT_THRESHOLD = "2023-12", "seed"
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


@dataclass(frozen=True, eq=False)
class Data:
    """The two tables that facts are computed from: models, and teams by venue and topic."""

    models: pd.DataFrame
    fields: pd.DataFrame


def load() -> Data:
    """Read both tables that ship."""
    return Data(load_models(), load_fields())


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
    models = of_vintage(data.models, vintage)
    return (
        *_of_models(models, chosen, month(vintage)),
        *_of_releases(data.models),
        *_of_fields(data.fields),
    )


def beside(chosen: Definition) -> Definition:
    """Return the reading of the criteria that stands beside the chosen one."""
    return definition("seed" if chosen.name == "known" else "known")


def _of_models(models: pd.DataFrame, chosen: Definition, vintage: str) -> list[Fact]:
    used = large_scale(models, chosen)
    asked = (
        ("academic_only_early", "academia", EARLY),
        ("academic_only_late", "academia", LATE),
        ("industry_only", "industry", YEAR),
        ("collaboration_early", "collaboration", EARLY),
        ("collaboration_late", "collaboration", LATE),
    )
    told = []
    for name, sector, years in asked:
        share = shares(used, years)[sector]
        text = f"{SECTORS[sector]}, share of large-scale models, {years}"
        words = f"{_counted(chosen)}; of those by an academic organisation or a company."
        other = shares(large_scale(models, beside(chosen)), years)[sector]
        note = (
            f"{beside(chosen).label}: {other.successes} of {other.total}. Left out: {left_out(used, years)} models of "
            "which neither is known."
        )
        fact = _share(name, text, share, words, vintage, note)
        told.append(replace(fact, beside=f"{other.successes}/{other.total}"))
    return [*told, _doubling(models, used, chosen, vintage)]


def _counted(chosen: Definition) -> str:
    """Say which models are counted, as the beginning of a sentence."""
    extra = (
        f", {chosen.label[0].lower()}{chosen.label[1:]}"
        if chosen.top < 100 or chosen.selects_on_compute
        else ""
    )
    return f"Models of known training compute, {CRITERIA[chosen.column]}{extra}"


def _doubling(models: pd.DataFrame, used: pd.DataFrame, chosen: Definition, vintage: str) -> Fact:
    kept = within(models[models[chosen.column]] if chosen.column else models, GROWTH)
    found = Doubling(math.nan, math.nan, math.nan, math.nan, len(within(used, GROWTH)))
    note = "Not given: models below the threshold are left out, which bends the slope."
    if not chosen.selects_on_compute:
        found = doubling_time(used, GROWTH)
        note = f"Standard error {found.std_error:.2f} months (HC1)."
        if math.isnan(found.months):
            note = "Not given: fewer than ten models, or no growth."
    words = f"{_counted(chosen)}, of all sectors; least-squares slope of log2 compute on the date."
    claim = f"Doubling time of training compute, {GROWTH}"
    return _fact(
        "doubling_time", claim, found.months, (found.models, len(kept)), (found.low, found.high), words,
        vintage, note, "months",
    )  # fmt: skip


def _of_releases(models: pd.DataFrame) -> list[Fact]:
    newest = vintages(models)[-1]
    words = "Weights to download, freely or under restrictions; of notable models of which it is known."
    found = releases(of_vintage(models, newest), RELEASED)
    return [
        _share(
            f"open_{sector}",
            f"{SECTORS[sector]}, models released with open weights, {RELEASED}",
            found[sector].open,
            words,
            month(newest),
            f"It is known of {found[sector].open.total} of {found[sector].models} models.",
        )
        for sector in SECTORS
    ]


def _of_fields(fields: pd.DataFrame) -> list[Fact]:
    told = []
    for venue, periods in by_period(fields, PERIODS).items():
        last = periods[-1]
        words = "Papers with an affiliation; academic-only share on compute-heavy less that on other topics."
        note = f"{_text(last.heavy)} of compute-heavy papers against {_text(last.other)} of the others."
        claim = f"{last.venue}, academic-only teams by topic, {last.seen}"
        told.append(_difference(f"topics_{venue}", claim, last.difference, words, note))
    for venue, periods in by_period(fields, PERIODS, "collaborative").items():
        first, last = periods[0], periods[-1]
        words = (
            "Papers with an affiliation; share of teams of academia with a company, last less first period."
        )
        note = f"From {_text(first.both)} to {_text(last.both)}. {AFFILIATIONS[venue]}"
        told.append(
            _difference(
                f"collaboration_{venue}",
                f"{last.venue}, growth of collaboration with industry, {first.seen} to {last.seen}",
                Difference(last.both, first.both),
                words,
                note,
            )
        )
    return told


def _text(share: Share) -> str:
    return f"{100 * share.value:.1f}% ({share.successes} of {share.total})"


def _share(name: str, claim: str, share: Share, words: str, vintage: str, note: str) -> Fact:
    ends = share.interval if share.total else (math.nan, math.nan)
    return _fact(name, claim, share.value, (share.successes, share.total), ends, words, vintage, note)


def _difference(name: str, claim: str, found: Difference, words: str, note: str) -> Fact:
    counts = found.first.successes, found.first.total
    vintage = "paperlists, versions in data/sources.toml"
    return _fact(name, claim, found.value, counts, found.interval, words, vintage, note, "difference")


def _fact(
    name: str,
    claim: str,
    value: float,
    counts: tuple[int, int],
    ends: Sequence[float],
    words: str,
    vintage: str,
    note: str,
    unit: Unit = "share",
) -> Fact:
    published = PUBLISHED.get(name)
    return Fact(
        name=name,
        claim=claim,
        published=published.value if published else math.nan,
        value=value,
        count=counts[0],
        denominator=counts[1],
        low=ends[0],
        high=ends[1],
        definition=words,
        vintage=vintage,
        note=note,
        unit=unit,
        source=published.source if published else "",
    )
