"""The wild cluster bootstrap of a linear regression's term, without running a regression again."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from study.core import FloatArray, Jackknife, QuestionError, Target, checked, one_thread, p_is
from study.estimates import TIE, Weights, distribution, least_as_large, small_sample_factor, weight_codes
from study.inference.conformal import end_of
from study.inference.leave_out import few_on_a_side, regression_term, row_of
from study.panel import Sample

if TYPE_CHECKING:
    import pandas as pd


# With 2 of 12 clusters treated, or 2 of 12 not, 5% tests reject a true null in 1% of samples, or unrestricted in 15%;
# with 3, in 7%.
FEWEST = 3


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
    kind, weights, impose_null
        As asked.
    n_clusters, treated_clusters : int
        The second counts those that carry the term's variance on the treated side.
    few : str, optional
        Where fewer than 3 clusters are on the treated or on the comparison side, how many are.
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
    n_clusters: int
    treated_clusters: int
    few: str | None = field(repr=False)
    shares_given: bool
    drawn: Drawn = field(repr=False)

    @property
    def statistic(self) -> float:
        """(Effect less null) over standard error."""
        return (self.effect - self.null) / self.std_error

    @checked
    def p_value_at(self, null: float, *, strict: bool = False) -> float:
        """Return the p-value of another null with the same draws; strict counts as boottest does, without ties."""
        return self.drawn.p_value(self.effect - null, strict=strict)

    def tidy(self) -> pd.DataFrame:
        """Return one row: estimate, standard error, statistic, p-value, interval."""
        return row_of(self.term, self.effect, self.std_error, self.statistic, self.p_value, *self.interval)

    @property
    def sentences(self) -> tuple[str, ...]:
        """What was found, in complete sentences."""
        how = "all patterns of signs" if self.enumerated else f"random draws of {self.weights} weights"
        residuals = "residuals under the null" if self.impose_null else "unrestricted residuals"
        low, high = self.interval
        sentences = [
            f"{self.design}, {self.term}: the effect is {self.effect:.4g}; the wild cluster bootstrap with {residuals} "
            f"({self.draws} {how}, {self.n_clusters} clusters) gives {p_is(self.p_value)} for an effect of "
            f"{self.null:g}, and a {100 * self.level:g}% interval of {low:.4g} to {high:.4g}."
        ]
        if self.shares_given:
            sentences.append("The draws take the shares of cohorts that weight the average as given.")
        if self.few:
            size = "rarely rejects, whatever the effect" if self.impose_null else "rejects too often"
            sentences.append(
                f"{self.few} this bootstrap {size} (MacKinnon and Webb 2017); compare it with study.randomization."
            )
        if not math.isfinite(high - low):
            sentences.append(
                "The interval has no end on a side: too few clusters, or treated clusters, for the draws to reject any "
                "effect there; use study.randomization."
            )
        return tuple(sentences)


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
    design : {"twfe", "event_study", "sun_abraham", "etwfe", "stacked", "lp_did", "panel_ols"}
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

    Returns
    -------
    WildBootstrap
        ``effect``, ``std_error``, ``p_value`` of the null and ``interval``, a pair of limits.

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
    question = regression_term("wild_bootstrap", sample, design, term, options)
    of, n_clusters, equations = question.target, len(question.clusters), question.target.equations
    with one_thread():
        left = None if kind == "C" else question.jackknife("wild_bootstrap")
        if left is not None and kind in ("V", "B"):
            root, factor = np.einsum("gr,gr->g", left.away, of.score), (n_clusters - 1) / n_clusters
        else:
            n_obs = int(equations.n_periods.sum())
            factor = small_sample_factor(n_clusters, "CR1_fixest", n_obs, equations.df_k)
            root = of.influence
        square = float(root @ root)
        if not square > NOTHING * of.value**2:
            raise QuestionError(
                f"wild_bootstrap: {question.term} has no variance between clusters to compare with."
            )
        enumerated = weights == "rademacher" and 2**n_clusters <= draws
        blocks = sign_patterns(n_clusters) if enumerated else weight_blocks(weights, n_clusters, draws, seed)
        drawn = _drawn(of, kind, impose_null, left, blocks, square)
        if enumerated:
            drawn = replace(drawn, copies=2, exact=impose_null and kind in ("C", "V"))
        error = math.sqrt(factor * square)
        return WildBootstrap(
            design=design,
            term=question.term,
            effect=of.value,
            null=null,
            std_error=error,
            p_value=drawn.p_value(of.value - null),
            interval=drawn.interval(of.value, level, error),
            level=level,
            draws=2**n_clusters if enumerated else draws,
            enumerated=enumerated,
            kind=kind,
            weights=weights,
            impose_null=impose_null,
            n_clusters=n_clusters,
            treated_clusters=question.treated_clusters,
            few=few_on_a_side(question.fit, FEWEST),
            shares_given=question.shares_given,
            drawn=drawn,
        )


Kind = Literal["C", "S", "V", "B"]

NUMBERS_AT_ONCE = 2**16  # small arrays stay in the cache
NOTHING = 1e-22
FARTHEST, ROOT = 1e12, 1e-9


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
    exact : bool
        Whether the draws are all there are, the observed statistic among them.
    """

    n0: FloatArray
    n1: FloatArray
    d0: FloatArray
    d1: FloatArray
    d2: FloatArray
    square: float
    size: float
    copies: int = 1
    exact: bool = False

    def p_value(self, delta: float, *, strict: bool = False) -> float:
        """Return the share of draws at least as extreme as the observed statistic, or strictly more extreme.

        Not strict, the observed statistic counts as a draw, (1 + extreme) / (1 + B), unless it is among them.
        """
        ours = (self.n0 + delta * self.n1) ** 2 * self.square
        theirs = delta**2 * (self.d0 + delta * (2 * self.d1 + delta * self.d2))
        if strict:
            return float(np.mean(ours > theirs * (1 + TIE)))
        return self._share(ours >= least_as_large(theirs))

    def p_value_far_away(self) -> float:
        """Return the p-value of a null infinitely far from the estimate."""
        still = self.d2 <= NOTHING * self.size
        return self._share(still & (self.n1**2 * self.square >= least_as_large(self.d0)))

    def _share(self, extreme: Any) -> float:
        more, number = 0 if self.exact else 1, int(np.count_nonzero(extreme))
        # The observed statistic is one of all draws, whatever rounding makes of nulls that are far away.
        number = max(number, 1 - more)
        return (more + self.copies * number) / (more + self.copies * len(self.n0))

    def half_width(self, sign: int, level: float, step: float) -> float:
        """Return how far on one side of the estimate nulls are not rejected, infinitely far if none is."""
        size = 1 - level + 1e-12
        if self.p_value_far_away() > size:
            return math.inf
        return end_of(lambda delta: self.p_value(sign * delta) > size, 0.0, step, FARTHEST, ROOT)

    def interval(self, estimate: float, level: float, step: float) -> tuple[float, float]:
        """Return the nulls that are not rejected, around the estimate; ``step`` is about its standard error."""
        return estimate - self.half_width(1, level, step), estimate + self.half_width(-1, level, step)


