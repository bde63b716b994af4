"""dml_did against doubleml itself, plain numpy, callaway_santanna and known truths, on panels simulated here."""

from __future__ import annotations

import sys
from dataclasses import replace
from functools import cache

import numpy as np
import pandas as pd
import pytest
import simulated
from scipy import stats
from sklearn.dummy import DummyRegressor
from sklearn.ensemble import RandomForestRegressor
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.neighbors import KNeighborsRegressor

import study
from study import Panel, Question, QuestionError, estimate
from study.designs import find_design
from study.learners.nuisances import draw_folds

EXACT = 1e-9
FOLDS = 3
QUICK = {"learner": "linear", "propensity": "linear", "folds": FOLDS, "repetitions": 1}
ESTIMATORS = {
    "regressions": (LinearRegression(), LogisticRegression()),
    "neighbours": (KNeighborsRegressor(7), LogisticRegression(C=0.1)),
}


def ask(*covariates: str, **fields) -> Question:
    return Question("y", "event", covariates=covariates, **fields)


def without_ends(panel: Panel) -> Panel:
    """Return the panel without its first and last period."""
    blocks = {
        name: {key: block[:, 1:-1] for key, block in getattr(panel, name).items()}
        for name in ("outcomes", "covariates")
    }
    return replace(panel, periods=panel.periods[1:-1], **blocks)


def folds_of(sample, folds: int = FOLDS):
    """Return the fold of each unit in the first draw, shape (n,)."""
    cohort = np.unique(sample.first_treated, return_inverse=True)[1]
    return draw_folds(sample.cluster, cohort, folds, 1, 0).fold[:, 0]


def bases(fit) -> np.ndarray:
    """Return the base period of each term."""
    question = fit.sample.question
    start = fit.cohort - question.anticipation
    return np.where((question.base == "varying") & (fit.period < start), fit.period - 1, start - 1)


def doubleml_itself(fit, learners, which=None, units=None, bound: float = 1e-12):
    """Run doubleml's own cross-fitting of some of an estimate's cells, on some units, and on the design's folds."""
    from doubleml.data import DoubleMLPanelData
    from doubleml.did import DoubleMLDIDMulti
    from doubleml.utils import PSProcessorConfig

    sample, question = fit.sample, fit.sample.question
    units = np.arange(sample.n_units) if units is None else units
    which = ~fit.reference if which is None else which
    unit, time = (block.ravel() for block in np.meshgrid(units, sample.periods, indexing="ij"))
    table = pd.DataFrame({"unit": unit, "time": time, "y": sample.y[units].ravel()})
    table["first"] = np.nan_to_num(sample.first_treated, nan=np.inf)[unit]
    names = [f"x{k}" for k in range(sample.x_baseline.shape[1])]
    table[names] = sample.x_baseline[unit]
    model = DoubleMLDIDMulti(
        DoubleMLPanelData(table.dropna(), "y", "first", t_col="time", id_col="unit", x_cols=names),
        *learners,
        gt_combinations=[
            (g, int(base), int(t))
            for g, base, t in zip(fit.cohort[which], bases(fit)[which], fit.period[which], strict=True)
        ],
        control_group=question.comparison,
        anticipation_periods=question.anticipation,
        n_folds=FOLDS,
        ps_processor_config=PSProcessorConfig(clipping_threshold=bound),
    )
    for cell in model.modellist:
        fold = folds_of(sample)[units[cell.id_positions]]
        cell.set_sample_splitting(
            [[(np.flatnonzero(fold != k), np.flatnonzero(fold == k)) for k in range(FOLDS)]]
        )
    return model.fit()


