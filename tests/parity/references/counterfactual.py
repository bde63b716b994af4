"""fect's tests of predicted untreated outcomes and scinference (Chernozhukov et al.) as questions to ours."""

from __future__ import annotations

from functools import cache
from typing import Any

import goldens
import numpy as np
from scipy import special

from references import completion
from references.comparison import Comparison, Row, matched
from study import Panel, Question
from study.core import f_tail
from study.diagnostics.counterfactual_tests import Fit, HiddenErrors, equivalence_f, hidden_errors
from study.diagnostics.refits import equivalence_p
from study.estimates.wald import wald
from study.inference.conformal import conformal, cross_fitted_t
from study.panel import Sample, since_end, since_onset

DRAWS, SIGMAS, GRID = 5000, 4, 0.5
METHODS: dict[str, tuple[str, dict[str, Any]]] = {
    "did": ("imputation", {}),
    "sc": ("synthetic_did", {"method": "synthetic_control"}),
}


@cache
def sample(panel: str) -> Sample:
    """Return the sample of a panel with absorbing dates, or with a path that ends."""
    event: dict[str, Any] = {"first_treated": "first_treated"}
    if panel == "sim_onoff":
        event = {"treatment": "D"}
    made = Panel.from_long(goldens.table(panel), unit="unit", time="time", outcomes="y", name=panel, **event)
    (name,) = event.values()
    return Question("y", name, min_cohort_size=1).sample(made)


def share(ours: float, theirs: float, relative: float = goldens.TOLERANCE) -> float:
    """Return a difference as a share of what is allowed."""
    return abs(ours - theirs) / (relative * max(abs(theirs), 1e-12))


def fect_tests(panel: str, run: dict[str, Any]) -> Comparison:
    """Return a fect run: averages by event time with their jackknife, and its tests."""
    model, kind, *more = run["id"].removesuffix("_lambda.01").split("_")
    of, how = sample(panel), ("imputation", {})
    if model != "fe":
        options = {"penalty": run["lambda"]} if model == "mc" else {"factors": run["r"]}
        hidden_before = 3 * (kind == "placebo")
        of = completion.sample(panel, tuple(more), completion.LEAST, hidden_before)
        how = (completion.NAME, options)
    on, off = since_onset(of.treatment), since_end(of.treatment)
    hidden = np.zeros(on.shape, dtype=bool)
    if kind == "placebo":
        hidden = (on < 0) & (on >= -3)
    if kind == "carryover":
        hidden = off <= 2
    terms = [t["term"] for t in run["terms"]]
    sets = {t: on == int(t.removeprefix("rel_")) - 1 for t in terms if t != "att_avg"}
    sets |= {"att_avg": of.treatment == 1} | ({kind: hidden} if kind in run else {})
    reported = [*run["terms"], {"term": kind, **run[kind]}] if kind in run else [*run["terms"]]
    for each in run.get("off_terms", ()):
        if int(each["term"].removeprefix("off_")) > 0:  # those before the end are among the treated
            sets[each["term"]] = off == int(each["term"].removeprefix("off_"))
            reported.append(each)
    made = errors(of, [Fit(hidden, np.dstack([*sets.values()]))], *how)
    ours = dict(zip(sets, zip(made.effect, made.std_error, strict=True), strict=True))
    counts = dict(zip(sets, made.n_cells.tolist(), strict=True))
    if kind == "loo":
        before = {t["term"]: sets[t["term"]] for t in run["loo_pre"]}
        left = errors(of, [Fit(cells, cells[:, :, None]) for cells in before.values()])
        ours |= {f"loo {t}": pair for t, *pair in zip(before, left.effect, left.std_error, strict=True)}
        reported += [{**t, "term": f"loo {t['term']}"} for t in run["loo_pre"]]
    # Where a set is of one unit, theirs is what is left without it, and ours is none.
    theirs = [t | ({"se": None} if np.isnan(ours[t["term"]][1]) else {}) for t in reported]
    counted = {t["term"]: (counts[t["term"]], t["count"]) for t in run["terms"] if "count" in t}
    return Comparison(matched(ours, theirs), counted, digits(run, kind, made, list(sets)))


