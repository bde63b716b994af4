"""Cells of group-time effects: cohort, period and base of each, who is compared with whom, and their differences."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from study.core import BoolArray, FloatArray, Influence, IntArray, QuestionError, Values, group_mean, solvable
from study.estimates import (
    CohortMeans,
    Contrast,
    Estimate,
    group_time_effects,
    left_out,
    left_out_by_period,
    only_row,
    weights_in_cohorts,
)
from study.panel import Products, Sample

# Why each cell has no estimate, shape (K,); an empty text where it has one.
Reasons = NDArray[np.object_]
COLLINEAR = 1e-7


class Effects(NamedTuple):
    """Estimates and mean outcomes of the treated, shape (K,); ``reasons`` says why some have no estimate.

    ``size`` counts the treated units that an estimate rests on, ``n_obs`` the unit-periods that all do, ``unlike``
    says by number what is to be said of terms that have an estimate, such as how many comparison units resemble none of
    the treated ones. ``by_period`` are the parts of the influence of a cell's two periods, where these have units of
    their own.
    """

    estimate: FloatArray
    influence: Influence
    mean: FloatArray
    mean_influence: Influence
    size: IntArray
    reasons: Reasons
    n_obs: int = 0
    unlike: Mapping[int, str] = {}
    by_period: Sequence[Influence] = ()


class Cells(NamedTuple):
    """Cohort, period, and numbers of the period and of its base, of each term; shape (K,)."""

    cohort: FloatArray
    period: FloatArray
    now: IntArray
    base: IntArray

    @property
    def reference(self) -> BoolArray:
        """Cells of the base period itself."""
        return self.now == self.base

    def select(self, which: IntArray | BoolArray) -> Cells:
        """Return some of the terms."""
        return Cells(self.cohort[which], self.period[which], self.now[which], self.base[which])


def cells_of(sample: Sample, cohorts: FloatArray) -> Cells:
    """Lay out the terms of some cohorts, each in all periods.

    Periods from g-d on have the base g-d-1, as in Callaway and Sant'Anna (2021); did differs for d > 1 with a
    varying base, where it starts that at g.
    """
    start = (cohorts - sample.question.anticipation - sample.periods[0]).astype(np.int64)[:, None]
    now, base = np.broadcast_arrays(np.arange(len(sample.periods)), start - 1)
    if sample.question.base == "varying":
        base = np.where(now >= start, base, now - 1)
        now, base = now[:, 1:], base[:, 1:]
    cohort = np.repeat(cohorts, now.shape[1])
    return Cells(cohort, sample.periods[now.ravel()].astype(float), now.ravel(), base.ravel())


def event_times(sample: Sample, cohorts: FloatArray, before: int | None, after: int | None) -> range:
    """Return the event times that lie in the window for some cohort.

    ``before`` counts those before treatment less the anticipation, the reference among them; ``after`` is the last.
    """
    earliest, latest = int(sample.periods[0] - cohorts[-1]), int(sample.periods[-1] - cohorts[0])
    first = earliest if before is None else max(earliest, -sample.question.anticipation - before)
    return range(first, (latest if after is None else min(latest, after)) + 1)


def compared_with(sample: Sample, cells: Cells, first: FloatArray) -> BoolArray:
    """Return which of some first treated periods belong to comparison units of each term, shape (m, K)."""
    if sample.question.comparison == "never_treated":
        return np.broadcast_to(np.isnan(first)[:, None], (len(first), len(cells.cohort)))
    until = sample.periods[np.maximum(cells.now, cells.base)] + sample.question.anticipation
    return ~(first[:, None] <= until) & (first[:, None] != cells.cohort)


def unseen(treated: BoolArray, compared: BoolArray, reference: BoolArray) -> Reasons:
    """Return why terms in which one of the groups is not observed have no estimate; shapes (K,)."""
    groups = ["no treated unit is observed", "no comparison unit is observed"]
    return np.select([~treated, ~compared & ~reference], groups, "").astype(object)


class Comparison(NamedTuple):
    """Who is compared with whom, and when, in the K terms of one cohort.

    ``own`` are the numbers of the terms among those of all cohorts, ``now`` and ``base`` period numbers, shape (K,).
    ``members`` are the m units of the cohort; which of them are seen has shape (K, m), which units they are compared
    with (K, n). The two periods of a cell differ in that with missing="cells" only.
    """

    own: IntArray
    now: IntArray
    base: IntArray
    members: IntArray
    treated_now: BoolArray
    treated_base: BoolArray
    compared_now: BoolArray
    compared_base: BoolArray

    @property
    def unseen(self) -> Reasons:
        """Why terms have no estimate in which one of the groups is not observed."""
        return unseen(
            np.any(self.treated_now, axis=1) & np.any(self.treated_base, axis=1),
            np.any(self.compared_now, axis=1) & np.any(self.compared_base, axis=1),
            self.now == self.base,
        )

    def alike(self, cells: IntArray, sample: Sample) -> list[IntArray]:
        """Put cells of the same units together; with repeated cross-sections each stands alone."""
        if sample.question.missing == "cells":
            return [cells[[k]] for k in range(len(cells))]
        groups: dict[tuple[bytes, bytes], list[int]] = {}
        for k in cells:
            key = self.treated_now[k].tobytes(), self.compared_now[k].tobytes()
            groups.setdefault(key, []).append(int(k))
        return [np.array(group) for group in groups.values()]

    def used(self, cells: IntArray, n_periods: int) -> BoolArray:
        """Return the unit-periods that some of the cells rest on, shape (T, n)."""
        used = np.zeros((n_periods, self.compared_now.shape[1]), dtype=bool)
        used[self.now[cells]] = self.compared_now[cells]
        used[np.ix_(self.now[cells], self.members)] = self.treated_now[cells]
        for base in np.unique(self.base[cells]):
            here = cells[self.base[cells] == base]
            used[base] |= self.compared_base[here].any(axis=0)
            used[base, self.members] |= self.treated_base[here].any(axis=0)
        return used

    def treated_mean(self, sample: Sample, y: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Return the treated units' mean outcome in each cell's period, y being (T, n), and its influence, (K, m)."""
        outcome = y[np.ix_(self.now, self.members)]
        mean = group_mean(outcome, self.treated_now, sample.weights[self.members], sample.n_rows)
        return mean.estimate, mean.influence


