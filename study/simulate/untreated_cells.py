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

ROUNDS, TURNS, CONVERGED = 30, 40, 1e-4
# Shocks, in shares, that are none.
NOTHING = 1e-3
# Weight of the penalty that leaves a dial where it does nothing if the panel cannot tell.
RIDGE = 0.01
# What the share of zeros may differ by, as far as the dial ``zeros`` is concerned: the sizes' prior is not exact.
ZEROS = 0.25
# Points of the sizes' prior, and the squared coefficient of variation that they can resolve.
GRID, RESOLVED = 240, 0.005
NOISE_STEP = 0.02
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


class Sizes(NamedTuple):
    """Mean and variance of the size of each unit, shape (n,), common growth, shape (T,), and the mean size."""

    mean: FloatArray
    variance: FloatArray
    growth: FloatArray
    mean_size: float


class Fit(NamedTuple):
    """Sizes, and dials as :data:`study.simulate.DIALS` has them."""

    sizes: Sizes
    dials: dict[str, float]


def fit(cells: Cells) -> Fit:
    """Fit sizes, growth and dials to untreated cells."""
    count = cells.family == "count"
    dials = Dials(1.0, 0.0, 0.0, 0.5, 1.0) if count else Dials(0.0, 0.0, 0.0, 0.5, 0.5)
    for turn in range(ROUNDS):
        sizes = _count_sizes(cells, dials) if count else _continuous_sizes(cells, dials)
        found = (
            _count_dials(cells, sizes, dials, turn) if count else _continuous_dials(cells, sizes, dials, turn)
        )
        change = np.abs(np.subtract(found, dials)).max()
        dials = found
        if change < CONVERGED:
            break
    sizes = _count_sizes(cells, dials) if count else _continuous_sizes(cells, dials)
    factor, shocks = (np.sqrt(np.expm1(x) if count else x) for x in (dials.factor, dials.shocks))
    named = {"size_growth": dials.size_growth, "factor": factor, "shocks": shocks}
    named |= {"persistence": dials.persistence if shocks > NOTHING else 0.0, "zeros": dials.zeros}
    return Fit(sizes, {name: _inside(name, float(value)) for name, value in named.items()})


def _inside(name: str, value: float) -> float:
    """Return the value of a dial in its range, without digits that mean nothing."""
    return round(min(max(value, DIALS[name].low), DIALS[name].high), 4)


def _growth(
    cells: Cells,
    sizes_given: Callable[[FloatArray, float], tuple[FloatArray, FloatArray]],
    relative: Callable[[FloatArray, float], FloatArray],
) -> Sizes:
    """Return sizes with the growth that makes the means those of the panel, period by period, in turns.

    Parameters
    ----------
    cells : Cells
    sizes_given : callable
        Means and variances of sizes given growth and the mean size.
    relative : callable
        How much of growth each unit has, given sizes and their mean.
    """
    seen = cells.shares.sum(axis=0) > 0
    totals = (cells.shares * cells.values).sum(axis=0)
    # A period in which nobody is observed lies between its neighbours.
    path = np.interp(cells.tau, cells.tau[seen], cells.means[seen])
    lowest = int(np.argmin(path))
    for _ in range(TURNS):
        mean_size = float(path[lowest])
        growth = path - mean_size
        sizes, variances = sizes_given(growth, mean_size)
        mean = float(np.average(sizes, weights=cells.weights))
        by_unit = relative(sizes, mean)[:, None]
        with np.errstate(invalid="ignore", divide="ignore"):
            growth = (totals - (cells.shares * sizes[:, None]).sum(axis=0)) / (cells.shares * by_unit).sum(
                axis=0
            )
        path = mean + np.interp(cells.tau, cells.tau[seen], growth[seen])
        if abs(path[lowest] - mean_size) < 1e-8 * cells.spread:
            break
    return Sizes(sizes, variances, path - path[lowest], float(path[lowest]))


# Counts


