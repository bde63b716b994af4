"""Inference with few treated units, from the errors of comparison units."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from study.core import FloatArray, IntArray, QuestionError, checked, one_thread, p_is, refuse_unknown, tell
from study.designs import Design, find_design
from study.estimates import Estimate, p_of_draws
from study.inference.leave_out import row_of
from study.inference.randomization import UNITS, every_choice, histogram, numbers_of_dates, refuse_instruments
from study.panel import Sample, first_observed

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

Inference = Literal["conley_taber", "ferman_pinto", "placebo"]
Aggregate = Literal["mean", "total"]
Answer = Callable[[Sample], Estimate]

AT_ONCE = 1_000
LINEAR = 1e-7  # of the outcomes that are weighted: what rounding may leave of a sum that has to be the effect
NO_VARIATION = 1e-9
NOT_LINEAR = (
    "few_treated: {}'s headline is not a linear function of outcomes, so that treated units' outcomes have no weights "
    'to give to others; use inference="placebo", or study.randomization.'
)
IN_WORDS: dict[str, str] = {
    "conley_taber": "errors of comparison units, weighted as the treated units' outcomes are (Conley and Taber 2011)",
    "ferman_pinto": "errors of comparison units, weighted as the treated units' outcomes are and rescaled by their "
    "sizes (Ferman and Pinto 2019)",
    "placebo": "estimates of comparison units that have the treated units' dates, without the treated units",
}


@dataclass(frozen=True, eq=False)
class FewTreated:
    """A test of a design's headline from the errors of comparison units, and the interval that inverts it.

    Attributes
    ----------
    design, term : str
    inference : {"conley_taber", "ferman_pinto", "placebo"}
    effect, null : float
    p_value : float
        Of the null, two-sided and symmetric: (1 + draws at least as extreme) / (1 + draws).
    interval : (float, float)
        Nulls that are not rejected; infinite above where none is.
    level : float
    drawn : ndarray, shape (B,)
        What the estimate would be away from the effect with the errors of other units, on the question's scale; NaN
        where a design refuses, which counts as extreme.
    exact : bool
        Whether the draws are all assignments of comparison units to the treated ones' places.
    n_treated, n_comparison : int
        The second counts units whose errors are known where the treated units' outcomes are weighted.
    variance_ratio : float
        How often the variance of comparison units' errors that of treated units is by their sizes, each on average;
        1 where it is taken to be the same.
    units : str
        Of the effect, for the figure.
    proportional : bool
    """

    design: str
    term: str
    inference: Inference
    effect: float
    null: float
    p_value: float
    interval: tuple[float, float]
    level: float
    drawn: FloatArray = field(repr=False)
    exact: bool
    n_treated: int
    n_comparison: int
    variance_ratio: float
    units: str
    proportional: bool

    @property
    def draws(self) -> int:
        """Number of assignments that the p-value rests on."""
        return len(self.drawn)

    @property
    def statistic(self) -> float:
        """How far the effect is from the null; of proportional effects, (1 + effect) / (1 + null) - 1."""
        return _distance(self.effect, self.null, self.proportional)

    @checked
    def p_value_at(self, null: float) -> float:
        """Return the p-value of another null, with the same draws."""
        _refuse_null(null, self.proportional)
        return p_of_draws(self.drawn, _distance(self.effect, null, self.proportional))

    @property
    def sentences(self) -> tuple[str, ...]:
        """What was found, in complete sentences."""
        low, high = self.interval
        alike = ", conditional on size" if self.inference == "ferman_pinto" else ""
        sentences = [
            f"{self.design}, {self.term}: the effect is {self.effect:.4g}; {IN_WORDS[self.inference]} give "
            f"{p_is(self.p_value)} for an effect of {self.null:g}, and a {100 * self.level:g}% interval of {low:.4g} "
            f"to {high:.4g}.",
            f"It rests on {self.n_treated} treated and {self.n_comparison} comparison units ({self.draws:,} "
            f"assignments, {'all' if self.exact else 'drawn'}), and on errors of treated units that are distributed as "
            f"those of comparison units are{alike}.",
        ]
        if self.inference == "ferman_pinto":
            sentences.append(
                f"By their sizes, errors of treated units have {self.variance_ratio:.2g} times the variance of those "
                "of comparison units."
            )
        undefined = int(np.isnan(self.drawn).sum())
        if undefined:
            sentences.append(
                f"In {undefined:,} of {self.draws:,} assignments the design has no estimate; they count as extreme."
            )
        return tuple(sentences)

    def tidy(self) -> pd.DataFrame:
        """Return one row: term, estimate, standard deviation of the draws, its ratio, p-value, interval."""
        error = float(np.sqrt(np.nanmean(self.drawn**2)))
        ratio = self.statistic / error if error else math.nan
        return row_of(self.term, self.effect, error, ratio, self.p_value, *self.interval)

    def plot(self) -> Figure:
        """Draw the distribution of the estimate's error, with the estimate less the null."""
        label = f"error of the estimate\n({self.units})"
        title = f"Few treated units: {self.term}\n{p_is(self.p_value)}"
        return histogram(self.drawn, self.statistic, label, "estimate less null", self.exact, title)


