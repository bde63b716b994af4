"""How many clusters carry an estimate's variance, and when a warning says that they are few."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import simulated
from scipy import stats

from study import Estimate, Question, estimate
from study.estimates import few_clusters
from study.estimates.contrast import present
from study.estimates.few_clusters import effective_clusters, few_clusters_warning, treated_clusters
from study.estimates.vcov.degrees import effective_number, effective_of_moments

QUESTION = Question("y", "event", average="event_average", horizon=2, min_cohort_size=1)


def carter(gamma: np.ndarray) -> float:
    """Return G* as Carter, Schnepel and Steigerwald define it: G / (1 + squared coefficient of variation)."""
    return len(gamma) / (1 + np.mean((gamma / gamma.mean() - 1) ** 2))


@pytest.mark.parametrize(
    "gamma",
    [np.ones(300), np.repeat([1.0, 0.0], [40, 400]), np.repeat([1.0, 0.01], [60, 500]), 1 + np.arange(200.0)],
    ids=["alike", "some carry it", "most carry little", "growing"],
)
def test_normal_sums_have_the_number_that_their_variances_define(gamma: np.ndarray) -> None:
    sums = np.random.default_rng(1).normal(size=(len(gamma), 4000)) * np.sqrt(gamma)[:, None]
    found = effective_number(sums)
    assert np.median(found) == pytest.approx(carter(gamma), rel=0.06)
    variance = np.sum(sums**2, axis=0)
    satterthwaite = 2 * variance.mean() ** 2 / variance.var()
    assert satterthwaite == pytest.approx(carter(gamma), rel=0.06)


def test_both_parts_of_the_ratio_are_unbiased() -> None:
    gamma = np.array([4.0, 1.0, 1.0, 0.5])
    sums = np.random.default_rng(2).normal(size=(4, 400_000)) * np.sqrt(gamma)[:, None]
    fourth, square = np.sum(sums**4, axis=0), np.sum(sums**2, axis=0) ** 2
    assert np.mean(fourth / 3) == pytest.approx(np.sum(gamma**2), rel=0.02)
    assert np.mean(square - 2 * fourth / 3) == pytest.approx(np.sum(gamma) ** 2, rel=0.02)


def test_one_cluster_that_carries_everything_is_one_and_equal_sums_are_all() -> None:
    one = np.zeros((50, 1))
    one[7] = -3.0
    assert effective_number(one)[0] == 1.0
    assert effective_number(np.ones((50, 1)))[0] == 50
    nearly = one + 1e-3
    assert effective_number(nearly)[0] == pytest.approx(1, abs=0.01)


def test_the_number_does_not_depend_on_units_order_or_clusters_without_a_part() -> None:
    sums = np.random.default_rng(3).normal(size=(80, 3)) * np.linspace(1, 5, 80)[:, None]
    found = effective_number(sums)
    np.testing.assert_allclose(effective_number(1e150 * sums[::-1]), found, rtol=1e-12)
    np.testing.assert_allclose(effective_number(1e-150 * sums), found, rtol=1e-12)
    np.testing.assert_allclose(effective_number(np.vstack([sums, 0 * sums])), found, rtol=1e-12)


@pytest.mark.parametrize("treated", [5, 10, 30])
def test_few_treated_among_many_are_about_as_many_as_they_are(treated: int) -> None:
    rng = np.random.default_rng(treated)
    found = []
    for _ in range(40):
        fit = estimate(simulated.few_treated(rng, treated=treated), QUESTION)
        assert treated_clusters(fit) == treated
        found.append(effective_clusters(fit.headline)[0])
    assert np.median(found) == pytest.approx(treated, rel=0.3)


def test_terms_have_a_number_each_and_references_none() -> None:
    fit = estimate(simulated.panel(n=150), QUESTION, "event_study")
    found = effective_clusters(fit)
    assert np.isnan(found[fit.reference]).all()
    assert (found[fit.varies] >= 1).all()
    assert (found[fit.varies] <= 150).all()
    sums = fit.influence[:, fit.varies]
    plain = 3 * np.sum(sums**2, axis=0) ** 2 / np.sum(sums**4, axis=0) - 2
    np.testing.assert_allclose(found[fit.varies], np.minimum(plain, 150), rtol=1e-9)
    assert (plain < 150).any()


def test_clusters_are_counted_and_not_their_units() -> None:
    panel = simulated.panel(n=170)
    fit = estimate(panel, QUESTION.replace(cluster="state"))
    assert effective_clusters(fit.headline)[0] <= 17
    assert treated_clusters(fit) == 17
    scaled = replace(panel, outcomes={"y": 1e4 * panel.outcomes["y"]})
    np.testing.assert_allclose(
        effective_clusters(estimate(scaled, QUESTION.replace(cluster="state"))),
        effective_clusters(fit),
        rtol=1e-6,
    )
    warning = few_clusters_warning(fit.with_vcov("CR0"))
    assert warning is not None
    assert "of 17 clusters 17 have treated units" in warning


def test_a_warning_names_the_treated_clusters_and_what_to_do() -> None:
    fit = estimate(simulated.few_treated(np.random.default_rng(0), treated=9), QUESTION)
    warning = few_clusters_warning(fit.with_vcov("CR0"))
    assert warning is not None
    assert "of 300 clusters 9 have treated units" in warning
    assert 'use vcov="jackknife" or randomization inference' in warning
    assert warning.count(".") == 1
    assert few_clusters_warning(fit) is None
    assert few_clusters_warning(estimate(simulated.panel(n=200), QUESTION).with_vcov("CR0")) is None


def test_few_treated_are_a_warning_even_where_the_residuals_hide_it() -> None:
    panel = simulated.few_treated(np.random.default_rng(1), treated=6)
    first = panel.first_treated["event"].copy()
    first[:6] = [4, 4, 4, 6, 6, 7]
    y = panel.outcomes["y"].copy()
    y[:6] = y[6:].mean(axis=0)
    hidden = replace(panel, outcomes={"y": y}, first_treated={"event": first})
    fit = estimate(hidden, QUESTION, vcov="CR0")
    assert effective_clusters(fit.headline)[0] > 100
    warning = few_clusters_warning(fit)
    assert warning is not None
    assert "6 have treated units" in warning
    exact = estimate(replace(hidden, outcomes={"y": np.zeros(y.shape)}), QUESTION)
    assert "no standard error" in str(few_clusters_warning(exact))
    assert "no sampling variance" in str(few_clusters_warning(exact.with_vcov("CR0")))


@pytest.mark.parametrize(
    ("design", "options"),
    [
        ("callaway_santanna", {}),
        ("dcdh", {}),
        ("etwfe", {"family": "poisson"}),
        ("generalized_synthetic_control", {}),
        ("matrix_completion", {}),
        ("twfe", {}),
    ],
)
@pytest.mark.parametrize("effect", [0.0, 1.0])
def test_where_all_is_fitted_exactly_the_note_says_why_there_is_no_standard_error(
    design: str, options: dict[str, str], effect: float
) -> None:
    panel = simulated.few_treated(np.random.default_rng(1), treated=6)
    treated = panel.periods >= panel.first_treated["event"][:, None]
    exact = replace(panel, outcomes={"y": 3 + effect * treated})
    fit = estimate(exact, QUESTION, design, **options)
    assert np.isnan([fit.headline.std_error[0], fit.headline.degrees_of_freedom[0]]).all()
    assert "do not vary between clusters beyond what the design fits, so " in fit.notes[-1]


def test_a_standard_error_of_which_no_digit_is_right_is_none() -> None:
    panel = simulated.few_treated(np.random.default_rng(1), treated=6)
    noise = np.random.default_rng(2).normal(size=panel.outcomes["y"].shape)
    errors = [
        estimate(replace(panel, outcomes={"y": 3 + size * noise}), QUESTION).headline.std_error[0]
        for size in (1e-13, 1e-10)
    ]
    np.testing.assert_array_equal(np.isnan(errors), [True, False])


def test_comparison_units_that_do_not_vary_take_the_variance_of_treated_units() -> None:
    panel = simulated.few_treated(np.random.default_rng(1), treated=6)
    y, never = panel.outcomes["y"].copy(), np.isnan(panel.first_treated["event"])
    y[never] = 3.0
    alike = replace(panel, outcomes={"y": y}, first_treated={"event": np.where(never, np.nan, 5.0)})
    for design in ("callaway_santanna", "dcdh", "twfe"):
        fit = estimate(alike, QUESTION, design)
        assert fit.headline.std_error[0] > 0, design
        assert f"{design}: 6 treated and 0 comparison clusters carry the variance" in fit.notes[-1]


@pytest.mark.parametrize(
    "design", ["callaway_santanna", "dcdh", "synthetic_did", "generalized_synthetic_control"]
)
def test_where_nothing_varies_no_unit_is_said_to_carry_the_variance(design: str) -> None:
    panel = simulated.few_treated(np.random.default_rng(1), treated=6)
    after = panel.periods >= 5
    y = np.where(np.isnan(panel.first_treated["event"])[:, None], 3.0, 3.0 + 2.0 * after)
    first = np.where(np.isnan(panel.first_treated["event"]), np.nan, 5.0)
    fit = estimate(replace(panel, outcomes={"y": y}, first_treated={"event": first}), QUESTION, design)
    assert fit.headline.effect[0] == pytest.approx(2.0)
    assert np.isnan(fit.headline.std_error[0])
    assert fit.headline.notes[-1].startswith(f"{design}: outcomes do not vary between clusters")


def test_what_is_a_millionth_of_the_largest_or_less_is_rounding_and_no_cluster() -> None:
    for small, number in ((0.9e-6, 6), (1e-6, 6), (1.1e-6, 8)):
        sums = np.array([[1.0], [-1.0], [1.0], [1.0], [1.0], [1.0], [small], [-small]])
        assert effective_number(sums)[0] == number
        np.testing.assert_array_equal(present(sums)[:, 0], [1.0] * 6 + [float(number == 8)] * 2)


def test_the_number_is_at_most_that_of_the_clusters_given_and_at_least_one() -> None:
    sums = np.ones((6, 2))
    np.testing.assert_array_equal(effective_number(sums, number=np.array([4, 9])), [4, 9])
    three = np.array([[3.0, 1.0], [2.0, 1.0], [1.0, 0.0]])
    plain = 3 * np.sum(three**2, axis=0) ** 2 / np.sum(three**4, axis=0) - 2
    np.testing.assert_allclose(effective_number(three), [min(plain[0], 3), 2])
    np.testing.assert_array_equal(
        effective_of_moments(np.array([1.0, 2.0]), np.array([1.0, 1.5]), 100), [1.0, 6.0]
    )
    assert np.isnan(effective_number(np.zeros((4, 1)))[0])


def few(treated: int, compared: int, cohorts: tuple[int, ...] = (5,)) -> Estimate:
    rng = np.random.default_rng(treated)
    return estimate(simulated.few_treated(rng, treated + compared, treated, cohorts), QUESTION)


@pytest.mark.parametrize("switched", [False, True])
@pytest.mark.parametrize("many", [6, 30])
def test_a_side_is_few_below_five_clusters(many: int, switched: bool) -> None:
    for number in (2, 4, 5):
        sides = (many, number) if switched else (number, many)
        warning = few_clusters_warning(few(*sides))
        few_on_a_side = warning is not None and "degrees of freedom" not in warning
        assert few_on_a_side == (number < 5)
        if few_on_a_side:
            carry = (
                f"{sides[0]} treated and {sides[1]} comparison clusters carry the variance of event_average"
            )
            assert carry in warning
            assert "with fewer than 5 on a side" in warning


def test_one_cluster_is_in_the_singular() -> None:
    panel = simulated.few_treated(np.random.default_rng(0), 12, 6, (5,))
    first = panel.first_treated["event"]
    panel = replace(panel, attributes={"state": np.where(np.isnan(first), "other", panel.units)})
    assert "6 treated and 1 comparison cluster carry" in str(
        few_clusters_warning(estimate(panel, QUESTION.replace(cluster="state")))
    )
    assert "of 41 clusters 1 has treated units" in str(few_clusters_warning(few(1, 40).with_vcov("CR0")))


def test_a_pooled_variance_is_warned_of_below_five_treated_or_with_several_dates() -> None:
    assert few_clusters_warning(few(5, 8).with_vcov("pooled")) is None
    for treated, words in ((1, "1 treated cluster are"), (4, "4 treated clusters are")):
        assert f"the errors of {words}" in str(few_clusters_warning(few(treated, 8).with_vcov("pooled")))


@pytest.mark.parametrize("cohorts", [(5,), (4, 6)])
def test_with_clusters_a_pooled_variance_does_not_send_to_a_test_that_refuses_them(
    cohorts: tuple[int, ...],
) -> None:
    panel = simulated.few_treated(np.random.default_rng(0), 12, 4, cohorts)
    panel = replace(panel, attributes={"state": panel.units})
    said, clustered = (
        str(few_clusters_warning(estimate(panel, asked).with_vcov("pooled")))
        for asked in (QUESTION, QUESTION.replace(cluster="state"))
    )
    assert "study.few_treated" in said
    assert clustered.endswith(("as those of comparison clusters do.", 'use vcov="jackknife".'))


@pytest.mark.parametrize(
    ("treated", "effective", "degrees"),
    [
        (20, 20.0, None),
        (20, 19.9, 17),
        (19, 40.0, 16),
        (30, 4.0, 4),
        (9, 30.0, 6),
        (3, 30.0, 1),
        (12, 1.0, 1),
    ],
)
def test_a_normal_test_is_warned_of_below_twenty_with_the_size_that_it_has(
    treated: int, effective: float, degrees: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    fit = few(treated, 40, (4, 5, 6)).with_vcov("CR0")
    monkeypatch.setattr(few_clusters, "effective_clusters", lambda headline: np.array([effective]))
    warning = few_clusters_warning(fit)
    if degrees is None:
        assert warning is None
        return
    size = 2 * stats.t.sf(stats.norm.ppf(0.975), degrees)
    assert f"of {treated + 40} clusters {treated} have treated units" in str(warning)
    assert f"rests on about {effective:.0f};" in str(warning)
    assert f"at least about {size:.0%} of samples" in str(warning)


def test_flat_outcomes_leave_no_standard_error_and_the_note_says_so() -> None:
    panel = simulated.few_treated(np.random.default_rng(1), treated=6)
    flat = estimate(replace(panel, outcomes={"y": np.zeros(panel.outcomes["y"].shape)}), QUESTION)
    assert np.isnan(flat.headline.std_error[0])
    assert "beyond what the design fits, so event_average" in flat.notes[-1]
