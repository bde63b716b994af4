"""Means by cohort and period, and what is said of cohorts, against plain loops."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import simulated
from added_up import added_up

from study import Question
from study.estimates.aggregation import (
    cohort_means,
    mean_over,
    weights_in_cohorts,
)
from study.panel.question import Sample

KINDS = ("balanced", "gaps", "the same gaps in a cohort")


def sample_of(kind: str, **asked: object) -> Sample:
    """Return a sample without gaps, with gaps, or with gaps that all units of a cohort have."""
    panel = simulated.with_late_units(n=60, gaps=0.2 if kind == "gaps" else 0.0)
    if kind == "the same gaps in a cohort":
        y = panel.outcomes["y"].copy()
        y[panel.first_treated["event"] == 4, 2:4] = np.nan
        panel = replace(panel, outcomes={"y": y})
    return Question("y", "event", weights="size", **asked).sample(panel)


def members_of(sample: Sample, date: float) -> np.ndarray:
    return np.isnan(sample.first_treated) if np.isnan(date) else sample.first_treated == date


@pytest.mark.parametrize("kind", KINDS)
def test_means_weights_and_numbers_are_those_of_loops(kind: str) -> None:
    sample = sample_of(kind)
    means = cohort_means(sample)
    assert list(means.dates[:-1]) == [4, 6, 7, 11]
    assert np.isnan(means.dates[-1])
    assert means.same_periods == (kind != "gaps")
    for g, date in enumerate(means.dates):
        for t in range(len(sample.periods)):
            seen = members_of(sample, date) & sample.observed[:, t]
            assert means.seen[g, t] == seen.sum()
            assert means.weight[g, t] == pytest.approx(sample.weights[seen].sum(), abs=1e-12)
            expected = np.average(sample.y[seen, t], weights=sample.weights[seen]) if seen.any() else 0.0
            assert means.mean[g, t] == pytest.approx(expected, abs=1e-12)


def test_rows_that_stand_for_several_units_are_counted_as_these() -> None:
    panel, question = simulated.with_late_units(n=60), Question("y", "event")
    rows = question.sample(added_up(panel, question))
    assert rows.n_rows < rows.n_units
    np.testing.assert_array_equal(cohort_means(rows).seen, cohort_means(question.sample(panel)).seen)


@pytest.mark.parametrize("levels_apart", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_pooled_means_and_their_influence_are_those_of_loops(kind: str, levels_apart: bool) -> None:
    sample = sample_of(kind)
    means = cohort_means(sample, levels_apart=levels_apart)
    assert (means.level is not None) == (levels_apart and kind != "gaps")
    cells = np.random.default_rng(0).random((*means.mean.shape, 5)) < 0.4
    mean, influence = means.pooled(cells)
    for k in range(5):
        inside = np.zeros(sample.y.shape, dtype=bool)
        for g, date in enumerate(means.dates):
            inside[members_of(sample, date)] = cells[g, :, k]
        weight = sample.weights[:, None] * (inside & sample.observed)
        y = np.nan_to_num(sample.y)
        expected = np.sum(weight * y) / weight.sum()
        by_unit = sample.n_units * (weight * (y - expected)).sum(axis=1) / weight.sum()
        assert mean[k] == pytest.approx(expected, abs=1e-12)
        np.testing.assert_allclose(influence.dense()[:, k], by_unit, rtol=0, atol=1e-11)
        np.testing.assert_allclose(means.cohort_weights(cells).dense()[:, k], weight.sum(axis=1), atol=1e-12)
        alone, its_influence = mean_over(sample, inside)
        assert alone[0] == pytest.approx(expected, abs=1e-12)
        np.testing.assert_allclose(its_influence.dense()[:, 0], by_unit, rtol=0, atol=1e-11)


def test_a_pool_in_which_nobody_is_seen_has_no_mean() -> None:
    sample = sample_of("the same gaps in a cohort")
    means = cohort_means(sample)
    mean, _ = means.pooled(means.cells(np.array([4.0, 4.0]), np.array([2, 5])))
    assert np.isnan(mean[0])
    assert np.isfinite(mean[1])
    assert list(means.sizes(np.array([4.0, 4.0]), np.array([2, 5]))) == [0, (sample.first_treated == 4).sum()]


def test_single_cells_are_marked_in_the_order_that_is_asked() -> None:
    means = cohort_means(sample_of("balanced"))
    cells = means.cells(np.array([7.0, 4.0]), np.array([0, 5]))
    assert [tuple(map(int, np.argwhere(cells[:, :, k])[0])) for k in (0, 1)] == [(2, 0), (0, 5)]
    assert cells.sum() == 2


@pytest.mark.parametrize("anticipation", [0, 1])
def test_cohorts_are_treated_from_the_event_less_the_anticipation(anticipation: int) -> None:
    sample = sample_of("balanced", anticipation=anticipation)
    cells = sample.treated_cells
    for g, members in enumerate(sample.groups[1]):
        for i in members:
            assert np.array_equal(cells[g], sample.treatment[i] == 1)


@pytest.mark.parametrize(("comparison", "late"), [("not_yet_treated", True), ("never_treated", False)])
def test_units_treated_after_the_window_are_compared_with_unless_only_the_never_treated_are(
    comparison: str, late: bool
) -> None:
    sample = sample_of("balanced", comparison=comparison)
    assert (np.nanmax(sample.groups[0]) > sample.periods[-1]) == late
    left_out = [step.units for step in sample.flow if step.reason.endswith("so not never treated")]
    assert bool(left_out) != late


def test_membership_of_a_cohort_is_the_unit_s_weight() -> None:
    sample = sample_of("gaps")
    cohort_weights = weights_in_cohorts(sample, np.array([6.0, 4.0, 6.0])).dense()
    for k, date in enumerate((6, 4, 6)):
        assert np.array_equal(
            cohort_weights[:, k], np.where(sample.first_treated == date, sample.weights, 0.0)
        )


def test_means_of_another_array_have_its_own_gaps() -> None:
    sample = sample_of("balanced")
    other = np.where(sample.treatment == 1, np.nan, sample.y)
    means = cohort_means(sample, other)
    assert means.same_periods
    assert np.array_equal(means.seen > 0, ~sample.treated_cells)