@checked
def few_treated(
    sample: Sample,
    design: str,
    *,
    inference: Inference = "conley_taber",
    size: str | None = None,
    aggregate: Aggregate = "mean",
    null: float = 0.0,
    level: float = 0.95,
    draws: int | None = None,
    seed: int = 0,
    **options: Any,
) -> FewTreated:
    """Test a design's headline with few treated and many comparison units, and invert the test.

    With few treated units their errors do not average out, and nothing estimates the variance of one of them. The
    errors of many comparison units show how errors are distributed. Let the headline be sum_i sum_t w_it y_it. The
    treated units' part of its error is sum_i sum_t w_it e_it over treated i, and its distribution is that of
    sum_i sum_t w_it e_j(i)t with other comparison units j(i), drawn without replacement, in the places of the treated
    (Conley and Taber 2011). The comparison units' part is that of those that are not drawn, so that without covariates
    and with one date each draw is the estimate that the comparison units alone would give with these j(i) as treated.

    **What is assumed**: "conley_taber" and "placebo", that errors are independent between units and distributed alike
    for treated and comparison units; "ferman_pinto", that they are so up to a variance that is known but for two
    numbers: A + B / size for an outcome that is a mean over ``size`` persons, and size^2 (A + B / size) for a total.
    Nothing is assumed of dependence over time. All three are valid as comparison units become many, however few are
    treated.

    Parameters
    ----------
    sample : Sample
    design : str
        Name of a design of the catalogue. "conley_taber" and "ferman_pinto" take designs whose headline, in levels, is
        a linear function of the outcomes, given dates and covariates, which is tested; "placebo" takes all that answer.
    inference : {"conley_taber", "ferman_pinto", "placebo"}
        "placebo" computes the design anew for each assignment of the treated units' dates to comparison units, without
        the treated units (Abadie, Diamond and Hainmueller 2010).
    size : str, optional
        Of "ferman_pinto": a covariate of the panel, whose first observed value is the unit's size; the question's
        weights if not given.
    aggregate : {"mean", "total"}
        Of "ferman_pinto": whether the outcome is a mean over, or the total of, as many as the size says.
    null : float
        The effect that is tested; above -1 for proportional effects.
    level : float
        Of the interval.
    draws : int, optional
        Where there are no more assignments, each is taken once. By default 9,999, and for "placebo" 999.
    seed : int
        Of the draws, and of the design where it draws itself.
    **options
        Options of the design.

    Returns
    -------
    FewTreated
        Intervals are symmetric about the effect; proportional ones about log(1 + effect), nearly, since outcomes are
        freed of the null by division.

    Raises
    ------
    QuestionError
        If the design refuses, its headline has no value or is no linear function of outcomes, the question has an
        instrument, clusters or a third difference, sizes are not positive, or there are too few comparison units for
        the level.

    References
    ----------
    Conley, T. G., and Taber, C. R. (2011). Inference with "difference in differences" with a small number of policy
    changes. Review of Economics and Statistics 93(1).
    Ferman, B., and Pinto, C. (2019). Inference in differences-in-differences with few treated groups and
    heteroskedasticity. Review of Economics and Statistics 101(3).
    Abadie, A., Diamond, A., and Hainmueller, J. (2010). Synthetic control methods for comparative case studies. Journal
    of the American Statistical Association 105(490).
    """
    sample.needs_units("few_treated")
    refuse_instruments("few_treated", sample)
    question, chosen = sample.question, find_design(design)
    chosen.check_options(options)
    _refuse(sample, chosen, inference, size, null)
    answer: Answer = partial(chosen, **chosen.seeded(options, seed))
    proportional = question.scale == "proportional"
    most = draws or (999 if inference == "placebo" else 9_999)
    treated, compared = map(np.flatnonzero, (sample.ever_treated, ~sample.ever_treated))
    _refuse_fewer(len(treated), len(compared))
    headline, ratio = answer(sample).headline, 1.0
    if not np.isfinite(headline.effect[0]):
        raise QuestionError(
            f"few_treated: {design}'s {headline.terms[0]} has no value, so that there is none to test."
        )
    if proportional and headline.effect[0] < -1 - LINEAR:
        raise QuestionError(
            f"few_treated: {design}'s {headline.terms[0]} is {headline.effect[0]:.4g}, and no share of a "
            'counterfactual mean is below -1: the outcome is negative for the treated; ask with scale="level".'
        )
    if inference == "placebo":
        place = _same(numbers_of_dates(sample)[treated])
        blocks, exact = _assignments(place, len(compared), level, most, seed)
        refits = (_refitted(sample, answer, treated, compared[a]) for a in blocks)
        drawn = np.array([value for block in refits for value in block])
    else:
        by_unit, compared, place = _errors(sample, answer, headline, treated, compared)
        if inference == "ferman_pinto":
            sizes = _sizes(sample, size, treated, compared)
            scale, ratio = _rescaling(by_unit, place, sizes, aggregate)
            by_unit, place = by_unit * scale, _same(np.column_stack([place, sizes[0]]))
        blocks, exact = _assignments(place, len(compared), level, most, seed)
        rows = np.arange(len(treated))
        drawn = np.concatenate([by_unit[rows, a].sum(axis=1) for a in blocks])
        if proportional:
            assert headline.untreated_mean is not None
            drawn = drawn / headline.untreated_mean[0]
    effect = float(headline.effect[0])
    return FewTreated(
        design=design,
        term=headline.terms[0],
        inference=inference,
        effect=effect,
        null=float(null),
        p_value=p_of_draws(drawn, _distance(effect, null, proportional)),
        interval=_interval(drawn, effect, level, proportional),
        level=level,
        drawn=drawn,
        exact=exact,
        n_treated=len(treated),
        n_comparison=len(compared),
        variance_ratio=ratio,
        units=UNITS[question.scale],
        proportional=proportional,
    )


