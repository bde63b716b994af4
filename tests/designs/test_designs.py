"""What holds for every design: its invariances, and what it refuses in one line."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from typing import Any

import numpy as np
import pandas as pd
import pytest
import simulated
from catalogue import OF_BLOCKS, OF_FACTORS, WITH_QUESTIONS_OF_THEIR_OWN, WITHOUT_GAPS

from study import Estimate, Panel, Question, QuestionError, all_designs, estimate
from study.designs import Supports, find_design
from study.learners import Learning
from study.panel import Sample

ALL_DESIGNS = tuple(
    name for name, each in all_designs().items() if each.function.__module__.startswith("study.")
)
# It compares distributions, so that constants of units matter, and takes quantiles of weighted units.
OF_DISTRIBUTIONS = ("changes_in_changes",)
OF_LEARNERS = ("dml_did", "dml_irm", "dml_iv", "dml_panel", "dml_stacked")
ANSWERING = tuple(name for name in ALL_DESIGNS if name not in WITH_QUESTIONS_OF_THEIR_OWN)
CLUSTERED = {"base": "universal", "cluster": "state", "weights": "size"}


@dataclass(frozen=True, eq=False)
class Case:
    """A design with some of its options, and what its question asks beside the defaults."""

    design: str
    options: Mapping[str, Any] = field(default_factory=dict)
    asks: Mapping[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        values = [str(value) for value in (*self.options.values(), *self.asks.values())]
        return "-".join([self.design, *values])

    def answers(self, panel: Panel, **asked: Any) -> list[Estimate]:
        """Answer the plain question, and one with weights and clusters, each with its average."""
        questions = [Question("y", "event", **({**self.asks, **asked, **more})) for more in ({}, CLUSTERED)]
        fits = [estimate(panel, question, self.design, **self.options) for question in questions]
        return [made for fit in fits for made in (fit, fit.headline)]


LINEAR = (
    Case("twfe"),
    Case("iv", {}, {"instrument": "moving"}),
    Case("event_study"),
    Case("event_study", {"bin_at": 2}),
    Case("callaway_santanna"),
    Case("callaway_santanna", {"method": "dr"}, {"covariates": ("x1",)}),
    Case("callaway_santanna", {"method": "reg"}, {"covariates": ("x1",), "comparison": "never_treated"}),
    Case("sun_abraham"),
    Case("sun_abraham", {"variance": "conditional"}, {"covariates": ("moving",)}),
    Case("imputation"),
    Case("imputation", {"variance": "conservative", "leads": 2}, {"covariates": ("moving",)}),
    Case("etwfe", {"effects": "cohort"}),
    Case("etwfe", {"effects": "unit"}, {"comparison": "never_treated"}),
    Case("etwfe", {"effects": "cohort", "variance": "conditional"}, {"covariates": ("x1",)}),
    Case("stacked", {"before": 2, "after": 1}),
    Case("lee_wooldridge"),
    Case("lee_wooldridge", {"transform": "detrend"}, {"covariates": ("x1",), "comparison": "never_treated"}),
    Case("lp_did", {"weighting": "variance"}),
    Case("lp_did", {"weighting": "equal"}),
    Case("dcdh"),
    Case("dcdh", {"normalized": True}, {"covariates": ("moving",), "comparison": "never_treated"}),
    # A rule by which every cohort of every panel that is drawn has units of both groups.
    Case("triple_difference", {}, {"group": "size>1.25", "comparison": "never_treated"}),
    Case("three_way", {}, {"group": "size>1.25"}),
)
POISSON = (
    Case("poisson_twfe", {"terms": "treatment"}),
    Case("poisson_twfe", {"terms": "event_time"}),
    Case("etwfe", {"family": "poisson", "effects": "cohort"}),
    Case("etwfe", {"family": "poisson", "effects": "unit"}),
)
CASES = LINEAR + POISSON
every_case = pytest.mark.parametrize("case", CASES, ids=str)
every_linear_case = pytest.mark.parametrize("case", LINEAR, ids=str)
every_poisson_case = pytest.mark.parametrize("case", POISSON, ids=str)


def drawn_panels(**values: tuple[float, float]) -> pytest.MarkDecorator:
    """Return a panel without gaps and one with some, by its seed, with a value of what else a test varies for each."""
    names = ("seed", "gaps", *values)
    return pytest.mark.parametrize(names, [*zip((0, 41), (0.0, 0.05), *values.values(), strict=True)])


def test_every_design_without_learners_has_its_invariances_tested() -> None:
    # Those of blocks have theirs in test_synthetic_did.py, since they take no weights and no gaps; those of
    # distributions and with questions of their own have them beside their other tests.
    elsewhere = {*OF_LEARNERS, *OF_BLOCKS, *OF_DISTRIBUTIONS, *OF_FACTORS, *WITH_QUESTIONS_OF_THEIR_OWN}
    assert {case.design for case in CASES} | elsewhere | {"panel_ols"} == set(ALL_DESIGNS)  # which is twfe


@cache
def drawn(case: Case, seed: int, gaps: float) -> Panel:
    """Return a small panel, of counts for a Poisson regression."""
    if case in POISSON:
        return simulated.counts(simulated.panel(n=50, seed=seed, gaps=gaps, level=2.0), seed)
    return simulated.panel(n=50, seed=seed, gaps=0.0 if case.design in WITHOUT_GAPS else gaps)


@cache
def answered(case: Case, seed: int, gaps: float, **asked: Any) -> list[Estimate]:
    """Return the answers about the panel as it is drawn."""
    return case.answers(drawn(case, seed, gaps), **asked)


def same(ours: list[Estimate], theirs: list[Estimate], factor: float = 1.0) -> None:
    """Hold effects and errors to each other, up to a factor."""
    for one, other in zip(ours, theirs, strict=True):
        assert np.isfinite(one.effect).all()
        size = np.nanmax(one.std_error) * abs(factor)
        np.testing.assert_allclose(other.effect, factor * one.effect, rtol=1e-9, atol=1e-9 * size)
        np.testing.assert_allclose(other.std_error, abs(factor) * one.std_error, rtol=1e-8)


def long(panel: Panel) -> pd.DataFrame:
    """Return the panel's long table."""
    n, t = panel.n_units, len(panel.periods)
    columns = {"unit": np.repeat(panel.units, t), "time": np.tile(panel.periods, n)}
    columns |= {name: block.ravel() for name, block in (panel.outcomes | panel.covariates).items()}
    columns |= {name: np.repeat(block, t) for name, block in (panel.first_treated | panel.attributes).items()}
    return pd.DataFrame(columns)


