"""What holds for every design: its invariances, and what it refuses in one line."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import simulated
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from study import Estimate, Panel, Question, QuestionError, all_designs, estimate
from study.designs import find_design

DESIGNS = ("twfe", "event_study", "callaway_santanna")
QUICK = settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.too_slow])
QUESTIONS = (
    Question("y", "event"),
    Question("y", "event", base="universal", cluster="state", weights="size"),
)


def answers(panel: Panel, design: str) -> list[Estimate]:
    return [estimate(panel, question, design) for question in QUESTIONS]


def same(ours: list[Estimate], theirs: list[Estimate], factor: float = 1.0, of_error: float = 1.0) -> None:
    """Hold effects and errors to each other, up to a factor."""
    for one, other in zip(ours, theirs, strict=True):
        size = np.nanmax(one.std_error) * abs(factor)
        np.testing.assert_allclose(other.effect, factor * one.effect, rtol=1e-9, atol=1e-9 * size)
        np.testing.assert_allclose(other.std_error, abs(factor) * of_error * one.std_error, rtol=1e-8)


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
        covariates=["size"],
        attributes="state",
    )


@pytest.mark.parametrize("design", DESIGNS)
@given(seed=st.integers(0, 2**32 - 1))
@QUICK
def test_the_order_of_rows_does_not_matter(design: str, seed: int) -> None:
    table = long(simulated.panel(n=50, seed=seed % 97, gaps=0.05))
    same(
        answers(from_long(table), design), answers(from_long(table.sample(frac=1, random_state=seed)), design)
    )


@pytest.mark.parametrize("design", DESIGNS)
@given(seed=st.integers(0, 2**32 - 1))
@QUICK
def test_the_labels_of_units_do_not_matter(design: str, seed: int) -> None:
    panel = simulated.panel(n=50, seed=seed % 97, gaps=0.05)
    names = np.random.default_rng(seed).permutation(panel.units)
    relabelled = simulated.ordered(replace(panel, units=names), np.argsort(names))
    same(answers(panel, design), answers(relabelled, design))


@pytest.mark.parametrize("design", DESIGNS)
@given(seed=st.integers(0, 96), shift=st.integers(-3000, 3000))
@QUICK
def test_the_start_of_time_does_not_matter(design: str, seed: int, shift: int) -> None:
    panel = simulated.panel(n=50, seed=seed, gaps=0.05)
    dates = {"event": panel.first_treated["event"] + shift}
    moved = replace(panel, periods=panel.periods + shift, first_treated=dates)
    same(answers(panel, design), answers(moved, design))


@pytest.mark.parametrize("design", DESIGNS)
@given(seed=st.integers(0, 96), factor=st.floats(1e-4, 1e4) | st.floats(-1e4, -1e-4))
@QUICK
def test_effects_and_errors_have_the_units_of_the_outcome(design: str, seed: int, factor: float) -> None:
    panel = simulated.panel(n=50, seed=seed, gaps=0.05)
    scaled = replace(panel, outcomes={"y": factor * panel.outcomes["y"]})
    same(answers(panel, design), answers(scaled, design), factor)


@pytest.mark.parametrize("design", DESIGNS)
@given(seed=st.integers(0, 96), size=st.floats(0.1, 100))
@QUICK
def test_constants_of_units_and_periods_drop_out(design: str, seed: int, size: float) -> None:
    panel = simulated.panel(n=50, seed=seed, gaps=0.05)
    rng = np.random.default_rng(seed)
    constants = size * (rng.normal(size=(50, 1)) + rng.normal(size=len(panel.periods)))
    same(
        answers(panel, design),
        answers(replace(panel, outcomes={"y": panel.outcomes["y"] + constants}), design),
    )


@pytest.mark.parametrize("design", ["callaway_santanna"])
@given(seed=st.integers(0, 96))
@QUICK
def test_a_panel_put_beside_its_copy_has_the_same_effects_and_smaller_errors(design: str, seed: int) -> None:
    panel = simulated.panel(n=50, seed=seed, gaps=0.05)
    twice = simulated.ordered(panel, np.repeat(np.arange(50), 2))
    twice = replace(twice, units=np.array([f"{u}{i % 2}" for i, u in enumerate(twice.units)]))
    question = QUESTIONS[0]
    same([estimate(panel, question, design)], [estimate(twice, question, design)], of_error=1 / np.sqrt(2))


@pytest.mark.parametrize("scale", ["level", "log1p", "proportional"])
@pytest.mark.parametrize("design", DESIGNS)
def test_every_scale_has_finite_effects_and_errors(design: str, scale: str) -> None:
    panel = simulated.panel(n=80, level=9.0)
    fit = estimate(panel, Question("y", "event", scale=scale), design)
    assert np.isfinite(fit.effect).all()
    assert np.isfinite(fit.std_error[~fit.reference]).all()


def test_proportional_effects_are_the_effect_over_the_untreated_mean() -> None:
    panel = simulated.panel(n=150, level=9.0)
    level = estimate(panel, Question("y", "event"))
    share = estimate(panel, Question("y", "event", scale="proportional"))
    y, first = panel.outcomes["y"], panel.first_treated["event"]
    for g, t, effect, ratio in zip(level.cohort, level.period, level.effect, share.effect, strict=True):
        treated = y[first == g, int(t) - 1].mean()
        assert ratio == pytest.approx(effect / (treated - effect), abs=1e-12)


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


UNSUITABLE: dict[str, tuple[Callable[[Panel], Panel], Question, str]] = {
    "switches off": (switching, Question("y", "grant"), "an event that switches off"),
    "never treated": (
        lambda p: p,
        Question("y", "event", comparison="never_treated"),
        'comparison="never_treated"',
    ),
    "varying base": (lambda p: p, Question("y", "event", base="varying"), 'base="varying"'),
    "cells": (lambda p: p, Question("y", "event", missing="cells"), 'missing="cells"'),
}


@pytest.mark.parametrize("case", UNSUITABLE)
@pytest.mark.parametrize("design", DESIGNS)
def test_a_question_that_a_design_cannot_answer_is_refused_in_one_line_that_names_those_that_can(
    design: str, case: str
) -> None:
    change, question, said = UNSUITABLE[case]
    panel = change(simulated.panel(n=60))
    sample = question.sample(panel)
    refusal = find_design(design).refusal(sample)
    if refusal is None:
        assert np.isfinite(estimate(panel, question, design).effect).all()
        return
    able = [name for name, d in all_designs().items() if d.refusal(sample) is None]
    with pytest.raises(QuestionError) as error:
        estimate(panel, question, design)
    assert str(error.value) == refusal
    assert said in refusal
    assert "\n" not in refusal
    assert able
    assert all(name in refusal for name in able)


def test_callaway_santanna_refuses_a_treatment_that_switches_off() -> None:
    with pytest.raises(QuestionError, match=r"callaway_santanna: .* an event that switches off; .*twfe"):
        estimate(switching(simulated.panel(n=40)), Question("y", "grant"))
