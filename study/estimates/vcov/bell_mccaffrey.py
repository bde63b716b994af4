"""The default standard errors with degrees of freedom that follow from the design and not from outcomes."""

from __future__ import annotations

from functools import cached_property

import numpy as np

from study.core import BoolArray, FloatArray, blocks
from study.estimates.contrast import Sides
from study.estimates.vcov.jackknife import Jackknife, OnScale


class BellMcCaffrey(Jackknife):
    """The standard errors of "jackknife" with the degrees of freedom of Bell and McCaffrey (2002).

    They are Satterthwaite's for cluster means that are independent and vary by the same variance on both sides, so that
    they can be fixed before outcomes are seen. Sources: Bell, R. M. and D. F. McCaffrey (2002), Survey Methodology
    28(2); Imbens, G. W. and M. Kolesár (2016), Review of Economics and Statistics 98(4); Pustejovsky, J. E. and E.
    Tipton (2018), Journal of Business and Economic Statistics 36(4). Joint tests have the degrees of freedom of
    "jackknife".
    """

    @cached_property
    def degrees_of_freedom(self) -> FloatArray:
        """Degrees of freedom that the weights of the clusters leave, shape (K,); NaN for terms without a variance."""
        return np.where(self.estimable & ~self.fits_exactly, self._by_weights, np.nan)

    @property
    def level_degrees(self) -> FloatArray:
        """Degrees of freedom of the t statistics of effects in levels, shape (K,)."""
        return self._by_weights

    def degrees(self, on_scale: OnScale) -> FloatArray:
        """Return the degrees of freedom, which are the same on every scale, shape (K,)."""
        return self._by_weights

    @cached_property
    def _by_weights(self) -> FloatArray:
        fit, found = self.fit, [np.empty(0)]
        for k in blocks(len(fit.terms)):
            sides = fit.sides.select(k)
            weight = weights_on_sides(sides, fit.level_influence.columns(k).dense())
            found.append(design_degrees(weight, sides, self.on_one_cluster[k]))
        return np.concatenate(found)


def weights_on_sides(sides: Sides, influence: FloatArray) -> list[FloatArray]:
    """Return the weight of each cluster in each mean that terms contrast, shapes (C, K); 0 without influence."""
    treated = sides.treated[sides.group]
    weight = np.where(treated > 0, treated, 1.0) * sides.weights[:, None] * sides.present(influence)
    return [sides.by_cluster(weight * half[sides.group]) for half in sides.halves]


def design_degrees(weight: list[FloatArray], sides: Sides, pooled: BoolArray) -> FloatArray:
    """Return Satterthwaite's degrees of freedom of variances of contrasts of weighted means, shape (K,).

    With h_c the share of cluster c in a mean and y_c its value, of variance one, the estimate of the variance is
    sum_c a_c (y_c - sum_b h_b y_b)^2 over the means, with a_c = (h_c / (1 - h_c))^2, or with a_c = 1 if a side of one
    cluster takes the pooled variance. It is a quadratic form y'By, whose degrees of freedom are (tr B)^2 / tr B^2.

    Parameters
    ----------
    weight : list of ndarray, shapes (C, K)
        Of the clusters in each mean.
    sides : Sides
    pooled : ndarray of bool, shape (K,)
        Which terms have the pooled variance.
    """
    first, second = np.zeros((2, len(pooled)))
    for own in weight:
        total = own.sum(axis=0)
        share = own / np.where(total > 0, total, 1.0) / sides.copies
        number = np.sum((own > 0) * sides.copies, axis=0)
        rest = np.where(share < 1, 1 - share, 1.0)
        square = np.where(pooled, own > 0, (share / rest) ** 2) * (number >= 2)
        q = np.sum(share**2 * sides.copies, axis=0)
        s, t, u = (np.sum(square * share**power * sides.copies, axis=0) for power in range(3))
        first += s - 2 * t + s * q
        alone = (1 - 2 * share + q) ** 2 - (q - 2 * share) ** 2
        second += np.sum(square**2 * alone * sides.copies, axis=0)
        second += (s * q) ** 2 - 4 * q * s * t + 2 * s * u + 2 * t**2
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(first**2 / second)
