"""P-values adjusted for a family of hypotheses, such as one effect on several outcomes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from study.core import FloatArray, QuestionError, checked, normal_score, two_sided_p
from study.estimates import Errors, Estimate, Weights, exceeded, least_as_large, statistic_draws
from study.inference.agreement import SupT, joined_headlines

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
    # As statsmodels' multipletests, which collects the garbage of the whole process in every call.
    order = np.argsort(p_values)
    adjusted = np.empty(len(order))
    adjusted[order] = np.minimum(np.maximum.accumulate(p_values[order] * np.arange(len(order), 0, -1)), 1.0)
    return adjusted


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
    headlines = {label: fit.headline for label, fit in fits.items()}
    if not headlines:
        raise QuestionError("adjusted_p_values: there is no estimate; give at least one.")
    for label, fit in headlines.items():
        what = f"adjusted_p_values: {label} has"
        if fit.n_clusters < 2:
            raise QuestionError(f"{what} one cluster, so it has no sampling variance.")
        if not fit.varies[0]:
            raise QuestionError(f"{what} no sampling variance; leave it out.")
        if method != "holm" and not fit.joint:
            raise QuestionError(f'{what} standard errors that are its own alone; use method="holm".')
    averages = headlines.values()
    alone = np.array([two_sided_p(f.effect / f.std_error, f.degrees_of_freedom)[0] for f in averages])
    if method == "holm":
        return dict(zip(headlines, holm(alone).tolist(), strict=True))
    joined = joined_headlines(headlines, "adjusted_p_values")
    statistics = normal_score(joined.effect / joined.std_error, joined.degrees_of_freedom)
    stepped = romano_wolf(statistics, joined.sums, draws=draws, seed=seed, weights=weights, errors="sample")
    return dict(zip(headlines, np.maximum(stepped, alone).tolist(), strict=True))


class Share(NamedTuple):
    """How many specifications are significant alone, and the share and p-value of it if none has an effect."""

    significant: int
    distinct: int
    expected: float
    p_value: float


def null_statistics(sums: FloatArray, *, draws: int, seed: int, weights: Weights) -> FloatArray:
    """Return t statistics of all specifications under the null of no effect, shape (draws, K).

    ``sums`` are the influence added up by cluster, shape (G, K). Influence has mean zero whatever the effects
    are, so that these are draws of the estimates' errors, with the correlation that the specifications have. Each
    is over its own standard error, as the estimates are over theirs.
    """
    return np.concatenate(list(statistic_draws(sums, draws, seed, weights, "drawn")))


def largest_test(statistics: FloatArray, null: FloatArray, level: float) -> SupT:
    """Test that no specification has an effect, by the largest absolute t; null has shape (draws, K)."""
    largest, observed = np.abs(null).max(axis=1), float(np.abs(statistics).max())
    return SupT(observed, float(np.quantile(largest, level)), float(exceeded(largest, observed)), len(null))


def share_test(statistics: FloatArray, critical: FloatArray, null: FloatArray) -> Share:
    """Test that no specification has an effect, by how many are significant, each at its own critical value."""
    significant = int(np.sum(np.abs(statistics) > critical))
    drawn = np.sum(np.abs(null) > critical, axis=1)
    expected = float(drawn.mean() / len(statistics))
    return Share(significant, len(statistics), expected, float(exceeded(drawn, significant)))


def median_test(effect: FloatArray, error: FloatArray, null: FloatArray) -> float:
    """Return the p-value of no effect in any specification, by the median of the effects, which are in one unit."""
    drawn = np.median(null * error, axis=1)
    return float(exceeded(np.abs(drawn), abs(float(np.median(effect)))))


def first_equal(
    effect: FloatArray, sums: FloatArray, unit: NDArray[np.int64], tolerance: float
) -> NDArray[np.int64]:
    """Return for each specification the first one of the same unit that it equals, itself if none, shape (K,).

    Equal are two whose effects, and whose sums of influence by cluster, differ by less than a tolerance times
    the size of the sums; ``effect`` is in units of the sums, so that its error is their total.
    """
    first, size = np.arange(len(effect)), np.sqrt(np.einsum("ck,ck->k", sums, sums))
    for k in range(len(effect)):
        near = (np.abs(effect[:k] - effect[k]) <= tolerance * size[k]) & (unit[:k] == unit[k])
        for j in np.flatnonzero(near & (first[:k] == np.arange(k))):
            if np.linalg.norm(sums[:, j] - sums[:, k]) <= tolerance * size[k]:
                first[k] = j
                break
    return first
