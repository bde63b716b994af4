"""The weights that the static two-way coefficient puts on the effects of treated cohorts and periods."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from study.core import FloatArray, QuestionError, Terms, checked, one_thread, period_effects, regress
from study.designs import find_design
from study.estimates import outcome_with_covariates, treated_cells
from study.panel import Question, Sample

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

ZERO = 1e-10


@dataclass(frozen=True, eq=False)
class NegativeWeights:
    """Weights of the effects of treated cells in the static two-way coefficient.

    Attributes
    ----------
    question : Question
    cohort, period : ndarray, shape (C,)
        The treated cells.
    share : ndarray, shape (C,)
        Each cell's share of the treated observations, N_gt / N_1.
    weight : ndarray, shape (C,)
        What the cell's average effect is multiplied with; they sum to one.
    coefficient : float
        The coefficient of treatment, on the scale of ``sample.y``.
    alike : bool
        Whether units of a cell have the same weight, which they have without gaps and covariates.
    """

    question: Question
    cohort: FloatArray
    period: FloatArray
    share: FloatArray
    weight: FloatArray
    coefficient: float
    alike: bool

    @property
    def negative(self) -> NDArray[np.bool_]:
        """Which cells have a negative weight, shape (C,)."""
        return self.weight < 0

    @property
    def negative_sum(self) -> float:
        """Sum of the negative weights."""
        return float(self.weight[self.negative].sum())

    @property
    def positive_sum(self) -> float:
        """Sum of the positive weights."""
        return float(self.weight[~self.negative].sum())

    @property
    def sigma_zero(self) -> float | None:
        """Least spread of effects that is compatible with an average effect of zero; see :func:`sigma_zero`."""
        return sigma_zero(self.coefficient, self.weight, self.share)

    @property
    def sigma_opposite(self) -> float | None:
        """Least spread of effects that is compatible with none of the coefficient's sign; :func:`sigma_opposite`."""
        return sigma_opposite(self.coefficient, self.weight, self.share)

    @property
    def title(self) -> str:
        """What was looked at."""
        return "Weights of cohorts and periods in the two-way fixed effects coefficient"

    @property
    def sentences(self) -> tuple[str, ...]:
        """How many weights are negative, what they sum to, and how much effects have to differ to mislead."""
        n, n_negative = len(self.weight), int(self.negative.sum())
        measured = _measured(self.question)
        told = [
            f"{n_negative} of the {n} weights of effects are negative and sum to {self.negative_sum:.4g}; the positive "
            f"ones sum to {self.positive_sum:.4g}."
            if n_negative
            else "No weight is negative, so effects of one sign give a coefficient of that sign.",
            f"The static two-way fixed effects coefficient of {measured} is {self.coefficient:.4g}, under parallel "
            f"trends a weighted sum of the average effects in {n} treated cells of a cohort and a period.",
            self._zero_told(),
            *self._opposite_told(),
        ]
        if not self.alike:
            told.append(
                "Difference or covariates give the units of a cell different weights; the cells' weights are exact for "
                "effects that do not differ between the units of a cell."
            )
        if self.question.scale == "proportional":
            told.append("All numbers are in levels, which the proportional effect is made from.")
        return tuple(told)

    def _zero_told(self) -> str:
        if self.sigma_zero is None:
            return (
                "All treated cells have the weight of their share, so the coefficient is their average effect however "
                "effects differ, and no spread of effects is compatible with another average."
            )
        return (
            f"The average effect can be zero if the effects' standard deviation across cells is {self.sigma_zero:.4g} "
            "or more."
        )

    def _opposite_told(self) -> list[str]:
        if self.sigma_opposite is None:
            return []
        return [
            f"The effects of all cells can have the opposite sign of the coefficient if their standard deviation is "
            f"{self.sigma_opposite:.4g} or more."
        ]

    def tidy(self) -> pd.DataFrame:
        """Return one row a cell: cohort, period, event_time, share, weight."""
        import pandas as pd

        return pd.DataFrame(
            {
                "cohort": self.cohort.astype(np.int64),
                "period": self.period.astype(np.int64),
                "event_time": (self.period - self.cohort).astype(np.int64),
                "share": self.share,
                "weight": self.weight,
            }
        )

    def plot(self) -> Figure:
        """Draw the weights by cohort and period, with a mark on the negative ones."""
        from matplotlib.ticker import MaxNLocator

        from study.figures import GREY, WIDTH
        from study.figures.canvas import canvas

        cohorts = np.unique(self.cohort)
        periods = np.arange(self.period.min(), self.period.max() + 1)
        grid = np.full((len(cohorts), len(periods)), np.nan)
        row, column = np.searchsorted(cohorts, self.cohort), (self.period - periods[0]).astype(int)
        grid[row, column] = 100 * self.weight
        most = np.nanmax(np.abs(grid))
        with canvas(WIDTH, max(2.6, 1.3 + 0.2 * len(cohorts))) as figure:
            axis = figure.subplots()
            image = axis.imshow(
                grid,
                cmap="PuOr_r",
                vmin=-most,
                vmax=most,
                aspect="auto",
                extent=(periods[0] - 0.5, periods[-1] + 0.5, len(cohorts) - 0.5, -0.5),
            )
            axis.plot(
                self.period[self.negative],
                row[self.negative],
                "x",
                color="black",
                markersize=5,
                label="negative",
            )
            axis.set_yticks(range(len(cohorts)), [f"{g:g}" for g in cohorts])
            axis.xaxis.set_major_locator(MaxNLocator(nbins=6, integer=True))
            axis.set_xlabel("Period")
            axis.set_ylabel("First treated")
            axis.set_facecolor("0.93")
            figure.colorbar(image, ax=axis, label="Weight, percent")
            n_negative = int(self.negative.sum())
            note = (
                f"x: negative weight, {n_negative} of {len(self.weight)} cells, sum {self.negative_sum:.1%}"
            )
            figure.suptitle(note if n_negative else "No negative weight", fontsize=8, color=GREY)
        return figure


