"""contamination_weights against dense regressions of cell indicators and the sums of Proposition 3."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import simulated

from study import Panel, Question, QuestionError, estimate
from study.diagnostics import Finding
from study.diagnostics.two_way_weights import contamination_weights

ASKED = Question("y", "event", min_cohort_size=1)
SETTINGS: list[tuple[dict[str, Any], float, int | None]] = [
    ({}, 0.0, None),
    ({}, 0.15, None),
    ({"weights": "size"}, 0.15, None),
    ({"anticipation": 1}, 0.0, None),
    ({}, 0.0, 2),
    ({"weights": "size", "anticipation": 1}, 0.15, 3),
]


def weighted(panel: Panel, question: Question = ASKED, bin_at: int | None = None) -> Finding:
    return contamination_weights(question.sample(panel), bin_at=bin_at)


def cells_of(made: Finding) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return cohorts and event times of the cells, shape (C,), and weights by coefficient and cell, (K, C)."""
    shape = (len(made["coefficients"]), -1)
    cohort, event_time, weight = (
        made.frame[name].to_numpy().reshape(shape) for name in ("cohort", "event_time", "weight")
    )
    return cohort[0], event_time[0], weight


@pytest.mark.parametrize(("fields", "gaps", "bin_at"), SETTINGS)
def test_the_weighted_sum_of_cell_effects_is_each_coefficient_where_nothing_else_moves_the_outcome(
    fields: dict[str, Any], gaps: float, bin_at: int | None
) -> None:
    question = ASKED.replace(**fields)
    panel = simulated.with_late_units(n=90, gaps=gaps)
    sample = question.sample(panel)
    rng = np.random.default_rng(0)
    first = sample.first_treated
    assert first is not None
    effects = {(g, t): rng.normal() for g in np.unique(first[~np.isnan(first)]) for t in sample.periods}
    drawn = np.array([[effects.get((g, t), 0.0) for t in sample.periods] for g in first])
    y = drawn + 10 * rng.normal(size=(len(first), 1)) + rng.normal(size=len(sample.periods))
    made = contamination_weights(replace(sample, y=np.where(sample.observed, y, np.nan)), bin_at=bin_at)
    cohort, event_time, weight = cells_of(made)
    truth = np.array([effects[g, g + e] for g, e in zip(cohort, event_time, strict=True)])
    np.testing.assert_allclose(weight @ truth, made["coefficients"]["estimate"], rtol=0, atol=1e-9)


def test_each_weight_is_the_coefficient_in_a_regression_of_the_cells_indicator_on_dummies() -> None:
    sample = ASKED.replace(weights="size").sample(simulated.with_late_units(n=60, gaps=0.1))
    made = contamination_weights(sample)
    cohort, event_time, weight = cells_of(made)
    unit, period = np.nonzero(sample.observed)
    first = sample.first_treated
    assert first is not None
    since = (sample.periods - first[:, None])[unit, period]
    x = np.hstack(
        [
            since[:, None] == made["coefficients"]["coefficient_time"].to_numpy(),
            unit[:, None] == np.arange(sample.n_units),
            period[:, None] == np.arange(len(sample.periods)),
        ]
    ).astype(float)
    root = np.sqrt(sample.weights[unit])
    cells = (first[unit][:, None] == cohort) & (since[:, None] == event_time)
    solution = np.linalg.lstsq(x * root[:, None], cells * root[:, None], rcond=None)[0]
    np.testing.assert_allclose(weight, solution[: len(weight)], rtol=0, atol=1e-9)


@pytest.mark.parametrize("anticipation", [0, 1])
def test_weights_add_to_one_at_the_own_event_time_to_zero_at_others_and_to_minus_one_at_the_reference(
    anticipation: int,
) -> None:
    made = weighted(simulated.with_late_units(), ASKED.replace(anticipation=anticipation))
    _, event_time, weight = cells_of(made)
    times = np.unique(event_time)
    sums = weight @ (event_time[:, None] == times)
    own = made["coefficients"]["coefficient_time"].to_numpy()[:, None] == times
    expected = own.astype(float) - (times == -1 - anticipation)
    np.testing.assert_allclose(sums, expected, rtol=0, atol=1e-10)


def test_with_one_cohort_nothing_is_contaminated() -> None:
    made = weighted(simulated.panel(cohorts=(4,)))
    np.testing.assert_allclose(made["coefficients"]["from_other_effects"], 0, atol=1e-10)
    assert not any("although trends are parallel" in sentence for sentence in made.sentences)
    assert sum(sentence.startswith("No coefficient ") for sentence in made.sentences) == 2


