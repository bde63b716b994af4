"""Default standard errors: what leaving units out gives, with the degrees of freedom that clusters leave."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cache
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import searching
import simulated
from scipy import stats

from study import Estimate, Panel, Question, QuestionError, estimate, joint
from study.core import influence as influences
from study.designs import Supports, all_designs
from study.estimates import Effect, only_in_cells, only_row
from study.estimates.contrast import Sides, largest, present
from study.estimates.vcov.degrees import covariance_degrees, sums_by_cluster
from study.panel.rows import strata

AVERAGES = ("event_average", "treated_average", "cohort_average", "calendar_average")
NEVER = Question("y", "event", comparison="never_treated", min_cohort_size=1)
PLAIN = Question("y", "event", min_cohort_size=1)
# Counterfactuals of imputation and of etwfe rest on the treated units' own early periods too, which the leverage of a
# mean leaves out.
CLOSENESS = {"callaway_santanna": 1e-9, "sun_abraham": 1e-9, "imputation": 0.02, "etwfe": 0.02}


def few(treated: int = 12, units: int = 40, seed: int = 0) -> Panel:
    """Return a panel with cohorts of the same size in periods 4, 5 and 6 and independent errors."""
    rng = np.random.default_rng(seed)
    first = np.full(units, np.nan)
    first[:treated] = np.resize(np.sort(np.resize([4.0, 5.0, 6.0], treated)), treated)
    y = (
        rng.normal(size=(units, 1))
        + rng.normal(size=(units, 8))
        + 0.5 * (first[:, None] <= simulated.PERIODS)
    )
    return replace(simulated.panel(n=units), outcomes={"y": y}, first_treated={"event": first})


def left_out(
    panel: Panel, question: Question, design: str, options: Mapping[str, Any], labels: np.ndarray, to: str
):
    """Return the root of the sum of squares by which an average moves without each of some sets of units."""
    whole, *without = [
        estimate(part, question, design, **options)
        for part in (panel, *(simulated.subset(panel, labels != label) for label in np.unique(labels)))
    ]
    return error_of(whole, without, to), whole.aggregate(to)


def error_of(whole: Estimate, without: Sequence[Estimate], to: str) -> np.ndarray:
    """Return the root of the sum of squares by which an average moves."""
    effect = whole.aggregate(to).effect
    return np.sqrt(sum((fit.aggregate(to).effect - effect) ** 2 for fit in without))


@cache
def without_units(design: str) -> tuple[Estimate, list[Estimate]]:
    """Return a design's estimate on a panel, and those without each of its units."""
    if design == "triple_difference":
        panel, question = of_a_third_difference(eligible_alone=False)
        panel, question = simulated.ordered(panel, np.r_[0:14, 32:44, 56:76]), question.replace(cluster=None)
    else:
        panel, question = few(units=24), NEVER
    parts = (simulated.subset(panel, panel.units != unit) for unit in panel.units)
    return estimate(panel, question, design), [estimate(part, question, design) for part in parts]


@pytest.mark.parametrize("to", [*AVERAGES, "cohort"])
@pytest.mark.parametrize("design", CLOSENESS)
def test_the_error_is_that_of_leaving_out_each_unit(design: str, to: str) -> None:
    whole, without = without_units(design)
    error = error_of(whole, without, to)
    assert whole.aggregate(to).std_error == pytest.approx(error, rel=CLOSENESS[design])


def test_it_is_that_of_leaving_out_units_for_cohorts_by_period_too() -> None:
    panel, question = few(units=24), NEVER
    whole = estimate(panel, question, "callaway_santanna")
    moved = [
        estimate(simulated.subset(panel, panel.units != unit), question, "callaway_santanna").effect
        - whole.effect
        for unit in panel.units
    ]
    found = ~whole.reference
    assert whole.std_error[found] == pytest.approx(np.sqrt(np.sum(np.square(moved), axis=0))[found], rel=1e-9)


def test_it_is_that_of_leaving_out_units_with_sampling_weights() -> None:
    panel = few(units=24)
    error, whole = left_out(
        panel, replace(NEVER, weights="size"), "callaway_santanna", {}, panel.units, "event"
    )
    varies = whole.varies
    assert whole.std_error[varies] == pytest.approx(error[varies], rel=1e-9)


