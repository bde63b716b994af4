"""negative_weights against dense regressions, simulated cell effects and the optimisation that Corollary 1 solves."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import simulated
from scipy.optimize import nnls

from study import Panel, Question, QuestionError, estimate
from study.diagnostics import Finding
from study.diagnostics.two_way_weights import negative_weights, sigma_opposite, sigma_zero
from study.panel.question import Sample

ASKED = Question("y", "event", min_cohort_size=1)
SETTINGS: list[dict[str, Any]] = [
    {},
    {"weights": "size"},
    {"anticipation": 1},
    {"covariates": ("moving", "drifting")},
    {"covariates": ("moving",), "weights": "size", "anticipation": 1},
]


def weighted(panel: Panel, question: Question = ASKED) -> Finding:
    return negative_weights(question.sample(panel))


def by_cell(sample: Sample, seed: int = 0) -> tuple[np.ndarray, dict[tuple[float, float], float]]:
    """Return effects that differ by cohort and period in no order, by unit and period and as a dict."""
    rng = np.random.default_rng(seed)
    effects = {(g, t): float(rng.normal()) for g in sample.cohorts for t in sample.periods}
    assert sample.first_treated is not None
    drawn = [[effects.get((g, t), 0.0) for t in sample.periods] for g in sample.first_treated]
    return np.array(drawn) * sample.treatment, effects


@pytest.mark.parametrize("gaps", [0.0, 0.15])
@pytest.mark.parametrize("fields", SETTINGS)
def test_the_weighted_sum_of_true_cell_effects_is_the_coefficient_where_nothing_else_moves_the_outcome(
    fields: dict[str, Any], gaps: float
) -> None:
    question = ASKED.replace(**fields)
    panel = simulated.with_late_units(n=90, gaps=gaps)
    sample = question.sample(panel)
    drawn, effects = by_cell(sample)
    rng = np.random.default_rng(3)
    y = 10 * rng.normal(size=(sample.n_units, 1)) + 5 * rng.normal(size=len(sample.periods)) + drawn
    for k, covariate in enumerate(sample.x_by_period):
        y = y + (k + 2) * np.nan_to_num(covariate)
    y = np.where(np.isnan(sample.y), np.nan, y)
    exact = replace(sample, y=y)
    made = negative_weights(exact)
    cells = made.frame
    truth = np.array([effects[g, t] for g, t in zip(cells["cohort"], cells["period"], strict=True)])
    assert cells["weight"].sum() == pytest.approx(1, abs=1e-12)
    assert cells["share"].sum() == pytest.approx(1, abs=1e-12)
    assert cells["weight"] @ truth == pytest.approx(made["coefficient"], abs=1e-9)


@pytest.mark.parametrize("gaps", [0.0, 0.15])
@pytest.mark.parametrize("fields", SETTINGS)
def test_weights_and_shares_are_those_of_a_regression_of_treatment_on_dummies(
    fields: dict[str, Any], gaps: float
) -> None:
    sample = ASKED.replace(**fields).sample(simulated.with_late_units(n=60, gaps=gaps))
    cells = negative_weights(sample).frame
    seen = sample.observed & ~np.isnan(sample.x_varying).any(axis=2)
    unit, period = np.nonzero(seen)
    dummies = [unit[:, None] == np.arange(sample.n_units), period[:, None] == np.arange(len(sample.periods))]
    x = np.hstack([*dummies, sample.x_varying[unit, period]]).astype(float)
    root, d = np.sqrt(sample.weights[unit]), sample.treatment[unit, period]
    residual = d - x @ np.linalg.lstsq(x * root[:, None], d * root, rcond=None)[0]
    assert sample.first_treated is not None
    w, treated = sample.weights[unit], d == 1
    total = (w * residual)[treated].sum()
    columns = (cells[name] for name in ("cohort", "period", "share", "weight"))
    for g, t, share, weight in zip(*columns, strict=True):
        cell = (sample.first_treated[unit] == g) & (sample.periods[period] == t)
        assert weight == pytest.approx((w * residual)[cell].sum() / total, abs=1e-9)
        assert share == pytest.approx(w[cell].sum() / w[treated].sum(), abs=1e-12)
    assert len(cells) == len(set(zip(sample.first_treated[unit][treated], period[treated], strict=True)))


def test_with_one_cohort_every_weight_is_the_share_and_no_spread_of_effects_can_mislead() -> None:
    made = weighted(simulated.panel(cohorts=(4,)))
    np.testing.assert_allclose(made.frame["weight"], made.frame["share"], atol=1e-12)
    assert made["sigma_zero"] is None
    assert made["sigma_opposite"] is None
    assert any("however effects differ" in sentence for sentence in made.sentences)
    assert any("No weight is negative" in sentence for sentence in made.sentences)


def test_one_treated_cell_is_one_and_its_axes_have_whole_periods_alone() -> None:
    panel = simulated.panel()
    first = np.where(np.isnan(panel.first_treated["event"]), np.nan, panel.periods[-1])
    made = weighted(replace(panel, first_treated={"event": first}))
    assert any("in 1 treated cell of a cohort and a period" in sentence for sentence in made.sentences)
    axis = made.plot().axes[0]
    left, right = axis.get_xlim()
    assert [tick for tick in axis.get_xticks() if left < tick < right] == [panel.periods[-1]]


def with_negative(seed: int = 0) -> Panel:
    """Return a panel whose first cohort is large and early, so that its late cells have negative weights."""
    panel = simulated.panel(n=120, seed=seed, cohorts=(2, 3, 7))
    first = panel.first_treated["event"].copy()
    first[np.flatnonzero(np.isnan(first))[4:]] = 2
    y = panel.outcomes["y"] + 5 * (first[:, None] <= simulated.PERIODS)
    return replace(panel, first_treated={"event": first}, outcomes={"y": y})


def test_positive_effects_in_every_cell_can_give_a_negative_coefficient_that_the_weights_predict() -> None:
    panel = with_negative()
    cells = weighted(panel).frame
    negative = cells["weight"] < 0
    assert negative.any()
    first = panel.first_treated["event"]
    y = np.zeros_like(panel.outcomes["y"])
    for g, t, weight in zip(cells["cohort"], cells["period"], cells["weight"], strict=True):
        cell = np.ix_(first == g, panel.periods == t)
        y[cell] = 5.0 if weight < 0 else 0.01
    made = weighted(replace(panel, outcomes={"y": y}))
    assert made["coefficient"] < 0
    expected = 5.0 * cells["weight"][negative].sum() + 0.01 * cells["weight"][~negative].sum()
    assert made["coefficient"] == pytest.approx(expected, abs=1e-9)


def least_spread(beta: float, weight: np.ndarray, share: np.ndarray, average: float | None) -> float:
    """Return the least spread of effects with the coefficient, with a given average or none of its sign."""
    n = len(weight)
    spread = np.sqrt(share)[:, None] * (np.eye(n) - share)
    if average is None:
        strict = 1e5
        solution = nnls(np.vstack([spread, -strict * weight]), np.append(np.zeros(n), strict * abs(beta)))
        return float(np.linalg.norm(spread @ solution[0]))
    constraints = np.vstack([weight, share])
    particular = np.linalg.lstsq(constraints, np.array([beta, average]), rcond=None)[0]
    null = np.linalg.svd(constraints)[2][2:].T
    free = np.linalg.lstsq(spread @ null, -spread @ particular, rcond=None)[0]
    return float(np.linalg.norm(spread @ (particular + null @ free)))


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("sign", [1, -1])
def test_the_least_spreads_are_the_solutions_of_the_optimisation_problems(seed: int, sign: int) -> None:
    rng = np.random.default_rng(seed)
    share = rng.dirichlet(np.ones(12))
    weight = share * (1 + rng.normal(size=12) * 1.5)
    weight /= weight.sum()
    assert (weight < 0).any()
    beta = 0.7 * sign
    assert sigma_zero(beta, weight, share) == pytest.approx(least_spread(beta, weight, share, 0.0), rel=1e-9)
    opposite = sigma_opposite(beta, weight, share)
    assert opposite == pytest.approx(least_spread(beta, weight, share, None), rel=1e-6)


def test_the_spread_that_reverses_every_sign_exceeds_the_one_that_makes_the_average_zero() -> None:
    made = weighted(with_negative())
    assert 0 < made["sigma_zero"] < made["sigma_opposite"]
    text = " ".join(made.sentences)
    assert f"{made['sigma_zero']:.4g}" in text
    assert f"{made['sigma_opposite']:.4g}" in text
    weight = made.frame["weight"]
    below, above = weight[weight < 0], weight[weight >= 0]
    assert made.verdict == (
        f"{len(below)} of the {len(weight)} weights of effects are negative and sum to {below.sum():.4g}; "
        f"the positive ones sum to {above.sum():.4g}."
    )
    assert above.sum() + below.sum() == pytest.approx(1, abs=1e-12)


def test_the_spreads_are_in_units_of_the_outcome_and_the_weights_do_not_depend_on_it() -> None:
    panel = with_negative()
    plain = weighted(panel)
    scaled = weighted(replace(panel, outcomes={"y": -10 * panel.outcomes["y"] + 3}))
    np.testing.assert_array_equal(scaled.frame["weight"], plain.frame["weight"])
    for name, factor in (("coefficient", -10), ("sigma_zero", 10), ("sigma_opposite", 10)):
        assert scaled[name] == pytest.approx(factor * plain[name], rel=1e-9)


def test_order_labels_and_shifts_of_time_do_not_matter() -> None:
    panel = with_negative()
    plain = weighted(panel).frame
    order = np.random.default_rng(0).permutation(panel.n_units)
    moved = replace(
        simulated.ordered(panel, order),
        periods=panel.periods + 1990,
        first_treated={"event": panel.first_treated["event"][order] + 1990},
        units=panel.units,
    )
    made = weighted(moved).frame
    np.testing.assert_array_equal(made["cohort"], plain["cohort"] + 1990)
    np.testing.assert_array_equal(made["period"], plain["period"] + 1990)
    np.testing.assert_allclose(made["weight"], plain["weight"], atol=1e-12)


def test_the_coefficient_is_that_of_twfe_in_levels_and_the_sentences_say_what_is_approximate() -> None:
    question = ASKED.replace(scale="proportional")
    panel = simulated.panel(level=50.0, gaps=0.1)
    made = weighted(panel, question)
    fit = estimate(panel, question, "twfe")
    assert made["coefficient"] == fit.effect_level[0]
    assert made["coefficient"] != fit.effect[0]
    assert "in levels" in made.sentences[-1]
    assert any("do not differ between the units of a cell" in s for s in made.sentences)
    assert not any("units of a cell" in s for s in weighted(simulated.panel()).sentences)


def test_the_figure_marks_the_negative_cells() -> None:
    made = weighted(with_negative())
    axis, cells = made.plot().axes[0], made.frame
    marked = {
        (int(t), int(np.unique(cells["cohort"])[int(g)]))
        for t, g in zip(*axis.lines[0].get_data(), strict=True)
    }
    negative = cells[cells["weight"] < 0]
    assert marked == set(zip(negative["period"], negative["cohort"], strict=True))
    shown = np.ma.filled(axis.images[0].get_array(), np.nan)
    assert np.nansum(shown) == pytest.approx(100)
    assert np.isfinite(shown).sum() == len(cells)


@pytest.mark.parametrize(
    ("panel", "fields", "words"),
    [
        (simulated.switching(), {}, "event is not absorbing"),
        (simulated.panel(), {"comparison": "never_treated"}, 'comparison="never_treated"'),
        (simulated.panel(), {"missing": "cells"}, 'missing="cells"'),
    ],
)
def test_what_it_cannot_weight_is_refused_in_one_line(
    panel: Panel, fields: dict[str, Any], words: str
) -> None:
    with pytest.raises(QuestionError, match=r"^negative_weights: [^\n]*$") as caught:
        weighted(panel, ASKED.replace(**fields))
    assert words in str(caught.value)


def test_a_treatment_that_a_covariate_repeats_is_refused() -> None:
    panel = simulated.panel()
    treatment = (panel.first_treated["event"][:, None] <= simulated.PERIODS).astype(float)
    panel = replace(panel, covariates=dict(panel.covariates) | {"again": treatment})
    with pytest.raises(QuestionError, match="treatment, again are explained"):
        weighted(panel, ASKED.replace(covariates=("again",)))
