"""dml_panel against doubleml itself, plain numpy and known truths, on panels simulated here."""

from __future__ import annotations

import sys
from functools import cache

import numpy as np
import pandas as pd
import pytest
import searching
from scipy import stats
from sklearn.linear_model import Ridge

from study.core.errors import QuestionError
from study.designs import estimate
from study.designs.dml_panel import changes
from study.learners.named import ONE_THREAD, PENALTIES, SINGLE_PRECISION, TREES, TUNING_FOLDS, dictionary
from study.learners.nuisances import places
from study.panel.panel import Panel
from study.panel.question import Question

LEARNERS = ("lasso", "lightgbm")
EXACT = 1e-9
FOLDS = 5


def long_table(
    seed: int = 0,
    n: int = 40,
    periods: int = 6,
    effect: float = 0.859,
    boom: float = 0.0,
    confounded: float = 0.0,
    missing: float = 0.0,
) -> pd.DataFrame:
    """Simulate a staggered panel with random-walk errors and a constant effect.

    Adoption and trends share f(x) where ``confounded``; a ``boom`` in period 4 lifts all outcomes and adoption.
    """
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, 2))
    f = 1.0 * (np.abs(x[:, 0]) > 1) + 1.0 * (x[:, 1] > 0.5)
    hazard = 0.03 + 0.1 * f if confounded else np.full(n, 0.12)
    chance = hazard[:, None] * np.where((np.arange(periods) == 3) & (boom > 0), 4, 1)
    adopts = rng.random((n, periods)) < chance
    adopts[:, 0] = False
    first = np.where(adopts.any(axis=1), adopts.argmax(axis=1) + 1.0, np.nan)
    time = np.arange(1, periods + 1)
    treated = time >= np.where(np.isnan(first), np.inf, first)[:, None]
    y = (
        rng.normal(scale=3, size=(n, 1))
        + np.cumsum(rng.normal(size=periods))
        + boom * (time >= 4)
        + confounded * f[:, None] * time
        + effect * treated
        + np.cumsum(rng.normal(size=(n, periods)), axis=1)
    )
    table = pd.DataFrame(
        {
            "unit": np.repeat([f"u{i:03d}" for i in range(n)], periods),
            "time": np.tile(time, n),
            "first": np.repeat(first, periods),
            "y": y.ravel(),
            "x1": np.repeat(x[:, 0], periods),
            "x2": np.repeat(x[:, 1], periods),
            "x3": rng.normal(size=n * periods) + 0.3 * y.ravel(),
            "state": np.repeat(np.arange(n) % 10, periods),
        }
    )
    return table[rng.random(len(table)) >= missing]


def panel(table: pd.DataFrame, **event: str) -> Panel:
    return Panel.from_long(
        table,
        unit="unit",
        time="time",
        outcomes="y",
        covariates=["x1", "x2", "x3"],
        attributes="state",
        **(event or {"first_treated": "first"}),
    )


def ask(event: str = "first", *covariates: str, **fields) -> Question:
    return Question("y", event, covariates=covariates, **fields)


def rows_and_folds(sample, seed: int = 0):
    """Return the sample's differences and, by row, cluster and place of the first repetition."""
    rows = changes(sample)
    cluster = sample.cluster[rows.unit]
    return rows, cluster, places(cluster, np.where(rows.moves, 0, 1), np.random.default_rng(seed).spawn(1)[0])


def without_period_means(values, period, train):
    """Take out period means of the training rows, with pandas."""
    frame = pd.DataFrame(values)
    means = frame[train].groupby(period[train]).mean()
    return frame.to_numpy() - means.loc[period].to_numpy(), means


