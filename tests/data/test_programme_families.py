from __future__ import annotations

import csv
import io
import re
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
from originals import RAW

from study.core.errors import DataError
from study.data.assemble.programmes import COLUMNS, Family, checked, events, families, roles
from study.data.institutions import Matcher, load
from study.data.sources import universities
from study.data.sources.reading import csv_rows
from study.panel import panel_entries, shipped

ROOT = Path(__file__).parents[2]
with_originals = pytest.mark.skipif(
    not (RAW / "programmes").is_dir() or not (RAW / "universities").is_dir(),
    reason=f"the originals are not in {RAW}",
)

# The table that ships, and its families.

TABLE = checked(shipped("data", "programmes.csv"))
FAMILIES = families(shipped("data", "programmes.toml"))
TREATED = TABLE[TABLE["status"] == "treatment"]
_TERM = re.compile(r"(\w+)(=|!=|>=)([^=!<>]+)")


@with_originals
def test_a_shipped_row_is_the_compiled_row_that_it_names() -> None:
    compiled = {
        f"{name}.csv:{line}": row
        for name in ("public", "industry", "us_consortia")
        for line, row in csv_rows(
            RAW / "programmes" / f"{name}.csv", ("programme", "institution", "confidence")
        )
    }
    named = TABLE[TABLE["origin"].str.contains(r"\.csv:")]
    assert len(named) > 100
    for row in named.to_dict("records"):
        origin = compiled[row["origin"]]
        programme = origin.get("title", origin["programme"])
        assert (row["programme"], row["institution"]) == (programme, origin["institution"])
        assert row["compiled_confidence"] == origin["confidence"]


def test_every_treatment_is_of_high_confidence_seen_again_and_dated_to_the_month() -> None:
    assert set(TREATED["confidence"]) == {"high"}
    assert set(TREATED["checked"]) == {"yes"}
    for family in FAMILIES.values():
        rows = TREATED[TREATED["programme"].isin(family.programmes)]
        assert len(rows) >= 5
        assert set(rows[family.date].str.len()) == {7}, family.name


def test_every_row_has_a_note_an_address_and_a_family() -> None:
    assert (TABLE["check_note"] != "").all()
    assert TABLE["source_url"].str.match(r"https?://").all()
    assert (TABLE["check_url"].str.match(r"https?://") | (TABLE["checked"] == "not found")).all()
    named = {name for f in FAMILIES.values() for name in (*f.programmes, *f.related, *f.later)}
    assert set(TABLE["programme"]) == named


def test_a_treated_row_is_a_treatment_of_some_family() -> None:
    own = {name for family in FAMILIES.values() for name in family.programmes}
    assert set(TREATED["programme"]) <= own


def test_populations_are_terms_on_the_country_and_on_the_role_in_the_own_family() -> None:
    for family in FAMILIES.values():
        for rule in (family.population, family.population_narrow):
            for term in rule.split(" and "):
                match = _TERM.fullmatch(term)
                assert match is not None, rule
                assert match[1] in ("country", f"{family.name}_role"), rule
        assert "unclear" not in family.population.replace("!=unclear", "")


def test_jade_comes_before_bede_and_the_new_partners_of_its_second_machine_are_no_treatment() -> None:
    first = TABLE[TABLE["programme"] == "JADE (EPSRC Tier-2)"]
    second = TABLE[TABLE["programme"] == "JADE 2 (EPSRC Tier-2)"]
    bede = TABLE[TABLE["programme"] == "Bede (N8 CIR, EPSRC Tier-2)"]
    joiners = second[~second["institution"].isin(first["institution"])]
    assert (len(first), len(second), len(joiners), len(bede)) == (8, 18, 11, 8)
    assert max(first["operational"]) < min(bede["operational"])
    assert max(first["operational"]) < min(joiners["operational"])
    assert set(joiners["status"]) == {"robustness"}
    assert set(first["institution"]) & set(bede["institution"]) == {"University of Sheffield"}


def test_ibm_and_google_had_six_pilots_and_the_agency_fourteen_grantees_four_of_them_pilots() -> None:
    pilots = TABLE[TABLE["programme"].str.startswith("IBM/Google")]
    grantees = TABLE[TABLE["programme"].str.startswith("NSF CluE")]
    assert (len(pilots), len(grantees)) == (6, 14)
    assert len(set(pilots["credited"]) & set(grantees["credited"])) == 4


