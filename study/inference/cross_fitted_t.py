"""A t test for one treated unit or cohort: effects less cross-fitted errors before treatment.

Chernozhukov, Wüthrich and Zhu (2026).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from study.core import FloatArray, QuestionError, checked, one_thread, p_is
from study.inference.conformal import one_path
from study.inference.leave_out import TTest
from study.panel import Sample, Scale


@dataclass(frozen=True, eq=False)
class CrossFittedT(TTest):
    """The mean effect of one treated path from K folds of the periods before treatment.

    Attributes
    ----------
    design, term : str
    effect : float
        Mean over folds.
    std_error : float
        Square root of (1 + K r / T1) / K times the variance between folds of r periods.
    degrees : int
        K - 1.
    effects : ndarray, shape (K,)
        Mean effect of each fold: mean error from treatment on less that in the fold, of a fit without the fold.
    n_after : int
        T1: periods from treatment on.
    length : int
        Periods in a fold.
    scale : Scale
    """

    effects: FloatArray = field(repr=False)
    n_after: int
    length: int
    scale: Scale

    @property
    def sentences(self) -> tuple[str, ...]:
        """What was found, and what it rests on."""
        return (
            f"{self.design}: the mean effect is {self.scale.text(self.effect)} (95% interval "
            f"{self.scale.interval(*self.interval())}, {p_is(self.p_value)}), from {len(self.effects)} folds of "
            f"{self.length} periods before treatment and t({self.degrees}).",
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
            f"{who}: folds is {folds}; it must be from 2 on and below {path.n_before}, the number of periods before "
            "treatment, of which 3 are needed."
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
    n_after, scale = len(path.after), sample.question.effect_scale
    std_error = float(np.sqrt((1 + folds * length / n_after) / folds) * effects.std(ddof=1))
    numbers = (float(effects.mean()), std_error, folds - 1)
    return CrossFittedT(design, "treated_average", *numbers, effects, n_after, length, scale)
