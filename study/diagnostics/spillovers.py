"""Whether the treatment of a unit reaches its untreated neighbours, who stand in the comparison group."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from itertools import pairwise
from typing import Any

import numpy as np

from study.core import BoolArray, FloatArray, QuestionError, counted, p_text, refuse_unknown
from study.diagnostics import Finding, Needs, Section, diagnostic, dots, event_dates, headline, refit
from study.diagnostics.refits import redated, refuse_group, with_error
from study.estimates import SIZE, Effect, Estimate, effects_frame
from study.inference import holm, joined_headlines
from study.panel import Sample, Scale, dates_with_lag, pool_cohorts

WHO = "spillovers"
UNEXPOSED = "unexposed units only"
EARTH_RADIUS_KM = 6371.0088
UNLABELLED = ("", "nan", "None")

Coordinates = Mapping[str, Sequence[float]] | FloatArray


# By ring around units that are treated by the sample's last period, from the nearest on, to be read after "units": the
# first treated period within it of the units of which it is the nearest, shape (n,), NaN elsewhere. A unit beyond all
# rings is unexposed, and a treated unit is in its own first one.
Exposure = dict[str, FloatArray]


def source_dates(sample: Sample) -> FloatArray:
    """Return the first treated period of all units of the panel, NaN where not in the sample's periods.

    A unit outside the sample, for example one treated before the first period, has neighbours too.
    """
    panel, q = sample.panel, sample.question
    dates = pool_cohorts(dates_with_lag(panel, q.event, q.lag), panel.periods, q.cohort_width)
    return np.where(dates - q.anticipation <= sample.periods[-1], dates, np.nan)


def by_label(sample: Sample, name: str) -> Exposure:
    """Return the exposure of units that share a label with a treated unit of the panel.

    Raises
    ------
    QuestionError
        If the panel has no such label, or a unit has none.
    """
    refuse_unknown("attribute", name, sample.attributes, WHO)
    own = sample.attributes[name].astype(str)
    blank = np.isin(own, UNLABELLED)
    if blank.any():
        raise QuestionError(
            f"{WHO}: {name} is empty for {counted(blank.sum(), 'unit')}, first {sample.unit_ids[blank][0]}; leave them "
            "out with the question's population."
        )
    names, of_unit = np.unique(sample.panel.attributes[name].astype(str), return_inverse=True)
    first = np.full(len(names), np.nan)
    np.fmin.at(first, of_unit, source_dates(sample))
    return {f"in the same {name}": first[np.searchsorted(names, own)]}


def by_distance(sample: Sample, coordinates: Coordinates, rings: Sequence[float]) -> Exposure:
    """Return the exposure of units in rings around treated units.

    Parameters
    ----------
    sample : Sample
    coordinates : mapping of unit to (latitude, longitude), or ndarray of shape (n, 2)
        In degrees. A mapping may name units of the panel that are not in the sample, whose treatment then counts.
    rings : sequence of float
        Outer limits in km, ascending.

    Raises
    ------
    QuestionError
        If a unit of the sample has no coordinates, or one is out of range.
    """
    from sklearn.metrics.pairwise import haversine_distances

    units = sample.panel.units
    sources = here_among = sample.panel_rows
    if isinstance(coordinates, Mapping):
        absent = [str(unit) for unit in sample.unit_ids if str(unit) not in coordinates]
        if absent:
            raise QuestionError(
                f"{WHO}: no coordinates of {counted(len(absent), 'unit')}, first {absent[0]}; leave them out with the "
                "question's population, or add them."
            )
        sources = np.flatnonzero([str(unit) in coordinates for unit in units])
        coordinates = np.array([coordinates[str(unit)] for unit in units[sources]], dtype=float)
    there = np.asarray(coordinates, dtype=float)
    if there.shape != (len(sources), 2):
        raise QuestionError(
            f"{WHO}: coordinates have shape {there.shape}; give latitude and longitude of each unit."
        )
    here = np.searchsorted(sources, here_among)
    outside = ~((np.abs(there[:, 0]) <= 90) & (np.abs(there[:, 1]) <= 180))
    if outside.any():
        latitude, longitude = there[outside][0]
        raise QuestionError(
            f"{WHO}: the coordinates of {units[sources][outside][0]} are ({latitude:g}, {longitude:g}); give degrees "
            "of latitude in [-90, 90] and of longitude in [-180, 180]."
        )
    dates, limits = source_dates(sample)[sources], np.array(rings)[:, None]
    on_globe, since = np.radians(there), np.full((len(rings), sample.n_units), np.nan)
    for k in np.flatnonzero(np.isfinite(dates)):
        apart = EARTH_RADIUS_KM * haversine_distances(on_globe[here], on_globe[[k]])[:, 0]
        since = np.fmin(since, np.where(apart <= limits, dates[k], np.nan))
    since[1:][np.isfinite(since[:-1])] = np.nan  # within a nearer ring, and so within all that are farther
    names = (f"at {start:g}-{end:g} km" for start, end in pairwise((0.0, *rings)))
    return dict(zip(names, since, strict=True))


@diagnostic(
    "Spillovers to untreated neighbours",
    "Does treatment of a unit reach its untreated neighbours?",
    Section.AGAINST,
    needs=(Needs.NEIGHBOURS,),
)
def spillovers(
    sample: Sample,
    design: str,
    *,
    by: str | Coordinates = "country",
    rings: Sequence[float] | None = None,
    level: float = 0.95,
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
        Coverage of the intervals; whether any difference or ring of neighbours is different from zero is tested at a
        familywise error of 5% (Holm 1979), and p-values are not adjusted.
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
        If the event is not absorbing, the question is a third difference, the attribute is unknown, a unit has no label
        or coordinates, rings are missing or do not ascend, or all comparison units are exposed or none. Refits that the
        design refuses are listed.

    References
    ----------
    Butts, K. (2023). Difference-in-differences estimation with spatial spillovers. arXiv:2105.03737.
    """
    event_dates(sample, WHO)
    refuse_group(WHO, sample)
    attribute, limits = by if isinstance(by, str) else None, list(map(float, rings or ()))
    if attribute and rings is not None:
        raise QuestionError(f'{WHO}: rings are for coordinates; by="{by}" has none.')
    if not attribute and (not limits or min(limits) <= 0 or any(np.diff(limits) <= 0)):
        raise QuestionError(f"{WHO}: rings is {rings!r}; give ascending limits in km, such as (50, 200).")
    exposure = by_label(sample, by) if isinstance(by, str) else by_distance(sample, by, limits)
    untreated = ~sample.ever_treated
    since = np.fmin.reduce(list(exposure.values()))
    members = {name: untreated & np.isfinite(dates) for name, dates in exposure.items()}
    unexposed = untreated & np.isnan(since)
    if unexposed.sum() in (0, untreated.sum()):
        raise QuestionError(
            f"{WHO}: {'every' if unexposed.any() else 'no'} comparison unit is unexposed (no treated unit "
            f"{' or '.join(exposure)}), so exposed and unexposed units cannot be compared; choose another attribute, "
            "or other rings."
        )
    full = Effect.of("all comparison units", headline(sample, design, options), level)
    inhabited = [name for name, units in members.items() if units.any()]
    groups = {UNEXPOSED: unexposed} | {f"units {name} only": members[name] for name in inhabited}
    compared = {
        label: partial(sample.only, ~untreated | units, f"not among the {label}")
        for label, units in groups.items()
    }
    comparisons = refit(compared, design, options, level, keep=True)
    by_attribute = None if sample.question.cluster else attribute
    around = {
        f"neighbours {name}": partial(neighbour_sample, sample, exposure[name], unexposed, by_attribute)
        for name in inhabited
    }
    neighbours = refit(around, design, options, level)
    differences = tuple(_differences(comparisons.fits, by_attribute, level))
    tests, scale = (*differences, *neighbours.rows), sample.question.effect_scale
    frame = effects_frame([full, *comparisons.rows, *tests])
    kinds = ("effect by comparison", "difference", "effect on neighbours")
    times = (1 + len(comparisons.rows), len(differences), len(neighbours.rows))
    frame.insert(0, "kind", np.repeat(kinds, times))
    early = int(np.sum(untreated & (since - sample.question.anticipation <= sample.periods[0])))
    counts = {name: int(units.sum()) for name, units in (members | {"unexposed": unexposed}).items()}
    details = {"full_sample": full, "comparisons": comparisons.rows, "differences": differences}
    details |= {"neighbours": neighbours.rows, "counts": counts, "exposed_from_start": early}
    p_holm = holm(np.array([row.p_value for row in tests])) if tests else ()
    different = ", ".join(row.label for row, p in zip(tests, p_holm, strict=True) if p < SIZE)
    cluster = sample.question.cluster or attribute or "unit"
    names = ("effect on the treated", "effect on untreated neighbours")
    return Finding.of(
        [*_sentences(scale, level, details, cluster, different), *comparisons.refusals, *neighbours.refusals],
        frame,
        dots(scale, level, frame["label"], marked=list(frame["kind"] == kinds[2]), names=names),
        against=bool(different) if tests else None,
        objection=f"changes of untreated neighbours ({different})",
        details=details,
    )


