"""Intervals cover under each design's own assumptions; under a violation the bias that its paper warns of appears."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from replicating import CRITICAL, PERIODS, Answers, Case, FloatArray, ask, process

from study import Question, calibrate, load_panel
from study.designs import all_designs, find_design
from study.diagnostics.misclassification import unattenuated
from study.diagnostics.two_way_weights import contamination_weights, goodman_bacon
from study.panel import Sample
from study.simulate.process import Process

EVENTS = dict(effect=1.0, heterogeneity=0.5, dynamics=0.5, shocks=1.0, persistence=0.5)
COUNTS = dict(effect=0.3, heterogeneity=0.5, shocks=0.3, persistence=0.5)
STEEP = np.linspace(0, 5, PERIODS)
# Larger units adopt sooner in all of them, which levels and proportions do not mind each under its own trends.
PROCESSES: dict[str, Process] = {
    "constant effects": process(hazard=(0.5, 0), **EVENTS | {"dynamics": 0.0}),
    "parallel in levels": process(hazard=(0.5, 0), **EVENTS),
    "effects by cohort": process(hazard=(0.5, 0), early=0.15, **EVENTS),
    "counts parallel in levels": process("count", hazard=(0.5, 0), dynamics=0.5, **COUNTS),
    "counts parallel both ways": process("count", size_growth=1.0, growth=STEEP, dynamics=0.5, **COUNTS),
    "counts parallel in proportion": process(
        "count", hazard=(0.7, 0), size_growth=1.0, growth=STEEP, **COUNTS
    ),
    "linear confounding": process(linear=0.5, **EVENTS),
    "constant effects, linear confounding": process(linear=0.5, **EVENTS | {"dynamics": 0.0}),
    "factor": process(factor=1.0, effect=1.0, shocks=0.3),
    # Growth before adoption is the factor's but for little noise, so that adopters are those with larger loadings.
    "factor that adopters load on": process(
        hazard=(0, 1.0), factor=1.0, selection=1.0, effect=1.0, shocks=0.05
    ),
}
X, SHARE, NEVER = {"covariates": ("x1",)}, {"scale": "proportional"}, {"comparison": "never_treated"}
NARROW = {"before": 2, "after": 1}
LINEAR = {"learner": "linear", "repetitions": 1}
BOTH = LINEAR | {"propensity": "linear"}
BY_COHORT = ("callaway_santanna", "sun_abraham", "imputation", "etwfe", "lee_wooldridge", "dcdh")
ALIKE = ("event_study", *BY_COHORT, "lp_did", "synthetic_did")

CASES: list[tuple[str, Case]] = [
    ("constant effects", Case("twfe")),
    *(("parallel in levels", Case(name)) for name in ALIKE),
    ("parallel in levels", Case("stacked", NARROW)),
    ("parallel in levels", Case("lee_wooldridge", {"transform": "detrend"})),
    *(("effects by cohort", Case(name)) for name in BY_COHORT),
    ("effects by cohort", Case("stacked", NARROW)),
    ("effects by cohort", Case("lp_did", {"weighting": "equal"})),
    *(("counts parallel in levels", Case(name)) for name in BY_COHORT),
    ("counts parallel both ways", Case("callaway_santanna", {}, SHARE)),
    ("counts parallel in proportion", Case("poisson_twfe", {}, SHARE)),
    ("counts parallel in proportion", Case("etwfe", {"family": "poisson"}, SHARE)),
    ("counts parallel in proportion", Case("etwfe", {"family": "poisson", "effects": "unit"}, SHARE)),
    *(("linear confounding", Case("callaway_santanna", {"method": m}, X)) for m in ("reg", "dr")),
    ("linear confounding", Case("lee_wooldridge", {}, X)),
    ("linear confounding", Case("etwfe", {}, X)),
]
# A hundred milliseconds an answer, or so.
SLOW: list[tuple[str, Case]] = [
    ("constant effects", Case("panel_ols")),
    ("linear confounding", Case("dml_did", BOTH, X)),
    ("linear confounding", Case("dml_stacked", BOTH, X)),
    ("constant effects, linear confounding", Case("dml_panel", LINEAR, X)),
    ("constant effects", Case("dml_irm", BOTH, X)),
    ("factor", Case("synthetic_did")),
    ("factor", Case("matrix_completion")),
    ("factor that adopters load on", Case("generalized_synthetic_control")),
]
QUICK = ("twfe", "callaway_santanna", "imputation", "poisson_twfe")
# Intervals of what no process here draws (instruments, doses without untreated units, a third difference), or of what
# does not cover here; see below.
ELSEWHERE = {
    "changes_in_changes": "tests/designs/test_changes_in_changes.py",
    "dml_iv": "tests/designs/test_dml_iv.py",
    "dose_response": "tests/designs/test_dose_response.py",
    "heterogeneous_adoption": "tests/designs/test_heterogeneous_adoption.py",
    "iv": "tests/designs/test_iv.py",
    "three_way": "tests/designs/test_triple_difference.py",
    "triple_difference": "tests/designs/test_triple_difference.py",
}


def held(answers: Answers) -> bool:
    """Say whether coverage is 95% but for Monte-Carlo error."""
    n = len(answers.estimate)
    return abs(answers.coverage - 0.95) <= CRITICAL * np.sqrt(0.95 * 0.05 / n)


@pytest.mark.parametrize(("name", "case"), [pair for pair in CASES if pair[1].design in QUICK], ids=str)
def test_intervals_cover_under_the_designs_own_assumptions(name: str, case: Case) -> None:
    answers = ask(case, PROCESSES[name], 60)
    assert held(answers), answers.coverage
    assert abs(answers.bias) <= CRITICAL * answers.error


@pytest.mark.slow
@pytest.mark.parametrize(("name", "case"), CASES, ids=str)
def test_intervals_cover_in_a_thousand_draws(name: str, case: Case) -> None:
    answers = ask(case, PROCESSES[name], 1000)
    assert held(answers), answers.coverage


@pytest.mark.slow
@pytest.mark.parametrize(("name", "case"), SLOW, ids=str)
def test_intervals_of_learners_and_synthetic_designs_cover(name: str, case: Case) -> None:
    answers = ask(case, PROCESSES[name], 100)
    assert held(answers), answers.coverage


@pytest.fixture(scope="module")
def on_the_study() -> Process:
    """Return the process of the study's first event: 60 are treated, in cohorts of one to twelve."""
    question = Question(
        outcome="papers", event="first_accelerator", average="event_average", horizon=4, min_cohort_size=1
    )
    return calibrate(load_panel("cvpr"), question).turned(factor=0.0, selection=0.0)


