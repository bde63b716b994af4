"""The model of a process as untreated cells fit it: growth, sizes of units, dials of what departs from them.

Products of two untreated periods of a count have the expectation, free of Poisson noise,

    E[y_it y_is] = E[mu_it mu_is],   t != s,      E[y_it (y_it - 1)] = E[mu_it^2],

and over the product of the two means they are, in the model of :mod:`study.simulate.process`,

    R_ts = E[base_t base_s] / (E base_t E base_s) exp(var(b) tau_t tau_s + var(u) rho^|t - s|) / (1 - zeros)^[t = s].

Covariances of a continuous outcome are the same in sums. Least squares of log R find the dials: how the dispersion of
sizes fades as the mean grows tells ``size_growth``; what decays with the distance of two periods, ``shocks`` and
``persistence``; what grows with time in both, ``factor``; the share of zeros, ``zeros``.

Sizes are drawn from what is known of them given the untreated cells: their prior is a Gamma distribution whose shape
maximizes the likelihood of the units' totals, which are negative binomial given the size, since shocks and slopes move
them too; a continuous outcome's is normal. With them, growth makes the means those of the panel. The steps take turns.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
from scipy.optimize import least_squares, minimize_scalar

from study.core import BoolArray, FloatArray
from study.simulate.dials import DIALS
from study.simulate.process import Family

ROUNDS, TURNS, CONVERGED = 30, 20, 1e-3
# Of extrapolated turns.
LONGEST = 20.0
# Shocks, in shares, that are none.
NOTHING = 1e-3
# Stands for zero where it is divided by, or by its square.
TINY = 1e-100
# Weight of the penalty that leaves a dial where it does nothing if the panel cannot tell.
RIDGE = 0.06
# What the share of zeros may differ by, as far as the dial ``zeros`` is concerned: the sizes' prior is not exact.
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
    def spread(self) -> float:
        """Standard deviation of untreated cells around the means of their periods."""
        away = np.where(self.untreated, self.values - np.nan_to_num(self.means), 0.0)
        return float(np.sqrt((self.shares * away**2).sum() / self.shares.sum()))

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
    """Fit sizes, growth and dials to untreated cells."""
    count = cells.family == "count"
    dials = Dials(1.0, 0.0, 0.0, 0.5, 1.0) if count else Dials(0.0, 0.0, 0.0, 0.5, 0.5)
    seen = ~np.isnan(cells.means)
    path = np.maximum(np.interp(cells.tau, cells.tau[seen], cells.means[seen]), cells.least)
    for turn in range(ROUNDS):
        level = _count_level(cells, dials, path) if count else _continuous_level(cells, dials, path)
        path = level.mean_size + level.growth
        found = (
            _count_dials(cells, level, dials, turn) if count else _continuous_dials(cells, level, dials, turn)
        )
        change = np.abs(np.subtract(found, dials)).max()
        dials = found
        if change < CONVERGED:
            break
    sizes = _count_sizes(cells, level, dials) if count else _continuous_sizes(cells, level, dials)
    factor, shocks = (np.sqrt(np.expm1(x) if count else x) for x in (dials.factor, dials.shocks))
    named = {"size_growth": dials.size_growth, "factor": factor, "shocks": shocks}
    named |= {"persistence": dials.persistence if shocks > NOTHING else 0.0, "zeros": dials.zeros}
    named = {name: _inside(name, float(value)) for name, value in named.items()}
    return Fit(level.growth, level.mean_size, sizes, named)


def _inside(name: str, value: float) -> float:
    """Return the value of a dial in its range, without digits that mean nothing."""
    return round(min(max(value, DIALS[name].low), DIALS[name].high), 4)


def _path(
    cells: Cells,
    start: FloatArray,
    size_given: Callable[[FloatArray, float], FloatArray],
    relative: Callable[[FloatArray, float], FloatArray],
) -> FloatArray:
    """Return the mean size with growth, shape (T,), that makes the means those of the panel, period by period.

    It and sizes give each other in turns, which are extrapolated (Varadhan and Roland 2008): where many are treated
    early, turns alone take long.

    Parameters
    ----------
    cells : Cells
    start : ndarray, shape (T,)
    size_given : callable
        Sizes given growth and the mean size.
    relative : callable
        How much of growth each unit has, given sizes and their mean.
    """
    seen, totals = cells.shares.sum(axis=0) > 0, (cells.shares * cells.values).sum(axis=0)
    weights = cells.weights * cells.untreated.any(axis=1)
    lowest = int(np.argmin(start))

    def turned(path: FloatArray) -> FloatArray:
        size = size_given(path - path[lowest], float(path[lowest]))
        mean = float(np.average(size, weights=weights))
        growth = (totals - cells.shares.T @ size)[seen] / (cells.shares.T @ relative(size, mean))[seen]
        # A period in which nobody is observed lies between its neighbours.
        return np.maximum(mean + np.interp(cells.tau, cells.tau[seen], growth), cells.least)

    path = start
    for _ in range(TURNS):
        first = turned(path)
        second = turned(first)
        step, bend = first - path, second - 2 * first + path
        if np.abs(step).max() < CONVERGED * cells.spread:
            break
        length = np.clip(float(np.linalg.norm(step)) / max(float(np.linalg.norm(bend)), TINY), 1.0, LONGEST)
        moved = path + 2 * length * step + length**2 * bend
        path = moved if cells.family == "continuous" or moved.min() > 0 else second
    return turned(path)


# Counts


def _parts(dials: Dials, growth: FloatArray, mean_size: float) -> tuple[FloatArray, FloatArray]:
    """Return by what a count's size is multiplied in each period, and what is added, shape (T,) each."""
    return 1 + dials.size_growth * growth / mean_size, (1 - dials.size_growth) * growth


