"""R&D spending of US universities by source of funds: the HERD survey of NCSES, as its zips or a SQLite copy."""

from __future__ import annotations

import io
import re
import sqlite3
from collections.abc import Iterable
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from study.core import DataError
from study.data.sources.reading import Progress, silent, unzipped

if TYPE_CHECKING:
    from study.data.sources.fetching import Fetcher

ADDRESS = "https://ncses.nsf.gov/821/assets/0/files"
# The present survey begins in 2010. A later year joins here, so that results do not move by themselves.
YEARS = range(2010, 2025)
ARCHIVE = "higher_education_r_and_d_{year}.zip"
COPY = "herd.db"

# What is read of an agency's file: one row is one cell of the questionnaire.
CSV_COLUMNS = {
    "inst_id": "inst_id",
    "inst_name_long": "name",
    "inst_city": "city",
    "inst_state_code": "state",
    "year": "fiscal_year",
    "question": "question",
    "row": "row",
    "data": "data",
}
QUESTION = "Source"
# Rows of the question on sources of funds; some releases write "Institution funds, total".
ROWS = {
    "total": "total",
    "federal government": "federal",
    "state and local government": "state_local",
    "institution funds": "institutional",
    "institution funds, total": "institutional",
    "business": "business",
    "nonprofit organizations": "nonprofit",
    "all other sources": "other",
}
# What the copy calls otherwise.
COPY_COLUMNS = {"fiscal_year": "year", "total": "total_rd", "other": "other_sources"}
SOURCES = ("federal", "state_local", "institutional", "business", "nonprofit", "other")
COLUMNS = ("inst_id", "name", "city", "state", "fiscal_year", "total", *SOURCES)
# Sources are rounded to thousands one by one.
ROUNDING = len(SOURCES)

_ARCHIVE = re.compile(r"higher_education_r_and_d_(\d{4})\.zip")


def fetch(
    raw: Path,
    fetcher: Fetcher,
    *,
    progress: Progress = silent,
    years: Iterable[int] = YEARS,
    base: str = ADDRESS,
) -> list[Path]:
    """Download the public-use zips of the given fiscal years into ``raw/herd``.

    Parameters
    ----------
    raw : Path
        Folder of originals.
    fetcher : Fetcher
    progress : callable, optional
        Called with a short text before each file.
    years : iterable of int
        Fiscal years.
    base : str
        Address of the agency's files.
    """
    paths = []
    for year in years:
        name = ARCHIVE.format(year=year)
        progress(f"HERD {year}")
        paths.append(fetcher.download(f"{base}/{name}", raw / "herd" / name))
    return paths


def read(folder: Path, progress: Progress = silent) -> pd.DataFrame:
    """Read the agency's zips of all years in ``folder``, or where there are none the SQLite copy ``herd.db``.

    The agency publishes thousand dollars, the copy has dollars; the table has thousand current dollars from
    both. From 2012 on it has the institutions that answered the standard form (a million dollars of R&D or
    more in the year before); smaller ones answer a short form, which is not read.

    Parameters
    ----------
    folder : Path
        Holds ``higher_education_r_and_d_YYYY.zip`` of consecutive years, or ``herd.db``.
    progress : callable, optional
        Called with a short text before each file.

    Returns
    -------
    DataFrame
        One row an institution and fiscal year, sorted: inst_id (six digits), name (of that year), city, state
        (postal code), fiscal_year, total, federal, state_local, institutional, business, nonprofit, other
        (thousand dollars).

    Raises
    ------
    DataError
        If nothing is there, a year is missing between others, a file is damaged or of another layout, an
        institution stands twice in a year, or the sources do not add up to the total.
    """
    archives = {
        int(match[1]): path for path in folder.glob("*.zip") if (match := _ARCHIVE.fullmatch(path.name))
    }
    if archives:
        missing = sorted(set(range(min(archives), max(archives) + 1)) - set(archives))
        if missing:
            raise DataError(
                f"HERD: {ARCHIVE.format(year=missing[0])} is missing in {folder}, but years before and after "
                "are there; download it into it."
            )
        table = pd.concat([_read_zip(archives[year], year, progress) for year in sorted(archives)])
    elif (folder / COPY).is_file():
        table = _read_copy(folder / COPY, progress)
    else:
        raise DataError(
            f"HERD: neither {ARCHIVE.format(year='YYYY')} nor {COPY} in {folder}; download the public-use files "
            "of the survey into it."
        )
    return _checked(table)


