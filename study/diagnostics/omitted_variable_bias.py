"""The bias that omitted variables put on a linear regression's coefficient of treatment, as partial R2 bound it.

Z is the omitted variable, D treatment, Y the outcome, X the covariates and fixed effects of the regression, which are
partialled out. R2_D is the partial R2 of Z with D given X, and R2_Y that of Z with Y given X and D (Cinelli and
Hazlett 2020); observed covariates are benchmarks.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from study.core import (
    FloatArray,
    IntArray,
    QuestionError,
    Terms,
    counted,
    listed,
    period_effects,
    quantile,
    refuse_unknown,
    regress,
)
from study.designs import Supports, all_designs
from study.estimates import small_sample_factor
from study.panel import Sample, Scale

Form = Literal["within", "long_difference"]
WITHIN = ("twfe", "panel_ols")

# A variable is explained by others if this share, or less, of the root of its sum of squares is left.
COLLINEAR = 1e-7
Groups = tuple[tuple[str, ...], ...]
Multiples = Sequence[float | tuple[float, float]]
# Kind, term, strength with treatment and with the outcome, benchmark, multiple.
Row = tuple[str, str, float, float, str, str]


class Coefficient(NamedTuple):
    """The coefficient of treatment with its classical and its clustered standard error."""

    estimate: float
    std_error: float
    dof: int
    clustered_error: float
    clusters: int

    @property
    def statistic(self) -> float:
        """The classical t, on which partial R2 rest."""
        return self.estimate / self.std_error

    @property
    def ratio(self) -> float:
        """The clustered standard error over the classical one."""
        return self.clustered_error / self.std_error


@dataclass(frozen=True, eq=False)
class Partialled:
    """A regression by least squares, after fixed effects were taken out of every variable.

    Attributes
    ----------
    form : {"within", "long_difference"}
    described : str
        What is regressed on what, after "the regression of".
    y, d : ndarray, shape (N,)
        Outcome and treatment less fixed effects, times the square root of the weights.
    x : ndarray, shape (N, p)
    names : tuple of str, length p
    cluster : ndarray of int, shape (N,)
    n_fixed_effects : int
        Parameters that are taken out.
    nested : int
        Those of them that are nested in clusters, which clustered errors do not count.
    notes : tuple of str
        Who was left out, in sentences.
    """

    form: Form
    described: str
    y: FloatArray
    d: FloatArray
    x: FloatArray
    names: tuple[str, ...]
    cluster: IntArray
    n_fixed_effects: int
    nested: int = 0
    notes: tuple[str, ...] = ()

    @property
    def parameters(self) -> int:
        """Number of fixed effects, covariates and treatment."""
        return self.n_fixed_effects + len(self.names) + 1

    @cached_property
    def coefficient(self) -> Coefficient:
        """The coefficient of treatment; errors are classical, and clustered as "CR1_fixest" counts."""
        d, y = residual(self.d, self.x), residual(self.y, self.x)
        size = float(d @ d)
        estimate = float(d @ y) / size
        error = y - estimate * d
        n_obs, dof = len(y), len(y) - self.parameters
        present, index = np.unique(self.cluster, return_inverse=True)
        sums = np.bincount(index, weights=d * error)
        factor = small_sample_factor(len(present), "CR1_fixest", n_obs, self.parameters - self.nested)
        classical = float(np.sqrt(error @ error / dof / size))
        clustered = float(np.sqrt(factor * sums @ sums)) / size
        return Coefficient(estimate, classical, dof, clustered, len(present))

    def strength(self, benchmark: Sequence[str]) -> tuple[float, float]:
        """Return the partial R2 of covariates with treatment given the others, and with the outcome given both."""
        chosen = np.isin(self.names, benchmark)
        others = self.x[:, ~chosen]

        def share_explained(target: FloatArray, given: FloatArray) -> float:
            left = residual(target, given)
            explained = _basis(residual(self.x[:, chosen], given)).T @ left
            return float(explained @ explained / (left @ left))

        return share_explained(self.d, others), share_explained(self.y, np.column_stack([others, self.d]))


def residual(target: FloatArray, x: FloatArray) -> FloatArray:
    """Return what least squares on columns, shape (N, p), leave of one target or several."""
    basis = _basis(x)
    return np.asarray(target - basis @ (basis.T @ target))


def _basis(x: FloatArray) -> FloatArray:
    return np.linalg.qr(x / np.sqrt((x**2).sum(axis=0)))[0] if x.shape[1] else x


def partialled(
    sample: Sample,
    design: str,
    form: Form | None,
    who: str,
    family: str = "gaussian",
    others: Sequence[str] = (),
) -> Partialled:
    """Return the linear regression that stands for a design's answer.

    Parameters
    ----------
    sample : Sample
    design : str
    form : {"within", "long_difference"}, optional
        By default "within" for twfe and panel_ols, which are that regression, and "long_difference" for the others.
    who : str
        Name of the diagnostic, for its errors.
    family : str
        Of the design's outcome.
    others : sequence of str
        Designs that the diagnostic answers in another way, for its errors.

    Raises
    ------
    QuestionError
        If the design, with its family, has no linear regression with covariates that stands for it, the form is
        unknown, the scale is "proportional", or treatment or a covariate is collinear with what the regression
        contains.
    """
    form = form or ("within" if design in WITHIN else "long_difference")
    if design not in applicable():
        raise QuestionError(
            f"{who}: {design} is no linear regression with covariates, nor is one near it; ask for one of "
            f"{', '.join([*applicable(), *others])}."
        )
    if family != "gaussian":
        raise QuestionError(
            f"{who}: {design} with family={family!r} is not linear; leave family out, or ask for "
            f'{", ".join(applicable())} with scale="log1p" or "level".'
        )
    if form == "within" and design not in WITHIN:
        raise QuestionError(f'{who}: form="within" is the regression of twfe; leave it out for {design}.')
    if sample.question.scale == "proportional":
        raise QuestionError(
            f'{who}: scale="proportional" divides a linear coefficient by the untreated mean, which changes none '
            'of its partial R2; ask the question with scale="level" for the coefficient that is divided.'
        )
    regression = within(sample, who) if form == "within" else long_difference(sample, who)
    if regression.coefficient.clusters < 2:
        raise QuestionError(f"{who}: there is one cluster, so no sampling variance can be estimated.")
    return regression


def applicable() -> list[str]:
    """Return the names of the designs for which a linear regression with covariates can stand."""
    return [
        d.name
        for d in all_designs().values()
        if Supports.COVARIATES in d.supports
        and not (d.draws or d.name == "poisson_twfe" or {Supports.INSTRUMENT, Supports.GROUP} & {*d.supports})
    ]


def within(sample: Sample, who: str) -> Partialled:
    """Return the regression of twfe: unit-periods, less unit and period effects.

    Unit effects count among the parameters: the degrees of freedom are N - (units + periods - 1) - p - 1.
    """
    y, groups = sample.outcome_with_covariates, sample.groups[1]
    seen, by_unit = ~np.isnan(y + sample.treatment), np.argsort(np.concatenate(groups))
    terms = Terms.of_periods(len(groups), y.shape[1])
    blocks = [y, sample.treatment, *sample.x_by_period]
    fits = [regress(np.where(seen, block, np.nan), groups, terms, sample.weights) for block in blocks]
    units, quantity = fits[0].n_fixed_effects, sample.question.effect_scale.quantity
    given = ", ".join(["unit effects", "period effects", *sample.covariates])
    return _regression(
        sample,
        who,
        "within",
        f"{quantity} on treatment, {given}, by unit and period",
        [block[seen] for block in blocks],
        [np.concatenate(fit.residual)[by_unit][seen] for fit in fits],
        np.nonzero(seen)[0],
        'absorbed by the unit and period effects of form="within"; use form="long_difference", where covariates count '
        "that are fixed in time (one that is the same for all units counts nowhere)",
        n_fixed_effects=fits[0].df_k - 1 + units,
        nested=units - 1,
    )


def long_difference(sample: Sample, who: str) -> Partialled:
    """Return a cross-section of units: the change of the mean outcome around the event, on treatment.

    A treated unit's change is its mean outcome at event times 0 to H less that of the H + 1 periods, or as many
    as there are, before the event and its anticipation; H is the question's horizon, and without one all
    periods count. A unit that is not treated in the window has such a change for each cohort's periods, and
    enters with their average, weighted by the cohorts' treated units. Outcomes are less the period effects of those
    units, and changes less their mean, so that neither covariates nor gaps take up what sets some periods apart from
    others. Without covariates and gaps the coefficient is therefore the average over cohorts, by their size, of
    differences in differences against those units. There is one row a unit, so that covariates count which are fixed in
    time.
    """
    question, first = sample.question, sample.first_treated
    if first is None:
        raise QuestionError(
            f'{who}: form="long_difference" needs one date of treatment for a unit, and this event is not absorbing; '
            'use design="twfe" with form="within".'
        )
    is_treated = np.isin(first, sample.cohorts)
    if is_treated.all() or not is_treated.any():
        raise QuestionError(f'{who}: form="long_difference" needs treated and untreated units in the window.')
    shape = len(sample.groups[0]), len(sample.periods)
    terms = Terms(period_effects(*shape), np.empty((*shape, 0)))
    untreated = np.where(is_treated[:, None], np.nan, sample.y)
    in_common = regress(untreated, sample.groups[1], terms, sample.weights).coefficient
    less = replace(sample, y=sample.y - np.where(np.isnan(untreated).all(axis=0), np.nan, in_common))
    around = np.ma.masked_invalid(np.column_stack([_change(less, g) for g in sample.cohorts]))
    others = np.ma.average(around[~is_treated], axis=0, weights=sample.weights[~is_treated])
    changes = (around - others).filled(np.nan)
    cohort = np.where(is_treated, np.searchsorted(sample.cohorts, first), 0)
    change = changes[np.arange(sample.n_units), cohort]
    weights = sample.weights * (is_treated & ~np.isnan(change))
    shares = np.bincount(cohort, weights=weights, minlength=len(sample.cohorts))
    some, total = shares > 0, max(shares.sum(), np.finfo(float).tiny)
    change[~is_treated] = changes[~is_treated][:, some] @ shares[some] / total

    complete = ~np.isnan(change) & ~np.isnan(sample.x_baseline).any(axis=1)
    n_treated = int(is_treated[complete].sum())
    n_others = int(complete.sum()) - n_treated
    if not n_treated or not n_others:
        which = "comparison" if n_treated else "treated"
        raise QuestionError(f"{who}: no {which} unit is seen before and after with all covariates.")
    columns = [block[complete] for block in (change, is_treated.astype(float), *sample.x_baseline.T)]
    span, before = "all periods from it on", "all before it"
    if question.horizon is not None:
        span, before = f"event times 0 to {question.horizon}", f"up to {question.horizon + 1} before it"
    given = "".join(f", {name}" for name in question.covariates)
    notes = []
    if n_lost := int(np.sum(~complete)):
        lack = "as they are not seen before and after or lack a covariate"
        notes.append(f"Left out, {lack}: {counted(n_lost, 'unit')}.")
    return _regression(
        sample,
        who,
        "long_difference",
        f"the change of mean {question.effect_scale.quantity} around the event ({span}, less {before}) on "
        f"treatment{given}, one row for each of {n_treated} treated and {n_others} comparison units",
        columns,
        [column - np.average(column, weights=sample.weights[complete]) for column in columns],
        np.flatnonzero(complete),
        "the same for all units; leave it out",
        n_fixed_effects=1,
        notes=tuple(notes),
    )


def _change(sample: Sample, cohort: float) -> FloatArray:
    """Return all units' change of the mean outcome around the event of a cohort, NaN if not seen, shape (n,)."""
    horizon = sample.question.last
    since, start = sample.periods - cohort, -sample.question.anticipation
    y = np.ma.masked_invalid(sample.y)
    after = y[:, (since >= 0) & (since <= horizon)].mean(axis=1)
    before = y[:, (since < start) & (since >= start - horizon - 1)].mean(axis=1)
    return np.asarray((after - before).filled(np.nan))


