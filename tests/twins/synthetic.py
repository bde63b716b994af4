"""Synthetic comparisons: weights by trying every support, factors by refits without each unit."""

from __future__ import annotations

from itertools import product

import numpy as np
from numpy.typing import NDArray

from study.panel.question import Sample
from twins.plain import Answer, Array, Refused, Unsettled, Values
from twins.regressions import treated_from


def _blocks(sample: Sample, least: int) -> list[tuple[float, int, Array, Array]]:
    """Return cohort, periods before treatment, and the rows of comparison and treated units."""
    free = np.flatnonzero(~(treated_from(sample) <= sample.periods[-1]))
    if len(free) < 2:
        raise Refused("fewer than two comparison units")
    found = []
    for g in sample.cohorts:
        before = int(np.sum(sample.periods < g - sample.question.anticipation))
        if before >= least:
            found.append((float(g), before, free, np.flatnonzero(sample.first_treated == g)))
    if not found:
        raise Refused("nothing can be estimated")
    return found


def simplex(columns: Array, target: Array, zeta: float) -> Array:
    """Return the least squares weights that are positive and add up to one: the best of all supports.

    The mean square of columns @ w - target, plus zeta^2 w'w.
    """
    m, n = columns.shape
    left = np.vstack([columns, np.sqrt(m) * zeta * np.eye(n)])
    right = np.concatenate([target, np.zeros(n)])
    losses, found = [], []
    for support in product([False, True], repeat=n):
        use = np.flatnonzero(support)
        if not len(use):
            continue
        k = len(use)
        even = np.full(k, 1 / k)
        around = np.linalg.qr(np.column_stack([np.ones(k), np.eye(k)[:, 1:]]))[0][:, 1:]
        own = left[:, use]
        free = np.linalg.lstsq(own @ around, right - own @ even, rcond=None)[0] if k > 1 else np.zeros(0)
        w = even + around @ free
        if w.min() < -1e-12:
            continue
        losses.append(float(np.sum((own @ w - right) ** 2)))
        found.append(np.zeros(n))
        found[-1][use] = w
    best = int(np.argmin(losses))
    for loss, w in zip(losses, found, strict=True):
        if loss <= losses[best] * (1 + 1e-5) and np.abs(w - found[best]).max() > 1e-9:
            raise Unsettled("two sets of weights fit equally well up to rounding")
    kept = np.where(found[best] < 1e-9, 0.0, found[best])  # what is less is the ridge's
    return kept / kept.sum()


def _from_jackknife(sample: Sample, pieces: list[tuple[float, int, Array, Array, Array, Array]]) -> Answer:
    """Return the answer whose influence is pseudo-values: cohort, first period, rows, effect, without, mean without.

    Effects have shape (T1,), those without each unit (m, T1).
    """
    n, terms = sample.n_units, []
    linear, untreated, of_linear, of_untreated, cohort = [], [], [], [], []
    # The unit of a cohort of one cannot be left out, and has no influence.
    last = {piece[0]: len(piece[2]) - (len(piece[6]) == 1) for piece in pieces}
    defined = all(np.isfinite(piece[4][: last[piece[0]]]).all() for piece in pieces)
    for g, before, rows, effect, without, mean_without, own in pieces:
        mean = sample.y[own, before:].mean(axis=0)
        for k, t in enumerate(sample.periods[before:]):
            terms.append((g, float(t), float(t - g)))
            linear.append(effect[k])
            untreated.append(mean[k] - effect[k])
            cohort.append(g)
            for psi, left in ((of_linear, without[:, k]), (of_untreated, mean_without[:, k] - without[:, k])):
                value = np.zeros(n)
                if defined:
                    left = left[: last[g]]
                    value[rows[: last[g]]] = (n - 1) * (left.mean() - left)
                psi.append(value)
    first = sample.first_treated
    psi_linear, psi_untreated = np.array(of_linear), np.array(of_untreated)

    def at(weights: Array) -> Values:
        moved = (weights / sample.weights - 1) / n
        return Values(
            np.array(linear) + psi_linear @ moved,
            np.array(untreated) + psi_untreated @ moved,
            np.array([weights[first == g].sum() for g in cohort]),
        )

    return Answer(terms, [], at, shares_fixed=not defined)


def _without_each(values: Array) -> Array:
    """Return the means without each row, NaN for a single one."""
    if len(values) == 1:
        return np.full(values.shape, np.nan)
    return np.array([np.delete(values, i, axis=0).mean(axis=0) for i in range(len(values))])


