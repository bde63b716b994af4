"""How strong an unobserved confounder has to be to overturn a coefficient, beside covariates that are observed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from study.core import QuestionError, checked, quantile
from study.designs import Design, find_design
from study.diagnostics import omitted
from study.diagnostics.benchmark_covariates import (
    WHO,
    Multiples,
    Scenario,
    benchmark_groups,
    check_range,
    confounders,
    listed,
    percent,
    units_of,
    without,
)
from study.diagnostics.ml_sensitivity import STRENGTH, MLSensitivity, ml_sensitivity
from study.diagnostics.partialled import Coefficient, Form, applicable, partialled
from study.figures import Point, benchmark_legend, draw_contours, draw_points, grid
from study.panel import Sample

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

    from study.diagnostics.ml_sensitivity import MLSensitivity


@dataclass(frozen=True, eq=False)
class Sensitivity:
    """What omitted variables would do to the coefficient of a linear regression.

    Attributes
    ----------
    design : str
    form : {"within", "long_difference"}
    regression : str
        What is regressed on what.
    unit : str
        What the coefficient is measured in.
    coefficient : Coefficient
    q : float
        Share of the estimate that the confounder is to take away.
    level : float
    scenarios : tuple of Scenario
    impossible : tuple of str
        Confounders that cannot exist: a benchmark so many times over would explain more than all of treatment.
    notes : tuple of str
    headline : float, optional
        The design's own answer, where the regression only stands for it.
    """

    design: str
    form: Form
    regression: str
    unit: str
    coefficient: Coefficient
    q: float
    level: float
    scenarios: tuple[Scenario, ...]
    impossible: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    headline: float | None = None

    @property
    def title(self) -> str:
        """What was looked at."""
        return "Sensitivity to unobserved confounders"

    @cached_property
    def statistic(self) -> float:
        """The classical t, on which partial R2 rest."""
        return self.coefficient.estimate / self.coefficient.std_error

    @cached_property
    def ratio(self) -> float:
        """The clustered standard error over the classical one."""
        return self.coefficient.clustered_error / self.coefficient.std_error

    @cached_property
    def _f(self) -> float:
        return omitted.partial_f(self.statistic, self.coefficient.dof)

    @cached_property
    def partial_r2(self) -> float:
        """Partial R2 of treatment with the outcome.

        A confounder that explains all that is left of the outcome has to explain as much of treatment to take
        the whole estimate away.
        """
        return omitted.partial_r2(self.statistic, self.coefficient.dof)

    @cached_property
    def robustness_value(self) -> float:
        """Partial R2 with both treatment and outcome that takes the share q of the estimate away."""
        return omitted.robustness_value(self._f, self.q)

    @cached_property
    def robustness_value_significance(self) -> float:
        """The same until the classical interval includes the estimate less the share q of it."""
        f_star = omitted.critical_f(self.coefficient.dof, self.level)
        return omitted.robustness_value(self._f, self.q, f_star)

    @cached_property
    def robustness_value_clustered(self) -> float:
        """The same for the clustered interval, which has G - 1 degrees of freedom."""
        f_star = omitted.critical_f(
            self.coefficient.dof, self.level, self.ratio, self.coefficient.clusters - 1
        )
        return omitted.robustness_value(self._f, self.q, f_star)

    @cached_property
    def robustness_value_plugged(self) -> float:
        """The robustness value with the clustered t in place of the classical one, as is often reported.

        It is not the partial R2 of any confounder: the bias does not depend on how errors are clustered.
        """
        f = omitted.partial_f(self.statistic / self.ratio, self.coefficient.dof)
        return omitted.robustness_value(f, self.q)

    @cached_property
    def extreme_robustness_value(self) -> float:
        """Partial R2 with treatment that does so if the confounder explains all that is left of the outcome."""
        return omitted.extreme_robustness_value(self._f, self.q)

    @property
    def sentences(self) -> tuple[str, ...]:
        """What was found."""
        zero, *robustness = self._robustness()
        said = [zero, *self._about(), *robustness, *self._benchmarks()]
        return (*said, *self.impossible, *self.notes)

    def _about(self) -> list[str]:
        c = self.coefficient
        said = [
            f"The coefficient is that of treatment in the regression of {self.regression}: {c.estimate:.3g} "
            f"({self.unit}), with a classical standard error of {c.std_error:.2g} on {c.dof} degrees of freedom "
            f"and one of {c.clustered_error:.2g} clustered in {c.clusters} clusters."
        ]
        if self.headline is not None:
            said.append(
                f"It stands for {self.design}, whose own answer is {self.headline:.3g}; what follows holds for the "
                "linear coefficient."
            )
        return said

    def _robustness(self) -> list[str]:
        goal = "zero" if self.q == 1 else f"{1 - self.q:g} times itself"
        where = "A" if self.headline is None else f"In the linear regression that stands for {self.design}, a"
        said = [
            f"{where} confounder that explains {percent(self.robustness_value)} of the remaining variation of "
            f"treatment and of the outcome each would bring the estimate of {self.coefficient.estimate:.3g} to {goal}; "
            "one that explains all of the remaining variation of the outcome would have to explain "
            f"{percent(self.extreme_robustness_value)} of that of treatment."
        ]
        goal = "zero" if self.q == 1 else f"{1 - self.q:g} times the estimate"
        for name, value in (
            ("clustered", self.robustness_value_clustered),
            ("classical", self.robustness_value_significance),
        ):
            when = (
                f"once a confounder explains {percent(value)} of each"
                if value > 0
                else "without any confounder"
            )
            said.append(f"The {name} {100 * self.level:g} % interval includes {goal} {when}.")
        said.append(
            "Partial R2 rest on the classical t; with the clustered t in its place, as is often reported, the "
            f"robustness value would be {percent(self.robustness_value_plugged)}."
        )
        return said

    def _benchmarks(self) -> list[str]:
        said = []
        for benchmark in (s for s in self.scenarios if s.kind == "observed"):
            name = benchmark.label
            said.append(
                f"{name} explains {percent(benchmark.r2_treatment)} of the remaining variation of treatment and "
                f"{percent(benchmark.r2_outcome)} of that of the outcome."
            )
            bounds = [s for s in self.scenarios if s.kind == "bound" and s.benchmark == name]
            if bounds:
                said.append(
                    f"In the worst case, confounders {listed([s.multiple for s in bounds])} times as strong as {name} "
                    f"would leave {listed([self._left(s) for s in bounds])}, with clustered {100 * self.level:g} % "
                    "intervals in brackets."
                )
        return said

    def _left(self, s: Scenario) -> str:
        made = self._adjusted(s, clustered=True)
        return f"{made.estimate:.3g} ({made.conf_low:.3g} to {made.conf_high:.3g})"

    def _adjusted(self, s: Scenario, clustered: bool) -> omitted.Adjusted:
        c = self.coefficient
        ratio, degrees = (self.ratio, c.clusters - 1) if clustered else (1.0, c.dof)
        if s.kind == "none":
            error = ratio * c.std_error
            half = quantile((1 + self.level) / 2, degrees) * error
            return omitted.Adjusted(
                c.estimate, error, c.estimate / error, c.estimate - half, c.estimate + half
            )
        return omitted.adjusted(
            c.estimate, c.std_error, c.dof, s.r2_treatment, s.r2_outcome, self.level, ratio, degrees
        )

    def tidy(self) -> pd.DataFrame:
        """Return one row a confounder: its strength, and what it leaves of the estimate.

        Returns
        -------
        DataFrame
            kind, term, r2_treatment, r2_outcome, estimate; std_error, statistic, conf_low, conf_high of classical
            errors; and the same with the ending _clustered. If the confounder explains all that is left of the
            outcome the standard errors are zero and the statistics infinite.
        """
        import pandas as pd

        rows = []
        for s in self.scenarios:
            classical, clustered = self._adjusted(s, False)._asdict(), self._adjusted(s, True)._asdict()
            row: dict[str, Any] = {
                "kind": s.kind,
                "term": s.label,
                "r2_treatment": s.r2_treatment,
                "r2_outcome": s.r2_outcome,
                **classical,
            }
            rows.append(row | {f"{name}_clustered": v for name, v in clustered.items() if name != "estimate"})
        return pd.DataFrame(rows)

    def statistics(self) -> pd.DataFrame:
        """Return the partial R2 of treatment and the robustness values, one row each: name, value, meaning."""
        import pandas as pd

        names = (
            "partial_r2",
            "robustness_value",
            "robustness_value_significance",
            "robustness_value_clustered",
            "robustness_value_plugged",
            "extreme_robustness_value",
        )
        rows = [
            (name, getattr(self, name), (getattr(type(self), name).__doc__ or "").split("\n")[0])
            for name in names
        ]
        return pd.DataFrame(rows, columns=["statistic", "value", "meaning"])

    def plot(self) -> Figure:
        """Draw contours of the estimate over the confounder's two partial R2, with the benchmarks."""
        return confounding_contours(self)


