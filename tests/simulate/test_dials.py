"""Every dial does what it says, in its unit, and moves nothing else."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cache
from typing import Any, NamedTuple

import numpy as np
import pytest
from numpy.typing import NDArray
from simulated_processes import PERIODS, panel, process

from study import QuestionError
from study.simulate.process import DIALS, Draw, Process, checked_dials, recent_growth

Array = NDArray[Any]


@cache
def made(family: str = "count", **question: Any) -> Process:
    """Return a process of 20,000 units, of whom 2% adopt at each date."""
    return process(panel(20000, 0.02), family, hazard=(0.0, 0.5), **question)  # type: ignore[arg-type]


class Seen(NamedTuple):
    """What a draw shows: periods since treatment, untreated outcomes, and effects as dials have them."""

    since: Array
    untreated: Array
    effect: Array
    draw: Draw
    process: Process


def seen(turned: Process, seed: int = 0) -> Seen:
    draw = turned.draw(np.random.default_rng(seed))
    assert draw.first_treated is not None
    more = draw.y - draw.untreated
    effect = more / (turned.spread if turned.family == "continuous" else np.maximum(draw.untreated, 1))
    return Seen(PERIODS - draw.first_treated[:, None], draw.untreated, effect, draw, turned)


def of_event_times(s: Seen) -> Array:
    return np.array([s.effect[s.since == e].mean() for e in range(6)])


def growth(s: Seen) -> Array:
    """Return the growth of each unit's untreated outcome over that of the mean."""
    ratio = s.untreated[:, -1] / s.untreated[:, 0]
    return np.asarray(ratio / (s.untreated[:, -1].mean() / s.untreated[:, 0].mean()))


def of_mean(s: Seen, period: int) -> float:
    """Return the mean outcome of a period over what it is without factor and shocks."""
    made = s.process
    return float(
        s.untreated[:, period].mean() / made._means(made.size[0], np.linspace(0, 1, 8))[:, period].mean()
    )


def of_dates(s: Seen) -> float:
    """Return the difference in effects of a period of adoption."""
    first = s.draw.first_treated
    early, late = (s.effect[(first == date)[:, None] & (s.since >= 0)].mean() for date in (2003, 2006))
    return float((early - late) / 3)


def by_dose(s: Seen) -> float:
    cells = s.draw.treated
    assert s.draw.dose is not None
    dose = np.broadcast_to(s.draw.dose[:, None], cells.shape)[cells]
    return float(np.polyfit(np.log(dose), np.log(s.effect[cells]), 1)[0])


def slope(s: Seen, z: Array) -> float:
    """Return how growth depends on a variable, in shares of the mean."""
    change = s.untreated[:, -1] - s.untreated[:, 0]
    return float(np.polyfit(z, change, 1)[0] / s.process.mean_size)


def selected(s: Seen) -> float:
    """Return how adopters of one date had grown, in variances of all who could adopt then: the log hazard ratio."""
    first = s.draw.first_treated
    could = ~(first < 2006)
    recent = recent_growth(s.untreated, 5, "count", 1.0)[could]
    shift = recent[(first == 2006)[could]].mean() - recent.mean()
    return float(shift / recent.var())


def autocorrelation(s: Seen) -> float:
    log = np.log(s.untreated / s.process.size[0][:, None])
    return float(np.corrcoef(log[:, 3], log[:, 4])[0, 1])


def by_size(s: Seen) -> float:
    """Return how growth depends on size, in shares of what it does where it is in proportion."""
    change = s.untreated[:, -1] - s.untreated[:, 0]
    return float(np.polyfit(s.process.size[0], change, 1)[0] * s.process.mean_size / s.process.growth[-1])


def trend(s: Seen) -> float:
    adopts = ~np.isnan(s.draw.first_treated)
    ratio = s.untreated[:, -1] / s.untreated[:, 0]
    return float(ratio[adopts].mean() / ratio[~adopts].mean() - 1)


def relative_shock(s: Seen) -> float:
    return float(
        (s.untreated[:, 3] / s.process.size[0]).std() / (s.untreated[:, 3] / s.process.size[0]).mean()
    )


def spilt(s: Seen) -> float:
    never = np.isnan(s.draw.first_treated)
    after = PERIODS >= 2003
    assert not s.effect[never][:, ~after].any()
    return float(s.effect[never][:, after].mean())


