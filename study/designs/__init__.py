"""The contract of a design, and the catalogue of those that exist: one identification design a file.

A design is one function in one module of this folder, or an entry point in the group ``study.designs``
of another distribution, under the decorator :func:`design`.
"""

from __future__ import annotations

import inspect
import pkgutil
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, fields, replace
from enum import StrEnum
from functools import cache, cached_property
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from typing import Any, get_args

import numpy as np

from study.core import (
    BoolArray,
    FloatArray,
    QuestionError,
    check,
    checked,
    code_of,
    counted,
    hints_of,
    is_listed,
    key_of,
    one_thread,
    refuse_unknown,
    root_of,
    versions,
)
from study.estimates import GIVEN, Estimate, VcovName, VcovWord, read_vcov, refuse_other_arguments
from study.estimates import Estimand as Estimand
from study.learners import Estimator, Learning, Nuisances
from study.panel import Panel, Question
from study.panel import Sample as Sample
from study.panel.question import LargePanel


class Assumes(StrEnum):
    """What has to hold for a design's estimate to be a causal effect."""

    PARALLEL_TRENDS = "parallel trends"
    STRONG_PARALLEL_TRENDS = "parallel trends at every dose, for what compares doses"
    CONDITIONAL_PARALLEL_TRENDS = "parallel trends given covariates"
    INDEX_PARALLEL_TRENDS = "parallel trends of the mean outcome in proportion"
    PARALLEL_DIFFERENCES = "parallel trends of the difference between eligible and other units"
    WEIGHTED_TRENDS = "parallel trends of a weighted comparison"
    FACTORS = "untreated outcomes of unit and period effects and a few factors"
    LIMITED_ANTICIPATION = "no effect before the event less the anticipation"
    OVERLAP = "comparison units at every covariate value of the treated"
    HOMOGENEOUS_EFFECTS = "the same effect in every cohort and event time"
    HOMOGENEOUS_COHORTS = "the same path of effects in every cohort"
    NUISANCE_RATES = "learners that converge faster than n to the -1/4"
    RANDOM_INSTRUMENT = "an instrument as good as random given covariates"
    EXCLUSION = "an instrument that moves treatment, and the outcome through it alone"
    MONOTONICITY = "no unit that the instrument keeps from treatment"
    QUASI_UNTREATED = "units whose dose is close to zero"
    STABLE_RANKS = (
        "untreated outcomes that rise with an unobservable whose distribution in each group does not change"
    )


class Supports(StrEnum):
    """What of a question or sample a design can take account of; what it does not list it refuses."""

    COVARIATES = "covariates"
    MISSING_CELLS = "gaps in the panel"
    REPEATED_CELLS = 'missing="cells"'
    ANTICIPATION = "anticipation"
    CLUSTERS = "clusters above the unit"
    WEIGHTS = "weights"
    LEVELS = "a treatment of several levels"
    SWITCHING = "a treatment that is not absorbing"
    NEVER_TREATED = 'comparison="never_treated"'
    VARYING_BASE = 'base="varying"'
    PROPORTIONAL = 'scale="proportional"'
    INSTRUMENT = "an instrument, which it needs"
    INSTRUMENTS = "several instruments"
    BALANCE = "balance"
    DOSE = "a dose, which it needs"
    DOSE_PATH = "an event that is a dose, which it needs"
    GROUP = "a third difference, which it needs"
    SUMS = "a panel larger than memory"


