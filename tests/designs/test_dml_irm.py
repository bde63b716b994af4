"""dml_irm against doubleml itself, plain numpy and known truths, on panels simulated here."""

from __future__ import annotations

import sys
from dataclasses import replace

import numpy as np
import pytest
import simulated
from scipy import stats

import study
from study import Panel, Question, QuestionError, estimate
from study.designs import find_design
from study.designs.long_change import long_change
from study.learners.named import ONE_THREAD, SINGLE_PRECISION, TREES
from study.learners.nuisances import cross_fit, places

EXACT = 1e-9
FOLDS = 5
PERIODS = np.arange(2011, 2016)
LINEAR = {"learner": "linear", "propensity": "linear", "repetitions": 1}


def panel(seed: int = 0, n: int = 120, confounded: float = 1.0, late: bool = False) -> Panel:
    """Return a panel in which treatment and trends share a step function of x, and effects differ by x2.

    The mean effect in the last period is 1.25 on the treated and 1 on all; ``late`` units are treated after it.
    """
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, 2))
    step = 1.0 * (np.abs(x[:, 0]) > 1) + 1.0 * (x[:, 1] > 0)
    treated = rng.random(n) < 0.15 + 0.25 * step
    dates = rng.choice([2012.0, 2014.0, 2015.0, *([2017.0] if late else [])], size=n)
    first = np.where(treated, dates, np.nan)
    size = 1 + (x[:, 1] > 0) - 0.5
    since = first[:, None] <= PERIODS
    y = rng.normal(scale=3, size=(n, 1)) + 0.7 * np.sin(PERIODS)
    y = y + confounded * step[:, None] * (PERIODS - 2011) / 4 + since * size[:, None]
    y = y + rng.normal(scale=0.5, size=since.shape)
    across = np.ones(len(PERIODS))
    return Panel(
        name="simulated",
        units=np.array([f"u{i:04d}" for i in range(n)]),
        periods=PERIODS,
        outcomes={"y": y},
        covariates={"x1": np.outer(x[:, 0], across), "x2": np.outer(x[:, 1], across)},
        first_treated={"event": first},
        treatment={},
        attributes={"state": np.array([f"s{i % 20:02d}" for i in range(n)])},
    )


def ask(*covariates: str, **fields) -> Question:
    return Question("y", "event", covariates=covariates, **fields)


def with_outcome(source: Panel, y) -> Panel:
    return replace(source, outcomes={"y": y})


def cross_section(sample):
    """Return the change from the first to the last period, treatment, and the folds of the first draw."""
    change = sample.y[:, -1] - sample.y[:, 0]
    treated = 1.0 * (sample.first_treated <= sample.periods[-1])
    place = places(sample.cluster, np.where(treated == 1, 0, 1), np.random.default_rng(0).spawn(1)[0])
    return change, treated, place % FOLDS


def twins(learner: str):
    """Return a regressor and a classifier of scikit-learn that are the learner."""
    from lightgbm import LGBMClassifier, LGBMRegressor
    from sklearn.base import BaseEstimator, RegressorMixin
    from sklearn.linear_model import LinearRegression, LogisticRegression, Ridge
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import MinMaxScaler

    class Trees(RegressorMixin, BaseEstimator):
        def fit(self, x, y):
            self.mean_, self.scale_ = y.mean(), y.std()
            rounded = np.round((y - self.mean_) / self.scale_, SINGLE_PRECISION)
            self.model_ = make_pipeline(MinMaxScaler(), LGBMRegressor(**TREES, **ONE_THREAD)).fit(x, rounded)
            return self

        def predict(self, x):
            return self.mean_ + self.scale_ * self.model_.predict(x)

    return {
        "linear": (LinearRegression(), LogisticRegression(C=np.inf, tol=1e-12, solver="newton-cholesky")),
        "lightgbm": (Trees(), make_pipeline(MinMaxScaler(), LGBMClassifier(**TREES, **ONE_THREAD))),
        "estimator": (Ridge(alpha=3.0), LogisticRegression(C=0.5)),
    }[learner]


