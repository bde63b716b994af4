"""Adjusted p-values of a family: the step-down by brute force, false rejections, power, and several outcomes."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np
import pytest
import simulated
from scipy import stats

from study import Estimate, Panel, Question, QuestionError, compare, estimate
from study.core.distributions import normal_score
from study.core.influence import Influence
from study.estimates.multiplier import largest_draws, statistic_draws
from study.estimates.vcov.degrees import covariance_degrees
from study.inference.agreement import (
    adjusted_p_values,
    first_equal,
    holm,
    largest_test,
    median_test,
    romano_wolf,
    share_test,
)
from study.report import comparison_in

QUESTION = Question("y", "event", average="event_average", horizon=2)
OUTCOMES = ("y", "z", "noise", "late")


def correlated(rng: np.random.Generator, rho: float, clusters: int = 60, terms: int = 6) -> np.ndarray:
    common = np.sqrt(rho) * rng.normal(size=(clusters, 1))
    return common + np.sqrt(1 - rho) * rng.normal(size=(clusters, terms))


def by_hand(
    statistics: np.ndarray, sums: np.ndarray, draws: int, seed: int, weights: str, errors: str = "drawn"
) -> np.ndarray:
    """Return the step-down as its authors write it, one hypothesis and one draw at a time."""
    drawn = np.abs(np.concatenate(list(statistic_draws(sums, draws, seed, weights, errors))))
    left, before = list(range(len(statistics))), 0.0
    adjusted = np.zeros(len(statistics))
    while left:
        largest = max(left, key=lambda k: abs(statistics[k]))
        as_extreme = sum(max(drawn[b, k] for k in left) >= abs(statistics[largest]) for b in range(draws))
        before = adjusted[largest] = max(before, (1 + as_extreme) / (1 + draws))
        left.remove(largest)
    return adjusted


@pytest.mark.parametrize("weights", ["rademacher", "mammen", "webb"])
def test_the_step_down_is_that_of_taking_out_one_hypothesis_at_a_time(weights: str) -> None:
    rng = np.random.default_rng(3)
    sums = correlated(rng, 0.5, clusters=25)
    for statistics in (rng.normal(size=6), 2 * rng.normal(size=6), np.array([1.0, 1.1, 1.2, 1.3, -1.4, 3.0])):
        found = romano_wolf(statistics, sums, draws=199, seed=4, weights=weights)
        np.testing.assert_allclose(found, by_hand(statistics, sums, 199, 4, weights), rtol=0, atol=1e-12)


def test_adjusted_p_values_lie_between_those_of_one_test_and_of_the_largest_statistic() -> None:
    rng = np.random.default_rng(0)
    for rho in (0.0, 0.5, 0.95):
        sums, statistics = correlated(rng, rho), 1.5 * rng.normal(size=6)
        found = romano_wolf(statistics, sums, draws=999, seed=1)
        drawn = np.abs(
            np.concatenate(list(statistic_draws(sums, 999, 1, weights="rademacher", errors="drawn")))
        )
        alone = (1 + np.sum(drawn >= np.abs(statistics), axis=0)) / 1000
        single = (1 + np.sum(drawn.max(axis=1)[:, None] >= np.abs(statistics), axis=0)) / 1000
        assert (alone <= found).all()
        assert (found <= single).all()
        assert found[np.abs(statistics).argmax()] == single[np.abs(statistics).argmax()]
        assert (found < single).any()
        assert (np.diff(found[np.argsort(-np.abs(statistics))]) >= 0).all()


def test_the_largest_statistic_has_the_p_value_of_the_sup_t_test() -> None:
    rng = np.random.default_rng(5)
    sums, statistics = correlated(rng, 0.3), np.array([0.1, -2.4, 1.0, 0.4, 2.2, -0.3])
    found = romano_wolf(statistics, sums, draws=999, seed=7, errors="sample")
    assert found[1] == (1 + np.sum(largest_draws(sums, 999, 7, "rademacher") >= 2.4)) / 1000


def test_a_hypothesis_that_is_there_twice_counts_once() -> None:
    rng = np.random.default_rng(6)
    sums, statistics = correlated(rng, 0.2, terms=3), np.array([2.1, -1.8, 0.4])
    once = romano_wolf(statistics, sums, draws=999, seed=0)
    twice = romano_wolf(np.tile(statistics, 2), np.hstack([sums, sums]), draws=999, seed=0)
    np.testing.assert_allclose(twice, np.tile(once, 2), rtol=0, atol=2e-3)
    assert holm(np.tile([0.01, 0.2], 2))[0] == pytest.approx(0.04)


def test_adjusted_p_values_do_not_depend_on_order_or_units_of_measurement() -> None:
    rng = np.random.default_rng(7)
    sums, statistics = correlated(rng, 0.4), np.array([2.5, 0.2, -2.0, 1.1, 1.9, -3.0])
    found = romano_wolf(statistics, sums, draws=999, seed=2)
    order = rng.permutation(6)
    np.testing.assert_allclose(
        romano_wolf(statistics[order], 1e4 * sums[:, order], draws=999, seed=2), found[order], atol=2e-3
    )


def test_independent_hypotheses_have_the_p_values_of_sidak_at_the_first_step() -> None:
    sums = np.random.default_rng(1).normal(size=(2000, 5))
    statistics = np.array([2.6, 0.1, 0.2, -0.3, 0.4])
    found = romano_wolf(statistics, sums, draws=19_999, seed=1)
    sidak = 1 - (1 - 2 * stats.norm.sf(2.6)) ** 5
    assert found[0] == pytest.approx(sidak, abs=4 * np.sqrt(sidak / 20_000))


def test_holm_multiplies_by_the_number_of_hypotheses_left() -> None:
    np.testing.assert_allclose(holm(np.array([0.04, 0.001, 0.03])), [0.06, 0.003, 0.06], rtol=1e-12)
    np.testing.assert_allclose(holm(np.array([0.9, 0.6])), [1.0, 1.0])
    assert holm(np.array([0.3])) == pytest.approx([0.3])


def stepped_down(p_values: np.ndarray) -> np.ndarray:
    """Return Holm's p-values one by one, each at least the one before it."""
    adjusted, least = np.empty(len(p_values)), 0.0
    for left, k in zip(range(len(p_values), 0, -1), np.argsort(p_values), strict=True):
        adjusted[k] = least = min(1.0, max(least, left * p_values[k]))
    return adjusted


