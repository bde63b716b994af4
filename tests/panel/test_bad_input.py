"""Bad input: what no design can estimate is left out with a note, or refused in one line, and never NaN."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import simulated
from catalogue import ASKED, EVERY, GROUP_TIME, POISSON, answer, finite, suited
from numpy.typing import NDArray
from test_callaway_santanna import with_single_unit_cohort

from study import Estimate, Panel, Question, QuestionError, estimate

pytestmark = pytest.mark.filterwarnings("error")


def first(panel: Panel) -> NDArray[np.float64]:
    return panel.first_treated["event"][:, None]


def unseen(panel: Panel, cells: NDArray[np.bool_]) -> Panel:
    """Return the panel without the outcomes of some cells, shape (n, T)."""
    return replace(panel, outcomes={"y": np.where(cells, np.nan, panel.outcomes["y"])})


def zero(panel: Panel, cells: NDArray[np.bool_]) -> Panel:
    """Return the panel of counts with zeros in some cells."""
    counted = simulated.counts(panel)
    return replace(counted, outcomes={"y": np.where(cells, 0.0, counted.outcomes["y"])})


def told(name: str, panel: Panel, question: Question = ASKED) -> Estimate | str:
    """Return the answer of a design, or what its refusal says in one line."""
    try:
        return answer(name, panel, question)
    except QuestionError as error:
        said = str(error)
    assert "\n" not in said
    return said


def named(fit: Estimate, cohort: float, period: int) -> bool:
    """Say whether a note tells that a cohort's effect in a period is left out."""
    start = f"cohort {cohort:g} in "
    return any(
        str(period) in note.removeprefix(start).split(" left out: ")[0].split(", ")
        for note in fit.notes
        if note.startswith(start) and " left out: " in note
    )


@pytest.mark.parametrize("name", ["event_study", "lp_did", "poisson_twfe events"])
def test_an_event_time_that_rests_on_one_treated_unit_is_named(name: str) -> None:
    fit = answer(name, suited(name, with_single_unit_cohort()))
    assert any("event 4" in note for note in fit.notes)


@pytest.mark.parametrize("name", GROUP_TIME)
def test_a_period_without_comparison_units_is_left_out_or_refused_by_cohort_and_period(name: str) -> None:
    panel = simulated.panel(n=100, seed=5)
    fit = told(name, suited(name, unseen(panel, np.isnan(first(panel)) & (panel.periods == 8))))
    if isinstance(fit, str):
        assert all(f"ATT({g},8)" in fit for g in simulated.COHORTS)
        return
    assert finite(fit)
    assert 8 not in fit.period
    if name == "stacked":
        assert any(note.startswith("cohort 7 left out: no comparison unit") for note in fit.notes)
    else:
        assert all(named(fit, g, 8) for g in simulated.COHORTS)


@pytest.mark.parametrize("name", ["callaway_santanna", "sun_abraham", "etwfe", "etwfe unit", "stacked"])
def test_a_cohort_whose_base_period_nobody_observes_is_left_out_and_named(name: str) -> None:
    panel = simulated.panel(n=100, seed=5)
    gap = unseen(panel, (first(panel) == 6) & (panel.periods == 5))
    fit = answer(name, gap, ASKED.replace(comparison="never_treated"))
    assert finite(fit)
    assert set(fit.cohort) == {4, 7}
    assert any(note.startswith("cohort 6 ") and "left out: no " in note for note in fit.notes)


def test_cells_that_lp_did_cannot_compare_are_named_by_cohort_and_period() -> None:
    panel = simulated.panel(n=100, seed=5)
    gap = unseen(panel, (first(panel) == 6) & (panel.periods == 5))
    assert any("6" in note for note in answer("lp_did", gap).notes)


@pytest.mark.parametrize("name", GROUP_TIME)
def test_a_treated_cell_that_nobody_observes_is_left_out_and_named(name: str) -> None:
    panel = simulated.panel(n=100, seed=5)
    fit = answer(name, suited(name, unseen(panel, (first(panel) == 6) & (panel.periods == 7))))
    assert finite(fit)
    assert (6, 7) not in set(zip(fit.cohort, fit.period, strict=True))
    whole = [note for note in fit.notes if note.startswith("cohort 6 left out: no treated unit is observed")]
    assert named(fit, 6, 7) or whole
    assert not any("is zero" in note for note in fit.notes)


