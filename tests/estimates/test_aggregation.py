"""Averages of group-time effects: their weights, their influence, and which of them can be formed."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import simulated
from scipy import stats

from study import Estimate, Panel, Question, QuestionError, estimate
from study.panel.question import AVERAGES


@pytest.fixture(scope="module")
def fit() -> Estimate:
    return estimate(simulated.panel(n=150, seed=3, gaps=0.1), Question("y", "event", weights="size"))


def shares(fit: Estimate) -> dict[float, float]:
    """Return each cohort's share of the weight of all units."""
    sample = fit.sample
    return {g: float(sample.weights @ (sample.first_treated == g)) / sample.n_units for g in sample.cohorts}


def average(fit: Estimate, keep: np.ndarray) -> float:
    """Average cells by their cohorts' shares."""
    weights = [shares(fit)[g] for g in fit.cohort[keep]]
    return float(np.average(fit.effect[keep], weights=weights))


def test_event_times_average_cohorts_by_their_shares(fit: Estimate) -> None:
    by_time = fit.aggregate("event")
    for e, effect in zip(by_time.event_time, by_time.effect, strict=True):
        assert effect == pytest.approx(average(fit, fit.event_time == e), abs=1e-12)
    assert list(by_time.event_time[by_time.reference]) == [-1]
    assert np.isnan(by_time.std_error[by_time.reference]).all()


def test_the_named_averages_are_those_of_callaway_and_santanna(fit: Estimate) -> None:
    post = (fit.period >= fit.cohort) & ~fit.reference
    by_time = {e: average(fit, post & (fit.event_time == e)) for e in np.unique(fit.event_time[post])}
    by_cohort = {g: fit.effect[post & (fit.cohort == g)].mean() for g in np.unique(fit.cohort[post])}
    by_period = {t: average(fit, post & (fit.period == t)) for t in np.unique(fit.period[post])}
    expected = {
        "event_average": np.mean(list(by_time.values())),
        "treated_average": average(fit, post),
        "cohort_average": np.average(list(by_cohort.values()), weights=[shares(fit)[g] for g in by_cohort]),
        "calendar_average": np.mean(list(by_period.values())),
    }
    assert set(expected) == set(AVERAGES)
    for name, value in expected.items():
        assert fit.aggregate(name).effect[0] == pytest.approx(value, abs=1e-12)


def test_the_headline_is_the_question_s_average_up_to_its_horizon(fit: Estimate) -> None:
    by_time = fit.aggregate("event")
    first_three = (by_time.event_time >= 0) & (by_time.event_time <= 2)
    asked = estimate(
        simulated.panel(n=150, seed=3, gaps=0.1),
        fit.sample.question.replace(average="event_average", horizon=2),
    )
    assert asked.headline.effect[0] == pytest.approx(by_time.effect[first_three].mean(), abs=1e-12)
    assert fit.aggregate("event_average", horizon=2).effect[0] == pytest.approx(
        asked.headline.effect[0], abs=1e-12
    )
    other = estimate(simulated.panel(n=150, seed=3), Question("y", "event", average="cohort_average"))
    assert other.headline.terms == ("cohort_average",)


def test_balancing_keeps_cohorts_that_are_seen_long_enough(fit: Estimate) -> None:
    balanced = fit.aggregate("event", balance=2)
    assert balanced.event_time.max() == 2
    long_enough = fit.sample.periods[-1] - fit.cohort >= 2
    for e, effect in zip(balanced.event_time, balanced.effect, strict=True):
        assert effect == pytest.approx(average(fit, long_enough & (fit.event_time == e)), abs=1e-12)


@pytest.fixture(scope="module")
def left_out() -> tuple[Panel, list[Estimate]]:
    """Return a panel, and proportional estimates without each of its units, which have levels too."""
    panel = simulated.panel(n=240, seed=8, level=9.0)
    question, units = Question("y", "event", scale="proportional"), np.arange(panel.n_units)
    return panel, [estimate(simulated.subset(panel, units != i), question) for i in units]


@pytest.mark.parametrize("to", ["event", "cohort", "calendar", *AVERAGES])
def test_errors_equal_the_jackknife_that_estimates_shares_anew_on_both_scales(
    to: str, left_out: tuple[Panel, list[Estimate]]
) -> None:
    (panel, refits), n = left_out, len(left_out[1])
    without = [each.aggregate(to) for each in refits]
    for scale, effect in (("level", "effect_level"), ("proportional", "effect")):
        fit = estimate(panel, Question("y", "event", scale=scale)).aggregate(to)
        pseudo = n * fit.effect - (n - 1) * np.array([getattr(each, effect) for each in without])
        jackknife = pseudo.std(axis=0, ddof=1) / np.sqrt(n)
        used = ~fit.reference
        np.testing.assert_allclose(fit.std_error[used], jackknife[used], rtol=0.03)