@pytest.mark.parametrize(
    ("fields", "closeness"),
    [
        ({}, 1e-9),
        ({"cluster": "state"}, 1e-9),
        ({"weights": "size"}, 1e-9),
        ({"comparison": "not_yet_treated", "base": "varying"}, 1e-9),
        ({"missing": "cells"}, 1e-9),
        ({"missing": "cells", "cluster": "state"}, 1e-9),
        ({"missing": "cells", "weights": "size"}, 1e-9),
        ({"scale": "proportional"}, 2e-3),  # a ratio moves not quite by its derivative
        ({"scale": "proportional", "missing": "cells"}, 2e-3),
    ],
)
def test_with_gaps_it_is_that_of_leaving_out_clusters_and_the_cells_that_they_alone_are_seen_in(
    fields: dict[str, Any], closeness: float
) -> None:
    panel, rng = few(units=30), np.random.default_rng(11)
    labels = np.array([f"s{k % 13:02d}" for k in range(30)])
    y = np.where(rng.random((30, 8)) < 0.15, np.nan, panel.outcomes["y"] + 1000)
    panel = replace(panel, outcomes={"y": y}, attributes={"state": labels})
    labels = labels if "cluster" in fields else panel.units
    fits = [
        estimate(part, NEVER.replace(**fields), "callaway_santanna")
        for part in (panel, *(simulated.subset(panel, labels != label) for label in np.unique(labels)))
    ]
    assert fits[0].contrast.only is not None
    assert np.any(fits[0].contrast.only >= 0) == ("missing" not in fields)
    for to in ("treated_average", "cohort_average", "cohort", "event"):
        average, error = fits[0].aggregate(to), error_of(fits[0], fits[1:], to)
        assert np.all(average.varies | average.reference)
        several = average.varies & (True if average.contrast.only is None else average.contrast.only < 0)
        assert average.std_error[several] == pytest.approx(error[several], rel=closeness)


def test_of_repeated_cross_sections_it_is_that_of_leaving_out_each_unit() -> None:
    rng, n = np.random.default_rng(3), 96
    y = np.where(np.arange(n)[:, None] % 8 == np.arange(8), rng.normal(size=(n, 8)), np.nan)
    first = np.where(np.arange(n) < 40, 4.0, np.nan)
    panel = replace(simulated.panel(n=n), outcomes={"y": y}, first_treated={"event": first})
    whole, *without = [
        estimate(part, NEVER.replace(missing="cells"), "callaway_santanna")
        for part in (panel, *(simulated.subset(panel, panel.units != unit) for unit in panel.units))
    ]
    error = np.sqrt(sum((fit.effect - whole.effect) ** 2 for fit in without))
    assert whole.std_error[~whole.reference] == pytest.approx(error[~whole.reference], rel=1e-9)
    headline = error_of(whole, without, "event_average")
    assert whole.aggregate("event_average").std_error == pytest.approx(headline, rel=1e-9)
    y[90, 2] = np.nan  # one comparison unit fewer in the base period
    fewer = estimate(replace(panel, outcomes={"y": y}), NEVER.replace(missing="cells"), "callaway_santanna")
    assert (fewer.leave_out.clusters[:, ~fewer.reference] == [[5], [6]]).all()


def test_rows_that_stand_for_several_clusters_are_not_one() -> None:
    replicas = SimpleNamespace(frequency=np.array([3, 1]))
    one_each = (np.array([np.nan, 2010]), [np.array([0]), np.array([1])])
    sample: Any = SimpleNamespace(cluster=np.array([0, 1]), replicas=replicas, n_rows=2, groups=one_each)
    assert [only_row(sample, np.array(rows)) for rows in ([0], [1], [0, 1], [1, 1])] == [-1, 1, -1, 1]
    cells, seen = np.array([[[True, False, True]], [[False, True, True]]]), np.ones((2, 1), dtype=bool)
    assert list(only_in_cells(sample, cells, seen)) == [-1, 1, -1]
    assert list(only_in_cells(sample, cells, ~seen)) == [-1, -1, -1]


@pytest.mark.parametrize(
    ("design", "options", "most"),
    [
        ("event_study", {}, 1.1),
        ("event_study", {"bin_at": 3}, 1.1),
        ("lp_did", {}, 1.1),
        ("lp_did", {"weighting": "equal"}, 1.1),
        ("poisson_twfe", {"terms": "event_time"}, 1.3),  # exp(coefficient) moves not quite by its derivative
    ],
)
def test_at_an_event_time_the_treated_are_the_cohorts_that_it_is_of(
    design: str, options: dict[str, Any], most: float
) -> None:
    panel = few(units=24)
    first = np.r_[[4.0, 6.0], [7.0] * 8, np.full(14, np.nan)]
    y = np.exp(panel.outcomes["y"] / 4) if design == "poisson_twfe" else panel.outcomes["y"]
    panel = replace(panel, outcomes={"y": y}, first_treated={"event": first})
    fits = [
        estimate(part, PLAIN, design, **options).by_event_time
        for part in (panel, *(simulated.subset(panel, panel.units != unit) for unit in panel.units))
    ]
    whole = fits[0]
    assert whole.contrast.only is not None
    for k in np.flatnonzero(whole.varies & (whole.contrast.only < 0)):
        moved = [
            fit.effect_level[fit.event_time == whole.event_time[k]] - whole.effect_level[k] for fit in fits
        ]
        ratio = whole.std_error[k] / np.sqrt(np.sum(np.concatenate(moved) ** 2))
        assert 0.93 < ratio < most, whole.terms[k]


