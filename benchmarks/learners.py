"""Seconds of designs with learners on the study's panel: by learner, processes and cache; and beside doubleml itself.

    python benchmarks/learners.py [--jobs 2] [--beside-doubleml]

The panel, event and covariates are those of ``paper/study.toml``, the outcome on the log scale; options are the
designs' defaults. Each line is one run in this process after imports. "Again" finds what was learned in the cache.
The last line, alone with ``--beside-doubleml``, is dml_did beside doubleml's own model with the same learners, from the
same long table: a **simulated** panel of 2,000 units x 8 periods with three cohorts, in turns, in one process.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import numpy as np
import pandas as pd
from measuring import Run, record

import study
from study import Panel, Question, settings
from study.learners.named import ONE_THREAD, TREES
from study.paper.plan import read_plan

PLAN = Path(__file__).resolve().parent.parent / "paper" / "study.toml"
CASES: tuple[tuple[str, dict[str, Any]], ...] = (
    ("dml_panel", {"learner": "lasso"}),
    ("dml_panel", {"learner": "lightgbm"}),
    ("dml_panel", {"learner": "forest"}),
    ("dml_panel", {"learner": "ensemble"}),
    ("dml_panel", {"learner": "lightgbm", "approach": "within"}),
    ("dml_stacked", {"learner": "lasso", "propensity": "lasso", "before": 5, "after": 4}),
    ("dml_stacked", {"learner": "lightgbm", "propensity": "lightgbm", "before": 5, "after": 4}),
    ("dml_irm", {"learner": "lasso", "propensity": "lasso"}),
)


def seconds(call: Callable[[], object]) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def of_the_study(jobs: int) -> None:
    """Print seconds with one process, with several, and with everything in the cache."""
    plan = read_plan(PLAN)
    assert isinstance(plan.panel, str)
    panel = study.load_panel(plan.panel)
    row = next(row for row in plan.rows if row.question.get("covariates"))
    question = plan.task(plan.events[0], next(iter(plan.outcomes)), "log1p", row).question
    study.estimate(panel, question, "dml_panel", learner="ensemble", repetitions=1, folds=2)
    print(f"{'':62} one process  {jobs} processes  again")
    for design, options in CASES:

        def run(design: str = design, options: dict[str, Any] = options) -> object:
            return study.estimate(panel, question, design, **options)

        alone = seconds(run)
        with tempfile.TemporaryDirectory() as folder, settings(jobs=jobs, cache=Path(folder)):
            together, again = seconds(run), seconds(run)
        label = ", ".join([design, *(f"{name}={value}" for name, value in options.items())])
        print(f"{label:62} {alone:11.1f}  {together:11.1f}  {again:5.1f}", flush=True)


def simulated(n: int = 2_000, periods: int = 8) -> pd.DataFrame:
    """Return a long panel with three cohorts and two covariates."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(n, 2))
    first = rng.choice([0, 4, 5, 6], size=n, p=[0.4, 0.2, 0.2, 0.2])
    time_ = np.arange(1, periods + 1)
    y = rng.normal(size=(n, 1)) + np.outer(np.abs(x[:, 0]), time_) + rng.normal(size=(n, periods))
    y = y + (time_ >= np.where(first > 0, first, np.inf)[:, None])
    columns = {"unit": np.repeat(np.arange(n), periods), "time": np.tile(time_, n), "y": y.ravel()}
    columns |= {"first": np.repeat(first, periods), "x1": np.repeat(x[:, 0], periods)}
    return pd.DataFrame(columns | {"x2": np.repeat(x[:, 1], periods)})


def beside_doubleml(times: int) -> None:
    """Print the seconds of dml_did and of doubleml's own multi-period model, boosted trees, five folds."""
    from doubleml.data import DoubleMLPanelData
    from doubleml.did import DoubleMLDIDMulti
    from lightgbm import LGBMClassifier, LGBMRegressor

    table = simulated()

    def ours() -> object:
        panel = Panel.from_long(
            table, unit="unit", time="time", first_treated="first", outcomes="y", covariates=["x1", "x2"]
        )
        question = Question("y", "first", covariates=("x1", "x2"))
        trees = {"learner": "lightgbm", "propensity": "lightgbm", "repetitions": 1}
        return study.estimate(panel, question, "dml_did", **trees)

    def theirs() -> object:
        data = DoubleMLPanelData(table, "y", "first", t_col="time", id_col="unit", x_cols=["x1", "x2"])
        model = DoubleMLDIDMulti(
            data,
            LGBMRegressor(**TREES, **ONE_THREAD),
            LGBMClassifier(**TREES, **ONE_THREAD),
            gt_combinations="universal",
            control_group="not_yet_treated",
        )
        return model.fit()

    pairs = [(seconds(ours), seconds(theirs)) for _ in range(times)]
    made, other = ([Run("finished", each) for each in column] for column in zip(*pairs, strict=True))
    record("learners", "dml_did, boosted trees", len(table), made, other, "doubleml, DoubleMLDIDMulti()")
    ratios = [b / a for a, b in pairs]
    ours_s, theirs_s = (statistics.median(column) for column in zip(*pairs, strict=True))
    print(
        f"dml_did {ours_s:.1f} s, doubleml {theirs_s:.1f} s: {statistics.median(ratios):.1f} times as fast "
        f"({min(ratios):.1f} to {max(ratios):.1f})"
    )


def main() -> None:
    """Print both tables."""
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--jobs", type=int, default=2)
    arguments.add_argument("--beside-doubleml", action="store_true", help="the comparison alone")
    arguments.add_argument("--runs", type=int, default=3, help="of the comparison")
    given = arguments.parse_args()
    warnings.simplefilter("ignore")
    if not given.beside_doubleml:
        of_the_study(given.jobs)
    beside_doubleml(given.runs)


if __name__ == "__main__":
    main()
