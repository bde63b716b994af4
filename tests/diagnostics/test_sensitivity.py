"""Sensitivity to unobserved confounders against sensemakr, doubleml, and regressions with the confounder in them."""

from __future__ import annotations

import warnings
from dataclasses import replace
from itertools import combinations

import goldens
import numpy as np
import pytest
import simulated
import statsmodels.api as sm
from references.sensemakr import sensemakr
from scipy.optimize import brentq
from test_dml_panel import FOLDS, ask, long_table, rows_and_folds, sklearn_learner
from test_dml_panel import panel as dml_source

from study import Question, estimate, settings
from study.core.distributions import quantile
from study.core.errors import QuestionError
from study.designs.dml_panel import cross_fitted
from study.diagnostics import omitted_variable_bias as ovb
from study.diagnostics.omitted_variable_bias import Partialled, partialled
from study.diagnostics.oster import Moments, bias_adjusted, breakdown_delta, moments, oster
from study.diagnostics.sensitivity import Bounds, bounds, ml_sensitivity, sensitivity
from study.learners import Learning

EXACT = 1e-9
FIXED = ("x1", "x2")


def sample(*covariates: str, gaps: float = 0.0, n: int = 80, source=None, **fields):
    whole = simulated.panel(n, gaps=gaps) if source is None else source
    return Question("y", "event", covariates=covariates, **fields).sample(whole)


def with_second_mover(gaps: float = 0.0):
    whole = simulated.panel(60, gaps=gaps)
    drift = np.random.default_rng(5).normal(size=whole.outcomes["y"].shape)
    drift = drift + 0.3 * np.nan_to_num(whole.outcomes["y"])
    return replace(whole, covariates=dict(whole.covariates) | {"other": drift})


def dummy_regression(made, names=("moving", "other"), extra=None):
    """Run twfe as one regression with a dummy for every unit and period; columns: treatment, names, extra, dummies."""
    seen = made.observed
    unit, period = np.nonzero(seen)
    columns = [made.treatment[seen]]
    columns += [made.x_by_period[made.question.covariates.index(name)][seen] for name in names]
    columns += [] if extra is None else [extra]
    dummies = [np.eye(made.n_units)[unit], np.eye(len(made.periods))[period][:, 1:]]
    weight = made.weights[unit]
    return sm.WLS(made.y[seen], np.column_stack([*columns, *dummies]), weights=weight).fit()


# --- Cinelli and Hazlett -------------------------------------------------------------------------------------


def test_darfur_as_sensemakr_has_it():
    for run in goldens.runs("darfur", "sensemakr").values():
        made = sensemakr("darfur", run)
        assert len(made.rows) == 1 + len(run["bounds"])
        assert made.estimates < goldens.TOLERANCE
        assert made.std_errors < goldens.TOLERANCE
        assert all(ours == theirs for ours, theirs in made.counts.values())
        assert len(made.digits) == 5 + 5 * len(run["bounds"])
        assert max(made.digits.values()) < 1


@pytest.mark.parametrize("seed", range(4))
def test_the_adjusted_estimate_and_error_are_those_of_the_regression_with_the_confounder(seed):
    rng = np.random.default_rng(seed)
    z, x = rng.normal(size=(2, 60))
    d = 0.5 * x + z + rng.normal(size=60)
    y = rng.normal() * d + x + (1 + seed) * z + rng.normal(size=60)
    short = sm.OLS(y, np.column_stack([d, x, np.ones(60)])).fit()
    long = sm.OLS(y, np.column_stack([d, x, np.ones(60), z])).fit()
    r2_y = 1 - long.ssr / short.ssr
    others = np.column_stack([x, np.ones(60)])
    r2_d = 1 - sm.OLS(d, np.column_stack([others, z])).fit().ssr / sm.OLS(d, others).fit().ssr
    made = ovb.adjusted(short.params[0], short.bse[0], short.df_resid, r2_d, r2_y)
    shift = abs(short.params[0] - long.params[0])
    assert abs(short.params[0] - made.estimate) == pytest.approx(shift, rel=EXACT)
    assert made.std_error == pytest.approx(long.bse[0], rel=EXACT)
    assert abs(made.estimate) == pytest.approx(abs(abs(short.params[0]) - shift), rel=EXACT)


@pytest.mark.parametrize(
    ("t", "dof", "q", "level"),
    [(3.0, 40, 1.0, 0.95), (9.0, 12, 1.0, 0.99), (5.0, 200, 0.5, 0.9), (8, 4, 1, 0.95)],
)
def test_below_the_robustness_value_no_confounder_overturns_and_at_it_one_does(t, dof, q, level):
    f, f_star = ovb.partial_f(t, dof), ovb.critical_f(dof, level)
    value = ovb.robustness_value(f, q, f_star)
    assert 0 < value < 1

    def lowest_limit(r: float) -> float:
        shares = np.linspace(0, r, 400)
        r2_d, r2_y = np.meshgrid(shares, shares)
        low = ovb.adjusted(t, 1.0, dof, r2_d, r2_y, level, degrees=dof - 1).conf_low
        return float(low.min()) - (1 - q) * t

    assert lowest_limit(0.999 * value) > 0
    assert lowest_limit(1.001 * value) < 0


def test_both_cases_of_the_robustness_value_are_among_those_tested():
    large = ovb.partial_f(8, 4) * ovb.critical_f(4, 0.95)
    assert large > 1 > ovb.partial_f(3.0, 40) * ovb.critical_f(40, 0.95)


def test_a_confounder_of_the_robustness_value_takes_the_share_away_and_extreme_ones_too():
    t, dof = -4.0, 50
    f = ovb.partial_f(t, dof)
    for q in (0.3, 1.0):
        r = ovb.robustness_value(f, q)
        assert ovb.adjusted(t, 1.0, dof, r, r).estimate == pytest.approx((1 - q) * t, abs=EXACT)
        for r2_y in (0.5, 1.0):
            r = ovb.extreme_robustness_value(f, q, r2_outcome=r2_y)
            assert ovb.adjusted(t, 1.0, dof, r, r2_y).estimate == pytest.approx((1 - q) * t, abs=EXACT)
    assert ovb.extreme_robustness_value(f) == pytest.approx(ovb.partial_r2(t, dof), rel=EXACT)