def doubleml_itself(sample, learner: str, score: str, trim: float):
    """Run DoubleMLIRM with its own cross-fitting on the design's folds."""
    from doubleml import DoubleMLData, DoubleMLIRM
    from doubleml.utils import PSProcessorConfig

    change, treated, fold = cross_section(sample)
    data = DoubleMLData.from_arrays(sample.x_baseline, change, treated)
    model = DoubleMLIRM(
        data,
        *twins(learner),
        score=score,
        ps_processor_config=PSProcessorConfig(clipping_threshold=trim),
        draw_sample_splitting=False,
    )
    model.set_sample_splitting([[(np.flatnonzero(fold != k), np.flatnonzero(fold == k)) for k in range(5)]])
    return model.fit()


@pytest.mark.filterwarnings("ignore:The estimated nu2")
@pytest.mark.parametrize("cluster", [None, "state"])
@pytest.mark.parametrize(("effect", "trim"), [("att", 0.01), ("ate", 0.01), ("ate", 0.3)])
@pytest.mark.parametrize("learner", ["linear", "lightgbm", "estimator"])
def test_equals_doubleml_on_the_same_folds(learner, effect, trim, cluster):
    question = ask("x1", "x2", cluster=cluster)
    source = panel(n=121)
    g, m = twins(learner) if learner == "estimator" else (learner, learner)
    fit = estimate(
        source, question, "dml_irm", effect=effect, learner=g, propensity=m, trim=trim, repetitions=1
    )
    sample = question.sample(source)
    model = doubleml_itself(sample, learner, {"att": "ATTE", "ate": "ATE"}[effect], trim)
    assert fit.effect[0] == pytest.approx(model.coef[0], rel=EXACT)
    sums = np.bincount(sample.cluster, weights=model.psi[:, 0, 0])
    expected = np.sqrt(np.sum(sums**2)) / abs(model.psi_deriv.sum())
    assert fit.with_vcov("CR0").std_error[0] == pytest.approx(expected, rel=EXACT)
    if cluster is None:
        assert fit.with_vcov("CR0").std_error[0] == pytest.approx(model.se[0], rel=EXACT)


@pytest.mark.parametrize("effect", ["att", "ate"])
def test_without_covariates_compares_with_the_means_of_the_other_folds(effect):
    source, question = panel(n=60), ask()
    fit = estimate(source, question, "dml_irm", effect=effect, **LINEAR)
    change, treated, fold = cross_section(question.sample(source))
    score = np.empty(60)
    for i in range(60):
        others = fold != fold[i]
        g0, g1 = (change[others & (treated == d)].mean() for d in (0, 1))
        m = treated[others].mean()
        if effect == "ate":
            score[i] = g1 - g0 + treated[i] * (change[i] - g1) / m
            score[i] -= (1 - treated[i]) * (change[i] - g0) / (1 - m)
        else:
            score[i] = (treated[i] - (1 - treated[i]) * m / (1 - m)) * (change[i] - g0) / treated.mean()
    assert fit.effect[0] == pytest.approx(score.mean(), rel=EXACT)
    slope = 1.0 if effect == "ate" else treated / treated.mean()
    error = np.sqrt(np.sum((score - slope * score.mean()) ** 2)) / 60
    assert fit.with_vcov("CR0").std_error[0] == pytest.approx(error, rel=EXACT)


@pytest.mark.parametrize(("effect", "truth"), [("att", None), ("ate", 1.0)])
def test_covers_a_known_effect_under_nonlinear_confounding_where_no_covariates_fail(effect, truth):
    from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

    shape = {"max_leaf_nodes": 8, "min_samples_leaf": 30}
    trees = {"learner": DecisionTreeRegressor(**shape), "propensity": DecisionTreeClassifier(**shape)}
    draws, inside, plain, off = 20, 0, 0, []
    if truth is None:
        whole = panel(n=200_000)
        upper = whole.covariates["x2"][:, 0] > 0
        truth = np.mean(0.5 + upper[~np.isnan(whole.first_treated["event"])])
    for seed in range(draws):
        source = panel(seed, n=500)
        fit = estimate(source, ask("x1", "x2"), "dml_irm", effect=effect, repetitions=1, **trees)
        inside += fit.tidy().eval("conf_low < @truth < conf_high").item()
        naive = estimate(source, ask(), "dml_irm", effect=effect, **LINEAR)
        plain += naive.tidy().eval("conf_low < @truth < conf_high").item()
        off.append(fit.effect[0] - truth)
    assert inside >= stats.binom.ppf(0.001, draws, 0.95)
    assert abs(np.mean(off)) < 0.05
    assert plain < 0.1 * draws


