"""Synthetic difference-in-differences and synthetic control: weights at their minimum, errors by refits, refusals."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any

import goldens
import numpy as np
import pytest
import searching
import simulated
from references.synthetic import ASKED, METHODS, block
from scipy import optimize
from scipy.optimize import minimize

import study
from study import Estimate, Panel, Question, QuestionError, diagnostics, estimate
from study.core import FloatArray, synthetic_weights
from study.core.synthetic_weights import (
    frank_wolfe,
    noise_level,
    simplex_weights,
    synthetic_control_weights,
    time_weights,
    time_weights_without_each,
)
from study.designs import find_design
from study.designs.synthetic_blocks import Block, blocks
from study.designs.synthetic_did import block_weights

CASES = [(panel, run) for panel in ("prop99", "sim_small", "sim_gsynth") for run in METHODS]
QUESTION = Question("y", "event")


def objective(columns: np.ndarray, target: np.ndarray, zeta: float, weights: np.ndarray) -> float:
    return float(np.mean((columns @ weights - target) ** 2) + zeta**2 * weights @ weights)


def one_block(panel: Panel, question: Question = ASKED) -> Block:
    (part,), _ = blocks(question.sample(panel), "synthetic_did", 2)
    return part


def few(n: int = 40, cohorts: tuple[int, ...] = (5,), seed: int = 1) -> Panel:
    return simulated.panel(n=n, seed=seed, cohorts=cohorts)


@pytest.mark.parametrize("zeta", [1e-6, 0.05, 3.0])
@pytest.mark.parametrize("shape", [(4, 30), (30, 4), (12, 12), (3, 300), (1, 5)])
def test_no_weight_can_be_moved_to_the_good_of_the_objective(shape: tuple[int, int], zeta: float) -> None:
    rng = np.random.default_rng(shape[0] * 100 + shape[1])
    columns, target = rng.normal(size=shape), rng.normal(size=shape[0])
    weights = simplex_weights(columns, target, zeta)
    gradient = columns.T @ (columns @ weights - target) + shape[0] * zeta**2 * weights
    assert weights.min() >= 0
    assert weights.sum() == pytest.approx(1, abs=1e-12)
    assert np.ptp(gradient[weights > 0]) < 1e-7
    assert gradient.min() > gradient[weights > 0].mean() - 1e-7


@pytest.mark.parametrize("zeta", [0.05, 0.5, 5.0])
def test_the_short_way_of_a_large_ridge_finds_the_weights_of_non_negative_least_squares(
    zeta: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = np.random.default_rng(7)
    columns, target = rng.normal(size=(6, 60)), rng.normal(size=6) + 2.0
    weights = simplex_weights(columns, target, zeta)
    monkeypatch.setattr(synthetic_weights, "_GUESSES", 0)
    assert 0 < np.count_nonzero(weights) < 60
    assert simplex_weights(columns, target, zeta) == pytest.approx(weights, abs=1e-12)


@pytest.mark.parametrize(("n", "t"), [(3, 4), (5, 4), (8, 10), (40, 15)])
def test_weights_of_periods_without_a_unit_are_those_of_the_others(n: int, t: int) -> None:
    rng = np.random.default_rng(n)
    before = rng.normal(size=(n, t)).cumsum(axis=1)
    after = before[:, -1:] + rng.normal(size=(n, 3))
    anew = [time_weights(np.delete(before, j, axis=0), np.delete(after, j, axis=0)) for j in range(n)]
    found = time_weights(before, after) + time_weights_without_each(before, after)
    assert found == pytest.approx(np.array(anew), abs=1e-9)


def test_one_unit_and_units_without_changes_tell_no_weights_of_periods() -> None:
    before = np.random.default_rng(1).normal(size=(2, 4))
    assert not time_weights_without_each(np.ones((3, 4)), np.ones((3, 2))).any()
    assert time_weights(before, before) + time_weights_without_each(before, before) == pytest.approx(
        0.25, abs=1e-3
    )


def test_weights_of_three_columns_are_those_of_a_fine_grid() -> None:
    rng = np.random.default_rng(3)
    columns, target = rng.normal(size=(6, 3)), rng.normal(size=6)
    steps = np.linspace(0, 1, 201)
    grid = [(a, b, 1 - a - b) for a in steps for b in steps if a + b <= 1 + 1e-12]
    best = min(grid, key=lambda w: objective(columns, target, 0.3, np.array(w)))
    assert simplex_weights(columns, target, 0.3) == pytest.approx(best, abs=0.006)


def test_a_large_ridge_makes_weights_equal_and_a_target_among_the_columns_gets_all_weight() -> None:
    columns = np.random.default_rng(4).normal(size=(8, 5))
    assert simplex_weights(columns, columns[:, 2], 1e4) == pytest.approx(np.full(5, 0.2), abs=1e-6)
    assert simplex_weights(columns, columns[:, 2], 1e-8) == pytest.approx(np.eye(5)[2], abs=1e-6)


@pytest.mark.parametrize("shape", [(2, 8), (3, 12), (5, 30)])
def test_of_weights_that_fit_exactly_the_smallest_are_taken(shape: tuple[int, int]) -> None:
    rng = np.random.default_rng(shape[1])
    columns = rng.normal(size=shape)
    target = columns @ rng.dirichlet(np.ones(shape[1]))
    weights = simplex_weights(columns, target, 1e-6)
    assert columns @ weights == pytest.approx(target, abs=1e-9)
    fits = [{"type": "eq", "fun": lambda w: np.append(columns @ w - target, w.sum() - 1)}]
    least = minimize(
        lambda w: w @ w,
        np.full(shape[1], 1 / shape[1]),
        jac=lambda w: 2 * w,
        bounds=[(0, 1)] * shape[1],
        constraints=fits,
        method="SLSQP",
        options={"ftol": 1e-15, "maxiter": 1000},
    )
    assert weights == pytest.approx(least.x, abs=1e-5)


def test_one_period_is_matched_by_weights_that_are_as_equal_as_they_can_be() -> None:
    weights = synthetic_control_weights(np.array([[0.0], [1.0], [2.0], [3.0]]), np.array([1.2]))
    np.testing.assert_allclose(weights.unit, [0.34, 0.28, 0.22, 0.16], rtol=1e-9)


def test_a_constant_in_all_outcomes_moves_no_weight_where_they_fit_exactly() -> None:
    for seed in range(10):
        rng = np.random.default_rng(seed)
        columns = rng.normal(size=(3, 7))
        target = columns @ rng.dirichlet(np.full(7, 0.05))
        apart = simplex_weights(columns + 1e4, target + 1e4, 1e-6)
        assert apart == pytest.approx(simplex_weights(columns, target, 1e-6), abs=1e-9), seed


def test_what_the_ridge_alone_adds_to_zero_is_no_weight_and_no_mean_to_divide_by() -> None:
    first = np.where(np.arange(7) < 4, np.nan, 3.0)
    y = np.array(
        [[1, 2, 0], [1, 1, 0], [1, 0, 1], [0, 0, 1], [0, 2, 0], [0, 4, 0], [1, 1, 1]], dtype=np.float64
    )
    panel = Panel("few", np.arange(7).astype(str), np.arange(1, 4), {"y": y}, {}, {"event": first}, {}, {})
    weights = simplex_weights(y[:4, :2].T, y[4:, :2].mean(axis=0), 1e-6)
    assert weights.tolist() == [1, 0, 0, 0]
    fit = estimate(
        panel, Question("y", "event", scale="proportional"), "synthetic_did", method="synthetic_control"
    )
    assert np.isnan(fit.effect).all()


def test_columns_that_repeat_share_their_weight_in_any_order() -> None:
    for seed in range(10):
        rng = np.random.default_rng(seed)
        columns, target = rng.normal(size=(3, 2)), rng.normal(size=3)
        weights = simplex_weights(np.hstack([columns, columns]), target, 1e-6)
        assert weights[:2] == pytest.approx(weights[2:], abs=1e-14), seed
        order = rng.permutation(4)
        again = simplex_weights(np.hstack([columns, columns])[:, order], target, 1e-6)
        assert again == pytest.approx(weights[order], abs=1e-14), seed
        twice = simplex_weights(columns[:, [0, 0, 1]], target, 1e-6)
        once = simplex_weights(columns, target, 1e-6)
        assert twice == pytest.approx([once[0] / 2, once[0] / 2, once[1]], abs=1e-9), seed


def test_many_columns_that_fit_exactly_need_no_non_negative_least_squares(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rng = np.random.default_rng(8)
    columns, target = rng.normal(size=(7, 80)), np.full(7, 0.1)
    slow = simplex_weights(columns[:, :7], target, 1e-6)
    assert np.abs(columns[:, :7] @ slow - target).max() > 0.01
    with monkeypatch.context() as without:
        without.setattr(synthetic_weights, "_GUESSES", 0)
        weights = simplex_weights(columns, target, 1e-6)
    monkeypatch.setattr(optimize, "nnls", None)
    assert simplex_weights(columns, target, 1e-6) == pytest.approx(weights, abs=1e-9)
    with pytest.raises(TypeError, match="not callable"):
        simplex_weights(columns[:, :7], target, 1e-6)


@pytest.mark.parametrize(("panel", "run"), CASES, ids=[f"{p}-{r}" for p, r in CASES])
def test_frank_wolfe_stops_at_the_weights_of_the_authors_software_and_the_minimum_is_below(
    panel: str, run: str
) -> None:
    part = one_block(block(panel))
    reported = goldens.runs(panel, "synthdid")[run]
    found = {solver: block_weights(part, METHODS[run], solver) for solver in ("frank_wolfe", "exact")}
    theirs = [np.array(list(reported[name].values())) for name in ("omega", "lambda")]
    order = np.argsort([str(u) for u in block(panel).units[part.rows[: len(part.comparison)]]])
    assert found["frank_wolfe"].unit[order] == pytest.approx(theirs[0], abs=1e-9)
    assert found["frank_wolfe"].time == pytest.approx(theirs[1], abs=1e-9)
    sigma = noise_level(part.before)
    control = METHODS[run] == "synthetic_control"
    zeta = (1e-6 if control else part.n_cells**0.25) * sigma
    before = part.before if control else part.before - part.before.mean(axis=1, keepdims=True)
    target = part.treated[:, : part.n_before].mean(axis=0)
    target = target if control else target - target.mean()
    ours, stopped = (
        objective(before.T, target, zeta, found[solver].unit) for solver in ("exact", "frank_wolfe")
    )
    assert ours < stopped
    assert stopped - ours < 0.02 * sigma**2


def test_frank_wolfe_without_a_stop_comes_to_the_minimum() -> None:
    rng = np.random.default_rng(6)
    columns, target = rng.normal(size=(10, 4)), rng.normal(size=10)
    assert frank_wolfe(columns, target, 0.5, 0.0) == pytest.approx(
        simplex_weights(columns, target, 0.5), abs=1e-3
    )


@pytest.mark.parametrize("run", METHODS)
def test_placebo_effects_of_untreated_states_are_those_that_were_enumerated(run: str) -> None:
    part = one_block(block("prop99"))
    sigma, control = noise_level(part.before), METHODS[run] == "synthetic_control"
    least, n_after = 1e-5 * sigma, part.after.shape[1]
    first = block_weights(part, METHODS[run], "frank_wolfe")
    reported = goldens.runs("prop99", "synthdid")[run]["placebo_enumerated"]
    for unit in range(0, 38, 5):  # synthdid starts from the weights of its estimate and keeps its sigma
        others = np.arange(38) != unit
        before, late = part.before[others], part.after[others].mean(axis=1)
        target, start = part.before[unit], first.unit[others] / first.unit[others].sum()
        if control:
            omega, lam = frank_wolfe(before.T, target, 1e-6 * sigma, least, start), first.time
        else:
            levels, zeta = before.mean(axis=1, keepdims=True), n_after**0.25 * sigma
            omega = frank_wolfe((before - levels).T, target - target.mean(), zeta, least, start)
            centred = before - before.mean(axis=0)
            lam = frank_wolfe(centred, late - late.mean(), 1e-6 * sigma, least, first.time)
        effect = part.after[unit].mean() - target @ lam - omega @ (late - before @ lam)
        name = str(block("prop99").units[part.rows[unit]])
        assert effect == pytest.approx(reported[name], rel=1e-8)


@pytest.mark.parametrize("method", METHODS.values())
def test_errors_leave_units_out_with_all_weights_held_or_those_of_periods_found_anew(method: str) -> None:
    panel = few()
    sample = QUESTION.sample(panel)
    part = one_block(panel, QUESTION)
    weights = block_weights(part, method)
    n_free, n = len(part.comparison), sample.n_units
    y = sample.y[part.rows]

    def effect(unit: FloatArray, weights_of_periods: FloatArray) -> float:
        time = np.append(-weights_of_periods, np.full(part.after.shape[1], 1 / part.after.shape[1]))
        return float(unit @ y @ time)

    held, anew = [], []
    for left in range(n):
        unit = np.append(-weights.unit, np.full(n - n_free, 1 / (n - n_free)))
        unit[left] = 0
        unit[:n_free] /= -unit[:n_free].sum()
        unit[n_free:] /= unit[n_free:].sum()
        others = np.arange(n_free) != left
        time = weights.time
        if method == "synthetic_did":
            time = time_weights(part.before[others], part.after[others])
        held.append(effect(unit, weights.time))
        anew.append(effect(unit, time))
    of_held, of_anew = (np.sum((np.array(each) - np.mean(each)) ** 2) for each in (held, anew))
    made = estimate(panel, QUESTION, "synthetic_did", method=method).aggregate("treated_average")
    assert made.with_vcov("CR1").std_error[0] == pytest.approx(np.sqrt((n - 1) / n * of_held), rel=1e-10)
    assert made.std_error[0] == pytest.approx(np.sqrt(of_anew), rel=1e-9)
    assert (of_anew == of_held) == (method == "synthetic_control")
    late = sample.y[part.rows[n_free:]][:, part.n_before :].mean(axis=1)
    mean = np.append(np.full(n_free, late.mean()), (late.sum() - late) / (len(late) - 1))
    ratio, untreated = made.effect[0], late.mean() - made.effect[0]
    assert untreated > 0
    moved = (np.array(anew) - ratio / untreated * (mean - anew)) / untreated
    proportional = estimate(panel, replace(QUESTION, scale="proportional"), "synthetic_did", method=method)
    error = proportional.aggregate("treated_average").std_error[0]
    assert error == pytest.approx(np.sqrt(np.sum((moved - moved.mean()) ** 2)), rel=1e-9)


@pytest.mark.parametrize("to", ["treated_average", "event_average"])
@pytest.mark.parametrize("name", ["synthetic_did", "generalized_synthetic_control"])
def test_errors_of_averages_over_cohorts_are_those_of_leaving_out_each_unit(name: str, to: str) -> None:
    panel = few(40, (4, 5, 6))
    first = panel.first_treated["event"]
    much = np.where(first[:, None] <= simulated.PERIODS, np.where(first[:, None] == 4, 8.0, 0.0), 0.0)
    panel = replace(panel, outcomes={"y": panel.outcomes["y"] + much})
    options: dict[str, Any] = {} if name == "synthetic_did" else {"factors": 1}

    def average(which: np.ndarray) -> Estimate:
        return estimate(simulated.subset(panel, which), QUESTION, name, **options).aggregate(to)

    whole = average(np.full(40, True))
    moved = [average(np.arange(40) != i).effect - whole.effect for i in range(40)]
    assert whole.std_error == pytest.approx(np.sqrt(np.sum(np.square(moved), axis=0)), rel=0.03)
    assert whole.leave_out.clusters[0] == np.isfinite(first).sum()


def test_an_effect_rests_on_the_clusters_of_both_sides() -> None:
    fit = estimate(few(40), QUESTION, "synthetic_did")
    n_treated = int(np.isfinite(few(40).first_treated["event"]).sum())
    assert n_treated != 20
    np.testing.assert_array_equal(
        fit.leave_out.clusters, np.tile([[n_treated], [40 - n_treated]], len(fit.terms))
    )


@pytest.mark.parametrize("design", ["matrix_completion", "generalized_synthetic_control"])
def test_without_factors_errors_by_clusters_of_several_units_are_those_of_leaving_them_out(
    design: str,
) -> None:
    panel = few(40)
    # Some clusters have units on both sides, and they are of unlike size.
    panel = replace(panel, attributes={"state": np.array([f"s{k}" for k in np.arange(40) % 11 // 2])})
    question = QUESTION.replace(cluster="state")
    exact, ours = estimate(panel, question, "imputation"), estimate(panel, question, design, factors=0)
    for of in (lambda fit: fit.headline, lambda fit: fit.select(np.isin(fit.event_time, [0, 1, 2]))):
        np.testing.assert_allclose(of(ours).std_error, of(exact).std_error, rtol=1e-8)
        np.testing.assert_allclose(of(ours).degrees_of_freedom, of(exact).degrees_of_freedom, rtol=1e-6)


def test_comparison_units_can_stand_for_treated_ones() -> None:
    part = one_block(few(40), QUESTION)
    moved = part.among(np.array([3, 1]), np.array([0, 2, 4]))
    np.testing.assert_array_equal(moved.treated, part.comparison[[3, 1]])
    np.testing.assert_array_equal(moved.comparison, part.comparison[[0, 2, 4]])
    np.testing.assert_array_equal(moved.rows, part.rows[[0, 2, 4, 3, 1]])


def test_cohorts_are_averaged_by_their_treated_unit_periods() -> None:
    panel = few(90, (4, 6))
    first = panel.first_treated["event"]
    whole = estimate(panel, QUESTION, "synthetic_did").aggregate("treated_average")
    effects, cells = [], []
    for g in (4, 6):
        keep = np.isnan(first) | (first == g)
        alone = replace(
            panel,
            units=panel.units[keep],
            outcomes={"y": panel.outcomes["y"][keep]},
            covariates={},
            attributes={},
            first_treated={"event": first[keep]},
        )
        effects.append(estimate(alone, QUESTION, "synthetic_did").aggregate("treated_average").effect[0])
        cells.append(np.sum(first == g) * (8 - g + 1))
    assert whole.effect[0] == pytest.approx(np.average(effects, weights=cells), rel=1e-10)


def test_effects_are_found_where_the_treated_are_a_mixture_of_others() -> None:
    rng = np.random.default_rng(8)
    panel = few(30)
    first = panel.first_treated["event"]
    y = rng.normal(size=(30, 8)).cumsum(axis=1)
    free = np.flatnonzero(np.isnan(first))[:2]
    y[~np.isnan(first)] = 0.7 * y[free[0]] + 0.3 * y[free[1]]
    y = y + np.where(first[:, None] <= simulated.PERIODS, 2.5, 0.0)
    made = estimate(replace(panel, outcomes={"y": y}), QUESTION, "synthetic_did", method="synthetic_control")
    assert made.effect == pytest.approx(np.full(4, 2.5), abs=1e-4)


def test_synthetic_did_ignores_levels_of_units_and_synthetic_control_does_not() -> None:
    panel = few()
    rng = np.random.default_rng(9)
    moved = panel.outcomes["y"] + 10 * rng.normal(size=(40, 1))
    for method, same in (("synthetic_did", True), ("synthetic_control", False)):
        before, after = (
            estimate(replace(panel, outcomes={"y": y}), QUESTION, "synthetic_did", method=method).effect
            for y in (panel.outcomes["y"], moved)
        )
        assert (np.abs(after - before).max() < 1e-6) == same


def test_the_last_period_before_an_anticipated_event_is_one_of_treatment() -> None:
    panel = few()
    earlier = replace(panel, first_treated={"event": panel.first_treated["event"] - 1})
    asked = estimate(panel, QUESTION.replace(anticipation=1), "synthetic_did")
    dated = estimate(earlier, QUESTION, "synthetic_did")
    assert asked.effect == pytest.approx(dated.effect, rel=1e-12)
    assert list(asked.event_time) == [-1, 0, 1, 2, 3]


def test_a_proportional_effect_is_over_the_synthetic_mean() -> None:
    panel = simulated.panel(n=40, seed=1, cohorts=(5,), level=9.0)
    level = estimate(panel, QUESTION, "synthetic_did")
    share = estimate(panel, QUESTION.replace(scale="proportional"), "synthetic_did")
    treated = panel.first_treated["event"] == 5
    mean = panel.outcomes["y"][treated][:, 4:].mean(axis=0)
    assert share.effect == pytest.approx(level.effect / (mean - level.effect), rel=1e-12)
    assert np.isfinite(share.std_error).all()


def single() -> Panel:
    panel = few()
    first = panel.first_treated["event"].copy()
    first[np.flatnonzero(~np.isnan(first))[1:]] = np.nan
    return replace(panel, first_treated={"event": first})


def test_an_estimate_without_errors_has_no_part_in_joint_inference() -> None:
    made = estimate(single(), QUESTION, "synthetic_did")
    assert made.replication == "placebo"
    assert np.isfinite(made.headline.std_error).all()
    with pytest.raises(QuestionError, match="joint inference"):
        made.band()


def test_one_comparison_unit_with_all_the_weight_leaves_no_jackknife() -> None:
    panel = few()
    y = panel.outcomes["y"].copy()
    first = panel.first_treated["event"]
    y[~np.isnan(first), :4] = y[np.flatnonzero(np.isnan(first))[0], :4]
    y[np.isnan(first)] += np.arange(np.isnan(first).sum())[:, None] * 50
    made = estimate(replace(panel, outcomes={"y": y}), QUESTION, "synthetic_did", method="synthetic_control")
    assert np.isnan(made.std_error).all()
    assert "one comparison unit has all the weight for cohort 5" in made.notes[0]


def test_a_cohort_with_one_period_before_treatment_is_left_out_with_a_note() -> None:
    panel = few(90, (2, 6))
    made = estimate(panel, QUESTION, "synthetic_did")
    assert set(made.cohort) == {6}
    assert made.notes == ("cohort 2 left out: 1 of the 2 periods needed before treatment",)
    assert made.n_obs == np.sum(panel.first_treated["event"] != 2) * 8
    with pytest.raises(QuestionError, match="no effect can be estimated: cohort 2 left out"):
        estimate(few(40, (2,)), QUESTION, "synthetic_did")


def test_weights_of_periods_predict_no_other_periods() -> None:
    sample, design = QUESTION.sample(few()), find_design("synthetic_did")
    with pytest.raises(
        QuestionError, match=r'^synthetic_did: its weights of periods .*method="synthetic_control"'
    ):
        design.predicts("conformal", sample, {})
    error = design.predicts("conformal", sample, {"method": "synthetic_control"})(
        sample, sample.treatment == 0
    )
    assert np.isnan(error[np.isnan(sample.first_treated)]).all()
    made = estimate(few(), QUESTION, "synthetic_did", method="synthetic_control", leads=None)
    assert error[sample.first_treated == 5].mean(axis=0) == pytest.approx(made.effect, abs=1e-9)


def test_covariates_are_refused_in_one_line() -> None:
    with pytest.raises(QuestionError, match="synthetic_did: it cannot answer a question with covariates"):
        estimate(few(), QUESTION.replace(covariates=("x1",)), "synthetic_did")


def test_fewer_than_two_units_that_stay_untreated_are_refused() -> None:
    panel = few(40, (4, 6))
    first = panel.first_treated["event"].copy()
    first[np.flatnonzero(np.isnan(first))[1:]] = 4
    with pytest.raises(
        QuestionError, match="two or more units that are never treated in the window, and there are 1"
    ):
        estimate(replace(panel, first_treated={"event": first}), QUESTION, "synthetic_did")


BLOCK_DESIGNS = [
    ("synthetic_did", {}),
    ("synthetic_did", {"method": "synthetic_control"}),
    ("generalized_synthetic_control", {"factors": 1}),
]


@pytest.mark.parametrize(("design", "options"), BLOCK_DESIGNS)
def test_order_labels_calendar_and_measurement_do_not_matter(design: str, options: dict[str, str]) -> None:
    panel = few(60, (4, 6))
    plain = estimate(panel, QUESTION.replace(cluster="state"), design, **options).by_event_time
    order = np.random.default_rng(0).permutation(60)
    moved = replace(
        panel,
        periods=panel.periods + 100,
        outcomes={"y": -30 * panel.outcomes["y"][order]},
        covariates={},
        first_treated={"event": panel.first_treated["event"][order] + 100},
        attributes={"state": panel.attributes["state"][order]},
    )
    other = estimate(moved, QUESTION.replace(cluster="state"), design, **options).by_event_time
    assert other.effect == pytest.approx(-30 * plain.effect, rel=1e-7)
    assert other.std_error == pytest.approx(30 * plain.std_error, rel=1e-7)


@pytest.mark.parametrize("factor", [1e-9, 1e9])
@pytest.mark.parametrize(
    ("design", "options"), [*BLOCK_DESIGNS, ("synthetic_did", {"solver": "frank_wolfe", "leads": 2})]
)
def test_effects_and_errors_have_the_units_of_the_outcome_however_small_or_large(
    design: str, options: dict[str, Any], factor: float
) -> None:
    panel = few(40, (4, 6))
    scaled = replace(panel, outcomes={"y": factor * panel.outcomes["y"]})
    ours, theirs = (estimate(each, QUESTION, design, **options) for each in (panel, scaled))
    assert theirs.effect == pytest.approx(factor * ours.effect, rel=1e-6, abs=1e-7 * factor)
    assert theirs.std_error == pytest.approx(factor * ours.std_error, rel=1e-6)


@pytest.mark.parametrize(("design", "options"), BLOCK_DESIGNS)
def test_a_jackknife_covers_the_effect_about_as_often_as_it_says(
    design: str, options: dict[str, str]
) -> None:
    covered = []
    for seed in range(60):
        rng = np.random.default_rng(seed)
        panel = few(60, (5,), seed)
        since = panel.periods >= panel.first_treated["event"][:, None]
        y = rng.normal(size=(60, 1)) + 0.3 * panel.periods + 1.5 * since + rng.normal(size=(60, 8))
        table = estimate(replace(panel, outcomes={"y": y}), QUESTION, design, **options).headline.tidy()
        covered.append(table.conf_low[0] <= 1.5 <= table.conf_high[0])
    assert 0.85 <= np.mean(covered) <= 1.0


@pytest.mark.parametrize("method", METHODS.values())
def test_leads_are_differences_from_the_synthetic_unit_whose_weighted_mean_is_zero(method: str) -> None:
    panel = few(60, (5, 7))
    made = estimate(panel, QUESTION, "synthetic_did", method=method, leads=None)
    plain = estimate(panel, QUESTION, "synthetic_did", method=method)
    assert made.select(~made.pre).effect == pytest.approx(plain.effect, rel=1e-12)
    assert made.select(~made.pre).std_error == pytest.approx(plain.std_error, rel=1e-12)
    sample = QUESTION.sample(panel)
    for part in blocks(sample, "synthetic_did", 2)[0]:
        weights = block_weights(part if method == "synthetic_control" else part.changes, method)
        y = part.treated.mean(axis=0) - weights.unit @ part.comparison
        own = made.cohort == part.cohort
        assert made.effect[own] == pytest.approx(y - y[: part.n_before] @ weights.time, abs=1e-9)
        if method == "synthetic_did":
            assert made.effect[own & made.pre] @ weights.time == pytest.approx(0, abs=1e-9)
    some = estimate(panel, QUESTION, "synthetic_did", method=method, leads=2).aggregate("event")
    assert some.event_time.tolist() == [-2, -1, 0, 1, 2, 3]
    band = some.band(draws=999)
    assert (band["band_high"] - band["estimate"] >= 1.9 * some.std_error).all()


def test_placebo_errors_of_one_treated_unit_are_the_spread_of_effects_on_every_other() -> None:
    panel, asked = single(), QUESTION.replace(min_cohort_size=1)
    made = estimate(panel, asked, "synthetic_did", inference="placebo", leads=1)
    alone = estimate(panel, asked, "synthetic_did", leads=1)
    assert made.effect == pytest.approx(alone.effect, rel=1e-12)
    dated = panel.first_treated["event"]
    placebos = []
    for unit in np.flatnonzero(np.isnan(dated)):
        moved = np.where(np.arange(40) == unit, 5.0, np.nan)
        untreated = simulated.subset(replace(panel, first_treated={"event": moved}), np.isnan(dated))
        placebos.append(estimate(untreated, asked, "synthetic_did", leads=1))
    assert made.std_error == pytest.approx(np.std([fit.effect for fit in placebos], axis=0), rel=1e-9)
    spread = np.std([fit.headline.effect[0] for fit in placebos])
    assert made.headline.std_error[0] == pytest.approx(spread, rel=1e-9)
    assert made.headline.critical_value()[0] == pytest.approx(1.959964, abs=1e-6)
    assert "from all choices of 1 comparison unit taken" in made.notes[0]
    share = estimate(
        panel, asked.replace(scale="proportional"), "synthetic_did", inference="placebo", leads=1
    )
    y, step = share.untreated_mean + share.effect_level, 1e-6 * share.std_error
    slope = ((share.effect_level + step) / (y - share.effect_level - step) - share.effect) / step
    assert share.std_error == pytest.approx(made.std_error * np.abs(slope), rel=1e-4)


def mostly_untreated() -> Panel:
    """Return 60 units, four of which are treated in each of two cohorts."""
    first = np.full(60, np.nan)
    first[:8] = np.repeat([5.0, 7.0], 4)
    return replace(few(60), first_treated={"event": first})


def test_placebo_choices_of_several_cohorts_are_drawn_by_their_seed_for_all_cohorts_at_once() -> None:
    panel = mostly_untreated()
    fits = [
        estimate(panel, QUESTION, "synthetic_did", inference="placebo", replications=30, seed=seed)
        for seed in (1, 1, 2)
    ]
    assert fits[0].std_error.tolist() == fits[1].std_error.tolist()
    assert fits[0].std_error.tolist() != fits[2].std_error.tolist()
    plain, zero = (
        estimate(panel, QUESTION, "synthetic_did", inference="placebo", replications=5, **seed)
        for seed in ({}, {"seed": 0})
    )
    assert plain.std_error.tolist() == zero.std_error.tolist()
    assert "from 30 random choices of 8 comparison units" in fits[0].notes[0]
    first = panel.first_treated["event"]
    free, sizes = np.flatnonzero(np.isnan(first)), [np.sum(first == 5), np.sum(first == 7)]
    chosen = free[np.random.default_rng(1).permutation(len(free))[: sum(sizes)]]
    moved = np.full(60, np.nan)
    moved[chosen] = np.repeat([5.0, 7.0], sizes)
    untreated = simulated.subset(replace(panel, first_treated={"event": moved}), np.isnan(first))
    placebo = estimate(untreated, QUESTION, "synthetic_did")
    assert fits[0].replicates[:, 0] == pytest.approx(placebo.effect, rel=1e-9)


def test_errors_of_each_number_alone_have_no_band_no_test_and_no_part_in_a_comparison() -> None:
    panel = mostly_untreated()
    made = estimate(panel, QUESTION, "synthetic_did", inference="placebo", replications=20)
    for ask in (made.band, made.test, made.covariance):
        with pytest.raises(QuestionError, match=r"synthetic_did: joint inference .* is not available"):
            ask()
    option = ("synthetic_did", {"inference": "placebo", "replications": 20}, "placebo")
    found = study.compare(panel, QUESTION, [option, "synthetic_did", "imputation"], draws=99)
    assert found.agreement["y"].labels == ("synthetic_did", "imputation")
    assert any(note.startswith("placebo is not compared: joint inference") for note in found.notes)
    assert np.isfinite(found.estimates["y", "placebo"].std_error).all()
    assert made.plot() is not None
    assert "errors: placebo" in made.summary()
    few_others = simulated.subset(panel, np.isin(np.arange(60), [0, 1, 10, 11, 12]))
    with pytest.raises(
        QuestionError,
        match=r"^synthetic_did: inference is placebo, which takes 2 of the 3 comparison units as treated and needs two",
    ):
        estimate(few_others, QUESTION, "synthetic_did", inference="placebo")


def test_diagnostics_take_no_influence_from_errors_of_each_number_alone() -> None:
    panel, options = mostly_untreated(), dict[str, Any](inference="placebo", replications=20)
    sample = QUESTION.sample(panel)
    for ask in (
        partial(diagnostics.uncertainty, permutations=0),
        partial(diagnostics.leave_one_unit_out, units="all"),
    ):
        with pytest.raises(
            QuestionError, match=r"^(uncertainty|leave_one_unit_out): .*joint inference .* is not avail"
        ):
            ask(sample, "synthetic_did", **options)
    without = diagnostics.leave_one_cohort_out(sample, "synthetic_did", **options).frame
    assert np.isnan(without["influence"]).all()
    assert np.isfinite(without["change"]).all()
    curve = diagnostics.specification_curve(
        panel, QUESTION, designs=["imputation", ("synthetic_did", options)], draws=99
    )
    assert curve.frame["refusal"].str.startswith("joint inference").tolist() == [False, True]


OF_ONE = [
    ("synthetic_did", {"inference": "placebo"}),
    (
        "generalized_synthetic_control",
        {"factors": 1, "inference": "parametric_bootstrap", "replications": 60},
    ),
]


@pytest.mark.parametrize(("design", "options"), OF_ONE)
def test_draws_unit_by_unit_are_not_given_as_errors_by_cluster(design: str, options: dict[str, Any]) -> None:
    panel, options = mostly_untreated(), options | {"replications": 5}
    with pytest.raises(
        QuestionError,
        match=rf"^{design}: inference is \w+, which .* units are clustered by state; use inference=",
    ):
        estimate(panel, QUESTION.replace(cluster="state"), design, **options)
    alone = replace(panel, attributes={"own": panel.units})
    plain, own = (estimate(alone, QUESTION.replace(cluster=c), design, **options) for c in (None, "own"))
    np.testing.assert_array_equal(own.std_error, plain.std_error)


@pytest.mark.search
@pytest.mark.parametrize("treated", [1, 3])
@pytest.mark.parametrize(("design", "options"), OF_ONE)
def test_intervals_of_one_and_three_treated_units_cover_at_their_level(
    design: str, options: dict[str, Any], treated: int
) -> None:
    draws, rng, times = searching.samples(40, 500), np.random.default_rng(treated), 0
    options = options | ({"replications": 40} if treated > 1 else {})
    asked = QUESTION.replace(min_cohort_size=1)
    panel = few(25)
    first = np.where(np.arange(25) < treated, 6.0, np.nan)
    for seed in range(draws):
        y = (
            rng.normal(size=(25, 1))
            + rng.normal(size=(25, 1)) @ rng.normal(size=(1, 8))
            + rng.normal(size=(25, 8))
        )
        y = y + 1.5 * (panel.periods >= first[:, None])
        drawn = replace(panel, outcomes={"y": y}, first_treated={"event": first})
        table = estimate(drawn, asked, design, seed=seed, **options).headline.tidy()
        times += table["conf_low"][0] <= 1.5 <= table["conf_high"][0]
    assert abs(times / draws - 0.95) <= 3 * np.sqrt(0.95 * 0.05 / draws)
