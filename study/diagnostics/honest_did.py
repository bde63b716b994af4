"""How strong a violation of parallel trends would overturn an effect (Rambachan and Roth 2023)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from textwrap import fill
from typing import Any, Literal

import numpy as np
import pandas as pd

from study.core import FloatArray, QuestionError, capital, counted, quantile, t_quantile
from study.diagnostics import Finding, Needs, Section, diagnostic
from study.diagnostics.event_path import EventPath, event_path, of_one_mean
from study.diagnostics.honest import METHODS, RESTRICTIONS, Problem, breakdown, slope_bounds
from study.estimates import Estimate
from study.figures import COLOUR, GREY, SECOND, Axes, Figure, on_axes

WHO = "honest_did"

Target = Literal["event_average"] | int | Sequence[float]

TITLES = {
    "relative_magnitudes": "Relative magnitudes (Rambachan and Roth)",
    "smoothness": "Bounded change of slope (smoothness)",
    "smoothness_relative": "Bounded change of slope, relative to those before",
}
OFFERED: dict[str, tuple[str, ...]] = dict.fromkeys(RESTRICTIONS, ("C-LF", "conditional"))
OFFERED["smoothness"] = tuple(METHODS)

DIFFERENCE = "the difference between treated and comparison units"
WITHIN = {
    "relative_magnitudes": " a period after treatment, without an effect, by at most {} times its largest change "
    "before",
    "smoothness": ", without an effect, by at most {}{} a period",
    "smoothness_relative": " after treatment, without an effect, by at most {} times its largest change before",
}
AXIS = {
    "relative_magnitudes": "M: change after treatment, as a multiple of the largest before",
    "smoothness": "M: change of slope a period, in units of the effect",
    "smoothness_relative": "M: change of slope after treatment, as a multiple of the largest before",
}
SETS = {
    "FLCI": "shortest intervals of fixed length",
    "conditional": "hulls of the effects that the conditional test does not reject",
    "C-LF": "hulls of the effects that the conditional test with a least favourable first stage does not reject",
    "C-F": "hulls of the effects that the conditional test with a fixed-length first stage does not reject",
}


_bounding = partial(
    diagnostic,
    section=Section.OVERTURNS,
    needs=(Needs.PATH,),
    reference="rambachanroth2023",
    shown=2,
    of_sums=True,
)


@_bounding(
    name="honest_relative_magnitudes",
    title=TITLES["relative_magnitudes"],
    question="How much may trends differ after treatment, relative to before, until the sign is not established?",
    given={"restriction": "relative_magnitudes"},
)
@_bounding(
    name="honest_smoothness",
    title=TITLES["smoothness"],
    question="How much may the slope of the difference in trends change until the sign is not established?",
    given={"restriction": "smoothness"},
)
def honest_did(
    fit: Estimate,
    *,
    restriction: Literal["relative_magnitudes", "smoothness", "smoothness_relative"] = "relative_magnitudes",
    method: Literal["auto", "FLCI", "conditional", "C-LF", "C-F"] = "auto",
    M: Sequence[float] | None = None,
    target: Target = "event_average",
    before: int | None = None,
    after: int | None = None,
    level: float = 0.95,
) -> Finding:
    """Return intervals for an effect that hold if parallel trends fail by a bounded amount.

    Nothing is simulated: critical values are integrated, and the ends of the sets are found by bisection.
    An interval for M holds for every smaller one too, but need not contain the intervals of those: the estimator that
    a fixed-length one is around changes with M, and so do the critical values of hybrid tests.

    Effects by event time are taken as normal with a known covariance, as in the paper. Where the estimate's ``vcov``
    has t intervals, it is the covariance with which the normal interval under parallel trends is as wide as that of t,
    so that with few treated clusters intervals cover more nearly what they say. That leaves out that fixed-length
    intervals choose weights by the covariance as estimated: with few clusters on a side they cover too seldom.

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
    Finding
        The frame has a row for the interval under parallel trends, whose M is NaN, and one for each M: restriction,
        method, M, conf_low, conf_high (the hull where a set may have gaps), excludes_zero. Details: ``estimate`` and
        ``std_error`` under parallel trends; ``breakdown``, the largest M for which zero is outside the interval, None
        if there is none; ``sign_change``, the least M for which the bounds at the estimates contain zero, sampling
        error set aside; ``restriction``; ``n_pre`` and ``n_post``, event times before and after the reference;
        ``left_out``, which are left out and why; and, for "smoothness", ``bounds_before``, one-sided lower and upper
        bounds on the largest change of slope before treatment, None with one event time.

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
    offered = OFFERED[restriction]
    chosen = offered[0] if method == "auto" else method
    if chosen not in offered:
        raise QuestionError(
            f'{WHO}: method "{method}" is not offered for restriction "{restriction}"; take {" or ".join(offered)}.'
        )
    if not 0.5 <= level < 1:
        raise QuestionError(f"{WHO}: level is {level}; it must be at least 0.5 and less than 1.")
    needs_pre = 2 if restriction == "smoothness_relative" else 1
    path = event_path(fit, WHO, before=before, after=after, needs_pre=needs_pre)
    n_pre, (weights, label) = path.n_pre, _weights(target, path)
    limits = RESTRICTIONS[restriction](n_pre, path.n_post)
    degrees = float(np.min(np.broadcast_to(path.degrees, path.effect.shape)[n_pre:][weights != 0]))
    if isinstance(target, str):
        degrees = fit.aggregate("event_average", horizon=int(path.event_time[-1])).degrees_of_freedom[0]
    # The normal interval of the target is then as wide as its t interval.
    wider = t_quantile((1 + level) / 2, degrees) / quantile((1 + level) / 2)
    covariance = wider**2 * path.covariance
    problem = Problem(path.effect, covariance, weights, limits, level)
    if restriction != "smoothness" and not problem.largest_bias > 0:
        raise QuestionError(
            f'{WHO}: effects before treatment do not change at all; use restriction="smoothness".'
        )
    bounds = None
    if restriction == "smoothness" and n_pre > 1:
        bounds = slope_bounds(path.effect[:n_pre], covariance[:n_pre, :n_pre], level)
    if M is not None:
        strengths = _strengths(M)
    elif restriction == "smoothness":
        largest = np.sqrt(path.covariance[0, 0]) if bounds is None else bounds[1]
        strengths = largest * np.linspace(0, 1, 5)
    else:
        strengths = np.array([0.5, 1.0, 1.5, 2.0])
    estimate, half = problem.estimate, quantile((1 + level) / 2) * problem.std_error
    low, high = METHODS[chosen](problem, strengths)
    rows = [("parallel_trends", "original", np.nan, estimate - half, estimate + half)]
    rows += [(restriction, chosen, *row) for row in zip(strengths, low, high, strict=True)]
    frame = pd.DataFrame(rows, columns=["restriction", "method", "M", "conf_low", "conf_high"])
    frame["excludes_zero"] = (frame["conf_low"] > 0) | (frame["conf_high"] < 0)
    value, scale = breakdown(problem, chosen), fit.sample.question.effect_scale
    share = "share " if scale.percent else ""
    outcome = scale.outcome if scale.name == "level" else f"{scale.outcome}, {share}{scale.unit}"
    unit = f" {scale.unit}" if scale.name == "level" else f" ({share}{scale.unit})"
    details: dict[str, Any] = {
        "estimate": estimate,
        "std_error": problem.std_error / wider,
        "breakdown": value,
    }
    details |= {"sign_change": problem.overturning, "restriction": restriction}
    details |= {"n_pre": n_pre, "n_post": path.n_post, "bounds_before": bounds, "left_out": path.left_out}
    verdict, *evidence = _sentences(fit.design, problem, frame, f"{label} on {outcome}", unit, details)
    ylabel = f"Effect on {outcome}, {100 * level:g}% interval"
    return Finding.of(
        [path.qualified(verdict), *evidence, *of_one_mean(fit.sample.question)],
        frame,
        partial(_chart, estimate=estimate, breakdown=value, ylabel=ylabel, title=capital(label)),
        name=f"honest_{restriction}",
        title=TITLES[restriction],
        details=details,
    )


