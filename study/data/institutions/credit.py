"""Which universities a paper or a machine is credited to."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from study.core import DataError
from study.data.institutions import NOBODY, UNIVERSITY, Entity, Gazetteer, Hit, Matcher, universities
from study.data.institutions.gazetteer import clean, key, word_set
from study.data.sources import RESTORE, csv_rows

# Name of a site and ISO2 code of its country.
Site = tuple[str, str]
Sites = Mapping[Site, tuple[Hit, ...]]

# The columns that name a university in every table.
UNIT = ["university", "country"]
# Those that a table of events has.
DATED = [*UNIT, "event", "date", "left_censored", "detail"]
_OF_HIT = ["institution", "country_of_institution", "kind", "method", "score"]

# Venues all of whose files have mail domains. In the others a rule that could use them in some years only would
# break the outcome where they end (CVPR and ICCV have none from 2020 on).
WITH_DOMAINS = word_set(
    "3dv acl acml acmmm ai4x aistats alt coling colm colt corl emnlp icml ijcai naacl rss wacv www"
)


@dataclass(frozen=True, eq=False)
class Signed:
    """Who signed which papers.

    Attributes
    ----------
    papers : DataFrame
        One row a paper, in the order given: affiliated (an author has an affiliation), ordered (each affiliation
        can be told to its author), university, institute (a research institute or national centre), company.
    signatures : DataFrame
        One row a paper and university: paper (row number in ``papers``), university, country, first, last (whether
        the first, the last author is there; only where ordered).
    pieces : Counter of Hit
        In how many papers each piece of an affiliation stands.
    """

    papers: pd.DataFrame
    signatures: pd.DataFrame
    pieces: Counter[Hit]


def match_papers(papers: pd.DataFrame, matcher: Matcher) -> Signed:
    """Match the affiliations of all papers (columns venue, author, aff, aff_domain of ``sources.paperlists``)."""
    rows = []
    signatures: list[tuple[int, str, str, bool, bool]] = []
    pieces: Counter[Hit] = Counter()
    # A list of texts is read several times as fast as a column of them.
    columns = [papers[name].tolist() for name in ("venue", "author", "aff", "aff_domain")]
    for paper, (venue, author, aff, mail) in enumerate(zip(*columns, strict=True)):
        by_author = _hits_by_author(matcher, venue, aff, mail)
        hits = dict.fromkeys(hit for author_hits in by_author for hit in author_hits)
        kinds = {hit.entity.kind for hit in hits if hit.entity is not None}
        institute = not kinds.isdisjoint({"research_institute", "national_centre"})
        ordered = len(by_author) in (1, count_authors(author))
        rows.append((any(by_author), ordered, UNIVERSITY in kinds, institute, "company" in kinds))
        first, last = (universities(by_author[end]) if ordered else [] for end in (0, -1))
        for university in universities(hits):
            position = (university in first, university in last)
            signatures.append((paper, university.name, university.country, *position))
        pieces.update(hits.keys())
    return Signed(
        pd.DataFrame(rows, columns=["affiliated", "ordered", "university", "institute", "company"]),
        pd.DataFrame(signatures, columns=["paper", "university", "country", "first", "last"]),
        pieces,
    )


def count_authors(names: str) -> int:
    """Return the number of authors of a list parted by ";", or by "," where there is none; a repeated name counts once.

    >>> count_authors("A. Ito;B. Roy;A. Ito;B. Roy"), count_authors("A. Ito, B. Roy")
    (2, 2)
    """
    return len({name.strip() for name in names.split(";" if ";" in names else ",")})


def _hits_by_author(matcher: Matcher, venue: str, aff: str, mail: str) -> list[tuple[Hit, ...]]:
    """Return what each part of a paper's affiliations is, nothing for an empty part."""
    parts = [part.strip() for part in clean(aff).split(";")]
    domains = [domain.strip() for domain in mail.split(";")]
    if venue not in WITH_DOMAINS or len(domains) != len(parts):
        domains = [""] * len(parts)
    by_author: list[tuple[Hit, ...]] = []
    for part, domain in zip(parts, domains, strict=True):
        hits = matcher.match(part)
        entity = matcher.domain(domain) if part and all(hit.entity is None for hit in hits) else None
        by_author.append(hits if entity is None else (*hits, Hit(domain, entity, "domain")))
    return by_author


