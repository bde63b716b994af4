"""A data-generating process on the units and periods of a sample: what is drawn, and how each dial moves it.

With size s_i of unit i, the common growth G_t since the lowest period and the mean size m, the mean of a count without
treatment is

    mu_it = (s_i + r_i (G_t + m tau_t b_i)) exp(f_i tau_t + u_it),    r_i = 1 - a + a s_i / m,

where tau_t runs from 0 to 1 over the periods, a is the dial ``size_growth``, b_i is linear in a covariate (``linear``)
and in its square (``nonlinear``), f_i is a unit's loading of a factor (``factor``) and u_it a stationary first-order
autoregression (``shocks``, ``persistence``); the exponential has mean one. Where b is 0 and neither f nor u moves
adoption, trends are parallel in levels if a is 0, in proportion if a is 1; with b they are so given the covariate.
Where the least mean would be negative, a common growth is added (in r_i) that makes it zero, so that b stays what it
is. Adopters' means are multiplied by (1 + ``trends``)^tau_t. Counts are Poisson. A continuous outcome is the same in
sums,

    y_it = s_i + r_i G_t + sd (tau_t (b_i + f_i) + u_it),    r_i = 1 + a (s_i - m) / sd(s),

with dials that are shares of the mean for counts in standard deviations sd of the outcome.

Adoption fills the places that the sample has (:class:`Places`): in each period as many of those not yet
treated as in the sample, drawn with probabilities proportional to exp(h'z), z the unit's log size and its growth over
the two periods before, less the anticipation. The effect multiplies a unit's own mean by 1 + effect; it is added in
further Poisson counts, or taken away by thinning, so that panels with and without it are the same where nobody is
treated.

Each component has a random stream of its own: a dial moves nothing but what it is about.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property, partial
from numbers import Real
from typing import Any, Literal, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from study.core import BoolArray, Described, FloatArray, IntArray, QuestionError, refuse_unknown, sums_by
from study.panel import Question, Sample

Family = Literal["count", "continuous"]

# Log hazard ratio of adoption, a standard deviation of what confounds, where the dials linear and nonlinear are turned.
CONFOUNDED = 1.0
# In standard deviations: what confounds moves adoption no further, so that adopters have their like among the others.
LARGEST = 2.0
ROUNDING = 1e-9
# Means a period that adoption by size does not distinguish from smaller ones.
SMALLEST_SIZE = 1e-3
# A new component goes to the end: those before it keep their streams.
STREAMS = (
    "size", "factor", "shocks", "zeros", "counts", "adoption", "trends", "unfounded", "hidden", "heterogeneity",
    "reversal", "effect", "missing",
)  # fmt: skip


class Dial(NamedTuple):
    """What can be turned: its unit, its range, where it stands without calibration, and what it does."""

    unit: str
    low: float
    high: float
    neutral: float
    does: str


NO_EFFECT = "no effect"  # the title of a process in which tests are of their size
MEAN = "share of the counterfactual mean"
DIALS: dict[str, Dial] = {
    "effect": Dial(MEAN, -0.9, 10.0, 0.0, "average effect of treatment"),
    "heterogeneity": Dial("standard deviation between units, share of the effect", 0.0, 2.0, 0.0,
                          "effects that differ between units"),
    "dynamics": Dial("share of the first effect, a period since treatment", -0.5, 2.0, 0.0, "growth of effects"),
    "early": Dial("share of the effect, a period of adoption", -0.5, 0.5, 0.0, "larger effects of earlier cohorts"),
    "dose": Dial("elasticity of the effect, where there is a dose", 0.0, 2.0, 1.0, "effects that grow with the dose"),
    "size_growth": Dial("share of growth", 0.0, 2.0, 0.0, "growth in proportion to a unit's size"),
    "factor": Dial("standard deviation between units, share of the mean, first to last period", 0.0, 3.0, 0.0,
                   "an unobserved factor that units load on differently"),
    "shocks": Dial("standard deviation, share of the mean", 0.0, 3.0, 0.0, "shocks beyond Poisson noise"),
    "persistence": Dial("autocorrelation", 0.0, 0.99, 0.0, "how long shocks last"),
    "zeros": Dial("share of unit-periods", 0.0, 0.9, 0.0, "zeros beyond those of the counts, at the same mean"),
    "selection": Dial("multiple of the fitted hazard", -5.0, 5.0, 0.0, "adoption by recent growth"),
    "trends": Dial("share of the mean, first to last period", -0.9, 10.0, 0.0, "pre-existing trends of adopters"),
    "linear": Dial("share of the mean, first to last period, a standard deviation of the covariate", -0.9, 3.0, 0.0,
                   "growth and adoption that depend on a covariate linearly"),
    "nonlinear": Dial("share of the mean, first to last period, a standard deviation of the square", -0.9, 3.0, 0.0,
                      "growth and adoption that depend on a covariate's square, beyond what is linear"),
    "anticipation": Dial("share of the effect", 0.0, 1.0, 0.0, "an effect in the period before treatment"),
    "spillovers": Dial("share of the effect", -1.0, 1.0, 0.0, "what untreated neighbours of the treated have of it"),
    "hidden": Dial("share of the never-treated", 0.0, 0.9, 0.0, "treatment that is not recorded"),
    "unfounded": Dial("share of the recorded events", 0.0, 0.9, 0.0, "events without treatment"),
    "reversal": Dial("share of the treated, a period", 0.0, 0.9, 0.0, "treatment that is lost and recorded as kept"),
    "missing": Dial("share of unit-periods", 0.0, 0.9, 0.0, "cells that are not observed besides those of the panel"),
}  # fmt: skip


def effect_title(effect: float) -> str:
    """Return what the calibrated process with an effect is called."""
    return f"effect of {100 * effect:g}%" if effect else NO_EFFECT


def checked_dials(dials: Mapping[str, float], who: str) -> dict[str, float]:
    """Return dials as numbers, or refuse an unknown name or a value outside its range in one line."""
    refuse_unknown("dial", dials, DIALS, who)
    for name, value in dials.items():
        dial = DIALS[name]
        is_number = isinstance(value, Real) and not isinstance(value, bool)
        if not (is_number and math.isfinite(value) and dial.low <= value <= dial.high):
            raise QuestionError(
                f"{who}: dial {name} is {value}; it is from {dial.low:g} to {dial.high:g} ({dial.unit})."
            )
    return {name: float(value) for name, value in dials.items()}


class Places(NamedTuple):
    """The k places of a sample's treated units in order of their dates.

    Arrays of k + 1 rows end with what a unit without a place has, so that -1 is the number of that.

    Attributes
    ----------
    period : ndarray of int, shape (k,)
        When treatment begins, counted from 0; T or later after the window.
    assigned : ndarray of int, shape (n,)
        Who takes a place: the number of each unit, or of its cluster where treatment is assigned by cluster.
    recorded : ndarray, shape (k + 1,), or None
        First treated period, NaN = never.
    path : ndarray, shape (k + 1, T), or None
    dose : ndarray, shape (k + 1,), or None
    since : ndarray, shape (k + 1, T)
        Periods since treatment first began, -inf without treatment.
    amount : ndarray, shape (k + 1, T)
        Treatment in each period: 0 or 1, or the dose.
    averaged : ndarray of bool, shape (k + 1, T)
        From when treatment begins, unless it is in the first period: the cells that an average effect is of.
    """

    period: IntArray
    assigned: IntArray
    recorded: FloatArray | None
    path: FloatArray | None
    dose: FloatArray | None
    since: FloatArray
    amount: FloatArray
    averaged: BoolArray

    @property
    def inside(self) -> IntArray:
        """Numbers of the places whose treatment begins in the window."""
        return np.flatnonzero(self.period < self.since.shape[1])

    def relative(self, elasticity: float) -> FloatArray:
        """Return amounts to the power of an elasticity, with mean one where there is treatment, shape (k + 1, T)."""
        power = np.sign(self.amount) * np.abs(self.amount) ** elasticity
        return np.asarray(power / np.abs(power[self.amount != 0]).mean())


def places_of(sample: Sample) -> Places:
    """Return the places of a sample."""
    periods = len(sample.periods)
    treatment = np.nan_to_num(sample.treatment)
    if sample.first_treated is not None:
        period = sample.first_treated - sample.periods[0]
    else:
        period = np.where(sample.ever_treated, (treatment != 0).argmax(axis=1), np.nan)
    assigned = _assigned(sample)
    takers = np.unique(assigned, return_index=True)[1]
    takers = takers[~np.isnan(period[takers])]
    units = takers[np.argsort(period[takers], kind="stable")]
    since = np.full((len(units) + 1, periods), -np.inf)
    since[:-1] = np.arange(periods) - period[units][:, None]
    amount = (since >= 0).astype(float)
    recorded = path = dose = None
    if sample.first_treated is not None:
        recorded = np.append(sample.first_treated[units], np.nan)
    if sample.dose is not None:
        dose = np.append(sample.dose[units], 0.0)
        amount *= dose[:, None]
    if sample.path is not None:
        path = np.vstack([sample.path[units], np.zeros(periods)])
        amount = np.nan_to_num(path)
    period, averaged = period[units].astype(np.int64), (since >= 0) & (since[:, :1] < 0)
    return Places(period, assigned, recorded, path, dose, since, amount, averaged)


def _assigned(sample: Sample) -> IntArray:
    """Return the number of each unit, or of its cluster where the units of each are treated alike, shape (n,)."""
    own = sample.treatment if sample.first_treated is None else sample.first_treated[:, None]
    first = np.unique(sample.cluster, return_index=True)[1][sample.cluster]
    if np.array_equal(first, np.arange(len(own))) or not np.array_equal(own[first], own, equal_nan=True):
        return np.arange(len(own))
    if sample.dose is not None and (sample.dose[first] != sample.dose).any():
        raise QuestionError(
            f"simulate: each cluster ({sample.question.cluster}) is treated at one date, but {sample.question.dose} "
            "differs within some, and a process draws one dose for a cluster; leave out the cluster or the dose."
        )
    return sample.cluster


def taken(places: Places, log_hazard: FloatArray, rng: np.random.Generator) -> IntArray:
    """Return the number of the place that each unit takes, shape (n,), -1 for none.

    In each period as many of those not yet treated as have it in the sample, drawn without replacement with
    probabilities in proportion to their hazards: those of the shortest exponential waiting times.

    Parameters
    ----------
    places : Places
    log_hazard : ndarray, shape (n, P)
        In each of the P distinct periods of the places; the mean over its units is that of a cluster.
    rng : Generator
    """
    _, first, number = np.unique(places.period, return_index=True, return_counts=True)
    of, n = places.assigned, len(log_hazard)
    takers = int(of.max()) + 1
    if takers < n:
        log_hazard = sums_by(log_hazard, of) / np.bincount(of)[:, None]
    wait = rng.standard_exponential((len(first), takers)) * np.exp(-log_hazard.T)
    place = np.full(takers, -1)
    for row, start, size in zip(wait, first, number, strict=True):
        row[place >= 0] = np.inf
        place[np.argpartition(row, size - 1)[:size]] = start + rng.permutation(size)
    return place[of]


@dataclass(frozen=True, eq=False)
class Draw:
    """One simulated panel of n units and T periods.

    Attributes
    ----------
    y : ndarray, shape (n, T)
        The outcome in its own units, NaN where not observed.
    untreated : ndarray, shape (n, T)
        What it would have been had nobody been treated.
    first_treated : ndarray, shape (n,), or None
        Recorded first treated period, NaN = never.
    path : ndarray, shape (n, T), or None
        Recorded path of a treatment that is not absorbing.
    dose : ndarray, shape (n,), or None
    treated : ndarray of bool, shape (n, T)
        Cells that the effect is an average of: those of units whose event is recorded and true, from it on. Units
        that are treated from the first period on have no period before and are in no average.
    unit_ids : ndarray, shape (n,)
    """

    y: FloatArray
    untreated: FloatArray
    first_treated: FloatArray | None
    path: FloatArray | None
    dose: FloatArray | None
    treated: BoolArray
    unit_ids: NDArray[Any]

    def rows(self, sample: Sample) -> IntArray:
        """Return where the units of a sample are, shape (m,).

        Raises
        ------
        QuestionError
            If one of them was not drawn, or its periods are others.
        """
        rows = pd.Index(self.unit_ids).get_indexer(sample.unit_ids)
        others = np.count_nonzero(rows < 0)
        if others or len(sample.periods) != self.y.shape[1]:
            what = f"{others} units" if others else "periods"
            raise QuestionError(
                f"simulate: the sample has {what} that its process does not draw; ask about fewer."
            )
        return rows


def truth(draw: Draw, sample: Sample) -> tuple[float, float]:
    """Return the average effect of one draw by the question's average, and the untreated mean of the same cells.

    Averages over draws of both are the process's; an effect in proportion is their ratio. The effect on a cohort in a
    period is the mean over its units that are seen in it, and unless the question takes cells as repeated
    cross-sections, in the cohort's base period; cohorts are averaged by their weight, seen or not, as
    :meth:`study.Estimate.aggregate` does. Of a path, "event_average" is of periods since treatment first began; where
    every unit is treated it is per unit of treatment, and so is every other average. Both are NaN where no cell is
    seen.

    Parameters
    ----------
    draw : Draw
    sample : Sample
        What :meth:`Process.sample_of` makes of the draw: units, weights and question.
    """
    question, rows = sample.question, draw.rows(sample)
    cells = draw.treated[rows]
    some = cells.any(axis=1)
    units, cells, weights = rows[some], cells[some], sample.weights[some]
    y, untreated = draw.y[units], draw.untreated[units]
    start = cells.argmax(axis=1)
    used = cells & ~np.isnan(y)
    if question.missing != "cells":
        base = np.maximum(start + question.reference, 0)
        used &= ~np.isnan(y[np.arange(len(y)), base])[:, None]
    if question.scale == "log1p":
        y, untreated = np.log1p(y), np.log1p(untreated)
    dates, cohort = np.unique(start, return_inverse=True)
    member = (cohort == np.arange(len(dates))[:, None]) * weights
    weight = member @ used
    effect, mean = (member @ np.where(used, values, 0.0) for values in (y - untreated, untreated))
    since = np.arange(y.shape[1]) - dates[:, None]
    if draw.path is not None:
        amount = member @ np.where(used, np.nan_to_num(draw.path[units]), 0.0)
        per_unit = question.average != "event_average" or bool(sample.ever_treated.all())
        average = partial(_of_path, question, since, weight)
        return average(effect, amount if per_unit else weight), average(mean, weight)
    share = _shares(question, since, member.sum(axis=1)[:, None] * (weight > 0))
    if not share.any():
        return float("nan"), float("nan")
    share /= np.where(weight > 0, weight, 1.0) * share.sum()
    return float(np.sum(share * effect)), float(np.sum(share * mean))


def _shares(question: Question, since: IntArray, size: FloatArray) -> FloatArray:
    """Return the part of each cell in the question's average, shape (G, T), where ``size`` is its cohort's or zero."""
    if question.balance is not None:
        times = (since >= 0) & (since <= question.balance) & (size > 0)
        size = size * (times.sum(axis=1, keepdims=True) == question.balance + 1) * (since <= question.balance)
    if question.average == "treated_average":
        return size
    if question.average == "cohort_average":
        return size / np.maximum((size > 0).sum(axis=1, keepdims=True), 1)
    label = np.indices(size.shape)[1]
    if question.average == "event_average":
        size = size * (since <= question.last)
        label = np.maximum(since, 0)
    total = np.bincount(label.ravel(), size.ravel())[label]
    return np.divide(size, total, out=np.zeros_like(size), where=total > 0)


def _of_path(
    question: Question, since: IntArray, weight: FloatArray, values: FloatArray, divisor: FloatArray
) -> float:
    """Return the average of a path from sums over the units that are seen, shape (G, T), up to the horizon."""
    seen = (weight > 0) & (since <= question.last)
    if not seen.any():
        return float("nan")
    label = since[seen] * (question.average == "event_average")
    value, by, number = (np.bincount(label, each[seen]) for each in (values, divisor, weight))
    return float(np.mean(value[number > 0] / by[number > 0]))


@dataclass(frozen=True, eq=False, repr=False)
class Process(Described):
    """A data-generating process; :func:`study.calibrate` makes one of a panel.

    Attributes
    ----------
    sample : Sample
        The units, periods, covariates, gaps and dates that it has.
    family : {"count", "continuous"}
    size : ndarray, shape (2, n)
        Shape and rate of the Gamma distribution of a unit's size for counts, else mean and standard deviation of the
        normal distribution.
    growth : ndarray, shape (T,)
        Mean of the untreated outcome less that of its lowest period.
    mean_size : float
    spread : float
        Standard deviation of the outcome, in which the dials of a continuous one are.
    hazard : ndarray, shape (2,)
        Log hazard ratios of adoption: a standard deviation of :func:`log_size`, and a unit of :func:`recent_growth`.
    dials : mapping of str to float
        Where each of :data:`study.simulate.DIALS` stands.
    neighbours : ndarray of int, shape (n,), optional
        Group of each unit in which treatment spills over, from 0; without it all units are neighbours.

    Raises
    ------
    QuestionError
        If a dial is unknown, out of its range, or turns what the process does not have.
    """

    sample: Sample
    family: Family
    size: FloatArray
    growth: FloatArray
    mean_size: float
    spread: float
    hazard: FloatArray
    dials: Mapping[str, float]
    neighbours: IntArray | None = None

    def __post_init__(self) -> None:
        """Fill in the dials that are not named, and check those that are."""
        neutral = {name: dial.neutral for name, dial in DIALS.items()}
        object.__setattr__(self, "dials", neutral | checked_dials(self.dials, "Process"))
        question, turned = self.sample.question, self.turned_dials
        n, periods = self.sample.y.shape
        for name, shape in (("size", (2, n)), ("growth", (periods,)), ("hazard", (2,)), ("neighbours", (n,))):
            values = getattr(self, name)
            if values is not None and np.shape(values) != shape:
                raise QuestionError(f"Process: {name} has shape {np.shape(values)}; it must be {shape}.")
        if self.family == "continuous" and question.scale == "log1p":
            raise QuestionError(
                f"Process: draws of {question.outcome}, which is no count, can be below -1, where log1p has no value; "
                'use scale="level".'
            )
        if "zeros" in turned and self.family != "count":
            raise QuestionError(
                f"Process: dial zeros is of counts, and {question.outcome} is not one; leave it out."
            )
        if "dose" in turned and self.sample.dose is None and not self.sample.has_levels:
            raise QuestionError(
                f"Process: dial dose is turned, but {question.event} has no dose; leave it out."
            )
        if "nonlinear" in turned and not self.square.any():
            raise QuestionError(
                "Process: dial nonlinear is turned, but the covariate has two values, whose square is linear in it; "
                "name another covariate first."
            )

    def turned(self, **dials: float) -> Process:
        """Return the process with some dials turned."""
        return replace(self, dials={**self.dials, **checked_dials(dials, "simulate")})

    @property
    def turned_dials(self) -> dict[str, float]:
        """The dials that are not neutral."""
        return {name: value for name, value in self.dials.items() if value != DIALS[name].neutral}

    def _described(self) -> tuple[str, dict[str, str]]:
        n, periods = self.sample.y.shape
        what = "counts" if self.family == "count" else "continuous outcomes"
        title = f"Process on {self.sample.panel.name}: {what} of {n} units in {periods} periods"
        number = len(np.unique(self.places.assigned[self.sample.ever_treated]))
        who = "clusters" if self.places.assigned.max() + 1 < n else "units"
        facts = {"question": repr(self.sample.question), "treated": f"{number} {who} a panel"}
        dials = {
            f"dial {name}": f"{value:g} ({DIALS[name].unit})" for name, value in self.turned_dials.items()
        }
        if self.family == "continuous":
            facts["shares of the mean"] = f"in the outcome's standard deviation, {self.spread:.3g}"
        return title, facts | (dials or {"dials": "all neutral"})

    @cached_property
    def covariate(self) -> FloatArray:
        """What ``linear`` and ``nonlinear`` are about, standardized, shape (n,).

        The question's first covariate of more than two values, or its first; where it has none, the log of expected
        size, or expected size.
        """
        columns = self.sample.x_baseline.T
        several = [x for x in columns if len(np.unique(x[~np.isnan(x)])) > 2]
        expected = log_size(self.size[0] / self.size[1], "count") if self.family == "count" else self.size[0]
        return _standardized([*several, *columns, expected][0])

    @cached_property
    def square(self) -> FloatArray:
        """The covariate's square less what is linear in it, standardized, shape (n,); 0 where it has two values."""
        x = self.covariate
        square = x**2 - np.mean(x**2) - x * (np.mean(x**3) / (np.mean(x**2) or 1.0))
        return _standardized(np.where(np.abs(square) < ROUNDING, 0.0, square))

    @cached_property
    def places(self) -> Places:
        """Dates, paths and doses that there are to be taken."""
        return places_of(self.sample)

    @cached_property
    def profile(self) -> FloatArray:
        """Effect on who has each place, or none, in each period as a multiple of the average one, shape (k + 1, T)."""
        dials, since, period = self.dials, self.places.since, self.places.period
        relative, inside = self.places.relative(dials["dose"]), self.places.inside
        times = np.arange(1.0 + min(max(since.max(), 0.0), self.sample.question.last))
        path, later = (np.maximum(1 + dials["dynamics"] * e, 0) for e in (times, np.maximum(since, 0)))
        by_date, entry = np.ones(len(since)), np.ones(len(since))
        by_date[:-1] = np.maximum(1 + dials["early"] * (period[inside].mean() - period), 0)
        entry[inside] = relative[inside, period[inside]]
        before = np.where(since == -1, dials["anticipation"] * entry[:, None], 0.0)
        return np.asarray(by_date[:, None] * (relative * later / path.mean() + before))

    def draw(self, rng: np.random.Generator) -> Draw:
        """Draw one panel; all of it depends on a few integers from the generator, which seed the streams."""
        seeds = rng.integers(2**63, size=len(STREAMS))
        streams = {name: np.random.default_rng(seed) for name, seed in zip(STREAMS, seeds, strict=True)}
        size, tau = self._sizes(streams["size"]), np.linspace(0, 1, len(self.growth))
        mean, index = self._means(size, tau), self._index(streams, tau)
        if self.family == "count":
            mean = mean * np.exp(index) * self._not_zero(streams["zeros"])
            untreated = streams["counts"].poisson(mean).astype(float)
        else:
            mean = untreated = mean + self.spread * index
        place = self._adoption(size, untreated, streams["adoption"])
        trend = self.dials["trends"]
        trends = (1 + trend) ** tau - 1 if self.family == "count" else trend * tau
        untreated, mean = self._moved(untreated, mean, np.outer(place >= 0, trends), streams["trends"])
        true = self._true_places(place, streams)
        y, _ = self._moved(untreated, mean, self._effects(true, streams), streams["effect"])
        seen = self.sample.observed
        if self.dials["missing"]:
            seen = seen & (streams["missing"].random(y.shape) >= self.dials["missing"])
        recorded, path, dose = (
            None if values is None else values[place]
            for values in (self.places.recorded, self.places.path, self.places.dose)
        )
        averaged = self.places.averaged[np.where(place >= 0, true, -1)]
        if self.sample.group is not None:
            averaged &= self.sample.group[:, None]
        return Draw(
            np.where(seen, y, np.nan), untreated, recorded, path, dose, averaged, self.sample.unit_ids
        )

    def _sizes(self, rng: np.random.Generator) -> FloatArray:
        first, second = self.size
        if self.family == "count":
            return np.asarray(rng.gamma(first) / second)
        return np.asarray(rng.normal(first, second))

    def _means(self, size: FloatArray, tau: FloatArray) -> FloatArray:
        """Return what units would have without factor, shocks and treatment, shape (n, T)."""
        a, count = self.dials["size_growth"], self.family == "count"
        own = self.dials["linear"] * self.covariate + self.dials["nonlinear"] * self.square
        by_covariate = np.outer(own, tau)
        if not count:
            relative = 1 + a * (size - self.mean_size) / (np.std(size) or 1.0)
            return size[:, None] + np.outer(relative, self.growth) + self.spread * by_covariate
        relative = (1 - a) + a * size / self.mean_size
        growth = self.growth + self.mean_size * by_covariate
        grows = relative > 0
        if own.any() and grows.any():
            least = (size[grows] / relative[grows])[:, None] + growth[grows]
            growth = growth + np.maximum(-least.min(axis=0), 0)
        return np.maximum(size[:, None] + relative[:, None] * growth, 0)

    def _index(self, streams: Mapping[str, np.random.Generator], tau: FloatArray) -> FloatArray:
        """Return factor and shocks, shape (n, T), whose exponential has mean one where it is of counts."""
        n, periods = self.sample.y.shape
        index = np.zeros((n, periods))
        for name, shape in (("factor", tau), ("shocks", np.ones(periods))):
            if not (share := self.dials[name]):
                continue
            if name == "factor":
                normal = streams[name].standard_normal((n, 1))
            else:
                lag = np.abs(np.subtract.outer(np.arange(periods), np.arange(periods)))
                root = np.linalg.cholesky(self.dials["persistence"] ** lag)
                normal = streams[name].standard_normal((n, periods)) @ root.T
            if self.family == "count":
                sd = shape * np.sqrt(np.log1p(share**2))
                index += sd * normal - sd**2 / 2
            else:
                index += shape * share * normal
        return index

    def _not_zero(self, rng: np.random.Generator) -> FloatArray:
        """Return zero for a share of cells, and for the others what leaves the mean as it was, shape (n, T)."""
        share = self.dials["zeros"]
        return np.asarray((rng.random(self.sample.y.shape) >= share) / (1 - share))

    def _adoption(self, size: FloatArray, y: FloatArray, rng: np.random.Generator) -> IntArray:
        """Return the number of the place that each unit takes, shape (n,), -1 for none."""
        index = self.hazard[0] * _standardized(log_size(size, self.family))
        for name, z in (("linear", self.covariate), ("nonlinear", self.square)):
            if self.dials[name]:
                index = index + CONFOUNDED * np.clip(z, -LARGEST, LARGEST)
        periods, by_growth = np.unique(self.places.period), self.dials["selection"] * self.hazard[1]
        log_hazard = np.repeat(index[:, None], len(periods), axis=1)
        if by_growth:
            before = periods - self.sample.question.anticipation
            log_hazard += by_growth * recent_growth(y, before, self.family, self.spread)
        return taken(self.places, log_hazard, rng)

    def _true_places(self, place: IntArray, streams: Mapping[str, np.random.Generator]) -> IntArray:
        """Return the place of which each unit has the effect, shape (n,), -1 for none."""
        true, inside = place.copy(), self.places.inside
        recorded, others = np.flatnonzero(np.isin(place, inside)), np.flatnonzero(place < 0)
        true[_some(recorded, self.dials["unfounded"], streams["unfounded"])] = -1
        hidden = _some(others, self.dials["hidden"], streams["hidden"])
        true[hidden] = streams["hidden"].choice(inside, len(hidden))
        return true

    def _effects(self, true: IntArray, streams: Mapping[str, np.random.Generator]) -> FloatArray:
        """Return the effect on every cell, in shares of the mean without treatment or in ``spread``, shape (n, T)."""
        dials, group, since = self.dials, self.sample.group, self.places.since[true]
        sd, own = dials["heterogeneity"], self.profile[true]
        if sd:
            own *= streams["heterogeneity"].gamma(1 / sd**2, sd**2, size=(len(true), 1))
        if dials["reversal"]:
            own[since >= streams["reversal"].geometric(dials["reversal"], size=(len(true), 1))] = 0
        if group is not None:
            own[~group] = 0
        if dials["spillovers"]:
            treated = (since >= 0) & (own != 0)
            neighbours = np.zeros(len(true), dtype=np.int64) if self.neighbours is None else self.neighbours
            near = np.zeros((neighbours.max() + 1, own.shape[1]), dtype=bool)
            some = treated.any(axis=1)
            np.logical_or.at(near, neighbours[some], treated[some])
            own += dials["spillovers"] * (near[neighbours] & ~treated)
        own *= dials["effect"]
        return np.maximum(own, -1.0) if self.family == "count" else own

    def _moved(
        self, values: FloatArray, mean: FloatArray, share: FloatArray, rng: np.random.Generator
    ) -> tuple[FloatArray, FloatArray]:
        """Return outcomes with means that a share, shape (n, T), is added to, and these means.

        Counts are as near to the given ones as can be: more are added Poisson counts, fewer are thinned.
        """
        if self.family == "continuous":
            return values + self.spread * share, mean + self.spread * share
        rows = np.flatnonzero(share.any(axis=1))
        moved, means, own = values.copy(), mean.copy(), share[rows]
        more = rng.poisson(mean[rows] * np.maximum(own, 0))
        fewer = rng.binomial(values[rows].astype(np.int64), 1 + np.minimum(own, 0))
        moved[rows], means[rows] = fewer + more, mean[rows] * (1 + own)
        return moved, means

    def sample_of(self, draw: Draw, template: Sample | None = None) -> Sample:
        """Return the sample of a draw as a design takes it.

        Parameters
        ----------
        draw : Draw
        template : Sample, optional
            A sample of some of the units and the same periods, with its own covariates and scale; the process's own
            where none is given. Units that its question leaves out by dates and gaps as drawn are dropped.

        Raises
        ------
        QuestionError
            If it has units or periods that are not drawn, or no treated or no untreated unit is left.
        """
        template = self.sample if template is None else template
        rows = draw.rows(template)
        y = draw.y[rows]
        values: dict[str, Any] = {"y": np.log1p(y) if template.question.scale == "log1p" else y}
        for name in ("first_treated", "path", "dose"):
            drawn = getattr(draw, name)
            values[name] = None if drawn is None else drawn[rows]
        sample = replace(template, **values)
        keep = _kept(sample)
        return sample if keep.all() else sample.only(keep, "left out by the question as drawn")