@pytest.mark.parametrize(("gaps", "learners"), [(0.0, "regressions"), (0.15, "neighbours")])
@pytest.mark.parametrize(
    "fields",
    [
        {"comparison": "never_treated"},
        {"comparison": "not_yet_treated", "base": "varying"},
        {"comparison": "never_treated", "anticipation": 1},
        {"comparison": "not_yet_treated", "base": "varying", "anticipation": 1},
    ],
    ids=str,
)
def test_equals_doubleml_on_the_same_folds(gaps, fields, learners):
    g, m = ESTIMATORS[learners]
    panel = without_ends(simulated.panel(n=110, gaps=gaps, cohorts=(4, 7)))
    fit = estimate(panel, ask("x1", "x2", **fields), "dml_did", **QUICK | {"learner": g, "propensity": m})
    itself = doubleml_itself(fit, (g, m))
    np.testing.assert_allclose(fit.effect[~fit.reference], itself.coef, rtol=EXACT, atol=EXACT)
    np.testing.assert_allclose(fit.with_vcov("CR0").std_error[~fit.reference], itself.se, rtol=EXACT)


def test_named_linear_learners_are_doubleml_with_least_squares_and_a_logit():
    fit = estimate(simulated.panel(cohorts=(5,)), ask("x1", "x2"), "dml_did", **QUICK)
    logit = LogisticRegression(C=np.inf, tol=1e-10, solver="newton-cholesky")
    itself = doubleml_itself(fit, (LinearRegression(), logit))
    np.testing.assert_allclose(fit.effect[~fit.reference], itself.coef, rtol=1e-7, atol=1e-8)
    np.testing.assert_allclose(fit.with_vcov("CR0").std_error[~fit.reference], itself.se, rtol=1e-7)


@pytest.mark.parametrize("anticipation", [0, 1])
def test_before_treatment_comparison_units_are_untreated_at_the_base_where_doubleml_lets_them_be_treated(
    anticipation,
):
    g, m = ESTIMATORS["regressions"]
    question = ask("x1", anticipation=anticipation)
    fit = estimate(
        simulated.panel(n=110, cohorts=(4, 7)),
        question,
        "dml_did",
        **QUICK | {"learner": g, "propensity": m},
    )
    first = fit.sample.first_treated
    of_last = (fit.cohort == 7) & ~fit.reference
    later = of_last & (fit.period > bases(fit))
    np.testing.assert_allclose(fit.effect[later], doubleml_itself(fit, (g, m), later).coef, rtol=EXACT)
    units = np.flatnonzero(~(first < 7))
    among_untreated = doubleml_itself(fit, (g, m), of_last, units).coef
    np.testing.assert_allclose(fit.effect[of_last], among_untreated, rtol=EXACT, atol=EXACT)
    first_periods = of_last & (fit.period <= 2)
    assert np.all(np.abs(doubleml_itself(fit, (g, m), first_periods).coef - fit.effect[first_periods]) > 1e-3)


@pytest.mark.parametrize("base", ["universal", "varying"])
def test_with_fixed_shares_averages_are_those_of_doubleml(base):
    g, m = ESTIMATORS["regressions"]
    options = QUICK | {"learner": g, "propensity": m}
    question = ask("x1", base=base, comparison="never_treated")
    panel = without_ends(simulated.panel(n=110, cohorts=(4, 7)))
    fit = estimate(panel, question, "dml_did", variance="conditional", **options)
    itself, fit = doubleml_itself(fit, (g, m)), fit.with_vcov("CR0")
    for ours, theirs in (("event", "eventstudy"), ("cohort", "group"), ("calendar", "time")):
        made, average = fit.aggregate(ours), fit.aggregate(f"{ours}_average")
        found = itself.aggregate(theirs)
        shown = ~made.reference
        np.testing.assert_allclose(made.effect[shown], found.aggregated_frameworks.thetas, rtol=1e-8)
        np.testing.assert_allclose(made.std_error[shown], found.aggregated_frameworks.ses, rtol=EXACT)
        whole = found.overall_aggregated_framework
        assert average.effect[0] == pytest.approx(whole.thetas[0], rel=EXACT)
        assert average.std_error[0] == pytest.approx(whole.ses[0], rel=EXACT)


