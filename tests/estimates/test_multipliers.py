"""Weights of the multiplier bootstrap: their moments, what they agree on, and few clusters."""

from __future__ import annotations

from itertools import product

import goldens
import numpy as np
import pytest
import simulated
from hypothesis import given, settings
from hypothesis import strategies as st
from references.did import BOOTSTRAP, bootstrapped_fit, bootstrapped_influence, interquartile_errors
from scipy import stats
from threadpoolctl import threadpool_limits

from study import Question, QuestionError, estimate
from study.core.influence import Influence
from study.estimates import multiplier
from study.estimates.multiplier import (
    TIE,
    distribution,
    exceeded,
    largest_draws,
    least_as_large,
    statistic_draws,
    sup_t,
)
from study.inference.agreement import romano_wolf

WEIGHTS = ("rademacher", "mammen", "webb")
ERRORS = ("sample", "drawn")
SUMS = np.random.default_rng(0).normal(size=(37, 3)) @ np.array([[1, 0.6, 0], [0, 0.8, 0.5], [0, 0, 1]])


def draws_of(sums: np.ndarray, draws: int, seed: int, weights: str, errors: str = "sample") -> np.ndarray:
    return np.concatenate(list(statistic_draws(sums, draws, seed, weights, errors)))


@pytest.mark.parametrize(
    ("weights", "moments"),
    [("rademacher", (0, 1, 0, 1)), ("mammen", (0, 1, 1, 2)), ("webb", (0, 1, 0, 7 / 6))],
)
def test_a_weight_has_the_first_four_moments_of_its_paper(weights: str, moments: tuple[float, ...]) -> None:
    values, probabilities = distribution(weights)
    assert probabilities.sum() == pytest.approx(1, abs=1e-15)
    for power, moment in enumerate(moments, start=1):
        assert np.sum(probabilities * values**power) == pytest.approx(moment, abs=1e-14)


@pytest.mark.parametrize("weights", WEIGHTS)
def test_a_weight_is_drawn_as_often_as_its_probability_says(weights: str) -> None:
    values, probabilities = distribution(weights)
    drawn = draws_of(np.array([[1.0]]), 40_000, 3, weights)[:, 0]
    shares = [np.mean(np.isclose(drawn, value)) for value in values]
    np.testing.assert_allclose(shares, probabilities, atol=4 * np.sqrt(0.25 / 40_000))
    assert sum(shares) == 1


@pytest.mark.parametrize(("weights", "errors"), list(product(WEIGHTS, ERRORS)))
def test_draws_equal_those_of_every_pattern_of_weights_by_plain_algebra(weights: str, errors: str) -> None:
    sums = SUMS[:3]
    values, probabilities = distribution(weights)
    largest, chance = [], []
    for pattern in product(range(len(values)), repeat=3):
        weighted = values[list(pattern)][:, None] * sums
        error = np.sqrt(np.sum(sums**2, axis=0))
        if errors == "drawn":
            error = np.sqrt(3 / 2 * np.sum((weighted - weighted.mean(axis=0)) ** 2, axis=0))
        largest.append(np.max(np.abs(weighted.sum(axis=0)) / error))
        chance.append(np.prod(probabilities[list(pattern)]))
    drawn = largest_draws(sums, 20_000, 1, weights, errors)
    distance = np.abs(drawn[:, None] / np.array(largest) - 1).min(axis=1)
    assert distance.max() < 1e-3
    for point in np.quantile(largest, [0.2, 0.5, 0.8]) * (1 + 1e-4):
        expected = np.sum(np.array(chance)[np.array(largest) <= point])
        assert np.mean(drawn <= point) == pytest.approx(expected, abs=4 * np.sqrt(0.25 / 20_000))


@pytest.mark.parametrize("weights", WEIGHTS)
def test_draws_have_the_correlation_of_the_terms_and_variance_one(weights: str) -> None:
    drawn = draws_of(SUMS, 40_000, 0, weights)
    scale = np.sqrt(np.sum(SUMS**2, axis=0))
    np.testing.assert_allclose(np.cov(drawn.T), SUMS.T @ SUMS / np.outer(scale, scale), atol=0.03)