def r2(target, x, z) -> float:
    """Return the partial R2 of columns z with a target given columns x."""
    without, also = (sm.OLS(target, b).fit().ssr for b in (x, np.column_stack([x, z])))
    return 1 - also / without


def test_no_confounder_that_is_so_many_times_as_strong_explains_more_than_the_bound():
    rng = np.random.default_rng(1)
    room = []
    for _ in range(60):
        n = 80
        x = np.column_stack([np.ones(n), rng.normal(size=(n, 2))])
        z = rng.normal(size=n)
        z = sm.OLS(z, x).fit().resid
        a, b, c = rng.normal(size=3)
        d = a * x[:, 2] + b * z + rng.normal(size=n)
        y = d + c * x[:, 2] + rng.normal() * z + rng.normal(size=n)
        others, j = x[:, :2], x[:, 2:]
        k_d = r2(d, others, z) / r2(d, others, j)
        with_d = np.column_stack([others, d])
        k_y = r2(y, with_d, z) / r2(y, with_d, j)
        limits = ovb.bound(r2(d, others, j), r2(y, with_d, j), k_d, k_y)
        if limits is None:
            continue
        assert limits[0] == pytest.approx(r2(d, x, z), rel=1e-7)
        room.append(limits[1] - r2(y, np.column_stack([x, d]), z))
    assert len(room) > 20
    assert min(room) > -EXACT
    assert min(room) < 0.01


def test_a_confounder_that_would_explain_more_than_all_of_treatment_cannot_exist():
    assert ovb.bound(0.4, 0.1, 2, 2) is None
    assert ovb.bound(0.4, 0.1, 1, 1) is not None
    assert ovb.bound(0.3, 0.9, 1, 1)[1] == 1.0


@pytest.mark.parametrize("weights", [None, "size"])
@pytest.mark.parametrize("gaps", [0.0, 0.15])
def test_the_within_form_is_the_regression_on_dummies(gaps, weights):
    made = sample("moving", "other", source=with_second_mover(gaps), weights=weights)
    c = partialled(made, "twfe", None, "test").coefficient
    whole = dummy_regression(made)
    assert c.estimate == pytest.approx(whole.params[0], rel=EXACT)
    assert c.std_error == pytest.approx(whole.bse[0], rel=EXACT)
    assert c.dof == whole.df_resid


@pytest.mark.parametrize("fields", [{}, {"cluster": "state"}, {"weights": "size"}, {"anticipation": 1}])
def test_the_within_form_has_the_coefficient_and_clustered_error_of_twfe(fields):
    made = sample("moving", gaps=0.1, **fields)
    c = partialled(made, "twfe", "within", "test").coefficient
    fit = estimate(made.panel, made.question, "twfe", vcov="CR1_fixest")
    assert c.estimate == pytest.approx(fit.effect[0], rel=EXACT)
    assert c.clustered_error == pytest.approx(fit.std_error[0], rel=EXACT)
    assert c.clusters == fit.n_clusters


def test_the_within_form_takes_treatment_that_switches_off():
    whole = simulated.panel(50)
    path = (np.random.default_rng(0).random(whole.outcomes["y"].shape) < 0.4).astype(float)
    made = sample("moving", source=replace(whole, first_treated={}, treatment={"event": path}))
    c = partialled(made, "twfe", None, "test").coefficient
    fit = estimate(made.panel, made.question, "twfe", vcov="CR1_fixest")
    assert (c.estimate, c.clustered_error) == pytest.approx((fit.effect[0], fit.std_error[0]), rel=EXACT)
    with pytest.raises(QuestionError, match="one date of treatment"):
        sensitivity(made, form="long_difference")


@pytest.mark.parametrize("date", [np.nan, 4.0])
def test_the_long_difference_needs_treated_and_untreated_units(date):
    made = sample("x1")
    alike = replace(made, first_treated=np.full(made.n_units, date))
    with pytest.raises(QuestionError, match="needs treated and untreated units in the window"):
        partialled(alike, "twfe", "long_difference", "test")


def test_the_within_form_leaves_out_cells_whose_treatment_is_not_known():
    whole, rng = simulated.panel(50), np.random.default_rng(0)
    path = (rng.random(whole.outcomes["y"].shape) < 0.4).astype(float)
    path[rng.random(path.shape) < 0.1] = np.nan
    made = sample("moving", source=replace(whole, first_treated={}, treatment={"event": path}))
    c, fit = partialled(made, "twfe", None, "test").coefficient, estimate(made.panel, made.question, "twfe")
    assert c.estimate == pytest.approx(fit.effect[0], rel=EXACT)


@pytest.mark.parametrize("group", [("moving",), ("moving", "other")])
def test_strength_is_the_share_of_residual_sums_of_squares(group):
    made = sample("moving", "other", source=with_second_mover(0.1))
    treatment, outcome = partialled(made, "twfe", None, "test").strength(group)
    rest = tuple(name for name in ("moving", "other") if name not in group)
    whole, short = dummy_regression(made), dummy_regression(made, rest)
    assert outcome == pytest.approx(1 - whole.ssr / short.ssr, rel=1e-8)
    treated = replace(made, y=np.where(made.observed, made.treatment, np.nan))
    ssr = []
    for names in (("moving", "other"), rest):
        x = dummy_regression(made, names).model.exog[:, 1:]
        ssr.append(sm.OLS(treated.y[made.observed], x).fit().ssr)
    assert treatment == pytest.approx(1 - ssr[0] / ssr[1], rel=1e-8)


