"""The sample that a question draws from a panel: which units and periods are kept, each other one with its reason."""

from __future__ import annotations

import operator
import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rapidfuzz import fuzz

from study.core import BoolArray, FloatArray, IntArray, QuestionError, counted, refuse_unknown, unknown
from study.panel.panel import Panel, interval_text
from study.panel.question import FlowStep, Question, Sample
from study.panel.rows import as_float

EVERYONE = "all"


_TERM = re.compile(r"\s*(?P<name>[^=<>!]+?)\s*(?P<sign>!=|>=|<=|=|<|>)\s*(?P<value>.*?)\s*", re.DOTALL)
COMPARED = {">=": operator.ge, "<=": operator.le, ">": operator.gt, "<": operator.lt}
# From this similarity on (of 100) a label that nobody has is taken for a slip of one that somebody has.
_SLIP = 80


@dataclass(frozen=True)
class Term:
    """One condition: an attribute or covariate, a sign, and what stands right of it."""

    name: str
    sign: str
    value: str

    @property
    def labels(self) -> list[str]:
        """The labels right of the sign, where it is no one label."""
        return [label.strip() for label in self.value.split("|")]

    def __str__(self) -> str:
        """Return the term as its author may have written it."""
        return f"{self.name}{self.sign}{self.value}"


def population(rule: str, panel: Panel) -> BoolArray:
    """Return which units of a panel are in a population.

    A rule is "all", the name of one of the panel's populations, or terms joined by " and ", all of which
    must hold::

        attribute=label       attribute!=label       attribute=label|label|label
        covariate>=number     covariate<=number      covariate>number     covariate<number

    A term may also be the name of one of the panel's populations. A covariate must not change over time
    within a unit, and an outcome cannot stand in a rule: who is in the population would depend on what
    happened after treatment. A unit whose covariate is not observed is not in the population.

    Parameters
    ----------
    rule : str
    panel : Panel

    Returns
    -------
    ndarray of bool, shape (n,)

    Raises
    ------
    QuestionError
        If the rule cannot be read, names something that the panel does not have or that is not fixed before
        treatment, or an attribute's labels are nobody's.
    """
    members = np.ones(panel.n_rows, dtype=bool)
    for term in terms_of(rule, panel):
        if is_attribute(term, panel):
            labels = panel.attributes[term.name].astype(str)
            named = labels_of(term, np.unique(labels).tolist(), panel)
            members &= np.isin(labels, named, invert=term.sign == "!=")
        else:
            members &= _compared(term, panel)
    return members


def terms_of(rule: str, panel: Panel, name: str | None = None) -> Iterator[Term]:
    """Yield the terms of a rule, those of a named population in place of its name."""
    for piece in _pieces(rule, panel.populations):
        if piece == EVERYONE:
            continue
        if term := _term(piece):
            yield term
        elif name is not None:
            raise QuestionError(
                f'{_where(panel)}: population {name} is "{rule}", in which "{piece}" is no term; write it with '
                "attributes and covariates only."
            )
        elif piece in panel.populations:
            yield from terms_of(panel.populations[piece], panel, piece)
        else:
            error = unknown("population", piece, [EVERYONE, *panel.populations], _where(panel))
            names = f", with {', '.join(sorted(panel.attributes))} for attribute" if panel.attributes else ""
            raise QuestionError(
                f'{error} Or write a rule such as "attribute=label" or "covariate>=number"{names}.'
            )


def terms_in(rule: str) -> list[Term]:
    """Return the terms that a rule has of its own, before a panel is read."""
    return [term for piece in _pieces(rule, ()) if (term := _term(piece))]


def _term(piece: str) -> Term | None:
    match = _TERM.fullmatch(piece)
    return Term(match["name"], match["sign"], match["value"]) if match else None


def _pieces(rule: str, named: Collection[str]) -> list[str]:
    """Cut a rule at " and ", unless what follows is no term, but the rest of a label."""
    pieces: list[str] = []
    for part in rule.split(" and "):
        if pieces and not (_TERM.fullmatch(part) or part.strip() in (EVERYONE, *named)):
            pieces[-1] += f" and {part}"
        else:
            pieces.append(part)
    return [piece.strip() for piece in pieces]


