"""Whether the treatment of a unit reaches its untreated neighbours, who stand in the comparison group."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from study.core import QuestionError, checked, quantile, two_sided_p
from study.diagnostics.nearness import Coordinates, Nearness, by_distance, by_label
from study.diagnostics.refits import (
    Compared,
    Progress,
    Refits,
    answers,
    check,
    event_dates,
    headline,
    redated,
    treated,
)
from study.estimates import Effect, Estimate, effects_frame
from study.figures import dot_figure
from study.inference import joined_headlines
from study.panel import Sample

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

FAR = "far units only"


@dataclass(frozen=True, eq=False)
class Spillovers(Compared):
    """The headline by nearness of its comparison units, and the effect on those that are near.

    Attributes
    ----------
    counts : mapping of str to int
        Comparison units in each ring, and far.
    comparisons : Refits
        The headline with the comparison units that are far only, and with those of each ring only.
    differences : tuple of Row
        The headline with far units only less that with each ring, by their joint influence clustered by ``clustered``.
    neighbours : Refits
        Effect on the untreated units of each ring, treated as from the first event in it, against the far ones.
    already : int
        Near comparison units whose neighbour was treated too early for them to have a period before.
    clustered : str
        What the standard errors of ``differences`` and ``neighbours`` are clustered by.
    """

    counts: Mapping[str, int]
    comparisons: Refits
    differences: tuple[Effect, ...]
    neighbours: Refits
    already: int
    clustered: str

    @property
    def title(self) -> str:
        """Heading."""
        return "Spillovers to untreated neighbours"

    @property
    def sentences(self) -> tuple[str, ...]:
        """What reaches neighbours."""
        q, percent = self.question, f"{100 * self.level:g}%"
        counts = ", ".join(f"{number} {name}" for name, number in self.counts.items())
        return (
            *self._verdict,
            f"By the nearest treated unit the comparison units are: {counts}. With all of them the effect on "
            f"{q.outcome} is {self.scale.text(self.whole.estimate)} {self.scale.unit}, interval "
            f"{self.whole.interval(self.scale)}.",
            *(
                f"With {row.label} as comparison the effect is {self.scale.text(row.estimate)} ({percent} interval "
                f"{row.interval(self.scale)})."
                for row in self.comparisons.rows
            ),
            *(
                f"The effect with far units, less that with {row.label.removeprefix('far less ')}, is "
                f"{self.scale.text(row.estimate)} ({percent} interval {row.interval(self.scale)}, "
                f"p-value {row.p_value:.2g}, clustered by {self.clustered})."
                for row in self.differences
            ),
            *self._neighbours,
            *self.comparisons.refusals,
            *self.neighbours.refusals,
        )

    @property
    def _neighbours(self) -> list[str]:
        told = [
            f"Untreated {row.label} change by {self.scale.text(row.estimate)} after the first event near "
            f"them, against far units ({100 * self.level:g}% interval {row.interval(self.scale)}, {row.n_treated} units, "
            f"clustered by {self.clustered})."
            for row in self.neighbours.rows
        ]
        if self.already:
            told.append(
                f"{self.already} near units have no period before the first event near them and are not in that."
            )
        return told

    @property
    def _verdict(self) -> list[str]:
        if not self.differences and not self.neighbours.rows:
            return []
        found = [row.label for row in (*self.differences, *self.neighbours.rows) if row.excludes_zero]
        if not found:
            return [
                "No spillover is seen: neither the choice of comparison units nor the neighbours' own change is "
                f"different from zero at the {100 * self.level:g}% level."
            ]
        return [
            f"These differ from zero: {', '.join(found)}. Either treatment reaches neighbours, or near and far units "
            "have other trends, which these comparisons do not separate."
        ]

    def tidy(self) -> pd.DataFrame:
        """Return a row for each comparison, difference and ring of neighbours, named in ``kind``."""
        parts = {
            "effect by comparison": (self.whole, *self.comparisons.rows),
            "difference": self.differences,
            "effect on neighbours": self.neighbours.rows,
        }
        table = effects_frame([row for rows in parts.values() for row in rows])
        table.insert(0, "kind", [kind for kind, rows in parts.items() for _ in rows])
        return table

    def plot(self) -> Figure:
        """Draw the headline by comparison units above the effect on neighbours."""
        rows = (self.whole, *self.comparisons.rows, *self.differences, *self.neighbours.rows)
        return dot_figure(
            rows,
            xlabel=self.scale.axis(),
            marked=[row in self.neighbours.rows for row in rows],
            names=("effect on the treated", "effect on untreated neighbours"),
            percent=self.scale.percent,
            level=self.level,
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
) -> Spillovers:
    """Ask whether treatment of one unit reaches its untreated neighbours.

    The headline is refitted with the comparison units that are far from every treated unit, and with those near to
    one; if treatment reaches neighbours, the near ones do not show the course without treatment. Then the untreated
    units near to a treated one are themselves taken as treated, from the first event near them on, against the far
    ones (the rings of Butts 2023, Section 3). Treated units that are near to other treated ones stay: what reaches
    them is part of the effect. With comparison="not_yet_treated" units treated later stand in the comparison until
    then, whether near or far.

    Parameters
    ----------
    sample : Sample
    design : str
    by : str, mapping, or ndarray of shape (n, 2)
        An attribute, for example "country", whose units are near to each other; or latitude and longitude in
        degrees, by unit or in the sample's order. Treated units of the panel outside the sample count too where
        their label or coordinates are known.
    rings : sequence of float, optional
        For coordinates: ascending outer limits of the rings, in km; units beyond the last are far.
    level : float
        Coverage of the intervals.
    progress : callable, optional
        Called after each refit.
    **options
        Options of the design.

    Returns
    -------
    Spillovers
        Differences and effects on neighbours are clustered by the attribute where the question names no cluster,
        for its units are near or far together.

    Raises
    ------
    QuestionError
        If the event is not absorbing, the attribute is unknown, a unit has no label or coordinates, rings are missing
        or do not ascend, or no comparison unit is far or none near. Refits that the design refuses are listed.

    References
    ----------
    Butts, K. (2023). Difference-in-differences estimation with spatial spillovers. arXiv:2105.03737.
    """
    check("spillovers", design, options, level)
    event_dates(sample, "spillovers")
    near = _nearness(sample, by, rings)
    compared = ~treated(sample)
    members = {name: compared & (near.ring == r) for r, name in enumerate(near.rings)}
    _refuse_one_sided(near, compared)
    whole = headline(sample, design, options)
    sides: dict[str, NDArray[np.bool_]] = {FAR: compared & near.far}
    sides |= {f"units {name} only": who for name, who in members.items() if who.any()}
    made: dict[str, Callable[[], Sample]] = {
        label: partial(sample.only, ~compared | who, f"not among the {label}") for label, who in sides.items()
    }
    found = dict(answers(made, design, options, progress))
    exposed: dict[str, Callable[[], Sample]] = {
        f"neighbours {name}": partial(neighbour_sample, sample, near, r, by if isinstance(by, str) else None)
        for r, name in enumerate(near.rings)
        if members[name].any()
    }
    label = by if isinstance(by, str) and sample.question.cluster is None else None
    early = near.since - sample.question.anticipation <= sample.periods[0]
    differences = [_difference(ring, found, label, level) for ring in found if _both(ring, found)]
    return Spillovers(
        sample.question,
        design,
        level,
        Effect.of("all comparison units", whole, level),
        {name: int(who.sum()) for name, who in members.items()} | {"far": int((compared & near.far).sum())},
        Refits.of(found.items(), level),
        tuple(row for row in differences if math.isfinite(row.std_error)),
        Refits.of(answers(exposed, design, options, progress), level),
        int(np.sum(compared & early)),
        sample.question.cluster or (by if isinstance(by, str) else "unit"),
    )


def _nearness(sample: Sample, by: str | Coordinates, rings: Sequence[float] | None) -> Nearness:
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


def _refuse_one_sided(near: Nearness, compared: NDArray[np.bool_]) -> None:
    far = int(np.sum(compared & near.far))
    if far == 0 or far == compared.sum():
        where = " or ".join(near.rings)
        raise QuestionError(
            f"spillovers: {'no' if far == 0 else 'every'} comparison unit is far from every treated one ({where}), so "
            "near and far cannot be compared; choose another attribute, or other rings."
        )


def neighbour_sample(sample: Sample, near: Nearness, ring: int, label: str | None) -> Sample:
    """Return the untreated units that are far or in a ring, the latter treated from the first event near them."""
    chosen = ~treated(sample) & (near.far | (near.ring == ring))
    first = np.where(near.ring == ring, near.since, np.nan)
    dated = replace(sample, first_treated=first)
    kept = _clustered(dated, None if sample.question.cluster else label).only(
        chosen, "treated, or in another ring"
    )
    return redated(kept, event_dates(kept, "spillovers"))


def _clustered(sample: Sample, label: str | None) -> Sample:
    """Return the sample clustered by an attribute, or as it is."""
    if label is None:
        return sample
    cluster = np.unique(sample.attributes[label].astype(str), return_inverse=True)[1]
    return replace(sample, question=sample.question.replace(cluster=label), cluster=cluster)


def _both(ring: str, found: Mapping[str, Estimate | str]) -> bool:
    return ring != FAR and not isinstance(found[ring], str) and not isinstance(found[FAR], str)


def _difference(ring: str, found: Mapping[str, Estimate | str], label: str | None, level: float) -> Effect:
    """Return the headline with far comparison units less that with the near ones of a ring, clustered by a label."""
    near, far = found[ring], found[FAR]
    assert isinstance(near, Estimate)
    assert isinstance(far, Estimate)
    if label is not None:
        near, far = (replace(f, sample=_clustered(f.sample, label), left_out=None) for f in (near, far))
    apart = joined_headlines({"near": near, "far": far}, "spillovers").differences()
    gap, error, degrees = (float(x[0]) for x in (apart.effect, apart.std_error, apart.degrees_of_freedom))
    error = error if near.varies[0] and far.varies[0] else math.nan
    half = quantile((1 + level) / 2, degrees) * error
    p_value = float(two_sided_p(gap / error, degrees))
    sizes = len(apart.influence), int(treated(far.sample).sum())
    return Effect(
        f"far less {ring.removesuffix(' only')}",
        gap,
        error,
        p_value,
        gap - half,
        gap + half,
        n_units=sizes[0],
        n_treated=sizes[1],
        degrees=degrees,
    )
