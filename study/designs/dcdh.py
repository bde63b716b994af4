"""Intertemporal effects of a treatment that switches, by de Chaisemartin and D'Haultfoeuille (2020, 2024)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal, NamedTuple

import numpy as np

from study.core import BoolArray, FloatArray, Influence, IntArray, QuestionError, counted, refuse_unknown
from study.designs import COMMON, Assumes, Estimand, Supports, design
from study.designs.did_cells import refuse_no_effect
from study.estimates import Contrast, Estimate, LeftOut, coefficients
from study.panel import Sample, rows_by

AVERAGE = "treated_average"
# Sums over the switchers of a term: of DID_gl, of what this is divided by, of one, and of outcomes.
GAP, DIVISOR, NUMBER, OUTCOME = range(4)
NOTHING = 1e-9
SINGULAR = 1e-10


@design(
    title="Effects since treatment first switched (de Chaisemartin and D'Haultfoeuille)",
    reference="dechaisemartin2024",
    estimand=Estimand.EVENT_TIME_ATT,
    assumes=(Assumes.PARALLEL_TRENDS, Assumes.LIMITED_ANTICIPATION),
    supports=COMMON - {Supports.ANTICIPATION}
    | {Supports.WEIGHTS, Supports.SWITCHING, Supports.LEVELS, Supports.NEVER_TREATED},
)
def dcdh(
    sample: Sample,
    *,
    placebos: int | None = None,
    normalized: bool = False,
    switchers: Literal["both", "in", "out"] = "both",
    same_switchers: bool = False,
    trends_nonparam: str | None = None,
    variance: Literal["sampling", "didmultiplegt"] = "sampling",
) -> Estimate:
    """Compare units since their treatment first switched with units of the same first treatment that have not switched.

    With F_g the period of unit g's first switch and D_g1 its first treatment, DID_gl is its change from F_g - 1 to
    F_g - 1 + l less the mean change of units with the same first treatment that have not switched by then. The effect
    at event time l - 1 is DID_l, the mean of DID_gl with a minus sign for units that switch to less. The placebo at
    event time -l - 1 is the same contrast of the same units between F_g - 1 and F_g - 1 - l. Effects are of the path
    that treatment took since F_g, against keeping D_g1.

    Parameters
    ----------
    sample : Sample
        A path of treatment, 0/1 or of levels, or dates. A change enters where both of its periods are seen and, after
        the switch, treatment is known. Periods are left out from when treatment has been both above and below D_g1. A
        unit whose first switch has no date, since treatment is not known before it, is compared with up to its last
        known D_g1. Effects end at the question's horizon. Covariates enter by period, with slopes by first treatment
        from the changes of units that have not switched.
    placebos : int, optional
        How many; as many as there are effects, and the panel allows for, where it is not given.
    normalized : bool
        Divide effects and placebos by the treatment beyond D_g1 that units had since the switch, added up: the
        estimator DID^n_l.
    switchers : {"both", "in", "out"}
        Units that switch to more treatment, to less, or both.
    same_switchers : bool
        Only units with an effect at every event time up to the question's horizon.
    trends_nonparam : str, optional
        An attribute: units are compared within its labels, and those without one are left out.
    variance : {"sampling", "didmultiplegt"}
        The influence of units drawn with their paths, or that of the authors' package, which takes as given who
        switches when: changes less their mean over units of one first treatment, switch and treatment after it (or over
        those that have not switched), times sqrt(m / (m - 1)) with m the units or clusters of that mean.

    Returns
    -------
    Estimate
        One term for each event time, ascending, the reference among them, then "treated_average": the sum of effects
        over the sum of treatment beyond D_g1 in the cells that they are of, a mean effect per unit of treatment.
        "Jackknife" leaves each unit out of all means; a cluster, out of the mean of each comparison and of that of the
        switchers, one at a time. "Proportional" divides by the mean that the switchers would have had under D_g1.

    Raises
    ------
    QuestionError
        If no unit switches, none that does can be compared, shares of a mean are asked of units that switch to more and
        to less, or the horizon or the treatment that an option needs is not known.

    References
    ----------
    de Chaisemartin, C., and D'Haultfoeuille, X. (2020). Two-way fixed effects estimators with heterogeneous treatment
    effects. American Economic Review 110(9). de Chaisemartin, C., and D'Haultfoeuille, X. (2024).
    Difference-in-differences estimators of intertemporal treatment effects. Review of Economics and Statistics.
    """
    question, n_periods = sample.question, len(sample.periods)
    if same_switchers and question.horizon is None:
        raise QuestionError(
            "dcdh: same_switchers is of units with an effect at every event time up to the horizon; name it with "
            "Question(horizon=...)."
        )
    if trends_nonparam is not None:
        refuse_unknown("attribute", trends_nonparam, sample.attributes, "dcdh")
    paths = _paths(sample)
    allowed = _allowed(sample, paths, switchers)
    if question.comparison == "never_treated":
        paths.until[paths.moves] = -1
    terms, notes = _terms(n_periods, question.last, placebos), _notes(sample, paths, trends_nonparam)
    shape = (len(terms) + 2, sample.n_units)
    parts, marks = np.zeros((2, 4, *shape)), np.zeros((2, *shape), dtype=bool)
    used = np.zeros(sample.y.shape, dtype=bool)
    sums, strata = _Sums(parts[0], parts[1], marks[0], marks[1], np.zeros(shape), used), []
    so_far = np.cumsum(paths.change, axis=1) if normalized else None
    for units in _strata(sample, paths, allowed, trends_nonparam):
        rows = _rows(sample, paths, units, allowed)
        if rows is None:
            first = f"{paths.first[units[0]]:g}"
            notes.append(
                f"switchers from {question.event} {first} left out: covariates' slopes are not identified"
            )
            continue
        if same_switchers:
            effects = [_pairs(rows, term).switchers for term in terms if term.event_time >= 0]
            rows = rows._replace(allowed=np.logical_and.reduce(effects))
        strata.append((rows, _add(sums, rows, terms, sample.y, paths.change, so_far)))
    if variance == "didmultiplegt" and strata:
        _add_published(sums, strata, terms, paths.change)
    return _estimate(sample, paths, terms, sums, notes, variance)


class _Paths(NamedTuple):
    """What n units' paths of treatment say; periods are numbers from 0 to T - 1.

    Attributes
    ----------
    first : ndarray, shape (n,)
        Treatment when it is first known.
    moves : ndarray of bool, shape (n,)
        Whether it is ever another than that.
    start : ndarray of int, shape (n,)
        Period of the first switch, T where there is none or it has no date.
    until : ndarray of int, shape (n,)
        Last period in which the unit is known not to have switched.
    sign : ndarray, shape (n,)
        1 for a switch to more treatment, -1 to less, 0 for none.
    usable : ndarray of bool, shape (n, T)
        Which outcomes are seen and of a path that is known and has not been both above and below the first treatment.
    change : ndarray, shape (n, T)
        Treatment less the first one, times the sign, from the switch on; NaN where it is not known.
    """

    first: FloatArray
    moves: BoolArray
    start: IntArray
    until: IntArray
    sign: FloatArray
    usable: BoolArray
    change: FloatArray


def _paths(sample: Sample) -> _Paths:
    treatment, y = sample.treatment, sample.outcome_with_covariates
    n, n_periods = treatment.shape
    rows, periods, known = np.arange(n), np.arange(n_periods), ~np.isnan(treatment)
    entry = known.argmax(axis=1)
    first = treatment[rows, entry]
    change = treatment - first[:, None]
    moved = known & (change != 0)
    moves = moved.any(axis=1)
    start = np.where(moves, moved.argmax(axis=1), n_periods)
    same = known & (periods < start[:, None])
    until = n_periods - 1 - same[:, ::-1].argmax(axis=1)
    start = np.where(until == start - 1, start, n_periods)
    after = periods >= start[:, None]
    usable = ~np.isnan(y) & (periods >= entry[:, None]) & ((periods <= until[:, None]) | (after & known))
    sign = np.sign(np.where(start < n_periods, change[rows, np.minimum(start, n_periods - 1)], 0.0))
    change = np.where(after, change * sign[:, None], 0.0)
    usable &= ~np.logical_or.accumulate(change < 0, axis=1)
    return _Paths(first, moves, start, until, sign, usable, change)


def _allowed(sample: Sample, paths: _Paths, switchers: str) -> BoolArray:
    """Return which units' switches are asked for, shape (n,); refuse where there are none, or a share of two means."""
    allowed = {"both": paths.sign != 0, "in": paths.sign > 0, "out": paths.sign < 0}[switchers]
    if not allowed.any():
        how = {"both": "switches", "in": "switches to more", "out": "switches to less"}[switchers]
        raise QuestionError(
            f"dcdh: {sample.question.event} {how} for no unit in a period that is known, so no effect can be estimated."
        )
    if sample.question.scale == "proportional" and len(np.unique(paths.sign[allowed])) > 1:
        raise QuestionError(
            "dcdh: some units switch to more and some to less, whose effects are shares of different means; take "
            'switchers="in" or "out", or scale="level".'
        )
    return allowed