def is_attribute(term: Term, panel: Panel) -> bool:
    """Say whether a term is about an attribute or about a covariate; refuse what is neither, and signs of the other."""
    whose, attribute = f"{_where(panel)}: {term.name} is", term.name in panel.attributes
    if attribute or term.name in panel.covariates:
        if attribute == (term.sign in COMPARED):
            kind, signs = ("an attribute", "= or !=") if attribute else ("a covariate", ">=, <=, > or <")
            raise QuestionError(f'{whose} {kind}, so "{term}" has no meaning; use {signs}.')
        return attribute
    if term.name in panel.outcomes:
        raise QuestionError(
            f"{whose} an outcome, and a population is fixed before treatment; "
            "use an attribute, or a covariate that does not change over time."
        )
    if term.name in panel.events:
        raise QuestionError(
            f"{whose} an event, and a population is fixed before treatment; "
            "the question's event and comparison say who is treated and who is not."
        )
    raise unknown("attribute or covariate", term.name, [*panel.attributes, *panel.covariates], _where(panel))


def labels_of(term: Term, known: Collection[str], panel: Panel) -> list[str]:
    """Return the labels that a term names; refuse those that nobody has and that look like a slip."""
    named = [term.value] if term.value in known else term.labels
    absent, others = [label for label in named if label not in known], {*known} - {*named}
    nobody = term.sign == "=" and absent == named
    for label in absent:
        if nobody or any(_is_slip(label, other) for other in others):
            raise unknown(term.name, label, known, _where(panel))
    return named


def _is_slip(label: str, other: str) -> bool:
    """Say whether a label is nearly another one, or the same number: that of Alabama is 1 or 01."""
    return fuzz.ratio(label.casefold(), other.casefold()) >= _SLIP or as_float(label) == as_float(other)


def _compared(term: Term, panel: Panel) -> BoolArray:
    bound = bound_of(term, panel)
    block = panel.covariates[term.name]
    seen = ~np.isnan(block)
    highest = np.where(seen, block, -np.inf).max(axis=1)
    changes = highest > np.where(seen, block, np.inf).min(axis=1)
    if changes.any():
        raise changing(term, panel, panel.units[changes.argmax()])
    return np.asarray(seen.any(axis=1) & COMPARED[term.sign](highest, bound))


def bound_of(term: Term, panel: Panel) -> float:
    """Return the number that a term compares with."""
    bound = as_float(term.value)
    if np.isnan(bound):
        raise QuestionError(f'{_where(panel)}: "{term}" has no number right of {term.sign}.')
    return bound


def changing(term: Term, panel: Panel, unit: str) -> QuestionError:
    """Return the error of a term about a covariate that changes over time, first in some unit."""
    return QuestionError(
        f"{_where(panel)}: covariate {term.name} changes over time (first in {unit}), and later values could be "
        "consequences of treatment; use one that is fixed within each unit."
    )


def _where(panel: Panel) -> str:
    return f"Question about {panel.name}"


AMBIGUOUS = "adoption date ambiguous"


class _Selection:
    """Which units are kept, and the steps that took the others out."""

    def __init__(self, panel: Panel) -> None:
        self.keep = np.ones(panel.n_rows, dtype=bool)
        self.frequency = np.ones(panel.n_rows) if panel.summed is None else panel.summed.frequency
        left_out = () if panel.summed is None else panel.summed.dropped
        self.steps = [FlowStep(reason, units, kept=False) for reason, units in left_out]

    def drop(self, which: Any, reason: str) -> None:
        """Take out the units of a boolean array that are still kept, and count them."""
        out = which & self.keep
        if out.any():
            self.steps.append(FlowStep(reason, round(self.frequency[out].sum()), kept=False))
            self.keep[out] = False

    @property
    def text(self) -> str:
        """Who was taken out."""
        steps = [f"{counted(step.units, 'unit')} {step.reason}" for step in self.steps]
        text = "; ".join(steps) or "it has none"
        if any(step.reason.startswith(AMBIGUOUS) for step in self.steps):
            text += "; fill in the treatment where it is empty, or build the panel with "
            text += 'ambiguous="earliest" or "latest"'
        return text


