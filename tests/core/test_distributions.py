"""Quantiles and tails are scipy's, and numbers are recorded with the digits that are theirs."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from study.core.distributions import (
    chi_squared_tail,
    f_tail,
    normal_score,
    quantile,
    same_tail,
    t_quantile,
    two_sided_p,
)
from study.core.words import distinct_texts, significant

DEGREES = np.array([1.0, 2.5, 30.0, math.inf])


def test_quantiles_and_tails_are_those_of_scipy_and_the_normal_ones_without_degrees():
    for p in (0.001, 0.3, 0.975):
        np.testing.assert_allclose(t_quantile(p, DEGREES), stats.t.ppf(p, DEGREES), rtol=1e-9)
        assert quantile(p) == pytest.approx(stats.norm.ppf(p), rel=1e-12)
        assert quantile(p, 4.0) == pytest.approx(stats.t.ppf(p, 4), rel=1e-9)
    for statistic in (-2.5, 0.0, 1.3, 40.0):
        expected = 2 * stats.t.sf(abs(statistic), DEGREES)
        np.testing.assert_allclose(two_sided_p(statistic, DEGREES), expected, rtol=1e-9)
        assert two_sided_p(statistic) == pytest.approx(2 * stats.norm.sf(abs(statistic)), rel=1e-12)
    assert f_tail(3.2, 2, 17.5) == pytest.approx(stats.f.sf(3.2, 2, 17.5), rel=1e-10)
    assert chi_squared_tail(5.5, 3) == pytest.approx(stats.chi2.sf(5.5, 3), rel=1e-12)


def test_a_t_statistic_and_the_normal_one_with_its_p_value_lead_to_each_other():
    statistic = np.array([0.5, 2.0, 3.0, 4.0])
    normal = normal_score(-statistic, DEGREES)
    np.testing.assert_allclose(2 * stats.norm.sf(normal), two_sided_p(statistic, DEGREES), rtol=1e-9)
    np.testing.assert_allclose(same_tail(normal, DEGREES), statistic, rtol=1e-9)


@pytest.mark.parametrize(
    ("value", "options", "recorded"),
    [
        (0.123456789123, {}, 0.12345679),
        (-123456789.123, {}, -123456790.0),
        (9.99999996e-9, {}, 1e-8),
        (9.99999994e-9, {}, 9.9999999e-9),
        (0.123456789123, {"digits": 3}, 0.123),
        (0.000123456, {"digits": 3, "beside": -5.0}, 0.0),
        (0.0123456, {"digits": 3, "beside": 5.0}, 0.01),
        (0.0123456, {"digits": 3, "beside": 0.0005}, 0.0123),
        (0.0123456, {"digits": 3, "beside": math.nan}, 0.0123),
        (0.0, {"digits": 3, "beside": 0.0}, 0.0),
        (math.inf, {}, math.inf),
        # A half that sums a hair too low is rounded as the half that it is meant to be, which is to the even digit.
        (0.37499999999999994, {"digits": 2}, 0.38),
        (0.375, {"digits": 2}, 0.38),
    ],
)
def test_a_number_is_recorded_with_eight_digits_or_those_of_what_stands_beside_it(value, options, recorded):
    assert significant(value, **options) == recorded
    assert str(significant(value, **options)) != "-0.0"


def test_a_number_that_is_none_stays_none_and_a_small_negative_one_has_no_sign():
    assert math.isnan(significant(math.nan, beside=1.0))
    assert math.copysign(1.0, significant(-1e-20, beside=1.0)) == 1.0


def test_texts_have_as_many_more_digits_as_tell_them_apart() -> None:
    def texts(*values: float) -> list[str]:
        return list(distinct_texts(lambda digits: [f"{value:.{digits}g}" for value in values], 3))

    assert texts(0.12, 0.5678) == ["0.12", "0.568"]
    assert texts(0.1234567, 0.1234568) == ["0.1234567", "0.1234568"]
    assert texts(1.0, 1.0) == ["1", "1"]