def _regression(
    sample: Sample,
    who: str,
    form: Form,
    described: str,
    columns: Sequence[FloatArray],
    left: Sequence[FloatArray],
    unit: IntArray,
    reason: str,
    **counts: Any,
) -> Partialled:
    """Return the regression of what is left of outcome, treatment and covariates, columns of shape (N,).

    Refused are covariates that are absorbed or that those before them explain, treatment that all explain, and a
    perfect fit.
    """
    names = sample.covariates
    variables = zip(names, left[2:], columns[2:], strict=True)
    gone = [name for name, rest, column in variables if rest @ rest <= 1e-20 * (column @ column)]
    if gone:
        raise QuestionError(f"{who}: {', '.join(gone)} {'is' if len(gone) == 1 else 'are'} {reason}.")
    y, d, *covariates = np.sqrt(sample.weights[unit]) * np.array(left)
    x = np.column_stack([np.empty((len(y), 0)), *covariates])
    regression = Partialled(form, described, y, d, x, names, sample.cluster[unit], **counts)
    for k, name in enumerate(names):
        if np.linalg.norm(residual(x[:, k], x[:, :k])) <= COLLINEAR * np.linalg.norm(x[:, k]):
            raise QuestionError(f"{who}: covariate {name} is explained by those before it; leave it out.")
    if np.linalg.norm(residual(d, x)) <= COLLINEAR * np.linalg.norm(columns[1]):
        raise QuestionError(f"{who}: treatment is explained by the fixed effects and the covariates.")
    dof = len(y) - regression.parameters
    if dof < 2:
        raise QuestionError(f"{who}: {dof} degrees of freedom are left; at least 2 are needed.")
    if not np.linalg.norm(residual(y, np.column_stack([x, d]))) > 1e-12 * np.linalg.norm(columns[0]):
        raise QuestionError(f"{who}: the regression fits the outcome exactly, so nothing is left to explain.")
    return regression


