"""A data-generating process on the units and periods of a sample, and what it draws.

With size s_i of unit i, the common growth G_t since the lowest period and the mean size m, the mean of a count without
treatment is

    mu_it = (s_i + G_t ((1 - a) + a s_i / m)) exp(b_i tau_t + u_it)

where a is the dial ``size_growth``, tau_t runs from 0 to 1 over the periods, b_i adds up log growth beyond the common
one (the dials ``trends``, ``factor``, ``linear``, ``nonlinear``), and u_it is a stationary first-order autoregression
(``shocks``, ``persistence``) with E exp(u) = 1. Where a is 0 and b and u are, trends are parallel in levels; where a is
1, in proportion. Counts are Poisson. A continuous outcome is the same in sums,

    y_it = s_i + G_t (1 + a (s_i - m) / sd(s)) + sd (b_i tau_t + u_it),

with dials that are shares of the mean for counts in standard deviations sd of the outcome. Adoption fills the places
that the sample has: in each period as many of those not yet treated as in the sample, drawn with probabilities
proportional to exp(h'z), z the unit's log size and its growth over the last two periods. A place brings its date, path
and dose.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Literal, NamedTuple

import numpy as np

from study.core import BoolArray, FloatArray, IntArray
from study.panel import Sample
from study.simulate.dials import DIALS, checked_dials

Family = Literal["count", "continuous"]

# Log hazard ratio of adoption, a standard deviation of what confounds, where the dials linear and nonlinear are turned.
CONFOUNDED = 1.0


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
        Cells that the effect is an average of: those of units whose event is recorded and true, from it on.
    """

    y: FloatArray
    untreated: FloatArray
    first_treated: FloatArray | None
    path: FloatArray | None
    dose: FloatArray | None
    treated: BoolArray


