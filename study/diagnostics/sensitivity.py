"""How strong an unobserved confounder has to be to overturn a coefficient, beside covariates that are observed.

Of linear regressions by Cinelli and Hazlett (2020), and of double machine learning by Chernozhukov, Cinelli, Newey,
Sharma and Syrgkanis (2022).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from itertools import compress
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from study.core import FloatArray, QuestionError, listed, one_thread, quantile, sums_by, tell
from study.designs import Design, find_design
from study.designs.dml_panel import Approach, cross_fitted
from study.diagnostics import Finding, Needs, Section, diagnostic
from study.diagnostics import omitted_variable_bias as ovb
from study.figures import contour_figure
from study.learners import Learner, Learning
from study.panel import Sample

if TYPE_CHECKING:
    from doubleml import DoubleMLPLR

STRENGTH = ("cf_y", "cf_d", "rho")
LARGEST = 1 - 1e-9


class Elements(NamedTuple):
    """What bounds are made of: the estimate, its largest bias at strength one, and the covariance of both, (2, 2).

    All are means over repetitions of the folds, as the design's estimate is.
    """

    estimate: float
    bias: float
    covariance: FloatArray


class Bounds(NamedTuple):
    """The lowest and highest estimate under a confounder, their standard errors, and one-sided limits."""

    lower: FloatArray
    upper: FloatArray
    lower_error: FloatArray
    upper_error: FloatArray
    conf_low: FloatArray
    conf_high: FloatArray


class Benchmark(NamedTuple):
    """What covariates gain, as doubleml reports it: cf_y, cf_d, rho; and how leaving them out moves the estimate."""

    name: str
    cf_y: float
    cf_d: float
    rho: float
    change: float

    @property
    def improves(self) -> bool:
        """Whether it improves the predictions of both, so that confounders can be measured in multiples of it."""
        return self.cf_y * self.cf_d != 0

    def strength(self, k_treatment: float, k_outcome: float) -> tuple[float, float] | None:
        """Return cf_d and cf_y of a confounder so many times as strong; None if there can be none."""
        cf_d, cf_y = k_treatment * self.cf_d, k_outcome * self.cf_y
        return (cf_d, cf_y) if max(cf_d, cf_y) < 1 else None


def ml_sensitivity(
    sample: Sample,
    *,
    benchmarks: ovb.Groups,
    multiples: ovb.Multiples = (1, 2, 3),
    q: float = 1.0,
    level: float = 0.95,
    cf_y: float = 0.03,
    cf_d: float = 0.03,
    rho: float = 1.0,
    approach: Approach = "first_differences",
    learner: Learner = "lasso",
    folds: int = 5,
    repetitions: int = 10,
    seed: int = 0,
) -> Finding:
    """Bound the coefficient of dml_panel under a confounder, through doubleml's sensitivity elements.

    With sigma^2 the variance of the outcome's residual, nu^2 the second moment of the Riesz representer and
    S = |rho| sqrt(cf_y cf_d / (1 - cf_d)), the bounds are theta -/+ S sigma nu (section 3 of
    Chernozhukov et al.). Elements are those of doubleml's DoubleMLPLR on the predictions and folds of the
    design. As in the design, repetitions are averaged (doubleml takes medians, as the cf_y, cf_d and rho of
    benchmarks are), and standard errors are clustered with rows weighted equally (doubleml, given clusters, weights
    folds equally). doubleml 0.11.4 adds minus the influence of theta to that of the bias, so that the error of its
    lower bound is that of the upper.

    Parameters
    ----------
    sample : Sample
    benchmarks : tuple of tuple of str
        Groups of covariates. The model is fitted again without each, on the same folds.
    multiples, q, level
        As in :func:`study.diagnostics.sensitivity.sensitivity`; limits are one-sided, as in doubleml. A
        confounder k times as strong as a benchmark has k times its cf_y and k times its cf_d.
    cf_y : float
        Share of the outcome's residual variation that the confounder explains, in [0, 1).
    cf_d : float
        Share of the long Riesz representer's variation that it generates, in [0, 1). In this partially linear
        model it is its nonparametric partial R2 with treatment, in first differences with its change.
    rho : float
        Correlation of what it adds to both, in [-1, 1] and not 0; 1 is the worst case.
    approach, learner, folds, repetitions, seed
        Options of the design.

    Returns
    -------
    Finding
        The frame has a row a confounder: kind, term, cf_y, cf_d, rho, then the fields of :class:`Bounds`. Details:
        ``robustness_value``, the cf_y = cf_d at which a bound reaches the estimate less the share q of it, and
        ``robustness_value_significance``, at which the one-sided limit of that bound does, zero if it is there without
        a confounder; ``benchmarks``, a :class:`Benchmark` for each group; ``elements``.

    Raises
    ------
    QuestionError
        If a number is out of range, the design refuses, or nothing of the outcome is left unexplained.

    References
    ----------
    Chernozhukov, V., C. Cinelli, W. Newey, A. Sharma and V. Syrgkanis (2022). Long story short: omitted
    variable bias in causal machine learning. NBER working paper 30302.
    """
    from doubleml.utils.gain_statistics import gain_statistics

    for name, strength in {"cf_y": cf_y, "cf_d": cf_d}.items():
        if not 0 <= strength < 1:
            raise QuestionError(f"sensitivity: {name} is {strength}; it must be at least 0 and below 1.")
    if not 0 < abs(rho) <= 1:
        raise QuestionError(f"sensitivity: rho is {rho}; it must be between -1 and 1 and not 0.")
    if sample.question.scale == "proportional":
        raise QuestionError(
            'sensitivity: scale="proportional" divides the coefficient of dml_panel by a mean; ask with scale="level".'
        )
    find_design("dml_panel").refuse(sample)
    options = dict(approach=approach, learner=learner, folds=folds, repetitions=repetitions, seed=seed)
    model, elements = fitted(sample, options)
    rows: list[ovb.Row] = [("none", "no confounder", 0.0, 0.0, "", "")]
    rows += [("given", "given strength", cf_d, cf_y, "", "")]
    gained, impossible = [], []
    for group in benchmarks:
        short, of_short = fitted(ovb.without(sample, group), options)
        gain, name = gain_statistics(model, short), " with ".join(group)
        values = [*(float(gain[key][0]) for key in STRENGTH), of_short.estimate - elements.estimate]
        gained.append(benchmark := Benchmark(name, *values))
        tell(f"without {name}")
        if benchmark.improves:
            bound, too_strong = ovb.as_strong_as(name, multiples, benchmark.strength, "outcome or treatment")
            rows += bound
            impossible += too_strong
    table = pd.DataFrame(rows, columns=["kind", "term", "cf_d", "cf_y", "benchmark", "multiple"])
    at_bounds = bounds(elements, table["cf_y"], table["cf_d"], rho, level)
    frame = table[["kind", "term", "cf_y", "cf_d"]].assign(rho=float(rho), **at_bounds._asdict())
    goal = (1 - q) * elements.estimate
    value = ovb.robustness_value(abs(q * elements.estimate) / (abs(rho) * elements.bias))
    limit = limit_reached(elements, rho, level, goal)
    unit, in_words = ovb.units_of(sample), "zero" if q == 1 else f"{1 - q:g} times the estimate"
    treatment = "the changes of treatment" if approach == "first_differences" else "treatment"
    return Finding.of(
        [
            f"A confounder that explains {ovb.percent(value)} of the remaining variation of {treatment} and of the "
            f"outcome each (the robustness value), with |rho| = {abs(rho):g}, would bring the estimate to {in_words}.",
            f"The coefficient of dml_panel is {elements.estimate:.3g} ({unit}), with a standard error of "
            f"{frame['lower_error'][0]:.2g} (CR0, as the bounds have) clustered as the design clusters.",
            ovb.limit_includes(f"one-sided {100 * level:g}% limit", in_words, limit),
            *_sentences(frame, gained),
            *impossible,
        ],
        frame,
        partial(
            contour_figure,
            x="cf_d",
            y="cf_y",
            benchmarks=table.loc[table["kind"] == "bound", ["benchmark", "multiple"]],
            surfaces=partial(_ml_surfaces, elements=elements, rho=rho, level=level),
            robustness_value=value,
            estimate=elements.estimate,
            goal=goal,
            labels=(
                "Partial R² of the confounder with treatment (cf_d)",
                "Partial R² with the outcome (cf_y)",
                f"{'Lower' if elements.estimate >= 0 else 'Upper'} bound of the coefficient ({unit})",
            ),
        ),
        details={"robustness_value": value, "robustness_value_significance": limit}
        | {"benchmarks": tuple(gained), "elements": elements},
    )


def _sentences(frame: pd.DataFrame, benchmarks: Sequence[Benchmark]) -> Iterator[str]:
    for row in frame[1:].itertuples():
        term = "" if row.kind == "given" else f"{row.term}, "
        yield (
            f"Under a confounder {term}with cf_y {ovb.percent(row.cf_y)} and cf_d {ovb.percent(row.cf_d)}, the "
            f"estimate lies between {row.lower:.3g} and {row.upper:.3g}, with one-sided limits {row.conf_low:.3g} and "
            f"{row.conf_high:.3g}."
        )
    for benchmark in benchmarks:
        yield (
            f"Without {benchmark.name} the estimate would change by {benchmark.change:.3g}; its own cf_y is "
            f"{ovb.percent(benchmark.cf_y)} and its cf_d {ovb.percent(benchmark.cf_d)}."
        )
        if not benchmark.improves:
            yield (
                f"{benchmark.name} does not improve the predictions of both outcome and treatment, so no confounder "
                "can be measured in multiples of it."
            )


def _ml_surfaces(
    cf_d: FloatArray, cf_y: FloatArray, elements: Elements, rho: float, level: float
) -> dict[str, FloatArray]:
    """Return the bound that is nearer to zero, and its one-sided limit, over strengths of a confounder."""
    both = bounds(elements, cf_y, cf_d, rho, level)
    ends = (both.lower, both.conf_low) if elements.estimate >= 0 else (both.upper, both.conf_high)
    return {"bound": ends[0], f"one-sided {100 * level:g}% limit": ends[1]}


def fitted(sample: Sample, options: dict[str, Any]) -> tuple[DoubleMLPLR, Elements]:
    """Return the design's model of a sample, and its elements."""
    learning, others = Learning.split(options)
    with one_thread():
        rows, model = cross_fitted(sample, learning, **others)
    framework = model.framework
    if not (framework.sensitivity_elements["sigma2"] > 1e-12 * rows.outcome.var()).all():
        raise QuestionError(
            f"sensitivity: treatment, periods and covariates explain all of {sample.question.outcome}, so nothing of "
            "it is left that a confounder could explain; name another outcome."
        )
    # The score over its negative derivative, which doubleml calls scaled, is minus the influence on the coefficient.
    both = -framework.scaled_psi[:, 0], framework.sensitivity_elements["psi_max_bias"][:, 0]
    scores = np.column_stack([of_rows.mean(axis=1) for of_rows in both])
    sums = sums_by(scores / len(scores), sample.cluster[rows.unit], int(sample.cluster.max()) + 1)
    bias = framework.sensitivity_elements["max_bias"][0, 0]
    return model, Elements(float(model.all_coef[0].mean()), float(bias.mean()), sums.T @ sums)


