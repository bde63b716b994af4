"""Effects by unit, their calibration, and the page: against econml's own runs and known truths."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import gaining
import numpy as np
import pandas as pd
import pytest
import scipy.stats
import simulated
from plans import PLAN
from statsmodels.api import OLS
from typer.testing import CliRunner

from study import Question, QuestionError, heterogeneity
from study.commands.cli import app
from study.figures import drawing
from study.heterogeneity.causal_forest import (
    COLUMNS,
    IN_A_BAG,
    _chart,
    _sentences,
    best_linear_predictor,
    calibration_score,
    causal_forest,
    leaf,
    predictions,
    standardised,
)
from study.heterogeneity.scored import NEAREST
from study.panel import Scale

pytestmark = pytest.mark.usefixtures("fonts_that_take_no_time")
EXACT = 1e-9
LINEAR = {"learner": "linear", "repetitions": 1}


@pytest.fixture(scope="module")
def scores() -> heterogeneity.Scores:
    return heterogeneity.score(gaining.sample(n=400, seed=3), **LINEAR)


def test_the_forest_is_that_of_econmls_double_machine_learning_on_the_same_predictions(
    scores: heterogeneity.Scores,
) -> None:
    from econml.dml import CausalForestDML

    found = heterogeneity.forest(scores, trees=100, seed=7)
    x, p = standardised(scores.x), scores.predicted.mean()
    model = CausalForestDML(
        model_y=gaining.GivenMean(),
        model_t=gaining.GivenPropensity(),
        discrete_treatment=True,
        cv=1,
        drate=False,
        n_estimators=100,
        min_samples_leaf=leaf(scores.rows.treated),
        subforest_size=IN_A_BAG,
        honest=True,
        n_jobs=1,
        random_state=7,
    ).fit(scores.rows.change, scores.rows.treated.astype(int), X=x, W=np.column_stack(p))
    # Ours sees outcome and treatment over their spreads in six decimals.
    for column, theirs in zip(
        COLUMNS[2:], (model.effect(x), *model.effect_interval(x, alpha=0.05)), strict=False
    ):
        np.testing.assert_allclose(found.frame[column], theirs, atol=1e-6)


def test_a_forest_breaks_ties_alike_whatever_the_last_bits_of_outcomes_are(
    scores: heterogeneity.Scores,
) -> None:
    x = np.column_stack([scores.x, scores.x > 0])  # the groups repeat splits by covariates
    predicted, change = scores.predicted.mean(), scores.rows.change

    def effects(scale: float, constant: float) -> np.ndarray:
        """Return effects of outcomes in another unit, to which a constant was added and taken off again."""
        moved = (scale * change + constant) - constant
        outcomes = predicted._replace(
            untreated=scale * predicted.untreated, treated=scale * predicted.treated
        )
        model, unit = causal_forest(x, moved, scores.rows.treated, outcomes, 40, 0)
        return unit * model.predict(x)[:, 0] / scale

    for scale, constant in ((1.0, 1e6), (1e8, 0.0), (1e-7, 0.01)):
        np.testing.assert_allclose(effects(scale, constant), effects(1.0, 0.0), atol=1e-5)


def test_the_linear_learner_is_econmls_and_least_squares_of_the_scores_on_the_covariates(
    scores: heterogeneity.Scores,
) -> None:
    from econml.dr import LinearDRLearner

    found = heterogeneity.forest(scores, trees=IN_A_BAG)
    model = LinearDRLearner(
        model_propensity=gaining.GivenPropensity(),
        model_regression=gaining.GivenOutcome(),
        min_propensity=NEAREST,
        cv=1,
        random_state=0,
    ).fit(
        scores.rows.change,
        scores.rows.treated.astype(int),
        X=scores.x,
        W=np.column_stack(scores.predicted.mean()),
    )
    np.testing.assert_allclose(found.frame["linear"], model.effect(scores.x), atol=EXACT)
    low, high = model.effect_interval(scores.x, alpha=0.05)
    np.testing.assert_allclose(found.frame["linear_low"], low, atol=EXACT)
    np.testing.assert_allclose(found.frame["linear_high"], high, atol=EXACT)
    x = np.column_stack([np.ones(len(scores.x)), scores.x])
    fitted = x @ np.linalg.lstsq(x, scores.effects[:, 0], rcond=None)[0]
    np.testing.assert_allclose(found.frame["linear"], fitted, atol=EXACT)


def test_the_forest_sees_who_gains_and_its_intervals_cover_most_effects(scores: heterogeneity.Scores) -> None:
    found = heterogeneity.forest(scores, by=("large",), trees=200)
    truth = gaining.GAIN * (scores.x[:, 1] > 0)
    clear = np.abs(scores.x[:, 1]) > 0.5
    effect, low, high = found.frame[["forest", "forest_low", "forest_high"]].to_numpy().T
    assert effect[truth > 0].mean() > effect[truth == 0].mean() + 1.5
    assert np.mean((low <= truth) & (truth <= high), where=clear) > 0.7
    assert found["n_off_mean"] == np.sum((low > effect.mean()) | (high < effect.mean())) > 100
    assert any("by large: large" in sentence for sentence in found.sentences)


def test_where_all_gain_alike_the_forest_spreads_less() -> None:
    made = [
        heterogeneity.forest(heterogeneity.score(gaining.sample(n=400, only_large=only), **LINEAR), trees=100)
        .frame["forest"]
        .std(ddof=0)
        for only in (True, False)
    ]
    assert made[1] < 0.5 * made[0]


@pytest.mark.filterwarnings("error")
def test_a_forest_without_a_split_has_no_ranking_to_compare() -> None:
    question, draws = Question("y", "event"), np.random.default_rng(0).normal(size=(40, 6))
    table = pd.DataFrame(draws, columns=COLUMNS[2:]).assign(treated=np.arange(40) % 2)
    *_, ranked = _sentences(table, 0, question, 0.95)
    assert (
        f"correlation of {scipy.stats.spearmanr(table['forest'], table['linear'])[0]:.2f} with the" in ranked
    )
    *_, flat = _sentences(table.assign(forest=1.0), 0, question, 0.95)
    assert flat.endswith("; one of them ranks no unit before another.")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"trees": 10}, "forest: trees is 10; it must be a whole multiple of 4"),
        ({"prior_name": "sise"}, 'there is no covariate "sise"'),
        ({"by": ("colour",)}, 'there is no attribute or covariate "colour"'),
        ({"level": 2}, "forest: level is 2"),
    ],
)
def test_an_impossible_forest_is_refused_in_one_line(
    options: dict, said: str, scores: heterogeneity.Scores
) -> None:
    with pytest.raises(QuestionError, match=said):
        heterogeneity.forest(scores, **options)


def test_a_covariate_or_grouping_does_not_take_the_place_of_another_column() -> None:
    made = gaining.panel(n=200)
    made = replace(made, covariates=dict(made.covariates) | {"treated": made.covariates["size"]})
    scores = heterogeneity.score(Question("y", "event", covariates=("size",)).sample(made), **LINEAR)
    for options in ({"prior_name": "treated"}, {"by": ("treated",)}):
        with pytest.raises(QuestionError, match='forest: "treated" is a column of the effects by unit'):
            heterogeneity.forest(scores, **options)


QUICK = {"learner": "linear", "trees": 40, "repetitions": 2}


def test_calibration_finds_differences_that_are_there() -> None:
    found = heterogeneity.calibration(gaining.sample(n=500, seed=1), **QUICK)
    assert found["rejects"]
    assert found["p_value"] == found["slope"].tidy()["p_value"][0] < 1e-4
    assert abs(found["slope"].effect[0] - 1) < 4 * found["slope"].std_error[0]
    assert np.all(np.diff(found.frame["predicted"].dropna()) > 0)
    assert found["quarters"].effect[3] - found["quarters"].effect[0] > 1.5


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_calibration_finds_none_where_all_gain_alike(seed: int) -> None:
    found = heterogeneity.calibration(gaining.sample(n=300, seed=seed, only_large=False), **QUICK)
    assert not found["rejects"]
    assert "cannot be found" in found.sentences[0]


def test_units_that_are_not_seen_at_an_end_move_no_error() -> None:
    made = gaining.panel(n=300)
    y = made.outcomes["y"].copy()
    y[260:, -1] = np.nan
    question, errors = Question("y", "event", covariates=("other", "size")), []
    for panel in (replace(made, outcomes={"y": y}), simulated.subset(made, np.arange(300) < 260)):
        sample = question.sample(panel)
        found = heterogeneity.calibration(sample, **QUICK | {"trees": 8, "repetitions": 1})
        errors.append(
            [*found["slope"].with_vcov("CR0").std_error, *found["quarters"].with_vcov("CR0").std_error]
        )
    np.testing.assert_allclose(errors[0], errors[1], rtol=1e-9)


def test_a_leaf_has_as_many_units_as_have_one_treated_among_them() -> None:
    assert [leaf(np.repeat([1.0, 0.0], sizes)) for sizes in ((5, 95), (6, 94), (50, 50))] == [20, 17, 5]


def test_scores_slope_and_calibration_are_those_of_econmls_tester() -> None:
    from econml.validate import DRTester
    from econml.validate.utils import calculate_dr_outcomes

    scores = heterogeneity.score(gaining.sample(n=400), folds=2, **LINEAR)
    predicted = predictions(scores, 40)
    inside = scores.folds.fold[:, 0] == 0
    p = scores.predicted
    theirs = calculate_dr_outcomes(
        scores.rows.treated.astype(int),
        scores.rows.change,
        np.column_stack([p.untreated, p.treated]),
        np.column_stack([1 - p.propensity, p.propensity]),
    )
    np.testing.assert_allclose(scores.effects, theirs, atol=EXACT)
    psi, tau = scores.effects[inside, 0], predicted[inside, 0]
    tau = (
        tau + 1e-3 * scores.x[inside, 0]
    )  # units in the same leaves stand in two of econml's quarters at once
    tester = DRTester(model_regression=None, model_propensity=None, cate=None)
    tester.treatments, tester.n_treat, tester.dr_val_ = np.array([0, 1]), 1, psi
    tester.cate_preds_val_ = tau[:, None]
    slope, influence = best_linear_predictor(psi, tau, np.zeros(len(tau), dtype=int))
    assert slope == pytest.approx(tester.evaluate_blp().params[0], abs=EXACT)
    assert np.mean(influence) == pytest.approx(0, abs=1e-8)
    tester.dr_val_ = psi[:, None]
    tester.dr_train_, tester.ate_val = psi, np.array([psi.mean()])
    tester.cate_preds_train_ = tau[:, None]
    quarter = np.searchsorted(np.quantile(tau, (0.25, 0.5, 0.75)), tau)
    expected = tester.evaluate_cal(n_groups=4).cal_r_squared[0]
    assert calibration_score(psi, tau, quarter) == pytest.approx(expected, abs=EXACT)


@pytest.mark.parametrize("number", [1, 2])
def test_the_slopes_error_is_that_of_least_squares_with_a_constant_a_fold_times_the_root_of_their_number(
    number: int,
) -> None:
    rng, fold = np.random.default_rng(0), np.arange(60) % number
    predicted, scores = fold + rng.normal(size=60), 5 * fold + 3 + rng.normal(size=60)
    slope, influence = best_linear_predictor(scores, predicted, fold)
    fit = OLS(scores, np.column_stack([predicted, np.eye(number)[fold]])).fit(cov_type="HC0")
    assert slope == pytest.approx(fit.params[0], abs=EXACT)
    assert np.linalg.norm(influence) / 60 == pytest.approx(number**0.5 * fit.bse[0], rel=EXACT)


def test_halves_that_predict_each_other_find_nothing_where_there_is_nothing_as_often_as_is_said() -> None:
    rng, fold, rejected = np.random.default_rng(0), np.repeat([0, 1], 50), []
    for _ in range(400):
        x, scores = rng.normal(size=(100, 5)), rng.normal(size=100)
        slopes = [np.linalg.lstsq(x[fold != k], scores[fold != k], rcond=None)[0] for k in (0, 1)]
        predicted = np.where(fold == 0, x @ slopes[0], x @ slopes[1])
        slope, influence = best_linear_predictor(scores, predicted, fold)
        rejected.append(abs(slope) > 1.98 * np.linalg.norm(influence) / 100)
    assert np.mean(rejected) < 0.08  # 5%, with a binomial error of 1.1%; taken as independent 13%


def test_predictions_of_a_half_have_seen_nothing_of_it() -> None:
    first = heterogeneity.score(gaining.sample(n=200), folds=2, **LINEAR)
    inside = first.folds.fold[:, 0] == 0
    before = predictions(first, 20)[inside, 0]
    second = heterogeneity.score(gaining.sample(n=200), folds=2, **LINEAR)
    second.rows.change[inside] = 100.0
    after = predictions(second, 20)[inside, 0]
    np.testing.assert_array_equal(before, after)


def test_calibration_with_too_few_treated_units_is_refused_and_says_how_many_there_are() -> None:
    drawn = gaining.sample(n=300, share=0.2)
    treated = int(np.isfinite(drawn.first_treated).sum())
    assert 20 <= treated < 100
    with pytest.raises(
        QuestionError, match=f"{treated} units are treated, {treated // 2} in each half"
    ) as error:
        heterogeneity.calibration(drawn)
    assert "\n" not in str(error.value)


SMALL = {"by": ("large", "size"), "learner": "linear", "repetitions": 1, "trees": 40, "draws": 99}


@pytest.fixture(scope="module")
def found() -> heterogeneity.Report:
    return heterogeneity.report(gaining.sample(n=260), **SMALL)


def test_the_page_opens_with_the_verdict_and_has_every_finding_with_its_files(
    found: heterogeneity.Report,
) -> None:
    lines = found.text().split("\n\n")
    assert lines[1].startswith("Verdict\n  - Effects differ between groups by large")
    assert "conditional parallel trends" in found.text().replace("\n    ", " ")
    files = found.files()
    for name in ("groups", "forest", "calibration", "policy"):
        assert files[f"{name}.pdf"].startswith(b"%PDF")
        assert files[f"{name}.png"].startswith(b"\x89PNG")
    for name in ("groups_large", "groups_large_pairs", "groups_size", "forest", "policy", "policy_pairs"):
        assert len(files[f"{name}.csv"].splitlines()) > 1
    assert "nan" not in found.text()
    for finding in found.findings.values():
        for sentence in finding.sentences:
            assert sentence.endswith(".")


def test_every_finding_is_drawn_on_given_axes_and_analyses_are_made_as_asked(
    found: heterogeneity.Report,
) -> None:
    from matplotlib.figure import Figure

    drawn = gaining.sample(n=260)
    for finding in found.findings.values():
        axes = Figure().subplots()
        assert finding.plot(axes) is axes.figure
        assert axes.has_data()
    some = heterogeneity.report(drawn, **SMALL, analyses=("policy",))
    assert list(some.findings) == ["policy"]
    assert some.findings["policy"].frame.equals(found.findings["policy"].frame)
    with pytest.raises(QuestionError, match=r'there is no analysis "forrest"\. Did you mean "forest"'):
        heterogeneity.report(drawn, **SMALL, analyses=("forrest",))


def test_labels_of_a_logarithmic_axis_are_numbers_and_no_formulas(found: heterogeneity.Report) -> None:
    frame = found.findings["forest"].frame
    figure = _chart(frame.assign(papers=np.exp(frame["size"])), None, "papers", Scale("level"), 0.9)
    for axis in figure.axes:
        assert axis.get_xscale() == "log"
        assert axis.xaxis.get_major_formatter()(10.0, 0) == "10"


def test_groupings_that_differ_by_a_sign_are_both_on_the_page() -> None:
    rules = ("size>0.5", "size<0.5")
    found = heterogeneity.report(gaining.sample(n=260), **SMALL | {"by": rules}, analyses=("groups",))
    assert [finding["by"] for finding in found.groups] == [*rules]


@pytest.mark.parametrize("last", ["side", "side=left"])
def test_units_go_by_the_last_covariate_that_is_a_number(last: str) -> None:
    question = Question("y", "event", covariates=("other", "size", last))
    scores = heterogeneity.score(question.sample(gaining.panel(n=260)), **LINEAR)
    assert "size" in heterogeneity.forest(scores, trees=8).frame
    assert any("smallest go by size" in each for each in heterogeneity.policy(scores, 30, draws=99).sentences)


def test_what_cannot_be_made_is_said_on_the_page() -> None:
    found = heterogeneity.report(gaining.sample(n=200, share=0.3, scale="log1p"), **SMALL)
    assert "policy" not in found.findings
    assert list(found.refused) == ["calibration", "policy"]
    assert "Not made: policy: scale is log1p" in found.text()


def test_the_command_prints_the_page_and_writes_its_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(drawing, "drawn", lambda *_: b"drawn")  # as the page above is
    made = gaining.panel(n=160)
    n, t = made.outcomes["y"].shape
    pd.DataFrame(
        {
            "unit": np.repeat(made.units, t),
            "time": np.tile(made.periods, n),
            "first": np.repeat(made.first_treated["event"], t),
            "y": made.outcomes["y"].ravel(),
            "size": made.covariates["size"].ravel(),
            "large": np.repeat(made.attributes["large"], t),
        }
    ).to_csv(tmp_path / "panel.csv", index=False)
    text = PLAN.replace('first_treated = ["first_treated"]', 'first_treated = ["first"]')
    text = text.replace('outcomes = ["y", "count"]', 'outcomes = ["y"]').replace('["x1"]', '["size"]')
    text = text.replace('attributes = ["cluster"]', 'attributes = ["large"]').replace('"cluster"', '"large"')
    text = text.replace('name = "first_treated"', 'name = "first"').replace('count = "A_count"', 'y = "A_y"')
    text = text.replace("horizon = 3", 'horizon = 2\ncovariates = ["size"]')
    lines = [
        f'file = "{tmp_path / "panel.csv"}"' if line.startswith("file") else line for line in text.split("\n")
    ]
    plan = tmp_path / "study.toml"
    plan.write_text("\n".join(lines))
    options = ["--plan", str(plan), "--output", str(tmp_path / "out"), "--learner", "linear", "--jobs", "1"]
    done = CliRunner().invoke(
        app, ["heterogeneity", "sim1", *options, "--repetitions", "1", "--grants", "12"]
    )
    assert done.exit_code == 0, done.output
    assert done.stdout.startswith("Question: heterogeneity of the effect of the 1st event on y (level),")
    assert "panel panel.csv, checksum" in " ".join(done.stdout.split())
    assert (tmp_path / "out" / "page.txt").read_text() in done.stdout
    assert "12 grants" in done.stdout
    assert (tmp_path / "out" / "policy.png").read_bytes() == b"drawn"
