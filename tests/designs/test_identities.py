"""Designs that are the same estimator under conditions, which the names of the tests state."""

from __future__ import annotations

from dataclasses import replace
from itertools import combinations
from typing import Any

import numpy as np
import pytest
import simulated
from numpy.typing import NDArray

from study import Estimate, Panel, Question, estimate
from study.panel.question import AVERAGES

KINDS = ("event", "cohort", "calendar", *AVERAGES)
ASKED = Question("y", "event")
NEVER = ASKED.replace(comparison="never_treated")
ASKS: tuple[dict[str, Any], ...] = ({}, {"weights": "size", "cluster": "state"}, {"anticipation": 1})
asks = pytest.mark.parametrize("more", ASKS, ids=str)


def identical(one: Estimate, other: Estimate) -> None:
    """Hold labels, effects, influences and errors without small-sample factors to each other."""
    for label in ("cohort", "period", "event_time", "reference"):
        np.testing.assert_array_equal(getattr(one, label), getattr(other, label))
    size = np.nanmax(one.std_error)
    np.testing.assert_allclose(other.effect, one.effect, rtol=0, atol=1e-9 * size)
    scale = np.abs(one.influence).max()
    np.testing.assert_allclose(other.influence, one.influence, rtol=0, atol=1e-9 * scale)
    np.testing.assert_allclose(other.covariance("CR0"), one.covariance("CR0"), rtol=0, atol=1e-9 * size**2)


def identical_with_averages(one: Estimate, other: Estimate) -> None:
    identical(one, other)
    for kind in KINDS:
        identical(one.aggregate(kind), other.aggregate(kind))


def differ(one: Estimate, other: Estimate) -> None:
    """Say that the effects are not the same."""
    np.testing.assert_array_equal(one.event_time, other.event_time)
    assert np.abs(one.effect - other.effect).max() > 0.05 * np.nanmax(one.std_error)


def window(panel: Panel, first: int, last: int) -> Panel:
    """Return the panel from its first to its last period given by number."""
    cut = slice(first, last + 1)
    outcomes, covariates = (
        {name: block[:, cut] for name, block in blocks.items()}
        for blocks in (panel.outcomes, panel.covariates)
    )
    return replace(panel, periods=panel.periods[cut], outcomes=outcomes, covariates=covariates)


@asks
def test_sun_abraham_is_callaway_santanna_on_a_balanced_panel_with_never_treated_comparison(
    more: dict[str, Any],
) -> None:
    panel, question = simulated.panel(n=120, seed=1), NEVER.replace(**more)
    identical_with_averages(estimate(panel, question), estimate(panel, question, "sun_abraham"))


def test_sun_abraham_is_not_callaway_santanna_with_gaps_or_with_later_treated_comparison() -> None:
    panel, gaps = simulated.panel(n=120, seed=1), simulated.panel(n=120, seed=1, gaps=0.1)
    differ(estimate(gaps, NEVER), estimate(gaps, NEVER, "sun_abraham"))
    differ(estimate(panel, ASKED), estimate(panel, ASKED, "sun_abraham"))


@asks
@pytest.mark.parametrize("effects", ["cohort", "unit"])
def test_imputation_is_etwfe_on_a_balanced_panel_with_not_yet_treated_comparison(
    effects: str, more: dict[str, Any]
) -> None:
    panel, question = simulated.panel(n=120, seed=1), ASKED.replace(**more)
    imputed = estimate(panel, question, "imputation", leads=0)
    identical_with_averages(imputed, estimate(panel, question, "etwfe", effects=effects))


def test_conservative_errors_of_imputation_are_those_of_etwfe_with_given_shares_on_a_balanced_panel() -> None:
    panel = simulated.panel(n=120, seed=1)
    imputed = estimate(panel, ASKED, "imputation", leads=0, variance="conservative")
    extended = estimate(panel, ASKED, "etwfe", variance="conditional")
    identical_with_averages(imputed, extended)
    sampled = estimate(panel, ASKED, "imputation", leads=0).headline
    assert sampled.with_vcov("CR0").std_error[0] > 1.001 * imputed.headline.with_vcov("CR0").std_error[0]


@pytest.mark.parametrize("effects", ["cohort", "unit"])
def test_imputation_is_not_etwfe_with_gaps(effects: str) -> None:
    panel = simulated.panel(n=120, seed=1, gaps=0.1)
    differ(estimate(panel, ASKED, "imputation", leads=0), estimate(panel, ASKED, "etwfe", effects=effects))


@asks
@pytest.mark.parametrize(("effects", "gaps"), [("cohort", 0.0), ("unit", 0.0), ("unit", 0.1)])
def test_etwfe_with_never_treated_comparison_is_sun_abraham_with_unit_effects_or_on_a_balanced_panel(
    effects: str, gaps: float, more: dict[str, Any]
) -> None:
    panel, question = simulated.panel(n=120, seed=1, gaps=gaps), NEVER.replace(**more)
    extended = estimate(panel, question, "etwfe", effects=effects)
    identical_with_averages(estimate(panel, question, "sun_abraham"), extended)


