"""The model of a process as untreated cells fit it: growth, sizes of units, dials of what departs from them.

Products of two untreated periods of a count have the expectation, free of Poisson noise,

    E[y_it y_is] = E[mu_it mu_is],   t != s,      E[y_it (y_it - 1)] = E[mu_it^2],

and over the product of the two means they are, in the model of :mod:`study.simulate.process`,

    R_ts = E[base_t base_s] / (E base_t E base_s) exp(var(b) tau_t tau_s + var(u) rho^|t - s|) / (1 - zeros)^[t = s].

Covariances of a continuous outcome are the same in sums. Least squares of log R find the dials: how the dispersion of
sizes fades as the mean grows tells ``size_growth``; what decays with the distance of two periods, ``shocks`` and
``persistence``; what grows with time in both, ``factor``; what one period has beyond two, ``zeros``. Growth makes the
means those of the panel, period by period, given each unit's size, as two-way effects do. Dials and growth take turns.

Sizes are drawn from what is known of them given the untreated cells: their prior is a Gamma distribution whose shape
maximizes the likelihood of the units' totals, which given the size are Poisson with a lognormal mean, since shocks and
slopes move them too. The posterior is drawn as the Gamma distribution of its mean and variance. A continuous outcome's
prior is normal.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
from scipy.optimize import least_squares, minimize_scalar

from study.core import BoolArray, FloatArray
from study.simulate.process import Family

ROUNDS, TURNS, CONVERGED = 30, 60, 1e-3
# Of extrapolated turns.
LONGEST = 20.0
# Share of the variance that sizes must have for those who are left untreated to be known to vary less.
LEAST_VARIANCE = 0.05
# Shocks, in shares, that are none.
NOTHING = 1e-3
# Stands for zero where it is divided by, or by its square.
TINY = 1e-100
# Weight of the penalty that leaves a dial where it does nothing if the panel cannot tell.
RIDGE = 0.06
# What the share of zeros may differ by, in the fit of the dial ``zeros``: the sizes' prior is not exact.
ZEROS = 0.25
# Steps of the grid of log sizes, which resolves this squared coefficient of variation, and of variances.
GRID_STEP, RESOLVED, NOISE_STEP = 0.06, 0.01, 0.02
NODES, NODE_WEIGHTS = np.polynomial.hermite_e.hermegauss(9)


@dataclass(frozen=True, eq=False)
class Cells:
    """The outcome in its own units, shape (n, T), which cells are observed untreated, and weights, shape (n,)."""

    y: FloatArray
    untreated: BoolArray
    weights: FloatArray
    family: Family

    @cached_property
    def tau(self) -> FloatArray:
        """Time from 0 to 1, shape (T,)."""
        return np.linspace(0, 1, self.y.shape[1])

    @cached_property
    def distance(self) -> FloatArray:
        """Periods between two, shape (T, T)."""
        time = np.arange(float(self.y.shape[1]))
        return np.abs(time[:, None] - time)

    @cached_property
    def values(self) -> FloatArray:
        """The outcome where it is untreated, else 0, shape (n, T)."""
        return np.where(self.untreated, self.y, 0.0)

    @cached_property
    def seen(self) -> FloatArray:
        """1 where a cell is observed untreated, else 0, shape (n, T)."""
        return self.untreated.astype(float)

    @cached_property
    def shares(self) -> FloatArray:
        """The weight of each untreated cell, else 0, shape (n, T)."""
        return self.weights[:, None] * self.seen

    @cached_property
    def means(self) -> FloatArray:
        """Mean of the untreated cells of each period, shape (T,), NaN where there are none."""
        with np.errstate(invalid="ignore"):
            return np.asarray((self.shares * self.values).sum(axis=0) / self.shares.sum(axis=0))

    @cached_property
    def away(self) -> FloatArray:
        """How far untreated cells are from the means of their periods, else 0, shape (n, T)."""
        return self.seen * (self.values - np.nan_to_num(self.means))

    @cached_property
    def spread(self) -> float:
        """Standard deviation of untreated cells around the means of their periods."""
        return float(np.sqrt((self.shares * self.away**2).sum() / self.shares.sum()))

    @cached_property
    def number(self) -> FloatArray:
        """Sum of the weights of the units that are untreated in both of two periods, shape (T, T)."""
        return self.pairs(np.ones(len(self.y)))

    @cached_property
    def products(self) -> FloatArray:
        """Weighted sums of y_it y_is, and of y_it (y_it - 1) where counts meet themselves, shape (T, T)."""
        weighted = self.shares * self.values
        own = weighted.sum(axis=0) if self.family == "count" else np.zeros(len(self.tau))
        return np.asarray(weighted.T @ self.values - np.diag(own))

    @cached_property
    def ratios(self) -> FloatArray:
        """R of two periods, or their covariance in squares of the spread, shape (T, T), NaN where it is not known."""
        n, sums = self.number, (self.shares * self.values).T @ self.seen
        with np.errstate(invalid="ignore", divide="ignore"):
            if self.family == "count":
                return np.asarray(self.products * n / (sums * sums.T))
            return np.asarray((self.products / n - sums * sums.T / n**2) / self.spread**2)

    @cached_property
    def zeros(self) -> float:
        """Share of zeros among untreated cells."""
        return float(((self.values == 0) & self.untreated).sum() / self.untreated.sum())

    @cached_property
    def least(self) -> float:
        """The least that a mean can be: of counts, half of one a period, where there is none."""
        return 0.5 / float(self.shares.sum(axis=0).max()) if self.family == "count" else -np.inf

    def pairs(self, of_unit: FloatArray) -> FloatArray:
        """Return weighted sums over the units that are untreated in both of two periods, shape (T, T)."""
        return np.asarray((self.shares * of_unit[:, None]).T @ self.seen)


class Dials(NamedTuple):
    """What departs from sizes and common growth, as variances of b and u; of a continuous outcome in ``spread``.

    ``dispersion`` is the variance of sizes: of counts over that of the fitted sizes, else over ``spread`` squared.
    """

    size_growth: float
    factor: float
    shocks: float
    persistence: float
    dispersion: float
    zeros: float = 0.0


class Level(NamedTuple):
    """Growth, shape (T,), and the mean size; sizes of units and their squares, unbiased but not shrunk, shape (n,).

    Who is left untreated may depend on size, and what is known of a size by shrinkage does not say so; sums over those
    who are left do.
    """

    growth: FloatArray
    mean_size: float
    size: FloatArray
    square: FloatArray


class Sizes(NamedTuple):
    """Mean and variance of the size of each unit given its untreated cells, shape (n,)."""

    mean: FloatArray
    variance: FloatArray


class Fit(NamedTuple):
    """Growth, mean size, sizes, and dials as :data:`study.simulate.DIALS` has them."""

    growth: FloatArray
    mean_size: float
    sizes: Sizes
    dials: dict[str, float]


def fit(cells: Cells) -> Fit:
    """Fit growth, dials and sizes to untreated cells."""
    count = cells.family == "count"
    dials = Dials(1.0, 0.0, 0.0, 0.5, 1.0) if count else Dials(0.0, 0.0, 0.0, 0.5, 0.5)
    dials_of, sizes_of = (_count_dials, _count_sizes) if count else (_continuous_dials, _continuous_sizes)
    seen = ~np.isnan(cells.means)
    path = np.maximum(np.interp(cells.tau, cells.tau[seen], cells.means[seen]), cells.least)
    for turn in range(ROUNDS):
        level = level_of(cells, dials, path)
        path = level.mean_size + level.growth
        before, dials = dials, dials_of(cells, level, dials, turn)
        if np.abs(np.subtract(dials, before)).max() < CONVERGED:
            break
    factor, shocks = (np.sqrt(np.expm1(x) if count else x) for x in (dials.factor, dials.shocks))
    named = {"size_growth": dials.size_growth, "factor": factor, "shocks": shocks}
    named |= {"persistence": dials.persistence if shocks > NOTHING else 0.0, "zeros": dials.zeros}
    # Further digits mean nothing.
    rounded = {name: round(float(value), 4) for name, value in named.items()}
    return Fit(level.growth, level.mean_size, sizes_of(cells, level, dials), rounded)


def level_of(cells: Cells, dials: Dials, start: FloatArray) -> Level:
    """Return growth and sizes given the dials and means to start from, shape (T,)."""
    path = _path(cells, dials, start)
    growth, mean_size = path - path.min(), float(path.min())
    size, exposure = _measured(cells, dials, growth, mean_size)
    noise = _noise(cells, dials, growth, mean_size)
    if cells.family == "continuous":
        return Level(growth, mean_size, size, size**2 - noise)
    square = (size**2 - cells.values.sum(axis=1) / exposure**2) / (1 + noise)
    return Level(growth, mean_size, size, square)


def _unit(cells: Cells, dials: Dials, mean_size: float) -> float:
    """Return in what a size is that grows in proportion: the mean size of counts, else their standard deviation."""
    return mean_size if cells.family == "count" else float(cells.spread * np.sqrt(dials.dispersion))


def _parts(cells: Cells, dials: Dials, growth: FloatArray, mean_size: float) -> tuple[FloatArray, FloatArray]:
    """Return by what a size is multiplied in each period, and what is added, shape (T,) each."""
    unit = _unit(cells, dials, mean_size)
    return 1 + dials.size_growth * growth / unit, (1 - dials.size_growth * (mean_size / unit)) * growth


def _measured(
    cells: Cells, dials: Dials, growth: FloatArray, mean_size: float
) -> tuple[FloatArray, FloatArray]:
    """Return sizes by the totals of counts, or by least squares, and what they are divided by, shape (n,) each."""
    slope, added = _parts(cells, dials, growth, mean_size)
    by = cells.seen if cells.family == "count" else cells.seen * slope
    exposure = np.maximum(by @ slope, TINY)
    return (np.einsum("it,it->i", by, cells.values) - by @ added) / exposure, exposure


def _moved(cells: Cells, dials: Dials) -> FloatArray:
    """Return covariances between periods of what moves means besides growth, shape (T, T): of counts, of their logs."""
    common = dials.factor * np.outer(cells.tau, cells.tau) + dials.shocks * dials.persistence**cells.distance
    return np.asarray(common - np.log1p(-dials.zeros) * np.eye(len(common)))


def _noise(cells: Cells, dials: Dials, growth: FloatArray, mean_size: float) -> FloatArray:
    """Return what hides the sizes that are measured, shape (n,).

    Of counts the squared coefficient of variation of what moves a unit's total beyond Poisson noise, else the variance
    of a size.
    """
    slope, added = _parts(cells, dials, growth, mean_size)
    if cells.family == "count":
        moved, by = np.expm1(_moved(cells, dials)), cells.seen * (slope * mean_size + added)
        total = by.sum(axis=1)
    else:
        moved, by = cells.spread**2 * _moved(cells, dials), cells.seen * slope
        total = by @ slope
    return np.asarray(np.einsum("it,it->i", by @ moved, by) / np.maximum(total, TINY) ** 2)


def _path(cells: Cells, dials: Dials, start: FloatArray) -> FloatArray:
    """Return the mean size with growth, shape (T,), that makes the means those of the panel, period by period.

    It and sizes give each other in turns, which are extrapolated (Varadhan and Roland 2008): where many are treated
    early, turns alone take long.
    """
    seen, totals = cells.shares.sum(axis=0) > 0, (cells.shares * cells.values).sum(axis=0)
    weights = cells.weights * cells.untreated.any(axis=1)
    lowest = int(np.argmin(start))

    def turned(path: FloatArray) -> FloatArray:
        size = _measured(cells, dials, path - path[lowest], float(path[lowest]))[0]
        mean = float(np.average(size, weights=weights))
        relative = 1 + dials.size_growth * (size - mean) / _unit(cells, dials, mean)
        missing, grows = (totals - cells.shares.T @ size)[seen], (cells.shares.T @ relative)[seen]
        growth = np.divide(missing, grows, out=np.zeros_like(grows), where=grows > 0)
        # A period in which nobody is observed lies between its neighbours.
        return np.maximum(mean + np.interp(cells.tau, cells.tau[seen], growth), cells.least)

    path, first = start, turned(start)
    for _ in range(TURNS):
        second = turned(first)
        step, bend = first - path, second - 2 * first + path
        if np.abs(step).max() < CONVERGED * cells.spread:
            break
        length = np.clip(float(np.linalg.norm(step)) / max(float(np.linalg.norm(bend)), TINY), 1.0, LONGEST)
        moved = np.maximum(path + 2 * length * step + length**2 * bend, cells.least)
        after = turned(moved)
        nearer = np.linalg.norm(after - moved) < np.linalg.norm(second - first)
        path, first = (moved, after) if nearer else (second, turned(second))
    return turned(path)


# Counts


def _count_sizes(cells: Cells, level: Level, dials: Dials) -> Sizes:
    """Return means and variances of sizes given totals.

    Given its size s a unit's total is Poisson, about a mean that is lognormal with expectation exposure s + added and
    the squared coefficient of variation of :func:`_noise`. The prior of s is Gamma with the mean size and the shape
    that maximizes the likelihood.
    """
    slope, added = _parts(cells, dials, level.growth, level.mean_size)
    noise = _noise(cells, dials, level.growth, level.mean_size)
    totals, exposure, mean_size = cells.values.sum(axis=1), cells.seen @ slope, level.mean_size
    variance = np.round(np.log1p(noise) / NOISE_STEP)
    rows = np.column_stack([totals, exposure, cells.seen @ added, variance]).round(9)
    kinds, kind = np.unique(rows, axis=0, return_inverse=True)
    kind = kind.ravel()
    seen = exposure > 0
    largest = mean_size + np.max(totals[seen] / exposure[seen], initial=0.0)
    x = np.arange(np.log(1e-5 * mean_size), np.log(30 * largest), GRID_STEP)
    size = np.exp(x)
    likelihood = _total_likelihoods(kinds, size)
    of_kind = np.bincount(kind, cells.weights)

    def prior(shape: float) -> FloatArray:
        density = np.exp(shape * (x - np.log(mean_size)) - shape * size / mean_size) * (x[1] - x[0])
        density[0] += np.exp(shape * (x[0] - np.log(mean_size))) / shape  # of all smaller sizes
        return np.asarray(density / density.sum())

    def unlikely(log_shape: float) -> float:
        return -float(of_kind @ np.log(np.maximum(likelihood @ prior(np.exp(log_shape)), TINY)))

    best = minimize_scalar(unlikely, bounds=(np.log(0.02), np.log(100.0)), method="bounded")
    posterior = likelihood * prior(float(np.exp(best.x)))
    posterior /= posterior.sum(axis=1, keepdims=True)
    first, second = posterior @ size, posterior @ size**2
    # The posteriors' average is the prior's mean but for what the prior is not.
    scale = mean_size / float(np.average(first[kind], weights=cells.weights))
    return Sizes(scale * first[kind], scale**2 * (second - first**2)[kind])


def _total_likelihoods(kinds: FloatArray, size: FloatArray) -> FloatArray:
    """Return the likelihood of each total at each size, up to a factor a row.

    Parameters
    ----------
    kinds : ndarray, shape (K, 4)
        Total, exposure, level, and in steps the variance of the logarithm of what moves the mean besides.
    size : ndarray, shape (S,)
    """
    log_mean = np.arange(np.log(1e-4), np.log(30 + 30 * kinds[:, 0].max()), GRID_STEP)
    mean = np.exp(log_mean)
    likelihood = np.empty((len(kinds), len(size)))
    for level in np.unique(kinds[:, 3]):
        rows = np.flatnonzero(kinds[:, 3] == level)
        totals, of_total = np.unique(kinds[rows, 0], return_inverse=True)
        # Of a total so large that its likelihood falls between two points of the grid, a wider one.
        plain = totals[:, None] * log_mean - (totals[:, None] + 1 / RESOLVED) * np.log1p(RESOLVED * mean)
        plain = np.exp(plain - plain.max(axis=1, keepdims=True))
        variance = level * NOISE_STEP
        if variance:
            away = log_mean - log_mean[:, None] + variance / 2
            kernel = np.exp(-(away**2) / (2 * variance))
            plain = plain @ (kernel / kernel.sum(axis=1, keepdims=True)).T
        for row, total in zip(rows, of_total, strict=True):
            at = np.log(np.maximum(kinds[row, 1] * size + kinds[row, 2], 1e-12))
            likelihood[row] = np.interp(at, log_mean, plain[total])
    return likelihood


def _count_dials(cells: Cells, level: Level, dials: Dials, turn: int) -> Dials:
    """Return the dials whose R is nearest to the panel's, given sizes and growth."""
    # Pairs without a product say nothing in logs; they are those of which little is known.
    known = np.triu(cells.ratios > 0)
    if not known.any():
        return dials
    ratio = np.log(cells.ratios[known])
    squares = ((cells.shares * cells.values) ** 2).T @ cells.values**2
    weight = np.minimum(cells.products[known] / np.sqrt(squares[known]), 50.0)
    weight = weight / weight.mean()
    n, first, second = (
        each[known] for each in (cells.number, cells.pairs(level.size), cells.pairs(level.square))
    )
    relative = np.divide(second * n, first**2, out=np.ones_like(n), where=first > 0) - 1
    mean = first / n
    expected_zeros = _expected_zeros(cells, level, dials)
    periods = np.nonzero(known)

    def misfit(values: FloatArray) -> FloatArray:
        trial = Dials(*values)
        slope, added = _parts(cells, trial, level.growth, level.mean_size)
        (slope_here, here), (slope_there, there) = ((slope[t], slope[t] * mean + added[t]) for t in periods)
        spread = np.maximum(trial.dispersion * relative, 0.0) * mean**2
        of_sizes = np.log1p(slope_here * slope_there * spread / np.maximum(here * there, TINY))
        model = of_sizes + _moved(cells, trial)[known]
        more_zeros = (expected_zeros + trial.zeros * (1 - expected_zeros) - cells.zeros) / ZEROS
        away = [trial.size_growth - 1, 4 * trial.factor, 4 * trial.shocks, trial.persistence - 0.5]
        return np.concatenate(
            [weight * (ratio - model), [more_zeros], RIDGE * np.array([*away, np.log(trial.dispersion)])]
        )

    low, high = [0, 0, 0, 0, 0.1, 0], [1, np.log(10), np.log(10), 0.99, 5, 0.9]
    return _nearest(misfit, dials, low, high, turn)


