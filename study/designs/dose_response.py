"""Dose-response curves under parallel trends of Callaway, Goodman-Bacon and Sant'Anna (2024)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Literal, NamedTuple

import numpy as np

from study.core import BoolArray, FloatArray, Influence, IntArray, QuestionError, Values, listed, side_by_side
from study.designs import Assumes, Estimand, Supports, design
from study.designs.callaway_santanna import callaway_santanna
from study.designs.did_cells import cells_of
from study.estimates import Estimate, LeftOut, refuse_single_units
from study.panel import Sample

DESIGN = "dose_response"
# Shares of the treated units' doses whose quantiles the curve is shown at, where no doses are given.
SHOWN = np.arange(5, 100, 5) / 100
UNIDENTIFIED = 1e-9


@design(
    title="Dose-response curve (Callaway, Goodman-Bacon and Sant'Anna)",
    reference="callaway2024",
    estimand=Estimand.GROUP_TIME_ATT,
    assumes=(
        Assumes.PARALLEL_TRENDS,
        Assumes.STRONG_PARALLEL_TRENDS,
        Assumes.LIMITED_ANTICIPATION,
        Assumes.OVERLAP,
    ),
    supports=(
        Supports.MISSING_CELLS,
        Supports.ANTICIPATION,
        Supports.CLUSTERS,
        Supports.WEIGHTS,
        Supports.NEVER_TREATED,
        Supports.VARYING_BASE,
        Supports.DOSE,
    ),
)
def dose_response(
    sample: Sample,
    *,
    curve: Literal["levels", "slopes"] = "levels",
    form: Literal["spline", "saturated"] = "spline",
    degree: int = 3,
    knots: int = 0,
    doses: Sequence[float] | None = None,
    variance: Literal["sampling", "conditional"] = "sampling",
) -> Estimate:
    """Regress each cohort's change since its base period on the dose, less the change of comparison units.

    In the cell of cohort g and period t, with d the dose at entry, b(d) a basis of functions of the dose that add up to
    one and C the mean change of the comparison units,

        ATT(d|g,t) = b(d)' beta(g,t) - C(g,t),        ACRT(d|g,t) = b'(d)' beta(g,t),

    where beta(g,t) are the coefficients of the regression of the treated units' changes on b. Their averages over the
    treated units of the cell are ATT(g,t), which is that of :func:`callaway_santanna` whatever the basis, and
    ACRT(g,t). Curves are averages of those of the cells by the weights of the question's average, as the headline,
    ATT^o or ACRT^o, is of ATT(g,t) or ACRT(g,t).

    Parallel trends, that units of each dose would have changed as the untreated did, identify ATT(g,t), ATT^o and
    ATT(d|d), the effect of dose d on those who have it. Differences of the curve between doses and its slopes are
    effects of the dose under strong parallel trends only: units of all doses would have had the same average effect of
    each dose. Otherwise they mix it with selection into doses. A note says so.

    Parameters
    ----------
    sample : Sample
        Absorbing treatment with a dose. Gaps: a cell rests on the units that are seen in both of its periods.
    curve : {"levels", "slopes"}
        ATT(g,t) and ATT(d), or ACRT(g,t) and ACRT(d), which are per unit of the dose.
    form : {"spline", "saturated"}
        B-splines, or a mean for each dose, whose slopes are differences between neighbouring doses, the first from
        dose 0, over theirs.
    degree, knots : int
        Degree of the splines, and how many knots they have between the smallest and the largest dose: quantiles of the
        treated units' doses, at equal steps.
    doses : sequence of float, optional
        Where the curve is shown: by default at the 5%, 10%, ..., 95% quantiles of the doses of treated units that lie
        between the largest smallest and the smallest largest dose of a cohort, or at every dose if saturated.
    variance : {"sampling", "conditional"}
        Whether averages carry the estimation of cohort shares, or take the shares as given, as contdid does.

    Returns
    -------
    Estimate
        One term for each cohort and period, as in :func:`callaway_santanna`, then the curve, with ``at`` the dose;
        "CR0" standard errors. Knots and the doses that are shown are taken as given. "jackknife" errors weigh each
        cluster's residual by its leverage in the regression on the dose.

    Raises
    ------
    QuestionError
        If all treated units have one dose, a cohort has fewer distinct doses than the basis has functions or does not
        identify them, or the curve is asked for at doses that some cohort does not reach.

    References
    ----------
    Callaway, B., Goodman-Bacon, A., and Sant'Anna, P. H. C. (2024). Difference-in-differences with a continuous
    treatment. NBER Working Paper 32117.
    """
    assert sample.dose is not None
    refuse_single_units(sample, DESIGN)
    basis = _basis(sample, form, degree, knots)
    at = _shown(sample, basis, doses)
    effects = callaway_santanna.function(sample)
    effects = replace(effects, shares="estimated" if variance == "sampling" else "fixed")
    coefficients, fits = _regressions(sample, effects, basis, every=curve == "slopes")
    untreated = _of_comparison_units(effects)
    average = _averaged(effects, coefficients, fits, untreated)
    if curve == "slopes":
        effects = _slopes(effects, coefficients, fits, untreated)
    return _with_curve(effects, average, at, basis, curve)


class _Basis(NamedTuple):
    """Functions of the dose that add up to one: B-splines between knots, or with degree 0 an indicator of each dose.

    ``knots`` are in ascending order, the smallest and the largest dose among them; ``dose`` has shape (n,).
    """

    degree: int
    knots: FloatArray
    dose: FloatArray

    @property
    def size(self) -> int:
        """Number of functions."""
        return len(self.knots) - 1 + self.degree if self.degree else len(self.knots)

    @property
    def words(self) -> str:
        """What it is, for a sentence."""
        if not self.degree:
            return f"an indicator of each of {self.size} doses"
        inner = [f"{knot:g}" for knot in self.knots[1:-1]]
        where = f"knots at {listed(inner)}" if inner else "no knots"
        return (
            f"B-splines of degree {self.degree} with {where} between {self.knots[0]:g} and {self.knots[-1]:g}"
        )

    def at(self, dose: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Return the functions and their slopes at doses, shape (m, p) each."""
        if self.degree:
            return b_splines(dose, self.knots, self.degree)
        steps = np.diff(self.knots, prepend=0.0)
        place = np.searchsorted(self.knots, dose)
        return np.eye(self.size)[place], ((np.eye(self.size) - np.eye(self.size, k=-1)) / steps[:, None])[
            place
        ]


