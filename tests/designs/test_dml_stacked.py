"""dml_stacked against Callaway and Sant'Anna, doubleml itself, plain loops and known truths."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import searching
import simulated
import statsmodels.api as sm
from scipy import stats
from twins.learned import splits

import study
from study import Estimate, Panel, Question, QuestionError, estimate
from study.core.distributions import normal_score
from study.designs import find_design
from study.learners.nuisances import Nuisances
from study.panel.question import Sample

EXACT = 1e-9
LINEAR = {"learner": "linear", "propensity": "linear"}
WHOLE = {"folds": 1, "repetitions": 1}
QUICK = {"folds": 2, "repetitions": 1}


def asked_of(sample: Sample, **options: Any) -> Nuisances:
    """Return what the design learns."""
    defaults = {
        **LINEAR,
        "folds": 5,
        "repetitions": 5,
        "trim": 0.01,
        "before": None,
        "after": None,
        "seed": 0,
    }
    return find_design("dml_stacked").nuisances_of(sample, **(defaults | options))


def fold_of_units(sample: Sample, asked: Nuisances) -> np.ndarray:
    """Return the fold of each unit in each draw, -1 for units in no stack."""
    fold = np.full((sample.n_units, asked.parts[0].folds.place.shape[1]), -1)
    for part in asked.parts:
        fold[part.unit] = part.folds.fold
    return fold


def alike(n: int, seed: int = 0, cohorts: tuple[int, ...] = simulated.COHORTS, slope: float = 0.6) -> Panel:
    """Return a panel in which the log odds of each cohort against the never-treated are a line in x1 and a constant."""
    made, rng = simulated.panel(n, seed), np.random.default_rng(seed)
    x1, periods = made.covariates["x1"], made.periods
    adopts = rng.random(n) < 1 / (1 + np.exp(0.5 - slope * x1[:, 0]))
    first = np.where(adopts, rng.choice(cohorts, size=n), np.nan)
    y = rng.normal(size=(n, 1)) + (0.3 + 0.1 * x1) * periods + simulated.effects(first, 1.0)
    outcomes = {"y": y + rng.normal(size=y.shape)}
    return replace(made, first_treated={"event": first}, outcomes=outcomes)


ASKS = [
    {},
    {"comparison": "never_treated"},
    {"anticipation": 1},
    {"anticipation": 2, "comparison": "never_treated"},
    {"cluster": "state"},
    {"missing": "balanced"},
    {"cohort_width": 2},
]


@pytest.mark.parametrize("scale", ["level", "proportional"])
@pytest.mark.parametrize("gaps", [0.0, 0.1])
@pytest.mark.parametrize("asks", ASKS, ids=str)
def test_without_covariates_and_folds_it_is_callaway_and_santanna_by_event_time(asks, gaps, scale):
    source = simulated.with_late_units(n=140, gaps=gaps / 4 if asks.get("missing") else gaps, level=8.0)
    question = Question("y", "event", scale=scale, **asks)
    ours = estimate(source, question, "dml_stacked", **WHOLE)
    theirs = estimate(source, question).aggregate("event")
    assert ours.terms == theirs.terms
    assert np.array_equal(ours.reference, theirs.reference)
    np.testing.assert_allclose(ours.effect, theirs.effect, rtol=EXACT, atol=EXACT)
    np.testing.assert_allclose(ours.with_vcov("CR0").std_error, theirs.with_vcov("CR0").std_error, rtol=EXACT)
    np.testing.assert_allclose(ours.std_error, theirs.std_error, rtol=EXACT)
    np.testing.assert_allclose(ours.influence, theirs.influence, rtol=EXACT, atol=EXACT)
    np.testing.assert_allclose(ours.untreated_mean, theirs.untreated_mean, rtol=EXACT)
    assert ours.n_obs == theirs.n_obs
    average, other = ours.aggregate("event_average"), theirs.aggregate("event_average")
    np.testing.assert_allclose(
        average.with_vcov("CR0").std_error, other.with_vcov("CR0").std_error, rtol=EXACT
    )


@pytest.mark.parametrize("comparison", ["never_treated", "not_yet_treated"])
def test_with_one_cohort_and_linear_learners_it_is_the_doubly_robust_estimate(comparison):
    source = alike(150, cohorts=(5,))
    question = Question("y", "event", covariates=("x1", "x2"), comparison=comparison)
    ours = estimate(source, question, "dml_stacked", **LINEAR, **WHOLE)
    theirs = estimate(source, question).aggregate("event")
    np.testing.assert_allclose(ours.effect, theirs.effect, rtol=1e-8, atol=1e-8)


def gaps_from_the_doubly_robust_estimate(n: int) -> np.ndarray:
    """Return how far errors, and effects in errors, are from it on average over event times and panels."""
    question, gaps = Question("y", "event", covariates=("x1",), comparison="never_treated"), []
    for seed in range(3):
        source = alike(n, seed)
        ours = estimate(source, question, "dml_stacked", **LINEAR, **WHOLE)
        theirs = estimate(source, question).aggregate("event")
        gap = (ours.std_error / theirs.std_error - 1, (ours.effect - theirs.effect) / theirs.std_error)
        gaps.append(np.abs(gap)[:, ~ours.reference].mean(axis=1))
    return np.mean(gaps, axis=0)


def test_linear_learners_approach_the_doubly_robust_estimate_as_units_grow():
    small, large = gaps_from_the_doubly_robust_estimate(200), gaps_from_the_doubly_robust_estimate(6400)
    assert np.all(large < small / 2)
    assert np.all(large < (0.005, 0.02))


def twins(name: str):
    """Return a regressor and a classifier of scikit-learn."""
    from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor
    from sklearn.linear_model import LinearRegression, LogisticRegression

    if name == "linear":
        return LinearRegression(), LogisticRegression(C=2.0, tol=1e-10, max_iter=1000)
    forest = {"n_estimators": 5, "min_samples_leaf": 8, "random_state": 3}
    return RandomForestRegressor(**forest), RandomForestClassifier(**forest)


@pytest.mark.parametrize("learner", ["linear", "forest"])
@pytest.mark.parametrize("event", [-3, 0, 2])
def test_with_one_cohort_it_equals_doubleml_but_for_the_sums_that_doubleml_takes_as_known(learner, event):
    from doubleml.data import DoubleMLPanelData
    from doubleml.did import DoubleMLDIDBinary
    from doubleml.utils import PSProcessorConfig

    source = alike(120, cohorts=(5,))
    question = Question("y", "event", covariates=("x1", "x2"), comparison="never_treated")
    regressor, classifier = twins(learner)
    options = {"learner": regressor, "propensity": classifier, "folds": 4, "repetitions": 1, "trim": 1e-11}
    fit = estimate(source, question, "dml_stacked", **options)
    sample = question.sample(source)
    table = simulated_long(source)
    data = DoubleMLPanelData(table, "y", "first", t_col="time", id_col="unit", x_cols=["x1", "x2"])
    model = DoubleMLDIDBinary(
        data,
        g_value=5,
        t_value_pre=4,
        t_value_eval=5 + event,
        ml_g=regressor,
        ml_m=classifier,
        draw_sample_splitting=False,
        ps_processor_config=PSProcessorConfig(clipping_threshold=1e-11),
    )
    model.set_sample_splitting(splits(asked_of(sample, **options).parts[0].folds))
    model.fit(store_predictions=True)
    k = fit.terms.index(f"event {event}")
    assert fit.effect[k] == pytest.approx(model.coef[0], rel=EXACT)
    treated = sample.first_treated == 5
    p, g = (model.predictions[name][:, 0, 0] for name in ("ml_m", "ml_g0"))
    weight = np.where(treated, 0.0, p / (1 - p))
    weight /= weight.sum()
    centre = weight @ (sample.y[:, 4 + event] - sample.y[:, 3] - g)
    known = centre * sample.n_units * (treated / treated.sum() - weight)
    np.testing.assert_allclose(fit.influence[:, k] + known, model.psi[:, 0, 0], rtol=EXACT, atol=EXACT)


def simulated_long(source: Panel):
    """Return doubleml's table: never treated is infinity."""
    import pandas as pd

    n, periods = source.n_units, source.periods
    first = source.first_treated["event"]
    return pd.DataFrame(
        {
            "unit": np.repeat(np.arange(n), len(periods)),
            "time": np.tile(periods, n),
            "y": source.outcomes["y"].ravel(),
            "x1": source.covariates["x1"].ravel(),
            "x2": source.covariates["x2"].ravel(),
            "first": np.repeat(np.where(np.isnan(first), np.inf, first), len(periods)),
        }
    )


