"""What is asked of a panel (Question), and the arrays that a design answers it from (Sample)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from functools import cached_property
from typing import Any, Literal, get_args, get_type_hints

import numpy as np
from numpy.typing import NDArray

from study.core import (
    BoolArray,
    Described,
    FloatArray,
    IntArray,
    QuestionError,
    check,
    is_listed,
    refuse_unknown,
)
from study.panel.panel import Panel, interval_text, switched_off
from study.panel.populations import EVERYONE, population, terms_in
from study.panel.scale import Scale, ScaleName

Comparison = Literal["never_treated", "not_yet_treated"]
Base = Literal["universal", "varying"]
Missing = Literal["pairs", "balanced", "cells"]
Average = Literal["event_average", "treated_average", "cohort_average", "calendar_average"]

AVERAGES: tuple[str, ...] = get_args(Average)


@dataclass(frozen=True, repr=False)
class Question(Described):
    """What is asked, before any design answers it.

    Parameters
    ----------
    outcome, event : str
        An outcome and an event of the panel.
    scale : {"level", "log1p", "proportional"}
        Units of the effect: the outcome's own, log(1 + outcome), or a share of the mean that the treated
        units would have had without treatment.
    population : str
        "all", the name of one of the panel's populations, or terms about attributes and fixed covariates
        joined by " and ", for example "country=US|CA and baseline_papers>=10"; the language is that of
        :func:`study.panel.population`.
    comparison : {"not_yet_treated", "never_treated"}
        Who stands for the treated units' counterfactual path; the first includes the never-treated.
    base : {"universal", "varying"}
        Pre-period effects against one period before treatment, or against the period before each.
    anticipation : int
        Periods before the event from which units count as treated.
    lag : int
        Periods by which the event is moved later, or earlier where it is negative; fewer than the panel has. Units
        dated before the panel are already treated whatever the lag, and so are those whose 0/1 treatment is 1 from the
        first period on: the date may be censored. A date in the first period is known, and moves into the window.
    covariates : tuple of str
        Covariates of the panel; attributes, each of which is 0/1 columns for its labels in the sample but the most
        common one; and rules as of a population ("country=US"), 1 where they hold and 0 elsewhere. Units without a
        label are left out.
    cluster, weights : str, optional
        An attribute to cluster by (each unit is its own cluster where none is given), and a covariate
        whose first observed value weights the units.
    horizon : int, optional
        Last event time in ``event_average``; all that are observed where none is given. It is no later than the
        panel's periods allow for, though a cohort may be observed for less.
    balance : int, optional
        Effects by event time and ``event_average`` are of the cohorts with an effect at every event time from 0 to this
        one, and end there, so that all event times from 0 on are of the same cohorts; did's ``balance_e``.
        Comparison units are all that there are.
    average : str
        The headline: "event_average", "treated_average", "cohort_average" or "calendar_average".
    missing : {"pairs", "balanced", "cells"}
        Use differences where both periods are seen, only units without gaps, or each period's cells.
    min_cohort_size : int, optional
        Smaller cohorts are dropped and counted. Without a value, a design whose effects are by cohort
        refuses a cohort of one unit; 1 keeps every cohort.
    cohort_width : int
        Adoption periods pooled into one cohort, which is dated by the first of them.
    instrument : str or tuple of str, optional
        Covariates of the panel, other than those above, that move units into treatment. Whether by their first
        observed values or by period is the design's to say.
    dose : str, optional
        A dose of the panel, whose amount in the first treated period (before any lag) is that of the unit's treatment.
        Units that are treated in the window and have none that is known and positive are dropped and counted.
    group : str, optional
        A rule as of a population that says which units are of the group that treatment is for; the others are the third
        difference.

    Raises
    ------
    QuestionError
        If a value is not one of those above.
    """

    outcome: str
    event: str
    scale: ScaleName = "level"
    population: str = "all"
    comparison: Comparison = "not_yet_treated"
    base: Base = "universal"
    anticipation: int = 0
    lag: int = 0
    covariates: tuple[str, ...] = ()
    cluster: str | None = None
    weights: str | None = None
    horizon: int | None = None
    balance: int | None = None
    average: Average = "event_average"
    missing: Missing = "pairs"
    min_cohort_size: int | None = None
    cohort_width: int = 1
    instrument: str | tuple[str, ...] | None = None
    dose: str | None = None
    group: str | None = None

    def __post_init__(self) -> None:
        """Check the values that do not depend on a panel."""
        hints = get_type_hints(type(self))
        if is_listed(self.covariates):
            object.__setattr__(self, "covariates", tuple(self.covariates))
        if self.instrument is not None and is_listed(self.instrument):
            several = tuple(map(str, self.instrument))
            object.__setattr__(self, "instrument", several[0] if len(several) == 1 else several or None)
        check("Question", hints, {name: getattr(self, name) for name in hints})
        smallest = {"anticipation": 0, "cohort_width": 1, "horizon": 0, "balance": 0, "min_cohort_size": 1}
        for name, least in smallest.items():
            value = getattr(self, name)
            if value is not None and value < least:
                raise QuestionError(f"Question: {name} is {value}; it must be at least {least}.")
        # Texts and whole numbers of numpy print otherwise, and what is printed stands beside a number.
        for name in hints:
            value = getattr(self, name)
            if isinstance(value, str | int | np.integer):
                object.__setattr__(self, name, str(value) if isinstance(value, str) else int(value))
        object.__setattr__(self, "covariates", tuple(map(str, self.covariates)))
        if self.balance is not None and self.average != "event_average":
            raise QuestionError(
                f"Question: balance is {self.balance}, which is of effects by event time, and the average is "
                f'{self.average}; use average="event_average" or leave balance out.'
            )
        if self.balance is not None and self.horizon is not None and self.horizon > self.balance:
            raise QuestionError(
                f"Question: horizon is {self.horizon}, but with balance={self.balance} effects end at event time "
                f"{self.balance}; raise balance or lower horizon."
            )
        for name in {*self.instruments} & {*self.covariates}:
            raise QuestionError(
                f"Question: {name} is both the instrument and a covariate, which leaves nothing of it to "
                "move treatment; take it out of one."
            )

    def __repr__(self) -> str:
        """Return the call that makes it, without what is left at its default."""
        return f"Question({', '.join(f'{name}={value!r}' for name, value in self._given.items())})"

    @property
    def _given(self) -> dict[str, Any]:
        """The fields that are not left at their defaults."""
        values = {f.name: (getattr(self, f.name), f.default) for f in fields(self)}
        return {name: value for name, (value, default) in values.items() if value != default}

    def _described(self) -> tuple[str, dict[str, str]]:
        title = f"Question: effect of {self.event} on {self.outcome}"
        shown = {"scale": self.scale, "comparison": self.comparison, "average": self.average} | self._given
        del shown["outcome"], shown["event"]
        return title, {k: ", ".join(v) if isinstance(v, tuple) else f"{v}" for k, v in shown.items()}

    @classmethod
    def from_dict(cls, values: dict[str, Any], where: str) -> Question:
        """Build a question from a table of a TOML file, naming a key that is not a field."""
        check(where, {"question": Mapping[str, Any]}, {"question": values})
        refuse_unknown("field", values, [f.name for f in fields(cls)], where)
        for key in ("outcome", "event"):
            if key not in values:
                raise QuestionError(f"{where}: {key} is missing; say which.")
        return cls(**values)

    def replace(self, **changes: Any) -> Question:
        """Return the same question with some fields changed."""
        refuse_unknown("field", changes, [f.name for f in fields(self)], "Question.replace")
        return replace(self, **changes)

    @property
    def instruments(self) -> tuple[str, ...]:
        """Names of the instruments, be there none, one or several."""
        if self.instrument is None:
            return ()
        return (self.instrument,) if isinstance(self.instrument, str) else self.instrument

    @property
    def effect_scale(self) -> Scale:
        """What effects are measured in."""
        return Scale(self.scale, self.outcome)

    @property
    def outcome_in_words(self) -> str:
        """What the outcome is called on its scale."""
        return f"log(1 + {self.outcome})" if self.scale == "log1p" else self.outcome

    @property
    def clusters_in_words(self) -> str:
        """What errors are clustered and folds assigned by, in the plural."""
        return "units" if self.cluster is None else f"clusters ({self.cluster})"

    def sample(self, panel: Panel) -> Sample:
        """Return the arrays that a design works on, with the flow of units into them.

        Raises
        ------
        QuestionError
            If a name is not in the panel, a number of periods is larger than the window, nobody is treated
            inside the window, or no comparison unit is left.
        """
        check("Question.sample", {"panel": Panel}, {"panel": panel})
        clustered = (
            self if self.cluster is not None or panel.within is None else replace(self, cluster=panel.within)
        )
        return _draw_sample(clustered, panel)


@dataclass(frozen=True)
class FlowStep:
    """Units (or periods) that one rule took out of the sample, or kept in a role."""

    reason: str
    units: int
    kept: bool


@dataclass(frozen=True, eq=False, repr=False)
class Sample(Described):
    """The arrays a design works on: n units in the panel's order, T consecutive periods.

    Attributes
    ----------
    question : Question
    y : ndarray, shape (n, T)
        The outcome on the question's scale, NaN where not observed. For "proportional" it is the level.
    first_treated : ndarray, shape (n,), or None
        First treated period, NaN = never; None if the treatment is not absorbing.
    path : ndarray, shape (n, T), or None
        The path of a treatment that is not absorbing: 0 and 1, or amounts where the event is a dose.
    covariates : tuple of str, length p
        Names of the columns that the question's covariates are: an attribute is one for each label but one.
    x_baseline : ndarray, shape (n, p)
        First observed value of each column.
    x_by_period : tuple of ndarray, shape (n, T)
        Each column by period.
    weights : ndarray, shape (n,)
        Mean one.
    cluster : ndarray of int, shape (n,)
        Cluster numbers, 0..G-1.
    unit_ids, periods : ndarray, shapes (n,), (T,)
    flow : tuple of FlowStep
        Who was kept and dropped, and why; the counts of units add up to the panel's.
    panel : Panel
        Where the sample was drawn from, for its checksum.
    instrument : ndarray, shape (n,), or None
        First observed value of the instrument, where there is one.
    instruments_by_period : tuple of ndarray, shape (n, T)
        Each instrument by period.
    dose : ndarray, shape (n,), or None
        Amount of treatment in the first treated period; 0 for units that are not treated in the window.
    group : ndarray of bool, shape (n,), or None
        Which units are of the group that treatment is for.
    """

    question: Question
    y: FloatArray
    first_treated: FloatArray | None
    path: FloatArray | None
    x_baseline: FloatArray
    x_by_period: tuple[FloatArray, ...]
    weights: FloatArray
    cluster: IntArray
    unit_ids: NDArray[Any]
    periods: IntArray
    flow: tuple[FlowStep, ...]
    panel: Panel
    attributes: dict[str, NDArray[Any]] = field(default_factory=dict)
    instrument: FloatArray | None = None
    covariates: tuple[str, ...] = ()
    instruments_by_period: tuple[FloatArray, ...] = ()
    dose: FloatArray | None = None
    group: BoolArray | None = None

    @property
    def n_units(self) -> int:
        """Number of units."""
        return len(self.unit_ids)

    def _described(self) -> tuple[str, dict[str, str]]:
        dropped = sum(step.units for step in self.flow if not step.kept)
        return f"Sample of {self.panel.name}: {self.n_units} units, {self.n_treated} of them treated", {
            "question": repr(self.question),
            "periods": f"{len(self.periods)} ({self.panel.window(self.periods)})",
            "cohorts": f"{len(self.cohorts)}",
            "observed": f"{self.observed.sum()} of {self.y.size} unit-periods",
            "left out": f"{dropped} units; flow says why",
        }

    @property
    def n_treated(self) -> int:
        """Number of units that are treated in a period of the sample."""
        return int(self.ever_treated.sum())

    def period_name(self, period: float) -> str:
        """Return a period as the panel's user writes it."""
        return self.panel.period_name(period)

    @property
    def panel_checksum(self) -> str:
        """Checksum of the panel."""
        return self.panel.checksum

    @cached_property
    def treatment(self) -> FloatArray:
        """1 from the event (less the anticipation) on, of a group only its units; or the given path; shape (n, T)."""
        if self.first_treated is None:
            assert self.path is not None
            return self.path
        since = self.periods >= self.first_treated[:, None] - self.question.anticipation
        return (since if self.group is None else since & self.group[:, None]).astype(float)

    @cached_property
    def ever_treated(self) -> BoolArray:
        """Which units are treated in some period, shape (n,)."""
        return np.asarray((np.nan_to_num(self.treatment) != 0).any(axis=1))

    @cached_property
    def x_varying(self) -> FloatArray:
        """The covariates by period, shape (n, T, p)."""
        return np.stack(self.x_by_period, axis=2) if self.x_by_period else np.empty((*self.y.shape, 0))

    @cached_property
    def observed(self) -> BoolArray:
        """Which cells have an outcome, shape (n, T)."""
        return ~np.isnan(self.y)

    @property
    def outcome_with_covariates(self) -> FloatArray:
        """The outcome where covariates by period are observed too, shape (n, T)."""
        missing = [np.isnan(block) for block in self.x_by_period]
        return np.where(np.any(missing, axis=0), np.nan, self.y) if np.any(missing) else self.y

    @property
    def has_levels(self) -> bool:
        """Whether the event is a treatment of several levels: a path of other numbers than 0 and 1."""
        return self.path is not None and not bool(np.isin(self.path[~np.isnan(self.path)], (0, 1)).all())

    @property
    def switch_off(self) -> str:
        """Say for which unit and when a non-absorbing treatment goes back to 0 first, and for how many units."""
        assert self.path is not None
        off = switched_off(self.path)
        units = np.flatnonzero(off.any(axis=1))
        if not len(units):
            return f"{self.question.event} never goes back to 0 in this sample"
        more = (
            f", and for {len(units) - 1} more unit{'s' if len(units) > 2 else ''}" if len(units) > 1 else ""
        )
        year = self.periods[off[units[0]].argmax()]
        return f"{self.question.event} goes back to 0 for {self.unit_ids[units[0]]} in {year}{more}"

    @property
    def treated_cells(self) -> NDArray[np.bool_]:
        """Which groups are treated, less the anticipation, in which periods, shape (G, T)."""
        return self.periods >= self.groups[0][:, None] - self.question.anticipation

    @property
    def cluster_labels(self) -> NDArray[Any]:
        """Label of each unit's cluster, shape (n,), the same in every sample of the panel."""
        cluster = self.question.cluster
        return self.unit_ids if cluster is None else self.attributes[cluster].astype(str)

    @cached_property
    def cohorts(self) -> FloatArray:
        """First treated periods inside the window, ascending."""
        if self.first_treated is None:
            return np.empty(0)
        dates = np.unique(self.first_treated[~np.isnan(self.first_treated)])
        return dates[dates - self.question.anticipation <= self.periods[-1]]

    @cached_property
    def groups(self) -> tuple[FloatArray, tuple[IntArray, ...]]:
        """Distinct first treated periods, ascending, NaN (never) last, and the units of each; one if it switches."""
        if self.first_treated is None:
            return np.array([np.nan]), (np.arange(self.n_units),)
        dates, of_unit = np.unique(self.first_treated, return_inverse=True)
        ends = np.cumsum(np.bincount(of_unit, minlength=len(dates)))[:-1]
        return dates, tuple(np.split(np.argsort(of_unit, kind="stable"), ends))

    def only(self, keep: BoolArray, reason: str) -> Sample:
        """Return the sample of some of its units, shape (n,); the others are dropped for a reason.

        Raises
        ------
        QuestionError
            If no treated or no untreated unit is left.
        """
        keep = np.asarray(keep)
        if keep.dtype != bool or keep.shape != (self.n_units,):
            raise QuestionError(f"Sample.only: keep must be {self.n_units} times true or false, one a unit.")
        rows = np.flatnonzero(keep)
        if self.first_treated is not None:
            treated = self.first_treated[rows] - self.question.anticipation <= self.periods[-1]
            for which, some in (("treated", treated.any()), ("untreated", not treated.all())):
                if not some:
                    raise QuestionError(f"Sample: no {which} unit is left without those dropped: {reason}.")
        by_unit = ("y", "first_treated", "path", "x_baseline", "unit_ids", "instrument", "dose", "group")
        values = {name: getattr(self, name) for name in by_unit}
        chosen: dict[str, Any] = {name: v if v is None else v[rows] for name, v in values.items()}
        return replace(
            self,
            **chosen,
            x_by_period=tuple(block[rows] for block in self.x_by_period),
            instruments_by_period=tuple(block[rows] for block in self.instruments_by_period),
            weights=self.weights[rows] / self.weights[rows].mean(),
            cluster=np.unique(self.cluster[rows], return_inverse=True)[1],
            flow=(*self.flow, FlowStep(reason, self.n_units - len(rows), kept=False)),
            attributes={name: labels[rows] for name, labels in self.attributes.items()},
        )

    def permuted(self, order: IntArray) -> Sample:
        """Return the sample in which unit i has the event date, or path, and the dose of unit ``order[i]``."""
        order, n = np.asarray(order), self.n_units
        if order.dtype.kind not in "iu" or order.shape != (n,) or not 0 <= order.min() <= order.max() < n:
            raise QuestionError(f"Sample.permuted: order must be {self.n_units} numbers of units, from 0 on.")
        path = None if self.path is None else self.path[order]
        first_treated = None if self.first_treated is None else self.first_treated[order]
        dose = None if self.dose is None else self.dose[order]
        return replace(self, path=path, first_treated=first_treated, dose=dose)