FLAT = {"size_growth": 1.0}
EFFECT = {"effect": 0.4}
# Dial, value, other dials, what is measured, what it should be, and the tolerance.
MEASURED: tuple[tuple[str, float, dict[str, float], Callable[[Seen], float], float, float], ...] = (
    ("effect", 0.2, {}, lambda s: s.effect[s.draw.treated].mean(), 0.2, 0.002),
    ("effect", -0.3, {}, lambda s: s.effect[s.draw.treated].mean(), -0.3, 0.002),
    ("heterogeneity", 0.5, EFFECT, lambda s: s.effect[s.since == 0].std() / 0.4, 0.5, 0.05),
    ("heterogeneity", 0.5, EFFECT, lambda s: s.effect[s.since == 0].mean(), 0.4, 0.02),
    ("dynamics", 0.3, EFFECT, lambda s: of_event_times(s)[2] / of_event_times(s)[0], 1.6, 0.01),
    ("dynamics", 0.3, EFFECT, lambda s: of_event_times(s).mean(), 0.4, 0.002),
    ("dynamics", -0.5, EFFECT, lambda s: of_event_times(s).mean(), 0.4, 0.002),
    ("early", 0.1, EFFECT, of_dates, 0.04, 0.001),
    ("dose", 0.5, EFFECT, by_dose, 0.5, 0.01),
    ("dose", 0.0, EFFECT, by_dose, 0.0, 0.01),
    ("dose", 2.0, EFFECT, lambda s: s.effect[s.draw.treated].mean(), 0.4, 0.002),
    ("size_growth", 1.0, {}, by_size, 1.0, 0.01),
    ("size_growth", 0.3, {}, by_size, 0.3, 0.01),
    ("factor", 0.5, FLAT, lambda s: growth(s).std(), 0.5, 0.03),
    ("factor", 0.9, FLAT, lambda s: of_mean(s, -1), 1.0, 0.03),
    ("shocks", 0.6, FLAT, relative_shock, 0.6, 0.03),
    ("shocks", 0.6, FLAT, lambda s: of_mean(s, 0), 1.0, 0.03),
    ("persistence", 0.7, FLAT | {"shocks": 0.6}, autocorrelation, 0.7, 0.02),
    ("zeros", 0.3, {}, lambda s: (s.untreated == 0).mean(), 0.3, 0.005),
    ("zeros", 0.3, {}, lambda s: s.untreated[:, 0].mean() / s.process.mean_size, 1.0, 0.02),
    ("selection", 1.0, FLAT | {"shocks": 0.6}, selected, 0.5, 0.12),
    ("selection", -2.0, FLAT | {"shocks": 0.6}, selected, -1.0, 0.12),
    ("selection", 0.0, FLAT | {"shocks": 0.6}, selected, 0.0, 0.12),
    ("trends", 0.5, FLAT, trend, 0.5, 0.005),
    ("trends", -0.5, FLAT, trend, -0.5, 0.005),
    ("linear", 0.4, {}, lambda s: slope(s, s.process.covariate), 0.4, 0.01),
    ("linear", 0.4, {}, lambda s: s.process.covariate[s.since[:, -1] >= 0].mean(), 0.9, 0.1),
    ("nonlinear", 0.4, {}, lambda s: slope(s, s.process.square), 0.4, 0.02),
    ("nonlinear", 0.4, {}, lambda s: slope(s, s.process.covariate), 0.0, 0.02),
    ("anticipation", 0.5, EFFECT, lambda s: s.effect[s.since == -1].mean(), 0.2, 0.002),
    ("anticipation", 0.5, EFFECT, lambda s: np.abs(s.effect[s.since < -1]).max(), 0.0, 1e-9),
    ("spillovers", -0.5, EFFECT, spilt, -0.2, 0.002),
    ("spillovers", -0.5, EFFECT, lambda s: s.effect[s.draw.treated].mean(), 0.4, 0.002),
    ("hidden", 0.1, EFFECT, lambda s: s.effect[np.isnan(s.since[:, 0])].any(axis=1).mean(), 0.1, 0.001),
    ("unfounded", 0.2, EFFECT, lambda s: 1 - s.effect[s.since[:, -1] >= 0].any(axis=1).mean(), 0.2, 0.001),
    ("reversal", 0.3, EFFECT, lambda s: (s.effect[s.since == 2] != 0).mean(), 0.49, 0.03),
    ("reversal", 0.3, EFFECT, lambda s: (s.effect[s.since == 0] != 0).mean(), 1.0, 0.0),
    ("missing", 0.2, {}, lambda s: np.isnan(s.draw.y).mean(), 0.2, 0.005),
)  # fmt: skip


