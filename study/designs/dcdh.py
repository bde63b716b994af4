"""Intertemporal effects of a treatment that switches, by de Chaisemartin and D'Haultfoeuille (2020, 2024)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal, NamedTuple

import numpy as np

from study.core import BoolArray, FloatArray, Influence, IntArray, QuestionError, refuse_unknown
from study.designs import COMMON, Assumes, Estimand, Supports, design
from study.designs.did_cells import refuse_no_effect
from study.estimates import Estimate, LeftOut, events_on_one
from study.panel import Sample

AVERAGE = "treated_average"
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
        An attribute: units are compared within its labels.
    variance : {"sampling", "didmultiplegt"}
        The influence of units drawn with their paths, or that of the authors' package, which takes as given who switches
        when: changes less their mean over units of one first treatment, switch and treatment after it (or over those
        that have not switched), times sqrt(m / (m - 1)) with m the units or clusters of that mean.

    Returns
    -------
    Estimate
        One term for each event time, ascending, the reference among them, then "treated_average": the sum of effects
        over the sum of treatment beyond D_g1 in the cells that they are of, which is a mean effect per unit of treatment.
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
    paths = _paths(sample)
    allowed = _allowed(sample, paths, switchers)
    if question.comparison == "never_treated":
        paths.until[paths.moves] = -1
    terms, notes = _terms(n_periods, question.horizon, placebos), _notes(sample, paths)
    found, strata = _Found.none(_amounts(paths, terms, normalized)), []
    for units in _strata(sample, paths, allowed, trends_nonparam):
        rows = _rows(sample, paths, units, allowed)
        if rows is None:
            first = f"{paths.first[units[0]]:g}"
            notes.append(f"switchers from {question.event} {first} left out: covariates' slopes are not identified")
            continue
        if variance == "sampling" and rows.cluster is None and np.ptp(rows.size) == 0:
            rows = _grouped(rows)
        if same_switchers:
            effects = [_pairs(rows, term).hit for term in terms if term.event_time >= 0]
            rows = rows._replace(allowed=np.logical_and.reduce(effects))
        strata.append((rows, _add(found, rows, terms)))
    if variance == "didmultiplegt":
        _add_published(found, strata, terms, paths.change)
    return _estimate(sample, paths, terms, found, notes, normalized, variance)


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


def _terms(n_periods: int, horizon: int | None, placebos: int | None) -> list[_Term]:
    last = n_periods - 1 if horizon is None else min(horizon + 1, n_periods - 1)
    before = min(last, (n_periods - 1) // 2, last if placebos is None else placebos)
    return [_Term(-k - 1, k) for k in range(before, 0, -1)] + [_Term(k - 1, k) for k in range(1, last + 1)]


def _amounts(paths: _Paths, terms: list[_Term], normalized: bool) -> FloatArray:
    """Return what a switch counts in the denominators of terms, shape (q, n, K).

    1; the treatment beyond the first in the last period of the change; and if asked for, that treatment added up.
    """
    last = paths.start[:, None] - 1 + np.array([term.length for term in terms])
    last = np.minimum(last, paths.change.shape[1] - 1)
    kinds = [paths.change, np.cumsum(paths.change, axis=1)][: 1 + normalized]
    amounts = [np.take_along_axis(kind, last, axis=1) for kind in kinds]
    return np.stack([np.ones(last.shape), *amounts])


def _strata(sample: Sample, paths: _Paths, allowed: BoolArray, within: str | None) -> Iterator[IntArray]:
    """Yield units with the same first treatment, and label of an attribute, if some switch when others have not."""
    number = np.unique(paths.first, return_inverse=True)[1]
    if within is not None:
        refuse_unknown("attribute", within, sample.attributes, "dcdh")
        label = np.unique(sample.attributes[within].astype(str), return_inverse=True)[1]
        number = np.unique(number * (label.max() + 1) + label, return_inverse=True)[1]
    order = np.argsort(number, kind="stable")
    for units in np.split(order, np.cumsum(np.bincount(number))[:-1]):
        ours = allowed[units]
        if ours.any() and paths.until[units].max() >= paths.start[units][ours].min():
            yield units


class _Rows(NamedTuple):
    """Units of one stratum, or groups of them that switch and are seen alike, whose means stand for them.

    Attributes
    ----------
    units, row : ndarray of int, shape (m,)
        Units of the sample, and the row of each.
    values : ndarray, shape (m, T)
        Their outcomes less the first one that is usable and what covariates explain, 0 where not usable.
    slopes : _Slopes
        Of the covariates.
    members : tuple of ndarray of int, or None
        Numbers of the units in each row, 0 to m - 1; None where each unit is a row.
    y, x : ndarray, shapes (R, T), (R, T, p)
        Outcomes as in ``values`` and covariates by row.
    size, each : ndarray, shape (R,)
        Weights of a row and of one unit of it.
    cluster : ndarray of int, shape (R,), or None
        None where each unit is a cluster.
    start, until, sign, usable, allowed
        As units have them.
    """

    units: IntArray
    row: IntArray
    values: FloatArray
    slopes: _Slopes
    members: tuple[IntArray, ...] | None
    y: FloatArray
    x: FloatArray
    size: FloatArray
    each: FloatArray
    cluster: IntArray | None
    start: IntArray
    until: IntArray
    sign: FloatArray
    usable: BoolArray
    allowed: BoolArray


def _rows(sample: Sample, paths: _Paths, units: IntArray, allowed: BoolArray) -> _Rows | None:
    """Return each unit as a row, or None where covariates' slopes are not identified."""
    start, until, sign, usable = (of[units] for of in (paths.start, paths.until, paths.sign, paths.usable))
    weights, y = sample.weights[units], sample.y[units]
    y = np.where(usable, y - y[np.arange(len(y)), usable.argmax(axis=1)][:, None], 0.0)
    x = np.where(usable[:, :, None], sample.x_varying[units], 0.0)
    cluster = None if sample.question.cluster is None else np.unique(sample.cluster[units], return_inverse=True)[1]
    unswitched = usable & (until[:, None] >= np.arange(usable.shape[1]))
    slopes = _slopes(y, x, unswitched[:, 1:] & usable[:, :-1], weights)
    if slopes is None:
        return None
    y = np.where(usable, y - x @ slopes.value, 0.0)
    own = (start, until, sign, usable, allowed[units])
    return _Rows(units, np.arange(len(y)), y, slopes, None, y, x, weights, weights, cluster, *own)