def sklearn_learner(name: str):
    """Return the learner as an sklearn regressor on columns order, period, covariates: doubleml can run it itself."""
    from lightgbm import LGBMRegressor
    from sklearn.base import BaseEstimator, RegressorMixin
    from sklearn.linear_model import LassoCV
    from sklearn.model_selection import GroupKFold
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import MinMaxScaler

    class Twin(RegressorMixin, BaseEstimator):
        def fit(self, x, y):
            self.seen_, self.residual_ = x, without_period_means(y, x[:, 1], np.ones(len(y), bool))[0][:, 0]
            self.means_ = pd.Series(y).groupby(x[:, 1]).mean()
            return self

        def predict(self, x):
            base = self.means_.loc[x[:, 1]].to_numpy()
            return base + (self.trees(x) if name == "lightgbm" else self.lasso(x))

        def trees(self, x):
            scale, columns = self.residual_.std(), [*range(2, x.shape[1]), 1]
            model = make_pipeline(MinMaxScaler(), LGBMRegressor(**TREES, **ONE_THREAD))
            model.fit(self.seen_[:, columns], np.round(self.residual_ / scale, SINGLE_PRECISION))
            return model.predict(x[:, columns]) * scale

        def lasso(self, x):
            order, period, *values = np.vstack([self.seen_, x]).T
            train, values = np.arange(len(order)) < len(self.seen_), np.column_stack(values)
            values = np.clip(values, values[train].min(axis=0), values[train].max(axis=0))
            within, _ = without_period_means(dictionary(values, period), period, train)
            left = np.abs(np.diag(np.linalg.qr(within[train])[1])) / np.linalg.norm(within[train], axis=0)
            within = within[:, left > 1e-6]  # the square of a 0/1 covariate is that covariate again
            triangle = np.linalg.qr(within[train])[1]
            within = within @ np.linalg.inv(triangle) * np.sqrt(train.sum())
            part = pd.Series(order[train]).rank(method="dense").to_numpy().astype(int) - 1
            splits = list(GroupKFold(TUNING_FOLDS).split(within[train], groups=part % TUNING_FOLDS))
            grid = np.abs(within[train].T @ self.residual_).max() / train.sum() * PENALTIES
            model = LassoCV(alphas=grid, cv=splits, fit_intercept=False, max_iter=10_000, random_state=0)
            return model.fit(within[train], self.residual_).predict(within[~train])

    return Twin()


def doubleml_itself(sample, learner: str, *, clustered: bool):
    """Run DoubleMLPLR with its own cross-fitting on the design's folds and return coefficient and SE."""
    from doubleml import DoubleMLData, DoubleMLPLR

    rows, cluster, order = rows_and_folds(sample)
    data = DoubleMLData.from_arrays(
        np.column_stack([order, rows.period, rows.covariates]),
        rows.outcome,
        rows.treatment,
        cluster_vars=cluster if clustered else None,
    )
    model = DoubleMLPLR(data, sklearn_learner(learner), sklearn_learner(learner), draw_sample_splitting=False)
    fold = order % FOLDS
    splits = [(np.flatnonzero(fold != k), np.flatnonzero(fold == k)) for k in range(FOLDS)]
    of_clusters = [([np.unique(cluster[a])], [np.unique(cluster[b])]) for a, b in splits]
    model._n_folds_per_cluster = FOLDS
    model.set_sample_splitting([splits], [of_clusters] if clustered else None)
    model.fit()
    return model.coef[0], model.se[0]


@pytest.mark.parametrize("cluster", [None, "state"])
@pytest.mark.parametrize("learner", LEARNERS)
def test_equals_doubleml_with_its_clustered_error_where_folds_are_equal(learner, cluster):
    source = panel(long_table())
    question = ask("first", "x1", "x2", "x3", cluster=cluster)
    fit = estimate(source, question, "dml_panel", learner=learner, repetitions=1)
    coefficient, error = doubleml_itself(question.sample(source), learner, clustered=True)
    assert fit.effect[0] == pytest.approx(coefficient, rel=EXACT)
    assert fit.with_vcov("CR0").std_error[0] == pytest.approx(error, rel=EXACT)


@pytest.mark.parametrize("learner", LEARNERS)
def test_weights_rows_equally_where_folds_are_unequal(learner):
    source = panel(long_table(n=43, missing=0.1))
    question = ask("first", "x1", "x2")
    fit = estimate(source, question, "dml_panel", learner=learner, repetitions=1)
    pooled, _ = doubleml_itself(question.sample(source), learner, clustered=False)
    _, clustered_error = doubleml_itself(question.sample(source), learner, clustered=True)
    assert fit.effect[0] == pytest.approx(pooled, rel=EXACT)
    assert fit.with_vcov("CR0").std_error[0] == pytest.approx(clustered_error, rel=0.05)


