"""P-values adjusted for a family of hypotheses, such as one effect on several outcomes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, get_args

import numpy as np

from study.core import FloatArray, QuestionError, checked, normal_score, two_sided_p, unknown
from study.estimates import Errors, Estimate, Weights, least_as_large, statistic_draws
from study.inference.joined import joined_headlines

Method = Literal["romano_wolf", "holm"]


def holm(p_values: FloatArray) -> FloatArray:
    """Return p-values adjusted by Holm's (1979) step-down, shape (K,): valid under any dependence.

    The j-th smallest is multiplied by the number of hypotheses from it on, and is at least those before it.

    Raises
    ------
    QuestionError
        If there is no p-value or one is not between 0 and 1.
    """
    p_values = np.asarray(p_values, dtype=float)
    if p_values.ndim != 1 or not len(p_values) or not np.all((p_values >= 0) & (p_values <= 1)):
        raise QuestionError("holm: p-values are numbers between 0 and 1, at least one and none missing.")
    from statsmodels.stats.multitest import multipletests

    return np.asarray(multipletests(p_values, method="holm")[1])


def romano_wolf(
    statistics: FloatArray,
    sums: FloatArray,
    *,
    draws: int,
    seed: int,
    weights: Weights = "rademacher",
    errors: Errors = "drawn",
) -> FloatArray:
    """Return p-values adjusted by the step-down of Romano and Wolf (2005, 2016) with multiplier draws.

    With |t_1| >= ... >= |t_K|, hypothesis j has first the share of draws in which the largest |t*| among
    hypotheses j..K is at least |t_j|, counted as (1 + draws at least as extreme) / (1 + draws), and then the
    largest such share up to its step (Romano and Wolf 2016, Algorithms 4.1 and 4.2). Because t* keeps the
    errors' correlation, no p-value is larger than the single-step one of the sup-t test, up to the draws none
    is larger than Holm's of the same draws, and equal hypotheses count once.

    Parameters
    ----------
    statistics : ndarray, shape (K,)
        Studentised estimates.
    sums : ndarray, shape (G, K)
        Influence added up by cluster, of terms that all have sampling variance.
    draws, seed : int
    weights : {"rademacher", "mammen", "webb"}
    errors : {"sample", "drawn"}
        What studentises a draw; Romano and Wolf take its own standard error, "drawn".

    Returns
    -------
    ndarray, shape (K,)
    """
    order = np.argsort(-np.abs(statistics), kind="stable")
    ordered = least_as_large(np.abs(statistics)[order])
    extreme = np.zeros(len(order), dtype=np.int64)
    for block in statistic_draws(sums[:, order], draws, seed, weights, errors):
        remaining = np.maximum.accumulate(np.abs(block)[:, ::-1], axis=1)[:, ::-1]
        extreme += np.sum(remaining >= ordered, axis=0)
    adjusted = np.empty(len(order))
    adjusted[order] = np.maximum.accumulate((1 + extreme) / (1 + draws))
    return adjusted


@checked
def adjusted_p_values(
    fits: Mapping[str, Estimate],
    *,
    method: Method = "romano_wolf",
    draws: int = 9999,
    seed: int = 0,
    weights: Weights = "gaussian",
) -> dict[str, float]:
    """Adjust the p-values of several estimates for being a family, so that any false rejection is rare.

    Each estimate's headline is one hypothesis, that the average is zero. The probability of one false rejection
    or more among the family is at most the level at which the adjusted p-values are read, in large samples,
    whichever of the effects are zero. Statistics are those of the estimates' conventions; Romano and Wolf's are put on
    the normal scale by their degrees of freedom before they are set against normal draws.

    Parameters
    ----------
    fits : mapping of label to Estimate
        Of samples of one panel, such as one design's for several outcomes.
    method : {"romano_wolf", "holm"}
        The step-down with the estimates' joint distribution, or from the p-values alone.
    draws, seed : int
        Of the multiplier bootstrap; "holm" draws nothing.
    weights : {"gaussian", "rademacher", "mammen", "webb"}

    Returns
    -------
    dict of label to float
        Never below the estimate's own p-value.

    Raises
    ------
    QuestionError
        If there is no estimate, one has no sampling variance, they cluster by different attributes, or there
        is one cluster.
    """
    if method not in get_args(Method):
        raise unknown("method", str(method), get_args(Method), "adjusted_p_values")
    headlines = {label: fit.headline for label, fit in fits.items()}
    _check(headlines)
    averages = headlines.values()
    alone = np.array([two_sided_p(f.effect / f.std_error, f.degrees_of_freedom)[0] for f in averages])
    if method == "holm":
        return dict(zip(headlines, holm(alone).tolist(), strict=True))
    joined = joined_headlines(headlines, "adjusted_p_values")
    statistics = normal_score(joined.effect / joined.std_error, joined.degrees_of_freedom)
    stepped = romano_wolf(statistics, joined.sums, draws=draws, seed=seed, weights=weights, errors="sample")
    return dict(zip(headlines, np.maximum(stepped, alone).tolist(), strict=True))


def _check(headlines: Mapping[str, Estimate]) -> None:
    if not headlines:
        raise QuestionError("adjusted_p_values: there is no estimate; give at least one.")
    for label, fit in headlines.items():
        if fit.n_clusters < 2:
            raise QuestionError(
                f"adjusted_p_values: {label} has one cluster, so it has no sampling variance."
            )
        if not fit.varies[0]:
            raise QuestionError(f"adjusted_p_values: {label} has no sampling variance; leave it out.")