def comparisons(sample: Sample, cells: Cells, compared: BoolArray | None = None) -> Iterator[Comparison]:
    """Find the units of each cohort's terms.

    ``compared``, shape (G, K), says with which groups of the sample; where none is given, the question does. Terms that
    are compared with one group each come a pair of groups at a time.
    """
    observed = sample.observed.T.copy()
    if compared is None:
        compared = compared_with(sample, cells, sample.groups[0])
    in_pairs = np.all(compared.sum(axis=0) <= 1)
    other = compared.argmax(axis=0) if in_pairs else np.zeros(len(cells.cohort))
    for g, h in np.unique(np.column_stack([cells.cohort, other]), axis=0):
        own = np.flatnonzero((cells.cohort == g) & (other == h))
        now, base = cells.now[own], cells.base[own]
        seen_now, seen_base = observed[now], observed[base]
        if sample.question.missing != "cells":
            seen_now = seen_base = seen_now & seen_base
        untreated = compared[:, own].T[:, sample.group_number]
        members = np.flatnonzero(sample.first_treated == g)
        treated = seen_now[:, members], seen_base[:, members]
        yield Comparison(own, now, base, members, *treated, untreated & seen_now, untreated & seen_base)


def differences_of_means(
    means: CohortMeans, cells: Cells, compared: BoolArray
) -> tuple[FloatArray, list[Influence]]:
    """Return differences in differences of means by group and period, shape (K,); NaN without one of the groups.

    With them comes the influence of the means of each of the two periods, which add up to that of the difference.

    Exact where the units that are seen do not differ between the two periods, and for repeated cross-sections;
    weights of the compared groups, of which ``compared``, (G, K), says which they are, are the sums of their units'
    weights in each period. Zero where both periods are the same.
    """
    n_groups, n_periods = means.mean.shape
    n_terms, each = len(cells.cohort), np.arange(len(cells.cohort))
    group = np.searchsorted(means.dates, cells.cohort)
    estimate, influence = np.zeros(n_terms), []
    with np.errstate(invalid="ignore", divide="ignore"):
        for sign, at in ((1.0, cells.now), (-1.0, cells.base)):
            of_deviation, of_weight = np.zeros((2, n_groups, n_periods, n_terms))
            mean, weight = means.mean[:, at], means.weight[:, at]
            of_compared = weight * compared
            share = compared / of_compared.sum(axis=0)
            theirs = np.einsum("gk,gk->k", of_compared, mean) / of_compared.sum(axis=0)
            ours = mean[group, each]
            estimate += sign * np.where(weight[group, each] > 0, ours - theirs, np.nan)
            of_deviation[group, at, each] += sign * means.n_rows / weight[group, each]
            of_deviation[:, at, each] -= sign * means.n_rows * share
            of_weight[:, at, each] -= sign * means.n_rows * share * (mean - theirs)
            of_deviation[:, :, cells.reference] = of_weight[:, :, cells.reference] = 0.0
            influence.append(means.influence(of_deviation, of_weight))
    estimate[cells.reference] = 0.0
    return estimate, influence