class Adjusted(NamedTuple):
    """What the regression with the omitted variable would give: estimate, standard error, t and interval."""

    estimate: FloatArray
    std_error: FloatArray
    statistic: FloatArray
    conf_low: FloatArray
    conf_high: FloatArray


def partial_r2(statistic: float, dof: float) -> float:
    """Return the partial R2 of a regressor with the outcome, t^2 / (t^2 + dof) (their section 4.1)."""
    return statistic**2 / (statistic**2 + dof)


def partial_f(statistic: float, dof: float) -> float:
    """Return the absolute partial Cohen f, |t| / sqrt(dof)."""
    return abs(statistic) / math.sqrt(dof)


def critical_f(dof: float, level: float, ratio: float = 1.0, degrees: float | None = None) -> float:
    """Return the f that the confounded estimate has to keep to differ from zero, t* / sqrt(dof - 1).

    Parameters
    ----------
    dof : float
        Residual degrees of freedom without the omitted variable.
    level : float
        Of the interval.
    ratio : float
        Clustered over classical standard error, if the interval is to be a clustered one.
    degrees : float, optional
        Degrees of freedom of t*: G - 1 for clustered errors, by default dof - 1.
    """
    t_star = quantile((1 + level) / 2, dof - 1 if degrees is None else degrees)
    return ratio * t_star / math.sqrt(dof - 1)


