"""R&D spending of US universities by source of funds: the HERD survey of NCSES, as its zips or a SQLite copy."""

from __future__ import annotations

import io
import sqlite3
from collections.abc import Iterable
from contextlib import closing
from pathlib import Path

import pandas as pd

from study.core import DataError, tell
from study.data.sources import Fetcher, damaged, one_line, refuse_missing, unzipped

ADDRESS = "https://ncses.nsf.gov/821/assets/0/files"
HOSTS = (".nsf.gov",)
# The present survey begins in 2010. A later year joins here, so that results do not move by themselves.
YEARS = range(2010, 2025)
ARCHIVE = "higher_education_r_and_d_{year}.zip"
COPY = "herd.db"

# What is read of an agency's file (a row is a cell of the questionnaire), and what we call otherwise.
CSV_NAMES = {"inst_name_long": "name", "inst_city": "city", "inst_state_code": "state", "year": "fiscal_year"}
CSV_COLUMNS = ("inst_id", *CSV_NAMES, "question", "row", "data")
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
AMOUNTS = ["total", *SOURCES]
COLUMNS = ("inst_id", "name", "city", "state", "fiscal_year", *AMOUNTS)
# Sources are rounded to thousands one by one.
ROUNDING = len(SOURCES)


def fetch(raw: Path, fetcher: Fetcher, *, years: Iterable[int] = YEARS) -> list[Path]:
    """Download the public-use zips of the given fiscal years into ``raw/herd``.

    Parameters
    ----------
    raw : Path
        Folder of originals.
    fetcher : Fetcher
    years : iterable of int
        Fiscal years.
    """
    names = [ARCHIVE.format(year=year) for year in years]
    return [fetcher.download(f"{ADDRESS}/{name}", raw / "herd" / name, hosts=HOSTS) for name in names]


