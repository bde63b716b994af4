"""Omitted variables in double machine learning (Chernozhukov, Cinelli, Newey, Sharma and Syrgkanis 2022)."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from study.core import FloatArray, QuestionError, one_thread, quantile
from study.designs import find_design
from study.designs.dml_panel import Approach
from study.diagnostics.finding import Finding
from study.diagnostics.omitted_variable_bias import robustness_value
from study.diagnostics.partialled import (
    TITLE,
    WHO,
    Groups,
    Multiples,
    none_so_strong,
    pair,
    percent,
    shown,
    times,
    units_of,
    without,
)
from study.figures import contour_figure
from study.learners import Learner
from study.panel import Sample

if TYPE_CHECKING:
    import pandas as pd
    from doubleml import DoubleMLPLR

STRENGTH = ("cf_y", "cf_d", "rho")
LARGEST = 1 - 1e-9


class Elements(NamedTuple):
    """What bounds are made of: the estimate, its largest bias at strength one, and the influence of both.

    ``influence`` and ``bias_influence`` have shape (n,), by unit, scaled so that an error is their mean;
    ``cluster`` has shape (n,). All are means over repetitions of the folds, as the design's estimate is.
    """

    estimate: float
    bias: float
    influence: FloatArray
    bias_influence: FloatArray
    cluster: NDArray[np.int64]


class Bounds(NamedTuple):
    """The lowest and highest estimate under a confounder, their standard errors, and one-sided limits."""

    lower: float
    upper: float
    lower_error: float
    upper_error: float
    conf_low: float
    conf_high: float


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


class Confounder(NamedTuple):
    """A confounder; ``kind`` is "none", "given" or "bound" (to a benchmark, a multiple of which it is as strong as)."""

    kind: Literal["none", "given", "bound"]
    term: str
    cf_y: float
    cf_d: float
    benchmark: str = ""
    multiple: str = ""


def ml_sensitivity(
    sample: Sample,
    *,
    benchmarks: Groups,
    multiples: Multiples = (1, 2, 3),
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
    clustered with rows weighted equally (doubleml, given clusters, weights folds equally).

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
        model it is its nonparametric partial R2 with the change of treatment.
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
        If a number is out of range or the design refuses.

    References
    ----------
    Chernozhukov, V., C. Cinelli, W. Newey, A. Sharma and V. Syrgkanis (2022). Long story short: omitted
    variable bias in causal machine learning. NBER working paper 30302.
    """
    check_strength(cf_y, cf_d, rho)
    if sample.question.scale == "proportional":
        raise QuestionError(
            f'{WHO}: scale="proportional" divides the linear coefficient of dml_panel by the untreated mean; ask the '
            'question with scale="level" for the coefficient that is divided.'
        )
    refusal = find_design("dml_panel").refusal(sample)
    if refusal is not None:
        raise QuestionError(refusal)
    options = dict(approach=approach, learner=learner, folds=folds, repetitions=repetitions, seed=seed)
    model, elements = fitted(sample, options)
    confounders = [
        Confounder("none", "no confounder", 0.0, 0.0),
        Confounder("given", "given strength", cf_y, cf_d),
    ]
    gained: list[Benchmark] = []
    impossible: list[str] = []
    for group in benchmarks:
        gained.append(gains(model, fitted(without(sample, group), options)[0], group))
        if progress is not None:
            progress()
        as_strong, too_strong = _as_strong(gained[-1], multiples)
        confounders += as_strong
        impossible += too_strong
    frame = _frame(confounders, elements, rho, level)
    value = robustness_value(abs(q * elements.estimate) / (abs(rho) * elements.bias))
    limit = limit_reached(elements, rho, level, (1 - q) * elements.estimate)
    side = "lower" if elements.estimate >= 0 else "upper"
    unit, goal = units_of(sample), "zero" if q == 1 else f"{1 - q:g} times the estimate"
    return Finding(
        name=WHO,
        title=TITLE,
        verdict=f"A confounder that explains {percent(value)} of the remaining variation of the changes of treatment "
        f"and of the outcome each (the robustness value), with |rho| = {abs(rho):g}, would bring the estimate to "
        f"{goal}.",
        evidence=(
            f"The coefficient of dml_panel is {elements.estimate:.3g} ({unit}), with a standard error of "
            f"{frame['lower_error'][0]:.2g} (CR0, as doubleml's bounds have) clustered as the design clusters.",
            f"The one-sided {100 * level:g} % limit includes {goal} "
            + (
                f"once a confounder explains {percent(limit)} of each."
                if limit > 0
                else "without any confounder."
            ),
            *_on_confounders(frame),
            *_on_gains(gained),
            *impossible,
        ),
        frame=frame,
        chart=partial(
            contour_figure,
            x="cf_d",
            y="cf_y",
            benchmarks=[(c.benchmark, c.multiple) for c in confounders if c.kind == "bound"],
            surface=partial(_surface, elements=elements, rho=rho, level=level),
            robustness_value=value,
            estimate=elements.estimate,
            goal=(1 - q) * elements.estimate,
            names=("bound", f"one-sided {100 * level:g} % limit"),
            labels=(
                "Partial R² of the confounder with treatment (cf_d)",
                "Partial R² with the outcome (cf_y)",
                f"{side.capitalize()} bound of the coefficient ({unit})",
            ),
        ),
        details={
            "robustness_value": value,
            "robustness_value_significance": limit,
            "benchmarks": tuple(gained),
            "elements": elements,
        },
    )


