"""What a design answers: labelled effects with their influence function by unit."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from functools import cached_property
from itertools import compress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np

from study.core import (
    BoolArray,
    Described,
    FloatArray,
    Influence,
    IntArray,
    LinearForm,
    QuestionError,
    Text,
    checked,
    counted,
    first_of,
    normal_score,
    quantile,
    same_tail,
    sums_by,
    t_quantile,
    two_sided_p,
)
from study.estimates.jackknife import (
    Leverage,
    Sides,
    covariance_degrees,
    degrees_of_freedom,
    effective_number,
    leverage,
    on_sides,
    one_cluster_sides,
    pooled,
    sums_by_cluster,
    treated_together,
)
from study.estimates.sandwich import (
    GIVEN,
    NAMED,
    VcovName,
    Errors,
    Wald,
    Weights,
    largest_draws,
    small_sample_factor,
    sup_t,
    wald,
)
from study.panel import Sample

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


Shares = Literal["estimated", "fixed"]
Against = Literal["base", "all_before"]

ROUNDING = 1e-13
NO_MEAN = 1e-11  # of the largest outcome: what solving leaves of a mean of zero, which nothing is a share of
CANCELLED = 1e-9
CANCELLED_SHARE = 1e-7  # of the error of the effect in levels: sums of squares cancel to the sixteenth digit


# What a term may be of; fields of an estimate that have its terms last, and those that select themselves.
LABELS = ("event_time", "cohort", "period")
_ARRAYS = (*LABELS, "effect_level", "untreated_mean", "reference", "treated", "treated_then", "at", "only")
_MAPS = ("level_influence", "untreated_influence", "cohort_weights", "form", "left_out")
# The numbers of a tidy table.
NUMBERS = ["estimate", "std_error", "statistic", "p_value", "conf_low", "conf_high"]


class LeftOut(NamedTuple):
    """Influence that leaves each cluster out in turn, of effects and of untreated means in levels.

    Attributes
    ----------
    level : Influence, shape (n, K)
    untreated : Influence, shape (n, K), optional
    clusters : ndarray of int, shape (2, K)
        Clusters that a term rests on, on the treated and on the comparison side.
    estimable : ndarray of bool, shape (K,)
        Whether a term has a sampling variance: two clusters or more on each side or, of an estimate, on one of them.
        There a side on which no unit has influence, as where all of its outcomes move alike, has no cluster.
    own : ndarray of bool, shape (K,), optional
        Of which terms this is the design's own; that of the others follows from their influence. All where not given.
    pooled : Influence, shape (n, K), optional
        What sides of one cluster add to ``level`` under the pooled variance of both sides, and take from
        ``untreated``; see :func:`study.estimates.jackknife.one_cluster_sides`.
    """

    level: Influence
    untreated: Influence | None
    clusters: IntArray
    estimable: BoolArray
    own: BoolArray | None = None
    pooled: Influence | None = None

    def select(self, which: BoolArray) -> LeftOut:
        """Return some of the terms, shape (K,)."""
        untreated, pooled = (None if of is None else of.select(which) for of in (self.untreated, self.pooled))
        own = None if self.own is None else self.own[which]
        level, clusters = self.level.select(which), self.clusters[:, which]
        return LeftOut(level, untreated, clusters, self.estimable[which], own, pooled)

    def averaged(self, weight: FloatArray) -> LeftOut:
        """Return averages of the terms with given weights, shape (K, M)."""
        untreated, pooled = (None if of is None else of @ weight for of in (self.untreated, self.pooled))
        used = weight != 0
        clusters = np.max(np.where(used, self.clusters[:, :, None], 0), axis=1, initial=0)
        estimable = ~np.any(used & ~self.estimable[:, None], axis=0)
        return LeftOut(self.level @ weight, untreated, clusters, estimable, pooled=pooled)


class Estimand(StrEnum):
    """What a design's terms are."""

    GROUP_TIME_ATT = "group-time ATT"
    EVENT_TIME_ATT = "event-time effect"
    COEFFICIENT = "coefficient"
    LONG_CHANGE = "effect on the change over the window"
    GROUP_TIME_ACRT = "group-time average causal response to the dose"

    @property
    def has_path(self) -> bool:
        """Whether its terms are, or can be averaged to, effects by event time."""
        return self.in_cells or self is Estimand.EVENT_TIME_ATT

    @property
    def in_cells(self) -> bool:
        """Whether its terms are by cohort and period."""
        return self in (Estimand.GROUP_TIME_ATT, Estimand.GROUP_TIME_ACRT)

    @property
    def with_article(self) -> str:
        """Its name in a sentence."""
        return f"{'an' if self[0] in 'aeiou' else 'a'} {self}"


def _of_plugin(name: str) -> property:
    """Return what the package maketables asks of an estimate, as :mod:`study.report.plugin` has it under a name."""

    def answer(fit: Estimate) -> Any:
        from study.report import plugin

        value = getattr(plugin, name)
        return value(fit) if callable(value) else value

    return property(answer)


