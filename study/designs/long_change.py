"""One row a unit: its change between the ends of the window, and whether it was treated in between."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from study.core import FloatArray, IntArray, QuestionError, counted
from study.estimates import Estimand, Estimate, coefficients
from study.learners import Averaged, Folds, Nuisance, Nuisances, Part, of_predictions
from study.panel import Sample


@dataclass(frozen=True, eq=False)
class LongChange:
    """The cross-section of a panel's long differences.

    Attributes
    ----------
    unit : ndarray of int, shape (N,)
        Rows of the sample; units that are not seen in all periods of both ends are left out.
    change : ndarray, shape (N,)
        Mean outcome over the last periods less that over the first, on the scale of ``sample.y``.
    at_end : ndarray, shape (N,)
        The mean over the last periods.
    treated : ndarray, shape (N,)
        1 for units treated (less the anticipation) by the last period, else 0.
    x : ndarray, shape (N, p)
        Baseline covariates.
    notes : tuple of str
        Who was left out.
    window : str
        "the change from 2013 to 2024", for example.
    """

    unit: IntArray
    change: FloatArray
    at_end: FloatArray
    treated: FloatArray
    x: FloatArray
    notes: tuple[str, ...]
    window: str

    def nuisances(
        self, functions: Mapping[str, Nuisance], folds: Folds, seed: int, limits: tuple[float, float]
    ) -> Nuisances:
        """Return the nuisance functions that are learned on the rows, of which m is that of treatment."""
        part = Part(self.unit, self.x, np.zeros(len(self.unit), dtype=np.int64), functions, folds, seed)
        return Nuisances((part,), "m", layout=self, without="the mean", limits=limits)

    def fitted(self, model: Any, predictions: Mapping[str, FloatArray], z: Any = None, **options: Any) -> Any:
        """Return a doubleml model of the change from predictions, as :func:`study.learners.of_predictions` does.

        The change, and g and l that predict it, are less its mean: doubleml refuses or warns of predictions of an
        outcome of 0 and 1, which it then is not. There are no covariates, since all is predicted.
        """
        from doubleml import DoubleMLData

        mean, nothing = self.change.mean(), np.zeros((len(self.change), 1))
        data = DoubleMLData.from_arrays(nothing, self.change - mean, self.treated, z)
        given = {name: p - mean if name[0] in "gl" else p for name, p in predictions.items()}
        return of_predictions(model, data, given, **options)

    def effect(
        self, sample: Sample, name: str, average: Averaged, notes: tuple[str, ...], **fields: Any
    ) -> Estimate:
        """Return the effect on the change as an estimate of one term; ``notes`` are the design's own."""
        return coefficients(
            sample,
            (f"{name} on {self.window}",),
            average.coefficient,
            average.influence,
            n_obs=len(self.unit),
            estimand=Estimand.LONG_CHANGE,
            of_draw=average.of_draw[None],
            clusters=len(np.unique(sample.cluster[self.unit])),
            notes=(*self.notes, *notes, *average.notes(sample)),
            **fields,
        )


def long_change(sample: Sample, before: int, after: int, who: str) -> LongChange:
    """Return the change from the first ``before`` to the last ``after`` periods, with who was treated.

    Raises
    ------
    QuestionError
        If treatment is not absorbing, the two ends overlap, a unit is treated in the first periods, or the outcome
        changes alike for all.
    """
    if sample.first_treated is None:
        raise QuestionError(
            f"{who}: {sample.question.event} is not absorbing, so a unit has no one state of having been treated; use "
            "dml_panel or twfe."
        )
    if after < 1:  # as all who take before refuse less than 1
        raise QuestionError(f"{who}: after is {after}; it must be a whole number, at least 1.")
    periods = sample.periods
    start = sample.first_treated - sample.question.anticipation
    free = int(np.nanmin(np.append(start, periods[-1] + 1)) - periods[0])
    if before > min(free, len(periods) - after):
        raise QuestionError(
            f"{who}: before={before} and after={after} do not fit: of the {len(periods)} periods the first {free} "
            "are without treatment, and the two ends must not overlap; take fewer."
        )
    ends = sample.y[:, :before], sample.y[:, -after:]
    # In all of their periods: means over different ones would leave effects of periods in the change.
    unit = np.flatnonzero(~np.isnan(np.hstack(ends)).any(axis=1))
    level = ends[0][unit, 0]
    at_start, at_end = ((end[unit] - level[:, None]).mean(axis=1) for end in ends)
    change = at_end - at_start
    if len(unit) > 1 and not np.ptp(change) > 0:
        raise QuestionError(
            f"{who}: {sample.question.outcome} changes alike for all {len(unit)} units that are seen at both ends of "
            "the window, so there is nothing to explain; name another outcome or window."
        )
    left_out = sample.n_units - len(unit)
    note = f"{counted(left_out, 'unit')} left out: not seen throughout both ends of the window"
    first, last = (
        "-".join(dict.fromkeys(map(sample.period_name, end[[0, -1]])))
        for end in (periods[:before], periods[-after:])
    )
    return LongChange(
        unit,
        change,
        at_end + level,
        (start[unit] <= periods[-1]).astype(float),
        sample.x_baseline[unit],
        (note,) if left_out else (),
        f"the change from {first} to {last}",
    )