def test_korea_chose_three_two_three_and_two_in_four_rounds() -> None:
    won = TABLE[TABLE["programme"].str.startswith("Korea AI graduate") & (TABLE["role"] != "loser")]
    assert won.groupby("announced").size().to_dict() == {
        "2019-03": 3, "2019-09": 2, "2020-04": 3, "2021-04": 2,
    }  # fmt: skip
    seoul = TABLE[TABLE["institution"] == "Seoul National University"].set_index("role")["announced"]
    assert seoul["loser"] < seoul["later_winner"]


def test_twelve_sites_bid_for_an_institute_and_four_won() -> None:
    bids = TABLE[TABLE["programme"] == "3IA institutes (France)"]
    lost = bids[bids["role"] == "loser"]
    carriers_of_paris = bids[bids["check_note"].str.contains("PRAIRIE")]
    assert len(lost) == 8
    assert len(bids) - len(lost) - (len(carriers_of_paris) - 1) == 4
    assert max(lost["announced"]) < min(bids.loc[bids["role"] == "winner", "announced"])


# Reading the table and the families.


def line(**changed: str) -> dict[str, str]:
    row = dict.fromkeys(COLUMNS, "") | {
        "programme": "A", "institution": "University of Oxford", "credited": "University of Oxford", "country": "GB",
        "role": "winner", "operational": "2017-10", "status": "treatment", "confidence": "high", "checked": "yes",
        "source_url": "https://a.example",
    }  # fmt: skip
    return row | changed


def write_table(path: Path, *rows: dict[str, str]) -> Path:
    stream = io.StringIO()
    writer = csv.DictWriter(stream, COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    path.write_text(stream.getvalue(), encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"confidence": "medium"}, "line 2: a treatment must be of high confidence and seen again"),
        ({"checked": "not found"}, "line 2: a treatment must be of high confidence and seen again"),
        (
            {"checked": "perhaps"},
            "line 2: checked is \"perhaps\"; it must be one of 'yes', 'not found', 'contradicted'",
        ),
        ({"role": "guest"}, 'line 2: role is "guest"; it must be one of'),
        ({"operational": "2017-1"}, 'line 2: operational is "2017-1"'),
        ({"credited": ""}, "line 2: status treatment needs a credited university"),
    ],
)
def test_a_row_that_is_no_evidence_is_refused(tmp_path: Path, changed: dict[str, str], message: str) -> None:
    path = write_table(tmp_path / "programmes.csv", line(**changed))
    with pytest.raises(DataError, match=message) as caught:
        checked(path)
    assert "\n" not in str(caught.value)


def test_a_recipient_may_be_there_once_in_a_role(tmp_path: Path) -> None:
    path = write_table(tmp_path / "programmes.csv", line(), line(operational="2018-01"))
    with pytest.raises(DataError, match="line 3: A, University of Oxford, winner is also on line 2"):
        checked(path)
    path = write_table(tmp_path / "programmes.csv", line(), line(role="loser", status="comparison"))
    assert checked(path).index.tolist() == [2, 3]


SMALL = """
[one]
title = "One"
what = "compute"
event = "first_one"
programmes = ["A", "B"]
related = ["C"]
later = ["D"]
date = "operational"
date_rule = "As it runs."
population = "country=GB"
population_narrow = "country=GB"
list_complete = true
access_of_others = ""
threats = ""
"""


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('event = "first_one"\n', "", r"\[one\]: the key 'event' is missing"),
        ("threats", "dangers", r"\[one\]: there is no key \"dangers\".* Known: .*threats"),
        ("later = ", "sooner = []\nlater = ", r"\[one\]: there is no key \"sooner\""),
        ("true", '"yes"', r"list_complete is 'yes'; it must be true or false"),
        ('["C"]', '"C"', "related is 'C'; it must be a list of texts"),
        ('"operational"', '"ordered"', 'no date "ordered".* Known: announced, operational'),
        ('"compute"', '"luck"', 'no what "luck".* Known: compute, funding'),
        ('title = "One"', "title = One", "not valid TOML"),
    ],
)
def test_a_damaged_family_is_named_with_its_key(tmp_path: Path, old: str, new: str, message: str) -> None:
    path = tmp_path / "programmes.toml"
    path.write_text(SMALL.replace(old, new), encoding="utf-8")
    with pytest.raises(DataError, match=message) as caught:
        families(path)
    assert str(caught.value).startswith(("programmes.toml, [one]: ", f"{path}: "))