@pytest.mark.parametrize("design", ["imputation", "etwfe"])
def test_cohorts_that_are_treated_by_then_are_no_comparison(design: str) -> None:
    panel = few(units=14)
    first = np.r_[[4.0] * 6, [5.0] * 5, np.full(3, np.nan)]
    panel = replace(panel, first_treated={"event": first})
    error, path = left_out(panel, PLAIN, design, {}, panel.units, "event")
    assert path.std_error[-1] == pytest.approx(error[-1], rel=0.02)
    assert path.leave_out.clusters[1, -1] == 3
    alone = estimate(simulated.subset(panel, np.arange(14) < 12), PLAIN, design)
    assert alone.by_event_time.leave_out.clusters[1, -1] <= 1
    assert np.isfinite(alone.std_error[(alone.cohort == 4) & (alone.period == 4)]).all()


def test_a_cohort_that_is_treated_in_some_cells_of_an_average_alone_is_comparison_of_it() -> None:
    panel = few(units=18)
    first = np.repeat([4.0, 5.0, 8.0, np.nan], [5, 5, 6, 2])
    path = estimate(replace(panel, first_treated={"event": first}), PLAIN, "imputation").by_event_time
    assert path.leave_out.clusters[:, path.event_time == 3].tolist() == [[10], [8]]  # in 7 and 8
    assert path.leave_out.clusters[:, path.event_time == 4].tolist() == [[5], [2]]  # in 8


def test_the_treated_clusters_of_a_lead_of_imputation_are_those_that_are_seen_at_it() -> None:
    panel = few(units=24)
    panel = replace(panel, first_treated={"event": np.r_[[4.0] * 8, [7.0] * 2, np.full(14, np.nan)]})
    path = estimate(panel, PLAIN, "imputation", leads=None).by_event_time
    treated = dict(zip(path.event_time, path.leave_out.clusters[0], strict=True))
    assert [treated[e] for e in (-6, -4, -3, -2, 0, 4)] == [2, 2, 10, 10, 10, 8]


def test_it_is_that_of_leaving_out_clusters_of_different_sizes() -> None:
    panel = few(units=30)
    first = np.where(np.isnan(panel.first_treated["event"]), np.nan, 5.0)
    labels = np.array([f"c{(k * k) % 11 + 20 * (k < 12):02d}" for k in range(30)])
    panel = replace(panel, first_treated={"event": first}, attributes={"state": labels})
    error, whole = left_out(
        panel, replace(NEVER, cluster="state"), "callaway_santanna", {}, labels, "event_average"
    )
    assert whole.std_error == pytest.approx(error, rel=1e-9)


def test_a_regression_on_many_units_has_nearly_the_error_of_leaving_each_out() -> None:
    panel = few(units=40)
    for design in ("twfe", "event_study", "lp_did", "stacked"):
        options = {"before": 3, "after": 2} if design == "stacked" else {}
        fits = [
            estimate(simulated.subset(panel, panel.units != unit), PLAIN, design, **options).headline.effect[
                0
            ]
            for unit in panel.units
        ]
        whole = estimate(panel, PLAIN, design, **options).headline
        exact = np.sqrt(np.sum((np.array(fits) - whole.effect[0]) ** 2))
        assert whole.std_error[0] == pytest.approx(exact, rel=0.06)


@pytest.mark.parametrize("size", [1, 3])
def test_two_groups_have_the_variance_of_the_jackknife_and_welchs_degrees_of_freedom(size: int) -> None:
    panel = few(units=60)
    first = np.where(np.isnan(panel.first_treated["event"]), np.nan, 5.0)
    states = np.array([f"s{k // size:02d}" for k in range(60)])
    panel = replace(panel, first_treated={"event": first}, attributes={"state": states})
    question = NEVER.replace(average="event_average", horizon=0, cluster=None if size == 1 else "state")
    fit = estimate(panel, question, "callaway_santanna").headline
    change = panel.outcomes["y"][:, 4] - panel.outcomes["y"][:, 3]
    change, first = change.reshape(-1, size).mean(axis=1), first[::size]
    parts = [change[~np.isnan(first)], change[np.isnan(first)]]
    variance = [np.sum(((x - x.mean()) / (len(x) - 1)) ** 2) for x in parts]
    fourth = [np.sum((x - x.mean()) ** 4) / np.sum((x - x.mean()) ** 2) ** 2 for x in parts]
    clusters = [np.clip(3 / f - 2, 1, len(x)) for f, x in zip(fourth, parts, strict=True)]
    degrees = sum(variance) ** 2 / sum(v**2 / (m - 1) for v, m in zip(variance, clusters, strict=True))
    assert fit.std_error[0] == pytest.approx(np.sqrt(sum(variance)), rel=1e-12)
    assert fit.degrees_of_freedom[0] == pytest.approx(degrees, rel=1e-9)