def test_the_effect_on_the_treated_is_not_that_on_all_where_effects_differ():
    source = panel(n=4000)
    att, ate = (estimate(source, ask("x1", "x2"), "dml_irm", effect=e, **LINEAR) for e in ("att", "ate"))
    assert att.effect[0] - ate.effect[0] > 0.05


def test_the_mean_of_several_periods_is_one_period_of_that_mean():
    source = panel()
    source = with_outcome(source, source.outcomes["y"])
    first = source.first_treated["event"].copy()
    first[first == 2012] = 2013
    source = replace(source, first_treated={"event": first})
    y = source.outcomes["y"]
    ends = np.column_stack([y[:, :2].mean(axis=1), y[:, 2:].mean(axis=1)])
    short = replace(
        source,
        periods=PERIODS[:2],
        outcomes={"y": ends},
        covariates={name: block[:, :2] for name, block in source.covariates.items()},
        first_treated={"event": np.where(np.isnan(first), np.nan, 2012.0)},
    )
    asked = estimate(source, ask("x1"), "dml_irm", before=2, after=3, **LINEAR)
    direct = estimate(short, ask("x1"), "dml_irm", **LINEAR)
    np.testing.assert_allclose(asked.influence, direct.influence, rtol=0, atol=EXACT)
    assert asked.effect[0] == pytest.approx(direct.effect[0], rel=EXACT)
    assert asked.terms == ("ATT on the change from 2011-2012 to 2013-2015",)


def test_units_treated_after_the_window_are_untreated_unless_only_the_never_treated_compare():
    source = panel(n=300, late=True)
    later = source.first_treated["event"] == 2017
    never = replace(source, first_treated={"event": np.where(later, np.nan, source.first_treated["event"])})
    fit, plain = (estimate(p, ask("x1"), "dml_irm", **LINEAR) for p in (source, never))
    assert np.array_equal(fit.influence, plain.influence)
    only = estimate(source, ask("x1", comparison="never_treated"), "dml_irm", **LINEAR)
    assert only.n_obs == 300 - later.sum()


def test_anticipation_is_an_earlier_event():
    source = panel(late=True)
    first = source.first_treated["event"]
    moved = replace(source, first_treated={"event": first - 1})
    asked = estimate(source, ask("x1", anticipation=1), "dml_irm", **LINEAR)
    direct = estimate(moved, ask("x1"), "dml_irm", **LINEAR)
    assert np.array_equal(asked.influence, direct.influence)


def test_units_that_are_not_seen_at_both_ends_have_no_influence_and_are_counted():
    source = panel()
    y = source.outcomes["y"].copy()
    y[7, -1], y[8, 0], y[9, 2] = np.nan, np.nan, np.nan
    fit = estimate(with_outcome(source, y), ask("x1"), "dml_irm", **LINEAR)
    assert np.all(fit.influence[[7, 8], 0] == 0)
    assert fit.influence[9, 0] != 0
    assert fit.n_obs == 118
    assert "2 units left out: not seen throughout both ends" in fit.notes[0]
    rest = np.delete(np.arange(120), [7, 8])
    without = estimate(simulated.ordered(source, rest), ask("x1"), "dml_irm", **LINEAR)
    assert fit.std_error[0] == pytest.approx(without.std_error[0], rel=EXACT)


