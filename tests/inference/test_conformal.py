"""Conformal inference and the cross-fitted t test against loops over permutations, and their size."""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import permutations
from typing import Any

import numpy as np
import pytest
import searching
from scipy import stats
from scipy.optimize import minimize

import study
from study import Panel, Question, QuestionError
from study.inference import conformal as conformal_module
from study.inference.conformal import Conformal, conformal, cross_fitted_t
from study.inference.leave_out import ROW
from study.panel import Sample

ASKED = Question("y", "event", min_cohort_size=1)
CONTROL: dict[str, Any] = {"method": "synthetic_control"}


def panel(
    rng: np.random.Generator,
    treated: int = 1,
    n: int = 8,
    before: int = 6,
    after: int = 2,
    persist: float = 0.0,
) -> Panel:
    """Return a panel with one date of treatment, a common factor, no effect, and errors of a given persistence."""
    t = before + after
    noise = rng.normal(size=(n, t + 20))
    for s in range(1, t + 20):
        noise[:, s] += persist * noise[:, s - 1]
    y = 10 + rng.normal(size=(n, 1)) + np.cumsum(rng.normal(size=t)) + noise[:, 20:]
    return Panel(
        name="drawn",
        units=np.array([f"u{i}" for i in range(n)]),
        periods=np.arange(2001, 2001 + t),
        outcomes={"y": y},
        covariates={},
        first_treated={"event": np.where(np.arange(n) < treated, 2001.0 + before, np.nan)},
        treatment={},
        attributes={},
    )


def sample(seed: int = 0, question: Question = ASKED, **how: Any) -> Sample:
    return question.sample(panel(np.random.default_rng(seed), **how))


def residuals(of: Sample, null: np.ndarray, method: str, periods: list[int]) -> np.ndarray:
    """Return residuals of the mean treated path under a null on the last of some periods, by hand."""
    own = of.ever_treated
    path, others = of.y[own].mean(axis=0)[periods], of.y[~own][:, periods]
    path[-len(null) :] -= null
    if method == "imputation":
        left = path - others.mean(axis=0)
        return left - left.mean()

    def loss(w: np.ndarray) -> float:
        return float(np.sum((path - w @ others) ** 2))

    n = len(others)
    equal, bounds = np.full(n, 1 / n), [(0, 1)] * n
    adding = {"type": "eq", "fun": lambda w: w.sum() - 1}
    best = minimize(loss, equal, bounds=bounds, constraints=adding, options={"ftol": 1e-14, "maxiter": 1000})
    return path - best.x @ others


def shifted(residual: np.ndarray, n_after: int) -> float:
    """Return the share of cyclic shifts whose last absolute residuals add up to as much as they do."""
    size = np.abs(residual)
    sums = [np.roll(size, k)[-n_after:].sum() for k in range(len(size))]
    return float(np.mean([s >= sums[0] - 1e-9 for s in sums]))


METHODS: list[tuple[str, dict[str, Any]]] = [("imputation", {}), ("synthetic_did", CONTROL)]


@pytest.mark.parametrize("treated", [1, 3])
@pytest.mark.parametrize(("design", "options"), METHODS, ids=["did", "sc"])
def test_p_values_are_shares_of_shifts_and_of_orders(
    design: str, options: dict[str, Any], treated: int
) -> None:
    for seed in range(3):
        of, null = sample(seed, treated=treated, before=4), np.array([0.5, -1.0])
        residual = residuals(of, null, design, list(range(6)))
        found = conformal(of, design, null=null.tolist(), **options)
        assert found.p_value == pytest.approx(shifted(residual, 2))
        assert (found.permutations, found.exact) == (6, True)
        size = np.abs(residual)
        orders = [size[list(order)[-2:]].sum() for order in permutations(range(6))]
        share = np.mean(np.array(orders) >= size[-2:].sum() - 1e-9)
        found = conformal(of, design, null=null.tolist(), permuted="iid", **options)
        assert found.p_value == pytest.approx(share)
        assert (found.permutations, found.exact) == (15, True)


def test_drawn_orders_come_near_all_orders_and_count_the_actual_one() -> None:
    of = sample(1, before=10, after=4)
    exact = conformal(of, "imputation", permuted="iid", permutations=1001)
    drawn = conformal(of, "imputation", permuted="iid", permutations=1000)
    assert (exact.permutations, exact.exact, drawn.permutations, drawn.exact) == (1001, True, 1000, False)
    assert drawn.p_value == pytest.approx(exact.p_value, abs=4 * np.sqrt(0.25 / 1000))
    assert conformal(of, "imputation", permuted="iid", permutations=1000).p_value == drawn.p_value


