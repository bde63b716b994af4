"""The three approaches of dml_panel: doubleml's own panel model, known identities, and what must not matter."""

from __future__ import annotations

import warnings

import numpy as np
import pandas as pd
import pytest
import searching
from scipy import stats
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.linear_model import LinearRegression
from test_dml_panel import EXACT, FOLDS, ask, long_table, panel

from study import QuestionError, estimate
from study.designs.dml_panel import levels, panel_rows
from study.learners.nuisances import draw_folds, places

APPROACHES = ("first_differences", "within", "correlated_random_effects")
THEIRS = {
    "first_differences": "fd_exact",
    "within": "wg_approx",
    "correlated_random_effects": "cre_general",
}


class Within(RegressorMixin, BaseEstimator):
    """Least squares on the difference of two columns: a covariate less its unit's mean."""

    def fit(self, x, y):
        self.model_ = LinearRegression().fit((x[:, 0] - x[:, 1])[:, None], y)
        return self

    def predict(self, x):
        return self.model_.predict((x[:, 0] - x[:, 1])[:, None])


class LessPeriodMeans(RegressorMixin, BaseEstimator):
    """Least squares of what period means leave, on the columns before the period's; doubleml has no period effects."""

    def __init__(self, columns=(0, 1), period=-1):
        self.columns, self.period = columns, period

    def fit(self, x, y):
        self.means_ = pd.Series(y).groupby(x[:, self.period].round(6)).mean()
        self.model_ = LinearRegression().fit(x[:, list(self.columns)], y - self.of(x))
        return self

    def of(self, x):
        return self.means_.loc[x[:, self.period].round(6)].to_numpy()

    def predict(self, x):
        return self.of(x) + self.model_.predict(x[:, list(self.columns)])


class OfColumns(RegressorMixin, BaseEstimator):
    """Least squares on two columns: a covariate and its lag or mean, without the period."""

    def fit(self, x, y):
        self.model_ = LinearRegression().fit(x[:, :2], y)
        return self

    def predict(self, x):
        return self.model_.predict(x[:, :2])


OURS = {
    "first_differences": OfColumns(),
    "within": Within(),
    "correlated_random_effects": OfColumns(),
}


def doubleml_panel(table: pd.DataFrame, approach: str, fold_of_unit: np.ndarray):
    """Return the coefficient and clustered error of doubleml's panel model, whose learners take out period means."""
    from doubleml import DoubleMLPLPR
    from doubleml.data import DoubleMLPanelData

    made = table.assign(
        d=1.0 * (table["time"] >= table["first"].fillna(np.inf)), code=table["unit"].str[1:].astype(int)
    )
    made["when"] = made["time"].astype(float)
    data = DoubleMLPanelData(
        made[["code", "time", "y", "d", "x3", "when"]].reset_index(drop=True),
        "y",
        "d",
        t_col="time",
        id_col="code",
        x_cols=["x3", "when"],
        static_panel=True,
    )
    # Columns are x3, when, then their lags or means; demeaned, the two only.
    columns, period = {"within": ((0,), 1)}.get(approach, ((0, 2), 1))
    twin = LessPeriodMeans(columns, period)
    model = DoubleMLPLPR(
        data, twin, twin, n_folds=FOLDS, approach=THEIRS[approach], draw_sample_splitting=False
    )
    unit = np.asarray(model.data_transform.cluster_vars).ravel().astype(int)
    fold = fold_of_unit[unit]
    splits = [(np.flatnonzero(fold != k), np.flatnonzero(fold == k)) for k in range(FOLDS)]
    units = np.arange(len(fold_of_unit))
    of_units = [([units[fold_of_unit != k]], [units[fold_of_unit == k]]) for k in range(FOLDS)]
    model._n_folds_per_cluster = FOLDS
    model.set_sample_splitting([splits], [of_units])
    model.fit()
    return model.coef[0], model.se[0]


