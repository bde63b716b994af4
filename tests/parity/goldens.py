"""Reference numbers of the original packages: their panels, their runs, and how closely they are met."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from study import Panel

HERE = Path(__file__).parent / "golden"
SHARED = Path(__file__).parents[3] / "shared" / "golden"
SHARED_TWO = SHARED / "part_two"

TOLERANCE = 1e-6
PANELS = ("mpdta", "base_stagg", "sim_small", "sim_unbalanced", "sim_clustered")


def shared_files() -> list[Path]:
    """Return every reference file of the shared folder."""
    return sorted([*SHARED.glob("*.json"), *SHARED_TWO.glob("*.json")], key=lambda path: path.name)


@cache
def read(path: Path) -> dict[str, Any]:
    """Return one reference file: the package, its version and commit, its runs."""
    return json.loads(path.read_text(encoding="utf-8"))


@cache
def runs(panel: str, estimator: str) -> dict[str, dict[str, Any]]:
    """Return the runs of one reference file by id."""
    return {run["id"]: run for run in read(HERE / f"{panel}__{estimator}.json")["runs"]}


def all_ids(*estimators: str) -> list[tuple[str, str, str]]:
    """Return (panel, estimator, run id) of every run that the copied files hold."""
    return [
        (panel, estimator, name)
        for estimator in estimators
        for panel in PANELS
        if (HERE / f"{panel}__{estimator}.json").exists()
        for name in runs(panel, estimator)
    ]


def panel_file(panel: str) -> Path | None:
    """Return where a panel's long table is; None where its licence keeps it out of this repository."""
    places = [folder / "panels" / f"{panel}.csv" for folder in (HERE, SHARED, SHARED_TWO)]
    return next((path for path in places if path.exists()), None)


@cache
def table(panel: str) -> pd.DataFrame:
    """Return a panel's long table; skip the test where it cannot be had."""
    path = panel_file(panel)
    if path is None:
        pytest.skip(f"the panel {panel} is not ours to copy, and the shared folder is absent here")
    data = pd.read_csv(path)
    if "x1" in data:
        data["x1sq"] = data["x1"] ** 2
    data["row"] = np.arange(len(data))
    return data


@cache
def panel(name: str, unit: str = "unit") -> Panel:
    """Return a reference panel; with unit="row" every observation is a unit of its own."""
    covariates = [c for c in ("x1", "x1sq", "x2") if table(name)[c].notna().any()]
    return Panel.from_long(
        table(name),
        unit=unit,
        time="time",
        first_treated="first_treated",
        outcomes=["y", "count"] if table(name)["count"].notna().any() else "y",
        covariates=covariates,
        attributes="cluster",
        name=name,
    )


def distance(ours: Any, theirs: Any, scale: Any) -> float:
    """Return the largest |ours - theirs| / max(|theirs|, scale), with scale the standard error."""
    ours, theirs, scale = (np.asarray(v, dtype=float) for v in (ours, theirs, scale))
    gap, size = np.abs(ours - theirs), np.maximum(np.abs(theirs), np.nan_to_num(scale))
    return float(np.max(np.where(gap == 0, 0.0, gap / np.where(size > 0, size, 1.0)), initial=0.0))
