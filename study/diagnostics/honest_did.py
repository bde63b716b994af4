"""How strong a violation of parallel trends would overturn an effect (Rambachan and Roth 2023)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal

import numpy as np

from study.core import FloatArray, QuestionError, checked, quantile, unknown
from study.diagnostics.event_path import EventPath, event_path
from study.diagnostics.honest import slopes
from study.diagnostics.honest.finding import HonestDid
from study.diagnostics.honest.intervals import METHODS, Problem, breakdown
from study.diagnostics.honest.restrictions import (
    Restriction,
    relative_magnitudes,
    smoothness,
    smoothness_relative,
)
from study.estimates import Estimate

WHO = "honest_did"

Kind = Literal["relative_magnitudes", "smoothness", "smoothness_relative"]
Method = Literal["auto", "FLCI", "conditional", "C-LF", "C-F"]
Target = Literal["event_average"] | int | Sequence[float]

RESTRICTIONS: dict[str, Callable[[int, int], Restriction]] = {
    "relative_magnitudes": relative_magnitudes,
    "smoothness": smoothness,
    "smoothness_relative": smoothness_relative,
}
OFFERED = {
    "relative_magnitudes": ("C-LF", "conditional"),
    "smoothness": ("FLCI", "conditional", "C-LF", "C-F"),
    "smoothness_relative": ("C-LF", "conditional"),
}
NEEDED_BEFORE = {"relative_magnitudes": 1, "smoothness": 1, "smoothness_relative": 2}
MULTIPLES = (0.5, 1.0, 1.5, 2.0)
SHARES = (0.0, 0.25, 0.5, 0.75, 1.0)


@checked
def honest_did(
    fit: Estimate,
    *,
    restriction: Kind = "relative_magnitudes",
    method: Method = "auto",
    M: Sequence[float] | None = None,
    target: Target = "event_average",
    before: int | None = None,
    after: int | None = None,
    level: float = 0.95,
) -> HonestDid:
    """Return intervals for an effect that hold if parallel trends fail by a bounded amount.

    Nothing is simulated: critical values are integrated, and the ends of the sets are found by bisection.

    Parameters
    ----------
    fit : Estimate
        With effects by event time against one base period.
    restriction : {"relative_magnitudes", "smoothness", "smoothness_relative"}
        Changes of the differential trend after treatment are bounded by M times the largest before treatment; its
        slope changes by at most M a period; or changes of its slope are bounded by M times the largest before.
    method : {"auto", "FLCI", "conditional", "C-LF", "C-F"}
        "auto" is the shortest fixed-length interval ("FLCI") under "smoothness", and else the conditional test
        with a least favourable first stage ("C-LF"). "FLCI" and "C-F", whose first stage is a fixed-length
        interval, are for "smoothness" only. First stages have a tenth of the size.
    M : sequence of float, optional
        By default 0.5, 1, 1.5, 2 times the largest change before treatment; under "smoothness" 0, 1/4, 1/2, 3/4
        and 1 times the upper bound on the largest change of slope before treatment, or, with one event time
        before the reference, times its standard error.
    target : "event_average", int or sequence of float
        The average over event times from treatment on; the effect at one event time; or weights on the event
        times after the reference.
    before, after : int, optional
        Number of event times before the reference and last event time, as in
        :func:`study.diagnostics.event_path.event_path`: by default as many before as after, and the question's
        horizon.
    level : float
        Coverage, from 0.5 to less than 1.

    Returns
    -------
    HonestDid

    Raises
    ------
    QuestionError
        If a name is unknown, M or the level is out of range, the method is not offered for the restriction, the
        target has no event time, nothing changes before treatment, or the estimate has no event times that can be
        used (see :func:`study.diagnostics.event_path.event_path`).

    References
    ----------
    Rambachan and Roth (2023), "A More Credible Approach to Parallel Trends", Review of Economic Studies 90(5);
    Andrews, Roth and Pakes (2023), "Inference for Linear Conditional Moment Inequalities", same volume, 90(6).
    """
    chosen = _method(restriction, method)
    _check_numbers(M, level)
    path = event_path(fit, WHO, before=before, after=after, needs_pre=NEEDED_BEFORE[restriction])
    weights, label = _weights(target, path)
    limits = RESTRICTIONS[restriction](path.n_pre, path.n_post)
    problem = Problem(path.effect, path.covariance, weights, limits, level)
    largest = float(np.abs(limits.before @ path.effect).max()) if len(limits.before) else None
    if restriction != "smoothness" and not problem.largest_bias > 0:
        raise QuestionError(
            f"{WHO}: effects before treatment do not change at all, so there is no magnitude to compare with; use "
            'restriction="smoothness".'
        )
    bounds = _bounds_before(path, level) if restriction == "smoothness" else None
    strengths = _default(restriction, path, bounds) if M is None else np.array(M, dtype=float)
    low, high = METHODS[chosen](problem, strengths)
    post = path.effect[path.n_pre :]
    estimate, error = float(weights @ post), _deviation(weights, path)
    half = quantile((1 + level) / 2) * error
    return HonestDid(
        design=fit.design,
        outcome=_measured(fit),
        target=label,
        restriction=restriction,
        method=chosen,
        level=level,
        n_pre=path.n_pre,
        n_post=path.n_post,
        estimate=estimate,
        std_error=error,
        original=(estimate - half, estimate + half),
        M=strengths,
        low=low,
        high=high,
        breakdown=breakdown(problem, chosen),
        centre=problem.centre,
        overturning=problem.overturning,
        largest_before=largest,
        bounds_before=bounds,
    )


def _measured(fit: Estimate) -> str:
    """Name the outcome with the unit of its effects."""
    scale = fit.sample.question.effect_scale
    share = "share " if scale.percent else ""
    return scale.outcome if scale.name == "level" else f"{scale.outcome}, {share}{scale.unit}"


def _method(restriction: str, method: str) -> str:
    """Return the method that is meant, or refuse."""
    if restriction not in RESTRICTIONS:
        raise unknown("restriction", str(restriction), RESTRICTIONS, WHO)
    if method != "auto" and method not in METHODS:
        raise unknown("method", str(method), ("auto", *METHODS), WHO)
    offered = OFFERED[restriction]
    if method != "auto" and method not in offered:
        raise QuestionError(
            f'{WHO}: method "{method}" is not offered for restriction "{restriction}", whose methods are '
            f"{', '.join(offered)}."
        )
    return offered[0] if method == "auto" else method


def _check_numbers(strengths: Sequence[float] | None, level: float) -> None:
    if not 0.5 <= level < 1:
        raise QuestionError(f"{WHO}: level is {level}; it must be at least 0.5 and less than 1.")
    if strengths is None:
        return
    values = np.atleast_1d(np.asarray(strengths, dtype=float))
    if np.ndim(strengths) != 1 or not len(values):
        raise QuestionError(f"{WHO}: M is {strengths!r}; give a sequence of numbers, such as [0.5, 1, 2].")
    wrong = values[~(np.isfinite(values) & (values >= 0))]
    if len(wrong):
        raise QuestionError(f"{WHO}: M contains {wrong[0]:g}; each must be a number that is not negative.")


def _weights(target: Target, path: EventPath) -> tuple[FloatArray, str]:
    """Return weights on the event times after the reference, and what they weight."""
    times = path.event_time[path.n_pre :]
    if isinstance(target, str):
        if target != "event_average":
            raise unknown("target", target, ("event_average",), f"{WHO} (or an event time, or weights)")
        used = times >= 0
        if not used.any():
            raise QuestionError(f"{WHO}: no event time from treatment on is estimated; give one as target.")
        return used / used.sum(), f"average effect over event times {times[used][0]:g} to {times[-1]:g}"
    shown = ", ".join(f"{e:g}" for e in times)
    if np.ndim(target) == 0:
        if target not in times:
            raise QuestionError(
                f"{WHO}: target is {target}; the event times after the reference are {shown}."
            )
        return (times == target).astype(float), f"effect at event time {target}"
    weights = np.array(target, dtype=float)
    if weights.shape != times.shape or not np.isfinite(weights).all() or not weights.any():
        raise QuestionError(
            f"{WHO}: target has to be {len(times)} weights, not all zero, on event times {shown}; it is {target!r}."
        )
    return weights, "weighted effect"


def _bounds_before(path: EventPath, level: float) -> tuple[float, float] | None:
    """Return the bounds on the largest change of slope before treatment; None with one event time."""
    if path.n_pre < 2:
        return None
    effect, covariance = path.effect[: path.n_pre], path.covariance[: path.n_pre, : path.n_pre]
    return slopes.lower_bound(effect, covariance, level), slopes.upper_bound(effect, covariance, level)


def _default(restriction: str, path: EventPath, bounds: tuple[float, float] | None) -> FloatArray:
    if restriction != "smoothness":
        return np.array(MULTIPLES)
    scale = float(np.sqrt(path.covariance[0, 0])) if bounds is None else bounds[1]
    return scale * np.array(SHARES)


def _deviation(weights: FloatArray, path: EventPath) -> float:
    return float(np.sqrt(weights @ path.covariance[path.n_pre :, path.n_pre :] @ weights))
