"""dml_iv and questions with an instrument, against doubleml itself, plain numpy and known truths."""

from __future__ import annotations

import json
import math
import re
import sys
from dataclasses import replace

import numpy as np
import plans
import pytest
import simulated
from scipy import stats

import study
from study import Panel, Question, QuestionError, estimate
from study.designs import Assumes, Supports, all_designs, find_design
from study.estimates.weak_instrument import anderson_rubin, first_stage, in_words
from study.learners import Learning
from study.learners.nuisances import places
from study.paper.diagnose import ASSUMED
from study.paper.plan import read_plan
from study.paper.record import record
from study.paper.results import answer

EXACT = 1e-9
FOLDS = 5
PERIODS = np.arange(2011, 2015)
LINEAR = {"learner": "linear", "propensity": "linear", "repetitions": 1}
LATE = 1.5


def panel(
    seed: int = 0, n: int = 200, never: float = 0.25, always: float = 0.2, through: float = 1.0
) -> Panel:
    """Return a panel with a lottery that depends on x, and a hidden trait that moves treatment and trends.

    The effect is 1.5 on compliers and 0 on the others; ``dose`` is the lottery with noise, and ``letters`` moves
    nobody. A share ``through`` of the lottery's winners comply that are neither always- nor never-takers.
    """
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, 2))
    step = 1.0 * (np.abs(x[:, 0]) > 1) + 1.0 * (x[:, 1] > 0)
    lottery = 1.0 * (rng.random(n) < 0.25 + 0.25 * step)
    hidden = rng.random(n)
    kind = np.where(hidden < never, -1, np.where(hidden > 1 - always, 1, 0))
    complies = (kind == 0) & (rng.random(n) < through)
    treated = (kind == 1) | (complies & (lottery == 1))
    first = np.where(treated, rng.choice(PERIODS[1:], size=n), np.nan)
    since = first[:, None] <= PERIODS
    trend = (step + 2 * hidden)[:, None] * (PERIODS - 2011) / 3
    y = rng.normal(scale=3, size=(n, 1)) + trend + LATE * since * (kind == 0)[:, None]
    y = y + rng.normal(scale=0.5, size=since.shape)
    across = np.ones(len(PERIODS))
    columns = {
        "x1": x[:, 0],
        "x2": x[:, 1],
        "lottery": lottery,
        "dose": lottery + rng.normal(size=n),
        "letters": 1.0 * (rng.random(n) < 0.5),
    }
    return Panel(
        name="simulated",
        units=np.array([f"u{i:04d}" for i in range(n)]),
        periods=PERIODS,
        outcomes={"y": y},
        covariates={name: np.outer(column, across) for name, column in columns.items()},
        first_treated={"event": first},
        treatment={},
        attributes={"state": np.array([f"s{i % 20:02d}" for i in range(n)])},
    )


def ask(*covariates: str, instrument: str | None = "lottery", **fields) -> Question:
    return Question("y", "event", covariates=covariates, instrument=instrument, **fields)


def cross_section(sample, model: str = "iivm"):
    """Return the change over the window, treatment, the instrument, and the folds of the first draw."""
    change, z = sample.y[:, -1] - sample.y[:, 0], sample.instrument
    treated = 1 * (sample.first_treated <= sample.periods[-1])
    stratum = 2 * (1 - treated) + (1 - z.astype(int) if model == "iivm" else 0)
    place = places(sample.cluster, stratum, np.random.default_rng(0).spawn(1)[0])
    return change, treated.astype(float), z, place % FOLDS


