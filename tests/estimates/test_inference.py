"""Covariances, bands, joint tests and randomization against did, plain algebra and known truths."""

from __future__ import annotations

from dataclasses import replace

import goldens
import numpy as np
import pytest
import simulated
import tasks
from added_up import added_up
from references.did import BOOTSTRAP, bootstrapped_fit, bootstrapped_influence
from scipy import stats
from threadpoolctl import threadpool_limits

from study import Estimate, Question, QuestionError, estimate, joint
from study.core.arrays import one_thread
from study.core.influence import Influence
from study.estimates import multiplier
from study.estimates.multiplier import largest_draws, sup_t
from study.estimates.vcov.sandwich import covariance
from study.estimates.wald import wald
from study.inference.randomization import drawn_orders

RNG = np.random.default_rng(0)
INFLUENCE = RNG.normal(size=(40, 3))
CLUSTER = np.unique(RNG.integers(0, 9, size=40), return_inverse=True)[1]


def test_rows_that_stand_for_several_units_have_the_covariance_of_these() -> None:
    panel, question = simulated.panel(n=240, seed=3), Question("y", "event")
    ours, theirs = (estimate(each, question, "event_study") for each in (added_up(panel, question), panel))
    assert ours.sample.n_rows < panel.n_units
    for vcov in ("CR0", "jackknife"):
        expected = theirs.covariance(vcov)
        np.testing.assert_allclose(ours.covariance(vcov), expected, atol=1e-9 * np.nanmax(expected))


def sums(influence: np.ndarray, cluster: np.ndarray) -> np.ndarray:
    return Influence.of(influence).cluster_sums(cluster)


def critical_value(of_cluster: np.ndarray, level: float, **how: object) -> float:
    return sup_t(largest_draws(of_cluster, **how), level)


def loop_covariance(influence: np.ndarray, cluster: np.ndarray) -> np.ndarray:
    total = np.zeros((influence.shape[1],) * 2)
    for c in np.unique(cluster):
        s = influence[cluster == c].sum(axis=0)
        total += np.outer(s, s)
    return total / len(influence) ** 2


def test_covariances_follow_their_formulas() -> None:
    cr0, groups = loop_covariance(INFLUENCE, CLUSTER), len(np.unique(CLUSTER))
    np.testing.assert_allclose(covariance(INFLUENCE, CLUSTER), cr0, rtol=1e-12)
    cr1 = covariance(INFLUENCE, CLUSTER, "CR1")
    np.testing.assert_allclose(cr1, cr0 * groups / (groups - 1), rtol=1e-12)
    fixest = covariance(INFLUENCE, CLUSTER, "CR1_fixest", n_obs=400, df_k=13)
    np.testing.assert_allclose(fixest, cr1 * 399 / 387, rtol=1e-12)
    sizes = {"n_obs": 400, "df_k": 13, "n_fixed_effects": 40}
    areg = covariance(INFLUENCE, CLUSTER, "CR1_areg", **sizes)
    np.testing.assert_allclose(areg, cr1 * 399 / (400 - 13 - 39), rtol=1e-12)
    np.testing.assert_array_equal(covariance(INFLUENCE, CLUSTER, "CR1_fixest", **sizes), fixest)
    for none in (0, 1):  # unit effects besides the constant
        sizes["n_fixed_effects"] = none
        np.testing.assert_array_equal(covariance(INFLUENCE, CLUSTER, "CR1_areg", **sizes), fixest)
    last = covariance(INFLUENCE, CLUSTER, "CR1_fixest", n_obs=40, df_k=39)
    np.testing.assert_allclose(last, cr1 * 39, rtol=1e-12)


@pytest.mark.parametrize("vcov", ["CR1_fixest", "CR1_areg"])
def test_a_regression_with_as_many_parameters_as_observations_has_no_standard_error(vcov: str) -> None:
    cov = covariance(INFLUENCE, CLUSTER, vcov, n_obs=40, df_k=40)
    assert np.isnan(cov).all()