def bounds(elements: Elements, cf_y: ArrayLike, cf_d: ArrayLike, rho: float, level: float) -> Bounds:
    """Return the bounds under confounders, theta -/+ S times the bias, with their errors; arrays of any one shape."""
    cf_y, cf_d = np.asarray(cf_y, dtype=float), np.asarray(cf_d, dtype=float)
    strength = abs(rho) * np.sqrt(cf_y * cf_d / (1 - cf_d))
    (of_theta, shared), (_, of_bias) = elements.covariance
    both = np.stack([-strength, strength])
    lower, upper = elements.estimate + both * elements.bias
    low, high = np.sqrt(np.maximum(of_theta + 2 * both * shared + strength**2 * of_bias, 0))
    critical = quantile(level)
    return Bounds(lower, upper, low, high, lower - critical * low, upper + critical * high)


def limit_reached(elements: Elements, rho: float, level: float, value: float) -> float:
    """Return the cf_y = cf_d at which the one-sided limit nearer to a value reaches it."""
    from scipy.optimize import brentq

    sign = 1.0 if elements.estimate >= value else -1.0

    def left(strength: float) -> float:
        limits = bounds(elements, strength, strength, rho, level)
        return sign * float((limits.conf_low if sign > 0 else limits.conf_high) - value)

    return 0.0 if left(0.0) <= 0 else float(brentq(left, 0.0, LARGEST, xtol=1e-14, rtol=1e-12))


