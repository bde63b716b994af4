"""Which cells a Poisson regression can learn from: where only zeros are, its coefficients do not exist."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from study.core import BoolArray, QuestionError
from study.panel import Sample


def refuse_not_counts(sample: Sample, design: str) -> None:
    """Refuse an outcome below zero, on the logarithmic scale already, or zero everywhere."""
    if sample.question.scale == "log1p":
        raise QuestionError(
            f'{design}: a Poisson regression takes the outcome in levels; use scale="proportional" or "level".'
        )
    bad = np.argwhere(sample.y < 0)
    if bad.size:
        i, t = bad[0]
        raise QuestionError(
            f"{design}: a Poisson regression needs outcomes of 0 or more, but {sample.question.outcome} is "
            f"{sample.y[i, t]:g} for ({sample.unit_ids[i]}, {sample.period_name(sample.periods[t])}); "
            "use a linear design."
        )
    if not np.nansum(sample.y):
        raise QuestionError(
            f"{design}: {sample.question.outcome} is zero for everybody, so its mean has no logarithm."
        )


def without_empty_units(sample: Sample) -> tuple[Sample, list[str]]:
    """Take out units without any outcome, on which a regression with unit effects cannot learn, and count them."""
    empty = (np.nansum(sample.y, axis=1) == 0) & sample.observed.any(axis=1)
    if not empty.any():
        return sample, []
    note = f"{int(empty.sum())} units left out: {sample.question.outcome} is zero in all their periods"
    return replace(sample, y=np.where(empty[:, None], np.nan, sample.y)), [note]


def without_empty_cells(sample: Sample, cells: BoolArray) -> tuple[Sample, BoolArray]:
    """Take out sets of cells, and periods, in which units are seen but nobody has any outcome.

    Parameters
    ----------
    sample : Sample
    cells : ndarray of bool, shape (G, T, K)

    Returns
    -------
    Sample
        With those cells not observed.
    empty : ndarray of bool, shape (K,)
        Which sets were taken out.
    """
    members = sample.groups[1]
    seen = np.stack([sample.observed[rows].any(axis=0) for rows in members])
    some = np.stack([np.any(sample.y[rows] > 0, axis=0) for rows in members])
    empty = ~np.any(cells & some[:, :, None], axis=(0, 1)) & np.any(cells & seen[:, :, None], axis=(0, 1))
    out = np.any(cells & empty, axis=2) | ~some.any(axis=0)
    if not out.any():
        return sample, empty
    y = sample.y.copy()
    for unobserved, rows in zip(out, members, strict=True):
        y[np.ix_(rows, np.flatnonzero(unobserved))] = np.nan
    return replace(sample, y=y), empty
