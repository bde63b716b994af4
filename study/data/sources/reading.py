"""Reading of files: rows of a CSV, a JSON, members of a zip, or one error that says what is wrong with the file."""

from __future__ import annotations

import csv
import io
import json
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from study.core import DataError

Progress = Callable[[str], None]

AGAIN = "download it again"
# What to do about a table that is written by hand and ships.
RESTORE = "restore it from the repository"


def silent(_: str) -> None:
    """Say nothing: the progress of those who did not ask for it."""


def csv_rows(
    path: Path, required: Sequence[str], *, unique: Sequence[str] = (), remedy: str = AGAIN
) -> list[tuple[int, dict[str, str]]]:
    """Read a CSV file in UTF-8 (with or without a byte-order mark).

    Parameters
    ----------
    path : Path
        The file.
    required : sequence of str
        Columns that the heading must have; others may be there too.
    unique : sequence of str
        Columns that together name a record, which may be there once.
    remedy : str
        What to do about a file that is not as it should be.

    Returns
    -------
    list of (int, dict)
        The line on which each record starts, and its texts by column, without spaces around them.

    Raises
    ------
    DataError
        If the file is missing, empty, a web page, not UTF-8, cut off, lacks a column or has no records (but for a
        table that is written by hand), or a record is there twice.
    """
    name, text = path.name, _text(path, remedy)
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    rows = []
    seen: dict[tuple[str, ...], int] = {}
    try:
        heading = [label.strip() for label in next(reader, [])]
        missing = [column for column in required if column not in heading]
        if missing:
            raise DataError(
                f"{name}, line 1: no column {', '.join(missing)}; has it been renamed? If not, {remedy}."
            )
        line = reader.line_num + 1
        for values in reader:
            if values and len(values) != len(heading):
                raise DataError(
                    f"{name}, line {line}: {len(values)} fields, the heading has {len(heading)}; "
                    f"the file is cut off, or a comma is not in quotes: {remedy}."
                )
            if values:
                row = dict(zip(heading, map(str.strip, values), strict=True))
                rows.append((line, row))
                key = tuple(row[column] for column in unique)
                if key and seen.setdefault(key, line) != line:
                    raise DataError(
                        f"{name}, line {line}: {', '.join(key)} is also on line {seen[key]}; keep one of the two."
                    )
            line = reader.line_num + 1
    except csv.Error as error:
        raise DataError(
            f"{name}, line {reader.line_num}: {error}; the file is cut off or damaged, {remedy}."
        ) from None
    # A table of decisions may have none.
    if not rows and remedy != RESTORE:
        raise DataError(f"{name}: no records after the heading; {remedy}.")
    return rows


def json_value(content: bytes, where: str) -> Any:
    """Return what a JSON text says; ``where`` names it in errors.

    Raises
    ------
    DataError
        If it is not UTF-8 or broken.
    """
    try:
        return json.loads(content.decode("utf-8"))
    except UnicodeDecodeError as error:
        raise DataError(f"{where}: byte {error.start} is not UTF-8; {AGAIN}.") from None
    except json.JSONDecodeError as error:
        raise DataError(
            f"{where}: broken JSON at character {error.pos} (line {error.lineno}): {error.msg}; {AGAIN}."
        ) from None


@contextmanager
def unzipped(path: Path, name: str) -> Iterator[zipfile.ZipFile]:
    """Open a zip file, which is called ``name`` in errors, and read its members inside.

    Raises
    ------
    DataError
        If the file is empty, cut off, or a byte of it has changed.
    """
    if path.stat().st_size == 0:
        raise DataError(f"{name}: the file is empty; {AGAIN}.")
    try:
        with zipfile.ZipFile(path) as archive:
            yield archive
    except (
        zipfile.BadZipFile,
        zlib.error,
        EOFError,
        NotImplementedError,
        OSError,
        RuntimeError,
        ValueError,
    ) as error:
        raise DataError(f"{name}: not a whole zip file ({error}); {AGAIN}.") from None


def _text(path: Path, remedy: str) -> str:
    if not path.is_file():
        raise DataError(f"{path.name} is missing in {path.parent}; put it there, or {remedy}.")
    content = path.read_bytes()
    if not content.strip():
        raise DataError(f"{path.name}: the file is empty; {remedy}.")
    if content.lstrip(b"\xef\xbb\xbf \r\n\t").startswith(b"<"):
        raise DataError(f"{path.name}: this is a web page and no CSV file (byte 0); {remedy}.")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise DataError(f"{path.name}, line {line}: byte {error.start} is not UTF-8; {remedy}.") from None