def robustness_value(f: float, q: float = 1.0, f_star: float = 0.0) -> float:
    """Return the R2_D = R2_Y that reduces the estimate by a share q, or leaves its interval at that value.

    Their section 4.1, with f_q = q f, and for intervals f_q - f* in its place. If q f f* >= 1 the worst
    confounder up to that R2 does not have R2_Y = R2_D, since a higher R2_Y shrinks the standard error more
    than it adds bias; the value is then the extreme one.
    """
    if q * f * f_star >= 1:
        return extreme_robustness_value(f, q, f_star)
    left = max(q * f - f_star, 0.0)
    return (math.sqrt(left**4 + 4 * left**2) - left**2) / 2


def extreme_robustness_value(f: float, q: float = 1.0, f_star: float = 0.0, r2_outcome: float = 1.0) -> float:
    """Return the R2_D that does so with no limit on R2_Y, or (for f* = 0) at a given R2_Y.

    Their section 5.3: R2_Y R2_D / (1 - R2_D) = f_q^2. With f* the largest shift that R2_Y
    in [0, 1] allows is sqrt((R2_D + f*^2) / (1 - R2_D)).
    """
    squared = (q * f) ** 2
    return max(squared - f_star**2, 0.0) / (r2_outcome + squared)


def adjusted(
    estimate: float,
    std_error: float,
    dof: float,
    r2_treatment: ArrayLike,
    r2_outcome: ArrayLike,
    level: float = 0.95,
    ratio: float = 1.0,
    degrees: float | None = None,
    omitted: ArrayLike = 1,
) -> Adjusted:
    """Return the estimate with the omitted variable and its interval, classical or, with a ratio, clustered.

    Their section 3.2, if omitting it made the estimate larger in absolute size; arrays of any one shape. ``omitted`` is
    0 where there is no such variable, which takes no degree of freedom then.

    ``ratio`` and ``degrees`` are those of :func:`critical_f`: the clustered error is taken to change with the
    omitted variable by the factor by which the classical one does. The classical interval has dof degrees of
    freedom, as in sensemakr, though its robustness value has dof - 1.
    """
    r2_d, r2_y = np.asarray(r2_treatment, dtype=float), np.asarray(r2_outcome, dtype=float)
    bias = std_error * math.sqrt(dof) * np.sqrt(r2_y * r2_d / (1 - r2_d))
    value = np.asarray(estimate - math.copysign(1.0, estimate) * bias)
    freedom = np.sqrt(dof / (dof - np.asarray(omitted)))
    error = ratio * (std_error * freedom * np.sqrt((1 - r2_y) / (1 - r2_d)))
    half = quantile((1 + level) / 2, dof if degrees is None else degrees) * error
    with np.errstate(divide="ignore", invalid="ignore"):
        statistic = np.where(error > 0, value / error, np.copysign(np.inf, value))
    return Adjusted(value, error, statistic, value - half, value + half)


