"""The allocation of grants: rules, their values against plain sums, econml's tree, and known truths."""

from __future__ import annotations

from dataclasses import replace

import gaining
import numpy as np
import pandas as pd
import pytest
import scipy.stats
import simulated
from matplotlib.backends.backend_agg import FigureCanvasAgg

from study import Question, QuestionError, heterogeneity
from study.heterogeneity.allocation import (
    _chart,
    chances,
    distinct,
    least_leaf,
    policy_tree,
    tree_chances,
    tree_text,
)
from study.heterogeneity.scored import NEAREST, Scores, prior_of

EXACT = 1e-9
DRAWS = 999
LINEAR = {"learner": "linear", "repetitions": 1}


def scored(*, only_large: bool = True, n: int = 600, seed: int = 0, **asks: object) -> Scores:
    return heterogeneity.score(gaining.sample(n=n, seed=seed, only_large=only_large, **asks), **LINEAR)


def test_grants_go_by_priority_and_equal_units_have_equal_chances() -> None:
    given = chances(np.array([3.0, 1.0, 2.0, 2.0, 2.0, 0.0]), 2.5)
    np.testing.assert_allclose(given, [1, 0, 0.5, 0.5, 0.5, 0])
    np.testing.assert_allclose(chances(np.zeros(8), 2), 0.25)


@pytest.mark.parametrize("budget", [1, 7, 39])
def test_no_more_grants_are_given_than_there_are(budget: int) -> None:
    priority = np.random.default_rng(budget).integers(0, 5, 40).astype(float)
    given = chances(priority, budget)
    assert given.sum() == pytest.approx(budget)
    assert given.min() >= 0
    assert given.max() <= 1
    order = np.argsort(-priority)
    assert np.all(np.diff(given[order]) <= 0)


def test_values_are_means_of_scores_of_those_chosen_and_errors_are_clustered_sums() -> None:
    scores = scored(n=200, cluster="state")
    found = heterogeneity.policy(scores, 30, draws=DRAWS)
    psi, g = scores.effects[:, 0], len(np.unique(scores.cluster))
    for k in range(4):
        weight = found["chances"][:, k]
        value = sum(w * s for w, s in zip(weight, psi, strict=True)) / 30
        sums = np.bincount(scores.cluster, weight * (psi - value)) / 30
        assert found["fit"].effect[k] == pytest.approx(value, abs=EXACT)
        error = np.sqrt(g / (g - 1) * np.sum(sums**2))
        assert found["fit"].with_vcov("CR1").std_error[k] == pytest.approx(error, abs=EXACT)
    assert found["chances"].sum(axis=0) == pytest.approx([30, 30, 30, 30])
    size = scores.x[:, 1]
    assert set(np.flatnonzero(found["chances"][:, 1])) == set(np.argsort(-size)[:30])
    assert set(np.flatnonzero(found["chances"][:, 2])) == set(np.argsort(size)[:30])


def test_names_of_the_figures_axes_leave_each_other_room() -> None:
    rules = pd.DataFrame(
        {"rule": ["at random", "largest first"], "value": [1.0, 2.0], "less_random": [np.nan, 1.0]}
    )
    rules = rules.assign(conf_low=0.0, conf_high=3.0, half_width_less_random=0.5)
    figure = _chart(rules, None, "papers of all teams of the university", 0.95)
    FigureCanvasAgg(figure).draw()
    left, right = (axis.xaxis.label.get_window_extent() for axis in figure.axes)
    assert 0 <= left.x0 < left.x1 < right.x0 < right.x1 <= figure.bbox.x1
    assert figure.axes[0].get_window_extent().height > 2 * 0.15 * figure.dpi


def test_a_rule_without_an_error_takes_none_from_the_others() -> None:
    found = heterogeneity.policy(scored(n=200), 1, draws=DRAWS)
    rules = found.frame.set_index("rule")
    others = rules.drop("at random")
    np.testing.assert_allclose(others["less_random"], others["value"] - rules.loc["at random", "value"])
    alone = ["largest first", "smallest first"]
    assert rules.loc[alone, "std_error"].isna().all()
    assert rules.loc[alone, "std_error_less_random"].isna().all()
    assert rules.loc["policy tree", "std_error_less_random"] > 0
    said = f"No standard error and no test, with too few clusters on a side: {', '.join(alone)}."
    assert said in found.sentences


