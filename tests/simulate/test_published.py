"""Published simulations come out within the Monte-Carlo error of both; published/README.md has their sources."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pytest
from replicating import CRITICAL, FloatArray, process
from scipy import optimize, special, stats

from study import Panel, Question
from study.designs import find_design
from study.estimates.effect import pre_test
from study.panel import Sample

PUBLISHED = Path(__file__).parent / "published"


def template(units: int, periods: int, covariates: int = 0, **question: Any) -> Sample:
    """Return a sample of the first half treated in the last period, whose arrays are then replaced."""
    first = np.where(np.arange(units) < units // 2, float(periods), np.nan)
    names = tuple(f"x{k}" for k in range(covariates))
    noise = np.random.default_rng(0).normal(size=(covariates, units, 1))
    panel = Panel(
        name="published",
        units=np.array([f"u{i:04d}" for i in range(units)]),
        periods=np.arange(1, periods + 1),
        outcomes={"y": np.zeros((units, periods))},
        covariates={name: np.repeat(noise[k], periods, axis=1) for k, name in enumerate(names)},
        first_treated={"event": first},
        treatment={},
        attributes={},
    )
    asked = {"covariates": names, "min_cohort_size": 1} | question
    return Question(outcome="y", event="event", **asked).sample(panel)


class Moments(NamedTuple):
    """Bias, standard deviation and coverage over replications, and the average standard error, each with its error."""

    bias: float
    sd: float
    coverage: float
    std_error: float
    n: int
    errors: tuple[float, float, float, float]

    @classmethod
    def of(cls, answers: FloatArray, effect: float) -> Moments:
        """Return those of replications of estimate, standard error and critical value, shape (R, 3)."""
        estimate, std_error, critical = answers.T
        n, sd = len(estimate), estimate.std()
        covers = np.abs(estimate - effect) <= critical * std_error
        squares = (estimate - estimate.mean()) ** 2
        errors = sd, squares.std() / (2 * sd), covers.std(), std_error.std()
        of_each = tuple(float(e / np.sqrt(n)) for e in errors)
        return cls(estimate.mean() - effect, sd, covers.mean(), std_error.mean(), n, of_each)

    def near(self, published: pd.Series, n: int, digits: int) -> dict[str, float]:
        """Return how many standard errors of a difference of two simulations each moment is from that published."""
        rounding = 0.5 * 10.0**-digits
        both = np.sqrt(1 + self.n / n)
        differences = {}
        for name, error in zip(("bias", "sd", "coverage", "std_error"), self.errors, strict=True):
            if not np.isnan(published.get(name, np.nan)):
                rate = published[name] if name == "coverage" else 0
                binomial = np.sqrt(rate * (1 - rate) * (1 / self.n + 1 / n))
                off = max(abs(getattr(self, name) - published[name]) - rounding, 0)
                differences[name] = float(off / max(error * both, binomial, 1e-12))
        return differences


# Sant'Anna and Zhao (2020), Section 4: what propensity and outcome depend on is seen, or is not.
SEEN = {1: ("z", "z"), 2: ("x", "z"), 3: ("z", "x"), 4: ("x", "x")}
MEAN_SD = np.array(
    [
        [np.exp(0.125), np.sqrt((np.exp(0.25) - 1) * np.exp(0.25))],
        [10, 0.54164],
        [0.21887, 0.04453],
        [402, 56.63891],
    ]
)


def kang_schafer(rng: np.random.Generator, sample: Sample, dgp: int) -> Sample:
    """Draw two periods whose change is linear in x or in the transformed z, of which z is observed."""
    x = rng.normal(size=(sample.n_units, 4))
    z = np.column_stack(
        [
            np.exp(x[:, 0] / 2),
            x[:, 1] / (1 + np.exp(x[:, 0])) + 10,
            (x[:, 0] * x[:, 2] / 25 + 0.6) ** 3,
            (x[:, 0] + x[:, 3] + 20) ** 2,
        ]
    )
    z = (z - MEAN_SD[:, 0]) / MEAN_SD[:, 1]
    of_propensity, of_outcome = ({"x": x, "z": z}[which] for which in SEEN[dgp])
    propensity = special.expit(0.75 * of_propensity @ [-1, 0.5, -0.25, -0.1])
    treated = rng.random(sample.n_units) <= propensity
    index = 210 + of_outcome @ [27.4, 13.7, 13.7, 13.7]
    level = index + treated * index + rng.normal(size=sample.n_units)
    y = np.column_stack([level, level + index]) + rng.normal(size=(sample.n_units, 2))
    return replace(
        sample,
        y=y,
        first_treated=np.where(treated, 2.0, np.nan),
        x_baseline=z,
        x_by_period=tuple(np.column_stack([column, column]) for column in z.T),
    )


def replications(
    draw: Callable[[np.random.Generator], Sample],
    fit: Callable[[Sample], tuple[float, float, float]],
    n: int,
) -> FloatArray:
    """Return estimate, standard error and critical value in n draws, shape (n, 3)."""
    return np.array([fit(draw(np.random.default_rng((20261128, r)))) for r in range(n)])


def of_santanna_zhao(dgp: int, estimator: str, n: int) -> dict[str, float]:
    """Return the distance from the published bias, standard deviation and coverage of 10,000 replications."""
    sample, plain = template(1000, 2, 4), template(1000, 2)

    def fit(drawn: Sample) -> tuple[float, float, float]:
        if estimator == "twfe":
            # With fixed covariates their coefficient is that of the treated units' change.
            without = replace(plain, y=drawn.y, first_treated=drawn.first_treated)
            made = find_design("twfe")(without)
        else:
            made = find_design("callaway_santanna")(drawn, method=estimator)
        average = made.with_vcov(made.published).headline
        return average.effect[0], average.std_error[0], average.critical_value()[0]

    answers = replications(lambda rng: kang_schafer(rng, sample, dgp), fit, n)
    table = pd.read_csv(PUBLISHED / "santanna_zhao_2020.csv").set_index(["dgp", "estimator"])
    return Moments.of(answers, 0.0).near(table.loc[(dgp, estimator)], 10_000, 16)


@pytest.mark.parametrize(("dgp", "estimator"), [(1, "reg"), (2, "dr"), (3, "ipw"), (4, "dr"), (4, "twfe")])
def test_covariate_adjustment_as_simulated_by_santanna_and_zhao(dgp: int, estimator: str) -> None:
    distance = of_santanna_zhao(dgp, estimator, 60)
    assert max(distance.values()) < CRITICAL, distance


@pytest.mark.slow
@pytest.mark.parametrize("estimator", ["dr", "ipw", "reg", "twfe"])
@pytest.mark.parametrize("dgp", [1, 2, 3, 4])
def test_covariate_adjustment_as_simulated_by_santanna_and_zhao_in_full(dgp: int, estimator: str) -> None:
    distance = of_santanna_zhao(dgp, estimator, 1000)
    assert max(distance.values()) < CRITICAL, distance


# Lee and Wooldridge (2025), Section 5.1 and Table 1.
RULES = {1: (-1, -1 / 3, 1 / 4), 2: (-1.5, 1 / 3, 1 / 4), 3: (-2, 1 / 3, 1 / 4)}
PERIOD = np.array([0, 0, 0, 0, 2, 6, 7, 8, 6, 9, 9, 10, 11, 13, 12, 15, 6, 14, 18, 19]) / 10
EFFECT = np.array([0] * 10 + [1, 2, 3, 3, 3, 2, 2, 2, 1, 1])


def own_trends(rng: np.random.Generator, sample: Sample, scenario: int) -> Sample:
    """Draw 20 units in 20 periods with trends of their own, on which treatment from the eleventh on depends."""
    constant, of_level, of_trend = RULES[scenario]
    n, periods = sample.y.shape
    treated = np.zeros(n, dtype=bool)
    while not 0 < treated.sum() < n:
        level, trend = rng.normal(0, 2, n), rng.normal(1, 1, n)
        treated = constant - of_level * level + of_trend * trend + rng.logistic(size=n) > 0
    errors = np.sqrt(2) * rng.normal(size=(n, periods))
    errors[:, 0] /= np.sqrt(1 - 0.75**2)
    for t in range(1, periods):
        errors[:, t] += 0.75 * errors[:, t - 1]
    y = PERIOD - level[:, None] + np.outer(trend, sample.periods) + errors
    varying = EFFECT + np.sqrt(2) * rng.normal(size=y.shape)
    y = y + np.where(np.outer(treated, sample.periods > 10), varying, 0)
    return replace(sample, y=y, first_treated=np.where(treated, 11.0, np.nan))


def of_lee_wooldridge(scenario: int, transform: str, n: int) -> dict[str, float]:
    """Return the distance from what is published of 1,000 replications."""
    sample = template(20, 20)

    def fit(drawn: Sample) -> tuple[float, float, float]:
        # Least squares of one cross-section, with t(N - 2).
        average = find_design("lee_wooldridge")(drawn, transform=transform).with_vcov("pooled").headline
        return average.effect[0], average.std_error[0], average.critical_value()[0]

    answers = replications(lambda rng: own_trends(rng, sample, scenario), fit, n)
    table = pd.read_csv(PUBLISHED / "lee_wooldridge_2025.csv").set_index(["scenario", "estimator"])
    return Moments.of(answers, 2.0).near(table.loc[(scenario, transform)], 1000, 2)


@pytest.mark.parametrize("transform", ["demean", "detrend"])
def test_transformed_outcomes_as_simulated_by_lee_and_wooldridge(transform: str) -> None:
    distance = of_lee_wooldridge(1, transform, 150)
    assert max(distance.values()) < CRITICAL, distance


@pytest.mark.slow
@pytest.mark.parametrize("transform", ["demean", "detrend"])
@pytest.mark.parametrize("scenario", [1, 2, 3])
def test_transformed_outcomes_as_simulated_by_lee_and_wooldridge_in_full(
    scenario: int, transform: str
) -> None:
    distance = of_lee_wooldridge(scenario, transform, 1000)
    assert max(distance.values()) < CRITICAL, distance


# Baker, Larcker and Wang (2022), Section 3: cohorts of 17, 18 and 15 of 50 states, none of them never treated.
COHORTS = (340, 360, 300)
YEARS, STARTS = np.arange(1980, 2016), np.repeat([1989.0, 1998.0, 2007.0], COHORTS)
YEARLY, GROWING = {3: (3.0, 3, 3), 4: (5.0, 3, 1), 5: (0.3, 0.3, 0.3), 6: (0.5, 0.3, 0.1)}, (5, 6)


def years_of(simulation: int) -> FloatArray:
    """Return how often a unit has had its yearly effect by each year, shape (1000, 36)."""
    since = YEARS - STARTS[:, None]
    return np.where(since >= 0, 1 + since if simulation in GROWING else 1, 0)


def staggered(rng: np.random.Generator, sample: Sample, simulation: int) -> Sample:
    """Draw unit and year effects, errors, and units' own yearly effects around their cohort's."""
    yearly = np.repeat(YEARLY[simulation], COHORTS)[:, None] + rng.normal(0, 0.2, size=(1000, 1))
    y = yearly * years_of(simulation)
    for size in ((1000, 1), (1, 36), (1000, 36)):
        y = y + rng.normal(0, 0.5, size=size)
    return replace(sample, y=y, first_treated=STARTS - 1979)


@pytest.mark.parametrize("simulation", [3, 4, 5, 6])
def test_staggered_adoption_as_simulated_by_baker_larcker_and_wang(simulation: int) -> None:
    """Their figures show where static coefficients are beside the effect; weights of cells give it in closed form."""
    sample = template(1000, 36)
    answers = replications(
        lambda rng: staggered(rng, sample, simulation),
        lambda drawn: (find_design("twfe")(drawn).headline.effect[0], np.nan, np.nan),
        30,
    )[:, 0]
    treated = (STARTS[:, None] <= YEARS).astype(float)
    weight = treated - treated.mean(1, keepdims=True) - treated.mean(0) + treated.mean()
    effect = np.repeat(YEARLY[simulation], COHORTS)[:, None] * years_of(simulation)
    expected = (weight * effect).sum() / (weight * treated).sum()
    error = answers.std(ddof=1) / np.sqrt(len(answers))
    assert answers.mean() == pytest.approx(expected, abs=CRITICAL * error)
    # As their figures have it: right, too low, of a few percent of the effect, of the other sign.
    low, high = {3: (0.999, 1.001), 4: (0.7, 0.9), 5: (0, 0.1), 6: (-np.inf, 0)}[simulation]
    assert low <= expected / effect[treated == 1].mean() < high


# Roth (2022): one cohort, independent errors of variance one, a linear difference in trends.
# With 640 units estimated errors are as good as known.
SLOPE, BASE, UNITS = 0.075, 4, 640
NODES, NODE_WEIGHTS = np.polynomial.hermite_e.hermegauss(200)


def after_passing(scale: float, critical: float, slope: float) -> tuple[float, float, float]:
    """Return the share that passes, and bias and coverage of the average of two periods after it.

    Coefficients are mean differences in a period less that in the base, all with the same variance: given the base's
    they are independent, so that Proposition 1 is one integral. Numbers are in units of a mean difference's error.
    """
    leads = slope * np.arange(1 - BASE, 0)[:, None] / scale
    limit, weight = critical * np.sqrt(2), NODE_WEIGHTS / NODE_WEIGHTS.sum()
    passes = stats.norm.cdf(limit - leads + NODES) - stats.norm.cdf(-limit - leads + NODES)
    weight = weight * passes.prod(axis=0)
    bias = 1.5 * slope / scale - NODES
    half = stats.norm.isf(0.025) * np.sqrt(1.5)
    covers = stats.norm.cdf((half - bias) / np.sqrt(0.5)) - stats.norm.cdf((-half - bias) / np.sqrt(0.5))
    share = weight.sum()
    return float(share), float(scale * (weight @ bias) / share), float((weight @ covers) / share)


def largest_of_leads(size: float) -> float:
    """Return the critical value of the largest of the leads' absolute t, by the same integral."""
    return float(optimize.brentq(lambda c: after_passing(1.0, c, 0.0)[0] - (1 - size), 1, 5))


