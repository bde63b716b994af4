"""heterogeneous_adoption against plain loops, and what its assumptions and its errors promise."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import searching
from interval_coverage import covers
from twins import boundary

from study import Estimate, Panel, Question, QuestionError, estimate
from study.core import Unidentified, p_is
from study.designs.heterogeneous_adoption import (
    DoseChange,
    changes_by_dose,
    local_polynomial,
    quasi_untreated_test,
    weighted_average_slope,
    yatchew_test,
)

ASKED, DESIGN = Question("y", "dose"), "heterogeneous_adoption"
PERIODS, START = np.arange(1, 7), 3


def draw(
    rng: np.random.Generator, n: int = 80, gaps: float = 0.0, spread: float = 1.0, ties: bool = False
) -> Panel:
    """Return a panel in which all units get a dose from period 4 on, with slopes that differ and a convex effect."""
    dose = rng.uniform(size=(n, 1)) if not ties else rng.integers(1, 40, size=(n, 1)) / 40
    path = np.where(np.arange(6) >= START, dose * (1 + 0.2 * np.maximum(np.arange(6) - START, 0)), 0.0)
    slope = 2 + spread * rng.normal(size=(n, 1))
    y = rng.normal(size=(n, 1)) + 0.3 * PERIODS + np.cumsum(0.5 * rng.normal(size=path.shape), axis=1)
    y = y + slope * path + path**2
    y[rng.random(y.shape) < gaps] = np.nan
    return Panel(
        name="drawn",
        units=np.array([f"u{i:04d}" for i in range(n)]),
        periods=PERIODS,
        outcomes={"y": y},
        covariates={"x": np.ones(y.shape)},
        first_treated={"event": np.where(np.arange(n) % 2, 4.0, np.nan)},
        treatment={"on": (path > 0).astype(float)},
        attributes={"state": np.array([f"s{i % 20:02d}" for i in range(n)])},
        doses={"dose": path},
    )


def asked(panel: Panel, question: Question = ASKED, **options: Any) -> Estimate:
    return estimate(panel, question, DESIGN, **options)


def known(change: DoseChange) -> tuple[list[float], list[float]]:
    used = ~np.isnan(change.outcome + change.dose)
    return list(change.dose[used]), list(change.outcome[used])


@pytest.mark.parametrize("kernel", boundary.WEIGHTS)
@pytest.mark.parametrize(("gaps", "ties"), [(0.0, False), (0.1, True)])
def test_slopes_errors_and_bandwidths_are_those_of_plain_loops(kernel: Any, gaps: float, ties: bool) -> None:
    panel = draw(np.random.default_rng(4), 120, gaps, ties=ties)
    sample = ASKED.sample(panel)
    fit = asked(panel, kernel=kernel, variance="robust").with_vcov("CR0")
    for change in changes_by_dose(sample)[1::2]:
        d, dy = known(change)
        h = boundary.bandwidth(d, dy, kernel)
        conventional, corrected = boundary.slope(d, dy, h, kernel)
        made = weighted_average_slope(sample, change, kernel, "robust")
        assert made.bandwidth == pytest.approx(h, rel=1e-9)
        assert made.within == sum(v <= h * (1 + 1e-12) for v in d)
        assert made.conventional == pytest.approx(conventional, rel=1e-9)
        at = fit.event_time == change.event_time
        np.testing.assert_allclose(fit.effect[at], corrected, rtol=1e-9)
        # The corrected intercept is linear in the changes, so that its error follows from that of each.
        used, residual = boundary.regression(d, dy, 2, h, kernel)[2], None
        residual = boundary.nearest(d, dy, used)
        linear = boundary.slope(d, list(np.eye(len(d))), h, kernel)[1]
        mean_d = sum(d) / len(d)
        of_intercept = [1 / len(d) - v * mean_d for v in linear]
        error = np.sqrt(sum((a * b) ** 2 for a, b in zip(of_intercept, residual, strict=True))) / mean_d
        np.testing.assert_allclose(fit.std_error[at], error, rtol=1e-9)


def test_changes_are_since_the_last_period_without_a_dose() -> None:
    panel = draw(np.random.default_rng(1))
    y, path, sample = panel.outcomes["y"], panel.doses["dose"], ASKED.sample(panel)
    plain = {c.event_time: c for c in changes_by_dose(sample)}
    assert sorted(plain) == [-3, -2, 0, 1, 2]
    np.testing.assert_array_equal(plain[-3].outcome, y[:, 0] - y[:, 2])
    np.testing.assert_array_equal(plain[-3].dose, path[:, 4])
    np.testing.assert_array_equal(plain[1].outcome, y[:, 4] - y[:, 2])
    trends = {c.event_time: c for c in changes_by_dose(sample, "cumulative", trends="linear")}
    assert sorted(trends) == [-3, 0, 1, 2]
    slope = y[:, 2] - y[:, 1]
    np.testing.assert_allclose(trends[2].outcome, y[:, 5] - y[:, 2] - 3 * slope)
    np.testing.assert_allclose(trends[-3].outcome, y[:, 0] - y[:, 1] + slope)
    np.testing.assert_allclose(trends[2].dose, path[:, 3:].sum(axis=1))
    fit = asked(panel, trends="linear")
    assert list(fit.event_time[fit.reference]) == [-2, -1]


def test_influence_is_the_derivative_by_weights_at_the_same_bandwidth() -> None:
    panel = draw(np.random.default_rng(2), gaps=0.05)
    fit, sample, step = asked(panel), ASKED.sample(panel), 1e-5
    change = changes_by_dose(sample)[0]
    h = weighted_average_slope(sample, change, "epanechnikov", "sampling").bandwidth
    used = np.flatnonzero(~np.isnan(change.outcome + change.dose))
    d, dy = known(change)
    influence = fit.influence[:, list(fit.terms).index("event 0")]
    assert np.all(influence[np.setdiff1d(np.arange(80), used)] == 0)
    for i in (*np.argsort(d)[[0, 5]], *np.argsort(d)[[-1]]):
        both = []
        for sign in (1, -1):
            weights = [1.0] * len(d)
            weights[i] += sign * step
            both.append(boundary.slope(d, dy, h, "epanechnikov", weights)[1])
        assert influence[used[i]] == pytest.approx(80 * (both[0] - both[1]) / (2 * step), rel=1e-6)


@pytest.mark.parametrize("cluster", [None, "state"])
def test_default_errors_leave_out_each_cluster_at_the_same_bandwidth(cluster: str | None) -> None:
    panel = draw(np.random.default_rng(3))
    question = ASKED.replace(cluster=cluster)
    sample = question.sample(panel)
    change = changes_by_dose(sample)[1]
    h = weighted_average_slope(sample, change, "uniform", "sampling").bandwidth
    d, dy = known(change)
    full, moved = boundary.slope(d, dy, h, "uniform")[1], []
    for c in range(sample.cluster.max() + 1):
        kept = [i for i in range(80) if sample.cluster[i] != c]
        moved.append(full - boundary.slope([d[i] for i in kept], [dy[i] for i in kept], h, "uniform")[1])
    fit = asked(panel, question, kernel="uniform")
    assert (fit.n_obs, fit.leave_out.clusters.tolist()) == (480, [[len(moved)] * 6, [0] * 6])
    assert fit.std_error[fit.event_time == 1][0] == pytest.approx(np.sqrt(np.sum(np.square(moved))), rel=1e-9)


def test_observations_are_those_that_some_effect_or_placebo_rests_on() -> None:
    panel = draw(np.random.default_rng(3))
    y, path = (
        panel.outcomes["y"].copy(),
        panel.doses["dose"] * (PERIODS > 4),
    )  # from the fifth of six periods on
    y[0, 3] = np.nan  # the last period without a dose, which every change of a unit is from
    fit = asked(replace(panel, outcomes={"y": y}, doses={"dose": path}))
    assert fit.event_time.tolist() == [-3, -2, -1, 0, 1]
    assert fit.n_obs == 79 * 5


def test_one_cluster_of_all_units_close_to_untreated_leaves_no_error() -> None:
    panel = draw(np.random.default_rng(3))
    state = np.where(panel.doses["dose"][:, 3] < 0.5, "low", panel.attributes["state"])
    fit = asked(replace(panel, attributes={"state": state}), ASKED.replace(cluster="state"))
    assert np.isnan(fit.std_error).all()
    assert np.isfinite(fit.with_vcov("CR0").std_error[~fit.reference]).all()


@pytest.mark.parametrize("order", [0, 1, 2])
def test_yatchew_statistics_are_those_of_plain_loops(order: int) -> None:
    change = changes_by_dose(ASKED.sample(draw(np.random.default_rng(5), gaps=0.1, ties=True)))[1]
    np.testing.assert_allclose(
        yatchew_test(change, order)[:3], boundary.yatchew(*known(change), order), rtol=1e-9
    )


def test_notes_hold_the_bandwidths_and_the_tests_of_the_assumptions() -> None:
    panel = draw(np.random.default_rng(6), 400)
    notes = " ".join(asked(panel).notes)
    assert "bandwidths (units within, effect without bias correction): event 0 0." in notes
    assert "before it do not depend on the dose: event -2 p = " in notes
    assert "no unit is close to untreated" not in notes
    path = panel.doses["dose"]
    far = [replace(panel, doses={"dose": np.where(path > 0, path + least, 0.0)}) for least in (0.3, 3)]
    (warning,) = [note for note in asked(far[0]).notes if "no unit is close to untreated" in note]
    assert "the smallest dose is 0.3" in warning
    with pytest.raises(QuestionError, match="no unit is close to untreated: the smallest dose is 3"):
        asked(far[1])
    assert quasi_untreated_test(np.array([2.0, 3.0, np.nan, 1.0])) == (1.0, 0.5)


def test_notes_have_the_numbers_of_each_event_time() -> None:
    panel = draw(np.random.default_rng(6), gaps=0.05)
    fit, changes = asked(panel), changes_by_dose(ASKED.sample(panel))
    slopes = [weighted_average_slope(fit.sample, each, "epanechnikov", "sampling") for each in changes]
    held = [
        f"event {each.event_time:g} {slope.bandwidth:.3g} ({slope.within}, {slope.conventional:.4g})"
        for each, slope in zip(changes, slopes, strict=True)
    ]

    def tests(order: int, before: bool) -> str:
        of = [each for each in changes if (each.event_time < 0) == before]
        p_values = [(each.event_time, yatchew_test(each, order).p_value) for each in of]
        return ", ".join(f"event {e:g} {p_is(p)}" for e, p in p_values)

    since = "Yatchew tests that changes from the base period to those"
    assert fit.remarks[-4:] == (
        "effects are per unit of dose",
        f"bandwidths (units within, effect without bias correction): {'; '.join(held)}",
        f"{since} before it do not depend on the dose: {tests(0, before=True)}",
        f"{since} since then are linear in the dose: {tests(1, before=False)}",
    )


def test_an_event_time_that_is_left_out_has_no_test() -> None:
    panel = draw(np.random.default_rng(3), 60)
    panel.outcomes["y"][:, 1] = np.nan
    of_untreated, of_form = asked(panel).remarks[-2:]
    assert re.findall("event [-0-9]+", of_untreated) == ["event -3"]
    assert re.findall("event [-0-9]+", of_form) == ["event 0", "event 1", "event 2"]


def test_effects_do_not_change_with_constants_order_or_the_start_of_time() -> None:
    panel, rng = draw(np.random.default_rng(7), gaps=0.05), np.random.default_rng(8)
    fit, order = asked(panel), rng.permutation(80)

    def changed(
        rows: Any = slice(None), shift: int = 0, units: float = 1.0, scale: float = 1.0, more: Any = 0.0
    ) -> Estimate:
        return asked(
            replace(
                panel,
                units=panel.units,
                periods=panel.periods + shift,
                outcomes={"y": (scale * panel.outcomes["y"] + more)[rows]},
                doses={"dose": units * panel.doses["dose"][rows]},
                attributes={},
            )
        )

    constants = rng.normal(size=(80, 1)) + rng.normal(size=6)
    for other, factor in (
        (changed(order), 1.0),
        (changed(shift=1990), 1.0),
        (changed(more=constants), 1.0),
        (changed(units=1e4), 1e-4),
        (changed(scale=-1e3), -1e3),
    ):
        np.testing.assert_allclose(other.effect, factor * fit.effect, rtol=1e-8, atol=1e-9 * abs(factor))
        np.testing.assert_allclose(other.std_error, abs(factor) * fit.std_error, rtol=1e-7)


def test_neighbours_as_near_are_so_in_any_unit_of_doses_on_a_grid() -> None:
    panel = draw(np.random.default_rng(4), 120, ties=True)
    fit = asked(panel)
    for units in (1e-6, 1e4, 40.0):
        other = asked(replace(panel, doses={"dose": units * panel.doses["dose"]}))
        np.testing.assert_allclose(units * other.effect, fit.effect, rtol=1e-8)


OTHERS = r"dcdh, (?!.*heterogeneous_adoption).*\biv\b"

REFUSED = {
    "negative": (
        lambda path: np.where(np.arange(80)[:, None] == 3, -path, path),
        "dose is negative for u0003",
    ),
    "untreated": (
        lambda path: np.where(np.arange(80)[:, None] < 2, 0.0, path),
        f"dose never begins for 2 units, first u0000; compare with them: {OTHERS}",
    ),
    "dates": (
        lambda path: np.where((np.arange(80)[:, None] == 4) & (PERIODS < 6), 0.0, path),
        f"dose begins in 4, but for u0004 in 6; designs for several dates: {OTHERS}",
    ),
    "before": (
        lambda path: np.where((np.arange(80)[:, None] == 5) & (PERIODS == 2), 0.5, path),
        "dose begins in 2, but for u0000 in 4",
    ),
    "back": (
        lambda path: np.where((np.arange(80)[:, None] == 7) & (PERIODS == 5), 0.0, path),
        f"dose goes back to 0 for u0007; designs for that: {OTHERS}",
    ),
    "first": (lambda path: path + 0.1, "dose begins in 1, the first period"),
    "equal": (lambda path: 2.0 * (path > 0), "dose is the same for all units in 4"),
    "few levels": (
        lambda path: np.where(path > 0, 1.0 + (np.arange(80) % 2)[:, None], 0.0),
        "no effect can be estimated: .*event 0 left out: too few distinct values near zero",
    ),
}


@pytest.mark.parametrize("what", REFUSED)
def test_doses_that_do_not_fit_are_refused_in_one_line(what: str) -> None:
    change, said = REFUSED[what]
    panel = draw(np.random.default_rng(9))
    with pytest.raises(QuestionError, match=f"^heterogeneous_adoption: {said}") as error:
        asked(replace(panel, doses={"dose": change(panel.doses["dose"])}))
    assert "\n" not in str(error.value)


def test_other_questions_are_refused() -> None:
    panel = draw(np.random.default_rng(9))
    for event in ("event", "on"):
        with pytest.raises(QuestionError, match=f"{event} is no dose; name a dose of the panel as the event"):
            asked(panel, Question("y", event))
    with pytest.raises(QuestionError, match="cannot answer a question with covariates"):
        asked(panel, ASKED.replace(covariates=("x",)))
    with pytest.raises(QuestionError, match="20 units, and it takes 21"):
        asked(draw(np.random.default_rng(9), 20))
    later = {"outcomes": {"y": panel.outcomes["y"][:, 2:]}, "doses": {"dose": panel.doses["dose"][:, 2:]}}
    short = replace(panel, periods=PERIODS[2:], **later, covariates={}, treatment={}, first_treated={})
    with pytest.raises(QuestionError, match='trends="linear" takes two periods before the first dose'):
        asked(short, trends="linear")
    with pytest.raises(Unidentified, match="polynomial of order 1"):
        local_polynomial(np.ones(30), 1, 2.0, "uniform")


def without_leads(panel: Panel) -> Panel:
    """Return the panel from the last period before the dose on."""
    blocks = ("outcomes", "covariates", "treatment", "doses")
    kept = {name: {k: v[:, START - 1 :] for k, v in getattr(panel, name).items()} for name in blocks}
    return replace(panel, periods=panel.periods[START - 1 :], **kept)


DRAWS = searching.samples(150, 400)


@pytest.mark.search
@pytest.mark.parametrize(("n", "spread"), [(60, 1.0), (150, 3.0)])
def test_intervals_cover_the_weighted_average_slope_also_with_few_units(n: int, spread: float) -> None:
    rng = np.random.default_rng(20261128)
    truth = np.mean([2 + s * 2 / 3 for s in (1, 1.2, 1.4)])
    panels = (without_leads(draw(rng, n, spread=spread)) for _ in range(DRAWS))
    found = [covers(asked(panel).headline, truth) for panel in panels]
    assert abs(np.mean(found) - 0.95) <= 3 * np.sqrt(0.95 * 0.05 / DRAWS)