def b_splines(x: FloatArray, knots: FloatArray, degree: int) -> tuple[FloatArray, FloatArray]:
    """Return the B-splines of a degree with knots, ends included, and their derivatives, shape (m, p), p = K - 1 + degree.

    By the recursion of Cox and de Boor; beyond the ends the outer polynomials go on. They do not depend on where the ends
    are, up to a linear map, so that fitted curves are the same whatever interval around the doses has been chosen.
    """
    piece = np.clip(np.searchsorted(knots, x, side="right") - 1, 0, len(knots) - 2)
    basis = np.eye(len(knots) - 1)[piece]
    slope = np.zeros_like(basis)
    for k in range(1, degree + 1):
        padded = np.concatenate([np.repeat(knots[0], k - 1), knots, np.repeat(knots[-1], k - 1)])
        start, width = padded[:-k], padded[k:] - padded[:-k]
        share, by_width = (x[:, None] - start) / width * basis, k / width * basis
        slope = np.pad(by_width, ((0, 0), (1, 0))) - np.pad(by_width, ((0, 0), (0, 1)))
        basis = np.pad(share, ((0, 0), (1, 0))) + np.pad(basis - share, ((0, 0), (0, 1)))
    return basis, slope


def _cohort_doses(sample: Sample) -> dict[str, FloatArray]:
    """Return the doses of each cohort by its name."""
    assert sample.dose is not None
    return {sample.period_name(g): sample.dose[sample.first_treated == g] for g in sample.cohorts}


