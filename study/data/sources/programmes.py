"""Compute-access programmes as compiled by hand from public pages: three CSV files into one table of recipients."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from study.core import DataError
from study.data.sources.rows import csv_rows

if TYPE_CHECKING:
    from study.data.sources.fetching import Fetcher

CONFIDENCE = ("high", "medium", "low")
COLUMNS = (
    "programme",
    "institution",
    "country",
    "kind",
    "announced",
    "operational",
    "date_type",
    "size",
    "amount",
    "source_url",
    "source_title",
    "evidence",
    "confidence",
    "origin",
)
# A shorter file is a part of the compiled one.
ROWS = {"public.csv": 183, "industry.csv": 97, "us_consortia.csv": 20}

_PUBLIC = tuple(column for column in COLUMNS if column not in ("date_type", "amount", "origin"))
_HEADINGS = {
    "public.csv": _PUBLIC,
    "industry.csv": (*_PUBLIC, "date_type"),
    "us_consortia.csv": (
        "programme", "institution", "title", "start", "amount_usd", "source_url", "source_title", "confidence", "kind",
    ),
}  # fmt: skip
# Of the US table one column dates an opening, a gift or a law, as the group of the row says.
_DATED_BY = {"CONSORTIUM": "operational", "GIFT": "announced", "STATE": "announced"}
_DATE = re.compile(r"(19[89]|20[0-3])\d(-(0[1-9]|1[0-2]))?")


def fetch(raw: Path, fetcher: Fetcher, *, progress: Callable[[str], None] | None = None) -> list[Path]:
    """Say that nothing can be downloaded: the table was compiled by hand.

    Raises
    ------
    DataError
        Always.
    """
    raise DataError(
        "programmes: there is nothing to download, since this table was compiled by hand from public pages; "
        "the study uses data/programmes.csv, which ships and gives the address of the page behind each row."
    )


def read(folder: Path) -> pd.DataFrame:
    """Read the compiled tables.

    Parameters
    ----------
    folder : Path
        Folder with ``public.csv``, ``industry.csv`` and ``us_consortia.csv``.

    Returns
    -------
    DataFrame
        One row a recipient of a programme: COLUMNS, all text. Dates are "YYYY-MM" or "YYYY", empty = not known;
        ``origin`` is the file and the line.

    Raises
    ------
    DataError
        If a file is missing, damaged or too short, a date or a confidence is none, or a row is there twice.
    """
    records = [record for name in _HEADINGS for record in _records(folder / name)]
    table = pd.DataFrame(records, columns=list(COLUMNS))
    twice = table[table.duplicated(["programme", "institution", "announced", "operational"])]
    if len(twice):
        row = twice.iloc[0]
        raise DataError(
            f"{row['origin']}: {row['institution']} is there twice in {row['programme']}; keep one of the rows."
        )
    return table


def is_date(text: str) -> bool:
    """Tell whether ``text`` is a month "YYYY-MM" or a year "YYYY" of the programmes' time."""
    return _DATE.fullmatch(text) is not None


def _records(path: Path) -> list[dict[str, str]]:
    rows = csv_rows(path, _HEADINGS[path.name])
    if len(rows) < ROWS[path.name]:
        raise DataError(
            f"{path.name}: {len(rows)} rows, the compiled table has {ROWS[path.name]}; the file is incomplete, "
            "copy it again."
        )
    records = []
    for line, row in rows:
        where = f"{path.name}, line {line}"
        values = _us_row(row, where) if path.name == "us_consortia.csv" else row
        record = {column: values.get(column, "") for column in COLUMNS} | {"origin": f"{path.name}:{line}"}
        _check(record, where)
        records.append(record)
    return records


def _us_row(row: dict[str, str], where: str) -> dict[str, str]:
    column = _DATED_BY.get(row["programme"])
    if column is None:
        raise DataError(
            f'{where}: group "{row["programme"]}" is none of {", ".join(_DATED_BY)}; correct the row.'
        )
    amount = f"USD {row['amount_usd']}" if row["amount_usd"] else ""
    named = {"programme": row["title"], "country": "United States", column: row["start"], "amount": amount}
    return row | named


def _check(record: dict[str, str], where: str) -> None:
    for column in ("programme", "institution", "country", "source_url"):
        if not record[column]:
            raise DataError(f"{where}: {column} is empty; complete the row.")
    for column in ("announced", "operational"):
        if record[column] and not is_date(record[column]):
            raise DataError(
                f'{where}: {column} is "{record[column]}", it must be YYYY-MM or YYYY; correct it or leave it empty.'
            )
    if record["confidence"] not in CONFIDENCE:
        raise DataError(
            f'{where}: confidence "{record["confidence"]}" is none of {", ".join(CONFIDENCE)}; correct the row.'
        )