def cross_fitted_least_squares(sample, seed: int = 0):
    """Regress differences, less the period means of the other folds, and cluster the error: loops only."""
    rows, cluster, order = rows_and_folds(sample, seed)
    fold = order % FOLDS
    u, v = rows.outcome.copy(), rows.treatment.copy()
    for i in range(len(u)):
        others = (fold != fold[i]) & (rows.period == rows.period[i])
        u[i] -= rows.outcome[others].mean()
        v[i] -= rows.treatment[others].mean()
    coefficient = (u @ v) / (v @ v)
    score = pd.Series(v * (u - coefficient * v)).groupby(cluster).sum()
    return coefficient, np.sqrt((score**2).sum()) / (v @ v)


def least_squares(sample):
    """Regress first differences on the change of treatment and period effects, by dummies."""
    rows = changes(sample)
    dummies = 1.0 * (rows.period[:, None] == np.unique(rows.period))
    design = np.column_stack([rows.treatment, dummies])
    return np.linalg.lstsq(design, rows.outcome, rcond=None)[0][0]


@pytest.mark.parametrize("learner", LEARNERS)
@pytest.mark.parametrize("missing", [0.0, 0.15])
@pytest.mark.parametrize("cluster", [None, "state"])
def test_without_covariates_is_cross_fitted_first_differences(learner, missing, cluster):
    source = panel(long_table(n=60, missing=missing))
    question = ask(cluster=cluster)
    fit = estimate(source, question, "dml_panel", learner=learner, repetitions=1, seed=3)
    coefficient, error = cross_fitted_least_squares(question.sample(source), seed=3)
    assert fit.effect[0] == pytest.approx(coefficient, rel=EXACT)
    assert fit.with_vcov("CR0").std_error[0] == pytest.approx(error, rel=EXACT)


def test_approaches_first_differences_with_period_effects_as_folds_grow():
    source = panel(long_table(n=200, boom=3.0))
    question = ask()
    fit = estimate(source, question, "dml_panel", folds=100, repetitions=1)
    assert abs(fit.effect[0] - least_squares(question.sample(source))) < 0.02 * fit.std_error[0]


def test_period_effects_do_not_pass_for_the_effect():
    from doubleml import DoubleMLPLPR
    from doubleml.data import DoubleMLPanelData
    from lightgbm import LGBMRegressor

    table = long_table(n=200, boom=3.0)
    source, question = panel(table), ask("first", "x1")
    table["d"] = 1.0 * (table["time"] >= table["first"])
    data = DoubleMLPanelData(
        table[["unit", "time", "y", "d", "x1"]],
        "y",
        "d",
        t_col="time",
        id_col="unit",
        x_cols="x1",
        static_panel=True,
    )
    trees = LGBMRegressor(**TREES, **ONE_THREAD)
    trap = DoubleMLPLPR(data, trees, trees, draw_sample_splitting=False)
    fold = pd.factorize(trap.data_transform.data["unit"])[0] % FOLDS
    splits = [(np.flatnonzero(fold != k), np.flatnonzero(fold == k)) for k in range(FOLDS)]
    units = np.unique(trap.data_transform.cluster_vars)
    of_units = [
        ([units[np.arange(200) % FOLDS != k]], [units[np.arange(200) % FOLDS == k]]) for k in range(FOLDS)
    ]
    trap.set_sample_splitting([splits], [of_units])
    trap.fit()
    for learner in LEARNERS:
        fit = estimate(source, question, "dml_panel", learner=learner, repetitions=2)
        assert abs(fit.effect[0] - 0.859) < 2 * fit.std_error[0]
        assert abs(fit.effect[0] - least_squares(question.sample(source))) < 0.5 * fit.std_error[0]
    assert trap.coef[0] - 0.859 > 5 * trap.se[0]


