"""Covariance estimators by name."""

from __future__ import annotations

from typing import TYPE_CHECKING

from study.estimates.vcov.base import Vcov
from study.estimates.vcov.bell_mccaffrey import BellMcCaffrey
from study.estimates.vcov.jackknife import Jackknife
from study.estimates.vcov.names import GIVEN, VcovName
from study.estimates.vcov.pooled import Pooled
from study.estimates.vcov.published import Published
from study.estimates.vcov.replicates import Replicates
from study.estimates.vcov.sandwich import CR0, CR1, CR1Areg, CR1Fixest

if TYPE_CHECKING:
    from study.estimates.estimate import Estimate

VCOVS: dict[VcovName, type[Vcov]] = {
    "jackknife": Jackknife,
    "bell_mccaffrey": BellMcCaffrey,
    "pooled": Pooled,
    "CR0": CR0,
    "CR1": CR1,
    "CR1_fixest": CR1Fixest,
    "CR1_areg": CR1Areg,
    **dict.fromkeys(GIVEN, Published),
}


def vcov_of(fit: Estimate) -> Vcov:
    """Return the covariance estimator of an estimate: that of its replicates if it has some, or of its ``vcov``."""
    return Replicates(fit) if fit.replicates is not None else VCOVS[fit.vcov](fit)
