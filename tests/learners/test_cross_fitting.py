"""Cross-fitting: who is learned from, what is the same whatever the processes, and what is looked up again."""

from __future__ import annotations

from functools import partial
from itertools import product

import numpy as np
import pytest
from scipy.optimize import minimize
from sklearn.base import BaseEstimator
from sklearn.ensemble import RandomForestRegressor
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.neighbors import KNeighborsRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import study.learners.nuisances as module
from study import QuestionError, settings
from study.designs.dml_panel import period_effects, unit_and_period_effects
from study.learners import group_means
from study.learners.named import refuse_unfit
from study.learners.nuisances import (
    Folds,
    Nuisance,
    cross_fit,
    draw_folds,
    ensemble_weights,
    places,
    share_alike,
)

EXACT = 1e-9
NEAREST = KNeighborsRegressor(1)


def rows(n: int = 60, periods: int = 4, seed: int = 0):
    """Return covariates, period, target, cluster and folds of n units seen in some periods each."""
    rng = np.random.default_rng(seed)
    cluster, period = (block.ravel() for block in np.indices((n, periods)))
    kept = rng.random(n * periods) < 0.9
    cluster, period = cluster[kept], period[kept]
    x = rng.normal(size=(len(cluster), 2))
    target = np.sin(2 * x[:, 0]) + 0.5 * period + rng.normal(size=len(cluster))
    return x, period, target, cluster, draw_folds(cluster, cluster % 3, 5, 2, seed)


def single(nuisance: Nuisance, seed: int = 0, **changed) -> np.ndarray:
    x, period, _, _, folds = rows()
    return cross_fit(x, period, {"target": nuisance}, changed.get("folds", folds), seed)["target"]


def test_no_row_is_predicted_by_a_learner_that_has_seen_its_cluster():
    x, period, _, cluster, folds = rows()
    twins = x.copy()
    twins[:] = x[np.unique(cluster, return_index=True)[1]][cluster]  # all rows of a cluster are alike
    label = cluster.astype(float)
    found = cross_fit(twins, 0 * period, {"label": Nuisance(label, NEAREST)}, folds, 0)["label"]
    assert not np.any(np.isclose(found, label[:, None]))


def test_with_one_fold_a_row_is_learned_from_and_predicted():
    x, period, target, cluster, _ = rows()
    whole = draw_folds(cluster, cluster, 1, 1, 0)
    found = cross_fit(x, period, {"target": Nuisance(target, NEAREST)}, whole, 0)["target"][:, 0]
    np.testing.assert_allclose(found, target, atol=EXACT)


@pytest.mark.parametrize("learner", [LinearRegression(), "linear", "lasso", "forest", "lightgbm"])
def test_a_fold_without_a_row_has_nothing_to_predict(learner):
    x, period, target, _, folds = rows()
    few = folds.of(folds.fold[:, 0] > 0)
    there = folds.fold[:, 0] > 0
    found = cross_fit(x[there], period[there], {"target": Nuisance(target[there], learner)}, few, 0)["target"]
    assert np.isfinite(found).all()


def test_predictions_are_those_of_a_loop_over_folds():
    x, period, target, _, folds = rows()
    among = x[:, 1] < 0.5
    found = cross_fit(x, period, {"target": Nuisance(target, LinearRegression(), among=among)}, folds, 0)[
        "target"
    ]
    expected = np.empty_like(found)
    for r, k in product(range(2), range(5)):
        out = folds.fold[:, r] == k
        train = ~out & among
        means = np.array([target[train & (period == t)].mean() for t in range(4)])[period]
        z = np.column_stack([x, period])
        model = LinearRegression().fit(z[train], (target - means)[train])
        expected[out, r] = means[out] + model.predict(z[out])
    np.testing.assert_allclose(found, expected, atol=EXACT)


