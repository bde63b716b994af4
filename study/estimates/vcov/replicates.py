"""Standard errors from placebo assignments or bootstrap samples."""

from __future__ import annotations

import math

import numpy as np

from study.core import BoolArray, FloatArray, QuestionError
from study.estimates.vcov.base import Vcov
from study.estimates.wald import Wald


class Replicates(Vcov):
    """The standard deviation of each effect over replicates, with normal critical values.

    Sources: Arkhangelsky, D., S. Athey, D. Hirshberg, G. Imbens and S. Wager (2021), American Economic Review 111(12),
    Algorithm 4 (placebo); Xu, Y. (2017), Political Analysis 25(1) (parametric bootstrap). Replicates are of each number
    alone, so that terms have no covariance.
    """

    @property
    def not_joint(self) -> str:
        """Why terms have no joint distribution, in a sentence."""
        return (
            "joint inference (bands, joint tests, differences from other estimates) is not available, since standard "
            'errors by placebo or bootstrap are of each number alone; inference="jackknife" has it where every cohort '
            "has two units."
        )

    @property
    def level_std_error(self) -> FloatArray:
        """Standard errors of effects in levels, shape (K,); NaN for reference terms."""
        assert self.fit.replicates is not None
        return np.where(self.fit.reference, np.nan, self.fit.replicates.std(axis=1))

    @property
    def std_error(self) -> FloatArray:
        """Standard errors of effects on the question's scale, shape (K,)."""
        if self.fit.sample.question.scale != "proportional":
            return self.level_std_error
        # The treated units' own outcomes are given.
        return self.level_std_error * np.abs(1 + self.fit.effect) / self.fit.positive_mean

    @property
    def degrees_of_freedom(self) -> FloatArray:
        """Infinite, shape (K,): critical values are normal."""
        return np.full(len(self.fit.terms), math.inf)

    def covariance(self) -> FloatArray:
        """Refuse: there is no covariance."""
        raise QuestionError(f"{self.fit.design}: {self.not_joint}")

    def test(self, used: BoolArray) -> Wald:
        """Refuse: there is no covariance."""
        raise QuestionError(f"{self.fit.design}: {self.not_joint}")