def test_holm_steps_down_one_by_one() -> None:
    p_values = np.random.default_rng(9).uniform(size=12) ** 4
    np.testing.assert_allclose(holm(p_values), stepped_down(p_values), rtol=1e-12)


@cache
def rejections(rho: float, false: int, size: float) -> tuple[np.ndarray, np.ndarray]:
    """Return which hypotheses are rejected at 5%, Romano and Wolf's and Holm's; the last ones are false."""
    rng = np.random.default_rng(round(100 * rho) + false)
    stepped, by_holm = [], []
    for seed in range(600):
        y = correlated(rng, rho)
        y[:, 6 - false :] += size
        sums = y - y.mean(axis=0)
        statistics = y.mean(axis=0) / (y.std(axis=0, ddof=1) / np.sqrt(len(y)))
        stepped.append(romano_wolf(statistics, sums, draws=299, seed=seed) <= 0.05)
        by_holm.append(stepped_down(2 * stats.t.sf(np.abs(statistics), len(y) - 1)) <= 0.05)
    return np.array(stepped), np.array(by_holm)


@pytest.mark.parametrize(("rho", "false"), [(0.0, 0), (0.5, 0), (0.9, 0), (0.5, 3), (0.9, 2)])
def test_any_true_hypothesis_is_rejected_in_at_most_five_percent_of_samples(rho: float, false: int) -> None:
    stepped, _ = rejections(rho, false, 0.35)
    share = stepped[:, : 6 - false].any(axis=1).mean()
    error = np.sqrt(0.05 * 0.95 / len(stepped))
    assert share <= 0.05 + 3 * error
    if false == 0:
        assert share >= 0.05 - 3 * error


