"""Whether the treatment of a unit reaches its untreated neighbours, who stand in the comparison group."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from study.core import QuestionError, checked, quantile, two_sided_p
from study.diagnostics.exposure import Coordinates, Exposure, by_distance, by_label
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
from study.panel import Sample, Scale

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
