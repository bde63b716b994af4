"""synthdid (Arkhangelsky et al.) and fect's "gsynth" (Xu) as questions to the synthetic designs."""

from __future__ import annotations

from functools import cache
from typing import Any

import goldens
import numpy as np

from references.comparison import Comparison, fit, matched
from study import Estimate, Panel, Question, estimate
from study.inference.leave_out import leave_one_cluster_out

ASKED = Question(outcome="y", event="first_treated", min_cohort_size=1)
METHODS = {"synthdid_estimate": "synthetic_did", "sc_estimate": "synthetic_control"}
BLOCK = {"sim_small": (0, 8)}


@cache
def block(panel: str) -> Panel:
    """Return a reference panel with its never-treated and one cohort."""
    table = goldens.table(panel)
    if panel in BLOCK:
        table = table[table["first_treated"].isin(BLOCK[panel])]
    return Panel.from_long(
        table, unit="unit", time="time", first_treated="first_treated", outcomes="y", name=panel
    )


@cache
def answered(panel: str, method: str, solver: str) -> Estimate:
    """Return the average effect of a block under the weights of a method."""
    options = {"method": method, "solver": solver, "inference": "jackknife"}
    made = estimate(block(panel), ASKED, "synthetic_did", **options)
    return made.with_vcov(made.published).aggregate("treated_average")


def synthdid(panel: str, run: dict[str, Any]) -> Comparison:
    """Return a synthdid run with the package's own solver; its "did" is imputation on a block."""
    (reported,) = run["estimates"]
    theirs = {**reported, "se": reported["se_jackknife"]}
    if run["id"] in METHODS:
        made = answered(panel, METHODS[run["id"]], "frank_wolfe")
        # synthdid has no jackknife with one treated unit, where ours is pooled with comparison units.
        ours = (made.effect[0], np.nan if theirs["se"] is None else made.std_error[0])
    else:
        sample = ASKED.sample(block(panel))
        made = estimate(block(panel), ASKED, "imputation", leads=0).aggregate("treated_average")
        error = np.nan
        if theirs["se"] is not None:
            jackknifed = leave_one_cluster_out(sample, "imputation", term="treated_average", leads=0)
            error = jackknifed.std_error
        ours = (made.effect[0], error)
    return Comparison(matched({reported["term"]: ours}, [theirs]))


def gsynth(panel: str, run: dict[str, Any]) -> Comparison:
    """Return a fect run with factors from untreated units; its event time 1 is our 0, its errors jackknifed."""
    name, *x = run["id"].removeprefix("gsynth_r").split("_")
    question = Question("y", "first_treated", covariates=("x1", "x2") if x else ())
    made = fit(panel, question, "generalized_synthetic_control", factors=int(name))
    average, path = made.aggregate("treated_average"), made.aggregate("event")
    ours = {"att_avg": (average.effect[0], average.std_error[0])}
    ours |= {f"rel_{e + 1:g}": (v, np.nan) for e, v in zip(path.event_time, path.effect, strict=True)}
    theirs = [
        e if e["term"] == "att_avg" else {**e, "se": None} for e in run["estimates"] if e["term"] in ours
    ]
    return Comparison(matched(ours, theirs))
