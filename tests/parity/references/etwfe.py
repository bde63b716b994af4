"""etwfe (McDermott; Wooldridge 2021, 2023) as questions to the design of the same name."""

from __future__ import annotations

import re
from typing import Any

import numpy as np

from references.comparison import Comparison, Numbers, fit, matched, numbers
from study import Estimate, Question

CELL = re.compile(r"\.Dtreat:first_treated::\d+:time::\d+")


def read(panel: str, run: dict[str, Any]) -> Comparison:
    """Return the regression's cells, or their averages over observations on the scale of the response."""
    model, covariance, reported = run["id"].split("__", 2)
    log_scale = model.startswith("pois_") and reported == "coef"
    question = Question(
        outcome="count" if model.startswith("pois_") else "y",
        event="first_treated",
        scale="proportional" if log_scale else "level",
        comparison="never_treated" if "never" in model else "not_yet_treated",
        covariates=("x1",) if "x1" in model else (),
        cluster="cluster" if covariance == "cl_cluster" else None,
        min_cohort_size=1,
    )
    made = fit(
        panel,
        question,
        "etwfe",
        family="poisson" if model.startswith("pois_") else "gaussian",
        effects="unit" if "ivar" in model else "cohort",
        variance="conditional",
    )
    if reported != "coef":
        return Comparison(matched(averages(made, reported), run["estimates"]))
    theirs = [e for e in run["estimates"] if CELL.fullmatch(e["term"])]
    counts = {"n_obs": (made.n_obs, run["meta"]["nobs"])}
    if "ivar" not in model:  # its nparams has the unit effects too, which are nested in the clusters
        counts["df_k"] = (made.df_k, run["meta"]["nparams"])
    return Comparison(matched(cells(made, log_scale), theirs), counts)


def cells(made: Estimate, log_scale: bool) -> Numbers:
    """Return the effects by cohort and period; with log_scale the coefficient log(1 + proportional effect)."""
    labels = zip(made.cohort, made.period, strict=True)
    names = [f".Dtreat:first_treated::{g:g}:time::{t:g}" for g, t in labels]
    if not log_scale:
        return numbers(made, names)
    pairs = zip(np.log1p(made.effect), made.std_error / (1 + made.effect), strict=True)
    return dict(zip(names, pairs, strict=True))


def averages(made: Estimate, reported: str) -> Numbers:
    """Return one of emfx's averages by its names."""
    kind = reported.removeprefix("emfx_").removesuffix("_withpre")
    if kind == "simple":
        return numbers(made.aggregate("treated_average"), ["simple"])
    to, label, prefix = {
        "group": ("cohort", "cohort", "first_treated"),
        "calendar": ("calendar", "period", "time"),
        "event": ("event", "event_time", "event"),
    }[kind]
    by = made.aggregate(to)
    return numbers(by, [f"{prefix}_{value:g}" for value in getattr(by, label)])