@dataclass(frozen=True, eq=False, repr=False)
class Estimate(Described):
    """Effects of one design on one sample.

    The fields hold effects on the scale of ``sample.y``; ``effect`` and ``influence`` are on the
    question's scale, which differs for "proportional" only.

    Attributes
    ----------
    sample : Sample
    estimand : Estimand
    terms : tuple of str, length K
    effect_level : ndarray, shape (K,)
        Effects on the scale of ``sample.y``.
    level_influence : Influence, shape (n, K)
        Sampling influence by unit: the estimates' error is its mean over units.
    untreated_mean, untreated_influence : ndarray of shape (K,) and Influence of shape (n, K), optional
        The treated units' counterfactual mean, as the design implies it.
    cohort_weights : Influence, shape (n, K), optional
        For terms that are averaged by shares: the unit's weight in each term's treated group. Its means
        over units are the shares, and it is the influence of their estimation.
    shares : {"estimated", "fixed"}
        Whether averages carry the influence of estimated shares, or take them as given.
    against : {"base", "all_before"}
        Whether effects after treatment are against the question's base, as those before it are, or against all
        periods before treatment.
    cohort, period, event_time : ndarray, shape (K,)
        Labels of the terms, NaN where a term is not of one cohort, period or event time.
    reference : ndarray of bool, shape (K,)
        Terms that are zero by normalisation: no standard error, no part in bands or tests.
    n_obs : int
        Unit-periods whose outcome some term rests on.
    df_k : int
        Parameters that the "CR1_fixest" vcov counts.
    n_fixed_effects : int
        Unit effects, which "CR1_areg" counts besides.
    r_squared : float
        Of a regression by least squares, with the fixed effects counted in; NaN where there is none.
    clusters : int
        Clusters with a unit that is used, where the design leaves units out; 0 stands for the sample's.
    published : VcovName
        The ``vcov`` of the design's reference implementation.
    vcov : VcovName
        Of the standard errors. "jackknife", the default: influence that leaves each cluster out in turn, with the t
        distribution whose degrees of freedom the clusters on both sides of the contrast leave; "pooled": one variance
        of the clusters' means on both sides, with t(C-2), which one treated cluster allows; the others without these,
        "CR1_fixest" and "CR1_areg" with t(G-1) and "CR0" and "CR1" with the normal distribution; or the name of one of
        ``given``.
    given : mapping of str to ndarray, shape (K, K)
        Covariances by name as the design's package has them, which need not be sums over clusters of units: they have
        standard errors and tests of the terms, and neither bands nor a covariance with other estimates.
    given_degrees : float
        Degrees of freedom of the t statistics under these.
    design : str
    options : mapping
    seed : int, optional
    remarks : tuple of str
        What the design left out, and why, in sentences.
    of_draw : ndarray, shape (K, R), optional
        ``effect_level`` by draw of the folds, where a design learns on several and averages.
    replicates : ndarray, shape (K, R), optional
        ``effect_level`` under placebo assignments or in bootstrap samples. Its standard deviation is then the standard
        error, under every vcov and of this estimate alone: there is no covariance with others, and no band.
    replication : str
        How replicates are made, such as "placebo".
    form : LinearForm, optional
        The terms as linear combinations of the coefficients of one regression, where they are that.
    treated : ndarray, shape (G, K), optional
        How often a unit of each of the sample's groups counts among the treated of a term; where none are given, once
        if its group is treated in the window.
    sizes : ndarray, shape (n,), optional
        What units weigh on their side besides their sampling weight, where that is not one: their total outcome in a
        Poisson regression with unit effects.
    left_out : LeftOut, optional
        Influence that leaves clusters out, where it does not follow from the influence of the same terms: averages of
        terms, and designs that leave units out themselves.
    at : ndarray, shape (K,), optional
        The dose or the quantile that a term is of, NaN where it is of none.
    at_name : {"", "dose", "quantile"}
        What ``at`` is.
    group : ndarray of int, shape (n,), optional
        Number of each unit's group, of which ``treated`` speaks, where it is not that of the sample's dates.
    only : ndarray of int, shape (K,), optional
        A row of the one cluster that a term's treated units are of, -1 of terms with several. Without it there is no
        such term, so that it has no variance by leaving clusters out.
    treated_then : ndarray of bool, shape (G, K), optional
        Which groups are treated in all periods of a term, where untreated periods of other cohorts move it too: of
        these it is no comparison.
    whole_cohorts : bool
        Whether cohorts weigh as wholes in averages, though terms rest on those of their units that are seen.
    """

    sample: Sample
    estimand: Estimand
    terms: tuple[str, ...]
    effect_level: FloatArray
    level_influence: Influence
    cohort: FloatArray
    period: FloatArray
    event_time: FloatArray
    reference: BoolArray
    n_obs: int
    untreated_mean: FloatArray | None = None
    untreated_influence: Influence | None = None
    cohort_weights: Influence | None = None
    shares: Shares = "estimated"
    against: Against = "base"
    df_k: int = 0
    n_fixed_effects: int = 0
    r_squared: float = math.nan
    clusters: int = 0
    published: VcovName = "CR0"
    vcov: VcovName = "jackknife"
    given: Mapping[str, FloatArray] = field(default_factory=dict)
    given_degrees: float = math.inf
    design: str = ""
    options: Mapping[str, Any] = field(default_factory=dict)
    seed: int | None = None
    remarks: tuple[str, ...] = ()
    of_draw: FloatArray | None = None
    replicates: FloatArray | None = None
    replication: str = ""
    form: LinearForm | None = None
    treated: FloatArray | None = None
    sizes: FloatArray | None = None
    left_out: LeftOut | None = None
    at: FloatArray | None = None
    at_name: str = ""
    group: IntArray | None = None
    only: IntArray | None = None
    treated_then: BoolArray | None = None
    whole_cohorts: bool = False

    @cached_property
    def notes(self) -> tuple[str, ...]:
        """What the design left out, and why, and where inference is not to be trusted, in sentences."""
        warning = few_clusters_warning(self)
        return (*self.remarks, *_of_one_cluster(self), *([] if warning is None else [warning]))

    @checked
    def under(self, vcov: VcovName) -> Estimate:
        """Return the estimate with the standard errors of another covariance estimator.

        Parameters
        ----------
        vcov : str
            One of those that ``vcov`` of :class:`study.Estimate` names.

        Returns
        -------
        Estimate
            The same effects.

        Raises
        ------
        QuestionError
            If there is no such vcov, or the design has no such covariance.
        """
        if vcov in GIVEN and vcov not in self.given:
            known = ", ".join(("jackknife", *NAMED, *self.given))
            raise QuestionError(f'{self.design}: it has no covariance "{vcov}"; it has {known}.')
        return replace(self, vcov=vcov)

    @cached_property
    def effect(self) -> FloatArray:
        """Effects on the question's scale, shape (K,); NaN where the mean to divide by is zero to rounding or less."""
        if self.sample.question.scale != "proportional":
            return self.effect_level
        return self.effect_level / self._positive_mean

    @cached_property
    def influence_map(self) -> Influence:
        """Influence of ``effect`` by unit, shape (n, K); the delta method for "proportional"."""
        return self._on_scale(self.level_influence, self.untreated_influence)

    def _on_scale(self, linear: Influence, untreated: Influence | None) -> Influence:
        """Return influence of ``effect`` from that of effects and untreated means in levels."""
        if self.sample.question.scale != "proportional":
            return linear
        assert untreated is not None
        return linear.scaled(1 / self._positive_mean) - untreated.scaled(self.effect / self._positive_mean)

    @property
    def influence(self) -> FloatArray:
        """Influence of ``effect`` by unit as an array, shape (n, K), made when it is asked for."""
        return self.influence_map.dense()

    @cached_property
    def _positive_mean(self) -> FloatArray:
        if self.untreated_mean is None:
            raise QuestionError(
                f'{self.design}: it implies no untreated mean, so scale="proportional" has no answer.'
            )
        return np.where(self.untreated_mean > NO_MEAN * self._largest, self.untreated_mean, np.nan)

    @cached_property
    def _largest(self) -> float:
        """The largest outcome in absolute value."""
        return float(max(np.nanmax(self.sample.y), -np.nanmin(self.sample.y)))

    @property
    def n_clusters(self) -> int:
        """Number of clusters that the estimate rests on."""
        return self.clusters or self.sample.n_clusters()

    @cached_property
    def sides(self) -> Sides:
        """Which units are on the treated and on the comparison side of each term."""
        sample, k = self.sample, len(self.terms)
        weights = sample.weights if self.sizes is None else sample.weights * self.sizes
        if self.group is not None and self.treated is not None:
            return Sides(self.group, self.treated, weights, sample.cluster, alike=False, both=True)
        if sample.first_treated is None:
            group, treated = sample.ever_treated.astype(np.int64), np.repeat([[0.0], [1.0]], k, axis=1)
            return Sides(group, treated, weights, sample.cluster, alike=False, both=False)
        dates, rows = sample.groups
        group = sample.group_number
        in_window = np.isin(dates, sample.cohorts)[:, None].astype(float)
        treated = np.repeat(in_window, k, axis=1) if self.treated is None else self.treated
        seen = sample.observed
        alike = bool(seen.all()) or all(bool(np.all(seen[members] == seen[members[0]])) for members in rows)
        # Slopes of the effect in the dose need no comparison unit.
        both, eligible = self.estimand is not Estimand.GROUP_TIME_ACRT, None
        if sample.group is not None:  # each cohort is two groups
            group, treated = 2 * group + sample.group, np.repeat(treated, 2, axis=0)
            eligible = np.arange(len(treated)) % 2 == 1
        apart, stratum = eligible is not None and self.estimand.has_path, None
        covariates = None if self.sizes is not None else sample.fixed_covariates
        if covariates is not None:
            stratum = group if alike and not covariates.shape[1] else sample.stratum
        elif sample.summed is not None:
            stratum = sample.summed.stratum
        of_rows = (stratum, sample.summed, sample.replicas, self.treated_then)
        return Sides(group, treated, weights, sample.cluster, alike, both, eligible, apart, *of_rows)

    @cached_property
    def leave_out(self) -> LeftOut:
        """Influence that leaves each cluster out in turn, with the pooled variance of sides of one cluster.

        See :mod:`study.estimates.jackknife`.
        """
        return self._with_one_cluster_sides(self.jackknife) if self.sides.both else self.jackknife

    @cached_property
    def jackknife(self) -> LeftOut:
        """Influence that leaves each cluster out in turn, where both sides have several."""
        left = self.left_out
        if left is None:
            left = self._applied(leverage(self.level_influence, self.sides))
        elif self.sides.both:
            some = on_sides(self.level_influence, self.sides)
            some |= left.clusters == 1  # of these the design itself says why
            left = left._replace(clusters=left.clusters * some, estimable=left.estimable & some.all(axis=0))
        return left

    def _with_one_cluster_sides(self, left: LeftOut) -> LeftOut:
        """Give terms with one cluster on a side the pooled variance of both sides, where the other side has several."""
        only = np.full(len(self.terms), -1) if self.only is None else self.only
        few = (only >= 0) | (~left.estimable & (left.clusters.min(axis=0) < 2))
        few &= ~self.reference & np.isfinite(self.effect_level) & (left.clusters.max(axis=0) >= 2)
        estimable = left.estimable & (only < 0)
        if not few.any():
            return left._replace(estimable=estimable)
        k, place = np.flatnonzero(few), np.eye(len(few))
        influence = self.level_influence.columns(k).dense()
        # A design that counts clusters itself says that one carries the term where it names none.
        clusters = left.clusters if self.left_out is None else np.maximum(left.clusters, 1)
        found = one_cluster_sides(influence, self.sides.select(k), only[k], clusters[:, k])
        estimable[k] = found.estimable
        sign = self._signs_of_clusters(left.level.select(estimable & ~few), found.own)

        def replaced(others: Influence | None, few_terms: FloatArray) -> Influence:
            own = Influence.of(few_terms) @ place[few]
            return own if others is None or few.all() else others.select(~few) @ place[~few] + own

        level = replaced(left.level, influence * found.factor)
        untreated = left.untreated
        if untreated is not None and self.untreated_influence is not None:
            untreated = replaced(untreated, self.untreated_influence.columns(k).dense() * found.factor)
        pooled = replaced(left.pooled, found.own * sign)
        return left._replace(level=level, untreated=untreated, pooled=pooled, estimable=estimable)

    def _signs_of_clusters(self, others: Influence, own: FloatArray) -> FloatArray:
        """Return the sign of each row's influence on the other terms, shape (n, 1); 1 where it has none.

        Errors of a cluster are correlated over terms, so that one which is alone in a term has an error there of the
        sign that it has elsewhere.
        """
        sign, rows = np.ones((len(own), 1)), np.flatnonzero(own.any(axis=1))
        if len(rows) and others.shape[1]:
            cluster = self.sample.cluster
            of_cluster = sums_by(others.dense().sum(axis=1, keepdims=True), cluster, int(cluster.max()) + 1)
            sign[rows] = np.where(of_cluster[cluster[rows]] < 0, -1.0, 1.0)
        return sign

    def _applied(self, own: Leverage) -> LeftOut:
        untreated = self.untreated_influence if self.sample.question.scale == "proportional" else None
        untreated_errors = None if untreated is None else own.applied(untreated, self.sides)
        level_errors = own.applied(self.level_influence, self.sides)
        return LeftOut(level_errors, untreated_errors, own.clusters, own.estimable)

    @cached_property
    def _on_two_sides(self) -> LeftOut | None:
        """Influence by the clusters on both sides of the contrast, or None under a vcov that does not ask."""
        if self.vcov == "pooled":
            return self._applied(pooled(self.level_influence, self.sides))
        return self.leave_out if self.vcov == "jackknife" else None

    @cached_property
    def level_errors(self) -> Influence:
        """Influence of ``effect_level`` whose covariance is that of the estimate's ``vcov``, shape (n, K).

        Raises
        ------
        QuestionError
            If the standard errors are those of replicates, or of a covariance that is no sum over units.
        """
        if not self.joint:
            raise QuestionError(f"{self.design}: {self.not_joint}")
        sides = self._on_two_sides
        if sides is None:
            return self._by_name(self.level_influence)
        return sides.level if sides.pooled is None else sides.level + sides.pooled

    @cached_property
    def untreated_errors(self) -> Influence | None:
        """Influence of ``untreated_mean`` whose covariance is that of the estimate's ``vcov``."""
        sides = self._on_two_sides
        if sides is not None:
            if sides.untreated is None or sides.pooled is None:
                return sides.untreated
            return sides.untreated - sides.pooled
        return None if self.untreated_influence is None else self._by_name(self.untreated_influence)

    @cached_property
    def errors(self) -> Influence:
        """Influence of ``effect`` whose covariance is that of the estimate's ``vcov``, shape (n, K)."""
        return self._on_scale(self.level_errors, self.untreated_errors)

    def _chosen(self, which: BoolArray) -> BoolArray:
        """Return which terms are selected; refuse what is not a truth value a term."""
        which = np.asarray(which)
        if which.dtype != bool or which.shape != (len(self.terms),):
            raise QuestionError(
                f"Estimate: terms are selected by {len(self.terms)} truth values, one a term, and not by an array of "
                f"{which.dtype} of shape {which.shape}."
            )
        return which

    def _by_name(self, influence: Influence) -> Influence:
        sizes = (self.n_obs, self.df_k, self.n_fixed_effects)
        factor = small_sample_factor(self.n_clusters, self.vcov, *sizes)
        return influence.scaled(np.full(len(self.terms), math.sqrt(factor)))

    @property
    def estimable(self) -> BoolArray:
        """Which terms have a sampling variance by the estimate's ``vcov``, shape (K,)."""
        if self.replicates is not None:
            return ~self.reference
        return ~self.reference & (True if self._on_two_sides is None else self._on_two_sides.estimable)

    @cached_property
    def std_error(self) -> FloatArray:
        """Standard errors by the estimate's ``vcov``, shape (K,).

        NaN for reference terms and for terms that have no sampling variance: with "jackknife" those that rest on fewer
        than two clusters on a side of the contrast, and always those of which rounding error is all that is left.
        """
        if self.sample.question.scale != "proportional":
            return self._level_error
        if self.replicates is not None:  # the treated units' own outcomes are given
            return self._level_error * np.abs(1 + self.effect) / self._positive_mean
        error = self._spread(self.errors)
        least = CANCELLED_SHARE * self._level_error / self._positive_mean
        return np.where((self._level_error > 0) & (error > least), error, np.nan)

    @cached_property
    def _level_error(self) -> FloatArray:
        """Standard errors of effects in levels, shape (K,); NaN where there is none, or rounding error alone."""
        if self.vcov in self.given:
            return np.sqrt(np.diag(self._given))
        if self.replicates is not None:
            return np.where(self.reference, np.nan, self.replicates.std(axis=1))
        return np.where(self.estimable & ~self.fits_exactly, self._any_error, np.nan)

    @cached_property
    def _any_error(self) -> FloatArray:
        """Standard errors of effects in levels, shape (K,), whatever they rest on."""
        return self._spread(self.level_errors)

    @cached_property
    def fits_exactly(self) -> BoolArray:
        """Of which terms rounding error is all that varies between clusters, shape (K,)."""
        sample = self.sample
        least = np.full(len(self.terms), ROUNDING * self._largest)
        if self.n_clusters < sample.n_units:
            by_unit = np.sqrt(self.level_errors.squares(np.arange(sample.n_rows)))
            least = np.maximum(least, CANCELLED * by_unit / sample.n_rows)
        return self._any_error <= least

    def _spread(self, errors: Influence) -> FloatArray:
        """Standard errors, "CR0", of what has these errors, shape (K,)."""
        return np.sqrt(errors.squares(self.sample.cluster, self.sample.copies)) / self.sample.n_rows

    @property
    def _given(self) -> FloatArray:
        """The covariance of the estimate's ``vcov``, where it is a given one; NaN for variances below zero."""
        matrix = self.given[self.vcov]
        none = ~(np.diag(matrix) > 0)
        return np.where(none | none[:, None], np.nan, matrix)

    @property
    def draw_error(self) -> FloatArray:
        """Standard deviation of ``effect`` over draws of the folds, of R draws together, shape (K,).

        The standard errors leave it out. NaN where folds are drawn once or never.
        """
        if self.of_draw is None or self.of_draw.shape[1] == 1:
            return np.full(len(self.terms), np.nan)
        effects = self.of_draw
        if self.sample.question.scale == "proportional":
            assert self.untreated_mean is not None
            level = (self.untreated_mean + self.effect_level)[:, None]
            effects = effects / np.where(level > effects, level - effects, np.nan)
        return np.asarray(effects.std(axis=1, ddof=1) / math.sqrt(effects.shape[1]))

    @checked
    def covariance(self, vcov: VcovName | None = None) -> FloatArray:
        """Return the covariance of the effects by the estimate's ``vcov`` or another.

        Parameters
        ----------
        vcov : str, optional
            Of the standard errors; the estimate's own where none is given.

        Returns
        -------
        ndarray, shape (K, K)
            In squared units of ``effect``; NaN for terms that have no sampling variance.

        Raises
        ------
        QuestionError
            If there is no such vcov, or standard errors are those of replicates, so that terms have no
            covariance.
        """
        fit = self if vcov is None else self.with_vcov(vcov)
        if fit.vcov in fit.given:
            return fit._given
        cov = fit.errors.products(self.sample.cluster, self.sample.copies) / self.sample.n_rows**2
        none = ~(fit.estimable | self.reference)
        cov[none] = cov[:, none] = np.nan
        return cov

    @cached_property
    def degrees_of_freedom(self) -> FloatArray:
        """Degrees of freedom of the t statistics by the estimate's ``vcov``, shape (K,), infinite if normal."""
        if self.replicates is not None:
            return np.full(len(self.terms), math.inf)
        if self.vcov == "jackknife":
            varies = self.estimable & ~self.fits_exactly
            return np.where(varies, self._degrees_on_two_sides(self._on_scale), np.nan)
        if self.vcov in self.given:
            return np.full(len(self.terms), self.given_degrees)
        if self._on_two_sides is not None:
            return np.where(self.estimable, self._on_two_sides.clusters.sum(axis=0) - 2.0, np.nan)
        t = self.vcov in ("CR1_fixest", "CR1_areg")
        return np.full(len(self.terms), self.n_clusters - 1.0 if t else math.inf)

    def _degrees_on_two_sides(
        self, on_scale: Callable[[Influence, Influence | None], Influence]
    ) -> FloatArray:
        """Degrees of freedom that the clusters on both sides leave, of effects in levels or on the question's scale."""
        left = self.leave_out
        errors = on_scale(left.level, left.untreated)
        if left.pooled is None:
            return degrees_of_freedom(errors, self.sides)
        cluster, copies = self.sample.cluster, self.sample.copies
        with_pooled = on_scale(self.level_errors, self.untreated_errors).squares(cluster, copies)
        added = np.maximum(with_pooled - errors.squares(cluster, copies), 0.0)
        squares, treated = left.pooled.dense() ** 2, self.sides.treated[self.sides.group] > 0
        from_treated = np.sum(squares * ~treated, axis=0) > np.sum(squares * treated, axis=0)
        return degrees_of_freedom(errors, self.sides, np.stack([added * from_treated, added * ~from_treated]))

    @checked
    def critical_value(self, level: float = 0.95) -> FloatArray:
        """Return the pointwise critical values.

        Parameters
        ----------
        level : float
            Coverage of the two-sided interval, between 0 and 1.

        Returns
        -------
        ndarray, shape (K,)
            Standard errors from an estimate to the ends of its interval.

        Raises
        ------
        QuestionError
            If the level is not between 0 and 1.
        """
        return t_quantile((1 + level) / 2, self.degrees_of_freedom)

    @checked
    def tidy(self, level: float = 0.95) -> pd.DataFrame:
        """Return one row a term: what it is of, its estimate, standard error and pointwise interval.

        Effects are in the question's scale: on "proportional" shares of the counterfactual mean, 0.187 for 18.7%.

        Parameters
        ----------
        level : float
            Coverage of the intervals, between 0 and 1.

        Returns
        -------
        DataFrame
            term, event_time, cohort, period (NaN where a term is not of one), outcome, design, estimate,
            std_error, statistic, p_value, conf_low, conf_high, and dose or quantile where terms are of one;
            ``attrs["notes"]`` holds the notes.

        Raises
        ------
        QuestionError
            If the level is not between 0 and 1.

        Examples
        --------
        >>> import study
        >>> question = study.Question("papers", "first_accelerator", min_cohort_size=1)
        >>> fit = study.estimate(study.load_panel("cvpr"), question)
        >>> fit.tidy().query("cohort == 2018 and event_time >= 0").shape
        (7, 12)
        """
        import pandas as pd

        columns = {name: getattr(self, name) for name in LABELS}
        columns |= {} if self.at is None else {self.at_name: self.at}
        columns |= {"outcome": self.sample.question.outcome, "design": self.design}
        table = pd.DataFrame({"term": self.terms} | columns | numbers(self, level))
        table.attrs["notes"] = list(self.notes)
        return table

    def glance(self) -> pd.DataFrame:
        """Return one row: what the estimate is, and what it rests on.

        Returns
        -------
        DataFrame
            design, estimand, outcome, event, scale, nobs (unit-periods used), n_units, n_treated, n_cohorts,
            n_periods, n_clusters, cluster ("unit" where each unit is its own), vcov (of the standard
            errors), n_terms, n_fixed_effects, seed, panel and panel_checksum.
        """
        import pandas as pd

        sample, question = self.sample, self.sample.question
        facts = {
            "design": self.design,
            "estimand": self.estimand.value,
            "outcome": question.outcome,
            "event": question.event,
            "scale": question.scale,
            "nobs": self.n_obs,
            "n_units": sample.n_units,
            "n_treated": sample.n_treated,
            "n_cohorts": len(sample.cohorts),
            "n_periods": len(sample.periods),
            "n_clusters": self.n_clusters,
            "cluster": question.cluster or "unit",
            "vcov": self.errors_by,
            "n_terms": len(self.terms),
            "n_fixed_effects": self.n_fixed_effects,
            "seed": self.seed,
            "panel": sample.panel.name,
            "panel_checksum": sample.panel_checksum,
        }
        return pd.DataFrame([facts])

    @property
    def varies(self) -> BoolArray:
        """Which terms have a sampling variance, shape (K,)."""
        return ~self.reference & np.isfinite(self.effect) & ~np.isnan(self.std_error)

    @property
    def errors_by(self) -> str:
        """What its standard errors are: the vcov, or how their replicates are made."""
        return self.vcov if self.replicates is None else self.replication

    @property
    def joint(self) -> bool:
        """Whether its terms have a joint distribution, with one another and with other estimates."""
        return not self.not_joint

    @property
    def not_joint(self) -> str:
        """Why there is no joint distribution, in a sentence; empty where there is one."""
        if self.replicates is not None:
            return (
                "joint inference (bands, joint tests, differences from other estimates) is not available, since "
                'standard errors by placebo or bootstrap are of each number alone; inference="jackknife" has it where '
                "every cohort has two units."
            )
        if self.vcov in self.given:
            return (
                f'the covariance "{self.vcov}" is a matrix and no sum over units, so it has no band, no average '
                'and no covariance with other estimates; take these under "jackknife" or "CR0".'
            )
        return ""

    @checked
    def band(
        self,
        level: float = 0.95,
        *,
        draws: int = 9999,
        seed: int = 0,
        weights: Weights = "gaussian",
        errors: Errors = "sample",
    ) -> pd.DataFrame:
        """Return the simultaneous band of all terms that vary.

        The critical value is drawn for normal errors, see :func:`study.estimates.sup_t`; each term has the t quantile
        with the same tail, by its degrees of freedom. With terms that have two clusters on a side, such as those of
        the last event times where cohorts are small, bands cover too seldom; leave them out by :meth:`select`.

        Parameters
        ----------
        level : float
            Simultaneous coverage.
        draws, seed : int
            Of the multiplier bootstrap.
        weights : {"gaussian", "rademacher", "mammen", "webb"}
            Of clusters in a draw.
        errors : {"sample", "drawn"}
            Standard errors that draws are divided by: the sample's, or each draw's own.

        Returns
        -------
        DataFrame
            term, event_time, estimate, std_error, band_low, band_high; NaN limits for reference terms.
        """
        import pandas as pd

        used = self.varies
        if not used.any():
            raise QuestionError(f"{self.design}: no term has a sampling variance, so there is no band.")
        if weights != "gaussian" or errors == "drawn":
            self.sample.needs_units(f'Estimate.band with weights="{weights}"')
        sums = self.errors.select(used).cluster_sums(self.sample.cluster, self.sample.copies)
        critical = sup_t(largest_draws(sums, draws, seed, weights, errors), level)
        widened = same_tail(critical, self.degrees_of_freedom) if errors == "sample" else critical
        half = np.where(used, widened * self.std_error, np.nan)
        columns = {"term": self.terms, "event_time": self.event_time, "estimate": self.effect}
        limits = {"band_low": self.effect - half, "band_high": self.effect + half}
        return pd.DataFrame(columns | {"std_error": self.std_error} | limits)

    @checked
    def test(self, which: BoolArray | None = None, vcov: VcovName | None = None) -> Wald:
        """Test that all terms (or those selected, shape (K,)) are zero.

        On the scale of ``sample.y``: a proportional effect is zero where the effect in levels is, which is
        defined also where the mean to divide by is not positive. Under "jackknife" and "pooled" the statistic has an F
        distribution whose degrees of freedom the clusters leave, with other covariance estimators a chi-squared one.

        Parameters
        ----------
        which : ndarray of bool, shape (K,), optional
            Terms that are tested, of which those without a sampling variance are left out; all where none is given.
        vcov : str, optional
            Of the covariance; the estimate's own where none is given.

        Returns
        -------
        Wald
            ``statistic``, ``rank``, ``p_value`` and ``degrees``.

        Raises
        ------
        QuestionError
            If no selected term has a sampling variance.
        """
        fit = self if vcov is None else self.with_vcov(vcov)
        used = np.isfinite(fit.level_scores) & (True if which is None else self._chosen(which))
        if not used.any():
            raise QuestionError("Wald test: there is no term to test.")
        if fit.vcov in fit.given:
            return wald(self.effect_level[used], fit._given[np.ix_(used, used)])
        errors, columns = fit.level_errors.select(used), np.flatnonzero(used)
        cov = errors.products(self.sample.cluster, self.sample.copies) / self.sample.n_rows**2
        degrees = math.inf
        if fit.vcov == "jackknife":
            sides = self.sides.select(columns)
            sums, *which_clusters = sums_by_cluster(errors, sides)
            treated, present = (np.asarray(each.any(axis=1)) for each in which_clusters)
            of_group = treated_together(sides.treated > 0)
            together = np.zeros(len(sums), dtype=np.int64)
            np.maximum.at(together, sides.cluster, of_group[sides.group])
            degrees = covariance_degrees(sums, treated, self.sample.replicas, present, together)
        elif fit.vcov == "pooled":
            degrees = float(fit.degrees_of_freedom[used].min())
        return wald(self.effect_level[used], cov, degrees)

    @cached_property
    def level_scores(self) -> FloatArray:
        """Absolute normal statistics that effects in levels are zero, with the p-values of their t tests, shape (K,).

        NaN for terms that have no sampling variance and, of several, for those that rest on one cluster of a side:
        its errors in different terms are not known apart, so that they have no part in joint tests.
        """
        on_scale = self.sample.question.scale == "proportional"
        if self.vcov == "jackknife" and on_scale and self.joint:
            degrees = self._degrees_on_two_sides(lambda level, _: level)
        else:
            degrees = self.degrees_of_freedom
        scores = normal_score(self.effect_level / self._level_error, degrees)
        return np.where(self.on_one_cluster, np.nan, scores) if len(self.terms) > 1 else scores

    @property
    def on_one_cluster(self) -> BoolArray:
        """Which terms have a pooled variance under "jackknife", since a side of them is one cluster, shape (K,)."""
        if self.vcov != "jackknife" or not self.joint or self.leave_out.pooled is None:
            return np.zeros(len(self.terms), dtype=bool)
        return (self.leave_out.pooled.squares(np.arange(self.sample.n_rows)) > 0) & self.estimable

    @property
    def pre(self) -> BoolArray:
        """Which terms are before treatment, shape (K,); none of them where terms have no event time."""
        return self.event_time < -self.sample.question.anticipation

    @property
    def in_window(self) -> BoolArray:
        """Which terms figures and tables of a path show, shape (K,).

        Those up to the question's horizon H, and as many before the event, from -H-1 on; all where it has none.
        """
        last = self.sample.question.last
        return (self.event_time >= -last - 1) & (self.event_time <= last)

    @checked
    def minimum_detectable_effect(self, power: float = 0.8, size: float = 0.05) -> FloatArray:
        """Return the effect that a two-sided test finds with the given power.

        It is (t(1 - size/2) + t(power)) times the standard error. Where that rests on a handful of treated units it is
        uncertain itself, and fewer samples than ``power`` says find an effect as large as this is on average; so it is
        with an effect in proportion that multiplies errors too, with which the standard error grows.

        Parameters
        ----------
        power, size : float
            Of the test, between 0 and 1.

        Returns
        -------
        ndarray, shape (K,)
            In the units of ``effect``; NaN for terms that have no sampling variance.

        Raises
        ------
        QuestionError
            If power or size is not between 0 and 1.
        """
        both = self.critical_value(1 - size) + t_quantile(power, self.degrees_of_freedom)
        return np.asarray(both * self.std_error)

    @checked
    def aggregate(self, to: str, *, horizon: int | None = None, balance: int | None = None) -> Estimate:
        """Average the effects over cohorts, periods or event times.

        Parameters
        ----------
        to : str
            "event", "cohort" or "calendar" for one term each, or the name of one average:
            "event_average", "treated_average", "cohort_average", "calendar_average". "dose" or "quantile" for the terms
            that are of one, where there are some.
        horizon : int, optional
            Last event time in "event_average"; by default the question's.
        balance : int, optional
            For "event" and "event_average": only cohorts with an effect at every event time from 0 to it; by default
            the question's.

        Returns
        -------
        Estimate
            One term each, or the one average.

        Raises
        ------
        QuestionError
            If terms do not have the labels that the average needs, or it takes no horizon or balance.

        Examples
        --------
        >>> fit.aggregate("cohort").tidy()  # doctest: +SKIP
        >>> fit.aggregate("event_average", horizon=2).effect  # doctest: +SKIP
        """
        from study.estimates.aggregation import aggregate

        return aggregate(self, to, horizon=horizon, balance=balance)

    def balanced(self, balance: int) -> Estimate:
        """Return the estimate as an answer to its question with a balance; see :class:`study.Question`.

        Parameters
        ----------
        balance : int
            Last event time at which a cohort has to have an effect, 0 or later.

        Returns
        -------
        Estimate
            The same terms, whose averages are of these cohorts.

        Raises
        ------
        QuestionError
            If the question cannot have this balance.
        """
        question = self.sample.question.replace(balance=balance)
        return replace(self, sample=replace(self.sample, question=question))

    @cached_property
    def of_no_dose(self) -> Estimate:
        """The terms that averages are of: those of no single dose or quantile."""
        return self if self.at is None else replace(self.select(np.isnan(self.at)), at=None)

    @cached_property
    def by_event_time(self) -> Estimate:
        """The effects averaged over cohorts, or those of the question's balance, for each event time."""
        from study.estimates.aggregation import event_effects

        return event_effects(self, self.sample.question.balance)

    @cached_property
    def headline(self) -> Estimate:
        """The question's average; for a coefficient or an effect on the long change, that itself."""
        if not self.estimand.has_path or (len(self.terms) == 1 and not self.event_time[0] < 0):
            return self.select(np.arange(len(self.terms)) == 0)
        return self.aggregate(self.sample.question.average)

    @checked
    def summary(self, level: float = 0.95) -> Text:
        """Return as text what the estimate is, its headline, its path by event time (or its terms) and notes.

        Proportional effects are in percent, as in tables; :meth:`tidy` has shares.

        Parameters
        ----------
        level : float
            Coverage of the intervals, between 0 and 1.

        Returns
        -------
        str

        Raises
        ------
        QuestionError
            If the level is not between 0 and 1, or the design is not known here.
        """
        from study.report import estimate_summary

        return estimate_summary(self, level)

    def __str__(self) -> str:
        """Return the summary."""
        return self.summary()

    def _described(self) -> tuple[str, Mapping[str, str]]:
        from study.report import estimate_facts

        return estimate_facts(self)

    def _repr_html_(self) -> str:
        from study.report import as_table, by_event_time

        return super()._repr_html_() + as_table(by_event_time(self)).html().decode()

    @checked
    def select(self, which: BoolArray) -> Estimate:
        """Return the estimate with some of its terms, which has shape (K,).

        Parameters
        ----------
        which : ndarray of bool, shape (K,)
            Which terms stay.

        Returns
        -------
        Estimate

        Raises
        ------
        QuestionError
            If it is not one truth value a term.

        Examples
        --------
        >>> fit.select(fit.cohort == 2018)  # doctest: +SKIP
        """
        which = self._chosen(which)
        if which.all():
            return self
        chosen = {name: value.select(which) for name in _MAPS if (value := getattr(self, name)) is not None}
        chosen |= {
            name: values[..., which] for name in _ARRAYS if (values := getattr(self, name)) is not None
        }
        if self.left_out is not None and self.left_out.own is not None and not self.left_out.own[which].any():
            chosen["left_out"] = None
        for name in ("of_draw", "replicates"):
            chosen[name] = None if (value := getattr(self, name)) is None else value[which]
        chosen["given"] = {name: matrix[np.ix_(which, which)] for name, matrix in self.given.items()}
        return replace(self, terms=tuple(compress(self.terms, which)), **chosen)

    def plot(
        self,
        ax: Axes | None = None,
        *,
        title: str | None = None,
        labels: Mapping[str, str] | None = None,
        level: float = 0.95,
        style: Literal["pointrange", "ribbon"] = "pointrange",
        window: tuple[int, int] | None = None,
    ) -> Figure:
        """Draw the effects with their intervals and simultaneous band.

        By event time as :func:`study.event_plot` does; averages by cohort or calendar period at the panel's periods,
        other terms (a coefficient, an average) as dots on lines.

        Parameters
        ----------
        ax : matplotlib Axes, optional
            Where to draw; on a figure of its own where none are given.
        title : str, optional
            The design's name where none is given.
        labels : mapping of str to str, optional
            What the design, the outcome and the unit of the period are called on the figure, by their names.
        level : float
            Coverage of the intervals and of the band, between 0 and 1.
        style : {"pointrange", "ribbon"}
            Dots with their intervals, or a line with its band.
        window : (int, int), optional
            First and last event time that are drawn.

        Returns
        -------
        matplotlib Figure

        Raises
        ------
        QuestionError
            If a window is given and terms have no event time.
        """
        from study.figures import effects_plot

        return effects_plot(self, ax, title=title, labels=labels, level=level, style=style, window=window)

    @checked
    def save(self, path: str | Path) -> None:
        """Write the estimate to an .npz file of arrays and text, which runs no code when it is read.

        The file holds the arrays of the sample (outcome, treatment, covariates, weights, clusters, labels of
        units) and the influence of each unit, so share it as you would share the data. It does not hold the
        panel; see :func:`load_estimate`. Options of the design that are objects, such as learners, are
        kept as text.

        Parameters
        ----------
        path : str or Path
            Ends in .npz; its folder is made where there is none.

        Raises
        ------
        OutputError
            If the path does not end in .npz or cannot be written to, or no file can hold the estimate.

        Examples
        --------
        >>> import study
        >>> panel = study.load_panel("cvpr")
        >>> fit = study.estimate(panel, study.Question("papers", "first_accelerator"), "twfe")
        >>> fit.save("build/twfe.npz")
        >>> study.load_estimate("build/twfe.npz").std_error == fit.std_error
        array([ True])
        """
        from study.estimates.saved import save

        self.sample.needs_units("Estimate.save")
        save(self, Path(path))

    def __maketables_stat__(self, key: str) -> int | float | str | None:
        """Return what the estimate rests on by maketables' key, None where it has none of it."""
        from study.report import plugin

        return plugin.statistic(self, key)

    __maketables_coef_table__ = _of_plugin("coefficient_table")
    __maketables_depvar__ = _of_plugin("outcome")
    __maketables_fixef_string__ = _of_plugin("fixed_effects")
    __maketables_vcov_info__ = _of_plugin("errors")
    __maketables_var_labels__ = _of_plugin("AVERAGES")
    __maketables_stat_labels__ = _of_plugin("LABELS")
    __maketables_default_stat_keys__ = _of_plugin("DEFAULTS")