def test_effects_that_differ_between_cohorts_move_coefficients_before_treatment_as_the_weights_say() -> None:
    panel = simulated.panel(n=150)
    first = panel.first_treated["event"]
    since = simulated.PERIODS - first[:, None]
    y = np.where((since >= 0) & (first[:, None] == 4), 1.0 + since, 0.0)
    made = weighted(replace(panel, outcomes={"y": y}))
    table = made["coefficients"]
    assert table["estimate"][table["coefficient_time"] < 0].abs().max() > 0.01
    cohort, event_time, weight = cells_of(made)
    cells = (cohort == 4) & (event_time >= 0)
    np.testing.assert_allclose(weight[:, cells] @ (1 + event_time[cells]), table["estimate"], atol=1e-9)
    assert any("although trends are parallel" in sentence for sentence in made.sentences)


def test_the_sentences_name_the_coefficients_that_carry_most() -> None:
    made = weighted(simulated.panel())
    _, event_time, weight = cells_of(made)
    times = made["coefficients"]["coefficient_time"].to_numpy()
    off = np.where(event_time == times[:, None], 0, np.abs(weight))
    carried = off[:, event_time >= 0].sum(axis=1)
    np.testing.assert_allclose(made["coefficients"]["from_other_effects"], carried, atol=1e-12)
    after = times >= 0
    worst = times[after][np.argmax(carried[after])]
    assert f"the one of event time {worst:g} carries most" in made.sentences[1]
    assert f"absolute sum {carried[after].max():.3g}" in made.sentences[1]


def test_negative_weights_on_the_own_event_time_are_summed_and_counted() -> None:
    made = weighted(simulated.with_late_units(), bin_at=2)
    by_hand = [
        sum(w for w, own in zip(rows["weight"], rows["own"], strict=True) if own and w < 0)
        for _, rows in made.frame.groupby("coefficient_time")
    ]
    count = sum(total < 0 for total in by_hand)
    assert 0 < count < len(by_hand)
    np.testing.assert_allclose(made["coefficients"]["negative_own"], by_hand, atol=1e-12)
    assert f"In {count} of {len(by_hand)} coefficients" in " ".join(made.sentences)


def test_order_shifts_of_time_and_the_scale_of_the_outcome_do_not_matter() -> None:
    panel = simulated.panel()
    order = np.random.default_rng(0).permutation(panel.n_units)
    moved = replace(
        simulated.ordered(panel, order),
        periods=panel.periods + 1990,
        first_treated={"event": panel.first_treated["event"][order] + 1990},
        outcomes={"y": 3 - 5 * panel.outcomes["y"][order]},
    )
    made, plain = weighted(moved), weighted(panel)
    np.testing.assert_allclose(made.frame["weight"], plain.frame["weight"], atol=1e-10)
    estimates = (found["coefficients"]["estimate"] for found in (made, plain))
    np.testing.assert_allclose(next(estimates), -5 * next(estimates), atol=1e-9)


def test_estimates_are_those_of_the_event_study_and_the_table_has_every_weight() -> None:
    panel = simulated.panel()
    made, fit = weighted(panel), estimate(panel, ASKED, "event_study")
    np.testing.assert_array_equal(made["coefficients"]["estimate"], fit.effect[~fit.reference])
    table = made.tidy()
    cells = table[["cohort", "event_time"]].drop_duplicates()
    assert len(table) == (~fit.reference).sum() * len(cells)
    own = table[table["own"]].groupby("coefficient_time")["weight"].sum()
    np.testing.assert_allclose(own, 1, atol=1e-10)
    assert (table.loc[table["own"], "event_time"] == table.loc[table["own"], "coefficient_time"]).all()


def test_the_figure_leaves_out_the_own_event_time_and_the_reference() -> None:
    made = weighted(simulated.panel())
    shown = np.ma.filled(made.plot().axes[0].images[0].get_array(), np.nan)
    off = made.frame[~made.frame["own"] & (made.frame["event_time"] != -1)]
    assert np.nansum(shown) == pytest.approx(off["weight"].abs().sum())


@pytest.mark.parametrize("cohort", [2, 4])
def test_with_one_cohort_the_figure_shows_no_rounding_as_weights(cohort: int) -> None:
    (shown,) = weighted(simulated.panel(cohorts=(cohort,))).plot().axes[0].images
    assert np.nansum(np.ma.filled(shown.get_array(), np.nan)) == 0
    assert shown.get_clim() == (0, 1)


@pytest.mark.parametrize(
    ("panel", "fields", "words"),
    [
        (simulated.switching(), {}, "event is not absorbing"),
        (simulated.panel(), {"covariates": ("moving",)}, "without covariates"),
        (simulated.panel(), {"comparison": "never_treated"}, 'comparison="never_treated"'),
    ],
)
def test_what_it_cannot_weight_is_refused_in_one_line(
    panel: Panel, fields: dict[str, Any], words: str
) -> None:
    with pytest.raises(QuestionError, match=r"^contamination_weights: [^\n]*$") as caught:
        weighted(panel, ASKED.replace(**fields))
    assert words in str(caught.value)
