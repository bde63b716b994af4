"""Group-time average treatment effects of Callaway and Sant'Anna (2021), equations (2.2) to (2.7)."""

from __future__ import annotations

from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from study.cohorts import cohort_membership, cohorts_with_base, left_out, refuse_single_units, rests_on_one
from study.designs import Assumes, Estimand, Handles, design
from study.errors import QuestionError
from study.estimates import Estimate, group_time_effects
from study.influence import Influence
from study.panel import FloatArray
from study.question import Sample
from study.two_by_two import (
    Effect,
    Method,
    Rows,
    Unidentified,
    group_mean,
    panel_att,
    raw_gap,
    regression_gap,
    repeated_att,
)

COLLINEAR = 1e-7


@design(
    name="callaway_santanna",
    title="Group-time ATT (Callaway and Sant'Anna)",
    reference="callaway2021",
    estimand=Estimand.GROUP_TIME_ATT,
    assumes=(Assumes.PARALLEL_TRENDS, Assumes.LIMITED_ANTICIPATION, Assumes.OVERLAP),
    handles=(
        Handles.COVARIATES,
        Handles.MISSING_CELLS,
        Handles.REPEATED_CELLS,
        Handles.ANTICIPATION,
        Handles.CLUSTERS,
        Handles.WEIGHTS,
        Handles.NEVER_TREATED,
        Handles.VARYING_BASE,
        Handles.PROPORTIONAL,
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
        period that has no estimate, and why, and those that rest on one treated unit.

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
    x, adjustment = _design_matrix(sample), _Adjustment(method, variance == "drdid")
    cohorts, notes = cohorts_with_base(sample)
    y, observed = np.nan_to_num(sample.y).T.copy(), sample.observed.T.copy()
    blocks = [_effects(sample, y, _comparison(sample, observed, g), x, adjustment) for g in cohorts]
    notes += [note for block in blocks for note in block.notes]
    if all(block.reference.all() for block in blocks):
        raise QuestionError(f"callaway_santanna: no effect can be estimated: {'; '.join(notes)}.")
    period = np.concatenate([block.period for block in blocks])
    cohort = np.repeat([block.cohort for block in blocks], [len(block.period) for block in blocks])
    return group_time_effects(
        sample,
        cohort,
        period,
        np.concatenate([block.effect.estimate for block in blocks]),
        Influence.of(np.concatenate([block.effect.influence for block in blocks]).T),
        untreated_mean=np.concatenate([block.untreated.estimate for block in blocks]),
        untreated_influence=Influence.of(np.concatenate([block.untreated.influence for block in blocks]).T),
        membership=cohort_membership(sample, cohort),
        reference=np.concatenate([block.reference for block in blocks]),
        n_obs=int(np.any([block.used for block in blocks], axis=0).sum()),
        convention="CR0",
        notes=tuple(notes),
    )


class _Adjustment(NamedTuple):
    """How covariates are adjusted for, and whether the influence of repeated cells is DRDID's."""

    method: Method
    as_drdid: bool


class _Comparison(NamedTuple):
    """Who is compared with whom, and when, in the K cells of one cohort.

    ``now`` and ``base`` are period numbers, shape (K,). ``members`` are the m units of the cohort; which of
    them are seen has shape (K, m), which units they are compared with (K, n). The two periods of a cell
    differ in that with missing="cells" only.
    """

    cohort: float
    now: NDArray[np.int64]
    base: NDArray[np.int64]
    members: NDArray[np.int64]
    treated_now: Rows
    treated_base: Rows
    compared_now: Rows
    compared_base: Rows

    @property
    def reference(self) -> Rows:
        """Cells of the base period itself."""
        return self.now == self.base


class _Block(NamedTuple):
    """The estimated cells of one cohort, and the unit-periods that they rest on, shape (T, n)."""

    cohort: float
    period: FloatArray
    effect: Effect
    untreated: Effect
    reference: Rows
    used: Rows
    notes: list[str]


def _comparison(sample: Sample, observed: Rows, cohort: float) -> _Comparison:
    """Lay out the cells of one cohort.

    Periods from g-d on have the base g-d-1, as in the paper; did differs for d > 1 with a varying base, where
    it starts that at g.
    """
    question, first = sample.question, sample.first_treated
    assert first is not None
    start = int(cohort - question.anticipation - sample.periods[0])
    now = np.arange(len(sample.periods))
    base = np.full(len(now), start - 1)
    if question.base == "varying":
        base = np.where(now >= start, start - 1, now - 1)
        now, base = now[1:], base[1:]
    if question.comparison == "never_treated":
        untreated = np.isnan(first)[None]
    else:
        until = sample.periods[np.maximum(now, base)] + question.anticipation
        untreated = ~(first <= until[:, None]) & (first != cohort)
    seen_now, seen_base = observed[now], observed[base]
    if question.missing != "cells":
        seen_now = seen_base = seen_now & seen_base
    members = np.flatnonzero(first == cohort)
    return _Comparison(
        cohort,
        now,
        base,
        members,
        seen_now[:, members],
        seen_base[:, members],
        untreated & seen_now,
        untreated & seen_base,
    )


def _effects(sample: Sample, y: FloatArray, c: _Comparison, x: FloatArray | None, how: _Adjustment) -> _Block:
    """Estimate the cells of one cohort, and say which have no estimate; y has shape (T, n)."""
    after, before = y[c.now], y[c.base]
    reason = _not_seen(c)
    if x is not None and how.method == "reg" and sample.question.missing != "cells":
        effect, identified = regression_gap(
            after - before, c.members, c.treated_now, c.compared_now, x, sample.weights
        )
        collinear = np.flatnonzero(~identified & ~c.reference)
        reason = {
            int(k): "the covariates do not identify the comparison units' regression" for k in collinear
        } | reason
    elif x is not None:
        effect = _each_adjusted(sample, c, after, before, x, how, reason)
    elif sample.question.missing == "cells":
        late = raw_gap(after, c.members, c.treated_now, c.compared_now, sample.weights)
        early = raw_gap(before, c.members, c.treated_base, c.compared_base, sample.weights)
        effect = Effect(late.estimate - early.estimate, late.influence - early.influence)
    else:
        effect = raw_gap(after - before, c.members, c.treated_now, c.compared_now, sample.weights)
    effect.estimate[c.reference], effect.influence[c.reference] = 0.0, 0.0
    own = group_mean(after[:, c.members], c.treated_now, sample.weights[c.members], sample.n_units)
    untreated = Effect(own.estimate - effect.estimate, -effect.influence)
    untreated.influence[:, c.members] += own.influence
    kept = np.ones(len(c.now), dtype=bool)
    kept[list(reason)] = False
    period = sample.periods[c.now].astype(float)
    own_cohort = np.full(len(period), c.cohort)
    single = kept & ~c.reference & (c.treated_now.sum(axis=1) == 1)
    notes = left_out(own_cohort, period, reason) + rests_on_one(own_cohort, period, single)
    return _Block(
        c.cohort,
        period[kept],
        _columns(effect, kept),
        _columns(untreated, kept),
        c.reference[kept],
        _used(sample, c, kept & ~c.reference),
        notes,
    )


def _each_adjusted(
    sample: Sample,
    c: _Comparison,
    after: FloatArray,
    before: FloatArray,
    x: FloatArray,
    how: _Adjustment,
    reason: dict[int, str],
) -> Effect:
    """Estimate one cell after the other, and add the reason to those that are not identified."""
    effect = Effect(np.zeros(len(c.now)), np.zeros(after.shape))
    for k in map(int, np.flatnonzero(~c.reference)):
        if k not in reason:
            try:
                fit = _adjusted(sample, c, k, after[k], before[k], x, how)
                effect.estimate[k], effect.influence[k] = fit
            except Unidentified as error:
                reason[k] = str(error)
    return effect


def _not_seen(c: _Comparison) -> dict[int, str]:
    """Return the cells in which one of the groups is not observed, with the reason."""
    treated = c.treated_now.any(axis=1) & c.treated_base.any(axis=1)
    compared = c.compared_now.any(axis=1) & c.compared_base.any(axis=1)
    reason = {int(k): "no comparison unit is observed" for k in np.flatnonzero(~compared & ~c.reference)}
    return reason | {int(k): "no treated unit is observed" for k in np.flatnonzero(~treated)}


def _adjusted(
    sample: Sample,
    c: _Comparison,
    k: int,
    after: FloatArray,
    before: FloatArray,
    x: FloatArray,
    how: _Adjustment,
) -> Effect:
    """Return ATT(g,t) given covariates, with its influence on all n units of the sample."""
    n, weights = sample.n_units, sample.weights
    treated, compared = c.members[c.treated_now[k]], np.flatnonzero(c.compared_now[k])
    rows = np.concatenate([treated, compared])
    is_treated = np.arange(len(rows)) < len(treated)
    if sample.question.missing != "cells":
        fit = panel_att(after[rows] - before[rows], is_treated, x[rows], weights[rows], how.method)
    else:
        treated, compared = c.members[c.treated_base[k]], np.flatnonzero(c.compared_base[k])
        early = np.concatenate([treated, compared])
        y = np.concatenate([after[rows], before[early]])
        post = np.arange(len(y)) < len(rows)
        is_treated = np.concatenate([is_treated, np.arange(len(early)) < len(treated)])
        rows = np.concatenate([rows, early])
        fit = repeated_att(y, post, is_treated, x[rows], weights[rows], how.method, as_drdid=how.as_drdid)
    influence = np.zeros(n)
    np.add.at(influence, rows, fit.influence * (n / len(rows)))
    return Effect(fit.estimate, influence)


def _used(sample: Sample, c: _Comparison, cells: Rows) -> Rows:
    """Return the unit-periods that some of the cells rest on, shape (T, n)."""
    used = np.zeros((len(sample.periods), sample.n_units), dtype=bool)
    used[c.now[cells]] = c.compared_now[cells]
    used[np.ix_(c.now[cells], c.members)] = c.treated_now[cells]
    for base in np.unique(c.base[cells]):
        here = cells & (c.base == base)
        used[base] |= c.compared_base[here].any(axis=0)
        used[base, c.members] |= c.treated_base[here].any(axis=0)
    return used


def _columns(effect: Effect, kept: Rows) -> Effect:
    return effect if kept.all() else Effect(effect.estimate[kept], effect.influence[kept])


def _design_matrix(sample: Sample) -> FloatArray | None:
    """Return the constant and the covariates, centred and scaled; None where there are no covariates.

    A regression or a logit with a constant does not change with the scaling, but its conditioning does.
    """
    if not sample.question.covariates:
        return None
    x = sample.x_baseline - sample.x_baseline.mean(axis=0)
    spread = x.std(axis=0)
    x = x / np.where(spread > COLLINEAR * np.abs(sample.x_baseline).max(axis=0), spread, np.inf)
    diagonal = np.abs(np.diag(np.linalg.qr(x, mode="r"))) / np.sqrt(len(x))
    for k, name in enumerate(sample.question.covariates):
        if k >= len(diagonal) or diagonal[k] < COLLINEAR:
            raise QuestionError(
                f"callaway_santanna: covariate {name} is explained by the constant and the covariates before "
                "it; leave it out."
            )
    return np.column_stack([np.ones(len(x)), x])