class _Slopes(NamedTuple):
    """Slopes of changes on those of covariates, shape (p,), and parts of units in their error, (m, p).

    ``published`` are these parts as the authors' package has them, ``total`` the weight of all changes.
    """

    value: FloatArray
    parts: FloatArray
    published: FloatArray
    total: float


def _slopes(y: FloatArray, x: FloatArray, used: BoolArray, weights: FloatArray) -> _Slopes | None:
    """Regress the changes that are used, shape (m, T - 1), on those of covariates and period effects.

    The package's parts have the errors of the regression without weights, times sqrt(n / (n - 1)) of n units.
    """
    m, _, p = x.shape
    if not p:
        return _Slopes(np.empty(0), *np.empty((2, m, 0)), 0.0)
    weight, n = used * weights[:, None], used.sum(axis=0)
    fit, plain = (_regressed(np.diff(y, axis=1), np.diff(x, axis=1), w) for w in (weight, used.astype(float)))
    if fit is None or plain is None:
        return None
    slope, gram, dx, error = fit
    errors = error, plain[-1] * np.sqrt(n / np.maximum(n - 1, 1))
    parts = (np.linalg.solve(gram, np.einsum("it,itp,it->pi", weight, dx, e)).T for e in errors)
    return _Slopes(slope, *parts, float(weight.sum()))


def _regressed(
    dy: FloatArray, dx: FloatArray, weight: FloatArray
) -> tuple[FloatArray, FloatArray, FloatArray, FloatArray] | None:
    """Return slopes, products of regressors less their means by period, these, and errors; None where not identified."""
    share = weight / np.maximum(weight.sum(axis=0), np.finfo(float).tiny)
    dy = dy - np.einsum("it,it->t", share, dy)
    dx = dx - np.einsum("it,itp->tp", share, dx)
    gram = np.einsum("it,itp,itq->pq", weight, dx, dx)
    scale = np.sqrt(np.diag(gram))
    if not scale.all() or np.linalg.eigvalsh(gram / np.outer(scale, scale))[0] < SINGULAR:
        return None
    slope = np.linalg.solve(gram, np.einsum("it,itp,it->p", weight, dx, dy))
    return slope, gram, dx, dy - dx @ slope


