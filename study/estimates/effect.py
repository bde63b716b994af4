"""One effect with its interval: what sentences, tables and figures read of an estimate."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from study.core import quantile
from study.estimates.estimate import Estimate
from study.estimates.power import POWER
from study.panel import Scale

if TYPE_CHECKING:
    import pandas as pd

NONE = math.nan


@dataclass(frozen=True)
class Effect:
    """One effect with its pointwise interval, and the units that it rests on.

    Attributes
    ----------
    label : str
    estimate, std_error, p_value, conf_low, conf_high : float
        On the question's scale, under the estimate's convention; NaN where there is none.
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
    estimate: float = NONE
    std_error: float = NONE
    p_value: float = NONE
    conf_low: float = NONE
    conf_high: float = NONE
    event_time: float = NONE
    band_low: float = NONE
    band_high: float = NONE
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
    table, n_units, n_treated = fit.tidy(level), fit.sample.n_units, int(fit.sample.n_treated)
    columns = {name: table[name].tolist() for name in Effect.__dataclass_fields__ if name in table}
    columns["label"] = list(fit.terms if labels is None else labels)
    columns["degrees"] = fit.degrees_of_freedom.tolist()
    return tuple(
        Effect(**dict(zip(columns, row, strict=True)), n_units=n_units, n_treated=n_treated)
        for row in zip(*columns.values(), strict=True)
    )


def effects_frame(rows: Sequence[Effect]) -> pd.DataFrame:
    """Return effects as a table: label, estimate, std_error, p_value, conf_low, conf_high, n_units, n_treated."""
    import pandas as pd

    unused = ["event_time", "band_low", "band_high", "degrees", "note"]
    return pd.DataFrame([asdict(row) for row in rows]).drop(columns=unused, errors="ignore")
