"""Papers with affiliations (papercopilot/paperlists): one JSON file a venue and year into one table of papers."""

from __future__ import annotations

import gzip
import re
import zlib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import duckdb
import pandas as pd

from study.core import DataError
from study.data.sources.reading import Progress, json_value, silent

if TYPE_CHECKING:
    from study.data.sources.fetching import Fetcher

ADDRESS = "https://raw.githubusercontent.com/papercopilot/paperlists"
BRANCH = "main"

# The files that carry affiliations; one that the publisher adds joins here, so that results do not move by themselves.
FILES: dict[str, tuple[int, ...]] = {
    "3dv": (2025,),
    "aaai": (2021, 2022),
    "acl": (2021, 2022),
    "acml": tuple(range(2010, 2025)),
    "acmmm": (2024,),
    "ai4x": (2025,),
    "aistats": (*range(1995, 2008, 2), *range(2009, 2026)),
    "alt": (2025,),
    "automl": (2022, 2023, 2024),
    "coling": (2020, 2022, 2025),
    "colm": (2024, 2025),
    "colt": tuple(range(2011, 2025)),
    "corl": tuple(range(2021, 2026)),
    "cvpr": tuple(range(2013, 2025)),
    "emnlp": (2023,),
    "iccv": tuple(range(2013, 2024, 2)),
    "iclr": (2021, 2022),
    "icml": (*range(2013, 2020), 2023, 2024),
    "icra": tuple(range(2000, 2024)),
    "ijcai": tuple(range(2020, 2025)),
    "iros": tuple(range(2000, 2024)),
    "naacl": (2021, 2022, 2024),
    "nips": (*range(1987, 2019), 2021),
    "rss": tuple(range(2005, 2026)),
    "siggraph": (2023, 2024, 2025),
    "siggraphasia": tuple(range(2018, 2025)),
    "uai": tuple(range(2019, 2025)),
    "wacv": tuple(range(2020, 2026)),
    "www": (2024, 2025),
}

FIELDS = ("title", "author", "aff", "aff_domain", "track", "status", "primary_area", "keywords")
COLUMNS = ("venue", "year", "row", *FIELDS)

# Statuses of submissions that did not become papers, and of none at all (demos listed beside the papers).
_NOT_PUBLISHED = re.compile(r"reject|withdr|^$", re.IGNORECASE)
_LARGEST_RECORD = 2**28


def fetch(
    raw: Path,
    fetcher: Fetcher,
    *,
    files: Iterable[tuple[str, int]] = (),
    progress: Progress = silent,
    base: str = f"{ADDRESS}/{BRANCH}",
) -> list[Path]:
    """Download the files of the given (venue, year) pairs into ``raw/paperlists/<venue>/``.

    Parameters
    ----------
    raw : Path
        Folder of originals.
    fetcher : Fetcher
    files : iterable of (str, int), optional
        All of :data:`FILES` where none are named.
    progress : callable, optional
        Called with a short text before each file.
    base : str
        Address of the repository's files; a commit in place of the branch gives an older version.
    """
    folder = raw / "paperlists"
    paths = []
    for venue, year in tuple(files) or known_files():
        name = f"{venue}/{venue}{year}.json"
        progress(f"paperlists {venue} {year}")
        if not any(path.is_file() for path in _spellings(folder, venue, year)):
            fetcher.download(f"{base}/{name}", folder / name)
        paths.append(locate(folder, venue, year))
    return paths


def known_files() -> list[tuple[str, int]]:
    """Return all (venue, year) pairs of :data:`FILES`."""
    return [(venue, year) for venue, years in FILES.items() for year in years]


def locate(folder: Path, venue: str, year: int) -> Path:
    """Return the file of a venue and year, plain or compressed.

    Raises
    ------
    DataError
        If neither or both are there.
    """
    plain, compressed = _spellings(folder, venue, year)
    found = [path for path in (plain, compressed) if path.is_file()]
    if not found:
        raise DataError(
            f"paperlists: {venue}/{plain.name} is missing in {folder}; download it into {venue}/."
        )
    if len(found) == 2:
        raise DataError(f"paperlists: {venue}/{plain.name} is there plain and as .gz; keep one of them.")
    return found[0]