def from_long(table: pd.DataFrame) -> Panel:
    return Panel.from_long(
        table,
        unit="unit",
        time="time",
        first_treated="event",
        outcomes="y",
        covariates=["size", "x1", "moving"],
        attributes="state",
    )


@every_case
@drawn_panels()
def test_the_order_of_rows_does_not_matter(case: Case, seed: int, gaps: float) -> None:
    table = long(drawn(case, seed, gaps))
    shuffled = table.sample(frac=1, random_state=seed)
    same(answered(case, seed, gaps), case.answers(from_long(shuffled)))


@every_case
@drawn_panels()
def test_the_labels_of_units_do_not_matter(case: Case, seed: int, gaps: float) -> None:
    panel = drawn(case, seed, gaps)
    names = np.random.default_rng(seed).permutation(panel.units)
    relabelled = simulated.ordered(replace(panel, units=names), np.argsort(names))
    same(answered(case, seed, gaps), case.answers(relabelled))


@every_case
@drawn_panels(shift=(-2989, 1017))
def test_the_start_of_time_does_not_matter(case: Case, seed: int, gaps: float, shift: int) -> None:
    panel = drawn(case, seed, gaps)
    dates = {"event": panel.first_treated["event"] + shift}
    moved = replace(panel, periods=panel.periods + shift, first_treated=dates)
    same(answered(case, seed, gaps), case.answers(moved))


def times(panel: Panel, factor: Any) -> Panel:
    """Return the panel with its outcome multiplied by something."""
    return replace(panel, outcomes={"y": factor * panel.outcomes["y"]})


@every_linear_case
@drawn_panels(factor=(7e3, -3e-4))
def test_effects_and_errors_have_the_units_of_the_outcome(
    case: Case, seed: int, gaps: float, factor: float
) -> None:
    panel = drawn(case, seed, gaps)
    scaled = times(panel, factor)
    same(answered(case, seed, gaps), case.answers(scaled), factor)


@every_poisson_case
@drawn_panels(factor=(7e3, 3e-4))
def test_proportional_effects_of_a_poisson_regression_have_no_units_and_level_effects_those_of_the_outcome(
    case: Case, seed: int, gaps: float, factor: float
) -> None:
    panel = drawn(case, seed, gaps)
    scaled = times(panel, factor)
    same(answered(case, seed, gaps), case.answers(scaled), factor)
    same(answered(case, seed, gaps, scale="proportional"), case.answers(scaled, scale="proportional"))


@pytest.mark.parametrize("factor", [1e-9, -1e6])
@pytest.mark.parametrize("case", [case for case in CASES if "covariates" in case.asks], ids=str)
def test_the_units_of_a_covariate_do_not_matter(case: Case, factor: float) -> None:
    panel = drawn(case, 0, 0.05)
    (name,) = case.asks["covariates"]
    scaled = dict(panel.covariates) | {name: factor * panel.covariates[name]}
    same(answered(case, 0, 0.05), case.answers(replace(panel, covariates=scaled)))


def of_cohorts_only(case: Case) -> bool:
    """Say whether a design has an effect for each cohort where others have one for each unit."""
    return case.options.get("effects") == "cohort"


@every_linear_case
@drawn_panels(size=(90.0, 0.2))
def test_constants_of_units_and_periods_drop_out(case: Case, seed: int, gaps: float, size: float) -> None:
    gaps = 0.0 if of_cohorts_only(case) else gaps
    panel, rng = drawn(case, seed, gaps), np.random.default_rng(seed)
    constants = size * (rng.normal(size=(50, 1)) + rng.normal(size=len(panel.periods)))
    moved = replace(panel, outcomes={"y": panel.outcomes["y"] + constants})
    same(answered(case, seed, gaps), case.answers(moved))


