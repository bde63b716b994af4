"""Bounds under hidden treatment are sharp, cover the truth, and are the estimate where nothing is hidden."""

from __future__ import annotations

from dataclasses import replace
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd
import pytest
import searching
import simulated
from matplotlib.figure import Figure
from scipy import stats
from simulated import PERIODS

from study import Panel, Question, QuestionError, estimate
from study.diagnostics.finding import Finding
from study.diagnostics.misclassification import (
    COLUMNS,
    Breakdown,
    Trimming,
    _breakdown_sentence,
    first_true,
    imbens_manski,
    misclassification,
    threshold_influence,
    unattenuated,
    worst_cases,
)
from study.diagnostics.refits import headline
from study.panel.question import Sample

QUESTION = Question("y", "event", comparison="never_treated", average="event_average", horizon=2)
DESIGN = "callaway_santanna"


def of_kind(found: Finding, kind: str) -> pd.DataFrame:
    return found.frame[found.frame["kind"] == kind]


def trimmings(sample: Sample) -> list[Trimming]:
    """Return the trimmings for the lower and for the upper end."""
    fit = headline(sample, DESIGN, {})
    return [Trimming.of(sample, fit, lower) for lower in (True, False)]


@pytest.mark.parametrize("scale", ["level", "proportional"])
@pytest.mark.parametrize("design", ["callaway_santanna", "imputation", "twfe"])
def test_nothing_hidden_is_the_estimate_itself(design: str, scale: str) -> None:
    made = simulated.panel(n=80, seed=1, level=10.0)
    question = QUESTION.replace(scale=scale, comparison="not_yet_treated")
    table = misclassification(question.sample(made), design, shares=[0.1], periods_late=0).tidy()
    expected = estimate(made, question, design).headline.tidy().iloc[0]
    for _, row in table[table["share"] == 0].iterrows():
        assert row["low"] == row["high"] == pytest.approx(expected["estimate"], rel=1e-12)
        assert row["conf_low"] == pytest.approx(expected["conf_low"], rel=1e-7)
        assert row["conf_high"] == pytest.approx(expected["conf_high"], rel=1e-7)


@pytest.mark.parametrize("design", ["callaway_santanna", "imputation", "sun_abraham"])
def test_bounds_and_intervals_widen_with_the_share(design: str) -> None:
    sample = QUESTION.sample(simulated.panel(n=100, seed=2, gaps=0.03))
    found = misclassification(sample, design, shares=np.linspace(0, 0.8, 9).tolist(), periods_late=0)
    ends = ["low", "high", "conf_low", "conf_high"]
    low, high, conf_low, conf_high = of_kind(found, "worst case")[ends].to_numpy().T
    assert len(low) == 9
    assert np.all(np.diff(low) <= 0)
    assert np.all(np.diff(high) >= 0)
    assert np.all((conf_low < low) & (high < conf_high))
    assert low[-1] < low[0] - 0.1
    assert high[-1] > high[0] + 0.1


def test_bounds_are_the_extremes_over_all_sets_of_hidden_units() -> None:
    made = simulated.panel(n=26, seed=3)
    sample = QUESTION.replace(min_cohort_size=1).sample(made)
    assert sample.first_treated is not None
    never = np.flatnonzero(np.isnan(sample.first_treated))
    found = misclassification(sample, DESIGN, shares=[2 / len(never)], periods_late=0)
    bound = of_kind(found, "worst case").iloc[-1]
    effects = []
    for out in combinations(never, 2):
        keep = ~np.isin(np.arange(26), out)
        effects.append(headline(sample.only(keep, "hidden"), DESIGN, {}).effect[0])
    assert bound["units_trimmed"] == 2
    assert bound["low"] == pytest.approx(min(effects), rel=1e-10)
    assert bound["high"] == pytest.approx(max(effects), rel=1e-10)


