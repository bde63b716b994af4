"""What is read of an OpenAlex work's record, and the first fault of a file that does not hold such records."""

from __future__ import annotations

import gzip
import json
import re
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import duckdb

from study.core import DataError

# A work as the API and the snapshot document it, cut down to what is counted: nothing on persons.
_INSTITUTION = {"id": str, "ror": str, "display_name": str, "country_code": str, "type": str}
SHAPE: dict[str, Any] = {
    "id": str,
    "updated_date": str,
    "publication_year": int,
    "type": str,
    "is_retracted": bool,
    "is_xpac": bool,
    "primary_topic": {"id": str, "subfield": {"id": str}, "field": {"id": str}},
    "primary_location": {"source": {"id": str}},
    "authorships": [{"author_position": str, "institutions": [_INSTITUTION]}],
}
WORK = r"https://openalex\.org/W\d+"
YEAR = r"\d{1,4}"

_NAMES = {str: "text", int: "a whole number", bool: "true or false", dict: "an object", list: "a list"}


def json_columns(shape: dict[str, Any] = SHAPE) -> dict[str, str]:
    """Return DuckDB's types of the fields, by name; numbers are read as text, so that 2020.5 is not rounded."""
    return {name: _type(part) for name, part in shape.items()}


def _type(shape: Any) -> str:
    if isinstance(shape, dict):
        return "STRUCT(" + ", ".join(f'"{name}" {_type(part)}' for name, part in shape.items()) + ")"
    if isinstance(shape, list):
        return _type(shape[0]) + "[]"
    return "BOOLEAN" if shape is bool else "VARCHAR"


def trimmed(record: Any, shape: Any = SHAPE) -> Any:
    """Return a record with the fields that are read and no others."""
    if isinstance(shape, dict):
        return record and {name: trimmed(record.get(name), part) for name, part in shape.items()}
    if isinstance(shape, list):
        return record and [trimmed(item, shape[0]) for item in record]
    return record


def mismatch(record: Any) -> str:
    """Return what is not as documented in a record: empty, or the first fault in a few words."""
    fault = _mismatch(record, SHAPE, "")
    if fault:
        return fault
    work, year = record.get("id"), record.get("publication_year")
    if not re.fullmatch(WORK, work or ""):
        return f"id is {json.dumps(work)[:60]} and none of a work"
    if year is not None and not re.fullmatch(YEAR, str(year)):
        return f"publication_year is {year}"
    return ""


def _mismatch(value: Any, shape: Any, field: str) -> str:
    """Return the first fault of a value at a place (empty: the record itself) that should have a shape."""
    if value is None and field:
        return ""
    kind = shape if isinstance(shape, type) else type(shape)
    if type(value) is not kind:
        return f"{field or 'the record'} is {json.dumps(value)[:60]}, {_NAMES[kind]} is expected"
    return next(filter(None, (_mismatch(*part) for part in _within(value, shape, field))), "")


def _within(value: Any, shape: Any, field: str) -> Iterator[tuple[Any, Any, str]]:
    """Yield the values in an object or list, each with its shape and place."""
    if isinstance(shape, dict):
        for name, part in shape.items():
            yield value.get(name), part, f"{field}.{name}".lstrip(".")
    elif isinstance(shape, list):
        for number, item in enumerate(value):
            yield item, shape[0], f"{field}[{number}]"


def name_of(path: Path) -> str:
    """Return how a file is called in messages: its name, after its partition where it is in one."""
    partition = path.parent.name
    return f"{partition}/{path.name}" if partition.startswith("updated_date=") else path.name


def check_start(path: Path) -> None:
    """Raise if a file is missing or is by its first bytes no file of works, before hours go into others.

    Raises
    ------
    DataError
        If it is.
    """
    name, again = name_of(path), "fetch it again"
    if path.suffix not in (".gz", ".parquet"):
        raise DataError(f"{name}: neither JSON lines (.gz) nor Parquet (.parquet).")
    if not path.is_file():
        raise DataError(f"{name} is missing in {path.parent}; fetch the works again.")
    with path.open("rb") as stream:
        start = stream.read(512)
    if not start.strip():
        raise DataError(f"{name}: the file is empty; {again}.")
    if start.lstrip(b"\xef\xbb\xbf \r\n\t").startswith(b"<"):
        raise DataError(f"{name}, line 1: this is a web page and no file of works; {again}.")
    if path.suffix == ".parquet":
        if start[:4] != b"PAR1":
            raise DataError(f"{name}: no Parquet file; {again}.")
    elif not next(_lines(path), (0, b""))[1].strip():
        raise DataError(f"{name}, line 1: no record; {again}.")


def first_fault(path: Path) -> DataError | None:
    """Return the error of the first fault of a file, with its line; None where none is found.

    The file is read record by record, which is slow: for files of which a fault is known.
    """
    if path.suffix == ".parquet":
        return _parquet_fault(path)
    name = name_of(path)
    try:
        for number, line in _lines(path):
            try:
                fault = mismatch(json.loads(line))
            except UnicodeDecodeError as error:
                fault = f"byte {error.start} is not UTF-8"
            except ValueError as error:
                fault = f"broken JSON ({error})"
            if fault:
                return DataError(f"{name}, line {number}: {fault}; fetch the file again.")
    except DataError as error:
        return error
    return None


def _lines(path: Path) -> Iterator[tuple[int, bytes]]:
    number = 0
    try:
        with gzip.open(path) as stream:
            for number, line in enumerate(stream, start=1):
                yield number, line
    except gzip.BadGzipFile as error:
        raise DataError(f"{name_of(path)}, line {number + 1}: {error}; fetch the file again.") from None
    except (EOFError, OSError, zlib.error):
        raise DataError(
            f"{name_of(path)}, line {number + 1}: the compressed file is cut off or damaged there; fetch it again."
        ) from None


def _parquet_fault(path: Path) -> DataError | None:
    """Return the error of a Parquet file that cannot be read, or lacks a field."""
    name = name_of(path)
    with duckdb.connect() as connection:
        try:
            described = connection.execute("DESCRIBE SELECT * FROM read_parquet(?)", [str(path)]).fetchall()
        except duckdb.Error as error:
            return DataError(f"{name}: not readable as Parquet ({_first_line(error)}); fetch it again.")
    there = {row[0] for row in described}
    missing = [field for field in SHAPE if field not in there]
    if missing:
        return DataError(f"{name}: no column {', '.join(missing)}; has OpenAlex renamed it?")
    return None


def _first_line(error: duckdb.Error) -> str:
    return str(error).splitlines()[0].removeprefix("Invalid Input Error: ")