def doubleml_itself(sample, model: str, trim: float = 0.01):
    """Run DoubleMLIIVM or DoubleMLPLIV with its own cross-fitting on the design's folds."""
    from doubleml import DoubleMLData, DoubleMLIIVM, DoubleMLPLIV
    from doubleml.utils import PSProcessorConfig
    from sklearn.linear_model import LinearRegression, LogisticRegression

    change, treated, z, fold = cross_section(sample, model)
    data = DoubleMLData.from_arrays(sample.x_baseline, change, treated, z)
    line = LinearRegression()
    logit = LogisticRegression(C=np.inf, tol=1e-12, solver="newton-cholesky")
    if model == "pliv":
        made = DoubleMLPLIV(data, line, line, line, draw_sample_splitting=False)
    else:
        groups = {
            "always_takers": bool(treated[z == 0].any()),
            "never_takers": bool((treated[z == 1] == 0).any()),
        }
        clip = PSProcessorConfig(clipping_threshold=trim)
        made = DoubleMLIIVM(
            data, line, logit, logit, subgroups=groups, ps_processor_config=clip, draw_sample_splitting=False
        )
    made.set_sample_splitting([[(np.flatnonzero(fold != k), np.flatnonzero(fold == k)) for k in range(5)]])
    return made.fit()


COMPLIANCE = {
    "both": {},
    "no always-takers": {"always": 0.0},
    "no never-takers": {"never": 0.0},
    "all comply": {"always": 0.0, "never": 0.0},
}


@pytest.mark.parametrize("cluster", [None, "state"])
@pytest.mark.parametrize(
    ("model", "instrument", "who", "trim"),
    [
        *(("iivm", "lottery", who, 0.01) for who in COMPLIANCE),
        ("iivm", "lottery", "both", 0.4),
        ("pliv", "lottery", "both", 0.01),
        ("pliv", "dose", "all comply", 0.01),
    ],
)
def test_equals_doubleml_on_the_same_folds(model, instrument, who, trim, cluster):
    source = panel(n=203, **COMPLIANCE[who])
    question = ask("x1", "x2", instrument=instrument, cluster=cluster)
    fit = estimate(source, question, "dml_iv", model=model, trim=trim, **LINEAR)
    sample = question.sample(source)
    made = doubleml_itself(sample, model, trim)
    assert fit.terms[0].startswith({"pliv": "IV coefficient on", "iivm": "LATE on"}[model])
    assert fit.effect[0] == pytest.approx(made.coef[0], rel=EXACT)
    sums = np.bincount(sample.cluster, weights=made.psi[:, 0, 0])
    expected = np.sqrt(np.sum(sums**2)) / abs(made.psi_deriv.sum())
    assert fit.with_vcov("CR0").std_error[0] == pytest.approx(expected, rel=EXACT)
    if cluster is None:
        assert fit.with_vcov("CR0").std_error[0] == pytest.approx(made.se[0], rel=EXACT)


@pytest.mark.parametrize("instrument", ["lottery", "letters"])
def test_the_anderson_rubin_set_is_that_of_doubleml(instrument):
    source = panel(n=203)
    question = ask("x1", instrument=instrument)
    made = doubleml_itself(question.sample(source), "iivm")
    psi_a, psi_b = (made.psi_elements[name][:, 0, 0] for name in ("psi_a", "psi_b"))
    ours = anderson_rubin(psi_b, psi_a, np.arange(203))
    np.testing.assert_allclose(ours, made.robust_confset(), rtol=EXACT)
    fit = estimate(source, question, "dml_iv", **LINEAR)
    degrees = fit.degrees_of_freedom[0] if instrument == "lottery" else math.inf
    assert in_words(anderson_rubin(psi_b, psi_a, np.arange(203), degrees=degrees)) in fit.notes


def statistic(theta, psi_b, psi_a, cluster):
    """Return the clustered statistic of a mean of zero, by loops over clusters."""
    sums = np.array([(psi_b + theta * psi_a)[cluster == c].sum() for c in np.unique(cluster)])
    return sums.sum() ** 2 / np.sum(sums**2)


