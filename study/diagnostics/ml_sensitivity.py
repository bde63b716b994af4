"""Omitted variables in double machine learning (Chernozhukov, Cinelli, Newey, Sharma and Syrgkanis 2022)."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from study.core import FloatArray, QuestionError, one_thread, quantile
from study.designs import find_design
from study.designs.dml_panel import Approach
from study.diagnostics.benchmark_covariates import (
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
from study.diagnostics.omitted import robustness_value
from study.figures import Point, benchmark_legend, draw_contours, draw_points, grid
from study.learners import Learner
from study.panel import Sample

if TYPE_CHECKING:
    import pandas as pd
    from doubleml import DoubleMLPLR
    from matplotlib.figure import Figure


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


class Confounder(NamedTuple):
    """A confounder and the bounds under it; ``kind`` is "none", "given" or "bound" (to a benchmark)."""

    kind: Literal["none", "given", "bound"]
    label: str
    cf_y: float
    cf_d: float
    bounds: Bounds
    benchmark: str = ""
    multiple: str = ""


@dataclass(frozen=True, eq=False)
class MLSensitivity:
    """What omitted variables would do to a coefficient by double machine learning.

    Attributes
    ----------
    design : str
    unit : str
        What the coefficient is measured in.
    elements : Elements
    rho : float
    q, level : float
    confounders : tuple of Confounder
    benchmarks : tuple of Benchmark
    impossible, notes : tuple of str
    """

    design: str
    unit: str
    elements: Elements
    rho: float
    q: float
    level: float
    confounders: tuple[Confounder, ...]
    benchmarks: tuple[Benchmark, ...]
    impossible: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def title(self) -> str:
        """What was looked at."""
        return "Sensitivity to unobserved confounders, double machine learning"

    @property
    def robustness_value(self) -> float:
        """The cf_y = cf_d at which a bound reaches the estimate less the share q of it."""
        return robustness_value(abs(self.q * self.elements.estimate) / (abs(self.rho) * self.elements.bias))

    @property
    def robustness_value_significance(self) -> float:
        """The same for the one-sided limit of that bound; zero if it is there without a confounder."""
        return limit_reached(self.elements, self.rho, self.level, (1 - self.q) * self.elements.estimate)

    @property
    def sentences(self) -> tuple[str, ...]:
        """What was found."""
        goal = "zero" if self.q == 1 else f"{1 - self.q:g} times the estimate"
        none = self.confounders[0].bounds
        limit = self.robustness_value_significance
        said = [
            f"A confounder that explains {percent(self.robustness_value)} of the remaining variation of the changes of "
            f"treatment and of the outcome each, with |rho| = {abs(self.rho):g}, would bring the estimate to {goal}.",
            f"The coefficient of {self.design} is {self.elements.estimate:.3g} ({self.unit}), with a standard error "
            f"of {none.lower_error:.2g} (CR0, as doubleml's bounds have) clustered as the design clusters.",
            f"The one-sided {100 * self.level:g} % limit includes {goal} "
            + (
                f"once a confounder explains {percent(limit)} of each."
                if limit > 0
                else "without any confounder."
            ),
        ]
        for made in self.confounders[1:]:
            b = made.bounds
            who = "" if made.kind == "given" else f"{made.label}, "
            said.append(
                f"Under a confounder {who}with cf_y {percent(made.cf_y)} and cf_d {percent(made.cf_d)}, the estimate "
                f"lies between {b.lower:.3g} and {b.upper:.3g}, with one-sided limits {b.conf_low:.3g} and "
                f"{b.conf_high:.3g}."
            )
        for gain in self.benchmarks:
            said.append(
                f"Without {gain.name} the estimate would change by {gain.change:.3g}; its own cf_y is "
                f"{percent(gain.cf_y)} and its cf_d {percent(gain.cf_d)}."
            )
            if gain.cf_y * gain.cf_d == 0:
                said.append(
                    f"{gain.name} does not improve the predictions of both outcome and treatment, so no confounder "
                    "can be measured in multiples of it."
                )
        return (*said, *self.impossible, *self.notes)

    def tidy(self) -> pd.DataFrame:
        """Return one row a confounder: kind, term, cf_y, cf_d, rho, then the fields of Bounds."""
        import pandas as pd

        return pd.DataFrame(
            [
                {"kind": c.kind, "term": c.label, "cf_y": c.cf_y, "cf_d": c.cf_d, "rho": self.rho}
                | c.bounds._asdict()
                for c in self.confounders
            ]
        )

    def gains(self) -> pd.DataFrame:
        """Return one row a benchmark: name, cf_y, cf_d, rho, change of the estimate without it."""
        import pandas as pd

        return pd.DataFrame(self.benchmarks, columns=list(Benchmark._fields))

    def plot(self) -> Figure:
        """Draw contours of the bound that is nearer to zero over cf_d and cf_y, with the benchmarks."""
        return ml_contours(self)


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
) -> MLSensitivity:
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
    MLSensitivity

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
    options = {
        "approach": approach,
        "learner": learner,
        "folds": folds,
        "repetitions": repetitions,
        "seed": seed,
    }
    model, elements = fitted(sample, options)
    confounders = [
        Confounder("none", "no confounder", 0.0, 0.0, bounds(elements, 0.0, 0.0, rho, level)),
        Confounder("given", "given strength", cf_y, cf_d, bounds(elements, cf_y, cf_d, rho, level)),
    ]
    found: list[Benchmark] = []
    impossible: list[str] = []
    for group in benchmarks:
        made = gains(model, fitted(without(sample, group), options)[0], group)
        if progress is not None:
            progress()
        found.append(made)
        if made.cf_y * made.cf_d == 0:
            continue
        too_much = []
        for k_d, k_y in map(pair, multiples):
            label = times(k_d, k_y, made.name)
            strength = k_y * made.cf_y, k_d * made.cf_d
            if max(strength) >= 1:
                too_much.append(shown(k_d, k_y))
                continue
            made_bounds = bounds(elements, *strength, rho, level)
            confounders.append(Confounder("bound", label, *strength, made_bounds, made.name, shown(k_d, k_y)))
        impossible += none_so_strong(too_much, made.name, "outcome or treatment")
    return MLSensitivity(
        "dml_panel",
        units_of(sample),
        elements,
        float(rho),
        float(q),
        float(level),
        tuple(confounders),
        tuple(found),
        tuple(impossible),
    )


def fitted(sample: Sample, options: dict[str, Any]) -> tuple[DoubleMLPLR, Elements]:
    """Return the design's model of a sample, and its elements with influence by unit."""
    from study.designs.dml_panel import cross_fitted

    with one_thread():
        rows, model = cross_fitted(sample, **options)
    framework = model.framework
    bias = framework.sensitivity_elements["max_bias"][0, 0]

    def by_unit(scores: FloatArray) -> FloatArray:
        """Return scores of rows, shape (N, R), as influence by unit, shape (n,)."""
        sums = np.bincount(rows.unit, weights=scores.mean(axis=1), minlength=sample.n_units)
        made: FloatArray = sums * sample.n_units / len(rows.unit)
        return made

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
        made = bounds(elements, strength, strength, rho, level)
        return sign * ((made.conf_low if sign > 0 else made.conf_high) - value)

    return 0.0 if left(0.0) <= 0 else float(brentq(left, 0.0, LARGEST, xtol=1e-14, rtol=1e-12))