def test_where_only_large_units_gain_the_tree_finds_them_and_beats_a_random_allocation() -> None:
    found = heterogeneity.policy(scored(seed=2), 60, draws=DRAWS)
    assert set(found["differ_from_random"]) >= {"policy tree", "largest first", "smallest first"}
    value = dict(zip(found["fit"].terms, found["fit"].effect, strict=True))
    assert value["policy tree"] > value["at random"] + 0.5
    assert value["smallest first"] < value["at random"] - 0.5
    assert abs(value["policy tree"] - gaining.GAIN) < 4 * found["fit"].std_error[3]
    assert "size > " in " ".join(found["tree"])
    assert found.sentences[0].startswith("Significantly different from 60 grants given at random")


@pytest.mark.parametrize("seed", [0, 1])
def test_where_all_gain_alike_no_rule_differs_from_random_and_the_page_says_what_is_detectable(
    seed: int,
) -> None:
    found = heterogeneity.policy(scored(only_large=False, seed=seed), 60, draws=DRAWS)
    assert found["differ_from_random"] == ()
    assert found["pairs"].p_value > 0.05
    table = found.tidy().set_index("rule")
    assert found.sentences[0].startswith(
        "No rule for 60 grants differs significantly from giving them at random"
    )
    assert f"{table.loc['policy tree', 'detectable_difference']:.3g} for policy tree" in found.sentences[0]
    k = [second for _, second in found["pairs"].pairs[:3]].index("policy tree")
    both = found["pairs"].critical[k] + scipy.stats.t.ppf(0.8, found["pairs"].degrees_of_freedom[k])
    smallest = both * table.loc["policy tree", "std_error_less_random"]
    assert table.loc["policy tree", "detectable_difference"] == pytest.approx(smallest, rel=1e-6)


def test_a_units_chance_by_the_tree_does_not_depend_on_any_outcome_of_its_fold() -> None:
    made = gaining.panel(n=240)
    question = Question("y", "event", covariates=("other", "size"))
    first = heterogeneity.score(question.sample(made), **LINEAR)
    inside = first.folds.fold[:, 0] == 1
    y = made.outcomes["y"].copy()
    y[inside] = np.random.default_rng(0).normal(scale=50, size=(inside.sum(), 4))
    second = heterogeneity.score(question.sample(replace(made, outcomes={"y": y})), **LINEAR)
    np.testing.assert_array_equal(first.folds.fold, second.folds.fold)
    before, after = tree_chances(first, 24, 0)[:, 0], tree_chances(second, 24, 0)[:, 0]
    np.testing.assert_array_equal(before[inside], after[inside])
    assert not np.array_equal(before[~inside], after[~inside])


def test_each_fold_gets_its_share_of_the_grants() -> None:
    scores = scored(n=203)
    given = tree_chances(scores, 20, 0)[:, 0]
    for k in range(scores.folds.number):
        inside = scores.folds.fold[:, 0] == k
        assert given[inside].sum() == pytest.approx(20 * inside.sum() / 203)


# Seeds whose trees have no split that gains nothing, of which the last bits of the effects would choose one.
@pytest.mark.parametrize("seed", [1, 8, 24])
def test_the_tree_is_that_of_econmls_doubly_robust_policy_learner_on_the_same_predictions(seed: int) -> None:
    from econml.policy import DRPolicyTree

    scores = scored(n=300)
    mean = scores.effects.mean()
    predicted = scores.predicted.mean()
    priced = predicted._replace(treated=predicted.treated - mean)
    change = scores.rows.change - mean * scores.rows.treated
    least = least_leaf(300)
    theirs = DRPolicyTree(
        model_regression=gaining.GivenOutcome(),
        model_propensity=gaining.GivenPropensity(),
        min_propensity=NEAREST,
        max_depth=2,
        min_samples_leaf=least,
        min_samples_split=2 * least,
        honest=True,
        cv=1,
        random_state=seed,
    ).fit(change, scores.rows.treated.astype(int), X=scores.x, W=np.column_stack(priced))
    effects = scores.effects[:, 0]
    ours = policy_tree(scores.x, effects, seed).predict_value(scores.x)[:, 1]
    # Ours sees effects over their spread in six decimals.
    np.testing.assert_allclose(ours, np.ravel(theirs.predict_value(scores.x)) / effects.std(), atol=1e-6)


