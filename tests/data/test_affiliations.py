from __future__ import annotations

import gzip
import json
from pathlib import Path

import pandas as pd
import pytest

from study.core.errors import DataError
from study.data.sources import affiliations

LINE = "      <p><b>Of {}; 1</b><br><i>A. Ito (MIT) &middot; B. Roy (ETH Zurich / Google) &middot; C. Lee</i></p>"
HEADING = "Conference,Year,Title,Author,Affiliation"
# A paper of two authors, one of whom names no affiliation.
ROWS = '{venue},{year},"Of {place}; 1",A. Ito,"MIT; Google"\n{venue},{year},"Of {place}; 1",B. Roy,None'
NIPS_2019, NIPS_2020, ICLR = (
    affiliations.FILES["nips", 2019][0],
    affiliations.FILES["nips", 2020][0],
    affiliations.TABLE[0],
)
FEWEST = affiliations.FEWEST["nips", 2019]


def rows(venue: str, year: int, papers: int) -> list[str]:
    """Return the lines of an edition's papers in the table with a row an author."""
    return [ROWS.format(venue=venue, year=year, place=place) for place in range(papers)]


ICLR_2018, ICLR_2019 = (rows("ICLR", year, affiliations.FEWEST["iclr", year]) for year in (2018, 2019))
WHOLE_TABLE = [HEADING, *rows("NIPS", 2018, 2), *ICLR_2018, *rows("ICML", 2019, 1), *ICLR_2019]


def write(
    folder: Path,
    lines: list[str] | None = None,
    papers: object = None,
    table: list[str] = WHOLE_TABLE,
) -> Path:
    """Write all files with as many papers as an edition must have; what is given takes the place of all."""
    folder.mkdir(parents=True, exist_ok=True)
    if lines is None:
        lines = [LINE.format(place) for place in range(FEWEST)]
    if papers is None:
        authors = {"authors": [["A. Ito", ["MIT", "Google; Inc"]], ["B. Roy", []]]}
        papers = {f"Of {place}": authors for place in range(FEWEST)}
    (folder / NIPS_2019).write_text("\n".join(lines) + "\n", encoding="utf-8")
    (folder / NIPS_2020).write_text(json.dumps(papers), encoding="utf-8")
    (folder / ICLR).write_text("\n".join(table) + "\n", encoding="utf-8")
    return folder


def test_all_editions_are_read_in_the_form_of_the_other_papers(tmp_path: Path) -> None:
    table = affiliations.read(write(tmp_path))
    assert table.groupby(["venue", "year"], sort=False).size().to_dict() == affiliations.FEWEST
    table = table.groupby(["venue", "year"], sort=False).first()
    assert table["title"].tolist() == ["Of 0, 1", "Of 0", "Of 0, 1", "Of 0, 1"]
    assert table["author"].tolist() == ["A. Ito;B. Roy;C. Lee", *["A. Ito;B. Roy"] * 3]
    assert table["aff"].tolist() == ["MIT;ETH Zurich+Google;", "MIT+Google, Inc;", *["MIT, Google;"] * 2]


def test_a_compressed_file_reads_like_a_plain_one(tmp_path: Path) -> None:
    plain = affiliations.read(write(tmp_path))
    path = tmp_path / NIPS_2019
    path.with_name(f"{path.name}.gz").write_bytes(gzip.compress(path.read_bytes()))
    with pytest.raises(DataError, match=r"there plain and as \.gz"):
        affiliations.read(tmp_path)
    path.unlink()
    pd.testing.assert_frame_equal(affiliations.read(tmp_path), plain)


WHOLE = [LINE.format(place) for place in range(FEWEST)]


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ([*WHOLE, "<p>text</p>"], f"line {FEWEST + 1}: no title with its authors"),
        (["<html>", *WHOLE], "line 1: no title"),
        (WHOLE[:-1], "1399 papers of nips 2019, at least 1400 are expected"),
        ([*WHOLE, WHOLE[7]], "record 1401: this paper is also record 8"),
        ([""], "the file is empty"),
    ],
)
def test_a_damaged_list_of_2019_is_named_with_the_place(
    tmp_path: Path, lines: list[str], message: str
) -> None:
    with pytest.raises(DataError, match=message) as caught:
        affiliations.read(write(tmp_path, lines))
    assert str(caught.value).startswith(NIPS_2019)
    assert "\n" not in str(caught.value)


def test_a_list_in_another_encoding_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path) / NIPS_2019
    path.write_bytes(path.read_bytes().replace(b"ETH", "Z\xfcrich".encode("latin-1"), 1))
    with pytest.raises(DataError, match=r"byte \d+ is not UTF-8"):
        affiliations.read(tmp_path)


@pytest.mark.parametrize(
    ("papers", "message"),
    [
        ([], "holds no papers by title"),
        ({"Of 0": {"authors": [["A. Ito", ["MIT"]]]}}, "1 papers of nips 2020, at least 1400"),
        ({"Of 0": {"names": []}}, "record 1: no authors with affiliations"),
        ({"Of 0": {"authors": [["A. Ito"]]}}, "record 1: no authors with affiliations"),
    ],
)
def test_a_damaged_file_of_2020_is_named_with_the_place(tmp_path: Path, papers: object, message: str) -> None:
    with pytest.raises(DataError, match=message) as caught:
        affiliations.read(write(tmp_path, papers=papers))
    assert str(caught.value).startswith(NIPS_2020)


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ([], "the file is empty"),
        ([HEADING], "no records"),
        ([HEADING.replace("Affiliation", "Org"), *WHOLE_TABLE[1:]], "line 1: no column Affiliation"),
        (WHOLE_TABLE[:-1], "500 papers of iclr 2019, at least 501"),
        (
            [row.replace("ICLR,2018", "ICLR18,2018") for row in WHOLE_TABLE],
            "0 papers of iclr 2018, at least 336",
        ),
        ([*WHOLE_TABLE, 'ICLR,2019,"Of'], f"line {2 * len(WHOLE_TABLE)}: "),
        ([*WHOLE_TABLE, "ICLR,2019,Of"], f"line {2 * len(WHOLE_TABLE)}: 3 fields, the heading has 5"),
        ([*WHOLE_TABLE, *WHOLE_TABLE], f'line {2 * len(WHOLE_TABLE)}: Year is "Year"; it must be a year'),
        ([*WHOLE_TABLE, ICLR_2019[7]], "record 502: this paper is also record 8"),
        ([HEADING, "ICLR,2018,,A. Ito,MIT"], 'line 2: Title is ""; it must be not empty'),
    ],
)
def test_a_damaged_table_of_authors_is_named_with_the_place(
    tmp_path: Path, table: list[str], message: str
) -> None:
    with pytest.raises(DataError, match=message) as caught:
        affiliations.read(write(tmp_path, table=table))
    assert str(caught.value).startswith(ICLR)
    assert "\n" not in str(caught.value)