@pytest.mark.parametrize(("rho", "gain"), [(0.5, 0.0), (0.9, 0.03)])
def test_false_hypotheses_are_found_oftener_than_by_holm_where_errors_are_correlated(
    rho: float, gain: float
) -> None:
    stepped, by_holm = rejections(rho, 3 if rho == 0.5 else 2, 0.35)
    assert stepped[:, -2:].mean() > by_holm[:, -2:].mean() + gain


def four_outcomes(n: int = 150, seed: int = 0) -> Panel:
    panel = simulated.panel(n=n, seed=seed, level=9.0)
    rng, y = np.random.default_rng(seed + 50), panel.outcomes["y"]
    late = y.copy()
    late[::5] = np.nan
    drawn = {name: rng.normal(size=y.shape) for name in ("z", "noise")}
    return replace(
        panel,
        outcomes={"y": y, "z": 0.2 * y + drawn["z"], "noise": drawn["noise"], "late": late},
    )


def fits_of(panel: Panel, design: str = "callaway_santanna", **changes: object) -> dict[str, Estimate]:
    return {name: estimate(panel, QUESTION.replace(outcome=name, **changes), design) for name in OUTCOMES}


def test_draws_that_tie_with_what_is_observed_count_in_the_tests_of_a_curve() -> None:
    null = np.array([[1.0, -3.0], [-2.5, 2.0], [0.0, 0.0], [2.0, 2.0]])
    statistics, critical = np.array([2.0, -3.0]), np.array([2.0, 2.0])
    found = largest_test(statistics, np.abs(null).max(axis=1), 0.5)
    assert found == (3.0, 2.25, (1 + 1) / 5, 4)  # largest: 3, 2.5, 0, 2
    share = share_test(statistics, critical, null)
    assert share == (1, 2, (1 + 1) / 4 / 2, (1 + 2) / 5)  # above the critical value: 1, 1, 0, 0
    assert (
        median_test(np.array([1.0, -3.0]), np.array([1.0, 1.0]), null) == (1 + 2) / 5
    )  # 1, 0.25, 0, 2; of 1
    assert median_test(np.array([4.0, 4.0]), np.array([1.0, 2.0]), null) == 1 / 5  # 2.5, 0.75, 0, 3
    drawn = romano_wolf(np.array([9.0, -9.5]), np.eye(3)[:, :2] + 1, draws=99, seed=0)
    np.testing.assert_array_equal(drawn, [0.01, 0.01])


@pytest.mark.parametrize(("apart", "same"), [(0.0, True), (0.25, True), (0.26, False), (-0.25, True)])
def test_specifications_are_equal_up_to_the_tolerance_in_effect_and_in_every_cluster(
    apart: float, same: bool
) -> None:
    sums, unit = np.repeat([[1.0], [0.0]], 3, axis=1), np.zeros(3, dtype=np.int64)
    effect = np.array([5.0, 5.0 + apart, 9.0])
    assert first_equal(effect, sums, unit, 0.25).tolist() == [0, 0 if same else 1, 2]
    moved = sums.copy()
    moved[1, 1] = apart  # the size of the second is the root of 1 + apart^2
    close = abs(apart) <= 0.25 * np.sqrt(1 + apart**2)
    assert first_equal(np.full(3, 5.0), moved, unit, 0.25).tolist() == [0, 0 if close else 1, 0]
    assert first_equal(np.full(3, 5.0), sums, np.array([0, 1, 1]), 0.25).tolist() == [0, 1, 1]
    quarter = np.array([[5.0, 4.0], [0.0, 0.0]])
    assert first_equal(np.full(2, 5.0), quarter, unit[:2], 0.25).tolist() == [0, 0]
    assert first_equal(np.full(2, 5.0), quarter, unit[:2], 0.24).tolist() == [0, 1]