def _means_without(treated: Array, n_free: int) -> Array:
    """Return the treated units' means without each comparison unit, which are all the same, and each of themselves."""
    return np.vstack([np.tile(treated.mean(axis=0), (n_free, 1)), _without_each(treated)])


def synthetic_did(sample: Sample, method: str = "synthetic_did") -> Answer:
    pieces = []
    for g, before, free, own in _blocks(sample, 2):
        control, treated = sample.y[free], sample.y[own]
        early, late = control[:, :before], control[:, before:]
        differences = np.diff(early, axis=1)
        sigma = float(differences.std(ddof=1)) if early.size > 2 else 0.0
        if sigma < 1e-8:
            raise Unsettled("weights are not unique without noise")
        target = treated[:, :before].mean(axis=0)
        time = np.zeros(before)
        if method == "synthetic_control":
            omega = simplex(early.T, target, 1e-6 * sigma)
        else:
            zeta = (len(own) * late.shape[1]) ** 0.25 * sigma
            omega = simplex((early - early.mean(axis=1, keepdims=True)).T, target - target.mean(), zeta)
            centred, after = early - early.mean(axis=0), late.mean(axis=1)
            time = simplex(centred, after - after.mean(), 1e-6 * sigma)
        z = [block[:, before:] - (block[:, :before] @ time)[:, None] for block in (control, treated)]
        effect = z[1].mean(axis=0) - omega @ z[0]
        without = []
        for j in range(len(free)):
            others = np.delete(omega, j)
            if 1e-8 < others.sum() < 1e-5:
                raise Unsettled("nearly all weight is on one unit")
            if others.sum() <= 1e-8:
                without.append(np.full(len(effect), np.nan))
            else:
                without.append(z[1].mean(axis=0) - others / others.sum() @ np.delete(z[0], j, axis=0))
        without = np.vstack([without, _without_each(z[1]) - omega @ z[0]])
        mean_without = _means_without(treated[:, before:], len(free))
        pieces.append((g, before, np.concatenate([free, own]), effect, without, mean_without, own))
    return _from_jackknife(sample, pieces)


def _interactive(y: Array, x: Array, r: int, start: Array | None) -> tuple[Array, Array, Array]:
    """Return period effects, factors (T, r) and slopes, by turns until nothing moves."""

    def within(block: Array) -> Array:
        return block - block.mean(axis=0) - block.mean(axis=1, keepdims=True) + block.mean()

    q = x.shape[2]
    columns = np.column_stack([within(x[:, :, k]).ravel() for k in range(q)]) if q else np.empty((y.size, 0))
    size = np.sqrt((x**2).sum(axis=(0, 1)))
    if q:
        values = np.linalg.svd(columns / np.where(size > 0, size, 1.0), compute_uv=False)
        if len(columns) < q or values[-1] <= 1e-9:
            raise Refused("a covariate is explained")
        if values[-1] < 1e-3:
            raise Unsettled("a covariate is nearly explained")
    slope = start if start is not None else np.linalg.lstsq(columns, within(y).ravel(), rcond=None)[0]
    for step in range(20_001):
        left = within(y) - (columns @ slope).reshape(y.shape)
        _, s, v = np.linalg.svd(left, full_matrices=True)
        s = np.concatenate([s, np.zeros(max(0, len(v) - len(s)))])
        after = s[r] if r < len(s) else 0.0
        factors = v[:r].T
        common = left @ factors @ factors.T
        moved = np.linalg.lstsq(columns, (within(y) - common).ravel(), rcond=None)[0]
        change = np.abs(moved - slope).max(initial=0.0)
        slope = moved
        if change < 1e-14 * max(1.0, np.abs(slope).max(initial=0.0)):
            break
        if step > 3_000:
            raise Unsettled("slopes settle slowly")
    if r and s[r - 1] - after < 1e-3 * max(s[0], 1e-9):
        raise Unsettled("the last factor is not unique")
    return (y - x @ slope).mean(axis=0), factors, slope