@pytest.mark.parametrize("size", [1, 2])
def test_clusters_alike_leave_a_side_as_many_degrees_of_freedom_as_take_part_less_one(size: int) -> None:
    clusters = [4, 6, 8]  # in two cohorts and among the never-treated
    first = np.repeat(np.repeat([4.0, 6.0, np.nan], clusters), size)
    sign = np.repeat(np.resize([1.0, -1.0], 18), size)
    y = np.where(simulated.PERIODS >= 4, sign[:, None], 0.0) * simulated.PERIODS
    states = np.array([f"s{k // size:02d}" for k in range(18 * size)])
    panel = replace(few(units=18 * size), outcomes={"y": y}, first_treated={"event": first})
    question = NEVER.replace(cluster=None if size == 1 else "state")
    fit = estimate(replace(panel, attributes={"state": states}), question, "callaway_santanna")
    of_cohort = dict(zip((4.0, 6.0), clusters, strict=False))
    for k in np.flatnonzero(fit.varies):
        sides = np.array([of_cohort[fit.cohort[k]], 8])
        variance = sides / (sides - 1) ** 2
        degrees = variance.sum() ** 2 / np.sum(variance**2 / (sides - 1))
        assert fit.degrees_of_freedom[k] == pytest.approx(degrees, rel=1e-9)
        assert fit.leave_out.clusters[:, k].tolist() == sides.tolist()
    assert fit.varies.sum() > 8


def test_the_joint_test_of_one_term_is_its_t_test() -> None:
    fit = estimate(few(), PLAIN, "event_study")
    for k in np.flatnonzero(fit.varies):
        only = np.arange(len(fit.terms)) == k
        assert fit.test(only).p_value == pytest.approx(fit.tidy()["p_value"][k], rel=1e-9)


def degrees_of_sides(sums: np.ndarray, treated: np.ndarray) -> float:
    used, together = present(sums).any(axis=1), np.zeros(len(sums), dtype=np.int64)
    return covariance_degrees(sums, treated, None, used, together)


def test_clusters_alike_have_as_many_degrees_of_freedom_as_they_are_for_several_terms() -> None:
    rng = np.random.default_rng(1)
    sums, treated = rng.normal(size=(4000, 3)), np.arange(4000) < 2000
    assert degrees_of_sides(sums, treated) == pytest.approx(4000, rel=0.1)


@pytest.mark.parametrize("some", [6, 15])
def test_degrees_of_freedom_of_several_terms_are_those_of_any_combinations_of_them(some: int) -> None:
    rng = np.random.default_rng(some)
    sums = rng.standard_t(6, size=(30, 3)) @ np.array([[1.0, 0.8, 0.0], [0.0, 0.5, -2.0], [0.0, 0.0, 40.0]])
    sums[29] = 0.0  # no part of the terms
    treated = np.arange(30) < some
    white = np.linalg.solve(np.linalg.cholesky(sums.T @ sums), sums.T).T
    over = 0.0
    for side in (treated, ~treated):
        part = sum(np.outer(x, x) for x in white[side])
        spread = np.trace(part @ part) + np.trace(part) ** 2
        fourth = sum((x @ x) ** 2 for x in white[side])
        number = np.clip(spread * 5 / 4 / fourth - 2, 1, np.sum(side[:29]))
        over += spread / max(number - 1, 1)
    assert degrees_of_sides(sums, treated) == pytest.approx((3 + 9) / over, rel=1e-9)
    mixed = sums @ rng.normal(size=(3, 5))  # of rank three
    assert degrees_of_sides(mixed, treated) == pytest.approx((3 + 9) / over, rel=1e-6)


def test_a_side_of_as_many_clusters_as_terms_that_has_most_of_the_variance_leaves_them_less_one() -> None:
    treated, rng = np.arange(43) < 3, np.random.default_rng(0)
    for times, of_side in ((100.0, True), (0.01, False)):
        sums = rng.normal(size=(43, 3)) * np.where(treated, times, 1.0)[:, None]
        degrees = degrees_of_sides(sums, treated)
        assert (degrees == 2) == of_side
        assert of_side or degrees > 3


def test_joint_tests_pool_cohorts_that_are_treated_in_the_same_terms() -> None:
    panel = few(6)
    path, treated = estimate(panel, PLAIN, "callaway_santanna").by_event_time, np.arange(40) < 6
    for times, pooled in (((0.0, 1.0), True), ((0.0, 4.0), False)):  # the last is of the first cohort alone
        some = path.select(np.isin(path.event_time, times))
        of_sides = degrees_of_sides(some.errors.dense(), treated)
        assert (some.test().degrees == pytest.approx(of_sides, rel=1e-9)) is pooled
        assert joint(some).test().degrees == pytest.approx(some.test().degrees, rel=1e-9)
        assert some.test().degrees <= of_sides * (1 + 1e-9)
    mixed = replace(panel, attributes={"state": np.array([f"s{i % 9}" for i in range(40)])})
    path = estimate(mixed, PLAIN.replace(cluster="state"), "callaway_santanna").by_event_time
    some = path.select(np.isin(path.event_time, (0.0, 4.0)))
    assert some.test().degrees == pytest.approx(joint(some).test().degrees, rel=1e-9)


def test_a_side_has_at_most_as_many_degrees_of_freedom_as_clusters_with_a_part_less_one() -> None:
    sums = np.repeat([1.0, 0.0, -1.0, 1e-7], [10, 5, 6, 4])[:, None]
    degrees = 16**2 / (10**2 / 9 + 6**2 / 5)
    assert degrees_of_sides(sums, np.arange(25) < 15) == pytest.approx(degrees, rel=1e-9)
    assert degrees_of_sides(sums[:15], np.ones(15, dtype=bool)) == pytest.approx(9, rel=1e-9)
    assert degrees_of_sides(sums[:1], np.ones(1, dtype=bool)) == pytest.approx(1, rel=1e-9)


