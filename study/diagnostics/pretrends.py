"""What a test for pre-trends has the power to detect, and what passing it does to an estimate: Roth (2022)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from study.core import FloatArray, QuestionError, checked, quantile
from study.diagnostics.event_path import EventPath, event_path
from study.diagnostics.finding import Finding
from study.diagnostics.pretest import Pretest, detectable_slopes, mean_after_passing, pretest
from study.diagnostics.registry import Needs, Section, diagnostic
from study.estimates import Estimate
from study.figures import COLOUR, GREY, SECOND, THIRD, legend_above, on_axes

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    Amount = Callable[[float], str]

WHO = "pretrends"
TITLE = "Pre-trend test and its power (Roth)"


@diagnostic(
    "pretrends",
    title=TITLE,
    question="Is any effect before the event significant, and which pre-existing trends would the test not detect?",
    section=Section.AGAINST,
    needs=(Needs.PATH,),
    reference="roth2022",
    shown=2,
)
@checked
def pretrends(
    fit: Estimate,
    *,
    slope: float | None = None,
    violation: Mapping[float, float] | Sequence[float] | FloatArray | None = None,
    power: float | Sequence[float] = (0.5, 0.8),
    before: int | None = None,
    after: int | None = None,
    level: float = 0.95,
) -> Finding:
    """Return the power of the test for pre-trends, and the bias among estimates that pass it.

    The test rejects if any coefficient before treatment is significant on its own, as one reads an event-study
    figure. Coefficients are taken as normal with their covariance under the estimate's convention.

    Parameters
    ----------
    fit : Estimate
        With effects by event time and a universal base.
    slope : float, optional
        Of a linear violation of parallel trends, in the effects' unit a period: at event time e it amounts to
        slope x (e - reference). By default the slope that the test detects with the first power of ``power``,
        with the sign of the mean effect after treatment.
    violation : mapping of event time to value, or array of shape (K,), optional
        Any other violation; its values for all event times used but the reference, where it is zero.
    power : float or sequence of float
        For which to find the slopes of linear trends.
    before, after : int, optional
        Number of event times before the reference (by default at most as many as after it), and the last one
        (by default the question's horizon).
    level : float
        One less the size of each t test.

    Returns
    -------
    Finding
        The frame has a row a coefficient, but for the reference, which is zero by normalisation: event_time, estimate,
        std_error, violation (the difference in trends, which is the coefficient's bias) and, unless fewer than one
        estimate in a million passes, after_passing (the expected coefficient if there is no effect, over estimates
        that pass the test). Details: ``reference``, the event time; ``rejected``, which coefficients before treatment
        are significant, shape (n_pre,); ``slopes``, by power, of the linear trends that the test detects with it;
        ``slope`` of the violation, None where it is given by event time; ``pretest``, what the test does under the
        violation.

    Raises
    ------
    QuestionError
        If the estimate has no coefficients before treatment, another base than the universal one, one cluster
        or a singular covariance; if a power is not above the test's size; or if the violation does not fit.

    References
    ----------
    Roth, J. (2022). Pretest with caution: event-study estimates after testing for parallel trends. American
    Economic Review: Insights 4(3).
    """
    _check_range("level", level)
    powers = tuple(np.atleast_1d(np.asarray(power, dtype=float)).tolist())
    if not powers:
        raise QuestionError(f"{WHO}: power is empty; give at least one number between 0 and 1.")
    for value in powers:
        _check_range("power", value)
    if slope is not None and violation is not None:
        raise QuestionError(f"{WHO}: slope and violation are both given; give one of them.")
    if slope is not None and not np.isfinite(slope):
        raise QuestionError(f"{WHO}: slope is {slope}; it must be a finite number.")
    path = event_path(fit, WHO, before=before, after=after)
    critical = quantile((1 + level) / 2)
    if violation is None:
        slopes = detectable_slopes(path, powers, critical)
        sign = 1.0 if path.effect[path.n_pre :].mean() >= 0 else -1.0
        slope = sign * slopes[powers[0]] if slope is None else float(slope)
        hypothesised = slope * (path.event_time - path.reference)
    else:
        hypothesised = _violation(violation, path)
        slopes = detectable_slopes(path, powers, critical)
    frame = _frame(path, hypothesised, mean_after_passing(path, hypothesised, critical))
    rejected = np.abs(path.effect / np.sqrt(np.diag(path.covariance)))[: path.n_pre] > critical
    scale = fit.sample.question.effect_scale
    unit, factor = "" if scale.name == "level" else scale.column, float(scale.factor)
    amount = partial(_amount, unit=unit, factor=factor)
    test = pretest(path, hypothesised, critical)
    return Finding(
        name=WHO,
        title=TITLE,
        verdict=_on_test(path, rejected, level),
        evidence=(
            *(_on_power(path, power, trend, amount) for power, trend in slopes.items()),
            *_under_violation(test, slope, amount),
            _on_bias(frame, path.n_pre, amount),
        ),
        frame=frame,
        chart=partial(
            _chart,
            reference=path.reference,
            factor=factor,
            level=level,
            label="violation" if slope is None else f"violation, {factor * slope:.3g} a period",
            ylabel=f"Effect on {fit.sample.question.outcome}{',' if unit else ''}\n{unit}".strip(),
        ),
        against=bool(rejected.any()),
        objection=f"{rejected.sum()} of {path.n_pre} effects before treatment significant on their own at "
        f"{100 * (1 - level):.2g}%",
        details={
            "reference": path.reference,
            "rejected": rejected,
            "slopes": slopes,
            "slope": slope,
            "pretest": test,
        },
    )


def _frame(path: EventPath, violation: FloatArray, after_passing: FloatArray | None) -> pd.DataFrame:
    import pandas as pd

    table = pd.DataFrame(
        {
            "event_time": path.event_time,
            "estimate": path.effect,
            "std_error": np.sqrt(np.diag(path.covariance)),
            "violation": violation,
        }
    )
    return table if after_passing is None else table.assign(after_passing=after_passing)


def _on_test(path: EventPath, rejected: NDArray[np.bool_], level: float) -> str:
    count, times = int(rejected.sum()), path.event_time[: path.n_pre]
    which = f"the coefficient at event time {times[0]:g}"
    if len(times) > 1:
        which = f"any of the {len(times)} coefficients at event times {times[0]:g} to {times[-1]:g}"
    answer = "none is, so it passes."
    if count:
        answer = (
            f"{count} {'is' if count == 1 else 'are'}, so it does not pass, and what is expected after passing does "
            "not describe it."
        )
    return (
        f"The test rejects parallel trends before treatment if {which} is significant at {1 - level:.2g}; in this "
        f"estimate {answer}"
    )


def _on_power(path: EventPath, power: float, slope: float, amount: Amount) -> str:
    e, effect = path.event_time[-1], path.effect[-1]
    reached = slope * (e - path.reference)
    share = f", {abs(reached / effect):.0%} of the effect estimated there" if effect else ""
    return (
        f"A linear trend of {amount(slope)} a period, up or down, would pass this test in {1 - power:.0%} of samples; "
        f"by event time {e:g} it would amount to {amount(reached)}{share} ({amount(effect)})."
    )


def _under_violation(test: Pretest, slope: float | None, amount: Amount) -> Iterator[str]:
    violation = (
        "the hypothesised violation" if slope is None else f"a linear trend of {amount(slope)} a period"
    )
    yield (
        f"Under {violation} the test would reject with probability {test.power:.2f}, and the joint Wald test of the "
        f"same coefficients with {test.wald_power:.2f}; under parallel trends the test rejects with {test.size:.2f}."
    )
    yield (
        f"To pass the test is {_times(test.bayes_factor)} as likely under that violation as under parallel trends, and "
        f"the coefficients estimated before treatment are {_times(test.likelihood_ratio)} as likely."
    )


def _on_bias(frame: pd.DataFrame, n_pre: int, amount: Amount) -> str:
    after = frame[n_pre:]
    start = (
        f"The violation alone would give the coefficients at event times {after['event_time'].iloc[0]:g} to "
        f"{after['event_time'].iloc[-1]:g} a mean of {amount(after['violation'].mean())}"
    )
    estimated = f"the mean estimate is {amount(after['estimate'].mean())}."
    if "after_passing" not in frame:
        return (
            f"{start}; {estimated} Fewer than one sample in a million would pass the test, so no mean after passing "
            "is computed."
        )
    return (
        f"{start}, and of {amount(after['after_passing'].mean())} in samples that pass the test; {estimated}"
    )


def _amount(value: float, unit: str, factor: float) -> str:
    space = " " if unit and not unit.startswith("%") else ""
    return f"{factor * value:.3g}{space}{unit}"


def _chart(
    frame: pd.DataFrame,
    ax: Axes | None,
    reference: int,
    factor: float,
    level: float,
    label: str,
    ylabel: str,
) -> Figure:
    """Draw the estimates, the violation, and what it would make of estimates that pass the test."""
    from matplotlib.ticker import MaxNLocator

    times = frame["event_time"].to_numpy()
    n_pre = int(np.sum(times < reference))
    shown = factor * frame.drop(columns="event_time")
    with on_axes(ax, height=3.3) as (figure, axis):
        axis.axhline(0, color=GREY, linewidth=0.8)
        axis.axvline(reference + 0.5, color=GREY, linewidth=0.8, linestyle=":")
        axis.errorbar(
            times,
            shown["estimate"],
            yerr=quantile((1 + level) / 2) * shown["std_error"],
            fmt="o",
            markersize=3.5,
            color=COLOUR,
            linewidth=1.1,
            label=f"estimate, {level:.0%} interval",
        )
        paths = [("violation", label, "--", SECOND, 1.2)]
        if "after_passing" in shown:
            paths.append(("after_passing", "expected after passing, no effect", "-^", THIRD, 0.9))
        for column, words, look, colour, width in paths:
            values = np.insert(shown[column].to_numpy(), n_pre, 0.0)
            at = np.insert(times, n_pre, reference)
            axis.plot(at, values, look, color=colour, linewidth=width, markersize=4, label=words)
        axis.plot(reference, 0, "o", markersize=4, mfc="white", mec=COLOUR)
        axis.xaxis.set_major_locator(MaxNLocator(integer=True))
        axis.set_xlabel("Periods since first treated")
        axis.set_ylabel(ylabel)
        if ax is None:
            legend_above(figure, axis, 2, 8)
    return figure


def _violation(given: Mapping[float, float] | Sequence[float] | FloatArray, path: EventPath) -> FloatArray:
    """Return the violation in the order of the path's event times."""
    used = ", ".join(f"{e:g}" for e in path.event_time)
    if isinstance(given, Mapping):
        values = {float(e): v for e, v in given.items()}
        if values.pop(float(path.reference), 0.0) != 0:
            raise QuestionError(
                f"{WHO}: violation is zero at the reference {path.reference} by normalisation."
            )
        odd = sorted(set(values) ^ set(path.event_time.tolist()))
        if odd:
            which = "has no value for" if odd[0] in path.event_time else "has a value for the unknown"
            raise QuestionError(
                f"{WHO}: violation {which} event time {odd[0]:g}; give one for each of {used}."
            )
        given = [values[e] for e in path.event_time.tolist()]
    array: FloatArray = np.asarray(given, dtype=float)
    if array.shape != path.event_time.shape:
        raise QuestionError(
            f"{WHO}: violation has shape {array.shape}; give {len(path.event_time)} values, for event times {used}."
        )
    if not np.isfinite(array).all():
        raise QuestionError(f"{WHO}: violation has a value that is not a finite number.")
    return array


def _check_range(name: str, value: float) -> None:
    if not 0 < value < 1:
        raise QuestionError(f"{WHO}: {name} is {value:g}; it must lie between 0 and 1.")


def _times(ratio: float) -> str:
    """Return a ratio in words."""
    if ratio < 1e-6:
        return "less than a millionth times"
    if ratio > 1e6:
        return "more than a million times"
    return f"{ratio:,.0f} times" if ratio >= 10 else f"{ratio:.2g} times"
