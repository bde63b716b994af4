"""goodman_bacon against bacondecomp, plain loops and two-way regressions of two cohorts at a time."""

from __future__ import annotations

from dataclasses import replace

import goldens
import numpy as np
import pandas as pd
import pytest
import simulated
from references.bacondecomp import bacondecomp

from study import Panel, Question, QuestionError, estimate
from study.diagnostics import Finding
from study.diagnostics.two_way_weights import Kind, goodman_bacon
from study.panel.question import Sample

ASKED = Question("y", "event", min_cohort_size=1)


def decomposed(panel: Panel, question: Question = ASKED) -> Finding:
    return goodman_bacon(question.sample(panel))


def by_groups(made: Finding) -> pd.DataFrame:
    """Return the comparisons in the order of their groups."""
    return made.frame.sort_values(["treated", "compared"], ignore_index=True)


def coefficient(panel: Panel, question: Question = ASKED) -> float:
    return float(estimate(panel, question, "twfe").effect_level[0])


def two_way(sample: Sample, units: np.ndarray, periods: np.ndarray) -> float:
    """Return the two-way coefficient of some units and periods by demeaning the balanced block twice."""
    block = np.ix_(units, periods)

    def residual(values: np.ndarray) -> np.ndarray:
        values = values[block]
        w = sample.weights[units]
        by_period = np.average(values, axis=0, weights=w)
        return values - values.mean(axis=1, keepdims=True) - by_period + by_period.mean()

    d, y = residual(sample.treatment), residual(sample.y)
    return float(np.average((d * y).sum(axis=1), weights=sample.weights[units])) / float(
        np.average((d * d).sum(axis=1), weights=sample.weights[units])
    )


@pytest.mark.parametrize("panel", ["mpdta", "base_stagg", "sim_small", "sim_clustered"])
def test_every_comparison_and_its_weight_is_that_of_bacondecomp(panel: str) -> None:
    made = bacondecomp(panel, goldens.runs(panel, "bacondecomp")["bacon"])
    assert made.estimates < goldens.TOLERANCE
    assert made.counts["comparisons"][0] == made.counts["comparisons"][1]


@pytest.mark.parametrize(
    ("panel", "fields"),
    [
        (simulated.panel(), {}),
        (simulated.panel(level=1e6), {}),
        (simulated.panel(), {"weights": "size"}),
        (simulated.panel(), {"anticipation": 2}),
        (simulated.panel(), {"lag": 1}),
        (simulated.panel(level=50.0), {"scale": "log1p"}),
        (simulated.panel(level=50.0), {"scale": "proportional"}),
        (simulated.panel(n=400, gaps=0.1), {"missing": "balanced"}),
        (simulated.with_late_units(), {"weights": "size"}),
        (simulated.with_late_units(), {"anticipation": 1, "cohort_width": 2}),
        (simulated.panel(cohorts=(4,)), {}),
    ],
)
def test_weights_are_positive_add_to_one_and_sum_the_comparisons_to_the_two_way_coefficient(
    panel: Panel, fields: dict[str, object]
) -> None:
    question = ASKED.replace(**fields)
    made = decomposed(panel, question)
    assert (made.frame["weight"] > 0).all()
    assert made.frame["weight"].sum() == pytest.approx(1, abs=1e-12)
    assert made["coefficient"] == pytest.approx(coefficient(panel, question), rel=1e-9, abs=1e-9)


def test_each_comparison_is_the_two_way_coefficient_of_its_two_groups_in_its_window() -> None:
    sample = ASKED.replace(weights="size").sample(simulated.with_late_units())
    made = goodman_bacon(sample)
    first, periods = sample.first_treated, sample.periods
    assert first is not None
    for row in made.frame.itertuples():
        treated, compared = row.treated, pd.to_numeric(row.compared, errors="coerce")
        others = {Kind.NEVER: np.isnan(first), Kind.AFTER_WINDOW: first > periods[-1]}
        mates = others.get(row.kind, first == compared)
        units = np.flatnonzero((first == treated) | mates)
        inside = np.ones(len(periods), dtype=bool)
        if np.isfinite(compared):
            inside = periods < compared if compared > treated else periods >= compared
        expected = two_way(sample, units, np.flatnonzero(inside))
        assert row.estimate == pytest.approx(expected, abs=1e-10)


