"""didimputation (Borusyak, Jaravel, Spiess), did2s (Gardner) and fect's "fe" as questions to imputation."""

from __future__ import annotations

from typing import Any

import numpy as np

from references.comparison import Comparison, Numbers, fit, matched, numbers
from study import Estimate, Question
from study.estimates.vcov.sandwich import small_sample_factor
from study.inference.leave_out import leave_one_cluster_out


def asked(name: str) -> tuple[str, Question]:
    """Return what a run reports, and its question."""
    model, cluster = name.split("__")
    return model.removesuffix("_x2"), Question(
        outcome="y",
        event="first_treated",
        covariates=("x2",) if model.endswith("_x2") else (),
        cluster="cluster" if cluster == "cl_cluster" else None,
        min_cohort_size=1,
    )


def effects(made: Estimate) -> dict[str, Estimate]:
    """Return the averages of the treated cells, without the leads."""
    cells = made.select(~np.isnan(made.cohort))
    return {"static": cells.aggregate("treated_average"), "horizon": cells.aggregate("event")}


def didimputation(panel: str, run: dict[str, Any]) -> Comparison:
    """Return a did_imputation run: conservative errors; leads from a regression, with fixest's factor."""
    model, question = asked(run["id"])
    n_leads = None if model == "horizon_pretrendsall" else 3
    made = fit(panel, question, "imputation", variance="conservative", leads=n_leads)
    if model == "static":
        return Comparison(matched(numbers(effects(made)["static"], ["treat"]), run["estimates"]))
    horizon = effects(made)["horizon"]
    ours = numbers(horizon, [f"{e:g}" for e in horizon.event_time])
    ours |= leads(made)
    return Comparison(matched(ours, run["estimates"]))


def leads(made: Estimate) -> Numbers:
    """Return the effects by event time before treatment, with fixest's factor in their errors."""
    chosen = made.select(np.isnan(made.cohort))
    factor = lead_factor(made, int((~chosen.reference).sum()))
    return numbers(chosen, [f"{e:g}" for e in chosen.event_time], chosen.std_error * factor)


def lead_factor(made: Estimate, n_leads: int) -> float:
    """Return by what fixest's factor multiplies the errors of a regression on the untreated unit-periods."""
    untreated = made.sample.observed & (made.sample.treatment == 0)
    n_clusters = len(np.unique(made.sample.cluster[untreated.any(axis=1)]))
    df_k = n_leads + int(untreated.any(axis=0).sum())
    return np.sqrt(small_sample_factor(n_clusters, "CR1_fixest", int(untreated.sum()), df_k))


def did2s(panel: str, run: dict[str, Any]) -> Comparison:
    """Return a did2s run: the same effects with the errors of both stages."""
    _, question = asked(run["id"])
    made = effects(fit(panel, question, "imputation", variance="sampling"))
    horizon = made["horizon"]
    ours = numbers(made["static"], ["D::1"]) | numbers(horizon, [f"rel::{e:g}" for e in horizon.event_time])
    theirs = [e for e in run["estimates"] if not e["term"].startswith("rel::-")]
    return Comparison(matched(ours, theirs), {"n_obs": (made["static"].n_obs, run["meta"]["nobs"])})


def fect(panel: str, run: dict[str, Any]) -> Comparison:
    """Return a fect run without factors: the same effects; its event time 1 is our 0, its errors jackknifed."""
    with_covariates = ("x1", "x2") if panel == "sim_gsynth" else ("x2",)
    question = Question(
        outcome="y",
        event="first_treated",
        covariates=with_covariates if run["id"].endswith("_x") else (),
        min_cohort_size=1,
    )
    made = effects(fit(panel, question, "imputation"))
    values = {"att_avg": made["static"].effect[0]}
    if panel != "sim_unbalanced":  # with gaps fect numbers the periods in which a unit is observed
        horizon = made["horizon"]
        values |= {f"rel_{e + 1:g}": v for e, v in zip(horizon.event_time, horizon.effect, strict=True)}
    reported = {e["term"]: e for e in run["estimates"] if e["term"] in values}
    theirs = [{"term": term, "estimate": e["estimate"]} for term, e in reported.items()]
    ours = {term: (value, np.nan) for term, value in values.items()}
    if reported["att_avg"].get("se") is not None:
        sample = fit(panel, question, "imputation").sample
        jackknifed = leave_one_cluster_out(sample, "imputation", term="treated_average", leads=0)
        theirs[[t["term"] for t in theirs].index("att_avg")]["se"] = reported["att_avg"]["se"]
        ours["att_avg"] = (values["att_avg"], jackknifed.std_error)
    return Comparison(matched(ours, theirs))
