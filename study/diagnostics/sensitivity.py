"""How strong an unobserved confounder has to be to overturn a coefficient, beside covariates that are observed."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import compress
from typing import Any

import numpy as np
import pandas as pd

from study.core import FloatArray, QuestionError, listed
from study.designs import Design, find_design
from study.diagnostics import Finding, Needs, Section, diagnostic
from study.diagnostics import omitted_variable_bias as ovb
from study.diagnostics.ml_sensitivity import STRENGTH, ml_sensitivity
from study.diagnostics.partialled import Coefficient, Form, partialled
from study.figures import contour_figure
from study.panel import Sample


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
    form: Form | None = None,
    benchmarks: Sequence[str | tuple[str, ...]] | None = None,
    multiples: ovb.Multiples = (1, 2, 3),
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
        The frame has a row a confounder: kind ("none"; "observed", with the partial R2 of a benchmark; "extreme", with
        its R2 with treatment and all that is left of the outcome; "bound", as strong as a multiple of it), term,
        r2_treatment, r2_outcome, estimate; std_error, statistic,
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
    if not 0 < q <= 1:
        raise QuestionError(f"sensitivity: q is {q}; it must be above 0 and at most 1.")
    for multiple in multiples:
        if not all(0 < k < np.inf for k in ovb.pair(multiple)):
            raise QuestionError(f"sensitivity: a multiple is {multiple}; multiples must be above 0.")
    groups = ovb.benchmark_groups(sample, benchmarks)
    if design == "dml_panel":
        if form is not None:
            raise QuestionError(f"sensitivity: dml_panel has no form; leave form={form!r} out.")
        return ml_sensitivity(
            sample, benchmarks=groups, multiples=multiples, q=q, level=level, progress=progress, **options
        )
    family = options.get("family", "gaussian")
    regression = partialled(sample, design, form, "sensitivity", family, ("dml_panel",))
    headline, own_notes = (None, []) if design == "twfe" else own_answer(chosen, sample, options)
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
    plugged, interval = ovb.percent(values["robustness_value_plugged"]), f"{100 * level:g} % interval"
    goal = "zero" if q == 1 else f"{1 - q:g} times the estimate"
    return Finding.of(
        [
            f"{'A' if headline is None else f'In a linear regression in place of {design}, a'} confounder that "
            f"explains {ovb.percent(values['robustness_value'])} of the remaining variation of treatment and of the "
            f"outcome each would bring the estimate of {c.estimate:.3g} to {goal.replace('the estimate', 'itself')}.",
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
                f"{listed(left)}, with clustered {100 * level:g} % intervals in brackets."
            )


def _surfaces(
    r2_treatment: FloatArray, r2_outcome: FloatArray, c: Coefficient, level: float
) -> dict[str, FloatArray]:
    """Return the estimate under confounders, and the limit of its clustered interval that is nearer to zero."""
    adjusted = ovb.adjusted(
        c.estimate, c.std_error, c.dof, r2_treatment, r2_outcome, level, c.ratio, c.clusters - 1
    )
    limit = adjusted.conf_low if c.estimate > 0 else adjusted.conf_high
    return {"estimate": adjusted.estimate, f"clustered {100 * level:g} % limit": limit}


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