def _kept(sample: Sample) -> BoolArray:
    """Return which units a question keeps, of those that it kept with other dates and gaps, shape (n,)."""
    question, observed = sample.question, sample.observed
    keep = np.asarray(observed.all(axis=1) if question.missing == "balanced" else observed.any(axis=1))
    if sample.first_treated is None:
        return keep
    entry = sample.first_treated - question.anticipation
    late = entry > sample.periods[-1]
    keep &= ~(entry <= sample.periods[0]) & ~(late & (question.comparison == "never_treated"))
    smallest = question.min_cohort_size
    if smallest > 1:
        cohort = np.unique(sample.first_treated, return_inverse=True)[1]
        keep &= np.isnan(entry) | late | (np.bincount(cohort, keep)[cohort] >= smallest)
    return keep


def _some(units: IntArray, share: float, rng: np.random.Generator) -> IntArray:
    """Return a share of units by chance, rounded down; of fewer than one, one as often as makes the share."""
    order, number = rng.permutation(units), share * len(units)
    return order[: int(number + ROUNDING) or int(rng.random() < number)]


def _standardized(x: FloatArray) -> FloatArray:
    return np.nan_to_num((x - np.nanmean(x)) / (np.nanstd(x) or 1.0))


def log_size(size: FloatArray, family: Family) -> FloatArray:
    """Return what adoption by size is about: the log of a mean count, or the size itself, shape (n,).

    Sizes so small that nothing is ever counted are alike.
    """
    return np.log(np.maximum(size, SMALLEST_SIZE)) if family == "count" else size


def recent_growth(y: FloatArray, period: int | IntArray, family: Family, spread: float) -> FloatArray:
    """Return the growth of each unit over the two periods before one, on the scale log(1 + y) for counts.

    Of one period it has shape (n,), of P periods (n, P); before the third there are fewer periods, or none.
    """
    last = np.clip(period, 1, y.shape[1]) - 1
    level = np.log1p(y) if family == "count" else y / spread
    return np.asarray(level[:, last] - level[:, np.maximum(last - 2, 0)])
