"""Generalized synthetic control: factors recovered, errors by refits, what it is without factors, refusals."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import simulated

from study import Panel, Question, QuestionError, estimate
from study.core import counted
from study.designs.generalized_synthetic_control import interactive_effects

NAME = "generalized_synthetic_control"
QUESTION = Question("y", "event")


def with_factors(
    n: int = 60, n_factors: int = 1, noise: float = 0.0, effect: float = 2.0, seed: int = 0
) -> Panel:
    """Return a simulated panel, one cohort at 6, whose treated units load more on the factors than others."""
    rng = np.random.default_rng(seed)
    panel = simulated.panel(n=n, seed=seed, cohorts=(6,))
    first = panel.first_treated["event"]
    treated = ~np.isnan(first)
    loadings = rng.normal(size=(n, n_factors)) + treated[:, None]
    factors = rng.normal(size=(n_factors, 8))
    y = rng.normal(size=(n, 1)) + rng.normal(size=8) + loadings @ factors
    y = y + effect * (first[:, None] <= simulated.PERIODS) + noise * rng.normal(size=(n, 8))
    return replace(panel, outcomes={"y": y})


@pytest.mark.parametrize("n_factors", [1, 2])
def test_without_noise_the_effect_is_found_exactly_and_parallel_trends_miss_it(n_factors: int) -> None:
    panel = with_factors(n_factors=n_factors)
    made = estimate(panel, QUESTION, NAME, factors=n_factors)
    assert made.effect == pytest.approx(np.full(3, 2.0), abs=1e-9)
    missed = estimate(panel, QUESTION, "imputation", leads=0).headline.effect[0]
    assert abs(missed - 2.0) > 0.2


def test_without_factors_it_is_imputation_on_a_block() -> None:
    panel = with_factors(noise=1.0)
    plain = estimate(panel, QUESTION, "imputation", leads=0)
    assert estimate(panel, QUESTION, NAME, factors=0).effect == pytest.approx(plain.effect, rel=1e-10)


def test_slopes_and_factors_minimise_the_sum_of_squares() -> None:
    rng = np.random.default_rng(2)
    y, x = rng.normal(size=(30, 8)), rng.normal(size=(30, 8, 2))
    fitted = interactive_effects(y, x, 2)

    def squares(slope: np.ndarray) -> float:
        left = y - x @ slope
        left = left - left.mean(0) - left.mean(1, keepdims=True) + left.mean()
        return float((np.linalg.svd(left, compute_uv=False)[2:] ** 2).sum())

    best = squares(fitted.slope)
    for step in 1e-3 * np.vstack([np.eye(2), -np.eye(2)]):
        assert squares(fitted.slope + step) > best


def test_cross_validation_finds_the_number_of_factors_and_says_so() -> None:
    made = estimate(with_factors(n=120, n_factors=2, noise=0.1), QUESTION, NAME)
    assert made.notes[0].startswith("2 factors by cross-validation")
    given = estimate(with_factors(n=120, n_factors=2, noise=0.1), QUESTION, NAME, factors=2)
    assert made.effect == pytest.approx(given.effect)
    assert given.notes == ()


@pytest.mark.parametrize(
    ("cohort", "n_free", "most"),
    [(6, 30, 3), (8, 30, 5), (10, 30, 5), (8, 6, 3), (6, 4, 1), (6, 2, 0), (3, 30, 0)],
)
def test_cross_validation_tries_what_periods_before_treatment_and_comparison_units_allow_five_at_most(
    cohort: int, n_free: int, most: int
) -> None:
    panel, y = simulated.panel(n=60), np.random.default_rng(0).normal(size=(60, 10))
    treated = ~np.isnan(panel.first_treated["event"])
    panel = replace(
        panel,
        periods=np.arange(1, 11),
        outcomes={"y": y},
        covariates={},
        first_treated={"event": np.where(treated, cohort, np.nan)},
    )
    keep = treated | (np.cumsum(~treated) <= n_free)
    made = estimate(simulated.subset(panel, keep), QUESTION, NAME)
    tried = made.notes[0].split(" are ")[1].split(", ")
    assert [int(each.split(" with ")[1]) for each in tried] == list(range(most + 1))
    errors = [float(each.split()[0]) for each in tried]
    assert made.notes[0].startswith(f"{counted(int(np.argmin(errors)), 'factor')} by cross-validation")


@pytest.mark.parametrize("covariates", [(), ("moving",)])
def test_errors_are_the_jackknife_of_refits(covariates: tuple[str, ...]) -> None:
    panel = with_factors(n=24, noise=1.0)
    asked = QUESTION.replace(covariates=covariates)
    made = estimate(panel, asked, NAME, factors=1).aggregate("treated_average")
    sample = asked.sample(panel)
    left = [estimate_of(sample.only(np.arange(24) != i, "left out"), panel) for i in range(24)]
    squares = np.sum((np.array(left) - np.mean(left)) ** 2)
    assert made.with_vcov("CR1").std_error[0] == pytest.approx(np.sqrt(23 / 24 * squares), rel=1e-8)
    assert made.std_error[0] == pytest.approx(np.sqrt(squares), rel=1e-8)


def test_errors_by_cohort_are_the_jackknife_over_the_units_of_all_cohorts() -> None:
    panel = simulated.panel(n=20, seed=1, cohorts=(5, 6))
    made = estimate(panel, QUESTION, NAME, factors=0)
    left = [
        estimate(simulated.subset(panel, np.arange(20) != i), QUESTION, NAME, factors=0) for i in range(20)
    ]
    jackknife = np.sqrt(19) * np.std([each.effect for each in left], axis=0)
    assert made.with_vcov("CR1").std_error == pytest.approx(jackknife, rel=0.005)


def estimate_of(sample, panel: Panel) -> float:
    from study.designs import find_design

    return find_design(NAME)(sample, factors=1).aggregate("treated_average").effect[0]


@pytest.mark.parametrize("factors", [1, 2])
def test_an_effect_takes_two_comparison_units_beyond_the_factors_and_an_error_three(factors: int) -> None:
    panel = with_factors(noise=1.0)
    treated = ~np.isnan(panel.first_treated["event"])

    def few(n_free: int) -> Panel:
        return simulated.subset(panel, treated | (np.cumsum(~treated) <= n_free))

    enough, least = (estimate(few(factors + more), QUESTION, NAME, factors=factors) for more in (3, 2))
    assert np.isfinite(enough.effect).all()
    assert np.isfinite(enough.std_error).all()
    assert np.isfinite(least.effect).all()
    assert np.isnan(least.std_error).all()
    said = f"{factors + 1} units are never treated in the window, too few for {factors} factors"
    with pytest.raises(QuestionError, match=said):
        estimate(few(factors + 1), QUESTION, NAME, factors=factors)


def test_covariates_are_taken_out_with_the_slope_of_untreated_units() -> None:
    panel = with_factors()
    moving = panel.covariates["moving"]
    added = replace(panel, outcomes={"y": panel.outcomes["y"] + 3 * moving})
    made = estimate(added, QUESTION.replace(covariates=("moving",)), NAME, factors=1)
    assert made.effect == pytest.approx(np.full(3, 2.0), abs=1e-6)


@pytest.mark.parametrize("covariates", [(), ("moving",)])
@pytest.mark.parametrize("unit", [1e8, 1e-8])
def test_another_unit_of_measurement_changes_nothing_else(covariates: tuple[str, ...], unit: float) -> None:
    panel, question = with_factors(noise=1.0), QUESTION.replace(covariates=covariates)
    scaled = replace(panel, outcomes={"y": unit * panel.outcomes["y"]})
    made, other = (estimate(each, question, NAME, factors=2) for each in (panel, scaled))
    assert other.effect == pytest.approx(unit * made.effect, rel=1e-9)
    assert other.std_error == pytest.approx(unit * made.std_error, rel=1e-9)


@pytest.mark.parametrize(
    ("asked", "options", "said"),
    [
        ({}, {"factors": -1}, "factors is -1; it must be a whole number"),
        ({}, {"factors": 1.5}, "factors is 1.5"),
        ({}, {"factors": True}, "factors is True"),
        (
            {},
            {"factors": 5},
            "cohort 6 left out: 5 of the 6 periods needed before treatment, since factors=5; imputation and",
        ),
        ({"covariates": ("x1",)}, {"factors": 1}, "a covariate is explained by unit and period effects"),
        ({"covariates": ("six",)}, {"factors": 1}, "among the comparison units a covariate is explained"),
    ],
)
def test_what_cannot_be_answered_is_refused_in_one_line(
    asked: dict[str, object], options: dict[str, object], said: str
) -> None:
    panel = with_factors()
    six = (panel.first_treated["event"] == 6)[:, None] + 0.0 * panel.outcomes["y"]
    panel = replace(panel, covariates=dict(panel.covariates) | {"six": six})
    with pytest.raises(QuestionError, match=said) as refused:
        estimate(panel, QUESTION.replace(**asked), NAME, **options)
    assert "\n" not in str(refused.value)
    assert str(refused.value).startswith("generalized_synthetic_control: ")


def test_a_covariate_with_gaps_is_refused() -> None:
    panel = with_factors()
    moving = panel.covariates["moving"].copy()
    moving[3, 2] = np.nan
    with pytest.raises(QuestionError, match="covariate moving has gaps"):
        estimate(
            replace(panel, covariates={"moving": moving}), QUESTION.replace(covariates=("moving",)), NAME
        )


def test_a_factor_that_is_constant_before_treatment_identifies_no_loading() -> None:
    y = np.array([[1.0, 2, 3], [0, 0, 0], [2, 2, 0], [0, 0, 3], [0, 0, 1]])  # of rank one less the means
    panel = simulated.panel(n=5)
    first = np.array([3.0, np.nan, np.nan, np.nan, np.nan])
    panel = replace(
        panel, periods=panel.periods[:3], outcomes={"y": y}, first_treated={"event": first}, covariates={}
    )
    question = Question("y", "event", min_cohort_size=1)
    with pytest.raises(QuestionError, match=r"factors=1\) are collinear in the 2 periods before treatment"):
        estimate(panel, question, NAME, factors=1)
    assert np.isfinite(estimate(panel, question, NAME, factors=0).effect).all()


def test_bootstrap_errors_are_those_of_samples_of_the_model_also_for_one_treated_unit() -> None:
    panel = with_factors(noise=1.0)
    options = {"factors": 1, "inference": "parametric_bootstrap", "replications": 200, "seed": 3}
    made, again = (estimate(panel, QUESTION, NAME, **options) for _ in range(2))
    jackknifed = estimate(panel, QUESTION, NAME, factors=1)
    assert made.effect.tolist() == jackknifed.effect.tolist()
    assert made.std_error.tolist() == again.std_error.tolist()
    assert made.headline.std_error == pytest.approx(jackknifed.headline.std_error, rel=0.4)
    assert (np.abs(made.replicates.mean(axis=1)) < made.std_error).all()  # samples have no effect
    scaled = estimate(replace(panel, outcomes={"y": 100 * panel.outcomes["y"]}), QUESTION, NAME, **options)
    assert scaled.std_error == pytest.approx(100 * made.std_error, rel=1e-9)
    first = panel.first_treated["event"].copy()
    first[np.flatnonzero(~np.isnan(first))[1:]] = np.nan
    one = replace(panel, first_treated={"event": first})
    fit = estimate(one, QUESTION.replace(min_cohort_size=1), NAME, **options)
    assert (fit.std_error > made.std_error).all()
    assert fit.notes == (
        "standard errors by parametric bootstrap, from 200 samples: they hold if treated units are predicted as well "
        "as comparison units are",
    )
    with pytest.raises(QuestionError, match=r"joint inference .* is not available"):
        fit.band()


def test_without_a_seed_it_is_zero() -> None:
    options = {"factors": 1, "inference": "parametric_bootstrap", "replications": 20}
    none, zero, one = (
        estimate(with_factors(noise=1.0), QUESTION, NAME, **options, seed=seed).std_error.tolist()
        for seed in (None, 0, 1)
    )
    assert none == zero != one


def test_without_noise_the_bootstrap_has_none() -> None:
    options = {"factors": 1, "inference": "parametric_bootstrap", "replications": 20}
    assert estimate(with_factors(), QUESTION, NAME, **options).std_error.max() < 1e-10
