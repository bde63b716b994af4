"""The Research Organization Registry: its data dump (schema 2, JSON in a zip) into one table of organisations."""

from __future__ import annotations

import hashlib
import json
import re
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from study.core import DataError
from study.data.sources.rows import DAMAGED_ZIP

if TYPE_CHECKING:
    from study.data.sources.fetching import Fetcher

API = "https://zenodo.org/api"
# The record that stands for all versions; Zenodo answers with the newest.
CONCEPT = "6347574"

COLUMNS = ("ror", "name", "aliases", "acronyms", "country", "types", "domains", "status")
STATUSES = ("active", "inactive", "withdrawn")

_DUMP = re.compile(r"v(\d+)\.(\d+)(?:\.\d+)?-\d{4}-\d\d-\d\d-ror-data(?:_schema_v2)?\.(?:zip|json)")
_ROR = re.compile(r"https://ror\.org/0[0-9a-hjkmnp-tv-z]{6}\d{2}")
_BETWEEN = re.compile(r"[\s,]*")


def fetch(
    raw: Path,
    fetcher: Fetcher,
    *,
    progress: Callable[[str], None] | None = None,
    base: str = API,
) -> list[Path]:
    """Download the newest dump into ``raw/ror`` and check it against the MD5 that Zenodo states.

    Parameters
    ----------
    raw : Path
        Folder of originals.
    fetcher : Fetcher
    progress : callable, optional
        Called with a short text before the dump.
    base : str
        Address of Zenodo's API.

    Raises
    ------
    DataError
        If the record names no dump, or the file differs from its checksum.
    """
    url = f"{base}/records/{CONCEPT}"
    record = fetcher.json(url)
    try:
        files = {file["key"]: (file["links"]["self"], file["checksum"]) for file in record["files"]}
    except (KeyError, TypeError):
        raise DataError(f"{url}: the answer names no files; has the API changed?") from None
    name = next((key for key in files if _DUMP.fullmatch(key) and key.endswith(".zip")), None)
    if name is None:
        raise DataError(f"{url}: no dump among {', '.join(files) or 'no files'}; has it been renamed?")
    address, checksum = files[name]
    if progress is not None:
        progress(f"ROR {name}")
    path = fetcher.download(address, raw / "ror" / name)
    with path.open("rb") as stream:
        found = hashlib.file_digest(stream, "md5").hexdigest()
    if checksum.removeprefix("md5:") != found:
        path.unlink()
        raise DataError(f"{name}: the file has MD5 {found}, Zenodo states {checksum}; fetch it again.")
    return [path]


def read(folder: Path) -> pd.DataFrame:
    """Read the newest dump of a folder.

    Parameters
    ----------
    folder : Path
        Holds ``vX.Y-YYYY-MM-DD-ror-data.zip`` as published, or the JSON of schema 2 out of it.

    Returns
    -------
    DataFrame
        One row an organisation in the order of the dump: ror ("https://ror.org/..."), name (the one that the
        registry displays), aliases (tuple: its other names in any language), acronyms (tuple), country (ISO
        alpha-2 code of its first location), types (tuple: "education", "company" ...), domains (tuple),
        status ("active", "inactive" or "withdrawn").

    Raises
    ------
    DataError
        If there is no dump, it is damaged or of schema 1, a record lacks a field, or an organisation is there
        twice.
    """
    found = {match.groups(): path for path in folder.glob("*") if (match := _DUMP.fullmatch(path.name))}
    if not found:
        raise DataError(
            f"ROR: no vX.Y-YYYY-MM-DD-ror-data.zip in {folder}; download the data dump from Zenodo into it."
        )
    path = found[max(found, key=lambda version: (int(version[0]), int(version[1])))]
    content, where = _content(path)
    seen: set[str] = set()
    rows = []
    for number, record in enumerate(_records(content, where), start=1):
        row = _row(record, f"{where}, record {number}")
        if row[0] in seen:
            raise DataError(f"{where}, record {number}: {row[0]} is there twice; download the dump again.")
        seen.add(row[0])
        rows.append(row)
    if not rows:
        raise DataError(f"{where}: holds no organisations; download the dump again.")
    return pd.DataFrame(rows, columns=list(COLUMNS))


def _content(path: Path) -> tuple[str, str]:
    """Return the JSON text of a dump, and what to call it in errors."""
    if path.stat().st_size == 0:
        raise DataError(f"{path.name}: the file is empty; download it again.")
    content, where = path.read_bytes(), path.name
    if path.suffix == ".zip":
        try:
            with zipfile.ZipFile(path) as archive:
                members = [name for name in archive.namelist() if name.endswith(".json")]
                # Dumps of 2024 and 2025 hold both schemas, later ones the second alone.
                second = [name for name in members if "schema_v2" in name] or members
                if len(second) != 1:
                    raise DataError(
                        f"{path.name}: {len(second)} files *.json in it, one of schema 2 is expected; "
                        "download it again."
                    )
                content, where = archive.read(second[0]), f"{path.name}, {second[0]}"
        except DAMAGED_ZIP as error:
            raise DataError(f"{path.name}: not a whole zip file ({error}); download it again.") from None
    try:
        return content.decode("utf-8"), where
    except UnicodeDecodeError as error:
        raise DataError(f"{where}: byte {error.start} is not UTF-8; download the dump again.") from None


def _records(text: str, where: str) -> Iterator[Any]:
    """Yield the records of a list one by one: all at once they take several times the memory of the text."""
    place = len(text) - len(text.lstrip())
    if text[place : place + 1] != "[":
        raise DataError(f"{where}: holds no list of organisations; download the dump again.")
    decoder = json.JSONDecoder()
    place += 1
    while True:
        match = _BETWEEN.match(text, place)
        place = match.end() if match else place
        if text[place : place + 1] == "]":
            return
        try:
            record, place = decoder.raw_decode(text, place)
        except json.JSONDecodeError as error:
            raise DataError(
                f"{where}: broken JSON at character {error.pos}: {error.msg}; download the dump again."
            ) from None
        yield record


def _row(record: Any, where: str) -> tuple[Any, ...]:
    try:
        if isinstance(record.get("name"), str):
            raise DataError(f"{where}: this is schema 1; download a dump with schema 2.")
        names = [(name["value"], tuple(name["types"])) for name in record["names"]]
        country = record["locations"][0]["geonames_details"]["country_code"]
        ror, status = record["id"], record["status"]
        types, domains = tuple(record["types"]), tuple(record["domains"])
    except KeyError as error:
        raise DataError(f"{where}: field {error} is missing; has the publisher changed the schema?") from None
    except IndexError:
        raise DataError(f"{where}: the organisation has no location; download the dump again.") from None
    except (TypeError, AttributeError):
        raise DataError(f"{where}: a field is of another type than in schema 2; download it again.") from None
    display = next((value for value, kinds in names if "ror_display" in kinds), "")
    if not _ROR.fullmatch(ror) or not display or status not in STATUSES or len(country) != 2:
        raise DataError(
            f'{where}: id "{ror}", displayed name "{display}", status "{status}" or country "{country}" is not '
            "valid; download the dump again."
        )
    others = [(value, kinds) for value, kinds in names if "ror_display" not in kinds]
    acronyms = tuple(value for value, kinds in others if set(kinds) == {"acronym"})
    aliases = tuple(value for value, kinds in others if set(kinds) != {"acronym"})
    return ror, display, aliases, acronyms, country, types, domains, status