def _sentences(
    scale: Scale, level: float, details: Mapping[str, Any], cluster: str, different: str
) -> Iterator[str]:
    full, percent = details["full_sample"], f"{100 * level:g}%"
    if different:
        yield (
            f"At a familywise error of {SIZE:.0%} these differ from zero: {different}. Either treatment reaches "
            "neighbours, or exposed and unexposed units have other trends, which these comparisons do not separate."
        )
    elif details["differences"] or details["neighbours"]:
        what = "neither the choice of comparison units nor the neighbours' own change is different from zero"
        if not details["neighbours"]:
            what = "the choice of comparison units makes no significant difference"
        elif not details["differences"]:
            what = "the neighbours' own change is not different from zero"
        alone = any(row.p_value < SIZE for row in (*details["differences"], *details["neighbours"]))
        yield f"No spillover is seen: {what} at the {SIZE:.0%} level{' (Holm)' * alone}."
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
            f"{scale.text(row.estimate)} ({percent} interval {row.interval(scale)}, p-value {p_text(row.p_value)}, "
            f"clustered by {cluster})."
        )
    for row in details["neighbours"]:
        yield (
            f"Untreated {row.label} change by {scale.text(row.estimate)} after the first event near them, against "
            f"unexposed units ({percent} interval {row.interval(scale)}, {counted(row.n_treated, 'unit')}, clustered "
            f"by {cluster})."
        )
    if details["exposed_from_start"]:
        yield (
            f"Not in that: {counted(details['exposed_from_start'], 'exposed unit')}, without a period before the first "
            "event near them."
        )