@pytest.mark.parametrize("case", [case for case in LINEAR if of_cohorts_only(case)], ids=str)
@pytest.mark.parametrize(("seed", "size"), [(0, 90.0), (41, 0.2)])
def test_with_gaps_and_cohort_effects_constants_of_cohorts_drop_out_and_those_of_units_do_not(
    case: Case, seed: int, size: float
) -> None:
    panel = drawn(case, seed, 0.05)
    rng = np.random.default_rng(seed)
    cohort = np.unique(np.nan_to_num(panel.first_treated["event"]), return_inverse=True)[1]
    constants = size * (rng.normal(size=4)[cohort][:, None] + rng.normal(size=len(panel.periods)))
    moved = replace(panel, outcomes={"y": panel.outcomes["y"] + constants})
    same(answered(case, seed, 0.05), case.answers(moved))
    of_units = replace(panel, outcomes={"y": panel.outcomes["y"] + size * rng.normal(size=(50, 1))})
    assert np.abs(case.answers(of_units)[0].effect - answered(case, seed, 0.05)[0].effect).max() > 1e-4 * size


@pytest.mark.parametrize("case", [case for case in POISSON if not of_cohorts_only(case)], ids=str)
@drawn_panels()
def test_factors_of_units_drop_out_of_a_poisson_regression_whose_weights_undo_them(
    case: Case, seed: int, gaps: float
) -> None:
    panel = drawn(case, seed, gaps)
    factor = np.random.default_rng(seed).uniform(0.2, 5.0, size=(50, 1))
    undone = dict(panel.covariates) | {"size": panel.covariates["size"] / factor}
    moved = replace(times(panel, factor), covariates=undone)
    ours, theirs = (
        estimate(p, Question("y", "event", scale="proportional", weights="size"), case.design, **case.options)
        for p in (panel, moved)
    )
    same([ours], [theirs])


@pytest.mark.parametrize(
    "case",
    [
        Case("etwfe", {"family": "poisson", "effects": "cohort"}),
        Case("etwfe", {"family": "poisson", "effects": "unit"}),
    ],
    ids=str,
)
@pytest.mark.parametrize("seed", [0, 41])
def test_factors_of_cohorts_and_periods_drop_out_of_a_saturated_poisson_regression_without_gaps(
    case: Case, seed: int
) -> None:
    panel = simulated.counts(simulated.panel(n=150, seed=seed, level=2.0), seed)
    rng = np.random.default_rng(seed)
    cohort = np.unique(np.nan_to_num(panel.first_treated["event"]), return_inverse=True)[1]
    factor = np.exp(rng.normal(size=4))[cohort][:, None] * np.exp(rng.normal(size=len(panel.periods)))
    question = Question("y", "event", scale="proportional", comparison="never_treated")
    if case.design == "poisson_twfe":
        question = question.replace(comparison="not_yet_treated")
    ours, theirs = (estimate(p, question, case.design, **case.options) for p in (panel, times(panel, factor)))
    if ours.contrast.sizes is None:
        same([ours], [theirs])
    # With unit effects a unit weighs as its total outcome in what leaving it out does, which the factors move the less
    # the more units there are: by a fifth at most with 50, by two hundredths with 150.
    same(*([fit.with_vcov("CR1_fixest")] for fit in (ours, theirs)))
    np.testing.assert_allclose(theirs.std_error, ours.std_error, rtol=0.05)


@every_case
@drawn_panels()
def test_a_panel_put_beside_its_copy_has_the_same_effects_and_errors_of_more_clusters(
    case: Case, seed: int, gaps: float
) -> None:
    panel = drawn(case, seed, gaps)
    twice = simulated.ordered(panel, np.repeat(np.arange(50), 2))
    twice = replace(twice, units=np.array([f"{u}{i % 2}" for i, u in enumerate(twice.units)]))
    plain, average, clustered, its_average = zip(answered(case, seed, gaps), case.answers(twice), strict=True)
    for (one, other), smaller in ((plain, 2), (average, 2), (clustered, 1), (its_average, 1)):
        size = np.nanmax(one.std_error)
        np.testing.assert_allclose(other.effect, one.effect, rtol=1e-9, atol=1e-9 * size)
        ours, theirs = one.covariance("CR0"), other.covariance("CR0")
        np.testing.assert_allclose(theirs * smaller, ours, rtol=1e-7, atol=1e-9 * size**2)
        np.testing.assert_array_equal(other.leave_out.clusters, smaller * one.leave_out.clusters)
        assert (other.n_obs, other.n_clusters) == (2 * one.n_obs, smaller * one.n_clusters)