@pytest.mark.parametrize("clusters", [60, 15])
@pytest.mark.parametrize(
    ("strength", "effect", "shape"),
    [(1.0, 1.0, "one interval"), (0.0, 20.0, "two"), (0.0, 0.3, "the whole line")],
)
def test_the_anderson_rubin_set_is_where_the_statistic_does_not_reject(strength, effect, shape, clusters):
    rng = np.random.default_rng(4)
    noise = rng.normal(size=(2, 60))
    noise -= noise.mean(axis=1, keepdims=True)
    psi_a, psi_b = -strength - noise[0], (0.1 * effect if strength == 0 else effect) + noise[1]
    cluster = np.arange(60) % clusters
    found = anderson_rubin(psi_b, psi_a, cluster)
    kinds = {"one interval": 1, "two": 2, "the whole line": 1}
    assert len(found) == kinds[shape]
    assert all(map(math.isfinite, found[0])) == (shape == "one interval")
    critical = stats.chi2.ppf(0.95, 1)
    for theta in np.concatenate([np.linspace(-8, 8, 401), [-1e4, 1e4]]):
        inside = any(low <= theta <= high for low, high in found)
        assert inside == (statistic(theta, psi_b, psi_a, cluster) <= critical)


@pytest.mark.parametrize(("psi_b", "half"), [((1.0, 2.0), "below"), ((-1.0, -2.0), "above")])
def test_a_set_at_the_edge_of_boundedness_is_half_a_line(psi_b, half, monkeypatch):
    monkeypatch.setattr(sys.modules["study.estimates.weak_instrument"], "chdtri", lambda k, p: 1.0)
    psi_b, psi_a, cluster = np.array(psi_b), np.array([1.0, 0.0]), np.arange(2)
    ((low, high),) = anderson_rubin(psi_b, psi_a, cluster)
    assert (math.isinf(low), math.isinf(high)) == ((True, False) if half == "below" else (False, True))
    for theta in np.linspace(-9, 9, 180):
        assert (low <= theta <= high) == (statistic(theta, psi_b, psi_a, cluster) <= 1)


def test_scores_that_know_nothing_of_the_effect_exclude_none():
    assert anderson_rubin(np.array([1.0, -1.0]), np.zeros(2), np.arange(2)) == ((-math.inf, math.inf),)


def test_the_set_is_told_in_one_sentence_whatever_its_shape():
    inf = math.inf
    assert "is from 1 to 2." in in_words(((1.0, 2.0),))
    assert "everything but the values from -1 to 2:" in in_words(((-inf, -1.0), (2.0, inf)))
    assert "is the whole line" in in_words(((-inf, inf),))
    assert "is everything below 3." in in_words(((-inf, 3.0),))
    assert "is everything above 3." in in_words(((3.0, inf),))


def test_the_set_covers_the_truth_however_weak_the_instrument_where_the_interval_does_not():
    draws, robust, wald = 400, 0, 0
    for seed in range(draws):
        rng = np.random.default_rng(seed)
        hidden, z = rng.normal(size=(2, 100))
        d = 0.05 * z + hidden + 0.3 * rng.normal(size=100)
        y = 2 * d - 6 * hidden
        psi_a, psi_b = -z * d, z * y
        robust += any(low <= 2 <= high for low, high in anderson_rubin(psi_b, psi_a, np.arange(100)))
        theta = psi_b.sum() / -psi_a.sum()
        wald += abs(theta - 2) < 1.96 * np.sqrt(np.sum((psi_b + theta * psi_a) ** 2)) / abs(psi_a.sum())
    assert robust >= stats.binom.ppf(0.001, draws, 0.95)
    assert wald < stats.binom.ppf(0.001, draws, 0.95)


@pytest.mark.parametrize("instrument", ["lottery", "dose"])
def test_without_covariates_the_partially_linear_model_is_cross_fitted_two_stage_least_squares(instrument):
    source, question = panel(), ask(instrument=instrument)
    fit = estimate(source, question, "dml_iv", model="pliv", **LINEAR)
    change, treated, z, fold = cross_section(question.sample(source), "pliv")
    less = [
        column - np.array([column[fold != fold[i]].mean() for i in range(200)])
        for column in (change, treated, z)
    ]
    u, w, v = less
    theta = (u @ v) / (w @ v)
    assert fit.effect[0] == pytest.approx(theta, rel=EXACT)
    error = np.sqrt(np.sum((v * (u - theta * w)) ** 2)) / abs(w @ v)
    assert fit.with_vcov("CR0").std_error[0] == pytest.approx(error, rel=EXACT)
    effect = (w @ v) / (v @ v)
    t = effect * (v @ v) / np.sqrt(np.sum((v * (w - effect * v)) ** 2))
    assert f"by {effect:.3g} (t = {t:.1f})." in fit.notes[0]


