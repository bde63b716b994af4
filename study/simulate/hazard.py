"""The hazard of adoption by size and recent growth, by the partial likelihood with one risk set a period."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from study.core import BoolArray, FloatArray

# Standard deviation of the prior of a log hazard ratio, for a standard deviation of what it is of: one adopter, or
# adopters that are larger than all others, leave a likelihood without a maximum.
PRIOR = 3.0
STEPS, CONVERGED = 50, 1e-10


class RiskSet(NamedTuple):
    """Those who may adopt in a period: what the hazard depends on, shape (n, p), and who does, shape (n,)."""

    x: FloatArray
    adopts: BoolArray


class Hazard(NamedTuple):
    """Log hazard ratios and their standard errors, shape (p,) each."""

    ratios: FloatArray
    std_errors: FloatArray


def adoption_hazard(risk_sets: Sequence[RiskSet], prior: float = PRIOR) -> Hazard:
    """Return the log hazard ratios that maximize the partial likelihood.

    With A_t the adopters of period t and R_t those at risk, ties as Breslow (1974) has them, it is

        sum_t sum_{i in A_t} [h'x_it - log sum_{j in R_t} exp(h'x_jt)] - sum_k (h_k sd_k / prior)^2 / 2

    where sd_k is the standard deviation of x_k within risk sets. The standard errors are of its second derivatives.

    Parameters
    ----------
    risk_sets : sequence of RiskSet
        One a period with adopters, of the same p columns. Values that are not observed (NaN) stand at the mean of
        their risk set.
    prior : float
        Standard deviation of the normal prior; infinite for none.
    """
    centred = [_centred(risk.x) for risk in risk_sets]
    variance = np.mean([x.var(axis=0) for x in centred], axis=0)
    ratios, p = np.zeros(len(variance)), len(variance)
    precision = np.diag(variance / prior**2)
    # What does not vary in any risk set has a ratio of zero.
    precision[variance <= 1e-12, variance <= 1e-12] = 1.0
    value = -np.inf
    step: FloatArray = np.zeros(p)
    for _ in range(STEPS):
        trial = ratios + step
        likelihood, score, information = _derivatives(trial, centred, risk_sets)
        likelihood -= float(trial @ precision @ trial) / 2
        if likelihood < value:
            step = step / 2
            continue
        ratios, value = trial, likelihood
        step = np.asarray(np.linalg.solve(information + precision, score - precision @ ratios))
        if np.abs(step).max() < CONVERGED:
            break
    information = _derivatives(ratios, centred, risk_sets)[2] + precision
    return Hazard(ratios, np.sqrt(np.diag(np.linalg.inv(information))))


def _centred(x: FloatArray) -> FloatArray:
    """Return columns less their means, zero where not observed, shape (n, p)."""
    seen = ~np.isnan(x)
    means = np.where(seen, x, 0.0).sum(axis=0) / np.maximum(seen.sum(axis=0), 1)
    return np.where(seen, x - means, 0.0)


def _derivatives(
    ratios: FloatArray, centred: Sequence[FloatArray], risk_sets: Sequence[RiskSet]
) -> tuple[float, FloatArray, FloatArray]:
    """Return the log partial likelihood, its gradient, shape (p,), and its negative Hessian, shape (p, p)."""
    p = len(ratios)
    value, score, information = 0.0, np.zeros(p), np.zeros((p, p))
    for x, risk in zip(centred, risk_sets, strict=True):
        index = x @ ratios
        top = index.max()
        share = np.exp(index - top)
        total = share.sum()
        share /= total
        adopters = int(risk.adopts.sum())
        mean = share @ x
        value += index[risk.adopts].sum() - adopters * (top + np.log(total))
        score += x[risk.adopts].sum(axis=0) - adopters * mean
        information += adopters * ((x * share[:, None]).T @ x - np.outer(mean, mean))
    return float(value), score, information
