"""sun_abraham against a regression on dummies, and derivatives by weights."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import dense
import numpy as np
import pytest
import simulated

from study import Estimate, Question, estimate
from study.designs import find_design
from study.panel.question import Sample

sun_abraham = find_design("sun_abraham")
ASKED: list[dict[str, Any]] = [
    {},
    {"comparison": "never_treated", "cluster": "state"},
    {"anticipation": 1, "weights": "size", "cluster": "state"},
    {"covariates": ("moving", "drifting"), "comparison": "never_treated", "weights": "size"},
    {"covariates": ("moving",), "anticipation": 1, "cluster": "state"},
]


def on_dummies(sample: Sample) -> dense.Dense:
    """Regress on cohorts by period, unit and period dummies, and covariates."""
    at = dense.rows(sample, dense.compared(sample))
    others = np.hstack([dense.two_way(at), sample.x_varying[at]])
    return dense.least_squares(
        sample.y[at],
        dense.in_cells(sample, at, dense.cells_of_cohorts(sample)),
        others,
        sample.weights[at.unit],
        sample.cluster[at.unit],
    )


def event_weights(sample: Sample, fit: Estimate) -> np.ndarray:
    """Return what each effect weighs in the average of its event time, by unit-periods that are seen, (K, E)."""
    size = [
        sample.weights[(sample.first_treated == g) & sample.observed[:, int(t - sample.periods[0])]].sum()
        for g, t in zip(fit.cohort, fit.period, strict=True)
    ]
    same = fit.event_time[:, None] == np.unique(fit.event_time)
    weight = np.array(size)[:, None] * same
    return weight / weight.sum(axis=0)


@pytest.mark.parametrize("gaps", [0.0, 0.15])
@pytest.mark.parametrize("asked", ASKED, ids=str)
def test_equals_a_regression_on_dummies(asked: dict[str, Any], gaps: float) -> None:
    sample = Question("y", "event", **asked).sample(simulated.with_late_units(n=70, gaps=gaps))
    fit, slow = sun_abraham(sample), on_dummies(sample)
    cells = list(zip(fit.cohort[~fit.reference], fit.period[~fit.reference], strict=True))
    assert cells == dense.cells_of_cohorts(sample)
    np.testing.assert_allclose(fit.effect[~fit.reference], slow.effect, rtol=0, atol=1e-9)
    covariance = fit.covariance("CR0")[np.ix_(~fit.reference, ~fit.reference)]
    np.testing.assert_allclose(covariance, slow.covariance, rtol=0, atol=1e-9)
    factor = dense.fixest_factor(slow, fit.n_clusters, int(dense.compared(sample).sum()))
    errors = np.sqrt(factor * np.diag(slow.covariance))
    np.testing.assert_allclose(fit.with_vcov("CR1_fixest").std_error[~fit.reference], errors, rtol=1e-9)


@pytest.mark.parametrize("gaps", [0.0, 0.15])
def test_conditional_errors_of_averages_take_the_shares_as_fixed(gaps: float) -> None:
    question = Question("y", "event", weights="size", cluster="state")
    sample = question.sample(simulated.with_late_units(gaps=gaps))
    fit, slow = sun_abraham(sample, variance="conditional"), on_dummies(sample)
    weight = event_weights(sample, fit)
    regressed = weight[~fit.reference]
    average = fit.aggregate("event")
    np.testing.assert_allclose(average.effect, slow.effect @ regressed, rtol=0, atol=1e-9)
    np.testing.assert_allclose(
        average.covariance("CR0"), regressed.T @ slow.covariance @ regressed, rtol=0, atol=1e-9
    )


@pytest.mark.parametrize("scale", ["level", "proportional"])
@pytest.mark.parametrize("gaps", [0.0, 0.05])
@pytest.mark.parametrize("covariates", [(), ("moving",)])
def test_influence_is_the_derivative_by_unit_weights(
    gaps: float, scale: str, covariates: tuple[str, ...]
) -> None:
    question = Question("y", "event", weights="size", scale=scale, covariates=covariates)
    sample = question.sample(simulated.panel(n=90, gaps=gaps, level=9.0))
    simulated.check_influence(sample, sun_abraham, units=2)


def test_cells_of_nobody_and_a_base_that_nobody_is_seen_in_are_named() -> None:
    panel = simulated.panel(n=60, cohorts=(4, 6, 7))
    first, y = panel.first_treated["event"], panel.outcomes["y"].copy()
    y[first == 4, 5] = np.nan
    y[first == 6, 4] = np.nan  # the base of cohort 6
    fit = estimate(replace(panel, outcomes={"y": y}), Question("y", "event"), "sun_abraham")
    assert fit.notes == (
        "cohort 4 in 6 left out: no treated unit is observed",
        "cohort 6 in 1, 2, 3, 4, 6, 7, 8 left out: no comparison unit or no base period is observed",
        "cohort 6 in 5 left out: no treated unit is observed",
    )
    assert set(fit.cohort) == {4, 7}
    assert 6 not in fit.period[fit.cohort == 4]
