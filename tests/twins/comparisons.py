"""Designs that compare changes of groups of units: one comparison at a time, with loops over cohorts and periods."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from study.panel.question import Sample
from twins.plain import (
    NAN,
    Answer,
    Array,
    Key,
    Logit,
    Refused,
    Regression,
    Unsettled,
    Values,
    collinear,
    derivative,
    independent,
    unlike_treated,
    weighted_mean,
)
from twins.regressions import indicator, treated_from, with_base

Units = NDArray[np.int64]


class Side(NamedTuple):
    """Treated and comparison units in the period and at the base."""

    treated_now: Units
    treated_base: Units
    compared_now: Units
    compared_base: Units


def _sides(sample: Sample, g: float, now: int, base: int) -> Side:
    first, d = sample.first_treated, sample.question.anticipation
    until = sample.periods[max(now, base)] + d
    late = np.isnan(first)
    if sample.question.comparison == "not_yet_treated":
        late = late | ((first > until) & (first != g))
    seen = [~np.isnan(sample.y[:, t]) for t in (now, base)]
    if sample.question.missing != "cells":
        seen = [seen[0] & seen[1]] * 2
    return Side(*(np.flatnonzero(who & s) for who in (first == g, late) for s in seen))


def _cells(sample: Sample) -> list[tuple[float, int, int]]:
    """Return cohort, number of the period and of its base."""
    d, found = sample.question.anticipation, []
    for g in with_base(sample):
        start = int(g - d - sample.periods[0])
        for t in range(len(sample.periods)):
            base = start - 1
            if sample.question.base == "varying" and t < start:
                base = t - 1
            if base >= 0:
                found.append((g, t, base))
    return found


class _Adjusted:
    """A two-by-two comparison with covariates by "dr", "ipw" or "reg", Sant'Anna and Zhao (2020)."""

    def __init__(self, sample: Sample, side: Side, now: int, base: int, method: str) -> None:
        self.method, self.repeated = method, sample.question.missing == "cells"
        x = np.column_stack([np.ones(sample.n_units), sample.x_baseline])
        self.x, self.y, self.side = x, sample.y, side
        self.now, self.base = now, base
        if self.repeated:
            pieces = [
                (side.treated_now, True),
                (side.compared_now, False),
                (side.treated_base, True),
                (side.compared_base, False),
            ]
        else:
            pieces = [(side.treated_now, True), (side.compared_now, False)]
        rows = np.concatenate([units for units, _ in pieces])
        d = np.concatenate([np.full(len(units), treated) for units, treated in pieces])
        if method != "reg":
            # Comparison units unlike all treated have odds of zero, and the others the logit among themselves.
            told = unlike_treated(d, x[rows])
            rest = rows[~told]
            columns = independent(x[rest])
            if d[~told].all() or (not told.any() and len(columns) < x.shape[1]):
                raise Refused("no propensity score")
            self.like = x[:, columns]
            self.logit = Logit(d[~told], self.like[rest], rest, sample.weights)
            p = self.logit.probability(sample.weights, self.like)
            if np.any(np.abs(p[rest] - 0.999) < 1e-6) or np.any(np.abs(p[rest] - 0.995) < 1e-6):
                raise Unsettled("a score is at a bound")
            if p[rest].max() >= 0.999:
                raise Refused("no overlap")
            self.without_odds = p >= 0.995
            self.without_odds[rows[told]] = True
        if method != "ipw":
            self.of_compared = [
                self._regression(side.compared_now, now, sample),
                self._regression(side.compared_base, base, sample),
            ]
        if method == "dr" and self.repeated:
            treated = x[np.concatenate([side.treated_now, side.treated_base])]
            self.of_treated = [
                self._regression(side.treated_now, now, sample, treated),
                self._regression(side.treated_base, base, sample, treated),
            ]

    def _regression(self, units: Units, t: int, sample: Sample, at: Array | None = None) -> Regression:
        """Return the regression of some units, which has to identify its coefficients, or its values at some rows."""
        made = Regression(self.y[units, t], self.x[units], units, sample.weights)
        if not made.knows(np.eye(self.x.shape[1]) if at is None else at.T).all():
            raise Refused("covariates do not identify a regression")
        return made

    def effect(self, weights: Array) -> Any:
        s, total = self.side, 0.0
        odds = None
        if self.method != "reg":
            p = self.logit.probability(weights, self.like)
            odds = np.where(self.without_odds, 0.0, weights * p / (1 - p))
        everyone = np.concatenate([s.treated_now, s.treated_base]) if self.repeated else s.treated_now
        for sign, t, treated, compared, k in (
            (1.0, self.now, s.treated_now, s.compared_now, 0),
            (-1.0, self.base, s.treated_base, s.compared_base, 1),
        ):
            m0 = np.zeros(len(self.x))
            m1 = np.zeros(len(self.x))
            if self.method != "ipw":
                m0 = self.x @ self.of_compared[k].coefficients(weights)
            if self.method == "dr" and self.repeated:
                m1 = self.x @ self.of_treated[k].coefficients(weights)
            elif self.method == "dr":
                m1 = m0
            ours = weighted_mean(self.y[treated, t] - m1[treated], weights[treated])
            if self.method == "reg":
                # The regression predicts for the treated of both periods.
                ours = ours - weighted_mean(m0[everyone], weights[everyone])
            else:
                ours = ours + weighted_mean((m1 - m0)[everyone], weights[everyone])
                ours = ours - weighted_mean(self.y[compared, t] - m0[compared], odds[compared])
            total = total + sign * ours
        return total


