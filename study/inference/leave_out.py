"""The jackknife over clusters: CR3 standard errors, and which clusters an estimate rests on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from study.core import (
    FloatArray,
    Jackknife,
    QuestionError,
    Target,
    checked,
    counted,
    jackknife,
    one_thread,
    p_is,
    quantile,
    refuse_unknown,
    target,
    tell,
    two_sided_p,
    with_ties,
)
from study.designs import find_design
from study.estimates import FEW_ON_A_SIDE, Estimate, balanced
from study.panel import AVERAGES, Sample

if TYPE_CHECKING:
    import pandas as pd


Centre = Literal["estimate", "mean"]

NOTHING = 1e-12
ROW = ["term", "estimate", "std_error", "statistic", "p_value", "conf_low", "conf_high"]


def row_of(term: str, *numbers: float) -> pd.DataFrame:
    """Return a term's row: estimate, standard error, statistic, p-value, interval."""
    import pandas as pd

    return pd.DataFrame([(term, *numbers)], columns=ROW)


@dataclass(frozen=True, eq=False)
class TTest:
    """An effect with its standard error and degrees of freedom, and the t test that they make.

    Attributes
    ----------
    design, term : str
    effect, std_error : float
    degrees : int
        Degrees of freedom.
    """

    design: str
    term: str
    effect: float
    std_error: float = field(repr=False)
    degrees: int = field(repr=False)

    @property
    def statistic(self) -> float:
        """Effect over standard error."""
        return self.effect / self.std_error

    @property
    def p_value(self) -> float:
        """Of no effect, two-sided."""
        return float(two_sided_p(np.array(self.statistic), self.degrees))

    @checked
    def interval(self, level: float = 0.95) -> tuple[float, float]:
        """Return the confidence interval."""
        half = quantile((1 + level) / 2, self.degrees) * self.std_error
        return self.effect - half, self.effect + half

    def tidy(self, level: float = 0.95) -> pd.DataFrame:
        """Return one row: estimate, standard error, statistic, p-value, interval."""
        numbers = (self.effect, self.std_error, self.statistic, self.p_value)
        return row_of(self.term, *numbers, *self.interval(level))


@dataclass(frozen=True, eq=False)
class LeaveOut(TTest):
    """An effect, and what it is without each of G clusters.

    Attributes
    ----------
    design, term : str
    effect : float
        With all clusters.
    std_error : float
        Square root of (G-1)/G sum_c (without_c - centre)^2.
    degrees : int
        G - 1.
    without : ndarray, shape (G,)
        Without each.
    centre : {"estimate", "mean"}
        Deviations from the effect ("CR3") or from the mean of ``without`` ("CR3J" in summclust).
    clusters : ndarray, shape (G,)
        Labels of the clusters.
    shares_given : bool
        Whether it is an average over cohorts that has the same weights without a cluster as with it.
    few : str, optional
        Where fewer than 5 clusters are on the treated or on the comparison side, how many are.
    leverage : ndarray, shape (G,), optional
        Trace of A_c A^-1 with A_c what the cluster adds to the regressors' information A; it counts no unit effects,
        of which a cluster has as many as it has units.
    partial_leverage : ndarray, shape (G,), optional
        The cluster's share of the variation of the regressors that the effect rests on; the shares add up to one.
    """

    without: FloatArray = field(repr=False)
    centre: Centre
    clusters: NDArray[Any] = field(repr=False)
    shares_given: bool
    few: str | None = field(repr=False)
    leverage: FloatArray | None = field(default=None, repr=False)
    partial_leverage: FloatArray | None = field(default=None, repr=False)

    @property
    def n_clusters(self) -> int:
        """G."""
        return len(self.without)

    @property
    def effective_clusters(self) -> float | None:
        """Effective number of clusters of Carter, Schnepel and Steigerwald (2017) for independent errors.

        G / (1 + coefficient of variation^2) of what clusters add to the variance; with independent errors, of variances
        inverse to the weights, that is their partial leverage.
        """
        if self.partial_leverage is None:
            return None
        return float(np.sum(self.partial_leverage) ** 2 / np.sum(self.partial_leverage**2))

    def by_cluster(self) -> pd.DataFrame:
        """Return one row a cluster: the effect without it, and where they are known its leverages."""
        import pandas as pd

        table = pd.DataFrame({"cluster": self.clusters, "without": self.without})
        if self.leverage is None:
            return table
        return table.assign(leverage=self.leverage, partial_leverage=self.partial_leverage)

    @property
    def sentences(self) -> tuple[str, ...]:
        """What was found, in complete sentences."""
        low, high = self.interval()
        away = with_ties(self.without - self.effect)
        least, most = int(away.argmin()), int(away.argmax())
        sentences = [
            f"{self.design}, {self.term}: the effect is {self.effect:.4g}; with one of {self.n_clusters} clusters left "
            f"out it lies between {self.without[least]:.4g} (without {self.clusters[least]}) and "
            f"{self.without[most]:.4g} (without {self.clusters[most]}).",
            f"Its jackknife standard error (CR3) is {self.std_error:.4g}, which gives a 95% interval of {low:.4g} to "
            f"{high:.4g} and {p_is(self.p_value)} with {self.degrees} degrees of freedom.",
        ]
        if self.partial_leverage is not None:
            top = int(with_ties(self.partial_leverage).argmax())
            sentences.append(
                f"The variation that it rests on is worth {self.effective_clusters:.1f} clusters of equal size; "
                f"{self.clusters[top]} has the largest share of it, {self.partial_leverage[top]:.0%}."
            )
        if self.shares_given:
            sentences.append(
                "The average has the same weights without a cluster as with it; leave_one_cluster_out estimates them "
                "anew."
            )
        if self.few:
            sentences.append(
                f"{self.few} this test may reject too often; compare it with the design's own standard error or with "
                "study.randomization."
            )
        return tuple(sentences)