def test_without_covariates_and_with_many_folds_the_local_effect_is_the_wald_ratio():
    source, question = panel(n=400), ask()
    fit = estimate(source, question, "dml_iv", folds=50, **LINEAR)
    change, treated, z, _ = cross_section(question.sample(source))
    moved, difference = (v[z == 1].mean() - v[z == 0].mean() for v in (treated, change))
    assert abs(fit.effect[0] - difference / moved) < 0.02 * fit.std_error[0]


def test_covers_the_effect_on_compliers_where_treatment_has_a_hidden_cause():
    from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

    shape = {"max_leaf_nodes": 8, "min_samples_leaf": 30}
    trees = {"learner": DecisionTreeRegressor(**shape), "propensity": DecisionTreeClassifier(**shape)}
    trees["folds"] = 3
    draws, inside, naive, off = 15, 0, 0, []
    for seed in range(draws):
        source = panel(seed, n=600)
        fit = estimate(source, ask("x1", "x2"), "dml_iv", repetitions=1, **trees)
        inside += fit.tidy().eval("conf_low < @LATE < conf_high").item()
        off.append(fit.effect[0] - LATE)
        plain = estimate(source, ask("x1", "x2", instrument=None), "dml_irm", **LINEAR)
        naive += plain.tidy().eval("conf_low < @LATE < conf_high").item()
    assert inside >= stats.binom.ppf(0.001, draws, 0.95)
    assert abs(np.mean(off)) < 3 * np.std(off) / np.sqrt(draws)
    assert naive < 0.5 * draws


def test_where_all_comply_the_first_stage_is_one_for_every_unit():
    fit = estimate(panel(**COMPLIANCE["all comply"]), ask("x1", "x2"), "dml_iv", **LINEAR)
    told = " ".join(fit.notes)
    assert "there are no always-takers" in told
    assert "there are no never-takers" in told
    assert "moves the probability of treatment by 1, for every unit." in told


@pytest.mark.parametrize(
    ("model", "words"),
    [
        ("pliv", {"l": "the change of y", "m": "the instrument lottery", "r": "treatment"}),
        (
            "iivm",
            {
                "m": "the instrument lottery",
                "g0": "the change of y where lottery is 0",
                "g1": "the change of y where lottery is 1",
                "r0": "treatment where lottery is 0",
                "r1": "treatment where lottery is 1",
            },
        ),
    ],
)
def test_what_is_learned_is_told_in_words(model, words):
    learning = Learning("linear", 2, 1, 0, "linear", 0.02)
    asked = find_design("dml_iv").nuisances(
        ask("x1").sample(panel()), learning, model=model, before=1, after=1
    )
    assert {key: function.words for key, function in asked.parts[0].functions.items()} == words
    assert asked.limits == ((0.0, 1.0) if model == "pliv" else (0.02, 0.98))


def test_takers_that_there_are_are_not_said_to_be_missing():
    told = " ".join(estimate(panel(), ask("x1", "x2"), "dml_iv", **LINEAR).notes)
    assert "takers" not in told


def test_a_weak_instrument_is_called_so_and_a_strong_one_is_not():
    strong, weak = (
        " ".join(estimate(panel(), ask("x1", instrument=name), "dml_iv", **LINEAR).notes)
        for name in ("lottery", "letters")
    )
    assert "It is weak" not in strong
    assert "It is weak (t squared is below 10)" in weak