def did_by_cohort(made, horizon: int | None) -> float:
    """Average over cohorts, by their units, differences in differences against units without treatment."""
    d, total, units = made.question.anticipation, 0.0, 0
    horizon = 99 if horizon is None else horizon
    for g in made.cohorts:
        after = [t for t, p in enumerate(made.periods) if g <= p <= g + horizon]
        before = [t for t, p in enumerate(made.periods) if g - d - horizon - 1 <= p < g - d]
        changes = {}
        for i in range(made.n_units):
            changes[i] = np.mean(made.y[i, after]) - np.mean(made.y[i, before])
        treated = [i for i in changes if made.first_treated[i] == g]
        others = [i for i in changes if np.isnan(made.first_treated[i])]
        gap = np.mean([changes[i] for i in treated]) - np.mean([changes[i] for i in others])
        total, units = total + len(treated) * gap, units + len(treated)
    return total / units


@pytest.mark.parametrize(("horizon", "anticipation"), [(None, 0), (1, 0), (2, 1)])
def test_without_covariates_the_long_difference_averages_differences_in_differences(horizon, anticipation):
    made = sample(average="event_average", horizon=horizon, anticipation=anticipation)
    c = partialled(made, "twfe", "long_difference", "test").coefficient
    assert c.estimate == pytest.approx(did_by_cohort(made, horizon), rel=EXACT)
    assert c.dof == made.n_units - 2


@pytest.mark.parametrize("gaps", [0.0, 0.3])
def test_what_periods_have_in_common_does_not_move_the_long_difference(gaps):
    made = sample("x1", "x2", average="event_average", horizon=2, gaps=gaps)
    moved = replace(made, y=made.y + 100.0 * np.arange(made.y.shape[1]) ** 2)
    own, other = (partialled(each, "twfe", "long_difference", "test").coefficient for each in (made, moved))
    assert other == pytest.approx(own, rel=1e-9)


@pytest.mark.parametrize("weights", [None, "size"])
def test_the_long_difference_is_least_squares_on_one_row_a_unit(weights):
    made = sample("x1", "x2", average="event_average", horizon=2, gaps=0.5, n=120, weights=weights)
    form = partialled(made, "twfe", "long_difference", "test")
    start = {g: np.flatnonzero(made.periods == g)[0] for g in made.cohorts}
    unit, period = np.nonzero(made.observed & ~np.isin(made.first_treated, made.cohorts)[:, None])
    own = unit[:, None] == np.unique(unit)
    dummies = np.column_stack([np.eye(len(made.periods))[period][:, 1:], own])
    common = sm.WLS(made.y[unit, period], dummies, weights=made.weights[unit]).fit().params
    y = made.y - np.append(0.0, common[: len(made.periods) - 1])
    with warnings.catch_warnings(action="ignore"):
        after = np.column_stack([np.nanmean(y[:, s : s + 3], axis=1) for s in start.values()])
        before = np.column_stack([np.nanmean(y[:, max(s - 3, 0) : s], axis=1) for s in start.values()])
    change, others = after - before, ~np.isin(made.first_treated, made.cohorts)
    seen = ~np.isnan(change) & others[:, None]
    change -= [np.average(change[s, k], weights=made.weights[s]) for k, s in enumerate(seen.T)]
    cohort = {g: k for k, g in enumerate(made.cohorts)}
    shares = np.zeros(len(cohort))
    for i, g in enumerate(made.first_treated):
        if g in cohort and not np.isnan(change[i, cohort[g]]):
            shares[cohort[g]] += made.weights[i]
    rows = []
    for i, g in enumerate(made.first_treated):
        mine = change[i, cohort[g]] if g in cohort else change[i] @ shares / shares.sum()
        rows.append([made.weights[i], mine, 1.0, float(g in cohort), *made.x_baseline[i]])
    data = np.array(rows)
    seen = ~np.isnan(data[:, 1])
    fit = sm.WLS(data[seen, 1], data[seen, 2:], weights=data[seen, 0]).fit()
    assert form.notes[0].endswith(f"lack a covariate: {np.sum(~seen)} units.")
    c, n = form.coefficient, seen.sum()
    assert (c.estimate, c.std_error, c.dof) == pytest.approx((fit.params[1], fit.bse[1], n - 4), rel=EXACT)
    robust = fit.get_robustcov_results("cluster", groups=np.arange(n))
    assert c.clustered_error == pytest.approx(robust.bse[1], rel=EXACT)


def test_the_clustered_interval_reaches_its_value_at_the_clustered_robustness_value():
    for q in (0.5, 1.0):
        made = sensitivity(sample("moving", cluster="state"), q=q)
        c = made["coefficient"]
        for r, ratio, degrees in (
            (made["robustness_value_clustered"], c.ratio, c.clusters - 1),
            (made["robustness_value_significance"], 1.0, c.dof - 1),
        ):
            left = ovb.adjusted(c.estimate, c.std_error, c.dof, r, r, 0.95, ratio, degrees)
            assert r > 0
            assert left.conf_low == pytest.approx((1 - q) * c.estimate, abs=EXACT)
    assert c.ratio != pytest.approx(1, abs=0.01)


def test_the_table_starts_from_twfe_and_clustered_errors_move_as_classical_ones_do():
    asked = sample("moving", cluster="state", gaps=0.1)
    made = sensitivity(asked, level=0.9).tidy()
    fit = estimate(asked.panel, asked.question, "twfe", vcov="CR1_fixest").tidy(level=0.9).iloc[0]
    names = ["std_error", "statistic", "conf_low", "conf_high"]
    ours = made.loc[0, ["estimate", *(f"{name}_clustered" for name in names)]].astype(float)
    np.testing.assert_allclose(ours, fit[["estimate", *names]].astype(float), rtol=EXACT)
    bounds_only = made[made["kind"] == "bound"]
    ratio = made["std_error_clustered"][0] / made["std_error"][0]
    assert ratio != pytest.approx(1, abs=0.01)
    np.testing.assert_allclose(
        bounds_only["std_error_clustered"] / bounds_only["std_error"], ratio, rtol=EXACT
    )
    clusters = len(np.unique(asked.cluster))
    half = quantile(0.95, clusters - 1) * bounds_only["std_error_clustered"]
    np.testing.assert_allclose(bounds_only["conf_high_clustered"] - bounds_only["estimate"], half, rtol=EXACT)


