"""R&D spending of US universities in computer and information sciences (HERD), as a dashboard of it has it."""

from __future__ import annotations

import re
from pathlib import Path

import duckdb
import pandas as pd

from study.data.sources import AMOUNT, FILLED, Fetcher, csv_table, damaged, one_line

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
    _AMOUNT: AMOUNT,
}


def fetch(raw: Path, fetcher: Fetcher, *, version: str = VERSION) -> list[Path]:
    """Download the spending by field and write that of the field into ``raw/herd_fields``.

    Parameters
    ----------
    raw : Path
        Folder of originals.
    fetcher : Fetcher
    version : str
        Branch or commit.

    Raises
    ------
    DataError
        If the table cannot be downloaded, or has another layout.
    """
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
    table = csv_table(folder / FILE, COLUMNS, unique=("canonical_name", "fiscal_year"), rules=_RULES)
    table = table.rename(columns={"canonical_name": "name", "state_code": "state", "ipeds_unitid": "ipeds"})
    table.insert(0, "inst_id", table["name"])
    total = table.pop(_AMOUNT).astype(float) / 1000
    table = table.drop(columns="field_label").astype({"fiscal_year": int}).assign(total=total)
    return table.reset_index(drop=True)