@dataclass(frozen=True, eq=False)
class Process:
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
        Log hazard ratios of adoption by standardized log size (size, where it is continuous) and recent growth.
    dials : mapping of str to float
        Where each of :data:`study.simulate.DIALS` stands.
    neighbours : ndarray of int, shape (n,), optional
        Group of each unit in which treatment spills over; without it all units are neighbours.
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

    def turned(self, **dials: float) -> Process:
        """Return the process with some dials turned."""
        return replace(self, dials={**self.dials, **checked_dials(dials, "simulate")})

    @cached_property
    def covariate(self) -> FloatArray:
        """What ``linear`` and ``nonlinear`` are about, standardized: the question's first covariate, else log size."""
        x = self.sample.x_baseline[:, 0] if self.sample.x_baseline.size else self._expected_size
        spread = np.nanstd(x)
        return np.nan_to_num((x - np.nanmean(x)) / (spread or 1.0))

    @cached_property
    def _expected_size(self) -> FloatArray:
        if self.family == "continuous":
            return self.size[0]
        return np.log(self.size[0] / self.size[1])

    def draw(self, rng: np.random.Generator) -> Draw:
        """Draw one panel."""
        sample, dials, (n, periods) = self.sample, self.dials, self.sample.y.shape
        tau, x = np.linspace(0, 1, periods), self.covariate
        size = self._sizes(rng)
        square = (x**2 - 1) / (np.std(x**2) or 1.0)
        slope: FloatArray = self._slope("factor") * rng.normal(size=n)
        slope += self._slope("linear") * x + self._slope("nonlinear") * square
        index = slope[:, None] * tau + self._shocks(rng)
        base = size[:, None] + self.growth * self._relative(size)[:, None]
        seen = sample.observed & (rng.random((n, periods)) >= dials["missing"])
        if self.family == "count":
            # Where the common path falls, the smallest units have nothing left to lose.
            mean = np.maximum(base, 0) * np.exp(index) * (rng.random((n, periods)) >= dials["zeros"])
            untreated = rng.poisson(mean).astype(float)
        else:
            mean = untreated = base + self.spread * index
        confounded = CONFOUNDED * (x * (dials["linear"] != 0) + square * (dials["nonlinear"] != 0))
        place = self._places(rng, size, untreated, confounded)
        trend = np.outer(place >= 0, self._slope("trends") * tau)
        if self.family == "count":
            untreated, mean = _times(rng, untreated, mean, np.exp(trend)), mean * np.exp(trend)
        else:
            untreated = untreated + self.spread * trend
        history = self._history(rng, place)
        effect = self._effect(rng, history)
        y = untreated + self.spread * effect
        if self.family == "count":
            y = _times(rng, untreated, mean, 1 + effect)
        y = np.where(seen, y, np.nan)
        return Draw(y, untreated, history.recorded, history.path, history.dose, history.averaged)

    def _sizes(self, rng: np.random.Generator) -> FloatArray:
        first, second = self.size
        if self.family == "count":
            return np.asarray(rng.gamma(first) / second)
        return np.asarray(rng.normal(first, second))

    def _relative(self, size: FloatArray) -> FloatArray:
        """Return how much of the common growth each unit has, shape (n,)."""
        a = self.dials["size_growth"]
        if self.family == "count":
            return (1 - a) + a * size / self.mean_size
        return 1 + a * (size - self.mean_size) / (np.std(size) or 1.0)

    def _slope(self, dial: str) -> float:
        """Return what a dial adds to the index from the first period to the last."""
        value = self.dials[dial]
        return float(np.log1p(value)) if self.family == "count" else value

    def _shocks(self, rng: np.random.Generator) -> FloatArray:
        """Return a stationary autoregression, shape (n, T), whose exponential has mean one where it is of counts."""
        share, rho = self.dials["shocks"], self.dials["persistence"]
        sd = float(np.sqrt(np.log1p(share**2))) if self.family == "count" else share
        shocks = sd * rng.normal(size=self.sample.y.shape)
        for t in range(1, shocks.shape[1]):
            shocks[:, t] = rho * shocks[:, t - 1] + np.sqrt(1 - rho**2) * shocks[:, t]
        return shocks - sd**2 / 2 if self.family == "count" else shocks

    @cached_property
    def places(self) -> tuple[IntArray, IntArray]:
        """Units of the sample that are treated, in order of their dates, and the period of each, counted from 0."""
        sample = self.sample
        if sample.first_treated is not None:
            units = np.flatnonzero(~np.isnan(sample.first_treated))
            period = sample.first_treated[units] - sample.periods[0]
        else:
            units = np.flatnonzero(sample.ever_treated)
            period = (np.nan_to_num(sample.treatment[units]) != 0).argmax(axis=1)
        order = np.argsort(period, kind="stable")
        return units[order], period[order].astype(np.int64)

    def _places(
        self, rng: np.random.Generator, size: FloatArray, y: FloatArray, confounded: FloatArray
    ) -> IntArray:
        """Return the place in ``places`` that each unit takes, shape (n,), -1 for none.

        Largest of log hazard plus Gumbel noise are draws without replacement with probabilities of the hazard.
        """
        at_size = np.log(size) if self.family == "count" else size
        at_size = (at_size - at_size.mean()) / (at_size.std() or 1.0)
        fixed = self.hazard[0] * at_size + confounded
        place, (_, periods) = np.full(len(size), -1), self.places
        for period in np.unique(periods):
            at = np.flatnonzero(periods == period)
            growth = recent_growth(y, int(period), self.family, self.spread)
            score = fixed + self.dials["selection"] * self.hazard[1] * growth + rng.gumbel(size=len(size))
            score[place >= 0] = -np.inf
            place[np.argpartition(-score, len(at) - 1)[: len(at)]] = rng.permutation(at)
        return place

    def _history(self, rng: np.random.Generator, place: IntArray) -> _History:
        """Return what is recorded of each unit's treatment, and when it is treated in truth."""
        sample, dials, n = self.sample, self.dials, self.sample.n_units
        units, starts = self.places
        adopts, unit = place >= 0, units[place]
        start = np.where(adopts, starts[place], -1).astype(float)
        time = np.arange(float(len(sample.periods)))
        recorded = path = None
        dose = None if sample.dose is None else np.where(adopts, sample.dose[unit], 0.0)
        if sample.first_treated is not None:
            recorded = np.where(adopts, sample.first_treated[unit], np.nan)
        else:
            assert sample.path is not None
            path = np.where(adopts[:, None], sample.path[unit], 0.0)
        true = adopts & (rng.random(n) >= dials["unfounded"])
        hidden = ~adopts & (rng.random(n) < dials["hidden"])
        from_start = rng.choice(starts, size=n)
        start = np.where(true, start, np.where(hidden, from_start, np.nan))
        kept = rng.geometric(dials["reversal"], size=n) if dials["reversal"] else np.full(n, np.inf)
        since = time - start[:, None]
        amount = ((since >= 0) & (since < kept[:, None])).astype(float)
        if path is not None:
            positive = np.nan_to_num(path)[np.nan_to_num(path) != 0]
            amount = np.where(hidden[:, None], amount, np.nan_to_num(path) / positive.mean() * true[:, None])
        averaged = (since >= 0) & true[:, None] if path is None else amount * true[:, None] != 0
        return _History(recorded, path, dose, start, since, amount, averaged)

    def _effect(self, rng: np.random.Generator, history: _History) -> FloatArray:
        """Return the effect on every cell, in shares of the mean without treatment or in ``spread``, shape (n, T)."""
        dials, sample = self.dials, self.sample
        sd, since = dials["heterogeneity"], np.nan_to_num(history.since, nan=-1.0)
        unit = rng.gamma(1 / sd**2, sd**2, size=len(since)) if sd else np.ones(len(since))
        by_date = 1 + dials["early"] * (self.places[1].mean() - np.nan_to_num(history.start))
        unit = unit * np.maximum(by_date, 0)
        if history.dose is not None and dials["dose"]:
            known = np.where(history.dose > 0, history.dose, np.nan)
            unit = unit * np.nan_to_num(known / np.nanmean(known), nan=1.0) ** dials["dose"]
        last = sample.question.horizon
        times = np.arange(1.0 + (since.max(initial=0) if last is None else last))
        by_time = 1 + dials["dynamics"] * np.maximum(since, 0)
        by_time = np.maximum(by_time / (1 + dials["dynamics"] * times.mean()), 0)
        own = history.amount * by_time * unit[:, None]
        before = (since == -1) & ~np.isnan(history.start)[:, None]
        own = np.where(before, dials["anticipation"] * unit[:, None], own)
        if dials["spillovers"]:
            group = np.zeros(len(since), dtype=np.int64) if self.neighbours is None else self.neighbours
            near = np.zeros((group.max() + 1, since.shape[1]))
            np.maximum.at(near, group, history.amount)
            own = np.where(history.amount == 0, own + dials["spillovers"] * (near[group] > 0), own)
        effect = dials["effect"] * own
        return np.maximum(effect, -1.0) if self.family == "count" else effect

    def sample_of(self, draw: Draw, template: Sample | None = None) -> Sample:
        """Return the sample of a draw as a design takes it.

        Parameters
        ----------
        draw : Draw
        template : Sample, optional
            A sample of some of the units and the same periods, with its own covariates and scale; the process's own
            where none is given.
        """
        template = template or self.sample
        rows = np.arange(self.sample.n_units)
        if template.n_units != self.sample.n_units:
            rows = self._rows(template)
        y = draw.y[rows]
        values: dict[str, Any] = {"y": np.log1p(y) if template.question.scale == "log1p" else y}
        for name in ("first_treated", "path", "dose"):
            values[name] = None if getattr(draw, name) is None else getattr(draw, name)[rows]
        return replace(template, **values)

    def _rows(self, template: Sample) -> IntArray:
        number = {unit: i for i, unit in enumerate(self.sample.unit_ids)}
        return np.array([number[unit] for unit in template.unit_ids])


