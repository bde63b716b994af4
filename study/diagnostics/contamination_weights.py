"""The weights that each coefficient of a two-way event study puts on effects of other event times."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from study.core import FloatArray, QuestionError, checked, group_data, least_squares, one_thread
from study.designs import find_design
from study.panel import Question, Sample

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure


ZERO = 1e-9


@dataclass(frozen=True, eq=False)
class ContaminationWeights:
    """Weights of effects by cohort and event time, CATT(e, l), in the coefficients of a two-way event study.

    Attributes
    ----------
    question : Question
    coefficient_time : ndarray, shape (K,)
        Event times of the coefficients, ascending; the reference is none of them.
    estimate : ndarray, shape (K,)
        The coefficients, on the scale of ``sample.y``.
    cohort, event_time : ndarray, shape (C,)
        The cells of cohorts that are first treated at some time, before and after treatment.
    weight : ndarray, shape (K, C)
        What each cell's effect is multiplied with in each coefficient.
    own : ndarray of bool, shape (K, C)
        Whether the cell is one of the coefficient's own event time (or of its bin).
    """

    question: Question
    coefficient_time: FloatArray
    estimate: FloatArray
    cohort: FloatArray
    event_time: FloatArray
    weight: FloatArray
    own: NDArray[np.bool_]

    @property
    def post(self) -> NDArray[np.bool_]:
        """Which cells are treated, the anticipation included, shape (C,)."""
        return self.event_time >= -self.question.anticipation

    @property
    def from_other_effects(self) -> FloatArray:
        """Sum of absolute weights on treated cells of other event times, by coefficient, shape (K,)."""
        return np.abs(np.where(self.own, 0.0, self.weight))[:, self.post].sum(axis=1)

    @property
    def negative_own(self) -> FloatArray:
        """Sum of the negative weights on cells of the coefficient's own event time, shape (K,)."""
        return np.where(self.own, self.weight, 0.0).clip(max=0.0).sum(axis=1)

    @property
    def title(self) -> str:
        """What was looked at."""
        return "Effects of other event times in the two-way event study (Sun and Abraham)"

    @property
    def sentences(self) -> tuple[str, ...]:
        """How much the coefficients before and after treatment carry of effects at other event times."""
        before = self.coefficient_time < -self.question.anticipation
        told = [
            self._carried_told(which, when)
            for which, when in ((before, "before"), (~before, "after"))
            if which.any()
        ]
        if self.from_other_effects[before].max(initial=0.0) > ZERO:
            told.append(
                "Where paths of effects differ between cohorts, coefficients before treatment can therefore differ "
                "from zero although trends are parallel."
            )
        negative = int(np.sum(self.negative_own < -ZERO))
        told.append(
            f"In {negative} of {len(before)} coefficients some cohort's effect at the coefficient's own event time has "
            "a negative weight."
        )
        if self.question.scale == "proportional":
            told.append("The weights are those of the coefficients in levels.")
        return tuple(told)

    def _carried_told(self, which: NDArray[np.bool_], when: str) -> str:
        carried = self.from_other_effects[which]
        if carried.max() <= ZERO:
            return f"No coefficient {when} treatment carries effects at other event times after treatment."
        return (
            f"Of the {len(carried)} coefficients {when} treatment, the one of event time "
            f"{self.coefficient_time[which][np.argmax(carried)]:g} carries most of the effects at other event times "
            f"after treatment: its weights on them have the absolute sum {carried.max():.3g}."
        )

    def tidy(self) -> pd.DataFrame:
        """Return one row a coefficient and cell: coefficient_time, cohort, event_time, own, weight."""
        import pandas as pd

        k, c = self.weight.shape
        return pd.DataFrame(
            {
                "coefficient_time": np.repeat(self.coefficient_time, c).astype(np.int64),
                "cohort": np.tile(self.cohort, k).astype(np.int64),
                "event_time": np.tile(self.event_time, k).astype(np.int64),
                "own": self.own.ravel(),
                "weight": self.weight.ravel(),
            }
        )

    def plot(self) -> Figure:
        """Draw the sum over cohorts of absolute weights on effects of other event times, by coefficient."""
        from matplotlib.ticker import MaxNLocator

        from study.figures import WIDTH
        from study.figures.canvas import canvas

        times, rows, grid = self._other_weights()
        border = -self.question.anticipation - 0.5
        with canvas(WIDTH, 3.6) as figure:
            axis = figure.subplots()
            image = axis.imshow(
                grid,
                cmap="Blues",
                vmin=0,
                aspect="auto",
                extent=(times[0] - 0.5, times[-1] + 0.5, rows[-1] + 0.5, rows[0] - 0.5),
            )
            axis.axvline(border, color="black", linewidth=0.8, linestyle=":")
            axis.axhline(border, color="black", linewidth=0.8, linestyle=":")
            axis.set_facecolor("0.8")
            axis.xaxis.set_major_locator(MaxNLocator(nbins=8, integer=True))
            axis.yaxis.set_major_locator(MaxNLocator(nbins=8, integer=True))
            axis.set_xlabel("Event time of the effect")
            axis.set_ylabel("Event time of the coefficient")
            figure.colorbar(image, ax=axis, label="Sum over cohorts of |weight|")
            figure.suptitle("Grey: own event time and reference. Dotted: treatment starts.", fontsize=8)
        return figure

    def _other_weights(self) -> tuple[FloatArray, FloatArray, FloatArray]:
        """Return event times of effects and of coefficients, without gaps, and the sums of absolute weights.

        NaN at the coefficients' own event time and at the reference, which is no coefficient either.
        """
        reference = -1 - self.question.anticipation
        times = np.arange(self.event_time.min(), self.event_time.max() + 1)
        rows = np.arange(self.coefficient_time[0], self.coefficient_time[-1] + 1)
        at = (self.event_time[:, None] == times).astype(float)
        others = ~self.own & (self.event_time != reference)
        sums = np.where(others @ at > 0, (np.abs(self.weight) * others) @ at, np.nan)
        grid = np.full((len(rows), len(times)), np.nan)
        grid[np.searchsorted(rows, self.coefficient_time)] = sums
        return times, rows, grid


