"""What is asked of a panel (Question), and the arrays that a design answers it from (Sample)."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from functools import cached_property
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from study.core import (
    BoolArray,
    Described,
    FloatArray,
    IntArray,
    QuestionError,
    check,
    counted,
    hints_of,
    is_listed,
    refuse_unknown,
)
from study.panel.panel import Panel, switched_off
from study.panel.rows import rows_by, strata
from study.panel.scale import Scale, ScaleName
from study.panel.summed import Summed

Comparison = Literal["never_treated", "not_yet_treated"]
Base = Literal["universal", "varying"]
Missing = Literal["pairs", "balanced", "cells"]
Average = Literal["event_average", "treated_average", "cohort_average", "calendar_average"]

AVERAGES: tuple[str, ...] = get_args(Average)
ALL = slice(None)


class LargePanel:
    """A panel whose units an engine adds up, as the class of :mod:`study.panel.large` does."""

    def rows(self, question: Question) -> Panel:
        """Return rows that stand for the units that a question needs, with the same numbers, sums and products."""
        raise NotImplementedError


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
        An attribute to cluster by (each unit is its own cluster where none is given; units without a label are left
        out), and a covariate whose first observed value weights the units.
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
    min_cohort_size : int
        Smaller cohorts are dropped and counted; 1, the default, keeps all. Effects on a cohort of one unit have the
        pooled variance of treated and comparison units.
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
    average: Average = "treated_average"
    missing: Missing = "pairs"
    min_cohort_size: int = 1
    cohort_width: int = 1
    instrument: str | tuple[str, ...] | None = None
    dose: str | None = None
    group: str | None = None

    def __post_init__(self) -> None:
        """Check the values that do not depend on a panel."""
        hints = hints_of(Question)
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
        if self.horizon is not None and self.average != "event_average":
            raise QuestionError(
                f"Question: horizon is {self.horizon}, the last event time of the average over event times, and the "
                f'average is {self.average}; use average="event_average" or leave horizon out.'
            )
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
        for names in (self.covariates, self.instruments):
            for name in names:
                if names.count(name) > 1:
                    raise QuestionError(f'Question: "{name}" is named twice; name it once.')
        for name in {*self.instruments} & {*self.covariates}:
            raise QuestionError(
                f"Question: {name} is both the instrument and a covariate, which leaves nothing of it to "
                "move treatment; take it out of one."
            )

    def __repr__(self) -> str:
        """Return the call that makes it, without what is left at its default."""
        return f"Question({', '.join(f'{name}={value!r}' for name, value in self.given.items())})"

    @property
    def given(self) -> dict[str, Any]:
        """The fields that are not left at their defaults."""
        values = {f.name: (getattr(self, f.name), f.default) for f in fields(self)}
        return {name: value for name, (value, default) in values.items() if value != default}

    def _described(self) -> tuple[str, dict[str, str]]:
        title = f"Question: effect of {self.event} on {self.outcome}"
        shown = {"scale": self.scale, "comparison": self.comparison, "average": self.average} | self.given
        del shown["outcome"], shown["event"]
        return title, {k: ", ".join(v) if isinstance(v, tuple) else f"{v}" for k, v in shown.items()}

    @classmethod
    def from_dict(cls, values: dict[str, Any], where: str) -> Question:
        """Build a question from a table of a TOML file; errors say where.

        Parameters
        ----------
        values : dict
            Fields of a question by name, ``outcome`` and ``event`` at least.
        where : str
            What errors begin with, such as the file and the table in it.

        Returns
        -------
        Question

        Raises
        ------
        QuestionError
            If a field is unknown or missing, or has a value that a question does not take.
        """
        check(where, {"question": Mapping[str, Any]}, {"question": values})
        refuse_unknown("field", values, [f.name for f in fields(cls)], where)
        for key in ("outcome", "event"):
            if key not in values:
                raise QuestionError(f"{where}: {key} is missing; say which.")
        try:
            return cls(**values)
        except QuestionError as error:
            raise QuestionError(f"{where}:{str(error).removeprefix('Question:')}") from None

    def replace(self, **changes: Any) -> Question:
        """Return the same question with some fields changed.

        Parameters
        ----------
        **changes
            New values by the name of the field.

        Returns
        -------
        Question

        Raises
        ------
        QuestionError
            If there is no such field, or a value is none that it takes.

        Examples
        --------
        >>> Question("papers", "cluster").replace(scale="log1p")
        Question(outcome='papers', event='cluster', scale='log1p')
        """
        refuse_unknown("field", changes, [f.name for f in fields(self)], "Question.replace")
        return replace(self, **changes)

    @property
    def instruments(self) -> tuple[str, ...]:
        """Names of the instruments, be there none, one or several."""
        if self.instrument is None:
            return ()
        return (self.instrument,) if isinstance(self.instrument, str) else self.instrument

    @property
    def of_rows(self) -> tuple[Any, ...]:
        """What the rows depend on that an engine makes of units for it."""
        rules = (self.population, self.covariates, self.cluster, self.weights, self.group)
        return self.outcome, self.event, self.scale == "log1p", self.missing == "balanced", rules

    @property
    def reference(self) -> int:
        """The event time before treatment less the anticipation, which effects are compared with."""
        return -1 - self.anticipation

    @property
    def last(self) -> float:
        """Last event time in ``event_average``: the horizon, or infinity where there is none."""
        return math.inf if self.horizon is None else self.horizon

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

    def sample(self, panel: Panel | LargePanel) -> Sample:
        """Return the arrays that a design works on, with the flow of units into them.

        Parameters
        ----------
        panel : Panel or LargePanel

        Returns
        -------
        Sample
            The n units that the question is about, in the order of their labels, and its T periods.

        Raises
        ------
        QuestionError
            If a name is not in the panel, a number of periods is larger than the window, nobody is treated
            inside the window, or no comparison unit is left.
        """
        from study.panel.drawing import draw_sample

        check("Question.sample", {"panel": Panel | LargePanel}, {"panel": panel})
        if isinstance(panel, LargePanel):
            panel = panel.rows(self)
        if self.cluster is None and panel.within is not None:
            return draw_sample(replace(self, cluster=panel.within), panel)
        return draw_sample(self, panel)


@dataclass(frozen=True)
class FlowStep:
    """Units (or periods) that one rule took out of the sample, or kept in a role."""

    reason: str
    units: int
    kept: bool


@dataclass(frozen=True, eq=False, repr=False)
class Sample(Described):
    """The arrays a design works on: n units in the order of their labels, T consecutive periods.

    Each cohort g of :attr:`cohorts` has a base period g - d - 1 in the window, with d the anticipation: units already
    treated in the first period are not in a sample.

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
        Labels of units, ascending whatever the order of a panel made by hand is; and periods.
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
    summed : Summed, optional
        What rows stand for, where they are not units; ``weights`` are then those of all units of the row.
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
    summed: Summed | None = None

    @property
    def n_rows(self) -> int:
        """Number of rows of its arrays: units, unless the panel is larger than memory."""
        return len(self.unit_ids)

    @property
    def n_units(self) -> int:
        """Number of units."""
        return self.n_rows if self.summed is None else round(self.summed.frequency.sum())

    def counted(self, which: BoolArray | IntArray, rows: IntArray | slice = ALL) -> IntArray:
        """Return how many units are in sets of all rows, or of some, shape (...,) from (m, ...).

        Parameters
        ----------
        which : ndarray of bool or int, shape (m, ...)
            Whether a row is in a set, or how often.
        rows : ndarray of int or slice
            The m rows that these are of; all where none are given.

        Returns
        -------
        ndarray of int, shape (...,)
            Of a :class:`study.LargePanel` the units that the rows stand for.
        """
        if self.summed is None:
            return np.asarray(which.sum(axis=0))
        return np.rint(np.tensordot(self.summed.frequency[rows], which, axes=1)).astype(np.int64)

    def n_clusters(self, which: BoolArray | slice = ALL) -> int:
        """Return how many clusters have a unit among all rows, or among some, shape (n,).

        Parameters
        ----------
        which : ndarray of bool, shape (n,), or slice
            Rows that are looked at; all where none are given.

        Returns
        -------
        int
        """
        if self.copies is None:
            return int(np.count_nonzero(np.bincount(self.cluster[which])))
        return round(self.copies[which].sum())

    @property
    def copies(self) -> FloatArray | None:
        """How many clusters each number of a cluster stands for, shape (C,); None where it is one each."""
        return None if self.replicas is None else self.replicas.frequency

    @property
    def fixed_covariates(self) -> FloatArray | None:
        """Covariates of units, shape (n, p); None where they change, or units differ in a dose or an instrument.

        A row that is not there has no outcome and no covariate, which is no change of one.
        """
        added_up = self.summed is not None and self.summed.products is not None
        if added_up or self.dose is not None or self.question.instruments:
            return None
        pairs = zip(self.x_by_period, self.x_baseline.T, strict=True)
        fixed = all(np.all((block == x[:, None]) | ~self.observed) for block, x in pairs)
        return self.x_baseline if fixed else None

    @cached_property
    def stratum(self) -> IntArray | None:
        """Number of the set of units that differ by their outcomes alone, as :func:`study.panel.rows.strata` has it.

        Shape (n,); None where there are no :attr:`fixed_covariates`.
        """
        if self.fixed_covariates is None:
            return None
        group = self.group_number if self.group is None else 2 * self.group_number + self.group
        return strata(group, self.observed, self.fixed_covariates, self.y)

    @property
    def replicas(self) -> Summed | None:
        """What clusters stand for, where each number of one stands for several."""
        return None if self.question.cluster is not None else self.summed

    def needs_units(self, who: str) -> None:
        """Refuse what looks at single units where an engine has added them up.

        Parameters
        ----------
        who : str
            What the error begins with.

        Raises
        ------
        QuestionError
            If the sample is of a :class:`study.LargePanel`.
        """
        if self.summed is not None:
            raise QuestionError(
                f"{who}: it needs the rows of single units, and {self.panel.name} is added up by an engine; draw a "
                "sample of its units and read it with study.Panel.from_long."
            )

    def _described(self) -> tuple[str, dict[str, str]]:
        dropped = sum(step.units for step in self.flow if not step.kept)
        return (
            f"Sample of {self.panel.name}: {counted(self.n_units, 'unit')}, {self.n_treated} of them treated",
            {
                "question": repr(self.question),
                "periods": f"{len(self.periods)} ({self.panel.window(self.periods)})",
                "cohorts": f"{len(self.cohorts)}",
                "observed": f"{self.counted(self.observed).sum()} of {self.n_units * len(self.periods)} unit-periods",
                "left out": f"{counted(dropped, 'unit')}; flow says why",
            },
        )

    @property
    def n_treated(self) -> int:
        """Number of units that are treated in a period of the sample."""
        return int(self.counted(self.ever_treated))

    def period_name(self, period: float) -> str:
        """Return a period as the panel's user writes it.

        Parameters
        ----------
        period : float
            One of ``periods``, or a number before or after them.

        Returns
        -------
        str
        """
        return self.panel.period_name(period)

    @property
    def panel_rows(self) -> IntArray:
        """Row of each unit in its panel, shape (n,)."""
        return self.panel.rows_of(self.unit_ids)

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
        year, more = self.periods[off[units[0]].argmax()], len(units) - 1
        others = f", and for {counted(more, 'more unit')}" if more else ""
        return f"{self.question.event} goes back to 0 for {self.unit_ids[units[0]]} in {year}{others}"

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
        """First treated periods inside the window, ascending; dates without a period before them are refused."""
        if self.first_treated is None:
            return np.empty(0)
        dates = np.unique(self.first_treated[~np.isnan(self.first_treated)])
        without_base = dates[dates - self.question.anticipation <= self.periods[0]]
        if len(without_base):
            names = ", ".join(map(self.period_name, without_base))
            raise QuestionError(
                f"Sample: units first treated in {names} have no period before treatment, less the anticipation, in "
                f"{self.panel.window(self.periods)}; leave them out, as Question.sample does."
            )
        return dates[dates - self.question.anticipation <= self.periods[-1]]

    @cached_property
    def groups(self) -> tuple[FloatArray, tuple[IntArray, ...]]:
        """Distinct first treated periods, ascending, NaN (never) last, and the units of each; one if it switches."""
        return self._dated[0], tuple(rows_by(self.group_number))

    @property
    def group_number(self) -> IntArray:
        """Which of the groups each row is in, shape (n,)."""
        return self._dated[1]

    @cached_property
    def _dated(self) -> tuple[FloatArray, IntArray]:
        dates = np.full(self.n_rows, np.nan) if self.first_treated is None else self.first_treated
        return np.unique(dates, return_inverse=True)

    def only(self, keep: BoolArray, reason: str) -> Sample:
        """Return the sample of some of its units; the others are dropped for a reason.

        Parameters
        ----------
        keep : ndarray of bool, shape (n,)
            Which units stay.
        reason : str
            Why the others do not, as the flow of units says it.

        Returns
        -------
        Sample
            Its weights have mean one again.

        Raises
        ------
        QuestionError
            If ``keep`` is not one truth value a unit, no treated or no untreated unit is left, or the sample is of a
            :class:`study.LargePanel`.

        Examples
        --------
        >>> in_us = sample.only(sample.attributes["country"] == "US", "outside the US")  # doctest: +SKIP
        """
        self.needs_units("Sample.only")
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
        return replace(
            self,
            **self._at(rows, *by_unit),
            x_by_period=tuple(block[rows] for block in self.x_by_period),
            instruments_by_period=tuple(block[rows] for block in self.instruments_by_period),
            weights=self.weights[rows] / self.weights[rows].mean(),
            cluster=np.unique(self.cluster[rows], return_inverse=True)[1],
            flow=(*self.flow, FlowStep(reason, self.n_units - len(rows), kept=False)),
            attributes={name: labels[rows] for name, labels in self.attributes.items()},
        )

    def permuted(self, order: IntArray) -> Sample:
        """Return the sample in which unit i has the event date, or path, and the dose of unit ``order[i]``.

        Parameters
        ----------
        order : ndarray of int, shape (n,)
            Numbers of units, from 0 to n - 1.

        Returns
        -------
        Sample

        Raises
        ------
        QuestionError
            If ``order`` is not one number of a unit for each, or the sample is of a :class:`study.LargePanel`.
        """
        self.needs_units("Sample.permuted")
        order, n = np.asarray(order), self.n_units
        if order.dtype.kind not in "iu" or order.shape != (n,) or not 0 <= order.min() <= order.max() < n:
            raise QuestionError(f"Sample.permuted: order must be {self.n_units} numbers of units, from 0 on.")
        return replace(self, **self._at(order, "path", "first_treated", "dose"))

    def _at(self, rows: IntArray, *names: str) -> dict[str, Any]:
        values = {name: getattr(self, name) for name in names}
        return {name: None if value is None else value[rows] for name, value in values.items()}


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
    return Panel.from_long(data, **columns_for(question, outcomes, path=path, levels=levels), **reading)


def columns_for(
    question: Question, outcomes: Sequence[str] = (), *, path: bool = False, levels: bool = False
) -> dict[str, Any]:
    """Return the columns of a long table that a question needs, by role; parameters as in :func:`panel_for`."""
    from study.panel.drawing import terms_in

    outcomes = list(dict.fromkeys([question.outcome, *outcomes]))
    rules = [name for name in question.covariates if terms_in(name)]
    terms = [term for rule in (question.population, *rules, question.group or "") for term in terms_in(rule)]
    in_rule = [term for term in terms if term.name not in (*outcomes, question.event)]
    labels = [term.name for term in in_rule if term.sign in ("=", "!=")]
    numbers = [term.name for term in in_rule if term.sign not in ("=", "!=")]
    columns = [name for name in question.covariates if name not in rules]
    return {
        "outcomes": outcomes,
        "first_treated": [] if path or levels else [question.event],
        "treatment": [question.event] if path else [],
        "doses": _named(question.event if levels else None, question.dose),
        "covariates": _named(*columns, question.weights, *question.instruments, *numbers),
        "attributes": _named(question.cluster, *labels),
    }


def _named(*names: str | None) -> list[str]:
    """Return names, each once."""
    return list(dict.fromkeys(name for name in names if name is not None))