def _basis(sample: Sample, form: str, degree: int, knots: int) -> _Basis:
    """Choose the functions of the dose; refuse doses that cannot identify them."""
    assert sample.dose is not None
    of_cohort = _cohort_doses(sample)
    dose = np.concatenate([*of_cohort.values()])
    distinct = np.unique(dose)
    if len(distinct) == 1:
        raise QuestionError(
            f"{DESIGN}: all treated units have the same {sample.question.dose}, {distinct[0]:g}, so there is no curve; "
            "use callaway_santanna."
        )
    if form == "saturated":
        basis = _Basis(0, distinct, sample.dose)
    else:
        inner = np.quantile(dose, np.linspace(0, 1, knots + 2))
        basis = _Basis(degree, inner, sample.dose)
        if np.any(np.diff(inner) <= 0):
            raise QuestionError(
                f"{DESIGN}: {knots} knots at quantiles of {len(distinct)} distinct doses fall together; lower knots, or "
                'use form="saturated".'
            )
    for cohort, own in of_cohort.items():
        if len(np.unique(own)) < basis.size:
            other = 'lower degree or knots, use form="saturated"' if form == "spline" else 'use form="spline"'
            raise QuestionError(
                f"{DESIGN}: cohort {cohort} has {len(np.unique(own))} distinct doses, fewer than the {basis.size} terms of "
                f"a regression on {basis.words}; {other}, or pool cohorts with cohort_width."
            )
    return basis


def _shown(sample: Sample, basis: _Basis, doses: Sequence[float] | None) -> FloatArray:
    """Return the doses at which the curve is shown, all of them between the doses of every cohort."""
    of_cohort = _cohort_doses(sample)
    low, high = max(own.min() for own in of_cohort.values()), min(own.max() for own in of_cohort.values())
    if doses is None:
        every = np.concatenate([*of_cohort.values()])
        given = basis.knots if not basis.degree else np.unique(np.quantile(every, SHOWN))
        at = given[(given >= low) & (given <= high)]
    else:
        at = np.unique(np.asarray(doses, dtype=float))
        if (
            not len(at)
            or np.any((at < low) | (at > high))
            or not (basis.degree or np.isin(at, basis.knots).all())
        ):
            known = (
                f"between {low:g} and {high:g}"
                if basis.degree
                else f"among {listed(map('{:g}'.format, basis.knots))}"
            )
            raise QuestionError(f"{DESIGN}: doses have to lie {known}, where every cohort has some.")
    if not len(at):
        raise QuestionError(
            f"{DESIGN}: no dose lies between the doses of every cohort, so their curves have no average; pool cohorts "
            "with cohort_width."
        )
    return at


class _Fit(NamedTuple):
    """Regressions of the changes of the m units of one group in k cells that rest on the same units.

    Attributes
    ----------
    group : int
        Number of the group among those of the sample.
    own : ndarray of int, shape (k,)
        Numbers of the cells.
    slope : ndarray, shape (m, p)
        Slopes of the functions at the units' doses.
    weight : ndarray, shape (m,)
        Zero for units that the cells do not rest on.
    residual : ndarray, shape (m, k)
    pull, pull_left : ndarray, shape (m, p)
        What coefficients add of each unit's residual, and what they lose of it if the unit's cluster is left out.
    cluster : ndarray of int, shape (m,)
        Numbers of the group's clusters, from 0 on.
    mean_left : ndarray, shape (m,)
        The factor by which leaving the cluster out moves a mean more than its residual says.
    estimable : ndarray of bool, shape (p,)
        Which coefficients are identified without any one cluster.
    """

    group: int
    own: IntArray
    slope: FloatArray
    weight: FloatArray
    residual: FloatArray
    pull: FloatArray
    pull_left: FloatArray
    cluster: IntArray
    mean_left: FloatArray
    estimable: BoolArray


