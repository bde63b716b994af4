"""dcdh by loops over units, periods and event times."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from study.panel.question import Sample
from twins.plain import NAN, Answer, Array, Refused, Unsettled, Values

COLLINEAR = 1e-8


class Path:
    """What a unit's path of treatment says, in numbers of periods."""

    def __init__(self, treatment: Array, y: Array) -> None:
        known = [t for t in range(len(treatment)) if not np.isnan(treatment[t])]
        self.first = treatment[known[0]]
        moved = [t for t in known if treatment[t] != self.first]
        self.moves = bool(moved)
        self.start = moved[0] if moved else None
        self.until = max(t for t in known if self.start is None or t < self.start)
        if self.start is not None and self.until != self.start - 1:
            self.start = None
        self.sign = 0.0 if self.start is None else np.sign(treatment[self.start] - self.first)
        beyond = self.sign * (treatment - self.first)
        self.more = [b if self.start is not None and t >= self.start else 0.0 for t, b in enumerate(beyond)]
        self.usable = set()
        for t in range(known[0], len(treatment)):
            before = t <= self.until
            after = self.start is not None and t >= self.start and t in known
            crossed = any(more < 0 for more in self.more[: t + 1])
            if not np.isnan(y[t]) and (before or after) and not crossed:
                self.usable.add(t)


def dcdh(
    sample: Sample,
    placebos: int | None = None,
    normalized: bool = False,
    switchers: str = "both",
    same_switchers: bool = False,
    trends_nonparam: str | None = None,
) -> Answer:
    q, n, last = sample.question, sample.n_units, len(sample.periods) - 1
    y = sample.outcome_with_covariates
    if same_switchers and q.horizon is None:
        raise Refused("no horizon")
    paths = [Path(sample.treatment[i], y[i]) for i in range(n)]
    asked = [i for i in range(n) if paths[i].sign in {"both": (1, -1), "in": (1,), "out": (-1,)}[switchers]]
    if not asked or (q.scale == "proportional" and len({paths[i].sign for i in asked}) > 1):
        raise Refused("no switch, or switches both ways")
    label = ["" if trends_nonparam is None else sample.attributes[trends_nonparam][i] for i in range(n)]

    def compared(i: int, base: int, now: int, at: int) -> list[int]:
        return [
            j
            for j in range(n)
            if (paths[j].first, label[j]) == (paths[i].first, label[i])
            and not (q.comparison == "never_treated" and paths[j].moves)
            and paths[j].until >= now
            and {base, now, at} <= paths[j].usable
        ]

    def entering(event: int, among: Sequence[int]) -> dict[int, tuple[int, int, list[int]]]:
        """Return base, period of the outcome and comparison units by switcher."""
        length = event + 1 if event >= 0 else -event - 1
        found = {}
        for i in among:
            base = paths[i].start - 1
            now, at = base + length, base + event + 1
            if at < 0 or now > last or not {base, now, at} <= paths[i].usable:
                continue
            others = compared(i, base, now, at)
            if others:
                found[i] = base, at, others
        return found

    longest = last if q.horizon is None else min(q.horizon + 1, last)
    if same_switchers:
        for event in range(longest):
            asked = list(entering(event, asked))
    slopes = (
        {i: slope_rows(sample, y, paths, label, i, q.comparison) for i in range(n)} if q.covariates else {}
    )
    asked = [i for i in asked if not q.covariates or slopes[i] is not None]
    events = [*range(-1 - min(longest, longest if placebos is None else placebos), -1), *range(longest)]
    terms = {event: found for event in events if (found := entering(event, asked))}
    if not any(event >= 0 for event in terms):
        raise Refused("no effect")

    def amount(i: int, event: int, summed: bool) -> float:
        length = event + 1 if event >= 0 else -event - 1
        start = paths[i].start
        return float(
            sum(paths[i].more[start : start + length]) if summed else paths[i].more[start + length - 1]
        )

    if normalized and any(np.isnan(amount(i, event, True)) for event, found in terms.items() for i in found):
        raise Refused("unknown treatment")

    def at(weights: Array) -> Values:
        betas = {i: slope_at(rows, weights) for i, rows in slopes.items() if rows is not None}

        def change(i: int, base: int, at: int, beta: Array | None) -> complex:
            raw = y[i, at] - y[i, base]
            return raw if beta is None else raw - (sample.x_varying[i, at] - sample.x_varying[i, base]) @ beta

        linear, untreated, whole = [], [], [0.0, 0.0, 0.0, 0.0]
        for event, found in terms.items():
            total = count = mean = divisor = current = 0.0
            for i, (base, period, others) in found.items():
                beta = betas.get(i)
                theirs = (
                    sum(weights[j] * change(j, base, period, beta) for j in others) / weights[others].sum()
                )
                effect = change(i, base, period, beta) - theirs
                total += weights[i] * paths[i].sign * effect
                mean += weights[i] * (y[i, period] - effect)
                count += weights[i]
                divisor += weights[i] * (amount(i, event, True) if normalized else 1.0)
                current += weights[i] * amount(i, event, False) if event >= 0 else 0.0
            linear.append(total / divisor)
            untreated.append(mean / count)
            if event >= 0:
                whole = [a + b for a, b in zip(whole, (total, current, mean, count), strict=True)]
        linear.append(whole[0] / whole[1])
        untreated.append(whole[2] / whole[3])
        return Values(np.array(linear), np.array(untreated), np.ones(len(linear)))

    cells = set()
    for found in terms.values():
        for i, (base, period, others) in found.items():
            cells |= {(j, t) for j in (i, *others) for t in (base, period)}
            if q.covariates:
                unit, *_, periods = slopes[i]
                cells |= {(j, t - back) for j, t in zip(unit, periods, strict=True) for back in (0, 1)}
    keys = [*((NAN, NAN, float(event)) for event in terms), (NAN, NAN, NAN)]
    return Answer(keys, [(NAN, NAN, -1.0)], at, n_obs=len(cells))