def test_a_tree_breaks_ties_alike_whatever_the_last_bits_of_the_effects_are() -> None:
    rng = np.random.default_rng(3)
    size = rng.normal(size=(300, 1))
    x = np.hstack([size, size > 0, size > 1, rng.normal(size=(300, 1))])  # the groups repeat splits by size
    effects = size[:, 0] + rng.normal(size=300)
    trees = [
        policy_tree(x, each, 0).tree_
        for each in (effects, (effects + 1e6) - 1e6, 1e8 * effects, 1e-8 * effects + 1)
    ]
    for tree in trees[1:]:
        np.testing.assert_array_equal(tree.feature, trees[0].feature)
        np.testing.assert_array_equal(tree.threshold, trees[0].threshold)


def test_the_leaves_of_a_tree_are_told_as_conditions_with_the_mean_effect() -> None:
    rng = np.random.default_rng(0)
    x = np.column_stack([rng.normal(size=400), rng.integers(0, 2, 400)])
    effects = np.where(x[:, 1] == 1, 5.0, -1.0)
    told = tree_text(policy_tree(x, effects, 0), x, ["size", "group A"], effects)
    assert any(line.startswith("not group A") and line.endswith("-1 a grant") for line in told)
    assert any(line.startswith("group A") and line.endswith(": 5 a grant") for line in told)


def test_of_columns_that_order_units_alike_one_is_used() -> None:
    x = np.array([[1.0, 3.0, 0.0], [2.0, 1.0, 0.7], [10.0, 2.0, 2.3]])
    assert distinct(x) == [1, 2]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"budget": 100}, "policy: budget is 100; .* fewer than the 100 candidates"),
        ({"budget": 5000}, "policy: budget is 5000; .* fewer than the 100 candidates"),
        ({"budget": 0}, "policy: budget is 0"),
        ({"budget": 2.5}, "policy: budget is 2.5"),
        ({"prior_name": "sise"}, 'there is no covariate "sise". Did you mean "size"?'),
        ({"level": 0}, "policy: level is 0"),
    ],
)
def test_impossible_budgets_and_names_are_refused_in_one_line(options: dict, said: str) -> None:
    with pytest.raises(QuestionError, match=said):
        heterogeneity.policy(scored(n=100), **options)


def test_too_few_clusters_outside_a_fold_are_refused_before_its_rule_is_learned() -> None:
    made = gaining.panel(n=200)
    state = np.arange(200) % 10  # three have units that are not treated
    first = np.where(state < 7, 2.0, made.first_treated["event"])
    made = replace(made, first_treated={"event": first}, attributes={"state": state.astype(str)})
    sample = Question("y", "event", covariates=("other", "size"), cluster="state").sample(made)
    scores = heterogeneity.score(sample, learner="lightgbm", repetitions=1)
    with pytest.raises(QuestionError, match=r"fewer than two clusters \(state\) are not treated \(. of 8 "):
        heterogeneity.policy(scores)


@pytest.mark.parametrize("scale", ["log1p", "proportional"])
def test_effects_are_added_up_on_the_scale_of_the_outcome_alone(scale: str) -> None:
    with pytest.raises(QuestionError, match=f"policy: scale is {scale}"):
        heterogeneity.policy(scored(n=100, scale=scale))


def test_the_budget_is_as_many_grants_as_there_were_unless_another_is_named() -> None:
    scores = scored(n=150)
    assert heterogeneity.policy(scores, draws=99)["budget"] == int(scores.rows.treated.sum())


def test_units_are_ordered_by_a_number_with_more_than_two_values_where_there_is_one():
    made = simulated.panel(n=40)
    public = np.resize([0.0, 1.0], made.outcomes["y"].shape[0])[:, None] * np.ones(
        made.outcomes["y"].shape[1]
    )
    made = replace(made, covariates=dict(made.covariates) | {"public": public})
    for covariates, expected in {("x1", "x2"): "x2", ("x1", "public"): "x1", ("public",): "public"}.items():
        sample = Question("y", "event", covariates=covariates).sample(made)
        assert prior_of(sample, None) == expected
