"""The wild cluster bootstrap of a linear regression's term, without running a regression again."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, get_args

import numpy as np

from study.core import Jackknife, QuestionError, Target, checked, jackknife, one_thread, unknown
from study.estimates import Weights, small_sample_factor, treated_clusters
from study.inference.leave_out import refuse_lost
from study.inference.regressions import regression_term
from study.inference.wild_draws import NOTHING, Drawn, Kind, draw, recipe, sign_patterns, weight_blocks
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
