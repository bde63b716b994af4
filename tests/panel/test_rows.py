"""Rows by group."""

from __future__ import annotations

import numpy as np

from study.panel import rows_by


def test_rows_of_each_group_are_in_ascending_order() -> None:
    group = np.random.default_rng(0).integers(0, 7, size=5000)
    group[group == 3] = 4
    rows = rows_by(group)
    assert [own.tolist() for own in rows] == [np.flatnonzero(group == g).tolist() for g in range(7)]