def _regressions(
    sample: Sample, effects: Estimate, basis: _Basis, every: bool
) -> tuple[FloatArray, list[_Fit]]:
    """Regress changes on the dose, in all cells or in those after treatment.

    Returns
    -------
    coefficients : ndarray, shape (K, p)
        Of the regression, less the mean change of the comparison units; zero where there is none.
    fits : list of _Fit
    """
    coefficients, fits = np.zeros((len(effects.terms), basis.size)), []
    dates, rows = sample.groups
    used = ~effects.reference & (every | (effects.period >= effects.cohort))
    laid = cells_of(sample, np.unique(effects.cohort))
    place = {cell: k for k, cell in enumerate(zip(laid.cohort, laid.period, strict=True))}
    cells = laid.select(np.array([place[cell] for cell in zip(effects.cohort, effects.period, strict=True)]))
    for g in np.flatnonzero(np.isin(dates, effects.cohort[used])):
        members, of_group = rows[g], np.flatnonzero(used & (effects.cohort == dates[g]))
        level, slope = basis.at(basis.dose[members])
        y, weight, cluster = sample.y[members], sample.weights[members], sample.cluster[members]
        change = y[:, cells.now[of_group]] - y[:, cells.base[of_group]]
        seen = ~np.isnan(change)
        alike: dict[bytes, list[int]] = {}
        for k, column in enumerate(seen.T):
            alike.setdefault(column.tobytes(), []).append(k)
        for which in alike.values():
            own, here, filled = of_group[which], seen[:, which[0]] * weight, np.nan_to_num(change[:, which])
            fit = _regress(filled, level, here, cluster)
            if fit is None:
                raise QuestionError(
                    f"{DESIGN}: the doses of cohort {sample.period_name(dates[g])} in "
                    f"{sample.period_name(effects.period[own[0]])} do not identify a regression on {basis.words}; "
                    'lower degree or knots, or use missing="balanced" where units have gaps.'
                )
            coefficient, *rest = fit
            untreated = here @ filled / here.sum() - effects.effect_level[own]
            coefficients[own] = coefficient.T - untreated[:, None]
            fits.append(_Fit(int(g), own, slope, here, *rest))
    return coefficients, fits


def _regress(
    change: FloatArray, x: FloatArray, weight: FloatArray, cluster: IntArray
) -> tuple[FloatArray, FloatArray, FloatArray, FloatArray, IntArray, FloatArray, BoolArray] | None:
    """Regress changes, (m, k), on functions of the dose, (m, p); None where these are collinear.

    With Q the regressors turned so that Q'Q = 1, and Q_c the rows of a cluster, leaving the cluster out takes
    (1 - Q_c'Q_c)^-1 Q_c'e_c from the turned coefficients, e being the residuals.
    """
    gram = x.T @ (weight[:, None] * x)
    size = np.sqrt(np.diag(gram))
    if not np.all(size > 0):
        return None
    values, vectors = np.linalg.eigh(gram / np.outer(size, size))
    if values[0] < UNIDENTIFIED:
        return None
    turn = vectors / np.sqrt(values) / size[:, None]
    coefficient = turn @ (turn.T @ (x.T @ (weight[:, None] * change)))
    q = np.sqrt(weight)[:, None] * (x @ turn)
    start, of_unit = np.unique(cluster, return_inverse=True)
    n_clusters = len(start)
    own = np.zeros((n_clusters, *gram.shape))
    np.add.at(own, of_unit, q[:, :, None] * q[:, None, :])
    lost = np.trace(own, axis1=1, axis2=2) > 1 - UNIDENTIFIED
    gone = np.zeros(len(gram), dtype=bool)
    for c in np.flatnonzero(lost):
        shares, directions = np.linalg.eigh(own[c])
        without = np.abs(turn @ directions[:, shares > 1 - UNIDENTIFIED])
        gone |= np.any(without > UNIDENTIFIED * np.abs(turn).max(axis=1, keepdims=True), axis=1)
        lost[c] = without.size > 0
    own[lost] = 0.0
    left = np.linalg.solve((np.eye(len(gram)) - own)[of_unit], q[:, :, None])[:, :, 0]
    by_root = np.sqrt(weight)[:, None]
    total = np.bincount(of_unit, weight)
    rest = weight.sum() - total
    mean_left = np.where(rest > 0, weight.sum() / np.where(rest > 0, rest, 1.0), 1.0)[of_unit]
    return (
        coefficient,
        change - x @ coefficient,
        by_root * q @ turn.T,
        by_root * left @ turn.T,
        of_unit,
        mean_left,
        ~gone,
    )


class _Pair(NamedTuple):
    """Influence on some terms, and that which leaves clusters out."""

    influence: Influence
    left: Influence

    def __add__(self, other: _Pair) -> _Pair:  # type: ignore[override]
        return _Pair(self.influence + other.influence, self.left + other.left)

    def __matmul__(self, weights: FloatArray) -> _Pair:
        return _Pair(self.influence @ weights, self.left @ weights)


