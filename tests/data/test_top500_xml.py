from __future__ import annotations

import re
from datetime import date
from functools import cache
from pathlib import Path
from xml.sax.saxutils import escape

import pandas as pd
import pytest
from originals import RAW
from servers import Answer, Server

from study.core import settings
from study.core.errors import DataError
from study.data.sources import top500, universities
from study.data.sources.fetching import Fetcher

CODES = {word: code for code, word in top500.SEGMENTS.items()}

# One system with all the elements of the publisher's lists, in their order.
SYSTEM = """\
  <top500:site>
    <top500:rank>{rank}</top500:rank>
    <top500:system-id>{rank}</top500:system-id>
    <top500:system-name>{name}</top500:system-name>
    <top500:manufacturer>Maker</top500:manufacturer>
    <top500:computer>{computer}</top500:computer>
    <top500:system-address></top500:system-address>
    <top500:r-max>{rmax}</top500:r-max>
    <top500:power></top500:power>
    <top500:r-peak>{rpeak}</top500:r-peak>
    <top500:n-max>0</top500:n-max>
    <top500:n-half>0</top500:n-half>
    <top500:installation-site>
      <top500:installation-site-name>{site}</top500:installation-site-name>
      <top500:installation-site-address></top500:installation-site-address>
      <top500:site-id>{rank}</top500:site-id>
    </top500:installation-site>
    <top500:town></top500:town>
    <top500:state>N/A</top500:state>
    <top500:country>{country}</top500:country>
    <top500:year>{year}</top500:year>
    <top500:area-of-installation>{area}</top500:area-of-installation>
    <top500:number-of-processors>100</top500:number-of-processors>
  </top500:site>
"""


def system(rank: int, **fields: object) -> str:
    values = {
        "rank": rank,
        "name": "",
        "computer": "Cluster X, Xeon 8C 2.6GHz, Infiniband",
        "rmax": 1_000_000.0 / rank,
        "rpeak": 2_000_000.0 / rank,
        "site": f"Firm {rank}",
        "country": "Germany",
        "year": 2014,
        "area": "4",
    }
    return SYSTEM.format(**{name: escape(str(value)) for name, value in {**values, **fields}.items()})


@cache
def others(systems: int) -> tuple[str, ...]:
    """Return systems of firms by rank."""
    return tuple(system(rank) for rank in range(1, systems + 1))


def listing(*first: str, systems: int = 500) -> str:
    body = [*first, *others(systems)[len(first) :]]
    return (
        f'<top500:list xmlns:top500="{top500.NAMESPACE}" authors="A. Name" date="2014/06/23">\n'
        f"{''.join(body)}</top500:list>\n"
    )


def write(folder: Path, text: str, name: str = "TOP500_201406_all.xml") -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def test_a_system_reads_as_the_excel_lists_name_its_fields(tmp_path: Path) -> None:
    first = system(
        1, name="Noctua", computer="Cray  XC30, NVIDIA K20x ", rmax=6271000.0,
        site="Universität & Institut", country="Korea, South", year=2012, area=1,
    )  # fmt: skip
    table = top500.read_list(write(tmp_path, listing(first)), "2014-06")
    assert len(table) == 500
    assert table.iloc[0].to_dict() == {
        "list": "2014-06",
        "rank": 1,
        "site": "Universität & Institut",
        "country": "Korea, South",
        "segment": "Academic",
        "system": "Noctua, Cray XC30, NVIDIA K20x",
        "rmax_tflops": pytest.approx(6271.0),
        "rpeak_tflops": pytest.approx(2000.0),
        "accelerator": "named in the system",
        "year_installed": 2012,
    }
    assert table["accelerator"][1] == ""


@pytest.mark.parametrize("month", ["1993-06", "2016-11", "2017-06", "2026-06"])
def test_rmax_is_in_gigaflops_in_every_xml_list(tmp_path: Path, month: str) -> None:
    table = top500.read_list(write(tmp_path, listing(system(1, rmax=2500))), month)
    assert table["rmax_tflops"][0] == pytest.approx(2.5)


@pytest.mark.parametrize(
    ("description", "named"),
    [
        ("Xeon E5 12C, TH Express-2, Intel Xeon Phi 31S1P", True),
        ("RSC Tornado, Xeon X5680, Intel Xeon Phi", True),
        ("Cray XC40, Intel Xeon Phi 7250 68C 1.4GHz, Aries", False),
        ("HPE Cray EX235a, AMD EPYC, AMD Instinct MI250X, Slingshot", True),
        ("ARS-111GL, GH Superchip 72C 3GHz, Infiniband", True),
        ("Dell R730, Xeon, FDR, Tesla K80", True),
        ("ThinkSystem SD530, Xeon Platinum 8174 24C 3.1GHz, Intel Omni-Path", False),
    ],
)
def test_an_accelerator_is_known_from_the_description_unless_the_processor_is_a_phi(
    tmp_path: Path, description: str, named: bool
) -> None:
    table = top500.read_list(write(tmp_path, listing(system(1, computer=description))), "2018-11")
    assert bool(table["accelerator"][0]) == named


