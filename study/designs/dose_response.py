"""Dose-response curves under parallel trends of Callaway, Goodman-Bacon and Sant'Anna (2024)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from operator import add
from typing import Literal, NamedTuple

import numpy as np

from study.core import (
    BoolArray,
    FloatArray,
    Influence,
    IntArray,
    QuestionError,
    Values,
    counted,
    distinct_texts,
    listed,
    scaled_directions,
    side_by_side,
    sums_by,
)
from study.designs import Assumes, Estimand, Sample, Supports, design
from study.designs.callaway_santanna import callaway_santanna
from study.designs.did_cells import cells_of
from study.estimates import Estimate, LeftOut

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
        Where the curve is shown: by default at the 5%, 10%, ..., 95% quantiles of the doses of treated units, each a
        dose that one of them has, as far as those of every cohort reach, or at every dose if saturated.
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
    basis = _basis(sample, form, degree, knots)
    at = _shown(sample, basis, doses)
    effects = callaway_santanna.function(sample)
    effects = replace(effects, shares="estimated" if variance == "sampling" else "fixed", design=DESIGN)
    coefficients, fits = _regressions(effects, basis, every=curve == "slopes")
    untreated, (level, slope) = _of_comparison_units(effects), basis.at(at)
    line = _averaged(effects, coefficients, fits, untreated, (level if curve == "levels" else slope).T)
    if curve == "slopes":
        effects = _slopes(effects, coefficients, fits, untreated)
    remarks = (*effects.remarks, f"changes are regressed on {basis}", _assumed(effects))
    return replace(_with_curve(effects, at, *line), remarks=remarks)


class _Basis(NamedTuple):
    """Functions of the dose that add up to one: B-splines between knots, or with degree 0 an indicator of each dose.

    ``knots`` ascend from the smallest to the largest dose.
    """

    degree: int
    knots: FloatArray

    @property
    def size(self) -> int:
        """Number of functions."""
        return len(self.knots) - 1 + self.degree if self.degree else len(self.knots)

    def __str__(self) -> str:
        """Return what it is, for a sentence."""
        if not self.degree:
            return f"an indicator of each of {self.size} doses"
        inner = [f"{knot:g}" for knot in self.knots[1:-1]]
        where = f"knots at {listed(inner)}" if inner else "no knots"
        return (
            f"B-splines of degree {self.degree} with {where} between {self.knots[0]:g} and {self.knots[-1]:g}"
        )

    def at(self, dose: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Return the functions and their slopes at m doses, shape (m, p) each."""
        if self.degree:
            from scipy.interpolate import BSpline

            # Where the ends are does not matter to a regression on them: the splines of one degree with the same knots
            # between are the same functions wherever all doses lie between the ends.
            splines = BSpline(np.pad(self.knots, self.degree, mode="edge"), np.eye(self.size), self.degree)
            return splines(dose), splines(dose, 1)
        place, own = np.searchsorted(self.knots, dose), np.eye(self.size)
        steps = np.diff(self.knots, prepend=0.0)[:, None]
        return own[place], ((own - np.eye(self.size, k=-1)) / steps)[place]


def _doses_of_cohorts(sample: Sample) -> dict[str, FloatArray]:
    """Return the doses of each cohort's units, by its name."""
    assert sample.dose is not None
    return {sample.period_name(g): sample.dose[sample.first_treated == g] for g in sample.cohorts}


