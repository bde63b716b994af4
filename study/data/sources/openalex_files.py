"""Files of OpenAlex works on disk: fetched from the public snapshot, or found there with all that belongs to them."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from study.core import DataError, write_all
from study.data.sources.reading import Progress, silent

if TYPE_CHECKING:
    from study.data.sources.fetching import Fetcher

BUCKET = "https://openalex.s3.amazonaws.com"

_FILE = re.compile(r"s3://[^/]+/(?:[\w-]+/)*works/(updated_date=\d{4}-\d\d-\d\d/[\w-]+\.(?:gz|parquet))")

Format = Literal["jsonl", "parquet"]
# How far the fetching of a query from the API has come: filter, pages, works, count, next_cursor.
State = dict[str, Any]


def fetch_snapshot(
    raw: Path,
    fetcher: Fetcher,
    *,
    format: Format = "parquet",
    progress: Progress = silent,
    base: str = BUCKET,
) -> list[Path]:
    """Fetch the works of the public snapshot into ``raw/openalex/<format>/works``; what is there already is kept.

    The works are some 700 GB in either format (June 2026). No key is needed.

    Parameters
    ----------
    raw : Path
        Folder of originals.
    fetcher : Fetcher
    format : {"parquet", "jsonl"}
        Which of the two copies.
    progress : callable, optional
        Called with a short text before each file.
    base : str
        Address of the bucket.

    Returns
    -------
    list of Path
        The files, and the manifest, which is written when they all are there.

    Raises
    ------
    DataError
        If the server refuses, the manifest is not as documented, a file has not the size that the manifest gives, or
        a new snapshot appears meanwhile.
    """
    address = f"{base}/data/{format}/works"
    folder = raw / "openalex" / format / "works"
    manifest = fetcher.json(f"{address}/manifest.json")
    listed = _sizes(manifest, f"{address}/manifest.json")
    for number, (name, size) in enumerate(listed.items(), start=1):
        progress(f"OpenAlex snapshot: file {number} of {len(listed)}")
        path = folder / name
        if path.is_file() and path.stat().st_size != size:
            path.unlink()
        fetcher.download(f"{address}/{name}", path)
        if path.stat().st_size != size:
            found = path.stat().st_size
            path.unlink()
            raise DataError(
                f"{address}/{name}: {found} bytes came, the manifest says {size}; fetch again later."
            )
    if fetcher.json(f"{address}/manifest.json") != manifest:
        raise DataError(
            f"{address}: a new snapshot appeared meanwhile; fetch again, unchanged files are kept."
        )
    content = json.dumps(manifest, indent=1).encode()
    return [*(folder / name for name in listed), *write_all(folder, {"manifest.json": content})]


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
    places = [folder / "parquet" / "works", folder / "jsonl" / "works", folder / "works", folder / "api"]
    found = [place for place in places if place.is_dir()]
    if not found:
        raise DataError(f"OpenAlex: no works in {folder}; fetch them first.")
    if len(found) > 1:
        names = ", ".join(place.relative_to(folder).as_posix() for place in found)
        raise DataError(f"OpenAlex: works are there several times ({names}) in {folder}; keep one of them.")
    if found[0].name == "api":
        return _fetched(found[0]), []
    return _listed(found[0]), sorted((folder / "merged_ids" / "works").glob("*.csv.gz"))


def page_paths(folder: Path, state: State) -> list[Path]:
    """Return the files of the pages that were fetched from the API."""
    return [folder / f"page_{page:05d}.gz" for page in range(1, state["pages"] + 1)]


def read_state(folder: Path) -> State | None:
    """Return how far the fetching into a folder has come, or None where it has not begun.

    Raises
    ------
    DataError
        If the record of it is damaged.
    """
    path = folder / "state.json"
    if not path.is_file():
        return None
    state = _json(path)
    if (
        not isinstance(state, dict)
        or not {"filter", "pages", "works", "count", "next_cursor"} <= state.keys()
    ):
        raise DataError(f"OpenAlex: {path} is no record of fetched works; remove the folder and fetch again.")
    return state


def _fetched(folder: Path) -> list[Path]:
    """Return the pages of a query that was fetched to its end."""
    state = read_state(folder)
    if state is None:
        raise DataError(f"OpenAlex: state.json is missing in {folder}; remove the folder and fetch again.")
    if state["next_cursor"] is not None:
        raise DataError(
            f"OpenAlex: {state['works']} of {state['count']} works are fetched; go on fetching with the same query."
        )
    return page_paths(folder, state)


def _listed(works: Path) -> list[Path]:
    """Return the files that the manifest of a snapshot lists, all of them there."""
    names = (works / "manifest.json", works / "manifest")
    manifest = next((path for path in names if path.is_file()), None)
    if manifest is None:
        raise DataError(
            f"OpenAlex: manifest.json is missing in {works}, so the snapshot is not whole; fetch it again."
        )
    sizes = _sizes(_json(manifest), manifest.name)
    for name, size in sizes.items():
        path = works / name
        if not path.is_file():
            raise DataError(f"OpenAlex: {name} is missing in {works}; fetch the snapshot again.")
        if path.stat().st_size != size:
            raise DataError(
                f"OpenAlex: {name} has {path.stat().st_size} bytes, the manifest says {size}; fetch the snapshot again."
            )
    return [works / name for name in sizes]


def _sizes(manifest: Any, where: str) -> dict[str, int]:
    """Return the sizes of the files that a manifest lists, by their names below the folder of works."""
    listed = manifest.get("files", manifest.get("entries")) if isinstance(manifest, dict) else None
    if not isinstance(listed, list) or not listed:
        raise DataError(f"{where}: no list of files; has OpenAlex changed its format?")
    sizes = {}
    for number, entry in enumerate(listed, start=1):
        try:
            match, size = _FILE.fullmatch(entry["url"]), entry["meta"]["content_length"]
        except (KeyError, TypeError):
            match, size = None, None
        if match is None or not isinstance(size, int):
            raise DataError(
                f"{where}, file {number}: no address with its size; has OpenAlex changed its format?"
            )
        sizes[match[1]] = size
    return sizes


def _json(path: Path) -> Any:
    try:
        return json.loads(path.read_bytes())
    except ValueError as error:
        raise DataError(f"{path.name}: no JSON ({error}); fetch again.") from None
