"""OpenAlex: works from its API or snapshot, found again on disk, and what they say on institutions and years."""

from __future__ import annotations

import gzip
import json
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from study.core import DataError, tell, write_all
from study.data.sources import Fetcher, json_value
from study.data.sources.openalex_works import SHAPE, aggregate, changed, mismatch, trimmed

__all__ = ["aggregate", "fetch", "read", "works_files"]

API = "https://api.openalex.org"
KEY = "OPENALEX_API_KEY"

# Computer vision at institutions of education, the years of the CVPR panel.
FILTER = (
    "primary_topic.subfield.id:1707,publication_year:2013-2024,authorships.institutions.type:education,"
    "type:article|preprint|review|conference-paper|book-chapter"
)
YEARS = range(2013, 2025)
WORKS_A_PAGE = "100"
# OpenAlex adds works while one pages through them; a larger shortfall is a broken list.
SHORTFALL = 0.001

_FILE = re.compile(r"s3://[^/]+/(?:[\w-]+/)*works/(updated_date=\d{4}-\d\d-\d\d/[\w-]+\.(?:gz|parquet))")

# How far the fetching of a query from the API has come: filter, pages, works, count, next_cursor.
State = dict[str, Any]


def fetch(raw: Path, fetcher: Fetcher, *, filter: str = FILTER, key: str | None = None) -> list[Path]:
    """Fetch the works of a query page by page into ``raw/openalex/api``; a later call goes on where one stopped.

    A page holds 100 works, of which what is counted is kept and nothing on persons. A free key allows 10,000 pages a
    day; OpenAlex asks to take its snapshot for more than a part of its works: put ``data/parquet/works`` of its public
    bucket (some 700 GB) with the manifest into ``raw/openalex/parquet/works``, and :func:`read` counts it.

    Parameters
    ----------
    raw : Path
        Folder of originals.
    fetcher : Fetcher
    filter : str
        Query in OpenAlex's filter language.
    key : str, optional
        The user's key; the environment variable OPENALEX_API_KEY where not given.

    Returns
    -------
    list of Path
        ``page_00001.gz`` and so on (JSON lines), and ``state.json``.

    Raises
    ------
    DataError
        If there is no key, the server refuses, an answer is not as documented, the list ends before its end, or the
        folder holds another query.
    """
    folder = raw / "openalex" / "api"
    state = _read_state(folder) or {"filter": filter, "pages": 0, "works": 0, "count": 0, "next_cursor": "*"}
    if state["filter"] != filter:
        raise DataError(f"OpenAlex: {folder} holds the works of another query; move it away and fetch again.")
    if not (key := key or os.environ.get(KEY)):
        remedy = f"get one (free) at openalex.org/settings/api, set {KEY} to it"
        raise DataError(f"OpenAlex: its API needs a key; {remedy}.")
    params = {"filter": filter, "select": ",".join(SHAPE), "per_page": WORKS_A_PAGE, "api_key": key}
    while state["next_cursor"] is not None:
        tell(f"OpenAlex: {state['works']} of {state['count'] or '?'} works")
        where = f"OpenAlex works, page {state['pages'] + 1}"
        records, count, following = _page(fetcher, params, state["next_cursor"], where)
        for place, record in enumerate(records, start=1):
            if fault := mismatch(record):
                raise changed(f"{where}, record {place}", fault)
        pages, works = state["pages"] + bool(records), state["works"] + len(records)
        if following is None and works < count * (1 - SHORTFALL):
            raise DataError(f"{where}: the list ends after {works} of {count} works; fetch again later.")
        state |= {"pages": pages, "works": works, "count": count, "next_cursor": following}
        files = {"state.json": json.dumps(state, indent=1).encode()}
        if records:
            lines = "".join(json.dumps(trimmed(record), ensure_ascii=False) + "\n" for record in records)
            files[_page_paths(folder, state)[-1].name] = gzip.compress(lines.encode(), mtime=0)
        write_all(folder, files)
    if not state["works"]:
        raise DataError(f'OpenAlex: the query "{filter}" has no works; check the filter.')
    return [*_page_paths(folder, state), folder / "state.json"]


