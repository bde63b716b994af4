"""The weights that each coefficient of a two-way event study puts on effects of other event times."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import numpy as np
import pandas as pd

from study.core import FloatArray, Group, QuestionError, one_thread
from study.designs import find_design
from study.diagnostics import Finding, Section, diagnostic, refuse_no_coefficients
from study.figures import Axes, Figure, draw_heatmap, on_axes
from study.panel import Question, Sample

ZERO = 1e-9


@diagnostic(
    title="Weights on other event times",
    question="Do coefficients of one event time carry effects of other event times?",
    section=Section.AGAINST,
    of_sums=True,
    designs=("event_study",),
)
def contamination_weights(sample: Sample, *, bin_at: int | None = None) -> Finding:
    """Return the weights of effects by cohort and event time in each coefficient of :func:`event_study`.

    A coefficient is the sum over all cells of weight times effect, also with gaps and unit weights, for effects
    that do not differ between the units of a cell. Over cohorts, weights add to one at the coefficient's own
    event time, to zero at those of other coefficients, and to minus one at the reference.

    Parameters
    ----------
    sample : Sample
        Without covariates, with an absorbing treatment.
    bin_at : int, optional
        As in event_study.

    Returns
    -------
    Finding
        The frame has a row a coefficient and cell: coefficient_time, ascending and without the reference; cohort and
        event_time of the cell, before and after treatment; own, whether it is one of the coefficient's own event time
        (or of its bin); weight, what the cell's effect is multiplied with. Details: ``coefficients``, a frame of
        coefficient_time, estimate (on the scale of ``sample.y``), from_other_effects, the sum of absolute weights on
        treated cells of other event times, and negative_own, that of the negative weights on cells of its own.

    Raises
    ------
    QuestionError
        If the event is not absorbing, the question has covariates, or event_study cannot answer it.

    References
    ----------
    Sun, L. and Abraham, S. (2021). Estimating dynamic treatment effects in event studies with heterogeneous
    treatment effects. Journal of Econometrics 225(2), Proposition 3 and equation (13).
    """
    if sample.question.covariates:
        raise QuestionError(
            "contamination_weights: there are no weights with covariates; ask the question without covariates."
        )
    refuse_no_coefficients("contamination_weights", sample, "event_study")
    fit = find_design("event_study")(sample, bin_at=bin_at)
    times, anticipation = fit.event_time[~fit.reference], sample.question.anticipation
    cohorts, groups = sample.groups
    event_time = sample.periods - cohorts[:, None]
    coefficient_time = event_time if bin_at is None else np.clip(event_time, -anticipation - bin_at, bin_at)
    indicators = (coefficient_time[:, :, None] == times).astype(float)
    constant, none = np.ones((sample.n_units, 1)), np.empty((*sample.y.shape, 0))
    with one_thread():
        sums = [
            Group.of(sample.y, sample.weights, constant, none, members).least_squares(True)
            for members in groups
        ]
        weight = cell_weights(indicators, np.stack([of_group.curvature for of_group in sums]))
    group, time = np.nonzero(np.stack([of_group.raw > 0 for of_group in sums]) & ~np.isnan(event_time))
    frame = pd.DataFrame(
        {
            "coefficient_time": np.repeat(times, len(group)).astype(np.int64),
            "cohort": np.tile(cohorts[group], len(times)).astype(np.int64),
            "event_time": np.tile(event_time[group, time], len(times)).astype(np.int64),
            "own": (indicators[group, time].T == 1).ravel(),
            "weight": weight[:, group, time].ravel(),
        }
    )
    others = ~frame["own"] & (frame["event_time"] >= -anticipation)
    parts = frame[["coefficient_time"]].assign(
        from_other_effects=frame["weight"].abs().where(others, 0.0),
        negative_own=frame["weight"].clip(upper=0).where(frame["own"], 0.0),
    )
    coefficients = parts.groupby("coefficient_time").sum().reset_index()
    coefficients.insert(1, "estimate", fit.effect_level[~fit.reference])
    sentences, chart = _sentences(sample.question, coefficients), partial(_chart, anticipation=anticipation)
    return Finding.of(sentences, frame, chart, details={"coefficients": coefficients})


def _sentences(question: Question, coefficients: pd.DataFrame) -> Iterator[str]:
    before = coefficients["coefficient_time"] < -question.anticipation
    for which, when in ((before, "before"), (~before, "after")):
        for most in coefficients[which].nlargest(1, "from_other_effects").itertuples():
            if most.from_other_effects <= ZERO:
                yield f"No coefficient {when} treatment carries effects at other event times after treatment."
                continue
            yield (
                f"Of the {which.sum()} coefficients {when} treatment, the one of event time {most.coefficient_time:g} "
                "carries most of the effects at other event times after treatment: its weights on them have the "
                f"absolute sum {most.from_other_effects:.3g}."
            )
    if coefficients["from_other_effects"][before].max() > ZERO:
        yield (
            "Where paths of effects differ between cohorts, coefficients before treatment can therefore differ from "
            "zero although trends are parallel."
        )
    yield (
        f"In {(coefficients['negative_own'] < -ZERO).sum()} of {len(coefficients)} coefficients some cohort's effect "
        "at the coefficient's own event time has a negative weight."
    )
    if question.scale == "proportional":
        yield "The weights are those of the coefficients in levels."


def _chart(frame: pd.DataFrame, ax: Axes | None, anticipation: int) -> Figure:
    """Draw the sum over cohorts of absolute weights on effects of other event times, by coefficient.

    Left out are the coefficients' own event time and the reference, which is no coefficient either.
    """
    others = frame[~frame["own"] & (frame["event_time"] != -1 - anticipation)]
    sums = others["weight"].abs().groupby([others["coefficient_time"], others["event_time"]]).sum().unstack()
    rows, times = (
        range(frame[name].min(), frame[name].max() + 1) for name in ("coefficient_time", "event_time")
    )
    border = -anticipation - 0.5
    with on_axes(ax, height=3.6) as (figure, axis):
        grid = sums.reindex(index=rows, columns=times)
        draw_heatmap(axis, grid, label="Sum over cohorts of |weight|", ticks=8)
        axis.axvline(border, color="black", linewidth=0.8, linestyle=":")
        axis.axhline(border, color="black", linewidth=0.8, linestyle=":")
        axis.set(xlabel="Event time of the effect", ylabel="Event time of the coefficient")
        if ax is None:
            figure.suptitle("Grey: own event time and reference. Dotted: treatment starts.", fontsize=8)
    return figure


def cell_weights(indicators: FloatArray, curvature: FloatArray) -> FloatArray:
    """Return what each cell's effect is multiplied with in coefficients beside unit and period effects.

    With M_g the sum over the units of a group of w_i times what takes out unit means, the residual regressors
    are x* = x - A (A'MA)^- A'Mx, A the period effects, and the weights (x*'Mx*)^-1 x*'M.

    Parameters
    ----------
    indicators : ndarray, shape (G, T, K)
    curvature : ndarray, shape (G, T, T)

    Returns
    -------
    ndarray, shape (K, G, T)
    """
    by_cell = curvature @ indicators
    explained = np.linalg.pinv(curvature.sum(axis=0), hermitian=True) @ by_cell.sum(axis=0)
    residual = by_cell - curvature @ explained
    information = np.einsum("gtk,gtl->kl", indicators, residual)
    weights = np.linalg.solve(information, residual.reshape(-1, len(information)).T)
    return weights.reshape(-1, *curvature.shape[:2])
