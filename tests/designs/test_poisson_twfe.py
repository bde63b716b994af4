"""poisson_twfe against a regression on dummies, and derivatives by weights."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import dense
import numpy as np
import pytest
import simulated

from study import Estimate, Question, QuestionError, estimate
from study.designs import find_design
from study.panel.question import Sample

poisson_twfe = find_design("poisson_twfe")
TERMS = ("treatment", "event_time")
ASKED: list[dict[str, Any]] = [
    {},
    {"anticipation": 1, "weights": "size", "cluster": "state"},
    {"covariates": ("moving", "drifting"), "cluster": "state"},
]


def regressors(sample: Sample, at: dense.Rows, fit: Estimate) -> np.ndarray:
    """Return which cells each term that is not a reference rests on, (m, K)."""
    first, time = sample.first_treated[at.unit], sample.periods[at.period]
    columns = []
    for e in fit.event_time[~fit.reference]:
        columns.append(sample.treatment[at] == 1 if np.isnan(e) else time - first == e)
    return np.column_stack(columns).astype(float)


def asked_of(asked: dict[str, Any], gaps: float, scale: str, n: int = 60) -> Sample:
    panel = simulated.counts(simulated.with_late_units(n=n, gaps=gaps))
    return Question("y", "event", scale=scale, **asked).sample(panel)


def test_a_period_in_which_every_outcome_is_zero_is_left_out() -> None:
    panel, question = simulated.counts(simulated.panel(n=60)), Question("y", "event", scale="proportional")
    fits = []
    for value in (0.0, np.nan):
        y = panel.outcomes["y"].copy()
        y[:, 2] = value
        fits.append(estimate(replace(panel, outcomes={"y": y}), question, "poisson_twfe"))
    zero, unobserved = fits
    np.testing.assert_allclose(zero.effect, unobserved.effect, rtol=1e-9)
    np.testing.assert_allclose(zero.std_error, unobserved.std_error, rtol=1e-7)
    assert zero.n_obs == unobserved.n_obs == 60 * 7


@pytest.mark.parametrize("gaps", [0.0, 0.15])
@pytest.mark.parametrize("terms", TERMS)
@pytest.mark.parametrize("asked", ASKED, ids=str)
def test_equals_a_poisson_regression_on_dummies(asked: dict[str, Any], terms: str, gaps: float) -> None:
    sample = asked_of(asked, gaps, "proportional")
    fit = poisson_twfe(sample, terms=terms)
    assert set(fit.event_time[fit.reference]) <= {-1 - sample.question.anticipation}
    assert fit.reference.any() == (terms != "treatment")
    at = dense.rows(sample, np.nansum(sample.y, axis=1) > 0)
    slow = dense.poisson(
        sample.y[at],
        regressors(sample, at, fit),
        np.hstack([dense.two_way(at), sample.x_varying[at]]),
        sample.weights[at.unit],
        sample.cluster[at.unit],
    )
    used = ~fit.reference
    np.testing.assert_allclose(np.log1p(fit.effect[used]), slow.effect, rtol=0, atol=1e-9)
    ratio = np.exp(slow.effect)
    covariance = slow.covariance * np.outer(ratio, ratio)
    np.testing.assert_allclose(fit.covariance("CR0")[np.ix_(used, used)], covariance, rtol=1e-7, atol=1e-9)
    factor = dense.fixest_factor(slow, fit.n_clusters, len(np.unique(at.unit)))
    errors = np.sqrt(factor * np.diag(covariance))
    np.testing.assert_allclose(fit.with_vcov("CR1_fixest").std_error[used], errors, rtol=1e-8)
    assert fit.n_obs == len(at.unit)

    level = poisson_twfe(asked_of(asked, gaps, "level"), terms=terms)
    weight = regressors(sample, at, fit) * sample.weights[at.unit][:, None]
    mean = sample.y[at] @ weight / weight.sum(axis=0)
    np.testing.assert_allclose(level.effect[used], mean * (1 - 1 / ratio), rtol=0, atol=1e-8)


@pytest.mark.parametrize("scale", ["level", "proportional"])
@pytest.mark.parametrize("gaps", [0.0, 0.1])
@pytest.mark.parametrize("terms", TERMS)
def test_influence_is_the_derivative_by_unit_weights(terms: str, gaps: float, scale: str) -> None:
    sample = asked_of({"covariates": ("moving",), "weights": "size"}, gaps, scale, n=80)
    simulated.check_influence(sample, lambda s: poisson_twfe(s, terms=terms), units=2)


def test_units_and_event_times_without_any_outcome_are_left_out_and_named() -> None:
    panel = simulated.counts(simulated.panel(n=60, cohorts=(4, 6)))
    first, y = panel.first_treated["event"], panel.outcomes["y"].copy()
    since = panel.periods - first[:, None]
    y[[3, 5]] = 0.0
    y[since == 1] = 0.0
    y[since == -2] = 0.0
    made = replace(panel, outcomes={"y": y})
    fit = estimate(made, Question("y", "event"), "poisson_twfe", terms="event_time")
    assert fit.notes[:2] == (
        "2 units left out: y is zero in all periods",
        "event -2, event 1 left out: y is zero for all of the treated",
    )
    assert not {-2, 1} & set(fit.event_time)
    assert fit.n_obs == 58 * 8 - np.sum((since == 1) | (since == -2)) + 2 * np.isfinite(first[[3, 5]]).sum()
    without = replace(simulated.subset(made, ~np.isin(np.arange(60), [3, 5])))
    alone = estimate(without, Question("y", "event"), "poisson_twfe", terms="event_time")
    np.testing.assert_allclose(alone.effect, fit.effect, rtol=1e-9)
    np.testing.assert_allclose(alone.std_error, fit.std_error, rtol=1e-9)


def test_no_effect_is_estimated_of_an_outcome_that_is_zero_for_everybody_or_for_all_treated_cells() -> None:
    panel = simulated.counts(simulated.panel(n=40))
    with pytest.raises(
        QuestionError, match=r"^poisson_twfe: y is zero for everybody, so its mean has no log"
    ):
        estimate(replace(panel, outcomes={"y": np.zeros((40, 8))}), Question("y", "event"), "poisson_twfe")
    since = panel.periods >= panel.first_treated["event"][:, None]
    none = replace(panel, outcomes={"y": np.where(since, 0.0, panel.outcomes["y"] + 1)})
    with pytest.raises(
        QuestionError,
        match=r"^poisson_twfe: no effect can be estimated: treatment left out: y is zero for all of the treated\.$",
    ):
        estimate(none, Question("y", "event"), "poisson_twfe")