def test_without_covariates_a_mean_is_the_periods_and_a_probability_the_share():
    x, period, target, _, folds = rows()
    none, marked = x[:, :0], 1.0 * (target > 0)
    asked = {"mean": Nuisance(target, "lasso"), "share": Nuisance(marked, "lasso", "probability")}
    found = cross_fit(none, period, asked, folds, 0)
    out = folds.fold[:, 0] == 2
    for t in range(4):
        here = out & (period == t)
        assert found["mean"][here, 0] == pytest.approx(target[~out & (period == t)].mean(), abs=EXACT)
    assert found["share"][out, 0] == pytest.approx(marked[~out].mean(), abs=EXACT)


def test_folds_hold_whole_clusters_and_every_stratum_evenly():
    cluster, stratum = np.repeat(np.arange(40), 3), np.repeat(np.arange(40) % 4, 3)
    folds = draw_folds(cluster, stratum, 5, 3, seed=4)
    for fold in folds.fold.T:
        assert all(len(np.unique(fold[cluster == c])) == 1 for c in range(40))
        for s in range(4):
            counts = np.bincount(fold[stratum == s], minlength=5) // 3
            assert counts.max() - counts.min() <= 1
    assert not np.array_equal(folds.place[:, 0], folds.place[:, 1])


def test_a_cluster_belongs_to_the_least_of_its_rows_strata():
    place = places(np.array([0, 0, 1, 2]), np.array([3, 0, 1, 2]), np.random.default_rng(0))
    assert list(place) == [0, 0, 1, 2]


LEARNED = {
    "forest": Nuisance(rows()[2], "forest"),
    "ensemble": Nuisance(rows()[2], "ensemble"),
    "probability": Nuisance(1.0 * (rows()[2] > 0), "ensemble", "probability"),
    "estimator": Nuisance(rows()[2], make_pipeline(StandardScaler(), RandomForestRegressor(5))),
}


@pytest.mark.parametrize("name", LEARNED)
def test_numbers_do_not_depend_on_processes_and_the_global_seed_is_not_touched(name):
    before = np.random.get_state()[1].copy()  # noqa: NPY002 (the global generator is what is tested)
    cluster = rows()[3]
    folds = draw_folds(cluster, cluster % 3, 2, 1, seed=0)
    alone = single(LEARNED[name], folds=folds)
    with settings(jobs=2):
        together = single(LEARNED[name], folds=folds)
    assert np.array_equal(alone, together)
    assert np.array_equal(before, np.random.get_state()[1])  # noqa: NPY002 (as above)
    assert np.isfinite(alone).all()


@pytest.mark.parametrize("name", ["forest", "estimator"])
def test_another_seed_gives_a_learner_that_draws_other_draws(name):
    cluster = rows()[3]
    folds = draw_folds(cluster, cluster % 3, 2, 1, seed=0)
    assert not np.array_equal(*(single(LEARNED[name], seed=seed, folds=folds) for seed in (0, 1)))


def test_what_was_learned_is_looked_up_by_content(tmp_path, monkeypatch):
    x, period, target, _, folds = rows()
    asked = {"target": Nuisance(target, "lightgbm")}
    calls = []
    original = module.learned
    monkeypatch.setattr(module, "learned", lambda *a: calls.append(1) or original(*a))
    with settings(cache=tmp_path):
        first = cross_fit(x, period, asked, folds, 0)
        assert len(calls) == 10
        again = cross_fit(x, period, asked, folds, 0)
        assert len(calls) == 10
        cross_fit(x, period, {"target": Nuisance(target + 1e-6, "lightgbm")}, folds, 0)
        assert len(calls) == 20
        monkeypatch.setattr(module, "code_of_learners", lambda: "another version")
        cross_fit(x, period, asked, folds, 0)
        assert len(calls) == 30
    assert np.array_equal(first["target"], again["target"])
    assert np.array_equal(first["target"], cross_fit(x, period, asked, folds, 0)["target"])


