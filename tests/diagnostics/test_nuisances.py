"""The quality of nuisance functions against plain loops and known truths, on panels simulated here."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import simulated
from matplotlib.figure import Figure
from sklearn.linear_model import LinearRegression

import study.learners.nuisances as fitting
from study import Panel, Question, QuestionError, diagnostics, settings
from study.designs import Supports, all_designs, find_design
from study.diagnostics import Finding
from study.diagnostics.nuisances import (
    COMPARED,
    STANDARD_ERRORS,
    Loss,
    in_order,
    judged,
    log_losses,
    loss_of,
    of_learners,
    quality,
    squared_errors,
)
from study.diagnostics.overlap import Propensities
from study.learners.nuisances import Folds, Nuisance, Nuisances, Part, cross_fit

QUESTION = Question(
    "y",
    "event",
    min_cohort_size=1,
    average="event_average",
    horizon=1,
    cluster="state",
    covariates=("x1", "x2"),
)
INSTRUMENTED = QUESTION.replace(instrument="z")
FEW: dict[str, Any] = {"folds": 2, "repetitions": 2, "seed": 3}
EXACT = 1e-12
DESCRIBED = sorted(name for name, design in all_designs().items() if design.nuisances is not None)


@pytest.fixture(scope="module")
def panel() -> Panel:
    return simulated.panel(120)


@pytest.fixture(scope="module")
def changes(panel: Panel) -> Finding:
    return diagnostics.nuisances(QUESTION.sample(panel), "dml_panel", learners=("linear", "lightgbm"), **FEW)


@pytest.fixture(scope="module")
def levels(panel: Panel) -> Finding:
    return diagnostics.nuisances(QUESTION.sample(panel), "dml_irm", learners=("linear", "lightgbm"), **FEW)


def of(found: Finding, words: str) -> pd.DataFrame:
    """Return the rows of one nuisance function, by learner."""
    return found.frame[found.frame["nuisance"] == words].set_index("learner")


def with_outcome(panel: Panel, y: np.ndarray) -> Panel:
    return replace(panel, outcomes={"y": y})


def encouraged(panel: Panel) -> Panel:
    """Return the panel with an instrument that is 1 for most treated units and a few others."""
    treated = np.isfinite(panel.first_treated["event"])
    z = np.where(np.arange(panel.n_units) % 4 == 0, ~treated, treated).astype(float)
    covariates = dict(panel.covariates) | {"z": np.repeat(z[:, None], len(panel.periods), axis=1)}
    return replace(panel, covariates=covariates)


def asked_of(panel: Panel, design: str, learner: str) -> Nuisances:
    chosen = find_design(design)
    return chosen.nuisances_of(QUESTION.sample(panel), **FEW, **dict.fromkeys(chosen.learners, learner))


def by_hand(target: np.ndarray, predicted: np.ndarray, period: np.ndarray, folds: Folds, among: np.ndarray):
    """Sum the squared error of predictions and of the period means of the other folds, row by row and draw by draw."""
    shares = []
    for draw in range(predicted.shape[1]):
        ours = theirs = 0.0
        fold = folds.place[:, draw] % folds.number
        for i in np.flatnonzero(among):
            others = [
                target[j] for j in np.flatnonzero(among) if fold[j] != fold[i] and period[j] == period[i]
            ]
            ours += (target[i] - predicted[i, draw]) ** 2
            theirs += (target[i] - sum(others) / len(others)) ** 2
        shares.append(1 - ours / theirs)
    return sum(shares) / len(shares)


@pytest.mark.parametrize("learner", ["linear", "lightgbm"])
@pytest.mark.parametrize(("words", "name"), [("adoption", "treatment"), ("the change of y", "outcome")])
def test_r2_is_one_less_the_error_over_that_of_the_period_means_of_the_other_folds(
    learner: str, words: str, name: str
) -> None:
    small = simulated.panel(30)
    found = diagnostics.nuisances(QUESTION.sample(small), "dml_panel", learners=(learner,), **FEW)
    (part,) = asked_of(small, "dml_panel", learner).parts
    predicted = cross_fit(part.x, part.period, part.functions, part.folds, FEW["seed"])[name]
    everyone = np.ones(len(part.unit), dtype=bool)
    expected = by_hand(part.functions[name].target, predicted, part.period, part.folds, everyone)
    assert of(found, words)["r2"][learner] == pytest.approx(expected, abs=EXACT)


def test_log_loss_and_brier_are_those_of_a_loop_over_rows_and_draws(panel: Panel) -> None:
    found = diagnostics.nuisances(QUESTION.sample(panel), "dml_irm", learners=("linear",), trim=0.3, **FEW)
    chosen = find_design("dml_irm")
    options = FEW | {"trim": 0.3} | dict.fromkeys(chosen.learners, "linear")
    asked = chosen.nuisances_of(QUESTION.sample(panel), **options)
    (part,) = asked.parts
    target = part.functions[asked.treatment].target
    predicted = asked.predicted()[0][asked.treatment]
    assert (predicted > asked.limits[1]).any()
    sums = np.zeros(4)
    for i, draw in product(range(len(target)), range(2)):
        fold = part.folds.place[:, draw] % 2
        share = np.mean([target[j] for j in range(len(target)) if fold[j] != fold[i]])
        for k, p in enumerate((predicted[i, draw], share)):
            p = min(max(p, asked.limits[0]), asked.limits[1])
            sums[k] += (target[i] - p) ** 2
            sums[2 + k] -= np.log(p) if target[i] == 1 else np.log(1 - p)
    line = found.tidy().set_index("nuisance").loc["treatment"]
    expected = sums / (2 * len(target))
    names = ["brier", "brier_of_share", "log_loss", "log_loss_of_share"]
    np.testing.assert_allclose(line[names].astype(float), expected, rtol=0, atol=EXACT)


def test_the_error_of_the_share_saved_is_that_of_a_ratio_of_means_by_cluster() -> None:
    rng = np.random.default_rng(0)
    losses, without = rng.exponential(size=(2, 40, 3))
    cluster = np.arange(40) % 7
    found = loss_of(losses, without, cluster)
    step, derivative = 1e-6, np.zeros(40)
    for i in range(40):
        weight = np.ones(40)
        weight[i] += step
        moved = np.mean(1 - (weight @ losses) / (weight @ without))
        derivative[i] = (moved - found.saved) / step
    sums = [derivative[cluster == c].sum() for c in range(7)]
    assert found.error == pytest.approx(np.sqrt(np.sum(np.square(sums))), rel=1e-4)


def test_a_loss_without_anything_to_predict_saves_nothing() -> None:
    nothing = np.zeros((6, 2))
    assert loss_of(nothing, nothing, np.arange(6)) == Loss(0.0, 0.0, 0.0, 0.0)


def test_a_certain_mistake_has_a_large_but_finite_log_loss() -> None:
    losses = log_losses(np.array([1.0, 0.0]), np.array([[0.0], [1.0]]))
    assert np.all(np.isfinite(losses))
    assert losses.min() > 30


def test_pairs_in_order_are_counted_one_by_one() -> None:
    rng = np.random.default_rng(1)
    target, predicted = rng.integers(0, 2, 30).astype(float), rng.integers(0, 5, (30, 2)).astype(float)
    counts = []
    for draw in range(2):
        for i, j in product(np.flatnonzero(target == 1), np.flatnonzero(target == 0)):
            above, level = predicted[i, draw] > predicted[j, draw], predicted[i, draw] == predicted[j, draw]
            counts.append(above + level / 2)
    assert in_order(target, predicted) == pytest.approx(np.mean(counts), abs=EXACT)
    assert np.isnan(in_order(rng.normal(size=30), predicted))
    assert np.isnan(in_order(np.ones(30), predicted))


def test_noise_is_not_predicted_and_a_true_function_up_to_its_noise() -> None:
    large = simulated.panel(600)
    rng = np.random.default_rng(5)
    x1 = large.covariates["x1"]
    share = 0.4
    steps = np.sqrt(share) * (x1 - x1.mean()) / x1.std() + np.sqrt(1 - share) * rng.normal(size=x1.shape)
    learnable = with_outcome(large, np.cumsum(steps, axis=1))
    noise = with_outcome(large, np.cumsum(rng.normal(size=x1.shape), axis=1))
    question = QUESTION.replace(cluster=None, covariates=("x1",))
    for whole, truth in ((learnable, share), (noise, 0.0)):
        found = diagnostics.nuisances(
            question.sample(whole), "dml_panel", learners=("linear", "lasso"), folds=5, repetitions=1
        )
        for score in of(found, "the change of y").itertuples():
            assert abs(score.r2 - truth) < max(3 * score.r2_std_error, 0.005)
            assert (score.r2 > STANDARD_ERRORS * score.r2_std_error) == (truth > 0)


def test_better_is_claimed_of_noise_as_rarely_as_its_two_standard_errors_say() -> None:
    rng = np.random.default_rng(0)
    claims = []
    for _ in range(400):
        y, x = rng.normal(size=(2, 200))
        fold = np.arange(200) % 2
        predicted, known = np.zeros((2, 200, 1))
        for k in (0, 1):
            train = fold != k
            slope, constant = np.polyfit(x[train], y[train], 1)
            predicted[~train, 0] = constant + slope * x[~train]
            known[~train, 0] = y[train].mean()
        made = loss_of(squared_errors(y, predicted), squared_errors(y, known), np.arange(200))
        claims.append(made.saved > STANDARD_ERRORS * made.error)
    assert np.mean(claims) < 0.05


@pytest.mark.parametrize(("found", "design"), [("changes", "dml_panel"), ("levels", "dml_irm")])
def test_each_learner_has_the_estimate_that_the_design_has_with_it(
    found: str, design: str, panel: Panel, request: pytest.FixtureRequest
) -> None:
    made: Finding = request.getfixturevalue(found)
    chosen = find_design(design)
    for row in made["rows"]:
        fit = chosen(QUESTION.sample(panel), **FEW, **dict.fromkeys(chosen.learners, row.label)).headline
        assert row.estimate == fit.effect[0]
        assert row.std_error == fit.std_error[0]
    estimates = [row.estimate for row in made["rows"]]
    spread = abs(estimates[1] - estimates[0]) / made["rows"][0].std_error
    assert made["estimate_range"] == pytest.approx(spread, abs=EXACT)


@pytest.mark.parametrize("name", DESCRIBED)
def test_a_design_learns_what_it_says_that_it_learns_and_no_more(
    name: str, panel: Panel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    chosen, options = find_design(name), {"folds": 2, "repetitions": 1, "seed": 3}
    sample = (INSTRUMENTED if Supports.INSTRUMENT in chosen.supports else QUESTION).sample(encouraged(panel))
    original, fits = fitting.learned, []
    monkeypatch.setattr(fitting, "learned", lambda *a: fits.append(1) or original(*a))
    options |= dict.fromkeys(chosen.learners, "linear")
    with settings(cache=tmp_path):
        asked = chosen.nuisances_of(sample, **options)
        asked.predicted()
        learned = len(fits)
        assert learned == 2 * sum(len(part.functions) for part in asked.parts)
        chosen(sample, **options)
    assert len(fits) == learned


def test_the_parts_of_an_ensemble_are_learned_once(panel: Panel, monkeypatch: pytest.MonkeyPatch) -> None:
    original, fits = fitting.learned, []
    monkeypatch.setattr(
        fitting,
        "learned",
        lambda problem, learner, kind: fits.append(learner) or original(problem, learner, kind),
    )
    diagnostics.nuisances(
        QUESTION.sample(panel), "dml_panel", learners=("lasso", "ensemble"), folds=2, repetitions=1
    )
    assert {learner: fits.count(learner) for learner in set(fits)} == {"lasso": 4, "forest": 4, "lightgbm": 4}


def test_functions_of_the_same_words_are_judged_together() -> None:
    rng = np.random.default_rng(2)
    parts = []
    for name, size in (("first", 20), ("second", 30)):
        functions = {
            name: Nuisance(rng.normal(size=size), "linear", words="the change"),
            "treatment": Nuisance(np.ones(size), "linear", words="treatment"),
        }
        if name == "second":
            functions[name] = functions[name]._replace(among=np.arange(size) < 12)
        folds = Folds(np.arange(size)[:, None], 2)
        x, period = rng.normal(size=(size, 1)), np.zeros(size, dtype=int)
        parts.append(Part(np.arange(size), x, period, functions, folds, 0))
    asked = Nuisances(tuple(parts))
    predicted = asked.predicted()
    judged = asked.judged("the change", predicted)
    assert list(asked.kinds) == ["treatment", "the change"]
    expected = [parts[0].functions["first"].target, parts[1].functions["second"].target[:12]]
    assert np.array_equal(judged.target, np.concatenate(expected))
    assert np.array_equal(
        judged.predicted, np.concatenate([predicted[0]["first"], predicted[1]["second"][:12]])
    )
    assert np.array_equal(judged.unit, np.concatenate([np.arange(20), np.arange(12)]))


def test_overlap_is_counted_row_by_row() -> None:
    rng = np.random.default_rng(4)
    unit, treated = np.repeat(np.arange(20), 2), np.arange(40) % 5 == 0
    predicted = rng.uniform(0, 1, size=(40, 2))
    rows = Propensities("treatment", unit, treated.astype(float), predicted, (0.1, 0.8))
    above, clipped, worth = [], [], []
    for draw in range(2):
        ours, theirs = predicted[treated, draw], predicted[~treated, draw]
        above += [p > max(theirs) for p in ours]
        clipped.append(sum(p < 0.1 or p > 0.8 for p in theirs))
        weight = dict.fromkeys(range(20), 0.0)
        for i in np.flatnonzero(~treated):
            p = min(max(predicted[i, draw], 0.1), 0.8)
            weight[unit[i]] += p / (1 - p)
        worth.append(sum(weight.values()) ** 2 / sum(w**2 for w in weight.values()))
    ours, theirs = rows.summary(True), rows.summary(False)
    assert ours["above_comparison"] == pytest.approx(np.mean(above), abs=EXACT)
    assert theirs["clipped"] == np.mean(clipped)
    assert theirs["effective_units"] == pytest.approx(np.mean(worth), rel=EXACT)
    middle = np.mean([np.median(predicted[treated, draw]) for draw in range(2)])
    assert ours["median"] == pytest.approx(middle, abs=EXACT)


def test_an_effective_number_is_finite_where_propensities_are_zero_or_one() -> None:
    unit, treated = np.arange(6), np.array([1.0, 0, 0, 0, 0, 0])
    for p, worth in ((0.0, 0.0), (1.0, 5.0)):
        rows = Propensities("treatment", unit, treated, np.full((6, 1), p), (0.0, 1.0))
        assert rows.summary(False)["effective_units"] == pytest.approx(worth)


def test_an_instrument_of_many_values_is_cut_at_its_median() -> None:
    target = np.arange(9.0)
    rows = Propensities("distance", np.arange(9), target, target[:, None], None)
    assert rows.treated.tolist() == [False] * 5 + [True] * 4
    assert not rows.binary
    assert rows.group(True) == "with distance above its median"


@pytest.mark.parametrize(("low", "high"), [(0.0, 2.0), (-1.0, 0.0), (3.5, 4.0)])
def test_an_instrument_whose_median_is_its_largest_value_is_cut_below_that(low: float, high: float) -> None:
    target = np.repeat([low, high], [3, 6])
    rows = Propensities("distance", np.arange(9), target, target[:, None], None)
    assert rows.treated.tolist() == [False] * 3 + [True] * 6
    assert rows.group(True) == f"with distance above {low:g}"
    assert rows.summary(True)["median"] == high


@pytest.mark.parametrize(
    ("values", "above"), [((-1.0, 1.0), "above -1"), ((-1.0, 0.0, 1.0), "above its median")]
)
def test_an_instrument_is_a_share_only_if_it_is_0_and_1(values: tuple[float, ...], above: str) -> None:
    target = np.repeat(values, 3)
    rows = Propensities("draft", np.arange(len(target)), target, target[:, None], None, instrument=True)
    assert not rows.binary
    assert rows.group(True) == f"with draft {above}"
    assert rows._replace(instrument=False).binary
    assert Propensities("draft", np.arange(2), np.arange(2.0), np.eye(2), None, instrument=True).binary


def test_an_instrumented_design_is_shown_by_its_instrument(panel: Panel) -> None:
    sample = INSTRUMENTED.sample(encouraged(panel))
    binary = diagnostics.nuisances(sample, "dml_iv", learners=("linear",), **FEW)
    names = binary.frame["nuisance"].unique()
    assert names[0] == "the instrument z"
    assert len(names) == len(binary.plot().axes) - 1
    sample = QUESTION.replace(instrument="size").sample(panel)
    many = diagnostics.nuisances(sample, "dml_iv", learners=("linear",), model="pliv", **FEW)
    assert "in rows with the instrument size above its median" in " ".join(many.sentences)
    assert "auc" in many.tidy()
    assert of(many, "the instrument size")["auc"].isna().all()
    signs = encouraged(panel)
    signs = replace(signs, covariates=signs.covariates | {"z": 2 * signs.covariates["z"] - 1})
    two = diagnostics.nuisances(
        INSTRUMENTED.sample(signs), "dml_iv", learners=("linear",), model="pliv", **FEW
    )
    assert "in rows with the instrument z above -1" in " ".join(two.sentences)


def test_designs_with_a_propensity_have_their_overlap_and_others_their_predicted_adoption(
    changes: Finding, levels: Finding
) -> None:
    assert {"clipped", "effective_units"} <= set(levels["overlap"])
    assert not {"clipped", "effective_units"} & set(changes["overlap"])
    for found in (changes, levels):
        table = found["overlap"]
        assert list(table["learner"]) == ["linear", "linear", "lightgbm", "lightgbm"]
        assert list(table["treated"]) == [True, False] * 2
        assert (table[["minimum", "q25", "median", "q75", "maximum"]].diff(axis=1).iloc[:, 1:] >= 0).all(
            axis=None
        )
    assert {"log_loss", "brier", "mcfadden_r2"} <= set(levels.tidy())
    assert not {"log_loss", "brier", "mcfadden_r2"} & set(changes.tidy())


def scored(found: Finding, words: str, *saved: float, error: float = 0.01) -> str:
    """Return the sentence on one function with other shares saved, learner by learner."""
    rows = of(found, words).reset_index().assign(r2=saved, r2_std_error=error)
    return quality(rows, "its period's mean", FEW["folds"])


@pytest.mark.parametrize(
    ("saved", "verdict"),
    [
        (
            (0.019, -0.019),
            "No learner predicts adoption better than its period's mean: its cross-fitted R2 is 0.019",
        ),
        ((0.03, 0.05), "Adoption is predicted better than by its period's mean by linear and lightgbm: its"),
        ((0.03, 0.0), "Adoption is predicted better than by its period's mean by linear: its"),
        ((0.03, -0.03), "by its period's mean by linear, and worse by lightgbm: its"),
        (
            (-0.03, -0.0001),
            "better than its period's mean, and linear does worse: its cross-fitted R2 is -0.030 ",
        ),
        ((-0.03, -0.0001), "0.000 (lightgbm)."),
    ],
)
def test_the_first_sentence_is_the_verdict_on_treatment(
    saved: tuple[float, ...], verdict: str, changes: Finding
) -> None:
    assert STANDARD_ERRORS == 2
    said = scored(changes, "adoption", *saved)
    assert verdict in said
    assert "-0.000" not in said


def test_a_probability_is_judged_by_its_log_loss(levels: Finding) -> None:
    (first, *_) = levels.sentences
    score = of(levels, "treatment").loc["linear"]
    assert f"{score['log_loss']:.4f} (linear)" in first
    assert f"that of the share {score['log_loss_of_share']:.4f}" in first
    saved, error = judged(of(levels, "treatment"))
    assert (saved["linear"], error["linear"]) == (score["mcfadden_r2"], score["mcfadden_r2_std_error"])


def test_the_second_sentence_says_how_far_the_estimate_moves(changes: Finding, panel: Panel) -> None:
    moved = f"by {changes['estimate_range']:.2f} standard errors of that with linear"
    assert moved in changes.sentences[1]
    alone = diagnostics.nuisances(QUESTION.sample(panel), "dml_panel", learners=("linear",), **FEW)
    assert not any("Between learners" in sentence for sentence in alone.sentences)


def test_the_figure_has_a_panel_for_each_function_and_the_groups_with_the_bounds(
    changes: Finding, levels: Finding
) -> None:
    for found in (changes, levels):
        axes, names = found.plot().axes, found.frame["nuisance"].unique()
        assert len(axes) == len(names) + 1
        assert [axis.get_title(loc="left") for axis in axes[:-1]] == [
            name[0].upper() + name[1:] for name in names
        ]
    logit = float(np.log(0.99 / 0.01))
    dashed = [line for line in levels.plot().axes[-1].lines if line.get_linestyle() == "--"]
    assert [line.get_xdata()[0] for line in dashed] == pytest.approx([logit])
    for patch in levels.plot().axes[-1].patches:
        assert patch.get_data().values.sum() == pytest.approx(100)


def test_on_given_axes_the_quality_of_predicted_treatment_is_drawn(changes: Finding) -> None:
    figure = Figure()
    axis = figure.subplots()
    assert changes.plot(axis) is figure
    assert figure.axes == [axis]
    assert axis.get_title(loc="left") == "Adoption"


def test_the_options_learner_comes_first_and_is_not_learned_twice() -> None:
    chosen = find_design("dml_irm")
    default = of_learners(chosen, COMPARED, {"folds": 3})
    assert list(default) == list(COMPARED)
    own = of_learners(chosen, COMPARED, {"learner": "lightgbm", "propensity": "lightgbm"})
    assert list(own) == ["lightgbm", "lasso", "forest", "ensemble"]
    mixed = of_learners(chosen, ("lasso",), {"learner": "lightgbm"})
    assert list(mixed) == ["lightgbm and lasso", "lasso"]
    assert mixed["lightgbm and lasso"] == {"learner": "lightgbm"}
    assert mixed["lasso"] == {"learner": "lasso", "propensity": "lasso"}


def test_a_scikit_learn_estimator_is_called_by_its_class(panel: Panel) -> None:
    found = diagnostics.nuisances(QUESTION.sample(panel), "dml_panel", learners=(LinearRegression(),), **FEW)
    assert list(found.frame["learner"].unique()) == ["LinearRegression"]


def test_a_learner_without_an_estimate_is_named_with_the_reason(
    panel: Panel, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = sys.modules["study.diagnostics.nuisances"]
    original: Callable[..., Any] = module.headline

    def refusing(sample: Any, design: str, options: Any) -> Any:
        if options["learner"] == "lightgbm":
            raise QuestionError("dml_panel: no.")
        return original(sample, design, options)

    monkeypatch.setattr(module, "headline", refusing)
    found = diagnostics.nuisances(QUESTION.sample(panel), "dml_panel", learners=("linear", "lightgbm"), **FEW)
    assert "Without an estimate: lightgbm, because dml_panel: no." in found.sentences
    assert found.tidy().set_index("learner")["estimate"].isna().to_dict() == {
        "linear": False,
        "lightgbm": True,
    }
    with pytest.raises(QuestionError, match=r"nuisances: dml_panel: no\."):
        diagnostics.nuisances(QUESTION.sample(panel), "dml_panel", learners=("lightgbm",), **FEW)


def test_one_fold_is_not_called_cross_fitted(panel: Panel) -> None:
    sample = QUESTION.sample(panel)
    found = diagnostics.nuisances(sample, "dml_stacked", learners=("linear",), folds=1, repetitions=1)
    assert "cross-fitted" not in found.sentences[0]
    assert any("not cross-fitted, for there is one fold" in sentence for sentence in found.sentences)


def test_without_covariates_nothing_is_saved(panel: Panel) -> None:
    question = QUESTION.replace(covariates=())
    found = diagnostics.nuisances(question.sample(panel), "dml_panel", learners=("linear", "lightgbm"), **FEW)
    assert (found.frame["r2"] == 0).all()
    assert set(found.frame["auc"].dropna()) == {0.5}


@pytest.mark.parametrize("approach", ["within", "correlated_random_effects"])
def test_levels_are_judged_against_the_effects_that_are_taken_out(approach: str, panel: Panel) -> None:
    sample = QUESTION.replace(covariates=("moving",)).sample(panel)
    found = diagnostics.nuisances(sample, "dml_panel", learners=("linear",), approach=approach, **FEW)
    assert list(found.frame["nuisance"].unique()) == ["treatment", "y"]
    assert ("unit and period effects" in found.sentences[0]) == (approach == "within")


@pytest.mark.parametrize("approach", ["within", "correlated_random_effects"])
def test_a_constant_in_the_outcome_is_no_merit_of_the_learner(approach: str, panel: Panel) -> None:
    higher = replace(panel, outcomes={"y": panel.outcomes["y"] + 50})
    asked = {"learners": ("linear", "lasso", "lightgbm"), "approach": approach, "folds": 2, "repetitions": 1}
    question = QUESTION.replace(covariates=("moving",))
    plain, found = (diagnostics.nuisances(question.sample(p), "dml_panel", **asked) for p in (panel, higher))
    for column in ("r2", "estimate", "std_error"):
        np.testing.assert_allclose(found.frame[column], plain.frame[column], atol=1e-5)


def test_the_number_of_jobs_changes_nothing_and_steps_are_told_with_their_learner(panel: Panel) -> None:
    steps: list[str] = []
    asked = {"learners": ("linear", "lightgbm"), "folds": 2, "repetitions": 1}
    with settings(progress=steps.append):
        one = diagnostics.nuisances(QUESTION.sample(panel), "dml_panel", **asked)
    with settings(jobs=2):
        two = diagnostics.nuisances(QUESTION.sample(panel), "dml_panel", **asked)
    assert one.tidy().equals(two.tidy())
    assert one["overlap"].equals(two["overlap"])
    assert len(steps) == 8
    assert all(step.startswith("linear, ") for step in steps[:4])


@pytest.mark.parametrize(
    ("design", "asked", "message"),
    [
        ("callaway_santanna", {}, r"callaway_santanna has no nuisance functions .*dml_panel.* do\.$"),
        ("dml_panel", {"learners": "lasso"}, r'must be a sequence of .*, as in learners=\["lasso"\]'),
        ("dml_panel", {"learners": ()}, "learners is empty; give at least one"),
        ("dml_panel", {"learners": ("lasso", "lasso")}, "two of the learners are called lasso"),
        ("dml_panel", {"learners": ("linear", "jungle")}, 'there is no learner "jungle"'),
        ("dml_panel", {"learners": ("linear",), "folds": 1}, "dml_panel: folds is 1"),
        ("dml_panel", {"level": 1.0}, "nuisances: level is 1.0"),
        ("dml_panel", {"colour": 1}, "colour"),
        ("dml_irm", {"learners": (LinearRegression(),)}, "which has no predict_proba"),
    ],
)
def test_bad_input_is_refused_in_one_line_before_anything_is_learned(
    design: str, asked: dict[str, Any], message: str, panel: Panel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fitting, "learned", None)
    with pytest.raises(QuestionError, match=message) as refused:
        diagnostics.nuisances(QUESTION.sample(panel), design, **asked)
    assert "\n" not in str(refused.value)
