"""Panels in an engine: the same answers as in memory, the same errors, and nothing left behind."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import drawn_panels
import numpy as np
import pandas as pd
import pytest
import searching
from added_up import DESIGNS
from hypothesis import given

import study
from study import DataError, LargePanel, OutputError, Panel, Question, QuestionError, WorkerError
from study.designs import all_designs
from study.panel import engines, strata, unit_table
from study.panel.engines import Engine
from study.panel.strata import Stratified

ibis = pytest.importorskip("ibis")

ROLES: dict[str, Any] = {
    "unit": "lab",
    "time": "year",
    "first_treated": "entry",
    "treatment": "on",
    "outcomes": ["papers", "talks"],
    "covariates": ["size", "age", "drift"],
    "attributes": ["state", "tier"],
    "populations": {"old": "age>=1"},
}


ENTRIES = (np.nan, np.nan, 2000.0, 2002.0, 2003.0, 2009.0, 1990.0)


def table(
    n: int = 150, periods: int = 6, seed: int = 0, gaps: float = 0.1, entries: Sequence[float] = ENTRIES
) -> pd.DataFrame:
    """Return labs with gaps of cells and rows in no order, dates and paths of events, and odd labels."""
    rng = np.random.default_rng(seed)
    entry = rng.choice(entries, size=n)
    year = np.tile(np.arange(2000, 2000 + periods), n)
    each = {
        "lab": [f"Lab {i}" for i in range(n)],
        "entry": entry,
        "size": rng.choice([0.5, 1.0, 3.0, np.nan, 0.0], size=n, p=[0.3, 0.3, 0.3, 0.05, 0.05]),
        "age": rng.integers(0, 3, size=n).astype(float),
        "state": rng.choice(["CH", "US ", "Côte d'Ivoire", None], size=n),
        "tier": rng.integers(1, 4, size=n),
    }
    data = pd.DataFrame({name: np.repeat(np.asarray(values), periods) for name, values in each.items()})
    data["year"] = year
    level = np.repeat(rng.lognormal(1, 1, size=n), periods)
    data["papers"] = np.round(level + rng.normal(size=len(data)) + (year >= data["entry"]) * 2, 3).clip(
        lower=0
    )
    data["talks"] = rng.poisson(level).astype(float)
    data["drift"] = np.where(
        rng.random(len(data)) < 0.2, np.nan, data["age"] + (data["lab"] == "Lab 3") * year
    )
    data["on"] = (data["year"] >= data["entry"]).astype(float)
    patterns = rng.random((4, periods)) > gaps * 3
    seen = patterns[rng.integers(0, 4, size=n)].ravel() | (rng.random(len(data)) > gaps)
    data.loc[~seen, "papers"] = np.nan
    data.loc[rng.random(len(data)) < gaps / 2, "on"] = np.nan
    kept = data[rng.random(len(data)) > gaps / 4]
    return kept.sample(frac=1, random_state=seed).reset_index(drop=True)


def written(data: pd.DataFrame, folder: Path) -> Path:
    """Write a table as two files and return their folder."""
    folder.mkdir(exist_ok=True)
    half = len(data) // 2
    data[:half].to_parquet(folder / "a.parquet")
    data[half:].to_parquet(folder / "b.parquet")
    return folder


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder = tmp_path_factory.mktemp("labs")
    data = table()
    with LargePanel.from_parquet(written(data, folder), name="labs", **ROLES) as large:
        yield Panel.from_long(data, name="labs", **ROLES), large


def by_stratum(sample: study.Sample) -> dict[Any, list[np.ndarray]]:
    """Return numbers of units, means and products of outcomes of a sample by stratum."""
    frequency = np.ones(sample.n_rows) if sample.summed is None else sample.summed.frequency
    weights = sample.weights / frequency
    weights = np.round(weights / weights.max(), 9)
    dates = np.nan_to_num(sample.first_treated, nan=9e9)
    x = np.nan_to_num(sample.x_baseline)
    clusters = sample.cluster_labels if sample.question.cluster else np.zeros(sample.n_rows)
    keys = zip(dates, map(tuple, sample.observed), weights, map(tuple, x), clusters, strict=True)
    rows: dict[Any, list[int]] = {}
    for row, key in enumerate(keys):
        rows.setdefault(key, []).append(row)
    found = {}
    for key, own in rows.items():
        y, f = np.nan_to_num(sample.y[own]), frequency[own]
        found[key] = [f.sum(), f @ y / f.sum(), (y * f[:, None]).T @ y / f.sum()]
    return found


QUESTIONS: dict[str, dict[str, Any]] = {
    "plain": {},
    "log1p": {"scale": "log1p"},
    "weights": {"weights": "size"},
    "weights that change": {"weights": "drift"},
    "clusters": {"cluster": "state"},
    "covariates": {"covariates": ("age", "tier=2")},
    "labels": {"covariates": ("state",), "lag": 1},
    "population": {"population": "age>=1 and state=US|CH"},
    "named population": {"population": "old and state!=CH", "weights": "size"},
    "balanced": {"missing": "balanced", "anticipation": 1},
    "never": {"comparison": "never_treated", "lag": 1, "min_cohort_size": 3},
    "path": {"event": "on"},
    "path with lag": {"event": "on", "lag": 1, "population": "age>0"},
    "group": {"group": "age>=1"},
    "counts": {"outcome": "talks", "scale": "proportional"},
}


@pytest.mark.parametrize("asked", QUESTIONS)
def test_samples_have_the_same_units_means_and_products(both: Any, asked: str) -> None:
    question = Question(**{"outcome": "papers", "event": "entry"} | QUESTIONS[asked])
    theirs, ours = (question.sample(panel) for panel in both)
    assert ours.flow == theirs.flow
    assert (ours.n_units, ours.n_treated, ours.covariates) == (
        theirs.n_units,
        theirs.n_treated,
        theirs.covariates,
    )
    a, b = by_stratum(ours), by_stratum(theirs)
    assert a.keys() == b.keys()
    for key, moments in b.items():
        moments = moments[:2] if question.cluster else moments
        for mine, expected in zip(a[key], moments, strict=False):
            np.testing.assert_allclose(mine, expected, rtol=1e-10, atol=1e-10)


@pytest.fixture(scope="module")
def able(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Return a panel in memory and in the engine about which every design can say something."""
    data = table(seed=4, gaps=0.05, entries=(np.nan, np.nan, 2002.0, 2003.0))
    with LargePanel.from_parquet(
        written(data, tmp_path_factory.mktemp("labs")), name="labs", **ROLES
    ) as large:
        yield Panel.from_long(data, name="labs", **ROLES), large