def neighbour_sample(sample: Sample, dates: FloatArray, unexposed: BoolArray, cluster: str | None) -> Sample:
    """Return the untreated units that are unexposed or in a ring, the latter treated from the first event near them."""
    neighbours = _clustered(replace(sample, first_treated=dates), cluster).only(
        unexposed | (~sample.ever_treated & np.isfinite(dates)), "treated, or in another ring"
    )
    return redated(neighbours, event_dates(neighbours, WHO))


def _clustered(sample: Sample, attribute: str | None) -> Sample:
    """Return the sample clustered by an attribute, or as it is."""
    if attribute is None:
        return sample
    cluster = np.unique(sample.attributes[attribute].astype(str), return_inverse=True)[1]
    return replace(sample, question=sample.question.replace(cluster=attribute), cluster=cluster)


def _differences(fits: Mapping[str, Estimate], cluster: str | None, level: float) -> Iterator[Effect]:
    """Yield the headline with unexposed comparison units less that with those of each ring, where it varies."""
    if UNEXPOSED not in fits:
        return
    if cluster is not None:
        fits = {
            label: replace(
                fit, sample=_clustered(fit.sample, cluster), contrast=replace(fit.contrast, left_out=None)
            )
            for label, fit in fits.items()
        }
    unexposed, *rings = fits.values()
    for label, fit in zip(list(fits)[1:], rings, strict=True):
        apart = joined_headlines({"ring": fit, "unexposed": unexposed}, WHO).differences()
        if fit.varies[0] and unexposed.varies[0] and np.isfinite(apart.std_error[0]):
            name = f"unexposed less {label.removeprefix('units ').removesuffix(' only')}"
            like = Effect(name, n_units=len(apart.influence), n_treated=unexposed.sample.n_treated)
            degrees = float(apart.degrees_of_freedom[0])
            yield with_error(like, float(apart.effect[0]), float(apart.std_error[0]), degrees, level)