def test_a_saturated_design_has_an_estimate_without_a_standard_error() -> None:
    panel = simulated.subset(simulated.panel(n=40), np.arange(40) < 2)
    first = np.array([5.0, np.nan])
    y = panel.outcomes["y"][:, 3:5]
    two = replace(
        panel, periods=np.arange(4, 6), outcomes={"y": y}, covariates={}, first_treated={"event": first}
    )
    fit = estimate(two, Question("y", "event", min_cohort_size=1), "etwfe")
    np.testing.assert_allclose(fit.effect[-1], np.diff(y[0])[0] - np.diff(y[1])[0], atol=1e-12)
    assert np.isnan(fit.std_error).all()


def test_one_cluster_has_no_small_sample_factor() -> None:
    with pytest.raises(QuestionError, match="there is one cluster"):
        covariance(INFLUENCE, np.zeros(40, dtype=int), "CR1")


def test_wald_equals_the_quadratic_form_and_counts_the_rank() -> None:
    effect = np.array([0.3, -0.1, 0.2])
    cov = loop_covariance(INFLUENCE, np.arange(40))
    found = wald(effect, cov)
    assert found.rank == 3
    assert found.statistic == pytest.approx(effect @ np.linalg.solve(cov, effect), rel=1e-10)
    assert found.p_value == pytest.approx(stats.chi2.sf(found.statistic, 3), rel=1e-10)
    spread = np.array([[1, 0, 0], [0, 1, 0], [0, 0, 1], [1, 1, 0]], dtype=float)
    repeated = wald(spread @ effect, spread @ cov @ spread.T)
    assert repeated.rank == 3
    assert repeated.statistic == pytest.approx(found.statistic, rel=1e-8)


def test_wald_with_few_degrees_of_freedom_is_an_f_test_of_what_the_rank_leaves_of_them() -> None:
    effect, cov = np.array([0.3, -0.1, 0.2]), loop_covariance(INFLUENCE, np.arange(40))
    for degrees in (2.5, 7.0, 1e9):
        found, left = wald(effect, cov, degrees), degrees - 2
        assert found.statistic == wald(effect, cov).statistic
        assert (found.rank, found.degrees) == (3, degrees)
        f = found.statistic * left / (3 * degrees)
        assert found.p_value == pytest.approx(stats.f.sf(f, 3, left), rel=1e-9)
    assert wald(effect, cov, 1e9).p_value == pytest.approx(wald(effect, cov).p_value, rel=1e-6)
    assert np.isnan(wald(effect, cov, 2.0).p_value)
    assert np.isnan(wald(effect, cov, 2.0 + 5e-14).p_value)  # as degrees of freedom come out of sums
    assert np.isnan(wald(effect, cov, 1.5).p_value)


def test_wald_refuses_nothing_to_test_and_terms_without_variance() -> None:
    with pytest.raises(QuestionError, match="no term to test"):
        wald(np.empty(0), np.empty((0, 0)))
    with pytest.raises(QuestionError, match="no sampling variance"):
        wald(np.zeros(2), np.diag([1.0, 0.0]))


def test_sup_t_of_independent_terms_is_the_sidak_value() -> None:
    influence = np.random.default_rng(1).normal(size=(1000, 10))
    found = critical_value(sums(influence, np.arange(1000)), level=0.95, draws=20000, seed=1)
    assert found == pytest.approx(stats.norm.ppf((1 + 0.95**0.1) / 2), rel=0.01)


def test_sup_t_draws_the_same_signs_however_many_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = critical_value(sums(INFLUENCE, CLUSTER), level=0.95, draws=999, seed=5)
    monkeypatch.setattr(multiplier, "NUMBERS_AT_ONCE", 50)
    assert critical_value(sums(INFLUENCE, CLUSTER), level=0.95, draws=999, seed=5) == pytest.approx(
        whole, rel=1e-12
    )


