"""The weights that each coefficient of a two-way event study puts on effects of other event times."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from study.core import FloatArray, QuestionError, checked, group_data, least_squares, one_thread
from study.designs import find_design
from study.diagnostics.finding import Finding
from study.diagnostics.refits import refuse_no_coefficients
from study.diagnostics.registry import Section, diagnostic
from study.figures import WIDTH, draw_heatmap, on_axes
from study.panel import Question, Sample

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


TITLE = "Weights on other event times"
ZERO = 1e-9


@diagnostic(
    "contamination_weights",
    title=TITLE,
    question="Do coefficients of one event time carry effects of other event times?",
    section=Section.AGAINST,
    designs=("event_study",),
)
@checked
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
    who = "contamination_weights"
    if sample.question.covariates:
        raise QuestionError(
            f"{who}: it has no weights for a regression with covariates; ask the question without covariates."
        )
    refuse_no_coefficients(who, sample, "event_study")
    fit = find_design("event_study")(sample, bin_at=bin_at)
    times = fit.event_time[~fit.reference]
    binned = _binned(sample, bin_at)
    with one_thread():
        curvature, seen = _curvature(sample)
        indicators = (binned[:, :, None] == times).astype(float)
        weight = cell_weights(indicators, curvature)
    cells = seen & ~np.isnan(binned)
    frame = _frame(sample, cells, times, indicators[cells].T == 1, weight[:, cells])
    coefficients = _coefficients(frame, fit.effect_level[~fit.reference], sample.question.anticipation)
    verdict, *evidence = _sentences(sample.question, coefficients)
    return Finding(
        name=who,
        title=TITLE,
        verdict=verdict,
        evidence=tuple(evidence),
        frame=frame,
        chart=partial(_chart, anticipation=sample.question.anticipation),
        details={"coefficients": coefficients},
    )


def _frame(
    sample: Sample, cells: NDArray[np.bool_], times: FloatArray, own: NDArray[np.bool_], weight: FloatArray
) -> pd.DataFrame:
    import pandas as pd

    group, time = np.nonzero(cells)
    cohort, (n_coefficients, n_cells) = sample.groups[0][group], weight.shape
    return pd.DataFrame(
        {
            "coefficient_time": np.repeat(times, n_cells).astype(np.int64),
            "cohort": np.tile(cohort, n_coefficients).astype(np.int64),
            "event_time": np.tile(sample.periods[time] - cohort, n_coefficients).astype(np.int64),
            "own": own.ravel(),
            "weight": weight.ravel(),
        }
    )


def _coefficients(frame: pd.DataFrame, estimate: FloatArray, anticipation: int) -> pd.DataFrame:
    other = ~frame["own"] & (frame["event_time"] >= -anticipation)
    negative = frame["own"] & (frame["weight"] < 0)
    sums = frame.assign(
        from_other_effects=frame["weight"].abs().where(other, 0.0),
        negative_own=frame["weight"].where(negative, 0.0),
    ).groupby("coefficient_time")
    table = sums[["from_other_effects", "negative_own"]].sum().reset_index()
    table.insert(1, "estimate", estimate)
    return table


def _sentences(question: Question, coefficients: pd.DataFrame) -> Iterator[str]:
    before = coefficients["coefficient_time"] < -question.anticipation
    for which, when in ((before, "before"), (~before, "after")):
        if which.any():
            yield _carried(coefficients[which], when)
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


def _carried(coefficients: pd.DataFrame, when: str) -> str:
    most = coefficients.loc[coefficients["from_other_effects"].idxmax()]
    if most["from_other_effects"] <= ZERO:
        return f"No coefficient {when} treatment carries effects at other event times after treatment."
    return (
        f"Of the {len(coefficients)} coefficients {when} treatment, the one of event time "
        f"{most['coefficient_time']:g} carries most of the effects at other event times after treatment: its weights "
        f"on them have the absolute sum {most['from_other_effects']:.3g}."
    )


def _chart(frame: pd.DataFrame, ax: Axes | None, anticipation: int) -> Figure:
    """Draw the sum over cohorts of absolute weights on effects of other event times, by coefficient."""
    grid = _other_weights(frame, -1 - anticipation)
    times, rows = grid.columns, grid.index
    border = -anticipation - 0.5
    with on_axes(ax, WIDTH, 3.6) as (figure, axis):
        ends = (times[0], times[-1], rows[0], rows[-1])
        label = "Sum over cohorts of |weight|"
        draw_heatmap(figure, axis, grid.to_numpy(), ends, label=label, ticks=8, background="0.8")
        axis.axvline(border, color="black", linewidth=0.8, linestyle=":")
        axis.axhline(border, color="black", linewidth=0.8, linestyle=":")
        axis.set_xlabel("Event time of the effect")
        axis.set_ylabel("Event time of the coefficient")
        if ax is None:
            figure.suptitle("Grey: own event time and reference. Dotted: treatment starts.", fontsize=8)
    return figure


def _other_weights(frame: pd.DataFrame, reference: int) -> pd.DataFrame:
    """Return sums of absolute weights by event times of coefficients and of effects, without gaps.

    NaN at the coefficients' own event time and at the reference, which is no coefficient either.
    """
    others = frame[~frame["own"] & (frame["event_time"] != reference)]
    sums = others["weight"].abs().groupby([others["coefficient_time"], others["event_time"]]).sum().unstack()
    rows, times = (
        range(frame[name].min(), frame[name].max() + 1) for name in ("coefficient_time", "event_time")
    )
    return sums.reindex(index=rows, columns=times)


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
    return np.linalg.solve(information, residual.reshape(-1, len(information)).T).reshape(
        -1, *curvature.shape[:2]
    )


def _binned(sample: Sample, bin_at: int | None) -> FloatArray:
    """Return the event time whose coefficient a group has in each period, as event_study bins them, shape (G, T)."""
    event_time = sample.periods - sample.groups[0][:, None]
    return (
        event_time if bin_at is None else np.clip(event_time, -sample.question.anticipation - bin_at, bin_at)
    )


def _curvature(sample: Sample) -> tuple[FloatArray, NDArray[np.bool_]]:
    """Return each group's M, shape (G, T, T), and in which periods it is seen, (G, T)."""
    constant, none = np.ones((sample.n_units, 1)), np.empty((*sample.y.shape, 0))
    by_group = [
        least_squares(group_data(sample.y, sample.weights, constant, none, members), True)
        for members in sample.groups[1]
    ]
    return np.stack([sums.curvature for sums in by_group]), np.stack([sums.raw > 0 for sums in by_group])