Rows = tuple[Array, Array, Array, int, Array]


def slope_rows(
    sample: Sample, y: Array, paths: list[Path], label: list[str], i: int, comparison: str
) -> Rows | None:
    """Return unit, change, regressors and periods of the regression that has the slopes for unit i, if it has some."""
    unit, dy, dx, period = [], [], [], []
    for j, path in enumerate(paths):
        if (path.first, label[j]) != (paths[i].first, label[i]) or (
            comparison == "never_treated" and path.moves
        ):
            continue
        for t in range(1, path.until + 1):
            if {t - 1, t} <= path.usable:
                unit.append(j)
                dy.append(y[j, t] - y[j, t - 1])
                dx.append(sample.x_varying[j, t] - sample.x_varying[j, t - 1])
                period.append(t)
    if not unit:
        return None
    dummies = (np.array(period)[:, None] == np.unique(period)).astype(float)
    regressors = np.column_stack([np.array(dx), dummies])
    left = np.array(dx) - dummies @ np.linalg.lstsq(dummies, np.array(dx), rcond=None)[0]
    sizes = np.linalg.norm(left, axis=0) / np.maximum(np.linalg.norm(dx, axis=0), 1e-300)
    spread = np.linalg.svd(left / np.maximum(np.linalg.norm(left, axis=0), 1e-300), compute_uv=False)
    least = min(sizes.min(), spread[-1] if len(spread) == left.shape[1] else 0.0)
    if 1e-13 < least < 1e-3:
        raise Unsettled("nearly collinear")
    if least < COLLINEAR:
        return None
    return np.array(unit), np.array(dy), regressors, left.shape[1], np.array(period)


def slope_at(rows: Rows, weights: Array) -> Array:
    unit, dy, regressors, p, _ = rows
    weighted = regressors * weights[unit][:, None]
    return np.linalg.solve(weighted.T @ regressors, weighted.T @ dy)[:p]
