"""How much of a file is read, within the limits of the settings; what is larger is refused before it fills memory."""

from __future__ import annotations

import csv
import gzip
import re
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from study.core.context import current_settings
from study.core.errors import DataError
from study.core.words import short

GZIP = b"\x1f\x8b"
CHUNK = 1 << 20
MOST_EXPANDED = 1100  # times: what gzip and zip do not reach
_CELL = re.compile(rb"""\br=["']([A-Z]{0,3})([0-9]{1,7})["']""")
_CELL_BYTES = 32  # of a sheet, empty or not, in the library that reads it


def refuse_larger(where: str, limit: str, size: int, has: str) -> None:
    """Refuse what is larger than a limit of the settings.

    Parameters
    ----------
    where : str
        What the error begins with.
    limit : {"max_rows", "max_columns", "max_bytes", "max_cell"}
    size : int
    has : str
        What was found, as far as it was looked at.

    Raises
    ------
    DataError
    """
    most = getattr(current_settings(), limit)
    if size > most:
        raise DataError(
            f"{where}: {has}, and {limit} is {most:,}; if the file is correct, raise the limit in Python: "
            f"study.settings({limit}=NUMBER)."
        )


def csv_within(where: str, reader: Any) -> Iterator[list[str]]:
    """Yield the rows of a reader of CSV as long as the file is within the limits of the settings.

    Raises
    ------
    DataError
        If it is not.
    """
    limits = current_settings()
    before = csv.field_size_limit(limits.max_cell)
    rows = -1  # the heading is none
    try:
        for fields in reader:
            rows += bool(fields)
            if rows > limits.max_rows:
                refuse_larger(where, "max_rows", rows, f"it has {rows:,} rows or more")
            if len(fields) > limits.max_columns:
                has = f"line {reader.line_num} has {len(fields):,} fields"
                refuse_larger(where, "max_columns", len(fields), has)
            yield fields
    except csv.Error as error:
        if "field limit" not in str(error):
            raise
        has = f"a cell on line {reader.line_num} has more than {limits.max_cell:,} characters"
        refuse_larger(where, "max_cell", limits.max_cell + 1, f"{has} (an open quotation mark?)")
    finally:
        csv.field_size_limit(before)


def file_content(path: Path, where: str) -> bytes:
    """Return what is in a file, without the compression of gzip, whatever its name says.

    Raises
    ------
    DataError
        If it is larger than the settings allow.
    OSError, EOFError, zlib.error
        If it cannot be read, or its compressed content is cut off or damaged.
    """
    size = path.stat().st_size
    refuse_larger(where, "max_bytes", size, f"the file has {size:,} bytes")
    with path.open("rb") as file:
        if file.read(2) != GZIP:
            file.seek(0)
            return file.read()
    with gzip.open(path) as file:
        if size * MOST_EXPANDED > current_settings().max_bytes:
            _refuse_long(where, file)  # before any of it is kept
            file.seek(0)
        return file.read()


def refuse_large_members(archive: zipfile.ZipFile, where: str) -> None:
    """Refuse a zip file with a member that is larger than the settings allow; of none is more read than it says here.

    Raises
    ------
    DataError
    """
    for member in archive.infolist():
        has = f"{short(member.filename)} in it has {member.file_size:,} bytes"
        refuse_larger(where, "max_bytes", member.file_size, has)


def refuse_large_workbook(path: Path, where: str) -> None:
    """Refuse a workbook (a zip of XML) that expands to more than the settings allow, or has a cell that far away.

    Raises
    ------
    DataError
    """
    expanded = 0
    with zipfile.ZipFile(path) as archive:
        for member in archive.infolist():
            member.file_size = 2**62  # what it says need not be so
            rows = columns = 0
            with archive.open(member) as file:
                end = b""
                while chunk := file.read(CHUNK):
                    expanded += len(chunk)
                    refuse_larger(where, "max_bytes", expanded, f"it expands to {expanded:,} bytes or more")
                    for letters, number in set(_CELL.findall(end + chunk)):
                        rows, columns = max(rows, int(number)), max(columns, _column(letters))
                    end = chunk[-16:]
            if member.filename.startswith("xl/worksheets/"):
                size = rows * columns * _CELL_BYTES
                has = f"a sheet reaches to row {rows:,} and column {columns:,}, {size:,} bytes of cells"
                refuse_larger(where, "max_bytes", size, has)


def _refuse_long(where: str, file: gzip.GzipFile) -> None:
    size = 0
    while chunk := file.read(CHUNK):
        size += len(chunk)
        refuse_larger(where, "max_bytes", size, f"it expands to {size:,} bytes or more")


def _column(letters: bytes) -> int:
    """Return the number of a column from its letters, as of 28 from AB."""
    number = 0
    for letter in letters:
        number = 26 * number + letter - ord("A") + 1
    return number