@pytest.mark.parametrize("asked", ["plain", "log1p", "weights", "clusters", "population", "path"])
@pytest.mark.parametrize("design", DESIGNS)
def test_designs_answer_the_same(able: Any, design: str, asked: str) -> None:
    given = {"outcome": "papers", "event": "entry", "average": "event_average", "horizon": 1} | QUESTIONS[
        asked
    ]
    options = {"before": 2} if design == "stacked" else {}
    theirs, ours = (study.estimate(panel, Question(**given), design, **options) for panel in able)
    assert ours.terms == theirs.terms
    scale = np.nanmax(theirs.std_error)
    np.testing.assert_allclose(ours.effect, theirs.effect, rtol=1e-9, atol=1e-9 * scale)
    np.testing.assert_allclose(ours.std_error, theirs.std_error, rtol=1e-9, atol=1e-9 * scale)
    np.testing.assert_allclose(
        ours.headline.degrees_of_freedom, theirs.headline.degrees_of_freedom, rtol=1e-6
    )
    assert ours.n_obs == theirs.n_obs


@pytest.mark.parametrize("effects", ["cohort", "unit"])
def test_a_poisson_regression_needs_single_units_whose_outcomes_are_0_or_more(
    able: Any, effects: str
) -> None:
    question = Question("talks", "entry", scale="proportional")
    with pytest.raises(
        QuestionError, match=r'^etwfe with family="poisson": it needs the rows of single units'
    ):
        study.estimate(able[1], question, "etwfe", family="poisson", effects=effects)


@pytest.mark.parametrize("asked", [{}, {"cluster": "state"}, {"weights": "size"}])
def test_covariates_of_many_values_are_adjusted_for_by_their_products(
    tmp_path: Path, asked: dict[str, Any]
) -> None:
    data = table(seed=5, gaps=0.02, entries=(np.nan, np.nan, 2002.0, 2003.0))
    rng = np.random.default_rng(0)
    for name in ("score", "rank"):
        data[name] = data["lab"].map(
            dict(zip(data["lab"].unique(), rng.normal(5, 3, data["lab"].nunique()), strict=True))
        )
    data.loc[data["lab"].isin(["Lab 5", "Lab 8"]), "score"] = np.nan
    roles = ROLES | {"covariates": ["score", "rank", "size"], "name": "labs", "populations": None}
    question = Question("papers", "entry", covariates=("score", "rank"), missing="balanced", **asked)
    panel = Panel.from_long(data, **roles)
    with LargePanel.from_parquet(written(data, tmp_path), limit=70, **roles) as large:
        theirs, ours = (study.estimate(each, question, method="reg") for each in (panel, large))
        assert ours.sample.summed.products is not None
        assert ours.sample.flow == theirs.sample.flow
        near = {"rtol": 1e-9, "atol": 1e-9 * np.nanmax(theirs.std_error)}
        np.testing.assert_allclose(ours.effect, theirs.effect, **near)
        np.testing.assert_allclose(ours.std_error, theirs.std_error, **near)
        np.testing.assert_allclose(
            ours.headline.degrees_of_freedom, theirs.headline.degrees_of_freedom, rtol=1e-6
        )
        for design, options in (("callaway_santanna", {}), ("etwfe", {})):
            with pytest.raises(QuestionError, match=f"{design}: score, rank take too many values"):
                study.estimate(large, question, design, **options)
        with pytest.raises(
            QuestionError, match=r"labs: the units are in \d+ strata, more than limit=70: .* values of score"
        ):
            large.rows(question.replace(covariates=("score", "tier=2")))


WITHOUT = {"COVARIATES", "SWITCHING", "LEVELS", "INSTRUMENT", "DOSE", "GROUP", "REPEATED_CELLS"}
SEARCHED = ("callaway_santanna", "imputation")


def equal_answers(
    design: str, question: Question, large: LargePanel, panel: Panel, least: float = 1.0
) -> None:
    """Find the same answer, or the same refusal, in both panels."""
    answers: list[Any] = []
    for each in (large, panel):
        try:
            answers.append(study.estimate(each, question, design))
        except QuestionError as refusal:
            answers.append(str(refusal))
    if isinstance(answers[1], str):
        assert answers[0] == answers[1]
        return
    ours, theirs = answers
    assert ours.terms == theirs.terms
    assert ours.sample.flow == theirs.sample.flow
    near = {"rtol": 1e-9, "atol": 1e-9 * np.nanmax(theirs.std_error, initial=least)}
    np.testing.assert_allclose(ours.effect, theirs.effect, **near)
    np.testing.assert_allclose(ours.std_error, theirs.std_error, **near)
    assert ours.notes == theirs.notes


