"""changes_in_changes against plain loops, and what its assumptions and its errors promise."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
import searching
import simulated
from interval_coverage import covers
from twins import changes
from twins.changes import Groups

from study import Estimate, Panel, Question, QuestionError, estimate
from study.designs.changes_in_changes import Group
from study.designs.changes_in_changes import changes as changes_of

ASKED, DESIGN = Question("y", "event"), "changes_in_changes"
LEVELS = [Fraction(1, 4), Fraction(1, 2), Fraction(3, 4)]


def draw(
    rng: np.random.Generator, compared: int = 40, treated: int = 25, unit: float = 0.0, spread: float = 0.6
) -> Panel:
    """Return two groups in two periods whose outcome is a convex function of a rank that is drawn anew.

    The effect is 1 and half the untreated outcome. With a unit outcomes are rounded to it.
    """
    is_treated = np.arange(compared + treated) >= compared
    common = rng.normal(size=len(is_treated))
    ranks = 0.6 * common[:, None] + 0.8 * rng.normal(size=(len(is_treated), 2))
    ranks[is_treated] = 0.2 + spread * ranks[is_treated]
    y = np.column_stack([ranks[:, 0], 1 + np.exp(ranks[:, 1] / 2)])
    y[is_treated, 1] = 1 + 1.5 * y[is_treated, 1]
    if unit:
        y = np.round(y / unit) * unit
    return Panel(
        name="drawn",
        units=np.array([f"u{i:04d}" for i in range(len(y))]),
        periods=np.array([1, 2]),
        outcomes={"y": y},
        covariates={"size": np.outer(np.round(rng.uniform(0.5, 2, size=len(y)), 2), [1, 1])},
        first_treated={"event": np.where(is_treated, 2.0, np.nan)},
        treatment={},
        attributes={"state": np.array([f"s{i % 12:02d}" for i in range(len(y))])},
    )


TRUTH = 1 + 0.5 * (1 + np.exp(0.1 + 0.36 / 8))
MEDIAN = 1 + 0.5 * (1 + np.exp(0.1))


def asked(panel: Panel, question: Question = ASKED, **options: Any) -> Estimate:
    return estimate(panel, question, DESIGN, **options)


def groups(panel: Panel, weighted: bool = False) -> Groups:
    y, is_treated = panel.outcomes["y"], panel.first_treated["event"] == 2
    weight = [Fraction(f"{v:.2f}") if weighted else Fraction(1) for v in panel.covariates["size"][:, 0]]
    w0 = [w for w, t in zip(weight, is_treated, strict=True) if not t]
    w1 = [w for w, t in zip(weight, is_treated, strict=True) if t]
    blocks = (y[~is_treated, 0], y[~is_treated, 1], y[is_treated, 0], y[is_treated, 1])
    return Groups(*(list(map(float, block)) for block in blocks), w0, w1)


@pytest.mark.parametrize("weights", [None, "size"])
@pytest.mark.parametrize("unit", [0.0, 0.1])
def test_effects_and_their_influence_are_those_of_plain_loops(weights: str | None, unit: float) -> None:
    panel = draw(np.random.default_rng(1), 28, 18, unit)
    fit, g = asked(panel, ASKED.replace(weights=weights)), groups(panel, weights is not None)
    np.testing.assert_allclose(fit.effect[1:], changes.effects(g, LEVELS), rtol=1e-12)
    expected = changes.influence(g, LEVELS)
    if any("discrete" in note for note in fit.notes):
        expected[:, 1:] = 0.0
    np.testing.assert_allclose(fit.influence[:, 1:], expected, rtol=1e-9, atol=1e-11)
    assert [*fit.at[1:]] == pytest.approx([np.nan, 0.25, 0.5, 0.75], nan_ok=True)
    assert fit.terms[1:3] == ("ATT(2,2)", "quantile 0.25 (2,2)")


@pytest.mark.parametrize(
    ("tied", "others", "weight", "discrete"),
    [(1, 9, 1.0, False), (1, 99, 20.0, False), (2, 18, 1.0, True), (2, 98, 1.0, False), (2, 98, 4.0, True)],
)
def test_an_outcome_is_discrete_where_several_units_have_a_twentieth_of_the_weight_at_one_value(
    tied: int, others: int, weight: float, discrete: bool
) -> None:
    y = np.concatenate([np.zeros(tied), 1.0 + np.arange(others)])
    weights = np.where(y == 0, weight, 1.0)
    assert Group.of(np.arange(len(y)), y, weights).discrete == discrete


def test_effects_on_discrete_outcomes_are_bounds_and_quantiles_have_no_errors() -> None:
    panel = draw(np.random.default_rng(2), unit=0.5)
    fit = asked(panel)
    low, high = changes.bounds(groups(panel))
    assert fit.effect[1] == pytest.approx(low, abs=1e-12)
    assert low < high
    (note,) = [note for note in fit.notes if "the outcome is discrete" in note]
    assert f"ATT(2,2) {high:.4g}" in note
    assert np.isnan(fit.std_error[2:]).all()
    assert fit.std_error[1] > 0


def test_every_cohort_and_period_is_a_comparison_of_its_own_and_averages_are_of_means() -> None:
    panel = simulated.panel(60, seed=3, gaps=0.05)
    fit = asked(panel)
    y, first = panel.outcomes["y"], panel.first_treated["event"]
    for g, t in ((4, 4), (4, 2), (6, 7)):
        seen = ~np.isnan(y[:, g - 2] + y[:, t - 1])
        free = seen & (np.isnan(first) | (first > max(t, g)))
        own = seen & (first == g)
        block = Groups(
            *(list(map(float, y[who, p])) for who in (free, own) for p in (g - 2, t - 1)),
            [Fraction(1)] * int(free.sum()),
            [Fraction(1)] * int(own.sum()),
        )
        at = (fit.cohort == g) & (fit.period == t)
        levels = LEVELS if t >= g else []
        np.testing.assert_allclose(fit.effect[at], changes.effects(block, levels), rtol=1e-12)
        np.testing.assert_allclose(
            fit.influence[np.concatenate([np.flatnonzero(free), np.flatnonzero(own)])][:, at],
            changes.influence(block, levels) * panel.n_units / (free.sum() + own.sum()),
            rtol=1e-8,
            atol=1e-10,
        )
    path = fit.aggregate("event")
    means = np.isnan(fit.at) & (fit.event_time == 0)
    sizes = [np.sum(first == g) for g in fit.cohort[means]]
    assert path.effect[path.event_time == 0] == pytest.approx(np.average(fit.effect[means], weights=sizes))
    quantiles = fit.aggregate("quantile")
    assert np.isfinite(quantiles.at).all()
    assert np.isfinite(quantiles.covariance()).all()


def test_repeated_cross_sections_and_panels_have_the_same_effects_without_gaps() -> None:
    panel = simulated.panel(60, seed=5)
    pairs, cells = asked(panel), asked(panel, ASKED.replace(missing="cells"))
    np.testing.assert_allclose(cells.effect, pairs.effect, rtol=1e-12)
    np.testing.assert_allclose(cells.std_error, pairs.std_error, rtol=1e-9)


def test_a_monotone_scale_of_the_outcome_changes_counterfactual_quantiles_as_it_changes_outcomes() -> None:
    panel = draw(np.random.default_rng(4))
    curved = replace(panel, outcomes={"y": np.exp(panel.outcomes["y"])})
    linear = replace(panel, outcomes={"y": 7 - 3 * panel.outcomes["y"]})
    fit = asked(panel)
    np.testing.assert_allclose(asked(curved).untreated_mean[2:], np.exp(fit.untreated_mean[2:]), rtol=1e-12)
    # Ranks from above are not those from below, but for an effect of the order of a unit's share.
    np.testing.assert_allclose(asked(linear).effect[1], -3 * fit.effect[1], atol=0.2)


def test_rows_labels_time_and_constants_of_periods_do_not_matter() -> None:
    panel, rng = simulated.panel(70, seed=6), np.random.default_rng(7)
    fit = asked(panel)
    shuffled = simulated.ordered(panel, rng.permutation(70))
    moved = replace(
        panel, periods=panel.periods + 50, first_treated={"event": panel.first_treated["event"] + 50}
    )
    lifted = replace(panel, outcomes={"y": 1e3 * panel.outcomes["y"] + 100 * rng.normal(size=8)})
    for other, factor in ((asked(shuffled), 1.0), (asked(moved), 1.0), (asked(lifted), 1e3)):
        # Constants of periods are in what the outcome of a period would have been, and so drop out.
        np.testing.assert_allclose(other.effect, factor * fit.effect, rtol=1e-9, atol=1e-9 * factor)
        np.testing.assert_allclose(other.std_error, factor * fit.std_error, rtol=1e-8)


@pytest.mark.parametrize(
    "asked_of", [{}, {"weights": "size", "scale": "proportional"}, {"cluster": "state"}, {"missing": "cells"}]
)
@pytest.mark.parametrize("digits", [9, 0])  # with ties of treated and comparison units, and without
def test_default_errors_of_means_are_those_of_leaving_out_each_of_few_comparison_clusters(
    digits: int, asked_of: dict[str, Any]
) -> None:
    of, question = np.arange(20) // (2 if "cluster" in asked_of else 1), ASKED.replace(**asked_of)
    panel = draw(np.random.default_rng(8), compared=8, treated=12)
    outcomes = {name: y.round(digits) for name, y in panel.outcomes.items()}
    panel = replace(panel, outcomes=outcomes, attributes={"state": np.char.mod("s%02d", of)})
    fit = asked(panel, question, quantiles=None)
    for c in np.unique(of[:8]):
        left = asked(simulated.subset(panel, of != c), question, quantiles=None)
        for ours, others, influence in (
            (fit.effect_level, left.effect_level, fit.leave_out.level),
            (fit.untreated_mean, left.untreated_mean, fit.leave_out.untreated),
        ):
            if influence is not None:
                taken = influence.dense()[of == c, 1].sum() / 20
                assert taken == pytest.approx(ours[1] - others[1], abs=1e-12)


def test_errors_of_means_are_near_those_of_a_jackknife() -> None:
    panel = draw(np.random.default_rng(8), 120, 50)
    fit = asked(panel, quantiles=None)
    without = [
        asked(simulated.subset(panel, np.arange(170) != i), quantiles=None).effect[1] - fit.effect[1]
        for i in range(170)
    ]
    assert fit.std_error[1] == pytest.approx(np.sqrt(np.sum(np.square(without))), rel=0.05)


@pytest.mark.parametrize("to", ["event", "treated_average"])
def test_errors_of_averages_with_gaps_are_near_those_of_a_jackknife(to: str) -> None:
    rng, n = np.random.default_rng(2), 40
    first = np.repeat([4.0, 6.0, 7.0, np.nan], [3, 3, 3, 31])
    y = rng.normal(size=(n, 1)) + rng.normal(size=(n, 8))
    y[rng.random(y.shape) < 0.3] = np.nan
    panel = replace(simulated.panel(n), outcomes={"y": y}, first_treated={"event": first})
    average = asked(panel, quantiles=None).aggregate(to)
    without = [
        asked(simulated.subset(panel, np.arange(n) != i), quantiles=None).aggregate(to) for i in range(n)
    ]
    assert average.contrast.only is not None
    for term in np.flatnonzero(average.varies & (average.contrast.only < 0)):
        left = [each.effect[each.terms.index(average.terms[term])] for each in without]
        error = np.sqrt(np.sum((np.array(left) - average.effect[term]) ** 2))
        assert average.std_error[term] == pytest.approx(error, rel=0.25)


def test_treated_units_outside_the_outcomes_of_comparison_units_are_counted() -> None:
    fit = asked(draw(np.random.default_rng(9), spread=4.0))
    (note,) = [note for note in fit.notes if "base outcome is below or above" in note]
    assert "of 25" in note


def test_equal_shares_of_many_units_have_the_outcome_up_to_which_they_are() -> None:
    base, now = (Group.of(np.arange(n), np.arange(n) * 1.0, np.ones(n)) for n in (100_000, 50_000))
    np.testing.assert_array_equal(now.place(base.distribution(base.y)), np.arange(100_000) // 2)


def test_other_questions_are_refused() -> None:
    panel = draw(np.random.default_rng(9))
    for quantiles in ((0.0, 0.5), (0.5, 1.2)):
        with pytest.raises(QuestionError, match="must be between 0 and 1"):
            asked(panel, quantiles=quantiles)
    with pytest.raises(QuestionError, match="cannot answer a question with covariates"):
        asked(panel, ASKED.replace(covariates=("size",)))
    assert asked(panel, quantiles=None).terms == ("ATT(2,1)", "ATT(2,2)")


DRAWS = searching.samples(200, 500)


@pytest.mark.search
@pytest.mark.parametrize(("compared", "treated"), [(80, 80), (80, 12)])
def test_intervals_cover_the_effects_on_the_mean_and_on_the_median(compared: int, treated: int) -> None:
    rng, found = np.random.default_rng(20261128), np.zeros((DRAWS, 2))
    for i in range(DRAWS):
        fit = asked(draw(rng, compared, treated), quantiles=(0.5,))
        found[i] = covers(fit.headline, TRUTH), covers(fit.aggregate("quantile"), MEDIAN)
    assert np.all(np.abs(found.mean(axis=0) - 0.95) <= 3 * np.sqrt(0.95 * 0.05 / DRAWS))


def test_quantiles_are_of_periods_from_anticipation_on_and_all_that_is_seen_is_counted() -> None:
    panel = simulated.panel(n=60, cohorts=(4,))
    question = Question("y", "event", anticipation=1)
    fit = estimate(panel, question, "changes_in_changes", quantiles=(0.5, 1 / 3))
    later = [f"quantile {u:g} (4,{t})" for t in range(3, 9) for u in (1 / 3, 0.5)]
    assert fit.terms[8:] == tuple(later)
    assert fit.n_obs == 480


def test_a_base_without_a_comparison_unit_is_a_reference_alone_as_in_other_designs() -> None:
    panel = simulated.panel(60)
    y = panel.outcomes["y"].copy()
    y[panel.first_treated["event"] != 4, 2] = np.nan
    unseen = replace(panel, outcomes={"y": y})
    assert asked(unseen, quantiles=None).terms == estimate(unseen, ASKED).terms


def test_treated_units_with_the_smallest_or_largest_comparison_outcome_are_not_outside() -> None:
    def group(start: int, *y: float) -> Group:
        return Group.of(start + np.arange(len(y)), np.array(y), np.ones(len(y)))

    base = now = group(0, 1.0, 2.0, 3.0), group(3, 0.0, 1.0, 3.0, 4.0)
    made = changes_of(base, now, np.array([]), 7)
    assert (made.outside, made.treated) == (2, 4)


def test_units_of_the_base_period_alone_have_the_part_of_the_influence_that_is_its() -> None:
    y = np.random.default_rng(0).normal(size=(4, 50))
    groups = [Group.of(50 * k + np.arange(50), own, np.ones(50)) for k, own in enumerate(y)]
    made = changes_of(groups[:2], groups[2:], np.array([0.5]), 200)
    np.testing.assert_array_equal(made.of_base[:100], made.influence[:100])
    assert made.of_base[:100].any(axis=0).all()
    assert not made.of_base[100:].any()
