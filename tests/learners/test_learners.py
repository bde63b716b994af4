"""Learners by themselves: what they minimise, what does not move them, and what they do with too little."""

from __future__ import annotations

from importlib import import_module

import numpy as np
import pytest
from scipy.optimize import minimize
from scipy.special import expit
from sklearn.linear_model import lasso_path

from study.learners import forest, group_means
from study.learners.forest import by_library, by_tree, forest_predictions
from study.learners.named import (
    LEARNERS,
    PENALTIES,
    Problem,
    dictionary,
    indices,
    learned,
    logit_path,
    orthogonal,
    tuning_splits,
)

EVERY = [(kind, name) for kind, names in LEARNERS.items() for name in names]


def problem(kind: str, n: int = 400, seed: int = 0, **changed) -> Problem:
    rng = np.random.default_rng(seed)
    x, period = rng.normal(size=(n, 3)), np.arange(n) % 2
    signal = np.sin(2 * x[:, 0]) + x[:, 1] * period
    target = signal + 0.3 * rng.normal(size=n)
    if kind == "probability":
        target = 1.0 * (rng.random(n) < expit(2 * signal))
    train = np.arange(n) < 3 * n // 4
    made = Problem(x, period, target, rng.permutation(n), train, ~train, seed)
    return made._replace(**changed)


@pytest.mark.parametrize("penalty", [60.0, 20.0, 1.0])
def test_a_penalised_logit_meets_the_conditions_of_its_minimum(penalty):
    made = problem("probability")
    x, y = made.x, made.target
    constant, *slopes = logit_path(x, y, np.array([80.0, penalty]))[-1]
    error = y - expit(indices(x, np.array([[constant, *slopes]]))[0])
    assert error.sum() == pytest.approx(0, abs=1e-7)
    for slope, pull in zip(slopes, x.T @ error, strict=True):
        if slope:
            assert pull == pytest.approx(np.sign(slope) * penalty, abs=1e-6)
        else:
            assert abs(pull) <= penalty + 1e-6


def test_without_penalty_it_is_maximum_likelihood():
    made = problem("probability")
    x = np.column_stack([np.ones(len(made.x)), made.x])
    best = minimize(lambda b: np.logaddexp(0, x @ b).sum() - made.target @ x @ b, np.zeros(4), tol=1e-12).x
    np.testing.assert_allclose(logit_path(made.x, made.target, np.array([1e-3]))[0], best, atol=1e-4)


@pytest.mark.parametrize(("kind", "name"), EVERY)
def test_a_learner_finds_what_there_is_to_find(kind, name):
    made = problem(kind, n=2_000)
    found, truth = learned(made, name, kind), made.target[made.test]
    share = made.target[made.train].mean()
    assert np.mean((truth - found) ** 2) < 0.95 * np.mean((truth - share) ** 2)
    if kind == "probability":
        assert np.all((found >= 0) & (found <= 1))


@pytest.mark.parametrize(("kind", "name"), EVERY)
def test_targets_of_rows_that_are_predicted_are_not_looked_at(kind, name):
    made = problem(kind)
    moved = np.where(made.test, 1 - made.target, made.target)
    assert np.array_equal(learned(made, name, kind), learned(made._replace(target=moved), name, kind))


@pytest.mark.parametrize("name", LEARNERS["mean"])
def test_predictions_have_the_units_of_the_target(name):
    made = problem("mean")
    scaled = learned(made._replace(target=1e4 * made.target), name, "mean")
    np.testing.assert_allclose(scaled, 1e4 * learned(made, name, "mean"), rtol=1e-5, atol=1e-2)


@pytest.mark.parametrize(("kind", "name"), EVERY)
@pytest.mark.parametrize(("factor", "constant"), [(1e-36, 0.0), (1e-200, 0.0), (1e300, 0.0), (1.0, 1e8)])
def test_covariates_may_be_tiny_huge_or_far_from_zero(kind, name, factor, constant):
    made = problem(kind)
    moved = learned(made._replace(x=constant + factor * made.x), name, kind)
    np.testing.assert_allclose(moved, learned(made, name, kind), atol=1e-3)