# With 20 degrees of freedom a 5% test with normal critical values rejects a true null in 6.4% of samples; below,
# it is soon a different test (7.8% with 10, 10.7% with 5).
FEW = 20
FEW_ON_A_SIDE = 5


def effective_clusters(fit: Estimate) -> FloatArray:
    """Return the effective number of clusters of each term, shape (K,); NaN for terms without a variance.

    At most the number of clusters that the estimate rests on; see :func:`effective_number` for the formula.
    It is an estimate, and a rough one where few clusters carry the variance: one that does by design but whose
    own sum happens to be small, or a small cohort whose residuals are small because it determines its own effect,
    is not seen. Compare it with the number of treated clusters.
    """
    used = fit.varies
    effective = np.full(len(fit.terms), np.nan)
    if used.any() and fit.joint:
        sums = fit.influence_map.select(used).cluster_sums(fit.sample.cluster, fit.sample.copies)
        effective[used] = np.minimum(effective_number(sums, fit.sample.replicas), fit.n_clusters)
    return effective


def treated_clusters(fit: Estimate) -> int:
    """Return the number of clusters with a treated unit."""
    return fit.sample.n_clusters(fit.sample.ever_treated)


def numbers(fit: Estimate, level: float) -> dict[str, FloatArray]:
    """Return the numbers of :meth:`Estimate.tidy` by name, shape (K,) each."""
    half, statistic = fit.critical_value(level) * fit.std_error, fit.effect / fit.std_error
    p_value = two_sided_p(statistic, fit.degrees_of_freedom)
    values = (fit.effect, fit.std_error, statistic, p_value, fit.effect - half, fit.effect + half)
    return dict(zip(NUMBERS, values, strict=True))


