"""Groups of units that are fixed before treatment: by a label, by a rule, or by thirds of a covariate."""

from __future__ import annotations

import re
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from study.core import FloatArray, IntArray, unknown
from study.panel import Sample
from study.panel.population import population

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
        An attribute of the panel (a group for each of its labels); a rule of :func:`study.panel.population.population`,
        such as "country=US" (those in it, and the others); or a covariate (thirds by its first observed
        value; equal values stay together).

    Raises
    ------
    QuestionError
        If there is no such attribute or covariate, or the rule cannot be read.
    """
    panel = sample.panel
    if by in sample.attributes:
        return _by_label(by, sample.attributes[by].astype(str))
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
    from study.panel import first_observed

    if name not in sample.panel.covariates:
        raise unknown("covariate", name, sample.panel.covariates, "heterogeneity, prior")
    return first_observed(sample.panel.covariates[name])[panel_rows(sample)]


def panel_rows(sample: Sample) -> IntArray:
    """Return the panel's row of each unit of the sample, shape (n,)."""
    place = {unit: k for k, unit in enumerate(sample.panel.units)}
    return np.array([place[unit] for unit in sample.unit_ids], dtype=np.int64)


def indicators(groups: Grouping, kept: NDArray[np.bool_]) -> tuple[FloatArray, list[str]]:
    """Return a 0/1 column with its name for each group that is kept; without the largest where all are."""
    sizes = np.array([np.sum(groups.member == g) for g in range(len(groups.labels))])
    chosen = [int(g) for g in np.flatnonzero(kept) if not (kept.all() and g == sizes.argmax())]
    columns = np.column_stack([np.empty((len(groups.member), 0)), *(groups.member == g for g in chosen)])
    return columns, [groups.named(g) for g in chosen]


def _by_label(by: str, label: NDArray[np.str_]) -> Grouping:
    """Return the groups of labels, in the order of the numbers that stand in them."""
    labels = sorted({str(one) for one in label}, key=_natural)
    place = {one: k for k, one in enumerate(labels)}
    return Grouping(by, tuple(labels), np.array([place[str(one)] for one in label], dtype=np.int64))


def _natural(label: str) -> list[tuple[int, str]]:
    parts = re.split(r"(\d+)", label)
    return [(int(part), "") if part.isdigit() else (-1, part) for part in parts if part]


def _thirds(by: str, value: FloatArray) -> Grouping:
    seen = ~np.isnan(value)
    place = np.searchsorted(np.quantile(value[seen], THIRDS), value[seen], side="left")
    number = np.unique(place, return_inverse=True)[1]
    member = np.full(len(value), NOBODY, dtype=np.int64)
    member[seen] = number
    ends = [(value[member == g].min(), value[member == g].max()) for g in range(number.max() + 1)]
    labels = tuple(
        f"{by} {low:.4g}" if low == high else f"{by} {low:.4g} to {high:.4g}" for low, high in ends
    )
    return Grouping(by, labels, member)


def plain(by: str) -> str:
    """Return what groups units, such as "country=US", in words for a title."""
    return by.replace("=", " ").replace("_", " ")