def baseline_matrix(sample: Sample, design: str) -> FloatArray:
    """Return the constant and the baseline covariates, centred and scaled, shape (n, 1 + p).

    A regression or a logit with a constant does not change with the scaling, but its conditioning does.

    Raises
    ------
    QuestionError
        If a covariate is explained by the constant and those before it, or covariates are added up.
    """
    if sample.summed is not None and sample.summed.products is not None:
        raise QuestionError(
            f"{design}: {', '.join(sample.covariates)} take too many values to tell units of {sample.panel.name} apart "
            'by; callaway_santanna with method="reg" needs their products only, of units seen in the same periods.'
        )
    x = sample.x_baseline - sample.x_baseline.mean(axis=0)
    spread = x.std(axis=0)
    x = x / np.where(spread > COLLINEAR * np.abs(sample.x_baseline).max(axis=0), spread, np.inf)
    diagonal = np.abs(np.diag(np.linalg.qr(x, mode="r"))) / np.sqrt(len(x))
    for k, name in enumerate(sample.covariates):
        if k >= len(diagonal) or diagonal[k] < COLLINEAR:
            raise QuestionError(
                f"{design}: covariate {name} is explained by the constant and the covariates before it; leave it "
                "out."
            )
    return np.column_stack([np.ones(len(x)), x])


def regression_adjusted(
    means: CohortMeans, cells: Cells, compared: BoolArray, x: FloatArray, added: Products | None = None
) -> tuple[FloatArray, Influence, BoolArray]:
    """Return the change of a group less what a regression of the compared units' changes on x predicts for it.

    With c the compared units and d the treated, b = (sum w c x x')^-1 sum w c x dy, and the effect is the mean of
    dy - x'b over d. An influence is linear in the products of x with outcomes and with x, so that sums of these by
    group give all comparisons at once. For units that are seen in the same periods within their groups.

    Parameters
    ----------
    means : CohortMeans
    cells : Cells
    compared : ndarray of bool, shape (G, K)
    x : ndarray, shape (n, p)
        Covariates, the constant first.
    added : Products, optional
        Their products by row, where rows are no units.

    Returns
    -------
    estimate : ndarray, shape (K,)
    influence : Influence
    identified : ndarray of bool, shape (K,)
        False where the compared units' covariates are collinear.
    """
    n_periods, p = means.mean.shape[1], x.shape[1]
    products, with_y, values = [], [], []
    for members, mean, array in zip(means.rows, means.mean, means.values.arrays, strict=True):
        own, deviation, weight = x[members], array[:, :n_periods], array[:, n_periods:]
        if added is None:
            pairs = weight[:, :, None] * own[:, :, None] * own[:, None, :]
            spread = own[:, :, None] * deviation[:, None, :]
        else:
            pairs = weight[:, :, None] * added.pairs[members]
            spread = weight[:, :, None] * added.cross[members] - pairs[:, :, :1] * mean
        products.append(pairs.sum(axis=0))
        with_y.append(spread.sum(axis=0) + np.outer(products[-1][:, 0], mean))
        values.append(np.hstack([part.reshape(len(own), -1) for part in (spread, pairs)]))
    square, cross = np.stack(products), np.stack(with_y)
    group, each = np.searchsorted(means.dates, cells.cohort), np.arange(len(cells.cohort))
    of_compared = compared.astype(float)
    gram = np.einsum("gk,gab->kab", of_compared, square)
    identified = solvable(gram)
    gram[~identified] = np.eye(p)
    changes = cross[:, :, cells.now] - cross[:, :, cells.base]
    slope = np.linalg.solve(gram, np.einsum("gk,gpk->kp", of_compared, changes)[:, :, None])[:, :, 0]
    at = square[group, 0] / square[group, 0, :1]
    pull = np.linalg.solve(gram, at[:, :, None])[:, :, 0]
    change = means.mean[:, cells.now] - means.mean[:, cells.base]
    estimate = change[group, each] - np.einsum("kp,kp->k", at, slope)

    scale = means.n_rows / square[group, 0, 0]
    load = -means.n_rows * of_compared[:, None, :] * pull.T
    load[group, 0, each] += scale
    of_y = np.zeros((len(means.dates), p, n_periods, len(each)))
    of_y[:, :, cells.now, each] += load
    of_y[:, :, cells.base, each] -= load
    of_x = -load[:, :, None, :] * slope.T
    of_x[:, :, 0] += load * change[:, None, :]
    of_x[group, 0, 0, each] -= scale * estimate
    maps = np.concatenate([part.reshape(len(of_x), -1, len(each)) for part in (of_y, of_x)], axis=1)
    influence = Influence.by_group(means.n_rows, Values(means.rows, tuple(values)), maps)
    return estimate, influence, identified


