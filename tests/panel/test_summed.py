"""Rows that stand for many units: designs make of them what they make of the units."""

from __future__ import annotations

import warnings
from dataclasses import replace
from functools import cache

import drawn_panels
import goldens
import numpy as np
import pandas as pd
import pytest
from added_up import DESIGNS, added_up
from hypothesis import given
from searching import examples
from simulated import panel as simulated

import study
from study import Question, all_designs
from study.diagnostics import all_diagnostics
from study.estimates import pre_test, smallest_effect
from study.estimates.few_clusters import effective_clusters

TOLERANCE = 1e-9


@cache
def panels(gaps: bool):
    panel = simulated(240, seed=3, level=5.0)
    y = panel.outcomes["y"].copy()
    if gaps:
        rng = np.random.default_rng(1)
        patterns = np.ones((4, y.shape[1]), dtype=bool)
        patterns[1, 0] = patterns[2, 4] = patterns[3, 6:] = False
        y[~patterns[rng.integers(0, 4, len(y))]] = np.nan
    size = np.random.default_rng(2).choice([0.5, 1.0, 3.0], len(y))[:, None] * np.ones(y.shape[1])
    binary = np.random.default_rng(4).integers(0, 2, len(y))[:, None] * np.ones(y.shape[1])
    return replace(
        panel, outcomes={"y": np.exp(y / 4)}, covariates=panel.covariates | {"size": size, "binary": binary}
    )


def same(ours: study.Estimate, theirs: study.Estimate) -> None:
    """Compare to 1e-9 of the number or of its standard error, degrees of freedom to 1e-6 of their number."""
    assert ours.terms == theirs.terms
    errors, rounding = np.nan_to_num(theirs.std_error), 1e-13 * np.nanmax(np.abs(theirs.sample.y))
    for name in ("effect", "std_error"):
        a, b = getattr(ours, name), getattr(theirs, name)
        assert np.array_equal(np.isnan(a), np.isnan(b))
        assert np.all(
            np.nan_to_num(np.abs(a - b))
            <= TOLERANCE * np.maximum(np.abs(np.nan_to_num(b)), errors) + rounding
        )
    varies = np.isfinite(theirs.std_error)
    np.testing.assert_allclose(ours.degrees_of_freedom[varies], theirs.degrees_of_freedom[varies], rtol=1e-6)
    for name in ("n_obs", "n_clusters", "df_k", "n_fixed_effects"):
        assert getattr(ours, name) == getattr(theirs, name)
    assert ours.sample.n_units == theirs.sample.n_units


QUESTIONS = {
    "plain": {},
    "log1p": {"scale": "log1p"},
    "proportional": {"scale": "proportional"},
    "weights": {"weights": "size"},
    "clusters": {"cluster": "state"},
    "anticipation": {"anticipation": 1, "lag": -1},
    "never": {"comparison": "never_treated"},
    "balanced": {"missing": "balanced"},
}


@cache
def asked_of(asked: str, gaps: bool):
    """Return a question, the units that it is about, and the rows that stand for them."""
    question = Question("y", "event", **QUESTIONS[asked])
    return question, panels(gaps), added_up(panels(gaps), question)


@pytest.mark.parametrize("gaps", [False, True])
@pytest.mark.parametrize("asked", QUESTIONS)
@pytest.mark.parametrize("design", DESIGNS)
def test_designs_answer_from_sums(design, asked, gaps):
    question, panel, rows = asked_of(asked, gaps)
    assert rows.n_rows < panel.n_units or question.cluster or gaps
    refusal = all_designs()[design].refusal(question.sample(panel))
    if refusal is not None:
        assert all_designs()[design].refusal(question.sample(rows)) == refusal
        return
    theirs, ours = study.estimate(panel, question, design), study.estimate(rows, question, design)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        same(ours, theirs)
        same(ours.headline, theirs.headline)
        if theirs.estimand.has_path:
            same(ours.by_event_time, theirs.by_event_time)
    assert ours.sample.flow == theirs.sample.flow
    assert ours.notes == theirs.notes


def test_bands_tests_and_power_follow_from_the_covariance():
    panel, question = panels(True), Question("y", "event", average="event_average", horizon=3)
    fits = [study.estimate(p, question) for p in (added_up(panel, question), panel)]
    ours, theirs = (fit.by_event_time for fit in fits)
    pd.testing.assert_frame_equal(ours.band(), theirs.band(), rtol=1e-8)
    pd.testing.assert_frame_equal(fits[0].headline.tidy(), fits[1].headline.tidy(), rtol=1e-8)
    assert ours.test(ours.pre) == pytest.approx(theirs.test(theirs.pre), rel=1e-8)
    assert pre_test(ours) == pytest.approx(pre_test(theirs), rel=1e-8)
    np.testing.assert_allclose(
        smallest_effect(fits[0].headline).units, smallest_effect(fits[1].headline).units
    )
    np.testing.assert_allclose(effective_clusters(fits[0]), effective_clusters(fits[1]), rtol=1e-8)
    for vcov in ("pooled", "CR1", "CR1_fixest", "CR1_areg"):
        same(fits[0].with_vcov(vcov), fits[1].with_vcov(vcov))


@pytest.mark.parametrize("asked", [{}, {"cluster": "state"}, {"weights": "size"}])
def test_designs_agree_as_much(asked):
    panel, question = panels(True), Question("y", "event", **asked)
    ours, theirs = (study.compare(p, question, list(DESIGNS)) for p in (added_up(panel, question), panel))
    pd.testing.assert_frame_equal(ours.tidy(), theirs.tidy(), rtol=1e-8)
    pd.testing.assert_frame_equal(ours.differences(), theirs.differences(), rtol=1e-6)
    assert ours.notes == theirs.notes


