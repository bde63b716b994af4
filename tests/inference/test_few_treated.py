"""Inference from comparison units' errors against placebo estimates and plain loops, and its size by simulation."""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import combinations
from typing import Any

import numpy as np
import pytest
import searching
import simulated
from scipy.optimize import nnls

import study
from study import Panel, Question, QuestionError, few_treated, settings
from study.inference import few_treated as module
from study.inference.few_treated import FewTreated
from study.inference.leave_out import ROW
from study.panel import Sample

ASKED = Question("y", "event", min_cohort_size=1, average="event_average", horizon=2)
LINEAR: dict[str, dict[str, Any]] = {
    "twfe": {},
    "event_study": {},
    "callaway_santanna": {},
    "sun_abraham": {},
    "imputation": {"leads": 0},
    "etwfe": {},
    "lee_wooldridge": {"transform": "detrend"},
    "stacked": {"before": 2, "after": 2},
    "lp_did": {},
}


def panel(
    treated: int,
    n: int = 30,
    dates: tuple[int, ...] = (5,),
    seed: int = 0,
    effect: float = 0.0,
    power: float = 0.0,
) -> Panel:
    """Return n units, the smallest of them treated, whose errors' variance is 1 / size ** power."""
    rng = np.random.default_rng(seed)
    first = np.full(n, np.nan)
    first[:treated] = np.resize(dates, treated)
    size = np.linspace(1.0, 8.0, n)
    shocks = np.cumsum(rng.normal(size=(n, 8)), axis=1) / size[:, None] ** (power / 2)
    treatment = first[:, None] <= simulated.PERIODS
    y = 30 + 5 * rng.random((n, 1)) + 0.3 * simulated.PERIODS + shocks + effect * treatment
    across = np.ones(8)
    return replace(
        simulated.panel(n=n),
        outcomes={"y": y},
        first_treated={"event": first},
        covariates={"size": np.outer(size, across), "x": np.outer(rng.normal(size=n), across)},
    )


@pytest.mark.parametrize("treated", [1, 2])
@pytest.mark.parametrize("name", LINEAR)
def test_with_one_date_draws_are_all_placebo_estimates(name: str, treated: int) -> None:
    sample = ASKED.sample(panel(treated, n=12 if treated == 2 else 20))
    fast = few_treated(sample, name, level=0.9, **LINEAR[name])
    slow = few_treated(sample, name, level=0.9, inference="placebo", **LINEAR[name])
    assert fast.exact
    assert slow.exact
    assert fast.draws == math.comb(fast.n_comparison, treated)
    np.testing.assert_allclose(np.sort(fast.drawn), np.sort(slow.drawn), atol=1e-9)
    assert fast.p_value == slow.p_value
    assert fast.interval == pytest.approx(slow.interval, abs=1e-9)


@pytest.mark.parametrize("weights", [None, "size"])
@pytest.mark.parametrize("covariates", [(), ("x",)])
def test_one_treated_unit_with_a_covariate_is_compared_with_predictions_of_each_other(
    covariates: tuple[str, ...], weights: str | None
) -> None:
    whole = panel(1)
    question = ASKED.replace(covariates=covariates, comparison="never_treated", weights=weights)
    sample = question.sample(whole)
    made = few_treated(sample, "callaway_santanna", level=0.9, method="reg")
    y, x = whole.outcomes["y"][1:], whole.covariates["x"][1:, 0]
    change = y[:, 4:7].mean(axis=1) - y[:, 3]
    z = np.column_stack([np.ones(29), x])[:, : 1 + len(covariates)]
    weight = np.ones(29) if weights is None else whole.covariates[weights][1:, 0]
    errors = []
    for j in range(29):
        others, root = np.arange(29) != j, np.sqrt(weight)[:, None]
        b = np.linalg.lstsq((root * z)[others], (root[:, 0] * change)[others], rcond=None)[0]
        errors.append((change[j] - z[j] @ b) * (1 - weight[j] / weight.sum()) / (1 - 1 / 29))
    np.testing.assert_allclose(np.sort(made.drawn), np.sort(errors), atol=1e-9)
    assert made.p_value == (1 + np.sum(np.abs(errors) >= abs(made.effect))) / 30
    assert (made.interval[1] - made.interval[0]) / 2 == pytest.approx(np.sort(np.abs(errors))[-3], abs=1e-9)


