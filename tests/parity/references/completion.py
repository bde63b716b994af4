"""fect's matrix completion and interactive fixed effects as questions to the design of both."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import cache
from typing import Any
from unittest import mock

import goldens
import numpy as np
import pandas as pd
import pytest

from references.comparison import Comparison, matched
from study import Panel, Question
from study.core import FloatArray
from study.designs import find_design
from study.designs.matrix_completion import Rank, _Problem, _settled, complete
from study.panel import Sample, since_onset

NAME = "matrix_completion"
LEAST = 5  # fect's min.T0: treated units with fewer periods before treatment are dropped, but for "fe"


@cache
def sample(panel: str, covariates: tuple[str, ...], least: int, hidden: int = 0) -> Sample:
    """Return the sample of a reference panel without treated units that have too few untreated periods.

    The last periods before treatment, so many as are hidden, do not count.
    """
    path = goldens.panel_file(panel)
    if path is None:
        pytest.skip(f"the panel {panel} is not ours to copy, and the shared folder is absent here")
    table = pd.read_csv(path)
    kind, event = ("treatment", "D") if "D" in table else ("first_treated", "first_treated")
    read = Panel.from_long(
        table,
        unit="unit",
        time="time",
        outcomes="y",
        covariates=[name for name in ("x1", "x2") if name in table],
        **{kind: event},
        name=panel,
    )
    whole = Question("y", event, covariates=covariates, min_cohort_size=1).sample(read)
    since = since_onset(whole.treatment)
    seen = (whole.treatment == 0) & ~((since < 0) & (since >= -hidden))
    return whole.only(~whole.ever_treated | (seen.sum(axis=1) >= least), "too few untreated periods")


def settled_once() -> Callable[[_Problem, FloatArray], FloatArray]:
    """Return what iterates to factors, each time once: the comparison leaves out the units that the design has."""
    found: dict[tuple[object, ...], FloatArray] = {}

    def settled(problem: _Problem, start: FloatArray) -> FloatArray:
        arrays = (problem.seen, *problem.sums, start)
        key = (problem.rank, *((each.shape, each.tobytes()) for each in arrays))
        if key not in found:
            found[key] = _settled(problem, start)
        return found[key]

    return settled


def fect(panel: str, run: dict[str, Any]) -> Comparison:
    """Return a run of fect, in which the design and the comparison fit without each unit."""
    with mock.patch("study.designs.matrix_completion._settled", settled_once()):
        return compared(panel, run)


def compared(panel: str, run: dict[str, Any]) -> Comparison:
    """Return a run of fect: its event time 1 is our 0; its errors are the jackknife's of each average over cells."""
    name = run["id"]
    x = ("x2",) if name.endswith("_x2") else ("x1", "x2") if name.endswith("_x") else ()
    asked = sample(panel, x, 0 if name.startswith("fe") else LEAST)
    number = re.search(r"ife_?r?(\d)", name)
    if name.startswith("mc"):
        of_run: dict[str, Any] = {"penalty": run.get("lambda", run.get("lambda_cv"))}
    else:
        of_run = {"factors": run.get("r") or (int(number[1]) if number else 0)}
    leads = len(run.get("loo_pre", ()))
    made = find_design(NAME)(asked, leads=leads, **of_run)
    path = made.aggregate("event")
    values = {f"rel_{e + 1:g}": v for e, v in zip(path.event_time, path.effect, strict=True)}
    untreated, rank = asked.treatment == 0, Rank(**of_run)
    fit = complete(asked.y, asked.x_varying, untreated, rank)
    since = _event_times(asked)
    cells = (since[:, :, None] == np.arange(since.max() + 1)).sum(axis=1)
    without = fit.without_each(since, cells.shape[1])
    averaged = np.column_stack([without, _averages(without, cells.sum(axis=0) - cells)])
    names = [*(f"rel_{e + 1}" for e in range(cells.shape[1])), "att_avg"]
    errors = dict(zip(names, jackknifed(averaged), strict=True))
    values["att_avg"] = _averages(fit.effects(since, cells.shape[1]), cells.sum(axis=0))
    reported = run.get("estimates") or run["terms"]
    theirs = [e for e in reported if e["term"] == "att_avg" or int(e["term"].removeprefix("rel_")) > 0]
    for e in run.get("loo_pre", ()):
        held = since == int(e["term"].removeprefix("rel_")) - 1
        label = np.where(held, 0, -1)
        (errors[e["term"]],) = jackknifed(
            complete(asked.y, asked.x_varying, untreated & ~held, rank, start=fit.q).without_each(label, 1)
        )
        theirs = [*theirs, e]
    # What rests on one treated unit has no error by leaving units out; the package reports one all the same.
    theirs = [{**e, "se": None if e.get("count") == 1 else e.get("se")} for e in theirs]
    ours = {e["term"]: (values[e["term"]], np.nan if e["se"] is None else errors[e["term"]]) for e in theirs}
    return Comparison(matched(ours, theirs))


def _averages(effects: np.ndarray, cells: np.ndarray) -> np.ndarray:
    """Return the averages of effects by event time over cells, shapes (..., E)."""
    return (np.where(cells > 0, effects, 0.0) * cells).sum(axis=-1) / cells.sum(axis=-1)


def jackknifed(without: np.ndarray) -> np.ndarray:
    """Return the jackknife's errors from effects without each unit, shape (n, K)."""
    n = (~np.isnan(without)).sum(axis=0)
    squares = np.nansum((without - np.nanmean(without, axis=0)) ** 2, axis=0)
    return np.sqrt((n - 1) / n * squares)


def _event_times(asked: Sample) -> np.ndarray:
    """Return the periods since treatment began, shape (n, T), negative before it; -1000 where it does not begin."""
    return np.nan_to_num(since_onset(asked.treatment), nan=-1000).astype(int)
