"""The regression on wide arrays against regressions with a column for every dummy."""

from __future__ import annotations

from dataclasses import dataclass

import dense
import numpy as np
import pytest

from study.core.errors import QuestionError
from study.core.fixed_effects import Terms, by_feature, period_effects, refuse_unidentified, regress

N, T, G, K = 50, 6, 3, 3


@dataclass
class Case:
    """An outcome, who is in which group, and regressors of all kinds."""

    y: np.ndarray
    rows: list[np.ndarray]
    terms: Terms
    weights: np.ndarray
    features: np.ndarray | None
    varying: np.ndarray | None

    def fit(self, **options: object):
        return regress(
            self.y.copy(),
            self.rows,
            self.terms,
            self.weights,
            features=self.features,
            varying=self.varying,
            **options,
        )


def case(gaps: float = 0.0, f: int = 1, q: int = 0, family: str = "gaussian", seed: int = 0) -> Case:
    """Return a case whose first five units are in no group, whose next one is never seen."""
    rng = np.random.default_rng(seed)
    rows = [np.arange(5, 20), np.arange(20, 21), np.arange(21, N)]
    features = np.column_stack([np.ones(N), rng.normal(size=(N, f - 1))])
    varying = rng.normal(size=(N, T, q))
    effects = by_feature(rng.normal(size=(G, T, K)), f)
    nuisance = by_feature(period_effects(G, T), f)
    y = rng.normal(size=(N, 1)) + rng.normal(size=(N, T)) + 0.1 * np.arange(T)
    if family == "poisson":
        y = 1.0 + rng.poisson(np.exp(0.5 * y))
    y[rng.random(y.shape) < gaps] = np.nan
    if gaps:
        y[5] = np.nan
        varying[rng.random(varying.shape) < gaps / 4] = np.nan
    weights = rng.uniform(0.5, 2.0, size=N)
    return Case(
        y, rows, Terms(effects, nuisance), weights, features if f > 1 else None, varying if q else None
    )


def long(made: Case, unit_effects: bool) -> tuple[dense.Rows, np.ndarray, np.ndarray]:
    """Return the cells in use, the columns of effects and varying regressors, and all other columns."""
    features = np.ones((N, 1)) if made.features is None else made.features
    varying = np.empty((N, T, 0)) if made.varying is None else made.varying
    f, group = features.shape[1], np.full(N, -1)
    for g, members in enumerate(made.rows):
        group[members] = g
    seen = ~np.isnan(made.y) & ~np.isnan(varying).any(axis=2) & (group >= 0)[:, None]
    at, effects, others = dense.Rows(*np.nonzero(seen)), [], []
    for i, t in zip(*at, strict=True):
        of_cell = [a * T + t for a in range(f)]
        effects.append(features[i] @ made.terms.effects[group[i], of_cell])
        others.append(features[i] @ made.terms.nuisance[group[i], of_cell])
    columns = np.array(others)
    if unit_effects:  # which explain what the first period's columns would
        columns = np.hstack([dense.dummies(at.unit), columns[:, f:]])
    return at, np.hstack([np.array(effects), varying[at]]), columns


@pytest.mark.parametrize("unit_effects", [True, False])
@pytest.mark.parametrize("gaps", [0.0, 0.2])
@pytest.mark.parametrize(("f", "q"), [(1, 0), (1, 2), (3, 0), (2, 1)])
@pytest.mark.parametrize("family", ["gaussian", "poisson"])
def test_equals_a_regression_on_dummies(family: str, f: int, q: int, gaps: float, unit_effects: bool) -> None:
    made = case(gaps, f, q, family)
    ours = made.fit(unit_effects=unit_effects, family=family)
    at, effects, others = long(made, unit_effects)
    slow = dense.poisson if family == "poisson" else dense.least_squares
    theirs = slow(made.y[at], effects, others, made.weights[at.unit], at.unit)
    assert ours.identified.all()
    assert ours.null.shape == (K * f + q, 0)
    np.testing.assert_allclose(ours.coefficient, theirs.effect, rtol=0, atol=1e-9)
    covariance = ours.influence.products(np.arange(N)) / N**2
    np.testing.assert_allclose(covariance, theirs.covariance, rtol=1e-7, atol=1e-10)
    assert ours.n_obs == theirs.n_obs
    assert ours.df_k == theirs.rank - unit_effects * (len(np.unique(at.unit)) - 1)
    assert ours.n_fixed_effects == unit_effects * len(np.unique(at.unit))
    assert (ours.equations is None) == (family == "poisson")
    y, weights = made.y[at], made.weights[at.unit]
    total = weights @ (y - np.average(y, weights=weights)) ** 2
    explained = 1 - weights @ (y - theirs.fitted) ** 2 / total
    assert ours.r_squared == pytest.approx(np.nan if family == "poisson" else explained, nan_ok=True)
    residual = np.zeros((N, T))
    for members, error in zip(made.rows, ours.residual, strict=True):
        residual[members] = error
    expected = np.zeros((N, T))
    expected[at] = made.y[at] - theirs.fitted
    np.testing.assert_allclose(residual, expected, rtol=0, atol=1e-8)