def test_by_default_averages_carry_the_estimation_of_shares():
    panel, question = simulated.panel(n=110, cohorts=(4, 7)), ask("x1")
    fixed, drawn = (
        estimate(panel, question, "dml_did", variance=variance, **QUICK)
        for variance in ("conditional", "sampling")
    )
    assert np.array_equal(fixed.influence, drawn.influence)
    first = fixed.sample.first_treated
    at_one = fixed.event_time == 1
    share = np.array([np.mean(first == g) for g in (4, 7)])
    mean = fixed.effect[at_one] @ share / share.sum()
    pull = sum(
        (first == g) * (effect - mean) / share.sum()
        for g, effect in zip((4, 7), fixed.effect[at_one], strict=True)
    )
    ours, theirs = (fit.aggregate("event") for fit in (drawn, fixed))
    shown = ours.event_time == 1
    np.testing.assert_allclose(
        ours.influence[:, shown][:, 0], theirs.influence[:, shown][:, 0] + pull, atol=EXACT
    )


@pytest.mark.parametrize("comparison", ["never_treated", "not_yet_treated"])
def test_with_linear_learners_and_many_units_it_is_callaway_santanna(comparison):
    panel = simulated.panel(n=2000, cohorts=(4, 7), gaps=0.02)
    question = ask("x1", "x2", comparison=comparison)
    ours = estimate(panel, question, "dml_did", **QUICK | {"folds": 5})
    theirs = estimate(panel, question, "callaway_santanna", method="dr")
    assert ours.n_obs == theirs.n_obs
    for one, other in ((ours, theirs), (ours.headline, theirs.headline)):
        shown = ~one.reference
        assert np.all(np.abs(one.effect - other.effect)[shown] < 0.15 * other.std_error[shown])
        np.testing.assert_allclose(one.std_error[shown], other.std_error[shown], rtol=0.01)


def by_hand(sample, options, g, t, base):
    """Return one cell's effect and influence from the design's own predictions, in plain numpy."""
    asked = find_design("dml_did").nuisances_of(sample, **options)
    first, n = sample.first_treated, sample.n_units
    column = {period: k for k, period in enumerate(sample.periods)}
    effects, influence = [], np.zeros(n)
    for part, found in zip(asked.parts, asked.predicted(), strict=True):
        treated = part.functions["treatment"].target == 1
        name = f"event time {t - g}"
        if first[part.unit[treated]][0] != g or name not in found:
            continue
        y = sample.y[part.unit]
        change = y[:, column[t]] - y[:, column[base]]
        for g_hat, p in zip(found[name].T, found["treatment"].T, strict=True):
            p = np.minimum(p, 1 - options["trim"])
            odds = np.where(treated, 0, p / (1 - p))
            residual = change - g_hat
            weight = treated / treated.sum() - odds / odds.sum()
            effects.append(weight @ residual)
            score = weight * residual - treated / treated.sum() * effects[-1]
            influence[part.unit] += n * score / options["repetitions"]
    return np.mean(effects), influence


@pytest.mark.parametrize("trim", [0.01, 0.49])
def test_draws_are_averaged_scores_clustered_and_high_propensities_bounded(trim):
    options = QUICK | {"repetitions": 2, "trim": trim}
    panel = simulated.panel(n=150, gaps=0.05, cohorts=(4,))
    panel = replace(panel, covariates={"x1": panel.covariates["x1"] * 3})
    fit = estimate(panel, ask("x1", cluster="state"), "dml_did", **options)
    effect, influence = by_hand(fit.sample, options, 4, 5, 3)
    term = fit.terms.index("ATT(4,5)")
    assert fit.effect[term] == pytest.approx(effect, rel=EXACT)
    np.testing.assert_allclose(fit.influence[:, term], influence, rtol=1e-9, atol=1e-9)
    sums = pd.Series(influence).groupby(fit.sample.cluster).sum()
    assert fit.with_vcov("CR0").std_error[term] == pytest.approx(np.sqrt((sums**2).sum()) / 150, rel=EXACT)
    asked = find_design("dml_did").nuisances_of(fit.sample, **options)
    bounded = sum(
        int(np.sum(found["treatment"][part.functions["treatment"].target == 0] > 1 - trim))
        for part, found in zip(asked.parts, asked.predicted(), strict=True)
    )
    assert any(f" {bounded} above {1 - trim:g} are set to that bound" in note for note in fit.notes)
    assert (bounded > 0) == (trim == 0.49)


