"""etwfe against regressions on dummies, and derivatives by weights."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, NamedTuple

import dense
import numpy as np
import pytest
import simulated

from study import Question, QuestionError, estimate
from study.designs import find_design
from study.panel.question import Sample

etwfe = find_design("etwfe")
ASKED: list[dict[str, Any]] = [
    {},
    {"comparison": "never_treated", "cluster": "state"},
    {"anticipation": 1, "weights": "size", "cluster": "state"},
    {"covariates": ("x1", "x2"), "comparison": "never_treated", "weights": "size"},
    {"covariates": ("x2",), "anticipation": 1, "cluster": "state"},
]


class Columns(NamedTuple):
    """Observations, the cells with an effect, those effects' columns by cell and feature, and all others."""

    at: dense.Rows
    cells: list[tuple[float, int]]
    features: np.ndarray
    effects: np.ndarray
    others: np.ndarray


def columns(sample: Sample, effects: str, used: np.ndarray) -> Columns:
    """Return cohorts by period, periods, and cohorts or units, each times the constant and the covariates."""
    at = dense.rows(sample, dense.compared(sample) & used)
    leads = sample.question.comparison == "never_treated"
    cells = dense.cells_of_cohorts(sample, -np.inf if leads else -sample.question.anticipation)
    features = np.column_stack([np.ones(len(at.unit)), sample.x_baseline[at.unit]])

    def by_feature(x: np.ndarray) -> np.ndarray:
        return (x[:, :, None] * features[:, None, :]).reshape(len(x), -1)

    slopes = [by_feature(dense.dummies(at.period)[:, 1:])]
    if effects == "cohort":
        slopes.append(by_feature(dense.dummies(np.nan_to_num(sample.first_treated, nan=np.inf)[at.unit])))
    else:
        slopes.append(dense.dummies(at.unit))
    return Columns(at, cells, features, by_feature(dense.in_cells(sample, at, cells)), np.hstack(slopes))


def means(sample: Sample, made: Columns, values: np.ndarray) -> np.ndarray:
    """Return weighted means of values of observations, (m, p), over each of the cells, (K, p)."""
    weight = dense.in_cells(sample, made.at, made.cells) * sample.weights[made.at.unit][:, None]
    return (weight / weight.sum(axis=0)).T @ values


@pytest.mark.parametrize("gaps", [0.0, 0.1])
@pytest.mark.parametrize("effects", ["cohort", "unit"])
@pytest.mark.parametrize("family", ["gaussian", "poisson"])
@pytest.mark.parametrize("asked", ASKED, ids=str)
def test_equals_a_regression_on_dummies(
    asked: dict[str, Any], family: str, effects: str, gaps: float
) -> None:
    panel = simulated.with_late_units(n=90, gaps=gaps)
    panel = simulated.counts(panel) if family == "poisson" else panel
    sample = Question("y", "event", **asked).sample(panel)
    fit = etwfe(sample, family=family, effects=effects, variance="conditional")
    empty = (np.nansum(sample.y, axis=1) == 0) & (family == "poisson") & (effects == "unit")
    made = columns(sample, effects, ~empty)
    regress = dense.poisson if family == "poisson" else dense.least_squares
    x, k = np.hstack([made.effects, made.others]), made.effects.shape[1]
    slow = regress(sample.y[made.at], x, x[:, :0], sample.weights[made.at.unit], sample.cluster[made.at.unit])
    without = x * (np.arange(x.shape[1]) >= k)
    if family == "gaussian":
        effect = means(sample, made, (x - without) @ slow.effect[:, None])
        gradient = means(sample, made, x - without)
    else:
        treated, untreated = np.exp(x @ slow.effect)[:, None], np.exp(without @ slow.effect)[:, None]
        effect = means(sample, made, treated - untreated)
        gradient = means(sample, made, treated * x - untreated * without)
    used = ~fit.reference
    assert list(zip(fit.cohort[used], fit.period[used], strict=True)) == made.cells
    np.testing.assert_allclose(fit.effect[used], effect[:, 0], rtol=0, atol=1e-9)
    covariance = gradient @ slow.covariance @ gradient.T
    np.testing.assert_allclose(fit.covariance("CR0")[np.ix_(used, used)], covariance, rtol=1e-7, atol=1e-9)
    nested = len(np.unique(made.at.unit)) if effects == "unit" else 0
    errors = np.sqrt(dense.fixest_factor(slow, fit.n_clusters, nested) * np.diag(covariance))
    np.testing.assert_allclose(fit.with_vcov("CR1_fixest").std_error[used], errors, rtol=1e-7)


@pytest.mark.parametrize("scale", ["level", "proportional"])
@pytest.mark.parametrize("gaps", [0.0, 0.05])
@pytest.mark.parametrize("effects", ["cohort", "unit"])
@pytest.mark.parametrize("family", ["gaussian", "poisson"])
@pytest.mark.parametrize("asked", [{}, {"covariates": ("x1", "x2"), "comparison": "never_treated"}], ids=str)
def test_influence_is_the_derivative_by_unit_weights(
    asked: dict[str, Any], family: str, effects: str, gaps: float, scale: str
) -> None:
    panel = simulated.panel(n=90, gaps=gaps, level=9.0 if family == "gaussian" else 0.0)
    panel = simulated.counts(panel) if family == "poisson" else panel
    sample = Question("y", "event", weights="size", scale=scale, **asked).sample(panel)
    simulated.check_influence(sample, lambda s: etwfe(s, family=family, effects=effects), units=2)


