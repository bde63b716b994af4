"""Tables of one's own: the doors by which they come, what periods are counted in, and what stands for never."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import zipfile
from collections.abc import Callable
from contextlib import nullcontext
from decimal import Decimal
from pathlib import Path
from typing import Any, Literal

import duckdb
import numpy as np
import pandas as pd
import pytest
from originals import write_xlsx

from study import DataError, LargePanel, Panel, Question, estimate
from study.figures import adoption_groups
from study.panel.rows import Rows
from study.panel.tables import read_table

ROLES: dict[str, Any] = {
    "unit": "lab",
    "time": "year",
    "first_treated": "entry",
    "treatment": "on",
    "outcomes": "papers",
    "covariates": "staff",
    "attributes": ["country", "tier"],
}


def table(n: int = 12, periods: int = 6) -> pd.DataFrame:
    """Return labs of which a third never enter, with gaps, odd numbers and the label "NA"."""
    draws = np.random.default_rng(3)
    entry = np.resize([2003.0, 2005.0, np.nan], n)
    data = pd.DataFrame(
        {
            "lab": np.repeat([f"Lab {i}" for i in range(n)], periods),
            "year": np.tile(np.arange(2000, 2000 + periods), n),
            "entry": np.repeat(entry, periods),
            "papers": draws.normal(size=n * periods) / 3,
            "staff": draws.lognormal(sigma=9, size=n * periods),
            "country": np.repeat(np.resize(["NA", "CH", "Côte d'Ivoire"], n), periods),
            "tier": np.repeat(np.resize([1.0, 2.0, np.nan, 3.0], n), periods),
        }
    )
    data["on"] = data["year"] >= data["entry"]
    data.loc[3, "papers"] = np.nan
    return data


def stata(data: pd.DataFrame, path: Path) -> None:
    """Write countries as numbers with labels, as ``encode`` of Stata does."""
    names = sorted(set(data["country"]))
    coded = data.assign(country=data["country"].map(names.index) + 1)
    labels = {"country": {number + 1: name for number, name in enumerate(names)}}
    coded.to_stata(path, write_index=False, value_labels=labels, version=118)


def workbook(data: pd.DataFrame, path: Path) -> None:
    cells = (
        data.astype(object)
        .mask(data.isna(), "")
        .map(lambda cell: int(cell) if isinstance(cell, bool) else cell)
    )
    write_xlsx(path, [list(data.columns), *cells.to_numpy().tolist()])


def parquet(data: pd.DataFrame, path: Path) -> None:
    duckdb.from_df(data).write_parquet(str(path))


FILES: dict[str, Callable[[pd.DataFrame, Path], None]] = {
    "own.csv": lambda data, path: data.to_csv(path, index=False),
    "own.csv.gz": lambda data, path: data.to_csv(path, index=False),
    "own.parquet": parquet,
    "own.dta": stata,
    "own.xlsx": workbook,
}


def checked(panel: Panel) -> tuple[Any, ...]:
    """Return what has to be the same by every door: the checksum, the bits of an outcome, and the labels."""
    return panel.checksum, panel.outcomes["papers"].tobytes(), *map(list, panel.attributes.values())


@pytest.mark.parametrize("name", FILES)
def test_the_same_table_by_any_file_is_the_same_panel(name: str, tmp_path: Path) -> None:
    FILES[name](table(), tmp_path / name)
    panel = Panel.from_long(tmp_path / name, **ROLES)
    assert checked(panel) == checked(Panel.from_long(table(), **ROLES))
    assert panel.name == name
    assert set(panel.attributes["country"]) == {"NA", "CH", "Côte d'Ivoire"}
    assert set(panel.attributes["tier"]) == {"", "1", "2", "3"}


def test_a_relation_of_duckdb_is_the_same_panel() -> None:
    data = table()
    relation = duckdb.sql("select * from data")
    assert checked(Panel.from_long(relation, **ROLES)) == checked(Panel.from_long(data, **ROLES))


def test_tables_in_the_arrow_format_are_the_same_panel(tmp_path: Path) -> None:
    arrow, polars = pytest.importorskip("pyarrow"), pytest.importorskip("polars")
    pytest.importorskip("pyarrow.feather").write_feather(table(), tmp_path / "own.feather")
    same = checked(Panel.from_long(table(), **ROLES))
    in_arrow = arrow.Table.from_pandas(table())
    for data in (in_arrow, polars.from_arrow(in_arrow), polars.from_arrow(in_arrow).lazy()):
        assert checked(Panel.from_long(data, **ROLES)) == same
    assert checked(Panel.from_long(tmp_path / "own.feather", **ROLES)) == same


def test_a_frame_of_dask_is_the_same_panel() -> None:
    dask = pytest.importorskip("dask.dataframe")
    frame = dask.from_pandas(table(), npartitions=2)
    assert checked(Panel.from_long(frame, **ROLES)) == checked(Panel.from_long(table(), **ROLES))


def test_a_frame_of_spark_is_the_same_panel() -> None:
    class OfSpark:
        """What makes a DataFrame of pandas of one of Spark."""

        def toPandas(self) -> pd.DataFrame:
            return table()

    assert checked(Panel.from_long(OfSpark(), **ROLES)) == checked(Panel.from_long(table(), **ROLES))


@pytest.mark.parametrize("column", ["lab", "papers"])
def test_lists_of_the_arrow_format_are_told_of_as_others(column: str) -> None:
    arrow = pytest.importorskip("pyarrow")
    cells = pd.Series([[1, 2]] * len(table()), dtype=pd.ArrowDtype(arrow.list_(arrow.int64())))
    said = re.escape(f'column {column} holds "[1 2]" on row 1; it must be')
    with pytest.raises(DataError, match=said):
        Panel.from_long(table().assign(**{column: cells}), **ROLES)


def test_labels_of_many_digits_stay_apart_where_some_are_missing_in_the_arrow_format(tmp_path: Path) -> None:
    arrow, feather = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.feather")
    grant = 2**62 + table()["lab"].astype("category").cat.codes.astype("Int64")
    data = table().assign(grant=grant.mask(table()["lab"] == table()["lab"].iloc[0]))
    roles = ROLES | {"attributes": "grant"}
    same = Panel.from_long(data, **roles).attributes["grant"].tolist()
    assert len(set(same)) == table()["lab"].nunique()
    in_arrow = arrow.Table.from_pandas(data).replace_schema_metadata(None)
    feather.write_feather(in_arrow, tmp_path / "own.feather")
    for read in (in_arrow, tmp_path / "own.feather"):
        assert Panel.from_long(read, **roles).attributes["grant"].tolist() == same


def test_decimals_of_many_digits_stay_apart_in_duckdb_and_in_its_files(tmp_path: Path) -> None:
    data = table()
    data["lab"] = 2**53 + data["lab"].str.removeprefix("Lab ").astype(int)
    relation = duckdb.from_df(data).project(
        "* REPLACE (lab::DECIMAL(38,0) AS lab, tier::DECIMAL(9,2) AS tier)"
    )
    relation.write_parquet(str(tmp_path / "own.parquet"))
    arrow = relation.to_arrow_table()
    panels = [Panel.from_long(source, **ROLES) for source in (relation, tmp_path / "own.parquet", arrow)]
    assert list(panels[0].units) == sorted(map(str, set(data["lab"])))
    assert checked(panels[0]) == checked(panels[1]) == checked(panels[2])
    large = LargePanel.from_parquet(tmp_path / "own.parquet", **ROLES)
    question = Question("papers", "entry", population="tier=1.00")
    assert question.sample(large).n_units == question.sample(panels[1]).n_units


@pytest.mark.parametrize("column", ["lab", "tier"])
@pytest.mark.parametrize(("kind", "digits"), [("float64", 53), ("float32", 24), ("Float64", 53)])
def test_labels_that_floats_may_have_made_one_are_refused(
    column: str, kind: str, digits: int, tmp_path: Path
) -> None:
    number = table()["lab"].str.removeprefix("Lab ").astype(int)
    for exact, labels in ((True, number + 2**digits - 12), (False, number + 2**digits)):
        table().assign(**{column: labels.astype(kind)}).to_parquet(tmp_path / "own.parquet")
        data = pd.read_parquet(tmp_path / "own.parquet")
        for read in (
            lambda data=data: Panel.from_long(data, **ROLES),
            lambda: Panel.from_long(tmp_path / "own.parquet", **ROLES),
            lambda: LargePanel.from_parquet(tmp_path / "own.parquet", **ROLES),
        ):
            with (
                nullcontext()
                if exact
                else pytest.raises(DataError, match=f"column {column} holds .* digits are lost")
            ):
                assert read().n_units == 12


@pytest.mark.parametrize(("levels", "words"), [(2, False), (3, True)])
def test_a_covariate_of_a_stata_file_is_in_words_where_three_numbers_or_more_all_have_one(
    levels: int, words: bool, tmp_path: Path
) -> None:
    data = table().assign(staff=lambda d: d["lab"].str.removeprefix("Lab ").astype(int) % levels)
    names = {0: "private", 1: "public", 2: "mixed"}
    for labels, attribute in ((names, words), ({0: "none"}, False)):
        data.drop(columns="on").to_stata(
            tmp_path / "own.dta", write_index=False, value_labels={"staff": labels}
        )
        panel = Panel.from_long(tmp_path / "own.dta", **ROLES | {"treatment": ()})
        assert ("staff" in panel.attributes, "staff" in panel.covariates) == (attribute, not attribute)
    spoken = data.assign(staff=data["staff"].map(names))
    assert words == (set(Panel.from_long(spoken, **ROLES).attributes["staff"]) == {*names.values()})


def test_units_of_a_stata_file_with_one_label_are_not_one_unit(tmp_path: Path) -> None:
    codes = table().assign(lab=lambda d: d["lab"].str.removeprefix("Lab ").astype(int))
    data, labels = codes[(codes["lab"] == 0) == (codes["year"] < 2002)], {0: "Lab", 1: "Lab ", 2: "Other"}
    data.drop(columns="on").to_stata(tmp_path / "own.dta", write_index=False, value_labels={"lab": labels})
    panel = Panel.from_long(tmp_path / "own.dta", **ROLES | {"treatment": ()})
    assert panel.n_units == 12
    assert list(panel.units[-3:]) == ["Lab (0)", "Lab (1)", "Other"]


def test_a_type_that_pyarrow_does_not_have_is_refused_in_one_line() -> None:
    polars = pytest.importorskip("polars", "1.18")  # with numbers of 128 bits
    data = polars.from_pandas(table()).with_columns(papers=polars.lit(1, dtype=polars.Int128))
    with pytest.raises(DataError, match=r"Panel.from_long: pyarrow cannot read data \(.*\); cast what"):
        Panel.from_long(data, **ROLES)


class ArrowStream:
    """What gives its columns in the Arrow format."""

    def __arrow_c_stream__(self, requested_schema: object = None) -> object:
        raise AssertionError


def test_without_pyarrow_its_name_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "pyarrow", None)
    with pytest.raises(DataError, match="it is in the Arrow format, which pyarrow reads; install pyarrow"):
        Panel.from_long(ArrowStream(), **ROLES)


@pytest.mark.parametrize("data", [[1, 2], {"lab": ["A"]}, 7, pd.DataFrame, None])
def test_what_is_no_table_is_refused_with_what_is(data: Any) -> None:
    with pytest.raises(
        DataError, match="give a DataFrame of pandas or polars, an Arrow table, a DuckDB relation"
    ):
        Panel.from_long(data, **ROLES)


@pytest.mark.parametrize("suffix", ["parquet", "dta", "xlsx", "xls", "feather"])
def test_a_file_of_another_kind_than_its_suffix_is_one_line(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"own.{suffix}"
    for content in (b"", b"lab,year\nA,2000\n", b"PK\x03\x04\x14\x00"):
        path.write_bytes(content)
        with pytest.raises(DataError) as error:
            Panel.from_long(path, **ROLES)
        assert str(error.value).startswith(str(path))
        assert "\n" not in str(error.value)


def test_a_stata_file_that_is_called_csv_is_named(tmp_path: Path) -> None:
    stata(table(), tmp_path / "own.dta")
    (tmp_path / "own.dta").rename(tmp_path / "own.csv")
    with pytest.raises(DataError, match="it is a Stata file"):
        Panel.from_long(tmp_path / "own.csv", **ROLES)


def test_rows_of_a_sheet_are_counted_as_excel_does(tmp_path: Path) -> None:
    data = table().astype({"papers": object})
    data.loc[4, "papers"] = "many"
    workbook(data, tmp_path / "own.xlsx")
    with pytest.raises(DataError, match='column papers holds "many" on line 6'):
        Panel.from_long(tmp_path / "own.xlsx", **ROLES)
    doubled = table()
    workbook(pd.concat([doubled, doubled["papers"]], axis=1), tmp_path / "own.xlsx")
    with pytest.raises(DataError, match='the heading has "papers" more than once'):
        read_table(tmp_path / "own.xlsx")


def test_a_column_without_a_heading_is_no_obstacle(tmp_path: Path) -> None:
    indexed = table().reset_index(names="")
    workbook(indexed, tmp_path / "own.xlsx")
    indexed.to_csv(tmp_path / "own.csv", index=False)
    for source in (indexed, tmp_path / "own.xlsx", tmp_path / "own.csv"):
        assert checked(Panel.from_long(source, **ROLES)) == checked(Panel.from_long(table(), **ROLES))


def rewritten(path: Path, changes: dict[str, Callable[[str], str]], **more: str) -> None:
    """Change texts of the files in a workbook by name, and add others."""
    with zipfile.ZipFile(path) as archive:
        texts = {name: archive.read(name).decode() for name in archive.namelist()}
    texts |= {name: change(texts[name]) for name, change in changes.items()} | more
    with zipfile.ZipFile(path, "w") as archive:
        for name, text in texts.items():
            archive.writestr(name, text)


def test_a_title_above_the_heading_is_said_to_be_none(tmp_path: Path) -> None:
    titled = table().T.reset_index().T.reset_index(drop=True)
    workbook(titled.set_axis(["Papers by lab", *[""] * 7], axis=1), tmp_path / "own.xlsx")
    with pytest.raises(
        DataError, match="the heading has 7 columns without a name; name the columns apart, on the"
    ):
        read_table(tmp_path / "own.xlsx")
    (tmp_path / "own.csv").write_text("Papers by lab\n" + table().to_csv(index=False))
    with pytest.raises(
        DataError, match=r"line 2 has 8 fields, the heading has 1 .* what stands first is no heading"
    ):
        read_table(tmp_path / "own.csv")


def test_the_first_sheet_that_shows_is_read(tmp_path: Path) -> None:
    path, first = tmp_path / "own.xlsx", "xl/worksheets/sheet1.xml"
    workbook(table().assign(papers=1.5), path)
    old = zipfile.ZipFile(path).read(first).decode()
    workbook(table(), path)
    hidden = '<sheets><sheet name="old" sheetId="2" r:id="rId2" state="hidden"/>'
    link, part = '<Relationship Id="rId1"', 'PartName="/xl/worksheets/sheet1.xml"'
    changes: dict[str, Callable[[str], str]] = {
        "xl/workbook.xml": lambda text: text.replace("<sheets>", hidden),
        "xl/_rels/workbook.xml.rels": lambda text: doubled(text, link, ("rId1", "rId2")),
        "[Content_Types].xml": lambda text: doubled(text, f"<Override {part}", ("sheet1", "sheet2")),
    }

    def doubled(text: str, start: str, names: tuple[str, str]) -> str:
        entry = text[text.index(start) : text.index("/>", text.index(start)) + 2]
        return text.replace(entry, entry + entry.replace(*names).replace("sheet1.xml", "sheet2.xml"))

    rewritten(path, changes, **{"xl/worksheets/sheet2.xml": old})
    assert checked(Panel.from_long(path, **ROLES)) == checked(Panel.from_long(table(), **ROLES))


def test_a_formula_that_nobody_has_calculated_is_no_empty_cell(tmp_path: Path) -> None:
    path, first = tmp_path / "own.xlsx", "xl/worksheets/sheet1.xml"
    workbook(table(), path)
    cell, calculated = "<c><v>2000</v></c>", '<c r="B2"><f>1999+1</f><v>2000</v></c>'
    rewritten(path, {first: lambda text: text.replace(cell, calculated, 1)})
    assert checked(Panel.from_long(path, **ROLES)) == checked(Panel.from_long(table(), **ROLES))
    for empty in ("", "<v></v>", "<v/>"):
        now = calculated.replace("<v>2000</v>", empty)
        rewritten(path, {first: lambda text, now=now: re.sub(r'<c r="B2">.*?</c>', now, text)})
        with pytest.raises(DataError, match="cell B2 is a formula whose value was never calculated"):
            Panel.from_long(path, **ROLES)


def test_an_error_on_a_sheet_is_no_empty_cell_where_its_column_is_read(tmp_path: Path) -> None:
    path, first = tmp_path / "own.xlsx", "xl/worksheets/sheet1.xml"
    workbook(table().assign(growth=7.25), path)
    cell = "<c><v>7.25</v></c>"
    for error in (
        't="e"><v>#N/A</v>',
        't="e"><f>1/0</f><v>#DIV/0!</v>',
        's="1" t="e"><f t="shared" si="0"/><v>#REF!</v>',
    ):
        rewritten(path, {first: lambda text, error=error: text.replace(cell, f'<c r="I2" {error}</c>', 1)})
        assert checked(Panel.from_long(path, **ROLES)) == checked(Panel.from_long(table(), **ROLES))
        said = f'column growth holds "{error.split("<v>")[1][:-4]}" on line 2; it must be a number such as'
        with pytest.raises(DataError, match=said):
            Panel.from_long(path, **ROLES | {"covariates": "growth"})
        rewritten(path, {first: lambda text: re.sub(r'<c r="I2".*?</c>', cell, text)})


def test_an_error_is_found_in_columns_of_two_letters_too(tmp_path: Path) -> None:
    path, first = tmp_path / "own.xlsx", "xl/worksheets/sheet1.xml"
    wide = table().assign(**{f"more{k}": 1.0 for k in range(30)}, growth=7.25)
    workbook(wide, path)
    letters = f"A{chr(65 + wide.columns.get_loc('growth') - 26)}"
    broken = f'<c r="{letters}2" t="e"><v>#N/A</v></c>'
    rewritten(path, {first: lambda text: text.replace("<c><v>7.25</v></c>", broken, 1)})
    with pytest.raises(DataError, match='column growth holds "#N/A" on line 2'):
        Panel.from_long(path, **ROLES | {"covariates": "growth"})


# ---- periods ----

MONTHS = pd.period_range("2009-11", periods=6, freq="M")
QUARTERS = pd.period_range("2009Q3", periods=6, freq="Q")


def dated(write: Callable[[pd.Period], Any], periods: pd.PeriodIndex = MONTHS) -> pd.DataFrame:
    """Return the table with its years written as periods of the calendar."""
    data = table()
    named = {2000 + k: write(period) for k, period in enumerate(periods)}
    entry = data["entry"].map(named).astype(object)
    return data.assign(year=data["year"].map(named), entry=entry.where(data["entry"].notna(), None))


WRITTEN: dict[str, tuple[str, pd.PeriodIndex, Callable[[pd.Period], Any]]] = {
    "months of pandas": ("month", MONTHS, lambda p: p),
    "days": ("month", MONTHS, lambda p: f"{p.year}-{p.month:02d}-17"),
    "slashes": ("month", MONTHS, lambda p: f"{p.year}/{p.month}"),
    "as Stata writes months": ("month", MONTHS, lambda p: f"{p.year}m{p.month}"),
    "six digits": ("month", MONTHS, lambda p: p.year * 100 + p.month),
    "eight digits": ("month", MONTHS, lambda p: f"{p.year}{p.month:02d}05"),
    "timestamps": ("month", MONTHS, lambda p: p.start_time + pd.Timedelta(hours=30)),
    "dates of Python": ("month", MONTHS, lambda p: p.start_time.date()),
    "quarters of pandas": ("quarter", QUARTERS, lambda p: p),
    "quarters with a space": ("quarter", QUARTERS, lambda p: f"{p.year} Q{p.quarter}"),
    "as Stata writes quarters": ("quarter", QUARTERS, lambda p: f"{p.year}q{p.quarter}"),
    "months in quarters": ("quarter", QUARTERS, lambda p: f"{p.year}-{p.month:02d}"),
}


LISTED: dict[str, tuple[pd.DataFrame, dict[str, Any]]] = {
    "years": (table(), {}),
    "text": (table().astype(str), {}),
    "zeros": (table().fillna({"entry": 0}), {}),
    "Inf": (table().fillna({"entry": np.inf}), {}),
    "a number for never": (table().fillna({"entry": 9999}), {"never": 9999}),
    "a word for never": (table().astype({"entry": object}).fillna({"entry": "no"}), {"never": "no"}),
    "months": (dated(str), {"period": "month"}),
    "timestamps": (dated(lambda p: p.start_time), {"period": "month"}),
    "ranks": (dated(lambda p: f"wave {p.ordinal}"), {"period": "rank"}),
}


@pytest.mark.parametrize("case", LISTED)
def test_a_table_listed_unit_by_unit_is_read_at_once_as_the_same_panel(case: str) -> None:
    data, how = LISTED[case]
    shuffled = data.sample(frac=1, random_state=0)
    assert [Rows(rows, None, "lab", "year", how.get("period")).each() for rows in (data, shuffled)] == [6, 1]
    listed = Panel.from_long(data, **ROLES, **how)
    assert checked(listed) == checked(Panel.from_long(shuffled, **ROLES, **how))
    assert np.isfinite(listed.first_treated["entry"]).sum() == 8


@pytest.mark.parametrize(
    ("data", "period", "said"),
    [
        (dated(str), "quarter", "24 unit-periods appear twice, first (Lab 0, 2009Q4) on row 1 and row 2"),
        (table().astype({"year": object}).replace({"year": {2001: "2000.0"}}), None, "first (Lab 0, 2000)"),
    ],
)
def test_periods_that_are_written_apart_and_are_one_stand_twice(
    data: pd.DataFrame, period: str | None, said: str
) -> None:
    with pytest.raises(DataError) as error:
        Panel.from_long(data, **ROLES, period=period)
    assert said in str(error.value)


def test_a_treatment_that_is_given_as_dates_is_told_so_in_any_period() -> None:
    for data, period in ((dated(str), "month"), (table(), "rank"), (table(), None)):
        roles = ROLES | {"first_treated": "on", "treatment": ()}
        with pytest.raises(DataError, match='it as treatment="on"'):
            Panel.from_long(data.assign(on=data["on"] * 1), **roles, period=period)
        with pytest.raises(DataError, match=r"a treatment is 0 or 1|it must be a number"):
            Panel.from_long(data, **ROLES | {"first_treated": (), "treatment": "entry"}, period=period)


@pytest.mark.parametrize("case", WRITTEN)
def test_dates_are_put_into_their_period_however_they_are_written(case: str, tmp_path: Path) -> None:
    period, periods, write = WRITTEN[case]
    data = dated(write, periods)
    panel = Panel.from_long(data, **ROLES, period=period)
    plain = Panel.from_long(table(), **ROLES)
    np.testing.assert_array_equal(panel.periods - panel.periods[0], np.arange(6))
    shifted = panel.first_treated["entry"] - panel.periods[0] + 2000
    np.testing.assert_array_equal(shifted, plain.first_treated["entry"])
    data.to_csv(tmp_path / "own.csv", index=False)
    assert Panel.from_long(tmp_path / "own.csv", **ROLES, period=period).checksum == panel.checksum


@pytest.mark.parametrize(
    ("unit", "frequency", "column"),
    [
        ("year", "Y-JUN", "entry"),
        ("quarter", "Q-JUN", "entry"),
        ("week", "W-SAT", "entry"),
        ("quarter", "Q-JUN", "year"),
        ("week", "W-SAT", "year"),
    ],
)
@pytest.mark.parametrize("write", [str, pd.Timestamp, lambda day: day.date()])
def test_a_day_is_in_the_fiscal_period_that_the_other_column_has(
    unit: Literal["year", "quarter", "week"],
    frequency: str,
    column: str,
    write: Callable[[pd.Timestamp], Any],
) -> None:
    labels = dated(lambda period: period, pd.period_range("2013-08-14", periods=6, freq=frequency))
    days = labels[column].map(
        lambda period: write(period.start_time + pd.Timedelta(days=1)), na_action="ignore"
    )
    if column == "year":
        days = pd.to_datetime(days)
    panels = [
        Panel.from_long(each, **ROLES, period=unit) for each in (labels, labels.assign(**{column: days}))
    ]
    event_times = [panel.first_treated["entry"] - panel.periods[0] for panel in panels]
    plain = Panel.from_long(table(), **ROLES).first_treated["entry"] - 2000
    np.testing.assert_array_equal(event_times, [plain, plain])


def test_years_of_dates_are_the_years() -> None:
    data = table()
    days = data.assign(year=data["year"].astype(str) + "-07-01")
    assert Panel.from_long(days, **ROLES, period="year").checksum == Panel.from_long(data, **ROLES).checksum


@pytest.mark.parametrize("period", [None, "year"])
@pytest.mark.parametrize("form", [float, Decimal, "{:.1f}".format, "{:.2f}".format])
def test_years_with_decimals_are_years(form: Callable[[int], Any], period: Literal["year"] | None) -> None:
    data = table().assign(year=lambda d: d["year"].map(form), entry=lambda d: d["entry"].map(form))
    panel, plain = Panel.from_long(data, **ROLES, period=period), Panel.from_long(table(), **ROLES)
    assert panel.checksum == plain.checksum
    assert panel.period_name(panel.periods[0]) == "2000"


@pytest.mark.parametrize(("first", "units"), [(200101, '"month"'), (20010101, '"day" or "month"')])
@pytest.mark.parametrize("kind", [int, float, str])
def test_months_and_days_are_no_years(first: int, units: str, kind: type) -> None:
    data = table()
    data = data.assign(year=data["year"] - 2000 + first)
    error = f"it must be a year, which has four digits \\(or say period={units}, if"
    with pytest.raises(DataError, match=f'column year holds "{first}[.0]*" on row 1; {error}'):
        Panel.from_long(data.assign(year=data["year"].astype(kind)), **ROLES, period="year")
    entries = data.assign(year=table()["year"], entry=(table()["entry"] - 2000 + first))
    with pytest.raises(DataError, match=f"column entry holds .*{error}"):
        Panel.from_long(entries, **ROLES, period="year", never=1e9)
    whole = Panel.from_long(data.drop(columns="entry"), **ROLES | {"first_treated": ()})
    assert whole.periods[0] == first


def test_weeks_and_days_are_periods_too() -> None:
    for unit, step in (("week", 7), ("day", 1)):
        start = pd.Timestamp("2024-02-26")
        data = dated(
            lambda k, step=step, start=start: str((start + pd.Timedelta(days=step * k)).date()), range(6)
        )
        panel = Panel.from_long(data, **ROLES, period=unit)
        assert list(np.diff(panel.periods)) == [1] * 5
        assert panel.window() == f"2024-02-26 to {(start + pd.Timedelta(days=5 * step)).date()}"


@pytest.mark.parametrize("write", ["03/04/2010", "2010", "2010-13", "2010.1", "March", "10-03"])
def test_a_date_that_is_not_certain_is_refused_with_how_to_write_it(write: str) -> None:
    data = dated(str)
    data.loc[0, "year"] = write
    with pytest.raises(
        DataError, match=f'holds "{write}" on row 1; it must be a date in a certain month, with the'
    ):
        Panel.from_long(data, **ROLES, period="month")


def test_a_plot_names_pooled_months_as_their_user_does() -> None:
    panel = Panel.from_long(dated(str), **ROLES | {"treatment": ()}, period="month")
    (group,) = adoption_groups(panel, panel.first_treated["entry"], panel.periods, 5)
    assert group.label == "2010-02 to 2010-04"


def test_a_jump_over_months_names_those_on_either_side() -> None:
    data = dated(lambda p: f"{p.year}-{p.month:02d}-17")
    with pytest.raises(DataError, match="periods jump from 2009-11-17 to 2010-01-17; number them"):
        Panel.from_long(data[data["year"] != "2009-12-17"], **ROLES, period="month")


def test_dates_without_a_period_say_how_to_read_them() -> None:
    with pytest.raises(
        DataError, match=r'a period is a whole number, .* period="year", or quarter or month, and in memory'
    ):
        Panel.from_long(dated(str), **ROLES)


def test_periods_are_shown_as_their_user_has_them() -> None:
    panel = Panel.from_long(dated(lambda p: f"{p.year}m{p.month}"), **ROLES, period="month")
    assert panel.period_names == ("2009m11", "2009m12", "2010m1", "2010m2", "2010m3", "2010m4")
    assert panel.period_name(panel.periods[-1] + 1) == "2010-05"
    question = Question("papers", "entry", missing="balanced")
    assert "first treated in 2010m2" in [step.reason for step in question.sample(panel).flow]
    fit = estimate(panel, question)
    assert fit.terms[0].startswith("ATT(2010m2,2009m1")
    assert fit.aggregate("cohort").terms == ("cohort 2010m2", "cohort 2010m4")


BIENNIAL = {2000 + k: 1990 + 2 * k for k in range(6)}


def test_a_biennial_panel_is_counted_in_waves_and_shown_in_years() -> None:
    data = table().assign(year=lambda d: d["year"].map(BIENNIAL), entry=lambda d: d["entry"].map(BIENNIAL))
    with pytest.raises(
        DataError, match=r'periods jump from 1990 to 1992.*biennial panel.* use period="rank"'
    ):
        Panel.from_long(data, **ROLES)
    panel = Panel.from_long(data, **ROLES, period="rank")
    assert list(panel.periods) == [1, 2, 3, 4, 5, 6]
    assert panel.window() == "1990 to 2000"
    assert sorted(set(panel.first_treated["entry"][:2])) == [4, 6]
    between = Panel.from_long(data.assign(entry=data["entry"] - 1), **ROLES, period="rank")
    np.testing.assert_array_equal(between.first_treated["entry"], panel.first_treated["entry"])
    late = Panel.from_long(data.assign(entry=data["entry"] + 8), **ROLES, period="rank")
    assert sorted(set(late.first_treated["entry"][:2])) == [8, 10]


ORDERED: dict[str, list[str]] = {
    "waves": [f"wave {k}" for k in range(7, 13)],
    "school years": [f"{y}/{y % 100 + 1:02d}" for y in range(2010, 2016)],
    "half-years": [f"{y}h{k}" for y in (2010, 2011, 2012) for k in (1, 2)],
    "months": ["2010_9", "2010_10", "2010_11", "2010_12", "2011_1", "2011_2"],
}


@pytest.mark.parametrize("case", ORDERED)
def test_labels_that_differ_in_numbers_have_the_order_of_the_numbers(case: str) -> None:
    named = {2000 + k: label for k, label in enumerate(ORDERED[case])}
    data = table().assign(year=lambda d: d["year"].map(named), entry=lambda d: d["entry"].map(named))
    panel = Panel.from_long(data.sample(frac=1, random_state=1), **ROLES, period="rank")
    assert panel.period_names == tuple(ORDERED[case])
    assert sorted(set(panel.first_treated["entry"][:2])) == [4, 6]


def test_months_that_may_be_decimals_have_no_certain_order() -> None:
    months = ["2010.8", "2010.9", "2010.10", "2010.11", "2010.12", "2011.1"]
    named = {2000 + k: label for k, label in enumerate(months)}
    data = table().assign(year=lambda d: d["year"].map(named), entry=lambda d: d["entry"].map(named))
    with pytest.raises(DataError, match=r'"2010\.10" on row 3; it must be a label whose place is certain'):
        Panel.from_long(data, **ROLES, period="rank")
    named = {2000: "2010.12"} | {2000 + k: f"201{k}.9" for k in range(1, 6)}
    with pytest.raises(DataError, match=r'"2010\.12" on row 1; it must be a label whose place is certain'):
        Panel.from_long(table().assign(year=lambda d: d["year"].map(named)), **ROLES, period="rank")
    # Two labels that are the same number.
    named = {2000: "2010.10", 2001: "2010.1"} | {year: f"{year + 10}.25" for year in range(2002, 2006)}
    with pytest.raises(DataError, match=r'"2010\.10" on row 1; it must be a label whose place is certain'):
        Panel.from_long(table().assign(year=lambda d: d["year"].map(named)), **ROLES, period="rank")
    quarters = {2000 + k: 2010 + k / 4 for k in range(6)}
    data = table().assign(year=lambda d: d["year"].map(quarters), entry="2011.50")
    with pytest.raises(DataError, match=r'entry holds "2011\.50"'):
        Panel.from_long(data, **ROLES, period="rank")
    data["entry"] = "2011.0"
    assert set(Panel.from_long(data, **ROLES, period="rank").first_treated["entry"]) == {5}


@pytest.mark.parametrize("form", ["FY{:02}", "{:02}"])
def test_fiscal_years_of_two_digits_across_a_century_have_no_certain_order(form: str) -> None:
    named = {2000 + k: form.format((97 + k) % 100) for k in range(6)}
    data = table().assign(year=lambda d: d["year"].map(named), entry=lambda d: d["entry"].map(named))
    with pytest.raises(DataError, match=f'"{form.format(97)}" on row 1; it must be .* four digits of a year'):
        Panel.from_long(data, **ROLES, period="rank")


def test_an_ordered_category_has_its_own_order_and_other_texts_have_none() -> None:
    labels = ["before", "call", "award", "delivery", "use", "after"]
    named = {2000 + k: label for k, label in enumerate(labels)}
    data = table().assign(year=lambda d: d["year"].map(named), entry=lambda d: d["entry"].map(named))
    with pytest.raises(DataError, match="it must be a label whose place is certain"):
        Panel.from_long(data, **ROLES, period="rank")
    data["year"] = pd.Categorical(data["year"], labels, ordered=True)
    panel = Panel.from_long(data, **ROLES, period="rank")
    assert panel.period_names == tuple(labels)
    assert sorted(set(panel.first_treated["entry"][:2])) == [4, 6]


def test_days_before_years_have_no_certain_order() -> None:
    named = {2000 + k: f"{1 + k % 3}/{2010 + k // 3}" for k in range(6)}
    data = table().assign(year=lambda d: d["year"].map(named), entry=np.nan)
    with pytest.raises(DataError, match="it must be a label whose place is certain"):
        Panel.from_long(data, **ROLES, period="rank")


# ---- never ----

NEVER: dict[str, tuple[Any, Any]] = {
    "zero": (0, None),
    "infinity": (np.inf, None),
    "Inf of R": ("Inf", None),
    "a year": (9999, 9999),
    "a year, as the command line gives it": (9999, "9999"),
    "minus one": (-1, -1),
    "a word": ("Never", "never"),
}


@pytest.mark.parametrize("case", NEVER)
def test_never_is_written_in_many_ways(case: str, tmp_path: Path) -> None:
    written, stated = NEVER[case]
    data = table().astype({"entry": object})
    data.loc[data["entry"].isna(), "entry"] = written
    data.to_csv(tmp_path / "own.csv", index=False)
    same = Panel.from_long(table(), **ROLES).checksum
    for source in (data, tmp_path / "own.csv"):
        assert Panel.from_long(source, **ROLES, never=stated).checksum == same
    monthly = dated(str).astype({"entry": object})
    without = Panel.from_long(monthly, **ROLES, period="month").checksum
    monthly.loc[monthly["entry"].isna(), "entry"] = written
    assert Panel.from_long(monthly, **ROLES, period="month", never=stated).checksum == without


@pytest.mark.parametrize(
    ("written", "said"), [(9999, "(or say never=9999)"), ("never", 'name it: never="never"')]
)
def test_a_value_that_may_mean_never_is_refused_with_how_to_say_so(written: Any, said: str) -> None:
    data = table().astype({"entry": object})
    data.loc[data["entry"].isna(), "entry"] = written
    with pytest.raises(DataError) as error:
        Panel.from_long(data, **ROLES)
    assert said in str(error.value)


def test_dates_of_events_in_a_panel_of_years_are_refused_with_how_to_read_them() -> None:
    data = table().assign(entry=lambda d: d["entry"].map("{:.0f}-07-01".format, na_action="ignore"))
    with pytest.raises(
        DataError, match=r'or empty for never\. Dates are read with period="year", or quarter or month'
    ):
        Panel.from_long(data, **ROLES)
    assert (
        Panel.from_long(data, **ROLES, period="year").checksum == Panel.from_long(table(), **ROLES).checksum
    )


# ---- profile ----


def test_a_profile_says_what_a_panel_holds() -> None:
    data = table()
    data["on"] = data["on"].astype(object)
    data.loc[[2, 3], "on"] = None
    data["visits"] = [1, 0, 1, 1, 1, 0] + [0] * 66
    roles = ROLES | {"first_treated": (), "treatment": ["on", "visits"]}
    profile = Panel.from_long(data, **roles).profile()
    cohorts = profile.cohorts[profile.cohorts["event"] == "on"]
    assert cohorts[["first_treated", "units"]].to_numpy().tolist() == [
        ["2003", 3],
        ["2004", 1],
        ["2005", 4],
        ["", 4],
    ]
    assert profile.gaps.to_numpy().tolist() == [["papers", 1, 1, 0]]
    assert profile.switch_offs.to_numpy().tolist() == [
        ["visits", "Lab 0", "2001"],
        ["visits", "Lab 0", "2005"],
    ]
    assert profile.ambiguous.to_numpy().tolist() == [["on", "Lab 0", "between 2002 and 2004"]]
    shares = profile.treated.set_index(["event", "period"])["share"]
    assert shares["on", "2004"] == pytest.approx(4 / 12)
    assert shares["on", "2003"] == pytest.approx(3 / 11)
    text = str(profile)
    for part in ("papers: 1 cell of 1 unit not observed", "2003 3, 2004 1, 2005 4, never 4"):
        assert part in text
    assert "Treatment goes back to 0: Lab 0 (2001), Lab 0 (2005)." in text
    assert "Treatment has no certain adoption date: Lab 0 (between 2002 and 2004)." in text


def test_times_of_a_zone_in_a_parquet_file_do_not_depend_on_that_of_the_machine(tmp_path: Path) -> None:
    path = tmp_path / "own.parquet"
    pd.DataFrame({"year": pd.to_datetime(["2001-01-01"]).tz_localize("UTC")}).to_parquet(path)
    read = (
        "import sys; from study.panel.tables import *; print(read_table(Path(sys.argv[1]))[0].year[0].year)"
    )
    for zone in ("America/New_York", "Asia/Tokyo"):
        command, there = [sys.executable, "-c", read, path], os.environ | {"TZ": zone}
        assert subprocess.run(command, env=there, capture_output=True, check=True).stdout == b"2001\n"


@pytest.mark.parametrize("unit", ["us", "ns"])
def test_a_time_whose_zone_a_parquet_file_has_not_kept_is_no_certain_day(tmp_path: Path, unit: str) -> None:
    roles, own = ROLES | {"first_treated": (), "treatment": "on"}, tmp_path / "own.parquet"
    data = table().assign(on=lambda d: (d["year"] >= d["entry"]).astype(int))
    data["year"] = pd.to_datetime(data["year"].astype(str) + "-01-01").dt.tz_localize("UTC").dt.as_unit(unit)
    data.to_parquet(own)
    assert Panel.from_long(own, **roles, period="year").periods[0] == 2000
    data.assign(year=data["year"].dt.tz_localize(None).dt.tz_localize("Asia/Tokyo")).to_parquet(own)
    with pytest.raises(DataError, match=r"1999-12-31 15:00:00.* must be a date in a certain year"):
        Panel.from_long(own, **roles, period="year")


LOST: dict[str, tuple[str, Callable[[pd.Series], Any]]] = {
    "period[Y-DEC]": ("year", lambda years: pd.PeriodIndex(years.astype(str), freq="Y")),
    "timedelta64[ns]": ("papers", lambda papers: pd.to_timedelta(papers, unit="D").astype("timedelta64[ns]")),
}


@pytest.mark.parametrize("kind", LOST)
def test_a_type_of_pandas_that_parquet_does_not_keep_is_no_number(kind: str, tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    column, write = LOST[kind]
    data = table()
    data.assign(**{column: write(data[column])}).to_parquet(tmp_path / "own.parquet")
    said = re.escape(f"column {column} was written as {kind}, which Parquet does not keep")
    with pytest.raises(DataError, match=said):
        Panel.from_long(tmp_path / "own.parquet", **ROLES)
    pytest.importorskip("ibis")
    with pytest.raises(DataError, match=said):
        LargePanel.from_parquet(tmp_path / "own.parquet", **ROLES)


def test_spans_of_time_that_another_library_wrote_are_no_numbers(tmp_path: Path) -> None:
    polars = pytest.importorskip("polars")
    data = table().assign(papers=pd.to_timedelta(table()["papers"], unit="D"))
    polars.from_pandas(data).write_parquet(tmp_path / "own.parquet")
    with pytest.raises(
        DataError, match=r"column papers was written as duration\[\ws\], which Parquet does not"
    ):
        Panel.from_long(tmp_path / "own.parquet", **ROLES)
    roles = ROLES | {"outcomes": "staff", "covariates": ()}
    assert Panel.from_long(tmp_path / "own.parquet", **roles).n_units == 12


def test_categories_whose_order_a_parquet_file_has_lost_are_not_ranked_by_their_numbers(
    tmp_path: Path,
) -> None:
    pytest.importorskip("pyarrow")
    labels = ["wave 10", "wave 2", "wave 3", "wave 4", "wave 5", "wave 6"]
    named = {2000 + k: label for k, label in enumerate(labels)}
    data = table().assign(year=lambda d: d["year"].map(named), entry=lambda d: d["entry"].map(named))
    data["country"] = data["country"].astype(pd.CategoricalDtype(ordered=True))  # of no period
    data["year"] = pd.Categorical(data["year"], labels, ordered=True)
    data.to_parquet(tmp_path / "own.parquet")
    with pytest.raises(DataError, match="column year was written as ordered category"):
        Panel.from_long(tmp_path / "own.parquet", **ROLES, period="rank")
    data.astype({"year": str}).to_parquet(tmp_path / "own.parquet")
    assert Panel.from_long(tmp_path / "own.parquet", **ROLES, period="rank").n_units == 12


def test_columns_of_a_parquet_file_that_differ_in_case_only_are_named(tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    table().assign(Papers=1.0).to_parquet(tmp_path / "own.parquet")
    assert checked(Panel.from_long(tmp_path / "own.parquet", **ROLES)) == checked(
        Panel.from_long(table(), **ROLES)
    )
    with pytest.raises(DataError, match="columns called Papers in letters of another case too"):
        Panel.from_long(tmp_path / "own.parquet", **ROLES | {"outcomes": "Papers"})
    table().assign(wages_1=1.0).to_parquet(tmp_path / "own.parquet")
    with pytest.raises(DataError) as error:
        Panel.from_long(tmp_path / "own.parquet", **ROLES | {"outcomes": "wages"})
    assert "another case" not in str(error.value)


@pytest.mark.parametrize("read", [Panel.from_long, LargePanel.from_parquet])
def test_two_columns_of_a_parquet_file_with_one_name_are_refused(
    read: Callable[..., Any], tmp_path: Path
) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    own = pytest.importorskip("pyarrow").Table.from_pandas(table())
    parquet.write_table(own.append_column("papers", own["staff"]), tmp_path / "own.parquet")
    with pytest.raises(DataError, match='a file has two columns called "papers"'):
        read(tmp_path / "own.parquet", **ROLES)


def test_a_profile_says_which_designs_can_answer_and_why_others_cannot() -> None:
    data = table().assign(visits=lambda d: (d["year"] + d.index // 18) % 2)
    panel = Panel.from_long(data, **(ROLES | {"first_treated": "entry", "treatment": "visits"}))
    designs = panel.profile().designs.set_index(["event", "design"])
    assert designs.loc[("entry", "callaway_santanna"), "answers"]
    assert designs.loc[("entry", "synthetic_did"), "answers"]  # from the units without gaps
    assert "an event that is not absorbing" in designs.loc[("visits", "callaway_santanna"), "why"]
    for event, name in (("entry", "callaway_santanna"), ("visits", "twfe")):
        assert designs.loc[(event, name), "answers"]
        estimate(panel, Question("papers", event), name)
