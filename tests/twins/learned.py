"""Double machine learning with linear learners: each fold's predictions by plain regressions, each score written out.

Folds are the design's own, since they are drawn; so is the refusal of folds from which nothing can be learned.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from study.core.errors import StudyError
from study.designs import find_design
from study.learners.nuisances import Folds, Nuisances
from study.panel.question import Sample
from twins.comparisons import _cells, _sides
from twins.plain import NAN, Answer, Array, Logit, Refused, Unsettled, Values, weighted_mean
from twins.regressions import treated_from, with_base

DEFAULTS = {
    "learner": "linear",
    "propensity": "linear",
    "folds": 2,
    "repetitions": 1,
    "trim": 0.01,
    "seed": 0,
}


def _asked(sample: Sample, design: str, options: dict[str, Any]) -> Nuisances:
    made = find_design(design)
    assert made.nuisances is not None
    try:
        return made.nuisances_of(sample, **options)
    except StudyError as error:
        raise Refused(f"folds: {error}") from None


def _least_squares(x: Array, y: Array, at: Array) -> Array:
    """Return the predictions of a regression on a constant and x."""
    full = np.column_stack([np.ones(len(x)), x])
    size = np.sqrt((full**2).sum(axis=0))
    values = np.linalg.svd(full / np.where(size > 0, size, 1.0), compute_uv=False)
    if len(full) < full.shape[1] or values[-1] < 1e-3 * values[0]:
        raise Unsettled("covariates are collinear among the training rows")
    return np.column_stack([np.ones(len(at)), at]) @ np.linalg.lstsq(full, y, rcond=None)[0]


def _probabilities(x: Array, d: Array, at: Array) -> Array:
    if not x.shape[1]:
        return np.full(len(at), d.mean())
    full = np.column_stack([np.ones(len(x)), x])
    try:
        logit = Logit(d == 1, full, np.arange(len(x)), np.ones(len(x)))
    except Refused:
        raise Unsettled("covariates separate the training rows") from None
    return logit.probability(np.ones(len(x)), np.column_stack([np.ones(len(at)), at]))


def _cross_fitted(x: Array, target: Array, fold: Array, kind: str, among: Array | None = None) -> Array:
    """Return the predictions of rows by the rows of other folds, or with a single fold by all."""
    made = np.empty(len(target))
    usable = np.ones(len(target), dtype=bool) if among is None else among
    for k in np.unique(fold):
        asked = fold == k
        train = usable & (~asked if len(np.unique(fold)) > 1 else True)
        how = _least_squares if kind == "mean" else _probabilities
        made[asked] = how(x[train], target[train], x[asked])
    return made


def _of_score(
    sample: Sample, parts: list[tuple[Array, Array]], linear: Array, mean: Any, **more: Any
) -> Answer:
    """Return the answer of given effects and influences, (n, K); ``mean`` gives treated means at weights."""
    n = sample.n_units
    psi = np.mean([influence for _, influence in parts], axis=0)

    def at(weights: Array) -> Values:
        effect = linear + (weights / sample.weights - 1) @ psi / n
        size = more["size"](weights) if "size" in more else np.ones(len(linear))
        return Values(effect, mean(weights) - effect, size)

    return Answer(
        more["terms"],
        more.get("references", []),
        at,
        open=more.get("open", ()),
        shares_fixed=more.get("shares_fixed", False),
        averages="averages" in more,
    )


class _Long:
    """One row a unit: the change between the ends of the window."""

    def __init__(self, sample: Sample, before: int, after: int) -> None:
        seen = ~np.isnan(sample.y)
        self.unit = np.array(
            [i for i in range(sample.n_units) if seen[i, :before].all() and seen[i, -after:].all()], dtype=int
        )
        self.start = np.array([np.mean(sample.y[i, :before]) for i in self.unit])
        self.end = np.array([np.mean(sample.y[i, -after:]) for i in self.unit])
        self.change = self.end - self.start
        self.d = (treated_from(sample)[self.unit] <= sample.periods[-1]).astype(float)
        self.x = sample.x_baseline[self.unit]


def _separated(d: Array, m: Array, both: bool) -> bool:
    """Return whether, by these chances, weighted units of one kind add up to less than a tenth of the other."""
    others = np.sum((1 - d) * m / (1 - m)) + (np.sum(d * (1 - m) / m) if both else 0.0)
    return bool(others <= 0.1 * (len(d) if both else d.sum()))


def _refuse_separated(d: Array, m: Array, both: bool) -> None:
    if _separated(d, m, both):
        raise Refused("covariates nearly tell which kind a unit is of")


def dml_irm(sample: Sample, effect: str = "att", before: int = 1, after: int = 1, **options: Any) -> Answer:
    used = DEFAULTS | options
    asked = _asked(sample, "dml_irm", used | {"effect": effect, "before": before, "after": after})
    long, trim = _Long(sample, before, after), used["trim"]
    n, d, y = len(long.unit), long.d, long.change
    found = []
    for fold in asked.parts[0].folds.fold.T:
        g0 = _cross_fitted(long.x, y, fold, "mean", d == 0)
        m = np.minimum(_cross_fitted(long.x, d, fold, "probability"), 1 - trim)
        if effect == "ate":
            m = np.maximum(m, trim)
        _refuse_separated(d, m, effect == "ate")
        if effect == "att":
            share = d.mean()
            score = (d - (1 - d) * m / (1 - m)) * (y - g0) / share
            theta, slope = score.mean(), d / share
        else:
            g1 = _cross_fitted(long.x, y, fold, "mean", d == 1)
            score = g1 - g0 + d * (y - g1) / m - (1 - d) * (y - g0) / (1 - m)
            theta, slope = score.mean(), np.ones(n)
        psi = np.zeros((sample.n_units, 1))
        psi[long.unit, 0] = sample.n_units * (score - slope * theta) / n
        found.append((theta, psi))
    linear = np.array([np.mean([theta for theta, _ in found])])
    treated = long.unit[d == 1]

    def mean(weights: Array) -> Array:
        return np.array([weighted_mean(long.end[d == 1], weights[treated])])

    return _of_score(sample, found, linear, mean, terms=[(NAN, NAN, NAN)])


def dml_iv(sample: Sample, model: str = "iivm", before: int = 1, after: int = 1, **options: Any) -> Answer:
    used = DEFAULTS | options
    asked = _asked(sample, "dml_iv", used | {"model": model, "before": before, "after": after})
    long = _Long(sample, before, after)
    z, d, y, x = sample.instrument[long.unit], long.d, long.change, long.x
    found = []
    for fold in asked.parts[0].folds.fold.T:
        if model == "pliv":
            left = [v - _cross_fitted(x, v, fold, "mean") for v in (y, d, z)]
            above, below = left[0] * left[2], left[1] * left[2]
        else:
            m = np.clip(_cross_fitted(x, z, fold, "probability"), used["trim"], 1 - used["trim"])
            _refuse_separated(z, m, both=True)
            g = [_cross_fitted(x, y, fold, "mean", z == arm) for arm in (0, 1)]
            r = [
                _cross_fitted(x, d, fold, "probability", z == arm)
                if np.any(d[z == arm] != arm)
                else np.full(len(d), float(arm))
                for arm in (0, 1)
            ]
            above, below = (
                v1 - v0 + z * (v - v1) / m - (1 - z) * (v - v0) / (1 - m) for v, v0, v1 in ((y, *g), (d, *r))
            )
        if abs(below.sum()) < 1e-6 * np.abs(below).sum():
            raise Unsettled("the instrument moves nobody")
        theta = above.sum() / below.sum()
        psi = np.zeros((sample.n_units, 1))
        psi[long.unit, 0] = sample.n_units * (above - theta * below) / below.sum()
        found.append((theta, psi))
    linear = np.array([np.mean([theta for theta, _ in found])])
    return _of_score(sample, found, linear, lambda weights: np.full(1, np.nan), terms=[(NAN, NAN, NAN)])


def dml_did(sample: Sample, variance: str = "sampling", **options: Any) -> Answer:
    used = DEFAULTS | options
    asked = _asked(sample, "dml_did", used)
    fold_of = np.full((sample.n_units, used["repetitions"]), -1)
    for part in asked.parts:
        fold_of[part.unit] = part.folds.fold
    n, found, references, unknown = sample.n_units, [], [], []
    for g, now, base in _cells(sample):
        t = float(sample.periods[now])
        if len(np.unique(sample.cluster[sample.first_treated == g])) < used["folds"]:
            continue
        key, side = (g, t, t - g), _sides(sample, g, now, base)
        if now == base:
            if len(side.treated_now):
                references.append(key)
            continue
        rows = np.sort(np.concatenate([side.treated_now, side.compared_now]))
        d = np.isin(rows, side.treated_now)
        if not d.any() or d.all():
            continue
        fold = fold_of[rows]
        if (fold < 0).any():
            unknown.append(key)
            continue
        cluster = sample.cluster[rows]
        if any(
            len(np.unique(cluster[(f != k) & group])) < 2 or not (f == k).any()
            for f in fold.T
            for k in range(used["folds"])
            for group in (d, ~d)
        ):
            continue
        x = sample.x_baseline[rows]
        chances = [
            np.clip(_cross_fitted(x, d.astype(float), f, "probability"), 1e-12, 1 - used["trim"])
            for f in fold.T
        ]
        if not any(_separated(d, p, both=False) for p in chances):
            found.append((key, rows, d, fold, chances, now, base))
    if not found:
        raise Unsettled("no cell can be learned from") if unknown else Refused("nothing can be estimated")
    linear, draws = np.zeros(len(found)), np.zeros((used["repetitions"], n, len(found)))
    for k, (_, rows, d, fold, chances, now, base) in enumerate(found):
        change, x = sample.y[rows, now] - sample.y[rows, base], sample.x_baseline[rows]
        for r, (f, p) in enumerate(zip(fold.T, chances, strict=True)):
            g_hat = _cross_fitted(x, change, f, "mean", ~d)
            odds = np.where(d, 0.0, p / (1 - p))
            weight = d / d.sum() - odds / odds.sum()
            theta = weight @ (change - g_hat)
            draws[r, rows, k] = n * (weight * (change - g_hat) - d / d.sum() * theta)
            linear[k] += theta / used["repetitions"]

    def mean(weights: Array) -> Array:
        return np.array(
            [weighted_mean(sample.y[rows[d], now], weights[rows[d]]) for _, rows, d, _, _, now, _ in found]
        )

    def size(weights: Array) -> Array:
        return np.array([weights[sample.first_treated == key[0]].sum() for key, *_ in found])

    return _of_score(
        sample,
        [(None, draw) for draw in draws],
        linear,
        mean,
        size=size,
        terms=[key for key, *_ in found],
        references=references,
        open=unknown,
        averages=True,
        shares_fixed=variance == "conditional",
    )


def dml_stacked(
    sample: Sample, before: int | None = None, after: int | None = None, **options: Any
) -> Answer:
    used = DEFAULTS | options
    asked = _asked(sample, "dml_stacked", used | {"before": before, "after": after})
    fold_of = np.full((sample.n_units, used["repetitions"]), -1)
    for part in asked.parts:
        fold_of[part.unit] = part.folds.fold
    q, first, y, n = sample.question, sample.first_treated, sample.y, sample.n_units
    d, one = q.anticipation, used["folds"] == 1
    column = {int(t): k for k, t in enumerate(sample.periods)}

    def rows(g: float, event: int | None) -> tuple[list[int], list[int]]:
        """Return treated and comparison units of a stack, at an event time or just before treatment."""
        base = int(g) - 1 - d
        now = base if event is None else int(g) + event
        if now not in column:
            return [], []
        seen = [i for i in range(n) if not np.isnan(y[i, [column[now], column[base]]]).any()]
        until = max(now, base)
        late = [
            i
            for i in seen
            if np.isnan(first[i])
            or (q.comparison == "not_yet_treated" and first[i] - d > until and first[i] != g)
        ]
        return [i for i in seen if first[i] == g], late

    least = 1 if one else 2
    cohorts = with_base(sample)
    events = {}
    times = range(int(sample.periods[0] - max(cohorts)), int(sample.periods[-1] - min(cohorts)) + 1)
    for e in times:
        if e == -1 - d or (before is not None and e < -d - before) or (after is not None and e > after):
            continue
        stacks = {}
        for g in cohorts:
            ours, theirs = rows(g, e)
            if ours and len(np.unique(sample.cluster[theirs])) >= least:
                stacks[g] = ours, theirs
        if stacks:
            events[e] = stacks
    if not events:
        raise Refused("nothing can be estimated")
    stacked = {g: rows(g, None) for g in cohorts if any(g in stacks for stacks in events.values())}
    size = {g: int(np.sum(first == g)) for g in cohorts}
    x = sample.x_baseline
    linear, draws = np.zeros(len(events)), np.zeros((used["repetitions"], n, len(events)))
    for r in range(used["repetitions"]):
        fold = fold_of[:, r]
        unit = np.array([i for ours, theirs in stacked.values() for i in (*ours, *theirs)])
        treated = np.array(
            [float(w) for ours, theirs in stacked.values() for w in ([1] * len(ours) + [0] * len(theirs))]
        )
        odds = np.zeros(n)
        for k in np.unique(fold[unit]):
            train = fold[unit] != k if not one else np.ones(len(unit), dtype=bool)
            p = _probabilities(x[unit[train]], treated[train], x)
            p = np.minimum(p, 1 - used["trim"])
            odds[fold == k] = (p / (1 - p))[fold == k]
        if odds[unit[treated == 0]].sum() <= 0.1 * treated.sum():
            raise Refused("covariates nearly tell who adopts")
        for column_of, (e, stacks) in enumerate(events.items()):
            total = sum(size[g] for g in stacks)
            effect, psi = {}, np.zeros(n)
            for g, (ours, theirs) in stacks.items():
                change = y[:, column[int(g) + e]] - y[:, column[int(g) - 1 - d]]
                here = np.array(ours + theirs)
                residual = np.zeros(n)
                for k in np.unique(fold[here]):
                    train = [i for i in theirs if one or fold[i] != k]
                    asked_now = here[fold[here] == k]
                    residual[asked_now] = change[asked_now] - _least_squares(
                        x[train], change[train], x[asked_now]
                    )
                mean = residual[ours].mean()
                share = odds[theirs] / odds[theirs].sum()
                implied = share @ residual[theirs]
                effect[g] = mean - implied
                psi[ours] += n * size[g] / total * (residual[ours] - mean) / len(ours)
                np.add.at(psi, theirs, -n * size[g] / total * share * (residual[theirs] - implied))
            average = sum(size[g] * effect[g] for g in stacks) / total
            # Shares are averaged effects' own: their influence is linear in the effects of a draw.
            for g in stacks:
                psi[first == g] += n / total * (effect[g] - average)
            draws[r, :, column_of] = psi
            linear[column_of] += average / used["repetitions"]

    def mean(weights: Array) -> Array:
        made = []
        for e, stacks in events.items():
            levels = [
                weighted_mean(y[ours, column[int(g) + e]], weights[ours]) for g, (ours, _) in stacks.items()
            ]
            sizes = np.array([weights[first == g].sum() for g in stacks])
            made.append(sizes @ np.array(levels) / sizes.sum())
        return np.array(made)

    return _of_score(
        sample,
        [(None, draw) for draw in draws],
        linear,
        mean,
        terms=[(NAN, NAN, float(e)) for e in events],
        references=[(NAN, NAN, -1.0 - d)],
        averages=True,
        size=lambda weights: np.array([sum(weights[first == g].sum() for g in s) for s in events.values()]),
    )


def _two_way_effects(unit: Array, period: Array, target: Array) -> dict[int, float]:
    """Return period effects of a regression on unit and period effects, zero on average."""
    units, periods = np.unique(unit), np.unique(period)
    x = np.hstack([unit[:, None] == units, period[:, None] == periods]).astype(float)
    if np.linalg.matrix_rank(x) < x.shape[1] - 1:
        raise Unsettled("the training rows are not connected")
    b = np.linalg.lstsq(x, target, rcond=None)[0][len(units) :]
    return dict(zip(periods, b - b.mean(), strict=True))


def dml_panel(sample: Sample, approach: str = "first_differences", **options: Any) -> Answer:
    used = {"learner": "linear", "folds": 2, "repetitions": 1, "seed": 0} | options
    asked = _asked(sample, "dml_panel", used | {"approach": approach})
    d = (
        sample.path
        if sample.first_treated is None
        else (sample.periods >= treated_from(sample)[:, None]) * 1.0
    )
    y, x = sample.y, sample.x_varying
    seen = ~np.isnan(y) & ~np.isnan(d)
    rows = []
    for i in range(sample.n_units):
        own = np.flatnonzero(seen[i])
        if approach == "first_differences":
            rows += [
                (
                    i,
                    t,
                    y[i, t] - y[i, t - 1],
                    d[i, t] - d[i, t - 1],
                    [*x[i, t - 1], *x[i, t]],
                )
                for t in own
                if t - 1 in own
            ]
        elif len(own) > 1:
            rows += [(i, t, y[i, t], d[i, t], [*x[i, t], *x[i, own].mean(axis=0)]) for t in own]
    unit, period, outcome, treatment = (np.array(column) for column in list(zip(*rows, strict=True))[:4])
    # A covariate that is fixed in time comes twice; floating means of it are the same number.
    full = np.array([row[4] for row in rows]).reshape(len(rows), -1)
    kept: list[int] = []
    for c in range(full.shape[1]):
        if not any(np.allclose(full[:, c], full[:, k], rtol=0, atol=1e-12) for k in kept):
            kept.append(c)
    features = full[:, kept]
    found = []
    for fold in asked.parts[0].folds.fold.T:
        left = []
        for which, target in (("outcome", outcome), ("treatment", treatment)):
            prediction = np.empty(len(target))
            for k in np.unique(fold):
                train, ask = fold != k, fold == k
                if approach == "first_differences":
                    known = np.array([target[train & (period == t)].mean() for t in period])
                else:
                    effects = _two_way_effects(unit[train], period[train], target[train])
                    known = np.array([effects[t] for t in period])
                    if approach == "within":
                        rest = target - known
                        known = known + np.array([rest[unit == i].mean() for i in unit])
                prediction[ask] = known[ask]
                if features.shape[1]:
                    for t in np.unique(period[ask]):
                        now = ask & (period == t)
                        learn = train & (period == t)
                        fitted = _least_squares(features[learn], (target - known)[learn], features[now])
                        prediction[now] += fitted
            if approach == "correlated_random_effects" and which == "treatment":
                rest = target - prediction
                prediction = prediction + np.array([rest[unit == i].mean() for i in unit])
            left.append(target - prediction)
        u, v = left
        if v @ v < 1e-8 * max(treatment @ treatment, 1.0):
            raise Unsettled("nothing is left of treatment")
        theta = u @ v / (v @ v)
        psi = np.zeros((sample.n_units, 1))
        np.add.at(psi[:, 0], unit, sample.n_units * v * (u - theta * v) / (v @ v))
        found.append((theta, psi))
    if approach == "first_differences":
        cells = sorted(
            {(i, t if c > 0 else t - 1) for i, t, c in zip(unit, period, treatment, strict=True) if c}
        )
    else:
        cells = [(i, t) for i, t in zip(unit, period, strict=True) if d[i, t] == 1]
    who, when = np.array(cells, dtype=int).reshape(-1, 2).T

    def mean(weights: Array) -> Array:
        return np.array([weighted_mean(y[who, when], weights[who])])

    linear = np.array([np.mean([theta for theta, _ in found])])
    return _of_score(sample, found, linear, mean, terms=[(NAN, NAN, NAN)])


def splits(folds: Folds) -> list[list[tuple[Array, Array]]]:
    """Return folds as doubleml and econml take them: by draw and fold the rows that train and those left out."""
    return [
        [(np.flatnonzero(fold != k), np.flatnonzero(fold == k)) for k in range(folds.number)]
        for fold in folds.fold.T
    ]