def _grouped(rows: _Rows) -> _Rows:
    """Put units together that switch and are seen alike, if that makes many fewer rows; they have to weigh the same."""
    n_periods = rows.y.shape[1]
    packed = np.packbits(rows.usable, axis=1)
    seen = 0 if rows.usable.all() else np.unique(packed, axis=0, return_inverse=True)[1]
    key = ((seen * (n_periods + 1) + rows.start) * (n_periods + 1) + rows.until + 1) * 2 + rows.allowed
    row = np.unique(key * 3 + rows.sign.astype(np.int64), return_inverse=True)[1]
    size = np.bincount(row)
    if 4 * len(size) > len(row):
        return rows
    order, end = np.argsort(row, kind="stable"), np.cumsum(size)
    first = order[end - size]
    y, x = (
        np.add.reduceat(block[order], end - size) / size.reshape(-1, *[1] * (block.ndim - 1))
        for block in (rows.y, rows.x)
    )
    own = {name: getattr(rows, name)[first] for name in ("start", "until", "sign", "usable", "allowed", "each")}
    members = tuple(np.split(order, end[:-1]))
    return rows._replace(row=row, members=members, y=y, x=x, size=own["each"] * size, **own)


class _Pairs(NamedTuple):
    """Who is compared in a term, at each of its B base periods.

    Attributes
    ----------
    compared : ndarray of bool, shape (R, B)
        Rows that have not switched by the end of the change.
    weight : ndarray, shape (B,)
        Their sum of weights.
    hit : ndarray of bool, shape (R,)
        Rows whose switch is in the term.
    column : ndarray of int, shape (R,)
        The number of their base period.
    """

    compared: BoolArray
    weight: FloatArray
    hit: BoolArray
    column: IntArray


def _pairs(rows: _Rows, term: _Term) -> _Pairs:
    n_periods = rows.y.shape[1]
    at, base, now = term.columns(n_periods)
    seen = rows.usable[:, now] & rows.usable[:, base] & rows.usable[:, at]
    compared = seen & (rows.until[:, None] >= np.arange(n_periods)[now])
    weight = rows.size @ compared
    column = rows.start - 1 - base.start
    inside = (column >= 0) & (column < len(weight))
    column = np.where(inside, column, 0)
    hit = rows.allowed & inside & seen[np.arange(len(column)), column] & (weight > 0)[column]
    return _Pairs(compared, weight, hit, column)


class _Contrast(NamedTuple):
    """The sum over switchers of DID_gl as a sum of weights of rows times their changes less means of changes.

    Attributes
    ----------
    load, without : ndarray, shape (R, B)
        Weights of a unit's changes; and with its cluster left out of the mean that it is in.
    change, mean : ndarray, shapes (R, B), (B,)
        Changes, and their means over comparison units.
    lost : ndarray, shape (R, B)
        Which part of the switchers' sum is lost with a unit, where all that are compared with are its cluster's.
    treated : ndarray, shape (B,)
        The sum over the switchers of a base period.
    """

    load: FloatArray
    without: FloatArray
    change: FloatArray
    mean: FloatArray
    lost: FloatArray
    treated: FloatArray


def _contrast(rows: _Rows, term: _Term, pairs: _Pairs) -> _Contrast:
    at, base, _ = term.columns(rows.y.shape[1])
    hit = np.flatnonzero(pairs.hit)
    column, signed, n_base = pairs.column[hit], (rows.size * rows.sign)[hit], len(pairs.weight)
    switched = np.bincount(column, minlength=n_base) > 0
    compared = pairs.compared & switched
    weight = np.where(switched, pairs.weight, 1.0)
    own = compared * rows.size[:, None]
    change = rows.y[:, at] - rows.y[:, base]
    mean = np.einsum("rb,rb->b", own, change) / weight
    own = compared * rows.each[:, None] if rows.cluster is None else _by(rows.cluster, own)
    rest = weight - own
    alone = compared & (rest <= NOTHING * weight)
    of_mean = -np.bincount(column, signed, n_base)
    load = compared * (of_mean / weight)
    without = compared * (of_mean / np.where(alone, np.inf, rest))
    load[hit, column] += rows.sign[hit]
    without[hit, column] += rows.sign[hit]
    treated = np.bincount(column, signed * (change[hit, column] - mean[column]), n_base)
    lost = np.where(alone, rows.each[:, None] / np.where(alone, own, 1.0), 0.0)
    return _Contrast(load, without, change, mean, lost, treated)


