"""Stacked difference-in-differences of Wing, Freedman and Hollingsworth (2024)."""

from __future__ import annotations

from functools import partial
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from study.core import FloatArray, Influence, LinearForm, QuestionError, Terms, regress, side_by_side
from study.core.normal_equations import Rows
from study.designs import Assumes, Estimand, Supports, design
from study.designs.did_cells import Layout, differences_of_means
from study.estimates import (
    Cells,
    CohortMeans,
    Estimate,
    cohort_means,
    group_time_effects,
    refuse_single_units,
    rests_on_one,
)
from study.panel import Sample


@design(
    name="stacked",
    title="Stacked difference-in-differences (Wing, Freedman and Hollingsworth)",
    reference="wing2024",
    estimand=Estimand.GROUP_TIME_ATT,
    assumes=(Assumes.PARALLEL_TRENDS, Assumes.LIMITED_ANTICIPATION),
    supports=(
        Supports.MISSING_CELLS,
        Supports.ANTICIPATION,
        Supports.CLUSTERS,
        Supports.WEIGHTS,
        Supports.NEVER_TREATED,
        Supports.PROPORTIONAL,
    ),
)
def stacked(sample: Sample, *, before: int = 3, after: int | None = None) -> Estimate:
    """Compare each cohort over one window with units that are untreated in all of it, and pool by cohort size.

    A cohort g enters if its window, from g-d-``before`` to g + ``after`` with anticipation d, lies in the panel;
    its base is g-d-1, and its comparison units are not treated, less the anticipation, by the window's end. The
    corrected weights of the paper give the comparison units of a stack the share that its cohort has among all
    treated units, so that the coefficients of the weighted regression are the stacks' differences in
    differences averaged by cohort size: the trimmed aggregate ATT, of the same cohorts at all event times.

    Parameters
    ----------
    sample : Sample
        Absorbing treatment. A unit enters a stack if it is seen in all of its window.
    before : int
        Periods before treatment less the anticipation that the window has, the base among them.
    after : int, optional
        Last event time of the window; the question's horizon if not given, and 3 if that is not set either.

    Returns
    -------
    Estimate
        One term for each cohort that enters and each period of its window, in that order, with a reference term
        at its base; the average by event time weights them by units. "CR0" standard errors, which carry the
        estimation of those weights, as the regression's own do not. ``notes`` name cohorts that do not enter.

    Raises
    ------
    QuestionError
        If a cohort has one unit and the question does not say what to do with it, the window is impossible,
        or no cohort enters.

    References
    ----------
    Wing, C., Freedman, S. M., and Hollingsworth, A. (2024). Stacked difference-in-differences. NBER Working
    Paper 32054.
    """
    refuse_single_units(sample, "stacked")
    horizon = 3 if sample.question.horizon is None else sample.question.horizon
    last = horizon if after is None else after
    if before < 1 or last < 0:
        raise QuestionError(
            f"stacked: the window is before={before}, after={last}; they must be at least 1 and 0."
        )
    start = sample.cohorts - sample.question.anticipation - before
    fits = (start >= sample.periods[0]) & (sample.cohorts + last <= sample.periods[-1])
    notes = [
        f"cohort {g:g} left out: its window of {g - sample.question.anticipation - before:g} to {g + last:g} "
        f"does not lie in {sample.periods[0]}-{sample.periods[-1]}"
        for g in sample.cohorts[~fits]
    ]
    means_of = partial(cohort_means, sample, levels_apart=True)
    whole = means_of() if sample.observed.all() else None
    stacks = []
    for g, first in zip(sample.cohorts[fits], start[fits], strict=True):
        window = (sample.periods >= first) & (sample.periods <= g + last)
        stack = _stack(sample, whole or means_of(_complete(sample, window)), g, window)
        missing = _missing(stack)
        if missing:
            notes.append(f"cohort {g:g} left out: {missing} is observed in all of its window")
        else:
            stacks.append(stack)
    if not stacks:
        raise QuestionError(f"stacked: no effect can be estimated: {'; '.join(notes)}.")
    cohort = np.concatenate([stack.cohort for stack in stacks])
    period = np.concatenate([stack.period for stack in stacks])
    linear = np.concatenate([stack.effect_level for stack in stacks])
    influence = side_by_side([stack.influence for stack in stacks])
    mean = np.concatenate([stack.mean for stack in stacks])
    size = np.concatenate([stack.size for stack in stacks])
    reference = period == cohort - 1 - sample.question.anticipation
    return group_time_effects(
        sample,
        cohort,
        period,
        linear,
        influence,
        untreated_mean=mean - linear,
        untreated_influence=side_by_side([stack.mean_influence for stack in stacks]) - influence,
        cohort_weights=side_by_side([stack.cohort_weights for stack in stacks]),
        reference=reference,
        n_obs=int(sum(stack.n_obs for stack in stacks)),
        published="CR0",
        form=_form(sample, stacks),
        notes=(*notes, *rests_on_one(cohort, period, ~reference & (size == 1))),
    )


