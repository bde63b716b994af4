"""The weights that the static two-way coefficient puts on the effects of treated cohorts and periods."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any

import numpy as np
import pandas as pd

from study.core import FloatArray, Terms, capital, one_thread, period_effects, regress
from study.designs import find_design
from study.diagnostics import Finding, Section, diagnostic, refuse_no_coefficients
from study.figures import GREY, Axes, Figure, draw_heatmap, on_axes
from study.panel import Question, Sample

ZERO = 1e-10


@diagnostic(
    title="Negative weights",
    question="Does the coefficient put negative weights on the effects of some cohorts and periods?",
    section=Section.AGAINST,
    of_sums=True,
    designs=("twfe",),
)
def negative_weights(sample: Sample) -> Finding:
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
    Finding
        The frame has a row a treated cell: cohort, period, event_time; share, that of the treated observations,
        N_gt / N_1; weight, what the cell's average effect is multiplied with. Both sum to one. Details:
        ``coefficient``, that of treatment on the scale of ``sample.y``, in levels where the scale is "proportional";
        :func:`sigma_zero` and :func:`sigma_opposite`.

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
    refuse_no_coefficients("negative_weights", sample, "twfe")
    coefficient = float(find_design("twfe")(sample).effect_level[0])
    cohorts, groups = sample.groups
    treatment = np.where(np.isnan(sample.outcome_with_covariates), np.nan, sample.treatment)
    seen, shape = ~np.isnan(treatment), (len(groups), len(sample.periods))
    terms = Terms(np.empty((*shape, 0)), period_effects(*shape))
    with one_thread():
        residual = regress(treatment, groups, terms, sample.weights, varying=sample.x_varying).residual
    weights = [sample.weights[members] for members in groups]
    product = np.stack([w @ e for w, e in zip(weights, residual, strict=True)])
    size = np.stack([w @ seen[members] for w, members in zip(weights, groups, strict=True)])
    cells = sample.treated_cells & (size > 0)
    group, time = np.nonzero(cells)
    weight, share = product[cells] / product[cells].sum(), size[cells] / size[cells].sum()
    weight[np.abs(weight) < ZERO] = 0.0
    cohort, period = cohorts[group].astype(np.int64), sample.periods[time].astype(np.int64)
    times = {"cohort": cohort, "period": period, "event_time": period - cohort}
    details = {
        "coefficient": coefficient,
        "sigma_zero": sigma_zero(coefficient, weight, share),
        "sigma_opposite": sigma_opposite(coefficient, weight, share),
    }
    alike = not sample.question.covariates and bool(seen.all())
    frame = pd.DataFrame(times | {"share": share, "weight": weight})
    names = {int(t): sample.period_name(t) for t in np.union1d(cohort, sample.periods)}
    chart = partial(_chart, names=names, unit=capital(sample.panel.period_unit))
    return Finding.of(_sentences(sample.question, weight, alike, details), frame, chart, details=details)


def _sentences(
    question: Question, weight: FloatArray, alike: bool, details: Mapping[str, Any]
) -> Iterator[str]:
    n, negative = len(weight), weight < 0
    coefficient, spread, opposite = details.values()
    if negative.any():
        yield (
            f"{negative.sum()} of the {n} weights of effects are negative and sum to {weight[negative].sum():.4g}; the "
            f"positive ones sum to {weight[~negative].sum():.4g}."
        )
    else:
        yield "No weight is negative, so effects of one sign give a coefficient of that sign."
    yield (
        f"The static two-way fixed effects coefficient of {question.outcome_in_words} is {coefficient:.4g}, under "
        f"parallel trends a weighted sum of the average effects in {n} treated cells of a cohort and a period."
    )
    if spread is None:
        yield (
            "All treated cells have the weight of their share, so the coefficient is their average effect however "
            "effects differ, and no spread of effects is compatible with another average."
        )
    else:
        yield (
            f"The average effect can be zero if the effects' standard deviation across cells is {spread:.4g} or more."
        )
    if opposite is not None:
        yield (
            f"The effects of all cells can have the opposite sign of the coefficient if their standard deviation is "
            f"{opposite:.4g} or more."
        )
    if not alike:
        yield (
            "Gaps or covariates give the units of a cell different weights; the cells' weights are exact for effects "
            "that do not differ between the units of a cell."
        )
    if question.scale == "proportional":
        yield "All numbers are in levels, which the proportional effect is made from."


def _chart(frame: pd.DataFrame, ax: Axes | None, names: Mapping[int, str], unit: str) -> Figure:
    """Draw the weights by cohort and period, with a mark on the negative ones."""
    periods = range(frame["period"].min(), frame["period"].max() + 1)
    grid = frame.pivot(index="cohort", columns="period", values="weight").reindex(columns=periods)
    n_cohorts, negative = len(grid), frame[frame["weight"] < 0]
    with on_axes(ax, height=max(2.6, 1.3 + 0.2 * n_cohorts)) as (figure, axis):
        percent = 100 * grid.reset_index(drop=True)
        draw_heatmap(axis, percent, label="Weight, percent", ticks=6, signed=True)
        rows = grid.index.get_indexer(negative["cohort"])
        axis.plot(negative["period"], rows, "x", color="black", markersize=5, label="negative")
        axis.set_yticks(range(n_cohorts), [names[g] for g in grid.index])
        axis.xaxis.set_major_formatter(lambda period, _: names.get(int(period), ""))
        axis.set(xlabel=unit, ylabel="First treated")
        if ax is None:
            share = f"{len(negative)} of {len(frame)} cells, sum {negative['weight'].sum():.1%}"
            note = f"x: negative weight, {share}" if len(negative) else "No negative weight"
            figure.suptitle(note, fontsize=8, color=GREY)
    return figure


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