def _sentences(
    design: str, problem: Problem, frame: pd.DataFrame, effect: str, unit: str, details: Mapping[str, Any]
) -> Iterator[str]:
    """Yield the verdict on a breakdown value, and what it rests on."""
    value, bounds = details["breakdown"], details["bounds_before"]
    limits, estimate, sure = problem.restriction, problem.estimate, f"{100 * problem.level:g}%"
    restriction, method = frame[["restriction", "method"]].iloc[-1]
    bounded = DIFFERENCE if restriction == "relative_magnitudes" else f"the slope of {DIFFERENCE}"

    def within(m: str) -> str:
        """Say what the restriction allows."""
        return f"{bounded} changes{WITHIN[restriction].format(m, unit)}"

    if value is None:
        yield (
            f"The {sure} interval includes zero whatever the bound on changes of {bounded}, so there is no breakdown "
            "value."
        )
    else:
        yield (
            f"The {sure} interval excludes zero as long as {within(f'{value:.3g}')} (the breakdown value)."
        )
    rounding = 1e-8 * np.abs(problem.betahat).max()
    moved = not np.isclose(problem.centre, estimate, atol=rounding)
    around = f", which then lies around {problem.centre:.3g} instead of {estimate:.3g}{unit}," * moved
    yield (
        f"Sampling error set aside, the sign of the effect{around} is "
        f"known as long as {within(f'{problem.overturning:.3g}')}."
    )
    parallel, *others = (f"[{row.conf_low:.4g}, {row.conf_high:.4g}]" for row in frame.itertuples())
    yield (
        f"Under parallel trends the {effect} is {estimate:.4g} with {sure} interval {parallel} ({design}, "
        f"{counted(limits.n_pre, 'event time')} before the reference and {len(problem.weights)} after)."
    )
    if len(limits.before):
        largest, known = np.abs(limits.before @ problem.betahat).max(), ""
        if bounds is not None:
            known = f" ({sure} one-sided bounds on the largest change: {bounds[0]:.4g} and {bounds[1]:.4g})"
        yield f"Before treatment {bounded} changes by at most {largest:.4g} from one period to the next{known}."
    else:
        yield (
            "With one event time before the reference no change of slope is seen, so the data say nothing of M."
        )
    by_strength = "; ".join(f"M = {m:.4g}: {ends}" for m, ends in zip(frame["M"][1:], others, strict=True))
    yield f"If {within('M')}, the {sure} intervals are {by_strength} ({method}, {SETS[method]})."