def match_sites(systems: pd.DataFrame, matcher: Matcher, overrides: Sites) -> dict[Site, tuple[Hit, ...]]:
    """Match the sites of systems; keys are (site, ISO2 country), values what is credited."""
    sites = dict.fromkeys(zip(systems["site"], systems["country"], strict=True))
    credited = {site: _credited(matcher.match(*site), site[1]) for site in sites}
    return credited | {site: overrides[site] for site in sites if site in overrides}


def _credited(hits: Iterable[Hit], country: str) -> tuple[Hit, ...]:
    """Return what a site is credited to: national centres, else universities of its country, else the rest."""
    known = {hit.entity: hit for hit in hits if hit.entity is not None}
    national = [entity for entity in known if entity.kind == "national_centre"]
    universities = [entity for entity in known if entity.kind == UNIVERSITY and entity.country == country]
    others = [entity for entity in known if entity.kind != UNIVERSITY]
    # A national centre serves a country, also where its host stands beside it.
    chosen = national or universities or others
    return tuple(known[entity] for entity in sorted(chosen, key=lambda entity: entity.name))


def by_university(table: pd.DataFrame, credited: Sequence[Sequence[Entity]]) -> pd.DataFrame:
    """Return each row of a table once for each university credited with it, whose university and country it gets."""
    rows = table.assign(university=credited).explode("university", ignore_index=True)
    rows = rows.dropna(subset="university", ignore_index=True)
    entities = list(rows["university"])
    return rows.assign(
        university=[entity.name for entity in entities], country=[entity.country for entity in entities]
    )


def first_events(rows: Mapping[str, pd.DataFrame], *more: str) -> pd.DataFrame:
    """Return the first row of each university as its event, by university and event.

    Parameters
    ----------
    rows : mapping of str to DataFrame
        By event the rows that are one, the earliest first, with the columns :data:`DATED` but for the event's name.
    *more : str
        Columns that the table has too.
    """
    first = pd.concat([table.drop_duplicates(UNIT).assign(event=event) for event, table in rows.items()])
    return first[[*DATED, *more]].sort_values([*UNIT, "event"], ignore_index=True)


def decisions(path: Path, gazetteer: Gazetteer) -> dict[Site, tuple[Hit, ...]]:
    """Read the decisions about single sites that no general rule could take."""
    overrides: dict[Site, tuple[Hit, ...]] = {}
    for line, row in csv_rows(path, ("site", "country", "university", "note"), remedy=RESTORE):
        site, country, name = row["site"], row["country"], row["university"]
        named = [entity for entity in gazetteer.exact.get(key(name), ()) if entity.name == name]
        chosen = [entity for entity in named if entity.country == country or len(named) == 1]
        if name and not chosen:
            raise DataError(f'{path.name}: university "{name}" is unknown; correct line {line}.')
        hits = (Hit(site, entity, "decision") for entity in chosen)
        overrides[site, country] = (*overrides.get((site, country), ()), *hits)
    return overrides


def sites_crosswalk(matched: Sites) -> pd.DataFrame:
    """Return one row a site of a supercomputer and institution, or one without where none was found."""
    records = [
        (*site, *_of_hit(hit))
        for site, hits in sorted(matched.items())
        for hit in hits or (Hit(site[0], None, "unmatched"),)
    ]
    return pd.DataFrame(records, columns=["site", "country", *_OF_HIT])


def affiliations_crosswalk(pieces: Mapping[Hit, int]) -> pd.DataFrame:
    """Return every piece of an affiliation that was matched, and what stayed unmatched in several papers."""
    # Below three papers most unmatched pieces name a person's own unit or street.
    records = [
        (hit.piece, *_of_hit(hit), count)
        for hit, count in pieces.items()
        if hit.entity is not None or (hit.method in ("ambiguous", "unmatched") and count >= 3)
    ]
    table = pd.DataFrame(records, columns=["segment", *_OF_HIT, "papers"])
    return table.sort_values(["segment", "institution", "country_of_institution"], ignore_index=True)


def _of_hit(hit: Hit) -> tuple[str, str, str, str, str]:
    entity = hit.entity or NOBODY
    return entity.name, entity.country, entity.kind, hit.method, f"{hit.score:.1f}"