def _count_level(cells: Cells, dials: Dials, start: FloatArray) -> Level:
    totals, a = cells.values.sum(axis=1), dials.size_growth

    def size_given(growth: FloatArray, mean_size: float) -> FloatArray:
        slope, level = _parts(dials, growth, mean_size)
        return (totals - cells.seen @ level) / np.maximum(cells.seen @ slope, TINY)

    path = _path(cells, start, size_given, lambda size, mean: (1 - a) + a * size / mean)
    growth, mean_size = path - path.min(), float(path.min())
    slope, level = _parts(dials, growth, mean_size)
    own, exposure = totals - cells.seen @ level, np.maximum(cells.seen @ slope, TINY)
    noise = _noise(cells, dials, slope * mean_size + level)
    return Level(growth, mean_size, own / exposure, (own**2 - totals) / exposure**2 / (1 + noise))


def _noise(cells: Cells, dials: Dials, means: FloatArray) -> FloatArray:
    """Return the squared coefficient of variation of what moves a unit's total beyond Poisson noise, shape (n,)."""
    common = np.outer(cells.tau, cells.tau)
    moved = np.expm1(dials.factor * common + dials.shocks * dials.persistence**cells.distance)
    np.fill_diagonal(moved, np.exp(dials.factor * cells.tau**2 + dials.shocks) / (1 - dials.zeros) - 1)
    expected = cells.seen * means
    return np.asarray(
        np.einsum("it,it->i", expected @ moved, expected) / np.maximum(expected.sum(axis=1), TINY) ** 2
    )


def _count_sizes(cells: Cells, level: Level, dials: Dials) -> Sizes:
    slope, added = _parts(dials, level.growth, level.mean_size)
    noise = _noise(cells, dials, slope * level.mean_size + added)
    totals = cells.values.sum(axis=1)
    mean, variance = _gamma_posterior(
        totals, cells.seen @ slope, cells.seen @ added, noise, level.mean_size, cells.weights
    )
    # The posteriors' average is the prior's mean but for what the prior is not.
    scale = level.mean_size / float(np.average(mean, weights=cells.weights))
    return Sizes(scale * mean, scale**2 * variance)