@pytest.mark.parametrize(("t", "weak"), [(3.1, True), (3.2, False)])
def test_the_first_stage_is_weak_below_an_f_of_ten(t, weak):
    noise = np.tile([1.0, -1.0], 50)
    moved = t / 10 + noise
    told = first_stage(moved[:, None], np.ones((100, 1)), np.arange(100), "a letter")
    assert f"(t = {t:.1f})" in told
    assert ("It is weak" in told) == weak


SAME: dict[str, tuple] = {
    "scale": (lambda p: replace(p, outcomes={"y": -1000 * p.outcomes["y"]}), -1000.0),
    "unit constants": (lambda p: replace(p, outcomes={"y": p.outcomes["y"] + np.arange(200)[:, None]}), 1.0),
    "period constants": (lambda p: replace(p, outcomes={"y": p.outcomes["y"] + 50 * np.cos(p.periods)}), 1.0),
    "units of x": (lambda p: with_columns(p, x1=5 - 3 * p.covariates["x1"]), 1.0),
}
SAME_OF_ANY_INSTRUMENT = SAME | {
    "instrument turned round": (lambda p: with_columns(p, lottery=1 - p.covariates["lottery"]), 1.0),
    "units of the instrument": (lambda p: with_columns(p, lottery=7 + 4 * p.covariates["lottery"]), 1.0),
}


@pytest.mark.parametrize(
    ("model", "name"),
    [*(("iivm", name) for name in SAME), *(("pliv", name) for name in SAME_OF_ANY_INSTRUMENT)],
)
def test_invariance(model, name):
    change, factor = SAME_OF_ANY_INSTRUMENT[name]
    ours, theirs = (
        estimate(p, ask("x1", "x2"), "dml_iv", model=model, **LINEAR) for p in (panel(), change(panel()))
    )
    within = 1e-8 * abs(factor) * ours.std_error[0]
    assert abs(theirs.effect[0] - factor * ours.effect[0]) <= within
    assert abs(theirs.std_error[0] - abs(factor) * ours.std_error[0]) <= within


def with_columns(source: Panel, **columns) -> Panel:
    return replace(source, covariates=dict(source.covariates) | columns)


def test_same_seed_same_numbers_for_any_number_of_jobs():
    source, question = panel(), ask("x1", "x2")
    one, other = (estimate(source, question, "dml_iv", seed=s, **LINEAR) for s in (5, 6))
    with study.settings(jobs=2):
        two = estimate(source, question, "dml_iv", seed=5, **LINEAR)
    assert np.array_equal(one.influence, two.influence)
    assert one.effect[0] == two.effect[0] != other.effect[0]


def test_repetitions_are_averaged_and_their_spread_is_told():
    fit = estimate(panel(), ask("x1"), "dml_iv", **LINEAR | {"repetitions": 3})
    assert "(200 units in each of 3 draws)" in fit.notes[0]
    assert "Over 3 draws of the folds" in fit.notes[-1]
    assert abs(fit.influence.mean()) < EXACT


def test_the_instrument_of_a_sample_is_its_first_observed_value():
    source = panel()
    z = source.covariates["lottery"].copy()
    z[:, 0], z[:, 2:] = np.nan, 9.0
    z[4] = np.nan
    sample = ask().sample(with_columns(source, lottery=z))
    assert sample.n_units == 199
    assert [s.units for s in sample.flow if s.reason == "instrument lottery is never observed"] == [1]
    keep = np.delete(np.arange(200), 4)
    assert np.array_equal(sample.instrument, z[keep, 1])
    assert np.array_equal(
        sample.only(np.arange(199) > 20, "small").instrument, sample.instrument[np.arange(199) > 20]
    )
    assert ask(instrument=None).sample(source).instrument is None


@pytest.mark.parametrize("design", [name for name in all_designs() if name not in ("dml_iv", "iv")])
def test_every_other_design_refuses_a_question_with_an_instrument(design):
    with pytest.raises(QuestionError, match=f"{design}: it cannot answer .* an instrument; dml_iv, iv can"):
        estimate(panel(), ask(), design)