def panel_for(
    question: Question,
    data: Any,
    outcomes: Sequence[str] = (),
    *,
    path: bool = False,
    levels: bool = False,
    **reading: Any,
) -> Panel:
    """Return the panel of the columns of a long table that a question needs.

    Parameters
    ----------
    question : Question
    data, **reading
        The table, its unit and time columns and whatever else :meth:`study.Panel.from_long` takes.
    outcomes : sequence of str
        Outcomes beside the question's.
    path : bool
        The event column is 0/1 by period, and not the first treated period.
    levels : bool
        The event column is an amount of treatment by period.
    """
    outcomes = list(dict.fromkeys([question.outcome, *outcomes]))
    rules = [name for name in question.covariates if terms_in(name)]
    terms = [term for rule in (question.population, *rules, question.group or "") for term in terms_in(rule)]
    in_rule = [term for term in terms if term.name not in (*outcomes, question.event)]
    labels = [term.name for term in in_rule if term.sign in ("=", "!=")]
    numbers = [term.name for term in in_rule if term.sign not in ("=", "!=")]
    columns = [name for name in question.covariates if name not in rules]
    covariates = [*columns, question.weights, *question.instruments, *numbers]
    doses = [question.event if levels else None, question.dose]
    return Panel.from_long(
        data,
        treatment=question.event if path else (),
        first_treated=() if path or levels else question.event,
        doses=[name for name in doses if name is not None],
        outcomes=outcomes,
        covariates=[name for name in dict.fromkeys(covariates) if name is not None],
        attributes=[name for name in dict.fromkeys([question.cluster, *labels]) if name is not None],
        **reading,
    )


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


