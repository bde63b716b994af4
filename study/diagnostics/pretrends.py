"""What a test for pre-trends would have missed, and what passing it does to an estimate: Roth (2022)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from study.core import FloatArray, QuestionError, checked, quantile
from study.diagnostics.event_path import EventPath, event_path
from study.diagnostics.pretest import Pretest, detectable_slopes, mean_after_passing, pretest
from study.estimates import Estimate

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

WHO = "pretrends"


@dataclass(frozen=True, eq=False)
class Pretrends:
    """What a test for pre-trends says about violations of parallel trends.

    Attributes
    ----------
    path : EventPath
        The K estimated coefficients by event time.
    violation : ndarray, shape (K,)
        Difference in trends that is hypothesised, which is the coefficients' bias.
    after_passing : ndarray, shape (K,), or None
        Expected coefficients if there is no effect, over estimates that pass the test; None where fewer than one
        in a million passes.
    pretest : Pretest
        Under this violation.
    slopes : dict of float to float
        By power: the slope of the linear trend that the test detects with it.
    slope : float or None
        Slope of the violation if it is linear by construction.
    level : float
    design, outcome, unit : str
        The unit of the coefficients follows their number.
    factor : float
        By which coefficients are multiplied to have that unit.
    """

    path: EventPath
    violation: FloatArray
    after_passing: FloatArray | None
    pretest: Pretest
    slopes: dict[float, float]
    slope: float | None
    level: float
    design: str
    outcome: str
    unit: str
    factor: float

    @property
    def title(self) -> str:
        """The heading."""
        return f"What the pre-trend test of {self.design} could have missed"

    @property
    def rejected(self) -> NDArray[np.bool_]:
        """Which coefficients before treatment are significant, shape (n_pre,)."""
        n_pre = self.path.n_pre
        t = self.path.effect[:n_pre] / np.sqrt(np.diag(self.path.covariance)[:n_pre])
        return np.asarray(np.abs(t) > quantile((1 + self.level) / 2))

    @property
    def sentences(self) -> tuple[str, ...]:
        """What the test could have missed, in sentences."""
        return (
            self._outcome_of_test(),
            *(self._missed(power, slope) for power, slope in self.slopes.items()),
            self._under_violation(),
            self._weight_of_evidence(),
            self._bias(),
        )

    def _outcome_of_test(self) -> str:
        n, found = self.path.n_pre, int(self.rejected.sum())
        times = self.path.event_time[:n]
        which = (
            f"the coefficient at event time {times[0]:g}"
            if n == 1
            else (f"any of the {n} coefficients at event times {times[0]:g} to {times[-1]:g}")
        )
        answer = (
            "none is, so it passes."
            if not found
            else (
                f"{found} {'is' if found == 1 else 'are'}, so it does not pass, and what is expected after passing "
                "does not describe it."
            )
        )
        return (
            f"The test rejects parallel trends before treatment if {which} is significant at "
            f"{1 - self.level:.2g}; in this estimate {answer}"
        )

    def _missed(self, power: float, slope: float) -> str:
        e, effect = self.path.event_time[-1], self.path.effect[-1]
        reached = slope * (e - self.path.reference)
        share = f", {abs(reached / effect):.0%} of the effect estimated there" if effect else ""
        return (
            f"A linear trend of {self._amount(slope)} a period, up or down, would pass this test in "
            f"{1 - power:.0%} of samples; by event time {e:g} it would amount to {self._amount(reached)}{share} "
            f"({self._amount(effect)})."
        )

    def _under_violation(self) -> str:
        found = self.pretest
        return (
            f"Under {self._named} the test would reject with probability {found.power:.2f}, and the joint Wald "
            f"test of the same coefficients with {found.wald_power:.2f}; under parallel trends the test rejects "
            f"with {found.size:.2f}."
        )

    def _weight_of_evidence(self) -> str:
        found = self.pretest
        return (
            f"To pass the test is {_times(found.bayes_factor)} as likely under that violation as under parallel "
            f"trends, and the coefficients estimated before treatment are {_times(found.likelihood_ratio)} as "
            "likely."
        )

    def _bias(self) -> str:
        n, path = self.path.n_pre, self.path
        start = (
            f"The violation alone would give the coefficients at event times {path.event_time[n]:g} to "
            f"{path.event_time[-1]:g} a mean of {self._amount(self.violation[n:].mean())}"
        )
        estimated = f"the mean estimate is {self._amount(path.effect[n:].mean())}."
        if self.after_passing is None:
            return (
                f"{start}; {estimated} Fewer than one sample in a million would pass the test, so no mean "
                "after passing is computed."
            )
        after = self._amount(self.after_passing[n:].mean())
        return f"{start}, and of {after} in samples that pass the test; {estimated}"

    @property
    def _named(self) -> str:
        if self.slope is None:
            return "the hypothesised violation"
        return f"a linear trend of {self._amount(self.slope)} a period"

    @property
    def _label(self) -> str:
        return "violation" if self.slope is None else f"violation, {self.factor * self.slope:.3g} a period"

    def _amount(self, value: float) -> str:
        space = " " if self.unit and not self.unit.startswith("%") else ""
        return f"{self.factor * value:.3g}{space}{self.unit}"

    def tidy(self) -> pd.DataFrame:
        """Return one row a coefficient; the reference, zero by normalisation, has none.

        Returns
        -------
        DataFrame
            event_time, estimate, std_error, violation, and (unless hardly any estimate passes) after_passing.
        """
        import pandas as pd

        table = {
            "event_time": self.path.event_time,
            "estimate": self.path.effect,
            "std_error": np.sqrt(np.diag(self.path.covariance)),
            "violation": self.violation,
        }
        return pd.DataFrame(
            table if self.after_passing is None else {**table, "after_passing": self.after_passing}
        )

    def plot(self) -> Figure:
        """Draw the estimates, the violation, and what it would make of estimates that pass the test."""
        from study.figures import COLOUR, GREY, SECOND, THIRD
        from study.figures.canvas import canvas, legend_above

        path, factor = self.path, self.factor
        times = np.insert(path.event_time, path.n_pre, path.reference)
        half = factor * quantile((1 + self.level) / 2) * np.sqrt(np.diag(path.covariance))
        with canvas(height=3.3) as figure:
            from matplotlib.ticker import MaxNLocator

            axis = figure.subplots()
            axis.axhline(0, color=GREY, linewidth=0.8)
            axis.axvline(path.reference + 0.5, color=GREY, linewidth=0.8, linestyle=":")
            axis.errorbar(
                path.event_time,
                factor * path.effect,
                yerr=half,
                fmt="o",
                markersize=3.5,
                color=COLOUR,
                linewidth=1.1,
                label=f"estimate, {self.level:.0%} interval",
            )
            axis.plot(
                times,
                factor * np.insert(self.violation, path.n_pre, 0.0),
                "--",
                color=SECOND,
                linewidth=1.2,
                label=self._label,
            )
            if self.after_passing is not None:
                axis.plot(
                    times,
                    factor * np.insert(self.after_passing, path.n_pre, 0.0),
                    "-^",
                    color=THIRD,
                    linewidth=0.9,
                    markersize=4,
                    label="expected after passing, no effect",
                )
            axis.plot(path.reference, 0, "o", markersize=4, mfc="white", mec=COLOUR)
            axis.xaxis.set_major_locator(MaxNLocator(integer=True))
            axis.set_xlabel("Periods since first treated")
            axis.set_ylabel(f"Effect on {self.outcome}{',' if self.unit else ''}\n{self.unit}".strip())
            legend_above(figure, axis, 2, 8)
        return figure


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
) -> Pretrends:
    """Return what the test for pre-trends would have missed, and the bias among estimates that pass it.

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
    Pretrends

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
    unit, factor = _unit(fit)
    return Pretrends(
        path=path,
        violation=hypothesised,
        after_passing=mean_after_passing(path, hypothesised, critical),
        pretest=pretest(path, hypothesised, critical),
        slopes=slopes,
        slope=slope,
        level=level,
        design=fit.design,
        outcome=fit.sample.question.outcome,
        unit=unit,
        factor=factor,
    )


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


def _unit(fit: Estimate) -> tuple[str, float]:
    """Return the unit that follows a coefficient in a sentence, and the factor that brings it there."""
    scale = fit.sample.question.effect_scale
    return ("" if scale.name == "level" else scale.column), float(scale.factor)


def _times(ratio: float) -> str:
    """Return a ratio in words."""
    if ratio < 1e-6:
        return "less than a millionth times"
    if ratio > 1e6:
        return "more than a million times"
    return f"{ratio:,.0f} times" if ratio >= 10 else f"{ratio:.2g} times"
