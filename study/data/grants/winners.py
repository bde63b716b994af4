"""Whose an award is: awardees matched to universities, and the first awards of each university as events."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd

from study.data.grants.bought import CC, CLUSTER, CRI, MRI, OTHER, OTHER_INSTRUMENT
from study.data.institutions import NOBODY, TERRITORIES, UNIT, Entity, Matcher, Overrides, first_events

# Programmes whose awards are one contest's, their events (first cluster, with accelerators, other instrument) and role.
CONTESTS = (
    ((MRI, CC), ("first_cluster_grant", "first_gpu_grant", "first_other_instrument"), "nsf_role"),
    ((CRI,), ("first_cri_cluster", "first_cri_gpu", "first_cri_other"), "cri_role"),
)
EVENTS = tuple(event for _, events, _ in CONTESTS for event in events)
CLUSTERS = tuple(events[0] for _, events, _ in CONTESTS)

_MOVED = pd.Timedelta(days=365)
_AWARDS = [
    "award_id", "university", "country", "awardee", "state", "programme", "contest", "kind", "accelerators", "amount",
    "effective", "letter", "title", "collaborative", "reissue_of", "reason",
]  # fmt: skip


def university(record: Mapping[str, str], matcher: Matcher, by_hand: Overrides) -> Entity | None:
    """Return the university of an award: by hand, else the one that the awardee names, else where the work is done.

    None if the awardee is no university, or several are named.
    """
    place = (record["awardee"], record["state"])
    if place in by_hand:
        return by_hand[place]
    country = record["state"] if record["state"] in TERRITORIES else "US"
    for name in (record["awardee"], record["performer"]):
        named = [entity for entity in matcher.universities(name, country) if entity.country == country]
        if named:
            return named[0] if len(named) == 1 else None
    return None


def awards_table(classified: pd.DataFrame, matcher: Matcher, by_hand: Overrides) -> pd.DataFrame:
    """Return the awards that ship: no abstracts, no names of persons.

    Returns
    -------
    DataFrame
        One row an award of MRI, CC* or CRI, by number: award_id, university and country (empty where the awardee
        matched none), awardee, state, programme, contest, kind, accelerators (0/1: named in title or
        abstract), amount (dollars obligated so far), effective, letter, title, collaborative (0/1: one of several
        awards for one project), reissue_of, reason.
    """
    records = classified.to_dict("records")
    entities = [university(record, matcher, by_hand) or NOBODY for record in records]
    table = classified.assign(
        university=[entity.name for entity in entities],
        country=[entity.country for entity in entities],
        accelerators=(classified["accelerators"] != "").astype(int),
        amount=classified["amount"].round().astype(int),
        collaborative=classified["collaborative"].astype(int),
    )
    return table[_AWARDS].sort_values("award_id", ignore_index=True)


def events(awards: pd.DataFrame) -> pd.DataFrame:
    """Return each university's first cluster, first cluster naming accelerators and first other instrument by contest.

    Awards outside of any contest (rapid response, meetings) are no wins. Each campus of a collaborative
    project has an award, and so an event, of its own. A re-issue is no second win: where the project moved within
    a year of its beginning, the award counts for the later university, which got the machine; where it moved
    later, for the first one. A first award of the contests of the first fiscal year in the table is marked as
    left-censored: the university may have had one before.

    Parameters
    ----------
    awards : DataFrame
        Of ``awards_table``.

    Returns
    -------
    DataFrame
        university, country, event, date ("YYYY-MM", the effective date), left_censored (0/1), detail, and of
        that award: award_id, programme, contest, amount, letter; sorted by university and event.
    """
    won = _won(awards)
    # A number begins with the fiscal year of the proposal.
    censored = (won["award_id"].str[:2] <= awards["award_id"].str[:2].min()).astype(int)
    won = won.assign(date=won["effective"].str[:7], left_censored=censored, detail=won["title"])
    clusters = won["kind"] == CLUSTER
    kinds = (clusters, clusters & (won["accelerators"] == 1), won["kind"] == OTHER_INSTRUMENT)
    rows = {
        event: won[kind & won["programme"].isin(programmes)]
        for programmes, names, _ in CONTESTS
        for event, kind in zip(names, kinds, strict=True)
    }
    return first_events(rows, "award_id", "programme", "contest", "amount", "letter")


def roles(events: pd.DataFrame) -> pd.DataFrame:
    """Return what each university won in each contest: "cluster" if ever one, else "other_instrument".

    Parameters
    ----------
    events : DataFrame
        Of :func:`events`.

    Returns
    -------
    DataFrame
        university, country and the roles of ``CONTESTS``, empty where a contest brought it nothing; universities
        without an event are not in it.
    """
    places = {
        name: (role, kind)
        for _, (cluster, _, other), role in CONTESTS
        for name, kind in ((cluster, "cluster"), (other, "other_instrument"))
    }
    known = events[events["event"].isin(places)]
    named = pd.DataFrame(known["event"].map(places).tolist(), known.index, ["role", "kind"])
    table = known[UNIT].join(named).sort_values("kind").drop_duplicates([*UNIT, "role"])
    return table.pivot(index=UNIT, columns="role", values="kind").rename_axis(columns=None).reset_index()


def programmes_won(awards: pd.DataFrame) -> pd.DataFrame:
    """Return of which programmes each university won a purchase, of any kind.

    Parameters
    ----------
    awards : DataFrame
        Of :func:`awards_table`.

    Returns
    -------
    DataFrame
        university, country, contests: the programmes in order of the alphabet, joined by "+".
    """
    won = _won(awards)
    of_unit = won[won["kind"] != OTHER].groupby(UNIT)["programme"]
    return of_unit.agg(lambda each: "+".join(sorted(set(each)))).rename("contests").reset_index()


def _won(awards: pd.DataFrame) -> pd.DataFrame:
    """Return the awards of universities in the contests, by date."""
    won = held(awards)
    won = won[(won["university"] != "") & (won["contest"] != "")]
    return won.sort_values(["effective", "award_id"])


def held(awards: pd.DataFrame) -> pd.DataFrame:
    """Return one award for each that was won: the re-issue if it began within a year, else the first issue."""
    began = pd.to_datetime(awards.set_index("award_id")["effective"])
    again = awards[awards["reissue_of"] != ""]
    soon = again["award_id"].map(began) - again["reissue_of"].map(began) <= _MOVED
    moved = again[soon].drop_duplicates("reissue_of")
    late = again.index.difference(moved.index)
    return awards[~awards["award_id"].isin(moved["reissue_of"]) & ~awards.index.isin(late)]
