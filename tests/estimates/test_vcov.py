"""Covariance estimators by the word ``vcov``."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import simulated
from scipy import linalg

import study
from study import QuestionError
from study.designs import all_designs
from study.estimates import WORDS
from study.inference import Comparison

QUESTION = study.Question("y", "event")
PANEL = simulated.panel(n=60)


def states(panel: study.Panel, **fields: Any) -> study.Estimate:
    return study.estimate(panel, QUESTION.replace(cluster="state"), "twfe", **fields)


@pytest.mark.parametrize("word", WORDS)
def test_an_estimate_has_the_standard_errors_that_it_is_asked_for(word: str) -> None:
    fit = study.estimate(PANEL, QUESTION, "twfe", vcov=word)
    assert fit.vcov == word
    assert fit.std_error == fit.with_vcov(word).std_error
    assert fit.glance()["vcov"].item() == word
    assert study.estimate(PANEL, QUESTION, "twfe", vcov=word.upper()).vcov == word


def test_a_column_of_clusters_is_named_as_in_pyfixest() -> None:
    by_column = study.estimate(PANEL, QUESTION, "twfe", vcov={"CRV1": "state"})
    assert by_column.std_error == states(PANEL, vcov="CR1_fixest").std_error
    left_out = study.estimate(PANEL, QUESTION, "twfe", vcov={"CRV3": "state"})
    assert left_out.std_error == states(PANEL).std_error
    assert states(PANEL, vcov={"CRV1": "state"}).std_error == by_column.std_error
    compared = study.compare(PANEL, QUESTION, ["twfe", "imputation"], vcov={"CRV1": "state"})
    assert compared.estimates["y", "twfe"].std_error == by_column.std_error


def test_every_function_that_estimates_or_shows_takes_the_word() -> None:
    fit, cr1 = (study.estimate(PANEL, QUESTION, vcov=word) for word in ("jackknife", "CR1"))
    compared = study.compare(PANEL, QUESTION, ["callaway_santanna"], vcov="CR1")
    assert compared.estimates["y", "callaway_santanna"].std_error == cr1.headline.std_error
    table = pd.DataFrame(
        {"unit": np.repeat(PANEL.units, 8), "time": np.tile(PANEL.periods, 60)}
        | {"y": PANEL.outcomes["y"].ravel(), "event": np.repeat(PANEL.first_treated["event"], 8)}
    )
    one = study.did("y ~ 1 | unit + time", table, first_treated="event", vcov="CR1")
    assert one.headline.std_error == pytest.approx(cr1.headline.std_error, rel=1e-12)
    assert str(study.table(fit, vcov="CR1")) == str(study.table(cr1))
    bars = [
        figure.axes[0].collections[-1].get_segments()
        for figure in (study.event_plot(fit, vcov="CR1"), study.event_plot(cr1))
    ]
    for ours, theirs in zip(*bars, strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_degrees_of_freedom_of_bell_and_mccaffrey_do_not_depend_on_outcomes() -> None:
    other = replace(
        PANEL, outcomes={"y": simulated.panel(n=60, seed=9).outcomes["y"] * np.arange(1, 61)[:, None]}
    )
    for design in ("callaway_santanna", "twfe", "event_study", "imputation"):
        fits = [study.estimate(each, QUESTION, design, vcov="bell_mccaffrey") for each in (PANEL, other)]
        np.testing.assert_allclose(*(fit.degrees_of_freedom for fit in fits), rtol=1e-9)
        default = [study.estimate(each, QUESTION, design) for each in (PANEL, other)]
        assert np.nanmax(np.abs(default[0].degrees_of_freedom - default[1].degrees_of_freedom)) > 1
        np.testing.assert_array_equal(fits[0].std_error, default[0].std_error)


def quadratic_degrees(shares: list[np.ndarray]) -> float:
    """Return (tr B)^2 / tr B^2 of the leave-one-out variance of a contrast of means with given shares of clusters."""
    forms = []
    for h in shares:
        deviation = np.eye(len(h)) - np.outer(np.ones(len(h)), h)
        forms.append(deviation.T @ np.diag((h / (1 - h)) ** 2) @ deviation)
    form = linalg.block_diag(*forms)
    return float(np.trace(form) ** 2 / np.trace(form @ form))


def test_they_are_those_of_the_quadratic_form_of_clusters_of_any_size() -> None:
    first = np.where(np.arange(60) % 17 < 7, 5.0, np.nan)
    panel = replace(PANEL, first_treated={"event": first})
    cluster = np.arange(60) % 17
    sizes = [np.bincount(cluster[side])[np.unique(cluster[side])] for side in (first == 5, np.isnan(first))]
    expected = quadratic_degrees([size / size.sum() for size in sizes])
    fit = states(panel, vcov="bell_mccaffrey")
    assert fit.degrees_of_freedom == pytest.approx(expected, rel=1e-9)


def test_with_one_treated_unit_they_are_those_of_the_comparison_units() -> None:
    first = np.where(np.arange(60) == 3, 5.0, np.nan)
    panel = replace(PANEL, first_treated={"event": first})
    fit = study.estimate(panel, QUESTION, "callaway_santanna", vcov="bell_mccaffrey")
    assert fit.degrees_of_freedom[fit.event_time >= 0] == pytest.approx(58, rel=1e-9)


FIT = study.estimate(PANEL, QUESTION, "twfe")
COMPARED: Comparison = study.compare(PANEL, QUESTION, ["twfe"])


def ask(vcov: Any = "jackknife", design: str = "twfe", **options: Any) -> Callable[[], Any]:
    return lambda: study.estimate(PANEL, QUESTION, design, vcov=vcov, **options)


WRONG = [
    (ask("iid"), 'vcov="iid" assumes that the periods of one unit are independent'),
    (ask("hetero"), 'vcov="hetero" assumes that the periods of one unit are independent'),
    (ask("HC1"), 'vcov="HC1" assumes that the periods of one unit are independent'),
    (ask("hc3"), 'vcov="hc3" assumes that the periods of one unit are independent'),
    (ask("robust"), 'vcov="robust" assumes that the periods of one unit are independent'),
    (ask("unadjusted", "callaway_santanna"), 'callaway_santanna: vcov="unadjusted" assumes'),
    (ask("cluster"), 'vcov="cluster" is called "CR1" here'),
    (ask("CRV1"), 'vcov="CRV1" is called "CR1_fixest" here'),
    (ask("CR3"), 'vcov="CR3" is called "jackknife" here'),
    (ask("CR2"), 'vcov="CR2" is called "bell_mccaffrey" here'),
    (ask("twoway"), 'there is no vcov "twoway"'),
    (ask("jacknife"), 'there is no vcov "jacknife". Did you mean "jackknife"?'),
    (ask(""), 'there is no vcov ""'),
    (ask(None), "vcov is None"),
    (ask(1), "vcov is 1"),
    (ask(["CR1"]), "vcov is"),
    (ask({}), "vcov has 0 entries"),
    (ask({"CRV1": "state", "CRV3": "state"}), "vcov has 2 entries"),
    (ask({"HC1": "state"}), "vcov has clusters for 'HC1'"),
    (ask({"CRV1": ""}), "vcov clusters by ''"),
    (ask({"CRV1": ["state", "unit"]}), "vcov is {'CRV1': ['state', 'unit']}"),
    (ask({"CRV1": "country"}), "country"),
    (lambda: states(PANEL, vcov={"CRV1": "region"}), "vcov clusters by region and Question by state"),
    (ask(se="robust"), "se= is not an argument here; standard errors are chosen by vcov="),
    (ask(errors="CR1"), "errors= is not an argument here"),
    (ask(cov_type="clustered"), "cov_type= is not an argument here"),
    (ask(robust=True), "robust= is not an argument here"),
    (ask(cluster="state"), 'say it with Question(cluster=...) or vcov={"CRV1": "state"}'),
    (ask(vce="cluster state"), "vce= is not an argument here"),
    (lambda: FIT.with_vcov({"CRV1": "state"}), "an estimate keeps its clusters"),
    (lambda: FIT.covariance("HC1"), 'vcov="HC1" assumes'),
    (lambda: FIT.test(vcov="CR9"), 'there is no vcov "CR9"'),
    (lambda: study.table(FIT, vcov="iid"), 'vcov="iid" assumes'),
    (lambda: study.table(COMPARED, vcov="CR1"), "a comparison has the vcov of study.compare"),
    (lambda: study.compare(PANEL, QUESTION, ["twfe"], vcov="iid"), 'vcov="iid" assumes'),
    (lambda: study.event_plot(FIT, vcov="CR7"), 'there is no vcov "CR7"'),
]


@pytest.mark.parametrize(("asked", "said"), WRONG, ids=[said for _, said in WRONG])
def test_a_wrong_word_is_refused_in_one_line_before_any_work(
    asked: Callable[[], Any], said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for design in ("twfe", "callaway_santanna"):
        monkeypatch.setattr(type(all_designs()[design]), "__call__", None)
    with pytest.raises(QuestionError) as refusal:
        asked()
    assert said in str(refusal.value)
    assert "\n" not in str(refusal.value)
