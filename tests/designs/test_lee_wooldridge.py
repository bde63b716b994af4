"""lee_wooldridge against a cross-section regression with every dummy, and what is exact with few treated units."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import searching
import simulated
from scipy import stats

from study import Panel, Question, QuestionError, estimate
from study.designs import find_design

lee_wooldridge = find_design("lee_wooldridge")
ASKED = Question("y", "event", min_cohort_size=1)
HC = ("HC0", "HC1", "HC2", "HC3", "HC4")


def one_date(treated: int, n: int = 30, seed: int = 0) -> Panel:
    """Return a panel in which some units are first treated in period 4, with a covariate."""
    rng = np.random.default_rng(seed)
    made = simulated.few_treated(rng, n, treated, (4,))
    return replace(made, covariates={"x": np.outer(rng.normal(size=n), np.ones(8))})


def cross_section(y: np.ndarray, treated: np.ndarray, x: np.ndarray) -> dict[str, tuple[float, float]]:
    """Regress y on a constant, treatment and covariates with their products; return the effect with each error."""
    own = x - x[treated].mean(axis=0)
    z = np.column_stack([np.ones(len(y)), treated, own, own * treated[:, None]])
    bread = np.linalg.inv(z.T @ z)
    b = bread @ z.T @ y
    e, h = y - z @ b, np.diag(z @ bread @ z.T)
    n, k = z.shape
    scale = {
        "HC0": np.ones(n),
        "HC1": np.full(n, n / (n - k)),
        "HC2": 1 / (1 - h),
        "HC3": 1 / (1 - h) ** 2,
        "HC4": 1 / (1 - h) ** np.minimum(4, n * h / k),
    }
    meat = {name: z.T @ (z * (e**2 * s)[:, None]) for name, s in scale.items()}
    found = {name: (b[1], float(np.sqrt((bread @ m @ bread)[1, 1]))) for name, m in meat.items()}
    return found | {"OLS": (b[1], float(np.sqrt(e @ e / (n - k) * bread[1, 1])))}


@pytest.mark.parametrize("covariates", [(), ("x",)])
@pytest.mark.parametrize("transform", ["demean", "detrend"])
def test_equals_a_regression_of_averaged_outcomes_with_each_of_its_errors(
    transform: str, covariates: tuple[str, ...]
) -> None:
    panel = one_date(6)
    y, x = panel.outcomes["y"], panel.covariates["x"][:, : len(covariates)]
    past = np.vander(simulated.PERIODS[:3], 1 if transform == "demean" else 2)
    every = np.vander(simulated.PERIODS, past.shape[1])
    left = y - y[:, :3] @ np.linalg.pinv(past).T @ every.T
    slow = cross_section(left[:, 3:].mean(axis=1), ~np.isnan(panel.first_treated["event"]), x)
    question = ASKED.replace(covariates=covariates)
    for name, (effect, error) in slow.items():
        options = {"transform": transform, "variance": name, "vcov": "CR0"}
        made = estimate(panel, question, "lee_wooldridge", **options).headline
        assert made.effect[0] == pytest.approx(effect, abs=1e-9)
        assert made.std_error[0] == pytest.approx(error, rel=1e-9)


def test_without_covariates_the_default_is_hc3_and_pooled_is_ols_with_its_t_test() -> None:
    panel = one_date(4)
    effect, hc3 = cross_section_of(panel)["HC3"]
    assert estimate(panel, ASKED, "lee_wooldridge").headline.std_error[0] == pytest.approx(hc3, rel=1e-9)
    ours = estimate(panel, ASKED, "lee_wooldridge", vcov="pooled").headline.tidy().iloc[0]
    assert ours["std_error"] == pytest.approx(cross_section_of(panel)["OLS"][1], rel=1e-9)
    assert ours["p_value"] == pytest.approx(2 * stats.t.sf(abs(effect) / ours["std_error"], 28), rel=1e-9)


def cross_section_of(panel: Panel) -> dict[str, tuple[float, float]]:
    y = panel.outcomes["y"]
    left = y[:, 3:].mean(axis=1) - y[:, :3].mean(axis=1)
    return cross_section(left, ~np.isnan(panel.first_treated["event"]), np.empty((len(y), 0)))


@pytest.mark.parametrize("design", ["lee_wooldridge", "callaway_santanna", "imputation", "etwfe", "twfe"])
def test_one_treated_unit_has_a_pooled_t_test_in_every_design(design: str) -> None:
    panel = one_date(1)
    fit = estimate(panel, ASKED, design)
    made = fit.with_vcov("pooled").headline
    assert fit.headline.std_error == pytest.approx(made.std_error, rel=1e-9)
    # What the others' changes vary by: of each of them in place of the treated unit, that of the sample.
    others = simulated.subset(panel, np.arange(30) > 0)
    moves = []
    for i in range(29):
        dates = np.where(np.arange(29) == i, 4.0, np.nan)
        placebo = replace(others, first_treated={"event": dates})
        moves.append(estimate(placebo, ASKED, design).headline.effect[0] * 28 / 29)
    spread = np.sqrt(np.sum(np.square(moves)) / 28)
    assert made.std_error[0] == pytest.approx(spread * np.sqrt(1 + 1 / 29), rel=1e-9)
    assert made.degrees_of_freedom[0] == 28
    assert made.test().p_value == pytest.approx(made.tidy()["p_value"][0], rel=1e-9)
    assert "normal" in " ".join(fit.with_vcov("pooled").notes)


@pytest.mark.parametrize("variance", ["OLS", "HC0"])
def test_errors_of_one_regression_are_said_to_be_wrong_for_averages_over_several_cohorts(
    variance: str,
) -> None:
    # Regressions of several cohorts share comparison units, whose errors are then no longer of equal variance.
    for cohorts in ((5,), (5, 7)):
        fit = estimate(simulated.panel(60, cohorts=cohorts), ASKED, "lee_wooldridge", variance=variance)
        assert any("averages over several" in note for note in fit.notes) == (
            variance == "OLS" and 7 in cohorts
        )


def test_a_pooled_variance_of_several_dates_is_said_to_be_too_small() -> None:
    fit = estimate(simulated.panel(), ASKED, "callaway_santanna", vcov="pooled")
    assert "several dates" in " ".join(fit.notes)


def test_pooled_errors_of_clusters_are_those_of_their_means() -> None:
    panel = one_date(6, n=30)
    of_three = np.array([f"s{i // 3}" for i in range(30)])
    clustered = replace(panel, attributes={"state": of_three})
    made = estimate(clustered, ASKED.replace(cluster="state"), "lee_wooldridge", vcov="pooled").headline
    y = panel.outcomes["y"].reshape(10, 3, 8).mean(axis=1)
    first = panel.first_treated["event"][::3]
    whole = simulated.subset(panel, np.arange(30) < 10)
    means = replace(whole, outcomes={"y": y}, first_treated={"event": first})
    plain = estimate(means, ASKED, "lee_wooldridge", vcov="pooled").headline
    assert made.std_error[0] == pytest.approx(plain.std_error[0], rel=1e-9)
    assert made.degrees_of_freedom[0] == plain.degrees_of_freedom[0] == 8


def test_demeaned_outcomes_give_what_imputation_gives_with_one_date() -> None:
    panel = one_date(7)
    ours, other = (
        estimate(panel, ASKED, "lee_wooldridge"),
        estimate(panel, ASKED, "imputation", leads=0),
    )
    np.testing.assert_allclose(ours.effect, other.effect, atol=1e-9)
    np.testing.assert_allclose(ours.influence, other.influence, atol=1e-9)


def test_detrended_outcomes_do_not_change_with_trends_of_units() -> None:
    panel = simulated.panel(60)
    slopes = np.random.default_rng(1).normal(size=(60, 1))
    tilted = replace(panel, outcomes={"y": panel.outcomes["y"] + 3 * slopes * simulated.PERIODS + slopes})
    ours, other = (estimate(p, ASKED, "lee_wooldridge", transform="detrend") for p in (panel, tilted))
    np.testing.assert_allclose(ours.effect, other.effect, atol=1e-9)
    np.testing.assert_allclose(ours.std_error, other.std_error, rtol=1e-8)


@pytest.mark.parametrize("asked", [{}, {"covariates": ("x1",), "weights": "size", "scale": "proportional"}])
def test_influence_is_the_derivative_by_weights(asked: dict[str, Any]) -> None:
    panel = simulated.panel(60, level=20.0)
    simulated.check_influence(ASKED.replace(**asked).sample(panel), lee_wooldridge)


@pytest.mark.parametrize(
    ("question", "options", "names"),
    [
        (ASKED, {"variance": "HC3"}, ("HC3", 'vcov="pooled"')),
        (ASKED.replace(cluster="state"), {"variance": "OLS"}, ("cluster", 'variance="sampling"')),
        (ASKED.replace(weights="x"), {"variance": "HC0"}, ("weights",)),
    ],
    ids=str,
)
def test_what_it_cannot_answer_it_refuses_in_one_line(
    question: Question, options: dict[str, Any], names: tuple[str, ...]
) -> None:
    panel = one_date(1)
    panel = replace(
        panel,
        covariates={"x": np.abs(panel.covariates["x"]) + 1},
        attributes={"state": np.array([f"s{i % 9}" for i in range(30)])},
    )
    if question.lag:
        y = panel.outcomes["y"].copy()
        y[3, 2] = np.nan
        panel = replace(panel, outcomes={"y": y})
    with pytest.raises(QuestionError) as refused:
        estimate(panel, question, "lee_wooldridge", **options)
    assert "\n" not in str(refused.value)
    assert all(name in str(refused.value) for name in names)


@pytest.mark.parametrize("variance", ["OLS", *HC])
def test_errors_that_divide_by_what_leverage_leaves_need_two_treated_units_and_the_others_do_not(
    variance: str,
) -> None:
    if variance in ("HC2", "HC3", "HC4"):
        with pytest.raises(
            QuestionError, match=rf"^lee_wooldridge: {variance} is not defined with a unit that"
        ):
            estimate(one_date(1), ASKED, "lee_wooldridge", variance=variance)
        return
    fit = estimate(one_date(1), ASKED, "lee_wooldridge", variance=variance)
    assert np.isfinite(fit.influence).all()
    assert np.any(fit.influence != 0, axis=0).all()


@pytest.mark.parametrize("variance", ["OLS", *HC])
def test_what_a_cross_section_cannot_estimate_is_said_of_each_cell(variance: str) -> None:
    two = simulated.subset(one_date(1, n=30), np.arange(30) < 2)
    if variance in ("OLS", "HC1"):
        with pytest.raises(
            QuestionError, match="2 units leave the regression of 2 coefficients no degree of freedom"
        ):
            estimate(two, ASKED, "lee_wooldridge", variance=variance)
    elif variance == "HC0":
        assert np.isfinite(estimate(two, ASKED, "lee_wooldridge", variance=variance).effect).all()
    # Of two treated or comparison units a constant and two covariates are too many.
    for treated, who in ((2, "treated"), (28, "comparison")):
        panel = one_date(treated)
        other = panel.covariates["x"] ** 2
        panel = replace(panel, covariates=dict(panel.covariates) | {"squared": other})
        with pytest.raises(
            QuestionError, match=f"the covariates do not identify the {who} units' regression"
        ):
            estimate(panel, ASKED.replace(covariates=("x", "squared")), "lee_wooldridge", variance=variance)


def test_a_cohort_without_a_line_is_left_out_with_a_note_and_the_others_stay() -> None:
    panel = simulated.panel(60, cohorts=(2, 5))
    fit = estimate(panel, Question("y", "event"), "lee_wooldridge", transform="detrend")
    assert set(fit.cohort) == {5}
    assert fit.notes == (
        "cohort 2 in 2, 3, 4, 5, 6, 7, 8 left out: one period before treatment has no trend",
    )
    assert fit.n_obs == np.sum(panel.first_treated["event"] != 2) * 8


def test_a_line_needs_two_periods_before_treatment() -> None:
    panel = one_date(3)
    early = replace(panel, first_treated={"event": np.where(np.arange(30) < 3, 2.0, np.nan)})
    with pytest.raises(QuestionError, match="no effect can be estimated"):
        estimate(early, ASKED, "lee_wooldridge", transform="detrend")
    assert np.isfinite(estimate(early, ASKED, "lee_wooldridge").effect).all()


PANELS = searching.samples(150, 2000)


@pytest.mark.search
@pytest.mark.parametrize("treated", [1, 2])
def test_the_pooled_t_test_is_exact_with_normal_errors_however_few_are_treated(treated: int) -> None:
    rng, rejects = np.random.default_rng(treated), 0
    dates = np.where(np.arange(12) < treated, 5.0, np.nan)
    made = replace(simulated.panel(n=12), first_treated={"event": dates}, covariates={})
    for _ in range(PANELS):
        panel = replace(made, outcomes={"y": np.cumsum(rng.normal(size=(12, 8)), axis=1)})
        fit = estimate(panel, ASKED, "lee_wooldridge", vcov="pooled")
        rejects += fit.headline.tidy()["p_value"][0] <= 0.05
    assert abs(rejects / PANELS - 0.05) <= 3 * np.sqrt(0.05 * 0.95 / PANELS)