def test_an_insignificant_estimate_has_no_robustness_value_for_its_interval():
    whole = simulated.panel(60)
    noise = np.random.default_rng(3).normal(size=whole.outcomes["y"].shape)
    made = sensitivity(sample("moving", source=replace(whole, outcomes={"y": noise})))
    assert made["robustness_value"] > 0
    assert made["robustness_value_significance"] == 0
    assert "The classical 95% interval includes zero without any confounder." in made.sentences


def table(made):
    return made.tidy().select_dtypes("number").to_numpy()


FORMS = [("within", ("moving", "other")), ("long_difference", ("x1", "x2"))]


@pytest.mark.parametrize(("form", "covariates"), FORMS)
def test_order_labels_and_calendar_do_not_matter(form, covariates):
    whole = with_second_mover(0.1)
    answer = table(
        sensitivity(sample(*covariates, source=whole, average="event_average", horizon=2), form=form)
    )
    shuffled = simulated.ordered(whole, np.random.default_rng(0).permutation(60))
    renamed = replace(shuffled, units=np.array([f"z{i}" for i in range(60)]))
    later = replace(
        renamed,
        periods=renamed.periods + 100,
        first_treated={"event": renamed.first_treated["event"] + 100},
    )
    for other in (shuffled, renamed, later):
        same = table(
            sensitivity(sample(*covariates, source=other, average="event_average", horizon=2), form=form)
        )
        np.testing.assert_allclose(same, answer, rtol=1e-8)


@pytest.mark.parametrize(("form", "covariates"), FORMS)
def test_scale_sign_and_constants_of_units_and_periods_do_not_matter(form, covariates):
    whole = with_second_mover()
    rng = np.random.default_rng(2)
    y = whole.outcomes["y"]
    made = sensitivity(sample(*covariates, source=whole), form=form).tidy()
    moved = y + rng.normal(size=(60, 1)) + (rng.normal(size=8) if form == "within" else 0)
    size = [c for c in made if c.split("_")[0] in ("estimate", "std", "conf")]
    for outcome, factor in ((moved, 1), (7 * y, 7), (-y, -1)):
        other = sensitivity(
            sample(*covariates, source=replace(whole, outcomes={"y": outcome})), form=form
        ).tidy()
        np.testing.assert_allclose(other["estimate"], factor * made["estimate"], rtol=1e-8)
        np.testing.assert_allclose(
            other[["r2_treatment", "r2_outcome"]], made[["r2_treatment", "r2_outcome"]], rtol=1e-7
        )
        if factor > 0:
            np.testing.assert_allclose(other[size], factor * made[size], rtol=1e-8, atol=1e-12)


def test_default_benchmarks_are_each_covariate_and_all_together():
    made = sensitivity(sample(*FIXED), form="long_difference").frame
    assert made.loc[made["kind"] == "observed", "term"].tolist() == ["x1", "x2", "x1 with x2"]
    terms = made.loc[made["kind"] == "bound", "term"]
    times = ["as strong as x1", "2 times as strong as x1", "3 times as strong as x1"]
    assert terms[terms.str.endswith(" x1")].tolist() == times
    one = sensitivity(sample(*FIXED), form="long_difference", benchmarks=["x2"], multiples=[(1, 2)])
    bound = one.frame[one.frame["kind"] == "bound"].iloc[0]
    assert "1 times with treatment and 2 times with the outcome as strong as x2" in bound["term"]
    strength = partialled(sample(*FIXED), "twfe", "long_difference", "test").strength(("x2",))
    assert (bound["r2_treatment"], bound["r2_outcome"]) == ovb.bound(*strength, 1, 2)


def test_a_figure_of_many_benchmarks_has_room_for_the_strongest_and_counts_the_others():
    whole = simulated.panel(80)
    draws = np.random.default_rng(3).normal(size=(7, 80, 1)) * np.ones((1, 1, whole.outcomes["y"].shape[1]))
    names = [f"a covariate of a name as long as columns of surveys have {k}" for k in range(7)]
    source = replace(whole, covariates=dict(whole.covariates) | dict(zip(names, draws, strict=True)))
    figure = sensitivity(sample(*names, source=source), form="long_difference").plot()
    figure.draw_without_rendering()
    (legend,), (axis,) = figure.legends, figure.axes
    texts = [text.get_text() for text in legend.get_texts()]
    assert (sum("×" in text for text in texts), texts[-1]) == (4, "not drawn: 4 weaker benchmarks")
    assert len({line.get_marker() for line in axis.get_lines() if "×" in str(line.get_label())}) == 4
    assert figure.bbox.padded(1).contains(*legend.get_window_extent().p0)
    assert axis.get_window_extent().height > 0.4 * figure.bbox.height


def test_other_designs_stand_beside_the_long_difference():
    made = sensitivity(sample(*FIXED), "callaway_santanna")
    assert made["form"] == "long_difference"
    asked = sample(*FIXED)
    own = estimate(asked.panel, asked.question, "callaway_santanna").headline
    assert made["headline"] == own.effect[0]
    assert f"whose own answer is {own.effect[0]:.3g}" in made.sentences[3]


def test_the_long_difference_is_not_the_own_answer_of_twfe():
    asked = sample("x1", "moving")
    made = sensitivity(asked, "twfe", form="long_difference")
    own = estimate(asked.panel, asked.question.replace(covariates=("moving",)), "twfe").headline
    assert made["headline"] == own.effect[0] != made["coefficient"].estimate
    assert made.verdict.startswith("In a linear regression in place of twfe, a confounder")
    assert sensitivity(sample("moving"), "twfe")["headline"] is None


def test_a_design_whose_unit_effects_absorb_the_benchmarks_answers_without_them():
    asked = sample("x1", "moving")
    made = sensitivity(asked, "imputation")
    own = estimate(asked.panel, asked.question.replace(covariates=("moving",)), "imputation").headline
    assert made["headline"] == own.effect[0]
    assert made.sentences[-1] == "imputation answers without x1, which its unit effects absorb."
    assert made["coefficient"] == partialled(asked, "twfe", "long_difference", "test").coefficient


