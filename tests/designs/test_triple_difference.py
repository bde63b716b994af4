"""triple_difference and three_way: identities, known truths, the exact jackknife, few treated universities."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import searching
import simulated

from study import Estimand, Panel, Question, QuestionError, estimate
from study.designs import find_design

GROUPED = Question("y", "event", group="eligible=1")
NEVER = GROUPED.replace(comparison="never_treated")


def panel(sizes: dict[float, tuple[int, int]], seed: int = 0, noise: float = 1.0, x: bool = False) -> Panel:
    """Return 8 periods of units by cohort, eligible and others; trends differ by cohort and by eligibility.

    Effects on eligible units are 1 + event time / 2; with x trends depend on a covariate that differs by group.
    """
    rng = np.random.default_rng(seed)
    dates = np.repeat(list(sizes), [a + b for a, b in sizes.values()])
    eligible = np.concatenate([np.repeat([1, 0], of) for of in sizes.values()])
    cohort = np.unique(dates, return_inverse=True)[1]
    n, time = len(dates), simulated.PERIODS
    covariate = rng.normal(size=n) + 0.7 * cohort * eligible
    y = np.cumsum(rng.normal(size=(len(sizes), len(time))), axis=1)[cohort] + 0.4 * eligible[:, None] * time
    y = y + rng.normal(size=(n, 1)) + noise * rng.normal(size=(n, len(time))) + x * np.outer(covariate, time)
    y += simulated.effects(dates, 1.0) * eligible[:, None]
    return Panel(
        name="grouped",
        units=np.array([f"u{i:04d}" for i in range(n)]),
        periods=time,
        outcomes={"y": y},
        covariates={"x": np.outer(covariate, np.ones(len(time)))},
        first_treated={"event": dates},
        treatment={},
        attributes={"eligible": eligible.astype(str), "half": (np.arange(n) % 9).astype(str)},
    )


UNEVEN = {4.0: (30, 10), 5.0: (9, 31), 6.0: (20, 25), np.nan: (12, 28)}


def test_without_covariates_it_is_the_difference_of_two_differences_in_differences() -> None:
    whole = panel(UNEVEN)
    inside, outside = (
        estimate(simulated.subset(whole, whole.attributes["eligible"] == e), NEVER.replace(group=None))
        for e in ("1", "0")
    )
    fit = estimate(whole, NEVER, "triple_difference")
    assert fit.terms == inside.terms
    np.testing.assert_allclose(fit.effect, inside.effect - outside.effect, rtol=0, atol=1e-12)


def test_an_outcome_that_does_not_vary_has_no_effect_with_every_comparison_cohort() -> None:
    whole = panel(UNEVEN)
    fit = estimate(
        replace(whole, outcomes={"y": np.ones(whole.outcomes["y"].shape)}), GROUPED, "triple_difference"
    )
    np.testing.assert_allclose(fit.effect, 0.0, atol=1e-12)


def test_comparison_cohorts_of_which_none_has_a_variance_count_alike() -> None:
    question = GROUPED.replace(min_cohort_size=1, cluster="cohort")
    sizes = {4.0: (3, 2), 6.0: (1, 1), np.nan: (5, 4)}
    whole = panel(sizes)
    labels = np.nan_to_num(whole.first_treated["event"]).astype(str)
    whole = replace(whole, attributes={**whole.attributes, "cohort": labels})
    fit = estimate(whole, question, "triple_difference")
    now = (fit.cohort == 4) & (fit.period == 4)
    y, dates = whole.outcomes["y"], whole.first_treated["event"]
    change = y[:, whole.periods == 4] - y[:, whole.periods == 3]

    def difference(cohort: np.ndarray) -> float:
        inside = whole.attributes["eligible"] == "1"
        return float(change[cohort & inside].mean() - change[cohort & ~inside].mean())

    others = [difference(dates == 6), difference(np.isnan(dates))]
    np.testing.assert_allclose(fit.effect[now], difference(dates == 4) - np.mean(others), rtol=1e-12)
    assert np.isnan(fit.std_error).all()


def test_trends_by_cohort_and_by_eligibility_drop_out_whatever_the_comparison_cohorts() -> None:
    fit = estimate(panel(UNEVEN, noise=0.0), GROUPED, "triple_difference")
    truth = np.where(fit.event_time >= 0, 1 + fit.event_time / 2, 0.0)
    np.testing.assert_allclose(fit.effect, truth, rtol=0, atol=1e-12)


def test_trends_by_a_covariate_drop_out_which_they_do_not_of_two_differences() -> None:
    whole = panel(UNEVEN, noise=0.0, x=True)
    question = GROUPED.replace(covariates=("x",))
    for method in ("dr", "reg"):
        fit = estimate(whole, question, "triple_difference", method=method)
        truth = np.where(fit.event_time >= 0, 1 + fit.event_time / 2, 0.0)
        np.testing.assert_allclose(fit.effect, truth, rtol=0, atol=1e-9)
    assert np.abs(estimate(whole, GROUPED, "triple_difference").effect - truth).max() > 0.1


def test_several_comparison_cohorts_have_no_more_variance_than_one() -> None:
    whole = panel(UNEVEN, seed=3)
    several = estimate(whole, GROUPED, "triple_difference").with_vcov("CR0").std_error
    one = estimate(whole, NEVER, "triple_difference").with_vcov("CR0").std_error
    assert np.nanmax(several / one) <= 1 + 1e-12
    assert np.nanmin(several / one) < 0.95


@pytest.mark.parametrize("factor", [1e-9, -1e9])
def test_weights_of_comparison_cohorts_do_not_depend_on_the_units_of_the_outcome(factor: float) -> None:
    whole = panel(UNEVEN, seed=3)
    scaled = replace(whole, outcomes={"y": factor * whole.outcomes["y"]})
    ours, theirs = (estimate(each, GROUPED, "triple_difference") for each in (whole, scaled))
    np.testing.assert_allclose(theirs.effect, factor * ours.effect, rtol=1e-8, atol=1e-9 * abs(factor))
    np.testing.assert_allclose(theirs.std_error, abs(factor) * ours.std_error, rtol=1e-8)


@pytest.mark.parametrize("cluster", [None, "half"])
def test_the_error_of_a_cell_is_the_jackknife_that_leaves_each_cluster_out(cluster: str | None) -> None:
    whole = panel({4.0: (7, 3), 6.0: (4, 9), np.nan: (8, 5)})
    if cluster is not None:  # of both groups, in numbers that differ
        first = np.nan_to_num(whole.first_treated["event"])
        labels = np.array([f"{g:g} {i % 4}" for i, g in enumerate(first)])
        whole = replace(whole, attributes=dict(whole.attributes) | {"half": labels})
    sample = NEVER.replace(cluster=cluster).sample(whole)
    design = find_design("triple_difference")
    fit = design(sample)
    without = [design(sample.only(sample.cluster != c, "left out")).effect for c in np.unique(sample.cluster)]
    error = np.sqrt(np.sum((np.array(without) - fit.effect) ** 2, axis=0))
    np.testing.assert_allclose(fit.std_error[~fit.reference], error[~fit.reference], rtol=1e-9)


def test_averages_are_over_eligible_units() -> None:
    fit = estimate(panel(UNEVEN), GROUPED, "triple_difference")
    at = fit.event_time == 1
    weights = [UNEVEN[g][0] for g in fit.cohort[at]]
    path = fit.aggregate("event")
    assert path.effect[path.event_time == 1][0] == pytest.approx(np.average(fit.effect[at], weights=weights))
    by_cohort = fit.aggregate("cohort")
    weights = [UNEVEN[g][0] for g in by_cohort.cohort]
    average = fit.aggregate("cohort_average").effect[0]
    assert average == pytest.approx(np.average(by_cohort.effect, weights=weights))


def test_proportional_effects_are_over_the_eligible_treated_units_mean() -> None:
    whole = panel(UNEVEN)
    whole = replace(whole, outcomes={"y": whole.outcomes["y"] + 20})
    level, share = (
        estimate(whole, GROUPED.replace(scale=scale), "triple_difference")
        for scale in ("level", "proportional")
    )
    eligible, first = whole.attributes["eligible"] == "1", whole.first_treated["event"]
    for g, t, effect, ratio in zip(level.cohort, level.period, level.effect, share.effect, strict=True):
        treated = whole.outcomes["y"][eligible & (first == g), int(t) - 1].mean()
        assert ratio == pytest.approx(effect / (treated - effect), abs=1e-12)


def test_a_comparison_cohort_without_a_variance_is_in_no_comparison() -> None:
    whole = panel({4.0: (6, 6), 7.0: (1, 6), np.nan: (6, 6)})
    question = GROUPED.replace(min_cohort_size=1)
    fit = estimate(whole, question, "triple_difference")
    assert (
        "cohort 7 has too few units in a group for a variance, so that no cohort is compared with them"
        in fit.notes
    )
    only = estimate(whole, question.replace(comparison="never_treated"), "triple_difference")
    np.testing.assert_allclose(fit.effect, only.effect, rtol=0, atol=1e-12)


def test_what_has_one_group_within_is_dropped_and_counted_and_errors_are_clustered_by_it() -> None:
    whole = universities(np.random.default_rng(0), 12)
    keep = (whole.attributes["field"] != "f5") | (whole.attributes["university"] > "u03")
    keep &= (whole.attributes["eligible"] == "1") | (whole.attributes["university"] != "u20")
    fit = estimate(simulated.subset(whole, keep), GROUPED, "triple_difference")
    assert fit.sample.question.cluster == "university"
    (lost,) = [s for s in fit.sample.flow if s.reason == "of a university without both groups of eligible=1"]
    assert lost.units == 2
    assert fit.n_clusters == 39
    assert fit.sample.n_treated == 24


REFUSED: dict[str, tuple[dict[float, tuple[int, int]], dict[str, Any], str]] = {
    "no group": (UNEVEN, {"group": None}, r"the question has no group; name one with Question\(group=...\)"),
    "a cohort of eligible units": (
        UNEVEN | {5.0: (9, 0)},
        {},
        r"cohort 5 has no other unit than those of the group eligible=1.*Question\(group=...\).*callaway_santanna",
    ),
    "a cohort of other units": (
        UNEVEN | {5.0: (0, 9)},
        {},
        r"cohort 5 has no unit of the group eligible=1.*Question\(group=...\).*callaway_santanna",
    ),
    "nobody to compare with": (
        UNEVEN | {np.nan: (9, 0)},
        {"comparison": "never_treated"},
        r"no cohort can be compared with.*the never-treated have too few.*Question\(group=...\).*callaway_santanna",
    ),
    "repeated cross-sections": (
        UNEVEN,
        {"missing": "cells"},
        'cannot answer a question with missing="cells"',
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_question_without_a_third_difference_is_refused_in_one_line(name: str) -> None:
    sizes, asked, said = REFUSED[name]
    with pytest.raises(QuestionError, match="^triple_difference: .*" + said) as error:
        estimate(panel(sizes), GROUPED.replace(**asked), "triple_difference")
    assert "\n" not in str(error.value)


def test_three_way_names_itself_where_it_refuses() -> None:
    sizes, asked, said = REFUSED["a cohort of other units"]
    with pytest.raises(QuestionError, match="^three_way: .*" + said):
        estimate(panel(sizes), GROUPED.replace(**asked), "three_way")


@pytest.mark.parametrize("design", ["triple_difference", "three_way"])
def test_a_later_cohort_without_one_of_the_groups_changes_nothing(design: str) -> None:
    whole = panel({4.0: (9, 8), 6.0: (7, 9), 11.0: (0, 6), np.nan: (8, 9)})
    others = simulated.subset(whole, whole.first_treated["event"] != 11)
    fit, without = (estimate(each, GROUPED, design) for each in (whole, others))
    np.testing.assert_allclose(fit.effect, without.effect, atol=1e-9)
    np.testing.assert_allclose(fit.std_error, without.std_error, rtol=1e-9)
    np.testing.assert_allclose(fit.degrees_of_freedom, without.degrees_of_freedom, rtol=1e-9)


def test_three_way_effects_are_two_way_effects_of_differences_between_eligible_and_others() -> None:
    whole = panel(UNEVEN)
    fit = estimate(whole, GROUPED, "three_way")
    assert fit.estimand is Estimand.COEFFICIENT
    eligible, first = whole.attributes["eligible"] == "1", np.nan_to_num(whole.first_treated["event"])
    y, d, w = [], [], []
    for g in np.unique(first):
        both = [(first == g) & some for some in (eligible, ~eligible)]
        y.append(np.subtract(*(whole.outcomes["y"][some].mean(axis=0) for some in both)))
        d.append((whole.periods >= g) & (g > 0))
        w.append(1 / sum(1 / some.sum() for some in both))
    table = {"y": np.ravel(y), "d": np.ravel(d).astype(float), "w": np.repeat(w, 8)}
    fixed = np.hstack([np.repeat(np.eye(4), 8, axis=0), np.tile(np.eye(8), (4, 1))])
    x, root = np.column_stack([table["d"], fixed]), np.sqrt(table["w"])
    coefficient = np.linalg.lstsq(x * root[:, None], table["y"] * root, rcond=None)[0][0]
    assert fit.effect[0] == pytest.approx(coefficient, abs=1e-10)


def test_with_two_periods_both_designs_have_the_same_answer() -> None:
    whole = panel({4.0: (9, 12), np.nan: (20, 8)})
    two = replace(
        whole, periods=whole.periods[2:4], outcomes={"y": whole.outcomes["y"][:, 2:4]}, covariates={}
    )
    triple, three = (estimate(two, GROUPED, name) for name in ("triple_difference", "three_way"))
    assert triple.effect[~triple.reference] == pytest.approx(three.effect, abs=1e-12)
    errors = triple.with_vcov("CR0").std_error[~triple.reference], three.with_vcov("CR0").std_error
    assert errors[0] == pytest.approx(errors[1], rel=1e-10)


def universities(rng: np.random.Generator, treated: int, varying: float = 0.5) -> Panel:
    """Return 40 universities of six fields, two of them eligible, with persistent shocks by university and by both."""
    n, fields, time = 40, 6, simulated.PERIODS
    of, field = np.repeat(np.arange(n), fields), np.tile(np.arange(fields), n)
    first, eligible = np.full(n, np.nan), field < 2
    first[:treated] = np.sort(np.resize([4, 5, 6], treated))

    def shocks(m: int) -> np.ndarray:
        return 0.7 * np.cumsum(rng.normal(size=(m, len(time))), axis=1)

    effect = 1 + varying * rng.normal(size=n)
    y = 2 * shocks(n)[of] + shocks(2 * n)[2 * of + eligible] + shocks(fields)[field]
    y += rng.normal(size=y.shape) + np.where(
        (time >= first[of, None]) & eligible[:, None], effect[of, None], 0.0
    )
    labels = {"university": [f"u{u:02d}" for u in of], "field": [f"f{f}" for f in field]}
    return Panel(
        name="universities",
        units=np.array([f"u{u:02d}: f{f}" for u, f in zip(of, field, strict=True)]),
        periods=time,
        outcomes={"y": y},
        covariates={},
        first_treated={"event": first[of]},
        treatment={},
        attributes={k: np.array(v) for k, v in labels.items()}
        | {"eligible": eligible.astype(int).astype(str)},
        within="university",
    )


PANELS = searching.samples(100, 400)


@pytest.mark.search
@pytest.mark.parametrize("treated", [5, 12])
@pytest.mark.parametrize("design", ["triple_difference", "three_way"])
def test_intervals_cover_with_few_treated_universities(design: str, treated: int) -> None:
    rng, covered = np.random.default_rng(20261128), 0
    question = GROUPED.replace(min_cohort_size=1)
    for _ in range(PANELS):
        sample = question.sample(universities(rng, treated, 0.5 if design == "triple_difference" else 0.0))
        headline = find_design(design)(sample).headline
        half = headline.critical_value() * headline.std_error
        covered += bool(np.abs(headline.effect - 1)[0] <= half[0])
    assert abs(covered / PANELS - 0.955) <= 3 * np.sqrt(0.955 * 0.045 / PANELS)


def left_out(whole: Panel, unit: int) -> float:
    """Return the triple difference of cohort 4 in the fifth period from the never-treated without one unit."""
    first, eligible = whole.first_treated["event"], whole.attributes["eligible"] == "1"
    change = np.where(np.arange(len(first)) == unit, np.nan, np.diff(whole.outcomes["y"][:, [2, 4]])[:, 0])

    def gap(dates: np.ndarray) -> float:
        return float(np.nanmean(change[dates & eligible]) - np.nanmean(change[dates & ~eligible]))

    return gap(first == 4) - gap(np.isnan(first))


@pytest.mark.parametrize(("cluster", "stay"), [(None, 1), ("lab", 2)])
def test_a_cell_is_not_compared_with_a_cohort_of_which_it_sees_one_cluster(
    cluster: str | None, stay: int
) -> None:
    made = panel({4.0: (6, 6), 7.0: (6, 4), np.nan: (12, 12)})
    others = np.flatnonzero((made.first_treated["event"] == 7) & (made.attributes["eligible"] == "0"))
    labs = np.array(made.units, dtype=object)
    labs[others] = ["a", "a", "b", "b"]
    y = made.outcomes["y"].copy()
    y[others[stay:], 4] = np.nan  # the fifth period, in which cohort 7 is not yet treated
    whole = replace(made, attributes=dict(made.attributes) | {"lab": labs}, outcomes={"y": y})
    fit = estimate(whole, GROUPED.replace(cluster=cluster), "triple_difference")
    assert fit.notes[:1] == (
        "cohort 4 in 5 is not compared with cohort 7: too few units in a group for a variance are seen",
    )
    cell = (fit.cohort == 4) & (fit.period == 5)
    effect = left_out(whole, -1)
    moves = [left_out(whole, unit) - effect for unit in range(len(made.units))]
    assert fit.effect[cell] == pytest.approx(effect)
    assert fit.std_error[cell] == pytest.approx(np.linalg.norm(moves))


def test_a_cell_that_sees_one_unit_of_the_only_cohort_to_compare_with_is_left_out() -> None:
    made = panel({4.0: (6, 6), np.nan: (6, 4)})
    others = np.flatnonzero(np.isnan(made.first_treated["event"]) & (made.attributes["eligible"] == "0"))
    y = made.outcomes["y"].copy()
    y[others[1:], 4] = np.nan
    fit = estimate(replace(made, outcomes={"y": y}), GROUPED, "triple_difference")
    assert list(fit.period) == [1, 2, 3, 4, 6, 7, 8]
    assert "cohort 4 in 5 left out: no cohort to compare with has enough units of both groups" in fit.notes


def test_a_cell_without_one_of_its_four_groups_is_left_out_and_the_group_is_named() -> None:
    made = panel({4.0: (6, 6), np.nan: (6, 6)})
    first, eligible = made.first_treated["event"], made.attributes["eligible"] == "1"
    assert estimate(made, GROUPED, "triple_difference").n_obs == 24 * 8
    for lost, why in (
        ((first == 4) & eligible, "no treated unit is observed"),
        ((first == 4) & ~eligible, "no unit of the cohort is observed that is not eligible"),
        (np.isnan(first) & eligible, "no cohort to compare with has enough units of both groups"),
        (np.isnan(first) & ~eligible, "no cohort to compare with has enough units of both groups"),
    ):
        y = made.outcomes["y"].copy()
        y[lost, 4] = np.nan
        fit = estimate(replace(made, outcomes={"y": y}), GROUPED, "triple_difference")
        assert list(fit.period) == [1, 2, 3, 4, 6, 7, 8]
        assert fit.n_obs == 24 * 7
        assert f"cohort 4 in 5 left out: {why}" in fit.notes


def test_no_error_is_made_up_where_each_comparison_cohort_has_one_unit_of_a_group() -> None:
    fit = estimate(panel({4.0: (6, 6), 7.0: (6, 1), np.nan: (1, 6)}), GROUPED, "triple_difference")
    assert np.isfinite(fit.effect).all()
    np.testing.assert_array_equal(
        np.isfinite(fit.std_error), fit.on_one_cluster
    )  # two groups vary in few cells
    assert 0 < fit.on_one_cluster.sum() < np.sum(~fit.reference)
    assert fit.headline.on_one_cluster[0]
    assert np.isnan(fit.aggregate("event_average").std_error[0])


def test_an_average_has_an_error_where_each_cohort_rests_on_one_unit_that_is_not_eligible() -> None:
    for others in (1, 2):
        sizes = {4.0: (6, others), 6.0: (6, others), 7.0: (6, others), np.nan: (12, 12)}
        fit = estimate(panel(sizes), NEVER, "triple_difference")
        assert fit.on_one_cluster.any() == (others == 1)
        assert np.isfinite(fit.headline.std_error[0])