@checked
def cr3(
    sample: Sample, design: str, *, term: str | None = None, centre: Centre = "estimate", **options: Any
) -> LeaveOut:
    """Return the CR3 standard error of a linear regression's term, from its exact estimates without each cluster.

    With A_c and s_c what cluster c adds to the information A and the score, the coefficients without it are
    b - (A - A_c)^-1 s_c, so that no regression is run again (MacKinnon, Nielsen and Webb 2023).

    Parameters
    ----------
    sample : Sample
        Clusters are the question's, or units.
    design : {"twfe", "event_study", "sun_abraham", "etwfe", "stacked", "lp_did", "panel_ols"}
    term : str, optional
        A term, or an average by name; the headline if not given. Averages take the shares that weight their
        terms, and the means of covariates in them, as given; :func:`leave_one_cluster_out` estimates them anew.
    centre : {"estimate", "mean"}
    **options
        Options of the design.

    Returns
    -------
    LeaveOut
        ``effect``, ``std_error``, ``degrees`` (G - 1), ``p_value`` and ``interval(level)``, and the effect ``without``
        each of the G clusters, shape (G,).

    Raises
    ------
    QuestionError
        If there is one cluster or one that is treated, the design is no linear regression, there is no such term,
        or it has no estimate without some cluster.

    References
    ----------
    MacKinnon, J. G., Nielsen, M. Ø., and Webb, M. D. (2023). Leverage, influence, and the jackknife in clustered
    regression models: Reliable inference using summclust. Stata Journal 23(4).
    Carter, A. V., Schnepel, K. T., and Steigerwald, D. G. (2017). Asymptotic behavior of a t-test robust to cluster
    heterogeneity. Review of Economics and Statistics 99(4).
    """
    question = regression_term("cr3", sample, design, term, options)
    of = question.target
    with one_thread():
        left = question.jackknife("cr3")
        without = of.value - np.einsum("gr,gr->g", left.away, of.score)
    of_clusters = (question.clusters, question.shares_given, left.leverage, of.partial_leverage)
    return _left_out(question.fit, of.value, without, centre, *of_clusters)