def test_what_has_an_instrument_and_what_it_assumes_can_be_told():
    assert set(ASSUMED) == set(Assumes)
    needs = [d.name for d in all_designs().values() if Supports.INSTRUMENT in d.supports]
    assert needs == ["dml_iv", "iv"]
    assert find_design("dml_iv").learners == ("learner", "propensity")


def test_records_of_questions_without_an_instrument_do_not_mention_it(tmp_path):
    row = '[[designs]]\nname = "dml_iv"\nlabel = "IV"\nquestion = {instrument = "x1"}\n'
    row += 'options = {model = "pliv", learner = "linear", repetitions = 1}\n'
    text = plans.PLAN.replace('[[designs]]\nname = "event_study"', row + '[[designs]]\nname = "event_study"')
    (tmp_path / "study.toml").write_text(text)
    plan = read_plan(tmp_path / "study.toml")
    whole = Panel.from_long(**{("data" if k == "file" else k): v for k, v in plan.panel.items()})
    tasks = [t for t in plan.tasks() if t.row.label in ("IV", "TWFE") and t.scale == "log1p"]
    table = record({task.key: answer(task, whole) for task in tasks})
    asked = {label: json.loads(text) for label, text in zip(table["label"], table["question"], strict=True)}
    assert asked["IV"]["instrument"] == "x1"
    assert "instrument" not in asked["TWFE"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--instrument", "lottery"], "callaway_santanna: it cannot answer .* an instrument; dml_iv, iv can"),
        (
            ["--design", "dml_iv"],
            r"the question has no instrument; name one with (--instrument|Question\(instrument=)",
        ),
        (["--design", "dml_iv", "--instrument", "same"], "the instrument same is 1 for all 40 units"),
        (["--design", "dml_iv", "--instrument", "lotery"], "lotery"),
    ],
)
@pytest.mark.parametrize("command", ["estimate", "compare"])
def test_the_commands_read_the_instrument_from_a_file(tmp_path, command, arguments, message):
    import pandas as pd
    from typer.testing import CliRunner

    from study.commands.cli import app

    source = panel(n=40)
    table = pd.DataFrame(
        {
            "unit": np.repeat(source.units, 4),
            "time": np.tile(PERIODS, 40),
            "y": source.outcomes["y"].ravel(),
            "event": np.repeat(source.first_treated["event"], 4),
            "lottery": source.covariates["lottery"].ravel(),
            "same": 1.0,
        }
    )
    table.to_csv(tmp_path / "mine.csv", index=False)
    shared = [command, "--panel", str(tmp_path / "mine.csv"), "--outcome", "y", "--event", "event"]
    if command == "compare":
        shared += ["--design", "twfe"]
        arguments = ["--design", "callaway_santanna", *arguments]
    done = CliRunner().invoke(app, [*shared, *arguments])
    said = f"{done.output} {done.exception}"
    assert re.search(message, " ".join(said.split())), said


def few_always_takers(source: Panel) -> Panel:
    first = source.first_treated["event"].copy()
    takers = np.flatnonzero((source.covariates["lottery"][:, 0] == 0) & ~np.isnan(first))
    first[takers[2:]] = np.nan
    return replace(source, first_treated={"event": first})


def few_treated(source: Panel) -> Panel:
    first = source.first_treated["event"].copy()
    first[np.flatnonzero(~np.isnan(first))[2:]] = np.nan
    return replace(source, first_treated={"event": first})


def few_winners(source: Panel) -> Panel:
    z = np.zeros((200, 4))
    z[[3, 5]] = 1.0
    return with_columns(source, lottery=z)


def off_again(source: Panel) -> Panel:
    path = 1.0 * (source.first_treated["event"][:, None] == PERIODS)
    return replace(source, first_treated={}, treatment={"event": path})