@pytest.mark.parametrize("factor", [1e-9, 1e9])
def test_the_unit_of_a_covariate_does_not_matter(factor: float) -> None:
    whole, question = panel(1), ASKED.replace(covariates=("x",))
    measured = replace(whole, covariates=whole.covariates | {"x": factor * whole.covariates["x"]})
    one, other = (
        few_treated(question.sample(each), "callaway_santanna", method="reg") for each in (whole, measured)
    )
    np.testing.assert_allclose(np.sort(other.drawn), np.sort(one.drawn), rtol=1e-7)


def test_sizes_are_those_of_the_units_in_whatever_order_a_panel_made_by_hand_has_them() -> None:
    whole = panel(2, n=14, power=1.0)
    named = replace(whole, units=whole.units[::-1])
    asked: dict[str, Any] = {"inference": "ferman_pinto", "size": "size", "level": 0.9}
    one, other = (few_treated(ASKED.sample(each), "imputation", **asked) for each in (whole, named))
    np.testing.assert_allclose(np.sort(one.drawn), np.sort(other.drawn), rtol=1e-10)


@pytest.mark.parametrize(("aggregate", "seed"), [("mean", 0), ("mean", 5), ("total", 6)])
def test_errors_are_rescaled_by_the_variance_that_sizes_predict(aggregate: str, seed: int) -> None:
    whole = panel(2, n=14, power=1.0, seed=seed)  # one coefficient or both are positive
    made = few_treated(
        ASKED.sample(whole),
        "imputation",
        inference="ferman_pinto",
        size="size",
        aggregate=aggregate,
        level=0.9,
    )
    y, size = whole.outcomes["y"], whole.covariates["size"][:, 0]
    change = y[:, 4:7].mean(axis=1) - y[:, :4].mean(axis=1)
    errors = np.array([change[j] - change[2:][np.arange(2, 14) != j].mean() for j in range(2, 14)])
    own, power = size[2:], {"mean": 0, "total": 2}[aggregate]
    basis = np.column_stack([np.ones(12), 1 / own])
    a, b = nnls(basis, errors**2 / own**power)[0]
    assert (a > 0) == (seed > 0)
    normal = errors / np.sqrt((a + b / own) * own**power)
    drawn = []
    for i, j in [pair for two in combinations(range(12), 2) for pair in (two, two[::-1])]:
        ours = [np.sqrt((a + b / s) * s**power) for s in size[:2]]
        drawn.append((normal[i] * ours[0] + normal[j] * ours[1]) / 2 * 11 / 10)
    np.testing.assert_allclose(np.sort(made.drawn), np.sort(drawn), atol=1e-9)
    predicted = [np.mean((a + b / s) * s**power) for s in (size[:2], own)]
    assert made.variance_ratio == pytest.approx(predicted[0] / predicted[1], rel=1e-9)
    assert "times the variance" in " ".join(made.sentences)
    assert made.sentences[1].endswith("as those of comparison units are, conditional on size.")


@pytest.mark.parametrize("scale", ["level", "log1p", "proportional"])
@pytest.mark.parametrize("name", ["callaway_santanna", "lee_wooldridge"])
def test_the_interval_holds_the_nulls_that_are_not_rejected(name: str, scale: Any) -> None:
    sample = ASKED.replace(scale=scale).sample(panel(3, dates=(4, 6), effect=4.0))
    made = few_treated(sample, name, draws=499)
    low, high = made.interval
    step = 1e-6 * (high - low)
    inside, outside = (low + step, high - step), (low - step, high + step)
    assert all(made.p_value_at(null) > 0.05 for null in (*inside, made.effect))
    assert all(made.p_value_at(null) <= 0.05 for null in outside)
    assert few_treated(sample, name, draws=499, null=0.05).p_value == made.p_value_at(0.05)


@pytest.mark.parametrize("name", ["callaway_santanna", "imputation"])
def test_proportional_effects_are_tested_on_outcomes_freed_of_the_null(name: str) -> None:
    whole = panel(2, n=20, effect=6.0)
    sample = ASKED.replace(scale="proportional").sample(whole)
    made, levels = few_treated(sample, name, null=0.1, level=0.9), ASKED.sample(whole)
    freed = replace(levels, y=levels.y / (1 + 0.1 * levels.treatment))
    same = few_treated(freed, name, level=0.9)
    assert made.p_value == same.p_value
    assert made.statistic * same.drawn[0] == pytest.approx(same.effect * made.drawn[0], rel=1e-9)
    for null in (-1.0, np.inf):
        with pytest.raises(QuestionError, match=f"null is {null}; it must be a finite number"):
            made.p_value_at(null)