def draw_sample(question: Question, panel: Panel) -> Sample:
    """Apply a question to a panel; the rules are those of :meth:`Question.sample`."""
    if panel.summed is not None and panel.summed.of not in (None, question.of_rows):
        raise QuestionError(
            f"Question: the rows of {panel.name} stand for its units in another question, of another population, scale "
            "or the like; ask this one of the LargePanel."
        )
    refuse_names(question, panel)
    periods, path = panel.periods, None
    if question.event in panel.first_treated:
        dates = dates_with_lag(panel, question.event, question.lag)
        first_treated: FloatArray | None = pool_cohorts(dates, periods, question.cohort_width)
    else:
        first_treated, path = None, panel.path(question.event)
    selection = _select(question, panel, first_treated)
    dose = _dose_at_entry(question, panel, first_treated, selection)
    if first_treated is not None and question.min_cohort_size > 1:
        cohorts, sizes = _sizes(first_treated, selection.frequency * selection.keep)
        in_window = cohorts - question.anticipation <= periods[-1]
        small = np.isin(first_treated, cohorts[(sizes < question.min_cohort_size) & in_window])
        selection.drop(small, f"in a cohort of fewer than {question.min_cohort_size} units")
    rows = np.flatnonzero(selection.keep)
    labels = panel.units[rows]
    if np.any(labels[1:] < labels[:-1]):
        rows = rows[np.argsort(labels, kind="stable")]  # folds and trees follow the order of units
    frequency = selection.frequency[rows]
    if not len(rows):
        raise QuestionError(f"Question: no unit of {panel.name} is left: {selection.text}.")

    columns = np.ones(len(periods), dtype=bool)
    if first_treated is not None:
        first_treated = first_treated[rows]
        columns = _comparable_periods(question, first_treated, periods, panel.name)
        treated = first_treated - question.anticipation <= periods[columns][-1]
        if not treated.any():
            because = f" ({selection.text})" if selection.steps else ""
            raise QuestionError(
                f"Question: nobody in {panel.name} is first treated by {question.event} inside "
                f"{panel.window(periods[columns])}{because}; choose another event, population or window."
            )
        earliest, last = np.nanmin(first_treated), periods[columns][-1]
        if question.balance is not None and last - earliest < question.balance:
            raise QuestionError(
                f"Question: balance is {question.balance}, but no cohort of {panel.name} is seen later than event time "
                f"{last - earliest:.0f}, that of {panel.period_name(earliest)}; lower it."
            )
        selection.steps += _roles(question, first_treated, panel, columns, frequency)
    elif path is not None:
        treated = (np.nan_to_num(path[rows]) != 0).any(axis=1)
        if not treated.any():
            raise QuestionError(f"Question: nobody is treated by {question.event} in {panel.window()}.")
        selection.steps += [
            FlowStep("treated in some period", int(treated.sum()), kept=True),
            FlowStep("never treated", int((~treated).sum()), kept=True),
        ]

    everyone = np.arange(panel.n_rows)

    def chosen(block: FloatArray) -> FloatArray:
        return block if columns.all() and np.array_equal(rows, everyone) else block[np.ix_(rows, columns)]

    def baseline(name: str) -> FloatArray:
        return first_observed(panel.covariates[name])[rows]

    summed = None if panel.summed is None else panel.summed.select(rows)
    covariates = _covariate_columns(question, panel, rows, frequency, round(frequency[treated].sum()))
    outcome, n = chosen(panel.outcomes[question.outcome]), len(rows)
    if question.scale == "log1p" and summed is None:
        outcome = logarithm(question, outcome, panel, panel.units[rows], periods[columns])
    elif panel.summed is not None and panel.summed.refuse is not None:
        panel.summed.refuse(panel.summed.stratum[rows], columns)
    weights = frequency if question.weights is None else frequency * baseline(question.weights)
    clusters = np.arange(n) if question.cluster is None else panel.attributes[question.cluster][rows]
    x_baseline = [first_observed(block)[rows] for block in covariates.values()]
    return Sample(
        question=question,
        y=outcome,
        first_treated=first_treated,
        path=None if path is None else chosen(path),
        x_baseline=np.column_stack(x_baseline) if x_baseline else np.empty((n, 0)),
        covariates=tuple(covariates),
        x_by_period=tuple(map(chosen, covariates.values())),
        weights=weights / weights.mean(),
        cluster=np.unique(clusters, return_inverse=True)[1].astype(np.int64),
        unit_ids=panel.units[rows],
        periods=periods[columns],
        flow=tuple(selection.steps),
        panel=panel,
        attributes={name: labels[rows] for name, labels in panel.attributes.items()},
        instrument=baseline(question.instrument) if isinstance(question.instrument, str) else None,
        instruments_by_period=tuple(chosen(panel.covariates[name]) for name in question.instruments),
        dose=None if dose is None else dose[rows],
        group=None if question.group is None else _group(question.group, panel)[rows],
        summed=summed,
    )


def _dose_at_entry(
    question: Question, panel: Panel, first_treated: FloatArray | None, selection: _Selection
) -> FloatArray | None:
    """Return the dose of each unit in its first treated period, shape (n,); treated units without one are dropped."""
    if question.dose is None or first_treated is None:
        return None
    treated = first_treated - question.anticipation <= panel.periods[-1]
    place = panel.first_treated[question.event] - panel.periods[0]
    inside = treated & (place >= 0) & (place < len(panel.periods))
    dose = np.where(treated, np.nan, 0.0)
    dose[inside] = panel.doses[question.dose][inside, place[inside].astype(np.int64)]
    without = treated & ~(dose > 0)
    selection.drop(without, f"without a known and positive {question.dose} in the first treated period")
    return dose