@pytest.mark.search
def test_random_panels(tmp_path: Path) -> None:
    """Every pattern of gaps, small cohorts, weights and clusters; without ties."""
    supports = {trait.name for design in SEARCHED for trait in all_designs()[design].supports}

    @searching.examples(12, 60)
    @given(drawn_panels.asked(frozenset(supports - WITHOUT)))
    def equal(drawn: Any) -> None:
        panel = drawn.panel
        y = panel.outcomes["y"] + np.random.default_rng(0).uniform(0, 0.1, panel.outcomes["y"].shape)
        n, periods = y.shape
        columns = {
            "y": y,
            **panel.covariates,
            "event": np.outer(panel.first_treated["event"], np.ones(periods)),
        }
        data = pd.DataFrame({name: block.ravel() for name, block in columns.items()})
        data = data.assign(unit=np.repeat(panel.units, periods), time=np.tile(panel.periods, n) + 100)
        data = data.assign(state=np.repeat(panel.attributes["state"], periods), event=data["event"] + 100)
        roles = {"unit": "unit", "time": "time", "first_treated": "event", "outcomes": "y"}
        roles |= {"covariates": list(panel.covariates), "attributes": "state", "name": "drawn"}
        with LargePanel.from_parquet(
            written(data.sample(frac=1, random_state=0), tmp_path), **roles
        ) as large:
            for design in SEARCHED:
                equal_answers(design, drawn.question, large, Panel.from_long(data, **roles))

    equal()


def test_folders_whose_names_say_the_period(tmp_path: Path, both: Any) -> None:
    table().to_parquet(tmp_path / "labs", partition_cols=["year"])
    question = Question("papers", "entry")
    with LargePanel.from_parquet(tmp_path / "labs", **ROLES) as large:
        assert large.name == "labs"
        assert question.sample(large).flow == question.sample(both[0]).flow


@pytest.mark.parametrize("named", ["papers=7", "state=US", "year=1999"])
def test_a_folder_s_name_says_nothing_of_a_column_that_files_have(
    tmp_path: Path, both: Any, named: str
) -> None:
    question, column = Question("papers", "entry", cluster="state"), named.split("=")[0]
    (tmp_path / named).mkdir()
    with LargePanel.from_parquet(written(table(), tmp_path / named), **ROLES) as large:
        assert large.rows(question).checksum == both[1].rows(question).checksum
    table().to_parquet(tmp_path / "both" / named, partition_cols=["lab"])
    with pytest.raises(DataError, match=f"labs: column {column} is in the files and in the name of a folder"):
        LargePanel.from_parquet(tmp_path / "both", **ROLES | {"name": "labs"})


def test_the_checksum_is_of_the_data_and_not_of_their_order(tmp_path: Path, both: Any) -> None:
    question, data = Question("papers", "entry"), table()
    with LargePanel.from_parquet(written(data[::-1], tmp_path), **ROLES) as large:
        assert large.rows(question).checksum == both[1].rows(question).checksum
    data.loc[7, "papers"] += 1
    with LargePanel.from_parquet(written(data, tmp_path), **ROLES) as large:
        assert large.rows(question).checksum != both[1].rows(question).checksum


@pytest.mark.parametrize("rule", ["earliest", "latest"])
def test_paths_are_dated_as_in_memory(tmp_path: Path, rule: Any) -> None:
    data, roles = table(180, 5, seed=1, gaps=0.3), ROLES | {"ambiguous": rule}
    panel = Panel.from_long(data, **roles)
    with LargePanel.from_parquet(written(data, tmp_path), **roles) as large:
        question = Question("talks", "on")
        theirs, ours = question.sample(panel), question.sample(large)
        assert ours.flow == theirs.flow
        assert by_stratum(ours).keys() == by_stratum(theirs).keys()


QUARTERS = {
    0: "2000Q1",
    1: "2000Q2",
    2: "2000Q3",
    3: "2000Q4",
    4: "2001Q1",
    5: "2001Q2",
    9: "2002Q2",
    -10: "1997Q3",
}


def dates(data: pd.DataFrame, how: str) -> tuple[pd.DataFrame, str | None]:
    """Return the table with its periods written otherwise, and what they are counted in."""
    since = {name: data[name] - 2000 for name in ("year", "entry")}
    if how in ("months", "days of months"):
        months = {
            name: pd.to_datetime("2000-01-15") + pd.to_timedelta(n * 30.4375, unit="D")
            for name, n in since.items()
        }
        days = {
            name: values.dt.date if how == "days of months" else values for name, values in months.items()
        }
        return data.assign(**days), "month"
    if how == "quarters":
        return data.assign(**{name: n.map(QUARTERS) for name, n in since.items()}), "quarter"
    if how == "years":
        texts = {name: data[name].astype("Int64").astype("string") + "-05-07" for name in since}
        return data.assign(**{name: pd.to_datetime(values) for name, values in texts.items()}), "year"
    if how == "texts":
        entry = data["entry"].fillna(0).astype(int).astype(str)
        return data.assign(year=data["year"].astype(str), entry=entry), None
    if how == "numbers of months":
        numbers = data.assign(**{name: 200001 + n for name, n in since.items()})
        return numbers.assign(entry=numbers["entry"].where(numbers["entry"] > 200000)), "month"
    return data.assign(year=data["year"].astype("int16"), entry=data["entry"].fillna(np.inf)), None


HOW = ("months", "days of months", "quarters", "years", "texts", "numbers of months", "infinite")


@pytest.mark.parametrize("how", HOW)
def test_periods_are_read_as_in_memory(tmp_path: Path, how: str) -> None:
    data, period = dates(table(60), how)
    data["lab"] = data["lab"].str.removeprefix("Lab ").astype(int)
    roles = ROLES | {"period": period, "treatment": (), "name": "labs"}
    panel = Panel.from_long(data, **roles)
    with LargePanel.from_parquet(written(data, tmp_path), **roles) as large:
        question = Question("papers", "entry")
        theirs, ours = question.sample(panel), question.sample(large)
        assert large.period_name(large.periods[0]) == panel.period_name(panel.periods[0])
        np.testing.assert_array_equal(large.periods, panel.periods)
        assert ours.flow == theirs.flow
        assert by_stratum(ours).keys() == by_stratum(theirs).keys()