@pytest.mark.parametrize(("design", "options"), METHODS, ids=["did", "sc"])
def test_intervals_end_where_the_test_of_one_period_begins_to_reject(
    design: str, options: dict[str, Any]
) -> None:
    of = sample(2, before=9, after=2)
    found = conformal(of, design, level=0.8, **options)
    for k, t in enumerate((9, 10)):
        periods = [*range(9), t]

        def p_value(c: float, periods: list[int] = periods) -> float:
            return shifted(residuals(of, np.array([c]), design, periods), 1)

        assert found.p_values[k] == pytest.approx(p_value(0.0))
        low, high = found.conf_low[k], found.conf_high[k]
        for inside, outside in ((low + 1e-3, low - 1e-3), (high - 1e-3, high + 1e-3)):
            assert p_value(inside) > 0.2
            assert p_value(outside) <= 0.2


def test_the_estimates_are_those_of_the_design() -> None:
    of = sample(3, treated=2)
    for design, options in METHODS:
        made = study.designs.find_design(design)(of, **options)
        effect = made.effect[np.isfinite(made.cohort)]
        np.testing.assert_allclose(conformal(of, design, **options).effect, effect, rtol=1e-9)


def test_treated_units_are_averaged_by_their_weights() -> None:
    whole = panel(np.random.default_rng(3), treated=2)
    whole = replace(whole, covariates={"size": np.outer([1.0, 3.0, *np.ones(6)], np.ones(8))})
    of = ASKED.replace(weights="size").sample(whole)
    expected = study.designs.find_design("imputation")(of, leads=0).effect
    np.testing.assert_allclose(conformal(of, "imputation").effect, expected, rtol=1e-9)


def test_a_proportional_null_is_one_of_scaled_outcomes() -> None:
    of = sample(4)
    share = conformal(replace(of, question=ASKED.replace(scale="proportional")), "imputation", null=0.2)
    y = of.y.copy()
    y[0, -2:] /= 1.2
    assert share.p_value == conformal(replace(of, y=y), "imputation").p_value
    low = (
        conformal(of, "imputation", level=0.8).effect / (of.y[0] - np.append(np.zeros(6), share.effect))[-2:]
    )
    assert share.effect.shape == low.shape
    outcome = of.y[0, -2:]
    level = conformal(of, "imputation").effect
    np.testing.assert_allclose(share.effect, level / (outcome - level))


def test_intervals_in_proportion_hold_effects_above_minus_one_and_none_where_there_is_no_estimate() -> None:
    of = sample(4, ASKED.replace(scale="proportional"), after=4)
    y = of.y - 9.0
    y[0, -4:] = [0.0, 0.2, 8.0, 8.0]
    y[1:, -1] = -20.0
    y[0, 0] += 9.0  # residuals before treatment as large as what is predicted
    made = conformal(replace(of, y=y), "imputation", level=0.8)
    assert made.effect[0] == -1
    assert np.all((made.effect[1:3] > -1) & (made.conf_low[1:3] >= -1))
    assert np.isnan(made.effect[3])
    assert np.all(np.isinf(made.conf_low[[0, 3]]) & np.isinf(made.conf_high[[0, 3]]))


SAMPLES = searching.samples(100, 1500)


@pytest.mark.search
@pytest.mark.parametrize(
    ("design", "options", "permuted", "persist"),
    [
        ("imputation", {}, "moving_block", 0.5),
        ("imputation", {}, "iid", 0.0),
        ("synthetic_did", CONTROL, "moving_block", 0.0),
        ("generalized_synthetic_control", {"factors": 1}, "moving_block", 0.0),
    ],
    ids=["did", "did iid", "sc", "factor"],
)
def test_one_treated_unit_is_rejected_at_most_as_often_as_the_size(
    design: str, options: dict[str, Any], permuted: Any, persist: float
) -> None:
    rng, p_values = np.random.default_rng(20261128), []
    for _ in range(SAMPLES):
        of = ASKED.sample(panel(rng, n=10, before=17, after=3, persist=persist))
        p_values.append(
            conformal(of, design, permuted=permuted, permutations=199, level=0.99, **options).p_value
        )
    # Errors that depend on one another make shifts exact in long panels only.
    size = 0.05 if persist == 0 else 0.075
    assert np.mean(np.array(p_values) <= 0.05 + 1e-12) <= size + 3 * np.sqrt(size * (1 - size) / SAMPLES)


@pytest.mark.search
def test_intervals_and_the_t_test_cover_no_effect() -> None:
    rng, covered, by_t = np.random.default_rng(7), [], []
    for draw in range(SAMPLES):
        of = ASKED.sample(panel(rng, n=10, before=19, after=4))
        if draw % 20 == 0:
            found = conformal(of, "imputation", level=0.9)
            covered += list((found.conf_low <= 0) & (found.conf_high >= 0))
        low, high = cross_fitted_t(of, "imputation").interval()
        by_t.append(low <= 0 <= high)
    assert np.mean(covered) >= 0.9 - 3 * np.sqrt(1.8 / SAMPLES)
    assert abs(np.mean(by_t) - 0.95) <= 3 * np.sqrt(0.95 * 0.05 / SAMPLES)


