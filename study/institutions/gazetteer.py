"""The institutions that are known: two curated tables and the list of world universities, under one index."""

from __future__ import annotations

import csv
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from study.errors import DataError
from study.institutions.names import key
from study.institutions.names import words as word_set

UNIVERSITY = "university"
KINDS = (UNIVERSITY, "company", "national_centre", "research_institute", "government")

# Words of which many names consist; a name of nothing else ("Institute of Technology") identifies nobody.
GENERIC = word_set(
    "university universitat universite universidad universita universiteit institute institut instituto college "
    "school academy national international state technical technology science sciences of and for de la di "
    "des del medical engineering polytechnic faculty department center research graduate higher federal central "
    "business management arts applied law education health medicine tecnologia computer studies advanced "
    "northern southern eastern western american european city open free new general information system systems "
    "laboratory laboratories labs study"
)

# Of these words alone not even a curated name may consist.
_EMPTY = word_set(
    "university institute college school department center research laboratory laboratories and of"
)

# Names of systems of universities: without its campus such a name is nobody's.
SYSTEMS = frozenset(
    (
        "university of california",
        "university of texas",
        "state university of new york",
        "city university of new york",
        "university of london",
        "university of wales",
        "indian institute of technology",
        "national institute of technology",
        "national university of ireland",
    )
)

# Native forms for which the list of universities has no English name.
_NATIVE = (
    ("universitat ", "university of "),
    ("universite de ", "university of "),
    ("universita degli studi di ", "university of "),
    ("universita di ", "university of "),
    ("universidad de ", "university of "),
    ("universidade de ", "university of "),
    ("universidade do ", "university of "),
    ("universiteit van ", "university of "),
    ("universidade federal do ", "federal university of "),
    ("universidade federal de ", "federal university of "),
    ("universidad nacional de ", "national university of "),
    ("technische universitat ", "technical university of "),
)

# Names that the publisher of the supercomputer lists spells in other ways than the list of universities.
_COUNTRIES = {
    "korea south": "KR",
    "south korea": "KR",
    "korea": "KR",
    "republic of korea": "KR",
    "russia": "RU",
    "saudia arabia": "SA",
    "slovak republic": "SK",
    "czechia": "CZ",
    "taiwan": "TW",
    "turkey": "TR",
    "venezuela": "VE",
    "usa": "US",
    "us": "US",
    "uk": "GB",
    "england": "GB",
    "scotland": "GB",
    "uae": "AE",
    "pr china": "CN",
    "p r china": "CN",
    "prc": "CN",
    "netherlands": "NL",
    "deutschland": "DE",
    "vietnam": "VN",
    "iran": "IR",
}


@dataclass(frozen=True)
class Entity:
    """An institution: canonical name, kind (one of KINDS), ISO2 country (empty for organisations)."""

    name: str
    kind: str
    country: str


@dataclass(frozen=True, eq=False)
class Gazetteer:
    """All known institutions and the ways to find them.

    Attributes
    ----------
    exact : dict
        Lookup form -> the institutions of that name, curated ones first.
    curated : frozenset of Entity
        The institutions of the curated tables.
    whole : frozenset of str
        Forms that count only where they are a whole piece of an affiliation.
    domains : dict
        Internet domain -> university.
    words : frozenset of str
        Words of all names of two words or more: a word among them is no misspelling of another.
    countries : dict
        Lookup form of a country's name -> ISO2.
    """

    exact: dict[str, tuple[Entity, ...]]
    curated: frozenset[Entity]
    whole: frozenset[str]
    domains: dict[str, Entity]
    words: frozenset[str]
    countries: dict[str, str]

    def country(self, name: str, where: str) -> str:
        """Return the ISO2 code of a country's name."""
        code = self.countries.get(key(name))
        if code is None:
            raise DataError(f'{where}: country "{name}" is unknown; correct it, or add it to the gazetteer.')
        return code


def load(institutions: Path, organisations: Path, universities: pd.DataFrame) -> Gazetteer:
    """Build the gazetteer from the curated tables and the list of universities (``sources.universities``).

    Raises
    ------
    DataError
        If a curated table is malformed or gives one name to two institutions of a country.
    """
    exact: dict[str, list[Entity]] = defaultdict(list)
    whole: set[str] = set()
    for line, (name, country, aliases) in _rows(institutions, ("name", "country", "aliases")):
        entity = Entity(name, UNIVERSITY, country)
        if len(country) != 2:
            raise DataError(
                f'{institutions.name}, line {line}: country "{country}" is no ISO2 code; correct it.'
            )
        _add(exact, whole, entity, aliases, f"{institutions.name}, line {line}")
    for line, (name, kind, aliases) in _rows(organisations, ("name", "kind", "aliases")):
        if kind not in KINDS[1:]:
            raise DataError(
                f'{organisations.name}, line {line}: kind "{kind}" is none of {", ".join(KINDS[1:])}.'
            )
        _add(exact, whole, Entity(name, kind, ""), aliases, f"{organisations.name}, line {line}")
    curated = frozenset(entity for found in exact.values() for entity in found)
    countries = {
        key(name): code for name, code in zip(universities["country"], universities["iso2"], strict=True)
    }
    countries.update(_COUNTRIES)
    domains = _add_universities(exact, universities, set(countries))
    words = frozenset(word for form in exact if " " in form for word in form.split())
    names = {form: tuple(found) for form, found in exact.items() if found}
    return Gazetteer(names, curated, frozenset(whole), domains, words, countries)


