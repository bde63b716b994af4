"""Limits on files: what is larger is one line that names the limit, and is refused before it fills the memory."""

from __future__ import annotations

import csv
import gzip
import subprocess
import sys
import zipfile
from pathlib import Path

import duckdb
import pandas as pd
import pytest
from command_line import command
from plans import ROOT

import study
from study import DataError, Panel, QuestionError, settings
from study.data.sources import content_of, csv_rows, unzipped
from study.panel.tables import read_table

ROWS = "unit,time,first_treated,y\n" + "".join(
    f"{unit},{year},{2004 if unit < 3 else ''},{unit}\n" for unit in range(6) for year in range(2000, 2008)
)
AS = {"unit": "unit", "time": "time", "first_treated": "first_treated", "outcomes": "y"}


def one_line(error) -> str:
    text = str(error.value)
    assert text.isprintable()
    return text


def refused(path: Path, **limits: int) -> str:
    """Return why a table is not read under limits, and read it under larger ones."""
    with pytest.raises(DataError) as error, settings(**limits):
        read_table(path)
    with settings(**{name: 100 * most for name, most in limits.items()}):
        read_table(path)
    return one_line(error).removeprefix(f"{path}: ")


def files(folder: Path) -> dict[str, Path]:
    """Return the same table in files of every kind."""
    data = pd.read_csv(Path(folder / "a.csv"), dtype=str, keep_default_na=False)
    (folder / "a.csv.gz").write_bytes(gzip.compress(ROWS.encode()))
    duckdb.sql("SELECT * FROM data").write_parquet(str(folder / "a.parquet"))
    data.to_stata(folder / "a.dta", write_index=False)
    pytest.importorskip("pyarrow")
    data.to_feather(folder / "a.feather")
    workbook(folder / "a.xlsx", [(r, c) for r in range(1, 49) for c in "ABCD"])
    return {path.suffix: path for path in folder.iterdir()}


def workbook(path: Path, cells: list[tuple[int, str]]) -> Path:
    """Write a workbook with a number in some cells."""
    kinds = "http://schemas.openxmlformats.org"
    relation = f"{kinds}/officeDocument/2006/relationships"

    def related(kind: str, target: str) -> str:
        where = f'Id="rId1" Type="{relation}/{kind}" Target="{target}"'
        return f'<Relationships xmlns="{kinds}/package/2006/relationships"><Relationship {where}/></Relationships>'

    main = f'xmlns="{kinds}/spreadsheetml/2006/main"'
    rows = "".join(
        f'<row r="{row}"><c r="{column}{row}"><v>{1000 * ord(column[0]) + row}</v></c></row>'
        for row, column in cells
    )
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("_rels/.rels", related("officeDocument", "xl/workbook.xml"))
        archive.writestr("xl/_rels/workbook.xml.rels", related("worksheet", "worksheets/sheet1.xml"))
        sheet = f'<sheets><sheet name="a" sheetId="1" r:id="rId1" xmlns:r="{relation}"/></sheets>'
        archive.writestr("xl/workbook.xml", f"<workbook {main}>{sheet}</workbook>")
        archive.writestr(
            "xl/worksheets/sheet1.xml", f"<worksheet {main}><sheetData>{rows}</sheetData></worksheet>"
        )
    return path


def test_a_file_of_any_kind_with_too_many_rows_columns_or_bytes_is_one_line(tmp_path):
    (tmp_path / "a.csv").write_text(ROWS)
    kinds = files(tmp_path)
    assert len(kinds) == 6
    for kind, path in kinds.items():
        if kind != ".xlsx":
            assert "rows" in refused(path, max_rows=40), kind
            assert (
                "max_rows is 40; if the file is correct, raise the limit in Python: study.settings(max_rows=NUMBER)."
                in (refused(path, max_rows=40))
            )
            assert "max_columns is 3" in refused(path, max_columns=3), kind
        assert "max_bytes is 150" in refused(path, max_bytes=150).replace("expands", "has"), kind
    with settings(max_rows=48, max_columns=4, max_cell=13):
        for path in kinds.values():
            read_table(path)


def test_a_long_cell_is_refused_by_its_line_and_the_limit_is_back_afterwards(tmp_path):
    path = tmp_path / "long.csv"
    path.write_text(ROWS + f'9,2000,,"{"x" * 100_001}\n')
    before = csv.field_size_limit()
    with pytest.raises(DataError) as error:
        read_table(path)
    said = "a cell on line 50 has more than 100,000 characters (an open quotation mark?), and max_cell is 100,000; "
    assert said in one_line(error)
    assert csv.field_size_limit() == before
    duckdb.sql("SELECT repeat('x', 100001) AS u, 1 AS t").write_parquet(str(tmp_path / "long.parquet"))
    assert "a cell of column u has 100,001 bytes" in refused(tmp_path / "long.parquet", max_cell=100_000)


BOMB = """
import resource, sys
resource.setrlimit(resource.RLIMIT_AS, (3 * 2**30, 3 * 2**30))
from pathlib import Path
from study import DataError
from study.data.sources import content_of
from study.panel.tables import read_table
for path in map(Path, sys.argv[1:]):
    for read in (read_table, content_of) if path.suffix == ".gz" else (read_table,):
        try:
            read(path)
        except DataError as error:
            print(error)
# What getrusage says counts the process that started this one.
print(next(line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM")))
"""