def _of_comparison_units(effects: Estimate) -> _Pair:
    """Return the part of the comparison units in the influence on the effects by cohort and period."""
    others = (effects.sample.groups[0][:, None] != effects.cohort).astype(float)
    group, influences = effects.sides.group, (effects.level_influence, effects.leave_out.level)
    return _Pair(*(influence.weighted(group, others) for influence in influences))


def _less_rounding(total: FloatArray, size: FloatArray | float) -> FloatArray:
    """Return sums of slopes of functions that add up to one: they add up to zero, but for rounding."""
    return np.where(np.abs(total) < UNIDENTIFIED * size, 0.0, total)


class _Average(NamedTuple):
    """Coefficients averaged over cells, shape (p,), and the influence on them.

    ``untreated``, of one column, is the comparison units' part, which is the same for all coefficients.
    """

    coefficient: FloatArray
    treated: _Pair
    untreated: _Pair
    clusters: IntArray
    estimable: BoolArray


def _averaged(effects: Estimate, coefficients: FloatArray, fits: list[_Fit], untreated: _Pair) -> _Average:
    """Average the coefficients of cells as the question's average does the effects."""
    sample, (n_terms, p) = effects.sample, coefficients.shape
    none = Influence.none(sample.n_units, n_terms)
    nothing = LeftOut(none, None, effects.leave_out.clusters, effects.leave_out.estimable)
    blank = replace(
        effects, level_influence=none, untreated_mean=None, untreated_influence=None, left_out=nothing
    )
    # Draws are averaged by the weights that effects are averaged by; of one draw a cell these are the weights.
    blank = replace(blank, of_draw=np.eye(n_terms))
    averages = [replace(blank, effect_level=own).headline for own in coefficients.T]
    assert averages[0].of_draw is not None
    weight = averages[0].of_draw[0]
    shares = _Pair(
        side_by_side([average.level_influence for average in averages]),
        side_by_side([average.leave_out.level for average in averages]),
    )
    rows = sample.groups[1]
    zero = [np.zeros((len(members), p)) for members in rows]
    pulled, pulled_left = list(zero), list(zero)
    estimable = np.ones(p, dtype=bool)
    for fit in fits:
        change = sample.n_units * (fit.residual @ weight[fit.own])[:, None]
        pulled[fit.group] = pulled[fit.group] + change * fit.pull
        pulled_left[fit.group] = pulled_left[fit.group] + change * fit.pull_left
        if np.any(weight[fit.own]):
            estimable &= fit.estimable
    same = np.broadcast_to(np.eye(p), (len(rows), p, p))
    own = _Pair(
        *(Influence.by_group(sample.n_units, Values(rows, tuple(v)), same) for v in (pulled, pulled_left))
    )
    effect = np.array([average.effect_level[0] for average in averages])
    rest = effects.leave_out.averaged(weight[:, None])
    return _Average(
        effect, own + shares, untreated @ weight[:, None], rest.clusters, estimable & rest.estimable
    )


def _slopes(effects: Estimate, coefficients: FloatArray, fits: list[_Fit], untreated: _Pair) -> Estimate:
    """Return ACRT(g,t): slopes at the doses of the treated units of each cell, averaged over these."""
    sample, n_terms = effects.sample, len(effects.terms)
    (dates, rows), n = sample.groups, sample.n_units
    slope, total = np.zeros((2, n_terms))
    estimable = effects.reference.copy()
    own, own_left = ([np.zeros((len(members), len(sample.periods))) for members in rows] for _ in range(2))
    place = np.zeros((len(rows), len(sample.periods), n_terms))
    for fit in fits:
        share = fit.weight / fit.weight.sum()
        mean, of_unit = share @ fit.slope, fit.slope @ coefficients[fit.own].T
        slope[fit.own] = share @ of_unit
        spread = share[:, None] * (of_unit - slope[fit.own])
        moved = np.zeros((int(fit.cluster.max()) + 1, len(mean)))
        np.add.at(moved, fit.cluster, share[:, None] * (fit.slope - mean))
        without = mean - fit.mean_left[:, None] * moved[fit.cluster]
        column = fit.own - np.argmax(effects.cohort == dates[fit.group])
        own[fit.group][:, column] = n * ((fit.pull @ mean)[:, None] * fit.residual + spread)
        by_residual = np.einsum("ip,ip->i", fit.pull_left, without)[:, None] * fit.residual
        left = by_residual + fit.mean_left[:, None] * spread
        own_left[fit.group][:, column] = n * left
        place[fit.group, column, fit.own] = 1.0
        estimable[fit.own] = fit.estimable.all()
        total[fit.own] = _less_rounding(mean.sum(), np.abs(mean).max())
    pair = _Pair(*(Influence.by_group(n, Values(rows, tuple(v)), place) for v in (own, own_left)))
    if total.any():
        pair += untreated @ np.diag(total)
    name = sample.period_name
    return replace(
        effects,
        estimand=Estimand.GROUP_TIME_ACRT,
        terms=tuple(
            f"ACRT({name(g)},{name(t)})" for g, t in zip(effects.cohort, effects.period, strict=True)
        ),
        effect_level=slope,
        level_influence=pair.influence,
        untreated_mean=None,
        untreated_influence=None,
        left_out=LeftOut(pair.left, None, effects.leave_out.clusters, estimable),
    )


