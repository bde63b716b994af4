from __future__ import annotations

from pathlib import Path

import duckdb
import pytest

from study.core.errors import DataError
from study.data.sources import herd_fields
from study.data.sources.fetching import Fetcher

HEADING = ",".join(herd_fields.COLUMNS) + "\n"
ROW = "Stanford University,CA,243744,2012,Computer and information sciences,42000.0\n"


def write(folder: Path, rows: str = ROW) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / herd_fields.FILE).write_text(HEADING + rows, encoding="utf-8")
    return folder


def test_dollars_become_thousands(tmp_path: Path) -> None:
    assert herd_fields.read(write(tmp_path)).to_dict("records") == [
        {
            "inst_id": "Stanford University", "name": "Stanford University", "state": "CA", "ipeds": "243744",
            "fiscal_year": 2012, "total": 42.0,
        }
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ("", "no records after the heading"),
        (ROW + ROW, "line 3: Stanford University, 2012 is also on line 2"),
        (ROW[:-40], "line 2: . fields, the heading has 6"),
        (ROW.replace("2012", "12"), 'line 2: fiscal_year is "12"'),
        (ROW.replace("42000.0", "-1"), 'line 2: total_rd_usd_nominal is "-1"; it must be a number'),
        (ROW.replace("42000.0", ""), 'line 2: total_rd_usd_nominal is ""; it must be a number'),
        (ROW.replace("42000.0", "many"), 'line 2: total_rd_usd_nominal is "many"; it must be a number'),
        (ROW.replace("Computer", "Physical"), "line 2: field_label is"),
    ],
)
def test_a_damaged_table_is_named_with_file_and_line(tmp_path: Path, rows: str, message: str) -> None:
    with pytest.raises(DataError, match=message) as caught:
        herd_fields.read(write(tmp_path, rows))
    assert str(caught.value).startswith(herd_fields.FILE)
    assert "\n" not in str(caught.value)


def _sheet(folder: Path, columns: str) -> None:
    path = folder / "herd_fields" / Path(herd_fields.SHEET).name
    path.parent.mkdir()
    duckdb.execute(f"COPY (SELECT {columns} FROM range(2)) TO '{path}' (FORMAT parquet)")


def test_what_is_fetched_is_the_field_and_can_be_read(tmp_path: Path) -> None:
    field = "CASE range WHEN 0 THEN 'Physics' ELSE 'Computer and information sciences' END AS field_label"
    label = "'Stanford University' AS canonical_name, 'CA' AS state_code, NULL AS ipeds_unitid, 2012 AS fiscal_year"
    _sheet(tmp_path, f"{label}, {field}, 5000.0 + range AS total_rd_usd_nominal")
    herd_fields.fetch(tmp_path, Fetcher(pause=0))
    assert herd_fields.read(tmp_path / "herd_fields")["total"].tolist() == [5.001]


def test_a_sheet_of_another_layout_is_refused(tmp_path: Path) -> None:
    _sheet(tmp_path, "1 AS canonical_name")
    with pytest.raises(DataError, match=r"sheet_03_rd_by_field\.parquet"):
        herd_fields.fetch(tmp_path, Fetcher(pause=0))
