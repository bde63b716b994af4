"""From a question and a panel to a sample: who is in it, who is treated when, who was left out and why."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from study.core import FloatArray, QuestionError, refuse_unknown
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


def draw_sample(question: Question, panel: Panel) -> Sample:
    """Apply a question to a panel; the rules are those of :meth:`Question.sample`."""
    _check_names(question, panel)
    _check_periods(question, panel)
    periods = panel.periods
    first_treated, path = _treatment(question, panel)
    selection = _select(question, panel, first_treated)
    if first_treated is not None:
        first_treated = pool_cohorts(first_treated, periods, question.cohort_width)
        _drop_small_cohorts(selection, question, first_treated, periods)
    keep, flow = selection.keep, selection.steps
    if not keep.any():
        raise QuestionError(f"Question: no unit of {panel.name} is left: {_told(flow)}.")

    columns = np.ones(len(periods), dtype=bool)
    if first_treated is not None:
        columns = _comparable_periods(question, first_treated[keep], periods, panel.name)
        _check_treated(question, first_treated[keep], periods[columns], panel.name, flow)
        flow += _roles(question, first_treated[keep], periods, columns)
    else:
        assert path is not None
        flow += _switching_roles(question, path[keep], periods)

    rows = np.flatnonzero(keep)

    def chosen(block: FloatArray) -> FloatArray:
        return block if keep.all() and columns.all() else block[np.ix_(rows, columns)]

    baseline = [first_observed(panel.covariates[name])[rows] for name in question.covariates]
    return Sample(
        question=question,
        y=_scaled(question, chosen(panel.outcomes[question.outcome]), panel.units[rows], periods[columns]),
        first_treated=None if first_treated is None else first_treated[rows],
        path=None if path is None else chosen(path),
        x_baseline=np.column_stack(baseline) if baseline else np.empty((len(rows), 0)),
        x_by_period=tuple(chosen(panel.covariates[name]) for name in question.covariates),
        weights=_weights(question, panel, rows),
        cluster=_clusters(question, panel, rows),
        unit_ids=panel.units[rows],
        periods=periods[columns],
        flow=tuple(flow),
        panel=panel,
        attributes={name: labels[rows] for name, labels in panel.attributes.items()},
        instrument=None
        if question.instrument is None
        else first_observed(panel.covariates[question.instrument])[rows],
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
        selection.drop(already, f"already treated in {first_period}" + _anticipating(question))
        if question.comparison == "never_treated":
            late = first_treated - question.anticipation > panel.periods[-1]
            selection.drop(late, f"first treated after {panel.periods[-1]}, so not never treated")
    selection.drop(np.isnan(outcome).all(axis=1), f"{question.outcome} is never observed")
    if question.missing == "balanced":
        selection.drop(np.isnan(outcome).any(axis=1), f"{question.outcome} is missing in some period")
    for covariate in question.covariates:
        unseen = np.isnan(panel.covariates[covariate]).all(axis=1)
        selection.drop(unseen, f"covariate {covariate} is never observed")
    if question.instrument is not None:
        unseen = np.isnan(panel.covariates[question.instrument]).all(axis=1)
        selection.drop(unseen, f"instrument {question.instrument} is never observed")
    if question.weights is not None:
        positive = first_observed(panel.covariates[question.weights]) > 0
        selection.drop(~positive, f"weight {question.weights} is not positive")
    return selection


def _drop_small_cohorts(
    selection: _Selection, question: Question, first_treated: FloatArray, periods: NDArray[np.int64]
) -> None:
    if question.min_cohort_size is None:
        return
    cohorts, sizes = np.unique(first_treated[selection.keep & ~np.isnan(first_treated)], return_counts=True)
    in_window = cohorts - question.anticipation <= periods[-1]
    small = cohorts[(sizes < question.min_cohort_size) & in_window]
    selection.drop(
        np.isin(first_treated, small), f"in a cohort of fewer than {question.min_cohort_size} units"
    )


def _scaled(
    question: Question, outcome: FloatArray, units: NDArray[Any], periods: NDArray[np.int64]
) -> FloatArray:
    """Return the outcome on the scale that designs work on: logarithms for log1p, levels otherwise."""
    if question.scale != "log1p":
        return outcome
    bad = np.argwhere(outcome <= -1)
    if bad.size:
        i, t = bad[0]
        raise QuestionError(
            f"Question: scale log1p needs outcomes above -1, but {question.outcome} is {outcome[i, t]:g} "
            f'for ({units[i]}, {periods[t]}); use scale="level".'
        )
    return np.log1p(outcome)


def _switching_roles(question: Question, path: FloatArray, periods: NDArray[np.int64]) -> list[FlowStep]:
    ever = np.nansum(path, axis=1) > 0
    if not ever.any():
        raise QuestionError(f"Question: nobody is treated by {question.event} in {_window(periods)}.")
    return [
        FlowStep("treated in some period", int(ever.sum()), kept=True),
        FlowStep("never treated", int((~ever).sum()), kept=True),
    ]


def _weights(question: Question, panel: Panel, rows: NDArray[np.int64]) -> FloatArray:
    """Return weights of mean one; one each where none are named."""
    if question.weights is None:
        return np.ones(len(rows))
    weights = first_observed(panel.covariates[question.weights])[rows]
    return weights / weights.mean()


def first_observed(block: FloatArray) -> FloatArray:
    """Return each row's first value that is not NaN, shape (n,)."""
    seen = ~np.isnan(block)
    return np.where(seen.any(axis=1), block[np.arange(len(block)), seen.argmax(axis=1)], np.nan)


