"""Effects by group: doubly robust scores against plain loops, econml and known truths."""

from __future__ import annotations

import warnings
from dataclasses import replace

import gaining
import numpy as np
import pytest
import simulated
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin
from sklearn.linear_model import LinearRegression, LogisticRegression
from twins.learned import splits

from study import Question, QuestionError, heterogeneity, settings
from study.estimates import Estimand, coefficients
from study.heterogeneity import scored
from study.heterogeneity.page import usual_groupings
from study.heterogeneity.scored import NEAREST, _thirds, all_pairs, grouping

EXACT = 1e-9
DRAWS = 999
LINEAR = {"learner": "linear", "repetitions": 2}


def brute_scores(scores: heterogeneity.Scores) -> tuple[np.ndarray, np.ndarray]:
    """Return both kinds of scores, one unit at a time, by scikit-learn."""
    x, y, d = scores.x, scores.rows.change, scores.rows.treated
    every, on_treated = np.zeros((2, *scores.folds.place.shape))
    for r, fold in enumerate(scores.folds.fold.T):
        for k in range(scores.folds.number):
            train = fold != k
            untreated = LinearRegression().fit(x[train & (d == 0)], y[train & (d == 0)])
            treated = LinearRegression().fit(x[train & (d == 1)], y[train & (d == 1)])
            logit = LogisticRegression(C=np.inf, tol=1e-10, solver="newton-cholesky").fit(x[train], d[train])
            for i in np.flatnonzero(fold == k):
                row = x[i : i + 1]
                m0, m1 = untreated.predict(row)[0], treated.predict(row)[0]
                e = min(max(logit.predict_proba(row)[0, 1], NEAREST), 1 - NEAREST)
                if d[i] == 1:
                    every[i, r], on_treated[i, r] = m1 - m0 + (y[i] - m1) / e, y[i] - m0
                else:
                    every[i, r] = m1 - m0 - (y[i] - m0) / (1 - e)
                    on_treated[i, r] = -e / (1 - e) * (y[i] - m0)
    return every, on_treated


def test_scores_are_those_of_a_loop_over_units_and_folds() -> None:
    scores = heterogeneity.score(gaining.sample(n=120), **LINEAR)
    every, on_treated = brute_scores(scores)
    np.testing.assert_allclose(scores.effects, every, atol=1e-7)
    np.testing.assert_allclose(scores.on_treated, on_treated, atol=1e-7)


@pytest.mark.parametrize("of", ["treated", "all"])
def test_group_effects_are_means_of_scores_and_their_errors_are_clustered_sums(of: str) -> None:
    scores = heterogeneity.score(gaining.sample(n=200, cluster="state"), **LINEAR)
    found = heterogeneity.effects_by_group(scores, "large", of=of, draws=DRAWS)
    label, treated = scores.sample.attributes["large"], scores.rows.treated
    for k, name in enumerate(found["fit"].terms):
        rows = label == name
        values = scores.effects[rows].mean(axis=1) if of == "all" else scores.on_treated[rows].mean(axis=1)
        counted = np.ones(rows.sum()) if of == "all" else treated[rows]
        effect = values.sum() / counted.sum()
        sums = np.bincount(scores.cluster[rows], values - counted * effect)
        g = len(np.unique(scores.cluster))
        error = np.sqrt(g / (g - 1) * np.sum(sums**2)) / counted.sum()
        assert found["fit"].effect[k] == pytest.approx(effect, abs=EXACT)
        assert found["fit"].with_vcov("CR1").std_error[k] == pytest.approx(error, abs=EXACT)


def test_observations_are_the_units_that_are_seen_at_both_ends() -> None:
    made = gaining.sample(n=200)
    y = made.y.copy()
    y[:30, 0] = np.nan
    scores = heterogeneity.score(replace(made, y=y), **LINEAR)
    assert len(scores.rows.unit) == 170
    assert heterogeneity.effects_by_group(scores, "large", draws=DRAWS)["fit"].n_obs == 170


class Twin(BaseEstimator):
    """A linear model of the columns after the first two of X, W (which are groups), by treatment where it is there."""

    def fit(self, xw, y):
        self.classes_ = np.array([0, 1])
        self.models_ = self.learn(xw[:, 2:], y)
        return self


