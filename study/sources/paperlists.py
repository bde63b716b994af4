"""Lists of papers with affiliations: one JSON file a venue and year (plain or gzip) into one table of papers."""

from __future__ import annotations

import gzip
import json
import re
import zlib
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pandas as pd

from study.errors import DataError

COLUMNS = ("venue", "year", "row", "status", "track", "aff", "aff_domain")

# Statuses of submissions that did not become papers, and of none at all (demos listed beside the papers).
_NOT_PUBLISHED = re.compile(r"reject|withdr|^$", re.IGNORECASE)


def locate(folder: Path, venue: str, year: int) -> Path:
    """Return the file of a venue and year, plain or compressed.

    Raises
    ------
    DataError
        If neither or both are there.
    """
    stem = folder / venue / f"{venue}{year}.json"
    found = [path for path in (stem, stem.with_name(stem.name + ".gz")) if path.is_file()]
    if not found:
        raise DataError(f"paperlists: {venue}/{stem.name} is missing in {folder}; download it into {venue}/.")
    if len(found) == 2:
        raise DataError(f"paperlists: {venue}/{stem.name} is there plain and as .gz; keep one of them.")
    return found[0]


def read_file(path: Path, venue: str, year: int) -> pd.DataFrame:
    """Read one file; titles, authors, abstracts and addresses are not taken over.

    Returns
    -------
    DataFrame
        One row a record: venue, year, row (position in the file, from 1), status, track, aff
        (affiliations as given), aff_domain (mail domains as given, or empty).

    Raises
    ------
    DataError
        If the file is empty, truncated, no JSON, no list of records, or a field is of another type.
    """
    try:
        records = json.loads(_text(path))
    except json.JSONDecodeError as error:
        raise DataError(
            f"{path.name}: broken JSON at character {error.pos} (line {error.lineno}): {error.msg}; download it again."
        ) from None
    if not isinstance(records, list) or not records:
        raise DataError(f"{path.name}: holds no list of papers; is this a file of paperlists?")
    rows = [_row(path.name, venue, year, number, record) for number, record in enumerate(records, start=1)]
    return pd.DataFrame(rows, columns=list(COLUMNS))


def read(
    folder: Path, files: Iterable[tuple[str, int]], progress: Callable[[str], None] | None = None
) -> pd.DataFrame:
    """Read the files of the given (venue, year) pairs into one table; all must be there before one is read."""
    paths = {(venue, year): locate(folder, venue, year) for venue, year in files}
    tables = []
    for (venue, year), path in paths.items():
        if progress is not None:
            progress(f"{venue} {year}")
        tables.append(read_file(path, venue, year))
    return pd.concat(tables, ignore_index=True)


def published(papers: pd.DataFrame, track: str = "main") -> pd.DataFrame:
    """Return the rows of accepted papers of a track: no rejected, withdrawn or unlabelled submissions."""
    dropped = papers["status"].str.contains(_NOT_PUBLISHED)
    return papers[(papers["track"] == track) & ~dropped].reset_index(drop=True)


def _text(path: Path) -> str:
    if path.stat().st_size == 0:
        raise DataError(f"{path.name}: the file is empty; download it again.")
    content = path.read_bytes()
    if content[:2] == b"\x1f\x8b":
        try:
            content = gzip.decompress(content)
        except (EOFError, OSError, zlib.error) as error:
            raise DataError(
                f"{path.name}: truncated or damaged gzip within its {len(content)} bytes ({error}); download it again."
            ) from None
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError as error:
        raise DataError(f"{path.name}: byte {error.start} is not UTF-8; download it again.") from None


def _row(
    file: str, venue: str, year: int, number: int, record: Any
) -> tuple[str, int, int, str, str, str, str]:
    if not isinstance(record, dict):
        raise DataError(f"{file}, record {number}: is no object with fields; download it again.")

    def field(name: str) -> str:
        value = record.get(name)
        if value is None:
            return ""
        if not isinstance(value, str):
            raise DataError(
                f'{file}, record {number}: field "{name}" holds {type(value).__name__}, text is expected; '
                "download it again."
            )
        return value

    return venue, year, number, field("status"), field("track"), field("aff"), field("aff_domain")