def test_proportional_divides_by_the_treated_mean_at_the_end_less_the_effect():
    source = panel()
    source = with_outcome(source, np.exp(source.outcomes["y"] / 4))
    question = ask("x1", "x2")
    level = estimate(source, question, "dml_irm", **LINEAR)
    share = estimate(source, question.replace(scale="proportional"), "dml_irm", **LINEAR)
    sample = question.sample(source)
    _, treated, _ = cross_section(sample)
    at_end = sample.y[:, -1]
    mean = at_end[treated == 1].mean()
    untreated = mean - level.effect[0]
    assert share.effect[0] == pytest.approx(level.effect[0] / untreated, rel=EXACT)
    psi = level.influence[:, 0]
    deviation = treated * (at_end - mean) / treated.mean()
    expected = psi / untreated - level.effect[0] / untreated**2 * (deviation - psi)
    np.testing.assert_allclose(share.influence[:, 0], expected, rtol=0, atol=EXACT)


@pytest.mark.parametrize("effect", ["att", "ate"])
@pytest.mark.parametrize(
    ("change", "factor"),
    [
        (lambda p: simulated.ordered(p, np.random.default_rng(1).permutation(120)), 1.0),
        (lambda p: with_outcome(p, 1000 * p.outcomes["y"]), 1000.0),
        (lambda p: with_outcome(p, -p.outcomes["y"]), -1.0),
        (lambda p: with_outcome(p, p.outcomes["y"] + np.arange(120)[:, None]), 1.0),
        (lambda p: with_outcome(p, p.outcomes["y"] + 50 * np.cos(p.periods)), 1.0),
        (lambda p: replace(p, covariates={n: 5 - 3 * x for n, x in p.covariates.items()}), 1.0),
        (
            lambda p: replace(
                p, periods=p.periods - 2000, first_treated={"event": p.first_treated["event"] - 2000}
            ),
            1.0,
        ),
    ],
    ids=["row order", "scale", "sign", "unit constants", "period constants", "units of x", "start of time"],
)
def test_invariance(effect, change, factor):
    source = panel()
    base = estimate(source, ask("x1", "x2"), "dml_irm", effect=effect, **LINEAR)
    other = estimate(change(source), ask("x1", "x2"), "dml_irm", effect=effect, **LINEAR)
    within = 1e-8 * abs(factor) * base.std_error[0]
    assert abs(other.effect[0] - factor * base.effect[0]) <= within
    assert abs(other.std_error[0] - abs(factor) * base.std_error[0]) <= within


def test_same_seed_same_numbers_for_any_number_of_jobs_and_the_global_seed_is_not_touched():
    from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor

    source, question = panel(), ask("x1", "x2")
    forest = {"learner": RandomForestRegressor(5), "propensity": RandomForestClassifier(5), "repetitions": 2}
    before = np.random.get_state()[1]  # noqa: NPY002 (the global generator is what is tested)
    one = estimate(source, question, "dml_irm", seed=5, **forest)
    with study.settings(jobs=2):
        two = estimate(source, question, "dml_irm", seed=5, **forest)
    other = estimate(source, question, "dml_irm", seed=6, **forest)
    assert np.array_equal(before, np.random.get_state()[1])  # noqa: NPY002 (the global generator is what is tested)
    assert np.array_equal(one.influence, two.influence)
    assert one.effect[0] == two.effect[0] != other.effect[0]
    assert one.seed == 5


def test_repetitions_are_averaged_and_their_spread_is_told():
    source, question = panel(), ask("x1")
    many = estimate(source, question, "dml_irm", **LINEAR | {"repetitions": 4})
    assert "Over 4 draws of the folds" in many.notes[-1]
    assert abs(many.influence.mean()) < EXACT


def test_propensities_of_an_effect_on_all_are_clipped_on_both_sides_and_counted():
    source, question = panel(n=200), ask("x1", "x2")
    fit = estimate(source, question, "dml_irm", effect="ate", trim=0.4, **LINEAR)
    options = {"effect": "ate", "before": 1, "after": 1, "folds": 5, "trim": 0.4, "seed": 0}
    asked = find_design("dml_irm").nuisances_of(question.sample(source), **options, **LINEAR)
    assert asked.limits == (0.4, 0.6)
    (part,) = asked.parts
    m = cross_fit(part.x, part.period, {"m": part.functions["m"]}, part.folds, 0)["m"]
    low, high = int((m < 0.4).sum()), int((m > 0.6).sum())
    assert min(low, high) > 0
    assert f"(200 units) {low} below 0.4 and {high} above 0.6 are set to that bound." in fit.notes[0]


