"""Which universities a paper or a machine is credited to."""

from __future__ import annotations

import csv
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from study.errors import DataError
from study.institutions.gazetteer import UNIVERSITY, Entity, Gazetteer
from study.institutions.match import Hit, Matcher
from study.institutions.names import clean

Sites = Mapping[tuple[str, str], tuple[Hit, ...]]


@dataclass(frozen=True)
class Paper:
    """What is kept of one paper: where it appeared, who signed it, and whether anything is known of that."""

    venue: str
    year: int
    universities: frozenset[Entity]
    company: bool
    affiliated: bool


def match_papers(papers: pd.DataFrame, matcher: Matcher) -> tuple[list[Paper], Counter[Hit]]:
    """Match the affiliations of all papers; return the papers and in how many of them each piece stands.

    Mail domains are used for no CVPR paper: from 2020 on the files have none, and a rule that could
    use them only before would break the outcome there.
    """
    signed: list[Paper] = []
    segments: Counter[Hit] = Counter()
    columns = ("venue", "year", "aff", "aff_domain")
    for venue, year, text, mail in zip(*(papers[name] for name in columns), strict=True):
        authors = [author.strip() for author in clean(text).split(";")]
        domains = [domain.strip() for domain in mail.split(";")]
        if venue == "cvpr" or len(domains) != len(authors):
            domains = [""] * len(authors)
        hits: dict[Hit, None] = {}
        for author, domain in zip(authors, domains, strict=True):
            if author:
                hits.update(dict.fromkeys(_match_author(matcher, author, domain)))
        entities = {hit.entity for hit in hits if hit.entity is not None}
        signed.append(
            Paper(
                venue,
                int(year),
                frozenset(entity for entity in entities if entity.kind == UNIVERSITY),
                any(entity.kind == "company" for entity in entities),
                any(authors),
            )
        )
        segments.update(hits.keys())
    return signed, segments


def _match_author(matcher: Matcher, text: str, domain: str) -> tuple[Hit, ...]:
    hits = matcher.match(text)
    if domain and all(hit.entity is None for hit in hits):
        entity = matcher.domain(domain)
        if entity is not None:
            return (*hits, Hit(domain, entity, "domain"))
    return hits


def match_sites(
    systems: pd.DataFrame, matcher: Matcher, decided: Sites
) -> dict[tuple[str, str], tuple[Hit, ...]]:
    """Match the sites of systems; keys are (site, ISO2 country), values what is credited."""
    found: dict[tuple[str, str], tuple[Hit, ...]] = {}
    for site, country, month in zip(systems["site"], systems["country"], systems["list"], strict=True):
        iso2 = matcher.gazetteer.country(country, f"TOP500 {month}")
        if (site, iso2) not in found:
            decision = decided.get((site, iso2))
            found[site, iso2] = _credited(matcher.match(site, iso2), iso2) if decision is None else decision
    return found


def _credited(hits: Iterable[Hit], country: str) -> tuple[Hit, ...]:
    """Return what a site is credited to: national centres, else universities of its country, else the rest."""
    known = {hit.entity: hit for hit in hits if hit.entity is not None}
    national = [entity for entity in known if entity.kind == "national_centre"]
    universities = [entity for entity in known if entity.kind == UNIVERSITY and entity.country == country]
    others = [entity for entity in known if entity.kind != UNIVERSITY]
    # A national centre serves a country, also where its host stands beside it.
    chosen = national or universities or others
    return tuple(known[entity] for entity in sorted(chosen, key=lambda entity: entity.name))


def decisions(path: Path, gazetteer: Gazetteer) -> dict[tuple[str, str], tuple[Hit, ...]]:
    """Read the decisions about single sites that no general rule could take."""
    found: dict[tuple[str, str], tuple[Hit, ...]] = {}
    by_name: dict[str, set[Entity]] = defaultdict(set)
    for entity in (entity for entities in gazetteer.exact.values() for entity in entities):
        by_name[entity.name].add(entity)
    with path.open(encoding="utf-8", newline="") as stream:
        reader = csv.DictReader(stream)
        if reader.fieldnames != ["site", "country", "university", "note"]:
            raise DataError(f"{path.name}, line 1: the heading must be site,country,university,note.")
        for row in reader:
            site, country, name = row["site"], row["country"], row["university"]
            entities = by_name.get(name, set())
            chosen = [entity for entity in entities if entity.country == country or len(entities) == 1]
            if name and not chosen:
                raise DataError(
                    f'{path.name}: university "{name}" is unknown; correct line {reader.line_num}.'
                )
            found[site, country] = (
                *found.get((site, country), ()),
                *(Hit(site, entity, "decision") for entity in chosen),
            )
    return found
