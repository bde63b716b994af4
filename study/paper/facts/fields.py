"""Which teams write a venue's papers, on compute-heavy and on other topics."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from study.data.audit import Share
from study.paper.facts.models import LEVEL, Years

FILE = ("data", "panels", "fields.csv")
VENUES = {"cvpr": "CVPR", "nips": "NeurIPS", "icml": "ICML"}


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
    def difference(self) -> Difference:
        """The share in compute-heavy papers less that in the others."""
        return Difference(self.heavy, self.other)

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