def read(folder: Path) -> pd.DataFrame:
    """Read the agency's zips of all years in ``folder``, or where there are none the SQLite copy ``herd.db``.

    The agency publishes thousand dollars, the copy has dollars; the table has thousand current dollars from
    both. From 2012 on it has the institutions that answered the standard form (a million dollars of R&D or
    more in the year before); smaller ones answer a short form, which is not read.

    Parameters
    ----------
    folder : Path
        Holds ``higher_education_r_and_d_YYYY.zip`` of consecutive years, or ``herd.db``.

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
    archives = {int(path.stem[-4:]): path for path in folder.glob(ARCHIVE.format(year="[0-9]" * 4))}
    if archives:
        for year in range(min(archives), max(archives) + 1):
            if year not in archives:
                fault = f"{ARCHIVE.format(year=year)} is missing in {folder}, but years before and after are there"
                raise DataError(f"HERD: {fault}; download it into it.")
        table = pd.concat([_read_zip(archives[year], year) for year in sorted(archives)])
    elif (folder / COPY).is_file():
        table = _read_copy(folder / COPY)
    else:
        fault = f"HERD: neither {ARCHIVE.format(year='YYYY')} nor {COPY} in {folder}"
        raise DataError(f"{fault}; download the public-use files of the survey into it.")
    table = table.reset_index(drop=True)
    amounts = table[AMOUNTS]
    difference = amounts["total"] - amounts[list(SOURCES)].sum(axis=1)
    problems = {
        "has no number of six digits": ~table["inst_id"].astype(str).str.fullmatch(r"\d{6}"),
        "has no name": table["name"].eq(""),
        "has an amount below 0": (amounts < 0).any(axis=1),
        "has sources that do not add up to its total": difference.abs() > ROUNDING,
        "is there twice": table.duplicated(["inst_id", "fiscal_year"]),
    }
    for problem, rows in problems.items():
        _refuse(table, rows, f"institution {{inst_id}} in {{fiscal_year}} {problem}")
    return table.sort_values(["inst_id", "fiscal_year"], ignore_index=True)[list(COLUMNS)]


def _read_zip(path: Path, year: int) -> pd.DataFrame:
    tell(f"HERD {year}")
    with unzipped(path, path.name) as archive:
        members = [name for name in archive.namelist() if name.lower().endswith(".csv")]
        if len(members) != 1:
            raise damaged(path.name, f"{len(members)} files *.csv in it, one is expected")
        content = archive.read(members[0])
    cells = _cells(content, f"{path.name}, {members[0]}").assign(where=path.name)
    other_year = cells["fiscal_year"] != str(year)
    _refuse(cells, other_year, f'record {{record}}: fiscal year "{{fiscal_year}}" in the file of {year}')
    cells = cells[(cells["question"] == QUESTION) & cells["row"].str.lower().isin(ROWS)]
    if cells.empty:
        raise damaged(path.name, f'no row of the question "{QUESTION}" (has the publisher renamed it?)')
    values = pd.to_numeric(cells["data"], errors="coerce")
    _refuse(cells, values.isna() & (cells["data"] != ""), 'record {record}: data "{data}" is no number')
    cells = cells.assign(column=cells["row"].str.lower().map(ROWS), value=values.fillna(0.0).astype(float))
    twice = cells.duplicated(["inst_id", "column"])
    _refuse(cells, twice, "record {record}: {row} of institution {inst_id} is there twice")
    wide = cells.pivot(index="inst_id", columns="column", values="value").reindex(columns=AMOUNTS)
    for inst_id in wide.index[wide["total"].isna()]:
        raise damaged(path.name, f"institution {inst_id} has no total")
    # A source from which an institution had nothing may be left out; the sum shows whether that is so.
    places = cells.drop_duplicates("inst_id").set_index("inst_id")[["name", "city", "state", "where"]]
    return places.join(wide.fillna(0.0)).reset_index().assign(fiscal_year=year)


def _cells(content: bytes, where: str) -> pd.DataFrame:
    """Return the cells of a questionnaire file in UTF-8, or in Windows-1252 as the agency wrote some years."""
    if not content.strip():
        raise damaged(where, "the file is empty")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError:
        try:
            text = content.decode("cp1252")
        except UnicodeDecodeError as error:
            raise damaged(where, f"byte {error.start} is neither UTF-8 nor Windows-1252") from None
    try:
        cells = pd.read_csv(
            io.StringIO(text), usecols=CSV_COLUMNS.__contains__, dtype=str, keep_default_na=False
        )
    except pd.errors.ParserError as error:
        raise damaged(where, f"{one_line(error)}; the file is damaged") from None
    refuse_missing(f"{where}, line 1", CSV_COLUMNS, list(cells))
    cells = cells.rename(columns=CSV_NAMES).apply(lambda column: column.str.strip())
    if cells.empty or cells["question"].iloc[-1] == "":
        fault = "the fields at its end are missing, the file is cut off"
        raise damaged(f"{where}, record {len(cells)}", fault)
    return cells


def _read_copy(path: Path) -> pd.DataFrame:
    tell(f"HERD {path.name}")
    columns = ", ".join(COPY_COLUMNS.get(column, column) for column in COLUMNS)
    try:
        with closing(sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True)) as connection:
            table = pd.read_sql_query(f"SELECT {columns} FROM institutions", connection)
    except (sqlite3.DatabaseError, pd.errors.DatabaseError) as error:
        fault = f"{path.name}: no readable table institutions with {columns} ({one_line(error)})"
        raise DataError(f"{fault}; restore the copy.") from None
    if table.empty:
        raise DataError(f"{path.name}: the table institutions has no rows; restore the copy.")
    table = table.set_axis(COLUMNS, axis=1).assign(where=path.name)
    dollars = table[AMOUNTS].apply(pd.to_numeric, errors="coerce")
    problem = "has amounts that are no whole thousands of dollars, and the copy's are in dollars"
    rows = (dollars % 1000 != 0).any(axis=1)
    _refuse(table, rows, f"institution {{inst_id}} in {{fiscal_year}} {problem}")
    return table.assign(**(dollars / 1000))


def _refuse(table: pd.DataFrame, rows: pd.Series, problem: str) -> None:
    """Raise the error of the first of the rows, if any; it takes the row's values, and record (from 1), by name."""
    for place, row in table[rows].head(1).iterrows():
        raise damaged(row["where"], problem.format(**row, record=int(str(place)) + 1))
