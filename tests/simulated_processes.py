"""Processes on made-up panels, for tests of what they draw."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from study import Panel, Question
from study.simulate.process import Family, Process

PERIODS = np.arange(2001, 2009)
DATES = (2003, 2005, 2006, 2008, 2010)


def panel(n: int = 400, share: float = 0.1, seed: int = 0) -> Panel:
    """Return n units x 8 periods, a share of them with each of the dates, of which the last is after the window.

    Besides the dates, ``event``, there are a path that switches off and on again, ``switch``, amounts from the same
    dates on, ``amount``, amounts of all units from 2004 on, ``everyone``, and the dose of a date, ``dose``. Units
    come in states of four.
    """
    rng, across = np.random.default_rng(seed), np.ones(len(PERIODS))
    first = np.full(n, np.nan)
    order = rng.permutation(n)
    for date, units in zip(
        DATES, np.array_split(order[: int(n * share * len(DATES))], len(DATES)), strict=True
    ):
        first[units] = date
    since = PERIODS - first[:, None]
    on = (since >= 0) & ~((since >= 2) & (rng.random((n, 1)) < 0.5) & (since < 4))
    size = rng.uniform(0.5, 2.0, n)[:, None]
    return Panel(
        name="made",
        units=np.array([f"u{i:05d}" for i in range(n)]),
        periods=PERIODS,
        outcomes={"y": np.ones((n, len(PERIODS)))},
        covariates={
            "x": np.outer(rng.normal(size=n), across),
            "z": np.outer(rng.normal(size=n), across),
            "moving": rng.normal(size=since.shape),
            "binary": np.outer(rng.random(n) < 0.5, across).astype(float),
            "weight": np.outer(rng.uniform(0.5, 2.0, n), across),
        },
        first_treated={"event": first, "by_state": first[4 * (np.arange(n) // 4)]},
        treatment={"switch": on.astype(float)},
        doses={
            "amount": np.where(since >= 0, size, 0.0),
            "everyone": np.where(PERIODS >= 2004, size, 0.0),
            "dose": np.broadcast_to(size, since.shape).copy(),
        },
        attributes={
            "state": np.array([f"s{i // 4:04d}" for i in range(n)]),
            "team": np.where(np.arange(n) % 2, "odd", "even"),
        },
    )


def process(
    whole: Panel | None = None,
    family: Family = "count",
    hazard: tuple[float, float] = (0.0, 0.0),
    spread_of_size: float = 0.5,
    dials: dict[str, float] | None = None,
    **question: Any,
) -> Process:
    """Return a process of large counts, so that Poisson noise is small, or of continuous outcomes without noise."""
    whole = panel() if whole is None else whole
    sample = Question(**{"outcome": "y", "event": "event", "min_cohort_size": 1} | question).sample(whole)
    rng, n = np.random.default_rng(1), sample.n_units
    mean = 1e6 * np.exp(spread_of_size * rng.normal(size=n))
    size = np.array([mean, np.ones(n)])
    growth = 1e6 * np.linspace(0, 1, len(sample.periods)) ** 2
    if family == "continuous":
        size, growth = np.array([5 + spread_of_size * rng.normal(size=n), np.zeros(n)]), growth / 1e6
    return Process(sample, family, size, growth, float(size[0].mean()), 2.0, np.array(hazard), dials or {})


def with_gaps(whole: Panel, share: float = 0.2) -> Panel:
    """Return the panel with cells that are not observed."""
    y = whole.outcomes["y"].copy()
    y[np.random.default_rng(2).random(y.shape) < share] = np.nan
    return replace(whole, outcomes={"y": y})