@pytest.mark.parametrize("scale", ["level", "log1p", "proportional"])
@every_linear_case
def test_every_scale_has_finite_effects_and_errors(case: Case, scale: str) -> None:
    panel = simulated.panel(n=80, level=9.0)
    if scale == "proportional" and Supports.PROPORTIONAL not in find_design(case.design).supports:
        pytest.skip(f"{case.design} refuses it")
    for fit in case.answers(panel, scale=scale):
        assert np.isfinite(fit.effect).all()
        assert np.isfinite(fit.std_error[~fit.reference]).all()


@pytest.mark.parametrize("weights", [None, "size"])
@pytest.mark.parametrize(
    "case", [case for case in CASES if find_design(case.design).estimand.in_cells], ids=str
)
def test_averages_weigh_cohorts_by_their_treated_units(case: Case, weights: str | None) -> None:
    panel = drawn(case, 0, 0.0)
    first, size = panel.first_treated["event"], panel.covariates["size"][:, 0]
    weight = (size if weights else np.ones(50)) * ((size > 1.25) | ("group" not in case.asks))
    fit = estimate(panel, Question("y", "event", weights=weights, **case.asks), case.design, **case.options)
    events, cohorts = fit.aggregate("event"), fit.aggregate("cohort")
    for e, effect in zip(events.event_time, events.effect, strict=True):
        if e >= 0:
            here = fit.event_time == e
            share = [weight[first == g].sum() for g in fit.cohort[here]]
            assert effect == pytest.approx(np.average(fit.effect[here], weights=share), rel=1e-9)
    share = [weight[first == g].sum() for g in cohorts.cohort]
    average = fit.aggregate("cohort_average").effect[0]
    assert average == pytest.approx(np.average(cohorts.effect, weights=share), rel=1e-9)


def test_proportional_effects_are_the_effect_over_the_untreated_mean() -> None:
    panel = simulated.panel(n=150, level=9.0)
    level = estimate(panel, Question("y", "event"))
    share = estimate(panel, Question("y", "event", scale="proportional"))
    y, first = panel.outcomes["y"], panel.first_treated["event"]
    for g, t, effect, ratio in zip(level.cohort, level.period, level.effect, share.effect, strict=True):
        treated = y[first == g, int(t) - 1].mean()
        assert ratio == pytest.approx(effect / (treated - effect), abs=1e-12)


WINDOW: dict[str, Any] = {"before": None, "after": None}


IRM = {"treatment", "the change of y among treated units", "the change of y among untreated units"}


@pytest.mark.parametrize(
    ("design", "options", "words", "without", "limits"),
    [
        ("dml_did", {}, {"adoption", "the change of y among comparison units"}, "the mean", (0, 0.98)),
        ("dml_irm", {"effect": "ate", "before": 1, "after": 1}, IRM, "the mean", (0.02, 0.98)),
        ("dml_panel", {"approach": "within"}, {"treatment", "y"}, "unit and period effects", (0, 1)),
        ("dml_panel", {}, {"adoption", "the change of y"}, "its period's mean", (0, 1)),
        ("dml_stacked", WINDOW, {"adoption", "the change of y"}, "its stack's mean", (0, 0.98)),
    ],
)
def test_what_is_learned_is_told_in_words(
    design: str, options: dict[str, Any], words: set[str], without: str, limits: tuple[float, float]
) -> None:
    sample = ASKED.replace(covariates=("x1",)).sample(simulated.panel(n=60))
    learning = Learning("linear", folds=2, repetitions=1, seed=0, propensity="linear", trim=0.02)
    asked = find_design(design).nuisances(sample, learning, **options)
    assert {function.words for part in asked.parts for function in part.functions.values()} == words
    assert (asked.without, asked.limits) == (without, limits)


def test_a_design_that_takes_units_for_clusters_refuses_others() -> None:
    design = find_design("twfe")
    alone = replace(design, supports=tuple(set(design.supports) - {Supports.CLUSTERS}))
    panel = simulated.panel(n=60)
    assert alone.refusal(ASKED.sample(panel)) is None
    refusal = alone.refusal(ASKED.replace(cluster="state").sample(panel))
    assert refusal is not None
    assert refusal.startswith("twfe: it cannot answer a question with a cluster above the unit; ")


def test_designs_that_learn_and_no_others_say_what_they_learn() -> None:
    learn = {name for name in ALL_DESIGNS if find_design(name).nuisances is not None}
    assert learn == {name for name in ALL_DESIGNS if "learner" in find_design(name).options}


def test_heavy_libraries_wait_until_a_design_runs() -> None:
    heavy = "('doubleml', 'sklearn', 'lightgbm', 'linearmodels', 'pandas')"
    code = f"import sys, study; study.all_designs(); print([m for m in {heavy} if m in sys.modules])"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"


