"""Questions and the samples they draw: who is kept in which role, and what cannot be asked."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import simulated

from study import Panel, Question, QuestionError, estimate
from study.designs import find_design
from study.panel.question import FlowStep, Sample, panel_for


def dated(*dates: float) -> Panel:
    """Return a panel of one unit a date, NaN for never, over periods 1 to 8."""
    panel = simulated.panel(n=len(dates))
    return replace(panel, first_treated={"event": np.array(dates, dtype=float)})


def steps(sample: Sample) -> dict[str, int]:
    return {step.reason: step.units for step in sample.flow}


NEVER = np.nan


def test_units_are_kept_or_dropped_for_one_stated_reason_each() -> None:
    panel = dated(-5, 1, 3, 3, 12, NEVER, NEVER)
    sample = Question("y", "event").sample(panel)
    assert steps(sample) == {
        "already treated in 1": 2,
        "first treated in 3": 2,
        "first treated after 8": 1,
        "never treated": 2,
    }
    assert sum(step.units for step in sample.flow) == panel.n_units
    np.testing.assert_array_equal(sample.first_treated, [3, 3, 12, NEVER, NEVER])
    assert list(sample.cohorts) == [3]


def test_anticipation_moves_who_is_already_treated_and_when_treatment_starts() -> None:
    sample = Question("y", "event", anticipation=2).sample(dated(3, 5, NEVER))
    assert "already treated in 1 (with 2 periods of anticipation)" in steps(sample)
    np.testing.assert_array_equal(sample.treatment[0], [0, 0, 1, 1, 1, 1, 1, 1])


def test_the_lag_moves_events_later() -> None:
    sample = Question("y", "event", lag=2).sample(dated(2, 3, NEVER))
    np.testing.assert_array_equal(sample.first_treated, [4, 5, NEVER])


def test_a_date_in_the_first_period_is_known_and_a_lag_moves_it_into_the_window() -> None:
    panel = dated(1, 3, NEVER)
    assert steps(Question("y", "event").sample(panel))["already treated in 1"] == 1
    np.testing.assert_array_equal(Question("y", "event", lag=1).sample(panel).first_treated, [2, 4, NEVER])
    with_anticipation = Question("y", "event", lag=1, anticipation=1).sample(panel)
    assert steps(with_anticipation)["already treated in 1 (with 1 period of anticipation)"] == 1


@pytest.mark.parametrize("lag", [1, 2, 6])
def test_no_lag_makes_an_event_of_a_date_that_may_be_censored(lag: int) -> None:
    before = Question("y", "event", lag=lag).sample(dated(0, 2, NEVER))
    assert steps(before)["already treated in 1"] == 1
    path = pd.DataFrame({"i": np.repeat(["a", "b", "c"], 8), "t": np.tile(np.arange(1, 9), 3), "y": 1.0})
    path["on"] = (path["t"] >= path["i"].map({"a": 1, "b": 2, "c": 9})).astype(float)
    panel = Panel.from_long(path, unit="i", time="t", treatment="on", outcomes="y")
    sample = Question("y", "on", lag=lag).sample(panel)
    assert steps(sample)["already treated in 1"] == 1
    np.testing.assert_array_equal(sample.first_treated, [2 + lag, NEVER])


def test_an_event_before_the_panel_s_second_period_cannot_move_earlier() -> None:
    earlier = Question("y", "event", lag=-1).sample(dated(2, 3, NEVER))
    np.testing.assert_array_equal(earlier.first_treated, [2, NEVER])


def test_without_never_treated_units_the_last_cohort_s_treated_periods_are_cut_and_counted() -> None:
    sample = Question("y", "event").sample(dated(3, 4, 6, 6))
    assert list(sample.periods) == [1, 2, 3, 4, 5]
    assert "3 periods cut, no comparison left from 6" in steps(sample)
    assert list(sample.cohorts) == [3, 4]


def test_small_cohorts_are_dropped_and_counted() -> None:
    sample = Question("y", "event", min_cohort_size=2).sample(dated(3, 4, 4, 9, NEVER))
    assert steps(sample)["in a cohort of fewer than 2 units"] == 1
    assert list(sample.cohorts) == [4]
    assert 9 in sample.first_treated


def test_pooled_cohorts_are_dated_by_the_first_period_of_their_window() -> None:
    sample = Question("y", "event", cohort_width=3).sample(dated(2, 4, 5, 7, NEVER))
    np.testing.assert_array_equal(sample.first_treated, [2, 2, 5, 5, NEVER])


def test_a_pooled_cohort_that_anticipates_from_the_first_period_on_is_already_treated() -> None:
    sample = Question("y", "event", cohort_width=2, anticipation=1).sample(dated(3, 4, 5, NEVER))
    np.testing.assert_array_equal(sample.first_treated, [4, 4, NEVER])
    assert steps(sample)["already treated in 1 (with 1 period of anticipation)"] == 1


@pytest.mark.parametrize("lag", [-1, 0, 1])
@pytest.mark.parametrize("anticipation", [0, 1, 2])
@pytest.mark.parametrize("cohort_width", [1, 2, 3])
def test_every_cohort_of_a_sample_has_its_base_period_in_the_window(
    cohort_width: int, anticipation: int, lag: int
) -> None:
    question = Question("y", "event", cohort_width=cohort_width, anticipation=anticipation, lag=lag)
    for first in range(9):
        sample = question.sample(dated(first, 6, NEVER))
        assert sample.cohorts[0] + question.reference >= sample.periods[0]
    earlier = replace(sample, first_treated=np.array([anticipation + 1.0, 6, NEVER]))
    for design in ("callaway_santanna", "dml_stacked"):
        with pytest.raises(QuestionError, match=f"Sample: units first treated in {anticipation + 1} have no"):
            find_design(design)(earlier)


def test_weights_have_mean_one_and_clusters_number_from_zero() -> None:
    sample = Question("y", "event", weights="size", cluster="state").sample(simulated.panel(n=50))
    assert sample.weights.mean() == pytest.approx(1.0)
    assert sorted(set(sample.cluster)) == list(range(17))


def test_units_without_a_weight_are_left_out_and_told_so() -> None:
    panel = simulated.panel(n=50)
    size = panel.covariates["size"].copy()
    size[:2] = np.nan
    sample = Question("y", "event", weights="size").sample(replace(panel, covariates={"size": size}))
    assert [f"{step.units} {step.reason}" for step in sample.flow if not step.kept] == [
        "2 weight size is missing or not positive"
    ]


def test_missing_outcomes_and_a_population_leave_units_out() -> None:
    panel = simulated.panel(n=60)
    y = panel.outcomes["y"].copy()
    y[0], y[1, 3] = np.nan, np.nan
    gappy = replace(panel, outcomes={"y": y})
    assert Question("y", "event").sample(gappy).n_units == 59
    assert Question("y", "event", missing="balanced").sample(gappy).n_units == 58
    one = Question("y", "event", population="state=s03").sample(simulated.panel(n=200))
    assert set(one.attributes["state"]) == {"s03"}


IMPOSSIBLE: dict[str, tuple[Panel, dict[str, Any], str]] = {
    "nobody treated in the window": (
        dated(-3, 12, NEVER),
        {},
        "nobody in simulated is first treated by event inside 1-8 (1 unit already treated in 1); choose "
        "another event, population or window.",
    ),
    "no never-treated": (
        dated(3, 5, 6),
        {"comparison": "never_treated"},
        'no unit of simulated is never treated by event; use comparison="not_yet_treated".',
    ),
    "all treated at once": (
        dated(5, 5, 5),
        {},
        "all units of simulated are treated by event at once, so there is no comparison group.",
    ),
    "nobody left": (dated(1, 1), {}, "no unit of simulated is left: 2 units already treated in 1."),
    "unknown outcome": (dated(3, NEVER), {"outcome": "yy"}, 'no outcome "yy". Did you mean "y"? Known: y.'),
    "unknown event": (dated(3, NEVER), {"event": "events"}, 'no event "events". Did you mean "event"?'),
    "unknown covariate": (dated(3, NEVER), {"covariates": ["x3"]}, 'there is no covariate "x3".'),
    "unknown cluster": (dated(3, NEVER), {"cluster": "stat"}, 'no attribute "stat". Did you mean "state"?'),
    "unknown population": (dated(3, NEVER), {"population": "rich"}, 'no population "rich". Known: all.'),
    "population of the treated": (
        dated(3, NEVER),
        {"population": "event=3"},
        "event is an event, and a population is fixed before treatment",
    ),
    "empty population": (dated(3, NEVER), {"population": "state=s99"}, 'there is no state "s99".'),
    "logarithm of a loss": (
        replace(dated(3, NEVER), outcomes={"y": np.full((2, 8), -4.0)}),
        {"scale": "log1p"},
        'scale log1p needs outcomes above -1, but y is -4 for (u0000, 1); use scale="level".',
    ),
}


@pytest.mark.parametrize("case", IMPOSSIBLE)
def test_a_question_that_a_panel_cannot_answer_is_refused_in_one_line(case: str) -> None:
    panel, options, said = IMPOSSIBLE[case]
    with pytest.raises(QuestionError) as error:
        Question(**({"outcome": "y", "event": "event"} | options)).sample(panel)
    assert str(error.value).startswith("Question")
    assert said in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"scale": "log"}, r'Question: there is no scale "log".*Known: level, log1p, proportional'),
        ({"comparison": "nevertreated"}, r'no comparison "nevertreated". Did you mean "never_treated"\?'),
        ({"anticipation": -1}, "Question: anticipation is -1; it must be at least 0."),
        ({"lag": 0.5}, "Question: lag is 0.5; it must be a whole number."),
        ({"horizon": True}, "Question: horizon is True; it must be a whole number."),
        ({"min_cohort_size": 0}, "Question: min_cohort_size is 0; it must be at least 1."),
        ({"population": None}, "Question: population is None; it must be a text."),
        ({"covariates": "x1"}, "Question: covariates is 'x1'; it must be a tuple of texts."),
    ],
)
def test_a_field_with_an_impossible_value_is_refused_by_name(options: dict[str, Any], said: str) -> None:
    with pytest.raises(QuestionError, match=said):
        Question("y", "event", **options)


def test_an_event_that_switches_off_has_no_date_to_move() -> None:
    path = np.zeros((2, 8))
    path[0, 3] = 1
    panel = replace(dated(NEVER, NEVER), first_treated={}, treatment={"grant": path})
    assert Question("y", "grant").sample(panel).first_treated is None
    with pytest.raises(
        QuestionError, match="grant is not absorbing, so lag and anticipation have no date to move"
    ):
        Question("y", "grant", lag=1).sample(panel)
    assert Question("y", "grant", min_cohort_size=1).sample(panel).n_units == 2
    for cohorts in ({"cohort_width": 2}, {"min_cohort_size": 2}):
        with pytest.raises(
            QuestionError, match="grant is not absorbing, so it has no cohorts to balance, pool or count"
        ):
            Question("y", "grant", **cohorts).sample(panel)


def test_a_table_of_a_plan_makes_a_question_or_names_the_key_that_is_wrong() -> None:
    asked = Question.from_dict({"outcome": "y", "event": "event", "covariates": ["x1"]}, "study.toml")
    assert asked == Question("y", "event", covariates=("x1",))
    with pytest.raises(
        QuestionError, match=r'study.toml: there is no field "outcom". Did you mean "outcome"\?'
    ):
        Question.from_dict({"outcom": "y", "event": "event"}, "study.toml")
    with pytest.raises(QuestionError, match=r"study.toml: event is missing; say which."):
        Question.from_dict({"outcome": "y"}, "study.toml")


def test_a_sample_of_some_units_has_weights_of_mean_one_and_numbers_its_clusters_anew():
    whole = Question("y", "event", weights="size", cluster="state").sample(simulated.panel(60))
    keep = whole.attributes["state"] != whole.attributes["state"][0]
    part = whole.only(keep, "of another state")
    assert part.weights.mean() == pytest.approx(1)
    np.testing.assert_allclose(part.weights / part.weights[0], whole.weights[keep] / whole.weights[keep][0])
    assert sorted(set(part.cluster)) == list(range(len(set(whole.attributes["state"][keep]))))
    assert part.flow[-1] == FlowStep("of another state", int((~keep).sum()), kept=False)
    with pytest.raises(QuestionError, match="no treated unit is left"):
        whole.only(np.isnan(whole.first_treated), "treated")
    with pytest.raises(QuestionError, match="no untreated unit is left"):
        whole.only(~np.isnan(whole.first_treated), "never treated")


def placed(*labels: str) -> Panel:
    """Return a panel with three units a label, of which two are treated."""
    panel = dated(*[3.0, 4.0, NEVER] * len(labels))
    return replace(panel, attributes={"region": np.repeat(labels, 3)})


def test_an_attribute_as_a_covariate_is_a_column_a_label_but_the_most_common_one() -> None:
    panel = placed("b", "a", "c", "a")
    sample = Question("y", "event", covariates=("x1", "region")).sample(panel)
    assert sample.covariates == ("x1", "region=b", "region=c")
    assert sample.question.covariates == ("x1", "region")
    np.testing.assert_array_equal(sample.x_baseline[:, 1], sample.attributes["region"] == "b")
    np.testing.assert_array_equal(sample.x_varying[:, -1, 2], sample.attributes["region"] == "c")


def test_a_rule_as_a_covariate_is_one_where_it_holds() -> None:
    sample = Question("y", "event", covariates=("region=a|b",)).sample(placed("a", "b", "c"))
    assert sample.covariates == ("region=a|b",)
    np.testing.assert_array_equal(sample.x_baseline[:, 0], sample.attributes["region"] != "c")


def test_units_without_a_label_are_left_out_and_counted() -> None:
    sample = Question("y", "event", covariates=("region",)).sample(placed("a", "", "b"))
    assert steps(sample)["covariate region has no label"] == 3
    assert sample.covariates == ("region=b",)


def test_units_without_a_cluster_are_left_out_and_counted_and_are_no_cluster_together() -> None:
    labels = np.array([f"c{i % 12}" if i % 9 else "" for i in range(60)])
    known = np.where(labels == "", "no", "yes")
    panel = replace(simulated.panel(n=60, level=9.0), attributes={"state": labels, "known": known})
    question = Question("y", "event", cluster="state")
    fit = estimate(panel, question, "callaway_santanna")
    assert steps(fit.sample)["cluster state has no label"] == 7
    assert fit.n_clusters == 12
    same = estimate(panel, question.replace(population="known=yes"), "callaway_santanna")
    pd.testing.assert_frame_equal(fit.headline.tidy(), same.headline.tidy())


def test_labels_answer_as_the_same_columns_of_numbers() -> None:
    panel = replace(simulated.panel(n=300), attributes={"place": np.resize(["a", "b", "c", "a"], 300)})
    names = ("place=b", "place=c")
    columns = {n: (panel.attributes["place"] == n[-1])[:, None] * np.ones((1, 8)) for n in names}
    numbers = replace(panel, covariates={f"c{n[-1]}": block for n, block in columns.items()})
    for label, asked in {"place": ("cb", "cc"), "place=b": ("cb",)}.items():
        own = estimate(panel, Question("y", "event", covariates=(label,)), method="reg").headline
        by_hand = estimate(numbers, Question("y", "event", covariates=asked), method="reg").headline
        np.testing.assert_array_equal(own.effect, by_hand.effect)
        np.testing.assert_array_equal(own.std_error, by_hand.std_error)


@pytest.mark.parametrize(
    ("labels", "covariate", "said"),
    [
        ("aa", "region", 'covariate region has one label in the sample, "a"; leave it out.'),
        ("ab", "region!=c|d", "covariate region!=c|d is 1 for every unit of the sample; leave it out."),
        ("ab", "regions", 'there is no covariate "regions". Did you mean "region"?'),
        ("ab", "y>=3", "y is an outcome, and a population is fixed before treatment"),
    ],
)
def test_labels_that_cannot_be_a_covariate_are_refused(labels: str, covariate: str, said: str) -> None:
    with pytest.raises(QuestionError, match=re.escape(said)):
        Question("y", "event", covariates=(covariate,)).sample(placed(*labels))


def test_more_labels_than_treated_units_are_refused() -> None:
    panel = replace(dated(3, 4, *[NEVER] * 6), attributes={"lab": np.array(list("abcdefgg"))})
    said = (
        'has 7 labels in the sample, more than its 2 treated units can carry trends of; .* such as "lab=g".'
    )
    with pytest.raises(QuestionError, match=said):
        Question("y", "event", covariates=("lab",)).sample(panel)


def test_a_covariate_in_words_of_a_table_of_one_s_own_is_an_attribute(tmp_path: Path) -> None:
    rows = [(u, t, 3 if u < 8 else "", u + t, "ab"[u % 2]) for u in range(20) for t in range(1, 6)]
    table = pd.DataFrame(rows, columns=["unit", "time", "first", "y", "place"])
    table.to_csv(tmp_path / "own.csv", index=False)
    for covariate in ("place", "place=b"):
        question = Question("y", "first", covariates=(covariate,))
        panel = panel_for(question, tmp_path / "own.csv", unit="unit", time="time")
        sample = question.sample(panel)
        np.testing.assert_array_equal(sample.x_baseline[:, 0], sample.unit_ids.astype(int) % 2)