def _nearest(
    misfit: Callable[[FloatArray], FloatArray], dials: Dials, low: list[float], high: list[float], turn: int
) -> Dials:
    """Return the least-squares dials, at first from several starts."""
    starts = [dials._replace(factor=max(dials.factor, 0.01), shocks=max(dials.shocks, 0.01))]
    if not turn:
        starts = [
            starts[0]._replace(persistence=rho, size_growth=a) for rho in (0.2, 0.9) for a in (0.1, 0.9)
        ]
    inside = [np.clip(start[: len(low)], np.add(low, 1e-6), np.subtract(high, 1e-6)) for start in starts]
    fits = [least_squares(misfit, start, bounds=(low, high)) for start in inside]
    return Dials(*map(float, min(fits, key=lambda each: each.cost).x))


def _expected_zeros(cells: Cells, level: Level, dials: Dials) -> float:
    """Return the expected share of zeros among untreated cells, but for those that are beyond the counts'."""
    shape, rate = (x[:, None] for x in gamma_of(_count_sizes(cells, level, dials)))
    total, nodes = 0.0, NODE_WEIGHTS / NODE_WEIGHTS.sum()
    slope, added = _parts(cells, dials, level.growth, level.mean_size)
    for t, time in enumerate(cells.tau):
        among, variance = cells.untreated[:, t], dials.shocks + dials.factor * time**2
        index = np.exp(np.sqrt(variance) * NODES - variance / 2) / (1 - dials.zeros)
        of_sizes = (1 + slope[t] * index / rate[among]) ** -shape[among]
        none = np.exp(-np.maximum(added[t], 0.0) * index) * of_sizes
        total += float((none @ nodes).sum())
    return total / float(cells.untreated.sum())


