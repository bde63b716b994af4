"""The first campus resource of the CC* programme that each university registered in the Open Science Grid."""

from __future__ import annotations

import re

import pandas as pd

from study.data.institutions import Entity, Matcher, Overrides, overridden, universities

EVENT = "first_ccstar"
EVENT_COLUMNS = ("university", "country", "event", "date", "left_censored", "detail")

# Facilities of several universities: only the site says which of them it is.
_SEVERAL = re.compile(r"\b(system|network)\b", re.IGNORECASE)


def events(resources: pd.DataFrame, matcher: Matcher, known: Overrides) -> pd.DataFrame:
    """Return each university's first campus CC* resource that is registered in the Open Science Grid.

    Registration follows the award by months, often by more than a year: the award dates when the money came,
    the registration when a cluster bought with it was there and shared. When it began to serve its own
    campus in between is not known. Not every CC* cluster is registered.

    Parameters
    ----------
    resources : DataFrame
        Of ``sources.osg.read``. Groups without a tagged resource are left out.
    matcher : Matcher
        Matches the facility; the site where the facility is a system or network of several universities.
    known : mapping
        Facility -> (university, country), before the rule.

    Returns
    -------
    DataFrame
        One row a university, by name: university, country, event ("first_ccstar"), date ("YYYY-MM"),
        left_censored, detail (the group). left_censored is 1 where the date of one of its groups is not
        known, so that the true date may be an earlier one; ``date`` is then that of the first dated group, or
        of the newest registration of the whole table where none is dated.
    """
    tagged = resources[resources["ccstar_resources"] > 0]
    newest = tagged["first_registered"].max()
    groups: dict[tuple[str, str], list[tuple[str, str]]] = {}
    columns = ("facility", "site", "group", "first_registered")
    for facility, site, group, day in zip(*(tagged[name] for name in columns), strict=True):
        for entity in _universities(facility, site, matcher, known):
            groups.setdefault((entity.name, entity.country), []).append((day, group))
    records = []
    for university, registered in sorted(groups.items()):
        dated = sorted(pair for pair in registered if pair[0])
        day, group = dated[0] if dated else (newest, registered[0][1])
        records.append((*university, EVENT, day[:7], int(len(dated) < len(registered)), group))
    return pd.DataFrame(records, columns=EVENT_COLUMNS)


def _universities(facility: str, site: str, matcher: Matcher, known: Overrides) -> list[Entity]:
    """Return the universities of a group; only those of the United States, whose programme it is."""
    if facility in known:
        return list(filter(None, [overridden(matcher, *known[facility])]))
    hits = matcher.match(site if _SEVERAL.search(facility) else facility, "US")
    return [entity for entity in universities(hits) if entity.country == "US"]
