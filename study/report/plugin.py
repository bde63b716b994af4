"""What the package maketables asks of an estimate, so that one table can hold estimates of several packages.

maketables writes texts into LaTeX as they are: names of this package have no underscores here, and for outcomes or
covariates that have some, give ``ETable`` its ``labels``. It prints three decimals, which of effects such as 1e-8 leave
zeros: there, give it ``coef_fmt="b:.3g \\n (se:.3g)"``.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import pandas as pd

from study.core import decimals
from study.designs import find_design
from study.estimates import Estimate
from study.report.columns import UNCLUSTERED


def _detectable(fit: Estimate) -> float | str | None:
    """Return the minimum detectable effect of the only average or coefficient; a path has one for each term.

    One that maketables would print as zero is a text.
    """
    if fit.estimand.has_path and len(fit.terms) > 1:
        return None
    smallest = float(fit.headline.minimum_detectable_effect()[0])
    return smallest if decimals(3, smallest) <= 3 else f"{smallest:.3g}"


# What an estimate rests on, by key: its label and how it is read.
STATISTICS: dict[str, tuple[str, Callable[[Estimate], int | float | str | None]]] = {
    "n_units": ("Units", lambda fit: fit.sample.n_units),
    "n_treated": ("Units first treated in the window", lambda fit: fit.sample.n_treated),
    "n_clusters": ("Clusters", lambda fit: fit.n_clusters),
    "se_type": ("Standard errors", lambda fit: f"{fit.errors_by.replace('_', ' ')}, by: {cluster(fit)}"),
    "mde": ("Minimum detectable effect", _detectable),
    "estimand": ("Estimand", lambda fit: fit.estimand.value),
    "design": ("Design", lambda fit: find_design(fit.design).title),
    "scale": ("Scale", lambda fit: fit.sample.question.scale),
    "seed": ("Seed", lambda fit: fit.seed),
}
LABELS = {key: label for key, (label, _) in STATISTICS.items()}
# Labels of averages only: a table shares labels, and others could rename another model's variables.
AVERAGES = {
    "event_average": "Average over event times",
    "treated_average": "Average over treated cells",
    "cohort_average": "Average over cohorts",
    "calendar_average": "Average over periods",
}
DEFAULTS = ["N", "n_units", "n_treated", "n_clusters", "mde", "se_type"]
LEVELS = (95, 90)


def coefficient_table(fit: Estimate) -> pd.DataFrame:
    """Return one row a term, as maketables names columns.

    Parameters
    ----------
    fit : Estimate
        Its K terms are the rows, all of them; ``fit.headline`` and ``fit.aggregate`` have fewer.

    Returns
    -------
    DataFrame
        By "Coefficient": b, se, t, p, and pointwise intervals of 95% and 90% (ci95l, ci95u, ci90l, ci90u). A
        reference term has the estimate 0 and NaN for all others.
    """
    names = {"term": "Coefficient", "estimate": "b", "std_error": "se", "statistic": "t", "p_value": "p"}
    table = fit.tidy().rename(columns=names).set_index("Coefficient")[["b", "se", "t", "p"]]
    for level in LEVELS:
        table[[f"ci{level}l", f"ci{level}u"]] = fit.tidy(level / 100)[["conf_low", "conf_high"]].to_numpy()
    return table


def statistic(fit: Estimate, key: str) -> int | float | str | None:
    """Return what an estimate rests on by maketables' or this package's key, None where it has none of it.

    Parameters
    ----------
    fit : Estimate
    key : str
        "N" (unit-periods), "r2" (of a regression by least squares), "se_type", or a key of :data:`LABELS`.
    """
    if key == "N":
        return fit.n_obs
    if key == "r2":
        return None if math.isnan(fit.r_squared) else fit.r_squared
    return STATISTICS[key][1](fit) if key in STATISTICS else None


def outcome(fit: Estimate) -> str:
    """Return the outcome on the scale of the effects, so that unlike scales do not share a heading."""
    return fit.sample.question.effect_scale.quantity


def fixed_effects(fit: Estimate) -> str | None:
    """Return the fixed effects of a regression that has unit effects, which always has period effects too."""
    return "unit+period" if fit.n_fixed_effects else None


def cluster(fit: Estimate) -> str:
    """Return what standard errors are clustered by."""
    return "none" if fit.vcov in UNCLUSTERED else fit.sample.question.cluster or "unit"


def errors(fit: Estimate) -> dict[str, str]:
    """Return the covariance estimator, and what errors are clustered by."""
    return {"vcov_type": fit.errors_by, "clustervar": cluster(fit)}
