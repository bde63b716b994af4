"""One effect: its interval, what its estimate could have found, and tests that effects before treatment are zero."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from study.core import quantile
from study.estimates.estimate import Estimate
from study.estimates.multiplier import exceeded, largest_draws
from study.estimates.presentation import numbers
from study.panel import Sample, Scale

if TYPE_CHECKING:
    import pandas as pd

POWER = 0.8
SIZE = 0.05


@dataclass(frozen=True)
class Power:
    """The smallest effect that a two-sided 5% test finds with 80% power.

    An effect in proportion that multiplies errors too is found less often, see
    :meth:`study.Estimate.minimum_detectable_effect`.

    Attributes
    ----------
    effect : float
        On the question's scale.
    units : float
        In the outcome's own units.
    percent : float
        Of ``mean``; for "log1p", of 1 + ``mean``. NaN where the mean is not positive.
    mean : float
        What the treated units would have had without treatment, as the design implies it; for "log1p", and for a
        design that implies none, their mean in the last period before treatment.
    """

    effect: float
    units: float
    percent: float
    mean: float

    def __str__(self) -> str:
        """Say it in the outcome's units with the percentage in parentheses."""
        if np.isnan(self.effect):
            return "none that can be computed"
        share = "no percentage" if np.isnan(self.percent) else f"{self.percent:.1f}%"
        units = "an unknown number" if np.isnan(self.units) else _three_digits(self.units)
        return f"{units} ({share})"


UNKNOWN = Power(np.nan, np.nan, np.nan, np.nan)


def smallest_effect(average: Estimate) -> Power:
    """Return what an estimate with one term could have found.

    Parameters
    ----------
    average : Estimate
        Its first term is used, for example a headline.

    Returns
    -------
    Power
        On the logarithmic scale an effect b is exp(b) - 1 of one plus the mean.
    """
    effect = float(average.minimum_detectable_effect(POWER, SIZE)[0])
    scale, before = average.sample.question.scale, mean_before(average.sample)
    if scale == "log1p":
        growth = float(np.expm1(effect))
        return Power(effect, growth * (1 + before), 100 * growth, before)
    implied = np.nan if average.untreated_mean is None else float(average.untreated_mean[0])
    mean = implied if np.isfinite(implied) else before
    if scale == "proportional":
        return Power(effect, effect * mean, 100 * effect, mean)
    return Power(effect, effect, 100 * effect / mean if mean > 0 else np.nan, mean)


def mean_before(sample: Sample) -> float:
    """Return the treated units' mean outcome, in its own units, in the last period before treatment.

    For a treatment that is not absorbing, over all periods without treatment of units that are treated at some time.
    NaN of units whose logarithms are added up.
    """
    if sample.summed is not None and sample.question.scale == "log1p":
        return np.nan
    y = np.expm1(sample.y) if sample.question.scale == "log1p" else sample.y
    if sample.first_treated is None:
        before = (sample.treatment == 0) & sample.ever_treated[:, None]
    else:
        base = sample.first_treated[:, None] + sample.question.reference
        before = np.isin(sample.first_treated, sample.cohorts)[:, None] & (sample.periods == base)
    weight = sample.weights[:, None] * (before & sample.observed)
    total = weight.sum()
    return float(np.sum(weight * np.nan_to_num(y)) / total) if total > 0 else np.nan


def _three_digits(value: float) -> str:
    """Return a number with three significant digits, and an exponent where it would have more than six decimals."""
    shown = float(f"{value:.3g}")
    decimals = max(0, 2 - int(np.floor(np.log10(abs(shown))))) if shown else 0
    return f"{shown:.{decimals}f}" if decimals <= 6 else f"{shown:.3g}"


class PreTest(NamedTuple):
    """Two joint tests that effects before treatment are zero.

    Attributes
    ----------
    p_value, rank : float and int
        Of the Wald test; NaN and 0 where there is nothing to test.
    p_largest : float
        Of the largest absolute t, by normal draws of the terms.
    """

    p_value: float
    rank: int
    p_largest: float


NONE = PreTest(np.nan, 0, np.nan)