FROM_SUMS = {
    "contamination_weights": "event_study",
    "goodman_bacon": "twfe",
    "negative_weights": "twfe",
    "leads": "callaway_santanna",
    "pretrends": "callaway_santanna",
    "honest_relative_magnitudes": "callaway_santanna",
    "honest_smoothness": "callaway_santanna",
}


@pytest.mark.parametrize("name", FROM_SUMS)
def test_diagnostics_find_the_same(name):
    panel, question = panels(False), Question("y", "event", average="event_average", horizon=2)
    found = []
    for p in (added_up(panel, question), panel):
        fit = study.estimate(p, question, FROM_SUMS[name])
        known = {"sample": fit.sample, "fit": fit, "estimate": fit}
        found.append(all_diagnostics()[name](known, {}))
    pd.testing.assert_frame_equal(found[0].frame, found[1].frame, rtol=1e-6, atol=1e-9)
    assert found[0].sentences == found[1].sentences


@pytest.fixture
def summed():
    return Question("y", "event").sample(added_up(panels(False), Question("y", "event")))


@pytest.mark.parametrize("name", sorted(set(all_designs()) - set(DESIGNS)))
def test_what_needs_the_rows_says_so(name, summed):
    with pytest.raises(study.QuestionError, match="larger than memory"):
        all_designs()[name](summed)


def test_inference_that_needs_the_rows_says_so(summed, tmp_path):
    calls = [
        study.randomization,
        study.few_treated,
        study.leave_one_cluster_out,
        study.wild_bootstrap,
        study.cr3,
        study.conformal,
        study.cross_fitted_t,
    ]
    for call in calls:
        with pytest.raises(study.QuestionError, match="needs the rows of single units"):
            call(summed, "twfe")
    fit = study.designs.find_design("twfe")(summed)
    for refused in (lambda: fit.save(tmp_path / "fit.npz"), lambda: fit.band(weights="webb")):
        with pytest.raises(study.QuestionError, match="needs the rows of single units"):
            refused()
    with pytest.raises(study.QuestionError, match="needs the rows of single units"):
        study.heterogeneity.score(summed)


@pytest.mark.parametrize("method", ["dr", "ipw", "reg"])
def test_covariates_of_few_values(method):
    panel, question = (
        panels(False),
        Question("y", "event", covariates=("binary", "state=s01|s02|s03|s04|s05")),
    )
    same(
        study.estimate(added_up(panel, question), question, method=method).headline,
        study.estimate(panel, question, method=method).headline,
    )


@pytest.mark.parametrize("asked", [{}, {"cluster": "state"}, {"weights": "size"}, {"scale": "proportional"}])
def test_regression_adjustment_by_products_of_covariates(asked):
    panel, question = panels(False), Question("y", "event", covariates=("x1", "x2"), **asked)
    rows = added_up(panel, question, products=True)
    ours, theirs = (study.estimate(p, question, method="reg") for p in (rows, panel))
    same(ours, theirs)
    same(ours.headline, theirs.headline)
    for design, options in {"callaway_santanna": {}, "etwfe": {}}.items():
        with pytest.raises(study.QuestionError, match="x1, x2 take too many values to tell units"):
            study.estimate(rows, question, design, **options)
    with pytest.raises(study.QuestionError, match="explained by the fixed effects"):
        study.estimate(rows, question, "twfe")


def same_or_refused(panel, question, design):
    """Compare the answers from sums and from units, and return them; nothing where both are the same refusal."""
    answers = []
    for each in (added_up(panel, question), panel):
        try:
            answers.append(study.estimate(each, question, design))
        except study.QuestionError as refusal:
            answers.append(str(refusal))
    if isinstance(answers[1], str):
        assert answers[0] == answers[1]
        return []
    same(*answers)
    return answers


@pytest.mark.parametrize("asked", [{}, {"scale": "log1p"}, {"comparison": "never_treated"}])
@pytest.mark.parametrize("name", goldens.PANELS)
@pytest.mark.parametrize("design", DESIGNS)
def test_golden_panels(design, name, asked):
    panel = goldens.panel(name)
    outcome = "count" if asked.get("scale") and "count" in panel.outcomes else "y"
    question = Question(outcome, next(iter(panel.events)), min_cohort_size=1, **asked)
    if "scale" in asked and np.nanmin(panel.outcomes[outcome]) <= -1:
        pytest.skip(f"{outcome} of {name} has no logarithm")
    same_or_refused(panel, question, design)


@pytest.mark.parametrize("design", DESIGNS)
def test_random_panels(design):
    """Every pattern of gaps, small cohorts, weights, clusters and covariance estimators; without ties."""
    without = {"COVARIATES", "SWITCHING", "LEVELS", "INSTRUMENT", "DOSE", "GROUP", "REPEATED_CELLS"}
    supports = frozenset(trait.name for trait in all_designs()[design].supports) - without

    @examples(60, 3000)
    @given(drawn_panels.asked(supports))
    def equal(drawn):
        y = drawn.panel.outcomes["y"]
        panel = replace(drawn.panel, outcomes={"y": y + np.random.default_rng(0).uniform(0, 0.1, y.shape)})
        answers = same_or_refused(panel, drawn.question, design)
        for vcov in ("CR0", "pooled") if answers and answers[1].n_clusters > 1 else ():
            same(*(answer.with_vcov(vcov) for answer in answers))

    equal()