@pytest.mark.parametrize("family", ["gaussian", "poisson"])
def test_units_of_no_group_have_no_influence(family: str) -> None:
    made = case(f=2, q=1, family=family)
    influence = made.fit(family=family).influence.dense()
    assert np.all(influence[:5] == 0)
    assert np.all(influence[21:] != 0)


@pytest.mark.parametrize("family", ["gaussian", "poisson"])
def test_a_regressor_given_twice_has_no_coefficient_but_the_sum_of_both_has(family: str) -> None:
    made = case(gaps=0.1, family=family)
    once = made.fit(family=family)
    effects = made.terms.effects
    made.terms = made.terms._replace(effects=np.concatenate([effects, effects[:, :, :1]], axis=2))
    twice = made.fit(family=family)
    assert list(twice.identified) == [False, True, True, False]
    (direction,) = twice.null.T
    np.testing.assert_allclose(direction * np.sign(direction[0]), [1, 0, 0, -1], rtol=0, atol=1e-9)
    total = np.array([[1.0, 0, 0], [0, 1, 0], [0, 0, 1], [1, 0, 0]])
    np.testing.assert_allclose(twice.coefficient @ total, once.coefficient, rtol=0, atol=1e-8)
    np.testing.assert_allclose((twice.influence @ total).dense(), once.influence.dense(), rtol=0, atol=1e-7)
    assert twice.df_k == once.df_k


@pytest.mark.parametrize("unit_effects", [True, False])
@pytest.mark.parametrize("family", ["gaussian", "poisson"])
def test_what_fixed_effects_explain_is_reported_as_not_identified(family: str, unit_effects: bool) -> None:
    made = case(gaps=0.1, family=family)
    of_unit = np.random.default_rng(1).normal(size=(N, 1)) + np.zeros(T)
    of_period = np.zeros((N, 1)) + np.arange(T) ** 2.0
    made.varying = np.stack([of_unit, of_period, of_unit * of_period], axis=2)
    fit = made.fit(family=family, unit_effects=unit_effects)
    assert list(fit.identified) == [True] * K + [not unit_effects, False, True]


@pytest.mark.parametrize("scale", [1e-8, 1e8])
def test_the_scale_of_a_regressor_does_not_decide_whether_it_is_identified(scale: float) -> None:
    made = case(gaps=0.1, q=1)
    before = made.fit()
    made.varying = made.varying * scale
    after = made.fit()
    assert after.identified.all()
    np.testing.assert_allclose(after.coefficient[-1] * scale, before.coefficient[-1], rtol=1e-9)


@pytest.mark.parametrize("family", ["gaussian", "poisson"])
def test_the_level_of_a_regressor_does_not_decide_whether_it_is_identified(family: str) -> None:
    made = case(gaps=0.1, q=1, family=family)
    before = made.fit(family=family)
    made.varying = made.varying + 1e6 * np.arange(N)[:, None, None]
    after = made.fit(family=family)
    assert after.identified.all()
    np.testing.assert_allclose(after.coefficient, before.coefficient, rtol=1e-6)
    assert before.equations is None or after.equations.root.shape == before.equations.root.shape
    of_unit = np.random.default_rng(1).normal(size=(N, 1))
    made.varying = np.exp(of_unit + 0.1 * np.arange(T) - 0.1 * np.arange(T))[
        :, :, None
    ]  # constant but for rounding
    assert np.ptp(made.varying, axis=1).max() > 0
    assert list(made.fit(family=family).identified) == [True] * K + [False]


def test_a_poisson_regression_whose_likelihood_has_no_maximum_is_refused() -> None:
    made = case(family="poisson")
    made.y[made.rows[0], 3] = 0.0
    cell = np.zeros((G, T, 1))
    cell[0, 3] = 1.0
    made.terms = Terms(cell, made.terms.nuisance)
    with pytest.raises(QuestionError, match="Poisson regression: the likelihood has no maximum") as error:
        made.fit(family="poisson")
    assert "\n" not in str(error.value)


def test_regressors_that_are_not_identified_are_refused_by_name() -> None:
    names = ("age", "size", "rank")
    refuse_unidentified(names, np.array([True, True, True]))
    with pytest.raises(QuestionError, match=r"^Regression: size is explained by .*; leave it out\.$"):
        refuse_unidentified(names, np.array([True, False, True]))
    with pytest.raises(
        QuestionError,
        match=r"^Regression: age, size are explained by .*; leave one out, or all that do not change over time",
    ):
        refuse_unidentified(names, np.array([False, False, True]))


def test_a_poisson_likelihood_without_a_maximum_is_refused_and_does_not_pass_for_converged() -> None:
    # Of unit 0 the first period is zero, of unit 1 the third; unit 2 ties the two together.
    y = np.array([[0.0, 3.0, np.nan], [np.nan, 4.0, 0.0], [2.0, np.nan, 1.0]])
    terms = Terms(period_effects(1, 3), np.empty((1, 3, 0)))
    with pytest.raises(QuestionError, match="the likelihood has no maximum"):
        regress(y, [np.arange(3)], terms, np.ones(3), family="poisson")