class TwinOutcome(RegressorMixin, Twin):
    def learn(self, columns, y):
        return [
            LinearRegression().fit(columns[columns[:, -1] == d, :-1], y[columns[:, -1] == d]) for d in (0, 1)
        ]

    def predict(self, xw):
        columns = xw[:, 2:]
        both = [model.predict(columns[:, :-1]) for model in self.models_]
        return np.where(columns[:, -1] == 1, both[1], both[0])


class TwinPropensity(ClassifierMixin, Twin):
    def learn(self, columns, y):
        return LogisticRegression(C=np.inf, tol=1e-10, solver="newton-cholesky").fit(columns, y)

    def predict_proba(self, xw):
        return self.models_.predict_proba(xw[:, 2:])

    def predict(self, xw):
        return self.predict_proba(xw).argmax(axis=1)


def test_the_doubly_robust_learner_of_econml_on_groups_has_our_group_means() -> None:
    from econml.dr import LinearDRLearner

    scores = heterogeneity.score(gaining.sample(n=240), learner="linear", repetitions=1)
    found = heterogeneity.effects_by_group(scores, "large", of="all", draws=DRAWS)
    dummies = (scores.groups("large").member[:, None] == [0, 1]).astype(float)
    model = LinearDRLearner(
        model_propensity=TwinPropensity(),
        model_regression=TwinOutcome(),
        fit_cate_intercept=False,
        min_propensity=NEAREST,
        cv=splits(scores.folds)[0],
        random_state=0,
    )
    z = (scores.x - scores.x.mean(axis=0)) / scores.x.std(axis=0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model.fit(scores.rows.change, scores.rows.treated.astype(int), X=dummies, W=z)
    np.testing.assert_allclose(found["fit"].effect, np.ravel(model.coef_(T=1)), atol=EXACT)


@pytest.mark.parametrize("of", ["treated", "all"])
def test_where_only_large_units_gain_the_groups_cover_the_truth_and_differ(of: str) -> None:
    scores = heterogeneity.score(gaining.sample(n=500, seed=1), **LINEAR)
    found = heterogeneity.effects_by_group(scores, "large", of=of, draws=DRAWS)
    assert found["differ"]
    assert found["p_equal"] < 1e-6
    band = found.frame.set_index("group")
    for name, truth in (("large", gaining.GAIN), ("small", 0.0)):
        assert band.loc[name, "band_low"] < truth < band.loc[name, "band_high"]
    assert "differ" in found.sentences[0]


def test_where_all_gain_alike_groups_seldom_differ_and_errors_are_of_the_size_that_is_said() -> None:
    rejected, standardised = 0, []
    for seed in range(16):
        scores = heterogeneity.score(
            gaining.sample(n=200, seed=seed, only_large=False), learner="linear", repetitions=1
        )
        found = heterogeneity.effects_by_group(scores, "side", draws=199)
        rejected += found["differ"]
        standardised.append((found["fit"].effect - gaining.GAIN / 2) / found["fit"].std_error)
    assert rejected <= 4  # a 5% test rejects more often in one of a thousand sets of sixteen
    assert 0.7 < np.sqrt(np.mean(np.square(standardised))) < 1.4


def test_constants_of_units_and_periods_change_no_effect_and_the_scale_of_the_outcome_scales_it() -> None:
    made = gaining.panel(n=160)
    rng = np.random.default_rng(5)
    y = made.outcomes["y"]
    moved = y + rng.normal(size=(len(y), 1)) + rng.normal(size=4)
    question = Question("y", "event", covariates=("other", "size"))
    base, shifted, scaled = (
        heterogeneity.effects_by_group(
            heterogeneity.score(question.sample(replace(made, outcomes={"y": values})), **LINEAR),
            "large",
            draws=99,
        )["fit"]
        for values in (y, moved, 7 * y)
    )
    np.testing.assert_allclose(shifted.effect, base.effect, atol=1e-8)
    np.testing.assert_allclose(scaled.effect, 7 * base.effect, atol=1e-8)
    np.testing.assert_allclose(scaled.std_error, 7 * base.std_error, atol=1e-8)


def test_a_proportional_effect_is_the_effect_over_the_mean_that_the_treated_would_have_had() -> None:
    fits = [
        heterogeneity.effects_by_group(
            heterogeneity.score(gaining.sample(scale=scale), **LINEAR), "large", draws=99
        )["fit"]
        for scale in ("level", "proportional")
    ]
    assert fits[0].untreated_mean is not None
    scores = heterogeneity.score(gaining.sample(), **LINEAR)
    rows = (scores.sample.attributes["large"] == "large") & (scores.rows.treated == 1)
    at_end = scores.rows.at_end[rows].mean()
    expected = fits[0].effect[0] / (at_end - fits[0].effect[0])
    assert fits[1].effect[0] == pytest.approx(expected, abs=EXACT)


def test_units_without_a_label_are_a_group_that_has_a_name() -> None:
    drawn = gaining.sample(n=90)
    labels = np.where(np.arange(90) < 40, "", drawn.attributes["large"])
    unlabelled = drawn.question.sample(replace(drawn.panel, attributes={"large": labels, "country": labels}))
    assert "no large" in grouping(unlabelled, "large").labels
    assert grouping(unlabelled, "large").sizes().sum() == 90
    assert any(by in ("country=large", "country=small") for by in usual_groupings(unlabelled, None))
    nowhere = replace(drawn.panel, attributes={"country": np.full(90, "")})
    assert usual_groupings(drawn.question.sample(nowhere), None) == ("size",)


def test_groups_by_label_rule_and_covariate_are_who_they_say() -> None:
    drawn = gaining.sample(n=90)
    size = drawn.x_baseline[:, 1]
    thirds = grouping(drawn, "size")
    assert [np.sum(thirds.member == g) for g in range(3)] == [30, 30, 30]
    assert max(size[thirds.member == 0]) < min(size[thirds.member == 1])
    far = grouping(
        replace(drawn, panel=replace(drawn.panel, covariates={"size": size[:, None] + np.full(4, 1e6)})),
        "size",
    )
    np.testing.assert_array_equal(far.member, thirds.member)
    assert far.labels[0].startswith("size 999997")
    assert len({*far.labels}) == 3
    rule = grouping(drawn, "large=small")
    np.testing.assert_array_equal(rule.member == 0, size <= 0)
    assert rule.labels == ("large=small", "others")
    labels = "1 paper", "2-9 papers", "10-49 papers"
    assert grouping(simulated_sample(labels[::-1]), "tier").labels == labels
    assert grouping(simulated_sample("②²"), "tier").labels == ("²", "②")


def simulated_sample(labels):
    made = gaining.panel(n=30)
    labels = np.resize(np.array([*labels]), 30)
    return Question("y", "event").sample(replace(made, attributes={"tier": labels}))


def test_values_at_a_bound_of_thirds_are_in_the_lower_one_and_units_without_one_in_none() -> None:
    of = _thirds("size", np.array([4.0, 1.0, np.nan, 2.0, 3.0]))
    assert of.member.tolist() == [2, 0, -1, 0, 1]
    assert of.labels == ("size 1 to 2", "size 3", "size 4")


def test_of_groups_that_all_have_treated_units_the_largest_has_no_column() -> None:
    drawn = gaining.panel(n=200)
    drawn = replace(drawn, attributes={"place": np.where(np.arange(200) % 3 == 0, "few", "most")})
    sample = Question("y", "event", covariates=("other", "size")).sample(drawn)
    scores = heterogeneity.score(sample, groups=("place",), learner="linear", repetitions=1)
    assert scores.names == ("other", "size", "place few")
    np.testing.assert_array_equal(scores.x[:, 2], drawn.attributes["place"] == "few")


def test_units_are_worth_as_many_as_their_weights_by_kish_and_no_propensity_is_beyond_the_limit(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(scored, "NEAREST", 0.3)
    sample = gaining.sample(n=200)
    scores = heterogeneity.score(sample, learner="linear", folds=2, repetitions=1)
    treated, p = scores.rows.treated == 1, scores.predicted.propensity[:, 0]
    for w in ((p / (1 - p))[~treated], 1 / p[treated]):
        assert f"worth {w.sum() ** 2 / (w @ w):,.0f}" in scores.overlap
    for predicted in scores.outside.values():
        assert predicted.propensity.min() == 0.3


def test_groups_with_few_treated_units_are_named_and_have_no_effect() -> None:
    scores = heterogeneity.score(gaining.sample(), groups=("rare",), **LINEAR)
    found = heterogeneity.effects_by_group(scores, "rare", draws=99)
    assert found["fit"].terms == ("many",)
    few = found.frame.set_index("group").loc["few"]
    assert few["n_units"] == 6
    assert np.isnan(few["estimate"])
    assert any("few (" in sentence for sentence in found.sentences)
    assert scores.names == ("other", "size", "rare many")


def test_all_pairs_are_differences_with_their_own_errors_and_equal_terms_are_not_tested() -> None:
    drawn = gaining.sample(n=100)
    rng = np.random.default_rng(0)
    psi = rng.normal(size=(100, 2))
    influence = np.column_stack([psi, psi[:, 0]])
    sizes = {"n_obs": 2 * drawn.n_units, "published": "CR1"}
    fit = coefficients(
        drawn,
        ("a", "b", "c"),
        np.array([1.0, 0.0, 1 + 1e-13]),
        influence,
        estimand=Estimand.LONG_CHANGE,
        **sizes,
    )
    pairs = all_pairs(fit.with_vcov("CR1"), level=0.95, draws=DRAWS, seed=0)
    assert pairs.pairs == (("a", "b"), ("a", "c"), ("b", "c"))
    error = np.sqrt(100 / 99 * np.sum((psi[:, 0] - psi[:, 1]) ** 2)) / 100
    np.testing.assert_allclose(pairs.std_error[[0, 2]], error, rtol=1e-12)
    assert np.isnan(pairs.p_adjusted[1])
    assert pairs.difference[1] == 0
    treated = drawn.first_treated > 0
    m = np.where(treated, treated.sum(), (~treated).sum())
    left_out = np.sqrt(np.sum((m / (m - 1) * (psi[:, 0] - psi[:, 1])) ** 2)) / 100
    np.testing.assert_allclose(
        all_pairs(fit, level=0.95, draws=DRAWS, seed=0).std_error[[0, 2]], left_out, rtol=1e-12
    )
    table = pairs.tidy()
    half = np.where(np.isnan(pairs.std_error), np.nan, pairs.critical * pairs.std_error)
    np.testing.assert_allclose(table["band_low"], pairs.difference - half)
    np.testing.assert_allclose(table["band_high"], pairs.difference + half)


def test_a_group_whose_counterfactual_mean_is_not_positive_takes_no_difference_from_the_others() -> None:
    drawn = gaining.panel(n=150)
    third = np.array(["first", "second", "third"])[np.arange(150) % 3]
    y = drawn.outcomes["y"] - 60.0 * (third == "first")[:, None]
    drawn = replace(drawn, outcomes={"y": y}, attributes={"third": third})
    question = Question("y", "event", covariates=("other", "size"), scale="proportional")
    scores = heterogeneity.score(question.sample(drawn), learner="linear", repetitions=2, groups=("third",))
    found = heterogeneity.effects_by_group(scores, "third", draws=DRAWS)
    pairs, effect = found["pairs"], found["fit"].effect
    assert np.isnan(effect).tolist() == [True, False, False]
    assert np.isfinite(pairs.std_error).tolist() == [False, False, True]
    assert pairs.difference[2] == effect[1] - effect[2]
    assert any(
        "counterfactual mean that is not positive: first (" in sentence for sentence in found.sentences
    )
    assert not any("too few clusters" in sentence for sentence in found.sentences)


def test_a_group_in_one_cluster_has_no_error_and_takes_none_from_the_others() -> None:
    drawn = gaining.panel(n=300)
    place = np.where(np.arange(300) % 5 == 0, "far", np.where(np.arange(300) % 2 == 0, "even", "odd"))
    state = np.where(place == "far", "alone", drawn.attributes["state"])
    drawn = replace(drawn, attributes={**drawn.attributes, "place": place, "state": state})
    question = Question("y", "event", covariates=("other", "size"), cluster="state")
    scores = heterogeneity.score(question.sample(drawn), learner="linear", repetitions=2)
    found = heterogeneity.effects_by_group(scores, "place", draws=DRAWS)
    effect = found.frame.set_index("group")["estimate"]
    pairs = found["pairs"].tidy().set_index(["first", "second"])
    for first, second in pairs.index:
        assert pairs.loc[(first, second), "difference"] == pytest.approx(effect[first] - effect[second])
    assert pairs.index[np.isfinite(pairs["std_error"])].tolist() == [("even", "odd")]
    assert found["pairs"].p_value <= 1
    assert "No standard error and no test, with too few clusters on a side: far." in found.sentences
    (draws,) = (sentence for sentence in found.sentences if "One draw" in sentence)
    assert float(draws.split("up to ")[1].split()[0]) < 10


def test_groups_that_are_the_clusters_are_refused_for_want_of_a_variance() -> None:
    drawn = gaining.panel(n=300)
    drawn = replace(drawn, attributes={"sixth": (np.arange(300) % 6).astype(str)})
    question = Question("y", "event", covariates=("other", "size"), cluster="sixth")
    scores = heterogeneity.score(question.sample(drawn), learner="linear", folds=2, repetitions=1)
    with pytest.raises(QuestionError, match="no term has a sampling variance"):
        heterogeneity.effects_by_group(scores, "sixth", draws=DRAWS)


def test_numbers_do_not_depend_on_jobs_nor_move_numpys_own_generator() -> None:
    before = np.random.get_state()[1].copy()  # noqa: NPY002 (the global generator is what is tested)
    tables = []
    for jobs in (1, 2):
        with settings(jobs=jobs):
            scores = heterogeneity.score(gaining.sample(n=120), learner="lightgbm", repetitions=1, folds=2)
            made = (
                heterogeneity.effects_by_group(scores, "large", draws=99),
                heterogeneity.policy(scores, 15, draws=99),
            )
            tables.append([found.tidy() for found in made] + [heterogeneity.forest(scores, trees=40).tidy()])
    for first, second in zip(*tables, strict=True):
        assert first.equals(second)
    np.testing.assert_array_equal(before, np.random.get_state()[1])  # noqa: NPY002 (the global generator is what is tested)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"learner": "lassoo"}, 'there is no learner "lassoo". Did you mean "lasso"?'),
        ({"learner": LinearRegression()}, "which has no predict_proba, so it cannot learn the propensity"),
        ({"folds": 1}, "heterogeneity: folds is 1; it must be a whole number, at least 2"),
        ({"before": 2}, "heterogeneity: before=2 and after=1 do not fit"),
        ({"groups": ("colour",)}, 'heterogeneity, by: there is no attribute or covariate "colour"'),
    ],
)
def test_impossible_options_are_refused_in_one_line(options: dict, said: str) -> None:
    with pytest.raises(QuestionError) as error:
        heterogeneity.score(gaining.sample(n=100), **options)
    assert said in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("drawn", "said"),
    [
        (
            lambda: gaining.sample(n=100, share=0.05),
            "units are treated by the end of the window, and at least 20",
        ),
        (lambda: gaining.sample(weights="weight"), "dml_irm: it cannot answer a question with weights"),
        (lambda: gaining.sample(instrument="weight"), "with an instrument"),
        (lambda: gaining.sample(group="large=large"), "with a third difference"),
        (lambda: gaining.sample(missing="cells"), 'with missing="cells"'),
        (lambda: gaining.sample(base="varying"), 'with base="varying"'),
        (lambda: gaining.sample(average="event_average", balance=1), "with a balance of cohorts"),
        (
            lambda: Question("y", "event").sample(gaining.panel()),
            "heterogeneity: the question has no covariates",
        ),
        (
            lambda: Question("y", "event").sample(simulated.switching()),
            "heterogeneity, by the scores of dml_irm: .* not absorbing",
        ),
    ],
)
def test_samples_that_say_nothing_of_who_gains_are_refused(drawn, said: str, monkeypatch) -> None:
    made = gaining.panel
    monkeypatch.setattr(gaining, "panel", lambda *a, **k: with_weight(made(*a, **k)))
    with pytest.raises(QuestionError, match=said):
        heterogeneity.score(drawn())


def with_weight(made):
    return replace(made, covariates=dict(made.covariates) | {"weight": np.ones(made.outcomes["y"].shape)})


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"by": "colour"}, 'there is no attribute or covariate "colour"'),
        ({"by": "large", "of": "untreated"}, 'there is no average "untreated"'),
        ({"by": "large", "level": 95}, "level is 95; it must lie between 0 and 1"),
        ({"by": "large", "draws": 0}, "draws is 0; it must be a whole number"),
        ({"by": "state"}, "no group by state has 5 treated and 5 other units"),
    ],
)
def test_impossible_groups_are_refused_in_one_line(options: dict, said: str) -> None:
    scores = heterogeneity.score(gaining.sample(n=100), learner="linear", repetitions=1)
    with pytest.raises(QuestionError, match=said):
        heterogeneity.effects_by_group(scores, **options)


def test_an_effect_on_all_units_has_no_proportional_scale() -> None:
    scores = heterogeneity.score(gaining.sample(n=100, scale="proportional"), learner="linear", repetitions=1)
    with pytest.raises(QuestionError, match="no counterfactual mean to divide by"):
        heterogeneity.effects_by_group(scores, "large", of="all")
