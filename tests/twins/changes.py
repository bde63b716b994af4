"""Changes in changes in plain loops: counting units, with the influence of Athey and Imbens (2006)."""

from __future__ import annotations

import math
from fractions import Fraction
from typing import NamedTuple

import numpy as np


class Groups(NamedTuple):
    """Outcomes of two groups in two periods, with a weight a unit: comparison base and now, treated base and now."""

    y00: list[float]
    y01: list[float]
    y10: list[float]
    y11: list[float]
    w0: list[Fraction]
    w1: list[Fraction]


def share_up_to(y: list[float], w: list[Fraction], at: float) -> Fraction:
    total = Fraction(0)
    for i in range(len(y)):
        if y[i] <= at:
            total += w[i]
    return total / sum(w)


def inverse(y: list[float], w: list[Fraction], share: Fraction) -> float:
    """Return the smallest outcome up to which the share of the weight is; the smallest of all for a share of zero."""
    return next(v for v in sorted(y) if share_up_to(y, w, v) >= share)


def counterfactual(g: Groups) -> list[float]:
    return [inverse(g.y01, g.w0, share_up_to(g.y00, g.w0, y)) for y in g.y10]


def effects(g: Groups, levels: list[Fraction]) -> list[float]:
    """Return the effect on the mean, then on each quantile."""
    k = counterfactual(g)
    mean = sum(float(w) * (a - b) for w, a, b in zip(g.w1, g.y11, k, strict=True)) / float(sum(g.w1))
    return [mean, *(inverse(g.y11, g.w1, u) - inverse(k, g.w1, u) for u in levels)]


def slope(y: list[float], w: list[Fraction], at: float) -> float:
    """Return the slope of the inverse distribution from the next outcomes on both sides."""
    values = sorted(set(y))
    place = values.index(at)
    above, below = values[min(place + 1, len(values) - 1)], values[max(place - 1, 0)]
    share = float(share_up_to(y, w, above) - share_up_to(y, w, below))
    return (above - below) / share if share > 0 else 0.0


def sparsity(y: list[float], w: list[Fraction], at: float) -> float:
    """Return one over the kernel density."""
    shares = [float(v / sum(w)) for v in w]
    mean = sum(s * v for s, v in zip(shares, y, strict=True))
    deviation = math.sqrt(sum(s * (v - mean) ** 2 for s, v in zip(shares, y, strict=True)))
    range_of_half = inverse(y, w, Fraction(3, 4)) - inverse(y, w, Fraction(1, 4))
    width = 0.9 * min(deviation, range_of_half / 1.349) * len(y) ** -0.2
    density = sum(s * math.exp(-(((v - at) / width) ** 2) / 2) for s, v in zip(shares, y, strict=True))
    return width * math.sqrt(2 * math.pi) / density


def influence(g: Groups, levels: list[Fraction]) -> np.ndarray:
    """Return the influence of each comparison and then of each treated unit, seen in both periods."""
    n0, n1, k = len(g.y00), len(g.y10), counterfactual(g)
    n, out = n0 + n1, np.zeros((n0 + n1, 1 + len(levels)))
    s0, s1 = [float(w / sum(g.w0)) for w in g.w0], [float(w / sum(g.w1)) for w in g.w1]
    mean_k = sum(s * v for s, v in zip(s1, k, strict=True))
    mean_y = sum(s * v for s, v in zip(s1, g.y11, strict=True))
    for i in range(n0):
        p = q = 0.0
        for j in range(n1):
            derivative = slope(g.y01, g.w0, k[j])
            p += s1[j] * derivative * ((g.y00[i] <= g.y10[j]) - float(share_up_to(g.y00, g.w0, g.y10[j])))
            q += s1[j] * derivative * ((g.y01[i] <= k[j]) - float(share_up_to(g.y01, g.w0, k[j])))
        out[i, 0] = -n * s0[i] * (p - q)
    for j in range(n1):
        out[n0 + j, 0] = n * s1[j] * ((g.y11[j] - mean_y) - (k[j] - mean_k))
    for m, u in enumerate(levels, start=1):
        z, k_at, y_at = inverse(g.y10, g.w1, u), inverse(k, g.w1, u), inverse(g.y11, g.w1, u)
        rank, own, treated = sparsity(g.y01, g.w0, k_at), sparsity(k, g.w1, k_at), sparsity(g.y11, g.w1, y_at)
        for i in range(n0):
            base = (g.y00[i] <= z) - float(share_up_to(g.y00, g.w0, z))
            now = (g.y01[i] <= k_at) - float(share_up_to(g.y01, g.w0, k_at))
            out[i, m] = -n * s0[i] * rank * (base - now)
        for j in range(n1):
            base = (g.y10[j] <= z) - float(share_up_to(g.y10, g.w1, z))
            now = (g.y11[j] <= y_at) - float(share_up_to(g.y11, g.w1, y_at))
            out[n0 + j, m] = n * s1[j] * (own * base - treated * now)
    return out


def bounds(g: Groups) -> tuple[float, float]:
    """Return the bounds of the effect on the mean of a discrete outcome, by their definition as distributions."""
    ends = []
    for strict in (False, True):
        k = []
        for y in g.y10:
            below = sum((w for w, v in zip(g.w0, g.y00, strict=True) if v < y), start=Fraction(0)) / sum(g.w0)
            if strict:  # the smallest outcome more than this share is up to
                above = [v for v in sorted(g.y01) if share_up_to(g.y01, g.w0, v) > below]
                k.append(above[0] if above else max(g.y01))
            else:
                k.append(inverse(g.y01, g.w0, share_up_to(g.y00, g.w0, y)))
        ends.append(k)
    ends[1] = [min(a, b) for a, b in zip(*ends, strict=True)]
    total = float(sum(g.w1))
    low, high = (
        sum(float(w) * (a - b) for w, a, b in zip(g.w1, g.y11, k, strict=True)) / total for k in ends
    )
    return low, high
