"""A t test for one treated unit or cohort: effects less cross-fitted errors before treatment.

Chernozhukov, Wüthrich and Zhu (2026).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from study.core import FloatArray, QuestionError, checked, one_thread, p_is, quantile, two_sided_p
from study.inference.conformal import one_path
from study.inference.leave_out import row_of
from study.panel import Sample, Scale

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, eq=False)
class CrossFittedT:
    """The mean effect of one treated path from K folds of the periods before treatment.

    Attributes
    ----------
    design : str
    effects : ndarray, shape (K,)
        Mean effect of each fold: mean error from treatment on less that in the fold, of a fit without the fold.
    n_after : int
        T1: periods from treatment on.
    length : int
        Periods in a fold.
    scale : Scale
    """

    design: str
    effects: FloatArray = field(repr=False)
    n_after: int
    length: int
    scale: Scale

    @property
    def effect(self) -> float:
        """Mean over folds."""
        return float(self.effects.mean())

    @property
    def std_error(self) -> float:
        """Square root of (1 + K r / T1) / K times the variance between folds of r periods."""
        k = len(self.effects)
        return float(np.sqrt((1 + k * self.length / self.n_after) / k) * self.effects.std(ddof=1))

    @property
    def p_value(self) -> float:
        """Of no effect on average, by t(K-1)."""
        return float(two_sided_p(np.array(self.effect / self.std_error), len(self.effects) - 1))

    def interval(self, level: float = 0.95) -> tuple[float, float]:
        """Return the confidence interval by t(K-1)."""
        half = quantile((1 + level) / 2, len(self.effects) - 1) * self.std_error
        return self.effect - half, self.effect + half

    def tidy(self, level: float = 0.95) -> pd.DataFrame:
        """Return one row: estimate, standard error, statistic, p-value, interval."""
        numbers = (self.effect, self.std_error, self.effect / self.std_error, self.p_value)
        return row_of("treated_average", *numbers, *self.interval(level))

    @property
    def sentences(self) -> tuple[str, ...]:
        """What was found, and what it rests on."""
        k = len(self.effects)
        return (
            f"{self.design}: the mean effect is {self.scale.text(self.effect)} (95% interval "
            f"{self.scale.interval(*self.interval())}, {p_is(self.p_value)}), from {k} folds of {self.length} periods "
            f"before treatment and t({k - 1}).",
            "It needs errors over time that are stationary and weakly dependent, and long spans before and after "
            "treatment.",
        )


@checked
def cross_fitted_t(sample: Sample, design: str, *, folds: int = 3, **options: Any) -> CrossFittedT:
    """Test the mean effect on one treated unit, or the mean of one cohort, by a t test over folds of time.

    The design is fitted without each of K folds of consecutive periods before treatment in turn; the mean error in
    the fold, which is the design's bias, is taken from the mean error after treatment. Effects are in levels.

    Parameters
    ----------
    sample : Sample
        One cohort, no gaps.
    design : str
        As in :func:`study.conformal`.
    folds : int
        K; each has r = min(T0 / K, T1) periods, rounded down, the last ones before treatment.
    **options
        Options of the design.

    Raises
    ------
    QuestionError
        As :func:`study.conformal` does; if the question is asked in proportion, there are fewer than two folds, or
        more than periods before treatment.

    References
    ----------
    Chernozhukov, V., Wüthrich, K., and Zhu, Y. (2026). Debiasing and t-tests for synthetic control inference on
    average causal effects. Journal of Political Economy, forthcoming.
    """
    who = "cross_fitted_t"
    path = one_path(who, sample, design, options)
    if path.proportional:
        raise QuestionError(f'{who}: it tests a mean effect in levels; ask with scale="level".')
    if not 2 <= folds < path.n_before:
        raise QuestionError(
            f"{who}: folds is {folds}; it must be from 2 on and below {path.n_before}, the periods before treatment."
        )
    length = min(path.n_before // folds, len(path.after))
    first, effects = path.n_before - length * folds, np.empty(folds)
    with one_thread():
        for k in range(folds):
            fold = first + k * length + np.arange(length)
            seen = sample.treatment == 0
            seen[np.ix_(sample.ever_treated, fold)] = False
            error = path.errors(seen)
            effects[k] = error[path.after].mean() - error[fold].mean()
    if not effects.std() > 1e-12 * np.abs(effects).max():
        raise QuestionError(f"{who}: the folds give one effect, so there is no variance.")
    return CrossFittedT(design, effects, len(path.after), length, sample.question.effect_scale)