def by_loops(sample: Sample, asked: Nuisances, event: int, trim: float) -> tuple[float, np.ndarray]:
    """Return ATT(e) and its influence with linear learners, averaged over draws, one row after the other."""
    question, first = sample.question, np.nan_to_num(sample.first_treated, nan=np.inf)
    d, place, n = question.anticipation, {t: k for k, t in enumerate(sample.periods)}, sample.n_units
    x = sm.add_constant(sample.x_baseline)
    cohorts = [g for g in sample.cohorts if g - 1 - d in place]

    def role(i: int, g: float, until: float) -> bool | None:
        if first[i] == g:
            return True
        late = np.isinf(first[i]) if question.comparison == "never_treated" else first[i] > until + d
        return False if late else None

    def rows(of_event: int | None) -> list[tuple[int, float, bool]]:
        found = []
        for g in cohorts:
            base = g - 1 - d
            now = base if of_event is None else g + of_event
            seen = [
                i
                for i in range(n)
                if now in place and not np.isnan(sample.y[i, [place[now], place[base]]]).any()
            ]
            found += [(i, g, role(i, g, max(now, base))) for i in seen]
        return [row for row in found if row[2] is not None]

    effects, influences = [], []
    for fold in fold_of_units(sample, asked).T:
        numbers = range(asked.parts[0].folds.number)
        odds = np.zeros(n)
        for k in numbers:
            train = [row for row in rows(None) if fold[row[0]] != k or len(numbers) == 1]
            logit = sm.GLM(
                [1.0 * row[2] for row in train], x[[row[0] for row in train]], sm.families.Binomial()
            )
            p = np.minimum(logit.fit(tol=1e-14).predict(x), 1 - trim)
            odds = np.where(fold == k, p / (1 - p), odds)
        at, influence, effect = rows(event), np.zeros(n), {}
        present = sorted({g for _, g, treated in at if treated} & {g for _, g, treated in at if not treated})
        members = {g: int((first == g).sum()) for g in present}
        total = sum(members.values())
        for g in present:
            change = sample.y[:, place[g + event]] - sample.y[:, place[g - 1 - d]]
            ours = [i for i, h, treated in at if h == g and treated]
            theirs = [i for i, h, treated in at if h == g and not treated]
            residual = {}
            for i in ours + theirs:
                train = [j for j in theirs if fold[j] != fold[i] or len(numbers) == 1]
                residual[i] = change[i] - x[i] @ np.linalg.lstsq(x[train], change[train], rcond=None)[0]
            mean = sum(residual[i] for i in ours) / len(ours)
            weight = {j: odds[j] / sum(odds[m] for m in theirs) for j in theirs}
            implied = sum(weight[j] * residual[j] for j in theirs)
            effect[g] = mean - implied
            for i in ours:
                influence[i] += n / total * members[g] / len(ours) * (residual[i] - mean)
            for j in theirs:
                influence[j] -= n / total * members[g] * weight[j] * (residual[j] - implied)
        average = sum(members[g] * effect[g] for g in present) / total
        for i in range(n):
            influence[i] += n / total * (effect[first[i]] - average) if first[i] in effect else 0.0
        effects.append(average)
        influences.append(influence)
    return float(np.mean(effects)), np.mean(influences, axis=0)


