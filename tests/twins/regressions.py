"""Designs that are one regression, or a regression of untreated cells, with a column for every unit and period."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from study.panel.question import Sample
from twins.plain import (
    NAN,
    Answer,
    Array,
    Key,
    PoissonRegression,
    Refused,
    Regression,
    Unsettled,
    Values,
    collinear,
    weighted_mean,
)

Mask = NDArray[np.bool_]


def cells(
    sample: Sample, who: Mask, *, covariates: bool = True
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return unit and period of the cells of some units, or of (n, T), that are seen, with their covariates."""
    seen = ~np.isnan(sample.y) & (who if who.ndim == 2 else who[:, None])
    if sample.path is not None:
        seen &= ~np.isnan(sample.path)
    if covariates:
        for block in sample.x_by_period:
            seen &= ~np.isnan(block)
    return np.nonzero(seen)


def indicator(labels: NDArray[Any]) -> Array:
    return (labels[:, None] == np.unique(labels)).astype(float)


def of_cells(sample: Sample, unit: Any, period: Any, inside: list[Callable[[float, float], bool]]) -> Array:
    """Return an indicator of each set of cells, given by a rule of first treated period and period, (m, K)."""
    first, time = sample.first_treated[unit], sample.periods[period]
    return np.array(
        [[rule(g, t) for rule in inside] for g, t in zip(first, time, strict=True)], dtype=float
    ).reshape(len(unit), len(inside))


def covariates(sample: Sample, unit: Any, period: Any) -> Array:
    return np.array([block[unit, period] for block in sample.x_by_period]).T.reshape(
        len(unit), len(sample.x_by_period)
    )


def two_way(sample: Sample, unit: Any, period: Any) -> Array:
    return np.hstack([indicator(unit), indicator(period)])


def treated_from(sample: Sample) -> Array:
    return sample.first_treated - sample.question.anticipation


def unit_columns(k: int, p: int) -> Array:
    return np.eye(p)[:, :k]


def three_way(sample: Sample) -> Answer:
    if any(len(np.unique(sample.group[sample.first_treated == g])) == 1 for g in sample.cohorts):
        raise Refused("a cohort has one of the groups")
    unit, period = cells(sample, np.ones(sample.n_units, dtype=bool))
    cohort = np.nan_to_num(sample.first_treated)[unit]
    by_period = [indicator(1000 * of + period) for of in (cohort, sample.group[unit])]
    return _static(sample, unit, period, np.hstack([indicator(unit), *by_period]), sample.group[unit])


def twfe(sample: Sample) -> Answer:
    unit, period = cells(sample, np.ones(sample.n_units, dtype=bool))
    return _static(sample, unit, period, two_way(sample, unit, period), np.ones(len(unit)))


def _static(sample: Sample, unit: Any, period: Any, fixed: Array, who: Array) -> Answer:
    """Return the coefficient of the treatment of some cells' units, given columns of fixed effects."""
    if sample.first_treated is None:
        d = sample.path[unit, period]
    else:
        d = who * (sample.periods[period] >= treated_from(sample)[unit])
    x = np.column_stack([d, covariates(sample, unit, period)])
    k = x.shape[1]
    made = Regression(sample.y[unit, period], np.hstack([x, fixed]), unit, sample.weights)
    if not made.knows(unit_columns(k, len(made.scale))).all():
        raise Refused("a regressor is explained")

    def at(weights: Array) -> Values:
        b = made.coefficients(weights)[:k]
        mean = weighted_mean(made.y[d == 1], weights[unit[d == 1]])
        untreated = np.concatenate([[mean - b[0]], np.full(k - 1, np.nan)])
        return Values(b, untreated, np.ones(k))

    terms = [(NAN, NAN, NAN)] * k
    return Answer(
        terms,
        [],
        at,
        n_obs=len(unit),
        rank=made.rank,
        nested=len(np.unique(unit)),
        clusters=len(np.unique(sample.cluster[unit])),
        averages=False,
    )