@pytest.mark.parametrize(
    ("change", "fields", "options", "message"),
    [
        (None, {"instrument": None}, {}, "dml_iv: the question has no instrument; name one"),
        (None, {"instrument": "dose"}, {}, 'takes an instrument of 0 and 1, but dose is .* use model="pliv"'),
        (
            lambda p: with_columns(p, lottery=np.ones((200, 4))),
            {},
            {},
            "the instrument lottery is 1 for all 200 units that are seen at both ends",
        ),
        (
            lambda p: replace(p, outcomes={"y": np.ones((200, 4))}),
            {},
            {},
            "y changes alike for all 200 units that are seen at both ends",
        ),
        (few_treated, {}, {}, r"fewer than two units are treated \(2 of 200 are in all\)"),
        (few_winners, {}, {}, r"fewer than two units are of lottery 1 \(2 of 200 are in all\)"),
        (few_always_takers, {}, {}, "fewer than two units are treated among those of lottery 0"),
        (None, {}, {"model": "late"}, 'there is no model "late".*iivm, pliv'),
        (None, {}, {"folds": 1}, "folds is 1; it must be a whole number, at least 2"),
        (None, {}, {"folds": 101}, "101 folds of at least two units need 202, but 200"),
        (None, {}, {"trim": 1}, "trim is 1; it must be a number above 0 and below 0.5"),
        (None, {}, {"before": 2}, "of the 4 periods the first 1 are without treatment"),
        (None, {}, {"propensity": "jungle"}, 'there is no propensity "jungle"'),
        (None, {"scale": "proportional"}, {}, 'cannot answer a question with scale="proportional"'),
        (off_again, {}, {}, "an event that is not absorbing"),
    ],
)
def test_bad_input_is_refused_in_one_line_before_fitting(change, fields, options, message, monkeypatch):
    monkeypatch.setattr(sys.modules["study.learners.nuisances"], "cross_fit", None)
    source = panel() if change is None else change(panel())
    with pytest.raises(QuestionError, match=message) as error:
        estimate(source, ask(**fields), "dml_iv", **options)
    assert "\n" not in str(error.value)
    assert str(error.value).startswith("dml_iv: ")


def test_an_instrument_that_the_panel_does_not_have_or_that_is_a_covariate_is_refused():
    with pytest.raises(
        QuestionError, match=r'there is no covariate "lotery"\. Did you mean "lottery"'
    ) as error:
        ask(instrument="lotery").sample(panel())
    assert "\n" not in str(error.value)
    with pytest.raises(QuestionError, match="lottery is both the instrument and a covariate"):
        ask("x1", "lottery")


@pytest.mark.parametrize("learner", ["linear", "forest"])
def test_the_order_of_units_does_not_matter(learner):
    source, order = panel(), np.random.default_rng(3).permutation(200)
    ours, theirs = (
        estimate(p, ask("x1"), "dml_iv", **LINEAR | {"learner": learner})
        for p in (source, simulated.ordered(source, order))
    )
    assert np.array_equal(theirs.influence, ours.influence)


@pytest.mark.parametrize("model", ["iivm", "pliv"])
def test_a_window_at_whose_ends_nobody_is_seen_is_refused_in_one_line(model):
    source = panel(n=40)
    y = source.outcomes["y"].copy()
    y[:, 0] = np.nan
    with pytest.raises(QuestionError, match=r"dml_iv: 5 folds .* but 0 are seen at both ends of the window"):
        estimate(replace(source, outcomes={"y": y}), ask(), "dml_iv", model=model, **LINEAR)


@pytest.mark.parametrize("learner", ["linear", "lasso", "forest"])
def test_an_instrument_that_covariates_explain_is_refused(learner):
    made = panel().covariates["x1"] - 2 * panel().covariates["lottery"]
    with pytest.raises(QuestionError, match="dml_iv: covariates explain all of the instrument lottery"):
        estimate(
            with_columns(panel(), made=made), ask("x1", "made"), "dml_iv", model="pliv", learner=learner,
            repetitions=1,
        )  # fmt: skip


