"""Goodman-Bacon's decomposition: which comparisons of two groups the static two-way coefficient adds up."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from study.core import FloatArray, QuestionError, checked
from study.designs import find_design
from study.panel import Question, Sample

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure


class Kind(StrEnum):
    """Who stands for the untreated course of the treated group in a comparison."""

    NEVER = "never treated"
    AFTER_WINDOW = "treated after the window"
    LATER = "treated later"
    ALREADY = "already treated"


class Comparisons(NamedTuple):
    """P comparisons: numbers of the groups, whose treatment switches on first, and what they say; shapes (P,)."""

    treated: NDArray[np.int64]
    compared: NDArray[np.int64]
    estimate: FloatArray
    weight: FloatArray


@dataclass(frozen=True, eq=False)
class GoodmanBacon:
    """Comparisons of two groups in two periods, whose weighted sum is the static two-way coefficient.

    Attributes
    ----------
    question : Question
    treated : ndarray, shape (P,)
        First treated period of the group whose treatment switches on.
    compared : ndarray, shape (P,)
        First treated period of the group that it is compared with, NaN = never, infinity = after the window.
    kind : ndarray of str, shape (P,)
        A :class:`Kind` each.
    estimate : ndarray, shape (P,)
        Difference in differences of the two groups' means, on the scale of ``sample.y``.
    weight : ndarray, shape (P,)
        Positive, with sum one.
    """

    question: Question
    treated: FloatArray
    compared: FloatArray
    kind: NDArray[np.str_]
    estimate: FloatArray
    weight: FloatArray

    @property
    def forbidden(self) -> NDArray[np.bool_]:
        """Which comparisons are with units that are already treated, shape (P,)."""
        return self.kind == Kind.ALREADY

    @property
    def coefficient(self) -> float:
        """The weighted sum of all comparisons: the coefficient of treatment in :func:`study.designs.twfe`."""
        return float(self.weight @ self.estimate)

    @property
    def forbidden_weight(self) -> float:
        """Weight of the comparisons with already treated units."""
        return float(self.weight[self.forbidden].sum())

    @property
    def allowed_average(self) -> float:
        """Weighted average of the comparisons with units that are not yet or never treated."""
        return self._average(~self.forbidden)

    def _average(self, which: NDArray[np.bool_]) -> float:
        return float(np.average(self.estimate[which], weights=self.weight[which]))

    @property
    def title(self) -> str:
        """What was looked at."""
        return "Comparisons behind the two-way fixed effects coefficient (Goodman-Bacon)"

    @property
    def sentences(self) -> tuple[str, ...]:
        """The coefficient, each kind's weight and average, and the average without forbidden comparisons."""
        told = [
            f"The static two-way fixed effects coefficient of {_measured(self.question)} is "
            f"{self.coefficient:.4g}, the weighted sum of {len(self.weight)} differences in differences of two "
            "groups."
        ]
        if self.forbidden.any():
            told.append(
                f"Comparisons with units {Kind.ALREADY}, the forbidden ones, carry {self.forbidden_weight:.1%} of "
                f"the weight and average {self._average(self.forbidden):.4g}; under parallel trends they are "
                "biased by every change in the effect on those units."
            )
            told.append(f"Without the forbidden comparisons the average is {self.allowed_average:.4g}.")
        else:
            told.append("No comparison is with units that are already treated.")
        for kind in Kind:
            which = self.kind == kind
            if which.any() and kind is not Kind.ALREADY:
                told.append(
                    f"Comparisons with units {kind} carry {self.weight[which].sum():.1%} of the weight and average "
                    f"{self._average(which):.4g}."
                )
        if self.question.scale == "proportional":
            told.append(
                "The decomposition is of the coefficient in levels, which the proportional effect is made from."
            )
        return tuple(told)

    def tidy(self) -> pd.DataFrame:
        """Return one row a comparison: treated, compared, kind, forbidden, estimate, weight; largest weight first."""
        import pandas as pd

        table = pd.DataFrame(
            {
                "treated": self.treated.astype(np.int64),
                "compared": [_said(date) for date in self.compared],
                "kind": self.kind,
                "forbidden": self.forbidden,
                "estimate": self.estimate,
                "weight": self.weight,
            }
        )
        return table.sort_values("weight", ascending=False, kind="stable", ignore_index=True)

    def by_kind(self) -> pd.DataFrame:
        """Return one row a kind: kind, forbidden, comparisons, weight, and their weighted average estimate."""
        import pandas as pd

        kinds = [kind for kind in Kind if (self.kind == kind).any()]
        return pd.DataFrame(
            {
                "kind": [str(kind) for kind in kinds],
                "forbidden": [kind is Kind.ALREADY for kind in kinds],
                "comparisons": [int(np.sum(self.kind == kind)) for kind in kinds],
                "weight": [float(self.weight[self.kind == kind].sum()) for kind in kinds],
                "estimate": [self._average(self.kind == kind) for kind in kinds],
            }
        )

    def plot(self) -> Figure:
        """Draw each comparison's estimate against its weight, and the coefficient as a line."""
        from study.figures import COLOUR, GREY, HEIGHT, SECOND, THIRD, WIDTH
        from study.figures.canvas import canvas

        marks = {
            Kind.NEVER: ("o", COLOUR, COLOUR),
            Kind.AFTER_WINDOW: ("s", "white", COLOUR),
            Kind.LATER: ("^", THIRD, THIRD),
            Kind.ALREADY: ("X", SECOND, SECOND),
        }
        with canvas(WIDTH, HEIGHT + 0.5) as figure:
            axis = figure.subplots()
            axis.axhline(0, color=GREY, linewidth=0.8)
            line = axis.axhline(self.coefficient, color=GREY, linewidth=1.2, linestyle="--")
            line.set_label(f"two-way coefficient, {self.coefficient:.3g}")
            for kind, (marker, face, edge) in marks.items():
                which = self.kind == kind
                if which.any():
                    axis.plot(
                        100 * self.weight[which],
                        self.estimate[which],
                        marker,
                        markerfacecolor=face,
                        markeredgecolor=edge,
                        markersize=5.5 if len(self.weight) <= 60 else 3.5,
                        markeredgewidth=0.8,
                        alpha=0.85,
                        label=f"{kind}{', forbidden' if kind is Kind.ALREADY else ''}: "
                        f"{self.weight[which].sum():.0%}",
                    )
            axis.set_xlim(left=0)
            axis.set_xlabel("Weight in the coefficient, percent")
            axis.set_ylabel(f"Difference in differences ({_measured(self.question)})")
            figure.legend(
                title="Compared with units, and their share of the weight",
                loc="outside upper center",
                ncols=2,
                frameon=False,
                fontsize=8,
                title_fontsize=8,
                columnspacing=1.2,
                handletextpad=0.4,
            )
        return figure


