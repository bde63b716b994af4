"""Dose-response curves cell by cell, in powers of the dose and not in B-splines, at any weights of units."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from study.panel.question import Sample
from twins.plain import Array


class Curves(NamedTuple):
    """Effects or slopes of each cell by (cohort, period), and the curve that is averaged over them at some doses."""

    cells: dict[tuple[float, float], complex]
    headline: complex
    curve: Array


def _terms(dose: float, degree: int, knots: Sequence[float]) -> Array:
    """Return 1, d, ..., d^degree and (d - knot)^degree above each knot."""
    return np.array([dose**k for k in range(degree + 1)] + [max(dose - k, 0.0) ** degree for k in knots])


def _derivatives(dose: float, degree: int, knots: Sequence[float]) -> Array:
    above = [degree * (dose - k) ** (degree - 1) if dose > k else 0.0 for k in knots]
    return np.array([0.0] + [k * dose ** (k - 1) for k in range(1, degree + 1)] + above)


def dose_response(
    sample: Sample, curve: str, degree: int, knots: Sequence[float], doses: Sequence[float]
) -> Callable[[Array], Curves]:
    """Return what the curves are at weights of units; with degree 0 there is a mean for each dose."""
    first, dose, y, asked = sample.first_treated, sample.dose, sample.y, sample.question
    early, last = sample.periods[0], sample.periods[-1]
    cohorts = [g for g in np.unique(first[~np.isnan(first)]) if g - asked.anticipation <= last]
    every = sorted({d for d, g in zip(dose, first, strict=True) if g in cohorts})

    def row(d: float) -> Array:
        if degree:
            return _terms(d, degree, knots)
        return np.array([float(d == other) for other in every])

    def slope(d: float) -> Array:
        if degree:
            return _derivatives(d, degree, knots)
        k = every.index(d)
        before = row(every[k - 1]) if k else 0 * row(d)
        return (row(d) - before) / (d - (every[k - 1] if k else 0.0))

    def cell(g: float, t: int, base: int, weights: Array) -> tuple[complex, Array, float] | None:
        seen = ~np.isnan(y[:, t - early]) & ~np.isnan(y[:, base - early])
        change = np.nan_to_num(y[:, t - early] - y[:, base - early])
        until = max(t, base) + asked.anticipation
        free = np.isnan(first)
        if asked.comparison == "not_yet_treated":
            free = free | ((first > until) & (first != g))
        own, others = np.flatnonzero(seen & (first == g)), np.flatnonzero(seen & free)
        if not len(own) or not len(others):
            return None
        untreated = sum(weights[i] * change[i] for i in others) / sum(weights[i] for i in others)
        gram = sum(weights[i] * np.outer(row(dose[i]), row(dose[i])) for i in own)
        right = sum(weights[i] * row(dose[i]) * change[i] for i in own)
        b = np.linalg.solve(gram, right)
        total = sum(weights[i] for i in own)

        def sloped(d: float) -> complex:
            # The slope at the first of several doses is from dose 0, where there is no effect.
            return slope(d) @ b - (untreated / d if not degree and d == every[0] else 0.0)

        if curve == "levels":
            mean = sum(weights[i] * (row(dose[i]) @ b) for i in own) / total - untreated
            return mean, np.array([row(d) @ b - untreated for d in doses]), total
        mean = sum(weights[i] * sloped(dose[i]) for i in own) / total
        return mean, np.array([sloped(d) for d in doses]), total

    def at(weights: Array) -> Curves:
        found = {}
        for g in cohorts:
            start = int(g) - asked.anticipation
            for t in sample.periods:
                base = start - 1
                if asked.base == "varying" and t < start:
                    base = t - 1
                if base < early or t == base:
                    continue
                made = cell(g, int(t), int(base), weights)
                if made is not None:
                    found[g, float(t)] = made
        headline, line = _average(asked.average, found, sample, weights)
        return Curves({key: made[0] for key, made in found.items()}, headline, line)

    return at


def _average(average: str, found: dict, sample: Sample, weights: Array) -> tuple[complex, Array]:
    """Average cells after treatment, by their cohorts' shares and then equally over labels, as averages are defined."""
    size = {g: sum(weights[np.flatnonzero(sample.first_treated == g)]) for g, _ in found}
    after = {key: made for key, made in found.items() if key[1] >= key[0]}
    label = {
        "event_average": lambda g, t: t - g,
        "calendar_average": lambda g, t: t,
        "cohort_average": lambda g, t: g,
        "treated_average": lambda g, t: 0.0,
    }[average]
    means, sizes = [], []
    for value in sorted({label(*key) for key in after}):
        here = [key for key in after if label(*key) == value]
        total = sum(size[g] for g, _ in here)
        means.append([sum(size[k[0]] * after[k][part] for k in here) / total for part in (0, 1)])
        sizes.append(size[here[0][0]] if average == "cohort_average" else 1.0)
    total = sum(sizes)
    return tuple(sum(s * m[part] for s, m in zip(sizes, means, strict=True)) / total for part in (0, 1))