def test_a_unit_is_in_one_fold_in_all_cells_and_cohorts_are_spread_evenly():
    sample = ask("x1").sample(simulated.panel(n=110))
    asked = find_design("dml_did").nuisances_of(sample, repetitions=2)
    seen = {}
    for part in asked.parts:
        for unit, places in zip(part.unit, part.folds.place, strict=True):
            assert np.array_equal(seen.setdefault(unit, places), places)
    place = np.array([seen[unit] for unit in range(110)])
    for g in (*sample.cohorts, np.nan):
        rows = np.isnan(sample.first_treated) if np.isnan(g) else sample.first_treated == g
        counts = np.bincount(place[rows, 0] % 5, minlength=5)
        assert counts.max() - counts.min() <= 1


def rare(n: int = 1500, treated: int = 5) -> Panel:
    """Return a panel in which few are treated, by chances and with trends that rise with x1."""
    rng = np.random.default_rng(4)
    x = rng.normal(size=n)
    first = np.full(n, np.nan)
    first[rng.choice(n, treated, replace=False, p=np.exp(1.5 * x) / np.exp(1.5 * x).sum())] = 3
    periods = np.arange(1, 5)
    y = rng.normal(size=(n, 1)) + np.exp(x)[:, None] * periods + (first[:, None] <= periods)
    y = y + rng.normal(scale=0.2, size=y.shape)
    return Panel(
        name="rare",
        units=np.array([f"u{i:04d}" for i in range(n)]),
        periods=periods,
        outcomes={"y": y},
        covariates={"x1": np.outer(x, np.ones(4))},
        first_treated={"event": first},
        treatment={},
        attributes={},
    )


def test_where_treatment_is_rare_doublemls_own_bound_takes_the_weights_away():
    learners = DummyRegressor(), LogisticRegression()
    options = QUICK | dict(zip(("learner", "propensity"), learners, strict=True))
    fit = estimate(rare(), ask("x1"), "dml_did", **options)
    after = fit.period == 4
    free, bounded = (doubleml_itself(fit, learners, after, bound=bound).coef[0] for bound in (1e-12, 0.01))
    treated = fit.sample.first_treated == 3
    change = fit.sample.y[:, 3] - fit.sample.y[:, 1]
    unweighted = change[treated].mean() - change[~treated].mean()
    assert fit.effect[after] == pytest.approx(free, rel=EXACT)
    assert unweighted - free > fit.std_error[after][0]
    assert unweighted - bounded < 0.5 * (unweighted - free)
    scores = find_design("dml_did").nuisances_of(fit.sample, **fit.options).predicted()[0]["treatment"]
    assert np.mean(scores < 0.01) > 0.5


def test_without_covariates_nuisances_are_means_and_shares_of_the_other_folds():
    fit = estimate(simulated.panel(cohorts=(4, 7)), ask(), "dml_did", **QUICK)
    sample = fit.sample
    fold, first = folds_of(sample), sample.first_treated
    treated, compared = first == 4, ~(first <= 5)
    change = sample.y[:, 4] - sample.y[:, 2]
    residual, odds = np.zeros(100), np.zeros(100)
    for k in range(FOLDS):
        others = fold != k
        residual[fold == k] = change[fold == k] - change[others & compared].mean()
        odds[fold == k] = (others & treated).sum() / (others & compared).sum()
    expected = residual[treated].mean() - np.average(residual[compared], weights=odds[compared])
    assert fit.effect[fit.terms.index("ATT(4,5)")] == pytest.approx(expected, rel=EXACT)


