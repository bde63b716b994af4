"""fixest (Berge) as questions to twfe, event_study, sun_abraham and poisson_twfe."""

from __future__ import annotations

from typing import Any

import numpy as np
from goldens import distance
from numpy.typing import NDArray

from references.comparison import Comparison, Numbers, errors_under, fit, matched, numbers
from study import Estimate, Question
from study.estimates.vcov.names import VcovName

CONVENTIONS: dict[str, VcovName] = {
    "default": "CR1_fixest",
    "Gdf_conv": "CR1_fixest",  # with one-way clusters the same as the default
    "noadj": "CR0",
    "full": "CR1_areg",
    "none": "CR1",  # with one regressor, as here: (N-1)/(N-k) is one
}
P_DIGITS = 1e-5  # p follows t, whose last digits it magnifies
REGRESSIONS: dict[str, tuple[str, dict[str, Any]]] = {
    "twfe": ("twfe", {}),
    "twfe_x2": ("twfe", {}),
    "es": ("event_study", {}),
    "es_binned_pm4": ("event_study", {"bin_at": 4}),
}
POISSON = {"pois_twfe": "treatment", "pois_twfe_x2": "treatment", "pois_twfe_defaulttol": "treatment"} | {
    "pois_es": "event_time"
}


def question(outcome: str, model: str, covariance: str, **fields: Any) -> Question:
    return Question(
        outcome=outcome,
        event="first_treated",
        covariates=("x2",) if model.endswith("_x2") else (),
        cluster="cluster" if covariance == "cl_cluster" else None,
        min_cohort_size=1,
        **fields,
    )


def regression(panel: str, run: dict[str, Any]) -> Comparison:
    """Return a feols regression with unit and period effects."""
    model, covariance, counting = run["id"].split("__")
    design, options = REGRESSIONS[model]
    made = fit(panel, question("y", model, covariance), design, **options)
    vcov = CONVENTIONS[counting]
    names = [regression_name(term, "rel" if model == "es" else "relb") for term in made.terms]
    ours = numbers(made, names, errors_under(made, vcov))
    rows = matched(ours, run["estimates"])
    assert {row.term for row in rows} == {n for n, ref in zip(names, made.reference, strict=True) if not ref}
    if vcov != "CR1_fixest":
        return Comparison(rows, {"n_obs": (made.n_obs, run["meta"]["nobs"])})
    p_values = dict(zip(names, made.tidy()["p_value"], strict=True))
    theirs = {e["term"]: e["p"] for e in run["estimates"]}
    gap = distance([p_values[term] for term in theirs], list(theirs.values()), 1e-12)
    return Comparison(rows, counts(made, run), {"p-value": gap / P_DIGITS})


def regression_name(term: str, event: str) -> str:
    kind, _, event_time = term.partition(" ")
    if kind == "event":
        return f"{event}::{event_time}"
    return {"treatment": "D"}.get(term, term)


def counts(made: Estimate, run: dict[str, Any]) -> dict[str, tuple[int, int]]:
    """Return observations, parameters counted and degrees of freedom, ours and theirs."""
    meta = run.get("meta")
    if meta is None:
        return {}
    return {
        "n_obs": (made.n_obs, meta["nobs"]),
        "df_k": (_counted(made, run), meta["dof_K"]),
        "degrees of freedom": (made.n_clusters - 1, meta["dof_t"]),
    }


def _counted(made: Estimate, run: dict[str, Any]) -> int:
    return made.df_k + made.n_fixed_effects - 1 if run["id"].endswith("__full") else made.df_k


def sunab(panel: str, run: dict[str, Any]) -> Comparison:
    """Return a sunab regression: its cells, or their averages with fixed shares of observations."""
    model, averaged, covariance = run["id"].split("__")
    made = fit(panel, question("y", model, covariance), "sun_abraham", variance="conditional")
    theirs = [e for e in run["estimates"] if e["term"] != "x2"]
    return Comparison(matched(sunab_averages(made)[averaged], theirs), counts(made, run))


def sunab_averages(made: Estimate) -> dict[str, Numbers]:
    cells = [f"time::{e:g}:cohort::{g:g}" for e, g in zip(made.event_time, made.cohort, strict=True)]
    event, cohort = made.aggregate("event"), made.aggregate("cohort")
    return {
        "no_agg": numbers(made, cells),
        "period": numbers(event, [f"time::{e:g}" for e in event.event_time]),
        "cohort": numbers(cohort, [f"cohort::{g:g}" for g in cohort.cohort]),
        "att": numbers(made.aggregate("treated_average"), ["ATT"]),
    }


def poisson(panel: str, run: dict[str, Any]) -> Comparison:
    """Return a fepois regression; its coefficients are log(1 + proportional effect)."""
    model, *middle = run["id"].split("__")
    covariance = next(part for part in middle if part.startswith("cl_"))
    if model == "pois_sunab":
        asked = question("count", model, covariance, scale="proportional", comparison="never_treated")
        made = fit(panel, asked, "etwfe", family="poisson", effects="unit")
        return Comparison(
            poisson_averages(made, run, middle[0]), {"n_obs": (made.n_obs, run["meta"]["nobs"])}
        )
    asked = question("count", model, covariance, scale="proportional")
    made = fit(panel, asked, "poisson_twfe", terms=POISSON[model])
    vcov = CONVENTIONS[middle[1] if len(middle) > 1 else "default"]
    names = [regression_name(term, "rel") for term in made.terms]
    errors = errors_under(made, vcov) / (1 + made.effect)
    coefficients = np.log1p(made.effect)
    ours = dict(zip(names, zip(coefficients, errors, strict=True), strict=True))
    theirs = [e for e in run["estimates"] if e["term"] != "x2"]
    if model == "pois_twfe_defaulttol":  # its meta describes the iid covariance
        return Comparison(matched(ours, theirs), {"n_obs": (made.n_obs, run["meta"]["nobs"])})
    return Comparison(matched(ours, theirs), counts(made, run))


def poisson_averages(made: Estimate, run: dict[str, Any], averaged: str) -> Any:
    """Average coefficients, not effects, by fixed shares of the observations in the likelihood."""
    coefficients = np.log1p(made.effect)
    slope = 1 / (1 + made.effect)
    cov = made.covariance() * np.outer(slope, slope)
    used = ~made.reference
    size = observations(made)
    terms = {f"time::{e:g}": used & (made.event_time == e) for e in np.unique(made.event_time[used])}
    if averaged == "att":
        terms = {"ATT": used & (made.event_time >= 0)}
    ours = {}
    for term, cells in terms.items():
        weight = np.where(cells, size, 0.0) / size[cells].sum()
        error = np.sqrt(weight[used] @ cov[np.ix_(used, used)] @ weight[used])
        ours[term] = (float(weight[used] @ coefficients[used]), float(error))
    return matched(ours, run["estimates"])


def observations(made: Estimate) -> NDArray[np.float64]:
    """Return the observations behind each cohort and period, of units that have a positive count."""
    sample = made.sample
    assert sample.first_treated is not None
    seen = sample.observed & (np.nansum(sample.y, axis=1) > 0)[:, None]
    return np.array(
        [
            seen[np.ix_(sample.first_treated == g, sample.periods == t)].sum()
            for g, t in zip(made.cohort, made.period, strict=True)
        ],
        dtype=float,
    )