@pytest.mark.parametrize("design", ["dml_did", "dml_irm", "dml_panel", "dml_stacked"])
def test_learners_say_how_much_the_draws_of_the_folds_move_effects(design: str) -> None:
    options = {"learner": "linear", "folds": 2, "repetitions": 3}
    if "propensity" in find_design(design).learners:
        options["propensity"] = "linear"
    fit = estimate(simulated.panel(n=60), ASKED.replace(covariates=("x1",)), design, **options)
    (said,) = (note for note in fit.notes if "draws of the folds" in note)
    used = ~fit.reference
    spread = fit.of_draw[used].std(axis=1, ddof=1) / fit.with_vcov("CR0").std_error[used]
    most, deviation = f"{spread.max():.2f}", "has a standard deviation of"
    if design == "dml_did":
        share = f"{np.median(spread):.2f} CR0 standard errors in the median cell, of {most} in the one that moves most."
        expected = f"Over 3 draws of the folds an effect of one {deviation} {share}"
    elif design == "dml_stacked":
        where = f"(event {fit.event_time[used][spread.argmax()]:g})"
        expected = f"over 3 draws of the folds the effect of one {deviation} up to {most} CR0 standard errors {where}"
    else:
        median = f"doubleml's median of them, in y, is {np.median(fit.of_draw):.4g}."
        expected = f"Over 3 draws of the folds the coefficient of one {deviation} {most} CR0 standard errors; {median}"
    assert said == expected


def test_what_solving_leaves_of_a_mean_of_zero_divides_nothing() -> None:
    nan = np.nan
    y = [[nan, -1.0, 2, 2, 2], [nan, 2, -1, 2, 0], [nan, -1, 0, nan, 0], [nan, 0, 1, 2, 0]]
    size, first = [1.7, 0.5, 3.0, 0.5], [0, 5, 4, 5]
    rows = [(str(i), t + 1, y[i][t], first[i], size[i]) for i in range(4) for t in range(5)]
    table = pd.DataFrame(rows, columns=["unit", "period", "y", "event", "size"])
    panel = Panel.from_long(
        table, unit="unit", time="period", outcomes=["y"], first_treated="event", covariates=["size"]
    )
    question = Question(
        "y", "event", weights="size", comparison="never_treated", min_cohort_size=1, cohort_width=2
    )
    fit = estimate(panel, question.replace(scale="proportional"), "etwfe")
    assert abs(fit.untreated_mean[fit.period == 5][0]) < 1e-12  # and so is the effect: 0/0, and not -100%
    assert np.isnan(fit.effect).all()


def test_a_mean_that_is_zero_but_for_rounding_divides_nothing() -> None:
    panel = simulated.panel(n=60, level=9.0)
    fit = estimate(panel, Question("y", "event", scale="proportional"))
    mean = fit.untreated_mean * np.where(np.arange(len(fit.terms)) == 3, 1e-16, 1.0)
    assert np.flatnonzero(np.isnan(replace(fit, untreated_mean=mean).effect)).tolist() == [3]


def test_an_unknown_design_or_option_is_refused_with_the_nearest() -> None:
    panel, question = simulated.panel(n=30), Question("y", "event")
    with pytest.raises(
        QuestionError, match=r'no design "calaway_santana".*Did you mean "callaway_santanna"\?'
    ):
        estimate(panel, question, "calaway_santana")
    with pytest.raises(QuestionError, match=r'callaway_santanna: there is no option "metod".*"method"'):
        estimate(panel, question, metod="dr")
    with pytest.raises(
        QuestionError, match=r'callaway_santanna: there is no method "or".*Known: dr, ipw, reg'
    ):
        estimate(panel, question, method="or")
    with pytest.raises(QuestionError, match=r'event_study: there is no option "method"'):
        estimate(panel, question, "event_study", method="dr")


def switching(panel: Panel) -> Panel:
    path = np.zeros(panel.outcomes["y"].shape)
    path[:10, 2:4] = 1.0
    return replace(panel, first_treated={}, treatment={"grant": path})


def with_gaps(panel: Panel) -> Panel:
    y = panel.outcomes["y"].copy()
    y[::7, 3] = np.nan
    return replace(panel, outcomes={"y": y})


def gaps_for_all(panel: Panel) -> Panel:
    y = panel.outcomes["y"].copy()
    y[np.arange(len(y)), np.arange(len(y)) % 8] = np.nan
    return replace(panel, outcomes={"y": y})


def test_a_design_without_gaps_takes_the_units_that_have_none_and_says_so() -> None:
    panel = simulated.panel(n=60)
    found = estimate(with_gaps(panel), ASKED, "lee_wooldridge")
    whole = np.arange(60) % 7 != 0
    alone = estimate(simulated.subset(panel, whole), ASKED, "lee_wooldridge")
    np.testing.assert_allclose(found.effect, alone.effect, rtol=1e-12)
    np.testing.assert_allclose(found.std_error, alone.std_error, rtol=1e-12)
    assert found.notes[0].startswith("9 of 60 units have gaps and are left out")
    balanced = estimate(with_gaps(panel), ASKED.replace(missing="balanced"), "lee_wooldridge")
    np.testing.assert_allclose(found.effect, balanced.effect, rtol=1e-12)


