"""Goodman-Bacon's decomposition: which comparisons of two groups the static two-way coefficient adds up."""

from __future__ import annotations

from collections.abc import Iterator
from enum import StrEnum
from functools import partial
from typing import Any

import numpy as np
import pandas as pd

from study.core import FloatArray, IntArray, QuestionError
from study.diagnostics import Finding, Section, diagnostic, refuse_no_coefficients
from study.figures import COLOUR, GREY, HEIGHT, SECOND, THIRD, Axes, Figure, beside, on_axes
from study.panel import Question, Sample


class Kind(StrEnum):
    """Who stands for the untreated potential outcome of the treated group in a comparison."""

    NEVER = "never treated"
    AFTER_WINDOW = "treated after the window"
    LATER = "treated later"
    ALREADY = "already treated"


@diagnostic(
    title="Comparisons in the coefficient",
    question="Which comparisons of two groups does the coefficient add up, and which are with treated units?",
    section=Section.AGAINST,
    of_sums=True,
    designs=("twfe",),
    shown=2,
)
def goodman_bacon(sample: Sample) -> Finding:
    """Take the static two-way coefficient apart into comparisons of two groups and two periods.

    Works on means by cohort and period. Units weight the means and the cohorts' shares where the question has
    weights. Units first treated after the window are untreated in it, as the never-treated are, and are shown
    apart from them. Units already treated in the first period are not in a Sample, as in :func:`twfe`.

    Parameters
    ----------
    sample : Sample
        Balanced, without covariates, with an absorbing treatment.

    Returns
    -------
    Finding
        The frame has a row a comparison, the largest weight first: treated and compared, the first treated periods of
        the group whose treatment switches on and of the group that it is compared with (in words where it is never
        treated or after the window); kind, a :class:`Kind`; forbidden, where that group is treated already; estimate,
        the difference in differences of the groups' means on the scale of ``sample.y``, in levels where the scale is
        "proportional"; weight, positive with sum one. Details: ``coefficient``, their weighted sum, that of
        :func:`study.designs.twfe`; ``allowed_average``, that without the forbidden ones; ``by_kind``, a frame of
        kind, forbidden, comparisons, weight and the weighted average estimate.

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
    if sample.question.covariates:
        raise QuestionError(
            "goodman_bacon: with covariates the comparisons do not add up to the coefficient; ask the question without "
            "covariates, or use negative_weights, which takes account of them."
        )
    refuse_no_coefficients("goodman_bacon", sample, "twfe")
    gaps = ~sample.observed
    if gaps.any():
        raise QuestionError(
            f"goodman_bacon: {sample.question.outcome} is not observed in {gaps.sum()} unit-periods of "
            f"{gaps.any(axis=1).sum()} units, and the decomposition is of a balanced panel; ask the question with "
            'missing="balanced", which leaves these units out, or use negative_weights.'
        )
    anticipation, last = sample.question.anticipation, sample.periods[-1]
    first_treated = np.asarray(sample.first_treated, dtype=float)
    # Groups by first treated period: ascending, then those treated after the window as one, then the never-treated.
    dates, group = np.unique(
        np.where(first_treated - anticipation > last, np.inf, first_treated), return_inverse=True
    )
    weight = np.bincount(group, sample.weights)
    mean = pd.DataFrame(sample.weights[:, None] * sample.y).groupby(group).sum().to_numpy() / weight[:, None]
    start = np.sum(~(sample.periods >= dates[:, None] - anticipation), axis=1)
    pairs = comparisons(mean, weight / weight.sum(), start)
    compared = dates[pairs["compared"]]
    is_later = start[pairs["compared"]] > start[pairs["treated"]]
    conditions, kinds = [np.isnan(compared), np.isinf(compared), is_later], [each.value for each in Kind]
    kind = np.select(conditions, kinds[:-1], kinds[-1])
    columns = {
        "treated": dates[pairs["treated"]].astype(np.int64),
        "compared": [f"{d:.0f}" if np.isfinite(d) else str(k) for d, k in zip(compared, kind, strict=True)],
        "kind": kind,
        "forbidden": kind == Kind.ALREADY.value,
    }
    frame = pd.DataFrame(columns | {name: pairs[name] for name in ("estimate", "weight")})
    frame = frame.sort_values("weight", ascending=False, kind="stable", ignore_index=True)
    of_kind = frame.assign(product=frame["weight"] * frame["estimate"]).groupby("kind", sort=False)
    by_kind = of_kind["forbidden"].agg(forbidden="first", comparisons="size")
    by_kind["weight"] = of_kind["weight"].sum()
    by_kind["estimate"] = of_kind["product"].sum() / by_kind["weight"]
    by_kind = by_kind.reindex([each for each in kinds if each in kind]).reset_index()
    allowed = frame[~frame["forbidden"]]
    details = {
        "coefficient": float(frame["weight"] @ frame["estimate"]),
        "allowed_average": float(np.average(allowed["estimate"], weights=allowed["weight"])),
        "by_kind": by_kind,
    }
    return Finding.of(
        _sentences(sample.question, len(frame), **details),
        frame,
        partial(_chart, outcome=sample.question.outcome_in_words),
        details=details,
    )


def _sentences(
    question: Question, n_comparisons: int, coefficient: float, allowed_average: float, by_kind: pd.DataFrame
) -> Iterator[str]:
    yield (
        f"The static two-way fixed effects coefficient of {question.outcome_in_words} is {coefficient:.4g}, the "
        f"weighted sum of {n_comparisons} differences in differences of two groups."
    )
    if not by_kind["forbidden"].any():
        yield "No comparison is with units that are already treated."
    for row in by_kind.sort_values("forbidden", ascending=False, kind="stable").itertuples():
        carry = f"carry {row.weight:.1%} of the weight and average {row.estimate:.4g}"
        if row.forbidden:
            yield (
                f"Comparisons with units {row.kind}, the forbidden ones, {carry}; under parallel trends they are "
                "biased by every change in the effect on those units."
            )
            yield f"Without the forbidden comparisons the average is {allowed_average:.4g}."
        else:
            yield f"Comparisons with units {row.kind} {carry}."
    if question.scale == "proportional":
        yield "The decomposition is of the coefficient in levels, which the proportional effect is made from."


def _chart(frame: pd.DataFrame, ax: Axes | None, outcome: str) -> Figure:
    """Draw each comparison's estimate against its weight, and the coefficient as a line."""
    marks = {
        Kind.NEVER: ("o", COLOUR, COLOUR),
        Kind.AFTER_WINDOW: ("s", "white", COLOUR),
        Kind.LATER: ("^", THIRD, THIRD),
        Kind.ALREADY: ("X", SECOND, SECOND),
    }
    coefficient = frame["weight"] @ frame["estimate"]
    with on_axes(ax, height=HEIGHT + 0.5) as (figure, axis):
        axis.axhline(0, color=GREY, linewidth=0.8)
        line = axis.axhline(coefficient, color=GREY, linewidth=1.2, linestyle="--")
        line.set_label(f"two-way coefficient, {coefficient:.3g}")
        for kind, (marker, face, edge) in marks.items():
            rows = frame[frame["kind"] == kind.value]
            if len(rows):
                look: Any = {"mfc": face, "mec": edge, "ms": 5.5 if len(frame) <= 60 else 3.5, "mew": 0.8}
                label = f"{kind}{', forbidden' * (kind is Kind.ALREADY)}: {rows['weight'].sum():.0%}"
                axis.plot(100 * rows["weight"], rows["estimate"], marker, alpha=0.85, label=label, **look)
        axis.set_xlim(left=0)
        axis.set(
            xlabel="Weight in the coefficient, percent",
            ylabel=beside(f"Difference in differences ({outcome})"),
        )
        if ax is None:
            look = {"ncols": 2, "frameon": False, "fontsize": 8, "title_fontsize": 8, "columnspacing": 1.2}
            title = "Compared with units, and their share of the weight"
            figure.legend(title=title, loc="outside upper center", handletextpad=0.4, **look)
    return figure


def comparisons(mean: FloatArray, share: FloatArray, start: IntArray) -> pd.DataFrame:
    """Return the comparisons of Theorem 1 that have a weight: numbers of the groups, estimate, weight with sum one.

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
    early, late = np.nonzero(start[:, None] < start)
    n_periods, difference = mean.shape[1], mean[early] - mean[late]
    period = np.arange(n_periods)
    before, after = period < start[early, None], period >= start[late, None]
    before_mean, between_mean, after_mean = (
        (difference * cells).sum(axis=1) / np.maximum(cells.sum(axis=1), 1)
        for cells in (before, ~before & ~after, after)
    )
    treated = 1 - start / n_periods
    both = share[early] * share[late] * (treated[early] - treated[late])
    table = pd.DataFrame(
        {
            "treated": np.concatenate([early, late]),
            "compared": np.concatenate([late, early]),
            "estimate": np.concatenate([between_mean - before_mean, between_mean - after_mean]),
            "weight": np.concatenate([both * (1 - treated[early]), both * treated[late]]),
        }
    )
    table["weight"] /= table["weight"].sum()
    return table[table["weight"] > 0]