@pytest.mark.parametrize("cluster", [None, "state"])
def test_outcomes_are_adjusted_by_the_joint_sums_of_their_influence(cluster: str | None) -> None:
    panel = four_outcomes()
    y, noise = panel.outcomes["noise"], panel.outcomes["z"] - 0.2 * panel.outcomes["y"]
    late = np.where(np.isnan(panel.outcomes["late"]), np.nan, y + noise)
    drawn = {"y": y + 0.5 * noise, "z": noise, "noise": noise - y, "late": late}
    panel = replace(panel, outcomes=drawn)
    fits = fits_of(panel, cluster=cluster)
    found = adjusted_p_values(fits, draws=4999, seed=3)
    columns, effects = [], []
    for fit in fits.values():
        whole = np.zeros(panel.n_units)
        whole[np.searchsorted(panel.units, fit.sample.unit_ids)] = (
            fit.headline.errors.dense()[:, 0] / fit.sample.n_units
        )
        columns.append(whole)
        effects.append(fit.headline.effect[0])
    labels = np.arange(panel.n_units) if cluster is None else np.arange(panel.n_units) % 17
    sums = Influence.of(np.column_stack(columns)).cluster_sums(labels)
    treated = np.isin(np.arange(len(sums)), labels[panel.first_treated["event"] <= panel.periods[-1]])
    alike = np.zeros(len(sums), dtype=np.int64)
    degrees = [covariance_degrees(own[:, None], treated, None, own != 0, alike) for own in sums.T]
    statistics = normal_score(np.array(effects) / np.sqrt(np.sum(sums**2, axis=0)), degrees)
    order, expected = (
        np.argsort(-statistics),
        np.empty(len(statistics)),
    )  # normal draws are made in this order
    expected[order] = by_hand(statistics[order], sums[:, order], 4999, 3, "gaussian", "sample")
    alone = np.array([fit.headline.tidy()["p_value"][0] for fit in fits.values()])
    np.testing.assert_allclose(list(found.values()), np.maximum(expected, alone), rtol=0, atol=1e-3)
    assert ((expected > 0.1) & (expected > alone + 0.02)).any()


def test_no_adjusted_p_value_is_below_the_estimates_own() -> None:
    fits = fits_of(four_outcomes(), "twfe", cluster="state")
    for method in ("romano_wolf", "holm"):
        found = adjusted_p_values(fits, method=method, draws=199)
        assert list(found) == list(OUTCOMES)
        for label, fit in fits.items():
            assert found[label] >= fit.headline.tidy()["p_value"][0]
    one = adjusted_p_values({"noise": fits["noise"]}, method="holm")
    assert one["noise"] == pytest.approx(fits["noise"].headline.tidy()["p_value"][0], rel=1e-12)


def test_units_in_another_order_do_not_matter_and_the_seed_does() -> None:
    panel = four_outcomes()
    order = np.random.default_rng(0).permutation(panel.n_units)
    fits, shuffled = fits_of(panel), fits_of(simulated.ordered(panel, order))
    found = adjusted_p_values(fits, draws=999, seed=1)
    assert found == pytest.approx(adjusted_p_values(shuffled, draws=999, seed=1), abs=2e-3)
    assert found == adjusted_p_values(fits, draws=999, seed=1)
    others = [adjusted_p_values(fits, draws=999, seed=seed)["noise"] for seed in (2, 3, 4)]
    others.append(adjusted_p_values(fits, draws=999, seed=1, weights="webb")["noise"])
    assert len({found["noise"], *others}) > 2


def test_effects_on_different_scales_can_be_one_family() -> None:
    panel = four_outcomes()
    fits = {
        scale: estimate(panel, QUESTION.replace(scale=scale)) for scale in ("level", "log1p", "proportional")
    }
    assert max(adjusted_p_values(fits, draws=199).values()) < 0.02


@pytest.mark.parametrize(
    ("change", "arguments", "said"),
    [
        (lambda fits: {}, {}, "there is no estimate"),
        (lambda fits: fits, {"method": "hom"}, 'no method "hom"'),
        (lambda fits: fits, {"weights": "web"}, 'Did you mean "webb"'),
        (lambda fits: fits, {"draws": 0}, "draws is 0"),
    ],
)
def test_a_mistake_in_what_is_asked_is_one_clear_line(change, arguments, said: str) -> None:
    with pytest.raises(QuestionError, match=said):
        adjusted_p_values(change(fits_of(four_outcomes(60))), **arguments)


