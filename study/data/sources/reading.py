"""Reading of files: rows of a CSV, a JSON, members of a zip, or one error that says what is wrong with the file."""

from __future__ import annotations

import csv
import gzip
import io
import json
import math
import re
import zipfile
import zlib
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import date
from pathlib import Path
from typing import Any

import pandas as pd

from study.core import DataError, csv_within, file_content, refuse_large_members, short

# What the texts of a column must match, and how an error says it.
Rule = tuple[re.Pattern[str], str]

AGAIN = "download it again"
# What to do about a table that is written by hand and ships.
RESTORE = "restore it from the repository"

# Of a JSON text, far above those of any original.
LARGEST_JSON, DEEPEST = 256 << 20, 100

FILLED: Rule = (re.compile(".+"), "not empty")
AMOUNT: Rule = (re.compile(r"\d+(\.\d+)?"), "a number, 0 or more")


def damaged(where: str, what: str) -> DataError:
    """Return the error of an original that is not as it was published."""
    return DataError(f"{where}: {what}; {AGAIN}.")


def one_line(text: object) -> str:
    """Return a text (an error says one, too) without line breaks and repeated spaces."""
    return " ".join(str(text).split())


def one_of(values: Iterable[str]) -> Rule:
    """Return the rule of a column that has these texts only."""
    known = list(values)
    return re.compile("|".join(map(re.escape, known))), f"one of {', '.join(map(repr, known))}"


def refuse_missing(where: str, needed: Iterable[str], columns: Collection[str], remedy: str = AGAIN) -> None:
    """Raise if a table lacks columns."""
    missing = [column for column in needed if column not in columns]
    if missing:
        raise DataError(f"{where}: no column {', '.join(missing)}; has it been renamed? If not, {remedy}.")


