"""Rows of CSV originals with their line numbers, or one error that says what is wrong with the file."""

from __future__ import annotations

import csv
import io
import zipfile
import zlib
from collections.abc import Sequence
from pathlib import Path

from study.core import DataError

# What reading a zip file raises where it is cut off, or a byte of it has changed.
DAMAGED_ZIP = (
    zipfile.BadZipFile,
    zlib.error,
    EOFError,
    NotImplementedError,
    OSError,
    RuntimeError,
    ValueError,
)


def csv_rows(path: Path, required: Sequence[str]) -> list[tuple[int, dict[str, str]]]:
    """Read a CSV file in UTF-8 (with or without a byte-order mark).

    Parameters
    ----------
    path : Path
        The file.
    required : sequence of str
        Columns that the heading must have; others may be there too.

    Returns
    -------
    list of (int, dict)
        The line on which each record starts, and its texts by column, without spaces around them.

    Raises
    ------
    DataError
        If the file is missing, empty, a web page, not UTF-8, cut off, lacks a column or has no records.
    """
    name, text = path.name, _text(path)
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    rows = []
    try:
        heading = [label.strip() for label in next(reader, [])]
        missing = [column for column in required if column not in heading]
        if missing:
            raise DataError(
                f"{name}, line 1: no column {', '.join(missing)}; has the publisher renamed it? "
                "Download the file again."
            )
        line = reader.line_num + 1
        for values in reader:
            if values and len(values) != len(heading):
                raise DataError(
                    f"{name}, line {line}: {len(values)} fields, the heading has {len(heading)}; "
                    "the file is cut off or damaged, download it again."
                )
            if values:
                rows.append((line, dict(zip(heading, map(str.strip, values), strict=True))))
            line = reader.line_num + 1
    except csv.Error as error:
        raise DataError(
            f"{name}, line {reader.line_num}: {error}; the file is cut off or damaged, download it again."
        ) from None
    if not rows:
        raise DataError(f"{name}: no records after the heading; download it again.")
    return rows


def _text(path: Path) -> str:
    if not path.is_file():
        raise DataError(f"{path.name} is missing in {path.parent}; download it into it.")
    content = path.read_bytes()
    if not content.strip():
        raise DataError(f"{path.name}: the file is empty; download it again.")
    if content.lstrip(b"\xef\xbb\xbf \r\n\t").startswith(b"<"):
        raise DataError(f"{path.name}: this is a web page and no CSV file (byte 0); download it again.")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise DataError(
            f"{path.name}, line {line}: byte {error.start} is not UTF-8; download the file again."
        ) from None