def test_a_cluster_is_on_the_treated_side_if_a_treated_unit_of_it_has_a_part() -> None:
    group, cluster = np.array([1, 1, 0, 0, 0, 1]), np.array([0, 1, 0, 1, 2, 2])
    sides = Sides(group, np.array([[0.0], [1.0]]), np.ones(6), cluster, alike=False, both=True)
    influence = influences.Influence.of(np.array([[2.0], [0.0], [-1.0], [1.0], [-1.0], [-1.0]]))
    sums, treated, used = sums_by_cluster(influence, sides)
    assert used.all()
    assert sums[:, 0].tolist() == [1.0, 1.0, -2.0]
    assert treated[:, 0].tolist() == [True, False, True]


def test_the_test_of_one_term_is_that_of_its_interval_where_a_unit_is_the_mean_of_its_group() -> None:
    panel = few(4, 8)
    first, y = np.where(np.arange(8) < 4, 4.0, np.nan), panel.outcomes["y"].round()
    y[4:, 1] = y[4:, 2] + [-1, 1, 0, 0]  # the other two are their group's mean, and are in it
    fit = estimate(replace(panel, outcomes={"y": y}, first_treated={"event": first}), NEVER)
    second = fit.period == 2
    found = fit.test(second)
    assert found.degrees == pytest.approx(fit.degrees_of_freedom[second][0])
    statistic = fit.effect[second] / fit.std_error[second]
    assert found.p_value == pytest.approx(2 * stats.t.sf(np.abs(statistic), found.degrees)[0])


def test_a_row_that_is_not_there_is_one_without_an_outcome() -> None:
    panel = few()
    y, binary = panel.outcomes["y"].round(), np.outer(np.arange(40) % 2, np.ones(8))
    rng = np.random.default_rng(5)
    gone = rng.random(y.shape) < 0.1
    question = PLAIN.replace(covariates=("binary",))
    samples = [
        replace(panel, outcomes={"y": np.where(gone, np.nan, y)}, covariates={"binary": block})
        for block in (binary, np.where(gone, np.nan, binary))
    ]
    there, absent = (question.sample(each) for each in samples)
    assert there.fixed_covariates is not None
    np.testing.assert_array_equal(absent.fixed_covariates, there.fixed_covariates)
    np.testing.assert_array_equal(*(estimate(each, question).headline.degrees_of_freedom for each in samples))


def test_strata_are_the_sets_of_units_alike_in_group_periods_seen_and_covariates() -> None:
    rng = np.random.default_rng(0)
    patterns = rng.random((3, 65)) < 0.5  # in several words of bits
    patterns[1] = patterns[0]
    patterns[1, 64] = ~patterns[0, 64]
    group, pattern = rng.integers(0, 7, size=400), rng.integers(0, 3, size=400)
    covariates = rng.integers(0, 4, size=(400, 2)) / 3
    seen, outcome = patterns[pattern], rng.normal(size=(400, 65))
    rows = np.column_stack([group, pattern, covariates])
    found = strata(group, seen, covariates, np.where(seen, outcome, np.nan))
    _, expected, size = np.unique(rows, axis=0, return_inverse=True, return_counts=True)
    alone = size[expected] == 1
    np.testing.assert_array_equal(found == -1, alone)
    pairs = np.unique(np.column_stack([found, expected])[~alone], axis=0)
    assert 0 < alone.sum() < 200 < len(size)
    assert len(pairs) == len(np.unique(found[~alone])) == len(np.unique(expected[~alone]))
    values = rng.normal(size=(400, 2))
    brute = np.array([np.abs(values[expected == each]).max(axis=0) for each in expected])
    np.testing.assert_array_equal(largest(values, found), brute)
    # Units whose outcomes are those of another one are no set, whatever these would be where they are not seen.
    same = np.where(seen, 0.0, outcome)
    assert np.all(strata(group, seen, covariates, same) == -1)
    same[0, seen[0].argmax()] = 1.0
    together = expected == expected[0]
    np.testing.assert_array_equal(strata(group, seen, covariates, same) >= 0, together & ~alone)


def of_a_third_difference(eligible_alone: bool) -> tuple[Panel, Question]:
    """Return a panel of states in each of which all units have one date; some have no eligible units, or no others."""
    rng = np.random.default_rng(0)
    first, states = np.repeat([4.0, 6.0, np.nan], [32, 24, 40]), np.repeat([4, 3, 5], [32, 24, 40])
    number = np.arange(96) % states
    eligible = np.where(np.isnan(first), number < 4, number > 0) & (rng.random(96) < 0.6) | (number == 2)
    eligible[(first == 6) & (number == 2) & eligible_alone] = False
    return replace(
        few(units=96),
        outcomes={"y": rng.normal(size=(96, 8)) + rng.normal(size=(96, 1))},
        first_treated={"event": first},
        covariates={"eligible": np.outer(eligible, np.ones(8))},
        attributes={"state": np.array([f"{date:g}{k}" for date, k in zip(first, number, strict=True)])},
    ), NEVER.replace(group="eligible>0", cluster="state")


