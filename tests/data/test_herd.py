from __future__ import annotations

import csv
import io
import sqlite3
import zipfile
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
from originals import RAW
from servers import Answer, Server

from study.core import settings
from study.core.errors import DataError
from study.data.assemble.panels import match_survey, spending_by_university
from study.data.institutions import Matcher, load
from study.data.sources import herd
from study.data.sources.fetching import Fetcher
from study.panel import shipped

needs_originals = pytest.mark.skipif(
    not ((RAW / "herd").is_dir() and (RAW / "universities").is_dir()),
    reason="the originals of HERD and of the universities are not on this machine",
)

HEADING = (
    "inst_id", "year", "ncses_inst_id", "ipeds_unitid", "hbcu_flag", "med_sch_flag", "hhe_flag", "toi_code", "hdg_code",
    "toc_code", "inst_name_long", "inst_city", "inst_state_code", "inst_zip", "questionnaire_no", "question", "row",
    "column", "data", "status", "othinfo", "othinfo_s", "standardized_agency_names",
)  # fmt: skip
SOURCES = {
    "01.a": "Federal government",
    "01.b": "State and local government",
    "01.c": "Business",
    "01.d": "Nonprofit organizations",
    "01.e": "Institution funds",
    "01.f": "All other sources",
    "01.g": "Total",
}
AMOUNTS = {"01.a": 60, "01.b": 5, "01.c": 4, "01.d": 3, "01.e": 20, "01.f": 8, "01.g": 100}


def cells(
    year: int, inst_id: str = "001305", name: str = "Stanford University", amounts: dict[str, int] = AMOUNTS
) -> list[dict[str, str]]:
    """Return an institution's answers as the agency writes them: the sources, and a question that is not read."""
    common = {
        "inst_id": inst_id, "year": str(year), "inst_name_long": name, "inst_city": "Stanford", "inst_state_code": "CA",
    }  # fmt: skip
    sources = [
        {"questionnaire_no": number, "question": "Source", "row": SOURCES[number], "data": str(amount)}
        for number, amount in amounts.items()
    ]
    other = {"questionnaire_no": "02.g", "question": "Foreign funds", "row": "Total", "data": "7"}
    return [{**common, **cell} for cell in (*sources, other)]


def as_csv(rows: list[dict[str, str]]) -> bytes:
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, HEADING, restval="")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue().encode()


def write_zip(folder: Path, year: int, content: bytes) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / herd.ARCHIVE.format(year=year)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(f"herd{year}.csv", content)
        archive.writestr(f"herd{year}.sas7bdat", b"the same for SAS")
    return path


COPY_HEADING = ", ".join(herd.COPY_COLUMNS.get(column, column) for column in herd.COLUMNS)


def write_copy(folder: Path, *rows: tuple[object, ...], columns: str = COPY_HEADING) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / herd.COPY
    connection = sqlite3.connect(path)
    connection.execute(f"CREATE TABLE institutions ({columns})")
    for row in rows:
        connection.execute(f"INSERT INTO institutions VALUES ({', '.join('?' * len(row))})", row)
    connection.commit()
    connection.close()
    return path


# Columns in the order of COPY_COLUMNS, amounts in dollars.
COPIED = (
    "001305",
    "Stanford University",
    "Stanford",
    "CA",
    2019,
    100_000,
    60_000,
    5_000,
    20_000,
    4_000,
    3_000,
    8_000,
)


def test_the_zips_and_the_copy_say_the_same_in_thousand_dollars(tmp_path: Path) -> None:
    write_zip(tmp_path / "zips", 2019, as_csv(cells(2019)))
    write_copy(tmp_path / "copy", COPIED)
    agency, copied = herd.read(tmp_path / "zips"), herd.read(tmp_path / "copy")
    pd.testing.assert_frame_equal(agency, copied)
    assert agency.to_dict("records") == [
        {
            "inst_id": "001305", "name": "Stanford University", "city": "Stanford", "state": "CA", "fiscal_year": 2019,
            "total": 100.0, "federal": 60.0, "state_local": 5.0, "institutional": 20.0, "business": 4.0,
            "nonprofit": 3.0, "other": 8.0,
        }
    ]  # fmt: skip


