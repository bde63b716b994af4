"""Group-time average treatment effects of Callaway and Sant'Anna (2021), equations (2.2) to (2.7)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np

from study.core import (
    BoolArray,
    FloatArray,
    Influence,
    IntArray,
    Method,
    Unidentified,
    panel_att,
    raw_gap,
    repeated_att,
)
from study.designs import COMMON, Assumes, Estimand, Sample, Supports, design
from study.designs.did_assignments import DESIGN, averages_by_assignment
from study.designs.did_cells import (
    Cells,
    Comparison,
    Effects,
    baseline_matrix,
    cells_of,
    compared_with,
    comparisons,
    differences_of_means,
    effects_in_cells,
    regression_adjusted,
    shares_of_cells,
    unseen,
)
from study.estimates import CohortMeans, Estimate, cohort_means

COLLINEAR_COMPARISON = "the covariates do not identify the comparison units' regression"


@design(
    title="Group-time ATT (Callaway and Sant'Anna)",
    reference="callaway2021",
    estimand=Estimand.GROUP_TIME_ATT,
    assumes=(Assumes.PARALLEL_TRENDS, Assumes.LIMITED_ANTICIPATION, Assumes.OVERLAP),
    supports=COMMON
    | {
        Supports.REPEATED_CELLS,
        Supports.SUMS,
        Supports.WEIGHTS,
        Supports.NEVER_TREATED,
        Supports.VARYING_BASE,
    },
    assigned=averages_by_assignment,
)
def callaway_santanna(
    sample: Sample,
    *,
    method: Literal["dr", "ipw", "reg"] = "dr",
    variance: Literal["sampling", "drdid"] = "sampling",
) -> Estimate:
    """Compare each cohort's change since its base period with that of units not treated by then.

    With anticipation d, ATT(g,t) is the change of cohort g from period g-d-1 to t, less the change that
    comparison units imply: never-treated units, equations (2.2) to (2.4) for "ipw", "reg" and "dr", or units
    not yet treated, G > max(t, base) + d, equations (2.5) to (2.7). Periods before g-d have the same base, or
    with ``base="varying"`` the period before each.

    Parameters
    ----------
    sample : Sample
        Absorbing treatment. Covariates enter by their first observed value. Gaps: with "pairs" and
        "balanced" a cell rests on units seen in both of its periods; with "cells" on all that are seen in
        either, as repeated cross-sections, with the influence added up by unit.
    method : {"dr", "ipw", "reg"}
        Doubly robust, inverse-probability weights, or outcome regression; the same without covariates.
    variance : {"sampling", "drdid"}
        The delta method, or DRDID 1.2.3's influence, which differs from it in the sign of two terms with
        missing="cells", covariates and "dr", and is right there only if the propensity model is.

    Returns
    -------
    Estimate
        One term for each cohort and period, in that order, with a reference term at the base of each
        cohort if it is universal; "CR0" standard errors. "Proportional" divides by the treated units' mean
        in the period less ATT(g,t): parallel trends hold for the level. ``notes`` name each cohort and
        period that has no estimate, and why, and those in which covariates tell some comparison units from all
        treated ones, so that the logit has a limit in which their odds are 0.

    Raises
    ------
    QuestionError
        If a covariate is collinear with those before it, or no effect can be estimated.

    References
    ----------
    Callaway, B., and Sant'Anna, P. H. C. (2021). Difference-in-differences with multiple time periods.
    Journal of Econometrics 225(2).
    """
    cells = cells_of(sample, sample.cohorts)
    means = cohort_means(sample, levels_apart=True)
    added = None if sample.summed is None else sample.summed.products
    x: FloatArray | None = None
    if added is not None and method == "reg" and means.same_periods and sample.question.missing != "cells":
        x = added.pairs[:, 0]
    elif sample.question.covariates:
        x = baseline_matrix(sample, DESIGN)
    compared = compared_with(sample, cells, means.dates)
    effects = compared_effects(sample, means, cells, compared, x, method, variance == "drdid")
    return effects_in_cells(DESIGN, sample, cells, effects, [], **shares_of_cells(sample, means, cells))


def compared_effects(
    sample: Sample,
    means: CohortMeans,
    cells: Cells,
    compared: BoolArray,
    x: FloatArray | None,
    method: Method,
    as_drdid: bool = False,
) -> Effects:
    """Compare the group of each term with some groups, shape (G, K), from sums by group where these are enough.

    Groups are those of the sample and of its means. Terms have as ``cohort`` the label of their group.
    """
    pairs = sample.question.missing != "cells"
    if means.same_periods or not pairs if x is None else means.same_periods and pairs and method == "reg":
        return _from_means(sample, means, cells, compared, x)
    return _from_units(sample, cells, compared, x, method, as_drdid)


def _from_means(
    sample: Sample, means: CohortMeans, cells: Cells, compared: BoolArray, x: FloatArray | None
) -> Effects:
    """Estimate all terms from sums by cohort and period, where who is seen does not depend on the period."""
    group, each = np.searchsorted(means.dates, cells.cohort), np.arange(len(cells.cohort))
    seen = means.weight > 0
    seen_now, seen_base = seen[:, cells.now], seen[:, cells.base]
    if sample.question.missing != "cells":
        compared = compared & seen_now & seen_base
    reasons = unseen(
        seen_now[group, each] & seen_base[group, each],
        np.any(compared & seen_now, axis=0) & np.any(compared & seen_base, axis=0),
        cells.reference,
    )
    by_period: Sequence[Influence] = ()
    if x is None:
        estimate, by_period = differences_of_means(means, cells, compared)
        influence = by_period[0] + by_period[1]
    else:
        added = None if sample.summed is None else sample.summed.products
        estimate, influence, identified = regression_adjusted(means, cells, compared, x, added)
        reasons[~identified & ~cells.reference & (reasons == "")] = COLLINEAR_COMPARISON
    used = np.zeros(means.mean.shape, dtype=bool)
    estimated = np.flatnonzero(~cells.reference & (reasons == ""))
    for at in (cells.now, cells.base):
        used[group[estimated], at[estimated]] = True
        others, which = np.nonzero(compared[:, estimated])
        used[others, at[estimated][which]] = True
    mean, mean_influence = means.pooled(means.cells(cells.cohort, cells.now))
    size, n_obs = means.sizes(cells.cohort, cells.now), int(means.seen[used].sum())
    return Effects(estimate, influence, mean, mean_influence, size, reasons, n_obs, {}, by_period)


def _from_units(
    sample: Sample, cells: Cells, compared: BoolArray, x: FloatArray | None, method: Method, as_drdid: bool
) -> Effects:
    """Estimate the terms of each cohort from its own units and those it is compared with."""
    n, n_terms = sample.n_rows, len(cells.cohort)
    y, used = np.nan_to_num(sample.y).T.copy(), np.zeros(sample.y.T.shape, dtype=bool)
    (estimate, mean), size = np.zeros((2, n_terms)), np.zeros(n_terms, dtype=np.int64)
    mean_influence = Influence.none(n, n_terms)
    by_period = [mean_influence] * 2  # all of it first, where both periods have the same units
    reasons = np.full(n_terms, "", dtype=object)
    unlike: dict[int, str] = {}
    for c in comparisons(sample, cells, compared):
        place, why = np.eye(n_terms)[c.own], c.unseen
        known = (why == "") & (c.now != c.base)
        if x is None:
            both = np.concatenate([c.members, np.flatnonzero(c.compared_now.any(axis=0))])
            # Sums over units are quicker where all terms have the same.
            rows = None if 2 * len(both) > n else both
            at, own = (slice(None), c.members) if rows is None else (rows, np.arange(len(c.members)))
            change, weights = y[c.now] - y[c.base], sample.weights[at]
            gap = raw_gap(change[:, at], own, c.treated_now, c.compared_now[:, at], weights)
            estimate[c.own] = np.where(known, gap.estimate, 0.0)
            scaled = np.where(known[:, None], gap.influence, 0.0).T * (n / len(weights))
            by_period[0] += Influence.of(scaled, rows, n) @ place
        else:
            for alike in c.alike(np.flatnonzero(known), sample):
                try:
                    effect, of_effect, apart = _adjusted(sample, c, alike, y, x, method, as_drdid)
                except Unidentified as error:
                    why[alike] = str(error)
                    continue
                estimate[c.own[alike]] = effect
                for p, part in enumerate(of_effect):
                    by_period[p] += part @ place[alike]
                if apart:
                    who = "1 comparison unit has" if apart == 1 else f"{apart} comparison units have"
                    zero = "odds of zero, since the covariates tell them from all treated units"
                    unlike |= dict.fromkeys(map(int, c.own[alike]), f"{who} propensity {zero}")
        reasons[c.own], size[c.own] = why, sample.counted(c.treated_now.T, c.members)
        mean[c.own], of_mean = c.treated_mean(sample, y)
        mean_influence += Influence.of(np.nan_to_num(of_mean.T), c.members, n) @ place
        used |= c.used(np.flatnonzero((why == "") & (c.now != c.base)), len(used))
    n_obs, (_, groups) = int(sample.counted(used.T).sum()), sample.groups
    influence, mean_influence = (
        (by_period[0] + by_period[1]).by_groups(groups),
        mean_influence.by_groups(groups),
    )
    return Effects(estimate, influence, mean, mean_influence, size, reasons, n_obs, unlike, by_period)


def _adjusted(
    sample: Sample,
    c: Comparison,
    cells: IntArray,
    y: FloatArray,
    x: FloatArray,
    method: Method,
    as_drdid: bool,
) -> tuple[FloatArray, list[Influence], int]:
    """Return ATT(g,t) given covariates for cells of the same units, and how many of these resemble no treated one.

    Where both periods have units of their own, their parts of the influence are apart.
    """
    n, weights, k = sample.n_rows, sample.weights, cells[0]
    treated, compared = c.members[c.treated_now[k]], np.flatnonzero(c.compared_now[k])
    rows = np.concatenate([treated, compared])
    is_treated = np.arange(len(rows)) < len(treated)
    if sample.question.missing != "cells":
        change = y[np.ix_(c.now[cells], rows)] - y[np.ix_(c.base[cells], rows)]
        fit = panel_att(change, is_treated, x[rows], weights[rows], method)
        influence = Influence.of(fit.influence.T * (n / len(rows)), rows, n)
        return fit.estimate, [influence], _units_of(sample, rows, fit.unlike)
    treated, compared = c.members[c.treated_base[k]], np.flatnonzero(c.compared_base[k])
    early = np.concatenate([treated, compared])
    outcome = np.concatenate([y[c.now[k], rows], y[c.base[k], early]])
    if (same := np.array_equal(rows, early)) and not as_drdid:
        outcome -= np.tile(y[c.base[k], rows], 2)
    post = np.arange(len(outcome)) < len(rows)
    is_treated = np.concatenate([is_treated, np.arange(len(early)) < len(treated)])
    rows = np.concatenate([rows, early])
    fit = repeated_att(outcome, post, is_treated, x[rows], weights[rows], method, as_drdid=as_drdid)
    scaled = fit.influence[:, None] * (n / len(rows))
    parts = [Influence.of(scaled[when], rows[when], n) for when in (post, ~post)]
    if same:  # both periods have all of them, though the later one has their changes
        parts = [Influence.of((scaled[post] + scaled[~post]) / 2, early, n)] * 2
    return fit.estimate, parts, _units_of(sample, rows, fit.unlike)


def _units_of(sample: Sample, rows: IntArray, which: BoolArray | None) -> int:
    """Return how many units some of the cells in rows of the sample are of, shape (m,)."""
    some = np.zeros(sample.n_rows, dtype=bool)
    if which is not None:
        some[rows[which]] = True
    return int(sample.counted(some))
