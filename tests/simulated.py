"""Small simulated panels with staggered adoption, and what every design must do on them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from study import Estimate, Panel
from study.panel.question import Sample

PERIODS = np.arange(1, 9)
COHORTS = (4, 6, 7)


def panel(
    n: int = 100,
    seed: int = 0,
    gaps: float = 0.0,
    level: float = 0.0,
    cohorts: tuple[int, ...] = COHORTS,
) -> Panel:
    """Return n units x 8 periods; a third is never treated, effects grow with event time."""
    rng = np.random.default_rng(seed)
    first = rng.choice([np.nan, *cohorts], size=n, p=[0.34, *([0.66 / len(cohorts)] * len(cohorts))])
    x1, x2 = rng.normal(size=(2, n))
    x1 = x1 + 0.4 * (first == cohorts[0])
    y = level + rng.normal(size=(n, 1)) + 0.3 * PERIODS + 0.1 * x1[:, None] * PERIODS
    y = y + effects(first, 1.0) + rng.normal(size=(n, len(PERIODS)))
    y[rng.random(y.shape) < gaps] = np.nan
    across = np.ones(len(PERIODS))
    return Panel(
        name="simulated",
        units=np.array([f"u{i:04d}" for i in range(n)]),
        periods=PERIODS,
        outcomes={"y": y},
        covariates={
            "x1": np.outer(x1, across),
            "x2": np.outer(x2, across),
            "moving": rng.normal(size=y.shape),
            "size": np.outer(rng.uniform(0.5, 2.0, size=n), across),
        },
        first_treated={"event": first},
        treatment={},
        attributes={"state": np.array([f"s{i % 17:02d}" for i in range(n)])},
    )


def effects(first: NDArray[np.float64], size: float | NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the effect on every cell: size x (1 + event time / 2) from the event on."""
    since = PERIODS - first[:, None]
    return np.where(since >= 0, size * (1 + since / 2), 0.0)


SHARES = {4: 0.25, 6: 0.2, 7: 0.15}
SIZES = {4: 1.0, 6: 0.2, 7: -0.5}


def draw(rng: np.random.Generator, n: int) -> tuple[Panel, float]:
    """Return a new panel whose effects differ by unit, cohort and event time, and its event average 0-2."""
    first = rng.choice([np.nan, *COHORTS], size=n, p=[0.4, *SHARES.values()])
    size = np.vectorize(SIZES.get)(np.nan_to_num(first), 0.0).astype(float) + rng.normal(size=n)
    y = rng.normal(size=(n, 1)) + 0.3 * PERIODS + effects(first, size[:, None])
    y = y + np.cumsum(rng.normal(size=y.shape), axis=1) * 0.4
    made = replace(panel(n=n), outcomes={"y": y}, first_treated={"event": first}, covariates={})
    return made, event_average()


def event_average(cohorts: tuple[int, ...] = COHORTS) -> float:
    """Return the average over event times 0-2 of the mean effects that ``draw`` gives some of its cohorts."""
    by_event_time = []
    for e in range(3):
        seen = [g for g in cohorts if g + e <= PERIODS[-1]]
        mean = np.average([SIZES[g] for g in seen], weights=[SHARES[g] for g in seen])
        by_event_time.append(mean * (1 + e / 2))
    return float(np.mean(by_event_time))


def draw_alike(rng: np.random.Generator, n: int) -> Panel:
    """Return a new panel in which every cohort has the same mean effects.

    They are 1 in all event times in the outcome "flat", 1 + event time / 2 in "growing", and a quarter of the
    mean, with Poisson noise around means that vary in proportion, in "count".
    """
    first = rng.choice([np.nan, *COHORTS], size=n, p=[0.4, *SHARES.values()])
    since = PERIODS - first[:, None]
    size = np.where(since >= 0, 1 + 0.5 * rng.normal(size=(n, 1)), 0.0)
    untreated = rng.normal(size=(n, 1)) + 0.3 * PERIODS
    untreated = untreated + np.cumsum(rng.normal(size=since.shape), axis=1) * 0.4
    shocks = rng.gamma(4, 1 / 4, size=(n, 1)) * rng.gamma(4, 1 / 4, size=since.shape)
    mean = (
        np.exp(1.0 + 0.1 * PERIODS - 0.3 * (first[:, None] == 4)) * np.where(since >= 0, 1.25, 1.0) * shocks
    )
    outcomes = {
        "flat": untreated + size,
        "growing": untreated + size * (1 + np.nan_to_num(since) / 2),
        "count": rng.poisson(mean).astype(float),
    }
    return replace(panel(n=n), outcomes=outcomes, first_treated={"event": first}, covariates={})