@pytest.mark.parametrize(
    ("covariates", "arguments", "message"),
    [
        ((), {}, "no covariates to serve as benchmarks"),
        (("moving",), {"benchmarks": ("movign",)}, 'no benchmark "movign". Did you mean "moving"'),
        (("moving",), {"benchmarks": ("x1",)}, "add it to Question.covariates"),
        (("moving",), {"benchmarks": "moving"}, r'as in benchmarks=\["moving"\]'),
        (("moving",), {"benchmarks": ()}, "benchmarks is empty"),
        (FIXED, {}, 'x1, x2 are absorbed .* use form="long_difference"'),
        (("moving",), {"q": 0.0}, "q is 0.0"),
        (("moving",), {"q": 1.5}, "q is 1.5"),
        (("moving",), {"q": float("nan")}, "q is nan"),
        (("moving",), {"level": 1.0}, "level is 1.0"),
        (("moving",), {"multiples": (0,)}, "multiples must be above 0"),
        (("moving",), {"form": "between"}, 'no form "between"'),
        (("moving",), {"design": "callaway_santanna", "form": "within"}, "is the regression of twfe"),
        (
            ("moving",),
            {"design": "stacked"},
            "stacked is no linear regression .* callaway_santanna, dcdh, etwfe.* dml_panel",
        ),
        (("moving",), {"design": "poisson_twfe"}, "poisson_twfe is no linear regression"),
        (("moving",), {"design": "etwfe", "family": "poisson"}, "is not linear"),
        (("moving",), {"folds": 3}, 'no option "folds"'),
        (("x1",), {"design": "dml_panel", "form": "within"}, "dml_panel has no form"),
        (("x1",), {"design": "dml_panel", "cf_d": 1.0}, "cf_d is 1.0"),
        (("x1",), {"design": "dml_panel", "rho": 0.0}, "rho is 0.0"),
        (("x1",), {"design": "dml_panel", "folds": 1}, "folds is 1"),
    ],
)
def test_bad_input_is_refused_in_one_line(covariates, arguments, message):
    with pytest.raises(QuestionError, match=message) as error:
        sensitivity(sample(*covariates), **arguments)
    assert "\n" not in str(error.value)


def test_refuses_a_proportional_scale_one_cluster_and_collinear_covariates():
    whole = with_second_mover()
    positive = replace(whole, outcomes={"y": np.exp(whole.outcomes["y"])})
    for design in ("twfe", "dml_panel"):
        with pytest.raises(QuestionError, match='scale="level"'):
            sensitivity(sample("moving", source=positive, scale="proportional"), design)
    one = replace(whole, attributes={"state": np.full(60, "a")})
    with pytest.raises(QuestionError, match="one cluster"):
        sensitivity(sample("moving", source=one, cluster="state"))
    twice = replace(whole, covariates=dict(whole.covariates) | {"other": 2 * whole.covariates["moving"]})
    with pytest.raises(QuestionError, match="other is explained by those before it"):
        sensitivity(sample("moving", "other", source=twice))
    flat = replace(whole, covariates={"x1": np.ones_like(whole.covariates["x1"])})
    with pytest.raises(QuestionError, match="x1 is the same for all units"):
        sensitivity(sample("x1", source=flat), form="long_difference")
    exact = replace(whole, outcomes={"y": np.outer(np.arange(60.0), np.ones(8)) + np.arange(8.0)})
    with pytest.raises(QuestionError, match="fits the outcome exactly"):
        sensitivity(sample("moving", source=exact))


# --- Oster ---------------------------------------------------------------------------------------------------


def population(rng, delta: float, p: int = 2) -> tuple[Moments, float, float]:
    """Return moments of Y = beta X + W1 + W2 + e under selection delta, R_max and beta.

    W1 is an index of p covariates of variance one that are observed, W2 is not, and both are uncorrelated.
    """
    while True:
        beta, index, with_x = rng.normal(), rng.normal(size=p), rng.normal(size=p)
        cov1, var1 = index @ with_x, index @ index
        var2, var_e, var_x = *rng.uniform(0.3, 3, size=2), rng.uniform(1, 5)
        cov2 = delta * var2 * cov1 / var1
        if var_x * 0.95 > with_x @ with_x + cov2**2 / var2:
            break
    var_y = beta**2 * var_x + var1 + var2 + 2 * beta * (cov1 + cov2) + var_e
    cov_y = np.array([beta * var_x + cov1 + cov2, *(beta * with_x + index)])
    gram = np.eye(p + 1)
    gram[0] = gram[:, 0] = [var_x, *with_x]
    slopes = np.linalg.solve(gram, cov_y)
    short = cov_y[0] / var_x
    made = Moments(
        short,
        short * cov_y[0] / var_y,
        slopes[0],
        slopes @ cov_y / var_y,
        var_y,
        var_x,
        var_x - with_x @ with_x,
    )
    assert made.index_covariance(beta) == pytest.approx(cov1, abs=1e-10)
    return made, 1 - var_e / var_y, beta


@pytest.mark.parametrize("p", [1, 2])
@pytest.mark.parametrize("delta", [1.0, 0.5, 2.0, 3.0, -0.7])
def test_selection_that_was_put_in_is_found_and_so_is_the_true_coefficient(delta, p):
    rng = np.random.default_rng(int(10 * abs(delta)))
    chosen = 0
    for _ in range(40):
        m, r_max, beta = population(rng, delta, p)
        assert breakdown_delta(m, r_max, beta) == pytest.approx(delta, rel=1e-6)
        found = bias_adjusted(m, r_max, delta)
        keeps = m.index_covariance(beta) * m.moved > 0
        if keeps:
            assert min(abs(np.array(found) - beta)) < 1e-6 * max(1, abs(beta))
            chosen += abs(found[0] - beta) < 1e-6 * max(1, abs(beta))
        if keeps and delta == 1:
            assert found[0] == pytest.approx(beta, rel=1e-6)
    assert chosen > 10


