"""The answer of each line for each outcome."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from study.core import FloatArray, one_thread
from study.panel import Panel
from study.paper.fields import exact
from study.paper.fields.cells import Cells, cells_of, regression_contrasts, synthetic_contrasts
from study.paper.fields.plan import FieldsPlan, Line

POINTS = 100.0
Answers = Mapping[tuple[str, str], "Answer"]


@dataclass(frozen=True, eq=False)
class Answer:
    """One line's estimate for one outcome, in percentage points.

    Attributes
    ----------
    line : Line
    outcome : str
    cells : Cells
    estimates : ndarray, shape (m,)
        Under every assignment, the actual one first.
    p_value : float
    interval : Interval
        All effects that the test does not reject.
    detectable : float
        Minimum detectable effect; NaN where there is none.
    contrast : ndarray, shape (n, T)
        The weight of each cell in the estimate.
    """

    line: Line
    outcome: str
    cells: Cells
    estimates: FloatArray
    p_value: float
    interval: exact.Interval
    detectable: float
    contrast: FloatArray

    @property
    def estimate(self) -> float:
        """Under the actual assignment."""
        return float(self.estimates[0])

    def rejects(self, plan: FieldsPlan) -> bool:
        """Whether no change is rejected at the plan's level."""
        return bool(exact.rejected(self.p_value, 1 - plan.level))

    @property
    def smallest_p(self) -> float:
        """The smallest p-value that is possible: swapped venues have a mirror image of every assignment."""
        return (2 if self.line.permuted == "within_venue" else 1) / len(self.estimates)

    @property
    def unit(self) -> str:
        """What the estimate is measured in."""
        is_dose = self.line.permuted == "doses"
        return "points for an order of magnitude a year" if is_dose else "percentage points"

    @property
    def values(self) -> dict[str, float]:
        """The estimate and its exact inference, by column."""
        return {
            "estimate": self.estimate,
            "size": abs(self.estimate),
            "p_value": self.p_value,
            "conf_low": self.interval.low,
            "conf_high": self.interval.high,
            "mde": self.detectable,
        }

    @property
    def counts(self) -> dict[str, float]:
        """What the line compares, by column; of doses all fields count as treated."""
        cells = self.cells
        treated = cells.treated | (self.line.permuted == "doses")
        return {
            "assignments": len(self.estimates),
            "smallest_p": self.smallest_p,
            "n_venues": len(np.unique(cells.venues)),
            "n_treated": int(treated.sum()),
            "n_comparison": int((~treated).sum()),
            "papers": int(cells.papers.sum()),
            "papers_before": int((cells.papers * ~cells.after)[treated].sum()),
            "papers_before_event": int(cells.papers[treated][:, cells.years <= cells.event_year].sum()),
            "n_late": int((cells.papers[treated][:, cells.years <= cells.event_year].sum(axis=1) == 0).sum()),
            "event_year": cells.event_year,
            "base_end": self.line.last_before or np.nan,
            "first_year": int(cells.years[0]),
            "last_year": int(cells.years[-1]),
        }

    @property
    def weight(self) -> FloatArray:
        """How much of a constant effect each field carries into the estimate, shape (n,); they add up to one."""
        carried: FloatArray = (self.contrast * self.cells.treatment(self.cells.assigned)).sum(axis=1)
        return carried


def outcomes_of(panel: Panel, cells: Cells, outcome: str) -> FloatArray:
    """Return an outcome of the line's fields in percentage points, shape (n, T); zero in cells that are not used."""
    rows = np.searchsorted(panel.units, cells.fields)
    columns = np.searchsorted(panel.periods, cells.years)
    share = panel.outcomes[outcome][np.ix_(rows, columns)]
    return np.where(cells.used, POINTS * share, 0.0)


def answer(panel: Panel, line: Line, outcome: str, plan: FieldsPlan) -> Answer:
    """Answer one line for one outcome."""
    with one_thread():
        cells = cells_of(panel, line, plan)
        y, permuted = outcomes_of(panel, cells, outcome), exact.assignments(cells, line.permuted)
        actual = cells.treatment(permuted[0])

        def contrasts(tau: float) -> FloatArray:
            """Return the contrasts of each assignment, of synthetic comparisons for outcomes freed of an effect."""
            if line.method == "regression":
                return regression_contrasts(cells, permuted)
            return synthetic_contrasts(cells, y - tau * actual, permuted, line.method)

        observed = contrasts(0.0)
        estimates = _sums(observed, y)
        estimate = float(estimates[0])
        if line.method == "synthetic_did":
            freed = contrasts(estimate)  # the minimum detectable effect holds the weights at these
            interval = exact.searched_set(
                lambda tau: _sums(contrasts(tau), y - tau * actual), estimate, plan.level
            )
        else:  # weights of synthetic control rest on the base years, in which there is no effect
            freed, interval = observed, exact.linear_set(estimates, _sums(observed, actual), plan.level)
        mde = exact.detectable(_sums(freed, y - estimate * actual), _sums(freed, cells.treatment(permuted)))
    p_value = float(exact.p_value(estimates))
    return Answer(line, outcome, cells, estimates, p_value, interval, mde, observed[0])


def of_outcome(plan: FieldsPlan, results: Answers) -> dict[str, Answer]:
    """Return the answers for the first outcome, by label of the line."""
    return {line.label: results[line.label, plan.outcome] for line in plan.lines}


def answers(panels: Mapping[str, Panel], plan: FieldsPlan) -> dict[tuple[str, str], Answer]:
    """Answer all lines for all outcomes, by label and outcome; panels by name."""
    return {
        (line.label, outcome): answer(panels[line.panel], line, outcome, plan)
        for line in plan.lines
        for outcome in plan.outcomes
    }


def _sums(contrasts: FloatArray, y: FloatArray) -> FloatArray:
    """Return each contrast of outcomes, shape (m,), or of several, shape (m, b) for y of shape (b, n, T)."""
    flat = contrasts.reshape(len(contrasts), -1)
    return flat @ y.reshape(-1) if y.ndim == 2 else flat @ y.reshape(len(y), -1).T
