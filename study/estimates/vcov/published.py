"""Covariance matrices that a design takes from the package that computes it."""

from __future__ import annotations

import numpy as np

from study.core import BoolArray, FloatArray
from study.estimates.vcov.base import Vcov
from study.estimates.wald import Wald, wald


class Published(Vcov):
    """A matrix of linearmodels: "unadjusted", "robust", "clustered", "twoway" or "driscoll_kraay".

    Source: the covariance estimators of linearmodels for panel and instrumental variable models. Two-way clusters
    (Cameron, Gelbach and Miller 2011) and those of Driscoll and Kraay (1998) are no sums over clusters of units, so
    that effects have standard errors and tests and no bands, averages or covariance with other estimates.
    """

    @property
    def not_joint(self) -> str:
        """Why terms have no joint distribution with others, in a sentence."""
        return (
            f'the covariance "{self.fit.vcov}" is a matrix and no sum over units, so it has no band, no average and no '
            'covariance with other estimates; take these under "jackknife" or "CR0".'
        )

    @property
    def level_std_error(self) -> FloatArray:
        """Standard errors of effects in levels, shape (K,); NaN for variances below zero."""
        return np.sqrt(np.diag(self.covariance()))

    @property
    def degrees_of_freedom(self) -> FloatArray:
        """Degrees of freedom of the t statistics, as linearmodels has them, shape (K,)."""
        return np.full(len(self.fit.terms), self.fit.given_degrees)

    def covariance(self) -> FloatArray:
        """Return the matrix, shape (K, K); NaN for terms with variances below zero."""
        matrix = self.fit.given[self.fit.vcov]
        none = ~(np.diag(matrix) > 0)
        return np.where(none | none[:, None], np.nan, matrix)

    def test(self, used: BoolArray) -> Wald:
        """Test that the effects of some terms are zero; used has shape (K,)."""
        return wald(self.fit.effect_level[used], self.covariance()[np.ix_(used, used)])
