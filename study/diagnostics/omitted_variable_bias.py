"""Omitted variables: the bias in terms of partial R2 (Cinelli and Hazlett 2020), and observed ones as benchmarks.

Z is the omitted variable, D treatment, Y the outcome, X the covariates and fixed effects of the regression.
R2_D is the partial R2 of Z with D given X, and R2_Y that of Z with Y given X and D.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from study.core import FloatArray, QuestionError, listed, quantile, refuse_unknown
from study.panel import Sample, Scale


class Adjusted(NamedTuple):
    """What the regression with the omitted variable would give: estimate, standard error, t and interval."""

    estimate: FloatArray
    std_error: FloatArray
    statistic: FloatArray
    conf_low: FloatArray
    conf_high: FloatArray


def partial_r2(statistic: float, dof: float) -> float:
    """Return the partial R2 of a regressor with the outcome, t^2 / (t^2 + dof) (their section 4.1)."""
    return statistic**2 / (statistic**2 + dof)


def partial_f(statistic: float, dof: float) -> float:
    """Return the absolute partial Cohen f, |t| / sqrt(dof)."""
    return abs(statistic) / math.sqrt(dof)


def critical_f(dof: float, level: float, ratio: float = 1.0, degrees: float | None = None) -> float:
    """Return the f that the confounded estimate has to keep to differ from zero, t* / sqrt(dof - 1).

    Parameters
    ----------
    dof : float
        Residual degrees of freedom without the omitted variable.
    level : float
        Of the interval.
    ratio : float
        Clustered over classical standard error, if the interval is to be a clustered one.
    degrees : float, optional
        Degrees of freedom of t*: G - 1 for clustered errors, by default dof - 1.
    """
    t_star = quantile((1 + level) / 2, dof - 1 if degrees is None else degrees)
    return ratio * t_star / math.sqrt(dof - 1)


def robustness_value(f: float, q: float = 1.0, f_star: float = 0.0) -> float:
    """Return the R2_D = R2_Y that reduces the estimate by a share q, or leaves its interval at that value.

    Their section 4.1, with f_q = q f, and for intervals f_q - f* in its place. If q f f* >= 1 the worst
    confounder up to that R2 does not have R2_Y = R2_D, since a higher R2_Y shrinks the standard error more
    than it adds bias; the value is then the extreme one.
    """
    if q * f * f_star >= 1:
        return extreme_robustness_value(f, q, f_star)
    left = max(q * f - f_star, 0.0)
    return (math.sqrt(left**4 + 4 * left**2) - left**2) / 2


def extreme_robustness_value(f: float, q: float = 1.0, f_star: float = 0.0, r2_outcome: float = 1.0) -> float:
    """Return the R2_D that does so with no limit on R2_Y, or (for f* = 0) at a given R2_Y.

    Their section 5.3: R2_Y R2_D / (1 - R2_D) = f_q^2. With f* the largest shift that R2_Y
    in [0, 1] allows is sqrt((R2_D + f*^2) / (1 - R2_D)).
    """
    squared = (q * f) ** 2
    return max(squared - f_star**2, 0.0) / (r2_outcome + squared)


def adjusted(
    estimate: float,
    std_error: float,
    dof: float,
    r2_treatment: ArrayLike,
    r2_outcome: ArrayLike,
    level: float = 0.95,
    ratio: float = 1.0,
    degrees: float | None = None,
    omitted: ArrayLike = 1,
) -> Adjusted:
    """Return the estimate with the omitted variable and its interval, classical or, with a ratio, clustered.

    Their section 3.2, if omitting it made the estimate larger in absolute size; arrays of any one shape. ``omitted`` is
    0 where there is no such variable, which takes no degree of freedom then.

    ``ratio`` and ``degrees`` are those of :func:`critical_f`: the clustered error is taken to change with the
    omitted variable by the factor by which the classical one does. The classical interval has dof degrees of
    freedom, as in sensemakr, though its robustness value has dof - 1.
    """
    r2_d, r2_y = np.asarray(r2_treatment, dtype=float), np.asarray(r2_outcome, dtype=float)
    bias = std_error * math.sqrt(dof) * np.sqrt(r2_y * r2_d / (1 - r2_d))
    value = np.asarray(estimate - math.copysign(1.0, estimate) * bias)
    freedom = np.sqrt(dof / (dof - np.asarray(omitted)))
    error = ratio * (std_error * freedom * np.sqrt((1 - r2_y) / (1 - r2_d)))
    half = quantile((1 + level) / 2, dof if degrees is None else degrees) * error
    with np.errstate(divide="ignore", invalid="ignore"):
        statistic = np.where(error > 0, value / error, np.copysign(np.inf, value))
    return Adjusted(value, error, statistic, value - half, value + half)


def bound(
    r2_treatment: float, r2_outcome: float, k_treatment: float, k_outcome: float
) -> tuple[float, float] | None:
    """Return R2_D and the largest R2_Y of a confounder k times as strong as a benchmark.

    Section 4.4 and its appendix: the confounder explains k_treatment times as much of D, and k_outcome times
    as much of Y, as the benchmark does, each given the other covariates.

    Parameters
    ----------
    r2_treatment, r2_outcome : float
        Partial R2 of the benchmark with D given the other covariates, and with Y given those and D.
    k_treatment, k_outcome : float

    Returns
    -------
    (float, float) or None
        None if no variable can be that strong, given what the benchmark explains of treatment. R2_Y is at
        most one.
    """
    r2_d = k_treatment * r2_treatment / (1 - r2_treatment)
    if r2_d >= 1 or k_treatment * r2_treatment >= 1:
        return None
    between = k_treatment * r2_treatment**2 / ((1 - k_treatment * r2_treatment) * (1 - r2_treatment))
    if between >= 1:
        return None
    eta = (math.sqrt(k_outcome) + math.sqrt(between)) / math.sqrt(1 - between)
    return r2_d, min(eta**2 * r2_outcome / (1 - r2_outcome), 1.0)


Groups = tuple[tuple[str, ...], ...]
Multiples = Sequence[float | tuple[float, float]]
# Kind, term, strength with treatment and with the outcome, benchmark, multiple.
Row = tuple[str, str, float, float, str, str]


def as_strong_as(
    benchmark: str,
    multiples: Multiples,
    strength: Callable[[float, float], tuple[float, float] | None],
    explained: str,
) -> tuple[list[Row], list[str]]:
    """Return confounders that are multiples as strong as a benchmark, and a sentence on those that cannot exist.

    Parameters
    ----------
    benchmark : str
    multiples : sequence of float or (float, float)
    strength : callable
        From how many times as strong with treatment and with the outcome to the strengths; None if there is none.
    explained : str
        What a confounder that is too strong would explain more of than is left.

    Returns
    -------
    list of (kind, term, float, float, benchmark, multiple), list of str
        The multiple as figures show it: one number, or that with treatment / that with the outcome.
    """
    rows: list[Row] = []
    too_strong = []
    for k_treatment, k_outcome in map(pair, multiples):
        shown, times = f"{k_treatment:g}", "" if k_treatment == 1 else f"{k_treatment:g} times "
        if k_treatment != k_outcome:
            shown = f"{k_treatment:g}/{k_outcome:g}"
            times = f"{k_treatment:g} times with treatment and {k_outcome:g} times with the outcome "
        limits = strength(k_treatment, k_outcome)
        if limits is None:
            too_strong.append(shown)
        else:
            rows.append(("bound", f"{times}as strong as {benchmark}", *limits, benchmark, shown))
    sentence = (
        f"times as strong as {benchmark}: it would explain more of {explained} than is left to explain."
    )
    return rows, [f"No confounder can be {listed(too_strong, 'or')} {sentence}"] if too_strong else []


def pair(multiple: float | tuple[float, float]) -> tuple[float, float]:
    """Return how many times as strong with treatment and with outcome."""
    return (multiple[0], multiple[1]) if isinstance(multiple, tuple) else (multiple, multiple)


def benchmark_groups(sample: Sample, benchmarks: Sequence[str | tuple[str, ...]] | None) -> Groups:
    """Return the benchmarks as groups of covariates of the question.

    Raises
    ------
    QuestionError
        If there are none, or one is not among the question's covariates.
    """
    known = sample.covariates
    if not known:
        raise QuestionError(
            "sensitivity: there are no covariates to serve as benchmarks; name some in Question.covariates."
        )
    if benchmarks is None:
        return (*((name,) for name in known), *((known,) if len(known) > 1 else ()))
    groups = tuple((b,) if isinstance(b, str) else tuple(b) for b in benchmarks)
    if not groups or not all(groups):
        raise QuestionError(f"sensitivity: benchmarks is empty; name covariates, such as {known[0]}.")
    names = [name for group in groups for name in group]
    for name in names:
        if name not in known and name in sample.panel.covariates:
            raise QuestionError(
                f"sensitivity: benchmark {name} is no covariate of the question; add it to Question.covariates."
            )
    refuse_unknown("benchmark", names, known, "sensitivity")
    return groups


def without(sample: Sample, group: Iterable[str]) -> Sample:
    """Return the sample of the question without some of its covariates."""
    names = sample.covariates
    others = [k for k, name in enumerate(names) if name not in set(group)]
    left = tuple(names[k] for k in others)
    return replace(
        sample,
        question=sample.question.replace(covariates=left),
        covariates=left,
        x_baseline=sample.x_baseline[:, others],
        x_by_period=tuple(sample.x_by_period[k] for k in others),
    )


def units_of(sample: Sample) -> str:
    """Return what effects are measured in."""
    return Scale(sample.question.scale, f"units of {sample.question.outcome}").unit


def percent(share: float) -> str:
    """Return a share as a percentage with two significant digits, or "less than 0.01 %"."""
    value = 100 * share
    if value == 0 or value >= 0.01:
        return f"{value:.2g}%" if value < 10 else f"{value:.1f}%"
    return "less than 0.01 %"


def limit_includes(limit: str, goal: str, value: float) -> str:
    """Return from which robustness value on a limit of the estimate includes what it is to be brought to."""
    when = f"once a confounder explains {percent(value)} of each" if value > 0 else "without any confounder"
    return f"The {limit} includes {goal} {when}."