def _draw_sample(question: Question, panel: Panel) -> Sample:
    """Apply a question to a panel; the rules are those of :meth:`Question.sample`."""
    _check(question, panel)
    periods, path = panel.periods, None
    if question.event in panel.first_treated:
        first_treated: FloatArray | None = dates_with_lag(panel, question.event, question.lag)
    else:
        first_treated, path = None, panel.path(question.event)
    selection = _select(question, panel, first_treated)
    dose = _dose_at_entry(question, panel, first_treated, selection)
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
        n_treated = int(np.sum(first_treated - question.anticipation <= periods[columns][-1]))
        if not n_treated:
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
        selection.steps += _roles(question, first_treated, panel, columns)
    elif path is not None:
        ever = (np.nan_to_num(path[rows]) != 0).any(axis=1)
        n_treated = int(ever.sum())
        if not n_treated:
            raise QuestionError(f"Question: nobody is treated by {question.event} in {panel.window()}.")
        selection.steps += [
            FlowStep("treated in some period", n_treated, kept=True),
            FlowStep("never treated", int((~ever).sum()), kept=True),
        ]

    def chosen(block: FloatArray) -> FloatArray:
        return block if len(rows) == panel.n_units and columns.all() else block[np.ix_(rows, columns)]

    def baseline(name: str) -> FloatArray:
        return first_observed(panel.covariates[name])[rows]

    covariates = _covariate_columns(question, panel, rows, n_treated)
    outcome, n = chosen(panel.outcomes[question.outcome]), len(rows)
    if question.scale == "log1p":
        outcome = _logarithm(question, outcome, panel, panel.units[rows], periods[columns])
    weights = np.ones(n) if question.weights is None else baseline(question.weights)
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
            selection.drop(which, f"{AMBIGUOUS}, {interval_text(earliest, latest, panel.period_name)}")
    if first_treated is not None:
        already = first_treated - question.anticipation <= first_period
        early = f" (with {question.anticipation} periods of anticipation)" if question.anticipation else ""
        selection.drop(already, f"already treated in {panel.period_name(first_period)}{early}")
        if question.comparison == "never_treated":
            late = first_treated - question.anticipation > panel.periods[-1]
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
    if question.weights is not None:
        positive = first_observed(panel.covariates[question.weights]) > 0
        selection.drop(~positive, f"weight {question.weights} is not positive")
    return selection