def _count_sizes(cells: Cells, dials: Dials) -> Sizes:
    a, tau = dials.size_growth, cells.tau
    # Covariances of what multiplies the means, which is one on average.
    moved = np.expm1(dials.factor * np.outer(tau, tau) + dials.shocks * dials.persistence**cells.distance)
    np.fill_diagonal(moved, np.exp(dials.factor * tau**2 + dials.shocks) / (1 - dials.zeros) - 1)
    totals = cells.values.sum(axis=1)

    def sizes_given(growth: FloatArray, mean_size: float) -> tuple[FloatArray, FloatArray]:
        slope, level = 1 + a * growth / mean_size, (1 - a) * growth
        expected = cells.seen * (slope * mean_size + level)
        noise = (
            np.einsum("it,it->i", expected @ moved, expected) / np.maximum(expected.sum(axis=1), 1e-300) ** 2
        )
        return _gamma_posterior(
            totals, cells.seen @ slope, cells.seen @ level, noise, mean_size, cells.weights
        )

    return _growth(cells, sizes_given, lambda size, mean: (1 - a) + a * size / mean)


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
    x = np.linspace(np.log(1e-5 * mean_size), np.log(30 * largest), GRID)
    size = np.exp(x)
    likelihood = _total_likelihoods(kinds, size)
    of_kind = np.bincount(kind, weights)

    def prior(shape: float) -> FloatArray:
        density = np.exp(shape * (x - np.log(mean_size)) - shape * size / mean_size) * (x[1] - x[0])
        density[0] += np.exp(shape * (x[0] - np.log(mean_size))) / shape  # of all smaller sizes
        return np.asarray(density / density.sum())

    def unlikely(log_shape: float) -> float:
        return -float(of_kind @ np.log(np.maximum(likelihood @ prior(np.exp(log_shape)), 1e-300)))

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
    totals, of_total = np.unique(kinds[:, 0], return_inverse=True)
    log_mean = np.linspace(np.log(1e-4), np.log(30 + 30 * totals[-1]), GRID)
    mean = np.exp(log_mean)
    # Of a total so large that its likelihood falls between two points of the grid, a wider one.
    plain = totals[:, None] * log_mean - (totals[:, None] + 1 / RESOLVED) * np.log1p(RESOLVED * mean)
    plain = np.exp(plain - plain.max(axis=1, keepdims=True))
    likelihood = np.empty((len(kinds), len(size)))
    for step in np.unique(kinds[:, 3]):
        variance = max(step * NOISE_STEP, RESOLVED)
        away = log_mean - log_mean[:, None] + variance / 2
        kernel = np.exp(-(away**2) / (2 * variance))
        moved = plain @ (kernel / kernel.sum(axis=1, keepdims=True)).T
        for row in np.flatnonzero(kinds[:, 3] == step):
            at = np.log(np.maximum(kinds[row, 1] * size + kinds[row, 2], 1e-12))
            likelihood[row] = np.interp(at, log_mean, moved[of_total[row]])
    return likelihood


