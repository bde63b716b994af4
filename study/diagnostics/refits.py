"""What diagnostics have in common: headlines on changed samples, and whether effects beyond a bound are excluded."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from scipy import special

from study.core import BoolArray, FloatArray, QuestionError, p_is, quantile, tell, telling, two_sided_p
from study.designs import find_design
from study.estimates import SIZE, Effect, Estimate
from study.figures import Axes, Figure, dot_figure
from study.panel import Sample, Scale

Headlines = Mapping[str, Callable[[], Estimate]]


@dataclass(frozen=True)
class Refits:
    """Headlines on changed samples, and why some samples have none.

    Attributes
    ----------
    rows : tuple of Effect
    refused : tuple of (str, str)
        Label and reason of each sample that has no headline.
    fits : dict of str to Estimate
        The headlines by label, where they are kept.
    """

    rows: tuple[Effect, ...]
    refused: tuple[tuple[str, str], ...]
    fits: dict[str, Estimate] = field(default_factory=dict)

    @classmethod
    def of(cls, headlines: Headlines, level: float, *, keep: bool = False) -> Refits:
        """Make headlines one by one, keep the estimates where that is asked, and note each refusal.

        The progress of ``study.settings`` is told the label of each once it is made or refused.
        """
        rows, refused, fits = [], [], {}
        for label, make in headlines.items():
            try:
                with telling(label):
                    fit = make()
                rows.append(Effect.of(label, fit, level))
                if keep:
                    fits[label] = fit
            except QuestionError as error:
                refused.append((label, str(error)))
            tell(label)
        return cls(tuple(rows), tuple(refused), fits)

    def refuse_none(self, who: str) -> None:
        """Raise the reasons where no sample has a headline."""
        if not self.rows:
            reasons = "; ".join(f"{label}: {reason}" for label, reason in self.refused)
            raise QuestionError(f"{who}: no changed sample has an estimate. {reasons}")

    @property
    def refusals(self) -> tuple[str, ...]:
        """The refusals as sentences."""
        return tuple(f"Without an estimate: {label}, because {reason}" for label, reason in self.refused)


def refit(
    samples: Mapping[str, Callable[[], Sample]],
    design: str,
    options: Mapping[str, Any],
    level: float,
    *,
    keep: bool = False,
    varies: bool = True,
) -> Refits:
    """Return the headlines of one design on changed samples, each made when its turn comes."""

    def on(make: Callable[[], Sample]) -> Estimate:
        return headline(make(), design, options, varies=varies)

    headlines = {label: partial(on, make) for label, make in samples.items()}
    return Refits.of(headlines, level, keep=keep)


def headline(sample: Sample, design: str, options: Mapping[str, Any], *, varies: bool = True) -> Estimate:
    """Return a design's headline, one term.

    Raises
    ------
    QuestionError
        If the design refuses the sample, or the headline is not defined, or its standard error where it has to vary.
    """
    fit = find_design(design)(sample, **options).headline
    if not np.isfinite(fit.effect[0]):
        raise QuestionError(f"{design}: the headline is not defined, for its untreated mean is not positive.")
    if varies and not fit.varies[0]:
        raise QuestionError(f"{design}: the headline has no sampling variance here; use study.randomization.")
    return fit


def with_error(effect: Effect, estimate: float, std_error: float, degrees: float, level: float) -> Effect:
    """Return an effect of the same label and units, with another estimate and its t test and interval."""
    half = quantile((1 + level) / 2, degrees) * std_error
    return replace(
        effect,
        estimate=estimate,
        std_error=std_error,
        p_value=float(two_sided_p(estimate / std_error, degrees)),
        conf_low=estimate - half,
        conf_high=estimate + half,
        degrees=degrees,
    )


def dots(
    scale: Scale, level: float, labels: pd.Series, xlabel: str = "", **drawing: Any
) -> Callable[..., Figure]:
    """Return the chart of the rows of a frame of effects on a scale that have labels, in the order of the labels.

    See :func:`study.figures.dot_figure` for what else can be said of the drawing.
    """
    axis = xlabel or scale.axis()
    return partial(_dots, labels=labels, xlabel=axis, percent=scale.percent, level=level, **drawing)


def _dots(frame: pd.DataFrame, ax: Axes | None, labels: pd.Series, **drawing: Any) -> Figure:
    return dot_figure(frame.loc[labels.index].assign(label=labels), ax, **drawing)


def event_dates(sample: Sample, who: str) -> FloatArray:
    """Return the first treated periods, shape (n,), or refuse an event that is not absorbing."""
    if sample.first_treated is None:
        raise QuestionError(
            f"{who}: {sample.question.event} is not absorbing, so units have no one date; ask about an absorbing event."
        )
    return sample.first_treated


def refuse_group(who: str, sample: Sample) -> None:
    """Refuse a third difference, of which units that treatment is not for are neither treated nor a comparison."""
    if sample.group is not None:
        raise QuestionError(
            f"{who}: it compares treated with untreated units and takes no account of the group "
            f"{sample.question.group}; ask the question without group, of the population {sample.question.group}."
        )


def refuse_no_coefficients(who: str, sample: Sample, design: str) -> None:
    """Refuse an event that is not absorbing, or a sample on which a two-way design has no coefficients."""
    event_dates(sample, who)
    refusal = find_design(design).refusal(sample)
    if refusal is not None:
        raise QuestionError(f"{who}: there is no coefficient of {design} to take apart. {refusal}")


def redated(sample: Sample, first: FloatArray, **changes: Any) -> Sample:
    """Return the sample under other event dates.

    Units without a period before their date, without an observed outcome, or in a cohort below the question's
    smallest are left out.

    Parameters
    ----------
    sample : Sample
    first : ndarray, shape (n,)
        First treated period, NaN = never.
    **changes
        Another outcome ``y``, shape (n, T), or another ``question``.

    Raises
    ------
    QuestionError
        If no treated or no comparison unit is left.
    """
    moved = replace(sample, first_treated=first, **changes)
    early = np.asarray(first - moved.question.anticipation <= moved.periods[0])
    moved = _without(moved, early, "no period before the moved date")
    moved = _without(moved, ~np.any(moved.observed, axis=1), "no outcome is observed")
    dates, least = event_dates(moved, "sample"), moved.question.min_cohort_size
    small = [g for g in moved.cohorts if np.sum(dates == g) < least]
    return _without(moved, np.isin(dates, small), "in a cohort below min_cohort_size after dates moved")


def _without(sample: Sample, out: BoolArray, reason: str) -> Sample:
    return sample.only(~out, reason) if out.any() else sample


def equivalence_p(estimate: ArrayLike, std_error: ArrayLike, bound: float, degrees: ArrayLike) -> FloatArray:
    """Return p-values of the hypothesis that an effect is at or beyond a bound, on either side, shape (K,).

    The larger of two one-sided t tests (Schuirmann 1987; Hartman and Hidalgo 2018).
    """
    nearest = (bound - np.abs(np.asarray(estimate))) / np.asarray(std_error)
    return np.asarray(special.stdtr(np.minimum(degrees, 1e300), -nearest))


def excluded(p_value: float, what: str, bound: float, scale: Scale) -> str:
    """Say whether an effect at or beyond a bound is excluded at 5%, with the p-value of the equivalence test."""
    excludes = "is excluded" if p_value < SIZE else "is not excluded"
    return f"{what} of {scale.text(bound)} or more either way {excludes} (equivalence test, {p_is(p_value)})"


def at_each(rows: Sequence[Effect], bound: float, scale: Scale, what: str) -> tuple[FloatArray, str]:
    """Return the p-values of the equivalence tests of effects, shape (K,), and say what all of them exclude."""
    estimate, error, degrees = np.array([(row.estimate, row.std_error, row.degrees) for row in rows]).T
    p_values = equivalence_p(estimate, error, bound, degrees)
    largest = float(np.nanmax(p_values))  # some may have no standard error
    every = "every" if largest < SIZE else "some"
    return p_values, f"At {every} {what} {excluded(largest, 'an effect', bound, scale)}."