@diagnostic(
    title="Unobserved confounding",
    question="How strong would an unobserved confounder have to be to take the estimate away?",
    section=Section.OVERTURNS,
    needs=(Needs.COVARIATES, Needs.LEVELS),
    reference="cinellihazlett2020",
    shown=2,
)
def sensitivity(
    sample: Sample,
    design: str = "twfe",
    *,
    form: ovb.Form | None = None,
    benchmarks: Sequence[str | tuple[str, ...]] | None = None,
    multiples: ovb.Multiples = (1, 2, 3),
    q: float = 1.0,
    level: float = 0.95,
    **options: Any,
) -> Finding:
    """Ask how strong an unobserved confounder has to be to overturn a design's answer.

    For twfe the coefficient is the design's own, with unit and period effects and covariates by period
    (``form="within"``). Covariates that are fixed in time are absorbed there and cannot be benchmarks. For them,
    and for the other designs with covariates, it is that of treatment in a cross-section of units,
    ``form="long_difference"``: the change of a unit's mean outcome around the event on treatment and baseline
    covariates (see :func:`study.diagnostics.omitted_variable_bias.long_difference`). For dml_panel see
    :func:`study.diagnostics.sensitivity.ml_sensitivity`, whose options are taken too.

    Partial R2 and robustness values are algebra of least squares with the classical standard error. Errors of a
    unit are not independent over its periods, so the interval is also given with clustered errors, which are
    taken to change with the confounder by the factor by which classical ones do.

    Parameters
    ----------
    sample : Sample
    design : str
    form : {"within", "long_difference"}, optional
    benchmarks : sequence of str or tuple of str, optional
        Covariates of the question, or groups of them, beside which confounders are put; by default each of them,
        and all together where there are several.
    multiples : sequence of float or (float, float)
        How many times as strong the confounder is as the benchmark; in a pair, with treatment and outcome.
    q : float
        Share of the estimate that a confounder is to take away, in (0, 1].
    level : float
        Of intervals.
    **options
        Options of the design.

    Returns
    -------
    Finding
        The frame has a row a confounder: kind ("none"; "observed", with the partial R2 of a benchmark; "extreme", with
        its R2 with treatment and all that is left of the outcome; "bound", as strong as a multiple of it), term,
        r2_treatment, r2_outcome, estimate; std_error, statistic,
        conf_low, conf_high of classical errors; and the same with the ending _clustered. If the confounder explains
        all that is left of the outcome the standard errors are zero and the statistics infinite. Details:
        ``coefficient``; ``form``; ``headline``, the design's own answer, None where it is the coefficient; and the
        values of :func:`robustness`. For dml_panel those of
        :func:`study.diagnostics.sensitivity.ml_sensitivity`.

    Raises
    ------
    QuestionError
        If there are no covariates, a benchmark is not among them or is absorbed, a number is out of range, the
        scale is "proportional", or the design has no linear regression with covariates.

    References
    ----------
    Cinelli, C. and C. Hazlett (2020). Making sense of sensitivity: extending omitted variable bias. Journal of
    the Royal Statistical Society, Series B 82(1).
    """
    chosen = find_design(design)
    chosen.check_options({k: v for k, v in options.items() if design != "dml_panel" or k not in STRENGTH})
    if not 0 < q <= 1:
        raise QuestionError(f"sensitivity: q is {q}; it must be above 0 and at most 1.")
    for multiple in multiples:
        if not all(0 < k < np.inf for k in ovb.pair(multiple)):
            raise QuestionError(f"sensitivity: a multiple is {multiple}; multiples must be above 0.")
    groups = ovb.benchmark_groups(sample, benchmarks)
    if design == "dml_panel":
        if form is not None:
            raise QuestionError(f"sensitivity: dml_panel has no form; leave form={form!r} out.")
        return ml_sensitivity(sample, benchmarks=groups, multiples=multiples, q=q, level=level, **options)
    family = options.get("family", "gaussian")
    regression = ovb.partialled(sample, design, form, "sensitivity", family, ("dml_panel",))
    is_own = design == "twfe" and regression.form == "within"
    headline, own_notes = (None, []) if is_own else own_answer(chosen, sample, options)
    c, unit = regression.coefficient, ovb.units_of(sample)
    rows: list[ovb.Row] = [("none", "no confounder", 0.0, 0.0, "", "")]
    impossible = []
    for group in groups:
        name, observed = " with ".join(group), regression.strength(group)
        rows.append(("observed", name, *observed, name, ""))
        rows.append(("extreme", f"{name} and all of the outcome", observed[0], 1.0, name, ""))
        bounds, too_strong = ovb.as_strong_as(name, multiples, partial(ovb.bound, *observed), "treatment")
        rows += bounds
        impossible += too_strong
    columns = ["kind", "term", "r2_treatment", "r2_outcome", "benchmark", "multiple"]
    table = pd.DataFrame(rows, columns=columns)
    strength, omitted = (table["r2_treatment"], table["r2_outcome"]), table["kind"] != "none"
    for ending, ratio, degrees in (("", 1.0, c.dof), ("_clustered", c.ratio, c.clusters - 1)):
        adjusted = ovb.adjusted(c.estimate, c.std_error, c.dof, *strength, level, ratio, degrees, omitted)
        for name, column in adjusted._asdict().items():
            table[name + ending] = column
    values = robustness(c, q, level)
    plugged, interval = ovb.percent(values["robustness_value_plugged"]), f"{100 * level:g}% interval"
    goal = "zero" if q == 1 else f"{1 - q:g} times the estimate"
    return Finding.of(
        [
            f"{'A' if headline is None else f'In a linear regression in place of {design}, a'} confounder that "
            f"explains {ovb.percent(values['robustness_value'])} of the remaining variation of treatment and of the "
            f"outcome each would bring the estimate of {c.estimate:.3g} {sample.question.effect_scale.unit} to "
            f"{goal.replace('the estimate', 'itself')}.",
            "That is the robustness value; a confounder that explains all of the remaining variation of the outcome "
            f"would have to explain {ovb.percent(values['extreme_robustness_value'])} of that of treatment.",
            f"The coefficient is that of treatment in the regression of {regression.described}: {c.estimate:.3g} "
            f"({unit}), with a classical standard error of {c.std_error:.2g} on {c.dof} degrees of freedom and one of "
            f"{c.clustered_error:.2g} clustered in {c.clusters} clusters.",
            *own_notes[:1],
            ovb.limit_includes(f"clustered {interval}", goal, values["robustness_value_clustered"]),
            ovb.limit_includes(f"classical {interval}", goal, values["robustness_value_significance"]),
            "Partial R2 rest on the classical t; with the clustered t in its place, as is often reported, the "
            f"robustness value would be {plugged}.",
            *_on_benchmarks(table, level),
            *impossible,
            *regression.notes,
            *own_notes[1:],
        ],
        table.drop(columns=["benchmark", "multiple", "estimate_clustered"]),
        partial(
            contour_figure,
            x="r2_treatment",
            y="r2_outcome",
            benchmarks=table.loc[table["kind"] == "bound", ["benchmark", "multiple"]],
            surfaces=partial(_surfaces, c=c, level=level),
            robustness_value=values["robustness_value"],
            estimate=c.estimate,
            goal=(1 - q) * c.estimate,
            labels=(
                "Partial R² of the confounder with treatment",
                "Partial R² with the outcome",
                f"Coefficient ({unit}) with the confounder",
            ),
        ),
        details={"coefficient": c, "form": regression.form, "headline": headline, **values},
    )


