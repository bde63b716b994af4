"""R&D spending of US universities in computer and information sciences (HERD), as a dashboard of it has it."""

from __future__ import annotations

import re
from pathlib import Path

import duckdb
import pandas as pd

from study.data.sources import FILLED, Fetcher, Progress, csv_rows, damaged, number, one_line, silent

VERSION = "ee65ca92"
ADDRESS = "https://raw.githubusercontent.com/saberusama-hub/herd-survey-dashboard"
SHEET = "apps/web/public/data/sheet_03_rd_by_field.parquet"
FILE = "herd_computer_sciences_by_institution_fy2005_2024.csv"
FIELD = "Computer and information sciences"
_AMOUNT = "total_rd_usd_nominal"
COLUMNS = ("canonical_name", "state_code", "ipeds_unitid", "fiscal_year", "field_label", _AMOUNT)
_RULES = {
    "canonical_name": FILLED,
    "fiscal_year": (re.compile("20[012][0-9]"), "a year"),
    "field_label": (re.compile(FIELD), f'"{FIELD}"'),
}


def fetch(raw: Path, fetcher: Fetcher, *, progress: Progress = silent, version: str = VERSION) -> list[Path]:
    """Download the spending by field and write that of the field into ``raw/herd_fields``.

    Parameters
    ----------
    raw : Path
        Folder of originals.
    fetcher : Fetcher
    progress : callable, optional
        Called with a short text before the download.
    version : str
        Branch or commit.

    Raises
    ------
    DataError
        If the table cannot be downloaded, or has another layout.
    """
    progress("HERD by field")
    path = raw / "herd_fields" / FILE
    sheet = fetcher.download(f"{ADDRESS}/{version}/{SHEET}", path.with_name(Path(SHEET).name))
    query = f"SELECT {', '.join(COLUMNS)} FROM read_parquet(?) WHERE field_label = ? ORDER BY ALL"
    try:
        table = duckdb.execute(query, [str(sheet), FIELD]).df()
    except duckdb.Error as error:
        raise damaged(sheet.name, one_line(error)) from None
    table.to_csv(path, index=False, lineterminator="\n")
    return [path]


def read(folder: Path) -> pd.DataFrame:
    """Read the spending.

    Returns
    -------
    DataFrame
        One row an institution and fiscal year: inst_id and name (of the source, which carries most of them over the
        survey's change of 2010), state, ipeds (empty where not known), fiscal_year, total (thousand current dollars).

    Raises
    ------
    DataError
        If the file is missing, damaged or of another layout, an institution stands twice in a year, or an amount is no
        number or below 0.
    """
    rows = []
    for line, row in csv_rows(folder / FILE, COLUMNS, unique=("canonical_name", "fiscal_year"), rules=_RULES):
        where = f"{FILE}, line {line}"
        total = number(row[_AMOUNT], f"{where}: {_AMOUNT}") / 1000
        if not total >= 0:
            raise damaged(where, f'{_AMOUNT} is "{row[_AMOUNT]}"; it must be an amount')
        name = row["canonical_name"]
        rows.append((name, name, row["state_code"], row["ipeds_unitid"], int(row["fiscal_year"]), total))
    return pd.DataFrame(rows, columns=["inst_id", "name", "state", "ipeds", "fiscal_year", "total"])
