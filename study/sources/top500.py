"""TOP500 lists: one Excel file a list, as the publisher has them, into one table of systems."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pandas as pd
from python_calamine import CalamineError, CalamineWorkbook

from study.errors import DataError

FIRST_LIST = "1993-06"
FIRST_ACCELERATOR_LIST = "2011-06"
FIRST_TERAFLOP_LIST = "2017-06"
ROWS = 500

_FILE = re.compile(r"TOP500_(\d{4})(06|11)\.xlsx?")
_NAMED_ACCELERATOR = re.compile(r"nvidia|\bgpu\b|radeon|powerxcell|clearspeed|\baccelerator\b", re.IGNORECASE)
_REQUIRED = ("rank", "site", "country", "computer", "segment", "rmax")


def lists(folder: Path) -> dict[str, Path]:
    """Return the files of all lists in ``folder`` by month ("YYYY-MM"), with no list of the sequence missing.

    Raises
    ------
    DataError
        If there is none, one is there twice, or one between June 1993 and the newest is missing.
    """
    found: dict[str, Path] = {}
    for path in sorted(folder.glob("TOP500_*.xls*")):
        match = _FILE.fullmatch(path.name)
        if match is None:
            continue
        month = f"{match[1]}-{match[2]}"
        if month in found:
            raise DataError(
                f"TOP500: list {month} is there twice ({found[month].name}, {path.name}); keep one."
            )
        found[month] = path
    if not found:
        raise DataError(
            f"TOP500: no file TOP500_YYYYMM.xls or .xlsx in {folder}; download the lists into it."
        )
    months = sorted(found)
    for month in _sequence(months[-1]):
        if month not in found:
            raise DataError(
                f"TOP500: list {month} is missing in {folder}, but later ones are there; "
                f"download TOP500_{month.replace('-', '')}.xls into it."
            )
    return {month: found[month] for month in months}


def read_list(path: Path, month: str) -> pd.DataFrame:
    """Read one list.

    Returns
    -------
    DataFrame
        500 rows: list, rank, site, country, segment, system (name and computer), rmax_tflops,
        accelerator (empty = none). Before June 2011 the lists have no such column: there it is
        "named in the system" where the description names one.

    Raises
    ------
    DataError
        If the file is no Excel file, lacks a column, or has not exactly the ranks 1 to 500.
    """
    rows = _cells(path)
    header = next(
        (i for i, row in enumerate(rows) if {"rank", "site"} <= {_label(cell) for cell in row}), None
    )
    if header is None:
        raise DataError(f"{path.name}: no row with the headings Rank and Site; is this a TOP500 list?")
    columns = {_label(cell): j for j, cell in reversed(list(enumerate(rows[header])))}
    missing = [name for name in _REQUIRED if name not in columns]
    if month >= FIRST_ACCELERATOR_LIST and "accelerator" not in columns:
        missing.append("accelerator")
    if missing:
        raise DataError(
            f"{path.name}, row {header + 1}: no column {', '.join(missing)}; download the list again."
        )
    body = [
        (i + 1, row) for i, row in enumerate(rows) if i > header and any(str(cell).strip() for cell in row)
    ]
    if len(body) != ROWS:
        raise DataError(
            f"{path.name}: {len(body)} systems after the heading in row {header + 1}, a list has {ROWS}; "
            "the file is incomplete, download it again."
        )
    unit = 1.0 if month >= FIRST_TERAFLOP_LIST else 1e-3
    records = [_record(path.name, line, row, columns, month, unit) for line, row in body]
    # Rank repeats where systems tie, so the order and the count are checked rather than the set of ranks.
    ranks = [int(str(record["rank"])) for record in records]
    for position, ((line, _), rank) in enumerate(zip(body, ranks, strict=True)):
        if rank > position + 1 or (position and rank < ranks[position - 1]):
            raise DataError(
                f"{path.name}, row {line}: rank {rank} follows {ranks[position - 1]}; restore the order."
            )
    return pd.DataFrame(records)


def read(folder: Path, progress: Callable[[str], None] | None = None) -> pd.DataFrame:
    """Read all lists of a folder into one table, in the order of time and rank."""
    tables = []
    for month, path in lists(folder).items():
        if progress is not None:
            progress(f"TOP500 list {month}")
        tables.append(read_list(path, month))
    return pd.concat(tables, ignore_index=True)


def _sequence(last: str) -> Iterable[str]:
    first_year, last_year = int(FIRST_LIST[:4]), int(last[:4])
    months = (f"{year}-{half}" for year in range(first_year, last_year + 1) for half in ("06", "11"))
    return (month for month in months if month <= last)


def _cells(path: Path) -> list[list[Any]]:
    if path.stat().st_size == 0:
        raise DataError(f"{path.name}: the file is empty; download it again.")
    with path.open("rb") as stream:
        start = stream.read(64).lstrip().lower()
    if start.startswith((b"<!doctype", b"<html", b"<?xml")):
        raise DataError(
            f"{path.name}: this is a web page and no Excel file (byte 0); log in and download it again."
        )
    try:
        return CalamineWorkbook.from_path(str(path)).get_sheet_by_index(0).to_python()
    # The Excel library signals broken containers in several ways, none of which a user could tell apart.
    except (CalamineError, OSError, ValueError, IndexError) as error:
        raise DataError(f"{path.name}: not readable as Excel ({error}); download it again.") from error


def _label(cell: Any) -> str:
    label = re.sub(r"\s*[\[(].*", "", str(cell)).strip().casefold()
    return "accelerator" if label == "accelerator/co-processor" else label


def _record(
    file: str, line: int, row: list[Any], columns: dict[str, int], month: str, unit: float
) -> dict[str, str | int | float]:
    def text(name: str) -> str:
        place = columns.get(name)
        return "" if place is None else " ".join(str(row[place]).split())

    for name in ("site", "country"):
        if not text(name):
            raise DataError(f"{file}, row {line}: {name} is empty; download the list again.")
    try:
        rank, rmax = int(float(text("rank"))), float(text("rmax"))
    except ValueError:
        raise DataError(
            f'{file}, row {line}: rank "{text("rank")}" and Rmax "{text("rmax")}" must be numbers; '
            "download the list again."
        ) from None
    if rmax <= 0:
        raise DataError(f"{file}, row {line}: Rmax is {rmax}, it must be above 0; download the list again.")
    system = ", ".join(part for part in (text("name"), text("computer")) if part)
    return {
        "list": month,
        "rank": rank,
        "site": text("site"),
        "country": text("country"),
        "segment": text("segment"),
        "system": system,
        "rmax_tflops": rmax * unit,
        "accelerator": _accelerator(text("accelerator"), system, "accelerator" in columns),
    }


def _accelerator(value: str, system: str, column: bool) -> str:
    if column:
        return "" if value == "None" else value
    return "named in the system" if _NAMED_ACCELERATOR.search(system) else ""