@pytest.mark.slow
@pytest.mark.parametrize("design", ["callaway_santanna", "imputation", "lp_did", "event_study", "twfe"])
def test_intervals_cover_in_panels_like_the_studys_with_parallel_trends_in_levels(
    design: str, on_the_study: Process
) -> None:
    answers = ask(Case(design), on_the_study.turned(size_growth=0.0), 300)
    assert held(answers), answers.coverage


@pytest.mark.slow
def test_intervals_cover_in_panels_like_the_studys_with_parallel_trends_in_proportion(
    on_the_study: Process,
) -> None:
    proportional = on_the_study.turned(size_growth=1.0)
    answers = ask(Case("poisson_twfe", {}, SHARE), proportional, 300)
    assert held(answers), answers.coverage
    levels = ask(Case("callaway_santanna", {}, SHARE), proportional, 50)
    assert levels.bias > 0.2
    assert not held(levels)


def test_every_design_is_asked_here_or_elsewhere() -> None:
    asked = {case.design for _, case in CASES + SLOW}
    assert asked | set(ELSEWHERE) == set(all_designs())
    for name, path in ELSEWHERE.items():
        text = (Path(__file__).parents[2] / path).read_text()
        assert name in text
        assert "cover" in text


# What does not hold, with the rate that was measured: tests notice if it does one day.
@pytest.mark.slow
def test_changes_in_changes_is_too_high_where_some_of_the_treated_are_outside_the_comparison_units() -> None:
    """Ranks are stable, but the largest of a cohort are larger than any of the 54 units that are never treated.

    They move to the largest later outcome. Where cohorts and others are alike the bias goes as there are more to
    compare with (7% of the effect with 160 units, 3% with 640); where adopters are larger 76% of intervals cover.
    """
    case, dials = Case("changes_in_changes"), EVENTS | {"dynamics": 0.0}
    few, more = ask(case, process(**dials), 300), ask(case, process(units=640, **dials), 100)
    assert few.bias > CRITICAL * few.error
    assert more.bias < few.bias / 2
    assert ask(case, process(hazard=(1.0, 0), **dials), 200).coverage < 0.87