@checked
def leave_one_cluster_out(
    sample: Sample, design: str, *, term: str | None = None, centre: Centre = "estimate", **options: Any
) -> LeaveOut:
    """Return the jackknife over clusters by fitting a design anew without each; for any design.

    Everything is estimated anew: nuisance functions, shares of cohorts, means to divide by.

    Parameters
    ----------
    sample : Sample
    design : str
    term : str, optional
        A term, or an average by name; the headline if not given.
    centre : {"estimate", "mean"}
    **options
        Options of the design.

    Returns
    -------
    LeaveOut
        ``effect``, ``std_error``, ``degrees`` (G - 1), ``p_value`` and ``interval(level)``, and the effect ``without``
        each of the G clusters, shape (G,).

    Raises
    ------
    QuestionError
        If there is one cluster or one that is treated, there is no such term, or without some cluster the design
        has no answer, or one to another question, since a cohort or an event time is gone.
    """
    sample.needs_units("leave_one_cluster_out")
    who = "leave_one_cluster_out"
    chosen = find_design(design)
    refuse_few_clusters(who, sample)
    fit = chosen(sample, **options)
    full = chosen_term(who, fit, term)
    numbers, first = np.unique(sample.cluster, return_index=True)
    labels, without = sample.cluster_labels[first], np.empty(len(numbers))
    for c, label in zip(numbers, labels, strict=True):
        try:
            refit = chosen(sample.only(sample.cluster != c, f"cluster {label} is left out"), **options)
            gone = sorted(_needed(fit, term) - _needed(refit, term))
            if gone:
                raise QuestionError(f"{', '.join(gone)} cannot be estimated")
            without[c] = chosen_term(who, refit, term).effect[0]
        except QuestionError as error:
            raise QuestionError(
                f"{who}: without cluster {label} {design} does not answer the same question: {error}"
            ) from error
        tell(f"without cluster {label}")
    return _left_out(full, float(full.effect[0]), without, centre, labels, False)


def _needed(fit: Estimate, term: str | None) -> set[str]:
    """Return the terms that an average is of, which have to be the same without a cluster."""
    if not fit.estimand.has_path or term in fit.terms:
        return set()
    question, by_event_time = fit.sample.question, fit.by_event_time
    average, needed = term or question.average, ~fit.reference & np.isfinite(fit.effect)
    if average in by_event_time.terms:
        needed &= fit.event_time == by_event_time.event_time[by_event_time.terms.index(average)]
    else:
        last = question.last if average == "event_average" else np.inf
        needed &= (fit.event_time >= 0) & (fit.event_time <= last)
    if question.balance is not None and average in ("event_average", *by_event_time.terms):
        needed &= balanced(fit, question.balance)
    return {name for name, n in zip(fit.terms, needed, strict=True) if n}


def _left_out(
    fit: Estimate,
    effect: float,
    without: FloatArray,
    centre: Centre,
    clusters: NDArray[Any],
    shares_given: bool,
    *leverages: FloatArray,
) -> LeaveOut:
    """Return the jackknife of a term that is known without each cluster; refuse one that says nothing."""
    design, term = fit.design, fit.terms[0]
    what = f"{design}: {term}"
    if not np.all(np.isfinite(without)) or not np.isfinite(effect):
        raise QuestionError(f"{what} is not defined without some cluster; use another scale or term.")
    around, degrees = effect if centre == "estimate" else without.mean(), len(without) - 1
    error = float(np.sqrt(degrees / len(without) * np.sum((without - around) ** 2)))
    if not error > NOTHING * np.abs(without).max():
        raise QuestionError(f"{what} is the same without every cluster, so it has no variance.")
    test, few = (design, term, effect, error, degrees), few_on_a_side(fit, FEW_ON_A_SIDE)
    return LeaveOut(*test, without, centre, clusters, shares_given, few, *leverages)


REGRESSIONS = ("twfe", "event_study", "sun_abraham", "etwfe", "stacked", "lp_did", "panel_ols")
INSTEAD = (
    "leave_one_cluster_out refits any design, study.randomization permutes event dates, and Estimate.band draws "
    "multipliers"
)


class RegressionTerm(NamedTuple):
    """A term of one regression: its estimate, and the labels of its G clusters, shape (G,)."""

    fit: Estimate
    target: Target
    clusters: NDArray[Any]

    @property
    def term(self) -> str:
        """Name of the term."""
        return self.fit.terms[0]

    @property
    def treated_clusters(self) -> int:
        """How many clusters carry the term's variance on the treated side."""
        return int(self.fit.leave_out.clusters[0, 0])

    @property
    def shares_given(self) -> bool:
        """Whether it is an average by shares of the treated, which are estimated but taken as given here."""
        single_cell = np.isfinite(self.fit.cohort[0]) and np.isfinite(self.fit.period[0])
        by_share = self.fit.estimand.in_cells or self.term == "treated_average"
        return by_share and not single_cell

    def jackknife(self, who: str) -> Jackknife:
        """Return what leaving out each cluster does, or refuse a term that is not identified without some of them."""
        left = jackknife(self.target)
        lost = self.clusters[left.lost]
        if len(lost):
            others = f" (nor without {len(lost) - 1} others)" if len(lost) > 1 else ""
            raise QuestionError(
                f"{who}: {self.term} has no estimate without cluster {lost[0]}{others}; choose a term that rests on "
                "more clusters, or pool cohorts with cohort_width."
            )
        return left


