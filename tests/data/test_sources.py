from __future__ import annotations

import gzip
import json
from pathlib import Path

import pandas as pd
import pytest
from originals import NAMED, new_rows, old_rows, paper, write_papers, write_universities, write_xlsx

from study.core import settings
from study.core.errors import DataError
from study.data.sources import paperlists, published, top500, universities


def test_rmax_is_in_teraflops_before_and_after_the_change_of_unit(tmp_path: Path) -> None:
    old = top500.read_list(write_xlsx(tmp_path / "old.xlsx", old_rows()), "1993-06")
    new = top500.read_list(write_xlsx(tmp_path / "new.xlsx", new_rows()), "2021-06")
    assert len(old) == len(new) == 500
    assert old["rmax_tflops"][0] == pytest.approx(1.0)
    assert new["rmax_tflops"][0] == pytest.approx(1000.0)
    # These lists do not say Rpeak.
    assert new["rpeak_tflops"].equals(new["rmax_tflops"])


def test_none_is_no_accelerator(tmp_path: Path) -> None:
    table = top500.read_list(write_xlsx(tmp_path / "new.xlsx", new_rows()), "2021-06")
    assert table["accelerator"].tolist()[:2] == ["NVIDIA A100", ""]


def test_before_the_column_an_accelerator_is_known_only_from_the_description(tmp_path: Path) -> None:
    rows = old_rows()
    rows[2][3] = "Cluster, Xeon, nVidia Tesla"
    table = top500.read_list(write_xlsx(tmp_path / "old.xlsx", rows), "2010-11")
    assert table["accelerator"].tolist()[:3] == ["", "named in the system", ""]


def test_ties_share_a_rank(tmp_path: Path) -> None:
    rows = old_rows()
    rows[2][0] = 1
    assert top500.read_list(write_xlsx(tmp_path / "old.xlsx", rows), "1993-06")["rank"].tolist()[:3] == [
        1,
        1,
        3,
    ]


def _cut(rows: list[list[object]]) -> list[list[object]]:
    return rows[:-1]


def _text_in_rmax(rows: list[list[object]]) -> list[list[object]]:
    rows[10][6] = "n/a"
    return rows


def _negative_rmax(rows: list[list[object]]) -> list[list[object]]:
    rows[10][6] = -1.0
    return rows


def _no_site(rows: list[list[object]]) -> list[list[object]]:
    rows[7][1] = " "
    return rows


def _no_heading(rows: list[list[object]]) -> list[list[object]]:
    return rows[1:]


def _no_country(rows: list[list[object]]) -> list[list[object]]:
    rows[0][4] = "Land"
    return rows


def _shuffled(rows: list[list[object]]) -> list[list[object]]:
    rows[3], rows[400] = rows[400], rows[3]
    return rows


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (_cut, r"499 systems, .* incomplete"),
        (_text_in_rmax, r'row 11: .*Rmax "n/a"'),
        (_negative_rmax, r"row 11: Rmax is -1.0"),
        (_no_site, r"row 8: site is empty"),
        (_no_heading, "no row with the headings Rank and Site"),
        (_no_country, r"row 1: no column country"),
        (_shuffled, r"row 4: rank 400 follows 2"),
    ],
)
def test_a_damaged_list_is_named_with_its_row(tmp_path: Path, spoil, message: str) -> None:
    path = write_xlsx(tmp_path / "TOP500_199306.xlsx", spoil(old_rows()))
    with pytest.raises(DataError, match=message) as caught:
        top500.read_list(path, "1993-06")
    assert str(caught.value).startswith("TOP500_199306.xlsx")
    assert "\n" not in str(caught.value)