def digits(run: dict[str, Any], kind: str, made: HiddenErrors, names: list[str]) -> dict[str, float]:
    """Return how far p-values and F statistics are from theirs, as shares of what is allowed."""
    test, found = run["test"], {"bound": share(made.bound, 0.36 * run["sigma2_fect"] ** 0.5)}
    allowed = 1e-5 if run["id"].startswith("fe") else 1e-4  # with factors it stops short of the minimum
    if kind in ("placebo", "carryover"):
        k = names.index(kind)
        estimate, error = made.effect[k], made.std_error[k]
        zero = 2 * special.ndtr(-abs(estimate / error))
        small = equivalence_p(estimate, error, made.bound, np.inf)
        return found | {
            "p": share(zero, test[f"{kind}.p"], allowed),
            "p of equivalence": share(float(small), test[f"{kind}.equiv.p"], allowed),
        }
    last, complete = np.isin(names, ["rel_-2", "rel_-1", "rel_0"]), ~np.isnan(made.without).any(axis=1)
    zero = wald(made.effect[last], np.cov(made.without[complete][:, last].T), test["N_bar"] - 1)
    f = zero.statistic * test["df2"] / ((test["N_bar"] - 1) * test["df1"])
    small = float(np.max(equivalence_p(made.effect[last], made.std_error[last], made.bound, np.inf)))
    return found | {
        "F": share(f, test["f.stat"], 1e-5),
        "p of F": share(f_tail(f, test["df1"], test["df2"]), test["f.p"], 1e-4),
        "p of the equivalence F": share(equivalence_f(zero), test["f.equiv.p"], 1e-5),
        "p of equivalence": share(small, test["tost.equiv.p"], 1e-4),
    }


def errors(
    of: Sample, fits: list[Fit], design: str = "imputation", options: dict[str, Any] | None = None
) -> HiddenErrors:
    return hidden_errors("parity", of, design, options or {}, fits, None)


def scinference(panel: str, run: dict[str, Any]) -> Comparison:
    """Return a scinference run: p-values of a path, intervals of its periods, or the cross-fitted t test."""
    kind, method, *more = run["id"].split("__")
    (design, options), of = METHODS[method], sample(panel)
    if kind == "ttest":
        (reported,) = run["terms"]
        made = cross_fitted_t(of, design, folds=int(more[0][1:]), **options)
        ends = zip(made.interval(0.9), (reported["lb"], reported["ub"]), strict=True)
        rows = matched({reported["term"]: (made.effect, made.std_error)}, [reported])
        return Comparison(rows, digits={f"end {k}": share(*pair) for k, pair in enumerate(ends)})
    if kind == "conformal_ci":
        table = conformal(of, design, level=0.9, **options).tidy().set_index("term")
        found = {}
        for reported in run["terms"]:
            ours = table.loc[reported["term"].removeprefix("time_")]
            found[reported["term"]] = (
                max(abs(ours["conf_low"] - reported["lb"]), abs(ours["conf_high"] - reported["ub"])) / GRID
            )
        return Comparison((), digits=found)
    permutation, null = more
    (theirs,) = (term["estimate"] for term in run["terms"])
    permuted: Any = {"mb": "moving_block", "iid": "iid"}[permutation]
    asked = {"null": float(null.removeprefix("theta")), "permutations": DRAWS, "level": 0.99, **options}
    p_value = conformal(of, design, permuted=permuted, **asked).p_value
    if permuted == "moving_block":
        return Comparison((Row("p_value", p_value, np.nan, theirs, np.nan),))
    p = max(p_value, theirs, 1 / DRAWS)
    return Comparison((), digits={"p": abs(p_value - theirs) / (SIGMAS * np.sqrt(2 * p * (1 - p) / DRAWS))})
