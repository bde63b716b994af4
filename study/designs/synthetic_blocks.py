"""Cohorts beside the units that are never treated in the window, and effects whose influence is a jackknife's."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from math import comb
from typing import NamedTuple

import numpy as np

from study.core import FloatArray, Influence, IntArray, QuestionError, counted
from study.estimates import Contrast, Estimate, LeftOut, clusters_left_out, group_time_effects
from study.panel import Sample


@dataclass(frozen=True, eq=False)
class Block:
    """One cohort's outcomes beside those of its comparison units, without gaps.

    Attributes
    ----------
    cohort : float
    treated, comparison : ndarray, shapes (N, T), (J, T)
        Outcomes.
    rows : ndarray of int, shape (J + N,)
        Units of the sample: comparison units first.
    n_before : int
        T0: periods before treatment less the anticipation, which are the first ones.
    """

    cohort: float
    treated: FloatArray
    comparison: FloatArray
    rows: IntArray
    n_before: int

    @property
    def before(self) -> FloatArray:
        """Comparison outcomes before treatment, shape (J, T0)."""
        return self.comparison[:, : self.n_before]

    @property
    def after(self) -> FloatArray:
        """Comparison outcomes from treatment on, shape (J, T1)."""
        return self.comparison[:, self.n_before :]

    @property
    def changes(self) -> Block:
        """The block of changes since each unit's first period, for fits that unit levels do not move."""
        treated, comparison = (y - y[:, :1] for y in (self.treated, self.comparison))
        return replace(self, treated=treated, comparison=comparison)

    @property
    def n_left_out(self) -> int:
        """How many units can be left out: all, or the comparison units where one unit is treated."""
        return len(self.comparison) + (len(self.treated) if len(self.treated) > 1 else 0)

    @property
    def n_cells(self) -> int:
        """Treated units times periods from treatment on."""
        return len(self.treated) * self.after.shape[1]

    def start(self, leads: int | None) -> int:
        """Return the number of the first period that has a term, with so many before treatment, or all of them."""
        return 0 if leads is None else max(self.n_before - leads, 0)

    def among(self, own: IntArray, others: IntArray) -> Block:
        """Return the block in which some comparison units are the treated ones, and others compared with them."""
        rows = np.concatenate([self.rows[others], self.rows[own]])
        return replace(self, treated=self.comparison[own], comparison=self.comparison[others], rows=rows)


class Fitted(NamedTuple):
    """Effects of a block by period that has a term, shape (K,), and without each of its units, (J + N, K).

    NaN rows where they are not defined without a unit. ``anew`` are those of the default errors.
    """

    effect: FloatArray
    without: FloatArray
    anew: FloatArray


def blocks(sample: Sample, design: str, least: int, why: str = "") -> tuple[list[Block], list[str]]:
    """Return the block of each cohort that has enough periods before treatment, and a note on each other one.

    ``why`` says after a comma what asks for so many.

    Comparison units are those that are not treated in the window: the never-treated and, with
    ``comparison="not_yet_treated"``, those treated after it.

    Raises
    ------
    QuestionError
        If fewer than two comparison units are there, or no cohort has ``least`` periods before treatment.
    """
    assert sample.first_treated is not None
    starts = sample.first_treated - sample.question.anticipation
    free = np.flatnonzero(~(starts <= sample.periods[-1]))
    if len(free) < 2:
        raise QuestionError(
            f"{design}: it needs two or more units that are never treated in the window, and there are {len(free)}; "
            "use a design that compares with units not yet treated, such as callaway_santanna."
        )
    cohorts, notes = [], []
    for g in sample.cohorts:
        n_before = int(np.sum(sample.periods < g - sample.question.anticipation))
        if n_before < least:
            needed = f"{n_before} of the {least} periods needed before treatment{why}"
            notes.append(f"cohort {sample.period_name(g)} left out: {needed}")
            continue
        own = np.flatnonzero(sample.first_treated == g)
        cohorts.append(Block(float(g), sample.y[own], sample.y[free], np.concatenate([free, own]), n_before))
    if not cohorts:
        raise QuestionError(
            f"{design}: no effect can be estimated: {'; '.join(notes)}; imputation and callaway_santanna need one."
        )
    return cohorts, notes