def bound(
    r2_treatment: float, r2_outcome: float, k_treatment: float, k_outcome: float
) -> tuple[float, float] | None:
    """Return R2_D and the largest R2_Y of a confounder k times as strong as a benchmark.

    Section 4.4 and its appendix: the confounder explains k_treatment times as much of D, and k_outcome times
    as much of Y, as the benchmark does, each given the other covariates.

    Parameters
    ----------
    r2_treatment, r2_outcome : float
        Partial R2 of the benchmark with D given the other covariates, and with Y given those and D.
    k_treatment, k_outcome : float

    Returns
    -------
    (float, float) or None
        None if no variable can be that strong, given what the benchmark explains of treatment. R2_Y is at
        most one.
    """
    r2_d = k_treatment * r2_treatment / (1 - r2_treatment)
    if r2_d >= 1 or k_treatment * r2_treatment >= 1:
        return None
    between = k_treatment * r2_treatment**2 / ((1 - k_treatment * r2_treatment) * (1 - r2_treatment))
    if between >= 1:
        return None
    eta = (math.sqrt(k_outcome) + math.sqrt(between)) / math.sqrt(1 - between)
    return r2_d, min(eta**2 * r2_outcome / (1 - r2_outcome), 1.0)


def as_strong_as(
    benchmark: str,
    multiples: Multiples,
    strength: Callable[[float, float], tuple[float, float] | None],
    explained: str,
) -> tuple[list[Row], list[str]]:
    """Return confounders that are multiples as strong as a benchmark, and a sentence on those that cannot exist.

    Parameters
    ----------
    benchmark : str
    multiples : sequence of float or (float, float)
    strength : callable
        From how many times as strong with treatment and with the outcome to the strengths; None if there is none.
    explained : str
        What a confounder that is too strong would explain more of than is left.

    Returns
    -------
    list of (kind, term, float, float, benchmark, multiple), list of str
        The multiple as figures show it: one number, or that with treatment / that with the outcome.
    """
    rows: list[Row] = []
    too_strong = []
    for k_treatment, k_outcome in map(pair, multiples):
        shown, times = f"{k_treatment:g}", "" if k_treatment == 1 else f"{k_treatment:g} times "
        if k_treatment != k_outcome:
            shown = f"{k_treatment:g}/{k_outcome:g}"
            times = f"{k_treatment:g} times with treatment and {k_outcome:g} times with the outcome "
        limits = strength(k_treatment, k_outcome)
        if limits is None:
            too_strong.append(shown)
        else:
            rows.append(("bound", f"{times}as strong as {benchmark}", *limits, benchmark, shown))
    sentence = (
        f"times as strong as {benchmark}: it would explain more of {explained} than is left to explain."
    )
    return rows, [f"No confounder can be {listed(too_strong, 'or')} {sentence}"] if too_strong else []