@pytest.mark.slow
def test_learned_odds_cover_less_where_few_comparison_units_are_like_the_treated() -> None:
    """87% of 300: a standard deviation of the covariate makes adoption e times as likely, and 54 are never treated."""
    answers = ask(Case("dml_irm", BOTH, X), PROCESSES["constant effects, linear confounding"], 300)
    assert 0.81 < answers.coverage < 0.92
    assert abs(answers.bias) < CRITICAL * answers.error


@pytest.mark.slow
def test_effects_by_cohort_in_proportion_cover_less_in_panels_like_the_studys(on_the_study: Process) -> None:
    """92.2% of 1,000, where cohorts have one to twelve units and three quarters of the counts are zero.

    Standard errors are not too small (0.15, where estimates vary by 0.14), but small where the estimate is low.
    """
    answers = ask(Case("etwfe", {"family": "poisson"}, SHARE), on_the_study.turned(size_growth=1.0), 1000)
    low, high = (answers.effect > answers.high).mean(), (answers.effect < answers.low).mean()
    assert 0.90 < answers.coverage < 0.95 - CRITICAL * np.sqrt(0.95 * 0.05 / 1000)
    assert low > 2 * high


# Without shocks an estimate is its expectation given sizes and adoption, so that a known bias is met to rounding.
def exact(case: Case, source: Process, seed: int = 0) -> tuple[float, float]:
    """Return the estimate of one draw, and the average effect in it."""
    answers = ask(case, source, 1, seed)
    return answers.estimate[0], answers.effect


def drawn(source: Process, case: Case = Case("twfe"), seed: int = 20261128) -> Sample:
    """Return the sample of the first draw that ``ask`` makes."""
    template = source.sample.question.replace(**{"covariates": ()} | dict(case.question))
    draw = source.draw(np.random.default_rng((seed, 0)))
    return source.sample_of(draw, template.sample(source.sample.panel))


def without_means(block: FloatArray) -> FloatArray:
    """Return a balanced block less its means by unit and by period."""
    return block - block.mean(axis=1, keepdims=True) - block.mean(axis=0) + block.mean()


NEVER_TREATED = ("callaway_santanna", "sun_abraham", "dcdh")


def test_forbidden_comparisons_bias_the_static_coefficient_by_their_weights() -> None:
    """De Chaisemartin and D'Haultfoeuille (2020), Theorem 1, and Goodman-Bacon (2021), equation (15)."""
    source = process(effect=1.0, dynamics=1.0)
    sample, (coefficient, effect) = drawn(source), exact(Case("twfe"), source, 20261128)
    since = np.nan_to_num(sample.periods - sample.first_treated[:, None], nan=-1.0)
    treated = since >= 0
    weight = without_means(treated.astype(float)) * treated
    by_time = (1 + np.maximum(since, 0)) / 1.5
    assert coefficient == pytest.approx((weight * by_time).sum() / weight.sum())
    assert weight.min() < 0
    assert coefficient < by_time[treated].mean() - 0.2
    found = goodman_bacon(sample)
    forbidden = found.frame[found.frame["forbidden"]]
    assert found.details["coefficient"] == pytest.approx(coefficient)
    assert forbidden["estimate"].max() < by_time[treated].min() < found.details["allowed_average"]
    for name in ("callaway_santanna", "sun_abraham", "imputation", "etwfe", "stacked"):
        options = NARROW if name == "stacked" else {}
        assert exact(Case(name, options), source)[0] == pytest.approx(effect)


