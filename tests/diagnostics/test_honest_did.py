"""Robust intervals under violations of parallel trends: HonestDiD's numbers, brute-force twins, coverage, bad input."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, NamedTuple

import goldens
import numpy as np
import pytest
import simulated
from references.honestdid import honestdid, inequalities
from scipy.integrate import quad
from scipy.linalg import null_space
from scipy.optimize import linprog, minimize
from scipy.special import erfcx
from scipy.stats import norm, truncnorm

from study import Panel, Question, estimate
from study.core.arrays import FloatArray
from study.core.errors import QuestionError
from study.diagnostics import Finding, honest
from study.diagnostics.event_path import event_path
from study.diagnostics.honest import (
    METHODS,
    RESTRICTIONS,
    FirstStage,
    FixedLength,
    Moments,
    Problem,
    accepted,
    breakdown,
    folded_normal_quantile,
    lasso_path,
    least_favourable,
    moments,
)
from study.diagnostics.honest_did import OFFERED, honest_did
from study.estimates.estimate import Estimate

RUNS = [(panel, name) for panel in ("BCdata", "sim_small") for name in goldens.runs(panel, "honestdid")]
PAIRS = [(restriction, method) for restriction, methods in OFFERED.items() for method in methods]
QUESTION = Question(outcome="y", event="event", average="event_average", horizon=2)


@pytest.mark.parametrize(("panel", "name"), RUNS)
def test_honestdid_gives_the_same_intervals(panel: str, name: str) -> None:
    compared = honestdid(panel, goldens.runs(panel, "honestdid")[name])
    assert compared.rows or compared.digits
    if compared.rows:
        assert compared.estimates <= 1e-8
    assert max(compared.digits.values(), default=0.0) <= 1


def drawn(seed: int, n_pre: int = 4, n_post: int = 3) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Return estimates, a covariance without structure, and weights of both signs."""
    rng = np.random.default_rng(seed)
    root = rng.normal(size=(n_pre + n_post, 2 * (n_pre + n_post)))
    return 2 * rng.normal(size=len(root)), root @ root.T / len(root), rng.normal(size=n_post)


def typical(kind: str, n_pre: int = 4, n_post: int = 3, effect: float = 1.0, seed: int = 0) -> Problem:
    """Return an effect on a path with persistent errors and a small pre-trend."""
    rng = np.random.default_rng(seed)
    gaps = np.abs(np.subtract.outer(np.arange(n_pre + n_post), np.arange(n_pre + n_post)))
    sigma = 0.01 * (0.5 + 0.5 * 0.6**gaps)
    betahat = 0.08 * rng.normal(size=n_pre + n_post)
    betahat[n_pre:] += effect
    return Problem(betahat, sigma, np.full(n_post, 1 / n_post), RESTRICTIONS[kind](n_pre, n_post))


