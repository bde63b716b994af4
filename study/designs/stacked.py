"""Stacked difference-in-differences of Wing, Freedman and Hollingsworth (2024)."""

from __future__ import annotations

from functools import partial

import numpy as np

from study.core import BoolArray, FloatArray, LinearForm, Rows, Terms, regress, side_by_side
from study.designs import COMMON, Assumes, Estimand, Sample, Supports, design
from study.designs.did_cells import (
    Cells,
    Effects,
    cells_of,
    compared_with,
    differences_of_means,
    effects_in_cells,
    refuse_no_effect,
)
from study.estimates import CohortMeans, Estimate, cohort_means


@design(
    title="Stacked difference-in-differences (Wing, Freedman and Hollingsworth)",
    reference="wing2024",
    estimand=Estimand.GROUP_TIME_ATT,
    assumes=(Assumes.PARALLEL_TRENDS, Assumes.LIMITED_ANTICIPATION),
    supports=COMMON - {Supports.COVARIATES} | {Supports.SUMS, Supports.WEIGHTS, Supports.NEVER_TREATED},
)
def stacked(sample: Sample, *, before: int | None = None, after: int | None = None) -> Estimate:
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
    before : int, optional
        Periods before treatment less the anticipation that the window has, the base among them; 3 if not given.
    after : int, optional
        Last event time of the window; the question's horizon if not given, and 3 if that is not set either, or its
        balance where that is later. In a panel too short for any cohort's window, lengths that are not given are
        reduced until it holds one.

    Returns
    -------
    Estimate
        One term for each cohort that enters and each period of its window, in that order, with a reference term
        at its base; the average by event time weights them by units. "CR0" standard errors, which carry the
        estimation of those weights, as the regression's own do not. ``notes`` name cohorts that do not enter.

    Raises
    ------
    QuestionError
        If the window is impossible, or no cohort enters.

    References
    ----------
    Wing, C., Freedman, S. M., and Hollingsworth, A. (2024). Stacked difference-in-differences. NBER Working
    Paper 32054.
    """
    question, first, end = sample.question, sample.periods[0], sample.periods[-1]
    name = sample.period_name
    notes: list[str] = []
    if before is None or (after is None and question.horizon is None):
        before, after, notes = _window(sample, before, after)
    last = max(question.horizon or 0, question.balance or 0) if after is None else after
    start = sample.cohorts - question.anticipation - before
    fits = (start >= first) & (sample.cohorts + last <= end)
    notes += [
        f"cohort {name(g)} left out: its window of {name(g - question.anticipation - before)} to {name(g + last)} "
        f"does not lie in {sample.panel.window(sample.periods)}"
        for g in sample.cohorts[~fits]
    ]
    cells = cells_of(sample, sample.cohorts[fits])
    since = cells.period - cells.cohort
    cells = cells.select((since >= -question.anticipation - before) & (since <= last))
    full = cohort_means(sample, levels_apart=True) if sample.observed.all() else None
    stacks, effects, levels, weights, sizes, n_obs = [], [], [], [], [], 0
    for g in sample.cohorts[fits]:
        own = cells.select(cells.cohort == g)
        means = full or cohort_means(sample, _complete(sample, own), levels_apart=True)
        clean = _clean(sample, means, own)
        size, n_compared = means.sizes(own.cohort, own.now), int(means.seen[clean, own.base[0]].sum())
        if not size.all() or not n_compared:
            missing = "comparison" if size.all() else "treated"
            notes.append(f"cohort {name(g)} left out: no {missing} unit is observed in all of its window")
            continue
        compared = np.broadcast_to(clean[:, None], (len(clean), len(size)))
        of_cells = means.cells(own.cohort, own.now)
        stacks.append(own)
        effect, (of_now, of_base) = differences_of_means(means, own, compared)
        effects.append((effect, of_now + of_base))
        levels.append(means.pooled(of_cells))
        weights.append(means.cohort_weights(of_cells))
        sizes.append(size)
        n_obs += (int(size[0]) + n_compared) * len(size)
    refuse_no_effect("stacked", stacks, notes)
    cells = Cells(*map(np.concatenate, zip(*stacks, strict=True)))
    linear, mean = (
        (np.concatenate([values for values, _ in pairs]), side_by_side([of for _, of in pairs]))
        for pairs in (effects, levels)
    )
    known = np.full(len(cells.cohort), "", dtype=object)
    return effects_in_cells(
        "stacked",
        sample,
        cells,
        Effects(*linear, *mean, np.concatenate(sizes), known, n_obs),
        notes,
        cohort_weights=side_by_side(weights),
        form=LinearForm(partial(_regression, sample, cells), np.eye(len(cells.cohort))[~cells.reference]),
    )


def _window(sample: Sample, before: int | None, after: int | None) -> tuple[int, int, list[str]]:
    """Return the periods before treatment and the last event time of the longest window that some cohort has.

    Those that are given stay as they are; the others are 3, or less in a short panel.
    """
    question, room = sample.question, sample.cohorts - sample.question.anticipation - sample.periods[0]
    horizon = question.horizon if after is None else after
    fixed = max(horizon, question.balance or 0) if horizon is not None else None
    for length in (3, 2, 1, 0):
        first = max(length, 1) if before is None else before
        last = max(length, question.balance or 0) if fixed is None else fixed
        if np.any((room >= first) & (sample.cohorts + last <= sample.periods[-1])):
            break
    else:
        first, last = 3 if before is None else before, 3 if fixed is None else fixed
    usual = (3 if before is None else before, max(3, question.balance or 0) if fixed is None else fixed)
    shorter = (
        f"the window has {first} before treatment and ends at event time {last}, since the panel is short"
    )
    return first, last, [] if (first, last) == usual else [shorter]


def _complete(sample: Sample, cells: Cells) -> FloatArray:
    """Return the outcomes in a window of units that are seen in all of it, shape (n, T)."""
    window = np.isin(sample.periods, cells.period)
    complete = np.all(sample.observed[:, window], axis=1)
    return np.where(complete[:, None] & window, sample.y, np.nan)


def _clean(sample: Sample, means: CohortMeans, cells: Cells) -> BoolArray:
    """Return which groups are untreated, less the anticipation, to the end of a window, shape (G,)."""
    return compared_with(sample, cells.select(np.array([-1])), means.dates)[:, 0]


def _regression(sample: Sample, cells: Cells) -> Rows:
    """Regress all stacks, one below the other, on an effect for each stack and period but the base.

    Units and periods have effects in each stack, and a unit has its own weight in all of them.
    """
    means, members, outcomes = cohort_means(sample), [], []
    stacks = [cells.select(cells.cohort == g) for g in np.unique(cells.cohort)]
    for own in stacks:
        for groups in (means.dates == own.cohort[0], _clean(sample, means, own)):
            units = np.sort(np.concatenate([means.rows[g] for g in np.flatnonzero(groups)]))
            members.append(units[np.all(sample.observed[np.ix_(units, own.now)], axis=1)])
            outcomes.append(sample.y[np.ix_(members[-1], own.now)])
    unit, length = np.concatenate(members), len(stacks[0].now)
    rows = np.split(np.arange(len(unit)), np.cumsum([len(m) for m in members])[:-1])
    stack = np.repeat(np.eye(len(stacks)), 2, axis=0)
    of_stack = (stack[:, None, :, None] * np.eye(length)[:, None, :]).reshape(len(rows), length, -1)
    treated = of_stack * (np.arange(len(rows)) % 2 == 0)[:, None, None]
    terms = Terms(treated[:, :, ~cells.reference], of_stack)
    fit = regress(np.concatenate(outcomes), rows, terms, sample.weights[unit])
    assert fit.equations is not None
    return fit.equations, unit