def _basis(sample: Sample, form: str, degree: int, knots: int) -> _Basis:
    """Choose the functions of the dose; refuse doses that cannot identify them."""
    of_cohort = _doses_of_cohorts(sample)
    dose = np.concatenate([*of_cohort.values()])
    distinct = np.unique(dose)
    if len(distinct) == 1:
        raise QuestionError(
            f"{DESIGN}: all treated units have the same {sample.question.dose}, {distinct[0]:g}, so there is no curve; "
            "use callaway_santanna."
        )
    basis, other = _Basis(0, distinct), 'use form="spline"'
    if form == "spline":
        basis = _Basis(degree, np.quantile(dose, np.linspace(0, 1, knots + 2)))
        other = 'lower degree or knots, use form="saturated"'
    if np.any(np.diff(basis.knots) <= 0):
        raise QuestionError(
            f"{DESIGN}: {knots} knots at quantiles of {len(distinct)} distinct doses fall together; lower knots, or "
            'use form="saturated".'
        )
    for cohort, own in of_cohort.items():
        number = len(np.unique(own))
        if number < basis.size:
            raise QuestionError(
                f"{DESIGN}: cohort {cohort} has {counted(number, 'distinct dose')}, fewer than the "
                f"{basis.size} terms of a regression on {basis}; {other}, or pool cohorts with cohort_width."
            )
    return basis


def _shown(sample: Sample, basis: _Basis, doses: Sequence[float] | None) -> FloatArray:
    """Return the doses at which the curve is shown, all of them between the doses of every cohort."""
    of_cohort = [*_doses_of_cohorts(sample).values()]
    low, high = max(own.min() for own in of_cohort), min(own.max() for own in of_cohort)
    if low >= high:
        raise QuestionError(
            f"{DESIGN}: no dose lies between the doses of every cohort, so that their curves have no average; pool "
            "cohorts with cohort_width."
        )
    if doses is None:
        # A curve between doses that nobody has is of its form alone.
        had = np.quantile(np.concatenate(of_cohort), SHOWN, method="inverted_cdf")
        every = had if basis.degree else basis.knots
        return np.unique(np.clip(every, low, high))
    at = np.unique(np.asarray(doses, dtype=float))
    known = (at >= low) & (at <= high) if basis.degree else np.isin(at, basis.knots)
    if not known.all():
        among = f"among {listed(map('{:g}'.format, basis.knots))}"
        where = f"between {low:g} and {high:g}" if basis.degree else among
        raise QuestionError(f"{DESIGN}: doses have to lie {where}, where every cohort has some.")
    return at


class _Fit(NamedTuple):
    """Changes of m units in k cells that rest on the same of them, regressed on p functions of the dose.

    Attributes
    ----------
    group, cells : int, ndarray of int, shape (k,)
        The number of the units' group, and of the cells.
    weight, slope : ndarray, shape (m,), (m, p)
        The units' weights, and slopes of the functions at their doses.
    residual : ndarray, shape (m, k)
    pull, pull_left : ndarray, shape (m, p)
        What coefficients have of each unit's residual, and what they lose with it where its cluster is left out.
    cluster : ndarray of int, shape (m,)
        From 0 on.
    factor_left : ndarray, shape (m,)
        By which a mean loses more of a unit's deviation where its cluster is left out.
    estimable : ndarray of bool, shape (p,)
        Which coefficients are identified without any one cluster.
    """

    group: int
    cells: IntArray
    weight: FloatArray
    slope: FloatArray
    residual: FloatArray
    pull: FloatArray
    pull_left: FloatArray
    cluster: IntArray
    factor_left: FloatArray
    estimable: BoolArray


