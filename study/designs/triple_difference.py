"""Triple differences of Ortiz-Villavicencio and Sant'Anna (2025): treatment of the eligible units of some cohorts."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal, NamedTuple

import numpy as np

from study.core import BoolArray, FloatArray, Influence, IntArray, QuestionError
from study.designs import COMMON, Assumes, Estimand, Sample, Supports, design
from study.designs.callaway_santanna import compared_effects
from study.designs.did_cells import (
    Cells,
    Effects,
    Reasons,
    baseline_matrix,
    cells_of,
    compared_with,
    effects_in_cells,
    shares_of_cells,
)
from study.estimates import Estimate, cohort_means, left_out

NAME = "triple_difference"
NOTHING = 1e-12
NO_COMPARISON = "no comparison unit is observed"
FEW = "too few units in a group for a variance"


@design(
    title="Triple differences (Ortiz-Villavicencio and Sant'Anna)",
    reference="ortizvillavicencio2025",
    estimand=Estimand.GROUP_TIME_ATT,
    assumes=(Assumes.PARALLEL_DIFFERENCES, Assumes.LIMITED_ANTICIPATION, Assumes.OVERLAP),
    supports=COMMON | {Supports.WEIGHTS, Supports.NEVER_TREATED, Supports.VARYING_BASE, Supports.GROUP},
)
def triple_difference(sample: Sample, *, method: Literal["dr", "ipw", "reg"] = "dr") -> Estimate:
    """Compare the eligible with the other units of each cohort, and both with those of cohorts not treated by then.

    With cohort S the period from which treatment is to be had, Q whether a unit is eligible for it and g_c a cohort
    that is not treated by then, ATT(g,t) of the units with S = g and Q = 1 is the sum of two differences in
    differences, from those with S = g, Q = 0 and from those with S = g_c, Q = 1, less a third, from those with
    S = g_c, Q = 0: equations (4.1), (4.3) and (4.4) for "dr", "reg" and "ipw". All three are given the covariates of
    the treated, so that it is not a difference of two differences in differences. Cohorts g_c > max(t, base) + d, with
    the anticipation d and bases as in :func:`callaway_santanna`, are not pooled, since their trends may differ: each
    has its own estimate, and those are averaged with the least variance, equations (4.11) and (4.12).

    Parameters
    ----------
    sample : Sample
        Absorbing treatment, with a group. ``first_treated`` is of cohorts: it is shared by eligible and other units,
        and the effect is on eligible units alone. Covariates enter by their first observed value. With gaps a cell
        rests on units seen in both of its periods.
    method : {"dr", "ipw", "reg"}
        Doubly robust, inverse-probability weights, or outcome regression; the same without covariates.

    Returns
    -------
    Estimate
        One term for each cohort and period, in that order, with a reference term at the base of each cohort if it is
        universal; "CR0" standard errors. Averages weight cohorts by their eligible units, as equation (2.3) does. The
        weights of comparison cohorts are taken as given: estimating them has no part in the variance where all
        identify the same effect. "Proportional" divides by the eligible treated units' mean in the period less
        ATT(g,t): the differences are parallel in levels. ``notes`` say what was left out: cells, and comparison
        cohorts whose variance in a cell cannot be estimated, where one cluster of a group is seen or no more units
        than a regression has coefficients. Where that is so of all cohorts in all cells, they are compared with
        nevertheless, with equal weights, and no effect has a standard error.

    Raises
    ------
    QuestionError
        If a cohort has no unit of one of the groups, a covariate is collinear with those before it, or no effect can be
        estimated.

    References
    ----------
    Ortiz-Villavicencio, M., and Sant'Anna, P. H. C. (2025). Better understanding triple differences estimators. arXiv
    2505.09942v3.
    """
    sample = with_both_groups(sample, NAME)
    cells, notes = cells_of(sample, sample.cohorts), list[str]()
    x = baseline_matrix(sample, NAME) if sample.question.covariates else None
    pairs, coded = _pairs(sample, cells, notes), by_eligibility(sample)
    terms, others, of_cell = pairs.two_by_twos(sample, cells)
    means = cohort_means(coded, levels_apart=True)
    compared = means.dates[:, None] == others
    effects = compared_effects(coded, means, terms, compared, x, method)
    weights, reasons = _weights(cells, pairs, effects)
    n_cells = len(cells.cohort)
    unlike = {int(of_cell[term]): what for term, what in effects.unlike.items()}
    used, own = effects.reasons == "", np.arange(n_cells)
    estimate = effects.estimate[used] @ weights[used]
    influence = effects.influence.select(used) @ weights[used]
    of_means = effects.mean[own], effects.mean_influence.columns(own)
    differences = Effects(estimate, influence, *of_means, effects.size[own], reasons, effects.n_obs, unlike)
    shares = shares_of_cells(coded, means, terms.select(own))
    fit = effects_in_cells(NAME, sample, cells, differences, notes, **shares)
    rests: BoolArray = np.any(weights[:, reasons == ""], axis=1)
    if not rests.all():  # on cells of which there is no triple difference
        of_used = compared_effects(coded, means, terms.select(rests), compared[:, rests], None, method)
        fit = replace(fit, n_obs=of_used.n_obs)
    if pairs.vary:
        return fit
    left = fit.leave_out._replace(estimable=np.zeros(len(fit.terms), dtype=bool))
    return replace(fit, contrast=replace(fit.contrast, left_out=left, whole_cohorts=False))


def with_both_groups(sample: Sample, design: str) -> Sample:
    """Return the sample without what has units within it of one of the groups only, such as a university of one field.

    Raises
    ------
    QuestionError
        If a cohort has no unit of one of the groups.
    """
    within, rule = sample.panel.within, sample.question.group
    if within is not None:
        label = np.unique(sample.attributes[within], return_inverse=True)[1]
        eligible = np.bincount(label, weights=sample.group)
        alone = (eligible == 0) | (eligible == np.bincount(label))
        if alone.any():
            sample = sample.only(~alone[label], f"of a {within} without both groups of {rule}")
    coded = by_eligibility(sample).groups[0]
    for number, g in enumerate(sample.groups[0]):
        others, eligible = np.isin([2 * number, 2 * number + 1], coded)
        if g in sample.cohorts and not (others and eligible):
            has = "no unit" if others else "no other unit than those"
            raise QuestionError(
                f"{design}: cohort {sample.period_name(g)} has {has} of the group {rule}, so it has no third "
                "difference; change Question(group=...) or the population, or ask a design such as callaway_santanna "
                "without a group."
            )
    return sample


def by_eligibility(sample: Sample) -> Sample:
    """Return the sample with cohorts split: 2 g + 1 has the eligible units of cohort number g, 2 g the others."""
    return replace(sample, first_treated=2.0 * sample.group_number + np.asarray(sample.group))


def _seen(sample: Sample, cells: Cells) -> tuple[IntArray, IntArray]:
    """Return how many units and clusters of each cohort both periods of each cell have, shape (G, K) each.

    Of its eligible and its other units the number of those that are fewer.
    """
    units, clusters = np.zeros((2, 2, len(sample.groups[0]), len(cells.cohort)), dtype=np.int64)
    for code, rows in zip(*by_eligibility(sample).groups, strict=True):
        group, observed = (int(code) % 2, int(code) // 2), sample.observed[rows]
        seen = observed[:, cells.now] & observed[:, cells.base]
        cluster = np.unique(sample.cluster[rows], return_inverse=True)[1]
        units[group] = seen.sum(axis=0)
        clusters[group] = np.sum(Influence.of(seen.astype(float)).cluster_sums(cluster) > 0, axis=0)
    return units.min(axis=0), clusters.min(axis=0)


class _Pairs(NamedTuple):
    """P pairs of one of K cells and a cohort that it is compared with, by their numbers, shape (P,).

    ``vary`` says whether their differences have a variance.
    """

    cell: IntArray
    cohort: IntArray
    vary: bool

    def two_by_twos(self, sample: Sample, cells: Cells) -> tuple[Cells, FloatArray, IntArray]:
        """Return the two-by-two differences that triple differences are made of, shape (K + 2 P,).

        Of the eligible units of the cell's cohort from its other units, for each cell; then from the eligible units of
        the pair's cohort, and from the others of that, for each pair. With each the label of the group that it is from
        and the number of its cell.
        """
        cohort = np.searchsorted(sample.groups[0], cells.cohort)
        of_cell = np.concatenate([np.arange(len(cohort)), self.cell, self.cell])
        terms = cells.select(of_cell)._replace(cohort=2.0 * cohort[of_cell] + 1)
        return terms, 2.0 * np.concatenate([cohort, self.cohort + 0.5, self.cohort]), of_cell


def _pairs(sample: Sample, cells: Cells, notes: list[str]) -> _Pairs:
    """Pair each cell with its comparison cohorts, and note those of which there is no variance."""
    dates = sample.groups[0]
    compared = compared_with(sample, cells, dates) & ~cells.reference
    units, clusters = _seen(sample, cells)
    enough = (units > sample.x_baseline.shape[1] + 1) & (clusters > 1)
    vary = bool((compared & enough).any())
    if not vary:  # so that there is no choice
        enough = units > 0
    for g, few, those in zip(dates, compared & ~enough, compared, strict=True):
        whom = "the never-treated" if np.isnan(g) else f"cohort {sample.period_name(g)}"
        if few.any() and np.array_equal(few, those):
            has = "have" if np.isnan(g) else "has"
            notes.append(f"{whom} {has} {FEW}, so that no cohort is compared with them")
        elif few.any():
            why = dict.fromkeys(np.flatnonzero(few).tolist(), f"{FEW} are seen")
            notes += left_out(sample, cells.cohort, cells.period, why, f" is not compared with {whom}")
    cell, cohort = np.nonzero((compared & enough).T)
    if not len(cell):
        raise QuestionError(
            f"{NAME}: no cohort can be compared with, since none that is not treated by then has units both of the "
            f"group {sample.question.group} and of the others ({'; '.join(notes) or 'there is none'}); change "
            "Question(group=...), or ask a design such as callaway_santanna without a group."
        )
    return _Pairs(cell, cohort, vary)


def _weights(cells: Cells, pairs: _Pairs, effects: Effects) -> tuple[FloatArray, Reasons]:
    """Return the weights that make the K effects of the two-by-two differences, shape (K + 2 P, K).

    The comparison cohorts of a cell have the weights 1'V^-1 / 1'V^-1 1, with V the covariance by unit of its triple
    differences, equation (4.11), or equal ones where none has a variance. With them the reasons why cells have no
    estimate, shape (K,).
    """
    n_cells, n_pairs = len(cells.cohort), len(pairs.cell)
    first, second = n_cells + np.arange(n_pairs), n_cells + n_pairs + np.arange(n_pairs)
    missing = effects.reasons != ""
    known = ~(missing[pairs.cell] | missing[first] | missing[second])
    weights, reasons = np.eye(len(missing), n_cells), effects.reasons[:n_cells].copy()
    reasons[reasons == NO_COMPARISON] = "no unit of the cohort is observed that is not eligible"
    for k in np.flatnonzero(~missing[:n_cells] & ~cells.reference):
        own, others = (np.flatnonzero((pairs.cell == k) & some) for some in (known, ~known))
        share = np.full(len(own), 1 / max(len(own), 1))
        if len(own) > 1 and pairs.vary:
            parts = effects.influence.columns(np.concatenate([[k], first[own], second[own]]))
            identity = np.eye(len(own))
            share = _shares(parts @ np.vstack([np.ones((1, len(own))), identity, -identity]))
        weights[first[own], k], weights[second[own], k] = share, -share
        if not len(own):
            why = effects.reasons[np.concatenate([first[others], second[others]])]
            reasons[k] = next(filter(None, why), "no cohort to compare with has enough units of both groups")
    return weights, reasons


def _shares(influence: Influence) -> FloatArray:
    """Return the weights, shape (M,), with which M estimates have the least variance; equal ones if none matter."""
    variance = influence.products(np.arange(influence.shape[0]))
    m, total = len(variance), np.trace(variance)
    equations = np.ones((m + 1, m + 1))
    equations[:m, :m] = variance / (total if total > 0 else 1.0)
    equations[m, m] = 0.0
    return np.asarray(np.linalg.lstsq(equations, np.eye(m + 1)[m], rcond=NOTHING)[0][:m])