@pytest.mark.parametrize("eligible_alone", [False, True])
def test_of_a_third_difference_clusters_count_that_have_units_with_a_part_in_the_term(
    eligible_alone: bool,
) -> None:
    panel, question = of_a_third_difference(eligible_alone)
    fit = estimate(panel, question, "triple_difference")
    first, eligible = panel.first_treated["event"], panel.covariates["eligible"][:, 0] > 0

    def states(*dates: float) -> list[int]:
        """Return how many states have eligible units with one of the dates, and how many have others."""
        dated = np.isin(np.nan_to_num(first), np.nan_to_num(dates))
        return [len(np.unique(panel.attributes["state"][dated & kind])) for kind in (eligible, ~eligible)]

    estimable = ~fit.reference
    for k in np.flatnonzero(estimable):
        treated = states(fit.cohort[k])
        assert fit.leave_out.clusters[:, k].tolist() == [min(treated), min(states(np.nan))]
        assert fit.leave_out.estimable[k]
        assert np.isfinite(fit.std_error[k])
    assert (fit.leave_out.clusters[:, fit.reference] == 0).all()
    assert states(6.0)[0] == (1 if eligible_alone else 2)
    headline = fit.headline.leave_out
    assert headline.clusters[:, 0].tolist() == [min(states(4.0, 6.0)), min(states(np.nan))]


@pytest.mark.parametrize("to", [*AVERAGES, "cohort", "event"])
def test_of_a_third_difference_the_error_is_that_of_leaving_out_each_unit(to: str) -> None:
    whole, without = without_units("triple_difference")
    error, average = error_of(whole, without, to), whole.aggregate(to)
    found = ~average.reference
    np.testing.assert_allclose(average.std_error[found], error[found], rtol=1e-9)


@pytest.mark.parametrize("treated", [1, 3, 9])
def test_the_pooled_test_of_one_date_is_students_t_test_of_two_groups(treated: int) -> None:
    panel, first = few(units=24), np.where(np.arange(24) < treated, 5.0, np.nan)
    panel = replace(panel, first_treated={"event": first})
    fit = estimate(
        panel, NEVER.replace(average="event_average", horizon=0), "callaway_santanna"
    ).headline.with_vcov("pooled")
    change = panel.outcomes["y"][:, 4] - panel.outcomes["y"][:, 3]
    ours, others = change[:treated], change[treated:]
    squares = np.sum((ours - ours.mean()) ** 2) + np.sum((others - others.mean()) ** 2)
    error = np.sqrt(squares / 22 * (1 / treated + 1 / (24 - treated)))
    assert fit.std_error[0] == pytest.approx(error, rel=1e-9)
    assert fit.degrees_of_freedom[0] == 22
    p_value = 2 * stats.t.sf(abs(ours.mean() - others.mean()) / error, 22)
    assert fit.tidy()["p_value"][0] == pytest.approx(p_value, rel=1e-9)
    two = simulated.ordered(panel, np.array([0, 23]))
    alone = estimate(
        two, NEVER.replace(average="event_average", horizon=0), "callaway_santanna"
    ).headline.with_vcov("pooled")
    assert not alone.estimable[0]
    assert np.isnan(alone.std_error[0])


@pytest.mark.parametrize("treated", [1, 3])
def test_a_pooled_variance_is_that_of_clusters_that_vary_alike_whatever_they_weigh(treated: int) -> None:
    share = np.array([1, 6, 2, 9, 1, 1, 2, 4])
    cluster = np.repeat(np.arange(8), share)
    panel = simulated.subset(simulated.panel(n=40), np.arange(40) < share.sum())
    first, label = np.where(cluster < treated, 5.0, np.nan), np.array([f"c{c}" for c in cluster])
    panel = replace(panel, first_treated={"event": first}, attributes={"state": label})
    variance = 0.0
    # What a sum of squares is on average: its values at orthonormal changes of the clusters, added up.
    for change in np.linalg.qr(np.random.default_rng(0).normal(size=(8, 8)))[0]:
        one = replace(panel, outcomes={"y": change[cluster][:, None] * (simulated.PERIODS >= 5.0)})
        fit = estimate(one, NEVER.replace(cluster="state"), "callaway_santanna").headline
        variance += fit.with_vcov("pooled").std_error[0] ** 2
    sides = share[:treated], share[treated:]
    assert variance == pytest.approx(sum(np.sum((side / side.sum()) ** 2) for side in sides), rel=1e-9)


def test_pooled_tests_have_as_many_degrees_of_freedom_as_clusters_of_the_term_less_two() -> None:
    first = np.repeat([4.0, 5.0, 6.0, np.nan], [6, 4, 2, 28])
    fit = estimate(replace(few(units=40), first_treated={"event": first}), NEVER).with_vcov("pooled")
    clusters = np.array([np.sum(first == cohort) + 28 for cohort in fit.cohort])
    np.testing.assert_array_equal(fit.degrees_of_freedom, np.where(fit.reference, np.nan, clusters - 2.0))
    test, degrees = fit.test(), 2 + 28 - 2  # of the smallest cohort
    left = degrees - test.rank + 1
    f = test.statistic * left / (degrees * test.rank)
    assert test.p_value == pytest.approx(stats.f.sf(f, test.rank, left), rel=1e-9)