def _refuse(sample: Sample, chosen: Design, inference: Inference, size: str | None, null: float) -> None:
    """Refuse arguments out of range, and questions whose units cannot take one another's places."""
    question = sample.question
    _refuse_null(null, question.scale == "proportional")
    if question.cluster is not None:
        raise QuestionError(
            f"few_treated: units of one cluster ({question.cluster}) do not have independent errors; make the clusters "
            "the panel's units, or use study.randomization, which permutes dates between clusters."
        )
    if sample.group is not None:
        raise QuestionError(
            "few_treated: with a third difference (group) two kinds of units carry treatment; use study.randomization."
        )
    if inference == "ferman_pinto" and size is None and question.weights is None:
        raise QuestionError(
            "few_treated: ferman_pinto needs sizes of units; name a covariate with size=, or Question(weights=...)."
        )
    if inference != "placebo" and (chosen.draws or chosen.learners):
        raise QuestionError(NOT_LINEAR.format(chosen.name))
    if inference != "ferman_pinto" and size is not None:
        raise QuestionError(
            f'few_treated: {inference} takes errors to be alike, whatever the size; use "ferman_pinto".'
        )


def _refuse_null(null: float, proportional: bool) -> None:
    if proportional and null <= -1:
        raise QuestionError(f"few_treated: null is {null!r}; it must be a finite number above -1.")


def _refuse_fewer(n_treated: int, n_compared: int) -> None:
    """Refuse comparison units that are no more than the treated ones."""
    if n_compared <= n_treated:
        raise QuestionError(
            f"few_treated: {n_compared} comparison units that are seen where treated units' outcomes count cannot "
            f"stand in for {n_treated} treated ones and be compared with; use study.randomization."
        )


def _assignments(
    place: IntArray, n_compared: int, level: float, draws: int, seed: int
) -> tuple[Iterator[IntArray], bool]:
    """Return the assignments of distinct comparison units to the treated ones' places, shape (N1,), all or drawn.

    They come in blocks of numbers of comparison units, one for each treated unit, shape (B, N1), and with whether they
    are all. Places of the same number are the same, so that who has which of them makes no assignment of its own.

    Raises
    ------
    QuestionError
        If there are too few of them to reject anything at the level.
    """
    n_treated, sizes = len(place), np.bincount(place).tolist()
    possible = math.perm(n_compared, n_treated) // math.prod(map(math.factorial, sizes))
    least_p = 1 / (1 + min(possible, draws))
    if least_p > 1 - level + 1e-12:
        what = f"{draws} draws" if possible > draws else f"{n_compared} comparison units"
        raise QuestionError(
            f"few_treated: {what} for {n_treated} treated allow no p-value below {least_p:.2g}, so that there is no "
            f"{100 * level:g}% interval; it takes {math.ceil(1 / (1 - level) - 1e-9) - 1} assignments."
        )
    if possible > draws:
        return _drawn(n_treated, n_compared, draws, seed), False
    every = np.empty((possible, n_treated), dtype=np.int64)
    every[:, np.argsort(place, kind="stable")] = list(every_choice(sizes, range(n_compared)))
    return iter([every]), True