def test_draws_are_the_same_numbers_for_any_number_of_threads() -> None:
    influence = np.random.default_rng(2).normal(size=(20_000, 25))
    drawn = []
    for threads in (1, 2):
        with threadpool_limits(threads, user_api="blas"):
            drawn.append(largest_draws(influence, draws=64, seed=3))
    np.testing.assert_array_equal(*drawn)


def test_linear_algebra_has_one_thread_where_it_is_asked_for_and_those_it_had_afterwards() -> None:
    with threadpool_limits(2, user_api="blas"):
        with one_thread():
            with one_thread():
                assert tasks.threads(None) == {1}
            assert tasks.threads(None) == {1}
        assert tasks.threads(None) == {2}


@pytest.mark.parametrize(
    ("vcov", "degrees"), [("CR0", np.inf), ("CR1", np.inf), ("CR1_fixest", 59.0), ("CR1_areg", 59.0)]
)
def test_conventions_have_the_degrees_of_freedom_of_their_packages(vcov: str, degrees: float) -> None:
    fit = estimate(simulated.panel(n=60), Question("y", "event"), "twfe").with_vcov(vcov)
    np.testing.assert_array_equal(fit.degrees_of_freedom, [degrees])


def test_a_band_has_9999_draws_where_nobody_says_otherwise() -> None:
    fit = estimate(simulated.panel(n=60), Question("y", "event"), "event_study")
    assert fit.band().equals(fit.band(draws=9999))
    assert not fit.band().equals(fit.band(draws=10_000))


def test_sup_t_of_one_term_is_the_normal_quantile_and_repeats_with_its_seed() -> None:
    influence = np.random.default_rng(1).normal(size=(4000, 1))
    first, second = (
        critical_value(sums(influence, np.arange(4000)), level=0.9, draws=9999, seed=7) for _ in range(2)
    )
    assert first == second
    assert first == pytest.approx(stats.norm.ppf(0.95), rel=0.02)


def did_critical_value(influence: np.ndarray, cluster: np.ndarray) -> float:
    """Return the critical value of a band as did 2.3.0 simulates it."""
    of_cluster = sums(influence, cluster)
    of_cluster = of_cluster[:, np.sum(of_cluster**2, axis=0) > 0]
    draws = (np.random.default_rng(0).integers(0, 2, size=(9999, len(of_cluster))) * 2.0 - 1.0) @ of_cluster
    low, high = np.quantile(draws, [0.25, 0.75], axis=0)
    spread = (high - low) / (2 * stats.norm.ppf(0.75))
    return float(np.quantile(np.abs(draws / spread).max(axis=1), 0.95))


@pytest.mark.parametrize(("panel", "package", "name"), BOOTSTRAP, ids=["-".join(run) for run in BOOTSTRAP])
def test_bands_equal_those_that_did_simulates_to_three_percent(panel: str, package: str, name: str) -> None:
    run, fit = goldens.runs(panel, package)[name], bootstrapped_fit(panel, name)
    for terms, critical, known in (
        (fit, run["crit_val"], [(r["att"], r["se"]) for r in run["att_gt"]]),
        (
            fit.aggregate("event"),
            run["dynamic_crit"],
            [(r["estimate"], r["se"]) for r in run["dynamic"] if r["term"] != "dynamic_overall"],
        ),
    ):
        influence, cluster = bootstrapped_influence(terms, name), fit.sample.cluster
        ours = critical_value(sums(influence, cluster), level=0.95, draws=9999, seed=0, weights="rademacher")
        errors = np.sqrt(np.diag(covariance(influence, cluster)))
        effects, simulated_errors = np.array(known).T
        np.testing.assert_allclose(terms.effect, effects, rtol=1e-6, atol=1e-9)
        assert did_critical_value(influence, cluster) == pytest.approx(critical, rel=0.03)
        # with few clusters the quartile range by which did studentizes is no standard error
        if not name.endswith("cluster"):
            width = np.exp(np.mean(np.log(simulated_errors / errors))) * critical
            assert ours == pytest.approx(width, rel=0.03)