def test_the_solutions_are_all_there_are_and_the_nearest_that_keeps_the_direction_is_chosen():
    rng = np.random.default_rng(8)
    several = 0
    for _ in range(40):
        m, r_max, _ = population(rng, 2.0)
        grid = np.concatenate([-np.geomspace(1e3, 1e-4, 4000), np.geomspace(1e-4, 1e3, 4000)]) + m.beta

        def gap(b, m=m, r_max=r_max):
            observed = (m.beta - b) * (m.r2 - m.r2_short) * m.var_y * m.tau
            observed += (m.beta - b) * m.var_d * m.tau * m.moved**2
            observed += 2 * (m.beta - b) ** 2 * m.tau * m.moved * m.var_d
            observed += (m.beta - b) ** 3 * (m.tau * m.var_d - m.tau**2)
            unseen = (r_max - m.r2) * m.var_y
            other = unseen * m.moved * m.var_d + (m.beta - b) * unseen * (m.var_d - m.tau)
            other += (m.beta - b) ** 2 * m.tau * m.moved * m.var_d
            other += (m.beta - b) ** 3 * (m.tau * m.var_d - m.tau**2)
            return observed - 2.0 * other

        values = gap(grid)
        roots = [
            brentq(gap, a, b, xtol=1e-14)
            for a, b, u, v in zip(grid, grid[1:], values, values[1:], strict=False)
            if u * v < 0
        ]
        found = bias_adjusted(m, r_max, 2.0)
        roots = [b for b in roots if abs(m.index_covariance(b)) > 1e-6]
        good = [b for b in roots if np.sign(m.index_covariance(b)) == np.sign(m.moved)]
        if not good:
            assert not found
            continue
        np.testing.assert_allclose(sorted(found), sorted(roots), rtol=1e-6)
        assert found[0] == pytest.approx(min(good, key=lambda b: abs(b - m.beta)), rel=1e-6)
        several += len(good) > 1
    assert several > 3


def test_osters_moments_are_those_of_the_two_regressions():
    made = sample(*FIXED, n=120)
    form = partialled(made, "twfe", "long_difference", "test")
    y, d = form.y, form.d
    m = moments(form)
    short, whole = sm.OLS(y, sm.add_constant(d)).fit(), sm.OLS(y, sm.add_constant(np.c_[d, form.x])).fit()
    assert (m.beta_short, m.r2_short) == pytest.approx((short.params[1], short.rsquared), rel=EXACT)
    assert (m.beta, m.r2) == pytest.approx((whole.params[1], whole.rsquared), rel=EXACT)
    left = sm.OLS(d, sm.add_constant(form.x)).fit().resid
    assert (m.var_y, m.var_d, m.tau) == pytest.approx((y.var(), d.var(), left.var()), rel=EXACT)


def bias_adjusted_in(answer) -> float:
    """Return the bias-adjusted coefficient of a finding's table."""
    return answer.frame.set_index("term")["estimate"]["bias-adjusted"]


def test_oster_at_the_breakdown_delta_gives_zero_and_at_no_selection_the_regression():
    made = sample("moving", "other", source=with_second_mover())
    answer = oster(made)
    m, r_max = answer["moments"], answer["r_max"]
    assert r_max == pytest.approx(min(1, 1.3 * m.r2), rel=EXACT)
    assert min(np.abs(bias_adjusted(m, r_max, answer["breakdown"]))) < 1e-8
    assert bias_adjusted_in(oster(made, delta=0)) == pytest.approx(m.beta, rel=EXACT)
    assert len(oster(made, delta=0).plot().axes[0].get_lines()) == 4  # no half and twice of nothing
    assert oster(made, r_max=1)["r_max"] == 1


@pytest.mark.parametrize(("scale", "unit"), [("level", "y"), ("log1p", "log points")])
def test_verdicts_name_the_unit_of_a_coefficient(scale, unit):
    panel = with_second_mover()
    positive = replace(panel, outcomes={"y": panel.outcomes["y"] - panel.outcomes["y"].min()})
    made = sample("moving", "other", source=positive, scale=scale)
    answer = oster(made)
    assert f"instead of {answer['moments'].beta:.3g} {unit}, selection" in answer.verdict
    confounding = sensitivity(made, "callaway_santanna")
    assert f"the estimate of {confounding['coefficient'].estimate:.3g} {unit} to zero." in confounding.verdict


def test_oster_scales_with_the_outcome_and_delta_does_not():
    whole = with_second_mover()
    one = oster(sample("moving", "other", source=whole))
    other = oster(sample("moving", "other", source=replace(whole, outcomes={"y": -5 * whole.outcomes["y"]})))
    assert bias_adjusted_in(other) == pytest.approx(-5 * bias_adjusted_in(one), rel=1e-8)
    assert other["breakdown"] == pytest.approx(one["breakdown"], rel=1e-8)


@pytest.mark.parametrize(
    ("covariates", "arguments", "message"),
    [
        ((), {}, "no covariates"),
        (("moving",), {"r_max": 1.2}, "r_max is 1.2; it must be above"),
        (("moving",), {"r_max": 0.0}, "r_max is 0; it must be above"),
        (("moving",), {"delta": float("inf")}, "finite"),
        (("moving",), {"design": "poisson_twfe"}, "no linear regression"),
        (FIXED, {}, "absorbed"),
    ],
)
def test_oster_refuses(covariates, arguments, message):
    with pytest.raises(QuestionError, match=message):
        oster(sample(*covariates), **arguments)


def test_oster_refuses_covariates_that_do_not_move_the_coefficient():
    rng = np.random.default_rng(0)
    d, y = rng.normal(size=(2, 40))
    x = rng.normal(size=(40, 1))
    x = x - np.outer(d, d @ x) / (d @ d)
    form = Partialled("within", "", y, d, x, ("x",), np.arange(40), 0)
    assert abs(moments(form).moved) < 1e-12
    whole = simulated.panel(40)
    first = np.where(np.arange(40) % 2 == 0, 4.0, np.nan)
    balanced = np.outer(np.resize([1.0, 1.0, -1.0, -1.0], 40), np.ones(8))
    made = replace(whole, first_treated={"event": first}, covariates={"x1": balanced})
    with pytest.raises(QuestionError, match="x1 do not move the coefficient"):
        oster(sample("x1", source=made), form="long_difference")