def test_least_squares_is_by_period():
    made = problem("mean")
    found = learned(made, "linear", "mean")
    for t in (0, 1):
        train, asked = made.train & (made.period == t), made.test & (made.period == t)
        x = np.column_stack([np.ones(len(made.x)), made.x])
        expected = x[asked] @ np.linalg.lstsq(x[train], made.target[train], rcond=None)[0]
        np.testing.assert_allclose(found[made.period[made.test] == t], expected, atol=1e-9)


@pytest.mark.filterwarnings("error")
def test_a_logit_takes_constant_and_repeated_covariates_as_if_they_were_not_there():
    made = problem("probability")
    more = made._replace(x=np.column_stack([made.x, np.ones(len(made.x)), 2 * made.x[:, 0]]))
    plain, found = (learned(each, "linear", "probability") for each in (made, more))
    np.testing.assert_allclose(found, plain, atol=1e-6)


@pytest.mark.parametrize("kind", LEARNERS)
def test_a_covariate_that_no_training_row_has_moves_no_prediction(kind):
    made = problem(kind)
    rare = np.flatnonzero(made.test)[0] == np.arange(len(made.x))
    more = made._replace(x=np.column_stack([made.x, rare]))
    plain, found = (learned(each, "linear", kind) for each in (made, more))
    np.testing.assert_allclose(found, plain, atol=1e-6)


@pytest.mark.parametrize("kind", LEARNERS)
def test_a_lasso_has_more_terms_than_rows(kind):
    made = problem(kind, n=60)
    wide = made._replace(x=np.random.default_rng(1).normal(size=(60, 12)))
    assert dictionary(wide.x, wide.period).shape[1] > wide.train.sum()
    assert np.isfinite(learned(wide, "lasso", kind)).all()


def test_terms_are_covariates_their_products_and_what_each_has_of_its_own_after_the_first_period():
    made = problem("mean", n=30)._replace(period=np.arange(30) % 3)
    z = (made.x - made.x.mean(axis=0)) / made.x.std(axis=0)
    products = [z[:, j] * z[:, k] for j in range(3) for k in range(j, 3)]
    own = [z[:, j] * (made.period == t) for j in range(3) for t in (1, 2)]
    np.testing.assert_allclose(dictionary(made.x, made.period), np.column_stack([z, *products, *own]))


@pytest.mark.parametrize(("share", "kept"), [(3e-6, 4), (3e-7, 3)])
def test_a_term_is_repeated_if_a_millionth_of_it_is_its_own(share, kept):
    made = problem("mean")
    ours = made.x[:, 0] + share * np.random.default_rng(1).normal(size=len(made.x))
    assert orthogonal(np.column_stack([made.x, ours]), made.train).shape[1] == kept


def test_terms_are_orthogonal_over_the_training_rows_and_repeated_ones_are_left_out():
    made = problem("mean")
    terms = np.column_stack([made.x, made.x[:, 0] + made.x[:, 1]])
    found = orthogonal(terms, made.train)
    assert found.shape[1] == 3
    np.testing.assert_allclose(
        found[made.train].T @ found[made.train] / made.train.sum(), np.eye(3), atol=1e-9
    )


@pytest.mark.parametrize("last", [199, 60], ids=["folds of one size", "one large cluster"])
def test_a_lasso_has_the_penalty_that_predicts_rows_best_that_it_has_not_seen(last: int):
    made = problem("mean", n=200, seed=3)
    made = made._replace(order=np.minimum(made.order, last))
    terms = dictionary(made.inside, made.period)
    terms = orthogonal(terms - group_means(terms, made.period, made.train), made.train)
    x, y = terms[made.train], made.target[made.train]
    penalties = np.abs(x.T @ y).max() / len(x) * PENALTIES
    error = np.zeros(len(penalties))
    for learn, judge in tuning_splits(made.order, made.train):
        paths = lasso_path(x[learn], y[learn], alphas=penalties, precompute=x[learn].T @ x[learn])[1]
        error += np.mean((x[judge] @ paths - y[judge][:, None]) ** 2, axis=0)
    assert 0 < error.argmin() < len(error) - 1
    chosen = lasso_path(x, y, alphas=penalties[[error.argmin()]], precompute=x.T @ x)[1][:, 0]
    np.testing.assert_allclose(learned(made, "lasso", "mean"), terms[made.test] @ chosen, rtol=1e-9)


