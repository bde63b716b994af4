"""Every assignment of the treated fields, the actual one first."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import combinations, permutations, product
from math import comb, factorial, prod
from typing import Any

import numpy as np

from study.core import FloatArray, QuestionError
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
