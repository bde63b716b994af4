"""callaway_santanna against plain loops, derivatives by weights, and known truths."""

from __future__ import annotations

import warnings
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import pytest
import searching
import simulated
import statsmodels.api as sm

from study import Panel, Question, QuestionError, estimate
from study.core import two_by_two
from study.designs import find_design
from study.panel.question import Sample


@cache
def by_loops(sample: Sample) -> dict[tuple[float, float], dict[str, float]]:
    """Return ATT(g,t) of every method by statsmodels, one two-by-two comparison at a time, on pairs."""
    q, periods, first = sample.question, list(sample.periods), np.nan_to_num(sample.first_treated, nan=np.inf)
    found = {}
    for g in sample.cohorts:
        for t in periods:
            base = g - q.anticipation - 1
            if q.base == "varying" and t <= base:
                base = t - 1
            if t == base or base not in periods:
                continue
            change = sample.y[:, periods.index(t)] - sample.y[:, periods.index(base)]
            late = (
                np.isinf(first) if q.comparison == "never_treated" else first > max(t, base) + q.anticipation
            )
            used = ~np.isnan(change) & ((first == g) | late)
            if not (used & (first == g)).any() or not (used & late & (first != g)).any():
                continue
            x = sm.add_constant(sample.x_baseline[used], has_constant="add")
            d, w, dy = (first == g)[used], sample.weights[used], change[used]
            left = dy - x @ sm.WLS(dy[~d], x[~d], w[~d]).fit().params
            p = sm.GLM(1.0 * d, x, sm.families.Binomial(), freq_weights=w).fit(tol=1e-14).fittedvalues
            odds = (w * p / (1 - p))[~d]
            found[g, t] = {
                "dr": np.average(left[d], weights=w[d]) - np.average(left[~d], weights=odds),
                "ipw": np.average(dy[d], weights=w[d]) - np.average(dy[~d], weights=odds),
                "reg": np.average(left[d], weights=w[d]),
            }
    return found


@pytest.mark.parametrize("method", ["dr", "ipw", "reg"])
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"covariates": ("x1", "x2")},
        {"covariates": ("x1",), "comparison": "never_treated", "anticipation": 1},
        {"base": "varying", "anticipation": 2},
        {"covariates": ("x2",), "base": "varying", "weights": "size"},
    ],
    ids=str,
)
def test_equals_plain_loops_on_a_panel_with_gaps(options: dict[str, Any], method: str) -> None:
    equals_plain_loops(with_gaps(Question("y", "event", **options)), method)


@cache
def with_gaps(question: Question) -> Sample:
    return question.sample(simulated.panel(n=150, gaps=0.15))


@pytest.mark.parametrize("treated", [True, False])
def test_cells_that_differ_in_the_units_of_one_side_alone_have_units_of_their_own(treated: bool) -> None:
    panel = simulated.panel(n=90)
    y, on_side = panel.outcomes["y"].copy(), ~np.isnan(panel.first_treated["event"]) == treated
    y[on_side[:, None] & (np.random.default_rng(0).random(y.shape) < 0.2)] = np.nan
    question = Question("y", "event", covariates=("x1",), comparison="never_treated")
    equals_plain_loops(question.sample(replace(panel, outcomes={"y": y})), "dr")


def equals_plain_loops(sample: Sample, method: str) -> None:
    fit, slow = find_design("callaway_santanna")(sample, method=method), by_loops(sample)
    keys = list(zip(fit.cohort[~fit.reference], fit.period[~fit.reference], strict=True))
    assert set(keys) == set(slow)
    expected = [slow[key][method] for key in keys]
    np.testing.assert_allclose(fit.effect[~fit.reference], expected, rtol=0, atol=1e-9)


@pytest.mark.parametrize("method", ["dr", "ipw", "reg"])
@pytest.mark.parametrize("covariates", [(), ("x1",)])
@pytest.mark.parametrize("more", [{}, {"base": "varying", "anticipation": 1, "weights": "size"}], ids=str)
def test_pairs_are_of_the_same_units_where_whole_cohorts_are_unseen_in_some_periods(
    more: dict[str, Any], covariates: tuple[str, ...], method: str
) -> None:
    for seed in range(3):
        sample = with_cohorts_unseen(Question("y", "event", covariates=covariates, **more), seed)
        equals_plain_loops(sample, method)
        simulated.check_influence(
            sample, lambda s: find_design("callaway_santanna")(s, method=method), units=2
        )