def robustness(c: ovb.Coefficient, q: float, level: float) -> dict[str, float]:
    """Return how strong a confounder has to be to take the share q of a coefficient away.

    Returns
    -------
    dict of str to float
        ``partial_r2`` of treatment with the outcome: a confounder that explains all that is left of the outcome has to
        explain as much of treatment to take the whole estimate away. ``robustness_value``: the partial R2 with both
        treatment and outcome that takes the share q away; with the ending ``_significance``, until the classical
        interval includes the estimate less that share; ``_clustered``, until the clustered one does, which has G - 1
        degrees of freedom; ``_plugged``, with the clustered t in place of the classical one, as is often reported,
        which is the partial R2 of no confounder, since the bias does not depend on how errors are clustered.
        ``extreme_robustness_value``: the partial R2 with treatment, if the confounder explains all that is left of
        the outcome.
    """
    f = ovb.partial_f(c.statistic, c.dof)
    clustered = ovb.critical_f(c.dof, level, c.ratio, c.clusters - 1)
    return {
        "partial_r2": ovb.partial_r2(c.statistic, c.dof),
        "robustness_value": ovb.robustness_value(f, q),
        "robustness_value_significance": ovb.robustness_value(f, q, ovb.critical_f(c.dof, level)),
        "robustness_value_clustered": ovb.robustness_value(f, q, clustered),
        "robustness_value_plugged": ovb.robustness_value(ovb.partial_f(c.statistic / c.ratio, c.dof), q),
        "extreme_robustness_value": ovb.extreme_robustness_value(f, q),
    }