def known_cells(
    design: str,
    sample: Sample,
    cells: Cells,
    reasons: Reasons,
    notes: list[str],
    remarks: Mapping[int, str] = {},
) -> BoolArray:
    """Return which cells have an estimate or are a reference, and add to the notes what is to be said of the others.

    ``remarks`` are on cells that have one, by number.

    Raises
    ------
    QuestionError
        If no cell has an estimate.
    """
    notes += left_out(sample, cells.cohort, cells.period, {k: why for k, why in enumerate(reasons) if why})
    notes += left_out(sample, cells.cohort, cells.period, remarks, "")
    known = np.asarray(reasons == "", dtype=bool)
    refuse_no_effect(design, np.any(known & ~cells.reference), notes)
    return known


def refuse_no_effect(design: str, some: object, notes: Sequence[str]) -> None:
    """Refuse a question unless some effect is estimated, with the notes that say why."""
    if not some:
        raise QuestionError(f"{design}: no effect can be estimated: {'; '.join(notes)}.")


def shares_of_cells(sample: Sample, means: CohortMeans, cells: Cells) -> dict[str, Any]:
    """Return the fields of an estimate that say how its cells are averaged; unseen units have no weight in cohorts."""
    if means.same_periods:
        return {"cohort_weights": means.cohort_weights(means.cells(cells.cohort, cells.now))}
    return {"cohort_weights": weights_in_cohorts(sample, cells.cohort)} | {
        "contrast": whole_cohorts(sample, cells)
    }


def whole_cohorts(sample: Sample, cells: Cells) -> Contrast:
    """Return the fields of cells that rest on units seen in both periods, but are averaged by whole cohorts."""
    only, in_both = np.full(len(cells.cohort), -1), sample.question.missing != "cells"
    for g in np.unique(cells.cohort):
        own, members = np.flatnonzero(cells.cohort == g), np.flatnonzero(sample.first_treated == g)
        early, late = (sample.observed[np.ix_(members, at[own])].T for at in (cells.base, cells.now))
        for seen in (early & late,) if in_both else (early, late):
            only[own] = np.maximum(only[own], [only_row(sample, members[who]) for who in seen])
    return Contrast(only=only, whole_cohorts=not sample.observed.all())


def effects_in_cells(
    design: str, sample: Sample, cells: Cells, effects: Effects, notes: list[str], **fields: Any
) -> Estimate:
    """Return the effects in those cells that have one, or are a reference; arguments as in :func:`known_cells`.

    Fields are those of :class:`Estimate`, of all K cells.
    """
    known = known_cells(design, sample, cells, effects.reasons, notes, effects.unlike)
    fit = group_time_effects(
        sample,
        cells.cohort,
        cells.period,
        effects.estimate,
        effects.influence,
        reference=cells.reference,
        notes=tuple(notes),
        **{"n_obs": effects.n_obs} | fields,
    ).select(known)
    mean, of_mean = effects.mean[known] - fit.effect_level, effects.mean_influence.select(known)
    fit = replace(fit, untreated_mean=mean, untreated_influence=of_mean - fit.level_influence)
    if sample.question.missing != "cells" or sample.observed.all():
        return fit
    return left_out_by_period(
        fit, *(part.select(known) for part in (*effects.by_period, effects.mean_influence))
    )


def of_estimated_cohorts(fit: Estimate) -> Estimate:
    """Return the effects of those cohorts that have one besides the reference."""
    return fit.select(np.isin(fit.cohort, fit.cohort[~fit.reference]))