def test_the_t_test_is_that_of_means_by_hand() -> None:
    of = sample(5, treated=2, before=8, after=3)
    left = of.y[:2].mean(axis=0) - of.y[2:].mean(axis=0)
    effects = [left[8:].mean() - left[fold].mean() for fold in ([2, 3], [4, 5], [6, 7])]
    found = cross_fitted_t(of, "imputation")
    assert found.effect == pytest.approx(np.mean(effects))
    error = np.sqrt(1 + 3 * 2 / 3) * np.std(effects, ddof=1) / np.sqrt(3)
    assert found.std_error == pytest.approx(error)
    table = found.tidy(0.9)
    np.testing.assert_allclose(
        table[["conf_low", "conf_high"]].iloc[0], found.effect + error * 2.9199856 * np.array([-1, 1])
    )
    assert "3 folds of 2 periods" in found.sentences[0]
    t, degrees = found.effect / error, 2
    expected = (found.effect, error, t, 2 * stats.t.sf(abs(t), degrees), *found.interval())
    row = found.tidy().iloc[0].to_dict()
    assert row == {"term": "treated_average"} | dict(zip(ROW[1:], map(pytest.approx, expected), strict=True))
    assert found.interval() == found.interval(0.95)
    for folds, length in ((2, 3), (7, 1)):  # of 8 periods before treatment and 3 from then on
        assert (cross_fitted_t(of, "imputation", folds=folds).length) == length


def test_units_may_stand_in_any_order_and_levels_and_units_of_measurement_do_not_matter() -> None:
    made = panel(np.random.default_rng(6), treated=2)
    rows = np.random.default_rng(0).permutation(8)
    first = made.first_treated["event"]
    shuffled = replace(
        made,
        units=made.units[rows],
        outcomes={"y": made.outcomes["y"][rows]},
        first_treated={"event": first[rows]},
    )
    y = 1e9 * (made.outcomes["y"] + 5 * np.arange(8))
    moved = replace(made, outcomes={"y": y}, periods=made.periods - 500, first_treated={"event": first - 500})

    def numbers(of: Panel) -> np.ndarray:
        found: Conformal = conformal(ASKED.sample(of), "imputation", level=0.8)
        return np.concatenate(
            [[found.p_value], found.p_values, found.effect, found.conf_low, found.conf_high]
        )

    expected = numbers(made)
    np.testing.assert_allclose(numbers(shuffled), expected, rtol=1e-6)
    np.testing.assert_allclose(numbers(moved)[3:], 1e9 * expected[3:], rtol=1e-6)
    np.testing.assert_allclose(numbers(moved)[:3], expected[:3])


def test_what_it_says_and_shows() -> None:
    found = study.conformal(sample(0), "imputation")
    assert found.sentences[0].startswith(
        "imputation, one treated unit: an effect of 0 in every period has p = "
    )
    assert "smallest possible p-value is 0.12" in found.sentences[1]
    assert "a level of at most 0.86 has some" in found.sentences[2]
    assert np.isinf(found.conf_low).all()
    assert np.isinf(found.conf_high).all()
    ends = study.conformal(sample(0), "imputation", level=0.8, null=[0.0, 1.0])
    assert len(ends.sentences) == 2
    assert "the path of effects" in ends.sentences[0]
    table = ends.tidy()
    numbers = {"estimate": ends.effect, "null": [0.0, 1.0], "p_value": ends.p_values}
    numbers |= {"conf_low": ends.conf_low, "conf_high": ends.conf_high}
    assert list(table) == ["term", "event_time", "period", *numbers]
    assert list(table["term"]) == ["path", "2007", "2008"]
    path = {"term": "path", "estimate": ends.effect.mean(), "null": 0.5, "p_value": ends.p_value}
    assert table.iloc[0].dropna().to_dict() == path
    for name, values in (numbers | {"event_time": [0, 1], "period": [2007, 2008]}).items():
        np.testing.assert_array_equal(table[name][1:], values)
    assert len(ends.plot().axes[0].get_yticks()) == 2
    assert len(found.plot().axes[0].get_yticks()) == 2
    for shown in (found, ends):
        (axis,) = shown.plot().axes
        (drawn,) = (np.array(each.get_segments()) for each in axis.collections)
        bounded = np.isfinite(shown.conf_high - shown.conf_low)
        expected = np.where(bounded, [shown.conf_low, shown.conf_high], np.array([axis.get_xlim()]).T)
        np.testing.assert_allclose(drawn[:, :, 0], expected.T)
    for shown in (found, cross_fitted_t(sample(0, before=9), "imputation")):
        assert len(repr(shown)) < 300
        assert "array(" not in repr(shown)
    assert all(s.endswith(".") and "nan" not in s for s in (*found.sentences, *ends.sentences))


