"""Spark gives what DuckDB and the arrays in memory give."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import ibis
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from added_up import DESIGNS
from simulated import panel as simulated

import study
from study import DataError, LargePanel, Panel, Question
from study.diagnostics import goodman_bacon

pytestmark = pytest.mark.engines

QUESTIONS: dict[str, dict[str, Any]] = {
    "plain": {},
    "log1p": {"scale": "log1p"},
    "proportional": {"scale": "proportional"},
    "weights": {"weights": "size"},
    "clusters": {"cluster": "state"},
    "population": {"population": "state!=s01,binary<=0"},
    "covariate": {"covariates": ("binary",)},
    "0/1 path": {"event": "grant"},
    "anticipation": {"anticipation": 1, "lag": -1},
    "never": {"comparison": "never_treated"},
    "balanced": {"missing": "balanced"},
}
ROLES: dict[str, Any] = {
    "unit": "unit",
    "time": "time",
    "first_treated": "event",
    "treatment": "grant",
    "outcomes": "y",
    "covariates": ["size", "binary"],
    "attributes": "state",
    "name": "drawn",
}
TOLERANCE = 1e-9


@cache
def long() -> pd.DataFrame:
    """Return 150 drawn units in eight periods with missing cells of four patterns, and a few unclear event dates."""
    panel, rng = simulated(150, seed=5, level=5.0), np.random.default_rng(5)
    y = np.exp(panel.outcomes["y"] / 4)
    seen = np.ones((4, y.shape[1]), dtype=bool)
    seen[1, 0] = seen[2, 4] = seen[3, 6:] = False
    y[~seen[rng.integers(0, 4, len(y))]] = np.nan
    by_unit = {
        "unit": panel.units,
        "event": panel.first_treated["event"],
        "size": rng.choice([0.5, 3.0], len(y)),
        "binary": rng.integers(0, 2, len(y)),
        "state": panel.attributes["state"],
    }
    columns = {name: np.repeat(values, y.shape[1]) for name, values in by_unit.items()}
    grant = (panel.periods >= by_unit["event"][:, None]).astype(float)
    grant[::20][panel.periods == by_unit["event"][::20, None]] = np.nan
    time = np.tile(panel.periods, len(y))
    return pd.DataFrame({**columns, "time": time, "y": y.ravel(), "grant": grant.ravel()})


def tables(frame: pd.DataFrame, spark: Any, folder: Path) -> tuple[Any, Any]:
    """Return two files as tables of DuckDB and Spark; what is missing is NULL in the first, NaN in the other."""
    for part in range(2):
        rows = frame.iloc[part::2]
        columns = {name: pa.array(rows[name].to_numpy(), from_pandas=part == 0) for name in rows}
        pq.write_table(pa.table(columns), folder / f"{part}.parquet")
    files = f"{folder}/*.parquet"
    return ibis.duckdb.connect().read_parquet(files), spark.read_parquet(files)


@pytest.fixture(scope="module")
def panels(
    spark: Any, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Panel, LargePanel, LargePanel]]:
    duckdb, on_spark = tables(long(), spark, tmp_path_factory.mktemp("long"))
    with (
        LargePanel.from_table(duckdb, **ROLES) as by_duckdb,
        LargePanel.from_table(on_spark, **ROLES) as by_spark,
    ):
        yield Panel.from_long(long(), **ROLES), by_duckdb, by_spark


def estimates(panel: Panel | LargePanel, question: Question, design: str) -> dict[str, Any]:
    """Return what a design estimates, or how it refuses."""
    try:
        fit = study.estimate(panel, question, design)
    except study.QuestionError as refusal:
        return {"refusal": str(refusal)}
    # Degrees of freedom are another query.
    headline = fit.headline.degrees_of_freedom if design == "callaway_santanna" else fit.headline.effect
    return {
        "effect": fit.effect,
        "std_error": fit.std_error,
        "headline": headline,
        "counts": (fit.n_obs, fit.sample.n_units, fit.n_clusters),
        "flow": fit.sample.flow,
        "notes": fit.notes,
    }


@pytest.mark.parametrize("asked", QUESTIONS)
def test_designs_give_the_same_on_spark_on_duckdb_and_in_memory(
    panels: tuple[Panel, LargePanel, LargePanel], asked: str
) -> None:
    question = Question(**{"outcome": "y", "event": "event", **QUESTIONS[asked]})
    for design in DESIGNS:
        in_memory, *by_engine = (estimates(panel, question, design) for panel in panels)
        for engine in by_engine:
            assert engine.keys() == in_memory.keys(), design
            for name, value in in_memory.items():
                if name in ("effect", "std_error", "headline"):
                    np.testing.assert_allclose(
                        engine[name], value, rtol=TOLERANCE, atol=TOLERANCE, err_msg=design
                    )
                else:
                    assert engine[name] == value, design


def test_periods_that_are_read_from_what_they_are_called_are_those_in_memory(
    spark: Any, tmp_path: Path
) -> None:
    months = {k: 200001 + 100 * (k // 12) + k % 12 for k in range(40)}
    frame = long().assign(time=long()["time"].map(months), event=long()["event"].map(months))
    roles, question = ROLES | {"period": "month", "treatment": ()}, Question("y", "event")
    same = Panel.from_long(frame, **roles)
    for table in tables(frame, spark, tmp_path):
        with LargePanel.from_table(table, **roles) as panel:
            assert panel.period_name(panel.periods[0]) == same.period_name(same.periods[0])
            assert question.sample(panel).flow == question.sample(same).flow


def spoiled(frame: pd.DataFrame, column: str, value: Any, row: int = 9) -> pd.DataFrame:
    """Return the table with another value in one cell."""
    return frame.assign(**{column: [value if k == row else old for k, old in enumerate(frame[column])]})


def test_comparisons_of_two_groups_are_the_same(panels: tuple[Panel, LargePanel, LargePanel]) -> None:
    question = Question("y", "event", missing="balanced")
    in_memory, *by_engine = (goodman_bacon(question.sample(panel)).frame for panel in panels)
    for frame in by_engine:
        pd.testing.assert_frame_equal(frame, in_memory, rtol=TOLERANCE)


def by_rows(line: str) -> str:
    """Return an error without the rows it names: engines name them by unit and period, a table by number."""
    return re.sub(r"( on| between| and)? (the row of \([^)]*\)|row \d+)", "", line)


FAULTS: dict[str, Callable[[pd.DataFrame], pd.DataFrame]] = {
    "a unit-period twice": lambda frame: pd.concat([frame, frame.iloc[[9]]]),
    "a gap in periods": lambda frame: frame[frame["time"] != 5],
    "a period that is not whole": lambda frame: spoiled(frame.astype({"time": float}), "time", 2.5),
    "an empty unit": lambda frame: spoiled(frame, "unit", " "),
    "a date that changes": lambda frame: spoiled(frame, "event", 3.0),
    "an impossible date": lambda frame: frame.assign(event=frame["event"].replace(4.0, 4000.0)),
    "an attribute that changes": lambda frame: spoiled(frame, "state", "elsewhere"),
    "an infinite outcome": lambda frame: spoiled(frame, "y", np.inf),
    "an outcome in words": lambda frame: frame.assign(y="many"),
    "no rows": lambda frame: frame.iloc[:0],
    "a missing column": lambda frame: frame.drop(columns="size"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_the_same_line_on_both(spark: Any, tmp_path: Path, fault: str) -> None:
    frame = FAULTS[fault](long())
    with pytest.raises(DataError) as in_memory:
        Panel.from_long(frame, **ROLES)
    for table in tables(frame, spark, tmp_path):
        with pytest.raises(DataError) as by_engine:
            LargePanel.from_table(table, **ROLES)
        assert by_rows(str(by_engine.value)) == by_rows(str(in_memory.value))