@pytest.mark.parametrize(
    ("event", "asks", "source", "trim"),
    [
        (0, {}, simulated.panel(90), 0.01),
        (1, {"comparison": "never_treated", "anticipation": 1}, simulated.panel(90), 0.01),
        (-3, {"cluster": "state"}, simulated.panel(90, gaps=0.05), 0.01),
        (2, {}, alike(90, cohorts=(5, 6), slope=3.0), 0.49),
    ],
    ids=["plain", "never treated, anticipation", "clusters, gaps", "trimmed"],
)
def test_is_the_score_of_loops_over_units_averaged_over_draws(event, asks, source, trim):
    question = Question("y", "event", covariates=("x1", "x2"), **asks)
    options = {**LINEAR, "folds": 2, "repetitions": 2, "trim": trim, "seed": 4}
    fit = estimate(source, question, "dml_stacked", **options)
    sample = question.sample(source)
    effect, influence = by_loops(sample, asked_of(sample, **options), event, trim)
    k = fit.terms.index(f"event {event}")
    assert fit.effect[k] == pytest.approx(effect, rel=1e-7)
    np.testing.assert_allclose(fit.influence[:, k], influence, atol=1e-6 * np.abs(influence).max())


def test_a_unit_is_in_one_fold_and_each_cohort_is_spread_evenly():
    sample = Question("y", "event", covariates=("x1",)).sample(simulated.panel(101, gaps=0.1))
    asked = asked_of(sample)
    fold = fold_of_units(sample, asked)
    assert all(np.array_equal(fold[part.unit], part.folds.fold) for part in asked.parts)
    for units in (sample.first_treated == 4, ~np.isnan(sample.first_treated), fold[:, 0] >= 0):
        for draw in fold[units & (fold[:, 0] >= 0)].T:
            sizes = np.bincount(draw, minlength=5)
            assert sizes.max() - sizes.min() <= 1
    clustered = Question("y", "event", covariates=("x1",), cluster="state").sample(simulated.panel(101))
    fold = fold_of_units(clustered, asked_of(clustered, folds=3))
    for cluster in np.unique(clustered.cluster):
        assert len(np.unique(fold[clustered.cluster == cluster], axis=0)) == 1


