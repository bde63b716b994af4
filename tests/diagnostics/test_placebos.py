"""Placebo dates and outcomes find nothing where there is nothing, and only use what they may use."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import simulated
from simulated import PERIODS
from statsmodels.stats.multitest import multipletests

from study import Panel, Question, QuestionError, estimate
from study.designs import find_design
from study.diagnostics.placebos import placebo_dates, placebo_outcomes, placebo_sample
from study.estimates import Effect

QUESTION = Question("y", "event", comparison="never_treated", average="event_average", horizon=2)
WITH_GAPS = ("callaway_santanna", "etwfe", "event_study", "imputation", "lp_did", "sun_abraham", "twfe")


def without_noise(cohorts: tuple[int, ...] = (4, 6, 7), never: bool = True) -> Panel:
    """Return a panel whose outcome is a unit effect, a period effect and an effect that grows."""
    made = simulated.panel(n=60)
    dates = [*cohorts, np.nan] if never else [*cohorts]
    first = np.resize(np.array(dates), 60)
    y = np.arange(60.0)[:, None] + np.sin(PERIODS) + simulated.effects(first, 1.0)
    return replace(made, outcomes={"y": y}, first_treated={"event": first})


@pytest.mark.parametrize("shift", [1, 2])
@pytest.mark.parametrize("design", WITH_GAPS)
def test_no_outcome_after_treatment_leaks_into_any_design(design: str, shift: int) -> None:
    comparison = "never_treated" if design not in ("event_study", "twfe") else "not_yet_treated"
    sample = QUESTION.replace(comparison=comparison).sample(without_noise())
    found = find_design(design)(placebo_sample(sample, shift)).headline
    assert found.effect[0] == pytest.approx(0, abs=1e-9)


def test_no_outcome_leaks_where_everyone_is_treated_in_the_end() -> None:
    sample = QUESTION.replace(comparison="not_yet_treated").sample(without_noise((4, 6, 8), never=False))
    moved = placebo_sample(sample, 2)
    assert moved.periods[-1] == 7
    assert find_design("callaway_santanna")(moved).headline.effect[0] == pytest.approx(0, abs=1e-9)


def test_only_treated_outcomes_are_dropped_and_only_treated_dates_move() -> None:
    made = simulated.with_late_units(80)
    sample = Question("y", "event", anticipation=1).sample(made)
    moved = placebo_sample(sample, 1)
    kept = np.isin(sample.unit_ids, moved.unit_ids)
    assert sample.first_treated is not None
    assert moved.first_treated is not None
    first = sample.first_treated[kept]
    for i, (before, after) in enumerate(zip(first, moved.first_treated, strict=True)):
        in_window = before - 1 <= 8
        assert after == before - 2 if in_window else np.array_equal(after, before, equal_nan=True)
        unseen = before - 1 <= PERIODS if in_window else np.zeros(8, dtype=bool)
        np.testing.assert_array_equal(np.isnan(moved.y[i]), unseen)


@pytest.mark.parametrize("anticipation", [0, 1])
def test_units_without_a_period_before_their_moved_date_are_left_out(anticipation: int) -> None:
    made = simulated.panel(80)
    sample = QUESTION.replace(anticipation=anticipation).sample(made)
    moved = placebo_sample(sample, 3 - anticipation)
    out = np.setdiff1d(sample.unit_ids, moved.unit_ids)
    np.testing.assert_array_equal(out, made.units[made.first_treated["event"] == 4])


def test_cohorts_that_are_too_small_for_the_question_stay_out_after_dates_moved() -> None:
    sample = QUESTION.replace(min_cohort_size=10).sample(simulated.panel(200))
    assert sample.first_treated is not None
    few = np.flatnonzero(sample.first_treated == 7)[:3]
    fewer = sample.only(
        ~np.isin(np.arange(sample.n_units), np.setdiff1d(np.flatnonzero(sample.first_treated == 7), few)), ""
    )
    assert list(placebo_sample(fewer, 1).cohorts) == [3, 5]


def by_hand(made: Panel, shift: int) -> float:
    """Return the event average 0..shift-1 of the cohorts' changes since g-shift-1 less those of the never-treated."""
    y, first = made.outcomes["y"], made.first_treated["event"]
    path = []
    for e in range(shift):
        changes, sizes = [], []
        for g in simulated.COHORTS:
            now, base = int(g) - shift + e - 1, int(g) - shift - 2
            if base >= 0:
                change = y[:, now] - y[:, base]
                changes.append(change[first == g].mean() - change[np.isnan(first)].mean())
                sizes.append(np.sum(first == g))
        path.append(np.average(changes, weights=sizes))
    return float(np.mean(path))