def panel_ols(sample: Sample) -> Answer:
    answer = twfe(sample)
    unit, period = cells(sample, np.ones(sample.n_units, dtype=bool))
    if len(unit) < len(answer.terms) + len(np.unique(unit)) + len(np.unique(period)):
        raise Refused("no degree of freedom is left")
    return answer


def iv(sample: Sample, method: str = "2sls") -> Answer:
    with_instruments = ~np.any([np.isnan(z) for z in sample.instruments_by_period], axis=0)
    unit, period = cells(sample, with_instruments)
    if sample.first_treated is None:
        d = sample.path[unit, period]
    else:
        d = (sample.periods[period] >= treated_from(sample)[unit]).astype(float)
    y, x = sample.y[unit, period], covariates(sample, unit, period)
    z = np.array([block[unit, period] for block in sample.instruments_by_period]).T
    p, given = x.shape[1], np.hstack([x, two_way(sample, unit, period)])
    by_z, by_d = (
        Regression(y, np.column_stack([columns, given]), unit, sample.weights) for columns in (z, d)
    )
    for made, k in ((by_z, z.shape[1] + p), (by_d, 1 + p)):
        if not made.knows(unit_columns(k, len(made.scale))).all():
            raise Refused("a column is explained")
    if method == "liml" and len(unit) == by_z.rank:
        raise Refused("nothing is left to compare instruments by")
    of_given = [Regression(column, given, unit, sample.weights) for column in (y, d, *z.T)]

    def at(weights: Array) -> Values:
        slopes = [made.coefficients(weights) for made in of_given]
        left = np.array([made.y - given @ b for made, b in zip(of_given, slopes, strict=True)]).T
        gram = (left * weights[unit, None]).T @ left
        both, onto = gram[:2, :2], gram[2:, :2]
        inside = onto.T @ np.linalg.solve(gram[2:, 2:], onto)
        if abs(inside[1, 1]) < 1e-3 * abs(both[1, 1]):
            raise Unsettled("the instruments hardly move treatment")
        kept = inside
        if method == "liml":
            (a, b), (_, c) = outside = both - inside
            least = a * c - b * b
            middle = (a * both[1, 1] + c * both[0, 0] - 2 * b * both[0, 1]) / 2
            root = middle**2 - least * np.linalg.det(both)
            if (
                abs(least) < 1e-3 * abs(a * c)
                or abs(a) < 1e-6 * abs(both[0, 0])
                or abs(c) < 1e-6 * abs(both[1, 1])
                or abs(root) < 1e-4 * abs(middle**2)
            ):
                raise Unsettled("the roots are near one another or far away")
            kept = both - (middle - np.sqrt(root)) / least * outside
            if abs(kept[1, 1]) < 1e-3 * abs(both[1, 1]):
                raise Unsettled("the estimate is far away")
        effect = kept[0, 1] / kept[1, 1]
        slope = (slopes[0] - effect * slopes[1])[:p]
        return Values(np.concatenate([[effect], slope]), np.full(1 + p, np.nan), np.ones(1 + p))

    at(sample.weights)  # says whether it is settled
    return Answer(
        [(NAN, NAN, NAN)] * (1 + p),
        [],
        at,
        n_obs=len(unit),
        rank=by_d.rank,
        nested=len(np.unique(unit)),
        clusters=len(np.unique(sample.cluster[unit])),
        averages=False,
    )


