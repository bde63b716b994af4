from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from originals import RAW

from study.core.errors import DataError
from study.data.assemble.models import FIELDS, compute_growth, models_by_university, organisations, panel
from study.data.institutions import Entity, Matcher, load, read_overrides
from study.data.sources import epoch, universities
from study.panel import shipped

needs_originals = pytest.mark.skipif(
    not ((RAW / "epoch").is_dir() and (RAW / "universities").is_dir()),
    reason="the originals of Epoch and of the universities are not on this machine",
)


@pytest.fixture(scope="module")
def matcher() -> Matcher:
    names = ("Stanford University", "Princeton University")
    world = pd.DataFrame([(name, "United States", "US", ()) for name in names])
    world.columns = ["name", "country", "iso2", "domains"]
    return Matcher(load(shipped("data", "institutions.csv"), shipped("data", "organisations.csv"), world))


def model(**fields: Any) -> dict[str, Any]:
    """Return a notable model of Stanford of June 2020."""
    return {
        "organisations": ("Stanford University",),
        "kinds": ("academia",),
        "categories": ("academia",),
        "domains": ("language",),
        "year": 2020,
        "date": "2020-06-15",
        "training_compute": np.nan,
        "notable": True,
        "vintage": "2025-11-24",
        **fields,
    }


def table(*models: dict[str, Any]) -> pd.DataFrame:
    return pd.DataFrame(models).astype({"year": "Int64"})


JOINT = {
    "organisations": ("Stanford University", "Google", "Princeton University"),
    "kinds": ("academia", "industry", "academia"),
    "categories": ("academia", "industry"),
}


def of_universities(rows: pd.DataFrame, matcher: Matcher) -> pd.DataFrame:
    return models_by_university(rows, organisations(rows, matcher, {}))


def test_a_model_counts_fully_for_each_of_its_universities_and_for_no_company(matcher: Matcher) -> None:
    found = of_universities(table(model(**JOINT)), matcher)
    assert found[
        ["university", "models", "models_with_industry", "models_academic_only"]
    ].values.tolist() == [
        ["Princeton University", 1, 1, 0],
        ["Stanford University", 1, 1, 0],
    ]


def test_two_laboratories_of_a_university_are_one(matcher: Matcher) -> None:
    rows = table(model(organisations=("Stanford University", "Stanford"), kinds=("", "")))
    assert of_universities(rows, matcher)["models"].tolist() == [1]


def test_models_of_a_year_add_up_and_the_largest_compute_is_kept(matcher: Matcher) -> None:
    rows = table(
        model(training_compute=1e20),
        model(training_compute=1e22),
        model(),
        model(year=2021, date="2021-01-01"),
        model(notable=False),
        model(year=pd.NA, date=""),
    )
    found = of_universities(rows, matcher)
    assert found[["year", "models", "models_academic_only", "models_with_known_compute"]].values.tolist() == [
        [2020, 3, 3, 2],
        [2021, 1, 1, 0],
    ]
    assert found["log10_largest_compute"][0] == pytest.approx(22.0)
    assert np.isnan(found["log10_largest_compute"][1])


def test_a_team_with_a_government_is_neither_academic_alone_nor_with_industry(matcher: Matcher) -> None:
    found = of_universities(table(model(categories=("academia", "government"))), matcher)
    assert found[["models_academic_only", "models_with_industry"]].values.tolist() == [[0, 0]]


def test_a_decision_about_an_organisation_outranks_the_rule(matcher: Matcher) -> None:
    rows = table(model(organisations=("Some Laboratory", "Stanford University"), kinds=("academia", "")))
    known = {
        "Some Laboratory": Entity("Princeton University", "university", "US"),
        "Stanford University": None,
    }
    found = organisations(rows, matcher, known)
    assert found[["organisation", "institution", "method", "academic_models"]].values.tolist() == [
        ["Some Laboratory", "Princeton University", "decision", 1],
        ["Stanford University", "", "decision", 0],
    ]


def test_an_unknown_organisation_stays_in_the_crosswalk(matcher: Matcher) -> None:
    found = organisations(table(model(organisations=("Xyzzy Collective",), kinds=("",))), matcher, {})
    assert found[["institution", "method"]].values.tolist() == [["", "unmatched"]]


def growing(slope: float, years: range, domain: str = "vision") -> list[dict[str, Any]]:
    """Return two models a year whose compute grows by so many orders of magnitude a year."""
    dates = [(year, month) for year in years for month in (1, 7)]
    return [
        model(
            domains=(domain,),
            year=year,
            date=f"{year}-{month:02d}-01",
            training_compute=10 ** (15 + slope * (year - 2010 + (month - 1) / 12)),
        )
        for year, month in dates
    ]


def growth_of(rows: pd.DataFrame, field: str, year: int) -> pd.Series:
    found = compute_growth(rows).set_index(["field", "year"])
    return found.loc[(field, year)]


@pytest.mark.parametrize("slope", [0.0, 0.5, 1.2])
def test_growth_is_the_slope_of_the_logarithm_in_orders_of_magnitude_a_year(slope: float) -> None:
    found = growth_of(table(*growing(slope, range(2010, 2021))), "vision", 2018)
    assert found["growth"] == pytest.approx(slope)
    assert (found["models"], found["window_models"]) == (2, 10)


def test_growth_knows_nothing_of_later_years() -> None:
    rows = growing(0.5, range(2010, 2016))
    later = growing(3.0, range(2016, 2021))
    alone, all_years = (growth_of(table(*models), "vision", 2015) for models in (rows, rows + later))
    pd.testing.assert_series_equal(alone, all_years)