def test_a_list_without_accelerators_is_wrong_from_june_2011(tmp_path: Path) -> None:
    path = write_xlsx(tmp_path / "list.xlsx", old_rows())
    with pytest.raises(DataError, match="no column accelerator"):
        top500.read_list(path, "2011-06")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "empty"),
        (b"<!DOCTYPE html><html><title>Log in</title></html>", "web page"),
        (b"PK\x03\x04 and then nothing of a workbook", "not readable as Excel"),
        (b"Rank,Site\n1,Somewhere\n", "not readable as Excel"),
    ],
)
def test_what_is_no_excel_file_is_said_to_be_none(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "TOP500_199306.xls"
    path.write_bytes(content)
    with pytest.raises(DataError, match=message):
        top500.read_list(path, "1993-06")


def test_a_truncated_workbook_is_not_readable(tmp_path: Path) -> None:
    path = write_xlsx(tmp_path / "TOP500_199306.xlsx", old_rows())
    path.write_bytes(path.read_bytes()[:2000])
    with pytest.raises(DataError, match=r"TOP500_199306.xlsx: not readable as Excel"):
        top500.read_list(path, "1993-06")


def test_no_list_of_the_half_years_may_be_missing(tmp_path: Path) -> None:
    for month in ("199306", "199406"):
        (tmp_path / f"TOP500_{month}.xls").write_bytes(b"x")
    with pytest.raises(DataError, match="list 1993-11 is missing"):
        top500.lists(tmp_path)


def test_a_list_may_not_be_there_twice(tmp_path: Path) -> None:
    for suffix in ("xls", "xlsx"):
        (tmp_path / f"TOP500_199306.{suffix}").write_bytes(b"x")
    with pytest.raises(DataError, match="1993-06 is there twice"):
        top500.lists(tmp_path)


def test_a_folder_without_lists_says_what_to_download(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="download the lists"):
        top500.lists(tmp_path)


def _read(folder: Path, records: list[dict[str, str]], name: str = "cvpr2013.json.gz") -> pd.DataFrame:
    write_papers(folder / "cvpr" / name, records)
    return paperlists.read(folder, [("cvpr", 2013)])


@pytest.mark.parametrize("name", ["cvpr2013.json", "cvpr2013.json.gz"])
def test_papers_read_the_same_plain_and_compressed(tmp_path: Path, name: str) -> None:
    table = _read(tmp_path, [paper("MIT; Google", aff_domain="mit.edu;google.com")], name)
    assert table.to_dict("records") == [
        {"venue": "cvpr", "year": 2013, "row": 1, "title": "Of MIT; Google", "author": "A. Name", "aff": "MIT; Google",
         "aff_domain": "mit.edu;google.com", "track": "main", "status": "Poster"}
    ]  # fmt: skip


def test_rows_keep_the_order_of_files_and_of_records(tmp_path: Path) -> None:
    for venue, year in (("cvpr", 2014), ("cvpr", 2013), ("acml", 2013)):
        records = [paper(f"{venue} {year} {place}") for place in range(3000)]
        write_papers(tmp_path / venue / f"{venue}{year}.json", records)
    table = paperlists.read(tmp_path, [("cvpr", 2014), ("acml", 2013), ("cvpr", 2013)])
    assert table["aff"].tolist() == [
        f"{name} {place}" for name in ("cvpr 2014", "acml 2013", "cvpr 2013") for place in range(3000)
    ]
    assert table["row"].tolist() == [*range(1, 3001)] * 3


def test_only_accepted_papers_of_the_main_track_count(tmp_path: Path) -> None:
    records = [
        paper("A"), paper("B", status="Reject"), paper("C", status="Withdraw"), paper("D", status="Desk Reject"),
        paper("E", track="Demo Track"), {"aff": "F"}, paper("G", status="Oral", title="Another"),
    ]  # fmt: skip
    table = _read(tmp_path, records)
    assert paperlists.published(table)["aff"].tolist() == ["A", "F", "G"]
    # What has no label is a paper without a session, and at one edition a demonstration.
    assert paperlists.published(table.assign(year=2022))["aff"].tolist() == ["A", "G"]


def test_a_paper_that_stands_twice_counts_once_and_is_told(tmp_path: Path) -> None:
    same = {"title": "The same"}
    twice = [
        paper("A", **same), paper("B", **same), paper("C", author="C. Name", **same), paper("D", title=""),
        paper("E", title=""),
    ]  # fmt: skip
    table = paperlists.published(_read(tmp_path, twice))
    assert table["aff"].tolist() == ["A", "C", "D", "E"]
    assert table["repeats"].tolist() == [1, 0, 0, 0]


def _whole() -> bytes:
    return json.dumps([paper("MIT")] * 50).encode()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "empty"),
        (gzip.compress(_whole(), mtime=0)[:-20], r"truncated or damaged gzip within its \d+ bytes"),
        (gzip.compress(_whole(), mtime=0)[:60], "truncated or damaged gzip"),
        (_whole()[:-30], r"broken JSON at byte \d+ of \d+ \(line 1\)"),
        (b"<html>Not found</html>", "web page and no JSON"),
        (b'{"papers": []}', "no list of papers"),
        (b"[]", "no list of papers"),
        (b'[{"aff": "MIT"}, "text"]', "record 2: is no object"),
        (b'[{"aff": ["MIT"]}]', r'record 1: field "aff" holds list'),
        (b'[{"aff": "\xff"}]', "byte 10 is not UTF-8"),
        (b'[{"aff": 7}, "text"]', r'record 1: field "aff" holds int'),
        (_whole()[:-1], "broken JSON"),
        ("[]".encode("utf-16"), "byte 0 is not UTF-8"),
    ],
)
def test_a_damaged_file_of_papers_is_named_with_the_place(
    tmp_path: Path, content: bytes, message: str
) -> None:
    write_papers(tmp_path / "acml" / "acml2010.json", [paper("MIT")])
    path = tmp_path / "cvpr" / "cvpr2013.json.gz"
    path.parent.mkdir()
    path.write_bytes(content)
    with pytest.raises(DataError, match=message) as caught:
        paperlists.read(tmp_path, [("acml", 2010), ("cvpr", 2013)])
    assert str(caught.value).startswith("cvpr2013.json.gz")
    assert "\n" not in str(caught.value)


