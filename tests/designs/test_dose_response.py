"""dose_response against its brute-force twin, leaving units out, known truths and what other designs answer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
import searching
import simulated
from interval_coverage import covers
from test_designs import same
from twins.doses import dose_response
from twins.plain import derivative

import study
from study import Estimate, Panel, Question, QuestionError, estimate
from study.designs import find_design
from study.designs.dose_response import _Basis
from study.inference import agreement_of

ASKED = Question("y", "event", dose="amount")
SHOWN = (1.0, 1.7, 2.4)
STEPS = (1.0, 2.0, 2.5)
BOTH = pytest.mark.parametrize("curve", ["levels", "slopes"])


def dosed(
    n: int = 100,
    seed: int = 0,
    gaps: float = 0.0,
    cohorts: tuple[int, ...] = simulated.COHORTS,
    steps: tuple[float, ...] = (),
) -> Panel:
    """Return a simulated panel whose effects grow with a dose, drawn from some steps or between 0.5 and 3."""
    made, rng = simulated.panel(n, seed, gaps, cohorts=cohorts), np.random.default_rng(seed + 1)
    dose = rng.choice(steps, n) if steps else rng.uniform(0.5, 3.0, n)
    since = made.periods >= made.first_treated["event"][:, None]
    y = made.outcomes["y"] + np.where(since, dose[:, None] ** 1.5, 0.0)
    return replace(
        made, outcomes={"y": y}, doses={"amount": np.repeat(dose[:, None], len(made.periods), axis=1)}
    )


def ask(panel: Panel, question: Question = ASKED, **options: Any) -> Estimate:
    shown = {} if options.get("form") == "saturated" else {"doses": SHOWN}
    return estimate(panel, question, "dose_response", **(shown | options))


ASKS: tuple[Mapping[str, Any], ...] = (
    {},
    {"average": "cohort_average", "comparison": "never_treated", "weights": "size"},
    {"average": "treated_average", "base": "varying", "anticipation": 1},
    {"average": "calendar_average", "weights": "size", "anticipation": 1},
)


def test_the_curve_is_shown_at_doses_that_somebody_has() -> None:
    fit = estimate(dosed(50, 3, steps=(4.0, 8.0, 16.0, 64.0)), ASKED, "dose_response")
    assert list(fit.at[np.isfinite(fit.at)]) == [4.0, 8.0, 16.0, 64.0]


FORMS = ("cubic", "quadratic with a knot", "saturated", "quadratic with a knot")


@BOTH
@pytest.mark.parametrize(("form", "asks", "gaps"), [*zip(FORMS, ASKS, (0.0, 0.04, 0.04, 0.0), strict=True)])
def test_effects_and_influence_are_those_of_the_twin(
    curve: str, form: str, asks: Mapping[str, Any], gaps: float
) -> None:
    panel = dosed(50, 2, gaps, steps=STEPS if form == "saturated" else ())
    degree, knots = {"cubic": (3, 0), "quadratic with a knot": (2, 1), "saturated": (0, 0)}[form]
    options = {"degree": degree, "knots": knots} if degree else {"form": "saturated"}
    fit = ask(panel, ASKED.replace(**asks), curve=curve, **options)
    sample = fit.sample
    median = [float(np.median(sample.dose[sample.dose > 0]))] * knots
    twin = dose_response(sample, curve, degree, median, STEPS if form == "saturated" else SHOWN)
    cells = fit.select(~fit.reference & np.isnan(fit.at))

    def values(weights: np.ndarray) -> np.ndarray:
        made = twin(weights)
        own = [made.cells[key] for key in zip(cells.cohort, cells.period, strict=True)]
        return np.array([*own, made.headline, *made.curve])

    parts = (cells, fit.headline, fit.aggregate("dose"))
    assert len(twin(sample.weights).cells) == len(cells.terms)
    np.testing.assert_allclose(
        np.concatenate([part.effect for part in parts]), values(sample.weights), rtol=1e-9
    )
    influence = np.hstack([part.influence for part in parts])
    np.testing.assert_allclose(influence, derivative(sample, values), atol=1e-9 * np.abs(influence).max())


@BOTH
@pytest.mark.parametrize("cluster", [None, "state"])
@pytest.mark.parametrize("steps", [(), STEPS], ids=["spline", "saturated"])
def test_errors_are_those_of_leaving_out_each_cluster(
    curve: str, cluster: str | None, steps: tuple[float, ...]
) -> None:
    options: dict[str, Any] = {"form": "saturated"} if steps else {"degree": 2}
    sample = ASKED.replace(cluster=cluster).sample(dosed(60, cohorts=(5,), steps=steps))
    shown = {} if steps else {"doses": SHOWN}

    def values(one: Any) -> np.ndarray:
        fit = find_design("dose_response")(one, curve=curve, **options, **shown)
        return np.concatenate([fit.effect, fit.headline.effect])

    whole = find_design("dose_response")(sample, curve=curve, **options, **shown)
    clusters, full = range(int(sample.cluster.max()) + 1), values(sample)
    moved = [values(sample.only(sample.cluster != c, "left out")) - full for c in clusters]
    errors = np.concatenate([whole.std_error, whole.headline.std_error])
    known = ~np.isnan(errors)
    # A state can have units of both sides; what leaving both out does to the product of a mean slope and their mean is
    # left out, and only slopes from dose 0 have one.
    rtol = 0.01 if steps and cluster and curve == "slopes" else 1e-9
    np.testing.assert_allclose(np.sqrt(np.sum(np.square(moved), axis=0))[known], errors[known], rtol=rtol)
    assert list(np.isnan(errors)) == [*whole.reference, False]


@BOTH
@pytest.mark.parametrize("gaps", [0.0, 0.2])
def test_errors_of_averages_over_cohorts_are_those_of_leaving_out_each_unit(curve: str, gaps: float) -> None:
    # Units that are compared before their own treatment are on both sides of averages of levels.
    asked = ASKED.replace(comparison="never_treated" if curve == "levels" else "not_yet_treated")
    sample = asked.sample(dosed(30, 3, gaps, cohorts=(4, 6)))

    def averages(one: Any) -> list[Any]:
        fit = find_design("dose_response")(one, curve=curve, degree=1, doses=(1.7, 2.2))
        return [fit.by_event_time, fit.headline, fit.aggregate("dose")]

    full, errors = (
        np.concatenate([getattr(each, name) for each in averages(sample)]) for name in ("effect", "std_error")
    )
    without = [averages(sample.only(sample.cluster != c, "left out")) for c in range(30)]
    moved = [np.concatenate([each.effect for each in one]) - full for one in without]
    known = ~np.isnan(errors)
    assert known[-2:].all()
    np.testing.assert_allclose(np.sqrt(np.sum(np.square(moved), axis=0))[known], errors[known], rtol=1e-9)


def test_averages_of_slopes_to_a_dose_of_one_unit_have_no_error() -> None:
    panel = dosed(60, cohorts=(4, 6), steps=(1.0, 2.0))
    dose = panel.doses["amount"].copy()
    dose[[np.argmax(panel.first_treated["event"] == cohort) for cohort in (4, 6)]] = 2.5
    fit = ask(replace(panel, doses={"amount": dose}), form="saturated", curve="slopes")
    assert np.isnan(fit.headline.std_error[0])
    assert np.isnan(fit.by_event_time.std_error).all()


def test_the_average_over_doses_is_that_of_callaway_santanna() -> None:
    panel = dosed(100, 2, 0.03)
    fit, other = ask(panel), estimate(panel, ASKED.replace(dose=None), "callaway_santanna")
    for to in ("event", "cohort_average", "event_average"):
        ours, theirs = fit.aggregate(to), other.aggregate(to)
        np.testing.assert_array_equal(ours.effect, theirs.effect)
        np.testing.assert_allclose(ours.std_error, theirs.std_error, rtol=1e-12)
    agreement = agreement_of({"dose_response": fit, "callaway_santanna": other})
    assert agreement.equal == (("dose_response", "callaway_santanna"),)


def test_a_comparison_asks_designs_without_doses_for_the_same_units_and_slopes_are_of_another_kind() -> None:
    variants = [
        "callaway_santanna",
        ("dose_response", {"degree": 1}),
        ("dose_response", {"curve": "slopes"}, "slopes"),
    ]
    made = study.compare(dosed(), ASKED, designs=variants, draws=99)
    assert not made.refusals
    assert made.agreement["y"].labels == ("callaway_santanna", "dose_response (degree=1)")
    assert any("slopes" in note and "causal response" in note for note in made.notes)
    with pytest.raises(QuestionError, match="cannot answer a question with a dose; dose_response"):
        estimate(dosed(), ASKED, "callaway_santanna")


def test_curves_integrate_to_the_average_and_slopes_are_their_derivatives() -> None:
    panel = dosed(80, cohorts=(8,))
    dose = panel.doses["amount"][panel.first_treated["event"] == 8, 0]
    options: dict[str, Any] = {"degree": 2, "knots": 1, "doses": tuple(dose)}
    levels, slopes = (ask(panel, curve=curve, **options) for curve in ("levels", "slopes"))
    assert slopes.untreated_mean is slopes.untreated_influence is None
    of_cells = [term for term in levels.terms if term.startswith("ATT(")]
    assert [term for term in slopes.terms if term.startswith("ACRT(")] == [f"ACRT{t[3:]}" for t in of_cells]
    for fit in (levels, slopes):
        assert fit.aggregate("dose").effect.mean() == pytest.approx(fit.headline.effect[0], rel=1e-12)
    step = 1e-6
    near = ask(panel, degree=2, knots=1, doses=(1.7 - step, 1.7 + step)).aggregate("dose").effect
    at = ask(panel, curve="slopes", degree=2, knots=1, doses=(1.7,)).aggregate("dose").effect
    assert (near[1] - near[0]) / (2 * step) == pytest.approx(at[0], rel=1e-6)


def b_splines(x: np.ndarray, knots: np.ndarray, degree: int) -> tuple[np.ndarray, np.ndarray]:
    """Return B-splines and their derivatives by the recursion of Cox and de Boor; at a knot those on its right."""
    piece = np.clip(np.searchsorted(knots, x, side="right") - 1, 0, len(knots) - 2)
    basis = slope = np.eye(len(knots) - 1)[piece]
    for k in range(1, degree + 1):
        padded = np.concatenate([np.repeat(knots[0], k - 1), knots, np.repeat(knots[-1], k - 1)])
        start, width = padded[:-k], padded[k:] - padded[:-k]
        rising = (x[:, None] - start) / width * basis
        slope = np.pad(k / width * basis, ((0, 0), (1, 0))) - np.pad(k / width * basis, ((0, 0), (0, 1)))
        basis = np.pad(rising, ((0, 0), (1, 0))) + np.pad(basis - rising, ((0, 0), (0, 1)))
    return basis, slope


@pytest.mark.parametrize("degree", [1, 2, 3])
def test_splines_are_those_of_the_recursion(degree: int) -> None:
    knots, x = (
        np.array([0.5, 1.2, 2.0, 3.0]),
        np.append(np.random.default_rng(0).uniform(0.5, 3, 50), [0.5, 1.2, 3]),
    )
    basis, slope = _Basis(degree, knots).at(x)
    expected, of_slope = b_splines(x, knots, degree)
    np.testing.assert_allclose(basis, expected, atol=1e-14)
    np.testing.assert_allclose(slope, of_slope, atol=1e-12)


def answers(panel: Panel, **asks: Any) -> list[Estimate]:
    question = ASKED.replace(weights="size", cluster="state", **asks)
    fits = [ask(panel, question, curve=curve, degree=2, knots=1) for curve in ("levels", "slopes")]
    return [made for fit in fits for made in (fit, fit.headline)]


@pytest.mark.parametrize("gaps", [0.0, 0.04])
def test_order_labels_time_and_constants_do_not_matter_and_effects_have_the_units_of_the_outcome(
    gaps: float,
) -> None:
    panel = dosed(90, 1, gaps)
    ours, rng = answers(panel), np.random.default_rng(0)
    order = rng.permutation(90)
    shuffled = simulated.ordered(panel, order)
    shuffled = replace(shuffled, units=np.sort(panel.units), doses={"amount": panel.doses["amount"][order]})
    same(ours, answers(shuffled))
    later = replace(
        panel, periods=panel.periods + 2000, first_treated={"event": panel.first_treated["event"] + 2000}
    )
    same(ours, answers(later))
    constants = 9 * (rng.normal(size=(90, 1)) + rng.normal(size=8))
    same(ours, answers(replace(panel, outcomes={"y": panel.outcomes["y"] + constants})))
    same(ours, answers(replace(panel, outcomes={"y": -3 * panel.outcomes["y"]})), -3.0)


def test_the_unit_of_the_dose_scales_slopes_alone() -> None:
    panel = dosed(90)
    twice = replace(panel, doses={"amount": 2 * panel.doses["amount"]})
    doubled = tuple(2 * d for d in SHOWN)
    same([ask(panel)], [ask(twice, doses=doubled)])
    same([ask(panel, curve="slopes")], [ask(twice, curve="slopes", doses=doubled)], 0.5)


def test_the_terms_say_their_doses_and_the_notes_what_strong_parallel_trends_are_for() -> None:
    fit = ask(dosed())
    table = fit.tidy()
    assert list(table["dose"].dropna()) == list(SHOWN)
    assert list(fit.terms[-3:]) == ["ATT(d=1)", "ATT(d=1.7)", "ATT(d=2.4)"]
    curve, band = fit.aggregate("dose"), fit.aggregate("dose").band()
    assert (band["band_low"] < curve.tidy()["conf_low"]).all()
    assert "dose" not in fit.headline.tidy()
    assert any("takes strong parallel trends" in note for note in fit.notes)
    assert "ATT(d=1.7)" in str(fit)
    default = estimate(dosed(), ASKED, "dose_response")
    assert np.median(fit.sample.dose[fit.sample.dose > 0]) in default.at


def test_the_figure_is_a_curve_over_the_dose_and_its_event_study_a_path() -> None:
    fit = ask(dosed(), curve="slopes")
    axis = fit.plot(labels={"amount": "accelerators"}).axes[0]
    assert (axis.get_xlabel(), axis.get_ylabel()) == ("Accelerators", "Effect on y, per unit of accelerators")
    assert "since event" in fit.aggregate("event").plot().axes[0].get_xlabel().replace(
        "first treated", "event"
    )
    plt.close("all")


def test_a_saved_estimate_has_its_curve(tmp_path: Path) -> None:
    fit = ask(dosed())
    fit.save(tmp_path / "fit.npz")
    read = study.load_estimate(tmp_path / "fit.npz")
    pd.testing.assert_frame_equal(read.tidy(), fit.tidy())
    pd.testing.assert_frame_equal(read.headline.tidy(), fit.headline.tidy())


def test_slopes_need_no_warning_about_comparison_units_that_they_do_not_use() -> None:
    fit = ask(dosed(), curve="slopes")
    assert not any("comparison clusters carry" in note for note in fit.notes)
    assert "y per unit of amount (95% CI" in str(fit)


def test_a_curve_needs_no_knot() -> None:
    usual, without, one = (ask(dosed(), **options) for options in ({}, {"knots": 0}, {"knots": 1}))
    np.testing.assert_array_equal(without.effect, usual.effect)
    assert not np.allclose(one.effect, usual.effect)
    with pytest.raises(QuestionError, match="knots is -1; it must be a whole number, at least 0"):
        ask(dosed(), knots=-1)


EQUAL = {"amount": np.full((100, 8), 2.0)}
REFUSED: tuple[tuple[Panel, dict[str, Any], dict[str, Any], str], ...] = (
    (replace(dosed(), doses=EQUAL), {}, {}, "same amount, 2, so there is no curve; use callaway_santanna"),
    (dosed(steps=STEPS), {}, {}, 'cohort 4 has 3 distinct doses, fewer than the 4 terms .* form="saturated"'),
    (
        dosed(steps=(1.0, 1.0, 1.0, 1.0, 2.0, 3.0)),
        {},
        {"degree": 1, "knots": 2},
        "fall together; lower knots",
    ),
    (dosed(), {}, {"form": "saturated"}, 'fewer than the .* indicator of each of .* use form="spline"'),
    (dosed(), {}, {"doses": (1.0, 9.0)}, "doses have to lie between"),
    (dosed(steps=STEPS), {}, {"form": "saturated", "doses": (1.5,)}, "among 1, 2 and 2.5"),
    (dosed(), {"scale": "proportional"}, {}, 'cannot answer a question with scale="proportional"'),
    (dosed(), {"covariates": ("x1",)}, {}, "cannot answer a question with covariates"),
    (dosed(), {"dose": None}, {}, "the question has no dose"),
    (dosed(), {}, {"degree": 0}, "degree is 0"),
    (dosed(), {}, {"doses": ()}, "doses is empty"),
    (
        replace(dosed(), first_treated={"event": np.full(100, 5.0)}),
        {},
        {},
        "no comparison group. With amount as the event, heterogeneous_adoption needs none",
    ),
    (
        replace(dosed(), first_treated={"event": np.tile([4.0, 5.0], 50)}),
        {"anticipation": 2},
        {},
        'so "treated_average" cannot be formed',
    ),
)


@pytest.mark.parametrize(("panel", "asks", "options", "message"), REFUSED)
def test_bad_questions_are_refused_in_one_line(
    panel: Panel, asks: dict[str, Any], options: dict[str, Any], message: str
) -> None:
    with pytest.raises(QuestionError, match=message) as refused:
        estimate(panel, ASKED.replace(**asks), "dose_response", **options)
    assert "\n" not in str(refused.value)
    assert str(refused.value).startswith(("dose_response: ", "Question: all units of simulated"))


DRAWS = searching.samples(120, 600)
TRUE_AT = 1.5


def draw(rng: np.random.Generator, treated: int, cohorts: tuple[int, ...]) -> Panel:
    """Return 150 units, some of them treated, at doses d from 0.5 to 2.5 with a mean effect of d - d^2/5."""
    panel = simulated.few_treated(rng, 150, treated, cohorts)
    dose, since = rng.uniform(0.5, 2.5, 150), panel.periods >= panel.first_treated["event"][:, None]
    effect = (dose - dose**2 / 5) * (1 + 0.5 * rng.normal(size=150))
    y = panel.outcomes["y"] - simulated.effects(panel.first_treated["event"], 1.0)
    y = y + np.where(since, effect[:, None], 0.0)
    return replace(panel, outcomes={"y": y}, doses={"amount": np.repeat(dose[:, None], 8, axis=1)})


@pytest.mark.search
@pytest.mark.parametrize(("treated", "cohorts"), [(75, (4, 6)), (12, (5,))], ids=["many", "few"])
def test_intervals_of_the_average_and_of_the_curve_cover(treated: int, cohorts: tuple[int, ...]) -> None:
    rng, question = np.random.default_rng(20261128), ASKED.replace(average="event_average", horizon=1)
    x = np.linspace(0.5, 2.5, 100_001)
    truths = (np.mean(x - x**2 / 5), TRUE_AT - TRUE_AT**2 / 5)
    covered = []
    for _ in range(DRAWS):
        fit = estimate(draw(rng, treated, cohorts), question, "dose_response", doses=(TRUE_AT,))
        parts = fit.headline, fit.aggregate("dose")
        covered.append([covers(part, truth) for part, truth in zip(parts, truths, strict=True)])
    least = 0.95 - 3 * np.sqrt(0.95 * 0.05 / DRAWS)
    assert (np.mean(covered, axis=0) >= least).all()


def test_doses_that_are_alike_to_six_digits_have_names_of_their_own() -> None:
    fit = ask(dosed(steps=(1e6 + 1, 1e6 + 2, 1e6 + 3)), form="saturated")
    assert fit.terms[-3:] == ("ATT(d=1000001)", "ATT(d=1000002)", "ATT(d=1000003)")