# What nearly every design takes account of; a design names what it adds and what it lacks.
COMMON = frozenset(
    {
        Supports.COVARIATES,
        Supports.MISSING_CELLS,
        Supports.ANTICIPATION,
        Supports.CLUSTERS,
        Supports.PROPORTIONAL,
    }
)
# What the designs assume that learn how untreated units would have changed.
OF_LEARNERS = (
    Assumes.CONDITIONAL_PARALLEL_TRENDS,
    Assumes.LIMITED_ANTICIPATION,
    Assumes.OVERLAP,
    Assumes.NUISANCE_RATES,
)
# What is assumed by designs that search for weights, factors or ranks.
SEARCHED = {Assumes.WEIGHTED_TRENDS, Assumes.FACTORS, Assumes.STABLE_RANKS}
# How to see that a sample needs something, and how to say it where the value of ``Supports`` does not.
_NEEDS: dict[Supports, Callable[[Sample], bool]] = {
    Supports.SUMS: lambda s: s.summed is not None,
    Supports.COVARIATES: lambda s: bool(s.question.covariates),
    Supports.MISSING_CELLS: lambda s: not s.observed.all(),
    Supports.REPEATED_CELLS: lambda s: s.question.missing == "cells",
    Supports.ANTICIPATION: lambda s: s.question.anticipation > 0,
    Supports.CLUSTERS: lambda s: s.question.cluster is not None,
    Supports.WEIGHTS: lambda s: s.question.weights is not None,
    Supports.LEVELS: lambda s: s.has_levels,
    Supports.SWITCHING: lambda s: s.first_treated is None,
    Supports.NEVER_TREATED: lambda s: s.question.comparison == "never_treated",
    Supports.VARYING_BASE: lambda s: s.question.base == "varying",
    Supports.PROPORTIONAL: lambda s: s.question.scale == "proportional",
    Supports.INSTRUMENT: lambda s: s.question.instrument is not None,
    Supports.INSTRUMENTS: lambda s: len(s.question.instruments) > 1,
    Supports.BALANCE: lambda s: s.question.balance is not None,
    Supports.DOSE: lambda s: s.question.dose is not None,
    Supports.GROUP: lambda s: s.group is not None,
}
# What some designs cannot do without, by the field of the question that says it.
_NEEDED = {Supports.INSTRUMENT: "instrument", Supports.DOSE: "dose", Supports.GROUP: "group"}
_IN_WORDS = {
    Supports.MISSING_CELLS: 'gaps in the outcome (missing="balanced" drops them)',
    Supports.ANTICIPATION: "anticipation above 0",
    Supports.CLUSTERS: "a cluster above the unit",
    Supports.SWITCHING: "an event that is not absorbing",
    Supports.INSTRUMENT: "an instrument",
    Supports.DOSE: "a dose",
    Supports.GROUP: "a third difference (group)",
    Supports.BALANCE: "a balance of cohorts",
    Supports.SUMS: "a panel larger than memory, since it needs the rows of single units",
}
_FIELDS = {field.name for field in fields(Question)}
# Outcomes less predicted untreated outcomes of a sample, fitted on the cells that are given, both (n, T).
PredictionErrors = Callable[[Sample, BoolArray], FloatArray]