@pytest.mark.parametrize("scale", ["proportional", "level"])
@pytest.mark.parametrize("effects", ["cohort", "unit"])
@pytest.mark.parametrize("comparison", ["never_treated", "not_yet_treated"])
def test_a_cohort_without_outcomes_before_treatment_has_no_poisson_effect_and_changes_no_other(
    comparison: Any, effects: str, scale: str
) -> None:
    panel = simulated.counts(simulated.panel(n=100, seed=1, level=2.0))
    y, four = panel.outcomes["y"].copy(), panel.first_treated["event"] == 4
    y[four, :3] = 0.0
    y[four, 6] = 0.0
    question = Question("y", "event", scale=scale, comparison=comparison)
    with_zeros = replace(panel, outcomes={"y": y})
    fit = estimate(with_zeros, question, "etwfe", family="poisson", effects=effects)
    assert 4 not in fit.cohort
    assert np.isfinite(fit.effect).all()
    (note,) = fit.notes
    assert note.startswith("cohort 4 in ")
    assert "left out: y is zero in all that is seen of its base" in note
    if comparison == "never_treated":
        without = estimate(
            simulated.subset(with_zeros, ~four), question, "etwfe", family="poisson", effects=effects
        )
        np.testing.assert_allclose(fit.effect, without.effect, atol=1e-8)


def test_a_period_without_outcomes_of_comparison_units_has_no_poisson_effect() -> None:
    panel = simulated.counts(simulated.panel(n=100, seed=1, level=2.0))
    y, first = panel.outcomes["y"].copy(), panel.first_treated["event"]
    y[np.isnan(first) | (first == 4), 7] = 0.0
    question = Question("y", "event", scale="proportional")
    fit = estimate(replace(panel, outcomes={"y": y}), question, "etwfe", family="poisson")
    assert 8 not in fit.period
    assert {note.split(" left out")[0] for note in fit.notes} == {f"cohort {g} in 8" for g in (4, 6, 7)}


def test_poisson_effects_do_not_depend_on_the_unit_of_the_outcome() -> None:
    panel = simulated.counts(simulated.panel(n=60, level=2.0))
    question = Question("y", "event", covariates=("x1",))
    for effects in ("cohort", "unit"):
        plain, large = (
            etwfe(
                question.sample(replace(panel, outcomes={"y": panel.outcomes["y"] * factor})),
                family="poisson",
                effects=effects,
            )
            for factor in (1.0, 1e9)
        )
        assert large.terms == plain.terms
        np.testing.assert_allclose(large.effect, 1e9 * plain.effect, rtol=1e-9)


def test_a_period_in_which_no_comparison_unit_has_any_outcome_is_left_out_and_named() -> None:
    panel = simulated.counts(simulated.panel(n=60, level=2.0, cohorts=(4, 6)))
    y, first = panel.outcomes["y"].copy(), panel.first_treated["event"]
    y[np.isnan(first), 7] = 0.0
    empty = etwfe(Question("y", "event").sample(replace(panel, outcomes={"y": y})), family="poisson")
    y[:, 7] = np.nan
    unseen = etwfe(Question("y", "event").sample(replace(panel, outcomes={"y": y})), family="poisson")
    assert empty.terms == unseen.terms
    why = "y is zero in all that is seen of its base, or of its comparison units then"
    assert f"cohort 4 in 8 left out: {why}" in empty.notes
    np.testing.assert_allclose(empty.effect, unseen.effect, rtol=1e-9)


def test_a_cell_that_is_identified_only_at_its_cohort_s_mean_covariate_has_no_estimate() -> None:
    panel = simulated.panel(n=60, cohorts=(4,))
    treated = np.flatnonzero(panel.first_treated["event"] == 4)
    x = np.ones(panel.n_units)
    x[treated] = np.where(np.arange(len(treated)) % 2 == 0, 0.0, 2.0)
    x[treated[len(treated) // 2 * 2 :]] = 1.0  # so that their mean is that of all others, 1
    panel = replace(panel, covariates={"x": np.outer(x, np.ones(8))})
    with pytest.raises(QuestionError, match="no effect can be estimated: cohort 4 in 4, 5, 6, 7, 8 left out"):
        etwfe(Question("y", "event", covariates=("x",)).sample(panel))


def test_clusters_of_units_that_are_not_in_the_regression_are_not_counted() -> None:
    panel, out = simulated.counts(simulated.panel(n=60)), np.arange(60) % 10 == 0
    zero = replace(panel, outcomes={"y": np.where(out[:, None], 0.0, panel.outcomes["y"])})
    assert etwfe(Question("y", "event").sample(zero), family="poisson", effects="unit").n_clusters == 54
    y, x = panel.outcomes["y"].copy(), panel.covariates["moving"].copy()
    y[out, ::2] = x[out, 1::2] = np.nan
    never_both = replace(panel, outcomes={"y": y}, covariates={"moving": x})
    fit = find_design("sun_abraham")(Question("y", "event", covariates=("moving",)).sample(never_both))
    assert (fit.n_clusters, fit.sample.n_units) == (54, 60)
