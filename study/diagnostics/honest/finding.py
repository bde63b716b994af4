"""What a sensitivity analysis to violations of parallel trends answers with."""

from __future__ import annotations

from dataclasses import dataclass
from textwrap import fill
from typing import TYPE_CHECKING

import numpy as np

from study.core import FloatArray

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

AXIS = {
    "relative_magnitudes": "M: change after treatment, as a multiple of the largest before",
    "smoothness": "M: change of slope a period, in units of the effect",
    "smoothness_relative": "M: change of slope after treatment, as a multiple of the largest before",
}
LINE = 40


GAP = "the gap between treated and comparison units"
BEFORE = {
    "relative_magnitudes": f"{GAP} changes by at most {{}} from one period to the next",
    "smoothness": f"the slope of {GAP} changes by at most {{}} a period",
    "smoothness_relative": f"the slope of {GAP} changes by at most {{}} a period",
}
ALLOWED = {
    "relative_magnitudes": "the gap changes after treatment, without an effect, by at most M times as much a period as "
    "its largest change before",
    "smoothness": "the slope of the gap changes, without an effect, by at most M a period",
    "smoothness_relative": "the slope of the gap changes after treatment, without an effect, by at most M times its "
    "largest change before",
}
BOUNDED = {
    "relative_magnitudes": f"how much {GAP} changes after treatment without an effect",
    "smoothness": f"how much the slope of {GAP} changes a period",
    "smoothness_relative": f"how much the slope of {GAP} changes after treatment without an effect",
}
WITHIN = {
    "relative_magnitudes": f"{GAP} changes a period after treatment, without an effect, by at most {{}} times its "
    "largest change before",
    "smoothness": f"the slope of {GAP} changes, without an effect, by at most {{}} a period",
    "smoothness_relative": f"the slope of {GAP} changes after treatment, without an effect, by at most {{}} times its "
    "largest change before",
}
MADE = {
    "FLCI": "shortest intervals of fixed length",
    "conditional": "hulls of the effects that the conditional test does not reject",
    "C-LF": "hulls of the effects that the conditional test with a least favourable first stage does not reject",
    "C-F": "hulls of the effects that the conditional test with a fixed-length first stage does not reject",
}