@dataclass(frozen=True)
class Design:
    """A design's function and what is known of it before it runs.

    Attributes
    ----------
    name, title : str
    reference : str
        Key in ``paper/references.bib``.
    estimand : Estimand
    assumes : tuple of Assumes
    supports : tuple of Supports
    function : callable
        Takes a Sample and keyword options, returns an Estimate.
    nuisances : callable, optional
        Takes a Sample, a Learning and the other options, returns what the design would learn; for designs with
        learners.
    assigned : callable, optional
        Takes a Sample, orders of units and the options, returns for each order in which event dates are permuted the
        headline, its standard error and whether these are known, or else for the design itself to say; None where it
        always has to.
    predictor : callable, optional
        Takes a Sample and the options, for designs that predict untreated outcomes from some cells. Returns a function
        of a sample and of which of its cells are fitted, (n, T), that returns outcomes less predicted untreated
        outcomes, (n, T), NaN where there is no prediction. What the options leave to the design is chosen once.
    """

    name: str
    title: str
    reference: str
    estimand: Estimand
    assumes: tuple[Assumes, ...]
    supports: tuple[Supports, ...]
    function: Callable[..., Estimate]
    nuisances: Callable[..., Nuisances] | None = None
    assigned: Callable[..., tuple[FloatArray, FloatArray, BoolArray] | None] | None = None
    predictor: Callable[..., PredictionErrors] | None = None

    @cached_property
    def options(self) -> dict[str, Any]:
        """Options of the design with their defaults."""
        parameters = inspect.signature(self.function).parameters.values()
        return {p.name: p.default for p in parameters if p.kind is p.KEYWORD_ONLY}

    def nuisances_of(self, sample: Sample, **options: Any) -> Nuisances:
        """Return what the design learns under options, its defaults where they give none."""
        assert self.nuisances is not None, f"{self.name} has no learners"
        learning, others = Learning.split(self.options | options)
        return self.nuisances(sample, learning, **others)

    @property
    def draws(self) -> bool:
        """Whether the design draws at random under its default options, so that it has a seed."""
        return self.options.get("seed") is not None

    def seeded(self, options: Mapping[str, Any], seed: int) -> dict[str, Any]:
        """Return options with a seed where the design draws and they give none."""
        return ({"seed": seed} if self.draws else {}) | dict(options)

    @property
    def closed_form(self) -> bool:
        """Whether an answer is one solution of equations: nothing is learned, drawn or searched for.

        Searched for are weights of comparison units, factors, and ranks in distributions.
        """
        return not (self.learners or self.draws or SEARCHED & {*self.assumes})

    @cached_property
    def learners(self) -> tuple[str, ...]:
        """The options that take a learner."""
        hints = hints_of(self.function)
        return tuple(name for name in self.options if Estimator in get_args(hints[name]))

    def refusal(self, sample: Sample) -> str | None:
        """Say in one line why the design cannot answer the sample's question, or return None."""
        for trait, needs in _NEEDS.items():
            if needs(sample) and trait not in self.supports:
                if trait is Supports.MISSING_CELLS and self.without_gaps(sample) is not sample:
                    continue
                others = [d for d in all_designs().values() if trait in d.supports]
                able = ", ".join(d.name for d in others if sample.has_levels or not d.needs_dose_path)
                words = _IN_WORDS.get(trait, trait)
                where = f" {sample.switch_off}." if trait is Supports.SWITCHING else ""
                return (
                    f"{self.name}: it cannot answer a question with {words}; "
                    f"{able or 'no design here'} can.{where}"
                )
        for trait, name in _NEEDED.items():
            if trait in self.supports and getattr(sample.question, name) is None:
                return f"{self.name}: the question has no {name}; name one with Question({name}=...)."
        if self.needs_dose_path and not sample.has_levels:
            return f"{self.name}: {sample.question.event} is no dose; name a dose of the panel as the event."
        return None

    def without_gaps(self, sample: Sample) -> Sample:
        """Return the units that are seen in all periods, where the design takes no gaps and some of both sides are."""
        seen = np.asarray(sample.observed.all(axis=1))
        if Supports.MISSING_CELLS in self.supports or seen.all() or sample.summed is not None:
            return sample
        try:
            return sample.only(seen, f"with gaps in the outcome, which {self.name} does not take")
        except QuestionError:
            return sample

    @property
    def needs_dose_path(self) -> bool:
        """Whether the event has to be a dose."""
        return Supports.DOSE_PATH in self.supports

    def predicts(self, who: str, sample: Sample, options: dict[str, Any]) -> PredictionErrors:
        """Return the design's predictor under options for another function, or refuse a design that has none."""
        if self.predictor is None:
            able = ", ".join(d.name for d in all_designs().values() if d.predictor is not None)
            raise QuestionError(
                f"{who}: {self.name} does not predict untreated outcomes of single units; {able} do."
            )
        self.check_options(options)
        self.refuse(sample)
        sample.needs_units(who)
        return self.predictor(sample, **self.options | options)

    def refuse(self, sample: Sample) -> None:
        """Raise the refusal of a question that the design cannot answer."""
        refusal = self.refusal(sample)
        if refusal is not None:
            raise QuestionError(refusal)

    def check_options(self, options: dict[str, Any]) -> None:
        """Refuse an option or a value of it that the design does not have."""
        for option in options.keys() & _FIELDS - self.options.keys():
            by_vcov = ' or vcov={"CRV1": "state"}' if option == "cluster" else ""
            raise QuestionError(
                f"{self.name}: {option} is part of what is asked and no option; "
                f"say it with Question({option}=...){by_vcov}."
            )
        refuse_other_arguments(self.name, options.keys() - self.options.keys())
        refuse_unknown("option", options, self.options, self.name)
        check(self.name, hints_of(self.function), options)
        for name, value in options.items():
            if is_listed(value) and not len(value):
                raise QuestionError(f"{self.name}: {name} is empty; name some, or leave it out.")

    def asked(self, question: Question, vcov: VcovWord) -> tuple[Question, VcovName]:
        """Return a question with the clusters that ``vcov`` names, and the name of its covariance estimator.

        Raises
        ------
        QuestionError
            If there is no such covariance estimator, or the question has other clusters.
        """
        name, cluster = read_vcov(self.name, vcov, GIVEN if self.name in WITH_MATRICES else ())
        if cluster is None or cluster == question.cluster:
            return question, name
        if question.cluster is not None:
            raise QuestionError(
                f"{self.name}: vcov clusters by {cluster} and Question by {question.cluster}; name one of them."
            )
        return question.replace(cluster=cluster), name

    def __call__(self, sample: Sample, **options: Any) -> Estimate:
        """Answer the sample's question."""
        check(self.name, {"sample": Sample}, {"sample": sample})
        self.check_options(options)
        self.refuse(sample)
        used, whole = self.options | options, self.without_gaps(sample)
        try:
            with one_thread():
                answer = self.function(whole, **options)
        except QuestionError as refusal:
            if not str(refusal).startswith(REGRESSION):
                raise
            raise QuestionError(f"{self.name}: {str(refusal).removeprefix(REGRESSION)}") from refusal
        if whole is not sample:
            gaps = f"{sample.n_units - whole.n_units} of {counted(sample.n_units, 'unit')} have gaps and are left out"
            answer = replace(
                answer, remarks=(f"{gaps}: {self.name} needs the same periods of all", *answer.remarks)
            )
        return replace(answer, design=self.name, options=used, seed=used.get("seed"))