def test_units_never_seen_untreated_are_counted_by_imputation_and_do_not_change_its_effects() -> None:
    panel = simulated.panel(n=100, seed=5)
    two = np.zeros(100, dtype=bool)
    two[np.flatnonzero(first(panel)[:, 0] == 6)[:2]] = True
    fit = answer("imputation", unseen(panel, two[:, None] & (panel.periods < 6)))
    (note,) = fit.notes
    assert note.startswith("6 treated unit-periods of 2 units left out: ")
    without = answer("imputation", simulated.subset(panel, ~two))
    np.testing.assert_allclose(fit.effect, without.effect, rtol=0, atol=1e-12)


@pytest.mark.parametrize("name", POISSON)
@pytest.mark.parametrize("share", [True, False])
def test_a_treated_cell_without_any_outcome_has_lost_all_that_it_would_have_had(
    name: str, share: bool
) -> None:
    panel = simulated.panel(n=100, seed=5, level=2.0)
    nothing = zero(panel, (first(panel) == 6) & (panel.periods == 7))
    fit = answer(name, nothing, ASKED.replace(scale="proportional" if share else "level"))
    k = next(k for k, cell in enumerate(zip(fit.cohort, fit.period, strict=True)) if cell == (6, 7))
    assert any(note.startswith("cohort 6 in 7: y is zero for all of its treated units") for note in fit.notes)
    near = replace(nothing, outcomes={"y": nothing.outcomes["y"].copy()})
    near.outcomes["y"][(first(panel)[:, 0] == 6), 6] = 1e-7
    other = answer(name, near, ASKED.replace(scale="proportional" if share else "level"))
    np.testing.assert_allclose(fit.effect, other.effect, rtol=0, atol=1e-6)
    np.testing.assert_allclose(fit.influence, other.influence, rtol=0, atol=1e-5)
    assert fit.effect[k] == -1 if share else fit.effect[k] < 0
    assert np.isnan(fit.std_error[k]) == share
    assert np.isfinite(np.delete(fit.std_error, k)).all()
    assert finite(fit.headline)


@pytest.mark.parametrize("name", ["etwfe poisson unit", "poisson_twfe one", "poisson_twfe events"])
def test_units_without_any_outcome_are_counted_and_change_nothing(name: str) -> None:
    panel = simulated.panel(n=100, seed=5, level=2.0)
    tenth = np.arange(100) % 10 == 0
    fit = answer(name, zero(panel, np.broadcast_to(tenth[:, None], (100, 8))))
    assert "10 units left out: y is zero in all periods" in fit.notes
    without = answer(name, simulated.subset(simulated.counts(panel), ~tenth))
    np.testing.assert_allclose(fit.effect, without.effect, rtol=0, atol=1e-9)


@pytest.mark.parametrize("name", [name for name in EVERY if "poisson" in name])
@pytest.mark.parametrize("where", ["everywhere", "never treated", "treated cells"])
def test_zeros_that_leave_a_poisson_regression_nothing_are_refused_in_one_line(name: str, where: str) -> None:
    panel = simulated.panel(n=100, seed=5, level=2.0)
    cells = {
        "everywhere": np.ones((100, 8), dtype=bool),
        "never treated": np.broadcast_to(np.isnan(first(panel)), (100, 8)),
        "treated cells": panel.periods >= first(panel),
    }
    fit = told(name, zero(panel, cells[where]))
    if isinstance(fit, str):
        assert any(why in fit for why in ("zero", "explained by the fixed effects", "no maximum"))
    else:
        assert np.isfinite(fit.effect).all()
        assert any("zero" in note for note in fit.notes)


WITH_UNIT_EFFECTS = (
    "twfe",
    "event_study",
    "sun_abraham",
    "imputation",
    "poisson_twfe one",
    "poisson_twfe events",
)


def with_collinear(panel: Panel) -> Panel:
    """Return the panel with copies, on other scales, of a covariate that moves and of one that does not."""
    covariates = dict(panel.covariates)
    covariates |= {"alike": 3 * covariates["moving"] - 1e3, "same": 3 * covariates["x1"] - 1e3}
    return replace(panel, covariates=covariates | {"flat": 0 * covariates["x1"] + 5.0})


