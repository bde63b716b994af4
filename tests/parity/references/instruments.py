"""fixest, linearmodels, ivDiag and ivmodel as questions to twfe, panel_ols and iv."""

from __future__ import annotations

from functools import cache
from math import sqrt
from typing import Any

import goldens
import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats

from references.comparison import Comparison, matched, numbers
from study import Estimate, Panel, Question, estimate
from study.designs.iv import rows_of
from study.estimates.vcov.names import VcovName
from study.estimates.weak_instrument import effective_f, not_rejected

TWO = ("z1", "z2")
GIVEN: dict[str, VcovName] = {
    "unadjusted": "unadjusted",
    "iid": "unadjusted",
    "robust": "robust",
    "hetero": "robust",
    "cl_unit": "clustered",
    "cl_entity": "clustered",
    "cl_entity_nogd": "clustered",
    "cl_cluster": "clustered",
    "twoway": "twoway",
    "DK_default": "driscoll_kraay",
}
P_DIGITS = 1e-5  # p follows t, whose last digits it magnifies
GRID = 0.1  # of a standard error: the largest step of the grid on which ivDiag looks for the ends of its sets


@cache
def panel(name: str) -> Panel:
    """Return the panel whose event is the dose d."""
    path = goldens.panel_file(name)
    assert path is not None
    columns: dict[str, Any] = {
        "outcomes": "y",
        "doses": "d",
        "covariates": ["x2", *TWO],
        "attributes": "cluster",
    }
    return Panel.from_long(pd.read_csv(path), unit="unit", time="time", name=name, **columns)


def question(run: str) -> Question:
    """Return the question of a run, which says its instruments and clusters."""
    instruments = {"iv1": "z1", "iv2": TWO}
    named = next((value for key, value in instruments.items() if key in run), None)
    cluster = "cluster" if "cl_cluster" in run else None
    return Question("y", "d", covariates=("x2",), instrument=named, cluster=cluster)


@cache
def fit(name: str, design: str, asked: Question, **options: Any) -> Estimate:
    return estimate(panel(name), asked, design, **options)


def factor(made: Estimate, vcov: VcovName, parameters: int) -> float:
    """Return the small-sample factor of a covariance, by clusters where it is."""
    left, clusters = made.n_obs - parameters, made.n_clusters
    if vcov == "clustered":
        return clusters / (clusters - 1) * (made.n_obs - 1) / left
    return made.n_obs / left


def all_effects(made: Estimate) -> int:
    """Return how many parameters there are, all fixed effects among them."""
    return made.df_k + made.n_fixed_effects - 1


def compared(made: Estimate, run: dict[str, Any], treatment: str = "d", times: float = 1.0) -> Comparison:
    """Put coefficients beside a run, and their errors times the root of a factor; p-values where there is none."""
    names = [{"treatment": treatment}.get(term, term) for term in made.terms]
    rows = matched(numbers(made, names, made.std_error * sqrt(times)), run["terms"])
    counts = {"n_obs": (made.n_obs, run["nobs"])}
    if times != 1:
        return Comparison(rows, counts)
    p_values = dict(zip(names, made.tidy()["p_value"], strict=True))
    theirs = {term["term"]: term["p_value"] for term in run["terms"]}
    gap = goldens.distance([p_values[term] for term in theirs], list(theirs.values()), 1e-12)
    return Comparison(rows, counts, {"p-value": gap / P_DIGITS})


def linearmodels(name: str, run: dict[str, Any]) -> Comparison:
    """Return a run of PanelOLS, or of IV2SLS, IVLIML or IVGMM with dummies."""
    model, *_, covariance = run["id"].split("__")
    if model == "panelols_twoway":
        made = fit(name, "panel_ols", question(covariance)).with_vcov(GIVEN[covariance.removesuffix("_gd")])
        adjusted = (
            factor(made, "clustered", 0) / factor(made, "robust", 0) if covariance.endswith("_gd") else 1.0
        )
        return compared(made, run, times=adjusted)
    if model == "gmm":  # with these weights it is two-stage least squares
        model, covariance = "2sls", run["id"].split("__")[2]
    vcov = GIVEN[covariance.removesuffix("_debiased")]
    made = fit(name, "iv", question(run["id"]), method=model).with_vcov(vcov)
    adjusted = factor(made, vcov, all_effects(made)) if covariance.endswith("_debiased") else 1.0
    return compared(made, run, times=adjusted)