def test_a_band_contains_the_pointwise_intervals_and_leaves_the_reference_out() -> None:
    fit = estimate(simulated.panel(n=120), Question("y", "event")).aggregate("event")
    band, table = fit.band(draws=999), fit.tidy()
    used = ~fit.reference
    assert (band["band_low"] <= table["conf_low"])[used].all()
    assert (band["band_high"] >= table["conf_high"])[used].all()
    assert band["band_low"][fit.reference].isna().all()


def test_the_pre_trend_test_takes_the_terms_before_treatment() -> None:
    fit = estimate(simulated.panel(n=120), Question("y", "event", anticipation=1)).aggregate("event")
    assert list(fit.event_time[fit.pre]) == [e for e in fit.event_time if e < -1]
    found = fit.test(fit.pre)
    used = fit.pre & ~fit.reference
    cov = fit.covariance()[np.ix_(used, used)]
    assert found.statistic == pytest.approx(
        fit.effect[used] @ np.linalg.solve(cov, fit.effect[used]), rel=1e-8
    )


def test_the_minimum_detectable_effect_is_found_with_the_power_it_states() -> None:
    fit = estimate(simulated.panel(n=120), Question("y", "event")).headline
    effect, error = fit.minimum_detectable_effect(power=0.8)[0], fit.std_error[0]
    degrees = fit.degrees_of_freedom[0]
    assert stats.t.sf(stats.t.ppf(0.975, degrees) - effect / error, degrees) == pytest.approx(0.8, abs=1e-8)
    named = fit.with_vcov("CR0")
    effect, error = named.minimum_detectable_effect(power=0.8)[0], named.std_error[0]
    assert stats.norm.sf(1.959963985 - effect / error) == pytest.approx(0.8, abs=1e-8)
    with pytest.raises(QuestionError, match=r"minimum_detectable_effect: size is 0; .*, for example 0.05"):
        fit.minimum_detectable_effect(size=0)


def test_tables_bands_and_tests_are_at_the_usual_levels_where_none_is_given() -> None:
    fit = estimate(
        simulated.panel(n=60), Question("y", "event", average="event_average", horizon=1)
    ).aggregate("event")
    np.testing.assert_array_equal(fit.critical_value(), fit.critical_value(0.95))
    assert fit.tidy().equals(fit.tidy(0.95))
    assert fit.band(draws=99).equals(fit.band(0.95, draws=99, seed=0, weights="gaussian", errors="sample"))
    detectable = fit.minimum_detectable_effect()
    np.testing.assert_array_equal(detectable, fit.minimum_detectable_effect(power=0.8, size=0.05))
    table, used = fit.tidy(0.9), fit.varies
    degrees = fit.degrees_of_freedom[used]
    t = fit.effect[used] / fit.std_error[used]
    np.testing.assert_allclose(table["statistic"][used], t, rtol=1e-12)
    np.testing.assert_allclose(table["p_value"][used], 2 * stats.t.sf(np.abs(t), degrees), rtol=1e-9)
    half = stats.t.ppf(0.95, degrees) * fit.std_error[used]
    np.testing.assert_allclose(table["conf_low"][used], fit.effect[used] - half, rtol=1e-9)
    np.testing.assert_allclose(table["conf_high"][used], fit.effect[used] + half, rtol=1e-9)


