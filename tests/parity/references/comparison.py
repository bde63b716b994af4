"""A reference run beside our answer to it: the numbers of both, and how far apart they are."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cache
from typing import Any, NamedTuple

import goldens
import numpy as np
from goldens import distance
from numpy.typing import NDArray

from study import Estimate, Question, estimate
from study.estimates.vcov.names import VcovName

Numbers = dict[Any, tuple[float, float]]


class Row(NamedTuple):
    """One number: the term, our estimate and standard error, theirs; NaN where there is no standard error."""

    term: Any
    ours: float
    our_error: float
    theirs: float
    their_error: float


@dataclass(frozen=True)
class Comparison:
    """Our answer beside a run.

    Attributes
    ----------
    rows : tuple of Row
    counts : dict of str to (ours, theirs)
        Whole numbers that have to be the same.
    digits : dict of str to float
        Other numbers: their difference as a share of what the printed digits allow, at most one.
    """

    rows: tuple[Row, ...]
    counts: dict[str, tuple[int, int]] = field(default_factory=dict)
    digits: dict[str, float] = field(default_factory=dict)

    @property
    def estimates(self) -> float:
        """The largest |ours - theirs| / max(|theirs|, their standard error)."""
        rows = np.array([row[1:] for row in self.rows]).reshape(-1, 4)
        return distance(rows[:, 0], rows[:, 2], rows[:, 3])

    @property
    def has_errors(self) -> bool:
        """Whether the run reports a standard error."""
        return any(not np.isnan(row.their_error) for row in self.rows)

    @property
    def std_errors(self) -> float:
        """The largest |ours - theirs| / theirs."""
        rows = np.array([row[1:] for row in self.rows]).reshape(-1, 4)
        both = rows[~np.isnan(rows[:, 3])]
        return distance(both[:, 1], both[:, 3], 0.0)


def matched(ours: Numbers, theirs: Iterable[dict[str, Any]], term: str = "term") -> tuple[Row, ...]:
    """Put our numbers beside theirs by term; a term that they have and we do not is an error."""
    rows = []
    for reported in theirs:
        value, error = reported["estimate"], reported.get("se")
        if value is None:
            continue
        ours_here = ours[reported[term]]
        error = np.nan if error is None else error
        assert np.isnan(error) == np.isnan(ours_here[1]), reported
        rows.append(Row(reported[term], *ours_here, value, error))
    assert rows, "no term of the run is compared"
    return tuple(rows)


def numbers(fit: Estimate, names: Iterable[Any], errors: NDArray[np.float64] | None = None) -> Numbers:
    """Return estimates and standard errors by the reference's names of our terms."""
    errors = fit.std_error if errors is None else errors
    return dict(zip(names, zip(fit.effect, errors, strict=True), strict=True))


def errors_under(fit: Estimate, vcov: VcovName) -> NDArray[np.float64]:
    """Return standard errors by a covariance estimator, NaN for reference terms."""
    return np.where(fit.reference, np.nan, np.sqrt(np.diag(fit.covariance(vcov))))


def covariance(influence: NDArray[np.float64], cluster: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return sum over clusters of s s' / n^2 from the influence by unit."""
    sums = np.zeros((cluster.max() + 1, influence.shape[1]))
    np.add.at(sums, cluster, influence)
    return sums.T @ sums / len(influence) ** 2


@cache
def _fit(panel: str, unit: str, question: Question, design: str, options: tuple[Any, ...]) -> Estimate:
    made = estimate(goldens.panel(panel, unit), question, design, **dict(options))
    return made.with_vcov(made.published)


def fit(panel: str, question: Question, design: str, *, unit: str = "unit", **options: Any) -> Estimate:
    """Answer a question about a reference panel under the design's published standard errors, once for all runs."""
    return _fit(panel, unit, question, design, tuple(sorted(options.items())))