class _Stack(NamedTuple):
    """The terms of one cohort, shape (K,), with how many treated and comparison units it has."""

    cohort: FloatArray
    period: FloatArray
    effect_level: FloatArray
    influence: Influence
    mean: FloatArray
    mean_influence: Influence
    cohort_weights: Influence
    size: NDArray[np.int64]
    n_compared: int
    n_obs: int


def _complete(sample: Sample, window: NDArray[np.bool_]) -> FloatArray:
    """Return the outcomes in a window of units that are seen in all of it, shape (n, T)."""
    complete = np.all(sample.observed[:, window], axis=1)
    return np.where(complete[:, None] & window, sample.y, np.nan)


def _stack(sample: Sample, means: CohortMeans, cohort: float, window: NDArray[np.bool_]) -> _Stack:
    position = np.flatnonzero(window)
    base = int(cohort - 1 - sample.question.anticipation - sample.periods[0])
    group = np.full(len(position), np.searchsorted(means.dates, cohort))
    clean = np.flatnonzero(_clean(sample, means, sample.periods[position[-1]]))
    compared = np.zeros((len(means.dates), len(position)), dtype=bool)
    compared[clean] = True
    gaps = differences_of_means(
        means,
        Layout(group, position, np.full(len(position), base), compared),
    )
    cohorts = np.full(len(position), cohort)
    cells = means.cells(cohorts, position)
    mean, mean_influence = means.pooled(cells)
    size = means.sizes(cohorts, position)
    n_compared = int(means.seen[clean, base].sum())
    return _Stack(
        cohorts,
        sample.periods[position].astype(float),
        gaps.estimate,
        gaps.influence,
        mean,
        mean_influence,
        means.cohort_weights(cells),
        size,
        n_compared,
        (int(size[0]) + n_compared) * len(position),
    )


def _form(sample: Sample, stacks: list[_Stack]) -> LinearForm:
    """Return the terms as coefficients of one regression of all stacks."""
    windows = [(float(s.cohort[0]), s.period) for s in stacks]
    reference = np.concatenate([s.period == s.cohort - 1 - sample.question.anticipation for s in stacks])
    return LinearForm(partial(_regression, sample, windows), np.eye(len(reference))[~reference])


def _regression(sample: Sample, windows: list[tuple[float, FloatArray]]) -> Rows:
    """Regress all stacks, one below the other, on an effect for each stack and period but the base.

    Units and periods have effects in each stack, and a unit has its own weight in all of them.
    """
    means, length = cohort_means(sample), len(windows[0][1])
    window = [np.isin(sample.periods, periods) for _, periods in windows]
    members = []
    for (cohort, periods), inside in zip(windows, window, strict=True):
        for groups in (means.dates == cohort, _clean(sample, means, int(periods[-1]))):
            units = np.sort(np.concatenate([means.rows[g] for g in np.flatnonzero(groups)]))
            members.append(units[np.all(sample.observed[np.ix_(units, inside)], axis=1)])
    unit = np.concatenate(members)
    y = np.concatenate([sample.y[np.ix_(m, window[k // 2])] for k, m in enumerate(members)])
    rows = np.split(np.arange(len(unit)), np.cumsum([len(m) for m in members])[:-1])
    stack = np.repeat(np.eye(len(windows)), 2, axis=0)
    of_stack = (stack[:, None, :, None] * np.eye(length)[:, None, :]).reshape(len(rows), length, -1)
    treated = of_stack * (np.arange(len(rows)) % 2 == 0)[:, None, None]
    reference = np.concatenate([p == g - 1 - sample.question.anticipation for g, p in windows])
    fit = regress(y, rows, Terms(treated[:, :, ~reference], of_stack), sample.weights[unit])
    assert fit.equations is not None
    return Rows(fit.equations, unit)


def _clean(sample: Sample, means: CohortMeans, end: int) -> Cells:
    """Return which groups are untreated, less the anticipation, to the end of a window, shape (G,)."""
    if sample.question.comparison == "never_treated":
        return np.isnan(means.dates)
    return ~(means.dates - sample.question.anticipation <= end)


def _missing(stack: _Stack) -> str:
    """Say which side of a stack nobody is on, or nothing."""
    if not stack.size.all():
        return "no treated unit"
    return "" if stack.n_compared else "no comparison unit"