def test_weights_of_treated_units_are_found_with_gaps_covariates_and_weights() -> None:
    whole = panel(4, n=40, dates=(4, 6))
    y = whole.outcomes["y"].copy()
    y[1, 5] = y[30, 2] = np.nan
    question = ASKED.replace(weights="size", covariates=("x",))
    sample = question.sample(replace(whole, outcomes={"y": y}))
    made = few_treated(sample, "callaway_santanna", draws=99, method="reg")
    assert made.n_comparison == 35  # the unit with a gap where outcomes are weighted is no comparison
    assert made.draws == 99
    assert not made.exact
    assert "4 treated and 35 comparison units (99 assignments, drawn)" in made.sentences[1]


def test_the_order_of_units_does_not_matter_nor_their_labels_where_every_assignment_is_taken() -> None:
    whole = panel(2, n=20)
    order = np.random.default_rng(1).permutation(20)
    renamed = simulated.ordered(replace(whole, units=whole.units[np.argsort(order)]), order)
    one, other = (few_treated(ASKED.sample(p), "twfe") for p in (whole, renamed))
    np.testing.assert_allclose(np.sort(one.drawn), np.sort(other.drawn), atol=1e-12)
    moved = simulated.ordered(whole, order)
    for inference, design in (("conley_taber", "twfe"), ("placebo", "imputation")):
        one, other = (
            few_treated(ASKED.sample(p), design, inference=inference, draws=19) for p in (whole, moved)
        )
        assert not one.exact
        np.testing.assert_allclose(one.drawn, other.drawn, atol=1e-12)


def test_designs_that_are_not_linear_have_placebos() -> None:
    whole = panel(1, n=24)
    counted = replace(whole, outcomes={"y": np.round(10 * whole.outcomes["y"])})
    sample = ASKED.replace(scale="proportional").sample(counted)
    made = few_treated(sample, "poisson_twfe", inference="placebo", level=0.9)
    assert (made.draws, made.exact) == (23, True)
    low, high = made.interval
    assert low < made.effect < high
    assert made.p_value_at(high * 1.001) <= 0.1 < made.p_value_at(high * 0.999)
    synthetic = few_treated(ASKED.sample(panel(1, n=24)), "synthetic_did", inference="placebo", level=0.9)
    assert 0 < synthetic.p_value <= 1


def test_a_design_that_is_linear_where_the_treated_unit_has_zeros_is_not_taken_for_linear() -> None:
    whole = panel(1, n=24)
    counts = np.random.default_rng(0).poisson(1.0, size=(24, 8)).astype(float)
    counts[0, :4] = 0.0
    with pytest.raises(QuestionError, match="changes_in_changes's headline is not a linear function"):
        few_treated(ASKED.sample(replace(whole, outcomes={"y": counts})), "changes_in_changes", level=0.9)


def test_designs_that_learn_or_draw_have_placebos() -> None:
    sample, done = ASKED.replace(covariates=("x",)).sample(panel(3, n=30)), []
    options = {"learner": "linear", "repetitions": 1, "folds": 2}
    how = {"inference": "placebo", "level": 0.8, "draws": 4}
    with settings(progress=done.append):
        made = few_treated(sample, "dml_panel", **how, **options)
    placebos = [step for step in done if step == "placebo assignment"]
    assert (made.draws, made.exact, len(placebos)) == (4, False, 4)