def short(seed: int, n: int = 250) -> Panel:
    """Return three periods of a panel in which adoption and trends share a step function of x1."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=n)
    step = 1.0 * (np.abs(x) > 0.8)
    treated = rng.random(n) < 0.15 + 0.35 * step
    first = np.where(treated, rng.choice([2.0, 3.0], size=n), np.nan)
    periods = np.arange(1, 4)
    size = 1 + rng.normal(scale=0.5, size=(n, 1))
    y = rng.normal(size=(n, 1)) + step[:, None] * periods + (first[:, None] <= periods) * size
    y = y + rng.normal(scale=0.5, size=y.shape)
    return Panel(
        name="short",
        units=np.array([f"u{i:04d}" for i in range(n)]),
        periods=periods,
        outcomes={"y": y},
        covariates={"x1": np.outer(x, np.ones(3))},
        first_treated={"event": first},
        treatment={},
        attributes={},
    )


def test_covers_a_known_effect_under_confounding_that_a_linear_adjustment_misses():
    from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

    draws, inside, off, missed = 15, 0, [], 0
    trees = {
        "learner": DecisionTreeRegressor(max_depth=2, min_samples_leaf=20),
        "propensity": DecisionTreeClassifier(max_depth=2, min_samples_leaf=20),
    }
    for seed in range(draws):
        panel = short(seed)
        fit = estimate(panel, ask("x1"), "dml_did", **QUICK | trees).headline
        inside += bool(fit.tidy().eval("conf_low < 1 < conf_high").item())
        off.append(fit.effect[0] - 1)
        linear = estimate(panel, ask("x1"), "callaway_santanna").headline
        missed += not linear.tidy().eval("conf_low < 1 < conf_high").item()
    assert inside >= stats.binom.ppf(0.001, draws, 0.95)
    assert abs(np.mean(off)) < 4 * np.std(off) / np.sqrt(draws)
    assert abs(np.mean(off)) < 0.06
    assert missed > 0.8 * draws


FOREST = RandomForestRegressor(5, max_depth=3)


def test_same_seed_same_numbers_in_any_number_of_processes_and_the_global_seed_is_not_touched():
    panel, question = simulated.panel(n=60, cohorts=(7,)), ask("x1")
    options = QUICK | {"learner": FOREST}
    np.random.seed(11)  # noqa: NPY002 (the global generator is what is tested)
    before = np.random.get_state()  # noqa: NPY002 (the global generator is what is tested)
    first = estimate(panel, question, "dml_did", **options, seed=5)
    with study.settings(jobs=2):
        again = estimate(panel, question, "dml_did", **options, seed=5)
    after = np.random.get_state()  # noqa: NPY002 (the global generator is what is tested)
    other = estimate(panel, question, "dml_did", **options, seed=6)
    assert np.array_equal(before[1], after[1])
    assert np.array_equal(first.effect, again.effect)
    assert np.array_equal(first.influence, again.influence)
    assert first.seed == 5
    assert not np.any(other.effect[~other.reference] == first.effect[~first.reference])


def table(panel: Panel) -> pd.DataFrame:
    n, t = panel.n_units, len(panel.periods)
    columns = {"unit": np.repeat(panel.units, t), "time": np.tile(panel.periods, n)}
    columns |= {"y": panel.outcomes["y"].ravel(), "x1": panel.covariates["x1"].ravel()}
    return pd.DataFrame(columns | {"event": np.repeat(panel.first_treated["event"], t)})


def of_table(data: pd.DataFrame, learner):
    roles = {"outcomes": "y", "covariates": "x1", "first_treated": "event"}
    panel = Panel.from_long(data, unit="unit", time="time", **roles)
    return estimate(panel, ask("x1"), "dml_did", **QUICK | {"learner": learner})


@cache
def unchanged(learner):
    return of_table(table(simulated.panel(n=60, cohorts=(7,))), learner)


@pytest.mark.parametrize("learner", ["lasso", FOREST], ids=["lasso", "forest"])
@pytest.mark.parametrize(
    ("change", "factor", "within"),
    [
        (lambda t: t.sample(frac=1, random_state=1), 1.0, 0.0),
        (lambda t: t.assign(time=t["time"] + 2000, event=t["event"] + 2000), 1.0, 0.0),
        (lambda t: t.assign(y=t["y"] + 10.0 * t["unit"].str[1:].astype(int)), 1.0, 1e-6),
        (lambda t: t.assign(y=t["y"] + np.sin(t["time"])), 1.0, 1e-6),
        (lambda t: t.assign(y=t["y"] * 1000.0), 1000.0, 1e-6),
        (lambda t: t.assign(x1=5 - 3 * t["x1"]), 1.0, 1e-6),
    ],
    ids=["row order", "time", "unit constants", "period constants", "scale", "units of covariates"],
)
def test_invariance(learner, change, factor, within):
    """Within a share of the standard error."""
    changed = change(table(simulated.panel(n=60, cohorts=(7,))))
    ours, theirs = unchanged(learner), of_table(changed, learner)
    close = np.abs(theirs.effect - factor * ours.effect)[~ours.reference]
    assert np.all(close <= within * factor * ours.std_error[~ours.reference])
    np.testing.assert_allclose(theirs.std_error, factor * ours.std_error, rtol=within)


@pytest.mark.parametrize("gaps", [0.0, 0.1])
def test_proportional_divides_by_the_same_treated_means_as_callaway_santanna(gaps):
    panel = simulated.panel(n=110, level=9.0, gaps=gaps, cohorts=(4, 7))
    question = ask("x1", scale="proportional")
    ours = estimate(panel, question, "dml_did", **QUICK)
    theirs = estimate(panel, question, "callaway_santanna")
    assert ours.terms == theirs.terms
    for fit in (ours, theirs):
        assert fit.effect == pytest.approx(fit.effect_level / fit.untreated_mean, rel=EXACT)
    np.testing.assert_allclose(
        ours.untreated_mean + ours.effect_level, theirs.untreated_mean + theirs.effect_level, rtol=EXACT
    )
    np.testing.assert_allclose(
        (ours.untreated_influence + ours.level_influence).dense(),
        (theirs.untreated_influence + theirs.level_influence).dense(),
        atol=1e-8,
    )


def small_cohorts(panel: Panel) -> Panel:
    """Return the panel with two units in cohort 4 and one in cohort 6."""
    first = panel.first_treated["event"]
    keep = np.isnan(first) | (first == 7)
    keep[np.flatnonzero(first == 4)[:2]] = keep[np.flatnonzero(first == 6)[:1]] = True
    return simulated.subset(panel, keep)


def few_seen_late(panel: Panel) -> Panel:
    """Return the panel with three treated units of cohort 4 seen in period 5, one in 6, none in 7."""
    y = panel.outcomes["y"].copy()
    treated = np.flatnonzero(panel.first_treated["event"] == 4)
    for period, seen in ((5, 3), (6, 1), (7, 0)):
        y[treated[seen:], period - 1] = np.nan
    return replace(panel, outcomes={"y": y})


def test_cells_from_which_nothing_can_be_learned_are_left_out_and_named():
    panel = few_seen_late(simulated.panel(n=110, cohorts=(4, 7)))
    fit = estimate(panel, ask("x1"), "dml_did", **QUICK | {"folds": 2})
    shown = {t for g, t in zip(fit.cohort, fit.period, strict=True) if g == 4}
    assert 8 in shown
    assert not shown & {6, 7}
    assert "cohort 4 in 7 left out: no treated unit is observed" in fit.notes
    few = "6 left out: too few units are seen to learn from outside each of the 2 folds"
    assert any(few in note for note in fit.notes)
    assert np.isfinite(fit.headline.std_error[0])


def separated(*cohorts: float) -> Panel:
    """Return a panel of cohorts 4 and 7 with a covariate that is 3 for some cohorts and 1 for all others."""
    panel = simulated.panel(n=400, cohorts=(4, 7))
    told = np.isin(panel.first_treated["event"], cohorts)
    copy = np.outer(np.where(told, 3.0, 1.0), np.ones(len(panel.periods)))
    return replace(panel, covariates=panel.covariates | {"copy": copy})


@pytest.mark.parametrize("propensity", ["linear", "lasso", "forest", "lightgbm"])
def test_cells_of_a_cohort_that_covariates_tell_from_its_comparison_units_are_left_out(propensity):
    panel, options = separated(4), QUICK | {"propensity": propensity, "repetitions": 2}
    fit = estimate(panel, ask("x1", "copy"), "dml_did", **options)
    why = "no overlap, comparison units weighted to be like the treated ones add up to less than 10% of their number"
    assert f"cohort 4 in 1, 2, 4, 5, 6, 7, 8 left out: {why}" in fit.notes
    assert set(fit.cohort[~fit.reference]) == {7.0}
    assert fit.n_obs == 8 * np.sum(panel.first_treated["event"] != 4)
    assert any("in 1 comparison of a cohort" in note for note in fit.notes)
    with pytest.raises(QuestionError, match=r"dml_did: no effect can be estimated: .* 4 in .*; cohort 7 in"):
        estimate(separated(4, 7), ask("x1", "copy", comparison="never_treated"), "dml_did", **options)


def test_small_cells_that_a_bound_of_a_covariate_separates_are_left_out_with_trees():
    made = simulated.panel(n=110, cohorts=(4, 7))
    size = np.random.default_rng(5).uniform(size=made.n_units) + (made.first_treated["event"] == 4)
    made = replace(made, covariates={"size": np.outer(size, np.ones(len(made.periods)))})
    fit = estimate(made, ask("size"), "dml_did", **QUICK | {"propensity": "lightgbm", "folds": 2})
    assert set(fit.cohort[~fit.reference]) == {7.0}


def test_cohorts_with_fewer_units_than_folds_are_left_out_with_a_note():
    panel = small_cohorts(simulated.panel(n=110))
    fit = estimate(panel, ask("x1"), "dml_did", **QUICK)
    assert set(fit.cohort) == {7.0}
    assert "cohorts 4 (2), 6 (1) left out: 3 folds need as many units" in fit.notes
    clustered = estimate(panel, ask("x1", cluster="state"), "dml_did", **QUICK)
    assert "cohorts 4 (2), 6 (1) left out: 3 folds need as many clusters (state)" in clustered.notes


@pytest.mark.parametrize(
    ("change", "fields", "options", "message"),
    [
        (None, {}, {"folds": 1}, "folds is 1; it must be a whole number, at least 2"),
        (None, {}, {"repetitions": 0}, "repetitions is 0"),
        (None, {}, {"seed": -1}, "seed is -1"),
        (None, {}, {"trim": 0}, "trim is 0; it must be a number above 0 and below 0.5"),
        (None, {}, {"trim": 0.5}, "trim is 0.5"),
        (None, {}, {"trim": True}, "trim is True"),
        (None, {}, {"trim": "low"}, "trim is 'low'"),
        (None, {}, {"learner": "jungle"}, 'there is no learner "jungle"'),
        (None, {}, {"propensity": "jungle"}, 'there is no propensity "jungle"'),
        (
            None,
            {},
            {"propensity": LinearRegression()},
            "has no predict_proba, so it cannot learn the propensity",
        ),
        (None, {}, {"variance": "bootstrap"}, 'there is no variance "bootstrap"'),
        (None, {}, {"folds": 56}, "56 folds of at least two units need 112, but 110 are in the sample"),
        (None, {"cluster": "state"}, {"folds": 9}, r"two clusters \(state\) need 18, but 17"),
        (
            lambda p: simulated.subset(small_cohorts(p), small_cohorts(p).first_treated["event"] != 7),
            {},
            {},
            r"no effect can be estimated: cohorts 4 \(2\), 6 \(1\) left out: 3 folds need as many units; use fewer "
            "folds, pool adoption years with cohort_width, or use dml_stacked",
        ),
        (
            lambda p: replace(p, outcomes={"y": np.where(p.periods != 3, p.outcomes["y"], np.nan)}),
            {"min_cohort_size": 12},
            {"folds": 2},
            "dml_did: no effect can be estimated: cohort 4 in",
        ),
    ],
)
def test_bad_input_is_refused_before_fitting(change, fields, options, message, monkeypatch):
    monkeypatch.setattr(sys.modules["study.learners.nuisances"], "cross_fit", None)
    cohorts = (4,) if "min_cohort_size" in fields else simulated.COHORTS
    panel = simulated.panel(n=110, cohorts=cohorts)
    with pytest.raises(QuestionError, match=message) as error:
        estimate(
            panel if change is None else change(panel), ask("x1", **fields), "dml_did", **QUICK | options
        )
    assert "\n" not in str(error.value)
    assert str(error.value).startswith("dml_did: ")
