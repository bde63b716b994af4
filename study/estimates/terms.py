"""Estimates by what their terms are: coefficients, effects by cohort and period, or effects by event time."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from study.core import FloatArray, Influence
from study.estimates.estimand import Estimand
from study.estimates.estimate import Estimate
from study.panel import Sample


def coefficients(
    sample: Sample,
    terms: tuple[str, ...],
    linear: FloatArray,
    influence: Influence | FloatArray,
    *,
    n_obs: int,
    notes: tuple[str, ...] = (),
    **fields: Any,
) -> Estimate:
    """Return an estimate whose terms are coefficients, of no one cohort, period or event time.

    Parameters
    ----------
    sample, terms, n_obs, **fields
        As in :class:`Estimate`; ``notes`` are its remarks.
    linear : ndarray, shape (K,)
    influence : Influence or ndarray, shape (n, K)
    """
    unlabelled = np.full(len(terms), np.nan)
    return Estimate(
        sample=sample,
        estimand=Estimand.COEFFICIENT,
        terms=terms,
        linear=linear,
        linear_influence=influence if isinstance(influence, Influence) else Influence.of(influence),
        cohort=unlabelled,
        period=unlabelled,
        event_time=unlabelled,
        reference=np.zeros(len(terms), dtype=bool),
        n_obs=n_obs,
        remarks=notes,
        **fields,
    )


def long_change_effect(
    sample: Sample, term: str, linear: FloatArray, influence: FloatArray, *, n_obs: int, **fields: Any
) -> Estimate:
    """Return an estimate whose one term is an effect on the change over the window; arguments as above."""
    made = coefficients(sample, (term,), linear, influence, n_obs=n_obs, **fields)
    return replace(made, estimand=Estimand.LONG_CHANGE)


def group_time_effects(
    sample: Sample,
    cohort: FloatArray,
    period: FloatArray,
    linear: FloatArray,
    influence: Influence,
    *,
    notes: tuple[str, ...] = (),
    **fields: Any,
) -> Estimate:
    """Return an estimate whose terms are ATT(g,t); arguments as in :class:`Estimate`."""
    return Estimate(
        sample=sample,
        estimand=Estimand.GROUP_TIME_ATT,
        terms=tuple(f"ATT({g:g},{t:g})" for g, t in zip(cohort, period, strict=True)),
        linear=linear,
        linear_influence=influence,
        cohort=cohort,
        period=period,
        event_time=period - cohort,
        treated=_treated(sample, cohort),
        remarks=notes,
        **fields,
    )


def _treated(sample: Sample, cohort: FloatArray) -> FloatArray:
    """Return 1 for the group that each term is of, for all cohorts of the window where it is of none; shape (G, K)."""
    dates = sample.groups[0][:, None]
    every = np.isin(dates, sample.cohorts) & np.isnan(cohort)
    return np.asarray(every | (dates == cohort), dtype=float)


def event_time_effects(
    sample: Sample,
    times: FloatArray,
    linear: FloatArray,
    influence: Influence,
    mean: FloatArray,
    mean_influence: Influence,
    *,
    notes: tuple[str, ...] = (),
    **fields: Any,
) -> Estimate:
    """Return an estimate whose terms are effects by event time, from the treated units' mean outcomes at each.

    Parameters
    ----------
    sample, linear, **fields
        As in :class:`Estimate`.
    times, mean : ndarray, shape (K,)
    influence, mean_influence : Influence, shape (n, K)
    """
    unlabelled = np.full(len(times), np.nan)
    return Estimate(
        sample=sample,
        estimand=Estimand.EVENT_TIME_ATT,
        terms=tuple(f"event {e:g}" for e in times),
        linear=linear,
        linear_influence=influence,
        untreated_mean=mean - linear,
        untreated_influence=mean_influence - influence,
        cohort=unlabelled,
        period=unlabelled,
        event_time=times,
        remarks=notes,
        **fields,
    )
