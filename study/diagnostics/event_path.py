"""Effects by event time before and after treatment, as pre-trend diagnostics take them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from study.core import FloatArray, Influence, QuestionError, counted, scaled_directions
from study.estimates import Estimate, degrees_of_freedom
from study.panel import Question


@dataclass(frozen=True, eq=False)
class EventPath:
    """Consecutive event times around one reference, which is left out.

    On the scale "proportional" effects in levels are divided by one mean, the one that the headline is a share of:
    parallel trends are assumed in levels, and a violation has the same unit in all event times.

    Attributes
    ----------
    event_time : ndarray of int, shape (K,)
        Ascending; the ``n_pre`` first ones are before the reference.
    reference : int
        The event time whose effect is zero by normalisation: the last one before treatment.
    effect : ndarray, shape (K,)
    covariance : ndarray, shape (K, K)
        Under the estimate's vcov, of full rank.
    n_pre : int
    left_out : tuple of str
        Which event times are left out, since one nearer to the reference rests on one cluster or has no standard error.
    degrees : ndarray, shape (K,), or float
        Degrees of freedom of the t statistics, by the estimate's ``vcov``.
    """

    event_time: FloatArray
    reference: int
    effect: FloatArray
    covariance: FloatArray
    n_pre: int
    left_out: tuple[str, ...] = ()
    degrees: FloatArray | float = np.inf

    def qualified(self, verdict: str) -> str:
        """Return a verdict, one sentence, that says which event times are left out."""
        return "; ".join([verdict.removesuffix("."), *self.left_out]) + "."

    @property
    def n_post(self) -> int:
        """Number of event times after the reference."""
        return len(self.effect) - self.n_pre


def event_path(
    fit: Estimate, who: str, *, before: int | None = None, after: int | None = None, needs_pre: int = 1
) -> EventPath:
    """Return an estimate's effects by event time around treatment.

    Parameters
    ----------
    fit : Estimate
    who : str
        Name of the diagnostic, for its errors.
    before : int, optional
        Number of event times before the reference; by default as many as there are after it, or as there are.
    after : int, optional
        Last event time; by default the question's horizon, or the last that is estimated.
    needs_pre : int
        Least number of event times before the reference.

    Raises
    ------
    QuestionError
        If the estimate is a coefficient, has another base than the universal one or not the same before and after
        treatment (Roth 2024), divides by another amount of treatment at each event time, has too few event times before
        or none after treatment, a gap between event times, one cluster, or a singular covariance.
    """
    if not fit.estimand.has_path:
        raise QuestionError(
            f"{who}: {fit.design} has one {fit.estimand} and no effects by event time; use event_study, which has."
        )
    if fit.sample.question.base != "universal":
        raise QuestionError(
            f'{who}: effects before treatment have base="varying"; ask the question with base="universal".'
        )
    if fit.against == "all_before":
        raise QuestionError(
            f"{who}: {fit.design} compares periods after treatment with all periods before it, but those before with "
            "the last of them only, so that a violation of parallel trends does not shift both alike; use a design "
            "with one base, such as callaway_santanna, sun_abraham or event_study."
        )
    if fit.options.get("normalized"):
        raise QuestionError(
            f"{who}: {fit.design} divides the effect at each event time by another amount of treatment, so that a "
            "violation of parallel trends has no unit common to all; use normalized=False."
        )
    if fit.n_clusters < 2:
        raise QuestionError(f"{who}: there is one cluster, so no sampling variance can be estimated.")
    path, sample = fit.by_event_time, fit.sample
    question = sample.question
    reference, last = question.reference, question.last if after is None else after
    varies = np.isfinite(path.level_scores)
    usable = np.sort(path.event_time[varies])
    post, pre = usable[usable > reference], usable[usable < reference][::-1]
    post = post[post == reference + 1 + np.arange(len(post))]
    post = post[post <= last]
    if not len(post):
        raise QuestionError(f"{who}: {fit.design} has no effect at event time {reference + 1} that varies.")
    wanted = len(post) if before is None else max(before, 0)
    pre = pre[pre == reference - 1 - np.arange(len(pre))][:wanted]
    if len(pre) < needs_pre:
        raise QuestionError(
            f"{who}: {fit.design} has {counted(len(pre), 'event time')} before the reference {reference} and it takes "
            f"{needs_pre}; the panel has to start earlier, or the design has to estimate leads."
        )
    times = np.sort(path.event_time)
    late = times[(times > post[-1]) & (times <= last)]
    early = times[(times < reference - len(pre)) & (times >= reference - wanted)]
    ends = ((early, reference - len(pre) - 1), (late, post[-1] + 1))
    one_cluster = path.event_time[path.on_one_cluster]
    left_out = tuple(_left_out(lost, end, one_cluster) for lost, end in ends if len(lost))
    chosen = path.select(varies & np.isin(path.event_time, [*pre, *post]))
    order = np.argsort(chosen.event_time)
    effect, influence = _over_headline_mean(fit, chosen, who)
    degrees = chosen.degrees_of_freedom
    if fit.vcov == "jackknife" and fit.joint:  # shares of one mean have others than shares of several
        degrees = degrees_of_freedom(influence, chosen.sides)
    cov = influence.products(sample.cluster, sample.copies)[np.ix_(order, order)] / sample.n_rows**2
    rank = int(np.sum(scaled_directions(cov, np.diag(cov))[1] > 1e-10 * len(cov)))
    if rank < len(cov):
        raise QuestionError(
            f"{who}: the covariance of the {len(cov)} event times has rank {rank}, because fewer treated clusters than "
            "event times carry it; take fewer event times with before= and after=."
        )
    times, effect = chosen.event_time[order], effect[order]
    return EventPath(times, reference, effect, cov, len(pre), left_out, degrees[order])


def _left_out(lost: FloatArray, end: float, one_cluster: FloatArray) -> str:
    """Say which event times are lost, in ascending order, since the path breaks off at one of them."""
    why = "rests on one cluster" if end in one_cluster else "has no standard error"
    why = why if end in lost else "has no estimate"
    if len(lost) == 1 and end in lost:
        return f"event time {end:g} {why} and is left out"
    return f"event times {lost[0]:g} to {lost[-1]:g} are left out, since event time {end:g} {why}"


def of_one_mean(question: Question) -> list[str]:
    """Say what effects of a path are shares of, where they are shares."""
    return [
        "Effects before and after the event are here divided by one mean, that of the average effect; in an event "
        "study each is divided by the counterfactual mean at its own event time."
    ] * (question.scale == "proportional")


def _over_headline_mean(fit: Estimate, path: Estimate, who: str) -> tuple[FloatArray, Influence]:
    """Return effects with their influence, in levels over the headline's untreated mean if they are shares."""
    if fit.sample.question.scale != "proportional":
        return path.effect_level, path.level_errors
    average = fit.headline
    mean = np.nan if average.untreated_mean is None else float(average.untreated_mean[0])
    if average.untreated_errors is None or not mean > 0:
        raise QuestionError(
            f'{who}: the counterfactual mean is not positive, so effects have no share of it; ask with scale="level".'
        )
    effect = path.effect_level / mean
    of_mean = average.untreated_errors @ (effect / mean)[None, :]
    return effect, path.level_errors.scaled(np.full(len(effect), 1 / mean)) - of_mean