def test_oster_says_that_no_coefficient_fits():
    rng = np.random.default_rng(8)
    made = sample(*FIXED, n=120)
    m = moments(partialled(made, "twfe", "long_difference", "test"))
    delta = next(d for d in rng.uniform(1.5, 60, size=200) if not bias_adjusted(m, 1.0, d))
    with pytest.raises(QuestionError, match="Assumption 3"):
        oster(made, form="long_difference", r_max=1.0, delta=delta)


# --- double machine learning ---------------------------------------------------------------------------------


def doubleml_model(made, clustered: bool):
    """Fit DoubleMLPLR with boosted trees that it runs itself, on the folds of the design's first repetition."""
    from doubleml import DoubleMLData, DoubleMLPLR

    rows, cluster, order = rows_and_folds(made)
    data = DoubleMLData.from_arrays(
        np.column_stack([order, rows.period, rows.covariates]),
        rows.outcome,
        rows.treatment,
        cluster_vars=cluster if clustered else None,
    )
    learners = sklearn_learner("lightgbm"), sklearn_learner("lightgbm")
    model = DoubleMLPLR(data, *learners, draw_sample_splitting=False)
    fold = order % FOLDS
    splits = [(np.flatnonzero(fold != k), np.flatnonzero(fold == k)) for k in range(FOLDS)]
    of_clusters = [([np.unique(cluster[a])], [np.unique(cluster[b])]) for a, b in splits]
    model._n_folds_per_cluster = FOLDS
    model.set_sample_splitting([splits], [of_clusters] if clustered else None)
    return model.fit()


def confounded(n: int = 200, strength: float = 1.0, **fields):
    source = dml_source(long_table(n=n, confounded=strength))
    return ask("first", "x1", "x2", **fields).sample(source)


@pytest.mark.parametrize("cluster", [None, "state"])
def test_bounds_are_those_of_doubleml_called_directly(cluster):
    made = confounded(cluster=cluster)
    strength = {"cf_y": 0.05, "cf_d": 0.02, "rho": 0.8}
    answer = sensitivity(
        made, "dml_panel", benchmarks=["x1"], learner="lightgbm", repetitions=1, level=0.9, **strength
    )
    theirs = (
        doubleml_model(made, clustered=True).sensitivity_analysis(**strength, level=0.9).sensitivity_params
    )
    ours = answer.frame.loc[1, list(Bounds._fields[:4])].astype(float)
    # doubleml's errors are each other's.
    expected = [
        theirs["theta"]["lower"],
        theirs["theta"]["upper"],
        theirs["se"]["upper"],
        theirs["se"]["lower"],
    ]
    np.testing.assert_allclose(ours, np.ravel(expected), rtol=EXACT)
    # doubleml searches for its robustness values on a tolerance of 1e-5.
    assert answer["robustness_value"] == pytest.approx(theirs["rv"][0], abs=2e-5)


@pytest.mark.parametrize("cluster", [None, "state"])
def test_errors_of_bounds_are_derivatives_in_the_weights_of_clusters(cluster):
    made = confounded(cluster=cluster)
    made = replace(made, y=np.exp(made.y / 4))  # skewed, so that the estimate and its bias go together
    options = {"learner": "linear", "repetitions": 1}
    rows, model = cross_fitted(made, Learning("linear", 5, 1, 0))
    u, v = (model.predictions[name][:, 0, 0] for name in ("ml_l", "ml_m"))
    u, v = rows.outcome - u, rows.treatment - v
    strength = 0.8 * np.sqrt(0.05 * 0.02 / 0.98)
    of_row = made.cluster[rows.unit]

    def both(weight):
        w = weight[of_row] / weight[of_row].sum()
        theta = w @ (u * v) / (w @ v**2)
        bias = strength * np.sqrt(w @ (u - theta * v) ** 2 / (w @ v**2))
        return np.array([theta - bias, theta + bias])

    unit, step = np.eye(made.cluster.max() + 1), 1e-5
    slopes = np.array([(both(1 + step * one) - both(1 - step * one)) / (2 * step) for one in unit])
    expected = np.sqrt((slopes**2).sum(axis=0))
    answer = sensitivity(made, "dml_panel", benchmarks=["x1"], cf_y=0.05, cf_d=0.02, rho=0.8, **options)
    assert abs(expected[0] / expected[1] - 1) > 0.01
    found = answer.frame.loc[1, ["lower_error", "upper_error"]].astype(float)
    np.testing.assert_allclose(found, expected, rtol=1e-6)


def test_benchmarks_are_those_of_doubleml_called_directly():
    made = confounded(400, 2.0)
    answer = sensitivity(made, "dml_panel", benchmarks=["x1", "x2"], learner="lightgbm", repetitions=1)
    model = doubleml_model(made, clustered=False)
    names = model._dml_data.x_cols[2:]  # x1 and x2, which are fixed in time, after order and period
    assert len(names) == 2
    for ours, column in zip(answer["benchmarks"], names, strict=True):
        theirs = model.sensitivity_benchmark([column]).iloc[0]
        np.testing.assert_allclose(ours[1:], theirs[["cf_y", "cf_d", "rho", "delta_theta"]], rtol=EXACT)
        assert min(ours.cf_y, ours.cf_d) > 0
        same = answer.frame[answer.frame["term"] == f"as strong as {ours.name}"].iloc[0]
        assert (same["cf_y"], same["cf_d"]) == (ours.cf_y, ours.cf_d)


def test_leaving_a_benchmark_out_moves_the_estimate_as_the_design_without_it_says():
    options = {"learner": "linear", "repetitions": 4, "folds": 2}
    made = confounded(60)
    answer = sensitivity(made, "dml_panel", benchmarks=["x1"], **options)
    asked = made.question, made.question.replace(covariates=("x2",))
    long, short = (estimate(made.panel, each, "dml_panel", **options).effect[0] for each in asked)
    assert answer["benchmarks"][0].change == pytest.approx(short - long, rel=EXACT)


