"""DIDHAD and YatchewTest (de Chaisemartin et al.) as questions to heterogeneous_adoption."""

from __future__ import annotations

from functools import cache
from typing import Any

import goldens
import numpy as np
import pandas as pd

from references.comparison import Comparison, Row, matched
from study import Panel, Question, estimate
from study.core import quantile
from study.designs.heterogeneous_adoption import (
    changes_by_dose,
    weighted_average_slope,
    yatchew_test,
)

ASKED = Question("y", "D")
KERNELS = {"uni": "uniform", "tri": "triangular", "epa": "epanechnikov", "gau": "gaussian"}
PRINTED = 2e-9  # of a number with ten digits


@cache
def panel(name: str, kept: bool) -> Panel:
    """Return a reference panel, in which units may keep the dose of the first period that they have one in."""
    path = goldens.panel_file(name)
    assert path is not None
    table = pd.read_csv(path)
    if kept:
        table["D"] = table["dose"] * (table["time"] >= table["first_treated"])
    return Panel.from_long(table, unit="unit", time="time", doses="D", outcomes="y")


def named(event_time: float, trends: bool) -> str:
    """Return what DIDHAD calls an event time; with linear trends its placebos start from F-2."""
    return f"Effect_{event_time + 1:g}" if event_time >= 0 else f"Placebo_{-event_time - 1 - trends:g}"


def share(ours: float, theirs: float, size: float = 0.0) -> float:
    """Return a difference as a share of what the printed digits allow."""
    return abs(ours - theirs) / (PRINTED * max(abs(theirs), size))


def didhad(name: str, run: dict[str, Any]) -> Comparison:
    """Return a run of did_had: estimates without bias correction, errors of the corrected ones, intervals, Yatchew."""
    if run["id"].startswith("yatchew__"):
        return yatchew(name, run)
    kernel = KERNELS[run["call"].split('kernel="')[1][:3]]
    trends, cumulative = "trends_lin=TRUE" in run["call"], "dynamic=TRUE" in run["call"]
    options: dict[str, Any] = {
        "dose": "cumulative" if cumulative else "current",
        "trends": "linear" if trends else "common",
    }
    sample = ASKED.sample(panel(name, True))
    made = estimate(
        sample.panel, ASKED, "heterogeneous_adoption", kernel=kernel, variance="robust", **options
    )
    answers = dict(
        zip(made.event_time, zip(made.effect, made.with_vcov("CR0").std_error, strict=True), strict=True)
    )
    z, total = quantile(0.95 if "level=0.1" in run["call"] else 0.975), totals(name)
    ours, digits, counts = {}, {}, {}
    changes = {named(change.event_time, trends): change for change in changes_by_dose(sample, **options)}
    for reported in run["terms"]:
        term, change = reported["term"], changes[reported["term"]]
        slope = weighted_average_slope(sample, change, kernel, "robust")
        periods = int(term[-1])
        factor = total[periods] if cumulative else 1.0
        centre, error = factor * np.array(answers[change.event_time])
        ours[term] = factor * slope.conventional, error
        digits[f"{term} lower"] = share(centre - z * error, reported["lb"], error)
        digits[f"{term} upper"] = share(centre + z * error, reported["ub"], error)
        bandwidth = slope.bandwidth / (periods if cumulative else 1)
        digits[f"{term} bandwidth"] = share(bandwidth, reported["bandwidth"])
        counts[f"{term} within"] = slope.within, reported["N_within"]
        counts[f"{term} units"] = sample.n_units, reported["N"]
    for reported in run.get("yatchew", ()):
        test = yatchew_test(changes[reported["term"]], int(reported["term"].startswith("Effect")))
        theirs = [reported[key] for key in ("sigma2_lin", "sigma2_diff", "T_hr", "p_value")]
        for what, value, other in zip(test._fields, test, theirs, strict=True):
            digits[f"{reported['term']} {what}"] = share(value, other)
    return Comparison(matched(ours, run["terms"]), counts, digits)


def totals(name: str) -> dict[int, float]:
    """Return the kept dose of so many periods over the sum of the true ones, by which dynamic runs divide."""
    kept, true = (panel(name, which).doses["D"].mean(axis=0) for which in (True, False))
    start = int(np.flatnonzero(true)[0])
    ratio = np.cumsum(kept[start:]) / np.cumsum(true[start:])
    return {k + 1: float(each) for k, each in enumerate(ratio)}


def yatchew(name: str, run: dict[str, Any]) -> Comparison:
    """Return a run of yatchew_test, whose dose is that of the period."""
    _, event, robust, order = run["id"].split("__")
    changes = {c.event_time: c for c in changes_by_dose(ASKED.sample(panel(name, False)))}
    test = yatchew_test(changes[float(event[-1])], int(order[-1]), robust=robust == "het")
    (reported,) = run["terms"]
    theirs = [reported[key] for key in ("sigma2_lin", "sigma2_diff", "T", "p_value")]
    rows = [
        Row(what, ours, np.nan, value, np.nan)
        for what, ours, value in zip(test._fields, test, theirs, strict=True)
    ]
    return Comparison(tuple(rows), {"units": (len(changes[0.0].dose), reported["N"])})
