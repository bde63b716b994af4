"""From a question and a panel to a sample: who is in it, who is treated when, who was left out and why."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from study.core import BoolArray, FloatArray, IntArray, QuestionError, refuse_unknown
from study.panel.panel import Panel, interval_text
from study.panel.population import EVERYONE, population
from study.panel.question import FlowStep, Question, Sample

AMBIGUOUS = "adoption date ambiguous"


class _Selection:
    """Which units are kept, and the steps that took the others out."""

    def __init__(self, n_units: int) -> None:
        self.keep = np.ones(n_units, dtype=bool)
        self.steps: list[FlowStep] = []

    def drop(self, which: Any, reason: str) -> None:
        """Take out the units of a boolean array that are still kept, and count them."""
        out = which & self.keep
        if out.any():
            self.steps.append(FlowStep(reason, int(out.sum()), kept=False))
            self.keep[out] = False

    @property
    def text(self) -> str:
        """Who was taken out."""
        text = "; ".join(f"{step.units} units {step.reason}" for step in self.steps) or "it has none"
        if any(step.reason.startswith(AMBIGUOUS) for step in self.steps):
            text += "; fill in the treatment where it is empty, or build the panel with "
            text += 'ambiguous="earliest" or "latest"'
        return text


def draw_sample(question: Question, panel: Panel) -> Sample:
    """Apply a question to a panel; the rules are those of :meth:`Question.sample`."""
    _check(question, panel)
    periods, path = panel.periods, None
    if question.event in panel.first_treated:
        first_treated: FloatArray | None = panel.first_treated[question.event] + question.lag
    else:
        first_treated, path = None, panel.treatment[question.event]
    selection = _select(question, panel, first_treated)
    if first_treated is not None:
        first_treated = pool_cohorts(first_treated, periods, question.cohort_width)
        if question.min_cohort_size is not None:
            cohorts, sizes = np.unique(first_treated[selection.keep], return_counts=True)
            in_window = cohorts - question.anticipation <= periods[-1]
            small = np.isin(first_treated, cohorts[(sizes < question.min_cohort_size) & in_window])
            selection.drop(small, f"in a cohort of fewer than {question.min_cohort_size} units")
    rows = np.flatnonzero(selection.keep)
    if not len(rows):
        raise QuestionError(f"Question: no unit of {panel.name} is left: {selection.text}.")

    columns = np.ones(len(periods), dtype=bool)
    if first_treated is not None:
        first_treated = first_treated[rows]
        columns = _comparable_periods(question, first_treated, periods, panel.name)
        if not np.any(first_treated - question.anticipation <= periods[columns][-1]):
            because = f" ({selection.text})" if selection.steps else ""
            raise QuestionError(
                f"Question: nobody in {panel.name} is first treated by {question.event} inside "
                f"{_window(periods[columns])}{because}; choose another event, population or window."
            )
        selection.steps += _roles(question, first_treated, periods, columns)
    elif path is not None:
        ever = np.nansum(path[rows], axis=1) > 0
        if not ever.any():
            raise QuestionError(f"Question: nobody is treated by {question.event} in {_window(periods)}.")
        selection.steps += [
            FlowStep("treated in some period", int(ever.sum()), kept=True),
            FlowStep("never treated", int((~ever).sum()), kept=True),
        ]

    def chosen(block: FloatArray) -> FloatArray:
        return block if len(rows) == panel.n_units and columns.all() else block[np.ix_(rows, columns)]

    def baseline(name: str) -> FloatArray:
        return first_observed(panel.covariates[name])[rows]

    outcome, n = chosen(panel.outcomes[question.outcome]), len(rows)
    if question.scale == "log1p":
        outcome = _logarithm(question, outcome, panel.units[rows], periods[columns])
    weights = np.ones(n) if question.weights is None else baseline(question.weights)
    clusters = np.arange(n) if question.cluster is None else panel.attributes[question.cluster][rows]
    x_baseline = [baseline(name) for name in question.covariates]
    return Sample(
        question=question,
        y=outcome,
        first_treated=first_treated,
        path=None if path is None else chosen(path),
        x_baseline=np.column_stack(x_baseline) if x_baseline else np.empty((n, 0)),
        x_by_period=tuple(chosen(panel.covariates[name]) for name in question.covariates),
        weights=weights / weights.mean(),
        cluster=np.unique(clusters, return_inverse=True)[1].astype(np.int64),
        unit_ids=panel.units[rows],
        periods=periods[columns],
        flow=tuple(selection.steps),
        panel=panel,
        attributes={name: labels[rows] for name, labels in panel.attributes.items()},
        instrument=None if question.instrument is None else baseline(question.instrument),
    )


def _select(question: Question, panel: Panel, first_treated: FloatArray | None) -> _Selection:
    """Keep the units of the population that can be used at all."""
    outcome, first_period = panel.outcomes[question.outcome], panel.periods[0]
    selection = _Selection(panel.n_units)
    if question.population != EVERYONE:
        inside = population(question.population, panel)
        selection.drop(~inside, f"outside the population {question.population}")
    if panel.ambiguous_rule == "drop":
        intervals = panel.ambiguous.get(question.event, {})
        for earliest, latest in sorted(set(intervals.values())):
            members = [unit for unit, between in intervals.items() if between == (earliest, latest)]
            which = np.isin(panel.units, members)
            selection.drop(which, f"{AMBIGUOUS}, {interval_text(earliest, latest)}")
    if first_treated is not None:
        # A date in the first period may be a censored one, so no lag makes an event of it.
        dated = first_treated - max(question.lag, 0)
        already = np.minimum(first_treated - question.anticipation, dated) <= first_period
        early = f" (with {question.anticipation} periods of anticipation)" if question.anticipation else ""
        selection.drop(already, f"already treated in {first_period}{early}")
        if question.comparison == "never_treated":
            late = first_treated - question.anticipation > panel.periods[-1]
            selection.drop(late, f"first treated after {panel.periods[-1]}, so not never treated")
    selection.drop(np.isnan(outcome).all(axis=1), f"{question.outcome} is never observed")
    if question.missing == "balanced":
        selection.drop(np.isnan(outcome).any(axis=1), f"{question.outcome} is missing in some period")
    for kind, name in (
        *(("covariate", name) for name in question.covariates),
        ("instrument", question.instrument),
    ):
        if name is not None:
            selection.drop(np.isnan(panel.covariates[name]).all(axis=1), f"{kind} {name} is never observed")
    if question.weights is not None:
        positive = first_observed(panel.covariates[question.weights]) > 0
        selection.drop(~positive, f"weight {question.weights} is not positive")
    return selection


def _logarithm(question: Question, outcome: FloatArray, units: NDArray[Any], periods: IntArray) -> FloatArray:
    """Return log(1 + outcome)."""
    bad = np.argwhere(outcome <= -1)
    if bad.size:
        i, t = bad[0]
        raise QuestionError(
            f"Question: scale log1p needs outcomes above -1, but {question.outcome} is {outcome[i, t]:g} "
            f'for ({units[i]}, {periods[t]}); use scale="level".'
        )
    return np.log1p(outcome)


def first_observed(block: FloatArray) -> FloatArray:
    """Return each row's first value that is not NaN, shape (n,)."""
    seen = ~np.isnan(block)
    return np.where(seen.any(axis=1), block[np.arange(len(block)), seen.argmax(axis=1)], np.nan)