class _Term(NamedTuple):
    """An effect or placebo: the change over ``length`` periods after, or before, the last one before the switch."""

    event_time: int
    length: int

    def columns(self, n_periods: int) -> tuple[slice, slice, slice]:
        """Return, for each base period, the periods of the outcome, of the base, and by when none may have switched."""
        back = self.length if self.event_time < 0 else 0
        end = n_periods - self.length
        base, now = slice(back, end), slice(back + self.length, n_periods)
        return slice(0, end - back) if back else now, base, now


def _terms(n_periods: int, horizon: float, placebos: int | None) -> list[_Term]:
    last = int(min(horizon + 1, n_periods - 1))
    before = min(last, (n_periods - 1) // 2, last if placebos is None else placebos)
    return [_Term(-k - 1, k) for k in range(before, 0, -1)] + [_Term(k - 1, k) for k in range(1, last + 1)]


def _strata(sample: Sample, paths: _Paths, allowed: BoolArray, within: str | None) -> Iterator[IntArray]:
    """Yield units with the same first treatment, and label of an attribute, if some switch when others have not."""
    number = np.unique(paths.first, return_inverse=True)[1]
    if within is not None:
        labels, label = np.unique(sample.attributes[within].astype(str), return_inverse=True)
        number = np.unique(number * len(labels) + label, return_inverse=True)[1]
        allowed = allowed & (labels != "")[label]
    for units in rows_by(number):
        ours = allowed[units]
        if ours.any() and paths.until[units].max() >= paths.start[units][ours].min():
            yield units


class _Rows(NamedTuple):
    """The m units of one stratum.

    Attributes
    ----------
    units : ndarray of int, shape (m,)
        Their numbers in the sample.
    y, x : ndarray, shapes (m, T), (m, T, p)
        Outcomes less the first one that is usable and what covariates explain, and covariates; 0 where not usable.
    slopes : _Slopes
        Of the covariates.
    weights : ndarray, shape (m,)
    cluster : ndarray of int, shape (m,), or None
        None where each unit is a cluster.
    start, until, sign, usable, allowed
        As of paths.
    """

    units: IntArray
    y: FloatArray
    x: FloatArray
    slopes: _Slopes
    weights: FloatArray
    cluster: IntArray | None
    start: IntArray
    until: IntArray
    sign: FloatArray
    usable: BoolArray
    allowed: BoolArray


def _rows(sample: Sample, paths: _Paths, units: IntArray, allowed: BoolArray) -> _Rows | None:
    """Return the units of a stratum, or None where covariates' slopes are not identified."""
    start, until, usable = paths.start[units], paths.until[units], paths.usable[units]
    weights, y = sample.weights[units], sample.y[units]
    y = np.where(usable, y - y[np.arange(len(y)), usable.argmax(axis=1)][:, None], 0.0)
    x = np.where(usable[:, :, None], sample.x_varying[units], 0.0)
    alone = sample.question.cluster is None
    cluster = None if alone else np.unique(sample.cluster[units], return_inverse=True)[1]
    unswitched = usable & (until[:, None] >= np.arange(usable.shape[1]))
    slopes = _slopes(y, x, unswitched[:, 1:] & usable[:, :-1], weights)
    if slopes is None:
        return None
    if x.shape[2]:
        y = np.where(usable, y - x @ slopes.value, 0.0)
    own = (start, until, paths.sign[units], usable, allowed[units])
    return _Rows(units, y, x, slopes, weights, cluster, *own)


class _Slopes(NamedTuple):
    """Slopes of changes on those of covariates, shape (p,), and parts of units in their error, (m, p).

    ``published`` are these parts as the authors' package has them, ``total`` the weight of all changes, of which those
    ``used``, (m, T - 1), are the regression's.
    """

    value: FloatArray
    parts: FloatArray
    published: FloatArray
    total: float
    used: BoolArray


def _slopes(y: FloatArray, x: FloatArray, used: BoolArray, weights: FloatArray) -> _Slopes | None:
    """Regress the changes that are used, shape (m, T - 1), on those of covariates and period effects.

    The package's parts have the errors of the regression without weights, times sqrt(n / (n - 1)) of n units.
    """
    m, _, p = x.shape
    if not p:
        return _Slopes(np.empty(0), np.empty((m, 0)), np.empty((m, 0)), 0.0, used)
    weight, n = used * weights[:, None], used.sum(axis=0)
    fit, plain = (_regressed(np.diff(y, axis=1), np.diff(x, axis=1), w) for w in (weight, used.astype(float)))
    if fit is None or plain is None:
        return None
    slope, gram, dx, error = fit
    of_package = plain[-1] * np.sqrt(n / np.maximum(n - 1, 1))
    parts, published = (
        np.linalg.solve(gram, np.einsum("it,itp,it->pi", weight, dx, e)).T for e in (error, of_package)
    )
    return _Slopes(slope, parts, published, float(weight.sum()), used)


def _regressed(
    dy: FloatArray, dx: FloatArray, weight: FloatArray
) -> tuple[FloatArray, FloatArray, FloatArray, FloatArray] | None:
    """Return slopes, products of regressors less their means by period, these, and errors; None if not identified."""
    share = weight / np.maximum(weight.sum(axis=0), np.finfo(float).tiny)
    dy = dy - np.einsum("it,it->t", share, dy)
    dx = dx - np.einsum("it,itp->tp", share, dx)
    gram = np.einsum("it,itp,itq->pq", weight, dx, dx)
    scale = np.sqrt(np.diag(gram))
    if not scale.all() or np.linalg.eigvalsh(gram / np.outer(scale, scale))[0] < SINGULAR:
        return None
    slope = np.linalg.solve(gram, np.einsum("it,itp,it->p", weight, dx, dy))
    return slope, gram, dx, dy - dx @ slope


class _Pairs(NamedTuple):
    """Who is compared in a term, at each of its B base periods.

    Attributes
    ----------
    compared : ndarray of bool, shape (m, B)
        Units that have not switched by the end of the change.
    weight : ndarray, shape (B,)
        Their sum of weights.
    switchers : ndarray of bool, shape (m,)
        Units whose switch is in the term.
    column : ndarray of int, shape (m,)
        The number of their base period.
    """

    compared: BoolArray
    weight: FloatArray
    switchers: BoolArray
    column: IntArray


def _pairs(rows: _Rows, term: _Term) -> _Pairs:
    n_periods = rows.y.shape[1]
    at, base, now = term.columns(n_periods)
    seen = rows.usable[:, now] & rows.usable[:, base]
    if at != now:
        seen &= rows.usable[:, at]
    compared = seen & (rows.until[:, None] >= np.arange(n_periods)[now])
    weight = rows.weights @ compared
    column = rows.start - 1 - base.start
    inside = (column >= 0) & (column < len(weight))
    column = np.where(inside, column, 0)
    switchers = rows.allowed & inside & seen[np.arange(len(column)), column] & (weight > 0)[column]
    return _Pairs(compared, weight, switchers, column)


def _contrast(
    rows: _Rows, term: _Term, pairs: _Pairs
) -> tuple[FloatArray, FloatArray, FloatArray, FloatArray | None]:
    """Return the changes of switchers less the mean changes of who is compared, with and without each cluster.

    With s the signs of the switchers of a base period, w their weights, M the sum of w s, and W the weight of who is
    compared, the sum is that of w s (change - mean). A unit that is compared has the part -M w (change - mean) / W in
    it; without cluster c the mean moves so that the cluster's parts have W less the cluster's own weight below them.

    Returns
    -------
    part, besides : ndarray, shape (m,)
        A unit's part in the sum over switchers of DID_gl, and what it loses besides without the unit's cluster.
    of_slope : ndarray, shape (p,)
        The same sum of covariates.
    lost : ndarray, shape (m, B), or None
        Which part of the switchers of a base period is lost with a unit, where its cluster is all they are compared
        with.
    """
    at, base, _ = term.columns(rows.y.shape[1])
    switchers, weights = np.flatnonzero(pairs.switchers), rows.weights
    column, signed, n_base = pairs.column[switchers], (weights * rows.sign)[switchers], len(pairs.weight)
    used = np.bincount(column, minlength=n_base) > 0
    compared, weight = (pairs.compared & used).astype(float), np.where(used, pairs.weight, np.inf)
    of_mean = -np.bincount(column, signed, n_base)
    deviation = rows.y[:, at] - rows.y[:, base]
    deviation -= (weights @ (compared * deviation)) / weight
    gap = signed * deviation[switchers, column]
    deviation *= compared
    if rows.cluster is None and np.ptp(weights) == 0:
        own = weights[:1, None]
    else:
        own = compared * weights[:, None]
        own = own if rows.cluster is None else Influence.of(own).cluster_sums(rows.cluster)[rows.cluster]
    rest = weight - own
    close = rest <= np.where(used, NOTHING * weight, 0.0)
    more = of_mean / np.where(close, np.inf, rest) - of_mean / weight
    besides = weights * np.einsum("mb,mb->m", deviation, np.broadcast_to(more, deviation.shape))
    part = weights * (deviation @ (of_mean / weight))
    part[switchers] += gap
    lost = None
    if close.any():
        lost = compared * close * weights[:, None] / np.where(own > 0, own, 1.0)
        besides += lost @ np.bincount(column, gap, n_base)
    change = rows.x[:, at] - rows.x[:, base]
    of_slope = signed @ change[switchers, column] + np.einsum(
        "m,mb,mbp,b->p", weights, compared, change, of_mean / weight
    )
    return part, besides, of_slope, lost


class _Sums(NamedTuple):
    """What strata add, by unit, to K terms: placebos, the reference, effects and their average.

    Attributes
    ----------
    parts, besides : ndarray, shape (4, K, n)
        A unit's part in the sums over switchers, and what they lose besides it without the unit's cluster.
    switchers, compared : ndarray of bool, shape (K, n)
        Whether the unit's switch is in the term, and whether the unit is compared with.
    published : ndarray, shape (K, n)
        The part in the sum of DID_gl as the authors' package has it for errors.
    used : ndarray of bool, shape (n, T)
        Which outcomes are in some change, of switchers, of who is compared with them or of covariates' slopes.
    """

    parts: FloatArray
    besides: FloatArray
    switchers: BoolArray
    compared: BoolArray
    published: FloatArray
    used: BoolArray

    def select(self, which: BoolArray) -> _Sums:
        """Return some of the terms."""
        parts, besides = self.parts[:, which], self.besides[:, which]
        marks = self.switchers[which], self.compared[which]
        return _Sums(parts, besides, *marks, self.published[which], self.used)


def _add(
    sums: _Sums,
    rows: _Rows,
    terms: list[_Term],
    outcome: FloatArray,
    change: FloatArray,
    so_far: FloatArray | None,
) -> FloatArray:
    """Add what one stratum has of all terms; return how its sums fall with covariates' slopes, shape (p, K).

    ``outcome``, ``change`` and ``so_far``, shape (n, T), are of all units: outcomes, the treatment beyond the first
    one, and its sum if effects are divided by it.
    """
    units, of_slopes = rows.units, np.zeros((rows.x.shape[2], len(sums.switchers)))
    used, of_all = np.zeros(rows.usable.shape, dtype=bool), len(units) == len(outcome)
    into = slice(None) if of_all else units  # a slice is added to in place
    for k, term in enumerate(terms):
        pairs = _pairs(rows, term)
        if not pairs.switchers.any():
            continue
        gap, besides, of_slope, lost = _contrast(rows, term, pairs)
        switchers, after = pairs.switchers, term.event_time >= 0
        cells = pairs.compared & np.isin(np.arange(len(pairs.weight)), pairs.column[switchers])
        compared = cells @ np.ones(len(pairs.weight)) > 0  # sooner than any() of many short rows
        cells[switchers, pairs.column[switchers]] = True
        for periods in term.columns(outcome.shape[1])[:2]:
            used[:, periods] |= cells
        last = np.where(switchers, rows.start - 1 + term.length, 0)
        at = last if after else np.where(switchers, rows.start - 1 - term.length, 0)
        number = switchers * rows.weights
        mean, current = (
            np.where(switchers, number * of, 0.0) for of in (outcome[units, at], change[units, last])
        )
        divisor = number if so_far is None else np.where(switchers, number * so_far[units, last], 0.0)
        for slot, own in [(k + 1, divisor), (-1, current)] if after else [(k, divisor)]:
            sums.switchers[slot, into] |= switchers
            sums.compared[slot, into] |= compared
            of_slopes[:, slot] += of_slope
            sums.besides[GAP, slot, into] += besides
            for which, part in enumerate((gap, own, number, mean)):
                sums.parts[which, slot, into] += part
                if which != GAP and lost is not None:
                    of_base = np.bincount(pairs.column, part, lost.shape[1])
                    sums.besides[which, slot, into] += lost @ of_base
    if of_slopes.size and sums.switchers[:, units].any():
        n_clusters = len(units) if rows.cluster is None else int(rows.cluster.max()) + 1
        parts = of_slopes.T @ rows.slopes.parts.T
        sums.parts[GAP][:, units] -= parts
        sums.besides[GAP][:, units] -= parts / max(n_clusters - 1, 1)
        for periods in (slice(1, None), slice(-1)):
            used[:, periods] |= rows.slopes.used
    sums.used[units] = used
    return of_slopes


def _add_published(
    sums: _Sums, strata: list[tuple[_Rows, FloatArray]], terms: list[_Term], change: FloatArray
) -> None:
    """Add each unit's part as the authors' package has it for errors.

    A change is less the mean of its cohort, which is of one switch and treatment after it or of those that have not
    switched; where that is one unit or cluster, less the mean of it and those that it is compared with. The package
    multiplies the parts of covariates' slopes by the changes of all strata over those of their own, and adds the slopes
    themselves, over the number of units, to the parts of all units.
    """
    everyone = np.concatenate([rows.units for rows, _ in strata])
    changes = sum(rows.slopes.total for rows, _ in strata)
    for rows, of_slopes in strata:
        last = np.minimum(rows.start, change.shape[1] - 1)
        switch = np.column_stack([rows.start, change[rows.units, last]])
        cohort = np.unique(switch, axis=0, return_inverse=True)[1].reshape(-1)
        for k, term in enumerate(terms):
            part = _published(rows, term, cohort)
            sums.published[k + (term.event_time >= 0), rows.units] += part
            sums.published[-1, rows.units] += part * (term.event_time >= 0)
        if len(of_slopes):
            parts = rows.slopes.published.T * (changes / rows.slopes.total)
            sums.published[:, rows.units] -= of_slopes.T @ parts
            sums.published[:, everyone] += (of_slopes.T @ rows.slopes.value / len(everyone))[:, None]


def _published(rows: _Rows, term: _Term, cohort: IntArray) -> FloatArray:
    """Return the parts in one term, shape (m,)."""
    pairs, (at, base, _) = _pairs(rows, term), term.columns(rows.y.shape[1])
    change, n_base = rows.y[:, at] - rows.y[:, base], len(pairs.weight)
    total = np.zeros(change.shape)
    for sign in (1.0, -1.0):
        switchers = pairs.switchers & (rows.sign == sign)
        column, switched = pairs.column[switchers], np.zeros(total.shape, dtype=bool)
        switched[switchers, column] = True
        of_mean = sign * np.bincount(column, rows.weights[switchers], n_base)
        compared = pairs.compared & (of_mean != 0.0)
        both = _demeaned(rows, change, switched | compared)
        groups: list[tuple[BoolArray, FloatArray]] = [
            (switched & (cohort == g)[:, None], np.full(n_base, sign)) for g in np.unique(cohort[switchers])
        ]
        groups.append((compared, -of_mean / np.where(of_mean != 0, pairs.weight, 1.0)))
        for group, weight in groups:
            own = np.where(_count(rows.cluster, group) >= 2, _demeaned(rows, change, group), both)
            total += np.where(group, weight * own, 0.0)
    return rows.weights * total.sum(axis=1)


def _count(cluster: IntArray | None, group: BoolArray) -> IntArray:
    """Return of how many units or clusters the group of each column is, shape (K,) from (m, K)."""
    if cluster is not None:
        group = Influence.of(group.astype(float)).cluster_sums(cluster) > 0
    return np.asarray(group.sum(axis=0))


def _demeaned(rows: _Rows, change: FloatArray, group: BoolArray) -> FloatArray:
    """Return changes less the mean of a group at each base period, times sqrt(m / (m - 1)), shape (m, B)."""
    weight, m = rows.weights @ group, _count(rows.cluster, group)
    mean = rows.weights @ (group * change) / np.where(weight > 0, weight, 1.0)
    return (change - mean) * np.sqrt(m / np.maximum(m - 1, 1))


class _Ratio(NamedTuple):
    """Ratios of sums over switchers, shape (K,), with influence and leave-out influence by unit, (K, n).

    ``total`` is what is divided by, and ``determined`` says where no cluster has all of it.
    """

    value: FloatArray
    total: FloatArray
    influence: FloatArray
    errors: FloatArray
    determined: BoolArray


def _ratio(
    sample: Sample, part: FloatArray, without: FloatArray, own: FloatArray, lost: FloatArray
) -> _Ratio:
    """Return the sums of parts over those of ``own``; both are less what they lose without each unit's cluster."""
    n, total = sample.n_units, own.sum(axis=1, keepdims=True)
    total[total == 0] = 1.0  # the reference
    value = part.sum(axis=1, keepdims=True) / total
    if sample.question.cluster is None:
        rest = total - lost
    else:
        rest = total - Influence.of(lost.T).cluster_sums(sample.cluster)[sample.cluster].T
    determined = np.asarray(np.all(rest > NOTHING * total, axis=1))
    rest[~determined] = 1.0
    errors = without - value * lost
    errors *= n / rest
    influence = part - value * own
    influence *= n / total
    return _Ratio(value[:, 0], total[:, 0], influence, errors, determined)


def _estimate(
    sample: Sample, paths: _Paths, terms: list[_Term], sums: _Sums, notes: list[str], variance: str
) -> Estimate:
    """Divide sums over switchers by what they count."""
    before = sum(term.event_time < 0 for term in terms)
    times = np.insert([*(float(term.event_time) for term in terms), np.nan], before, -1.0)
    known = np.asarray(sums.switchers.any(axis=1))
    nobody = "who switches has nobody of the same first treatment to compare with"
    refuse_no_effect("dcdh", known[-1], [*notes, nobody])
    if np.isnan(sums.parts[DIVISOR]).any():
        raise QuestionError(
            f"dcdh: {sample.question.event} is not known in some period after a switch, so effects cannot be "
            "normalized; fill it in, or take normalized=False."
        )
    switched = np.flatnonzero(sums.switchers[-1])
    at_base = sample.weights[switched] * sample.y[switched, paths.start[switched] - 1]
    sums.parts[NUMBER, before, switched] = sample.weights[switched]
    sums.parts[OUTCOME, before, switched] = at_base
    known[before] = True
    if not known.all():
        sums, times = sums.select(known), times[known]
    lost = [s + more if more.any() else s for s, more in zip(sums.parts, sums.besides, strict=True)]
    effects = _ratio(sample, sums.parts[GAP], lost[GAP], sums.parts[DIVISOR], lost[DIVISOR])
    influence, of_mean, signs = effects.influence, None, np.unique(paths.sign[switched])
    fields: dict[str, Any] = {}
    left_out = None
    if len(signs) == 1:  # the mean outcome that switchers would have had under the first treatment
        part, without = (of[OUTCOME] - signs * of[GAP] for of in (sums.parts, lost))
        mean = _ratio(sample, part, without, sums.parts[NUMBER], lost[NUMBER])
        of_mean = Influence.of(mean.errors.T)
        fields = {"untreated_mean": mean.value, "untreated_influence": Influence.of(mean.influence.T)}
    if variance == "didmultiplegt":
        influence = sums.published * (sample.n_units / effects.total[:, None])
    else:
        cluster = None if sample.question.cluster is None else sample.cluster
        clusters = np.stack([_count(cluster, marks.T) for marks in (sums.switchers, sums.compared)])
        estimable = effects.determined & (clusters.min(axis=0) >= 2)
        left_out = LeftOut(Influence.of(effects.errors.T), of_mean, clusters, estimable)
    dates = np.arange(len(sample.periods) + 1)
    treated = [np.isin(dates, paths.start[marks]) for marks in sums.switchers]
    skipped = int(np.sum((paths.sign != 0) & ~sums.switchers[-1]))
    if skipped:
        notes.append(f"{skipped} of {int(np.sum(paths.sign != 0))} units that switch are in no effect")
    return coefficients(
        sample,
        (*(f"event {e:g}" for e in times[:-1]), AVERAGE),
        effects.value,
        influence.T,
        n_obs=int(sums.used.sum()),
        estimand=Estimand.EVENT_TIME_ATT,
        event_time=times,
        reference=times == -1,
        notes=tuple(notes),
        contrast=Contrast(
            group=paths.start, treated=np.stack(treated, axis=1).astype(float), left_out=left_out
        ),
        **fields,
    )


def _notes(sample: Sample, paths: _Paths, within: str | None) -> list[str]:
    """Say which units' paths are not taken whole."""
    undated = int(np.sum(paths.moves & (paths.start == len(sample.periods))))
    crossing = int(np.sum((paths.change < 0).any(axis=1)))
    unlabelled = 0 if within is None else int(np.sum(sample.attributes[within].astype(str) == ""))
    event = sample.question.event
    notes = {
        f"without a label of {within}, so compared with nobody": unlabelled,
        f"switch when {event} is not known, and compared with up to then": undated,
        f"left out from when {event} has been above and below its first value": crossing,
    }
    return [f"{what}: {counted(number, 'unit')}" for what, number in notes.items() if number]