def _of_one_cluster(fit: Estimate) -> Iterator[str]:
    """Name the cohorts or terms that rest on one treated or one comparison cluster, in one sentence."""
    sample, pooled = fit.sample, fit.on_one_cluster
    if not pooled.any():
        return
    kind = "cluster" if fit.n_clusters < sample.n_units else "unit"
    if len(fit.terms) == 1:
        who = f"{fit.terms[0]} rests in part on one {kind} of a side"
    elif np.isnan(fit.cohort[pooled]).any():
        who = f"{first_of(compress(fit.terms, pooled))} rest on one {kind} of a side"
    else:
        cohorts = [sample.period_name(g) for g in np.unique(fit.cohort[pooled])]
        several = "cohort" if len(cohorts) == 1 else "cohorts"
        who = f"effects of {several} {', '.join(cohorts)} rest on one {kind} of a side"
    yield f"{who}: their standard errors take the pooled variance of treated and comparison units"


def few_clusters_warning(fit: Estimate) -> str | None:
    """Say in one sentence why the headline's interval is not to be trusted, or return None.

    Under "jackknife" it warns where fewer than 5 clusters are on the treated or on the comparison side: no variance
    estimate is reliable with so few. With other covariance estimators it warns where the smaller of the effective number of
    clusters and the number of treated clusters, or the fewer of winners and losers of a lottery, is below 20. With as
    many degrees of freedom as the smaller of them has, where each cohort takes one of the treated clusters' for its
    mean, a t statistic exceeds the normal 5% critical value as often as the sentence says, or somewhat oftener, because
    the variance estimate is too small as well.
    """
    if not fit.joint:
        return None
    try:
        headline = fit.headline
    except QuestionError:  # whoever asks for the average is told why there is none
        return None
    if fit.vcov == "jackknife":
        return _few_on_a_side(fit, headline)
    if fit.vcov == "pooled":
        return _of_pooled(fit)
    instrument, effective = fit.sample.question.instrument, effective_clusters(headline)[0]
    few, means = treated_clusters(headline), max(len(fit.sample.cohorts), 1)
    who = f"{few} {'has' if few == 1 else 'have'} treated units"
    if instrument is not None and fit.group is not None:  # winners and losers of a lottery
        won = fit.sides.treated[fit.group, 0] > 0
        winners, losers = (fit.sample.n_clusters(side) for side in (won, ~won))
        few, means, who = min(winners, losers), 1, f"{instrument} moves {winners}"
    if np.isnan(effective):
        instead = "" if instrument is not None else "; use randomization inference over event dates"
        return (
            f"{fit.design}: the average has no sampling variance that can be estimated (of {fit.n_clusters} clusters "
            f"{who}){instead}."
        )
    if min(effective, few) >= FEW:
        return None
    degrees = max(1.0, min(effective, few - means))
    size = float(two_sided_p(quantile(0.975), degrees))
    instead = "" if instrument is not None else " or randomization inference"
    return (
        f"{fit.design}: of {fit.n_clusters} clusters {who}, and the average's variance rests on about {effective:.0f}; "
        "a 5% test with normal critical values then rejects a true null in at least about "
        f'{size:.0%} of samples, so use vcov="jackknife"{instead}.'
    )