def test_the_propensity_is_learned_from_each_cohort_and_those_not_treated_just_before_it():
    source = simulated.panel(80)
    sample = Question("y", "event", covariates=("x1",)).sample(source)
    part = asked_of(sample).parts[0]
    found = sorted(zip(part.unit, part.functions["treatment"].target, strict=True))
    first = np.nan_to_num(sample.first_treated, nan=np.inf)
    expected = sorted((i, 1.0 * (first[i] == g)) for g in (4, 6, 7) for i in range(80) if first[i] >= g)
    assert found == expected


def test_same_seed_same_numbers_with_two_processes_and_the_global_seed_is_not_touched():
    source, question = simulated.panel(60), Question("y", "event", covariates=("x1",))
    options = {"learner": "forest", "propensity": "linear", **QUICK, "before": 1, "after": 0, "seed": 5}
    np.random.seed(11)  # noqa: NPY002 (the global generator is what is tested)
    before = np.random.get_state()  # noqa: NPY002 (the global generator is what is tested)
    one = estimate(source, question, "dml_stacked", **options)
    after = np.random.get_state()  # noqa: NPY002 (the global generator is what is tested)
    with study.settings(jobs=2):
        two = estimate(source, question, "dml_stacked", **options)
    other = estimate(source, question, "dml_stacked", **(options | {"seed": 6}))
    assert np.array_equal(before[1], after[1])
    assert np.array_equal(one.effect, two.effect)
    assert np.array_equal(one.influence, two.influence)
    assert one.seed == 5
    assert not np.array_equal(one.effect, other.effect)


def shifted(source: Panel) -> Panel:
    first = {name: dates + 100 for name, dates in source.first_treated.items()}
    return replace(source, periods=source.periods + 100, first_treated=first)


def with_outcome(source: Panel, change: Callable[[np.ndarray], np.ndarray]) -> Panel:
    return replace(source, outcomes={"y": change(source.outcomes["y"])})


def in_reverse(source: Panel) -> Panel:
    """Return the panel from a table whose rows are in another order."""
    table = simulated_long(source).rename(columns={"first": "event"}).replace({"event": {np.inf: np.nan}})
    table["unit"] = source.units[table["unit"]]
    return Panel.from_long(
        table.sample(frac=1, random_state=1),
        unit="unit",
        time="time",
        first_treated="event",
        outcomes="y",
        covariates=["x1", "x2"],
    )


