"""The intervals of one estimate side by side are those that each way of inference gives on its own."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import simulated

from study import Panel, Question, QuestionError, estimate, few_treated
from study.core import p_is
from study.diagnostics import uncertainty
from study.diagnostics.uncertainty import FEW_TREATED, SHARES_GIVEN
from study.estimates import few_clusters_warning
from study.estimates.multiplier import largest_draws
from study.inference.leave_out import cr3
from study.inference.randomization import randomization
from study.inference.wild import wild_bootstrap
from study.panel.question import Sample

QUESTION = Question("y", "event", min_cohort_size=1)


def sample(n: int = 60, **changes: object) -> Sample:
    return QUESTION.replace(**changes).sample(simulated.panel(n))


def test_each_row_is_what_its_inference_gives_on_its_own() -> None:
    clustered = sample(cluster="state")
    made = uncertainty(clustered, "twfe", permutations=19, draws=199, seed=4, strata="state")
    rows = {row.label: row for row in made["rows"]}
    fit = estimate(clustered.panel, clustered.question, "twfe").headline
    own = fit.tidy().iloc[0]
    assert made["rows"][0].label == "jackknife"
    assert (made["rows"][0].conf_low, made["rows"][0].p_value) == pytest.approx((own.conf_low, own.p_value))
    assert any(line.startswith("The design's own method, jackknife,") for line in made.sentences)
    for vcov in ("CR0", "CR1", "CR1_fixest", "CR1_areg"):
        assert rows[vcov].std_error == pytest.approx(np.sqrt(fit.covariance(vcov)[0, 0]))
    left = cr3(clustered, "twfe")
    assert (rows["CR3, t(G-1)"].conf_low, rows["CR3, t(G-1)"].conf_high) == pytest.approx(left.interval(0.95))
    wild = wild_bootstrap(clustered, "twfe", draws=199, seed=4)
    found = rows["wild cluster bootstrap"]
    assert (found.conf_low, found.conf_high, found.p_value) == (*wild.interval, wild.p_value)
    assert made["randomization"] is not None
    test = randomization(clustered, "twfe", permutations=19, seed=4, strata="state")
    assert made["randomization"].p_value == test.p_value


def test_intervals_that_take_shares_of_cohorts_as_given_are_said_to() -> None:
    given = uncertainty(sample(), "sun_abraham", permutations=0, draws=99)
    none = uncertainty(sample(average="event_average"), "event_study", permutations=0, draws=99)
    assert SHARES_GIVEN in given.evidence
    assert SHARES_GIVEN not in none.evidence


def test_larger_clusters_have_a_row_and_count_where_the_widest_interval_is_named() -> None:
    units = sample()
    made = uncertainty(units, "event_study", by="state", permutations=19, draws=99, seed=3)
    larger = estimate(units.panel, units.question.replace(cluster="state"), "event_study").headline
    row = next(row for row in made["rows"] if row.label == "clustered by state")
    assert (row.std_error, made["clusters"][row.label][0]) == (larger.std_error[0], larger.n_clusters)
    widest = max(made["rows"], key=lambda row: row.conf_high - row.conf_low)
    assert f"the widest, {widest.label}, is" in made.verdict
    assert made.verdict.endswith(f"the randomization test has {p_is(made['randomization'].p_value)}.")
    own = uncertainty(sample(cluster="state"), "event_study", by="state", permutations=0, draws=99)
    assert list(own["clusters"]) == ["jackknife"]


def test_with_fewer_than_five_treated_the_errors_of_comparison_units_have_a_row() -> None:
    few = QUESTION.sample(simulated.few_treated(np.random.default_rng(1), 60, 4, (4, 6)))
    made = uncertainty(few, "callaway_santanna", permutations=0, draws=199, seed=4)
    row = next(row for row in made["rows"] if row.label == FEW_TREATED)
    alone = few_treated(few, "callaway_santanna", draws=199, seed=4)
    assert (row.p_value, row.conf_low, row.conf_high) == (alone.p_value, *alone.interval)
    poisson = QUESTION.replace(scale="proportional").sample(simulated.counts(few.panel))
    refused = dict(uncertainty(poisson, "poisson_twfe", permutations=0, draws=199)["refused"])
    assert "not a linear function" in refused[FEW_TREATED]
    assert FEW_TREATED not in [
        row.label for row in uncertainty(sample(), "twfe", permutations=0, draws=99)["rows"]
    ]


def test_the_bootstrap_is_near_the_normal_interval_with_many_clusters() -> None:
    made = uncertainty(sample(400), "callaway_santanna", permutations=0, draws=1999)
    rows = {row.label: row for row in made["rows"]}
    assert rows["multiplier bootstrap-t"].conf_low == pytest.approx(rows["CR1"].conf_low, abs=0.02)
    assert made["randomization"] is None


def test_the_bootstrap_p_value_counts_draws_over_their_own_errors_and_the_estimate_among_them() -> None:
    clustered = sample(cluster="state")
    made = uncertainty(clustered, "event_study", permutations=0, draws=99, seed=3)
    row = next(row for row in made["rows"] if row.label == "multiplier bootstrap-t")
    fit = estimate(clustered.panel, clustered.question, "event_study").headline
    sums = fit.influence_map.cluster_sums(clustered.cluster)
    error = np.sqrt(17 / 16 * np.sum(sums**2)) / clustered.n_units
    drawn = largest_draws(sums, 99, 3, "webb", "drawn")
    assert row.std_error == pytest.approx(error)
    assert row.p_value == (1 + np.sum(drawn >= abs(fit.effect[0]) / error)) / 100
    assert row.conf_high - row.estimate == pytest.approx(error * np.quantile(drawn, 0.95))


def test_what_a_design_does_not_offer_is_named_and_the_rest_is_there() -> None:
    made = uncertainty(sample(), "callaway_santanna", permutations=9, draws=99)
    assert [row.label for row in made["rows"]] == ["jackknife", "CR0", "CR1", "multiplier bootstrap-t"]
    assert any("CR3 and the wild cluster bootstrap" in sentence for sentence in made.sentences)
    learned = uncertainty(
        sample(80, covariates=("x1",)), "dml_panel", permutations=9, draws=99, folds=2, repetitions=1
    )
    assert learned["randomization"] is None
    assert any("fit its learners anew" in sentence for sentence in learned.sentences)


def test_few_treated_units_of_a_design_that_draws_have_its_refusal_beside_the_other_rows() -> None:
    few = QUESTION.sample(simulated.few_treated(np.random.default_rng(1), 60, 4, (4,)))
    made = uncertainty(few, "dml_panel", permutations=0, draws=99, learner="linear", folds=2, repetitions=1)
    assert dict(made["refused"])[FEW_TREATED].startswith("few_treated: dml_panel")


def test_few_treated_units_are_warned_of_and_enough_are_not() -> None:
    few = QUESTION.sample(simulated.few_treated(np.random.default_rng(0), treated=4, cohorts=(4,)))
    told = uncertainty(few, "callaway_santanna", permutations=0, draws=99)
    assert few_clusters_warning(estimate(few.panel, QUESTION).headline) in told.sentences
    many = uncertainty(sample(300), "callaway_santanna", permutations=0, draws=99)
    assert any(
        sentence.startswith(f"Of {many['clusters']['jackknife'][0]} clusters") for sentence in many.sentences
    )


def test_the_table_has_every_row_and_the_figure_one_line_each() -> None:
    made = uncertainty(sample(cluster="state"), "twfe", permutations=9, draws=99)
    table = made.tidy()
    assert list(table["inference"]) == [*(r.label for r in made["rows"]), "randomization of event dates"]
    assert not table["p_value"].isna().any()
    (axis,) = made.plot().axes
    assert len(axis.get_yticks()) == len(made["rows"])


def test_shares_are_drawn_in_percent_and_the_randomization_test_is_named_in_the_figure() -> None:
    shares = QUESTION.replace(scale="proportional").sample(simulated.panel(80, level=8.0))
    made = uncertainty(shares, "callaway_santanna", permutations=9, draws=99)
    (axis,) = made.plot().axes
    drawn = np.concatenate([line.get_xdata() for line in axis.lines])
    assert np.any(np.isclose(drawn, 100 * made["rows"][0].estimate))
    assert made["randomization"] is not None
    assert f"{made['randomization'].p_value:.3f}" in axis.get_title()


def test_the_scale_of_the_outcome_moves_intervals_and_no_p_value() -> None:
    panel = simulated.panel(60)
    tenfold = replace(panel, outcomes={"y": 10 * panel.outcomes["y"]})
    one, ten = (
        uncertainty(QUESTION.sample(p), "twfe", permutations=19, draws=199).tidy() for p in (panel, tenfold)
    )
    np.testing.assert_allclose(ten["conf_low"].dropna(), 10 * one["conf_low"].dropna(), rtol=1e-6)
    np.testing.assert_allclose(ten["p_value"], one["p_value"], rtol=1e-6)


def test_a_seed_is_handed_to_a_design_that_draws() -> None:
    learned = sample(80, covariates=("x1",))
    options = {"folds": 2, "repetitions": 1, "learner": "lightgbm"}
    made = uncertainty(learned, "dml_panel", permutations=0, draws=99, seed=5, **options)
    panel: Panel = learned.panel
    expected = estimate(panel, learned.question, "dml_panel", seed=5, **options).effect[0]
    assert made["rows"][0].estimate == expected


@pytest.mark.parametrize(
    ("design", "options", "message"),
    [
        ("twef", {}, 'Did you mean "twfe"'),
        ("twfe", {"level": 1.0}, "level"),
        ("twfe", {"strata": "stat", "permutations": 9}, "stat"),
        ("twfe", {"nope": 1}, 'no option "nope"'),
    ],
)
def test_what_cannot_be_asked_is_one_error(design: str, options: dict[str, object], message: str) -> None:
    with pytest.raises(QuestionError, match=message):
        uncertainty(sample(), design, **({"permutations": 0} | options))


def test_a_test_made_elsewhere_is_taken_and_an_interval_that_it_does_not_support_is_an_objection() -> None:
    asked = sample(cluster="state")
    test = randomization(asked, "callaway_santanna", permutations=19, seed=4)
    for p_value, against in ((0.01, False), (0.05, False), (0.06, True)):
        given = replace(test, p_value=p_value)
        found = uncertainty(asked, "callaway_santanna", permutations=0, randomization=given, draws=99)
        assert found["randomization"] is given
        assert found["rows"][0].excludes_zero
        assert found.against == against
        assert f"({p_is(p_value)})" in found.objection
        assert found.tidy()["p_value"].iloc[-1] == p_value
    untested = uncertainty(asked, "callaway_santanna", permutations=0, draws=99)
    assert untested.against is None