def test_bounds_reach_their_value_at_the_robustness_values():
    for q, rho in ((1.0, 1.0), (0.4, -0.5)):
        made = sensitivity(confounded(), "dml_panel", benchmarks=["x1"], repetitions=2, folds=3, q=q, rho=rho)
        elements = made["elements"]
        goal = (1 - q) * elements.estimate
        r, limit = made["robustness_value"], made["robustness_value_significance"]
        assert bounds(elements, r, r, rho, 0.95).lower == pytest.approx(goal, abs=EXACT)
        assert limit > 0
        assert bounds(elements, limit, limit, rho, 0.95).conf_low == pytest.approx(goal, abs=EXACT)


def test_without_a_confounder_the_bounds_are_the_designs_answer():
    made = confounded(cluster="state")
    answer = sensitivity(made, "dml_panel", benchmarks=["x2"], repetitions=3, seed=4)
    fit = estimate(made.panel, made.question, "dml_panel", repetitions=3, seed=4, vcov="CR0")
    none = answer.frame.iloc[0]
    assert (none.lower, none.upper) == pytest.approx((fit.effect[0],) * 2, rel=EXACT)
    assert (none.lower_error, none.upper_error) == pytest.approx((fit.std_error[0],) * 2, rel=EXACT)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(
    "y", [lambda d: 0 * d, lambda d: 3 * d, lambda d: 0 * d + np.sin(np.arange(d.shape[1]))]
)
def test_an_outcome_of_which_nothing_is_left_has_nothing_that_a_confounder_could_explain(y):
    made = confounded(60)
    with pytest.raises(QuestionError, match="explain all of y, so nothing of it is left"):
        sensitivity(replace(made, y=y(made.treatment)), "dml_panel", learner="linear", repetitions=1, folds=2)


@pytest.mark.parametrize(("approach", "what"), [("first_differences", "the changes of "), ("within", "")])
def test_a_confounder_explains_what_the_approach_has_on_both_sides(approach, what):
    options = {"approach": approach, "learner": "linear", "repetitions": 1, "folds": 2}
    answer = sensitivity(confounded(60), "dml_panel", benchmarks=["x1"], **options)
    assert f"remaining variation of {what}treatment and of the outcome" in answer.sentences[0]


def test_progress_is_told_of_each_benchmark_and_answers_are_the_same_again():
    steps = []
    made = confounded(60)
    with settings(progress=steps.append):
        one, again = (ml_sensitivity(made, benchmarks=(("x1",), ("x2",)), repetitions=1) for _ in range(2))
    assert [step for step in steps if step.startswith("without")] == ["without x1", "without x2"] * 2
    assert one.tidy().equals(again.tidy())


# --- what a reader gets --------------------------------------------------------------------------------------


def findings():
    yield sensitivity(sample("moving", "other", source=with_second_mover()))
    yield sensitivity(sample(*FIXED), "callaway_santanna", q=0.5)
    yield oster(sample(*FIXED), "callaway_santanna")
    yield sensitivity(confounded(400, 2.0), "dml_panel", learner="lightgbm", repetitions=1)


def test_findings_have_sentences_tables_and_figures():
    for made in findings():
        assert made.title
        assert all(s.endswith(".") and "nan" not in s for s in made.sentences)
        assert len(made.tidy()) > 2
        figure = made.plot()
        axes = figure.axes[0]
        assert axes.get_xlabel()
        assert axes.get_ylabel()
        assert "units of y" in axes.get_title(loc="left") + axes.get_ylabel()
        figure.canvas.draw()
        assert made.plot(axes) is figure
        assert figure.axes == [axes]


def test_the_figure_marks_each_bound_and_the_contour_of_zero():
    made = sensitivity(sample("moving", "other", source=with_second_mover()))
    axes = made.plot().axes[0]
    marked = {
        tuple(xy)
        for line in axes.lines
        for xy in np.column_stack(line.get_data())
        if line.get_marker() != "None"
    }
    shown = made.frame[made.frame["kind"].isin(["none", "bound"])]
    assert len(shown) > 3
    for place in shown[["r2_treatment", "r2_outcome"]].itertuples(index=False):
        assert tuple(place) in marked
    assert "estimate is 0" in [line.get_label() for line in axes.lines]


def test_a_bound_that_reaches_all_of_the_outcome_says_that_it_is_capped():
    source = simulated.panel(80)
    y = source.outcomes["y"]
    copied = y + 0.05 * np.random.default_rng(1).normal(size=y.shape)
    source = replace(source, covariates=dict(source.covariates) | {"copied": copied})
    made = sensitivity(sample("copied", source=source), multiples=(0.001, 1, 2))
    bounds = made.frame[made.frame["kind"] == "bound"].set_index("term")["r2_outcome"]
    assert list(bounds == 1) == [False, True, True]
    (said,) = [sentence for sentence in made.sentences if "taken as 1" in sentence]
    assert said.startswith("For those 1 and 2 times as strong the bound")
    capped = sensitivity(sample("moving"))
    assert not any("taken as 1" in sentence for sentence in capped.sentences)


def test_labels_of_confounders_that_are_close_do_not_overlap():
    made = sensitivity(sample("x1", "x2", n=300), "callaway_santanna", multiples=(1, 2, 3))
    figure = made.plot()
    figure.draw_without_rendering()
    boxes = [text.get_window_extent() for text in figure.axes[0].texts if text.get_text().endswith("×")]
    assert boxes
    assert not any(one.overlaps(other) for one, other in combinations(boxes, 2))


def test_details_have_every_robustness_value():
    made = sensitivity(sample("moving"))
    c = made["coefficient"]
    f = ovb.partial_f(c.estimate / c.clustered_error, c.dof)
    assert made["robustness_value_plugged"] == pytest.approx(ovb.robustness_value(f), rel=EXACT)
    assert made["partial_r2"] == pytest.approx(made["extreme_robustness_value"], rel=EXACT)
    assert all(0 <= value <= 1 for name, value in made.details.items() if "robustness" in name)