@pytest.mark.parametrize(
    ("change", "factor", "within"),
    [
        (in_reverse, 1.0, 0.0),
        (shifted, 1.0, 0.0),
        (lambda p: with_outcome(p, lambda y: y + np.arange(len(y))[:, None]), 1.0, 1e-6),
        (lambda p: with_outcome(p, lambda y: y + np.sin(np.arange(y.shape[1]))), 1.0, 1e-6),
        (lambda p: with_outcome(p, lambda y: 1000 * y), 1000.0, 1e-6),
    ],
    ids=["row order", "time", "unit constants", "period constants", "scale"],
)
def test_invariance(change, factor, within):
    source, question = simulated.panel(60), Question("y", "event", covariates=("x1", "x2"))
    base, other = (
        estimate(p, question, "dml_stacked", **QUICK, before=2, after=1) for p in (source, change(source))
    )
    error = factor * base.std_error[~base.reference]
    for ours, theirs in ((base.effect, other.effect), (base.std_error, other.std_error)):
        gap = np.abs(theirs - factor * ours)[~base.reference]
        assert np.all(gap <= within * error)


def test_unit_labels_change_nothing_but_the_folds():
    source, question = simulated.panel(80), Question("y", "event", covariates=("x1",))
    order = np.random.default_rng(0).permutation(80)
    mixed = replace(simulated.ordered(source, order), units=source.units)
    base, other = (estimate(p, question, "dml_stacked", **LINEAR, **WHOLE) for p in (source, mixed))
    np.testing.assert_allclose(other.effect, base.effect, rtol=1e-8)
    np.testing.assert_allclose(other.influence, base.influence[order], rtol=1e-6, atol=1e-6)
    folds = (estimate(p, question, "dml_stacked", **LINEAR, **QUICK) for p in (source, mixed))
    assert not np.allclose(*(fit.effect for fit in folds), rtol=1e-8)


def small_cohorts(seed: int, n: int = 300) -> Panel:
    """Return a panel with ten cohorts of two units, whose adoption and trends share a step in x; the effect is 1."""
    rng = np.random.default_rng(seed)
    periods = np.arange(1, 13)
    x = rng.uniform(-1, 1, size=n)
    step = 1.0 * (np.abs(x) > 0.6)
    chosen = rng.choice(n, size=20, replace=False, p=(0.2 + step) / (0.2 + step).sum())
    first = np.full(n, np.nan)
    first[chosen] = np.repeat(np.arange(2, 12), 2)
    y = rng.normal(size=(n, 1)) + step[:, None] * periods + (periods >= first[:, None])
    y = y + 0.5 * rng.normal(size=y.shape)
    return Panel(
        name="small cohorts",
        units=np.array([f"u{i:03d}" for i in range(n)]),
        periods=periods,
        outcomes={"y": y},
        covariates={"x1": np.outer(x, np.ones(12))},
        first_treated={"event": first},
        treatment={},
        attributes={},
    )


@pytest.mark.search
def test_covers_under_nonlinear_confounding_with_cohorts_of_two_where_linear_adjustment_fails():
    draws, inside, missed, off = searching.samples(10, 16), 0, 0, []
    question = Question("y", "event", covariates=("x1",), average="event_average", horizon=1)
    trees = {"learner": "lightgbm", "propensity": "lightgbm", "folds": 3, "repetitions": 1}
    for seed in range(draws):
        source = small_cohorts(seed)
        fit, line = (
            estimate(source, question, "dml_stacked", **options, before=1, after=1).headline
            for options in (trees, {**LINEAR, "folds": 3, "repetitions": 1})
        )
        inside += fit.tidy().eval("conf_low < 1 < conf_high").item()
        missed += not line.tidy().eval("conf_low < 1 < conf_high").item()
        off.append(fit.effect[0] - 1)
    assert inside >= stats.binom.ppf(0.001, draws, 0.95)
    assert abs(np.mean(off)) < 0.1
    assert missed > draws / 2


