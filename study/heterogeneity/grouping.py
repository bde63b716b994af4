"""Groups of units that are fixed before treatment: by a label, by a rule, or by thirds of a covariate."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pandas as pd

from study.core import FloatArray, IntArray, refuse_unknown, same_tail, t_quantile, unknown
from study.estimates import POWER, Estimate, exceeded, stack, sup_t
from study.panel import Sample, first_observed, population

THIRDS = (1 / 3, 2 / 3)
NOBODY = -1


class Grouping(NamedTuple):
    """Which group each unit of a sample is in.

    Attributes
    ----------
    by : str
        What groups them.
    labels : tuple of str, length G
    member : ndarray of int, shape (n,)
        Number of each unit's group, -1 where it is in none.
    """

    by: str
    labels: tuple[str, ...]
    member: IntArray

    def of_rows(self, unit: IntArray) -> Grouping:
        """Return the grouping of rows of which each is one of the units, shape (N,)."""
        return self._replace(member=self.member[unit])

    def sizes(self, marked: FloatArray | None = None) -> IntArray:
        """Return how many units each group has, or how many of those that are marked by 1, shape (G,)."""
        inside = self.member != NOBODY
        marked = np.ones(len(inside)) if marked is None else marked
        return np.bincount(self.member[inside], marked[inside], len(self.labels)).astype(np.int64)

    def named(self, group: int) -> str:
        """Return what a group is called where it is not said what groups it."""
        label = self.labels[group]
        return label if self.by in label else f"{self.by} {label}"


def grouping(sample: Sample, by: str) -> Grouping:
    """Return the groups that an attribute, a rule or a covariate makes.

    Parameters
    ----------
    sample : Sample
    by : str
        An attribute of the panel (a group for each of its labels); a rule of :func:`study.panel.population`,
        such as "country=US" (those in it, and the others); or a covariate (thirds by its first observed
        value; equal values stay together).

    Raises
    ------
    QuestionError
        If there is no such attribute or covariate, or the rule cannot be read.
    """
    panel = sample.panel
    if by in sample.attributes:
        label = sample.attributes[by].astype(str)
        labels = sorted(set(label.tolist()), key=_natural)
        return Grouping(by, tuple(labels), np.asarray(pd.Index(labels).get_indexer(label)))
    if by in panel.covariates:
        return _thirds(by, prior(sample, by))
    if by in panel.populations or any(sign in by for sign in "=<>"):
        inside = population(by, panel)[panel_rows(sample)]
        return Grouping(by, (by, "others"), np.where(inside, 0, 1))
    raise unknown("attribute or covariate", by, [*panel.attributes, *panel.covariates], "heterogeneity, by")


def prior(sample: Sample, name: str) -> FloatArray:
    """Return each unit's first observed value of a covariate of the panel, NaN where there is none, shape (n,).

    Raises
    ------
    QuestionError
        If the panel has no such covariate.
    """
    refuse_unknown("covariate", name, sample.panel.covariates, "heterogeneity, prior")
    return first_observed(sample.panel.covariates[name])[panel_rows(sample)]


def panel_rows(sample: Sample) -> IntArray:
    """Return the panel's row of each unit of the sample, shape (n,)."""
    return np.asarray(pd.Index(sample.panel.units).get_indexer(sample.unit_ids))


def _natural(label: str) -> list[tuple[int, str]]:
    """Return what puts labels in the order of the numbers that stand in them."""
    parts = re.split(r"(\d+)", label)
    return [(int(part), "") if part.isdigit() else (-1, part) for part in parts if part]


def _thirds(by: str, value: FloatArray) -> Grouping:
    seen = ~np.isnan(value)
    third = np.searchsorted(np.nanquantile(value, THIRDS), value[seen], side="left")
    member = np.full(len(value), NOBODY, dtype=np.int64)
    member[seen] = np.unique(third, return_inverse=True)[1]
    ends = pd.Series(value[seen]).groupby(member[seen]).agg(["min", "max"])
    to = (f" to {high:.4g}" if low < high else "" for _, low, high in ends.itertuples())
    labels = tuple(f"{by} {low:.4g}{end}" for low, end in zip(ends["min"], to, strict=True))
    return Grouping(by, labels, member)


def plain(by: str) -> str:
    """Return what groups units, such as "country=US", in words for a title."""
    return by.replace("=", " ").replace("_", " ")


# A difference of terms that are the same number has a standard error of rounding alone.
EQUAL = 1e-9


@dataclass(frozen=True, eq=False)
class Pairs:
    """All differences of two terms, with a simultaneous test that all of them are zero.

    Attributes
    ----------
    pairs : tuple of (str, str), length P
    difference, std_error : ndarray, shape (P,)
        The first of a pair less the second, and its standard error under the estimate's convention; NaN where the
        two are the same.
    degrees_of_freedom : ndarray, shape (P,)
        Of the pair's t statistic.
    p_adjusted : ndarray, shape (P,)
        Share of draws whose largest absolute t over all pairs is at least as extreme as the pair's.
    critical : ndarray, shape (P,)
        Critical values of all pairs together, at ``level``: t statistics with the same tail.
    p_value : float
        Of the test that all differences are zero, by the largest absolute t; NaN without a difference.
    level : float
    """

    pairs: tuple[tuple[str, str], ...]
    difference: FloatArray
    std_error: FloatArray
    degrees_of_freedom: FloatArray
    p_adjusted: FloatArray
    critical: FloatArray
    p_value: float
    level: float

    @property
    def detectable(self) -> FloatArray:
        """Minimum detectable differences of all pairs together, with 80% power, shape (P,)."""
        return (self.critical + t_quantile(POWER, self.degrees_of_freedom)) * self.std_error

    @property
    def largest(self) -> int:
        """Number of the pair with the largest absolute t."""
        return int(np.nanargmax(np.abs(self.difference / self.std_error)))

    @property
    def differ(self) -> bool:
        """Whether terms differ significantly at the level."""
        return self.p_value <= 1 - self.level + 1e-12

    def tidy(self) -> pd.DataFrame:
        """Return one row a pair, with the simultaneous interval of its difference."""
        half = self.critical * self.std_error
        return pd.DataFrame(self.pairs, columns=["first", "second"]).assign(
            difference=self.difference,
            std_error=self.std_error,
            p_adjusted=self.p_adjusted,
            band_low=self.difference - half,
            band_high=self.difference + half,
            detectable_difference=self.detectable,
        )


def all_pairs(fit: Estimate, *, level: float, draws: int, seed: int) -> Pairs:
    """Compare the terms of an estimate, two by two.

    The largest |t|, each put on the normal scale by its degrees of freedom, is held against normal draws with the
    covariance of the differences.
    """
    names, differences = stack(fit.terms, [fit]).pairwise()
    varies = differences.std_error > EQUAL * fit.std_error.max()
    none = np.full((4, len(names)), np.nan)
    error, degrees, p_adjusted, critical = none
    if varies.any():
        tested = differences.select(varies)
        statistics, largest = tested.largest_t(draws, seed)
        error[varies], degrees[varies] = tested.std_error, tested.degrees_of_freedom
        p_adjusted[varies] = exceeded(largest, statistics)
        critical[varies] = same_tail(sup_t(largest, level), tested.degrees_of_freedom)
    p_value = float(np.nanmin(p_adjusted)) if varies.any() else np.nan
    effect = np.where(varies, differences.effect, 0.0)
    return Pairs(names, effect, error, degrees, p_adjusted, critical, p_value, level)