@checked
def goodman_bacon(sample: Sample) -> GoodmanBacon:
    """Take the static two-way coefficient apart into comparisons of two groups and two periods.

    Works on means by cohort and period. Units weight the means and the cohorts' shares where the question has
    weights. Units first treated after the window are untreated in it, as the never-treated are, and are shown
    apart from them. Units already treated in the first period are not in a Sample, as in :func:`twfe`; where
    the anticipation or the pooling of cohorts moves a cohort's treatment there, it is compared with as
    already treated.

    Parameters
    ----------
    sample : Sample
        Balanced, without covariates, with an absorbing treatment.

    Returns
    -------
    GoodmanBacon
        In levels where the scale is "proportional".

    Raises
    ------
    QuestionError
        If the event is not absorbing, the question has covariates, the outcome has gaps, or twfe cannot answer
        the question.

    References
    ----------
    Goodman-Bacon, A. (2021). Difference-in-differences with variation in treatment timing. Journal of
    Econometrics 225(2), Theorem 1 with equations (7)-(10).
    """
    _refuse(sample)
    dates, mean, share = cohort_course(sample)
    n_periods = len(sample.periods)
    start = np.clip(dates - sample.question.anticipation - sample.periods[0], 0, n_periods)
    start = np.where(np.isnan(dates), n_periods, start).astype(np.int64)
    dates = np.where(start == n_periods, np.where(np.isnan(dates), np.nan, np.inf), dates)
    found = comparisons(mean, share, start)
    kind = np.full(len(found.weight), Kind.LATER.value, dtype=object)
    kind[start[found.compared] < start[found.treated]] = Kind.ALREADY.value
    kind[np.isinf(dates[found.compared])] = Kind.AFTER_WINDOW.value
    kind[np.isnan(dates[found.compared])] = Kind.NEVER.value
    return GoodmanBacon(
        sample.question,
        dates[found.treated],
        dates[found.compared],
        kind.astype(np.str_),
        found.estimate,
        found.weight,
    )


