"""What a process draws, and that its truth is what the designs estimate."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from simulated_processes import PERIODS, panel, process, with_gaps

from study import Question, QuestionError
from study.designs import find_design
from study.simulate.process import Process, _some, recent_growth, truth

EFFECTS = {"effect": 0.7, "heterogeneity": 0.6, "dynamics": 0.3, "early": 0.1}
CLOSED_FORM = (
    "callaway_santanna", "dcdh", "etwfe", "event_study", "imputation", "lee_wooldridge", "lp_did", "stacked",
     "sun_abraham", "synthetic_did", "twfe",
)  # fmt: skip
AVERAGES = ("event_average", "treated_average", "cohort_average", "calendar_average")


def drawn(made: Process, seed: int = 0, **dials: float) -> Any:
    return made.turned(**dials).draw(np.random.default_rng(seed))


def exact(made: Process, design: str, **options: Any) -> None:
    """Hold a design's headline to the truth on one draw without noise."""
    draw = drawn(made)
    sample = made.sample_of(draw)
    effect, mean = truth(draw, sample)
    expected = effect / mean if made.sample.question.scale == "proportional" else effect
    assert expected != 0
    headline = find_design(design)(sample, **options).headline.effect[0]
    np.testing.assert_allclose(headline, expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize(
    "question",
    [
        *[{"average": name} for name in AVERAGES],
        *[{"average": name, "weights": "weight", "scale": "proportional"} for name in AVERAGES],
        {"average": "event_average", "horizon": 2},
        {"average": "event_average", "balance": 3},
        {"balance": 3, "average": "event_average", "horizon": 1},
        {"anticipation": 1, "average": "event_average", "horizon": 2},
        {"comparison": "never_treated", "base": "varying"},
        {"population": "x>=0", "cluster": "state"},
    ],
    ids=str,
)
@pytest.mark.parametrize("gaps", ["none", "pairs", "balanced"])
def test_truth_is_what_callaway_santanna_finds_without_noise(question: dict[str, Any], gaps: str) -> None:
    whole = panel() if gaps == "none" else with_gaps(panel(), 0.2 if gaps == "pairs" else 0.03)
    missing = "balanced" if gaps == "balanced" else "pairs"
    made = process(whole, "continuous", dials=EFFECTS, missing=missing, **question)
    exact(made, "callaway_santanna")


def test_cells_in_which_one_unit_is_seen_are_part_of_the_truth() -> None:
    made = process(with_gaps(panel(40), 0.3), "continuous", dials=EFFECTS)
    exact(made, "callaway_santanna")


@pytest.mark.parametrize("average", AVERAGES)
def test_truth_of_repeated_cross_sections(average: str) -> None:
    made = process(
        with_gaps(panel()), "continuous", dials=EFFECTS, spread_of_size=0.0, average=average, missing="cells"
    )
    exact(made, "callaway_santanna")


def test_truth_where_nobody_is_never_treated() -> None:
    whole = panel(share=0.2)
    assert not np.isnan(whole.first_treated["event"]).any()
    made = process(whole, "continuous", dials=EFFECTS)
    exact(made, "callaway_santanna")
    exact(made, "sun_abraham")


def test_truth_on_the_log_scale() -> None:
    made = process(scale="log1p")
    draw = drawn(made, effect=0.5, heterogeneity=0.5)
    parallel = np.linspace(0, 1, len(PERIODS)) + np.random.default_rng(0).normal(5, 1, size=(400, 1))
    more = np.log1p(draw.y) - np.log1p(draw.untreated)
    draw = replace(draw, y=np.expm1(parallel + more), untreated=np.expm1(parallel))
    sample = made.sample_of(draw)
    headline = find_design("callaway_santanna")(sample).headline.effect[0]
    np.testing.assert_allclose(truth(draw, sample)[0], headline, rtol=1e-9)


def test_truth_is_nan_where_no_event_is_seen() -> None:
    made = process()
    draw = drawn(made, effect=0.5)
    draw = replace(draw, treated=np.zeros_like(draw.treated))
    assert np.isnan(truth(draw, made.sample)).all()


@pytest.mark.parametrize(
    ("horizon", "average"), [(None, "event_average"), (2, "event_average"), (None, "treated_average")]
)
@pytest.mark.parametrize("event", ["switch", "amount"])
@pytest.mark.parametrize("gaps", [0.0, 0.2])
def test_truth_of_a_path_is_what_dcdh_finds(
    event: str, horizon: int | None, average: str, gaps: float
) -> None:
    whole = with_gaps(panel(), gaps)
    dials = {"effect": 0.7, "heterogeneity": 0.6, "dynamics": 0.3}
    made = process(
        whole, "continuous", dials=dials, event=event, horizon=horizon, average=average, min_cohort_size=1
    )
    exact(made, "dcdh")


@pytest.mark.parametrize("event", ["switch", "amount", "everyone"])
def test_truth_of_a_path_is_the_coefficient_of_equal_effects(event: str) -> None:
    made = process(
        None,
        "continuous",
        dials={"effect": 0.7},
        event=event,
        average="treated_average",
        min_cohort_size=1,
    )
    exact(made, "panel_ols")


def test_truth_of_a_dose_of_all_units_is_per_unit_of_dose() -> None:
    made = process(None, "continuous", dials={"effect": 0.7}, event="everyone", min_cohort_size=1)
    draw = drawn(made)
    sample = made.sample_of(draw)
    headline = find_design("heterogeneous_adoption")(sample).headline.effect[0]
    np.testing.assert_allclose(headline, truth(draw, sample)[0], rtol=1e-6)


@pytest.mark.parametrize("elasticity", [0.0, 1.0, 2.0])
def test_truth_with_a_dose_is_the_average_that_dose_response_finds(elasticity: float) -> None:
    made = process(None, "continuous", dials=EFFECTS | {"dose": elasticity}, dose="dose")
    exact(made, "dose_response")


def test_a_third_difference_finds_the_effect_on_its_group() -> None:
    made = process(
        None,
        "continuous",
        dials=EFFECTS | {"trends": 0.5},
        event="by_state",
        group="team=odd",
        cluster="state",
    )
    draw = drawn(made)
    odd = made.sample.group
    assert odd is not None
    assert not draw.treated[~odd].any()
    np.testing.assert_array_equal(draw.y[~odd], draw.untreated[~odd])
    exact(made, "triple_difference")


def test_bytes_of_a_draw_depend_on_the_seed_alone() -> None:
    made = process(dials={"effect": 0.2, "shocks": 0.5, "missing": 0.1, "hidden": 0.1})
    sequence = np.random.SeedSequence(7, spawn_key=(3,))
    first, second = (made.draw(np.random.default_rng(sequence)) for _ in range(2))
    np.testing.assert_array_equal(first.y, second.y)
    assert not np.array_equal(first.untreated, drawn(made, 1).untreated)


def test_cohorts_keep_their_sizes_and_dates_change_hands() -> None:
    made = process()
    draw = drawn(made)
    old, new = (
        np.unique(dates, return_counts=True) for dates in (made.sample.first_treated, draw.first_treated)
    )
    np.testing.assert_array_equal(old, new)
    assert not np.array_equal(draw.first_treated, made.sample.first_treated, equal_nan=True)


def test_clusters_that_share_paths_switch_together() -> None:
    whole = panel()
    path = np.repeat(whole.treatment["switch"][::4], 4, axis=0)
    made = process(
        replace(whole, treatment={"switch": path}), event="switch", cluster="state", min_cohort_size=1
    )
    drawn_path = drawn(made).path.reshape(-1, 4, len(PERIODS))
    np.testing.assert_array_equal(drawn_path, np.repeat(drawn_path[:, :1], 4, axis=1))
    assert drawn_path.sum() == path.sum()


def test_clusters_that_share_dates_adopt_together() -> None:
    made = process(event="by_state", cluster="state")
    draw = drawn(made)
    dates = draw.first_treated.reshape(-1, 4)
    np.testing.assert_array_equal(dates, np.repeat(dates[:, :1], 4, axis=1))
    np.testing.assert_array_equal(
        *(np.unique(d, return_counts=True)[1] for d in (made.sample.first_treated, draw.first_treated))
    )


def test_doses_that_differ_within_clusters_of_one_date_are_refused() -> None:
    made = process(event="by_state", cluster="state", dose="dose")
    with pytest.raises(
        QuestionError, match=r"each cluster \(state\) is treated at one date, but dose differs"
    ):
        drawn(made)
    whole = panel()
    alike = replace(whole, doses={"dose": np.repeat(whole.doses["dose"][::4], 4, axis=0)})
    made = process(alike, event="by_state", cluster="state", dose="dose")
    np.testing.assert_array_equal(np.sort(drawn(made).dose), np.sort(made.sample.dose))


def test_adopters_are_larger_by_the_hazard() -> None:
    made = process(panel(20000, 0.005), hazard=(0.8, 0.0))
    log = np.log(made.size[0])
    draw = drawn(made)
    adopts = ~np.isnan(draw.first_treated)
    # The mean of a normal variable, weighted by exp(h z), is h.
    shift = (log[adopts].mean() - log.mean()) / log.std()
    assert shift == pytest.approx(0.8, abs=0.12)


def test_trends_are_parallel_in_levels_or_in_proportion() -> None:
    for a, power in ((0.0, 0), (1.0, 1)):
        made = process(dials={"size_growth": a})
        draw = drawn(made)
        growth = draw.untreated[:, -1] - draw.untreated[:, 0]
        at = growth / made.size[0] ** power
        assert np.std(at) / np.mean(at) < 0.02


def test_linear_confounding_is_solved_by_linear_adjustment_and_nonlinear_is_not() -> None:
    errors = {}
    for dial in ("linear", "nonlinear"):
        made = process(
            panel(4000), "continuous", dials={dial: 0.5, "effect": 0.3}, covariates=("x",), population="x>=-9"
        )
        draw = drawn(made)
        sample = made.sample_of(draw)
        errors[dial] = abs(
            find_design("callaway_santanna")(sample, method="reg").headline.effect[0] - truth(draw, sample)[0]
        )
    assert errors["linear"] < 1e-9
    assert errors["nonlinear"] > 0.05


def test_small_units_do_not_bend_linear_confounding() -> None:
    whole = panel(4000)
    made = process(whole, dials={"linear": 0.8}, covariates=("x",), spread_of_size=2.0)
    growth = np.diff(made._means(made.size[0], np.linspace(0, 1, 8))[:, [0, -1]])[:, 0]
    slope = np.polyfit(made.covariate, growth, 1)
    np.testing.assert_allclose(growth, np.polyval(slope, made.covariate), rtol=1e-9)
    assert slope[0] == pytest.approx(0.8 * made.mean_size)


@pytest.mark.parametrize(
    "question",
    [
        {},
        {"cluster": "state"},
        {"weights": "weight"},
        {"covariates": ("moving",)},
        {"comparison": "never_treated"},
        {"missing": "balanced"},
        {"missing": "cells"},
        {"scale": "log1p"},
        {"population": "x>=0"},
        {"population": "x>=0", "min_cohort_size": 16},
        {"average": "event_average", "horizon": 2},
    ],
    ids=str,
)
@pytest.mark.parametrize("share", [0.1, 0.2], ids=["some never treated", "all treated"])
def test_every_closed_form_design_takes_its_own_sample_of_a_draw(
    question: dict[str, Any], share: float
) -> None:
    if share == 0.2 and question.get("comparison") == "never_treated":
        return
    whole = with_gaps(panel(share=share), 0.03)
    made = process(whole, dials={"effect": 0.2, "shocks": 0.3, "missing": 0.02}, scale="proportional")
    draw = drawn(made)
    sample = made.sample_of(draw, made.sample.question.replace(**question).sample(whole))
    assert sample.question == Question(
        "y", "event", **{"scale": "proportional", "min_cohort_size": 1} | question
    )
    assert np.isfinite(truth(draw, sample)).all()
    answers = {}
    counts = () if question.get("scale") == "log1p" else ("poisson_twfe",)
    # Without never-treated units its leads are not identified.
    takers = [name for name in (*CLOSED_FORM, *counts) if share < 0.2 or name != "event_study"]
    for design in map(find_design, takers):
        try:
            design.refuse(sample)
        except QuestionError:
            continue
        answers[design.name] = design(sample).headline.effect[0]
    assert len(answers) >= (1 if question.get("missing") == "cells" else 6)
    assert np.isfinite([*answers.values()]).all(), answers


def test_a_template_drops_what_its_question_would_have_dropped() -> None:
    whole = with_gaps(panel(), 0.01)
    made = process(whole, dials={"missing": 0.05})
    draw, question = drawn(made), made.sample.question
    of = {
        name: made.sample_of(draw, question.replace(**changes).sample(whole))
        for name, changes in {
            "balanced": {"missing": "balanced"},
            "never": {"comparison": "never_treated", "population": "x>=0"},
            "early": {"anticipation": 2, "population": "x>=0"},
            "small": {"min_cohort_size": 20, "population": "x>=0"},
        }.items()
    }
    assert of["balanced"].observed.all()
    assert not np.any(of["never"].first_treated > PERIODS[-1])
    assert not np.any(of["early"].first_treated - 2 <= PERIODS[0])
    cohorts, sizes = np.unique(of["small"].first_treated, return_counts=True)
    assert len(cohorts) > 1
    assert (sizes[cohorts <= PERIODS[-1]] >= 20).all()


def test_cohorts_of_a_draw_are_as_large_as_the_units_that_are_left_in_them() -> None:
    whole = panel()
    made = process(whole, dials={"missing": 0.05}, missing="balanced", min_cohort_size=25)
    draw, question = drawn(made), made.sample.question
    moved = replace(whole, outcomes={"y": draw.y}, first_treated={"event": draw.first_treated})
    assert np.array_equal(made.sample_of(draw).unit_ids, question.sample(moved).unit_ids)


def test_a_template_of_other_units_is_refused() -> None:
    made = process(population="x>=0")
    with pytest.raises(
        QuestionError, match=r"simulate: the sample has \d+ units that its process does not draw"
    ):
        made.sample_of(drawn(made), Question("y", "event").sample(panel()))


def test_recent_growth_is_of_the_two_periods_before() -> None:
    y = np.expm1(np.array([[0.0, 1.0, 3.0, 6.0]]))
    assert [recent_growth(y, t, "count", 1.0)[0] for t in range(6)] == pytest.approx([0, 0, 1, 3, 5, 5])
    np.testing.assert_allclose(recent_growth(y, np.arange(6), "count", 1.0), [[0, 0, 1, 3, 5, 5]])


def test_a_process_says_what_it_is() -> None:
    text = repr(process(dials={"trends": 0.5}))
    assert text.startswith("Process on made: counts of 400 units in 8 periods")
    assert "dial trends: 0.5 (share of the mean, first to last period)" in text
    assert "zeros" not in text
    assert "dials: all neutral" in repr(process())
    assert "standard deviation, 2" in repr(process(family="continuous"))


def test_what_is_treated_in_each_panel_are_the_clusters_that_adopt_together_and_else_units() -> None:
    made = process(event="by_state", cluster="state")
    clusters = len(np.unique(made.sample.cluster[made.sample.ever_treated]))
    assert f"treated: {clusters} clusters a panel" in repr(made)
    assert f"treated: {process().sample.n_treated} units a panel" in repr(process())


def test_first_treated_periods_of_a_draw_are_dated_in_periods() -> None:
    made = process()
    draw = drawn(made, effect=0.3)
    at = PERIODS - draw.first_treated[:, None]
    np.testing.assert_array_equal(draw.treated, at >= 0)
    np.testing.assert_array_equal(draw.y != draw.untreated, at >= 0)


@pytest.mark.parametrize("name", ["size", "growth", "hazard", "neighbours"])
def test_shapes_that_do_not_fit_are_refused(name: str) -> None:
    with pytest.raises(QuestionError, match=rf"Process: {name} has shape \(3,\); it must be "):
        replace(process(), **{name: np.zeros(3)})


def test_poisson_regression_finds_an_equal_effect_where_growth_is_in_proportion() -> None:
    made = process(dials={"size_growth": 1.0, "effect": 0.3}, scale="proportional")
    draw = drawn(made)
    sample = made.sample_of(draw)
    effect, mean = truth(draw, sample)
    assert effect / mean == pytest.approx(0.3, abs=0.001)
    assert find_design("poisson_twfe")(sample).headline.effect[0] == pytest.approx(0.3, abs=0.001)
    biased = made.sample_of(drawn(made, size_growth=0.0))
    assert abs(find_design("poisson_twfe")(biased).headline.effect[0] - 0.3) > 0.01


def test_doses_change_hands_among_those_of_one_date() -> None:
    made = process(event="everyone", min_cohort_size=1)
    path, own = drawn(made).path, made.sample.path
    assert own is not None
    np.testing.assert_array_equal(np.sort(path[:, -1]), np.sort(own[:, -1]))
    assert abs(np.corrcoef(path[:, -1], own[:, -1])[0, 1]) < 0.2


def test_doses_have_nothing_to_do_with_the_hazard() -> None:
    whole = panel()
    doses = {"everyone": np.sort(whole.doses["everyone"], axis=0)}
    made = process(
        replace(whole, doses=doses, first_treated={}),
        event="everyone",
        hazard=(3.0, 0.0),
        min_cohort_size=1,
    )
    paths = [drawn(made, seed).path[:, -1] for seed in range(40)]
    assert abs(np.corrcoef(np.concatenate(paths), np.tile(np.log(made.size[0]), 40))[0, 1]) < 0.04


def test_units_treated_from_the_first_period_are_in_no_average() -> None:
    whole = panel()
    path = whole.treatment["switch"].copy()
    path[:20] = 1.0
    made = process(
        replace(whole, treatment={"switch": path}), "continuous", event="switch", min_cohort_size=1,
        dials={"effect": 0.5, "heterogeneity": 0.5},
    )  # fmt: skip
    draw = drawn(made)
    first = draw.path[:, 0] == 1
    assert first.sum() == 20
    assert not draw.treated[first].any()
    assert (draw.y != draw.untreated)[first].all()


def test_nothing_is_less_than_no_count() -> None:
    draw = drawn(process(), effect=-0.9, heterogeneity=1.0)
    assert draw.y.min() == 0


def test_late_cohorts_are_kept_however_small() -> None:
    made = process()
    draw, question = drawn(made), made.sample.question.replace(population="x>=0")
    template = question.sample(made.sample.panel)
    late = (draw.first_treated[draw.rows(template)] > PERIODS[-1]).sum()
    sample = made.sample_of(draw, replace(template, question=question.replace(min_cohort_size=int(late) + 1)))
    assert (sample.first_treated > PERIODS[-1]).sum() == late > 0


def test_hidden_treatment_is_in_no_average() -> None:
    made = process()
    draw = drawn(made, effect=0.5, hidden=0.29)
    never = np.isnan(draw.first_treated)
    assert not draw.treated[never].any()
    # 58 of 200, of which 0.29 times 200 is a little less in binary.
    assert (draw.y != draw.untreated)[never].any(axis=1).sum() == 58


def test_a_share_of_units_is_rounded_down_and_below_one_is_one_as_often_as_it_says() -> None:
    rng, units = np.random.default_rng(0), np.arange(33)
    assert {len(_some(units, 0.15, rng)) for _ in range(20)} == {4}
    assert np.mean([len(_some(units[:3], 0.1, rng)) for _ in range(2000)]) == pytest.approx(0.3, abs=0.04)
