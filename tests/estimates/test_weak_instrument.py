"""Anderson-Rubin sets and first stages at their edges, in numbers that are exact in double precision."""

from __future__ import annotations

import math
import warnings
from itertools import product

import numpy as np
import pytest
from scipy import stats

from study.estimates.weak_instrument import (
    UNRELIABLE,
    anderson_rubin,
    effective_f,
    first_stage,
    in_words,
    not_rejected,
    strength,
)

LINE = (-math.inf, math.inf)


def accepted(b: list[float], a: list[float], critical: float) -> tuple[tuple[float, float], ...]:
    """Return the set of one instrument whose sums by cluster are b + theta a."""
    of_b, of_a = (np.array(values)[:, None] for values in (b, a))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return not_rejected(of_b.sum(axis=0), of_a.sum(axis=0), of_b, of_a, critical)


def test_an_effect_whose_statistic_is_the_critical_value_is_not_rejected() -> None:
    assert accepted([1, 1, 1, 1], [0, 0, 0, 0], critical=4.0) == (LINE,)  # 4^2 / 4 for every theta
    assert accepted([1, 1, 1, 1], [0, 0, 0, 0], critical=3.9) == ()
    assert accepted([0, 0, 0, 0], [1, 1, 1, 1], critical=4.0) == (LINE,)


def test_pieces_that_meet_where_the_statistic_touches_the_critical_value_are_one() -> None:
    assert accepted([1, 1], [1, -1], critical=2.0) == (LINE,)  # 4 / (2 + 2 theta^2)
    ((below, end), (start, above)) = accepted([1, 1], [1, -1], critical=1.0)
    assert (below, end, start, above) == (-math.inf, pytest.approx(-1), pytest.approx(1), math.inf)


def test_pieces_meet_wherever_rounding_puts_the_point_of_contact() -> None:
    rng = np.random.default_rng(0)
    for b, a, theta in rng.uniform(0.5, 2.0, size=(200, 3)):
        of_b = b - theta * a * np.array([1.0, -1.0])  # 4 b^2 / (2 b^2 + 2 a^2 (t - theta)^2) at t
        assert accepted(list(of_b), [a, -a], critical=2.0) == (LINE,)
        apart = accepted(list(of_b), [a, -a], critical=2 - 1e-9)
        assert len(apart) == 2
        assert apart[1][0] - apart[0][1] == pytest.approx(math.sqrt(2e-9) * b / a, rel=1e-3)


@pytest.mark.parametrize(("unit", "of_a"), [(1.0, 1.0), *product((2.0**-40, 2.0**40), repeat=2)])
@pytest.mark.parametrize("shift", [-7.0, -1.0, 0.0, 0.4, 7.0])
@pytest.mark.parametrize("critical", [1.0, 2.5, 5.0])
def test_ends_are_roots_of_a_quadratic_equation_wherever_they_lie(
    critical: float, shift: float, unit: float, of_a: float
) -> None:
    a = np.array([-1.0, -0.5, -1.5, 0.5, -1.0])
    b = np.array([1.0, 0.25, -0.75, 0.5, -0.25]) - shift * a
    c2, c1, c0 = (critical * x @ y - x.sum() * y.sum() for x, y in ((a, a), (a, b), (b, b)))
    low, high = np.sort(np.roots([c2, 2 * c1, c0]).real)
    inside = critical * np.sum((b + 40 * a) ** 2) >= (b + 40 * a).sum() ** 2  # far away
    expected = [(-math.inf, low), (high, math.inf)] if inside else [(low, high)]
    if c1**2 < c2 * c0:
        expected = [LINE] if inside else []
    found = accepted(list(unit * b), list(of_a * a), critical)
    assert len(found) == len(expected)
    np.testing.assert_allclose(np.array(found) * of_a / unit, np.array(expected), rtol=1e-7)


def test_sums_are_by_cluster_and_the_critical_value_is_that_of_as_many_instruments_at_the_level() -> None:
    rng = np.random.default_rng(3)
    psi_b, psi_a = rng.normal(size=(2, 30, 2)) + np.array([0.3, -1.0])[:, None, None]
    cluster = np.arange(30) % 10
    for width in (1, 2):
        b, a = psi_b[:, :width], psi_a[:, :width]
        of_b, of_a = (np.array([each[cluster == c].sum(axis=0) for c in range(10)]) for each in (b, a))
        for level in (0.9, 0.95):
            critical = stats.chi2.ppf(level, width)
            expected = not_rejected(b.sum(axis=0), a.sum(axis=0), of_b, of_a, critical)
            said = {} if level == 0.95 else {"level": level}
            np.testing.assert_allclose(anderson_rubin(b, a, cluster, **said), expected, rtol=1e-9)
            units = np.array([1e9, 1e-9])[:width]  # of the instruments
            scaled = anderson_rubin(b * units, a * units, cluster, **said)
            np.testing.assert_allclose(scaled, expected, rtol=1e-7)


