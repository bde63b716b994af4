"""Arrays: their types, and sums of rows by group."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]


def sums_by(values: FloatArray, group: IntArray, n_groups: int | None = None) -> FloatArray:
    """Add up the rows of each group, in their order, shape (G, ...); without a number of groups up to the last one."""
    columns = math.prod(values.shape[1:])
    number = int(group.max(initial=-1)) + 1 if n_groups is None else n_groups
    place = group[:, None] * columns + np.arange(columns)
    sums = np.bincount(place.ravel(), values.ravel(), number * columns)
    return np.asarray(sums.reshape(number, *values.shape[1:]), dtype=np.float64)