def event_study(sample: Sample, bin_at: int | None = None) -> Answer:
    base = -1 - sample.question.anticipation
    unit, period = cells(sample, np.ones(sample.n_units, dtype=bool))
    event = sample.periods[period] - sample.first_treated[unit]
    if bin_at is not None:
        event = np.clip(event, base + 1 - bin_at, bin_at)
    times = [e for e in np.unique(event[~np.isnan(event)]) if e != base]
    inside = (event[:, None] == np.array(times)).astype(float).reshape(len(unit), len(times))
    x = np.hstack([inside, covariates(sample, unit, period), two_way(sample, unit, period)])
    made = Regression(sample.y[unit, period], x, unit, sample.weights)
    k = len(times) + len(sample.x_by_period)
    if not times or not made.knows(unit_columns(k, x.shape[1])).all():
        raise Refused("event times are explained")

    def at(weights: Array) -> Values:
        b = made.coefficients(weights)[: len(times)]
        mean = np.array([weighted_mean(made.y[i == 1], weights[unit[i == 1]]) for i in inside.T])
        return Values(b, mean - b, np.array([weights[unit[i == 1]].sum() for i in inside.T]))

    return Answer(
        [(NAN, NAN, e) for e in times],
        [(NAN, NAN, float(base))],
        at,
        n_obs=len(unit),
        rank=made.rank,
        nested=len(np.unique(unit)),
        clusters=len(np.unique(sample.cluster[unit])),
    )


def with_base(sample: Sample) -> list[float]:
    return [float(g) for g in sample.cohorts if g - 1 - sample.question.anticipation >= sample.periods[0]]


def untreated_in_window(sample: Sample) -> Mask:
    return ~(treated_from(sample) <= sample.periods[-1])


def sun_abraham(sample: Sample, variance: str = "sampling") -> Answer:
    d, cohorts = sample.question.anticipation, with_base(sample)
    used = np.isin(sample.first_treated, cohorts) | untreated_in_window(sample)
    unit, period = cells(sample, used)
    pairs = [(g, float(t)) for g in cohorts for t in sample.periods]
    here = set(zip(sample.first_treated[unit], sample.periods[period].astype(float), strict=True))
    terms = [(g, t) for g, t in pairs if (g, t) in here and t != g - 1 - d]
    inside = of_cells(sample, unit, period, [lambda a, b, g=g, t=t: a == g and b == t for g, t in terms])
    x = np.hstack([inside, covariates(sample, unit, period), two_way(sample, unit, period)])
    made = Regression(sample.y[unit, period], x, unit, sample.weights)
    k, q = len(terms), len(sample.x_by_period)
    known = made.knows(unit_columns(k + q, x.shape[1]))
    if not known[k:].all():
        raise Refused("a covariate is explained")
    kept = np.flatnonzero(known[:k])
    if not len(kept):
        raise Refused("nothing can be estimated")

    def at(weights: Array) -> Values:
        b = made.coefficients(weights)[kept]
        who = [inside[:, c] == 1 for c in kept]
        mean = np.array([weighted_mean(made.y[i], weights[unit[i]]) for i in who])
        return Values(b, mean - b, np.array([weights[unit[i]].sum() for i in who]))

    return Answer(
        [(*terms[c], terms[c][1] - terms[c][0]) for c in kept],
        [(g, g - 1 - d, -1.0 - d) for g in sorted({terms[c][0] for c in kept})],
        at,
        shares_fixed=variance == "conditional",
        n_obs=len(unit),
        rank=made.rank,
        nested=len(np.unique(unit)),
        clusters=len(np.unique(sample.cluster[unit])),
    )