def gamma_of(sizes: Sizes) -> tuple[FloatArray, FloatArray]:
    """Return shape and rate of the Gamma distribution with the mean and variance of each unit's size."""
    # Of smaller shapes some draws are zero to the last bit, whose logarithm is none.
    shape = np.clip(sizes.mean**2 / np.maximum(sizes.variance, TINY), 0.05, 1e6)
    return shape, shape / sizes.mean


# Continuous outcomes


def _continuous_sizes(cells: Cells, level: Level, dials: Dials) -> Sizes:
    size, _ = _measured(cells, dials, level.growth, level.mean_size)
    noise = _noise(cells, dials, level.growth, level.mean_size)
    variance = dials.dispersion * cells.spread**2
    known = np.where(cells.untreated.any(axis=1), variance / np.maximum(variance + noise, TINY), 0.0)
    mean = known * (size - level.mean_size)
    return Sizes(
        level.mean_size + mean - float(np.average(mean, weights=cells.weights)), variance * (1 - known)
    )


def _continuous_dials(cells: Cells, level: Level, dials: Dials, turn: int) -> Dials:
    """Return the dials whose covariances are nearest to the panel's, given sizes and growth."""
    known = np.triu(cells.number > 0)
    n, spread = cells.number[known], cells.spread
    weight = np.sqrt(n / n.mean())
    first, second = (cells.pairs(each)[known] / n for each in (level.size, level.square))
    # Units that are left untreated in two periods may vary less in size than all.
    w = cells.weights * cells.untreated.any(axis=1)
    variance = np.average(level.square, weights=w) - np.average(level.size, weights=w) ** 2
    share = np.ones(known.sum())
    if variance > LEAST_VARIANCE * spread**2:
        share = np.clip((second - first**2) / variance, 0.0, 1 / LEAST_VARIANCE)
    rows, columns = np.nonzero(known)

    def misfit(values: FloatArray) -> FloatArray:
        trial = Dials(*values)
        slope, _ = _parts(cells, trial, level.growth, level.mean_size)
        model = trial.dispersion * share * slope[rows] * slope[columns] + _moved(cells, trial)[known]
        away = RIDGE * np.array([trial.size_growth, trial.factor, trial.shocks, trial.persistence - 0.5])
        return np.concatenate([weight * (cells.ratios[known] - model), away])

    low, high = [0, 0, 0, 0, 1e-4], [2, 9, 9, 0.99, 10]
    return _nearest(misfit, dials, low, high, turn)