def test_never_has_a_name(tmp_path: Path) -> None:
    data = table(60)
    data["entry"] = data["entry"].fillna(9999)
    roles = ROLES | {"never": 9999, "treatment": ()}
    with LargePanel.from_parquet(written(data, tmp_path), **roles) as large:
        assert (
            Question("papers", "entry").sample(large).flow
            == Question("papers", "entry").sample(Panel.from_long(data, **roles)).flow
        )


def test_more_periods_than_a_number_has_bits(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    data = pd.DataFrame({"lab": np.repeat(np.arange(40), 66), "year": np.tile(np.arange(1900, 1966), 40)})
    data["entry"] = np.repeat(rng.choice([np.nan, 1935.0, 1950.0], 40), 66)
    data["papers"] = rng.normal(size=len(data))
    data.loc[data["lab"].mod(3).eq(0) & data["year"].isin([1931, 1964]), "papers"] = np.nan
    data["state"] = data["lab"] % 20
    roles = {"unit": "lab", "time": "year", "first_treated": "entry", "outcomes": "papers", "name": "long"}
    roles["attributes"] = "state"
    # Clusters spare the thousands of products of the periods.
    question = Question("papers", "entry", cluster="state")
    with LargePanel.from_parquet(written(data, tmp_path), **roles) as large:
        fits = [study.estimate(panel, question) for panel in (large, Panel.from_long(data, **roles))]
    np.testing.assert_allclose(fits[0].effect, fits[1].effect, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(fits[0].std_error, fits[1].std_error, rtol=1e-9)
    twice = pd.concat([data, data[(data["lab"] == 3) & (data["year"] == 1960)]])
    with pytest.raises(DataError, match=r"1 unit-period appears twice, first \(3, 1960\); keep one row each"):
        LargePanel.from_parquet(written(twice, tmp_path), **roles)


def test_rows_are_split_by_unit_where_memory_is_scarce_and_many_sums_into_several_queries(
    both: Any, tmp_path: Path, monkeypatch: Any
) -> None:
    monkeypatch.setattr(unit_table, "OF_A_SUM", 1 << 19)
    monkeypatch.setattr(strata, "MOST_SUMS", 20)
    steps: list[str] = []
    with LargePanel.from_parquet(
        written(table(), tmp_path),
        name="labs",
        memory_limit="1GB",
        progress=steps.append,
        temp=tmp_path / "new",
        **ROLES,
    ) as large:
        assert any("part 2 of" in step for step in steps)
        question = Question("papers", "entry")
        fits = [study.estimate(panel, question) for panel in (large, both[0])]
        assert by_stratum(fits[0].sample).keys() == by_stratum(fits[1].sample).keys()
        errors, freedom = zip(*((fit.std_error, fit.degrees_of_freedom) for fit in fits), strict=True)
        np.testing.assert_allclose(*errors, rtol=1e-9)
        np.testing.assert_allclose(*freedom, rtol=1e-6)
        assert any("adding up products, part 2 of" in step for step in steps)
        assert large.scratch is not None
        assert large.scratch.parent == tmp_path / "new"
    assert not list((tmp_path / "new").iterdir())
    with pytest.raises(Exception, match="Connection already closed"):
        large._engine.connection.con.execute("SELECT 1")


def test_a_panel_shows_itself(both: Any) -> None:
    large = both[1]
    assert repr(large).startswith("LargePanel labs: 150 units, 6 periods from 2000 to 2005\n")
    assert f"engine: duckdb, scratch folder {large.scratch}" in " ".join(repr(large).split())
    assert (large.n_units, large.outcomes, large.events) == (150, ("papers", "talks"), ("entry", "on"))
    assert large.n_observations == len(table())


def test_a_table_of_ones_own_connection(both: Any) -> None:
    connection = ibis.duckdb.connect()
    connection.con.register("frame", table())
    connection.raw_sql("CREATE TABLE labs AS SELECT * FROM frame")
    question = Question("papers", "entry")
    with LargePanel.from_table(connection.table("labs"), name="labs", **ROLES) as large:
        assert large.scratch is None
        fits = [study.estimate(panel, question) for panel in (large, both[0])]
        np.testing.assert_allclose(fits[0].std_error, fits[1].std_error, rtol=1e-9)
    assert connection.raw_sql("SELECT count(*) FROM duckdb_tables()").fetchall() == [(1,)]


def changed(**cells: Any) -> Any:
    """Return what puts something else into the cells of Lab 4 in 2004."""

    def change(data: pd.DataFrame) -> pd.DataFrame:
        here = (data["lab"] == "Lab 4") & (data["year"] == 2004)
        assert here.sum() == 1
        columns = {
            name: data[name].astype(object) if isinstance(new, str) else data[name]
            for name, new in cells.items()
        }
        columns = {name: values.where(~here, cells[name]) for name, values in columns.items()}
        texts = [name for name, new in cells.items() if isinstance(new, str)]
        return data.assign(
            **columns
            | {name: columns[name].where(columns[name].isna(), columns[name].astype(str)) for name in texts}
        )

    return change


# What is done to the table, and the roles that differ; the error is the one of Panel.from_long.
BROKEN: dict[str, tuple[Any, dict[str, Any]]] = {
    "no such column": (lambda d: d, {"outcomes": "paper"}),
    "no outcome": (lambda d: d, {"outcomes": ()}),
    "no event": (lambda d: d, {"treatment": (), "first_treated": ()}),
    "no rows": (lambda d: d[:0], {}),
    "a gap in periods": (lambda d: d[d["year"] != 2002], {}),
    "a period that is not whole": (changed(year=2004.5), {}),
    "a period that is a date": (changed(year="2004-03-01"), {}),
    "a period that is a word": (changed(year="soon"), {"period": "year"}),
    "months for years": (changed(year=200401), {"period": "year"}),
    "a month for an event's year": (changed(entry=200401), {"period": "year"}),
    "a missing period": (changed(year=np.nan), {}),
    "an empty unit": (changed(lab=" "), {}),
    "text in an outcome": (changed(papers="many"), {}),
    "text in a covariate": (changed(age="old"), {}),
    "a covariate with decimal commas": (lambda d: d.assign(age="1,5"), {}),
    "a number with an underscore": (changed(papers="1_000"), {}),
    "an infinite outcome": (changed(papers=np.inf), {}),
    "an outcome that is a date": (lambda d: d.assign(papers=pd.Timestamp("2001-01-01")), {}),
    "an impossible event": (lambda d: d.assign(entry=d["entry"].replace(2003, 20030)), {}),
    "half an event": (lambda d: d.assign(entry=d["entry"].replace(2003, 2003.5)), {}),
    "an event in words": (changed(entry="later"), {}),
    "a path for a date": (lambda d: d.assign(entry=d["on"]), {}),
    "a date for a path": (lambda d: d.assign(on=d["entry"]), {}),
    "an event that changes": (changed(entry=2004), {}),
    "an event that ends": (lambda d: changed(entry=np.nan)(d.assign(entry=2003.0)), {}),
    "a label that changes": (changed(tier=9), {}),
    "a label that is missing at times": (lambda d: changed(state=None)(d.assign(state="DE")), {}),
    "a path of twos": (changed(on=2), {}),
}


def told(error: pytest.ExceptionInfo[BaseException]) -> str:
    """Return the text of an error without the place of the row, which files of an engine do not number."""
    places = r"row \d+|the row of \([^)]*\)|for \(?Lab \d+(, \d+\))?|is 20\d\d"
    return re.sub(places, "there", str(error.value))


@pytest.mark.parametrize("name", BROKEN)
def test_errors_are_those_of_a_panel_in_memory(tmp_path: Path, name: str) -> None:
    change, other = BROKEN[name]
    data = change(table(30, gaps=0.02))
    roles = ROLES | other | {"name": "labs"}
    with pytest.raises(DataError) as theirs:
        Panel.from_long(data, **roles)
    with pytest.raises(DataError) as ours:
        LargePanel.from_parquet(written(data, tmp_path / "labs"), temp=tmp_path / "temp", **roles)
    assert told(ours) == told(theirs)
    assert not list((tmp_path / "temp").iterdir())


# What is done to the table, and questions of it.
READ_ALIKE: dict[str, tuple[Any, list[dict[str, Any]]]] = {
    "spaces of other alphabets": (
        lambda d: d.assign(
            lab=d["lab"].where(d["year"] != 2001, "\u00a0" + d["lab"] + "\u2003"),
            state=d["state"] + "\u3000",
        ),
        [{"population": "state=US|CH"}, {"cluster": "state"}],
    ),
    "labels that are not all whole": (
        lambda d: d.assign(tier=d["tier"].replace(2, 2.5)),
        [{"population": "tier!=1"}, {"population": "tier=1.0"}],
    ),
    "whole labels as texts": (
        lambda d: d.assign(tier=d["tier"].astype(float).astype(str)),
        [{"population": "tier=1"}, {"population": "tier!=1.0"}],
    ),
    "labels of a unit's own": (
        lambda d: d.assign(state=d["state"].replace("CH", "(others)")),
        [{"covariates": ("state=(others)",)}],
    ),
    "a covariate that is a day": (
        lambda d: d.assign(age=pd.to_datetime("2001-01-01") + pd.to_timedelta(d["age"], unit="D")),
        [{"covariates": ("age",)}, {"population": "age=2001-01-02"}],
    ),
    "a covariate without a value": (
        lambda d: d.assign(age=pd.Series([None] * len(d), dtype="string")),
        [{"population": "age>=1"}, {"covariates": ("age",)}],
    ),
    "a population of nobody": (lambda d: d, [{"population": "age>7"}]),
    "rules of large numbers": (
        lambda d: d.assign(age=d["age"] * 1e17),
        [{"covariates": ("age<1e17",)}, {"covariates": ("age<1e17", "age<=1e17")}],
    ),
    "no logarithm of units already treated": (
        lambda d: d.assign(
            entry=d["entry"].where(d["lab"] > "Lab 2", 1999.0),
            papers=d["papers"].where(d["lab"] > "Lab 2", -3.0),
        ),
        [{"scale": "log1p"}],
    ),
    "no logarithm of units without a label": (
        lambda d: d.assign(papers=d["papers"].where(d["state"].notna(), -3.0)),
        [{"scale": "log1p", "cluster": "state"}, {"scale": "log1p", "covariates": ("state",)}],
    ),
    "no logarithm of units without a weight": (
        lambda d: d.assign(papers=d["papers"].where(d["size"] > 0, -3.0)),
        [{"scale": "log1p", "weights": "size"}, {"scale": "log1p"}],
    ),
    "no logarithm in a small cohort": (
        lambda d: d.assign(
            entry=d["entry"].where(d["lab"] != "Lab 7", 2004.0),
            papers=d["papers"].where(d["lab"] != "Lab 7", -3.0),
        ),
        [{"scale": "log1p", "min_cohort_size": 2}, {"scale": "log1p", "min_cohort_size": 1}],
    ),
    "no logarithm in periods that are cut": (
        lambda d: d.assign(entry=d["entry"].fillna(2004.0), papers=d["papers"].where(d["year"] < 2004, -3.0)),
        [{"scale": "log1p"}, {"scale": "log1p", "lag": 1}],
    ),
    "no logarithm of units with gaps": (
        lambda d: d.assign(
            papers=d["papers"].where(d["papers"].notna().groupby(d["lab"]).transform("sum") == 6, -3.0)
        ).query("lab != 'Lab 3' or year != 2003"),
        [{"scale": "log1p", "missing": "balanced"}],
    ),
    "labels that are times": (
        lambda d: d.assign(
            state=pd.to_datetime("2001-01-01") + pd.to_timedelta(d["age"] / 4, unit="s"),
            tier=pd.to_datetime("2001-01-01 00:00:00.000000100") + pd.to_timedelta(d["tier"], unit="ns"),
        ),
        [
            {"population": "state!=2001-01-01 00:00:00.25"},
            {"population": "state=2001-01-01 00:00:00.5"},
            {"population": "tier=2001-01-01 00:00:00.000000102"},
        ],
    ),
    "labels of few digits": (
        lambda d: d.assign(tier=(d["tier"] + 0.1).astype("float32")),
        [{"population": "tier=2.1"}],
    ),
    "texts that are bytes": (
        lambda d: d.assign(
            lab=d["lab"].str.encode("utf-8"),
            year=d["year"].astype(str).str.encode("utf-8"),
            state=d["state"].str.encode("utf-8"),
            papers=d["papers"].map(lambda cell: None if np.isnan(cell) else str(cell).encode()),
        ),
        [{"cluster": "state"}, {"population": "state=Côte d'Ivoire"}],
    ),
    "small outcomes": (lambda d: d.assign(papers=d["papers"] * 1e-12), [{"scale": "log1p"}]),
}


@pytest.mark.parametrize("name", READ_ALIKE)
def test_odd_cells_are_read_as_in_memory(tmp_path: Path, name: str) -> None:
    change, asked = READ_ALIKE[name]
    data = change(table(entries=(np.nan, np.nan, 2002.0, 2003.0), gaps=0.05))
    roles = ROLES | {"name": "labs", "treatment": (), "populations": None}
    with LargePanel.from_parquet(written(data, tmp_path), **roles) as large:
        panel = Panel.from_long(data, **roles)
        assert large.n_units == panel.n_units
        for one in asked:
            question = Question("papers", "entry", **one)
            equal_answers("callaway_santanna", question, large, panel, least=0.0)


def test_a_file_whose_name_is_a_pattern_of_another_is_read_itself(tmp_path: Path) -> None:
    data = table(30)
    data.to_parquet(tmp_path / "labs[1].parquet")
    data[data["lab"] < "Lab 2"].to_parquet(tmp_path / "labs1.parquet")
    with LargePanel.from_parquet(tmp_path / "labs[1].parquet", **ROLES) as large:
        assert large.n_observations == len(data)


def test_numbers_that_are_none_are_empty_where_a_file_says_that_no_cell_is(tmp_path: Path) -> None:
    import pyarrow
    import pyarrow.parquet

    data = table().assign(tier=lambda d: d["tier"].astype(float).replace(3, np.nan))
    # pandas writes empty cells; other libraries write NaN, which statistics of the file leave out.
    columns = {
        name: data[name].to_numpy() for name in ("lab", "year", "entry", "on", "papers", "size", "tier")
    }
    pyarrow.parquet.write_table(pyarrow.table(columns), tmp_path / "labs.parquet")
    roles = ROLES | {"name": "labs", "outcomes": "papers", "covariates": "size", "attributes": "tier"}
    roles["populations"] = None
    with LargePanel.from_parquet(tmp_path / "labs.parquet", **roles) as large:
        panel = Panel.from_long(data, **roles)
        for one in ({}, {"event": "on"}, {"covariates": ("size",)}, {"population": "tier=1"}):
            question = Question(**{"outcome": "papers", "event": "entry"} | one)
            equal_answers("callaway_santanna", question, large, panel, least=0.0)


@pytest.mark.parametrize(
    "asked", ["log1p", "weights", "clusters", "covariates", "population", "balanced", "counts"]
)
def test_rows_of_one_question_answer_no_other(both: Any, asked: str) -> None:
    question = Question("papers", "entry")
    other = Question(**{"outcome": "papers", "event": "entry"} | QUESTIONS[asked])
    for mine, asked_of_it in ((question, other), (other, question)):
        with pytest.raises(QuestionError, match="the rows of labs stand for its units in another question"):
            asked_of_it.sample(both[1].rows(mine))
    assert question.replace(average="event_average", horizon=1).sample(both[1].rows(question)).n_units


@pytest.mark.parametrize("unit", ["us", "ns"])
def test_times_of_a_zone_are_refused(tmp_path: Path, unit: str) -> None:
    data = dates(table(30), "years")[0]
    data["year"] = data["year"].dt.tz_localize("America/New_York").dt.as_unit(unit)
    with pytest.raises(DataError, match="labs: column year holds times of a time zone"):
        LargePanel.from_parquet(
            written(data, tmp_path), **ROLES | {"name": "labs", "period": "year", "treatment": ()}
        )
    labels = table(30).assign(state=data["year"])
    with pytest.raises(DataError, match="labs: column state holds times of a time zone"):
        LargePanel.from_parquet(written(labels, tmp_path), **ROLES | {"name": "labs"})


def test_outcomes_too_large_to_be_squared_are_refused(tmp_path: Path) -> None:
    data = table()
    data["papers"] *= 1e250
    with (
        LargePanel.from_parquet(written(data, tmp_path), name="labs", **ROLES) as large,
        pytest.raises(QuestionError, match="labs: the outcome or a covariate is too large to be squared"),
    ):
        large.rows(Question("papers", "entry"))


def test_unit_periods_that_stand_twice_are_counted(tmp_path: Path) -> None:
    data = table(30, gaps=0.0)
    twice = pd.concat([data, data[data["lab"].isin(["Lab 4", "Lab 11"]) & data["year"].isin([2001, 2003])]])
    with pytest.raises(DataError) as error:
        LargePanel.from_parquet(written(twice, tmp_path), name="labs", **ROLES)
    assert (
        str(error.value)
        == "labs: 4 unit-periods appear twice, first (Lab 11, 2001); keep one row each, or their mean."
    )


REFUSED: dict[str, dict[str, Any]] = {
    "no outcome": {"outcome": "paper"},
    "no event": {"event": "entr"},
    "no weight": {"weights": "state"},
    "no cluster": {"cluster": "age"},
    "a long lag": {"lag": 6},
    "a long horizon": {"average": "event_average", "horizon": 9},
    "a population of labels": {"population": "state=XX"},
    "a slip": {"population": "state!=Cote d'Ivoire"},
    "a wrong sign": {"population": "age=1"},
    "an outcome": {"population": "papers>=1"},
    "no name": {"population": "ancient"},
    "a covariate that changes": {"population": "drift>=1"},
    "no number": {"population": "age>=x"},
}


@pytest.mark.parametrize("name", REFUSED)
def test_refusals_are_those_of_a_panel_in_memory(both: Any, name: str) -> None:
    question = Question(**{"outcome": "papers", "event": "entry"} | REFUSED[name])
    errors = []
    for panel in both:
        with pytest.raises(QuestionError) as error:
            question.sample(panel)
        errors.append(str(error.value))
    assert errors[0] == errors[1]


def test_what_needs_the_rows_of_units_is_refused(tmp_path: Path, both: Any) -> None:
    data = table(30)
    data.loc[data["lab"].eq("Lab 2"), "on"] = np.where(
        data.loc[data["lab"].eq("Lab 2"), "year"] == 2001, 1.0, 0.0
    )
    with LargePanel.from_parquet(written(data, tmp_path), name="labs", **ROLES) as large:
        needs = (
            "needs the rows of single units; draw a sample of units and read it with study.Panel.from_long"
        )
        with pytest.raises(QuestionError, match=f"on goes back to 0, first for Lab 2, which {needs}"):
            large.rows(Question("talks", "on"))
    with pytest.raises(QuestionError, match="covariate drift changes over time within units, first in Lab 3"):
        both[1].rows(Question("papers", "entry", covariates=("drift",)))
    with pytest.raises(QuestionError, match="size is an instrument, which needs the rows"):
        both[1].rows(Question("papers", "entry", instrument="size"))


def test_outcomes_without_a_logarithm_are_named(tmp_path: Path) -> None:
    data = table(60)
    where = data.index[data["papers"].notna() & data["entry"].isna()][0]
    data.loc[where, "papers"] = -1.5
    question = Question("papers", "entry", scale="log1p")
    folder = written(data, tmp_path)
    with LargePanel.from_parquet(folder, name="labs", **ROLES) as large, pytest.raises(QuestionError) as ours:
        question.sample(large)
    with pytest.raises(QuestionError) as theirs:
        question.sample(Panel.from_long(data, name="labs", **ROLES))
    assert str(ours.value) == str(theirs.value)


def test_more_strata_than_the_limit_are_counted(tmp_path: Path) -> None:
    with (
        LargePanel.from_parquet(written(table(), tmp_path), name="labs", limit=20, **ROLES) as large,
        pytest.raises(QuestionError) as error,
    ):
        large.rows(Question("papers", "entry", weights="size"))
    text = str(error.value)
    what = r"6 event dates, 5 weights, \d+ patterns of missing cells"
    assert re.match(rf"labs: the units are in \d+ strata, more than limit=20: {what}; use coarser", text)


FILES: dict[str, tuple[dict[str, pd.DataFrame | bytes], str, str]] = {
    "nothing there": ({}, "*.parquet", "no file matches the pattern."),
    "no such folder": ({}, "none", "there is no such file or folder."),
    "an empty folder": ({}, "", "the folder has no file *.parquet."),
    "no Parquet": ({"a.parquet": b"a,b\n1,2\n"}, "", "it is no Parquet file; name a folder"),
    "cut off": ({"a.parquet": b"PAR1 and no more"}, "", "DuckDB cannot read this"),
    "a column less": (
        {"a.parquet": table(9), "b.parquet": table(9).drop(columns="talks")},
        "",
        "the files have two schemas: talks is double in a.parquet and talks is missing in b.parquet; write them alike.",
    ),
    "another type": (
        {"a.parquet": table(9), "b.parquet": table(9).assign(year="2000")},
        "",
        "the files have two schemas: year is bigint in a.parquet and year is text in b.parquet; write them alike.",
    ),
}


@pytest.mark.parametrize("name", FILES)
def test_files_that_cannot_be_read_are_refused_in_one_line(tmp_path: Path, name: str) -> None:
    files, pattern, text = FILES[name]
    folder = tmp_path / "labs"
    folder.mkdir()
    for file, content in files.items():
        if isinstance(content, bytes):
            (folder / file).write_bytes(content)
        else:
            content.to_parquet(folder / file)
    with pytest.raises(DataError) as error:
        LargePanel.from_parquet(folder / pattern, temp=tmp_path / "temp", **ROLES)
    assert text in str(error.value)
    assert "\n" not in str(error.value)
    assert not (tmp_path / "temp").exists() or not list((tmp_path / "temp").iterdir())


def test_whole_numbers_in_one_file_and_others_in_the_next_are_numbers(tmp_path: Path) -> None:
    data = table(60)
    data["talks"] = data["talks"].astype(int)
    folder = written(data, tmp_path)
    data[len(data) // 2 :].assign(talks=lambda rows: rows["talks"] / 2).to_parquet(folder / "b.parquet")
    whole = pd.concat([pd.read_parquet(folder / "a.parquet"), pd.read_parquet(folder / "b.parquet")])
    question = Question("talks", "entry")
    with LargePanel.from_parquet(folder, **ROLES) as large:
        fits = [study.estimate(panel, question) for panel in (large, Panel.from_long(whole, **ROLES))]
    np.testing.assert_allclose(fits[0].effect, fits[1].effect, rtol=1e-9)


def test_an_option_that_an_engine_has_not_is_refused(tmp_path: Path) -> None:
    folder = written(table(9), tmp_path / "labs")
    for option, text in (
        ({"period": "week"}, "period"),
        ({"memory_limit": "lots"}, "DuckDB cannot be opened .*; write memory_limit as in 4GB"),
        ({"threads": 0}, "DuckDB cannot be opened"),
        ({"ambiguous": "perhaps"}, "ambiguous"),
    ):
        with pytest.raises(QuestionError, match=text):
            LargePanel.from_parquet(folder, temp=tmp_path / "temp", **ROLES | option)
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="cannot write here"):
        LargePanel.from_parquet(folder, temp=tmp_path / "file", **ROLES)
    with pytest.raises(QuestionError, match="table is a DataFrame; give a table of ibis"):
        LargePanel.from_table(table(9), **ROLES)
    assert not list((tmp_path / "temp").iterdir())


def test_memory_that_does_not_suffice_is_said_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match=r"memory or disk do not suffice .*; give a larger memory_limit"):
        LargePanel.from_parquet(
            written(table(2000), tmp_path / "labs"), memory_limit="3MB", temp=tmp_path / "temp", **ROLES
        )
    assert not list((tmp_path / "temp").iterdir())


class _Gone:
    """A connection that does not answer."""

    name = "pyspark"

    def to_pyarrow(self, _: Any) -> Any:
        raise ConnectionRefusedError("Connection refused")


FAULTS = {
    "IO Error: Could not write all bytes to file: No space left on device\nmore": OutputError,
    "Failed to commit: Could not write file units.duckdb: File too large": OutputError,
    "java.lang.OutOfMemoryError: Java heap space": OutputError,
    "Py4JNetworkError: An error occurred while trying to connect": WorkerError,
    "AnalysisException: no such function": WorkerError,
}


@pytest.mark.parametrize("text", FAULTS)
def test_faults_of_engines_are_one_line(text: str) -> None:
    class Failing(_Gone):
        def to_pyarrow(self, _: Any) -> Any:
            raise RuntimeError(text)

    with pytest.raises(FAULTS[text]) as error:
        engines.Engine("labs", Failing()).frame(None)
    assert "\n" not in str(error.value)
    assert "more space" in str(error.value) or "open the panel again" in str(error.value)


def test_an_engine_that_is_not_installed_is_named(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setitem(__import__("sys").modules, "ibis", None)
    with pytest.raises(
        QuestionError, match=r"through ibis, and ibis-framework is not installed; install .*\[large\]"
    ):
        LargePanel.from_parquet(written(table(9), tmp_path), **ROLES)


WITHOUT_IBIS = """
import sys
sys.modules["ibis"] = None
import study
roles = {"unit": "lab", "time": "year", "first_treated": "entry", "outcomes": "papers"}
for read, what in ((study.LargePanel.from_parquet, sys.argv[1]), (study.LargePanel.from_table, object())):
    try:
        read(what, **roles)
    except study.QuestionError as error:
        print(error)
"""


def test_a_process_that_never_had_ibis_says_so(tmp_path: Path) -> None:
    folder = written(table(9), tmp_path)  # other tests of this process have imported what needs it
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_IBIS, folder], capture_output=True, text=True, check=True
    )
    assert done.stdout.count("through ibis, and ibis-framework is not installed; install") == 2