def test_growth_forgets_what_is_older_than_the_window() -> None:
    rows = [*growing(0.0, range(2000, 2011)), *growing(1.0, range(2011, 2021))]
    assert growth_of(table(*rows), "vision", 2015)["growth"] == pytest.approx(1.0)


def test_growth_is_not_known_from_four_models_or_two_years() -> None:
    four = growing(1.0, range(2014, 2018))[::2]
    two_years = growing(1.0, range(2016, 2018)) * 3
    assert np.isnan(growth_of(table(*four), "vision", 2017)["growth"])
    assert np.isnan(growth_of(table(*two_years), "vision", 2017)["growth"])


def test_the_largest_compute_is_of_all_years_and_the_upper_of_the_window() -> None:
    rows = [model(domains=("vision",), year=2010, date="2010", training_compute=1e25)]
    rows += [
        model(domains=("vision",), year=2019, date="2019-05", training_compute=10.0**k) for k in range(15, 21)
    ]
    found = growth_of(table(*rows), "vision", 2020)
    assert found["log10_largest_compute"] == pytest.approx(25)
    assert found["log10_upper_compute"] == pytest.approx(19)


def test_a_model_of_several_domains_counts_in_each_of_its_fields_and_one_of_none_elsewhere() -> None:
    rows = table(
        model(domains=("language", "vision", "video"), training_compute=1e20),
        model(domains=("mathematics",), training_compute=1e20),
        model(domains=(), training_compute=1e20),
    )
    found = compute_growth(rows).query("year == 2020").set_index("field")["models"]
    assert found[["language", "vision", "other", "speech", "all"]].tolist() == [1, 1, 2, 0, 3]
    assert list(found.index) == [*FIELDS, "other", "all"]


def test_the_panel_has_zeros_for_years_without_a_model_and_only_its_own_units() -> None:
    found = pd.DataFrame(
        [{"university": name, "country": "US", "year": 2020, "models": 2, "models_academic_only": 1,
          "models_with_industry": 1, "models_with_known_compute": 1, "log10_largest_compute": 20.0}
         for name in ("A University", "Elsewhere")]
    )  # fmt: skip
    outcomes = panel(found, pd.DataFrame({"university": ["A University"], "country": ["US"]}), [2019, 2020])
    assert outcomes["models"].tolist() == [0, 2]
    assert outcomes["log10_largest_compute"].isna().tolist() == [True, False]


def test_the_table_ends_with_the_last_full_year() -> None:
    assert compute_growth(table(model(training_compute=1e20)))["year"].max() == 2024


def test_a_table_of_decisions_is_read_and_a_damaged_one_refused(tmp_path: Path, matcher: Matcher) -> None:
    path = tmp_path / "x.csv"
    path.write_text("organisation,university,country,note\nA,B University,US,\nC,,,none\n", encoding="utf-8")
    assert read_overrides(path, matcher, "organisation") == {
        "A": Entity("B University", "university", "US"),
        "C": None,
    }
    empty = tmp_path / "empty.csv"
    empty.write_text("organisation,university,country,note\n", encoding="utf-8")
    assert read_overrides(empty, matcher, "organisation") == {}
    with pytest.raises(DataError, match="line 1: no column inst_id"):
        read_overrides(path, matcher, "inst_id")
    with path.open("a", encoding="utf-8") as stream:
        stream.write("A,D University,US,\n")
    with pytest.raises(DataError, match="line 4: A is also on line"):
        read_overrides(path, matcher, "organisation")
    with pytest.raises(DataError, match=r"y.csv is missing"):
        read_overrides(tmp_path / "y.csv", matcher, "organisation")


# What Epoch calls academia and is no university, told by eye.
NO_UNIVERSITIES = {
    "Beijing Academy of Artificial Intelligence / BAAI",
    "CZ Biohub Network",
    "Centre de Recherche en Automatique de Nancy (CRAN)",
    "Chinese Academy of Sciences",
    "IDIAP",
    "IDSIA",
    "INRIA",
    "Institute for Advanced Study",
    "Institute of Advanced Research in Artificial Intelligence",
    "Max Planck Institute for Informatics",
    "Max Planck Institute for Intelligent Systems",
    "Mila - Quebec AI (originally Montreal Institute for Learning Algorithms)",
    "Peng Cheng Laboratory",
    "Shanghai AI Lab",
    "Vector Institute",
}


@needs_originals
def test_nearly_all_universities_of_the_notable_models_are_known_and_no_institute_is_taken_for_one() -> None:
    world = universities.read(RAW / "universities")
    known = Matcher(load(shipped("data", "institutions.csv"), shipped("data", "organisations.csv"), world))
    exceptions = read_overrides(shipped("data", "epoch_organisations.csv"), known, "organisation")
    crosswalk = organisations(epoch.read(RAW / "epoch"), known, exceptions)
    academic = crosswalk[crosswalk["academic_models"] > 0].drop_duplicates("organisation")
    matched = set(crosswalk.loc[crosswalk["kind"] == "university", "organisation"])
    at_universities = academic[~academic["organisation"].isin(NO_UNIVERSITIES)]
    found = at_universities[at_universities["organisation"].isin(matched)]
    assert found["academic_models"].sum() / at_universities["academic_models"].sum() >= 0.97
    assert not matched & NO_UNIVERSITIES
