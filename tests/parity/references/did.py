"""did (Callaway and Sant'Anna 2021) and DRDID (Sant'Anna and Zhao 2020) as questions to callaway_santanna."""

from __future__ import annotations

from typing import Any

import goldens
import numpy as np
from goldens import distance
from numpy.typing import NDArray

from references.comparison import Comparison, Numbers, covariance, fit, matched, numbers
from study import Estimate, Question
from study.core import two_by_two
from study.core.distributions import quantile
from study.estimates.multiplier import Weights, statistic_draws

ESTIMATORS = {"drdid": "dr", "reg_did": "reg", "std_ipw_did": "ipw"}
P_DIGITS = 6e-6  # did prints five decimals of its p-value


def did(panel: str, run: dict[str, Any]) -> Comparison:
    """Return att_gt, its averages, the covariance of the event study and the pre-test of a did run."""
    made = did_fit(panel, run["id"])
    cells = numbers(made, zip(made.cohort, made.period, strict=True))
    theirs = [
        {"term": (r["group"], r["time"]), "estimate": r["att"], "se": r["se"]}
        for r in run["att_gt"]
        if r["att"] is not None
    ]
    assert set(cells) == {r["term"] for r in theirs}
    rows = list(matched(cells, theirs))
    for name, section in sections(made).items():
        rows += matched(section, run[name]) if name in run else ()
    digits = {}
    if "esvcov" in run:
        digits["covariance"] = event_covariance(made, run["esvcov"]) / goldens.TOLERANCE
    if run.get("wald") is not None:
        wald = made.test(made.period < made.cohort, "CR0")
        digits["Wald statistic"] = distance(wald.statistic, run["wald"], 0.0) / goldens.TOLERANCE
        digits["Wald p-value"] = abs(wald.p_value - run["wald_p"]) / P_DIGITS
    return Comparison(tuple(rows), digits=digits)


def did_fit(panel: str, name: str) -> Estimate:
    """Answer the question of a did run; cells of a cohort of one unit are kept, as did keeps them."""
    *options, method = name.split("__")
    covariates = {"x1": ("x1",), "x1x1sq": ("x1", "x1sq")}
    question = Question(
        outcome="y",
        event="first_treated",
        comparison="not_yet_treated" if "notyettreated" in options else "never_treated",
        base="universal" if "universal" in options else "varying",
        anticipation=int("ant1" in options),
        covariates=next((covariates[o] for o in options if o in covariates), ()),
        cluster="cluster" if "clustered" in options else None,
        missing=did_missing(panel, options),
        min_cohort_size=1,
    )
    unit = "row" if "repeated_cs" in options else "unit"
    return fit(panel, question, "callaway_santanna", unit=unit, method=method, variance="drdid")


def did_missing(panel: str, options: list[str]) -> str:
    if "balanced_subset" in options:
        return "balanced"
    return "cells" if panel == "sim_unbalanced" or "repeated_cs" in options else "pairs"


BOOTSTRAP = [(p, e, name) for p, e, name in goldens.all_ids("did_230") if name.startswith("bootstrap")]


def bootstrapped_fit(panel: str, name: str) -> Estimate:
    """Return our answer to a run of did 2.3.0 with bootstrapped errors."""
    cluster = "cluster" if name.endswith("cluster") else None
    question = Question("y", "first_treated", comparison="never_treated", base="varying", cluster=cluster)
    return fit(panel, question, "callaway_santanna")


def bootstrapped_influence(made: Estimate, name: str) -> NDArray[np.float64]:
    """Return the influence that did 2.3.0 draws signs for: by cluster it takes means and not sums."""
    influence, cluster = made.influence, made.sample.cluster
    if not name.endswith("cluster"):
        return influence
    size = np.bincount(cluster)
    return influence * (size.mean() / size[cluster])[:, None]


def interquartile_errors(
    sums: NDArray[np.float64], *, n_units: int, draws: int, seed: int, weights: Weights = "rademacher"
) -> NDArray[np.float64]:
    """Return did's bootstrap errors: the interquartile range of the draws over that of the normal.

    Callaway and Sant'Anna (2021), Algorithm 1, step 4; sums of the influence by cluster have shape (G, K).
    """
    drawn = np.concatenate(list(statistic_draws(sums, draws, seed, weights)))
    low, high = np.quantile(drawn, [0.25, 0.75], axis=0)
    error = np.sqrt(np.sum(sums**2, axis=0)) / n_units
    return error * (high - low) / (2 * quantile(0.75))


def sections(made: Estimate) -> dict[str, Numbers]:
    """Return every aggregation of did by its names."""
    event, average = made.aggregate("event"), made.aggregate("event_average")
    fixed = made.balanced(1)
    balanced, short = fixed.by_event_time, made.aggregate("event_average", horizon=3)
    calendar, cohort = made.aggregate("calendar"), made.aggregate("cohort")
    return {
        "simple": numbers(made.aggregate("treated_average"), ["simple_overall"]),
        "group": by_label("group", cohort, cohort.cohort, made.aggregate("cohort_average")),
        "calendar": by_label("calendar", calendar, calendar.period, made.aggregate("calendar_average")),
        "dynamic": by_label("dynamic", event, event.event_time, average),
        "dynamic_min_m3_max3": by_label("dynamic", event, event.event_time, short),
        "dynamic_balance_e1": by_label("dynamic", balanced, balanced.event_time, fixed.headline),
    }


def by_label(prefix: str, by: Estimate, labels: Any, overall: Estimate) -> Numbers:
    return numbers(overall, [f"{prefix}_overall"]) | numbers(by, [f"{prefix}_{label:g}" for label in labels])


def event_covariance(made: Estimate, reported: dict[str, Any]) -> float:
    """Return the largest distance in the covariance of the event study, by unit in clustered runs too."""
    event = made.aggregate("event")
    assert list(event.event_time) == reported["e"]
    ours = covariance(event.influence, np.arange(made.sample.n_units))
    errors = np.sqrt(np.diag(ours))
    known = np.array(reported["vcov"], dtype=float)
    seen = ~np.isnan(known)
    return distance(ours[seen], known[seen], np.outer(errors, errors)[seen])


def drdid(panel: str, run: dict[str, Any]) -> Comparison:
    """Return one two-by-two comparison of DRDID: cohort 8 in period 8 against 7 and the never-treated."""
    name, covariates = run["id"].split("__")
    estimator, kind = name.rsplit("_", 1)
    data = goldens.table(panel)
    data = data[data["first_treated"].isin([0, 8]) & data["time"].isin([7, 8])]
    if kind == "panel":
        before, after = (data[data["time"] == t].reset_index(drop=True) for t in (7, 8))
        rows, y = before, (after["y"] - before["y"]).to_numpy()
    else:
        rows, y = data, data["y"].to_numpy()
    names = [] if covariates == "1" else covariates.split("+")
    x = np.column_stack([np.ones(len(rows)), rows[names]])
    treated, weights = (rows["first_treated"] == 8).to_numpy(), np.ones(len(rows))
    method: Any = ESTIMATORS[estimator]
    if kind == "panel":
        made = two_by_two.panel_att(y, treated, x, weights, method)
    else:
        post = (rows["time"] == 8).to_numpy()
        made = two_by_two.repeated_att(y, post, treated, x, weights, method, as_drdid=True)
    error = float(np.sqrt(np.sum(made.influence**2)) / len(y))
    reported = [r | {"term": "ATT"} for r in run["estimates"][:1]]
    return Comparison(matched({"ATT": (made.estimate, error)}, reported))