def _regressions(effects: Estimate, basis: _Basis, every: bool) -> tuple[FloatArray, list[_Fit]]:
    """Regress changes on the dose, in every cell or in those after treatment.

    Returns
    -------
    coefficients : ndarray, shape (K, p)
        Of the regression less the mean change of the comparison units, so that ATT(d|g,t) is their mean weighted by the
        functions at d; zero in other cells.
    fits : list of _Fit
    """
    sample = effects.sample
    assert sample.dose is not None
    coefficients, fits = np.zeros((len(effects.terms), basis.size)), []
    dates, rows = sample.groups
    used = ~effects.reference & (every | (effects.period >= effects.cohort))
    laid = cells_of(sample, np.unique(effects.cohort))
    place = {cell: k for k, cell in enumerate(zip(laid.cohort, laid.period, strict=True))}
    cells = laid.select(np.array([place[cell] for cell in zip(effects.cohort, effects.period, strict=True)]))
    for g in np.flatnonzero(np.isin(dates, effects.cohort[used])):
        members, of_group = rows[g], np.flatnonzero(used & (effects.cohort == dates[g]))
        level, slope = basis.at(sample.dose[members])
        y = sample.y[members]
        change = y[:, cells.now[of_group]] - y[:, cells.base[of_group]]
        alike: dict[bytes, list[int]] = {}
        for k, seen in enumerate(~np.isnan(change).T):
            alike.setdefault(seen.tobytes(), []).append(k)
        for which in alike.values():
            weight = sample.weights[members] * ~np.isnan(change[:, which[0]])
            seen_change, own = np.nan_to_num(change[:, which]), of_group[which]
            fit = _regression(seen_change, level, weight, sample.cluster[members])
            if fit is None:
                raise QuestionError(
                    f"{DESIGN}: the doses of cohort {sample.period_name(dates[g])} that are seen in "
                    f"{sample.period_name(effects.period[own[0]])} do not identify a regression on {basis}; lower "
                    "degree or knots, or pool cohorts with cohort_width."
                )
            untreated = weight @ seen_change / weight.sum() - effects.effect_level[own]
            coefficients[own] = (fit[0] - untreated).T
            fits.append(_Fit(int(g), own, weight, slope, *fit[1:]))
    return coefficients, fits


def _regression(
    change: FloatArray, x: FloatArray, weight: FloatArray, cluster: IntArray
) -> tuple[FloatArray, FloatArray, FloatArray, FloatArray, IntArray, FloatArray, BoolArray] | None:
    """Regress changes, (m, k), on functions of the dose, (m, p); None where these are collinear.

    Coefficients, shape (p, k), come before what :class:`_Fit` has from residuals on.

    With the functions turned into columns Q with Q'Q = 1, and Q_c the rows of a cluster, leaving the cluster out takes
    (1 - Q_c'Q_c)^-1 Q_c'e_c from the turned coefficients, e being the residuals.
    """
    gram = x.T @ (weight[:, None] * x)
    size, values, vectors = scaled_directions(gram, np.diag(gram))
    if values[0] < UNIDENTIFIED:
        return None
    turn, root = vectors / np.sqrt(values) / size[:, None], np.sqrt(weight)[:, None]
    q = root * (x @ turn)
    coefficient = turn @ (q.T @ (root * change))
    cluster = np.unique(cluster, return_inverse=True)[1]
    own = sums_by(q[:, :, None] * q[:, None, :], cluster)
    estimable = np.ones(len(gram), dtype=bool)
    for c in np.flatnonzero(np.trace(own, axis1=1, axis2=2) > 1 - UNIDENTIFIED):
        shares, directions = np.linalg.eigh(own[c])
        lost = np.abs(turn @ directions[:, shares > 1 - UNIDENTIFIED])
        if lost.size:
            estimable &= np.all(lost < UNIDENTIFIED * np.abs(turn).max(axis=1, keepdims=True), axis=1)
            own[c] = 0.0
    left = np.linalg.solve((np.eye(len(gram)) - own)[cluster], q[:, :, None])[:, :, 0]
    total = weight.sum()
    rest = total - np.bincount(cluster, weight)[cluster]
    factor = np.where(rest > 0, total / np.where(rest > 0, rest, 1.0), 1.0)
    pulls = root * q @ turn.T, root * left @ turn.T
    return coefficient, change - x @ coefficient, *pulls, cluster, factor, estimable


# Influence on some terms, and that which leaves each cluster out.
_Pair = tuple[Influence, Influence]


def _of_comparison_units(effects: Estimate) -> _Pair:
    """Return the part of the comparison units in the influence on the effects by cohort and period."""
    of_group = effects.sides.group, (effects.sample.groups[0][:, None] != effects.cohort).astype(float)
    return effects.level_influence.weighted(*of_group), effects.leave_out.level.weighted(*of_group)


