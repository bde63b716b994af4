"""Leaving out a cohort or a unit equals estimating without it, and the influence function says so to first order."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import simulated
from matplotlib.figure import Figure

from study import Panel, Question, QuestionError, estimate, settings
from study.designs import find_design
from study.diagnostics.leave_one_out import (
    _sentences,
    first_order_changes,
    leave_one_cohort_out,
    leave_one_unit_out,
)
from study.estimates import Effect
from study.panel import Scale

QUESTION = Question("y", "event", average="event_average", horizon=2)
DESIGNS = ("callaway_santanna", "imputation", "twfe")


@pytest.mark.parametrize("design", DESIGNS)
def test_without_a_unit_equals_the_estimate_of_the_panel_without_it(design: str) -> None:
    made = simulated.panel(n=60, seed=1, gaps=0.05)
    found = leave_one_unit_out(QUESTION.sample(made), design)
    treated = np.flatnonzero(~np.isnan(made.first_treated["event"]))
    assert [row.label for row in found["rows"]] == list(made.units[treated])
    for i, row in list(zip(treated, found["rows"], strict=True))[::7]:
        expected = estimate(simulated.subset(made, np.arange(60) != i), QUESTION, design).headline
        assert row.estimate == pytest.approx(expected.effect[0], rel=1e-9)
        assert row.std_error == pytest.approx(expected.std_error[0], rel=1e-9)
        assert row.n_units == 59


@pytest.mark.parametrize("design", DESIGNS)
def test_without_a_cohort_equals_the_estimate_of_the_panel_without_it(design: str) -> None:
    made = simulated.panel(n=90, seed=2)
    found = leave_one_cohort_out(QUESTION.sample(made), design)
    first = made.first_treated["event"]
    for g, row in zip(simulated.COHORTS, found["rows"], strict=True):
        expected = estimate(simulated.subset(made, first != g), QUESTION, design).headline
        assert row.estimate == pytest.approx(expected.effect[0], rel=1e-9)
        assert row.label == f"cohort {g} ({np.sum(first == g)} units)"


def largest_error(n: int) -> float:
    """Return the largest error of the first-order change, over the largest exact change."""
    made, _ = simulated.draw(np.random.default_rng(3), n)
    table = leave_one_unit_out(QUESTION.sample(made), "callaway_santanna", units="all", most=15).tidy()
    exact = table.dropna()
    return float((exact["influence"] - exact["change"]).abs().max() / exact["change"].abs().max())


def test_the_first_order_change_comes_close_in_large_samples() -> None:
    assert largest_error(200) < 0.15
    assert largest_error(3000) < 0.01


def test_first_order_changes_add_up_to_nothing_and_their_squares_to_the_variance() -> None:
    sample = QUESTION.sample(simulated.panel(n=80, seed=4))
    found = leave_one_unit_out(sample, "callaway_santanna", units="all", most=3)
    influence = found.frame["influence"]
    assert len(influence) == 80
    assert influence.sum() == pytest.approx(0, abs=1e-12)
    error = np.sqrt(np.sum(influence**2)) * 79 / 80
    full_sample = find_design("callaway_santanna")(sample).headline
    assert error == pytest.approx(full_sample.with_vcov("CR0").std_error[0], rel=1e-9)


def test_a_set_of_units_changes_a_mean_exactly_to_first_order() -> None:
    values = np.random.default_rng(0).normal(size=30)
    out = np.array([2, 5, 11])
    without = np.delete(values, out).mean() - values.mean()
    assert first_order_changes(values - values.mean(), [out])[0] == pytest.approx(without, rel=1e-12)


def test_all_units_are_refitted_where_they_matter_most_first() -> None:
    sample = QUESTION.sample(simulated.panel(n=70, seed=5))
    found = leave_one_unit_out(sample, "callaway_santanna", units="all", most=9)
    psi = find_design("callaway_santanna")(sample).headline.influence[:, 0]
    largest = sample.unit_ids[np.argsort(-np.abs(psi))[:9]]
    assert {row.label for row in found["rows"]} == set(largest)
    table = found.tidy()
    assert len(table) == 70
    assert table["change"].notna().sum() == 9
    changes = table["change"].abs().to_numpy()[:9]
    assert np.all(np.diff(changes) <= 0)
    assert np.all(np.diff(table["influence"].abs().to_numpy()[9:]) <= 0)
    assert any("9 most influential of 70 units" in sentence for sentence in found.sentences)


def with_one_that_decides() -> Panel:
    """Return a panel in which one treated unit makes the effect positive that is negative without it."""
    made = simulated.panel(n=100, seed=6)
    first = made.first_treated["event"]
    y = made.outcomes["y"] - simulated.effects(first, 1.0) - simulated.effects(first, 0.3)
    one = int(np.flatnonzero(first == 6)[0])
    y[one] += 60 * (simulated.PERIODS >= 6)
    return replace(made, outcomes={"y": y}, units=np.where(np.arange(100) == one, "u_decides", made.units))


def test_the_unit_that_decides_the_sign_is_named() -> None:
    made = simulated.ordered(with_one_that_decides(), np.argsort(with_one_that_decides().units))
    found = leave_one_unit_out(QUESTION.sample(made), "callaway_santanna")
    top, full_sample = found.tidy().iloc[0], found["full_sample"]
    assert top["without_unit"] == "u_decides"
    assert top["sign_changes"]
    assert top["dfbeta"] == pytest.approx((full_sample.estimate - top["estimate"]) / full_sample.std_error)
    assert top["dfbeta"] > 0.5
    signs = next(s for s in found.sentences if "sign" in s)
    assert signs == "Leaving out one unit changes the sign: u_decides."


def test_numbers_of_a_sentence_have_the_same_decimals() -> None:
    full = Effect("all units", 0.184)
    rows = pd.DataFrame({"label": ["a", "b"], "estimate": [0.15, 0.232]})
    sentence = next(_sentences("unit", Scale("log1p", "papers"), 0.95, full, rows, rows, 2))
    assert sentence == (
        "Without one unit the effect on papers lies between 0.150 and 0.232; with all of them it is 0.184 log points."
    )


def test_where_zero_changes_side_of_the_interval_it_is_counted() -> None:
    found = leave_one_unit_out(
        QUESTION.sample(simulated.panel(n=40, seed=8)), "callaway_santanna", level=0.99
    )
    outside = [row.conf_low > 0 or row.conf_high < 0 for row in found["rows"]]
    full_sample = found["full_sample"].conf_low > 0 or found["full_sample"].conf_high < 0
    table = found.tidy()
    assert table["significance_changes"].sum() == sum(side != full_sample for side in outside)
    words = " ".join(found.sentences)
    count = int(table["significance_changes"].sum())
    assert (f"changes that for {count} of them" in words) == (count > 0)
    assert ("outside the 99% interval" in words) == full_sample


def test_a_cohort_of_one_unit_is_counted_as_one() -> None:
    made = simulated.panel(n=50, seed=9)
    first = made.first_treated["event"].copy()
    first[np.flatnonzero(first == 7)[1:]] = np.nan
    sample = QUESTION.replace(min_cohort_size=1).sample(replace(made, first_treated={"event": first}))
    found = leave_one_cohort_out(sample, "callaway_santanna")
    assert "cohort 7 (1 unit)" in set(found.frame["without_cohort"])


def test_a_treatment_that_switches_off_has_treated_units_too() -> None:
    sample = QUESTION.replace(comparison="not_yet_treated").sample(simulated.panel(n=40, seed=1))
    switching = replace(sample, first_treated=None, path=sample.treatment)
    dated, path = (leave_one_unit_out(s, "twfe") for s in (sample, switching))
    np.testing.assert_allclose(
        [row.estimate for row in path["rows"]], [row.estimate for row in dated["rows"]], rtol=1e-10
    )


def test_rows_and_scale_do_not_matter() -> None:
    made = simulated.panel(n=60, seed=10)
    shuffled = simulated.ordered(made, np.random.default_rng(0).permutation(60))
    doubled = replace(made, outcomes={"y": 2 * made.outcomes["y"]})
    plain, other, twice = (
        leave_one_unit_out(QUESTION.sample(p), "callaway_santanna").tidy() for p in (made, shuffled, doubled)
    )
    by_unit = other.set_index("without_unit").loc[plain["without_unit"]]
    np.testing.assert_allclose(by_unit["change"], plain["change"], rtol=1e-8)
    np.testing.assert_allclose(twice["change"], 2 * plain["change"], rtol=1e-8)
    np.testing.assert_allclose(twice["dfbeta"], plain["dfbeta"], rtol=1e-8)


def test_units_that_matter_alike_stand_in_the_same_order_in_any_unit_of_the_outcome() -> None:
    made = simulated.panel(n=40, seed=2)
    y = np.round(made.outcomes["y"])

    def labels(factor: float) -> list[str]:
        sample = QUESTION.sample(replace(made, outcomes={"y": factor * y}))
        found = leave_one_unit_out(sample, "callaway_santanna", units="all", most=12)
        return found.frame["without_unit"].tolist()

    assert labels(1.0) == labels(7.0) == labels(0.1)


def test_figures_show_every_cohort_and_at_most_sixty_units() -> None:
    sample = QUESTION.sample(simulated.panel(n=120, seed=11))
    cohorts, units = leave_one_cohort_out(sample, "twfe"), leave_one_unit_out(sample, "twfe")
    assert len(cohorts.plot().axes[0].get_yticks()) == 3
    assert len(units["rows"]) > 60
    assert len(units.plot().axes[0].get_yticks()) == 60
    axes = Figure().subplots()
    assert cohorts.plot(axes) is axes.figure
    assert len(axes.get_yticks()) == 3


def test_progress_is_told_of_each_refit() -> None:
    steps: list[str] = []
    sample = QUESTION.sample(simulated.panel(n=60))
    with settings(progress=steps.append):
        found = leave_one_cohort_out(sample, "callaway_santanna")
    assert sorted(steps) == sorted(found.frame["without_cohort"])
    assert len(steps) == 3


def test_bad_input_is_one_clear_error() -> None:
    sample = QUESTION.sample(simulated.panel(n=60))
    one = QUESTION.sample(simulated.panel(n=60, cohorts=(5,)))
    switching = replace(sample, first_treated=None, path=sample.treatment)
    single = sample.only(np.isnan(sample.first_treated) | (np.cumsum(sample.first_treated == 4) == 1), "one")
    alone = replace(single, question=QUESTION.replace(min_cohort_size=1))
    keep = np.isnan(single.first_treated) | (single.first_treated == 4)
    alone = alone.only(keep & (np.cumsum(single.first_treated == 4) <= 1), "one treated unit")
    for bad, said in (
        (lambda: leave_one_cohort_out(one, "twfe"), "there is one cohort"),
        (lambda: leave_one_cohort_out(switching, "twfe"), "is not absorbing"),
        (lambda: leave_one_unit_out(sample, "twfe", units="al"), 'Did you mean "all"'),
        (lambda: leave_one_unit_out(sample, "twfe", most=0), "most is 0"),
        (lambda: leave_one_unit_out(sample, "twfe", level=1.0), "between 0 and 1"),
        (lambda: leave_one_unit_out(sample, "twfes"), "no design"),
    ):
        with pytest.raises(QuestionError, match=said):
            bad()


def test_a_unit_whose_name_ends_in_a_full_stop_ends_its_sentence_with_one() -> None:
    made = simulated.panel(n=60)
    made = replace(made, units=np.array([f"Acme {k} Inc." for k in range(60)]))
    said = " ".join(leave_one_unit_out(QUESTION.sample(made), "twfe").sentences)
    assert "largest without Acme" in said
    assert ".." not in said


def test_without_one_of_two_units_of_an_event_time_there_is_an_estimate_with_the_pooled_variance() -> None:
    panel = simulated.panel(n=40, cohorts=(6,))
    first = panel.first_treated["event"].copy()
    two = np.flatnonzero(np.isnan(first))[:2]
    first[two] = 3
    question = Question("y", "event", average="event_average", horizon=4)
    sample = question.sample(replace(panel, first_treated={"event": first}))
    found = leave_one_unit_out(sample, "event_study")
    names = [str(sample.unit_ids[i]) for i in two]
    alone = found.frame.set_index("without_unit")
    assert alone["std_error"].notna().all()
    assert not found["refused"]
    for unit, name in zip(two, names, strict=True):
        rest = sample.only(np.arange(sample.n_units) != unit, "without one")
        expected = find_design("event_study")(rest).headline.effect[0]
        assert alone.loc[name, "estimate"] == pytest.approx(expected, rel=1e-9)
    found.plot()


def test_a_refit_that_the_design_refuses_is_listed_with_its_reason() -> None:
    made = simulated.panel(n=50, seed=9)
    first = np.where(np.arange(50) < 2, np.nan, 6.0)
    pair = np.arange(2)  # synthetic_did needs two units that are never treated
    sample = QUESTION.sample(replace(made, first_treated={"event": first}))
    found = leave_one_unit_out(sample, "synthetic_did", units="all", most=50)
    assert {label for label, _ in found["refused"]} == set(made.units[pair])
    assert any("because synthetic_did: it needs two or more units" in s for s in found.sentences)
    n = len(found.frame)
    assert len(found["rows"]) == n - 2
    words = " ".join(found.sentences)
    assert f"refitted without each of {n} units ({n - 2} of them with an estimate)." in words
    assert "these units" not in words