def etwfe(
    sample: Sample, family: str = "gaussian", effects: str = "cohort", variance: str = "sampling"
) -> Answer:
    if collinear(sample.x_baseline):
        raise Refused("a covariate is explained")
    d, cohorts, n = sample.question.anticipation, with_base(sample), sample.n_units
    y = sample.y
    if family == "poisson":
        if sample.question.scale == "log1p" or np.nanmin(y) < 0 or not np.nansum(y):
            raise Refused("no counts")
        if effects == "unit":
            y = np.where(np.nansum(y, axis=1, keepdims=True) == 0, np.nan, y)
    seen = ~np.isnan(y)
    used = np.isin(sample.first_treated, cohorts) | untreated_in_window(sample)
    first_term = -np.inf if sample.question.comparison == "never_treated" else -1 - d
    pairs = [(g, float(t)) for g in cohorts for t in sample.periods if t - g > first_term and t - g != -1 - d]

    def members(g: float, t: float) -> NDArray[np.int64]:
        return np.flatnonzero((sample.first_treated == g) & seen[:, int(t - sample.periods[0])])

    terms = [(g, t) for g, t in pairs if len(members(g, t))]
    column = {t: int(t - sample.periods[0]) for t in sample.periods.astype(float)}
    regressed = seen & used[:, None]
    empty = []
    if family == "poisson":
        # A Poisson regression learns nothing from sets of cells, or periods, in which nobody has any outcome.
        empty = [(g, t) for g, t in terms if not y[members(g, t), column[t]].sum()]
        for g, t in empty:
            regressed[members(g, t), column[t]] = False
        shared = regressed.copy()
        for g, t in terms:
            shared[members(g, t), column[t]] = False
        outcomes = np.where(shared, y, 0.0)
        for t in range(len(sample.periods)):
            if not outcomes[:, t].sum():
                regressed[shared[:, t], t] = False
        for g in np.unique(sample.first_treated):
            group = np.isnan(sample.first_treated) if np.isnan(g) else sample.first_treated == g
            if not outcomes[group].sum():
                regressed[group] &= ~shared[group]
    unit, period = np.nonzero(regressed)
    fitted = [pair for pair in terms if pair not in empty]
    features = np.column_stack([np.ones(n), sample.x_baseline])

    def by_feature(columns: Array, who: Any) -> Array:
        return (columns[:, :, None] * features[who][:, None, :]).reshape(len(columns), -1)

    cohort = np.nan_to_num(sample.first_treated, nan=np.inf)
    present = np.unique(cohort[used])

    def row(who: NDArray[np.int64], t: Any, with_effect: bool) -> Array:
        """Return the columns of units in periods."""
        time = sample.periods[t]
        own = np.array(
            [[cohort[i] == g and s == t_ for g, t_ in fitted] for i, s in zip(who, time, strict=True)]
        )
        own = own.reshape(len(who), len(fitted)) * float(with_effect)
        blocks = [by_feature(own, who), by_feature((time[:, None] == sample.periods).astype(float), who)]
        if effects == "cohort":
            blocks.append(by_feature((cohort[who][:, None] == present).astype(float), who))
        else:
            blocks.append((who[:, None] == np.arange(n)).astype(float))
        return np.hstack(blocks)

    kind = Regression if family == "gaussian" else PoissonRegression
    made = kind(sample.y[unit, period], row(unit, period, True), unit, sample.weights)
    known, where = [], {}
    for g, t in terms:
        who = members(g, t)
        now = np.full(len(who), column[t])
        where[g, t] = who, row(who, now, True), row(who, now, False)
        # Of each unit, since the estimate must not cease to exist where the weights of units move.
        loading = where[g, t][2] if family == "poisson" else where[g, t][1] - where[g, t][2]
        good = made.knows(loading.T).all()
        if good:
            known.append((g, t))
    if not known:
        raise Refused("nothing can be estimated")

    def at(weights: Array) -> Values:
        b = made.coefficients(weights)
        linear, untreated, size = [], [], []
        for pair in known:
            who, with_effect, without = where[pair]
            w = weights[who]
            given = sample.weights[who] if variance == "conditional" else w
            mean = weighted_mean(y[who, column[pair[1]]], w)
            if family == "gaussian":
                effect = weighted_mean((with_effect - without) @ b, given)
                linear.append(effect)
                untreated.append(mean - effect)
            else:
                base = weighted_mean(np.exp(without @ b), given)
                if variance == "conditional":
                    mean = 0.0 if pair in empty else weighted_mean(np.exp(with_effect @ b), given)
                linear.append(mean - base)
                untreated.append(base)
            size.append(w.sum())
        return Values(np.array(linear), np.array(untreated), np.array(size))

    return Answer(
        [(g, t, t - g) for g, t in known],
        [(g, g - 1 - d, -1.0 - d) for g in sorted({g for g, _ in known})] if first_term == -np.inf else [],
        at,
        n_obs=len(unit),
        rank=made.rank,
        nested=len(np.unique(unit)) if effects == "unit" else 0,
        shares_fixed=variance == "conditional",
        clusters=len(np.unique(sample.cluster[unit])),
    )