def test_estimates_without_variance_with_one_cluster_or_unlike_clusters_are_refused() -> None:
    panel = four_outcomes(60)
    panel = replace(panel, attributes=dict(panel.attributes) | {"one": np.full(60, "a")})
    fit = estimate(panel, QUESTION)
    fixed = replace(fit, level_influence=Influence.none(60, len(fit.terms)), cohort_weights=None)
    with pytest.raises(QuestionError, match="x has no sampling variance"):
        adjusted_p_values({"y": fit, "x": fixed})
    with pytest.raises(QuestionError, match="x has one cluster"):
        adjusted_p_values({"x": estimate(panel, QUESTION.replace(cluster="one"))})
    with pytest.raises(QuestionError, match="cluster by state and unit"):
        adjusted_p_values({"y": fit, "x": estimate(panel, QUESTION.replace(cluster="state"))})
    for bad in ([], [0.5, np.nan], [0.2, 1.2], [[0.1]]):
        with pytest.raises(QuestionError, match="numbers between 0 and 1"):
            holm(np.array(bad))


def test_a_comparison_of_several_outcomes_adjusts_each_designs_p_values_for_them() -> None:
    panel = four_outcomes()
    designs = ["callaway_santanna", "event_study", "twfe"]
    table = compare(panel, QUESTION, designs, list(OUTCOMES), draws=299, seed=5).tidy()
    for design in designs:
        fits = fits_of(panel, design)
        rows = table[table["design"] == design].set_index("outcome")
        assert rows["p_romano_wolf"].to_dict() == adjusted_p_values(fits, draws=299, seed=5)
        assert rows["p_holm"].to_dict() == adjusted_p_values(fits, method="holm")


def test_an_outcome_without_variance_is_not_part_of_the_family() -> None:
    panel = four_outcomes(80)
    panel = replace(panel, outcomes=dict(panel.outcomes) | {"zero": np.zeros((80, 8))})
    designs = ["callaway_santanna"]
    table = compare(panel, QUESTION, designs, ["y", "noise", "zero"], draws=99).tidy().set_index("outcome")
    fits = {name: estimate(panel, QUESTION.replace(outcome=name)) for name in ("y", "noise")}
    assert table["p_holm"].dropna().to_dict() == adjusted_p_values(fits, method="holm")
    assert np.isnan(table.loc["zero", "p_romano_wolf"])


def test_a_comparison_of_one_outcome_has_nothing_to_adjust() -> None:
    found = compare(four_outcomes(80), QUESTION, ["callaway_santanna", "event_study"], draws=99)
    assert "p_holm" not in found.tidy()
    assert "Holm" not in str(found)


def test_the_text_and_the_table_show_the_adjusted_p_values_and_say_what_the_family_is() -> None:
    panel = four_outcomes(80)
    found = compare(panel, QUESTION, ["callaway_santanna", "twfe"], ["y", "noise"], draws=99)
    text, table = str(found), comparison_in("latex", found)
    family = "The family of each design is its averages for 2 outcomes (y, noise)"
    assert family in " ".join(table.split())
    row = found.tidy().set_index(["outcome", "design"]).loc[("noise", "twfe")]
    assert "p_romano_wolf" in text
    assert f"{row.p_romano_wolf:.3f}" in text
    assert "p-values adjusted for the outcomes" in table
    assert "(2), Romano-Wolf" in table
    assert f"{row.p_holm:.3f}" in table


def test_a_design_that_refuses_has_no_adjusted_p_value() -> None:
    question = QUESTION.replace(comparison="never_treated")
    found = compare(four_outcomes(80), question, ["event_study", "callaway_santanna"], ["y", "z"], draws=99)
    rows = found.tidy().set_index("design")
    assert rows.loc["event_study", "p_romano_wolf"].isna().all()
    assert rows.loc["callaway_santanna", "p_romano_wolf"].notna().all()
    assert "(1), Holm" not in str(found)
