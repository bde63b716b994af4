"""Joint tests of effects before treatment: what they equal, what does not move them, how often they reject."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import simulated
from interval_coverage import CASES, Setting, answers

from study import Question, estimate, joint
from study.core.distributions import two_sided_p
from study.estimates.effect import NONE, pre_test

QUESTION = Question("y", "event", min_cohort_size=1)
PANEL = simulated.panel(n=80)


@pytest.fixture(scope="module")
def path():
    return estimate(PANEL, QUESTION, "callaway_santanna").aggregate("event")


def test_the_wald_test_is_that_of_the_estimate(path):
    wald = path.test(path.pre)
    found = pre_test(path, draws=99)
    assert (found.p_value, found.rank) == (wald.p_value, wald.rank)


def test_of_one_effect_the_largest_t_is_its_t(path):
    last = path.event_time[path.pre & ~path.reference].max()
    found = pre_test(path, since=last, draws=99_999)
    k = int(np.flatnonzero(path.event_time == last)[0])
    assert found.rank == 1
    p_value = two_sided_p(path.effect[k] / path.std_error[k], path.degrees_of_freedom[k])
    assert found.p_largest == pytest.approx(p_value, abs=0.02)
    assert found.p_value == pytest.approx(p_value, rel=1e-9)


def test_fewer_effects_are_tested_from_a_later_event_time(path):
    assert pre_test(path, since=-2, draws=99).rank < pre_test(path, draws=99).rank


def test_the_scale_of_the_outcome_and_the_names_of_units_do_not_matter(path):
    scaled = simulated.panel(n=80)
    scaled.outcomes["y"][:] *= 10
    other = pre_test(estimate(scaled, QUESTION, "callaway_santanna").aggregate("event"), draws=999)
    assert other == pytest.approx(pre_test(path, draws=999), rel=1e-9)


def test_without_an_effect_before_the_event_there_is_no_test(path):
    assert pre_test(path.select(path.event_time >= 0)) == NONE


@pytest.mark.parametrize("design", ["callaway_santanna", "event_study"])
def test_leads_that_rest_on_a_cohort_of_two_have_its_degrees_of_freedom(design):
    rng, first = np.random.default_rng(2), np.repeat([4.0, 5.0, 7.0, np.nan], [20, 2, 2, 20])
    panel, rejections = replace(simulated.panel(n=44), first_treated={"event": first}), 0
    for _ in range(60):
        drawn = replace(panel, outcomes={"y": rng.normal(size=(44, 8)).cumsum(axis=1)})
        path = estimate(drawn, QUESTION, design).by_event_time
        rejections += path.test(path.pre & path.varies).p_value <= 0.05
    assert rejections <= 0.05 * 60 + 3 * np.sqrt(60 * 0.05 * 0.95)  # 13 and 16 with those of all treated


@pytest.mark.parametrize(
    ("treated", "never", "tested"), [(3, 40, False), (4, 40, False), (6, 40, True), (40, 3, False)]
)
def test_more_leads_than_a_side_has_clusters_less_one_have_no_wald_test(treated, never, tested):
    rng, n = np.random.default_rng(1), treated + never
    first = np.repeat([7.0, np.nan], [treated, never])
    panel = replace(simulated.panel(n=n), first_treated={"event": first})
    drawn = replace(panel, outcomes={"y": rng.normal(size=(n, 8)).cumsum(axis=1)})
    path = estimate(drawn, QUESTION, "callaway_santanna").by_event_time
    leads = path.select(path.pre & path.varies)
    assert len(leads.terms) == 5
    assert np.isfinite(leads.test().p_value) == np.isfinite(joint(leads).test().p_value) == tested
    assert np.isfinite(leads.test(leads.event_time == -2).p_value)


def test_both_tests_reject_near_their_level_with_twelve_treated_of_150():
    found = answers(CASES[0], Setting(12), 200, seed=1)
    for test in ("wald", "largest"):
        rate = np.mean([getattr(one, test) <= 0.05 for one in found])
        assert rate <= 0.05 + 3 * np.sqrt(0.05 * 0.95 / 200)
