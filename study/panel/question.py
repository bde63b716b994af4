"""What is asked of a panel (Question), and the arrays that a design answers it from (Sample)."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from functools import cached_property
from typing import Any, Literal, get_args, get_type_hints

import numpy as np
from numpy.typing import NDArray

from study.core import FloatArray, QuestionError, check, is_listed, refuse_unknown
from study.panel.panel import Panel
from study.panel.scale import Scale, ScaleName

Comparison = Literal["never_treated", "not_yet_treated"]
Base = Literal["universal", "varying"]
Missing = Literal["pairs", "balanced", "cells"]
Average = Literal["event_average", "treated_average", "cohort_average", "calendar_average"]

AVERAGES: tuple[str, ...] = get_args(Average)


@dataclass(frozen=True)
class Question:
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
        :func:`study.panel.population.population`.
    comparison : {"not_yet_treated", "never_treated"}
        Who stands for the treated units' counterfactual path; the first includes the never-treated.
    base : {"universal", "varying"}
        Pre-period effects against one period before treatment, or against the period before each.
    anticipation : int
        Periods before the event from which units count as treated.
    lag : int
        Periods by which the event is moved later, or earlier where it is negative; fewer than the panel has. Units
        dated in the panel's first period or before it are already treated whatever the lag: the date may be censored.
    covariates : tuple of str
        Covariates of the panel.
    cluster, weights : str, optional
        An attribute to cluster by (each unit is its own cluster where none is given), and a covariate
        whose first observed value weights the units.
    horizon : int, optional
        Last event time in ``event_average``; all that are observed where none is given. It is no later than the
        panel's periods allow for, though a cohort may be observed for less.
    average : str
        The headline: "event_average", "treated_average", "cohort_average" or "calendar_average".
    missing : {"pairs", "balanced", "cells"}
        Use differences where both periods are seen, only units without gaps, or each period's cells.
    min_cohort_size : int, optional
        Smaller cohorts are dropped and counted. Without a value, a design whose effects are by cohort
        refuses a cohort of one unit; 1 keeps every cohort.
    cohort_width : int
        Adoption periods pooled into one cohort, which is dated by the first of them.
    instrument : str, optional
        A covariate of the panel, other than those above, whose first observed value moves units into
        treatment.

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
    average: Average = "event_average"
    missing: Missing = "pairs"
    min_cohort_size: int | None = None
    cohort_width: int = 1
    instrument: str | None = None

    def __post_init__(self) -> None:
        """Check the values that do not depend on a panel."""
        hints = get_type_hints(type(self))
        if isinstance(self.covariates, str):
            raise QuestionError(
                f'Question: covariates is one text, "{self.covariates}"; give a tuple of names.'
            )
        if is_listed(self.covariates):
            object.__setattr__(self, "covariates", tuple(self.covariates))
        check("Question", hints, {name: getattr(self, name) for name in hints})
        for name, least in (("anticipation", 0), ("cohort_width", 1), ("horizon", 0), ("min_cohort_size", 1)):
            value = getattr(self, name)
            if value is not None and value < least:
                raise QuestionError(f"Question: {name} is {value}; it must be at least {least}.")
        # Texts and whole numbers of numpy print otherwise, and what is printed is in the sample's id.
        for name in hints:
            value = getattr(self, name)
            plain = str if isinstance(value, str) else int if isinstance(value, int | np.integer) else None
            if plain is not None and type(value) is not plain:
                object.__setattr__(self, name, plain(value))
        object.__setattr__(self, "covariates", tuple(map(str, self.covariates)))
        if self.instrument in self.covariates:
            raise QuestionError(
                f"Question: {self.instrument} is both the instrument and a covariate, which leaves nothing of it to "
                "move treatment; take it out of one."
            )

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
        from study.panel.sampling import draw_sample

        return draw_sample(self, panel)


@dataclass(frozen=True)
class FlowStep:
    """Units (or periods) that one rule took out of the sample, or kept in a role."""

    reason: str
    units: int
    kept: bool


@dataclass(frozen=True, eq=False)
class Sample:
    """The arrays a design works on: n units in the panel's order, T consecutive periods.

    Attributes
    ----------
    question : Question
    y : ndarray, shape (n, T)
        The outcome on the question's scale, NaN where not observed. For "proportional" it is the level.
    first_treated : ndarray, shape (n,), or None
        First treated period, NaN = never; None if the treatment is not absorbing.
    path : ndarray, shape (n, T), or None
        The path of a treatment that is not absorbing.
    x_baseline : ndarray, shape (n, p)
        First observed value of each covariate.
    x_by_period : tuple of ndarray, shape (n, T)
        Each covariate by period.
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
        First observed value of the instrument.
    """

    question: Question
    y: FloatArray
    first_treated: FloatArray | None
    path: FloatArray | None
    x_baseline: FloatArray
    x_by_period: tuple[FloatArray, ...]
    weights: FloatArray
    cluster: NDArray[np.int64]
    unit_ids: NDArray[Any]
    periods: NDArray[np.int64]
    flow: tuple[FlowStep, ...]
    panel: Panel
    attributes: dict[str, NDArray[Any]] = field(default_factory=dict)
    instrument: FloatArray | None = None

    @property
    def n_units(self) -> int:
        """Number of units."""
        return len(self.unit_ids)

    @property
    def n_treated(self) -> int:
        """Number of units that are treated in a period of the sample."""
        return int((self.treatment == 1).any(axis=1).sum())

    @property
    def panel_checksum(self) -> str:
        """Checksum of the panel."""
        return self.panel.checksum

    @cached_property
    def treatment(self) -> FloatArray:
        """1 from the event (less the anticipation) on, or the given path, shape (n, T)."""
        if self.first_treated is None:
            assert self.path is not None
            return self.path
        since = self.periods >= self.first_treated[:, None] - self.question.anticipation
        return since.astype(float)

    @cached_property
    def x_varying(self) -> FloatArray:
        """The covariates by period, shape (n, T, p)."""
        return np.stack(self.x_by_period, axis=2) if self.x_by_period else np.empty((*self.y.shape, 0))

    @cached_property
    def observed(self) -> NDArray[np.bool_]:
        """Which cells have an outcome, shape (n, T)."""
        return ~np.isnan(self.y)

    @property
    def outcome_with_covariates(self) -> FloatArray:
        """The outcome where covariates by period are observed too, shape (n, T)."""
        missing = [np.isnan(block) for block in self.x_by_period]
        return np.where(np.any(missing, axis=0), np.nan, self.y) if np.any(missing) else self.y

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
    def groups(self) -> tuple[FloatArray, tuple[NDArray[np.int64], ...]]:
        """Distinct first treated periods, ascending, NaN (never) last, and the units of each; one if it switches."""
        if self.first_treated is None:
            return np.array([np.nan]), (np.arange(self.n_units),)
        dates, of_unit = np.unique(self.first_treated, return_inverse=True)
        ends = np.cumsum(np.bincount(of_unit, minlength=len(dates)))[:-1]
        return dates, tuple(np.split(np.argsort(of_unit, kind="stable"), ends))

    def only(self, keep: NDArray[np.bool_], reason: str) -> Sample:
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
            if not treated.any() or treated.all():
                which = "treated" if not treated.any() else "untreated"
                raise QuestionError(f"Sample: no {which} unit is left without those dropped: {reason}.")
        weights = self.weights[rows]
        return replace(
            self,
            y=self.y[rows],
            first_treated=None if self.first_treated is None else self.first_treated[rows],
            path=None if self.path is None else self.path[rows],
            x_baseline=self.x_baseline[rows],
            x_by_period=tuple(block[rows] for block in self.x_by_period),
            weights=weights / weights.mean(),
            cluster=np.unique(self.cluster[rows], return_inverse=True)[1],
            unit_ids=self.unit_ids[rows],
            flow=(*self.flow, FlowStep(reason, self.n_units - len(rows), kept=False)),
            attributes={name: labels[rows] for name, labels in self.attributes.items()},
            instrument=None if self.instrument is None else self.instrument[rows],
        )

    def permuted(self, order: NDArray[np.int64]) -> Sample:
        """Return the sample in which unit i has the event date, or path, of unit ``order[i]``."""
        order, n = np.asarray(order), self.n_units
        if order.dtype.kind not in "iu" or order.shape != (n,) or not 0 <= order.min() <= order.max() < n:
            raise QuestionError(f"Sample.permuted: order must be {self.n_units} numbers of units, from 0 on.")
        return replace(
            self,
            path=None if self.path is None else self.path[order],
            first_treated=None if self.first_treated is None else self.first_treated[order],
        )

    @property
    def sample_id(self) -> str:
        """Sixteen hexadecimal digits that two samples share only if they are the same."""
        digest = hashlib.sha256(f"{self.panel_checksum}|{self.question}".encode())
        first = self.treatment if self.first_treated is None else self.first_treated
        digest.update(np.nan_to_num(first, nan=-1e9).astype("<f8").tobytes())
        digest.update("\0".join(map(str, self.unit_ids)).encode())
        return digest.hexdigest()[:16]