def with_late_units(n: int = 70, seed: int = 0, gaps: float = 0.0, level: float = 0.0) -> Panel:
    """Return a panel some of whose units are first treated after its last period, with a covariate that trends.

    Where the outcome has gaps, the covariate "moving" has some too.
    """
    made = panel(n, seed, gaps, level, cohorts=(4, 6, 7, 11))
    drift = made.covariates["x2"] * PERIODS**1.5
    unseen = np.random.default_rng(seed).random(drift.shape) < gaps / 4
    moving = np.where(unseen, np.nan, made.covariates["moving"])
    return replace(made, covariates=dict(made.covariates) | {"drifting": drift, "moving": moving})


def counts(whole: Panel, seed: int = 1) -> Panel:
    """Return the panel with a count for its outcome, whose mean grows with the outcome that it had."""
    y = whole.outcomes["y"]
    drawn = np.random.default_rng(seed).poisson(np.exp(0.4 * np.nan_to_num(y))).astype(float)
    return replace(whole, outcomes={"y": np.where(np.isnan(y), np.nan, drawn)})


def switching() -> Panel:
    """Return a panel whose treatment switches on and off for every other unit."""
    whole = panel()
    path = (PERIODS % 3 == 0) * (np.arange(whole.n_units) % 2)[:, None]
    return replace(whole, first_treated={}, treatment={"event": path.astype(float)})


def subset(whole: Panel, keep: NDArray[np.bool_]) -> Panel:
    """Return the panel of some units."""
    return ordered(whole, np.flatnonzero(keep))


def ordered(whole: Panel, rows: NDArray[np.int64]) -> Panel:
    """Return the panel with its units taken in an order."""
    blocks = {
        name: {key: block[rows] for key, block in getattr(whole, name).items()}
        for name in ("outcomes", "covariates", "first_treated", "treatment", "attributes")
    }
    return replace(whole, units=whole.units[rows], **blocks)


def check_influence(sample: Sample, fit: Callable[[Sample], Estimate], units: int = 4) -> None:
    """Hold influence functions to n times the derivative of the estimates by a unit's weight.

    An estimate is a function of the weighted distribution of units, so this is the influence by definition;
    it is checked for the terms and, where they are by cohort, for every kind of average.
    """
    step = 1e-4
    n = sample.n_units

    def everything(s: Sample) -> list[Estimate]:
        made = fit(s)
        if not made.estimand.in_cells:
            return [made]
        kinds = ("event", "cohort", "calendar", "event_average", "treated_average", "cohort_average")
        return [made, *(made.aggregate(kind) for kind in kinds)]

    def effect(weights: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.concatenate([e.effect for e in everything(replace(sample, weights=weights))])

    influence = np.hstack([e.influence for e in everything(sample)])
    scale = np.abs(influence).max()
    for i in np.random.default_rng(0).choice(n, units, replace=False):
        up, down = sample.weights.copy(), sample.weights.copy()
        up[i] *= 1 + step
        down[i] *= 1 - step
        derivative = n * (effect(up) - effect(down)) / (2 * step)
        np.testing.assert_allclose(influence[i], derivative, rtol=0, atol=2e-6 * scale)


def few_treated(
    rng: np.random.Generator, n: int = 300, treated: int = 30, cohorts: tuple[int, ...] = COHORTS
) -> Panel:
    """Return a new panel with few treated units, whose effects are the same in every cohort; errors persist."""
    first = np.full(n, np.nan)
    first[:treated] = np.resize(cohorts, treated)
    shocks = 0.5 * np.cumsum(rng.normal(size=(n, len(PERIODS))), axis=1)
    y = rng.normal(size=(n, 1)) + 0.3 * PERIODS + effects(first, 1.0) + shocks + rng.normal(size=shocks.shape)
    return replace(panel(n=n), outcomes={"y": y}, first_treated={"event": first}, covariates={})