def test_low_propensities_are_not_raised_for_an_effect_on_the_treated():
    source, question = panel(n=200), ask("x1", "x2")
    fits = [estimate(source, question, "dml_irm", trim=trim, **LINEAR) for trim in (0.01, 0.3, 0.45)]
    change, treated, fold = cross_section(question.sample(source))
    x = question.sample(source).x_baseline
    g, m = twins("linear")
    for fit, trim in zip(fits, (0.01, 0.3, 0.45), strict=True):
        score = np.empty(200)
        for k in range(FOLDS):
            train, asked = fold != k, fold == k
            rest = change[asked] - g.fit(x[train & (treated == 0)], change[train & (treated == 0)]).predict(
                x[asked]
            )
            p = np.minimum(m.fit(x[train], treated[train]).predict_proba(x[asked])[:, 1], 1 - trim)
            score[asked] = (treated[asked] - (1 - treated[asked]) * p / (1 - p)) * rest
        assert fit.effect[0] == pytest.approx(score.sum() / treated.sum(), rel=1e-7)
    assert fits[0].effect[0] != fits[2].effect[0]


def test_one_untreated_unit_on_which_the_comparison_rests_is_named():
    source = panel(n=200)
    x = source.covariates["x1"].copy()
    untreated = np.flatnonzero(np.isnan(source.first_treated["event"]))
    treated = np.flatnonzero(~np.isnan(source.first_treated["event"]))
    x[treated[:20]] += 8
    x[untreated[3]] += 8
    source = replace(source, covariates={"x1": x})
    fit = estimate(source, ask("x1"), "dml_irm", **LINEAR)
    assert f"{source.units[untreated[3]]} has the largest share" in fit.notes[1]
    share = float(fit.notes[1].rsplit(" ", 1)[1].rstrip("%."))
    assert share > 20


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("effect", ["att", "ate"])
def test_an_outcome_of_0_and_1_is_an_outcome(effect):
    source = panel()
    treated = ~np.isnan(source.first_treated["event"])
    y = np.zeros(source.outcomes["y"].shape)
    y[treated, -1] = np.arange(treated.sum()) % 3 > 0
    fit = estimate(with_outcome(source, y), ask(), "dml_irm", effect=effect, **LINEAR)
    expected = y[treated, -1].mean()
    assert fit.effect[0] == pytest.approx(expected, rel=EXACT if effect == "att" else 0.1)


def test_what_is_learned_is_told_with_the_words_and_limits_that_the_design_uses():
    options = {"before": 1, "after": 1, "folds": 2, "trim": 0.02, "seed": 0}
    sample = ask("x1", scale="log1p").sample(with_outcome(panel(), np.exp(panel().outcomes["y"])))
    asked = find_design("dml_irm").nuisances_of(sample, effect="att", **options, **LINEAR)
    assert set(asked.words) == set(asked.parts[0].functions) == {"g0", "m"}
    assert asked.words["g0"] == "the change of log(1 + y) among untreated units"
    assert asked.limits == (0.0, 0.98)


def few_treated(source: Panel) -> Panel:
    first = source.first_treated["event"].copy()
    first[np.flatnonzero(~np.isnan(first))[2:]] = np.nan
    return replace(source, first_treated={"event": first})


def early(source: Panel) -> Panel:
    first = source.first_treated["event"].copy()
    first[first == 2014] = 2013
    return replace(source, first_treated={"event": first})


def off_again(source: Panel) -> Panel:
    path = 1.0 * (source.first_treated["event"][:, None] == PERIODS)
    return replace(source, first_treated={}, treatment={"event": path})


def alike(source: Panel) -> Panel:
    return with_outcome(source, np.ones((120, 5)))


class NoChances:
    """A classifier that cannot tell chances."""

    def fit(self, x, y):
        return self

    def get_params(self, deep=True):
        return {}

    def __repr__(self) -> str:
        return "NoChances()"


