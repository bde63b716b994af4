"""What every diagnostic keeps: its contract, its refusals, and what must not change its answer."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import simulated
from matplotlib.figure import Figure

from study import Panel, Question, QuestionError, diagnostics, estimate
from study.designs import all_designs
from study.diagnostics.finding import Finding

QUESTION = Question("y", "event", min_cohort_size=1, average="event_average", horizon=1, cluster="state")
GIVEN = QUESTION.replace(covariates=("x1", "x2"))
REG = {"method": "reg"}
FEW = {"folds": 2, "repetitions": 2}

Make = Callable[[Panel], Finding]


def of_fit(function: Callable[..., Finding], **asked: Any) -> Make:
    return lambda panel: function(estimate(panel, QUESTION), **asked)


def of_sample(
    function: Callable[..., Finding], *design: str, question: Question = QUESTION, **asked: Any
) -> Make:
    return lambda panel: function(question.sample(panel), *design, **asked)


def other_outcome(panel: Panel) -> Finding:
    noise = np.random.default_rng(1).normal(size=panel.outcomes["y"].shape)
    by_label = dict(zip(np.sort(panel.units), noise, strict=True))
    other = replace(panel, outcomes={"y": np.array([by_label[unit] for unit in panel.units])})
    return diagnostics.placebo_outcomes(panel, QUESTION, {"noise": (other, "y")}, "callaway_santanna")


def curve(panel: Panel) -> Finding:
    asked = {
        "designs": ["callaway_santanna", "event_study"],
        "comparisons": ["not_yet_treated", "never_treated"],
    }
    return diagnostics.specification_curve(panel, QUESTION, draws=199, **asked)


def nearby(panel: Panel) -> Finding:
    region = np.where(np.isin(panel.attributes["state"], ("s01", "s02", "s03", "s11")), "far", "near")
    first = np.where(region == "far", np.nan, panel.first_treated["event"])
    attributes = dict(panel.attributes) | {"region": region}
    isolated = replace(panel, first_treated={"event": first}, attributes=attributes)
    sample = QUESTION.replace(cluster=None).sample(isolated)
    return diagnostics.spillovers(sample, "callaway_santanna", by="region")


def by_era(panel: Panel) -> Finding:
    first = int(panel.periods[0])
    return diagnostics.eras(estimate(panel, QUESTION), [(first, first + 4), (first + 5, first + 9)])


def ending(panel: Panel) -> Finding:
    path = np.where(np.arange(8) < 6, panel.periods >= panel.first_treated["event"][:, None], 0.0)
    switching = replace(panel, first_treated={}, treatment={"event": path})
    return diagnostics.carry_over(Question("y", "event", cluster="state").sample(switching), "imputation")


EVERY: dict[str, Make] = {
    "balance": of_sample(diagnostics.balance, question=GIVEN),
    "carry_over": ending,
    "contamination_weights": of_sample(diagnostics.contamination_weights),
    "eras": by_era,
    "fit_before_treatment": of_sample(diagnostics.fit_before_treatment, "imputation"),
    "goodman_bacon": of_sample(diagnostics.goodman_bacon),
    "honest_did": of_fit(diagnostics.honest_did),
    "honest_did smoothness": of_fit(diagnostics.honest_did, restriction="smoothness"),
    "leads": of_fit(diagnostics.leads),
    "leave_one_cohort_out": of_sample(diagnostics.leave_one_cohort_out, "callaway_santanna"),
    "leave_one_unit_out": of_sample(diagnostics.leave_one_unit_out, "imputation", units="all", most=3),
    "misclassification": of_sample(diagnostics.misclassification, "callaway_santanna", shares=(0.05, 0.1)),
    "negative_weights": of_sample(diagnostics.negative_weights),
    "nuisances": of_sample(
        diagnostics.nuisances, "dml_panel", question=GIVEN, learners=("linear", "lightgbm"), **FEW
    ),
    "nuisances propensity": of_sample(
        diagnostics.nuisances, "dml_irm", question=GIVEN, learners=("linear", "lightgbm"), **FEW
    ),
    "oster": of_sample(diagnostics.oster, "callaway_santanna", question=GIVEN, **REG),
    "placebo_dates": of_sample(diagnostics.placebo_dates, "callaway_santanna", draws=199),
    "placebo_outcomes": other_outcome,
    "placebo_periods": of_sample(diagnostics.placebo_periods, "imputation", periods=2),
    "pretrends": of_fit(diagnostics.pretrends),
    "seeds": of_sample(diagnostics.seeds, "dml_panel", question=GIVEN, learner="linear", seeds=3, **FEW),
    "sensitivity": of_sample(diagnostics.sensitivity, "callaway_santanna", question=GIVEN, **REG),
    "specification_curve": curve,
    "spillovers": nearby,
    "uncertainty": of_sample(diagnostics.uncertainty, "event_study", permutations=9, draws=199),
}
# A draw of signs or dates belongs to a place in the sample; a new order of units is another draw.
DRAWN = ("p_value", "p_joint", "conf_low", "conf_high")
OF_DRAWS = ("uncertainty", "specification_curve")


@pytest.fixture(scope="module")
def panel() -> Panel:
    return simulated.panel(120)


@pytest.fixture(scope="module")
def findings(panel: Panel) -> dict[str, Finding]:
    return {name: make(panel) for name, make in EVERY.items()}


def test_every_diagnostic_is_here() -> None:
    functions = {found.function.__name__ for found in diagnostics.all_diagnostics().values()}
    assert {name.split()[0] for name in EVERY} == functions


def test_a_diagnostic_is_registered_with_a_question_a_section_and_needs_that_can_be_told() -> None:
    for name, found in diagnostics.all_diagnostics().items():
        assert found.title[0].isupper(), name
        assert found.question.endswith("?"), name
        assert found.shown >= 1, name
        assert set(found.needs) <= set(diagnostics.Needs), name
        assert set(found.designs) <= set(all_designs()), name


@pytest.mark.parametrize("name", EVERY)
def test_it_draws_on_given_axes(name: str, findings: dict[str, Finding]) -> None:
    figure = Figure()
    axes = figure.subplots()
    assert findings[name].plot(axes) is figure
    assert axes.has_data()


@pytest.mark.parametrize("name", EVERY)
def test_it_says_its_verdict_in_html_with_what_labels_hold_escaped(
    name: str, findings: dict[str, Finding]
) -> None:
    made = findings[name]
    assert str(made).splitlines()[:2] == [made.title, made.verdict]
    hostile = replace(made, verdict="<script>", frame=made.frame.assign(label="<b>"))
    assert "<script>" not in hostile._repr_html_()
    assert "<b>" not in hostile._repr_html_()
    assert "&lt;script&gt;" in hostile._repr_html_()
    with pytest.raises(KeyError, match="has no 'colour'"):
        made["colour"]


@pytest.mark.parametrize("name", EVERY)
def test_it_answers_with_sentences_a_table_and_a_figure(name: str, findings: dict[str, Finding]) -> None:
    made = findings[name]
    titles = {found.name: found.title for found in diagnostics.all_diagnostics().values()}
    assert made.title == titles.get(made.name, made.title)
    assert made.title
    assert made.sentences
    for sentence in made.sentences:
        assert sentence.endswith(".")
        assert "  " not in sentence
        assert not any(word.strip("(),.;:") in ("nan", "inf", "None") for word in sentence.split()), sentence
    table = made.tidy()
    assert len(table)
    assert isinstance(made.plot(), Figure)


@pytest.mark.parametrize("name", EVERY)
def test_no_column_of_the_table_is_empty(name: str, findings: dict[str, Finding]) -> None:
    table = findings[name].tidy()
    assert not table.isna().all().any()


@pytest.mark.parametrize("name", EVERY)
def test_the_order_of_units_does_not_matter(name: str, panel: Panel, findings: dict[str, Finding]) -> None:
    shuffled = simulated.ordered(panel, np.random.default_rng(2).permutation(panel.n_units))
    expected, found = findings[name].tidy(), EVERY[name](shuffled).tidy()
    same(expected, found, drop=DRAWN if name in OF_DRAWS else ())


@pytest.mark.parametrize("name", EVERY)
def test_calendar_time_has_no_origin(name: str, panel: Panel, findings: dict[str, Finding]) -> None:
    later = replace(
        panel, periods=panel.periods + 100, first_treated={"event": panel.first_treated["event"] + 100}
    )
    expected, found = findings[name].tidy(), EVERY[name](later).tidy()
    labels = expected.select_dtypes(exclude="number").columns
    dated = [c for c in ("cohort", "period", "treated", "compared", "first_treated") if c in expected]
    same(expected.drop(columns=[*labels, *dated]), found.drop(columns=[*labels, *dated]))


def same(expected: pd.DataFrame, found: pd.DataFrame, drop: tuple[str, ...] = ()) -> None:
    expected, found = (t.drop(columns=[c for c in drop if c in t]) for t in (expected, found))
    assert list(expected.columns) == list(found.columns)
    for column in expected:
        if pd.api.types.is_numeric_dtype(expected[column]):
            np.testing.assert_allclose(found[column], expected[column], rtol=1e-6, atol=1e-8, err_msg=column)
        else:
            assert list(found[column]) == list(expected[column]), column


NEEDS_CLUSTERS = ("honest_did", "pretrends", "uncertainty", "placebo_dates", "leave_one_cohort_out")


@pytest.mark.parametrize("name", NEEDS_CLUSTERS)
def test_one_cluster_is_refused_in_one_line(name: str, panel: Panel) -> None:
    one = replace(panel, attributes={"state": np.full(panel.n_units, "all")})
    with pytest.raises(QuestionError) as refused:
        EVERY[name](one)
    assert "\n" not in str(refused.value)
    assert "cluster" in str(refused.value) or "no sampling variance" in str(refused.value)


NEEDS_PERIODS_BEFORE = ("honest_did", "pretrends", "placebo_dates")


@pytest.mark.parametrize("name", NEEDS_PERIODS_BEFORE)
def test_without_periods_before_treatment_it_refuses(name: str) -> None:
    short = simulated.panel(80, cohorts=(4, 5))
    kept = short.periods >= 3
    cut = {key: block[:, kept] for key, block in short.outcomes.items()}
    first = np.where(short.first_treated["event"] == 5, np.nan, short.first_treated["event"])
    late = replace(
        short, periods=short.periods[kept], outcomes=cut, covariates={}, first_treated={"event": first}
    )
    with pytest.raises(QuestionError, match="before"):
        EVERY[name](late)


@pytest.mark.parametrize("name", ["honest_did", "pretrends"])
def test_a_singular_covariance_is_refused_with_its_rank(name: str, panel: Panel) -> None:
    few = replace(panel, attributes={"state": np.array(["a", "b"])[np.arange(panel.n_units) % 2]})
    with pytest.raises(QuestionError, match="has rank 2"):
        EVERY[name](few)


THIRD = Question("y", "event", min_cohort_size=2, average="event_average", horizon=1, group="eligible>0")


def third() -> Panel:
    """Return a panel every third unit of which is not eligible."""
    whole = simulated.panel(90)
    eligible = np.outer(np.arange(90) % 3 > 0, np.ones(8)).astype(float)
    return replace(whole, covariates={"eligible": eligible})


@pytest.mark.parametrize("design", ["triple_difference", "three_way"])
def test_placebo_dates_of_a_third_difference_move_whole_cohorts(design: str) -> None:
    whole = third()
    first, eligible = whole.first_treated["event"], whole.covariates["eligible"] > 0
    found = diagnostics.placebo_dates(THIRD.sample(whole), design, shifts=[2])
    y = np.where(eligible & (whole.periods >= first[:, None]), np.nan, whole.outcomes["y"])
    moved = replace(whole, outcomes={"y": y}, first_treated={"event": first - 2})
    assert found["rows"][0].estimate == pytest.approx(estimate(moved, THIRD, design).headline.effect[0])


def test_those_whom_treatment_is_not_for_are_no_treated_units_and_hide_no_treatment() -> None:
    sample = THIRD.sample(third())
    fit = estimate(sample.panel, THIRD, "triple_difference")
    found = diagnostics.eras(fit, [(4, 5), (6, 7)], draws=99)
    eligible, first = sample.group, sample.first_treated
    counts = [int(np.sum(eligible & (first >= a) & (first <= b))) for a, b in ((4, 5), (6, 7))]
    assert found.frame.loc[~found.frame["without"], "n_treated"].tolist() == counts
    hidden = diagnostics.misclassification(sample, "three_way", shares=[0.1], periods_late=0)
    assert hidden["n_never_treated"] == np.sum(np.isnan(first) & eligible)


@pytest.mark.parametrize("name", ["balance", "spillovers"])
def test_what_compares_treated_with_untreated_units_refuses_a_third_difference(name: str) -> None:
    about = () if name == "balance" else ("triple_difference",)
    with pytest.raises(QuestionError, match="ask the question without group"):
        getattr(diagnostics, name)(THIRD.sample(third()), *about)
