"""Contests with losers or other prizes as one event, and access lost by a listing."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
from originals import RAW, write_universities

from study.core.errors import DataError
from study.data.assemble import programmes
from study.data.assemble.programmes import families
from study.data.institutions import Matcher, load
from study.data.sources import entity_list as listings
from study.data.sources import universities
from study.panel import shipped

FAMILIES = families(shipped("data", "programmes.toml"))


def wins(*rows: tuple[str, str, str, int]) -> pd.DataFrame:
    table = pd.DataFrame(rows, columns=["university", "event", "date", "left_censored"])
    return table.assign(country="XX", detail="")


def roles(*rows: tuple[str, str, str]) -> pd.DataFrame:
    return pd.DataFrame(rows, columns=["university", "family", "role"]).assign(country="XX")


LOST = roles(("D", "korea_ai_school", "loser"), ("E", "korea_ai_school", "winner"), ("F", "uk_gpu", "winner"))


def test_the_first_win_of_any_contest_counts_and_a_grant_serves_a_year_later() -> None:
    every = wins(
        ("A", "first_cluster_grant", "2014-09", 0),
        ("A", "first_cri_cluster", "2012-09", 0),
        ("B", "first_cluster_grant", "2007-09", 1),
        ("B", "first_cri_cluster", "2012-09", 0),
        ("C", "first_other_instrument", "2012-09", 0),
        ("E", "first_korea_ai_school", "2019-03", 0),
        ("F", "first_uk_gpu", "2017-05", 0),
    )
    found = programmes.contest_wins(every, LOST, FAMILIES).set_index("university")
    assert found["date"].to_dict() == {"A": "2013-09", "B": "2008-09", "E": "2019-03"}
    assert found["left_censored"].to_dict() == {"A": 0, "B": 1, "E": 0}
    assert found.loc["A", "detail"] == "first_cri_cluster"


def test_who_lost_took_part_and_a_family_without_losers_is_no_contest() -> None:
    awards = pd.DataFrame(
        [
            {
                "award_id": "1200001", "university": "A", "country": "XX", "programme": "MRI", "contest": "MRI 2012",
                "kind": "network", "effective": "2012-09-01", "reissue_of": "",
            }
        ]
    )  # fmt: skip
    unclear = pd.concat([LOST, roles(("G", "korea_ai_school", "unclear"))])
    found = programmes.participants(awards, unclear).set_index("university")["contests"]
    assert found.to_dict() == {"A": "MRI", "D": "korea_ai_school", "E": "korea_ai_school"}


HEADING = "university,country,date,how_dated,confidence,source,note\n"
ROWS = (
    "Tianjin University,CN,2020-12-18,a page,high,x,\n"
    "Sichuan University,CN,2012-09,from memory,medium,x,\n"
    "Zhejiang University,CN,2024-05-09,a page,high,x,\n"
)


@pytest.fixture(scope="module")
def matcher(tmp_path_factory: pytest.TempPathFactory) -> Matcher:
    folder = tmp_path_factory.mktemp("universities")
    write_universities(folder, [])
    by_hand = shipped("data", "institutions.csv"), shipped("data", "organisations.csv")
    return Matcher(load(*by_hand, universities.read(folder)))


def written(folder: Path, text: str) -> Path:
    (folder / listings.FILE).write_text(text, encoding="utf-8")
    return folder


def test_a_listing_of_high_confidence_is_an_event_and_any_other_keeps_a_university_apart(
    tmp_path: Path, matcher: Matcher
) -> None:
    found = programmes.access_lost(listings.read(written(tmp_path, HEADING + ROWS)), matcher)
    assert set(found.loc[found["event"] == "access_lost", "university"]) == {
        "Tianjin University", "Zhejiang University",
    }  # fmt: skip
    assert programmes.access_lost_roles(found).set_index("university")["entity_list_role"].to_dict() == {
        "Tianjin University": "listed_2020",
        "Sichuan University": "listed_before",
        "Zhejiang University": "listed_later",
    }


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", r"entity_list_universities_dates.csv: the file is empty"),
        (HEADING, r"no records after the heading"),
        (HEADING.replace("date", "day", 1) + ROWS, r"line 1: no column date"),
        (HEADING + ROWS[:70], r"line 3: 3 fields, the heading has 7"),
        (HEADING + ROWS + ROWS, r"line 5: Tianjin University is also on line 2"),
        (
            HEADING + ROWS.replace("2020-12-18", "2020-13-18"),
            r'line 2: date is "2020-13-18"; it must be YYYY-MM',
        ),
        (HEADING + ROWS.replace("medium", "some"), r'line 3: confidence is "some"; it must be one of'),
        (HEADING + ROWS.replace("CN", "TW"), r'line 2: country is "TW"; it must be CN'),
        (HEADING + ROWS.replace("Tianjin", "Nowhere"), r'line 2: "Nowhere University" is 0 universities'),
    ],
)
def test_a_broken_table_of_listings_is_told(
    tmp_path: Path, matcher: Matcher, text: str, message: str
) -> None:
    with pytest.raises(DataError, match=message) as caught:
        programmes.access_lost(listings.read(written(tmp_path, text)), matcher)
    assert "\n" not in str(caught.value)


@pytest.mark.skipif(not (RAW / "entity_list").is_dir(), reason=f"the originals are not in {RAW}")
def test_seven_universities_were_listed_in_2020() -> None:
    table = listings.read(RAW / "entity_list")
    in_2020 = table[table["date"].str.startswith("2020")]
    assert len(in_2020) == 7
    assert set(in_2020["confidence"]) == {"high"}