@pytest.mark.parametrize(
    ("change", "fields", "options", "message"),
    [
        (None, {}, {"folds": 1}, "folds is 1; it must be a whole number, at least 2"),
        (None, {}, {"repetitions": 0}, "repetitions is 0"),
        (None, {}, {"seed": -1}, "seed is -1"),
        (None, {}, {"trim": 0.5}, "trim is 0.5; it must be a number above 0 and below 0.5"),
        (None, {}, {"trim": 0}, "trim is 0; it must be"),
        (None, {}, {"trim": "none"}, "trim is 'none'; it must be"),
        (None, {}, {"before": 0}, "before is 0; it must be a whole number, at least 1"),
        (None, {}, {"before": 2}, "of the 5 periods the first 1 are without treatment"),
        (None, {}, {"after": 5}, "before=1 and after=5 do not fit"),
        (early, {"anticipation": 1}, {"before": 2}, "the first 1 are without treatment"),
        (None, {}, {"learner": "jungle"}, 'there is no learner "jungle"'),
        (None, {}, {"propensity": "jungle"}, 'there is no propensity "jungle"'),
        (None, {}, {"propensity": NoChances()}, r"propensity is NoChances\(\), which has no predict_proba"),
        (None, {}, {"learner": NoChances()}, r"learner is NoChances\(\), which has no predict"),
        (None, {}, {"effect": "late"}, 'there is no effect "late"'),
        (None, {}, {"folds": 61}, "61 folds of at least two units need 122, but 120 are seen at both ends"),
        (None, {"cluster": "state"}, {"folds": 11}, r"clusters \(state\) need 22, but 20"),
        (few_treated, {}, {}, r"fewer than two units are treated \(2 of 120 are in all\), too few"),
        (None, {"scale": "proportional"}, {"effect": "ate"}, 'effect="ate" has nothing to divide by'),
        (alike, {}, {}, "y changes alike for all 120 units that are seen at both ends"),
        (alike, {}, {"effect": "ate"}, "y changes alike for all 120 units that are seen at both ends"),
        (off_again, {}, {}, "it cannot answer a question with an event that is not absorbing"),
        (None, {"weights": "x1"}, {}, "it cannot answer a question with weights"),
        (None, {"instrument": "x1"}, {}, "it cannot answer a question with an instrument; dml_iv, iv can"),
    ],
)
def test_bad_input_is_refused_in_one_line_before_fitting(change, fields, options, message, monkeypatch):
    monkeypatch.setattr(sys.modules["study.learners.nuisances"], "cross_fit", None)
    source = panel() if change is None else change(panel())
    with pytest.raises(QuestionError, match=message) as error:
        estimate(source, ask(**fields), "dml_irm", **options)
    assert "\n" not in str(error.value)
    assert str(error.value).startswith("dml_irm: ")


def test_a_change_is_of_units_that_are_seen_in_all_periods_of_both_ends_so_that_periods_drop_out():
    source = panel()
    y = source.outcomes["y"].copy()
    y[:40:3, -1] = np.nan
    shifted = y + 100 * (np.arange(y.shape[1]) == y.shape[1] - 1)
    long, moved = (
        long_change(ask().sample(with_outcome(source, each)), 1, 2, "here") for each in (y, shifted)
    )
    assert not np.isin(np.arange(0, 40, 3), long.unit).any()
    assert long.window == "the change from 2011 to 2014-2015"
    assert long.at_end[0] == pytest.approx(y[1, -2:].mean(), rel=EXACT)
    np.testing.assert_allclose(moved.change, long.change + 50, rtol=0, atol=1e-9)


def test_the_effect_on_the_treated_is_not_compared_with_that_on_all() -> None:
    linear = {"learner": "linear", "propensity": "linear", "folds": 2, "repetitions": 1}
    both = [("dml_irm", {"effect": effect, **linear}, effect) for effect in ("att", "ate")]
    question = Question("y", "event", covariates=("x1",))
    found = study.compare(simulated.panel(120), question, both, draws=99)
    assert found.differences().empty
    assert "Not compared: ate, of another kind (ATE on the change from 1 to 8" in found.notes[0]
    forced = study.compare(simulated.panel(120), question, both, force=True, draws=99)
    assert len(forced.differences()) == 1
