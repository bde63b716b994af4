"""iv against dense dummies, linearmodels itself, plain loops and known truths."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pytest
import searching
import simulated
from linearmodels.iv import IV2SLS, IVGMM, IVLIML
from scipy import stats

from study import Estimate, Panel, Question, QuestionError, estimate
from study.designs import find_design
from study.estimates.weak_instrument import anderson_rubin, in_words
from study.panel import Sample

EXACT = 1e-10
METHODS = ("2sls", "liml", "gmm")
TWO = ("push", "pull")


def panel(n: int = 60, seed: int = 0, gaps: float = 0.0, strength: float = 0.6) -> Panel:
    """Return units in 20 clusters whose dose has a hidden cause in common with the outcome; its effect is 1.

    Instruments are "push", whose effect on the dose differs by unit, and "pull"; "lottery" is fixed in time.
    """
    rng = np.random.default_rng(seed)
    base = simulated.panel(n, seed)
    shape, cluster = (n, 8), np.arange(n) % 20
    push, pull, x = np.cumsum(rng.normal(size=(3, *shape)), axis=2) / 2 + rng.normal(size=(3, *shape))
    hidden = np.cumsum(rng.normal(size=shape), axis=1) / 2 + rng.normal(size=shape)
    hidden += rng.normal(size=(20, 8))[cluster] / 2
    varied = strength * rng.gamma(4, 1 / 4, size=(n, 1))
    dose = rng.normal(size=(n, 1)) + varied * push + strength * pull + 0.3 * x + hidden + rng.normal(size=shape)
    y = rng.normal(size=(n, 1)) + 0.2 * np.arange(8) + dose + 0.5 * x - 1.5 * hidden + rng.normal(size=shape)
    y[rng.random(shape) < gaps] = np.nan
    lottery = np.outer(rng.random(n) < 0.5, np.ones(8))
    return replace(
        base,
        outcomes={"y": y},
        covariates={"push": push, "pull": pull, "x": x, "lottery": lottery, "size": base.covariates["size"]},
        first_treated={},
        treatment={},
        doses={"dose": dose},
        attributes={"state": np.array([f"s{c:02d}" for c in cluster])},
    )


def dated(**changes: Any) -> Panel:
    """Return the panel where the event is dated, from the fourth period on, more often for winners of the lottery."""
    made = panel(**changes)
    rng = np.random.default_rng(1)
    treated = rng.random(made.n_units) < 0.2 + 0.5 * made.covariates["lottery"][:, 0]
    first = np.where(treated, rng.integers(4, 8, size=made.n_units), np.nan)
    post = made.covariates["lottery"] * (simulated.PERIODS >= 4)
    y = made.outcomes["y"] + (first[:, None] <= simulated.PERIODS)
    return replace(
        made,
        outcomes={"y": y},
        first_treated={"dose": first},
        doses={},
        covariates=dict(made.covariates) | {"lottery_post": post},
    )


def ask(*instruments: str, **fields: Any) -> Question:
    return Question("y", "dose", instrument=instruments, **({"covariates": ("x",)} | fields))


class Dense(NamedTuple):
    """Unit-periods with dummies for units and periods among the columns of x."""

    y: np.ndarray
    d: np.ndarray
    x: np.ndarray
    z: np.ndarray
    unit: np.ndarray
    period: np.ndarray


def dense(sample: Sample) -> Dense:
    unit, period = np.nonzero(sample.observed)
    dummies = np.column_stack([unit[:, None] == np.unique(unit), period[:, None] == np.unique(period)[1:]])
    x, z = (
        np.column_stack([np.empty((len(unit), 0)), *(block[unit, period] for block in blocks)])
        for blocks in (sample.x_by_period, sample.instruments_by_period)
    )
    treatment = sample.treatment[unit, period]
    return Dense(sample.y[unit, period], treatment, np.column_stack([x, dummies]), z, unit, period)


def by_definition(sample: Sample, method: str, often: np.ndarray | None = None) -> float:
    """Return the coefficient of treatment where clusters are drawn so often, shape (C,), by loops over them."""
    rows = dense(sample)
    cluster = sample.cluster[rows.unit]
    often = np.ones(cluster.max() + 1) if often is None else often
    weight = sample.weights[rows.unit]
    root = np.sqrt(weight * often[cluster])[:, None]

    def left(columns: np.ndarray) -> np.ndarray:
        return columns - rows.x @ np.linalg.lstsq(rows.x * root, columns * root, rcond=None)[0]

    y, d, *z = left(np.column_stack([rows.y, rows.d, rows.z])).T
    moments = np.array(z).T

    def summed(left_side: np.ndarray, right_side: np.ndarray) -> np.ndarray:
        parts = []
        for c in range(cluster.max() + 1):
            own = cluster == c
            parts.append(often[c] * (weight[own, None] * left_side[own]).T @ right_side[own])
        return np.sum(parts, axis=0)

    both = np.column_stack([y, d])
    zz, onto = summed(moments, moments), summed(moments, both)
    inside = onto.T @ np.linalg.solve(zz, onto)
    if method == "2sls":
        return inside[0, 1] / inside[1, 1]
    if method == "liml":
        total = summed(both, both)
        kappa = np.linalg.eigvals(np.linalg.solve(total - inside, total)).real.min()
        kept = total - kappa * (total - inside)
        return kept[0, 1] / kept[1, 1]
    first = inside[0, 1] / inside[1, 1]
    meat = np.zeros(zz.shape)
    for c in range(cluster.max() + 1):
        own = cluster == c
        score = (weight[own] * (y[own] - first * d[own])) @ moments[own]
        meat += often[c] * np.outer(score, score)
    of_y, of_d = np.linalg.solve(meat, onto).T
    return (of_y @ onto[:, 1]) / (of_d @ onto[:, 1])


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("gaps", [0.0, 0.15])
@pytest.mark.parametrize("weights", [None, "size"])
def test_coefficients_are_those_of_the_definition_with_dummies(method: str, gaps: float, weights: str | None) -> None:
    sample = ask(*TWO, weights=weights, cluster="state").sample(panel(gaps=gaps))
    fit = find_design("iv")(sample, method=method)
    assert fit.effect[0] == pytest.approx(by_definition(sample, method), rel=1e-9)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("instruments", [TWO, ("push",)])
@pytest.mark.parametrize("weights", [None, "size"])
def test_influence_is_the_derivative_by_how_often_a_cluster_is_drawn(
    method: str, instruments: tuple[str, ...], weights: str | None
) -> None:
    sample = ask(*instruments, weights=weights, cluster="state").sample(panel(gaps=0.1))
    fit = find_design("iv")(sample, method=method)
    sums, step = np.bincount(sample.cluster, weights=fit.influence[:, 0]), 1e-4
    for c in (0, 7, 13):
        up, down = np.ones((2, 20))
        up[c], down[c] = 1 + step, 1 - step
        derivative = sample.n_units * (by_definition(sample, method, up) - by_definition(sample, method, down))
        assert sums[c] == pytest.approx(derivative / (2 * step), abs=1e-6 * np.abs(sums).max())


@pytest.mark.parametrize("method", ["2sls", "liml"])
def test_influence_is_the_derivative_by_unit_weights(method: str) -> None:
    sample = ask(*TWO, weights="size").sample(panel(gaps=0.1))
    simulated.check_influence(sample, lambda s: find_design("iv")(s, method=method))


@pytest.mark.parametrize("stage", ["first", "reduced"])
@pytest.mark.parametrize("instrument", ["push", "lottery"])
def test_influence_of_the_stages_is_the_derivative_by_unit_weights(stage: str, instrument: str) -> None:
    sample = ask(instrument, weights="size").sample(dated())
    simulated.check_influence(sample, lambda s: find_design("iv")(s, stage=stage))