def test_a_window_of_event_times_leaves_their_numbers_as_they_are():
    source, question = simulated.panel(80), Question("y", "event", covariates=("x1",), anticipation=1)
    whole = estimate(source, question, "dml_stacked", **LINEAR, **QUICK)
    part = estimate(source, question, "dml_stacked", **LINEAR, **QUICK, before=2, after=1)
    assert part.terms == ("event -3", "event -2", "event -1", "event 0", "event 1")
    kept = np.isin(whole.terms, part.terms)
    assert np.array_equal(whole.effect[kept], part.effect)
    assert np.array_equal(whole.influence[:, kept], part.influence)
    assert part.reference.tolist() == [False, True, False, False, False]


def dated(source: Panel, change: Callable[[np.ndarray], np.ndarray]) -> Panel:
    return replace(source, first_treated={"event": change(source.first_treated["event"])})


def test_notes_say_what_the_estimate_rests_on():
    source = alike(60, cohorts=(6,), slope=3.0)
    first = source.first_treated["event"].copy()
    first[np.flatnonzero(first == 6)[0]] = 4
    source = dated(source, lambda _: first)
    question = Question("y", "event", covariates=("x1", "x2"), anticipation=1, cluster="state")
    fit = estimate(source, question, "dml_stacked", **LINEAR, folds=2, repetitions=2, trim=0.49)
    said = "\n".join(fit.notes)
    assert f"{(first > 0).sum()} treated units of 2 cohorts are pooled" in said
    assert "event 4 rest on one cluster of a side" in said
    asked = asked_of(question.sample(source), folds=2, repetitions=2)
    score, part = asked.predicted()[0]["treatment"], asked.parts[0]
    compared = np.unique(part.unit[part.functions["treatment"].target == 0])
    place = [int(np.flatnonzero(part.unit == i)[0]) for i in compared]
    assert (score[place] > 0.51).sum() > 0
    assert f" {(score[place] > 0.51).sum()} above 0.51 are set to that bound" in said
    assert "predictions of adoption among comparison units" in said
    assert "of equal weight; the heaviest, u" in said
    assert "over 2 draws of the folds the effect of one has a standard deviation of up to" in said


def test_equal_weights_are_worth_all_units_that_carry_them():
    first = np.where(np.arange(60) < 20, 5.0, np.nan)
    source = dated(simulated.panel(60), lambda _: first)
    fit = estimate(source, Question("y", "event"), "dml_stacked", **WHOLE)
    assert (
        "the 40 comparison units are worth 40 of equal weight; the heaviest, u0020, has up to 2% of it"
        in fit.notes[1]
    )


def test_a_unit_that_several_cohorts_are_compared_with_counts_once_and_weighs_their_shares_of_it() -> None:
    first = np.repeat([4.0, 5.0, 7.0, np.nan], [20, 10, 5, 25])
    source = dated(simulated.panel(60), lambda _: first)
    y = np.where((first[:, None] == 7) & (source.periods < 7), np.nan, source.outcomes["y"])
    fit = estimate(replace(source, outcomes={"y": y}), Question("y", "event"), "dml_stacked", **WHOLE)
    of_later, of_never = 2 / 3 / 35, 2 / 3 / 35 + 1 / 3 / 25
    worth = 1 / (10 * of_later**2 + 25 * of_never**2)
    assert fit.notes[:2] == (
        "30 treated units of 2 cohorts are pooled",
        f"at event 0 the 35 comparison units are worth {worth:.0f} of equal weight; the heaviest, u0035, has up to "
        f"{of_never:.0%} of it",
    )


def test_units_that_are_never_seen_with_a_base_have_no_influence_beyond_their_cohorts_share():
    source = simulated.panel(60)
    y, first = source.outcomes["y"].copy(), source.first_treated["event"]
    never, treated = (int(np.flatnonzero(who)[0]) for who in (np.isnan(first), first == 6))
    y[never, 1:] = np.nan
    y[treated, 4] = np.nan
    fit = estimate(with_outcome(source, lambda _: y), Question("y", "event"), "dml_stacked", **QUICK)
    assert np.all(fit.influence[never] == 0)
    others = (first == 6) & (np.arange(60) != treated)
    k = fit.terms.index("event 0")
    assert 0 < abs(fit.influence[treated, k]) < np.abs(fit.influence[others, k]).max()


def few(source: Panel, number: int) -> Panel:
    """Return the panel with some of its treated units, the others never treated."""
    first = source.first_treated["event"].copy()
    first[np.flatnonzero(~np.isnan(first))[number:]] = np.nan
    return dated(source, lambda _: first)