def _drawn(n_treated: int, n_compared: int, draws: int, seed: int) -> Iterator[IntArray]:
    rng = np.random.default_rng(seed)
    for start in range(0, draws, AT_ONCE):
        order = np.tile(np.arange(n_compared), (min(AT_ONCE, draws - start), 1))
        yield rng.permuted(order, axis=1)[:, :n_treated]


def _refitted(sample: Sample, answer: Answer, treated: IntArray, assigned: IntArray) -> Iterator[float]:
    """Yield the headline without the treated units, whose dates the assigned units, shape (B, N1), have in turn."""
    for row in assigned:
        order = np.arange(sample.n_units)
        order[row] = treated
        try:
            placebo = sample.permuted(order).only(~sample.ever_treated, "treated, and left out of a placebo")
            yield float(answer(placebo).headline.effect[0])
        except QuestionError:
            yield np.nan
        tell("placebo assignment")


def _errors(
    sample: Sample, answer: Answer, headline: Estimate, treated: IntArray, compared: IntArray
) -> tuple[FloatArray, IntArray, IntArray]:
    """Return the errors of comparison units, weighted as the outcomes of each treated unit are, in levels, (N1, N0).

    With them the numbers of these comparison units, shape (N0,), and the class of each treated unit, (N1,), those of
    one having the same weights.

    With W the sum of the treated units' weights, -W / N0 are those of each comparison unit. In the place of treated
    unit i, comparison unit j gives w_i e_j, and takes e_j out of what is compared with: the other N0 - N1 have -W / (N0
    - N1) each, and as errors of all N0 add up to zero, that is W / (N0 - N1) times the errors of those that are drawn.
    """
    of_class, own = _weights(sample, answer, headline, treated)
    usable = compared[~np.any(~sample.observed[compared] & (own != 0).any(axis=0), axis=1)]
    _refuse_fewer(len(treated), len(usable))
    weights = np.vstack([own, own[of_class].sum(axis=0)])
    y, errors = np.nan_to_num(sample.y[usable]), np.empty((len(weights), len(usable)))
    for c, each in enumerate(weights):
        moving = [_weighted(np.nan_to_num(block[usable]), each) for block in sample.x_by_period]
        x = np.column_stack([np.ones(len(usable)), sample.x_baseline[usable], *moving])
        errors[c] = _residual(y @ each, x, sample.weights[usable])
    by_class = errors[:-1] + errors[-1] / (len(usable) - len(treated))
    return by_class[of_class], usable, of_class


def _weighted(x: FloatArray, weights: FloatArray) -> FloatArray:
    """Return sums over periods, shape (n,), of which rounding leaves nothing where x does not vary over time."""
    total, size = x @ weights, np.abs(x) @ np.abs(weights)
    return np.where(np.abs(total) > NO_VARIATION * size, total, 0.0)


def _residual(y: FloatArray, x: FloatArray, weights: FloatArray) -> FloatArray:
    """Return residuals of a weighted regression on x, shape (n,), whose first column is one.

    Beyond those of a constant, with leverage 1/n, they are enlarged to those of predictions that leave the unit out.
    """
    root = np.sqrt(weights)[:, None]
    spread = np.maximum(np.abs(x).max(axis=0), np.finfo(float).tiny)
    left, sizes, _ = np.linalg.svd(root * x / spread, full_matrices=False)
    span = left[:, sizes > NO_VARIATION * sizes.max()]
    error = root[:, 0] * y - span @ (span.T @ (root[:, 0] * y))
    leverage = np.einsum("ik,ik->i", span, span)
    kept = np.maximum(1 - leverage, NO_VARIATION)
    return np.asarray(error / root[:, 0] * (1 - weights / weights.sum()) / kept)


