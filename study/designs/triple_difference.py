"""Triple differences of Ortiz-Villavicencio and Sant'Anna (2025): treatment of the eligible units of some cohorts."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal, NamedTuple

import numpy as np

from study.core import FloatArray, Influence, IntArray, QuestionError
from study.designs import COMMON, Assumes, Estimand, Supports, design
from study.designs.callaway_santanna import Effects, compared_effects
from study.designs.did_cells import (
    Cells,
    Reasons,
    baseline_matrix,
    cells_with_base,
    compared_with,
    effects_in_cells,
    known_cells,
)
from study.estimates import Estimate, cell_notes, cohort_means, weights_in_cohorts
from study.panel import Sample

NAME = "triple_difference"


@design(
    title="Triple differences (Ortiz-Villavicencio and Sant'Anna)",
    reference="ortizvillavicencio2025",
    estimand=Estimand.GROUP_TIME_ATT,
    assumes=(Assumes.PARALLEL_DIFFERENCES, Assumes.LIMITED_ANTICIPATION, Assumes.OVERLAP),
    supports=COMMON | {Supports.WEIGHTS, Supports.NEVER_TREATED, Supports.VARYING_BASE, Supports.GROUP},
)
def triple_difference(sample: Sample, *, method: Literal["dr", "ipw", "reg"] = "dr") -> Estimate:
    sample = with_both_groups(sample, NAME)
    cells, notes = cells_with_base(sample, NAME)
    x = baseline_matrix(sample, NAME) if sample.question.covariates else None
    pairs, coded = _pairs(sample, cells, notes), by_eligibility(sample)
    terms, others, of_cell = pairs.two_by_twos(sample, cells)
    means = cohort_means(coded, levels_apart=True)
    effects = compared_effects(coded, means, terms, means.dates[:, None] == others, x, method)
    weights, reasons = _weights(cells, pairs, effects)
    n_cells = len(cells.cohort)
    unlike = {int(of_cell[term]): what for term, what in effects.unlike.items()}
    remarks = cell_notes(sample, cells.cohort, cells.period, unlike)
    known = known_cells(NAME, sample, cells, reasons, effects.size[:n_cells], notes, remarks)
    if means.whole:
        cohort_weights = means.cohort_weights(means.cells(terms.cohort[:n_cells][known], cells.now[known]))
    else:
        cohort_weights = weights_in_cohorts(sample, cells.cohort[known])
    estimate, influence = np.nan_to_num(effects.estimate) @ weights, effects.influence @ weights
    mean, of_mean = effects.mean[:n_cells], effects.mean_influence.columns(np.arange(n_cells))
    return effects_in_cells(
        sample,
        cells,
        known,
        (estimate, influence),
        (mean - estimate, of_mean - influence),
        cohort_weights=cohort_weights,
        n_obs=effects.n_obs,
        published="CR0",
        notes=tuple(notes),
    )


def with_both_groups(sample: Sample, design: str) -> Sample:
    """Return the sample without those (universities) that have units of one of the groups only, and check cohorts.

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
    dates, sizes = sample.groups[0], _clusters(sample)
    for g in sample.cohorts:
        for size, has in zip(sizes[:, dates == g], ("none but units", "no unit"), strict=True):
            if not size[0]:
                raise QuestionError(
                    f"{design}: cohort {sample.period_name(g)} has {has} of Question(group={rule!r}), so it has no third "
                    "difference; choose another group, leave the cohort out by the population, or ask without a group "
                    "of a design such as callaway_santanna."
                )
    return sample


def by_eligibility(sample: Sample) -> Sample:
    """Return the sample whose groups are the cohorts by eligibility: 2 g + 1 the eligible units of cohort g, 2 g others."""
    cohort = np.unique(sample.first_treated, return_inverse=True)[1]
    return replace(sample, first_treated=2.0 * cohort + sample.group)


def _clusters(sample: Sample) -> IntArray:
    """Return the number of clusters in each cohort's units that are not eligible, and in those that are, shape (2, G)."""
    group = by_eligibility(sample).first_treated
    pairs = np.unique(np.column_stack([group, sample.cluster]), axis=0)[:, 0].astype(np.int64)
    return np.bincount(pairs, minlength=2 * len(sample.groups[0])).reshape(-1, 2).T


class _Pairs(NamedTuple):
    """P pairs of one of K cells and a cohort that it is compared with, by their numbers, shape (P,)."""

    cell: IntArray
    cohort: IntArray

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
    fewest = _clusters(sample).min(axis=0)
    enough = fewest >= (1 if sample.question.comparison == "never_treated" else 2)
    for g in dates[compared.any(axis=1) & ~enough]:
        who = "the never-treated have" if np.isnan(g) else f"cohort {sample.period_name(g)} has"
        what = "one unit" if sample.question.cluster is None else "one cluster"
        notes.append(f"{who} no more than {what} in a group, so that nothing is compared with it")
    cell, cohort = np.nonzero((compared & enough[:, None]).T)
    return _Pairs(cell, cohort)


def _weights(cells: Cells, pairs: _Pairs, effects: Effects) -> tuple[FloatArray, Reasons]:
    """Return the weights that make the K effects of the two-by-two differences, shape (K + 2 P, K).

    The comparison cohorts of a cell have the weights 1'V^-1 / 1'V^-1 1, with V the covariance by unit of its triple
    differences, equation (4.10). With them the reasons why cells have no estimate, shape (K,).
    """
    n_cells, n_pairs = len(cells.cohort), len(pairs.cell)
    first, second = n_cells + np.arange(n_pairs), n_cells + n_pairs + np.arange(n_pairs)
    missing = effects.reasons != ""
    known = ~(missing[pairs.cell] | missing[first] | missing[second])
    weights, reasons = np.eye(len(missing), n_cells), effects.reasons[:n_cells].copy()
    for k in np.flatnonzero(~missing[:n_cells] & ~cells.reference):
        own = np.flatnonzero(known & (pairs.cell == k))
        share = np.ones(len(own))
        if len(own) > 1:
            parts = effects.influence.columns(np.concatenate([[k], first[own], second[own]]))
            one = np.eye(len(own))
            share = _shares(parts @ np.vstack([np.ones((1, len(own))), one, -one]))
        weights[first[own], k], weights[second[own], k] = share, -share
        if not len(own):
            reasons[k] = "no comparison cohort is observed in both groups"
    return weights, reasons


def _shares(influence: Influence) -> FloatArray:
    """Return the weights, shape (M,), with which M estimates of one number have the least variance."""
    variance = influence.products(np.arange(influence.shape[0]))
    weights = np.linalg.lstsq(variance, np.ones(len(variance)), rcond=None)[0]
    total = weights.sum()
    return weights / total if total > 0 else np.full(len(weights), 1 / len(weights))