def test_etwfe_with_cohort_effects_is_not_sun_abraham_with_gaps() -> None:
    panel = simulated.panel(n=120, seed=1, gaps=0.1)
    differ(estimate(panel, NEVER, "sun_abraham"), estimate(panel, NEVER, "etwfe", effects="cohort"))


@pytest.mark.parametrize("scale", ["proportional", "level"])
@pytest.mark.parametrize("more", ASKS[:2], ids=str)
@pytest.mark.parametrize("comparison", ["never_treated", "not_yet_treated"])
def test_poisson_etwfe_with_cohort_effects_is_that_with_unit_effects_when_balanced_with_positive_unit_totals(
    comparison: Any, more: dict[str, Any], scale: str
) -> None:
    panel = simulated.counts(simulated.panel(n=120, seed=1, level=2.0))
    assert np.nansum(panel.outcomes["y"], axis=1).min() > 0
    question = ASKED.replace(scale=scale, comparison=comparison, **more)
    cohort, unit = (
        estimate(panel, question, "etwfe", family="poisson", effects=e) for e in ("cohort", "unit")
    )
    identical_with_averages(cohort, unit)


def test_units_without_outcomes_are_in_levels_and_averages_of_cohort_effects_and_not_of_unit_effects() -> (
    None
):
    panel = simulated.counts(simulated.panel(n=120, seed=1, level=2.0))
    y = panel.outcomes["y"].copy()
    y[::9] = 0.0
    panel = replace(panel, outcomes={"y": y})
    share, level = (NEVER.replace(scale=scale) for scale in ("proportional", "level"))
    fits = [
        [estimate(panel, question, "etwfe", family="poisson", effects=e) for e in ("cohort", "unit")]
        for question in (share, level)
    ]
    identical(*fits[0])
    averages = [fit.aggregate("event_average").effect[0] for fit in fits[0]]
    assert abs(averages[0] - averages[1]) > 1e-4
    differ(*fits[1])


def test_poisson_etwfe_with_cohort_effects_is_not_that_with_unit_effects_with_gaps() -> None:
    panel = simulated.counts(simulated.panel(n=120, seed=1, gaps=0.1, level=2.0))
    differ(*(estimate(panel, NEVER, "etwfe", family="poisson", effects=e) for e in ("cohort", "unit")))


def goodman_bacon(panel: Panel) -> float:
    """Return the weighted sum of all two-by-two comparisons of Goodman-Bacon (2021), Theorem 1."""
    y, first = panel.outcomes["y"], np.nan_to_num(panel.first_treated["event"], nan=np.inf)
    dates = np.unique(first)
    mean = {g: np.nanmean(y[first == g], axis=0) for g in dates}
    n = {g: float(np.mean(first == g)) for g in dates}
    treated = {g: float(np.mean(panel.periods >= g)) for g in dates}

    def change(g: float, after: NDArray[np.bool_], before: NDArray[np.bool_]) -> float:
        return float(mean[g][after].mean() - mean[g][before].mean())

    gaps, weights = [], []
    for k, later in combinations(dates, 2):
        pair = n[k] + n[later]
        both = pair**2 * (n[k] / pair) * (n[later] / pair)
        before, after = panel.periods < k, panel.periods >= k
        until = panel.periods < later
        gaps.append(change(k, after & until, before) - change(later, after & until, before))
        weights.append(both * (treated[k] - treated[later]) * (1 - treated[k]))
        if np.isfinite(later):
            middle = after & until
            gaps.append(change(later, ~until, middle) - change(k, ~until, middle))
            weights.append(both * treated[later] * (treated[k] - treated[later]))
    return float(np.average(gaps, weights=weights))


def test_twfe_is_the_goodman_bacon_sum_on_a_balanced_panel_with_absorbing_treatment_and_no_covariates() -> (
    None
):
    panel = simulated.panel(n=120, seed=1)
    assert estimate(panel, ASKED, "twfe").effect[0] == pytest.approx(goodman_bacon(panel), abs=1e-12)


def test_twfe_is_not_the_goodman_bacon_sum_with_gaps_or_covariates() -> None:
    panel, gaps = simulated.panel(n=120, seed=1), simulated.panel(n=120, seed=1, gaps=0.1)
    assert abs(estimate(gaps, ASKED, "twfe").effect[0] - goodman_bacon(gaps)) > 1e-3
    moved = replace(panel, outcomes={"y": panel.outcomes["y"] + 3 * panel.covariates["moving"]})
    adjusted = estimate(moved, ASKED.replace(covariates=("moving",)), "twfe")
    assert abs(adjusted.effect[0] - goodman_bacon(moved)) > 1e-3


