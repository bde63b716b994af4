"""Draws of the wild cluster bootstrap as functions of the null, from what each cluster adds to the normal equations."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy as np

from study.core import FloatArray, Jackknife, Target
from study.estimates import TIE, Weights, distribution, least_as_large

Kind = Literal["C", "S", "V", "B"]

NUMBERS_AT_ONCE = 2**16  # small arrays stay in the cache
NOTHING = 1e-22
ROOT = 1e-9


class Recipe(NamedTuple):
    """A bootstrap's parts, all (G, r), if the null is that the effect is smaller than the estimate by delta.

    Cluster c has the score ``fixed`` + delta ``slope``, times its random weight; with z the sum of these, what it
    adds to the root of the variance is its score times ``own``, less z times ``common``.
    """

    fixed: FloatArray
    slope: FloatArray
    own: FloatArray
    common: FloatArray
    direction: FloatArray


def recipe(of: Target, kind: Kind, impose_null: bool, left: Jackknife | None) -> Recipe:
    """Return the parts of a kind of bootstrap; ``left`` is needed for kinds other than "C".

    Restricted estimates are b - A^-1 a (a'b - null) / a'A^-1 a, and their scores s_c + A_c A^-1 a delta / a'A^-1 a.
    Without cluster c they are so by the distance of that cluster's a'b_(c) from the null, delta less what it moves.
    """
    if kind in ("C", "V") or left is None:
        fixed, slope = of.score, of.pull / (of.direction @ of.direction)
    else:
        fixed = left.score
        slope = left.away_pull / np.einsum("gr,r->g", left.away, of.direction)[:, None]
        if impose_null:
            fixed = fixed - slope * np.einsum("gr,gr->g", left.away, of.score)[:, None]
    if kind in ("C", "S") or left is None:
        own, common = np.broadcast_to(of.direction, of.pull.shape), of.pull
    else:
        own, common = left.away, left.away_pull
    return Recipe(fixed, slope if impose_null else np.zeros_like(slope), own, common, of.direction)


@dataclass(frozen=True, eq=False)
class Drawn:
    """Bootstrap statistics as functions of delta, the distance of the null from the estimate.

    A draw's numerator is n0 + delta n1, and the square of its standard error is d0 + 2 delta d1 + delta^2 d2, up to
    the factor that the observed ``square`` lacks too.

    Attributes
    ----------
    n0, n1, d0, d1, d2 : ndarray, shape (B,)
    square : float
    size : float
        The order of d2, below which it is rounding.
    copies : int
        Draws that each stands for: 2 where the opposite signs, which have the opposite statistic, are left out.
    whole : bool
        Whether the draws are all there are, the observed statistic among them.
    """

    n0: FloatArray
    n1: FloatArray
    d0: FloatArray
    d1: FloatArray
    d2: FloatArray
    square: float
    size: float
    copies: int
    whole: bool

    def p_value(self, delta: float, *, strict: bool = False) -> float:
        """Return the share of draws at least as extreme as the observed statistic, or strictly more extreme.

        Not strict, the observed statistic counts as a draw, (1 + extreme) / (1 + B), unless it is among them.
        """
        ours = (self.n0 + delta * self.n1) ** 2 * self.square
        theirs = delta**2 * (self.d0 + delta * (2 * self.d1 + delta * self.d2))
        if strict:
            return float(np.mean(ours > theirs * (1 + TIE)))
        return self._share(ours >= least_as_large(theirs))

    def p_value_far_away(self, *, strict: bool = False) -> float:
        """Return the p-value of a null infinitely far from the estimate."""
        still = self.d2 <= NOTHING * self.size
        ours = self.n1**2 * self.square
        if strict:
            return float(np.mean(still & (ours > self.d0 * (1 + TIE))))
        return self._share(still & (ours >= least_as_large(self.d0)))

    def _share(self, extreme: Any) -> float:
        more = 0 if self.whole else 1
        return (more + self.copies * int(np.count_nonzero(extreme))) / (more + self.copies * len(self.n0))

    def reach(self, sign: int, level: float, step: float, *, strict: bool = False) -> float:
        """Return how far on one side of the estimate nulls are not rejected, infinitely far if none is."""
        size = 1 - level + 1e-12
        if self.p_value_far_away(strict=strict) > size:
            return math.inf
        inside, outside = 0.0, step
        while self.p_value(sign * outside, strict=strict) > size:
            inside, outside = outside, 2 * outside
            if outside > 1e12 * step:
                return math.inf
        while outside - inside > ROOT * outside:
            middle = (inside + outside) / 2
            if self.p_value(sign * middle, strict=strict) > size:
                inside = middle
            else:
                outside = middle
        return (inside + outside) / 2

    def interval(
        self, estimate: float, level: float, step: float, *, strict: bool = False
    ) -> tuple[float, float]:
        """Return the nulls that are not rejected, around the estimate; ``step`` is about its standard error."""
        low = self.reach(1, level, step, strict=strict)
        return estimate - low, estimate + self.reach(-1, level, step, strict=strict)


def draw(
    made: Recipe, square: float, blocks: Iterator[FloatArray], *, copies: int = 1, whole: bool = False
) -> Drawn:
    """Return the statistics of all draws, as in :class:`Drawn`; a block of weights has shape (m, G)."""
    parts = []
    for weights in blocks:
        n0, root0 = _statistics(weights, made.fixed, made)
        n1, root1 = _statistics(weights, made.slope, made)
        squares = [np.einsum("bg,bg->b", *pair) for pair in ((root0, root0), (root0, root1), (root1, root1))]
        parts.append((n0, n1, *squares))
    own = np.einsum("gr,gr->g", made.own, made.slope)
    n0, n1, d0, d1, d2 = (np.concatenate(values) for values in zip(*parts, strict=True))
    return Drawn(n0, n1, d0, d1, d2, square, float(own @ own), copies, whole)


def _statistics(weights: FloatArray, score: FloatArray, made: Recipe) -> tuple[FloatArray, FloatArray]:
    """Return numerators, shape (m,), and what clusters add to the root of the variance, shape (m, G)."""
    if len(score) <= 2 * score.shape[1]:
        roots = np.diag(np.einsum("gr,gr->g", made.own, score)) - score @ made.common.T
        return weights @ (score @ made.direction), weights @ roots
    total = weights @ score
    return total @ made.direction, weights * np.einsum("gr,gr->g", made.own, score) - total @ made.common.T


def sign_patterns(n_clusters: int) -> Iterator[FloatArray]:
    """Yield one of each two opposite patterns of signs, which have the same absolute statistic."""
    patterns, at_once = 2 ** (n_clusters - 1), max(1, NUMBERS_AT_ONCE // n_clusters)
    for start in range(0, patterns, at_once):
        codes = np.arange(start, min(start + at_once, patterns))
        yield np.where(codes[:, None] >> np.arange(n_clusters) & 1, -1.0, 1.0)


def weight_blocks(weights: Weights, n_clusters: int, draws: int, seed: int) -> Iterator[FloatArray]:
    """Yield random weights by cluster, a draw a row; they do not depend on the size of the blocks."""
    values, probabilities = distribution(weights)
    rng, at_once = np.random.default_rng(seed), max(1, NUMBERS_AT_ONCE // n_clusters)
    in_bytes = 4 * -(-n_clusters // 32)  # whole words, so that signs do not depend on the draws at once
    for start in range(0, draws, at_once):
        size = min(at_once, draws - start)
        if weights == "rademacher":
            bits = np.frombuffer(rng.bytes(size * in_bytes), dtype=np.uint8).reshape(size, in_bytes)
            yield np.where(np.unpackbits(bits, axis=1, count=n_clusters), 1.0, -1.0)
        else:
            cumulative = np.cumsum(probabilities)
            cumulative[-1] = 1.0
            yield values[np.searchsorted(cumulative, rng.random((size, n_clusters)), side="right")]
