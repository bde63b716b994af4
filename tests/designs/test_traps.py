"""Traps that packages of panel designs are known to fall into."""

from __future__ import annotations

from dataclasses import replace
from typing import get_args

import numpy as np
import pytest
import simulated
from catalogue import ASKED, EVERY, LINEAR, answer, suited
from numpy.typing import NDArray
from test_callaway_santanna import by_loops

from study import Estimand, Panel, QuestionError
from study.estimates.vcov.names import GIVEN, VcovName
from study.panel.question import Sample

SIZES = {4.0: 3.0, 6.0: 1.0, 7.0: -1.0}


def without_noise() -> Panel:
    """Return a panel of unit effects, period effects and effects that differ by cohort and event time."""
    panel = simulated.panel(n=90)
    first = panel.first_treated["event"]
    size = np.vectorize(SIZES.get)(np.nan_to_num(first), 0.0).astype(float)
    own = np.random.default_rng(0).normal(size=(90, 1))
    y = own + np.sqrt(panel.periods) + simulated.effects(first, size[:, None])
    return replace(panel, outcomes={"y": y})


@pytest.mark.parametrize("name", LINEAR)
def test_group_time_designs_find_effects_that_differ_by_cohort_and_event_time_exactly(name: str) -> None:
    fit = answer(name, without_noise())
    since = fit.event_time
    truth = np.where(since >= 0, np.vectorize(SIZES.get)(fit.cohort) * (1 + since / 2), 0.0)
    np.testing.assert_allclose(fit.effect, truth, rtol=0, atol=1e-10)


def test_twfe_and_the_event_study_do_not_find_them_and_twfe_does_not_call_its_term_an_effect() -> None:
    panel = without_noise()
    robust = answer("imputation", panel)
    fit = answer("twfe", panel)
    assert abs(fit.effect[0] - robust.aggregate("treated_average").effect[0]) > 0.5
    assert fit.estimand is Estimand.COEFFICIENT
    for kind in ("event", "treated_average", "event_average", "cohort_average"):
        with pytest.raises(QuestionError, match="twfe: its term is a coefficient"):
            fit.aggregate(kind)
    dynamic, by_time = answer("event_study", panel), robust.aggregate("event")
    after = dynamic.event_time >= 0
    assert np.abs(dynamic.effect[after] - by_time.effect).max() > 0.5


@pytest.mark.parametrize("gaps", [0.0, 0.1])
def test_one_regression_has_one_standard_error_for_each_named_convention(gaps: float) -> None:
    panel = simulated.panel(n=60, gaps=gaps)
    fit = answer("twfe", panel, ASKED.replace(cluster="state"))
    y, treatment = fit.sample.y, fit.sample.treatment
    unit, period = np.nonzero(~np.isnan(y))
    dummies = np.hstack([unit[:, None] == np.arange(60), period[:, None] == np.arange(1, 8)])
    x = np.column_stack([treatment[unit, period], dummies])
    coefficients = np.linalg.lstsq(x, y[unit, period], rcond=None)[0]
    scores = np.zeros((17, x.shape[1]))
    np.add.at(scores, fit.sample.cluster[unit], x * (y[unit, period] - x @ coefficients)[:, None])
    bread = np.linalg.inv(x.T @ x)
    plain = (bread @ scores.T @ scores @ bread)[0, 0]
    n, clusters, regressors, periods, units = len(unit), 17, 1, 8, 60
    factor = clusters / (clusters - 1)
    expected = {
        "CR0": plain,
        "CR1": plain * factor,
        "CR1_fixest": plain * factor * (n - 1) / (n - regressors - periods),
        "CR1_areg": plain * factor * (n - 1) / (n - regressors - periods - (units - 1)),
    }
    assert {*expected, "jackknife", "bell_mccaffrey", "pooled", *GIVEN} == set(get_args(VcovName))
    for vcov, square in expected.items():
        assert fit.covariance(vcov)[0, 0] == pytest.approx(square, rel=1e-10)
    assert (fit.published, fit.vcov) == ("CR1_fixest", "jackknife")
    assert fit.with_vcov("CR1_fixest").std_error[0] ** 2 == pytest.approx(expected["CR1_fixest"], rel=1e-10)


def test_doubly_robust_effects_equal_plain_loops_to_nine_digits_with_500_units() -> None:
    question = ASKED.replace(covariates=("x1", "x2"))
    fit = answer("callaway_santanna", simulated.panel(n=500, seed=2), question)
    slow = by_loops(fit.sample)
    used = ~fit.reference
    keys = zip(fit.cohort[used], fit.period[used], strict=True)
    np.testing.assert_allclose(fit.effect[used], [slow[key]["dr"] for key in keys], rtol=0, atol=1e-9)


def imputed(sample: Sample) -> NDArray[np.float64]:
    """Return what treated cells have beyond a prediction from dummies of units and periods, shape (n, T)."""
    before = sample.observed & (sample.treatment == 0)
    unit, period = np.nonzero(np.ones_like(before))
    dummies = np.hstack(
        [
            unit[:, None] == np.arange(sample.n_units),
            period[:, None] == np.arange(1, len(sample.periods)),
        ]
    )
    seen = before.ravel()
    coefficients = np.linalg.lstsq(dummies[seen].astype(float), sample.y.ravel()[seen], rcond=None)[0]
    left = sample.y - (dummies @ coefficients).reshape(before.shape)
    return np.where(sample.treatment == 1, left, np.nan)


def with_single_untreated_cells() -> Panel:
    """Return a panel with gaps in which five units of cohort 6 are seen once before treatment."""
    panel = simulated.panel(n=100, seed=3, gaps=0.2)
    y, six = panel.outcomes["y"].copy(), np.flatnonzero(panel.first_treated["event"] == 6)[:5]
    y[six, :5] = np.nan
    y[six, np.arange(5)] = 1.0
    y[six, 5:] = 3.0
    return replace(panel, outcomes={"y": y})


def test_imputation_is_exact_on_an_unbalanced_panel_and_keeps_units_with_one_untreated_cell() -> None:
    fit = answer("imputation", with_single_untreated_cells())
    tau, date = imputed(fit.sample), fit.sample.first_treated
    cells = zip(fit.cohort, fit.period, strict=True)
    slow = [np.nanmean(tau[date == g, fit.sample.periods == t]) for g, t in cells]
    np.testing.assert_allclose(fit.effect, slow, rtol=0, atol=1e-10)
    assert fit.notes == ()
    assert fit.n_obs == fit.sample.observed.sum()


@pytest.mark.parametrize("name", EVERY)
def test_estimates_errors_and_bands_do_not_change_from_run_to_run(name: str) -> None:
    panel = suited(name, simulated.panel(n=60, level=2.0, gaps=0.05))
    one, other = (answer(name, panel) for _ in range(2))
    np.testing.assert_array_equal(one.effect, other.effect)
    np.testing.assert_array_equal(one.std_error, other.std_error)
    np.testing.assert_array_equal(one.influence, other.influence)
    bands = [fit.band(draws=99).drop(columns="term").to_numpy() for fit in (one, other)]
    np.testing.assert_array_equal(*bands)


@pytest.mark.parametrize("name", EVERY)
def test_clusters_change_the_standard_errors_of_every_design(name: str) -> None:
    panel = suited(name, simulated.panel(n=60, level=2.0))
    plain, clustered = (answer(name, panel, ASKED.replace(cluster=c)).headline for c in (None, "state"))
    assert clustered.n_clusters == 17
    assert abs(clustered.std_error[0] / plain.std_error[0] - 1) > 0.005