def gains(long: DoubleMLPLR, short: DoubleMLPLR, group: Iterable[str]) -> Benchmark:
    """Return what covariates gain over a model without them, by doubleml's gain statistics."""
    from doubleml.utils.gain_statistics import gain_statistics

    made = gain_statistics(long, short)
    values = (float(made[name][0]) for name in ("cf_y", "cf_d", "rho", "delta_theta"))
    return Benchmark(" with ".join(group), *values)


def check_strength(cf_y: float, cf_d: float, rho: float) -> None:
    """Refuse a strength that is no share, and a correlation under which nothing is confounded."""
    for name, value in (("cf_y", cf_y), ("cf_d", cf_d)):
        if not 0 <= value < 1:
            raise QuestionError(f"{WHO}: {name} is {value}; it must be at least 0 and below 1.")
    if not 0 < abs(rho) <= 1:
        raise QuestionError(f"{WHO}: rho is {rho}; it must be between -1 and 1 and not 0.")


def ml_contours(made: MLSensitivity) -> Figure:
    """Draw the bound nearer to zero over cf_d and cf_y."""
    from study.diagnostics.ml_sensitivity import bounds
    from study.figures.canvas import canvas

    e = made.elements
    points = [
        Point(c.benchmark, f"{c.multiple}×", c.cf_d, c.cf_y) for c in made.confounders if c.kind == "bound"
    ]
    x, y = grid(points, made.robustness_value)
    side = 0 if e.estimate >= 0 else 1
    flat = [bounds(e, b, a, made.rho, made.level) for a, b in zip(x.ravel(), y.ravel(), strict=True)]
    estimate = np.array([b[side] for b in flat]).reshape(x.shape)
    limit = np.array([b[4 + side] for b in flat]).reshape(x.shape)
    with canvas(height=3.6) as figure:
        axes = figure.add_subplot()
        draw_contours(
            axes, x, y, estimate, limit, (1 - made.q) * e.estimate, made.level, ("bound", "one-sided")
        )
        draw_points(axes, points, e.estimate)
        axes.set_xlabel("Partial R² of the confounder with treatment (cf_d)")
        axes.set_ylabel("Partial R² with the outcome (cf_y)")
        axes.set_title(
            f"{'Lower' if side == 0 else 'Upper'} bound of the coefficient ({made.unit})", loc="left"
        )
        benchmark_legend(figure, axes)
    return figure
