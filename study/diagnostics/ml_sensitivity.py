"""Omitted variables in double machine learning (Chernozhukov, Cinelli, Newey, Sharma and Syrgkanis 2022)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from study.core import FloatArray, QuestionError, one_thread, quantile, sums_by
from study.designs import find_design
from study.designs.dml_panel import Approach, cross_fitted
from study.diagnostics import Finding
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
    """What covariates gain, as doubleml reports it: cf_y, cf_d, rho, and how leaving them out moves the estimate."""

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
    progress: Callable[[], None] | None = None,
) -> Finding:
    """Bound the coefficient of dml_panel under a confounder, through doubleml's sensitivity elements.

    With sigma^2 the variance of the outcome's residual, nu^2 the second moment of the Riesz representer and
    S = |rho| sqrt(cf_y cf_d / (1 - cf_d)), the bounds are theta -/+ S sigma nu (section 3 of
    Chernozhukov et al.). Elements are those of doubleml's DoubleMLPLR on the predictions and folds of the
    design. As in the design, repetitions are averaged (doubleml takes medians), and standard errors are
    clustered with rows weighted equally (doubleml, given clusters, weights folds equally). doubleml 0.11.4 adds
    minus the influence of theta to that of the bias, so that the error of its lower bound is that of the upper.

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
    progress : callable, optional
        Called after each benchmark.

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
        gain = gain_statistics(model, fitted(ovb.without(sample, group), options)[0])
        values = (float(gain[name][0]) for name in ("cf_y", "cf_d", "rho", "delta_theta"))
        name, benchmark = " with ".join(group), Benchmark(" with ".join(group), *values)
        gained.append(benchmark)
        if progress is not None:
            progress()
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
            ovb.limit_includes(f"one-sided {100 * level:g} % limit", in_words, limit),
            *_sentences(frame, gained),
            *impossible,
        ],
        frame,
        partial(
            contour_figure,
            x="cf_d",
            y="cf_y",
            benchmarks=table.loc[table["kind"] == "bound", ["benchmark", "multiple"]],
            surfaces=partial(_surfaces, elements=elements, rho=rho, level=level),
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


def _surfaces(
    cf_d: FloatArray, cf_y: FloatArray, elements: Elements, rho: float, level: float
) -> dict[str, FloatArray]:
    """Return the bound that is nearer to zero, and its one-sided limit, over strengths of a confounder."""
    both = bounds(elements, cf_y, cf_d, rho, level)
    ends = (both.lower, both.conf_low) if elements.estimate >= 0 else (both.upper, both.conf_high)
    return {"bound": ends[0], f"one-sided {100 * level:g} % limit": ends[1]}


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