def _weights(
    sample: Sample, answer: Answer, headline: Estimate, treated: IntArray
) -> tuple[IntArray, FloatArray]:
    """Return the class of each treated unit, (N1,), and the weights of its outcomes in the headline in levels, (C, T).

    They are the headlines of outcomes that are one in a period and zero elsewhere. Units of one class have the same
    dates, gaps, weights and covariates.

    Raises
    ------
    QuestionError
        If the headline is not a linear function of the outcomes.
    """
    levels = replace(sample, question=sample.question.replace(scale="level"))
    zero = np.where(sample.observed, 0.0, np.nan)

    def effect(y: FloatArray) -> float:
        try:
            return float(answer(replace(levels, y=y)).headline.effect_level[0])
        except QuestionError as error:
            raise QuestionError(NOT_LINEAR.format(headline.design)) from error

    alike = numbers_of_dates(sample), sample.observed, sample.weights, sample.x_baseline, *sample.x_by_period
    of_class = _same(np.column_stack([part[treated] for part in alike]))
    weights = np.zeros((of_class.max() + 1, len(sample.periods)))
    with one_thread():
        for c in range(len(weights)):
            members = treated[of_class == c]
            for t in np.flatnonzero(sample.observed[members[0]]):
                impulse = zero.copy()
                impulse[members, t] = 1.0
                weights[c, t] = effect(impulse) / len(members)
        without = np.where(sample.ever_treated[:, None], zero, sample.y)
        # Beyond all outcomes too, since a function may be linear between none and those that there are, such as zeros.
        scale = np.nanmax(np.abs(sample.y)) * np.arange(1, len(sample.periods) + 1)
        far = without + sample.ever_treated[:, None] * scale
        rest = effect(without)
        points = (sample.y, headline.effect_level[0]), (far, effect(far))
    for y, whole in points:
        parts = weights[of_class] * np.nan_to_num(y[treated])
        if not abs(parts.sum() + rest - whole) <= LINEAR * (np.abs(parts).sum() + abs(rest)):
            raise QuestionError(NOT_LINEAR.format(headline.design))
    # What rounding leaves is no weight.
    weights[np.abs(weights) < NO_VARIATION * np.abs(weights).max()] = 0.0
    return of_class, weights


def _sizes(
    sample: Sample, size: str | None, treated: IntArray, compared: IntArray
) -> tuple[FloatArray, FloatArray]:
    """Return the sizes of treated and of comparison units."""
    name = size or sample.question.weights
    assert name is not None
    covariates = sample.panel.covariates
    refuse_unknown("covariate", name, covariates, "few_treated, size")
    sizes = first_observed(covariates[name])[sample.panel_rows]
    wrong = ~(sizes[np.append(treated, compared)] > 0)
    if wrong.any():
        raise QuestionError(
            f"few_treated: {name} is not positive for {wrong.sum()} of {len(wrong)} units, but a size has to be; "
            "choose a population with sizes, or another covariate."
        )
    return sizes[treated], sizes[compared]


def _rescaling(
    errors: FloatArray, of_class: IntArray, sizes: tuple[FloatArray, FloatArray], aggregate: Aggregate
) -> tuple[FloatArray, float]:
    """Return by what errors are multiplied, shape (N1, N0), and the treated units' mean variance over the others'.

    The variance by size is fitted to squares of the errors by least squares with coefficients that are not negative.
    """
    from scipy.optimize import nnls

    ours, theirs = sizes
    power = 0 if aggregate == "mean" else 1
    scale, ratios = np.empty(errors.shape), np.empty(len(ours))
    for c in np.unique(of_class):
        own = np.flatnonzero(of_class == c)
        basis = np.column_stack([np.ones(len(theirs)), theirs.min() / theirs])
        squares = (errors[own[0]] / theirs**power) ** 2
        coefficient, _ = nnls(basis, squares / max(float(squares.mean()), np.finfo(float).tiny))
        fitted = (basis @ coefficient) * theirs ** (2 * power)
        predicted = (coefficient[0] + coefficient[1] * theirs.min() / ours[own]) * ours[own] ** (2 * power)
        scale[own], ratios[own] = np.sqrt(predicted[:, None] / fitted), predicted / fitted.mean()
    return scale, float(ratios.mean())


def _same(rows: NDArray[Any]) -> IntArray:
    """Number the distinct rows of an array, shape (n,)."""
    return np.unique(rows, axis=0, return_inverse=True)[1].reshape(-1)


def _distance(effect: float, null: float, proportional: bool) -> float:
    return (1 + effect) / (1 + null) - 1 if proportional else effect - null


def _interval(drawn: FloatArray, effect: float, level: float, proportional: bool) -> tuple[float, float]:
    """Return the effects whose p-value is above one less the level."""
    size = np.sort(np.where(np.isnan(drawn), np.inf, np.abs(drawn)))[::-1]
    half = float(size[math.floor((1 - level) * (1 + len(drawn)) + 1e-9) - 1])
    if not proportional:
        return effect - half, effect + half
    return (1 + effect) / (1 + half) - 1, (1 + effect) / (1 - half) - 1 if half < 1 else math.inf