def _gamma_posterior(
    totals: FloatArray,
    exposure: FloatArray,
    level: FloatArray,
    noise: FloatArray,
    mean_size: float,
    weights: FloatArray,
) -> tuple[FloatArray, FloatArray]:
    """Return means and variances of sizes given totals, shape (n,) each.

    Given its size s a unit's total is negative binomial with mean exposure s + level, and what moves it beyond Poisson
    noise has the squared coefficient of variation ``noise``. The prior of s is Gamma with the given mean and the shape
    that maximizes the likelihood.
    """
    level_of = np.round(np.log1p(noise) / NOISE_STEP)
    rows = np.column_stack([totals, exposure, level, level_of]).round(9)
    kinds, kind = np.unique(rows, axis=0, return_inverse=True)
    kind = kind.ravel()
    seen = exposure > 0
    largest = mean_size + np.max(totals[seen] / exposure[seen], initial=0.0)
    x = np.arange(np.log(1e-5 * mean_size), np.log(30 * largest), GRID_STEP)
    size = np.exp(x)
    likelihood = _total_likelihoods(kinds, size)
    of_kind = np.bincount(kind, weights)

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
    return first[kind], (second - first**2)[kind]


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
    y, n, tau = cells.values, cells.pairs(np.ones(len(cells.y))), cells.tau
    products = (cells.shares * y).T @ y - np.diag((cells.shares * y).sum(axis=0))
    means = (cells.shares * y).T @ cells.seen
    # Pairs without a product say nothing in logs; they are those of which little is known.
    known = np.triu((products > 0) & (n > 0))
    ratio = np.log(products[known] * n[known] / (means * means.T)[known])
    precision = products[known] / np.sqrt(((cells.shares * y) ** 2).T @ y**2)[known]
    weight = np.minimum(precision, 50.0)
    weight = weight / weight.mean()
    first, second = cells.pairs(level.size), cells.pairs(level.square)
    relative = np.divide(second * n, first**2, out=np.ones_like(n), where=first > 0) - 1
    common, same = np.outer(tau, tau)[known], np.eye(len(tau))[known]
    distance, relative, n, first = cells.distance[known], relative[known], n[known], first[known]
    zeros = ((cells.values == 0) & cells.untreated).sum() / cells.untreated.sum()
    expected_zeros = _expected_zeros(cells, level, dials)
    rows, columns = np.nonzero(known)

    def misfit(values: FloatArray) -> FloatArray:
        found = Dials(*values)
        slope, added = _parts(found, level.growth, level.mean_size)
        base = slope[:, None] * (first / n) + added[:, None]
        spread = np.maximum(found.dispersion * relative, 0.0) * (first / n) ** 2
        of_sizes = np.log1p(
            slope[rows]
            * slope[columns]
            * spread
            / np.maximum(base[rows, np.arange(len(rows))] * base[columns, np.arange(len(rows))], TINY)
        )
        model = of_sizes + found.factor * common + found.shocks * found.persistence**distance
        model -= np.log1p(-found.zeros) * same
        more_zeros = (expected_zeros + found.zeros * (1 - expected_zeros) - zeros) / ZEROS
        away = [found.size_growth - 1, 4 * found.factor, 4 * found.shocks, found.persistence - 0.5]
        return np.concatenate(
            [weight * (ratio - model), [more_zeros], RIDGE * np.array([*away, np.log(found.dispersion)])]
        )

    low, high = [0, 0, 0, 0, 0.1, 0], [1, np.log(10), np.log(10), 0.99, 5, 0.9]
    return _nearest(misfit, dials, low, high, turn)