def _predicted(fitted: tuple[Array, Array, Array], y: Array, x: Array, before: int) -> Array:
    period, factors, slope = fitted
    loaded = np.column_stack([np.ones(len(factors)), factors])
    values = np.linalg.svd(loaded[:before], compute_uv=False)
    if len(values) < loaded.shape[1] or values[-1] <= 1e-12:
        raise Refused("loadings are not identified")
    if values[-1] < 1e-3:
        raise Unsettled("loadings are nearly not identified")
    common = period + x @ slope
    own = np.linalg.lstsq(loaded[:before], (y - common)[:, :before].T, rcond=None)[0]
    return common + (loaded @ own).T


def generalized_synthetic_control(sample: Sample, factors: int | None = None) -> Answer:
    if any(np.isnan(block).any() for block in sample.x_by_period):
        raise Refused("a covariate has gaps")
    parts = _blocks(sample, 2 if factors is None else factors + 1)
    free = parts[0][2]
    if len(free) < (factors or 0) + 2:
        raise Refused("too few comparison units")
    y, x = sample.y, sample.x_varying
    number = factors
    if number is None:
        most = min(5, min(part[1] for part in parts) - 2, len(free) - 3)
        losses = []
        for r in range(max(most, 0) + 1):
            fitted = _interactive(y[free], x[free], r, None)
            errors = []
            for _, before, _, own in parts:
                for i, s in product(own, range(before)):
                    keep = [t for t in range(before) if t != s]
                    left = y[i] - fitted[0] - x[i] @ fitted[2]
                    loaded = np.column_stack([np.ones(len(left)), fitted[1]])
                    b = np.linalg.lstsq(loaded[keep], left[keep], rcond=None)[0]
                    errors.append((left[s] - loaded[s] @ b) ** 2)
            losses.append(np.mean(errors))
        number = int(np.argmin(losses))
        others = np.delete(losses, number)
        if len(others) and others.min() - losses[number] < 1e-7 * (1 + losses[number]):
            raise Unsettled("two numbers of factors predict alike")
    whole = _interactive(y[free], x[free], number, None)
    refits = []
    if len(free) > number + 2:
        for j in range(len(free)):
            kept = np.delete(free, j)
            refits.append(_interactive(y[kept], x[kept], number, whole[2]))
    pieces = []
    for g, before, _, own in parts:
        gaps = (y[own] - _predicted(whole, y[own], x[own], before))[:, before:]
        left = [(y[own] - _predicted(f, y[own], x[own], before))[:, before:].mean(axis=0) for f in refits]
        without = np.vstack(
            [left if refits else np.full((len(free), gaps.shape[1]), np.nan), _without_each(gaps)]
        )
        mean_without = _means_without(y[own, before:], len(free))
        pieces.append((g, before, np.concatenate([free, own]), gaps.mean(axis=0), without, mean_without, own))
    return _from_jackknife(sample, pieces)


def _completed(
    y: Array, x: Array, informs: NDArray[np.bool_], penalty: float | None, r: int
) -> tuple[Array, NDArray[np.bool_]]:
    """Return outcomes less their prediction, shape (n, T), and which units have one, by turns until nothing moves.

    Two-way effects and slopes are regressed on the cells that inform, with the factor part held; then that part is the
    nearest of its rank, or shrunk, to what they leave there and to itself elsewhere.
    """
    n_periods = y.shape[1]
    enough = informs.sum(axis=1) > (r if penalty is None else 0)
    seen = informs & enough[:, None]
    unit, period = np.nonzero(np.ones(y.shape, dtype=bool))
    x = np.nan_to_num(x)
    dummies = [unit[:, None] == np.flatnonzero(enough), period[:, None] == np.arange(n_periods)]
    columns = np.hstack([*dummies, x.reshape(y.size, -1)]).astype(float)
    own = columns[seen.ravel()]
    if not len(own):
        raise Refused("no cell informs")
    size = np.sqrt((own**2).sum(axis=0))
    values = np.linalg.svd(own / np.where(size > 0, size, 1.0), compute_uv=False)
    wanted = int(enough.sum()) + n_periods + x.shape[2] - 1
    if np.any((values > 1e-12 * values[0]) & (values < 1e-3 * values[0])):
        raise Unsettled("effects are nearly not identified")
    if int((values > 1e-9 * values[0]).sum()) < wanted:
        raise Refused("effects are not identified")
    solve = np.linalg.pinv(own, rcond=1e-9)
    factor_part, level = np.zeros(y.shape), (penalty or 0.0) * enough.sum() * n_periods
    for _ in range(3_000 if penalty is None else 60_000):
        two_way = (columns @ (solve @ (y - factor_part)[seen])).reshape(y.shape)
        filled = np.where(seen, y - two_way, factor_part)[enough]
        u, s, v = np.linalg.svd(filled, full_matrices=False)
        kept = np.where(np.arange(len(s)) < r, s, 0.0) if penalty is None else np.maximum(s - level, 0.0)
        moved = np.zeros(y.shape)
        moved[enough] = (u * kept) @ v
        change, factor_part = np.abs(moved - factor_part).max(), moved
        if change < 1e-14 * max(1.0, np.abs(y[seen]).max()):
            break
    else:
        raise Unsettled("the factors settle slowly")
    if penalty is None and 0 < r < len(s) and s[r - 1] - s[r] < 1e-3 * max(s[0], 1e-9):
        raise Unsettled("the last factor is not unique")
    for periods in seen[enough] if penalty is None and r else ():
        loaded = np.linalg.svd(np.column_stack([np.ones(n_periods), v[:r].T])[periods], compute_uv=False)
        if loaded[-1] < 1e-2 * loaded[0]:
            raise Unsettled("loadings are nearly not identified")
    two_way = (columns @ (solve @ (y - factor_part)[seen])).reshape(y.shape)
    return y - two_way - factor_part, enough