def one_to_compare_with(source: Panel) -> Panel:
    """Return a panel in which every unit is treated, one of them last."""
    first = np.where(np.arange(source.n_units) % 2, 4.0, 6.0)
    first[0] = 8.0
    return dated(source, lambda _: first)


def seen_late(source: Panel, number: int, since: int = 3) -> Panel:
    """Return the panel in which only some never-treated units are seen late in it."""
    y = source.outcomes["y"].copy()
    y[np.flatnonzero(np.isnan(source.first_treated["event"]))[number:], since:] = np.nan
    return with_outcome(source, lambda _: y)


def without_predict_proba():
    from sklearn.svm import LinearSVC

    return LinearSVC()


@pytest.mark.parametrize(
    ("change", "fields", "options", "message"),
    [
        (None, {}, {"folds": 0}, "folds is 0; it must be a whole number, at least 1"),
        (None, {}, {"folds": 2.5}, "folds is 2.5"),
        (None, {}, {"repetitions": 0}, "repetitions is 0"),
        (None, {}, {"seed": -1}, "seed is -1"),
        (None, {}, {"trim": 0}, "trim is 0; it must be a number above 0"),
        (None, {}, {"trim": "no"}, "trim is 'no'"),
        (None, {}, {"before": 0}, "before is 0; it must be a whole number, at least 1"),
        (None, {}, {"before": 1.5}, "before is 1.5"),
        (None, {}, {"after": -1}, "after is -1; it must be a whole number, at least 0"),
        (None, {}, {"learner": "jungle"}, 'there is no learner "jungle"'),
        (None, {}, {"propensity": "jungle"}, 'there is no propensity "jungle"'),
        (None, {}, {"propensity": without_predict_proba()}, "which has no predict_proba"),
        (None, {}, {"folds": 31}, "31 folds of at least two units need 62, but 60 are in a stack"),
        (None, {"cluster": "state"}, {"folds": 9}, r"clusters \(state\) need 18, but 17"),
        (lambda p: few(p, 2), {}, {}, r"fewer than two units are treated \(2 of 60 are in all\)"),
        (lambda p: few(p, 1), {}, {"folds": 1}, r"fewer than two units are treated \(1 of"),
        (
            lambda p: seen_late(p, 0),
            {"comparison": "never_treated"},
            {"before": 1, "after": 0},
            "no effect can be estimated: cohort 4 in 4 left out: no comparison unit is observed; cohort 6",
        ),
        (None, {"missing": "cells"}, {}, "it cannot answer a question with missing"),
        (None, {"base": "varying"}, {}, "it cannot answer a question with base"),
        (None, {"weights": "size"}, {}, "it cannot answer a question with weights"),
    ],
)
def test_bad_input_is_refused_before_fitting(change, fields, options, message, monkeypatch):
    monkeypatch.setattr(Nuisances, "predicted", None)
    source = simulated.panel(60) if change is None else change(simulated.panel(60))
    with pytest.raises(QuestionError, match=message) as error:
        estimate(source, Question("y", "event", **fields), "dml_stacked", **options)
    assert "\n" not in str(error.value)
    assert str(error.value).startswith("dml_stacked: ")


def test_a_comparison_with_one_unit_only_needs_a_single_fold():
    source, question = one_to_compare_with(simulated.panel(60)), Question("y", "event")
    fit = estimate(source, question, "dml_stacked", **QUICK)
    why = "left out: it is compared with one unit only, which cannot be in more than one fold"
    assert f"cohort 6 in 1, 2, 3, 4, 6, 7 {why}" in fit.notes
    assert f"cohort 4 in 6, 7 {why}" in fit.notes
    whole = estimate(source, question, "dml_stacked", **WHOLE)
    assert not any("left out" in note for note in whole.notes)
    assert set(whole.terms) - set(fit.terms) == {"event -5", "event -4", "event 2", "event 3"}