def _of_cells(effects: Estimate, fits: list[_Fit], of_fits: list[tuple[FloatArray, FloatArray]]) -> _Pair:
    """Return the influence on a number of each cell from that of the units of each fit, (m, k) twice."""
    (dates, rows), n, n_periods = effects.sample.groups, effects.sample.n_units, len(effects.sample.periods)
    own, left = ([np.zeros((len(members), n_periods)) for members in rows] for _ in range(2))
    place = np.zeros((len(rows), n_periods, len(effects.terms)))
    for fit, of_fit in zip(fits, of_fits, strict=True):
        column = fit.cells - np.argmax(effects.cohort == dates[fit.group])
        some = slice(column[0], column[-1] + 1) if np.ptp(column) < len(column) else column  # faster
        own[fit.group][:, some], left[fit.group][:, some] = of_fit
        place[fit.group, column, fit.cells] = n
    of_own, of_left = (Influence.by_group(n, Values(rows, tuple(values)), place) for values in (own, left))
    return of_own, of_left


def _averaged(
    effects: Estimate, coefficients: FloatArray, fits: list[_Fit], untreated: _Pair, grid: FloatArray
) -> tuple[FloatArray, Influence, LeftOut]:
    """Average coefficients over cells as the question's average does effects, and combine them by a grid, (p, D).

    Return the curve at D doses with the influence on it.
    """
    n_terms, p = coefficients.shape
    # Draws are averaged as effects are: of a draw for each cell that is 1 there, the averages are the weights.
    # Whether a cell has clusters on both sides is asked of the effects, once, and not of each coefficient.
    blank = replace(
        effects,
        estimand=Estimand.GROUP_TIME_ACRT,
        untreated_mean=None,
        untreated_influence=None,
        of_draw=np.eye(n_terms),
    )
    averages = []
    for j in range(p):
        of_fits = [(of.residual * of.pull[:, [j]], of.residual * of.pull_left[:, [j]]) for of in fits]
        influence, level = map(add, _of_cells(effects, fits, of_fits), untreated)
        left = effects.leave_out._replace(level=level, untreated=None)
        contrast = replace(blank.contrast, left_out=left)
        own = replace(blank, effect_level=coefficients[:, j], level_influence=influence, contrast=contrast)
        averages.append(own.headline)
    assert averages[0].of_draw is not None
    weight = averages[0].of_draw[0]
    estimable = np.all([fit.estimable | ~np.any(weight[fit.cells]) for fit in fits], axis=0)
    rest = effects.leave_out.averaged(weight[:, None])
    known = rest.estimable & ~np.any((grid.T != 0) & ~estimable, axis=1)
    influence = side_by_side([average.level_influence for average in averages]) @ grid
    level = side_by_side([average.leave_out.level for average in averages]) @ grid
    of_curve = LeftOut(level, None, rest.clusters.repeat(len(known), axis=1), known)
    return np.array([average.effect_level[0] for average in averages]) @ grid, influence, of_curve


