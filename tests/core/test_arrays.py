"""Sums of rows by group, beside a loop over the rows, and what differs by rounding error."""

from __future__ import annotations

import numpy as np
import pytest

from study.core import sums_by, with_ties


@pytest.mark.parametrize("shape", [(), (1,), (5,), (3, 4), (0,)], ids=str)
@pytest.mark.parametrize("n_rows", [0, 1, 50])
@pytest.mark.parametrize("n_groups", [None, 9])
def test_rows_are_added_up_in_their_order(shape: tuple[int, ...], n_rows: int, n_groups: int | None) -> None:
    rng = np.random.default_rng(0)
    values, group = rng.normal(size=(n_rows, *shape)), rng.integers(0, 7, size=n_rows)
    expected = np.zeros((int(group.max(initial=-1)) + 1 if n_groups is None else n_groups, *shape))
    for row, g in zip(values, group, strict=True):
        expected[g] += row
    sums = sums_by(values, group, n_groups)
    assert sums.dtype == np.float64
    np.testing.assert_array_equal(sums, expected, strict=True)


@pytest.mark.parametrize("unit", [1e-6, 1.0, 7.0])
def test_values_that_differ_by_rounding_error_are_equal_in_any_unit(unit: float) -> None:
    sums = unit * np.array([0.3, 0.1 + 0.2, -5.0, 0.3001, np.nan])
    first, second, _, apart, _ = with_ties(sums)
    assert first == second < apart
    np.testing.assert_array_equal(with_ties(np.zeros(2)), np.zeros(2))