def test_with_one_cohort_and_one_period_before_imputation_is_callaway_santanna_is_the_two_by_two() -> None:
    panel = window(simulated.panel(n=80, seed=2, cohorts=(4,)), 2, 7)
    imputed = estimate(panel, ASKED, "imputation", leads=0)
    group_time = estimate(panel, ASKED)
    identical_with_averages(group_time.select(~group_time.reference), imputed)
    change = panel.outcomes["y"][:, 1:] - panel.outcomes["y"][:, :1]
    treated = panel.first_treated["event"] == 4
    by_hand = change[treated].mean(axis=0) - change[~treated].mean(axis=0)
    np.testing.assert_allclose(imputed.effect, by_hand, rtol=0, atol=1e-12)


def test_with_two_periods_before_imputation_is_not_the_two_by_two() -> None:
    panel = window(simulated.panel(n=80, seed=2, cohorts=(4,)), 1, 7)
    group_time = estimate(panel, ASKED)
    after = group_time.select(group_time.event_time >= 0)
    differ(after, estimate(panel, ASKED, "imputation", leads=0))


@pytest.mark.parametrize(
    ("design", "options"),
    [
        ("callaway_santanna", {}),
        ("twfe", {}),
        ("event_study", {}),
        ("sun_abraham", {}),
        ("etwfe", {"effects": "cohort"}),
        ("etwfe", {"effects": "unit"}),
        ("stacked", {"before": 1, "after": 0}),
        ("lp_did", {"weighting": "variance"}),
        ("lp_did", {"weighting": "equal"}),
    ],
)
@pytest.mark.parametrize("more", ASKS[:2], ids=str)
def test_with_two_periods_every_linear_design_is_the_same(
    design: str, options: dict[str, Any], more: dict[str, Any]
) -> None:
    panel, question = window(simulated.panel(n=80, seed=2, cohorts=(4,)), 2, 3), ASKED.replace(**more)
    imputed = estimate(panel, question, "imputation", leads=0)
    fit = estimate(panel, question, design, **options)
    fit = fit.select(~fit.reference)
    np.testing.assert_allclose(fit.effect, imputed.effect, rtol=0, atol=1e-12)
    np.testing.assert_allclose(fit.influence, imputed.influence, rtol=0, atol=1e-10)


@asks
def test_lp_did_with_equal_weights_is_callaway_santanna_from_treatment_on_on_a_balanced_panel(
    more: dict[str, Any],
) -> None:
    panel, question = simulated.panel(n=120, seed=1), ASKED.replace(**more)
    projected = estimate(panel, question, "lp_did", weighting="equal")
    by_time = estimate(panel, question).aggregate("event")
    np.testing.assert_array_equal(projected.event_time, by_time.event_time)
    after = by_time.event_time >= 0
    np.testing.assert_allclose(projected.effect[after], by_time.effect[after], rtol=0, atol=1e-12)
    np.testing.assert_allclose(projected.influence[:, after], by_time.influence[:, after], rtol=0, atol=1e-11)
    identical(by_time.headline, projected.headline)


def test_lp_did_is_not_callaway_santanna_with_gaps_or_variance_weights() -> None:
    panel, gaps = simulated.panel(n=120, seed=1), simulated.panel(n=120, seed=1, gaps=0.1)
    by_time = estimate(gaps, ASKED).aggregate("event")
    projected = estimate(gaps, ASKED, "lp_did", weighting="equal")
    assert np.abs(projected.effect - by_time.effect).max() > 1e-3
    weighted = estimate(panel, ASKED, "lp_did", weighting="variance")
    assert np.abs(weighted.effect - estimate(panel, ASKED).aggregate("event").effect).max() > 1e-3


def of_window(fit: Estimate, other: Estimate) -> Estimate:
    """Return the terms of an estimate whose cohort and period another has."""
    cells = set(zip(other.cohort, other.period, strict=True))
    return fit.select(np.array([cell in cells for cell in zip(fit.cohort, fit.period, strict=True)]))


@asks
def test_stacked_is_callaway_santanna_of_its_cohorts_with_never_treated_comparison_on_a_balanced_panel(
    more: dict[str, Any],
) -> None:
    panel, question = simulated.panel(n=120, seed=1), NEVER.replace(**more)
    pooled = estimate(panel, question, "stacked", before=2, after=1)
    identical_with_averages(of_window(estimate(panel, question), pooled), pooled)


