"""triplediff (Ortiz-Villavicencio and Sant'Anna 2025) as questions to triple_difference."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from typing import Any

import goldens
import numpy as np
from numpy.typing import NDArray

from references.comparison import Comparison, Numbers, Row, covariance, matched, numbers
from study import Estimate, Panel, Question, estimate
from study.estimates import weights_in_cohorts

COVARIATES = {"nocov": (), "x1": ("x1",), "x1x2": ("x1", "x2")}
Cells = set[tuple[float, float]]


@cache
def panel(name: str) -> Panel:
    return Panel.from_long(
        goldens.table(name),
        unit="unit",
        time="time",
        first_treated="first_treated",
        outcomes="y",
        covariates=["x1", "x2", "w"],
        attributes=["eligible", "cluster"],
        name=name,
    )


@cache
def answered(name: str, method: str, covariates: str, **asked: Any) -> Estimate:
    question = Question("y", "first_treated", covariates=COVARIATES[covariates], group="eligible=1", **asked)
    fit = estimate(panel(name), question, "triple_difference", method=method)
    return fit.with_vcov(fit.published)


def two_periods(name: str, run: dict[str, Any]) -> Comparison:
    """Return a run of two periods, whose error is the standard deviation of the influence over the root of n."""
    covariates, method, weighted = run["id"].split("__")
    weights = None if weighted == "unweighted" else "w"
    fit, clustered = (
        answered(name, method, covariates, comparison="never_treated", weights=weights, cluster=cluster)
        for cluster in (None, "cluster")
    )
    (theirs,) = run["terms"]
    after = fit.event_time == 0
    effect, error = float(fit.effect[after][0]), float(fit.std_error[after][0])
    n = fit.sample.n_units
    errors = {
        "se": error * np.sqrt(n / (n - 1)),
        "se_no_recentring": error,
        "se_cluster_from_if": float(clustered.std_error[after][0]),
    }
    rows = tuple(Row(what, effect, ours, theirs["estimate"], theirs[what]) for what, ours in errors.items())
    assert fit.sample.first_treated is not None
    assert fit.sample.group is not None
    cells = 1 + fit.sample.group + 2 * (fit.sample.first_treated == 2)
    counts = {f"units in cell {s['subgroup']}": (int(np.sum(cells == s["subgroup"])), s["count"])
              for s in run["subgroup_counts"]}  # fmt: skip
    return Comparison(rows, counts)


def triplediff(name: str, run: dict[str, Any]) -> Comparison:
    """Return a run of the package; of one with many periods what does not rest on misplaced influence."""
    if name == "sim_triple2":
        return two_periods(name, run)
    return many_periods(name, run, {(c["group"], c["time"]) for c in run["att_gt"] if c["misaligned"]})


def corrected(name: str, run: dict[str, Any]) -> Comparison:
    """Return a run of the package with its influence in place."""
    return many_periods(name, run, set())


def many_periods(name: str, run: dict[str, Any], misplaced: Cells) -> Comparison:
    """Return the cells and averages of a run, but for misplaced cells and what has them in it."""
    comparison, base, covariates, method, errors, *weights = run["id"].split("__")
    fit = answered(
        name,
        method,
        covariates,
        comparison={"nevertreated": "never_treated", "notyettreated": "not_yet_treated"}[comparison],
        base=base,
        cluster="cluster" if errors == "cl_cluster" else None,
        weights="w" if weights else None,
    )
    cells = numbers(fit, zip(fit.cohort, fit.period, strict=True))
    # The error of several comparison cohorts is that of their covariance, which has the divisor n - 1.
    n = fit.sample.n_units
    factors = {
        (c["group"], c["time"]): c["comparison_cohorts"] > 1 and errors == "unit" for c in run["att_gt"]
    }
    cells = {k: (e, s * np.sqrt(n / (n - 1)) if factors[k] else s) for k, (e, s) in cells.items()}
    theirs = [
        {"term": (c["group"], c["time"]), "estimate": c["att"], "se": c["se"]}
        for c in run["att_gt"]
        if (c["group"], c["time"]) not in misplaced
    ]
    assert set(cells) == {(c["group"], c["time"]) for c in run["att_gt"]}
    rows = list(matched(cells, theirs))
    for average in run["aggregate"]:
        ours = {
            term: number
            for term, number in averages(fit, average["id"]).items()
            if not misplaced & used(fit, term)
        }
        reported = [*average.get("terms", ()), average["overall"] | {"term": "overall"}]
        rows += matched(ours, [r for r in reported if r["term"] in ours]) if ours else ()
    return Comparison(tuple(rows))


def averages(fit: Estimate, name: str) -> Numbers:
    """Return an average and its terms by shares of whole cohorts, under the names that the package has."""
    sample = replace(fit.sample, group=None)
    fit = replace(fit, sample=sample, cohort_weights=weights_in_cohorts(sample, fit.cohort))
    kind, *window = name.split("_")
    if kind == "simple":
        return numbers(fit.aggregate("treated_average"), ["overall"])
    if kind == "group":
        path = fit.aggregate("cohort")
        average = fit.aggregate("cohort_average")
        overall = numbers(average, ["overall"], shares_of_the_first_cohort(fit, path))
        return overall | numbers(path, [f"group_{g:g}" for g in path.cohort])
    if kind == "calendar":
        path = fit.aggregate("calendar")
        overall = numbers(fit.aggregate("calendar_average"), ["overall"])
        return overall | numbers(path, [f"time_{t:g}" for t in path.period])
    balance = int(name.removeprefix("eventstudy_balance")) if "balance" in name else None
    horizon = int(window[1].removeprefix("max")) if len(window) > 1 else None
    path = fit.aggregate("event", balance=balance)
    overall = numbers(fit.aggregate("event_average", balance=balance, horizon=horizon), ["overall"])
    errors = np.where(path.reference, np.nan, path.std_error)
    return overall | numbers(path, [f"event_{e:g}" for e in path.event_time], errors)


def shares_of_the_first_cohort(fit: Estimate, path: Estimate) -> NDArray[np.float64]:
    """Return the error of the average over cohorts when estimated shares have the influence of the first's units."""
    sample, effects = fit.sample, path.effect
    assert sample.first_treated is not None
    shares = np.array([np.mean(sample.weights * (sample.first_treated == g)) for g in path.cohort])
    surplus = (sample.weights * (sample.first_treated == path.cohort[0]))[:, None] - shares
    total = shares.sum()
    moved = surplus @ effects / total - surplus.sum(axis=1) * (shares @ effects) / total**2
    influence = replace(fit, shares="fixed").aggregate("cohort_average").influence + moved[:, None]
    return np.sqrt(np.diag(covariance(influence, sample.cluster)))


def used(fit: Estimate, term: str) -> Cells:
    """Return the cells that a term of an average may be of."""
    what, _, value = term.partition("_")
    labels = {"event": fit.event_time, "group": fit.cohort, "time": fit.period}.get(what)
    chosen = np.ones(len(fit.terms), dtype=bool) if what == "event" else fit.event_time >= 0
    if labels is not None:
        chosen = chosen & (labels == float(value))
    return set(zip(fit.cohort[chosen], fit.period[chosen], strict=True))
