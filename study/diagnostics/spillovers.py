"""Whether the treatment of a unit reaches its untreated neighbours, who stand in the comparison group."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from study.core import FloatArray, QuestionError, checked, quantile, two_sided_p, unknown
from study.diagnostics.finding import Finding
from study.diagnostics.refits import (
    Progress,
    Refits,
    Samples,
    answers,
    check,
    event_dates,
    headline,
    redated,
    treated,
    with_interval,
)
from study.diagnostics.registry import Needs, Section, diagnostic
from study.estimates import Effect, Estimate, effects_frame
from study.figures import dot_figure
from study.inference import joined_headlines
from study.panel import Sample, Scale, pool_cohorts

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


UNEXPOSED = "unexposed units only"


@diagnostic(
    "spillovers",
    title="Spillovers to untreated neighbours",
    question="Does treatment of a unit reach its untreated neighbours?",
    section=Section.AGAINST,
    needs=(Needs.NEIGHBOURS,),
)
@checked
def spillovers(
    sample: Sample,
    design: str,
    *,
    by: str | Coordinates = "country",
    rings: Sequence[float] | None = None,
    level: float = 0.95,
    progress: Progress = None,
    **options: Any,
) -> Finding:
    """Ask whether treatment of one unit reaches its untreated neighbours.

    The headline is refitted with the comparison units that are in no ring around a treated unit, and with those of
    each ring; if treatment reaches neighbours, the exposed ones do not show the counterfactual path. Then the
    untreated units of a ring are themselves taken as treated, from the first event near them on, against the unexposed
    ones (the rings of Butts 2023, Section 3). Treated units that are exposed to other treated ones stay: what reaches
    them is part of the effect. With comparison="not_yet_treated" units treated later stand in the comparison until
    then, whether exposed or not.

    Parameters
    ----------
    sample : Sample
    design : str
    by : str, mapping, or ndarray of shape (n, 2)
        An attribute, for example "country", whose units are exposed to each other; or latitude and longitude in
        degrees, by unit or in the sample's order. Treated units of the panel outside the sample count too where
        their label or coordinates are known.
    rings : sequence of float, optional
        For coordinates: ascending outer limits of the rings, in km; units beyond the last are unexposed.
    level : float
        Coverage of the intervals.
    progress : callable, optional
        Called after each refit.
    **options
        Options of the design.

    Returns
    -------
    Finding
        The frame has a row an effect by comparison units, a difference and a ring of neighbours, named in kind: kind,
        label, estimate, std_error, p_value, conf_low, conf_high, n_units, n_treated. Details: ``full_sample``;
        ``comparisons``, the effects with the unexposed comparison units only, and with those of each ring only;
        ``differences`` of the first of these less each other, by their joint influence; ``neighbours``, the effects on
        the untreated units of each ring; ``counts`` of comparison units by ring; ``exposed_from_start``, the number of
        them that have no period before the first event near them. Differences and effects on neighbours are clustered
        by the attribute where the question names no cluster, for its units are exposed together.

    Raises
    ------
    QuestionError
        If the event is not absorbing, the attribute is unknown, a unit has no label or coordinates, rings are missing
        or do not ascend, or all comparison units are exposed or none. Refits that the design refuses are listed.

    References
    ----------
    Butts, K. (2023). Difference-in-differences estimation with spatial spillovers. arXiv:2105.03737.
    """
    check("spillovers", design, options, level)
    event_dates(sample, "spillovers")
    exposure, untreated = _exposure(sample, by, rings), ~treated(sample)
    members = {name: untreated & (exposure.ring == r) for r, name in enumerate(exposure.rings)}
    unexposed = untreated & exposure.unexposed
    _refuse_one_sided(exposure, int(unexposed.sum()), int(untreated.sum()))
    full = Effect.of("all comparison units", headline(sample, design, options), level)
    groups = {UNEXPOSED: unexposed} | {
        f"units {name} only": who for name, who in members.items() if who.any()
    }
    compared: Samples = {
        label: partial(sample.only, ~untreated | who, f"not among the {label}")
        for label, who in groups.items()
    }
    fits = dict(answers(compared, design, options, progress))
    attribute = by if isinstance(by, str) else None
    cluster = None if sample.question.cluster else attribute
    neighbours: Samples = {
        f"neighbours {name}": partial(neighbour_sample, sample, exposure, r, cluster)
        for r, name in enumerate(exposure.rings)
        if members[name].any()
    }
    comparisons = Refits.of(fits.items(), level)
    changes = Refits.of(answers(neighbours, design, options, progress), level)
    details = {
        "full_sample": full,
        "comparisons": comparisons.rows,
        "differences": tuple(_differences(fits, cluster, level)),
        "neighbours": changes.rows,
        "counts": {name: int(who.sum()) for name, who in (members | {"unexposed": unexposed}).items()},
        "exposed_from_start": int(
            np.sum(untreated & (exposure.since - sample.question.anticipation <= sample.periods[0]))
        ),
    }
    by_cluster = sample.question.cluster or attribute or "unit"
    return _finding(
        sample.question.effect_scale, level, details, by_cluster, comparisons.refusals + changes.refusals
    )


def _finding(
    scale: Scale, level: float, details: Mapping[str, Any], cluster: str, refusals: tuple[str, ...]
) -> Finding:
    tests = (*details["differences"], *details["neighbours"])
    different = ", ".join(row.label for row in tests if row.excludes_zero)
    kinds = {
        "effect by comparison": (details["full_sample"], *details["comparisons"]),
        "difference": details["differences"],
        "effect on neighbours": details["neighbours"],
    }
    table = effects_frame([row for rows in kinds.values() for row in rows])
    table.insert(0, "kind", [kind for kind, rows in kinds.items() for _ in rows])
    verdict, *evidence = [
        *([_verdict(different, level)] if tests else []),
        *_sentences(scale, level, details, cluster),
        *refusals,
    ]
    return Finding(
        name="spillovers",
        title="Spillovers to untreated neighbours",
        verdict=verdict,
        evidence=tuple(evidence),
        frame=table,
        chart=partial(
            dot_figure,
            xlabel=scale.axis(),
            marked=list(table["kind"] == "effect on neighbours"),
            names=("effect on the treated", "effect on untreated neighbours"),
            percent=scale.percent,
            level=level,
        ),
        against=bool(different) if tests else None,
        objection=f"changes of untreated neighbours ({different})",
        details=details,
    )


def _verdict(different: str, level: float) -> str:
    if not different:
        return (
            "No spillover is seen: neither the choice of comparison units nor the neighbours' own change is "
            f"different from zero at the {100 * level:g}% level."
        )
    return (
        f"These differ from zero: {different}. Either treatment reaches neighbours, or exposed and unexposed units "
        "have other trends, which these comparisons do not separate."
    )


def _sentences(scale: Scale, level: float, details: Mapping[str, Any], cluster: str) -> Iterator[str]:
    full, percent = details["full_sample"], f"{100 * level:g}%"
    counts = ", ".join(f"{number} {name}" for name, number in details["counts"].items())
    yield (
        f"By the nearest treated unit the comparison units are: {counts}. With all of them the effect on "
        f"{scale.outcome} is {scale.text(full.estimate)} {scale.unit}, interval {full.interval(scale)}."
    )
    for row in details["comparisons"]:
        yield (
            f"With {row.label} as comparison the effect is {scale.text(row.estimate)} ({percent} interval "
            f"{row.interval(scale)})."
        )
    for row in details["differences"]:
        yield (
            f"The effect with unexposed units, less that with units {row.label.removeprefix('unexposed less ')}, is "
            f"{scale.text(row.estimate)} ({percent} interval {row.interval(scale)}, p-value {row.p_value:.2g}, "
            f"clustered by {cluster})."
        )
    for row in details["neighbours"]:
        yield (
            f"Untreated {row.label} change by {scale.text(row.estimate)} after the first event near them, against "
            f"unexposed units ({percent} interval {row.interval(scale)}, {row.n_treated} units, clustered by "
            f"{cluster})."
        )
    if details["exposed_from_start"]:
        yield (
            f"{details['exposed_from_start']} exposed units have no period before the first event near them and are "
            "not in that."
        )


def _exposure(sample: Sample, by: str | Coordinates, rings: Sequence[float] | None) -> Exposure:
    if isinstance(by, str):
        if rings is not None:
            raise QuestionError(f'spillovers: rings are for coordinates; by="{by}" has none.')
        return by_label(sample, by, "spillovers")
    limits = [] if rings is None else [float(limit) for limit in rings]
    if not limits or not all(limit > 0 for limit in limits) or any(np.diff(limits) <= 0):
        raise QuestionError(
            f"spillovers: rings is {rings!r}; with coordinates give ascending limits in km, such as (50, 200)."
        )
    return by_distance(sample, by, limits, "spillovers")


def _refuse_one_sided(exposure: Exposure, n_unexposed: int, n_compared: int) -> None:
    if n_unexposed in (0, n_compared):
        raise QuestionError(
            f"spillovers: {'every' if n_unexposed else 'no'} comparison unit is unexposed (no treated unit "
            f"{' or '.join(exposure.rings)}), so exposed and unexposed units cannot be compared; choose another "
            "attribute, or other rings."
        )


def neighbour_sample(sample: Sample, exposure: Exposure, ring: int, cluster: str | None) -> Sample:
    """Return the untreated units that are unexposed or in a ring, the latter treated from the first event near them."""
    inside = exposure.ring == ring
    dated = replace(sample, first_treated=np.where(inside, exposure.since, np.nan))
    kept = _clustered(dated, cluster).only(
        ~treated(sample) & (exposure.unexposed | inside), "treated, or in another ring"
    )
    return redated(kept, event_dates(kept, "spillovers"))


def _clustered(sample: Sample, attribute: str | None) -> Sample:
    """Return the sample clustered by an attribute, or as it is."""
    if attribute is None:
        return sample
    cluster = np.unique(sample.attributes[attribute].astype(str), return_inverse=True)[1]
    return replace(sample, question=sample.question.replace(cluster=attribute), cluster=cluster)


def _differences(fits: Mapping[str, Estimate | str], cluster: str | None, level: float) -> Iterator[Effect]:
    """Yield the headline with unexposed comparison units less that with those of each ring, where it varies."""
    unexposed = fits[UNEXPOSED]
    for label, fit in fits.items():
        if label != UNEXPOSED and isinstance(fit, Estimate) and isinstance(unexposed, Estimate):
            ring = label.removeprefix("units ").removesuffix(" only")
            row = _difference(f"unexposed less {ring}", fit, unexposed, cluster, level)
            if math.isfinite(row.std_error):
                yield row


def _difference(label: str, ring: Estimate, unexposed: Estimate, cluster: str | None, level: float) -> Effect:
    """Return the headline of the second estimate less that of the first, clustered by an attribute."""
    if cluster is not None:
        ring, unexposed = (
            replace(fit, sample=_clustered(fit.sample, cluster), left_out=None) for fit in (ring, unexposed)
        )
    difference = joined_headlines({"ring": ring, "unexposed": unexposed}, "spillovers").differences()
    effect, error, degrees = (
        float(x[0]) for x in (difference.effect, difference.std_error, difference.degrees_of_freedom)
    )
    error = error if ring.varies[0] and unexposed.varies[0] else math.nan
    p_value, half = float(two_sided_p(effect / error, degrees)), quantile((1 + level) / 2, degrees) * error
    units = Effect(label, n_units=len(difference.influence), n_treated=int(treated(unexposed.sample).sum()))
    return with_interval(units, effect, error, p_value, half, degrees)