@pytest.mark.search
def test_covers_a_known_effect_under_nonlinear_confounding_where_linear_designs_fail():
    draws, inside, off = searching.samples(15, 30), 0, []
    for seed in range(draws):
        source = panel(long_table(seed, n=300, periods=8, effect=1.0, confounded=1.0))
        options = {"learner": "lightgbm", "folds": 3, "repetitions": 1}
        trees = estimate(source, ask("first", "x1", "x2"), "dml_panel", **options)
        inside += trees.tidy().eval("conf_low < 1 < conf_high").item()
        naive = estimate(source, ask(), "twfe"), estimate(source, ask(), "dml_panel", repetitions=1)
        off.append(
            [trees.effect[0] - 1, *(fit.tidy().eval("conf_low < 1 < conf_high").item() for fit in naive)]
        )
    bias, twfe_inside, differences_inside = np.mean(off, axis=0)
    assert inside >= stats.binom.ppf(0.001, draws, 0.95)
    assert abs(bias) < 0.05
    assert twfe_inside < 0.1
    assert differences_inside < 0.1


@pytest.mark.parametrize("learner", LEARNERS)
def test_same_seed_same_numbers_and_the_global_seed_is_not_touched(learner):
    source, question = panel(long_table()), ask("first", "x1")
    np.random.seed(11)  # noqa: NPY002 (the global generator is what is tested)
    before = np.random.get_state()  # noqa: NPY002 (the global generator is what is tested)
    first, again = (
        estimate(source, question, "dml_panel", learner=learner, repetitions=2, seed=5) for _ in range(2)
    )
    after = np.random.get_state()  # noqa: NPY002 (the global generator is what is tested)
    other = estimate(source, question, "dml_panel", learner=learner, repetitions=2, seed=6)
    assert np.array_equal(before[1], after[1])
    assert before[2:] == after[2:]
    assert np.array_equal(first.effect, again.effect)
    assert np.array_equal(first.influence, again.influence)
    assert first.seed == 5
    assert other.effect[0] != first.effect[0]


@pytest.mark.parametrize("learner", LEARNERS)
def test_repetitions_are_averaged_with_their_influence(learner, monkeypatch):
    import study.learners.nuisances as module

    source, question = panel(long_table()), ask("first", "x1")
    both = estimate(source, question, "dml_panel", learner=learner, repetitions=2)
    drawn, single = [], []
    original = places
    monkeypatch.setattr(module, "places", lambda *a: drawn.append(original(*a)) or drawn[-1])
    estimate(source, question, "dml_panel", learner=learner, repetitions=2)
    for order in list(drawn):
        monkeypatch.setattr(module, "places", lambda *a, order=order: order)
        single.append(estimate(source, question, "dml_panel", learner=learner, repetitions=1))
    assert both.effect[0] == pytest.approx(np.mean([fit.effect[0] for fit in single]), rel=EXACT)
    average = np.mean([fit.influence for fit in single], axis=0)
    np.testing.assert_allclose(both.influence, average, rtol=0, atol=EXACT)
    assert abs(both.influence.mean()) < EXACT


def test_the_folds_hold_whole_clusters_and_equally_many_switchers():
    sample = ask(cluster="state").sample(panel(long_table(n=60)))
    rows, cluster, order = rows_and_folds(sample)
    assert all(len(np.unique(order[cluster == c])) == 1 for c in np.unique(cluster))
    sample = ask().sample(panel(long_table(n=61)))
    rows, cluster, order = rows_and_folds(sample)
    switches = np.unique(order[rows.treatment != 0])
    for orders in (np.unique(order), switches):
        sizes = np.bincount(orders % FOLDS, minlength=FOLDS)
        assert sizes.max() - sizes.min() <= 1


def of_table(table, learner):
    return estimate(panel(table), ask("first", "x1", "x2"), "dml_panel", learner=learner, repetitions=1)


@cache
def unchanged(learner):
    return of_table(long_table(n=100), learner)


