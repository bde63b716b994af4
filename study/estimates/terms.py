"""Labelled effects with their influence function by unit, on the scale of the question."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal

import numpy as np

from study.core import BoolArray, Described, FloatArray, Influence, QuestionError
from study.estimates.contrast import Contrast
from study.estimates.estimand import Estimand
from study.panel import Sample

Shares = Literal["estimated", "fixed"]
Against = Literal["base", "all_before"]

NO_MEAN = 1e-11  # of the largest outcome: what solving leaves of a mean of zero, which nothing is a share of


@dataclass(frozen=True, eq=False, repr=False)
class Terms(Described):
    """Effects of one design on one sample with their influence, before anything is said about their error.

    The fields hold effects on the scale of ``sample.y``; ``effect`` and ``influence`` are on the question's scale,
    which differs for "proportional" only.

    Attributes
    ----------
    sample : Sample
    estimand : Estimand
    terms : tuple of str, length K
    effect_level : ndarray, shape (K,)
        Effects on the scale of ``sample.y``.
    level_influence : Influence, shape (n, K)
        Sampling influence by unit: the estimates' error is its mean over units.
    cohort, period, event_time : ndarray, shape (K,)
        Labels of the terms, NaN where a term is not of one cohort, period or event time.
    reference : ndarray of bool, shape (K,)
        Terms that are zero by normalisation: no standard error, no part in bands or tests.
    n_obs : int
        Unit-periods whose outcome some term rests on.
    design : str
    untreated_mean, untreated_influence : ndarray of shape (K,) and Influence of shape (n, K), optional
        The treated units' counterfactual mean, as the design implies it.
    cohort_weights : Influence, shape (n, K), optional
        For terms that are averaged by shares: the unit's weight in each term's treated group. Its means over units are
        the shares, and it is the influence of their estimation.
    shares : {"estimated", "fixed"}
        Whether averages carry the influence of estimated shares, or take them as given.
    against : {"base", "all_before"}
        Whether effects after treatment are against the question's base, as those before it are, or against all periods
        before treatment.
    at : ndarray, shape (K,), optional
        The dose or the quantile that a term is of, NaN where it is of none.
    at_name : {"", "dose", "quantile"}
        What ``at`` is.
    contrast : Contrast
        Which units are on which side of each term, as far as it does not follow from the sample.
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
    design: str = ""
    untreated_mean: FloatArray | None = None
    untreated_influence: Influence | None = None
    cohort_weights: Influence | None = None
    shares: Shares = "estimated"
    against: Against = "base"
    at: FloatArray | None = None
    at_name: str = ""
    contrast: Contrast = field(default_factory=Contrast)

    @cached_property
    def effect(self) -> FloatArray:
        """Effects on the question's scale, shape (K,); NaN where the mean to divide by is zero to rounding or less."""
        if self.sample.question.scale != "proportional":
            return self.effect_level
        return self.effect_level / self.positive_mean

    @cached_property
    def influence_map(self) -> Influence:
        """Influence of ``effect`` by unit, shape (n, K); the delta method for "proportional"."""
        return self.on_scale(self.level_influence, self.untreated_influence)

    def on_scale(self, linear: Influence, untreated: Influence | None) -> Influence:
        """Return influence of effects on the question's scale from influence in levels.

        Parameters
        ----------
        linear, untreated : Influence, shape (n, K)
            Of effects and of untreated means in levels.

        Returns
        -------
        Influence, shape (n, K)
        """
        if self.sample.question.scale != "proportional":
            return linear
        assert untreated is not None
        return linear.scaled(1 / self.positive_mean) - untreated.scaled(self.effect / self.positive_mean)

    @property
    def influence(self) -> FloatArray:
        """Influence of ``effect`` by unit as an array, shape (n, K), made when it is asked for."""
        return self.influence_map.dense()

    @cached_property
    def positive_mean(self) -> FloatArray:
        """Untreated means, shape (K,); NaN where they are zero to rounding or less."""
        if self.untreated_mean is None:
            raise QuestionError(
                f'{self.design}: it implies no untreated mean, so scale="proportional" has no answer.'
            )
        return np.where(self.untreated_mean > NO_MEAN * self.largest_outcome, self.untreated_mean, np.nan)

    @cached_property
    def largest_outcome(self) -> float:
        """The largest outcome in absolute value."""
        return float(max(np.nanmax(self.sample.y), -np.nanmin(self.sample.y)))

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