@asks
def test_stacked_with_later_treated_comparison_is_callaway_santanna_at_the_end_of_its_window_only(
    more: dict[str, Any],
) -> None:
    panel, question = simulated.panel(n=120, seed=1), ASKED.replace(**more)
    pooled = estimate(panel, question, "stacked", before=2, after=1)
    group_time = of_window(estimate(panel, question), pooled)
    last = pooled.event_time == 1
    identical(group_time.select(last), pooled.select(last))
    differ(group_time.select(~last), pooled.select(~last))


def test_stacked_is_not_callaway_santanna_with_gaps() -> None:
    panel = simulated.panel(n=120, seed=1, gaps=0.1)
    pooled = estimate(panel, NEVER, "stacked", before=2, after=1)
    differ(of_window(estimate(panel, NEVER), pooled), pooled)


@asks
def test_with_one_cohort_the_event_study_is_sun_abraham(more: dict[str, Any]) -> None:
    panel, question = simulated.panel(n=80, seed=2, gaps=0.1, cohorts=(4,)), ASKED.replace(**more)
    dynamic = estimate(panel, question, "event_study")
    by_cohort = estimate(panel, question, "sun_abraham")
    np.testing.assert_array_equal(dynamic.event_time, by_cohort.event_time)
    np.testing.assert_allclose(dynamic.effect, by_cohort.effect, rtol=0, atol=1e-11)
    np.testing.assert_allclose(dynamic.std_error, by_cohort.std_error, rtol=1e-9)


def with_levels(panel: Panel) -> tuple[Panel, Panel]:
    """Return a panel and the same with a level of up to 1e8 added to each unit, both of which floats hold exactly."""
    grid = 2.0**-20
    y = np.round(panel.outcomes["y"] / grid) * grid
    levels = np.random.default_rng(0).integers(-8, 9, size=(len(y), 1)) * 2.0**24
    return tuple(replace(panel, outcomes={"y": block}) for block in (y, y + levels))


def gaps_of(kind: str) -> Panel:
    """Return a panel without gaps, with gaps, or with whole cohorts that are unseen in some periods."""
    panel = simulated.panel(n=80, seed=3, gaps=0.08 if kind == "gaps" else 0.0)
    if kind != "unseen cohorts":
        return panel
    y, first = panel.outcomes["y"].copy(), panel.first_treated["event"]
    y[first == 6, 2], y[first == 4, 6], y[np.isnan(first), 7] = np.nan, np.nan, np.nan
    return replace(panel, outcomes={"y": y})


INVARIANT: tuple[tuple[str, dict[str, Any], dict[str, Any]], ...] = (
    ("twfe", {"covariates": ("moving",)}, {}),
    ("event_study", {"weights": "size"}, {}),
    ("sun_abraham", {"covariates": ("moving",)}, {}),
    ("imputation", {"covariates": ("moving",)}, {}),
    ("stacked", {"weights": "size"}, {"before": 2, "after": 1}),
    ("lp_did", {}, {}),
    ("etwfe", {"covariates": ("x1",)}, {"effects": "unit"}),
    ("callaway_santanna", {"weights": "size", "base": "varying"}, {}),
    ("callaway_santanna", {"covariates": ("x1",)}, {"method": "reg"}),
    ("callaway_santanna", {"covariates": ("x1",)}, {"method": "dr"}),
)
WITHOUT_GAPS: tuple[tuple[str, dict[str, Any], dict[str, Any]], ...] = (
    ("etwfe", {"covariates": ("x1",)}, {"effects": "cohort"}),
    ("callaway_santanna", {"missing": "cells"}, {}),
    ("callaway_santanna", {"missing": "cells", "covariates": ("x1",)}, {}),
    ("synthetic_did", {}, {}),
    ("generalized_synthetic_control", {}, {"factors": 1}),
    ("matrix_completion", {}, {"penalty": 0.01}),
    ("dml_panel", {"covariates": ("x1",)}, {"approach": "within", "learner": "linear", "repetitions": 1}),
    (
        "dml_irm",
        {"covariates": ("x1",)},
        {"before": 3, "after": 2, "learner": "linear", "propensity": "linear", "repetitions": 1},
    ),
)


@pytest.mark.parametrize(
    ("kind", "design", "more", "options"),
    [
        *((kind, *case) for kind in ("balanced", "gaps", "unseen cohorts") for case in INVARIANT),
        *(("balanced", *case) for case in WITHOUT_GAPS),
    ],
    ids=str,
)
def test_levels_of_units_that_dwarf_the_noise_cost_no_digits(
    kind: str, design: str, more: dict[str, Any], options: dict[str, Any]
) -> None:
    question = ASKED.replace(min_cohort_size=1, **more)
    small, large = (estimate(panel, question, design, **options) for panel in with_levels(gaps_of(kind)))
    np.testing.assert_allclose(large.effect, small.effect, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(large.std_error, small.std_error, rtol=1e-9)
    np.testing.assert_allclose(large.headline.std_error, small.headline.std_error, rtol=1e-9)
