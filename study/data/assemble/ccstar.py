"""The first campus resource of the CC* programme that each university registered in the Open Science Grid."""

from __future__ import annotations

import re

import pandas as pd

from study.data.institutions import UNIT, Entity, Matcher, Overrides, by_university, first_events

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
        Facility -> university or None, before the rule.

    Returns
    -------
    DataFrame
        One row a university, by name: university, country, event ("first_ccstar"), date ("YYYY-MM"),
        left_censored, detail (the group). left_censored is 1 where the date of one of its groups is not
        known, so that the true date may be an earlier one; ``date`` is then that of the first dated group, or
        of the newest registration of the whole table where none is dated.
    """
    tagged = resources[resources["ccstar_resources"] > 0]
    places = zip(tagged["facility"], tagged["site"], strict=True)
    rows = by_university(tagged, [_universities(*place, matcher, known) for place in places])
    rows["undated"] = rows["first_registered"] == ""
    rows["left_censored"] = rows.groupby(UNIT)["undated"].transform("any").astype(int)
    day = rows["first_registered"].mask(rows["undated"], tagged["first_registered"].max())
    rows = rows.assign(date=day.str[:7], detail=rows["group"])
    return first_events({"first_ccstar": rows.sort_values(["undated", "first_registered"], kind="stable")})


def _universities(facility: str, site: str, matcher: Matcher, known: Overrides) -> list[Entity]:
    """Return the universities of a group; only those of the United States, whose programme it is."""
    if facility in known:
        return list(filter(None, [known[facility]]))
    named = matcher.universities(site if _SEVERAL.search(facility) else facility, "US")
    return [entity for entity in named if entity.country == "US"]