def test_the_agency_writes_some_years_in_the_encoding_of_windows(tmp_path: Path) -> None:
    content = as_csv(cells(2011, name="St. Mary’s College")).decode().encode("cp1252")
    write_zip(tmp_path, 2011, content)
    assert herd.read(tmp_path)["name"].tolist() == ["St. Mary’s College"]


def test_a_source_that_gave_nothing_may_be_left_out(tmp_path: Path) -> None:
    amounts = {"01.a": 60, "01.e": 40, "01.g": 100}
    write_zip(tmp_path, 2019, as_csv(cells(2019, amounts=amounts)))
    assert herd.read(tmp_path)["business"].tolist() == [0.0]


def test_a_zip_is_read_rather_than_the_copy(tmp_path: Path) -> None:
    write_zip(tmp_path, 2019, as_csv(cells(2019)))
    (tmp_path / herd.COPY).write_bytes(b"anything")
    assert len(herd.read(tmp_path)) == 1


def test_a_year_between_others_may_not_be_missing(tmp_path: Path) -> None:
    for year in (2017, 2019):
        write_zip(tmp_path, year, as_csv(cells(year)))
    with pytest.raises(DataError, match=r"higher_education_r_and_d_2018.zip is missing"):
        herd.read(tmp_path)


def test_an_empty_folder_says_what_to_download(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="download the public-use files"):
        herd.read(tmp_path)


def _without_total() -> bytes:
    return as_csv(cells(2019, amounts={"01.a": 60}))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (as_csv(cells(2019)).replace(b"inst_state_code", b"state"), "line 1: no column inst_state_code"),
        (as_csv(cells(2019)).replace(b"Source,", b"Origin,"), 'no row of the question "Source"'),
        (as_csv(cells(2019)).replace(b",60,", b",sixty,"), 'record 1: data "sixty" is no number'),
        (
            as_csv([*cells(2019), *cells(2019)]),
            "record 9: Federal government of institution 001305 is there twice",
        ),
        (as_csv(cells(2018)), 'record 1: fiscal year "2018" in the file of 2019'),
        (_without_total(), "institution 001305 has no total"),
        (as_csv(cells(2019, amounts={**AMOUNTS, "01.a": 600})), "sources that do not add up to its total"),
        (as_csv(cells(2019, amounts={**AMOUNTS, "01.a": -60, "01.g": -20})), "an amount below 0"),
        (as_csv(cells(2019, inst_id="1305")), "no number of six digits"),
        (as_csv(cells(2019))[:-60], "record 8: the fields at its end are missing"),
        (as_csv(cells(2019)) + b'"', "damaged|its end are missing"),
        (b"<html>Not found</html>", "no column inst_id"),
        (b"", "the file is empty"),
        (as_csv(cells(2019, name="\x81")).decode().encode("latin-1"), "neither UTF-8 nor Windows-1252"),
    ],
)
def test_a_damaged_questionnaire_file_gives_one_error(tmp_path: Path, content: bytes, message: str) -> None:
    write_zip(tmp_path, 2019, content)
    with pytest.raises(DataError, match=message) as caught:
        herd.read(tmp_path)
    assert str(caught.value).startswith("higher_education_r_and_d_2019.zip")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda content: content[:-30], "not a whole zip file"),
        (lambda _: b"<html>Not found</html>", "not a whole zip file"),
        (lambda _: b"", "the file is empty"),
    ],
)
def test_a_damaged_zip_gives_one_error(tmp_path: Path, spoil: Callable[[bytes], bytes], message: str) -> None:
    path = write_zip(tmp_path, 2019, as_csv(cells(2019)))
    path.write_bytes(spoil(path.read_bytes()))
    with pytest.raises(DataError, match=message):
        herd.read(tmp_path)