def test_placebo_effects_equal_means_by_hand() -> None:
    made = simulated.panel(n=120, seed=3)
    found = placebo_dates(QUESTION.sample(made), "callaway_santanna", shifts=[1, 2, 3])
    expected = [by_hand(made, shift) for shift in (1, 2, 3)]
    table = found.tidy().set_index("shift")
    np.testing.assert_allclose(table["estimate"][1:], expected, rtol=0, atol=1e-9)
    assert list(table.index) == [0, 1, 2, 3]
    assert list(table["lost"]) == ["", "", "", f"cohort 4 ({np.sum(made.first_treated['event'] == 4)} units)"]


def test_anticipation_moves_the_event_earlier_and_nothing_else() -> None:
    made = simulated.panel(n=120, seed=4)
    early = placebo_dates(QUESTION.replace(anticipation=1).sample(made), "callaway_santanna", shifts=[1, 2])
    lagged = placebo_dates(QUESTION.replace(lag=-1).sample(made), "callaway_santanna", shifts=[1, 2])
    np.testing.assert_allclose(early.tidy()["estimate"][1:], lagged.tidy()["estimate"][1:], atol=1e-12)


def test_placebo_dates_centre_at_zero_and_keep_their_size_under_parallel_trends() -> None:
    rng, found, rejected = np.random.default_rng(5), [], 0
    for _ in range(200):
        made, _ = simulated.draw(rng, 150)
        one = placebo_dates(QUESTION.sample(made), "callaway_santanna", shifts=[1, 2], draws=499)
        found.append([*(r.estimate for r in one["rows"]), *(r.std_error for r in one["rows"])])
        rejected += one["p_joint"] < 0.05
    values = np.array(found)
    mean, spread = values[:, :2].mean(axis=0), values[:, :2].std(axis=0, ddof=1)
    assert np.all(np.abs(mean) < 3.5 * spread / np.sqrt(200))
    np.testing.assert_allclose(values[:, 2:].mean(axis=0), spread, rtol=0.15)
    assert 0.01 <= rejected / 200 <= 0.10


def test_a_trend_of_the_treated_is_found_and_said() -> None:
    made = simulated.panel(n=300, seed=6)
    drift = 0.8 * np.outer(~np.isnan(made.first_treated["event"]), PERIODS)
    drifting = replace(made, outcomes={"y": made.outcomes["y"] + drift})
    found = placebo_dates(QUESTION.sample(drifting), "callaway_santanna")
    assert found["p_joint"] == pytest.approx(1e-4)
    assert found.against
    assert any("all of them are zero rejects" in sentence for sentence in found.sentences)
    quiet = placebo_dates(
        QUESTION.sample(simulated.draw(np.random.default_rng(1), 300)[0]), "callaway_santanna"
    )
    assert any("all of them are zero does not reject" in sentence for sentence in quiet.sentences)


def test_tests_are_at_five_percent_whatever_the_coverage_of_the_intervals_and_say_so() -> None:
    made = two_outcomes()
    for level in (0.5, 0.95):
        dates = placebo_dates(QUESTION.sample(made), "callaway_santanna", level=level)
        assert dates.against == (dates["p_joint"] < 0.05)
        assert dates.sentences[1].endswith("The joint test is at 5%.")
        outcomes = placebo_outcomes(made, QUESTION, ["other", "nothing"], "callaway_santanna", level=level)
        assert outcomes["moved"] == ["other"]
        assert outcomes.verdict.startswith("At a familywise error of 5%, 1 of 2")