def _read_zip(path: Path, year: int, progress: Progress) -> pd.DataFrame:
    progress(f"HERD {year}")
    cells = _cells(path).assign(where=path.name)
    _refuse(
        cells,
        cells["fiscal_year"] != str(year),
        f'{{where}}, record {{record}}: fiscal year "{{fiscal_year}}" in the file of {year}; download it again.',
    )
    cells = cells[(cells["question"] == QUESTION) & cells["row"].str.lower().isin(ROWS)]
    if cells.empty:
        raise DataError(
            f'{path.name}: no row of the question "{QUESTION}"; has the publisher renamed it? Download it again.'
        )
    values = pd.to_numeric(cells["data"], errors="coerce")
    _refuse(
        cells,
        values.isna() & (cells["data"] != ""),
        '{where}, record {record}: data "{data}" is no number; download it again.',
    )
    cells = cells.assign(column=cells["row"].str.lower().map(ROWS), value=values.fillna(0.0).astype(float))
    _refuse(
        cells,
        cells.duplicated(["inst_id", "column"]),
        "{where}, record {record}: {row} of institution {inst_id} is there twice; download it again.",
    )
    wide = cells.pivot(index="inst_id", columns="column", values="value").reindex(columns=["total", *SOURCES])
    unknown = wide.index[wide["total"].isna()]
    if len(unknown):
        raise DataError(f"{path.name}: institution {unknown[0]} has no total; download it again.")
    # A source from which an institution had nothing may be left out; the sum shows whether that is so.
    places = cells.drop_duplicates("inst_id").set_index("inst_id")[["name", "city", "state", "where"]]
    return places.join(wide.fillna(0.0)).reset_index().assign(fiscal_year=year)


def _cells(path: Path) -> pd.DataFrame:
    with unzipped(path, path.name) as archive:
        members = [name for name in archive.namelist() if name.lower().endswith(".csv")]
        if len(members) != 1:
            raise DataError(
                f"{path.name}: {len(members)} files *.csv in it, one is expected; download it again."
            )
        content = archive.read(members[0])
    return _parse(content, f"{path.name}, {members[0]}")


def _parse(content: bytes, where: str) -> pd.DataFrame:
    """Return the cells of a questionnaire file in UTF-8, or in Windows-1252 as the agency wrote some years."""
    if not content.strip():
        raise DataError(f"{where}: the file is empty; download it again.")
    try:
        content.decode("utf-8")
        encoding = "utf-8-sig"
    except UnicodeDecodeError:
        encoding = "cp1252"
    try:
        cells = pd.read_csv(
            io.BytesIO(content),
            usecols=lambda column: column in CSV_COLUMNS,
            dtype=str,
            keep_default_na=False,
            encoding=encoding,
        )
    except UnicodeDecodeError as error:
        raise DataError(
            f"{where}: byte {error.start} is neither UTF-8 nor Windows-1252; download it again."
        ) from None
    except pd.errors.ParserError as error:
        raise DataError(f"{where}: {_one_line(error)}; the file is damaged, download it again.") from None
    missing = [column for column in CSV_COLUMNS if column not in cells]
    if missing:
        raise DataError(
            f"{where}, line 1: no column {', '.join(missing)}; has the publisher renamed it? Download it again."
        )
    cells = cells.rename(columns=CSV_COLUMNS)
    cells = cells.apply(lambda column: column.str.strip())
    if cells.empty or cells["question"].iloc[-1] == "":
        raise DataError(
            f"{where}, record {len(cells)}: the fields at its end are missing; the file is cut off, download it again."
        )
    return cells


def _read_copy(path: Path, progress: Progress) -> pd.DataFrame:
    progress(f"HERD {path.name}")
    columns = ", ".join(COPY_COLUMNS.get(column, column) for column in COLUMNS)
    try:
        with closing(sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True)) as connection:
            table = pd.read_sql_query(f"SELECT {columns} FROM institutions", connection)
    except (sqlite3.DatabaseError, pd.errors.DatabaseError) as error:
        raise DataError(
            f"{path.name}: no readable table institutions with {columns} ({_one_line(error)}); restore the copy."
        ) from None
    if table.empty:
        raise DataError(f"{path.name}: the table institutions has no rows; restore the copy.")
    table = table.set_axis(COLUMNS, axis=1).assign(where=path.name)
    amounts = ["total", *SOURCES]
    dollars = table[amounts].apply(pd.to_numeric, errors="coerce")
    _refuse(
        table,
        (dollars % 1000 != 0).any(axis=1),
        "{where}: institution {inst_id} in {fiscal_year} has amounts that are no whole thousands of dollars; "
        "restore the copy, whose amounts are in dollars.",
    )
    table[amounts] = dollars / 1000
    return table


def _checked(table: pd.DataFrame) -> pd.DataFrame:
    """Return the table sorted, after the checks that hold for both formats."""
    table = table.reset_index(drop=True)
    amounts = table[["total", *SOURCES]]
    difference = amounts["total"] - amounts[list(SOURCES)].sum(axis=1)
    problems = {
        "has no number of six digits": ~table["inst_id"].astype(str).str.fullmatch(r"\d{6}"),
        "has no name": table["name"].eq(""),
        "has an amount below 0": (amounts < 0).any(axis=1),
        "has sources that do not add up to its total": difference.abs() > ROUNDING,
        "is there twice": table.duplicated(["inst_id", "fiscal_year"]),
    }
    for problem, rows in problems.items():
        _refuse(
            table,
            rows,
            f"{{where}}: institution {{inst_id}} in {{fiscal_year}} {problem}; download the file again.",
        )
    return table.sort_values(["inst_id", "fiscal_year"], ignore_index=True)[list(COLUMNS)]


def _refuse(table: pd.DataFrame, rows: pd.Series, error: str) -> None:
    """Raise the error of the first of the rows, if any; it takes the row's values, and record (from 1), by name."""
    for place, row in table[rows].head(1).iterrows():
        raise DataError(error.format(**row, record=int(str(place)) + 1))


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())