def callaway_santanna(sample: Sample, method: str = "dr") -> Answer:
    if sample.x_baseline.shape[1] and collinear(sample.x_baseline):
        raise Refused("a covariate is explained")
    found, references, unknown = [], [], []
    adjusted: dict[int, _Adjusted] = {}
    for g, now, base in _cells(sample):
        t = float(sample.periods[now])
        key: Key = (g, t, t - g)
        side = _sides(sample, g, now, base)
        if now == base:
            if len(side.treated_now):
                references.append(key)
            continue
        if not all(len(units) for units in side):
            continue
        if sample.x_baseline.shape[1]:
            try:
                adjusted[len(found)] = _Adjusted(sample, side, now, base, method)
            except Refused:
                continue
            except Unsettled:
                unknown.append(key)
                continue
        found.append((key, side, now, base))
    if not found and not unknown:
        raise Refused("nothing can be estimated")
    if not found:
        raise Unsettled("every score is at a bound")

    def at(weights: Array) -> Values:
        linear, untreated, size = [], [], []
        for k, (key, side, now, base) in enumerate(found):
            means = [
                weighted_mean(sample.y[units, t], weights[units])
                for units, t in zip(side, (now, base, now, base), strict=True)
            ]
            effect = means[0] - means[1] - (means[2] - means[3])
            if k in adjusted:
                effect = adjusted[k].effect(weights)
            linear.append(effect)
            untreated.append(means[0] - effect)
            size.append(weights[sample.first_treated == key[0]].sum())
        return Values(np.array(linear), np.array(untreated), np.array(size))

    used = {
        (i, t)
        for _, side, now, base in found
        for units, t in zip(side, (now, base, now, base), strict=True)
        for i in units
    }
    return Answer([key for key, *_ in found], references, at, open=unknown, n_obs=len(used))


def triple_difference(sample: Sample, method: str = "dr") -> Answer:
    if sample.x_baseline.shape[1] and collinear(sample.x_baseline):
        raise Refused("a covariate is explained")
    q, first = sample.question, sample.first_treated
    if any(len(np.unique(sample.group[first == g])) == 1 for g in sample.cohorts):
        raise Refused("a cohort has one of the groups")

    def members(g: float, eligible: bool) -> NDArray[np.bool_]:
        return (np.isnan(first) if np.isnan(g) else first == g) & (sample.group == eligible)

    def cohorts(g: float, now: int, base: int) -> list[float]:
        until, never = sample.periods[max(now, base)] + q.anticipation, q.comparison == "never_treated"
        return [c for c in np.unique(first) if np.isnan(c) or (not never and c > until and c != g)]

    def enough(g: float, now: int, base: int) -> bool:
        seen = ~np.isnan(sample.y[:, [now, base]]).any(axis=1)
        groups = [sample.cluster[members(g, e) & seen] for e in (True, False)]
        return all(len(of) > sample.x_baseline.shape[1] + 1 and len(np.unique(of)) > 1 for of in groups)

    choice = any(
        enough(c, now, base) for g, now, base in _cells(sample) if now != base for c in cohorts(g, now, base)
    )
    found, references, unknown = [], [], []
    for g, now, base in _cells(sample):
        t = float(sample.periods[now])
        key: Key = (g, t, t - g)
        seen = ~np.isnan(sample.y[:, [now, base]]).any(axis=1)
        eligible, others = (np.flatnonzero(members(g, e) & seen) for e in (True, False))
        if now == base:
            references += [key] * (len(eligible) > 0)
            continue
        triples = []
        for c in cohorts(g, now, base):
            if choice and not enough(c, now, base):
                continue
            groups = [others, *(np.flatnonzero(members(c, e) & seen) for e in (True, False))]
            if not all(map(len, [eligible, *groups])):
                continue
            try:
                triples.append([_two_by_two(sample, eligible, group, now, base, method) for group in groups])
            except Refused:
                continue
            except Unsettled:
                unknown.append(key)
        if key in unknown:
            unknown = [*dict.fromkeys(unknown)]
        elif triples:
            found.append((key, eligible, now, triples))
    if not found and not unknown:
        raise Refused("nothing can be estimated")
    if not found:
        raise Unsettled("every score is at a bound")

    def each(triples: list[Any], weights: Array) -> Array:
        return np.array([own(weights) + first(weights) - second(weights) for own, first, second in triples])

    shares = []
    for *_, triples in found:
        m = len(triples)
        if not choice:
            shares.append(np.full(m, 1 / m))
            continue
        moves = derivative(sample, lambda w, triples=triples: each(triples, w))
        omega = moves.T @ moves
        bordered = np.block([[omega / max(np.trace(omega), 1e-300), np.ones((m, 1))], [np.ones((1, m)), 0.0]])
        values = np.abs(np.linalg.eigvalsh(bordered))
        if np.any((values > 1e-14) & (values < 1e-7)):
            raise Unsettled("the least variance is nearly zero")
        shares.append((np.linalg.pinv(bordered, rcond=1e-11) @ np.eye(m + 1)[m])[:m])

    def at(weights: Array) -> Values:
        effect, untreated, size = [], [], []
        for ((g, *_), eligible, now, triples), share in zip(found, shares, strict=True):
            effect.append(share @ each(triples, weights))
            untreated.append(weighted_mean(sample.y[eligible, now], weights[eligible]) - effect[-1])
            size.append(weights[members(g, True)].sum())
        return Values(np.array(effect), np.array(untreated), np.array(size))

    return Answer([key for key, *_ in found], references, at, open=unknown)