def pair(multiple: float | tuple[float, float]) -> tuple[float, float]:
    """Return how many times as strong with treatment and with outcome."""
    return (multiple[0], multiple[1]) if isinstance(multiple, tuple) else (multiple, multiple)


def benchmark_groups(sample: Sample, benchmarks: Sequence[str | tuple[str, ...]] | None) -> Groups:
    """Return the benchmarks as groups of covariates of the question.

    Raises
    ------
    QuestionError
        If there are none, or one is not among the question's covariates.
    """
    known = sample.covariates
    if not known:
        raise QuestionError(
            "sensitivity: there are no covariates to serve as benchmarks; name some in Question.covariates."
        )
    if benchmarks is None:
        return (*((name,) for name in known), *((known,) if len(known) > 1 else ()))
    groups = tuple((b,) if isinstance(b, str) else tuple(b) for b in benchmarks)
    if not groups or not all(groups):
        raise QuestionError(f"sensitivity: benchmarks is empty; name covariates, such as {known[0]}.")
    names = [name for group in groups for name in group]
    for name in names:
        if name not in known and name in sample.panel.covariates:
            raise QuestionError(
                f"sensitivity: benchmark {name} is no covariate of the question; add it to Question.covariates."
            )
    refuse_unknown("benchmark", names, known, "sensitivity")
    return groups


def without(sample: Sample, group: Iterable[str]) -> Sample:
    """Return the sample of the question without some of its covariates."""
    names = sample.covariates
    others = [k for k, name in enumerate(names) if name not in set(group)]
    left = tuple(names[k] for k in others)
    return replace(
        sample,
        question=sample.question.replace(covariates=left),
        covariates=left,
        x_baseline=sample.x_baseline[:, others],
        x_by_period=tuple(sample.x_by_period[k] for k in others),
    )


def units_of(sample: Sample) -> str:
    """Return what effects are measured in."""
    return Scale(sample.question.scale, f"units of {sample.question.outcome}").unit


def percent(share: float) -> str:
    """Return a share as a percentage with two significant digits, or "less than 0.01%"."""
    value = 100 * share
    if value == 0 or value >= 0.01:
        return f"{value:.2g}%" if value < 10 else f"{value:.1f}%"
    return "less than 0.01%"


def limit_includes(limit: str, goal: str, value: float) -> str:
    """Return from which robustness value on a limit of the estimate includes what it is to be brought to."""
    when = f"once a confounder explains {percent(value)} of each" if value > 0 else "without any confounder"
    return f"The {limit} includes {goal} {when}."