@pytest.mark.parametrize(("weights", "errors"), list(product(WEIGHTS, ERRORS)))
def test_draws_depend_on_the_seed_alone(weights: str, errors: str, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = largest_draws(SUMS, 999, 5, weights, errors)
    np.testing.assert_array_equal(whole, largest_draws(SUMS, 999, 5, weights, errors))
    assert not np.array_equal(whole, largest_draws(SUMS, 999, 6, weights, errors))
    monkeypatch.setattr(multiplier, "NUMBERS_AT_ONCE", 40 * len(SUMS))
    np.testing.assert_allclose(largest_draws(SUMS, 999, 5, weights, errors), whole, rtol=1e-12)


@pytest.mark.parametrize("weights", WEIGHTS)
def test_draws_are_the_same_bytes_for_any_number_of_threads(weights: str) -> None:
    sums = np.random.default_rng(2).normal(size=(3_000, 25))
    drawn = []
    for threads in (1, 2):
        with threadpool_limits(threads, user_api="blas"):
            drawn.append(largest_draws(sums, 64, 3, weights, "drawn").tobytes())
    assert drawn[0] == drawn[1]


def test_signs_are_those_that_the_paper_was_made_with() -> None:
    found = largest_draws(
        np.eye(2)[[0, 0, 0, 1, 1]] * np.arange(1.0, 6.0)[:, None], 6, 20261125, "rademacher"
    )
    signs = np.unpackbits(
        np.frombuffer(np.random.default_rng(20261125).bytes(24), np.uint8).reshape(6, 4), axis=1, count=5
    )
    w = 2.0 * signs - 1
    first = np.abs(w[:, 0] + 2 * w[:, 1] + 3 * w[:, 2]) / np.sqrt(14)
    second = np.abs(4 * w[:, 3] + 5 * w[:, 4]) / np.sqrt(41)
    np.testing.assert_allclose(found, np.maximum(first, second), rtol=1e-13)


@settings(max_examples=200, deadline=None)
@given(st.lists(st.integers(-50, 50).filter(bool), min_size=2, max_size=9), st.integers(0, 2**32 - 1))
def test_draws_that_equal_the_statistic_count_as_whole_numbers_say(sums: list[int], seed: int) -> None:
    words = np.frombuffer(np.random.default_rng(seed).bytes(4 * 199), np.uint8).reshape(199, 4)
    drawn = np.abs((2 * np.unpackbits(words, axis=1, count=len(sums)).astype(int) - 1) @ np.array(sums))
    observed, columns = abs(sum(sums)), np.array(sums, dtype=float)[:, None]
    statistic = observed / np.sqrt(float(np.sum(columns**2)))
    expected = (1 + np.sum(drawn >= observed)) / 200
    assert exceeded(largest_draws(columns, 199, seed, "rademacher"), statistic) == expected
    assert romano_wolf(np.array([statistic]), columns, draws=199, seed=seed, errors="sample") == expected


@given(st.lists(st.floats(1e-3, 1e3), min_size=1, max_size=50), st.integers(0), st.floats(-1e-12, 1e-12))
def test_rounding_of_the_statistic_or_of_the_draws_moves_no_p_value(
    sizes: list[float], which: int, rounding: float
) -> None:
    drawn = np.round(sizes, 3)  # apart by more than a tie, or equal
    observed = drawn[which % len(drawn)]
    expected = (1 + np.sum(drawn >= observed)) / (1 + len(drawn))
    assert exceeded(drawn, observed * (1 + rounding)) == expected
    assert exceeded(drawn * (1 + rounding), observed) == expected


def test_a_tie_is_relative_to_the_statistic_or_to_the_scale_of_the_draws_and_nothing_has_no_p_value() -> None:
    assert 2 * (1 - 2 * TIE) < least_as_large(2.0) < 2 * (1 - TIE / 2)
    assert least_as_large(1e-17, 1.0) < 0 < least_as_large(1e-17)
    np.testing.assert_array_equal(exceeded(np.array([1.0, 3.0]), np.array([np.nan, 2.0])), [np.nan, 2 / 3])


def test_a_band_is_the_quantile_of_the_draws_and_nowhere_inside_pointwise_intervals() -> None:
    drawn = np.linspace(0.0, 20.0, 1001)
    for level in (0.8, 0.9, 0.95):
        assert sup_t(drawn, level) == pytest.approx(20 * level, rel=1e-12)
        assert sup_t(drawn / 20, level) == pytest.approx(stats.norm.ppf((1 + level) / 2), rel=1e-12)


def test_with_many_clusters_all_weights_and_errors_give_one_band() -> None:
    sums = np.random.default_rng(1).normal(size=(1500, 6))
    expected = stats.norm.ppf((1 + 0.95 ** (1 / 6)) / 2)
    for weights, errors in product(WEIGHTS, ERRORS):
        found = sup_t(largest_draws(sums, 9999, 1, weights, errors), 0.95)
        assert found == pytest.approx(expected, rel=0.02)


def test_with_few_clusters_a_band_covers_only_if_each_draw_has_its_own_error() -> None:
    rng, samples, groups = np.random.default_rng(8), 400, 8
    covered = {kind: 0 for kind in product(WEIGHTS, ERRORS)}
    for seed in range(samples):
        y = rng.normal(size=(groups, 1)) + rng.normal(size=(groups, 3))
        sums, error = y - y.mean(axis=0), y.std(axis=0, ddof=1) / np.sqrt(groups)
        for weights, errors in covered:
            critical = sup_t(largest_draws(sums, 399, seed, weights, errors), 0.95)
            covered[weights, errors] += bool(np.all(np.abs(y.mean(axis=0)) <= critical * error))
    share = {kind: count / samples for kind, count in covered.items()}
    assert all(share[weights, "sample"] < 0.88 for weights in WEIGHTS)
    for weights in ("rademacher", "webb"):
        assert share[weights, "drawn"] == pytest.approx(0.95, abs=3 * np.sqrt(0.05 * 0.95 / samples))
    assert share["mammen", "drawn"] < share["webb", "drawn"] - 0.04


@pytest.mark.parametrize(("panel", "package", "name"), BOOTSTRAP, ids=["-".join(run) for run in BOOTSTRAP])
def test_quartile_errors_are_those_that_did_simulates(panel: str, package: str, name: str) -> None:
    run, fit = goldens.runs(panel, package)[name], bootstrapped_fit(panel, name)
    influence, cluster = bootstrapped_influence(fit, name), fit.sample.cluster
    sums = Influence.of(influence).cluster_sums(cluster)
    ours = interquartile_errors(sums, n_units=len(influence), draws=9999, seed=0)
    theirs = np.array([r["se"] for r in run["att_gt"]])
    np.testing.assert_allclose(ours, theirs, rtol=0.1)
    assert np.exp(np.mean(np.log(ours / theirs))) == pytest.approx(1, abs=0.03)


@pytest.mark.parametrize("weights", WEIGHTS)
def test_quartile_errors_are_the_standard_errors_where_clusters_are_many(weights: str) -> None:
    sums = np.random.default_rng(1).normal(size=(2000, 4)) * np.arange(1, 5)
    found = interquartile_errors(sums, n_units=5000, draws=9999, seed=2, weights=weights)
    np.testing.assert_allclose(found, np.sqrt(np.sum(sums**2, axis=0)) / 5000, rtol=0.04)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"weights": "mamen"}, 'Did you mean "mammen"'),
        ({"errors": "own"}, 'no errors "own"'),
        ({"draws": 0}, "draws is 0"),
    ],
)
def test_a_mistake_is_one_clear_line(arguments: dict[str, object], said: str) -> None:
    with pytest.raises(QuestionError, match=said):
        estimate(simulated.panel(n=40), Question("y", "event"), "twfe").band(**arguments)


def test_one_cluster_has_no_drawn_error() -> None:
    with pytest.raises(QuestionError, match="there is one cluster"):
        largest_draws(SUMS[:1], 99, 0, "rademacher", "drawn")