def _spells(path: Array) -> Array:
    """Return the periods since treatment began; NaN without it, and where it began before the panel."""
    since = np.full(path.shape, np.nan)
    for i, t in zip(*np.nonzero(path == 1), strict=True):
        first = t
        while first > 0 and path[i, first - 1] == 1:
            first -= 1
        if first > 0 and path[i, first - 1] == 0:
            since[i, t] = t - first
    return since


def matrix_completion(sample: Sample, penalty: float | None = None, factors: int | None = None) -> Answer:
    n, n_periods = sample.y.shape
    if factors is not None and factors > n_periods - 2:
        raise Refused("too many factors")
    x, r = sample.x_varying, factors or 0
    known = sample.observed & ~np.isnan(x).any(axis=2)
    y = np.where(known, sample.y, 0.0)
    if sample.first_treated is None:
        off, since = sample.path == 0, _spells(sample.path)
    else:
        start = treated_from(sample)
        off = sample.periods < np.where(np.isnan(start), np.inf, start)[:, None]
        since = np.where(off, np.nan, sample.periods - sample.first_treated[:, None])
    beyond, enough = _completed(y, x, known & off, penalty, r)
    of_term: dict[tuple[float, float, float], list[tuple[int, int]]] = {}
    for i, t in zip(*np.nonzero(~np.isnan(since) & known & enough[:, None]), strict=True):
        dates = (np.nan, np.nan)
        if sample.first_treated is not None:
            dates = (float(sample.first_treated[i]), float(sample.periods[t]))
        of_term.setdefault((*dates, float(since[i, t])), []).append((int(i), int(t)))
    if not of_term:
        raise Refused("nothing can be estimated")
    terms, where = list(of_term), list(of_term.values())

    def means(values: Array, left: int | None) -> Array:
        kept = [[values[cell] for cell in cells if cell[0] != left] for cells in where]
        return np.array([np.mean(own) if own else np.nan for own in kept])

    linear, outcome = means(beyond, None), means(y, None)
    without, outcome_without = np.tile(linear, (n, 1)), np.array([means(y, i) for i in range(n)])
    undefined = np.zeros(len(terms), dtype=bool)
    for i in np.flatnonzero(enough):
        try:
            refitted, _ = _completed(y, x, known & off & (np.arange(n) != i)[:, None], penalty, r)
            without[i] = means(refitted, i)
        except Refused:
            without[i] = np.nan
            undefined |= ~np.isnan(outcome_without[i])

    def pseudo_values(left: Array) -> Array:
        influence = np.zeros(left.shape)
        for k, column in enumerate(left.T):
            defined = ~np.isnan(column)
            if not defined.any():
                continue
            influence[defined, k] = (n - 1) * (column[defined].mean() - column[defined])
        return influence

    psi, psi_outcome = np.where(undefined, 0.0, pseudo_values(without)), pseudo_values(outcome_without)

    def at(weights: Array) -> Values:
        moved = (weights / sample.weights - 1) / n
        return Values(
            linear + moved @ psi,
            outcome - linear + moved @ (psi_outcome - psi),
            np.array([sum(weights[i] for i, _ in cells) for cells in where]),
        )

    return Answer(terms, [], at)
