"""Arrays: their types, sums of rows by group, what weights are worth, and products by one thread.

More threads slow down products of long and narrow arrays, and round them in another order.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from functools import cache
from threading import local
from typing import Any

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]


def sums_by(values: FloatArray, group: IntArray, n_groups: int | None = None) -> FloatArray:
    """Add up the rows of each group, in their order, shape (G, ...); without a number of groups up to the last one."""
    n_groups = int(group.max(initial=-1)) + 1 if n_groups is None else n_groups
    columns = values.reshape(len(values), math.prod(values.shape[1:])).T
    sums = np.empty((n_groups, len(columns)))
    for k, column in enumerate(columns):
        sums[:, k] = np.bincount(group, column, n_groups)
    return sums.reshape(n_groups, *values.shape[1:])


def with_ties(values: FloatArray) -> FloatArray:
    """Return values over the largest in nine decimals, so that those that differ by rounding error are equal."""
    largest = np.nanmax(np.abs(values), initial=0.0)
    return np.asarray(np.round(values / (largest or 1.0), 9))


def effective_size(weight: FloatArray) -> FloatArray:
    """Return how many equally weighted units would be as precise (Kish 1965), by column; zero without weight."""
    total, squares = weight.sum(axis=0), (weight**2).sum(axis=0)
    return np.where(squares > 0, total**2 / np.where(squares > 0, squares, 1.0), 0.0)


_STATE = local()


@contextmanager
def one_thread() -> Iterator[None]:
    """Let linear algebra use one thread; inside another such context, which is cheap, nothing changes."""
    if getattr(_STATE, "single", False):
        yield
        return
    _STATE.single = True
    try:
        # Asked first, as most processes have one already, and to limit takes ten times as long as to ask.
        several = any(each.num_threads > 1 for each in _blas().lib_controllers)
        with _blas().limit(limits=1) if several else nullcontext():
            yield
    finally:
        _STATE.single = False


@cache
def _blas() -> Any:
    from threadpoolctl import ThreadpoolController

    return ThreadpoolController().select(user_api="blas")