def test_a_missing_year_is_found_before_anything_is_read(tmp_path: Path) -> None:
    write_papers(tmp_path / "cvpr" / "cvpr2013.json", [paper("MIT")])
    seen: list[str] = []
    missing = pytest.raises(DataError, match=r"cvpr2014.json is missing in .*cvpr;")
    with missing, settings(progress=seen.append):
        paperlists.read(tmp_path, [("cvpr", 2013), ("cvpr", 2014)])
    assert seen == []


def test_two_copies_of_a_year_are_refused(tmp_path: Path) -> None:
    for name in ("cvpr2013.json", "cvpr2013.json.gz"):
        write_papers(tmp_path / "cvpr" / name, [paper("MIT")])
    with pytest.raises(DataError, match="plain and as"):
        paperlists.locate(tmp_path, "cvpr", 2013)


def test_universities_keep_their_order_and_domains(tmp_path: Path) -> None:
    write_universities(tmp_path, NAMED)
    table = universities.read(tmp_path)
    assert table["name"][:2].tolist() == ["Stanford University", "Brigham Young University"]
    assert table["domains"][0] == ("stanford.edu",)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"[", "broken JSON"),
        (b"{}", "no list of universities"),
        (b'[{"name": "X"}]', "1 universities, at least"),
        (json.dumps([{"name": "X"}] * universities.MINIMUM).encode(), "record 1: name, country"),
        (
            json.dumps(
                [{"name": "X", "country": "Y", "alpha_two_code": "Y", "domains": []}] * universities.MINIMUM
            ).encode(),
            "record 1: .* not valid",
        ),
    ],
)
def test_a_damaged_list_of_universities_is_refused(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / universities.FILE).write_bytes(content)
    with pytest.raises(DataError, match=message):
        universities.read(tmp_path)


def test_a_missing_list_of_universities_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="is missing"):
        universities.read(tmp_path)


def test_the_checksum_depends_on_contents_and_names_but_not_on_the_order(tmp_path: Path) -> None:
    first, second = tmp_path / "a", tmp_path / "b"
    first.write_bytes(b"1")
    second.write_bytes(b"2")
    whole = published.checksum([first, second])
    assert published.checksum([second, first]) == whole
    second.write_bytes(b"3")
    assert published.checksum([first, second]) != whole