def test_a_zip_of_several_tables_is_not_the_agencys(tmp_path: Path) -> None:
    path = write_zip(tmp_path, 2019, as_csv(cells(2019)))
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("other.csv", b"x")
    with pytest.raises(DataError, match=r"2 files \*.csv in it"):
        herd.read(tmp_path)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([], "has no rows"),
        ([COPIED, COPIED], "institution 001305 in 2019 is there twice"),
        ([(*COPIED[:5], 100_001, *COPIED[6:])], "no whole thousands of dollars"),
        ([(*COPIED[:5], 900_000, *COPIED[6:])], "sources that do not add up to its total"),
        ([(*COPIED[:5], None, *COPIED[6:])], "no whole thousands of dollars"),
        ([("001305", "", *COPIED[2:])], "has no name"),
    ],
)
def test_a_damaged_copy_gives_one_error(tmp_path: Path, rows: list[tuple[object, ...]], message: str) -> None:
    write_copy(tmp_path, *rows)
    with pytest.raises(DataError, match=message) as caught:
        herd.read(tmp_path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("content", [b"<html>Not found</html>", b"SQLite format 3\x00 and no more"])
def test_what_is_no_database_is_said_to_be_none(tmp_path: Path, content: bytes) -> None:
    (tmp_path / herd.COPY).write_bytes(content)
    with pytest.raises(DataError, match="no readable table institutions"):
        herd.read(tmp_path)


def test_a_copy_with_a_renamed_column_is_refused(tmp_path: Path) -> None:
    write_copy(tmp_path, columns="inst_id, name, town")
    with pytest.raises(DataError, match="no readable table institutions"):
        herd.read(tmp_path)


def test_what_is_fetched_can_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    body = write_zip(tmp_path / "made", 2019, as_csv(cells(2019))).read_bytes()
    steps: list[str] = []
    with Server({f"/files/{herd.ARCHIVE.format(year=2019)}": [Answer(body=body)]}) as server:
        monkeypatch.setattr(herd, "ADDRESS", f"{server.url}/files")
        with settings(progress=steps.append):
            paths = herd.fetch(tmp_path, Fetcher(pause=0), years=[2019])
    assert [path.name for path in paths] == ["higher_education_r_and_d_2019.zip"]
    assert steps == ["higher_education_r_and_d_2019.zip"]
    assert len(herd.read(tmp_path / "herd")) == 1


@pytest.fixture(scope="module")
def matcher() -> Matcher:
    names = ("Stanford University", "Pennsylvania State University")
    world = pd.DataFrame([(name, "United States", "US", ()) for name in names])
    world.columns = ["name", "country", "iso2", "domains"]
    return Matcher(load(shipped("data", "institutions.csv"), shipped("data", "organisations.csv"), world))


def table(*rows: tuple[str, str, int, float]) -> pd.DataFrame:
    """Return rows of inst_id, name, fiscal year and total, all of it federal."""
    return pd.DataFrame(
        [
            {"inst_id": inst_id, "name": name, "city": "", "state": "US", "fiscal_year": year, "total": total}
            | dict.fromkeys(herd.SOURCES, 0.0)
            | {"federal": total}
            for inst_id, name, year, total in rows
        ]
    )


def test_a_branch_is_not_added_to_the_university_whose_name_it_bears(matcher: Matcher) -> None:
    rows = table(
        ("003329", "Pennsylvania State University, University Park", 2019, 900.0),
        ("003331", "Pennsylvania State University, Altoona", 2019, 2.0),
    )
    crosswalk = match_survey(rows, matcher, {})
    found = spending_by_university(rows, crosswalk)
    assert found[["university", "inst_id", "total"]].values.tolist() == [
        ["Pennsylvania State University", "003329", 900.0]
    ]
    assert crosswalk["method"].tolist() == ["exact", "branch"]


def test_a_name_inside_a_longer_one_is_another_institution(matcher: Matcher) -> None:
    rows = table(("009999", "Stanford University Research Foundation of the West", 2019, 5.0))
    assert match_survey(rows, matcher, {})["method"].tolist() == ["unmatched"]


def test_an_institution_that_gets_a_new_number_goes_on_and_shows_the_break(matcher: Matcher) -> None:
    rows = table(("000001", "Stanford University", 2018, 5.0), ("000002", "Stanford University", 2019, 9.0))
    found = spending_by_university(rows, match_survey(rows, matcher, {}))
    assert found["inst_id"].tolist() == ["000001", "000002"]


def test_the_newest_known_name_decides_and_a_decision_outranks_it(matcher: Matcher) -> None:
    rows = table(("000001", "Stanford University", 2010, 5.0), ("000001", "Nowhere Institute", 2019, 9.0))
    assert match_survey(rows, matcher, {})["university"].tolist() == ["Stanford University"]
    found = match_survey(rows, matcher, {"000001": None})
    assert found[["university", "method"]].values.tolist() == [["", "decision"]]