def test_the_unnormalised_weights_are_those_of_the_paper_and_add_to_the_variance_of_treatment() -> None:
    sample = ASKED.sample(simulated.panel())
    made, first = goodman_bacon(sample), sample.first_treated
    d = sample.treatment
    within = d - d.mean(axis=1, keepdims=True) - d.mean(axis=0) + d.mean()
    for row in made.frame.itertuples():
        share_treated = np.mean(first == row.treated)
        never = row.kind == Kind.NEVER
        share_compared = np.mean(np.isnan(first) if never else first == float(row.compared))
        treated = np.mean(sample.periods >= row.treated)
        compared = 0.0 if never else np.mean(sample.periods >= float(row.compared))
        n = share_treated / (share_treated + share_compared)
        if treated > compared:  # equations (10e) and (10f), with a never-treated group as one that has D = 0
            variance = n * (1 - n) * (treated - compared) / (1 - compared) * (1 - treated) / (1 - compared)
            expected = ((share_treated + share_compared) * (1 - compared)) ** 2 * variance
        else:  # (10g)
            variance = n * (1 - n) * treated / compared * (compared - treated) / compared
            expected = ((share_treated + share_compared) * compared) ** 2 * variance
        assert row.weight * np.mean(within**2) == pytest.approx(expected, abs=1e-12)


def test_with_effects_that_stay_the_same_forbidden_comparisons_find_them_and_with_growing_ones_they_do_not() -> (
    None
):
    panel = simulated.panel()
    first = panel.first_treated["event"]
    trends = np.arange(panel.n_units)[:, None] + simulated.PERIODS**2.0
    since = simulated.PERIODS - first[:, None]
    flat = decomposed(replace(panel, outcomes={"y": trends + 3.0 * (since >= 0)}))
    np.testing.assert_allclose(flat.frame["estimate"], 3.0, atol=1e-9)
    growing = decomposed(replace(panel, outcomes={"y": trends + np.where(since >= 0, 3.0 + since, 0.0)}))
    forbidden, estimates = growing.frame["forbidden"], growing.frame["estimate"]
    assert forbidden.any()
    assert (estimates[forbidden] < 3.0).all()
    assert (estimates[~forbidden] >= 3.0 - 1e-9).all()
    assert growing["allowed_average"] > growing["coefficient"]


def test_units_treated_after_the_window_are_untreated_and_shown_apart_from_the_never_treated() -> None:
    panel = simulated.with_late_units()
    apart = decomposed(panel).frame
    first = panel.first_treated["event"]
    as_never = replace(panel, first_treated={"event": np.where(first > 8, np.nan, first)})
    together = decomposed(as_never).frame
    assert set(apart["kind"]) == {kind.value for kind in Kind}
    assert Kind.AFTER_WINDOW not in set(together["kind"])
    for g in simulated.COHORTS:
        here = (apart["treated"] == g) & np.isin(apart["kind"], [Kind.NEVER, Kind.AFTER_WINDOW])
        there = (together["treated"] == g) & (together["kind"] == Kind.NEVER)
        assert here.sum() == 2
        assert apart["weight"][here].sum() == pytest.approx(together["weight"][there].sum(), abs=1e-12)
        assert apart["weight"][here] @ apart["estimate"][here] == pytest.approx(
            (together["weight"][there] * together["estimate"][there]).sum(), abs=1e-12
        )


def test_late_cohorts_are_one_group() -> None:
    panel = simulated.with_late_units()
    first = panel.first_treated["event"].copy()
    first[np.flatnonzero(first == 11)[::2]] = 13
    split = by_groups(decomposed(replace(panel, first_treated={"event": first})))
    one = by_groups(decomposed(panel))
    np.testing.assert_allclose(split["weight"], one["weight"], atol=1e-14)
    np.testing.assert_allclose(split["estimate"], one["estimate"], atol=1e-12)


def test_without_never_treated_units_the_last_cohort_is_compared_with_until_it_is_treated() -> None:
    panel = simulated.panel()
    panel = simulated.subset(panel, ~np.isnan(panel.first_treated["event"]))
    made = decomposed(panel)
    assert set(made.frame["kind"]) == {Kind.AFTER_WINDOW.value, Kind.LATER.value, Kind.ALREADY.value}
    assert made["coefficient"] == pytest.approx(coefficient(panel), abs=1e-9)


