"""Linear regressions of an outcome on treatment and covariates, less what fixed effects or a constant absorb."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from study.core import FloatArray, QuestionError, Terms, listed, period_effects, regress, unknown
from study.designs import Supports, all_designs, find_design
from study.diagnostics.omitted_variable_bias import bound
from study.estimates import outcome_with_covariates, small_sample_factor
from study.panel import Sample, Scale

Form = Literal["within", "long_difference"]

# A variable is absorbed if this share, or less, of its variation is left.
ABSORBED = 1e-20


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


class Strength(NamedTuple):
    """What a set of covariates explains of treatment and outcome: partial R2 given all other regressors."""

    treatment: float
    outcome: float


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
    cluster: NDArray[np.int64]
    n_fixed_effects: int
    nested: int = 0
    notes: tuple[str, ...] = ()

    @cached_property
    def coefficient(self) -> Coefficient:
        """The coefficient of treatment; errors are classical, and clustered as "CR1_fixest" counts."""
        d, y = residual(self.d, self.x), residual(self.y, self.x)
        size = float(d @ d)
        estimate = float(d @ y) / size
        error = y - estimate * d
        n_obs, parameters = len(y), self.n_fixed_effects + self.x.shape[1] + 1
        dof = n_obs - parameters
        present, index = np.unique(self.cluster, return_inverse=True)
        sums = np.bincount(index, weights=d * error)
        factor = small_sample_factor(len(present), "CR1_fixest", n_obs, parameters - self.nested)
        return Coefficient(
            estimate,
            float(np.sqrt(error @ error / dof / size)),
            dof,
            float(np.sqrt(factor * sums @ sums)) / size,
            len(present),
        )

    def strength(self, benchmark: Sequence[str]) -> Strength:
        """Return what covariates explain of treatment given the others, and of the outcome given treatment too."""
        chosen = np.isin(self.names, benchmark)
        others = self.x[:, ~chosen]
        with_d = np.column_stack([others, self.d])
        return Strength(
            share_explained(residual(self.d, others), residual(self.x[:, chosen], others)),
            share_explained(residual(self.y, with_d), residual(self.x[:, chosen], with_d)),
        )


def residual(target: FloatArray, x: FloatArray) -> FloatArray:
    """Return what least squares on columns, shape (N, p), leave of one target or several."""
    if not x.shape[1]:
        return target
    basis = np.linalg.qr(x / np.sqrt((x**2).sum(axis=0)))[0]
    left: FloatArray = target - basis @ (basis.T @ target)
    return left


def share_explained(target: FloatArray, x: FloatArray) -> float:
    """Return the share of a target's sum of squares, shape (N,), that columns explain."""
    basis = np.linalg.qr(x / np.sqrt((x**2).sum(axis=0)))[0]
    return float(np.sum((basis.T @ target) ** 2) / (target @ target))


def partialled(
    sample: Sample, design: str, form: Form | None, who: str, others: tuple[str, ...] = ()
) -> Partialled:
    """Return the linear regression that stands for a design's answer.

    Parameters
    ----------
    sample : Sample
    design : str
    form : {"within", "long_difference"}, optional
        By default "within" for twfe, which is that regression, and "long_difference" for the others.
    who : str
        Name of the diagnostic, for its errors.
    others : tuple of str
        Designs that the diagnostic answers in another way, for its errors.

    Raises
    ------
    QuestionError
        If the design has no linear regression with covariates that stands for it, the form is unknown, the
        scale is "proportional", or treatment or a covariate is collinear with what the regression contains.
    """
    chosen = find_design(design).name
    form = form or ("within" if chosen == "twfe" else "long_difference")
    if form not in ("within", "long_difference"):
        raise unknown("form", str(form), ("within", "long_difference"), who)
    if chosen not in applicable():
        raise QuestionError(
            f"{who}: {chosen} is no linear regression with covariates, nor is one near it; ask for one of "
            f"{', '.join([*applicable(), *others])}."
        )
    if form == "within" and chosen != "twfe":
        raise QuestionError(
            f'{who}: form="within" is the regression of twfe; {chosen} takes "long_difference".'
        )
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
        if Supports.COVARIATES in d.supports and not d.draws and d.name != "poisson_twfe"
    ]