def pre_test(path: Estimate, *, since: float = -np.inf, draws: int = 9999, seed: int = 0) -> PreTest:
    """Test the effects before treatment of an estimate by event time.

    Both tests are on the scale of ``sample.y``, where a proportional effect is zero if the effect in levels is, and
    have the degrees of freedom that the clusters leave. ``benchmarks/interval_coverage.py`` measures how
    often they reject where there are no effects.

    Parameters
    ----------
    path : Estimate
        With one term an event time.
    since : float
        First event time that is tested.
    draws, seed : int
        Of the normal draws.
    """
    leads = path.pre & (path.event_time >= since) & np.isfinite(path.level_scores)
    if not leads.any():
        return NONE
    wald = path.test(leads)
    sums = path.level_errors.select(leads).cluster_sums(path.sample.cluster, path.sample.copies)
    largest = largest_draws(sums, draws, seed)
    p_largest = exceeded(largest, path.level_scores[leads].max())
    return PreTest(wald.p_value, wald.rank, float(p_largest))


@dataclass(frozen=True)
class Effect:
    """One effect with its pointwise interval, and the units that it rests on.

    Attributes
    ----------
    label : str
    estimate, std_error, p_value, conf_low, conf_high : float
        On the question's scale, by the estimate's ``vcov``; NaN where there is none.
    event_time : float
        NaN for an average.
    band_low, band_high : float
        The simultaneous band, NaN where there is none.
    n_units, n_treated : int
        Units of the sample, and those of them that are treated inside its periods.
    degrees : float
        Degrees of freedom of the t statistic, infinite if it is normal.
    note : str
        Why there is no estimate.
    """

    label: str
    estimate: float = math.nan
    std_error: float = math.nan
    p_value: float = math.nan
    conf_low: float = math.nan
    conf_high: float = math.nan
    event_time: float = math.nan
    band_low: float = math.nan
    band_high: float = math.nan
    n_units: int = 0
    n_treated: int = 0
    degrees: float = math.inf
    note: str = ""

    @classmethod
    def of(cls, label: str, fit: Estimate, level: float = 0.95) -> Effect:
        """Read an estimate of one term."""
        return effects(fit, level, (label,))[0]

    @property
    def exists(self) -> bool:
        """Whether there is an estimate."""
        return not math.isnan(self.estimate)

    @property
    def excludes_zero(self) -> bool:
        """Whether zero is outside the interval."""
        return self.conf_low > 0 or self.conf_high < 0

    def interval(self, scale: Scale) -> str:
        """Write the interval for a sentence."""
        return scale.interval(self.conf_low, self.conf_high)

    @property
    def largest_not_excluded(self) -> float:
        """The largest absolute effect that the interval does not exclude."""
        return max(abs(self.conf_low), abs(self.conf_high))

    @property
    def mde(self) -> float:
        """The minimum detectable effect: what a test at the interval's level finds with 80% power."""
        return (self.conf_high - self.conf_low) / 2 + quantile(POWER, self.degrees) * self.std_error


def effects(fit: Estimate, level: float = 0.95, labels: Sequence[str] | None = None) -> tuple[Effect, ...]:
    """Return every term of an estimate, under its own label where none are given."""
    columns = numbers(fit, level) | {"event_time": fit.event_time, "degrees": fit.degrees_of_freedom}
    del columns["statistic"], columns["df"]
    rows = zip(*(column.tolist() for column in columns.values()), strict=True)
    like = partial(Effect, n_units=fit.sample.n_units, n_treated=fit.sample.n_treated)
    labelled = zip(fit.terms if labels is None else labels, rows, strict=True)
    return tuple(like(label, **dict(zip(columns, row, strict=True))) for label, row in labelled)


def effects_frame(rows: Sequence[Effect]) -> pd.DataFrame:
    """Return effects as a table: label, estimate, std_error, p_value, conf_low, conf_high, n_units, n_treated."""
    import pandas as pd

    unused = ["event_time", "band_low", "band_high", "degrees", "note"]
    return pd.DataFrame([asdict(row) for row in rows]).drop(columns=unused, errors="ignore")