def _with_curve(effects: Estimate, average: _Average, at: FloatArray, basis: _Basis, curve: str) -> Estimate:
    """Return effects by cohort and period and the curve that the averaged coefficients are, at some doses."""
    levels, (level, slope) = curve == "levels", basis.at(at)
    sample, grid = effects.sample, (level if levels else slope).T
    total = _less_rounding(grid.sum(axis=0, keepdims=True), np.abs(grid).max(axis=0))
    pair = average.treated @ grid + average.untreated @ total
    clusters = np.repeat(average.clusters, len(grid), axis=1)
    left = LeftOut(average.treated.left, None, clusters, average.estimable).averaged(grid)
    cells, k = effects.leave_out, len(at)

    def joined(values: FloatArray, more: FloatArray | float) -> FloatArray:
        return np.concatenate([values, np.broadcast_to(more, (*values.shape[:-1], k))], axis=-1)

    none = Influence.none(sample.n_units, k)
    assert effects.cohort_weights is not None and effects.treated is not None
    mean, of_mean = effects.untreated_mean, effects.untreated_influence
    what = "ATT" if levels else "ACRT"
    return replace(
        effects,
        terms=(*effects.terms, *(f"{what}(d={d:g})" for d in at)),
        effect_level=joined(effects.effect_level, average.coefficient @ grid),
        level_influence=side_by_side([effects.level_influence, pair.influence]),
        cohort=joined(effects.cohort, np.nan),
        period=joined(effects.period, np.nan),
        event_time=joined(effects.event_time, np.nan),
        reference=joined(effects.reference, False).astype(bool),
        treated=joined(effects.treated, np.isin(sample.groups[0], sample.cohorts)[:, None]),
        cohort_weights=side_by_side([effects.cohort_weights, none]),
        untreated_mean=None if mean is None else joined(mean, np.nan),
        untreated_influence=None if of_mean is None else side_by_side([of_mean, none]),
        left_out=LeftOut(
            side_by_side([cells.level, pair.left]),
            None,
            np.hstack([cells.clusters, left.clusters]),
            np.concatenate([cells.estimable, left.estimable]),
            own=np.arange(len(effects.terms) + k) >= (len(effects.terms) if levels else 0),
        ),
        at=joined(np.full(len(effects.terms), np.nan), at),
        at_name="dose",
        remarks=(*effects.remarks, *_notes(effects, basis, levels)),
    )


def _notes(effects: Estimate, basis: _Basis, levels: bool) -> list[str]:
    """Say what is regressed on, and what each assumption is for."""
    question = effects.sample.question
    average, dose = question.average.replace("_", " "), question.dose
    strong = "strong parallel trends: units of all doses would have had the same average effect of each"
    if levels:
        needs = (
            f"under parallel trends the {average} is the effect on the treated units, and ATT(d) that of dose d on those "
            f"who have it; that differences of ATT(d) between doses are effects of {dose} takes {strong}, and else they "
            "include selection into doses"
        )
    else:
        needs = f"that slopes and their {average} are effects of {dose} takes {strong}; else they include selection into doses"
    return [f"changes are regressed on {basis.words}", needs]