def pool_cohorts(first_treated: FloatArray, periods: IntArray, width: int) -> FloatArray:
    """Date each unit treated in the window by the first period of its adoption window.

    Adoption windows start at the second period, the first in which a unit with a base period can be
    treated; a date after the last period stays what it is.
    """
    start = periods[0] + 1
    pooled = start + np.floor((first_treated - start) / width) * width
    return np.where(first_treated <= periods[-1], pooled, first_treated)


def _check(question: Question, panel: Panel) -> None:
    """Refuse names that the panel does not have, and numbers of periods that are more than it has."""
    where, last = f"Question about {panel.name}", len(panel.periods) - 1
    columns = (*question.covariates, question.weights, question.instrument)
    refuse_unknown("outcome", question.outcome, panel.outcomes, where)
    refuse_unknown("event", question.event, panel.events, where)
    refuse_unknown("covariate", [name for name in columns if name is not None], panel.covariates, where)
    refuse_unknown("attribute", () if question.cluster is None else question.cluster, panel.attributes, where)
    window = f"the window of {last + 1} periods, {_window(panel.periods)}"
    for name, value in (("lag", question.lag), ("anticipation", question.anticipation)):
        if abs(value) > last:
            raise QuestionError(
                f"Question: {name} is {value}, which is out of {window}; it can be at most "
                f"{last}{' either way' if name == 'lag' else ''}."
            )
    # The first that can be treated, with a period before it to compare with, are treated in the second period.
    latest = max(last - 1, 0)
    if question.horizon is not None and question.horizon > latest:
        raise QuestionError(
            f"Question: horizon is {question.horizon}, but the last event time in {window}, is {latest}; lower it."
        )
    if question.event not in panel.first_treated and (question.lag or question.anticipation):
        raise QuestionError(
            f"Question: {question.event} is not absorbing, so lag and anticipation have no date to move; "
            "set both to 0 or shift the treatment column."
        )


def _comparable_periods(
    question: Question, first_treated: FloatArray, periods: IntArray, name: str
) -> BoolArray:
    """Return which periods keep a comparison unit; refuse where none does."""
    if np.isnan(first_treated).any():
        return np.ones(len(periods), dtype=bool)
    if question.comparison == "never_treated":
        raise QuestionError(
            f"Question: no unit of {name} is never treated by {question.event}; "
            'use comparison="not_yet_treated".'
        )
    untreated = periods < first_treated.max() - question.anticipation
    if not untreated.all() and len(np.unique(first_treated)) == 1:
        raise QuestionError(
            f"Question: all units of {name} are treated by {question.event} at once, so there is no "
            "comparison group."
        )
    return untreated


def _roles(
    question: Question, first_treated: FloatArray, periods: IntArray, columns: BoolArray
) -> list[FlowStep]:
    """Return the kept units by role, and the periods that had to be cut."""
    last = periods[columns][-1] + question.anticipation
    dates, units = np.unique(first_treated, return_counts=True)
    roles = [
        FlowStep(f"first treated in {date:g}", int(number), kept=True)
        for date, number in zip(dates[dates <= last], units[dates <= last], strict=True)
    ]
    later, never = int((first_treated > last).sum()), int(np.isnan(first_treated).sum())
    if later:
        roles.append(FlowStep(f"first treated after {last}", later, kept=True))
    if never:
        roles.append(FlowStep("never treated", never, kept=True))
    if not columns.all():
        cut = f"{int((~columns).sum())} periods cut, no comparison left from {periods[~columns][0]}"
        roles.append(FlowStep(cut, 0, kept=False))
    return roles


def _window(periods: IntArray) -> str:
    return f"{periods[0]}-{periods[-1]}"
