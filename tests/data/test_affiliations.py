from __future__ import annotations

import gzip
import json
from pathlib import Path

import pandas as pd
import pytest
from originals import RAW

from study.core.errors import DataError
from study.data.sources import affiliations

LINE = "      <p><b>Of {}; 1</b><br><i>A. Ito (MIT) &middot; B. Roy (ETH Zurich / Google) &middot; C. Lee</i></p>"


def write(folder: Path, lines: list[str] | None = None, papers: object = None) -> Path:
    """Write both years with as many papers as an edition must have; what is given takes the place of all."""
    folder.mkdir(parents=True, exist_ok=True)
    if lines is None:
        lines = [LINE.format(place) for place in range(affiliations.FEWEST)]
    if papers is None:
        authors = {"authors": [["A. Ito", ["MIT", "Google; Inc"]], ["B. Roy", []]]}
        papers = {f"Of {place}": authors for place in range(affiliations.FEWEST)}
    (folder / affiliations.FILES[2019][0]).write_text("\n".join(lines) + "\n", encoding="utf-8")
    (folder / affiliations.FILES[2020][0]).write_text(json.dumps(papers), encoding="utf-8")
    return folder


def test_both_years_are_read_in_the_form_of_the_other_papers(tmp_path: Path) -> None:
    table = affiliations.read(write(tmp_path)).groupby("year").first()
    assert table["venue"].tolist() == ["nips", "nips"]
    assert table["title"].tolist() == ["Of 0, 1", "Of 0"]
    assert table["author"].tolist() == ["A. Ito;B. Roy;C. Lee", "A. Ito;B. Roy"]
    assert table["aff"].tolist() == ["MIT;ETH Zurich+Google;", "MIT+Google, Inc;"]


def test_a_compressed_file_reads_like_a_plain_one(tmp_path: Path) -> None:
    plain = affiliations.read(write(tmp_path))
    path = tmp_path / affiliations.FILES[2019][0]
    path.with_name(f"{path.name}.gz").write_bytes(gzip.compress(path.read_bytes()))
    with pytest.raises(DataError, match=r"there plain and as \.gz"):
        affiliations.read(tmp_path)
    path.unlink()
    pd.testing.assert_frame_equal(affiliations.read(tmp_path), plain)


WHOLE = [LINE.format(place) for place in range(affiliations.FEWEST)]


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ([*WHOLE, "<p>text</p>"], f"line {affiliations.FEWEST + 1}: no title with its authors"),
        (["<html>", *WHOLE], "line 1: no title"),
        (WHOLE[:-1], "1399 papers, at least 1400 are expected"),
        ([*WHOLE, WHOLE[7]], "record 1401: this paper is also record 8"),
        ([""], "the file is empty"),
    ],
)
def test_a_damaged_list_of_2019_is_named_with_the_place(
    tmp_path: Path, lines: list[str], message: str
) -> None:
    with pytest.raises(DataError, match=message) as caught:
        affiliations.read(write(tmp_path, lines))
    assert str(caught.value).startswith(affiliations.FILES[2019][0])
    assert "\n" not in str(caught.value)


def test_a_list_in_another_encoding_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path) / affiliations.FILES[2019][0]
    path.write_bytes(path.read_bytes().replace(b"ETH", "Z\xfcrich".encode("latin-1"), 1))
    with pytest.raises(DataError, match=r"byte \d+ is not UTF-8"):
        affiliations.read(tmp_path)


@pytest.mark.parametrize(
    ("papers", "message"),
    [
        ([], "holds no papers by title"),
        ({"Of 0": {"authors": [["A. Ito", ["MIT"]]]}}, "1 papers, at least 1400"),
        ({"Of 0": {"names": []}}, "record 1: no authors with affiliations"),
        ({"Of 0": {"authors": [["A. Ito"]]}}, "record 1: no authors with affiliations"),
    ],
)
def test_a_damaged_file_of_2020_is_named_with_the_place(tmp_path: Path, papers: object, message: str) -> None:
    with pytest.raises(DataError, match=message) as caught:
        affiliations.read(write(tmp_path, papers=papers))
    assert str(caught.value).startswith(affiliations.FILES[2020][0])


@pytest.mark.skipif(
    not (RAW / "affiliations").is_dir(), reason="the originals of NeurIPS 2019-20 are not here"
)
def test_both_editions_are_whole_and_every_paper_has_an_affiliation() -> None:
    table = affiliations.read(RAW / "affiliations")
    assert table.groupby("year").size().tolist() == [1429, 1899]
    assert (table["aff"].str.replace(r"[;+]", "", regex=True) != "").all()