def test_effects_that_differ_between_cohorts_contaminate_leads_by_their_weights() -> None:
    """Sun and Abraham (2021), Proposition 3."""
    sample = drawn(process(effect=1.0, dynamics=1.0, early=0.3))
    event_study, fit = (find_design(name)(sample) for name in ("event_study", "sun_abraham"))
    weights = contamination_weights(sample).frame
    since = weights["event_time"].to_numpy()
    mean_start = (sample.first_treated[~np.isnan(sample.first_treated)] - 1).mean()
    effect = 1 + 0.3 * (mean_start - (weights["cohort"].to_numpy() - 1))
    effect = np.where(since >= 0, np.maximum(effect, 0) * (1 + since) / 1.5, 0)
    expected = (weights["weight"] * effect).groupby(weights["coefficient_time"]).sum()
    shown = ~event_study.reference
    np.testing.assert_allclose(event_study.effect[shown], expected[event_study.event_time[shown]])
    leads = event_study.event_time < -1
    assert np.abs(event_study.effect[leads]).max() > 0.1
    path = fit.by_event_time
    np.testing.assert_allclose(path.effect[path.event_time < 0], 0, atol=1e-9)


@pytest.mark.parametrize("design", ["callaway_santanna", "lee_wooldridge", "etwfe"])
def test_linear_adjustment_is_right_of_linear_confounding_alone(design: str) -> None:
    linear, nonlinear = process(effect=1.0, linear=0.5), process(effect=1.0, nonlinear=0.5)
    assert exact(Case(design, {}, X), linear)[0] == pytest.approx(1)
    for source, case in ((linear, Case(design)), (nonlinear, Case(design)), (nonlinear, Case(design, {}, X))):
        answers = ask(case, source, 25)
        assert answers.bias > CRITICAL * answers.error
        assert answers.bias > 0.02


def test_a_trend_of_adopters_biases_by_its_slope_times_the_periods_since_the_base() -> None:
    trend = process(effect=1.0, trends=0.7)
    for design in NEVER_TREATED:
        # Event times 0 and 1 are one and two periods from the base, of seven between the first and the last.
        estimate, effect = exact(Case(design, {}, NEVER), trend)
        assert estimate - effect == pytest.approx(0.7 * 1.5 / (PERIODS - 1))
    sample, tau = drawn(trend), np.linspace(0, 0.7, PERIODS)
    treated = sample.periods >= sample.first_treated[:, None]
    weight = without_means(treated.astype(float)) * 1
    bias = (weight * np.outer(~np.isnan(sample.first_treated), tau)).sum() / (weight * treated).sum()
    assert exact(Case("twfe"), trend, 20261128)[0] - 1 == pytest.approx(bias)


def test_a_trend_of_adopters_alone_biases_all_but_detrended_outcomes() -> None:
    """No comparison unit has the trend, so that there is none to weight up or to learn a factor from."""
    trend = process(effect=1.0, trends=0.7, shocks=0.02)
    for design in (*ALIKE, "twfe", "changes_in_changes", "generalized_synthetic_control"):
        assert ask(Case(design), trend, 2).bias > 0.05, design
    detrended = ask(Case("lee_wooldridge", {"transform": "detrend"}), trend, 20)
    assert abs(detrended.bias) < CRITICAL * detrended.error


def test_a_factor_that_adopters_load_on_biases_synthetic_designs_less() -> None:
    """Xu (2017); Arkhangelsky et al. (2021), whose weights leave a part of it with three periods before."""
    source = PROCESSES["factor that adopters load on"]
    did, weighted, factors = (
        ask(Case(name), source, 40)
        for name in ("callaway_santanna", "synthetic_did", "generalized_synthetic_control")
    )
    assert did.bias > 10 * did.error
    assert 0 < weighted.bias < did.bias / 2
    assert abs(factors.bias) < CRITICAL * factors.error