def _nearest(
    misfit: Callable[[FloatArray], FloatArray],
    dials: Dials,
    low: Sequence[float],
    high: Sequence[float],
    turn: int,
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
    slope, added = _parts(dials, level.growth, level.mean_size)
    for t, time in enumerate(cells.tau):
        among, variance = cells.untreated[:, t], dials.shocks + dials.factor * time**2
        index = np.exp(np.sqrt(variance) * NODES - variance / 2) / (1 - dials.zeros)
        none = (
            np.exp(-np.maximum(added[t], 0.0) * index) * (1 + slope[t] * index / rate[among]) ** -shape[among]
        )
        total += float((none @ nodes).sum())
    return total / float(cells.untreated.sum())


def gamma_of(sizes: Sizes) -> tuple[FloatArray, FloatArray]:
    """Return shape and rate of the Gamma distribution with the mean and variance of each unit's size."""
    # Of smaller shapes some draws are zero to the last bit, whose logarithm is none.
    shape = np.clip(sizes.mean**2 / np.maximum(sizes.variance, TINY), 0.05, 1e6)
    return shape, shape / sizes.mean


# Continuous outcomes


def _continuous_level(cells: Cells, dials: Dials, start: FloatArray) -> Level:
    a, sd = dials.size_growth, cells.spread * np.sqrt(dials.dispersion)

    def size_given(growth: FloatArray, mean_size: float) -> FloatArray:
        return _least_squares(cells, dials, growth, mean_size)[0]

    path = _path(cells, start, size_given, lambda size, mean: 1 + a * (size - mean) / sd)
    growth, mean_size = path - path.min(), float(path.min())
    size, noise = _least_squares(cells, dials, growth, mean_size)
    return Level(growth, mean_size, size, size**2 - noise)


def _least_squares(
    cells: Cells, dials: Dials, growth: FloatArray, mean_size: float
) -> tuple[FloatArray, FloatArray]:
    """Return each unit's size by least squares, and the variance of its error, shape (n,) each."""
    sd = cells.spread * np.sqrt(dials.dispersion)
    slope = cells.seen * (1 + dials.size_growth * growth / sd)
    level = cells.seen * growth * (1 - dials.size_growth * mean_size / sd)
    squares = np.maximum((slope**2).sum(axis=1), TINY)
    moved = cells.spread**2 * _moved(cells, dials)
    size = (slope * (cells.values - level)).sum(axis=1) / squares
    return size, np.einsum("it,it->i", slope @ moved, slope) / squares**2


def _continuous_sizes(cells: Cells, level: Level, dials: Dials) -> Sizes:
    size, noise = _least_squares(cells, dials, level.growth, level.mean_size)
    variance = dials.dispersion * cells.spread**2
    known = np.where(cells.untreated.any(axis=1), variance / np.maximum(variance + noise, TINY), 0.0)
    mean = known * (size - level.mean_size)
    return Sizes(
        level.mean_size + mean - float(np.average(mean, weights=cells.weights)), variance * (1 - known)
    )


def _moved(cells: Cells, dials: Dials) -> FloatArray:
    """Return covariances of slopes and shocks between periods, in squares of the spread, shape (T, T)."""
    common = np.outer(cells.tau, cells.tau)
    return np.asarray(dials.factor * common + dials.shocks * dials.persistence**cells.distance)


def _continuous_dials(cells: Cells, level: Level, dials: Dials, turn: int) -> Dials:
    """Return the dials whose covariances are nearest to the panel's, given sizes and growth."""
    y, n, spread = cells.values, cells.pairs(np.ones(len(cells.y))), cells.spread
    known = np.triu(n > 0)
    means = (cells.shares * y).T @ cells.seen
    covariance = ((cells.shares * y).T @ y)[known] / n[known] - (means * means.T)[known] / n[known] ** 2
    covariance /= spread**2
    weight = np.sqrt(n[known] / n[known].mean())
    first, second = (
        cells.pairs(level.size) / np.maximum(n, TINY),
        cells.pairs(level.square),
    )
    # Units that are left untreated in two periods may vary less in size than all.
    w = cells.weights * cells.untreated.any(axis=1)
    w = w / w.sum()
    whole = w @ level.square - (w @ level.size) ** 2
    share = ((second / np.maximum(n, TINY) - first**2) / max(whole, 1e-6 * spread**2))[known]
    rows, columns = np.nonzero(known)

    def misfit(values: FloatArray) -> FloatArray:
        found = Dials(*values)
        slope = 1 + found.size_growth * level.growth / (spread * np.sqrt(found.dispersion))
        model = found.dispersion * share * slope[rows] * slope[columns] + _moved(cells, found)[known]
        away = RIDGE * np.array([found.size_growth, found.factor, found.shocks, found.persistence - 0.5])
        return np.concatenate([weight * (covariance - model), away])

    low, high = [0, 0, 0, 0, 1e-4], [2, 9, 9, 0.99, 10]
    return _nearest(misfit, dials, low, high, turn)