def _two_by_two(
    sample: Sample, treated: Units, compared: Units, now: int, base: int, method: str
) -> Callable[[Array], Any]:
    """Return the difference in differences of two groups as a function of the units' weights."""
    if sample.x_baseline.shape[1]:
        return _Adjusted(sample, Side(treated, treated, compared, compared), now, base, method).effect
    change = sample.y[:, now] - sample.y[:, base]
    return lambda w: weighted_mean(change[treated], w[treated]) - weighted_mean(change[compared], w[compared])


def stacked(sample: Sample, before: int | None = None, after: int | None = None) -> Answer:
    q, first = sample.question, sample.first_treated
    windows = [
        (
            max(length, 1) if before is None else before,
            after if after is not None else length if q.horizon is None else q.horizon,
        )
        for length in (3, 2, 1, 0)
    ]
    before, last = next(
        (
            (b, e)
            for b, e in windows
            if any(
                g - q.anticipation - b >= sample.periods[0] and g + e <= sample.periods[-1]
                for g in sample.cohorts
            )
        ),
        windows[0],
    )
    found, references = [], []
    for g in sample.cohorts:
        window = np.arange(int(g) - q.anticipation - before, int(g) + last + 1)
        if window[0] < sample.periods[0] or window[-1] > sample.periods[-1]:
            continue
        columns = window - sample.periods[0]
        complete = ~np.isnan(sample.y[:, columns]).any(axis=1)
        clean = np.isnan(first)
        if q.comparison == "not_yet_treated":
            clean = clean | (first - q.anticipation > window[-1])
        treated, compared = np.flatnonzero(complete & (first == g)), np.flatnonzero(complete & clean)
        if not len(treated) or not len(compared):
            continue
        base = int(g) - 1 - q.anticipation - sample.periods[0]
        for t, column in zip(window, columns, strict=True):
            key = (float(g), float(t), float(t - g))
            if column == base:
                references.append(key)
            else:
                found.append((key, treated, compared, column, base))
    if not found:
        raise Refused("nothing can be estimated")

    def at(weights: Array) -> Values:
        linear, untreated, size = [], [], []
        for _, treated, compared, now, base in found:
            change = sample.y[:, now] - sample.y[:, base]
            effect = weighted_mean(change[treated], weights[treated]) - weighted_mean(
                change[compared], weights[compared]
            )
            linear.append(effect)
            untreated.append(weighted_mean(sample.y[treated, now], weights[treated]) - effect)
            size.append(weights[treated].sum())
        return Values(np.array(linear), np.array(untreated), np.array(size))

    members = {key[0]: len(treated) + len(compared) for key, treated, compared, *_ in found}
    n_obs = sum(members.values()) * (before + q.anticipation + last + 1)
    return Answer([key for key, *_ in found], references, at, n_obs=n_obs)