def _as_strong(benchmark: Benchmark, multiples: Multiples) -> tuple[list[Confounder], list[str]]:
    """Return confounders as strong as multiples of a benchmark, and a sentence on those that cannot exist."""
    confounders, too_strong = [], []
    for k_d, k_y in map(pair, multiples if benchmark.improves else ()):
        strength = k_y * benchmark.cf_y, k_d * benchmark.cf_d
        if max(strength) >= 1:
            too_strong.append(shown(k_d, k_y))
            continue
        term = times(k_d, k_y, benchmark.name)
        confounders.append(Confounder("bound", term, *strength, benchmark.name, shown(k_d, k_y)))
    return confounders, none_so_strong(too_strong, benchmark.name, "outcome or treatment")


def _frame(confounders: Sequence[Confounder], elements: Elements, rho: float, level: float) -> pd.DataFrame:
    import pandas as pd

    return pd.DataFrame(
        [
            {"kind": c.kind, "term": c.term, "cf_y": c.cf_y, "cf_d": c.cf_d, "rho": float(rho)}
            | bounds(elements, c.cf_y, c.cf_d, rho, level)._asdict()
            for c in confounders
        ]
    )


def _on_confounders(frame: pd.DataFrame) -> Iterator[str]:
    for row in frame[1:].itertuples():
        strength = "" if row.kind == "given" else f"{row.term}, "
        yield (
            f"Under a confounder {strength}with cf_y {percent(row.cf_y)} and cf_d {percent(row.cf_d)}, the estimate "
            f"lies between {row.lower:.3g} and {row.upper:.3g}, with one-sided limits {row.conf_low:.3g} and "
            f"{row.conf_high:.3g}."
        )


def _on_gains(benchmarks: Sequence[Benchmark]) -> Iterator[str]:
    for benchmark in benchmarks:
        yield (
            f"Without {benchmark.name} the estimate would change by {benchmark.change:.3g}; its own cf_y is "
            f"{percent(benchmark.cf_y)} and its cf_d {percent(benchmark.cf_d)}."
        )
        if not benchmark.improves:
            yield (
                f"{benchmark.name} does not improve the predictions of both outcome and treatment, so no confounder "
                "can be measured in multiples of it."
            )