def moment_program(
    asked: Problem, piece: int, m: float, theta: float
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Return moments, nuisance matrix and covariance of one hypothesis, written out from A delta <= d."""
    rows, bound = inequalities(asked.restriction, piece, m)
    after, weights = rows[:, asked.restriction.n_pre :], asked.weights
    y = rows @ asked.betahat - bound - after @ weights / (weights @ weights) * theta
    return y, after @ null_space(weights[None]), rows @ asked.sigma @ rows.T


def dual(y: FloatArray, nuisance: FloatArray, deviation: FloatArray) -> tuple[float, FloatArray]:
    equal = np.vstack([nuisance.T, deviation])
    made = linprog(-y, A_eq=equal, b_eq=np.append(np.zeros(nuisance.shape[1]), 1.0))
    return -made.fun, made.x


@pytest.mark.parametrize("kind", RESTRICTIONS)
@pytest.mark.parametrize("n_post", [1, 2, 4])
def test_the_vertices_solve_both_linear_programs(kind: str, n_post: int) -> None:
    for seed in range(5):
        betahat, sigma, weights = drawn(seed, 3, n_post)
        asked = Problem(betahat, sigma, weights, RESTRICTIONS[kind](3, n_post))
        piece, m, theta = seed % len(asked.restriction.within), 0.3 + seed, 2.0 * seed - 4
        y, nuisance, covariance = moment_program(asked, piece, m, theta)
        deviation = np.sqrt(np.diag(covariance))
        primal = linprog(
            np.append(1.0, np.zeros(nuisance.shape[1])),
            A_ub=-np.column_stack([deviation, nuisance]),
            b_ub=-y,
            bounds=(None, None),
        )
        made = moments(betahat, sigma, weights, asked.restriction, np.array([m]))
        ours = made.at(np.full((len(made.value), 1), theta))[piece, 0].max()
        assert ours == pytest.approx(primal.fun, abs=1e-9)
        assert ours == pytest.approx(dual(y, nuisance, deviation)[0], abs=1e-9)


def truncation(y: FloatArray, nuisance: FloatArray, covariance: FloatArray, sign: int) -> float:
    """Return how far the statistic can move before another vertex is the maximum, from linear programs alone.

    Along the line that keeps what is independent of the vertex, the excess of the program's value over the
    statistic is convex; Newton's steps from far out end where it is zero.
    """
    deviation = np.sqrt(np.diag(covariance))
    eta, vertex = dual(y, nuisance, deviation)
    direction = covariance @ vertex / (vertex @ covariance @ vertex)
    still = y - direction * eta
    at = eta + sign * 1e5
    for _ in range(50):
        value, other = dual(still + direction * at, nuisance, deviation)
        if value - at < 1e-9 * abs(at):
            return sign * np.inf if abs(at) > 1e4 else at
        at = (other @ still) / (1 - other @ direction)
    raise AssertionError("no end found")


@pytest.mark.parametrize("kind", RESTRICTIONS)
def test_the_truncation_is_that_of_the_dual_program(kind: str) -> None:
    found = 0
    for seed in range(8):
        betahat, sigma, weights = drawn(seed, 3, 3)
        asked = Problem(betahat, sigma, weights, RESTRICTIONS[kind](3, 3))
        piece, m = seed % len(asked.restriction.within), 0.2 + seed / 4
        made = moments(betahat, sigma, weights, asked.restriction, np.array([m]))
        values = made.at(np.full((len(made.value), 1), 2.0 * seed - 8))[piece]
        best = values[0].argmax()
        shared = made.covariance[piece, best]
        if shared[best] < 1e-8:
            continue
        low, high = honest._range_of_vertex(values.max(axis=1)[None], values[None], shared / shared[best])
        program = moment_program(asked, piece, m, 2.0 * seed - 8)
        for end, sign in ((low, -1), (high, 1)):
            assert end[0, 0] == pytest.approx(truncation(*program, sign), abs=1e-5)
            found += np.isfinite(end[0, 0])
    assert found > 0


def test_truncated_normal_tails_hold_far_out() -> None:
    low, z, high = np.array([-1.0, -np.inf, 0.5]), np.array([0.3, 1.5, 0.7]), np.array([2.0, 2.0, np.inf])
    np.testing.assert_allclose(honest.tail(z, low, high), truncnorm.sf(z, low, high), rtol=1e-12)
    exact = np.exp((50.0**2 - 50.02**2) / 2) * erfcx(50.02 / np.sqrt(2)) / erfcx(50 / np.sqrt(2))
    assert honest.tail(*np.array([[50.02], [50.0], [np.inf]]))[0] == pytest.approx(exact, rel=1e-10)


@pytest.mark.parametrize("kind", RESTRICTIONS)
def test_least_favourable_values_have_their_size(kind: str) -> None:
    asked = typical(kind)
    made = moments(asked.betahat, asked.sigma, asked.weights, asked.restriction, np.array([0.7]))
    critical, rng = least_favourable(made, 0.005), np.random.default_rng(0)
    for piece in range(len(critical)):
        rows, _ = inequalities(asked.restriction, piece, 0.7)
        above, below = np.split(
            rng.multivariate_normal(np.zeros(7), asked.sigma, 200_000) @ rows.T, 2, axis=1
        )
        form = np.stack([(above - below) / 2 @ asked.exposure, -(above + below)[:, 0] / 1.4])
        share = np.mean((made.forms[piece] @ form).max(axis=0) > critical[piece])
        assert share == pytest.approx(0.005, abs=4 * np.sqrt(0.005 / 200_000))


def test_least_favourable_value_under_smoothness_is_that_of_a_two_sided_test() -> None:
    asked = typical("smoothness")
    made = moments(asked.betahat, asked.sigma, asked.weights, asked.restriction, np.array([0.3]))
    deviation = np.sqrt(made.covariance[0, 0, 0])
    assert least_favourable(made, 0.005)[0] == pytest.approx(deviation * norm.isf(0.0025), rel=1e-9)


@pytest.mark.parametrize(("kind", "method"), [pair for pair in PAIRS if pair[1] in ("conditional", "C-LF")])
def test_hulls_are_those_of_a_fine_grid(kind: str, method: str) -> None:
    for seed in range(4):
        asked = typical(kind, effect=0.2, seed=seed)
        m = np.array([0.6])
        made = moments(asked.betahat, asked.sigma, asked.weights, asked.restriction, m)
        hybrid = method == "C-LF"
        first = FirstStage.capped(made, least_favourable(made, 0.005)) if hybrid else FirstStage.capped(made)
        low, high = (end[0] for end in METHODS[method](asked, m))
        grid = np.linspace(low - 0.5, high + 0.5, 20_001)
        kept = accepted(made, first, 0.045 / 0.995 if hybrid else 0.05, np.tile(grid, (len(made.value), 1)))
        inside = grid[kept.any(axis=0)]
        step = grid[1] - grid[0]
        assert low <= inside[0] <= low + step
        assert high - step <= inside[-1] <= high


def test_hulls_hold_what_is_kept_just_inside_of_where_another_vertex_becomes_the_maximum() -> None:
    betahat, sigma, weights = drawn(354)
    restriction = RESTRICTIONS["smoothness_relative"](4, 3)
    made = moments(betahat, sigma, weights, restriction, np.array([0.3, 1.0, 3.0]))
    first = FirstStage.capped(made)
    low, high = honest.hulls(made, first, 0.05)
    grid = np.linspace(np.nanmin(low) - 1, np.nanmax(high) + 1, 20_001)
    kept = accepted(made, first, 0.05, np.tile(grid, (len(low), 1)))
    some = kept.any(axis=1)
    assert np.all(low[some] <= grid[kept.argmax(axis=1)][some])
    assert np.all(high[some] >= grid[::-1][kept[:, ::-1].argmax(axis=1)][some])


@pytest.mark.parametrize("kind", RESTRICTIONS)
def test_effects_within_the_bounds_at_the_estimates_are_kept(kind: str) -> None:
    for seed in range(40):
        betahat, sigma, weights = drawn(seed)
        asked = Problem(betahat, sigma, weights, RESTRICTIONS[kind](4, 3))
        made = moments(betahat, sigma, weights, asked.restriction, np.array([0.3, 1.0, 3.0]))
        theta = np.tile(asked.centre + asked.largest_bias * np.linspace(-4, 4, 301), (len(made.value), 1))
        kept = accepted(made, FirstStage.capped(made), 0.05, theta)
        within = made.at(theta).max(axis=2) <= 0
        assert within.any()
        assert kept[within].all()


@pytest.mark.parametrize("kind", RESTRICTIONS)
def test_precise_estimates_give_the_identified_set(kind: str) -> None:
    asked = typical(kind, effect=0.5)
    exact, m = replace(asked, sigma=1e-12 * asked.sigma), 0.4
    n_pre = asked.restriction.n_pre
    ends = []
    for piece in range(len(asked.restriction.within)):
        rows, bound = inequalities(asked.restriction, piece, m)
        fixed = np.eye(n_pre, len(asked.betahat))
        for sign in (1, -1):
            made = linprog(
                sign * np.append(np.zeros(n_pre), asked.weights),
                A_ub=rows, b_ub=bound, A_eq=fixed, b_eq=asked.betahat[:n_pre], bounds=(None, None),
            )  # fmt: skip
            if made.status == 0:
                ends.append(asked.weights @ asked.betahat[n_pre:] - sign * made.fun)
    for method in OFFERED[kind]:
        if method != "FLCI" and method != "C-F":
            low, high = METHODS[method](exact, np.array([m]))
            assert (low[0], high[0]) == pytest.approx((min(ends), max(ends)), abs=1e-5)
    assert asked.centre - m * asked.largest_bias == pytest.approx(min(ends), abs=1e-8)
    touching = asked.centre - asked.overturning * asked.largest_bias
    assert touching == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize("method", ["conditional", "C-LF"])
def test_no_violation_gives_the_interval_under_parallel_trends(method: str) -> None:
    asked = typical("relative_magnitudes")
    low, high = METHODS[method](asked, np.zeros(1))
    post, half = (
        asked.betahat[4:],
        norm.isf(0.025) * np.sqrt(asked.weights @ asked.sigma[4:, 4:] @ asked.weights),
    )
    assert (low[0], high[0]) == pytest.approx(
        (asked.weights @ post - half, asked.weights @ post + half), rel=1e-9
    )


def test_no_change_of_slope_gives_the_extrapolated_trend() -> None:
    asked = typical("smoothness")
    low, high = METHODS["FLCI"](asked, np.zeros(1))
    times = np.array([-5, -4, -3, -2, 0, 1, 2]) + 1.0
    design = np.column_stack([times, np.eye(7)[:, 4:]])
    bread = np.linalg.inv(design.T @ np.linalg.solve(asked.sigma, design))
    fitted = bread @ design.T @ np.linalg.solve(asked.sigma, asked.betahat)
    centre, error = asked.weights @ fitted[1:], np.sqrt(asked.weights @ bread[1:, 1:] @ asked.weights)
    assert (low[0] + high[0]) / 2 == pytest.approx(centre, rel=1e-9)
    assert (high[0] - low[0]) / 2 == pytest.approx(norm.isf(0.025) * error, rel=1e-9)


@pytest.mark.parametrize("tied", [False, True])
def test_the_lasso_path_meets_its_first_order_conditions(tied: bool) -> None:
    rng = np.random.default_rng(3)
    for _ in range(20):
        root = rng.normal(size=(6, 9))
        h = np.eye(6) if tied else root @ root.T
        g = np.array([1.0, -1.0, 1.0, 0.5, 0.5, 0.0]) if tied else 5 * rng.normal(size=6)
        knots, solutions = lasso_path(h, g)
        assert np.all(np.diff(knots) >= 0)
        assert knots[0] == 0
        for penalty in rng.uniform(0, 1.2 * knots[-1], 20):
            x = np.array([np.interp(penalty, knots, column) for column in solutions.T])
            pull = h @ x + g
            assert np.all(np.abs(pull) <= penalty + 1e-9)
            used = np.abs(x) > 1e-12
            np.testing.assert_allclose(pull[used], -penalty * np.sign(x[used]), atol=1e-9)


@pytest.mark.parametrize("m", [0.0, 0.01, 0.05, 0.3])
def test_fixed_length_intervals_are_as_short_as_brute_force_finds(m: float) -> None:
    for seed in range(3):
        asked = typical("smoothness", seed=seed)
        ours = asked.shortest(np.array([m]), 0.95)[0]

        def half(kappa: FloatArray, asked: Problem = asked) -> float:
            bias, deviation = asked.bias_and_deviation(kappa)
            return deviation * folded_normal_quantile(0.95, m * bias / deviation)

        options = {"xatol": 1e-10, "fatol": 1e-13, "maxiter": 4000}
        start = asked.kappa(0.0)
        found = [
            minimize(half, s * start, method="Nelder-Mead", options=options).fun for s in (0.0, 0.5, 1.0)
        ]
        assert ours.half <= min(found) * (1 + 1e-10)
        assert ours.half == pytest.approx(min(found), rel=1e-6)


def test_the_largest_bias_of_a_fixed_length_estimator_is_that_of_the_linear_program() -> None:
    asked = typical("smoothness")
    ours = asked.shortest(np.array([0.02]), 0.95)[0]
    changes = np.vstack([asked.restriction.before, asked.restriction.change])
    worst = linprog(
        -ours.weights, np.vstack([changes, -changes]), np.full(2 * len(changes), 0.02), bounds=(None, None)
    )
    bias = -worst.fun
    np.testing.assert_allclose(ours.weights[4:], asked.weights, atol=1e-12)
    deviation = np.sqrt(ours.weights @ asked.sigma @ ours.weights)
    assert ours.half == pytest.approx(deviation * folded_normal_quantile(0.95, bias / deviation), rel=1e-9)


@pytest.mark.parametrize("mean", [0.0, 0.4, 3.0, 40.0])
def test_folded_normal_quantiles_hold_their_level(mean: float) -> None:
    c = folded_normal_quantile(0.9, mean)
    share = quad(lambda z: norm.pdf(z), max(-c - mean, -12), min(c - mean, 12))[0]
    assert share == pytest.approx(0.9, abs=1e-10)


@pytest.mark.parametrize("factor", [250.0, 1e-12])
@pytest.mark.parametrize(("kind", "method"), PAIRS)
def test_intervals_follow_the_unit_and_the_sign_of_the_outcome(kind: str, method: str, factor: float) -> None:
    asked, m = typical(kind), np.array([0.0, 0.3, 1.2])
    low, high = METHODS[method](asked, m)
    larger = replace(asked, betahat=factor * asked.betahat, sigma=factor**2 * asked.sigma)
    unit = factor if kind == "smoothness" else 1.0
    np.testing.assert_allclose(METHODS[method](larger, unit * m), factor * np.array([low, high]), rtol=1e-7)
    mirrored = METHODS[method](replace(asked, betahat=-asked.betahat), m)
    np.testing.assert_allclose(mirrored, np.array([-high, -low]), rtol=1e-7)


@pytest.mark.parametrize("factor", [1.0, 1e-9, 1e9])
def test_the_centre_of_the_effects_under_smoothness_is_said_in_any_unit_of_the_outcome(factor: float) -> None:
    made = simulated.panel(n=60)
    panel = replace(made, outcomes={"y": factor * made.outcomes["y"]})
    fit = estimate(panel, Question("y", "event", average="event_average", horizon=1), "callaway_santanna")
    assert "which then lies around" in honest_did(fit, restriction="smoothness").sentences[1]


@pytest.mark.parametrize(
    ("scale", "unit"), [("level", " y"), ("proportional", " (share of the counterfactual mean)")]
)
def test_effects_and_changes_of_slope_are_said_with_their_unit(scale: str, unit: str) -> None:
    fit = estimate(simulated.panel(n=60, level=9.0), Question("y", "event", scale=scale), "callaway_santanna")
    sentence = honest_did(fit, restriction="smoothness").sentences[1]
    assert f"{unit}, is known" in sentence
    assert sentence.endswith(f"{unit} a period.")


@pytest.mark.parametrize(("kind", "method"), [pair for pair in PAIRS if pair[1] != "C-F"])
def test_intervals_widen_with_stronger_violations(kind: str, method: str) -> None:
    low, high = METHODS[method](typical(kind), np.linspace(0, 2, 15))
    assert np.all(np.diff(high - low) > 0)
    if method != "FLCI":
        assert np.all(np.diff(low) < 0)
        assert np.all(np.diff(high) > 0)


@pytest.mark.parametrize(("kind", "method"), PAIRS)
def test_zero_enters_the_interval_at_the_breakdown_value(kind: str, method: str) -> None:
    for effect in (1.0, -1.0):
        asked = typical(kind, effect=effect)
        value = breakdown(asked, method)
        assert value is not None
        low, high = METHODS[method](asked, value * np.array([0.9999, 1.0001, 1.5, 3, 10]))
        excluded = (low > 0) | (high < 0)
        assert excluded.tolist() == [True, False, False, False, False]


@pytest.mark.parametrize(("kind", "method"), PAIRS)
def test_an_effect_that_is_zero_within_its_error_has_no_breakdown_value(kind: str, method: str) -> None:
    asked = typical(kind, effect=0.0)
    assert breakdown(replace(asked, betahat=0.2 * asked.betahat), method) is None


class Drawn(NamedTuple):
    """A problem with many draws of the estimates in place of many values of M, for methods to answer at once."""

    asked: Problem
    betahats: FloatArray

    def __getattr__(self, name: str) -> Any:
        """Return what is the same for all draws."""
        return getattr(self.asked, name)

    def moments(self, m: FloatArray) -> Moments:
        each = [replace(self.asked, betahat=betahat).moments(m[:1]) for betahat in self.betahats]
        return Moments(*map(np.concatenate, zip(*each, strict=True)))

    def shortest(self, m: FloatArray, level: float) -> list[FixedLength]:
        (one,) = self.asked.shortest(m[:1], level)
        return [one._replace(centre=float(one.weights @ betahat)) for betahat in self.betahats]


def share_accepted(asked: Problem, mean: FloatArray, m: float, method: str, draws: int) -> float:
    """Return how often the true effect zero is not rejected at the mean of the estimates."""
    betahats = np.random.default_rng(5).multivariate_normal(mean, asked.sigma, draws)
    together = Drawn(asked, betahats).moments(np.array([m]))
    cap, size = np.inf, 0.05
    if method == "C-LF":  # whose critical value depends on the covariance alone
        cap, size = np.tile(least_favourable(asked.moments(np.array([m])), 0.005), draws), 0.045 / 0.995
    kept = accepted(together, FirstStage.capped(together, cap), size, np.zeros((len(together.value), 1)))
    return float(kept.reshape(draws, -1).any(axis=1).mean())


@pytest.mark.parametrize("method", ["conditional", "C-LF"])
def test_the_true_effect_is_kept_at_the_edge_of_relative_magnitudes(method: str) -> None:
    asked = typical("relative_magnitudes", effect=0.0)
    before = np.array([0.1, 0.0, 0.2, 1.0])
    edge = np.append(before, [-1.5, -3.0, -4.5])
    share = share_accepted(asked, edge, 1.5, method, 1000)
    assert 0.93 < share < 0.97
    beyond = share_accepted(asked, np.append(before, [-2.5, -4.0, -5.5]), 1.5, method, 200)
    assert beyond < 0.5


def worst_trend(asked: Problem, m: float) -> FloatArray:
    """Return the trend under which the shortest fixed-length interval has its largest bias."""
    weights = asked.shortest(np.array([m]), 0.95)[0].weights
    changes = np.vstack([asked.restriction.before, asked.restriction.change])
    rows = np.vstack([changes, -changes])
    return linprog(-weights, rows, np.full(len(rows), m), bounds=(None, None)).x


@pytest.mark.parametrize("method", ["conditional", "C-LF"])
def test_the_true_effect_is_kept_at_the_edge_of_smoothness(method: str) -> None:
    asked = typical("smoothness", effect=0.0)
    edge = worst_trend(asked, 0.3)
    assert 0.933 < share_accepted(asked, edge, 0.3, method, 1500) < 0.967
    assert share_accepted(asked, 2 * edge, 0.3, method, 200) < 0.5


@pytest.mark.parametrize(("method", "draws"), [("FLCI", 1500), ("C-F", 300)])
def test_the_true_effect_is_covered_at_the_edge_of_smoothness(method: str, draws: int) -> None:
    asked, m = typical("smoothness", effect=0.0), np.array([0.05])
    betahats = np.random.default_rng(6).multivariate_normal(worst_trend(asked, 0.05), asked.sigma, draws)
    low, high = METHODS[method](Drawn(asked, betahats), np.repeat(m, draws))
    alone = METHODS[method](replace(asked, betahat=betahats[-1]), m)
    np.testing.assert_allclose((low[-1], high[-1]), np.ravel(alone), rtol=1e-9)
    assert abs(np.mean((low <= 0) & (high >= 0)) - 0.95) < 3 * np.sqrt(0.05 * 0.95 / draws)


def test_no_set_is_empty_where_the_data_contradict_the_restriction() -> None:
    curved = replace(typical("smoothness"), betahat=np.array([4.0, -3.0, 3.0, -2.0, 1.0, 1.0, 1.0]))
    m = np.array([0.0, 0.1, 1.0])
    low, high = METHODS["C-F"](curved, m)
    first = curved.shortest(m, 0.995)
    assert np.all(low < high)
    assert np.all(low >= [one.centre - one.half for one in first])
    assert np.all(high <= [one.centre + one.half for one in first])
    assert first[0].centre + first[0].half < curved.centre or curved.centre < first[0].centre - first[0].half


def test_the_lower_bound_on_changes_of_slope_is_where_the_test_stops_rejecting() -> None:
    betahat, sigma = np.array([1.0, -0.5, 0.8]), 0.02 * np.eye(3) + 0.01
    bound, upper = honest.slope_bounds(betahat, sigma, 0.95)
    changes = np.array([[1, -2, 1], [0, 1, -2.0]])
    rows = np.vstack([changes, -changes])
    deviation = np.sqrt(np.diag(rows @ sigma @ rows.T))
    z = (rows @ betahat - bound) / deviation
    best = z.argmax()
    shared = (rows @ sigma @ rows[best]) / (deviation * deviation[best])
    others = np.arange(4) != best
    assert np.all(shared[others] < 1)
    low = np.max(((z - shared * z[best]) / np.where(others, 1 - shared, 1))[others])
    assert norm.sf(z[best]) / norm.sf(low) == pytest.approx(0.05, rel=1e-6)
    assert bound < np.abs(changes @ betahat).max() < upper


def fitted(
    panel: Panel | None = None, question: Question = QUESTION, design: str = "callaway_santanna"
) -> Estimate:
    return estimate(panel or simulated.panel(150), question, design)


def numbers(fit: Estimate, kind: str = "relative_magnitudes") -> FloatArray:
    made = honest_did(fit, restriction=kind, M=[0.0, 0.2, 1.0])
    low, high = made.frame["conf_low"], made.frame["conf_high"]
    return np.array([*low, *high, made["breakdown"] or 0.0, made["sign_change"]])


@pytest.mark.parametrize("kind", RESTRICTIONS)
def test_the_answer_does_not_depend_on_order_names_levels_or_dates(kind: str) -> None:
    whole = simulated.panel(150)
    ours, rng = numbers(fitted(whole), kind), np.random.default_rng(0)
    y = whole.outcomes["y"]
    shifted = replace(
        whole, periods=whole.periods + 7, first_treated={"event": whole.first_treated["event"] + 7}
    )
    level = rng.normal(size=(150, 1)) + rng.normal(size=y.shape[1])
    others = (
        simulated.ordered(whole, rng.permutation(150)),
        replace(whole, units=np.array([f"other {i:03d}" for i in range(150)])),
        replace(whole, outcomes={"y": y + 10 * level}),
        shifted,
    )
    for other in others:
        np.testing.assert_allclose(numbers(fitted(other), kind), ours, rtol=1e-6)


def parallel(made: Finding) -> list[float]:
    """Return the interval under parallel trends."""
    return made.frame.loc[0, ["conf_low", "conf_high"]].tolist()


def headline(fit: Estimate) -> list[float]:
    """Return the interval of the average effect."""
    return fit.headline.tidy().loc[0, ["conf_low", "conf_high"]].tolist()


def test_the_default_target_is_the_headline_average() -> None:
    fit, made = fitted(), honest_did(fitted())
    assert made["estimate"] == pytest.approx(fit.headline.effect[0], rel=1e-10)
    assert made["std_error"] == pytest.approx(fit.headline.std_error[0], rel=1e-10)
    assert parallel(made) == pytest.approx(headline(fit), rel=1e-9)


def test_with_few_treated_units_intervals_are_as_wide_as_those_of_t_and_under_other_conventions_normal() -> (
    None
):
    first = np.where(np.arange(40) < 5, 5.0, np.nan)
    fit = fitted(replace(simulated.panel(40), first_treated={"event": first}))
    few, normal = (
        honest_did(each, restriction="smoothness", M=[0.0]) for each in (fit, fit.with_vcov("CR0"))
    )
    assert parallel(few) == pytest.approx(headline(fit), rel=1e-9)
    of_t = (few.frame["conf_high"] - few.frame["conf_low"]) / few["std_error"]
    of_normal = (normal.frame["conf_high"] - normal.frame["conf_low"]) / normal["std_error"]
    assert of_normal[0] == pytest.approx(2 * norm.isf(0.025), rel=1e-9)
    assert np.all(of_t > 1.2 * of_normal)
    at_once = honest_did(fit, target=0, M=[0.5])
    tidy = fit.by_event_time.tidy().set_index("event_time")
    assert parallel(at_once) == pytest.approx(tidy.loc[0, ["conf_low", "conf_high"]].tolist(), rel=1e-9)


def test_a_target_is_an_event_time_or_weights() -> None:
    fit = fitted()
    first = honest_did(fit, target=0, M=[0.5])
    same = honest_did(fit, target=[1, 0, 0], M=[0.5])
    assert first["estimate"] == fit.by_event_time.effect[fit.by_event_time.event_time == 0][0]
    assert first.frame.equals(same.frame)


def test_periods_of_anticipation_are_not_in_the_average() -> None:
    fit = fitted(question=QUESTION.replace(anticipation=1))
    made = honest_did(fit)
    assert made["n_post"] == 4
    assert made["estimate"] == pytest.approx(fit.headline.effect[0], rel=1e-10)


def test_the_default_strengths_are_read_off_the_periods_before() -> None:
    fit = fitted()
    assert honest_did(fit).frame["M"].tolist()[1:] == [0.5, 1, 1.5, 2]
    made = honest_did(fit, restriction="smoothness")
    assert made["bounds_before"] is not None
    shares = np.array([0, 0.25, 0.5, 0.75, 1])
    np.testing.assert_allclose(made.frame["M"][1:], made["bounds_before"][1] * shares)
    path = event_path(fit, "test", before=1)
    single = honest_did(fit, restriction="smoothness", before=1)
    np.testing.assert_allclose(single.frame["M"].iloc[-1], np.sqrt(path.covariance[0, 0]))
    assert "say nothing of M" in " ".join(single.sentences)


def test_a_negative_effect_is_statistically_different_from_zero_as_well() -> None:
    whole = simulated.panel(150)
    mirrored = replace(whole, outcomes={"y": -whole.outcomes["y"]})
    ours, theirs = honest_did(fitted(whole)), honest_did(fitted(mirrored))
    assert ours.tidy()["excludes_zero"].tolist() == theirs.tidy()["excludes_zero"].tolist()
    assert ours.tidy()["excludes_zero"].any()
    assert ours["breakdown"] == pytest.approx(theirs["breakdown"], rel=1e-7)


@pytest.mark.parametrize(("kind", "method"), PAIRS)
def test_findings_say_what_they_found(kind: str, method: str) -> None:
    made = honest_did(fitted(), restriction=kind, method=method)
    table = made.tidy()
    assert len(table) > 1
    assert table["M"].isna().tolist() == [True] + [False] * (len(table) - 1)
    assert not table[["conf_low", "conf_high"]].isna().any().any()
    assert made["breakdown"] is not None
    assert table["excludes_zero"].tolist()[1:] == (made["breakdown"] > table["M"][1:]).tolist()
    text = " ".join(made.sentences)
    assert f"by at most {made['breakdown']:.3g} " in text
    assert "(the breakdown value)" in text
    low, high = headline(fitted())
    assert f"{made['estimate']:.4g} with 95% interval [{low:.4g}, {high:.4g}] " in text
    assert "nan" not in text
    figure = made.plot()
    (axis,) = figure.axes
    assert made.plot(axis) is figure
    assert next(label.get_text() for label in axis.get_xticklabels()) == "original"
    assert len(axis.get_xticks()) == len(table)


@pytest.mark.parametrize("noise", [0.0, 2.0, 5.0])
def test_how_strong_a_violation_would_have_to_be_is_no_test_of_whether_there_is_one(noise: float) -> None:
    whole = simulated.panel(150)
    drift = np.random.default_rng(2).normal(size=whole.outcomes["y"].shape)
    fit = fitted(replace(whole, outcomes={"y": whole.outcomes["y"] + noise * drift}))
    for kind in ("relative_magnitudes", "smoothness", "smoothness_relative"):
        assert honest_did(fit, restriction=kind).against is None


def test_one_event_time_before_is_enough_except_for_its_changes_of_slope() -> None:
    fit = fitted()
    for kind in ("relative_magnitudes", "smoothness"):
        made = honest_did(fit, restriction=kind, before=1)
        assert made["n_pre"] == 1
        assert any(", 1 event time before the reference and " in sentence for sentence in made.sentences)
        assert np.all(made.frame["conf_low"] < made.frame["conf_high"])
    with pytest.raises(QuestionError, match="1 event time before the reference -1 and it takes 2"):
        honest_did(fit, restriction="smoothness_relative", before=1)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"restriction": "relative_magnitude"}, 'no restriction "relative_magnitude".*relative_magnitudes'),
        ({"method": "CLF"}, 'no method "CLF".*C-LF'),
        ({"method": "FLCI"}, '"FLCI" is not offered for restriction "relative_magnitudes"'),
        ({"method": "C-F", "restriction": "smoothness_relative"}, '"C-F" is not offered'),
        ({"M": [0.5, -1]}, "M contains -1"),
        ({"M": [np.nan]}, "M contains nan"),
        ({"M": []}, "M is"),
        ({"M": 0.5}, "it must be a sequence of finite numbers"),
        ({"level": 1.0}, "level is 1.0"),
        ({"level": 0.05}, "level is 0.05"),
        ({"target": "treated_average"}, 'no target "treated_average"'),
        ({"target": 9}, "target is 9; the event times after the reference are 0, 1, 2"),
        ({"target": [1.0, 0.0]}, "3 weights"),
        ({"target": [0, 0, 0]}, "not all zero"),
        ({"before": 0}, "before is 0; it must be a whole number, at least 1"),
    ],
)
def test_bad_requests_are_refused(options: dict[str, object], words: str) -> None:
    with pytest.raises(QuestionError, match=words) as raised:
        honest_did(fitted(), **options)
    assert str(raised.value).startswith("honest_did")
    assert "\n" not in str(raised.value)


def test_estimates_that_cannot_be_used_are_refused() -> None:
    whole = simulated.panel(150)
    one = replace(whole, attributes={"state": np.full(150, "one")})
    three = replace(whole, attributes={"state": np.resize(["a", "b", "c"], 150)})
    for words, fit in (
        ("one coefficient", fitted(design="twfe")),
        ('base="varying"', fitted(question=QUESTION.replace(base="varying"))),
        ("one cluster", fitted(one, QUESTION.replace(cluster="state"))),
        ("has 0 event times before", fitted(simulated.panel(150, cohorts=(2,)))),
        ("covariance of the 6 event times has rank 3", fitted(three, QUESTION.replace(cluster="state"))),
    ):
        with pytest.raises(QuestionError, match=words):
            honest_did(fit)


def test_a_difference_that_does_not_change_before_treatment_gives_no_magnitude() -> None:
    rng, sign = np.random.default_rng(0), np.resize([1.0, -1.0], 40)
    made = replace(
        simulated.panel(40),
        periods=np.arange(1, 4),
        outcomes={"y": np.column_stack([sign, np.zeros(40), rng.normal(size=40)])},
        covariates={},
        first_treated={"event": np.repeat([3.0, np.nan], 20)},
    )
    fit = fitted(made, QUESTION.replace(average="event_average", horizon=0))
    with pytest.raises(QuestionError, match="do not change at all"):
        honest_did(fit)
    assert honest_did(fit, restriction="smoothness")["n_pre"] == 1