def since_onset(path: Array) -> float | None:
    """Return for how many periods the last one of a unit's path has been treated, None if it is not or nobody knows."""
    for since, (before, now) in enumerate(zip(path[-2::-1], path[:0:-1], strict=True)):
        if now != 1 and not (np.isnan(now) and since):
            return None
        if now == 1 and before == 0:
            return float(since)
    return None


def imputation_of_spells(sample: Sample, leads: int | None) -> Answer:
    """Impute where treatment switches: one term for each number of periods since the onset of a spell."""
    if leads:
        raise Refused("leads of spells")
    n, n_periods, q = *sample.y.shape, len(sample.x_by_period)
    unit, period = cells(sample, sample.path == 0)

    def row(i: int, t: int) -> Array:
        x = [block[i, t] for block in sample.x_by_period]
        return np.hstack([np.arange(n) == i, np.arange(n_periods) == t, x]).astype(float)

    x = np.array([row(i, t) for i, t in zip(unit, period, strict=True)]).reshape(len(unit), n + n_periods + q)
    first = Regression(sample.y[unit, period], x, unit, sample.weights)
    if not first.knows(np.eye(x.shape[1])[:, x.shape[1] - q :]).all():
        raise Refused("a covariate is explained")
    known: dict[float, list[tuple[int, int]]] = {}
    for i, t in zip(*cells(sample, sample.path == 1), strict=True):
        since = since_onset(sample.path[i, : t + 1])
        if since is not None and i in unit and first.knows(row(i, t)[:, None]).all():
            known.setdefault(since, []).append((i, t))
    if not known:
        raise Refused("nothing can be estimated")

    def at(weights: Array) -> Values:
        b, values = first.coefficients(weights), []
        for since in sorted(known):
            w = np.array([weights[i] for i, _ in known[since]])
            untreated = weighted_mean(np.array([row(*cell) for cell in known[since]]) @ b, w)
            outcome = weighted_mean(np.array([sample.y[cell] for cell in known[since]]), w)
            values.append((outcome - untreated, untreated, w.sum()))
        return Values(*map(np.array, zip(*values, strict=True)))

    return Answer([(NAN, NAN, since) for since in sorted(known)], [], at)


def imputation(sample: Sample, leads: int | None = None) -> Answer:
    if sample.first_treated is None:
        return imputation_of_spells(sample, leads)
    last = -1.0 - sample.question.anticipation
    start, q = treated_from(sample), len(sample.x_by_period)
    before = sample.periods < np.where(np.isnan(start), np.inf, start)[:, None]
    unit, period = cells(sample, before)
    n, n_periods = sample.n_units, len(sample.periods)

    def row(i: Any, t: Any) -> Array:
        return np.hstack(
            [i[:, None] == np.arange(n), t[:, None] == np.arange(n_periods), covariates(sample, i, t)]
        ).astype(float)

    x = row(unit, period)
    first = Regression(sample.y[unit, period], x, unit, sample.weights)
    of_covariates = np.eye(x.shape[1])[:, x.shape[1] - q :]
    if not first.knows(of_covariates).all():
        raise Refused("a covariate is explained")
    seen_before = np.isin(np.arange(n), unit)
    after_unit, after_period = cells(sample, ~before & seen_before[:, None])
    x_after = row(after_unit, after_period)
    cohort, time = sample.first_treated[after_unit], sample.periods[after_period].astype(float)
    terms = []
    for g, t in sorted(set(zip(cohort, time, strict=True))):
        here = (cohort == g) & (time == t)
        share = sample.weights[after_unit[here]]
        if first.knows((share @ x_after[here] / share.sum())[:, None]).all():
            terms.append((float(g), float(t)))
    if not terms:
        raise Refused("nothing can be estimated")

    event = sample.periods[period] - sample.first_treated[unit]
    times = [e for e in np.unique(event[~np.isnan(event)]) if e <= last]
    times = [e for e in times if leads is None or e > last - leads]
    regressed = [e for e in times if leads is not None or e != last]
    inside = (event[:, None] == np.array(regressed)).astype(float).reshape(len(unit), len(regressed))
    second = Regression(first.y, np.hstack([inside, x]), unit, sample.weights)
    if leads != 0 and not second.knows(np.vstack([np.zeros((len(regressed), q)), of_covariates])).all():
        raise Refused("a covariate is explained by the leads")
    known = second.knows(unit_columns(len(regressed), len(second.scale)))
    kept = np.flatnonzero(known)

    def at(weights: Array) -> Values:
        b = first.coefficients(weights)
        linear, untreated, size = [], [], []
        for g, t in terms:
            here = (cohort == g) & (time == t)
            w = weights[after_unit[here]]
            predicted = weighted_mean(x_after[here] @ b, w)
            linear.append(weighted_mean(sample.y[after_unit[here], after_period[here]], w) - predicted)
            untreated.append(predicted)
            size.append(w.sum())
        of_leads = second.coefficients(weights)
        for c in kept:
            here = inside[:, c] == 1
            linear.append(of_leads[c])
            untreated.append(weighted_mean(first.y[here], weights[unit[here]]) - of_leads[c])
            size.append(0.0)
        return Values(np.array(linear), np.array(untreated), np.array(size))

    lead_terms: list[Key] = [(NAN, NAN, regressed[c]) for c in kept]
    return Answer(
        [(g, t, t - g) for g, t in terms] + lead_terms,
        [(NAN, NAN, last)] if leads is None and last in times else [],
        at,
    )


