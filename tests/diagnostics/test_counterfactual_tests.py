"""Placebo periods, fit before treatment and carry-over against loops with a dummy for every unit, and their size."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import searching
import simulated
from scipy import stats

from study import Panel, Question, QuestionError, diagnostics, estimate
from study.designs import Supports, find_design
from study.diagnostics import carry_over, fit_before_treatment, placebo_periods
from study.diagnostics.counterfactual_tests import small_bound
from study.diagnostics.finding import all_diagnostics
from study.diagnostics.refits import at_each, equivalence_p
from study.estimates import Effect
from study.panel import Sample, Scale, since_end, since_onset

ASKED = Question("y", "event", min_cohort_size=1)
GSC = "generalized_synthetic_control"


def switching(
    seed: int = 0, n: int = 24, gaps: float = 0.0, carry: float = 0.0, effect: float = 1.0
) -> Panel:
    """Return a panel in which most units are treated for some periods, and some for a second time."""
    rng, made = np.random.default_rng(seed), simulated.panel(n, seed)
    path = np.zeros((n, 8))
    for i in range(n * 2 // 3):
        start = rng.integers(2, 5)
        path[i, start : start + rng.integers(1, 3)] = 1
        path[i, 7] = rng.random() < 0.3
    y = rng.normal(size=(n, 1)) + 0.3 * simulated.PERIODS + rng.normal(size=(n, 8)) + effect * path
    y = y + carry * (since_end(path) <= 2)
    y[rng.random(y.shape) < gaps] = np.nan
    return replace(made, outcomes={"y": y}, first_treated={}, treatment={"event": path})


def dense(sample: Sample, seen: np.ndarray) -> np.ndarray:
    """Return outcomes less predictions of a regression of the seen cells on dummies and covariates, by lstsq."""
    n, t = sample.y.shape
    rows = []
    for i in range(n):
        for s in range(t):
            x = [block[i, s] for block in sample.x_by_period]
            rows.append(np.concatenate([np.arange(n) == i, np.arange(t) == s, x]))
    x, y, w = np.array(rows, dtype=float), sample.y.ravel(), np.repeat(sample.weights, t)
    used = seen.ravel() & ~np.isnan(y)
    root = np.sqrt(w[used])[:, None]
    b = np.linalg.lstsq(root * x[used], root[:, 0] * y[used], rcond=1e-12)[0]
    error = (y - x @ b).reshape(n, t)
    of_unit, of_period = used.reshape(n, t).any(axis=1), used.reshape(n, t).any(axis=0)
    return np.where(of_unit[:, None] & of_period, error, np.nan)


def mean_over(sample: Sample, error: np.ndarray, cells: np.ndarray) -> float:
    known = cells & ~np.isnan(error)
    weight = known * sample.weights[:, None]
    return float(np.sum(weight * np.nan_to_num(error)) / weight.sum())


def jackknife(sample: Sample, hidden: np.ndarray, cells: np.ndarray) -> tuple[float, float]:
    """Return the mean error over hidden cells with its jackknife error over clusters, by fitting anew without each."""
    untreated = sample.treatment == 0
    labels = np.unique(sample.cluster)

    def at(keep: np.ndarray) -> float:
        rest = sample.only(keep, "left out") if not keep.all() else sample
        return mean_over(rest, dense(rest, (untreated & ~hidden)[keep]), cells[keep])

    without = np.array([at(sample.cluster != c) for c in labels])
    g = len(labels)
    error = np.sqrt((g - 1) / g * np.sum((without - without.mean()) ** 2))
    return at(np.ones(sample.n_units, dtype=bool)), float(error)


@pytest.mark.parametrize(
    "question",
    [
        ASKED,
        ASKED.replace(covariates=("moving",), weights="size"),
        ASKED.replace(anticipation=1, cluster="state"),
    ],
    ids=["plain", "covariate and weights", "anticipation and clusters"],
)
def test_placebo_periods_equal_a_regression_on_dummies(question: Question) -> None:
    sample = question.sample(simulated.panel(30, 1, gaps=0.1))
    found = placebo_periods(sample, "imputation", periods=2)
    since = since_onset(sample.treatment)
    hidden = (since < 0) & (since >= -2)
    used = ((sample.treatment == 0) & ~hidden & sample.observed).any(axis=1)
    rest = sample.only(used, "no cell is left")
    expected = jackknife(rest, hidden[used], hidden[used])
    row = found.tidy().iloc[-1]
    np.testing.assert_allclose([row.estimate, row.std_error], expected, rtol=1e-9)
    assert list(found.tidy()["label"]) == [f"event {e - question.anticipation}" for e in (-2, -1)] + [
        "average"
    ]


def test_carry_over_equals_a_regression_on_dummies() -> None:
    sample = Question("y", "event").sample(switching(3, gaps=0.05))
    hidden = since_end(sample.treatment) <= 2
    expected = jackknife(sample, hidden, hidden)
    row = carry_over(sample, "imputation").tidy().iloc[-1]
    np.testing.assert_allclose([row.estimate, row.std_error], expected, rtol=1e-9)


@pytest.mark.parametrize("in_sample", [False, True])
def test_errors_before_treatment_equal_a_regression_on_dummies(in_sample: bool) -> None:
    sample = ASKED.sample(simulated.panel(30, 2))
    table = fit_before_treatment(sample, "imputation", before=2, in_sample=in_sample).tidy()
    since = since_onset(sample.treatment)
    for row, e in zip(table.itertuples(), (-2, -1), strict=True):
        hidden = (since == e) & (not in_sample)
        expected = jackknife(sample, hidden, since == e)
        np.testing.assert_allclose([row.estimate, row.std_error], expected, rtol=1e-9)


def test_predictions_of_factors_equal_regressions_by_unit() -> None:
    sample = ASKED.sample(simulated.panel(40, 4))
    found = placebo_periods(sample, GSC, periods=1, factors=1)
    free, y = ~sample.ever_treated, sample.y
    own = y[free] - y[free].mean(axis=1, keepdims=True)
    center = own.mean(axis=0)
    factor = np.linalg.svd(own - center)[2][0]
    since, errors = since_onset(sample.treatment), []
    for i in np.flatnonzero(sample.ever_treated):
        seen = since[i] < -1
        x = np.column_stack([np.ones(8), factor])
        b = np.linalg.lstsq(x[seen], (y[i] - center)[seen], rcond=None)[0]
        errors.append((y[i] - center - x @ b)[since[i] == -1][0])
    assert found.tidy()["estimate"].iloc[-1] == pytest.approx(np.mean(errors), rel=1e-9)


def test_errors_of_treated_cells_are_the_effects_of_the_design() -> None:
    from study.designs import find_design

    sample = ASKED.sample(simulated.panel(60, 5))
    synthetic: dict[str, Any] = {"method": "synthetic_control"}
    for name, options in (("imputation", {}), (GSC, {"factors": 1}), (GSC, {}), ("synthetic_did", synthetic)):
        design = find_design(name)
        error = design.predicts("test", sample, options)(sample, sample.treatment == 0)
        effect = design(sample, **options).aggregate("treated_average").effect[0]
        assert error[sample.treatment == 1].mean() == pytest.approx(effect, rel=1e-9)


def test_placebo_periods_are_placebo_dates_of_imputation() -> None:
    sample = ASKED.sample(simulated.panel(80, 6))
    by_dates = diagnostics.placebo_dates(sample, "imputation", shifts=[2], draws=99, leads=0).tidy()
    by_periods = placebo_periods(sample, "imputation", periods=2).tidy()
    assert by_periods["estimate"].iloc[-1] == pytest.approx(by_dates["estimate"].iloc[-1], rel=1e-9)


def test_the_bound_is_a_share_of_what_two_way_effects_leave() -> None:
    sample = ASKED.sample(simulated.panel(30, 2))
    seen = sample.treatment == 0
    error = dense(sample, seen)[seen]
    left = len(error) - sample.n_units - len(sample.periods) + 1
    assert small_bound(sample, seen) == pytest.approx(0.36 * np.sqrt(np.sum(error**2) / left), rel=1e-9)


def test_an_equivalence_test_is_two_one_sided_tests() -> None:
    for estimate_, error, degrees in ((0.1, 0.2, 7.0), (-0.6, 0.2, np.inf), (0.0, 0.5, 3.0)):
        t = stats.t(1e9 if np.isinf(degrees) else degrees)
        expected = max(t.sf((estimate_ + 0.5) / error), t.cdf((estimate_ - 0.5) / error))
        assert equivalence_p(estimate_, error, 0.5, degrees) == pytest.approx(expected, rel=1e-6)


def test_leads_that_are_shares_of_no_positive_mean_are_refused() -> None:
    panel = simulated.panel(80)
    below = replace(panel, outcomes={"y": -np.abs(panel.outcomes["y"]) - 1})
    fit = estimate(below, ASKED.replace(scale="proportional"))
    with pytest.raises(QuestionError, match=r'^leads: .* shares of no positive mean; ask with scale="level"'):
        diagnostics.leads(fit)


def test_leads_and_placebo_dates_take_a_bound() -> None:
    panel = simulated.panel(150, 7)
    before = diagnostics.leads(estimate(panel, ASKED), bound=5.0)
    dates = diagnostics.placebo_dates(
        ASKED.sample(panel), "callaway_santanna", bound=5.0, shifts=[1, 2], draws=99
    )
    for found, n in ((before, 0), (dates, 1)):
        assert (found.tidy()["p_equivalence"].iloc[n:] < 0.001).all()
        assert any("is excluded (equivalence test, p < 0.001)" in s for s in found.sentences)
    tight = diagnostics.leads(estimate(panel, ASKED), bound=0.01)
    assert any("At some event time before it an effect of 0.01" in s for s in tight.sentences)


def few(rng: np.random.Generator, treated: int, effect: float = 0.0) -> Sample:
    """Return a sample with independent errors, of units treated at once, with an effect before that, and 12 others."""
    n = treated + 12
    made = simulated.panel(n)
    first = np.where(np.arange(n) < treated, 6.0, np.nan)
    y = rng.normal(size=(n, 1)) + 0.3 * simulated.PERIODS + rng.normal(size=(n, 8))
    y = y + effect * ((since := simulated.PERIODS - first[:, None]) >= -2) * (since < 0)
    changed = replace(made, outcomes={"y": y}, first_treated={"event": first}, covariates={})
    return ASKED.sample(changed)


SAMPLES = searching.samples(20, 800)


def rejected(p_values: list[float], size: float = 0.05) -> float:
    return float(np.mean(np.array(p_values) < size))


def most(size: float = 0.05) -> float:
    return size + 3 * np.sqrt(size * (1 - size) / SAMPLES)


@pytest.mark.search
@pytest.mark.parametrize("treated", [5, 15])
def test_tests_keep_their_size_with_few_treated_units(treated: int) -> None:
    rng, zero, joint, in_sample = np.random.default_rng(treated), [], [], []
    for _ in range(SAMPLES):
        sample = few(rng, treated)
        zero.append(placebo_periods(sample, "imputation", periods=2)["p_value"])
        joint.append(fit_before_treatment(sample, "imputation", before=2)["wald"].p_value)
        in_sample.append(fit_before_treatment(sample, "imputation", before=2, in_sample=True)["wald"].p_value)
    assert max(map(rejected, (zero, joint, in_sample))) <= most()


@pytest.mark.search
def test_equivalence_is_rarely_claimed_at_the_bound_and_often_without_an_effect() -> None:
    rng, at_bound, nothing = np.random.default_rng(8), [], []
    for _ in range(SAMPLES):
        at_bound.append(
            placebo_periods(few(rng, 12, 1.1), "imputation", periods=2, bound=1.1)["p_equivalence"]
        )
        nothing.append(placebo_periods(few(rng, 12), "imputation", periods=2, bound=1.1)["p_equivalence"])
    assert rejected(at_bound) <= most()
    assert rejected(nothing) > 0.5


@pytest.mark.search
def test_carry_over_is_found_and_not_claimed_where_there_is_none() -> None:
    without, with_some = [], []
    for seed in range(SAMPLES):
        for carry, p_values in ((0.0, without), (1.5, with_some)):
            sample = Question("y", "event").sample(switching(seed, carry=carry))
            p_values.append(carry_over(sample, "imputation")["p_value"])
    assert rejected(without) <= most()
    assert rejected(with_some) > 0.8


@pytest.mark.search
def test_intervals_of_imputation_cover_where_treatment_ends() -> None:
    covered = []
    for seed in range(2 * SAMPLES):
        made = estimate(switching(seed, 40), Question("y", "event"), "imputation").aggregate(
            "treated_average"
        )
        row = made.tidy().iloc[0]
        covered.append(row.conf_low <= 1.0 <= row.conf_high)
    assert abs(np.mean(covered) - 0.95) <= 3 * np.sqrt(0.95 * 0.05 / (2 * SAMPLES))


def test_onset_and_end_are_counted_within_spells() -> None:
    nan = np.nan
    path = np.array(
        [[0, 0, 1, 1, 0, 0, 1, 0], [1, 1, 0, 0, 0, 0, 0, 0], [0, nan, 1, 1, 0, 1, 1, nan], [0.0] * 8]
    )
    onset = [[-2, -1, 0, 1, -2, -1, 0, nan], [nan] * 8, [-5, nan, nan, nan, -1, 0, 1, nan], [nan] * 8]
    end = [
        [nan, nan, nan, nan, 1, 2, nan, 1],
        [nan, nan, 1, 2, 3, 4, 5, 6],
        [nan, nan, nan, nan, 1, nan, nan, nan],
        [nan] * 8,
    ]
    np.testing.assert_array_equal(since_onset(path), onset)
    np.testing.assert_array_equal(since_end(path), end)


def test_units_may_stand_in_any_order_and_periods_and_levels_do_not_matter() -> None:
    panel = simulated.panel(40, 9)
    y = panel.outcomes["y"] + 1e3 * np.arange(40)[:, None] + 7 * simulated.PERIODS
    moved = replace(
        panel,
        outcomes={"y": y},
        periods=panel.periods + 2000,
        first_treated={"event": panel.first_treated["event"] + 2000},
    )
    rows = np.random.default_rng(0).permutation(40)
    found = [
        placebo_periods(ASKED.sample(one), "imputation", periods=2).tidy().drop(columns="label")
        for one in (panel, moved, simulated.ordered(panel, rows))
    ]
    for other in found[1:]:
        np.testing.assert_allclose(other, found[0], rtol=1e-8)


def test_bad_input_is_one_clear_error() -> None:
    panel = simulated.panel(40, 1)
    sample, ends = ASKED.sample(panel), Question("y", "event").sample(switching())
    one = sample.only(~sample.ever_treated | (np.cumsum(sample.ever_treated) == 1), "")
    patchy = np.where(
        np.arange(panel.n_units)[:, None] % 9 == panel.periods, np.nan, panel.covariates["moving"]
    )
    lacking = ASKED.replace(covariates=("moving",)).sample(replace(panel, covariates={"moving": patchy}))
    for bad, said in (
        (lambda: placebo_periods(sample, "callaway_santanna"), "imputation.* do"),
        (lambda: placebo_periods(sample, "imputation", periods=0), "from 1 on"),
        (lambda: placebo_periods(sample, "imputation", bound=0.0), "above 0"),
        (lambda: placebo_periods(sample, "imputation", periods=7), "no treated unit .* hide fewer periods"),
        (lambda: placebo_periods(one, "imputation", periods=1), "study.conformal"),
        (lambda: placebo_periods(sample, "synthetic_did"), 'use method="synthetic_control"'),
        (lambda: placebo_periods(sample, GSC, factors=1, periods=2), "ask\\s+for fewer"),
        (lambda: placebo_periods(lacking, GSC, factors=0), "covariate moving has gaps"),
        (
            lambda: placebo_periods(ASKED.replace(scale="proportional").sample(panel), "imputation"),
            'scale="level"',
        ),
        (lambda: carry_over(sample, "imputation"), "ends for no unit"),
        (lambda: carry_over(ends, GSC), "not absorbing"),
        (lambda: fit_before_treatment(sample, "imputation", before=0), "before is 0; .*, at least 1"),
        (lambda: fit_before_treatment(few(np.random.default_rng(0), 3), "imputation", before=3), "at most 2"),
        (lambda: diagnostics.leads(estimate(panel, ASKED), bound=-1.0), "above 0"),
        (
            lambda: estimate(switching(), Question("y", "event"), "imputation", leads=2),
            "leads=2 needs cohorts",
        ),
        (
            lambda: estimate(switching(), Question("y", "event"), "imputation", variance="conservative"),
            "needs cohorts",
        ),
    ):
        with pytest.raises(QuestionError, match=said):
            bad()


def test_an_effect_without_a_standard_error_does_not_hide_what_the_others_exclude() -> None:
    rows = [Effect("event -3", 0.1, 0.05, degrees=40.0), Effect("event -2", 0.1)]
    p_values, sentence = at_each(rows, 0.5, Scale("level", "y"), "event time before it")
    assert p_values[0] < 0.05
    assert np.isnan(p_values[1])
    assert sentence.startswith("At every event time before it an effect of 0.5")
    assert "nan" not in sentence


@pytest.mark.parametrize("level", [1.0, 1e6])
@pytest.mark.parametrize("diagnose", [placebo_periods, fit_before_treatment])
def test_rounding_of_predictions_that_are_exact_is_not_tested(diagnose: Any, level: float) -> None:
    made = simulated.panel(30, 2)
    exact = level * np.arange(30)[:, None] ** 1.5 + np.sin(simulated.PERIODS)
    sample = ASKED.sample(replace(made, outcomes={"y": exact}))
    with pytest.raises(QuestionError, match=r"varies|no variance"):
        diagnose(sample, "imputation")


def test_carry_over_is_offered_for_designs_that_take_a_treatment_that_ends() -> None:
    offered = all_diagnostics()["carry_over"].designs
    assert all(Supports.SWITCHING in find_design(name).supports for name in offered)


def test_a_placebo_period_of_one_treated_unit_has_no_p_value() -> None:
    panel = simulated.panel(n=30, cohorts=(5,))
    y, treated = panel.outcomes["y"].copy(), np.flatnonzero(~np.isnan(panel.first_treated["event"]))
    y[treated[1:], 2] = np.nan
    found = placebo_periods(ASKED.sample(replace(panel, outcomes={"y": y})), "imputation", periods=2)
    assert found.evidence[0].startswith("Event -2: ")
    assert found.evidence[0].endswith(" (no standard error).")
    assert "(p " in found.evidence[1]


def test_where_the_clusters_leave_no_joint_test_none_is_said_to_pass() -> None:
    sample = Question("y", "event", cluster="state").sample(simulated.panel(30, 1, cohorts=(5, 7)))
    found = fit_before_treatment(sample, "imputation")
    assert np.isnan(found["wald"].p_value)
    assert found.against is None
    assert "cannot be made" in found.verdict
    assert "does not reject" not in found.verdict
    assert fit_before_treatment(sample, "imputation", before=1).against is False


def test_event_times_of_which_one_follows_from_the_others_are_all_said_to_be_tested() -> None:
    found = fit_before_treatment(ASKED.sample(simulated.panel(n=30, cohorts=(5,))), "imputation")
    assert (found["wald"].rank, len(found.frame)) == (3, 4)
    assert "none of 4 event times" in found.verdict
