"""How far the means of a covariate lie apart between treated and comparison units, in standard deviations."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from study.core import FloatArray

ROUNDING = 1e-12


class Side(NamedTuple):
    """A covariate of some units and their weights, shapes (m,)."""

    x: FloatArray
    weight: FloatArray

    @property
    def mean(self) -> float:
        """The weighted mean."""
        return float(self.weight @ self.x / self.weight.sum())

    @property
    def variance(self) -> float:
        """The weighted variance, times m / (m - 1); zero where it is rounding error, NaN for one unit."""
        m = len(self.x)
        if m < 2:
            return np.nan
        squares = float(self.weight @ (self.x - self.mean) ** 2 / self.weight.sum()) * m / (m - 1)
        return squares if squares > (ROUNDING * float(np.abs(self.x).max())) ** 2 else 0.0

    def scaled(self, total: float) -> Side:
        """Return the side with weights that add up to a total."""
        return Side(self.x, self.weight * (total / self.weight.sum()))


def stacked(sides: Sequence[Side]) -> Side:
    """Return several sides as one."""
    return Side(np.concatenate([side.x for side in sides]), np.concatenate([side.weight for side in sides]))


def contrast(treated: Side, compared: Side) -> dict[str, Any]:
    """Return the normalised difference (Imbens and Rubin 2015, equation (14.1)) and the ratio of variances.

    Where one of the groups has one unit, the standard deviation is the other's.

    Returns
    -------
    dict of str to object
        n_treated, n_comparison, mean_treated, mean_comparison; std_deviation, the root of the mean variance;
        difference, that of the means over it; variance_ratio, of treated to comparison units. A number that is not
        defined is NaN, and note says why.
    """
    ours, theirs = treated.variance, compared.variance
    known = [variance for variance in (ours, theirs) if not np.isnan(variance)]
    spread = float(np.sqrt(np.mean(known))) if known else 0.0
    difference = treated.mean - compared.mean
    notes = [
        f"one {name} unit: standardised by the {other} units' standard deviation, no variance ratio"
        for variance, name, other in ((ours, "treated", "comparison"), (theirs, "comparison", "treated"))
        if np.isnan(variance) and known
    ]
    same = abs(difference) <= ROUNDING * max(abs(treated.mean), abs(compared.mean))
    if not known:
        notes.append("one unit in each group: no standard deviation")
    elif spread == 0:
        notes.append(
            "it does not vary" if same else "it does not vary within the groups: no standardised difference"
        )
    elif theirs == 0:
        notes.append("it does not vary among comparison units: no variance ratio")
    return {
        "n_treated": len(treated.x),
        "n_comparison": len(compared.x),
        "mean_treated": treated.mean,
        "mean_comparison": compared.mean,
        "std_deviation": spread if known else np.nan,
        "difference": difference / spread if spread > 0 else (0.0 if same and known else np.nan),
        "variance_ratio": ours / theirs if theirs > 0 else np.nan,
        "note": "; ".join(notes),
    }
