"""How strong an unobserved confounder has to be to overturn a coefficient, beside covariates that are observed."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from study.core import FloatArray, QuestionError, checked, listed, quantile
from study.designs import Design, find_design
from study.diagnostics import omitted_variable_bias as ovb
from study.diagnostics.finding import Finding
from study.diagnostics.ml_sensitivity import STRENGTH, ml_sensitivity
from study.diagnostics.partialled import (
    TITLE,
    WHO,
    Coefficient,
    Form,
    Multiples,
    Partialled,
    Scenario,
    applicable,
    benchmark_groups,
    check_range,
    confounders,
    partialled,
    percent,
    units_of,
    without,
)
from study.diagnostics.registry import Needs, Section, diagnostic
from study.figures import contour_figure
from study.panel import Sample

if TYPE_CHECKING:
    import pandas as pd


@diagnostic(
    WHO,
    title=TITLE,
    question="How strong would an unobserved confounder have to be to take the estimate away?",
    section=Section.OVERTURNS,
    needs=(Needs.COVARIATES, Needs.LEVELS),
    reference="cinellihazlett2020",
)
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
) -> Finding:
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
    Finding
        The frame has a row a confounder: kind, term, r2_treatment, r2_outcome, estimate; std_error, statistic,
        conf_low, conf_high of classical errors; and the same with the ending _clustered. If the confounder explains
        all that is left of the outcome the standard errors are zero and the statistics infinite. Details:
        ``coefficient``; ``form``; ``headline``, the design's own answer, None where it is the coefficient; and the
        values of :func:`robustness`. For dml_panel those of
        :func:`study.diagnostics.ml_sensitivity.ml_sensitivity`.

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
    headline, own_notes = (None, ()) if design == "twfe" else own_answer(chosen, sample, options)
    scenarios, impossible = confounders(regression, groups, multiples)
    coefficient, unit = regression.coefficient, units_of(sample)
    values = robustness(coefficient, q, level)
    verdict, *further = _on_robustness(coefficient, values, q, level, "" if headline is None else design)
    frame = _frame(coefficient, scenarios, level)
    return Finding(
        name=WHO,
        title=TITLE,
        verdict=verdict,
        evidence=(
            *_on_coefficient(regression, unit, design, headline),
            *further,
            *_on_benchmarks(frame, scenarios, level),
            *impossible,
            *regression.notes,
            *own_notes,
        ),
        frame=frame,
        chart=partial(
            contour_figure,
            x="r2_treatment",
            y="r2_outcome",
            benchmarks=[(s.benchmark, s.multiple) for s in scenarios if s.kind == "bound"],
            surface=partial(_surface, coefficient=coefficient, level=level),
            robustness_value=values["robustness_value"],
            estimate=coefficient.estimate,
            goal=(1 - q) * coefficient.estimate,
            names=("estimate", f"clustered {100 * level:g} % limit"),
            labels=(
                "Partial R² of the confounder with treatment",
                "Partial R² with the outcome",
                f"Coefficient ({unit}) with the confounder",
            ),
        ),
        details={"coefficient": coefficient, "form": regression.form, "headline": headline, **values},
    )


def robustness(c: Coefficient, q: float, level: float) -> dict[str, float]:
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


def _on_coefficient(regression: Partialled, unit: str, design: str, headline: float | None) -> Iterator[str]:
    c = regression.coefficient
    yield (
        f"The coefficient is that of treatment in the regression of {regression.described}: {c.estimate:.3g} ({unit}), "
        f"with a classical standard error of {c.std_error:.2g} on {c.dof} degrees of freedom and one of "
        f"{c.clustered_error:.2g} clustered in {c.clusters} clusters."
    )
    if headline is not None:
        yield (
            f"It stands for {design}, whose own answer is {headline:.3g}; what follows holds for the linear "
            "coefficient."
        )


def _on_robustness(
    c: Coefficient, values: dict[str, float], q: float, level: float, stands_for: str
) -> Iterator[str]:
    where = f"In the linear regression that stands for {stands_for}, a" if stands_for else "A"
    yield (
        f"{where} confounder that explains {percent(values['robustness_value'])} of the remaining variation of "
        f"treatment and of the outcome each (the robustness value) would bring the estimate of {c.estimate:.3g} to "
        f"{'zero' if q == 1 else f'{1 - q:g} times itself'}; one that explains all of the remaining variation of the "
        f"outcome would have to explain {percent(values['extreme_robustness_value'])} of that of treatment."
    )
    goal = "zero" if q == 1 else f"{1 - q:g} times the estimate"
    for errors, name in (("clustered", "clustered"), ("classical", "significance")):
        value = values[f"robustness_value_{name}"]
        when = (
            f"once a confounder explains {percent(value)} of each" if value > 0 else "without any confounder"
        )
        yield f"The {errors} {100 * level:g} % interval includes {goal} {when}."
    yield (
        "Partial R2 rest on the classical t; with the clustered t in its place, as is often reported, the robustness "
        f"value would be {percent(values['robustness_value_plugged'])}."
    )


def _on_benchmarks(frame: pd.DataFrame, scenarios: Sequence[Scenario], level: float) -> Iterator[str]:
    rows = list(zip(scenarios, frame.itertuples(), strict=True))
    for benchmark in (s for s in scenarios if s.kind == "observed"):
        name = benchmark.label
        yield (
            f"{name} explains {percent(benchmark.r2_treatment)} of the remaining variation of treatment and "
            f"{percent(benchmark.r2_outcome)} of that of the outcome."
        )
        bounds = [(s.multiple, row) for s, row in rows if s.kind == "bound" and s.benchmark == name]
        if bounds:
            left = [
                f"{row.estimate:.3g} ({row.conf_low_clustered:.3g} to {row.conf_high_clustered:.3g})"
                for _, row in bounds
            ]
            yield (
                f"In the worst case, confounders {listed([multiple for multiple, _ in bounds])} times as strong as "
                f"{name} would leave {listed(left)}, with clustered {100 * level:g} % intervals in brackets."
            )


def _frame(c: Coefficient, scenarios: Sequence[Scenario], level: float) -> pd.DataFrame:
    import pandas as pd

    rows = []
    for s in scenarios:
        clustered = _adjusted(c, s, level, c.ratio, c.clusters - 1)._asdict()
        row = {"kind": s.kind, "term": s.label, "r2_treatment": s.r2_treatment, "r2_outcome": s.r2_outcome}
        row |= _adjusted(c, s, level, 1.0, c.dof)._asdict()
        rows.append(row | {f"{name}_clustered": v for name, v in clustered.items() if name != "estimate"})
    return pd.DataFrame(rows)


def _adjusted(c: Coefficient, s: Scenario, level: float, ratio: float, degrees: int) -> ovb.Adjusted:
    """Return what a confounder leaves; without one the standard error loses no degree of freedom to it."""
    if s.kind == "none":
        error = ratio * c.std_error
        half = quantile((1 + level) / 2, degrees) * error
        return ovb.Adjusted(c.estimate, error, c.estimate / error, c.estimate - half, c.estimate + half)
    return ovb.adjusted(c.estimate, c.std_error, c.dof, s.r2_treatment, s.r2_outcome, level, ratio, degrees)


def _surface(
    r2_treatment: FloatArray, r2_outcome: FloatArray, coefficient: Coefficient, level: float
) -> tuple[FloatArray, FloatArray]:
    """Return the estimate under confounders, and the limit of its clustered interval that is nearer to zero."""
    c = coefficient
    estimate = ovb.adjusted_estimate(c.estimate, c.std_error, c.dof, r2_treatment, r2_outcome)
    error = c.ratio * ovb.adjusted_std_error(c.std_error, c.dof, r2_treatment, r2_outcome)
    half = quantile((1 + level) / 2, c.clusters - 1) * error
    return estimate, estimate - np.sign(c.estimate) * half


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
    note = f"{design.name} answers without {listed(fixed)}, which its unit effects absorb."
    return float(design(without(sample, fixed), **options).headline.effect[0]), (note,)