def test_the_joint_p_value_repeats_with_its_seed_and_rows_may_stand_in_any_order() -> None:
    made = simulated.panel(n=100, seed=7)
    shuffled = simulated.ordered(made, np.random.default_rng(0).permutation(100))
    first, again, other = (
        placebo_dates(QUESTION.sample(p), "callaway_santanna", seed=3) for p in (made, made, shuffled)
    )
    assert first["p_joint"] == again["p_joint"]
    np.testing.assert_allclose(first.tidy()["estimate"][1:], other.tidy()["estimate"][1:], rtol=1e-10)


def test_a_shift_that_leaves_nobody_treated_is_listed_with_its_reason() -> None:
    found = placebo_dates(QUESTION.sample(simulated.panel()), "callaway_santanna", shifts=[1, 7])
    assert list(found.tidy()["shift"]) == [0, 1]
    refusals = [sentence for sentence in found.sentences if sentence.startswith("Without an estimate: ")]
    assert len(refusals) == 1
    assert refusals[0].startswith("Without an estimate: 7 periods earlier, because ")


def test_by_default_the_placebo_averages_as_many_event_times_as_the_headline() -> None:
    sample = QUESTION.sample(simulated.panel())
    assert list(placebo_dates(sample, "callaway_santanna").tidy()["shift"]) == [0, 1, 2, 3]
    free = replace(sample, question=QUESTION.replace(horizon=None))
    assert list(placebo_dates(free, "callaway_santanna").tidy()["shift"]) == [0, 1, 2, 3, 4, 5]


def two_outcomes(seed: int = 0, n: int = 120) -> Panel:
    made = simulated.panel(n=n, seed=seed)
    rng = np.random.default_rng(seed + 100)
    other = rng.normal(size=(n, 1)) + 0.5 * made.outcomes["y"] + rng.normal(size=(n, len(PERIODS)))
    nothing = rng.normal(size=(n, len(PERIODS)))
    return replace(made, outcomes=dict(made.outcomes) | {"other": other, "nothing": nothing})


def test_placebo_outcomes_are_the_answers_to_the_same_question() -> None:
    made, elsewhere = two_outcomes(), simulated.panel(n=90, seed=9)
    found = placebo_outcomes(
        made, QUESTION, {"here": "other", "there": (elsewhere, "y")}, "callaway_santanna"
    )
    expected = [
        estimate(made, QUESTION.replace(outcome="other")).headline,
        estimate(elsewhere, QUESTION).headline,
    ]
    table = found.tidy()
    np.testing.assert_allclose(table["estimate"][1:], [e.effect[0] for e in expected], rtol=1e-12)
    np.testing.assert_allclose(table["std_error"][1:], [e.std_error[0] for e in expected])
    assert list(table["outcome"]) == ["y", "here", "there"]
    assert [row.label for row in found["rows"]] == ["here", "there"]


def test_the_difference_from_a_placebo_is_the_effect_on_the_difference_of_outcomes() -> None:
    made = two_outcomes()
    gap = replace(made, outcomes={"y": made.outcomes["y"] - made.outcomes["other"]})
    found = placebo_outcomes(made, QUESTION, ["other"], "callaway_santanna")
    expected = estimate(gap, QUESTION).headline
    placebo = found.tidy().iloc[1]
    assert placebo["difference"] == pytest.approx(expected.effect[0], rel=1e-9)
    assert placebo["difference_std_error"] == pytest.approx(expected.std_error[0], rel=1e-9)
    assert placebo["difference_p"] == pytest.approx(expected.tidy().p_value[0], rel=1e-9)


def test_p_values_are_adjusted_within_the_placebo_outcomes_only() -> None:
    found = placebo_outcomes(two_outcomes(), QUESTION, ["other", "nothing"], "callaway_santanna")
    placebos = found.tidy().iloc[1:]
    expected = multipletests(placebos["p_value"], method="holm")[1]
    np.testing.assert_allclose(placebos["p_holm"], expected, rtol=1e-12)