def csv_rows(
    path: Path,
    required: Sequence[str],
    *,
    unique: Sequence[str] = (),
    rules: Mapping[str, Rule] | None = None,
    remedy: str = AGAIN,
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
    rules : mapping of str to Rule, optional
        What the texts of a column must be.
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
        table that is written by hand), a record is there twice, or a text breaks a rule.
    """
    name = path.name
    reader = csv.reader(io.StringIO(_text(path, remedy), newline=""), strict=True)
    rows = []
    seen: dict[tuple[str, ...], int] = {}
    try:
        read = csv_within(name, reader)
        heading = [label.strip() for label in next(read, [])]
        refuse_missing(f"{name}, line 1", required, heading, remedy)
        line = reader.line_num + 1
        for values in read:
            where = f"{name}, line {line}"
            if values and len(values) != len(heading):
                fault = f"{where}: {len(values)} fields, the heading has {len(heading)}"
                raise DataError(f"{fault}; the file is cut off, or a comma is not in quotes: {remedy}.")
            if values:
                row = dict(zip(heading, map(str.strip, values), strict=True))
                rows.append((line, row))
                key = tuple(row[column] for column in unique)
                if key and seen.setdefault(key, line) != line:
                    raise DataError(f"{where}: {', '.join(key)} is also on line {seen[key]}; keep one.")
                for column, (pattern, words) in (rules or {}).items():
                    if not pattern.fullmatch(row[column]):
                        raise DataError(
                            f'{where}: {column} is "{short(row[column])}"; it must be {words}: {remedy}.'
                        )
            line = reader.line_num + 1
    except csv.Error as error:
        where = f"{name}, line {reader.line_num}"
        raise DataError(f"{where}: {error}; the file is cut off or damaged, {remedy}.") from None
    # A table of decisions may have none.
    if not rows and remedy != RESTORE:
        raise DataError(f"{name}: no records after the heading; {remedy}.")
    return rows


def csv_table(path: Path, columns: Sequence[str], **options: Any) -> pd.DataFrame:
    """Return the columns of a CSV file as text, indexed by the lines on which records start; see :func:`csv_rows`."""
    rows = csv_rows(path, columns, **options)
    return pd.DataFrame([row for _, row in rows], [line for line, _ in rows], list(columns))


def iso_day(text: str, where: str) -> str:
    """Return a day as "YYYY-MM-DD", from that form or MM/DD/YYYY; empty where none is given.

    Raises
    ------
    DataError
        If there is no such day; ``where`` says of what it should be.
    """
    day = re.sub(r"(\d{2})/(\d{2})/(\d{4})", r"\3-\1-\2", text)
    try:
        # Other forms of ISO 8601 are none of the publishers'.
        return date.fromisoformat(day if len(day) == 10 else "").isoformat() if text else ""
    except ValueError:
        raise DataError(f'{where} "{short(text)}" is no date; {AGAIN}.') from None


def number(text: str, where: str) -> float:
    """Return a number, NaN where none is given.

    Raises
    ------
    DataError
        If the text is no number; ``where`` says of what it should be.
    """
    try:
        return float(text) if text else math.nan
    except ValueError:
        raise DataError(f'{where} "{short(text)}" is no number; {AGAIN}.') from None


def json_value(content: bytes, where: str) -> Any:
    """Return what a JSON text says; ``where`` names it in errors.

    Raises
    ------
    DataError
        If it is not UTF-8, broken, too large or nested too deeply.
    """
    if len(content) > LARGEST_JSON:
        raise damaged(where, f"{len(content):,} bytes of JSON, at most {LARGEST_JSON:,} are read")
    try:
        return parsed(content)
    except ValueError as error:
        raise damaged(where, str(error)) from None


def parsed(content: bytes) -> Any:
    """Return what a JSON text says.

    Raises
    ------
    ValueError
        If it is not UTF-8 or broken, a number has thousands of digits, or it is nested more than :data:`DEEPEST` deep:
        in words that follow its name.
    """
    too_deep = f"no JSON to read (nested more than {DEEPEST} deep)"
    try:
        value = json.loads(content.decode("utf-8"))
    except RecursionError:
        raise ValueError(too_deep) from None
    except UnicodeDecodeError as error:
        raise ValueError(f"byte {error.start} is not UTF-8") from None
    except json.JSONDecodeError as error:
        place = f"byte {len(error.doc[: error.pos].encode())} of {len(content)} (line {error.lineno})"
        raise ValueError(f"broken JSON at {place}: {error.msg}") from None
    except ValueError as error:
        raise ValueError(f"no JSON to read ({error})") from None
    level = [value] if isinstance(value, dict | list) else []
    for _ in range(DEEPEST):
        inside = (each.values() if isinstance(each, dict) else each for each in level)
        level = [each for values in inside for each in values if isinstance(each, dict | list)]
        if not level:
            return value
    raise ValueError(too_deep)


def json_file(path: Path) -> Any:
    """Return what a JSON file says, plain or compressed by gzip.

    Raises
    ------
    DataError
        If it is empty, damaged or a web page.
    """
    content = content_of(path)
    if is_page(content):
        raise damaged(path.name, "this is a web page and no JSON")
    return json_value(content, path.name)


@contextmanager
def unzipped(path: Path, name: str) -> Iterator[zipfile.ZipFile]:
    """Open a zip file, which is called ``name`` in errors, and read its members inside.

    Raises
    ------
    DataError
        If the file is empty, cut off, or a byte of it has changed.
    """
    if path.stat().st_size == 0:
        raise damaged(name, "the file is empty")
    try:
        with zipfile.ZipFile(path) as archive:
            refuse_large_members(archive, name)
            yield archive
    # A broken container shows itself in several ways, none of which a user could distinguish.
    except (zipfile.BadZipFile, zlib.error, EOFError, OSError, RuntimeError, ValueError) as error:
        raise damaged(name, f"not a whole zip file ({error})") from None


def content_of(path: Path, remedy: str = AGAIN) -> bytes:
    """Return what is in a file, plain or compressed by gzip, whatever its name says.

    Raises
    ------
    DataError
        If it is empty or its compressed content is cut off or damaged.
    """
    try:
        content = file_content(path, path.name)
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        fault = f"truncated or damaged gzip within its {path.stat().st_size} bytes ({error})"
        raise DataError(f"{path.name}: {fault}; {remedy}.") from None
    if not content.strip():
        raise DataError(f"{path.name}: the file is empty; {remedy}.")
    return content


def only_one(folder: Path, name: str) -> Path:
    """Return the file of that name, plain or with ``.gz`` added.

    Raises
    ------
    DataError
        If neither or both are there.
    """
    paths = [path for path in (folder / name, folder / f"{name}.gz") if path.is_file()]
    if not paths:
        raise DataError(f"{name} is missing in {folder}; put it there, or {AGAIN}.")
    if len(paths) == 2:
        raise DataError(f"{name} is there plain and as .gz in {folder}; keep one of them.")
    return paths[0]


def is_page(start: bytes) -> bool:
    """Tell whether a file that should hold something else begins as a web page does."""
    return start.lstrip(b"\xef\xbb\xbf \r\n\t").startswith(b"<")


def _text(path: Path, remedy: str) -> str:
    name = path.name
    if not path.is_file():
        raise DataError(f"{name} is missing in {path.parent}; put it there, or {remedy}.")
    content = content_of(path, remedy)
    if is_page(content):
        raise DataError(f"{name}: this is a web page and no CSV file (byte 0); {remedy}.")
    return text_of(content, name, remedy)


def text_of(content: bytes, name: str, remedy: str = AGAIN) -> str:
    """Return a text in UTF-8, with or without a byte-order mark.

    Raises
    ------
    DataError
        If it is none, with the line and the byte.
    """
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise DataError(f"{name}, line {line}: byte {error.start} is not UTF-8; {remedy}.") from None