@checked
def sensitivity(
    sample: Sample,
    design: str = "twfe",
    *,
    form: Form | None = None,
    benchmarks: Sequence[str | tuple[str, ...]] | None = None,
    multiples: Multiples = (1, 2, 3),
    q: float = 1.0,
    level: float = 0.95,
    progress: Callable[[], None] | None = None,
    **options: Any,
) -> Sensitivity | MLSensitivity:
    """Ask how strong an unobserved confounder has to be to overturn a design's answer.

    For twfe the coefficient is the design's own, with unit and period effects and covariates by period
    (``form="within"``). Covariates that are fixed in time are absorbed there and cannot be benchmarks. For them,
    and for the other designs with covariates, it is that of treatment in a cross-section of units,
    ``form="long_difference"``: the change of a unit's mean outcome around the event on treatment and baseline
    covariates (see :func:`study.diagnostics.partialled.long_difference`). For dml_panel see
    :func:`study.diagnostics.ml_sensitivity.ml_sensitivity`, whose options are taken too.

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
    progress : callable, optional
        Called after each refit, which dml_panel has for each benchmark.
    **options
        Options of the design.

    Returns
    -------
    Sensitivity or MLSensitivity

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
    check_range(q, level, multiples)
    groups = benchmark_groups(sample, benchmarks)
    if design == "dml_panel":
        if form is not None:
            raise QuestionError(f"{WHO}: dml_panel has no form; leave form={form!r} out.")
        return ml_sensitivity(
            sample, benchmarks=groups, multiples=multiples, q=q, level=level, progress=progress, **options
        )
    if options.get("family", "gaussian") != "gaussian":
        raise QuestionError(
            f"{WHO}: {design} with family={options['family']!r} is not linear; ask for {', '.join(applicable())} "
            'with scale="log1p" or "level".'
        )
    regression = partialled(sample, design, form, WHO, ("dml_panel",))
    headline, n_fixed_effects = (None, ()) if design == "twfe" else own_answer(chosen, sample, options)
    scenarios, impossible = confounders(regression, groups, multiples)
    return Sensitivity(
        design=design,
        form=regression.form,
        regression=regression.described,
        unit=units_of(sample),
        coefficient=regression.coefficient,
        q=float(q),
        level=float(level),
        scenarios=scenarios,
        impossible=impossible,
        notes=(*regression.notes, *n_fixed_effects),
        headline=headline,
    )


def own_answer(design: Design, sample: Sample, options: dict[str, Any]) -> tuple[float, tuple[str, ...]]:
    """Return a design's headline, without covariates that its unit effects absorb, and a sentence on those."""
    names, x = sample.question.covariates, sample.x_varying
    fixed = tuple(
        name for k, name in enumerate(names) if not np.any(x[:, :, k] != sample.x_baseline[:, None, k])
    )
    try:
        return float(design(sample, **options).headline.effect[0]), ()
    except QuestionError:
        if not fixed:
            raise
    said = f"{design.name} answers without {listed(fixed)}, which its unit effects absorb."
    return float(design(without(sample, fixed), **options).headline.effect[0]), (said,)