@pytest.mark.parametrize("learner", LEARNERS)
@pytest.mark.parametrize(
    ("change", "factor", "trees_within"),
    [
        (lambda t: t.sample(frac=1, random_state=1), 1.0, 0.0),
        (lambda t: t.assign(y=t["y"] + 10.0 * t["unit"].str[1:].astype(int)), 1.0, 1e-6),
        (lambda t: t.assign(y=t["y"] + np.sin(t["time"])), 1.0, 1e-6),
        (lambda t: t.assign(y=t["y"] * 1000.0), 1000.0, 1e-6),
        (lambda t: t.assign(x1=5 - 3 * t["x1"], x2=2 * t["x2"]), 1.0, 0.5),
    ],
    ids=["row order", "unit constants", "period constants", "scale", "units of covariates"],
)
def test_invariance(learner, change, factor, trees_within):
    """Within a share of the standard error; mirrored covariates put values into other bins of the trees."""
    within = trees_within if learner == "lightgbm" else min(trees_within, 1e-6)
    base, other = unchanged(learner), of_table(change(long_table(n=100)), learner)
    assert abs(other.effect[0] - factor * base.effect[0]) <= within * factor * base.std_error[0]
    assert abs(other.std_error[0] - factor * base.std_error[0]) <= within * factor * base.std_error[0]


def test_proportional_divides_by_the_treated_mean_at_adoption_less_the_coefficient():
    table = long_table(n=100).assign(y=lambda t: np.exp(t["y"] / 4))
    source, question = panel(table), ask("first", "x1")
    trees = {"learner": "lightgbm", "repetitions": 2}
    level = estimate(source, question, "dml_panel", **trees)
    share = estimate(source, question.replace(scale="proportional"), "dml_panel", **trees)
    at_adoption = table[table["time"] == table["first"]]["y"]
    untreated = at_adoption.mean() - level.effect[0]
    assert share.effect[0] == pytest.approx(level.effect[0] / untreated, rel=EXACT)
    deviation = np.zeros(100)
    adopters = table[table["time"] == table["first"]]["unit"].str[1:].astype(int)
    deviation[adopters] = (at_adoption - at_adoption.mean()) * 100 / len(at_adoption)
    psi = level.influence[:, 0]
    expected = psi / untreated - level.effect[0] / untreated**2 * (deviation - psi)
    np.testing.assert_allclose(share.influence[:, 0], expected, rtol=1e-9, atol=1e-12)


def test_a_treatment_that_switches_off_is_a_change_of_the_other_sign():
    table = long_table(n=80)
    since = table["time"] - table["first"]
    table["path"] = 1.0 * ((since >= 0) & (since < 2))
    source, question = panel(table, treatment="path"), ask("path")
    sample = question.sample(source)
    assert sample.first_treated is None
    fit = estimate(source, question, "dml_panel", repetitions=1)
    assert fit.effect[0] == pytest.approx(cross_fitted_least_squares(sample)[0], rel=EXACT)
    at_change = table[(since == 0) | ((since == 1) & (table["time"] < 6))]["y"].mean()
    assert fit.untreated_mean[0] == pytest.approx(at_change - fit.effect[0], rel=EXACT)


def test_anticipation_is_an_earlier_event():
    table = long_table(n=80)
    table = table[~(table["first"] <= 2)]
    earlier = table.assign(first=table["first"] - 1)
    asked = estimate(panel(table), ask("first", "x1", anticipation=1), "dml_panel", repetitions=1)
    moved = estimate(panel(earlier), ask("first", "x1"), "dml_panel", repetitions=1)
    assert np.array_equal(asked.influence, moved.influence)


def test_units_without_two_periods_running_have_no_influence_and_are_counted():
    table = long_table(n=60)
    table = table[~((table["unit"] == "u007") & table["time"].isin([2, 4, 6]))]
    fit = estimate(panel(table), ask("first", "x1"), "dml_panel", learner="lightgbm")
    assert fit.influence[7, 0] == 0
    assert fit.n_obs == 59 * 5
    assert "1 unit left out: not seen in two periods" in fit.notes[0]


def test_covariates_that_are_fixed_in_time_enter_once_and_others_by_their_values_in_both_periods():
    sample = ask("first", "x1", "x3").sample(panel(long_table()))
    rows, moving = changes(sample), sample.x_by_period[1]
    before, now = moving[rows.unit, rows.period], moving[rows.unit, rows.period + 1]
    np.testing.assert_array_equal(rows.covariates.T, [sample.x_baseline[rows.unit, 0], before, now])


def few_switchers(table):
    first = table["first"].where(table["unit"] == table.loc[table["first"].notna(), "unit"].iloc[0])
    return table.assign(first=first)