def after_tests(slope: float, n: int) -> None:
    """Hold estimates that pass a test of leads to Roth's formula, for two tests."""
    source = process(units=UNITS, cohorts=(BASE + 1,), trends=slope * 7, effect=0.5, shocks=1.0)
    treated = len(source.places[0])
    scale = np.sqrt(1 / treated + 1 / (UNITS - treated))
    plain, rows = source.sample.question.replace(covariates=()).sample(source.sample.panel), []
    for r in range(n):
        sample = source.sample_of(source.draw(np.random.default_rng((2022, r))))
        fit = find_design("event_study")(replace(plain, y=sample.y, first_treated=sample.first_treated))
        path, average = fit.by_event_time, fit.headline
        lead = path.event_time < -1
        largest = np.max(np.abs(path.effect[lead] / path.std_error[lead]))
        off = average.effect[0] - 0.5
        covers = abs(off) <= average.critical_value()[0] * average.std_error[0]
        rows.append(
            (
                largest <= stats.norm.isf(0.025),
                pre_test(path, draws=199, seed=r).p_largest > 0.05,
                off,
                covers,
            )
        )
    single, joint, off, covers = np.array(rows, dtype=float).T
    for passed, critical in ((single == 1, stats.norm.isf(0.025)), (joint == 1, largest_of_leads(0.05))):
        share, bias, coverage = after_passing(scale, critical, slope)
        left = int(passed.sum())
        assert abs(left / n - share) < CRITICAL * np.sqrt(share * (1 - share) / n)
        assert abs(off[passed].mean() - bias) < CRITICAL * off[passed].std() / np.sqrt(left)
        assert abs(covers[passed].mean() - coverage) < CRITICAL * np.sqrt(coverage * (1 - coverage) / left)


@pytest.mark.parametrize("slope", [0.0, SLOPE])
def test_bias_after_passing_a_test_of_leads_is_roths(slope: float) -> None:
    after_tests(slope, 150)


@pytest.mark.slow
@pytest.mark.parametrize("slope", [0.0, SLOPE])
def test_bias_after_passing_a_test_of_leads_is_roths_in_full(slope: float) -> None:
    after_tests(slope, 4000)


def test_passing_a_test_of_leads_makes_the_bias_of_a_trend_larger_and_intervals_too_wide_without_one() -> (
    None
):
    """Roth (2022), Propositions 2 and 4."""
    share, bias, coverage = after_passing(0.085, 1.96, SLOPE)
    assert 0.3 < share < 0.6
    assert bias > 1.5 * SLOPE + 0.025
    assert coverage < 0.8
    assert after_passing(0.085, 1.96, 0.0)[1] == pytest.approx(0)
    assert after_passing(0.085, 1.96, 0.0)[2] > 0.96