def regression_term(
    who: str, sample: Sample, design: str, term: str | None, options: Mapping[str, Any]
) -> RegressionTerm:
    """Fit a design and return one of its terms as a combination of the coefficients of one regression.

    Raises
    ------
    QuestionError
        If the sample has one cluster or one that is treated, the design, an option or the scale makes it no linear
        regression, or there is no such term.
    """
    sample.needs_units(who)
    chosen = find_design(design)
    no_regression = (
        f"{who}: {design} is not, with these options, a linear regression that can be solved without a cluster; "
        f"{', '.join(REGRESSIONS)} are. For it {INSTEAD}."
    )
    refuse_few_clusters(who, sample)
    chosen.check_options(dict(options))
    ours = chosen.function.__module__.startswith("study.designs.")
    if (ours and design not in REGRESSIONS) or options.get("family") == "poisson":
        raise QuestionError(no_regression)
    if sample.question.scale == "proportional":
        raise QuestionError(
            f'{who}: a proportional effect is a ratio and no coefficient; ask with scale="level" or "log1p". For it '
            f"{INSTEAD}."
        )
    fit = chosen_term(who, chosen(sample, **options), term)
    if fit.form is None:
        raise QuestionError(no_regression)
    with one_thread():
        equations, unit = fit.form.regression()
        seen = np.flatnonzero(equations.n_periods)
        cluster = np.zeros(len(unit), dtype=np.int64)
        used, cluster[seen] = np.unique(sample.cluster[unit[seen]], return_inverse=True)
        numbers, first = np.unique(sample.cluster, return_index=True)
        of = target(equations, fit.form.combination[:, 0], cluster)
    return RegressionTerm(fit, of, sample.cluster_labels[first[np.isin(numbers, used)]])


def refuse_few_clusters(who: str, sample: Sample) -> None:
    """Refuse a sample with one cluster, or with one cluster that is treated."""
    if len(np.unique(sample.cluster)) < 2:
        raise QuestionError(
            f"{who}: there is one cluster, so nothing can be left out or drawn; cluster by units instead."
        )
    treated = np.unique(sample.cluster[sample.ever_treated])
    if len(treated) == 1:
        label = sample.cluster_labels[np.flatnonzero(sample.cluster == treated[0])[0]]
        raise QuestionError(
            f"{who}: only cluster {label} is treated, so the effect's variance between clusters cannot be learned; use "
            "study.randomization, or cluster by units."
        )


def few_on_a_side(fit: Estimate, fewest: int) -> str | None:
    """Begin a sentence on how many clusters carry a term's variance, where a side that it needs has fewer than some."""
    if not fit.joint:
        return None
    treated, compared = fit.leave_out.clusters[:, 0].tolist()
    if min(treated, compared if fit.sides.both else treated) >= fewest:
        return None
    sides = f"{counted(treated, 'cluster')} on the treated and {compared} on the comparison side"
    return f"{sides} carry the variance of {fit.terms[0]}; with fewer than {fewest} on a side"


def chosen_term(who: str, fit: Estimate, term: str | None) -> Estimate:
    """Return the headline, an average by name, or a term by name, by cohort and period or by event time."""
    if term is None:
        return fit.headline
    if term in AVERAGES:
        return fit.aggregate(term)
    known = dict.fromkeys(fit.terms, fit)
    if np.any(np.isfinite(fit.cohort)):
        known |= dict.fromkeys(fit.by_event_time.terms, fit.by_event_time)
    refuse_unknown("term", term, (*known, *AVERAGES), who)
    which = np.array(known[term].terms) == term
    if known[term].reference[which].all():
        raise QuestionError(f"{who}: {term} is the reference, zero by normalisation; choose another term.")
    return known[term].select(which)