ASKED = Question("y", "event")
UNSUITABLE: dict[str, tuple[Callable[[Panel], Panel], Question, str]] = {
    "is not absorbing": (switching, Question("y", "grant"), "an event that is not absorbing"),
    "never treated": (lambda p: p, ASKED.replace(comparison="never_treated"), 'comparison="never_treated"'),
    "varying base": (lambda p: p, ASKED.replace(base="varying"), 'base="varying"'),
    "cells": (lambda p: p, ASKED.replace(missing="cells"), 'missing="cells"'),
    "gaps": (gaps_for_all, ASKED, 'gaps in the outcome (missing="balanced" drops them)'),
    "covariates": (lambda p: p, ASKED.replace(covariates=("moving",)), "covariates"),
    "weights": (lambda p: p, ASKED.replace(weights="size"), "weights"),
    "clusters": (lambda p: p, ASKED.replace(cluster="state"), "a cluster above the unit"),
    "anticipation": (lambda p: p, ASKED.replace(anticipation=1), "anticipation above 0"),
    "proportional": (lambda p: p, ASKED.replace(scale="proportional"), 'scale="proportional"'),
    "group": (lambda p: p, ASKED.replace(group="size>1.25"), "a third difference (group)"),
    "instrument": (lambda p: p, ASKED.replace(instrument="moving"), "an instrument"),
    "balance": (lambda p: p, ASKED.replace(average="event_average", balance=1), "a balance of cohorts"),
}
ONCE = {"learner": "linear", "folds": 2, "repetitions": 1}
CHEAPLY: dict[str, dict[str, Any]] = {
    "dml_did": ONCE | {"propensity": "linear"},
    "dml_irm": ONCE | {"propensity": "linear"},
    "dml_panel": ONCE,
    "dml_stacked": ONCE | {"propensity": "linear"},
    "matrix_completion": {"penalty": 0.1},
    "stacked": {"before": 2, "after": 1},
    # Few units have quantiles outside the range of the comparison units, which then have no error.
    "changes_in_changes": {"quantiles": None},
}


@cache
def asked_of(name: str) -> tuple[Panel, Sample, list[str]]:
    """Return the panel and the sample of a question, and the designs that answer it."""
    change, question, _ = UNSUITABLE[name]
    panel = change(simulated.panel(n=60, level=9.0))
    sample = question.sample(panel)
    return panel, sample, [name for name, d in all_designs().items() if d.refusal(sample) is None]


@pytest.mark.parametrize("name", UNSUITABLE)
@pytest.mark.parametrize("design", ANSWERING)
def test_a_question_that_a_design_cannot_answer_is_refused_in_one_line_that_names_those_that_can(
    design: str, name: str
) -> None:
    _, question, said = UNSUITABLE[name]
    panel, sample, able = asked_of(name)
    refusal = find_design(design).refusal(sample)
    options = CHEAPLY.get(design, {})
    if refusal is None:
        fit = estimate(panel, question, design, **options)
        assert np.isfinite(fit.effect).all()
        assert np.isfinite(fit.std_error[~fit.reference]).all()
        return
    with pytest.raises(QuestionError) as error:
        estimate(panel, question, design, **options)
    assert str(error.value) == refusal
    assert refusal.startswith(f"{design}: it cannot answer a question with {said}; ")
    assert "\n" not in refusal
    assert able
    assert all(name in refusal for name in able)


@pytest.mark.parametrize("design", ["callaway_santanna", "etwfe", "lee_wooldridge"])
def test_a_covariate_that_others_explain_is_refused_by_the_name_of_the_design(design: str) -> None:
    panel = simulated.panel(n=60)
    panel = replace(panel, covariates=dict(panel.covariates) | {"twice": 2 * panel.covariates["x1"] + 1})
    with pytest.raises(QuestionError, match=f"^{design}: covariate twice is explained by the constant and"):
        estimate(panel, ASKED.replace(covariates=("x1", "twice")), design)


OF_ONE_REGRESSION = ("event_study", "panel_ols", "poisson_twfe", "twfe")


@pytest.mark.parametrize("design", ANSWERING)
def test_where_no_treated_unit_is_seen_before_treatment_the_design_refuses_by_its_name(design: str) -> None:
    panel = simulated.panel(n=60, level=9.0)
    before = panel.periods < np.nan_to_num(panel.first_treated["event"])[:, None]
    unseen = replace(panel, outcomes={"y": np.where(before, np.nan, panel.outcomes["y"])})
    with pytest.raises(QuestionError, match=f"^{design}: ") as error:
        estimate(unseen, ASKED, design, **CHEAPLY.get(design, {}))
    assert "\n" not in str(error.value)


# Their references' standard errors; and designs whose effects are against all periods before treatment, not one.
PUBLISHED = {
    "CR0": "callaway_santanna changes_in_changes dcdh dml_did dml_irm dml_panel dml_stacked imputation lee_wooldridge "
    "lp_did stacked",
    "CR1": "generalized_synthetic_control matrix_completion synthetic_did",
    "CR1_fixest": "etwfe event_study panel_ols poisson_twfe sun_abraham twfe",
}
AGAINST_ALL_BEFORE = {
    "generalized_synthetic_control",
    "imputation",
    "lee_wooldridge",
    "matrix_completion",
    "synthetic_did",
}


