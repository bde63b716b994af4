"""The fitted hazard of adoption is that of Cox regressions of other packages."""

from __future__ import annotations

from contextlib import suppress

import numpy as np
import pytest
from scipy.optimize import brentq
from scipy.special import softmax
from statsmodels.discrete.conditional_models import ConditionalLogit
from statsmodels.duration.hazard_regression import PHReg

from study.simulate import calibrate
from study.simulate.calibrate import RiskSet, adoption_hazard

TRUE = np.array([0.9, -0.4])


def risk_sets(adopters: int, periods: int = 12, n: int = 200, seed: int = 0) -> list[RiskSet]:
    """Draw who adopts in each period, one after another, in proportion to the hazard."""
    rng = np.random.default_rng(seed)
    fixed, left, found = rng.normal(size=n), np.ones(n, dtype=bool), []
    for _ in range(periods):
        x = np.column_stack([fixed, rng.normal(size=n)])[left]
        wait = rng.exponential(size=len(x)) / np.exp(x @ TRUE)
        adopts = np.zeros(len(x), dtype=bool)
        adopts[np.argsort(wait)[:adopters]] = True
        found.append(RiskSet(x, adopts))
        left[np.flatnonzero(left)[adopts]] = False
    return found


def stacked(sets: list[RiskSet]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    period = np.repeat(np.arange(len(sets)), [len(each.adopts) for each in sets])
    return np.concatenate([each.x for each in sets]), np.concatenate([each.adopts for each in sets]), period


@pytest.mark.parametrize("adopters", [1, 5])
def test_ratios_and_errors_are_those_of_a_cox_regression_with_a_stratum_a_period(adopters: int) -> None:
    sets = risk_sets(adopters)
    x, adopts, period = stacked(sets)
    ours = adoption_hazard(sets, prior=np.inf)
    peer = PHReg(np.ones(len(x)), x, status=adopts, strata=period, ties="breslow").fit()
    np.testing.assert_allclose(ours.ratios, peer.params, atol=1e-6)
    np.testing.assert_allclose(ours.std_errors, peer.bse, rtol=1e-4)


def test_one_adopter_a_period_is_a_conditional_logit() -> None:
    sets = risk_sets(1, periods=20)
    x, adopts, period = stacked(sets)
    peer = ConditionalLogit(adopts.astype(float), x, groups=period).fit(disp=0)
    np.testing.assert_allclose(adoption_hazard(sets, prior=np.inf).ratios, peer.params, atol=1e-3)


def test_the_truth_is_within_three_errors_and_the_prior_moves_little() -> None:
    sets = risk_sets(5, periods=20, n=1000)
    found = adoption_hazard(sets)
    assert (np.abs(found.ratios - TRUE) < 3 * found.std_errors).all()
    np.testing.assert_allclose(found.ratios, adoption_hazard(sets, prior=np.inf).ratios, atol=0.005)


def test_a_likelihood_without_a_maximum_has_one_with_the_prior() -> None:
    x = np.arange(20.0)[:, None]
    found = adoption_hazard([RiskSet(x, x[:, 0] == 19)])
    assert 0 < found.ratios[0] * x.std() < 10
    assert 0 < found.std_errors[0] * x.std() <= 3.01


def test_a_step_that_is_too_long_is_halved() -> None:
    x = np.zeros((1001, 1))
    x[0] = 1.0  # adopts in two of three periods, so that its hazard is 2,000 times that of another unit
    sets = [RiskSet(x, np.arange(1001) == unit) for unit in (0, 0, 5)]
    assert adoption_hazard(sets, np.inf).ratios[0] == pytest.approx(np.log(2000), rel=1e-9)


def test_without_a_maximum_or_a_prior_the_search_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    x, of, looked = np.arange(20.0), calibrate._derivatives, []

    def counted(*given):
        looked.append(1)
        assert len(looked) <= calibrate.NEWTON_STEPS
        return of(*given)

    monkeypatch.setattr(calibrate, "_derivatives", counted)
    with suppress(np.linalg.LinAlgError), np.errstate(invalid="ignore"):
        adoption_hazard([RiskSet(x[:, None], x == 19)], np.inf)
    assert len(looked) > 10


def test_what_is_the_same_for_all_has_no_ratio() -> None:
    sets = [
        RiskSet(np.column_stack([each.x[:, 0], np.ones(len(each.x))]), each.adopts) for each in risk_sets(3)
    ]
    alone = adoption_hazard([RiskSet(each.x[:, :1], each.adopts) for each in sets])
    np.testing.assert_allclose(adoption_hazard(sets).ratios, [alone.ratios[0], 0.0], atol=1e-8)


def test_what_is_not_observed_says_nothing() -> None:
    sets = risk_sets(3)
    hidden = [
        RiskSet(np.column_stack([each.x[:, 0], np.full(len(each.x), np.nan)]), each.adopts) for each in sets
    ]
    alone = adoption_hazard([RiskSet(each.x[:, :1], each.adopts) for each in sets])
    np.testing.assert_allclose(adoption_hazard(hidden).ratios, [alone.ratios[0], 0.0], atol=1e-8)


@pytest.mark.parametrize("prior", [3.0, 1e3])
def test_the_maximum_is_found_however_far_it_is(prior: float) -> None:
    x = np.arange(20.0)

    def slope(ratio: float) -> float:
        """Return the derivative of the likelihood, whose largest unit adopts, and of the prior."""
        return float(19 - softmax(ratio * x) @ x - ratio * x.var() / prior**2)

    found = adoption_hazard([RiskSet(x[:, None], x == 19)], prior)
    assert found.ratios[0] == pytest.approx(brentq(slope, 0, 100, xtol=1e-14), rel=1e-8)