@dataclass(frozen=True, eq=False)
class HonestDid:
    """Intervals for an effect that hold under bounded violations of parallel trends.

    Attributes
    ----------
    design, outcome : str
        The outcome with the unit of the effect, where it is not the outcome's own.
    target : str
        Which effect.
    restriction, method : str
    level : float
    n_pre, n_post : int
        Event times before and after the reference.
    estimate, std_error : float
        Under parallel trends.
    original : tuple of float
        The interval under parallel trends.
    M : ndarray, shape (m,)
        Multiples of the largest change before treatment; for "smoothness" changes of slope a period, in units of
        the effect.
    low, high : ndarray, shape (m,)
        The interval for each M: the hull where the set may have gaps.
    breakdown : float or None
        The largest M for which zero is outside the interval; None if there is none.
    centre : float
        The estimate around which the bounds are: with "smoothness" the last slope before treatment is extrapolated.
    overturning : float
        The least M for which the bounds on the effect at the estimates contain zero, sampling error set aside.
    largest_before : float or None
        The largest change before treatment, of the kind that is restricted; None if there is none.
    bounds_before : tuple of float or None
        For "smoothness": lower and upper bound, one-sided, on the largest change of slope before treatment.
    """

    design: str
    outcome: str
    target: str
    restriction: str
    method: str
    level: float
    n_pre: int
    n_post: int
    estimate: float
    std_error: float
    original: tuple[float, float]
    M: FloatArray
    low: FloatArray
    high: FloatArray
    breakdown: float | None
    centre: float
    overturning: float
    largest_before: float | None
    bounds_before: tuple[float, float] | None

    @property
    def title(self) -> str:
        """Heading."""
        return f"Sensitivity to violations of parallel trends: {self.target}, {self.design}"

    @property
    def sentences(self) -> tuple[str, ...]:
        """What was found."""
        return (
            self._about_breakdown,
            self._about_overturning,
            self._under_parallel_trends,
            self._about_before,
            self._about_intervals,
        )

    @property
    def _under_parallel_trends(self) -> str:
        return (
            f"Under parallel trends the {self.target} on {self.outcome} is {self.estimate:.4g} with "
            f"{_percent(self.level)} interval {_interval(*self.original)} ({self.design}, {self.n_pre} event times "
            f"before the reference and {self.n_post} after)."
        )

    @property
    def _about_before(self) -> str:
        if self.largest_before is None:
            return "With one event time before the reference no change of slope is seen, so the data say nothing of M."
        known = f"Before treatment {BEFORE[self.restriction].format(f'{self.largest_before:.4g}')}"
        if self.bounds_before is None:
            return f"{known}."
        low, high = self.bounds_before
        return f"{known} ({_percent(self.level)} one-sided bounds on the largest change: {low:.4g} and {high:.4g})."

    @property
    def _about_intervals(self) -> str:
        shown = "; ".join(
            f"M = {m:.4g}: {_interval(low, high)}"
            for m, low, high in zip(self.M, self.low, self.high, strict=True)
        )
        return (
            f"If {ALLOWED[self.restriction]}, the {_percent(self.level)} intervals are {shown} "
            f"({self.method}, {MADE[self.method]})."
        )

    @property
    def _about_breakdown(self) -> str:
        interval = f"{_percent(self.level)} interval"
        if self.breakdown is None:
            return (
                f"The {interval} includes zero whatever the bound on {BOUNDED[self.restriction]}, so there is no "
                "breakdown value."
            )
        return (
            f"The {interval} excludes zero as long as {WITHIN[self.restriction].format(f'{self.breakdown:.3g}')} (the "
            "breakdown value); a larger violation could explain the effect."
        )

    @property
    def _about_overturning(self) -> str:
        around = (
            ""
            if np.isclose(self.centre, self.estimate)
            else f", which then lies around {self.centre:.3g} instead of {self.estimate:.3g},"
        )
        return (
            f"Sampling error set aside, the sign of the effect{around} is known as long as "
            f"{WITHIN[self.restriction].format(f'{self.overturning:.3g}')}."
        )

    def tidy(self) -> pd.DataFrame:
        """Return one row for the original interval, whose M is NaN, and one for each M.

        Returns
        -------
        DataFrame
            restriction, method, M, conf_low, conf_high, excludes_zero.
        """
        import pandas as pd

        low, high = np.append(self.original[0], self.low), np.append(self.original[1], self.high)
        return pd.DataFrame(
            {
                "restriction": ["parallel_trends", *[self.restriction] * len(self.M)],
                "method": ["original", *[self.method] * len(self.M)],
                "M": np.append(np.nan, self.M),
                "conf_low": low,
                "conf_high": high,
                "excludes_zero": (low > 0) | (high < 0),
            }
        )

    def plot(self) -> Figure:
        """Draw the original interval and those for each M, with the breakdown value."""
        return draw(self)


def _percent(level: float) -> str:
    return f"{100 * level:g}%"


def _interval(low: float, high: float) -> str:
    return f"[{low:.4g}, {high:.4g}]"


def draw(made: HonestDid) -> Figure:
    """Draw a sensitivity analysis."""
    from study.figures import COLOUR, GREY, SECOND
    from study.figures.canvas import canvas

    order = np.argsort(made.M)
    strengths, low, high = made.M[order], made.low[order], made.high[order]
    gap = _gap(strengths)
    left = strengths[0] - gap
    with canvas() as figure:
        axis = figure.subplots()
        axis.axhline(0, color=GREY, linewidth=0.8)
        axis.vlines(left, *made.original, color=SECOND, linewidth=3, label="under parallel trends")
        axis.plot(left, made.estimate, "o", color=SECOND, markersize=5)
        axis.vlines(strengths, low, high, color=COLOUR, linewidth=3, label=f"{made.method}, by M")
        right = strengths[-1] + gap / 2
        if made.breakdown is not None and made.breakdown <= strengths[-1] + gap:
            right = max(right, made.breakdown + gap / 4)
            label = f"breakdown value {made.breakdown:.3g}"
            axis.axvline(made.breakdown, color=GREY, linestyle="--", linewidth=1.0, label=label)
        axis.set_xticks([left, *strengths], ["original", *(f"{m:.3g}" for m in strengths)])
        axis.set_xlim(left - gap / 2, right)
        figure.supxlabel(AXIS[made.restriction], fontsize=8)
        words = f"Effect on {made.outcome}, {100 * made.level:g}% interval"
        axis.set_ylabel(fill(words, LINE), fontsize=8)
        axis.set_title(made.target[0].upper() + made.target[1:])
        figure.legend(loc="outside upper center", ncols=3, frameon=False, fontsize=7.5)
    return figure


def _gap(strengths: FloatArray) -> float:
    """Return the distance at which the original interval is drawn beside the first one."""
    steps = np.diff(np.unique(strengths))
    return float(np.median(steps)) if len(steps) else 0.5
