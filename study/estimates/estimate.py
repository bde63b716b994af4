"""What a design answers: labelled effects with their influence function by unit."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import compress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from study.core import (
    BoolArray,
    FloatArray,
    Influence,
    LinearForm,
    QuestionError,
    Text,
    checked,
    normal_score,
    same_tail,
    t_quantile,
)
from study.estimates.contrast import LeftOut, Sides, sides_of
from study.estimates.few_clusters import few_clusters_warning, of_one_cluster
from study.estimates.multiplier import Errors, Weights, largest_draws, sup_t
from study.estimates.presentation import LABELS, Presented, glance, tidy
from study.estimates.terms import Terms
from study.estimates.vcov.base import Vcov, joint
from study.estimates.vcov.jackknife import Jackknife
from study.estimates.vcov.names import VcovName, VcovWord, read_vcov
from study.estimates.vcov.registry import vcov_of
from study.estimates.wald import Wald

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


# Fields of an estimate that have its terms last, and those that select themselves.
_ARRAYS = (*LABELS, "effect_level", "untreated_mean", "reference", "at")
_SELECTED = ("level_influence", "untreated_influence", "cohort_weights", "form", "contrast")


@dataclass(frozen=True, eq=False, repr=False)
class Estimate(Terms, Presented):
    """Effects of one design on one sample, with their standard errors.

    Beside those of :class:`study.estimates.Terms` (``sample``, ``terms``, ``effect_level``, ``level_influence``, labels
    and what the effects are) its fields are what standard errors take.

    Attributes
    ----------
    df_k : int
        Parameters that ``vcov="CR1_fixest"`` counts.
    n_fixed_effects : int
        Unit effects, which "CR1_areg" counts too.
    r_squared : float
        Of a regression by least squares, with the fixed effects counted in; NaN where there is none.
    clusters : int
        Clusters with a unit that is used, where the design leaves units out; 0 stands for the sample's.
    published : str
        The ``vcov`` of the design's reference implementation.
    vcov : {"jackknife", "bell_mccaffrey", "pooled", "CR0", "CR1", "CR1_fixest", "CR1_areg"} or a name in ``given``
        The covariance estimator; see :mod:`study.estimates.vcov`.
    given : mapping of str to ndarray, shape (K, K)
        Covariance matrices by name as linearmodels has them.
    given_degrees : float
        Degrees of freedom of the t statistics under these.
    options : mapping
    seed : int, optional
    remarks : tuple of str
        What the design left out, and why, in sentences.
    of_draw : ndarray, shape (K, R), optional
        ``effect_level`` by draw of the folds, where a design learns on several and averages.
    replicates : ndarray, shape (K, R), optional
        ``effect_level`` under placebo assignments or in bootstrap samples. Its standard deviation is then the standard
        error, whatever ``vcov`` says, and there is no covariance and no band.
    replication : str
        How replicates are made, such as "placebo".
    form : LinearForm, optional
        The terms as linear combinations of the coefficients of one regression, where they are that.
    """

    df_k: int = 0
    n_fixed_effects: int = 0
    r_squared: float = math.nan
    clusters: int = 0
    published: VcovName = "CR0"
    vcov: VcovName = "jackknife"
    given: Mapping[str, FloatArray] = field(default_factory=dict)
    given_degrees: float = math.inf
    options: Mapping[str, Any] = field(default_factory=dict)
    seed: int | None = None
    remarks: tuple[str, ...] = ()
    of_draw: FloatArray | None = None
    replicates: FloatArray | None = None
    replication: str = ""
    form: LinearForm | None = None

    @cached_property
    def notes(self) -> tuple[str, ...]:
        """What the design left out, and why, and where inference is not to be trusted, in sentences."""
        warning = few_clusters_warning(self)
        return (*self.remarks, *of_one_cluster(self), *([] if warning is None else [warning]))

    def with_vcov(self, vcov: VcovWord) -> Estimate:
        """Return the estimate with the standard errors of another covariance estimator.

        Parameters
        ----------
        vcov : str
            A name as :func:`study.estimate` takes it.

        Returns
        -------
        Estimate
            The same effects.

        Raises
        ------
        QuestionError
            If there is no such covariance estimator, or the design does not have it.

        Examples
        --------
        >>> fit.with_vcov("CR1").std_error  # doctest: +SKIP
        """
        name, cluster = read_vcov(self.design, vcov, self.given)
        if cluster is not None and cluster != self.sample.question.cluster:
            raise QuestionError(
                f"{self.design}: an estimate keeps its clusters; to cluster by {cluster} estimate anew with "
                f'vcov={{"CRV1": "{cluster}"}} or Question(cluster="{cluster}").'
            )
        return replace(self, vcov=name)

    @property
    def n_clusters(self) -> int:
        """Number of clusters that the estimate rests on."""
        return self.clusters or self.sample.n_clusters()

    @cached_property
    def sides(self) -> Sides:
        """Which units are on the treated and on the comparison side of each term."""
        return sides_of(self)

    @cached_property
    def _vcov(self) -> Vcov:
        return vcov_of(self)

    @cached_property
    def _jackknife(self) -> Jackknife:
        return self._vcov if isinstance(self._vcov, Jackknife) else Jackknife(self)

    @property
    def leave_out(self) -> LeftOut:
        """Influence that leaves each cluster out in turn, with the pooled variance of sides of one cluster."""
        return self._jackknife.left_out

    @property
    def level_errors(self) -> Influence:
        """Influence of ``effect_level`` whose sum of squares over clusters is the covariance, shape (n, K).

        Raises
        ------
        QuestionError
            If the standard errors are those of replicates, or of a covariance that is no sum over units.
        """
        return joint(self._vcov).level_errors

    @property
    def untreated_errors(self) -> Influence | None:
        """Influence of ``untreated_mean`` whose sum of squares over clusters is the covariance, shape (n, K)."""
        return joint(self._vcov).untreated_errors

    @property
    def errors(self) -> Influence:
        """Influence of ``effect`` whose sum of squares over clusters is the covariance, shape (n, K)."""
        return joint(self._vcov).errors

    def _chosen(self, which: BoolArray) -> BoolArray:
        """Return which terms are selected; refuse what is not a truth value a term."""
        which = np.asarray(which)
        if which.dtype != bool or which.shape != (len(self.terms),):
            raise QuestionError(
                f"Estimate: terms are selected by {len(self.terms)} truth values, one a term, and not by an array of "
                f"{which.dtype} of shape {which.shape}."
            )
        return which

    @property
    def estimable(self) -> BoolArray:
        """Which terms have a sampling variance, shape (K,)."""
        return self._vcov.estimable

    @cached_property
    def std_error(self) -> FloatArray:
        """Standard errors, shape (K,).

        NaN for reference terms and for terms that have no sampling variance: with "jackknife" those that rest on one
        cluster on each side of the contrast, and always those of which rounding error is all that is left.
        """
        return self._vcov.std_error

    @property
    def fits_exactly(self) -> BoolArray:
        """Terms of which rounding error is all that varies between clusters, shape (K,)."""
        return joint(self._vcov).fits_exactly

    @property
    def by_clusters(self) -> bool:
        """Whether its degrees of freedom are those that the clusters on both sides leave."""
        return self._vcov.by_clusters

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
    def covariance(self, vcov: VcovWord | None = None) -> FloatArray:
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
        return (self if vcov is None else self.with_vcov(vcov))._vcov.covariance()

    @property
    def degrees_of_freedom(self) -> FloatArray:
        """Degrees of freedom of the t statistics, shape (K,), infinite if they are normal."""
        return self._vcov.degrees_of_freedom

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
            std_error, statistic, df, p_value, conf_low, conf_high, and dose or quantile where terms are of one;
            ``attrs["notes"]`` holds the notes.

        Raises
        ------
        QuestionError
            If the level is not between 0 and 1.

        Examples
        --------
        >>> import study
        >>> question = study.Question("papers", "first_accelerator")
        >>> fit = study.estimate(study.load_panel("cvpr"), question)
        >>> fit.tidy().query("cohort == 2018 and event_time >= 0").shape
        (7, 13)
        """
        return tidy(self, level)

    def glance(self) -> pd.DataFrame:
        """Return one row: what the estimate is, and what it rests on.

        Returns
        -------
        DataFrame
            design, estimand, outcome, event, scale, nobs (unit-periods used), n_units, n_treated, n_cohorts,
            n_periods, n_clusters, cluster ("unit" where each unit is its own), vcov, df (degrees of freedom of the
            headline), treated_clusters and comparison_clusters (that the headline rests on), n_terms, n_fixed_effects,
            seed, panel and panel_checksum.
        """
        return glance(self)

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
        return self._vcov.not_joint

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
    def test(self, which: BoolArray | None = None, vcov: VcovWord | None = None) -> Wald:
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
        return fit._vcov.test(used)

    @cached_property
    def level_scores(self) -> FloatArray:
        """Absolute normal statistics that effects in levels are zero, with the p-values of their t tests, shape (K,).

        NaN for terms that have no sampling variance and, of several, for those that rest on one cluster of a side:
        its errors in different terms are not known apart, so that they have no part in joint tests.
        """
        scores = normal_score(self.effect_level / self._vcov.level_std_error, self._vcov.level_degrees)
        return np.where(self.on_one_cluster, np.nan, scores) if len(self.terms) > 1 else scores

    @property
    def on_one_cluster(self) -> BoolArray:
        """Which terms have a pooled variance by "jackknife", since a side of them is one cluster, shape (K,)."""
        if isinstance(self._vcov, Jackknife):
            return self._vcov.on_one_cluster
        return np.zeros(len(self.terms), dtype=bool)

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
            The same terms, whose averages by event time are of these cohorts; "event_average" is the headline.

        Raises
        ------
        QuestionError
            If the question cannot have this balance.
        """
        question = self.sample.question.replace(balance=balance, average="event_average")
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

        return super()._repr_html_() + as_table(by_event_time(self)).html()

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
        chosen = {
            name: value.select(which) for name in _SELECTED if (value := getattr(self, name)) is not None
        }
        chosen |= {
            name: values[..., which] for name in _ARRAYS if (values := getattr(self, name)) is not None
        }
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
