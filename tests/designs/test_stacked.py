"""stacked against regressions on dummies, the paper's weighted regression and derivatives by weights."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, NamedTuple

import dense
import numpy as np
import pytest
import simulated

from study import Question, QuestionError, estimate
from study.designs import find_design
from study.panel.question import Sample

stacked = find_design("stacked")
BEFORE, AFTER = 2, 1
ASKED: list[dict[str, Any]] = [
    {},
    {"comparison": "never_treated", "cluster": "state"},
    {"anticipation": 1, "weights": "size", "cluster": "state"},
]


class Stacks(NamedTuple):
    """All stacks one below the other: the cohort of the stack, unit and period of each row, who is treated."""

    stack: np.ndarray
    at: dense.Rows
    treated: np.ndarray


def stacks(sample: Sample) -> Stacks:
    """Return the units that are seen in all of each cohort's window, treated in it or untreated until its end."""
    q, first, parts = sample.question, sample.first_treated, []
    for g in sample.cohorts:
        inside = (sample.periods >= g - q.anticipation - BEFORE) & (sample.periods <= g + AFTER)
        if inside.sum() < BEFORE + q.anticipation + AFTER + 1:
            continue
        clean = np.isnan(first)
        if q.comparison == "not_yet_treated":
            clean = clean | (first - q.anticipation > g + AFTER)
        members = np.flatnonzero(sample.observed[:, inside].all(axis=1) & (clean | (first == g)))
        unit, period = np.repeat(members, inside.sum()), np.tile(np.flatnonzero(inside), len(members))
        parts.append((np.full(len(unit), g), unit, period))
    stack, unit, period = (np.concatenate(part) for part in zip(*parts, strict=True))
    return Stacks(stack, dense.Rows(unit, period), first[unit] == stack)


@pytest.mark.parametrize("gaps", [0.0, 0.1])
@pytest.mark.parametrize("asked", ASKED, ids=str)
def test_equals_regressions_of_each_stack_on_dummies_with_their_joint_covariance(
    asked: dict[str, Any], gaps: float
) -> None:
    sample = Question("y", "event", **asked).sample(simulated.with_late_units(n=90, gaps=gaps))
    fit, rows = stacked(sample, before=BEFORE, after=AFTER), stacks(sample)
    time, used = sample.periods[rows.at.period], ~fit.reference
    cells = zip(fit.cohort[used], fit.period[used], strict=True)
    periods = np.column_stack([(rows.stack == g) & (time == t) for g, t in cells]).astype(float)
    slow = dense.least_squares(
        sample.y[rows.at],
        periods * rows.treated[:, None],
        np.hstack([dense.dummies(rows.stack, rows.at.unit), periods]),
        sample.weights[rows.at.unit],
        sample.cluster[rows.at.unit],
    )
    assert set(fit.cohort) == set(rows.stack)
    assert fit.n_obs == slow.n_obs
    np.testing.assert_allclose(fit.effect[used], slow.effect, rtol=0, atol=1e-9)
    np.testing.assert_allclose(fit.covariance("CR0")[np.ix_(used, used)], slow.covariance, rtol=0, atol=1e-9)


def corrected_weights(sample: Sample, rows: Stacks) -> np.ndarray:
    """Return Q: a stack's comparison units get its cohort's share of all treated units."""
    own = sample.weights[rows.at.unit]
    total = {d: own[rows.treated == d].sum() for d in (True, False)}
    weight = own.copy()
    for g in np.unique(rows.stack):
        here = rows.stack == g
        share = {d: own[here & (rows.treated == d)].sum() / total[d] for d in (True, False)}
        weight[here & ~rows.treated] *= share[True] / share[False]
    return weight