def within(sample: Sample, who: str) -> Partialled:
    """Return the regression of twfe: unit-periods, less unit and period effects.

    Unit effects count among the parameters: the degrees of freedom are N - (units + periods - 1) - p - 1.
    """
    y = outcome_with_covariates(sample)
    seen = ~np.isnan(y)
    names, blocks = sample.question.covariates, sample.x_by_period
    left, n_fixed_effects, units = _less_fixed_effects(sample, seen, [y, sample.treatment, *blocks])
    gone = _absorbed(left[2:], [block[seen] for block in blocks], names)
    if gone:
        raise QuestionError(
            f"{who}: {', '.join(gone)} {'is' if len(gone) == 1 else 'are'} absorbed by the unit and period effects of "
            'form="within"; use form="long_difference", where covariates count that are fixed in time (one that is '
            "the same for all units counts nowhere)."
        )
    weight = np.broadcast_to(sample.weights[:, None], y.shape)[seen]
    regression = Partialled(
        "within",
        f"{sample.question.effect_scale.quantity} on treatment, unit effects, period effects{_and(names)}, by unit "
        "and period",
        *_weighted(weight, left),
        names,
        np.broadcast_to(sample.cluster[:, None], y.shape)[seen],
        n_fixed_effects,
        units - 1,
    )
    _refuse_collinear(regression, y[seen], sample.treatment[seen], who)
    return regression


def _less_fixed_effects(
    sample: Sample, seen: NDArray[np.bool_], blocks: Sequence[FloatArray]
) -> tuple[list[FloatArray], int, int]:
    """Return variables in observed cells less unit and period effects, the parameters that took, and the units."""
    rows = sample.groups[1]
    n_groups, n_periods = len(rows), seen.shape[1]
    terms = Terms(np.empty((n_groups, n_periods, 0)), period_effects(n_groups, n_periods))
    left, wide = [], np.zeros(seen.shape)
    for block in blocks:
        fit = regress(np.where(seen, block, np.nan), rows, terms, sample.weights)
        for members, error in zip(rows, fit.residual, strict=True):
            wide[members] = error
        left.append(wide[seen])
    return left, fit.df_k - 1 + fit.n_fixed_effects, fit.n_fixed_effects


def long_difference(sample: Sample, who: str) -> Partialled:
    """Return a cross-section of units: the change of the mean outcome around the event, on treatment.

    A treated unit's change is its mean outcome at event times 0 to H less that of the H + 1 periods, or as many
    as there are, before the event and its anticipation; H is the question's horizon, and without one all
    periods count. A unit that is not treated in the window has such a change for each cohort's periods, and
    enters with their average, weighted by the cohorts' treated units. Without covariates the coefficient is
    therefore the average over cohorts, by their size, of differences in differences against those units. There
    is one row a unit, so that covariates count which are fixed in time.
    """
    if sample.first_treated is None:
        raise QuestionError(
            f'{who}: form="long_difference" needs one date of treatment for a unit, and this event is not absorbing; '
            'use design="twfe" with form="within".'
        )
    change, treated, used, skipped = _changes(sample, who)
    fit_for_use = used & ~np.isnan(change) & ~np.isnan(sample.x_baseline).any(axis=1)
    if not treated[fit_for_use].any() or treated[fit_for_use].all():
        which = "treated" if not treated[fit_for_use].any() else "comparison"
        raise QuestionError(f"{who}: no {which} unit is seen before and after with all covariates.")
    weight = sample.weights[fit_for_use]
    columns = [change[fit_for_use], treated[fit_for_use].astype(float), *sample.x_baseline[fit_for_use].T]
    centred = [column - np.average(column, weights=weight) for column in columns]
    names = sample.question.covariates
    gone = _absorbed(centred[2:], columns[2:], names)
    if gone:
        raise QuestionError(f"{who}: {', '.join(gone)} is the same for all units; leave it out.")
    horizon = sample.question.horizon
    span = "all periods from it on" if horizon is None else f"event times 0 to {horizon}"
    before = "all before it" if horizon is None else f"up to {horizon + 1} before it"
    n_treated, n_lost = int(treated[fit_for_use].sum()), int(used.sum() - fit_for_use.sum())
    lost = f"{n_lost} units are left out, as they are not seen before and after or lack a covariate."
    regression = Partialled(
        "long_difference",
        f"the change of mean {sample.question.effect_scale.quantity} around the event ({span}, less {before}) on "
        f"treatment{_and(names)}, one row for each of {n_treated} treated and {len(weight) - n_treated} comparison "
        "units",
        *_weighted(weight, centred),
        names,
        sample.cluster[fit_for_use],
        n_fixed_effects=1,
        notes=(*skipped, lost) if n_lost else skipped,
    )
    _refuse_collinear(regression, columns[0], columns[1], who)
    return regression