def of_two_clusters(name: str) -> Estimate:
    """Return the estimate of a design of which one cluster has all treated units, and one all others."""
    panel = few(units=30)
    first = panel.first_treated["event"]
    count = np.random.default_rng(2).poisson(4, size=(30, 8)).astype(float)
    outcomes = {"y": panel.outcomes["y"], "count": count}
    panel = replace(panel, outcomes=outcomes, attributes={"half": np.where(np.isnan(first), "a", "b")})
    poisson = name == "poisson_twfe"
    question = Question("count" if poisson else "y", "event", scale="proportional" if poisson else "level")
    group = "x2>0" if Supports.GROUP in all_designs()[name].supports else None
    return estimate(panel, question.replace(cluster="half", group=group), name)


@pytest.mark.parametrize("name", [name for name in all_designs() if name != "dose_response"])
def test_without_two_clusters_on_each_side_there_is_no_standard_error(name: str) -> None:
    if name.startswith("dml") or name in ("heterogeneous_adoption", "iv"):
        with pytest.raises(QuestionError, match=r"clusters|instrument|dose"):
            of_two_clusters(name)
        return
    fit = of_two_clusters(name)
    assert np.isnan(fit.headline.std_error[0])
    assert np.isnan(fit.headline.tidy()["p_value"][0])
    assert "no standard error" in fit.notes[-1]


@pytest.mark.parametrize("vcov", ["CR0", "CR1"])
@pytest.mark.parametrize("name", ["stacked", "sun_abraham"])
def test_rounding_error_is_no_standard_error_under_a_named_convention_either(name: str, vcov) -> None:
    assert np.isnan(of_two_clusters(name).with_vcov(vcov).headline.std_error[0])


@pytest.mark.search
@pytest.mark.parametrize("compared", [2, 3])
def test_two_or_three_comparison_units_reject_a_true_null_in_at_most_a_tenth(compared: int) -> None:
    rejected = []
    for seed in range(searching.samples(120, 200)):
        panel = few(treated=57, units=57 + compared, seed=seed)
        panel.outcomes["y"][:] -= 0.5 * (panel.first_treated["event"][:, None] <= simulated.PERIODS)
        for design in ("callaway_santanna", "twfe"):
            headline = estimate(panel, Question("y", "event"), design).headline
            rejected.append(Effect.of("", headline).p_value < 0.05)
    assert np.mean(rejected) <= 0.1


def test_that_few_clusters_are_on_a_side_stands_in_notes_table_and_text() -> None:
    fit = estimate(few(treated=36, units=40), Question("y", "event"), "callaway_santanna")
    (sentence,) = [note for note in fit.notes if "fewer than 5 on a side" in note]
    assert sentence in fit.tidy().attrs["notes"]
    assert sentence.rstrip(".") in str(fit)
    assert "randomization" in sentence


def test_with_many_clusters_on_both_sides_nothing_is_said() -> None:
    assert not estimate(few(), Question("y", "event"), "callaway_santanna").notes


@pytest.mark.parametrize(("design", "options"), [("etwfe", {}), ("callaway_santanna", {"method": "reg"})])
def test_units_whose_covariates_no_treated_unit_has_are_not_on_the_comparison_side(
    design: str, options: Mapping[str, Any]
) -> None:
    panel = few()
    indicator = np.zeros((panel.n_units, len(panel.periods)))
    indicator[12::2] = 1.0  # of comparison units alone, whose coefficient takes them out
    question = NEVER.replace(covariates=("indicator",))
    fit = estimate(replace(panel, covariates={"indicator": indicator}), question, design, **options).headline
    without = estimate(simulated.subset(panel, indicator[:, 0] == 0), NEVER, design).headline
    assert fit.effect == pytest.approx(without.effect, rel=1e-9)
    assert fit.std_error == pytest.approx(without.std_error, rel=1e-9)
    assert fit.degrees_of_freedom == pytest.approx(without.degrees_of_freedom, rel=1e-9)
    assert fit.leave_out.clusters.tolist() == without.leave_out.clusters.tolist() == [[12], [14]]


def test_the_order_of_units_and_the_scale_of_outcomes_do_not_matter() -> None:
    panel = few()
    order = np.random.default_rng(3).permutation(panel.n_units)
    fit = estimate(panel, NEVER, "callaway_santanna").headline
    turned = estimate(simulated.ordered(panel, order), NEVER, "callaway_santanna").headline
    assert turned.std_error == pytest.approx(fit.std_error, rel=1e-12)
    assert turned.degrees_of_freedom == pytest.approx(fit.degrees_of_freedom, rel=1e-9)
    scaled = replace(panel, outcomes={"y": 1000 * panel.outcomes["y"]})
    other = estimate(scaled, NEVER, "callaway_santanna").headline
    assert other.std_error == pytest.approx(1000 * fit.std_error, rel=1e-9)
    assert other.degrees_of_freedom == pytest.approx(fit.degrees_of_freedom, rel=1e-9)


