"""What a design answers: labelled effects with their influence function by unit."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from study import inference
from study.distributions import quantile, two_sided_p
from study.errors import QuestionError
from study.estimand import Estimand
from study.inference import Convention, Errors, Wald, Weights
from study.influence import Influence
from study.normal_equations import LinearForm
from study.panel import FloatArray
from study.question import Sample

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure


Shares = Literal["estimated", "fixed"]
Against = Literal["base", "all_before"]


@dataclass(frozen=True, eq=False)
class Estimate:
    """Effects of one design on one sample.

    The fields hold effects on the scale of ``sample.y``; ``effect`` and ``influence`` are on the
    question's scale, which differs for "proportional" only.

    Attributes
    ----------
    sample : Sample
    estimand : Estimand
    terms : tuple of str, length K
    linear : ndarray, shape (K,)
        Effects on the scale of ``sample.y``.
    linear_influence : Influence, shape (n, K)
        Sampling influence by unit: the estimates' error is its mean over units.
    untreated_mean, untreated_influence : ndarray of shape (K,) and Influence of shape (n, K), optional
        The treated units' mean without treatment, as the design implies it.
    membership : Influence, shape (n, K), optional
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
        Unit-periods used.
    counted : int
        Parameters that the "CR1_fixest" convention counts.
    absorbed : int
        Unit effects, which "CR1_areg" counts besides.
    clusters : int
        Clusters with a unit that is used, where the design leaves units out; 0 stands for the sample's.
    convention : Convention
        Small-sample convention of the standard errors: "CR1_fixest" with t(G-1), else the normal.
    design : str
    options : mapping
    seed : int, optional
    notes : tuple of str
        What the design left out, and why, in sentences.
    of_draw : ndarray, shape (K, R), optional
        ``linear`` by draw of the folds, where a design learns on several and averages.
    form : LinearForm, optional
        The terms as linear combinations of the coefficients of one regression, where they are that.
    """

    sample: Sample
    estimand: Estimand
    terms: tuple[str, ...]
    linear: FloatArray
    linear_influence: Influence
    cohort: FloatArray
    period: FloatArray
    event_time: FloatArray
    reference: NDArray[np.bool_]
    n_obs: int
    untreated_mean: FloatArray | None = None
    untreated_influence: Influence | None = None
    membership: Influence | None = None
    shares: Shares = "estimated"
    against: Against = "base"
    counted: int = 0
    absorbed: int = 0
    clusters: int = 0
    convention: Convention = "CR0"
    design: str = ""
    options: Mapping[str, Any] = field(default_factory=dict)
    seed: int | None = None
    notes: tuple[str, ...] = ()
    of_draw: FloatArray | None = None
    form: LinearForm | None = None

    @cached_property
    def effect(self) -> FloatArray:
        """Effects on the question's scale, shape (K,); NaN where the mean to divide by is not positive."""
        if self.sample.question.scale != "proportional":
            return self.linear
        return self.linear / self._positive_mean

    @cached_property
    def influence_map(self) -> Influence:
        """Influence of ``effect`` by unit, shape (n, K); the delta method for "proportional"."""
        if self.sample.question.scale != "proportional":
            return self.linear_influence
        assert self.untreated_influence is not None
        of_effect = self.linear_influence.scaled(1 / self._positive_mean)
        return of_effect - self.untreated_influence.scaled(self.effect / self._positive_mean)

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
        return np.where(self.untreated_mean > 0, self.untreated_mean, np.nan)

    @property
    def n_clusters(self) -> int:
        """Number of clusters that the estimate rests on."""
        return self.clusters or int(self.sample.cluster.max()) + 1

    @cached_property
    def std_error(self) -> FloatArray:
        """Standard errors under the estimate's convention, shape (K,); NaN for reference terms."""
        factor = inference.small_sample_factor(
            self.n_clusters, self.convention, self.n_obs, self.counted, self.absorbed
        )
        squares = self.influence_map.squares(self.sample.cluster)
        error = np.sqrt(factor * np.maximum(squares, 0.0)) / self.sample.n_units
        return np.where(self.reference | ~(error > 0), np.nan, error)

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
            level = (self.untreated_mean + self.linear)[:, None]
            effects = effects / np.where(level > effects, level - effects, np.nan)
        made: FloatArray = effects.std(axis=1, ddof=1) / math.sqrt(effects.shape[1])
        return made

    def covariance(self, convention: Convention | None = None) -> FloatArray:
        """Return the covariance of the effects, shape (K, K), under the estimate's convention or another."""
        return inference.covariance(
            self.influence_map,
            self.sample.cluster,
            convention or self.convention,
            n_obs=self.n_obs,
            counted=self.counted,
            absorbed=self.absorbed,
            clusters=self.clusters,
        )

    @property
    def degrees_of_freedom(self) -> float:
        """G-1 under "CR1_fixest" and "CR1_areg", infinitely many (the normal) otherwise."""
        return self.n_clusters - 1 if self.convention in ("CR1_fixest", "CR1_areg") else math.inf

    def critical_value(self, level: float = 0.95) -> float:
        """Return the pointwise critical value: t(G-1) under "CR1_fixest", normal otherwise."""
        return quantile((1 + level) / 2, self.degrees_of_freedom)

    def tidy(self, level: float = 0.95) -> pd.DataFrame:
        """Return one row a term: estimate, standard error, statistic, p-value, pointwise interval."""
        import pandas as pd

        statistic = self.effect / self.std_error
        p_value = two_sided_p(statistic, self.degrees_of_freedom)
        half = self.critical_value(level) * self.std_error
        return pd.DataFrame(
            {
                "term": self.terms,
                "estimate": self.effect,
                "std_error": self.std_error,
                "statistic": statistic,
                "p_value": p_value,
                "conf_low": self.effect - half,
                "conf_high": self.effect + half,
            }
        )

    @property
    def varies(self) -> NDArray[np.bool_]:
        """Which terms have a sampling variance, shape (K,)."""
        return ~self.reference & np.isfinite(self.effect) & ~np.isnan(self.std_error)

    def band(
        self,
        level: float = 0.95,
        *,
        draws: int = 9999,
        seed: int = 0,
        weights: Weights = "rademacher",
        errors: Errors = "sample",
    ) -> pd.DataFrame:
        """Return the simultaneous band of all terms that vary.

        With few clusters take ``errors="drawn"`` with weights "rademacher" or "webb"; see
        :func:`study.inference.sup_t`.

        Returns
        -------
        DataFrame
            term, event_time, estimate, std_error, band_low, band_high; NaN limits for reference terms.
        """
        import pandas as pd

        used = self.varies
        if not used.any():
            raise QuestionError(f"{self.design}: no term has a sampling variance, so there is no band.")
        sums = self.influence_map.select(used).cluster_sums(self.sample.cluster)
        critical = inference.sup_t(sums, level=level, draws=draws, seed=seed, weights=weights, errors=errors)
        half = np.where(used, critical * self.std_error, np.nan)
        return pd.DataFrame(
            {
                "term": self.terms,
                "event_time": self.event_time,
                "estimate": self.effect,
                "std_error": self.std_error,
                "band_low": self.effect - half,
                "band_high": self.effect + half,
            }
        )

    def test(self, which: NDArray[np.bool_] | None = None, convention: Convention = "CR1") -> Wald:
        """Test that all terms (or those selected, shape (K,)) are zero.

        On the scale of ``sample.y``: a proportional effect is zero where the effect in levels is, which is
        defined also where the mean to divide by is not positive.

        Raises
        ------
        QuestionError
            If no selected term has a sampling variance.
        """
        used = ~self.reference & (self.linear_influence.squares(self.sample.cluster) > 0)
        if which is not None:
            used &= which
        cov = inference.covariance(
            self.linear_influence.select(used),
            self.sample.cluster,
            convention,
            n_obs=self.n_obs,
            counted=self.counted,
            absorbed=self.absorbed,
            clusters=self.clusters,
        )
        return inference.wald(self.linear[used], cov)

    @property
    def pre(self) -> NDArray[np.bool_]:
        """Which terms are before treatment, shape (K,); none of them where terms have no event time."""
        return self.event_time < -self.sample.question.anticipation

    def minimum_detectable_effect(self, power: float = 0.8, size: float = 0.05) -> FloatArray:
        """Return the effect that a two-sided test finds with the given power, shape (K,), same units."""
        return (self.critical_value(1 - size) + quantile(power, self.degrees_of_freedom)) * self.std_error

    def aggregate(self, to: str, *, horizon: int | None = None, balance: int | None = None) -> Estimate:
        """Average the effects over cohorts, periods or event times.

        Parameters
        ----------
        to : str
            "event", "cohort" or "calendar" for one term each, or the name of one average:
            "event_average", "treated_average", "cohort_average", "calendar_average".
        horizon : int, optional
            Last event time in "event_average"; by default the question's.
        balance : int, optional
            For "event" and "event_average": only cohorts that are seen that many periods after treatment.

        Raises
        ------
        QuestionError
            If the estimate's terms do not have the labels that the average needs.
        """
        from study.aggregation import aggregate

        return aggregate(self, to, horizon=horizon, balance=balance)

    @cached_property
    def by_event_time(self) -> Estimate:
        """The effects averaged over cohorts, for each event time."""
        from study.aggregation import event_effects

        return event_effects(self)

    @cached_property
    def headline(self) -> Estimate:
        """The question's average; for a coefficient or an effect on the long change, that itself."""
        if not self.estimand.has_path or len(self.terms) == 1:
            return self.select(np.arange(len(self.terms)) == 0)
        return self.aggregate(self.sample.question.average)

    def select(self, which: NDArray[np.bool_]) -> Estimate:
        """Return the estimate with some of its terms, which has shape (K,)."""
        assert (self.untreated_mean is None) == (self.untreated_influence is None)
        return replace(
            self,
            terms=tuple(term for term, used in zip(self.terms, which, strict=True) if used),
            linear=self.linear[which],
            linear_influence=self.linear_influence.select(which),
            untreated_mean=None if self.untreated_mean is None else self.untreated_mean[which],
            untreated_influence=None
            if self.untreated_influence is None
            else self.untreated_influence.select(which),
            membership=None if self.membership is None else self.membership.select(which),
            cohort=self.cohort[which],
            period=self.period[which],
            event_time=self.event_time[which],
            reference=self.reference[which],
            of_draw=None if self.of_draw is None else self.of_draw[which],
            form=None if self.form is None else self.form.select(which),
        )

    def plot(self, level: float = 0.95) -> Figure:
        """Draw the effects by event time with their simultaneous band, as a matplotlib Figure."""
        from study.report.figures import plot_estimate

        return plot_estimate(self, level)

    @property
    def __maketables_coef_table__(self) -> pd.DataFrame:
        """Terms as rows of a table of the package maketables; see :mod:`study.report.plugin`."""
        from study.report.plugin import coefficient_table

        return coefficient_table(self)

    def __maketables_stat__(self, key: str) -> int | float | str | None:
        """Return what the estimate rests on by maketables' key, None where it has none of it."""
        from study.report.plugin import statistic

        return statistic(self, key)

    @property
    def __maketables_depvar__(self) -> str:
        """The outcome on its scale."""
        from study.report.plugin import outcome

        return outcome(self)

    @property
    def __maketables_fixef_string__(self) -> str | None:
        """The fixed effects of a regression, joined by "+"."""
        from study.report.plugin import fixed_effects

        return fixed_effects(self)

    @property
    def __maketables_vcov_info__(self) -> dict[str, str]:
        """The small-sample convention, and what errors are clustered by."""
        from study.report.plugin import cluster

        return {"vcov_type": self.convention, "clustervar": cluster(self)}

    @property
    def __maketables_var_labels__(self) -> dict[str, str]:
        """Labels of averages only: a table shares labels, and others could rename another model's variables."""
        from study.report.plugin import AVERAGES

        return AVERAGES

    @property
    def __maketables_stat_labels__(self) -> dict[str, str]:
        """What the keys of ``__maketables_stat__`` mean."""
        from study.report.plugin import LABELS

        return LABELS

    @property
    def __maketables_default_stat_keys__(self) -> list[str]:
        """The keys that a table shows unless told otherwise."""
        from study.report.plugin import DEFAULTS

        return DEFAULTS
