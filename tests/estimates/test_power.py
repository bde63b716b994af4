"""The minimum detectable effect in the outcome's units and in percent, and where it is printed."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import simulated
from plans import PLAN

from study import Panel, Question, QuestionError, compare, estimate
from study.estimates import effects
from study.estimates.effect import Power, mean_before, smallest_effect
from study.paper import run as running
from study.paper.exhibits.designs import designs
from study.paper.exhibits.exhibit import Setting
from study.paper.plan import read_plan
from study.report import as_tables, estimate_summary
from study.report.table import Number

QUESTION = Question("y", "event", min_cohort_size=1)


@pytest.fixture(scope="module")
def panel() -> Panel:
    return simulated.panel(120, level=8.0)


def test_a_level_effect_is_in_the_outcomes_units_and_in_percent_of_the_implied_mean(panel: Panel) -> None:
    average = estimate(panel, QUESTION).headline
    power = smallest_effect(average)
    assert power.units == power.effect == average.minimum_detectable_effect()[0]
    assert average.untreated_mean is not None
    assert power.percent == pytest.approx(100 * power.effect / average.untreated_mean[0])


def test_effects_have_the_numbers_of_the_table_and_the_degrees_of_freedom_of_the_power(panel: Panel) -> None:
    path = estimate(panel, QUESTION).aggregate("event")
    table, rows = path.tidy(0.9), effects(path, 0.9)
    assert [row.label for row in rows] == table["term"].tolist()
    for name in ("estimate", "std_error", "p_value", "conf_low", "conf_high", "event_time"):
        np.testing.assert_array_equal([getattr(row, name) for row in rows], table[name])
    assert {(row.n_units, row.n_treated) for row in rows} == {(path.sample.n_units, path.sample.n_treated)}
    detectable = [row.mde for row in effects(path)]
    np.testing.assert_allclose(detectable, path.minimum_detectable_effect(), rtol=1e-12)


def test_a_proportional_effect_is_turned_into_units_by_the_mean_that_it_is_a_share_of(panel: Panel) -> None:
    average = estimate(panel, QUESTION.replace(scale="proportional")).headline
    power = smallest_effect(average)
    assert average.untreated_mean is not None
    assert power.percent == pytest.approx(100 * average.minimum_detectable_effect()[0])
    assert power.units == pytest.approx(power.effect * average.untreated_mean[0])


def test_a_logarithmic_effect_is_growth_of_one_plus_the_mean_before_treatment(panel: Panel) -> None:
    average = estimate(panel, QUESTION.replace(scale="log1p")).headline
    power = smallest_effect(average)
    first = panel.first_treated["event"]
    before = [panel.outcomes["y"][i, int(first[i]) - 2] for i in np.flatnonzero(~np.isnan(first))]
    assert power.mean == pytest.approx(np.mean(before))
    assert power.percent == pytest.approx(100 * np.expm1(power.effect))
    assert power.units == pytest.approx(np.expm1(power.effect) * (1 + np.mean(before)))


@pytest.mark.parametrize("scale", ["level", "proportional"])
def test_another_unit_of_the_outcome_changes_the_units_and_not_the_percentage(panel: Panel, scale) -> None:
    question = QUESTION.replace(scale=scale)
    tenfold = replace(panel, outcomes={"y": 10 * panel.outcomes["y"]})
    one, ten = (smallest_effect(estimate(p, question).headline) for p in (panel, tenfold))
    assert ten.units == pytest.approx(10 * one.units)
    assert ten.percent == pytest.approx(one.percent)


def test_weights_and_anticipation_move_the_mean_before_treatment(panel: Panel) -> None:
    first = panel.first_treated["event"]
    treated = np.flatnonzero(~np.isnan(first))
    sample = QUESTION.replace(weights="size", anticipation=1).sample(panel)
    size = panel.covariates["size"][treated, 0]
    before = [panel.outcomes["y"][i, int(first[i]) - 3] for i in treated]
    assert mean_before(sample) == pytest.approx(np.average(before, weights=size))


def test_for_a_treatment_that_switches_off_the_mean_is_over_periods_without_it(panel: Panel) -> None:
    path = np.zeros(panel.outcomes["y"].shape)
    path[:40, 3:5] = 1
    switching = replace(panel, treatment={"on": path})
    sample = QUESTION.replace(event="on").sample(switching)
    expected = panel.outcomes["y"][:40][path[:40] == 0].mean()
    assert mean_before(sample) == pytest.approx(expected)


def test_a_mean_that_is_not_positive_gives_no_percentage_and_says_so(panel: Panel) -> None:
    low = replace(panel, outcomes={"y": panel.outcomes["y"] - 100})
    power = smallest_effect(estimate(low, QUESTION).headline)
    assert np.isnan(power.percent)
    assert "no percentage" in str(power)
    assert "nan" not in str(power)


@pytest.mark.parametrize(
    ("units", "shown"),
    [
        (0.5236, "0.524 (10.0%)"),
        (12.345, "12.3 (10.0%)"),
        (1234.5, "1230 (10.0%)"),
        (0.09999, "0.100 (10.0%)"),
        (7.1e-9, "7.1e-09 (10.0%)"),
    ],
)
def test_units_are_shown_with_three_digits(units: float, shown: str) -> None:
    assert str(Power(1.0, units, 10.0, 5.0)) == shown


@pytest.mark.parametrize("design", ["callaway_santanna", "event_study", "twfe"])
def test_every_table_of_an_estimate_says_what_it_could_have_found(panel: Panel, design: str) -> None:
    fit = estimate(panel, QUESTION, design)
    assert f"{smallest_effect(fit.headline)}" in estimate_summary(fit)


@pytest.mark.parametrize("scale", ["level", "proportional"])
def test_a_summary_says_that_power_is_less_where_an_effect_multiplies_errors(panel: Panel, scale) -> None:
    said = "power is less where the effect multiplies errors too" in estimate_summary(
        estimate(panel, QUESTION.replace(scale=scale))
    )
    assert said == (scale == "proportional")


def test_the_papers_table_of_power_gives_it_for_each_design_and_outcome(tmp_path) -> None:
    path = tmp_path / "study.toml"
    path.write_text(PLAN.replace("permutations = 19", "permutations = 0"))
    plan = read_plan(path)
    panel = running.load(plan)
    results = running.run(plan, panel, jobs=1)
    table = designs(Setting(plan, panel, results)).tables[0]
    assert list(table.headings) == ["Effect", "MDE"]
    shown = [line.cells[1].text for line in table.lines if isinstance(line.cells[1], Number)]
    effects = [(r.power.effect, scale) for (_, scale, *_), r in results.items()]
    assert len(effects) == 2 * 3
    assert shown == [
        Number(100 * x, 1).text if scale == "proportional" else Number(x).text for x, scale in effects
    ]


def test_a_plan_names_its_questions(tmp_path) -> None:
    path = tmp_path / "study.toml"
    path.write_text(PLAN)
    plan = read_plan(path)
    assert plan.ask("sim1").key == ("sim1", "proportional", "count", "CS")
    assert plan.ask("sim1/count/log1p", "twfe").key == ("sim1", "log1p", "count", "TWFE")
    assert plan.ask("sim1", "imputation").row.name == "imputation"
    for wrong in ("sim", "sim1/cuont", "sim1/count/level", "sim1/count/log1p/x"):
        with pytest.raises(QuestionError, match=r"study\.toml"):
            plan.ask(wrong)


def test_a_comparison_gives_it_for_each_design_and_outcome(panel: Panel) -> None:
    compared = compare(panel, QUESTION, ["callaway_santanna", "imputation"])
    lines = as_tables(compared)[0].lines
    powers = [smallest_effect(fit) for fit in compared.estimates.values()]
    for part, label in (("effect", ""), ("percent", ", %")):
        found = [line.cells[0] for line in lines if line.label == f"Minimum detectable effect{label}"]
        assert [cell.value for cell in found] == [getattr(power, part) for power in powers]


def test_a_design_that_refuses_has_no_lines_of_what_it_could_have_found(panel: Panel) -> None:
    lines = as_tables(compare(panel, QUESTION, ["twfe", "iv", "imputation"]))[0].lines
    assert sum(line.label.startswith("Minimum detectable effect") for line in lines) == 2 * 2


def test_tables_warn_of_few_treated_clusters_and_only_then(panel: Panel) -> None:
    few = simulated.few_treated(np.random.default_rng(0), treated=4, cohorts=(4,))
    for made, warned in ((few, True), (panel, False)):
        fit = estimate(made, QUESTION)
        said = "the interval need not hold its level"
        assert (said in estimate_summary(fit)) == warned
        assert (said in " ".join(str(compare(made, QUESTION, ["twfe", "imputation"])).split())) == warned