@cache
def with_cohorts_unseen(question: Question, seed: int) -> Sample:
    panel = simulated.panel(n=120, seed=seed)
    y, dates = panel.outcomes["y"].copy(), np.array([4, 6, 7, np.nan])
    for g, t in np.argwhere(np.random.default_rng(seed).random((4, 8)) < 0.2):
        y[np.nan_to_num(panel.first_treated["event"]) == np.nan_to_num(dates[g]), t] = np.nan
    return question.sample(replace(panel, outcomes={"y": y}))


def test_a_cohort_unseen_at_the_base_is_no_comparison_unit() -> None:
    y = np.array([[0, 0, 5], [0, 1, 5], [10, np.nan, 10], [0, 0, 0], [0, 0, 0]], dtype=float)
    panel = Panel(
        name="five",
        units=np.array(["a", "a2", "b", "n1", "n2"]),
        periods=np.arange(1, 4),
        outcomes={"y": y},
        covariates={},
        first_treated={"event": np.array([2, 2, 3, np.nan, np.nan])},
        treatment={},
        attributes={},
    )
    fit = estimate(panel, Question("y", "event", min_cohort_size=1))
    assert fit.effect[fit.terms.index("ATT(2,2)")] == pytest.approx(0.5, abs=1e-12)


@pytest.mark.parametrize("method", ["dr", "ipw", "reg"])
@pytest.mark.parametrize("missing", ["pairs", "cells"])
@pytest.mark.parametrize("covariates", [(), ("x1", "x2")])
@pytest.mark.parametrize("scale", ["level", "proportional"])
def test_influence_is_the_derivative_by_unit_weights(
    method: str, missing: str, covariates: tuple[str, ...], scale: str
) -> None:
    question = Question("y", "event", missing=missing, covariates=covariates, scale=scale, weights="size")
    sample = question.sample(simulated.panel(n=90, gaps=0.1, level=9.0))
    fit = find_design("callaway_santanna")
    simulated.check_influence(sample, lambda s: fit(s, method=method))


def test_drdid_influence_of_repeated_cells_equals_the_delta_method_if_the_propensity_model_is_right() -> None:
    rng = np.random.default_rng(3)
    n = 200_000
    x = np.column_stack([np.ones(n), rng.normal(size=n)])
    treated, post = rng.random(n) < 1 / (1 + np.exp(-x @ [-0.5, 0.7])), rng.random(n) < 0.5
    y = x @ [1.0, 2.0] + treated * post + rng.normal(size=n)
    errors = []
    for as_drdid in (True, False):
        fit = two_by_two.repeated_att(y, post, treated, x, np.ones(n), "dr", as_drdid=as_drdid)
        errors.append(np.sqrt(np.sum(fit.influence**2)) / n)
    assert errors[0] == pytest.approx(errors[1], rel=0.005)


def test_units_first_treated_after_the_window_are_not_yet_treated_and_never_never_treated() -> None:
    panel = simulated.panel(n=120, seed=2)
    never = np.isnan(panel.first_treated["event"])
    late = never & (np.arange(len(never)) % 2 == 0)
    dates = np.where(late, panel.periods[-1] + 3, panel.first_treated["event"])
    moved = replace(panel, first_treated={"event": dates})
    not_yet = Question("y", "event")
    np.testing.assert_allclose(
        estimate(moved, not_yet).effect, estimate(panel, not_yet).effect, rtol=0, atol=1e-12
    )
    only_never = not_yet.replace(comparison="never_treated")
    without = simulated.subset(panel, ~late)
    np.testing.assert_allclose(
        estimate(moved, only_never).effect, estimate(without, only_never).effect, rtol=0, atol=1e-12
    )


def with_single_unit_cohort() -> Panel:
    """Return a panel whose cohort 4 has one unit."""
    panel = simulated.panel(n=100, seed=5)
    fours = np.flatnonzero(panel.first_treated["event"] == 4)
    keep = np.ones(panel.n_units, dtype=bool)
    keep[fours[1:]] = False
    return simulated.subset(panel, keep)