def _drawn(
    of: Target,
    kind: Kind,
    impose_null: bool,
    left: Jackknife | None,
    blocks: Iterator[FloatArray],
    square: float,
) -> Drawn:
    """Return the statistics of all draws of a kind of bootstrap; a block of weights has shape (m, G).

    If the null is that the effect is smaller than the estimate by delta, cluster c has the score ``fixed`` + delta
    ``slope``, times its random weight; with z the sum of these, what it adds to the root of the variance is its score
    times ``own``, less z times ``common``. All have shape (G, r).

    Restricted estimates are b - A^-1 a (a'b - null) / a'A^-1 a, and their scores s_c + A_c A^-1 a delta / a'A^-1 a.
    Without cluster c they are so by the distance of that cluster's a'b_(c) from the null, delta less what it moves.
    ``left`` is needed for kinds other than "C".
    """
    fixed, slope = of.score, of.pull / (of.direction @ of.direction)
    own, common = np.broadcast_to(of.direction, of.pull.shape), of.pull
    if left is not None and kind in ("S", "B"):
        slope = left.away_pull / np.einsum("gr,r->g", left.away, of.direction)[:, None]
        moved = slope * np.einsum("gr,gr->g", left.away, of.score)[:, None]
        fixed = left.score - moved if impose_null else left.score
    if left is not None and kind in ("V", "B"):
        own, common = left.away, left.away_pull
    slope = slope if impose_null else np.zeros_like(slope)

    def statistics(weights: FloatArray, score: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Return numerators, shape (m,), and what clusters add to the root of the variance, shape (m, G)."""
        alone = np.einsum("gr,gr->g", own, score)
        if len(score) <= 2 * score.shape[1]:
            return weights @ (score @ of.direction), weights @ (np.diag(alone) - score @ common.T)
        total = weights @ score
        return total @ of.direction, weights * alone - total @ common.T

    parts = []
    for weights in blocks:
        n0, root0 = statistics(weights, fixed)
        n1, root1 = statistics(weights, slope)
        squares = [np.einsum("bg,bg->b", *pair) for pair in ((root0, root0), (root0, root1), (root1, root1))]
        parts.append((n0, n1, *squares))
    size = np.einsum("gr,gr->g", own, slope)
    n0, n1, d0, d1, d2 = (np.concatenate(values) for values in zip(*parts, strict=True))
    return Drawn(n0, n1, d0, d1, d2, square, float(size @ size))


def sign_patterns(n_clusters: int) -> Iterator[FloatArray]:
    """Yield one of each two opposite patterns of signs, which have the same absolute statistic."""
    patterns, at_once = 2 ** (n_clusters - 1), max(1, NUMBERS_AT_ONCE // n_clusters)
    for start in range(0, patterns, at_once):
        codes = np.arange(start, min(start + at_once, patterns))
        yield np.where(codes[:, None] >> np.arange(n_clusters) & 1, -1.0, 1.0)


def weight_blocks(weights: Weights, n_clusters: int, draws: int, seed: int) -> Iterator[FloatArray]:
    """Yield random weights by cluster, a draw a row; they do not depend on the size of the blocks."""
    values, at_once = distribution(weights)[0], max(1, NUMBERS_AT_ONCE // n_clusters)
    return (values[codes] for codes in weight_codes(weights, n_clusters, draws, seed, at_once))
