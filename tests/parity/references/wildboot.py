"""fwildclusterboot, summclust (Fischer) and sandwich (Zeileis) as standard errors, cr3 and wild_bootstrap of twfe."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from typing import Any

import goldens
import numpy as np
import pandas as pd
from goldens import distance

from references.comparison import Comparison, Row, errors_under
from study import Estimate, Panel, Question
from study.designs import find_design
from study.estimates.vcov.names import VcovName
from study.estimates.vcov.sandwich import small_sample_factor
from study.inference.leave_out import LeaveOut, cr3
from study.inference.wild import WildBootstrap, wild_bootstrap
from study.panel.question import Sample

DRAWS = 99_999
SIGMAS = 4
LEVEL = 0.95
SANDWICH: dict[str, VcovName] = {
    "HC0": "CR1",
    "HC1": "CR1_areg",
}  # cadjust=TRUE, and for HC1 (N-1)/(N-k) besides
CENTRES = {"CRV3": "estimate", "CRV3J": "mean"}
KINDS = {"11": "C", "31": "S", "13": "V", "33": "B"}
P_DIGITS = 1e-8


@cache
def sample(name: str) -> Sample:
    """Return the panel of units in states, or of states that are the units: all of them or eleven."""
    path = goldens.panel_file(name)
    data = pd.read_csv(path)
    by_state = "unit" not in data
    panel = Panel.from_long(
        data,
        unit="cluster" if by_state else "unit",
        time="time",
        first_treated="first_treated",
        outcomes="y",
        attributes=() if by_state else "cluster",
        name=name,
    )
    return Question("y", "first_treated", cluster=None if by_state else "cluster").sample(panel)


@cache
def fit(name: str) -> Estimate:
    return find_design("twfe")(sample(name))


@cache
def _wild(name: str, kind: str, weights: str, impose_null: bool) -> WildBootstrap:
    return wild_bootstrap(
        sample(name), "twfe", kind=kind, weights=weights, impose_null=impose_null, draws=DRAWS, seed=1
    )


def wildboot(panel: str, run: dict[str, Any]) -> Comparison:
    """Return a standard error, the leverages and effects without each cluster, or a bootstrap test."""
    which, _, *asked = run["id"].split("__")
    name = f"{panel}11" if which == "state_panel_11" else panel
    match asked:
        case ["sandwich_vcovCL", kind]:
            error = float(errors_under(fit(name), SANDWICH[kind])[0])
            return Comparison((_row(run, float(fit(name).effect[0]), error),))
        case ["summclust", kind]:
            left = cr3(sample(name), "twfe", centre=CENTRES[kind])
            return Comparison((_row(run, left.effect, left.std_error),))
        case ["summclust_leverage"]:
            return _leverages(cr3(sample(name), "twfe"), sample(name), run)
        case ["boottest_feols_rademacher"]:
            return _test(name, _wild(name, "C", "rademacher", True), run, "CR1")
        case ["boottest", weights, null]:
            return _test(name, _wild(name, "C", weights, null == "WCR11"), run, "CR1_areg")
        case ["boottest_type", kind]:
            return _test(name, _wild(name, KINDS[kind], "rademacher", True), run, "CR1_areg")
    raise KeyError(run["id"])


def _row(run: dict[str, Any], effect: float, error: float) -> Row:
    (theirs,) = run["estimates"]
    return Row("D", effect, error, theirs["estimate"], theirs["se"])


def _leverages(left: LeaveOut, of: Sample, run: dict[str, Any]) -> Comparison:
    """Compare by cluster; their leverage counts unit dummies, of which a cluster has as many as units."""
    order = np.argsort(left.clusters.astype(int))
    (reported,) = run["tidy"]
    low, high = left.interval(LEVEL)
    ours = {
        "leverage_g": (left.leverage + np.bincount(of.cluster))[order],
        "beta_jack": left.without[order],
        "partial_leverage": left.partial_leverage[order],
        "coef": [left.effect],
        "tstat": [left.statistic],
        "p_val": [left.p_value],
        "conf_int_l": [low],
        "conf_int_u": [high],
    }
    theirs = {name: run.get(name, [reported.get(name)]) for name in ours}
    rows = [
        Row((name, number), float(mine), np.nan, their, np.nan)
        for name in ours
        for number, (mine, their) in enumerate(zip(ours[name], theirs[name], strict=True))
    ]
    seen = np.bincount(of.cluster, of.observed.sum(axis=1)).astype(int)[order]
    counts = {f"N_G {g}": (int(n), m) for g, (n, m) in enumerate(zip(seen, run["N_G"], strict=True))}
    return Comparison((*rows, Row("se", left.std_error, np.nan, reported["se"], np.nan)), counts)


def _test(name: str, made: WildBootstrap, run: dict[str, Any], vcov: VcovName) -> Comparison:
    """Compare a test: t exactly, the p-value and the p-values of the interval's ends as the draws allow.

    Their t has the small-sample factor of ``vcov``: "CR1_areg" for lm, whose unit dummies are counted, "CR1" for
    feols. For kinds 13 and 33 it multiplies CRV3, which has one of its own, and only in the observed statistic: the
    draws do not have it, so that p-values are too large.
    """
    made_from = fit(name)
    df_k = {"n_obs": made_from.n_obs, "df_k": made_from.df_k, "n_fixed_effects": made_from.n_fixed_effects}
    factor = small_sample_factor(made.n_clusters, vcov, **df_k)
    drawn, t_stat = made.drawn, made.statistic
    if made.kind in ("V", "B"):
        t_stat, drawn = t_stat / np.sqrt(factor), replace(drawn, square=drawn.square * factor)
    else:
        t_stat *= np.sqrt(small_sample_factor(made.n_clusters, "CR1_fixest", **df_k) / factor)
    point = run.get("point", made.effect)
    rows = (
        Row("t_stat", t_stat, np.nan, run["t_stat"], np.nan),
        Row("point", made.effect, np.nan, point, np.nan),
    )
    draws = run.get("B_used", DRAWS)
    digits = {"p-value": _beyond(made, drawn, 0.0, run["p_val"], draws)}
    for end, null in zip(("low", "high"), run.get("conf_int", ()), strict=False):
        digits[f"p-value of the {end} end"] = _beyond(made, drawn, null, 1 - LEVEL, draws, at_end=True)
    counts = {"clusters": (made.n_clusters, run.get("N_G", made.n_clusters))}
    if made.enumerated:
        counts["patterns of signs"] = (made.draws, draws)
    return Comparison(rows, counts, digits)


def _beyond(
    made: WildBootstrap, drawn: Any, null: float, theirs: float, draws: int, at_end: bool = False
) -> float:
    """Return how far their p-value is from ours, as a share of what is allowed.

    They leave to rounding whether a draw that ties with the observed statistic is beyond it, as all draws with the same
    weight for all clusters do; so p-values with and without ties are both right. Enumerated p-values are exact and
    without ties; an end of an interval is where they step.
    """
    strict = drawn.p_value(made.effect - null, strict=True)
    if made.enumerated:
        return (
            distance([strict], [theirs], 0.0) / P_DIGITS if not at_end else abs(strict - theirs) * draws / 2
        )
    loose = drawn.p_value(made.effect - null)
    gap = max(strict - theirs, theirs - loose, 0.0)
    share = max(loose, theirs)
    return gap / (SIGMAS * np.sqrt(share * (1 - share) * (1 / draws + 1 / made.draws)))