def _by(cluster: IntArray, values: FloatArray) -> FloatArray:
    """Return each row's sum of values, shape (R, B), over its cluster."""
    order = np.argsort(cluster, kind="stable")
    start = np.searchsorted(cluster[order], np.arange(cluster.max() + 1))
    return np.asarray(np.add.reduceat(values[order], start)[cluster])


class _Found(NamedTuple):
    """What strata add to K terms, by unit, with q kinds of denominators.

    Attributes
    ----------
    amounts : ndarray, shape (q, n, K)
        What the unit's switch counts in each.
    part, without : ndarray, shape (n, K)
        The unit's part in the sum over switchers of DID_gl, and what that sum loses without the unit's cluster.
    own, lost : ndarray, shape (q, n, K)
        The same of the denominators.
    published : ndarray, shape (n, K)
        The part as the authors' package has it for errors.
    hit, compared : ndarray of bool, shape (n, K)
        Whether the unit's switch is in the term, and whether the unit is compared with.
    """

    amounts: FloatArray
    part: FloatArray
    without: FloatArray
    own: FloatArray
    lost: FloatArray
    published: FloatArray
    hit: BoolArray
    compared: BoolArray

    @classmethod
    def none(cls, amounts: FloatArray) -> _Found:
        """Return that nothing is found yet."""
        shape = amounts.shape[1:]
        parts, own = np.zeros((2, *shape)), np.zeros((2, *amounts.shape))
        marks = np.zeros((2, *shape), dtype=bool)
        return cls(amounts, *parts, *own, np.zeros(shape), *marks)


def _add(found: _Found, rows: _Rows, terms: list[_Term]) -> FloatArray:
    """Add what one stratum has of all terms; return how its sums fall with covariates' slopes, shape (p, K)."""
    n_rows, n_periods = rows.y.shape
    n_terms, units = len(terms), rows.units
    maps = np.zeros((2, n_rows, n_periods, n_terms)) if rows.members else np.empty(0)
    of_rows, of_slopes = np.zeros((2, n_rows, n_terms)), np.zeros((rows.x.shape[2], n_terms))
    for k, term in enumerate(terms):
        pairs, (at, base, _) = _pairs(rows, term), term.columns(n_periods)
        if not pairs.hit.any():
            continue
        c = _contrast(rows, term, pairs)
        found.hit[units, k] = pairs.hit[rows.row]
        found.compared[units, k] = (pairs.compared & (c.load != 0)).any(axis=1)[rows.row]
        of_slopes[:, k] = np.einsum("r,rb,rbp->p", rows.size, c.load, rows.x[:, at] - rows.x[:, base])
        for which, load in enumerate((c.load, c.without)):
            of_rows[which, :, k] = -(load @ c.mean)
            if rows.members is None:
                of_rows[which, :, k] += np.einsum("rb,rb->r", load, c.change)
            else:
                maps[which, :, at, k] += load
                maps[which, :, base, k] -= load
        amounts = np.where(pairs.hit[rows.row], found.amounts[:, units, k], 0.0) * rows.each[rows.row]
        found.own[:, units, k] = found.lost[:, units, k] = amounts
        if c.lost.any():
            column = pairs.column[rows.row]
            of_base = np.stack([np.bincount(column, amount, len(c.mean)) for amount in amounts])
            found.lost[:, units, k] += (c.lost @ of_base.T).T[:, rows.row]
            of_rows[1, :, k] += c.lost @ c.treated / rows.each
    factor = len(units) if rows.cluster is None else int(rows.cluster.max()) + 1
    ends = found.part, found.without
    for which, (part, times) in enumerate(zip(ends, (1.0, factor / max(factor - 1, 1)), strict=True)):
        if rows.members is None:
            part[units] = of_rows[which] * rows.each[:, None]
        for row, members in enumerate(rows.members or ()):
            own = rows.values[members] @ maps[which, row] + of_rows[which, row]
            part[units[members]] = own * rows.each[row]
        if len(of_slopes):
            part[units] -= rows.slopes.parts @ of_slopes * times
    return of_slopes