def _group(rule: str, panel: Panel) -> BoolArray:
    """Return which units are of the group that treatment is for, shape (n,); refuse a rule of all units or of none."""
    inside = population(rule, panel)
    if inside.all() or not inside.any():
        who = "every unit" if inside.all() else "no unit"
        raise QuestionError(
            f"Question: group {rule} holds for {who} of {panel.name}, so there is no third difference; name a rule "
            "that holds for some of them."
        )
    return inside


def dates_with_lag(panel: Panel, event: str, lag: int) -> FloatArray:
    """Return the first treated periods of an event moved by a lag, shape (n,), NaN = never.

    Dates before the panel may be censored, and so may a 0/1 path that begins with 1: no lag moves them into the window.
    """
    dates, known_from = panel.first_treated[event], panel.periods[0] + (event in panel.treatment)
    return np.where(dates < known_from, dates, dates + lag)


def _select(question: Question, panel: Panel, first_treated: FloatArray | None) -> _Selection:
    """Keep the units of the population that can be used at all."""
    outcome, anticipation = panel.outcomes[question.outcome], question.anticipation
    selection, first_period = _Selection(panel), panel.periods[0]
    if question.population != EVERYONE and panel.summed is None:  # else the engine has left the others out
        inside = population(question.population, panel)
        selection.drop(~inside, f"outside the population {question.population}")
    if panel.ambiguous_rule == "drop":
        intervals = panel.ambiguous.get(question.event, {})
        for earliest, latest in sorted(set(intervals.values())):
            members = [unit for unit, between in intervals.items() if between == (earliest, latest)]
            which = np.isin(panel.units, members)
            selection.drop(which, f"{AMBIGUOUS}, {interval_text(earliest, latest, panel.period_name)}")
    if first_treated is not None:
        already = first_treated - anticipation <= first_period
        early = f" (with {counted(anticipation, 'period')} of anticipation)" if anticipation else ""
        selection.drop(already, f"already treated in {panel.period_name(first_period)}{early}")
        if question.comparison == "never_treated":
            late = first_treated - anticipation > panel.periods[-1]
            last = panel.period_name(panel.periods[-1])
            selection.drop(late, f"first treated after {last}, so not never treated")
    selection.drop(np.isnan(outcome).all(axis=1), f"{question.outcome} is never observed")
    if question.missing == "balanced":
        selection.drop(np.isnan(outcome).any(axis=1), f"{question.outcome} is missing in some period")
    instruments = [("instrument", name) for name in question.instruments]
    for kind, name in (*(("covariate", name) for name in question.covariates), *instruments):
        if name in panel.covariates:
            selection.drop(np.isnan(panel.covariates[name]).all(axis=1), f"{kind} {name} is never observed")
        elif name in panel.attributes:
            selection.drop(panel.attributes[name].astype(str) == "", f"{kind} {name} has no label")
    if question.cluster is not None:
        unlabelled = panel.attributes[question.cluster].astype(str) == ""
        selection.drop(unlabelled, f"cluster {question.cluster} has no label")
    if question.weights is not None:
        positive = first_observed(panel.covariates[question.weights]) > 0
        selection.drop(~positive, f"weight {question.weights} is missing or not positive")
    return selection


def _covariate_columns(
    question: Question, panel: Panel, rows: IntArray, frequency: FloatArray, n_treated: int
) -> dict[str, FloatArray]:
    """Return what the question's covariates are in the panel by name, shape (n, T) each; labels and rules are 0 or 1.

    Refused are labels and rules that do not vary among the rows that are kept, and more labels than treated units.
    """
    columns: dict[str, FloatArray] = {}
    ones = np.ones((1, len(panel.periods)))
    for name in question.covariates:
        where = f"Question about {panel.name}: covariate {name}"
        if name in panel.covariates:
            columns[name] = panel.covariates[name]
        elif name in panel.attributes:
            labels = panel.attributes[name].astype(str)
            levels, sizes = _sizes(labels[rows], frequency)
            if len(levels) == 1:
                raise QuestionError(f'{where} has one label in the sample, "{levels[0]}"; leave it out.')
            if len(levels) > n_treated:
                raise QuestionError(
                    f"{where} has {len(levels)} labels in the sample, more than its {n_treated} treated units can "
                    f'carry trends of; use a coarser attribute, or a rule such as "{name}={levels[sizes.argmax()]}".'
                )
            for level in np.delete(levels, sizes.argmax()):
                columns[f"{name}={level}"] = (labels == level)[:, None] * ones
        else:
            holds = population(name, panel)
            kept = holds[rows]
            if (kept == kept[0]).all():
                raise QuestionError(f"{where} is {kept[0]:d} for every unit of the sample; leave it out.")
            columns[name] = holds[:, None] * ones
    return columns


