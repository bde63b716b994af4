"""Exact tests, confidence sets and detectable effects of estimates under every assignment.

With T_a(tau) the estimate under assignment a from outcomes freed of an effect tau, 0 the actual one, the p-value of tau
is the share of assignments whose |T_a(tau)| is at least |T_0(tau)|. For a contrast T_a(tau) = A_a - tau B_a.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import combinations, permutations, product
from math import comb, factorial, prod
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from study.core import FloatArray, QuestionError
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
    count, every = _permuted(cells, permuted)
    if count > MOST:
        raise QuestionError(
            f"[fields]: there are {count:,} assignments ({permuted}), more than {MOST:,}; use fewer fields."
        )
    distinct = np.unique(np.array(list(every)), axis=0)
    actual = (distinct == cells.assigned).all(axis=1)
    return np.vstack([cells.assigned, distinct[~actual]])


def _permuted(cells: Cells, permuted: Permuted) -> tuple[int, Iterable[FloatArray]]:
    """Return how many assignments there are, and the assignments."""
    n = len(cells.fields)
    if permuted == "any_fields":
        k = int(cells.assigned.sum())
        return comb(n, k), (_marked(n, chosen) for chosen in combinations(range(n), k))
    if permuted == "within_venue":
        members = [np.flatnonzero(cells.venues == v) for v in np.unique(cells.venues)]
        numbers = [int(cells.assigned[rows].sum()) for rows in members]
        choices = [combinations(rows, k) for rows, k in zip(members, numbers, strict=True)]
        count = prod(comb(len(rows), k) for rows, k in zip(members, numbers, strict=True))
        return count, (_marked(n, [i for part in chosen for i in part]) for chosen in product(*choices))
    areas, of_field = np.unique(cells.kinds, return_inverse=True)
    of_area = np.array([cells.assigned[of_field == k][0] for k in range(len(areas))])
    if permuted == "areas":
        k = int(of_area.sum())
        return comb(len(areas), k), (
            _marked(len(areas), chosen)[of_field] for chosen in combinations(range(len(areas)), k)
        )
    return factorial(len(areas)), (np.array(order)[of_field] for order in permutations(of_area))


def _marked(n: int, chosen: Any) -> FloatArray:
    marks = np.zeros(n)
    marks[list(chosen)] = 1.0
    return marks


# No effect on a share in percentage points is larger.
LARGEST = 100.0
_GRID = 400


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


def rejected(p: FloatArray | float, size: float) -> NDArray[np.bool_]:
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
    with np.errstate(divide="ignore", invalid="ignore"):
        changes = np.concatenate(
            [(actual - sign * actual[0]) / (slope - sign * slope[0]) for sign in (1.0, -1.0)]
        )
    changes = np.unique(changes[np.isfinite(changes)])
    if not len(changes):
        return Interval(-np.inf, np.inf, whole=True)
    span = max(1.0, float(np.ptp(changes)))
    between = (changes[1:] + changes[:-1]) / 2
    inside = ~rejected(p_value(_freed(actual, slope, between)), 1 - level)
    beyond = np.array([changes[0] - span, changes[-1] + span])
    outer = ~rejected(p_value(_freed(actual, slope, beyond)), 1 - level)
    kept = np.concatenate([outer[:1], inside, outer[1:]])
    at_change = ~rejected(p_value(_freed(actual, slope, changes)), 1 - level)
    ends = np.concatenate([[-np.inf], changes, [np.inf]])
    points = changes[at_change]
    low = min([*ends[:-1][kept], *points], default=np.nan)
    high = max([*ends[1:][kept], *points], default=np.nan)
    first, last = np.flatnonzero(kept)[[0, -1]] if kept.any() else (0, -1)
    return Interval(float(low), float(high), whole=bool(kept[first : last + 1].all()))


def _freed(actual: FloatArray, slope: FloatArray, tau: FloatArray) -> FloatArray:
    return actual[:, None] - slope[:, None] * tau


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

    def kept(tau: float) -> bool:
        return not bool(rejected(p_value(statistics(tau)), 1 - level))

    ends = []
    for sign in (-1.0, 1.0):
        inner, step = estimate, 1.0
        while kept(estimate + sign * step):
            inner, step = estimate + sign * step, 2 * step
            if abs(inner) > LARGEST:
                break
        outer = estimate + sign * step
        if abs(inner) > LARGEST:
            ends.append(sign * np.inf)
            continue
        while abs(outer - inner) > 0.01:
            middle = (inner + outer) / 2
            inner, outer = (middle, outer) if kept(middle) else (inner, middle)
        ends.append((inner + outer) / 2)
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
    grid = np.geomspace(most / 1000, most, _GRID)
    first = next(k for k, effect in enumerate(grid) if power(null, response, effect) >= POWER)
    low, high = (float(grid[first - 1]) if first else 0.0), float(grid[first])
    while high - low > 0.01:
        middle = (low + high) / 2
        low, high = (low, middle) if power(null, response, middle) >= POWER else (middle, high)
    return high


def power(null: FloatArray, response: FloatArray, effect: float) -> float:
    """Return the share of assignments, of both signs of the effect, in which the test at 5% rejects."""
    return float(np.mean([_rejected(null, response, sign * effect).mean() for sign in (-1.0, 1.0)]))


def _rejected(null: FloatArray, response: FloatArray, effect: float) -> NDArray[np.bool_]:
    size = np.abs(null[:, None] + effect * response)
    return rejected(np.mean(size >= least_as_large(np.diag(size), size.max(axis=0)), axis=0), SIZE)
