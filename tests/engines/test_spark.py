"""Spark gives what DuckDB and the arrays in memory give."""

from __future__ import annotations

from typing import Any

import ibis
import pytest

pytestmark = pytest.mark.engines


def test_two_workers_answer(spark: Any) -> None:
    numbers = ibis.range(10).unnest().name("number").as_table()
    assert spark.execute(numbers.number.sum()) == 45
