"""lp_did against regressions of changes, one event time after the other, and derivatives by weights."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import dense
import numpy as np
import pytest
import simulated

from study import Question, QuestionError, estimate
from study.designs import find_design
from study.panel.question import Sample

lp_did = find_design("lp_did")
ASKED: list[dict[str, Any]] = [
    {},
    {"comparison": "never_treated", "cluster": "state"},
    {"anticipation": 1, "weights": "size", "cluster": "state"},
]


def changes(sample: Sample, h: int) -> list[tuple[int, int, bool, float]]:
    """Return unit, starting period, whether it is treated then, and its change, of all who are compared."""
    q, found = sample.question, []
    for j, t in enumerate(sample.periods):
        base = j - 1 - q.anticipation
        if base < 0 or not 0 <= j + h < len(sample.periods):
            continue
        for i, first in enumerate(sample.first_treated):
            later = first - q.anticipation > max(t, t + h) and q.comparison == "not_yet_treated"
            change = sample.y[i, j + h] - sample.y[i, base]
            if (first == t or np.isnan(first) or later) and not np.isnan(change):
                found.append((i, int(t), bool(first == t), change))
    return found


@pytest.mark.parametrize("gaps", [0.0, 0.15])
@pytest.mark.parametrize("asked", ASKED, ids=str)
def test_equals_regressions_of_changes_on_the_start_of_treatment_and_dummies(
    asked: dict[str, Any], gaps: float
) -> None:
    sample = Question("y", "event", **asked).sample(simulated.with_late_units(gaps=gaps))
    fit = lp_did(sample)
    assert list(fit.event_time[fit.reference]) == [-1 - sample.question.anticipation]
    for k in np.flatnonzero(~fit.reference):
        unit, start, treated, change = map(
            np.array, zip(*changes(sample, int(fit.event_time[k])), strict=True)
        )
        slow = dense.least_squares(
            change,
            treated[:, None].astype(float),
            dense.dummies(start),
            sample.weights[unit],
            sample.cluster[unit],
        )
        assert fit.effect[k] == pytest.approx(slow.effect[0], abs=1e-9)
        assert fit.covariance("CR0")[k, k] == pytest.approx(slow.covariance[0, 0], abs=1e-9)


@pytest.mark.parametrize("gaps", [0.0, 0.15])
@pytest.mark.parametrize("asked", ASKED, ids=str)
def test_equal_weighting_averages_cohorts_by_their_units(asked: dict[str, Any], gaps: float) -> None:
    sample = Question("y", "event", **asked).sample(simulated.with_late_units(gaps=gaps))
    fit = lp_did(sample, weighting="equal")
    for k in np.flatnonzero(~fit.reference):
        unit, start, treated, change = map(
            np.array, zip(*changes(sample, int(fit.event_time[k])), strict=True)
        )
        gap, size = [], []
        for t in np.unique(start[treated]):
            ours, theirs = (start == t) & treated, (start == t) & ~treated
            weights = sample.weights[unit]
            size.append(weights[ours].sum())
            gap.append(
                np.average(change[ours], weights=weights[ours])
                - np.average(change[theirs], weights=weights[theirs])
            )
        assert fit.effect[k] == pytest.approx(np.average(gap, weights=size), abs=1e-9)


@pytest.mark.parametrize("scale", ["level", "proportional"])
@pytest.mark.parametrize("gaps", [0.0, 0.05])
@pytest.mark.parametrize("weighting", ["variance", "equal"])
def test_influence_is_the_derivative_by_unit_weights(weighting: str, gaps: float, scale: str) -> None:
    question = Question("y", "event", weights="size", scale=scale)
    sample = question.sample(simulated.panel(n=90, gaps=gaps, level=9.0))
    simulated.check_influence(sample, lambda s: lp_did(s, weighting=weighting), units=3)


def test_the_mean_that_a_proportional_effect_divides_by_is_of_the_units_whose_change_is_seen() -> None:
    panel = simulated.panel(n=60, level=9.0, cohorts=(4,))
    y, treated = panel.outcomes["y"].copy(), np.flatnonzero(panel.first_treated["event"] == 4)
    y[treated[0], 2] = np.nan  # the base period
    question = Question("y", "event", scale="proportional")
    share, level = (
        estimate(replace(panel, outcomes={"y": y}), question.replace(scale=s), "lp_did", before=1, after=0)
        for s in ("proportional", "level")
    )
    effect = level.effect[~level.reference][0]
    mean = y[treated[1:], 3].mean()
    assert share.effect[~share.reference][0] == pytest.approx(effect / (mean - effect), rel=1e-12)


@pytest.mark.parametrize("gaps", [0.0, 0.15])
@pytest.mark.parametrize("asked", ASKED, ids=str)
def test_observations_are_those_that_some_change_is_of(asked: dict[str, Any], gaps: float) -> None:
    sample = Question("y", "event", **asked).sample(simulated.with_late_units(gaps=gaps))
    base, cells = sample.question.reference, set[tuple[int, int]]()
    fit = lp_did(sample, before=2, after=1)
    for h in fit.event_time[~fit.reference].astype(int):
        rows = changes(sample, h)
        starts = {start for _, start, treated, _ in rows if treated}
        for i, start, *_ in rows:
            cells |= {(i, start + h), (i, start + base)} if start in starts else set()
    assert fit.n_obs == len(cells) < sample.observed.sum()


def test_event_times_before_treatment_are_counted_from_what_is_anticipated() -> None:
    question = Question("y", "event", anticipation=1)
    fit = estimate(simulated.panel(n=90), question, "lp_did", before=2, after=1)
    np.testing.assert_array_equal(fit.event_time, [-3, -2, -1, 0, 1])


def test_what_is_left_out_is_said_by_event_time_and_by_cohort() -> None:
    panel = simulated.panel(n=60, cohorts=(4, 6))
    first, y = panel.first_treated["event"], panel.outcomes["y"].copy()
    fit = estimate(panel, Question("y", "event"), "lp_did", before=2, after=1)
    assert (fit.event_time.tolist(), fit.notes) == ([-2, -1, 0, 1], ())
    y[first == 4, 4] = np.nan  # event time 1 of cohort 4
    fit = estimate(replace(panel, outcomes={"y": y}), Question("y", "event"), "lp_did", before=2, after=2)
    assert fit.notes == ("cohort 4 at event 1 left out: it or clean comparison units are not seen then",)
    y[first == 6, 6:] = np.nan  # and of cohort 6, with its event time 2
    fit = estimate(replace(panel, outcomes={"y": y}), Question("y", "event"), "lp_did", before=2, after=2)
    assert fit.event_time.tolist() == [-2, -1, 0, 2]
    assert fit.notes == (
        "event 1 left out: no unit first treated then has a clean comparison unit",
        "cohort 6 at event 2 left out: it or clean comparison units are not seen then",
    )
    later = np.isfinite(first)[:, None] & (panel.periods >= first[:, None])
    with pytest.raises(
        QuestionError, match=r"^lp_did: no effect can be estimated: event 0 left out: .*; event 1 left out: "
    ):
        estimate(
            replace(panel, outcomes={"y": np.where(later, np.nan, y)}),
            Question("y", "event"),
            "lp_did",
            before=1,
            after=1,
        )


@pytest.mark.parametrize("weighting", ["variance", "equal"])
def test_comparison_units_that_are_treated_later_are_not_among_the_treated_whose_number_errors_rest_on(
    weighting: str,
) -> None:
    rng, n = np.random.default_rng(0), 30
    first, y = np.repeat([4.0, 8.0, np.nan], [3, 5, 22]), rng.normal(size=(n, 8))
    y[1:3, 6] = np.nan  # one unit of the first cohort is seen at event time 3
    panel = replace(simulated.panel(n), outcomes={"y": y}, first_treated={"event": first})
    fit, *without = (
        estimate(part, Question("y", "event"), "lp_did", weighting=weighting)
        for part in (panel, *(simulated.subset(panel, np.arange(n) != i) for i in range(n)))
    )
    for term in ("event 1", "event 2", "event 4"):
        (place,) = (k for k, name in enumerate(fit.terms) if name == term)
        moved = [other.effect[other.terms.index(term)] - fit.effect[place] for other in without]
        assert fit.std_error[place] == pytest.approx(np.sqrt(np.sum(np.square(moved))), rel=1e-9)
    assert fit.on_one_cluster[fit.terms.index("event 3")]


@pytest.mark.parametrize("gaps", [False, True])
def test_an_event_time_of_one_treated_unit_takes_the_pooled_variance_though_later_cohorts_are_compared_with_it(
    gaps: bool,
) -> None:
    panel = simulated.panel(n=40, cohorts=(7,))
    first, y = panel.first_treated["event"].copy(), panel.outcomes["y"].copy()
    first[np.flatnonzero(np.isnan(first))[0]] = 3
    y[np.flatnonzero(np.isnan(first))[:3], [1, 4, 6]] = np.nan if gaps else 0.0
    panel = replace(panel, first_treated={"event": first}, outcomes={"y": y})
    fit = estimate(panel, Question("y", "event", min_cohort_size=1), "lp_did")
    alone = fit.event_time >= 2
    assert fit.on_one_cluster[alone].all()
    assert not fit.on_one_cluster[~alone].any()
    assert np.isfinite(fit.std_error[~fit.reference]).all()