def test_an_interrupted_run_goes_on_where_it_stopped(tmp_path, monkeypatch):
    x, period, target, _, folds = rows()
    asked = {"target": Nuisance(target, "lightgbm")}
    original, calls = module.learned, []

    def interrupted(*a):
        if len(calls) == 4:
            raise KeyboardInterrupt
        calls.append(1)
        return original(*a)

    monkeypatch.setattr(module, "learned", interrupted)
    with settings(cache=tmp_path), pytest.raises(KeyboardInterrupt):
        cross_fit(x, period, asked, folds, 0)
    calls = []
    monkeypatch.setattr(module, "learned", lambda *a: calls.append(1) or original(*a))
    with settings(cache=tmp_path):
        cross_fit(x, period, asked, folds, 0)
    assert len(calls) == 6


def test_progress_is_told_of_every_fit():
    told = []
    with settings(progress=told.append):
        single(Nuisance(rows()[2], "linear"))
    assert len(told) == 10
    assert told[-1] == "target, draw 2 of 2"


def test_the_ensemble_is_a_weighted_mean_that_predicts_no_worse_than_its_learners():
    x, period, target, cluster, _ = rows(200)
    folds = draw_folds(cluster, cluster % 3, 2, 1, seed=0)
    names = ("lasso", "forest", "lightgbm", "ensemble")
    found = {n: cross_fit(x, period, {"t": Nuisance(target, n)}, folds, 0)["t"] for n in names}
    loss = {name: np.mean((target - made[:, 0]) ** 2) for name, made in found.items()}
    assert loss["ensemble"] <= min(loss[name] for name in ("lasso", "forest", "lightgbm")) * 1.001
    parts = np.column_stack([found[name][:, 0] for name in ("lasso", "forest", "lightgbm")])
    known = cross_fit(x[:, :0], period, {"t": Nuisance(target, "linear")}, folds, 0)["t"]
    weights = ensemble_weights(target - known[:, 0], parts - known)
    assert weights.min() >= 0
    assert weights.sum() == pytest.approx(1)
    np.testing.assert_allclose(found["ensemble"][:, 0], parts @ weights, atol=EXACT)


def test_constants_of_periods_move_no_weight_of_the_ensemble():
    _, period, target, *_ = rows()
    constants = 1e3 * np.cos(period)
    low, high = (single(Nuisance(y, "ensemble")) for y in (target, target + constants))
    np.testing.assert_allclose(high - constants[:, None], low, atol=1e-6)


def test_weights_of_the_ensemble_are_least_squares_with_no_negative_one():
    rng = np.random.default_rng(3)
    target = rng.normal(size=300)
    parts = np.column_stack([target + rng.normal(size=300), target + 2 * rng.normal(size=300), -target])
    centred, goal = parts - target.mean(), target - target.mean()
    best = minimize(
        lambda w: np.sum((goal - centred @ w) ** 2), np.full(3, 0.3), bounds=[(0, None)] * 3, tol=1e-14
    ).x
    np.testing.assert_allclose(ensemble_weights(target, parts), best / best.sum(), atol=1e-5)
    assert ensemble_weights(target, -parts[:, :2] * 10) == pytest.approx([0.5, 0.5])


@pytest.mark.parametrize(
    ("learner", "kind", "message"),
    [
        ("forrest", "mean", 'there is no learner "forrest". Did you mean "forest"'),
        (LinearRegression(), "probability", "which has no predict_proba, so it cannot learn the propensity"),
        (StandardScaler(), "mean", "which has no predict, so it cannot learn the mean of an outcome"),
        (3, "mean", "learner is 3, which has no fit"),
    ],
)
def test_a_learner_that_cannot_do_it_is_refused_in_one_line(learner, kind, message):
    with pytest.raises(QuestionError) as error:
        refuse_unfit("dml_irm", "learner", learner, kind)
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_any_classifier_learns_a_propensity():
    refuse_unfit("dml_irm", "propensity", LogisticRegression(), "probability")
    found = single(Nuisance(1.0 * (rows()[2] > 0), LogisticRegression(), "probability"))
    assert np.all((found > 0) & (found < 1))


