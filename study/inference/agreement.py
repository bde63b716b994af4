"""Several estimates tested together: whether designs agree, and p-values adjusted for a family of hypotheses."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import compress
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from study.core import FloatArray, QuestionError, checked, normal_score, two_sided_p
from study.estimates import (
    EQUAL,
    Errors,
    Estimand,
    Estimate,
    Joint,
    Stacked,
    Wald,
    Weights,
    exceeded,
    least_as_large,
    stack,
    statistic_draws,
)

LEVEL = 0.95
Method = Literal["romano_wolf", "holm"]


class SupT(NamedTuple):
    """The largest absolute t of what is tested at once, its critical value, its p-value from ``draws`` draws."""

    statistic: float
    critical_value: float
    p_value: float
    draws: int


@dataclass(frozen=True, eq=False)
class Agreement:
    """Pairwise differences of estimates with their joint sampling distribution, and tests that all are zero.

    Attributes
    ----------
    labels : tuple of str
        The estimates that are compared; none where fewer than two are alike.
    equal : tuple of tuple of str
        Groups of estimates that are algebraically equal on the sample.
    pairs : tuple of (str, str), length P
    difference, std_error : ndarray, shape (P,)
        The first of a pair less the second; the standard error is by the estimates' ``vcov``, NaN where the
        difference has no sampling variance.
    p_adjusted : ndarray, shape (P,)
        Share of draws whose largest absolute t over all differences is at least as extreme as the pair's; NaN
        where the pair is not tested.
    sup_t : SupT, optional
    wald : Wald, optional
        None where no difference has a sampling variance.
    notes : tuple of str
        What is left out or equal, and why, in sentences.
    """

    labels: tuple[str, ...]
    equal: tuple[tuple[str, ...], ...]
    pairs: tuple[tuple[str, str], ...]
    difference: FloatArray
    std_error: FloatArray
    p_adjusted: FloatArray
    sup_t: SupT | None
    wald: Wald | None
    notes: tuple[str, ...]

    @property
    def tested(self) -> int:
        """Number of differences that are tested."""
        return int(np.isfinite(self.std_error).sum())


@checked
def agreement_of(
    fits: Mapping[str, Estimate], *, force: bool = False, draws: int = 9999, seed: int = 0
) -> Agreement:
    """Compare the averages of estimates by their joint influence, and test that they are all the same.

    The sup-t test takes the largest |t| over pairwise differences, each put on the normal scale by its degrees of
    freedom, against normal draws with the covariance of the differences; its p-value is
    (1 + draws at least as extreme) / (1 + draws). The Wald test is of the rank that the covariance of the differences
    has. ``benchmarks/agreement_size.py`` measures how often they reject where designs agree.

    Parameters
    ----------
    fits : mapping of label to Estimate
        Their samples may differ: each influence is multiplied by n_union / n_sample.
    force : bool
        Compare also estimates of unlike estimand, scale or window; otherwise those of the kind that most
        of them have (of the first among equals) are compared.
    draws, seed : int
        Of the multiplier bootstrap.

    Raises
    ------
    QuestionError
        If the estimates cluster by different attributes.
    """
    labels, notes = _alike(fits, force)
    headlines = {label: fits[label].headline for label in labels}
    return agree(joined_headlines(headlines, "compare") if len(labels) > 1 else None, notes, draws, seed)


def agree(both: Joint | None, notes: Sequence[str], draws: int, seed: int) -> Agreement:
    """Test that averages of one kind are the same; None where there are fewer than two of them."""
    notes = list(notes)
    if both is None:
        notes.append(
            "Fewer than two designs have estimates that can be compared, so there is no difference to test."
        )
        none = np.empty(0)
        return Agreement((), (), (), none, none, none, None, None, tuple(notes))
    labels = both.names
    pairs, apart = both.pairwise()
    first, second = np.triu_indices(len(labels), 1)
    error = apart.std_error
    negligible = EQUAL * np.maximum(both.std_error[first], both.std_error[second])
    # Conventions may weigh the influence of estimators that are equal each in another way.
    under_none = replace(apart, influence=apart.sampling).std_error
    same = (np.minimum(error, under_none) <= negligible) & (np.abs(apart.effect) <= negligible)
    varies = ~same & (error > negligible)
    group = np.arange(len(labels))  # each estimate is of the group of the first that it equals
    for i, j in zip(first[same], second[same], strict=True):
        group[j] = min(group[j], group[i])
    groups = (tuple(compress(labels, group == i)) for i in range(len(labels)))
    equal = tuple(members for members in groups if len(members) > 1)
    notes += [f"Algebraically equal on this sample, so not tested: {', '.join(names)}." for names in equal]
    notes += [
        f"{apart.names[k]} is {apart.effect[k]:.4g} without a sampling variance, so it is not tested."
        for k in np.flatnonzero(~varies & ~same)
    ]
    sup_t, wald, p_adjusted = None, None, np.full(len(pairs), np.nan)
    if varies.any():
        tested = apart.select(varies)
        statistics, largest = tested.largest_t(draws, seed)
        p_adjusted[varies] = exceeded(largest, statistics)
        sup_t, wald = largest_test(statistics, largest, LEVEL), tested.test()
    difference, error = np.where(same, 0.0, apart.effect), np.where(varies, error, np.nan)
    tests = (p_adjusted, sup_t, wald)
    return Agreement(labels, equal, pairs, difference, error, *tests, tuple(notes))


def kind(fit: Estimate) -> str:
    """Return what a design's average is of, in words: its estimand, and the event times that it covers."""
    if fit.estimand is Estimand.LONG_CHANGE:
        return fit.headline.terms[0]
    if not fit.estimand.has_path:
        return fit.estimand.value
    question = fit.sample.question
    covered = ~fit.reference & np.isfinite(fit.effect_level) & (fit.event_time >= 0)
    last = question.balance if question.horizon is None else question.horizon
    if question.average == "event_average" and last is not None:
        covered &= fit.event_time <= last
    fixed = "" if question.balance is None else f", balanced to {question.balance}"
    times = [f"{e:g}" for e in np.unique(fit.event_time[covered])]
    if not times:  # averages of several events, stacked
        return question.average.replace("_", " ")
    gaps = len(times) - 1 < float(times[-1]) - float(times[0])
    words = ", ".join(times) if gaps or not times[1:] else f"{times[0]} to {times[-1]}"
    of = "" if fit.estimand is not Estimand.GROUP_TIME_ACRT else f"{fit.estimand}, "
    average, over = question.average.replace("_", " "), "times" if times[1:] else "time"
    # Where treatment may end, effects against a period before it are of the path since, others of treated periods.
    whole_path = fit.sample.first_treated is None and fit.reference.any()
    since = " since the first switch, those without treatment included" if whole_path else ""
    per_unit = ", per unit of treatment since then" if fit.options.get("normalized") else ""
    by_variance = fit.options.get("weighting") == "variance" and len(fit.sample.cohorts) > 1
    weights = ", cohorts weighted by the variance of treatment" if by_variance else ""
    return f"{of}{average} over event {over} {words}{fixed}{since}{per_unit}{weights}"