@pytest.mark.parametrize("covariates", [("moving", "alike"), ("x1",), ("moving", "x1"), ("flat",)], ids=str)
@pytest.mark.parametrize("name", WITH_UNIT_EFFECTS)
def test_designs_with_unit_effects_refuse_a_covariate_that_they_and_the_others_explain_by_name(
    name: str, covariates: tuple[str, ...]
) -> None:
    panel = suited(name, with_collinear(simulated.panel(n=80, level=2.0)))
    explained = "moving, alike are" if "alike" in covariates else f"{covariates[-1]} is"
    with pytest.raises(
        QuestionError, match=rf"^{name.split()[0]}: {explained} explained by the fixed effects"
    ):
        answer(name, panel, ASKED.replace(covariates=covariates))


@pytest.mark.parametrize("name", [*WITH_UNIT_EFFECTS, "panel_ols", "matrix_completion"])
def test_the_level_of_a_covariate_changes_nothing_where_unit_effects_take_it_in(name: str) -> None:
    panel, asked = suited(name, simulated.panel(n=80, level=2.0)), ASKED.replace(covariates=("moving",))
    moved = replace(panel, covariates=panel.covariates | {"moving": panel.covariates["moving"] + 1e6})
    fit, again = answer(name, panel, asked), answer(name, moved, asked)
    np.testing.assert_allclose(again.effect, fit.effect, rtol=0, atol=1e-6)
    np.testing.assert_allclose(again.std_error, fit.std_error, rtol=1e-6)


@pytest.mark.parametrize("copy", ["same", "flat"])
@pytest.mark.parametrize("name", ["callaway_santanna", "etwfe", "etwfe unit", "etwfe poisson"])
def test_a_collinear_baseline_covariate_is_refused_by_name(name: str, copy: str) -> None:
    panel = suited(name, with_collinear(simulated.panel(n=80, level=2.0)))
    with pytest.raises(QuestionError, match=f"covariate {copy} is explained by the constant"):
        answer(name, panel, ASKED.replace(covariates=("x1", copy)))


@pytest.mark.parametrize("name", ["etwfe", "etwfe unit", "etwfe poisson", "etwfe poisson unit"])
def test_a_covariate_that_separates_a_cohort_is_left_out_by_cohort_and_period(name: str) -> None:
    panel = suited(name, simulated.panel(n=80, level=2.0))
    only = (first(panel) == 6) + 0 * panel.outcomes["y"]
    fit = answer(name, replace(panel, covariates={"only": only}), ASKED.replace(covariates=("only",)))
    assert finite(fit)
    assert set(fit.cohort) == {4, 7}
    assert all(named(fit, 6, t) for t in (6, 7, 8))


@pytest.mark.parametrize("method", ["dr", "ipw"])
def test_perfect_separation_in_the_propensity_is_left_out_by_cohort_and_period(method: str) -> None:
    panel = simulated.panel(n=120, seed=4)
    noise = np.random.default_rng(0).uniform(size=(120, 1))
    apart = np.where(first(panel) == 6, 2.0, 0.0) + noise + 0 * panel.outcomes["y"]
    question = ASKED.replace(covariates=("apart",))
    fit = estimate(replace(panel, covariates={"apart": apart}), question, method=method)
    assert finite(fit)
    assert 6 not in fit.cohort[~fit.reference]
    assert all(named(fit, 6, t) for t in (1, 2, 3, 4, 6, 7, 8))


@pytest.mark.parametrize("name", GROUP_TIME)
def test_a_cohort_of_one_unit_is_kept_by_default_and_named_or_left_out(name: str) -> None:
    panel = suited(name, with_single_unit_cohort())
    without = answer(name, panel, ASKED.replace(min_cohort_size=2))
    assert set(without.cohort) == {6, 7}
    kept = answer(name, panel)
    assert set(kept.cohort) == {4, 6, 7}
    assert finite(kept.with_vcov(kept.published))
    np.testing.assert_array_equal(np.isnan(kept.std_error), kept.reference)
    assert any("cohort 4 rest" in note and "pooled variance" in note for note in kept.notes)