def _chart(
    frame: pd.DataFrame, ax: Axes | None, estimate: float, breakdown: float | None, ylabel: str, title: str
) -> Figure:
    """Draw the interval under parallel trends and those for each M, with the breakdown value."""
    original, rows = frame.iloc[0], frame.iloc[1:].sort_values("M")
    strengths = rows["M"].to_numpy()
    steps = np.diff(np.unique(strengths))
    step = float(np.median(steps)) if len(steps) else 0.5
    left, right = strengths[0] - step, strengths[-1] + step / 2
    with on_axes(ax, legend=3) as (figure, axis):
        axis.axhline(0, color=GREY, linewidth=0.8)
        ends = original["conf_low"], original["conf_high"]
        axis.vlines(left, *ends, color=SECOND, linewidth=3, label="under parallel trends")
        axis.plot(left, estimate, "o", color=SECOND, markersize=5)
        by_m = f"{rows['method'].iloc[0]}, by M"
        axis.vlines(strengths, rows["conf_low"], rows["conf_high"], color=COLOUR, linewidth=3, label=by_m)
        if breakdown is not None and breakdown <= strengths[-1] + step:
            right = max(right, breakdown + step / 4)
            label = f"breakdown value {breakdown:.3g}"
            axis.axvline(breakdown, color=GREY, linestyle="--", linewidth=1.0, label=label)
        axis.set_xticks([left, *strengths], ["original", *(f"{m:.3g}" for m in strengths)])
        axis.set_xlim(left - step / 2, right)
        axis.set_ylabel(fill(ylabel, 40), fontsize=8)
        axis.set_title(title)
        xlabel = figure.supxlabel if ax is None else axis.set_xlabel
        xlabel(AXIS[rows["restriction"].iloc[0]], fontsize=8)
    return figure


def _strengths(given: Sequence[float]) -> FloatArray:
    """Return the values of M that are asked for, or refuse."""
    values = np.array(given, dtype=float)
    if not len(values):
        raise QuestionError(f"{WHO}: M is {given!r}; give a sequence of numbers, such as [0.5, 1, 2].")
    wrong = values[~(np.isfinite(values) & (values >= 0))]
    if len(wrong):
        raise QuestionError(f"{WHO}: M contains {wrong[0]:g}; each must be a number that is not negative.")
    return values


def _weights(target: Target, path: EventPath) -> tuple[FloatArray, str]:
    """Return weights on the event times after the reference, and what they weight."""
    times = path.event_time[path.n_pre :]
    if isinstance(target, str):
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