def test_shares_that_are_estimated_add_to_the_error_of_averages_over_unlike_cohorts() -> None:
    panel = simulated.panel(n=150, seed=3)
    first, y = panel.first_treated["event"], panel.outcomes["y"]
    apart = replace(panel, outcomes={"y": y + 20.0 * ((first == 4)[:, None] & (panel.periods >= 4))})
    question = Question("y", "event")
    same, unlike = (estimate(p, question).aggregate("treated_average") for p in (panel, apart))
    assert unlike.std_error[0] > 3 * same.std_error[0]


def test_proportional_averages_divide_average_effects_by_average_untreated_means() -> None:
    panel = simulated.panel(n=150, level=9.0)
    level, share = (estimate(panel, Question("y", "event", scale=s)) for s in ("level", "proportional"))
    for name in AVERAGES:
        ours, effect = share.aggregate(name), level.aggregate(name)
        assert ours.untreated_mean is not None
        assert ours.effect[0] == pytest.approx(effect.effect[0] / ours.untreated_mean[0], abs=1e-12)


def test_an_effect_over_a_mean_that_is_not_positive_has_no_value() -> None:
    panel = simulated.panel(n=100, level=-50.0)
    fit = estimate(panel, Question("y", "event", scale="proportional"))
    assert np.isnan(fit.effect[~fit.reference]).all()
    assert not fit.varies.any()


@pytest.mark.parametrize(
    ("to", "asked"),
    [("event", {"horizon": 1}), ("cohort_average", {"horizon": 1}), ("treated_average", {"balance": 1})],
)
def test_a_horizon_or_balance_is_not_passed_over(fit: Estimate, to: str, asked: dict[str, int]) -> None:
    (name,) = asked
    for made, kind in ((fit, to), (fit.aggregate("event_average"), "event_average")):
        with pytest.raises(QuestionError, match=f'aggregate: "{kind}" of this estimate takes no {name}'):
            made.aggregate(kind, **asked)


def test_an_average_that_a_design_s_terms_cannot_form_is_refused() -> None:
    panel, question = simulated.panel(n=80), Question("y", "event")
    dynamic = estimate(panel, question, "event_study")
    assert dynamic.aggregate("event") is dynamic
    with pytest.raises(
        QuestionError, match=r'event_study: its terms are by event time, so "cohort" cannot be formed'
    ):
        dynamic.aggregate("cohort")
    with pytest.raises(
        QuestionError, match="event_study: its terms are by event time, so cohorts cannot be balanced"
    ):
        dynamic.aggregate("event", balance=1)
    path = estimate(panel, question, "callaway_santanna").aggregate("event")
    assert path.aggregate("event") is path
    with pytest.raises(QuestionError, match="its terms are by event time, so cohorts cannot be balanced"):
        path.aggregate("event", balance=1)
    with pytest.raises(QuestionError, match="twfe: its term is a coefficient"):
        estimate(panel, question, "twfe").aggregate("event")
    with pytest.raises(QuestionError, match=r'no average "calendar_avg".*"calendar'):
        dynamic.aggregate("calendar_avg")


def test_tables_have_the_columns_that_users_expect(fit: Estimate) -> None:
    event = fit.aggregate("event")
    table = event.tidy()
    of = ["term", "event_time", "cohort", "period", "outcome", "design"]
    assert list(table) == [
        *of,
        "estimate",
        "std_error",
        "statistic",
        "df",
        "p_value",
        "conf_low",
        "conf_high",
    ]
    row = table.iloc[-1]
    assert row["df"] == event.degrees_of_freedom[-1]
    assert row["statistic"] == pytest.approx(row["estimate"] / row["std_error"])
    critical = stats.t.ppf(0.975, event.degrees_of_freedom[-1])
    assert row["conf_high"] - row["conf_low"] == pytest.approx(2 * critical * row["std_error"])
    named = event.with_vcov("CR0").tidy().iloc[-1]
    assert named["conf_high"] - named["conf_low"] == pytest.approx(2 * 1.959963985 * named["std_error"])


@pytest.mark.parametrize("kind", ["cohort", "calendar", *AVERAGES])
def test_averages_without_an_observed_treated_period_are_refused_in_one_line(kind: str) -> None:
    panel = simulated.panel(n=80)
    y, first = panel.outcomes["y"].copy(), panel.first_treated["event"]
    y[panel.periods >= first[:, None]] = np.nan
    leads = estimate(replace(panel, outcomes={"y": y}), Question("y", "event"))
    with pytest.raises(
        QuestionError, match=f'^callaway_santanna: no period .* so "{kind}" cannot be formed.$'
    ):
        leads.aggregate(kind)


def test_an_estimate_of_one_lead_has_no_headline() -> None:
    panel = simulated.panel(n=80)
    first, y = np.where(panel.first_treated["event"] == 4, 4.0, np.nan), panel.outcomes["y"].copy()
    y[np.isnan(first)] = np.where(panel.periods < 4, y[np.isnan(first)], np.nan)
    y[:, panel.periods == 1] = np.nan
    seen = replace(panel, outcomes={"y": y}, first_treated={"event": first})
    lead = estimate(seen, Question("y", "event", base="varying"))
    assert list(lead.event_time) == [-1]
    with pytest.raises(QuestionError, match="no period that it averages is observed"):
        lead.headline  # noqa: B018
