"""Panels from long tables: what they hold, and what is refused with the row that is at fault."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import simulated

from study import DataError, Panel, Question, QuestionError, estimate, load_panel
from study.core.errors import StudyError

COLUMNS: dict[str, Any] = {
    "unit": "unit",
    "time": "year",
    "first_treated": "event",
    "outcomes": ["papers"],
    "covariates": ["staff"],
    "attributes": ["country"],
}


def table() -> pd.DataFrame:
    """Return two units in three years."""
    return pd.DataFrame(
        {
            "unit": ["ETH", "ETH", "ETH", "MIT", "MIT", "MIT"],
            "year": [2014, 2015, 2016, 2014, 2015, 2016],
            "event": ["2016", "2016", "2016", "", "", ""],
            "papers": ["1", "2", "3", "4", "", "6"],
            "staff": ["10", "10", "11", "20", "21", "22"],
            "country": ["CH", "CH", "CH", "US", "US", "US"],
        }
    )


def changed(column: str, row: int, value: Any) -> pd.DataFrame:
    data = table().astype(object)
    data.loc[row, column] = value
    return data


def test_a_panel_holds_wide_arrays_with_gaps_and_events() -> None:
    panel = Panel.from_long(table(), **COLUMNS)
    assert list(panel.units) == ["ETH", "MIT"]
    assert list(panel.periods) == [2014, 2015, 2016]
    np.testing.assert_array_equal(panel.outcomes["papers"], [[1, 2, 3], [4, np.nan, 6]])
    np.testing.assert_array_equal(panel.first_treated["event"], [2016, np.nan])
    assert list(panel.attributes["country"]) == ["CH", "US"]
    assert panel.events == ("event",)


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"outcomes": np.ones((3, 2))}, "outcomes is a ndarray; it must be a mapping."),
        (
            {"outcomes": {"y": np.ones((3, 2))}},
            'outcomes["y"] is of float64, shape (3, 2); it must be an array of float64, shape (2, 3), of units by '
            "periods.",
        ),
        (
            {"covariates": {"x": np.full((2, 3), "1")}},
            'covariates["x"] is of <U1, shape (2, 3); it must be an array of float64, shape (2, 3), of units by '
            "periods.",
        ),
        (
            {"first_treated": {"event": [2015.0, np.nan]}},
            'first_treated["event"] is [2015.0, nan]; it must be an array of float64, shape (2,).',
        ),
        (
            {"attributes": {"country": np.array(["CH"])}},
            'attributes["country"] is of <U2, shape (1,); it must be an array of labels, shape (2,).',
        ),
        ({"units": ["ETH", "MIT"]}, "units is ['ETH', 'MIT']; it must be an array of labels, shape (2,)."),
        (
            {"periods": np.array([2014.0, 2015.0, 2016.0])},
            "periods is of float64, shape (3,); it must be an array of int64, shape (3,).",
        ),
    ],
)
def test_a_panel_made_by_hand_names_the_array_that_is_of_another_shape_or_kind(wrong, words) -> None:
    with pytest.raises(QuestionError) as refusal:
        replace(Panel.from_long(table(), **COLUMNS), **wrong)
    assert str(refusal.value) == f"Panel panel: {words}"


@pytest.mark.parametrize("kind", [np.int8, np.int64, np.float32])
def test_numbers_of_a_panel_made_by_hand_are_read_as_float64(kind: type) -> None:
    made = simulated.panel(40, seed=1)
    y = np.clip(np.round(30 * made.outcomes["y"]), -120, 120)
    first = np.where(np.arange(40) < 20, 4, 7)
    wide, other = (
        replace(made, outcomes={"y": y.astype(own)}, first_treated={"event": first.astype(own)})
        for own in (float, kind)
    )
    question = Question("y", "event", comparison="not_yet_treated")
    fits = [estimate(panel, question, "callaway_santanna") for panel in (wide, other)]
    assert np.array_equal(fits[0].effect, fits[1].effect)
    assert fits[0].sample.panel_checksum == fits[1].sample.panel_checksum


def test_a_panel_made_by_hand_is_refused_if_its_periods_have_gaps() -> None:
    with pytest.raises(QuestionError, match=r"^Panel simulated: periods are not consecutive whole numbers"):
        replace(simulated.panel(9), periods=np.array([1, 2, 3, 4, 6, 7, 8, 9]))


def test_a_csv_file_and_a_dataframe_make_the_same_panel(tmp_path: Path) -> None:
    table().to_csv(tmp_path / "own.csv", index=False)
    from_file = Panel.from_long(tmp_path / "own.csv", **COLUMNS)
    assert from_file.name == "own.csv"
    assert from_file.checksum == Panel.from_long(table(), **COLUMNS).checksum


def test_the_checksum_follows_values_and_not_the_order_of_rows() -> None:
    panel = Panel.from_long(table(), **COLUMNS)
    assert Panel.from_long(table().iloc[::-1], **COLUMNS).checksum == panel.checksum
    assert Panel.from_long(changed("papers", 0, "1.5"), **COLUMNS).checksum != panel.checksum
    assert Panel.from_long(changed("papers", 4, "0"), **COLUMNS).checksum != panel.checksum


def test_rows_are_those_of_the_labels_in_any_order_and_a_label_that_is_not_there_is_refused() -> None:
    panel = replace(Panel.from_long(table(), **COLUMNS), units=np.array(["MIT", "ETH"]))
    assert list(panel.rows_of(np.array(["ETH", "MIT", "ETH"]))) == [1, 0, 1]
    for label in ("AAA", "EUR", "ZZZ"):
        with pytest.raises(QuestionError, match=f'there is no unit "{label}"'):
            panel.rows_of(np.array(["ETH", label]))


def test_a_zero_one_treatment_that_stays_on_becomes_a_first_treated_period() -> None:
    data = table().assign(grant=[0, 1, 1, 0, 0, 0], visit=[0, 1, 0, 0, 0, 0])
    panel = Panel.from_long(data, **(COLUMNS | {"first_treated": (), "treatment": ["grant", "visit"]}))
    np.testing.assert_array_equal(panel.first_treated["grant"], [2015, np.nan])
    assert "visit" not in panel.first_treated
    np.testing.assert_array_equal(panel.treatment["visit"], [[0, 1, 0], [0, 0, 0]])


AMBIGUOUS: dict[str, tuple[list[float | None], tuple[float, float] | None, float, float]] = {
    "adoption row missing": ([0, 0, None, 1, 1], (2012, 2013), 2012, 2013),
    "two rows missing": ([0, None, None, 1, 1], (2011, 2013), 2011, 2013),
    "start not seen": ([None, None, 1, 1, 1], (-np.inf, 2012), 2010, 2012),
    "end not seen": ([0, 0, 0, None, None], (2013, np.inf), 2013, np.nan),
    "nothing seen": ([None] * 5, (-np.inf, np.inf), 2010, np.nan),
    "known before a 0": ([None, 0, None, 0, 1], None, 2014, 2014),
    "known after a 1": ([0, 0, 1, None, None], None, 2012, 2012),
    "treated from the start": ([1, None, 1, 1, None], None, 2010, 2010),
    "never treated": ([0, None, 0, None, 0], None, np.nan, np.nan),
}


def paths(rows: bool) -> pd.DataFrame:
    """Return a unit a case above, two treated ones and two others; what is not seen is an empty cell or no row."""
    others = {"treated": [0, 0, 1, 1, 1], "later": [0, 0, 0, 1, 1], "never": [0] * 5, "not": [0] * 5}
    values = {name: case[0] for name, case in AMBIGUOUS.items()} | others
    data = pd.DataFrame(
        {"unit": name, "year": 2010 + t, "grant": value, "papers": float(t)}
        for name, path in values.items()
        for t, value in enumerate(path)
    )
    return data.dropna(subset="grant") if rows else data


READ: dict[str, Any] = {"unit": "unit", "time": "year", "treatment": "grant", "outcomes": "papers"}


@pytest.mark.parametrize("case", AMBIGUOUS)
def test_an_adoption_that_is_not_observed_has_an_interval_and_is_dated_by_the_rule(case: str) -> None:
    _, interval, earliest, latest = AMBIGUOUS[case]
    for rule, date in {"drop": latest, "earliest": earliest, "latest": latest}.items():
        panel = Panel.from_long(paths(rows=False), **READ, ambiguous=rule)  # type: ignore[arg-type]
        assert panel.ambiguous["grant"].get(case) == interval
        np.testing.assert_equal(panel.first_treated["grant"][list(panel.units).index(case)], date)


def test_a_unit_without_a_row_when_it_may_have_been_treated_is_left_out_and_counted() -> None:
    panel = Panel.from_long(paths(rows=True), **READ)
    # A unit that leaves the table untreated is untreated as far as it is seen.
    within = {name for name, case in AMBIGUOUS.items() if case[1] is not None and np.isfinite(case[2:]).all()}
    assert set(panel.ambiguous["grant"]) == within
    sample = Question("papers", "grant").sample(panel)
    assert not within & set(sample.unit_ids)
    dropped = {step.reason: step.units for step in sample.flow if not step.kept}
    assert dropped["adoption date ambiguous, between 2012 and 2013"] == 1
    assert dropped["adoption date ambiguous, in 2012 or before"] == 1
    latest = Panel.from_long(paths(rows=True), **READ, ambiguous="latest")
    assert within <= set(Question("papers", "grant").sample(latest).unit_ids)
    assert latest.checksum != panel.checksum


def test_a_panel_without_any_certain_date_says_how_to_go_on() -> None:
    ones = paths(rows=False).assign(grant=lambda data: data["grant"].where(data["grant"] == 1))
    panel = Panel.from_long(ones[ones["unit"] != "treated from the start"], **READ)
    with pytest.raises(
        QuestionError, match=r"fill in the treatment where it is empty, or build the panel with amb"
    ):
        Question("papers", "grant").sample(panel)


def test_a_treatment_that_switches_off_has_no_ambiguous_date() -> None:
    data = paths(rows=False)
    data.loc[(data["unit"] == "treated") & (data["year"] == 2014), "grant"] = 0
    panel = Panel.from_long(data, **READ)
    assert not panel.ambiguous
    assert "grant" not in panel.first_treated


def test_zero_is_never_treated_in_years_but_a_period_in_a_panel_that_starts_at_zero() -> None:
    data = table().assign(event=0)
    assert np.isnan(Panel.from_long(data, **COLUMNS).first_treated["event"]).all()
    early = data.assign(year=data["year"] - 2014)
    np.testing.assert_array_equal(Panel.from_long(early, **COLUMNS).first_treated["event"], [0, 0])


BAD: dict[str, tuple[pd.DataFrame, dict[str, Any], str]] = {
    "duplicate unit-year": (
        pd.concat([table(), table().iloc[[2]]], ignore_index=True),
        {},
        "1 unit-period appears twice, first (ETH, 2016) on line 4 and line 8; keep one row each, or their mean.",
    ),
    "duplicate unit-years": (
        pd.concat([table(), table().iloc[[5, 2, 5]]], ignore_index=True),
        {},
        "2 unit-periods appear twice, first (ETH, 2016) on line 4 and line 9; keep one row each, or their mean.",
    ),
    "text in a number column": (
        changed("papers", 1, "many"),
        {},
        'column papers holds "many" on line 3; it must be a number such as 1234.5, or empty.',
    ),
    "infinite number": (changed("papers", 1, "inf"), {}, 'column papers holds "inf" on line 3'),
    "impossible event year": (
        table().replace({"event": {"2016": "20166"}}),
        {},
        "column event is 20166 for ETH on line 2, an impossible event period for a panel of 2014 to 2016",
    ),
    "event between periods": (
        table().replace({"event": {"2016": "2015.5"}}),
        {},
        "column event is 2015.5 for ETH on line 2, an impossible event period",
    ),
    "event that changes within a unit": (
        changed("event", 2, "2015"),
        {},
        "column event changes within ETH between line 2 and line 4; it must be one value a unit.",
    ),
    "label that changes within a unit": (
        changed("country", 5, "UK"),
        {},
        "column country changes within MIT between line 5 and line 7",
    ),
    "empty unit": (changed("unit", 3, " "), {}, "column unit is empty on line 5; every row needs one."),
    "year of text": (
        changed("year", 3, "in 2014"),
        {},
        'column year holds "in 2014" on line 5; a period is a whole number.',
    ),
    "half a year": (changed("year", 3, "2014.5"), {}, 'column year holds "2014.5" on line 5'),
    "gap in the periods": (
        table().query("year != 2015"),
        {},
        "periods jump from 2014 to 2016; number them consecutively or add the missing ones.",
    ),
    "treatment of two": (
        table().assign(grant=["0", "1", "2", "0", "0", "0"]),
        {"treatment": "grant"},
        "column grant is 2 for (ETH, 2016); a treatment is 0 or 1.",
    ),
    "treatment in words": (
        table().assign(grant=["no", "no", "yes", "no", "no", "no"]),
        {"treatment": "grant"},
        'column grant holds "no" on line 2; a treatment is 0 or 1, or empty where it is not known.',
    ),
    "unknown column": (table(), {"outcomes": "paper"}, 'there is no column "paper". Did you mean "papers"?'),
    "no outcome": (table(), {"outcomes": []}, "no outcome is named; say which columns are outcomes."),
    "no event": (
        table(),
        {"first_treated": []},
        "no event is named; give first_treated=, treatment= or doses=.",
    ),
    "no rows": (table().iloc[:0], {}, "the table has no rows."),
}


@pytest.mark.parametrize("case", BAD)
def test_a_bad_table_is_refused_in_one_line_that_names_the_row(case: str, tmp_path: Path) -> None:
    data, options, said = BAD[case]
    path = tmp_path / "own.csv"
    data.to_csv(path, index=False)
    with pytest.raises(DataError) as error:
        Panel.from_long(path, **(COLUMNS | options))
    assert str(error.value).startswith("own.csv: ")
    assert said in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("cells", [[np.nan, 2.0, 2.0], [2.0, 2.0, np.nan], [None, "2", "2"], [2, 2, 3]])
def test_an_event_that_is_empty_in_some_rows_of_a_unit_is_refused_where_units_follow_one_another(
    cells: list[Any],
) -> None:
    data = pd.DataFrame({"unit": np.repeat(["a", "b", "c"], 3), "time": [1, 2, 3] * 3, "y": np.arange(9.0)})
    columns: dict[str, Any] = {"unit": "unit", "time": "time", "first_treated": "event", "outcomes": "y"}
    empty = [None if isinstance(cells[1], str) else np.nan] * 3
    Panel.from_long(data.assign(event=[cells[1]] * 3 + 2 * empty), **columns)
    with pytest.raises(DataError, match=r"column event changes within a .*; it must be one value a unit"):
        Panel.from_long(data.assign(event=cells + 2 * empty), **columns)


def test_a_window_of_negative_periods_has_a_word_between_its_ends() -> None:
    window = Panel.from_long(table(), **COLUMNS).window
    said = [window(np.array(ends)) for ends in ([-5, 5], [-5, -2], [0, 3], [-1, -1])]
    assert said == ["-5 to 5", "-5 to -2", "0-3", "-1"]


def test_dates_are_no_periods() -> None:
    dates = table().assign(year=pd.to_datetime(table()["year"].astype(str)))
    with pytest.raises(
        DataError, match=r'column year holds "2014-01-01.*" on row 1; a period is a whole number'
    ):
        Panel.from_long(dates, **COLUMNS)


def test_columns_of_any_type_make_the_same_panel() -> None:
    panel = Panel.from_long(table(), **COLUMNS)
    numbers = table().replace({"event": {"": None}, "papers": {"": None}})
    numbers = numbers.astype({"event": "Int64", "papers": float, "staff": int, "country": "category"})
    assert Panel.from_long(numbers, **COLUMNS).checksum == panel.checksum
    spaced = table().assign(unit=" " + table()["unit"] + " ", papers=table()["papers"].replace({"": " NA "}))
    assert Panel.from_long(spaced, **COLUMNS).checksum == panel.checksum
    spaced = table().assign(
        staff=table()["staff"].astype(str) + "\u00a0", year="\u00a0" + table()["year"].astype(str)
    )
    assert Panel.from_long(spaced, **COLUMNS).checksum == panel.checksum
    parquet = table().assign(unit=[bytearray(unit.encode()) for unit in table()["unit"]])
    assert Panel.from_long(parquet, **COLUMNS).checksum == panel.checksum


def test_integers_beyond_numpys_beside_its_truth_values_are_read_as_they_are() -> None:
    cells = pd.Series([2**70, 2**70, np.True_, np.True_], dtype=object)
    frame = pd.DataFrame({"unit": cells, "year": [1, 2, 1, 2], "y": cells, "on": [0, 1, 0, 0]})
    panel = Panel.from_long(frame, unit="unit", time="year", outcomes=["y"], treatment="on")
    assert list(panel.units) == [str(2**70), "True"]
    assert panel.outcomes["y"].tolist() == [[float(2**70)] * 2, [1.0, 1.0]]


def test_rows_of_a_dataframe_are_counted_from_one() -> None:
    with pytest.raises(DataError, match='panel: column papers holds "many" on row 2; '):
        Panel.from_long(changed("papers", 1, "many"), **COLUMNS)


def test_a_file_that_is_absent_or_no_table_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="there is no such file"):
        Panel.from_long(tmp_path / "none.csv", **COLUMNS)
    (tmp_path / "empty.csv").write_bytes(b"")
    with pytest.raises(DataError, match="not a readable CSV table"):
        Panel.from_long(tmp_path / "empty.csv", **COLUMNS)
    (tmp_path / "latin.csv").write_bytes(b"unit,year\nZ\xfcrich,2014\n")
    with pytest.raises(DataError, match="save it as UTF-8 CSV"):
        Panel.from_long(tmp_path / "latin.csv", **COLUMNS)


def test_populations_are_kept_and_are_not_in_the_checksum() -> None:
    panel = Panel.from_long(table(), **COLUMNS)
    named = Panel.from_long(table(), **COLUMNS, populations={"swiss": "country=CH"})
    assert dict(panel.populations) == {}
    assert dict(named.populations) == {"swiss": "country=CH"}
    assert named.checksum == panel.checksum


def test_an_unknown_shipped_panel_is_refused_with_those_there_are() -> None:
    with pytest.raises(StudyError, match=r'load_panel: there is no panel "cvprr"\..*Known: '):
        load_panel("cvprr")


def test_the_shipped_panel_says_where_it_comes_from() -> None:
    sources = load_panel("cvpr").provenance
    text = str(sources)
    assert "TOP500" in text
    assert "sha256" in text