def _add_published(
    found: _Found, strata: list[tuple[_Rows, FloatArray]], terms: list[_Term], change: FloatArray
) -> None:
    """Add each unit's part as the authors' package has it for errors; rows are units.

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
            found.published[rows.units, k] += _published(rows, term, cohort)
        if len(of_slopes):
            found.published[rows.units] -= rows.slopes.published @ of_slopes * (changes / rows.slopes.total)
            found.published[everyone] += rows.slopes.value @ of_slopes / len(everyone)


def _published(rows: _Rows, term: _Term, cohort: IntArray) -> FloatArray:
    pairs = _pairs(rows, term)
    c, total = _contrast(rows, term, pairs), np.zeros(pairs.compared.shape)
    for sign in (1.0, -1.0):
        hit = pairs.hit & (rows.sign == sign)
        column, switched = pairs.column[hit], np.zeros(total.shape, dtype=bool)
        switched[hit, column] = True
        of_mean = sign * np.bincount(column, rows.size[hit], total.shape[1])
        compared = pairs.compared & (of_mean != 0)
        both = _demeaned(rows, c.change, switched | compared)
        groups = [(switched & (cohort == g)[:, None], sign) for g in np.unique(cohort[hit])]
        for group, weight in [*groups, (compared, -of_mean / np.where(of_mean != 0, pairs.weight, 1.0))]:
            own = np.where(_count(rows.cluster, group) >= 2, _demeaned(rows, c.change, group), both)
            total += np.where(group, weight * own, 0.0)
    return rows.size * total.sum(axis=1)


def _count(cluster: IntArray | None, group: BoolArray) -> IntArray:
    """Return of how many units or clusters a group of rows is at each period, shape (B,)."""
    if cluster is not None:
        group = (_by(cluster, group.astype(float)) > 0)[np.unique(cluster, return_index=True)[1]]
    return np.asarray(group.sum(axis=0))


def _demeaned(rows: _Rows, change: FloatArray, group: BoolArray) -> FloatArray:
    """Return changes less the mean of a group at each base period, times sqrt(m / (m - 1)), shape (R, B)."""
    weight, m = rows.size @ group, _count(rows.cluster, group)
    mean = np.einsum("r,rb,rb->b", rows.size, group, change) / np.where(weight > 0, weight, 1.0)
    return (change - mean) * np.sqrt(m / np.maximum(m - 1, 1))


class _Ratio(NamedTuple):
    """Sums over switchers over what they count, shape (K,), with influence and leave-out influence by unit, (n, K).

    ``determined`` says which of them no cluster has all of.
    """

    value: FloatArray
    influence: FloatArray
    errors: FloatArray
    determined: BoolArray


def _ratio(sample: Sample, part: FloatArray, without: FloatArray, own: FloatArray, lost: FloatArray) -> _Ratio:
    n, total = sample.n_units, own.sum(axis=0)
    value = part.sum(axis=0) / total
    influence = (part - value * own) * (n / total)
    alone = sample.question.cluster is None
    of_cluster = lost if alone else Influence.of(lost).cluster_sums(sample.cluster)[sample.cluster]
    rest = total - of_cluster
    determined = np.asarray((rest > NOTHING * total).all(axis=0))
    errors = (without - value * lost) * (n / np.where(determined, rest, total))
    return _Ratio(value, influence, errors, determined)


def _estimate(
    sample: Sample, paths: _Paths, terms: list[_Term], found: _Found, notes: list[str], normalized: bool, variance: str
) -> Estimate:
    """Divide sums over switchers by what they count, and add the reference and the average of all effects."""
    times, lengths = np.array(terms, dtype=float).T
    known, post = found.hit.any(axis=0), times >= 0
    refuse_no_effect("dcdh", known & post, [*notes, "nobody of the same first treatment has not switched when others do"])

    def with_average(of_terms: FloatArray, of_average: FloatArray | None = None) -> FloatArray:
        """Keep the terms that are known, and append the sum over those after the switch."""
        summed = (of_terms if of_average is None else of_average)[:, post].sum(axis=1)
        return np.column_stack([of_terms[:, known], summed])

    kind = 2 if normalized else 0
    part, without = with_average(found.part), with_average(found.without)
    own, lost = (with_average(of[kind], of[1]) for of in (found.own, found.lost))
    if np.isnan(own).any():
        raise QuestionError(
            f"dcdh: {sample.question.event} is not known in some period after a switch, so effects cannot be normalized; "
            "fill it in, or take normalized=False."
        )
    effects = _ratio(sample, part, without, own, lost)
    influence = effects.influence
    if variance == "didmultiplegt":
        influence = with_average(found.published) * (sample.n_units / own.sum(axis=0))
    hit, compared = with_average(found.hit) > 0, with_average(found.compared) > 0
    clusters = np.stack([_clusters(sample, hit), _clusters(sample, compared)])
    before = int(np.sum(known & ~post))

    def placed(values: FloatArray, axis: int = -1) -> FloatArray:
        """Insert the reference."""
        return np.insert(values, before, 0, axis=axis)

    left_out = None
    estimable = placed(effects.determined & (clusters.min(axis=0) >= 2))
    mean: dict[str, Any] = {}
    switched = paths.sign[hit.any(axis=1)]
    of_mean = None
    if np.ptp(switched) == 0:
        place = paths.start[:, None] - 1 + np.where(post, lengths, -lengths).astype(np.int64)
        outcome = np.take_along_axis(np.nan_to_num(sample.y), np.clip(place, 0, len(sample.periods) - 1), axis=1)
        outcome = with_average(outcome * found.own[0])
        count, gone = with_average(found.own[0]), with_average(found.lost[0])
        of_mean = _ratio(sample, outcome - switched[0] * part, outcome - switched[0] * without, count, gone)
        mean = {
            "untreated_mean": placed(of_mean.value),
            "untreated_influence": Influence.of(placed(of_mean.influence)),
        }
    if variance == "sampling":
        of_untreated = None if of_mean is None else Influence.of(placed(of_mean.errors))
        left_out = LeftOut(Influence.of(placed(effects.errors)), of_untreated, placed(clusters), estimable)
    dates = np.arange(len(sample.periods) + 1)
    treated = np.stack([np.isin(dates, paths.start[marks]) for marks in placed(hit).T > 0], axis=1)
    event_time = np.append(np.insert(times[known], before, -1), np.nan)
    skipped = int(np.sum((paths.sign != 0) & ~hit.any(axis=1)))
    if skipped:
        notes.append(f"{skipped} units that switch are in no effect")
    none = np.full(len(event_time), np.nan)
    return Estimate(
        sample,
        Estimand.EVENT_TIME_ATT,
        (*(f"event {e:g}" for e in event_time[:-1]), AVERAGE),
        placed(effects.value),
        Influence.of(placed(influence)),
        none,
        none,
        event_time,
        event_time == -1,
        int(paths.usable[(hit | compared).any(axis=1)].sum()),
        published="CR0",
        treated=treated.astype(float),
        group=paths.start,
        left_out=left_out,
        remarks=(*notes, *events_on_one(times[known], found.hit[:, known].sum(axis=0))),
        **mean,
    )


def _clusters(sample: Sample, marks: BoolArray) -> IntArray:
    """Return how many clusters have a mark, shape (K,)."""
    if sample.question.cluster is not None:
        marks = Influence.of(marks.astype(float)).cluster_sums(sample.cluster) > 0
    return np.asarray(marks.sum(axis=0))


def _notes(sample: Sample, paths: _Paths) -> list[str]:
    """Say which units' paths are not taken whole."""
    undated = int(np.sum(paths.moves & (paths.start == len(sample.periods))))
    crossing = int(np.sum((paths.change < 0).any(axis=1)))
    event = sample.question.event
    return [
        *[f"{undated} units switch when {event} is not known, and are compared with up to then"] * (undated > 0),
        *[f"{crossing} units are left out from when {event} has been above and below its first value"]
        * (crossing > 0),
    ]
