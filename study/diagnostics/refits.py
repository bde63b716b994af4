"""The headline of one design on changed samples: what the diagnostics that refit have in common."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from study.core import FloatArray, QuestionError
from study.designs import find_design
from study.estimates import Effect, Estimate
from study.panel import Question, Sample

Progress = Callable[[], None] | None
Samples = Mapping[str, Callable[[], Sample]]


@dataclass(frozen=True)
class Refits:
    """Headlines on changed samples, and why some samples have none.

    Attributes
    ----------
    rows : tuple of Effect
    refused : tuple of (str, str)
        Label and reason of each sample that has no headline.
    """

    rows: tuple[Effect, ...]
    refused: tuple[tuple[str, str], ...]

    @classmethod
    def of(cls, answers: Iterable[tuple[str, Estimate | str]], level: float) -> Refits:
        """Read the rows of answers one by one, without keeping the estimates."""
        rows, refused = [], []
        for label, answer in answers:
            if isinstance(answer, str):
                refused.append((label, answer))
            else:
                rows.append(Effect.of(label, answer, level))
        return cls(tuple(rows), tuple(refused))

    @property
    def estimates(self) -> FloatArray:
        """Estimates, shape (K,)."""
        return np.array([row.estimate for row in self.rows])

    def refuse_none(self, who: str) -> None:
        """Raise the reasons where no sample has a headline."""
        if not self.rows:
            reasons = "; ".join(f"{label}: {reason}" for label, reason in self.refused)
            raise QuestionError(f"{who}: no changed sample has an estimate. {reasons}")

    @property
    def refusals(self) -> tuple[str, ...]:
        """The refusals as sentences."""
        return tuple(f"Without an estimate: {label}, because {reason}" for label, reason in self.refused)


def headline(sample: Sample, design: str, options: Mapping[str, Any]) -> Estimate:
    """Return a design's headline, one term.

    Raises
    ------
    QuestionError
        If the design refuses the sample, or the headline or its standard error is not defined.
    """
    found = find_design(design)(sample, **options).headline
    if not np.isfinite(found.effect[0]):
        raise QuestionError(
            f"{design}: the headline is not defined on this sample, for its untreated mean is not positive."
        )
    if not found.varies[0]:
        raise QuestionError(f"{design}: the headline has no sampling variance on this sample.")
    return found


def answers(
    samples: Samples, design: str, options: Mapping[str, Any], progress: Progress = None
) -> Iterator[tuple[str, Estimate | str]]:
    """Yield the label of each changed sample with its headline, or with the reason why it has none."""
    return attempts({k: partial(_refit, make, design, options) for k, make in samples.items()}, progress)


def _refit(make: Callable[[], Sample], design: str, options: Mapping[str, Any]) -> Estimate:
    return headline(make(), design, options)


def attempts(
    estimates: Mapping[str, Callable[[], Estimate]], progress: Progress = None
) -> Iterator[tuple[str, Estimate | str]]:
    """Yield the label of each estimate with the estimate, or with the reason why there is none."""
    for label, make in estimates.items():
        try:
            answer: Estimate | str = make()
        except QuestionError as error:
            answer = str(error)
        yield label, answer
        if progress is not None:
            progress()


def with_interval(
    effect: Effect,
    estimate: float,
    std_error: float,
    p_value: float,
    half_width: float,
    degrees: float = math.inf,
) -> Effect:
    """Return an effect of the same label and units, with another estimate and a symmetric interval."""
    return replace(
        effect,
        estimate=estimate,
        std_error=std_error,
        p_value=p_value,
        conf_low=estimate - half_width,
        conf_high=estimate + half_width,
        degrees=degrees,
    )


def treated(sample: Sample) -> NDArray[np.bool_]:
    """Return which units are treated inside the sample's periods, shape (n,)."""
    return np.any(np.nan_to_num(sample.treatment) > 0, axis=1)


def event_dates(sample: Sample, who: str) -> FloatArray:
    """Return the first treated periods, shape (n,), or refuse an event that is not absorbing."""
    if sample.first_treated is None:
        raise QuestionError(
            f"{who}: {sample.question.event} is not absorbing, so it has no one date to move; ask about an event "
            "that stays."
        )
    return sample.first_treated


def refuse_no_coefficients(who: str, sample: Sample, design: str) -> None:
    """Refuse an event that is not absorbing, or a sample on which a two-way design has no coefficients."""
    if sample.first_treated is None:
        raise QuestionError(
            f"{who}: {sample.question.event} is not absorbing, so there are no cohorts and event times to weight; ask "
            "about an event that is absorbing."
        )
    refusal = find_design(design).refusal(sample)
    if refusal is not None:
        raise QuestionError(
            f"{who}: there is no coefficient of {design} to take apart; change what it cannot answer. {refusal}"
        )


def check(who: str, design: str, options: Mapping[str, Any], level: float) -> None:
    """Refuse an unknown design, an option it does not have, or a level outside (0, 1), before any work."""
    find_design(design).check_options(dict(options))
    if not 0 < level < 1:
        raise QuestionError(f"{who}: level is {level!r}; it must lie between 0 and 1, for example 0.95.")


def redated(
    sample: Sample, first: FloatArray, *, y: FloatArray | None = None, question: Question | None = None
) -> Sample:
    """Return the sample under other event dates.

    Units without a period before their date, without an observed outcome, or in a cohort below the question's
    smallest are left out.

    Parameters
    ----------
    sample : Sample
    first : ndarray, shape (n,)
        First treated period, NaN = never.
    y : ndarray, shape (n, T), optional
        Another outcome.
    question : Question, optional
        Another question.

    Raises
    ------
    QuestionError
        If no treated or no comparison unit is left.
    """
    moved = replace(
        sample,
        first_treated=first,
        y=sample.y if y is None else y,
        question=sample.question if question is None else question,
    )
    since = first - moved.question.anticipation
    moved = _kept(moved, ~np.asarray(since <= sample.periods[0]), "no period before the moved date")
    moved = _kept(moved, np.any(moved.observed, axis=1), "no outcome is observed")
    return _kept(moved, ~_in_small_cohort(moved), "in a cohort below min_cohort_size after dates moved")


def _kept(sample: Sample, keep: NDArray[np.bool_], reason: str) -> Sample:
    return sample if keep.all() else sample.only(keep, reason)


def _in_small_cohort(sample: Sample) -> NDArray[np.bool_]:
    least, first = sample.question.min_cohort_size, event_dates(sample, "sample")
    small = [g for g in sample.cohorts if least is not None and np.sum(first == g) < least]
    return np.isin(first, small)
