"""Inference for one treated unit or cohort: residuals permuted over time, or cross-fitted before treatment.

Chernozhukov, Wüthrich and Zhu (2021), equations (1) and (2) and Algorithm 1; the t test is of their paper of 2026.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import combinations
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np

from study.core import BoolArray, FloatArray, IntArray, QuestionError, checked, counted, one_thread, p_is
from study.designs import PredictionErrors, find_design
from study.estimates import p_of_draws
from study.inference.leave_out import TTest
from study.panel import Sample, Scale

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Permuted = Literal["moving_block", "iid"]

WHO = "conformal"
FARTHEST = 1e6  # of the residuals' size: where no end of an interval is looked for any more
ROOT = 1e-7


@dataclass(frozen=True, eq=False)
class Conformal:
    """A test of a path of effects, and the interval of each period that inverts the test of it alone.

    Attributes
    ----------
    sample : Sample
    design : str
    null : ndarray, shape (T1,)
        The effects that are tested, by period from treatment on.
    statistic : float
        Sum of absolute residuals from treatment on, under the null.
    p_value : float
        Of the null.
    permuted : {"moving_block", "iid"}
    permutations : int
        That the p-value rests on: all there are if ``exact``, the actual order among them.
    exact : bool
    drawn : ndarray, shape (permutations,)
        The statistic of each.
    periods, effect, p_values, conf_low, conf_high : ndarray, shape (T1,)
        From treatment on: estimate, p-value of the null in the period alone, and the interval around the estimate of
        effects that are not rejected; infinite on a side where none is. In proportion there is no estimate where the
        predicted outcome is not positive, and no interval around one of -1, which is the same under all nulls.
    level : float
    n_before : int
        Periods before treatment.
    """

    sample: Sample = field(repr=False)
    design: str
    null: FloatArray = field(repr=False)
    statistic: float
    p_value: float
    permuted: Permuted
    permutations: int
    exact: bool
    drawn: FloatArray = field(repr=False)
    periods: IntArray = field(repr=False)
    effect: FloatArray = field(repr=False)
    p_values: FloatArray = field(repr=False)
    conf_low: FloatArray = field(repr=False)
    conf_high: FloatArray = field(repr=False)
    level: float
    n_before: int

    @property
    def sentences(self) -> tuple[str, ...]:
        """What was tested, what came out, and what it rests on."""
        scale, same = self.sample.question.effect_scale, len(np.unique(self.null)) == 1
        null = f"an effect of {scale.text(self.null[0])} in every period" if same else "the path of effects"
        n = self.sample.n_treated
        treated = "one treated unit" if n == 1 else f"the mean of {n} treated units"
        orders = {"moving_block": "cyclic shifts of time", "iid": "orders of the periods"}[self.permuted]
        assumes = {"moving_block": "stationary and weakly dependent", "iid": "exchangeable"}[self.permuted]
        basis = f"all {self.permutations:,}" if self.exact else f"{self.permutations:,} random"
        sentences = [
            f"{self.design}, {treated}: {null} has {p_is(self.p_value)}, from {basis} {orders} of the residuals of a "
            "fit to all periods under this hypothesis.",
            f"It needs no large number of units, but errors over time that are {assumes}"
            f"{f'; the smallest possible p-value is {1 / self.permutations:.2g}' if self.exact else ''}.",
        ]
        if 1 / (self.n_before + 1) > 1 - self.level + 1e-12:
            sentences.append(
                f"With {counted(self.n_before, 'period')} before treatment no effect of a single period can be "
                f"rejected at {1 - self.level:.2g}, so that intervals have no ends; a level of at most "
                f"{self.n_before / (self.n_before + 1):.2f} has some."
            )
        return tuple(sentences)

    def tidy(self) -> pd.DataFrame:
        """Return a row for the path, then one a period: estimate, null, p_value, conf_low, conf_high."""
        import pandas as pd

        periods, effect, null = self.periods, self.effect, self.null
        columns: dict[str, Any] = {"term": [*map(self.sample.period_name, periods)]}
        columns |= {"event_time": periods - self.sample.cohorts[0], "period": periods}
        columns |= {"estimate": effect, "null": null, "p_value": self.p_values}
        table = pd.DataFrame(columns | {"conf_low": self.conf_low, "conf_high": self.conf_high})
        path = {"term": "path", "estimate": effect.mean(), "null": null.mean(), "p_value": self.p_value}
        return pd.concat([pd.DataFrame([path]), table], ignore_index=True)[table.columns]

    def plot(self, ax: Axes | None = None) -> Figure:
        """Draw the estimates of the periods with their intervals."""
        from study.figures import dot_figure

        table = self.tidy().iloc[1:].rename(columns={"term": "label"})
        scale, ends = self.sample.question.effect_scale, table[["estimate", "conf_low", "conf_high"]]
        shown = np.append(ends.to_numpy()[np.isfinite(ends)], 0.0)
        limits = np.array([shown.min(), shown.max()]) + 0.05 * np.ptp(shown) * np.array([-1, 1])
        table[ends.columns] = ends.clip(*limits)
        figure = dot_figure(table, ax, xlabel=scale.axis(), level=self.level, percent=scale.percent)
        if np.isinf(ends).any(axis=None):  # intervals without ends go to the edges of the axis
            (figure.axes[0] if ax is None else ax).set_xlim(scale.factor * limits)
        return figure


@checked
def conformal(
    sample: Sample,
    design: str,
    *,
    null: float | Sequence[float] = 0.0,
    permuted: Permuted = "moving_block",
    permutations: int = 4999,
    level: float = 0.95,
    seed: int = 0,
    **options: Any,
) -> Conformal:
    """Test a path of effects on one treated unit, or on the mean of one cohort, by permuting residuals over time.

    Outcomes are freed of the effects under the null, the design is fitted to all periods, and the sum of absolute
    residuals from treatment on is compared with its values when residuals are permuted. Valid in finite samples for
    residuals that are exchangeable, and in long panels for errors that are stationary and weakly dependent, if the
    design is consistent or stable. The interval of a period inverts the test on the periods before treatment and this
    one.

    Parameters
    ----------
    sample : Sample
        One cohort, no gaps.
    design : str
        "imputation" (difference-in-differences with the mean of comparison units), "synthetic_did" with
        ``method="synthetic_control"``, "generalized_synthetic_control", or another that predicts untreated outcomes
        of single units. What the options leave to the design is chosen once, on the sample as it is.
    null : float or sequence of float
        Effect in every period from treatment (less the anticipation) on, or in each, on the question's scale.
    permuted : {"moving_block", "iid"}
        All cyclic shifts of time, or all orders of the periods.
    permutations : int
        Of "iid": where there are no more sets of periods, each is taken once; else so many are drawn, and p is
        (1 + those at least as large) / (1 + permutations).
    level : float
        Of the intervals.
    seed : int
        Of the draws.
    **options
        Options of the design.

    Returns
    -------
    Conformal
        ``statistic`` and ``p_value`` of the null, and by period from treatment on ``effect``, ``p_values``,
        ``conf_low`` and ``conf_high``, shape (T1,), on the question's scale.

    Raises
    ------
    QuestionError
        If the treatment is not absorbing, there are several cohorts, gaps or fewer than two periods before treatment,
        an argument is out of range, or the design cannot answer the question or does not predict.

    References
    ----------
    Chernozhukov, V., Wüthrich, K., and Zhu, Y. (2021). An exact and robust conformal inference method for
    counterfactual and synthetic controls. Journal of the American Statistical Association 116(536).
    """
    if permutations < 1:
        raise QuestionError(f"{WHO}: permutations is {permutations}; it must be a whole number from 1 on.")
    path = one_path(WHO, sample, design, options)
    tested = _null(path, null)
    with one_thread():
        size = np.abs(path.residuals(np.arange(len(sample.periods)), tested))
        observed = float(size[path.after].sum())
        drawn, exact = _statistics(size, len(tested), permuted, permutations, seed)
        effect, after = path.effects(), path.after.tolist()
        p_values = [path.p_value(t, c) for t, c in zip(after, tested.tolist(), strict=True)]
        ends = [path.interval(t, c, 1 - level) for t, c in zip(after, effect.tolist(), strict=True)]
    conf_low, conf_high = np.array(ends).T
    return Conformal(
        sample=sample,
        design=design,
        null=tested,
        statistic=observed,
        p_value=p_of_draws(drawn, observed, exact=exact),
        permuted=permuted,
        permutations=len(drawn),
        exact=exact,
        drawn=drawn,
        periods=sample.periods[path.after],
        effect=effect,
        p_values=np.array(p_values),
        conf_low=conf_low,
        conf_high=conf_high,
        level=level,
        n_before=path.n_before,
    )


class OnePath(NamedTuple):
    """One treated path, the mean of the treated units of a sample, and what predicts it."""

    sample: Sample
    predict: PredictionErrors

    @property
    def after(self) -> IntArray:
        """Numbers of the periods from treatment less the anticipation on, shape (T1,)."""
        return np.flatnonzero((self.sample.treatment == 1).any(axis=0))

    @property
    def n_before(self) -> int:
        """T0."""
        return int(self.after[0])

    @property
    def proportional(self) -> bool:
        """Whether effects are shares of the untreated outcome."""
        return self.sample.question.scale == "proportional"

    def mean(self, values: FloatArray) -> FloatArray:
        """Return the mean over treated units by period, shape (T,); refuse what has no value."""
        own = self.sample.ever_treated
        mean = np.average(values[own], axis=0, weights=self.sample.weights[own])
        if np.isnan(mean).any():
            raise QuestionError(
                f"{WHO}: some period of the treated units cannot be predicted; leave covariates with gaps out."
            )
        return mean

    def errors(self, seen: BoolArray) -> FloatArray:
        """Return the mean prediction error of a fit to cells, (n, T), by period, shape (T,)."""
        return self.mean(self.predict(self.sample, seen))

    def effects(self) -> FloatArray:
        """Return the effects from treatment on, as a fit to untreated cells has them, shape (T1,)."""
        effect = self.errors(self.sample.treatment == 0)
        if self.proportional:
            untreated = self.mean(self.sample.y) - effect
            effect = effect / np.where(untreated > 0, untreated, np.nan)
        return effect[self.after]

    def residuals(self, periods: IntArray, effect: FloatArray) -> FloatArray:
        """Return mean residuals of a fit to all cells of some periods, the last ones freed of effects."""
        y, own = self.sample.y.copy(), np.ix_(self.sample.ever_treated, periods[len(periods) - len(effect) :])
        y[own] = y[own] / (1 + effect) if self.proportional else y[own] - effect
        seen = np.zeros(y.shape, dtype=bool)
        seen[:, periods] = True
        return self.mean(self.predict(replace(self.sample, y=y), seen)[:, periods])

    def sizes(self, period: int, effect: float) -> FloatArray:
        """Return absolute residuals of the periods before treatment and of one from treatment on, the last."""
        return np.abs(self.residuals(np.append(np.arange(self.n_before), period), np.array([effect])))

    def p_value(self, period: int, effect: float) -> float:
        """Return the share of these residuals that are at least as large as the last one."""
        size = self.sizes(period, effect)
        return p_of_draws(size, size[-1], exact=True)

    def interval(self, period: int, estimate: float, size: float) -> tuple[float, float]:
        """Return how far on either side of the estimate effects are not rejected at a size."""
        size, least = size + 1e-12, -1.0 if self.proportional else -math.inf
        if 1 / (self.n_before + 1) > size or not estimate > least:
            return -math.inf, math.inf
        step = float(self.sizes(period, estimate).mean())
        if not step > 0:
            return -math.inf, math.inf

        def kept(effect: float) -> bool:
            return effect > least and self.p_value(period, effect) > size

        return end_of(kept, estimate, -step), end_of(kept, estimate, step)


def one_path(who: str, sample: Sample, design: str, options: Mapping[str, Any]) -> OnePath:
    """Return the treated path of a sample; refuse one that has not one cohort, seen in all periods."""
    sample.needs_units(who)
    event = sample.question.event
    if sample.first_treated is None:
        raise QuestionError(f"{who}: {event} is not absorbing; ask about an absorbing event.")
    if len(sample.cohorts) > 1:
        names = ", ".join(map(sample.period_name, sample.cohorts))
        raise QuestionError(
            f"{who}: units are first treated by {event} in {names}, and it tests the path of one cohort; keep one with "
            "Sample.only."
        )
    if not sample.observed.all():
        raise QuestionError(f'{who}: the outcome has gaps; missing="balanced" drops units that have some.')
    path = OnePath(sample, find_design(design).predicts(who, sample, dict(options)))
    if path.n_before < 2:
        raise QuestionError(f"{who}: there is one period before treatment and two are needed.")
    return path


def _null(path: OnePath, null: float | Sequence[float]) -> FloatArray:
    """Return the effect that is tested in each period from treatment on, shape (T1,)."""
    tested, n = np.asarray(null, dtype=float), len(path.after)
    if tested.ndim > 1 or tested.size not in (1, n) or not np.isfinite(tested).all():
        raise QuestionError(
            f"{WHO}: null is {null!r}; it must be a finite number, or one for each of the {n} periods from treatment "
            "on."
        )
    if path.proportional and tested.min() <= -1:
        raise QuestionError(f"{WHO}: null is {null!r}; a share of the untreated outcome is above -1.")
    return np.full(n, tested)


def _statistics(
    size: FloatArray, n_after: int, permuted: Permuted, permutations: int, seed: int
) -> tuple[FloatArray, bool]:
    """Return the sum of the last absolute residuals in each order of time, and whether these are all orders."""
    n = len(size)
    if permuted == "moving_block":
        places = np.arange(n)[:, None] + np.arange(n_after)
        return size[places % n].sum(axis=1), True
    if math.comb(n, n_after) <= permutations:
        return size[np.array([*combinations(range(n), n_after)])].sum(axis=1), True
    order = np.random.default_rng(seed).permuted(np.tile(np.arange(n), (permutations, 1)), axis=1)
    return size[order[:, :n_after]].sum(axis=1), False


def end_of(
    kept: Callable[[float], bool], start: float, step: float, farthest: float = FARTHEST, root: float = ROOT
) -> float:
    """Return the end of the interval of values that are kept, from a start on in the direction of a step.

    It is infinite where more than ``farthest`` steps are kept, else found to a share ``root`` of its distance.
    """
    inside, outside, first = start, start + step, abs(step)
    while kept(outside):
        inside, step = outside, 2 * step
        outside = start + step
        if abs(step) > farthest * first:
            return math.copysign(math.inf, step)
    while abs(outside - inside) > root * abs(step):
        middle = (inside + outside) / 2
        inside, outside = (middle, outside) if kept(middle) else (inside, middle)
    return (inside + outside) / 2


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

    Returns
    -------
    CrossFittedT
        ``effect``, ``std_error``, ``degrees`` (K - 1), ``p_value`` and ``interval(level)``, in units of the outcome.

    Raises
    ------
    QuestionError
        As :func:`study.conformal` does; if the question is asked in proportion, there are fewer than two folds, or no
        fewer than periods before treatment.

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
