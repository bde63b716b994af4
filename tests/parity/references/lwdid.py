"""lwdid (Cai and Xu, for Lee and Wooldridge) as questions to lee_wooldridge."""

from __future__ import annotations

from functools import cache
from typing import Any

import goldens
import numpy as np

from references.comparison import Comparison, Numbers, matched, numbers
from study import Estimate, Panel, Question, estimate

FEW = ("1", "2", "5")


@cache
def few() -> Panel:
    """Return the panel with an event for each number of treated units, first treated in period 8."""
    table = goldens.table("sim_few").copy()
    for k in FEW:
        table[f"first{k}"] = 8 * table[f"treat{k}"]
    events = [*(f"first{k}" for k in FEW), "gvar"]
    outcomes = [*(f"y_k{k}" for k in FEW), "y_stag"]
    index = {"unit": "unit", "time": "time", "name": "sim_few"}
    return Panel.from_long(table, **index, first_treated=events, outcomes=outcomes, covariates="x1")


def lwdid(_: str, run: dict[str, Any]) -> Comparison:
    """Return a run: by number of treated units with one date, or staggered."""
    return staggered(run) if run["id"].startswith("stag") else one_date(run)


def one_date(run: dict[str, Any]) -> Comparison:
    """Return effects by period and their average; without covariates "ols" is the pooled vcov."""
    k, transform, errors, *_ = run["id"].removeprefix("k").split("__")
    covariates = ("x1",) if run["controls_used"] else ()
    question = Question(f"y_k{k}", f"first{k}", covariates=covariates, min_cohort_size=1)
    pooled = errors == "ols" and not covariates
    fit = answer(question, transform, "sampling" if pooled else errors, "pooled" if pooled else "CR0")
    ours = numbers(fit, [f"period_{period:g}" for period in fit.period]) | numbers(fit.headline, ["ATT"])
    digits = {}
    if pooled:
        made = fit.headline.tidy().iloc[0]
        theirs = run["terms"][0]
        digits["p-value"] = abs(made["p_value"] / theirs["p_value"] - 1) / goldens.TOLERANCE
        low = abs(made["conf_low"] - theirs["lb"]) / theirs["se"]
        digits["lower limit"] = low / goldens.TOLERANCE
    return Comparison(matched(ours, run["terms"]), digits=digits)


def staggered(run: dict[str, Any]) -> Comparison:
    """Return effects by cohort and period, or averages; of the overall average the estimate alone."""
    _, transform, of, comparison, errors = run["id"].split("__")
    fit = answer(Question("y_stag", "gvar", comparison=comparison), transform, errors, "CR0")
    if of == "overall":
        ours: Numbers = {"overall": (fit.aggregate("cohort_average").effect[0], np.nan)}
        return Comparison(matched(ours, [{"term": "overall", "estimate": run["terms"][0]["estimate"]}]))
    made = fit if of == "none" else fit.aggregate("cohort")
    names = list(zip(made.cohort, made.period if of == "none" else made.cohort, strict=True))
    theirs = [
        {"term": (t["cohort"], t.get("period", t["cohort"])), "estimate": t["att"], "se": t["se"]}
        for t in run["terms"]
    ]
    return Comparison(matched(numbers(made, names), theirs))


def answer(question: Question, transform: str, errors: str, vcov: str) -> Estimate:
    """Return the effects with errors by their name there."""
    variance = errors if errors == "sampling" else errors.upper()
    options = {"transform": transform, "variance": variance, "vcov": vcov}
    return estimate(few(), question, "lee_wooldridge", **options)