def test_order_labels_constants_and_shifts_of_time_do_not_matter_and_scale_does_as_it_should() -> None:
    panel = simulated.panel()
    rng = np.random.default_rng(1)
    plain = by_groups(decomposed(panel))
    order = rng.permutation(panel.n_units)
    y = panel.outcomes["y"]
    moved = replace(
        panel,
        periods=panel.periods + 2000,
        first_treated={"event": panel.first_treated["event"] + 2000},
        outcomes={"y": -7 * y + rng.normal(size=(len(y), 1)) * 100 + rng.normal(size=y.shape[1]) * 100},
        units=np.array([f"z{i:04d}" for i in range(panel.n_units)]),
    )
    for other, factor, shift in ((simulated.ordered(panel, order), 1, 0), (moved, -7, 2000)):
        made = by_groups(decomposed(other))
        np.testing.assert_array_equal(made["treated"], plain["treated"] + shift)
        np.testing.assert_allclose(made["weight"], plain["weight"], atol=1e-14)
        np.testing.assert_allclose(made["estimate"], factor * plain["estimate"], atol=1e-9)


def test_the_sentences_and_tables_say_which_comparisons_are_forbidden_and_their_share() -> None:
    made = decomposed(simulated.with_late_units())
    text = " ".join(made.sentences)
    table, kinds = made.tidy(), made["by_kind"]
    forbidden = pd.to_numeric(table["compared"], errors="coerce") < table["treated"]
    np.testing.assert_array_equal(table["forbidden"], forbidden)
    assert f"the forbidden ones, carry {table['weight'][forbidden].sum():.1%} of the weight" in text
    assert f"coefficient of y is {made['coefficient']:.4g}" in text
    assert table["weight"].is_monotonic_decreasing
    assert table["weight"] @ table["estimate"] == pytest.approx(made["coefficient"], abs=1e-12)
    assert kinds["weight"] @ kinds["estimate"] == pytest.approx(made["coefficient"], abs=1e-12)
    assert set(table.loc[table["forbidden"], "kind"]) == {"already treated"}
    one = decomposed(simulated.panel(cohorts=(4,)))
    assert "No comparison is with units that are already treated." in one.sentences
    assert one.sentences[0].endswith("the weighted sum of 1 difference in differences of two groups.")
    assert one["allowed_average"] == pytest.approx(one["coefficient"])
    share = decomposed(simulated.panel(level=50.0), ASKED.replace(scale="proportional"))
    assert "in levels" in share.sentences[-1]


def test_the_figure_shows_every_comparison_once_and_the_coefficient() -> None:
    made = decomposed(simulated.with_late_units())
    axis = made.plot().axes[0]
    points = [line for line in axis.lines if line.get_marker() not in ("None", None, "")]
    drawn = np.concatenate([np.column_stack(line.get_data()) for line in points])
    expected = np.column_stack([100 * made.frame["weight"], made.frame["estimate"]])
    np.testing.assert_allclose(drawn[np.lexsort(drawn.T)], expected[np.lexsort(expected.T)])
    assert len({(line.get_marker(), line.get_markerfacecolor()) for line in points}) == 4
    assert any(
        np.allclose(line.get_ydata(), made["coefficient"]) for line in axis.lines if line not in points
    )


@pytest.mark.parametrize(
    ("panel", "fields", "words"),
    [
        (simulated.panel(gaps=0.1), {}, 'ask the question with missing="balanced"'),
        (simulated.panel(), {"covariates": ("moving",)}, "use negative_weights"),
        (simulated.switching(), {}, "event is not absorbing"),
        (simulated.panel(), {"comparison": "never_treated"}, 'comparison="never_treated"'),
        (simulated.panel(), {"missing": "cells"}, 'missing="cells"'),
    ],
)
def test_what_it_cannot_decompose_is_refused_in_one_line(
    panel: Panel, fields: dict[str, object], words: str
) -> None:
    with pytest.raises(QuestionError, match=r"^goodman_bacon: [^\n]*$") as caught:
        decomposed(panel, ASKED.replace(**fields))
    assert words in str(caught.value)


def test_long_numbers_of_periods_are_written_out() -> None:
    made = simulated.panel(40)
    days = replace(
        made,
        periods=made.periods + 2024000,
        first_treated={"event": made.first_treated["event"] + 2024000},
    )
    assert {"2024004", "2024006", "2024007"} <= set(decomposed(days).frame["compared"])