class _History(NamedTuple):
    """Recorded dates, paths and doses; true starts counted from 0, periods since, amounts; cells that are averaged."""

    recorded: FloatArray | None
    path: FloatArray | None
    dose: FloatArray | None
    start: FloatArray
    since: FloatArray
    amount: FloatArray
    averaged: BoolArray


def recent_growth(y: FloatArray, period: int, family: Family, spread: float) -> FloatArray:
    """Return the growth of each unit over the two periods before one, on the log scale for counts, shape (n,)."""
    last = max(min(period, y.shape[1]) - 1, 0)
    first = max(last - 2, 0)
    if family == "count":
        return np.asarray(np.log1p(y[:, last]) - np.log1p(y[:, first]))
    return np.asarray((y[:, last] - y[:, first]) / spread)


def _times(rng: np.random.Generator, counts: FloatArray, mean: FloatArray, factor: FloatArray) -> FloatArray:
    """Return counts whose mean is a factor times as large, as near to the given ones as can be.

    More are added Poisson counts, fewer are thinned.
    """
    more = rng.poisson(mean * np.maximum(factor - 1, 0))
    fewer = factor < 1
    kept = counts + more
    kept[fewer] = rng.binomial(counts[fewer].astype(np.int64), factor[fewer])
    return kept


def truth(draw: Draw, sample: Sample) -> tuple[float, float]:
    """Return the average effect of one draw by the question's average, and the untreated mean of the same cells.

    Averages over draws of both are the process's; an effect in proportion is their ratio.
    """
    question = sample.question
    y, untreated = draw.y, np.where(np.isnan(draw.y), np.nan, draw.untreated)
    if question.scale == "log1p":
        y, untreated = np.log1p(y), np.log1p(untreated)
    used = draw.treated & ~np.isnan(y)
    start = draw.treated.argmax(axis=1)
    since = np.arange(y.shape[1]) - start[:, None]
    last = question.horizon if question.balance is None else question.balance
    if question.balance is not None:
        used &= (start + question.balance < y.shape[1])[:, None]
    if question.average == "event_average" and last is not None:
        used &= since <= last
    label = {
        "event_average": since,
        "treated_average": np.zeros_like(since),
        "cohort_average": np.broadcast_to(start[:, None], since.shape),
        "calendar_average": np.broadcast_to(np.arange(y.shape[1]), since.shape),
    }[question.average][used]
    weight = np.broadcast_to(sample.weights[:, None], y.shape)[used]
    label = label - label.min(initial=0)
    total = np.bincount(label, weight)
    shown = total > 0
    effects, means = (
        np.bincount(label, weight * values[used])[shown] / total[shown]
        for values in (y - untreated, untreated)
    )
    if question.average == "cohort_average":
        cohorts = np.bincount(start[used.any(axis=1)] - start[used.any(axis=1)].min(), minlength=shown.sum())
        share = cohorts[cohorts > 0].astype(float)
        return float(np.average(effects, weights=share)), float(np.average(means, weights=share))
    return float(effects.mean()), float(means.mean())