@pytest.mark.parametrize("vcov", ["jackknife", "pooled", "CR0"])
@pytest.mark.parametrize("design", [*CLOSENESS, "lp_did", "event_study"])
def test_influence_of_many_units_is_added_up_by_group_to_what_it_is_one_by_one(
    design: str, vcov: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = np.repeat([3.0, 4.0, 6.0, np.nan], [1, 9, 7, 13])  # one cohort of one unit
    panel = replace(few(units=30), first_treated={"event": first})
    one_by_one = estimate(panel, PLAIN, design, vcov=vcov)
    expected = [each for fit in (one_by_one, one_by_one.headline) for each in errors_of(fit)]
    monkeypatch.setattr(influences, "KEPT", 0)
    by_group = estimate(panel, PLAIN, design, vcov=vcov)
    found = [each for fit in (by_group, by_group.headline) for each in errors_of(fit)]
    for ours, theirs in zip(found, expected, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-8, atol=1e-12)


def errors_of(fit: Estimate) -> list[np.ndarray]:
    """Return what the errors of an estimate are, and what they rest on."""
    covariance = np.nan_to_num(fit.covariance(), nan=-1.0)
    return [
        fit.std_error,
        fit.degrees_of_freedom,
        fit.leave_out.clusters,
        fit.leave_out.estimable,
        covariance,
    ]


def test_named_conventions_stay_what_they_are() -> None:
    fit = estimate(few(), NEVER, "callaway_santanna")
    plain = np.sqrt(np.sum(fit.influence**2, axis=0)) / fit.sample.n_units
    found = ~fit.reference
    assert fit.with_vcov("CR0").std_error[found] == pytest.approx(plain[found], rel=1e-12)
    assert np.all(np.isinf(fit.with_vcov("CR0").degrees_of_freedom))
    with pytest.raises(QuestionError, match='vcov="HC1" assumes'):
        fit.covariance("HC1")


@pytest.mark.parametrize("level", [95, -1, 0, 1, "0.95", None, True, float("nan")])
def test_a_level_that_is_no_share_is_refused(level: Any) -> None:
    fit = estimate(few(), PLAIN, "twfe")
    with pytest.raises(QuestionError, match="level is"):
        fit.tidy(level)


@pytest.mark.parametrize(
    "method", ["tidy", "band", "critical_value", "aggregate", "with_vcov", "test", "select", "plot"]
)
@pytest.mark.parametrize("value", ["x", b"x", [], {}, float("nan"), 10**400, -1, True, np.array([1, 2])])
def test_methods_refuse_what_they_do_not_understand_in_one_line(method: str, value: Any) -> None:
    fit = estimate(few(), PLAIN, "event_study")
    with pytest.raises(QuestionError) as refusal:
        getattr(fit, method)(value)
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize(
    ("design", "options"),
    [
        ("event_study", {}),
        ("poisson_twfe", {"terms": "event_time"}),
        ("sun_abraham", {}),
        ("etwfe", {}),
        ("imputation", {"leads": None}),
    ],
)
def test_a_term_of_one_treated_unit_takes_the_pooled_variance_though_others_move_it(
    design: str, options: dict[str, Any]
) -> None:
    panel = few(units=40)
    y, first = np.exp(panel.outcomes["y"] / 4), panel.first_treated["event"].copy()
    first[0] = 3.0
    y[2:4, 7] = np.nan  # of the cohort of period 4 one unit is seen in the last period
    y[[1, 5, 20], [0, 2, 0]] = np.nan
    panel = replace(panel, outcomes={"y": y}, first_treated={"event": first})
    fit = estimate(panel, PLAIN, design, **options)
    path = fit.aggregate("event")
    last = path.event_time == 5
    assert path.on_one_cluster[last].all()
    assert np.isfinite(path.std_error[~last & (path.event_time >= 0) & (path.event_time != 4)]).all()
    cells = (fit.cohort == 4) & (fit.period >= 7)
    assert (~fit.on_one_cluster[cells]).tolist() == [True, False][: cells.sum()]
    assert np.isfinite(fit.with_vcov(fit.published).std_error[fit.event_time == 5]).all()


@pytest.mark.parametrize("design", ["callaway_santanna", "sun_abraham", "etwfe", "imputation", "lp_did"])
def test_an_average_over_cohorts_whose_treated_units_are_of_one_cluster_takes_the_pooled_variance(
    design: str,
) -> None:
    panel = few()
    y, state = panel.outcomes["y"].copy(), panel.units.copy()
    state[[0, 4]] = "of two cohorts"
    y[1:4, 4] = y[[5, 6, 7], 5] = y[8:12, 6] = np.nan  # one event time after adoption, in cohorts 4, 5 and 6
    panel = replace(panel, outcomes={"y": y}, attributes={"state": state})
    path = estimate(panel, PLAIN.replace(cluster="state"), design).aggregate("event")
    assert path.event_time[(path.event_time >= 0) & path.on_one_cluster] == 1
    assert np.isfinite(path.std_error[path.event_time == 1])
