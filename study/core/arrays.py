"""Arrays: their types, and sums of rows by group."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]


def sums_by(values: FloatArray, group: IntArray, n_groups: int | None = None) -> FloatArray:
    """Add up the rows of each group, in their order, shape (G, ...); without a number of groups up to the last one."""
    sums = np.zeros((int(group.max(initial=-1)) + 1 if n_groups is None else n_groups, *values.shape[1:]))
    np.add.at(sums, group, values)
    return sums
