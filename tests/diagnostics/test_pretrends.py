"""pretrends against the package of that name, closed forms, brute-force integrals and simulation."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import goldens
import numpy as np
import pytest
import simulated
from references.pretrends import pretrends as against_the_package
from scipy import special

from study import Estimate, Question
from study.core.errors import QuestionError
from study.designs import find_design
from study.diagnostics.event_path import EventPath, event_path
from study.diagnostics.pretrends import (
    box_probability,
    box_pull,
    detectable_slopes,
    mean_after_passing,
    pretest,
    pretrends,
    rejection_probability,
    wald_rejection_probability,
)
from study.estimates.wald import wald
from study.panel.panel import Panel

Z = float(special.ndtri(0.975))
ASKED = Question(outcome="y", event="event", average="event_average", horizon=2)
RUNS = [(panel, name) for panel in ("HeAndWang", "sim_small") for name in goldens.runs(panel, "pretrends")]


def fitted(panel: Panel | None = None, design: str = "callaway_santanna", **changes: Any) -> Estimate:
    panel = simulated.panel() if panel is None else panel
    return find_design(design)(ASKED.replace(**changes).sample(panel))


def covariance(size: int, correlation: float, spread: float = 1.0) -> np.ndarray:
    scale = spread * np.linspace(0.8, 1.3, size)
    return (np.full((size, size), correlation) + (1 - correlation) * np.eye(size)) * np.outer(scale, scale)


def a_path(n_pre: int = 3, n_post: int = 3, correlation: float = 0.5) -> EventPath:
    times = np.concatenate([np.arange(-1 - n_pre, -1), np.arange(n_post)]).astype(float)
    effect = np.where(times < 0, 0.05 * times, 1.0)
    return EventPath(times, -1, effect, covariance(len(times), correlation, 0.2), n_pre)


def equicorrelated(low: np.ndarray, high: np.ndarray, correlation: float) -> float:
    """Return the probability of a box for a common factor, by integrating over the factor."""
    factor, scale = np.linspace(-9, 9, 20_001), np.sqrt(1 - correlation)
    given = [
        special.ndtr((b - np.sqrt(correlation) * factor) / scale)
        - special.ndtr((a - np.sqrt(correlation) * factor) / scale)
        for a, b in zip(low, high, strict=True)
    ]
    density = np.exp(-(factor**2) / 2) / np.sqrt(2 * np.pi)
    return float(np.sum(np.prod(given, axis=0) * density) * (factor[1] - factor[0]))


def by_grid(low: Any, high: Any, mean: np.ndarray, cov: np.ndarray) -> tuple[float, np.ndarray]:
    """Return the probability of a box and the mean inside it by integrating the density on a grid."""
    nodes, weights = np.polynomial.legendre.leggauss(60)
    axes = [(b - a) / 2 * nodes + (a + b) / 2 for a, b in zip(low, high, strict=True)]
    points = np.stack([axis.ravel() for axis in np.meshgrid(*axes, indexing="ij")], axis=1)
    volume = np.array([1.0])
    for a, b in zip(low, high, strict=True):
        volume = np.outer(volume, weights * (b - a) / 2).ravel()
    gap = points - mean
    density = np.exp(-np.einsum("ij,ij->i", gap @ np.linalg.inv(cov), gap) / 2)
    mass = volume * density / np.sqrt(np.linalg.det(2 * np.pi * cov))
    return float(mass.sum()), mass @ points / mass.sum()


@pytest.mark.parametrize("size", [1, 2, 3])
def test_boxes_equal_brute_force_integration(size: int) -> None:
    cov, mean = covariance(size, 0.6), np.linspace(0.3, 1.1, size)
    low, high = np.full(size, -1.7), np.linspace(1.0, 1.9, size)
    probability, inside = by_grid(low, high, mean, cov)
    assert box_probability(low, high, mean, cov) == pytest.approx(probability, abs=1e-10)
    np.testing.assert_allclose(mean + cov @ box_pull(low, high, mean, cov), inside, rtol=0, atol=1e-10)


@pytest.mark.parametrize(
    ("size", "correlation", "error"),
    [
        (4, 0.5, 1e-10),
        (5, 0.8, 1e-9),
        (2, 0.99, 1e-11),
        (2, 0.9999, 1e-4),
        (5, 0.99, 1e-4),
        (7, 0.5, 1e-4),
        (12, 0.3, 1e-4),
    ],
)
def test_boxes_equal_an_integral_over_the_common_factor(size: int, correlation: float, error: float) -> None:
    mean, cov = np.linspace(-0.4, 1.2, size), np.full((size, size), correlation)
    np.fill_diagonal(cov, 1.0)
    exact = equicorrelated(-Z - mean, Z - mean, correlation)
    found = box_probability(np.full(size, -Z), np.full(size, Z), mean, cov)
    assert found == pytest.approx(exact, abs=error)


def test_one_truncated_variable_has_the_closed_form_mean_also_far_in_the_tail() -> None:
    for mean, a, b in [(0.4, -1.0, 2.0), (-3.0, 5.0, 6.0), (12.0, -2.0, 2.0)]:
        low, high = a - mean, b - mean
        tails = (
            special.ndtr(-low) - special.ndtr(-high) if low > 0 else special.ndtr(high) - special.ndtr(low)
        )
        density = np.exp(-(np.array([low, high]) ** 2) / 2) / np.sqrt(2 * np.pi)
        exact = (density[0] - density[1]) / tails
        pull = box_pull(np.array([a]), np.array([b]), np.array([mean]), np.eye(1))
        np.testing.assert_allclose(pull, exact, rtol=1e-9)


def test_a_box_without_probability_has_no_mean() -> None:
    with pytest.raises(ValueError, match="no probability"):
        box_pull(np.array([-1.0]), np.array([1.0]), np.array([60.0]), np.eye(1))


def test_boxes_do_not_depend_on_the_order_of_variables_and_the_lattice_is_moved_by_its_seed() -> None:
    for size in (4, 8):
        cov, mean = covariance(size, 0.4), np.linspace(0.0, 1.0, size)
        edge, order = Z * np.sqrt(np.diag(cov)), np.random.default_rng(1).permutation(size)
        straight = box_probability(-edge, edge, mean, cov)
        mixed = box_probability(-edge[order], edge[order], mean[order], cov[np.ix_(order, order)])
        assert straight == pytest.approx(mixed, abs=1e-12)
    assert straight == box_probability(-edge, edge, mean, cov, seed=0)
    moved = box_probability(-edge, edge, mean, cov, seed=1)
    assert moved != straight
    assert moved == pytest.approx(straight, abs=1e-4)


def test_at_slope_zero_the_power_is_the_size_of_the_multiple_test() -> None:
    path = a_path(correlation=0.0)
    found = pretest(path, np.zeros(6), Z)
    assert found.power == found.size == pytest.approx(1 - 0.95**3, abs=1e-12)
    assert found.wald_power == pytest.approx(0.05, abs=1e-12)
    assert found.bayes_factor == found.likelihood_ratio == 1


def test_power_grows_with_the_slope_either_way() -> None:
    path = a_path()
    direction = (path.event_time - path.reference)[:3]
    slopes = np.linspace(0, 0.4, 9)
    for power in (
        [rejection_probability(s * direction, path.covariance[:3, :3], Z) for s in slopes],
        [wald_rejection_probability(s * direction, path.covariance[:3, :3], 0.95) for s in slopes],
    ):
        assert np.all(np.diff(power) > 0)
        assert power[-1] > 0.99
    down = rejection_probability(-0.2 * direction, path.covariance[:3, :3], Z)
    assert down == pytest.approx(
        rejection_probability(0.2 * direction, path.covariance[:3, :3], Z), abs=1e-12
    )


def test_power_and_means_after_passing_are_those_of_simulated_estimates() -> None:
    path = a_path(n_pre=4, correlation=0.4)
    violation = 0.09 * (path.event_time - path.reference)
    draws = np.random.default_rng(5).multivariate_normal(violation, path.covariance, size=400_000)
    before, cov = draws[:, :4], path.covariance[:4, :4]
    passes = np.all(np.abs(before) <= Z * np.sqrt(np.diag(cov)), axis=1)
    wald = np.einsum("ij,ij->i", before @ np.linalg.inv(cov), before) > special.chdtri(4, 0.05)
    found = pretest(path, violation, Z)
    assert found.power == pytest.approx(1 - passes.mean(), abs=0.004)
    assert found.wald_power == pytest.approx(wald.mean(), abs=0.004)
    after, error = (
        mean_after_passing(path, violation, Z),
        5 * draws[passes].std(axis=0) / np.sqrt(passes.sum()),
    )
    assert np.all(np.abs(after - draws[passes].mean(axis=0)) < error)
    assert np.all(np.abs(after - violation) > 2 * error)


def test_power_of_the_wald_test_is_that_of_an_estimated_covariance_with_few_clusters() -> None:
    rng, degrees, violation = np.random.default_rng(0), 7, np.linspace(1.2, 2.4, 4)
    root = np.linalg.cholesky(covariance(4, 0.5))
    rejects, said = [], []
    for _ in range(1500):
        sums = rng.normal(size=(degrees, 4)) @ root.T
        cov = sums.T @ sums / degrees
        effect = violation + root @ rng.normal(size=4)
        rejects.append(wald(effect, cov, degrees).p_value < 0.05)
        said.append(wald_rejection_probability(violation, cov, 0.95, degrees))
    assert np.mean(said) == pytest.approx(np.mean(rejects), abs=0.04)
    assert np.isnan(wald_rejection_probability(violation, cov, 0.95, 3.0))


def test_power_of_the_wald_test_has_the_degrees_of_freedom_of_the_test_of_the_leads() -> None:
    fit = fitted(simulated.panel(n=60, cohorts=(6,)))
    path, found = fit.by_event_time, pretrends(fit)
    before = (path.event_time < -1) & (path.event_time >= found.frame["event_time"].min())
    test = path.test(before)
    assert np.isfinite(test.degrees)
    violation, slope = path.event_time[before] + 1, found["slope"]
    cov = event_path(fit, "test").covariance[: len(violation), : len(violation)]
    power = wald_rejection_probability(slope * violation, cov, 0.95, test.degrees)
    assert found["pretest"].wald_power == pytest.approx(power, abs=1e-12)


def test_the_ratios_are_those_of_normal_densities_and_of_probabilities_of_passing() -> None:
    path = a_path()
    violation = 0.1 * (path.event_time - path.reference)
    inverse = np.linalg.inv(path.covariance[:3, :3])

    def log_density(mean: np.ndarray) -> float:
        gap = path.effect[:3] - mean
        return float(-gap @ inverse @ gap / 2)

    found = pretest(path, violation, Z)
    ratio = np.exp(log_density(violation[:3]) - log_density(np.zeros(3)))
    assert found.likelihood_ratio == pytest.approx(ratio, rel=1e-10)
    assert found.bayes_factor == pytest.approx((1 - found.power) / (1 - found.size), rel=1e-12)


def test_passing_changes_no_coefficient_that_is_uncorrelated_with_those_tested() -> None:
    path = a_path(correlation=0.0)
    violation = 0.3 * (path.event_time - path.reference)
    after = mean_after_passing(path, violation, Z)
    np.testing.assert_allclose(after[3:], violation[3:], rtol=0, atol=1e-14)
    assert np.all(np.abs(after[:3]) < np.abs(violation[:3]))
    correlated = mean_after_passing(a_path(correlation=0.5), violation, Z)
    assert np.all(correlated[3:] > violation[3:] + 0.01)


def test_one_coefficient_has_the_closed_form_slope_and_mean() -> None:
    path = a_path(n_pre=1)
    sd = np.sqrt(path.covariance[0, 0])
    slope = detectable_slopes(path, [0.5], Z)[0.5]
    t = slope / sd
    assert special.ndtr(Z - t) - special.ndtr(-Z - t) == pytest.approx(0.5, abs=1e-9)
    after = mean_after_passing(path, slope * (path.event_time + 1), Z)
    density = np.exp(-((np.array([-Z, Z]) + t) ** 2) / 2) / np.sqrt(2 * np.pi)
    pull = (density[0] - density[1]) / 0.5 / sd
    np.testing.assert_allclose(after, slope * (path.event_time + 1) + path.covariance[:, 0] * pull, rtol=1e-8)


@pytest.mark.parametrize("n_pre", [1, 2, 5, 7])
def test_a_trend_of_the_slope_found_is_detected_with_the_power_asked_for(n_pre: int) -> None:
    path, powers = a_path(n_pre=n_pre), (0.5, 0.8, 0.99) if n_pre < 7 else (0.8,)
    for power, slope in detectable_slopes(path, powers, Z).items():
        violation = slope * (path.event_time - path.reference)
        assert pretest(path, violation, Z).power == pytest.approx(power, abs=1e-8)


@pytest.mark.parametrize(("panel", "name"), RUNS, ids=[name for _, name in RUNS])
def test_equals_the_package_within_its_simulation_error(panel: str, name: str) -> None:
    made = against_the_package(panel, goldens.runs(panel, "pretrends")[name])
    assert made.estimates < 5e-4
    for what, share in made.digits.items():
        assert share <= 1, what


def test_scale_names_order_and_time_do_not_matter() -> None:
    panel = simulated.panel()
    base = pretrends(fitted(panel))
    rows = np.random.default_rng(3).permutation(panel.n_units)
    y, first = panel.outcomes["y"], panel.first_treated["event"]
    constants = np.arange(len(rows))[:, None] + np.cos(panel.periods)
    later = {"periods": panel.periods + 7, "first_treated": {"event": first + 7}}
    same: list[tuple[Panel, float]] = [
        (simulated.ordered(panel, rows), 1.0),
        (replace(panel, units=np.array([f"z{i}" for i in rows])), 1.0),
        (replace(panel, **later), 1.0),
        (replace(panel, outcomes={"y": y + constants}), 1.0),
        (replace(panel, outcomes={"y": 40 * y}), 40.0),
    ]
    for changed, factor in same:
        made = pretrends(fitted(changed))
        np.testing.assert_allclose(made.tidy().iloc[:, 1:], factor * base.tidy().iloc[:, 1:], rtol=1e-8)
        slopes = np.array(list(base["slopes"].values()))
        np.testing.assert_allclose(list(made["slopes"].values()), factor * slopes)
        np.testing.assert_allclose(made["pretest"], base["pretest"], rtol=1e-7)


def test_the_default_violation_is_the_trend_missed_half_of_the_time_with_the_sign_of_the_effect() -> None:
    panel = simulated.panel()
    up = pretrends(fitted(panel))
    assert up["slope"] == up["slopes"][0.5] > 0
    assert up["pretest"].power == pytest.approx(0.5, abs=1e-8)
    np.testing.assert_allclose(up.frame["violation"], up["slopes"][0.5] * (up.frame["event_time"] + 1))
    mirrored = pretrends(fitted(replace(panel, outcomes={"y": -panel.outcomes["y"]})))
    np.testing.assert_allclose(mirrored.frame["violation"], -up.frame["violation"], rtol=1e-8)
    np.testing.assert_allclose(mirrored.frame["after_passing"], -up.frame["after_passing"], rtol=1e-8)


def test_with_anticipation_the_trend_starts_at_the_reference() -> None:
    found = pretrends(fitted(anticipation=1), slope=0.1)
    assert found["reference"] == -2
    np.testing.assert_allclose(found.frame["violation"], 0.1 * (found.frame["event_time"] + 2))
    assert pretrends(fitted(anticipation=1))["pretest"].power == pytest.approx(0.5, abs=1e-8)


def test_a_violation_can_be_given_by_slope_by_event_time_or_as_an_array() -> None:
    fit = fitted()
    linear = pretrends(fit, slope=-0.2)
    values = linear.frame["violation"].to_numpy()
    by_time = {int(e): float(v) for e, v in zip(linear.frame["event_time"], values, strict=True)}
    for given in (by_time, by_time | {-1: 0.0}, values, values.tolist()):
        made = pretrends(fit, violation=given)
        np.testing.assert_allclose(made.frame["violation"], values)
        assert made["pretest"] == linear["pretest"]
        assert made["slope"] is None


def test_a_violation_after_treatment_alone_is_not_seen_by_the_test() -> None:
    found = pretrends(fitted(), violation={-4: 0, -3: 0, -2: 0, 0: 1, 1: 1, 2: 1})
    assert found["pretest"].power == found["pretest"].size
    np.testing.assert_allclose(found.frame["after_passing"], found.frame["violation"], atol=1e-12)


def test_sentences_say_what_is_not_detected_and_what_it_would_explain() -> None:
    found = pretrends(fitted(), power=0.5)
    told = " ".join(found.sentences)
    reached, effect = 3 * found["slopes"][0.5], found.frame["estimate"].iloc[-1]
    assert f"A linear trend of {found['slopes'][0.5]:.3g} y a period" in told
    assert "in 50% of samples" in told
    assert f"by event time 2 it would amount to {reached:.3g} y, {reached / effect:.0%} of the effect" in told
    assert "passes the pre-trend test: 0 of 3" in told
    assert "20% of samples" not in told
    assert not found.tidy().isna().to_numpy().any()


def test_an_estimate_that_fails_the_test_is_said_to_fail() -> None:
    panel = simulated.panel()
    first = panel.first_treated["event"]
    drift = np.where(np.isnan(first), 0.0, 1.0)[:, None] * panel.periods
    found = pretrends(fitted(replace(panel, outcomes={"y": panel.outcomes["y"] + drift})))
    assert found["rejected"].all()
    assert found.against
    assert found.objection == "3 of 3 effects before treatment significant on their own at 5%"
    assert pretrends(fitted(panel)).against is False
    assert "does not pass the pre-trend test: 3 of 3" in found.sentences[0]


def test_with_few_treated_units_the_effects_that_are_significant_are_those_of_the_t_tests() -> None:
    few, rng = simulated.panel(40), np.random.default_rng(22)
    first = np.where(np.arange(40) < 4, 6.0, np.nan)
    few = replace(few, outcomes={"y": rng.normal(size=(40, 8))}, first_treated={"event": first})
    fit = fitted(few)
    found, tests = pretrends(fit), fit.by_event_time.tidy().set_index("event_time")
    before = tests.loc[found.frame["event_time"][:3]]
    assert list(found["rejected"]) == list(before["p_value"] < 0.05) == [False] * 3
    assert (before["estimate"] / before["std_error"]).abs().max() > 1.96
    assert found.against is False
    np.testing.assert_allclose(found.frame[["conf_low", "conf_high"]][:3], before[["conf_low", "conf_high"]])
    assert pretrends(fit.with_vcov("CR1"))["rejected"].any()  # whose tests are normal


def test_shares_of_one_mean_are_tested_with_the_degrees_of_freedom_of_their_own_influence() -> None:
    panel = simulated.panel(60, level=20.0)
    path, level = (event_path(fitted(panel, scale=scale), "test") for scale in ("proportional", "level"))
    assert np.all(np.isfinite(path.degrees))
    assert np.any(path.degrees != level.degrees)
    np.testing.assert_allclose(path.degrees, level.degrees, rtol=0.5)


def test_proportional_effects_are_in_percent() -> None:
    panel = replace(simulated.panel(), outcomes={"y": simulated.panel(level=20.0).outcomes["y"]})
    found = pretrends(fitted(panel, scale="proportional"))
    assert (
        f"trend of {100 * found['slopes'][0.5]:.3g}% of the counterfactual mean a period"
        in found.sentences[2]
    )
    assert "%" in found.plot().axes[0].get_ylabel()


def test_a_violation_that_hardly_any_sample_would_pass_has_no_mean_after_passing() -> None:
    found = pretrends(fitted(), slope=50.0)
    assert "after_passing" not in found.tidy()
    assert "Fewer than one sample in a million" in found.sentences[-1]
    assert "less than a millionth times" in found.sentences[-2]
    assert len(found.plot().axes[0].get_legend_handles_labels()[1]) == 2


def test_the_figure_shows_the_estimates_the_violation_and_the_mean_after_passing() -> None:
    found = pretrends(fitted())
    axis = found.plot().axes[0]
    assert found.plot(axis).axes == [axis]
    drawn = {line.get_label(): line.get_ydata() for line in axis.get_lines()}
    np.testing.assert_allclose(
        drawn["expected after passing, no effect"], np.insert(found.frame["after_passing"], 3, 0)
    )
    assert any(np.array_equal(ys, np.insert(found.frame["violation"], 3, 0)) for ys in drawn.values())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"power": 0.1}, r"power 0\.1 is not above 0\.1\d\d, the probability that the 3 t tests"),
        ({"power": 1.5}, "power is 1.5; it must lie between 0 and 1"),
        ({"power": float("nan")}, "power is nan"),
        ({"power": ()}, "power is empty"),
        ({"level": 1.0}, "level is 1.0; it must lie"),
        ({"slope": 0.1, "violation": [0.0] * 6}, "slope and violation are both given"),
        ({"slope": float("nan")}, "slope is nan; it must be a finite number"),
        (
            {"violation": [1.0, 2.0]},
            r"violation has shape \(2,\); give 6 values, for event times -4, -3, -2, 0",
        ),
        ({"violation": [float("inf")] * 6}, "not a finite number"),
        (
            {"violation": {-4: 0, -3: 0, -2: 0, 0: 1, 1: 1, 2: 1, 9: 1}},
            "a value for the unknown event time 9",
        ),
        ({"violation": {-4: 0, -3: 0, -2: 0, 0: 1, 1: 1}}, "has no value for event time 2"),
        ({"violation": {-4: 0, -3: 0, -2: 0, -1: 1, 0: 1, 1: 1, 2: 1}}, "zero at the reference -1"),
    ],
)
def test_options_that_cannot_be_answered_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(QuestionError, match=message):
        pretrends(fitted(), **options)


def test_estimates_that_cannot_be_tested_are_refused() -> None:
    one = replace(simulated.panel(), attributes={"state": np.full(100, "all")})
    no_lead = replace(simulated.panel(), periods=simulated.PERIODS + 0)
    early = np.where(no_lead.first_treated["event"] > 0, 2.0, np.nan)
    few = replace(simulated.panel(n=100), attributes={"state": np.where(np.arange(100) % 3, "a", "b")})
    cases = [
        (fitted(base="varying"), "varying"),
        (fitted(design="twfe"), "one coefficient"),
        (fitted(one, cluster="state"), "one cluster"),
        (fitted(replace(no_lead, first_treated={"event": early})), "0 event times before the reference"),
        (fitted(few, cluster="state"), "rank"),
    ]
    for fit, message in cases:
        with pytest.raises(QuestionError, match=message):
            pretrends(fit)