def everyone_at_once(table):
    return table.assign(path=1.0 * table["time"].isin([3, 4]))


@pytest.mark.parametrize(
    ("change", "fields", "options", "message"),
    [
        (None, {}, {"folds": 1}, "folds is 1; it must be a whole number, at least 2"),
        (None, {}, {"folds": 2.5}, "folds is 2.5"),
        (None, {}, {"repetitions": 0}, "repetitions is 0"),
        (None, {}, {"seed": -1}, "seed is -1"),
        (None, {}, {"learner": "jungle"}, 'there is no learner "jungle"'),
        (None, {}, {"folds": 21}, "21 folds of at least two units need 42, but 40"),
        (None, {"cluster": "state"}, {"folds": 6}, r"clusters \(state\) need 12, but 10"),
        (few_switchers, {}, {}, "it happens in 1 units of 40, too few"),
        (everyone_at_once, {"event": "path"}, {}, "alike for all units of a period; it happens in 40"),
        (
            lambda t: t.assign(x1=t["x1"].mask((t["unit"] == "u003") & (t["time"] == 4))),
            {"covariates": ("x1",)},
            {},
            r"covariate x1 is missing for \(u003, 4\) and in 0 cells more",
        ),
        (
            lambda t: t[(t["time"] < 6) | (t["unit"] == "u003")],
            {},
            {},
            "the change to 6 is seen in units of one fold only",
        ),
        *(
            (
                lambda t: t.assign(
                    y=t["y"].where((t["time"] < 5) | ((t["unit"] == "u003") & (t["time"] == 5)))
                ),
                {},
                {"approach": approach},
                f": {period} is seen in units of one fold only",
            )
            for approach, period in (("first_differences", "the change to 5"), ("within", "5"))
        ),
        *(
            (  # half of the units are seen before period 4, half from then on, and one in all
                lambda t: t[(t["unit"].str[1:].astype(int) % 2 == (t["time"] > 3)) | (t["unit"] == "u003")],
                {},
                {"approach": approach},
                "units of one fold alone link 1 with 4, so the difference",
            )
            for approach in ("within", "correlated_random_effects")
        ),
    ],
)
def test_bad_input_is_refused_before_fitting(change, fields, options, message, monkeypatch):
    monkeypatch.setattr(sys.modules["study.learners.nuisances"], "cross_fit", None)
    table = long_table() if change is None else change(long_table())
    event = {"treatment": "path"} if "path" in table else {"first_treated": "first"}
    question = Question("y", **({"event": "first"} | fields))
    with pytest.raises(QuestionError, match=message) as error:
        estimate(panel(table, **event), question, "dml_panel", **options)
    assert "\n" not in str(error.value)
    assert str(error.value).startswith("dml_panel: ")


@pytest.mark.parametrize("learner", ["linear", "lasso", Ridge()], ids=str)
@pytest.mark.parametrize("approach", ["first_differences", "within", "correlated_random_effects"])
def test_treatment_that_covariates_explain_is_refused(approach, learner):
    table = long_table()
    made = 3.0 * (table["time"] >= table["first"]) - table["x2"] + 9 * np.sin(table["time"])
    table["x1"] = made if approach == "first_differences" else made + 5 * table["unit"].str[1:].astype(int)
    options = {"approach": approach, "learner": learner, "repetitions": 1}
    with pytest.raises(QuestionError, match=r"dml_panel: covariates explain all of (adoption|treatment), so"):
        estimate(panel(table), ask("first", "x1", "x2"), "dml_panel", **options)


def test_as_many_covariates_as_rows_explain_nothing_by_themselves():
    table = long_table(n=20, periods=3)
    noise = np.random.default_rng(0).normal(size=(len(table), 30))
    names = [f"z{k}" for k in range(30)]
    source = Panel.from_long(
        pd.concat([table, pd.DataFrame(noise, columns=names, index=table.index)], axis=1),
        unit="unit", time="time", outcomes="y", covariates=names, first_treated="first",
    )  # fmt: skip
    fit = estimate(source, ask("first", *names), "dml_panel", learner=Ridge(), folds=2, repetitions=1)
    assert np.isfinite(fit.std_error[0])