def test_a_cell_without_treated_or_comparison_units_is_left_out_and_named() -> None:
    panel = simulated.panel(n=100, seed=5)
    y, first = panel.outcomes["y"].copy(), panel.first_treated["event"]
    y[first == 4, 6] = np.nan
    y[np.isnan(first) | (first > 6), 7] = np.nan
    fit = estimate(replace(panel, outcomes={"y": y}), Question("y", "event"))
    cells = set(zip(fit.cohort, fit.period, strict=True))
    assert (4, 7) not in cells
    assert not {(g, t) for g, t in cells if t == 8}
    assert "cohort 4 in 7 left out: no treated unit is observed" in fit.notes
    assert any(note.endswith("left out: no comparison unit is observed") for note in fit.notes)
    assert np.isfinite(fit.effect).all()
    assert np.isfinite(fit.headline.std_error).all()


@pytest.mark.parametrize("covariates", [(), ("x1",)])
def test_cells_whose_base_no_comparison_unit_is_seen_in_say_so(covariates: tuple[str, ...]) -> None:
    panel = simulated.with_late_units(n=60)
    y = panel.outcomes["y"].copy()
    y[panel.first_treated["event"] != 4, 2] = y[7, 6] = np.nan
    question = Question("y", "event", missing="cells", base="varying", covariates=covariates)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        fit = estimate(replace(panel, outcomes={"y": y}), question, "callaway_santanna")
    assert "cohort 4 in 3, 4, 5, 6, 7, 8 left out: no comparison unit is observed" in fit.notes


def test_perfect_separation_is_left_out_by_cohort_and_period_never_silently() -> None:
    panel = simulated.panel(n=120, seed=4)
    noise = np.random.default_rng(0).uniform(size=panel.n_units)
    apart = np.where(panel.first_treated["event"] == 6, 2.0, 0.0) + noise
    panel = replace(panel, covariates={"apart": apart[:, None] + 0 * panel.outcomes["y"]})
    question = Question("y", "event", covariates=("apart",), comparison="never_treated")
    fit = estimate(panel, question)
    assert set(fit.cohort[~fit.reference]) == {4, 7}
    (note,) = fit.notes
    assert note.startswith("cohort 6 in 1, 2, 3, 4, 6, 7, 8 left out: ")
    assert "propensity score" in note
    assert set(estimate(panel, question, method="reg").cohort) == {4, 6, 7}


def test_a_covariate_that_does_not_vary_among_a_cell_s_units_is_left_out_by_cohort_and_period() -> None:
    panel = simulated.panel(n=120, seed=4)
    only = np.where(panel.first_treated["event"] == 6, 1.0, 0.0)[:, None] + 0 * panel.outcomes["y"]
    question = Question("y", "event", covariates=("only",), comparison="never_treated")
    with pytest.raises(
        QuestionError, match=r"no effect can be estimated: cohort 4 in 1, 2, 4, 5, 6, 7, 8 left"
    ):
        estimate(replace(panel, covariates={"only": only}), question)


def distinguished(n: int = 120) -> Panel:
    """Return a panel whose cohort 4 has all units on one side of a binary covariate, as others have not."""
    panel = simulated.panel(n=n, seed=4)
    side = np.random.default_rng(1).random(n) < 0.6
    side[panel.first_treated["event"] == 4] = True
    across = np.ones(len(panel.periods))
    return replace(panel, covariates=dict(panel.covariates) | {"side": np.outer(side, across)})


def test_one_comparison_unit_told_from_all_treated_is_named_as_one() -> None:
    panel = simulated.panel(n=60, cohorts=(4,))
    never = np.flatnonzero(np.isnan(panel.first_treated["event"]))
    side = np.ones(panel.outcomes["y"].shape)
    side[never[0]] = 0.0
    fit = estimate(replace(panel, covariates={"side": side}), Question("y", "event", covariates=("side",)))
    assert fit.remarks == (
        "cohort 4 in 1, 2, 4, 5, 6, 7, 8: 1 comparison unit has propensity odds of zero, since the covariates tell "
        "them from all treated units",
    )