# Events and roles.


@pytest.fixture(scope="module")
def matcher() -> Matcher:
    world = pd.DataFrame(
        [("University of Nowhere", "United Kingdom", "GB", ())],
        columns=["name", "country", "iso2", "domains"],
    )
    return Matcher(load(shipped("data", "institutions.csv"), shipped("data", "organisations.csv"), world))


@pytest.fixture
def one(tmp_path: Path) -> Family:
    path = tmp_path / "programmes.toml"
    path.write_text(SMALL, encoding="utf-8")
    return families(path)["one"]


PADDING = [
    line(programme=name, institution=f"Padding {name}", credited="", status="robustness", operational="")
    for name in "ABCD"
]


def small(tmp_path: Path, *rows: dict[str, str]) -> pd.DataFrame:
    return checked(write_table(tmp_path / "programmes.csv", *PADDING, *rows))


def _dates(found: pd.DataFrame) -> dict[tuple[str, str], str]:
    return {(row["university"], row["event"]): row["date"] for row in found.to_dict("records")}


def test_the_first_date_counts_over_the_programmes_of_a_family(
    tmp_path: Path, one: Family, matcher: Matcher
) -> None:
    table = small(tmp_path, line(operational="2020-12"), line(programme="B", operational="2017-10"))
    found = events(table, {"one": one}, matcher)
    assert _dates(found) == {
        ("University of Oxford", "first_one"): "2017-10",
        ("University of Oxford", "first_one_any"): "2017-10",
    }
    assert found[["programme", "date_precision", "date_basis", "left_censored"]].iloc[0].tolist() == [
        "B", "month", "operational", 0,
    ]  # fmt: skip


def test_an_uncertain_or_a_related_date_enters_only_the_wider_event(
    tmp_path: Path, one: Family, matcher: Matcher
) -> None:
    table = small(
        tmp_path,
        line(operational="2020-12"),
        line(programme="B", status="robustness", confidence="medium", operational="2017"),
        line(
            programme="C", operational="2013-11", credited="University of Cambridge", institution="Cambridge"
        ),
    )
    found = events(table, {"one": one}, matcher)
    assert _dates(found) == {
        ("University of Oxford", "first_one"): "2020-12",
        ("University of Oxford", "first_one_any"): "2017",
        ("University of Cambridge", "first_one_any"): "2013-11",
    }
    wide = found.set_index(["university", "event"])
    assert wide.loc[("University of Oxford", "first_one_any"), "date_precision"] == "year"
    assert wide.loc[("University of Cambridge", "first_one_any"), ["role", "status"]].tolist() == [
        "related", "robustness",
    ]  # fmt: skip


def test_a_date_of_the_other_kind_makes_no_event(tmp_path: Path, one: Family, matcher: Matcher) -> None:
    table = small(tmp_path, line(status="robustness", operational="", announced="2016-02"))
    assert events(table, {"one": one}, matcher).empty
    found = events(table, {"one": replace(one, date="announced")}, matcher)
    assert set(found["event"]) == {"first_one_any"}


def test_a_lost_contest_is_an_event_of_its_own(tmp_path: Path, one: Family, matcher: Matcher) -> None:
    table = small(tmp_path, line(role="loser", status="comparison", operational="", announced="2018-11"))
    found = events(table, {"one": one}, matcher)
    assert found[["event", "date", "date_basis", "role"]].to_numpy().tolist() == [
        ["first_one_loser", "2018-11", "announced", "loser"]
    ]


