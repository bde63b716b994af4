"""Papers with affiliations (papercopilot/paperlists): one JSON file a venue and year into one table of papers."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from pathlib import Path

import pandas as pd

from study.core import DataError, tell
from study.data.sources import Fetcher, damaged, json_file, only_one

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

FIELDS = ("title", "author", "aff", "aff_domain", "track", "status")
COLUMNS = ("venue", "year", "row", *FIELDS)

# Statuses of submissions that did not become papers.
_NOT_PUBLISHED = re.compile(r"reject|withdr", re.IGNORECASE)
# Records with neither track nor status are papers of the proceedings in no session, but demonstrations here.
DEMONSTRATIONS = "cvpr 2022"


def fetch(raw: Path, fetcher: Fetcher, *, version: str = BRANCH) -> list[Path]:
    """Download all of :data:`FILES` into ``raw/paperlists/<venue>/``, but for those that are there.

    Parameters
    ----------
    raw : Path
        Folder of originals.
    fetcher : Fetcher
    version : str
        Branch or commit.
    """
    names = [f"{venue}/{venue}{year}.json" for venue, year in known_files()]
    return [fetcher.download(f"{ADDRESS}/{version}/{name}", raw / "paperlists" / name) for name in names]


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
    return only_one(folder / venue, f"{venue}{year}.json")


def read(folder: Path, files: Iterable[tuple[str, int]]) -> pd.DataFrame:
    """Read the files of the given (venue, year) pairs into one table; all must be there before one is read.

    Returns
    -------
    DataFrame
        One row a record, in the order of the files and of the records in them: venue, year, row (position in
        the file, from 1), title, author, aff (affiliations as given), aff_domain (mail domains as given),
        track, status; text, empty where the record has none.

    Raises
    ------
    DataError
        If a file is missing, empty, truncated, no JSON, no list of records, or a field is of another type.
    """
    places = [(locate(folder, venue, year), venue, year) for venue, year in files]
    tell(f"{len(places)} files of papers")
    rows = [
        (venue, year, row, *texts)
        for path, venue, year in places
        for row, texts in enumerate(_records(path), start=1)
    ]
    return pd.DataFrame(rows, columns=COLUMNS)


def published(papers: pd.DataFrame) -> pd.DataFrame:
    """Return the accepted papers of the main track: no rejected or withdrawn submissions, each once.

    A record that repeats title and authors of an earlier one in its file is the same paper; ``repeats``
    says how many there were (0 where the paper stands once).
    """
    unlabelled = (papers["track"] == "") & (papers["status"] == "")
    edition = papers["venue"] + " " + papers["year"].astype(str)
    main = (papers["track"] == "main") & (papers["status"] != "") | unlabelled & (edition != DEMONSTRATIONS)
    accepted = papers[main & ~papers["status"].str.contains(_NOT_PUBLISHED)]
    named = (accepted["title"] != "") & (accepted["author"] != "")
    same = accepted.groupby(["venue", "year", "title", "author"], sort=False)["row"]
    accepted = accepted.assign(repeats=(same.transform("size") - 1).where(named, 0))
    return accepted[~named | (same.cumcount() == 0)].reset_index(drop=True)


def _records(path: Path) -> Iterator[list[str]]:
    """Yield the fields of each record of a file."""
    records = json_file(path)
    if not isinstance(records, list) or not records:
        raise DataError(f"{path.name}: holds no list of papers; is this a file of paperlists?")
    for number, record in enumerate(records, start=1):
        where = f"{path.name}, record {number}"
        if not isinstance(record, dict):
            raise damaged(where, "is no object with fields")
        for field in FIELDS:
            if not isinstance(value := record.get(field), str | None):
                raise damaged(where, f'field "{field}" holds {type(value).__name__}, text is expected')
        yield [record.get(field) or "" for field in FIELDS]