def _changes(
    sample: Sample, who: str
) -> tuple[FloatArray, NDArray[np.bool_], NDArray[np.bool_], tuple[str, ...]]:
    """Return each unit's change (n,), who is treated, who belongs to the regression, and which cohorts do not."""
    assert sample.first_treated is not None
    start = sample.first_treated - sample.question.anticipation
    usable = sample.cohorts[sample.cohorts - sample.question.anticipation > sample.periods[0]]
    skipped = [f"{g:g}" for g in sample.cohorts if g not in usable]
    treated = np.isin(sample.first_treated, usable)
    comparison = ~(start <= sample.periods[-1])
    if not treated.any() or not comparison.any():
        lacking = "a unit with a period before its event" if not treated.any() else "a unit without treatment"
        raise QuestionError(
            f'{who}: form="long_difference" needs {lacking} in the window, and there is none.'
        )
    changes = np.column_stack([_change(sample, g) for g in usable])
    own = np.where(treated, np.searchsorted(usable, sample.first_treated).clip(max=len(usable) - 1), 0)
    of_treated = np.where(treated, changes[np.arange(sample.n_units), own], np.nan)
    shares = np.bincount(own, weights=sample.weights * ~np.isnan(of_treated), minlength=len(usable))
    df_k = shares > 0
    of_others = changes[:, df_k] @ shares[df_k] / max(shares.sum(), np.finfo(float).tiny)
    note = (f"Cohorts without a period before their event are left out: {', '.join(skipped)}.",)
    return np.where(treated, of_treated, of_others), treated, treated | comparison, note if skipped else ()


def _change(sample: Sample, cohort: float) -> FloatArray:
    """Return all units' change of the mean outcome around the event of a cohort, NaN if not seen, shape (n,)."""
    horizon = sample.question.horizon
    horizon = len(sample.periods) if horizon is None else horizon
    since, start = sample.periods - cohort, -sample.question.anticipation
    after = (since >= 0) & (since <= horizon)
    before = (since < start) & (since >= start - horizon - 1)
    return _mean_seen(sample.y[:, after]) - _mean_seen(sample.y[:, before])


def _mean_seen(block: FloatArray) -> FloatArray:
    seen = ~np.isnan(block)
    total, count = np.where(seen, block, 0.0).sum(axis=1), seen.sum(axis=1)
    return np.divide(total, count, out=np.full(len(block), np.nan), where=count > 0)


def _and(names: Sequence[str]) -> str:
    return "".join(f", {name}" for name in names)


def _weighted(weight: FloatArray, columns: Sequence[FloatArray]) -> tuple[FloatArray, FloatArray, FloatArray]:
    root = np.sqrt(weight)
    x = np.column_stack(columns[2:]) if len(columns) > 2 else np.empty((len(root), 0))
    return root * columns[0], root * columns[1], root[:, None] * x


def _absorbed(left: Sequence[FloatArray], columns: Sequence[FloatArray], names: Sequence[str]) -> list[str]:
    """Return the names of variables of which next to nothing is left."""
    return [
        name
        for name, rest, column in zip(names, left, columns, strict=True)
        if rest @ rest <= ABSORBED * (column @ column)
    ]


def _refuse_collinear(form: Partialled, outcome: FloatArray, treatment: FloatArray, who: str) -> None:
    """Refuse a covariate that those before it explain, treatment that all explain, and a perfect fit."""
    for k, name in enumerate(form.names):
        column = form.x[:, k]
        if np.linalg.norm(residual(column, form.x[:, :k])) <= 1e-7 * np.linalg.norm(column):
            raise QuestionError(f"{who}: covariate {name} is explained by those before it; leave it out.")
    left = residual(form.d, form.x)
    if np.linalg.norm(left) <= 1e-7 * np.linalg.norm(treatment):
        raise QuestionError(f"{who}: treatment is explained by the fixed effects and the covariates.")
    dof = len(form.y) - form.n_fixed_effects - len(form.names) - 1
    if dof < 2:
        raise QuestionError(
            f"{who}: {dof} degrees of freedom are left in the regression; at least 2 are needed."
        )
    error = residual(form.y, np.column_stack([form.x, form.d]))
    if not np.linalg.norm(error) > 1e-12 * np.linalg.norm(outcome):
        raise QuestionError(f"{who}: the regression fits the outcome exactly, so nothing is left to explain.")


WHO = "sensitivity"
TITLE = "Unobserved confounding"

Groups = tuple[tuple[str, ...], ...]
Multiples = Sequence[float | tuple[float, float]]
Kind = Literal["none", "bound", "observed", "extreme"]


class Scenario(NamedTuple):
    """A confounder, by its partial R2 with treatment and with the outcome.

    ``kind`` is "none"; "bound", as strong as a multiple of a benchmark; "observed", with the partial R2 of the
    benchmark itself; or "extreme", with the R2_D of the benchmark and all that is left of the outcome.
    ``multiple`` is how many times as strong it is as the ``benchmark``.
    """

    kind: Kind
    label: str
    r2_treatment: float
    r2_outcome: float
    benchmark: str = ""
    multiple: str = ""