def test_it_says_how_many_units_and_which_orders_of_time() -> None:
    of = sample(0, treated=2)
    every, drawn = (conformal(of, "imputation", permuted="iid", permutations=n) for n in (28, 27))
    assert every.sentences[0].startswith("imputation, the mean of 2 treated units:")
    assert "from all 28 orders of the periods of the residuals" in every.sentences[0]
    assert (
        "errors over time that are exchangeable; the smallest possible p-value is 0.036."
        in every.sentences[1]
    )
    assert "from 27 random orders of the periods of the residuals" in drawn.sentences[0]
    assert drawn.sentences[1].endswith("exchangeable.")
    assert drawn.p_value == (1 + np.sum(drawn.drawn >= drawn.statistic * (1 - 1e-9))) / 28
    many = conformal(sample(0, before=16, after=6), "imputation", permuted="iid")
    assert (many.permutations, many.exact, many.level) == (4999, False, 0.95)
    shifts = conformal(of, "imputation")
    assert "from all 8 cyclic shifts of time of the residuals" in shifts.sentences[0]
    assert "stationary and weakly dependent; the smallest possible p-value is 0.12." in shifts.sentences[1]
    for level, bounded in ((6 / 7, True), (0.858, False)):  # one of seven residuals is a p-value of 1 / 7
        found = conformal(of, "imputation", level=level)
        assert np.isfinite([*found.conf_low, *found.conf_high]).all() == bounded
        assert ("have no ends" in found.sentences[-1]) != bounded


def test_one_period_after_the_event_has_one_hypothesis() -> None:
    found = conformal(sample(0, after=1), "imputation", null=0.5)
    assert "one treated unit: an effect of 0.5 in every period has p = " in found.sentences[0]
    assert found.conf_low.shape == (1,)


@pytest.mark.parametrize("step", [-0.1, 0.1])
def test_an_interval_of_which_no_end_is_found_has_none(step: float) -> None:
    assert conformal_module.end_of(lambda _: True, 1.0, step) == math.copysign(math.inf, step)
    assert conformal_module.end_of(lambda c: abs(c - 1) <= 3.7, 1.0, step) == pytest.approx(
        1 + math.copysign(3.7, step)
    )


def test_bad_input_is_one_clear_error() -> None:
    made = panel(np.random.default_rng(0))
    flat = replace(made, outcomes={"y": np.zeros(made.outcomes["y"].shape)})
    of = ASKED.sample(made)
    several = replace(made, first_treated={"event": np.array([2005.0, 2006.0, *[np.nan] * 6])})
    y = made.outcomes["y"].copy()
    y[3, 2] = np.nan
    early = replace(made, first_treated={"event": np.array([2002.0, *[np.nan] * 7])})
    path = replace(of, first_treated=None, path=of.treatment)
    for bad, said in (
        (lambda: conformal(of, "callaway_santanna"), "does not predict"),
        (lambda: conformal(of, "synthetic_did"), 'use method="synthetic_control"'),
        (lambda: conformal(of, "imputation", metod=1), "no option"),
        (lambda: conformal(ASKED.sample(several), "imputation"), "2005, 2006.* one cohort"),
        (lambda: conformal(ASKED.sample(replace(made, outcomes={"y": y})), "imputation"), "gaps"),
        (lambda: conformal(ASKED.sample(early), "imputation"), "two are needed"),
        (lambda: conformal(path, "imputation"), "not absorbing"),
        (lambda: conformal(of, "imputation", null=[1.0, 2.0, 3.0]), "each of the 2 periods"),
        (lambda: conformal(of, "imputation", permutations=0), "from 1 on"),
        (
            lambda: conformal(ASKED.replace(scale="proportional").sample(made), "imputation", null=-1.0),
            "above -1",
        ),
        (lambda: cross_fitted_t(of, "imputation", folds=1), "from 2 on"),
        (lambda: cross_fitted_t(of, "imputation", folds=6), "below 6"),
        (lambda: cross_fitted_t(ASKED.sample(flat), "imputation"), "the folds give one effect"),
        (lambda: cross_fitted_t(ASKED.replace(scale="proportional").sample(made), "imputation"), "in levels"),
    ):
        with pytest.raises(QuestionError, match=said) as error:
            bad()
        asked = str(error.value).split(":")[0]
        assert asked in ("conformal", "cross_fitted_t", "imputation", "synthetic_did")
