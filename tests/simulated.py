"""Small simulated panels with staggered adoption, and what every design must do on them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from study import Estimate, Panel
from study.question import Sample

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


def draw(rng: np.random.Generator, n: int) -> tuple[Panel, float]:
    """Return a new panel whose effects differ by unit, cohort and event time, and its event average 0-2."""
    shares, sizes = np.array([0.4, 0.25, 0.2, 0.15]), {4: 1.0, 6: 0.2, 7: -0.5}
    first = rng.choice([np.nan, *COHORTS], size=n, p=shares)
    size = np.vectorize(sizes.get)(np.nan_to_num(first), 0.0).astype(float) + rng.normal(size=n)
    y = rng.normal(size=(n, 1)) + 0.3 * PERIODS + effects(first, size[:, None])
    y = y + np.cumsum(rng.normal(size=y.shape), axis=1) * 0.4
    by_event_time = []
    for e in range(3):
        seen = [(p, sizes[g] * (1 + e / 2)) for p, g in zip(shares[1:], COHORTS, strict=True) if g + e <= 8]
        by_event_time.append(np.average([v for _, v in seen], weights=[p for p, _ in seen]))
    made = replace(panel(n=n), outcomes={"y": y}, first_treated={"event": first}, covariates={})
    return made, float(np.mean(by_event_time))


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
        if made.estimand.value != "group-time ATT":
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