WITH_MATRICES = ("iv", "panel_ols")  # designs that have linearmodels' covariance matrices
# How the algebra that designs share begins a refusal, which does not know whose it is.
REGRESSION = "Regression: "
_registered: dict[str, Design] = {}


def design(
    *,
    name: str | None = None,
    title: str,
    reference: str,
    estimand: Estimand,
    assumes: tuple[Assumes, ...],
    supports: Collection[Supports] = (),
    nuisances: Callable[..., Nuisances] | None = None,
    assigned: Callable[..., tuple[FloatArray, FloatArray, BoolArray] | None] | None = None,
    predictor: Callable[..., PredictionErrors] | None = None,
) -> Callable[[Callable[..., Estimate]], Design]:
    """Make a function a design of the catalogue, by default of its own name; see :class:`Design` for the arguments."""

    def register(function: Callable[..., Estimate]) -> Design:
        # Effects by cohort can be averaged over some cohorts.
        balance = {Supports.BALANCE} if estimand is Estimand.GROUP_TIME_ATT else set()
        own, in_order = name or function.__name__, tuple(t for t in Supports if t in {*supports, *balance})
        known = (own, title, reference, estimand, assumes, in_order, function)
        _registered[own] = Design(*known, nuisances, assigned, predictor)
        return _registered[own]

    return register


@cache
def _import_all() -> None:
    for module in pkgutil.iter_modules(__path__):
        import_module(f"{__name__}.{module.name}")
    for entry in entries():
        entry.load()


@cache
def entries() -> tuple[EntryPoint, ...]:
    """Return what other distributions name as designs, in order of the names."""
    others = entry_points(group="study.designs")
    return tuple(sorted(others, key=lambda entry: (entry.name, entry.value)))


def all_designs() -> dict[str, Design]:
    """Return every design by name: those of this folder, of other distributions, and made in this session.

    Returns
    -------
    dict of str to Design
    """
    _import_all()
    return dict(sorted(_registered.items()))


def answer_key(*question: object) -> str | None:
    """Return the key of an answer to a question, or None where not all that it depends on can be known.

    Nobody can say what a design that was made in a session calls there.
    """
    modules = {name: design.function.__module__ for name, design in all_designs().items()}
    roots = {root_of(entry.module) for entry in entries()}
    if not {*map(root_of, modules.values())} <= {"study", *roots}:
        return None
    codes = tuple((root, code_of(root)) for root in ("study", *sorted(roots)))
    names = tuple(entry.dist.name for entry in entries() if entry.dist is not None)
    return key_of((codes, versions(), modules, versions(names), question))


@checked
def find_design(name: str, where: str = "designs") -> Design:
    """Return a design by name, or raise a QuestionError that says where, and suggests the nearest one."""
    designs = all_designs()
    refuse_unknown("design", name, designs, where)
    return designs[name]


@checked
def estimate(
    panel: Panel | LargePanel,
    question: Question,
    design: str = "callaway_santanna",
    *,
    vcov: VcovWord = "jackknife",
    **options: Any,
) -> Estimate:
    """Answer a question about a panel with a design.

    Parameters
    ----------
    panel : Panel or LargePanel
    question : Question
    design : str
        Name of a design; ``study designs`` lists them.
    vcov : {"jackknife", "bell_mccaffrey", "pooled", "CR0", "CR1", "CR1_fixest", "CR1_areg"} or mapping
        The covariance estimator; see :mod:`study.estimates.vcov`. ``panel_ols`` and ``iv`` also have those of
        linearmodels, such as "twoway". As in pyfixest, ``{"CRV1": "state"}`` is "CR1_fixest" with clusters by a column,
        and ``{"CRV3": "state"}`` is "jackknife". ``fit.published`` is that of the design's reference implementation.
    **options
        Options of the design.

    Returns
    -------
    Estimate

    Raises
    ------
    QuestionError
        If the question cannot be asked of the panel or the design cannot answer it.
    """
    chosen = find_design(design)
    chosen.check_options(options)
    question, name = chosen.asked(question, vcov)
    return chosen(question.sample(panel), **options).with_vcov(name)