def test_a_site_can_be_several_universities(tmp_path: Path, one: Family, matcher: Matcher) -> None:
    table = small(tmp_path, line(institution="Site", credited="University of Oxford|University of Cambridge"))
    found = events(table, {"one": one}, matcher)
    assert set(found["university"]) == {"University of Oxford", "University of Cambridge"}


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"operational": "2017"}, "line 6: a treatment needs a month in the column operational"),
        ({"operational": "", "announced": "2017-10"}, "line 6: a treatment needs a month"),
        ({"credited": "Institute of Nobody"}, r'credited "Institute of Nobody" is 0 universities'),
        ({"credited": "University of Oxford; University of Cambridge"}, "is 2 universities"),
    ],
)
def test_a_treatment_needs_a_month_and_one_university(
    tmp_path: Path, one: Family, matcher: Matcher, changed: dict[str, str], message: str
) -> None:
    table = small(tmp_path, line(**changed))
    with pytest.raises(DataError, match=message):
        events(table, {"one": one}, matcher)


def test_a_programme_without_rows_is_a_misspelt_one(tmp_path: Path, one: Family, matcher: Matcher) -> None:
    table = checked(write_table(tmp_path / "programmes.csv", line()))
    with pytest.raises(DataError, match=r'\[one\]: programme "B" has no row'):
        events(table, {"one": one}, matcher)


LOST = {"role": "loser", "status": "comparison", "announced": "2018-11", "operational": ""}
LATER = {"role": "later_winner", "status": "robustness", "operational": "2022-05"}
UNSURE = {"status": "robustness", "confidence": "medium"}


@pytest.mark.parametrize(
    ("rows", "role"),
    [
        ([line()], "winner"),
        ([line(), line(programme="C", **UNSURE)], "winner"),
        ([line(**LOST)], "loser"),
        ([line(**LOST), line(programme="D", **LATER)], "later_winner"),
        ([line(**LOST), line(programme="B", role="later_winner", operational="2021-04")], "later_winner"),
        ([line(programme="D", **LATER)], "later_winner"),
        ([line(**UNSURE)], "unclear"),
        ([line(programme="C")], "unclear"),
        ([line(**LOST), line(programme="C")], "unclear"),
        ([line(programme="C"), line(programme="D", **LATER)], "unclear"),
        ([line(**(LOST | {"status": "robustness", "confidence": "medium"}))], "unclear"),
        ([line(programme="D", status="robustness", operational="2022-05")], "unclear"),
    ],
)
def test_the_role_says_who_may_be_compared(
    tmp_path: Path, one: Family, matcher: Matcher, rows: list[dict[str, str]], role: str
) -> None:
    found = roles(small(tmp_path, *rows), {"one": one}, matcher)
    assert found.to_numpy().tolist() == [["University of Oxford", "GB", "one", role]]


# What ships of them.


@pytest.fixture(scope="module")
def real_matcher() -> Matcher:
    world = universities.read(RAW / "universities")
    return Matcher(load(shipped("data", "institutions.csv"), shipped("data", "organisations.csv"), world))


def test_every_credited_winner_is_treated_once_and_no_loser_is_treated_before_it_lost() -> None:
    found = pd.read_csv(shipped("data", "events", "programmes.csv"), dtype=str)
    assert not found.duplicated(["university", "country", "event"]).any()
    for family in FAMILIES.values():
        rows = TREATED[TREATED["programme"].isin(family.programmes)]
        treated = found[found["event"] == family.event].set_index(["university", "country"])["date"]
        assert len(treated) == len({name for text in rows["credited"] for name in text.split("|")})
        lost = found[found["event"] == f"{family.event}_loser"].set_index(["university", "country"])["date"]
        for university in set(treated.index) & set(lost.index):
            assert lost[university] < treated[university]


def test_a_winner_has_the_event_and_nobody_else() -> None:
    dated = pd.read_csv(shipped("data", "events", "programmes.csv"), dtype=str)
    role = pd.read_csv(shipped("data", "events", "programme_roles.csv"), dtype=str)
    for family in FAMILIES.values():
        own = role[role["family"] == family.name]
        winners = set(own.loc[own["role"] == "winner", "university"])
        treated = set(dated.loc[dated["event"] == family.event, "university"])
        assert winners <= treated
        assert treated - winners <= set(own.loc[own["role"] == "later_winner", "university"])


@pytest.mark.parametrize("name", FAMILIES)
def test_the_named_population_of_a_panel_is_that_of_its_family(name: str) -> None:
    assert panel_entries()["cvpr"]["populations"][name] == FAMILIES[name].population