class Stub(BaseEstimator):
    """An estimator that predicts what it is told, in the shape that it is told."""

    def __init__(self, value=0.0, shape=()):
        self.value, self.shape = value, shape

    def fit(self, x, y):
        return self

    def predict(self, x):
        return np.full((len(x), *self.shape), self.value)

    def predict_proba(self, x):
        return np.column_stack([1 - self.predict(x), self.predict(x)])


@pytest.mark.parametrize(
    ("learner", "kind", "message"),
    [
        (Stub(np.nan), "mean", r"from nan to nan; it has to give one finite number a row\."),
        (Stub(0.0, (1,)), "mean", r"of shape \(\d+, 1\)"),
        (Stub(1.3), "probability", r"from 1.3 to 1.3; .* between 0 and 1"),
        (Stub(np.nan), "probability", "from nan to nan"),
        (KNeighborsRegressor(500), "mean", r"fails to learn a mean from \d+ rows .*Expected n_neighbors <="),
    ],
)
def test_predictions_that_are_none_are_refused(learner, kind, message):
    target = rows()[2]
    with pytest.raises(QuestionError, match=message):
        single(Nuisance(target if kind == "mean" else 1.0 * (target > 0), learner, kind))


def test_period_effects_are_those_of_a_regression_on_dummies():
    _, period, target, unit, folds = rows()
    train = folds.fold[:, 0] != 1
    dummies = np.column_stack(
        [unit[train, None] == np.unique(unit[train]), period[train, None] == np.arange(1, 4)]
    )
    dense = np.linalg.lstsq(1.0 * dummies, target[train], rcond=None)[0][-3:]
    effects = period_effects(target, period, train, unit)
    ours = np.array([effects[period == t][0] for t in range(4)])
    np.testing.assert_allclose(ours[1:] - ours[0], dense, atol=EXACT)
    left = target - unit_and_period_effects(target, period, train, unit)
    np.testing.assert_allclose(group_means(left, unit), 0, atol=EXACT)
    fitted = 1.0 * dummies @ np.linalg.lstsq(1.0 * dummies, target[train], rcond=None)[0]
    np.testing.assert_allclose(left[train], target[train] - fitted, atol=EXACT)


def test_unit_effects_do_not_pass_through_the_centre():
    x, period, target, unit, folds = rows()
    centre = partial(unit_and_period_effects, unit=unit)
    plain, moved = (
        cross_fit(x, period, {"t": Nuisance(y, "linear", centre=centre)}, folds, 0)["t"]
        for y in (target, target + 100.0 * unit)
    )
    np.testing.assert_allclose(moved - plain, 100.0 * unit[:, None] * np.ones(2), atol=1e-6)


def test_folds_that_leave_nothing_out_have_one_fold():
    whole = Folds(np.arange(6)[:, None], 1)
    train, asked = whole.masks(0, 0)
    assert train.all()
    assert asked.all()


def test_units_that_are_alike_are_those_of_the_sides_that_an_effect_reweights():
    d, m = np.array([1, 1, 0, 0]), np.array([[0.5, 0.5], [0.5, 0.5], [1e-15, 0.5], [1e-15, 0.5]])
    x = np.array([[0.0], [2.0], [1.0], [3.0]])
    assert share_alike(d, m, x, both=False) == pytest.approx(0)  # in the first draw
    assert share_alike(d, m, x, both=True) == pytest.approx(0.5)
    assert share_alike(d, m[:, 1:], x, both=False) == 1
    for apart in (x + 4 * d[:, None], x - 4 * d[:, None]):
        assert share_alike(d, m[:, 1:], apart, both=False) == 0