def _few_on_a_side(fit: Estimate, headline: Estimate) -> str | None:
    """Say that few clusters are on a side of the headline, or that it therefore has no standard error."""
    treated, compared = (int(number) for number in headline.leave_out.clusters[:, 0])
    instrument = fit.sample.question.instrument
    who = f"treated and {counted(compared, 'comparison cluster')}"
    if instrument is not None and fit.group is not None:
        who = f"clusters that {instrument} moves and {compared} others"
    what = f"{fit.design}: {treated} {who} carry the variance of {headline.terms[0]}"
    estimable, one = headline.leave_out.estimable[0], (treated, compared) == (1, 0)  # without pseudo-values
    if headline.fits_exactly[0] and not one and (estimable or 0 in (treated, compared)):
        exact = "outcomes do not vary between clusters beyond what the design fits"
        return f"{fit.design}: {exact}, so {headline.terms[0]} has no standard error."
    if not estimable:
        if min(treated, compared) >= 2 or one:
            effects, side = _without_error(fit)
            side = side if fit.sample.group is None else "one cluster of a group"
            side = side if instrument is None else "one cluster of winners or losers"
            what = f"{fit.design}: {effects} in {headline.terms[0]} rest on {side}"
        if instrument is not None:
            return f"{what}, so it has no standard error."
        return (
            f"{what}, so it has no standard error; use study.randomization over event dates, or average over fewer "
            "event times by a smaller horizon."
        )
    sides = headline.sides
    fewest = min(treated, compared) if sides.both else max(treated, compared)
    if (fit.sample.first_treated is None and not sides.both) or fewest >= FEW_ON_A_SIDE:
        return None
    instead = "" if instrument is not None else ", so use study.randomization over event dates"
    return f"{what}; with fewer than {FEW_ON_A_SIDE} on a side the interval need not hold its level{instead}."