def poisson_twfe(sample: Sample, terms: str = "treatment") -> Answer:
    if sample.question.scale == "log1p" or np.nanmin(sample.y) < 0 or not np.nansum(sample.y):
        raise Refused("no counts")
    base = -1.0 - sample.question.anticipation
    everyone = np.ones(sample.n_units, dtype=bool)
    unit, period = cells(sample, everyone)
    total = np.bincount(unit, sample.y[unit, period], sample.n_units)
    unit, period = cells(sample, total > 0)
    event = sample.periods[period] - sample.first_treated[unit]
    if terms == "treatment":
        keys = [NAN]
        inside = (event >= -sample.question.anticipation)[:, None]
    else:
        keys = [float(e) for e in np.unique(event[~np.isnan(event)]) if e != base]
        inside = (event[:, None] == np.array(keys)).reshape(len(unit), len(keys))
    y = sample.y[unit, period]
    empty = np.array([bool(i.any() and not y[i].sum()) for i in inside.T], dtype=bool)
    at_zero = event[:, None] == base
    base_empty = terms == "event_time" and at_zero.any() and not y[at_zero[:, 0]].sum()
    lost = inside[:, empty].any(axis=1) | (np.bincount(period, y)[period] == 0)
    if base_empty:
        lost |= at_zero[:, 0]
    unit, period, y, inside = unit[~lost], period[~lost], y[~lost], inside[~lost][:, ~empty].astype(float)
    keys = [e for e, none in zip(keys, empty, strict=True) if not none]
    if not keys:
        raise Refused("nothing can be estimated")
    x = np.hstack([inside, covariates(sample, unit, period), two_way(sample, unit, period)])
    made = PoissonRegression(y, x, unit, sample.weights)
    k = len(keys)
    if not made.knows(unit_columns(k + len(sample.x_by_period), x.shape[1])).all():
        raise Refused("a regressor is explained")

    def at(weights: Array) -> Values:
        b = made.coefficients(weights)[:k]
        mean = np.array([weighted_mean(y[i == 1], weights[unit[i == 1]]) for i in inside.T])
        untreated = mean * np.exp(-b)
        return Values(mean - untreated, untreated, np.ones(k))

    return Answer(
        [(NAN, NAN, e) for e in keys],
        [(NAN, NAN, base)] if terms == "event_time" and not base_empty else [],
        at,
        n_obs=len(unit),
        rank=made.rank,
        nested=len(np.unique(unit)),
        clusters=len(np.unique(sample.cluster[unit])),
        averages=terms == "event_time",
    )