@pytest.mark.parametrize("gaps", [0.0, 0.1])
@pytest.mark.parametrize("asked", ASKED, ids=str)
def test_averages_by_event_time_are_the_papers_weighted_stacked_regression(
    asked: dict[str, Any], gaps: float
) -> None:
    sample = Question("y", "event", **asked).sample(simulated.with_late_units(n=90, gaps=gaps))
    fit, rows = stacked(sample, before=BEFORE, after=AFTER).aggregate("event"), stacks(sample)
    since = sample.periods[rows.at.period] - rows.stack
    times = fit.event_time[~fit.reference]
    assert list(times) == [e for e in np.unique(since) if e != -1 - sample.question.anticipation]
    event = (since[:, None] == times).astype(float)
    treated = rows.treated[:, None].astype(float)
    slow = dense.least_squares(
        sample.y[rows.at],
        event * treated,
        np.hstack([np.ones(treated.shape), treated, event]),
        corrected_weights(sample, rows),
        sample.cluster[rows.at.unit],
    )
    np.testing.assert_allclose(fit.effect[~fit.reference], slow.effect, rtol=0, atol=1e-9)


@pytest.mark.parametrize("scale", ["level", "proportional"])
@pytest.mark.parametrize("gaps", [0.0, 0.05])
def test_influence_is_the_derivative_by_unit_weights(gaps: float, scale: str) -> None:
    question = Question("y", "event", weights="size", scale=scale)
    sample = question.sample(simulated.panel(n=90, gaps=gaps, level=9.0))
    simulated.check_influence(sample, lambda s: stacked(s, before=BEFORE, after=AFTER), units=3)


def test_a_window_is_three_periods_before_and_the_horizon_after_unless_it_is_given() -> None:
    panel = simulated.panel(n=60, cohorts=(3, 5, 6, 7))

    def window(question: Question, **options: Any) -> tuple[list[float], list[float]]:
        fit = estimate(panel, question, "stacked", **options)
        return sorted(set(fit.cohort)), sorted(set(fit.event_time))

    asked = Question("y", "event")
    assert window(asked) == ([5], [-3, -2, -1, 0, 1, 2, 3])
    assert window(asked.replace(average="event_average", horizon=1)) == ([5, 6, 7], [-3, -2, -1, 0, 1])
    assert window(asked.replace(average="event_average", horizon=1), after=2, before=2) == (
        [3, 5, 6],
        [-2, -1, 0, 1, 2],
    )
    assert window(asked.replace(anticipation=1), before=1, after=0) == ([3, 5, 6, 7], [-2, -1, 0])


def test_cohorts_that_do_not_enter_are_named_with_what_they_lack() -> None:
    panel = simulated.panel(n=60, cohorts=(3, 5, 6))
    first, y = panel.first_treated["event"], panel.outcomes["y"].copy()
    asked = Question("y", "event")
    y[first == 6, 5] = np.nan
    fit = estimate(replace(panel, outcomes={"y": y}), asked, "stacked", before=3, after=1)
    assert fit.notes == (
        "cohort 3 left out: its window of 0 to 4 does not lie in 1-8",
        "cohort 6 left out: no treated unit is observed in all of its window",
    )
    assert set(fit.cohort) == {5}
    y = panel.outcomes["y"].copy()
    y[np.isnan(first) | (first == 6), 2] = np.nan
    with pytest.raises(
        QuestionError,
        match=r"^stacked: no effect can be estimated: cohort 3 left out: .*; cohort 5 left out: no comparison unit is",
    ):
        estimate(replace(panel, outcomes={"y": y}), asked, "stacked", before=3, after=1)


def test_the_window_ends_at_the_balance_where_no_horizon_or_an_earlier_one_is_asked_for() -> None:
    panel = simulated.panel(n=60)
    for horizon in (None, 1):
        fit = estimate(
            panel,
            Question("y", "event", average="event_average", horizon=horizon, balance=4),
            "stacked",
            before=1,
        )
        assert fit.event_time.max() == 4
        longer = estimate(
            panel,
            Question("y", "event", average="event_average", horizon=horizon, balance=4),
            "stacked",
            before=1,
            after=4,
        )
        np.testing.assert_array_equal(fit.headline.effect, longer.headline.effect)