def estimate_blocks(
    sample: Sample,
    parts: Sequence[Block],
    fit: Callable[[Block], Fitted],
    design: str,
    notes: Sequence[str],
    *,
    leads: int | None = 0,
    replicates: FloatArray | None = None,
    replication: str = "",
) -> Estimate:
    """Return the effects of all blocks as ATT(g,t) from the first lead on, with pseudo-values as influence.

    The influence of unit i is n - 1 times the mean of the effects without one of the block's units less the effect
    without unit i, so that "CR1" is the jackknife's variance; "jackknife" takes n times that difference. The unit of a
    cohort of one has none, so that its effects take the pooled variance. Where the effects without some comparison unit
    are not defined, no term has an influence and a note says so, unless there are replicates, shape (K, R).
    """
    n, fitted, start = sample.n_units, [fit(block) for block in parts], [b.start(leads) for b in parts]
    after = [sample.periods[first:] for first in start]
    length = [len(periods) for periods in after]
    cohort = np.repeat([block.cohort for block in parts], length)
    effect = np.concatenate([result.effect for result in fitted])
    outcomes = [block.treated[:, first:] for block, first in zip(parts, start, strict=True)]
    mean = np.concatenate([own.mean(axis=0) for own in outcomes])
    sides = [np.split(sample.cluster[block.rows], [len(block.comparison)])[::-1] for block in parts]
    sizes = np.array([[len(np.unique(side)) for side in of_block] for of_block in sides])
    clusters = np.repeat(sizes.T, length, axis=1)
    influences = [Influence.none(n, len(effect))] * 4
    lost = [
        sample.period_name(b.cohort)
        for b, result in zip(parts, fitted, strict=True)
        if np.isnan(result.without[: b.n_left_out]).any()
    ]
    why = f"one comparison unit has all the weight for cohort {lost[0]}" if lost else ""
    if why:
        test = f'study.randomization(sample, "{design}", statistic="estimate") tests the sharp null exactly'
        notes = notes if replicates is not None else [*notes, f"no standard error: {why}; {test}"]
    else:
        means = [
            np.vstack([np.tile(own.mean(axis=0), (len(block.comparison), 1)), means_without_each(own)])
            for block, own in zip(parts, outcomes, strict=True)
        ]
        effects = [[result.without for result in fitted], [result.anew for result in fitted]]
        untreated_means = [[m - e for m, e in zip(means, each, strict=True)] for each in effects]
        influences = [_pseudo_values(sample, parts, each) for each in (*effects, *untreated_means)]
    influence, left, untreated, untreated_left = influences
    factor, estimable = np.array([n / (n - 1)]), (clusters.min(axis=0) >= 2) & (not why)
    by_unit = group_time_effects(
        sample,
        cohort,
        np.concatenate(after).astype(float),
        effect,
        influence,
        untreated_mean=mean - effect,
        untreated_influence=untreated,
        shares="fixed" if why or replicates is not None else "estimated",
        n_obs=int(sum(block.treated.size for block in parts) + parts[0].comparison.size),
        published="CR1",
        contrast=Contrast(
            left_out=LeftOut(left.scaled(factor), untreated_left.scaled(factor), clusters, estimable)
        ),
        notes=tuple(notes),
        against="all_before",
        replicates=replicates,
        replication=replication,
    )
    return clusters_left_out(by_unit)


def placebo_by_default(sample: Sample, parts: Sequence[Block]) -> bool:
    """Say whether a cohort has one unit, which no jackknife can leave out, and there are units for placebos."""
    sizes = [len(block.treated) for block in parts]
    enough = len(parts[0].comparison) >= sum(sizes) + 2
    return min(sizes) == 1 and enough and sample.n_clusters() == sample.n_units


def refuse_clusters(sample: Sample, design: str, inference: str) -> None:
    """Refuse clusters above the unit for placebos and bootstraps, which draw unit by unit."""
    if inference != "jackknife" and sample.n_clusters() < sample.n_units:
        raise QuestionError(
            f"{design}: inference is {inference}, which draws unit by unit, but units are clustered by "
            f'{sample.question.cluster}; use inference="jackknife", or ask without cluster.'
        )


def placebo_effects(
    parts: Sequence[Block], fit: Callable[[Block], Fitted], design: str, replications: int, seed: int
) -> tuple[FloatArray, str]:
    """Return effects on comparison units that are taken as the treated ones, shape (K, R), and a note on them.

    All cohorts' numbers of units are drawn at once, without replacement, and the comparison units left are compared
    with all of them (Arkhangelsky et al. 2021, Algorithm 4; for cohorts Clarke et al. 2023). Of one cohort, every
    choice of units is taken once if there are no more than replications.

    Raises
    ------
    QuestionError
        If fewer than two comparison units are left.
    """
    sizes, n_free = [len(block.treated) for block in parts], len(parts[0].comparison)
    if n_free < sum(sizes) + 2:
        raise QuestionError(
            f"{design}: inference is placebo, which takes {sum(sizes)} of the {n_free} comparison units as treated and "
            'needs two more; use inference="jackknife", or study.randomization.'
        )
    choices = comb(n_free, sizes[0]) if len(parts) == 1 else replications + 1
    effects = []
    for chosen in _chosen(n_free, sum(sizes), choices <= replications, replications, seed):
        others = np.delete(np.arange(n_free), chosen)
        own = np.split(chosen, np.cumsum(sizes)[:-1])
        effects.append(
            np.concatenate([fit(part.among(o, others)).effect for part, o in zip(parts, own, strict=True)])
        )
    how = "all" if choices <= replications else f"{replications} random"
    note = (
        f"standard errors by placebo, from {how} choices of {counted(sum(sizes), 'comparison unit')} taken as "
        "treated: they hold if outcomes of treated units vary as those of comparison units do"
    )
    return np.column_stack(effects), note


def _chosen(n: int, size: int, every: bool, replications: int, seed: int) -> Iterator[IntArray]:
    """Yield every choice of so many of n units, or random ones in random order."""
    if every:
        yield from (np.array(units) for units in combinations(range(n), size))
        return
    rng = np.random.default_rng(seed)
    for _ in range(replications):
        yield rng.permutation(n)[:size]


def means_without_each(values: FloatArray) -> FloatArray:
    """Return the column means without each row, shape (N, K) as the values; NaN for a single row."""
    n = len(values)
    return (values.sum(axis=0) - values) / (n - 1) if n > 1 else np.full(values.shape, np.nan)


def _pseudo_values(sample: Sample, parts: Sequence[Block], without: Sequence[FloatArray]) -> Influence:
    """Return the influence of each unit from the effects without it."""
    n, columns = sample.n_units, []
    for block, every in zip(parts, without, strict=True):
        left = every[: block.n_left_out]
        columns.append(np.zeros((n, left.shape[1])))
        columns[-1][block.rows[: block.n_left_out]] = (n - 1) * (left.mean(axis=0) - left)
    return Influence.of(np.hstack(columns))