def logarithm(
    question: Question, outcome: FloatArray, panel: Panel, units: NDArray[Any], periods: IntArray
) -> FloatArray:
    """Return log(1 + outcome) of units in periods, or refuse the first value that has none."""
    bad = np.argwhere(outcome <= -1)
    if bad.size:
        i, t = bad[0]
        raise QuestionError(
            f"Question: scale log1p needs outcomes above -1, but {question.outcome} is {outcome[i, t]:g} "
            f'for ({units[i]}, {panel.period_name(periods[t])}); use scale="level".'
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


def refuse_names(question: Question, panel: Panel) -> None:
    """Refuse names that the panel does not have, and numbers of periods that are more than it has."""
    where, last = f"Question about {panel.name}", len(panel.periods) - 1
    outcomes, events = panel.outcomes.keys(), set(panel.events)
    if question.outcome in events - outcomes and question.event in outcomes - events:
        raise QuestionError(
            f"{where}: {question.outcome} is an event and {question.event} an outcome; "
            "swap outcome= and event=."
        )
    columns = [name for name in (question.weights, *question.instruments) if name is not None]
    for name in question.covariates:
        if not terms_in(name):
            refuse_unknown("covariate", name, [*panel.covariates, *panel.attributes], where)
    refuse_unknown("outcome", question.outcome, panel.outcomes, where)
    refuse_unknown("event", question.event, panel.events, where)
    refuse_unknown("covariate", columns, panel.covariates, where)
    refuse_unknown("attribute", () if question.cluster is None else question.cluster, panel.attributes, where)
    refuse_unknown("dose", () if question.dose is None else question.dose, panel.doses, where)
    window = f"the window of {last + 1} periods, {panel.window()}"
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
    if question.event not in panel.first_treated and question.dose is not None:
        raise QuestionError(
            f"Question: {question.event} has no dates, so there is no first treated period to take {question.dose} in; "
            "leave dose out: an event that is a dose is its own."
        )
    cohorts = question.balance is not None or max(question.cohort_width, question.min_cohort_size) > 1
    if question.event not in panel.first_treated and cohorts:
        raise QuestionError(
            f"Question: {question.event} is not absorbing, so it has no cohorts to balance, pool or count; leave "
            "balance, cohort_width and min_cohort_size out."
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
    untreated, dose = periods < first_treated.max() - question.anticipation, question.dose
    if not untreated.all() and len(np.unique(first_treated)) == 1:
        other = f" With {dose} as the event, heterogeneous_adoption needs none." if dose else ""
        raise QuestionError(
            f"Question: all units of {name} are treated by {question.event} at once, so there is no "
            f"comparison group.{other}"
        )
    return untreated


def _sizes(values: NDArray[Any], frequency: FloatArray) -> tuple[NDArray[Any], IntArray]:
    """Return the distinct values of rows, and how many units have each."""
    distinct, number = np.unique(values, return_inverse=True)
    return distinct, np.rint(np.bincount(number, frequency, len(distinct))).astype(np.int64)


def _roles(
    question: Question, first_treated: FloatArray, panel: Panel, columns: BoolArray, frequency: FloatArray
) -> list[FlowStep]:
    """Return the kept units by role, and the periods that had to be cut; dates and numbers are those of kept rows."""
    periods, name = panel.periods, panel.period_name
    last = periods[columns][-1] + question.anticipation
    dates, units = _sizes(first_treated, frequency)
    roles = [
        FlowStep(f"first treated in {name(date)}", int(number), kept=True)
        for date, number in zip(dates[dates <= last], units[dates <= last], strict=True)
    ]
    later, never = int(units[dates > last].sum()), int(units[np.isnan(dates)].sum())
    if later:
        roles.append(FlowStep(f"first treated after {name(last)}", later, kept=True))
    if never:
        roles.append(FlowStep("never treated", never, kept=True))
    if not columns.all():
        cut = f"{counted(int((~columns).sum()), 'period')} cut, no comparison left from {name(periods[~columns][0])}"
        roles.append(FlowStep(cut, 0, kept=False))
    return roles