def _rows(path: Path, columns: tuple[str, str, str]) -> Iterable[tuple[int, tuple[str, str, str]]]:
    if not path.is_file():
        raise DataError(f"{path.name} is missing in {path.parent}; restore it from the repository.")
    with path.open(encoding="utf-8", newline="") as stream:
        reader = csv.reader(stream)
        if tuple(next(reader, ())) != columns:
            raise DataError(f"{path.name}, line 1: the heading must be {','.join(columns)}.")
        for row in reader:
            if len(row) != 3 or not row[0].strip():
                raise DataError(
                    f"{path.name}, line {reader.line_num}: three fields are expected, quote commas."
                )
            yield reader.line_num, (row[0], row[1], row[2])


def _add(exact: dict[str, list[Entity]], whole: set[str], entity: Entity, aliases: str, where: str) -> None:
    for alias in [entity.name, *filter(None, aliases.split("|"))]:
        form = key(alias.removeprefix("="))
        if set(form.split()) <= _EMPTY:
            raise DataError(f'{where}: "{alias}" identifies nobody; remove it.')
        if alias.startswith("="):
            whole.add(form)
        holders = exact[form]
        if entity in holders:
            continue
        for other in holders:
            if entity.kind != UNIVERSITY or other.kind != UNIVERSITY or other.country == entity.country:
                raise DataError(f'{where}: "{alias}" is also a name of {other.name}; keep it at one of them.')
        holders.append(entity)


def _add_universities(
    exact: dict[str, list[Entity]], universities: pd.DataFrame, places: set[str]
) -> dict[str, Entity]:
    """Add the list behind the curated names, and return the domains; same name or domain, same university."""
    rows = list(zip(universities["name"], universities["iso2"], universities["domains"], strict=True))
    domains: dict[str, Entity] = {}
    later = []
    for name, iso2, names in rows:
        entity = _holder(exact, _forms(name), iso2)
        if entity is None:
            later.append((name, iso2, names))
        else:
            domains.update({domain: entity for domain in names if domain not in domains})
    added: list[tuple[str, Entity]] = []
    for name, iso2, names in later:
        forms = [
            form
            for form in _forms(name)
            if not set(form.split()) <= GENERIC and form not in places and form not in SYSTEMS
        ]
        entity = next((domains[domain] for domain in names if domain in domains), None)
        entity = entity if entity is not None and entity.country == iso2 else _holder(exact, forms, iso2)
        entity = entity or Entity(name, UNIVERSITY, iso2)
        domains.update({domain: entity for domain in names if domain not in domains})
        for form in forms:
            holders = exact[form]
            # An organisation of that name was curated as no university, and stays so.
            if entity not in holders and all(other.kind == UNIVERSITY for other in holders):
                holders.append(entity)
                added.append((form, entity))
    for form, entity in added:
        for native, english in _NATIVE:
            if form.startswith(native):
                translated = english + form.removeprefix(native)
                if translated not in exact:
                    exact[translated].append(entity)
    _add_turned(exact)
    return domains


def _add_turned(exact: dict[str, list[Entity]]) -> None:
    """Add "university of X" for "X university" and the reverse, where the turned name is nobody's own."""
    turned: dict[str, list[Entity]] = defaultdict(list)
    for form, entities in exact.items():
        words = form.split()
        if len(words) == 2 and words[1] == "university":
            other = f"university of {words[0]}"
        elif len(words) == 3 and words[:2] == ["university", "of"]:
            other = f"{words[2]} university"
        else:
            continue
        if other not in exact and not set(words) <= GENERIC:
            turned[other] = [entity for entity in entities if entity.kind == UNIVERSITY]
    exact.update(turned)


def _forms(name: str) -> list[str]:
    """Return the lookup forms of a listed name: as it is, and without what stands in brackets."""
    plain = name.split("(")[0]
    return list(dict.fromkeys(form for form in (key(name), key(plain)) if form))


def _holder(exact: dict[str, list[Entity]], forms: list[str], iso2: str) -> Entity | None:
    for form in forms:
        for entity in exact.get(form, ()):
            if entity.kind == UNIVERSITY and entity.country == iso2:
                return entity
    return None