def lp_did(
    sample: Sample, weighting: str = "variance", before: int | None = None, after: int | None = None
) -> Answer:
    q, first, periods = sample.question, sample.first_treated, sample.periods
    last = -1 - q.anticipation
    found = []
    for h in range(-len(periods) - 5, len(periods) + 5):
        if (before is not None and h < last - before + 1) or (after is not None and h > after) or h == last:
            continue
        unit, start, now, change, treated = [], [], [], [], []
        for j, t in enumerate(periods):
            base = j - 1 - q.anticipation
            if base < 0 or not 0 <= j + h < len(periods):
                continue
            rows = []
            for i in range(sample.n_units):
                late = np.isnan(first[i])
                if q.comparison == "not_yet_treated":
                    late = late or first[i] - q.anticipation > max(t, t + h)
                if (first[i] == t or late) and not np.isnan(sample.y[i, [j + h, base]]).any():
                    rows.append((i, t, j + h, sample.y[i, j + h] - sample.y[i, base], first[i] == t))
            if len({row[-1] for row in rows}) == 2:
                unit, start, now, change, treated = (
                    [*have, *(row[k] for row in rows)]
                    for k, have in enumerate((unit, start, now, change, treated))
                )
        if unit:
            found.append((float(h), *map(np.array, (unit, start, now, change, treated))))
    if not found:
        raise Refused("nothing can be estimated")
    made = [
        Regression(change, np.column_stack([treated, indicator(start)]), unit, sample.weights)
        for _, unit, start, _, change, treated in found
    ]
    assert all(m.knows(np.eye(len(m.scale))[:, :1]).all() for m in made)

    def at(weights: Array) -> Values:
        linear, untreated, sizes = [], [], []
        for regression, (_, unit, start, now, change, treated) in zip(made, found, strict=True):
            if weighting == "variance":
                effect = regression.coefficients(weights)[0]
            else:
                total, size = 0.0, 0.0
                for t in np.unique(start):
                    ours, theirs = (start == t) & treated, (start == t) & ~treated
                    own = weights[unit[ours]].sum()
                    gap = weighted_mean(change[ours], weights[unit[ours]]) - weighted_mean(
                        change[theirs], weights[unit[theirs]]
                    )
                    total, size = total + own * gap, size + own
                effect = total / size
            mean = weighted_mean(sample.y[unit[treated], now[treated]], weights[unit[treated]])
            linear.append(effect)
            untreated.append(mean - effect)
            sizes.append(weights[unit[treated]].sum())
        return Values(np.array(linear), np.array(untreated), np.array(sizes))

    return Answer([(NAN, NAN, h) for h, *_ in found], [(NAN, NAN, float(last))], at)


def lee_wooldridge(sample: Sample, transform: str = "demean") -> Answer:
    if np.isnan(sample.y).any() or (sample.x_baseline.shape[1] and collinear(sample.x_baseline)):
        raise Refused("a gap, or a covariate is explained")
    q, first, degree = sample.question, sample.first_treated, {"demean": 0, "detrend": 1}[transform]
    x, found, used, unknown = np.column_stack([np.ones(sample.n_units), sample.x_baseline]), [], set(), []
    for g in with_base(sample):
        start = int(g - q.anticipation - sample.periods[0])
        for now in range(start if start > degree else len(sample.periods), len(sample.periods)):
            t, left, ours, theirs = float(sample.periods[now]), np.zeros(sample.n_units), [], []
            for i in range(sample.n_units):
                line = np.polynomial.Polynomial.fit(np.arange(start), sample.y[i, :start], degree)
                left[i] = sample.y[i, now] - line(now)
                late = q.comparison == "not_yet_treated" and first[i] > t + q.anticipation
                if first[i] == g:
                    ours.append(i)
                elif np.isnan(first[i]) or late:
                    theirs.append(i)
            if not theirs:
                continue
            units, compared, key = np.array(ours), np.array(theirs), (g, t, t - g)
            try:
                regression = Regression(left[compared], x[compared], compared, sample.weights)
                if not regression.knows(np.eye(x.shape[1])).all():
                    continue
            except Unsettled:
                unknown.append(key)
                continue
            found.append((key, units, left[units], regression, sample.y[units, now]))
            used |= {(i, s) for i in (*ours, *theirs) for s in (*range(start), now)}
    if not found:
        raise (Unsettled if unknown else Refused)("nothing can be estimated")

    def at(weights: Array) -> Values:
        linear, untreated, size = [], [], []
        for key, units, left, regression, y in found:
            beyond = left - x[units] @ regression.coefficients(weights)
            linear.append(weighted_mean(beyond, weights[units]))
            untreated.append(weighted_mean(y, weights[units]) - linear[-1])
            size.append(weights[first == key[0]].sum())
        return Values(np.array(linear), np.array(untreated), np.array(size))

    return Answer([key for key, *_ in found], [], at, open=unknown, n_obs=len(used))


__all__ = ["callaway_santanna", "lee_wooldridge", "lp_did", "stacked", "treated_from"]
