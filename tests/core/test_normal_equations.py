"""Which cross-products of regressors can be solved with."""

from __future__ import annotations

import numpy as np
import pytest

from study.core import solvable


@pytest.mark.parametrize("n", [10, 10_000])
def test_rounding_does_not_decide_whether_regressors_are_collinear(n: int) -> None:
    rng = np.random.default_rng(0)
    for _ in range(200):
        x = np.column_stack([np.ones(n), rng.normal(size=(n, 2))])
        x = np.column_stack([x, x @ rng.normal(size=3)])
        x[:, 1:] = (x[:, 1:] - rng.normal(size=3)) / rng.uniform(0.3, 3, size=3)
        assert not solvable(x.T @ x)
        assert not solvable(np.einsum("ip,iq->pq", x, x))


@pytest.mark.parametrize("unit", [1e-9, 1.0, 1e9])
def test_regressors_that_are_nearly_alike_or_in_any_unit_can_be_solved_with(unit: float) -> None:
    rng = np.random.default_rng(1)
    x = np.column_stack([np.ones(50), rng.normal(size=50)])
    x = np.column_stack([x, x[:, 1] + 1e-5 * rng.normal(size=50)])
    x[:, 1:] *= unit
    assert solvable(x.T @ x)


def test_each_of_several_is_judged_by_itself_and_none_without_a_regressor_or_a_number_can_be() -> None:
    x = np.random.default_rng(2).normal(size=(20, 2))
    good, absent, unknown = x.T @ x, np.diag([1.0, 0.0]), np.full((2, 2), np.nan)
    assert solvable(np.stack([good, absent, unknown])).tolist() == [True, False, False]