@pytest.mark.parametrize("learner", ["linear", "lasso", "forest", "lightgbm"])
@pytest.mark.parametrize(
    ("design", "options", "what"),
    [
        ("dml_iv", {}, "the instrument lottery"),
        ("dml_irm", {"effect": "ate"}, "treatment"),
        ("dml_irm", {"effect": "att"}, "treatment"),
        ("dml_stacked", {}, "adoption"),
    ],
)
def test_covariates_that_tell_a_probability_of_0_or_1_are_refused_with_every_learner(
    design, options, what, learner
):
    source = panel(n=400)
    copied = source.covariates["lottery"] == 1
    if design != "dml_iv":
        copied = np.outer(~np.isnan(source.first_treated["event"]), np.ones(4)) == 1
    source = with_columns(source, copy=np.where(copied, 3.0, 1.0))
    fields = {"instrument": "lottery"} if design == "dml_iv" else {"comparison": "never_treated"}
    asked = ask("x1", "copy", **{"instrument": None} | fields)
    learners = {"learner": "linear", "propensity": learner, "repetitions": 1}
    told = rf"covariates nearly tell {what} of each unit: .* \d\.\d%|the propensity learner gives all .* zero"
    with pytest.raises(QuestionError, match=f"{design}: ({told})"):
        estimate(source, asked, design, **options, **learners)


@pytest.mark.parametrize("learner", ["lasso", "forest", "lightgbm"])
@pytest.mark.parametrize("what", ["a bound", "a sum"])
@pytest.mark.parametrize("design", ["dml_irm", "dml_stacked"])
def test_covariates_that_tell_treatment_among_few_units_are_refused_with_every_learner(design, what, learner):
    source = panel(n=40)
    treated = ~np.isnan(source.first_treated["event"])
    size = np.random.default_rng(1).uniform(size=40) + treated
    told = {"a bound": size, "a sum": treated - source.covariates["x1"][:, 0]}[what]
    source = with_columns(source, told=np.outer(told, np.ones(4)))
    learners = {"learner": "linear", "propensity": learner, "folds": 2, "repetitions": 1}
    asked = ask("x1", "told", instrument=None, comparison="never_treated")
    with pytest.raises(
        QuestionError, match=f"{design}: covariates nearly tell (treatment|adoption) of each unit"
    ):
        estimate(source, asked, design, **learners)


@pytest.mark.filterwarnings("ignore::RuntimeWarning")  # doubleml divides by zero
@pytest.mark.parametrize("learner", ["linear", "forest"])
@pytest.mark.parametrize("model", ["iivm", "pliv"])
def test_an_instrument_of_a_treatment_that_covariates_explain_moves_nobody(model, learner):
    first = np.where(np.random.default_rng(0).random(800) < 0.4, 2013.0, np.nan)
    source = replace(panel(n=800), first_treated={"event": first})
    source = with_columns(source, copy=np.outer(3 - 2 * np.isnan(first), np.ones(4)))
    learners = {"learner": learner, "propensity": learner, "repetitions": 1}
    with pytest.raises(QuestionError, match="dml_iv: given covariates lottery moves nobody to treatment"):
        estimate(source, ask("copy"), "dml_iv", model=model, **learners)


@pytest.mark.filterwarnings("ignore::RuntimeWarning")  # doubleml divides by zero
def test_an_instrument_that_moves_nobody_is_refused(monkeypatch):
    predicted = {"l": 0.0, "m": 0.5, "r": 0.5}
    half = np.arange(200) % 2  # a lottery that as many of the treated win as of the others
    first = np.where(np.arange(200) // 2 % 2, 2013.0, np.nan)
    source = replace(
        with_columns(panel(), lottery=np.outer(half, np.ones(4))), first_treated={"event": first}
    )

    def known(x, period, functions, folds, seed):
        return {name: np.full((200, 1), predicted[name]) for name in functions}

    monkeypatch.setattr(sys.modules["study.learners.nuisances"], "cross_fit", known)
    with pytest.raises(QuestionError, match="given covariates lottery moves nobody to treatment"):
        estimate(source, ask(), "dml_iv", model="pliv", repetitions=1)
