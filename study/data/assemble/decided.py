"""Decisions by hand about single names: small tables that say which university something is."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from pathlib import Path

from study.core import DataError
from study.data.institutions import Entity, Matcher
from study.data.institutions.gazetteer import UNIVERSITY

# What is decided -> (name, country) of the university; an empty name where it is none.
Decided = Mapping[str, tuple[str, str]]


def read(path: Path, item: str) -> dict[str, tuple[str, str]]:
    """Read a table with the columns ``item``, university, country, note.

    Raises
    ------
    DataError
        If it is missing, has another heading, or decides twice about one item.
    """
    heading = [item, "university", "country", "note"]
    found: dict[str, tuple[str, str]] = {}
    if not path.is_file():
        raise DataError(f"{path.name} is missing in {path.parent}; restore it from the repository.")
    with path.open(encoding="utf-8", newline="") as stream:
        reader = csv.DictReader(stream)
        if reader.fieldnames != heading:
            raise DataError(f"{path.name}, line 1: the heading must be {','.join(heading)}.")
        for row in reader:
            if row[item] in found:
                raise DataError(
                    f'{path.name}, line {reader.line_num}: "{row[item]}" is there twice; keep one.'
                )
            found[row[item]] = row["university"], row["country"]
    return found


def university(matcher: Matcher, name: str, country: str) -> Entity | None:
    """Return the university of a decision under its canonical name, None where the decision is that it is none."""
    if not name:
        return None
    hits = matcher.match(name, country)
    found = (hit.entity for hit in hits if hit.entity is not None and hit.entity.kind == UNIVERSITY)
    return next(found, Entity(name, UNIVERSITY, country))