def test_nulls_are_in_the_interval_by_p_values_that_count_undefined_placebos(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    refitted = module._refitted
    monkeypatch.setattr(
        module,
        "_refitted",
        lambda *given: (np.nan if k in (2, 7) else value for k, value in enumerate(refitted(*given))),
    )
    made = few_treated(ASKED.sample(panel(1, n=30)), "twfe", inference="placebo", level=0.8)
    assert np.flatnonzero(np.isnan(made.drawn)).tolist() == [2, 7]
    known = np.sort(np.abs(made.drawn[~np.isnan(made.drawn)]))
    half = known[-4]  # of 29 draws: a p-value of 6 / 30 or less, with two that are not known, is 3 of them
    assert made.interval == pytest.approx((made.effect - half, made.effect + half))
    assert made.p_value_at(made.effect + half * (1 + 1e-6)) == 6 / 30
    assert made.p_value_at(made.effect + half * (1 - 1e-6)) == 7 / 30
    few = few_treated(ASKED.sample(panel(1, n=30)), "twfe", inference="placebo", level=0.95)
    assert few.interval == (-math.inf, math.inf)


@pytest.mark.parametrize("inference", ["conley_taber", "placebo"])
def test_an_outcome_of_zeros_has_no_effect_and_a_p_value_of_one(inference: Any) -> None:
    whole = panel(2, n=10)
    sample = ASKED.sample(replace(whole, outcomes={"y": np.zeros((10, 8))}))
    made = few_treated(sample, "callaway_santanna", inference=inference, level=0.9)
    assert (made.effect, made.p_value, made.interval) == (0.0, 1.0, (0.0, 0.0))
    assert made.p_value_at(0.1) == 1 / 29
    assert made.tidy().iloc[0, 1:].tolist() == pytest.approx([0.0, 0.0, np.nan, 1.0, 0.0, 0.0], nan_ok=True)


def test_where_there_are_more_assignments_as_many_are_drawn_as_are_usual(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    sample = ASKED.sample(panel(3, n=60))
    made = few_treated(sample, "twfe")
    assert (made.draws, made.exact, made.level, made.null) == (9_999, False, 0.95, 0.0)
    assert made.drawn.tobytes() == few_treated(sample, "twfe", seed=0).drawn.tobytes()
    assert made.inference == "conley_taber"
    monkeypatch.setattr(module, "_refitted", lambda *given: (0.0 for _ in given[3]))
    placebo = few_treated(sample, "twfe", inference="placebo")
    assert (placebo.draws, placebo.exact) == (999, False)
    every = few_treated(ASKED.sample(panel(1, n=1_000)), "twfe", inference="placebo")
    assert (every.draws, every.exact) == (999, True)


def test_treatment_that_ends_is_given_to_others_as_a_path() -> None:
    path = np.zeros((24, 8))
    path[0, 3:6] = path[1, 4:6] = 1.0
    whole = replace(panel(0, n=24), first_treated={}, treatment={"event": path})
    sample = ASKED.replace(horizon=None).sample(whole)
    fast = few_treated(sample, "twfe", level=0.9)
    slow = few_treated(sample, "twfe", level=0.9, inference="placebo", draws=999)
    assert fast.draws == slow.draws == 22 * 21
    assert np.corrcoef(np.sort(fast.drawn), np.sort(slow.drawn))[0, 1] > 0.999


def refused(sample: Any, design: str = "twfe", **options: Any) -> str:
    with pytest.raises(QuestionError) as error:
        few_treated(sample, design, **options)
    assert "\n" not in str(error.value)
    return str(error.value)


def test_what_cannot_be_inferred_is_refused_in_one_line() -> None:
    sample, tiny = ASKED.sample(panel(1)), ASKED.sample(panel(1, n=12))
    assert "it takes 19 assignments" in refused(tiny)
    assert few_treated(tiny, "twfe", level=0.9).draws == 11
    assert "18 draws" in refused(sample, draws=18)
    assert "10 comparison units" in refused(ASKED.sample(panel(20)))
    assert "cannot stand in for 15 treated ones" in refused(ASKED.sample(panel(15)))
    ends = np.repeat([[0.0, 1.0] * 4], 30, axis=0)
    everyone = replace(
        panel(0), first_treated={}, treatment={"event": ends * (np.arange(30) % 3 > 0)[:, None]}
    )
    assert "10 comparison units" in refused(ASKED.replace(horizon=None).sample(everyone))
    assert "needs sizes" in refused(sample, inference="ferman_pinto")
    assert "size is not positive for 1 of 30" in refused(
        ASKED.sample(with_zero(panel(1))), inference="ferman_pinto", size="size"
    )
    assert "covariate" in refused(sample, inference="ferman_pinto", size="sise")
    assert "ferman_pinto" in refused(sample, size="size")
    assert "randomization" in refused(ASKED.replace(cluster="state").sample(panel(1)))
    assert "third difference" in refused(ASKED.replace(group="x>0").sample(panel(1)), "twfe")
    for name, asked in (
        ("synthetic_did", sample),
        ("poisson_twfe", ASKED.sample(simulated.counts(panel(1)))),
        ("dml_panel", ASKED.replace(covariates=("x",)).sample(panel(1, n=40))),
    ):
        said = refused(asked, name)
        assert f"few_treated: {name}'s headline is not a linear function" in said
        assert 'inference="placebo"' in said
    negative = panel(1)
    below = replace(negative, outcomes={"y": negative.outcomes["y"] - 99})
    assert "has no value" in refused(ASKED.replace(scale="proportional").sample(below), "imputation")
    fallen = ASKED.replace(scale="proportional").sample(panel(1, effect=-99.0))
    assert "is -2.817, and no share of a counterfactual mean is below -1" in refused(fallen, "imputation")
    for level in (0.0, 1.0):
        assert f"level is {level}" in refused(sample, level=level)
    assert "draws is 0" in refused(sample, draws=0)
    assert "above -1" in refused(
        ASKED.replace(scale="proportional").sample(panel(1)), "imputation", null=-1.0
    )


def with_zero(whole: Panel) -> Panel:
    size = whole.covariates["size"].copy()
    size[5] = 0.0
    return replace(whole, covariates=dict(whole.covariates) | {"size": size})


def test_it_says_and_shows_what_it_found() -> None:
    made = few_treated(ASKED.sample(panel(2, n=20)), "callaway_santanna")
    assert isinstance(made, FewTreated)
    assert "2 treated and 18 comparison units (153 assignments, all)" in made.sentences[1]
    row = made.tidy().iloc[0].to_dict()
    spread = math.sqrt(np.mean(np.square(made.drawn)))
    expected = (made.effect, spread, made.effect / spread, made.p_value, *made.interval)
    assert row == {"term": made.term} | dict(zip(ROW[1:], map(pytest.approx, expected), strict=True))
    moved = few_treated(ASKED.sample(panel(2, n=20)), "callaway_santanna", null=0.5)
    assert moved.tidy()["statistic"][0] == pytest.approx((made.effect - 0.5) / spread)
    assert f"for an effect of 0.5, and a 95% interval of {made.interval[0]:.4g} to" in moved.sentences[0]
    assert moved.interval == made.interval
    figure = made.plot()
    assert "estimate less null" in figure.legends[0].get_texts()[0].get_text()
    assert figure.axes[0].get_xlabel() == "error of the estimate\n(units of the outcome)"
    assert figure.axes[0].get_ylabel() == "assignments"
    first, second = figure.axes[0].get_title(loc="left").split("\n")
    assert first == f"Few treated units: {made.term}"
    assert second.startswith("p = ")
    assert made.sentences[1].endswith("as those of comparison units are.")
    assert "drawn=" not in repr(made)
    assert study.few_treated is few_treated


def test_assignments_that_the_design_refuses_count_as_extreme_and_are_left_out_of_the_spread() -> None:
    made = few_treated(ASKED.sample(panel(2, n=20)), "callaway_santanna", level=0.9)
    drawn = made.drawn.copy()
    drawn[np.argsort(np.abs(drawn))[:3]] = np.nan
    some = replace(made, drawn=drawn)
    assert some.p_value_at(made.null) == pytest.approx(made.p_value + 3 / 154)
    assert some.tidy()["std_error"][0] == pytest.approx(math.sqrt(np.nanmean(drawn**2)))
    assert "In 3 of 153 assignments the design has no estimate" in some.sentences[-1]
    assert not any("no estimate" in sentence for sentence in made.sentences)


PANELS = searching.samples(60, 1000)


def short(whole: Panel) -> Sample:
    """Return a sample of the four periods around the date, whose weights in the headline are soon found."""
    covariates = {name: block[:, 2:6] for name, block in whole.covariates.items()}
    outcomes = {"y": whole.outcomes["y"][:, 2:6]}
    return ASKED.sample(replace(whole, periods=whole.periods[2:6], outcomes=outcomes, covariates=covariates))


@pytest.mark.search
@pytest.mark.parametrize("treated", [1, 2, 5])
def test_it_rejects_a_true_null_at_its_level_however_few_are_treated(treated: int) -> None:
    rejects = []
    for seed in range(PANELS):
        sample = short(panel(treated, n=60, seed=seed))
        rejects.append(few_treated(sample, "twfe", draws=399, seed=seed).p_value <= 0.05)
    assert abs(np.mean(rejects) - 0.05) <= 3 * np.sqrt(0.05 * 0.95 / PANELS)


@pytest.mark.search
def test_sizes_set_right_what_small_treated_units_get_wrong() -> None:
    alike, scaled = [], []
    for seed in range(PANELS):
        sample = short(panel(2, n=60, seed=seed, power=1.0))
        alike.append(few_treated(sample, "twfe", draws=399, seed=seed).p_value <= 0.05)
        made = few_treated(sample, "twfe", inference="ferman_pinto", size="size", draws=399, seed=seed)
        scaled.append(made.p_value <= 0.05)
    error = 3 * np.sqrt(0.05 * 0.95 / PANELS)
    assert np.mean(alike) > 0.05 + error
    assert abs(np.mean(scaled) - 0.05) <= error
