"""Decisions by hand about single names: small tables that say which university something is."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from study.data.institutions.gazetteer import UNIVERSITY, Entity
from study.data.institutions.match import Matcher, universities
from study.data.sources.reading import RESTORE, csv_rows

# What is decided -> (name, country) of the university; an empty name where it is none.
Decided = Mapping[str, tuple[str, str]]


def read(path: Path, item: str) -> dict[str, tuple[str, str]]:
    """Read a table with the columns ``item``, university, country, note.

    Raises
    ------
    DataError
        If it is missing, has another heading, or decides twice about one item.
    """
    rows = csv_rows(path, (item, "university", "country", "note"), unique=(item,), remedy=RESTORE)
    return {row[item]: (row["university"], row["country"]) for _, row in rows}


def university(matcher: Matcher, name: str, country: str) -> Entity | None:
    """Return the university of a decision under its canonical name, None where the decision is that it is none."""
    if not name:
        return None
    return next(iter(universities(matcher.match(name, country))), Entity(name, UNIVERSITY, country))
