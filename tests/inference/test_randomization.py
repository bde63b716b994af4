"""Randomization tests against all assignments dates by brute force, and their size by simulation."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from itertools import permutations
from math import comb, factorial
from typing import Any

import catalogue
import numpy as np
import pytest
import searching
import simulated
from matplotlib.figure import Figure
from scipy import stats

import study.designs
from study import Estimate, Panel, Question, QuestionError, estimate, settings
from study.designs import Assumes, Estimand, all_designs, design, find_design
from study.estimates.multiplier import p_of_draws
from study.inference.randomization import (
    Randomization,
    every_order,
    histogram,
    number_of_assignments,
    numbers_of_dates,
    randomization,
)
from study.panel.question import Sample

ASKED = Question("y", "event", min_cohort_size=1, average="event_average", horizon=1)
TINY = np.array([4.0, 4.0, 6.0, np.nan, np.nan, np.nan, np.nan])
DATES = np.repeat([4.0, 6.0, 7.0, np.nan], [6, 5, 4, 15])


def panel(first: np.ndarray, seed: int = 0, effect: float = 0.0, strata: np.ndarray | None = None) -> Panel:
    """Return a panel with given event dates, persistent errors and an effect of every treated cell."""
    rng, n = np.random.default_rng(seed), len(first)
    noise = rng.normal(size=(n, 1)) + np.cumsum(rng.normal(size=(n, 8)), axis=1)
    treated = first[:, None] <= simulated.PERIODS
    groups = np.zeros(n, dtype=int) if strata is None else strata
    return replace(
        simulated.panel(n=n),
        outcomes={"y": 9.0 + noise + effect * treated},
        first_treated={"event": first},
        covariates={},
        attributes={"size": groups.astype(str)},
    )


def t_statistic(whole: Panel, name: str, question: Question = ASKED) -> float:
    headline = estimate(whole, question, name).headline
    return float(headline.effect[0] / headline.std_error[0])


def permuted(whole: Panel, order: np.ndarray) -> Panel:
    return replace(whole, first_treated={"event": whole.first_treated["event"][order]})


def test_every_assignment_is_drawn_once_and_stays_within_strata() -> None:
    strata, dates = np.array([0, 1, 0, 1, 1, 0, 0]), np.array([2, 2, 0, 0, 1, 0, 1])
    groups = [np.flatnonzero(strata == s) for s in (0, 1)]
    found = [tuple(dates[order]) for order in every_order(groups, dates)]
    brute = {
        tuple(dates[list(order)]) for order in permutations(range(7)) if np.all(strata[list(order)] == strata)
    }
    assert len(found) == len(brute) == number_of_assignments([dates[g] for g in groups]) == 12 * 6
    assert set(found) == brute


def test_the_number_of_ways_is_the_multinomial_coefficient_and_infinite_when_it_is_large() -> None:
    assert number_of_assignments([np.repeat([0, 1, 2], [3, 2, 9])]) == factorial(14) / factorial(
        3
    ) / 2 / factorial(9)
    assert number_of_assignments([np.zeros(5), np.ones(3)]) == 1
    assert number_of_assignments([np.arange(1000)]) == np.inf


@pytest.mark.parametrize("name", ["twfe", "callaway_santanna"])
@pytest.mark.parametrize("strata", [None, "size"])
def test_few_ways_give_the_share_of_all_permutations_by_brute_force(name: str, strata: str | None) -> None:
    whole = panel(TINY, seed=3, effect=1.5, strata=np.array([0, 1, 0, 0, 1, 0, 1]))
    own, known = whole.attributes["size"], {}
    size = []
    for order in permutations(range(7)):
        if strata is None or all(own[i] == own[k] for i, k in enumerate(order)):
            key = tuple(np.nan_to_num(TINY[list(order)]))
            if key not in known:
                known[key] = abs(t_statistic(permuted(whole, np.array(order)), name))
            size.append(known[key])
    actual = abs(t_statistic(whole, name))
    found = randomization(ASKED.sample(whole), name, strata=strata)
    assert found.exact
    assert found.permutations == len(known)
    assert found.p_value == pytest.approx(np.mean(np.array(size) >= actual - 1e-9), abs=1e-12)
    np.testing.assert_allclose(np.sort(np.abs(found.drawn)), np.sort(list(known.values())), rtol=1e-9)


def test_units_of_one_date_and_other_doses_make_assignments_of_their_own() -> None:
    first, dose = np.array([4.0, 4.0, 4.0, np.nan, np.nan, np.nan]), np.array([1.0, 2.0, 2.0, 0.0, 0.0, 0.0])
    by_period = dose[:, None] * (simulated.PERIODS >= 4)
    whole = replace(panel(first, seed=3), doses={"amount": by_period})
    slopes: dict[str, Any] = {"curve": "slopes", "degree": 1}

    def slope(order: np.ndarray) -> float:
        return float(estimate(moved(order), asked, "dose_response", **slopes).headline.effect[0])

    def moved(order: np.ndarray) -> Panel:
        return replace(permuted(whole, order), doses={"amount": by_period[order]})

    asked = ASKED.replace(dose="amount")
    every = {tuple(dose[list(order)]): np.array(order) for order in permutations(range(6))}
    made = randomization(asked.sample(whole), "dose_response", statistic="estimate", **slopes)
    assert made.exact
    np.testing.assert_allclose(
        np.sort(made.drawn), np.sort([slope(order) for order in every.values()]), atol=1e-12
    )


def test_all_ways_are_taken_up_to_the_number_of_permutations_and_draws_beyond_it() -> None:
    sample = ASKED.sample(panel(TINY))
    assert randomization(sample, "twfe", permutations=105).exact
    drawn = randomization(sample, "twfe", permutations=104)
    assert not drawn.exact
    extreme = np.sum(np.abs(drawn.drawn) >= abs(drawn.statistic) - 1e-9)
    assert drawn.p_value == pytest.approx((1 + extreme) / 105)
    assert "the smallest possible p-value is 0.0095" in " ".join(randomization(sample, "twfe").sentences)


def expected_draws(whole: Panel, name: str, times: int, seed: int) -> list[float]:
    """Refit from the panel with dates permuted within strata, units sorted by label."""
    rng, first = np.random.default_rng(seed), whole.first_treated["event"]
    found = []
    for _ in range(times):
        order = np.arange(len(first))
        for label in np.unique(whole.attributes["state"]):
            members = np.flatnonzero(whole.attributes["state"] == label)
            order[members] = rng.permutation(members)
        headline = catalogue.answer(name, permuted(whole, order)).headline
        found.append(headline.effect[0] / headline.std_error[0])
    return found


@pytest.mark.parametrize("name", sorted(catalogue.EVERY))
def test_every_design_answers_with_its_statistics_on_panels_whose_dates_are_permuted(name: str) -> None:
    whole = catalogue.suited(name, simulated.panel(60, seed=2))
    whole = replace(whole, attributes={"state": np.resize(["a", "b", "c"], 60)})
    named, options = catalogue.EVERY[name]
    sample, times = catalogue.ASKED.sample(whole), 2
    found = randomization(sample, named, strata="state", permutations=times, **options)
    np.testing.assert_allclose(found.drawn, expected_draws(whole, name, times, 0), rtol=1e-9)
    headline = catalogue.answer(name, whole).headline
    assert found.statistic == pytest.approx(headline.effect[0] / headline.std_error[0], rel=1e-9)
    assert found.p_value * (1 + times) == pytest.approx(
        1 + np.sum(np.abs(found.drawn) >= abs(found.statistic)), abs=1e-9
    )


def test_every_design_is_among_those_tried() -> None:
    there = {name for name, each in all_designs().items() if each.function.__module__.startswith("study.")}
    assert there - catalogue.WITH_QUESTIONS_OF_THEIR_OWN == {named for named, _ in catalogue.EVERY.values()}


@pytest.mark.parametrize("name", ["callaway_santanna", "etwfe"])
def test_what_permuted_samples_share_is_what_fresh_samples_compute(name: str) -> None:
    whole = simulated.panel(60, seed=3)
    question = Question("y", "event", covariates=("x1", "x2"), average="event_average", horizon=2)
    sample = question.sample(whole)
    find_design(name)(sample)
    order = np.random.default_rng(0).permutation(60)
    shared = find_design(name)(sample.permuted(order))
    np.testing.assert_array_equal(shared.effect, estimate(permuted(whole, order), question, name).effect)
    keep = np.arange(60) % 4 > 0
    part = find_design(name)(sample.permuted(order).only(keep, "left out"))
    fresh = estimate(simulated.subset(permuted(whole, order), keep), question, name)
    np.testing.assert_allclose(part.effect, fresh.effect, rtol=1e-9)


def p_values(draw: Callable[[int], Panel], times: int, **options: str) -> np.ndarray:
    """Return p-values of panels by the design whose assignments are computed at once, and so many of them."""
    options |= {"design": "callaway_santanna", "method": "reg"}
    return np.array(
        [
            randomization(ASKED.sample(draw(s)), permutations=19, seed=s, **options).p_value
            for s in range(times)
        ]
    )


@pytest.mark.parametrize("treated", [(0, 1), (2, 3), (4, 5)])
def test_of_statistics_that_are_zero_but_for_rounding_none_is_more_extreme_than_another(
    treated: tuple[int, int],
) -> None:
    y, dates = np.array([0.1, 0.7, 0.3, 0.5, 0.2, 0.6]), np.isin(np.arange(6), treated)

    def difference(order: np.ndarray) -> float:
        now = dates[order]
        return float(y[now].sum() / 2 - y[~now].sum() / 4)

    assert abs(difference(np.arange(6))) < 1e-15
    drawn = [difference(order) for order in every_order([np.arange(6)], dates.astype(int))]
    assert len(drawn) == comb(6, 2)
    assert p_of_draws(np.array(drawn), difference(np.arange(6)), exact=True) == 1.0


PLAIN: dict[str, Any] = {"event": "event", "outcome": "y", "min_cohort_size": 1}
AT_ONCE = {
    "average of all treated": {},
    "average of all event times": {"average": "event_average"},
    "horizon": {"average": "event_average", "horizon": 1},
    "covariates": {"covariates": ("x1", "x2"), "average": "event_average", "horizon": 2},
    "never treated": {"comparison": "never_treated", "covariates": ("x1",)},
    "proportional": {
        "scale": "proportional",
        "covariates": ("x1",),
        "average": "event_average",
        "horizon": 2,
    },
    "varying base": {"base": "varying", "anticipation": 1},
    "fixed composition": {"covariates": ("x1",), "average": "event_average", "balance": 1},
    "one cohort": {"covariates": ("x1",), "scale": "proportional"},
    "one treated unit": {"covariates": ("x1",), "average": "event_average", "horizon": 0},
}


@pytest.mark.parametrize("unseen", [[], [2], [1, 5]], ids=["whole", "one period unseen", "two"])
@pytest.mark.parametrize("asked", AT_ONCE.values(), ids=AT_ONCE)
def test_statistics_of_many_assignments_at_once_are_those_of_the_design(
    asked: dict[str, Any], unseen: list[int]
) -> None:
    whole = simulated.panel(n=40, seed=5, level=50.0)
    first = whole.first_treated["event"]
    if asked == AT_ONCE["one treated unit"]:
        first = np.r_[5.0, 5.0, 8.0, [np.nan] * 37]
    if asked == AT_ONCE["one cohort"]:
        first = np.r_[[5.0] * 4, [np.nan] * 36]
    y = whole.outcomes["y"].copy()
    y[:, unseen] = np.nan
    sample = Question(**PLAIN | asked).sample(
        replace(whole, outcomes={"y": y}, first_treated={"event": first})
    )
    assert_as_the_design_says("callaway_santanna", sample, method="reg")


def assert_as_the_design_says(design: str, sample: Sample, **options: Any) -> None:
    rng, chosen = np.random.default_rng(1), find_design(design)
    orders = np.stack([rng.permutation(sample.n_units) for _ in range(12)])
    assert chosen.assigned is not None
    at_once = chosen.assigned(sample, orders, **options)
    assert at_once is not None
    for order, effect, error, known in zip(orders, *at_once, strict=True):
        headline = chosen(sample.permuted(order), **options).headline
        expected = headline.effect[0], headline.std_error[0]
        assert known == np.isfinite(expected[1])
        np.testing.assert_allclose((effect, error), expected, rtol=1e-9)


OF_COEFFICIENTS = {
    "average of all event times": {"average": "event_average"},
    "horizon": {"average": "event_average", "horizon": 1},
    "proportional": {"scale": "proportional", "average": "event_average", "horizon": 2},
    "anticipation": {"scale": "proportional", "anticipation": 1, "average": "event_average"},
    "one cohort": {"scale": "proportional", "average": "event_average"},
    "one treated unit": {"average": "event_average", "horizon": 0},
}


@pytest.mark.parametrize("unseen", [[], [2], [0, 5]], ids=["whole", "one period unseen", "two"])
@pytest.mark.parametrize("asked", OF_COEFFICIENTS.values(), ids=OF_COEFFICIENTS)
@pytest.mark.parametrize(
    ("design", "options"), [("twfe", {}), ("event_study", {}), ("event_study", {"bin_at": 3})]
)
def test_coefficients_of_many_assignments_at_once_are_those_of_the_design(
    design: str, options: dict[str, Any], asked: dict[str, Any], unseen: list[int]
) -> None:
    whole = simulated.panel(n=40, seed=5, level=50.0)
    first = whole.first_treated["event"]
    if asked == OF_COEFFICIENTS["one treated unit"]:
        first = np.r_[5.0, 5.0, 9.0, [np.nan] * 37]
    if asked == OF_COEFFICIENTS["one cohort"]:
        first = np.r_[[5.0] * 4, [np.nan] * 36]
    y = whole.outcomes["y"].copy()
    y[:, unseen] = np.nan
    changed = replace(whole, outcomes={"y": y}, first_treated={"event": first})
    assert_as_the_design_says(design, Question(**PLAIN | asked).sample(changed), **options)


@pytest.mark.parametrize("design", ["twfe", "event_study"])
def test_assignments_do_not_depend_on_how_many_are_made_at_a_time(
    design: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    question = Question(**PLAIN, scale="proportional", average="event_average")
    sample = question.sample(simulated.panel(n=40, seed=5, level=50.0))
    orders = np.stack([np.random.default_rng(seed).permutation(40) for seed in range(9)])
    chosen = find_design(design)
    assert chosen.assigned is not None
    together = chosen.assigned(sample, orders)
    monkeypatch.setattr("study.designs.did_assignments.AT_ONCE", 2 * sample.y.size)
    assert together is not None
    for apart, own in zip(chosen.assigned(sample, orders) or (), together, strict=True):
        np.testing.assert_allclose(apart, own, rtol=1e-12)


@pytest.mark.parametrize("design", ["twfe", "event_study"])
def test_trends_and_levels_cost_coefficients_of_assignments_no_more_digits_than_the_design(
    design: str,
) -> None:
    whole, chosen = simulated.panel(n=60, seed=5, level=50.0), find_design(design)
    y, trend = whole.outcomes["y"], 2.0**20 * np.arange(8) + 2.0**19 * np.arange(60)[:, None]
    steep = y + trend
    asked = Question(**PLAIN, average="event_average")
    samples = [asked.sample(replace(whole, outcomes={"y": made})) for made in (steep, steep - trend)]
    orders = np.stack([np.random.default_rng(seed).permutation(60) for seed in range(6)])
    assert chosen.assigned is not None
    at_once = chosen.assigned(samples[0], orders)
    assert at_once is not None
    exact = [chosen(samples[1].permuted(order)).headline for order in orders]
    np.testing.assert_allclose(at_once[0], [fit.effect[0] for fit in exact], rtol=1e-6)
    np.testing.assert_allclose(at_once[1], [fit.std_error[0] for fit in exact], rtol=1e-9)


@pytest.mark.parametrize("scale", ["level", "proportional"])
def test_what_all_units_share_costs_the_errors_of_assignments_no_digits(scale: str) -> None:
    whole = simulated.panel(n=200, seed=5, level=50.0)
    first = np.r_[[5.0] * 4, [6.0] * 4, [8.0] * 4, [np.nan] * 188]
    y = whole.outcomes["y"]
    steep = replace(whole, outcomes={"y": y + 1e5 * np.arange(y.shape[1])}, first_treated={"event": first})
    sample = Question(**PLAIN, covariates=("x1",), scale=scale).sample(steep)
    rng, chosen = np.random.default_rng(1), find_design("callaway_santanna")
    orders = np.stack([rng.permutation(sample.n_units) for _ in range(6)])
    assert chosen.assigned is not None
    at_once = chosen.assigned(sample, orders, method="reg")
    assert at_once is not None
    assert at_once[2].all()
    expected = [chosen(sample.permuted(order), method="reg").headline.std_error[0] for order in orders]
    np.testing.assert_allclose(at_once[1], expected, rtol=1e-9)


def test_a_covariate_that_is_far_off_for_the_treated_costs_the_errors_of_assignments_no_digits() -> None:
    whole, rng = simulated.panel(n=200, seed=5, level=50.0), np.random.default_rng(0)
    size = rng.normal(size=200)
    size[:12] += 1e5 * rng.random(12)
    far = replace(
        whole,
        covariates={"size": np.outer(size, np.ones(8))},
        first_treated={"event": np.r_[[5.0] * 4, [6.0] * 4, [8.0] * 4, [np.nan] * 188]},
    )
    sample, chosen = Question(**PLAIN, covariates=("size",)).sample(far), find_design("callaway_santanna")
    # Those that are treated stay so; others, too, change places.
    orders = np.stack([np.r_[rng.permutation(12), 12 + rng.permutation(188)] for _ in range(4)])
    assert chosen.assigned is not None
    at_once = chosen.assigned(sample, orders, method="reg")
    assert at_once is not None
    assert at_once[2].all()
    headlines = [chosen(sample.permuted(order), method="reg").headline for order in orders]
    np.testing.assert_allclose(at_once[0], [each.effect[0] for each in headlines], rtol=1e-8)
    np.testing.assert_allclose(at_once[1], [each.std_error[0] for each in headlines], rtol=1e-8)


def test_comparisons_that_are_collinear_are_left_out_of_assignments_as_the_design_leaves_them_out() -> None:
    whole = simulated.panel(n=40, seed=5, level=50.0)
    first = np.r_[[5.0] * 10, [6.0] * 10, [8.0] * 12, [9.0] * 8]
    # In some assignments nobody who is compared in the last period has it.
    rare = np.r_[[1.0] * 5, [0.0] * 35]
    panel = replace(
        whole,
        first_treated={"event": first},
        covariates={**whole.covariates, "rare": np.repeat(rare[:, None], 8, axis=1)},
    )
    chosen, rng = find_design("callaway_santanna"), np.random.default_rng(3)
    assert chosen.assigned is not None
    for other in (
        {"average": "event_average", "horizon": 3},
        {"average": "event_average", "horizon": 3, "scale": "proportional"},
    ):
        sample = Question(**PLAIN | {"covariates": ("x1", "rare")} | other).sample(panel)
        orders = np.stack([rng.permutation(sample.n_units) for _ in range(60)])
        at_once = chosen.assigned(sample, orders, method="reg")
        assert at_once is not None
        left_out = 0
        for order, effect, error, known in zip(orders, *at_once, strict=True):
            fit = chosen(sample.permuted(order), method="reg")
            left_out += known and any("do not identify" in note for note in fit.notes)
            expected = fit.headline.effect[0], fit.headline.std_error[0] if known else np.nan
            np.testing.assert_allclose((effect, error), expected, rtol=1e-9)
        assert left_out > 5


def test_an_average_of_fixed_composition_is_left_to_the_design_where_a_comparison_is_collinear() -> None:
    whole = simulated.panel(n=40, seed=5, level=50.0)
    first = np.r_[[5.0] * 10, [7.0] * 22, [9.0] * 8]
    rare = {"rare": np.r_[[1.0] * 5, [0.0] * 35][:, None].repeat(8, axis=1)}
    panel = replace(whole, first_treated={"event": first}, covariates=rare)
    chosen, rng = find_design("callaway_santanna"), np.random.default_rng(3)
    sample = Question(**PLAIN | {"covariates": ("rare",), "average": "event_average", "balance": 1}).sample(
        panel
    )
    orders = np.stack([rng.permutation(sample.n_units) for _ in range(40)])
    assert chosen.assigned is not None
    at_once = chosen.assigned(sample, orders, method="reg")
    assert at_once is not None
    collinear = []
    for order, effect, error, known in zip(orders, *at_once, strict=True):
        fit = chosen(sample.permuted(order), method="reg")
        collinear.append(any("cohort 7" in note and "do not identify" in note for note in fit.notes))
        expected = fit.headline.effect[0], fit.headline.std_error[0]
        if known:
            np.testing.assert_allclose((effect, error), expected, rtol=1e-9)
    assert 5 < sum(collinear) < 35
    assert at_once[2].any()
    assert not np.any(at_once[2] & collinear)


def test_what_cannot_be_computed_at_once_is_left_to_the_design() -> None:
    whole, chosen = simulated.panel(n=30, seed=2), find_design("callaway_santanna")
    orders = np.arange(30)[None]
    y = whole.outcomes["y"].copy()
    y[0, 3] = np.nan
    gap = replace(whole, outcomes={"y": y})
    kinds = [
        (whole, {"covariates": ("x1",)}, "dr"),
        (whole, {"average": "cohort_average"}, "reg"),
        (whole, {"cluster": "state"}, "reg"),
        (whole, {"weights": "size"}, "reg"),
        (gap, {}, "reg"),
    ]
    assert chosen.assigned is not None
    for one, asked, method in kinds:
        sample = Question(**PLAIN | asked).sample(one)
        assert chosen.assigned(sample, orders, method=method) is None, asked
        for name in ("twfe", "event_study"):
            of_coefficients = find_design(name).assigned
            assert of_coefficients is not None
            left = asked == {"average": "cohort_average"} and name == "twfe"
            assert (of_coefficients(sample, orders) is None) is not left, (name, asked)
    flat = replace(whole, outcomes={"y": np.ones_like(y)})
    at_once = chosen.assigned(Question(**PLAIN).sample(flat), orders, method="reg")
    assert at_once is not None
    assert not at_once[2].any()
    assert np.isnan(at_once[1]).all()


ALONE = np.r_[5.0, [np.nan] * 29]
PAIR = np.r_[5.0, 5.0, [np.nan] * 28]
FLAGGED = np.r_[1.0, 1.0, [0.0] * 28]


@pytest.mark.parametrize(
    ("first", "scale", "shift", "spread"),
    [(ALONE, "level", 0.0, 1.0), (PAIR, "proportional", -99.0, 1.0), (PAIR, "level", 1.0, 1e-12)],
    ids=["one treated unit", "negative mean", "rounding"],
)
@pytest.mark.parametrize(
    ("design", "options"), [("callaway_santanna", {"method": "reg"}), ("twfe", {}), ("event_study", {})]
)
def test_assignments_without_a_statistic_at_once_are_the_designs_to_say(
    design: str, options: dict[str, Any], first: np.ndarray, scale: str, shift: float, spread: float
) -> None:
    whole = simulated.panel(n=30, seed=2)
    y = shift + spread * whole.outcomes["y"]
    changed = replace(whole, outcomes={"y": y}, first_treated={"event": first})
    question = Question(**PLAIN, scale=scale, average="event_average")
    sample, chosen = question.sample(changed), find_design(design)
    assert chosen.assigned is not None
    at_once = chosen.assigned(sample, np.arange(30)[None], **options)
    assert at_once is not None
    # That no mean is positive is decided by the same rule as the design's.
    assert at_once[2].tolist() == [scale == "proportional"]
    assert np.isnan(at_once[1]).all()
    if scale == "proportional":
        assert np.isnan(at_once[:2]).all()
        assert np.isnan(chosen(sample, **options).headline.effect).all()


def test_assignments_that_leave_a_covariate_to_the_treated_are_the_designs_to_say() -> None:
    whole, flagged = simulated.panel(n=30, seed=2), np.outer(FLAGGED, np.ones(8))
    changed = replace(whole, covariates={"flagged": flagged}, first_treated={"event": PAIR})
    sample, chosen = (
        Question(**PLAIN, covariates=("flagged",)).sample(changed),
        find_design("callaway_santanna"),
    )
    assert chosen.assigned is not None
    orders = np.stack([np.arange(30), np.roll(np.arange(30), 5)])
    at_once = chosen.assigned(sample, orders, method="reg")
    assert at_once is not None
    assert np.isnan(at_once[0]).tolist() == [True, False]
    assert at_once[2].tolist() == [True, False]  # two units that are like no treated one are in no error
    with pytest.raises(
        QuestionError, match="the covariates do not identify the comparison units' regression"
    ):
        chosen(sample, method="reg")


def test_the_p_value_is_the_same_at_once_and_one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    sample = ASKED.sample(panel(DATES, seed=4, effect=0.4))
    at_once = randomization(sample, "callaway_santanna", permutations=99)
    monkeypatch.setattr(
        "study.inference.randomization._Refit.each", lambda refit, orders: [*map(refit, orders)]
    )
    one_by_one = randomization(sample, "callaway_santanna", permutations=99)
    np.testing.assert_allclose(at_once.drawn, one_by_one.drawn, rtol=1e-9)
    assert at_once.p_value == one_by_one.p_value


@pytest.mark.search
def test_without_effects_the_p_value_is_uniform_though_few_units_are_treated() -> None:
    panels = searching.samples(300, 1000)

    def draw(seed: int) -> Panel:
        first = np.random.default_rng((seed, 1)).permutation(np.r_[4.0, 6.0, 7.0, [np.nan] * 27])
        return panel(first, seed)

    found = np.round(p_values(draw, panels) * 20).astype(int)
    counts = np.bincount(found, minlength=21)[1:]
    assert stats.chisquare(counts).pvalue > 0.001
    for most in (1, 2, 4):
        assert stats.binomtest(int(np.sum(found <= most)), panels, most / 20).pvalue > 0.001


def stratified(seed: int) -> Panel:
    """Return a panel without effects, in whose one half units adopt more often and outcomes grow more."""
    rng, half = np.random.default_rng((seed, 2)), np.repeat([0, 1], 20)
    first = np.full(40, np.nan)
    first[rng.choice(20, 3, replace=False)] = 5.0
    first[20 + rng.choice(20, 14, replace=False)] = 5.0
    made = panel(first, seed, strata=half)
    return replace(made, outcomes={"y": made.outcomes["y"] + 0.6 * half[:, None] * simulated.PERIODS})


@pytest.mark.search
def test_strata_make_the_test_valid_where_units_that_adopt_more_often_grow_more() -> None:
    panels = searching.samples(200, 500)
    within = p_values(stratified, panels, strata="size")
    across = p_values(stratified, 40)
    assert stats.binomtest(int(np.sum(within < 0.101)), panels, 0.1).pvalue > 0.001
    assert np.mean(across < 0.101) > 0.3


def test_the_usual_test_is_of_no_effect_by_the_t_statistic_in_999_draws() -> None:
    sample = ASKED.sample(panel(DATES))
    found = randomization(sample, "callaway_santanna", method="reg")
    usual: dict[str, Any] = {"strata": None, "permutations": 999, "statistic": "t", "null": 0.0, "seed": 0}
    said = randomization(sample, "callaway_santanna", method="reg", **usual)
    assert (found.permutations, found.exact, found.kind, found.null) == (999, False, "t", 0.0)
    assert found.drawn.tobytes() == said.drawn.tobytes()


def test_an_effect_is_found() -> None:
    found = randomization(ASKED.sample(panel(DATES, effect=5.0)), "callaway_santanna", permutations=199)
    assert found.p_value == pytest.approx(1 / 200)
    assert found.statistic > 5


@pytest.mark.parametrize("kind", ["t", "estimate"])
@pytest.mark.parametrize("scale", ["level", "log1p", "proportional"])
def test_a_null_that_is_the_effect_itself_gives_what_no_effect_gives(scale: str, kind: str) -> None:
    free = panel(DATES, seed=1)
    y, treated = np.exp(free.outcomes["y"] / 9), DATES[:, None] <= simulated.PERIODS
    with_effect = {
        "level": y + 0.7 * treated,
        "log1p": np.expm1(np.log1p(y) + 0.7 * treated),
        "proportional": y * (1 + 0.7 * treated),
    }[scale]
    question = ASKED.replace(scale=scale)
    p = {"permutations": 19, "statistic": kind}
    nothing = randomization(question.sample(replace(free, outcomes={"y": y})), "callaway_santanna", **p)
    sample = question.sample(replace(free, outcomes={"y": with_effect}))
    found = randomization(sample, "callaway_santanna", null=0.7, **p)
    np.testing.assert_allclose(found.drawn, nothing.drawn, rtol=1e-7)
    assert found.p_value == nothing.p_value
    assert "effect of 0.7" in found.sentences[0]
    assert abs(randomization(sample, "callaway_santanna", **p).statistic) > abs(found.statistic)


def test_the_answer_does_not_depend_on_the_order_of_units_but_draws_do_on_the_seed() -> None:
    whole = panel(DATES, strata=np.arange(30) % 2)
    turned = simulated.ordered(whole, np.random.default_rng(5).permutation(30))
    first, second = (
        randomization(ASKED.sample(p), "callaway_santanna", strata="size", permutations=9)
        for p in (whole, turned)
    )
    np.testing.assert_allclose(first.drawn, second.drawn, rtol=1e-9)
    again = randomization(ASKED.sample(whole), "callaway_santanna", strata="size", permutations=9)
    assert again.drawn.tobytes() == first.drawn.tobytes()
    other = randomization(ASKED.sample(whole), "callaway_santanna", strata="size", permutations=9, seed=1)
    assert not np.isclose(other.drawn, first.drawn).any()


def test_two_processes_give_the_same_bytes_and_each_permutation_is_counted() -> None:
    sample, done = ASKED.sample(panel(DATES)), []
    with settings(progress=done.append):
        one, two = (randomization(sample, "twfe", permutations=60, jobs=jobs) for jobs in (1, 2))
        assert len(done) == 120
        exact = randomization(ASKED.sample(panel(TINY)), "twfe")
    assert one.drawn.tobytes() == two.drawn.tobytes()
    assert len(done) == 120 + exact.permutations


Seen = list[Sample]
Rule = Callable[[Sample], bool]
Recorded = tuple[Seen, Callable[[Rule], None]]


@pytest.fixture
def recorded(monkeypatch: pytest.MonkeyPatch) -> Recorded:
    """Register a design that keeps the samples it sees and refuses some; its answer is that of twfe."""
    seen: Seen = []
    refuse: list[Rule] = []
    all_designs()  # before the copy, so that none is imported into it
    monkeypatch.setattr(study.designs, "_registered", dict(study.designs._registered))
    twfe = find_design("twfe")

    def function(sample: Sample) -> Estimate:
        seen.append(sample)
        if any(rule(sample) for rule in refuse):
            raise QuestionError("recorded: these dates are refused.")
        return twfe.function(sample)

    design(
        name="recorded",
        title="Recorded",
        reference="none",
        estimand=Estimand.COEFFICIENT,
        assumes=(Assumes.PARALLEL_TRENDS,),
        supports=twfe.supports,
    )(function)
    return seen, refuse.append


def test_dates_that_the_design_refuses_count_as_extreme_and_are_told(recorded: Recorded) -> None:
    seen, refuse = recorded
    sample = ASKED.sample(panel(DATES))
    plain = randomization(sample, "twfe", permutations=40)
    refuse(lambda s: bool(s.first_treated[0] == 6))
    found = randomization(sample, "recorded", permutations=40)
    bad = np.array([s.first_treated[0] == 6 for s in seen[1:]])
    assert 0 < bad.sum() == found.undefined < 40
    assert np.isnan(found.drawn[bad]).all()
    np.testing.assert_allclose(found.drawn[~bad], plain.drawn[~bad], rtol=1e-12)
    extreme = bad | (np.abs(plain.drawn) >= abs(plain.statistic))
    assert found.p_value == pytest.approx((1 + extreme.sum()) / 41)
    assert any(
        f"In {bad.sum()} of the 40 assignments the t statistic is not defined" in s for s in found.sentences
    )
    assert not any("not defined" in s for s in plain.sentences)
    assert found.tidy().undefined[0] == bad.sum()


def test_a_design_made_in_this_session_is_known_to_other_processes(recorded: Recorded) -> None:
    sample = ASKED.sample(panel(DATES))
    one, two = (randomization(sample, "recorded", permutations=51, jobs=jobs) for jobs in (1, 2))
    assert one.drawn.tobytes() == two.drawn.tobytes()


def test_outcomes_covariates_and_gaps_stay_with_their_units(recorded: Recorded) -> None:
    whole = simulated.panel(60, gaps=0.1)
    sample = Question("y", "event", covariates=("moving",), weights="size").sample(whole)
    randomization(sample, "recorded", permutations=3)
    seen, _ = recorded
    assert len(seen) == 4
    for one in seen:
        for name in ("y", "x_baseline", "weights", "unit_ids"):
            assert getattr(one, name) is getattr(sample, name)
        np.testing.assert_array_equal(np.sort(one.first_treated), np.sort(sample.first_treated))


def clustered(first: np.ndarray, tier: np.ndarray | None = None) -> Sample:
    state = np.repeat(["s2", "s0", "s3", "s1", "s4", "s5"], [3, 6, 4, 5, 2, 4])
    whole = panel(first)
    tiers = np.zeros(len(state)) if tier is None else tier
    whole = replace(whole, attributes={"state": state, "tier": tiers.astype(int).astype(str)})
    return ASKED.replace(cluster="state").sample(whole)


BY_STATE = np.repeat([4.0, np.nan, 6.0, np.nan, np.nan, np.nan], [3, 6, 4, 5, 2, 4])


def test_dates_of_whole_clusters_are_permuted_between_clusters(recorded: Recorded) -> None:
    sample = clustered(BY_STATE)
    found = randomization(sample, "recorded")
    assert found.exact
    assert found.permutations == 6 * 5
    seen, _ = recorded
    by_cluster = set()
    for one in seen[1:]:
        dates = [np.unique(one.first_treated[one.cluster == c]) for c in range(6)]
        assert all(len(d) == 1 for d in dates)
        by_cluster.add(tuple(np.nan_to_num([d[0] for d in dates])))
    assert len(by_cluster) == 30
    assert any("permuted between whole clusters" in s for s in found.sentences)
    assert "6 clusters" in found.sentences[0]


def test_strata_hold_whole_clusters_or_are_refused(recorded: Recorded) -> None:
    whole = randomization(clustered(BY_STATE, np.arange(24) >= 13), "recorded", strata="tier")
    assert whole.permutations == 3 * 2 * 1
    with pytest.raises(QuestionError, match="cluster s0 of state has units in two strata of tier"):
        randomization(clustered(BY_STATE, np.arange(24) >= 5), "recorded", strata="tier")


def test_dates_that_differ_within_clusters_are_permuted_between_units_with_a_warning(
    recorded: Recorded,
) -> None:
    first = BY_STATE.copy()
    first[0] = 7.0
    found = randomization(clustered(first), "recorded", permutations=5)
    assert any("valid if units of one cluster adopt independently" in s for s in found.sentences)
    assert "24 units" in found.sentences[0]
    within = randomization(clustered(first), "recorded", strata="state")
    assert within.permutations == 3


def test_the_paths_of_a_treatment_that_switches_are_permuted_as_they_are(recorded: Recorded) -> None:
    path = np.zeros((12, 8))
    path[:3, 3:] = 1.0
    path[3:6, 2:5] = 1.0
    whole = replace(panel(np.full(12, np.nan)), first_treated={}, treatment={"event": path})
    found = randomization(ASKED.sample(whole), "recorded", permutations=20)
    seen, _ = recorded
    assert number_of_assignments([np.repeat([0, 1, 2], [3, 3, 6])]) == 18480
    assert not found.exact
    for one in seen[1:]:
        assert sorted(map(tuple, one.path)) == sorted(map(tuple, path))
    assert len({one.path.tobytes() for one in seen}) > 10


def test_the_figure_the_table_and_the_sentences_have_the_numbers() -> None:
    found = randomization(ASKED.sample(panel(DATES)), "twfe", permutations=99, statistic="estimate")
    assert found.tidy().p_value[0] == found.p_value
    assert found.of == "twfe's treatment"
    row = found.tidy().iloc[0].to_dict()
    assert row.pop("statistic") == found.statistic
    assert row == {
        "term": "twfe's treatment",
        "kind": "estimate",
        "null": 0.0,
        "p_value": found.p_value,
        "permutations": 99,
        "exact": False,
        "undefined": 0,
    }
    assert "drawn=" not in repr(found)
    assert f"{found.statistic:.3g}" in found.sentences[0]
    assert f"{found.p_value:.3g}" in found.sentences[0]
    axes = found.plot().axes[0]
    assert sum(bar.get_height() for bar in axes.patches) == 99
    assert axes.lines[0].get_xdata()[0] == found.statistic
    assert axes.get_xlabel() == "estimate with event dates permuted\n(units of the outcome)"


def ends(figure: Figure) -> tuple[float, float]:
    bars = figure.axes[0].patches
    return bars[0].get_x(), bars[-1].get_x() + bars[-1].get_width()


@pytest.mark.parametrize("far", [0, 3])
@pytest.mark.parametrize("actual", [-0.4, 0.0, 1.7])
def test_the_figure_has_every_draw_the_statistic_and_its_opposite_and_says_where_outermost_bars_hold_more(
    actual: float, far: int
) -> None:
    drawn = np.concatenate([np.linspace(-1.0, 1.2, 400 - 2 * far), far * [-80.0], far * [90.0], [np.nan] * 7])
    figure = histogram(drawn, actual, "statistic", "actual dates", exact=False, title="A title")
    (axes,) = figure.axes
    bars = np.array([bar.get_height() for bar in axes.patches])
    assert (len(bars), bars.sum()) == (40, 400)
    values = np.sort(np.append(drawn[:400], [-abs(actual), abs(actual)]))
    low, high = values[math.floor(0.005 * 401)], values[math.ceil(0.995 * 401)]
    low, high = min(low, -abs(actual)), max(high, abs(actual))
    assert ends(figure) == pytest.approx((low, high))
    beyond = int(np.any((drawn[:400] < low) | (drawn[:400] > high)))
    assert axes.get_xlabel() == "statistic" + beyond * "\n(the outermost bars hold all beyond them)"
    assert [line.get_xdata()[0] for line in axes.lines] == [actual, -actual]
    assert axes.get_ylabel() == "draws"
    assert axes.get_title(loc="left") == "A title"
    texts = [text.get_text() for text in figure.legends[0].get_texts()]
    assert texts == [f"actual dates: {actual:.3g}", "the same, other sign"]


def test_the_outermost_bars_hold_no_more_where_no_draw_is_beyond_them() -> None:
    for drawn, expected in ((np.linspace(-1, 2, 50), (-1, 2)), (np.zeros(3), (0, 1))):
        figure = histogram(drawn, 0.0, "statistic", "actual dates", exact=True, title="")
        assert figure.axes[0].get_xlabel() == "statistic"
        assert figure.axes[0].get_ylabel() == "assignments"
        assert ends(figure) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("kind", "units", "label"),
    [
        ("t", "units of the outcome", "t statistic with event dates permuted"),
        ("estimate", "log(1 + outcome)", "estimate with event dates permuted\n(log(1 + outcome))"),
        ("estimate", "", "estimate with event dates permuted"),
    ],
)
def test_only_an_estimate_has_units_on_its_figure(kind: Any, units: str, label: str) -> None:
    test = Randomization(1.0, 0.25, 4, True, np.array([1.0, 0.2, -0.5, 0.1]), kind=kind, units=units)
    axes = test.plot().axes[0]
    assert axes.get_xlabel() == label
    assert axes.get_ylabel() == "assignments"
    assert axes.get_title(loc="left") == "Randomization test of the estimate\np = 0.250"


@pytest.mark.parametrize(("exact", "count"), [(True, 1), (True, 4), (False, 40)])
def test_the_sentences_say_how_fine_the_p_value_is(exact: bool, count: int) -> None:
    test = Randomization(1.0, 0.25, count, exact, np.zeros(count))
    said = test.sentences[1]
    if exact:
        assert f"there are {count} assignments" in said
        assert f"the smallest possible p-value is {1 / count:.2g}." in said
    else:
        assert f"move the p-value by about {math.sqrt(0.25 * 0.75 / count):.2g}." in said
        sure = replace(test, p_value=1.0)
        assert f"move the p-value by about {1 / (count + 1):.2g}." in sure.sentences[1]
    assert len(test.sentences) == 2


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"design": "twoway"}, 'there is no design "twoway"'),
        ({"strata": "tier"}, 'there is no attribute "tier"'),
        ({"statistic": "wald"}, 'there is no statistic "wald"'),
        ({"permutations": 0}, "permutations is 0; it must be a whole number from 1 on"),
        ({"permutations": 9.5}, "permutations is 9.5"),
        ({"seed": -1}, "seed is -1; it must be a whole number, at least 0"),
        ({"jobs": 0}, "jobs is 0"),
        ({"null": np.nan}, "null is nan; it must be a finite number"),
        ({"method": "reg"}, 'twfe: there is no option "method"'),
    ],
)
def test_bad_arguments_are_refused_before_any_permutation(arguments: dict[str, Any], message: str) -> None:
    done: list[str] = []
    with settings(progress=done.append), pytest.raises(QuestionError, match=message):
        randomization(ASKED.sample(panel(DATES)), **{"design": "twfe"} | arguments)
    assert not done


def test_an_effect_of_minus_one_in_proportion_cannot_be_a_null() -> None:
    sample = ASKED.replace(scale="proportional").sample(panel(DATES))
    with pytest.raises(QuestionError, match=r"null is -1\.0; it must be a finite number above -1"):
        randomization(sample, "twfe", null=-1.0)


def test_strata_in_which_all_units_have_one_date_leave_nothing_to_deal() -> None:
    whole = panel(DATES, strata=np.nan_to_num(DATES))
    with pytest.raises(QuestionError) as refusal:
        randomization(ASKED.sample(whole), "twfe", strata="size")
    assert str(refusal.value) == (
        "randomization: 30 units within 4 strata of size have the same date of event as all others of their stratum, "
        "so that there is nothing to permute; take coarser strata."
    )


def test_a_statistic_that_is_not_defined_for_the_actual_dates_is_refused(recorded: Recorded) -> None:
    whole = panel(DATES)
    flat = replace(whole, outcomes={"y": np.zeros((30, 8))})
    with pytest.raises(
        QuestionError, match=r'no standard error with the event dates .* use statistic="estimate"'
    ):
        randomization(ASKED.sample(flat), "twfe")
    assert isinstance(
        randomization(ASKED.sample(flat), "twfe", statistic="estimate", permutations=9), Randomization
    )


def test_units_of_one_cluster_and_date_may_differ_in_their_dose() -> None:
    first, pairs = np.repeat([4.0, 6.0, np.nan, np.nan], 6), np.arange(24) // 2
    dose = np.tile([[1.0], [2.0]], (12, 8))
    whole = replace(panel(first, strata=pairs), doses={"amount": dose})
    sample = ASKED.replace(cluster="size", dose="amount").sample(whole)
    made = randomization(sample, "dose_response", permutations=19, degree=1)
    assert (
        "(size) have units with two event dates or doses, so dates were permuted between units"
        in " ".join(made.sentences)
    )


def test_a_path_that_is_not_known_in_a_period_is_another_than_one_without_treatment_then() -> None:
    path = np.array([[0, 0, 1], [0, np.nan, 1], [0, 0, 1], [0, np.nan, 1]])
    own = {"outcomes": {"y": np.arange(12.0).reshape(4, 3)}, "covariates": {}, "doses": {"D": path}}
    panel = replace(simulated.panel(n=4), periods=np.arange(1, 4), first_treated={}, **own)
    number = numbers_of_dates(Question("y", "D").sample(panel))
    assert number[0] == number[2] != number[1] == number[3]