def _renamed(element: str) -> str:
    return re.sub(f"top500:{element}(?=[> ])", "top500:renamed", listing())


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "the file is empty"),
        (listing()[:40_000], r"line \d+, column \d+: broken XML \("),
        (listing() + "<more/>", r"line \d+, column 1: broken XML"),
        (listing(systems=499), "499 systems, a list has 500"),
        (listing(systems=501), "501 systems"),
        ("<!DOCTYPE html><html><body>Log in<br></body></html>", r"line 1, column \d+: broken XML .*log in"),
        ("<html><body>Log in</body></html>", "the root is html, no top500:list; log in"),
        ("TOP500 List", "line 1, column 1: broken XML"),
        (listing().replace(top500.NAMESPACE, "http://other/"), "no top500:list"),
        (_renamed("site"), "0 systems, a list has 500"),
        *((_renamed(element), f"system 1: no element {element}")
          for element in ("rank", "r-max", "country", "computer", "year", "system-name", "area-of-installation")),
        (_renamed("installation-site-name"), "system 1: no element installation-site/installation-site-name"),
        (listing(system(1, area=8)), 'system 1: area-of-installation "8" is none of 1 to 7'),
        (listing(system(1), system(2, rmax="n/a")), r'system 2: rank "2", Rmax "n/a" and year "2014" must be'),
        (listing(system(1), system(2, rmax="")), r'system 2: rank "2", Rmax ""'),
        (listing(system(1), system(2, year="soon")), 'year "soon" must be numbers'),
        (listing(system(1).replace("rank>1<", "rank>inf<")), 'rank "inf"'),
        (listing(system(1, rpeak="n/a")), 'system 1: Rpeak "n/a" is no number'),
        (listing(system(1, rmax=0)), "system 1: Rmax is 0.0, it must be above 0"),
        (listing(system(1, rmax="nan")), "system 1: Rmax is nan"),
        (listing(system(1), system(2, site=" ")), "system 2: site is empty"),
        (listing(system(1), system(2, country="")), "system 2: country is empty"),
        (listing(system(1), system(3)), "system 2: rank 3 follows 1"),
        (listing(system(1), system(2), system(1)), "system 3: rank 1 follows 2"),
    ],
    ids=lambda value: value if len(value) < 100 else "list",
)  # fmt: skip
def test_a_damaged_xml_list_is_named_with_the_place(tmp_path: Path, text: str, message: str) -> None:
    path = write(tmp_path, text)
    with pytest.raises(DataError, match=message) as caught:
        top500.read_list(path, "2014-06")
    assert str(caught.value).startswith("TOP500_201406_all.xml")
    assert "\n" not in str(caught.value)


def test_another_encoding_than_the_declared_one_is_found_by_line_and_column(tmp_path: Path) -> None:
    path = tmp_path / "TOP500_201406.xml"
    path.write_bytes(listing(system(1, site="Universität")).encode("latin-1"))
    with pytest.raises(DataError, match=r"line 15, column \d+: broken XML \(not well-formed"):
        top500.read_list(path, "2014-06")


def test_ties_share_a_rank_in_xml_too(tmp_path: Path) -> None:
    table = top500.read_list(write(tmp_path, listing(system(1), system(1))), "2014-06")
    assert table["rank"].tolist()[:3] == [1, 1, 3]


def test_a_folder_may_hold_xml_lists_under_both_names(tmp_path: Path) -> None:
    write(tmp_path, listing(), "TOP500_199306.xml")
    write(tmp_path, listing(), "TOP500_199311_all.xml")
    write(tmp_path, "", "TOP500_199406_all.xml.part")
    assert list(top500.lists(tmp_path)) == ["1993-06", "1993-11"]
    assert top500.read(tmp_path)["list"].value_counts().to_dict() == {"1993-06": 500, "1993-11": 500}


@pytest.mark.parametrize("other", ["TOP500_199306.xls", "TOP500_199306.xlsx", "TOP500_199306.xml"])
def test_a_list_in_two_formats_is_refused(tmp_path: Path, other: str) -> None:
    for name in ("TOP500_199306_all.xml", other):
        write(tmp_path, "x", name)
    with pytest.raises(DataError, match=r"1993-06 is there twice \(TOP500_199306"):
        top500.lists(tmp_path)


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    seconds: list[float] = []
    monkeypatch.setattr("time.sleep", seconds.append)
    return seconds