def cohort_course(sample: Sample) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Return first treated periods, means by period and shares of groups, shapes (G,), (G, T), (G,).

    Groups are in the order of ``Sample.groups``; those first treated after the window are one, dated by the
    first of them.
    """
    dates, rows = sample.groups
    total = np.stack([sample.weights[members] @ sample.y[members] for members in rows])
    weight = np.array([sample.weights[members].sum() for members in rows])
    after = np.flatnonzero(dates - sample.question.anticipation > sample.periods[-1])
    if len(after) > 1:
        first, others = after[0], after[1:]
        total[first], weight[first] = total[after].sum(axis=0), weight[after].sum()
        dates, total, weight = (np.delete(block, others, axis=0) for block in (dates, total, weight))
    return dates, total / weight[:, None], weight / weight.sum()


def comparisons(mean: FloatArray, share: FloatArray, start: NDArray[np.int64]) -> Comparisons:
    """Return the comparisons of Theorem 1 that have a weight.

    Of two groups, k early and l late, that are treated in shares D_k > D_l of the periods, group k switches on
    while l is untreated, with weight n_k n_l (1 - D_k)(D_k - D_l), and group l while k is treated, with weight
    n_k n_l D_l (D_k - D_l); equations (10e)-(10g) times the variance of treatment, which their sum is. An
    untreated group is the one with D_l = 0.

    Parameters
    ----------
    mean : ndarray, shape (G, T)
        Mean outcome by group and period.
    share : ndarray, shape (G,)
        Of units, with sum one.
    start : ndarray of int, shape (G,)
        Ascending number of the first treated period, T where there is none.
    """
    n_groups, n_periods = mean.shape
    early, late = np.triu_indices(n_groups, 1)
    apart = start[early] < start[late]
    early, late = early[apart], late[apart]
    period = np.arange(n_periods)
    before = period < start[early, None]
    after = period >= start[late, None]
    between = ~before & ~after
    gap = mean - mean.mean(axis=0)
    gap = gap[early] - gap[late]
    before_gap, between_gap, after_gap = (_mean_where(gap, cells) for cells in (before, between, after))
    treated = 1 - start / n_periods
    both = share[early] * share[late] * (treated[early] - treated[late])
    weight = np.concatenate([both * (1 - treated[early]), both * treated[late]])
    used = weight > 0
    return Comparisons(
        np.concatenate([early, late])[used],
        np.concatenate([late, early])[used],
        np.concatenate([between_gap - before_gap, between_gap - after_gap])[used],
        weight[used] / weight.sum(),
    )


def _mean_where(values: FloatArray, cells: NDArray[np.bool_]) -> FloatArray:
    """Return each row's mean over its cells, zero where it has none; shapes (P, T)."""
    return (values * cells).sum(axis=1) / np.maximum(cells.sum(axis=1), 1)


def _refuse(sample: Sample) -> None:
    """Refuse a sample to which the theorem does not apply."""
    who, question = "goodman_bacon", sample.question
    if sample.first_treated is None:
        raise QuestionError(
            f"{who}: {question.event} is not absorbing, and the decomposition is of a treatment that stays; ask about "
            "an event that is absorbing."
        )
    if question.covariates:
        raise QuestionError(
            f"{who}: with covariates the comparisons do not add up to the coefficient; ask the question without "
            "covariates, or use negative_weights, which takes account of them."
        )
    refusal = find_design("twfe").refusal(sample)
    if refusal is not None:
        raise QuestionError(
            f"{who}: there is no two-way coefficient to take apart; change what twfe cannot answer. {refusal}"
        )
    gaps = ~sample.observed
    if gaps.any():
        raise QuestionError(
            f"{who}: {question.outcome} is not observed in {gaps.sum()} unit-periods of {gaps.any(axis=1).sum()} "
            'units, and the decomposition is of a balanced panel; ask the question with missing="balanced", which '
            "leaves these units out, or use negative_weights."
        )


def _measured(question: Question) -> str:
    return f"log(1 + {question.outcome})" if question.scale == "log1p" else question.outcome


def _said(date: float) -> str:
    """Return a group's name in tables."""
    if np.isnan(date):
        return str(Kind.NEVER)
    return str(Kind.AFTER_WINDOW) if np.isinf(date) else f"{date:g}"
