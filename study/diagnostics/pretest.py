"""The test that any coefficient before treatment is significant: its power, and estimates that pass it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy import special

from study.core import FloatArray, QuestionError, quantile
from study.diagnostics.event_path import EventPath
from study.diagnostics.normal_box import box_probability, box_pull

HARDLY_EVER = 1e-6
LARGEST_LOG = 700.0


class Pretest(NamedTuple):
    """What the test of the coefficients before treatment does under a violation of parallel trends.

    Attributes
    ----------
    power, size : float
        Probability that any |t| exceeds the critical value, under the violation and under parallel trends.
    wald_power : float
        Probability that the joint Wald test of the same coefficients rejects, under the violation.
    bayes_factor : float
        Probability of passing under the violation over that under parallel trends.
    likelihood_ratio : float
        Likelihood of the estimated coefficients under the violation over that under parallel trends.
    """

    power: float
    size: float
    wald_power: float
    bayes_factor: float
    likelihood_ratio: float


def rejection_probability(violation: FloatArray, covariance: FloatArray, critical: float) -> float:
    """Return the probability that any |t| exceeds the critical value, for coefficients with these means."""
    edge = critical * np.sqrt(np.diag(covariance))
    return 1 - box_probability(-edge, edge, violation, covariance)


def wald_rejection_probability(violation: FloatArray, covariance: FloatArray, level: float) -> float:
    """Return the probability that the joint Wald test rejects, from the non-central chi-squared distribution."""
    noncentrality = float(violation @ np.linalg.solve(covariance, violation))
    threshold = special.chdtri(len(violation), 1 - level)
    return float(1 - special.chndtr(threshold, len(violation), noncentrality))


def detectable_slopes(path: EventPath, powers: Sequence[float], critical: float) -> dict[float, float]:
    """Return, by power, the slope of the linear trend that the test detects with it.

    The probability that a normal variable lies in a box around zero falls as its mean moves away along a line
    (Anderson 1955), so there is one such slope; the sign does not matter.

    Raises
    ------
    QuestionError
        If a power is not above the test's size.
    """
    from scipy.optimize import brentq

    direction = path.event_time[: path.n_pre] - path.reference
    covariance = path.covariance[: path.n_pre, : path.n_pre]
    unit = float(np.min(np.sqrt(np.diag(covariance)) / np.abs(direction)))

    def power_at(multiple: float) -> float:
        return rejection_probability(multiple * unit * direction, covariance, critical)

    size, slopes = power_at(0.0), {}
    for power in powers:
        if power <= size:
            raise QuestionError(
                f"pretrends: power {power:g} is not above {size:.3f}, the probability that the {path.n_pre} t tests "
                "reject under parallel trends; ask for more."
            )
        most = critical + quantile(power) + 1.0  # one coefficient alone has the power by then
        slopes[power] = unit * float(brentq(lambda x, p=power: power_at(x) - p, 0.0, most, xtol=1e-10))
    return slopes


def pretest(path: EventPath, violation: FloatArray, critical: float) -> Pretest:
    """Return what the test does under a violation, shape (K,)."""
    n = path.n_pre
    covariance, mean = path.covariance[:n, :n], violation[:n]
    power = rejection_probability(mean, covariance, critical)
    size = rejection_probability(np.zeros(n), covariance, critical)
    level = 1 - 2 * float(special.ndtr(-critical))
    log_ratio = float(np.linalg.solve(covariance, mean) @ (path.effect[:n] - mean / 2))
    return Pretest(
        power=power,
        size=size,
        wald_power=wald_rejection_probability(mean, covariance, level),
        bayes_factor=(1 - power) / (1 - size),
        likelihood_ratio=float(np.exp(np.clip(log_ratio, -LARGEST_LOG, LARGEST_LOG))),
    )


def mean_after_passing(path: EventPath, violation: FloatArray, critical: float) -> FloatArray | None:
    """Return the expected coefficients under a violation over estimates that pass the test, shape (K,).

    Roth (2022), Proposition 1, with the mean of the truncated normal in closed form; None where fewer than one
    estimate in a million passes.
    """
    n = path.n_pre
    covariance, mean = path.covariance[:n, :n], violation[:n]
    if 1 - rejection_probability(mean, covariance, critical) < HARDLY_EVER:
        return None
    edge = critical * np.sqrt(np.diag(covariance))
    return np.asarray(violation + path.covariance[:, :n] @ box_pull(-edge, edge, mean, covariance))