@pytest.mark.parametrize("approach", APPROACHES)
def test_equals_doublemls_own_panel_model_with_period_means_taken_out(approach):
    table = long_table(n=40, boom=2.0)
    source, question = panel(table), ask("first", "x3")
    sample = question.sample(source)
    rows = panel_rows(sample, approach)
    assigned = draw_folds(sample.cluster[rows.unit], np.where(rows.moves, 0, 1), FOLDS, 1, seed=0)
    fold_of_unit = assigned.fold[np.unique(rows.unit, return_index=True)[1], 0]
    fit = estimate(source, question, "dml_panel", approach=approach, learner=OURS[approach], repetitions=1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        coefficient, error = doubleml_panel(table, approach, fold_of_unit)
    assert fit.effect[0] == pytest.approx(coefficient, rel=EXACT)
    assert fit.with_vcov("CR0").std_error[0] == pytest.approx(error, rel=EXACT)


def test_without_covariates_random_effects_that_are_correlated_are_the_within_estimator():
    source = panel(long_table(n=60, missing=0.1))
    within, correlated = (
        estimate(source, ask(), "dml_panel", approach=approach, repetitions=2) for approach in APPROACHES[1:]
    )
    assert correlated.effect[0] == pytest.approx(within.effect[0], rel=EXACT)
    np.testing.assert_allclose(correlated.influence, within.influence, atol=1e-9)


@pytest.mark.parametrize("missing", [0.0, 0.1])
def test_within_approaches_two_way_fixed_effects_as_folds_grow(missing):
    source = panel(long_table(n=200, boom=3.0, missing=missing))
    plain = estimate(source, ask(), "twfe")
    fit = estimate(source, ask(), "dml_panel", approach="within", folds=100, repetitions=1)
    assert abs(fit.effect[0] - plain.effect[0]) < 0.02 * plain.std_error[0]
    assert fit.std_error[0] == pytest.approx(plain.std_error[0], rel=0.05)


def test_levels_take_cells_of_units_that_are_seen_twice_with_the_means_of_their_covariates():
    table = long_table(n=30, missing=0.2)
    table = table[~((table["unit"] == "u003") & (table["time"] != 2))]
    sample = ask("first", "x1", "x3").sample(panel(table))
    rows = levels(sample)
    assert 3 not in rows.unit
    kept = table[table["unit"] != "u003"]
    assert len(rows.unit) == len(kept)
    # x1 is fixed in time, so it comes once; x3 with its mean.
    assert rows.covariates.shape[1] == 3
    means = kept.groupby("unit")["x3"].transform("mean").to_numpy()
    assert any(np.allclose(column, means) for column in rows.covariates.T)


@pytest.mark.parametrize("approach", APPROACHES[1:])
@pytest.mark.parametrize(
    ("change", "factor"),
    [
        (lambda t: t.sample(frac=1, random_state=1), 1.0),
        (lambda t: t.assign(y=t["y"] + 10.0 * t["unit"].str[1:].astype(int)), 1.0),
        (lambda t: t.assign(y=t["y"] + np.sin(t["time"])), 1.0),
        (lambda t: t.assign(y=t["y"] * 1000.0), 1000.0),
        (lambda t: t.assign(time=t["time"] + 7, first=t["first"] + 7), 1.0),
    ],
    ids=["row order", "unit constants", "period constants", "scale", "start of time"],
)
def test_invariance(approach, change, factor):
    """A learner of levels sees unit constants as noise, so only what has no covariates is free of them."""
    table = long_table(n=80, missing=0.05)
    covariates = () if approach == "correlated_random_effects" else ("x1", "x2")
    base, other = (
        estimate(panel(t), ask("first", *covariates), "dml_panel", approach=approach, repetitions=1)
        for t in (table, change(table))
    )
    assert other.effect[0] == pytest.approx(factor * base.effect[0], rel=1e-6)
    assert other.std_error[0] == pytest.approx(factor * base.std_error[0], rel=1e-6)


def test_random_effects_that_are_correlated_say_how_much_of_what_is_learned_lies_between_units():
    table, shares = long_table(n=60), []
    for size in (0.0, 1e4):
        moved = table.assign(y=table["y"] + size * np.sin(table["unit"].str[1:].astype(int)))
        options = {"approach": "correlated_random_effects", "learner": "linear", "repetitions": 1}
        (note,) = estimate(panel(moved), ask("first", "x3"), "dml_panel", **options).notes
        share, words = note.split("% of the variance of y that the learner leaves lies between units")
        assert words.startswith(", which is noise to it")
        shares.append(int(share))
    assert 50 < shares[0] < 98 < shares[1]


@pytest.mark.search
@pytest.mark.parametrize(
    ("learner", "draws"),
    [("forest", searching.samples(4, 6)), ("lightgbm", searching.samples(15, 30))],
    ids=["forest", "lightgbm"],
)
def test_within_covers_a_known_effect_under_nonlinear_confounding_where_two_way_effects_fail(learner, draws):
    inside, off, naive = 0, [], 0
    for seed in range(draws):
        source = panel(long_table(seed, n=300, periods=6, effect=1.0, confounded=1.0))
        question = ask("first", "x1", "x2")
        options = {"approach": "within", "learner": learner, "folds": 2, "repetitions": 1}
        fit = estimate(source, question, "dml_panel", **options)
        inside += fit.tidy().eval("conf_low < 1 < conf_high").item()
        off.append(fit.effect[0] - 1)
        naive += estimate(source, ask(), "twfe").tidy().eval("conf_low < 1 < conf_high").item()
    assert inside >= stats.binom.ppf(0.001, draws, 0.95)
    assert abs(np.mean(off)) < 0.15
    assert naive < 0.2 * draws


def test_proportional_within_divides_by_the_treated_cells_mean_less_the_coefficient():
    table = long_table(n=100).assign(y=lambda t: np.exp(t["y"] / 4))
    source, question = panel(table), ask("first", "x1")
    options = {"approach": "within", "learner": "lightgbm", "repetitions": 1}
    level = estimate(source, question, "dml_panel", **options)
    share = estimate(source, question.replace(scale="proportional"), "dml_panel", **options)
    treated = table[table["time"] >= table["first"].fillna(np.inf)]["y"].mean()
    assert share.effect[0] == pytest.approx(level.effect[0] / (treated - level.effect[0]), rel=EXACT)
    last = table[table["time"] == table["time"].max()].dropna(subset="first")[:3]
    once = last.assign(unit=[f"once{k}" for k in range(3)], y=1e4)  # who add no row are in no mean
    lone = estimate(
        panel(pd.concat([table, once])), question.replace(scale="proportional"), "dml_panel", **options
    )
    assert (lone.effect / lone.effect_level)[0] == pytest.approx(
        1 / (treated - lone.effect_level[0]), rel=EXACT
    )


@pytest.mark.parametrize("approach", APPROACHES)
def test_a_missing_covariate_is_refused_by_its_cell(approach):
    table = long_table()
    table["x1"] = table["x1"].mask((table["unit"] == "u003") & (table["time"] == 4))
    with pytest.raises(QuestionError, match=r"covariate x1 is missing for \(u003, 4\) and in 0 cells more"):
        estimate(panel(table), ask("first", "x1"), "dml_panel", approach=approach)


def of_single_draws(source, question, design, **options):
    """Return the headline estimate of each draw of the folds alone, by the design with the others left out."""
    from unittest import mock

    import study.learners.nuisances as module

    drawn = []
    with mock.patch.object(module, "places", lambda *a: drawn.append(places(*a)) or drawn[-1]):
        estimate(source, question, design, repetitions=3, **options)
    found = []
    for order in drawn[:3]:  # some designs draw the same folds twice
        with mock.patch.object(module, "places", lambda *a, order=order: order):
            found.append(estimate(source, question, design, repetitions=1, **options).headline)
    return found


@pytest.mark.parametrize("design", ["dml_panel", "dml_stacked", "dml_did", "dml_irm"])
def test_what_draws_leave_to_chance_is_their_standard_deviation_over_the_root_of_their_number(design):
    table = long_table(n=120, periods=4).assign(y=lambda t: 30 + t["y"])
    source, question = panel(table), ask("first", "x1", scale="proportional", min_cohort_size=5)
    names = ("learner",) if design == "dml_panel" else ("learner", "propensity")
    options = {"folds": 2} | dict.fromkeys(names, "linear")
    singles = of_single_draws(source, question, design, **options)
    for scale, effect in (("level", "effect_level"), ("proportional", "effect")):
        fit = estimate(source, question.replace(scale=scale), design, repetitions=3, **options).headline
        drawn = [getattr(single, effect)[0] for single in singles]
        assert fit.draw_error[0] == pytest.approx(np.std(drawn, ddof=1) / np.sqrt(3), rel=1e-6)
        if scale == "level":
            assert fit.effect[0] == pytest.approx(np.mean(drawn), rel=EXACT)


def test_without_several_draws_nothing_is_said_of_them():
    source = panel(long_table())
    for fit in (estimate(source, ask(), "twfe"), estimate(source, ask(), "dml_panel", repetitions=1)):
        assert np.isnan(fit.draw_error).all()


@pytest.mark.parametrize("scale", ["level", "proportional"])
def test_doublemls_median_of_the_draws_is_told_beside_the_mean_in_units_of_the_outcome(scale):
    fit = estimate(panel(long_table()), ask("first", "x1", scale=scale), "dml_panel", repetitions=3)
    assert f"doubleml's median of them, in y, is {np.median(fit.of_draw):.4g}." in fit.notes[-1]


def test_an_unknown_approach_is_refused():
    with pytest.raises(QuestionError, match='there is no approach "fixed"'):
        estimate(panel(long_table()), ask(), "dml_panel", approach="fixed")


@pytest.mark.parametrize("approach", APPROACHES)
def test_a_panel_in_which_nobody_is_seen_twice_is_refused_in_one_line(approach):
    table = long_table(n=40)
    table.loc[table["time"] > 1, "y"] = np.nan
    table.loc[(table["time"] == 2) & (table["unit"] > "u020"), "y"] = 1.0
    table.loc[(table["time"] == 1) & (table["unit"] > "u020"), "y"] = np.nan
    with pytest.raises(QuestionError, match=r"dml_panel: 5 folds .* but 0 are seen in two periods"):
        estimate(panel(table), ask(), "dml_panel", approach=approach, repetitions=1)