def test_a_band_has_the_tail_of_the_largest_draw_by_the_degrees_of_freedom_of_each_term() -> None:
    fit = estimate(
        simulated.panel(n=60), Question("y", "event", average="event_average", horizon=2)
    ).aggregate("event")
    used = fit.varies
    of_cluster = sums(fit.errors.dense()[:, used], fit.sample.cluster)
    critical = critical_value(of_cluster, 0.9, draws=199, seed=3)
    t = stats.t.isf(stats.norm.sf(critical), fit.degrees_of_freedom[used])
    band = fit.band(0.9, draws=199, seed=3)
    assert list(band) == ["term", "event_time", "estimate", "std_error", "band_low", "band_high"]
    half = t * fit.std_error[used]
    np.testing.assert_allclose(band["band_low"][used], fit.effect[used] - half, rtol=1e-9)
    np.testing.assert_allclose(band["band_high"][used], fit.effect[used] + half, rtol=1e-9)
    np.testing.assert_array_equal(band["std_error"], fit.std_error)
    assert band[["band_low", "band_high"]][~used].isna().all(axis=None)
    own = critical_value(of_cluster, 0.9, draws=199, seed=3, weights="webb", errors="drawn")
    drawn = fit.band(0.9, draws=199, seed=3, weights="webb", errors="drawn")
    half = own * fit.std_error[used]
    np.testing.assert_allclose(drawn["band_high"][used] - drawn["estimate"][used], half, rtol=1e-9)


def test_the_diagonal_of_the_covariance_is_squared_errors_and_references_have_none() -> None:
    first = np.repeat([4.0, 6.0, np.nan], [1, 9, 20])
    panel = replace(simulated.panel(n=30), first_treated={"event": first})
    fit = estimate(panel, Question("y", "event", min_cohort_size=1))
    cov = fit.covariance()
    expected = np.where(fit.reference, 0.0, fit.std_error) ** 2
    np.testing.assert_allclose(np.diag(cov), expected, rtol=1e-12)
    assert np.isfinite(fit.covariance("CR0")).all()
    np.testing.assert_allclose(fit.covariance("CR1"), fit.covariance("CR0") * 30 / 29, rtol=1e-12)


@pytest.mark.parametrize("scale", ["level", "proportional"])
def test_draws_of_the_folds_vary_by_their_standard_deviation_over_the_root_of_their_number(scale) -> None:
    fit = estimate(
        simulated.panel(n=60, level=9.0), Question("y", "event", scale=scale), "imputation"
    ).headline
    assert np.isnan(fit.draw_error).all()
    assert fit.untreated_mean is not None
    moved = np.array([[-0.5, 0.1, 0.7, 0.2]])
    drawn = replace(fit, of_draw=fit.effect_level[:, None] + moved)
    treated = fit.untreated_mean[0] + fit.effect_level[0]
    effects = fit.effect_level[0] + moved[0]
    shares = effects if scale == "level" else effects / (treated - effects)
    assert drawn.draw_error[0] == pytest.approx(np.std(shares, ddof=1) / 2, rel=1e-12)
    assert np.isnan(replace(fit, of_draw=fit.effect_level[:, None]).draw_error).all()
    beyond = replace(fit, of_draw=np.array([[1.0, treated]])).draw_error
    assert np.isnan(beyond[0]) == (scale == "proportional")


@pytest.mark.parametrize("effect", [-30.0, 30.0])
def test_replicates_of_a_proportional_effect_vary_by_its_derivative_at_given_treated_outcomes(
    effect: float,
) -> None:
    panel, first = simulated.panel(n=24, level=60.0), np.where(np.arange(24) < 5, 5.0, np.nan)
    y = panel.outcomes["y"] + effect * (first[:, None] <= simulated.PERIODS)
    panel = replace(panel, outcomes={"y": y}, first_treated={"event": first})
    options = {"inference": "placebo", "replications": 20}
    fit = estimate(panel, Question("y", "event", scale="proportional"), "synthetic_did", **options)
    assert fit.replicates is not None
    assert fit.untreated_mean is not None
    total, step = fit.untreated_mean + fit.effect_level, 1e-5

    def share(level: np.ndarray) -> np.ndarray:
        return level / (total - level)

    slope = (share(fit.effect_level + step) - share(fit.effect_level - step)) / (2 * step)
    expected = np.abs(slope) * fit.replicates.std(axis=1)
    np.testing.assert_allclose(fit.std_error[~fit.reference], expected[~fit.reference], rtol=1e-6)
    assert np.isnan(fit.std_error[fit.reference]).all()