def test_the_critical_value_of_one_score_with_few_degrees_of_freedom_is_that_of_a_squared_t() -> None:
    b, a = np.random.default_rng(4).normal(size=(2, 12)) + np.array([[0.2], [-2.0]])
    for degrees, level in ((4.0, 0.95), (7.5, 0.9)):
        critical = stats.t.ppf((1 + level) / 2, degrees) ** 2
        expected = not_rejected(b.sum(keepdims=True), a.sum(keepdims=True), b[:, None], a[:, None], critical)
        found = anderson_rubin(b, a, np.arange(12), level, degrees)
        np.testing.assert_allclose(found, expected, rtol=1e-9)


@pytest.mark.parametrize(("seed", "pieces"), [(9, 2), (81, 2), (4, 2), (23, 3), (123, 3)])
def test_sets_of_two_instruments_in_any_number_of_pieces_are_where_the_statistic_is_small(
    seed: int, pieces: int
) -> None:
    of_b, of_a = np.random.default_rng(seed).integers(-4, 5, size=(2, 6, 2)).astype(float)
    found = not_rejected(of_b.sum(axis=0), of_a.sum(axis=0), of_b, of_a, 2.0)
    assert len(found) == pieces
    for theta in np.linspace(-20, 20, 801) + 1e-4:
        s = of_b + theta * of_a
        m = s.sum(axis=0)
        assert any(low <= theta <= high for low, high in found) == (m @ np.linalg.solve(s.T @ s, m) <= 2.0)


def test_only_two_pieces_that_reach_both_ways_are_everything_but_what_is_between() -> None:
    inf = math.inf
    assert "everything but the values from 1 to 2:" in in_words(((-inf, 1.0), (2.0, inf)))
    assert "is everything below 1 and from 2 to 3." in in_words(((-inf, 1.0), (2.0, 3.0)))
    assert "is from 0 to 1 and everything above 2." in in_words(((0.0, 1.0), (2.0, inf)))
    assert "is everything below 1." in in_words(((-inf, 1.0),))


def test_the_effective_f_is_the_mean_square_over_the_variance_in_the_instruments_own_measure() -> None:
    effect, cov = np.array([2.0, -1.0]), np.array([[0.5, 0.1], [0.1, 0.25]])
    gram = np.array([[3.0, 1.0], [1.0, 2.0]])
    mean = 4 * 3 + 2 * (2 * -1 * 1) + 1 * 2
    assert effective_f(effect, cov, gram) == pytest.approx(mean / (0.5 * 3 + 2 * 0.1 + 0.25 * 2))
    one, t = np.array([[7.0]]), 3.0 / 0.5
    assert effective_f(np.array([3.0]), np.array([[0.25]]), one) == pytest.approx(t**2)
    assert effective_f(effect, 1e-20 * cov, gram) == math.inf
    assert effective_f(0 * effect, 0 * cov, gram) == math.inf


@pytest.mark.parametrize(("f", "weak"), [(9.99, True), (10.0, False), (104.5, False)])
def test_instruments_are_weak_below_an_effective_f_of_ten(f: float, weak: bool) -> None:
    told = strength(f, "push and pull")
    assert told.startswith(f"First stage: the effective F of push and pull is {f:.3g} (Montiel Olea")
    assert ("It is weak (the effective F is below 10)" in told) == weak
    assert told.endswith("relied on." if weak else "2013).")
    assert "push say exactly who is treated and when" in strength(math.inf, "push").replace(
        "and the covariates ", ""
    )


def test_the_first_stage_is_a_ratio_in_each_draw_of_the_folds_with_its_error_by_cluster() -> None:
    rng = np.random.default_rng(5)
    size = rng.uniform(0.1, 4.0, size=(60, 3))
    moved = 0.6 * size + rng.normal(size=(60, 3))
    cluster = 5 * (np.arange(60) % 20)
    effect, influence = np.zeros(3), np.zeros(60)
    for r in range(3):
        effect[r] = moved[:, r].sum() / size[:, r].sum()
        influence += (moved[:, r] - effect[r] * size[:, r]) / size[:, r].sum() / 3
    error = math.sqrt(sum(influence[cluster == c].sum() ** 2 for c in np.unique(cluster)))
    mean = float(effect.mean())
    told = first_stage(moved, size, cluster, "a letter")
    start = "First stage: a letter moves the probability of treatment by"
    assert told == f"{start} {mean:.3g} (t = {mean / error:.1f})."
    down = first_stage(-moved, size, cluster, "a letter")
    assert down == f"{start} {-mean:.3g} (t = {-mean / error:.1f})."
    little = first_stage(moved - (effect - 2 * error) * size, size, cluster, "a letter")
    weak = UNRELIABLE.format("t squared")
    assert little == f"{start} {2 * error:.3g} (t = 2.0). {weak}"


@pytest.mark.parametrize("share", [1.0, -0.5, 0.0])
def test_what_moves_every_unit_alike_has_no_error(share: float) -> None:
    told = first_stage(np.full((8, 2), share), np.ones((8, 2)), np.arange(8), "a letter")
    assert told == f"First stage: a letter moves the probability of treatment by {share:.3g}, for every unit."