def _on_benchmarks(table: pd.DataFrame, level: float) -> Iterator[str]:
    for observed in table[table["kind"] == "observed"].itertuples():
        name = observed.benchmark
        yield (
            f"{name} explains {ovb.percent(observed.r2_treatment)} of the remaining variation of treatment and "
            f"{ovb.percent(observed.r2_outcome)} of that of the outcome."
        )
        bounds = table[(table["kind"] == "bound") & (table["benchmark"] == name)]
        columns = bounds[["estimate", "conf_low_clustered", "conf_high_clustered"]]
        left = [f"{value:.3g} ({low:.3g} to {high:.3g})" for value, low, high in columns.to_numpy()]
        if left:
            yield (
                f"In the worst case, confounders {listed(bounds['multiple'])} times as strong as {name} would leave "
                f"{listed(left)}, with clustered {100 * level:g}% intervals in parentheses."
            )
        capped = bounds.loc[bounds["r2_outcome"] == 1, "multiple"]
        if len(capped):
            yield (
                f"For those {listed(capped)} times as strong the bound on the partial R2 with the outcome is above 1 "
                "and is taken as 1, which leaves nothing of the outcome unexplained and intervals without width."
            )


def _surfaces(
    r2_treatment: FloatArray, r2_outcome: FloatArray, c: ovb.Coefficient, level: float
) -> dict[str, FloatArray]:
    """Return the estimate under confounders, and the limit of its clustered interval that is nearer to zero."""
    adjusted = ovb.adjusted(
        c.estimate, c.std_error, c.dof, r2_treatment, r2_outcome, level, c.ratio, c.clusters - 1
    )
    limit = adjusted.conf_low if c.estimate > 0 else adjusted.conf_high
    return {"estimate": adjusted.estimate, f"clustered {100 * level:g}% limit": limit}


def own_answer(design: Design, sample: Sample, options: dict[str, Any]) -> tuple[float, list[str]]:
    """Return a design's headline, without covariates that its unit effects absorb, and sentences on it."""
    varies = np.any(sample.x_varying != sample.x_baseline[:, None], axis=(0, 1))
    fixed = tuple(compress(sample.covariates, ~varies))
    notes = []
    try:
        fit = design(sample, **options).headline
    except QuestionError:
        if not fixed:
            raise
        notes = [f"{design.name} answers without {listed(fixed)}, which its unit effects absorb."]
        fit = design(ovb.without(sample, fixed), **options).headline
    own = float(fit.effect[0])
    return own, [
        f"It stands for {design.name}, whose own answer is {own:.3g}; what follows holds for the linear coefficient.",
        *notes,
    ]