@checked
def contamination_weights(sample: Sample, *, bin_at: int | None = None) -> ContaminationWeights:
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
    if sample.first_treated is None:
        raise QuestionError(
            f"{who}: {sample.question.event} is not absorbing, so there is no event time; ask about an absorbing "
            "event."
        )
    if sample.question.covariates:
        raise QuestionError(
            f"{who}: it has no weights for a regression with covariates; ask the question without covariates."
        )
    design = find_design("event_study")
    refusal = design.refusal(sample)
    if refusal is not None:
        raise QuestionError(f"{who}: there are no coefficients to take apart. {refusal}")
    fit = design(sample, bin_at=bin_at)
    used = ~fit.reference
    binned = _binned(sample, bin_at)
    with one_thread():
        curvature, seen = _curvature(sample)
        indicators = (binned[:, :, None] == fit.event_time[used]).astype(float)
        weight = cell_weights(indicators, curvature)
    cells = seen & ~np.isnan(binned)
    g, t = np.nonzero(cells)
    dates = sample.groups[0]
    return ContaminationWeights(
        question=sample.question,
        coefficient_time=fit.event_time[used],
        estimate=fit.linear[used],
        cohort=dates[g],
        event_time=sample.periods[t] - dates[g],
        weight=weight[:, cells],
        own=indicators[cells].T == 1,
    )


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
    found = [
        least_squares(group_data(sample.y, sample.weights, constant, none, members), True)
        for members in sample.groups[1]
    ]
    return np.stack([sums.curvature for sums in found]), np.stack([sums.raw > 0 for sums in found])