@pytest.mark.parametrize(
    ("dial", "value", "others", "measure", "expected", "tolerance"),
    MEASURED,
    ids=[f"{row[0]}={row[1]:g}-{place}" for place, row in enumerate(MEASURED)],
)
def test_a_dial_is_in_its_unit(
    dial: str,
    value: float,
    others: dict[str, float],
    measure: Callable[[Seen], float],
    expected: float,
    tolerance: float,
) -> None:
    question = {"dose": "dose"} if dial == "dose" else {}
    shown = seen(made(**question).turned(**others | {dial: value}))
    assert measure(shown) == pytest.approx(expected, abs=tolerance)


def test_every_dial_is_measured() -> None:
    assert {row[0] for row in MEASURED} == DIALS.keys()


CONTINUOUS: tuple[tuple[str, float, Callable[[Seen], float], float, float], ...] = (
    ("effect", -0.3, lambda s: s.effect[s.draw.treated].mean(), -0.3, 1e-9),
    ("trends", 0.5, lambda s: np.ptp([change(s)[adopts].mean() for adopts in by_adoption(s)]), 0.5, 1e-9),
    ("factor", 0.5, lambda s: change(s).std(), 0.5, 0.01),
    ("shocks", 0.6, lambda s: np.std(s.untreated[:, 0] - s.process.size[0]) / s.process.spread, 0.6, 0.01),
    ("linear", 0.4, lambda s: np.polyfit(s.process.covariate, change(s), 1)[0], 0.4, 1e-9),
    ("size_growth", 0.5, lambda s: change(s).std() / change(s).mean(), 0.5, 1e-9),
)  # fmt: skip


def by_adoption(s: Seen) -> tuple[Array, Array]:
    never = np.isnan(s.since[:, 0])
    return ~never, never


def change(s: Seen) -> Array:
    return np.asarray((s.untreated[:, -1] - s.untreated[:, 0]) / s.process.spread)


@pytest.mark.parametrize(
    ("dial", "value", "measure", "expected", "tolerance"), CONTINUOUS, ids=[row[0] for row in CONTINUOUS]
)
def test_a_dial_of_a_continuous_outcome_is_in_its_standard_deviations(
    dial: str, value: float, measure: Callable[[Seen], float], expected: float, tolerance: float
) -> None:
    shown = seen(made("continuous").turned(**{dial: value}))
    assert measure(shown) == pytest.approx(expected, abs=tolerance)


def test_a_share_of_fewer_than_one_event_is_that_share_over_draws() -> None:
    few = process(panel(25, 0.04), dials={"effect": 0.5, "unfounded": 0.15})  # four events in the window
    draws = [few.draw(np.random.default_rng(seed)) for seed in range(600)]
    events = sum(int(np.sum(draw.first_treated <= PERIODS[-1])) for draw in draws)
    true = sum(int(draw.treated.any(axis=1).sum()) for draw in draws)
    assert 1 - true / events == pytest.approx(0.15, abs=0.03)


def test_treatment_spills_over_to_neighbours_alone() -> None:
    turned = process(dials={"effect": 0.5, "spillovers": 1.0})
    draw = replace(turned, neighbours=np.arange(400) // 4).draw(np.random.default_rng(0))
    assert draw.first_treated is not None
    treated = (PERIODS - draw.first_treated[:, None] >= 0).reshape(100, 4, -1)
    moved = (draw.y != draw.untreated).reshape(100, 4, -1)
    np.testing.assert_array_equal(moved, np.broadcast_to(treated.any(axis=1, keepdims=True), moved.shape))


# What a dial leaves as it was, to the byte.
ADOPTION = {"first_treated"}
ALL = {"untreated", "first_treated"}
UNMOVED = {
    **dict.fromkeys(
        ("effect", "heterogeneity", "dynamics", "early", "dose", "anticipation", "spillovers", "hidden", "unfounded",
         "reversal", "missing"), ALL
    ),
    "trends": ADOPTION,
    "selection": {"untreated"},
}  # fmt: skip


@pytest.mark.parametrize("dial", [name for name in DIALS if name in UNMOVED])
def test_a_dial_moves_nothing_but_what_it_is_about(dial: str) -> None:
    base = process(
        panel(800), hazard=(0.3, 1.0), dose="dose",
        dials={"effect": 0.3, "shocks": 0.5, "selection": 1.0, "factor": 0.4, "zeros": 0.1},
    )  # fmt: skip
    one, other = (
        p.draw(np.random.default_rng(3)) for p in (base, base.turned(**{dial: 0.6 * DIALS[dial].high}))
    )
    for name in UNMOVED[dial]:
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name))
    assert any(
        not np.array_equal(getattr(one, name), getattr(other, name), equal_nan=True)
        for name in ("y", "untreated", "first_treated")
    )