def test_anticipation_biases_by_what_it_adds_to_the_base() -> None:
    source = process(effect=1.0, anticipation=0.4)
    for design in NEVER_TREATED:
        assert exact(Case(design, {}, NEVER), source)[0] == pytest.approx(1 - 0.4)
    asked = Case("callaway_santanna", {}, NEVER | {"anticipation": 1})
    assert exact(asked, source)[0] == pytest.approx(1)
    assert 1 - 0.4 < exact(Case("lee_wooldridge", {}, NEVER), source)[0] < 1


def test_spillovers_bias_by_what_comparison_units_have_of_them() -> None:
    source = process(effect=1.0, spillovers=0.25)
    for design in NEVER_TREATED:
        assert exact(Case(design, {}, NEVER), source)[0] == pytest.approx(1 - 0.25)


def test_hidden_treatment_attenuates_by_its_share_and_unfounded_events_by_theirs() -> None:
    once = {"cohorts": (5,), "effect": 1.0}
    for dials in ({"hidden": 0.3}, {"unfounded": 0.2}):
        source = process(**once, **dials)
        draw = source.draw(np.random.default_rng((0, 0)))
        seen, has = ~np.isnan(draw.first_treated), (draw.y - draw.untreated)[:, -1] > 0
        for design in ("callaway_santanna", "imputation", "twfe"):
            estimate, effect = exact(Case(design), source)
            assert effect == pytest.approx(1)
            assert estimate == pytest.approx(has[seen].mean() - has[~seen].mean())
            if "hidden" in dials:
                assert unattenuated(np.array([1.0]), 1 - estimate, False)[0] == pytest.approx(1 / estimate)


def test_treatment_that_is_lost_and_recorded_as_kept_fades_by_its_rate() -> None:
    answers = ask(Case("callaway_santanna", {}, NEVER), process(effect=1.0, reversal=0.3), 100)
    assert answers.estimate.mean() == pytest.approx((1 + 0.7) / 2, abs=CRITICAL * answers.error)


def test_growth_in_proportion_biases_levels_by_the_growth_of_what_adopters_are_larger() -> None:
    source = process(hazard=(1.0, 0), effect=1.0, size_growth=1.0, growth=STEEP)
    sample = drawn(source, Case("callaway_santanna", {}, NEVER))
    # Nobody is treated in the first period, in which nothing has grown.
    size, first = sample.y[:, 0], sample.first_treated
    adopts = ~np.isnan(first)
    larger = (size[adopts].mean() - size[~adopts].mean()) / size.std()
    estimate, effect = exact(Case("callaway_santanna", {}, NEVER), source, 20261128)
    assert estimate - effect == pytest.approx(1.5 * (STEEP[1] - STEEP[0]) * larger)
    assert estimate - effect > 0.2


def test_levels_and_proportions_are_each_right_of_their_own_trends_alone() -> None:
    """Roth and Sant'Anna (2023): parallel trends hold on every scale only where adopters and others are alike."""
    levels, shares = Case("callaway_santanna", {}, SHARE), Case("poisson_twfe", {}, SHARE)
    growth = {"growth": 2 * STEEP, "effect": 0.0, "shocks": 0.1, "hazard": (1.5, 0.0)}
    additive, proportional = (process("count", size_growth=a, **growth) for a in (0.0, 1.0))
    assert held(ask(levels, additive, 60))
    assert held(ask(shares, proportional, 60))
    too_low, too_high = ask(shares, additive, 60), ask(levels, proportional, 60)
    assert too_low.bias < -CRITICAL * too_low.error
    assert too_high.bias > CRITICAL * too_high.error
    assert not held(too_low)
    assert not held(too_high)


def test_adoption_after_a_shock_is_taken_for_an_effect_as_the_shock_fades() -> None:
    """Ashenfelter's dip turned around: those who adopt grew by chance in the base, and fall back by themselves.

    Growth is over two periods, so that a mean over all periods before has what it began low at as well.
    """
    source = process(hazard=(0, 1.0), selection=1.0, effect=0.0, shocks=1.0)
    short, long = ask(Case("callaway_santanna"), source, 40), ask(Case("imputation"), source, 40)
    assert short.bias < -10 * short.error
    assert abs(long.bias) < abs(short.bias) / 5