def _count_dials(cells: Cells, sizes: Sizes, dials: Dials, turn: int) -> Dials:
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
    first, second = cells.pairs(sizes.mean), cells.pairs(sizes.mean**2 + sizes.variance)
    relative = np.where(n > 0, second * n / np.maximum(first, 1e-300) ** 2 - 1, 0.0)
    common, same = np.outer(tau, tau)[known], np.eye(len(tau))[known]
    distance, relative, n, first = cells.distance[known], relative[known], n[known], first[known]
    zeros = ((cells.values == 0) & cells.untreated).sum() / cells.untreated.sum()
    expected_zeros = _expected_zeros(cells, sizes, dials)
    rows, columns = np.nonzero(known)

    def misfit(values: FloatArray) -> FloatArray:
        found = Dials(*values)
        slope = 1 + found.size_growth * sizes.growth / sizes.mean_size
        level = (1 - found.size_growth) * sizes.growth
        base = slope[:, None] * (first / n) + level[:, None]
        spread = np.maximum(found.dispersion * relative, 0.0) * (first / n) ** 2
        of_sizes = np.log1p(
            slope[rows]
            * slope[columns]
            * spread
            / np.maximum(base[rows, np.arange(len(rows))] * base[columns, np.arange(len(rows))], 1e-300)
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


def _expected_zeros(cells: Cells, sizes: Sizes, dials: Dials) -> float:
    """Return the expected share of zeros among untreated cells, but for those that are beyond the counts'."""
    shape, rate = (x[:, None] for x in gamma_of(sizes))
    total, nodes = 0.0, NODE_WEIGHTS / NODE_WEIGHTS.sum()
    slope = 1 + dials.size_growth * sizes.growth / sizes.mean_size
    level = np.maximum((1 - dials.size_growth) * sizes.growth, 0.0)
    for t, time in enumerate(cells.tau):
        among, variance = cells.untreated[:, t], dials.shocks + dials.factor * time**2
        index = np.exp(np.sqrt(variance) * NODES - variance / 2) / (1 - dials.zeros)
        none = np.exp(-level[t] * index) * (1 + slope[t] * index / rate[among]) ** -shape[among]
        total += float((none @ nodes).sum())
    return total / float(cells.untreated.sum())


def gamma_of(sizes: Sizes) -> tuple[FloatArray, FloatArray]:
    """Return shape and rate of the Gamma distribution with the mean and variance of each unit's size."""
    # Of smaller shapes some draws are zero to the last bit, whose logarithm is none.
    shape = np.clip(sizes.mean**2 / np.maximum(sizes.variance, 1e-300), 0.05, 1e6)
    return shape, shape / sizes.mean


# Continuous outcomes


def _continuous_sizes(cells: Cells, dials: Dials) -> Sizes:
    a, variance = dials.size_growth, dials.dispersion * cells.spread**2
    sd = np.sqrt(variance) or 1.0
    moved = cells.spread**2 * _moved(cells, dials)

    def sizes_given(growth: FloatArray, mean_size: float) -> tuple[FloatArray, FloatArray]:
        slope = cells.seen * (1 + a * growth / sd)
        level = cells.seen * growth * (1 - a * mean_size / sd)
        squares = np.maximum((slope**2).sum(axis=1), 1e-300)
        estimate = (slope * (cells.values - level)).sum(axis=1) / squares
        noise = np.einsum("it,it->i", slope @ moved, slope) / squares**2
        known = np.where(cells.seen.any(axis=1), variance / np.maximum(variance + noise, 1e-300), 0.0)
        return mean_size + known * (estimate - mean_size), variance * (1 - known)

    return _growth(cells, sizes_given, lambda size, mean: 1 + a * (size - mean) / sd)


def _moved(cells: Cells, dials: Dials) -> FloatArray:
    """Return covariances of slopes and shocks between periods, in squares of the spread, shape (T, T)."""
    common = np.outer(cells.tau, cells.tau)
    return np.asarray(dials.factor * common + dials.shocks * dials.persistence**cells.distance)


def _continuous_dials(cells: Cells, sizes: Sizes, dials: Dials, turn: int) -> Dials:
    """Return the dials whose covariances are nearest to the panel's, given sizes and growth."""
    y, n, spread = cells.values, cells.pairs(np.ones(len(cells.y))), cells.spread
    known = np.triu(n > 0)
    means = (cells.shares * y).T @ cells.seen
    covariance = ((cells.shares * y).T @ y)[known] / n[known] - (means * means.T)[known] / n[known] ** 2
    covariance /= spread**2
    weight = np.sqrt(n[known] / n[known].mean())
    first, second = (
        cells.pairs(sizes.mean) / np.maximum(n, 1e-300),
        cells.pairs(sizes.mean**2 + sizes.variance),
    )
    # Units that are left untreated in two periods may vary less in size than all.
    w = cells.weights / cells.weights.sum()
    whole = w @ (sizes.mean**2 + sizes.variance) - (w @ sizes.mean) ** 2
    share = ((second / np.maximum(n, 1e-300) - first**2) / (whole or 1.0))[known]
    rows, columns = np.nonzero(known)

    def misfit(values: FloatArray) -> FloatArray:
        found = Dials(*values)
        slope = 1 + found.size_growth * sizes.growth / (spread * np.sqrt(found.dispersion))
        model = found.dispersion * share * slope[rows] * slope[columns] + _moved(cells, found)[known]
        away = RIDGE * np.array([found.size_growth, found.factor, found.shocks, found.persistence - 0.5])
        return np.concatenate([weight * (covariance - model), away])

    low, high = [0, 0, 0, 0, 1e-4], [2, 9, 9, 0.99, 10]
    return _nearest(misfit, dials, low, high, turn)