def test_folds_that_hold_all_comparison_units_of_a_cohort_are_refused():
    source, question = (
        seen_late(simulated.panel(60), 2, since=7),
        Question("y", "event", comparison="never_treated"),
    )
    sample, refused = question.sample(source), []
    for seed in range(8):
        try:
            asked_of(sample, folds=2, repetitions=1, seed=seed)
        except QuestionError as error:
            refused.append(str(error))
    assert 0 < len(refused) < 8
    assert "the 2 units that cohort 7 is compared with at event 1 are all in one of the 2 folds" in refused[0]


def test_a_learner_that_sees_no_chance_of_treatment_is_refused():
    from sklearn.dummy import DummyClassifier

    never = DummyClassifier(strategy="constant", constant=0)
    question = Question("y", "event", covariates=("x1",))
    with pytest.raises(QuestionError, match="a score of zero; use another one"):
        estimate(simulated.panel(60), question, "dml_stacked", learner="linear", propensity=never)


def test_the_headline_is_an_average_with_a_finite_error():
    question = Question("y", "event", covariates=("x1",), average="event_average", horizon=1)
    fit: Estimate = estimate(simulated.panel(60), question, "dml_stacked", **LINEAR, **QUICK)
    assert fit.headline.terms == ("event_average",)
    after = np.isin(fit.terms, ("event 0", "event 1"))
    assert fit.headline.effect[0] == pytest.approx(fit.effect[after].mean())
    expected = np.sqrt((fit.influence[:, after].mean(axis=1) ** 2).sum()) / 60
    assert fit.headline.with_vcov("CR0").std_error[0] == pytest.approx(expected)


def test_designs_with_and_without_learners_are_set_beside_one_another() -> None:
    made = simulated.panel(120)
    plain = Question("y", "event", average="event_average", horizon=1)
    whole = ("dml_stacked", WHOLE | LINEAR, "pooled")
    equal = study.compare(made, plain, ["callaway_santanna", whole], draws=199).differences()
    assert list(equal["equal"]) == [True]
    given = plain.replace(covariates=("x1", "x2"), cluster="state")
    adjusted = ("callaway_santanna", {"method": "reg"}, "regression")
    by_cohort = ("dml_did", LINEAR | QUICK, "by cohort")
    found = study.compare(
        made, given, [adjusted, by_cohort, ("dml_stacked", LINEAR | QUICK, "pooled")], draws=199
    )
    apart = found.differences()
    assert len(apart) == 3
    assert not apart["equal"].any()
    separate = found.tidy().set_index("design")["std_error"]
    for row in apart.itertuples():
        assert 0 < row.std_error < separate[row.first] + separate[row.second]
    assert found.tests()["sup_t_p_value"].notna().all()


def test_bands_and_joint_tests_of_a_design_with_learners_are_those_of_its_influence() -> None:
    fit = estimate(
        simulated.panel(120),
        Question("y", "event", covariates=("x1",), cluster="state"),
        "dml_stacked",
        **QUICK | LINEAR,
    )
    band, used = fit.band(draws=199), fit.varies
    critical = (band["band_high"] - band["estimate"])[used] / band["std_error"][used]
    normal = normal_score(critical, fit.degrees_of_freedom[used])
    assert normal.min() == pytest.approx(normal.max())
    assert normal.min() > 1.96
    sums = np.array([fit.influence[fit.sample.cluster == c].sum(axis=0) for c in range(17)])
    np.testing.assert_allclose(fit.covariance("CR0"), sums.T @ sums / 120**2, rtol=1e-9, atol=1e-12)
    assert 0 < fit.test(fit.pre).p_value <= 1


def test_a_cohort_that_is_seen_in_its_base_alone_teaches_nothing():
    source = simulated.panel(n=120)
    y, last = source.outcomes["y"].copy(), source.first_treated["event"] == 7
    y[last[:, None] & (np.arange(8) != 5)] = np.nan
    question = Question("y", "event", comparison="never_treated", covariates=("x1", "x2"))
    source = replace(source, outcomes={"y": y})
    fit, rest = (
        estimate(each, question, "dml_stacked", **LINEAR, folds=1, repetitions=1)
        for each in (source, simulated.subset(source, ~last))
    )
    kept = np.isin(fit.event_time, rest.event_time)
    np.testing.assert_allclose(fit.effect[kept], rest.effect, rtol=1e-9)