def _address(month: str, name: str) -> str:
    return f"/lists/top500/{month[:4]}/{month[4:]}/download/{name}"


def test_excel_lists_come_from_the_publishers_addresses_in_the_format_of_their_time(
    tmp_path: Path, waits: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "top500").mkdir()
    months = [f"{year}{half}" for year in range(1993, 2021) for half in ("06", "11")][:-1]
    for month in months[:-2]:
        write(tmp_path / "top500", "there already", f"TOP500_{month}.xls")
    old, new = _address("201911", "TOP500_201911.xls"), _address("202006", "TOP500_202006.xlsx")
    said: list[str] = []
    answers = {old: [Answer(body=b"old")], new: [Answer(body=b"new")]}
    with Server(answers) as server, settings(progress=said.append):
        monkeypatch.setattr(top500, "ADDRESS", server.url)
        paths = top500.fetch(tmp_path, Fetcher(pause=0), last="2020-06")
    assert said == ["TOP500_201911.xls", "TOP500_202006.xlsx"]
    assert [request.path for request in server.requests] == [old, new]
    assert [path.name for path in paths[-2:]] == ["TOP500_201911.xls", "TOP500_202006.xlsx"]
    assert len(paths) == len(months)
    assert waits == [pytest.approx(top500.PAUSE, abs=5)]


def test_where_the_publisher_wants_a_login_the_lists_can_be_put_there_by_hand(
    tmp_path: Path, waits: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "top500"
    login = Answer(302, headers={"Location": "/accounts/login/"})
    page = Answer(body=b"<html><form></form></html>")
    answers = {_address("199306", "TOP500_199306.xls"): [login], "/accounts/login/": [page]}
    with Server(answers) as server:
        monkeypatch.setattr(top500, "ADDRESS", server.url)
        with pytest.raises(DataError, match="login needed") as caught:
            top500.fetch(tmp_path, Fetcher(pause=0), last="1993-11")
        assert f"save it as {folder / 'TOP500_199306.xls'}. 2 of 2 lists are missing" in str(caught.value)
        write(folder, listing(), "TOP500_199306.xlsx")
        write(folder, listing(), "TOP500_199311_all.xml")
        asked = len(server.requests)
        paths = top500.fetch(tmp_path, Fetcher(pause=0), last="1993-11")
        assert len(server.requests) == asked
    assert [path.name for path in paths] == ["TOP500_199306.xlsx", "TOP500_199311_all.xml"]


@pytest.mark.parametrize(
    ("today", "month"),
    [
        (date(2026, 6, 30), "2025-11"),
        (date(2026, 7, 1), "2026-06"),
        (date(2026, 11, 30), "2026-06"),
        (date(2026, 12, 1), "2026-11"),
    ],
)
def test_only_lists_that_are_out_for_sure_are_asked_for(today: date, month: str) -> None:
    assert top500._newest(today) == month


def test_universities_come_from_the_publishers_repository(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = b'[{"name": "X"}]'
    with Server({f"/abc123/{universities.FILE}": [Answer(body=content)]}) as server:
        monkeypatch.setattr(universities, "ADDRESS", server.url)
        paths = universities.fetch(tmp_path, Fetcher(pause=0), version="abc123")
    assert paths == [tmp_path / "universities" / universities.FILE]
    assert paths[0].read_bytes() == content


@pytest.mark.skipif(not RAW.is_dir(), reason=f"the originals are not in {RAW}")
@pytest.mark.parametrize("month", ["2000-06", "2014-06", "2023-11"])
def test_a_real_list_says_the_same_in_xml_as_in_excel(tmp_path: Path, month: str) -> None:
    excel = top500.read_list(top500.lists(RAW / "top500")[month], month)
    systems = [
        system(
            row["rank"], computer=row["system"], rmax=row["rmax_tflops"] * 1000, rpeak=row["rpeak_tflops"] * 1000,
            site=row["site"], country=row["country"], year=row["year_installed"], area=CODES[row["segment"]],
        )
        for row in excel.to_dict("records")
    ]  # fmt: skip
    xml = top500.read_list(write(tmp_path, listing(*systems)), month)
    pd.testing.assert_frame_equal(xml.drop(columns="accelerator"), excel.drop(columns="accelerator"))
    told, named = excel["accelerator"] != "", xml["accelerator"] != ""
    assert (told != named).mean() <= 0.01