@pytest.mark.parametrize("method", ["dr", "ipw"])
@pytest.mark.parametrize("more", [{}, {"weights": "size", "comparison": "never_treated"}], ids=str)
def test_comparison_units_told_from_all_treated_have_odds_zero_and_the_logit_is_that_of_the_others(
    method: str, more: dict[str, Any]
) -> None:
    panel = distinguished()
    sample = Question("y", "event", covariates=("x1", "side"), **more).sample(panel)
    fit = find_design("callaway_santanna")(sample, method=method)
    first, w, (x1, side) = sample.first_treated, sample.weights, sample.x_baseline.T
    never = more.get("comparison") == "never_treated"
    for t in range(8):
        late = np.isnan(first) if never else ~(first <= max(t + 1, 3)) & (first != 4)
        change = sample.y[:, t] - sample.y[:, 2]
        like = ((first == 4) | late) & (side == 1)
        d = (first == 4)[like]
        x = sm.add_constant(x1[like])
        p = sm.GLM(1.0 * d, x, sm.families.Binomial(), freq_weights=w[like]).fit(tol=1e-14).fittedvalues
        if method == "dr":
            both = sm.add_constant(np.column_stack([x1, side]), has_constant="add")
            change = change - both @ sm.WLS(change[late], both[late], w[late]).fit().params
        odds = (w[like] * p / (1 - p))[~d]
        expected = np.average(change[like][d], weights=w[like][d]) - np.average(
            change[like][~d], weights=odds
        )
        if t != 2:
            at = (fit.cohort == 4) & (fit.period == t + 1)
            assert fit.effect[at] == pytest.approx(expected, abs=1e-9)
            unlike = int((late & (side == 0)).sum())
            said = f"{unlike} comparison units have propensity odds of zero"
            assert any(n.startswith("cohort 4 in ") and said in n and f"{t + 1}" in n for n in fit.notes)
    simulated.check_influence(sample, lambda s: find_design("callaway_santanna")(s, method=method))


@pytest.mark.parametrize("missing", ["pairs", "cells"])
def test_comparison_units_of_two_cells_are_counted_once(missing: str) -> None:
    question = Question("y", "event", covariates=("side",), comparison="never_treated", missing=missing)
    sample = question.sample(distinguished())
    unlike = int((np.isnan(sample.first_treated) & (sample.x_baseline[:, 0] == 0)).sum())
    assert f"{unlike} comparison units have propensity odds" in " ".join(
        estimate(sample.panel, question).notes
    )


@pytest.mark.parametrize("missing", ["pairs", "cells"])
def test_errors_where_some_are_distinguished_are_near_those_of_leaving_each_unit_out(missing: str) -> None:
    panel = distinguished(150)
    first = panel.first_treated["event"]
    panel = simulated.subset(panel, np.isnan(first) | (first == 4))
    question = Question("y", "event", covariates=("x1", "side"), comparison="never_treated", missing=missing)
    fit = estimate(panel, question)
    cells = ~fit.reference
    assert cells.sum() == 7
    units = np.arange(panel.n_units)
    without = [estimate(simulated.subset(panel, units != i), question).effect[cells] for i in units]
    spread = np.std(without, axis=0) * np.sqrt(len(units) - 1)
    np.testing.assert_allclose(fit.std_error[cells], spread, rtol=0.15)


@pytest.mark.parametrize("method", ["reg", "dr"])
def test_cells_of_the_same_units_in_both_periods_have_errors_beside_cells_with_gaps(method: str) -> None:
    whole = simulated.panel(60, seed=3)
    y = whole.outcomes["y"].copy()
    y[3, 2] = np.nan
    panel = replace(whole, outcomes={"y": y})
    asked = {"covariates": ("x1",), "comparison": "never_treated"}
    cells, pairs = (
        estimate(panel, Question("y", "event", missing=missing, **asked), method=method)
        for missing in ("cells", "pairs")
    )
    assert np.isfinite(cells.std_error[~cells.reference]).all()
    both = ~cells.reference & (cells.period != 3) & (cells.cohort != 4)
    assert both.any()
    np.testing.assert_allclose(cells.std_error[both], pairs.std_error[both], rtol=1e-9)


def test_nobody_is_like_the_treated_where_covariates_tell_them_from_all_others() -> None:
    x = np.column_stack([np.ones(6), [0, 0, 1, 1, 2, 2], [0, 0, 0, 0, 1, 1]])
    treated = np.array([True, True, False, False, False, False])
    assert list(two_by_two.unlike_treated(treated, x)) == [False, False, True, True, True, True]
    with pytest.raises(two_by_two.Unidentified, match="does not exist"):
        two_by_two.comparison_odds(treated, x, np.ones(6))


def test_a_near_certain_propensity_score_is_left_out_by_cohort_and_period() -> None:
    panel = simulated.panel(n=400, seed=4)
    six = panel.first_treated["event"] == 6
    x = np.random.default_rng(0).normal(size=len(six)) + np.where(six, 7.0, 0.0)
    x[np.flatnonzero(six)[0]], x[np.flatnonzero(~six)[:3]] = 2.0, 4.5
    panel = replace(panel, covariates={"x": x[:, None] + 0 * panel.outcomes["y"]})
    fit = estimate(panel, Question("y", "event", covariates=("x",)))
    assert 6 not in set(fit.cohort[~fit.reference])
    assert any("cohort 6" in note and "a propensity score reaches 0.999" in note for note in fit.notes)


