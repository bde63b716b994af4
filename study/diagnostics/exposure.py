"""Exposure of units to the treatment of others, and since when: by a shared label, or in distance rings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from study.core import FloatArray, QuestionError, unknown
from study.panel import Sample, pool_cohorts

EARTH_RADIUS_KM = 6371.0088
UNLABELLED = ("", "nan", "None")

Coordinates = Mapping[str, Sequence[float]] | FloatArray


@dataclass(frozen=True, eq=False)
class Exposure:
    """In which ring around units that are treated by the sample's last period each unit of a sample is.

    Attributes
    ----------
    rings : tuple of str, length R
        From the nearest on, to be read after "units"; a unit beyond all of them is unexposed.
    ring : ndarray of int, shape (n,)
        The ring of the nearest treated unit, R = unexposed. A treated unit is in its own first ring.
    since : ndarray, shape (n,)
        First treated period of a unit within that ring, NaN for unexposed units.
    """

    rings: tuple[str, ...]
    ring: NDArray[np.int64]
    since: FloatArray

    @property
    def unexposed(self) -> NDArray[np.bool_]:
        """Units beyond all rings, shape (n,)."""
        return np.equal(self.ring, len(self.rings))

    @classmethod
    def of(cls, rings: tuple[str, ...], since: FloatArray) -> Exposure:
        """Read the nearest ring from the first treated period within each, shape (R, n), infinite where none."""
        reached = np.isfinite(since)
        ring = np.where(reached.any(axis=0), reached.argmax(axis=0), len(rings))
        nearest = since[np.minimum(ring, len(rings) - 1), np.arange(since.shape[1])]
        return cls(rings, ring, np.where(ring < len(rings), nearest, np.nan))


def source_dates(sample: Sample) -> FloatArray:
    """Return the first treated period of all units of the panel, infinite where not in the sample's periods.

    A unit outside the sample, for example one treated before the first period, has neighbours too.
    """
    panel, q = sample.panel, sample.question
    dates = pool_cohorts(panel.first_treated[q.event] + q.lag, panel.periods, q.cohort_width)
    return np.where(dates - q.anticipation <= sample.periods[-1], dates, np.inf)


def by_label(sample: Sample, name: str, who: str) -> Exposure:
    """Return the exposure of units that share a label with a treated unit of the panel.

    Raises
    ------
    QuestionError
        If the panel has no such label, or a unit has none.
    """
    if name not in sample.attributes:
        raise unknown("attribute", name, sample.attributes, who)
    own = sample.attributes[name].astype(str)
    blank = np.isin(own, UNLABELLED)
    if blank.any():
        raise QuestionError(
            f"{who}: {blank.sum()} units have no {name}, first {sample.unit_ids[blank][0]}; leave them out with the "
            "question's population."
        )
    names, of_unit = np.unique(sample.panel.attributes[name].astype(str), return_inverse=True)
    first = np.full(len(names), np.inf)
    np.minimum.at(first, of_unit, source_dates(sample))
    return Exposure.of((f"in the same {name}",), first[np.searchsorted(names, own)][None])


def by_distance(sample: Sample, coordinates: Coordinates, rings: Sequence[float], who: str) -> Exposure:
    """Return the exposure of units in rings around treated units.

    Parameters
    ----------
    sample : Sample
    coordinates : mapping of unit to (latitude, longitude), or ndarray of shape (n, 2)
        In degrees. A mapping may name units of the panel that are not in the sample, whose treatment then counts.
    rings : sequence of float
        Outer limits in km, ascending.
    who : str
        Name of the diagnostic, for its errors.

    Raises
    ------
    QuestionError
        If a unit of the sample has no coordinates, or one is out of range.
    """
    here = _coordinates(sample, coordinates, who)
    dates = source_dates(sample)
    if isinstance(coordinates, Mapping):
        known = np.array([str(unit) in coordinates for unit in sample.panel.units])
        units = sample.panel.units[known]
        there, when = np.array([coordinates[str(unit)] for unit in units], dtype=float), dates[known]
        _refuse_out_of_range(units, there, who)
    else:
        there, when = here, dates[np.searchsorted(sample.panel.units, sample.unit_ids)]
    since = np.full((len(rings), sample.n_units), np.inf)
    for k in np.flatnonzero(np.isfinite(when)):
        apart = great_circle_km(here, there[k])
        for r, limit in enumerate(rings):
            since[r] = np.minimum(since[r], np.where(apart <= limit, when[k], np.inf))
    starts = (0.0, *rings[:-1])
    names = tuple(f"at {start:g}-{end:g} km" for start, end in zip(starts, rings, strict=True))
    return Exposure.of(names, since)


def great_circle_km(here: FloatArray, there: FloatArray) -> FloatArray:
    """Return great-circle distances in km of points from one point, by the haversine formula.

    Parameters
    ----------
    here : ndarray, shape (n, 2)
        Latitude and longitude in degrees.
    there : ndarray, shape (2,)

    Returns
    -------
    ndarray, shape (n,)
    """
    first, second = np.radians(here), np.radians(there)
    north, east = np.sin((first - second) / 2).T ** 2
    inside = north + np.cos(first[:, 0]) * np.cos(second[0]) * east
    return np.asarray(2 * EARTH_RADIUS_KM * np.arcsin(np.sqrt(np.minimum(inside, 1.0))))


def _coordinates(sample: Sample, coordinates: Coordinates, who: str) -> FloatArray:
    """Return the coordinates of the sample's units, shape (n, 2)."""
    if isinstance(coordinates, Mapping):
        absent = [str(unit) for unit in sample.unit_ids if str(unit) not in coordinates]
        if absent:
            raise QuestionError(
                f"{who}: {len(absent)} units have no coordinates, first {absent[0]}; leave them out with the "
                "question's population, or add them."
            )
        here = np.array([coordinates[str(unit)] for unit in sample.unit_ids], dtype=float)
    else:
        here = np.asarray(coordinates, dtype=float)
    if here.shape != (sample.n_units, 2):
        raise QuestionError(
            f"{who}: coordinates have shape {here.shape}; give latitude and longitude of each of the "
            f"{sample.n_units} units."
        )
    _refuse_out_of_range(sample.unit_ids, here, who)
    return here


def _refuse_out_of_range(units: NDArray[np.str_], points: FloatArray, who: str) -> None:
    bad = ~((np.abs(points[:, 0]) <= 90) & (np.abs(points[:, 1]) <= 180))
    if bad.any():
        i = int(np.argmax(bad))
        raise QuestionError(
            f"{who}: the coordinates of {units[i]} are ({points[i, 0]:g}, {points[i, 1]:g}); give degrees of latitude "
            "in [-90, 90] and of longitude in [-180, 180]."
        )
