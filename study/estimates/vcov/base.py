"""What a covariance estimator is, and the kind that sums products of influence over clusters."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from functools import cached_property
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from study.core import BoolArray, FloatArray, Influence, QuestionError
from study.estimates.wald import Wald, wald

if TYPE_CHECKING:
    from study.estimates.estimate import Estimate

ROUNDING = 1e-13
CANCELLED = 1e-9
CANCELLED_SHARE = 1e-7  # of the error of the effect in levels: sums of squares cancel to the sixteenth digit


class Vcov(ABC):
    """The covariance of the effects of one estimate.

    Parameters
    ----------
    fit : Estimate
        With K terms.
    """

    by_clusters: ClassVar[bool] = False  # Whether degrees of freedom are those of the clusters on both sides.

    def __init__(self, fit: Estimate) -> None:
        self.fit = fit

    @property
    def not_joint(self) -> str:
        """Why terms have no joint distribution, in a sentence; empty where they have one."""
        return ""

    @property
    def estimable(self) -> BoolArray:
        """Which terms have a sampling variance, shape (K,)."""
        return ~self.fit.reference

    @property
    @abstractmethod
    def level_std_error(self) -> FloatArray:
        """Standard errors of effects in levels, shape (K,); NaN where there is none, or rounding error alone."""

    @property
    def std_error(self) -> FloatArray:
        """Standard errors of effects on the question's scale, shape (K,)."""
        return self.level_std_error

    @property
    @abstractmethod
    def degrees_of_freedom(self) -> FloatArray:
        """Degrees of freedom of the t statistics, shape (K,); infinite if they are normal."""

    @property
    def level_degrees(self) -> FloatArray:
        """Degrees of freedom of the t statistics of effects in levels, shape (K,)."""
        return self.degrees_of_freedom

    @abstractmethod
    def covariance(self) -> FloatArray:
        """Return the covariance of the effects, shape (K, K); NaN for terms without a sampling variance."""

    @abstractmethod
    def test(self, used: BoolArray) -> Wald:
        """Test that the effects in levels of some terms are zero; used has shape (K,)."""


class ClusterSum(Vcov):
    """A covariance sum_c s_c s_c' / n^2, with s_c the sum of an influence over the units of cluster c."""

    @property
    @abstractmethod
    def level_errors(self) -> Influence:
        """Influence on effects in levels, shape (n, K)."""

    @property
    @abstractmethod
    def untreated_errors(self) -> Influence | None:
        """Influence on untreated means in levels, shape (n, K)."""

    @cached_property
    def errors(self) -> Influence:
        """Influence on effects on the question's scale, shape (n, K)."""
        return self.fit.on_scale(self.level_errors, self.untreated_errors)

    @cached_property
    def level_std_error(self) -> FloatArray:
        """Standard errors of effects in levels, shape (K,); NaN where there is none, or rounding error alone."""
        return np.where(self.estimable & ~self.fits_exactly, self._level_root, np.nan)

    @cached_property
    def std_error(self) -> FloatArray:
        """Standard errors of effects on the question's scale, shape (K,)."""
        fit = self.fit
        if fit.sample.question.scale != "proportional":
            return self.level_std_error
        error, level = self._root(self.errors), self.level_std_error
        return np.where((level > 0) & (error > CANCELLED_SHARE * level / fit.positive_mean), error, np.nan)

    @cached_property
    def fits_exactly(self) -> BoolArray:
        """Terms of which rounding error is all that varies between clusters, shape (K,)."""
        fit, sample = self.fit, self.fit.sample
        least = np.full(len(fit.terms), ROUNDING * fit.largest_outcome)
        if fit.n_clusters < sample.n_units:
            by_unit = np.sqrt(self.level_errors.squares(np.arange(sample.n_rows)))
            least = np.maximum(least, CANCELLED * by_unit / sample.n_rows)
        return self._level_root <= least

    @cached_property
    def _level_root(self) -> FloatArray:
        return self._root(self.level_errors)

    def _root(self, errors: Influence) -> FloatArray:
        sample = self.fit.sample
        return np.sqrt(errors.squares(sample.cluster, sample.copies)) / sample.n_rows

    def covariance(self) -> FloatArray:
        """Return the covariance of the effects, shape (K, K); NaN for terms without a sampling variance."""
        cov = self._products(self.errors)
        none = ~(self.estimable | self.fit.reference)
        cov[none] = cov[:, none] = np.nan
        return cov

    def test(self, used: BoolArray) -> Wald:
        """Test that the effects in levels of some terms are zero; used has shape (K,)."""
        errors = self.level_errors.select(used)
        return wald(self.fit.effect_level[used], self._products(errors), self.joint_degrees(errors, used))

    def joint_degrees(self, errors: Influence, used: BoolArray) -> float:
        """Return the degrees of freedom of the covariance of some terms, whose influence is given."""
        return math.inf

    def _products(self, errors: Influence) -> FloatArray:
        sample = self.fit.sample
        return errors.products(sample.cluster, sample.copies) / sample.n_rows**2


def joint(vcov: Vcov) -> ClusterSum:
    """Return a covariance estimator that is a sum over clusters; refuse another.

    Raises
    ------
    QuestionError
        If its terms have no joint distribution.
    """
    if not isinstance(vcov, ClusterSum):
        raise QuestionError(f"{vcov.fit.design}: {vcov.not_joint}")
    return vcov