def confounders(
    regression: Partialled,
    groups: Groups,
    multiples: Multiples,
) -> tuple[tuple[Scenario, ...], tuple[str, ...]]:
    """Return the confounders to look at, and sentences on those that cannot exist."""
    scenarios, impossible = [Scenario("none", "no confounder", 0.0, 0.0)], []
    for group in groups:
        name = " with ".join(group)
        strength = regression.strength(group)
        scenarios.append(Scenario("observed", name, *strength, name))
        scenarios.append(Scenario("extreme", f"{name} and all of the outcome", strength.treatment, 1.0, name))
        too_much = []
        for k_treatment, k_outcome in map(pair, multiples):
            label = times(k_treatment, k_outcome, name)
            limits = bound(*strength, k_treatment, k_outcome)
            if limits is None:
                too_much.append(shown(k_treatment, k_outcome))
            else:
                scenarios.append(Scenario("bound", label, *limits, name, shown(k_treatment, k_outcome)))
        impossible += none_so_strong(too_much, name, "treatment")
    return tuple(scenarios), tuple(impossible)


def pair(multiple: float | tuple[float, float]) -> tuple[float, float]:
    """Return how many times as strong with treatment and with outcome."""
    return (multiple[0], multiple[1]) if isinstance(multiple, tuple) else (multiple, multiple)


def times(k_treatment: float, k_outcome: float, name: str) -> str:
    """Return how strong a confounder is, in words."""
    if k_treatment != k_outcome:
        return f"{k_treatment:g} times with treatment and {k_outcome:g} times with the outcome as strong as {name}"
    return f"as strong as {name}" if k_treatment == 1 else f"{k_treatment:g} times as strong as {name}"


def shown(k_treatment: float, k_outcome: float) -> str:
    """Return the multiple as figures show it: one number, or that with treatment / that with the outcome."""
    return f"{k_treatment:g}" if k_treatment == k_outcome else f"{k_treatment:g}/{k_outcome:g}"


def none_so_strong(multiples: Sequence[str], name: str, what: str) -> list[str]:
    """Return the sentence, if there is one to say, that no confounder is so many times as strong as a benchmark."""
    if not multiples:
        return []
    return [
        f"No confounder can be {listed(multiples, 'or')} times as strong as {name}: it would explain more of {what} "
        "than is left to explain."
    ]


def benchmark_groups(sample: Sample, benchmarks: Sequence[str | tuple[str, ...]] | None) -> Groups:
    """Return the benchmarks as groups of covariates of the question.

    Raises
    ------
    QuestionError
        If there are none, or one is not among the question's covariates.
    """
    known = sample.question.covariates
    if not known:
        raise QuestionError(
            f"{WHO}: the question has no covariates to serve as benchmarks; name some in Question.covariates."
        )
    if isinstance(benchmarks, str):
        raise QuestionError(f'{WHO}: benchmarks is one text, "{benchmarks}"; give a tuple of names.')
    if benchmarks is None:
        return (*((name,) for name in known), *((known,) if len(known) > 1 else ()))
    groups = tuple((b,) if isinstance(b, str) else tuple(b) for b in benchmarks)
    if not groups or not all(groups):
        raise QuestionError(f"{WHO}: benchmarks is empty; name covariates, such as {known[0]}.")
    for name in (name for group in groups for name in group):
        if name not in known and name in sample.panel.covariates:
            raise QuestionError(
                f"{WHO}: {name} is a covariate of the panel but not of the question; add it to Question.covariates, "
                "since a benchmark has to be in the regression."
            )
        if name not in known:
            raise unknown("benchmark", str(name), known, WHO)
    return groups


def without(sample: Sample, group: Iterable[str]) -> Sample:
    """Return the sample of the question without some of its covariates."""
    names = sample.question.covariates
    kept = [k for k, name in enumerate(names) if name not in set(group)]
    return replace(
        sample,
        question=sample.question.replace(covariates=tuple(names[k] for k in kept)),
        x_baseline=sample.x_baseline[:, kept],
        x_by_period=tuple(sample.x_by_period[k] for k in kept),
    )


def check_range(q: float, level: float, multiples: Multiples) -> None:
    """Refuse numbers out of their range."""
    if not 0 < q <= 1:
        raise QuestionError(f"{WHO}: q is {q}; it must be above 0 and at most 1.")
    if not 0 < level < 1:
        raise QuestionError(f"{WHO}: level is {level}; it must be between 0 and 1.")
    for multiple in multiples:
        if not all(k > 0 and math.isfinite(k) for k in pair(multiple)):
            raise QuestionError(f"{WHO}: a multiple is {multiple}; multiples must be above 0.")


def units_of(sample: Sample) -> str:
    """Return what effects are measured in."""
    return Scale(sample.question.scale, f"units of {sample.question.outcome}").unit


def percent(share: float) -> str:
    """Return a share as a percentage with two significant digits, or "less than 0.01 %"."""
    value = 100 * share
    if value == 0 or value >= 0.01:
        return f"{value:.2g} %" if value < 10 else f"{value:.1f} %"
    return "less than 0.01 %"
