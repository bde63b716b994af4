"""twfe and event_study against dense dummies, linearmodels and derivatives by weights."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import searching
import simulated
from linearmodels.panel import PanelOLS

from study import Panel, Question, QuestionError, estimate
from study.designs import find_design
from study.panel.question import Sample


def dense_regression(sample: Sample, regressors: np.ndarray) -> np.ndarray:
    """Return coefficients from dummies for every unit and period, shape (k,)."""
    seen = sample.observed & ~np.isnan(regressors).any(axis=0)
    unit, period = np.nonzero(seen)
    dummies = np.hstack(
        [
            unit[:, None] == np.arange(sample.n_units),
            period[:, None] == np.arange(1, len(sample.periods)),
        ]
    )
    x = np.hstack([regressors[:, unit, period].T, dummies])
    root = np.sqrt(sample.weights[unit])
    solution = np.linalg.lstsq(x * root[:, None], sample.y[unit, period] * root, rcond=None)[0]
    return solution[: len(regressors)]


@pytest.mark.parametrize("gaps", [0.0, 0.2])
@pytest.mark.parametrize("weights", [None, "size"])
def test_twfe_equals_a_regression_on_dummies(gaps: float, weights: str | None) -> None:
    question = Question("y", "event", covariates=("moving",), weights=weights)
    sample = question.sample(simulated.panel(n=60, gaps=gaps))
    regressors = np.stack([sample.treatment, sample.x_varying[:, :, 0]])
    fit = find_design("twfe")(sample)
    np.testing.assert_allclose(fit.effect, dense_regression(sample, regressors), rtol=0, atol=1e-9)


@pytest.mark.parametrize("anticipation", [0, 1])
def test_event_study_equals_a_regression_on_dummies(anticipation: int) -> None:
    question = Question("y", "event", anticipation=anticipation)
    sample = question.sample(simulated.panel(n=60, gaps=0.2))
    fit = find_design("event_study")(sample)
    times = fit.event_time[~fit.reference]
    assert list(fit.event_time[fit.reference]) == [-1 - anticipation]
    since = sample.periods - sample.first_treated[:, None]
    regressors = (since[None] == times[:, None, None]).astype(float)
    expected = dense_regression(sample, regressors)
    np.testing.assert_allclose(fit.effect[~fit.reference], expected, rtol=0, atol=1e-9)


@pytest.mark.parametrize("cluster", [None, "state"])
@pytest.mark.parametrize("gaps", [0.0, 0.2])
def test_twfe_standard_errors_equal_linearmodels(cluster: str | None, gaps: float) -> None:
    panel = simulated.panel(n=80, gaps=gaps)
    fit = estimate(panel, Question("y", "event", covariates=("moving",), cluster=cluster), "twfe")
    index = pd.MultiIndex.from_product([panel.units, panel.periods])
    data = pd.DataFrame(
        {
            "y": panel.outcomes["y"].ravel(),
            "d": fit.sample.treatment.ravel(),
            "x": panel.covariates["moving"].ravel(),
            "cluster": np.repeat(fit.sample.cluster, len(panel.periods)),
        },
        index=index,
    ).dropna()
    model = PanelOLS(data["y"], data[["d", "x"]], entity_effects=True, time_effects=True)
    theirs = model.fit(
        cov_type="clustered", clusters=data[["cluster"]], debiased=False, auto_df=False, count_effects=False
    )
    np.testing.assert_allclose(fit.effect, theirs.params, rtol=0, atol=1e-9)
    np.testing.assert_allclose(fit.covariance("CR0"), theirs.cov, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("scale", ["level", "proportional"])
@pytest.mark.parametrize("design", ["twfe", "event_study"])
def test_influence_is_the_derivative_by_unit_weights(design: str, scale: str) -> None:
    question = Question("y", "event", scale=scale, weights="size")
    sample = question.sample(simulated.panel(n=70, gaps=0.1, level=9.0))
    simulated.check_influence(sample, find_design(design))


def test_twfe_takes_a_treatment_that_switches_off() -> None:
    rng = np.random.default_rng(0)
    panel = simulated.panel(n=50)
    path = (rng.random(panel.outcomes["y"].shape) < 0.4).astype(float)
    switching = replace(panel, first_treated={}, treatment={"grant": path})
    sample = Question("y", "grant").sample(switching)
    fit = find_design("twfe")(sample)
    np.testing.assert_allclose(fit.effect, dense_regression(sample, path[None]), rtol=0, atol=1e-9)


def one_and_all_treated() -> Panel:
    """Return a panel whose units are all treated, at different times."""
    panel = simulated.panel(n=60)
    dates = np.nan_to_num(panel.first_treated["event"], nan=5.0)
    return replace(panel, first_treated={"event": dates})


def test_event_study_refuses_event_times_that_fixed_effects_explain() -> None:
    with pytest.raises(
        QuestionError,
        match=r"event_study: event -6, event -5, .* are explained by the fixed effects and the other regressors; put "
        r"distant event times together \(bin_at of event_study\), or use callaway_",
    ):
        estimate(one_and_all_treated(), Question("y", "event"), "event_study")
    with pytest.raises(QuestionError, match=r"event_study: x1 is .* the other regressors; leave it out"):
        estimate(simulated.panel(), Question("y", "event", covariates=("x1",)), "event_study")
    binned = estimate(one_and_all_treated(), Question("y", "event"), "event_study", bin_at=2)
    assert np.isfinite(binned.effect).all()


@pytest.mark.parametrize("bin_at", [0, -3])
def test_event_study_refuses_a_bin_below_one(bin_at: int) -> None:
    with pytest.raises(
        QuestionError, match=f"event_study: bin_at is {bin_at}; it must be a whole number, at least 1"
    ):
        estimate(simulated.panel(), Question("y", "event"), "event_study", bin_at=bin_at)


def test_twfe_refuses_a_covariate_that_does_not_vary_within_units_by_name() -> None:
    with pytest.raises(QuestionError, match="twfe: x1 is explained by the fixed effects"):
        estimate(simulated.panel(), Question("y", "event", covariates=("x1",)), "twfe")


def test_a_static_coefficient_is_not_aggregated_but_is_its_own_headline() -> None:
    fit: Any = estimate(simulated.panel(), Question("y", "event", covariates=("moving",)), "twfe")
    assert fit.terms == ("treatment", "moving")
    assert fit.headline.terms == ("treatment",)
    with pytest.raises(QuestionError, match="twfe: its term is a coefficient"):
        fit.aggregate("event_average")


@pytest.mark.search
@pytest.mark.parametrize("design", ["twfe", "event_study"])
def test_intervals_of_clusters_cover_at_their_level_where_the_designs_assumptions_hold(design: str) -> None:
    rng = np.random.default_rng(20241124)
    n, n_draws, covered = 80, searching.samples(300, 500), 0
    source = simulated.panel(n=n)
    group, question = (
        np.arange(n) % 40,
        Question("y", "event", average="event_average", horizon=2, cluster="group"),
    )
    for _ in range(n_draws):
        first = rng.choice([np.nan, *simulated.COHORTS], size=n)
        since = simulated.PERIODS - first[:, None]
        growth = 0.0 if design == "twfe" else np.maximum(since, 0.0) / 2
        size = 1 + 0.5 * rng.normal(size=(n, 1))
        shocks = np.cumsum(rng.normal(size=(group.max() + 1, len(simulated.PERIODS))), axis=1)[group]
        y = rng.normal(size=(n, 1)) + 0.3 * simulated.PERIODS + np.where(since >= 0, size * (1 + growth), 0.0)
        made = replace(
            source,
            outcomes={"y": y + 0.4 * shocks + 0.5 * rng.normal(size=y.shape)},
            first_treated={"event": first},
            attributes={"group": group.astype(str)},
            covariates={},
        )
        fit = estimate(made, question, design).headline
        truth = 1.0 if design == "twfe" else 1.5
        covered += abs(fit.effect[0] - truth) <= fit.critical_value() * fit.std_error[0]
    assert abs(covered / n_draws - 0.95) <= 3 * np.sqrt(0.95 * 0.05 / n_draws)


def test_the_mean_that_a_proportional_effect_divides_by_is_of_cells_with_covariates() -> None:
    rng = np.random.default_rng(0)
    panel = simulated.panel(n=50, level=9.0)
    path = (rng.random(panel.outcomes["y"].shape) < 0.4).astype(float)
    moving = np.where(rng.random(path.shape) < 0.2, np.nan, panel.covariates["moving"])
    switching = replace(panel, first_treated={}, treatment={"grant": path}, covariates={"moving": moving})
    question = Question("y", "grant", covariates=("moving",), scale="proportional")
    fit = estimate(switching, question, "twfe")
    mean = panel.outcomes["y"][(path == 1) & ~np.isnan(moving)].mean()
    level = estimate(switching, question.replace(scale="level"), "twfe").effect[0]
    assert fit.effect[0] == pytest.approx(level / (mean - level), rel=1e-12)


def test_event_study_refuses_treated_units_that_are_seen_at_the_reference_only() -> None:
    panel = simulated.panel(n=40, cohorts=(4,))
    y, treated = panel.outcomes["y"].copy(), panel.first_treated["event"] == 4
    y[np.ix_(treated, np.arange(8) != 2)] = np.nan
    with pytest.raises(
        QuestionError, match="no effect can be estimated: treated units are seen at event time -1"
    ):
        estimate(replace(panel, outcomes={"y": y}), Question("y", "event"), "event_study")


def test_cohorts_that_an_event_time_is_not_of_are_not_among_the_treated_whose_number_its_error_rests_on() -> (
    None
):
    rng, n = np.random.default_rng(5), 24
    first = np.repeat([4.0, 6.0, 7.0, 8.0, np.nan], [3, 3, 3, 3, 12])
    panel = replace(
        simulated.panel(n), outcomes={"y": rng.normal(size=(n, 8))}, first_treated={"event": first}
    )
    fit, *without = (
        estimate(part, Question("y", "event"), "event_study").effect
        for part in (panel, *(simulated.subset(panel, np.arange(n) != i) for i in range(n)))
    )
    error = np.sqrt(np.sum((np.array(without) - fit) ** 2, axis=0))
    ours = estimate(panel, Question("y", "event"), "event_study")
    assert ours.std_error[~ours.reference] == pytest.approx(error[~ours.reference], rel=0.1)
