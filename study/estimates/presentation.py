"""Estimates as tables of numbers, and what the package maketables asks of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from study.core import FloatArray, QuestionError, two_sided_p

if TYPE_CHECKING:
    import pandas as pd

    from study.estimates.estimate import Estimate

LABELS = ("event_time", "cohort", "period")  # what a term may be of
NUMBERS = ["estimate", "std_error", "statistic", "df", "p_value", "conf_low", "conf_high"]  # of a tidy table


def numbers(fit: Estimate, level: float) -> dict[str, FloatArray]:
    """Return the numbers of :meth:`Estimate.tidy` by name, shape (K,) each."""
    half, statistic = fit.critical_value(level) * fit.std_error, fit.effect / fit.std_error
    degrees = np.where(np.isnan(fit.std_error), np.nan, fit.degrees_of_freedom)
    p_value = two_sided_p(statistic, fit.degrees_of_freedom)
    values = (fit.effect, fit.std_error, statistic, degrees, p_value, fit.effect - half, fit.effect + half)
    return dict(zip(NUMBERS, values, strict=True))


def tidy(fit: Estimate, level: float) -> pd.DataFrame:
    """Return one row a term; see :meth:`study.Estimate.tidy`."""
    import pandas as pd

    columns: dict[str, Any] = {name: getattr(fit, name) for name in LABELS}
    columns |= {} if fit.at is None else {fit.at_name: fit.at}
    columns |= {"outcome": fit.sample.question.outcome, "design": fit.design}
    table = pd.DataFrame({"term": fit.terms} | columns | numbers(fit, level))
    table.attrs["notes"] = list(fit.notes)
    return table


def rests_on(fit: Estimate) -> dict[str, float]:
    """Return the degrees of freedom of the headline and the clusters on its two sides; NaN if there is no headline."""
    names = ("df", "treated_clusters", "comparison_clusters")
    try:
        headline = fit.headline
    except QuestionError:
        return dict.fromkeys(names, np.nan)
    treated, compared = (float(number) for number in headline.leave_out.clusters[:, 0])
    return dict(zip(names, (float(numbers(headline, 0.95)["df"][0]), treated, compared), strict=True))


def glance(fit: Estimate) -> pd.DataFrame:
    """Return one row on what an estimate rests on; see :meth:`study.Estimate.glance`."""
    import pandas as pd

    sample, question = fit.sample, fit.sample.question
    facts = {
        "design": fit.design,
        "estimand": fit.estimand.value,
        "outcome": question.outcome,
        "event": question.event,
        "scale": question.scale,
        "nobs": fit.n_obs,
        "n_units": sample.n_units,
        "n_treated": sample.n_treated,
        "n_cohorts": len(sample.cohorts),
        "n_periods": len(sample.periods),
        "n_clusters": fit.n_clusters,
        "cluster": question.cluster or "unit",
        "vcov": fit.errors_by,
        **rests_on(fit),
        "n_terms": len(fit.terms),
        "n_fixed_effects": fit.n_fixed_effects,
        "seed": fit.seed,
        "panel": sample.panel.name,
        "panel_checksum": sample.panel_checksum,
    }
    return pd.DataFrame([facts])


def _of_plugin(name: str) -> property:
    """Return what the package maketables asks of an estimate, as :mod:`study.report.plugin` has it under a name."""

    def answer(fit: Estimate) -> Any:
        from study.report import plugin

        value = getattr(plugin, name)
        return value(fit) if callable(value) else value

    return property(answer)


class Presented:
    """What the package maketables asks of an estimate."""

    def __maketables_stat__(self: Any, key: str) -> int | float | str | None:
        """Return what the estimate rests on by maketables' key, None where it has none of it."""
        from study.report import plugin

        return plugin.statistic(self, key)

    __maketables_coef_table__ = _of_plugin("coefficient_table")
    __maketables_depvar__ = _of_plugin("outcome")
    __maketables_fixef_string__ = _of_plugin("fixed_effects")
    __maketables_vcov_info__ = _of_plugin("errors")
    __maketables_var_labels__ = _of_plugin("AVERAGES")
    __maketables_stat_labels__ = _of_plugin("LABELS")
    __maketables_default_stat_keys__ = _of_plugin("DEFAULTS")