def read(folder: Path, files: Iterable[tuple[str, int]], progress: Progress = silent) -> pd.DataFrame:
    """Read the files of the given (venue, year) pairs into one table; all must be there before one is read.

    Returns
    -------
    DataFrame
        One row a record, in the order of the files and of the records in them: venue, year, row (position in
        the file, from 1), title, author, aff (affiliations as given), aff_domain (mail domains as given),
        track, status, primary_area, keywords; text, empty where the record has none.

    Raises
    ------
    DataError
        If a file is missing, empty, truncated, no JSON, no list of records, or a field is of another type.
    """
    paths = {locate(folder, venue, year): (venue, year) for venue, year in files}
    progress(f"{len(paths)} files of papers")
    empty = next((path for path in paths if path.stat().st_size == 0), None)
    if empty is not None:
        raise DataError(f"{empty.name}: the file is empty; download it again.")
    named = [(str(path), venue, year) for path, (venue, year) in paths.items()]
    files_read = pd.DataFrame(named, columns=["path", "venue", "year"])
    table = files_read.merge(_scan(list(paths)), on="path", how="left")
    for path in table.loc[table["title"].isna(), "path"]:
        raise _fault(Path(path), "no record could be read")
    table["row"] = table.groupby("path", sort=False).cumcount() + 1
    return table[list(COLUMNS)]


def published(papers: pd.DataFrame, track: str = "main") -> pd.DataFrame:
    """Return the accepted papers of a track: no rejected, withdrawn or unlabelled submissions, each once.

    A record that repeats title and authors of an earlier one in its file is the same paper; ``repeats``
    says how many there were (0 where the paper stands once).
    """
    dropped = papers["status"].str.contains(_NOT_PUBLISHED)
    kept = papers[(papers["track"] == track) & ~dropped]
    named = (kept["title"] != "") & (kept["author"] != "")
    same = kept.groupby(["venue", "year", "title", "author"], sort=False)["row"]
    repeats = (same.transform("size") - 1).where(named, 0)
    return kept.assign(repeats=repeats)[~named | (same.cumcount() == 0)].reset_index(drop=True)


def _spellings(folder: Path, venue: str, year: int) -> tuple[Path, Path]:
    plain = folder / venue / f"{venue}{year}.json"
    return plain, plain.with_name(plain.name + ".gz")


def _scan(paths: Sequence[Path]) -> pd.DataFrame:
    """Read all files at once; a record's fields stay JSON until their type is known to be text."""
    columns = {field: "JSON" for field in FIELDS}
    kinds = ", ".join(f"json_type({field}) AS {field}_type" for field in FIELDS)
    values = ", ".join(f"coalesce({field} ->> '$', '') AS {field}" for field in FIELDS)
    query = f"""
        SELECT filename AS path, {values}, {kinds}
        FROM read_json(?, columns = {columns}, format = 'array', filename = true,
                       maximum_object_size = {_LARGEST_RECORD})
    """
    with duckdb.connect() as connection:
        try:
            table = connection.execute(query, [[str(path) for path in paths]]).df()
        except duckdb.Error as error:
            raise _first_fault(paths, str(error)) from None
    for field in FIELDS:
        kind = table.pop(f"{field}_type")
        other = kind.notna() & ~kind.isin(["VARCHAR", "NULL"])
        if other.any():
            raise _fault(Path(table["path"][other.idxmax()]), f"a field {field} that is no text")
    return table


def _first_fault(paths: Iterable[Path], message: str) -> DataError:
    """Return the error of the file that the failed scan was about, else of the first with a fault."""
    named = [path for path in paths if str(path) in message]
    for path in named or paths:
        _check(path)
    return DataError(f"paperlists: {message.splitlines()[0]}; download the files again.")


def _fault(path: Path, what: str) -> DataError:
    """Return the error of one file, with the record where a slower reading can name it."""
    _check(path)
    return DataError(f"{path.name}: {what}; download it again.")


def _check(path: Path) -> None:
    """Read one file record by record and raise the error of its first fault, if it has one."""
    content = _content(path)
    if content.lstrip()[:1] == b"<":
        raise DataError(f"{path.name}: this is a web page and no JSON; download it again.")
    records = json_value(content, path.name)
    if not isinstance(records, list) or not records:
        raise DataError(f"{path.name}: holds no list of papers; is this a file of paperlists?")
    for number, record in enumerate(records, start=1):
        _check_record(path.name, number, record)


def _content(path: Path) -> bytes:
    content = path.read_bytes()
    if content[:2] != b"\x1f\x8b":
        return content
    try:
        return gzip.decompress(content)
    except (EOFError, OSError, zlib.error) as error:
        raise DataError(
            f"{path.name}: truncated or damaged gzip within its {len(content)} bytes ({error}); download it again."
        ) from None


def _check_record(file: str, number: int, record: Any) -> None:
    if not isinstance(record, Mapping):
        raise DataError(f"{file}, record {number}: is no object with fields; download it again.")
    for field in FIELDS:
        value = record.get(field)
        if value is not None and not isinstance(value, str):
            raise DataError(
                f'{file}, record {number}: field "{field}" holds {type(value).__name__}, text is expected; '
                "download it again."
            )