def pool_cohorts(first_treated: FloatArray, periods: NDArray[np.int64], width: int) -> FloatArray:
    """Date each unit treated in the window by the first period of its adoption window.

    Adoption windows start at the second period, the first in which a unit with a base period can be
    treated; a date after the last period stays what it is.
    """
    start = periods[0] + 1
    pooled = start + np.floor((first_treated - start) / width) * width
    return np.where(first_treated <= periods[-1], pooled, first_treated)


def _check_names(question: Question, panel: Panel) -> None:
    where = f"Question about {panel.name}"
    columns = (*question.covariates, question.weights, question.instrument)
    refuse_unknown("outcome", question.outcome, panel.outcomes, where)
    refuse_unknown("event", question.event, panel.events, where)
    refuse_unknown("covariate", [name for name in columns if name is not None], panel.covariates, where)
    if question.cluster is not None:
        refuse_unknown("attribute", question.cluster, panel.attributes, where)


def _check_periods(question: Question, panel: Panel) -> None:
    """Refuse numbers of periods that are more than the panel has."""
    window = f"the window of {len(panel.periods)} periods, {_window(panel.periods)}"
    for name in ("lag", "anticipation"):
        value = getattr(question, name)
        if abs(value) >= len(panel.periods):
            raise QuestionError(
                f"Question: {name} is {value}, which is out of {window}; it can be at most "
                f"{len(panel.periods) - 1}{' either way' if name == 'lag' else ''}."
            )
    # The first that can be treated, with a period before it to compare with, are treated in the second period.
    last = max(len(panel.periods) - 2, 0)
    if question.horizon is not None and question.horizon > last:
        raise QuestionError(
            f"Question: horizon is {question.horizon}, but the last event time in {window}, is {last}; lower it."
        )


def _treatment(question: Question, panel: Panel) -> tuple[FloatArray | None, FloatArray | None]:
    """Return the first treated periods after the lag, or the path if the event is not absorbing."""
    if question.event in panel.first_treated:
        return panel.first_treated[question.event] + question.lag, None
    if question.lag or question.anticipation:
        raise QuestionError(
            f"Question: {question.event} is not absorbing, so lag and anticipation have no date to move; "
            "set both to 0 or shift the treatment column."
        )
    return None, panel.treatment[question.event]


def _comparable_periods(
    question: Question, first_treated: FloatArray, periods: NDArray[np.int64], name: str
) -> NDArray[np.bool_]:
    """Return which periods keep a comparison unit; refuse where none does."""
    everything = np.ones(len(periods), dtype=bool)
    if np.isnan(first_treated).any():
        return everything
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


def _check_treated(
    question: Question, first_treated: FloatArray, periods: NDArray[np.int64], name: str, flow: list[FlowStep]
) -> None:
    if not np.any(first_treated - question.anticipation <= periods[-1]):
        because = f" ({_told(flow)})" if flow else ""
        raise QuestionError(
            f"Question: nobody in {name} is first treated by {question.event} inside {_window(periods)}"
            f"{because}; choose another event, population or window."
        )


def _roles(
    question: Question, first_treated: FloatArray, periods: NDArray[np.int64], columns: NDArray[np.bool_]
) -> list[FlowStep]:
    """Return the kept units by role, and the periods that had to be cut."""
    last = periods[columns][-1] + question.anticipation
    never = np.isnan(first_treated)
    later = first_treated > last
    roles = [
        FlowStep(f"first treated in {period:g}", int((first_treated == period).sum()), kept=True)
        for period in np.unique(first_treated[~never & ~later])
    ]
    if later.any():
        roles.append(FlowStep(f"first treated after {last}", int(later.sum()), kept=True))
    if never.any():
        roles.append(FlowStep("never treated", int(never.sum()), kept=True))
    if not columns.all():
        roles.append(
            FlowStep(
                f"{int((~columns).sum())} periods cut, no comparison left from {periods[~columns][0]}",
                0,
                kept=False,
            )
        )
    return roles


def _clusters(question: Question, panel: Panel, rows: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return cluster numbers 0..G-1; each unit its own where none are named."""
    if question.cluster is None:
        return np.arange(len(rows))
    labels: NDArray[Any] = panel.attributes[question.cluster][rows]
    return np.unique(labels, return_inverse=True)[1].astype(np.int64)


def _anticipating(question: Question) -> str:
    return f" (with {question.anticipation} periods of anticipation)" if question.anticipation else ""


def _window(periods: NDArray[np.int64]) -> str:
    return f"{periods[0]}-{periods[-1]}"


def _told(flow: list[FlowStep]) -> str:
    told = "; ".join(f"{step.units} units {step.reason}" for step in flow) or "it has none"
    if any(step.reason.startswith(AMBIGUOUS) for step in flow):
        told += '; fill in the treatment where it is empty, or build the panel with ambiguous="earliest" or "latest"'
    return told