def in_little_memory(*paths: Path) -> tuple[list[str], int]:
    """Return what a process says that reads files, and its most memory in KiB."""
    given = [sys.executable, "-c", BOMB, *map(str, paths)]
    done = subprocess.run(given, capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    *said, peak = done.stdout.splitlines()
    return said, int(peak)


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="the peak of memory is read from /proc")
def test_bombs_are_refused_while_they_are_read(tmp_path):
    zeros, far, same = (tmp_path / name for name in ("zeros.csv.gz", "far.xlsx", "same.parquet"))
    zeros.write_bytes(110 * gzip.compress(bytes(10_000_000), compresslevel=1))
    workbook(far, [(1, "A"), (1_048_576, "XFD")])
    duckdb.sql("SELECT 1::DOUBLE AS u, u AS v FROM range(50000001)").write_parquet(str(same))
    assert zeros.stat().st_size < 10_000_000
    assert same.stat().st_size < 1_000_000
    (*of_zeros, of_far, of_same), peak = in_little_memory(zeros, far, same)
    assert len(of_zeros) == 2
    assert all("zeros.csv.gz: it expands to 1,0" in line for line in of_zeros)
    assert all("bytes or more, and max_bytes is 1,000,000,000; " in line for line in of_zeros)
    assert "a sheet reaches to row 1,048,576 and column 16,384, 549,755,813,888 bytes of cells" in of_far
    assert "it has 50,000,001 rows, and max_rows is 50,000,000" in of_same
    assert peak < 600_000


def test_a_workbook_whose_heading_lies_about_its_size_is_counted(tmp_path):
    path = workbook(tmp_path / "lies.xlsx", [(row, "A") for row in range(1, 3000)])
    content = path.read_bytes()
    sheet = zipfile.ZipFile(path).getinfo("xl/worksheets/sheet1.xml")
    true, lie = sheet.file_size.to_bytes(4, "little"), (10).to_bytes(4, "little")
    path.write_bytes(content.replace(true, lie))
    assert zipfile.ZipFile(path).getinfo("xl/worksheets/sheet1.xml").file_size == 10
    with (
        settings(max_bytes=100_000),
        pytest.raises(DataError, match=r"it expands to .* or more, and max_bytes"),
    ):
        read_table(path)


def test_originals_have_the_same_limits(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("a,b\n" + "1,2\n" * 50)
    packed = tmp_path / "b.csv.gz"
    packed.write_bytes(gzip.compress(path.read_bytes()))
    with zipfile.ZipFile(tmp_path / "c.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.write(path, "inside.csv")
    for limits, read, has in (
        (
            {"max_rows": 49},
            lambda: csv_rows(path, ["a"]),
            "a.csv: it has 50 rows or more, and max_rows is 49",
        ),
        ({"max_columns": 1}, lambda: csv_rows(path, ["a"]), "line 1 has 2 fields, and max_columns is 1"),
        ({"max_cell": 3}, lambda: csv_rows(packed, ["a"]), None),
        ({"max_bytes": 100}, lambda: content_of(packed), "b.csv.gz: it expands to 204 bytes or more"),
        ({"max_bytes": 100}, lambda: content_of(path), "a.csv: the file has 204 bytes, and max_bytes is 100"),
        (
            {"max_bytes": 100},
            lambda: unzipped(tmp_path / "c.zip", "c.zip").__enter__(),
            "inside.csv in it has",
        ),
    ):
        with settings(**limits):
            if has is None:
                read()
                continue
            with pytest.raises(DataError) as error:
                read()
        assert has in one_line(error)


def test_a_limit_below_one_is_an_error():
    with pytest.raises(QuestionError, match="max_cell is -1"), settings(max_cell=-1):
        raise AssertionError


HOSTILE = "\x1b[2J\u202e\x01\x07" + "z" * 500


def test_texts_of_cells_are_short_in_messages_and_their_control_characters_shown(tmp_path):
    path = tmp_path / "own.csv"
    text = ROWS.replace("1,2003,2004,1", f"1,2003,2004,{HOSTILE}")
    path.write_text(text)
    with pytest.raises(DataError) as error:
        Panel.from_long(path, **AS)
    said = one_line(error)
    assert r"\x1b[2J\u202e\x01\x07zzz" in said
    assert "z" * 61 not in said
    done = command("validate", "own.csv", "--outcome", "y", cwd=tmp_path)
    assert done.returncode == 1
    assert r"\x1b[2J\u202e\x01\x07zzz" in done.stdout
    assert done.stdout.replace("\n", "").isprintable()
    assert "z" * 61 not in done.stdout
    path.write_text(ROWS.replace("unit,time", f"{HOSTILE},time").replace("y\n", f"{HOSTILE}\n"))
    with pytest.raises(DataError, match="more than once") as error:
        read_table(path)
    assert "z" * 61 not in one_line(error)
    with pytest.raises(DataError) as error:
        csv_rows(path, ["missing"])
    assert len(one_line(error)) < 1000


def test_a_message_that_lists_very_much_is_cut_in_its_middle():
    text = str(study.StudyError("begins " + "and " * 10_000 + "ends."))
    assert len(text) <= 3000
    assert text.startswith("begins")
    assert text.endswith("ends.")
