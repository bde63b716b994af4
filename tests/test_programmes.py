from __future__ import annotations

import csv
import io
import os
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from study.core.errors import DataError
from study.data.sources import programmes
from study.data.sources.fetching import Fetcher

ROOT = Path(__file__).parents[1]
RAW = Path(os.environ.get("STUDY_RAW", ROOT.parent / "shared" / "data" / "raw"))
Rows = list[list[str]]
PUBLIC = [
    "programme", "institution", "country", "kind", "announced", "operational", "size", "source_url", "source_title",
    "evidence", "confidence",
]  # fmt: skip
US = [
    "programme", "institution", "state", "title", "start", "amount_usd", "gpu", "source_url", "source_title",
    "confidence", "kind",
]  # fmt: skip


def public_rows() -> Rows:
    return [
        list(PUBLIC),
        ["JADE", "University of Oxford", "United Kingdom", "consortium_cluster", "2017", "2017-10",
         "22 servers, 8 GPUs each", "https://jade.example/partners", "Partners page", "Named, first", "high"],
        *[["Filler", f"University {i}", "Chile", "campus_cluster", "", "2015-05", "", "https://x.example", "X", "",
           "low"] for i in range(programmes.ROWS["public.csv"] - 1)],
    ]  # fmt: skip


def industry_rows() -> Rows:
    row = [
        "Gift",
        "ETH Zürich",
        "Switzerland",
        "gpu_donation",
        "2016-08",
        "",
        "",
        "https://g.example",
        "G",
        "",
        "high",
    ]
    filler = [[*row[:1], f"Institut {i}", *row[2:]] for i in range(programmes.ROWS["industry.csv"] - 1)]
    return [[*PUBLIC, "date_type", "inst_type"], *([*r, "exact", "university"] for r in [row, *filler])]


def us_rows() -> Rows:
    row = ["CONSORTIUM", "Harvard University", "MA", "Shared data centre", "2012-11", "95", "unknown",
           "https://m.example", "M", "high", "shared_data_centre"]  # fmt: skip
    gift = ["GIFT", "University of Florida", "FL", "Gift of a machine", "2020-07", "", "yes", *row[7:]]
    filler = [["STATE", f"College {i}", *row[2:]] for i in range(programmes.ROWS["us_consortia.csv"] - 2)]
    return [list(US), row, gift, *filler]


def as_csv(rows: Rows) -> bytes:
    stream = io.StringIO()
    csv.writer(stream, lineterminator="\n").writerows(rows)
    return stream.getvalue().encode()


def write_compiled(folder: Path, **changed: bytes) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    files = {"public": public_rows(), "industry": industry_rows(), "us_consortia": us_rows()}
    for name, rows in files.items():
        (folder / f"{name}.csv").write_bytes(changed.get(name, as_csv(rows)))
    return folder


def test_the_compiled_files_become_one_table_that_says_where_each_row_is_from(tmp_path: Path) -> None:
    table = programmes.read(write_compiled(tmp_path))
    assert table.columns.tolist() == list(programmes.COLUMNS)
    assert len(table) == sum(programmes.ROWS.values())
    first = table.iloc[0]
    assert (first["institution"], first["announced"], first["operational"], first["origin"]) == (
        "University of Oxford", "2017", "2017-10", "public.csv:2",
    )  # fmt: skip
    assert table.set_index("origin").loc["industry.csv:2", ["institution", "date_type"]].tolist() == [
        "ETH Zürich",
        "exact",
    ]


def test_a_us_row_is_dated_by_its_opening_or_by_its_announcement(tmp_path: Path) -> None:
    table = programmes.read(write_compiled(tmp_path)).set_index("institution")
    columns = ["programme", "country", "announced", "operational", "amount"]
    assert table.loc["Harvard University", columns].tolist() == [
        "Shared data centre", "United States", "", "2012-11", "USD 95",
    ]  # fmt: skip
    assert table.loc["University of Florida", columns].tolist() == [
        "Gift of a machine", "United States", "2020-07", "", "",
    ]  # fmt: skip


def _set(row: int, column: int, value: str) -> Callable[[Rows], Rows]:
    def spoil(rows: Rows) -> Rows:
        rows[row][column] = value
        return rows

    return spoil


def _twice(rows: Rows) -> Rows:
    return [*rows, rows[1]]


def _short(rows: Rows) -> Rows:
    return rows[:-1]


def _same(rows: Rows) -> Rows:
    return rows


@pytest.mark.parametrize(
    ("spoil", "spoil_bytes", "message"),
    [
        (_set(1, 5, "2017-13"), None, r'public.csv, line 2: operational is "2017-13", it must be YYYY-MM'),
        (_set(1, 4, "October 2017"), None, r'line 2: announced is "October 2017"'),
        (_set(1, 4, "2117"), None, r'line 2: announced is "2117"'),
        (_set(1, 10, "certain"), None, r'line 2: confidence "certain" is none of high, medium, low'),
        (_set(1, 1, " "), None, "line 2: institution is empty"),
        (_set(0, 1, "recipient"), None, "line 1: no column institution"),
        (_twice, None, r"public.csv:185: University of Oxford is there twice in JADE"),
        (_short, None, "182 rows, the compiled table has 183; the file is incomplete"),
        (_same, lambda content: content[:-40], r"public.csv, line 184: \d+ fields?, the heading has 11"),
        (_same, lambda content: b"", "public.csv: the file is empty"),
        (_same, lambda content: b"<!DOCTYPE html><title>404</title>", "web page and no CSV"),
        (
            _set(1, 1, "Université"),
            lambda content: content.decode().encode("latin-1"),
            r"line 2: byte \d+ is not UTF-8",
        ),
    ],
)
def test_a_damaged_table_is_named_with_its_line(
    tmp_path: Path,
    spoil: Callable[[Rows], Rows],
    spoil_bytes: Callable[[bytes], bytes] | None,
    message: str,
) -> None:
    content = as_csv(spoil(public_rows()))
    write_compiled(tmp_path, public=content if spoil_bytes is None else spoil_bytes(content))
    with pytest.raises(DataError, match=message) as caught:
        programmes.read(tmp_path)
    assert str(caught.value).startswith("public.csv")
    assert "\n" not in str(caught.value)


def test_a_missing_table_and_an_unknown_group_are_named(tmp_path: Path) -> None:
    write_compiled(tmp_path, us_consortia=as_csv(_set(3, 0, "CITY")(us_rows())))
    with pytest.raises(DataError, match=r'us_consortia.csv, line 4: group "CITY" is none of'):
        programmes.read(tmp_path)
    (tmp_path / "industry.csv").unlink()
    with pytest.raises(DataError, match=r"industry.csv is missing"):
        programmes.read(tmp_path)


def test_what_was_compiled_by_hand_cannot_be_downloaded(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"nothing to download.*data/programmes.csv"):
        programmes.fetch(tmp_path, Fetcher())
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(not (RAW / "programmes").is_dir(), reason=f"the compiled tables are not in {RAW}")
def test_the_compiled_tables_have_three_hundred_rows() -> None:
    table = programmes.read(RAW / "programmes")
    assert Counter(origin.split(":")[0] for origin in table["origin"]) == programmes.ROWS
