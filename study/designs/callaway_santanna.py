"""Group-time average treatment effects of Callaway and Sant'Anna (2021), equations (2.2) to (2.7)."""

from __future__ import annotations

from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from study.core import (
    FloatArray,
    Influence,
    Method,
    QuestionError,
    Unidentified,
    group_mean,
    panel_att,
    raw_gap,
    repeated_att,
)
from study.designs import Assumes, Estimand, Supports, design
from study.designs.covariates import baseline_matrix
from study.designs.did_cells import (
    Cells,
    Comparison,
    Layout,
    cells_of,
    compared_with,
    comparison,
    differences_of_means,
    regression_adjusted,
    unseen,
)
from study.estimates import (
    CohortMeans,
    Estimate,
    cohort_means,
    cohorts_with_base,
    group_time_effects,
    left_out,
    refuse_single_units,
    rests_on_one,
    told,
    weights_in_cohorts,
)
from study.panel import Sample

COLLINEAR_COMPARISON = "the covariates do not identify the comparison units' regression"


@design(
    name="callaway_santanna",
    title="Group-time ATT (Callaway and Sant'Anna)",
    reference="callaway2021",
    estimand=Estimand.GROUP_TIME_ATT,
    assumes=(Assumes.PARALLEL_TRENDS, Assumes.LIMITED_ANTICIPATION, Assumes.OVERLAP),
    supports=(
        Supports.COVARIATES,
        Supports.MISSING_CELLS,
        Supports.REPEATED_CELLS,
        Supports.ANTICIPATION,
        Supports.CLUSTERS,
        Supports.WEIGHTS,
        Supports.NEVER_TREATED,
        Supports.VARYING_BASE,
        Supports.PROPORTIONAL,
    ),
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
        Absorbing treatment. Covariates enter by their first observed value. Difference: with "pairs" and
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
        period that has no estimate, and why, those that rest on one treated unit, and those in which covariates
        tell some comparison units from all treated ones, so that the logit has a limit in which their odds are 0.

    Raises
    ------
    QuestionError
        If a cohort has one unit and the question does not say what to do with it, a covariate is collinear
        with those before it, or no effect can be estimated.

    References
    ----------
    Callaway, B., and Sant'Anna, P. H. C. (2021). Difference-in-differences with multiple time periods.
    Journal of Econometrics 225(2).
    """
    refuse_single_units(sample, "callaway_santanna")
    x, adjustment = _matrix(sample), _Adjustment(method, variance == "drdid")
    cohorts, notes = cohorts_with_base(sample)
    cells = cells_of(sample, cohorts)
    means = cohort_means(sample, levels_apart=True)
    pairs = sample.question.missing != "cells"
    by_means = means.whole or not pairs if x is None else means.whole and pairs and method == "reg"
    found = _from_means(sample, means, cells, x) if by_means else _from_units(sample, cells, x, adjustment)
    notes += left_out(cells.cohort, cells.period, found.reasons)
    notes += told(cells.cohort, cells.period, {k: _set_aside(n) for k, n in found.unlike.items()})
    known = np.ones(len(cells.cohort), dtype=bool)
    known[list(found.reasons)] = False
    notes += rests_on_one(cells.cohort, cells.period, known & ~cells.reference & (found.size == 1))
    if not np.any(known & ~cells.reference):
        raise QuestionError(f"callaway_santanna: no effect can be estimated: {'; '.join(notes)}.")
    cohort, influence = cells.cohort[known], found.influence.select(known)
    cohort_weights = weights_in_cohorts(sample, cohort)
    if means.whole:
        cohort_weights = means.cohort_weights(means.cells(cohort, cells.now[known]))
    return group_time_effects(
        sample,
        cohort,
        cells.period[known],
        found.estimate[known],
        influence,
        untreated_mean=found.mean[known] - found.estimate[known],
        untreated_influence=found.mean_influence.select(known) - influence,
        cohort_weights=cohort_weights,
        reference=cells.reference[known],
        n_obs=found.n_obs,
        published="CR0",
        notes=tuple(notes),
    )


def _matrix(sample: Sample) -> FloatArray | None:
    return baseline_matrix(sample, "callaway_santanna") if sample.question.covariates else None


class _Adjustment(NamedTuple):
    """How covariates are adjusted for, and whether the influence of repeated cells is DRDID's."""

    method: Method
    as_drdid: bool


def _set_aside(n: int) -> str:
    who = "1 comparison unit has" if n == 1 else f"{n} comparison units have"
    return f"{who} propensity odds of zero, since the covariates tell them from all treated units"


class _Found(NamedTuple):
    """Estimates and mean outcomes of the treated, shape (K,); ``reasons`` says why some have no estimate.

    ``size`` counts the treated units that an estimate rests on, ``n_obs`` the unit-periods that all do, ``unlike``
    the comparison units that resemble none of the treated ones, where there are any.
    """

    estimate: FloatArray
    influence: Influence
    mean: FloatArray
    mean_influence: Influence
    size: NDArray[np.int64]
    reasons: dict[int, str]
    n_obs: int
    unlike: dict[int, int]


def _from_means(sample: Sample, means: CohortMeans, cells: Cells, x: FloatArray | None) -> _Found:
    """Estimate all terms from sums by cohort and period, where who is seen does not hang on the period."""
    group, each = np.searchsorted(means.dates, cells.cohort), np.arange(len(cells.cohort))
    seen = means.weight > 0
    both = [seen[:, cells.now], seen[:, cells.base]]
    compared = compared_with(sample, cells, means.dates)
    if sample.question.missing != "cells":
        compared = compared & both[0] & both[1]
    layout, collinear = Layout(group, cells.now, cells.base, compared), np.zeros(len(each), dtype=bool)
    if x is None:
        gaps = differences_of_means(means, layout)
    else:
        gaps, identified = regression_adjusted(means, layout, x)
        collinear = ~identified & ~cells.reference
    reasons = dict.fromkeys(map(int, np.flatnonzero(collinear)), COLLINEAR_COMPARISON) | unseen(
        both[0][group, each] & both[1][group, each],
        np.any(compared & both[0], axis=0) & np.any(compared & both[1], axis=0),
        cells.reference,
    )
    used = np.zeros(means.mean.shape, dtype=bool)
    kept = np.setdiff1d(np.flatnonzero(~cells.reference), list(reasons))
    for at in (cells.now, cells.base):
        used[group[kept], at[kept]] = True
        which = np.nonzero(compared[:, kept])
        used[which[0], at[kept][which[1]]] = True
    mean, mean_influence = means.pooled(means.cells(cells.cohort, cells.now))
    return _Found(
        gaps.estimate,
        gaps.influence,
        mean,
        mean_influence,
        means.sizes(cells.cohort, cells.now),
        reasons,
        int(means.seen[used].sum()),
        {},
    )


def _from_units(sample: Sample, cells: Cells, x: FloatArray | None, how: _Adjustment) -> _Found:
    """Estimate the terms of each cohort from its own units and those it is compared with."""
    assert sample.first_treated is not None
    n, n_terms = sample.n_units, len(cells.cohort)
    y, observed = np.nan_to_num(sample.y).T.copy(), sample.observed.T.copy()
    estimate, mean, size = np.zeros(n_terms), np.zeros(n_terms), np.zeros(n_terms, dtype=np.int64)
    influence = mean_influence = Influence.none(n, n_terms)
    reasons: dict[int, str] = {}
    unlike: dict[int, int] = {}
    used = np.zeros(observed.shape, dtype=bool)
    for g in np.unique(cells.cohort):
        own = np.flatnonzero(cells.cohort == g)
        c = comparison(sample, observed, cells.select(own))
        found, of_effects, why, apart = _effects(sample, y, c, x, how)
        estimate[own], size[own] = found, c.treated_now.sum(axis=1)
        unlike |= {int(own[k]): n for k, n in apart.items()}
        place = np.zeros((len(own), n_terms))
        place[np.arange(len(own)), own] = 1.0
        influence += of_effects @ place
        reasons |= {int(own[k]): reason for k, reason in why.items()}
        level = group_mean(y[np.ix_(c.now, c.members)], c.treated_now, sample.weights[c.members], n)
        mean[own] = level.estimate
        mean_influence += Influence.of(np.nan_to_num(level.influence.T), c.members, n) @ place
        used |= c.used(np.setdiff1d(np.flatnonzero(c.now != c.base), list(why)), len(used))
    return _Found(estimate, influence, mean, mean_influence, size, reasons, int(used.sum()), unlike)


def _effects(
    sample: Sample, y: FloatArray, c: Comparison, x: FloatArray | None, how: _Adjustment
) -> tuple[FloatArray, Influence, dict[int, str], dict[int, int]]:
    """Estimate the terms of one cohort, with their influence, and say which have none; y is (T, n).

    Last, how many comparison units resemble no treated one, by term, where there are any.
    """
    reference = c.now == c.base
    reasons = c.unseen
    if x is None:
        change = y[c.now] - y[c.base]
        gap = raw_gap(change, c.members, c.treated_now, c.compared_now, sample.weights)
        known = ~reference
        known[list(reasons)] = False
        values = np.where(known[:, None], gap.influence, 0.0).T
        return np.where(known, gap.estimate, 0.0), Influence.of(values), reasons, {}
    estimate, influence = np.zeros(len(c.now)), Influence.none(sample.n_units, len(c.now))
    unlike: dict[int, int] = {}
    for cells in _alike(c, np.setdiff1d(np.flatnonzero(~reference), list(reasons)), sample):
        try:
            fit = _adjusted(sample, c, cells, y, x, how)
        except Unidentified as error:
            reasons |= dict.fromkeys(map(int, cells), str(error))
            continue
        estimate[cells] = fit.estimate
        influence += fit.influence @ np.eye(len(c.now))[cells]
        unlike |= dict.fromkeys(map(int, cells), fit.unlike) if fit.unlike else {}
    return estimate, influence, reasons, unlike


def _alike(c: Comparison, cells: NDArray[np.int64], sample: Sample) -> list[NDArray[np.int64]]:
    """Put cells of the same units together; with repeated cross-sections each stands alone."""
    if sample.question.missing == "cells":
        return [cells[k : k + 1] for k in range(len(cells))]
    return c.alike(cells)


class _Fit(NamedTuple):
    """Estimates of cells of the same units, their influence, and how many comparison units are like none treated."""

    estimate: FloatArray
    influence: Influence
    unlike: int


def _adjusted(
    sample: Sample, c: Comparison, cells: NDArray[np.int64], y: FloatArray, x: FloatArray, how: _Adjustment
) -> _Fit:
    """Return ATT(g,t) given covariates for cells of the same units."""
    n, weights, k = sample.n_units, sample.weights, cells[0]
    treated, compared = c.members[c.treated_now[k]], np.flatnonzero(c.compared_now[k])
    rows = np.concatenate([treated, compared])
    is_treated = np.arange(len(rows)) < len(treated)
    if sample.question.missing != "cells":
        change = y[np.ix_(c.now[cells], rows)] - y[np.ix_(c.base[cells], rows)]
        fit = panel_att(change, is_treated, x[rows], weights[rows], how.method)
        return _Fit(fit.estimate, Influence.of(fit.influence.T * (n / len(rows)), rows, n), fit.unlike)
    treated, compared = c.members[c.treated_base[k]], np.flatnonzero(c.compared_base[k])
    early = np.concatenate([treated, compared])
    outcome = np.concatenate([y[c.now[k], rows], y[c.base[k], early]])
    if np.array_equal(rows, early) and not how.as_drdid:
        outcome -= np.tile(y[c.base[k], rows], 2)
    post = np.arange(len(outcome)) < len(rows)
    is_treated = np.concatenate([is_treated, np.arange(len(early)) < len(treated)])
    rows = np.concatenate([rows, early])
    fit = repeated_att(outcome, post, is_treated, x[rows], weights[rows], how.method, as_drdid=how.as_drdid)
    influence = np.zeros((n, 1))
    np.add.at(influence[:, 0], rows, fit.influence * (n / len(rows)))
    return _Fit(fit.estimate, Influence.of(influence), fit.unlike)