@pytest.mark.parametrize("kind", LEARNERS)
def test_of_one_cluster_a_lasso_predicts_what_is_known_without_covariates(kind):
    made = problem(kind)
    alone = made._replace(order=np.where(made.train, 0, 1))
    known = 0.0 if kind == "mean" else made.target[made.train].mean()
    np.testing.assert_array_equal(learned(alone, "lasso", kind), known)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("kind", LEARNERS)
def test_a_forest_of_few_rows_warns_of_nothing(kind):
    made = problem(kind, n=20)
    assert np.isfinite(learned(made, "forest", kind)).all()


def test_means_of_groups_are_over_some_rows_and_zero_without_any():
    values, group = np.array([1.0, 2.0, 6.0, 5.0, 9.0]), np.array([0, 1, 1, 2, 2])
    among = np.array([True, True, True, False, False])
    np.testing.assert_array_equal(group_means(values, group), [1, 4, 4, 7, 7])
    np.testing.assert_array_equal(group_means(values, group, among), [1, 4, 4, 0, 0])
    both = np.column_stack([values, -values])
    np.testing.assert_array_equal(group_means(both, group)[:, 1], [-1, -4, -4, -7, -7])


def test_a_propensity_that_nothing_explains_is_the_share():
    made = problem("probability")
    flat = made._replace(x=np.ones_like(made.x))
    share = made.target[made.train].mean()
    np.testing.assert_allclose(learned(flat, "lasso", "probability"), share, atol=1e-9)


@pytest.mark.parametrize("kind", LEARNERS)
def test_a_forest_grown_by_tree_is_the_librarys_to_the_last_digit(kind):
    made = problem(kind)
    x, y = made.features[made.train], made.target[made.train]
    own, theirs = (grow(kind, x, y, made.features, 7) for grow in (by_tree, by_library))
    np.testing.assert_array_equal(own, theirs)
    np.testing.assert_array_equal(forest_predictions(kind, x, y, made.features, 7), theirs)


@pytest.mark.parametrize("change", ["absent", "otherwise"])
@pytest.mark.parametrize("kind", LEARNERS)
def test_where_the_library_has_no_such_trees_or_others_inside_its_forest_grows_them(
    kind, change, monkeypatch
):
    inside = import_module("sklearn.tree._tree")
    if change == "absent":
        monkeypatch.delattr(inside, "DepthFirstTreeBuilder")
    else:  # the smallest leaf is twice what is asked for
        builder = inside.DepthFirstTreeBuilder
        monkeypatch.setattr(
            inside,
            "DepthFirstTreeBuilder",
            lambda splitter, split, leaf, *rest: builder(splitter, 2 * split, 2 * leaf, *rest),
        )
    forest.grow_alike.cache_clear()
    made = problem(kind)
    x, y = made.features[made.train], made.target[made.train]
    theirs = by_library(kind, x, y, made.features, 7)
    np.testing.assert_array_equal(forest_predictions(kind, x, y, made.features, 7), theirs)
    assert not forest.grow_alike(kind)
    forest.grow_alike.cache_clear()


@pytest.mark.parametrize("kind", LEARNERS)
@pytest.mark.parametrize("name", ["lasso", "forest", "lightgbm"])
def test_a_row_beyond_all_that_were_seen_is_predicted_as_the_nearest(kind, name):
    made = problem(kind)
    far, edge = made.x.copy(), made.x.copy()
    far[made.test], edge[made.test] = 1e3, made.x[made.train].max(axis=0)
    found, expected = (learned(made._replace(x=x), name, kind) for x in (far, edge))
    np.testing.assert_allclose(found, expected, atol=1e-6)
    assert np.abs(found).max() < 2 * np.abs(made.target).max()