def test_who_is_not_treated_has_the_same_outcomes_whatever_the_effect() -> None:
    base = process(panel(800), dials={"shocks": 0.5})
    none, some = (base.turned(effect=e).draw(np.random.default_rng(3)) for e in (0.0, 0.2))
    np.testing.assert_array_equal(none.y, none.untreated)
    np.testing.assert_array_equal(some.y[~some.treated], none.y[~none.treated])
    assert (some.y > none.y)[some.treated].mean() > 0.95


def test_anticipation_is_in_proportion_to_the_dose_to_come() -> None:
    shown = seen(process(dose="dose", dials={"effect": 0.5, "anticipation": 0.4}))
    before = shown.effect[shown.since == -1]
    dose = np.broadcast_to(shown.draw.dose[:, None], shown.since.shape)[shown.since == -1]  # type: ignore[index]
    inside = dose > 0
    np.testing.assert_allclose(np.corrcoef(before[inside], dose[inside])[0, 1], 1, atol=1e-3)


def test_adopters_trends_leave_the_others_as_they_were() -> None:
    base = process(panel(800), dials={"shocks": 0.5})
    none, some = (base.turned(trends=e).draw(np.random.default_rng(3)) for e in (0.0, 0.5))
    never = np.isnan(none.first_treated)
    np.testing.assert_array_equal(some.untreated[never], none.untreated[never])
    np.testing.assert_array_equal(some.untreated[:, 0], none.untreated[:, 0])


@pytest.mark.parametrize("family", ["count", "continuous"])
def test_dials_at_neutral_change_no_byte(family: str) -> None:
    base = process(family=family)  # type: ignore[arg-type]
    neutral = base.turned(**{name: dial.neutral for name, dial in DIALS.items()})
    assert not base.turned_dials
    one, other = (p.draw(np.random.default_rng(1)) for p in (base, neutral))
    np.testing.assert_array_equal(one.y, other.y)


@pytest.mark.parametrize(
    ("dials", "message"),
    [
        ({"trend": 0.5}, r"simulate: .*trend.*trends"),
        ({"trends": -0.95}, r"simulate: dial trends is -0.95; it is from -0.9 to 10"),
        ({"zeros": 0.95}, r"simulate: dial zeros is 0.95; it is from 0 to 0.9 \(share of unit-periods\)"),
        ({"effect": float("nan")}, r"simulate: dial effect is nan; it is from"),
        ({"effect": float("inf")}, r"simulate: dial effect is inf; it is from"),
        ({"effect": "much"}, r"simulate: dial effect is much; it is from"),
        ({"effect": None}, r"simulate: dial effect is None; it is from"),
        ({"effect": True}, r"simulate: dial effect is True; it is from"),
    ],
)
def test_unknown_dials_and_values_out_of_range_are_refused(dials: Any, message: str) -> None:
    with pytest.raises(QuestionError, match=message):
        process().turned(**dials)


def test_numbers_of_numpy_are_dials() -> None:
    assert checked_dials({"effect": np.float32(0.5), "trends": np.int64(2)}, "x") == {
        "effect": 0.5,
        "trends": 2.0,
    }


@pytest.mark.parametrize(
    ("family", "dial", "question", "message"),
    [
        ("continuous", "zeros", {}, "Process: dial zeros is of counts, and y is not one"),
        ("count", "dose", {}, "Process: dial dose is turned, but event has no dose"),
        (
            "count",
            "nonlinear",
            {"covariates": ("binary",)},
            "Process: dial nonlinear is turned, but the covariate",
        ),
    ],
)
def test_dials_that_a_process_does_not_have_are_refused(
    family: Any, dial: str, question: dict[str, Any], message: str
) -> None:
    with pytest.raises(QuestionError, match=message):
        process(None, family, **question).turned(**{dial: 0.5})


def test_logs_of_what_can_be_negative_are_refused() -> None:
    with pytest.raises(QuestionError, match="Process: draws of y, which is no count, can be below -1"):
        process(family="continuous", scale="log1p")


def test_confounding_is_by_the_first_covariate_with_a_square() -> None:
    made = process(covariates=("binary", "z"))
    z = made.sample.x_baseline[:, 1]
    np.testing.assert_allclose(made.covariate, (z - z.mean()) / z.std())
    assert abs(np.corrcoef(made.covariate, made.square)[0, 1]) < 1e-9