def test_the_largest_effect_not_excluded_is_the_far_end_of_the_interval() -> None:
    found = placebo_outcomes(two_outcomes(), QUESTION, ["other", "nothing"], "callaway_santanna")
    table = found.tidy()
    ends = table[["conf_low", "conf_high"]].abs().max(axis=1)
    np.testing.assert_allclose(table["largest_not_excluded"], ends, rtol=1e-12)
    assert list(table["role"]) == ["outcome", "placebo", "placebo"]
    assert found.sentences[0].endswith(
        "1 of 2 placebo outcomes (other, nothing) move with the treatment: other."
    )
    assert found["moved"] == ["other"]
    assert found.against
    assert found.objection == "effects on outcomes that should have none (other)"


def test_an_effect_knows_its_largest_not_excluded_and_whether_its_interval_excludes_zero() -> None:
    row = Effect("x", -1.0, 0.1, 0.0, -1.2, -0.8)
    assert row.largest_not_excluded == 1.2
    assert row.excludes_zero
    assert replace(row, conf_low=-0.1, conf_high=0.3).largest_not_excluded == 0.3
    assert not replace(row, conf_low=-0.1, conf_high=0.3).excludes_zero


def test_a_placebo_that_cannot_be_asked_is_listed() -> None:
    other = simulated.panel(n=40)
    late = replace(other, first_treated={"event": np.full(40, np.nan)})
    found = placebo_outcomes(two_outcomes(), QUESTION, {"a": "other", "b": (late, "y")}, "callaway_santanna")
    assert [s for s in found.sentences if s.startswith("Without an estimate: ")] == [found.sentences[-1]]
    assert found.sentences[-1].startswith("Without an estimate: b, because ")
    assert len(found.tidy()) == 2


@pytest.mark.parametrize("scale", ["level", "proportional"])
def test_figures_have_a_line_for_each_row(scale: str) -> None:
    lifted = replace(two_outcomes(), outcomes={k: v + 20 for k, v in two_outcomes().outcomes.items()})
    question = QUESTION.replace(scale=scale)
    dates = placebo_dates(question.sample(lifted), "callaway_santanna")
    outcomes = placebo_outcomes(lifted, question, ["other", "nothing"], "callaway_santanna")
    for found in (dates, outcomes):
        axis = found.plot().axes[0]
        assert len(axis.get_yticks()) == len(found.tidy())
        assert ("%" in axis.get_xlabel().rsplit("\n", 1)[0]) == (scale == "proportional")
        assert all(sentence.endswith(".") and "nan" not in sentence for sentence in found.sentences)


def test_bad_input_is_one_clear_error() -> None:
    made = two_outcomes()
    sample = QUESTION.sample(made)
    switching = replace(sample, first_treated=None, path=sample.treatment)
    early = replace(sample, first_treated=np.where(np.isnan(sample.first_treated), np.nan, 2.0))
    for bad, said in (
        (lambda: placebo_dates(switching, "twfe"), "is not absorbing"),
        (lambda: placebo_dates(early, "twfe"), "no cohort has two periods"),
        (lambda: placebo_dates(sample, "twfee"), 'Did you mean "twfe"'),
        (lambda: placebo_dates(sample, "twfe", metod=1), "no option"),
        (lambda: placebo_dates(sample, "twfe", shifts=[0]), "whole number from 1 on"),
        (lambda: placebo_dates(sample, "twfe", shifts=[1, 1]), "each once"),
        (lambda: placebo_dates(sample, "twfe", shifts=[]), "at least one"),
        (lambda: placebo_dates(sample, "twfe", level=95), "between 0 and 1"),
        (lambda: placebo_dates(sample, "twfe", draws=0), "draws"),
        (lambda: placebo_dates(sample, "callaway_santanna", shifts=[7]), "no changed sample has an estimate"),
        (lambda: placebo_outcomes(made, QUESTION, "other", "twfe"), r'as in outcomes=\["other"\]'),
        (lambda: placebo_outcomes(made, QUESTION, [], "twfe"), "give a list"),
        (lambda: placebo_outcomes(made, QUESTION, ["othr"], "twfe"), 'Did you mean "other"'),
        (lambda: placebo_outcomes(made, QUESTION, ["y"], "twfe"), "own outcome"),
    ):
        with pytest.raises(QuestionError, match=said):
            bad()