def test_an_engine_that_does_not_answer_is_named() -> None:
    with pytest.raises(WorkerError, match=r"labs: the engine pyspark does not answer \(Connection refused\)"):
        engines.Engine("labs", _Gone()).frame(None)


@pytest.mark.parametrize("wakes", [True, False], ids=["wakes", "does not wake"])
def test_an_interruption_stops_the_query_and_leaves_nothing(tmp_path: Path, wakes: bool) -> None:
    large = LargePanel.from_parquet(written(table(), tmp_path / "labs"), temp=tmp_path / "temp", **ROLES)
    endless = large._units.table
    for name in "abcdef":
        endless = endless.cross_join(large._units.table.select(**{name: "y0_0"}))
    signal.siginterrupt(signal.SIGINT, wakes)  # libraries that handle signals leave it at False
    interruption = threading.Timer(0.5, os.kill, (os.getpid(), signal.SIGINT))
    number = endless.aggregate(n=(endless.a * endless.f).sin().sum())

    def query() -> Any:
        interruption.start()  # not before there is a query, however busy the machine
        return large._engine.connection.to_pyarrow(number)

    unheard = threading.Timer(60, large._engine._interrupt)  # or the test would never end
    unheard.start()
    try:
        with pytest.raises(KeyboardInterrupt):
            large._engine.run(query)
        assert unheard.is_alive()
    finally:
        unheard.cancel()
        signal.siginterrupt(signal.SIGINT, True)
    assert not list((tmp_path / "temp").iterdir())
    with pytest.raises(QuestionError, match="the panel was closed; open it again"):
        large.rows(Question("papers", "entry"))


def test_progress_may_interrupt_too(tmp_path: Path) -> None:
    def stop(step: str) -> None:
        if "checking units" in step:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        LargePanel.from_parquet(
            written(table(9), tmp_path / "labs"), temp=tmp_path / "temp", progress=stop, **ROLES
        )
    assert not list((tmp_path / "temp").iterdir())


def test_units_that_come_or_go_between_two_queries_are_noticed():
    connection = ibis.duckdb.connect()
    connection.raw_sql(
        "CREATE TABLE units AS FROM (VALUES (1.0, 1.0), (1.0, 3.0), (2.0, 5.0)) AS t(date, f0)"
    )
    strata = Stratified(Engine("panel", connection), connection.table("units"), {"date": "event dates"}, 1)
    of, size, mean = strata.sizes_and_means()
    np.testing.assert_array_equal(strata.products(of, size, mean)[1].ravel(), [2.0, 0.0])
    with pytest.raises(WorkerError, match="other units in a stratum than it counted"):
        strata.products(of, size + 1, mean)