def _of_pooled(fit: Estimate) -> str | None:
    """Say what a pooled variance takes for granted where dates differ or few clusters are treated."""
    question, treated = fit.sample.question, treated_clusters(fit)
    refused = question.cluster or question.instrument or question.group  # by few_treated
    if len(fit.sample.cohorts) != 1:
        instead = 'vcov "jackknife"' if refused else "study.few_treated"
        return (
            f"{fit.design}: with several dates comparison clusters are compared over averages of the treated clusters' "
            "periods, which vary less than those of one date, so that the pooled test of an average over dates "
            f"rejects too often; use {instead}."
        )
    if treated >= FEW_ON_A_SIDE:
        return None
    instead = "" if refused else "; study.few_treated needs the second alone, or how errors vary with size"
    return (
        f"{fit.design}: the errors of {counted(treated, 'treated cluster')} are taken to be normal and to vary as "
        f"those of comparison clusters do{instead}."
    )


def _without_error(fit: Estimate) -> tuple[str, str]:
    """Name the effects of an average that have no sampling variance, and the one cluster that they rest on."""
    try:
        path, question = fit.by_event_time, fit.sample.question
    except QuestionError:  # an average that was made already, or a coefficient
        return "some effects", "one treated cluster"
    averaged = ~path.pre & (path.event_time <= question.last)
    alone = averaged & ~(path.leave_out.estimable | path.reference)
    side = "comparison" if np.any(path.leave_out.clusters[1, alone] == 1) else "treated"
    times = ", ".join(f"{e:g}" for e in path.event_time[alone])
    return f"effects at event time {times}" if times else "some effects", f"one {side} cluster"
