"""Exact tests, confidence sets and detectable effects of estimates under every assignment.

With T_a(tau) the estimate under assignment a from outcomes freed of an effect tau, 0 the actual one, the p-value of tau
is the share of assignments whose |T_a(tau)| is at least |T_0(tau)|. For a contrast T_a(tau) = A_a - tau B_a.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import combinations, permutations, product
from math import comb, factorial, prod
from typing import NamedTuple

import numpy as np

from study.core import BoolArray, FloatArray, QuestionError
from study.estimates import POWER, SIZE, TIE, least_as_large
from study.paper.fields.cells import Cells
from study.paper.fields.plan import Permuted

# All pairs of assignments are compared for the minimum detectable effect.
MOST = 5_000


def assignments(cells: Cells, permuted: Permuted) -> FloatArray:
    """Return each field's number under every assignment, each once, shape (m, n).

    Parameters
    ----------
    cells : Cells
    permuted : {"within_venue", "any_fields", "areas", "doses"}
        Which fields of each venue are treated, as many as are; which fields, of any venue; which areas, at all
        venues; or which area has which dose.

    Raises
    ------
    QuestionError
        If there are more than 5,000.
    """
    number, group, of_field = cells.assigned, cells.venues, np.arange(len(cells.fields))
    if permuted in ("areas", "doses"):
        _, first, of_field = np.unique(cells.kinds, return_index=True, return_inverse=True)
        number = cells.assigned[first]
    if permuted != "within_venue":
        group = np.zeros(len(number))
    members = [np.flatnonzero(group == name) for name in np.unique(group)]
    treated = [(rows, int(number[rows].sum())) for rows in members]
    is_order = permuted == "doses"
    count = factorial(len(number)) if is_order else prod(comb(len(rows), k) for rows, k in treated)
    if count > MOST:  # before any is listed
        raise QuestionError(
            f"[fields]: there are {count:,} assignments ({permuted}), more than {MOST:,}; use fewer fields."
        )
    if is_order:
        every = [np.array(order) for order in permutations(number)]
    else:
        choices = product(*(combinations(rows, k) for rows, k in treated))
        every = [np.isin(np.arange(len(number)), np.concatenate(chosen)).astype(float) for chosen in choices]
    distinct = np.unique(np.array(every)[:, of_field], axis=0)
    actual = (distinct == cells.assigned).all(axis=1)
    return np.vstack([cells.assigned, distinct[~actual]])


# No effect on a share in percentage points is larger.
LARGEST = 100.0


class Interval(NamedTuple):
    """The hull of the effects that are not rejected, and whether all effects within it are not; may be infinite."""

    low: float
    high: float
    whole: bool


def p_value(statistics: FloatArray) -> FloatArray:
    """Return the share of assignments as extreme as the actual one, the first; shape (m, ...) to shape (...)."""
    size = np.abs(statistics)
    share: FloatArray = np.mean(size >= least_as_large(size[0], size.max(axis=0)), axis=0)
    return share


def rejected(p: FloatArray | float, size: float) -> BoolArray:
    """Say whether p-values are at most a size, to rounding."""
    return np.asarray(p <= size + TIE)


def linear_set(actual: FloatArray, slope: FloatArray, level: float) -> Interval:
    """Return the confidence set of a contrast, exactly.

    The p-value is a step function of tau, which changes where ``|A_a - tau B_a| = |A_0 - tau B_0|``.

    Parameters
    ----------
    actual, slope : ndarray, shape (m,)
        A and B.
    level : float
    """

    def not_rejected(tau: FloatArray) -> BoolArray:
        return ~rejected(p_value(actual[:, None] - slope[:, None] * tau), 1 - level)

    with np.errstate(divide="ignore", invalid="ignore"):
        changes = np.concatenate([(actual - s * actual[0]) / (slope - s * slope[0]) for s in (1.0, -1.0)])
    changes = np.unique(changes[np.isfinite(changes)])
    if not len(changes):
        return Interval(-np.inf, np.inf, whole=True)
    span = max(1.0, float(np.ptp(changes)))
    between = (changes[1:] + changes[:-1]) / 2
    # The values of tau in order: those before the first change, the first change, those up to the second, ...
    inside = np.empty(2 * len(changes) + 1, dtype=bool)
    inside[1::2] = not_rejected(changes)
    inside[::2] = not_rejected(np.concatenate([[changes[0] - span], between, [changes[-1] + span]]))
    if not inside.any():
        return Interval(np.nan, np.nan, whole=True)
    ends = np.concatenate([[-np.inf], changes, [np.inf]])
    first, last = np.flatnonzero(inside)[[0, -1]]
    low, high = float(ends[(first + 1) // 2]), float(ends[last // 2 + 1])
    return Interval(low, high, whole=bool(inside[first : last + 1].all()))


def searched_set(statistics: Callable[[float], FloatArray], estimate: float, level: float) -> Interval:
    """Return the confidence set of an estimate that is no contrast, as an interval around it by bisection.

    Ends are within 0.01; beyond 100 in absolute value they are infinite.

    Parameters
    ----------
    statistics : callable
        Takes tau, returns T_a(tau), shape (m,).
    estimate : float
        With a p-value of one.
    level : float
    """

    def not_rejected(tau: float) -> bool:
        return not bool(rejected(p_value(statistics(tau)), 1 - level))

    ends = []
    for sign in (-1.0, 1.0):
        inner, step = estimate, 1.0
        while abs(inner) <= LARGEST and not_rejected(estimate + sign * step):
            inner, step = estimate + sign * step, 2 * step
        outer = estimate + sign * step
        while abs(inner) <= LARGEST and abs(outer - inner) > 0.01:
            middle = (inner + outer) / 2
            inner, outer = (middle, outer) if not_rejected(middle) else (inner, middle)
        ends.append(sign * np.inf if abs(inner) > LARGEST else (inner + outer) / 2)
    return Interval(ends[0], ends[1], whole=True)


def detectable(null: FloatArray, response: FloatArray, most: float = 4 * LARGEST) -> float:
    """Return the smallest effect that is found in 80% of the assignments, of either sign, at 5%.

    Each assignment in turn is taken for the actual one, with the effect added to its fields.

    Parameters
    ----------
    null : ndarray, shape (m,)
        Estimates under each assignment from outcomes freed of the estimated effect.
    response : ndarray, shape (m, m)
        Estimate under assignment a (rows) from the treatment of assignment b (columns).
    most : float
        The largest effect that is tried.

    Returns
    -------
    float
        Within 0.01, positive; NaN where no effect is found that often, for example because there are too few
        assignments.
    """
    if not power(null, response, most) >= POWER:
        return float("nan")
    grid = np.geomspace(most / 1000, most, 400)
    first = next(k for k, effect in enumerate(grid) if power(null, response, effect) >= POWER)
    low, high = (float(grid[first - 1]) if first else 0.0), float(grid[first])
    while high - low > 0.01:
        middle = (low + high) / 2
        low, high = (low, middle) if power(null, response, middle) >= POWER else (middle, high)
    return high


def power(null: FloatArray, response: FloatArray, effect: float) -> float:
    """Return the share of assignments, of both signs of the effect, in which the test at 5% rejects."""
    rejecting = []
    for sign in (-1.0, 1.0):
        size = np.abs(null[:, None] + sign * effect * response)
        p = np.mean(size >= least_as_large(np.diag(size), size.max(axis=0)), axis=0)
        rejecting.append(rejected(p, SIZE))
    return float(np.mean(rejecting))