def _slopes(effects: Estimate, coefficients: FloatArray, fits: list[_Fit], untreated: _Pair) -> Estimate:
    """Return ACRT(g,t): slopes at the doses of the treated units of each cell, averaged over these."""
    slope, total = np.zeros((2, len(effects.terms)))
    estimable, of_fits = effects.reference.copy(), []
    for fit in fits:
        cells, share = fit.cells, (fit.weight / fit.weight.sum())[:, None]
        mean, at_dose = share[:, 0] @ fit.slope, fit.slope @ coefficients[cells].T
        slope[cells] = share[:, 0] @ at_dose
        deviation = share * (at_dose - slope[cells])
        moved = sums_by(share * (fit.slope - mean), fit.cluster)[fit.cluster]
        without = mean - fit.factor_left[:, None] * moved
        by_residual = np.sum(fit.pull_left * without, axis=1, keepdims=True) * fit.residual
        own = (fit.pull @ mean)[:, None] * fit.residual + deviation
        of_fits.append((own, by_residual + fit.factor_left[:, None] * deviation))
        estimable[cells] = fit.estimable.all()
        # Slopes of functions that add up to one add up to nothing but rounding, where none is from dose 0.
        total[cells] = mean.sum() * (np.abs(mean.sum()) >= UNIDENTIFIED * np.abs(mean).max())
    influence, left = _of_cells(effects, fits, of_fits)
    if total.any():
        influence, left = influence + untreated[0].scaled(total), left + untreated[1].scaled(total)
    return replace(
        effects,
        estimand=Estimand.GROUP_TIME_ACRT,
        terms=tuple(f"ACRT{term.removeprefix('ATT')}" for term in effects.terms),
        effect_level=slope,
        level_influence=influence,
        untreated_mean=None,
        untreated_influence=None,
        contrast=replace(
            effects.contrast, left_out=LeftOut(left, None, effects.leave_out.clusters, estimable)
        ),
    )


def _with_curve(
    effects: Estimate, at: FloatArray, curve: FloatArray, influence: Influence, left: LeftOut
) -> Estimate:
    """Return effects by cohort and period, and then the curve at D doses."""
    slopes, sample = effects.estimand is Estimand.GROUP_TIME_ACRT, effects.sample
    cells, k = effects.leave_out, len(effects.terms)
    none = Influence.none(sample.n_units, len(at))

    def joined(values: FloatArray, more: FloatArray) -> FloatArray:
        return np.concatenate([values, np.broadcast_to(more, (*values.shape[:-1], len(at)))], axis=-1)

    def names(digits: int) -> list[str]:
        return [f"{'ACRT' if slopes else 'ATT'}(d={d:.{digits}g})" for d in at]

    assert effects.cohort_weights is not None
    contrast, in_window = effects.contrast, np.isin(sample.groups[0], sample.cohorts)[:, None].astype(float)
    assert contrast.treated is not None
    none_of = np.array(np.nan)
    mean, of_mean = effects.untreated_mean, effects.untreated_influence
    return replace(
        effects,
        terms=(*effects.terms, *distinct_texts(names, 6)),
        effect_level=joined(effects.effect_level, curve),
        level_influence=side_by_side([effects.level_influence, influence]),
        cohort=joined(effects.cohort, none_of),
        period=joined(effects.period, none_of),
        event_time=joined(effects.event_time, none_of),
        reference=np.concatenate([effects.reference, np.zeros(len(at), dtype=bool)]),
        cohort_weights=side_by_side([effects.cohort_weights, none]),
        untreated_mean=None if mean is None else joined(mean, none_of),
        untreated_influence=None if of_mean is None else side_by_side([of_mean, none]),
        contrast=replace(
            contrast,
            treated=joined(contrast.treated, in_window),
            only=np.concatenate([contrast.single(k), np.full(len(at), -1)]),
            left_out=LeftOut(
                side_by_side([cells.level, left.level]),
                None,
                np.hstack([cells.clusters, left.clusters]),
                np.concatenate([cells.estimable, left.estimable]),
                own=np.arange(k + len(at)) >= (0 if slopes else k),
            ),
        ),
        at=joined(np.full(k, np.nan), at),
        at_name="dose",
    )


def _assumed(effects: Estimate) -> str:
    """Say what each assumption is for."""
    question = effects.sample.question
    average, dose = question.average.replace("_", " "), question.dose
    strong = "strong parallel trends: units of all doses would have had the same average effect of each"
    if effects.estimand is Estimand.GROUP_TIME_ACRT:
        return (
            f"that slopes and their {average} are effects of {dose} takes {strong}; else they include selection into "
            "doses"
        )
    return (
        f"under parallel trends the {average} is the effect on the treated units, and ATT(d) that of dose d on those "
        f"who have it; that differences of ATT(d) between doses are effects of {dose} takes {strong}, and else they "
        "include selection into doses"
    )