def fixest(name: str, run: dict[str, Any]) -> Comparison:
    """Return a run of feols with instruments, and its first stage, or without instruments."""
    model, covariance = run["id"].split("__")
    asked, vcov = question(run["id"]), GIVEN[covariance]
    clustered = vcov == "clustered"
    if model == "ols_fe":
        made = fit(name, "panel_ols", asked)
        return compared(made.with_vcov("CR1_fixest" if clustered else vcov), run)
    made = fit(name, "iv", asked).with_vcov(vcov)
    adjusted = factor(made, vcov, made.df_k if clustered else all_effects(made))
    whole = compared(made, run, "fit_d", adjusted)
    if not clustered:
        return whole
    first = fit(name, "iv", asked, stage="first").with_vcov("CR1_fixest")
    rows = matched(
        numbers(first, [f"first stage: {term}" for term in first.terms]), named(run["first_stage"])
    )
    return Comparison((*whole.rows, *rows), whole.counts | {"df_k": (made.df_k, run["df_k"])})


def named(first_stage: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [term | {"term": f"first stage: {term['term']}"} for term in first_stage]


def diagnosed(name: str, run: dict[str, Any]) -> Comparison:
    """Return a run of ivDiag or of ivmodel."""
    return ivmodel(name, run) if run["id"].startswith("ivmodel") else ivdiag(name, run)


def ivdiag(name: str, run: dict[str, Any]) -> Comparison:
    """Return the effective F and the Anderson-Rubin test and set of ivDiag, in its forms of both."""
    sample = question(run["id"]).sample(panel(name))
    columns = np.stack([sample.treatment, *sample.x_by_period, *sample.instruments_by_period], axis=2)
    rows = rows_of(sample, columns, sample.observed)
    (y, d, z), (n, k) = rows.less_covariates(), rows.z.shape
    clustered = "__cl_" in run["id"]
    cluster = rows.cluster if clustered else np.arange(n)
    reduced, first = (regressed(z, column, cluster) for column in (y, d))
    clusters = int(cluster.max()) + 1
    made = fit(name, "iv", question(run["id"]))
    # felm counts all fixed effects without clusters, and with them one parameter beside the regressors.
    by_cluster = clusters / (clusters - 1) * (n - 1) / (n - k - 2)
    size = by_cluster if clustered else factor(made, "robust", all_effects(made) + k - 1)
    # ivDiag weighs by products of the instruments less fixed effects, but not less covariates.
    f = effective_f(first[0], size * first[1].T @ first[1], rows.z.T @ rows.z)
    theirs = {term["term"]: term for term in run["terms"]}
    left = theirs["AR_F"]["df2"]
    adjusted = clusters / (clusters - 1) * (n - 1) / left if clustered else n / left
    statistic = float(reduced[0] @ np.linalg.solve(reduced[1].T @ reduced[1], reduced[0])) / k / adjusted
    critical = k * adjusted * stats.f.ppf(0.95, k, left)
    ((low, high),) = not_rejected(reduced[0], -first[0], reduced[1], -first[1], critical)
    step = GRID * made.with_vcov("clustered").std_error[0]
    ends = zip((low, high), run["AR_ci"], strict=True)
    ours = {"effective_F": (f, np.nan), "AR_F": (statistic, np.nan)}
    return Comparison(
        matched(ours, run["terms"]),
        digits={f"end {i}": abs(mine - their) / step for i, (mine, their) in enumerate(ends)},
    )


def regressed(
    z: NDArray[np.float64], y: NDArray[np.float64], cluster: NDArray[np.int64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return coefficients on columns, and the influence of clusters on them."""
    bread = np.linalg.inv(z.T @ z)
    coefficient = bread @ z.T @ y
    sums = np.zeros((int(cluster.max()) + 1, z.shape[1]))
    np.add.at(sums, cluster, z * (y - z @ coefficient)[:, None])
    return coefficient, sums @ bread


def ivmodel(name: str, run: dict[str, Any]) -> Comparison:
    """Return k-class estimators of ivmodel on demeaned columns, of which it counts those that are regressors."""
    asked = question(run["id"])
    of = {"OLS": ("panel_ols", {}), "TSLS": ("iv", {}), "LIML": ("iv", {"method": "liml"})}
    ours = {}
    for term, (design, options) in of.items():
        made = fit(name, design, asked if design == "iv" else asked.replace(instrument=None), **options)
        made = made.with_vcov("unadjusted")
        counted = factor(made, "unadjusted", 2)
        if design == "panel_ols":
            counted /= factor(made, "unadjusted", all_effects(made))
        ours[term] = (made.effect[0], made.std_error[0] * sqrt(counted))
    return Comparison(matched(ours, [term for term in run["terms"] if term["term"] in ours]))
