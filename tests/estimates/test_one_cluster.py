"""Terms with one cluster on a side take the pooled variance of both sides."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import simulated

from study import Estimate, Panel, Question
from study.designs import all_designs, estimate

QUESTION = Question("y", "event")
DESIGNS = ("callaway_santanna", "imputation", "sun_abraham", "lp_did", "etwfe")


def panel_of(*treated: float, units: int = 30) -> Panel:
    """Return a panel of eight periods whose first units are treated from some periods on."""
    panel = simulated.panel(n=units, seed=5)
    first = np.full(units, np.nan)
    first[: len(treated)] = treated
    return replace(panel, first_treated={"event": first})


STAGGERED = (3.0, 4.0, 4.0, 4.0, 5.0, 5.0, 6.0)


@pytest.mark.parametrize("design", ["callaway_santanna", "twfe", "lee_wooldridge", "imputation"])
def test_one_treated_unit_has_students_pooled_t(design: str) -> None:
    fit = estimate(panel_of(5.0), QUESTION, design)
    average = fit.headline if fit.estimand.has_path is False else fit.aggregate("treated_average")
    pooled = average.with_vcov("pooled")
    assert average.std_error == pytest.approx(pooled.std_error, rel=1e-9)
    assert average.degrees_of_freedom <= pooled.degrees_of_freedom + 1e-9


def test_the_variance_is_that_of_the_changes_of_comparison_units() -> None:
    panel = panel_of(5.0)
    fit = estimate(panel, QUESTION, "callaway_santanna")
    y = panel.outcomes["y"]
    for period in (5, 6, 7):
        change = y[1:, period - 1] - y[1:, 3]
        expected = np.sqrt(change.var(ddof=1) * (1 + 1 / len(change)))
        assert fit.std_error[fit.period == period] == pytest.approx(expected, rel=1e-9)


def test_one_comparison_unit_takes_the_variance_of_treated_units() -> None:
    panel = panel_of(*[5.0] * 29)
    fit = estimate(panel, QUESTION, "callaway_santanna")
    change = panel.outcomes["y"][:29, 5] - panel.outcomes["y"][:29, 3]
    expected = np.sqrt(change.var(ddof=1) * (1 + 1 / 29))
    assert fit.std_error[fit.period == 6] == pytest.approx(expected, rel=1e-9)


def test_one_unit_on_each_side_has_no_standard_error() -> None:
    fit = estimate(panel_of(5.0, units=2), QUESTION, "callaway_santanna")
    assert np.isnan(fit.std_error).all()


@pytest.mark.parametrize("design", DESIGNS)
def test_every_term_and_average_has_a_standard_error_and_one_note_says_why(design: str) -> None:
    fit = estimate(panel_of(*STAGGERED), QUESTION, design)
    assert np.isfinite(fit.std_error[~fit.reference]).all()
    for average in ("event_average", "treated_average", "calendar_average", "cohort_average"):
        if fit.estimand.in_cells:
            assert np.isfinite(fit.aggregate(average).std_error).all()
    assert np.isfinite(fit.aggregate("event_average").std_error).all()
    notes = [note for note in fit.notes if "pooled variance" in note]
    assert len(notes) == 1
    assert not any("pooled variance" in note for note in fit.with_vcov("CR0").notes)


def test_averages_have_the_variance_of_the_joint_covariance() -> None:
    path = estimate(panel_of(*STAGGERED), QUESTION, "callaway_santanna").by_event_time
    after = (path.event_time >= 0) & ~path.reference
    weight = after / after.sum()
    variance = weight @ path.covariance() @ weight
    assert path.aggregate("event_average").std_error ** 2 == pytest.approx(variance, rel=1e-9)


@pytest.mark.parametrize(
    "change",
    [
        lambda p: replace(p, outcomes={"y": -p.outcomes["y"]}),
        lambda p: replace(p, outcomes={"y": p.outcomes["y"] + np.arange(p.outcomes["y"].shape[1])}),
        lambda p: replace(p, outcomes={"y": p.outcomes["y"] + np.arange(len(p.units))[:, None]}),
        lambda p: simulated.ordered(p, np.random.default_rng(3).permutation(len(p.units))),
    ],
    ids=["sign", "period constants", "unit constants", "row order"],
)
@pytest.mark.parametrize("design", DESIGNS)
def test_standard_errors_do_not_depend_on(design: str, change: Callable[[Panel], Panel]) -> None:
    panel = panel_of(*STAGGERED)

    def average(of: Panel) -> Estimate:
        return estimate(of, QUESTION, design).aggregate("event_average")

    one, other = average(panel), average(change(panel))
    assert other.std_error == pytest.approx(one.std_error, rel=1e-7)
    assert other.degrees_of_freedom == pytest.approx(one.degrees_of_freedom, rel=1e-6)


@pytest.mark.parametrize(
    "design", ["event_study", "sun_abraham", "etwfe", "imputation", "lp_did", "callaway_santanna"]
)
def test_one_unit_that_is_seen_carries_a_term_though_others_of_its_cohort_move_it(design: str) -> None:
    rng, units = np.random.default_rng(0), 40
    y = rng.normal(size=(units, 8))
    y[1:6, 7] = np.nan  # of six treated units one is seen in the last period
    first = np.r_[[4.0] * 6, np.full(units - 6, np.nan)]
    panel = replace(simulated.panel(units), outcomes={"y": y}, first_treated={"event": first})
    path = estimate(panel, QUESTION, design).aggregate("event")
    last = path.event_time == 4
    assert path.on_one_cluster[last].all()
    changes = y[6:, 7] - y[6:, :3].mean(axis=1)
    assert path.std_error[last][0] > 0.95 * changes.std(ddof=1)


def test_every_design_that_needs_nothing_more_estimates_a_panel_like_castle_doctrine() -> None:
    first = [2005.0] + [2006.0] * 13 + [2007.0] * 4 + [2008.0] * 2 + [2009.0]
    rng = np.random.default_rng(1)
    y = 2 + rng.normal(0, 0.3, (50, 1)) + rng.normal(0, 0.05, 11).cumsum() + rng.normal(0, 0.1, (50, 11))
    table = pd.DataFrame({"unit": np.repeat(np.arange(50), 11), "year": np.tile(np.arange(2000, 2011), 50)})
    table = table.assign(y=y.ravel(), event=np.repeat(np.r_[first, np.full(29, np.nan)], 11))
    panel = Panel.from_long(table, unit="unit", time="year", first_treated="event", outcomes=["y"])
    needs_more = {"dml_iv", "iv", "dose_response", "heterogeneous_adoption", "three_way", "triple_difference"}
    for name in all_designs().keys() - needs_more - {"dml_did"}:
        average = estimate(panel, QUESTION, name).headline
        assert np.isfinite(average.std_error).all(), name