def _alike(fits: Mapping[str, Estimate], force: bool) -> tuple[list[str], list[str]]:
    """Return the estimates that can be compared, and a sentence on each that is not or only as forced."""
    varies = [label for label, fit in fits.items() if fit.joint and fit.headline.varies[0]]
    alone = [x for x, fit in fits.items() if not fit.joint]
    none = [x for x in fits if x not in (*varies, *alone)]
    notes = [f"{x} has no sampling variance, so it is not compared." for x in none]
    notes += [f"{x} is not compared: {fits[x].not_joint}" for x in alone]
    notes += [
        f'{x} has the option variance="{fits[x].options["variance"]}", so the standard errors of its differences '
        "are not those of sampling."
        for x in varies
        if fits[x].options.get("variance", "sampling") != "sampling"
    ]
    kinds = {x: f"{kind(fits[x])}, scale {fits[x].sample.question.scale}" for x in varies}
    usual = usual_kind(kinds.values())
    for other in dict.fromkeys(kinds.values()):
        if other != usual:
            labels = ", ".join(label for label in varies if kinds[label] == other)
            compared = "Compared all the same" if force else "Not compared"
            notes.append(f"{compared}: {labels}, of another kind ({other}) than the others ({usual}).")
    return [label for label in varies if force or kinds[label] == usual], notes


def usual_kind(kinds: Iterable[str]) -> str | None:
    """Return the kind that most averages have, the first among equals; None where there is no average."""
    return next((kind for kind, _ in Counter(kinds).most_common(1)), None)


@checked
def joint(*estimates: Estimate) -> Joint:
    """Return all terms that vary with their joint sampling distribution, on the union of the samples.

    Parameters
    ----------
    *estimates : Estimate
        On one scale, clustered by the same attribute.

    Returns
    -------
    Joint
        ``names``, ``effect`` (K,) and ``influence`` (n, K), on the union of the n units.

    Raises
    ------
    QuestionError
        If there is no estimate, or no term that varies, or they differ in scale or cluster by different attributes.
    """
    if not estimates:
        raise QuestionError("joint: there is no estimate; give at least one.")
    scales = {estimate.sample.question.scale for estimate in estimates}
    clusters = {estimate.sample.question.cluster for estimate in estimates}
    if len(scales) > 1 or len(clusters) > 1:
        raise QuestionError(
            f"joint: the estimates differ in scale ({', '.join(sorted(scales))}) or cluster "
            f"({', '.join(sorted(str(c) for c in clusters))}); compare like with like."
        )
    names = [f"{fit.design} {term}" for fit in estimates for term in compress(fit.terms, fit.varies)]
    if not names:
        raise QuestionError("joint: no term of the estimates has a sampling variance; give one that has.")
    return stack(names, [Stacked.of(fit, fit.varies) for fit in estimates])


def joined_headlines(headlines: Mapping[str, Estimate], who: str) -> Joint:
    """Stack averages of one term on the union of their samples' units.

    Raises
    ------
    QuestionError
        If the estimates cluster by different attributes.
    """
    clusters = {fit.sample.question.cluster or "unit" for fit in headlines.values()}
    if len(clusters) > 1:
        raise QuestionError(
            f"{who}: the estimates cluster by {' and '.join(sorted(clusters))}, so they have no joint "
            "distribution; give all the same cluster."
        )
    return stack(list(headlines), list(map(Stacked.of, headlines.values())))


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
    whichever of the effects are zero. Statistics have the estimates' standard errors; Romano and Wolf's are put on
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


def largest_test(statistics: FloatArray, largest: FloatArray, level: float) -> SupT:
    """Test that no effect differs from zero, by the largest absolute t and that of each draw, shape (draws,)."""
    observed, critical = float(np.abs(statistics).max()), float(np.quantile(largest, level))
    return SupT(observed, critical, float(exceeded(largest, observed)), len(largest))


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
