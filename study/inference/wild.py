"""The wild cluster bootstrap of a linear regression's term, without running a regression again."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, get_args

import numpy as np

from study.core import FloatArray, Jackknife, QuestionError, Target, checked, jackknife, one_thread, unknown
from study.estimates import TIE, Weights, distribution, least_as_large, small_sample_factor, treated_clusters
from study.inference.leave_out import refuse_lost, regression_term
from study.panel import Sample

if TYPE_CHECKING:
    import pandas as pd


# With 2 of 12 clusters treated, 5% tests reject a true null in 1% of samples, or unrestricted in 13%; with 3, in 7%.
FEW_TREATED = 3


@dataclass(frozen=True, eq=False)
class WildBootstrap:
    """A test by the wild cluster bootstrap, and the interval that inverts it.

    Attributes
    ----------
    design, term : str
    effect, null : float
    std_error : float
        "CR1_fixest" for kinds "C" and "S", CR3 for "V" and "B"; bootstrap statistics have the same.
    p_value : float
        Of the null, two-sided and symmetric: (1 + draws at least as extreme) / (1 + draws). Where all patterns of signs
        are enumerated and the observed statistic is that of one of them, their share.
    interval : (float, float)
        Nulls that are not rejected; infinite on a side where none is.
    level : float
    draws : int
    enumerated : bool
        Whether all patterns of signs were used and none was drawn.
    kind, weights, impose_null, seed
        As asked.
    n_clusters, treated_clusters : int
    shares_given : bool
        Whether it is an average over cohorts, whose estimated shares are taken as given under the null.
    drawn : Drawn
        The draws, as functions of the null.
    """

    design: str
    term: str
    effect: float
    null: float
    std_error: float
    p_value: float
    interval: tuple[float, float]
    level: float
    draws: int
    enumerated: bool
    kind: Kind
    weights: Weights
    impose_null: bool
    seed: int
    n_clusters: int
    treated_clusters: int
    shares_given: bool
    drawn: Drawn = field(repr=False)

    @property
    def statistic(self) -> float:
        """(Effect less null) over standard error."""
        return (self.effect - self.null) / self.std_error

    def p_value_at(self, null: float, *, strict: bool = False) -> float:
        """Return the p-value of another null with the same draws; strict counts as boottest does, without ties."""
        return self.drawn.p_value(self.effect - null, strict=strict)

    def tidy(self) -> pd.DataFrame:
        """Return one row: estimate, standard error, statistic, p-value, interval."""
        import pandas as pd

        row = {"term": self.term, "estimate": self.effect, "std_error": self.std_error}
        row |= {"statistic": self.statistic, "p_value": self.p_value}
        return pd.DataFrame([row | {"conf_low": self.interval[0], "conf_high": self.interval[1]}])

    @property
    def sentences(self) -> tuple[str, ...]:
        """What was found, in complete sentences."""
        how = "all patterns of signs" if self.enumerated else f"random draws of {self.weights} weights"
        residuals = "residuals under the null" if self.impose_null else "unrestricted residuals"
        low, high = self.interval
        said = [
            f"{self.design}, {self.term}: the effect is {self.effect:.4g}; the wild cluster bootstrap with {residuals} "
            f"({self.draws} {how}, {self.n_clusters} clusters) gives p = {self.p_value:.3g} for an effect of "
            f"{self.null:g}, and a {self.level:.0%} interval of {low:.4g} to {high:.4g}."
        ]
        if self.shares_given:
            said.append("The draws take the shares of cohorts that weight the average as given.")
        if self.treated_clusters < FEW_TREATED:
            found = "rarely rejects, whatever the effect" if self.impose_null else "rejects too often"
            said.append(
                f"Only {self.treated_clusters} of {self.n_clusters} clusters are treated, and then this bootstrap "
                f"{found} (MacKinnon and Webb 2017); compare it with study.randomization."
            )
        if not math.isfinite(high - low):
            said.append(
                "The interval has no end on a side: too few clusters, or treated clusters, for the draws to reject any "
                "effect there; use study.randomization."
            )
        return tuple(said)


@checked
def wild_bootstrap(
    sample: Sample,
    design: str,
    *,
    null: float = 0.0,
    impose_null: bool = True,
    weights: Weights = "rademacher",
    kind: Kind = "C",
    draws: int = 9999,
    level: float = 0.95,
    seed: int = 0,
    term: str | None = None,
    **options: Any,
) -> WildBootstrap:
    """Test a term of a linear regression by the wild cluster bootstrap.

    A draw multiplies the residuals of each cluster by a random weight. Its estimate and standard error depend on the
    data only through what each cluster adds to the normal equations, so that all draws are a few products of matrices
    (Roodman, MacKinnon, Nielsen and Webb 2019; MacKinnon, Nielsen and Webb 2023). Both are linear in the null, or
    quadratic, so that the same draws give the interval.

    Parameters
    ----------
    sample : Sample
        Clusters are the question's, or units.
    design : {"twfe", "event_study", "sun_abraham", "etwfe", "stacked", "lp_did"}
    null : float
        The effect that is tested.
    impose_null : bool
        Whether residuals are those of the regression in which the effect is the null.
    weights : {"rademacher", "mammen", "webb"}
    kind : {"C", "S", "V", "B"}
        Scores and standard errors of the classic bootstrap; "S": scores of residuals that leave the cluster out;
        "V": CR3 standard errors; "B": both. boottest calls them 11, 31, 13, 33.
    draws : int
        Signs are enumerated where their patterns, 2^G, are no more than that.
    level : float
        Of the interval.
    seed : int
    term : str, optional
        A term, or an average by name; the headline if not given. Averages take the shares that weight their terms, and
        the means of covariates in them, as given.
    **options
        Options of the design.

    Raises
    ------
    QuestionError
        If there is one cluster or one that is treated, the design is no linear regression, an argument is out of
        range, there is no such term, or for kinds other than "C" it has no estimate without some cluster.

    References
    ----------
    Cameron, A. C., Gelbach, J. B., and Miller, D. L. (2008). Bootstrap-based improvements for inference with
    clustered errors. Review of Economics and Statistics 90(3).
    Roodman, D., MacKinnon, J. G., Nielsen, M. Ø., and Webb, M. D. (2019). Fast and wild: Bootstrap inference in
    Stata using boottest. Stata Journal 19(1).
    MacKinnon, J. G., Nielsen, M. Ø., and Webb, M. D. (2023). Fast and reliable jackknife and bootstrap methods for
    cluster-robust inference. Journal of Applied Econometrics 38(5).
    """
    _refuse_arguments(null, weights, kind, draws, level)
    asked = regression_term("wild_bootstrap", sample, design, term, options)
    of = asked.target
    n_clusters = len(asked.clusters)
    with one_thread():
        left = None if kind == "C" else jackknife(of)
        if left is not None:
            refuse_lost("wild_bootstrap", asked.term, asked.clusters[left.lost])
        square, factor = _observed(of, kind, left)
        if not square > NOTHING * of.value**2:
            raise QuestionError(
                f"wild_bootstrap: {asked.term} has no variance between clusters to compare with."
            )
        enumerated = weights == "rademacher" and n_clusters < 63 and 2**n_clusters <= draws
        blocks = sign_patterns(n_clusters) if enumerated else weight_blocks(weights, n_clusters, draws, seed)
        whole = enumerated and impose_null and kind in ("C", "V")
        made = recipe(of, kind, impose_null, left)
        drawn = draw(made, square, blocks, copies=1 + enumerated, whole=whole)
        error = math.sqrt(factor * square)
        return WildBootstrap(
            design,
            asked.term,
            of.value,
            null,
            error,
            drawn.p_value(of.value - null),
            drawn.interval(of.value, level, error),
            level,
            2**n_clusters if enumerated else draws,
            enumerated,
            kind,
            weights,
            impose_null,
            seed,
            n_clusters,
            treated_clusters(asked.fit),
            asked.shares_given,
            drawn,
        )


def _observed(of: Target, kind: Kind, left: Jackknife | None) -> tuple[float, float]:
    """Return the sum of the clusters' squares in the variance, and what multiplies it."""
    n_clusters = len(of.score)
    if kind in ("C", "S") or left is None:
        equations = of.equations
        factor = small_sample_factor(n_clusters, "CR1_fixest", equations.n_obs, equations.df_k)
        return float(of.influence @ of.influence), factor
    away = np.einsum("gr,gr->g", left.away, of.score)
    return float(away @ away), (n_clusters - 1) / n_clusters


def _refuse_arguments(null: float, weights: str, kind: str, draws: int, level: float) -> None:
    for name, value, known in (("weights", weights, get_args(Weights)), ("kind", kind, get_args(Kind))):
        if value not in known:
            raise unknown(name, str(value), known, "wild_bootstrap")
    if isinstance(draws, bool) or not isinstance(draws, (int, np.integer)) or draws < 1:
        raise QuestionError(f"wild_bootstrap: draws is {draws!r}; it must be a whole number of at least 1.")
    if not 0 < level < 1:
        raise QuestionError(f"wild_bootstrap: level is {level!r}; it must be between 0 and 1.")
    if not math.isfinite(null):
        raise QuestionError(f"wild_bootstrap: null is {null!r}; it must be a finite number.")


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