def _surface(
    cf_d: FloatArray, cf_y: FloatArray, elements: Elements, rho: float, level: float
) -> tuple[FloatArray, FloatArray]:
    """Return the bound that is nearer to zero, and its one-sided limit, over strengths of a confounder."""
    side = 0 if elements.estimate >= 0 else 1
    flat = [bounds(elements, y, d, rho, level) for d, y in zip(cf_d.ravel(), cf_y.ravel(), strict=True)]
    bound, limit = ([b[k + side] for b in flat] for k in (0, 4))
    return np.reshape(bound, cf_d.shape), np.reshape(limit, cf_d.shape)


def fitted(sample: Sample, options: dict[str, Any]) -> tuple[DoubleMLPLR, Elements]:
    """Return the design's model of a sample, and its elements with influence by unit."""
    from study.designs.dml_panel import cross_fitted
    from study.learners.nuisances import Learning

    with one_thread():
        learning, others = Learning.split(options)
        rows, model = cross_fitted(sample, learning, **others)
    framework = model.framework
    bias = framework.sensitivity_elements["max_bias"][0, 0]

    def by_unit(scores: FloatArray) -> FloatArray:
        """Return scores of rows, shape (N, R), as influence by unit, shape (n,)."""
        sums = np.bincount(rows.unit, weights=scores.mean(axis=1), minlength=sample.n_units)
        return np.asarray(sums * sample.n_units / len(rows.unit))

    return model, Elements(
        float(model.all_coef[0].mean()),
        float(bias.mean()),
        by_unit(framework.scaled_psi[:, 0]),
        by_unit(framework.sensitivity_elements["psi_max_bias"][:, 0]),
        sample.cluster,
    )


def bounds(elements: Elements, cf_y: float, cf_d: float, rho: float, level: float) -> Bounds:
    """Return the bounds under a confounder; influence of the lower one is that of theta less S that of the bias."""
    strength = abs(rho) * math.sqrt(cf_y * cf_d / (1 - cf_d))
    lower, upper = (elements.estimate + sign * strength * elements.bias for sign in (-1, 1))
    low, high = (
        float(np.linalg.norm(np.bincount(elements.cluster, weights=psi))) / len(psi)
        for psi in (elements.influence + sign * strength * elements.bias_influence for sign in (-1, 1))
    )
    critical = quantile(level)
    return Bounds(lower, upper, low, high, lower - critical * low, upper + critical * high)


def limit_reached(elements: Elements, rho: float, level: float, value: float) -> float:
    """Return the cf_y = cf_d at which the one-sided limit nearer to a value reaches it."""
    from scipy.optimize import brentq

    sign = 1.0 if elements.estimate >= value else -1.0

    def left(strength: float) -> float:
        limits = bounds(elements, strength, strength, rho, level)
        return sign * ((limits.conf_low if sign > 0 else limits.conf_high) - value)

    return 0.0 if left(0.0) <= 0 else float(brentq(left, 0.0, LARGEST, xtol=1e-14, rtol=1e-12))


def gains(long: DoubleMLPLR, short: DoubleMLPLR, group: Iterable[str]) -> Benchmark:
    """Return what covariates gain over a model without them, by doubleml's gain statistics."""
    from doubleml.utils.gain_statistics import gain_statistics

    gained = gain_statistics(long, short)
    values = (float(gained[name][0]) for name in ("cf_y", "cf_d", "rho", "delta_theta"))
    return Benchmark(" with ".join(group), *values)


def check_strength(cf_y: float, cf_d: float, rho: float) -> None:
    """Refuse a strength that is no share, and a correlation under which nothing is confounded."""
    for name, value in (("cf_y", cf_y), ("cf_d", cf_d)):
        if not 0 <= value < 1:
            raise QuestionError(f"{WHO}: {name} is {value}; it must be at least 0 and below 1.")
    if not 0 < abs(rho) <= 1:
        raise QuestionError(f"{WHO}: rho is {rho}; it must be between -1 and 1 and not 0.")