@pytest.mark.parametrize("bad", ["same", "constant"])
def test_a_collinear_covariate_is_refused_by_name(bad: str) -> None:
    panel = simulated.panel(n=80)
    x1 = panel.covariates["x1"]
    extra = {"same": 3 * x1 - 1e3, "constant": 0 * x1 + 5.0}
    panel = replace(panel, covariates=dict(panel.covariates) | extra)
    with pytest.raises(QuestionError, match=f"callaway_santanna: covariate {bad} is explained by"):
        estimate(panel, Question("y", "event", covariates=("x1", bad)))


def test_a_covariate_of_huge_scale_changes_nothing() -> None:
    panel = simulated.panel(n=120)
    scaled = {"x1": panel.covariates["x1"] * 1e9 + 1e10}
    question = Question("y", "event", covariates=("x1",))
    np.testing.assert_allclose(
        estimate(replace(panel, covariates=scaled), question).effect,
        estimate(panel, question).effect,
        rtol=0,
        atol=1e-8,
    )


def test_missing_pairs_on_a_balanced_panel_equals_cells_without_covariates() -> None:
    panel = simulated.panel(n=100)
    pairs, cells = (estimate(panel, Question("y", "event", missing=m)) for m in ("pairs", "cells"))
    np.testing.assert_allclose(cells.effect, pairs.effect, rtol=0, atol=1e-12)
    np.testing.assert_allclose(cells.influence, pairs.influence, rtol=0, atol=1e-11)


def test_n_obs_counts_the_cells_that_estimates_rest_on() -> None:
    panel = simulated.panel(n=60)
    question = Question("y", "event", comparison="never_treated")
    assert estimate(panel, question).n_obs == np.isfinite(panel.outcomes["y"]).sum()
    late = replace(
        panel, first_treated={"event": np.where(np.isnan(panel.first_treated["event"]), np.nan, 5.0)}
    )
    gaps = panel.outcomes["y"].copy()
    gaps[0, 3] = np.nan  # the base period of all: unit 0 is in no pair
    expected = np.isfinite(gaps[1:]).sum()
    assert estimate(replace(late, outcomes={"y": gaps}), question).n_obs == expected


@pytest.mark.search
def test_intervals_of_the_event_average_cover_at_their_level() -> None:
    draws = np.random.default_rng(20240611)
    n_draws, covered = searching.samples(300, 500), 0
    for _ in range(n_draws):
        panel, truth = simulated.draw(draws, n=100)
        fit = estimate(
            panel, Question("y", "event", average="event_average", horizon=2, min_cohort_size=1)
        ).headline
        half = fit.critical_value() * fit.std_error[0]
        covered += abs(fit.effect[0] - truth) <= half
    assert abs(covered / n_draws - 0.95) <= 3 * np.sqrt(0.95 * 0.05 / n_draws)


@pytest.mark.parametrize("missing", ["pairs", "cells"])
def test_a_base_in_which_no_comparison_unit_is_seen_leaves_the_errors_of_other_cohorts(missing: str) -> None:
    panel = simulated.panel(n=80, cohorts=(3, 5), gaps=0.05)
    y, first = panel.outcomes["y"].copy(), panel.first_treated["event"]
    y[np.isnan(first), 3] = np.nan  # the base of cohort 5
    fit = estimate(replace(panel, outcomes={"y": y}), Question("y", "event", missing=missing))
    assert (fit.effect[fit.reference] == 0).all()
    assert np.isfinite(fit.influence).all()
    assert np.isfinite(fit.aggregate("event").influence).all()


@pytest.mark.parametrize("method", ["dr", "reg", "ipw"])
@pytest.mark.filterwarnings("error")
def test_a_period_that_nobody_observes_is_left_out_without_a_warning(method: str) -> None:
    whole = simulated.panel(n=300)
    gap = whole.outcomes["y"].copy()
    gap[:, 3] = np.nan
    question = Question("y", "event", covariates=("size",), min_cohort_size=1)
    fit = estimate(replace(whole, outcomes={"y": gap}), question, design="callaway_santanna", method=method)
    assert whole.periods[3] not in fit.period[np.isfinite(fit.effect)]
    assert np.isfinite(fit.headline.effect).all()