def with_hidden(share: float, alike: bool = True) -> tuple[Panel, float]:
    """Return a panel without noise in means, a share of whose never-treated have the treated units' effect."""
    first = np.resize(np.array([5.0, np.nan]), 200)
    never = np.flatnonzero(np.isnan(first))
    spread = np.where(np.arange(200) // 2 % 2 == 0, 0.5, -0.5)[:, None]
    since = (PERIODS >= 5).astype(float)
    y = 20 + np.arange(200)[:, None] // 2 % 3 * 0.1 + PERIODS + since * spread
    hidden = never[: round(share * len(never))]
    y[np.concatenate([np.flatnonzero(first == 5), hidden])] += 2.0 * since
    made = replace(simulated.panel(n=200), outcomes={"y": y}, first_treated={"event": first})
    return made, 2.0


@pytest.mark.parametrize("share", [0.1, 0.4])
def test_the_effect_is_recovered_where_hidden_units_have_it_too(share: float) -> None:
    made, truth = with_hidden(share)
    found = misclassification(QUESTION.sample(made), DESIGN, shares=[share], periods_late=0)
    assert found["full_sample"].estimate == pytest.approx((1 - share) * truth, rel=1e-9)
    corrected = of_kind(found, "same effect").iloc[-1]
    assert corrected["low"] == pytest.approx(truth, rel=1e-9)
    assert corrected["conf_low"] < truth < corrected["conf_high"]


def test_the_proportional_effect_is_recovered_where_hidden_units_have_it_too() -> None:
    hidden, _ = with_hidden(0.3)
    clean, _ = with_hidden(0.0)
    question = QUESTION.replace(scale="proportional")
    found = misclassification(question.sample(hidden), DESIGN, shares=[0.3], periods_late=0)
    truth = estimate(clean, question, DESIGN).headline.effect[0]
    assert found["full_sample"].estimate < truth - 0.01
    assert of_kind(found, "same effect")["low"].iloc[-1] == pytest.approx(truth, rel=1e-9)


def test_no_proportional_effect_is_seen_as_one_that_the_comparison_group_rules_out() -> None:
    found = unattenuated(np.array([0.5, 2.0]), 0.4, proportional=True)
    assert found[0] == pytest.approx(0.5 / (1 - 0.4 * 1.5))
    assert np.isnan(found[1])
    made, _ = with_hidden(0.0)
    small = replace(made, outcomes={"y": made.outcomes["y"] - 21})
    answer = misclassification(
        QUESTION.replace(scale="proportional").sample(small), DESIGN, shares=[0.9], periods_late=0
    )
    assert list(of_kind(answer, "same effect")["share"]) == [0.0]
    assert any("the same effect with 90% hidden" in sentence for sentence in answer.sentences)


def contaminated(rng: np.random.Generator, share: float) -> Panel:
    """Return a new panel with effect 1, where each never-treated unit is treated with a probability, effect 4."""
    n = 300
    first = np.where(rng.random(n) < 0.5, 5.0, np.nan)
    since = (PERIODS >= 5).astype(float)
    size = np.where(np.isnan(first), 4.0 * (rng.random(n) < share), 1.0)
    y = rng.normal(size=(n, 1)) + PERIODS + size[:, None] * since + rng.normal(size=(n, len(PERIODS)))
    return replace(simulated.panel(n=n), outcomes={"y": y}, first_treated={"event": first}, covariates={})


@pytest.mark.search
def test_the_worst_case_covers_the_truth_where_the_recorded_estimate_does_not() -> None:
    rng, covered, naive, draws = np.random.default_rng(4), 0, 0, searching.samples(120, 200)
    for _ in range(draws):
        sample = QUESTION.sample(contaminated(rng, 0.1))
        rows, _ = worst_cases(*trimmings(sample), [0.0, 0.1], 0.95)
        recorded, worst = pd.DataFrame(rows, columns=COLUMNS).itertuples()
        naive += recorded.conf_low <= 1.0 <= recorded.conf_high
        covered += worst.conf_low <= 1.0 <= worst.conf_high
    assert covered / draws >= 0.93
    assert naive / draws < 0.6


def test_standard_errors_of_the_ends_carry_the_trimming_quantile() -> None:
    rng, found, naive, units = np.random.default_rng(5), [], [], simulated.panel(n=300)
    first = np.where(np.arange(300) < 60, np.nan, 5.0)
    for draw in range(300):
        y = rng.normal(size=(300, len(PERIODS)))
        made = replace(units, outcomes={"y": y}, first_treated={"event": first}, covariates={})
        down, up = trimmings(QUESTION.sample(made))
        found.append((*down.end(24)[:2], *up.end(24)[:2]))
        if draw < 60:  # errors vary little
            kept = up.sample.only(~np.isin(np.arange(300), up.suspects[:24]), "trimmed")
            naive.append(headline(kept, DESIGN, {}).std_error[0])
    low, low_error, high, high_error = np.array(found).T
    assert low_error.mean() == pytest.approx(low.std(ddof=1), rel=0.1)
    assert high_error.mean() == pytest.approx(high.std(ddof=1), rel=0.1)
    assert np.mean(naive) < 0.85 * high.std(ddof=1)


def test_the_influence_on_a_trimmed_mean_is_that_of_the_winsorized_values() -> None:
    values = np.sort(np.random.default_rng(6).normal(size=40))[::-1]
    share, edge = 12 / 40, values[12]
    left = np.where(np.arange(40) < 12, 0.0, (values - values[12:].mean()) / (1 - share))
    added = threshold_influence(left, np.ones(40), np.arange(40), 12, share)
    winsorized = np.minimum(values, edge)
    np.testing.assert_allclose(left + added, (winsorized - winsorized.mean()) / (1 - share), atol=1e-12)


def test_the_breakdown_is_the_least_number_of_units_that_loses_the_sign() -> None:
    made = simulated.panel(n=70, seed=6)
    made = replace(
        made, outcomes={"y": made.outcomes["y"] - simulated.effects(made.first_treated["event"], 0.6)}
    )
    sample = QUESTION.sample(made)
    found = misclassification(sample, DESIGN, periods_late=0)
    one, _ = trimmings(sample)
    lows = [one.end(m)[0] for m in range(1, len(one.suspects) - 1)]
    sign, significance = found["breakdown_sign"], found["breakdown_significance"]
    assert sign.units == 1 + int(np.flatnonzero(np.array(lows) <= 0)[0])
    assert sign.share == pytest.approx(sign.units / len(one.suspects))
    assert sign.units > 1
    assert significance is not None
    assert significance.units < sign.units
    assert any(f"({sign.units} of {len(one.suspects)} units) suffice" in s for s in found.sentences)


def test_a_negative_estimate_is_the_mirror_image() -> None:
    made = simulated.panel(n=70, seed=7)
    mirrored = replace(made, outcomes={"y": -made.outcomes["y"]})
    plain, other = (misclassification(QUESTION.sample(p), DESIGN, periods_late=0) for p in (made, mirrored))
    plain_sign, other_sign = plain["breakdown_sign"], other["breakdown_sign"]
    assert (plain_sign.units, plain_sign.share) == (other_sign.units, other_sign.share)
    low, high = of_kind(plain, "worst case")["low"], of_kind(other, "worst case")["high"]
    np.testing.assert_allclose(low, -high, rtol=1e-10)


@pytest.mark.parametrize(("width", "level"), [(0.0, 0.95), (0.7, 0.9), (50.0, 0.95)])
def test_the_critical_value_solves_its_equation(width: float, level: float) -> None:
    c = imbens_manski(width, 1.0, level, np.inf)
    assert stats.norm.cdf(c + width) - stats.norm.cdf(-c) == pytest.approx(level, abs=1e-10)
    t = imbens_manski(width, 1.0, level, 7)
    assert stats.t.cdf(t + width, 7) - stats.t.cdf(-t, 7) == pytest.approx(level, abs=1e-10)


@pytest.mark.parametrize("least", [1, 2, 7, 49, 50, 51])
def test_the_search_finds_the_first_number_that_holds(least: int) -> None:
    found = first_true(lambda m: m >= least, [1, 5, 20, 50])
    assert found == (least if least <= 50 else None)


def test_a_share_is_one_of_weight() -> None:
    sample = QUESTION.replace(weights="size").sample(simulated.panel(n=60, seed=8))
    _, one = trimmings(sample)
    weight = sample.weights[one.suspects]
    for share in (0.05, 0.3, 0.6):
        m = one.trimmed(share)
        assert weight[:m].sum() >= share * weight.sum() > weight[: m - 1].sum()
        assert one.shares[m - 1] == pytest.approx(weight[:m].sum() / weight.sum())


@pytest.mark.parametrize("factor", [1.0, 0.7, 1e-6])
def test_of_units_that_move_the_headline_alike_those_of_least_weight_are_trimmed_first(factor: float) -> None:
    made = simulated.panel(n=60, seed=2, cohorts=(4,))
    size = np.random.default_rng(0).choice([0.5, 1.0, 3.0], size=(60, 1))
    y = np.round(made.outcomes["y"])
    change = y[:, 3] - y[:, 2]
    question = QUESTION.replace(average="event_average", horizon=0, weights="size")
    fields: Any = {"outcomes": {"y": factor * y}, "covariates": {"size": size * np.ones(len(PERIODS))}}
    for sign, trimming in zip((1, -1), trimmings(question.sample(replace(made, **fields))), strict=True):
        trimmed = trimming.suspects
        in_order = np.lexsort((size[trimmed, 0], sign * change[trimmed]))
        np.testing.assert_array_equal(in_order, np.arange(len(trimmed)))


def test_earlier_dates_are_the_question_with_a_shorter_lag() -> None:
    made = simulated.with_late_units(90, seed=9)
    question = QUESTION.replace(comparison="not_yet_treated", lag=2)
    found = misclassification(question.sample(made), DESIGN, shares=[], periods_late=2)
    for row, lag in zip(found["rows"], (1, 0), strict=True):
        expected = estimate(made, question.replace(lag=lag), DESIGN).headline
        assert row.estimate == pytest.approx(expected.effect[0], rel=1e-10)
        assert row.std_error == pytest.approx(expected.std_error[0], rel=1e-10)


def test_dates_that_leave_nobody_treated_are_listed() -> None:
    sample = QUESTION.sample(simulated.panel(n=60))
    found = misclassification(sample, DESIGN, shares=[0.1], periods_late=6)
    assert [row.label for row in found["rows"]][-1] == "5 periods earlier"
    assert [label for label, _ in found["refused"]] == ["6 periods earlier"]


def test_rows_may_stand_in_any_order() -> None:
    made = simulated.panel(n=60, seed=10)
    shuffled = simulated.ordered(made, np.random.default_rng(0).permutation(60))
    plain, other = (misclassification(QUESTION.sample(p), DESIGN).tidy() for p in (made, shuffled))
    np.testing.assert_allclose(plain.iloc[:, 1:], other.iloc[:, 1:], rtol=1e-9)


@pytest.mark.parametrize(
    ("weights", "whole"), [(None, "never-treated"), ("size", "weight of the never-treated")]
)
def test_sentences_say_what_a_share_is_of_and_that_units_are_rounded_up(weights: Any, whole: str) -> None:
    sample = QUESTION.replace(weights=weights).sample(simulated.panel(n=60))
    found = misclassification(sample, DESIGN, shares=[0.01], periods_late=0)
    said = f"1% of the {whole} (1 of {found['n_never_treated']} units, rounded up) are in truth"
    assert any(said in sentence for sentence in found.sentences)


def test_nearly_all_is_no_power_of_ten() -> None:
    details = {"weighted": False, "n_never_treated": 300}
    said = _breakdown_sentence("the sign", Breakdown(299 / 300, 299), details)
    assert said == "In the worst case 99.7% of the never-treated (299 of 300 units) suffice to lose the sign."


def test_the_figure_draws_bounds_above_dates_and_nothing_is_undefined() -> None:
    found = misclassification(QUESTION.sample(simulated.panel(n=80, seed=11)), DESIGN)
    above, below = found.plot().axes
    assert len(above.lines) == 4
    assert len(below.get_yticks()) == 3
    assert "never-treated\n(same effect: of all comparison units)" in above.get_xlabel()
    axes = Figure().subplots()
    assert found.plot(axes) is axes.figure
    assert len(axes.lines) == 4
    assert not found.tidy().isna().any(axis=None)
    assert all(sentence.endswith(".") and "nan" not in sentence for sentence in found.sentences)


def test_bad_input_is_one_clear_error() -> None:
    sample = QUESTION.sample(simulated.panel(n=60))
    switching = replace(sample, first_treated=None, path=sample.treatment)
    everyone = replace(sample, first_treated=np.nan_to_num(sample.first_treated, nan=8.0))
    for bad, said in (
        (lambda: misclassification(switching, "twfe"), "is not absorbing"),
        (lambda: misclassification(everyone, DESIGN), "no unit can hide"),
        (lambda: misclassification(sample, DESIGN, shares=[1.0]), "must lie in"),
        (lambda: misclassification(sample, DESIGN, shares=[-0.1]), "must lie in"),
        (lambda: misclassification(sample, DESIGN, shares=[np.nan]), "must lie in"),
        (lambda: misclassification(sample, DESIGN, shares=["a"]), "sequence of finite numbers"),
        (lambda: misclassification(sample, DESIGN, shares=0.1), "sequence of finite numbers"),
        (lambda: misclassification(sample, DESIGN, periods_late=-1), "periods_late"),
        (lambda: misclassification(sample, DESIGN, level=0), "between 0 and 1"),
        (lambda: misclassification(sample, "calaway_santanna"), "Did you mean"),
    ):
        with pytest.raises(QuestionError, match=said):
            bad()


def test_slopes_in_the_dose_rest_on_no_comparison_unit() -> None:
    made = simulated.panel(n=60)
    dose = np.random.default_rng(1).uniform(1, 2, size=(60, 1)) * np.ones(len(PERIODS))
    sample = QUESTION.replace(dose="amount").sample(replace(made, doses={"amount": dose}))
    with pytest.raises(QuestionError, match='use curve="levels"'):
        misclassification(sample, "dose_response", curve="slopes", degree=1)