def confounding_contours(made: Sensitivity) -> Figure:
    """Draw the estimate under a confounder over its partial R2 with treatment and outcome."""
    from study.figures.canvas import canvas

    c = made.coefficient
    points = [
        Point(s.benchmark, f"{s.multiple}×", s.r2_treatment, s.r2_outcome)
        for s in made.scenarios
        if s.kind == "bound"
    ]
    x, y = grid(points, made.robustness_value)
    estimate = omitted.adjusted_estimate(c.estimate, c.std_error, c.dof, x, y)
    goal = (1 - made.q) * c.estimate
    error = made.ratio * omitted.adjusted_std_error(c.std_error, c.dof, x, y)
    t_star = quantile((1 + made.level) / 2, c.clusters - 1)
    limit = estimate - np.sign(c.estimate) * t_star * error
    with canvas(height=3.6) as figure:
        axes = figure.add_subplot()
        draw_contours(axes, x, y, estimate, limit, goal, made.level, ("estimate", "clustered"))
        draw_points(axes, points, c.estimate)
        axes.set_xlabel("Partial R² of the confounder with treatment")
        axes.set_ylabel("Partial R² with the outcome")
        axes.set_title(f"Coefficient ({made.unit}) with the confounder", loc="left")
        benchmark_legend(figure, axes)
    return figure