# Rows that do not stand for the 8 periods of 60 units: units, their changes, and units of each stack in its window.
COUNTED = {"dml_irm": 60, "dml_panel": 60 * 7, "stacked": 524}


@pytest.mark.parametrize("design", ANSWERING)
def test_a_design_is_listed_with_the_estimand_of_its_answers_which_name_their_convention_and_base(
    design: str,
) -> None:
    fit = estimate(simulated.panel(n=60, level=9.0), ASKED, design, **CHEAPLY.get(design, {}))
    assert find_design(design).estimand is fit.estimand
    assert design in PUBLISHED[fit.published].split()
    assert set(re.findall(r'"(CR\w+)"', find_design(design).function.__doc__)) <= {fit.published}
    assert np.isfinite(fit.with_vcov(fit.published).std_error[~fit.reference]).all()
    assert (fit.against == "all_before") == (design in AGAINST_ALL_BEFORE)
    assert (fit.design, fit.vcov) == (design, "jackknife")
    assert fit.n_obs == COUNTED.get(design, 60 * 8)


VARIANCE = {"variance": "sampling"}
LEARNERS = {"learner": "lasso", "propensity": "lasso"}
FOLDS = {"folds": 5, "repetitions": 10, "seed": 0}
DEFAULTS: dict[str, dict[str, Any]] = {
    "callaway_santanna": {"method": "dr"} | VARIANCE,
    "changes_in_changes": {"quantiles": (0.25, 0.5, 0.75)},
    "dcdh": {
        "placebos": None,
        "normalized": False,
        "switchers": "both",
        "same_switchers": False,
        "trends_nonparam": None,
    }
    | VARIANCE,
    "dml_did": LEARNERS | FOLDS | {"repetitions": 5, "trim": 0.01} | VARIANCE,
    "dml_irm": LEARNERS | FOLDS | {"effect": "att", "before": 1, "after": 1, "trim": 0.01},
    "dml_iv": LEARNERS | FOLDS | {"model": "iivm", "before": 1, "after": 1, "trim": 0.01},
    "dml_panel": {"approach": "first_differences", "learner": "lasso"} | FOLDS,
    "dml_stacked": LEARNERS | FOLDS | {"repetitions": 5, "trim": 0.01, "before": None, "after": None},
    "dose_response": {"curve": "levels", "form": "spline", "degree": 3, "knots": 0, "doses": None} | VARIANCE,
    "etwfe": {"family": "gaussian", "effects": "cohort"} | VARIANCE,
    "event_study": {"bin_at": None},
    "generalized_synthetic_control": {
        "factors": None,
        "inference": None,
        "replications": 500,
        "seed": None,
    },
    "heterogeneous_adoption": {"kernel": "epanechnikov", "dose": "current", "trends": "common"} | VARIANCE,
    "imputation": {"leads": None} | VARIANCE,
    "iv": {"method": "2sls", "stage": "structural"},
    "lee_wooldridge": {"transform": "demean"} | VARIANCE,
    "lp_did": {"weighting": "variance", "before": None, "after": None},
    "matrix_completion": {"penalty": None, "factors": None, "leads": 0},
    "panel_ols": {},
    "poisson_twfe": {"terms": "treatment"},
    "stacked": {"before": None, "after": None},
    "sun_abraham": VARIANCE,
    "synthetic_did": {
        "method": "synthetic_did",
        "solver": "exact",
        "leads": 0,
        "inference": None,
        "replications": 200,
        "seed": None,
    },
    "three_way": {},
    "triple_difference": {"method": "dr"},
    "twfe": {},
}


@pytest.mark.parametrize("name", ALL_DESIGNS)
def test_what_a_design_does_where_nobody_says_otherwise(name: str) -> None:
    assert find_design(name).options == DEFAULTS[name]


@pytest.mark.parametrize("name", UNSUITABLE)
def test_every_question_has_a_design_that_answers_it(name: str) -> None:
    assert {*asked_of(name)[2]} & {*ALL_DESIGNS}


def with_one_untreated(panel: Panel) -> Panel:
    first = panel.first_treated["event"].copy()
    first[np.flatnonzero(np.isnan(first))[1:]] = 4
    return replace(panel, first_treated={"event": first})


def unseen_once_treated(panel: Panel) -> Panel:
    since = panel.periods >= panel.first_treated["event"][:, None]
    return replace(panel, outcomes={"y": np.where(since, np.nan, panel.outcomes["y"])})


def with_a_constant(panel: Panel) -> Panel:
    return replace(panel, covariates={"one": np.ones(panel.outcomes["y"].shape)})


# What is found out after the sample is made, and which designs then refuse by their own name; of a regressor that says
# nothing some do by that of the regression.
TROUBLES: dict[str, tuple[Callable[[Panel], Panel], Question, str]] = {
    "one untreated unit": (with_one_untreated, ASKED, "dml_irm generalized_synthetic_control synthetic_did"),
    "no treated cell": (
        unseen_once_treated,
        ASKED,
        "dcdh dml_irm dml_panel etwfe generalized_synthetic_control imputation lee_wooldridge matrix_completion "
        "panel_ols poisson_twfe stacked synthetic_did twfe",
    ),
    "a constant covariate": (
        with_a_constant,
        ASKED.replace(covariates=("one",)),
        "callaway_santanna changes_in_changes dcdh etwfe event_study generalized_synthetic_control imputation "
        "lee_wooldridge lp_did matrix_completion panel_ols poisson_twfe stacked sun_abraham synthetic_did twfe",
    ),
}