def _covariate_columns(
    question: Question, panel: Panel, rows: IntArray, n_treated: int
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
            levels, sizes = np.unique(labels[rows], return_counts=True)
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
            if len(np.unique(holds[rows])) == 1:
                raise QuestionError(
                    f"{where} is {holds[rows[0]]:d} for every unit of the sample; leave it out."
                )
            columns[name] = holds[:, None] * ones
    return columns


def _logarithm(
    question: Question, outcome: FloatArray, panel: Panel, units: NDArray[Any], periods: IntArray
) -> FloatArray:
    """Return log(1 + outcome)."""
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


def _check(question: Question, panel: Panel) -> None:
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
    if question.event not in panel.first_treated and question.balance is not None:
        raise QuestionError(
            f"Question: {question.event} is not absorbing, so it has no cohorts to balance; leave balance out."
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
        other = (
            f" With {question.dose} as the event, heterogeneous_adoption needs none." if question.dose else ""
        )
        raise QuestionError(
            f"Question: all units of {name} are treated by {question.event} at once, so there is no "
            f"comparison group.{other}"
        )
    return untreated


def _roles(question: Question, first_treated: FloatArray, panel: Panel, columns: BoolArray) -> list[FlowStep]:
    """Return the kept units by role, and the periods that had to be cut."""
    periods, name = panel.periods, panel.period_name
    last = periods[columns][-1] + question.anticipation
    dates, units = np.unique(first_treated, return_counts=True)
    roles = [
        FlowStep(f"first treated in {name(date)}", int(number), kept=True)
        for date, number in zip(dates[dates <= last], units[dates <= last], strict=True)
    ]
    later, never = int((first_treated > last).sum()), int(np.isnan(first_treated).sum())
    if later:
        roles.append(FlowStep(f"first treated after {name(last)}", later, kept=True))
    if never:
        roles.append(FlowStep("never treated", never, kept=True))
    if not columns.all():
        cut = f"{int((~columns).sum())} periods cut, no comparison left from {name(periods[~columns][0])}"
        roles.append(FlowStep(cut, 0, kept=False))
    return roles