def test_randomization_is_uniform_without_effects_and_small_with_them() -> None:
    rng = np.random.default_rng(4)
    treated = np.arange(40) < 12

    def p_value(effect: float, seed: int) -> float:
        y = rng.normal(size=40) + effect * treated

        def difference(order: np.ndarray) -> float:
            return float(y[treated[order]].mean() - y[~treated[order]].mean())

        drawn = [difference(order) for order in drawn_orders([np.arange(40)], 99, seed)]
        assert len(drawn) == 99
        return multiplier.p_of_draws(np.array(drawn), difference(np.arange(40)))

    null = np.array([p_value(0.0, seed) for seed in range(300)])
    assert stats.kstest(null, "uniform").pvalue > 0.001
    assert p_value(5.0, 0) == pytest.approx(0.01)


def test_randomization_deals_dates_within_strata_only() -> None:
    strata = np.repeat([0, 1, 2], [5, 7, 8])
    seen = [*drawn_orders([np.flatnonzero(strata == label) for label in range(3)], 20, seed=0)]
    for order in seen:
        assert (strata[order] == strata).all()
        assert sorted(order) == list(range(20))
    assert any((order != np.arange(20)).any() for order in seen)


def designs(panel_size: int = 120) -> list[Estimate]:
    panel = simulated.panel(n=panel_size)
    question = Question("y", "event", average="event_average", horizon=1)
    return [estimate(panel, question, name).headline for name in ("callaway_santanna", "event_study")]


def test_the_joint_covariance_of_designs_has_their_own_on_its_diagonal() -> None:
    cs, es = designs()
    both = joint(cs, es)
    assert both.names == ("callaway_santanna event_average", "event_study event_average")
    expected = [fit.std_error[0] ** 2 for fit in (cs, es)]
    np.testing.assert_allclose(np.diag(both.covariance()), expected, rtol=1e-12)
    cross = np.sum(cs.errors.dense()[:, 0] * es.errors.dense()[:, 0]) / 120**2
    assert both.covariance()[0, 1] == pytest.approx(cross, rel=1e-12)
    (difference,) = both.differences().effect
    assert difference == pytest.approx(es.effect[0] - cs.effect[0], abs=1e-14)


def test_estimates_of_different_samples_join_on_the_union_of_their_units() -> None:
    panel = simulated.panel(n=120)
    question = Question("y", "event", average="event_average", horizon=1)
    part = simulated.subset(panel, np.arange(120) % 3 > 0)
    whole, some = estimate(panel, question).headline, estimate(part, question).headline
    both = joint(some, whole)
    errors = np.sqrt(np.diag(covariance(both.influence, both.cluster)))
    np.testing.assert_allclose(errors, [some.std_error[0], whole.std_error[0]], rtol=1e-12)


def test_estimates_of_unlike_scale_or_cluster_do_not_join() -> None:
    panel = simulated.panel(n=60, level=9.0)
    level = estimate(panel, Question("y", "event")).headline
    for other in (Question("y", "event", scale="log1p"), Question("y", "event", cluster="state")):
        with pytest.raises(QuestionError, match="joint: the estimates differ in scale"):
            joint(level, estimate(panel, other).headline)


def test_clustered_errors_equal_those_of_units_when_every_unit_is_its_own_cluster() -> None:
    panel = simulated.panel(n=60)
    own = replace(panel, attributes={"state": panel.units})
    unit, state = (
        estimate(own, Question("y", "event", cluster=cluster)).std_error for cluster in (None, "state")
    )
    np.testing.assert_allclose(unit, state, rtol=1e-12)