@checked
def negative_weights(sample: Sample) -> NegativeWeights:
    """Return the weights of treated cells' effects in the static two-way coefficient.

    With e the residual of treatment on the unit effects, period effects and covariates of :func:`twfe`, and w
    the units' weights, the effect of a unit-period counts w e / sum(w e over treated unit-periods); a cell is
    the treated units of a cohort in a period. TwoWayFEWeights reports the same for unit-periods ("feTR").

    Parameters
    ----------
    sample : Sample
        Difference, weights and covariates by period are taken account of as in twfe.

    Returns
    -------
    NegativeWeights
        In levels where the scale is "proportional".

    Raises
    ------
    QuestionError
        If the event is not absorbing, twfe cannot answer the question, or treatment is explained by the fixed
        effects and the covariates.

    References
    ----------
    de Chaisemartin, C. and D'Haultfoeuille, X. (2020). Two-way fixed effects estimators with heterogeneous
    treatment effects. American Economic Review 110(9), Theorem 1 and Corollary 1.
    """
    who = "negative_weights"
    if sample.first_treated is None:
        raise QuestionError(
            f"{who}: {sample.question.event} is not absorbing, so there are no cohorts whose effects to weight; ask "
            "about an absorbing event."
        )
    twfe = find_design("twfe")
    refusal = twfe.refusal(sample)
    if refusal is not None:
        raise QuestionError(
            f"{who}: there is no two-way coefficient to take apart; change what twfe cannot answer. {refusal}"
        )
    coefficient = float(twfe(sample).linear[0])
    with one_thread():
        product, size, alike = _cell_sums(sample)
    cells = treated_cells(sample) & (size > 0)
    g, t = np.nonzero(cells)
    weight = product[cells] / product[cells].sum()
    weight[np.abs(weight) < ZERO] = 0.0
    return NegativeWeights(
        question=sample.question,
        cohort=sample.groups[0][g],
        period=sample.periods[t].astype(float),
        share=size[cells] / size[cells].sum(),
        weight=weight,
        coefficient=coefficient,
        alike=alike,
    )


def _cell_sums(sample: Sample) -> tuple[FloatArray, FloatArray, bool]:
    """Return sums by group and period of w e and of w, shapes (G, T), and whether e is alike within groups."""
    rows = sample.groups[1]
    treatment = np.where(np.isnan(outcome_with_covariates(sample)), np.nan, sample.treatment)
    shape = len(rows), len(sample.periods)
    terms = Terms(np.empty((*shape, 0)), period_effects(*shape))
    residual = regress(treatment, rows, terms, sample.weights, varying=sample.x_varying).residual
    seen = ~np.isnan(treatment)
    weights = [sample.weights[members] for members in rows]
    product = np.stack([w @ e for w, e in zip(weights, residual, strict=True)])
    size = np.stack([w @ seen[members] for w, members in zip(weights, rows, strict=True)])
    return product, size, not sample.question.covariates and bool(seen.all())


def sigma_zero(coefficient: float, weight: FloatArray, share: FloatArray) -> float | None:
    """Return the least standard deviation of effects across cells with which their average can be zero.

    Corollary 1 (i): |beta| / sqrt(sum_c share_c (w_c - 1)^2), with w_c = weight_c / share_c.

    Parameters
    ----------
    coefficient : float
        In the units that are returned.
    weight, share : ndarray, shape (C,)
        Each with sum one.

    Returns
    -------
    float or None
        None where weights equal shares: then the coefficient is the average.
    """
    spread = float(share @ (weight / share - 1) ** 2)
    return abs(coefficient) / spread**0.5 if spread > ZERO else None


def sigma_opposite(coefficient: float, weight: FloatArray, share: FloatArray) -> float | None:
    """Return the least standard deviation of effects across cells with which none has the coefficient's sign.

    Corollary 1 (ii): |beta| / sqrt(T_s + S_s^2 / (1 - P_s)). With cells in descending order of w = weight / share,
    P_i, S_i and T_i are the sums from the i-th on of share, share w and share w^2, and s is the first i with
    w_i < -S_i / (1 - P_i).

    Parameters and units are those of :func:`sigma_zero`.

    Returns
    -------
    float or None
        None where no weight is negative or the coefficient is zero: then there is nothing to contradict.
    """
    if coefficient == 0 or not np.any(weight < 0):
        return None
    ratio = weight / share
    order = np.argsort(-ratio, kind="stable")
    ratio, share = ratio[order], share[order]
    s, t = (np.cumsum((share * ratio**power)[::-1])[::-1] for power in (1, 2))
    rest = np.append(0.0, np.cumsum(share)[:-1])  # 1 - P
    first = int(np.argmax(ratio[1:] * rest[1:] < -s[1:])) + 1
    return abs(coefficient) / float(t[first] + s[first] ** 2 / rest[first]) ** 0.5


def _measured(question: Question) -> str:
    return f"log(1 + {question.outcome})" if question.scale == "log1p" else question.outcome