@pytest.mark.parametrize("name", TROUBLES)
@pytest.mark.parametrize("design", ANSWERING)
def test_what_a_design_cannot_estimate_it_refuses_by_its_own_name(design: str, name: str) -> None:
    change, question, refusing = TROUBLES[name]
    panel = change(simulated.panel(n=40, level=9.0))
    said = ""
    try:
        estimate(panel, question, design, **CHEAPLY.get(design, {}))
    except QuestionError as error:
        said = str(error)
    assert said.startswith(f"{design}: ") == (design in refusing.split())
    assert said.startswith(f"{design}: ") or not said
    assert "\n" not in said


SEARCHING = ["changes_in_changes", "generalized_synthetic_control", "matrix_completion", "synthetic_did"]
PREDICTING = "generalized_synthetic_control, imputation, matrix_completion, synthetic_did"


def test_the_catalogue_knows_which_designs_learn_search_and_predict() -> None:
    own = {name: find_design(name) for name in ALL_DESIGNS}
    assert [name for name, each in own.items() if each.draws] == [*OF_LEARNERS]
    assert {name for name, each in own.items() if not each.closed_form} == {*OF_LEARNERS, *SEARCHING}
    assert {name: each.learners for name, each in own.items() if each.learners} == {
        name: ("learner",) if name == "dml_panel" else ("learner", "propensity") for name in OF_LEARNERS
    }
    assert ", ".join(name for name, each in own.items() if each.predictor) == PREDICTING
    assert {name for name, each in own.items() if each.assigned} == {
        "callaway_santanna",
        "event_study",
        "twfe",
    }


def test_a_seed_is_added_where_a_design_draws_and_none_is_given() -> None:
    assert find_design("dml_did").seeded({"folds": 2}, 7) == {"seed": 7, "folds": 2}
    assert find_design("dml_did").seeded({"seed": 3}, 7) == {"seed": 3}
    assert find_design("twfe").seeded({}, 7) == find_design("synthetic_did").seeded({}, 7) == {}


def test_a_design_that_predicts_no_single_unit_names_those_that_do() -> None:
    sample = ASKED.sample(simulated.panel(n=30))
    with pytest.raises(QuestionError) as refused:
        find_design("twfe").predicts("conformal", sample, {})
    said = f"conformal: twfe does not predict untreated outcomes of single units; {PREDICTING} do."
    assert str(refused.value) == said


@pytest.mark.parametrize(
    ("design", "option", "least"),
    [
        ("stacked", "before", 1),
        ("stacked", "after", 0),
        ("lp_did", "before", 1),
        ("lp_did", "after", 0),
        ("event_study", "bin_at", 1),
        ("dcdh", "placebos", 0),
    ],
)
def test_a_number_of_periods_may_be_as_low_as_it_can_mean_something_and_no_lower(
    design: str, option: str, least: int
) -> None:
    panel = simulated.panel(n=60)
    assert np.isfinite(estimate(panel, ASKED, design, **{option: least}).effect).all()
    with pytest.raises(
        QuestionError,
        match=f"^{design}: {option} is {least - 1}; it must be a whole number, at least {least}\\.$",
    ):
        estimate(panel, ASKED, design, **{option: least - 1})


def test_an_empty_list_is_no_option_and_what_is_asked_is_none_either() -> None:
    panel = simulated.panel(n=60)
    with pytest.raises(
        QuestionError, match=r"^changes_in_changes: quantiles is empty; name some, or leave it"
    ):
        estimate(panel, ASKED, "changes_in_changes", quantiles=())
    with pytest.raises(
        QuestionError,
        match=r"^twfe: anticipation is part of what is asked and no option; say it with Question\(",
    ):
        estimate(panel, ASKED, "twfe", anticipation=1)


@every_poisson_case
def test_a_poisson_regression_refuses_a_logarithmic_scale_and_an_outcome_below_zero(case: Case) -> None:
    panel = simulated.counts(simulated.panel(n=60))
    with pytest.raises(QuestionError, match=rf'^{case.design}: .* in levels; use scale="proportional" or'):
        case.answers(panel, scale="log1p")
    y = panel.outcomes["y"].copy()
    y[3, 2] = -1.0
    with pytest.raises(
        QuestionError, match=rf"^{case.design}: .* but y is -1 for \(u0003, 3\); use a linear"
    ):
        case.answers(replace(panel, outcomes={"y": y}))


def test_callaway_santanna_refuses_a_treatment_that_switches_off() -> None:
    with pytest.raises(QuestionError, match=r"callaway_santanna: .* an event that is not absorbing; .*twfe"):
        estimate(switching(simulated.panel(n=40)), Question("y", "grant"))