def works_files(folder: Path) -> tuple[list[Path], list[Path]]:
    """Return the files of works in a folder, and those of merged works (in snapshots before 2026).

    Files that the manifest does not list are of an older snapshot and are left out.

    Parameters
    ----------
    folder : Path
        Holds one of ``parquet/works``, ``jsonl/works`` (the snapshot), ``works`` (that before 2026, with
        ``merged_ids/works`` beside it) and ``api`` (pages of the API).

    Raises
    ------
    DataError
        If none or several are there, there is no manifest, or a file is missing or has another size than listed.
    """
    places = [name for name in ("parquet/works", "jsonl/works", "works", "api") if (folder / name).is_dir()]
    if not places:
        raise DataError(f"OpenAlex: no works in {folder}; fetch them first.")
    if len(places) > 1:
        fault = f"works are there several times ({', '.join(places)}) in {folder}"
        raise DataError(f"OpenAlex: {fault}; keep one.")
    works = folder / places[0]
    if works.name != "api":
        return _of_snapshot(works), sorted((folder / "merged_ids" / "works").glob("*.csv.gz"))
    if (state := _read_state(works)) is None:
        raise DataError(f"OpenAlex: state.json is missing in {works}; remove the folder and fetch again.")
    if state["next_cursor"] is not None:
        fetched = f"{state['works']} of {state['count']} works are fetched"
        raise DataError(f"OpenAlex: {fetched}; go on fetching with the same query.")
    return _page_paths(works, state), []


def read(folder: Path, **options: Any) -> pd.DataFrame:
    """Read the works of a folder into papers by academic institution, year and topic.

    Parameters
    ----------
    folder : Path
        As :func:`works_files` takes it.
    **options
        As in :func:`~study.data.sources.openalex_works.aggregate`, which also says what the table holds.

    Raises
    ------
    DataError
        If a file is missing or damaged.
    """
    paths, merged = works_files(folder)
    return aggregate(paths, merged=merged, **options)


def _page(
    fetcher: Fetcher, params: Mapping[str, str], cursor: str, where: str
) -> tuple[list[Any], int, str | None]:
    """Return the works of an answer, how many there are in all, and the next cursor, None after the last page."""
    answer = fetcher.json(f"{API}/works", {**params, "cursor": cursor})
    if not isinstance(answer, dict) or not isinstance(answer.get("meta"), dict):
        raise changed(where, "no answer of a list")
    entries, meta = answer.get("results"), answer["meta"]
    count, following = meta.get("count"), meta.get("next_cursor")
    if not isinstance(entries, list):
        raise changed(where, "no results in the answer")
    if not isinstance(count, int) or not isinstance(following, str | None):
        raise changed(where, "no count or next_cursor in the answer")
    if entries and following == cursor:
        raise DataError(f"{where}: the cursor does not move on; fetch again later.")
    return entries, count, following if entries else None


def _page_paths(folder: Path, state: State) -> list[Path]:
    """Return the files of the pages that were fetched from the API."""
    return [folder / f"page_{page:05d}.gz" for page in range(1, state["pages"] + 1)]


def _read_state(folder: Path) -> State | None:
    """Return how far the fetching into a folder has come, or None where it has not begun.

    Raises
    ------
    DataError
        If the record of it is damaged.
    """
    path = folder / "state.json"
    if not path.is_file():
        return None
    state = json_value(path.read_bytes(), path.name)
    keys = {"filter", "pages", "works", "count", "next_cursor"}
    if not isinstance(state, dict) or not keys <= state.keys():
        raise DataError(f"OpenAlex: {path} is no record of fetched works; remove the folder and fetch again.")
    return state


def _of_snapshot(works: Path) -> list[Path]:
    """Return the files that the manifest of a snapshot lists, all of them there."""
    manifest = works / "manifest.json"
    manifest = manifest if manifest.is_file() else works / "manifest"
    if not manifest.is_file():
        raise DataError(f"OpenAlex: manifest.json is missing in {works}, it is not whole; fetch it again.")
    sizes = _sizes(json_value(manifest.read_bytes(), manifest.name), manifest.name)
    for name, size in sizes.items():
        path = works / name
        if not path.is_file():
            raise DataError(f"OpenAlex: {name} is missing in {works}; fetch the snapshot again.")
        if (there := path.stat().st_size) != size:
            fault = f"{name} has {there} bytes, the manifest says {size}"
            raise DataError(f"OpenAlex: {fault}; fetch the snapshot again.")
    return [works / name for name in sizes]


def _sizes(manifest: Any, where: str) -> dict[str, int]:
    """Return the sizes of the files that a manifest lists, by their names below the folder of works."""
    entries = manifest.get("files", manifest.get("entries")) if isinstance(manifest, dict) else None
    if not isinstance(entries, list) or not entries:
        raise changed(where, "no list of files")
    sizes = {}
    for number, entry in enumerate(entries, start=1):
        try:
            match, size = _FILE.fullmatch(entry["url"]), entry["meta"]["content_length"]
        except (KeyError, TypeError):
            match, size = None, None
        if match is None or not isinstance(size, int):
            raise changed(f"{where}, file {number}", "no address with its size")
        sizes[match[1]] = size
    return sizes
